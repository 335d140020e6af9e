package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A Damage is something in a queue that qmail does not make.
type Damage struct {
	Path   string // below the queue directory
	Number uint64 // of the message; 0 where it is about none
	Kind   Kind
	Why    string
}

// A Kind says in one word what sort of damage it is.
type Kind string

// The kinds of damage.
const (
	kindLayout    Kind = "layout"    // directories that are missing, too many or of another split
	kindOwner     Kind = "owner"     // of a file or directory
	kindMode      Kind = "mode"      // of a file or directory
	kindType      Kind = "type"      // a link, a FIFO or the like
	kindName      Kind = "name"      // what is no message's
	kindMisplaced Kind = "place"     // a piece in a wrong sub-directory
	kindInode     Kind = "inode"     // a mess file whose inode is not its number
	kindStray     Kind = "orphan"    // a piece without a message
	kindStale     Kind = "stale"     // a piece that an earlier message of that number left
	kindEmpty     Kind = "empty"     // a text of no bytes
	kindMalformed Kind = "malformed" // records that cannot be read
	kindLockFile  Kind = "lock"      // sendmutex, tcpto or trigger
	kindHalf      Kind = "repair"    // a repair that was interrupted
)

// Accounts are those to whom the files of a queue belong (hier.c): the users qmailq,
// qmails and qmailr and the group qmail.
type Accounts struct{ Queue, Send, Remote, Group uint32 }

// Examine looks for damage in the queue in dir and tells each, until that returns an
// error. It only reads, leaves access times alone and takes no lock: what only looks like damage, since qmail is at
// work there, is looked at once more. Without accounts, nil, the directories mess and
// info tell to whom the rest belongs.
//
// A queue whose layout contradicts itself is not looked at message by message: which
// files belong together could not be told. What could not be read goes to failed,
// which may be nil; the error is that nothing could be looked at, or that of each.
func Examine(dir string, accounts *Accounts, each func(Damage) error, failed func(error)) error {
	said := make(map[string]bool)
	told := failed
	failed = func(err error) { // once: a place is looked into more than once
		if told != nil && !said[err.Error()] {
			said[err.Error()] = true
			told(err)
		}
	}
	fd, err := sys.Openat(atCWD, dir, openDirFollow)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer closeFD(fd)
	e := &examination{fd: fd, each: each, failed: failed, misplaced: make(map[uint64]bool)}
	if accounts != nil {
		e.accounts = *accounts
	} else if err := e.guessAccounts(); err != nil {
		return err
	}
	if e.interrupted() {
		return e.ended // half of the numbers are old ones
	}
	e.directory(e.fd, ".", e.accounts.Queue, 0o750)
	e.lockFiles()
	e.pid()
	q, err := Open(dir)
	if err == nil {
		// Of a place that could not be read nothing is known, nor which pieces of a
		// message are missing.
		if denied := q.allReadable(); denied != nil {
			q.Close()
			e.failed(denied)
			e.places(nil)
			return e.ended
		}
	}
	e.places(q)
	if errors.Is(err, ErrLayout) {
		if !e.badLayout {
			e.layout(err)
		}
		return e.ended
	}
	if err != nil {
		return err
	}
	defer q.Close()
	err = q.Scan(func(f Found) bool {
		e.message(q, f)
		return e.ended == nil
	}, func(err error) {
		if !errors.Is(err, ErrPlace) { // that has been told already
			failed(err)
		}
	})
	return cmp.Or(e.ended, err)
}

// An examination is one look at a queue.
type examination struct {
	fd        int
	accounts  Accounts
	each      func(Damage) error
	failed    func(error)
	ended     error // what each returned
	badLayout bool
	misplaced map[uint64]bool // numbers whose mess file is in a wrong sub-directory
}

// say tells of damage, until somebody does not want to hear any more.
func (e *examination) say(d Damage) {
	if e.ended == nil {
		e.ended = e.each(d)
	}
}

