package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/term"

	"kowaza/internal/escape"
	"kowaza/internal/message"
	"kowaza/internal/queue"
)

// What -l, -L and -R show.
type listKind int

const (
	everything listKind = iota
	localOnly
	remoteOnly
)

// takes reports whether a list shows the message. In the script's lists, as in
// qmail-qread's, a message stands from when it is preprocessed; in JSON each has
// its state, and all are there.
func (k listKind) takes(f queue.Found, json bool) bool {
	if !f.Has(queue.Mess) || !json && !f.Has(queue.Info) {
		return false
	}
	switch k {
	case localOnly:
		return f.Has(queue.Local)
	case remoteOnly:
		return f.HasRemote()
	}
	return true
}

// list is -l, -L and -R.
func (h *qmHandleRun) list(kind listKind) error {
	var counts statistics
	err := queue.List(h.q, queue.Listing{
		Keep: func(f queue.Found) bool {
			counts.add(f)
			return kind.takes(f, h.json)
		},
		Header: !h.numbersOnly,
		Failed: h.unreadable,
	}, func(m *queue.Message) *[]byte {
		if !h.narrowed(m) {
			return nil
		}
		text := h.row(m)
		return &text
	}, func(m *queue.Message, text *[]byte) bool {
		if text == nil {
			return !h.isStopped()
		}
		h.problems(m)
		_, err := h.env.Stdout.Write(*text)
		return err == nil && !h.isStopped()
	})
	if err != nil || h.isStopped() || h.numbersOnly || h.json {
		return err
	}
	if len(h.narrow) > 0 {
		return h.statistics()
	}
	h.sayStatistics(counts)
	return nil
}

// narrowed reports whether a list that is narrowed still has the message.
func (h *qmHandleRun) narrowed(m *queue.Message) bool {
	for _, c := range h.narrow {
		if !c.envelope(m) {
			return false
		}
	}
	return true
}

// row returns what a list has for a message.
func (h *qmHandleRun) row(m *queue.Message) []byte {
	var b bytes.Buffer
	switch {
	case h.numbersOnly:
		fmt.Fprintf(&b, "%d\n", m.Number)
	case h.json:
		line, err := m.JSON()
		if err != nil {
			h.fail(m.Number, err)
			return nil
		}
		b.Write(line)
		b.WriteByte('\n')
	default:
		h.showText(&b, m)
	}
	return b.Bytes()
}

// The script's colours.
const (
	blue  = "\x1b[01;34m"
	red   = "\x1b[01;31m"
	plain = "\x1b[00m"
)

func (h *qmHandleRun) paint(color, s string) string {
	if !h.color {
		return s
	}
	return color + s + plain
}

func (h *qmHandleRun) showText(b *bytes.Buffer, m *queue.Message) {
	number := strconv.FormatUint(m.Number, 10)
	dir := strconv.FormatUint(m.Number%h.q.Split(), 10)
	b.WriteString(h.paint(blue, number) + " (" + dir + ", " + dir + "/" + number + ")\n")
	label := func(name, value string) {
		b.WriteString("  " + h.paint(blue, name) + ": " + value + "\n")
	}
	label("Return-path", escape.String(m.Sender))
	for _, f := range []struct {
		name  string
		field queue.Field
	}{
		{"From", m.Header.From}, {"To", m.Header.To}, {"Cc", m.Header.Cc}, {"Subject", m.Header.Subject}, {"Date", m.Header.Date},
	} {
		if f.field.Present {
			label(f.name, escape.String(message.Show(f.field.Raw)))
		}
	}
	label("Size", strconv.FormatInt(m.Size, 10)+" bytes")
	b.WriteByte('\n')
}

// A statistics counts messages, each once.
type statistics struct {
	Total      int `json:"total"`
	Local      int `json:"local"`
	Remote     int `json:"remote"`
	Bounces    int `json:"bounces"`
	Preprocess int `json:"preprocess"`
}

