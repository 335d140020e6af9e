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

// contentOf says what a directory of that name holds.
func contentOf(name string) content {
	switch name {
	case "cur":
		return inCur
	case "new":
		return inNew
	case "tmp":
		return inTmp
	}
	return neither
}

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
	Clock       Clock

	latest int64 // the largest time that a name is believed to tell, in seconds since 1970
}

// A Clock is what the age of a message is counted from.
type Clock int

const (
	// ByMtime is the time of the last change of the text, as find -mtime has it.
	ByMtime Clock = iota
	// BySaved is that of the last change of the inode: since when the message has
	// lain where it lies.
	BySaved
	// ByName is the time that the name begins with, in seconds since 1970, if it lies
	// between 1990 and a day from now; else that of ByMtime.
	ByName
)

// Clocks are the names of the clocks, in their order.
var Clocks = []string{"mtime", "saved", "name"}

// earliest is the smallest time that a name is believed to tell: 1990 in UTC. A
// smaller number is a counter.
const earliest = 631152000

// tmpAge is how long a file in tmp may be under way: maildir(5) has 36 hours.
const tmpAge = 36 * time.Hour

// SetDays makes what is more than days old at now go, see Cutoff.
func (r *Rule) SetDays(now time.Time, days int) {
	r.Before, r.TmpBefore = Cutoff(now, days), StampOf(now.Add(-tmpAge))
	r.latest = now.Add(day).Unix()
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

// young reports whether the name alone tells that a message is not old enough to go,
// so that its inode need not be asked.
func (r *Rule) young(name []byte) bool {
	if r.Clock != ByName {
		return false
	}
	told, ok := r.nameTime(name)
	return ok && !told.Before(r.Before)
}

// old reports whether what has that name and state is old enough to go.
func (r *Rule) old(in content, name []byte, st *unix.Stat_t) bool {
	if !r.age(name, st).Before(r.Before) {
		return false
	}
	return r.All || !holdings[in].underWay || ctime(st).Before(r.TmpBefore)
}

// age returns the time that counts.
func (r *Rule) age(name []byte, st *unix.Stat_t) Stamp {
	switch r.Clock {
	case BySaved:
		return ctime(st)
	case ByName:
		if told, ok := r.nameTime(name); ok {
			return told
		}
	}
	return mtime(st)
}

// nameTime returns the time that a message's name begins with (maildir(5): the
// seconds since 1970 at delivery), if it can be one.
func (r *Rule) nameTime(name []byte) (Stamp, bool) {
	var sec int64
	for _, c := range name {
		if c < '0' || c > '9' {
			break
		}
		if sec = sec*10 + int64(c-'0'); sec > r.latest {
			return Stamp{}, false
		}
	}
	return Stamp{Sec: sec}, sec >= earliest
}

// counted reports whether a quota had counted a file that went: it was a message, and
// had been delivered.
func counted(in content, name []byte) bool { return holdings[in].counted && name[0] != '.' }

// thrownAway reports whether a message has the flag T.
func thrownAway(name []byte) bool {
	m := parseName(name)
	return m.known && m.has('T')
}

// A Term says how long the messages of some folders are kept.
type Term struct {
	Folder Folder
	Days   int   // more than that many days old goes; -1: nothing does
	Before Stamp // the same, see Cutoff
	Line   int   // where it stands in a file of rules; 0: on the command line
}

// apply returns the rule for a folder for which the term counts.
func (t *Term) apply(r Rule) *Rule {
	r.Never = r.Never || t.Days < 0
	r.Before = t.Before
	return &r
}
