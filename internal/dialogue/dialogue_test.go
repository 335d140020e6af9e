package dialogue

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kowaza/internal/dialogue/dialoguetest"
)

// serve has each connection to a new port of the loopback address served by f, and
// returns the server.
func serve(t testing.TB, scheme string, f func(net.Conn)) Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go dialoguetest.Serve(l, f)
	s, err := ParseServer(scheme + "://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A transcript collects what a dialogue tells.
type transcript struct {
	mu    sync.Mutex
	lines []string
	steps []Step
}

func (tr *transcript) config(s Server, timeout time.Duration) *Config {
	return &Config{Server: s, Timeout: timeout, Helo: "client.hoge.cxm",
		Line: func(_ time.Duration, mark Mark, text string) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.lines = append(tr.lines, string(mark)+" "+text)
		},
		Step: func(s Step) { tr.steps = append(tr.steps, s) },
	}
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.lines, "\n")
}

// told are the lines of one mark.
func (tr *transcript) told(mark Mark) (lines []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, line := range tr.lines {
		if line[0] == byte(mark) {
			lines = append(lines, line[2:])
		}
	}
	return lines
}

const patience = 5 * time.Minute

// TestDialogue proves that a whole dialogue is what RFC 5321 wants, that the server gets the
// message to the byte, and that every line is told as it was.
func TestDialogue(t *testing.T) {
	for _, pipelining := range []bool{false, true} {
		office := &dialoguetest.Server{Domain: "hoge.cxm", NoPipelining: !pipelining}
		var tr transcript
		c, err := Open(t.Context(), tr.config(serve(t, "smtp", office.SMTP), patience))
		if err != nil {
			t.Fatal(err)
		}
		text := "Subject: test\n\n.\n..\nlast\n"
		check := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		check(c.Mail("me@hoge.cxm", []byte(text)))
		check(c.Rcpt("hoshu@hoge.cxm"))
		if err := c.Rcpt("you@elsewhere.example"); err == nil || err.Error() != "rcpt: 554 5.7.1 <you@elsewhere.example>: Relay access denied" {
			t.Errorf("a relayed recipient: %v", err)
		}
		r, err := c.Data(StepData, "DATA")
		if err != nil || r.Code != 354 {
			t.Errorf("DATA: %v, %v", r, err)
		}
		r, err = c.WriteMessage(strings.NewReader(text), false)
		if err != nil || r.String() != "250 2.0.0 Ok: queued as 1" {
			t.Errorf("message: %v, %v", r, err)
		}
		for range 2 {
			check(c.Deliver(&Delivery{From: "", To: "a..b@hoge.cxm", Text: []byte(text)}))
		}
		if err := c.Deliver(&Delivery{From: "", To: "x@elsewhere.example", Text: []byte(text)}); err == nil || !strings.Contains(err.Error(), "rcpt: 554 5.7.1 ") || c.Over() {
			t.Errorf("refused: %v, over %v", err, c.Over())
		}
		check(c.Deliver(&Delivery{From: "", To: "b@hoge.cxm", Text: []byte(text)}))
		check(c.Quit())
		want := strings.ReplaceAll(text, "\n", "\r\n")
		got := office.Messages()
		if len(got) != 4 {
			t.Fatalf("the server took %d messages", len(got))
		}
		for i, to := range []string{"hoshu@hoge.cxm", `"a..b"@hoge.cxm`, `"a..b"@hoge.cxm`, "b@hoge.cxm"} {
			if got[i].Text != want || !slices.Equal(got[i].To, []string{to}) {
				t.Errorf("the server took %+v; want %q for %s", got[i], want, to)
			}
		}
		lines := []string{"EHLO client.hoge.cxm", "MAIL FROM:<me@hoge.cxm>", "RCPT TO:<hoshu@hoge.cxm>", "RCPT TO:<you@elsewhere.example>", "DATA",
			fmt.Sprintf("[%d bytes]", len(want)+2), ".", "MAIL FROM:<>", `RCPT TO:<"a..b"@hoge.cxm>`}
		if told := tr.told(WeMark); len(told) < len(lines) || !slices.Equal(told[:len(lines)], lines) {
			t.Errorf("we said %q", told)
		}
	}
}

