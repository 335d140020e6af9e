// Package dialoguetest is a small mail server for tests and for the demo: SMTP and POP3
// as an honest server speaks them, on a connection at a time or on many, and a place to
// speak them as no honest server does.
package dialoguetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"kowaza/internal/auth"
)

// A Server has one mailbox. What it is, is set before it serves.
type Server struct {
	User, Password string
	Domain         string // it takes mail for, and no other
	Timestamp      string // of POP3's greeting, for APOP; empty: none
	Mechanisms     string // what it offers; empty: PLAIN LOGIN CRAM-MD5
	TLS            *tls.Config
	NoEHLO         bool // it is as old as that
	NoPipelining   bool
	NoEightBits    bool

	// Instead, if set, is told every line of SMTP, "CONNECT" for the greeting and "." for
	// a text, and the number of the connection from 1 on. It returns what is answered,
	// as Hangup, Silence or a reply; empty: what would be. A reply of 421 ends it.
	Instead func(connection int, line string) string

	mu       sync.Mutex
	messages []Message
	served   int
	logins   int
	refused  int
	commands []string
}

// What Instead may return besides replies.
const (
	Hangup  = "hang up"
	Silence = "say nothing more"
)

// Connections returns how many there were.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// A Message is one that it took.
type Message struct {
	From string
	To   []string
	Text string // as it came over the wire, without the dots that are not the message's
}

// Messages returns what it took.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Put puts a message into the mailbox.
func (s *Server) Put(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, Message{Text: strings.ReplaceAll(text, "\n", "\r\n")})
}

// Logins returns how many logins it took, and how many it refused.
func (s *Server) Logins() (taken, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins, s.refused
}

// Commands returns the lines that it was told, but for those of messages and logins.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Serve has each connection to l served by f until l is closed.
func Serve(l net.Listener, f func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			f(c)
		}()
	}
}

// A session is one connection to a Server.
type session struct {
	*Server
	conn net.Conn
	in   *bufio.Reader
	tls  bool
	user bool // logged in

	number int
}

func (s *session) say(format string, a ...any) {
	fmt.Fprintf(s.conn, format+"\r\n", a...)
}

func (s *session) line() (string, bool) {
	line, err := s.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err == nil
}

func (s *session) login(ok bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.logins++
	} else {
		s.refused++
	}
	s.user = s.user || ok
	return ok
}

func (s *session) told(line string) (verb, args string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, line)
	verb, args, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), args
}

// startTLS has the rest of the session encrypted.
func (s *session) startTLS() {
	s.conn = tls.Server(s.conn, s.TLS)
	s.in = bufio.NewReader(s.conn)
	s.tls = true
}

// SMTP serves a connection by SMTP.
func (s *Server) SMTP(conn net.Conn) {
	(&session{Server: s, conn: conn, in: bufio.NewReader(conn)}).smtp()
}

// SMTPS is SMTP that begins with TLS.
func (s *Server) SMTPS(conn net.Conn) {
	ss := &session{Server: s, conn: conn}
	ss.startTLS()
	ss.smtp()
}

// instead answers a line as Instead wants it. It reports whether that was an answer, and
// whether the session goes on.
func (s *session) instead(line string) (answered, goOn bool) {
	if s.Instead == nil {
		return false, true
	}
	switch reply := s.Instead(s.number, line); {
	case reply == "":
		return false, true
	case reply == Hangup:
		return true, false
	case reply == Silence:
		io.Copy(io.Discard, s.conn)
		return true, false
	default:
		s.say("%s", reply)
		if strings.HasPrefix(reply, "354") { // for whom it is nobody knows
			if _, ok := s.text(); ok {
				s.say("554 5.5.1 Error: no valid recipients")
			}
		}
		return true, !strings.HasPrefix(reply, "421")
	}
}

