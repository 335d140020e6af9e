package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A queue that was copied or restored has no inode any more that is a message's number.
// qmail-send would deliver what is in it, but the first message that comes in, and gets
// the inode number that an old message is called by, would be mixed up with it. Repair
// gives each message the number of its inode.
//
// While that goes on nobody may look at the numbers. qmail-send is kept out by the lock;
// but a crash would give that back, and a supervisor starts qmail-send again at once. So
// lock/sendmutex, without which qmail-send does not start (qmail-send.c: it is opened
// without O_CREAT), has another name from before the first rename to after the last.
// Of ours, Open refuses a queue that has a plan.
//
// qmail-queue takes no lock. A new message could disturb the repair, or be disturbed,
// only by its number: that is not one of the new ones, since those inodes are in use;
// and an old one it cannot take as long as the file in mess has that name, which is why
// that goes last of a message. That nobody is injecting is made sure of all the same.
const (
	planName = "kowaza.repair"
	planNew  = planName + ".new" // while it is being written
	awayName = lockName + ".kowaza"
	awayPath = lockDir + "/" + awayName
	pidDir   = "pid"

	// betweenName is behind the old number of a piece that cannot have its new one yet,
	// as two messages have each other's. It makes no message's name.
	betweenName = ".repair"
)

// The errors of a repair.
var (
	ErrInterrupted = errors.New("a repair was interrupted: qqclean --repair ends it")
	ErrInjecting   = errors.New("mail may be coming in")
	ErrTwoNames    = errors.New("two messages have the same text file")
	ErrNotAsPlan   = errors.New("not where the plan has it")
)

// OpenToRepair is Open for a queue whose repair may have been interrupted: its messages
// are not to be looked at by anything but Plan and Lock.Repair.
func OpenToRepair(dir string) (*Queue, error) { return openQueue(dir) }

// Whole is ErrInterrupted where a repair was.
func (q *Queue) Whole() error {
	for _, path := range []string{planName, awayPath} {
		there, err := q.exists(path)
		if err != nil {
			return err
		}
		if there {
			return pathError("open", path, ErrInterrupted)
		}
	}
	return nil
}

// exists reports whether there is something of that name below the queue directory.
func (q *Queue) exists(path string) (bool, error) {
	var st unix.Stat_t
	switch err := sys.Lstatat(q.fd, path, &st); err {
	case nil:
		return true, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, pathError("stat", path, err)
	}
}

// LockToRepair is Lock for a queue whose repair may have been interrupted.
func (q *Queue) LockToRepair(wait time.Duration, stop <-chan struct{}) (*Lock, error) {
	away, err := q.exists(awayPath)
	if err != nil {
		return nil, err
	}
	name := lockName
	if away {
		name = awayName
	}
	return q.lock(name, wait, stop)
}

// Plan returns what Repair would do now: what is left of an interrupted repair's plan
// stands in it, too, since no more can be told without renaming. It needs no lock; what
// it returns may then be out of date at once.
func (q *Queue) Plan() (*Plan, error) {
	away, err := q.exists(awayPath)
	if err != nil {
		return nil, err
	}
	if !away {
		return q.makePlan()
	}
	return q.readPlan()
}

// readPlan reads the plan that was found.
func (q *Queue) readPlan() (*Plan, error) {
	fd, err := sys.Openat(q.fd, planName, unix.O_RDONLY|openFile)
	if err == unix.ENOENT {
		// Somebody took it away. Where a piece was half-way nobody knows then.
		return nil, pathError("open", awayPath, fmt.Errorf("a repair was interrupted, and its plan %s is missing", planName))
	}
	if err != nil {
		return nil, pathError("open", planName, err)
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return nil, pathError("stat", planName, err)
	}
	if !isRegular(&st) || st.Uid != 0 && st.Uid != uint32(unix.Geteuid()) {
		return nil, pathError("open", planName, ErrPlan)
	}
	p, err := readPlan(fdReader(fd), q.layoutLine())
	return p, inPath("read", planName, err)
}

