package report

import (
	"bytes"
	"encoding/base64"
	"io"
	"iter"
	"mime/quotedprintable"
	"strings"

	"kowaza/internal/message"
)

// parts gives the parts of a multipart body: RFC 2046, 5.1.1. The last one may lack the
// line that ends it.
func parts(body []byte, boundary string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		begin := -1
		for at := 0; at < len(body); {
			line, next := body[at:], len(body)
			if i := bytes.IndexByte(line, '\n'); i >= 0 {
				line, next = line[:i+1], at+i+1
			}
			rest, ok := bytes.CutPrefix(line, []byte("--"+boundary))
			if rest = bytes.TrimRight(rest, " \t\r\n"); ok && (len(rest) == 0 || string(rest) == "--") {
				if begin >= 0 && !yield(body[begin:at]) {
					return
				}
				if begin = next; len(rest) > 0 {
					return
				}
			}
			at = next
		}
		if begin >= 0 {
			yield(body[begin:])
		}
	}
}

// decode undoes a Content-Transfer-Encoding (RFC 2045, 6), up to where it cannot be
// read. Only parts that are no message of RFC 822 may have one of these.
func decode(content []byte, encoding string) []byte {
	var r io.Reader
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(content))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(content))
	default:
		return content
	}
	text, _ := io.ReadAll(r)
	return text
}

// readStatus reads a message/delivery-status: groups of fields, of which the first is of
// the message and the others are of a recipient each (RFC 3464, 2.1).
func readStatus(content []byte) (all []Recipient) {
	first := true
	for group := range groups(content) {
		var p Recipient
		var original, diagnostic string
		given := false
		for name, raw := range message.Fields(group) {
			value := oneLine(message.Show(raw))
			switch strings.ToLower(string(name)) {
			case "final-recipient":
				p.Address, given = strings.Trim(typed(value), "<>"), true
			case "original-recipient":
				original = strings.Trim(typed(value), "<>")
			case "action":
				p.Action, given = strings.ToLower(firstWord(value)), true
			case "status":
				p.Status = statusCode(firstWord(value))
			case "diagnostic-code":
				diagnostic = typed(value)
			}
		}
		// Some leave out the group of the message.
		if first && !given {
			first = false
			continue
		}
		first = false
		if !given || len(all) == maxRecipients {
			continue
		}
		if p.Address == "" {
			p.Address = original
		}
		p.Reason = diagnostic
		all = append(all, p)
	}
	return all
}

// groups gives what stands between empty lines, each with where in text it ends.
func groups(text []byte) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		begin := 0
		for at := 0; at < len(text); {
			next := len(text)
			if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
				next = at + i + 1
			}
			if len(bytes.TrimRight(text[at:next], " \t\r\n")) == 0 {
				if at > begin && !yield(text[begin:at], at) {
					return
				}
				begin = next
			}
			at = next
		}
		if begin < len(text) {
			yield(text[begin:], len(text))
		}
	}
}

// typed returns a value without its type: "rfc822; a@b" (RFC 3464, 2.1.2).
func typed(value string) string {
	if kind, rest, ok := strings.Cut(value, ";"); ok && !strings.ContainsAny(kind, " @<") {
		return strings.TrimSpace(rest)
	}
	return value
}

func firstWord(value string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	return word
}

// oneLine makes one blank of blanks and ends of lines.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// statusCode returns s if it is an enhanced status code, RFC 3463, 2: class, subject and
// detail.
func statusCode(s string) string {
	digits, dots := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] >= '0' && s[i] <= '9' && digits < 3:
			digits++
		case s[i] == '.' && digits > 0 && dots < 2:
			digits, dots = 0, dots+1
		default:
			return ""
		}
	}
	if dots < 2 || digits == 0 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return ""
	}
	return s
}

// begin is what every report in QSBMF begins with.
const begin = "Hi. This is the "

// readQSBMF reads the body of qmail-send's reports: paragraphs, of which the first is an
// introduction, those that begin with < are of a recipient each, and behind the one that
// begins with a hyphen stands the message. nil: it is no such body.
func readQSBMF(body []byte, depth int) *Report {
	body = bytes.TrimLeft(body, "\r\n")
	if !bytes.HasPrefix(body, []byte(begin)) {
		return nil
	}
	r := &Report{Form: QSBMF}
	for paragraph, end := range groups(body) {
		switch paragraph[0] {
		case '<':
			if p, ok := readParagraph(paragraph); ok && len(r.Recipients) < maxRecipients {
				r.Recipients = append(r.Recipients, p)
			}
		case '-':
			if rest := bytes.TrimLeft(body[end:], "\r\n"); len(rest) > 0 && depth > 0 {
				r.Copy = read(rest, depth)
			}
			return r
		}
	}
	return r
}

// readParagraph reads "<address>:" and the lines of a reason, at whose end a status may
// stand: (#5.1.1). An empty line in a reason is a slash (qmail-send.c).
func readParagraph(paragraph []byte) (p Recipient, ok bool) {
	first, rest, _ := bytes.Cut(paragraph, []byte("\n"))
	address := strings.TrimRight(string(first), " \r")
	if !strings.HasSuffix(address, ">:") {
		return p, false
	}
	p.Address = address[1 : len(address)-2]
	p.Action = "failed"
	var lines []string
	for line := range bytes.Lines(rest) {
		lines = append(lines, strings.TrimPrefix(strings.TrimRight(string(line), "\r\n"), "/"))
	}
	p.Reason = oneLine(strings.Join(lines, " "))
	if i := strings.LastIndex(p.Reason, "(#"); i >= 0 {
		code, after, ok := strings.Cut(p.Reason[i+2:], ")")
		if ok && statusCode(code) != "" {
			p.Status = code
			p.Reason = oneLine(p.Reason[:i] + after)
		}
	}
	return p, true
}
