package message

import (
	"bytes"
	"encoding/base64"
	"kowaza/internal/charset"
	"strings"
	"unicode/utf8"
)

// Show returns the value of a header field for showing: unfolded (RFC 5322,
// 2.2.3), its encoded words decoded (RFC 2047), and what stands there raw in
// ISO-2022-JP, UTF-8, EUC-JP or Shift_JIS read as such. What cannot be decoded
// stays as it stands, so the result may hold control characters and bytes that
// are no UTF-8.
//
// It takes what is against the rules, since mail holds it: words that touch
// other text or are inside quotes, characters and shifts of ISO-2022-JP that
// are split between two words, base64 without its padding.
func Show(raw []byte) string {
	if plainText(raw) {
		return string(bytes.Trim(raw, " \t"))
	}
	raw = unfold(raw)
	var out strings.Builder
	var words []word
	flush := func() {
		out.WriteString(joinWords(words))
		words = words[:0]
	}
	plain := 0 // where text begins that is in no word
	for at := 0; at < len(raw); {
		if raw[at] == '\x1b' {
			// Between the escapes "=?" is half of two characters.
			at = escapeEnd(raw, at)
			continue
		}
		w, ok := cutWord(raw[at:])
		if !ok {
			at++
			continue
		}
		if between := raw[plain:at]; len(words) == 0 || !blank(between) {
			flush()
			out.WriteString(showRaw(between))
		} else {
			w.before = between
		}
		words = append(words, w)
		at += len(w.raw)
		plain = at
	}
	flush()
	out.WriteString(showRaw(raw[plain:]))
	return out.String()
}

// plainText tells that there is nothing to be decoded, as in most fields.
func plainText(raw []byte) bool {
	for i, c := range raw {
		if c < ' ' && c != '\t' || c >= 0x7f || c == '=' && i+1 < len(raw) && raw[i+1] == '?' {
			return false
		}
	}
	return true
}

// unfold takes out the ends of lines, and the blanks around it all. What begins the
// next line is one blank where a tab is in it: no reader shows one.
func unfold(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		end := c == '\n' || c == '\r' && i+1 < len(raw) && raw[i+1] == '\n'
		if !end || i+1 < len(raw) && strings.IndexByte(" \t\n", raw[i+1]) < 0 {
			out = append(out, c)
			continue
		}
		begins := i + 1
		for begins < len(raw) && (raw[begins] == ' ' || raw[begins] == '\t') {
			begins++
		}
		if bytes.IndexByte(raw[i+1:begins], '\t') >= 0 {
			out = append(out, ' ')
			i = begins - 1
		}
	}
	return bytes.Trim(out, " \t")
}

func blank(text []byte) bool { return len(bytes.Trim(text, " \t")) == 0 }

// escapeEnd returns where the text returns to ASCII, after the escape at at.
func escapeEnd(raw []byte, at int) int {
	if !bytes.HasPrefix(raw[at:], []byte("\x1b$")) && !bytes.HasPrefix(raw[at:], []byte("\x1b(I")) {
		return at + 1
	}
	for i := at + 1; i+2 < len(raw); i++ {
		if raw[i] == '\x1b' && raw[i+1] == '(' && (raw[i+2] == 'B' || raw[i+2] == 'J') {
			return i + 3
		}
	}
	return len(raw)
}

// A word is an encoded word whose bytes have been decoded, not yet their
// charset.
type word struct {
	before  []byte // the blanks before it, behind another word
	raw     []byte
	charset string // in lower case
	text    []byte
}

// cutWord takes an encoded word off the beginning of text: =?charset?B?...?=
func cutWord(text []byte) (w word, ok bool) {
	if !bytes.HasPrefix(text, []byte("=?")) {
		return w, false
	}
	// Only the last part may be long.
	name, rest, ok := bytes.Cut(text[2:min(len(text), 2+maxCharset)], []byte("?"))
	if !ok || len(rest) < 2 || rest[1] != '?' {
		return w, false
	}
	kind := rest[0]
	start := 2 + len(name) + len("?B?")
	end := bytes.IndexByte(text[start:], '?')
	if end < 0 || !bytes.HasPrefix(text[start+end:], []byte("?=")) {
		return w, false
	}
	encoded := text[start : start+end]
	switch kind {
	case 'B', 'b':
		w.text, ok = decodeB(encoded)
	case 'Q', 'q':
		w.text, ok = decodeQ(encoded)
	default:
		return w, false
	}
	// Behind a star is the language (RFC 2231, 5).
	name, _, _ = bytes.Cut(name, []byte("*"))
	w.raw = text[:start+end+2]
	w.charset = strings.ToLower(string(name))
	return w, ok
}

const maxCharset = 64

func decodeB(encoded []byte) ([]byte, bool) {
	encoded = bytes.TrimRight(encoded, "=")
	text, err := base64.RawStdEncoding.AppendDecode(nil, encoded)
	return text, err == nil
}

func decodeQ(encoded []byte) ([]byte, bool) {
	text := make([]byte, 0, len(encoded))
	for i := 0; i < len(encoded); i++ {
		switch c := encoded[i]; c {
		case '_':
			text = append(text, ' ')
		case '=':
			if i+2 >= len(encoded) {
				return nil, false
			}
			high, ok1 := hexDigit(encoded[i+1])
			low, ok2 := hexDigit(encoded[i+2])
			if !ok1 || !ok2 {
				return nil, false
			}
			text = append(text, high<<4|low)
			i += 2
		default:
			text = append(text, c)
		}
	}
	return text, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// maxTries is more than a subject that was damaged on its way has places.
const maxTries = 8

// joinWords decodes words with nothing but blanks between them, which count for
// nothing. Neighbours of one charset are one text: a character may have been cut
// in two. Where that is no text the first is tried alone, then the others together
// again; but where this has failed maxTries times, each alone, or a header of bad
// words would take time that grows with the square of its length.
func joinWords(words []word) string {
	var out strings.Builder
	undecoded := false // the word before stands as it stood
	for tries := 0; len(words) > 0; {
		n := 1
		for tries < maxTries && n < len(words) && charset.Same(words[n].charset, words[0].charset) {
			n++
		}
		var text []byte
		for _, w := range words[:n] {
			text = append(text, w.text...)
		}
		s, ok := charset.Decode(words[0].charset, text)
		if !ok && n > 1 {
			n = 1
			tries++
			s, ok = charset.Decode(words[0].charset, words[0].text)
		}
		if !ok {
			s = string(words[0].raw)
		}
		if !ok || undecoded {
			out.Write(words[0].before)
		}
		out.WriteString(s)
		undecoded = !ok
		words = words[n:]
	}
	return out.String()
}

// showRaw reads text that nothing says the charset of. Escapes are of
// ISO-2022-JP; what is valid UTF-8 is hardly anything else by chance. EUC-JP
// and Shift_JIS can look alike, and then it is the one that has no half-width
// katakana, which in EUC-JP's bytes are all that Shift_JIS sees.
func showRaw(text []byte) string {
	if charset.IsASCII(text) {
		if bytes.IndexByte(text, '\x1b') >= 0 {
			if s, ok := charset.Decode("iso-2022-jp", text); ok {
				return s
			}
		}
		return string(text)
	}
	if utf8.Valid(text) {
		return string(text)
	}
	if s, ok := charset.Decode("euc-jp", text); ok {
		return s
	}
	if s, ok := charset.Decode("shift_jis", text); ok {
		return s
	}
	return string(text)
}
