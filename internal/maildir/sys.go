package maildir

import (
	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

func mtime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Mtim.Sec), int64(st.Mtim.Nsec)} }
func ctime(st *unix.Stat_t) Stamp { return Stamp{int64(st.Ctim.Sec), int64(st.Ctim.Nsec)} }

// isDirAt reports whether dir has a directory of that name, a link not counted.
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

// messageDirs are the directories of a Maildir in which messages are.
var messageDirs = []string{"cur", "new", "tmp"}

// isMaildir makes sure that the directory has all three of messageDirs, else the
// error is a *NotMaildirError.
func isMaildir(dir int) error {
	var lacks []string
	for _, name := range messageDirs {
		ok, err := isDirAt(dir, name)
		if err != nil {
			return err
		}
		if !ok {
			lacks = append(lacks, name)
		}
	}
	if lacks != nil {
		return &NotMaildirError{lacks}
	}
	return nil
}

// isFolder reports whether the directory is a folder of a Maildir. One that lacks
// new or cur is one as well: git, rsync and some delivery agents leave empty
// directories out, and servers show and mend such folders.
func isFolder(dir int) (bool, error) {
	ok, err := isDirAt(dir, "cur")
	if !ok && err == nil {
		ok, err = isDirAt(dir, "new")
	}
	return ok, err
}

// vanished reports that a name that was there is there no more, or is something
// else by now: mail moves while it is being read.
func vanished(err error) bool {
	return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP || err == unix.EISDIR
}
