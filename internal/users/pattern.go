package users

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
	"kowaza/internal/way"
)

// A PatternList finds the virtual users of a mail store by its shape: they are the
// directories that match a pattern such as /var/vmail/*/*, in which a * is a whole
// name that does not begin with a dot. A user's name is what the stars are, joined by
// slashes. A login's own home is never one.
type PatternList struct {
	Pattern string // absolute, cleaned, with at least one *
	VUser   string // only directories of this account; empty: of anybody
	Passwd  Passwd

	user    func(Virtual) bool
	fail    func(error)
	uid     uint32 // of VUser
	homes   []os.FileInfo
	names   map[string]bool // the same, as they stand in the database
	batch   []match
	full    int
	stopped bool
}

// A match is a directory that the pattern takes.
type match struct {
	Virtual
	last string // what the last * was: a login may be called so
	info os.FileInfo
}

// Each calls user for every virtual user until user returns false. What cannot be
// read is told to fail, and the rest is still done. It returns an error where VUser
// or the logins cannot be found out, or nothing can be read at all.
func (l PatternList) Each(user func(Virtual) bool, fail func(error)) error {
	l.user, l.fail, l.full = user, fail, firstBatch
	l.names = make(map[string]bool)
	if l.VUser != "" {
		login, err := l.Passwd.ByName(l.VUser)
		if err != nil {
			return &os.PathError{Op: "find", Path: l.VUser, Err: err}
		}
		l.uid = login.UID
	}
	if _, err := l.Passwd.inFile(func(login *Login) bool { l.note(login); return false }); err != nil {
		return err
	}
	parts := strings.Split(l.Pattern, "/")[1:]
	l.walk("/", parts, nil)
	l.flush()
	return nil
}

// note notes the home of a login, under whatever path it is reached.
func (l *PatternList) note(login *Login) {
	if home := path.Clean(login.Home); path.IsAbs(home) && !l.names[home] {
		l.names[home] = true
		if info, err := Stat(home); err == nil {
			l.homes = append(l.homes, info)
		}
	}
}

// walk finds what parts match below dir; stars are the names that stars stood for.
func (l *PatternList) walk(dir string, parts, stars []string) {
	for len(parts) > 0 && parts[0] != "*" {
		dir, parts = path.Join(dir, parts[0]), parts[1:]
	}
	if len(parts) == 0 {
		l.add(dir, stars)
		return
	}
	f, err := within(func() (*os.File, error) { return openDir(dir) })
	if len(stars) > 0 && leadsNowhere(err) {
		return // does not match
	}
	if err != nil {
		l.fail(answered("open", dir, err))
		return
	}
	defer f.Close()
	for !l.stopped {
		entries, err := within(func() ([]os.DirEntry, error) { return f.ReadDir(batchSize) })
		for _, entry := range entries {
			kind := entry.Type()
			if name := entry.Name(); name[0] != '.' && (kind.IsDir() || kind&os.ModeSymlink != 0 || kind&os.ModeIrregular != 0) {
				l.walk(path.Join(dir, name), parts[1:], append(stars[:len(stars):len(stars)], name))
			}
			if l.stopped {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				l.fail(answered("read", dir, err))
			}
			return
		}
	}
}

// openDir opens a directory to read the names in it. Users own what lies on the way,
// and what their links lead to is read by the rule of package way alone.
func openDir(dir string) (*os.File, error) {
	var c way.Cache
	defer c.Close()
	loc, err := c.Locate(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(loc.FD)
	fd, err := sys.Openat(loc.FD, ".", sys.OpenDir)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// leadsNowhere reports that a name is no directory, nor a link to one.
func leadsNowhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// answered is an error about a directory, with its name even where there was no
// answer at all.
func answered(op, dir string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return err
	}
	return &os.PathError{Op: op, Path: dir, Err: err}
}

// add takes what matched, if it is a directory and of VUser.
func (l *PatternList) add(dir string, stars []string) {
	info, err := Stat(dir)
	switch {
	case leadsNowhere(err):
		return // or gone
	case err != nil:
		l.fail(err)
		return
	case !info.IsDir():
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); l.VUser != "" && (!ok || st.Uid != l.uid) {
		return
	}
	l.batch = append(l.batch, match{named(dir, stars), stars[len(stars)-1], info})
	if len(l.batch) == l.full {
		l.flush()
	}
}

// flush hands on those of the batch that are no login's home. Where that cannot be
// found out, nobody who may be one is handed on.
func (l *PatternList) flush() {
	names := make(map[string]bool)
	for _, m := range l.batch {
		names[m.last] = true
	}
	logins, _, failed := l.Passwd.byNames(names)
	for _, login := range logins {
		l.note(login)
	}
	for _, m := range l.batch {
		if l.stopped {
			break
		}
		home := l.names[m.Home]
		for _, info := range l.homes {
			home = home || os.SameFile(info, m.info)
		}
		switch {
		case home:
		case failed != nil && logins[m.last] == nil && couldLogin(m.last):
			l.fail(answered("find", m.Home, failed))
		default:
			l.stopped = !l.user(m.Virtual)
		}
	}
	l.batch, l.full = l.batch[:0], batchSize
}

// named is the user whose home a pattern takes; stars are what its stars stand for.
func named(home string, stars []string) Virtual {
	v := Virtual{Name: strings.Join(stars, "/"), Home: home}
	if len(stars) == 2 {
		v.Domain, v.Address = stars[0], stars[1]+"@"+stars[0]
	}
	return v
}

// MatchPattern returns the user whose home is dir, a cleaned path, by the pattern of a
// PatternList; false if that does not take it. It looks at names alone.
func MatchPattern(pattern, dir string) (Virtual, bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(dir, "/")
	if len(want) != len(have) {
		return Virtual{}, false
	}
	var stars []string
	for i, name := range have {
		switch {
		case want[i] == name && name != "*":
		case want[i] == "*" && name != "" && name[0] != '.':
			stars = append(stars, name)
		default:
			return Virtual{}, false
		}
	}
	return named(dir, stars), true
}

// FillPattern returns the home of a user of that name, by the pattern of a
// PatternList; false if the name has another number of parts.
func FillPattern(pattern, name string) (home string, ok bool) {
	parts := strings.Split(name, "/")
	want := strings.Split(pattern, "/")
	for i := range want {
		if want[i] == "*" {
			if len(parts) == 0 {
				return "", false
			}
			want[i], parts = parts[0], parts[1:]
		}
	}
	return strings.Join(want, "/"), len(parts) == 0
}
