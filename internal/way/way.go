// Package way goes to a directory that users own as root may go there: step by step,
// and over a link only by the rule of [Cache.Locate].
package way

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// maxLinks is how many links may stand on the way, as the kernel has it
// (path_resolution(7)).
const maxLinks = 40

var (
	// ErrLink and ErrLinkDir say that a link on the way was not followed.
	ErrLink    = errors.New("link not followed: it leads to what another user owns")
	ErrLinkDir = errors.New("link not followed: others may write the directory that it lies in")
	// ErrRootOwned says that a user may have put root's directory on the way, or at
	// its end.
	ErrRootOwned = errors.New("owned by root, but below a directory in which others than root can rename it")
	// ErrMoved says that a directory that had to be opened again was another one.
	ErrMoved = errors.New("moved while it was being read")
)

// A Location is a directory that has been found but not entered.
type Location struct {
	FD       int // O_PATH: proves which directory it is, gives no right to read
	UID, GID uint32
}

// A Cache is what was found out on the way to one directory and serves for the
// next: of many users' homes most lie in one directory. The zero value is ready.
type Cache struct {
	dir  string   // the directory two names above the last one
	at   place    // which is open, where dir is not empty
	walk resolver // that led there
}

// Close gives up what is open.
func (c *Cache) Close() {
	if c.dir != "" {
		c.at.close()
		c.dir = ""
	}
}

// openDir opens dir, unless it was the last one.
func (c *Cache) openDir(dir string) error {
	if c.dir == dir {
		return nil
	}
	c.Close()
	c.walk = resolver{}
	at, err := c.walk.resolve(nil, "/", dir)
	if err != nil {
		return err
	}
	c.dir, c.at = dir, at
	return nil
}

// cutLastTwo cuts an absolute path before its last two names.
func cutLastTwo(path string) (dir, rest string) {
	i := strings.LastIndexByte(path, '/')
	i = strings.LastIndexByte(path[:max(i, 0)], '/')
	if i <= 0 {
		return "/", path
	}
	return path[:i], strings.TrimLeft(path[i:], "/")
}

// Locate walks to the directory of an absolute path, one name after the other, each relative to
// the directory that the step before opened.
//
// A link that lies in a directory P and leads to T is followed only where P may
// be written by neither its group nor others, and P is root's or P and T have the
// same owner: what a user can put there can then reach only what is his.
//
// Who owns a directory, or may write it, can rename what lies in it, root's
// directories too, and with them all that is below. So where root's rights are at
// work nothing of root's is entered below such a directory: neither that directory nor one
// on the way, nor on that of a link.
//
// An *fs.PathError names the step that failed; fs.ErrNotExist, ErrLink,
// ErrLinkDir and ErrRootOwned come through.
func (c *Cache) Locate(path string) (Location, error) {
	dir, rest := cutLastTwo(path)
	if err := c.openDir(dir); err != nil {
		return Location{}, err
	}
	w := c.walk
	at, err := w.resolve(&c.at, dir, rest)
	if err != nil {
		return Location{}, err
	}
	if !at.isDir() {
		at.close()
		return Location{}, &fs.PathError{Op: "open", Path: path, Err: unix.ENOTDIR}
	}
	return Location{at.fd, at.uid, at.gid}, nil
}

// A place is something on the way, open with O_PATH.
type place struct {
	fd       int
	mode     uint32
	uid, gid uint32
	dev, ino uint64

	// exposed tells of a directory that others than root can rename what lies in it,
	// or that itself lies below one of that kind.
	exposed bool
	up      *place // the directory that it lies in, by now closed perhaps; nil for the root
}

func (p *place) isDir() bool { return p.mode&unix.S_IFMT == unix.S_IFDIR }
func (p *place) close()      { unix.Close(p.fd) }

// newPlace looks at what fd is, which lies in up.
func newPlace(fd int, up *place) (place, error) {
	var st unix.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return place{}, err
	}
	p := place{fd: fd, mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, dev: uint64(st.Dev), ino: st.Ino, up: up}
	p.exposed = up != nil && up.exposed ||
		p.uid != 0 || p.mode&0o022 != 0 && p.mode&unix.S_ISVTX == 0
	return p, nil
}

// A resolver counts the links met on the way.
type resolver struct{ links int }