// tell tells of damage that is no message's.
func (e *examination) tell(path string, kind Kind, format string, a ...any) {
	e.badLayout = e.badLayout || kind == kindLayout
	e.say(Damage{Path: path, Kind: kind, Why: fmt.Sprintf(format, a...)})
}

// layout tells of what Open found.
func (e *examination) layout(err error) {
	path, why := ".", err
	var pe *fs.PathError
	if errors.As(err, &pe) {
		path, why = pe.Path, pe.Err
	}
	e.tell(path, kindLayout, "%s", strings.TrimPrefix(why.Error(), ErrLayout.Error()+": "))
}

// guessAccounts takes them from the directories that each has for itself.
func (e *examination) guessAccounts() error {
	for name, account := range map[string]*uint32{"mess": &e.accounts.Queue, "info": &e.accounts.Send} {
		var st unix.Stat_t
		switch err := sys.Lstatat(e.fd, name, &st); err {
		case nil:
			*account = st.Uid
			if name == "mess" {
				e.accounts.Group = st.Gid
			}
		case unix.ENOENT: // told as a layout
		default:
			return pathError("stat", name, err)
		}
	}
	// lock/tcpto alone is qmailr's: what that is cannot be guessed.
	var st unix.Stat_t
	if err := sys.Lstatat(e.fd, tcptoPath, &st); err == nil {
		e.accounts.Remote = st.Uid
	}
	return nil
}

// interrupted tells of a repair that was not ended.
func (e *examination) interrupted() bool {
	var st unix.Stat_t
	for _, path := range []string{planName, awayPath} {
		if sys.Lstatat(e.fd, path, &st) == nil {
			e.tell(path, kindHalf, "a repair was interrupted")
			return true
		}
	}
	return false
}

// attributes looks at owner and mode. Groups are looked at for directories alone:
// qmail-queue is setuid and not setgid, so its files have the group of whoever sent the
// mail.
func (e *examination) attributes(path string, st *unix.Stat_t, uid, mode uint32) (found []Damage) {
	if st.Uid != uid {
		found = append(found, Damage{Path: path, Kind: kindOwner, Why: fmt.Sprintf("owned by user %d, not %d", st.Uid, uid)})
	} else if isDir(st) && st.Gid != e.accounts.Group {
		found = append(found, Damage{Path: path, Kind: kindOwner, Why: fmt.Sprintf("owned by group %d, not %d", st.Gid, e.accounts.Group)})
	}
	if is := st.Mode & 0o7777; is != mode {
		found = append(found, Damage{Path: path, Kind: kindMode, Why: fmt.Sprintf("mode %04o, not %04o", is, mode)})
	}
	return found
}

// directory looks at the owner and mode of one of the queue's directories.
func (e *examination) directory(fd int, path string, uid, mode uint32) {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		e.failed(pathError("stat", path, err))
		return
	}
	for _, d := range e.attributes(path, &st, uid, mode) {
		e.say(d)
	}
}

// The files beside sendmutex in lock (hier.c). tcpto has 64 records of 16 bytes; of
// another size it is not used (tcpto.c).
const (
	tcptoPath   = lockDir + "/tcpto"
	triggerPath = lockDir + "/trigger"
	tcptoSize   = 1024
)

