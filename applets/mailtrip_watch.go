package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/maildir"
	"kowaza/internal/queue"
	"kowaza/internal/report"
)

// A role is whose mail comes into a box.
type role int

const (
	ofRecipient role = 1 << iota
	ofSender
	ofDoubles
)

// needs is where a TEST must be seen to end; 0: nowhere.
func (t *trip) needs(x *tripTest) role {
	switch x.name {
	case tripLocal:
		return ofRecipient
	case tripBounce:
		return ofSender
	case tripDouble:
		return ofDoubles
	case tripRemote:
		switch {
		case t.pop3 != nil:
			return ofRecipient
		case t.queue != nil && t.queue.complete:
			return ofSender
		}
	}
	return 0
}

// A tripBox is a Maildir, or a mailbox of a POP3 server, that is looked at.
type tripBox struct {
	roles role
	path  string // or the server
	home  string // that it lies in
	asked bool   // by an option
	hint  string // what option would say another one
	err   error  // why it cannot be looked at

	live   bool  // it is looked at
	unread error // about a message that came and could not be read
	failed bool  // something that has been said was not done
	ready  chan struct{}
	ended  <-chan error // before that
	wake   func()       // ends a wait for the next look
	ask    atomic.Bool  // to be told when all has been looked at
	quit   atomic.Bool  // after the next look
}

// A sighting is what was seen in a box.
type sighting struct {
	box      *tripBox
	at       time.Time
	test     *tripTest // nil: no message of this run
	relation report.Relation
	report   *report.Report
	where    string
	err      error // about where; with lost about the box, in which no more is seen
	lost     bool
	looked   bool // as box.ask has asked
}

// addBoxes decides on which Maildirs are looked at: those that the TESTs need, and that
// of the sender, since a message that should arrive may come back.
func (t *trip) addBoxes() {
	if t.pop3 != nil {
		t.boxes = []*tripBox{{roles: ofRecipient | ofSender | ofDoubles, path: t.pop3.Server.String(), ready: make(chan struct{})}}
		return
	}
	local := func(address string) string {
		name, _, _ := strings.Cut(address, "@")
		return name
	}
	o := t.o
	if t.has(tripLocal) || o.owner != "" {
		t.addBox(ofRecipient, o.owner, local(t.mail.to), "-m")
	}
	needsSender := slices.ContainsFunc(t.tests, func(x *tripTest) bool { return t.needs(x) == ofSender })
	if t.has(tripLocal) || needsSender || o.bounces != "" {
		t.addBox(ofSender, o.bounces, local(t.mail.from), "-b")
	}
	if o.doubles != "" {
		t.addBox(ofDoubles, o.doubles, "", "-r")
	}
}

func (t *trip) addBox(is role, owner, login, letter string) {
	b := &tripBox{roles: is, asked: owner != "", ready: make(chan struct{})}
	if owner == "" {
		owner, b.hint = login, letter+" OWNER says whose Maildir it is"
	}
	b.home, _, b.err = findOwner(t.env, t.settings, owner, false, false)
	b.path = maildir.Home(b.home, t.settings.Maildir)
	for _, other := range t.boxes {
		if b.err == nil && other.err == nil && other.path == b.path {
			other.roles |= is
			other.asked = other.asked || b.asked
			return
		}
	}
	t.boxes = append(t.boxes, b)
}

// box returns the one that has a role; nil where none has.
func (t *trip) box(is role) *tripBox {
	for _, b := range t.boxes {
		if b.roles&is != 0 {
			return b
		}
	}
	return nil
}

// blind says why a TEST's end would not be seen.
func (t *trip) blind(x *tripTest) error {
	need := t.needs(x)
	if need == 0 {
		return nil
	}
	return t.box(need).err
}

// watch notes what is in all boxes by now, and has what comes be told.
func (t *trip) watch() {
	for _, b := range t.boxes {
		switch {
		case b.err != nil:
		case t.pop3 != nil:
			t.startMailbox(b)
		default:
			t.startMaildir(b)
		}
	}
	timeout := time.NewTimer(t.wait)
	defer timeout.Stop()
	if t.pop3 != nil { // which has its own deadline, and may ask for a password
		timeout.Stop()
	}
	for _, b := range t.boxes {
		if b.err == nil {
			select {
			case <-b.ready:
				b.live = true
			case b.err = <-b.ended:
			case <-timeout.C:
				b.err = &fs.PathError{Op: "open", Path: b.path, Err: maildir.ErrNoAnswer}
				timeout.Reset(0)
			case <-t.ctx.Done():
				return
			}
		}
		if b.err == nil {
			continue
		}
		if b.home != "" {
			b.err = explainLayout(b.home, t.settings.Maildir, b.err)
		}
		if b.hint != "" {
			b.err = fmt.Errorf("%w: %s", b.err, b.hint)
		}
		needed := false
		for _, x := range t.tests {
			needed = needed || t.needs(x)&b.roles != 0
		}
		if b.asked && !needed {
			t.warn("%s", cli.Describe(b.err))
			b.failed = true
		}
	}
}

