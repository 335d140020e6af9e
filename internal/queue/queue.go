// Package queue reads qmail's queue and removes messages from it.
//
// A message lies in pieces under queue/: mess/N its text, intd/N and todo/N its
// envelope until qmail-send has read it, info/N its sender from then on,
// local/N and remote/N its recipients, bounce/N the failures so far. N is the
// inode number of mess/N, so it is used again as soon as that file is gone:
// whatever is still named N then belongs to somebody else's mail. That is why
// mess/N goes last, why everything is looked at again just before the first
// piece goes, and why nothing goes without the lock that qmail-send holds.
//
// Two kinds of process write here: qmail-queue, which no lock stops and which
// makes mess/N, then intd/N, then todo/N; and qmail-send with its qmail-clean,
// which the lock keeps out. INTERNALS of qmail's source calls the states of a
// message S1 to S5; so does this package.
//
// Every name below the queue directory is looked up relative to a directory
// that is open already, and no link is followed there.
package queue

import (
	"errors"
	"slices"
	"strconv"
	"sync"

	"kowaza/internal/sys"
)

// A Place is one of the directories that hold pieces of messages.
type Place int

// The places. A patched qmail has more channels beside local and remote:
// supplI is Suppl+I.
const (
	Mess Place = iota
	Intd
	Todo
	Info
	Bounce
	Local
	Remote
	Suppl
)

// maxSuppl is how many suppl directories there may be: a Found has a bit for
// each place.
const maxSuppl = 64 - int(Suppl)

var placeNames = [...]string{"mess", "intd", "todo", "info", "bounce", "local", "remote"}

// String is the name of the directory.
func (p Place) String() string {
	if p < Suppl {
		return placeNames[p]
	}
	return "suppl" + strconv.Itoa(int(p-Suppl))
}

// channel reports whether the place holds recipients.
func (p Place) channel() bool { return p >= Local }

// A Found is a number and the places that have a file of that name.
type Found struct {
	Number uint64
	places uint64 // bit p: there is one in the Place p
}

// Has reports whether there is a file in that place.
func (f Found) Has(p Place) bool { return f.places&(1<<p) != 0 }

// A State is how far a message has come.
type State int

// The states of INTERNALS, section 2, S1 being that there is nothing.
const (
	S2     State = iota + 2 // its text is being received, or was when its qmail-queue died
	S3                      // its envelope is being received, or was
	S4                      // in the queue, not yet preprocessed
	S5                      // preprocessed: sender and recipients have their files
	Orphan                  // pieces without a mess file
)

func (s State) String() string {
	if s == Orphan {
		return "orphan"
	}
	return "S" + strconv.Itoa(int(s))
}

// Committed reports whether the message is in the queue for good: neither half
// received, nor pieces of none.
func (s State) Committed() bool { return s == S4 || s == S5 }

// State tells the state from the places. Where todo is, qmail-send begins
// anew, whatever else is there. Where info and intd are and todo is not,
// info is left from an earlier message.
func (f Found) State() State {
	switch {
	case !f.Has(Mess):
		return Orphan
	case f.Has(Todo):
		return S4
	case f.Has(Intd):
		return S3
	case f.Has(Info):
		return S5
	}
	return S2
}

// The errors that callers tell apart. One that says that a message was not
// removed comes without a path, and then nothing of it has been touched; an
// *fs.PathError names the piece at which the removal ended.
var (
	ErrLayout   = errors.New("no queue that could be trusted")
	ErrPlace    = errors.New("stands in the wrong sub-directory for its number")
	ErrNotFound = errors.New("not in the queue")
	ErrVanished = errors.New("left the queue meanwhile")

	ErrMalformed  = errors.New("malformed")
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
	// ErrNotRead says that a file was left alone, since reading would change its
	// access time, by which qmail and this package tell what is dead.
	ErrNotRead = errors.New("not read: that would keep it from being cleaned")

	ErrRunning    = errors.New("qmail-send is running")
	ErrStopped    = errors.New("stopped while waiting for the lock")
	ErrNotRunning = errors.New("qmail-send is not running")
	ErrUnlocked   = errors.New("the queue is not locked")

	ErrCopied  = errors.New("queue was copied: repair it first")
	ErrChanged = errors.New("changed since it was read")
	ErrYoung   = errors.New("half received, not yet 36 hours old")
	// ErrNewer says that what was there before the text may be another message's.
	ErrNewer       = errors.New("text newer than its envelope, and not yet 36 hours old")
	ErrYoungPieces = errors.New("pieces without a message, not yet 36 hours old")
	ErrOrphan      = errors.New("pieces without a message")
	ErrNotLive     = errors.New("not yet preprocessed")
)

