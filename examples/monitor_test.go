package examples_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kowaza/applets"
	"kowaza/internal/cli"
	"kowaza/internal/dialogue/dialoguetest"
	"kowaza/internal/testenv"
)

// A monitored is a host whose mail is watched: hoshu and pmaster have Maildirs, and
// there are servers with the mailbox of hanako.
type monitored struct {
	dir        string
	smtp, pop3 string // HOST:PORT
}

// monitor makes one.
func monitor(t *testing.T) *monitored {
	t.Helper()
	if !testenv.Ours() {
		t.Skip("SKIP the original page has no mailtrip")
	}
	h := &monitored{dir: t.TempDir()}
	for _, name := range []string{"hoshu", "pmaster"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			testenv.Check(t, os.MkdirAll(h.dir+"/"+name+"/Maildir/"+sub, 0o755))
		}
	}
	for name, text := range map[string]string{
		"control/me": "mail.example.jp\n",
		"conf":       "SENDMAIL=" + h.dir + "/sendmail\nQMAIL=" + h.dir + "\n",
		"password":   "passwd\n",
		"mode":       "honest\n",
		"sendmail": `#!/bin/sh
set -eu
cd ` + h.dir + `
cat >message
to=$(sed -n 's/^To: //p' message) from=$4
deliver() {
	cat >"$1/Maildir/tmp/$$"
	mv "$1/Maildir/tmp/$$" "$1/Maildir/new/"
}
returned() {
	printf 'From: MAILER-DAEMON@mail.example.jp\n\nHi. This is the program.\n\n<%s>:\nno (#5.1.1)\n\n--- copy\n\nReturn-Path: <%s>\n' "$1" "$2"
	cat
}
[ "$(cat mode)" = honest ] || exit 0
case $to,$from in
hoshu@*,*) deliver hoshu <message ;;
*,hoshu@*) returned "$to" "$from" <message | deliver hoshu ;;
*) returned "$to" "$from" <message | returned "$from" '' | deliver pmaster ;;
esac
`,
	} {
		testenv.Check(t, os.MkdirAll(filepath.Dir(h.dir+"/"+name), 0o755))
		testenv.Check(t, os.WriteFile(h.dir+"/"+name, []byte(text), 0o600))
	}
	testenv.Check(t, os.Chmod(h.dir+"/conf", 0o644))
	testenv.Check(t, os.Chmod(h.dir+"/sendmail", 0o755))
	s := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "example.jp", Timestamp: "<1.2@mail.example.jp>"}
	for to, serve := range map[*string]func(net.Conn){&h.smtp: s.SMTP, &h.pop3: s.POP3} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testenv.Check(t, err)
		t.Cleanup(func() { l.Close() })
		go dialoguetest.Serve(l, serve)
		*to = l.Addr().String()
	}
	return h
}

// here is an example's text as it works on this host.
func (h *monitored) here(text string) string {
	text = testenv.InPath(text)
	for _, file := range []string{"/etc/mailtrip.pw", "/etc/nagios/mailtrip.pw"} {
		text = strings.ReplaceAll(text, file, h.dir+"/password")
	}
	for _, name := range []string{"hoshu", "pmaster"} {
		text = strings.ReplaceAll(text, "-r "+name, "-r "+h.dir+"/"+name)
	}
	text = strings.ReplaceAll(text, "-f hoshu", "-m "+h.dir+"/hoshu -b "+h.dir+"/hoshu -f hoshu")
	for _, s := range []struct{ option, server string }{{"-s smtp", h.smtp}, {"-p pop3", h.pop3}} {
		text = regexp.MustCompile(s.option+`(://\S+)?( |$)`).ReplaceAllString(text, s.option+"://"+s.server+" ")
	}
	return text
}

// command is a shell line on this host.
func (h *monitored) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+h.dir+"/conf")
	return cmd
}

// TestExamplesMonitorCrontab proves that each line of the crontab is one for cron, says
// nothing while all is well, and says what is wrong once mail gets lost.
func TestExamplesMonitorCrontab(t *testing.T) {
	h := monitor(t)
	lines := 0
	for line := range strings.Lines(readExample(t, "monitor/crontab")) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		m := crontabLine.FindStringSubmatch(line)
		if m == nil || strings.Contains(m[1], "%") {
			t.Fatalf("%q is no line for cron", line)
		}
		lines++
		if out, err := h.command(h.here(m[1])).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		if strings.Contains(line, "-s smtp") {
			continue
		}
		testenv.Check(t, os.WriteFile(h.dir+"/mode", []byte("lose\n"), 0o644))
		out, err := h.command(strings.Replace(h.here(m[1]), " -d ", " -d -w 1 ", 1)).CombinedOutput()
		if err == nil || strings.Count(string(out), "not found within 1 second") != 3 {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		testenv.Check(t, os.WriteFile(h.dir+"/mode", []byte("honest\n"), 0o644))
	}
	if lines != 2 {
		t.Errorf("%d lines; want 2", lines)
	}
}

