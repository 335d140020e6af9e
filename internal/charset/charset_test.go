package charset_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"kowaza/internal/charset"
	"kowaza/internal/charset/charsettest"
)

// TestAllCharacters proves that the table holds the whole of JIS X 0208 but for
// the ten disputed cells, and that everyone reads every character of it back as
// it was: golang.org/x/text, iconv, Perl and nkf, the vendors' variants of the
// charsets too. So none of them is a vendor's, and none is disputed.
func TestAllCharacters(t *testing.T) {
	all := charsettest.Kanji()
	if len(all) != 6879-10 {
		t.Errorf("%d characters, want 6869", len(all))
	}
	var b strings.Builder
	for i, r := range all {
		b.WriteRune(r)
		if i%20 == 19 {
			b.WriteByte('\n')
		}
	}
	// Not \ and ~, in which the variants of Shift_JIS differ.
	b.WriteString("\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[]^_`abcxyz{|}\n")
	text := b.String()
	const perl = `binmode STDOUT, ":utf8"; local $/; print decode(shift, <STDIN>, Encode::FB_CROAK)`
	readers := map[string][][]string{
		"ISO-2022-JP": {{"iconv", "-f", "ISO-2022-JP", "-t", "UTF-8"}, {"iconv", "-f", "ISO-2022-JP-3", "-t", "UTF-8"},
			{"perl", "-MEncode", "-e", perl, "iso-2022-jp"}, {"perl", "-MEncode", "-e", perl, "7bit-jis"},
			{"nkf", "-J", "-w", "-x", "-m0"}},
		"Shift_JIS": {{"iconv", "-f", "SHIFT_JIS", "-t", "UTF-8"}, {"iconv", "-f", "CP932", "-t", "UTF-8"},
			{"iconv", "-f", "SHIFT_JISX0213", "-t", "UTF-8"},
			{"perl", "-MEncode", "-e", perl, "shiftjis"}, {"perl", "-MEncode", "-e", perl, "cp932"},
			{"nkf", "-S", "-w", "-x", "-m0"}},
		"EUC-JP": {{"iconv", "-f", "EUC-JP", "-t", "UTF-8"}, {"iconv", "-f", "EUC-JP-MS", "-t", "UTF-8"},
			{"iconv", "-f", "EUC-JISX0213", "-t", "UTF-8"},
			{"perl", "-MEncode", "-e", perl, "euc-jp"}, {"nkf", "-E", "-w", "-x", "-m0"}},
		"UTF-8": {{"iconv", "-f", "UTF-8", "-t", "UTF-8"}},
	}
	for _, c := range charset.Charsets {
		encoded := charsettest.Encode(t, c, text)
		if got := charsettest.Decode(t, c, encoded); got != text {
			t.Errorf("%s: golang.org/x/text reads another text", c.Name)
		}
		for _, reader := range readers[c.Name] {
			t.Run(c.Short+"/"+reader[0]+"/"+reader[len(reader)-1], func(t *testing.T) {
				if got := charsettest.Filter(t, encoded, reader...); got != text {
					t.Errorf("%s reads another text", strings.Join(reader, " "))
				}
			})
		}
	}
}

// TestEncodeBytes proves the bytes of a line whose cells lie at the edges of the
// arithmetic: odd and even rows, trail bytes around DEL, lead bytes around the
// half-width katakana, a backslash as trail byte (ソ, 表).
func TestEncodeBytes(t *testing.T) {
	const text = "A　ぁソ表×÷滌漾熙 B\n"
	for short, want := range map[string]string{
		// Values of iconv and perl, which agree on them.
		"jis":  "41 1b2442 2121 2421 253d 493d 215f 2160 5e7e 5f21 7426 1b2842 20420a",
		"sjis": "41 8140 829f 835c 955c 817e 8180 9ffc e040 eaa4 20420a",
		"euc":  "41 a1a1 a4a1 a5bd c9bd a1df a1e0 defe dfa1 f4a6 20420a",
		"utf8": hex.EncodeToString([]byte(text)),
	} {
		c, err := charset.Find(short)
		if err != nil {
			t.Fatal(err)
		}
		want = strings.ReplaceAll(want, " ", "")
		if got := hex.EncodeToString(charsettest.Encode(t, c, text)); got != want {
			t.Errorf("%s: %s, want %s", short, got, want)
		}
	}
}

