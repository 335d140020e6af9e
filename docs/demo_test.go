package docs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"kowaza/applets"
	"kowaza/internal/testenv"
)

// demoSteps are the commands of the demo: their statuses, and what they print as
// a pattern, blanks and ends of lines being one. The figures are those of what
// the demo makes: 2000 messages of 2048 bytes and 40 Maildirs of 50, 45 % of them
// old, and a queue of 30 messages, half of them spam.
var demoSteps = []struct {
	applet, command string
	status          int
	prints          string
}{
	{"rmoldmail", `rmoldmail -n 10 ~/hoge | wc -l`, 0, `900`},
	{"rmoldmail", `rmoldmail -v 10 ~/hoge`, 0, `rmoldmail: ~/hoge/Maildir: 2000 messages, 900( messages)? removed, 1843200 bytes, oldest of \d{4}-\d\d-\d\d find\(1\) has 1100 messages, 0 of them old\.`},
	{"rmoldmail", `tail -n 1 ~/hoge/Maildir/maildirsize`, 0, `-1843200 -900 The mail server's files were as old as the mail:`},
	{"rmoldmail", `cd ~/hoge/Maildir && echo *`, 0, `cur dovecot-uidlist maildirsize new subscriptions tmp`},
	{"rmoldmail", `rmoldmail 10 ~/hoge`, 0, `\(it prints nothing\)`},
	{"rmoldmail", `rmoldmail 10 ~/nobody`, 1, `rmoldmail: ~/nobody: no such file or directory`},
	{"rmmail_virtual", `rmmail_virtual -n | wc -l`, 0, `880`},
	{"rmmail_virtual", `rmmail_virtual`, 0, `\(it prints nothing\) find\(1\) has 1120 messages, 0 of them old\.`},
	{"qqclean", `qqclean -n NUMBER`, 0, `~/mta/qmail/queue/(local|remote)/\d+/NUMBER ~/mta/qmail/queue/info/\d+/NUMBER ~/mta/qmail/queue/mess/\d+/NUMBER`},
	{"qqclean", `qqclean -v NUMBER`, 0, `qqclean: NUMBER: removed qqclean: 1 messages? removed, \d+ bytes`},
	{"qmHandle", `qmHandle -s | sed -n 1p`, 0, `Total messages: 29`},
	{"qmHandle", `qmHandle -Fspam | grep Deleted`, 0, `Deleted 15 messages from queue`},
	{"qmHandle", `qmHandle -s | sed -n 1p`, 0, `Total messages: 14`},
	{"mkdigest", `mkdigest "<1234.1096123456@mail.hoge.cxm>passwd"`, 0, `edcb5de1cf7cfe764cd4491ca9c96ad5`},
	{"smtpauthstr", `smtpauthstr hanako passwd`, 0, `aGFuYWtvAGhhbmFrbwBwYXNzd2Q=`},
	{"jmailsend", `jmailsend -v -e jis -c 100 -j 4`, 0, `jmailsend: 100 of 100 copies sent, [\d.]+ seconds, [\d.]+ copies a second`},
	{"mailtalk", `mailtalk -f me -t hoshu "$smtp"`, 0, `0\.\d{3} \* \[127\.0\.0\.1\]:\d+ .* > RCPT TO:<hoshu> \S+ < 250 2\.1\.5 Ok \S+ > RSET \S+ < 250 2\.0\.0 Ok \S+ > QUIT \S+ < 221 2\.0\.0 Bye`},
	{"mailtalk", `mailtalk -q "$smtp" "mail from:<me>" "!rcpt to:<you@elsewhere.example>"`, 0, `\(it prints nothing\)`},
	{"mailtalk", `echo wrong | mailtalk -a plain -u hanako "$smtp"`, 1, `.* > AUTH PLAIN \*\*\*\* \S+ < 535 5\.7\.8 Error: authentication failed: \S+ > QUIT \S+ < 221 2\.0\.0 Bye mailtalk: auth: 535 5\.7\.8 Error: authentication failed:`},
	{"mailtalk", `echo passwd | jmailsend -v -s "$smtp" -u hanako -c 100 -j 4`, 0, `jmailsend: 100 of 100 copies sent, [\d.]+ seconds, [\d.]+ copies a second; milliseconds a copy: median [\d.]+, 95th percentile [\d.]+, maximum [\d.]+`},
	{"mailtalk", `echo passwd | mailtalk --nagios -a apop -u hanako "$pop3"`, 0, `POP3 OK - \d\.\d{3} s, \+OK bye\|time=\d\.\d{3}s;;;0;60`},
	{"mailtrip", `mailtrip -d -m ~/trip/hoshu -b ~/trip/hoshu -r ~/trip/pmaster local bounce double | sort`, 0,
		`bounce +bounced +\d\.\d{3} +kowaza-[a-z2-7]{16}@mail\.example\.jp #5\.1\.1 Sorry, no mailbox here by that name\. double +double-bounced +\d\.\d{3} +kowaza-[a-z2-7]{16}@mail\.example\.jp <kowaza-[a-z2-7]{16}@mail\.example\.jp>: #5\.1\.1 Sorry, no mailbox here by that name\. local +delivered +\d\.\d{3} +hoshu@mail\.example\.jp +~/trip/hoshu/Maildir/new/\d+`},
	{"mailtrip", `mailtrip -m ~/trip/hoshu -b ~/trip/hoshu -r ~/trip/pmaster bounce`, 1, `bounce +delivered .* mailtrip: bounce: delivered: ~/trip/hoshu/Maildir/new/\d+: somebody takes mail for any address at this host`},
	{"mailtrip", `mailtrip -w 1 -m ~/trip/hoshu -b ~/trip/hoshu -r ~/trip/pmaster`, 1, `local +not found +1\.\d{3} +hoshu@mail\.example\.jp +nothing in ~/trip/hoshu/Maildir mailtrip: local: not found within 1 second: nothing in ~/trip/hoshu/Maildir`},
	{"mailmatch", `mailmatch Subject 未承諾広告 <~/advertisement`, 0, `\(it prints nothing\)`},
	{"mailmatch", `mailmatch From,Sender . <~/advertisement`, 1, `\(it prints nothing\)`},
	{"mailmatch", `mailmatch -x 99 Subject "^未承諾" <~/advertisement`, 99, `\(it prints nothing\)`},
	{"mailtest", `echo hello | mailtest`, 99, `hello <and> <and>`},
	{"mailquotacheck", `echo hello | mailquotacheck ~/quota/Maildir`, 0, `\(it prints nothing\)`},
	{"mailquotacheck", `head -c 2000 /dev/zero | mailquotacheck ~/quota/Maildir`, 100, `Sorry, this mailbox is full. \(#5.2.2\)`},
	{"mailreply", `mailreply -v ~/away.txt <~/mail`, 0, `mailreply: replied to taro@example\.org`},
	{"mailreply", `mailreply -v ~/away.txt <~/mail`, 0, `mailreply: no reply: was sent within 7 days`},
	{"mailreply", `grep -h Subject ~/sent/*`, 0, `Subject: Away: lunch`},
}

