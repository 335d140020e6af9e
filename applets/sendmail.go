package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/settings"
)

// sendmailPath returns the path of the sendmail command. Where SENDMAIL names one,
// no other is taken in its place.
func sendmailPath(env *cli.Env, s *settings.Settings) (string, error) {
	names := []string{s.Sendmail}
	if s.Sendmail == "" {
		names = []string{env.Root + "/usr/sbin/sendmail", qmailDir(env, s) + "/bin/sendmail"}
	}
	for _, name := range names {
		switch err := executable(name); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		}
		return name, nil
	}
	return "", fmt.Errorf("no sendmail command: %s: %w", strings.Join(names, ", "), syscall.ENOENT)
}

// executable returns why a file is no program that can be run, nil where it is one. The
// error names the file; fs.ErrNotExist comes through where there is none.
func executable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", name)
	}
	if err := unix.Access(name, unix.X_OK); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// A mailer is a sendmail command that is there.
type mailer struct {
	path    string
	environ []string
	talk    uintptr // where its own messages go
}

// findMailer finds the sendmail command. The errors are those of sendmailPath.
func findMailer(env *cli.Env, s *settings.Settings) (*mailer, error) {
	path, err := sendmailPath(env, s)
	if err != nil {
		return nil, err
	}
	m := &mailer{path: path, environ: os.Environ(), talk: 2}
	if f := cli.FileOf(env.Stderr); f != nil {
		m.talk = f.Fd()
	}
	return m, nil
}

// A posting is a message that a sendmail command was given.
type posting struct{ pid, pipe int }

// post starts the command with a message.
//
// The message is in the pipe before sendmail starts: it is shorter than
// PIPE_BUF, so the write neither waits nor comes in parts. This process keeps a
// reading end, so that nothing happens to it whatever sendmail does, and
// afterwards sees whether something was left unread: qmail-inject that dies in
// a wrapper which exits 0 would else pass for success. It is system calls and
// not os/exec, which spends on a copy several times what fork and exec cost.
func (m *mailer) post(args []string, text []byte) (*posting, error) {
	var pipe [2]int
	// Close-on-exec from the start: another copy may be forking just now.
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	_, err := ignoringEINTR(func() (int, error) { return unix.Write(pipe[1], text) })
	unix.Close(pipe[1])
	if err != nil {
		unix.Close(pipe[0])
		return nil, fmt.Errorf("pipe: %w", err)
	}
	pid, err := syscall.ForkExec(m.path, append([]string{m.path}, args...), &syscall.ProcAttr{
		Env:   m.environ,
		Files: []uintptr{uintptr(pipe[0]), m.talk, m.talk},
	})
	if err != nil {
		unix.Close(pipe[0])
		return nil, cannotStart(err)
	}
	return &posting{pid, pipe[0]}, nil
}

// wait waits for the command and says how it failed, if so.
func (p *posting) wait() error {
	defer unix.Close(p.pipe)
	var status syscall.WaitStatus
	if _, err := ignoringEINTR(func() (int, error) { return syscall.Wait4(p.pid, &status, 0, nil) }); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := exitError(status); err != nil {
		return err
	}
	// Looked at, not read: a child of sendmail's may still be about to.
	rest := []unix.PollFd{{Fd: int32(p.pipe), Events: unix.POLLIN}}
	if _, err := ignoringEINTR(func() (int, error) { return unix.Poll(rest, 0) }); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if rest[0].Revents&unix.POLLIN != 0 {
		return errors.New("exit status 0, but it did not read the message")
	}
	return nil
}

// A startError says that the command cannot be run, now or for another copy.
type startError syscall.Errno

func (e startError) Error() string { return syscall.Errno(e).Error() }

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// cannotStart tells an error that every copy would meet from a want of memory
// or processes, which may pass.
func cannotStart(err error) error {
	errno, ok := err.(syscall.Errno)
	switch {
	case !ok, errno == syscall.EAGAIN, errno == syscall.ENOMEM, errno == syscall.EMFILE,
		errno == syscall.ENFILE, errno == syscall.ETXTBSY:
		return fmt.Errorf("cannot start: %w", err)
	}
	return startError(errno)
}

// exitError says how a command failed; nil for exit status 0.
func exitError(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("signal: %s", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}

// ended returns a channel that is closed when the command has ended. It is still to be
// waited for, so that its number is nobody else's.
func (p *posting) ended() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ignoringEINTR(func() (int, error) { return 0, unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) })
	}()
	return done
}

// kill ends the command, before wait.
func (p *posting) kill() { syscall.Kill(p.pid, syscall.SIGKILL) }
