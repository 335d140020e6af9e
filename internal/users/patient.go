package users

import (
	"io"
	"os"
	"sync/atomic"
	"time"
)

// patience is how long a file system may take to answer about a user's directory or
// file. One of a user's own (fuse(4)), or a server that is away, may never do so, and
// the other users must not wait for it. Shorter in a test.
var patience = 5 * time.Minute

// A noAnswer says that a file system did not answer within patience.
type noAnswer struct{}

func (noAnswer) Error() string { return "the file system does not answer" }

// lost counts the calls that were given up. Each leaves a thread behind. After
// manyLost nobody waits as long again, since somebody makes them on purpose; after
// maxLost no more are tried.
var lost atomic.Int32

const (
	manyLost = 16
	maxLost  = 1000

	shortPatience = time.Second
)

// within returns what f returns, or a noAnswer where that takes too long. f goes on
// then, and what it returns is lost.
func within[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if lost.Load() >= maxLost {
		return none, noAnswer{}
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	wait := patience
	if lost.Load() >= manyLost {
		wait = min(wait, shortPatience)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		lost.Add(1)
		return none, noAnswer{}
	}
}

// Stat is os.Stat, which may be asked about what lies in a user's directory: it comes
// back with an error where the file system does not answer.
func Stat(name string) (os.FileInfo, error) {
	info, err := within(func() (os.FileInfo, error) { return os.Stat(name) })
	if err == (noAnswer{}) {
		err = &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return info, err
}

// A stated is what Stat returned.
type stated struct {
	info os.FileInfo
	err  error
}

// statAll is Stat of many names, in their order, with one wait for all.
func statAll(names []string) []stated {
	if len(names) == 0 {
		return nil
	}
	all, err := within(func() ([]stated, error) {
		all := make([]stated, len(names))
		for i, name := range names {
			all[i].info, all[i].err = os.Stat(name)
		}
		return all, nil
	})
	if err == nil {
		return all
	}
	all = make([]stated, len(names)) // which of them was it?
	for i, name := range names {
		all[i].info, all[i].err = Stat(name)
	}
	return all
}

// stats are what there is of some names, each of which is looked at once.
type stats struct {
	names []string
	index map[string]int
	all   []stated
}

func newStats() *stats { return &stats{index: make(map[string]int)} }

// want notes that a name will be asked for.
func (s *stats) want(name string) {
	if _, ok := s.index[name]; !ok {
		s.index[name] = len(s.names)
		s.names = append(s.names, name)
	}
}

func (s *stats) ask() { s.all = statAll(s.names) }

// of returns what there is of a name that was wanted.
func (s *stats) of(name string) stated { return s.all[s.index[name]] }

// A patientReader reads a file of a user's, at most so many bytes of it: it may grow
// while it is being read.
type patientReader struct {
	file *os.File
	left int64 // bytes
}

func (r *patientReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, &os.PathError{Op: "read", Path: r.file.Name(), Err: errVpasswdSize}
	}
	// Its own buffer: a read that was given up may yet write into it.
	type chunk struct {
		buf []byte
		err error
	}
	size := min(int64(len(p)), r.left)
	c, err := within(func() (chunk, error) {
		buf := make([]byte, size)
		n, err := r.file.Read(buf)
		return chunk{buf[:n], err}, nil
	})
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: r.file.Name(), Err: err}
	}
	r.left -= int64(len(c.buf))
	return copy(p, c.buf), c.err
}

var _ io.Reader = (*patientReader)(nil)
