package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A stream is standard output or standard error of the process.
//
// A write into a closed pipe is an ordinary error for it. os.File would end the
// process by SIGPIPE there; to have that signal caught starts a thread, which is
// a fifth of the time that a small applet takes. To ignore it would be
// inherited by children; as it is, they start with the default action.
type stream struct{ *os.File }

// Write is write(2) until all is written or an error, which is an *os.PathError,
// says why not.
func (s stream) Write(p []byte) (int, error) {
	fd, done := int(s.Fd()), 0
	for done < len(p) {
		n, err := unix.Write(fd, p[done:])
		switch err {
		case nil:
			done += n
		case unix.EINTR:
		case unix.EAGAIN: // somebody else made it non-blocking
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		default:
			return done, &os.PathError{Op: "write", Path: s.Name(), Err: err}
		}
	}
	return done, nil
}

// WriteString is Write; os.File has one of its own, which would be taken.
func (s stream) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// ReadFrom copies with Write, for the same reason.
func (s stream) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

// FileOf returns the file that w, such as Env.Stderr, writes to, nil where it is
// none.
func FileOf(w io.Writer) *os.File {
	switch f := w.(type) {
	case stream:
		return f.File
	case *os.File:
		return f
	}
	return nil
}
