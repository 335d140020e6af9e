package applets

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/dialogue/dialoguetest"
)

// listening serves connections to a new port of the loopback address and returns its
// address.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go dialoguetest.Serve(l, serve)
	return l.Addr().String()
}

// runSMTP has jmailsend send from root@example.jp to hoshu by SMTP.
func runSMTP(t *testing.T, address string, args ...string) (stderr string, status int) {
	t.Helper()
	argv := []string{"jmailsend", "-f", "root@example.jp", "-t", "hoshu", "-s", "smtp://" + address}
	stdout, stderr, status := run(t, time.Now(), append(argv, args...)...)
	if stdout != "" {
		t.Errorf("%q: standard output %q", args, stdout)
	}
	return strings.ReplaceAll(stderr, address, "SERVER"), status
}

// inTurn has one connection's line answered at a time. Who reads what f has written locks
// mu, too.
func inTurn(mu *sync.Mutex, f func(connection int, line string) string) func(int, string) string {
	return func(connection int, line string) string {
		mu.Lock()
		defer mu.Unlock()
		return f(connection, line)
	}
}

var copyNumber = regexp.MustCompile(`(?m)^Subject: \[(\d+)/\d+\]`)

// copiesOf returns the numbers of the copies that a server took, sorted.
func copiesOf(t *testing.T, s *dialoguetest.Server) (numbers []int) {
	t.Helper()
	for _, m := range s.Messages() {
		found := copyNumber.FindStringSubmatch(m.Text)
		if found == nil || !strings.HasSuffix(m.Text, "\r\n") {
			t.Fatalf("no copy: %q", m.Text)
		}
		n, err := strconv.Atoi(found[1])
		must(t, err)
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// span returns the numbers from first to last.
func span(first, last int) (numbers []int) {
	for n := first; n <= last; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// TestSMTPBytes proves that what comes over the wire is, in each charset, what sendmail
// would get, with the line ends of SMTP; that FROM is the envelope's sender, too; that
// BODY=8BITMIME is said where it is right and offered; and that nothing is said when all
// went well.
func TestSMTPBytes(t *testing.T) {
	now := time.Now()
	id := regexp.MustCompile(`(?m)^Message-ID: .*$`)
	for _, charset := range []string{"jis", "sjis", "euc", "utf8"} {
		for _, offered := range []bool{true, false} {
			office := &dialoguetest.Server{Domain: "example.jp", NoEightBits: !offered, NoPipelining: !offered}
			args := []string{"jmailsend", "-e", charset, "-f", "ro..ot@example.jp", "-t", "hoshu.@example.jp", "-H", "client.example.jp"}
			args = append(args, "-s", "smtp://"+listening(t, office.SMTP))
			want, _, _ := run(t, now, append(args, "-n")...)
			if office.Connections() > 0 {
				t.Errorf("-n: connected")
			}
			if stdout, stderr, status := run(t, now, args...); stdout+stderr != "" || status != 0 {
				t.Fatalf("%s: %q, %q, status %d", charset, stdout, stderr, status)
			}
			body := ""
			if offered && charset != "jis" {
				body = " BODY=8BITMIME"
			}
			commands := []string{"EHLO client.example.jp", `MAIL FROM:<"ro..ot"@example.jp>` + body, `RCPT TO:<"hoshu."@example.jp>`, "DATA", "QUIT"}
			if got := office.Commands(); !slices.Equal(got, commands) {
				t.Errorf("%s: told %q; want %q", charset, got, commands)
			}
			got := office.Messages()[0].Text
			if strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
				t.Errorf("%s: a line that ends in LF alone", charset)
			}
			got = strings.ReplaceAll(got, "\r\n", "\n")
			if id.ReplaceAllString(got, "") != id.ReplaceAllString(want, "") {
				t.Errorf("%s: sent\n%s\nwant\n%s", charset, got, want)
			}
		}
	}
}

// TestSMTPEightBits proves that -v says once that the server does not offer 8BITMIME, if
// that matters.
func TestSMTPEightBits(t *testing.T) {
	office := &dialoguetest.Server{Domain: "example.jp", NoEightBits: true}
	address := listening(t, office.SMTP)
	const remark = "jmailsend: smtp://SERVER: 8BITMIME is not offered: the text is sent as it is\n"
	stderr, status := runSMTP(t, address, "-v", "-c", "3", "-e", "utf8")
	if !strings.HasPrefix(stderr, remark+"jmailsend: 3 of 3 copies sent, ") || status != 0 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if stderr, status = runSMTP(t, address, "-v", "-e", "jis"); !strings.HasPrefix(stderr, "jmailsend: 1 of 1 copy sent, ") || status != 0 {
		t.Errorf("7 bits: status %d, %q", status, stderr)
	}
}

// TestSMTPRefused proves that a copy that is refused, at whatever step, is reported with
// the reply, that nobody gets it, and that all others are sent, on the same connection;
// with PIPELINING and without.
func TestSMTPRefused(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		for _, test := range []struct {
			step, verb, reply, waits string
			connections              int
		}{
			{"mail", "MAIL", "550 5.7.1 not \x1b[2Jyou", "", 1},
			{"rcpt", "RCPT", "450 4.2.0 later", "", 1},
			{"rcpt", "RCPT", "550-first\r\n550 second", "354 go on", 1}, // RFC 2920, 3.1: DATA is taken all the same
			{"data", "DATA", "554 5.5.1 no", "", 1},
			{"message", ".", "552 5.2.2 full", "", 1},
			{"mail", "MAIL", "550 5.7.1 no", "354 go on", 1},
		} {
			if test.waits != "" && !pipelining {
				continue
			}
			office := &dialoguetest.Server{Domain: "example.jp", NoPipelining: !pipelining}
			mails, refused := 0, false
			var mu sync.Mutex
			office.Instead = inTurn(&mu, func(_ int, line string) string {
				verb, _, _ := strings.Cut(line, " ")
				if verb == "MAIL" {
					mails++
					refused = false
				}
				switch {
				case verb == test.verb && mails == 3:
					refused = true
					return test.reply
				case verb == "DATA" && refused && test.waits != "":
					return test.waits
				}
				return ""
			})
			stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "5")
			shown := strings.ReplaceAll(strings.ReplaceAll(test.reply, "\r\n550", ""), "550-", "550 ")
			shown = strings.ReplaceAll(shown, "\x1b", `\033`)
			want := fmt.Sprintf("jmailsend: copy 3/5: %s: %s\n", test.step, shown)
			if stderr != want || status != 1 {
				t.Errorf("%s, pipelining %v: status %d, %q; want %q", test.step, pipelining, status, stderr, want)
			}
			if got := copiesOf(t, office); !slices.Equal(got, []int{1, 2, 4, 5}) || office.Connections() != test.connections {
				t.Errorf("%s, pipelining %v: copies %v, %d connections", test.step, pipelining, got, office.Connections())
			}
		}
	}
}

