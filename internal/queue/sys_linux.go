package queue

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noAtime keeps a read from changing the access time (open(2)). The owner of
// the file and root may ask for it; others get EPERM.
const noAtime = unix.O_NOATIME

// openName is openat(2) for a name that needs no copy.
func openName(dir int, m *name, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(m)),
			uintptr(flags|unix.O_CLOEXEC|unix.O_LARGEFILE), 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// getdents reads a part of a directory into buf.
func getdents(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// A dirent is one name in a directory, as getdents64(2) wrote it.
type dirent struct {
	kind byte
	name []byte // in the buffer
}

// direntName is the offset of d_name in struct linux_dirent64.
const direntName = 19

// nextDirent takes the first dirent off buf.
func nextDirent(buf []byte) (d dirent, rest []byte) {
	n := binary.NativeEndian.Uint16(buf[16:])
	name := buf[direntName:n]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return dirent{buf[18], name}, buf[n:]
}

// renameNew gives a file its name unless there is one of that name. Some file
// systems do not know how to do it in one step (rename(2)), some have no second
// names for a file: either will do.
func renameNew(dir int, from, to string) error {
	for {
		switch err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE); err {
		case unix.EINTR:
		case unix.EINVAL, unix.ENOSYS:
			if err := unix.Linkat(dir, from, dir, to, 0); err != nil {
				return err
			}
			if err := unlinkat(dir, from); err != nil {
				unlinkat(dir, to)
				return err
			}
			return nil
		default:
			return err
		}
	}
}
