package maildir

import (
	"slices"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// hasDots finds out, once for a Maildir, whether a folder of it has a dot in its
// name, as with layout=fs or listescape one can: then a dot in a pattern is no
// separator. What could not be looked at may have one.
func (w *worker) hasDots(tr *tree) bool {
	tr.dots.Do(func() {
		d := dotSearch{left: maxDotSearch}
		tr.dotted = d.in(tr.root.fd, nil)
	})
	return tr.dotted
}

// maxDotSearch bounds the directories that are looked at, maxDotDepth how many of them
// lie in each other.
const (
	maxDotSearch = 10000
	maxDotDepth  = 64
)

type dotSearch struct{ left int }

// in reports whether a directory below that which is open as dir has a dot in its
// name, and is a folder; names lead there.
func (d *dotSearch) in(dir int, names []string) bool {
	subdirs, err := directories(dir)
	if err != nil || len(names) >= maxDotDepth {
		return true
	}
	for _, name := range subdirs {
		if isMessageDir(name) {
			continue
		}
		if d.left--; d.left < 0 {
			return true
		}
		fd, err := sys.Openat(dir, name, sys.OpenDir)
		if vanished(err) {
			continue
		}
		if err != nil {
			return true
		}
		path := append(slices.Clip(names), name)
		found := false
		if folderNames(path).dotted {
			ok, err := isFolder(fd)
			found = ok || err != nil
		}
		found = found || d.in(fd, path)
		unix.Close(fd)
		if found {
			return true
		}
	}
	return false
}

// directories returns the names of those that lie in the directory dir.
func directories(dir int) ([]string, error) {
	fd, err := sys.Openat(dir, ".", sys.OpenDir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	err = sys.EachDirent(fd, func(d sys.Dirent) error {
		if dots(d.Name) || d.Kind != unix.DT_DIR && d.Kind != unix.DT_UNKNOWN {
			return nil
		}
		if len(names) > maxDotSearch {
			return unix.EFBIG
		}
		names = append(names, string(d.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}