// TestSMTPWaitsForOthers proves that a text that would reach a recipient, though the copy
// was refused, is not sent: the connection is given up.
func TestSMTPWaitsForOthers(t *testing.T) {
	office := &dialoguetest.Server{Domain: "example.jp"}
	office.Instead = func(n int, line string) string {
		switch {
		case n > 1:
		case strings.HasPrefix(line, "MAIL"):
			return "451 4.3.0 later"
		case strings.HasPrefix(line, "RCPT"):
			return "250 all the same"
		case line == "DATA":
			return "354 go on"
		}
		return ""
	}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "2")
	if stderr != "jmailsend: copy 1/2: mail: 451 4.3.0 later\n" || status != 1 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if got := copiesOf(t, office); !slices.Equal(got, []int{2}) || office.Connections() != 2 {
		t.Errorf("copies %v, %d connections", got, office.Connections())
	}
}

// TestSMTPLike proves that of refusals that are alike, whatever else they say, 20 are
// printed and the others counted, however long each is.
func TestSMTPLike(t *testing.T) {
	office := &dialoguetest.Server{Domain: "example.jp"}
	rcpts := 0
	office.Instead = func(_ int, line string) string {
		if strings.HasPrefix(line, "RCPT") {
			rcpts++
			return fmt.Sprintf("450 4.2.0 greylisted, see http://example.jp/%d/%s", rcpts, strings.Repeat("x", 5000))
		}
		return ""
	}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "30")
	lines := strings.Split(stderr, "\n")
	if len(lines) != 22 || status != 1 {
		t.Fatalf("status %d, %d lines", status, len(lines))
	}
	for i, line := range lines[:20] {
		if !strings.HasPrefix(line, fmt.Sprintf("jmailsend: copy %d/30: rcpt: 450 4.2.0 greylisted, see http://example.jp/%d/xxx", i+1, i+1)) || len(line) > 1500 {
			t.Errorf("%d bytes: %.100s", len(line), line)
		}
	}
	if want := "jmailsend: smtp://SERVER: rcpt: 450: ... and 10 more"; lines[20] != want {
		t.Errorf("%q; want %q", lines[20], want)
	}
}