// lockFiles looks at what lies in lock. Without sendmutex qmail-send does not start,
// without trigger it hears of new mail only after 25 minutes.
func (e *examination) lockFiles() {
	fd, ok := e.open(lockDir)
	if !ok {
		return
	}
	defer closeFD(fd)
	e.directory(fd, lockDir, e.accounts.Queue, 0o750)
	for _, f := range []struct {
		path      string
		kind      uint32
		what      string
		uid, mode uint32
		size      int64
	}{
		{lockPath, unix.S_IFREG, "a regular file", e.accounts.Send, 0o600, 0},
		{tcptoPath, unix.S_IFREG, "a regular file", e.accounts.Remote, 0o644, tcptoSize},
		{triggerPath, unix.S_IFIFO, "a FIFO", e.accounts.Send, 0o622, 0},
	} {
		var st unix.Stat_t
		switch err := sys.Lstatat(fd, f.path[len(lockDir)+1:], &st); {
		case err == unix.ENOENT:
			e.tell(f.path, kindLockFile, "missing")
			continue
		case err != nil:
			e.failed(pathError("stat", f.path, err))
			continue
		case st.Mode&unix.S_IFMT != f.kind:
			e.tell(f.path, kindLockFile, "not %s", f.what)
			continue
		case f.size != 0 && st.Size != f.size:
			e.tell(f.path, kindLockFile, "%d bytes, not %d", st.Size, f.size)
		}
		for _, d := range e.attributes(f.path, &st, f.uid, f.mode) {
			e.say(d)
		}
	}
}

// open opens a directory of the queue and tells where it is none.
func (e *examination) open(name string) (int, bool) {
	fd, err := openPlace(e.fd, name)
	switch {
	case err == nil:
		return fd, true
	case errors.Is(err, ErrLayout):
		e.layout(err)
	default:
		e.failed(err)
	}
	return -1, false
}

// pid looks at the directory in which qmail-queue makes its files. What it leaves there
// qmail-clean removes after 36 hours.
func (e *examination) pid() {
	fd, ok := e.open(pidDir)
	if !ok {
		return
	}
	defer closeFD(fd)
	e.directory(fd, pidDir, e.accounts.Queue, 0o700)
	err := eachDirent(fd, func(fd int, d sys.Dirent) error {
		var st unix.Stat_t
		if isDot(d.Name) {
			return nil
		}
		switch err := d.Stat(fd, &st); {
		case err == unix.ENOENT:
		case err != nil:
			return err
		case !isRegular(&st):
			e.tell(pidDir+"/"+string(d.Name), kindType, "not a regular file")
		}
		return nil
	})
	if err != nil {
		e.failed(pathError("read", pidDir, err))
	}
}

func isDot(name []byte) bool { return string(name) == "." || string(name) == ".." }

// owner returns to whom a place and its files belong, and with which modes.
func (e *examination) owner(p Place) (uid, dirMode, fileMode uint32) {
	switch p {
	case Mess, Todo:
		return e.accounts.Queue, 0o750, 0o644
	case Intd:
		return e.accounts.Queue, 0o700, 0o644
	}
	return e.accounts.Send, 0o700, 0o600
}

// A listed is a place as its directory shows it.
type listed struct {
	Place
	fd    int
	dirs  []uint64 // sub-directories, sorted
	files []uint64 // messages' files beside them, or all of a flat place
}

// places looks at the directories that hold pieces, and at what else lies in them. q is
// nil where they contradict each other.
func (e *examination) places(q *Queue) {
	suppls, err := findSuppls(e.fd)
	if err != nil {
		e.failed(err)
		return
	}
	var all []*listed
	for _, p := range append([]Place{Mess, Intd, Todo, Info, Bounce, Local, Remote}, suppls...) {
		fd, ok := e.open(p.String())
		if !ok {
			continue
		}
		defer closeFD(fd)
		uid, mode, _ := e.owner(p)
		e.directory(fd, p.String(), uid, mode)
		l := &listed{Place: p, fd: fd}
		if err := e.list(l); err != nil {
			e.failed(inPath("read", p.String(), err))
			continue
		}
		all = append(all, l)
	}
	split := usualSplit(all)
	todoDirs := 0 // of todo and intd
	for _, l := range all {
		if l.Place == Todo || l.Place == Intd {
			todoDirs += len(l.dirs)
		}
	}
	for _, l := range all {
		isSplit := split > 0
		switch {
		case q != nil:
			i := q.index(l.Place)
			isSplit = i >= 0 && q.places[i].split
		case l.Place == Todo || l.Place == Intd: // both, or none
			isSplit = todoDirs > int(split)
		case l.Place == Bounce:
			isSplit = len(l.dirs) > 0
		}
		e.placeDirs(l, split, isSplit)
	}
}

