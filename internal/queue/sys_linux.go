package queue

import (
	"golang.org/x/sys/unix"
)

// noAtime keeps a read from changing the access time (open(2)). The owner of
// the file and root may ask for it; others get EPERM.
const noAtime = unix.O_NOATIME

// largeFile allows a file of more than 2 GB.
const largeFile = unix.O_LARGEFILE

// renameNew gives a file its name unless there is one of that name. Some file
// systems do not know how to do it in one step (rename(2)), some have no second
// names for a file: either will do.
func renameNew(dir int, from, to string) error {
	for {
		switch err := unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE); err {
		case unix.EINTR:
		case unix.EINVAL, unix.ENOSYS:
			return linkNew(dir, from, to)
		default:
			return err
		}
	}
}