// TestSMTPLost proves that a copy whose connection is lost is reported and sent by nobody
// a second time, neither one whose text went out without an answer, and that the next
// goes over a new connection.
func TestSMTPLost(t *testing.T) {
	for _, test := range []struct{ verb, how, want string }{
		{"MAIL", dialoguetest.Hangup, "mail: the server closed the connection"},
		{"RCPT", "421 4.3.2 closing down", "rcpt: 421 4.3.2 closing down"},
		{"DATA", dialoguetest.Hangup, "data: the server closed the connection"},
		{"DATA", "nonsense", "data: what the server says is no reply of SMTP: nonsense"},
		{".", dialoguetest.Hangup, "not known whether it was taken: message: the server closed the connection"},
		{".", "421 4.3.2 closing down", "message: 421 4.3.2 closing down"},
		{".", "25", "not known whether it was taken: message: what the server says is no reply of SMTP: 25"},
	} {
		for _, per := range []string{"100", "3"} { // the third is a connection's last
			for _, pipelining := range []bool{true, false} {
				office := &dialoguetest.Server{Domain: "example.jp", NoPipelining: !pipelining}
				mails, texts := 0, 0
				var mu sync.Mutex
				office.Instead = inTurn(&mu, func(_ int, line string) string {
					verb, _, _ := strings.Cut(line, " ")
					switch verb {
					case "MAIL":
						mails++
					case ".":
						texts++
					}
					if verb == test.verb && mails == 3 {
						return test.how
					}
					return ""
				})
				stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "5", "--per-connection", per)
				if want := "jmailsend: copy 3/5: " + test.want + "\n"; stderr != want || status != 1 {
					t.Errorf("%s, %q, pipelining %v: status %d, %q; want %q", test.verb, test.how, pipelining, status, stderr, want)
				}
				mu.Lock()
				sent := 4
				if test.verb == "." {
					sent = 5
				}
				if got := copiesOf(t, office); !slices.Equal(got, []int{1, 2, 4, 5}) || office.Connections() != 2 || mails != 5 || texts != sent {
					t.Errorf("%s, %q, pipelining %v: copies %v, %d connections, %d times MAIL, %d texts", test.verb, test.how, pipelining, got, office.Connections(), mails, texts)
				}
				mu.Unlock()
			}
		}
	}
}

// TestSMTPThreeInARow proves that after three connections in a row that took nothing the
// rest is reported as not sent, that one which took a copy begins the row anew, and that
// a refused copy on a good connection is none of them.
func TestSMTPThreeInARow(t *testing.T) {
	const closed = ": mail: the server closed the connection\n"
	for _, test := range []struct {
		instead     func(connection int, line string) string
		want        string
		connections int
		taken       []int
	}{
		{
			func(n int, line string) string {
				if strings.HasPrefix(line, "MAIL") {
					return dialoguetest.Hangup
				}
				return ""
			},
			"jmailsend: copy 1/9" + closed + "jmailsend: copy 2/9" + closed + "jmailsend: copy 3/9" + closed +
				"jmailsend: smtp://SERVER: 6 copies not sent\n", 3, nil,
		},
		{
			func(n int, line string) string {
				if line == "CONNECT" {
					return "421 4.7.0 too many connections"
				}
				return ""
			},
			"jmailsend: smtp://SERVER: greeting: 421 4.7.0 too many connections\n" +
				"jmailsend: smtp://SERVER: greeting: 421: ... and 2 more\njmailsend: smtp://SERVER: 9 copies not sent\n", 3, nil,
		},
		{ // the third takes one
			func(n int, line string) string {
				if strings.HasPrefix(line, "MAIL") && n != 3 {
					return dialoguetest.Hangup
				}
				return ""
			},
			"jmailsend: copy 1/9" + closed + "jmailsend: copy 2/9" + closed + "jmailsend: copy 4/9" + closed + "jmailsend: copy 5/9" + closed +
				"jmailsend: copy 6/9" + closed + "jmailsend: smtp://SERVER: 3 copies not sent\n", 6, []int{3},
		},
		{
			func(n int, line string) string {
				if strings.HasPrefix(line, "RCPT") {
					return "550 5.1.1 no"
				}
				return ""
			},
			func() (want string) {
				for i := range 9 {
					want += fmt.Sprintf("jmailsend: copy %d/9: rcpt: 550 5.1.1 no\n", i+1)
				}
				return want
			}(), 9, nil,
		},
	} {
		office := &dialoguetest.Server{Domain: "example.jp", Instead: test.instead}
		stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "9", "--per-connection", "1")
		if stderr != test.want || status != 1 {
			t.Errorf("status %d, %q; want %q", status, stderr, test.want)
		}
		if got := copiesOf(t, office); !slices.Equal(got, test.taken) || office.Connections() != test.connections {
			t.Errorf("copies %v, %d connections; want %v, %d", got, office.Connections(), test.taken, test.connections)
		}
	}

	// Nobody listens.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l.Close()
	stderr, status := runSMTP(t, l.Addr().String(), "-j", "8", "-c", "9")
	if want := "jmailsend: smtp://SERVER: connect: SERVER: connection refused\n" +
		"jmailsend: smtp://SERVER: connect: SERVER: connection refused: ... and 2 more\njmailsend: smtp://SERVER: 9 copies not sent\n"; stderr != want || status != 1 {
		t.Errorf("status %d, %q; want %q", status, stderr, want)
	}
}