// add counts what qmail-qstat does, too: in Total all that have a mess file, in
// Preprocess those that have one in todo.
func (s *statistics) add(f queue.Found) {
	if !f.Has(queue.Mess) {
		return
	}
	s.Total++
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	count(&s.Local, f.Has(queue.Local))
	count(&s.Remote, f.HasRemote())
	count(&s.Bounces, f.Has(queue.Bounce))
	count(&s.Preprocess, f.Has(queue.Todo))
}

// count counts all messages, for which names are enough, or those that lists are
// narrowed to.
func (h *qmHandleRun) count() (counts statistics, err error) {
	if len(h.narrow) == 0 {
		err = h.q.Scan(func(f queue.Found) bool {
			counts.add(f)
			return !h.isStopped()
		}, h.unreadable)
		return counts, err
	}
	err = h.q.List(queue.Listing{Failed: h.unreadable}, func(m *queue.Message) bool {
		h.problems(m)
		if h.narrowed(m) {
			counts.add(m.Found)
		}
		return !h.isStopped()
	})
	return counts, err
}

// statistics is -s.
func (h *qmHandleRun) statistics() error {
	counts, err := h.count()
	if err != nil || h.isStopped() {
		return err
	}
	if h.json {
		line, err := json.Marshal(counts)
		if err != nil {
			return err
		}
		h.say("%s\n", line)
		return nil
	}
	h.sayStatistics(counts)
	return nil
}

func (h *qmHandleRun) sayStatistics(s statistics) {
	for _, l := range []struct {
		what string
		n    int
	}{
		{"Total messages", s.Total},
		{"Messages with local recipients", s.Local},
		{"Messages with remote recipients", s.Remote},
		{"Messages with bounces", s.Bounces},
		{"Messages in preprocess", s.Preprocess},
	} {
		h.say("%s: %d\n", h.paint(red, l.what), l.n)
	}
}

// show is -m: a copy of the message, byte for byte, but on a terminal, where
// it must not give orders.
func (h *qmHandleRun) show(n uint64) error {
	found, err := h.q.Find(n)
	if err == nil && !found.Has(queue.Mess) {
		err = queue.ErrOrphan
	}
	if err != nil {
		h.fail(n, err)
		return nil
	}
	f, err := h.q.OpenMessage(found)
	if err != nil {
		h.fail(n, err)
		return nil
	}
	defer f.Close()
	h.say("\n --------------\nMESSAGE NUMBER %d \n --------------\n", n)
	if !h.onTerminal() {
		_, err = io.Copy(h.env.Stdout, f)
		return err
	}
	return message.Read(f, func(string, []byte) bool { return true }, func(line []byte, body bool) bool {
		h.say("%s\n", escape.String(string(line)))
		return !h.isStopped()
	})
}

func (h *qmHandleRun) onTerminal() bool {
	f := h.env.Stdout.File()
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// renew is -t.
func (h *qmHandleRun) renew(re *regexp.Regexp, argument string) error {
	h.say("Looking for messages with recipients in %s\n", escape.String(argument))
	met := false
	err := h.q.List(queue.Listing{
		Keep:   func(f queue.Found) bool { return f.State() == queue.S5 && f.HasRemote() },
		Failed: h.unreadable,
	}, func(m *queue.Message) bool {
		h.problems(m)
		if !remoteMatch(m, re) {
			return !h.isStopped()
		}
		met = true
		h.say("Message %d being tagged for earlier retry (and lengthened stay in queue)!\n", m.Number)
		if !h.opt.dryRun {
			if err := h.q.Renew(m, h.env.Now().Truncate(time.Microsecond)); err != nil {
				h.fail(m.Number, err)
			}
		}
		return !h.isStopped()
	})
	if err == nil && !met && !h.isStopped() {
		h.say("No messages with recipients in %s found in the queue!\n", escape.String(argument))
	}
	return err
}

func remoteMatch(m *queue.Message, re *regexp.Regexp) bool {
	for _, r := range m.Recipients {
		if r.Channel != queue.Local.String() && re.MatchString(r.Address) {
			return true
		}
	}
	return false
}