// A Queue is an open queue directory. Its methods may be called by several
// goroutines at once.
type Queue struct {
	fd     int
	places []place // by Place; there may be gaps between the suppl ones
	split  uint64  // of the places that are split; 1 where none is

	lookOrder, removeOrder []int // orders of the places, by their index: see setOrders

	mu      sync.Mutex // guards what follows
	open    map[uint64]*subDirs
	odd     []error             // of the layout, see Odd
	wrong   map[uint64]error    // the numbers that may not be removed, and why: see inPlace
	maxOpen int                 // of open
	clock   uint64              // counts uses, for subDirs.used
	known   map[uint64][]fileID // the sub-directories that were open once
	lockDir int                 // -1 until it is needed

	// before is called before each unlink, and rename of a repair, locking before each
	// flock; tests let things happen there.
	before  func(p Place, n uint64)
	locking func()

	readLocks func() string // in place of /proc/locks, in tests
	planned   func()        // a repair's plan has been written
}

// place is a directory of the queue.
type place struct {
	Place
	fd     int // -1 where it may not be read
	denied error
	split  bool

	dirs   []uint64 // the numeric sub-directories that there are, whatever split is
	file   string   // a number that is none, where there are such
	either bool     // split is only what it looks like: nothing is in the directories
}

// Open opens a queue directory, a link on the way to it being the
// administrator's, and reads its layout. ErrInterrupted where a repair was.
func Open(dir string) (*Queue, error) {
	q, err := openQueue(dir)
	if err != nil {
		return nil, err
	}
	if err := q.Whole(); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

func openQueue(dir string) (*Queue, error) {
	fd, err := sys.Openat(atCWD, dir, openDirFollow)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	q := &Queue{fd: fd, open: map[uint64]*subDirs{}, known: map[uint64][]fileID{}, lockDir: -1}
	l, err := readLayout(fd)
	if err != nil {
		closeAll(l.places)
		closeFD(fd)
		return nil, err
	}
	q.places, q.split, q.odd = l.places, l.split, l.odd
	q.setOrders()
	q.limitDescriptors()
	return q, nil
}

// setOrders puts the places into the two orders in which they are gone through.
//
// Looking: todo before intd and before info, since qmail-send makes info, then
// removes intd, then todo; so a message on its way from one state to the next
// is seen in one of them. mess last: it is made first and removed last, so
// where it is missing there is nothing, or an orphan, or one look was too few.
//
// Removing: bounce first, or a crash could send it. Then what is lost with no
// harm, and todo after info, or half-written files would be taken for a message
// that is preprocessed. mess last: while it is there nobody gets its number.
func (q *Queue) setOrders() {
	var channels []int
	for i, p := range q.places {
		if p.channel() {
			channels = append(channels, i)
		}
	}
	q.lookOrder = slices.Concat([]int{int(Todo), int(Intd), int(Bounce)}, channels, []int{int(Info), int(Mess)})
	q.removeOrder = slices.Concat([]int{int(Bounce)}, channels, []int{int(Info), int(Intd), int(Todo), int(Mess)})
}

// Close gives back every descriptor; a Lock stays.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.open {
		q.shut(s)
	}
	closeAll(q.places)
	if q.lockDir >= 0 {
		closeFD(q.lockDir)
	}
	closeFD(q.fd)
	q.lockDir, q.fd = -1, -1
	return nil
}

// path is how messages call a piece: relative to the queue directory.
func (q *Queue) path(p Place, n uint64) string {
	return subPath(q.places[q.index(p)], n%q.split) + "/" + strconv.FormatUint(n, 10)
}

// subPath is the directory of a place that holds the numbers of which d is
// left by the split.
func subPath(p place, d uint64) string {
	if !p.split {
		return p.String()
	}
	return p.String() + "/" + strconv.FormatUint(d, 10)
}

// index is where a place stands in q.places.
func (q *Queue) index(p Place) int {
	return slices.IndexFunc(q.places, func(at place) bool { return at.Place == p })
}

// Pieces returns the paths of a message's files, relative to the queue
// directory, in the order in which Remove takes them.
func (q *Queue) Pieces(f Found) []string {
	var paths []string
	for _, i := range q.removeOrder {
		if p := q.places[i].Place; f.Has(p) {
			paths = append(paths, q.path(p, f.Number))
		}
	}
	return paths
}

// Odd returns what is odd about the layout and keeps nothing from being read: each
// names a path below the queue directory.
func (q *Queue) Odd() []error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.odd
}

// Denied returns why a place cannot be read, nil where it can. Without some of them
// a process still sees the rest: one of group qmail reads mess and todo, as
// qmail-qstat does, and qmail-send's own account all but intd, which only tells a
// half received message from one that is preprocessed. Of a suppl place any is meant.
func (q *Queue) Denied(p Place) error {
	for _, at := range q.places {
		if at.denied != nil && (at.Place == p || p == Suppl && at.Place > p) {
			return at.denied
		}
	}
	return nil
}

// allReadable returns an error where some place cannot be read: then nothing may be
// judged of what would go.
func (q *Queue) allReadable() error {
	for _, p := range q.places {
		if p.denied != nil {
			return p.denied
		}
	}
	return nil
}

// Split returns into how many sub-directories the queue is split.
func (q *Queue) Split() uint64 { return q.split }

// HasRemote reports whether the message has a channel other than local: remote,
// or one of a patched qmail's.
func (f Found) HasRemote() bool { return f.places>>Remote != 0 }
