package maildir

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// quotaFile is where Maildir++ keeps the sum of what lies in a Maildir.
const quotaFile = "maildirsize"

// maxBooked bounds what is subtracted at once, in bytes: no quota is larger than
// 2^53, the largest number that all who read such a file take for what it is.
const maxBooked = 1 << 53

// subtract subtracts what was removed: one line, written at once, as a delivery
// program adds one (Maildir++). The file is never created, since one without
// its first line would lift the quota, and never reached through a link. One with
// another owner than the Maildir's, or root, or with a second name is another's
// file that somebody has put there.
//
// What is in .Trash, and has the flag T, is left out where trash says that this
// quota does not count it.
func subtract(dir int, owner uint32, done tally, trash TrashQuota) error {
	removed := done.quota
	var st unix.Stat_t
	switch err := sys.Lstatat(dir, quotaFile, &st); {
	case err == unix.ENOENT:
		return nil
	case err != nil:
		return err
	}
	if done.trash.Removed > 0 && trash != TrashCounts {
		counts := false
		if trash == TrashAuto {
			switch err := sys.Lstatat(dir, "dovecot-uidlist", new(unix.Stat_t)); err {
			case nil:
				counts = true
			case unix.ENOENT:
			default:
				return err
			}
		}
		if !counts {
			removed.Removed -= done.trash.Removed
			removed.Bytes -= done.trash.Bytes
		}
		if removed.Removed == 0 {
			return nil
		}
	}
	if err := trustQuota(&st, owner); err != nil {
		return err
	}
	if done.quota.Bytes > maxBooked {
		return ErrQuotaSum
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
	if err := trustQuota(&st, owner); err != nil {
		return err
	}
	line := strconv.AppendInt(nil, -removed.Bytes, 10)
	line = append(line, ' ')
	line = strconv.AppendInt(line, -removed.Removed, 10)
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

func trustQuota(st *unix.Stat_t, owner uint32) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return ErrQuotaFile
	case st.Nlink > 1: // none: it was replaced while it was being opened
		return ErrQuotaLink
	case st.Uid != 0 && st.Uid != owner:
		return ErrQuotaOwner
	}
	return nil
}
