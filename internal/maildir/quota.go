package maildir

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// quotaFile is where Maildir++ keeps the sum of what lies in a Maildir.
const quotaFile = "maildirsize"

// book subtracts what was removed: one line, written at once, as a delivery
// program adds one (Maildir++). The file is never created, since one without
// its first line would lift the quota, and never reached through a link.
func book(dir int, bytes, count int64) error {
	var st unix.Stat_t
	switch err := sys.Lstatat(dir, quotaFile, &st); {
	case err == unix.ENOENT:
		return nil
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return ErrQuotaFile
	}
	fd, err := sys.Openat(dir, quotaFile, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := sys.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrQuotaFile
	}
	line := strconv.AppendInt(nil, -bytes, 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, -count, 10)
	line = append(line, '\n')
	for {
		n, err := unix.Write(fd, line)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n < len(line):
			return unix.ENOSPC // a second write would not be one line any more
		default:
			return nil
		}
	}
}
