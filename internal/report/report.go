// Package report reads what mail servers write about a message that did not arrive:
// QSBMF, qmail's form (Bernstein, "The qmail-send Bounce Message Format"), and RFC 3464
// in a multipart/report of RFC 6522 (Postfix, Exim, Sendmail), with the copy of the
// message in it, which may be such a report again: a double bounce.
//
// Anybody can write what looks like a report. So nothing is found by its text: what
// counts is the Message-ID of the copy, which a stranger does not know.
package report

import (
	"bytes"
	"strings"

	"kowaza/internal/message"
)

// MaxSize is how much of a message is looked at, in bytes. The copy of a message that
// is to be found is small; a report about a large one has its header before that.
const MaxSize = 256 << 10

// maxDepth is how many messages may lie in each other: the double bounce, the bounce
// and the message, and one more where somebody has forwarded them.
const maxDepth = 4

// A Message is what has been read of one.
type Message struct {
	ID     string  // Message-ID, with its angle brackets; empty where there is none
	Daemon bool    // it comes from the empty sender or another that servers use for reports
	Report *Report // nil: it is none
	body   []byte
}

// A Form is how a report is written.
type Form int

const (
	Other Form = iota // comes from a server, and is of neither form
	QSBMF             // qmail
	DSN               // RFC 3464
)

// A Report is what a message says of others.
type Report struct {
	Form       Form
	Recipients []Recipient // at most maxRecipients, in their order
	Copy       *Message    // of the message that it is about; nil where there is none
}

// A Recipient is one to whom a message could not be delivered, or not yet.
type Recipient struct {
	Address string // as the report has it; empty where that tells none
	Action  string // RFC 3464, 2.3.3, in lower case; failed in QSBMF
	Status  string // RFC 3463, as 5.1.1; empty where there is none
	Reason  string // on one line, otherwise as the server wrote it; may be empty
}

// maxRecipients is how many are kept.
const maxRecipients = 100

// Read reads a message. What is beyond MaxSize is not looked at. It takes what is
// against every rule: what cannot be read is not there.
func Read(text []byte) *Message { return read(text[:min(len(text), MaxSize)], maxDepth) }

func read(text []byte, depth int) *Message {
	header, body := cut(text)
	f := readFields(header)
	m := &Message{ID: f.id, Daemon: f.daemon, body: body}
	if depth > 1 {
		m.Report = readReport(&f, body, depth-1)
	}
	return m
}

// cut cuts a message behind its header. A line "From " before it (mbox) is no field, and
// is passed over with all that are none.
func cut(text []byte) (header, body []byte) {
	end := message.HeaderEnd(text, 0)
	if end < 0 {
		return text, nil
	}
	return text[:end], text[end:]
}

// fields are those of a header that tell what the message is.
type fields struct {
	id       string
	daemon   bool
	reporter bool // nothing but the header tells that this is a report
	kind     string
	boundary string
	encoding string
}

func readFields(header []byte) (f fields) {
	for name, raw := range message.Fields(header) {
		switch strings.ToLower(string(name)) {
		case "message-id":
			if f.id == "" {
				f.id = messageID(raw)
			}
		case "return-path":
			f.daemon = f.daemon || isDaemonPath(raw)
		case "from", "sender":
			from := strings.ToLower(string(raw))
			f.daemon = f.daemon || strings.Contains(from, "mailer-daemon")
			f.reporter = f.reporter || strings.Contains(from, "postmaster")
		case "auto-submitted": // RFC 3834, 5
			word, _, _ := strings.Cut(strings.TrimSpace(string(raw)), ";")
			f.reporter = f.reporter || !strings.EqualFold(strings.TrimSpace(word), "no")
		case "x-failed-recipients": // Exim
			f.reporter = true
		case "content-type":
			if f.kind == "" {
				f.kind, f.boundary = contentType(raw)
			}
		case "content-transfer-encoding":
			f.encoding = strings.ToLower(strings.TrimSpace(string(raw)))
		}
	}
	f.reporter = f.reporter || f.daemon || f.kind == "multipart/report"
	return f
}

// isDaemonPath reports whether a Return-Path is that of a report: empty, #@[] (qmail's
// double bounces) or double-bounce (Postfix's).
func isDaemonPath(raw []byte) bool {
	path := strings.Trim(string(raw), " \t\r\n")
	return path == "<>" || path == "<#@[]>" || strings.HasPrefix(path, "<double-bounce@")
}

// messageID returns the first thing in angle brackets: RFC 5322, 3.6.4.
func messageID(raw []byte) string {
	begin := bytes.IndexByte(raw, '<')
	if begin < 0 {
		return ""
	}
	end := bytes.IndexByte(raw[begin:], '>')
	if end < 0 {
		return ""
	}
	return string(raw[begin : begin+end+1])
}

