package users

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
)

// A Virtual is a virtual user: somebody with a Maildir and no login.
type Virtual struct {
	Name    string
	Domain  string // the domain of his address; empty where that is not known
	Address string // user@domain; empty likewise
	Home    string // absolute, cleaned; the Maildir lies in it
	// UID must own the Maildir where Checked is set: the directory comes from a
	// file that is the domain's own.
	UID     uint32
	Checked bool
}

// A VirtualList finds the virtual users of a host: those of the = lines of
// users/assign, and those of the vpasswd files of vpopmail's + lines. At least one of
// VMDir and VUser must be set, or every login that qmail-pw2u has written
// there would be taken for one.
type VirtualList struct {
	Assign string // users/assign
	VMDir  string // only homes below this directory; absolute, cleaned; empty: any
	VUser  string // only lines with this in field 2; empty: any
	Passwd Passwd

	user func(Virtual) bool
	fail func(error)
	// Digests of the local parts and the directories that were met: some 40
	// bytes a user are all that is kept of them.
	locals, homes map[[16]byte]bool
	batch         []candidate
	full          int // users that make a batch
	stopped       bool
}

// A candidate is a virtual user unless a login turns out to live there.
type candidate struct {
	Virtual
	account string // field 2 of its line
	file    string
	line    int
}

// batchSize is how many users are looked up in the password database at once:
// getent(1) takes many keys and costs milliseconds. The first batch is small,
// since nobody has anything to do before it is answered.
const (
	firstBatch = 16
	batchSize  = 256
)

var (
	errRelative  = errors.New("home directory is not an absolute path")
	errOutside   = errors.New("directory is not below that of its domain")
	errNotPlain  = errors.New("not a regular file")
	errWrongUser = errors.New("owned neither by root nor by the domain's uid")
	errVpasswd   = errors.New("malformed line: fewer than 6 colons")
)

// Bounds of a vpasswd, which its domain's owner writes: what he puts there must
// neither hold up the other domains nor take the memory of all. vpopmail's hashed
// directories hold 100 users each, and no domain of a million is known; a line with
// all its fields has some 150 bytes.
const maxVpasswd = 256 << 20 // bytes

var maxVpasswdLines = 1_000_000 // fewer in a test

var errVpasswdSize = fmt.Errorf("larger than %d bytes: nobody of this domain was cleaned", maxVpasswd)