// TestSMTPFewConnections proves that a server that takes fewer connections than -j wants
// gets all copies over those that it takes, and that the others are told of.
func TestSMTPFewConnections(t *testing.T) {
	office := &dialoguetest.Server{Domain: "example.jp"}
	all := make(chan struct{}) // the refused ones have come
	var mu sync.Mutex
	refusals := 0
	office.Instead = func(n int, line string) string {
		switch {
		case n > 2 && line == "CONNECT":
			mu.Lock()
			defer mu.Unlock()
			if refusals++; refusals == 6*maxLost {
				close(all)
			}
			return "421 4.7.0 too many connections"
		case n == 2 && line == "CONNECT":
			<-all
		case n == 1 && strings.HasPrefix(line, "MAIL"):
			<-all
		}
		return ""
	}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "40", "-j", "8")
	if !strings.Contains(stderr, "jmailsend: smtp://SERVER: greeting: 421 4.7.0 too many connections\n") || strings.Contains(stderr, "not sent") || status != 1 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if got := copiesOf(t, office); !slices.Equal(got, span(1, 40)) {
		t.Errorf("copies %v", got)
	}
}

// TestSMTPPerConnection proves that a connection carries so many copies and is ended with
// QUIT, and that -j holds so many connections at once.
func TestSMTPPerConnection(t *testing.T) {
	for _, pipelining := range []bool{true, false} {
		office := &dialoguetest.Server{Domain: "example.jp", NoPipelining: !pipelining}
		mails, quits := make(map[int]int), 0
		var mu sync.Mutex
		office.Instead = inTurn(&mu, func(n int, line string) string {
			if strings.HasPrefix(line, "MAIL") {
				mails[n]++
			} else if line == "QUIT" {
				quits++
			}
			return ""
		})
		if stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "10", "--per-connection", "3"); stderr != "" || status != 0 {
			t.Errorf("status %d, %q", status, stderr)
		}
		mu.Lock()
		if got := fmt.Sprint(mails, quits, copiesOf(t, office)); got != "map[1:3 2:3 3:3 4:1] 4 [1 2 3 4 5 6 7 8 9 10]" {
			t.Errorf("pipelining %v: copies by connection, QUITs, copies: %s", pipelining, got)
		}
		mu.Unlock()
	}

	office := &dialoguetest.Server{Domain: "example.jp"}
	all := make(chan struct{})
	var mu sync.Mutex
	come := 0
	office.Instead = func(n int, line string) string {
		if line == "CONNECT" {
			mu.Lock()
			if come++; come == 8 {
				close(all)
			}
			mu.Unlock()
		} else if strings.HasPrefix(line, "MAIL") {
			<-all // they are there at once, or none goes on
		}
		return ""
	}
	if stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "100", "-j", "8"); stderr != "" || status != 0 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if got := copiesOf(t, office); !slices.Equal(got, span(1, 100)) || office.Connections() != 8 {
		t.Errorf("copies %v, %d connections", got, office.Connections())
	}
}

