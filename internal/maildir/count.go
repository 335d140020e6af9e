package maildir

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A count is what was found in a Maildir by looking.
type count struct {
	Usage
	young  map[int64]int // how many messages of a size are young and have none in their name
	mtimes []Stamp       // of all cur and new
}

// youngFor is how long a message may have lain there that a booking was made for, in
// seconds: one more than a booking lasts, since mtimes and bookings are rounded.
const youngFor = bookingTime + 1

// A counter counts a Maildir.
type counter struct {
	noTrash bool // Trash and messages with the flag T do not count
	now     time.Time
	helpers int // threads that may help; the caller's identity must be the process's then

	mu  sync.Mutex
	all count
	err error
}

// counts reports whether a quota counts the directory name in a Maildir: one that
// begins with a dot (Maildir++), Trash but by choice.
func counts(name []byte, noTrash bool) bool {
	return name[0] == '.' && !dots(name) && !(noTrash && string(name) == trashFolder)
}

// eachBox calls f with cur and new of the Maildir that is open as dir and of all its
// folders, each opened for reading, and closes it.
func eachBox(dir int, noTrash bool, f func(fd int) error) error {
	if err := bothBoxes(dir, f); err != nil {
		return err
	}
	fd, err := sys.Openat(dir, ".", sys.OpenDir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return sys.EachDirent(fd, func(d sys.Dirent) error {
		if !counts(d.Name, noTrash) || d.Kind != unix.DT_DIR && d.Kind != unix.DT_UNKNOWN {
			return nil
		}
		folder, err := sys.Openat(dir, string(d.Name), sys.OpenDir)
		if vanished(err) {
			return nil // or no directory
		}
		if err != nil {
			return err
		}
		defer unix.Close(folder)
		for _, name := range []string{"cur", "new"} {
			if ok, err := isDirAt(folder, name); err != nil || !ok {
				return err
			}
		}
		return bothBoxes(folder, f)
	})
}

func bothBoxes(dir int, f func(fd int) error) error {
	for _, name := range []string{"cur", "new"} {
		fd, err := sys.Openat(dir, name, sys.OpenDir)
		if vanished(err) {
			continue
		}
		if err == nil {
			err = f(fd)
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// boxTimes returns the mtimes of all cur and new that eachBox finds.
func boxTimes(dir int, noTrash bool) (times []Stamp, err error) {
	err = eachBox(dir, noTrash, func(fd int) error {
		var st unix.Stat_t
		err := sys.Fstat(fd, &st)
		times = append(times, mtime(&st))
		return err
	})
	return times, err
}

// largeBatch is how much of a directory is read at once for a count, in bytes. A
// directory of more than one batch gets helpers, where names do not tell the size: a
// stat for each message is nearly all that a count costs.
const largeBatch = 32 << 10

// count counts the Maildir that is open as dir: all that lies in cur and new of it and
// of its folders and whose name does not begin with a dot.
func (c *counter) count(dir int) (count, error) {
	c.all = count{young: make(map[int64]int)}
	err := eachBox(dir, c.noTrash, func(fd int) error {
		var st unix.Stat_t
		if err := sys.Fstat(fd, &st); err != nil {
			return err
		}
		c.all.mtimes = append(c.all.mtimes, mtime(&st))
		return c.box(fd)
	})
	return c.all, err
}

// box counts one directory.
func (c *counter) box(fd int) error {
	c.err = nil
	var helpers sync.WaitGroup
	var feed chan []byte
	for {
		buf := make([]byte, largeBatch)
		size, err := sys.Getdents(fd, buf)
		if err != nil || size == 0 {
			if feed != nil {
				close(feed)
				helpers.Wait()
			}
			if err == nil || vanished(err) {
				err = c.err
			}
			return err
		}
		names := buf[:size]
		full := size > len(buf)-sys.DirentMax
		if full && feed == nil && c.helpers > 0 {
			feed = make(chan []byte, c.helpers)
			for range min(c.helpers, runtime.NumCPU()) {
				helpers.Go(func() {
					for names := range feed {
						c.batch(fd, names)
					}
				})
			}
		}
		if feed != nil {
			select {
			case feed <- names:
				continue
			default: // all have enough to do
			}
		}
		c.batch(fd, names)
	}
}

// batch counts the messages among names in the directory that is open as fd.
func (c *counter) batch(fd int, names []byte) {
	var sum Usage
	var young []int64
	var st unix.Stat_t
	oldest := c.now.Unix() - youngFor
	for len(names) > 0 {
		var d sys.Dirent
		d, names = sys.NextDirent(names)
		if d.Name[0] == '.' || d.Kind != unix.DT_REG && d.Kind != unix.DT_UNKNOWN || c.noTrash && thrownAway(d.Name) {
			continue
		}
		size, told := nameSize(d.Name)
		if !told || d.Kind == unix.DT_UNKNOWN {
			switch err := d.Stat(fd, &st); {
			case vanished(err):
				continue
			case err != nil:
				c.fail(err)
				return
			case st.Mode&unix.S_IFMT != unix.S_IFREG:
				continue
			case !told:
				if size = inodeSize(st.Size); int64(st.Mtim.Sec) >= oldest {
					young = append(young, size)
				}
			}
		}
		sum = sum.Plus(Usage{size, 1})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.Usage = c.all.Plus(sum)
	for _, size := range young {
		c.all.young[size]++
	}
}

func (c *counter) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// settle says which of the bookings have arrived by what was counted, and returns the sum of those
// that have not.
func (n *count) settle(bookings []booking) (settled []booking, underWay Usage) {
	found := make(map[int64]int)
	for size, messages := range n.young {
		found[size] = messages
	}
	for _, b := range bookings { // which had arrived before, and account for as many
		if b.arrived && found[b.size] > 0 {
			found[b.size]--
		}
	}
	for _, b := range bookings {
		if !b.arrived && found[b.size] > 0 {
			found[b.size]--
			b.arrived = true
		}
		if !b.arrived {
			underWay = underWay.Plus(Usage{b.size, 1})
		}
		settled = append(settled, b)
	}
	return settled, underWay
}