func (s *session) smtp() {
	s.mu.Lock()
	s.served++
	s.number = s.served
	s.mu.Unlock()
	if answered, goOn := s.instead("CONNECT"); !goOn {
		return
	} else if !answered {
		s.say("220 mail.%s ESMTP", s.Domain)
	}
	var m *Message
	for {
		line, ok := s.line()
		if !ok {
			return
		}
		verb, args := s.told(line)
		if answered, goOn := s.instead(line); !goOn {
			return
		} else if answered {
			continue
		}
		switch verb {
		case "EHLO":
			m = nil
			s.ehlo()
		case "HELO":
			m = nil
			s.say("250 mail.%s", s.Domain)
		case "STARTTLS":
			if s.TLS == nil || s.tls {
				s.say("502 5.5.1 no TLS")
				continue
			}
			s.say("220 2.0.0 go ahead")
			s.startTLS()
		case "AUTH":
			s.auth(args, "334 ", "235 2.7.0 Authentication successful", "535 5.7.8 Error: authentication failed:")
		case "MAIL":
			m = &Message{From: address(args)}
			s.say("250 2.1.0 Ok")
		case "RCPT":
			to := address(args)
			_, domain, remote := strings.Cut(to, "@")
			switch {
			case m == nil:
				s.say("503 5.5.1 Error: need MAIL command")
			case remote && domain != s.Domain && !s.user:
				s.say("554 5.7.1 <%s>: Relay access denied", to)
			default:
				m.To = append(m.To, to)
				s.say("250 2.1.5 Ok")
			}
		case "DATA":
			if m == nil || len(m.To) == 0 {
				s.say("503 5.5.1 Error: no valid recipients")
				continue
			}
			s.say("354 End data with <CR><LF>.<CR><LF>")
			text, ok := s.text()
			if !ok {
				return
			}
			if answered, goOn := s.instead("."); !goOn {
				return
			} else if answered {
				m = nil
				continue
			}
			m.Text = text
			s.mu.Lock()
			s.messages = append(s.messages, *m)
			n := len(s.messages)
			s.mu.Unlock()
			m = nil
			s.say("250 2.0.0 Ok: queued as %d", n)
		case "RSET":
			m = nil
			s.say("250 2.0.0 Ok")
		case "NOOP":
			s.say("250 2.0.0 Ok")
		case "QUIT":
			s.say("221 2.0.0 Bye")
			return
		default:
			s.say("500 5.5.2 Error: command not recognized")
		}
	}
}

func (s *session) ehlo() {
	if s.NoEHLO {
		s.say("502 5.5.1 EHLO is not known here")
		return
	}
	lines := []string{"mail." + s.Domain}
	if s.TLS != nil && !s.tls {
		lines = append(lines, "STARTTLS")
	}
	if s.User != "" {
		lines = append(lines, "AUTH "+s.offered())
	}
	if !s.NoPipelining {
		lines = append(lines, "PIPELINING")
	}
	if !s.NoEightBits {
		lines = append(lines, "8BITMIME")
	}
	last := len(lines) - 1
	for _, line := range lines[:last] {
		s.say("250-%s", line)
	}
	s.say("250 %s", lines[last])
}

func (s *Server) offered() string {
	if s.Mechanisms == "" {
		return "PLAIN LOGIN CRAM-MD5"
	}
	return s.Mechanisms
}

// text reads a message up to the dot.
func (s *session) text() (string, bool) {
	var b strings.Builder
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return "", false
		}
		if line == ".\r\n" {
			return b.String(), true
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

// address returns what stands between angle brackets.
func address(args string) string {
	_, rest, _ := strings.Cut(args, "<")
	inner, _, _ := strings.Cut(rest, ">")
	return inner
}

// auth is one exchange of SASL.
func (s *session) auth(args, more, yes, no string) {
	mechanism, initial, hasInitial := strings.Cut(args, " ")
	ask := func(challenge string) string {
		s.say("%s%s", more, base64.StdEncoding.EncodeToString([]byte(challenge)))
		line, _ := s.line()
		return Decode(line)
	}
	ok := false
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		answer := Decode(initial)
		if !hasInitial {
			answer = ask("")
		}
		ok = bytes.Equal([]byte(answer), auth.Plain("", s.User, s.Password))
	case "LOGIN":
		user := ask("Username:")
		ok = ask("Password:") == s.Password && user == s.User
	case "CRAM-MD5":
		challenge := "<1.2@mail." + s.Domain + ">"
		ok = ask(challenge) == string(auth.CRAMMD5([]byte(challenge), s.User, s.Password))
	}
	if s.login(ok) {
		s.say("%s", yes)
	} else {
		s.say("%s", no)
	}
}