// newDemo makes a checkout in which the demo can run, of which everything but
// build/ is read-only to who runs it where that is not root.
func newDemo(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "kowaza")
	testenv.Check(t, os.MkdirAll(dir+"/build", 0o755))
	testenv.CopyTree(t, ".", dir, 0, append(testenv.DistFiles, "Makefile", "testdata/demo.sh", "internal/bench")...)
	// TempDir's own directories are root's alone.
	testenv.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
	testenv.Check(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755))
	return dir
}

// demoTree lists what a checkout has outside build/.
func demoTree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	testenv.Check(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "build" {
			return fs.SkipDir
		}
		info, err := d.Info()
		fmt.Fprintln(&b, file, info.Mode(), info.Size())
		return err
	}))
	return b.String()
}

// demo runs the demo, by make where it has to be built, and returns what it
// prints into a pipe.
func demo(t *testing.T, dir string, credential *syscall.Credential) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command("sh", "testdata/demo.sh")
	if _, err := os.Stat(dir + "/build/bench"); err != nil {
		cmd = exec.Command(testenv.Program(t, "make"), "-s", "demo")
	}
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	cmd.Env = append(os.Environ(), "COLUMNS=60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// demoNext is how a demo ends: what to do next, as the user who ran it.
var demoNext = regexp.MustCompile(`\n\nNext, by (README\.md) or (README\.ja\.md):\n((?:  \S.*\n)+)$`)

// nextCommands are the commands of a demo's end.
func nextCommands(t *testing.T, text string) (commands []string) {
	t.Helper()
	m := demoNext.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing is to be done next after\n%s", text)
	}
	for line := range strings.Lines(m[3]) {
		commands = append(commands, strings.TrimSpace(comment.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")))
	}
	return commands
}

// checkDemo proves that a demo's output is of these steps, in order, each with
// its status and figures; that every applet has its heading; that no line has more
// than 60 columns; and that it ends with the commands to go on with, sudo where
// it is needed.
func checkDemo(t *testing.T, text string, root bool) {
	t.Helper()
	want := []string{"./install.sh -n", "./install.sh", "rmoldmail -n 10 hoge"}
	if !root {
		want[1] = "sudo " + want[1]
	}
	if next := nextCommands(t, text); !slices.Equal(next, want) {
		t.Errorf("%q is to be done next; want %q", next, want)
	}
	headings := regexp.MustCompile(`(?m)^(\S+), .*$`).FindAllStringSubmatch(text, -1)
	at := make(map[string]bool)
	for _, h := range headings {
		at[h[1]] = true
	}
	for _, a := range applets.All {
		if !at[a.Name] {
			t.Errorf("%s is not shown", a.Name)
		}
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line) - 1; n > 60 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	text = demoNext.ReplaceAllString(text, "\n")
	// One for each command, with the heading before it.
	var got []string
	heading := ""
	for line := range strings.Lines(text) {
		switch {
		case regexp.MustCompile(`^\S+, `).MatchString(line):
			heading, _, _ = strings.Cut(line, ",")
		case strings.HasPrefix(line, "  $ "):
			got = append(got, heading+" "+strings.TrimSpace(line))
		case strings.TrimSpace(line) == "" || heading == "":
		case len(got) > 0 && strings.HasPrefix(got[len(got)-1], heading+" "):
			got[len(got)-1] += " " + strings.TrimSpace(line)
		}
	}
	number := regexp.MustCompile(`qqclean -n (\d+)`).FindStringSubmatch(text)
	if len(got) != len(demoSteps) || number == nil {
		t.Fatalf("%d steps; want %d, in\n%s", len(got), len(demoSteps), text)
	}
	for i, step := range demoSteps {
		want := "^" + regexp.QuoteMeta(step.applet+" $ "+step.command) + " " + step.prints
		if step.status != 0 {
			want += fmt.Sprintf(` \(status %d\)`, step.status)
		}
		want = strings.ReplaceAll(want, "NUMBER", number[1])
		if i == len(demoSteps)-1 {
			want += ` Statuses and figures of these \d+ commands are as they should be\.`
		}
		if !regexp.MustCompile(want + "$").MatchString(got[i]) {
			t.Errorf("%q; want %s", got[i], want)
		}
	}
}

// TestDemo proves that make demo works as root and as a user, into a pipe and at
// 60 columns, with the status and the figures of every step; that it touches
// nothing outside build/; that it can be run again; that what it ends with can be done;
// and that it finds out where an applet does not do what the demo says.
func TestDemo(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the demo builds a binary of its own")
	}
	dir := newDemo(t)
	run := func(t *testing.T, credential *syscall.Credential) string {
		t.Helper()
		out, errs, err := demo(t, dir, credential)
		if err != nil || errs != "" {
			t.Fatalf("%v, %s\n%s", err, errs, out)
		}
		checkDemo(t, out, os.Geteuid() == 0 && credential == nil)
		return out
	}
	out := run(t, nil)
	before := demoTree(t, dir) // with what make built
	run(t, nil)
	if after := demoTree(t, dir); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	t.Run("what comes next", func(t *testing.T) {
		root := t.TempDir()
		for _, line := range nextCommands(t, out) {
			line = strings.Replace(strings.TrimPrefix(line, "sudo "), " hoge", " "+dir+"/build/demo/hoge", 1)
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir = dir
			// No command but what has just been installed.
			cmd.Env = append(os.Environ(), "DESTDIR="+root, "PATH="+root+"/usr/local/bin:/usr/bin:/bin")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	})
	t.Run("as a user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root; by a user it has just been run")
		}
		testenv.Check(t, os.RemoveAll(dir+"/build/demo"))
		testenv.Check(t, os.Chown(dir+"/build", 65534, 65534))
		run(t, &syscall.Credential{Uid: 65534, Gid: 65534})
	})
	t.Run("as root in a user's checkout", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		testenv.Check(t, os.Chown(dir, 65534, 65534))
		testenv.Check(t, os.Chown(dir+"/build", 0, 0))
		run(t, nil)
		testenv.Check(t, os.Chown(dir, 0, 0))
		testenv.Check(t, os.Chmod(dir, 0o775))
		run(t, nil)
	})
	t.Run("an applet that does nothing", func(t *testing.T) {
		list, err := exec.Command(dir+"/kowaza", "--list").Output()
		testenv.Check(t, err)
		testenv.Check(t, os.Remove(dir+"/kowaza"))
		script := "#!/bin/sh\ncase $1 in --list) echo '" + strings.TrimSpace(string(list)) + "' ;; esac\n"
		testenv.Check(t, os.WriteFile(dir+"/kowaza", []byte(script), 0o755))
		out, errs, err := demo(t, dir, nil)
		if err == nil || strings.Contains(out, "as they should be.") || demoNext.MatchString(out) || !strings.Contains(out, "are not as they") ||
			!strings.Contains(errs, "demo: 2000 messages are left, 900 of them old; want 1100, 0\n") ||
			!strings.Contains(errs, "demo: echo hello | mailtest: status 0; want 99\n") {
			t.Errorf("%v, %s\n%s", err, errs, out)
		}
	})
}
