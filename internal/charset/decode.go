package charset

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

// canonical returns the name of a charset that mail also calls by another, in lower case.
func canonical(name string) string {
	switch name {
	case "ascii", "ansi_x3.4-1968", "iso646-us":
		return "us-ascii"
	case "utf8":
		return "utf-8"
	case "latin1", "iso8859-1", "iso_8859-1", "l1":
		return "iso-8859-1"
	case "csiso2022jp", "iso-2022-jp-1", "iso-2022-jp-ms", "cp50221":
		return "iso-2022-jp"
	case "x-euc-jp", "eucjp", "euc_jp", "ujis", "x-euc":
		return "euc-jp"
	case "x-sjis", "sjis", "shift-jis", "ms_kanji", "csshiftjis", "windows-31j", "cswindows31j", "cp932", "ms932":
		return "shift_jis"
	}
	return name
}

// Same reports whether two names that mail uses mean one charset.
func Same(a, b string) bool {
	return canonical(strings.ToLower(a)) == canonical(strings.ToLower(b))
}

// Decode reads text in a charset, by any name that mail uses for it; false where it
// is not that, or where the charset is none of ours.
func Decode(name string, text []byte) (string, bool) {
	switch canonical(strings.ToLower(name)) {
	case "us-ascii":
		return string(text), IsASCII(text)
	case "utf-8":
		return string(text), utf8.Valid(text)
	case "iso-8859-1":
		out := make([]rune, len(text))
		for i, c := range text {
			out[i] = rune(c)
		}
		return string(out), true
	case "iso-2022-jp":
		return convert(japanese.ISO2022JP, text)
	case "euc-jp":
		return convert(japanese.EUCJP, text)
	case "shift_jis":
		return convert(japanese.ShiftJIS, text)
	}
	return "", false
}

// IsASCII reports whether all bytes are below 128.
func IsASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// convert decodes. What the decoder cannot read it makes U+FFFD, which none of
// these charsets has.
func convert(e encoding.Encoding, text []byte) (string, bool) {
	out, err := e.NewDecoder().Bytes(text)
	return string(out), err == nil && !bytes.ContainsRune(out, utf8.RuneError)
}
