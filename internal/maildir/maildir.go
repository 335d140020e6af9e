// Package maildir removes old messages from Maildirs.
//
// A Maildir, or a folder of one, is a directory that has cur, new and tmp. A
// message is a regular file in one of these three whose name does not begin
// with a dot (maildir(5), Maildir++). Everything else below a Maildir belongs
// to the mail server: dovecot-uidlist, subscriptions, courierimap files, sieve
// scripts, maildirsize. No list of such names could be complete, so the rule
// says what goes, not what stays.
//
// The package trusts nobody below a Maildir: every name is looked up relative
// to a directory that is open already, no link is followed, and under root the
// kernel is asked with the rights of the Maildir's owner. See locate for the
// way to the Maildir.
package maildir

import (
	"bytes"
	"errors"
	"time"
)

// A Stamp is a time as a file system has it. Unlike time.Time it cannot
// overflow whatever a user has put into an inode.
type Stamp struct {
	Sec, Nsec int64
}

// StampOf converts t.
func StampOf(t time.Time) Stamp { return Stamp{t.Unix(), int64(t.Nanosecond())} }

// Before tells whether s is strictly before t.
func (s Stamp) Before(t Stamp) bool {
	return s.Sec < t.Sec || s.Sec == t.Sec && s.Nsec < t.Nsec
}

const day = 24 * time.Hour

// Cutoff returns the moment before which a message is more than days old, as
// "find -mtime +days" has it: find counts whole days of 24 hours and wants
// more than days of them, so it is days+1 times 24 hours, to the nanosecond.
func Cutoff(now time.Time, days int) Stamp {
	return StampOf(now.Add(-time.Duration(days+1) * day))
}

// tmpAge is how long a file in tmp may be under way: maildir(5) has 36 hours.
const tmpAge = 36 * time.Hour

// Sizes that Maildir++ writers put into the name: ,S=123 up to a comma, a colon or
// the end.
var sizeMark = []byte(",S=")

// nameSize returns the message's size in bytes as its name tells it.
func nameSize(name []byte) (int64, bool) {
	i := bytes.Index(name, sizeMark)
	if i < 0 {
		return 0, false
	}
	var n int64
	digits := 0
	for _, c := range name[i+len(sizeMark):] {
		if c == ',' || c == ':' {
			break
		}
		// 12 digits are a terabyte; more is a joke, and sums must not overflow.
		if c < '0' || c > '9' || digits == 12 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
		digits++
	}
	return n, digits > 0
}

// inTrash tells whether a folder directly below the Maildir is .Trash or below
// it in Maildir++'s flat hierarchy.
func inTrash(folder string) bool {
	return folder == ".Trash" || len(folder) > 7 && folder[:7] == ".Trash."
}

// isMessageDir tells whether name is one of the three directories that hold
// messages.
func isMessageDir(name string) bool { return name == "cur" || name == "new" || name == "tmp" }

var (
	// ErrNotMaildir says that a directory lacks cur, new or tmp.
	ErrNotMaildir = errors.New("not a Maildir")
	// ErrLink says that a link on the way to a Maildir was not followed.
	ErrLink = errors.New("link not followed: it leads to what another user owns")
	// ErrRootOwned says that a user may have put root's directory in the place
	// of his Maildir.
	ErrRootOwned = errors.New("owned by root, but not the directory that it lies in")
	// ErrOwner says that a Maildir is not its virtual user's.
	ErrOwner = errors.New("not owned by the uid of its domain")
	// ErrMoved says that a directory that had to be opened again was another one.
	ErrMoved = errors.New("moved while it was being read")
	// ErrQuotaFile says that maildirsize is not what it should be.
	ErrQuotaFile = errors.New("not a regular file, quota not updated")
)

// Stats counts what a run met in one Maildir or in several.
type Stats struct {
	Messages int64 // looked at
	Removed  int64 // removed; in a dry run, that would be
	Bytes    int64 // their size, from the name or else the inode
	Oldest   Stamp // mtime of the oldest of them; zero where there is none
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	if t.Removed > 0 && (s.Removed == 0 || t.Oldest.Before(s.Oldest)) {
		s.Oldest = t.Oldest
	}
	s.Messages += t.Messages
	s.Removed += t.Removed
	s.Bytes += t.Bytes
}
