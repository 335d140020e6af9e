package maildir

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
	"kowaza/internal/way"
)

// A worker is one thread, with its own buffer and identity.
type worker struct {
	p       *Pool
	id      *identity
	idErr   error
	way     way.Cache // to the Maildirs
	owner   uint32    // of the Maildir that was found last
	same    bool      // and of the one before
	buf     []byte
	subdirs []byte // names of directories met in a batch, each ends with NUL
	st      unix.Stat_t

	watched
}

// batchSize is how much of a directory is read at once, in bytes: 4 kB are some
// 50 names. Batches of 32 kB took 1.7 times as long where a Maildir has 1000
// messages, since few workers got one. After each smallBatches of them the size
// doubles, maxDoublings times at most: a Maildir of 100 000 with hardly anything old took 163 ms with
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
	defer w.way.Close()
	for {
		t, work, ok := w.p.take(w)
		switch {
		case !ok:
			return
		case t != nil:
			w.begin(t)
			continue
		case w.p.stop.Load() || work.n.tree.over.Load():
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
	if root == nil || w.again(root) {
		return
	}
	tr := root.tree
	if tr.tally.quota.Removed > 0 && !w.p.opt.DryRun {
		err := w.id.become(tr.uid, tr.gid)
		if err == nil {
			err = subtract(root.fd, tr.uid, tr.tally, w.p.opt.Trash)
		}
		if err != nil {
			w.tell(func() { w.p.opt.Failed(tr.t, tr.t.Path+"/"+quotaFile, err) })
		}
	}
	w.p.mu.Lock()
	w.p.close(root)
	told := tr.ended
	tr.ended = true
	w.p.mu.Unlock()
	if !told {
		w.tell(func() { w.p.done(tr.t, tr.tally.Stats, tr.folders) })
	}
}

// tell calls a func that calls one of Options, one at a time. How long these take is
// not the file system's fault: they may wait for who reads what they print.
func (w *worker) tell(f func()) {
	back := w.pause()
	defer back()
	w.p.tell.Lock()
	defer w.p.tell.Unlock()
	if !w.lost.Load() {
		f()
	}
}

// done tells the end of t; p.tell must be held.
func (p *Pool) done(t *Target, s Stats, folders map[string]*FolderStats) {
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		p.opt.Folder(t, *folders[name])
	}
	p.opt.Done(t, s)
}

// fail reports an error about name in n, or about n where name is empty.
func (w *worker) fail(n *node, name string, err error) {
	if n.tree.over.Load() {
		return // that has been said
	}
	shown := n.path()
	if name != "" {
		shown += "/" + name
	}
	w.tell(func() { w.p.opt.Failed(n.tree.t, shown, err) })
}

// leave ends the work in the tree of n for that reason, which is said once.
func (w *worker) leave(n *node, err error) {
	if n.tree.over.CompareAndSwap(false, true) {
		w.tell(func() { w.p.opt.Failed(n.tree.t, n.tree.t.Path, err) })
	}
}

