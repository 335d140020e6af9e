package docs_test

import (
	"crypto/tls"
	"net"
	"regexp"
	"strings"
	"time"

	"kowaza/internal/dialogue/dialoguetest"
	"kowaza/internal/testenv"
)

// serve starts the mail servers that examples speak to, which are at ports of their own,
// and have a certificate of an authority that commands of this host trust.
func (h *mailHost) serve() {
	ca, err := dialoguetest.NewAuthority("example CA")
	testenv.Check(h.t, err)
	cert, err := ca.Issue("127.0.0.1", time.Now().AddDate(1, 0, 0))
	testenv.Check(h.t, err)
	s := &dialoguetest.Server{User: "hanako", Password: "passwd", Domain: "hoge.cxm", Timestamp: "<1.2@mail.hoge.cxm>",
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	s.Put("Subject: hello\n\nHow are you?\n")
	h.server = s
	h.servers = map[string]string{}
	for scheme, serve := range map[string]func(net.Conn){"smtp": s.SMTP, "smtps": s.SMTPS, "pop3": s.POP3, "pop3s": s.POP3S} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testenv.Check(h.t, err)
		h.t.Cleanup(func() { l.Close() })
		go dialoguetest.Serve(l, serve)
		h.servers[scheme] = scheme + "://" + l.Addr().String()
	}
	h.caFile = h.file("etc/ca.pem", string(ca.PEM()), 0o644)
	h.file("etc/mailtalk.pw", "passwd\n", 0o600)
}

// aServer is a word of a command that names a mail server.
var aServer = regexp.MustCompile(`(^| )(smtps?|pop3s?)(://mail\.hoge\.cxm(?::\d+)?)?( |$)`)

// served is a command as it has to be called on this host: with the servers where they
// are, and the password typed in where it is asked for.
func (h *mailHost) served(line string) string {
	if h.servers == nil || !regexp.MustCompile(`mailtalk|mailtrip|jmailsend`).MatchString(line) {
		return line
	}
	if strings.Contains(line, " -u ") && !strings.Contains(line, " -P ") {
		line = "echo passwd | " + line
	}
	return aServer.ReplaceAllStringFunc(line, func(word string) string {
		m := aServer.FindStringSubmatch(word)
		return m[1] + h.servers[m[2]] + m[4]
	})
}
