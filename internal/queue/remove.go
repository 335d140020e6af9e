package queue

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// deadAge is how old what is half received must be before it is dead:
// qmail-queue gives up after 24 hours, qmail-send waits 36 (qmail-send.c,
// OSSIFIED).
const deadAge = 36 * time.Hour

// Remove removes a message that was read from this queue, piece by piece, mess
// last. A crash between any two leaves a message of one of the states of
// INTERNALS.
//
// Just before, everything is looked at again, and where it is not what was read
// nothing is touched: ErrVanished, ErrChanged, ErrCopied, ErrYoung, ErrOrphan
// (pieces without a message go only where orphans is set). An *fs.PathError
// says at which piece it ended: those before it are gone. Nothing is removed
// unless Check, which is called here if it was not before, finds the queue in
// order.
//
// All is done in one thread, so that a test may kill it at any system call.
func (l *Lock) Remove(m *Message, now time.Time, orphans bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.fd < 0:
		return ErrUnlocked
	case m.queue != l.q:
		return ErrChanged
	case !l.checked:
		if err := l.check(); err != nil {
			return err
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := l.q.pin(m.Number % l.q.split)
	if err != nil {
		return err
	}
	defer l.q.unpin(s)
	if err := l.q.mayRemove(s, m, now, orphans); err != nil {
		return err
	}
	return l.q.unlink(s, m)
}

// mayRemove tells whether the message is still what was read and may go.
func (q *Queue) mayRemove(s *subDirs, m *Message, now time.Time, orphans bool) error {
	pieces := make([]unix.Stat_t, len(q.places))
	found, err := q.look(s, m.Number, pieces)
	switch {
	case err != nil:
		return err
	case found.places == 0 || m.Has(Mess) && !found.Has(Mess):
		return ErrVanished
	case found.Has(Mess) && pieces[Mess].Ino != m.Number:
		return ErrCopied
	case found != m.Found:
		return ErrChanged
	}
	if err := q.sameMessage(s, m, pieces); err != nil {
		return err
	}
	half := false
	switch m.State() {
	case Orphan:
		if !orphans {
			return ErrOrphan
		}
		half = true
	case S2, S3:
		half = true
	case S4:
		half = later(pieces[Mess].Mtim, pieces[Todo].Ctim)
	case S5:
		// Its sender and recipients were there before its text: they are an
		// earlier message's, and this one is being received.
		half = later(pieces[Mess].Mtim, pieces[Info].Ctim)
	}
	if !half {
		return nil
	}
	dead := now.Add(-deadAge)
	for i, p := range q.places {
		if !m.Has(p.Place) {
			continue
		}
		for _, t := range []unix.Timespec{pieces[i].Atim, pieces[i].Mtim, pieces[i].Ctim} {
			if !timeOf(t).Before(dead) {
				return ErrYoung
			}
		}
	}
	return nil
}

func later(a, b unix.Timespec) bool { return timeOf(a).After(timeOf(b)) }

// sameMessage tells whether the pieces are those that were read. qmail never
// changes mess or info once they are written, and of todo only the number of its
// names, when intd goes.
func (q *Queue) sameMessage(s *subDirs, m *Message, pieces []unix.Stat_t) error {
	if m.Has(Mess) && (identityOf(&pieces[Mess]) != m.mess || !isRegular(&pieces[Mess])) {
		return ErrChanged
	}
	if m.Has(Todo) {
		now := identityOf(&pieces[Todo])
		now.ctime = m.todo.ctime
		if now != m.todo {
			return ErrChanged
		}
		return nil // qmail-send would make info anew
	}
	if state := m.State(); !m.Has(Info) || state == S2 || state == S3 {
		return nil // there is none, or it is another message's: see reader.envelope
	}
	if identityOf(&pieces[Info]) != m.info {
		return ErrChanged
	}
	r := reader{q: q}
	r.name.set(m.Number)
	fd, err := r.open(s, Info, m.State())
	if err == nil {
		defer closeFD(fd)
		var text []byte
		if text, err = r.contents(fd); err == nil && string(text) != m.infoText {
			return ErrChanged
		}
	}
	switch err {
	case nil:
	case unix.ENOENT:
		return ErrChanged
	case ErrNotRegular, ErrTooLarge:
		// So it was when it was read, see the identity.
	default:
		return pathError("read", q.path(Info, m.Number), err)
	}
	return nil
}

// unlink removes the pieces. Only names that were seen: for an orphan, one that
// was not may be that of a message which has just come.
func (q *Queue) unlink(s *subDirs, m *Message) error {
	digits := string(new(name).set(m.Number).digits())
	orphan := !m.Has(Mess)
	for _, i := range q.removal {
		p := q.places[i].Place
		if !m.Has(p) {
			continue
		}
		if q.before != nil {
			q.before(p, m.Number)
		}
		if orphan {
			var st unix.Stat_t
			switch err := sys.Lstatat(s.fd[Mess], digits, &st); err {
			case unix.ENOENT:
			case nil:
				return pathError("unlink", q.path(p, m.Number), ErrChanged)
			default:
				return pathError("stat", q.path(Mess, m.Number), err)
			}
		}
		if err := sys.Unlinkat(s.fd[i], digits); err != nil && err != unix.ENOENT {
			return pathError("unlink", q.path(p, m.Number), err)
		}
	}
	return nil
}

// MarkDone does away with a message while qmail-send runs: it marks every
// recipient done, as qmail-send does after a delivery, and removes the failures
// so far, so that no bounce is sent. qmail-send removes the message when it
// looks at it the next time, which is at its next retry or after an ALRM. A
// delivery under way cannot be stopped.
//
// Only for S5, ErrNotLive otherwise. The channels are opened first: if the
// message is still the same after that, the marks hit its own files, whatever
// happens to the names. Where a channel is malformed nothing is written.
func (q *Queue) MarkDone(m *Message) error {
	s, err := q.pinMarkable(m)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	var channels []openChannel
	defer func() {
		for _, c := range channels {
			closeFD(c.fd)
		}
	}()
	r := reader{q: q}
	for i, p := range q.places {
		if !p.channel() || !m.Has(p.Place) {
			continue
		}
		c, err := r.openChannel(s.fd[i], m.Number)
		if err == unix.ENOENT {
			continue // all done
		}
		if err != nil {
			return pathError("open", q.path(p.Place, m.Number), err)
		}
		c.path = q.path(p.Place, m.Number)
		channels = append(channels, c)
	}
	if q.before != nil {
		q.before(Mess, m.Number)
	}
	if err := q.stillLive(s, m); err != nil {
		return err
	}
	for _, c := range channels {
		for _, at := range c.todo {
			if err := pwrite(c.fd, []byte{'D'}, at); err != nil {
				return pathError("write", c.path, err)
			}
		}
	}
	if q.before != nil {
		q.before(Bounce, m.Number)
	}
	// Once more: from here on the message may be finished, and its number's next
	// bounce is another's.
	if err := q.stillLive(s, m); err == ErrVanished || err == ErrChanged || err == ErrCopied {
		return nil
	} else if err != nil {
		return err
	}
	digits := string(new(name).set(m.Number).digits())
	if err := sys.Unlinkat(s.fd[Bounce], digits); err != nil && err != unix.ENOENT {
		return pathError("unlink", q.path(Bounce, m.Number), err)
	}
	return nil
}

// pinMarkable is pin for a message of this queue and of the state in which
// qmail-send's own files may be written to.
func (q *Queue) pinMarkable(m *Message) (*subDirs, error) {
	switch {
	case m.queue != q:
		return nil, ErrChanged
	case m.State() == Orphan:
		return nil, ErrOrphan
	case m.State() != S5:
		return nil, ErrNotLive
	}
	return q.pin(m.Number % q.split)
}

// stillLive tells whether the message is still the one that was read, and in
// the state S5.
func (q *Queue) stillLive(s *subDirs, m *Message) error {
	pieces := make([]unix.Stat_t, len(q.places))
	found, err := q.look(s, m.Number, pieces)
	switch {
	case err != nil:
		return err
	case !found.Has(Mess):
		return ErrVanished
	case pieces[Mess].Ino != m.Number:
		return ErrCopied
	case found.State() != S5:
		return ErrChanged
	}
	return q.sameMessage(s, m, pieces)
}

// An openChannel is open for marking.
type openChannel struct {
	path string
	fd   int
	todo []int64 // where records of recipients to come begin
}

func (r *reader) openChannel(dir int, n uint64) (c openChannel, err error) {
	r.st = unix.Stat_t{}
	c.fd, err = openName(dir, r.name.set(n), unix.O_RDWR|openFile)
	if err != nil {
		return c, err
	}
	if err = sys.Fstat(c.fd, &r.st); err == nil && !isRegular(&r.st) {
		err = ErrNotRegular
	}
	var text []byte
	if err == nil {
		text, err = r.contents(c.fd)
	}
	if err == nil {
		err = records(string(text), func(at int, kind byte, _ string) error {
			switch kind {
			case 'T':
				c.todo = append(c.todo, int64(at))
			case 'D':
			default:
				return errKind(kind)
			}
			return nil
		})
	}
	if err != nil {
		closeFD(c.fd)
	}
	return c, err
}
