// Package charset writes Japanese text in the charsets of mail and of locales, and
// reads text in them: ISO-2022-JP (RFC 1468), Shift_JIS, EUC-JP, UTF-8.
//
// Three of the four charsets are three ways to write the number of a cell of
// JIS X 0208, so there is one table from character to cell and each charset is
// a little arithmetic. The table holds what the standard holds and nothing
// else: the converters at hand also take half-width katakana, vendors'
// characters (NEC row 13, NEC-selected IBM, IBM extensions) and JIS X 0212,
// which mail in these charsets must not carry. Left out, too, are the ten cells
// that converters read as different characters.
package charset

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
)

// A Charset is one in which Japanese mail is written.
type Charset struct {
	Short    string // as an administrator calls it: jis
	Name     string // as MIME calls it: ISO-2022-JP
	Transfer string // Content-Transfer-Encoding of a text in it: 7bit

	// cell appends a cell of JIS X 0208, row and column from 1 to 94; nil for
	// UTF-8, which writes the character itself.
	cell func(dst []byte, row, column byte) []byte
	// escapes: cells stand between ESC $ B and ESC ( B.
	escapes bool
	ascii   bool // nothing else
}

// ASCII is for text that needs none of Charsets: every reader has it.
var ASCII = &Charset{Name: "US-ASCII", Transfer: "7bit", ascii: true}

// Charsets lists all charsets.
var Charsets = []*Charset{
	{Short: "jis", Name: "ISO-2022-JP", Transfer: "7bit", escapes: true,
		cell: func(dst []byte, row, column byte) []byte { return append(dst, 0x20+row, 0x20+column) }},
	{Short: "sjis", Name: "Shift_JIS", Transfer: "8bit", cell: shiftJIS},
	{Short: "euc", Name: "EUC-JP", Transfer: "8bit",
		cell: func(dst []byte, row, column byte) []byte { return append(dst, 0xa0+row, 0xa0+column) }},
	{Short: "utf8", Name: "UTF-8", Transfer: "8bit"},
}

// Find returns the charset with that short name, or says which there are.
func Find(short string) (*Charset, error) {
	var names []string
	for _, c := range Charsets {
		if c.Short == short {
			return c, nil
		}
		names = append(names, c.Short)
	}
	return nil, errors.New("not one of " + strings.Join(names, ", "))
}

// shiftJIS packs two rows of 94 cells behind one lead byte, see JIS X 0208:1997
// annex 1. The trail byte jumps over DEL, the lead byte over the half-width
// katakana.
func shiftJIS(dst []byte, row, column byte) []byte {
	lead := 0x81 + (row-1)/2
	if lead > 0x9f {
		lead += 0x40
	}
	trail := 0x9e + column
	if row%2 == 1 {
		if trail = 0x3f + column; trail >= 0x7f {
			trail++
		}
	}
	return append(dst, lead, trail)
}

const (
	toKanji = "\x1b$B" // JIS X 0208-1983
	toASCII = "\x1b(B"
)

// disputed holds the characters that converters see in the same ten cells:
// 1-17, 1-29, 1-32, 1-33, 1-34, 1-61, 1-79, 1-81, 1-82 and 2-44. Measured with
// the tables of glibc, Perl, Python, nkf and golang.org/x/text, 27 in all, which
// agree on the other 6869 cells.
const disputed = "￣‾―—＼〜～‖∥−－￥¥￠¢￡£￢¬"

var sameCell = strings.NewReplacer("‾", "￣", "—", "―", "〜", "～", "‖", "∥", "−", "－", "¥", "￥", "¢", "￠", "£", "￡", "¬", "￢")

// SameCell returns text with one and the same character for the two that converters see
// in one cell, as a wave dash: to compare what two of them have read.
func SameCell(text string) string { return sameCell.Replace(text) }