// resolve resolves path relative to the directory dir, which messages call shown; dir
// may be nil where path is absolute. It returns where that leads.
func (w *resolver) resolve(dir *place, shown, path string) (place, error) {
	var cur place
	opened := false // cur is not dir
	if dir != nil {
		cur = *dir
	}
	fail := func(op string, err error) (place, error) {
		if opened {
			cur.close()
		}
		return place{}, &fs.PathError{Op: op, Path: shown, Err: err}
	}
	if strings.HasPrefix(path, "/") {
		shown = "/"
		fd, err := sys.Openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY)
		if err == nil {
			if cur, err = newPlace(fd, nil); err != nil {
				unix.Close(fd)
			}
		}
		if err != nil {
			return fail("open", err)
		}
		opened = true
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		inside := shown
		shown = join(shown, name)
		fd, isLink, err := openStep(cur.fd, name)
		if err != nil {
			return fail("open", err)
		}
		var next place
		if isLink {
			next, err = w.follow(&cur, fd, inside, shown)
		} else {
			next, err = stepTo(&cur, fd, name)
		}
		if err != nil {
			if pe, ok := err.(*fs.PathError); ok { // of a step of the link's
				shown, err = pe.Path, pe.Err
			}
			return fail("open", err)
		}
		if opened {
			cur.close()
		}
		cur, opened = next, true
	}
	if !opened { // path was nothing but dots
		fd, err := sys.Openat(dir.fd, ".", unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return fail("open", err)
		}
		cur.fd = fd
	}
	return cur, nil
}

// stepTo makes a place of fd, which was opened as name in cur, or closes it.
func stepTo(cur *place, fd int, name string) (place, error) {
	if name == ".." {
		return stepBack(cur, fd)
	}
	up := *cur
	next, err := newPlace(fd, &up)
	if err == nil && up.exposed && next.uid == 0 && next.isDir() && sys.Privileged() {
		err = ErrRootOwned
	}
	if err != nil {
		unix.Close(fd)
		return place{}, err
	}
	return next, nil
}

// stepBack makes a place of fd, the directory above cur, which the walk has come
// through before, or closes it.
func stepBack(cur *place, fd int) (place, error) {
	above := cur.up
	if above == nil { // the root is its own
		above = cur
	}
	next, err := newPlace(fd, above.up)
	if err == nil && (next.dev != above.dev || next.ino != above.ino) {
		err = ErrMoved
	}
	if err != nil {
		unix.Close(fd)
		return place{}, err
	}
	return next, nil
}

// follow resolves the link that is open as link and lies in the directory dir,
// which messages call inside, if the rule of Locate allows it. It closes link.
func (w *resolver) follow(dir *place, link int, inside, shown string) (place, error) {
	target, err := readlink(link)
	unix.Close(link)
	if w.links++; err == nil && w.links > maxLinks {
		err = unix.ELOOP
	}
	if err == nil && dir.mode&0o022 != 0 {
		err = ErrLinkDir
	}
	if err != nil {
		return place{}, &fs.PathError{Op: "readlink", Path: shown, Err: err}
	}
	next, err := w.resolve(dir, inside, target)
	if err != nil {
		return place{}, err
	}
	if dir.uid != 0 && dir.uid != next.uid {
		next.close()
		return place{}, &fs.PathError{Op: "open", Path: shown, Err: ErrLink}
	}
	return next, nil
}

// openStep opens one name in dir without following a link, and reports whether
// it is one. O_DIRECTORY is tried first: it mounts what an automounter has
// there, which O_PATH alone does not.
func openStep(dir int, name string) (fd int, isLink bool, err error) {
	fd, err = sys.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY)
	if err != unix.ENOTDIR && err != unix.ELOOP {
		return fd, false, err
	}
	fd, err = sys.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, false, err
	}
	var st unix.Stat_t
	if err = sys.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, st.Mode&unix.S_IFMT == unix.S_IFLNK, nil
}

func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

// readlink reads the link that is open as fd, the link itself and not what has
// its name by now.
func readlink(fd int) (string, error) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Readlinkat(fd, "", buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case n == len(buf):
			return "", unix.ENAMETOOLONG
		case n == 0:
			return "", unix.ENOENT
		default:
			return string(buf[:n]), nil
		}
	}
}
