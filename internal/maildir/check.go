package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
	"kowaza/internal/way"
)

// A Box is a Maildir that is open for its quota's sake.
type Box struct {
	fd  int
	uid uint32 // its owner
}

// OpenBox opens a Maildir with the rights that the process has, through links, too: it
// is for who delivers into his own. The error is an *fs.PathError.
func OpenBox(path string) (*Box, error) {
	fd, err := sys.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return newBox(fd, path)
}

func newBox(fd int, path string) (*Box, error) {
	var st unix.Stat_t
	err := isMaildir(fd)
	if err == nil {
		err = sys.Fstat(fd, &st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Box{fd, st.Uid}, nil
}

// ownersPatience is how long a file system of a user's own may take in InOwnersName.
const ownersPatience = 5 * time.Minute

// InOwnersName opens a directory, by the rule of package way, and calls f with it in its
// owner's name where the process is root, on a thread of its own. With a Maildir wanted
// one that is none is an error. f may still run when ErrNoAnswer comes back.
func InOwnersName(path string, wanted bool, f func(*Box) error) error {
	select {
	case err := <-GoInOwnersName(path, wanted, f):
		return err
	case <-time.After(ownersPatience):
		return &fs.PathError{Op: "open", Path: path, Err: ErrNoAnswer}
	}
}

// GoInOwnersName is InOwnersName for who has a deadline of his own: it returns at once,
// and the error comes when f has returned, or could not be called.
func GoInOwnersName(path string, wanted bool, f func(*Box) error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine
		done <- inOwnersName(path, wanted, f)
	}()
	return done
}

func inOwnersName(path string, wanted bool, f func(*Box) error) error {
	id, err := newIdentity()
	if err != nil {
		return err
	}
	var c way.Cache
	defer c.Close()
	loc, err := c.Locate(path)
	if err != nil {
		return err
	}
	defer unix.Close(loc.FD)
	if err := id.become(loc.UID, loc.GID); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	fd, err := sys.Openat(loc.FD, ".", sys.OpenDir)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	b := &Box{fd, loc.UID}
	if wanted {
		if b, err = newBox(fd, path); err != nil {
			return err
		}
	}
	defer b.Close()
	return f(b)
}

// Close closes it, and gives up the lock.
func (b *Box) Close() { unix.Close(b.fd) }

// ErrLocked says that somebody else held the lock all the time.
var ErrLocked = errors.New("locked by another delivery for too long")

// A check takes about a millisecond: that long, and then ever longer, Lock lets pass
// between two tries.
const (
	lockFirst = time.Millisecond
	lockLast  = 25 * time.Millisecond
)

// Lock takes the lock by which checks of one Maildir come one after the other: flock(2)
// on its directory, which no other program takes, and which needs no file. Where the
// file system has no such locks, there is none. It waits that long at most, then the
// error is ErrLocked.
//
// It tries again and again: an flock(2) that waits cannot be given up, and would keep a
// thread and the directory beyond the end of the wait.
func (b *Box) Lock(wait time.Duration) error {
	end := time.Now().Add(wait)
	for pause := lockFirst; ; pause = min(2*pause, lockLast) {
		switch err := unix.Flock(b.fd, unix.LOCK_EX|unix.LOCK_NB); err {
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
		case unix.ENOLCK, unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.EBADF: // EBADF: NFS, which wants it open for writing
			return nil
		default:
			return err
		}
		left := time.Until(end)
		if left <= 0 {
			return ErrLocked
		}
		// Not all in step: who came together would meet again each time.
		time.Sleep(min(left, pause/2+rand.N(pause)))
	}
}

// A Check asks whether a message has room in a Maildir.
type Check struct {
	Quota   Quota
	Buffer  int64 // bytes beyond Quota.Bytes, for small messages alone
	NoTrash bool  // Trash and messages with the flag T do not count
	DryRun  bool  // nothing is written
	Now     func() time.Time
}

// A Room is the answer.
type Room int

// There is room, and the message was booked; there is none; or there is none if what
// is on its way arrives.
const (
	HasRoom Room = iota
	NoRoom
	MayBeFull
)

// An Answer is what a Check has found.
type Answer struct {
	Room    Room
	Usage   Usage // without the message
	Counted bool  // else it is the sum of maildirsize
}

// Fits reports whether a message of that size in bytes fits in with what there is; only
// a small one may use the buffer.
func (c *Check) Fits(u Usage, size int64, small bool) bool {
	q := c.Quota
	if small && q.Bytes > 0 {
		q.Bytes += c.Buffer
	}
	return q.Fits(u.Plus(Usage{size, 1}))
}

// tries is how often a Maildir is counted that changes meanwhile.
const tries = 3

// Ask says whether a message has room that will lie in the Maildir with that size in
// bytes. Only small ones may use the buffer. The lock must be held.
//
// The sum in maildirsize answers as long as the message fits by it, and it is booked
// before it is delivered, since nothing is told afterwards. Mail is refused on figures
// that hold at this moment alone: on those of a file that nothing was added to since
// the Maildir was counted and in which nothing has changed since, else by counting.
func (b *Box) Ask(c *Check, size int64, small bool) (Answer, error) {
	now := c.Now()
	s := readSum(b.fd, b.uid, now)
	if s.usable {
		a := Answer{Usage: s.sum}
		if c.Fits(s.sum, size, small) {
			if c.DryRun || b.book(size, now) == nil {
				return a, nil
			}
			// What cannot be written to must not be relied on any longer.
		} else if s.lines <= 1 && !s.unsure {
			times, err := boxTimes(b.fd, c.NoTrash)
			if err != nil {
				return a, err
			}
			if !slices.ContainsFunc(times, func(t Stamp) bool { return !t.Before(s.mtime) }) {
				a.Room = NoRoom
				return a, nil
			}
		}
	}
	var a Answer
	for range tries {
		n, err := b.count(c, now, runtime.NumCPU())
		if err != nil {
			return a, err
		}
		bookings, underWay := n.settle(s.bookings)
		a = Answer{Usage: n.Usage, Counted: true}
		switch {
		case !c.Fits(n.Usage, size, small):
			a.Room = NoRoom
		case !c.Fits(n.Plus(underWay), size, small):
			a.Room = MayBeFull
		default:
			bookings = append(bookings, booking{size: size, at: now.Unix()})
		}
		changed, err := b.write(c, n, bookings, now)
		if err != nil && !errors.Is(err, errNotKept) {
			return a, err
		}
		if !changed { // the count answers, whether it can be kept or not
			return a, nil
		}
		s = readSum(b.fd, b.uid, now)
	}
	// It changes too fast to be counted.
	switch a.Room {
	case NoRoom:
		a.Room = MayBeFull
	case HasRoom:
		if !c.DryRun {
			b.book(size, now) // where there is a file
		}
	}
	return a, nil
}

func (b *Box) count(c *Check, now time.Time, helpers int) (count, error) {
	return (&counter{noTrash: c.NoTrash, now: now, helpers: helpers}).count(b.fd)
}

func (b *Box) book(size int64, now time.Time) error {
	return addLine(b.fd, b.uid, booking{size: size, at: now.Unix()}.append(nil))
}

// AddMessage books a message that lies in the Maildir and whose name tells its size in
// bytes.
func (b *Box) AddMessage(size int64) error { return addLine(b.fd, b.uid, appendLine(nil, size, 1)) }

// errNotKept is behind the errors of a count that could not be written.
var errNotKept = errors.New("not written")

// write writes what was counted, unless mail has come or gone meanwhile, or nothing
// may be written.
func (b *Box) write(c *Check, n count, bookings []booking, now time.Time) (changed bool, err error) {
	text := append([]byte(c.Quota.Definition()), '\n')
	text = appendLine(text, n.Bytes, n.Messages)
	for _, k := range bookings[max(0, len(bookings)-maxBookings):] {
		text = k.append(text)
	}
	name := fmt.Sprintf("tmp/%d.%d.maildirsize", now.Unix(), os.Getpid())
	var failed error
	if !c.DryRun {
		failed = b.makeFile(name, text, false)
	}
	times, err := boxTimes(b.fd, c.NoTrash)
	changed = err == nil && !slices.Equal(times, n.mtimes)
	if c.DryRun {
		return changed, err
	}
	if err == nil && !changed && failed == nil {
		if failed = unix.Renameat(b.fd, name, b.fd, quotaFile); failed == nil {
			return false, nil
		}
	}
	sys.Unlinkat(b.fd, name)
	if err == nil && failed != nil {
		err = fmt.Errorf("%w: %w", errNotKept, failed)
	}
	return changed, err
}

// makeFile makes a file in the Maildir, with what it holds on disk where sync is set.
// What it could not make it removes.
func (b *Box) makeFile(name string, text []byte, sync bool) error {
	fd, err := sys.OpenatMode(b.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(text)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		sys.Unlinkat(b.fd, name)
	}
	return err
}

// Count counts the Maildir by looking.
func (b *Box) Count(c *Check) (Usage, error) {
	n, err := b.count(c, c.Now(), 0)
	return n.Usage, err
}

// Booked returns the sum in maildirsize; false where there is none that can be used.
func (b *Box) Booked(now time.Time) (Usage, bool) {
	s := readSum(b.fd, b.uid, now)
	return s.sum, s.usable
}

// ErrChanging says that a Maildir changed each time while it was counted.
var ErrChanging = errors.New("changes too fast to be counted")

// Recount counts the Maildir and writes its maildirsize anew. The lock must be held.
func (b *Box) Recount(c *Check) (Usage, error) {
	for range tries {
		now := c.Now()
		n, err := b.count(c, now, 0)
		if err != nil {
			return Usage{}, err
		}
		s := readSum(b.fd, b.uid, now)
		bookings, _ := n.settle(s.bookings)
		changed, err := b.write(c, n, bookings, now)
		if err != nil || !changed {
			return n.Usage, err
		}
	}
	return Usage{}, ErrChanging
}

// warnedFile is where Courier and vpopmail, too, note when they last warned.
const warnedFile = "quotawarn"

// Warned returns when somebody was last warned that the Maildir is nearly full; false if
// nobody was since there was less in it.
func (b *Box) Warned() (time.Time, bool, error) {
	var st unix.Stat_t
	switch err := sys.Lstatat(b.fd, warnedFile, &st); err {
	case nil:
		return time.Unix(st.Mtim.Unix()), true, nil
	case unix.ENOENT:
		return time.Time{}, false, nil
	default:
		return time.Time{}, false, err
	}
}

// NoteWarned notes that it was done now; Unwarned that there is less in it again.
func (b *Box) NoteWarned(now time.Time) error {
	fd, err := sys.OpenatMode(b.fd, warnedFile, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.Futimens(fd, now)
}

// Unwarned removes the note of NoteWarned.
func (b *Box) Unwarned() error {
	if err := sys.Unlinkat(b.fd, warnedFile); err != unix.ENOENT {
		return err
	}
	return nil
}

// Deliver puts a message into new (maildir(5)), on disk before it is seen, and returns
// its size in bytes. host is that of the system.
func (b *Box) Deliver(text []byte, host string, now time.Time) (size int64, err error) {
	name := fmt.Sprintf("%d.M%dP%d.%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), host)
	if err := b.makeFile("tmp/"+name, text, true); err != nil {
		return 0, err
	}
	defer sys.Unlinkat(b.fd, "tmp/"+name)
	seen := "new/" + name + ",S=" + strconv.Itoa(len(text))
	return int64(len(text)), unix.Linkat(b.fd, "tmp/"+name, b.fd, seen, 0)
}
