package message

import (
	"bytes"
	"encoding/base64"
	"strings"

	"kowaza/internal/charset"
)

// A Shown takes the lines of a message, as Read gives them, and tells what reads
// otherwise than it stands: fields that are folded, have encoded words or bytes that
// are no ASCII (see Show), and lines of text that are encoded in base64 or
// quoted-printable (RFC 2045) or in another charset. Parts of a multipart message
// (RFC 2046) and messages in it are gone through; what is no text is passed over. It
// takes what is against the rules as Show does, and keeps no more than MaxLine bytes
// of a line. The zero Shown with one of its funcs set is ready.
type Shown struct {
	Field func(name, value string) // of the header; may be nil
	Line  func(text string)        // of the body, and fields of the headers in it; may be nil

	body     bool
	header   bool     // what comes is a header in the body
	field    []byte   // as far as it has come
	bounds   []string // of the multiparts that are open
	part     part
	text     []byte // decoded, not yet a whole line
	base64   []byte // not yet a whole group
	unfilled bool   // text ends in the middle of a line
}

// A part is what a header says of what follows it.
type part struct {
	kind     string // the media type, in lower case
	boundary string
	charset  string
	encoding string
	skip     bool // it is no text
}

// maxParts is how deep multiparts are gone into: more are made to be a nuisance.
const maxParts = 32

// Add takes a line.
func (s *Shown) Add(line []byte, body bool) {
	switch {
	case !body:
		s.headerLine(line)
	case !s.body:
		s.body = true
		s.endField()
		s.begin()
		s.bodyLine(line)
	default:
		s.bodyLine(line)
	}
}

// End tells what is left.
func (s *Shown) End() {
	if !s.body || s.header {
		s.endField()
	}
	s.flush()
}

func (s *Shown) headerLine(line []byte) {
	if len(s.field) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		if len(s.field) < MaxLine {
			s.field = append(append(s.field, '\n'), line...)
		}
		return
	}
	s.endField()
	s.field = append(s.field, line...)
}

// endField tells a field of a header, and notes what it says of what follows.
func (s *Shown) endField() {
	name, raw, ok := cutField(s.field)
	s.field = s.field[:0]
	if !ok {
		return
	}
	switch {
	case bytes.EqualFold(name, []byte("Content-Type")):
		value := string(unfold(raw))
		kind, _, _ := strings.Cut(value, ";")
		s.part.kind = strings.ToLower(strings.TrimSpace(kind))
		s.part.charset = strings.ToLower(parameter(value, "charset"))
		s.part.boundary = parameter(value, "boundary")
	case bytes.EqualFold(name, []byte("Content-Transfer-Encoding")):
		s.part.encoding = strings.ToLower(strings.TrimSpace(string(unfold(raw))))
	}
	if plainText(raw) {
		return
	}
	switch {
	case !s.header && s.Field != nil:
		s.Field(string(name), Show(raw))
	case s.header && s.Line != nil:
		s.Line(string(name) + ": " + Show(raw))
	}
}

// parameter returns a parameter of a field's value (RFC 2045, 5.1), in quotes or
// not; empty where there is none.
func parameter(value, name string) string {
	for {
		_, rest, ok := strings.Cut(value, ";")
		if !ok {
			return ""
		}
		value = rest
		attribute, text, ok := strings.Cut(rest, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(attribute), name) {
			continue
		}
		text = strings.TrimLeft(text, " \t")
		if quoted, _, ok := cutQuoted([]byte(text)); ok {
			return string(quoted)
		}
		text, _, _ = strings.Cut(text, ";")
		return strings.TrimSpace(text)
	}
}

// begin begins what a header was about.
func (s *Shown) begin() {
	s.header = false
	switch kind := s.part.kind; {
	case strings.HasPrefix(kind, "multipart/"):
		if s.part.boundary != "" && len(s.bounds) < maxParts {
			s.bounds = append(s.bounds, s.part.boundary)
		}
		s.part = part{skip: true} // what stands before the first part
	case kind == "message/rfc822" || kind == "message/global":
		s.header, s.part = true, part{}
	default:
		s.part.skip = kind != "" && !strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "message/")
	}
}

