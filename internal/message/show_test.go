package message

import (
	"encoding/base64"
	"fmt"
	"kowaza/internal/charset"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

func encodedBy(t testing.TB, e encoding.Encoding, text string) string {
	t.Helper()
	out, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func b64(name, text string) string {
	return "=?" + name + "?B?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
}

func quoted(name, text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "=%02X", text[i])
	}
	return "=?" + name + "?Q?" + b.String() + "?="
}

// TestShow proves how a header field is shown: what the standards say, what
// real mail does against them, and that what cannot be read stays as it stands.
func TestShow(t *testing.T) {
	const text = "日本語の件名"
	jis, euc, sjis := encodedBy(t, japanese.ISO2022JP, text), encodedBy(t, japanese.EUCJP, text), encodedBy(t, japanese.ShiftJIS, text)
	const likeWord = "\x1b$BA=?L1?Q?ab?=\x1b(B"
	jisSplit := strings.Index(jis, "\x1b(B")
	for name, test := range map[string]struct{ raw, want string }{
		"nothing":              {"", ""},
		"blanks around":        {" \t Hello  \r\n", "Hello"},
		"ASCII as it stands":   {" Re: [list 12] a=?b", "Re: [list 12] a=?b"},
		"folded with LF":       {" one\n two\n\tthree", "one two three"},
		"folded with CRLF":     {" one\r\n two", "one two"},
		"raw UTF-8":            {text, text},
		"raw JIS":              {jis, text},
		"raw JIS among ASCII":  {"Re: " + jis + " (" + jis + ")", "Re: " + text + " (" + text + ")"},
		"raw JIS like a word":  {likeWord, decodedBy(t, japanese.ISO2022JP, likeWord)},
		"UTF-8 like Shift_JIS": {"日本", "日本"},
		"Latin 1 and UTF-8":    {"=?iso-8859-1?Q?=E9?= =?utf-8?Q?=E3=81=82?=", "éあ"},
		"raw JIS of 1978":      {"\x1b$@" + jis[3:], text},
		"raw JIS to Roman":     {strings.Replace(jis, "\x1b(B", "\x1b(J", 1), text},
		"raw EUC-JP":           {euc, text},
		"raw Shift_JIS":        {sjis, text},
		"Shift_JIS and ASCII":  {"Re: " + sjis, "Re: " + text},
		"no charset at all":    {"a\xff\xfeb", "a\xff\xfeb"},
		"a lonely escape":      {"a\x1b[31mb", "a\x1b[31mb"},
		"B":                    {b64("UTF-8", text), text},
		"Q":                    {quoted("utf-8", text), text},
		"Q, underscore":        {"=?utf-8?q?a_b=3D?=", "a b="},
		"Q, blank":             {"=?utf-8?Q?hello world?=", "hello world"},
		"ISO-2022-JP":          {b64("ISO-2022-JP", jis), text},
		"EUC-JP":               {b64("EUC-JP", euc), text},
		"Shift_JIS":            {quoted("Shift_JIS", sjis), text},
		"cp932":                {b64("cp932", sjis), text},
		"windows-31j":          {b64("Windows-31J", sjis), text},
		"x-sjis":               {b64("x-sjis", sjis), text},
		"ms_kanji":             {b64("MS_Kanji", sjis), text},
		"x-euc-jp":             {b64("x-euc-jp", euc), text},
		"Latin 1":              {"=?ISO-8859-1?Q?Keld_J=F8rn?=", "Keld Jørn"},
		"US-ASCII":             {"=?us-ascii?Q?hi?=", "hi"},
		"language":             {"=?utf-8*ja?B?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?=", text},
		"no padding":           {"=?utf-8?B?44GC44Q?= ", "=?utf-8?B?44GC44Q?="},
		"no padding, whole":    {"=?us-ascii?B?YQ?=", "a"},
		"two words":            {b64("utf-8", "日本") + " " + b64("utf-8", "語"), "日本語"},
		"two words, folded":    {b64("utf-8", "日本") + "\r\n " + b64("utf-8", "語"), "日本語"},
		"two words, B and Q":   {b64("utf-8", "日本") + " " + quoted("UTF8", "語"), "日本語"},
		"two charsets":         {b64("utf-8", "日本") + " " + b64("euc-jp", euc), "日本" + text},
		"word and ASCII":       {"Re: " + b64("utf-8", "日本") + " x " + b64("utf-8", "語"), "Re: 日本 x 語"},
		"word in quotes":       {`"` + b64("iso-2022-jp", jis) + `" <a@b>`, `"` + text + `" <a@b>`},
		"word after word":      {b64("utf-8", "日本") + b64("utf-8", "語"), "日本語"},
		"cut in a character":   {b64("utf-8", "日\xe6\x9c") + " " + b64("utf-8", "\xac語"), "日本語"},
		"cut in EUC-JP":        {b64("euc-jp", euc[:3]) + " " + b64("EUC-JP", euc[3:]), text},
		"cut in a shift":       {b64("iso-2022-jp", jis[:7]) + " " + b64("iso-2022-jp", jis[7:]), text},
		"cut before the shift": {b64("iso-2022-jp", jis[:jisSplit]) + " " + b64("iso-2022-jp", jis[jisSplit:]), text},
		"cut in a JIS pair":    {b64("iso-2022-jp", jis[:6]) + "\n " + b64("iso-2022-jp", jis[6:]), text},
		"never shifted back":   {b64("iso-2022-jp", jis[:jisSplit]) + " " + b64("iso-2022-jp", jis), text + text},
		"unknown charset":      {"a =?koi8-r?B?8NLJ18XU?= " + b64("utf-8", "語"), "a =?koi8-r?B?8NLJ18XU?= 語"},
		"not its charset":      {"=?utf-8?Q?=FF?=  " + b64("euc-jp", euc), "=?utf-8?Q?=FF?=  " + text},
		"not ASCII":            {"=?us-ascii?Q?=E9?=", "=?us-ascii?Q?=E9?="},
		"one of two is bad":    {b64("utf-8", "語") + " =?utf-8?Q?=FF?= " + b64("utf-8", "日"), "語 =?utf-8?Q?=FF?= 日"},
		"bad base64":           {"=?utf-8?B?!!!?=", "=?utf-8?B?!!!?="},
		"bad Q":                {"=?utf-8?Q?=G1?=", "=?utf-8?Q?=G1?="},
		"cut off":              {"=?utf-8?B?44GC", "=?utf-8?B?44GC"},
		"kind unknown":         {"=?utf-8?X?a?=", "=?utf-8?X?a?="},
		"empty word":           {"=?utf-8?Q??=x", "x"},
		"word and raw":         {b64("utf-8", "語") + " " + jis, "語 " + text},
	} {
		if got := Show([]byte(test.raw)); got != test.want {
			t.Errorf("%s: Show(%q) = %q; want %q", name, test.raw, got, test.want)
		}
	}
}

