package maildir

import (
	"bytes"
	"container/list"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Options say what is done. The funcs are told what happens; they are never
// called two at a time.
type Options struct {
	Rule    Rule     // what goes where no term says otherwise
	Folders []Folder // only what lies in one of these; none: in all
	Except  []Folder // nothing that lies in one of these, whatever else says so
	Terms   []Term   // of these the first that matches a folder, after Target.Terms
	DryRun  bool     // remove nothing

	// Inbox is the name of the directory in the Maildir that is the INBOX; empty
	// where it is the Maildir itself.
	Inbox string
	// MaxSize is how many bytes a Maildir may have when all is done; 0: any number.
	// What goes beyond the rule is the oldest by its clock.
	MaxSize int64
	// OneFileSystem leaves what is mounted below a Maildir untouched.
	OneFileSystem bool
	Trash         TrashQuota

	Sizes bool // sum Stats.Size: one more look at messages whose names tell none
	Jobs  int  // workers; 0 is DefaultJobs

	// Old is told each message that goes or, in a dry run, would go. May be nil.
	Old func(path string)
	// Failed is told each thing that could not be done; t went on where it could.
	Failed func(t *Target, path string, err error)
	// Folder is told, before Done, what was done in each folder that has messages,
	// in the order of their names. May be nil: then nothing is counted by folder.
	Folder func(t *Target, f FolderStats)
	// Done is told the end of each Target and what was done there.
	Done func(t *Target, s Stats)
}

// A FolderStats is what was done in one folder.
type FolderStats struct {
	Name string // as a client shows it; INBOX is the Maildir itself
	Term *Term  // what decided; nil: Options.Rule
	Stats
}

// TrashQuota says whether a quota counts what is in .Trash, and messages with the
// flag T: Dovecot's does, Courier's and vpopmail's do not.
type TrashQuota int

const (
	TrashAuto TrashQuota = iota // it does where a Maildir has a dovecot-uidlist
	TrashCounts
	TrashFree
)

// TrashQuotas are their names, in their order.
var TrashQuotas = []string{"auto", "yes", "no"}

// A Target is a Maildir to be cleaned.
type Target struct {
	User    string // whose it is, for who is told of it
	Terms   []Term // how long this user's folders are kept, before Options.Terms
	Path    string // absolute
	UID     uint32 // must own the Maildir where Checked is set
	Checked bool

	begun bool
}

// Begun reports, once the Target is done, whether there was a Maildir that could
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
	maxOpen    int // directories held open, workers' own not counted
	stop       atomic.Bool
	seen, gone atomic.Int64
	asked      []Folder      // see Asked
	found      []atomic.Bool // whether a folder was there, as in asked
	stopped    chan struct{} // closed by Stop
	halt       sync.Once

	tell sync.Mutex // around the funcs of opt

	over     chan struct{} // closed when all is done
	watchdog *time.Timer
	tick     time.Duration

	mu       sync.Mutex           // guards what follows, and every node's counts
	more     sync.Cond            // something to do, or nothing any more
	stack    []piece              // last in, first out: depth first, so it stays short
	feed     <-chan *Target       // what Run was given
	asking   bool                 // a worker waits for feed
	ended    bool                 // feed has no more
	finished bool                 // Run has returned or is about to
	all      map[*worker]struct{} // at work, and not lost
	live     int                  // the same, and those that are being given up
	busy     int                  // workers that may still add to stack
	idlers   int                  // workers that wait for more
	slow     int                  // workers that the file system keeps for long
	hired    int                  // workers that were started
	last     time.Time            // when the last one was
	open     int                  // directories held open
	ownErr   error                // see Run
	idle     *list.List           // of these, *node without a pin, the longest idle first
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
		asked: opt.asked(),

		idle:    list.New(),
		all:     make(map[*worker]struct{}),
		stopped: make(chan struct{}),
		over:    make(chan struct{}),
		tick:    watchTick,
	}
	p.found = make([]atomic.Bool, len(p.asked))
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
	p.maxOpen = max(2, limit-reserved-forWorker*p.opt.Jobs)
}

// limitThreads fits the run into the number of threads that the process may have:
// the runtime does not survive one that cannot be made. Besides the workers it
// needs one for each P and some of its own.
func (p *Pool) limitThreads() {
	const ofRuntime = 4
	if n, limited := sys.MaxThreads(); limited {
		p.opt.Jobs = max(1, min(p.opt.Jobs, (n-ofRuntime)/2))
	}
}

// Stop lets each worker finish the message at hand and end. Run then books the
// quota, reports each Target that was begun as done, and returns.
func (p *Pool) Stop() {
	p.stop.Store(true)
	p.halt.Do(func() { close(p.stopped) })
}

