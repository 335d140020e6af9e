package message

import (
	"encoding/base64"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"

	"kowaza/internal/charset"
)

var now = time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("JST", 9*60*60))

func draft() *Draft {
	return &Draft{Charset: charset.Charsets[0], Name: "差出人", From: "a@example.jp", To: "b@example.jp", Subject: "件名",
		Body: "本文\n", Host: "mail.example.jp"}
}

// TestCompose proves that the fields of a draft stand in the message in their order,
// each once, the draft's own before those of MIME, and that without a name the
// address stands alone. jmailsend's tests hold names, subjects, texts and charsets.
func TestCompose(t *testing.T) {
	d := draft()
	d.Name, d.ID = "", "<1@mail.example.jp>"
	d.Fields = []Field{{"Auto-Submitted", "auto-replied"}, {"References", "<1@a>\n <2@b>"}}
	text, err := d.Compose(now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "a@example.jp", "To": "b@example.jp", "Auto-Submitted": "auto-replied", "References": "<1@a> <2@b>",
		"Message-Id": "<1@mail.example.jp>",
	} {
		if got := m.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var names []string
	header, _, _ := strings.Cut(string(text), "\n\n")
	for line := range strings.SplitSeq(header, "\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && line[0] != ' ' {
			names = append(names, name)
		}
	}
	const want = "From To Subject Date Message-ID Auto-Submitted References MIME-Version Content-Type Content-Transfer-Encoding"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("fields: %s\nwant:   %s", got, want)
	}
	if _, err := io.ReadAll(m.Body); err != nil {
		t.Error(err)
	}
}

// TestComposeRefuses proves that nothing reaches a header unchecked, and that a
// name, a subject or a body that the charset cannot carry is an error, not a message.
func TestComposeRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Draft){
		"a b: holds a blank":              func(d *Draft) { d.From = "a b" },
		"a\nb: holds a control character": func(d *Draft) { d.To = "a\nb" },
		": empty domain":                  func(d *Draft) { d.Host = "" },
		"mail>: holds >":                  func(d *Draft) { d.Host = "mail>" },
		"more than one line":              func(d *Draft) { d.Subject = "a\nBcc: b" },
		"U+2460: not in JIS X 0208":       func(d *Draft) { d.Name += "①" },
		"U+2461: not in JIS X 0208":       func(d *Draft) { d.Subject += "②" },
		"U+2462: not in JIS X 0208":       func(d *Draft) { d.Body += "③" },

		"X: more than one line":              func(d *Draft) { d.Fields = []Field{{"X", "a\nBcc: b"}} },
		"Y: more than one line":              func(d *Draft) { d.Fields = []Field{{"Y", "a\n \n b"}} },
		"Z: more than one line":              func(d *Draft) { d.Fields = []Field{{"Z", "a\n"}} },
		"X: control character, or not ASCII": func(d *Draft) { d.Fields = []Field{{"X", "a\rb"}} },
		"Y: control character, or not ASCII": func(d *Draft) { d.Fields = []Field{{"Y", "é"}} },
		`"X Y": no name of a header field`:   func(d *Draft) { d.Fields = []Field{{"X Y", "a"}} },
		`"": no name of a header field`:      func(d *Draft) { d.Fields = []Field{{"", "a"}} },
		"Message-ID: more than one line":     func(d *Draft) { d.ID = "<1@a>\nBcc: b" },
		"X: line of more than 918 octets":    func(d *Draft) { d.Fields = []Field{{"X", strings.Repeat("a", 919)}} },
	} {
		d := draft()
		spoil(d)
		if text, err := d.Compose(now); err == nil || err.Error() != want || text != nil {
			t.Errorf("%q, %v; want %q", text, err, want)
		}
	}
}

// TestMessageIDs proves that no two copies of one moment have the same
// Message-ID.
func TestMessageIDs(t *testing.T) {
	seen := make(map[string]bool)
	for range 10000 {
		id := NewID("h", now)
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id] = true
	}
}

// TestComposeNames proves that a reader gets a name back as it was given, whatever is
// in it that divides a list of addresses, and that its lines are short.
func TestComposeNames(t *testing.T) {
	for _, name := range []string{"Taro Yamada", "Yamada, Taro", `T. "x" \ <y@z>`, "山田太郎", "Yamada, 太郎 (x)", "a=?b?=,", strings.Repeat("long, ", 40) + "x"} {
		d := draft()
		d.Charset, d.Name = charset.Charsets[3], name
		text, err := d.Compose(now)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		m, err := mail.ReadMessage(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		list, err := m.Header.AddressList("From")
		if err != nil || len(list) != 1 || list[0].Name != name || list[0].Address != d.From {
			t.Errorf("%q became %v, %v: %q", name, list, err, m.Header.Get("From"))
		}
		header, _, _ := strings.Cut(string(text), "\n\n")
		for line := range strings.SplitSeq(header, "\n") {
			if len(line) > maxLine {
				t.Errorf("%q: a line of %d: %s", name, len(line), line)
			}
		}
	}
}

// TestComposeLong proves that a text with a line of 999 bytes goes in base64, with CR
// LF in it as RFC 2045 asks, and one of 998 as it is.
func TestComposeLong(t *testing.T) {
	for n, transfer := range map[int]string{998: "7bit", 999: "base64"} {
		d := draft()
		d.Charset, d.Name, d.Subject = charset.ASCII, "", "s"
		d.Body = strings.Repeat("x", n) + "\nend\n"
		text, err := d.Compose(now)
		if err != nil {
			t.Fatal(err)
		}
		header, body, _ := strings.Cut(string(text), "\n\n")
		if !strings.HasSuffix(header, "\nContent-Type: text/plain; charset=US-ASCII\nContent-Transfer-Encoding: "+transfer) {
			t.Errorf("%d: %s", n, header)
		}
		if transfer == "base64" {
			for line := range strings.Lines(body) {
				if len(line) > maxLine+1 {
					t.Errorf("a line of %d", len(line))
				}
			}
			b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, strings.NewReader(body)))
			if err != nil {
				t.Error(err)
			}
			body = strings.ReplaceAll(string(b), "\r\n", "\n")
			if strings.Count(string(b), "\r\n") != 2 {
				t.Errorf("%q", b)
			}
		}
		if body != d.Body {
			t.Errorf("%d: %q", n, body)
		}
	}
}
