// Package sys holds the system calls on directories and names in them by which
// the Maildirs and the queue are worked on: relative to an open directory,
// following no link, and called again where a signal handler interrupted them,
// as some file systems let it whatever SA_RESTART says (signal(7)).
//
// Errors are those of the kernel, unix.Errno.
package sys

import (
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OpenDir are the flags for a directory that is to be read. O_NONBLOCK is for
// what somebody may have put there since it was seen.
const OpenDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NONBLOCK

// Openat is openat(2) for what is there already. The descriptor is closed in
// children. A link that is not to be followed is ELOOP or, with O_DIRECTORY on
// Linux, ENOTDIR.
func Openat(dir int, name string, flags int) (int, error) { return OpenatMode(dir, name, flags, 0) }

// OpenatMode is Openat that may make a file.
func OpenatMode(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		switch err {
		case unix.EINTR:
		default:
			return fd, err
		}
	}
}

// OpenToRead opens a file that somebody may have put there: a FIFO does not hold up who
// opens it. The runtime sees a descriptor that blocks, else it would make an epoll for
// it: of a run of a millisecond that is a part. The error is an *fs.PathError.
func OpenToRead(name string, flags int) (*os.File, error) {
	fd, err := Openat(unix.AT_FDCWD, name, unix.O_RDONLY|unix.O_NONBLOCK|flags)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Fstat is fstat(2).
func Fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			return err
		}
	}
}

// Futimens makes at the times of an open file, to the nanosecond. It needs no /proc, as
// unix.Futimes does.
func Futimens(fd int, at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	both := [2]unix.Timespec{ts, ts}
	for {
		_, _, err := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&both)), 0, 0, 0)
		switch err {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return err
		}
	}
}

// An ID tells one directory from every other that is there at the same time. The zero
// value is none's.
type ID struct {
	major, minor uint32
	ino          uint64
}

// IDOf returns the ID of what is open as fd, as the kernel knows it by now: the file
// system is not asked, and cannot hold up who does (statx(2), AT_STATX_DONT_SYNC).
func IDOf(fd int) (ID, error) {
	for {
		var st unix.Statx_t
		err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
		switch err {
		case nil:
			return ID{st.Dev_major, st.Dev_minor, st.Ino}, nil
		case unix.EINTR:
		case unix.ENOSYS, unix.EPERM: // Linux before 4.11, or a filter of system calls
			var st unix.Stat_t
			err := Fstat(fd, &st)
			return ID{unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino}, err
		default:
			return ID{}, err
		}
	}
}

// Lstatat is fstatat(2) that follows no link.
func Lstatat(dir int, name string, st *unix.Stat_t) error {
	for {
		if err := unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW); err != unix.EINTR {
			return err
		}
	}
}

// Unlinkat is unlinkat(2) for what is no directory.
func Unlinkat(dir int, name string) error {
	for {
		if err := unix.Unlinkat(dir, name, 0); err != unix.EINTR {
			return err
		}
	}
}

// Getdents reads a part of a directory into buf, for NextDirent. 0: there is no
// more.
func Getdents(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// EachDirent calls f with every name in the directory that is open as fd, from where it
// stands, until f returns an error.
func EachDirent(fd int, f func(Dirent) error) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := Getdents(fd, buf)
		if err != nil || n == 0 {
			return err
		}
		for names := buf[:n]; len(names) > 0; {
			var d Dirent
			d, names = NextDirent(names)
			if err := f(d); err != nil {
				return err
			}
		}
	}
}

// A Dirent is one name in a directory, as getdents64(2) or getdirentries(2)
// wrote it.
type Dirent struct {
	Kind byte   // unix.DT_REG and the like; DT_UNKNOWN where the file system does not tell
	Name []byte // in the buffer, and there followed by a NUL
}

// Stat is Lstatat of d. It takes the name out of the buffer as it stands: a copy
// for each message would be most of what a scan of young mail costs beside the
// kernel.
func (d Dirent) Stat(dir int, st *unix.Stat_t) error {
	for {
		_, _, errno := unix.Syscall6(fstatat, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(d.Name))),
			uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// Unlink is Unlinkat of d, without a copy of its name.
func (d Dirent) Unlink(dir int) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(d.Name))), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
