package maildir

import (
	"sync/atomic"
	"time"
)

// A file system can keep a system call for ever: a user's own (fuse(4)), or a file
// server that is away. The thread in it is lost to the run, but neither the other
// Maildirs nor the end of the run may be.
const (
	// lostAfter is how many ticks a worker may be in one read of a directory with
	// what belongs to it before its Maildir is given up: five minutes for at most
	// some 400 messages, far more than a disk that has to spin up, an automounter or
	// a server that is started anew takes.
	lostAfter = 30
	// lostStopped is the same once the run was told to stop.
	lostStopped = 2
)

// watchTick is the time between two looks at the workers. Most runs are over before
// the first, which costs a thread. Shorter in a test.
var watchTick = 10 * time.Second

// watched is what is known of a worker's progress.
type watched struct {
	turns atomic.Uint64 // changes with each step of the work
	busy  atomic.Bool   // in work that should change it
	lost  atomic.Bool   // given up: nobody counts on it any more

	// Guarded by Pool.mu.
	target *Target
	tree   *tree // nil: the way to target is being looked for
	seen   uint64
	still  int // ticks without a change
}

// turn notes progress.
func (w *watched) turn() { w.turns.Add(1) }

// pause says that what follows is no work with a file system, until the func that
// is returned is called.
func (w *watched) pause() (back func()) {
	was := w.busy.Swap(false)
	return func() {
		w.turn()
		w.busy.Store(was)
	}
}

// watch notes which Maildir a worker has entered.
func (w *worker) watch(tr *tree) {
	w.p.mu.Lock()
	w.tree = tr
	w.p.mu.Unlock()
}

// watch looks at the workers once. For one that stands still another may work; one
// that does so too long is given up together with its Maildir.
func (p *Pool) watch() {
	limit := lostAfter
	if p.stop.Load() {
		limit = lostStopped
	}
	p.mu.Lock()
	p.slow = 0
	var lost []*worker
	for w := range p.all {
		if turns := w.turns.Load(); !w.busy.Load() || turns != w.seen {
			w.seen, w.still = turns, 0
			continue
		}
		if w.still++; w.still < limit {
			p.slow++
			continue
		}
		w.lost.Store(true)
		delete(p.all, w)
		p.busy--
		lost = append(lost, w)
	}
	if p.slow > 0 || len(lost) > 0 {
		p.call()
		p.more.Broadcast() // all may be done but for what is lost
	}
	p.mu.Unlock()
	for _, w := range lost {
		p.giveUp(w)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live -= len(lost)
	p.checkOver()
	if !p.finished {
		p.watchdog.Reset(p.tick)
	}
}

// giveUp reports the Maildir in which w is lost, unless another one was lost there
// before.
func (p *Pool) giveUp(w *worker) {
	p.mu.Lock()
	t, stats := w.target, Stats{}
	var folders map[string]*FolderStats
	told, booked := false, true
	if tr := w.tree; tr != nil {
		tr.over.Store(true)
		told, tr.ended = tr.ended, true
		stats, folders = tr.tally.Stats, tr.folders
		booked = p.opt.DryRun || tr.tally.quota.Removed == 0
	}
	p.mu.Unlock()
	if told {
		return
	}
	p.tell.Lock()
	defer p.tell.Unlock()
	p.opt.Failed(t, t.Path, ErrNoAnswer)
	if !booked {
		p.opt.Failed(t, t.Path+"/"+quotaFile, ErrNoAnswer)
	}
	p.done(t, stats, folders)
}
