package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestWarnLike proves that 20 like messages about one place are printed, the
// rest counted, that other places and other causes count by themselves, and
// that a message is not printed again right after itself.
func TestWarnLike(t *testing.T) {
	var errs bytes.Buffer
	env := &Env{Stderr: &errs, applet: &Applet{Name: "rmoldmail"}}
	for i := range 25 {
		env.WarnLike("/a", fmt.Sprint("/a/x", i), syscall.EACCES)
		env.WarnLike("/b", fmt.Sprint("/b/x", i), syscall.EIO)
		env.WarnLike("/c", "/c/x", syscall.EIO)
	}
	env.WarnLike("/a", "/a/y", syscall.EIO)
	env.WarnedAll("/c")
	env.WarnedAll("/a")
	env.WarnedAll("/b")
	env.WarnedAll("/a")
	for line, want := range map[string]int{
		"rmoldmail: /a/x0: permission denied\n":                1,
		"rmoldmail: /a/x19: permission denied\n":               1,
		"rmoldmail: /a/x20: permission denied\n":               0,
		"rmoldmail: /b/x19: input/output error\n":              1,
		"rmoldmail: /b/x20: input/output error\n":              0,
		"rmoldmail: /c/x: input/output error\n":                1,
		"rmoldmail: /a/y: input/output error\n":                1,
		"rmoldmail: /a: permission denied: ... and 5 more\n":   1,
		"rmoldmail: /b: input/output error: ... and 5 more\n":  1,
		"rmoldmail: /c: input/output error: ... and 24 more\n": 1,
	} {
		if got := strings.Count(errs.String(), line); got != want {
			t.Errorf("%q %d times, want %d", line, got, want)
		}
	}
	if len(env.said) != 0 {
		t.Errorf("%d places are still remembered", len(env.said))
	}
}

// TestOutputFull proves that a disk that fills up anywhere in the output is an
// error, said once.
func TestOutputFull(t *testing.T) {
	for _, room := range []int{0, 1, 100, 16 << 10, 100 << 10} {
		var errs bytes.Buffer
		env := &Env{Stdout: NewOutput(&shortWriter{room}), Stderr: &errs}
		a := &Applet{Name: "test", Run: func(env *Env, argv []string) error {
			for range 10000 {
				if _, err := env.Stdout.Write([]byte("a line of thirty-two characters\n")); err != nil {
					return err
				}
			}
			return nil
		}}
		status := Run(a, env, []string{"test"})
		if want := "test: standard output: no space left on device\n"; status != 1 || errs.String() != want {
			t.Errorf("room for %d: status %d, %q", room, status, errs.String())
		}
	}
}

// TestFailStatus proves that an applet's own failure status holds for errors
// and for usage errors, that Exit is silent, and that an error names no system
// call.
func TestFailStatus(t *testing.T) {
	for _, test := range []struct {
		fail   int
		err    error
		status int
		stderr string
	}{
		{0, nil, 0, ""},
		{0, errors.New("broken"), 1, "test: broken\n"},
		{111, errors.New("broken"), 111, "test: broken\n"},
		{0, Usagef("wrong"), 2, "test: wrong\nusage: test\n"},
		{111, Usagef("wrong"), 111, "test: wrong\nusage: test\n"},
		{111, Exit(99), 99, ""},
		{0, ErrReported, 1, ""},
		{0, &os.PathError{Op: "open", Path: "/x", Err: syscall.EIO}, 1, "test: /x: input/output error\n"},
	} {
		var errs bytes.Buffer
		env := &Env{Stdout: NewOutput(io.Discard), Stderr: &errs}
		a := &Applet{Name: "test", Help: "usage: test\n", Fail: test.fail, Run: func(*Env, []string) error { return test.err }}
		status := Run(a, env, []string{"/usr/local/bin/test.pl"})
		if status != test.status || errs.String() != test.stderr {
			t.Errorf("%v with Fail %d: status %d, %q", test.err, test.fail, status, errs.String())
		}
	}
}

// shortWriter is a disk with room for n bytes.
type shortWriter struct{ n int }

func (w *shortWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		n := w.n
		w.n = 0
		return n, syscall.ENOSPC
	}
	w.n -= len(p)
	return len(p), nil
}

// TestCount proves that numbers and nouns agree, and that what a user has named
// cannot make a message long.
func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 messages", 1: "1 message", 2: "2 messages"} {
		if got := Count(n, "message"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	long := strings.Repeat("a", 50000) + "/end"
	if s := shorten(long); len(s) > maxShown || !strings.HasPrefix(s, "aaa") || !strings.HasSuffix(s, "/end") || !strings.Contains(s, "...[49044 bytes]...") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
	if s := shorten("short"); s != "short" {
		t.Error(s)
	}
}
