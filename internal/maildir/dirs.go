package maildir

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
	"kowaza/internal/way"
)

// A tree is a Maildir being cleaned.
type tree struct {
	t        *Target
	uid, gid uint32
	inbox    []string // see Options.Inbox
	root     *node
	dev      uint64      // that it lies on, where Options.OneFileSystem wants to know
	over     atomic.Bool // no more is done in it: a bound was reached, or nobody answers

	dots   sync.Once
	dotted bool // some folder has a dot in its name, or that is not known

	// Guarded by Pool.mu.
	tally   tally
	folders map[string]*FolderStats // where Options.Folder is told
	cap     sizeCap
	names   int64 // read in directories
	dirs    int64 // opened
	waiting int64 // bytes of names that wait to be opened
	ended   bool  // Done has been told, or is about to be
}

func (tr *tree) addFolder(name string, term *Term, s Stats) {
	if tr.folders == nil {
		tr.folders = make(map[string]*FolderStats)
	}
	f := tr.folders[name]
	if f == nil {
		f = &FolderStats{Name: name, Term: term}
		tr.folders[name] = f
	}
	f.Add(s)
}

// A node is a directory being worked on. It is held in memory as long as a
// piece of work or a directory below it needs it, and open as long as there
// are descriptors enough.
type node struct {
	tree   *tree
	parent *node // nil for the Maildir itself
	name   string
	length int // of the path from the Maildir, in bytes
	holds  content
	trash  bool // in .Trash, whose size no quota counts
	reads  int  // so far; only one is under way or due

	folder     sync.Once
	isFolder   bool  // has cur or new
	chosen     bool  // and is to be cleaned
	rule       *Rule // for its messages
	term       *Term // that made it so; nil: Options.Rule
	folderFail error // why that is not known

	// Guarded by Pool.mu.
	fd   int           // -1: closed for want of descriptors
	id   sys.ID        // what it was then
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
	if n.holds != neither {
		n = n.parent
	}
	return n.names().shown
}

// names returns what a folder may be called.
func (n *node) names() folderName { return folderNamesIn(n.below(), n.tree.inbox) }

// path returns the name of the directory for messages.
func (n *node) path() string {
	return strings.Join(append([]string{n.tree.t.Path}, n.below()...), "/")
}

// pin opens the directory if it was closed, and keeps it open until unpin.
func (p *Pool) pin(n *node) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n.fd < 0 {
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
	p.unpinLocked(n)
}

func (p *Pool) unpinLocked(n *node) {
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
		p.close(p.idle.Front().Value.(*node))
	}
}

// shut closes n, whose work had been done, and what was opened again to reach it.
func (p *Pool) shut(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; n.parent != nil; n = n.parent {
		p.close(n)
	}
}

func (p *Pool) close(n *node) {
	p.wake(n)
	if n.fd >= 0 {
		if n.refs > 0 || p.opt.MaxSize > 0 { // it may have to be opened again
			n.id, _ = sys.IDOf(n.fd) // without one it is not found
		}
		unix.Close(n.fd)
		n.fd = -1
		p.open--
	}
}

// reopen goes the same steps from the nearest directory above that is open,
// and makes sure that they lead to the same place. The last of those on the way
// stay open: on the way back up they are needed next, and a tree d deep costs
// some d*d/maxOpen steps, not d*d. This is the rare case of a tree deeper than the
// process may have files open.
//
// p.mu must be held. It is given up while the kernel is asked: a file system
// that does not answer must not hold up other Maildirs.
func (p *Pool) reopen(n *node) error {
	var steps []*node
	up := n
	for ; up.fd < 0; up = up.parent {
		steps = append(steps, up)
	}
	up.pins++
	p.wake(up)
	fd := up.fd
	p.mu.Unlock()
	fds, err := openSteps(fd, steps, p.maxOpen/2)
	p.mu.Lock()
	for i, fd := range fds {
		s := steps[i]
		if s.fd >= 0 { // somebody else was faster
			unix.Close(fd)
			continue
		}
		s.fd = fd
		p.open++
		if s != n && s.pins == 0 {
			s.rest = p.idle.PushBack(s)
		}
	}
	p.unpinLocked(up)
	return err
}

// openSteps opens the directories in steps, the last of which lies in that which
// is open as fd, and returns the descriptors of steps[0] and up to keep more.
func openSteps(fd int, steps []*node, keep int) ([]int, error) {
	fds := make([]int, min(len(steps), keep+1))
	passing := false // fd is of no use but for the next step
	for i := len(steps) - 1; i >= 0; i-- {
		next, err := openSame(fd, steps[i])
		if passing {
			unix.Close(fd)
		}
		if err != nil {
			for _, fd := range fds[min(i+1, len(fds)):] {
				unix.Close(fd)
			}
			return nil, err
		}
		fd = next
		if passing = i >= len(fds); !passing {
			fds[i] = fd
		}
	}
	return fds, nil
}

// openSame opens the directory n in its parent, which is open as dir, and makes
// sure that it is the one that was opened before.
func openSame(dir int, n *node) (int, error) {
	fd, err := sys.Openat(dir, n.name, sys.OpenDir)
	if err != nil {
		return -1, err
	}
	id, err := sys.IDOf(fd)
	if err == nil && (id != n.id || id == sys.ID{}) {
		err = way.ErrMoved
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
