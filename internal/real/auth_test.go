package real

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An account is a user with a password that something on its way could trip on.
// Tab, CR and LF are none to Dovecot: it refuses them in PLAIN and LOGIN.
type account struct {
	user     string
	password string
	shown    string // the password as smtpauthstr -d shows it, if not as it is
}

var accounts = []account{
	{"hanako", "passwd", ""},
	{"hanako@example.jp", "p@ssw0rd", ""},
	{"0123456", "0123abc", ""}, // an octal number to Perl, behind its \0
	{"seven", "7", ""},
	{"blanks", " pass  wd ", ""},
	{"dollar", "$pass$$wd$1", ""},
	{"quotes", `"pass'wd"` + "`", ""},
	{"backslash", `\0pass\nwd\`, `\\0pass\\nwd\\`},
	{"hash", "#passwd#", ""},
	{"colon", "pass:wd::", ""},
	{"option", "-z passwd", ""},
	{"percent", "%s%u%%passwd", ""},
	{"braces", "{MD5}passwd", ""}, // a scheme to Dovecot, were it its own
	{"utf-8", "パスワード", ""},
	// The same in EUC-JP, of which \xd1\xa5 and \xef\xa1\xbc happen to be UTF-8.
	{"euc-jp", "\xa5\xd1\xa5\xb9\xa5\xef\xa1\xbc\xa5\xc9", "\\245\xd1\xa5\\271\\245\xef\xa1\xbc\\245\\311"},
	{"block", strings.Repeat("b", 64), ""},         // the longest that HMAC does not hash first
	{"long", strings.Repeat("passwd*789", 20), ""}, // 200 bytes
}

// shownPassword returns the password as smtpauthstr -d shows it.
func (a account) shownPassword() string {
	if a.shown == "" {
		return a.password
	}
	return a.shown
}

// wrongPasswords returns passwords that are nearly right: a byte more, a byte
// less, another case.
func (a account) wrongPasswords() []string {
	wrong := []string{a.password + "x"}
	if len(a.password) > 1 {
		wrong = append(wrong, a.password[:len(a.password)-1])
	}
	if i := strings.IndexAny(a.password, "abcdefghijklmnopqrstuvwxyz"); i >= 0 {
		wrong = append(wrong, a.password[:i]+strings.ToUpper(a.password[i:i+1])+a.password[i+1:])
	}
	return wrong
}

// refusal is what Dovecot answers to a wrong password.
const refusal = "-ERR [AUTH] Authentication failed."

// masterPassword lets anybody in for another user.
const masterPassword = "bannin"

// startPOP3 starts a server that has all the accounts, and does not punish wrong
// passwords.
func startPOP3(t *testing.T) *dovecot {
	t.Helper()
	config := dovecotConfig{
		protocols: []string{"pop3"},
		passwords: make(map[string]string),
		extra: `auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0 secs
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service pop3-login {
  service_count = 0
}
passdb {
  driver = static
  args = password=` + masterPassword + `
  master = yes
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

// letter returns the only message in the account's mailbox, which says whose it
// is.
func (a account) letter() string { return "Subject: " + a.user + "\n\n" + a.user + "\n" }

// A pop3Client talks POP3 as far as the tests need it.
type pop3Client struct {
	t        *testing.T
	conn     net.Conn
	r        *bufio.Reader
	greeting string
	dir      string   // of kowaza
	printed  []string // all the lines that came from it
}

// dialPOP3 connects to a server on this machine.
func dialPOP3(t *testing.T, port int, dir string) *pop3Client {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := &pop3Client{t: t, conn: conn, r: bufio.NewReader(conn), dir: dir}
	c.greeting = c.line()
	if !strings.HasPrefix(c.greeting, "+OK ") {
		t.Fatalf("pop3 greeting: %s", c.greeting)
	}
	return c
}

// line reads one line.
func (c *pop3Client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("pop3: %v", err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// send sends a line.
func (c *pop3Client) send(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		c.t.Fatalf("pop3 %s: %v", line, err)
	}
}

// do sends a line and returns the first line of the answer.
func (c *pop3Client) do(line string) string {
	c.t.Helper()
	c.send(line)
	return c.line()
}

// ask sends a line that the server must answer with a challenge.
func (c *pop3Client) ask(line string) string {
	c.t.Helper()
	answer := c.do(line)
	challenge, ok := strings.CutPrefix(answer, "+ ")
	if !ok {
		c.t.Fatalf("pop3 %s: %s", line, answer)
	}
	return challenge
}

// text reads the other lines of an answer that has more than one.
func (c *pop3Client) text() string {
	c.t.Helper()
	var text strings.Builder
	for {
		line := c.line()
		if line == "." {
			return text.String()
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
}

// timestamp returns the APOP challenge of the greeting.
func (c *pop3Client) timestamp() string {
	c.t.Helper()
	timestamp := regexp.MustCompile(`<[^<>]+@[^<>]+>`).FindString(c.greeting)
	if timestamp == "" {
		c.t.Fatalf("no challenge in the greeting: %s", c.greeting)
	}
	return timestamp
}

// kowaza runs an applet, which must print that many lines and nothing else, and
// returns them.
func (c *pop3Client) kowaza(lines int, stdin, applet string, args ...string) []string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(c.dir, applet), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		c.t.Fatalf("%s %q: %v\n%s", applet, args, err, stderr.String())
	}
	all := strings.SplitAfter(stdout.String(), "\n")
	if len(all) != lines+1 || all[lines] != "" {
		c.t.Fatalf("%s %q: %q, want %d lines", applet, args, stdout.String(), lines)
	}
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\n")
	}
	c.printed = append(c.printed, all[:lines]...)
	return all[:lines]
}

// str runs an applet that prints one line.
func (c *pop3Client) str(stdin, applet string, args ...string) string {
	c.t.Helper()
	return c.kowaza(1, stdin, applet, args...)[0]
}

// checkMailbox sees whether the client is in the account's mailbox, and leaves.
func (c *pop3Client) checkMailbox(what string, a account) {
	c.t.Helper()
	if got, want := c.do("STAT"), fmt.Sprintf("+OK 1 %d", len(crlf(a.letter()))); got != want {
		c.t.Errorf("%s: STAT: %q, want %q", what, got, want)
	}
	if got := c.do("RETR 1"); !strings.HasPrefix(got, "+OK") {
		c.t.Fatalf("%s: RETR: %s", what, got)
	}
	if got := c.text(); got != a.letter() {
		c.t.Errorf("%s: %q, want %q", what, got, a.letter())
	}
	if got := c.do("QUIT"); !strings.HasPrefix(got, "+OK") {
		c.t.Errorf("%s: QUIT: %s", what, got)
	}
}

// A way is one to log in with kowaza's help.
type way struct {
	name string
	// login returns the line to be sent last, on which the server decides.
	login func(c *pop3Client, user, password string) string
	// fields returns what smtpauthstr -d must show of each line printed.
	fields func(a account) []string
}

// tryWays logs in at all accounts in all ways: with the right password, and with
// wrong ones that must be refused.
func tryWays(t *testing.T, d *dovecot, dir string, ways []way) {
	t.Helper()
	for _, w := range ways {
		for _, a := range accounts {
			what := w.name + ", " + a.user
			c := dialPOP3(t, d.ports["pop3"], dir)
			if answer := c.do(w.login(c, a.user, a.password)); !strings.HasPrefix(answer, "+OK") {
				t.Errorf("%s: %q: %s", what, a.password, answer)
				continue
			}
			c.checkMailbox(what, a)
			if w.fields != nil {
				c.checkDecoded(what, w.fields(a))
			}
		}
		checkRefused(t, d, dir, w)
	}
}

// checkRefused tries all wrong passwords at a time: Dovecot sends its refusals
// twice a second only.
func checkRefused(t *testing.T, d *dovecot, dir string, w way) {
	t.Helper()
	type attempt struct {
		what string
		c    *pop3Client
	}
	var attempts []attempt
	for _, a := range accounts {
		for _, wrong := range a.wrongPasswords() {
			c := dialPOP3(t, d.ports["pop3"], dir)
			c.send(w.login(c, a.user, wrong))
			attempts = append(attempts, attempt{fmt.Sprintf("%s, %s: %q instead of %q", w.name, a.user, wrong, a.password), c})
		}
	}
	for _, a := range attempts {
		if answer := a.c.line(); answer != refusal {
			t.Errorf("%s: %s", a.what, answer)
		}
		a.c.conn.Close()
	}
}

// checkDecoded sees whether smtpauthstr -d shows what the lines printed so far
// were made of. The digest of CRAM-MD5 is in want an empty one.
func (c *pop3Client) checkDecoded(what string, want []string) {
	c.t.Helper()
	for i, line := range c.printed {
		got := strings.Join(c.kowaza(strings.Count(want[i], "\n"), "", "smtpauthstr", "-d", line), "\n") + "\n"
		if strings.HasSuffix(want[i], "\ndigest: \n") {
			got = regexp.MustCompile(`digest: [0-9a-f]{32}\n$`).ReplaceAllString(got, "digest: \n")
		}
		if got != want[i] {
			c.t.Errorf("%s: smtpauthstr -d %s: %q, want %q", what, line, got, want[i])
		}
	}
}

// TestAuthAPOP proves that Dovecot takes mkdigest's answer to the challenge in
// its greeting, whatever the password and however mkdigest gets to know it; and
// neither the digest of a password that is only nearly right nor that of another
// session's challenge.
func TestAuthAPOP(t *testing.T) {
	d := startPOP3(t)
	dir := buildKowaza(t, "mkdigest")
	tryWays(t, d, dir, []way{
		{"operand", func(c *pop3Client, user, password string) string {
			return "APOP " + user + " " + c.str("", "mkdigest", c.timestamp()+password)
		}, nil},
		{"-u", func(c *pop3Client, user, password string) string {
			return c.str("", "mkdigest", "-u", user, c.timestamp()+password)
		}, nil},
		{"-p", func(c *pop3Client, user, password string) string {
			return "APOP " + user + " " + c.str(password+"\n", "mkdigest", "-p", c.timestamp())
		}, nil},
		{"-p -u, no newline", func(c *pop3Client, user, password string) string {
			return c.str(password, "mkdigest", "-p", "-u", user, c.timestamp())
		}, nil},
	})

	a := accounts[0]
	earlier, c := dialPOP3(t, d.ports["pop3"], dir), dialPOP3(t, d.ports["pop3"], dir)
	if answer := c.do(c.str("", "mkdigest", "-u", a.user, earlier.timestamp()+a.password)); answer != refusal {
		t.Errorf("another session's challenge: %s", answer)
	}
	if s := d.complaints(); s != "" {
		t.Errorf("dovecot complains:\n%s", s)
	}
}

// TestAuthSASL proves that Dovecot takes smtpauthstr's strings for AUTH PLAIN,
// LOGIN and CRAM-MD5, whatever the password and however smtpauthstr gets to know
// it, and lets the client into the mailbox that they name; that it refuses those
// of a password that is only nearly right; and that smtpauthstr -d shows what
// the accepted strings were made of.
func TestAuthSASL(t *testing.T) {
	d := startPOP3(t)
	dir := buildKowaza(t, "smtpauthstr")
	plain := func(a account) []string {
		return []string{fmt.Sprintf("authzid: %s\nuserid: %s\npassword: %s\n", a.user, a.user, a.shownPassword())}
	}
	plainNoAuthzid := func(a account) []string {
		return []string{fmt.Sprintf("authzid: \nuserid: %s\npassword: %s\n", a.user, a.shownPassword())}
	}
	login := func(a account) []string {
		return []string{"text: " + a.user + "\n", "text: " + a.shownPassword() + "\n"}
	}
	cramMD5 := func(a account) []string { return []string{"userid: " + a.user + "\ndigest: \n"} }
	tryWays(t, d, dir, []way{
		{"PLAIN", func(c *pop3Client, user, password string) string {
			return "AUTH PLAIN " + c.str("", "smtpauthstr", user, password)
		}, plain},
		{"PLAIN, asked", func(c *pop3Client, user, password string) string {
			c.ask("AUTH PLAIN")
			return c.str(password+"\n", "smtpauthstr", user)
		}, plain},
		{"PLAIN -z ''", func(c *pop3Client, user, password string) string {
			c.ask("AUTH PLAIN")
			return c.str("", "smtpauthstr", "-z", "", user, password)
		}, plainNoAuthzid},
		{"PLAIN -z USER, asked, no newline", func(c *pop3Client, user, password string) string {
			return "AUTH PLAIN " + c.str(password, "smtpauthstr", "-z", user, user)
		}, plain},
		{"LOGIN", func(c *pop3Client, user, password string) string {
			lines := c.kowaza(2, "", "smtpauthstr", "-l", user, password)
			c.ask("AUTH LOGIN")
			c.ask(lines[0])
			return lines[1]
		}, login},
		{"LOGIN, asked", func(c *pop3Client, user, password string) string {
			lines := c.kowaza(2, password+"\n", "smtpauthstr", "-l", user)
			c.ask("AUTH LOGIN")
			c.ask(lines[0])
			return lines[1]
		}, login},
		{"CRAM-MD5", func(c *pop3Client, user, password string) string {
			return c.str("", "smtpauthstr", "-c", c.ask("AUTH CRAM-MD5"), user, password)
		}, cramMD5},
		{"CRAM-MD5, asked", func(c *pop3Client, user, password string) string {
			return c.str(password+"\n", "smtpauthstr", "-c", c.ask("AUTH CRAM-MD5"), user)
		}, cramMD5},
	})
	checkEarlierChallenge(t, d, dir)
	checkOtherMailbox(t, d, dir)
	if s := d.complaints(); s != "" {
		t.Errorf("dovecot complains:\n%s", s)
	}
}

// checkEarlierChallenge sees whether the answer to another session's challenge is
// refused, which it is only if the challenge goes into the answer.
func checkEarlierChallenge(t *testing.T, d *dovecot, dir string) {
	a := accounts[0]
	earlier, c := dialPOP3(t, d.ports["pop3"], dir), dialPOP3(t, d.ports["pop3"], dir)
	challenge := earlier.ask("AUTH CRAM-MD5")
	c.ask("AUTH CRAM-MD5")
	if answer := c.do(c.str("", "smtpauthstr", "-c", challenge, a.user, a.password)); answer != refusal {
		t.Errorf("another session's challenge: %s", answer)
	}
}

// checkOtherMailbox sees whether smtpauthstr -z OTHER USER opens the mailbox of
// OTHER to whom it may be opened, and to nobody else.
func checkOtherMailbox(t *testing.T, d *dovecot, dir string) {
	user, other := accounts[0], accounts[1]
	for _, password := range []string{masterPassword, user.password, other.password} {
		c := dialPOP3(t, d.ports["pop3"], dir)
		answer := c.do("AUTH PLAIN " + c.str("", "smtpauthstr", "-z", other.user, user.user, password))
		switch {
		case password != masterPassword:
			if answer != refusal {
				t.Errorf("-z, %q: %s", password, answer)
			}
		case !strings.HasPrefix(answer, "+OK"):
			t.Errorf("-z: %s", answer)
		default:
			c.checkMailbox("-z", other)
			c.checkDecoded("-z", []string{fmt.Sprintf("authzid: %s\nuserid: %s\npassword: %s\n", other.user, user.user, password)})
		}
	}
}
