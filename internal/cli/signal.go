package cli

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endSignals are those that ask for an end.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// A Catcher notes the first signal that asks for an end. It lasts as long as the
// process, which may yet wait to print its last lines: who reads them may never
// do so.
type Catcher struct {
	last func() // before a second signal kills; may be nil

	mu    sync.Mutex
	sig   *syscall.Signal
	since time.Time // when sig came
	over  bool      // nothing is left to be stopped
}

// notify has signals sent to ch. What was ignored from the start, as nohup does,
// stays ignored.
func notify(ch chan os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
}

// Catch has a signal call stop instead of ending the process at once.
func (env *Env) Catch(stop func()) *Catcher { return env.CatchAll(stop, nil) }

// CatchAll is Catch for an applet that must not die before last was called.
func (env *Env) CatchAll(stop, last func()) *Catcher {
	c := &Catcher{last: last}
	ch := make(chan os.Signal, 1)
	notify(ch, endSignals...)
	go func() {
		for sig := range ch {
			c.caught(sig.(syscall.Signal), stop)
		}
	}()
	return c
}

func (c *Catcher) caught(sig syscall.Signal, stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sig == nil:
		c.sig, c.since = &sig, time.Now()
		if !c.over {
			stop()
		}
	case time.Since(c.since) > secondSignal:
		if c.last != nil && !c.over {
			c.last()
		}
		dieBy(sig)
	}
}

// secondSignal is how long a signal has to end a run in order. One that comes
// later is meant: what is at hand may be a write that nobody will ever read.
// One that comes sooner may be the same again: timeout(1) sends two.
const secondSignal = time.Second

// Stop says that nothing is left to be stopped and returns the signal that came,
// if any. One that comes now may still end what waits to be printed: the second
// kills.
func (c *Catcher) Stop() *syscall.Signal {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.sig
}

// dieBy ends the process by sig. It returns only where sig cannot kill.
func dieBy(sig syscall.Signal) {
	if sig == syscall.SIGQUIT || slices.Contains(dumpSignals, os.Signal(sig)) {
		// Its default in a Go program is a dump, in which a password could be.
		os.Exit(128 + int(sig))
	}
	signal.Reset(sig)
	if syscall.Kill(syscall.Getpid(), sig) == nil {
		time.Sleep(time.Second) // the signal is on its way
	}
}

// stopProcess stops the process within the call, which returns when it goes on.
// A signal to the process could stop another thread first, and this one would
// run on for a moment.
func stopProcess() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}

// dumpSignals end a Go program with a dump of all stacks, besides SIGQUIT
// (os/signal).
var dumpSignals = []os.Signal{
	unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS, unix.SIGSTKFLT,
}
