package maildir

import (
	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

func mtime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Mtim.Sec), int64(st.Mtim.Nsec)} }
func ctime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Ctim.Sec), int64(st.Ctim.Nsec)} }

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

// isDirAt tells whether dir has a directory of that name, a link not counted.
func isDirAt(dir int, name string) (bool, error) {
	var st unix.Stat_t
	switch err := sys.Lstatat(dir, name, &st); err {
	case nil:
		return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, err
	}
}

// hasMessageDirs tells whether the directory is a Maildir or a folder of one.
func hasMessageDirs(dir int) (bool, error) {
	for _, name := range []string{"cur", "new", "tmp"} {
		if ok, err := isDirAt(dir, name); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// vanished tells that a name that was there is there no more, or is something
// else by now: mail moves while it is being read.
func vanished(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EISDIR
}