// Each calls user for every virtual user, each directory once, until user
// returns false. What cannot be read is told to fail, and the rest is still
// done. It returns an error where users/assign cannot be read.
func (l VirtualList) Each(user func(Virtual) bool, fail func(error)) error {
	f, err := openRegular(l.Assign, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	l.user, l.fail, l.full = user, fail, firstBatch
	l.locals, l.homes = make(map[[16]byte]bool), make(map[[16]byte]bool)
	r := NewAssignReader(f, l.Assign)
	for !l.stopped {
		a, err := r.Next()
		var lineErr *LineError
		switch {
		case err == io.EOF:
			l.flush()
			return nil
		case errors.As(err, &lineErr):
			fail(err)
		case err != nil:
			l.flush()
			return err
		case a.Wildcard:
			l.addDomain(a)
		default:
			l.addLine(a)
		}
	}
	return nil // user has had enough
}

// seenBefore reports whether s was asked for before.
func seenBefore(set map[[16]byte]bool, s string) bool {
	sum := sha256.Sum256([]byte(s))
	key := [16]byte(sum[:16])
	old := set[key]
	set[key] = true
	return old
}

// selected reports whether VMDIR and VUSER take the line, whose home is cleaned.
func (l *VirtualList) selected(a *Assignment, home string) bool {
	return (l.VUser == "" || a.User == l.VUser) && (l.VMDir == "" || below(home, l.VMDir))
}

// below reports whether the path lies in dir; both are cleaned.
func below(p, dir string) bool {
	return dir == "/" && p != "/" || strings.HasPrefix(p, dir+"/")
}

// addLine takes an = line.
func (l *VirtualList) addLine(a *Assignment) {
	// The first line for a local part is the one that qmail uses.
	if seenBefore(l.locals, a.Local) {
		return
	}
	home := path.Clean(a.Home)
	if !path.IsAbs(a.Home) {
		if l.VUser == "" || a.User == l.VUser {
			l.fail(&LineError{l.Assign, a.Line, a.Home, errRelative})
		}
		return
	}
	if l.selected(a, home) {
		l.add(candidate{Virtual{Name: a.Local, Home: home}, a.User, l.Assign, a.Line})
	}
}

// addDomain takes a + line: a domain of vpopmail's where its directory has a
// vpasswd, else an extension address, which is no user.
func (l *VirtualList) addDomain(a *Assignment) {
	home := path.Clean(a.Home)
	if !path.IsAbs(a.Home) || !l.selected(a, home) || seenBefore(l.homes, "+"+home) {
		return
	}
	name := home + "/vpasswd"
	f, err := within(func() (*os.File, error) { return openRegular(name, syscall.O_NOFOLLOW) })
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return
	}
	if err != nil {
		l.fail(err)
		return
	}
	defer f.Close()
	if err := vpasswdTrust(f, a.UID); err != nil {
		l.fail(&os.PathError{Op: "read", Path: name, Err: err})
		return
	}
	r := newLineReader(&patientReader{file: f, left: maxVpasswd})
	for n := 1; !l.stopped; n++ {
		line, err := r.next()
		if err == io.EOF && len(line) == 0 {
			return
		}
		if n > maxVpasswdLines {
			l.fail(&os.PathError{Op: "read", Path: name, Err: fmt.Errorf("more than %d lines: the rest was left", maxVpasswdLines)})
			return
		}
		if err != nil && err != io.EOF && err != errLongLine {
			l.fail(err)
			return
		}
		end := err == io.EOF
		var v Virtual
		wrong := ""
		if err != errLongLine {
			v, wrong, err = parseVpasswd(strings.TrimSuffix(string(line), "\n"))
		}
		if err == nil && !below(v.Home, home) {
			wrong, err = v.Home, errOutside
		}
		if err != nil {
			l.fail(&LineError{name, n, wrong, err})
		} else {
			v.UID, v.Checked = a.UID, true
			// qmail's line for a domain is +example.com-:
			v.Domain = strings.TrimSuffix(a.Local, "-")
			v.Address = v.Name + "@" + v.Domain
			l.add(candidate{v, a.User, name, n})
		}
		if end {
			return
		}
	}
}

// vpasswdTrust makes sure that a domain's file is the domain's or root's.
func vpasswdTrust(f *os.File, uid uint32) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && st.Uid != uid {
		return errWrongUser
	}
	if info.Size() > maxVpasswd {
		return errVpasswdSize
	}
	return nil
}

// parseVpasswd reads a line of vpopmail's vpasswd:
// user:password:flag:flags:gecos:directory:quota, and maybe more. It returns what is
// wrong, too: never the line, in which passwords are.
func parseVpasswd(line string) (v Virtual, wrong string, err error) {
	f := strings.SplitN(line, ":", 8)
	switch {
	case strings.IndexByte(line, 0) >= 0:
		return Virtual{}, "", errNUL
	case len(f) < 7 || f[0] == "":
		return Virtual{}, "", errVpasswd
	case !path.IsAbs(f[5]):
		return Virtual{}, f[5], errRelative
	}
	return Virtual{Name: f[0], Home: path.Clean(f[5])}, "", nil
}

func (l *VirtualList) add(c candidate) {
	if seenBefore(l.homes, c.Home) {
		return
	}
	l.batch = append(l.batch, c)
	if len(l.batch) == l.full {
		l.flush()
	}
}

