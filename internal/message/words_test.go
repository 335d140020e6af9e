package message

import (
	"encoding/base64"
	"fmt"
	"io"
	"kowaza/internal/charset"
	"kowaza/internal/charset/charsettest"
	"math/rand/v2"
	"mime"
	"regexp"
	"strings"
	"testing"
)

var encodedWord = regexp.MustCompile(`^=\?([^?]+)\?B\?([A-Za-z0-9+/]+=*)\?=$`)

// checkWords fails unless value is text as the value of a header field, by the
// rules of RFC 2047 and 1468.
func checkWords(t *testing.T, c *charset.Charset, text string, column int, value string) {
	t.Helper()
	joined := ""
	afterEncoded := false
	for i, line := range strings.Split(value, "\n") {
		length := len(line)
		if i == 0 {
			length += column
		} else if line == "" || line[0] != ' ' || len(line) < 2 || line[1] == ' ' {
			t.Fatalf("%q: continuation line %q", text, line)
		}
		if length > 76 && line != "" {
			t.Fatalf("%q: line of %d: %q", text, length, line)
		}
		if strings.HasSuffix(line, " ") {
			t.Fatalf("%q: line ends in a blank: %q", text, line)
		}
	}
	for i, word := range strings.Fields(value) {
		m := encodedWord.FindStringSubmatch(word)
		if m == nil {
			if strings.Contains(word, "=?") {
				t.Fatalf("%q: no encoded word, but looks like one: %s", text, word)
			}
			if afterEncoded {
				t.Fatalf("%q: plain word after an encoded one: %s", text, value)
			}
			if i > 0 {
				joined += " "
			}
			joined += word
			continue
		}
		if len(word) > 75 || m[1] != c.Name {
			t.Fatalf("%q: %d characters: %s", text, len(word), word)
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(m[2])
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		if c.Short == "jis" {
			charsettest.CheckEscapes(t, raw)
		}
		part := charsettest.Decode(t, c, raw)
		if strings.ContainsRune(part, '\ufffd') && !strings.ContainsRune(text, '\ufffd') {
			t.Fatalf("%q: a character is cut: %s", text, word)
		}
		if i > 0 && !afterEncoded {
			joined += " "
		}
		joined += part
		afterEncoded = true
	}
	if joined != text {
		t.Fatalf("reads as %q, want %q: %s", joined, text, value)
	}
	reader := mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
		return charsettest.Decoders[c.Name].NewDecoder().Reader(r), nil
	}}
	unfolded := strings.ReplaceAll(value, "\n", "")
	if got, err := reader.DecodeHeader(unfolded); err != nil || strings.TrimLeft(got, " ") != strings.TrimLeft(text, " ") {
		t.Fatalf("mime reads %q, %v; want %q", got, err, text)
	}
}

// randomText is Japanese text with ASCII words in it, n characters long.
func randomText(r *rand.Rand, all []rune, n int) string {
	var b strings.Builder
	for range n {
		switch r.IntN(12) {
		case 0:
			b.WriteByte(' ')
		case 1, 2:
			b.WriteByte(byte('!' + r.IntN('~'-'!'+1)))
		case 3, 4, 5:
			b.WriteRune(all[r.IntN(len(all))])
		default:
			b.WriteRune('ぁ' + rune(r.IntN(80)))
		}
	}
	return b.String()
}

