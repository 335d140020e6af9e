package applets

import (
	"io"
	"math"
	"os"

	"kowaza/internal/cli"
)

// messageOn returns a reader of the message on standard input, and its size in bytes
// from there on; -1 where only reading tells. The offset of a regular file stays where it
// is: all programs of a .qmail line share it, and the next wants the message from its
// begin.
func messageOn(in io.Reader) (r io.Reader, size int64, err error) {
	f, ok := in.(*os.File)
	if !ok {
		return in, -1, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, &readError{err}
	}
	if !info.Mode().IsRegular() {
		return in, -1, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, 0, &readError{err}
	}
	return io.NewSectionReader(f, at, math.MaxInt64-at), max(0, info.Size()-at), nil // by pread(2)
}

// A readError is a failure of standard input.
type readError struct{ err error }

func (e *readError) Error() string { return "standard input: " + cli.Bare(e.err).Error() }
func (e *readError) Unwrap() error { return e.err }