// TestLookedUpOnce proves that connections of one Config ask for the server's addresses once.
func TestLookedUpOnce(t *testing.T) {
	office := &dialoguetest.Server{Domain: "hoge.cxm"}
	cfg := new(transcript).config(serve(t, "smtp", office.SMTP), patience)
	for _, host := range []string{"localhost", "nosuch.invalid"} { // the second is not looked at
		cfg.Server.Host = host
		c, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
	}
	cfg.found = nil
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("nosuch.invalid was found")
	}
}

// TestOldServer proves that a server that knows only HELO is spoken to by HELO.
func TestOldServer(t *testing.T) {
	office := &dialoguetest.Server{Domain: "hoge.cxm", NoEHLO: true}
	var tr transcript
	c, err := Open(t.Context(), tr.config(serve(t, "smtp", office.SMTP), patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(&Delivery{To: "b@hoge.cxm", Text: []byte("\n")}); err != nil || len(office.Messages()) != 1 {
		t.Error(err)
	}
	if want := []string{"EHLO client.hoge.cxm", "HELO client.hoge.cxm", "MAIL FROM:<>"}; !slices.Equal(tr.told(WeMark)[:3], want) {
		t.Errorf("we said %q", tr.told(WeMark))
	}
}

// TestWire proves what a message is on the wire, however it comes in pieces: RFC 5321,
// 4.5.2 and 2.3.8.
func TestWire(t *testing.T) {
	for text, want := range map[string]string{
		"":            ".\r\n",
		"a":           "a\r\n.\r\n",
		"a\n":         "a\r\n.\r\n",
		"a\r\n":       "a\r\n.\r\n",
		"a\r":         "a\r\n.\r\n",
		".":           "..\r\n.\r\n",
		".\n":         "..\r\n.\r\n",
		"a\n.\nb\n":   "a\r\n..\r\nb\r\n.\r\n",
		"a\r\n.\r\nb": "a\r\n..\r\nb\r\n.\r\n",
		"\n\n":        "\r\n\r\n.\r\n",
		"\r\n\r\n":    "\r\n\r\n.\r\n",
		"a\n..b\n.c":  "a\r\n...b\r\n..c\r\n.\r\n",
		"a\x00\xff\n": "a\x00\xff\r\n.\r\n",
		"a.b\n":       "a.b\r\n.\r\n",
		"a\rb\n":      "a\rb\r\n.\r\n",
		"\r\r\n":      "\r\r\n.\r\n",
	} {
		for size := 1; size <= max(1, len(text)); size++ {
			w := wireWriter{last: '\n'}
			for piece := range slices.Chunk([]byte(text), size) {
				w.add(piece)
			}
			w.endLine()
			w.endText()
			if string(w.out) != want {
				t.Errorf("%q in pieces of %d: %q; want %q", text, size, w.out, want)
			}
		}
	}
}

// hostile are servers as no honest one is: facts 4.4. Each must be done with within the
// deadline.
var hostile = []struct {
	name, scheme string
	serve        func(net.Conn)
	want         string // in the error
	timeout      time.Duration
}{
	{"silent", "smtp", func(c net.Conn) { io.Copy(io.Discard, c) }, "greeting: not done within 0.3 seconds", 300 * time.Millisecond},
	{"a byte at a time", "smtp", func(c net.Conn) {
		for {
			if _, err := c.Write([]byte("2")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}, "greeting: not done within 0.5 seconds", 500 * time.Millisecond},
	{"lines without end", "smtp", func(c net.Conn) { forever(c, "220-more\r\n") }, "greeting: the reply has more than 1000 lines", patience},
	{"a line without end", "smtp", func(c net.Conn) { forever(c, "220 x") }, "greeting: a line of the reply is longer than 8192 bytes", patience},
	{"lines without end", "pop3", func(c net.Conn) {
		io.WriteString(c, "+OK\r\n")
		forever(c, "+OK x\r\n")
	}, "ehlo: the server offers more than 1000 things", patience},
	{"a line without end", "pop3", func(c net.Conn) { forever(c, "+OK") }, "greeting: a line of the reply is longer than 8192 bytes", patience},
	{"gone", "smtp", func(net.Conn) {}, "greeting: the server closed the connection", patience},
	{"gone in a line", "smtp", func(c net.Conn) { io.WriteString(c, "220 x") }, "greeting: the server closed the connection in the middle of a line", patience},
	{"no SMTP", "smtp", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "greeting: what the server says is no reply of SMTP: HTTP/1.1", patience},
	{"no POP3", "pop3", func(c net.Conn) { io.WriteString(c, "220 mail ESMTP\r\n") }, "greeting: what the server says is no reply of POP3: 220 mail", patience},
	{"two codes", "smtp", func(c net.Conn) { io.WriteString(c, "220-a\r\n250 b\r\n") }, "greeting: a reply with the codes 220 and 250", patience},
	{"refused", "smtp", func(c net.Conn) { io.WriteString(c, "554 no\r\n") }, "greeting: 554 no", patience},
	{"refused", "pop3", func(c net.Conn) { io.WriteString(c, "-ERR no\r\n") }, "greeting: -ERR no", patience},
	{"no TLS", "smtps", func(c net.Conn) { io.WriteString(c, "220 mail ESMTP\r\n"); io.Copy(io.Discard, c) }, "tls: first record does not look like a TLS handshake", patience},
	{"silent", "pop3s", func(c net.Conn) { io.Copy(io.Discard, c) }, "tls: not done within 0.3 seconds", 300 * time.Millisecond},
	{"code 99", "smtp", func(c net.Conn) { io.WriteString(c, "099 x\r\n") }, "no reply of SMTP", patience},
	{"NUL", "smtp", func(c net.Conn) { io.WriteString(c, "22\x00 x\r\n") }, "no reply of SMTP", patience},
}

func forever(c net.Conn, text string) {
	all := []byte(strings.Repeat(text, 1000))
	for {
		if _, err := c.Write(all); err != nil {
			return
		}
	}
}

// TestHostileServers proves that no server holds up a dialogue beyond its deadline, makes it
// take up memory, or gets further than its lie.
func TestHostileServers(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.scheme+" "+h.name, func(t *testing.T) {
			var tr transcript
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := Open(t.Context(), tr.config(serve(t, h.scheme, h.serve), h.timeout))
			if c != nil {
				c.Close()
			}
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), h.want) {
				t.Errorf("%v; want %s", err, h.want)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
				t.Errorf("%d bytes were taken", grown)
			}
			if h.timeout < patience && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v is no deadline", err)
			}
		})
	}
}

