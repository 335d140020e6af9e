package queue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// ListNumbers is List for the messages with those numbers, in their order: it
// costs what these cost, and nothing for the rest of the queue. One that is not
// there is not told to each.
func (q *Queue) ListNumbers(numbers []uint64, l Listing, each func(*Message) bool) error {
	for _, n := range numbers {
		f, err := q.Find(n)
		if err == nil && l.Keep != nil && !l.Keep(f) {
			continue
		}
		var m *Message
		if err == nil {
			m, err = q.Read(f, l.Header)
		}
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrVanished):
			continue
		case err != nil:
			if l.Failed != nil {
				l.Failed(err)
			}
			continue
		}
		if !each(m) {
			return nil
		}
	}
	return nil
}

// CheckNumbers is Check for the removal of these numbers only.
//
// That the files of other messages stand in the wrong place does no harm to
// these. What could is a split that is not what the directories look like, since
// then every look-up goes to the wrong file: after conf-split was changed nearly
// all names are wrong, so that the first few hundred in the sub-directories that
// are used tell it. These cost a constant number of system calls.
func (l *Lock) CheckNumbers(numbers []uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return ErrUnlocked
	}
	if err := l.q.CheckNumbers(numbers); err != nil {
		return err
	}
	if l.checkedFor == nil {
		l.checkedFor = make(map[uint64]bool)
	}
	for _, n := range numbers {
		l.checkedFor[n] = true
	}
	return nil
}

// CheckNumbers is Lock.CheckNumbers without the lock.
func (q *Queue) CheckNumbers(numbers []uint64) error {
	if err := q.checkLayout(); err != nil {
		return err
	}
	var dirs []uint64
	for _, n := range numbers {
		dirs = append(dirs, n%q.split)
	}
	slices.Sort(dirs)
	for _, d := range slices.Compact(dirs) {
		if err := q.checkSubDirs(d, firstNumbers); err != nil {
			return err
		}
	}
	return nil
}

// firstNumbers reads the numbers that the first getdents64(2) of a directory
// tells: some hundreds.
func firstNumbers(dir int, each func(n uint64)) error {
	fd, err := sys.Openat(dir, ".", sys.OpenDir)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	buf := make([]byte, 32<<10)
	n, err := sys.Getdents(fd, buf)
	if err != nil {
		return err
	}
	for rest := buf[:max(n, 0)]; len(rest) > 0; {
		var d sys.Dirent
		d, rest = sys.NextDirent(rest)
		if n, ok := number(d.Name); ok {
			each(n)
		}
	}
	return nil
}

// checkLayout makes sure that the layout is what it was when the queue was opened.
func (q *Queue) checkLayout() error {
	places, split, err := readLayout(q.fd)
	closeAll(places)
	if err != nil {
		return err
	}
	if split != q.split || !slices.EqualFunc(places, q.places, func(a, b place) bool { return a.Place == b.Place && a.split == b.split }) {
		return pathError("layout", ".", fmt.Errorf("%w: another layout than before", ErrLayout))
	}
	return nil
}

// checkSubDirs makes sure that the numbers which read tells of the sub-directories
// d belong there.
func (q *Queue) checkSubDirs(d uint64, read func(dir int, each func(n uint64)) error) error {
	s, err := q.pin(d)
	if err != nil {
		return err
	}
	defer q.unpin(s)
	for i, p := range q.places {
		if !p.split {
			continue
		}
		var wrong uint64
		err := read(s.fd[i], func(n uint64) {
			if wrong == 0 && n%q.split != d {
				wrong = n
			}
		})
		if err != nil {
			return pathError("read", subPath(p, d), err)
		}
		if wrong != 0 {
			return pathError("layout", subPath(p, d)+"/"+strconv.FormatUint(wrong, 10), ErrPlace)
		}
	}
	return nil
}

// flat reports whether a place has no sub-directories, where that can be told
// without reading it, which may hold millions of files: it has no directory 0, and
// as few names as a directory without sub-directories has. Some file systems count
// none of them: then it cannot be told.
func flat(dir int) (bool, error) {
	var st, zero unix.Stat_t
	if err := sys.Fstat(dir, &st); err != nil || st.Nlink != 2 {
		return false, err
	}
	err := sys.Lstatat(dir, "0", &zero)
	if err == unix.ENOENT {
		return true, nil
	}
	return err == nil && !isDir(&zero), err
}
