package queue

import (
	"bytes"
	"strings"
)

// A Header holds the fields by which a list of messages shows them.
type Header struct {
	From, To, Cc, Subject, Date Field
}

// A Field is what stands behind the colon, byte for byte: folded as it was,
// without the end of its last line. Of several fields of a name it is the first.
type Field struct {
	Raw     []byte
	Present bool
}

const (
	maxField  = 64 << 10 // the rest of a longer field is cut off
	maxHeader = 1 << 20  // a longer header ends here
)

// headerEnd returns where in text the header ends: at the first empty line,
// whether lines end with LF or CRLF. It looks from the byte from on. -1: the
// end is not in text.
func headerEnd(text []byte, from int) int {
	if bytes.HasPrefix(text, []byte("\n")) || bytes.HasPrefix(text, []byte("\r\n")) {
		return 0
	}
	for {
		i := bytes.IndexByte(text[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		if bytes.HasPrefix(text[from:], []byte("\n")) || bytes.HasPrefix(text[from:], []byte("\r\n")) {
			return from
		}
	}
}

// parseHeader picks the fields out of a header. Lines that belong to no field
// are passed over.
func parseHeader(text []byte) (h Header) {
	for len(text) > 0 {
		end := lineEnd(text)
		for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
			end += lineEnd(text[end:])
		}
		field := text[:end]
		text = text[end:]
		if f := h.field(field); f != nil && !f.Present {
			value := field[bytes.IndexByte(field, ':')+1:]
			value = bytes.TrimSuffix(value, []byte("\n"))
			value = bytes.TrimSuffix(value, []byte("\r"))
			f.Raw = bytes.Clone(value[:min(len(value), maxField)])
			f.Present = true
		}
	}
	return h
}

// lineEnd returns where the next line begins.
func lineEnd(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// field returns where a field belongs, nil for the others. Blanks before the
// colon are obsolete but legal (RFC 5322, 4.5).
func (h *Header) field(line []byte) *Field {
	switch line[0] {
	case 'F', 'f', 'T', 't', 'C', 'c', 'S', 's', 'D', 'd':
	default:
		return nil
	}
	// Longer names are none of ours, blanks or not.
	colon := bytes.IndexByte(line[:min(len(line), 256)], ':')
	if colon < 0 {
		return nil
	}
	name := string(bytes.TrimRight(line[:colon], " \t"))
	for _, f := range []struct {
		name  string
		field *Field
	}{{"From", &h.From}, {"To", &h.To}, {"Cc", &h.Cc}, {"Subject", &h.Subject}, {"Date", &h.Date}} {
		if strings.EqualFold(name, f.name) {
			return f.field
		}
	}
	return nil
}
