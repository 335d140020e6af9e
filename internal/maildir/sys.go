package maildir

import "golang.org/x/sys/unix"

// The system calls of this package. A signal handler may interrupt any of them
// on some file systems (signal(7)), whatever SA_RESTART says: they are called
// again.

// openDir are the flags for a directory that is to be read. O_NONBLOCK is for
// what a user may have put there since it was seen.
const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func fstat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); err != unix.EINTR {
			return err
		}
	}
}

// lstatat is fstatat(2) that follows no link.
func lstatat(dir int, name string, st *unix.Stat_t) error {
	for {
		if err := unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW); err != unix.EINTR {
			return err
		}
	}
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

// isDirAt tells whether dir has a directory of that name, a link not counted.
func isDirAt(dir int, name string) (bool, error) {
	var st unix.Stat_t
	switch err := lstatat(dir, name, &st); err {
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
