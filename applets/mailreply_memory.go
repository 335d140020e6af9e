package applets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/sys"
)

// A replyMemory knows to whom mailreply sent a text and when: an empty file for each in
// HOME/.mailreply, whose mtime is the time.
type replyMemory struct {
	env  *cli.Env
	days time.Duration
	now  time.Time
	name string // of the file for this sender and this text

	dir  int    // open
	path string // of it
}

const (
	memoryNameLen = 16
	memoryDir     = ".mailreply"

	// Beyond the first old ones go; with the second it is a flood, or a robot that no
	// rule knows, and silence is better. RFC 5230, 4.2, wants at least 1000.
	manyReplies = 1000
	maxReplies  = 10000
)

// fails names what an error of the system is about.
func (m *replyMemory) fails(name string, err error) error {
	return fmt.Errorf("%s: %w", filepath.Join(m.path, name), err)
}

// open opens the directory; makes it where make says so, with the rights that it
// must have. No link is followed below the home, which is the user's own affair.
func (m *replyMemory) open(make bool) error {
	home, err := ownHome(m.env)
	if err != nil {
		return err
	}
	m.path = filepath.Join(home, memoryDir)
	if make {
		if _, err := ignoringEINTR(func() (int, error) { return 0, unix.Mkdir(m.path, 0o700) }); err != nil && err != unix.EEXIST {
			return m.fails("", err)
		}
	}
	if m.dir, err = sys.Openat(unix.AT_FDCWD, m.path, sys.OpenDir); err != nil {
		return m.fails("", err)
	}
	var st unix.Stat_t
	err = sys.Fstat(m.dir, &st)
	switch {
	case err != nil:
	case st.Uid != uint32(os.Geteuid()):
		err = errors.New("belongs to another user")
	case make && st.Mode&0o7777 != 0o700:
		_, err = ignoringEINTR(func() (int, error) { return 0, unix.Fchmod(m.dir, 0o700) })
	}
	if err != nil {
		unix.Close(m.dir)
		return m.fails("", err)
	}
	return nil
}

// within reports whether a file is of a reply so young that there is no other. The
// clock may have been wrong: a time as far ahead counts like one as long ago.
func (m *replyMemory) within(st *unix.Stat_t) bool {
	age := m.now.Sub(time.Unix(st.Mtim.Unix()))
	return age < m.days && age > -m.days
}

func (m *replyMemory) sent() error {
	return noReplyf("was sent within %s", cli.Count(int64(m.days/(24*time.Hour)), "day"))
}

// look says, without writing anything, whether there may be a reply.
func (m *replyMemory) look() error {
	err := m.open(false)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(m.dir)
	var st unix.Stat_t
	switch err := sys.Lstatat(m.dir, m.name, &st); {
	case err == unix.ENOENT:
		return nil
	case err != nil:
		return m.fails(m.name, err)
	case m.within(&st):
		return m.sent()
	}
	return nil
}

// remember takes the right to reply now, which of any number of processes at once
// one gets. forget gives it back.
func (m *replyMemory) remember() (forget func() error, err error) {
	if err := m.open(true); err != nil {
		return nil, err
	}
	if err := m.limit(); err != nil {
		unix.Close(m.dir)
		return nil, err
	}
	for {
		fd, err := sys.OpenatMode(m.dir, m.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err == unix.EEXIST {
			if fd, err = m.renew(); fd < 0 && err == nil {
				continue // it has gone by now
			}
		}
		if err != nil {
			unix.Close(m.dir)
			var why noReply
			if errors.As(err, &why) {
				return nil, err
			}
			return nil, m.fails(m.name, err)
		}
		err = sys.Futimens(fd, m.now)
		unix.Close(fd)
		forget = func() error {
			defer unix.Close(m.dir)
			if err := sys.Unlinkat(m.dir, m.name); err != nil && err != unix.ENOENT {
				return m.fails(m.name, err)
			}
			return nil
		}
		if err != nil {
			forget()
			return nil, m.fails(m.name, err)
		}
		return forget, nil
	}
}

// renew returns the file of a reply of long ago, locked. Who has the lock may change or
// remove it; so of several processes that find it old one replies. -1 and no error:
// it is not there any more.
func (m *replyMemory) renew() (fd int, err error) {
	fd, err = sys.Openat(m.dir, m.name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err == unix.ENOENT {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	_, err = ignoringEINTR(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	switch err {
	case unix.EWOULDBLOCK:
		err = noReply("is being sent by another process")
	case nil, unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP: // file systems without locks
		err = sys.Fstat(fd, &st)
	}
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("not a regular file")
	case st.Nlink == 0:
		unix.Close(fd)
		return -1, nil
	case m.within(&st):
		err = m.sent()
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// limit keeps the directory small.
func (m *replyMemory) limit() error {
	names, err := m.names()
	if err != nil || len(names) <= manyReplies {
		return err
	}
	young := 0
	for _, name := range names {
		var st unix.Stat_t
		if sys.Lstatat(m.dir, name, &st) != nil {
			continue
		}
		if m.within(&st) {
			young++
		} else if name != m.name {
			m.prune(name)
		}
	}
	if young >= maxReplies {
		return fmt.Errorf("%s: %d replies within %s: no more", m.path, young, cli.Count(int64(m.days/(24*time.Hour)), "day"))
	}
	return nil
}

// prune removes the file of a reply that is still old once it is locked. That it
// cannot is no reason for anything: the next reply tries again.
func (m *replyMemory) prune(name string) {
	old := *m
	old.name = name
	if fd, err := old.renew(); err == nil && fd >= 0 {
		sys.Unlinkat(m.dir, name)
		unix.Close(fd)
	}
}

// names returns the files of replies.
func (m *replyMemory) names() (names []string, err error) {
	err = sys.EachDirent(m.dir, func(d sys.Dirent) error {
		if name := string(d.Name); len(name) == memoryNameLen && strings.Trim(name, "0123456789abcdef") == "" {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, m.fails("", err)
	}
	return names, nil
}