// list reads what a place has at its top.
func (e *examination) list(l *listed) error {
	err := eachDirent(l.fd, func(fd int, d sys.Dirent) error {
		if isDot(d.Name) {
			return nil
		}
		n, ok := number(d.Name)
		is, err := isDirAt(fd, d)
		switch {
		case err != nil:
			return err
		case ok && is:
			l.dirs = append(l.dirs, n)
		case ok && n != 0:
			l.files = append(l.files, n)
		default:
			e.stranger(l.String(), d.Name)
		}
		return nil
	})
	slices.Sort(l.dirs)
	slices.Sort(l.files)
	return err
}

func (e *examination) stranger(dir string, name []byte) {
	e.tell(dir+"/"+string(name), kindName, "not the name of a message's file")
}

// usualSplit is into how many sub-directories most of the places are split that always
// are; 0 where none is.
func usualSplit(all []*listed) uint64 {
	count := make(map[int]int)
	usual := 0
	for _, l := range all {
		if l.Place != Mess && l.Place < Info || l.Place == Bounce {
			continue
		}
		// What a place has beyond a gap is too much.
		n := 0
		for n < len(l.dirs) && l.dirs[n] == uint64(n) {
			n++
		}
		// One that lacks a sub-directory has the last one all the same.
		if last := len(l.dirs); last > n && l.dirs[last-1] <= maxSplit {
			n = int(l.dirs[last-1]) + 1
		}
		count[n]++
		if count[n] > count[usual] || count[n] == count[usual] && n > usual {
			usual = n
		}
	}
	return uint64(usual)
}

// placeDirs looks at the sub-directories of a place and for files that lie in a wrong one.
func (e *examination) placeDirs(l *listed, split uint64, isSplit bool) {
	name := l.String()
	if !isSplit {
		for _, d := range l.dirs {
			e.tell(fmt.Sprintf("%s/%d", name, d), kindLayout, "a directory, and %s has none", name)
		}
		return
	}
	for _, n := range l.files {
		e.tell(fmt.Sprintf("%s/%d", name, n), kindLayout, "beside the sub-directories, not in one")
		if l.Place == Mess {
			e.misplaced[n] = true
		}
	}
	for d := range split {
		if _, ok := slices.BinarySearch(l.dirs, d); !ok {
			e.tell(fmt.Sprintf("%s/%d", name, d), kindLayout, "missing")
		}
	}
	uid, mode, _ := e.owner(l.Place)
	for _, d := range l.dirs {
		path := fmt.Sprintf("%s/%d", name, d)
		if d >= split {
			e.tell(path, kindLayout, "one too many: most places have %d", split)
			continue
		}
		fd, err := sys.Openat(l.fd, strconv.FormatUint(d, 10), sys.OpenDir)
		if err != nil {
			e.failed(pathError("open", path, err))
			continue
		}
		e.directory(fd, path, uid, mode)
		err = eachDirent(fd, func(_ int, de sys.Dirent) error {
			n, ok := number(de.Name)
			switch {
			case isDot(de.Name):
			case !ok || n == 0:
				e.stranger(path, de.Name)
			case n%split != d:
				e.say(Damage{fmt.Sprintf("%s/%d", path, n), n, kindMisplaced, fmt.Sprintf("belongs into %s/%d", name, n%split)})
				if l.Place == Mess {
					e.misplaced[n] = true
				}
			}
			return nil
		})
		if err != nil {
			e.failed(pathError("read", path, err))
		}
		closeFD(fd)
	}
}

