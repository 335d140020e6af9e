package applets

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	ioctlGetTermios   = unix.TCGETS
	ioctlSetTermios   = unix.TCSETS
	ioctlFlushTermios = unix.TCSETSF // drops what was typed and not read
)

// stopProcess stops the process within the call, which returns when it goes on.
// A signal to the process could stop another thread first, and this one would
// run on for a moment.
func stopProcess() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
