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

	"kowaza/internal/cli"
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
// its state, and all are there; and where lists are narrowed, all are that a removal
// would choose among.
func (h *qmHandleRun) takes(kind listKind, f queue.Found) bool {
	if !f.Has(queue.Mess) {
		return false
	}
	switch {
	case len(h.narrow) > 0:
		if !f.State().Committed() {
			return false
		}
	case h.json:
	case h.q.Denied(queue.Info) != nil: // nor can it be told what is half received
		if f.Has(queue.Todo) {
			return false
		}
	case !f.Has(queue.Info):
		return false
	}
	switch kind {
	case localOnly:
		return f.Has(queue.Local)
	case remoteOnly:
		return f.HasRemote()
	}
	return true
}

// needs reports those of the places that may not be read: what is done without them
// is less than was asked for.
func (h *qmHandleRun) needs(places ...queue.Place) {
	for _, p := range places {
		if err := h.q.Denied(p); err != nil {
			h.unreadable(err)
		}
	}
}

// list is -l, -L and -R.
func (h *qmHandleRun) list(kind listKind) error {
	var counts statistics
	err := h.each(func() error { return h.listHere(kind, &counts) })
	if err != nil || h.isStopped() || h.numbersOnly || h.json {
		return err
	}
	if len(h.narrow) > 0 {
		return h.statistics()
	}
	h.sayStatistics(counts)
	return nil
}