// An fdReader reads from a descriptor.
type fdReader int

func (r fdReader) Read(buf []byte) (int, error) {
	n, err := read(int(r), buf)
	if n == 0 && err == nil && len(buf) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// makePlan looks at every message. One in the wrong sub-directory, and any that cannot
// be read, is an error: what belongs together must be known.
func (q *Queue) makePlan() (*Plan, error) {
	if err := q.allReadable(); err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	p := &Plan{layout: q.layoutLine()}
	names := make(map[uint64]uint64) // by the new number: the name that it has
	var failed error
	keep := func(err error) bool {
		if failed == nil {
			failed = err
		}
		return failed == nil
	}
	err := q.Scan(func(f Found) bool {
		m, err := q.move(f)
		if err != nil {
			return keep(err)
		}
		if other, twice := names[m.New]; twice {
			return keep(pathError("stat", q.path(Mess, f.Number), fmt.Errorf("%w: %s", ErrTwoNames, q.path(Mess, other))))
		}
		names[m.New] = f.Number
		if m.Old != m.New {
			p.Moves = append(p.Moves, m)
		}
		return true
	}, func(err error) { keep(err) })
	if err == nil {
		err = failed
	}
	return p, err
}

// move says where a message belongs. Pieces without a message get the inode number of
// one of their own files: no message's file can have it as long as they are there, so
// that none will ever find them in its place.
func (q *Queue) move(f Found) (Move, error) {
	m := Move{Old: f.Number}
	s, err := q.pin(f.Number % q.split)
	if err != nil {
		return m, err
	}
	defer q.unpin(s)
	stats := make([]unix.Stat_t, len(q.places))
	now, err := q.look(s, f.Number, stats)
	if err == nil && now != f {
		err = pathError("stat", q.path(Mess, f.Number), ErrChanged)
	}
	if err != nil {
		return m, err
	}
	for _, i := range q.removeOrder {
		p := q.places[i].Place
		if !f.Has(p) {
			continue
		}
		if !isRegular(&stats[i]) {
			return m, pathError("stat", q.path(p, f.Number), ErrNotRegular)
		}
		m.pieces = append(m.pieces, planned{p, stats[i].Ino})
	}
	m.New = m.numbering().inode
	if !f.Has(Mess) {
		for _, piece := range m.pieces {
			if piece.inode == m.Old {
				m.New = m.Old // so it has been moved before
			}
		}
	}
	return m, nil
}

// Repair gives every message the number of its inode, and returns how many got another
// one. It ends a repair that was interrupted before it looks for more. After an error
// the queue may be half-way: then Open says so, qmail-send does not start, and the next
// Repair goes on.
//
// ErrInjecting says that a qmail-queue is at work, and that nothing has been done;
// ErrStopped that stop was closed.
//
// All is done in one thread, so that a test may kill it at any system call.
func (l *Lock) Repair(stop <-chan struct{}) (moved int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if l.fd < 0 {
		return 0, ErrUnlocked
	}
	q := l.q
	away, err := q.exists(awayPath)
	if err != nil {
		return 0, err
	}
	if !away {
		// Of what stands in a plan nothing has been renamed yet, or all has.
		if err := q.removePlan(); err != nil {
			return 0, err
		}
	}
	before, err := q.quiet()
	if err != nil {
		return 0, err
	}
	plan, err := q.Plan()
	if err != nil || !away && len(plan.Moves) == 0 {
		return 0, err
	}
	if !away {
		if err := q.writePlan(plan); err != nil {
			q.abandon()
			return 0, err
		}
		if q.planned != nil {
			q.planned()
		}
		after, err := q.quiet()
		if err == nil && after != before {
			err = pathError("stat", pidDir, fmt.Errorf("%w: it has changed", ErrInjecting))
		}
		if err == nil {
			err = q.renameLock(lockName, awayName)
		}
		if err != nil {
			q.abandon()
			return 0, err
		}
	}
	if moved, err = q.follow(plan, stop); err != nil {
		return moved, err
	}
	if err := eintr(func() error { return unix.Syncfs(q.fd) }); err != nil {
		return moved, pathError("sync", ".", err)
	}
	if err := q.renameLock(awayName, lockName); err != nil {
		return moved, err
	}
	return moved, q.removePlan()
}

// abandon takes a plan back of which nothing has been done. sendmutex may be away already,
// although that failed: as long as it is, the plan must stay, or nobody could tell that
// nothing was done. Where that fails, too, the next repair does it, or what was planned.
func (q *Queue) abandon() {
	dir, err := q.openLockDir()
	if err == nil {
		err = renameNoReplace(dir, awayName, dir, lockName)
	}
	if err == nil || err == unix.ENOENT {
		q.removePlan()
	}
}

// renameLock lets qmail-send start, or not, and brings that to the disk.
func (q *Queue) renameLock(from, to string) error {
	dir, err := q.openLockDir()
	if err != nil {
		return err
	}
	if err := renameNoReplace(dir, from, dir, to); err != nil {
		return pathError("rename", lockDir+"/"+from, err)
	}
	return inPath("sync", lockDir, fsync(dir))
}

// writePlan brings the plan to the disk, whole or not at all.
func (q *Queue) writePlan(p *Plan) error {
	if err := sys.Unlinkat(q.fd, planNew); err != nil && err != unix.ENOENT {
		return pathError("remove", planNew, err)
	}
	fd, err := sys.OpenatMode(q.fd, planNew, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|openFile, 0o600)
	if err != nil {
		return pathError("create", planNew, err)
	}
	err = p.write(fdWriter(fd))
	if err == nil {
		err = fsync(fd)
	}
	if closeErr := unix.Close(fd); err == nil && closeErr != unix.EINTR {
		err = closeErr
	}
	if err != nil {
		sys.Unlinkat(q.fd, planNew)
		return pathError("write", planNew, err)
	}
	if err := renameNoReplace(q.fd, planNew, q.fd, planName); err != nil {
		return pathError("rename", planNew, err)
	}
	return inPath("sync", ".", fsync(q.fd))
}

// An fdWriter writes to a descriptor.
type fdWriter int

func (w fdWriter) Write(buf []byte) (int, error) {
	if err := write(int(w), buf); err != nil {
		return 0, err
	}
	return len(buf), nil
}

// removePlan removes a plan, if there is one.
func (q *Queue) removePlan() error {
	switch err := sys.Unlinkat(q.fd, planName); err {
	case nil:
		return inPath("sync", ".", fsync(q.fd))
	case unix.ENOENT:
		return nil
	default:
		return pathError("remove", planName, err)
	}
}

// quiet makes sure that nobody is injecting: no qmail-queue runs on this queue, and pid,
// in which it begins, is empty. It returns since when that is so.
func (q *Queue) quiet() (since identity, err error) {
	fd, err := sys.Openat(q.fd, pidDir, sys.OpenDir)
	if err != nil {
		return since, pathError("open", pidDir, err)
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return since, pathError("stat", pidDir, err)
	}
	if pid, err := q.injector(); err != nil {
		return since, err
	} else if pid != 0 {
		return since, fmt.Errorf("%w: qmail-queue runs, process %d", ErrInjecting, pid)
	}
	err = sys.EachDirent(fd, func(d sys.Dirent) error {
		if isDot(d.Name) {
			return nil
		}
		return pathError("stat", pidDir+"/"+string(d.Name), fmt.Errorf("%w; if not, remove this", ErrInjecting))
	})
	return identityOf(&st), inPath("read", pidDir, err)
}

// injector finds a qmail-queue that works on this queue: that is its working directory
// (qmail-queue.c). One that has only just been started leaves its trace in pid.
func (q *Queue) injector() (pid int, err error) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	var here unix.Stat_t
	if err := sys.Fstat(q.fd, &here); err != nil {
		return 0, pathError("stat", ".", err)
	}
	for _, p := range processes {
		n, ok := number([]byte(p.Name()))
		if !ok {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		name, err := os.ReadFile(dir + "/comm")
		if err != nil || strings.TrimSuffix(string(name), "\n") != "qmail-queue" {
			continue
		}
		var cwd unix.Stat_t
		switch err := unix.Stat(dir+"/cwd", &cwd); {
		case errors.Is(err, fs.ErrNotExist): // it has ended
		case err != nil || cwd.Dev == here.Dev && cwd.Ino == here.Ino:
			return int(n), nil
		}
	}
	return 0, nil
}

// follow renames what the plan says, or what of it is left. Whatever has the number that
// a message is to get gets its own first. Where that leads back to the first, its pieces
// are put aside in between.
//
// No rename replaces a file: what stands in the way, and is not in the plan, ends this.
func (q *Queue) follow(p *Plan, stop <-chan struct{}) (moved int, err error) {
	byOld := make(map[uint64]int32, len(p.Moves))
	for i, m := range p.Moves {
		byOld[m.Old] = int32(i)
	}
	done := make([]bool, len(p.Moves))
	var chain []int32
	for first := range p.Moves {
		if done[first] {
			continue
		}
		select {
		case <-stop:
			return moved, ErrStopped
		default:
		}
		chain = append(chain[:0], int32(first))
		circle := false
		for {
			next, inWay := byOld[p.Moves[chain[len(chain)-1]].New]
			if circle = inWay && int(next) == first; circle || !inWay || done[next] {
				break
			}
			chain = append(chain, next)
		}
		if circle {
			if err := q.rename(&p.Moves[first], true); err != nil {
				return moved, err
			}
		}
		for i := len(chain) - 1; i >= 0; i-- {
			if err := q.rename(&p.Moves[chain[i]], false); err != nil {
				return moved, err
			}
			done[chain[i]] = true
			moved++
		}
	}
	return moved, nil
}

// rename renames the pieces of a message that do not have their new names yet, or puts
// them aside.
func (q *Queue) rename(m *Move, aside bool) error {
	from, err := q.pin(m.Old % q.split)
	if err != nil {
		return err
	}
	defer q.unpin(from)
	to, err := q.pin(m.New % q.split)
	if err != nil {
		return err
	}
	defer q.unpin(to)
	old, now := strconv.FormatUint(m.Old, 10), strconv.FormatUint(m.New, 10)
	for _, piece := range m.pieces {
		i := q.index(piece.place)
		before := func() {
			if q.before != nil {
				q.before(piece.place, m.Old)
			}
		}
		err := renamePiece(piece.inode, aside, []dirName{{from.fd[i], old}, {from.fd[i], old + betweenName}, {to.fd[i], now}}, before)
		if err != nil {
			return pathError("rename", q.path(piece.place, m.Old), err)
		}
	}
	return nil
}

// A dirName is a name in an open directory.
type dirName struct {
	dir  int
	name string
}

// renamePiece brings the file of that inode from the first of its three names, or the
// second, to the third; with aside only to the second. It may be there already. It may
// even have two names, where a file system that renames by second names
// (renameNoReplace) was interrupted. before is called before a rename.
func renamePiece(inode uint64, aside bool, names []dirName, before func()) error {
	at := -1 // the last name that it has
	for _, i := range []int{2, 0, 1} {
		var st unix.Stat_t
		switch err := sys.Lstatat(names[i].dir, names[i].name, &st); {
		case err == unix.ENOENT || err == nil && st.Ino != inode:
			continue
		case err != nil:
			return err
		}
		if at >= 0 {
			first := names[min(at, i)]
			if err := sys.Unlinkat(first.dir, first.name); err != nil {
				return err
			}
		}
		at = max(at, i)
		if st.Nlink == 1 {
			break
		}
	}
	to := len(names) - 1
	if aside {
		to = 1
	}
	switch {
	case at < 0:
		return ErrNotAsPlan
	case at >= to:
		return nil
	}
	before()
	return renameNoReplace(names[at].dir, names[at].name, names[to].dir, names[to].name)
}
