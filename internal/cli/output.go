package cli

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Output is standard output: buffered, and the first error stays. It is safe for
// several goroutines.
type Output struct {
	mu  sync.Mutex
	to  io.Writer
	w   *bufio.Writer
	err error
}

// NewOutput returns an Output that writes to w.
func NewOutput(w io.Writer) *Output {
	return &Output{to: w, w: bufio.NewWriterSize(w, 16<<10)}
}

// ErrOutput is what a write returns once standard output has failed. Run says
// why, once.
var ErrOutput = errors.New("standard output")

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	if o.err != nil {
		return 0, ErrOutput
	}
	return len(p), nil
}

// Flush brings what has been written before to where it goes, for a child that
// writes there, too.
func (o *Output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = o.w.Flush()
	}
}

// Close returns the first error that any write met. Some file systems tell of a
// full disk only when the file is closed.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = o.w.Flush()
	}
	if f := FileOf(o.to); f != nil {
		if err := f.Close(); o.err == nil {
			o.err = err
		}
	}
	return Bare(o.err)
}

// Child flushes and returns what a child process gets as its standard output: the
// descriptor itself. Nil where it is none, since a daemon that the child leaves
// behind would keep a pipe of ours open, and where a write has failed, since a
// script that dies of SIGPIPE does not do what it was started for.
func (o *Output) Child() *os.File {
	o.Flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil
	}
	return FileOf(o.to)
}

// File returns the file that it writes to, nil where it is none.
func (o *Output) File() *os.File { return FileOf(o.to) }

// Bare strips the file name of a write error: Go calls it /dev/stdout whatever
// it is.
func Bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
