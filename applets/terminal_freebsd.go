package applets

import "golang.org/x/sys/unix"

const (
	ioctlGetTermios   = unix.TIOCGETA
	ioctlSetTermios   = unix.TIOCSETA
	ioctlFlushTermios = unix.TIOCSETAF // drops what was typed and not read
)

// stopProcess stops the process within the call, which returns when it goes on:
// the kernel gives a signal that a thread sends to its own process to that
// thread.
func stopProcess() { unix.Kill(unix.Getpid(), unix.SIGSTOP) }