// contentType returns a media type, in lower case, and its boundary: RFC 2045, 5.1.
// mime.ParseMediaType does the same, with mime/multipart for 170 kB of the binary.
func contentType(raw []byte) (kind, boundary string) {
	kind, rest, _ := strings.Cut(string(raw), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	for rest != "" {
		name, value, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		value = strings.TrimLeft(value, " \t\r\n")
		var word string
		if strings.HasPrefix(value, `"`) {
			word, rest = cutQuoted(value[1:])
		} else {
			word, rest = value, ""
			if i := strings.IndexAny(value, "; \t\r\n"); i >= 0 {
				word, rest = value[:i], value[i:]
			}
		}
		if strings.EqualFold(strings.Trim(name, "; \t\r\n"), "boundary") && boundary == "" {
			boundary = word
		}
	}
	return kind, boundary
}

// cutQuoted cuts a quoted string behind its second quotation mark.
func cutQuoted(s string) (word, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// readReport returns nil where a message is no report.
func readReport(f *fields, body []byte, depth int) *Report {
	if f.boundary != "" && strings.HasPrefix(f.kind, "multipart/") {
		return readParts(f, body, depth)
	}
	if r := readQSBMF(body, depth); r != nil {
		return r
	}
	if f.reporter {
		return new(Report)
	}
	return nil
}

// readParts reads a multipart/report: a text, message/delivery-status, and the message
// or its header (RFC 6522, 3), under the names of RFC 6533, too. Some qmails send what
// they have to say in QSBMF as the text of such a message.
func readParts(f *fields, body []byte, depth int) *Report {
	var r Report
	known := false
	for part := range parts(body, f.boundary) {
		header, content := cut(part)
		p := readFields(header)
		content = bytes.TrimPrefix(bytes.TrimPrefix(content, []byte("\r")), []byte("\n"))
		switch p.kind {
		case "message/delivery-status", "message/global-delivery-status":
			r.Recipients = append(r.Recipients, readStatus(decode(content, p.encoding))...)
			r.Form, known = DSN, true
		case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
			if r.Copy == nil {
				r.Copy = read(decode(content, p.encoding), depth)
			}
		case "text/plain", "":
			if q := readQSBMF(decode(content, p.encoding), depth); q != nil && !known {
				r.Form, r.Recipients, known = QSBMF, q.Recipients, true
				if q.Copy != nil && r.Copy == nil {
					r.Copy = q.Copy
				}
			}
		}
	}
	r.Recipients = r.Recipients[:min(len(r.Recipients), maxRecipients)]
	if !known && !f.reporter {
		return nil // somebody has forwarded a message
	}
	return &r
}

// Failed reports whether the report is about a failure for good: one that mail is late,
// or has arrived, is none.
func (r *Report) Failed() bool {
	for _, p := range r.Recipients {
		if p.Action == "failed" {
			return true
		}
	}
	return len(r.Recipients) == 0
}

// A Relation is what a message has to do with another one.
type Relation int

const (
	None         Relation = iota
	Same                  // it is that message
	Notice                // a report about it, but not of a failure
	Bounce                // a report of its failure
	DoubleBounce          // a report that such a report could not be delivered
)

// Of tells what m has to do with the message that has this Message-ID, angle brackets
// included, and returns its report, if it is one.
//
// A copy that has the ID in its header makes a bounce; where the copy is itself a report,
// it is a double bounce. In a report that has no copy that can be read the ID is looked
// for in its text. A report about an answer, which names the ID as well, is none about m.
func (m *Message) Of(id string) (Relation, *Report) {
	if id == "" {
		return None, nil
	}
	if m.ID == id {
		return Same, nil
	}
	r := m.Report
	if r == nil {
		return None, nil
	}
	relation := None
	switch c := r.Copy; {
	case c != nil && c.ID == id:
		relation = Bounce
	case c != nil && c.isReportOf(id):
		relation = DoubleBounce
	case c == nil || c.ID == "":
		relation = searchBody(m.body, id)
	}
	if relation == Bounce && !r.Failed() {
		relation = Notice
	}
	return relation, r
}

// isReportOf reports whether m, which is the copy in a report, is one about the message
// of that ID.
func (m *Message) isReportOf(id string) bool {
	if !m.Daemon && m.Report == nil {
		return false
	}
	return m.Report != nil && m.Report.Copy != nil && m.Report.Copy.ID == id || bytes.Contains(m.body, []byte(id))
}

// searchBody looks for the ID in the text of a report, of which nothing else is known.
// Behind the header of another report it is that of a double bounce.
func searchBody(body []byte, id string) Relation {
	at := bytes.Index(body, []byte(id))
	if at < 0 {
		return None
	}
	for line := range bytes.Lines(body[:at]) {
		name, value, ok := bytes.Cut(bytes.TrimLeft(line, "> \t"), []byte(":"))
		if !ok {
			continue
		}
		switch strings.ToLower(string(name)) {
		case "return-path":
			if isDaemonPath(value) {
				return DoubleBounce
			}
		case "from":
			if bytes.Contains(bytes.ToLower(value), []byte("mailer-daemon")) {
				return DoubleBounce
			}
		}
	}
	return Bounce
}
