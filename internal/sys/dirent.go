package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const fstatat = unix.SYS_NEWFSTATAT

const (
	direntName = 19 // offset of d_name in struct linux_dirent64

	// DirentMax is the longest a Dirent can be in the buffer, in bytes, with its
	// padding. The kernel stops where the next one does not fit.
	DirentMax = direntName + 255 + 1 + 8
)

// NextDirent takes the first Dirent off buf.
func NextDirent(buf []byte) (d Dirent, rest []byte) {
	n := binary.NativeEndian.Uint16(buf[16:])
	name := buf[direntName:n]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return Dirent{buf[18], name}, buf[n:]
}
