package applets

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"kowaza/internal/cli"
	"kowaza/internal/sys"
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

// readSmall reads a file of at most so many bytes, as users write them for programs of
// .qmail lines. tooLarge is what is said of a larger one. The error is an *fs.PathError.
//
// It is read on the thread that asks: for a report that has the owner's rights and no
// others.
func readSmall(name string, most int64, tooLarge string) ([]byte, error) {
	fail := func(why string) ([]byte, error) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New(why)}
	}
	f, err := sys.OpenToRead(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return fail("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return fail(tooLarge)
	}
	return text, nil
}

// A readError is a failure of standard input.
type readError struct{ err error }

func (e *readError) Error() string { return "standard input: " + cli.Bare(e.err).Error() }
func (e *readError) Unwrap() error { return e.err }
