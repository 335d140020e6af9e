package maildir

import (
	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// quotaFile is where Maildir++ keeps the sum of what lies in a Maildir.
const quotaFile = "maildirsize"

// maxBooked bounds what is subtracted at once, in bytes: no quota is larger than
// 2^53, the largest number that all who read such a file take for what it is.
const maxBooked = 1 << 53

// subtract takes off what was removed, see addLine.
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
	err := addLine(dir, owner, appendLine(nil, -removed.Bytes, -removed.Removed))
	if err == unix.ENOENT {
		return nil
	}
	return err
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
