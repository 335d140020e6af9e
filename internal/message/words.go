package message

import (
	"encoding/base64"
	"errors"
	"kowaza/internal/charset"
	"strings"
)

// Limits of RFC 2047, section 2.
const (
	maxWord = 75 // an encoded word
	maxLine = 76 // a line of a header field that holds one
)

// EncodedWords returns text as the value of a header field, folded with LF and
// a space. firstColumn is how much of the first line is taken: the length of
// the field's name, the colon and the space.
//
// ASCII words at the beginning stay as they are, so that filters and list
// managers find them. All from the first other word on becomes encoded words:
// readers drop the white space between two of them, so blanks must be inside,
// and a word that is ASCII only in part has no blank to be cut at.
//
// Each encoded word holds whole characters, and begins and ends in ASCII: it can
// be read without the others.
func EncodedWords(c *charset.Charset, text string, firstColumn int) (string, error) {
	if strings.Contains(text, "\n") {
		return "", errors.New("more than one line")
	}
	f := lineWriter{column: firstColumn}
	rest := text
	for rest != "" {
		word, after, more := strings.Cut(rest, " ")
		// A blank at the end would be lost.
		if !plain(word) || more && after == "" {
			break
		}
		f.word(word)
		rest = after
	}
	if rest == "" {
		return f.String(), nil
	}
	if err := f.encode(c, rest); err != nil {
		return "", err
	}
	return f.String(), nil
}

// Phrase returns text as what names an address, before that: words of its letters
// stand as they are, other ASCII becomes a quoted string (RFC 5322, 3.2.5), in
// which a comma divides nothing, and the rest encoded words, the first included.
func Phrase(c *charset.Charset, text string, firstColumn int) (string, error) {
	ascii, atoms := true, true
	for i := 0; i < len(text); i++ {
		ascii = ascii && text[i] >= ' ' && text[i] <= '~'
		atoms = atoms && (text[i] >= 0x80 || text[i] == ' ' || atext(text[i]))
	}
	switch {
	case atoms:
		return EncodedWords(c, text, firstColumn)
	case ascii && !strings.Contains(text, "=?"):
		quoted := `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(text) + `"`
		if firstColumn+len(quoted) <= maxLine {
			return quoted, nil
		}
	}
	if strings.Contains(text, "\n") {
		return "", errors.New("more than one line")
	}
	f := lineWriter{column: firstColumn}
	if err := f.encode(c, text); err != nil {
		return "", err
	}
	return f.String(), nil
}

// plain reports whether a word of a text may stand in a header field as it is:
// not if a reader would take it for an encoded word, nor if it needs folding.
// The empty word, between two blanks, is not plain: blanks may be lost.
func plain(word string) bool {
	for i := 0; i < len(word); i++ {
		if word[i] <= ' ' || word[i] > '~' {
			return false
		}
	}
	return word != "" && len(word) < maxLine && !strings.Contains(word, "=?")
}

// A lineWriter lays words out on lines.
type lineWriter struct {
	strings.Builder
	column int
	inLine bool // a word stands on this line
}

// fold begins a line.
func (f *lineWriter) fold() {
	f.WriteString("\n ")
	f.column = 1
	f.inLine = false
}

// word adds a word, on a new line where it does not fit.
func (f *lineWriter) word(word string) {
	switch {
	case f.column+f.blank()+len(word) > maxLine:
		f.fold()
	case f.inLine:
		f.WriteByte(' ')
		f.column++
	}
	f.WriteString(word)
	f.column += len(word)
	f.inLine = true
}

// blank is the width of what parts a word from the one before it.
func (f *lineWriter) blank() int {
	if f.inLine {
		return 1
	}
	return 0
}

// encode adds text as encoded words, each as long as its line allows.
func (f *lineWriter) encode(c *charset.Charset, text string) error {
	prefix, suffix := "=?"+c.Name+"?B?", "?="
	word := c.NewText()
	room := func() int {
		chars := min(maxWord, maxLine-f.column-f.blank()) - len(prefix) - len(suffix)
		return max(chars, 0) / 4 * 3
	}
	flush := func() {
		f.word(prefix + base64.StdEncoding.EncodeToString(word.End()) + suffix)
		word.Reset()
	}
	for i, r := range text {
		before := word
		if err := word.Add(r, text[i:]); err != nil {
			return err
		}
		if word.Len() <= room() {
			continue
		}
		// Back to before r, which begins the next word.
		word = before
		if !word.Empty() {
			flush()
		}
		f.fold()
		word.Add(r, text[i:])
	}
	flush()
	return nil
}
