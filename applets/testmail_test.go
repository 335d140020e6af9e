package applets

import (
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"kowaza/internal/charset"
	"kowaza/internal/charset/charsettest"
)

var mailTime = time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("JST", 9*60*60))

func newTestMail(c *charset.Charset) *testMail {
	return &testMail{charset: c, from: "hoge@example.jp", to: "hoshu", host: "mail.example.jp", count: 10}
}

const wantBody = `お世話になっております。

日本語のメールが正しく届くことを確認するためのテストメールです。
ご確認後は削除していただいて構いません。返信は不要です。

文字コード：CHARSET
通し番号　：3/10（全10通中の3通目）
送信ホスト：mail.example.jp
送信日時　：2026-02-03 04:05:06 +0900

以下の各行が文字化けせずに表示されていれば正常です。

ひらがな　：あいうえお　がぎぐげご　ぱぴぷぺぽ　ゃゅょっ　ゐゑ
カタカナ　：アイウエオ　ガギグゲゴ　パピプペポ　ャュョッ　ヴー
漢字　　　：春夏秋冬　花鳥風月　東西南北　山川草木
要注意文字：ソ　十　予　表　能　申　貼　暴
全角英数字：ＡＢＣＸＹＺ　ａｂｃｘｙｚ　０１２３４５６７８９
全角記号　：、。・：；？！（）「」『』【】〒※○●△▲□■☆★→←↑↓
半角英数字：ABCXYZ abcxyz 0123456789

以上、よろしくお願いいたします。
`

// TestCopy proves that a copy is a message by RFC 5322, 2045 and 2047 whose
// fields and text read as they should, the same in all charsets.
func TestCopy(t *testing.T) {
	for _, c := range charset.Charsets {
		text, err := newTestMail(c).compose(3, mailTime)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		words := &mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
			if !strings.EqualFold(name, c.Name) {
				t.Errorf("%s in a message in %s", name, c.Name)
			}
			return charsettest.Decoders[c.Name].NewDecoder().Reader(r), nil
		}}
		from, err := (&mail.AddressParser{WordDecoder: words}).Parse(m.Header.Get("From"))
		if err != nil || from.Name != "メール送信テスト" || from.Address != "hoge@example.jp" {
			t.Errorf("From: %v, %v", from, err)
		}
		subject, err := words.DecodeHeader(m.Header.Get("Subject"))
		if want := "[3/10] 日本語メールの送信テスト（" + c.Name + "）"; err != nil || subject != want {
			t.Errorf("Subject: %s, %v; want %s", subject, err, want)
		}
		for field, want := range map[string]string{
			"To":                        "hoshu",
			"Date":                      "Tue, 03 Feb 2026 04:05:06 +0900",
			"Mime-Version":              "1.0",
			"Content-Type":              "text/plain; charset=" + c.Name,
			"Content-Transfer-Encoding": c.Transfer,
		} {
			if got := m.Header[field]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s: %q, want %q", c.Name, field, got, want)
			}
		}
		if id := m.Header.Get("Message-Id"); !regexp.MustCompile(`^<20260202190506\.\d+\.\d+\.[0-9a-f]{10}@mail\.example\.jp>$`).MatchString(id) {
			t.Errorf("Message-ID: %s", id)
		}
		if len(m.Header) != 8 {
			t.Errorf("%d fields: %v", len(m.Header), m.Header)
		}
		raw, _ := io.ReadAll(m.Body)
		if got, want := charsettest.Decode(t, c, raw), strings.Replace(wantBody, "CHARSET", c.Name, 1); got != want {
			t.Errorf("%s: body:\n%s", c.Name, got)
		}

		header, _, _ := strings.Cut(string(text), "\n\n")
		for line := range strings.SplitSeq(header, "\n") {
			if len(line) > 76 || strings.Trim(line, " ") == "" || strings.HasSuffix(line, " ") {
				t.Errorf("%s: header line %q", c.Name, line)
			}
		}
		for i := range len(text) {
			if b := text[i]; b == '\r' || b == 0 || b >= 0x80 && (c.Transfer == "7bit" || i < len(header)) {
				t.Fatalf("%s: octet %#x at %d", c.Name, b, i)
			}
		}
		if c.Short == "jis" {
			charsettest.CheckEscapes(t, text)
		}
	}
}

