package maildir

import (
	"bytes"
	"container/list"
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Options say what goes. The funcs are told what happens; they are never
// called two at a time.
type Options struct {
	Now    time.Time // when the program started
	Days   int       // more than that many days old, see Cutoff
	All    bool      // every regular file, not only messages
	DryRun bool      // remove nothing

	// What is chosen among the messages; nothing of this goes with All.
	Folders     []Folder // only what lies in one of these; none: in all
	KeepFlagged bool     // messages with the flag F stay
	SeenOnly    bool     // messages without the flag S stay, so all in new do
	Saved       bool     // the age is that of the inode: since when it lies here
	Jobs        int      // workers; 0 is DefaultJobs

	// Old is told each message that goes or, in a dry run, would go. May be nil.
	Old func(path string)
	// Failed is told each thing that could not be done; t went on where it could.
	Failed func(t *Target, path string, err error)
	// Folder is told, before Done, what was done in each folder that has messages,
	// in the order of their names; "INBOX" is the Maildir itself. May be nil: then
	// nothing is counted by folder.
	Folder func(t *Target, name string, s Stats)
	// Done is told the end of each Target and what was done there.
	Done func(t *Target, s Stats)
}

// A Target is a Maildir to be cleaned.
type Target struct {
	Path    string // absolute
	UID     uint32 // must own the Maildir where Checked is set
	Checked bool

	begun bool
}

// Begun tells, once the Target is done, whether there was a Maildir that could
// be entered.
func (t *Target) Begun() bool { return t.begun }

// DefaultJobs is how many workers there are unless told otherwise. A worker
// mostly waits for the file system: on two cores (ext4, 20000 messages in one
// Maildir, 9000 of them old) 1, 2, 4, 8 and 16 workers took 650, 475, 330, 260
// and 205 ms; 32 gained nothing more.
const DefaultJobs = 16

// MaxJobs bounds the workers: each is a thread and a buffer.
const MaxJobs = 256

// A Pool removes old messages from any number of Maildirs with a fixed number
// of workers. A piece of work is one read of a directory with all messages
// that it gave, or one directory to be opened: so many small Maildirs and a
// single huge one keep all workers busy alike. Memory grows with the number of
// folders that lie in one directory, by their names, and with nothing else.
type Pool struct {
	opt        Options
	old, stale Stamp // strictly before is old; in tmp the ctime before stale, too
	maxOpen    int   // directories held open, workers' own not counted
	stop       atomic.Bool
	seen, gone atomic.Int64
	found      []atomic.Bool // whether a folder was there, as in opt.Folders
	stopped    chan struct{} // closed by Stop
	halt       sync.Once

	tell sync.Mutex // around the funcs of opt

	workers sync.WaitGroup

	mu     sync.Mutex     // guards what follows, and every node's counts
	more   sync.Cond      // something to do, or nothing any more
	stack  []piece        // last in, first out: depth first, so it stays short
	feed   <-chan *Target // what Run was given
	asking bool           // a worker waits for feed
	ended  bool           // feed has no more
	busy   int            // workers that may still add to stack
	idlers int            // workers that wait for more
	hired  int            // workers that were started
	last   time.Time      // when the last one was
	open   int            // directories held open
	idle   *list.List     // of these, *node without a pin, the longest idle first
}

// A piece of work: a directory to read on, or names in it to be opened.
type piece struct {
	n     *node
	names []byte // each ends with NUL; nil: read n
}

// NewPool prepares a run.
func NewPool(opt Options) *Pool {
	if opt.Jobs <= 0 {
		opt.Jobs = DefaultJobs
	}
	p := &Pool{
		opt:   opt,
		old:   Cutoff(opt.Now, opt.Days),
		stale: StampOf(opt.Now.Add(-tmpAge)),
		found: make([]atomic.Bool, len(opt.Folders)),

		idle:    list.New(),
		stopped: make(chan struct{}),
	}
	p.more.L = &p.mu
	p.limitDescriptors()
	return p
}

// limitDescriptors fits the run into the process's limit of open files: some
// for the process, a few for each worker, and the rest hold directories.
func (p *Pool) limitDescriptors() {
	const reserved, forWorker = 24, 4
	limit := 1024
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < 1024 {
		limit = int(r.Cur)
	}
	p.opt.Jobs = max(1, min(p.opt.Jobs, (limit-reserved)/(forWorker+1)))
	// A worker is a thread, and the runtime does not survive one that cannot be
	// made. Root is not bound by this limit.
	if unix.Geteuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil && uint64(r.Cur)/4 < uint64(p.opt.Jobs) {
		p.opt.Jobs = max(1, int(r.Cur/4))
	}
	p.maxOpen = max(2, limit-reserved-forWorker*p.opt.Jobs)
}

// Stop lets each worker finish the message at hand and end. Run then books the
// quota, reports each Target that was begun as done, and returns.
func (p *Pool) Stop() {
	p.stop.Store(true)
	p.halt.Do(func() { close(p.stopped) })
}

// Found tells whether any Maildir had a folder that Options.Folders[i] takes.
func (p *Pool) Found(i int) bool { return p.found[i].Load() }

// Progress tells how many messages have been looked at and removed so far.
func (p *Pool) Progress() (messages, removed int64) { return p.seen.Load(), p.gone.Load() }

// Run cleans the Maildirs that come through feed until it is closed. It takes
// one only when a worker has nothing else to do. After Stop it takes no more.
//
// The first worker is the caller, for a small Maildir needs no second thread. An
// error says that the caller's thread could not be given back the identity of
// the process; the caller is locked to that thread then.
func (p *Pool) Run(feed <-chan *Target) error {
	p.feed = feed
	p.hired, p.busy, p.last = 1, 1, time.Now()
	runtime.LockOSThread()
	w := newWorker(p)
	w.run()
	p.workers.Wait()
	if w.idErr == nil {
		if err := w.id.own(); err != nil {
			return err
		}
	}
	runtime.UnlockOSThread()
	return nil
}

// enoughProcs bounds GOMAXPROCS. A worker waits in the kernel most of the time,
// and until the runtime notices, no other has its P. With 2, 4, 8 and 16 of them
// 16 workers took 480, 336, 310 and 312 ms for 20 Maildirs of 1000 messages, one
// after the other, on two cores. Each has its own caches to fill.
const enoughProcs = 8

// hire starts a worker. Its caller has p.mu.
func (p *Pool) hire() {
	p.hired++
	p.busy++
	p.last = time.Now()
	if procs := runtime.GOMAXPROCS(0); procs < min(p.hired, enoughProcs) {
		runtime.GOMAXPROCS(min(p.opt.Jobs, enoughProcs))
	}
	p.workers.Go(func() {
		// The thread has somebody's identity in the end: it is never unlocked, so
		// it ends with the goroutine.
		runtime.LockOSThread()
		newWorker(p).run()
	})
}

// take returns the next piece of work: a target to begin with, or a piece of
// which names, if any, has only one. It waits where others may still find
// some, and returns false when all is done.
func (p *Pool) take() (t *Target, w piece, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	for {
		if len(p.stack) > 0 {
			p.busy++
			w = p.pop()
			if len(p.stack) > 0 {
				p.call()
			}
			return nil, w, true
		}
		if p.ended || p.stop.Load() {
			if p.busy == 0 && !p.asking {
				p.more.Broadcast()
				return nil, piece{}, false
			}
			p.await()
			continue
		}
		select {
		case t, ok = <-p.feed:
		default:
			if p.asking {
				p.await()
				continue
			}
			t, ok = p.ask()
		}
		if ok {
			p.busy++
			if len(p.feed) > 0 || !p.asking {
				p.call()
			}
			return t, piece{}, true
		}
		p.ended = true
		p.more.Broadcast()
	}
}

// ask waits for the next target. One worker at a time does, and the others wait
// for anything. Its caller has p.mu.
func (p *Pool) ask() (t *Target, ok bool) {
	p.asking = true
	p.mu.Unlock()
	select {
	case t, ok = <-p.feed:
	case <-p.stopped:
	}
	p.mu.Lock()
	p.asking = false
	return t, ok
}

// hirePause is how long a run must have lasted, or the last worker have been
// there, before it gets one more. A thread costs 0.1 ms: an empty Maildir took
// 2.6 ms when its cur, new and tmp had a thread each, and takes 2.0 ms with one.
// Where directories have to be read from a disk, they are not ready by then.
const hirePause = 50 * time.Microsecond

// await lets a worker wait until there is something to do; call wakes one, or
// starts one more. Their callers have p.mu.
func (p *Pool) await() {
	p.idlers++
	p.more.Wait()
	p.idlers--
}

func (p *Pool) call() {
	switch {
	case p.idlers > 0:
		p.more.Signal()
	case p.hired < p.opt.Jobs && !p.stop.Load() && time.Since(p.last) > hirePause:
		p.hire()
	}
}

// pop takes a directory to read, or one name, off the stack. It leaves the
// caller a reference to the node.
func (p *Pool) pop() piece {
	top := &p.stack[len(p.stack)-1]
	w := *top
	if w.names == nil {
		p.stack = p.stack[:len(p.stack)-1]
		return w
	}
	i := bytes.IndexByte(w.names, 0)
	w.names, top.names = w.names[:i], w.names[i+1:]
	if len(top.names) > 0 {
		w.n.refs++
	} else {
		p.stack = p.stack[:len(p.stack)-1]
	}
	return w
}

// A tree is a Maildir being cleaned.
type tree struct {
	t        *Target
	uid, gid uint32

	// Guarded by Pool.mu.
	stats      Stats
	folders    map[string]Stats // where Options.Folder is told
	quotaBytes int64
	quotaCount int64
}

func (tr *tree) addFolder(name string, s Stats) {
	if tr.folders == nil {
		tr.folders = make(map[string]Stats)
	}
	sum := tr.folders[name]
	sum.Add(s)
	tr.folders[name] = sum
}

// What a directory holds.
type content int

const (
	other content = iota // only to be walked through
	messages
	unfinished // tmp: messages that may still be under way
)

// A node is a directory being worked on. It is held in memory as long as a
// piece of work or a directory below it needs it, and open as long as there
// are descriptors enough.
type node struct {
	tree     *tree
	parent   *node // nil for the Maildir itself
	name     string
	dev, ino uint64 // noted when it is closed before its time
	holds    content
	trash    bool // in .Trash, whose size no quota counts
	reads    int  // so far; only one is under way or due

	folder     sync.Once
	isFolder   bool  // has cur, new and tmp
	chosen     bool  // and is one of Options.Folders
	folderFail error // why that is not known

	// Guarded by Pool.mu.
	fd   int           // -1: closed for want of descriptors
	refs int           // pieces of work, and nodes below
	pins int           // workers that use fd, and the one read of it that is under way or due
	rest *list.Element // in Pool.idle
}

// below returns the names of the directories that lead from the Maildir to n.
func (n *node) below() []string {
	var names []string
	for m := n; m.parent != nil; m = m.parent {
		names = append(names, m.name)
	}
	slices.Reverse(names)
	return names
}

// folderName returns the name of the folder whose messages n holds, as a mail
// client shows it.
func (n *node) folderName() string {
	if n.holds != other {
		n = n.parent
	}
	names := folderNames(n.below())
	return names[len(names)-1]
}

// path returns the name of the directory for messages.
func (n *node) path() string {
	return strings.Join(append([]string{n.tree.t.Path}, n.below()...), "/")
}

// pin opens the directory if it was closed, and keeps it open until unpin.
func (p *Pool) pin(n *node) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.fd < 0 {
		if err := p.reopen(n); err != nil {
			return -1, err
		}
	}
	n.pins++
	p.wake(n)
	p.closeIdle()
	return n.fd, nil
}

