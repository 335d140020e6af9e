package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Env is what an applet is given of the outside world, and what it is run as.
type Env struct {
	Stdin  io.Reader
	Stdout *Output
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time

	// LookupEnv tells a variable that is empty from one that is not set.
	LookupEnv func(string) (string, bool)

	Root string // goes before absolute system paths; empty but in tests

	Files  fs.FS                  // what is put in place by an installation; nil: nothing
	Binary func() (string, error) // the file of the binary that runs; nil: it has none

	// Japanese returns a help text in Japanese, in UTF-8, by the name of the man
	// page; empty where there is none. It may be nil.
	Japanese func(page string) string

	// OnlyShows says that this run does nothing but print: who reads it may leave.
	OnlyShows bool

	applet *Applet // whose name stands before every message
	talk   sync.Mutex
	said   map[string]*like // like messages about one place, see WarnLike
	onLine bool             // a progress line stands where the next message goes
}

// System is the Env of the real world.
func System() *Env {
	return &Env{Stdin: os.Stdin, Stdout: NewOutput(stream{os.Stdout}), Stderr: stream{os.Stderr},
		Getenv: os.Getenv, LookupEnv: os.LookupEnv, Now: time.Now, Binary: executable}
}

// executable returns the file of the binary that runs: what was called, where there
// is no /proc, as in a chroot that dpkg works on.
func executable() (string, error) {
	file, err := os.Executable()
	if err == nil {
		return file, nil
	}
	if file, lookErr := exec.LookPath(os.Args[0]); lookErr == nil {
		return filepath.Abs(file)
	}
	return "", err
}

// Exit is an error that ends the applet with that status, silently.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Killed is an error that ends the process by that signal, so that a shell or
// cron sees what happened, after all output has been flushed.
type Killed syscall.Signal

func (k Killed) Error() string { return "stopped by " + syscall.Signal(k).String() }

// ErrReported ends the applet with its failure status: what failed has been
// said already.
var ErrReported = errors.New("failed")

// ErrDone ends the applet with status 0 before it began: help was asked for.
var ErrDone = errors.New("done")

type usageError string

func (u usageError) Error() string { return string(u) }

// Usagef returns a usage error: Main prints it and the usage line, status 2.
func Usagef(format string, a ...any) error { return usageError(fmt.Sprintf(format, a...)) }

// Exit statuses that all applets share. StatusUnknown is the shell's for a command
// that was not found.
const (
	statusFail    = 1
	statusUsage   = 2
	StatusUnknown = 127
)

// Run runs the applet as the process's command, flushes standard output and returns
// the exit status.
func Run(a *Applet, env *Env, argv []string) int {
	return env.finish(env.RunAs(a, argv))
}

// RunAs runs an applet in the place of the one that runs, if any. Its error is for
// Run.
func (env *Env) RunAs(a *Applet, argv []string) error {
	env.applet = a
	// Where the runtime cannot go on, for want of a thread or of memory, it ends the
	// process with status 2, which for us means that nothing was done. So it aborts
	// instead; but a dump could hold a password.
	if !a.Secret {
		debug.SetTraceback("crash")
	} else {
		debug.SetTraceback("single")
	}
	return a.Run(env, argv)
}

// finish flushes standard output, prints what err says and returns its status.
func (env *Env) finish(err error) int {
	fail := env.applet.Fail
	if fail == 0 {
		fail = statusFail
	}
	flushErr := env.Stdout.Close()
	status := 0
	var exit Exit
	var usage usageError
	var killed Killed
	switch {
	case err == nil, errors.Is(err, ErrDone):
	case errors.As(err, &exit):
		status = int(exit)
	case errors.As(err, &usage):
		env.Warn("%s", err)
		line, _, _ := strings.Cut(env.applet.Help, "\n")
		fmt.Fprintln(env.Stderr, line)
		// mailtest answers with its own status: qmail would take 2 for soft as
		// well, but another caller may not.
		if status = statusUsage; env.applet.Fail != 0 {
			status = fail
		}
	case errors.As(err, &killed):
		status = 128 + int(killed)
	default:
		if !errors.Is(err, ErrReported) && !errors.Is(err, ErrOutput) {
			env.Warn("%s", Describe(err))
		}
		status = fail
	}
	if flushErr != nil {
		// A reader that has seen enough, as head(1), need not be told so.
		if !env.OnlyShows || flushErr != syscall.EPIPE {
			env.Warn("standard output: %s", Describe(flushErr))
		}
		if killed == 0 {
			status = fail
		}
	}
	if killed != 0 {
		dieBy(syscall.Signal(killed))
	}
	return status
}