// startMaildir looks into a box until it is told to quit.
func (t *trip) startMaildir(b *tripBox) {
	in := b.path
	if t.settings.Inbox != "" {
		in += "/" + t.settings.Inbox
	}
	begun := time.Now()
	b.ended = maildir.GoInOwnersName(b.path, false, func(box *maildir.Box) error {
		a, err := box.Arrivals(t.settings.Inbox)
		if err != nil {
			return &fs.PathError{Op: "open", Path: in, Err: err}
		}
		defer a.Close()
		b.wake = a.Interrupt
		close(b.ready)
		failed := false // the last look
		for {
			quit, asked := b.quit.Load(), b.ask.Swap(false)
			err := a.Look(func(m *maildir.Arrival) bool { t.look(b, m, in+"/"+m.Path); return true })
			if err != nil || failed {
				s := sighting{box: b, where: in, err: err, lost: err != nil && !errors.Is(err, maildir.ErrAway)}
				t.sightings <- s
				if s.lost { // received by now: nobody wakes who is not there
					return nil
				}
			}
			failed = err != nil
			if asked {
				t.sightings <- sighting{box: b, looked: true}
			}
			if quit {
				return nil
			}
			a.Wait(lookPause(time.Since(begun)))
		}
	})
}

// lookPause is how long nothing is looked at where no file system tells of changes: ever
// longer, since what has not come at once may take its time.
func lookPause(since time.Duration) time.Duration {
	return min(max(since/20, 10*time.Millisecond), 500*time.Millisecond)
}

// look looks at one message.
func (t *trip) look(b *tripBox, m *maildir.Arrival, where string) {
	at := time.Now()
	text, ok, err := m.Text(report.MaxSize)
	if err != nil {
		t.sightings <- sighting{box: b, where: where, err: err}
		return
	}
	if !ok {
		return
	}
	s := sighting{box: b, at: at, where: where}
	if s.test, s.relation, s.report = t.find(text); s.test == nil {
		return
	}
	if t.o.delete {
		s.err = m.Remove(t.trash)
	}
	t.sightings <- s
}

// find says about which TEST's message a text is.
func (t *trip) find(text []byte) (*tripTest, report.Relation, *report.Report) {
	message := report.Read(text)
	for _, x := range t.tests {
		if relation, r := message.Of(x.id); relation != report.None {
			return x, relation, r
		}
	}
	return nil, report.None, nil
}

// finalPatience is how long a last look may take, when the time for all is over; at a
// server it takes a login.
const (
	finalPatience   = 2 * time.Second
	mailboxPatience = 10 * time.Second
)

// lookAgain has all boxes looked at once more, and with quit for the last time, and
// judges what is seen.
func (t *trip) lookAgain(quit bool) {
	asked := make(map[*tripBox]bool)
	for _, b := range t.boxes {
		if b.live {
			asked[b] = true
			b.live = !quit
			b.quit.Store(quit)
			b.ask.Store(true)
			b.wake()
		}
	}
	patience := finalPatience
	if t.pop3 != nil {
		patience = mailboxPatience
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for len(asked) > 0 {
		select {
		case s := <-t.sightings:
			if s.looked || s.lost {
				delete(asked, s.box)
			}
			t.see(&s)
		case <-timeout.C:
			return
		}
	}
}

// see takes what was seen in a box.
func (t *trip) see(s *sighting) {
	b := s.box
	switch {
	case s.lost:
		b.err, b.live, b.failed = &fs.PathError{Op: "read", Path: s.where, Err: s.err}, false, true
		t.warn("%s", cli.Describe(b.err))
	case s.looked:
	case s.test == nil:
		if b.unread = nil; s.err != nil {
			b.unread = &fs.PathError{Op: "read", Path: s.where, Err: s.err}
		}
	default:
		if s.err != nil {
			b.failed = true
			t.warn("%s: %s", s.where, s.err)
		}
		t.judge(s)
	}
}

// A tripQueue is what is seen of qmail's queue.
type tripQueue struct {
	texts *queue.Texts
	// complete tells that what is not in there has left it: qmail-send runs, as far as
	// that can be known. On a host whose sendmail is another's an old queue may lie.
	complete bool
}

// openTripQueue returns nil where there is no queue or it cannot be read.
func openTripQueue(dir string) *tripQueue {
	texts, err := queue.OpenTexts(dir)
	if err != nil {
		return nil
	}
	q := &tripQueue{texts: texts, complete: true}
	if all, err := queue.Open(dir); err == nil {
		_, err := all.Daemon()
		q.complete = !errors.Is(err, queue.ErrNotRunning)
		all.Close()
	}
	return q
}

// inQueue looks for the message of a TEST, or a report about it, in qmail's queue.
func (t *trip) inQueue(x *tripTest) (found *queue.Text, relation report.Relation, err error) {
	err = t.queue.texts.Since(x.begun, report.MaxSize, func(m *queue.Text) bool {
		if r, _ := report.Read(m.Text).Of(x.id); r != report.None {
			found, relation = m, r
		}
		return found == nil
	})
	return found, relation, err
}

// queueState says where a TEST's message is that has not been found: in qmail's queue,
// and why, or not. known: the queue could be read.
func (t *trip) queueState(x *tripTest) (why string, queued, known bool) {
	if t.queue == nil {
		return "", false, false
	}
	m, relation, err := t.inQueue(x)
	if err != nil {
		return "", false, false
	}
	if m == nil {
		return "", false, t.queue.complete
	}
	what := "message"
	if relation != report.Same {
		what = "report"
	}
	why = fmt.Sprintf("%s #%d in qmail's queue", what, m.Number)
	const most = 4096
	if notes := strings.Join(strings.Fields(string(t.queue.texts.Bounce(m, most))), " "); notes != "" {
		why += ": " + notes
	}
	return why, true, true
}
