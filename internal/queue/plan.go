package queue

import (
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Pieces returns the paths of a message's files, relative to the queue
// directory, in the order in which Remove takes them.
func (q *Queue) Pieces(f Found) []string {
	var paths []string
	for _, i := range q.removal {
		if p := q.places[i].Place; f.Has(p) {
			paths = append(paths, q.path(p, f.Number))
		}
	}
	return paths
}

// MayRemove says what Lock.Remove would, before it touches anything, if the
// message were to be removed now. It needs no lock.
func (q *Queue) MayRemove(m *Message, now time.Time, orphans bool) error {
	if m.queue != q {
		return ErrChanged
	}
	s, err := q.pin(m.Number % q.split)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	return q.mayRemove(s, m, now, orphans)
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

// Split returns into how many sub-directories the queue is split.
func (q *Queue) Split() uint64 { return q.split }

// HasRemote tells whether the message has a channel other than local: remote,
// or one of a patched qmail's.
func (f Found) HasRemote() bool { return f.places>>Remote != 0 }
