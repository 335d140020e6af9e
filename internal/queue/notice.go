package queue

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// The errors of what ends a message's deliveries, or changes when they begin.
var (
	ErrNoneLeft = errors.New("every recipient is done")
	ErrHalf     = errors.New("half received")
)

// Original returns the address by which a local recipient came in: qmail-send puts the
// prefix of control/virtualdomains before it (qmail-send.c, rewrite). Any other comes
// back as it is.
func (v VirtualDomains) Original(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	for i := 1; i < at; i++ {
		if address[i] == '-' && v.Prefix(address[i+1:]) == address[:i] {
			return address[i+1:]
		}
	}
	return address
}

// original is the address by which a recipient came in.
func (v VirtualDomains) original(r Recipient) string {
	if r.Channel != Local.String() {
		return r.Address
	}
	return v.Original(r.Address)
}

// note is what qmail-send writes into bounce/N of a recipient that has failed for good
// (qmail-send.c, addbounce): an empty line ends it, so there is none within.
func note(address, text string) string {
	body := []byte(strings.Trim(text, "\n") + "\n")
	for i := len(body) - 1; i > 0; i-- {
		if body[i] == '\n' && body[i-1] == '\n' {
			body[i] = '/'
		}
	}
	return "<" + strings.ReplaceAll(address, "\n", "_") + ">:\n" + string(body) + "\n"
}

// MayEnd says what Lock.Bounce, and Holding.Hold, would before they touch anything. It
// needs no lock.
func (q *Queue) MayEnd(m *Message) error {
	return q.pinned(m, func(s *subDirs) error { return q.mayEnd(s, m) })
}

func (q *Queue) mayEnd(s *subDirs, m *Message) error {
	switch {
	case m.State() == Orphan:
		return ErrOrphan
	case !m.State().Committed():
		return ErrHalf
	case len(m.Problems) > 0:
		return m.Problems[0] // somebody may stand there who could not be read
	}
	// What is half received for any reason is so for ever at that time.
	if err := q.mayRemove(s, m, time.Time{}, false); err != nil {
		return err
	}
	for _, r := range m.Recipients {
		if !r.Done {
			return nil
		}
	}
	return ErrNoneLeft
}

// begin is what Bounce, Due and Hold do first: it sees that the message is still the one
// that was read and may be ended. end gives back what it took, l.mu, too.
func (l *Lock) begin(m *Message) (s *subDirs, end func(), err error) {
	l.mu.Lock()
	defer func() {
		if err != nil {
			l.mu.Unlock()
		}
	}()
	switch {
	case l.fd < 0:
		return nil, nil, ErrUnlocked
	case m.queue != l.q:
		return nil, nil, ErrChanged
	case !l.checked && !l.checkedFor[m.Number]:
		if err := l.check(); err != nil {
			return nil, nil, err
		}
	}
	if s, err = l.q.pin(m.Number % l.q.split); err != nil {
		return nil, nil, err
	}
	runtime.LockOSThread()
	release := func() {
		runtime.UnlockOSThread()
		l.q.unpin(s)
	}
	if err := l.q.mayEnd(s, m); err != nil {
		release()
		return nil, nil, err
	}
	return s, func() {
		release()
		l.mu.Unlock()
	}, nil
}

// Bounce ends a message by a permanent failure with that text for every recipient who is
// still to come, as qmail-send does: it sends the notice, together with those of earlier
// failures, as soon as it runs again, to the sender; that of a bounce to the postmaster,
// and that of a double bounce, from #@[], to nobody (qmail-send.c, injectbounce).
//
// The failures are on the disk before the first recipient is marked done. So a crash in
// between leaves recipients who are tried again, and whose failure is told all the same,
// or twice by the next run; never one who is neither tried nor told.
//
// Of a message that is not preprocessed, S4, the sender's file is made as qmail-send
// makes it, and no channel: what is left to be done with it is the notice. It becomes so
// when todo goes, as in preprocessing.
//
// The errors are those of Remove before anything is touched, ErrHalf, ErrNoneLeft, the
// first of m.Problems, and an *fs.PathError for what failed later. All is done in one
// thread, so that a test may kill it at any system call.
func (l *Lock) Bounce(m *Message, text string, v VirtualDomains) error {
	s, end, err := l.begin(m)
	if err != nil {
		return err
	}
	defer end()
	q := l.q
	if m.State() == S4 {
		return q.bounceUnread(s, m, text, v)
	}
	channels, err := q.openChannels(s, m)
	defer closeChannels(channels)
	if err != nil {
		return err
	}
	var info unix.Stat_t
	if err := sys.Lstatat(s.fd[q.index(Info)], m.digits(), &info); err != nil {
		return pathError("stat", q.path(Info, m.Number), err)
	}
	if err := q.addNotes(s, m, m.notes(text, v), &info); err != nil {
		return err
	}
	return settle(channels)
}

// settle marks all recipients done, and has qmail-send look at that as soon as it starts.
func settle(channels []openChannel) error {
	if err := markAll(channels); err != nil {
		return err
	}
	for _, c := range channels {
		if err := makeDue(c.fd, time.Now()); err != nil {
			return pathError("utimes", c.path, err)
		}
	}
	return nil
}

// digits is the name of the message's files.
func (m *Message) digits() string { return strconv.FormatUint(m.Number, 10) }