// unpin lets the directory be closed if descriptors are short. The Maildir
// itself stays open: all others are found again from there.
func (p *Pool) unpin(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.pins--
	if n.pins == 0 && n.parent != nil {
		n.rest = p.idle.PushBack(n)
		p.closeIdle()
	}
}

// wake takes n off the idle list.
func (p *Pool) wake(n *node) {
	if n.rest != nil {
		p.idle.Remove(n.rest)
		n.rest = nil
	}
}

// closeIdle closes directories until there are descriptors enough. Work goes
// depth first, so what has been idle longest is nearest to the Maildir and will
// be needed last.
func (p *Pool) closeIdle() {
	for p.open > p.maxOpen && p.idle.Len() > 0 {
		n := p.idle.Front().Value.(*node)
		var st unix.Stat_t
		if sys.Fstat(n.fd, &st) != nil {
			st.Ino = 0 // no directory's: it is not found again
		}
		n.dev, n.ino = uint64(st.Dev), st.Ino
		p.close(n)
	}
}

func (p *Pool) close(n *node) {
	p.wake(n)
	if n.fd >= 0 {
		unix.Close(n.fd)
		n.fd = -1
		p.open--
	}
}

// reopen goes the same steps from the nearest directory above that is open,
// and makes sure that they lead to the same place. The last of those on the way
// stay open: on the way back up they are needed next, and a tree d deep costs
// some d*d/maxOpen steps, not d*d. Its caller has p.mu; this is the rare case
// of a tree deeper than the process may have files open.
func (p *Pool) reopen(n *node) error {
	var steps []*node
	up := n
	for ; up.fd < 0; up = up.parent {
		steps = append(steps, up)
	}
	fd := up.fd
	passing := false // fd belongs to no node
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		next, err := openSame(fd, s)
		if passing {
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
		fd = next
		if passing = i > p.maxOpen/2; passing {
			continue
		}
		s.fd = fd
		p.open++
		if s != n {
			s.rest = p.idle.PushBack(s)
		}
	}
	return nil
}

