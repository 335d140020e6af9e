package queue

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// readLayout opens the places of a queue and finds which are split, and by how
// many. A build of qmail may have todo and intd flat or split (big-todo), may
// have more channels, and its split is a number of its own; all that can be
// seen. What contradicts itself is an error that wraps ErrLayout: half of
// another queue's directories would send every look-up to the wrong file.
//
// The places opened so far are returned with an error, too.
func readLayout(fd int) (places []place, split uint64, err error) {
	suppls, err := findSuppls(fd)
	if err != nil {
		return nil, 0, err
	}
	splitAt := "" // the first place that is split
	split = 1
	for _, at := range append([]Place{Mess, Intd, Todo, Info, Bounce, Local, Remote}, suppls...) {
		p := place{Place: at}
		if p.fd, err = openPlace(fd, at.String()); err != nil {
			return places, 0, err
		}
		places = append(places, p)
		n, err := readSplit(p.fd, at.String())
		switch {
		case err != nil:
			return places, 0, err
		case n == 0:
			continue
		case splitAt == "":
			split, splitAt = n, at.String()
		case n != split:
			return places, 0, layoutError(at.String(), "has %d sub-directories, %s has %d", n, splitAt, split)
		}
		places[len(places)-1].split = true
	}
	// todo/N and intd/N are one file, made by one qmail-queue.
	if places[Todo].split != places[Intd].split {
		return places, 0, layoutError("todo", "split and intd is not, or the other way round")
	}
	return places, split, nil
}

// findSuppls lists the places suppl0, suppl1, ... that there are.
func findSuppls(fd int) ([]Place, error) {
	var found []Place
	err := eachDirent(fd, func(_ int, d sys.Dirent) error {
		digits, ok := bytes.CutPrefix(d.Name, []byte("suppl"))
		n, isNumber := number(digits)
		if !ok || !isNumber {
			return nil
		}
		if n >= uint64(maxSuppl) {
			return layoutError(string(d.Name), "more channels than can be handled")
		}
		found = append(found, Suppl+Place(n))
		return nil
	})
	slices.Sort(found)
	return found, inPath("read", ".", err)
}

// openPlace opens one of the queue's own directories, mess or info; its error says
// what is wrong with the queue.
func openPlace(fd int, name string) (int, error) {
	dir, err := sys.Openat(fd, name, sys.OpenDir)
	switch err {
	case nil:
		return dir, nil
	case unix.ENOENT:
		return -1, layoutError(name, "missing")
	case unix.ENOTDIR, unix.ELOOP:
		return -1, layoutError(name, "not a directory")
	}
	return -1, pathError("open", name, err)
}

// maxSplit bounds what a broken queue can make of the memory. Splits are small
// primes; the largest in use are a few hundred.
const maxSplit = 1 << 16

// readSplit returns how many numeric sub-directories the directory has, 0 for a
// flat one. They are 0 to n-1, and no message's file lies beside them.
func readSplit(dir int, name string) (uint64, error) {
	if is, err := flat(dir); is || err != nil {
		return 0, inPath("stat", name, err)
	}
	var dirs []uint64
	file := ""
	err := eachDirent(dir, func(fd int, d sys.Dirent) error {
		n, ok := number(d.Name)
		if !ok {
			return nil
		}
		directory, err := isDirAt(fd, d)
		switch {
		case err != nil:
			return err
		case !directory:
			// One will do: a flat queue may hold millions.
			if file == "" {
				file = name + "/" + string(d.Name)
			}
		case len(dirs) == maxSplit:
			return layoutError(name, "more sub-directories than can be handled")
		default:
			dirs = append(dirs, n)
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		return 0, inPath("read", name, err)
	}
	if file != "" {
		return 0, layoutError(file, "not a directory, but other numbers are")
	}
	slices.Sort(dirs)
	for i, n := range dirs {
		if n != uint64(i) {
			return 0, layoutError(fmt.Sprintf("%s/%d", name, i), "missing, and there is %s/%d", name, n)
		}
	}
	return uint64(len(dirs)), nil
}

func layoutError(path, format string, values ...any) error {
	return pathError("layout", path, fmt.Errorf("%w: %s", ErrLayout, fmt.Sprintf(format, values...)))
}

// inPath gives an error a path unless it has one.
func inPath(op, path string, err error) error {
	if _, ok := err.(*fs.PathError); ok || err == nil {
		return err
	}
	return pathError(op, path, err)
}

func closeAll(places []place) {
	for _, p := range places {
		closeFD(p.fd)
	}
}
