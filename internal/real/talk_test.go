package real

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/dialogue/dialoguetest"
)

// A talker runs mailtalk.
type talker struct {
	t   *testing.T
	dir string // of kowaza
	tmp string
}

func newTalker(t *testing.T) *talker {
	t.Helper()
	return &talker{t, buildKowaza(t, "mailtalk"), t.TempDir()}
}

// command returns mailtalk with these words. The host has a name, whatever it is called.
func (k *talker) command(stdin string, args ...string) *exec.Cmd {
	k.t.Helper()
	conf := filepath.Join(k.tmp, "kowaza.conf")
	me := filepath.Join(k.tmp, "control", "me")
	if err := errors.Join(os.MkdirAll(filepath.Dir(me), 0o755), os.WriteFile(me, []byte("mail.example.jp\n"), 0o644),
		os.WriteFile(conf, []byte("QMAIL="+k.tmp+"\nJMAIL_FROM=me@example.jp\n"), 0o644)); err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(k.dir, "mailtalk"), args...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+conf, "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

// talk runs mailtalk and returns what it wrote and its exit status.
func (k *talker) talk(stdin string, args ...string) (stdout, stderr string, status int) {
	k.t.Helper()
	cmd := k.command(stdin, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		k.t.Fatalf("mailtalk %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// file writes a file that only its owner may read, and returns its name.
func (k *talker) file(name, text string) string {
	k.t.Helper()
	name = filepath.Join(k.tmp, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return name
}

// replies returns what the server said in a transcript.
func replies(transcript string) (lines []string) {
	for line := range strings.Lines(transcript) {
		if _, reply, ok := strings.Cut(line, " < "); ok {
			lines = append(lines, strings.TrimSuffix(reply, "\n"))
		}
	}
	return lines
}

// TestTalkLogin proves that Dovecot takes each mechanism of mailtalk's for all passwords,
// that mailtalk is in the right mailbox then, and that a wrong password is refused, told as
// that, and tried once.
func TestTalkLogin(t *testing.T) {
	d := startTalkDovecot(t)
	k := newTalker(t)
	server := fmt.Sprintf("pop3://127.0.0.1:%d", d.ports["pop3"])
	for _, mechanism := range []string{"", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "USER", "APOP"} {
		for i, a := range accounts {
			what := mechanism + ", " + a.user
			if strings.HasPrefix(mechanism, "SCRAM") && a.user == "euc-jp" {
				continue // SCRAM's passwords are UTF-8: RFC 5802, 2.2
			}
			args := []string{"-u", a.user, "-P", k.file("pw", a.password+"\n")}
			if mechanism != "" {
				args = append(args, "-a", strings.ToLower(mechanism))
			} else if a.user == "euc-jp" {
				continue // the best that is offered is SCRAM
			}
			stdout, stderr, status := k.talk("", append(args, server, "stat", "retr 1")...)
			if status != 0 || stderr != "" || !strings.Contains(stdout, " < Subject: "+a.user+"\n") {
				t.Errorf("%s: status %d\n%s%s", what, status, stdout, stderr)
			}
			if i > 0 && i != len(accounts)-1 {
				continue // Dovecot is slow to refuse
			}
			wrong := a.wrongPasswords()[0]
			args[3] = k.file("pw", wrong)
			before := d.refusals()
			stdout, stderr, status = k.talk("", append(args, server, "stat", "dele 1")...)
			if status != 1 || !strings.HasPrefix(stderr, "mailtalk: auth: -ERR [AUTH] Authentication failed.") || strings.Count(stderr, "\n") != 1 || strings.Contains(stdout, "> dele") {
				t.Errorf("%s, wrong password: status %d\n%s%s", what, status, stdout, stderr)
			}
			if !until(func() bool { return len(d.refusals()) > len(before) }) || !slices.Equal(d.refusals()[len(before):], []string{"1"}) {
				t.Errorf("%s: the server counts %s wrong passwords; want 1", what, d.refusals()[len(before):])
			}
		}
	}
}

// startTalkDovecot starts a POP3 server with all the accounts that has all mechanisms and
// tells of wrong passwords.
func startTalkDovecot(t *testing.T) *dovecot {
	t.Helper()
	config := dovecotConfig{
		protocols: []string{"pop3"},
		passwords: make(map[string]string),
		extra: `auth_mechanisms = plain login cram-md5 apop scram-sha-1 scram-sha-256
auth_failure_delay = 0 secs
auth_verbose = yes
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service pop3-login {
  service_count = 0
}
`,
	}
	for _, a := range accounts {
		config.users = append(config.users, a.user)
		config.passwords[a.user] = a.password
	}
	d := startDovecot(t, config)
	for _, a := range accounts {
		d.save(a.user, "INBOX", a.letter())
	}
	return d
}

// refusals returns how many logins the server refused on each connection on which it refused
// any.
func (d *dovecot) refusals() (attempts []string) {
	text, err := os.ReadFile(filepath.Join(d.dir, "info.log"))
	if err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\(auth failed, (\d+) attempts`).FindAllStringSubmatch(string(text), -1) {
		attempts = append(attempts, m[1])
	}
	return attempts
}

// startSASL starts a Dovecot that knows hanako, for Postfix to ask, and returns the path of
// the socket on which it can be asked. It must be there before Postfix and end after it.
func startSASL(t *testing.T) string {
	t.Helper()
	d := startDovecot(t, dovecotConfig{users: []string{"hanako"}, protocols: []string{"pop3"}, extra: `auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
auth_failure_delay = 0 secs
service auth {
  unix_listener sasl {
    mode = 0666
  }
}
`})
	if err := os.Chmod(filepath.Join(d.dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(d.dir, "run", "sasl")
}

// listen has Postfix take mail by SMTP on a port of this machine, with the logins of a
// startSASL's, and log every line that it is told. It returns the port.
func (p *postfix) listen(sasl string) int {
	p.t.Helper()
	port := freePort(p.t)
	main, err := os.ReadFile(filepath.Join(p.dir, "etc/main.cf"))
	master, err2 := os.ReadFile(filepath.Join(p.dir, "etc/master.cf"))
	if err := errors.Join(err, err2); err != nil {
		p.t.Fatal(err)
	}
	p.write("etc/main.cf", 0o644, string(main)+`smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = `+sasl+`
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
debug_peer_list = 127.0.0.1
debug_peer_level = 2
smtpd_peername_lookup = no
`)
	p.write("etc/master.cf", 0o644, string(master)+fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\nanvil unix - - n - 1 anvil\n", port))
	pid, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err == nil {
		err = syscall.Kill(n, syscall.SIGHUP)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if !until(func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.HasPrefix(line, "220 ")
	}) {
		p.t.Fatal("postfix does not listen")
	}
	return port
}

// told returns the lines that Postfix was told after the first so many bytes of its log.
func (p *postfix) told(from int) (lines []string) {
	p.t.Helper()
	line := regexp.MustCompile(`(?m): < [^\n:]*: (.*)$`)
	quit := func() bool { return strings.Contains(p.log()[from:], ": QUIT") }
	if !until(quit) {
		p.t.Fatalf("postfix was not told QUIT:\n%s", p.log()[from:])
	}
	for _, m := range line.FindAllStringSubmatch(p.log()[from:], -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// TestTalkSwaks proves that the dialogue is that of swaks: one Postfix is told the same by
// both, with each mechanism that swaks knows, and without.
func TestTalkSwaks(t *testing.T) {
	swaks, err := exec.LookPath("swaks")
	if err != nil {
		t.Skip("SKIP swaks: not installed")
	}
	sasl := startSASL(t)
	p := startPostfix(t, "hoshu@mail.example.jp")
	port := p.listen(sasl)
	k := newTalker(t)
	server := fmt.Sprintf("smtp://127.0.0.1:%d", port)
	// The answer to a challenge is another each time, and as long.
	answer := regexp.MustCompile(`^[A-Za-z0-9+/]{40,}=*$`)
	for _, mechanism := range []string{"", "PLAIN", "LOGIN", "CRAM-MD5"} {
		ours := []string{"-H", "mail.example.jp", "-f", "me@example.jp", "-t", "hoshu@mail.example.jp", "-e", "jis"}
		theirs := []string{"--server", "127.0.0.1", "--port", strconv.Itoa(port), "--helo", "mail.example.jp",
			"--from", "me@example.jp", "--to", "hoshu@mail.example.jp"}
		if mechanism != "" {
			ours = append(ours, "-a", mechanism, "-u", "hanako")
			theirs = append(theirs, "--auth", mechanism, "--auth-user", "hanako", "--auth-password", dovecotPassword)
		}
		from := len(p.log())
		if stdout, stderr, status := k.talk(dovecotPassword+"\n", append(ours, server)...); status != 0 || stderr != "" {
			t.Fatalf("mailtalk %q: status %d\n%s%s", ours, status, stdout, stderr)
		}
		got := p.told(from)
		from = len(p.log())
		if out, err := exec.Command(swaks, theirs...).CombinedOutput(); err != nil {
			t.Fatalf("swaks %q: %v\n%s", theirs, err, out)
		}
		want := p.told(from)
		for _, lines := range [][]string{got, want} {
			for i, line := range lines {
				lines[i] = answer.ReplaceAllString(line, "ANSWER")
			}
		}
		if !slices.Equal(got, want) || len(got) < 5 {
			t.Errorf("%s: mailtalk says\n%s\nswaks says\n%s", mechanism, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// What swaks does not know.
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		for _, password := range []string{dovecotPassword, "wrong"} {
			stdout, stderr, status := k.talk(password+"\n", "-a", mechanism, "-u", "hanako", server)
			if ok := password == dovecotPassword; (status == 0) != ok || ok && stderr != "" || !ok && !strings.HasPrefix(stderr, "mailtalk: auth: 535 5.7.8 ") {
				t.Errorf("%s, %s: status %d\n%s%s", mechanism, password, status, stdout, stderr)
			}
		}
	}
	// swaks ends with 0 where one of two recipients is refused.
	stdout, stderr, status := k.talk("", "-t", "hoshu@mail.example.jp", "-t", "nobody@elsewhere.example", server)
	if status != 1 || !strings.HasPrefix(stderr, "mailtalk: rcpt: nobody@elsewhere.example: 554 5.7.1 ") || !strings.Contains(stdout, "< 250 2.1.5 Ok") {
		t.Errorf("two recipients: status %d\n%s%s", status, stdout, stderr)
	}
	// The server is no open relay.
	if stdout, stderr, status = k.talk("", "-q", server, "mail from:<me@example.jp>", "!rcpt to:<nobody@elsewhere.example>"); status != 0 || stdout+stderr != "" {
		t.Errorf("relay: status %d\n%s%s", status, stdout, stderr)
	}
}

// startSink starts smtp-sink with these options and returns its port.
func startSink(t *testing.T, options ...string) int {
	t.Helper()
	if _, err := exec.LookPath("smtp-sink"); err != nil {
		t.Skip("SKIP postfix: smtp-sink not installed")
	}
	port := freePort(t)
	if os.Geteuid() == 0 {
		options = append(options, "-u", "nobody")
	}
	cmd := exec.Command("smtp-sink", append(options, fmt.Sprintf("127.0.0.1:%d", port), "100")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if !until(func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		t.Fatal("smtp-sink does not listen")
	}
	return port
}

// A talked is what mailtalk --json prints, as far as tests look at it.
type talked struct {
	OK     bool
	Failed string
	Reply  string
	Error  string
	Steps  []struct{ Step, Sent, Code, Text string }
}

// TestTalkSteps proves that whatever step a server refuses, for ever or for now, or hangs up
// at, or answers too late, is the one that is named, with status 1.
func TestTalkSteps(t *testing.T) {
	k := newTalker(t)
	for _, step := range []struct{ command, name string }{
		{"CONNECT", "greeting"}, {"EHLO", "ehlo"}, {"MAIL", "mail"}, {"RCPT", "rcpt"}, {"DATA", "data"}, {".", "message"}, {"RSET", "command"},
	} {
		for _, how := range []struct{ option, reply, err string }{
			{"-f", "5", ""}, {"-r", "4", ""}, {"-q", "", "the server closed the connection"}, {"-s", "", "closed"},
		} {
			if how.option == "-s" { // only a log, in this Postfix
				continue
			}
			options := []string{how.option, step.command}
			if step.command == "EHLO" && how.option == "-f" {
				options[1] = "EHLO,HELO"
			}
			port := startSink(t, options...)
			args := []string{"--json", "-t", "hoshu"}
			if step.command != "RSET" {
				args = append(args, "-e", "utf8")
			}
			stdout, stderr, status := k.talk("", append(args, fmt.Sprintf("smtp://127.0.0.1:%d", port))...)
			var got talked
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%s: %v\n%s", options, err, stdout)
			}
			if status != 1 || got.OK || got.Failed != step.name || strings.Count(stderr, "\n") != 1 ||
				how.reply != "" && !strings.HasPrefix(got.Reply, how.reply) || how.err != "" && !strings.Contains(got.Error, how.err) {
				t.Errorf("%s: status %d, %s\n%s", options, status, stdout, stderr)
			}
			if step.command == "." && how.option == "-q" && !strings.Contains(stderr, "not known whether the message was taken") {
				t.Errorf("%s: %s", options, stderr)
			}
		}
	}
	// A slow one, and one that is as slow as it may be.
	port := startSink(t, "-w", "3")
	began := time.Now()
	stdout, stderr, status := k.talk("", "-T", "1", "-e", "utf8", "-t", "hoshu", fmt.Sprintf("smtp://127.0.0.1:%d", port))
	if took := time.Since(began); status != 1 || stderr != "mailtalk: data: not done within 1 second\n" || took > 2900*time.Millisecond {
		t.Errorf("slow: status %d after %s\n%s%s", status, took, stdout, stderr)
	}
}

// TestTalkCertificates proves that what openssl refuses is refused, and what it takes is
// taken.
func TestTalkCertificates(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIP openssl: not installed")
	}
	k := newTalker(t)
	ca, err := dialoguetest.NewAuthority("test CA")
	other, err2 := dialoguetest.NewAuthority("other CA")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	roots := k.file("ca.pem", string(ca.PEM()))
	month := time.Now().AddDate(0, 1, 0)
	for _, c := range []struct {
		what  string
		by    *dialoguetest.Authority
		host  string
		until time.Time
		right bool
	}{
		{"right", ca, "127.0.0.1", month, true},
		{"other name", ca, "127.0.0.2", month, false},
		{"a name, no address", ca, "localhost", month, false},
		{"expired", ca, "127.0.0.1", time.Now().AddDate(0, 0, -1), false},
		{"other CA", other, "127.0.0.1", month, false},
	} {
		cert, err := c.by.Issue(c.host, c.until)
		if err != nil {
			t.Fatal(err)
		}
		office := &dialoguetest.Server{Domain: "example.jp", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
		for _, way := range []struct {
			scheme, starttls string
			serve            func(net.Conn)
		}{{"smtps", "", office.SMTPS}, {"smtp", "smtp", office.SMTP}, {"pop3s", "", office.POP3S}, {"pop3", "pop3", office.POP3}} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go dialoguetest.Serve(l, way.serve)
			theirs := []string{"s_client", "-connect", l.Addr().String(), "-CAfile", roots, "-verify_return_error", "-verify_ip", "127.0.0.1", "-quiet", "-no_ign_eof"}
			ours := []string{"--ca", roots, way.scheme + "://" + l.Addr().String()}
			if way.starttls != "" {
				theirs = append(theirs, "-starttls", way.starttls)
				ours = append([]string{"-S"}, ours...)
			}
			s := exec.Command(openssl, theirs...)
			s.Stdin = strings.NewReader("QUIT\r\n")
			out, err := s.CombinedOutput()
			if (err == nil) != c.right {
				t.Fatalf("%s, %s: openssl: %v\n%s", c.what, way.scheme, err, out)
			}
			stdout, stderr, status := k.talk("", ours...)
			if (status == 0) != c.right || !c.right && !strings.HasPrefix(stderr, "mailtalk: tls: ") {
				t.Errorf("%s, %s: openssl: %v, mailtalk: status %d\n%s%s", c.what, way.scheme, err, status, stdout, stderr)
			}
			if _, stderr, status := k.talk("", append([]string{"--no-verify"}, ours...)...); status != 0 {
				t.Errorf("%s, %s, --no-verify: status %d, %s", c.what, way.scheme, status, stderr)
			}
		}
	}
}

// TestTalkPage proves that each dialogue of the page, said word for word through a socket,
// gets the same replies as by mailtalk, from Postfix and from Dovecot.
func TestTalkPage(t *testing.T) {
	sasl := startSASL(t)
	p := startPostfix(t, "hoshu@mail.example.jp")
	port := p.listen(sasl)
	d := startTalkDovecot(t)
	k := newTalker(t)
	pw := k.file("pw", "passwd\n")
	himitsu := k.file("himitsu", dovecotPassword+"\n")
	pop3 := d.ports["pop3"]
	// What differs from one dialogue to the next: numbers of messages, timestamps.
	differs := regexp.MustCompile(`queued as \w+|<[0-9a-f.]+[^>]*>|\(\d+\.\d+ \+ \d+\.\d+ secs\)`)
	for _, c := range []struct {
		name  string
		port  int
		typed []string // by hand; what ends in "..." waits for its text
		args  []string
	}{
		{"smtp", port, []string{"helo mail.example.jp", "mail from:<me@example.jp>", "rcpt to:<hoshu@mail.example.jp>", "data", "Subject: test\r\n\r\ntest\r\n.", "quit"},
			[]string{"smtp", "helo mail.example.jp", "mail from:<me@example.jp>", "rcpt to:<hoshu@mail.example.jp>", "data"}},
		{"auth", port, []string{"ehlo mail.example.jp", "auth plain " + plainString("hanako", dovecotPassword), "quit"},
			[]string{"-a", "plain", "-u", "hanako", "-P", himitsu, "smtp"}},
		{"pop3", pop3, []string{"user hanako", "pass passwd", "stat", "list", "retr 1", "dele 1", "rset", "quit"},
			[]string{"-a", "user", "-u", "hanako", "-P", pw, "pop3", "stat", "list", "retr 1", "dele 1", "rset"}},
	} {
		for i, arg := range c.args {
			if arg == "smtp" || arg == "pop3" {
				c.args[i] = fmt.Sprintf("%s://127.0.0.1:%d", arg, c.port)
			}
		}
		want := typeByHand(t, c.port, c.typed)
		stdout, stderr, status := k.talk("Subject: test\n\ntest\n", c.args...)
		if status != 0 || stderr != "" {
			t.Errorf("%s: status %d\n%s%s", c.name, status, stdout, stderr)
		}
		got := replies(stdout)
		if c.name == "smtp" { // mailtalk has said EHLO before
			got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "250-") || line == "250 CHUNKING" })
		}
		for _, lines := range [][]string{got, want} {
			for i := range lines {
				lines[i] = differs.ReplaceAllString(lines[i], "...")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: mailtalk is told\n%s\nby hand\n%s", c.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func plainString(user, password string) string {
	out, _ := exec.Command("sh", "-c", `printf '\000%s\000%s' "$1" "$2" | base64`, "sh", user, password).Output()
	return strings.TrimSpace(string(out))
}

// typeByHand says lines to a server, each after the reply to the one before, and returns all
// that it answers.
func typeByHand(t *testing.T, port int, typed []string) (lines []string) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	reply := func(command string) {
		text := strings.HasPrefix(command, "list") || strings.HasPrefix(command, "retr")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			line = strings.TrimRight(line, "\r\n")
			if text && line == "." {
				return
			}
			lines = append(lines, line)
			if !text && (len(line) < 4 || line[3] != '-') {
				return
			}
		}
	}
	reply("")
	for _, command := range typed {
		fmt.Fprintf(conn, "%s\r\n", command)
		reply(command)
	}
	return lines
}

// TestTalkSecrets proves that whichever the mechanism, the output and the server, a password,
// its base64 and its digests are neither in standard output nor standard error, nor in what
// other users see of the process.
func TestTalkSecrets(t *testing.T) {
	const password = "s3cret-Passw0rd"
	k := newTalker(t)
	pw := k.file("pw", password+"\n")
	stall := make(chan struct{})
	defer close(stall)
	digests := regexp.MustCompile(`[0-9a-f]{32}|[A-Za-z0-9+/]{28,}`)
	for _, c := range []struct {
		scheme     string
		mechanisms []string
	}{
		{"smtp", []string{"PLAIN", "LOGIN", "CRAM-MD5"}},
		{"pop3", []string{"PLAIN", "LOGIN", "CRAM-MD5", "USER", "APOP"}},
	} {
		for _, mechanism := range c.mechanisms {
			for _, right := range []string{password, "other"} {
				office := &dialoguetest.Server{User: "hanako", Password: right, Domain: "example.jp", Timestamp: "<1.2@example.jp>"}
				serve := office.SMTP
				if c.scheme == "pop3" {
					serve = office.POP3
				}
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go dialoguetest.Serve(l, serve)
				for _, output := range []string{"-v", "-q", "--json", "--nagios"} {
					stdout, stderr, status := k.talk("", output, "-a", mechanism, "-u", "hanako", "-P", pw, c.scheme+"://"+l.Addr().String())
					if (status == 0) != (right == password) {
						t.Errorf("%s %s %s: status %d\n%s%s", c.scheme, mechanism, output, status, stdout, stderr)
					}
					// The challenge is base64, too, and is the server's to show.
					for _, found := range digests.FindAllString(stdout+stderr, -1) {
						if !strings.HasPrefix(dialoguetest.Decode(found), "<") {
							t.Errorf("%s %s %s: told: %s", c.scheme, mechanism, output, found)
						}
					}
					if all := stdout + stderr; strings.Contains(all, password) || strings.Contains(all, "czNjcmV0") {
						t.Errorf("%s %s %s: the password is told:\n%s", c.scheme, mechanism, output, all)
					}
				}
			}
		}
	}
	// While it waits for the server.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	logged := make(chan struct{})
	go dialoguetest.Serve(l, func(c net.Conn) {
		in := bufio.NewReader(c)
		for _, reply := range []string{"220 a\r\n", "250-a\r\n250 AUTH PLAIN\r\n"} {
			c.Write([]byte(reply))
			in.ReadString('\n')
		}
		close(logged)
		<-stall
	})
	cmd := k.command("", "-u", "hanako", "-P", pw, "smtp://"+l.Addr().String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-logged
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, name))
		if err != nil || bytes.Contains(text, []byte(password)) || bytes.Contains(text, []byte("czNjcmV0")) {
			t.Errorf("%s: %v, %q", name, err, text)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("SIGTERM: %v", err)
	}
}
