package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The system calls of this package. A signal handler may interrupt any of them
// on some file systems (signal(7)), whatever SA_RESTART says: they are called
// again.

const (
	atCWD = unix.AT_FDCWD
	// openDir are the flags for a directory below the queue directory.
	openDir       = openDirFollow | unix.O_NOFOLLOW
	openDirFollow = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	// openFile are the flags for a piece: whatever may stand there, to open it
	// must not block.
	openFile = unix.O_NOFOLLOW | unix.O_NONBLOCK
)

func openat(dir int, name string, flags int) (int, error) {
	return openatMode(dir, name, flags, 0)
}

func openatMode(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		switch err {
		case unix.EINTR:
		case unix.EMLINK: // a link, in FreeBSD's words
			return -1, unix.ELOOP
		default:
			return fd, err
		}
	}
}

func closeFD(fd int) { unix.Close(fd) }

func fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			return err
		}
	}
}

// lstatat is fstatat(2) that follows no link.
func lstatat(dir int, name string, st *unix.Stat_t) error {
	for {
		if err := unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW); err != unix.EINTR {
			return err
		}
	}
}

func unlinkat(dir int, name string) error {
	for {
		if err := unix.Unlinkat(dir, name, 0); err != unix.EINTR {
			return err
		}
	}
}

func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func pwrite(fd int, buf []byte, at int64) error {
	for {
		switch n, err := unix.Pwrite(fd, buf, at); {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n != len(buf):
			return unix.EIO
		default:
			return nil
		}
	}
}

func write(fd int, buf []byte) error {
	for len(buf) > 0 {
		switch n, err := unix.Write(fd, buf); {
		case err == unix.EINTR:
		case err != nil:
			return err
		default:
			buf = buf[n:]
		}
	}
	return nil
}

func fsync(fd int) error {
	for {
		if err := unix.Fsync(fd); err != unix.EINTR {
			return err
		}
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func isDir(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

func timeOf(t unix.Timespec) time.Time { return time.Unix(t.Unix()) }

func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// errorPath takes a path out of an error, for a func that wants both.
func errorPath(err error) (string, error) {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Path, e.Err
	}
	return "", err
}

// A name is a number as its file is called, with a NUL behind it: on the way
// through a million messages nothing is allocated for names.
type name [21]byte

func (m *name) set(n uint64) *name {
	digits := strconv.AppendUint(m[:0], n, 10)
	m[len(digits)] = 0
	return m
}

// digits is the name without the NUL.
func (m *name) digits() []byte { return m[:bytes.IndexByte(m[:], 0)] }

// number reads a file's name: decimal, as qmail writes it, so without a sign
// or a leading zero.
func number(name []byte) (n uint64, ok bool) {
	if len(name) == 0 || len(name) > 20 || name[0] == '0' && len(name) > 1 {
		return 0, false
	}
	for _, c := range name {
		digit := uint64(c - '0')
		if digit > 9 || n > (1<<64-1)/10 || n == (1<<64-1)/10 && digit > (1<<64-1)%10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}

// eachDirent reads a directory. It is opened once more, since an open one has
// only one position for all who read it.
func eachDirent(dir int, each func(fd int, d dirent) error) error {
	fd, err := openat(dir, ".", openDir)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	buf := make([]byte, 32<<10)
	for {
		n, err := getdents(fd, buf)
		if n <= 0 || err != nil {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; {
			var d dirent
			d, rest = nextDirent(rest)
			if err := each(fd, d); err != nil {
				return err
			}
		}
	}
}

// eachNumber tells each name in a directory that is a number.
func eachNumber(dir int, each func(n uint64)) error {
	return eachDirent(dir, func(_ int, d dirent) error {
		if n, ok := number(d.name); ok {
			each(n)
		}
		return nil
	})
}

// isDir tells whether a name in the directory fd is a directory. Some file
// systems do not say what they list.
func (d dirent) isDir(fd int) (bool, error) {
	if d.kind != unix.DT_UNKNOWN {
		return d.kind == unix.DT_DIR, nil
	}
	var st unix.Stat_t
	err := lstatat(fd, string(d.name), &st)
	if err == unix.ENOENT {
		return false, nil
	}
	return isDir(&st), err
}
