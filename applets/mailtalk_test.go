package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"kowaza/internal/dialogue/dialoguetest"
)

// mailServer has each connection to a new port of the loopback address served by f, and
// returns the server as mailtalk takes it.
func mailServer(t *testing.T, scheme string, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go dialoguetest.Serve(l, f)
	return scheme + "://" + l.Addr().String()
}

// emptyConf returns the name of a kowaza.conf with nothing in it.
func emptyConf(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kowaza.conf")
	must(t, os.WriteFile(name, nil, 0o644))
	return name
}

// runTalk runs mailtalk on an empty kowaza.conf.
func runTalk(t *testing.T, bin, stdin string, args ...string) ending {
	t.Helper()
	cmd := exec.Command(bin+"/mailtalk", args...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+emptyConf(t))
	cmd.Stdin = strings.NewReader(stdin)
	return runEnd(t, cmd)
}

// TestTalkOrder proves what is said, in which order: the envelope, COMMANDs, the message; and
// what is left out after a failure.
func TestTalkOrder(t *testing.T) {
	bin := staticBinary(t)
	for _, c := range []struct {
		what   string
		args   []string // behind the server
		before []string // and before it
		said   []string
		taken  int
		status int
		says   string
	}{
		{"an envelope alone", nil, []string{"-f", "a@hoge.cxm", "-t", "b@hoge.cxm"},
			[]string{"EHLO me", "MAIL FROM:<a@hoge.cxm>", "RCPT TO:<b@hoge.cxm>", "RSET", "QUIT"}, 0, 0, ""},
		{"a sender alone", nil, []string{"-f", ""}, []string{"EHLO me", "MAIL FROM:<>", "RSET", "QUIT"}, 0, 0, ""},
		{"all", []string{"noop", "vrfy"}, []string{"-f", "a", "-t", "b", "-e", "utf8"},
			[]string{"EHLO me", "MAIL FROM:<a> BODY=8BITMIME", "RCPT TO:<b>", "noop", "vrfy"}, 0, 1, "mailtalk: vrfy: 500 5.5.2 Error: command not recognized\n"},
		{"a message", []string{"noop"}, []string{"-f", "a", "-t", "b", "-t", "c", "-e", "jis"},
			[]string{"EHLO me", "MAIL FROM:<a>", "RCPT TO:<b>", "RCPT TO:<c>", "noop", "DATA", "QUIT"}, 1, 0, ""},
		{"one recipient refused", nil, []string{"-f", "a", "-t", "x@elsewhere.example", "-t", "c", "-e", "jis"},
			[]string{"EHLO me", "MAIL FROM:<a>", "RCPT TO:<x@elsewhere.example>", "RCPT TO:<c>", "DATA", "QUIT"}, 1, 1,
			"mailtalk: rcpt: x@elsewhere.example: 554 5.7.1 <x@elsewhere.example>: Relay access denied\n"},
		{"one recipient refused, commands", []string{"noop"}, []string{"-f", "a", "-t", "x@elsewhere.example", "-t", "c", "-e", "jis"},
			[]string{"EHLO me", "MAIL FROM:<a>", "RCPT TO:<x@elsewhere.example>", "RCPT TO:<c>", "QUIT"}, 0, 1,
			"mailtalk: rcpt: x@elsewhere.example: 554 5.7.1 <x@elsewhere.example>: Relay access denied\n"},
		{"all recipients refused", nil, []string{"-f", "a", "-t", "x@e.example", "-t", "y@e.example", "-e", "jis"},
			[]string{"EHLO me", "MAIL FROM:<a>", "RCPT TO:<x@e.example>", "RCPT TO:<y@e.example>", "QUIT"}, 0, 1,
			"mailtalk: rcpt: x@e.example: 554 5.7.1 <x@e.example>: Relay access denied\nmailtalk: rcpt: y@e.example: 554 5.7.1 <y@e.example>: Relay access denied\n"},
		{"refused as it must be", []string{"mail from:<a>", "!rcpt to:<x@e.example>", "!bogus", "!data"}, nil,
			[]string{"EHLO me", "mail from:<a>", "rcpt to:<x@e.example>", "bogus", "data", "QUIT"}, 0, 0, ""},
		{"not refused", []string{"!noop", "noop"}, nil, []string{"EHLO me", "noop", "QUIT"}, 0, 1, "mailtalk: noop: not refused: 250 2.0.0 Ok\n"},
		{"data", []string{"mail from:<a>", "rcpt to:<b>", "DATA", "noop"}, nil,
			[]string{"EHLO me", "mail from:<a>", "rcpt to:<b>", "DATA", "noop", "QUIT"}, 1, 0, ""},
		{"data that must be refused and is not", []string{"mail from:<a>", "rcpt to:<b>", "!data", "noop"}, nil,
			[]string{"EHLO me", "mail from:<a>", "rcpt to:<b>", "data"}, 0, 1, "mailtalk: data: not refused: 354 End data with <CR><LF>.<CR><LF>\n"},
		{"data too early", []string{"data", "noop"}, nil, []string{"EHLO me", "data", "QUIT"}, 0, 1, "mailtalk: data: 503 5.5.1 Error: no valid recipients\n"},
		{"quit by hand", []string{"noop", "quit"}, nil, []string{"EHLO me", "noop", "quit"}, 0, 0, ""},
	} {
		office := &dialoguetest.Server{Domain: "hoge.cxm"}
		args := append(append([]string{"-H", "me"}, c.before...), mailServer(t, "smtp", office.SMTP))
		e := runTalk(t, bin, "Subject: x\n\n.\n", append(args, c.args...)...)
		if e.status != c.status || e.stderr != c.says {
			t.Errorf("%s: status %d, %q; want %d, %q", c.what, e.status, e.stderr, c.status, c.says)
		}
		said := office.Commands()
		if c.what == "all" && len(said) > 0 {
			said = said[:len(said)-1] // QUIT
		}
		if !slices.Equal(said, c.said) || len(office.Messages()) != c.taken {
			t.Errorf("%s: said %q, taken %d; want %q, %d", c.what, said, len(office.Messages()), c.said, c.taken)
		}
		if c.what == "data" && office.Messages()[0].Text != "Subject: x\r\n\r\n.\r\n" {
			t.Errorf("standard input came as %q", office.Messages()[0].Text)
		}
	}
	office := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "hoge.cxm"}
	office.Put("Subject: a\n\n.b\n")
	for _, c := range []struct {
		args   []string
		said   []string
		status int
	}{
		{nil, []string{"CAPA", "STAT", "QUIT"}, 0},
		{[]string{"stat", "list", "uidl", "retr 1", "top 1 0"}, []string{"CAPA", "stat", "list", "uidl", "retr 1", "top 1 0", "QUIT"}, 0},
		{[]string{"!retr 2", "retr 2", "stat"}, []string{"CAPA", "retr 2", "retr 2", "QUIT"}, 1},
		{[]string{"!retr 1"}, []string{"CAPA", "retr 1", "QUIT"}, 1},
	} {
		before := len(office.Commands())
		e := runTalk(t, bin, "passwd\n", append([]string{"-u", "hanako", mailServer(t, "pop3", office.POP3)}, c.args...)...)
		said := slices.DeleteFunc(office.Commands()[before:], func(line string) bool { return strings.HasPrefix(line, "AUTH") })
		if e.status != c.status || !slices.Equal(said, c.said) || len(office.Messages()) != 1 {
			t.Errorf("%q: status %d, said %q, %q", c.args, e.status, said, e.stderr)
		}
		if len(c.args) > 3 && !strings.Contains(e.stdout, " < .b\n") {
			t.Errorf("the text is shown as %q", e.stdout)
		}
	}
}

