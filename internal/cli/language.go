package cli

import (
	"io"
	"strings"

	"kowaza/internal/charset"
)

// japaneseCharset returns the short name of a charset as locales name it; empty where it
// cannot show Japanese, or nobody knows how. Unix systems spell them in many ways, of which
// the letters and digits are left here.
func japaneseCharset(name string) string {
	switch name {
	case "utf8":
		return "utf8"
	case "eucjp", "ujis", "euc", "ibmeucjp":
		return "euc"
	case "sjis", "shiftjis", "pck", "mskanji", "windows31j", "cp932", "ibm932", "ibm943":
		return "sjis"
	case "iso2022jp", "jis", "jis7":
		return "jis"
	case "":
		// A locale that names no charset, as ja or ja_JP, was EUC-JP on the Unix
		// systems of old, and glibc still makes it so where somebody has it made. It
		// is taken for UTF-8: that is what musl, the BSDs and macOS mean by it, what
		// terminals have shown for twenty years, and who still has EUC-JP or
		// Shift_JIS has always had to say so in most places.
		return "utf8"
	}
	return ""
}

// Language returns the charset in which the environment asks for Japanese, nil
// where it asks for anything else. As in POSIX, 8.2, the first variable that is
// set and not empty counts. LANGUAGE is GNU's.
func (env *Env) Language() *charset.Charset {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if locale = env.Getenv(name); locale != "" {
			break
		}
	}
	// language[_territory][.charset][@modifier]
	locale, _, _ = strings.Cut(strings.ToLower(locale), "@")
	locale, name, _ := strings.Cut(locale, ".")
	if tongue, _, _ := strings.Cut(locale, "_"); tongue != "ja" {
		return nil
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
	found, _ := charset.Find(japaneseCharset(name)) // nil where there is none
	return found
}

// HelpOf returns the help of an applet in the language asked for, in UTF-8.
func (env *Env) HelpOf(a *Applet) string {
	if env.Japanese != nil && env.Language() != nil {
		if text := env.Japanese(a.ManPage()); text != "" {
			return text
		}
	}
	return a.Help
}

// ShowHelp prints the help of the applet that runs.
func (env *Env) ShowHelp() { env.PrintHelp(env.HelpOf(env.applet)) }

// PrintHelp prints a text of help in the charset asked for.
func (env *Env) PrintHelp(text string) {
	if c := env.Language(); c != nil {
		if b, err := c.Encode(text); err == nil {
			text = string(b)
		}
	}
	io.WriteString(env.Stdout, text)
}
