package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/message"
	"kowaza/internal/queue"
	"kowaza/internal/settings"
)

// A criterion chooses messages for qmHandle: one is chosen if any of the funcs that
// are not nil says so.
type criterion struct {
	looking string // said before; empty: nothing
	none    string // said where nothing was chosen

	byNumber bool // -d: the only message that may be chosen is number
	number   uint64
	narrows  bool // it is no more than what the step is narrowed by

	envelope func(m *queue.Message) bool
	// Both are told what stands there and what a reader shows of it.
	field func(name string, value []byte) bool // of the header; name in lower case
	line  func(line []byte, body bool) bool
}

// text reports whether the message itself must be read.
func (c *criterion) text() bool { return c.field != nil || c.line != nil }

// newCriterion returns that of one of the script's letters.
func newCriterion(letter, argument string) (criterion, error) {
	switch letter {
	case "d":
		n, err := parseMessageNumber(argument)
		if err != nil {
			return criterion{}, cli.Usagef("-d: %s: not a message number", argument)
		}
		return criterion{byNumber: true, number: n, envelope: func(m *queue.Message) bool { return m.Number == n }}, nil
	case "D":
		return criterion{
			none:     "No messages found in the queue!",
			envelope: func(*queue.Message) bool { return true },
		}, nil
	case "f":
		return looking("from "+argument, criterion{envelope: func(m *queue.Message) bool { return m.SenderKnown && m.Sender == argument }}), nil
	case "x":
		re, err := compile(letter, `\b`+regexp.QuoteMeta(argument)+`\b`, "(?i)")
		if err != nil { // no UTF-8
			return criterion{}, err
		}
		c := looking("addressed to "+argument, criterion{field: toField(re)})
		c.none = "No messages to " + argument + " found in the queue!"
		return c, nil
	}
	flags := ""
	if strings.Contains("hbX", letter) {
		flags = "(?i)"
	}
	re, err := compile(letter, argument, flags)
	if err != nil {
		return criterion{}, err
	}
	switch letter {
	case "F":
		return looking("from senders matching "+argument,
			criterion{envelope: func(m *queue.Message) bool { return m.SenderKnown && re.MatchString(m.Sender) }}), nil
	case "S":
		c := looking("with Subject: "+argument, criterion{field: subjectField(re)})
		c.none = `No messages matching Subject "` + argument + `" found in the queue!`
		return c, nil
	case "h", "H":
		return looking("with headers matching "+argument,
			criterion{line: func(line []byte, body bool) bool { return !body && re.Match(line) }}), nil
	case "b", "B":
		return looking("with body matching "+argument,
			criterion{line: func(line []byte, body bool) bool { return body && re.Match(line) }}), nil
	default: // X
		return criterion{
			looking: "Searching for messages matching TO regex: /" + argument + "/",
			none:    "No messages found matching TO regex: /" + argument + "/",
			field:   toField(re),
		}, nil
	}
}

func looking(what string, c criterion) criterion {
	c.looking = "Looking for messages " + what
	c.none = "No messages " + what + " found in the queue!"
	return c
}