// notes are the failures of those who are not done.
func (m *Message) notes(text string, v VirtualDomains) []byte {
	var b []byte
	for _, r := range m.Recipients {
		if !r.Done {
			b = append(b, note(v.original(r), text)...)
		}
	}
	return b
}

// makeDue sets the mtime of a channel, which is when qmail-send tries it next after its
// start (qmail-send.c, pqadd), to now unless it is earlier.
func makeDue(fd int, now time.Time) error {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	if !timeOf(st.Mtim).After(now) {
		return nil
	}
	return sys.Futimens(fd, now)
}

// Due makes a message one that qmail-send tries as soon as it starts. While it runs it
// has its times in memory, and nothing would come of it. One that is not preprocessed is
// tried then in any case. The errors are those of Bounce.
func (l *Lock) Due(m *Message, now time.Time) error {
	s, end, err := l.begin(m)
	if err != nil {
		return err
	}
	defer end()
	q := l.q
	if m.State() == S4 {
		return nil
	}
	for i, p := range q.places {
		if !p.channel() || !m.Has(p.Place) {
			continue
		}
		fd, err := openName(s.fd[i], new(name).set(m.Number), unix.O_RDONLY|openFile)
		if err == nil {
			err = makeDue(fd, now)
			closeFD(fd)
		}
		if err != nil && err != unix.ENOENT {
			return pathError("utimes", q.path(p.Place, m.Number), err)
		}
	}
	return nil
}

// addNotes adds to bounce/N, and brings it to the disk. Where there is none it comes
// whole or not at all, with the owner of the message's info.
func (q *Queue) addNotes(s *subDirs, m *Message, notes []byte, owner *unix.Stat_t) error {
	path, dir := q.path(Bounce, m.Number), s.fd[q.index(Bounce)]
	if !m.Has(Bounce) {
		if err := placeFile(dir, m.digits(), owner, nil, notes); err != nil {
			return pathError("create", path, err)
		}
		return nil
	}
	fd, err := openName(dir, new(name).set(m.Number), unix.O_WRONLY|unix.O_APPEND|openFile)
	if err != nil {
		return pathError("open", path, err)
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err = sys.Fstat(fd, &st); err == nil && !isRegular(&st) {
		err = ErrNotRegular
	}
	if err == nil {
		err = write(fd, notes)
	}
	if err == nil {
		err = fsync(fd)
	}
	return inPath("write", path, err)
}

// noticeName is behind the name of a file of the queue that is being written.
const noticeName = ".new"

// placeFile makes a file of qmail-send's, 0600, and brings it and its name to the disk.
// It never replaces another.
func placeFile(dir int, name string, owner *unix.Stat_t, mtime *time.Time, text []byte) error {
	temporary := name + noticeName
	if err := sys.Unlinkat(dir, temporary); err != nil && err != unix.ENOENT {
		return err
	}
	fd, err := sys.OpenatMode(dir, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|openFile, 0o600)
	if err != nil {
		return err
	}
	if owner.Uid != uint32(unix.Geteuid()) || owner.Gid != uint32(unix.Getegid()) {
		err = eintr(func() error { return unix.Fchown(fd, int(owner.Uid), int(owner.Gid)) })
	}
	if err == nil { // whatever the umask is
		err = eintr(func() error { return unix.Fchmod(fd, 0o600) })
	}
	if err == nil {
		err = write(fd, text)
	}
	if err == nil && mtime != nil {
		err = sys.Futimens(fd, *mtime)
	}
	if err == nil {
		err = fsync(fd)
	}
	if closeErr := unix.Close(fd); err == nil && closeErr != unix.EINTR {
		err = closeErr
	}
	if err == nil {
		err = renameNoReplace(dir, temporary, dir, name)
	}
	if err != nil {
		sys.Unlinkat(dir, temporary)
		return err
	}
	return fsync(dir)
}

// bounceUnread is Bounce of a message that is not preprocessed.
func (q *Queue) bounceUnread(s *subDirs, m *Message, text string, v VirtualDomains) error {
	name := m.digits()
	// What lies beside todo is left from an earlier start of the preprocessing, or,
	// a bounce, of this. qmail-send removes it, too.
	for _, i := range q.removeOrder {
		p := q.places[i].Place
		if p != Bounce && p != Info && !p.channel() {
			continue
		}
		switch err := sys.Unlinkat(s.fd[i], name); err {
		case unix.ENOENT:
		case nil:
			if err := fsync(s.fd[i]); err != nil {
				return pathError("sync", subPath(q.places[i], s.d), err)
			}
		default:
			return pathError("unlink", q.path(p, m.Number), err)
		}
	}
	var owner unix.Stat_t // the directory's is qmails, as the file's would be
	if err := sys.Fstat(s.fd[q.index(Info)], &owner); err != nil {
		return pathError("stat", q.path(Info, m.Number), err)
	}
	if err := placeFile(s.fd[q.index(Info)], name, &owner, &m.Birth, []byte("F"+m.Sender+"\x00")); err != nil {
		return pathError("create", q.path(Info, m.Number), err)
	}
	if err := placeFile(s.fd[q.index(Bounce)], name, &owner, nil, m.notes(text, v)); err != nil {
		return pathError("create", q.path(Bounce, m.Number), err)
	}
	for _, p := range []Place{Intd, Todo} {
		if err := sys.Unlinkat(s.fd[q.index(p)], name); err != nil && err != unix.ENOENT {
			return pathError("unlink", q.path(p, m.Number), err)
		}
	}
	return nil
}
