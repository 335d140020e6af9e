package applets

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kowaza/internal/sys"
)

// names tells what the names of the applets stand for in PATH.
func (c *check) names() {
	binary, _ := os.Stat(c.binary()) // nil where it is not known
	var order []string
	called := make(map[string][]string)
	put := func(kind, name string) {
		if called[kind] == nil {
			order = append(order, kind)
		}
		called[kind] = append(called[kind], name)
	}
	var nowhere, absent []string
	for _, name := range ourNames() {
		file, broken := c.lookPath(name)
		nowhere = append(nowhere, broken...)
		if file == "" {
			absent = append(absent, name)
			continue
		}
		info, err := os.Stat(file)
		if err == nil && binary != nil && os.SameFile(info, binary) {
			put("this kowaza", name)
			continue
		}
		ours, err := isKowaza(file)
		switch {
		case ours:
			if end, err := filepath.EvalSymlinks(file); err == nil {
				file = end
			}
			put("another kowaza, "+file, name)
		case err != nil:
			put("of which nothing is known, in "+filepath.Dir(file), name)
		default:
			put("somebody else's, in "+filepath.Dir(file), name)
		}
	}
	row := func(mark byte, text string) { c.row(mark, "PATH", text) }
	for _, kind := range order {
		row(asItShould, kind+": "+strings.Join(called[kind], " "))
	}
	if len(absent) > 0 {
		row(asItShould, "not there: "+strings.Join(absent, " "))
	}
	for _, file := range nowhere {
		row(isWrong, "a link to nothing: "+file)
		c.say("%s: a link to nothing: remove it, or install kowaza again", file)
	}
}

// lookPath returns the program that a shell runs by that name, empty if there is none;
// and the links of that name that lead nowhere.
func (c *check) lookPath(name string) (file string, broken []string) {
	for _, dir := range filepath.SplitList(c.env.Getenv("PATH")) {
		if dir == "" {
			dir = "."
		}
		at := dir + "/" + name
		err := executable(at)
		if err == nil && file == "" {
			file = at
		}
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Readlink(at); err == nil {
				broken = append(broken, at)
			}
		}
	}
	return file, broken
}

// ourMark is in every binary of kowaza: the names of its functions stay in a Go program
// whatever is stripped of it.
const ourMark = "kowaza/applets.Main"

// maxBinary bounds what is read of a program, in bytes.
const maxBinary = 64 << 20

// isKowaza reports whether a program is a kowaza, of whatever version. It is read and not
// run: it may be anybody's. A script that speaks of one is none.
func isKowaza(name string) (bool, error) {
	f, err := sys.OpenToRead(name, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	const elf = "\x7fELF"
	buf := make([]byte, 256<<10)
	kept := 0 // bytes at the beginning of buf, the end of what was searched
	for read := int64(0); read < maxBinary; {
		n, err := f.Read(buf[kept:])
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		text := buf[:kept+n]
		if read == 0 && !bytes.HasPrefix(text, []byte(elf)) {
			return false, nil
		}
		if bytes.Contains(text, []byte(ourMark)) {
			return true, nil
		}
		read += int64(n)
		kept = copy(buf, text[max(0, len(text)-len(ourMark)):])
	}
	return false, nil
}

// ourNames are the names under which a command of ours may be called.
func ourNames() []string {
	names := []string{kowaza.Name}
	for _, a := range All {
		names = append(names, a.Name)
	}
	return names
}