// TestInjectedBeforeTLS proves that text behind the answer to STARTTLS is an error before
// the handshake, and that nothing is said any more, a password least of all (CVE-2011-0411 as
// a client meets it).
func TestInjectedBeforeTLS(t *testing.T) {
	for scheme, script := range map[string][]string{
		"smtp": {"220 mail\r\n", "250-mail\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n", "220 go\r\n250 AUTH PLAIN\r\n"},
		"pop3": {"+OK\r\n", "+OK\r\nSTLS\r\nSASL PLAIN\r\n.\r\n", "+OK go\r\n+OK\r\n"},
	} {
		var mu sync.Mutex
		var got []byte
		var tr transcript
		cfg := tr.config(serve(t, scheme, func(c net.Conn) {
			in := make([]byte, 4096)
			for _, line := range script {
				io.WriteString(c, line)
				n, err := c.Read(in)
				mu.Lock()
				got = append(got, in[:n]...)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}), patience)
		cfg.TLS.Start = true
		cfg.Login = Login{User: "hanako", Password: func() (string, error) {
			t.Error("the password is asked for")
			return "secret", nil
		}}
		c, err := Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "starttls: text stands behind the server's answer") || !c.Over() {
			t.Errorf("%s: %v", scheme, err)
		}
		c.Quit()
		mu.Lock()
		if text := string(got); strings.Contains(text, "QUIT") || strings.Contains(text, "\x16") {
			t.Errorf("%s: %q is said", scheme, text)
		}
		mu.Unlock()
	}
}

