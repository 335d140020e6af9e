package queue

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// The file that qmail-send holds a lock on from its start to its end.
const (
	lockDir  = "lock"
	lockName = "sendmutex"
	lockPath = lockDir + "/" + lockName
)

// A Lock is the one that keeps qmail-send from running. It is to be held for
// the whole of reading and removing: a list that was made before is worthless,
// since numbers are used again.
type Lock struct {
	q       *Queue
	mu      sync.Mutex // guards what follows
	fd      int        // -1 once it is unlocked
	checked bool       // Check found nothing

	checkedFor map[uint64]bool // CheckNumbers found nothing for these
}

// lockRetry is how often a lock that somebody holds is tried.
const lockRetry = 100 * time.Millisecond

// Lock takes the lock that qmail-send takes when it starts: flock(2) on
// lock/sendmutex (qmail-send.c, lock_exnb.c). While it is held qmail-send does
// not start, so it should not be held for long. ErrRunning after wait;
// ErrStopped where stop was closed before.
//
// ErrInterrupted where a repair was: until that is ended nothing may be done.
func (q *Queue) Lock(wait time.Duration, stop <-chan struct{}) (*Lock, error) {
	l, err := q.lock(lockName, wait, stop)
	if err == nil || errors.Is(err, unix.ENOENT) {
		if halfErr := q.Whole(); halfErr != nil {
			if l != nil {
				l.Unlock()
			}
			return nil, halfErr
		}
	}
	return l, err
}

// lock is Lock by the file of that name.
func (q *Queue) lock(name string, wait time.Duration, stop <-chan struct{}) (*Lock, error) {
	end := time.Now().Add(wait)
	for {
		fd, err := q.tryLock(name)
		if err == nil {
			return &Lock{q: q, fd: fd}, nil
		}
		left := time.Until(end)
		if err != ErrRunning || left <= 0 {
			return nil, err
		}
		retry := time.NewTimer(min(lockRetry, left))
		select {
		case <-stop:
			retry.Stop()
			return nil, ErrStopped
		case <-retry.C:
		}
	}
}

// tryLock tries once. A lock on a file that has lost its name meanwhile locks
// nobody out: then it is tried again.
func (q *Queue) tryLock(name string) (int, error) {
	dir, err := q.openLockDir()
	if err != nil {
		return -1, err
	}
	path := lockDir + "/" + name
	for {
		fd, err := sys.Openat(dir, name, unix.O_WRONLY|openFile)
		if err != nil {
			return -1, pathError("open", path, err)
		}
		var held, named unix.Stat_t
		if err = sys.Fstat(fd, &held); err == nil && !isRegular(&held) {
			err = ErrNotRegular
		}
		if err != nil {
			closeFD(fd)
			return -1, pathError("open", path, err)
		}
		if q.locking != nil {
			q.locking()
		}
		if err := flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			closeFD(fd)
			if err == unix.EWOULDBLOCK {
				return -1, ErrRunning
			}
			return -1, pathError("lock", path, err)
		}
		err = sys.Lstatat(dir, name, &named)
		if err == nil && identityOf(&named).file() == identityOf(&held).file() {
			return fd, nil
		}
		closeFD(fd)
		if err != nil {
			return -1, pathError("stat", path, err)
		}
	}
}

func (q *Queue) openLockDir() (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lockDir < 0 {
		fd, err := sys.Openat(q.fd, lockDir, sys.OpenDir)
		if err != nil {
			return -1, pathError("open", lockDir, err)
		}
		q.lockDir = fd
	}
	return q.lockDir, nil
}

// Unlock lets qmail-send start again. It reads the queue when it does, so
// nobody needs to be told.
func (l *Lock) Unlock() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return ErrUnlocked
	}
	closeFD(l.fd)
	l.fd = -1
	return nil
}

// Check looks at all names in the queue: whether the layout is what it was when
// the queue was opened, which is the error that it returns otherwise, and which files
// do not stand in the sub-directory of their number. Where one of a message's does
// not, it cannot be told which pieces are the message's, and Remove refuses it. A
// place that may not be read is an error, too.
func (l *Lock) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.check()
}

// check is Check where mu is held.
func (l *Lock) check() error {
	if l.fd < 0 {
		return ErrUnlocked
	}
	err := l.q.Check()
	l.checked = err == nil
	return err
}

// Check is Lock.Check without the lock: what it finds may be out of date at
// once.
func (q *Queue) Check() error {
	if err := q.checkLayout(); err != nil {
		return err
	}
	wrong := make(map[uint64]error)
	for _, p := range q.places {
		if err := p.eachWrong(q.split, wrong); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wrong = wrong
	return nil
}
