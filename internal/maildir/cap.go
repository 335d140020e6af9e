package maildir

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A sizeCap brings a Maildir down to Options.MaxSize, the oldest messages first, in
// passes over it. The first one, in which the rule does its work, sums the sizes of
// what is left by hours of age; that tells the hour in which the limit is reached.
// In the last one what is older goes, and of that hour as many of the oldest as it
// takes. Where too many messages lie in one hour to be remembered, passes between
// divide it further. So memory does not grow with the messages.
type sizeCap struct {
	phase pass
	mu    sync.Mutex // guards what follows while a pass is under way

	total    int64 // bytes that count, as the rule left them
	need     int64 // bytes that have to go
	freed    int64 // of these
	sums     map[int64]weight
	from     int64 // where bucket 0 begins, as an age is: see nanos
	width    int64 // of a bucket
	lo, hi   int64 // ages that a pass looks at: from lo, and before hi
	before   int64 // bytes of what is older than lo
	remember bool  // what lies between lo and hi is sorted before it goes
	kept     []remembered
}

// A pass is what is done in one walk through a Maildir.
type pass int

const (
	weighing pass = iota // and the rule does its work
	dividing
	removing
)

// A weight is what some messages have together.
type weight struct {
	messages int
	bytes    int64
}

// A remembered is a message that may have to go.
type remembered struct {
	n    *node
	name string
	ino  uint64
	age  int64
}

const (
	hour = int64(time.Hour)
	// capHours is how far back there is a bucket for each hour: 20 years. What is
	// older, or in the future, is divided if it has to be.
	capHours = 20*366*24 + 24
	// capParts is into how many parts a pass divides: hours into nanoseconds in four.
	capParts = 4096
	// maxRemembered bounds the messages that are sorted, each some 100 bytes.
	maxRemembered = 4096
)

// nanos is a time as one number, in which what no clock ever shows is at the ends.
func (s Stamp) nanos() int64 {
	const most = math.MaxInt64/int64(time.Second) - 1
	switch {
	case s.Sec > most:
		return math.MaxInt64 - 1
	case s.Sec < -most:
		return math.MinInt64
	}
	return s.Sec*int64(time.Second) + s.Nsec
}

// weigh notes a message that the rule has left in n; mayGo says whether it may go for
// its size. What lies in tmp no quota counts, nor is it weighed.
func (w *worker) weigh(n *node, d sys.Dirent, mayGo bool) {
	if w.p.opt.MaxSize == 0 || !holdings[n.holds].counted || d.Name[0] == '.' {
		return
	}
	if !w.look(n, d) {
		return
	}
	size := sizeOf(d.Name, &w.st)
	age := n.rule.age(d.Name, &w.st).nanos()
	c := &n.tree.cap
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sums == nil {
		c.sums = make(map[int64]weight)
		c.from, c.width = (n.rule.latest+1)*int64(time.Second)-capHours*hour, hour
		c.lo, c.hi = math.MinInt64, math.MaxInt64
	}
	c.total = addSizes(c.total, size)
	if mayGo {
		c.put(age, size)
	}
}

// look gets the state of a file that must be regular. It reports whether it is.
func (w *worker) look(n *node, d sys.Dirent) bool {
	if err := d.Stat(n.fd, &w.st); err != nil {
		if !vanished(err) {
			w.fail(n, string(d.Name), err)
		}
		return false
	}
	return w.st.Mode&unix.S_IFMT == unix.S_IFREG
}

func (c *sizeCap) put(age, size int64) {
	i := c.bucket(age)
	sum := c.sums[i]
	c.sums[i] = weight{sum.messages + 1, addSizes(sum.bytes, size)}
}

// bucket returns the number of the bucket of an age: -1 for what is older than the
// first.
func (c *sizeCap) bucket(age int64) int64 {
	if age < c.from {
		return -1
	}
	i := uint64(age) - uint64(c.from)
	return int64(min(i/uint64(c.width), capHours))
}

// bounds returns the ages of a bucket: from lo, and before hi.
func (c *sizeCap) bounds(i int64) (lo, hi int64) {
	if i < 0 {
		return c.lo, c.from
	}
	lo = c.from + i*c.width
	if hi = lo + c.width; i == capHours || hi < lo || hi > c.hi {
		hi = c.hi
	}
	return lo, hi
}

