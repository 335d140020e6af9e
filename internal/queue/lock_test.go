package queue

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestLock proves that the lock is the one another process holds or is kept
// from, that waiting for it ends when it is free, at its time, or when told.
func TestLock(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	holder := start(t, command(t, "hold", made.Dir))
	if _, err := q.Lock(0, nil); err != ErrRunning {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := q.Lock(250*time.Millisecond, nil); err != ErrRunning || time.Since(begin) < 250*time.Millisecond {
		t.Fatal(err, time.Since(begin))
	}
	end := make(chan struct{})
	close(end)
	if _, err := q.Lock(time.Hour, end); err != ErrStopped {
		t.Fatal(err)
	}
	got := make(chan error)
	var l *Lock
	go func() {
		var err error
		l, err = q.Lock(10*time.Minute, nil)
		got <- err
	}()
	must(t, holder.stop())
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	second := command(t, "locked", made.Dir)
	second.Stderr = nil
	if out, err := second.Output(); err == nil || !strings.Contains(string(err.(*exec.ExitError).Stderr), ErrRunning.Error()) {
		t.Errorf("two hold the lock: %s, %v", out, err)
	}
	must(t, l.Unlock())
	if err := l.Unlock(); err != ErrUnlocked {
		t.Error(err)
	}
	if err := l.Check(); err != ErrUnlocked {
		t.Error(err)
	}
	if err := l.Remove(&Message{queue: q}, time.Now(), true); err != ErrUnlocked {
		t.Error(err)
	}
	must(t, command(t, "locked", made.Dir).Run())
}

// TestLockFile proves that the lock's file must be there, a regular file and
// no link, and that none is made.
func TestLockFile(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	file := filepath.Join(made.Dir, lockPath)
	must(t, os.Remove(file))
	_, err := q.Lock(time.Hour, nil)
	wantError(t, err, fs.ErrNotExist, lockPath)
	if _, err := os.Lstat(file); err == nil {
		t.Error("made")
	}
	must(t, os.Symlink("tcpto", file))
	_, err = q.Lock(time.Hour, nil)
	wantError(t, err, unix.ELOOP, lockPath)
	must(t, os.Remove(file))
	must(t, unix.Mkfifo(file, 0o600))
	if _, err = q.Lock(time.Hour, nil); err == nil {
		t.Error("took a fifo")
	}
	end, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer end.Close()
	_, err = q.Lock(time.Hour, nil)
	wantError(t, err, ErrNotRegular, lockPath)
	_, err = q.Daemon()
	if err != ErrNotRunning {
		t.Error(err)
	}
	must(t, os.RemoveAll(filepath.Dir(file)))
	_, err = open(t, made.Dir).Lock(0, nil)
	wantError(t, err, fs.ErrNotExist, lockDir)
}

// TestLockReplaced proves that a lock on a file that lost its name before it
// was taken is no lock: the file that has the name is locked instead.
func TestLockReplaced(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	file := filepath.Join(made.Dir, lockPath)
	times := 0
	q.locking = func() {
		if times++; times == 1 {
			put(t, file+"x", "")
			must(t, os.Rename(file+"x", file))
		}
	}
	lock(t, q)
	other := open(t, made.Dir)
	if _, err := other.Lock(0, nil); err != ErrRunning || times != 2 {
		t.Error(err, times)
	}
}

// TestCheckLayout proves that a queue whose layout changed since it was opened
// is no longer in order.
func TestCheckLayout(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	l := lock(t, q)
	must(t, l.Check())
	for _, p := range placeNames[Info:] {
		if p == "bounce" {
			continue
		}
		must(t, os.Mkdir(filepath.Join(made.Dir, p, "23"), 0o700))
	}
	wantError(t, l.Check(), ErrLayout, ".")
	must(t, os.Mkdir(filepath.Join(made.Dir, "mess/23"), 0o700))
	wantError(t, l.Check(), ErrLayout, ".")
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o700)
}