// compile reads a regular expression as in re2(7).
func compile(letter, argument, flags string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(flags + argument)
	if err != nil {
		return nil, cli.Usagef("-%s: %s: %s", letter, argument, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// A narrowing is --older-than or --recipient: whatever a step is about, it is only
// about messages that fit all of these, and that are in the queue for good.
type narrowing struct {
	what     string
	fits     func(m *queue.Message) bool
	prefixed *queue.VirtualDomains // to be read; nil: not needed
}

// narrowed reports whether a message fits.
func (h *qmHandleRun) narrowed(m *queue.Message) bool {
	if len(h.narrow) > 0 && !m.State().Committed() {
		return false
	}
	for _, n := range h.narrow {
		if !n.fits(m) {
			return false
		}
	}
	return true
}

// narrowWords is what the narrowings are called together.
func (h *qmHandleRun) narrowWords() string {
	var words []string
	for _, n := range h.narrow {
		words = append(words, n.what)
	}
	return strings.Join(words, " and ")
}

// narrowOnly chooses all that fits.
func (h *qmHandleRun) narrowOnly() criterion {
	return looking(h.narrowWords(), criterion{envelope: func(*queue.Message) bool { return true }, narrows: true})
}

// olderThan reads an age: 90m, 12h, 3d, 2w.
func olderThan(age string, now time.Time) (narrowing, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var unit time.Duration
	if age != "" {
		unit = units[age[len(age)-1]]
	}
	if unit == 0 {
		return narrowing{}, cli.Usagef("--older-than: %s: not a number with s, m, h, d or w behind it", age)
	}
	n, err := settings.Number(age[:len(age)-1], 0, int(settings.MaxDays*24*time.Hour/unit))
	if err != nil {
		return narrowing{}, cli.Usagef("--older-than: %s: %s", age, err)
	}
	before := now.Add(-time.Duration(n) * unit)
	return narrowing{what: "older than " + age, fits: func(m *queue.Message) bool {
		return !m.Birth.IsZero() && m.Birth.Before(before)
	}}, nil
}

// toRecipient narrows by the envelope. Case counts in the local part, which is
// its host's own affair, and not in the domain (RFC 5321, 2.4). Of a virtual
// domain, a local recipient has the prefix of control/virtualdomains before it.
func toRecipient(address string) narrowing {
	local, domain := cutDomain(address)
	virtual := new(queue.VirtualDomains)
	return narrowing{what: "with the recipient " + address, prefixed: virtual, fits: func(m *queue.Message) bool {
		for _, r := range m.Recipients {
			l, d := cutDomain(r.Address)
			if !strings.EqualFold(d, domain) {
				continue
			}
			if l == local {
				return true
			}
			if prefix := virtual.Prefix(address); prefix != "" && r.Channel == queue.Local.String() && l == prefix+"-"+local {
				return true
			}
		}
		return false
	}}
}

// virtualDomains reads control/virtualdomains; where there is none no domain is
// virtual.
func virtualDomains(file string) (queue.VirtualDomains, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v, err := queue.ReadVirtualDomains(f)
	if errors.Is(err, queue.ErrTooLarge) {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return v, err
}

func cutDomain(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address, ""
	}
	return address[:i], address[i:]
}

// toField is that of -x and -X.
func toField(re *regexp.Regexp) func(string, []byte) bool {
	return func(name string, value []byte) bool {
		return (name == "to" || name == "cc" || name == "bcc") && re.Match(value)
	}
}

// subjectField is that of -S.
func subjectField(re *regexp.Regexp) func(string, []byte) bool {
	return func(name string, value []byte) bool { return name == "subject" && re.Match(value) }
}

// chosen tells which criteria choose the message.
func (h *qmHandleRun) chosen(criteria []criterion, m *queue.Message) []bool {
	yes := make([]bool, len(criteria))
	text := false
	for i := range criteria {
		c := &criteria[i]
		yes[i] = c.envelope != nil && c.envelope(m)
		text = text || c.text()
	}
	if text {
		if err := h.readText(m, criteria, yes); err != nil && !errors.Is(err, queue.ErrVanished) {
			h.fail(m.Number, err)
		}
	}
	return yes
}

// readText shows a message to the criteria that look at its text, as it stands and as
// it reads, until each has said yes.
func (h *qmHandleRun) readText(m *queue.Message, criteria []criterion, yes []bool) error {
	f, err := h.q.OpenMessage(m.Found)
	if err != nil {
		return err
	}
	defer f.Close()
	open := func() bool {
		for i := range criteria {
			if criteria[i].text() && !yes[i] {
				return true
			}
		}
		return false
	}
	field := func(name string, value []byte) {
		for i, c := range criteria {
			yes[i] = yes[i] || c.field != nil && c.field(name, value)
		}
	}
	line := func(line []byte, body bool) {
		for i, c := range criteria {
			yes[i] = yes[i] || c.line != nil && c.line(line, body)
		}
	}
	shown := message.Shown{Field: func(name, value string) {
		field(strings.ToLower(name), []byte(value))
		line([]byte(name+": "+value), false)
	}}
	if slices.ContainsFunc(criteria, func(c criterion) bool { return c.line != nil }) {
		shown.Line = func(text string) { line([]byte(text), true) }
	}
	err = message.Read(f, func(name string, value []byte) bool {
		field(name, value)
		return open()
	}, func(text []byte, body bool) bool {
		line(text, body)
		shown.Add(text, body)
		return open()
	})
	shown.End()
	return err
}

// A removed is what a step's removal met, in all queues.
type removed struct {
	met  []bool // by criterion: it chose a message that fits
	some bool   // something was chosen
}

// remove removes what the criteria choose, all of them in one reading of each
// queue.
func (h *qmHandleRun) remove(criteria []criterion) error {
	for _, c := range criteria {
		if c.looking != "" {
			h.say("%s\n", escape.String(c.looking))
		}
	}
	if len(h.narrow) > 0 && !criteria[0].narrows {
		h.say("Only those %s\n", escape.String(h.narrowWords()))
	}
	r := removed{met: make([]bool, len(criteria))}
	before := h.gone()
	err := h.each(func() error { return h.removeHere(criteria, &r) })
	if err != nil || h.isStopped() {
		return err
	}
	for i, c := range criteria {
		switch {
		case r.met[i]:
		case c.byNumber:
			h.missing(c.number)
		default:
			h.say("%s\n", escape.String(c.none))
		}
	}
	n := h.gone() - before
	switch {
	case !r.some:
	case h.opt.outcome != nil && h.opt.dryRun:
		h.say(h.opt.outcome.would, n)
	case h.opt.outcome != nil:
		h.say(h.opt.outcome.done, n)
	case h.opt.dryRun:
		h.say("%d messages would be deleted from queue\n", n)
	case h.opt.live:
		h.say("Marked %d messages as done\n", n)
	default:
		h.say("Deleted %d messages from queue\n", n)
	}
	return nil
}

// removeHere does it in the queue at hand. What is said to be slotted for deletion
// has gone, or would go.
func (h *qmHandleRun) removeHere(criteria []criterion, r *removed) error {
	numbers := make(map[uint64]bool)
	onlyNumbers := true
	for _, c := range criteria {
		if c.byNumber {
			numbers[c.number] = true
		}
		onlyNumbers = onlyNumbers && c.byNumber
	}
	listing := queue.Listing{
		Keep: func(f queue.Found) bool {
			return numbers[f.Number] || !onlyNumbers && f.State().Committed()
		},
		Header: h.saver != nil, // the subject is saved
		Failed: h.unreadable,
	}
	each := func(m *queue.Message, verdicts []bool) bool {
		chosen, named, fits := false, false, h.narrowed(m)
		for i, yes := range verdicts {
			// A half received message, or pieces of one, only by its number.
			if !yes || !m.State().Committed() && !criteria[i].byNumber {
				continue
			}
			named = named || criteria[i].byNumber
			if !fits && criteria[i].byNumber {
				h.say("Message %d is not one %s\n", m.Number, escape.String(h.narrowWords()))
			}
			r.met[i] = r.met[i] || fits || criteria[i].byNumber
			chosen = chosen || fits
		}
		if !named {
			h.problems(m)
		}
		if chosen {
			r.some = true
			switch {
			case !h.removal.remove(m):
			case h.opt.outcome == nil:
				h.say("Message %d slotted for deletion\n", m.Number)
			case !h.opt.dryRun:
				h.say(h.opt.outcome.one, m.Number)
			}
		}
		return !h.isStopped()
	}
	if h.few() != nil {
		var few []uint64
		for _, c := range criteria {
			few = append(few, c.number)
		}
		slices.Sort(few)
		return h.q.ListNumbers(slices.Compact(few), listing, func(m *queue.Message) bool { return each(m, h.chosen(criteria, m)) })
	}
	return queue.List(h.q, listing, func(m *queue.Message) []bool {
		return h.chosen(criteria, m)
	}, each)
}

// few returns the numbers that are all that this run removes, so that the rest of
// the queue is left alone; nil where it removes anything else, or too many.
func (h *qmHandleRun) few() []uint64 {
	var numbers []uint64
	for _, s := range h.steps {
		for _, c := range s.criteria {
			if !c.byNumber {
				return nil
			}
			if !slices.Contains(numbers, c.number) {
				numbers = append(numbers, c.number)
			}
			if len(numbers) > maxFew {
				return nil
			}
		}
	}
	return numbers
}

// check looks whether the queue at hand is in order, as far as this run removes.
func (h *qmHandleRun) check() error {
	few := h.few()
	switch {
	case h.opt.dryRun && few != nil:
		return h.inQueue(h.q.CheckNumbers(few))
	case h.opt.dryRun:
		return h.inQueue(h.q.Check())
	case few != nil:
		return h.inQueue(h.lock.CheckNumbers(few))
	}
	return h.inQueue(h.lock.Check())
}

// problems reports what could not be read of a message.
func (h *qmHandleRun) problems(m *queue.Message) {
	for _, err := range m.Problems {
		h.failed.Store(true)
		h.env.WarnLike(queuePlace, h.in(fmt.Sprint(m.Number)), errors.New(cli.Describe(err)))
	}
}