// TestUnoffered proves that without an offer of TLS, of a login or of a way to log in that
// we know nothing of it is tried.
func TestUnoffered(t *testing.T) {
	for _, c := range []struct {
		server *dialoguetest.Server
		scheme string
		tls    bool
		want   string
	}{
		{&dialoguetest.Server{Domain: "a"}, "smtp", true, "starttls: the server does not offer STARTTLS"},
		{&dialoguetest.Server{Domain: "a"}, "pop3", true, "starttls: the server does not offer STLS"},
		{&dialoguetest.Server{Domain: "a"}, "smtp", false, "login: the server does not offer AUTH"},
		{&dialoguetest.Server{Domain: "a", User: "b", Mechanisms: "NTLM GSSAPI"}, "smtp", false, "login: the server offers none of SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN"},
	} {
		var tr transcript
		f := c.server.SMTP
		if c.scheme == "pop3" {
			f = c.server.POP3
		}
		cfg := tr.config(serve(t, c.scheme, f), patience)
		cfg.TLS.Start = c.tls
		cfg.Login = Login{User: "hanako", Password: func() (string, error) {
			t.Error("the password is asked for")
			return "", nil
		}}
		conn, err := Open(t.Context(), cfg)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v; want %s", err, c.want)
		}
		if err := conn.Quit(); err != nil {
			t.Error(err)
		}
	}
}

// TestLogins proves that each mechanism logs in, that a wrong password is refused once and
// never tried in another way, that the best that is offered is taken, and that neither the
// password nor what it can be guessed by is told.
func TestLogins(t *testing.T) {
	const password = "s3cret-Passw0rd"
	for _, c := range []struct{ scheme, offered, mechanism, want string }{
		{"smtp", "PLAIN LOGIN CRAM-MD5", "", "CRAM-MD5"},
		{"smtp", "LOGIN PLAIN", "", "PLAIN"},
		{"smtp", "login", "", "LOGIN"},
		{"smtp", "LOGIN", "PLAIN", "PLAIN"}, // as asked, though it is not offered
		{"smtp", "PLAIN", "CRAM-MD5", "CRAM-MD5"},
		{"pop3", "PLAIN", "", "PLAIN"},
		{"pop3", "LOGIN", "", "LOGIN"},
		{"pop3", "X-OTHER", "", "APOP"},
		{"pop3", "PLAIN", "APOP", "APOP"},
		{"pop3", "PLAIN", "USER", "USER"},
		{"pop3", "PLAIN", "CRAM-MD5", "CRAM-MD5"},
	} {
		for _, right := range []bool{true, false} {
			office := &dialoguetest.Server{User: "hanako", Password: password, Domain: "hoge.cxm", Mechanisms: c.offered, Timestamp: "<1.2@hoge.cxm>"}
			f := office.SMTP
			if c.scheme == "pop3" {
				f = office.POP3
			}
			typed := password
			if !right {
				typed = "wrong-" + password
			}
			asked := 0
			var tr transcript
			cfg := tr.config(serve(t, c.scheme, f), patience)
			cfg.Login = Login{User: "hanako", Mechanism: c.mechanism, Password: func() (string, error) { asked++; return typed, nil }}
			conn, err := Open(t.Context(), cfg)
			if conn == nil || (err == nil) != right {
				t.Errorf("%v, right password %v: %v", c, right, err)
				continue
			}
			if err := conn.Quit(); err != nil {
				t.Error(err)
			}
			taken, refused := office.Logins()
			if asked != 1 || taken+refused != 1 || conn.Mechanism() != c.want {
				t.Errorf("%v, right password %v: asked %d times, %d taken, %d refused, by %s", c, right, asked, taken, refused, conn.Mechanism())
			}
			checkUntold(t, &tr, typed)
			if c.want != "CRAM-MD5" && c.want != "PLAIN" && !strings.Contains(tr.String(), "hanako") && !strings.Contains(tr.String(), "aGFuYWtv") {
				t.Errorf("%v: the user is not told:\n%s", c, &tr)
			}
		}
	}
}