func (s *Shown) bodyLine(line []byte) {
	switch {
	case s.Line == nil:
	case s.delimiter(line):
	case s.header && len(line) == 0:
		s.endField()
		s.begin()
	case s.header:
		s.headerLine(line)
	case !s.part.skip:
		s.content(line)
	}
}

// delimiter takes a line that ends a part (RFC 2046, 5.1.1).
func (s *Shown) delimiter(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("--"))
	if !ok {
		return false
	}
	for i := len(s.bounds) - 1; i >= 0; i-- {
		end, ok := bytes.CutPrefix(rest, []byte(s.bounds[i]))
		if !ok {
			continue
		}
		last := bytes.HasPrefix(end, []byte("--"))
		if !last && !blank(end) {
			continue
		}
		if s.header {
			s.endField()
		}
		s.flush()
		if s.bounds = s.bounds[:i+1]; last {
			s.bounds = s.bounds[:i]
		}
		s.header, s.part = !last, part{skip: last}
		return true
	}
	return false
}

// content decodes a line of a text.
func (s *Shown) content(line []byte) {
	switch s.part.encoding {
	case "base64":
		for _, c := range line {
			switch {
			case c == '=':
				s.endBase64()
			case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
				s.base64 = append(s.base64, c)
			}
		}
		whole := len(s.base64) / 4 * 4
		s.text, _ = base64.RawStdEncoding.AppendDecode(s.text, s.base64[:whole])
		s.base64 = append(s.base64[:0], s.base64[whole:]...)
		s.lines()
	case "quoted-printable":
		if s.quotedPrintable(bytes.TrimRight(line, " \t")); !s.unfilled || len(s.text) > MaxLine {
			s.emit(s.text)
			s.text = s.text[:0]
		}
	default:
		if !charset.IsASCII(line) || bytes.IndexByte(line, '\x1b') >= 0 {
			s.emit(line)
		}
	}
}

// endBase64 decodes the last group of a text.
func (s *Shown) endBase64() {
	if len(s.base64) > 1 {
		s.text, _ = base64.RawStdEncoding.AppendDecode(s.text, s.base64)
	}
	s.base64 = s.base64[:0]
}

// lines tells the whole lines of what was decoded.
func (s *Shown) lines() {
	rest := s.text
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok && len(rest) <= MaxLine {
			break
		}
		s.emit(bytes.TrimSuffix(line, []byte("\r")))
		rest = after
	}
	s.text = append(s.text[:0], rest...)
}

// quotedPrintable decodes a line (RFC 2045, 6.7); unfilled says that it goes on.
func (s *Shown) quotedPrintable(line []byte) {
	line, s.unfilled = bytes.CutSuffix(line, []byte("="))
	for i := 0; i < len(line); i++ {
		if line[i] == '=' && i+2 < len(line) {
			high, ok1 := hexDigit(line[i+1])
			low, ok2 := hexDigit(line[i+2])
			if ok1 && ok2 {
				s.text = append(s.text, high<<4|low)
				i += 2
				continue
			}
		}
		s.text = append(s.text, line[i])
	}
}

// flush tells a line that has no end.
func (s *Shown) flush() {
	s.endBase64()
	if len(s.text) > 0 && s.Line != nil {
		s.lines()
		s.emit(s.text)
	}
	s.text, s.unfilled = s.text[:0], false
}

// emit tells a line in its charset; where that is not what it says, or nothing says
// it, in that which it looks like.
func (s *Shown) emit(text []byte) {
	if c := s.part.charset; c != "" && c != "us-ascii" {
		if shown, ok := charset.Decode(c, text); ok {
			s.Line(shown)
			return
		}
	}
	s.Line(showRaw(text))
}
