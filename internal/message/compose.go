// Package message reads and writes the text of a message: RFC 5322 (header and
// body), 2045 (MIME), 2047 (encoded words). What it writes no reader has an excuse to
// garble; what it reads may be against every rule. It knows no queue and no Maildir.
package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kowaza/internal/charset"
)

// A Draft is what a message is to say. Text is in UTF-8.
type Draft struct {
	Charset *charset.Charset // in which it is written
	Name    string           // of the sender, as a reader shows it; may be empty
	From    string           // an address, see CheckAddress
	To      string           // an address
	Subject string
	Fields  []Field // after these, in order: ASCII, see Compose
	Body    string  // its lines end in LF
	Host    string  // that makes the message: the right part of its Message-ID
	ID      string  // its Message-ID; empty: one that no other message has
}

// A Field is one of a header.
type Field struct{ Name, Value string }

// Compose writes the message, made at now, with LF at the end of each line, as
// sendmail(8) wants them. What would end a field or begin another, and a character
// that the charset has no place for, is an error, and no message comes back. A text
// with lines of more than 998 bytes goes in base64.
func (d *Draft) Compose(now time.Time) ([]byte, error) {
	for _, address := range []string{d.From, d.To} {
		if err := CheckAddress(address); err != nil {
			return nil, fmt.Errorf("%s: %w", address, err)
		}
	}
	if err := CheckDomain(d.Host); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Host, err)
	}
	const from, subject = "From: ", "Subject: "
	name, err1 := Phrase(d.Charset, d.Name, len(from))
	words, err2 := EncodedWords(d.Charset, d.Subject, len(subject))
	text, err3 := d.Charset.Encode(d.Body)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	transfer := d.Charset.Transfer
	if longLine(text) {
		transfer, text = "base64", foldedBase64(text)
	}
	b := bytes.NewBuffer(make([]byte, 0, 4096))
	b.WriteString(from + named(name, d.From, len(from)))
	fmt.Fprintf(b, "\nTo: %s\n", HeaderAddress(d.To))
	b.WriteString(subject + words)
	fmt.Fprintf(b, "\nDate: %s\n", Date(now))
	id := d.ID
	if id == "" {
		id = NewID(d.Host, now)
	}
	if err := (Field{"Message-ID", id}).check(); err != nil {
		return nil, err
	}
	fmt.Fprintf(b, "Message-ID: %s\n", id)
	for _, f := range d.Fields {
		if err := f.check(); err != nil {
			return nil, err
		}
		fmt.Fprintf(b, "%s: %s\n", f.Name, f.Value)
	}
	b.WriteString("MIME-Version: 1.0\n")
	fmt.Fprintf(b, "Content-Type: text/plain; charset=%s\n", d.Charset.Name)
	fmt.Fprintf(b, "Content-Transfer-Encoding: %s\n\n", transfer)
	b.Write(text)
	return b.Bytes(), nil
}

// NamedAddress returns an address that CheckAddress found good, with its name before
// it where there is one, as the value of a field. firstColumn is as in EncodedWords.
func NamedAddress(c *charset.Charset, name, address string, firstColumn int) (string, error) {
	phrase, err := Phrase(c, name, firstColumn)
	return named(phrase, address, firstColumn), err
}

// named puts an address behind its name.
func named(phrase, address string, firstColumn int) string {
	if phrase == "" {
		return HeaderAddress(address)
	}
	address = " <" + HeaderAddress(address) + ">"
	last := firstColumn + len(phrase)
	if i := strings.LastIndexByte(phrase, '\n'); i >= 0 {
		last = len(phrase) - 1 - i
	}
	if last+len(address) > maxLine {
		return phrase + "\n" + address
	}
	return phrase + address
}

// longLine reports whether a line of a body is longer than RFC 5322, 2.1.1 allows.
func longLine(text []byte) bool {
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSuffix(line, []byte("\n"))) > maxBody {
			return true
		}
	}
	return false
}

const maxBody = 998

// foldedBase64 encodes a body. The lines that are in it end in CR LF: RFC 2045, 6.8.
func foldedBase64(text []byte) []byte {
	all := base64.StdEncoding.EncodeToString(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	var out []byte
	for len(all) > maxLine {
		out = append(append(out, all[:maxLine]...), '\n')
		all = all[maxLine:]
	}
	return append(append(out, all...), '\n')
}

// check says why a field cannot stand in a header as it is: RFC 5322, 2.2. A line of
// its value that begins with a blank goes on the one before it.
func (f Field) check() error {
	if !IsFieldName(f.Name) {
		return fmt.Errorf("%q: no name of a header field", f.Name)
	}
	for i, line := range strings.Split(f.Value, "\n") {
		switch {
		case i > 0 && (strings.Trim(line, " \t") == "" || line[0] != ' ' && line[0] != '\t'):
			return fmt.Errorf("%s: more than one line", f.Name)
		case len(line) > maxOctets:
			return fmt.Errorf("%s: line of more than %d octets", f.Name, maxOctets)
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }):
			return fmt.Errorf("%s: control character, or not ASCII", f.Name)
		}
	}
	return nil
}

// maxOctets bounds a line of a field's value with its name, RFC 5322, 2.1.1.
const maxOctets = 998 - 80

// pid is this process's, asked for once: each of a million copies has an identifier.
var (
	pid     int
	pidOnce sync.Once
)

// made counts the Message-IDs of this process.
var made atomic.Uint64

// Date returns a moment as a header has it: RFC 5322, 3.3.
func Date(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

// NewID returns a Message-ID that no other message has: the second, the process and
// its counter tell apart what one system makes, 40 random bits what two systems
// of one name make, as containers that all are process 7.
func NewID(host string, now time.Time) string {
	pidOnce.Do(func() { pid = os.Getpid() })
	return fmt.Sprintf("<%s.%d.%d.%010x@%s>", now.UTC().Format("20060102150405"),
		pid, made.Add(1), rand.Uint64()>>24, host)
}