func decodedBy(t testing.TB, e encoding.Encoding, text string) string {
	t.Helper()
	out, err := e.NewDecoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestShowOwn proves that Show reads what EncodedWords writes, in every
// charset and of any length.
func TestShowOwn(t *testing.T) {
	text := "Test メール 3/10 " + strings.Repeat("日本語の長い件名 と ASCII ", 12) + "。"
	for _, c := range charset.Charsets {
		field, err := EncodedWords(c, text, len("Subject: "))
		if err != nil {
			t.Fatal(err)
		}
		if got := Show([]byte(field)); got != text {
			t.Errorf("%s: %q", c.Name, got)
		}
	}
}

// TestShowBadWords proves that what a header of 1 MiB costs does not grow with the
// square of its length where none of its encoded words can be decoded, and that words
// that are whole are still read behind more bad ones than are tried together.
func TestShowBadWords(t *testing.T) {
	const bad = "=?iso-2022-jp?B?//8=?="
	raw := []byte(strings.TrimSuffix(strings.Repeat(bad+" ", 1<<20/len(bad+" ")), " "))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := Show(raw)
	runtime.ReadMemStats(&after)
	if got != string(raw) {
		t.Errorf("%d bytes became %d: %.60q", len(raw), len(got), got)
	}
	// Each word is decoded alone, which takes two kB; all together 45 000 times would
	// take gigabytes.
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
		t.Errorf("%d MB for a header of %d bytes", used>>20, len(raw))
	}
	many := strings.Repeat(bad+" ", 20)
	if got := Show([]byte(many + b64("iso-2022-jp", encodedBy(t, japanese.ISO2022JP, "日本")))); got != many+"日本" {
		t.Errorf("behind 20 bad words: %q", got)
	}
}

// FuzzShow proves of any bytes: ASCII without escapes and encoded words comes
// out as it was but for folding; valid UTF-8 stays valid; a long field takes no
// time that grows faster than its length.
func FuzzShow(f *testing.F) {
	for _, s := range []string{
		" Re: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\n =?utf-8*ja?q?a_=E3?= =?utf-8?q?=81=82?=",
		"\x1b$BF|K\\\x1b(B =?x?B?", "\xc6\xfc\xcb\xdc", "\x93\xfa\x96\x7b", "=?=?=?=?b?=?=", "=?us-ascii?Q?=?=",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := Show(raw)
		if charset.IsASCII(raw) && !strings.ContainsAny(string(raw), "\x1b\r\n") && !strings.Contains(string(raw), "=?") {
			if want := strings.Trim(string(raw), " \t"); got != want {
				t.Fatalf("Show(%q) = %q", raw, got)
			}
		}
		if utf8.Valid(raw) && !utf8.ValidString(got) {
			t.Fatalf("Show(%q) = %q", raw, got)
		}
		if len(got) > 4*len(raw)+16 {
			t.Fatalf("%d bytes became %d", len(raw), len(got))
		}
	})
}
