package queue

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// ListNumbers is List for the messages with those numbers, in their order: it
// costs what these cost, and nothing for the rest of the queue. One that is not
// there is not told to each.
func (q *Queue) ListNumbers(numbers []uint64, l Listing, each func(*Message) bool) error {
	r := reader{q: q}
	for _, n := range numbers {
		f, err := q.Find(n)
		if err == ErrNotFound {
			err = cmp.Or(q.inPlace(n), err)
		}
		if err == nil && l.Keep != nil && !l.Keep(f) {
			continue
		}
		var m *Message
		if err == nil {
			m, err = r.read(f, parts{l.Header, l.Injector})
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

// CheckNumbers is Check for the removal of these numbers only: whether they have a
// file in a wrong place is asked for each of them and each directory, which for a few
// numbers costs nothing beside reading a large queue.
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
	wrong := make(map[uint64]error)
	for _, p := range q.places {
		for _, n := range numbers {
			path, err := p.wrongFile(q.split, n)
			if path != "" && err == nil {
				err = errWrong(path)
			}
			if err != nil {
				wrong[n] = err // of the others it may be known
			}
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range numbers {
		delete(q.wrong, n)
	}
	if q.wrong == nil {
		q.wrong = wrong
	}
	maps.Copy(q.wrong, wrong)
	return nil
}

// checkLayout makes sure that the layout is what it was when the queue was opened,
// and that all of it can be read. Where it could not be told then whether todo and
// intd are split, since nothing was in them, it is as it looks by now.
func (q *Queue) checkLayout() error {
	if err := q.allReadable(); err != nil {
		return err
	}
	l, err := readLayout(q.fd)
	closeAll(l.places)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	same := l.split == q.split && len(l.places) == len(q.places)
	for i := 0; same && i < len(l.places); i++ {
		was, is := &q.places[i], l.places[i]
		switch {
		case is.Place != was.Place || !slices.Equal(is.dirs, was.dirs):
			same = false
		case is.split == was.split || is.either:
		case was.either && len(q.open) == 0:
			was.split, was.either = false, false
			q.odd = l.odd
		default:
			same = false
		}
	}
	if !same {
		return layoutError(".", "another layout than before")
	}
	return nil
}

// maxWrong is how many files in wrong places are noted. Where there are more, the
// queue was split anew, or is none.
const maxWrong = 1 << 20

// eachWrong notes the numbers that have a file of the place where they do not belong.
func (p place) eachWrong(split uint64, wrong map[uint64]error) error {
	note := func(n uint64, path string) error {
		if wrong[n] = errWrong(path); len(wrong) > maxWrong {
			return layoutError(path, "stands in the wrong sub-directory, and more than %d others", maxWrong)
		}
		return nil
	}
	if p.split && p.file != "" {
		err := eachDirent(p.fd, func(fd int, d sys.Dirent) error {
			n, ok := number(d.Name)
			if !ok {
				return nil
			}
			if directory, err := isDirAt(fd, d); directory || err != nil {
				return err
			}
			return note(n, p.String()+"/"+string(d.Name))
		})
		if err != nil {
			return inPath("read", p.String(), err)
		}
	}
	for _, d := range p.dirs {
		path := p.String() + "/" + strconv.FormatUint(d, 10)
		fd, err := sys.Openat(p.fd, strconv.FormatUint(d, 10), sys.OpenDir)
		if err != nil {
			return pathError("open", path, err)
		}
		var first error
		err = eachNumber(fd, func(n uint64) {
			if n != 0 && !(p.split && n%split == d) && first == nil {
				first = note(n, path+"/"+strconv.FormatUint(n, 10))
			}
		})
		closeFD(fd)
		if err != nil {
			return pathError("read", path, err)
		}
		if first != nil {
			return first
		}
	}
	return nil
}

// wrongFile returns the path of a file of that number that does not belong there, if
// there is one.
func (p place) wrongFile(split, n uint64) (string, error) {
	var st unix.Stat_t
	digits := strconv.FormatUint(n, 10)
	is := func(name string) (bool, error) {
		switch err := sys.Lstatat(p.fd, name, &st); err {
		case nil:
			return name != digits || !isDir(&st), nil
		case unix.ENOENT, unix.ENOTDIR:
			return false, nil
		default:
			return false, pathError("stat", p.String()+"/"+strings.TrimSuffix(name, "/"+digits), err)
		}
	}
	if p.split {
		if yes, err := is(digits); yes || err != nil {
			return p.String() + "/" + digits, err
		}
	}
	for _, d := range p.dirs {
		if p.split && n%split == d {
			continue
		}
		name := strconv.FormatUint(d, 10) + "/" + digits
		if yes, err := is(name); yes || err != nil {
			return p.String() + "/" + name, err
		}
	}
	return "", nil
}

func errWrong(path string) error { return fmt.Errorf("%s %w", path, ErrPlace) }

// inPlace returns an error that wraps ErrPlace where a check has found a file of that
// number where it does not belong, and another where it could not find that out.
func (q *Queue) inPlace(n uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wrong[n]
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