// asked returns the folders that somebody named: Folders, Except, those of Terms.
func (opt *Options) asked() []Folder {
	all := slices.Concat(opt.Folders, opt.Except)
	for _, term := range opt.Terms {
		all = append(all, term.Folder)
	}
	return all
}

// Missing returns those folders of Options that no Maildir has had so far.
func (p *Pool) Missing() []Folder {
	var missing []Folder
	for i, f := range p.asked {
		if !p.found[i].Load() {
			missing = append(missing, f)
		}
	}
	return missing
}

// Progress tells how many messages have been looked at and removed so far.
func (p *Pool) Progress() (messages, removed int64) { return p.seen.Load(), p.gone.Load() }

// Run cleans the Maildirs that come through feed until it is closed. It takes
// one only when a worker has nothing else to do. After Stop it takes no more.
//
// It returns when all is done but what a file system has kept for too long: such
// a thread stays behind, and what it had at hand was reported.
//
// An error says that the first worker's thread could not be given back the identity
// of the process; nothing else is done on that thread.
func (p *Pool) Run(feed <-chan *Target) error {
	p.feed = feed
	p.hired, p.live, p.busy, p.last = 1, 1, 1, time.Now()
	p.watchdog = time.AfterFunc(p.tick, p.watch)
	go p.work(true)
	<-p.over
	p.mu.Lock()
	p.finished = true
	p.mu.Unlock()
	p.watchdog.Stop()
	return p.ownErr
}

// work is a worker's life, on a thread of its own that has somebody's identity in
// the end: it is not unlocked, so it ends with the goroutine. That of the first, for
// a small Maildir the only one, is needed afterwards and gets its own back.
func (p *Pool) work(first bool) {
	runtime.LockOSThread()
	w := newWorker(p)
	p.mu.Lock()
	p.all[w] = struct{}{}
	p.mu.Unlock()
	w.run()
	var err error
	if first && w.idErr == nil && !w.lost.Load() {
		if err = w.id.restore(); err == nil {
			runtime.UnlockOSThread()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[w]; ok {
		if err != nil {
			p.ownErr = err
		}
		delete(p.all, w)
		p.live--
		p.checkOver()
	}
}

// checkOver ends Run when nobody is left; p.mu must be held.
func (p *Pool) checkOver() {
	if p.live == 0 && !p.finished {
		p.finished = true
		close(p.over)
	}
}

// enoughProcs bounds GOMAXPROCS. A worker waits in the kernel most of the time,
// and until the runtime notices, no other has its P. With 2, 4, 8 and 16 of them
// 16 workers took 480, 336, 310 and 312 ms for 20 Maildirs of 1000 messages, one
// after the other, on two cores. Each has its own caches to fill.
const enoughProcs = 8

// hire starts a worker; p.mu must be held.
func (p *Pool) hire() {
	p.hired++
	p.live++
	p.busy++
	p.last = time.Now()
	if procs := runtime.GOMAXPROCS(0); procs < min(p.hired, enoughProcs) {
		runtime.GOMAXPROCS(min(p.opt.Jobs, enoughProcs))
	}
	go p.work(false)
}

// take returns the next piece of work: a target to begin with, or a piece of
// which names, if any, has only one. It waits where others may still find
// some, and returns false when all is done.
func (p *Pool) take(by *worker) (t *Target, w piece, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if by.lost.Load() {
		return nil, piece{}, false
	}
	p.busy--
	by.busy.Store(false)
	defer func() {
		if !ok {
			return
		}
		if by.target, by.tree = t, nil; t == nil {
			by.target, by.tree = w.n.tree.t, w.n.tree
		}
		by.turn()
		by.busy.Store(true)
	}()
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
// for anything. p.mu must be held.
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
// starts one more. p.mu must be held.
func (p *Pool) await() {
	p.idlers++
	p.more.Wait()
	p.idlers--
}

func (p *Pool) call() {
	switch {
	case p.idlers > 0:
		p.more.Signal()
	case p.finished || p.stop.Load() || time.Since(p.last) <= hirePause:
	case p.hired == 1 && p.opt.Jobs > 1:
		if p.limitThreads(); p.opt.Jobs == 1 {
			return
		}
		p.hire()
	case p.live < min(p.opt.Jobs+p.slow, MaxJobs):
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
	w.n.tree.waiting -= int64(i + 1)
	w.names, top.names = w.names[:i], w.names[i+1:]
	if len(top.names) > 0 {
		w.n.refs++
	} else {
		p.stack = p.stack[:len(p.stack)-1]
	}
	return w
}