// checkUntold proves that a password, its base64 and digests made with it are nowhere in what
// was told: but for the challenge nothing in it is long and without meaning.
func checkUntold(t *testing.T, tr *transcript, password string) {
	t.Helper()
	all := tr.String()
	for _, s := range tr.steps {
		all += "\n" + s.Sent + "\n" + s.Text
	}
	var s secrets
	s.add(password)
	if s.mask(all) != all {
		t.Errorf("the password is told:\n%s", all)
	}
	for _, line := range tr.told(WeMark) {
		for _, word := range strings.Fields(line) {
			if len(word) > 24 && !strings.Contains(line, "RCPT") {
				t.Errorf("told: %s", line)
			}
		}
	}
}

// TestEcho proves that a server which repeats what it was told, in any way that servers do,
// does not bring the password into what is told.
func TestEcho(t *testing.T) {
	const user, password = "hanako", "s3cret-Passw0rd"
	for _, scheme := range []string{"smtp", "pop3"} {
		for _, mechanism := range Mechanisms(scheme == "pop3") {
			var tr transcript
			cfg := tr.config(serve(t, scheme, func(c net.Conn) { echo(c, scheme) }), patience)
			cfg.Login = Login{User: user, Mechanism: mechanism, Password: func() (string, error) { return password, nil }}
			conn, err := Open(t.Context(), cfg)
			if err == nil {
				t.Errorf("%s: no error", mechanism)
			}
			conn.Quit()
			checkUntold(t, &tr, password)
			var s secrets
			s.add(password)
			if s.mask(err.Error()) != err.Error() {
				t.Errorf("%s: %v", mechanism, err)
			}
			for _, line := range append(tr.told(TheyMark), err.Error()) {
				for _, word := range strings.Fields(line) {
					if word = strings.Trim(word, "<>"); len(word) > 20 && !strings.Contains(word, "@") {
						t.Errorf("%s: told: %s", mechanism, line)
					}
				}
			}
		}
	}
}

// echo repeats each line, whole, decoded and cut.
func echo(c net.Conn, scheme string) {
	yes, no, more := "250 ", "535 ", "334 "
	if scheme == "pop3" {
		yes, no, more = "+OK ", "-ERR ", "+ "
		io.WriteString(c, "+OK <1.2@hoge.cxm>\r\n")
	} else {
		io.WriteString(c, "220 mail\r\n")
	}
	challenges := []string{"PDEuMkBob2dlLmN4bT4=", "UGFzc3dvcmQ6"}
	in := make([]byte, 4096)
	for {
		n, err := c.Read(in)
		if err != nil {
			return
		}
		line := strings.TrimRight(string(in[:n]), "\r\n")
		verb, _, _ := strings.Cut(line, " ")
		word := line[strings.LastIndexByte(line, ' ')+1:]
		reply := no + "I do not know <" + line + ">"
		if verb != "APOP" { // whose digest, in hex, is base64 by chance
			reply += ", which is " + dialoguetest.Decode(word)
		}
		if len(word) > 12 {
			reply += " or " + word[:12] + "..."
		}
		switch verb {
		case "EHLO":
			reply = yes + "mail"
		case "QUIT":
			reply = yes + "bye"
		case "CAPA":
			reply = "+OK\r\n."
		case "USER":
			reply = "+OK"
		case "AUTH":
			if strings.Count(line, " ") == 1 && len(challenges) > 0 {
				reply = more + challenges[0]
				challenges = challenges[1:]
			}
		default:
			if word == "aGFuYWtv" && len(challenges) > 0 {
				reply = more + challenges[0]
				challenges = challenges[1:]
			}
		}
		io.WriteString(c, reply+"\r\n")
	}
}

// TestMask proves what is hidden in a server's text: a secret in any case, alone or in a
// word, parts of it, several at once; and that nothing else is.
func TestMask(t *testing.T) {
	var s secrets
	s.add("s3cret-Passw0rd", "abc", "hunter")
	for text, want := range map[string]string{
		"250 ok":                         "250 ok",
		"535 s3cret-Passw0rd is wrong":   "535 **** is wrong",
		"535 S3CRET-PASSW0RD":            "535 ****",
		"535 xs3cret-Passw0rdx":          "535 x****x",
		"535 s3cret-Pas...":              "535 ****...",
		"535 cret-Passw0":                "535 ****",
		"535 password":                   "535 password",
		"535 abc":                        "535 ****",
		"535 abcdef cab abc1 (abc)":      "535 abcdef cab abc1 (****)",
		"hunters":                        "****s",
		"s3cret-Passw0rd hunter":         "**** ****",
		"s3cret-Passw0rds3cret-Passw0rd": "****",
		"535 czNjcmV0LVBhc3N3MHJk":       "535 ****", // base64
		"":                               "",
	} {
		if got := s.mask(text); got != want {
			t.Errorf("%q is told as %q; want %q", text, got, want)
		}
	}
}

