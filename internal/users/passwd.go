// Package users finds out who has mail and where: login users in the password
// database, virtual users in qmail's users/assign.
//
// The binary is static and has no libc to ask for LDAP or sssd users. It reads
// /etc/passwd itself and asks getent(1), which has, for whom it does not find.
package users

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// A Login is one entry of the password database, see passwd(5).
type Login struct {
	Name     string
	UID, GID uint32
	Home     string // as it stands there, not checked
}

// ErrUnknown says that the password database was asked and has no such user.
// Any other error of a look-up means that nobody knows.
var ErrUnknown = errors.New("no such user")

// A Passwd looks up login users.
type Passwd struct {
	Root string // goes before /etc/passwd and getent; empty but in tests
}

// getentTime is how long getent may take: an LDAP server that is down must not
// hold a cron job for ever.
var getentTime = time.Minute // shorter in a test

// ValidName says what is wrong with a login name. These could be taken for an
// option or a path, or break the line format of passwd(5).
func ValidName(name string) error {
	switch {
	case name == "":
		return errors.New("empty user name")
	case name[0] == '-':
		return errors.New("user name begins with -")
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c == ':' || c == '/' || c < ' ' || c == 0x7f {
			return errors.New("malformed user name")
		}
	}
	return nil
}

// ByName finds a login user. The error is ErrUnknown where there is none.
func (p Passwd) ByName(name string) (*Login, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	return p.find(name, func(l *Login) bool { return l.Name == name })
}

// ByUID finds the first login user with that number. The error is ErrUnknown
// where there is none.
func (p Passwd) ByUID(uid uint32) (*Login, error) {
	return p.find(strconv.FormatUint(uint64(uid), 10), func(l *Login) bool { return l.UID == uid })
}

func (p Passwd) find(key string, is func(*Login) bool) (*Login, error) {
	l, err := p.inFile(is)
	if l != nil || err != nil {
		return l, err
	}
	l, err = p.getent(key)
	if err != nil {
		return nil, err
	}
	// getent takes digits for a uid, and a name service may fold case: only an
	// answer to the question that was asked counts.
	if !is(l) {
		return nil, ErrUnknown
	}
	return l, nil
}

// inFile searches /etc/passwd; nil, nil where it has no such line or there is
// no such file.
func (p Passwd) inFile(is func(*Login) bool) (*Login, error) {
	f, err := os.Open(p.Root + "/etc/passwd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if l, ok := parseLogin(strings.TrimSuffix(line, "\n")); ok && is(l) {
			return l, nil
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// getent asks getent(1) of the system. No getent means no other source.
func (p Passwd) getent(key string) (*Login, error) {
	command := p.getentCommand()
	if command == "" {
		return nil, ErrUnknown
	}
	out, err := runGetent(command, key)
	if err == ErrUnknown {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("getent passwd %s: %w", key, err)
	}
	line, _, _ := strings.Cut(out, "\n")
	l, ok := parseLogin(line)
	if !ok {
		return nil, fmt.Errorf("getent passwd %s: answer not understood", key)
	}
	return l, nil
}

// getentCommand returns the path of getent(1), empty where there is none.
func (p Passwd) getentCommand() string {
	for _, name := range []string{"/usr/bin/getent", "/bin/getent"} {
		if _, err := os.Stat(p.Root + name); err == nil {
			return p.Root + name
		}
	}
	return ""
}

// nobodysName is a login name that no host has: every source is asked for it.
const nobodysName = "kowaza-check"

// Check finds out whether look-ups work: it asks all sources for a user whom no host
// has. It returns the path of getent(1), empty where there is none, and what any look-up
// of somebody who is not in /etc/passwd would fail with.
func (p Passwd) Check() (getent string, err error) {
	_, err = p.ByName(nobodysName)
	if errors.Is(err, ErrUnknown) {
		err = nil
	}
	return p.getentCommand(), err
}

// maxAnswer bounds what getent may say, in bytes.
const maxAnswer = 1 << 20

// runGetent returns what "getent passwd KEY..." prints. The error is ErrUnknown
// where a key was not found; what was found is returned all the same.
func runGetent(command string, keys ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), getentTime)
	defer cancel()
	var out limitedBuffer
	cmd := exec.CommandContext(ctx, command, append([]string{"passwd"}, keys...)...)
	cmd.Dir = "/"
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer within %v", getentTime)
	case out.full:
		err = errors.New("answer too long")
	case errors.As(err, &exit) && exit.ExitCode() == 2: // getent(1)
		err = ErrUnknown
	}
	return out.buf.String(), err
}

// A limitedBuffer takes maxAnswer bytes.
type limitedBuffer struct {
	buf  bytes.Buffer
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxAnswer {
		b.full = true
		return 0, errors.New("too long")
	}
	return b.buf.Write(p)
}

// parseLogin reads a line of passwd(5): name:password:uid:gid:gecos:home:shell.
// Lines of NIS (+name) and broken ones are nobody's.
func parseLogin(line string) (*Login, bool) {
	f := strings.Split(line, ":")
	if len(f) < 7 || ValidName(f[0]) != nil || f[0][0] == '+' {
		return nil, false
	}
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	if err1 != nil || err2 != nil {
		return nil, false
	}
	return &Login{Name: f[0], UID: uint32(uid), GID: uint32(gid), Home: f[5]}, true
}

// AbsHome returns the home directory, which is of use only where it is an
// absolute path.
func (l *Login) AbsHome() (string, error) {
	if !path.IsAbs(l.Home) {
		return "", fmt.Errorf("home directory of %s is not an absolute path: %s", l.Name, l.Home)
	}
	return l.Home, nil
}
