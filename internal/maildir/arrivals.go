package maildir

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Arrivals tell which messages come into the INBOX of a Maildir. All methods but
// Interrupt are for the thread that has its owner's identity.
//
// Nothing is renamed or marked there. What lay there before is not opened: a name is
// known again by its unique part when a client moves it from new to cur or changes its
// flags.
type Arrivals struct {
	box  *Box // that has the quota
	fd   int  // of the INBOX
	dirs [2]arrivalDir
	seed maphash.Seed
	old  []uint64            // of the names that were there, in order
	seen map[uint64]struct{} // of those that were looked at since

	notify int  // inotify(7); -1: there is none
	tried  bool // to have one
	wake   int  // eventfd(2), for Interrupt
	looked time.Time
}

// An arrivalDir is new or cur.
type arrivalDir struct {
	name    string
	id      fileID
	told    bool // its changes are, by inotify
	mtime   Stamp
	changed time.Time // when the mtime was first seen
	read    time.Time // when its names were
}

// A fileID tells a file from every other that is there at the same time.
type fileID struct{ dev, ino uint64 }

// maxArrivals bounds the names that are remembered, 8 bytes each: whoever can fill his
// Maildir must not take the memory of who looks into it.
const maxArrivals = 4_000_000

var errArrivals = fmt.Errorf("more than %d messages: what comes there cannot be told", maxArrivals)

// ErrExchanged says that a file was not removed since it is not the one that was read.
var ErrExchanged = errors.New("is another file than the one that was read: not removed")

