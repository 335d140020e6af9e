package message

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"strings"
	"sync"
)

// cutField cuts a field at its colon: false where what stands before that is no name
// (RFC 5322, 2.2). Blanks before the colon are obsolete but legal (4.5).
func cutField(field []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(field, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return name, value, ok && IsFieldName(name)
}

// IsFieldName reports whether a header field may be called that: printable ASCII
// without a blank or a colon (RFC 5322, 2.2).
func IsFieldName[T string | []byte](name T) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return len(name) > 0
}

// Fields gives each field of a header that is in memory: its name as it stands, and
// what stands behind the colon, byte for byte: folded as it was, without the end of
// its last line. Lines that belong to no field are passed over.
func Fields(header []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, raw []byte) bool) {
		for len(header) > 0 {
			end := lineEnd(header)
			for end < len(header) && (header[end] == ' ' || header[end] == '\t') {
				end += lineEnd(header[end:])
			}
			name, raw, ok := cutField(trimEnd(header[:end]))
			header = header[end:]
			if ok && !yield(name, raw) {
				return
			}
		}
	}
}

// lineEnd returns where the next line begins.
func lineEnd(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// HeaderEnd returns where in text the header ends: at the first empty line,
// whether lines end with LF or CRLF. It looks from the byte from on. -1: the
// end is not in text.
func HeaderEnd(text []byte, from int) int {
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

// ReadHeader returns the header of the message that r gives, without the empty line
// that ends it: at most limit bytes, what follows belongs to no header. It may have
// read more of r than it returns.
func ReadHeader(r io.Reader, limit int) ([]byte, error) {
	text := make([]byte, 0, min(limit, 8<<10)) // most are shorter
	for len(text) < limit {
		if len(text) == cap(text) {
			text = append(make([]byte, 0, min(limit, 4*cap(text))), text...)
		}
		n, err := r.Read(text[len(text):cap(text)])
		from := max(0, len(text)-len("\n\r")) // the line before may have ended here
		text = text[:len(text)+n]
		if end := HeaderEnd(text, from); end >= 0 {
			return text[:end], nil
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

// A reader takes a message apart.
type reader struct {
	r     *bufio.Reader
	line  []byte
	field []byte
	cut   bool // what next returned last goes on
}

var readers = sync.Pool{New: func() any { return &reader{r: bufio.NewReaderSize(nil, 64<<10)} }}

// MaxLine is the longest line, in bytes, that is looked at as one; a longer
// one counts as several. No pattern is worth more memory.
const MaxLine = 1 << 20

// Read takes the message that r gives apart, in order: each line, without its end,
// goes to each, with whether it is of the body; each field of the header, put
// together without the ends of its lines, to field, with its name in lower case.
// Both may keep nothing of what they are given. A header ends at an empty line, lines
// end in LF or CR LF, and lines of a header that are no field are passed over. It ends
// when one of the funcs returns false, and returns only errors of r. Several
// goroutines may call it.
func Read(r io.Reader, field func(name string, value []byte) bool, each func(line []byte, body bool) bool) error {
	t := readers.Get().(*reader)
	defer readers.Put(t)
	return t.read(r, field, each)
}

func (t *reader) read(f io.Reader, field func(string, []byte) bool, each func([]byte, bool) bool) error {
	t.r.Reset(f)
	defer t.r.Reset(nil)
	t.field, t.cut = t.field[:0], false
	body := false
	for {
		rest := t.cut
		line, err := t.next()
		if err == io.EOF && len(line) == 0 {
			if !body {
				t.endField(field)
			}
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		switch {
		case rest && len(line) == 0: // a line that was cut just at its end
		case body:
			if !each(line, true) {
				return nil
			}
		case len(line) == 0:
			if body = true; !t.endField(field) {
				return nil
			}
		default:
			if !each(line, false) {
				return nil
			}
			begins := !rest && line[0] != ' ' && line[0] != '\t'
			if begins && !t.endField(field) {
				return nil
			}
			// What has no colon in its first line is no field, and what follows it neither.
			if begins && bytes.IndexByte(line, ':') >= 0 || !begins && len(t.field) > 0 && len(t.field) < MaxLine {
				t.field = append(t.field, line...)
			}
		}
	}
}

// endField hands on the field that was put together.
func (t *reader) endField(field func(string, []byte) bool) bool {
	name, value, ok := cutField(t.field)
	more := !ok || field(strings.ToLower(string(name)), bytes.TrimLeft(value, " \t"))
	t.field = t.field[:0]
	return more
}

// next returns a line without its end, or as much of it as is looked at as one.
func (t *reader) next() ([]byte, error) {
	t.line, t.cut = t.line[:0], false
	for {
		part, err := t.r.ReadSlice('\n')
		if err == nil && len(t.line) == 0 {
			return trimEnd(part), nil
		}
		t.line = append(t.line, part...)
		if err == bufio.ErrBufferFull && len(t.line) < MaxLine {
			continue
		}
		if err == bufio.ErrBufferFull {
			t.cut = true
			return t.line, nil
		}
		return trimEnd(t.line), err
	}
}

// trimEnd takes the end of a line off: LF or CR LF.
func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return bytes.TrimSuffix(line[:n-1], []byte("\r"))
	}
	return line
}
