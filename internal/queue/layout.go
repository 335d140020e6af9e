package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A layout is what readLayout finds.
type layout struct {
	places []place
	split  uint64
	odd    []error // what does not belong, or is missing, and hinders nobody
}

// readLayout opens the places of a queue and finds which are split, and by how
// many. A build of qmail may have todo and intd flat or split (big-todo), may
// have more channels, and its split is a number of its own; all that can be
// seen. A place that is missing, or is none, is an error that wraps ErrLayout: so
// is what is no queue. One that may not be read is noted, but for mess.
//
// What does not fit together otherwise is odd. It is looked at in the way in which
// most of the places are, and then what stands in the wrong directory is found out
// file by file, see Check.
//
// The places opened so far are returned with an error, too.
func readLayout(fd int) (l layout, err error) {
	suppls, err := findSuppls(fd)
	if err != nil {
		return l, err
	}
	for _, at := range append([]Place{Mess, Intd, Todo, Info, Bounce, Local, Remote}, suppls...) {
		p := place{Place: at, fd: -1}
		p.fd, err = openPlace(fd, at.String())
		if errors.Is(err, fs.ErrPermission) && at != Mess {
			p.denied = err
			l.places = append(l.places, p)
			continue
		}
		if err != nil {
			return l, err
		}
		l.places = append(l.places, p)
		if err := l.places[len(l.places)-1].readDirs(); err != nil {
			return l, err
		}
	}
	l.split = commonSplit(l.places)
	for i := range l.places {
		if err := l.settle(&l.places[i]); err != nil {
			return l, err
		}
	}
	// todo/N and intd/N are one file, made by one qmail-queue: where one of them tells
	// nothing, it is as the other is.
	todo, intd := &l.places[Todo], &l.places[Intd]
	switch {
	case todo.either && !intd.split && intd.denied == nil:
		todo.flatten(&l)
	case intd.either && !todo.split && todo.denied == nil:
		intd.flatten(&l)
	}
	return l, nil
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

// readDirs reads which numeric sub-directories the place has, and one file that
// stands beside them.
func (p *place) readDirs() error {
	name := p.String()
	if is, err := flat(p.fd); is || err != nil {
		return inPath("stat", name, err)
	}
	err := eachDirent(p.fd, func(fd int, d sys.Dirent) error {
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
			if p.file == "" {
				p.file = string(d.Name)
			}
		case len(p.dirs) == maxSplit:
			return layoutError(name, "more sub-directories than can be handled")
		default:
			p.dirs = append(p.dirs, n)
		}
		return nil
	})
	slices.Sort(p.dirs)
	return inPath("read", name, err)
}

// isDir reports whether a number is one of the place's directories.
func (p *place) isDir(n uint64) bool {
	_, is := slices.BinarySearch(p.dirs, n)
	return is
}

// commonSplit returns by how many most of the places are split that a build of
// qmail splits, whatever it does with todo and intd: 1 where none is.
func commonSplit(places []place) uint64 {
	votes := make(map[uint64]int)
	var best uint64 = 1
	for _, p := range places { // mess is the first
		if len(p.dirs) == 0 || p.Place == Todo || p.Place == Intd || p.Place == Bounce {
			continue
		}
		split := p.dirs[len(p.dirs)-1] + 1
		if votes[split]++; votes[split] > votes[best] {
			best = split
		}
	}
	if len(votes) > 0 {
		return best
	}
	for _, p := range places {
		if len(p.dirs) > 0 {
			return p.dirs[len(p.dirs)-1] + 1
		}
	}
	return 1
}

// settle decides whether a place is split, and notes what does not belong to that.
func (l *layout) settle(p *place) error {
	p.split = len(p.dirs) > 0
	if p.split && (p.Place == Todo || p.Place == Intd || p.Place == Bounce) {
		// An administrator may have made sub-directories where his qmail has none: as
		// long as nothing is in them it does not look there, but for a complaint.
		var most uint64
		for _, d := range p.dirs {
			if d < l.split {
				most++
			}
		}
		used := false
		if p.file != "" || most <= l.split/2 {
			var err error
			if used, err = p.anyInDirs(); err != nil {
				return err
			}
			if !used {
				p.flatten(l)
				return nil
			}
		}
		p.either = !used && p.Place != Bounce
	}
	if !p.split {
		return nil
	}
	if p.file != "" {
		l.odd = append(l.odd, layoutRemark(p.String()+"/"+p.file, "no directory, and other numbers there are"))
	}
	have := make(map[uint64]bool)
	for _, d := range p.dirs {
		have[d] = true
		if d >= l.split {
			l.odd = append(l.odd, layoutRemark(subPath(*p, d), "does not belong there: the queue is split by %d", l.split))
		}
	}
	for d := range l.split {
		if !have[d] && p.Place != Mess { // of mess it is an error where it is needed
			l.odd = append(l.odd, layoutRemark(subPath(*p, d), "missing, and the queue is split by %d", l.split))
		}
	}
	return nil
}

// flatten says that the place has no sub-directories, whatever there are.
func (p *place) flatten(l *layout) {
	p.split, p.either = false, false
	first := p.String() + "/" + strconv.FormatUint(p.dirs[0], 10)
	what := "does not belong there, as " + p.String() + " is not split: remove it"
	if n := len(p.dirs); n > 1 {
		what = fmt.Sprintf("and other directories up to %s/%d do not belong there, as %s is not split: remove them", p, p.dirs[n-1], p)
	}
	l.odd = append(l.odd, pathError("layout", first, errors.New(what)))
}

// anyInDirs reports whether a number stands in one of the sub-directories.
func (p *place) anyInDirs() (any bool, err error) {
	for _, d := range p.dirs {
		name := strconv.FormatUint(d, 10)
		fd, err := sys.Openat(p.fd, name, sys.OpenDir)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return false, pathError("open", p.String()+"/"+name, err)
		}
		err = eachNumber(fd, func(uint64) { any = true })
		closeFD(fd)
		if err != nil {
			return false, pathError("read", p.String()+"/"+name, err)
		}
		if any {
			return true, nil
		}
	}
	return false, nil
}

func layoutError(path, format string, values ...any) error {
	return pathError("layout", path, fmt.Errorf("%w: %s", ErrLayout, fmt.Sprintf(format, values...)))
}

// layoutRemark is about what does not keep the queue from being read.
func layoutRemark(path, format string, values ...any) error {
	return pathError("layout", path, fmt.Errorf(format, values...))
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
		if p.fd >= 0 {
			closeFD(p.fd)
		}
	}
}
