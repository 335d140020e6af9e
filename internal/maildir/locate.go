package maildir

import (
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// maxLinks is how many links may stand on the way, as the kernel has it
// (path_resolution(7)).
const maxLinks = 40

// A location is a Maildir that has been found but not entered.
type location struct {
	fd       int // O_PATH: proves which directory it is, gives no right to read
	uid, gid uint32
}

// A way is what was found out on the way to one Maildir and serves for the
// next: of many users' homes most lie in one directory.
type way struct {
	dir   string // the directory two names above the last Maildir
	fd    int    // which is open, with O_PATH, where dir is not empty
	links int    // met on the way there
}

func (y *way) close() {
	if y.dir != "" {
		unix.Close(y.fd)
		y.dir = ""
	}
}

// to opens dir, unless it was the last one.
func (y *way) to(dir string) error {
	if y.dir == dir {
		return nil
	}
	y.close()
	var w walk
	var parent unix.Stat_t
	fd, err := w.from(-1, "/", dir, &parent)
	if err != nil {
		return err
	}
	y.dir, y.fd, y.links = dir, fd, w.links
	return nil
}

// cutLast cuts an absolute path before its last two names.
func cutLast(path string) (dir, rest string) {
	i := strings.LastIndexByte(path, '/')
	i = strings.LastIndexByte(path[:max(i, 0)], '/')
	if i <= 0 {
		return "/", path
	}
	return path[:i], strings.TrimLeft(path[i:], "/")
}

// locate walks to an absolute path, one name after the other, each relative to
// the directory that the step before opened.
//
// A link that lies in a directory P and leads to T is followed only where P is
// root's and writable by no one else, or where T and P have the same owner:
// what a user can put there can then reach only what is his. A directory that
// everyone may write is nobody's, so there no link is followed.
//
// An *fs.PathError names the step that failed; fs.ErrNotExist and ErrLink come
// through.
func (y *way) locate(path string) (location, error) {
	dir, rest := cutLast(path)
	if err := y.to(dir); err != nil {
		return location{}, err
	}
	w := walk{links: y.links}
	var parent, st unix.Stat_t
	fd, err := w.from(y.fd, dir, rest, &parent)
	if err != nil {
		return location{}, err
	}
	err = sys.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		err = unix.ENOTDIR
	// Who may write a directory can rename what lies in it, root's directories
	// too, unless the sticky bit forbids it.
	case st.Uid == 0 && (parent.Uid != 0 || parent.Mode&0o022 != 0 && parent.Mode&unix.S_ISVTX == 0) && unix.Geteuid() == 0:
		err = ErrRootOwned
	}
	if err != nil {
		unix.Close(fd)
		return location{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return location{fd, st.Uid, st.Gid}, nil
}

// A walk counts the links met on the way.
type walk struct{ links int }

// from resolves path relative to the directory dir, which messages call
// shown, and returns an O_PATH descriptor of what it leads to. parent becomes
// the state of the directory that this lies in.
func (w *walk) from(dir int, shown, path string, parent *unix.Stat_t) (int, error) {
	cur := dir // and not to be closed
	if strings.HasPrefix(path, "/") {
		shown = "/"
		root, err := sys.Openat(unix.AT_FDCWD, "/", openPath|unix.O_DIRECTORY)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: shown, Err: err}
		}
		cur = root
	}
	leave := func(fd int) {
		if fd != dir {
			unix.Close(fd)
		}
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		shown = join(shown, name)
		if err := sys.Fstat(cur, parent); err != nil {
			leave(cur)
			return -1, &fs.PathError{Op: "stat", Path: shown, Err: err}
		}
		next, isLink, err := openStep(cur, name)
		if err == nil && isLink {
			next, err = w.follow(cur, next, shown, parent)
		} else if err != nil {
			err = &fs.PathError{Op: "open", Path: shown, Err: err}
		}
		leave(cur)
		if err != nil {
			return -1, err
		}
		cur = next
	}
	if cur == dir { // path was nothing but dots
		fd, err := sys.Openat(dir, ".", openPath|unix.O_DIRECTORY)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: shown, Err: err}
		}
		cur = fd
	}
	return cur, nil
}

// follow resolves the link that is open as link and lies in the directory dir
// whose state is parent, if the rule of locate allows it. It closes link.
func (w *walk) follow(dir, link int, shown string, parent *unix.Stat_t) (int, error) {
	target, err := readlink(link)
	unix.Close(link)
	if w.links++; err == nil && w.links > maxLinks {
		err = unix.ELOOP
	}
	if err != nil {
		return -1, &fs.PathError{Op: "readlink", Path: shown, Err: err}
	}
	inDir := *parent
	next, err := w.from(dir, shown[:strings.LastIndexByte(shown, '/')+1], target, parent)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = sys.Fstat(next, &st); err == nil && !mayFollow(&inDir, &st) {
		err = ErrLink
	}
	if err != nil {
		unix.Close(next)
		return -1, &fs.PathError{Op: "open", Path: shown, Err: err}
	}
	return next, nil
}

// mayFollow is the rule of locate.
func mayFollow(dir, target *unix.Stat_t) bool {
	if dir.Uid == 0 && dir.Mode&0o022 == 0 {
		return true
	}
	return dir.Uid == target.Uid && dir.Mode&0o002 == 0
}

// openStep opens one name in dir without following a link, and tells whether
// it is one. O_DIRECTORY is tried first: it mounts what an automounter has
// there, which O_PATH alone does not.
func openStep(dir int, name string) (fd int, isLink bool, err error) {
	fd, err = sys.Openat(dir, name, openPath|unix.O_NOFOLLOW|unix.O_DIRECTORY)
	if err != unix.ENOTDIR && err != unix.ELOOP {
		return fd, false, err
	}
	fd, err = sys.Openat(dir, name, openPath|unix.O_NOFOLLOW)
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