// TestTalkOutputs proves what --json, --nagios and -q print.
func TestTalkOutputs(t *testing.T) {
	bin := staticBinary(t)
	office := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "hoge.cxm"}
	server := mailServer(t, "smtp", office.SMTP)
	slow := mailServer(t, "smtp", func(c net.Conn) {
		time.Sleep(60 * time.Millisecond)
		office.SMTP(c)
	})
	if e := runTalk(t, bin, "", "-q", server); e.status != 0 || e.stdout+e.stderr != "" {
		t.Errorf("-q: %+v", e)
	}
	if e := runTalk(t, bin, "", "-q", server, "bogus"); e.status != 1 || !strings.Contains(e.stdout, " > QUIT\n") || !strings.HasPrefix(e.stdout, "  0.0") || e.stderr != "mailtalk: bogus: 500 5.5.2 Error: command not recognized\n" {
		t.Errorf("-q: %+v", e)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{server}, 0, `^SMTP OK - 0\.\d{3} s, 221 2\.0\.0 Bye\|time=0\.\d{3}s;;;0;60\n$`},
		{[]string{"-W", "0.05", slow}, 1, `^SMTP WARNING - 0\.\d{3} s, 221 2\.0\.0 Bye\|time=0\.\d{3}s;0\.05;;0;60\n$`},
		{[]string{"-W", "0.01", "-C", "0.05", slow}, 2, `^SMTP CRITICAL - 0\.\d{3} s, 221 2\.0\.0 Bye\|time=0\.\d{3}s;0\.01;0\.05;0;60\n$`},
		{[]string{"-W", "30", "-C", "60", slow}, 0, `^SMTP OK - `},
		{[]string{server, "bo|gus"}, 2, `^SMTP CRITICAL - bo\\174gus: 500 5\.5\.2 Error: command not recognized\|time=`},
	} {
		if e := runTalk(t, bin, "", append([]string{"--nagios"}, c.args...)...); e.status != c.status || e.stderr != "" || !regexp.MustCompile(c.want).MatchString(e.stdout) {
			t.Errorf("%q: %+v; want status %d, %s", c.args, e, c.status, c.want)
		}
	}
	e := runTalk(t, bin, "wrong\n", "--json", "-a", "plain", "-u", "hanako", server)
	var got map[string]any
	if err := json.Unmarshal([]byte(e.stdout), &got); err != nil || e.status != 1 || strings.Count(e.stdout, "\n") != 1 {
		t.Fatalf("--json: %v, %+v", err, e)
	}
	for name, want := range map[string]string{
		"server": server, "address": strings.TrimPrefix(server, "smtp://"), "ok": "false", "failed": "login", "mechanism": "PLAIN",
		"reply": "535 5.7.8 Error: authentication failed:", "error": "<nil>", "tls": "<nil>", "capabilities": "[AUTH PLAIN LOGIN CRAM-MD5 PIPELINING 8BITMIME]",
	} {
		if have := fmt.Sprint(got[name]); have != want {
			t.Errorf("--json: %s is %s; want %s", name, have, want)
		}
	}
	var names []string
	for _, s := range got["steps"].([]any) {
		names = append(names, s.(map[string]any)["step"].(string))
	}
	if want := []string{"connect", "greeting", "ehlo", "login", "quit"}; !slices.Equal(names, want) {
		t.Errorf("--json: steps %q; want %q", names, want)
	}
}

