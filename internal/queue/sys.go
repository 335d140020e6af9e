package queue

import (
	"bytes"
	"io/fs"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// The system calls that only this package needs. As those of package sys they
// are called again where a signal interrupted them.

const (
	atCWD = unix.AT_FDCWD
	// openDirFollow are the flags for a directory that the administrator named.
	openDirFollow = sys.OpenDir &^ unix.O_NOFOLLOW
	// openFile are the flags for a piece: whatever may stand there, to open it
	// must not block.
	openFile = unix.O_NOFOLLOW | unix.O_NONBLOCK
	// noAtime keeps a read from changing the access time (open(2)). The owner of
	// the file and root may ask for it; others get EPERM.
	noAtime = unix.O_NOATIME
	// largeFile allows a file of more than 2 GB.
	largeFile = unix.O_LARGEFILE
)

// openName is openat(2) for a name that needs no copy.
func openName(dir int, m *name, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(m)),
			uintptr(flags|unix.O_CLOEXEC|largeFile), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

func closeFD(fd int) { unix.Close(fd) }

func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func pread(fd int, buf []byte, at int64) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, at)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// linkNoReplace gives a file a second name unless there is one of that name, and takes
// the first.
func linkNoReplace(fromDir int, from string, toDir int, to string) error {
	for {
		switch err := unix.Linkat(fromDir, from, toDir, to, 0); err {
		case nil:
			if err := sys.Unlinkat(fromDir, from); err != nil {
				sys.Unlinkat(toDir, to)
				return err
			}
			return nil
		case unix.EINTR:
		default:
			return err
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

// eintr makes a call again where a signal interrupted it.
func eintr(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
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
func eachDirent(dir int, each func(fd int, d sys.Dirent) error) error {
	fd, err := sys.Openat(dir, ".", sys.OpenDir)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return sys.EachDirent(fd, func(d sys.Dirent) error { return each(fd, d) })
}

// eachNumber tells each name in a directory that is a number.
func eachNumber(dir int, each func(n uint64)) error {
	return eachDirent(dir, func(_ int, d sys.Dirent) error {
		if n, ok := number(d.Name); ok {
			each(n)
		}
		return nil
	})
}

// isDirAt reports whether a name in the directory fd is a directory. Some file
// systems do not say what they list.
func isDirAt(fd int, d sys.Dirent) (bool, error) {
	if d.Kind != unix.DT_UNKNOWN {
		return d.Kind == unix.DT_DIR, nil
	}
	var st unix.Stat_t
	err := sys.Lstatat(fd, string(d.Name), &st)
	if err == unix.ENOENT {
		return false, nil
	}
	return isDir(&st), err
}

// renameNoReplace gives a file its name unless there is one of that name. Some file
// systems do not know how to do it in one step (rename(2)), some have no second
// names for a file: either will do.
func renameNoReplace(fromDir int, from string, toDir int, to string) error {
	for {
		switch err := unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE); err {
		case unix.EINTR:
		case unix.EINVAL, unix.ENOSYS:
			return linkNoReplace(fromDir, from, toDir, to)
		default:
			return err
		}
	}
}
