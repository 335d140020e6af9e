package jmail

import (
	"encoding/base64"
	"errors"
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
func EncodedWords(c *Charset, text string, firstColumn int) (string, error) {
	if strings.Contains(text, "\n") {
		return "", errors.New("more than one line")
	}
	f := folder{column: firstColumn}
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

// plain tells whether a word of a text may stand in a header field as it is:
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

// A folder lays words out on lines.
type folder struct {
	strings.Builder
	column int
	inLine bool // a word stands on this line
}

// fold begins a line.
func (f *folder) fold() {
	f.WriteString("\n ")
	f.column = 1
	f.inLine = false
}

// word adds a word, on a new line where it does not fit.
func (f *folder) word(word string) {
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
func (f *folder) blank() int {
	if f.inLine {
		return 1
	}
	return 0
}

// encode adds text as encoded words, each as long as its line allows.
func (f *folder) encode(c *Charset, text string) error {
	prefix, suffix := "=?"+c.Name+"?B?", "?="
	w := writer{charset: c}
	room := func() int {
		chars := min(maxWord, maxLine-f.column-f.blank()) - len(prefix) - len(suffix)
		return max(chars, 0) / 4 * 3
	}
	flush := func() {
		f.word(prefix + base64.StdEncoding.EncodeToString(w.end()) + suffix)
		w.buf = w.buf[:0]
	}
	for i, r := range text {
		length, kanji := len(w.buf), w.kanji
		if err := w.add(r, text[i:]); err != nil {
			return err
		}
		if w.size() <= room() {
			continue
		}
		// Back to before r, which begins the next word.
		w.buf, w.kanji = w.buf[:length], kanji
		if length > 0 {
			flush()
		}
		f.fold()
		w.add(r, text[i:])
	}
	flush()
	return nil
}