// TestTalkEscape proves that nothing that a server says commands a terminal.
func TestTalkEscape(t *testing.T) {
	bin := staticBinary(t)
	server := mailServer(t, "smtp", func(c net.Conn) {
		io.WriteString(c, "554-\x1b]0;owned\x07 \xff \\\r\n554 \x9b2J\x00\r\n")
		c.Read(make([]byte, 100)) // QUIT
	})
	for _, output := range []string{"-v", "-q", "--json", "--nagios"} {
		e := runTalk(t, bin, "", output, server)
		if all := e.stdout + e.stderr; strings.ContainsFunc(strings.ReplaceAll(all, "\n", ""), unicode.IsControl) || !utf8.ValidString(all) || e.status == 0 || !strings.Contains(all, `\033]0;owned\007 \377 \\`) && output != "--json" {
			t.Errorf("%s: %q", output, all)
		}
	}
}

// TestTalkQuitFails proves that a server which takes a message and then forgets its manners
// is told of, and no failure.
func TestTalkQuitFails(t *testing.T) {
	bin := staticBinary(t)
	server := mailServer(t, "smtp", func(c net.Conn) {
		in := make([]byte, 1000)
		for _, reply := range []string{"220 a\r\n", "250 a\r\n"} {
			io.WriteString(c, reply)
			c.Read(in)
		}
	})
	if e := runTalk(t, bin, "", server); e.status != 0 || e.stderr != "" || !strings.HasSuffix(e.stdout, " * quit: the server closed the connection\n") {
		t.Errorf("%+v", e)
	}
}

