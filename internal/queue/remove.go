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
// nothing is touched: ErrVanished, ErrChanged, ErrCopied, ErrYoung, ErrNewer, ErrPlace,
// ErrOrphan (pieces without a message go only where orphans is set; where one of them
// is of todo or intd, which qmail-queue makes, ErrYoungPieces). An *fs.PathError
// says at which piece it ended: those before it are gone. Nothing is removed
// unless Check or CheckNumbers, the first of which is called here if neither was
// before, finds the layout in order.
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
	case !l.checked && !l.checkedFor[m.Number]:
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

// MayRemove says what Lock.Remove would, before it touches anything, if the
// message were to be removed now. It needs no lock.
func (q *Queue) MayRemove(m *Message, now time.Time, orphans bool) error {
	return q.pinned(m, func(s *subDirs) error { return q.mayRemove(s, m, now, orphans) })
}

// pinned calls f while the sub-directories of a message of this queue are held open.
func (q *Queue) pinned(m *Message, f func(*subDirs) error) error {
	if m.queue != q {
		return ErrChanged
	}
	s, err := q.pin(m.Number % q.split)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	return f(s)
}

// mayRemove reports whether the message is still what was read and may go.
func (q *Queue) mayRemove(s *subDirs, m *Message, now time.Time, orphans bool) error {
	if err := q.allReadable(); err != nil {
		return err
	}
	if err := q.inPlace(m.Number); err != nil {
		return err
	}
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
	var young error // where some of it is
	switch m.State() {
	case Orphan:
		if !orphans {
			return ErrOrphan
		}
		// Only qmail-send, which is locked out, makes bounce, info and the channels.
		// What it left may go at once, and should: the number's next message would
		// take it for its own.
		if m.Has(Intd) || m.Has(Todo) {
			young = ErrYoungPieces
		}
	case S2, S3:
		young = ErrYoung
	case S4:
		if later(pieces[Mess].Mtim, pieces[Todo].Ctim) {
			young = ErrNewer
		}
	case S5:
		// Its sender and recipients were there before its text: they are an
		// earlier message's, and this one is being received.
		if later(pieces[Mess].Mtim, pieces[Info].Ctim) {
			young = ErrNewer
		}
	}
	if young == nil {
		return nil
	}
	dead := now.Add(-deadAge)
	for i, p := range q.places {
		if !m.Has(p.Place) {
			continue
		}
		for _, t := range []unix.Timespec{pieces[i].Atim, pieces[i].Mtim, pieces[i].Ctim} {
			if !timeOf(t).Before(dead) {
				return young
			}
		}
	}
	return nil
}

func later(a, b unix.Timespec) bool { return timeOf(a).After(timeOf(b)) }

// sameMessage reports whether the pieces are those that were read. qmail never
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
	for _, i := range q.removeOrder {
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