// message looks at all pieces of a number. What is found must be found twice: qmail may
// be at work on them.
func (e *examination) message(q *Queue, f Found) {
	first, err := e.pieces(q, f)
	if err != nil {
		e.failed(err)
		return
	}
	if len(first) == 0 {
		return
	}
	f, err = q.Find(f.Number)
	if err == ErrNotFound {
		return
	}
	if err == nil {
		var again []Damage
		if again, err = e.pieces(q, f); err == nil {
			for _, d := range again {
				if slices.Contains(first, d) {
					e.say(d)
				}
			}
			return
		}
	}
	e.failed(err)
}

// pieces looks at the pieces of a number once. What vanishes meanwhile is no damage.
func (e *examination) pieces(q *Queue, f Found) (found []Damage, err error) {
	s, err := q.pin(f.Number % q.split)
	if err != nil {
		return nil, err
	}
	defer q.unpin(s)
	stats := make([]unix.Stat_t, len(q.places))
	if f, err = q.look(s, f.Number, stats); err != nil {
		return nil, err
	}
	add := func(p Place, kind Kind, format string, a ...any) {
		found = append(found, Damage{q.path(p, f.Number), f.Number, kind, fmt.Sprintf(format, a...)})
	}
	for i, p := range q.places {
		if !f.Has(p.Place) {
			continue
		}
		if !isRegular(&stats[i]) {
			add(p.Place, kindType, "not a regular file")
			continue
		}
		uid, _, mode := e.owner(p.Place)
		for _, d := range e.attributes(q.path(p.Place, f.Number), &stats[i], uid, mode) {
			d.Number = f.Number
			found = append(found, d)
		}
	}
	stale := func(why string, places ...Place) {
		for _, p := range places {
			if f.Has(p) {
				add(p, kindStale, "%s", why)
			}
		}
	}
	channels := q.channels()
	if isRegular(&stats[Mess]) && stats[Mess].Ino != f.Number {
		add(Mess, kindInode, "inode %d, not its number", stats[Mess].Ino)
	}
	switch f.State() {
	case Orphan:
		if e.misplaced[f.Number] {
			break // its text is there
		}
		for _, p := range q.places {
			if f.Has(p.Place) {
				add(p.Place, kindStray, "no %s", q.path(Mess, f.Number))
			}
		}
		return found, nil
	case S2:
		stale("the message has no sender yet", append(channels, Bounce)...)
	case S3:
		stale("the message is only half received", append(channels, Info, Bounce)...)
	case S4:
		stale("the message is not preprocessed yet", Bounce)
		if later(stats[Mess].Mtim, stats[Todo].Ctim) {
			add(Todo, kindStale, "the text is newer")
		}
	case S5:
		if later(stats[Mess].Mtim, stats[Info].Ctim) {
			add(Info, kindStale, "the text is newer")
		}
	}
	if f.State().Committed() && isRegular(&stats[Mess]) && stats[Mess].Size == 0 {
		add(Mess, kindEmpty, "not even the field Received of qmail-queue")
	}
	records, err := e.records(q, s, f)
	return append(found, records...), err
}

// channels returns the places of recipients.
func (q *Queue) channels() (all []Place) {
	for _, p := range q.places {
		if p.channel() {
			all = append(all, p.Place)
		}
	}
	return all
}

// records looks at the envelope: at todo, or at info and the channels. What lies beside
// todo qmail-send makes anew.
func (e *examination) records(q *Queue, s *subDirs, f Found) (found []Damage, err error) {
	m, err := (&reader{q: q}).message(s, f, parts{})
	if errors.Is(err, ErrVanished) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, problem := range m.Problems {
		var pe *fs.PathError
		switch {
		case errors.Is(problem, ErrNotRegular): // told already
		case errors.As(problem, &pe) && (errors.Is(problem, ErrMalformed) || errors.Is(problem, ErrTooLarge)):
			why := strings.TrimPrefix(pe.Err.Error(), ErrMalformed.Error()+": ")
			found = append(found, Damage{pe.Path, f.Number, kindMalformed, why})
		default:
			e.failed(problem)
		}
	}
	return found, nil
}
