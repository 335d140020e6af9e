// Package maildir removes old messages from Maildirs.
//
// A Maildir is a directory that has cur, new and tmp; a folder of one is a directory
// below it that has cur or new. A message is a regular file in one of these three
// whose name does not begin with a dot (maildir(5), Maildir++). Everything else below a Maildir belongs
// to the mail server: dovecot-uidlist, subscriptions, courierimap files, sieve
// scripts, maildirsize. No list of such names could be complete, so the rule
// says what goes, not what stays.
//
// The package trusts nobody below a Maildir: every name is looked up relative
// to a directory that is open already, no link is followed, and under root the
// kernel is asked with the rights of the Maildir's owner. See package way for the
// way to the Maildir.
package maildir

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Stamp is a time as a file system has it. Unlike time.Time it cannot
// overflow whatever a user has put into an inode.
type Stamp struct {
	Sec, Nsec int64
}

// StampOf converts t.
func StampOf(t time.Time) Stamp { return Stamp{t.Unix(), int64(t.Nanosecond())} }

// Before reports whether s is strictly before t.
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

// trashFolder is what Courier does not count of a Maildir, together with messages that
// have the flag T. It does count .Trash.sub, which Maildir++ has below it.
const trashFolder = ".Trash"

// isMessageDir reports whether name is one of the three directories that hold
// messages.
func isMessageDir(name string) bool { return contentOf(name) != neither }

var (
	// ErrOwner says that a Maildir is not its virtual user's.
	ErrOwner = errors.New("not owned by the uid of its domain")
	// ErrNoAnswer says that a file system did not answer in time.
	ErrNoAnswer = errors.New("the file system does not answer")
	// ErrQuotaFile, ErrQuotaLink and ErrQuotaOwner say that maildirsize is not what
	// it should be.
	ErrQuotaFile  = errors.New("not a regular file, quota not updated")
	ErrQuotaLink  = errors.New("has a second name (hard link), quota not updated")
	ErrQuotaOwner = errors.New("owned neither by root nor by the Maildir's owner, quota not updated")
	// ErrQuotaSum says that the removed messages' names tell sizes that no quota
	// has.
	ErrQuotaSum = errors.New("sizes add up to more than any quota, quota not updated")
)

// An OwnerError says that the process has no right to remove mail of somebody
// else's.
type OwnerError struct {
	UID uint32 // whose the Maildir is
	Err error
}

func (e *OwnerError) Error() string { return fmt.Sprintf("%v: owned by uid %d", e.Err, e.UID) }
func (e *OwnerError) Unwrap() error { return e.Err }

// A NotMaildirError says that a directory is no Maildir.
type NotMaildirError struct {
	Lacks []string // those of cur, new and tmp that it does not have
}

func (e *NotMaildirError) Error() string {
	return "not a Maildir: no " + strings.Join(e.Lacks, ", no ")
}

// Bounds of one Maildir: what one user makes must not hold up the others for ever, nor
// take the memory of all. Each is far beyond what a mail server could serve. They are
// counts and not times, which a slow disk would reach honestly.
const (
	// maxNames in its directories: ten times the 10^7 messages of the largest honest
	// Maildir, and some minutes' work.
	maxNames = 100_000_000
	// maxDirs in all: a million folders are a million system calls for each look
	// into the mailbox.
	maxDirs = 1_000_000
	// maxWaiting bytes of names of directories that are still to be opened: some
	// 300 000 folders beside each other.
	maxWaiting = 16 << 20
	// maxPath bytes below the Maildir: four times what a server can name at all
	// (PATH_MAX), so that at most 8192 directories lie in each other.
	maxPath = 4 * unix.PathMax
)

var (
	errNames   = fmt.Errorf("more than %d names: the rest was left", maxNames)
	errDirs    = fmt.Errorf("more than %d directories: the rest was left", maxDirs)
	errWaiting = fmt.Errorf("names of directories beside each other are more than %d bytes: the rest was left", maxWaiting)
	errPath    = fmt.Errorf("path is longer than %d bytes: what lies there was left", maxPath)
)

// Stats counts what a run met in one Maildir or in several.
type Stats struct {
	Messages int64 // looked at
	Size     int64 // theirs in bytes, where Options.Sizes asks for it
	Removed  int64 // removed; in a dry run, that would be
	Bytes    int64 // their size, from the name or else the inode
	Oldest   Stamp // the age's time, see Rule.Clock, of the oldest of them; zero where there is none
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	if t.Removed > 0 && (s.Removed == 0 || t.Oldest.Before(s.Oldest)) {
		s.Oldest = t.Oldest
	}
	s.Messages += t.Messages
	s.Removed += t.Removed
	s.Size, s.Bytes = addSizes(s.Size, t.Size), addSizes(s.Bytes, t.Bytes)
}

// addSizes adds two sizes in bytes. Nobody's names and holes may make a sum turn
// into its opposite.
func addSizes(a, b int64) int64 {
	if a += b; a < 0 {
		return math.MaxInt64
	}
	return a
}

// Home returns the path of the Maildir in a home directory, by its name there, which
// is relative; "." is the directory itself. It is not cleaned: where a link stands
// before a "..", that would be another directory.
func Home(dir, name string) string {
	switch dir = strings.TrimRight(dir, "/"); {
	case name != ".":
		return dir + "/" + name
	case dir == "":
		return "/"
	}
	return dir
}