// Decode returns what base64 stands for; of what is none, nothing.
func Decode(text string) string {
	b, _ := base64.StdEncoding.DecodeString(text)
	return string(b)
}

// POP3 serves a connection by POP3.
func (s *Server) POP3(conn net.Conn) {
	(&session{Server: s, conn: conn, in: bufio.NewReader(conn)}).pop3()
}

// POP3S is POP3 that begins with TLS.
func (s *Server) POP3S(conn net.Conn) {
	ss := &session{Server: s, conn: conn}
	ss.startTLS()
	ss.pop3()
}

func (s *session) pop3() {
	s.say("%s", strings.TrimRight("+OK ready "+s.Timestamp, " "))
	name := ""
	dropped := make(map[int]bool) // by DELE
	for {
		line, ok := s.line()
		if !ok {
			return
		}
		verb, args := s.told(line)
		switch verb {
		case "CAPA":
			s.say("+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL %s", s.offered())
			if s.TLS != nil && !s.tls {
				s.say("STLS")
			}
			s.say(".")
		case "STLS":
			if s.TLS == nil || s.tls {
				s.say("-ERR no TLS")
				continue
			}
			s.say("+OK go ahead")
			s.startTLS()
		case "USER":
			name = args
			s.say("+OK")
		case "PASS":
			s.answer(s.login(name == s.User && args == s.Password))
		case "APOP":
			s.answer(s.login(args == s.User+" "+auth.APOP(s.Timestamp, s.Password)))
		case "AUTH":
			s.auth(args, "+ ", "+OK Logged in.", "-ERR [AUTH] Authentication failed.")
		case "QUIT":
			s.remove(dropped)
			s.say("+OK bye")
			return
		default:
			if !s.user {
				s.say("-ERR log in first")
				continue
			}
			s.transaction(verb, args, dropped)
		}
	}
}

func (s *session) answer(ok bool) {
	if ok {
		s.say("+OK Logged in.")
	} else {
		s.say("-ERR [AUTH] Authentication failed.")
	}
}

// transaction answers the commands of one who is logged in.
func (s *session) transaction(verb, args string, dropped map[int]bool) {
	all := s.Messages()
	n := 0
	fmt.Sscan(args, &n)
	if args != "" && (n < 1 || n > len(all) || dropped[n]) {
		s.say("-ERR no such message")
		return
	}
	switch verb {
	case "STAT":
		size := 0
		for _, m := range all {
			size += len(m.Text)
		}
		s.say("+OK %d %d", len(all), size)
	case "LIST", "UIDL":
		s.say("+OK")
		for i, m := range all {
			if verb == "LIST" {
				s.say("%d %d", i+1, len(m.Text))
			} else {
				s.say("%d uid%d", i+1, i+1)
			}
		}
		s.say(".")
	case "RETR", "TOP":
		if n == 0 {
			s.say("-ERR no such message")
			return
		}
		text := all[n-1].Text
		if verb == "TOP" {
			header, _, _ := strings.Cut(text, "\r\n\r\n")
			text = header + "\r\n\r\n"
		}
		s.say("+OK")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, ".") {
				io.WriteString(s.conn, ".")
			}
			io.WriteString(s.conn, line)
		}
		s.say(".")
	case "DELE":
		dropped[n] = true
		s.say("+OK")
	case "NOOP", "RSET":
		s.say("+OK")
	default:
		s.say("-ERR unknown command")
	}
}

func (s *session) remove(dropped map[int]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Message
	for i, m := range s.messages {
		if !dropped[i+1] {
			left = append(left, m)
		}
	}
	s.messages = left
}
