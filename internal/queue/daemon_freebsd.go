package queue

import (
	"errors"

	"golang.org/x/sys/unix"
)

// A Daemon is the process that holds the lock of a queue.
type Daemon struct {
	Pid  int
	Name string
}

// errHolder says that the kernel does not tell who holds a lock of flock(2): for
// such a lock F_GETLK of fcntl(2) answers with -1.
var errHolder = errors.New("FreeBSD does not tell which process holds it")

// Daemon would find who holds the lock. To look for a process by its name would
// find that of another queue as well, so it is always an error here.
func (q *Queue) Daemon() (Daemon, error) {
	return Daemon{}, pathError("find", lockPath, errHolder)
}

// Signal sends nothing: no Daemon is ever found.
func (d Daemon) Signal(unix.Signal) error { return ErrNotRunning }
