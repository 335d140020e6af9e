package queue

import (
	"bytes"
	"strings"

	"kowaza/internal/message"
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

// parseReceived returns who gave a text to qmail-queue, by the line that this puts
// before it (received.c): the uid, or alias, network or bounce, which stand for the
// users alias, qmaild and qmails. Empty where the text has no such line.
func parseReceived(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("Received: (qmail "))
	if !ok {
		return ""
	}
	digits, rest, ok := bytes.Cut(rest, []byte(" invoked "))
	if _, isNumber := number(digits); !ok || !isNumber {
		return ""
	}
	rest, _, ok = bytes.Cut(rest, []byte(");"))
	if !ok {
		return ""
	}
	if uid, ok := bytes.CutPrefix(rest, []byte("by uid ")); ok {
		if _, isNumber := number(uid); isNumber {
			return string(uid)
		}
	}
	switch string(rest) {
	case "by alias":
		return "alias"
	case "from network":
		return "network"
	case "for bounce":
		return "bounce"
	}
	return ""
}

// parseHeader picks the fields out of a header.
func parseHeader(text []byte) (h Header) {
	for name, raw := range message.Fields(text) {
		if f := h.field(name); f != nil && !f.Present {
			f.Raw = bytes.Clone(raw[:min(len(raw), maxField)])
			f.Present = true
		}
	}
	return h
}

// field returns where a field of that name belongs, nil for the others.
func (h *Header) field(name []byte) *Field {
	var f *Field
	want := ""
	switch len(name) {
	case 2:
		if f, want = &h.To, "To"; name[0]|0x20 == 'c' {
			f, want = &h.Cc, "Cc"
		}
	case 4:
		if f, want = &h.From, "From"; name[0]|0x20 == 'd' {
			f, want = &h.Date, "Date"
		}
	case 7:
		f, want = &h.Subject, "Subject"
	}
	if f == nil || !strings.EqualFold(string(name), want) {
		return nil
	}
	return f
}