// listHere lists the queue at hand, and counts what is in it.
func (h *qmHandleRun) listHere(kind listKind, counts *statistics) error {
	h.needs(queue.Info)
	switch {
	case h.json:
		h.needs(queue.Todo, queue.Intd, queue.Bounce, queue.Local, queue.Remote, queue.Suppl)
	case kind == localOnly:
		h.needs(queue.Local)
	case kind == remoteOnly:
		h.needs(queue.Remote, queue.Suppl)
	}
	if !h.numbersOnly && !h.json {
		counts.leaveOut(h)
	}
	return queue.List(h.q, queue.Listing{
		Keep: func(f queue.Found) bool {
			counts.add(f)
			return h.takes(kind, f)
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
	if h.q.Denied(queue.Info) == nil || m.SenderKnown {
		label("Return-path", escape.String(m.Sender))
	}
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
	total, local, remote, bounces, preprocess int
	orphans                                   int // numbers that have pieces and no message

	noLocal, noRemote, noBounces bool // could not be counted
}

// add counts what qmail-qstat does, too: in total all that have a mess file, in
// preprocess those that have one in todo.
func (s *statistics) add(f queue.Found) {
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	if !f.Has(queue.Mess) {
		s.orphans++
		return
	}
	s.total++
	count(&s.local, f.Has(queue.Local))
	count(&s.remote, f.HasRemote())
	count(&s.bounces, f.Has(queue.Bounce))
	count(&s.preprocess, f.Has(queue.Todo))
}

// leaveOut notes what cannot be counted in the queue at hand, and reports it.
func (s *statistics) leaveOut(h *qmHandleRun) {
	h.needs(queue.Todo, queue.Local, queue.Remote, queue.Suppl, queue.Bounce)
	s.noLocal = s.noLocal || h.q.Denied(queue.Local) != nil
	s.noRemote = s.noRemote || h.q.Denied(queue.Remote) != nil || h.q.Denied(queue.Suppl) != nil
	s.noBounces = s.noBounces || h.q.Denied(queue.Bounce) != nil
}

// count counts all messages, for which names are enough, or those that lists are
// narrowed to.
func (h *qmHandleRun) count() (counts statistics, err error) {
	err = h.each(func() error {
		counts.leaveOut(h)
		if len(h.narrow) == 0 {
			return h.q.Scan(func(f queue.Found) bool {
				counts.add(f)
				return !h.isStopped()
			}, h.unreadable)
		}
		h.needs(queue.Info)
		return queue.List(h.q, queue.Listing{Failed: h.unreadable}, h.narrowed, func(m *queue.Message, fits bool) bool {
			h.problems(m)
			if fits {
				counts.add(m.Found)
			}
			return !h.isStopped()
		})
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
		return h.sayJSON(counts)
	}
	h.sayStatistics(counts)
	return nil
}

// sayJSON prints statistics as an object; null is what could not be counted.
func (h *qmHandleRun) sayJSON(s statistics) error {
	number := func(n int, not bool) *int {
		if not {
			return nil
		}
		return &n
	}
	line, err := json.Marshal(struct {
		Total      int  `json:"total"`
		Local      *int `json:"local"`
		Remote     *int `json:"remote"`
		Bounces    *int `json:"bounces"`
		Preprocess int  `json:"preprocess"`
		Orphans    int  `json:"orphans"`
	}{s.total, number(s.local, s.noLocal), number(s.remote, s.noRemote), number(s.bounces, s.noBounces), s.preprocess, s.orphans})
	if err != nil {
		return err
	}
	h.say("%s\n", line)
	return nil
}

func (h *qmHandleRun) sayStatistics(s statistics) {
	for _, l := range []struct {
		what string
		n    int
		not  bool
	}{
		{"Total messages", s.total, false},
		{"Messages with local recipients", s.local, s.noLocal},
		{"Messages with remote recipients", s.remote, s.noRemote},
		{"Messages with bounces", s.bounces, s.noBounces},
		{"Messages in preprocess", s.preprocess, false},
	} {
		if !l.not {
			h.say("%s: %d\n", h.paint(red, l.what), l.n)
		}
	}
	if s.orphans > 0 {
		h.env.Warn("pieces without a message: those of %s: qqclean --orphans removes them", cli.Count(int64(s.orphans), "number"))
	}
}

// show is -m: a copy of the message, byte for byte, but on a terminal, where
// it must not give orders.
func (h *qmHandleRun) show(n uint64) error {
	met := false
	err := h.each(func() error {
		found, err := h.q.Find(n)
		if err == queue.ErrNotFound {
			return nil
		}
		met = true
		if err == nil && !found.Has(queue.Mess) {
			err = queue.ErrOrphan
		}
		if err != nil {
			h.fail(n, err)
			return nil
		}
		return h.showFound(found)
	})
	if !met && err == nil {
		h.missing(n)
	}
	return err
}

func (h *qmHandleRun) showFound(found queue.Found) error {
	f, err := h.q.OpenMessage(found)
	if err != nil {
		h.fail(found.Number, err)
		return nil
	}
	defer f.Close()
	h.say("\n --------------\nMESSAGE NUMBER %d \n --------------\n", found.Number)
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
	err := h.each(func() error {
		h.needs(queue.Info, queue.Remote, queue.Suppl)
		return h.q.List(queue.Listing{
			Keep:   func(f queue.Found) bool { return f.State() == queue.S5 && f.HasRemote() },
			Failed: h.unreadable,
		}, func(m *queue.Message) bool {
			h.problems(m)
			if remoteMatch(m, re) && h.narrowed(m) {
				met = true
				h.renewOne(m)
			}
			return !h.isStopped()
		})
	})
	if err == nil && !met && !h.isStopped() {
		h.say("No messages with recipients in %s found in the queue!\n", escape.String(argument))
	}
	return err
}

// renewOne says that it was done when it was, or would be.
func (h *qmHandleRun) renewOne(m *queue.Message) {
	var err error
	if h.opt.dryRun {
		err = h.q.MayMark(m)
	} else {
		err = h.q.Renew(m, h.env.Now().Truncate(time.Microsecond))
	}
	if err != nil {
		h.fail(m.Number, err)
		return
	}
	h.say("Message %d being tagged for earlier retry (and lengthened stay in queue)!\n", m.Number)
}

func remoteMatch(m *queue.Message, re *regexp.Regexp) bool {
	for _, r := range m.Recipients {
		if r.Channel != queue.Local.String() && re.MatchString(r.Address) {
			return true
		}
	}
	return false
}