// FuzzMask proves that no secret of four bytes and more, in whatever it stands, comes through.
func FuzzMask(f *testing.F) {
	f.Add("s3cret-Passw0rd", "535 ", " is wrong")
	f.Add("aaaa", "aaa", "aaaaa")
	f.Add("****", "*", "**")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 4 || strings.Contains(secret, "*") { // that is what stands in its place
			return
		}
		var s secrets
		s.add(secret)
		if got := s.mask(before + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q in %q is told as %q", secret, before+secret+after, got)
		}
	})
}

// FuzzReply proves that whatever a server says at any moment, a dialogue ends, without a
// panic, and tells no more than it was told.
func FuzzReply(f *testing.F) {
	f.Add(true, "+OK <1.2@a>\r\n+OK\r\nSASL PLAIN\r\n.\r\n+OK\r\n+OK 1 2\r\n+OK\r\na\r\n.\r\n")
	f.Add(false, "220 a\r\n250-b\r\n250 AUTH SCRAM-SHA-1\r\n334 \r\n235 ok\r\n250 a\r\n250 a\r\n354 a\r\n250 a\r\n")
	f.Add(false, "220-\r\n220\r\n502 a\r\n250\r\n")
	f.Fuzz(func(t *testing.T, pop3 bool, script string) {
		scheme := "smtp"
		if pop3 {
			scheme = "pop3"
		}
		server, _ := ParseServer(scheme)
		var tr transcript
		cfg := tr.config(server, patience)
		cfg.Login = Login{User: "hanako", Password: func() (string, error) { return "s3cret-Passw0rd", nil }}
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		go func() {
			io.WriteString(theirs, script)
			theirs.Close()
		}()
		c := &Conn{cfg: cfg, start: time.Now(), ctx: t.Context(), forget: func() bool { return true }}
		c.deadline = c.start.Add(patience)
		c.use(ours)
		if err := c.begin(); err == nil {
			if pop3 {
				c.Text(StepCommand, "RETR 1", nil)
			} else {
				c.Deliver(&Delivery{To: "a@hoge.cxm", Text: []byte("\n")})
			}
		}
		c.Quit()
		checkUntold(t, &tr, "s3cret-Passw0rd")
	})
}

// TestLateAnswer proves that of a message that was sent whole and not answered it is said
// that nobody knows; and of one that was cut off before, that it failed.
func TestLateAnswer(t *testing.T) {
	after := func(until string) func(net.Conn) {
		return func(c net.Conn) {
			for _, line := range []string{"220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n"} {
				io.WriteString(c, line)
				if line != "354 a\r\n" {
					c.Read(make([]byte, 4096))
				}
			}
			var all []byte
			in := make([]byte, 4096)
			for !bytes.HasSuffix(all, []byte(until)) {
				n, err := c.Read(in)
				all = append(all, in[:n]...)
				if err != nil {
					return
				}
			}
		}
	}
	var tr transcript
	c, err := Open(t.Context(), tr.config(serve(t, "smtp", after("\r\n.\r\n")), patience))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Deliver(&Delivery{To: "a@hoge.cxm", Text: []byte("text\n")})
	var e *Error
	if !errors.As(err, &e) || !e.Unknown || !c.Over() {
		t.Errorf("%v: %+v", err, e)
	}
}

