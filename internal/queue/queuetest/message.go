package queuetest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Message is what Add puts into a queue. The states are those of qmail's
// INTERNALS: S2 has mess, S3 intd too, S4 todo too and so is queued, and S5 is
// preprocessed: it has mess and info, and its recipients by channel.
type Message struct {
	State  string     // "S2", "S3", "S4" or "S5"; empty is S5
	Sender string     // of the envelope
	Local  []string   // recipients, each behind its mark: "Ttaro@test.local", or "D" for done
	Remote []string   // in S4, as in todo, everybody is still to be done
	Suppl  [][]string // the recipients in suppl0 and so on
	Body   string     // header and body; qmail-queue's own Received line goes before it
	Bounce string     // what stands in bounce, S5 only; empty is no such file
	Birth  time.Time  // mtime of info (S5), or of todo (S4); zero is now
}

// sequence tells messages apart that one process makes in one second, as
// qmail-queue's own counter does.
var sequence atomic.Uint64

// Add puts a message into the queue and returns its number. A file system may
// give the number of a removed message again, and at once.
func (q *Queue) Add(m Message) (number uint64, err error) {
	birth := m.Birth
	if birth.IsZero() {
		birth = time.Now()
	}
	if err := q.check(m); err != nil {
		return 0, err
	}
	n, err := q.receive(m, birth)
	if err != nil || m.State == "S2" {
		return n, err
	}
	done := m.State == "" || m.State == "S5"
	if !done || !q.Direct {
		if err := q.commit(m, n, birth); err != nil || !done {
			return n, err
		}
	}
	if err := q.preprocess(m, n, birth); err != nil {
		return n, err
	}
	if !q.Direct {
		if err := q.clean(n); err != nil {
			return n, err
		}
	}
	if m.Bounce == "" {
		return n, nil
	}
	return n, create(q.Path("bounce", n), processed, []byte(m.Bounce))
}

// check refuses what no queue could hold: a test would prove nothing with it.
func (q *Queue) check(m Message) error {
	switch m.State {
	case "", "S5":
	case "S2", "S3", "S4":
		if m.Bounce != "" {
			return fmt.Errorf("a bounce in %s", m.State)
		}
	default:
		return fmt.Errorf("unknown state %q", m.State)
	}
	if len(m.Suppl) > q.Layout.Suppl {
		return fmt.Errorf("recipients for %d suppl channels, and there are %d", len(m.Suppl), q.Layout.Suppl)
	}
	for _, records := range m.recipients() {
		for _, r := range records {
			if r == "" {
				return errors.New("a recipient without its mark")
			}
		}
	}
	return nil
}

// recipients returns the recipients by channel.
func (m Message) recipients() [][]string {
	return append([][]string{m.Local, m.Remote}, m.Suppl...)
}

// receive makes the message's file in pid, whose inode is the number, and moves
// it to mess before anything is written.
func (q *Queue) receive(m Message, birth time.Time) (uint64, error) {
	name := fmt.Sprintf("%d.%d.%d", os.Getpid(), birth.Unix(), sequence.Add(1))
	path := filepath.Join(q.Dir, "pid", name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, received)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, errors.Join(&fs.PathError{Op: "fstat", Path: path, Err: err}, f.Close())
	}
	n := uint64(st.Ino)
	if err := os.Link(path, q.Path("mess", n)); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	if err := os.Remove(path); err != nil {
		return n, errors.Join(err, f.Close())
	}
	line := fmt.Sprintf("Received: (qmail %d invoked by uid %d); %s -0000\n",
		os.Getpid(), os.Getuid(), birth.UTC().Format("2 Jan 2006 15:04:05"))
	return n, finish(f, received, []byte(line+m.Body))
}

// envelope returns what stands in intd and todo. Nobody is done yet there.
func (q *Queue) envelope(m Message) []byte {
	b := fmt.Appendf(nil, "u%d\x00p%d\x00F%s\x00", os.Getuid(), os.Getpid(), m.Sender)
	for _, records := range m.recipients() {
		for _, r := range records {
			b = fmt.Appendf(b, "T%s\x00", r[1:])
		}
	}
	return b
}

// commit writes the envelope; in state S3 it comes no further than intd. The
// link in todo is what makes a message queued, and the last that happens to it:
// from then on its files belong to qmail-send, and to whoever holds its lock.
func (q *Queue) commit(m Message, n uint64, birth time.Time) error {
	intd := q.Path("intd", n)
	if err := create(intd, received, q.envelope(m)); err != nil || m.State == "S3" {
		return err
	}
	if err := touch(intd, birth); err != nil { // todo is the same file
		return err
	}
	if err := os.Link(intd, q.Path("todo", n)); err != nil {
		return err
	}
	return q.pull()
}

// pull writes a byte to lock/trigger, if anybody reads there: that is how
// qmail-send hears of new mail.
func (q *Queue) pull() error {
	path := filepath.Join(q.Dir, "lock/trigger")
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENXIO {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	// A full pipe is pulled already, and a reader may have gone.
	if _, err = unix.Write(fd, []byte{0}); err == unix.EAGAIN || err == unix.EPIPE {
		err = nil
	}
	if err != nil {
		err = &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// preprocess makes what qmail-send makes of todo.
func (q *Queue) preprocess(m Message, n uint64, birth time.Time) error {
	info := q.Path("info", n)
	if err := create(info, processed, []byte("F"+m.Sender+"\x00")); err != nil {
		return err
	}
	if err := touch(info, birth); err != nil {
		return err
	}
	channels := q.channels()
	for i, records := range m.recipients() {
		if len(records) == 0 {
			continue
		}
		var b []byte
		for _, r := range records {
			b = fmt.Appendf(b, "%s\x00", r)
		}
		if err := create(q.Path(channels[i], n), processed, b); err != nil {
			return err
		}
	}
	return nil
}

// clean takes todo away as qmail-clean does: intd first.
func (q *Queue) clean(n uint64) error {
	if err := os.Remove(q.Path("intd", n)); err != nil {
		return err
	}
	return os.Remove(q.Path("todo", n))
}

// touch sets a file's times. qmail-send takes the mtime of todo over to info.
func touch(path string, at time.Time) error {
	return os.Chtimes(path, at, at)
}

// Age sets atime and mtime of all of message n's files back. Nothing can set
// ctime but a clock that is wrong, or waiting: what must be old by all three is
// young for ever here.
func (q *Queue) Age(n uint64, by time.Duration) error {
	seen := make(map[uint64]bool) // todo is a second name of intd
	for _, place := range append([]string{"mess", "intd", "todo", "info", "bounce"}, q.channels()...) {
		path := q.Path(place, n)
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err == unix.ENOENT || err == nil && seen[uint64(st.Ino)] {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		seen[uint64(st.Ino)] = true
		atime, mtime := time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
		if err := os.Chtimes(path, atime.Add(-by), mtime.Add(-by)); err != nil {
			return err
		}
	}
	return nil
}
