package maildir

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	// errIdentity says that the kernel did not let this process take an owner's
	// rights.
	errIdentity = errors.New("cannot take the identity of the owner")
	// errSecondOwner says that the process has become somebody else for good.
	errSecondOwner = errors.New("of another owner than what this run began with: it needs a run of its own")
)

// credentials are those of the process. FreeBSD has no setfsuid(2), and a
// thread has no rights of its own: what one worker gives up all have lost.
//
// So the process becomes the owner of the first Maildir that it enters, for
// good, in its real and its saved ids too. A Maildir of another owner is an
// error then. To go back to root in between would leave moments in which the
// process is one user while it reads what only another may read.
var credentials struct {
	sync.Mutex
	taken    bool
	uid, gid uint32
	err      error // it went wrong half-way, so nothing is done any more
}

// An identity is the one with which the process asks for files.
type identity struct {
	root bool // whether there is anything to change: the effective uid was 0
}

// newIdentity notes what the process has.
func newIdentity() (*identity, error) {
	credentials.Lock()
	defer credentials.Unlock()
	return &identity{credentials.taken || unix.Geteuid() == 0}, nil
}

// own leaves the identity as it is: there is no way back.
func (id *identity) own() error { return nil }

// at tells whether the identity at hand is that of an owner with that uid.
func (id *identity) at(uid uint32) bool {
	credentials.Lock()
	defer credentials.Unlock()
	return id.root && credentials.taken && credentials.uid == uid
}

// become takes the identity of a Maildir's owner.
func (id *identity) become(uid, gid uint32) error {
	if !id.root {
		return nil
	}
	c := &credentials
	c.Lock()
	defer c.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case !c.taken:
		c.taken, c.uid, c.gid = true, uid, gid
		c.err = takeAll(int(uid), int(gid))
		return c.err
	case c.uid != uid || c.gid != gid:
		return errSecondOwner
	}
	return nil
}

// takeAll changes every id of the process. The groups go first: only root may
// change them.
func takeAll(uid, gid int) error {
	if err := unix.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("%w: setgroups: %w", errIdentity, err)
	}
	if err := unix.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("%w: setresgid %d: %w", errIdentity, gid, err)
	}
	if err := unix.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("%w: setresuid %d: %w", errIdentity, uid, err)
	}
	if unix.Geteuid() != uid || unix.Getuid() != uid || unix.Getegid() != gid {
		return fmt.Errorf("%w: uid %d", errIdentity, uid)
	}
	return nil
}
