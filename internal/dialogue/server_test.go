package dialogue

import (
	"strings"
	"testing"
)

// TestParseServer proves which servers can be named, and that nothing else passes; and that
// no error repeats what may be a password.
func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"smtp":                     "smtp://127.0.0.1:25",
		"smtps":                    "smtps://127.0.0.1:465",
		"pop3":                     "pop3://127.0.0.1:110",
		"pop3s":                    "pop3s://127.0.0.1:995",
		"SMTP":                     "smtp://127.0.0.1:25",
		"smtp://mail.hoge.cxm":     "smtp://mail.hoge.cxm:25",
		"smtp://mail.hoge.cxm.":    "smtp://mail.hoge.cxm.:25",
		"smtp://mail.hoge.cxm:587": "smtp://mail.hoge.cxm:587",
		"pop3s://192.0.2.1:1995":   "pop3s://192.0.2.1:1995",
		"smtp://[::1]":             "smtp://[::1]:25",
		"smtp://[2001:db8::1]:26":  "smtp://[2001:db8::1]:26",
		"smtp://localhost:65535":   "smtp://localhost:65535",
	} {
		s, err := ParseServer(text)
		if err != nil || s.String() != want || s.Named != strings.Contains(text, "://") {
			t.Errorf("%s: %s, %v, %v; want %s", text, s, s.Named, err, want)
		}
	}
	for _, text := range []string{
		"", "http", "smtp:", "smtp:/", "smtp://", "smtp://:25", "imap://a", "smtp://a:", "smtp://a:0", "smtp://a:65536",
		"smtp://a:-1", "smtp://a:+1", "smtp://a: 1", "smtp://a:25:25", "smtp://::1", "smtp://[::1", "smtp://[::1]x", "smtp://[127.0.0.1]",
		"smtp://[mail.hoge.cxm]", "smtp://[]", "smtp://a/", "smtp://a/b", "smtp://a?b", "smtp://a#b", "smtp://user:secret@a",
		"smtp://a b", "smtp://a\n", "smtp://-a", "smtp://a..b", "smtp://.", "smtp://日本語", "smtp ", " smtp", "127.0.0.1", "mail.hoge.cxm:25",
		"smtp:secret@a",
	} {
		if s, err := ParseServer(text); err == nil {
			t.Errorf("%q is taken for %s", text, s)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error has the password: %v", text, err)
		}
	}
}