// TestEncodedWords proves with random texts of up to some thousand characters,
// in all charsets and with any field name, that a header value keeps to RFC
// 2047 and that readers get the text back. Perl and iconv read every word by
// itself.
func TestEncodedWords(t *testing.T) {
	all := charsettest.Kanji()
	for _, c := range charset.Charsets {
		t.Run(c.Short, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(len(c.Name))))
			var words []string
			var parts strings.Builder
			for i := range 600 {
				n := r.IntN(60)
				if i%60 == 59 {
					n = 1000 + r.IntN(4000)
				}
				text, column := randomText(r, all, n), r.IntN(80)
				value, err := EncodedWords(c, text, column)
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				checkWords(t, c, text, column, value)
				for _, word := range strings.Fields(value) {
					m := encodedWord.FindStringSubmatch(word)
					if m == nil {
						continue
					}
					words = append(words, m[2])
					raw, _ := base64.StdEncoding.DecodeString(m[2])
					parts.WriteString(charsettest.Decode(t, c, raw) + "\n")
				}
			}
			name := map[string]string{"Shift_JIS": "cp932"}[c.Name] // where \ and ~ are ASCII
			if name == "" {
				name = strings.ToLower(c.Name)
			}
			const perl = `use strict; binmode STDOUT, ":utf8"; my $e = shift;
				while (<STDIN>) {
					chomp;
					my $raw = decode_base64($_);
					die "base64: $_\n" if encode_base64($raw, "") ne $_;
					print decode($e, $raw, Encode::FB_CROAK), "\n";
				}`
			got := charsettest.Filter(t, []byte(strings.Join(words, "\n")+"\n"), "perl", "-MEncode", "-MMIME::Base64", "-e", perl, name)
			if got != parts.String() {
				t.Error("perl reads other words")
			}
			// A word begins where iconv's state is what the one before left.
			var raw []byte
			for _, word := range words {
				b, _ := base64.StdEncoding.DecodeString(word)
				raw = append(append(raw, b...), '\n')
			}
			if got := charsettest.Filter(t, raw, "iconv", "-f", name, "-t", "UTF-8"); got != parts.String() {
				t.Error("iconv reads other words")
			}
		})
	}
}