// capped does with a message what a pass after the first does.
func (w *worker) capped(n *node, d sys.Dirent, s *tally) {
	if !holdings[n.holds].counted || !n.chosen || n.rule.stays(n.holds, d.Name) || !w.look(n, d) {
		return
	}
	if n.rule.old(n.holds, d.Name, &w.st) {
		return // the rule has had its turn, or would have
	}
	c := &n.tree.cap
	age := n.rule.age(d.Name, &w.st).nanos()
	c.mu.Lock()
	switch {
	case age >= c.hi || c.phase == dividing && age < c.lo:
	case c.phase == dividing:
		c.put(age, sizeOf(d.Name, &w.st))
	case age >= c.lo && c.remember:
		c.kept = append(c.kept, remembered{n, string(d.Name), w.st.Ino, age})
		if len(c.kept) > maxRemembered { // more came meanwhile
			c.kept = c.kept[:maxRemembered]
		}
	case age < c.lo || c.freed < c.need:
		c.freed += sizeOf(d.Name, &w.st)
		c.mu.Unlock()
		var err error
		if !w.p.opt.DryRun {
			err = d.Unlink(n.fd)
		}
		size, ok := w.removed(n, d.Name, err)
		if ok {
			w.count(n, d.Name, size, s)
			return
		}
		c.mu.Lock()
		c.freed -= sizeOf(d.Name, &w.st)
	}
	c.mu.Unlock()
}

// again ends a pass over a Maildir whose last piece of work has been done, and begins
// another if one is needed.
func (w *worker) again(root *node) bool {
	tr := root.tree
	c := &tr.cap
	if w.p.opt.MaxSize == 0 || w.p.stop.Load() || tr.over.Load() || w.lost.Load() {
		return false
	}
	switch {
	case c.phase == removing:
		w.removeRemembered(tr)
		if left := c.total - c.freed; left > w.p.opt.MaxSize {
			err := fmt.Errorf("%d bytes are left, %d more than wanted: what else there is may not go", left, left-w.p.opt.MaxSize)
			w.tell(func() { w.p.opt.Failed(tr.t, tr.t.Path, err) })
		}
		return false
	case c.phase == weighing && c.total <= w.p.opt.MaxSize:
		return false
	case c.phase == weighing:
		c.need = c.total - w.p.opt.MaxSize
	}
	c.narrow()
	if _, err := unix.Seek(root.fd, 0, 0); err != nil {
		w.fail(root, "", err)
		return false
	}
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	tr.names, tr.dirs = 0, 0
	root.refs++
	root.pins++
	root.reads = 0
	p.stack = append(p.stack, piece{n: root})
	p.call()
	return true
}

// narrow finds the bucket in which as much as is needed has been met, and says what
// the next pass does with it.
func (c *sizeCap) narrow() {
	c.phase = removing
	for _, i := range slices.Sorted(maps.Keys(c.sums)) {
		sum := c.sums[i]
		if c.before+sum.bytes < c.need {
			c.before += sum.bytes
			continue
		}
		c.lo, c.hi = c.bounds(i)
		switch c.remember = sum.messages <= maxRemembered; {
		case c.before+sum.bytes == c.need: // all of it
			c.lo = c.hi
		case !c.remember && uint64(c.hi)-uint64(c.lo) > 1:
			c.phase = dividing
			c.from = c.lo
			c.width = int64((uint64(c.hi)-uint64(c.lo))/capParts + 1)
			c.sums = make(map[int64]weight)
		}
		return
	}
	c.lo, c.hi = math.MaxInt64, math.MaxInt64 // not even all is enough
}

// removeRemembered removes the oldest of those that were remembered until enough has
// gone.
func (w *worker) removeRemembered(tr *tree) {
	c := &tr.cap
	if err := w.id.become(tr.uid, tr.gid); err != nil {
		w.fail(tr.root, "", err)
		return
	}
	sort.Slice(c.kept, func(i, j int) bool {
		a, b := &c.kept[i], &c.kept[j]
		if a.age != b.age {
			return a.age < b.age
		}
		// A dry run tells the same ones.
		return a.name < b.name || a.name == b.name && a.n.path() < b.n.path()
	})
	for _, k := range c.kept {
		if c.freed >= c.need || w.p.stop.Load() || tr.over.Load() || w.lost.Load() {
			break
		}
		w.turn()
		var s tally
		if dir, err := w.p.pin(k.n); err == nil {
			w.removeOne(dir, k, &s)
			w.p.unpin(k.n)
		} else if !vanished(err) {
			w.fail(k.n, "", err)
		}
		c.freed += s.Bytes
		w.p.add(k.n, s, 0, nil)
		w.p.shut(k.n)
	}
	c.kept = nil
}

// removeOne removes a remembered message from its directory, which is open as dir,
// unless its name is another's by now.
func (w *worker) removeOne(dir int, k remembered, s *tally) {
	err := sys.Lstatat(dir, k.name, &w.st)
	if err == nil {
		if w.st.Ino != k.ino || w.st.Mode&unix.S_IFMT != unix.S_IFREG {
			return
		}
		if !w.p.opt.DryRun {
			err = sys.Unlinkat(dir, k.name)
		}
	}
	if size, ok := w.removed(k.n, []byte(k.name), err); ok {
		w.count(k.n, []byte(k.name), size, s)
	}
}
