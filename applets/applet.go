// Package applets holds the commands of the kowaza binary, a file each, and
// the little they have in common: how a name finds its command, how options
// are read, how messages look and what the exit status says.
package applets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/settings"
)

// An Applet is one command.
type Applet struct {
	Name string                              // argv[0], link name, prefix of messages
	Help string                              // all of --help; line 1 usage, line 2 what it does
	Run  func(env *Env, argv []string) error // argv[0] is the name, as in C
	Fail int                                 // status of an ordinary error; 0 means 1

	// An operand may be a password: no message repeats one.
	Secret bool
}

// All lists the applets, in the order of --list, symlinks.txt and the README.
var All = []*Applet{rmoldmail, rmmailVirtual, qqclean, mkdigest, smtpauthstr, jmailsend, mailtest, qmHandle}

// Env is all that an applet sees of the outside world.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time
	Root   string // goes before absolute system paths; empty but in tests

	applet *Applet // whose name stands before every message
	talk   sync.Mutex
	said   map[string]int // like messages about one place, see WarnLike
	onLine bool           // a progress line stands where the next message goes
}

// System is the Env of the real world.
func System() *Env {
	return &Env{Stdin: os.Stdin, Stdout: stream{os.Stdout}, Stderr: stream{os.Stderr}, Getenv: os.Getenv, Now: time.Now}
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

// errDone ends the applet with status 0 before it began: help was asked for.
var errDone = errors.New("done")

type usageError string

func (u usageError) Error() string { return string(u) }

// Usagef returns a usage error: Main prints it and the usage line, status 2.
func Usagef(format string, a ...any) error { return usageError(fmt.Sprintf(format, a...)) }

// Exit statuses that all applets share. 127 is the shell's for a command that
// was not found.
const (
	statusFail    = 1
	statusUsage   = 2
	statusUnknown = 127
)

// find returns the applet for a command name as the shell gives it, with or
// without a directory and the suffix that the script had; nil if there is none.
func find(name string) *Applet {
	name = path.Base(name)
	for _, suffix := range []string{".pl", ".sh"} {
		if s, ok := strings.CutSuffix(name, suffix); ok {
			name = s
			break
		}
	}
	for _, a := range All {
		if a.Name == name {
			return a
		}
	}
	if name == kowaza.Name {
		return kowaza
	}
	return nil
}

// Main runs the applet that argv[0] names and returns the exit status.
func Main(env *Env, argv []string) int {
	if len(argv) == 0 {
		argv = []string{kowaza.Name}
	}
	out := &output{to: env.Stdout}
	out.w = bufio.NewWriterSize(env.Stdout, 16<<10)
	env.Stdout = out

	env.applet = find(argv[0])
	var err error
	if env.applet == nil {
		env.applet = kowaza
		env.Warn("%s: no such applet", path.Base(argv[0]))
		err = Exit(statusUnknown)
	} else {
		err = env.applet.Run(env, argv)
	}
	return env.finish(out, err)
}

// finish flushes standard output, prints what err says and returns its status.
func (env *Env) finish(out *output, err error) int {
	fail := env.applet.Fail
	if fail == 0 {
		fail = statusFail
	}
	flushErr := out.Close()
	status := 0
	var exit Exit
	var usage usageError
	var killed Killed
	switch {
	case err == nil, errors.Is(err, errDone):
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
		if !errors.Is(err, ErrReported) && !errors.Is(err, errOutput) {
			env.Warn("%s", describe(err))
		}
		status = fail
	}
	if flushErr != nil {
		env.Warn("standard output: %s", describe(flushErr))
		if killed == 0 {
			status = fail
		}
	}
	if killed != 0 {
		dieBy(syscall.Signal(killed))
	}
	return status
}

// dieBy ends the process by sig. It returns only where sig cannot kill.
func dieBy(sig syscall.Signal) {
	if sig == syscall.SIGQUIT {
		// Its default in a Go program is a dump, in which a password could be.
		os.Exit(128 + int(sig))
	}
	signal.Reset(sig)
	if syscall.Kill(syscall.Getpid(), sig) == nil {
		time.Sleep(time.Second) // the signal is on its way
	}
}

// describe says what an error is about and why, without the name of the system
// call that found it.
func describe(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return strings.Replace(err.Error(), pe.Error(), pe.Path+": "+pe.Err.Error(), 1)
	}
	return err.Error()
}

// The rules for messages: "applet: what: why", lower case, no full stop, one
// write a line, and no byte that a terminal could take for a command.

// Warn prints one message.
func (env *Env) Warn(format string, a ...any) {
	line := env.applet.Name + ": " + Escape(fmt.Sprintf(format, a...)) + "\n"
	env.talk.Lock()
	defer env.talk.Unlock()
	env.clearProgress()
	io.WriteString(env.Stderr, line)
}

// maxLike is how many like messages about one place are printed in full.
const maxLike = 20

