package queue

import (
	"cmp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// Scan tells what is in the queue, sub-directory by sub-directory and in each in
// order of number, until each returns false. In memory are the names of one
// sub-directory and, of the places that are flat, 8 bytes for each file.
//
// The queue lives meanwhile. What looks half received or like an orphan is
// looked at once more, since it may only have been on its way. What could not
// be read goes to failed, and so does what stands where its number does not
// belong; neither is told to each. failed may be nil.
func (q *Queue) Scan(each func(Found) bool, failed func(error)) error {
	if failed == nil {
		failed = func(error) {}
	}
	lists := make([][]uint64, len(q.places)) // of one sub-directory
	flat := make([][]uint64, len(q.places))  // of the places that are flat, what is to come
	for _, i := range q.lookOrder {
		if p := q.places[i]; !p.split && p.denied == nil {
			var err error
			if flat[i], err = numbers(nil, p.fd); err != nil {
				return pathError("read", p.String(), err)
			}
			flat[i] = slices.DeleteFunc(flat[i], p.isDir)
			q.bySubDir(flat[i])
		}
	}
	buffers := make([][]uint64, len(q.places)) // for the places that are split
	for d := range q.split {
		for i := range flat {
			end, _ := slices.BinarySearchFunc(flat[i], d, func(n, d uint64) int {
				if n%q.split > d {
					return 1
				}
				return -1
			})
			lists[i], flat[i] = flat[i][:end], flat[i][end:]
		}
		s, err := q.pin(d)
		if err != nil {
			failed(err)
			continue
		}
		more := true
		if q.readSubDirs(s, lists, buffers, failed) {
			more = q.merge(s, lists, each, failed)
		}
		q.unpin(s)
		if !more {
			break
		}
	}
	return nil
}

// readSubDirs reads the sub-directories of the places that are split. It
// returns false where one cannot be read: without it no state could be told.
func (q *Queue) readSubDirs(s *subDirs, lists, buffers [][]uint64, failed func(error)) bool {
	for _, i := range q.lookOrder {
		if !q.places[i].split {
			continue
		}
		if lists[i] = nil; s.fd[i] < 0 {
			continue
		}
		var err error
		if buffers[i], err = numbers(buffers[i][:0], s.fd[i]); err != nil {
			failed(pathError("read", subPath(q.places[i], s.d), err))
			return false
		}
		lists[i] = q.belonging(i, s.d, buffers[i], failed)
	}
	return true
}

// numbers reads the numbers in a directory, in their order. There is no message
// 0: no file has that inode.
func numbers(buf []uint64, fd int) ([]uint64, error) {
	err := eachNumber(fd, func(n uint64) {
		if n != 0 {
			buf = append(buf, n)
		}
	})
	slices.Sort(buf)
	return buf, err
}

// bySubDir puts the numbers in a flat place into the order in which Scan comes
// to them: by the sub-directory that they have in others.
func (q *Queue) bySubDir(numbers []uint64) {
	if q.split > 1 {
		slices.SortStableFunc(numbers, func(a, b uint64) int { return cmp.Compare(a%q.split, b%q.split) })
	}
}

// belonging keeps the numbers that belong into the sub-directory d and tells of
// the others.
func (q *Queue) belonging(i int, d uint64, numbers []uint64, failed func(error)) []uint64 {
	return slices.DeleteFunc(numbers, func(n uint64) bool {
		wrong := n%q.split != d
		if wrong {
			failed(pathError("read", subPath(q.places[i], d)+"/"+strconv.FormatUint(n, 10), ErrPlace))
		}
		return wrong
	})
}

// merge tells each number of the lists and the places that have it. It returns
// false where each did.
func (q *Queue) merge(s *subDirs, lists [][]uint64, each func(Found) bool, failed func(error)) bool {
	for {
		var f Found
		for _, list := range lists {
			if len(list) > 0 && (f.Number == 0 || list[0] < f.Number) {
				f.Number = list[0]
			}
		}
		if f.Number == 0 {
			return true
		}
		for i, list := range lists {
			if len(list) > 0 && list[0] == f.Number {
				lists[i] = list[1:]
				f.places |= 1 << q.places[i].Place
			}
		}
		if !f.State().Committed() {
			again, err := q.find(s, f.Number)
			if err == ErrNotFound {
				continue
			}
			if err != nil {
				failed(err)
				continue
			}
			f = again
		}
		if !each(f) {
			return false
		}
	}
}

// Find looks for one number in every place.
func (q *Queue) Find(n uint64) (Found, error) {
	if n == 0 {
		return Found{}, ErrNotFound
	}
	s, err := q.pin(n % q.split)
	if err != nil {
		return Found{}, err
	}
	defer q.unpin(s)
	return q.find(s, n)
}

func (q *Queue) find(s *subDirs, n uint64) (Found, error) {
	pieces := make([]unix.Stat_t, len(q.places))
	// The pieces of a message that went away between two of these looks are no
	// orphans, nor are those of the next one of that number. Twice in a row that
	// does not happen.
	for range 3 {
		f, err := q.look(s, n, pieces)
		switch {
		case err != nil:
			return Found{}, err
		case f.places == 0:
			return Found{}, ErrNotFound
		case f.Has(Mess):
			return f, nil
		}
	}
	f, err := q.look(s, n, pieces)
	if err == nil && f.places == 0 {
		err = ErrNotFound
	}
	return f, err
}

// look looks for a number once, and fills in the state of the pieces that
// there are.
func (q *Queue) look(s *subDirs, n uint64, pieces []unix.Stat_t) (Found, error) {
	f := Found{Number: n}
	digits := strconv.FormatUint(n, 10)
	for _, i := range q.lookOrder {
		if s.fd[i] < 0 || !q.places[i].split && q.places[i].isDir(n) {
			continue
		}
		switch err := sys.Lstatat(s.fd[i], digits, &pieces[i]); err {
		case nil:
			f.places |= 1 << q.places[i].Place
		case unix.ENOENT:
		default:
			return f, pathError("stat", q.path(q.places[i].Place, n), err)
		}
	}
	return f, nil
}
