package maildir

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openPath are the flags for a step on the way: it need not be readable.
const openPath = unix.O_PATH

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
	name []byte // in the buffer, and there followed by a NUL
}

const (
	direntName = 19                       // offset of d_name in struct linux_dirent64
	direntMax  = direntName + 255 + 1 + 8 // longest, with its padding
)

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

// stat is fstatat(2) on d, following no link. It takes the name out of the
// buffer as it stands: a copy for each message would be most of what a scan of
// young mail costs beside the kernel.
func (d dirent) stat(dir int, st *unix.Stat_t) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(d.name))),
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

// unlink is unlinkat(2) on d.
func (d dirent) unlink(dir int) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(d.name))), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func mtime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Mtim.Sec), int64(st.Mtim.Nsec)} }
func ctime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Ctim.Sec), int64(st.Ctim.Nsec)} }
