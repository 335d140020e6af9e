package queue

import (
	"fmt"
	"strings"
)

// The envelope's files are records that end with NUL (qmail-queue.c,
// qmail-send.c); the first byte says what a record is. A parser keeps what
// could be read and returns the first thing that is wrong.

// A Recipient is one address of the envelope.
type Recipient struct {
	Address string
	Channel string // "local", "remote", "suppl0", ...; "" while not preprocessed
	Done    bool
}

// records tells each record of text: where it begins, its kind and the rest. An
// error of each does not end the reading.
func records(text string, each func(at int, kind byte, rest string) error) error {
	if text == "" {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for at := 0; at < len(text); {
		record := text[at:]
		end := strings.IndexByte(record, 0)
		if end < 0 {
			keep(fmt.Errorf("%w: no NUL at the end", ErrMalformed))
			end = len(record)
		}
		if end == 0 {
			keep(fmt.Errorf("%w: empty record", ErrMalformed))
		} else {
			keep(each(at, record[0], record[1:end]))
		}
		at += end + 1
	}
	return first
}

func errKind(kind byte) error {
	return fmt.Errorf("%w: unknown record type %q", ErrMalformed, kind)
}

// A Record is one of a kind that only a patched qmail knows, as it stands.
type Record struct {
	Place Place
	Text  string // its first byte is the kind, a letter
}

// An envelope is what its files tell.
type envelope struct {
	sender     string
	known      bool   // there is a sender, which may be empty
	uid        string // who injected it; empty where that is not told
	recipients []Recipient
	other      []Record
}

// unknown takes a record of another kind. Every kind that a qmail has is a letter.
func (e *envelope) unknown(p Place, kind byte, rest string) error {
	if letter := kind | 0x20; letter < 'a' || letter > 'z' {
		return errKind(kind)
	}
	e.other = append(e.other, Record{p, string(kind) + rest})
	return nil
}

func (e *envelope) takeSender(rest, twice string) error {
	if e.known {
		return fmt.Errorf("%w: %s", ErrMalformed, twice)
	}
	e.sender, e.known = rest, true
	return nil
}

// parseInfo reads info/N: one record, F and the sender.
func (e *envelope) parseInfo(text string) error {
	err := records(text, func(_ int, kind byte, rest string) error {
		if kind == 'F' {
			return e.takeSender(rest, "more than a sender")
		}
		return e.unknown(Info, kind, rest)
	})
	return e.needSender(err)
}

// needSender returns err, or that there is no sender.
func (e *envelope) needSender(err error) error {
	if err == nil && !e.known {
		err = fmt.Errorf("%w: no sender", ErrMalformed)
	}
	return err
}

// parseTodo reads todo/N: u and p, who injected it; F, the sender; then a T for
// each recipient.
func (e *envelope) parseTodo(text string) error {
	err := records(text, func(_ int, kind byte, rest string) error {
		switch kind {
		case 'u':
			e.uid = rest
		case 'p':
		case 'F':
			return e.takeSender(rest, "more than one sender")
		case 'T':
			e.recipients = append(e.recipients, Recipient{Address: rest})
		default:
			return e.unknown(Todo, kind, rest)
		}
		return nil
	})
	return e.needSender(err)
}

// parseChannel reads local/N, remote/N or supplI/N: T and a recipient still to
// come, D and one that is done.
func (e *envelope) parseChannel(text string, p Place) error {
	channel, before := p.String(), len(e.recipients)
	err := records(text, func(_ int, kind byte, rest string) error {
		if kind != 'T' && kind != 'D' {
			return e.unknown(p, kind, rest)
		}
		e.recipients = append(e.recipients, Recipient{rest, channel, kind == 'D'})
		return nil
	})
	if err == nil && len(e.recipients) == before {
		err = fmt.Errorf("%w: no recipient", ErrMalformed)
	}
	return err
}