// cells is the table: row<<8 | column, 0 where there is none. It is made of the
// cells, not of the characters: whatever else the converter would take has no
// place in it.
var cells = sync.OnceValue(func() *[0x10000]uint16 {
	const lines = 8 + 84 - 16 + 1
	euc := make([]byte, 0, lines*94*3)
	var numbers []uint16
	for row := byte(1); row <= 84; row++ {
		if row > 8 && row < 16 {
			continue // the standard's empty rows, where vendors settled
		}
		for column := byte(1); column <= 94; column++ {
			euc = append(euc, 0xa0+row, 0xa0+column, '\n')
			numbers = append(numbers, uint16(row)<<8|uint16(column))
		}
	}
	// It does not fail: what it cannot read becomes U+FFFD.
	text, _ := japanese.EUCJP.NewDecoder().Bytes(euc)
	table := new([0x10000]uint16)
	for _, number := range numbers {
		r, size := utf8.DecodeRune(text)
		if r != utf8.RuneError && text[size] == '\n' && !strings.ContainsRune(disputed, r) {
			table[r] = number
		}
		for text[0] != '\n' {
			text = text[1:]
		}
		text = text[1:]
	}
	return table
})

// Encode writes text in the charset. A character that the charset has no
// undisputed place for is an error, as is a control character but LF and TAB. In
// ISO-2022-JP every line and the end are in ASCII.
func (c *Charset) Encode(text string) ([]byte, error) {
	t := Text{charset: c, buf: make([]byte, 0, len(text)+len(text)/8)}
	for i, r := range text {
		if r >= ' ' && r < 0x7f || r == '\n' || r == '\t' {
			t.ascii(r)
			continue
		}
		if err := t.Add(r, text[i:]); err != nil {
			return nil, err
		}
	}
	return t.End(), nil
}

// A Text collects characters in a charset, one at a time. A copy of it is a place
// to go back to: what was added since is forgotten.
type Text struct {
	charset *Charset
	buf     []byte
	kanji   bool // after ESC $ B
}

// NewText returns an empty text.
func (c *Charset) NewText() Text { return Text{charset: c} }

// Add appends the character r, with which rest begins. A control character, one that
// the charset has no undisputed place for, and a byte that is no UTF-8 are errors.
func (t *Text) Add(r rune, rest string) error {
	switch {
	case r == utf8.RuneError && !strings.HasPrefix(rest, string(utf8.RuneError)):
		return errors.New("invalid UTF-8")
	case unicode.IsControl(r):
		return fmt.Errorf("U+%04X: control character", r)
	case r < utf8.RuneSelf:
		t.ascii(r)
		return nil
	case t.charset.ascii:
		return fmt.Errorf("U+%04X: not ASCII", r)
	case t.charset.cell == nil:
		t.buf = utf8.AppendRune(t.buf, r)
		return nil
	}
	var cell uint16
	if r < 0x10000 {
		cell = cells()[r]
	}
	if cell == 0 {
		return fmt.Errorf("U+%04X: %s", r, t.charset.lacks(r))
	}
	if t.charset.escapes && !t.kanji {
		t.buf = append(t.buf, toKanji...)
		t.kanji = true
	}
	t.buf = t.charset.cell(t.buf, byte(cell>>8), byte(cell))
	return nil
}

func (t *Text) ascii(r rune) {
	if t.kanji {
		t.End()
	}
	t.buf = append(t.buf, byte(r))
}

// End returns to ASCII and returns what has been written.
func (t *Text) End() []byte {
	if t.kanji {
		t.buf = append(t.buf, toASCII...)
		t.kanji = false
	}
	return t.buf
}

// Reset empties the text. What End returned is written over by the next Add.
func (t *Text) Reset() { t.buf, t.kanji = t.buf[:0], false }

// Empty reports whether nothing has been added.
func (t *Text) Empty() bool { return len(t.buf) == 0 }

// Len is how many bytes it has once it has returned to ASCII.
func (t *Text) Len() int {
	if t.kanji {
		return len(t.buf) + len(toASCII)
	}
	return len(t.buf)
}

// lacks says why a character has no place in the charset.
func (c *Charset) lacks(r rune) string {
	switch {
	case r >= 0xff61 && r <= 0xff9f:
		return "half-width katakana"
	case strings.ContainsRune(disputed, r):
		return "not the same character in all tables of " + c.Name
	}
	return "not in JIS X 0208"
}