// TestInterrupt proves that who wants to leave leaves at once, whatever the server does, and
// says QUIT where it can be understood.
func TestInterrupt(t *testing.T) {
	said := make(chan string, 1)
	server := serve(t, "smtp", func(c net.Conn) {
		io.WriteString(c, "220 a\r\n")
		all, _ := io.ReadAll(c)
		said <- string(all)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var tr transcript
	cfg := tr.config(server, time.Hour)
	line := cfg.Line
	cfg.Line = func(at time.Duration, mark Mark, text string) {
		line(at, mark, text)
		if strings.HasPrefix(text, "EHLO") {
			time.AfterFunc(10*time.Millisecond, cancel)
		}
	}
	c, err := Open(ctx, cfg)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	c.Abandon()
	if got := <-said; got != "EHLO client.hoge.cxm\r\nQUIT\r\n" {
		t.Errorf("the server was told %q", got)
	}
}

// TestText proves that a text of POP3 comes as it is, however long its lines are, without
// the dots that are doubled, and that one that is cut off is an error.
func TestText(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	server := serve(t, "pop3", func(c net.Conn) {
		io.WriteString(c, "+OK\r\n")
		in := make([]byte, 100)
		for _, text := range []string{"-ERR\r\n", "+OK\r\n..a\r\n\r\n" + long + "\r\n.b\r\n.\r\n", "+OK\r\nhalf\r\n"} {
			c.Read(in)
			io.WriteString(c, text)
		}
	})
	var tr transcript
	c, err := Open(t.Context(), tr.config(server, patience))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	collect := func(line []byte) error { got = append(got, string(line)); return nil }
	if _, err := c.Text(StepCommand, "RETR 1", collect); err != nil {
		t.Error(err)
	}
	if want := []string{".a", "", long, "b"}; !slices.Equal(got, want) {
		t.Errorf("%d lines: %.80q", len(got), got)
	}
	if _, err := c.Text(StepCommand, "RETR 2", nil); err == nil || !strings.Contains(err.Error(), "in the middle of a text") || !c.Over() {
		t.Errorf("cut off: %v", err)
	}
}

// TestCertificates proves what certificates are taken, for TLS from the start and with
// STARTTLS and STLS.
func TestCertificates(t *testing.T) {
	ca, other := authority(t), authority(t)
	now := time.Now()
	in := func(days int) time.Time { return now.Add(time.Duration(days)*24*time.Hour + time.Hour) }
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		change func(*TLSConfig)
		want   string // in the error; empty: it is taken
		note   string // in what is told
	}{
		{"right", issue(t, ca, "127.0.0.1", in(30)), nil, "", "verified, 30 days left"},
		{"other name", issue(t, ca, "127.0.0.2", in(30)), nil, "certificate is valid for 127.0.0.2, not 127.0.0.1", "not verified: "},
		{"named", issue(t, ca, "mail.hoge.cxm", in(30)), func(c *TLSConfig) { c.Name = "mail.hoge.cxm" }, "", "CN=mail.hoge.cxm, verified"},
		{"named with its dot", issue(t, ca, "mail.hoge.cxm", in(30)), func(c *TLSConfig) { c.Name = "mail.hoge.cxm." }, "", "verified"},
		{"expired", issue(t, ca, "127.0.0.1", in(-2)), nil, "certificate has expired", "expired on "},
		{"other CA", issue(t, other, "127.0.0.1", in(30)), nil, "certificate signed by unknown authority", "not verified: "},
		{"other CA, all the same", issue(t, other, "127.0.0.1", in(30)), func(c *TLSConfig) { c.NoVerify = true }, "", "not verified: certificate signed by unknown authority"},
		{"days enough", issue(t, ca, "127.0.0.1", in(30)), func(c *TLSConfig) { c.Days = 30 }, "", "30 days left"},
		{"too few days", issue(t, ca, "127.0.0.1", in(30)), func(c *TLSConfig) { c.Days = 31 }, "the certificate's days left: 30, fewer than 31", "30 days left"},
		{"too few days, unverified", issue(t, other, "127.0.0.1", in(1)), func(c *TLSConfig) { c.Days = 31; c.NoVerify = true }, "the certificate's days left: 1, fewer than 31", "1 day left"},
	} {
		for _, scheme := range []string{"smtps", "smtp", "pop3s", "pop3"} {
			office := &dialoguetest.Server{Domain: "hoge.cxm", TLS: &tls.Config{Certificates: []tls.Certificate{c.cert}}}
			f := map[string]func(net.Conn){"smtps": office.SMTPS, "smtp": office.SMTP, "pop3s": office.POP3S, "pop3": office.POP3}[scheme]
			var tr transcript
			cfg := tr.config(serve(t, scheme, f), patience)
			cfg.TLS = TLSConfig{Start: !cfg.Server.TLS(), Roots: pool(ca), Name: "127.0.0.1"}
			if c.change != nil {
				c.change(&cfg.TLS)
			}
			conn, err := Open(t.Context(), cfg)
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), "tls: ") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v; want %q", c.name, scheme, err, c.want)
			}
			if !strings.Contains(strings.Join(tr.told(NoteMark), "\n"), c.note) {
				t.Errorf("%s, %s: %q; want %q in it", c.name, scheme, tr.told(NoteMark), c.note)
			}
			conn.Quit()
		}
	}
}