// TestEncodeRefuses proves that what has no undisputed place in a charset is an
// error that names the character, while UTF-8 takes it; and that no charset
// takes control characters or what is no UTF-8.
func TestEncodeRefuses(t *testing.T) {
	const (
		katakana = "half-width katakana"
		disputed = "not the same character in all tables of "
		foreign  = "not in JIS X 0208"
		control  = "control character"
	)
	tests := []struct{ text, code, why string }{
		{"ｱ", "U+FF71", katakana}, {"｡", "U+FF61", katakana}, {"ﾟ", "U+FF9F", katakana},
		{"①", "U+2460", foreign}, {"㈱", "U+3231", foreign}, {"№", "U+2116", foreign}, {"℡", "U+2121", foreign},
		{"Ⅰ", "U+2160", foreign}, {"㍻", "U+337B", foreign}, // NEC row 13
		{"ⅰ", "U+2170", foreign}, {"髙", "U+9AD9", foreign}, {"﨑", "U+FA11", foreign}, {"纊", "U+7E8A", foreign}, // NEC-selected and IBM
		{"丂", "U+4E02", foreign}, {"é", "U+00E9", foreign}, {"ß", "U+00DF", foreign}, // JIS X 0212
		{"한", "U+D55C", foreign}, {"😀", "U+1F600", foreign}, {"𠮷", "U+20BB7", foreign}, {"\ufffd", "U+FFFD", foreign},
		{"\ufeff", "U+FEFF", foreign}, {"\u00a0", "U+00A0", foreign},
		{"〜", "U+301C", disputed}, {"～", "U+FF5E", disputed}, {"−", "U+2212", disputed}, {"－", "U+FF0D", disputed},
		{"‖", "U+2016", disputed}, {"∥", "U+2225", disputed}, {"—", "U+2014", disputed}, {"―", "U+2015", disputed},
		{"¢", "U+00A2", disputed}, {"￠", "U+FFE0", disputed}, {"£", "U+00A3", disputed}, {"￡", "U+FFE1", disputed},
		{"¬", "U+00AC", disputed}, {"￢", "U+FFE2", disputed}, {"¥", "U+00A5", disputed}, {"￥", "U+FFE5", disputed},
		{"‾", "U+203E", disputed}, {"￣", "U+FFE3", disputed}, {"＼", "U+FF3C", disputed},
		{"\x1b", "U+001B", control}, {"\x00", "U+0000", control}, {"\x0e", "U+000E", control}, {"\r", "U+000D", control},
		{"\x7f", "U+007F", control}, {"\u0085", "U+0085", control}, {"\u009b", "U+009B", control},
		{"\xff", "", "invalid UTF-8"}, {"\xa4\xa2", "", "invalid UTF-8"}, {"\xe3\x81", "", "invalid UTF-8"},
	}
	for _, c := range charset.Charsets {
		for _, test := range tests {
			got, err := c.Encode("漢字" + test.text + "かな")
			if c.Name == "UTF-8" && test.why != control && test.code != "" {
				if err != nil {
					t.Errorf("UTF-8: %q: %v", test.text, err)
				}
				continue
			}
			want := strings.TrimPrefix(test.code+": "+test.why, ": ")
			if test.why == disputed {
				want += c.Name
			}
			if err == nil || err.Error() != want || got != nil {
				t.Errorf("%s: %q: %q, %v; want %s", c.Name, test.text, got, err, want)
			}
		}
	}
}

// TestEncodeTab proves that a text may have tabs, in ASCII, as any text file has, and
// that ASCII is that and nothing else.
func TestEncodeTab(t *testing.T) {
	for c, want := range map[*charset.Charset]string{
		charset.Charsets[0]: "\x1b$B4A\x1b(B\t\x1b$B;z\x1b(B\n", charset.Charsets[3]: "漢\t字\n",
	} {
		if got, err := c.Encode("漢\t字\n"); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", c.Name, got, err, want)
		}
	}
	if got, err := charset.ASCII.Encode("a\tb~\n"); err != nil || string(got) != "a\tb~\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"é", "漢", "\x1b", "\x80", "\r"} {
		if got, err := charset.ASCII.Encode(text); err == nil {
			t.Errorf("ASCII: %q became %q", text, got)
		}
	}
}

// TestEscapes proves that ISO-2022-JP text is in 7 bits, has no escape sequence
// but two, and is in ASCII at the end of every line (RFC 1468).
func TestEscapes(t *testing.T) {
	c := charset.Charsets[0]
	for _, text := range []string{"", "\n", "漢", "漢字\n", "a漢b字c\n\n漢\n字", "漢字 漢字\n漢字", string(charsettest.Kanji())} {
		charsettest.CheckEscapes(t, charsettest.Encode(t, c, text))
	}
}

// TestFind proves that the four names find their charsets, and no other does.
func TestFind(t *testing.T) {
	for short, want := range map[string]string{"jis": "ISO-2022-JP", "sjis": "Shift_JIS", "euc": "EUC-JP", "utf8": "UTF-8"} {
		if c, err := charset.Find(short); err != nil || c.Name != want {
			t.Errorf("Find(%q) = %v, %v; want %s", short, c, err, want)
		}
	}
	for _, short := range []string{"", "JIS", "utf-8", "jis "} {
		if c, err := charset.Find(short); err == nil || err.Error() != "not one of jis, sjis, euc, utf8" {
			t.Errorf("Find(%q) = %v, %v", short, c, err)
		}
	}
}

// TestSameCell proves that the characters of one cell become one, that those of different
// cells stay different, and that all else stays as it is.
func TestSameCell(t *testing.T) {
	const plain = "abc ~ - \\ 漢字かな ー ｰ ＝"
	if got := charset.SameCell(plain); got != plain {
		t.Errorf("%q", got)
	}
	seen := make(map[string]bool)
	for _, pair := range []string{"￣‾", "―—", "〜～", "‖∥", "−－", "￥¥", "￠¢", "￡£", "￢¬"} {
		r := []rune(pair)
		a, b := charset.SameCell(string(r[0])), charset.SameCell(string(r[1]))
		if a != b || seen[a] {
			t.Errorf("%s: %q, %q", pair, a, b)
		}
		seen[a] = true
	}
}