// WarnLike prints what and why unless maxLike messages with that why have been
// printed for place. WarnedAll says how many were kept back.
func (env *Env) WarnLike(place, what string, why error) {
	key := place + "\x00" + why.Error()
	env.talk.Lock()
	if env.said == nil {
		env.said = make(map[string]int)
	}
	env.said[key]++
	n := env.said[key]
	env.talk.Unlock()
	if n <= maxLike {
		env.Warn("%s: %s", what, why)
	}
}

// WarnedAll ends the messages about place.
func (env *Env) WarnedAll(place string) {
	env.talk.Lock()
	var more []string
	for key, n := range env.said {
		why, ok := strings.CutPrefix(key, place+"\x00")
		if !ok {
			continue
		}
		delete(env.said, key)
		if n > maxLike {
			more = append(more, fmt.Sprintf("%s: %s: ... and %d more", place, why, n-maxLike))
		}
	}
	env.talk.Unlock()
	for _, line := range more {
		env.Warn("%s", line)
	}
}

// seen is called with every set of options; a test compares them with the help.
var seen = func(*getopt.Set) {}

// Parse reads the options of argv into set and returns the operands, of which
// there must be at least min and at most max. It adds --help, its letter -h
// and --version, and answers them itself.
func (env *Env) Parse(set *getopt.Set, argv []string, min, max int) ([]string, error) {
	return env.parse(set, argv, 'h', min, max, func(getopt.Option) error { return nil })
}

// parse is Parse for an applet that has another use for -h: letter is 0 then.
// each is told every option in the order in which they stand.
func (env *Env) parse(set *getopt.Set, argv []string, letter rune, min, max int, each func(getopt.Option) error) ([]string, error) {
	var help, version bool
	set.FlagLong(&help, "help", letter)
	set.FlagLong(&version, "version", 0)
	seen(set)
	var wrong error
	err := set.Getopt(argv, func(o getopt.Option) bool {
		wrong = each(o)
		return wrong == nil && !help && !version
	})
	switch {
	case err != nil:
		return nil, usageError(err.Error())
	case wrong != nil:
		return nil, wrong
	case help:
		env.printHelp(env.help(env.applet))
		return nil, errDone
	case version:
		fmt.Fprintf(env.Stdout, "%s (kowaza) %s\n", env.applet.Name, Version())
		return nil, errDone
	}
	args := set.Args()
	switch {
	case len(args) < min:
		return nil, Usagef("too few operands")
	case len(args) > max && env.applet.Secret:
		return nil, Usagef("too many operands")
	case len(args) > max:
		return nil, Usagef("too many operands: %s", args[max])
	}
	return args, nil
}

// parseNumber reads decimal digits only: no sign, no blank, and 010 is ten.
func parseNumber(what, s string, min, max int) (int, error) {
	n, err := settings.Number(s, min, max)
	if err != nil {
		return 0, Usagef("%s: %s: %s", what, s, err)
	}
	return n, nil
}

// settings reads kowaza.conf, for an applet that uses a key of it.
func (env *Env) settings() (*settings.Settings, error) {
	if file := env.Getenv("KOWAZA_CONF"); file != "" {
		return settings.Read(file, os.Geteuid() == 0)
	}
	s, err := settings.Read(env.Root+settings.File, os.Geteuid() == 0)
	if errors.Is(err, fs.ErrNotExist) {
		return settings.Default(), nil
	}
	return s, err
}

// Escape makes s fit to be shown: C0, DEL, C1 and bytes that are no UTF-8 as
// \ooo, a backslash doubled. Two different strings stay different.
func Escape(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\'
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%03o`, r)
		case r >= 0x80 && r < 0xa0: // C1, two bytes in UTF-8
			fmt.Fprintf(&b, `\%03o\%03o`, s[i], s[i+1])
		case r == 0xfffd && !strings.HasPrefix(s[i:], "\ufffd"):
			fmt.Fprintf(&b, `\%03o`, s[i])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// output is standard output: buffered, and the first error stays.
type output struct {
	mu  sync.Mutex
	to  io.Writer
	w   *bufio.Writer
	err error
}

// errOutput is what a write returns once standard output has failed. Main says
// why, once.
var errOutput = errors.New("standard output")

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	if o.err != nil {
		return 0, errOutput
	}
	return len(p), nil
}

// Flush brings what has been written before to where it goes, for a child that
// writes there, too.
func (o *output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = o.w.Flush()
	}
}

// Close returns the first error that any write met. Some file systems tell of a
// full disk only when the file is closed.
func (o *output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = o.w.Flush()
	}
	if f := fileOf(o.to); f != nil {
		if err := f.Close(); o.err == nil {
			o.err = err
		}
	}
	return bare(o.err)
}

// bare strips the file name of a write error: Go calls it /dev/stdout whatever
// it is.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