// begin finds and enters a Maildir.
func (w *worker) begin(t *Target) {
	n, err := w.enter(t)
	if err != nil {
		shown := t.Path
		if pe, ok := err.(*fs.PathError); ok {
			shown, err = pe.Path, pe.Err
		}
		w.tell(func() {
			w.p.opt.Failed(t, shown, err)
			w.p.done(t, Stats{}, nil)
		})
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
	loc, err := w.find(t.Path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(loc.FD)
	if t.Checked && loc.UID != t.UID {
		return nil, ErrOwner
	}
	if err := w.id.become(loc.UID, loc.GID); err != nil {
		return nil, err
	}
	fd, err := sys.Openat(loc.FD, ".", sys.OpenDir)
	if err == unix.EACCES {
		return nil, &OwnerError{loc.UID, err}
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = w.p.isMaildir(fd, loc.UID)
	if err == nil && w.p.opt.OneFileSystem {
		err = sys.Fstat(fd, &st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	w.p.mu.Lock()
	w.p.open++
	w.p.mu.Unlock()
	t.begun = true
	n := &node{
		tree: &tree{t: t, uid: loc.UID, gid: loc.GID, dev: uint64(st.Dev)},
		fd:   fd, refs: 1, pins: 1,
		rule: &w.p.opt.Rule,
	}
	n.tree.root = n
	w.watch(n.tree)
	if w.p.opt.Inbox == "" {
		n.folder.Do(func() { w.markFolder(n) })
	} else {
		n.tree.inbox = strings.Split(w.p.opt.Inbox, "/")
	}
	return n, nil
}

// isMaildir makes sure that fd is a Maildir, or where the INBOX lies in a directory
// of it that this is one, and that the process can remove mail there.
func (p *Pool) isMaildir(fd int, owner uint32) error {
	for _, name := range strings.Split(p.opt.Inbox, "/") {
		if name == "" {
			break
		}
		inbox, err := sys.Openat(fd, name, sys.OpenDir)
		if err == unix.ENOENT {
			return &NotMaildirError{[]string{p.opt.Inbox}}
		}
		if err != nil {
			return err
		}
		defer unix.Close(inbox)
		fd = inbox
	}
	err := isMaildir(fd)
	if err == nil && !p.opt.DryRun {
		err = mayRemove(fd, owner)
	}
	return err
}

// mayRemove makes sure that a process without special rights can remove what lies in
// cur of another's Maildir: one error, not one a message.
func mayRemove(fd int, owner uint32) error {
	if sys.Privileged() || uint32(unix.Geteuid()) == owner {
		return nil
	}
	if unix.Faccessat(fd, "cur", unix.W_OK|unix.X_OK, unix.AT_EACCESS) == unix.EACCES {
		return &OwnerError{owner, unix.EACCES}
	}
	return nil
}

// find finds a Maildir with the rights of the process. Where one owner has
// many Maildirs, those of the owner at hand mostly do: that spares the change
// there and back, ten system calls, for each.
func (w *worker) find(path string) (way.Location, error) {
	var loc way.Location
	var err error = fs.ErrPermission
	if w.same && w.id.isUID(w.owner) {
		loc, err = w.way.Locate(path)
	}
	if errors.Is(err, fs.ErrPermission) {
		if err := w.id.restore(); err != nil {
			return way.Location{}, err
		}
		loc, err = w.way.Locate(path)
	}
	w.same = err == nil && loc.UID == w.owner
	w.owner = loc.UID
	return loc, err
}

// read reads a directory on and works on what it gets. Where there is probably
// more it lets another worker read that.
func (w *worker) read(n *node) {
	for {
		w.turn()
		if n.tree.over.Load() {
			w.p.unpin(n)
			return
		}
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
		s, names := w.batch(n, buf[:size])
		if err := w.p.add(n, s, names, w.subdirs); err != nil {
			w.leave(n, err)
		}
		if full {
			w.p.unpin(n)
			return
		}
	}
}

// add books a batch, and puts the directories that it met beneath the read of
// n that may be due: a directory can be closed only after it was read to its
// end. An error says which bound of a Maildir was reached; nothing is put there
// then.
func (p *Pool) add(n *node, s tally, names int, subdirs []byte) error {
	folder := ""
	if p.opt.Folder != nil && (s.Messages > 0 || s.Removed > 0) {
		folder = n.folderName()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	tr := n.tree
	if tr.ended {
		return nil // it was given up meanwhile
	}
	tr.tally.add(s)
	if folder != "" {
		tr.addFolder(folder, n.term, s.Stats)
	}
	switch tr.names += int64(names); {
	case tr.names > maxNames:
		return errNames
	case len(subdirs) == 0:
		return nil
	case tr.waiting+int64(len(subdirs)) > maxWaiting:
		return errWaiting
	}
	tr.waiting += int64(len(subdirs))
	n.refs++
	w := piece{n, bytes.Clone(subdirs)}
	p.stack = append(p.stack, w)
	if i := len(p.stack) - 2; i >= 0 && p.stack[i].n == n && p.stack[i].names == nil {
		p.stack[i], p.stack[i+1] = p.stack[i+1], p.stack[i]
	}
	p.call()
	return nil
}

// A tally is what was done, and the parts of it that quotas had counted.
type tally struct {
	Stats
	quota Stats // messages that were delivered
	trash Stats // those of them that only some quotas count, see TrashQuota
}

func (t *tally) add(u tally) {
	t.Add(u.Stats)
	t.quota.Add(u.quota)
	t.trash.Add(u.trash)
}

// batch removes what is old among the names that one read of n gave. It
// returns what it met and the number of names.
func (w *worker) batch(n *node, names []byte) (s tally, count int) {
	rule := n.rule
	for len(names) > 0 && !w.p.stop.Load() && !w.lost.Load() {
		var d sys.Dirent
		d, names = sys.NextDirent(names)
		count++
		if d.Kind == unix.DT_UNKNOWN && !dots(d.Name) {
			d.Kind = w.kindOf(n, d)
		}
		switch {
		case d.Kind == unix.DT_DIR && !dots(d.Name):
			w.subdirs = append(append(w.subdirs, d.Name...), 0)
		case d.Kind != unix.DT_REG || !rule.takes(n.holds, d.Name):
		case n.tree.cap.phase > 0:
			w.capped(n, d, &s)
		default:
			if n.holds != neither && !n.chosen { // only --max-size looks at it
				w.weigh(n, d, false)
				continue
			}
			s.Messages++
			looked := false
			if w.p.opt.Sizes {
				var size int64
				size, looked = w.size(n, d)
				s.Add(Stats{Size: size})
			}
			stays := rule.stays(n.holds, d.Name)
			if !stays && !rule.young(d.Name) {
				size, ok := w.remove(n, d, looked)
				if ok {
					w.count(n, d.Name, size, &s)
					continue
				}
			}
			w.weigh(n, d, !stays)
		}
	}
	w.p.seen.Add(s.Messages)
	w.p.gone.Add(s.Removed)
	return s, count
}

// count counts a message that was removed.
func (w *worker) count(n *node, name []byte, size int64, s *tally) {
	one := Stats{Removed: 1, Bytes: size, Oldest: n.rule.age(name, &w.st)}
	s.Add(one)
	if !counted(n.holds, name) {
		return
	}
	s.quota.Add(one)
	if n.trash || thrownAway(name) {
		s.trash.Add(one)
	}
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

// remove removes one file if it is old, and returns its size in bytes. Where it was
// looked at just now, w.st has its state.
func (w *worker) remove(n *node, d sys.Dirent, looked bool) (size int64, removed bool) {
	var err error
	if !looked {
		err = d.Stat(n.fd, &w.st)
	}
	if err == nil {
		if w.st.Mode&unix.S_IFMT != unix.S_IFREG || !n.rule.old(n.holds, d.Name, &w.st) {
			return 0, false
		}
		if !w.p.opt.DryRun {
			err = d.Unlink(n.fd)
		}
	}
	return w.removed(n, d.Name, err)
}

// removed tells of a message of n that was removed, or could not be, and returns its
// size in bytes.
func (w *worker) removed(n *node, name []byte, err error) (size int64, removed bool) {
	if err != nil {
		if !vanished(err) {
			w.fail(n, string(name), err)
		}
		return 0, false
	}
	if w.p.opt.Old != nil {
		shown := n.path() + "/" + string(name)
		w.tell(func() { w.p.opt.Old(shown) })
	}
	return sizeOf(name, &w.st), true
}

// size returns the size of a message in bytes, 0 where it vanished, and whether it
// had to be looked at for that: then w.st has its state.
func (w *worker) size(n *node, d sys.Dirent) (size int64, looked bool) {
	if size, ok := nameSize(d.Name); ok {
		return size, false
	}
	if err := d.Stat(n.fd, &w.st); err != nil {
		if !vanished(err) {
			w.fail(n, string(d.Name), err)
		}
		return 0, false
	}
	return inodeSize(w.st.Size), true
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
	if !w.skipped(n, dir, name) {
		child, err = w.openChild(n, dir, name)
	}
	if err != nil && !vanished(err) {
		w.fail(n, name, err)
	}
	tooMany := false
	if child != nil {
		w.p.mu.Lock()
		n.refs++
		w.p.open++
		n.tree.dirs++
		tooMany = n.tree.dirs > maxDirs
		w.p.mu.Unlock()
	}
	w.p.unpin(n)
	if tooMany {
		w.leave(n, errDirs)
	}
	if child != nil {
		w.read(child)
		w.release(child)
	}
}

// classify finds out, once, whether n, which is open as dir, is a folder and one
// of those that were chosen.
func (w *worker) classify(n *node, dir int) {
	n.folder.Do(func() {
		ok, err := isFolder(dir)
		if n.folderFail = err; ok {
			w.markFolder(n)
		}
	})
}

// markFolder notes that n is a folder, whether it was chosen, and which rule counts.
func (w *worker) markFolder(n *node) {
	opt := &w.p.opt
	n.isFolder = true
	n.chosen = len(opt.Folders) == 0
	if len(w.p.asked) == 0 && len(n.tree.t.Terms) == 0 {
		return
	}
	names := n.names()
	matches := func(f Folder) bool {
		m := f.matches(names)
		return m == yes || m == ifDotless && !w.hasDots(n.tree)
	}
	has := make([]bool, len(w.p.asked)) // each was there, whether it decides or not
	for i, f := range w.p.asked {
		if has[i] = matches(f); has[i] {
			w.p.found[i].Store(true)
		}
	}
	chosen, except, terms := has[:len(opt.Folders)], has[len(opt.Folders):], has[len(opt.Folders)+len(opt.Except):]
	n.chosen = (n.chosen || slices.Contains(chosen, true)) && !slices.Contains(except[:len(opt.Except)], true)
	for i := range n.tree.t.Terms {
		if term := &n.tree.t.Terms[i]; matches(term.Folder) {
			n.term = term
			break
		}
	}
	if i := slices.Index(terms, true); i >= 0 && n.term == nil {
		n.term = &opt.Terms[i]
	}
	if n.term != nil {
		n.rule = n.term.apply(opt.Rule)
	}
}

// skipped reports whether name in n holds the messages of a folder that was not
// chosen: it need not even be opened, unless all messages have to be weighed.
func (w *worker) skipped(n *node, dir int, name string) bool {
	if len(w.p.opt.Folders)+len(w.p.opt.Except) == 0 || w.p.opt.MaxSize > 0 || !isMessageDir(name) {
		return false
	}
	w.classify(n, dir)
	return n.isFolder && !n.chosen
}

// openChild opens the directory name in n, which is open as dir.
func (w *worker) openChild(n *node, dir int, name string) (*node, error) {
	length := n.length + 1 + len(name)
	if length > maxPath {
		return nil, errPath
	}
	fd, err := w.p.openBelow(dir, name)
	if err != nil {
		return nil, err
	}
	if w.p.opt.OneFileSystem {
		var st unix.Stat_t
		if err = sys.Fstat(fd, &st); err == nil && uint64(st.Dev) != n.tree.dev {
			err = unix.ENOTDIR // as good as none
		}
		if err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	child := &node{
		tree: n.tree, parent: n, name: name, length: length,
		trash: n.trash || n.parent == nil && name == trashFolder,
		fd:    fd, refs: 1, pins: 1,
		rule: &w.p.opt.Rule,
	}
	if isMessageDir(name) {
		w.classify(n, dir)
		switch {
		case n.folderFail != nil:
			unix.Close(fd)
			return nil, n.folderFail
		case n.isFolder:
			child.holds, child.chosen, child.rule, child.term = contentOf(name), n.chosen, n.rule, n.term
		}
	}
	return child, nil
}

// openBelow opens the directory name in dir. With OneFileSystem a mount point is none
// of ours (vanished), a bind mount of the same file system too: the kernel is asked
// not to cross one, where it knows how (openat2(2), Linux 5.6).
func (p *Pool) openBelow(dir int, name string) (int, error) {
	if p.opt.OneFileSystem {
		how := unix.OpenHow{Flags: sys.OpenDir | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV}
		for {
			fd, err := unix.Openat2(dir, name, &how)
			switch err {
			case unix.EINTR:
				continue
			case unix.EXDEV:
				return -1, unix.ENOTDIR
			case unix.ENOSYS, unix.EPERM: // an older kernel, or a filter of system calls
			default:
				return fd, err
			}
			break
		}
	}
	return sys.Openat(dir, name, sys.OpenDir)
}
