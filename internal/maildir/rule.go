package maildir

import (
	"time"

	"golang.org/x/sys/unix"
)

// What a directory holds.
type content int

const (
	neither content = iota // only to be walked through
	inCur
	inNew
	inTmp
)

// contents are the names of the directories that hold messages.
var contents = map[string]content{"cur": inCur, "new": inNew, "tmp": inTmp}

// holdings say what the rule has to know of each.
var holdings = [...]struct {
	messages bool // its files are messages
	unseen   bool // nobody has seen one of them (maildir(5): new)
	underWay bool // one may still be being written (maildir(5): tmp)
	counted  bool // a quota counts them: delivery does so when a message leaves tmp
}{
	neither: {},
	inCur:   {messages: true, counted: true},
	inNew:   {messages: true, unseen: true, counted: true},
	inTmp:   {messages: true, underWay: true},
}

// A Rule says what goes from a Maildir. It knows names and inodes, and neither
// threads nor open directories: this file is all that decides.
type Rule struct {
	Before    Stamp // what is older goes, strictly
	TmpBefore Stamp // in tmp the ctime must be before this, too

	Never       bool // nothing goes: messages are only counted
	All         bool // every file that is old goes, as with find -type f
	KeepFlagged bool // messages with the flag F stay
	SeenOnly    bool // messages without the flag S stay, so all in new do
	Saved       bool // the age is that of the inode: since when it lies here
}

// tmpAge is how long a file in tmp may be under way: maildir(5) has 36 hours.
const tmpAge = 36 * time.Hour

// SetDays makes what is more than days old at now go, see Cutoff.
func (r *Rule) SetDays(now time.Time, days int) {
	r.Before, r.TmpBefore = Cutoff(now, days), StampOf(now.Add(-tmpAge))
}

// takes reports whether a regular file of that name is what the rule is about: a
// message, or with All any.
func (r *Rule) takes(in content, name []byte) bool {
	return r.All || holdings[in].messages && name[0] != '.'
}

// stays reports whether a message stays whatever its age. So does one whose
// flags cannot be read where flags decide.
func (r *Rule) stays(in content, name []byte) bool {
	if r.Never {
		return true
	}
	if !r.KeepFlagged && !r.SeenOnly {
		return false
	}
	m := parseName(name)
	return !m.known || r.KeepFlagged && m.has('F') ||
		r.SeenOnly && (holdings[in].unseen || !m.has('S'))
}

// old reports whether what st describes is old enough to go.
func (r *Rule) old(in content, st *unix.Stat_t) bool {
	if !r.age(st).Before(r.Before) {
		return false
	}
	return r.All || !holdings[in].underWay || ctime(st).Before(r.TmpBefore)
}

// age returns the time that counts.
func (r *Rule) age(st *unix.Stat_t) Stamp {
	if r.Saved {
		return ctime(st)
	}
	return mtime(st)
}

// counts reports whether a quota had counted a file that went. What lies in .Trash
// it had not, nor what is no message.
func counts(in content, trash bool, name []byte) bool {
	return holdings[in].counted && !trash && name[0] != '.'
}