// openSame opens the directory n in its parent, which is open as dir, and makes
// sure that it is the one that was opened before.
func openSame(dir int, n *node) (int, error) {
	fd, err := sys.Openat(dir, n.name, sys.OpenDir)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = sys.Fstat(fd, &st); err == nil && (uint64(st.Dev) != n.dev || st.Ino != n.ino) {
		err = ErrMoved
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// release gives back a reference. The last one closes the directory, and that
// of the Maildir itself ends the tree, which is returned.
func (p *Pool) release(n *node) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		n.refs--
		if n.refs > 0 {
			return nil
		}
		if n.parent == nil {
			return n
		}
		p.close(n)
		n = n.parent
	}
}

func (p *Pool) failed(t *Target, path string, err error) {
	p.tell.Lock()
	defer p.tell.Unlock()
	p.opt.Failed(t, path, err)
}

// A worker is one thread, with its own buffer and identity.
type worker struct {
	p       *Pool
	id      *identity
	idErr   error
	way     way    // to the Maildirs
	owner   uint32 // of the Maildir that was found last
	same    bool   // and of the one before
	buf     []byte
	subdirs []byte // names of directories met in a batch, each ends with NUL
	st      unix.Stat_t
}

// batchSize is how much of a directory is read at once, in bytes: 4 kB are some
// 50 names. Batches of 32 kB took 1.7 times as long where a Maildir has 1000
// messages, since few workers got one. Beyond smallBatches, and again after as
// many, they double: a Maildir of 100 000 with hardly anything old took 163 ms with
// small ones alone, for each wakes a thread, and takes 145.
const (
	batchSize    = 4 << 10
	smallBatches = 32
	maxDoublings = 3
)