// TestText proves that the text has short lines and only such characters as all
// charsets have and all tables agree on, in UTF-8 too.
func TestText(t *testing.T) {
	all := senderName + "\n" + subject + "\n" + wantBody
	if _, err := charset.Charsets[0].Encode(all); err != nil {
		t.Error(err)
	}
	if strings.ContainsAny(all, `\~`) {
		t.Error(`\ or ~, which the tables of Shift_JIS see differently`)
	}
	for line := range strings.SplitSeq(all, "\n") {
		columns := 0
		for _, r := range line {
			if columns++; r >= 0x80 {
				columns++
			}
		}
		if columns > 70 {
			t.Errorf("%d columns: %s", columns, line)
		}
	}
}

// TestTroublesome proves that the characters that are said to have a backslash
// in Shift_JIS have one.
func TestTroublesome(t *testing.T) {
	for _, r := range "ソ十予表能申貼暴" {
		if b := charsettest.Encode(t, charset.Charsets[1], string(r)); len(b) != 2 || b[1] != '\\' {
			t.Errorf("%c is %x", r, b)
		}
	}
}

// TestLongAddresses proves that no line with encoded words grows over 76
// characters, no line over 998 octets, and no message over PIPE_BUF, whatever
// the addresses and the host are: jmailsend puts it into a pipe in one write.
func TestLongAddresses(t *testing.T) {
	domain := strings.Repeat("d", 127) + "." + strings.Repeat("e", 124)
	for _, c := range charset.Charsets {
		for _, m := range []*testMail{
			{charset: c, from: "a@" + domain, to: "b.@" + domain[1:], host: domain + "ee", count: 1000000},
			{charset: c, from: "12345678901@mail.example.jp", to: "b", host: "h", count: 1},
		} {
			text, err := m.compose(m.count, mailTime)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 4096 {
				t.Errorf("%s: %d octets", c.Name, len(text))
			}
			header, _, _ := strings.Cut(string(text), "\n\n")
			for line := range strings.SplitSeq(header, "\n") {
				if len(line) > 998 || len(line) > 76 && strings.Contains(line, "=?") {
					t.Errorf("%s: line of %d: %s", c.Name, len(line), line)
				}
			}
			parsed, err := mail.ReadMessage(strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if from := parsed.Header.Get("From"); !strings.HasSuffix(from, "?= <"+m.from+">") {
				t.Errorf("From: %s", from)
			}
		}
	}
}

// TestCopyRefuses proves that nothing reaches a header unchecked.
func TestCopyRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*testMail){
		"a b: holds a blank":                 func(m *testMail) { m.from = "a b" },
		"a\nb: holds a control character":    func(m *testMail) { m.to = "a\nb" },
		": empty domain":                     func(m *testMail) { m.host = "" },
		"mail>: holds >":                     func(m *testMail) { m.host = "mail>" },
		"mail\nX: holds a control character": func(m *testMail) { m.host = "mail\nX" },
	} {
		m := newTestMail(charset.Charsets[0])
		spoil(m)
		if text, err := m.compose(1, mailTime); err == nil || err.Error() != want || text != nil {
			t.Errorf("%q, %v; want %q", text, err, want)
		}
	}
}

// BenchmarkCopy shows what a copy costs beside the process that takes it.
func BenchmarkCopy(b *testing.B) {
	m := newTestMail(charset.Charsets[0])
	for b.Loop() {
		if _, err := m.compose(1, mailTime); err != nil {
			b.Fatal(err)
		}
	}
}