// TestHeaderReaders proves that programs that read whole header fields show the
// text: nkf, mblaze's mhdr and Perl's MIME-Header.
func TestHeaderReaders(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	all := charsettest.Kanji()
	var texts []string
	for range 25 {
		// Neither \ nor ~, on which the readers' tables of Shift_JIS differ; no
		// two blanks, which some of them make one.
		text := "[3/10] 件名" + strings.Trim(randomText(r, all, 1+r.IntN(200)), " ") + "了"
		text = strings.NewReplacer(`\`, "x", "~", "x").Replace(text)
		texts = append(texts, strings.Join(strings.Fields(text), " "))
	}
	const perl = `binmode STDOUT, ":utf8"; local $/; my ($s) = <STDIN> =~ /^Subject: (.*)\n\z/s; print decode("MIME-Header", $s), "\n"`
	for _, c := range charset.Charsets {
		for name, command := range map[string][]string{
			"nkf":  {"sh", "-c", "nkf -w -x -m | sed 's/^Subject: //'"},
			"mhdr": {"env", "LC_ALL=C.UTF-8", "mhdr", "-d", "-h", "Subject", "/dev/stdin"},
			"perl": {"perl", "-MEncode", "-e", perl},
		} {
			t.Run(c.Short+"/"+name, func(t *testing.T) {
				charsettest.Filter(t, nil, "which", name)
				for _, text := range texts {
					value, err := EncodedWords(c, text, len("Subject: "))
					if err != nil {
						t.Fatal(err)
					}
					got := charsettest.Filter(t, []byte("Subject: "+value+"\n"), command...)
					if got != text+"\n" {
						t.Errorf("%q\nwant %q\nfrom %s", got, text, value)
					}
				}
			})
		}
	}
}

// TestPlainWords proves which words stay readable in the source: ASCII words at
// the beginning, unless they look like encoded words or their blanks would be
// lost.
func TestPlainWords(t *testing.T) {
	long := strings.Repeat("x", 75)
	for _, test := range []struct {
		text   string
		column int
		want   string
	}{
		{"", 9, ""},
		{"plain text only", 9, "plain text only"},
		{"[ml] 漢字", 9, "[ml] =?EUC-JP?B?tMG7+g==?="},
		{"[ml:3] Re: 漢字 3/10", 9, "[ml:3] Re: =?EUC-JP?B?tMG7+iAzLzEw?="},
		{"Re:漢字", 9, "=?EUC-JP?B?UmU6tMG7+g==?="},
		{"=?x?", 9, "=?EUC-JP?B?PT94Pw==?="},
		{"a =?x? b", 9, "a =?EUC-JP?B?PT94PyBi?="},
		{"a  b", 9, "a =?EUC-JP?B?IGI=?="},
		{" a", 9, "=?EUC-JP?B?IGE=?="},
		{"a ", 9, "=?EUC-JP?B?YSA=?="},
		{"a 漢 ", 9, "a =?EUC-JP?B?tMEg?="},
		{long, 1, long},
		{long, 2, "\n " + long},
		{"a " + long, 9, "a\n " + long},
		{long + " a", 1, long + "\n a"},
		{long + "y", 50, "=?EUC-JP?B?eHh4eHh4eHh4?=\n =?EUC-JP?B?eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4?=\n" +
			" =?EUC-JP?B?eHh4eHh4eHh4eHh4eHh4eHh4eHh4eQ==?="},
		{"漢", 61, "\n =?EUC-JP?B?tME=?="},
		{"漢", 59, "=?EUC-JP?B?tME=?="},
		{"漢", 200, "\n =?EUC-JP?B?tME=?="},
	} {
		got, err := EncodedWords(charset.Charsets[2], test.text, test.column)
		if err != nil || got != test.want {
			t.Errorf("EncodedWords(%q, %d) = %q, %v; want %q", test.text, test.column, got, err, test.want)
			continue
		}
		checkWords(t, charset.Charsets[2], test.text, test.column, got)
	}
}

// TestFull proves that words are as long as the rules let them be: 15 kanji of
// ISO-2022-JP after "Subject: ", 18 on the lines below (RFC 2047, section 2).
func TestFull(t *testing.T) {
	for name, want := range map[string][]int{
		"jis": {15, 18, 7}, "sjis": {18, 21, 1}, "euc": {19, 21}, "utf8": {13, 15, 12},
	} {
		c, _ := charset.Find(name)
		value, err := EncodedWords(c, strings.Repeat("漢", 40), len("Subject: "))
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, word := range strings.Fields(value) {
			raw, _ := base64.StdEncoding.DecodeString(encodedWord.FindStringSubmatch(word)[2])
			got = append(got, strings.Count(charsettest.Decode(t, c, raw), "漢"))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestEncodedWordsRefuses proves that a header field cannot be ended by its
// text, and that the errors of Encode come through.
func TestEncodedWordsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"漢字\nBcc: a": "more than one line",
		"\n":         "more than one line",
		"a\rb":       "U+000D: control character",
		"漢字\x1b":     "U+001B: control character",
		"漢字\xff":     "invalid UTF-8",
	} {
		for _, c := range charset.Charsets {
			if got, err := EncodedWords(c, text, 9); err == nil || err.Error() != want || got != "" {
				t.Errorf("%s: %q: %q, %v; want %s", c.Short, text, got, err, want)
			}
		}
	}
	if _, err := EncodedWords(charset.Charsets[0], "[ml] ①", 9); err == nil || err.Error() != "U+2460: not in JIS X 0208" {
		t.Error(err)
	}
}

// FuzzEncodedWords proves that no text and no column breaks the rules: there is
// an error, or the value is right.
func FuzzEncodedWords(f *testing.F) {
	f.Add("[3/10] 日本語 mail のテスト", uint(9), uint(0))
	f.Fuzz(func(t *testing.T, text string, column, which uint) {
		c := charset.Charsets[which%uint(len(charset.Charsets))]
		value, err := EncodedWords(c, text, int(column%100))
		if err == nil {
			checkWords(t, c, text, int(column%100), value)
		}
	})
}
