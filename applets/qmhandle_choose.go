package applets

import (
	"errors"
	"fmt"
	"regexp"
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

	envelope func(m *queue.Message) bool
	field    func(name string, value []byte) bool // of the header: see message.Read
	line     func(line []byte, body bool) bool
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
		return looking("from "+argument, criterion{envelope: func(m *queue.Message) bool { return hasSender(m) && m.Sender == argument }}), nil
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
			criterion{envelope: func(m *queue.Message) bool { return hasSender(m) && re.MatchString(m.Sender) }}), nil
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

// hasSender reports whether the sender is known: the empty one is a sender, too.
func hasSender(m *queue.Message) bool {
	for _, err := range m.Problems {
		if errors.Is(err, queue.ErrMalformed) {
			return false
		}
	}
	return m.Has(queue.Info) || m.Has(queue.Todo)
}

// compile reads a regular expression as in re2(7).
func compile(letter, argument, flags string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(flags + argument)
	if err != nil {
		return nil, cli.Usagef("-%s: %s: %s", letter, argument, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// olderThan reads an age: 90m, 12h, 3d, 2w.
func olderThan(age string, now time.Time) (criterion, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var unit time.Duration
	if age != "" {
		unit = units[age[len(age)-1]]
	}
	if unit == 0 {
		return criterion{}, cli.Usagef("--older-than: %s: not a number with s, m, h, d or w behind it", age)
	}
	n, err := settings.Number(age[:len(age)-1], 0, int(settings.MaxDays*24*time.Hour/unit))
	if err != nil {
		return criterion{}, cli.Usagef("--older-than: %s: %s", age, err)
	}
	before := now.Add(-time.Duration(n) * unit)
	return looking("older than "+age, criterion{envelope: func(m *queue.Message) bool {
		return !m.Birth.IsZero() && m.Birth.Before(before)
	}}), nil
}

// toRecipient chooses by the envelope. Case counts in the local part, which is
// its host's own affair, and not in the domain (RFC 5321, 2.4).
func toRecipient(address string) criterion {
	local, domain := cutDomain(address)
	return looking("with the recipient "+address, criterion{envelope: func(m *queue.Message) bool {
		for _, r := range m.Recipients {
			if l, d := cutDomain(r.Address); l == local && strings.EqualFold(d, domain) {
				return true
			}
		}
		return false
	}})
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

// subjectField matches a subject as it stands, as the script did, and as it
// reads.
func subjectField(re *regexp.Regexp) func(string, []byte) bool {
	return func(name string, value []byte) bool {
		return name == "subject" && (re.Match(value) || re.MatchString(message.Show(value)))
	}
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

// readText shows a message to the criteria that look at its text, until each
// has said yes.
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
	return message.Read(f, func(name string, value []byte) bool {
		for i, c := range criteria {
			yes[i] = yes[i] || c.field != nil && c.field(name, value)
		}
		return open()
	}, func(line []byte, body bool) bool {
		for i, c := range criteria {
			yes[i] = yes[i] || c.line != nil && c.line(line, body)
		}
		return open()
	})
}

// remove removes what the criteria choose, all of them in one reading of the
// queue.
func (h *qmHandleRun) remove(criteria []criterion) error {
	numbers := make(map[uint64]bool)
	onlyNumbers := true
	for _, c := range criteria {
		if c.looking != "" {
			h.say("%s\n", escape.String(c.looking))
		}
		if c.byNumber {
			numbers[c.number] = true
		}
		onlyNumbers = onlyNumbers && c.byNumber
	}
	met := make([]bool, len(criteria))
	before := h.removed.Load()
	slotted := false
	err := queue.List(h.q, queue.Listing{
		Keep: func(f queue.Found) bool {
			return numbers[f.Number] || !onlyNumbers && f.State().Committed()
		},
		Header: h.saver != nil, // the subject is saved
		Failed: h.unreadable,
	}, func(m *queue.Message) []bool {
		return h.chosen(criteria, m)
	}, func(m *queue.Message, verdicts []bool) bool {
		chosen := false
		for i, yes := range verdicts {
			// A half received message, or pieces of one, only by its number.
			yes = yes && (m.State().Committed() || criteria[i].byNumber)
			met[i] = met[i] || yes
			chosen = chosen || yes
		}
		if chosen {
			slotted = true
			if h.opt.outcome == nil {
				h.say("Message %d slotted for deletion\n", m.Number)
			}
			if h.removal.remove(m) && h.opt.outcome != nil && !h.opt.dryRun {
				h.say(h.opt.outcome.one, m.Number)
			}
		} else {
			h.problems(m)
		}
		return !h.isStopped()
	})
	if err != nil || h.isStopped() {
		return err
	}
	for i, c := range criteria {
		switch {
		case met[i]:
		case c.byNumber:
			h.fail(c.number, queue.ErrNotFound)
		default:
			h.say("%s\n", escape.String(c.none))
		}
	}
	n := h.removed.Load() - before
	switch {
	case !slotted:
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

// problems reports what could not be read of a message.
func (h *qmHandleRun) problems(m *queue.Message) {
	for _, err := range m.Problems {
		h.failed.Store(true)
		h.env.WarnLike(queuePlace, fmt.Sprint(m.Number), errors.New(cli.Describe(err)))
	}
}
