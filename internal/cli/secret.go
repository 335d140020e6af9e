package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	ioctlGetTermios   = unix.TCGETS
	ioctlSetTermios   = unix.TCSETS
	ioctlFlushTermios = unix.TCSETSF // drops what was typed and not read
)

// maxSecret bounds a password, in bytes.
const maxSecret = 64 << 10

// AskSecret returns a password: typed on the terminal with echo off if standard
// input is one, else the next line of standard input without its newline.
func (env *Env) AskSecret(prompt string) (string, error) {
	if f, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		defer tty.Close()
		return askTerminal(tty, prompt)
	}
	s, err := readSecret(env.Stdin)
	if err != nil {
		return "", fmt.Errorf("standard input: %w", Bare(err))
	}
	return s, nil
}

// readSecret reads one line.
func readSecret(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxSecret+1)).ReadString('\n')
	switch {
	case err != nil && err != io.EOF:
		return "", err
	case line == "":
		return "", errors.New("no password")
	case len(line) > maxSecret:
		return "", errors.New("password too long")
	case strings.IndexByte(line, 0) >= 0:
		return "", errors.New("NUL in the password")
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// An echoOff is a terminal with its echo off.
type echoOff struct {
	fd     int
	prompt string
	tty    *os.File

	mu    sync.Mutex
	saved *unix.Termios // as it was; nil while it is so
	over  bool          // nobody may switch the echo off any more
}

// askTerminal asks on tty. However it ends, by a signal too, the echo is as it
// was.
func askTerminal(tty *os.File, prompt string) (string, error) {
	s := &echoOff{fd: int(tty.Fd()), prompt: prompt, tty: tty}
	signals := make(chan os.Signal, 1)
	notify(signals, endSignals...)
	notify(signals, dumpSignals...)
	notify(signals, syscall.SIGTSTP)
	defer signal.Stop(signals)
	done := make(chan struct{})
	defer close(done)
	go s.handleSignals(signals, done)
	if err := s.off(); err != nil {
		return "", err
	}
	defer s.restore(true)
	return readSecret(tty)
}

// off switches the echo off and prompts. Before the prompt, so that nothing
// typed in answer to it is seen.
func (s *echoOff) off() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		select {} // a signal is about to end the process
	}
	t, err := unix.IoctlGetTermios(s.fd, ioctlGetTermios)
	if err != nil {
		return os.NewSyscallError("terminal", err)
	}
	saved := *t
	t.Lflag &^= unix.ECHO
	t.Lflag |= unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(s.fd, ioctlSetTermios, t); err != nil {
		return os.NewSyscallError("terminal", err)
	}
	s.saved = &saved
	_, err = io.WriteString(s.tty, s.prompt)
	return err
}

// restore brings the echo back, and the newline that was typed without being seen.
// What was typed of a password that is not wanted any more is forgotten: the
// shell would read it.
func (s *echoOff) restore(over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = over
	if s.saved != nil {
		unix.IoctlSetTermios(s.fd, ioctlFlushTermios, s.saved)
		s.saved = nil
		io.WriteString(s.tty, "\n")
	}
}

// handleSignals brings the echo back before it does what a signal asks for. After a stop
// it asks once more.
func (s *echoOff) handleSignals(signals chan os.Signal, done chan struct{}) {
	for {
		var sig os.Signal
		select {
		case sig = <-signals:
		case <-done:
			return
		}
		switch sig {
		case syscall.SIGTSTP:
			s.restore(false)
			stopProcess()
			s.off()
		default:
			s.restore(true)
			dieBy(sig.(syscall.Signal))
		}
	}
}
