package message

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// shown returns what a Shown tells of a message.
func shown(t testing.TB, text string) (all []string) {
	t.Helper()
	s := Shown{
		Field: func(name, value string) { all = append(all, "F "+name+": "+value) },
		Line:  func(text string) { all = append(all, "L "+text) },
	}
	must(t, Read(strings.NewReader(text), func(string, []byte) bool { return true }, func(line []byte, body bool) bool {
		s.Add(line, body)
		return true
	}))
	s.End()
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestShown proves what a reader shows of a message, by each way in which mail may
// hold Japanese text: encoded words, folds, four charsets labelled and not, base64 and
// quoted-printable, parts in parts and messages in them; and that of what is no text,
// and of what reads as it stands, nothing is told.
func TestShown(t *testing.T) {
	const (
		jis  = "\x1b$BF|K\\8l\x1b(B"
		euc  = "\xc6\xfc\xcb\xdc\xb8\xec"
		sjis = "\x93\xfa\x96\x7b\x8c\xea"
	)
	b64 := base64.StdEncoding.EncodeToString
	typed := func(kind, encoding string) string {
		return "Content-Type: " + kind + "\nContent-Transfer-Encoding: " + encoding + "\n\n"
	}
	for name, test := range map[string]struct{ text, want string }{
		"plain":              {"From: a@b.example\nTo: c\n\nbody\n=?UTF-8?B?5pel?=\n", ""},
		"encoded word":       {"From: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= <a@b.example>\n\n", "F From: 日本 <a@b.example>"},
		"folded":             {"Subject: a long\n\tsubject\nTo: a,\n b\n\n", "F Subject: a long subject|F To: a, b"},
		"name as it stands":  {"SUBJECT: =?utf-8?q?=E6=97=A5?=\n", "F SUBJECT: 日"},
		"raw header":         {"Subject: " + euc + "\r\n\r\n", "F Subject: 日本語"},
		"jis":                {typed("text/plain; charset=ISO-2022-JP", "7bit") + "x\n" + jis + "\n", "L 日本語"},
		"jis unlabelled":     {"\n" + jis + " x\n", "L 日本語 x"},
		"euc":                {typed("text/plain; charset=EUC-JP", "8bit") + euc, "L 日本語"},
		"sjis unlabelled":    {"Subject: x\n\n" + sjis + "\n", "L 日本語"},
		"sjis in quotes":     {typed("text/plain;\n\tformat=flowed; charset = \"Shift_JIS\"", "8bit") + sjis, "F Content-Type: text/plain; format=flowed; charset = \"Shift_JIS\"|L 日本語"},
		"wrong label":        {typed("text/plain; charset=utf-8", "8bit") + euc, "L 日本語"},
		"base64":             {typed("text/plain; charset=UTF-8", "base64") + "5pel5pys6Kqe\n", "L 日本語"},
		"base64 in pieces":   {typed("text/plain; charset=UTF-8", "BASE64") + "5p\nel5\npys6K\nqe", "L 日本語"},
		"base64 lines":       {typed("text/plain; charset=utf-8", "base64") + b64([]byte("一\r\n二\n\n三")), "L 一|L 二|L |L 三"},
		"base64 padded":      {typed("text/plain; charset=utf-8", "base64") + b64([]byte("a")) + b64([]byte("bc")) + b64([]byte("d\n")), "L abcd"},
		"base64 jis":         {typed("text/html; charset=iso-2022-jp", "base64") + b64([]byte("<b>"+jis+"</b>\n")), "L <b>日本語</b>"},
		"base64 cut":         {typed("text/plain; charset=utf-8", "base64") + "5pel5", "L 日"},
		"quoted":             {typed("text/plain; charset=utf-8", "quoted-printable") + "=E6=97=A5=\n=E6=9C=AC  \nx=3Dy =zz =\n\n", "L 日本|L x=y =zz "},
		"quoted at the end":  {typed("text/plain; charset=euc-jp", "Quoted-Printable") + "=C6=FC=", "L 日"},
		"no text":            {typed("image/png", "base64") + "5pel5pys6Kqe\n", ""},
		"multipart":          {typed("multipart/mixed; boundary=\"b 1\"", "7bit") + "pre " + euc + "\n--b 1\n\n" + jis + "\n--b 1 \nContent-Type: application/octet-stream;\n name=\"=?UTF-8?B?5pel?=\"\nContent-Transfer-Encoding: base64\n\n5pel\n--b 1\nContent-Transfer-Encoding: base64\n\n5pel5pys6Kqe\n--b 1--\npost " + euc + "\n", `L 日本語|L Content-Type: application/octet-stream; name="日"|L 日本語`},
		"parts in parts":     {typed("multipart/mixed; boundary=a", "7bit") + "--a\nContent-Type: multipart/alternative; boundary=aa\n\n--aa\n\n" + euc + "\n--aa--\n" + euc + "\n--a\n\n" + sjis + "\n--a--\n", "L 日本語|L 日本語"},
		"unclosed inner":     {typed("multipart/mixed; boundary=a", "7bit") + "--a\nContent-Type: multipart/alternative; boundary=aa\n\n--aa\nContent-Transfer-Encoding: base64\n\n5pel\n--a\n\n" + euc + "\n--aa\n", "L 日|L 日本語"},
		"a message in it":    {typed("multipart/report; boundary=a", "7bit") + "--a\nContent-Type: message/rfc822\n\nSubject: =?utf-8?b?5pel?=\nContent-Transfer-Encoding: base64\n\n5pel5pys\n--a--\n", "L Subject: 日|L 日本"},
		"a message":          {typed("message/rfc822", "8bit") + "Subject: a\n b\n\n" + euc + "\n", "L Subject: a b|L 日本語"},
		"no boundary":        {typed("multipart/mixed", "7bit") + euc + "\n", ""},
		"no colon":           {"Subject\n " + euc + "\n\n", ""},
		"a header in a part": {typed("multipart/mixed; boundary=a", "7bit") + "--a\nX: =?utf-8?b?5pel?=\n--a\nY: =?utf-8?b?5pel?=", "L X: 日|L Y: 日"},
	} {
		if got := strings.Join(shown(t, test.text), "|"); got != test.want {
			t.Errorf("%s: %q\nwant %q", name, got, test.want)
		}
	}
}

// TestShownBounds proves that no line, however long, and no nest of parts takes more
// memory than a few lines of the greatest length.
func TestShownBounds(t *testing.T) {
	long := strings.Repeat("5pel", 2*MaxLine)
	for name, text := range map[string]string{
		"base64": "Content-Transfer-Encoding: base64\n\n" + long,
		"quoted": "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat(strings.Repeat("x", 1000)+"=\n", 8*MaxLine/1000),
		"field":  "Subject:" + strings.Repeat("\n "+strings.Repeat("x", 1000), 4*MaxLine/1000) + "\n\n",
		"parts":  "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/mixed; boundary=a\n\n", 10000),
	} {
		var s Shown
		longest := 0
		s.Line = func(text string) { longest = max(longest, len(text)) }
		s.Field = func(_, value string) { longest = max(longest, len(value)) }
		must(t, Read(strings.NewReader(text), func(string, []byte) bool { return true }, func(line []byte, body bool) bool {
			s.Add(line, body)
			if held := len(s.text) + len(s.field) + len(s.base64); held > 3*MaxLine || len(s.bounds) > maxParts {
				t.Fatalf("%s: holds %d bytes, %d parts", name, held, len(s.bounds))
			}
			return true
		}))
		s.End()
		if longest > 3*MaxLine || longest == 0 && name != "parts" {
			t.Errorf("%s: a line of %d bytes", name, longest)
		}
	}
}

// FuzzShown proves of any bytes that it comes to an end, that lines have none of
// their own in them, and that a text in base64 is told line by line.
func FuzzShown(f *testing.F) {
	for _, s := range []string{
		"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\n", "Content-Transfer-Encoding: base64\n\n5pel=\n=", "a: =?utf-8?q?=0a?=\n b\n\n\xff",
		"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\n", "Content-Transfer-Encoding: quoted-printable\n\n=\n==\n=4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown(t, text)
		var want []string
		for line := range strings.Lines(text) {
			want = append(want, "L "+showRaw([]byte(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))))
		}
		got := shown(t, "Content-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte(text)))
		if n := len(text); n > 0 && text[n-1] == '\r' && !strings.HasSuffix(text, "\n") { // no end of a line
			return
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q; want %q", text, got, want)
		}
	})
}
