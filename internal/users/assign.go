package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"kowaza/internal/sys"
)

// An Assignment is one line of qmail's users/assign, see qmail-users(5):
//
//	=local:user:uid:gid:homedir:dash:ext:
//	+loc:user:uid:gid:homedir:dash:pre:
type Assignment struct {
	Wildcard bool   // a + line: any local part that begins with Local
	Local    string // folded to lower case (ASCII), as qmail-newu does
	User     string // need not be a login: vpopmail writes the domain
	UID, GID uint32
	Home     string // as it stands there, not checked
	Dash     string
	Ext      string
	Line     int // where it stands, from 1
}

// An AssignReader reads users/assign line by line with qmail-newu's grammar
// (facts on qmail, section 6), so that it sees the users qmail sees:
//
//   - the file ends at the first line that begins with a dot; without one it
//     is malformed;
//   - there are no comments and no blank lines;
//   - after the first colon there are at least six more, the rest is ignored.
//
// Where qmail-newu would give up or take nonsense for a user, the reader
// returns a *LineError and goes on with the next line.
type AssignReader struct {
	r    lineReader
	name string // of the file, for messages
	line int
	done bool
}

// NewAssignReader reads from r; name is what messages call the file.
func NewAssignReader(r io.Reader, name string) *AssignReader {
	return &AssignReader{r: newLineReader(r), name: name}
}

// A LineError says what is wrong with one line of a file.
type LineError struct {
	File  string
	Line  int    // from 1
	Value string // what is wrong in it; may be empty
	Err   error
}

func (e *LineError) Error() string {
	if e.Value != "" {
		return fmt.Sprintf("%s:%d: %s: %v", e.File, e.Line, e.Value, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}
func (e *LineError) Unwrap() error { return e.Err }

// maxLine bounds a line, in bytes: no path and no name is as long, and the
// reader's memory must not be the file's to choose.
const maxLine = 64 << 10

var (
	errNoColon  = errors.New("malformed line: fewer than 7 colons")
	errNoDot    = errors.New("file ends without a line that begins with a dot")
	errLongLine = errors.New("line too long")
	errNUL      = errors.New("NUL in line")
	errNoSign   = errors.New("line begins neither with = nor with +")
	errNewline  = errors.New("last line has no newline")
	errNumber   = errors.New("uid or gid is not a number")
)

// Next returns the next assignment. At the end of the table it returns io.EOF.
// After a *LineError the next call reads the next line; after any other error
// there is nothing more to read.
func (a *AssignReader) Next() (*Assignment, error) {
	if a.done {
		return nil, io.EOF
	}
	a.line++
	line, err := a.r.next()
	switch {
	case len(line) > 0 && line[0] == '.' && (err == nil || err == io.EOF || err == errLongLine):
		a.done = true
		return nil, io.EOF
	case err == io.EOF:
		a.done = true
		if len(line) > 0 {
			return nil, a.fail(errNewline)
		}
		return nil, a.fail(errNoDot)
	case err == errLongLine:
		return nil, a.fail(err)
	case err != nil:
		a.done = true
		return nil, err
	}
	as, wrong, err := parseAssignment(line[:len(line)-1])
	if err != nil {
		return nil, a.failAt(wrong, err)
	}
	as.Line = a.line
	return as, nil
}

func (a *AssignReader) fail(err error) error { return a.failAt("", err) }

func (a *AssignReader) failAt(value string, err error) error {
	return &LineError{a.name, a.line, value, err}
}

// parseAssignment returns the assignment, or what is wrong and why.
func parseAssignment(line []byte) (as *Assignment, wrong string, err error) {
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, "", errNUL
	}
	f := bytes.SplitN(line, []byte{':'}, 8)
	if len(f) < 8 || len(f[0]) == 0 {
		return nil, string(line), errNoColon
	}
	// qmail-newu takes any other first byte for =, so that #joe: defines joe.
	// Nobody meant that.
	if sign := f[0][0]; sign != '=' && sign != '+' {
		return nil, string(f[0]), errNoSign
	}
	uid, err1 := strconv.ParseUint(string(f[2]), 10, 32)
	gid, err2 := strconv.ParseUint(string(f[3]), 10, 32)
	if err1 != nil || err2 != nil {
		return nil, string(f[2]) + ":" + string(f[3]), errNumber
	}
	return &Assignment{
		Wildcard: f[0][0] == '+',
		Local:    FoldLocal(string(f[0][1:])),
		User:     string(f[1]),
		UID:      uint32(uid),
		GID:      uint32(gid),
		Home:     string(f[4]),
		Dash:     string(f[5]),
		Ext:      string(f[6]),
	}, "", nil
}

// FoldLocal folds a local part as qmail does: ASCII letters to lower case,
// other bytes as they are.
func FoldLocal(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// openRegular opens a file that must be a regular one: a FIFO in its place
// would hold up the night's work for ever.
func openRegular(name string, flags int) (*os.File, error) {
	f, err := sys.OpenToRead(name, flags)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: name, Err: errNotPlain}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// LookupAssign finds the = line for local in the users/assign file named file.
// Where there are several, the first is taken, as qmail-lspawn does. A malformed line elsewhere in the
// file is none of this user's business. The error is ErrUnknown where there is
// no such line.
func LookupAssign(file, local string) (*Assignment, error) {
	f, err := openRegular(file, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	local = FoldLocal(local)
	r := NewAssignReader(f, file)
	for {
		a, err := r.Next()
		var lineErr *LineError
		switch {
		case err == io.EOF:
			return nil, ErrUnknown
		case errors.As(err, &lineErr):
			continue
		case err != nil:
			return nil, err
		case !a.Wildcard && a.Local == local:
			return a, nil
		}
	}
}