func newWorker(p *Pool) *worker {
	w := &worker{p: p, buf: make([]byte, batchSize<<maxDoublings)}
	w.id, w.idErr = newIdentity()
	return w
}

func (w *worker) run() {
	defer w.way.close()
	for {
		t, work, ok := w.p.take()
		switch {
		case !ok:
			return
		case t != nil:
			w.begin(t)
			continue
		case w.p.stop.Load():
			w.drop(work)
		default:
			tr := work.n.tree
			if err := w.id.become(tr.uid, tr.gid); err != nil {
				w.fail(work.n, "", err)
				w.drop(work)
			} else if work.names == nil {
				w.read(work.n)
			} else {
				w.descend(work.n, string(work.names))
			}
		}
		w.release(work.n)
	}
}

// drop leaves a piece of work undone.
func (w *worker) drop(work piece) {
	if work.names == nil {
		w.p.unpin(work.n)
	}
}

// release gives back a reference and ends the tree if it was the last.
func (w *worker) release(n *node) {
	root := w.p.release(n)
	if root == nil {
		return
	}
	tr := root.tree
	if tr.quotaCount > 0 && !w.p.opt.DryRun {
		err := w.id.become(tr.uid, tr.gid)
		if err == nil {
			err = book(root.fd, tr.quotaBytes, tr.quotaCount)
		}
		if err != nil {
			w.p.failed(tr.t, tr.t.Path+"/"+quotaFile, err)
		}
	}
	w.p.mu.Lock()
	w.p.close(root)
	w.p.mu.Unlock()
	w.done(tr.t, tr.stats, tr.folders)
}

