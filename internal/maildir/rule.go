package maildir

import (
	"golang.org/x/sys/unix"
)

// candidate reports whether a regular file of that name in n is a message, or as
// good as one.
func (p *Pool) candidate(n *node, name []byte) bool {
	return p.opt.All || n.holds != other && name[0] != '.'
}

// stays reports whether a message stays whatever its age. So does one whose
// flags cannot be read where flags decide.
func (p *Pool) stays(n *node, name []byte) bool {
	if !p.opt.KeepFlagged && !p.opt.SeenOnly {
		return false
	}
	m := parseName(name)
	return !m.known || p.opt.KeepFlagged && m.has('F') ||
		p.opt.SeenOnly && (n.name == "new" || !m.has('S'))
}

// isOld reports whether what st describes is old enough to go.
func (p *Pool) isOld(n *node, st *unix.Stat_t) bool {
	if !p.age(st).Before(p.old) {
		return false
	}
	return n.holds != unfinished || p.opt.All || ctime(st).Before(p.stale)
}

// age returns the time that counts.
func (p *Pool) age(st *unix.Stat_t) Stamp {
	if p.opt.Saved {
		return ctime(st)
	}
	return mtime(st)
}
