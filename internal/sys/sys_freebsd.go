package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const fstatat = unix.SYS_FSTATAT

const (
	direntName = 24 // offset of d_name in struct dirent (dir(5))

	// DirentMax is the longest a Dirent can be in the buffer, in bytes. The kernel
	// stops where the next one does not fit.
	DirentMax = direntName + 255 + 1
)

// NextDirent takes the first Dirent off buf. One without an inode is a name
// that has gone: it is told as a whiteout without a name.
func NextDirent(buf []byte) (d Dirent, rest []byte) {
	n := binary.NativeEndian.Uint16(buf[16:])
	size := binary.NativeEndian.Uint16(buf[20:])
	if binary.NativeEndian.Uint64(buf) == 0 {
		return Dirent{Kind: unix.DT_WHT}, buf[n:]
	}
	return Dirent{buf[18], buf[direntName : direntName+size]}, buf[n:]
}