func (w *worker) done(t *Target, s Stats, folders map[string]Stats) {
	w.p.tell.Lock()
	defer w.p.tell.Unlock()
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		w.p.opt.Folder(t, name, folders[name])
	}
	w.p.opt.Done(t, s)
}

// fail reports an error about name in n, or about n where name is empty.
func (w *worker) fail(n *node, name string, err error) {
	shown := n.path()
	if name != "" {
		shown += "/" + name
	}
	w.p.failed(n.tree.t, shown, err)
}

// begin finds and enters a Maildir.
func (w *worker) begin(t *Target) {
	n, err := w.enter(t)
	if err != nil {
		shown := t.Path
		if pe, ok := err.(*fs.PathError); ok {
			shown, err = pe.Path, pe.Err
		}
		w.p.failed(t, shown, err)
		w.done(t, Stats{}, nil)
		return
	}
	w.read(n)
	w.release(n)
}

// enter opens the Maildir with its owner's rights and makes sure that it is
// one.
func (w *worker) enter(t *Target) (*node, error) {
	if w.idErr != nil {
		return nil, w.idErr
	}
	loc, err := w.locate(t.Path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(loc.fd)
	if t.Checked && loc.uid != t.UID {
		return nil, ErrOwner
	}
	if err := w.id.become(loc.uid, loc.gid); err != nil {
		return nil, err
	}
	fd, err := sys.Openat(loc.fd, ".", sys.OpenDir)
	if err != nil {
		return nil, err
	}
	ok, err := hasMessageDirs(fd)
	if err == nil && !ok {
		err = ErrNotMaildir
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	w.p.mu.Lock()
	w.p.open++
	w.p.mu.Unlock()
	t.begun = true
	n := &node{tree: &tree{t: t, uid: loc.uid, gid: loc.gid}, fd: fd, refs: 1, pins: 1}
	n.folder.Do(func() { w.p.isOne(n) })
	return n, nil
}

// locate finds a Maildir with the rights of the process. Where one owner has
// many Maildirs, those of the owner at hand mostly do: that spares the change
// there and back, ten system calls, for each.
func (w *worker) locate(path string) (location, error) {
	var loc location
	var err error = fs.ErrPermission
	if w.same && w.id.at(w.owner) {
		loc, err = w.way.locate(path)
	}
	if errors.Is(err, fs.ErrPermission) {
		if err := w.id.own(); err != nil {
			return location{}, err
		}
		loc, err = w.way.locate(path)
	}
	w.same = err == nil && loc.uid == w.owner
	w.owner = loc.uid
	return loc, err
}

// read reads a directory on and works on what it gets. Where there is probably
// more it lets another worker read that.
func (w *worker) read(n *node) {
	for {
		n.reads++
		buf := w.buf[:batchSize<<min(n.reads/smallBatches, maxDoublings)]
		size, err := sys.Getdents(n.fd, buf)
		if err != nil && !vanished(err) {
			w.fail(n, "", err)
		}
		if err != nil || size == 0 {
			w.p.unpin(n)
			return
		}
		// The kernel stops where the next name does not fit.
		full := size > len(buf)-sys.DirentMax
		if full {
			w.p.mu.Lock()
			n.refs++
			n.pins++
			w.p.stack = append(w.p.stack, piece{n: n})
			w.p.call()
			w.p.mu.Unlock()
		}
		w.subdirs = w.subdirs[:0]
		s, quota := w.batch(n, buf[:size])
		w.p.add(n, s, quota, w.subdirs)
		if full {
			w.p.unpin(n)
			return
		}
	}
}

// add books a batch, and puts the directories that it met beneath the read of
// n that may be due: a directory can be closed only after it was read to its
// end.
func (p *Pool) add(n *node, s, quota Stats, subdirs []byte) {
	folder := ""
	if p.opt.Folder != nil && s.Messages > 0 {
		folder = n.folderName()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n.tree.stats.Add(s)
	if folder != "" {
		n.tree.addFolder(folder, s)
	}
	n.tree.quotaBytes += quota.Bytes
	n.tree.quotaCount += quota.Removed
	if len(subdirs) == 0 {
		return
	}
	n.refs++
	w := piece{n, bytes.Clone(subdirs)}
	p.stack = append(p.stack, w)
	if i := len(p.stack) - 2; i >= 0 && p.stack[i].n == n && p.stack[i].names == nil {
		p.stack[i], p.stack[i+1] = p.stack[i+1], p.stack[i]
	}
	p.call()
}

// batch removes what is old among the names that one read of n gave. It
// returns what it met, and the part of it that a quota had counted.
func (w *worker) batch(n *node, names []byte) (s, quota Stats) {
	for len(names) > 0 && !w.p.stop.Load() {
		var d sys.Dirent
		d, names = sys.NextDirent(names)
		if d.Kind == unix.DT_UNKNOWN && !dots(d.Name) {
			d.Kind = w.kindOf(n, d)
		}
		switch {
		case d.Kind == unix.DT_DIR && !dots(d.Name):
			w.subdirs = append(append(w.subdirs, d.Name...), 0)
		case d.Kind == unix.DT_REG && w.p.candidate(n, d.Name):
			s.Messages++
			if w.p.stays(n, d.Name) {
				continue
			}
			size, ok := w.remove(n, d)
			if !ok {
				continue
			}
			one := Stats{Removed: 1, Bytes: size, Oldest: w.p.age(&w.st)}
			s.Add(one)
			// Delivery counts a message when it leaves tmp, so what never left was
			// never counted; nor is what lies in .Trash.
			if n.holds == messages && !n.trash && d.Name[0] != '.' {
				quota.Add(one)
			}
		}
	}
	w.p.seen.Add(s.Messages)
	w.p.gone.Add(s.Removed)
	return s, quota
}

func dots(name []byte) bool {
	return string(name) == "." || string(name) == ".."
}

// kindOf finds out what the file system did not tell with the name.
func (w *worker) kindOf(n *node, d sys.Dirent) byte {
	if err := d.Stat(n.fd, &w.st); err != nil {
		if !vanished(err) {
			w.fail(n, string(d.Name), err)
		}
		return unix.DT_UNKNOWN
	}
	switch w.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return unix.DT_DIR
	case unix.S_IFREG:
		return unix.DT_REG
	}
	return unix.DT_UNKNOWN
}

// candidate tells whether a regular file of that name in n is a message, or as
// good as one.
func (p *Pool) candidate(n *node, name []byte) bool {
	return p.opt.All || n.holds != other && name[0] != '.'
}

// stays tells whether a message stays whatever its age.
func (p *Pool) stays(n *node, name []byte) bool {
	return p.opt.KeepFlagged && hasFlag(name, 'F') ||
		p.opt.SeenOnly && (n.name == "new" || !hasFlag(name, 'S'))
}

// isOld tells whether what w.st describes is old enough to go.
func (p *Pool) isOld(n *node, st *unix.Stat_t) bool {
	if !p.age(st).Before(p.old) {
		return false
	}
	return n.holds != unfinished || p.opt.All || ctime(st).Before(p.stale)
}

// age returns the time that counts.
func (p *Pool) age(st *unix.Stat_t) Stamp {
	if p.opt.Saved {
		return ctime(st)
	}
	return mtime(st)
}

// remove removes one file if it is old, and returns its size in bytes.
func (w *worker) remove(n *node, d sys.Dirent) (size int64, removed bool) {
	err := d.Stat(n.fd, &w.st)
	if err == nil {
		if w.st.Mode&unix.S_IFMT != unix.S_IFREG || !w.p.isOld(n, &w.st) {
			return 0, false
		}
		if !w.p.opt.DryRun {
			err = d.Unlink(n.fd)
		}
	}
	if err != nil {
		if !vanished(err) {
			w.fail(n, string(d.Name), err)
		}
		return 0, false
	}
	if w.p.opt.Old != nil {
		shown := n.path() + "/" + string(d.Name)
		w.p.tell.Lock()
		w.p.opt.Old(shown)
		w.p.tell.Unlock()
	}
	if size, ok := nameSize(d.Name); ok {
		return size, true
	}
	return w.st.Size, true
}

// descend opens the directory name in n and has it read.
func (w *worker) descend(n *node, name string) {
	dir, err := w.p.pin(n)
	if err != nil {
		if !vanished(err) {
			w.fail(n, "", err)
		}
		return
	}
	var child *node
	if !w.unchosen(n, dir, name) {
		child, err = w.openChild(n, dir, name)
	}
	if err != nil && !vanished(err) {
		w.fail(n, name, err)
	}
	if child != nil {
		w.p.mu.Lock()
		n.refs++
		w.p.open++
		w.p.mu.Unlock()
	}
	w.p.unpin(n)
	if child != nil {
		w.read(child)
		w.release(child)
	}
}

// lookAt finds out, once, whether n, which is open as dir, is a folder and one
// of those that were chosen.
func (p *Pool) lookAt(n *node, dir int) {
	n.folder.Do(func() {
		ok, err := hasMessageDirs(dir)
		if n.folderFail = err; ok {
			p.isOne(n)
		}
	})
}

// isOne notes that n is a folder, and whether it was chosen.
func (p *Pool) isOne(n *node) {
	n.isFolder = true
	if n.chosen = len(p.opt.Folders) == 0; n.chosen {
		return
	}
	names := folderNames(n.below())
	for i, f := range p.opt.Folders {
		if f.matches(names) {
			n.chosen = true
			p.found[i].Store(true)
		}
	}
}

// unchosen tells that name in n holds the messages of a folder that was not
// chosen: it need not even be opened.
func (w *worker) unchosen(n *node, dir int, name string) bool {
	if len(w.p.opt.Folders) == 0 || !isMessageDir(name) {
		return false
	}
	w.p.lookAt(n, dir)
	return n.isFolder && !n.chosen
}

// openChild opens the directory name in n, which is open as dir.
func (w *worker) openChild(n *node, dir int, name string) (*node, error) {
	fd, err := sys.Openat(dir, name, sys.OpenDir)
	if err != nil {
		return nil, err
	}
	child := &node{
		tree: n.tree, parent: n, name: name,
		trash: n.trash || n.parent == nil && inTrash(name),
		fd:    fd, refs: 1, pins: 1,
	}
	if isMessageDir(name) {
		w.p.lookAt(n, dir)
		switch {
		case n.folderFail != nil:
			unix.Close(fd)
			return nil, n.folderFail
		case n.isFolder && name == "tmp":
			child.holds = unfinished
		case n.isFolder:
			child.holds = messages
		}
	}
	return child, nil
}

// Home returns the path of the Maildir in a home directory. It is not cleaned:
// where a link stands before a "..", that would be another directory.
func Home(dir string) string { return strings.TrimRight(dir, "/") + "/Maildir" }