// TestTalkEndless proves that a text without an end, in lines or in one, ends by the
// deadline, in bounded memory, whether it is shown, kept or put into an object.
func TestTalkEndless(t *testing.T) {
	bin := staticBinary(t)
	gnuTime := needCommand(t, "time")
	for _, text := range []string{"x", "x\r\n"} {
		for _, output := range []string{"-v", "-q", "--json", "--nagios"} {
			server := mailServer(t, "pop3", func(c net.Conn) {
				in := make([]byte, 1000)
				for _, reply := range []string{"+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n"} {
					io.WriteString(c, reply)
					c.Read(in)
				}
				for piece := bytes.Repeat([]byte(text), 1<<14); ; {
					if _, err := c.Write(piece); err != nil {
						return
					}
				}
			})
			// A child of this process would have this process's own memory as its peak.
			peak := t.TempDir() + "/peak"
			cmd := exec.Command(gnuTime, "-q", "-o", peak, "-f", "%M", bin+"/mailtalk", output, "-T", "2", "-a", "user", "-u", "hanako", server, "retr 1")
			cmd.Env = append(os.Environ(), "KOWAZA_CONF="+emptyConf(t))
			cmd.Stdin = strings.NewReader("passwd\n")
			var lines atomic.Int64
			cmd.Stdout = lineCounter{&lines}
			e := runEnd(t, cmd)
			if e.status == 0 || output != "--nagios" && e.stderr != "mailtalk: retr 1: not done within 2 seconds\n" {
				t.Errorf("%q, %s: status %d, %.200q", text, output, e.status, e.stderr)
			}
			told, err := os.ReadFile(peak)
			must(t, err)
			if kb, err := strconv.Atoi(strings.TrimSpace(string(told))); err != nil || kb > 64<<10 {
				t.Errorf("%q, %s: %s KB of memory, %v", text, output, told, err)
			}
			if lines.Load() == 0 {
				t.Errorf("%q, %s: nothing is printed", text, output)
			}
		}
	}
}

// A lineCounter counts the writes to it.
type lineCounter struct{ n *atomic.Int64 }

func (l lineCounter) Write(p []byte) (int, error) {
	l.n.Add(1)
	return len(p), nil
}

// TestTalkFaults proves that whatever system call fails, at whichever time, mailtalk says so
// or has said the whole dialogue, and that no message is taken twice.
func TestTalkFaults(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIP strace: not installed")
	}
	bin := staticBinary(t)
	whole := " < 221 2.0.0 Bye\n"
	tried, failed := 0, 0
	for call, errs := range map[string]string{"socket": "EMFILE,EACCES", "connect": "ECONNREFUSED,ENETUNREACH", "read": "EIO,ECONNRESET", "write": "EPIPE,ENOSPC,EIO",
		"epoll_ctl": "ENOMEM", "getsockopt": "ENOBUFS", "getpeername": "ENOTCONN", "openat": "EMFILE,EACCES"} {
		for _, errno := range strings.Split(errs, ",") {
			for nth := 1; nth <= 14; nth++ {
				office := &dialoguetest.Server{Domain: "hoge.cxm"}
				server := mailServer(t, "smtp", office.SMTP)
				cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, errno, nth),
					bin+"/mailtalk", "-T", "5", "-H", "me", "-f", "a", "-t", "b", "-e", "jis", server)
				cmd.Env = append(os.Environ(), "KOWAZA_CONF="+emptyConf(t))
				e := runEnd(t, cmd)
				tried++
				taken := len(office.Messages())
				switch {
				case e.status == 0 && strings.HasSuffix(e.stdout, whole) && e.stderr == "" && taken == 1:
				case e.status == 0 && strings.Contains(e.stdout, " * quit: ") && taken == 1: // the work had been done
				case e.status == 1 && strings.HasPrefix(e.stderr, "mailtalk: ") && taken <= 1:
					failed++
				case e.status == 2 && strings.Contains(e.stderr, "runtime"): // it did not come to life
				case e.status == 1 && call == "write" && e.stderr == "": // the fault met the message
				default:
					t.Errorf("%s %s %d: %+v, %d messages taken", call, errno, nth, e, taken)
				}
				if strings.Count(e.stderr, "\n") > 2 && e.status == 1 {
					t.Errorf("%s %s %d: says %q", call, errno, nth, e.stderr)
				}
			}
		}
	}
	if failed < 20 {
		t.Errorf("of %d faults only %d were met", tried, failed)
	}
}