// TestSMTPLogin proves that a right password opens every connection and is asked for once,
// that a wrong one is told to the server once whatever -j says, ends the run and is
// shown to nobody, and that so it is when the server hangs up instead of an answer.
func TestSMTPLogin(t *testing.T) {
	const password = "s3cret-Passw0rd"
	file := t.TempDir() + "/pw"
	must(t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", ""} {
		args := []string{"-c", "40", "-j", "8", "--per-connection", "2", "-u", "hanako", "-P", file}
		if mechanism != "" {
			args = append(args, "-a", mechanism)
		}
		office := &dialoguetest.Server{Domain: "example.jp", User: "hanako", Password: password}
		if stderr, status := runSMTP(t, listening(t, office.SMTP), args...); stderr != "" || status != 0 {
			t.Errorf("%s: status %d, %q", mechanism, status, stderr)
		}
		taken, refused := office.Logins()
		if got := copiesOf(t, office); !slices.Equal(got, span(1, 40)) || taken < 20 || refused > 0 {
			t.Errorf("%s: copies %v, %d logins, %d refused", mechanism, got, taken, refused)
		}
		for _, hangup := range []bool{false, true} {
			office = &dialoguetest.Server{Domain: "example.jp", User: "hanako", Password: "another"}
			tries := 0
			var mu sync.Mutex
			office.Instead = inTurn(&mu, func(_ int, line string) string {
				if strings.HasPrefix(line, "AUTH") {
					if tries++; hangup {
						return dialoguetest.Hangup
					}
				}
				return ""
			})
			want := "jmailsend: smtp://SERVER: auth: 535 5.7.8 Error: authentication failed:\n"
			if hangup {
				want = "jmailsend: smtp://SERVER: auth: the server closed the connection\n"
			}
			want += "jmailsend: smtp://SERVER: 40 copies not sent\n"
			if stderr, status := runSMTP(t, listening(t, office.SMTP), args...); stderr != want || status != 1 {
				t.Errorf("%s, wrong: status %d, %q; want %q", mechanism, status, stderr, want)
			}
			mu.Lock()
			if tries != 1 || office.Connections() != 1 || len(office.Messages()) > 0 {
				t.Errorf("%s, wrong: %d tries, %d connections, %d messages", mechanism, tries, office.Connections(), len(office.Messages()))
			}
			mu.Unlock()
		}
	}

	// Asked for, once.
	office := &dialoguetest.Server{Domain: "example.jp", User: "hanako", Password: password}
	address := listening(t, office.SMTP)
	argv := []string{"jmailsend", "-s", "smtp://" + address, "-f", "a", "-t", "b", "-u", "hanako", "-c", "6", "-j", "2", "--per-connection", "1"}
	if stdout, stderr, status := runOn(strings.NewReader(password+"\nmore\n"), argv...); stdout+stderr != "" || status != 0 {
		t.Errorf("asked: status %d, %q, %q", status, stdout, stderr)
	}
	if taken, refused := office.Logins(); taken < 6 || refused != 0 || len(office.Messages()) != 6 {
		t.Errorf("asked: %d logins, %d refused, %d messages", taken, refused, len(office.Messages()))
	}
}

// TestSMTPLoginLater proves that a login that is refused in the middle of a run, as for an
// account that was locked meanwhile, ends it, with the copies under way sent.
func TestSMTPLoginLater(t *testing.T) {
	file := t.TempDir() + "/pw"
	must(t, os.WriteFile(file, []byte("passwd\n"), 0o600))
	office := &dialoguetest.Server{Domain: "example.jp", User: "hanako", Password: "passwd"}
	office.Instead = func(n int, line string) string {
		if n == 3 && strings.HasPrefix(line, "AUTH") {
			return "535 5.7.8 locked"
		}
		return ""
	}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-c", "10", "--per-connection", "2", "-u", "hanako", "-P", file)
	if want := "jmailsend: smtp://SERVER: auth: 535 5.7.8 locked\njmailsend: smtp://SERVER: 6 copies not sent\n"; stderr != want || status != 1 {
		t.Errorf("status %d, %q; want %q", status, stderr, want)
	}
	if got := copiesOf(t, office); !slices.Equal(got, span(1, 4)) || office.Connections() != 3 {
		t.Errorf("copies %v, %d connections", got, office.Connections())
	}
}

