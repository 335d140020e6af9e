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

// parseInfo reads info/N: one record, F and the sender.
func parseInfo(text string) (sender string, err error) {
	seen := false
	err = records(text, func(_ int, kind byte, rest string) error {
		switch {
		case seen:
			return fmt.Errorf("%w: more than a sender", ErrMalformed)
		case kind != 'F':
			return errKind(kind)
		}
		sender, seen = rest, true
		return nil
	})
	return sender, err
}

// parseTodo reads todo/N: u and p, who injected it; F, the sender; then a T for
// each recipient.
func parseTodo(text string) (sender string, recipients []Recipient, err error) {
	seen := false
	err = records(text, func(_ int, kind byte, rest string) error {
		switch kind {
		case 'u', 'p':
		case 'F':
			if seen {
				return fmt.Errorf("%w: more than one sender", ErrMalformed)
			}
			sender, seen = rest, true
		case 'T':
			recipients = append(recipients, Recipient{Address: rest})
		default:
			return errKind(kind)
		}
		return nil
	})
	if err == nil && !seen {
		err = fmt.Errorf("%w: no sender", ErrMalformed)
	}
	return sender, recipients, err
}

// parseChannel reads local/N, remote/N or supplI/N: T and a recipient still to
// come, D and one that is done. It appends to recipients.
func parseChannel(text, channel string, recipients []Recipient) ([]Recipient, error) {
	err := records(text, func(_ int, kind byte, rest string) error {
		if kind != 'T' && kind != 'D' {
			return errKind(kind)
		}
		recipients = append(recipients, Recipient{rest, channel, kind == 'D'})
		return nil
	})
	return recipients, err
}
