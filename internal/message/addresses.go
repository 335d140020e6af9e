package message

import (
	"bytes"
	"strings"
)

// Addresses returns the addresses in the value of a header field, as RFC 5322, 3.4,
// has them: with and without a name, in groups, with comments, routes and quoted
// local parts, whose quotation marks are no part of the address. It gives those that
// are local@domain and that CheckAddress finds good. What is against the rules is
// passed over up to the next comma, and hides no address behind it; raw ISO-2022-JP is
// a name whatever its bytes are.
func Addresses(raw []byte) (addresses []string) {
	a := addressReader{text: unfold(raw)}
	for a.at < len(a.text) {
		a.next()
	}
	a.end()
	return a.found
}

// An addressReader takes a list of addresses apart.
type addressReader struct {
	text  []byte
	at    int
	found []string

	word  []byte // of the address or name at hand
	sign  bool   // an @ stands in word, outside quotation marks
	bare  []string
	angle bool // the address at hand stood in angle brackets
}

// next takes one character, or what begins with it.
func (a *addressReader) next() {
	c := a.text[a.at]
	switch c {
	case '\x1b': // between the escapes every byte is half of a character
		a.at = escapeEnd(a.text, a.at)
		return
	case '"':
		if s, n, ok := cutQuoted(a.text[a.at:]); ok {
			a.word = append(a.word, s...)
			a.at += n
			return
		}
	case '(':
		if n := commentEnd(a.text[a.at:]); n > 0 {
			a.at += n
			return
		}
	case '<':
		n := angleEnd(a.text[a.at:])
		a.add(a.text[a.at+1 : a.at+n])
		a.angle = true
		a.at += n
		return
	case ' ', '\t':
		// Blanks around the @ are obsolete but legal: RFC 5322, 4.4.
		rest := bytes.TrimLeft(a.text[a.at:], " \t")
		if !bytes.HasPrefix(rest, []byte("@")) && !bytes.HasSuffix(a.word, []byte("@")) {
			a.endWord()
		}
	case ',', ';':
		a.end()
	case ':': // so far it was the name of a group
		a.word, a.sign, a.bare = a.word[:0], false, nil
	default:
		a.sign = a.sign || c == '@'
		a.word = append(a.word, c)
	}
	a.at++
}

// endWord ends a word outside angle brackets.
func (a *addressReader) endWord() {
	if a.sign {
		a.bare = append(a.bare, string(a.word))
	}
	a.word, a.sign = a.word[:0], false
}

// end ends what may be an address. Beside one in angle brackets all is its name.
func (a *addressReader) end() {
	a.endWord()
	if !a.angle {
		for _, s := range a.bare {
			a.keep(s)
		}
	}
	a.bare, a.angle = nil, false
}

// add reads what stands in angle brackets.
func (a *addressReader) add(text []byte) {
	text = bytes.TrimSpace(text)
	if bytes.HasPrefix(text, []byte("@")) { // a route: RFC 5322, 4.4
		_, text, _ = bytes.Cut(text, []byte(":"))
	}
	if local, n, ok := cutQuoted(text); ok {
		text = append(append([]byte(nil), local...), text[n:]...)
	}
	local, domain, _ := bytes.Cut(text, []byte("@"))
	a.keep(string(bytes.TrimRight(local, " \t")) + "@" + string(bytes.TrimLeft(domain, " \t")))
}

func (a *addressReader) keep(address string) {
	if _, domain, _ := strings.Cut(address, "@"); domain != "" && CheckAddress(address) == nil {
		a.found = append(a.found, address)
	}
}

// cutQuoted takes a quoted string off and returns what it says and how long it is;
// false where it does not end.
func cutQuoted(text []byte) (s []byte, n int, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return nil, 0, false
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return s, i + 1, true
		case '\\':
			if i++; i == len(text) {
				return nil, 0, false
			}
		}
		s = append(s, text[i])
	}
	return nil, 0, false
}

// commentEnd returns how long a comment is, with those in it; 0 where it does not
// end.
func commentEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\x1b':
			i = escapeEnd(text, i) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// angleEnd returns where the bracket closes, or else the comma is, that ends what
// begins with an opening one.
func angleEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			if _, n, ok := cutQuoted(text[i:]); ok {
				i += n - 1
			}
		case '>':
			return i
		}
	}
	if i := bytes.IndexByte(text, ','); i > 0 {
		return i
	}
	return len(text)
}
