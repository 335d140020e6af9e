package queue

import (
	"math"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// subDirs are the open sub-directories of one number, d, of all places, for a
// flat place the place itself.
//
// They stay open, so that a piece is one look-up away: a queue split by 151
// has some 900 of them, and Go raises the soft limit of open files to the hard
// one when it starts. Where that is not enough, those least used are closed
// and opened again when they are needed.
type subDirs struct {
	d    uint64
	fd   []int // as q.places
	pins int   // in use
	used uint64
}

// A fileID is what tells one file or directory from another that is there
// at the same time.
type fileID struct{ dev, ino uint64 }

// limitDescriptors fits what is held open into the process's limit.
func (q *Queue) limitDescriptors() {
	const reserved = 64 // for the rest of the process
	split := 0
	for _, p := range q.places {
		if p.split {
			split++
		}
	}
	limit := uint64(1024)
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		limit = uint64(r.Cur)
	}
	room := max(limit, reserved) - reserved
	q.maxOpen = int(min(max(room/uint64(max(split, 1)), 2), math.MaxInt32))
}

// pin opens the sub-directories of the number d and keeps them open until
// unpin.
func (q *Queue) pin(d uint64) (*subDirs, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.clock++
	s := q.open[d]
	if s == nil {
		q.makeRoom()
		s = &subDirs{d: d}
		if err := q.openSubDirs(s); err != nil {
			q.shut(s)
			return nil, err
		}
		q.open[d] = s
	}
	s.used = q.clock
	s.pins++
	return s, nil
}

func (q *Queue) unpin(s *subDirs) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.pins--
}

// makeRoom closes the least used that nobody uses. Where all are in use there
// is one too many for a while: users are few.
func (q *Queue) makeRoom() {
	if len(q.open) < q.maxOpen {
		return
	}
	var least *subDirs
	for _, s := range q.open {
		if s.pins == 0 && (least == nil || s.used < least.used) {
			least = s
		}
	}
	if least != nil {
		q.shut(least)
	}
}

// openSubDirs opens the directories of one number's sub-directory. What was open before
// must be the same directory again. One that was missing from the first has no files,
// but for that of mess: without it all would look like pieces without a message.
func (q *Queue) openSubDirs(s *subDirs) error {
	known, again := q.known[s.d]
	if !again {
		known = make([]fileID, len(q.places))
	}
	for i, p := range q.places {
		if !p.split {
			s.fd = append(s.fd, p.fd)
			continue
		}
		path := subPath(p, s.d)
		fd, err := sys.Openat(p.fd, path[len(p.String())+1:], sys.OpenDir)
		if err == unix.ENOENT && p.Place != Mess && !p.isDir(s.d) {
			s.fd = append(s.fd, -1)
			continue
		}
		if err != nil {
			return pathError("open", path, err)
		}
		s.fd = append(s.fd, fd)
		var st unix.Stat_t
		if err := sys.Fstat(fd, &st); err != nil {
			return pathError("stat", path, err)
		}
		is := fileID{uint64(st.Dev), st.Ino}
		if again && known[i] != is {
			return layoutError(path, "another directory than before")
		}
		known[i] = is
	}
	q.known[s.d] = known
	return nil
}

// shut gives the descriptors of one sub-directory back.
func (q *Queue) shut(s *subDirs) {
	for i, fd := range s.fd {
		if q.places[i].split && fd >= 0 {
			closeFD(fd)
		}
	}
	delete(q.open, s.d)
}
