package applets

import (
	"embed"
	"io"
	"strings"

	"kowaza/internal/jmail"
)

// japanese holds the help texts in Japanese, in UTF-8; the English ones stand
// in the applets' own files.
//
//go:embed help/ja/*.txt
var japanese embed.FS

// japaneseCharsets names jmail's charsets as locales do: Unix systems spell them
// in many ways, of which the letters and digits are left here.
var japaneseCharsets = map[string]string{
	"utf8": "utf8",

	"eucjp": "euc", "ujis": "euc", "euc": "euc", "ibmeucjp": "euc",

	"sjis": "sjis", "shiftjis": "sjis", "pck": "sjis", "mskanji": "sjis",
	"windows31j": "sjis", "cp932": "sjis", "ibm932": "sjis", "ibm943": "sjis",

	"iso2022jp": "jis", "jis": "jis", "jis7": "jis",

	// A locale that names no charset, as ja or ja_JP, was EUC-JP on the Unix
	// systems of old, and glibc still makes it so where somebody has it made. It
	// is taken for UTF-8: that is what musl, the BSDs and macOS mean by it, what
	// terminals have shown for twenty years, and who still has EUC-JP or
	// Shift_JIS has always had to say so in most places.
	"": "utf8",
}

// language returns the charset in which the environment asks for Japanese, nil
// where it asks for anything else. As in POSIX, 8.2, the first variable that is
// set and not empty counts. LANGUAGE is GNU's.
func (env *Env) language() *jmail.Charset {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale = env.Getenv(name); locale != "" {
			break
		}
	}
	// language[_territory][.charset][@modifier]
	locale, _, _ = strings.Cut(strings.ToLower(locale), "@")
	locale, charset, _ := strings.Cut(locale, ".")
	if name, _, _ := strings.Cut(locale, "_"); name != "ja" {
		return nil
	}
	charset = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, charset)
	short, ok := japaneseCharsets[charset]
	if !ok {
		return nil // it cannot show Japanese, or nobody knows how
	}
	found, _ := jmail.Find(short)
	return found
}

// help returns the help of an applet in the language asked for, in UTF-8.
func (env *Env) help(a *Applet) string {
	if env.language() != nil {
		if text, err := japanese.ReadFile("help/ja/" + a.Name + ".txt"); err == nil {
			return string(text)
		}
	}
	return a.Help
}

// printHelp prints a text of help in the charset asked for. A test makes sure
// that every Japanese help has a place in every charset.
func (env *Env) printHelp(text string) {
	if charset := env.language(); charset != nil {
		if b, err := charset.Encode(text); err == nil {
			text = string(b)
		}
	}
	io.WriteString(env.Stdout, text)
}
