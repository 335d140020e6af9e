package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Progress is a line on a terminal that tells how far a long run is.
type Progress struct {
	env  *Env
	done chan struct{}
	wg   sync.WaitGroup
}

// progressTick is the time between two lines: ten a second are enough for the eye.
const progressTick = 100 * time.Millisecond

// StartProgress shows what text returns while the run lasts, where it is wanted
// and standard error is a terminal.
func (env *Env) StartProgress(wanted bool, text func() string) *Progress {
	p := &Progress{env: env, done: make(chan struct{})}
	f := FileOf(env.Stderr)
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

// Stop takes the line away.
func (p *Progress) Stop() {
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