// TestSMTPSettings proves that the user and the password of the settings log in at the
// server of the settings and are told to no other, and that a user whom -u names is not
// tried with another's password.
func TestSMTPSettings(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/pw", []byte("passwd\n"), 0o600))
	for _, test := range []struct {
		other bool // -s names another server
		args  []string
		stdin string
		taken int
		told  string // to the other, or to the one
		says  string
	}{
		{false, nil, "", 1, "", ""},
		{true, nil, "", 0, "", ""},
		{true, []string{"-u", "hanako"}, "typed\n", 0, "hanako typed", "auth: 535 "},
		{false, []string{"-u", "taro"}, "typed\n", 0, "taro typed", "auth: 535 "},
		{false, []string{"-u", "hanako"}, "", 1, "", ""},
	} {
		var mu sync.Mutex
		told := "" // by a login that was refused, user and password
		office := func() (*dialoguetest.Server, string) {
			s := &dialoguetest.Server{Domain: "example.jp", User: "hanako", Password: "passwd", Mechanisms: "PLAIN"}
			s.Instead = inTurn(&mu, func(_ int, line string) string {
				if answer, ok := strings.CutPrefix(line, "AUTH PLAIN "); ok && dialoguetest.Decode(answer) != "hanako\x00hanako\x00passwd" && dialoguetest.Decode(answer) != "\x00hanako\x00passwd" {
					words := strings.Split(dialoguetest.Decode(answer), "\x00")
					told = words[1] + " " + words[2]
				}
				return ""
			})
			return s, "smtp://" + listening(t, s.SMTP)
		}
		own, ownAddress := office()
		other, otherAddress := office()
		conf := dir + "/kowaza.conf"
		must(t, os.WriteFile(conf, []byte("JMAIL_FROM=a\nJMAIL_SERVER="+ownAddress+"\nJMAIL_USER=hanako\nJMAIL_PASSWORD_FILE="+dir+"/pw\n"), 0o644))
		argv := append([]string{"jmailsend", "-t", "b"}, test.args...)
		if test.other {
			argv = append(argv, "-s", otherAddress)
		}
		var out, errs bytes.Buffer
		env := &cli.Env{
			Stdin: strings.NewReader(test.stdin), Stdout: cli.NewOutput(&out), Stderr: &errs, Now: time.Now, Root: "/nonexistent",
			Getenv: func(name string) string { return map[string]string{"KOWAZA_CONF": conf}[name] },
		}
		status := Main(env, argv)
		taken, _ := own.Logins()
		stolen, _ := other.Logins()
		mu.Lock()
		if taken != test.taken || stolen > 0 || told != test.told || !strings.Contains(errs.String(), test.says) || (status == 0) != (test.says == "") {
			t.Errorf("%q: status %d, %d logins here, %d there, told %q, %q", argv, status, taken, stolen, told, errs.String())
		}
		mu.Unlock()
	}
}