// Arrivals notes what is in the INBOX by now, which is a directory of that name in the
// Maildir (INBOX in kowaza.conf(5)), or the Maildir itself where inbox is empty. The error is a
// *NotMaildirError where it is none.
func (b *Box) Arrivals(inbox string) (*Arrivals, error) {
	fd, err := sys.Openat(b.fd, ".", sys.OpenDir)
	for name := range strings.SplitSeq(inbox, "/") {
		if name == "" || err != nil {
			break
		}
		above := fd
		fd, err = sys.Openat(above, name, sys.OpenDir)
		unix.Close(above)
		if err == unix.ENOENT {
			err = &NotMaildirError{[]string{inbox}}
		}
	}
	if err != nil {
		return nil, err
	}
	a := &Arrivals{box: b, fd: fd, notify: -1, seed: maphash.MakeSeed(), seen: make(map[uint64]struct{}),
		dirs: [2]arrivalDir{{name: "new"}, {name: "cur"}}}
	a.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = isMaildir(fd)
	}
	if err == nil {
		err = a.begin()
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Close gives back what is open; the Box stays.
func (a *Arrivals) Close() {
	for _, fd := range []int{a.fd, a.notify, a.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// begin notes all names.
func (a *Arrivals) begin() error {
	for i := range a.dirs {
		fd, _, err := a.open(&a.dirs[i])
		if err != nil {
			return err
		}
		err = a.each(fd, func(d sys.Dirent) error {
			if len(a.old) == maxArrivals {
				return errArrivals
			}
			a.old = append(a.old, a.hash(d.Name))
			return nil
		})
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	slices.Sort(a.old)
	a.looked = time.Now()
	return nil
}

// each calls f with what may be a message in the directory that is open as fd.
func (a *Arrivals) each(fd int, f func(sys.Dirent) error) error {
	names := 0
	return sys.EachDirent(fd, func(d sys.Dirent) error {
		if names++; names > maxNames {
			return errNames
		}
		if d.Name[0] == '.' || d.Kind != unix.DT_REG && d.Kind != unix.DT_UNKNOWN {
			return nil
		}
		return f(d)
	})
}

func (a *Arrivals) hash(name []byte) uint64 { return maphash.Bytes(a.seed, parseName(name).unique) }

// known reports whether a name was there before, or was looked at since.
func (a *Arrivals) known(h uint64) bool {
	if _, ok := a.seen[h]; ok {
		return true
	}
	_, ok := slices.BinarySearch(a.old, h)
	return ok
}

// settled is how long the mtime of a directory must have stayed as it is until its names
// are taken to have stayed, too: some file systems know whole seconds only. They are read
// every believed all the same: what a file server's client tells may be old.
const (
	settled  = 2 * time.Second
	believed = 5 * time.Second
)

// open opens one of the directories, and has its changes told. quiet: it is as it was
// when it was read last.
func (a *Arrivals) open(d *arrivalDir) (fd int, quiet bool, err error) {
	fd, err = sys.Openat(a.fd, d.name, sys.OpenDir)
	if err != nil {
		return -1, false, err
	}
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	now, at := time.Now(), mtime(&st)
	id := fileID{uint64(st.Dev), st.Ino}
	if a.notify >= 0 && (!d.told || id != d.id) {
		// By the descriptor: a path could lead elsewhere by now.
		unix.InotifyAddWatch(a.notify, "/proc/self/fd/"+strconv.Itoa(fd), unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_ONLYDIR)
		d.told = true
	}
	if id != d.id {
		d.id, d.mtime, d.changed, d.read = id, at, now, now
		return fd, false, nil
	}
	if d.mtime != at {
		d.mtime, d.changed = at, now
	}
	if now.Sub(d.changed) > settled && now.Sub(d.read) < believed {
		return fd, true, nil
	}
	d.read = now
	return fd, false, nil
}

// pause is how long Wait lets pass unless it is interrupted: a busy Maildir would else be
// read without end. Who waits no longer than patience each time has no need of inotify,
// of which the kernel takes some 20 ms to end.
const (
	pause    = 10 * time.Millisecond
	patience = 40 * time.Millisecond
)

// Wait waits until something may have come, or Interrupt is called, but at most so long
// since the last Look.
func (a *Arrivals) Wait(most time.Duration) {
	if most > patience && !a.tried {
		a.tried = true
		if n, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
			a.notify = n // else it is looked often all the same
			return       // what came before it was told of must be looked at first
		}
	}
	if !a.poll(a.looked.Add(min(pause, most)), a.wake) {
		a.poll(a.looked.Add(most), a.wake, a.notify)
	}
}

// poll waits until one of the descriptors is ready, but not beyond end, takes what was to
// be read there, and reports whether one was.
func (a *Arrivals) poll(end time.Time, fds ...int) bool {
	polled := make([]unix.PollFd, len(fds))
	for i, fd := range fds { // one of -1 is passed over: poll(2)
		polled[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, _ := unix.Poll(polled, int((max(time.Until(end), 0) + time.Millisecond - 1).Milliseconds()))
	buf := make([]byte, 4096)
	for _, p := range polled {
		for p.Revents != 0 {
			if n, err := unix.Read(int(p.Fd), buf); n <= 0 && err != unix.EINTR {
				break
			}
		}
	}
	return n > 0
}

// Interrupt ends the Wait at hand, or the next one. Any goroutine may call it until Close.
func (a *Arrivals) Interrupt() {
	one := [8]byte{1}
	unix.Write(a.wake, one[:])
}

// ErrAway says that new or cur of a Maildir is not there at the moment, or is no
// directory: the next look may see it again.
var ErrAway = errors.New("is away")

// Look calls f with each message that has come since, until f returns false. new is read
// before cur, or what is moved meanwhile would not be seen. The error is ErrAway, or one
// after which there is nothing more to be seen.
func (a *Arrivals) Look(f func(*Arrival) bool) error {
	a.looked = time.Now()
	stop := errors.New("stop")
	var away error
	for i := range a.dirs {
		dir := &a.dirs[i]
		fd, quiet, err := a.open(dir)
		if vanished(err) {
			away = fmt.Errorf("%s: %w", dir.name, ErrAway)
			continue
		}
		if err != nil {
			return err
		}
		if !quiet {
			err = a.each(fd, func(d sys.Dirent) error {
				h := a.hash(d.Name)
				if a.known(h) {
					return nil
				}
				if len(a.old)+len(a.seen) >= maxArrivals {
					return errArrivals
				}
				m := Arrival{a: a, dir: fd, Path: dir.name + "/" + string(d.Name), name: string(d.Name)}
				more := f(&m)
				if !m.gone { // else it may come by under another name
					a.seen[h] = struct{}{}
				}
				if !more {
					return stop
				}
				return nil
			})
		}
		unix.Close(fd)
		if err == stop {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return away
}

// An Arrival is a message that has come. It is good until the func that is called with it
// returns.
type Arrival struct {
	Path string // below the INBOX

	a    *Arrivals
	dir  int
	name string
	file fileID // that Text has read
	size int64
	gone bool
}

// Text reads the message, at most so many bytes. ok: there is one; else it is gone by
// now, or is no regular file.
func (m *Arrival) Text(most int) (text []byte, ok bool, err error) {
	fd, err := sys.Openat(m.dir, m.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if vanished(err) {
		m.gone = err == unix.ENOENT
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return nil, false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, false, nil
	}
	m.file, m.size = fileID{uint64(st.Dev), st.Ino}, inodeSize(st.Size)
	text, err = readFrom(fd, 0, most)
	return text, err == nil, err
}

// Remove removes the very file that Text has read, and no other that has its name by now,
// and books it as a Pool does. A client may have moved it meanwhile: then it goes under
// its new name. That it is gone altogether is no error. Between the last look at the file
// and its removal the kernel knows no step that would be one: who exchanges files just
// then, with the owner's rights, removes his own.
func (m *Arrival) Remove(trash TrashQuota) error {
	dir, name, in := m.dir, m.name, contentOf(m.Path[:len("new")])
	defer func() {
		if dir != m.dir && dir >= 0 {
			unix.Close(dir)
		}
	}()
	var exchanged error
	for range 3 {
		var st unix.Stat_t
		err := sys.Lstatat(dir, name, &st)
		if err == nil && !m.is(&st) {
			exchanged, err = ErrExchanged, unix.ENOENT
		}
		if err == nil {
			if err = sys.Unlinkat(dir, name); err == nil {
				return m.book(in, []byte(name), trash)
			}
		}
		if !vanished(err) {
			return err
		}
		if dir != m.dir {
			unix.Close(dir)
		}
		if dir, name, in, err = m.find(); err != nil || dir < 0 {
			return errors.Join(err, exchanged)
		}
	}
	return exchanged
}

func (m *Arrival) is(st *unix.Stat_t) bool {
	return m.file == fileID{uint64(st.Dev), st.Ino} && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// find looks for the file under another name with the same unique part, and returns the
// directory that has it, open; -1: none has.
func (m *Arrival) find() (dir int, name string, in content, err error) {
	unique := string(parseName([]byte(m.name)).unique)
	for _, d := range m.a.dirs {
		fd, err := sys.Openat(m.a.fd, d.name, sys.OpenDir)
		if err != nil {
			return -1, "", neither, err
		}
		err = m.a.each(fd, func(d sys.Dirent) error {
			var st unix.Stat_t
			if string(parseName(d.Name).unique) == unique && d.Stat(fd, &st) == nil && m.is(&st) {
				name = string(d.Name)
			}
			return nil
		})
		if err == nil && name != "" {
			return fd, name, contentOf(d.name), nil
		}
		unix.Close(fd)
		if err != nil {
			return -1, "", neither, err
		}
	}
	return -1, "", neither, nil
}

// book takes the message off the Maildir's quota.
func (m *Arrival) book(in content, name []byte, trash TrashQuota) error {
	size, ok := nameSize(name)
	if !ok {
		size = m.size
	}
	if !counted(in, name) {
		return nil
	}
	t := tally{quota: Stats{Removed: 1, Bytes: size}}
	if thrownAway(name) {
		t.trash = t.quota
	}
	return subtract(m.a.box.fd, m.a.box.uid, t, trash)
}
