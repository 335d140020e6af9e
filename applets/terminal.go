package applets

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// endSignals are those that ask for an end.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// A catcher notes the first signal that asks for an end. It lasts as long as the
// process, which may yet wait to print its last lines: who reads them may never
// do so.
type catcher struct {
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

// catch has a signal call stop instead of ending the process at once.
func (env *Env) catch(stop func()) *catcher { return env.catchAll(stop, nil) }

// catchAll is catch for an applet that must not die before last was called.
func (env *Env) catchAll(stop, last func()) *catcher {
	c := &catcher{last: last}
	ch := make(chan os.Signal, 1)
	notify(ch, endSignals...)
	go func() {
		for sig := range ch {
			c.caught(sig.(syscall.Signal), stop)
		}
	}()
	return c
}

func (c *catcher) caught(sig syscall.Signal, stop func()) {
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

// stop says that nothing is left to be stopped and returns the signal that came,
// if any. One that comes now may still end what waits to be printed: the second
// kills.
func (c *catcher) stop() *syscall.Signal {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.sig
}

// A progress is a line on a terminal that tells how far a long run is.
type progress struct {
	env  *Env
	done chan struct{}
	wg   sync.WaitGroup
}

// progressTick is the time between two lines: ten a second are enough for the eye.
const progressTick = 100 * time.Millisecond

// startProgress shows what text returns while the run lasts, where it is wanted
// and standard error is a terminal.
func (env *Env) startProgress(wanted bool, text func() string) *progress {
	p := &progress{env: env, done: make(chan struct{})}
	f := fileOf(env.Stderr)
	if !wanted || f == nil || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	p.wg.Go(func() {
		tick := time.NewTicker(progressTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				width, _, err := term.GetSize(int(f.Fd()))
				if err != nil || width < 2 {
					width = 80
				}
				env.showProgress(cutLine(text(), width-1))
			case <-p.done:
				return
			}
		}
	})
	return p
}

func (p *progress) stop() {
	close(p.done)
	p.wg.Wait()
	p.env.talk.Lock()
	defer p.env.talk.Unlock()
	p.env.clearProgress()
}

// cutLine shortens an ASCII line to width columns.
func cutLine(s string, width int) string {
	if len(s) > width {
		return s[:width]
	}
	return s
}

func (env *Env) showProgress(line string) {
	env.talk.Lock()
	defer env.talk.Unlock()
	fmt.Fprintf(env.Stderr, "\r%s\x1b[K", line)
	env.onLine = true
}

// clearProgress makes room for a message; the caller has env.talk.
func (env *Env) clearProgress() {
	if env.onLine {
		io.WriteString(env.Stderr, "\r\x1b[K")
		env.onLine = false
	}
}
