package applets

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kowaza/internal/dialogue"
	"kowaza/internal/report"
)

// A tripMailbox is looked at by one login after the other: a server shows what has come
// since only to who comes anew (RFC 1939, 3).
type tripMailbox struct {
	t    *trip
	box  *tripBox
	wake chan struct{}
	seen map[string]bool // UIDL's names of the newest messages that were looked at

	failed bool // the last look did
}

// The bounds of what is looked at in a mailbox.
const (
	newestMessages = 100
	topLines       = 5000 // of a message, see also report.MaxSize
)

// loginPause is the least time from one login to the next. Who waits longer than a minute
// may do so in longer steps.
func loginPause(since time.Duration) time.Duration {
	if since > time.Minute {
		return 5 * time.Second
	}
	return time.Second
}

// startMailbox looks into the mailbox until it is told to quit.
func (t *trip) startMailbox(b *tripBox) {
	m := &tripMailbox{t: t, box: b, wake: make(chan struct{}, 1)}
	b.wake = func() {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	ended := make(chan error, 1)
	b.ended = ended
	go func() {
		begun := time.Now()
		if err := m.look(true); err != nil {
			ended <- fmt.Errorf("%s: %w", b.path, err)
			return
		}
		close(b.ready)
		m.watch(begun)
	}()
}

// watch looks into the mailbox again and again.
func (m *tripMailbox) watch(begun time.Time) {
	b := m.box
	for looked := begun; ; {
		pause := time.NewTimer(time.Until(looked.Add(loginPause(time.Since(begun)))))
		for waiting := true; waiting; {
			select {
			case <-m.t.ctx.Done():
				waiting = false
			case <-pause.C:
				waiting = false
			case <-m.wake:
				waiting = !b.quit.Load()
				pause.Reset(time.Until(looked.Add(loginPause(0))))
			}
		}
		pause.Stop()
		if b.quit.Load() || m.t.ctx.Err() != nil {
			b.ask.Store(false)
			m.t.sightings <- sighting{box: b, looked: true}
			return
		}
		asked := b.ask.Swap(false)
		looked = time.Now()
		err := m.look(false)
		if err != nil || m.failed {
			s := sighting{box: b, where: b.path, err: err, lost: lostMailbox(err)}
			m.t.sightings <- s
			if s.lost {
				return
			}
		}
		m.failed = err != nil
		if asked {
			m.t.sightings <- sighting{box: b, looked: true}
		}
	}
}

// lostMailbox reports whether an error would be the same with the next login: a wrong
// password must not count twice. What RFC 2449 and 3206 mark as passing is none.
func lostMailbox(err error) bool {
	var e *dialogue.Error
	if !errors.As(err, &e) || e.Step != dialogue.StepLogin && e.Step != dialogue.StepTLS {
		return false
	}
	for _, code := range []string{"[IN-USE]", "[LOGIN-DELAY]", "[SYS/TEMP]"} {
		if strings.Contains(strings.ToUpper(e.Reply), code) {
			return false
		}
	}
	return e.Reply != "" || e.Step == dialogue.StepTLS
}

// look logs in and looks at what has come since; with first it only notes what is there.
// What is removed is so when the server has said yes to QUIT.
func (m *tripMailbox) look(first bool) error {
	conn, err := dialogue.Open(m.t.ctx, m.t.pop3)
	if err != nil {
		if conn != nil {
			conn.Abandon()
		}
		return err
	}
	fresh, err := m.newest(conn)
	var removed []sighting
	for _, f := range fresh {
		if err == nil && !first {
			err = m.read(conn, f, &removed)
		}
		if err != nil {
			break
		}
		m.seen[f.name] = true
	}
	if errors.Is(m.t.ctx.Err(), context.Canceled) {
		conn.Abandon()
		return err
	}
	quit := conn.Quit()
	for _, s := range removed {
		if quit != nil {
			s.err = fmt.Errorf("not known whether it was removed: %w", quit)
		}
		m.t.sightings <- s
	}
	return err
}

// A freshMessage is one that has not been looked at.
type freshMessage struct {
	number int
	name   string // UIDL's; empty: the server has none
}

// newest returns those of the newest messages that have not been looked at, the newest
// first.
func (m *tripMailbox) newest(conn *dialogue.Conn) (fresh []freshMessage, err error) {
	r, err := conn.Do(dialogue.StepCommand, "STAT")
	if err != nil {
		return nil, err
	}
	words := strings.Fields(r.String())
	if len(words) < 2 || !r.Good() {
		return nil, &dialogue.Error{Step: dialogue.StepCommand, Reply: r.String()}
	}
	count, err := strconv.Atoi(words[1])
	if err != nil || count < 0 {
		return nil, fmt.Errorf("STAT: no number of messages: %s", r)
	}
	first := max(1, count-newestMessages+1)
	names := make(map[int]string)
	_, err = conn.Text(dialogue.StepCommand, "UIDL", func(line []byte) error {
		number, name, _ := strings.Cut(string(line), " ")
		if n, err := strconv.Atoi(number); err == nil && n >= first && n <= count && len(name) <= 70 { // RFC 1939, 7
			names[n] = name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for n := count; n >= first; n-- {
		if name := names[n]; name != "" && m.seen[name] {
			seen[name] = true
		} else {
			fresh = append(fresh, freshMessage{n, name})
		}
	}
	m.seen = seen
	return fresh, nil
}

// read looks at one message. One that is to be removed is told when the server has said
// yes to QUIT.
func (m *tripMailbox) read(conn *dialogue.Conn, f freshMessage, removed *[]sighting) error {
	text, err := top(conn, f.number)
	if err != nil {
		return err
	}
	s := sighting{box: m.box, at: time.Now(), where: fmt.Sprintf("%s, message %d", m.box.path, f.number)}
	if s.test, s.relation, s.report = m.t.find(text); s.test == nil {
		return nil
	}
	if m.t.o.delete {
		r, err := conn.Do(dialogue.StepCommand, "DELE "+strconv.Itoa(f.number))
		if err != nil {
			return err
		}
		if r.Good() {
			*removed = append(*removed, s)
			return nil
		}
		s.err = &dialogue.Error{Step: dialogue.StepCommand, Reply: r.String()}
	}
	m.t.sightings <- s
	return nil
}

// top returns the beginning of a message. Unlike RETR, TOP marks it as read nowhere.
func top(conn *dialogue.Conn, n int) ([]byte, error) {
	var text []byte
	r, err := conn.Text(dialogue.StepCommand, fmt.Sprintf("TOP %d %d", n, topLines), func(line []byte) error {
		if len(text) < report.MaxSize {
			text = append(append(text, line...), '\n')
		}
		return nil
	})
	if err == nil && !r.Good() {
		// It may have been removed by somebody else, or its server knows no TOP.
		err = &dialogue.Error{Step: dialogue.StepCommand, Reply: r.String()}
	}
	return text, err
}