// TestSMTPCertificate proves that copies go by smtps and STARTTLS to a server with the
// right certificate only, that another ends the run at the first connection, and that a
// connection lost before TLS does not.
func TestSMTPCertificate(t *testing.T) {
	ca, err := dialoguetest.NewAuthority("test CA")
	must(t, err)
	right, err := ca.Issue("127.0.0.1", time.Now().AddDate(0, 1, 0))
	must(t, err)
	wrong, err := ca.Issue("127.0.0.2", time.Now().AddDate(0, 1, 0))
	must(t, err)
	roots := t.TempDir() + "/ca.pem"
	must(t, os.WriteFile(roots, ca.PEM(), 0o644))
	for _, starttls := range []bool{false, true} {
		send := func(cert tls.Certificate, lost bool, more ...string) (*dialoguetest.Server, string, int) {
			office := &dialoguetest.Server{Domain: "example.jp", TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
			serve, scheme := office.SMTPS, "smtps://"
			args := []string{"jmailsend", "-f", "a", "-t", "b", "-c", "20", "-j", "4", "--per-connection", "4"}
			if starttls {
				serve, scheme = office.SMTP, "smtp://"
				args = append(args, "-S")
			}
			var mu sync.Mutex
			n := 0
			address := listening(t, func(c net.Conn) {
				mu.Lock()
				n++
				first := n == 1
				mu.Unlock()
				if !first || !lost {
					serve(c)
				}
			})
			stdout, stderr, status := run(t, time.Now(), append(append(args, "-s", scheme+address), more...)...)
			return office, strings.ReplaceAll(stdout+stderr, address, "SERVER"), status
		}
		office, said, status := send(right, false, "--ca", roots)
		if got := copiesOf(t, office); said != "" || status != 0 || !slices.Equal(got, span(1, 20)) {
			t.Errorf("right: status %d, %q, copies %v", status, said, got)
		}
		if office, said, status = send(right, true, "--ca", roots); !strings.Contains(said, "the server closed the connection") || status != 1 || len(office.Messages()) != 20 {
			t.Errorf("right, lost once: status %d, %q, %d messages", status, said, len(office.Messages()))
		}
		for _, test := range []struct {
			cert tls.Certificate
			args []string
			says string
		}{
			{wrong, []string{"--ca", roots}, ": tls: certificate is valid for 127.0.0.2, not 127.0.0.1\n"},
			{right, nil, ": tls: certificate signed by unknown authority\n"},
			{right, []string{"--ca", roots, "--cert-days", "60"}, ": tls: the certificate's days left: "},
		} {
			office, said, status := send(test.cert, false, test.args...)
			if !strings.Contains(said, test.says) || !strings.HasSuffix(said, ": 20 copies not sent\n") || strings.Count(said, "\n") != 2 || status != 1 {
				t.Errorf("%q: status %d, %q", test.args, status, said)
			}
			if len(office.Messages()) > 0 {
				t.Errorf("%q: %d messages", test.args, len(office.Messages()))
			}
		}
	}
	office := &dialoguetest.Server{Domain: "example.jp"}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-S", "-c", "3")
	if want := "jmailsend: smtp://SERVER: starttls: the server does not offer STARTTLS\njmailsend: smtp://SERVER: 3 copies not sent\n"; stderr != want || status != 1 || office.Connections() != 1 {
		t.Errorf("no STARTTLS: status %d, %q", status, stderr)
	}
}

// TestSMTPDeadline proves that the time of -T is for each copy and for each connecting: a
// server that is silent at any step holds up that one only, and a run may last longer.
func TestSMTPDeadline(t *testing.T) {
	bin := staticBinary(t)
	// In processes of their own: they wait long enough to do so at the same time.
	apart := func(address string, args ...string) (stderr string, status int) {
		e := runEnd(t, exec.Command(bin+"/jmailsend", append([]string{"-f", "a", "-t", "b", "-s", "smtp://" + address}, args...)...))
		return strings.ReplaceAll(e.stdout+e.stderr, address, "SERVER"), e.status
	}
	for _, test := range []struct{ verb, want string }{
		{"CONNECT", "jmailsend: smtp://SERVER: greeting: not done within 3 seconds\n"},
		{"RCPT", "jmailsend: copy 1/2: rcpt: not done within 3 seconds\n"},
		{".", "jmailsend: copy 1/2: not known whether it was taken: message: not done within 3 seconds\n"},
	} {
		t.Run("silent at "+test.verb, func(t *testing.T) {
			t.Parallel()
			office := &dialoguetest.Server{Domain: "example.jp"}
			office.Instead = func(n int, line string) string {
				if verb, _, _ := strings.Cut(line, " "); n == 1 && verb == test.verb {
					return dialoguetest.Silence
				}
				return ""
			}
			stderr, status := apart(listening(t, office.SMTP), "-T", "3", "-c", "2")
			if stderr != test.want || status != 1 {
				t.Errorf("status %d, %q; want %q", status, stderr, test.want)
			}
			if got := copiesOf(t, office); !slices.Contains(got, 2) || office.Connections() != 2 {
				t.Errorf("copies %v, %d connections", got, office.Connections())
			}
		})
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		office := &dialoguetest.Server{Domain: "example.jp"}
		office.Instead = func(_ int, line string) string {
			if line == "." {
				time.Sleep(500 * time.Millisecond)
			}
			return ""
		}
		if stderr, status := apart(listening(t, office.SMTP), "-T", "3", "-c", "8"); stderr != "" || status != 0 {
			t.Errorf("status %d, %q", status, stderr)
		}
	})
}

