package queue

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A Daemon is the process that holds the lock of a queue.
type Daemon struct {
	Pid  int
	Name string // as the kernel has it: at most 15 bytes, qmail-send

	queue *Queue
}

// sendName is in the name of a daemon that may be signalled: qmail-send, or
// slowq-send and the like of a patched qmail.
const sendName = "send"

// Daemon finds who holds the lock, which need not be qmail-send: another
// program that cleans the queue takes it, too. Several instances of qmail are
// told apart by their lock files, so this is better than a look for the name.
// ErrNotRunning where nobody holds it.
func (q *Queue) Daemon() (Daemon, error) {
	dir, err := q.openLockDir()
	if err != nil {
		return Daemon{}, err
	}
	var st unix.Stat_t
	if err := sys.Lstatat(dir, lockName, &st); err != nil {
		return Daemon{}, pathError("stat", lockPath, err)
	}
	const list = "/proc/locks"
	text, err := os.ReadFile(list)
	if err != nil {
		return Daemon{}, err
	}
	for _, pid := range lockHolders(string(text), &st) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil {
			return Daemon{pid, string(bytes.TrimSuffix(name, []byte("\n"))), q}, nil
		}
	}
	return Daemon{}, ErrNotRunning
}

// lockHolders picks out of /proc/locks (proc_locks(5)) the processes that hold
// a flock on a file. A line with -> is of one that waits.
func lockHolders(text string, st *unix.Stat_t) (pids []int) {
	inode := strconv.FormatUint(st.Ino, 10)
	device := fmt.Sprintf("%02x:%02x", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		colon := strings.LastIndexByte(f[5], ':')
		if colon < 0 || f[5][colon+1:] != inode {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid <= 0 { // 0: of another pid namespace
			continue
		}
		// Where a file system has devices of its own (btrfs), the kernel shows
		// another there.
		if f[5][:colon] == device || hasOpen(pid, st) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasOpen reports whether the process has the file open.
func hasOpen(pid int, st *unix.Stat_t) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		var is unix.Stat_t
		if unix.Stat(dir+"/"+fd.Name(), &is) == nil && is.Dev == st.Dev && is.Ino == st.Ino {
			return true
		}
	}
	return false
}

// Signal sends the daemon a signal if it still holds the lock and is called
// qmail-send or so: to anything else an ALRM is death.
func (d Daemon) Signal(sig unix.Signal) error {
	if d.queue == nil || d.Pid <= 0 {
		return ErrNotRunning
	}
	// What is held by this is the process and not its number.
	fd, err := unix.PidfdOpen(d.Pid, 0)
	switch err {
	case nil:
		defer closeFD(fd)
	case unix.ESRCH:
		return ErrNotRunning
	case unix.ENOSYS: // before Linux 5.3
	default:
		return os.NewSyscallError("pidfd_open", err)
	}
	now, checkErr := d.queue.Daemon()
	switch {
	case checkErr != nil:
		return checkErr
	case now != d || !strings.Contains(d.Name, sendName):
		return ErrNotRunning
	}
	if err == unix.ENOSYS {
		err = unix.Kill(d.Pid, sig)
	} else {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if err == unix.ESRCH {
		return ErrNotRunning
	}
	return os.NewSyscallError("kill", err)
}