// flush hands on those of the batch who are no logins. Where that cannot be
// found out, nobody is handed on: ordinary users' mail is at stake.
func (l *VirtualList) flush() {
	names := make(map[string]bool)
	for _, c := range l.batch {
		names[c.Name], names[c.account] = true, true
	}
	logins, homes, failed := l.Passwd.byNames(names)
	dirs := newStats()
	for _, c := range l.batch {
		for _, name := range []string{c.account, c.Name} {
			if login := logins[name]; login != nil && path.Clean(login.Home) != c.Home {
				dirs.want(login.Home)
				dirs.want(c.Home)
			}
		}
	}
	dirs.ask()
	for _, c := range l.batch {
		if l.stopped {
			break
		}
		home, err := isLoginHome(c, logins, failed, dirs)
		// A name service may answer by a longer name than was asked for.
		home = home || homes[c.Home]
		switch {
		case err != nil:
			l.fail(&LineError{c.file, c.line, c.Name, err})
		case !home:
			l.stopped = !l.user(c.Virtual)
		}
	}
	l.batch, l.full = l.batch[:0], batchSize
}

// isLoginHome reports whether the candidate's directory is the home of the login
// that its line names, or of one with its own name, under whatever path.
func isLoginHome(c candidate, logins map[string]*Login, failed error, dirs *stats) (bool, error) {
	for _, name := range []string{c.account, c.Name} {
		login := logins[name]
		if login == nil {
			if failed != nil && couldLogin(name) {
				return false, failed
			}
			continue
		}
		if path.Clean(login.Home) == c.Home {
			return true, nil
		}
		a, b := dirs.of(login.Home), dirs.of(c.Home)
		for _, err := range []error{a.err, b.err} {
			if unanswered(err) {
				return false, err
			}
		}
		if a.err == nil && b.err == nil && os.SameFile(a.info, b.info) {
			return true, nil
		}
	}
	return false, nil
}

// unanswered reports whether it is not known what there is of that name: a disk or
// a file server failed. That there is nothing is an answer, and so is that
// somebody who is not root may not look: he cannot clean there either.
func unanswered(err error) bool {
	if leadsNowhere(err) || errors.Is(err, syscall.ENAMETOOLONG) {
		return false
	}
	return err != nil && (os.Geteuid() == 0 || !errors.Is(err, syscall.EACCES))
}

// maxName is the longest name a login can have (LOGIN_NAME_MAX), in bytes. What
// a vpasswd has for a name could be long enough to keep getent from starting.
const maxName = 256

func couldLogin(name string) bool { return len(name) <= maxName && ValidName(name) == nil }

// byNames looks up several names at once; homes are those of all answers,
// cleaned. Where failed is not nil, a name without a login may have one.
func (p Passwd) byNames(names map[string]bool) (logins map[string]*Login, homes map[string]bool, failed error) {
	logins, homes = make(map[string]*Login), make(map[string]bool)
	note := func(l *Login) bool {
		if names[l.Name] && logins[l.Name] == nil {
			logins[l.Name] = l
		}
		return false
	}
	if _, err := p.inFile(note); err != nil {
		return logins, homes, err
	}
	var ask []string
	for name := range names {
		if logins[name] == nil && couldLogin(name) {
			ask = append(ask, name)
		}
	}
	command := p.getentCommand()
	if len(ask) == 0 || command == "" {
		return logins, homes, nil
	}
	out, err := runGetent(command, ask...)
	for line := range strings.Lines(out) {
		if l, ok := parseLogin(strings.TrimSuffix(line, "\n")); ok {
			note(l)
			homes[path.Clean(l.Home)] = true
		}
	}
	switch err {
	case ErrUnknown: // one of them at least
		return logins, homes, nil
	case nil: // all of them were found, says getent(1)
		return logins, homes, errNoAnswer
	}
	return logins, homes, fmt.Errorf("getent passwd: %w", err)
}

var errNoAnswer = errors.New("getent passwd: answer not understood")

// A lineReader reads lines of any length in bounded memory.
type lineReader struct{ r *bufio.Reader }

func newLineReader(r io.Reader) lineReader { return lineReader{bufio.NewReaderSize(r, 64<<10)} }

// next returns a line with its newline. Of a line over maxLine it returns the
// beginning and errLongLine, having read it to its end.
func (l lineReader) next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		switch {
		case line == nil && err == nil:
			return part, nil // the usual line needs no copy
		case len(line)+len(part) > maxLine:
			long = true
		default:
			line = append(line, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if long && (err == nil || err == io.EOF) {
			err = errLongLine
		}
		return line, err
	}
}