// TestOldTLS proves that TLS 1.1 is refused.
func TestOldTLS(t *testing.T) {
	ca := authority(t)
	office := &dialoguetest.Server{Domain: "hoge.cxm", TLS: &tls.Config{Certificates: []tls.Certificate{issue(t, ca, "127.0.0.1", time.Now().AddDate(1, 0, 0))},
		MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	var tr transcript
	cfg := tr.config(serve(t, "smtps", office.SMTPS), patience)
	cfg.TLS = TLSConfig{Roots: pool(ca), Name: "127.0.0.1"}
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Error("TLS 1.1 is taken")
	}
}

// TestCleartext proves that a password goes without TLS to this machine only, unless that
// is asked for, and that else it is not even asked for; and that what does not send the
// password may go anywhere.
func TestCleartext(t *testing.T) {
	for _, c := range []struct {
		scheme, mechanism, address string
		cleartext, sent            bool
	}{
		{"smtp", "PLAIN", "192.0.2.1", false, false},
		{"smtp", "LOGIN", "192.0.2.1", false, false},
		{"pop3", "USER", "192.0.2.1", false, false},
		{"smtp", "PLAIN", "2001:db8::1", false, false},
		{"smtp", "PLAIN", "::", false, false},
		{"smtp", "PLAIN", "192.0.2.1", true, true},
		{"smtp", "PLAIN", "127.0.0.1", false, true},
		{"smtp", "PLAIN", "127.1.2.3", false, true},
		{"smtp", "PLAIN", "::1", false, true},
		{"smtp", "CRAM-MD5", "192.0.2.1", false, true},
		{"pop3", "APOP", "192.0.2.1", false, true},
	} {
		office := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "hoge.cxm", Timestamp: "<1.2@a>"}
		asked := false
		server, _ := ParseServer(c.scheme)
		var tr transcript
		cfg := tr.config(server, patience)
		cfg.Login = Login{User: "hanako", Mechanism: c.mechanism, Cleartext: c.cleartext, Password: func() (string, error) { asked = true; return "passwd", nil }}
		ours, theirs := net.Pipe()
		if c.scheme == "pop3" {
			go office.POP3(theirs)
		} else {
			go office.SMTP(theirs)
		}
		conn := &Conn{cfg: cfg, start: time.Now(), ctx: t.Context(), forget: func() bool { return true }, address: netip.AddrPortFrom(netip.MustParseAddr(c.address), 25)}
		conn.deadline = conn.start.Add(patience)
		conn.use(ours)
		err := conn.begin()
		if (err == nil) != c.sent || asked != c.sent || err != nil && !strings.HasSuffix(err.Error(), "would send the password to "+c.address+" without TLS") {
			t.Errorf("%+v: asked %v, %v", c, asked, err)
		}
		conn.Close()
	}
}

// TestInterruptedPrompt proves that who waits for a password that does not come can leave.
func TestInterruptedPrompt(t *testing.T) {
	office := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "hoge.cxm"}
	ctx, cancel := context.WithCancel(t.Context())
	var tr transcript
	cfg := tr.config(serve(t, "smtp", office.SMTP), patience)
	cfg.Login = Login{User: "hanako", Leaves: true, Password: func() (string, error) {
		cancel()
		select {}
	}}
	c, err := Open(ctx, cfg)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.Abandon()
}
