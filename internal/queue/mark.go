package queue

import (
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

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
	channels, err := q.openChannels(s, m)
	defer closeChannels(channels)
	if err != nil {
		return err
	}
	if q.before != nil {
		q.before(Mess, m.Number)
	}
	if err := q.stillLive(s, m); err != nil {
		return err
	}
	if err := markAll(channels); err != nil {
		return err
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

// MayMark says what MarkDone would.
func (q *Queue) MayMark(m *Message) error {
	s, err := q.pinMarkable(m)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	return q.stillLive(s, m)
}

// Renew sets the birth of a message, the time from which qmail-send counts how
// long it may stay in the queue, and by which it computes the next retry after
// a delivery has failed (facts: the mtime of info). Only for S5, ErrNotLive
// otherwise; ErrChanged, ErrVanished and ErrCopied as with MarkDone. qmail-send
// may be running.
func (q *Queue) Renew(m *Message, birth time.Time) error {
	s, err := q.pinMarkable(m)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	// What is open stays the message's own, whatever happens to its name.
	fd, err := openName(s.fd[q.index(Info)], new(name).set(m.Number), unix.O_RDONLY|openFile)
	if err == unix.ENOENT {
		return ErrVanished
	}
	if err != nil {
		return pathError("open", q.path(Info, m.Number), err)
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return pathError("stat", q.path(Info, m.Number), err)
	}
	if identityOf(&st) != m.info {
		return ErrChanged
	}
	if err := q.stillLive(s, m); err != nil {
		return err
	}
	ns := unix.NsecToTimeval(birth.UnixNano())
	for {
		switch err := unix.Futimes(fd, []unix.Timeval{ns, ns}); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return pathError("utimes", q.path(Info, m.Number), err)
		}
	}
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
	// Without intd what looks preprocessed may be half received.
	if err := q.allReadable(); err != nil {
		return nil, err
	}
	return q.pin(m.Number % q.split)
}

// stillLive reports whether the message is still the one that was read, and in
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

// openChannels opens the message's channels for marking.
func (q *Queue) openChannels(s *subDirs, m *Message) (all []openChannel, err error) {
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
			return all, pathError("open", q.path(p.Place, m.Number), err)
		}
		c.path = q.path(p.Place, m.Number)
		all = append(all, c)
	}
	return all, nil
}

func closeChannels(all []openChannel) {
	for _, c := range all {
		closeFD(c.fd)
	}
}

// markAll marks all recipients done.
func markAll(channels []openChannel) error {
	for _, c := range channels {
		for _, at := range c.todo {
			if err := pwrite(c.fd, []byte{'D'}, at); err != nil {
				return pathError("write", c.path, err)
			}
		}
	}
	return nil
}