// TestExamplesNagios proves that each command for Nagios has a line that says OK where
// all is well; but the one that needs a certificate, whose options are taken, says what
// it lacks.
func TestExamplesNagios(t *testing.T) {
	h := monitor(t)
	text := readExample(t, "monitor/nagios.cfg")
	arguments := map[string][]string{"check_mailtrip": {"hanako", "hanako@example.jp"}, "check_mailtrip_host": {"hoshu", "pmaster"}, "check_submission": {"hanako"}}
	lines := regexp.MustCompile(`command_name\t(\S+)\n\tcommand_line\t(.*)\n`).FindAllStringSubmatch(text, -1)
	if len(lines) != len(arguments) {
		t.Errorf("%d commands; want %d", len(lines), len(arguments))
	}
	for _, m := range lines {
		line := strings.Replace(m[2], "/usr/bin/sudo ", "", 1)
		for i, argument := range arguments[m[1]] {
			line = strings.ReplaceAll(line, fmt.Sprintf("$ARG%d$", i+1), argument)
		}
		line = strings.ReplaceAll(strings.ReplaceAll(line, "$HOSTADDRESS$", "127.0.0.1"), "smtp://$HOSTNAME$:587", "smtp://"+h.smtp)
		if line = h.here(line); strings.Contains(line, "$") {
			t.Errorf("%s: %s: a macro that Nagios does not fill", m[1], line)
		}
		out, _ := h.command(line).CombinedOutput()
		want := regexp.MustCompile(`^MAIL OK - local delivered .*\|time=[0-9.]+s;10;30;0;60\n$`)
		if m[1] == "check_submission" {
			want = regexp.MustCompile(`^SMTP CRITICAL - starttls: `)
		}
		if !want.Match(out) {
			t.Errorf("%s: %s", line, out)
		}
	}
	for _, m := range regexp.MustCompile(`check_command\t+(\w+)!`).FindAllStringSubmatch(text, -1) {
		if arguments[m[1]] == nil {
			t.Errorf("no command %s", m[1])
		}
	}
}

// TestExamplesIcinga proves that what the command for Icinga gives mailtrip are options
// of it, and that with these it does what it should.
func TestExamplesIcinga(t *testing.T) {
	h := monitor(t)
	text := readExample(t, "monitor/icinga2.conf")
	m := regexp.MustCompile(`(?s)command = \[ (.*?) \].*arguments = \{\n(.*?)\n\t\}`).FindStringSubmatch(text)
	if m == nil || strings.Count(text, "{") != strings.Count(text, "}") {
		t.Fatal("no command")
	}
	var argv []string
	for _, word := range strings.Split(m[1], ", ") {
		argv = append(argv, testenv.InPath(strings.Trim(word, `"`)))
	}
	values := map[string]string{"-s": "smtp://" + h.smtp, "-p": "pop3://" + h.pop3, "-u": "hanako", "-P": h.dir + "/password", "-t": "hanako@example.jp"}
	for _, line := range strings.Split(m[2], "\n") {
		a := regexp.MustCompile(`^\t\t"(-\w)" = (?:"([^"]+)"|\{ value = "([^"]+)", required = true \})$`).FindStringSubmatch(line)
		if a == nil {
			t.Errorf("%q", line)
			continue
		}
		value := values[a[1]]
		if name := regexp.MustCompile(`^\$(\w+)\$$`).FindStringSubmatch(a[2] + a[3]); name != nil && value == "" {
			set := regexp.MustCompile(`vars\.` + name[1] + ` = "?([^"\n]+)`).FindStringSubmatch(text)
			if set == nil {
				t.Errorf("%s has no value", name[1])
				continue
			}
			value = set[1]
		}
		argv = append(argv, a[1], value)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+h.dir+"/conf")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "MAIL OK - local delivered ") {
		t.Errorf("%q: %v\n%s", argv, err, out)
	}
	if !slices.ContainsFunc(applets.All, func(a *cli.Applet) bool { return a.Name == argv[0] }) {
		t.Errorf("%s is no applet", argv[0])
	}
}

// TestExamplesMonitorPrometheus proves that the file is in the text format of Prometheus,
// with each test's end and time, and says so where one failed or none began; and that
// where it cannot be written that is a failure.
func TestExamplesMonitorPrometheus(t *testing.T) {
	testenv.Program(t, "jq")
	h := monitor(t)
	file := h.dir + "/prom/mailtrip.prom"
	testenv.Check(t, os.Mkdir(filepath.Dir(file), 0o755))
	tell := func(options string) (metrics map[string]string, status int) {
		t.Helper()
		cmd := h.command("set -- " + h.here(options) + "\n" + testenv.InPath(readExample(t, "monitor/prometheus.sh")))
		cmd.Run()
		return readMetrics(t, file, tripPromLine), cmd.ProcessState.ExitCode()
	}
	const options = " -d -f hoshu -t hoshu -r pmaster local bounce double"
	got, status := tell(file + options)
	if status != 0 || len(got) != 8 || got["kowaza_mailtrip_failed"] != "0" || got[`kowaza_mailtrip_ok{test="double"}`] != "1" ||
		got[`kowaza_mailtrip_seconds{test="bounce",outcome="bounced"}`] == "" {
		t.Errorf("status %d, %v", status, got)
	}
	testenv.Check(t, os.WriteFile(h.dir+"/mode", []byte("lose\n"), 0o644))
	if got, status := tell(file + " -w 1" + options); status != 1 || got["kowaza_mailtrip_failed"] != "1" || got[`kowaza_mailtrip_ok{test="local"}`] != "0" {
		t.Errorf("lost: %d, %v", status, got)
	}
	if got, status := tell(file + " --no-such-option"); status != 2 || got["kowaza_mailtrip_failed"] != "1" || len(got) != 2 {
		t.Errorf("a usage error: %d, %v", status, got)
	}
	if _, status := tell(h.dir + "/none/x.prom" + options); status == 0 {
		t.Error("a file that cannot be written is no failure")
	}
}

// tripPromLine is a line of Prometheus' text format: a comment, or a metric and its value.
var tripPromLine = regexp.MustCompile(`^(?:# (?:HELP|TYPE) kowaza_mailtrip_[a-z_]+ .*|(kowaza_mailtrip_[a-z_]+(?:\{[a-z]+="[-a-z ]*"(?:,[a-z]+="[-a-z ]*")*\})?) ([0-9.e-]+))\n$`)
