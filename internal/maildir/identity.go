package maildir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errIdentity says that the kernel did not let this thread take an owner's
// rights.
var errIdentity = errors.New("cannot take the identity of the owner")

// An identity is the one with which a thread asks for files: setfsuid(2),
// setfsgid(2) and setgroups(2) of that thread alone. The goroutine that has
// one must be locked to its thread and end there.
//
// With an fsuid other than 0 the kernel drops the thread's capabilities over
// files (capabilities(7)), so root cannot do there what the owner cannot.
type identity struct {
	root     bool // whether there is anything to change: the effective uid is 0
	groups   []int
	egid     uint32
	uid, gid uint32
	taken    bool // uid and gid hold
}

// newIdentity notes what the process has.
func newIdentity() (*identity, error) {
	id := &identity{root: unix.Geteuid() == 0}
	if !id.root {
		return id, nil
	}
	groups, err := unix.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("%w: getgroups: %w", errIdentity, err)
	}
	id.groups, id.egid = groups, uint32(unix.Getegid())
	return id, nil
}

// restore goes back to the identity of the process.
func (id *identity) restore() error {
	if !id.root || !id.taken {
		return nil
	}
	return id.set(0, id.egid, id.groups, false)
}

// isUID reports whether the identity at hand is that of an owner with that uid.
func (id *identity) isUID(uid uint32) bool { return id.taken && id.uid == uid }

// become takes the identity of a Maildir's owner.
func (id *identity) become(uid, gid uint32) error {
	if !id.root || id.taken && id.uid == uid && id.gid == gid {
		return nil
	}
	return id.set(uid, gid, []int{int(gid)}, true)
}

func (id *identity) set(uid, gid uint32, groups []int, taken bool) error {
	if err := unix.Setgroups(groups); err != nil {
		return fmt.Errorf("%w: setgroups: %w", errIdentity, err)
	}
	// Until all is done it is nobody's: a failure half way must not be taken for
	// what was before.
	id.taken, id.uid, id.gid = true, ^uint32(0), ^uint32(0)
	// These two report no failure. Asked for -1, which is nobody, they change
	// nothing and tell what holds.
	unix.SetfsgidRetGid(int(gid))
	if now, err := unix.SetfsgidRetGid(-1); err != nil || uint32(now) != gid {
		return fmt.Errorf("%w: setfsgid %d", errIdentity, gid)
	}
	unix.SetfsuidRetUid(int(uid))
	if now, err := unix.SetfsuidRetUid(-1); err != nil || uint32(now) != uid {
		return fmt.Errorf("%w: setfsuid %d", errIdentity, uid)
	}
	id.taken, id.uid, id.gid = taken, uid, gid
	return nil
}