// TestSMTPFigures proves that -v tells how many copies were taken, how fast, and how long
// they took; and that those figures are what their names say.
func TestSMTPFigures(t *testing.T) {
	office := &dialoguetest.Server{Domain: "example.jp"}
	stderr, status := runSMTP(t, listening(t, office.SMTP), "-v", "-c", "50", "-j", "3")
	m := regexp.MustCompile(`^jmailsend: 50 of 50 copies sent, \d+\.\d\d seconds, \d+\.\d copies a second; milliseconds a copy: median (\d+\.\d), 95th percentile (\d+\.\d), maximum (\d+\.\d)\n$`).FindStringSubmatch(stderr)
	if m == nil || status != 0 {
		t.Fatalf("status %d, %q", status, stderr)
	}
	var figures []float64
	for _, text := range m[1:] {
		f, err := strconv.ParseFloat(text, 64)
		must(t, err)
		figures = append(figures, f)
	}
	if !slices.IsSorted(figures) || figures[2] == 0 {
		t.Errorf("figures %v", figures)
	}
	for _, test := range []struct {
		took []float32
		want string
	}{
		{nil, ""},
		{[]float32{0, 0}, ""},
		{[]float32{7}, "; milliseconds a copy: median 7.0, 95th percentile 7.0, maximum 7.0"},
		{[]float32{9, 0, 1, 3}, "; milliseconds a copy: median 3.0, 95th percentile 9.0, maximum 9.0"},
		{func() (took []float32) {
			for n := 100; n > 0; n-- {
				took = append(took, float32(n))
			}
			return took
		}(), "; milliseconds a copy: median 50.0, 95th percentile 95.0, maximum 100.0"},
	} {
		if got := (&smtpRun{took: test.took}).figures(); got != test.want {
			t.Errorf("%v: %q; want %q", test.took, got, test.want)
		}
	}
}

// TestSMTPSignals proves that at a signal, whenever it comes, no copy more is begun, those
// that are being sent are finished, QUIT is said, what is told is what the server took,
// and the process ends by the signal.
func TestSMTPSignals(t *testing.T) {
	bin := staticBinary(t)
	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		office := &dialoguetest.Server{Domain: "example.jp"}
		var cmd *exec.Cmd
		started := make(chan struct{})
		var mu sync.Mutex
		texts, open := 0, make(map[int]bool) // with a copy on it, and without QUIT
		office.Instead = func(n int, line string) string {
			mu.Lock()
			defer mu.Unlock()
			switch line {
			case "DATA":
				open[n] = true
			case ".":
				if texts++; texts == 20 {
					<-started
					cmd.Process.Signal(sig)
				} else if texts > 20 {
					// Each one more gives the process time to learn of the signal.
					time.Sleep(10 * time.Millisecond)
				}
			case "QUIT":
				delete(open, n)
			}
			return ""
		}
		address := listening(t, office.SMTP)
		cmd = exec.Command(bin+"/jmailsend", "-s", "smtp://"+address, "-f", "a", "-t", "b", "-c", "1000000", "-j", strconv.Itoa(1+3*i))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		must(t, cmd.Start())
		close(started)
		end := make(chan error, 1)
		go func() { end <- cmd.Wait() }()
		select {
		case <-end:
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Fatalf("%v: does not end", sig)
		}
		taken := copiesOf(t, office)
		want := fmt.Sprintf("jmailsend: stopped by %s, %d of 1000000 copies sent\n", sig, len(taken))
		st := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if stderr.String() != want || !st.Signaled() || st.Signal() != sig {
			t.Errorf("%v: %v, %q; want %q", sig, cmd.ProcessState, stderr.String(), want)
		}
		mu.Lock()
		if len(open) > 0 || !slices.Equal(taken, span(1, len(taken))) {
			t.Errorf("%v: %d connections without QUIT, %d copies up to %d", sig, len(open), len(taken), taken[len(taken)-1])
		}
		mu.Unlock()
	}

	// While it waits for a server that says nothing.
	office := &dialoguetest.Server{Domain: "example.jp"}
	waits := make(chan struct{})
	office.Instead = func(_ int, line string) string {
		close(waits)
		return dialoguetest.Silence
	}
	cmd := exec.Command(bin+"/jmailsend", "-s", "smtp://"+listening(t, office.SMTP), "-f", "a", "-t", "b", "-c", "3")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	<-waits
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" || stderr.String() != "jmailsend: stopped by terminated, 0 of 3 copies sent\n" {
		t.Errorf("connecting: %v, %q", err, stderr.String())
	}
}
