package queue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// A Daemon is the process that holds the lock of a queue.
type Daemon struct {
	Pid  int
	Name string // as the kernel has it: at most 15 bytes, qmail-send

	started string // when, as the kernel counts: a pid may be used again
	queue   *Queue
}

// sendName is in the name of a daemon that may be signalled: qmail-send, or
// slowq-send and the like of a patched qmail.
const sendName = "send"

// IsSend reports whether the name is that of a qmail-send. Whoever else holds the
// lock is another program that keeps qmail-send out, as this one does.
func (d Daemon) IsSend() bool { return strings.Contains(d.Name, sendName) }

// Same reports whether both are one process. The zero Daemon is nobody.
func (d Daemon) Same(other Daemon) bool {
	return d.Pid != 0 && d.Pid == other.Pid && d.started == other.started
}

// Daemon finds who holds the lock, which need not be qmail-send: another
// program that cleans the queue takes it, too. Several instances of qmail are
// told apart by their lock files, so this is better than a look for the name.
// ErrNotRunning where nobody holds it.
func (q *Queue) Daemon() (Daemon, error) {
	for looks := 1; ; looks++ {
		text, st, err := q.locks()
		if err != nil {
			return Daemon{}, err
		}
		// What is longer than a page comes in pieces, and while others lock and unlock a
		// line may be left out between two: a lock that is held looks free then.
		d, err := q.daemonIn(text, st)
		if err != ErrNotRunning || len(text) < wholeLocks || looks == maxLooks {
			return d, err
		}
	}
}

// A text of /proc/locks that is shorter was read at one moment; a longer one is looked at
// so often before it is believed that a lock is not in it.
const (
	wholeLocks = 3 << 10 // bytes, of a page of 4096
	maxLooks   = 10
)

// daemonIn is Daemon by a text of /proc/locks. st is of the lock.
func (q *Queue) daemonIn(text string, st unix.Stat_t) (Daemon, error) {
	pids, dead := lockHolders(text, &st), false
	for _, pid := range pids {
		if d, ok := q.process(pid); ok {
			return d, nil
		}
		dead = true
	}
	if !dead {
		return Daemon{}, ErrNotRunning
	}
	// A flock is the open file's. Who took it may be gone, as flock(1) is that a
	// shell called for a descriptor of its own, and who has it open now has the lock.
	var found Daemon
	for _, pid := range inheritors(&st) {
		if d, ok := q.process(pid); ok && (found.Pid == 0 || found.Pid == os.Getpid() || d.IsSend() && !found.IsSend()) {
			found = d
		}
	}
	if found.Pid == 0 {
		return Daemon{}, ErrNotRunning
	}
	return found, nil
}

// Awaited reports whether a process sleeps until it gets the lock, which is another's.
func (q *Queue) Awaited() bool {
	text, st, err := q.locks()
	if err != nil {
		return false
	}
	waiting := "" // as if they held it
	for line := range strings.Lines(text) {
		if number, lock, ok := strings.Cut(line, " -> "); ok {
			waiting += number + " " + lock
		}
	}
	return len(lockHolders(waiting, &st)) > 0
}

// locks returns /proc/locks, and what tells the queue's lock in it.
func (q *Queue) locks() (text string, st unix.Stat_t, err error) {
	dir, err := q.openLockDir()
	if err != nil {
		return "", st, err
	}
	if err := sys.Lstatat(dir, lockName, &st); err != nil {
		return "", st, pathError("stat", lockPath, err)
	}
	if q.readLocks != nil {
		return q.readLocks(), st, nil
	}
	all, err := os.ReadFile("/proc/locks")
	return string(all), st, err
}

// process returns what the kernel says of a process; false where it is gone.
func (q *Queue) process(pid int) (Daemon, bool) {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return Daemon{}, false
	}
	d := Daemon{Pid: pid, Name: string(bytes.TrimSuffix(name, []byte("\n"))), queue: q}
	// The name stands in parentheses and may hold some: proc_pid_stat(5).
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	const startTime = 22 - 3 // behind the name
	if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > startTime {
		d.started = string(f[startTime])
	}
	return d, true
}

// inheritors lists the processes that have a file open through which it is locked:
// /proc/PID/fdinfo says so (proc_pid_fdinfo(5)).
func inheritors(st *unix.Stat_t) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		fds, _ := os.ReadDir(dir)
		for _, fd := range fds {
			var is unix.Stat_t
			if unix.Stat(dir+"/"+fd.Name(), &is) != nil || is.Dev != st.Dev || is.Ino != st.Ino {
				continue
			}
			info, _ := os.ReadFile(dir + "info/" + fd.Name())
			if bytes.Contains(info, []byte("FLOCK")) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
				pids = append(pids, pid)
			}
		}
	}
	return pids
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
	case now != d || !d.IsSend():
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
