package queue

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestLockHolders proves which lines of /proc/locks are of a lock's holders.
func TestLockHolders(t *testing.T) {
	st := unix.Stat_t{Ino: 794000, Dev: unix.Mkdev(8, 17)}
	got := lockHolders(`1: POSIX  ADVISORY  WRITE 901 08:11:794000 0 EOF
2: FLOCK  ADVISORY  WRITE 902 08:11:794000 0 EOF
2: -> FLOCK  ADVISORY  WRITE 903 08:11:794000 0 EOF
3: FLOCK  ADVISORY  WRITE 4194399 08:12:794000 0 EOF
4: FLOCK  ADVISORY  WRITE 905 08:11:79400 0 EOF
5: FLOCK  ADVISORY  WRITE 0 08:11:794000 0 EOF
6: OFDLCK ADVISORY  WRITE -1 08:11:794000 0 EOF
7: FLOCK
`, &st)
	if !slices.Equal(got, []int{902}) {
		t.Error(got)
	}
}

// TestTornLocks proves that a lock which is left out of one reading of a long /proc/locks, as
// one may while others lock and unlock, does not look free.
func TestTornLocks(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	cmd := command(t, "hold", made.Dir)
	holder := start(t, cmd)
	others := strings.Repeat("1: FLOCK  ADVISORY  WRITE 1 08:11:1 0 EOF\n", 100)
	looks := 0
	q.readLocks = func() string {
		if looks++; looks < 4 {
			return others
		}
		whole, err := os.ReadFile("/proc/locks")
		must(t, err)
		return others + string(whole)
	}
	if d, err := q.Daemon(); err != nil || d.Pid != cmd.Process.Pid || looks != 4 {
		t.Errorf("%+v, %v after %d looks", d, err, looks)
	}
	must(t, holder.stop())
	if _, err := q.Daemon(); err != ErrNotRunning {
		t.Error(err)
	}
}

// TestDaemon proves that who holds the lock is found, and that it gets a
// signal only as long as it is called qmail-send or so and holds it.
func TestDaemon(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	if _, err := q.Daemon(); err != ErrNotRunning {
		t.Fatal(err)
	}
	// By another name it is nobody's business.
	cmd := command(t, "hold", made.Dir)
	holder := start(t, cmd)
	if q.Awaited() {
		t.Error("nobody waits")
	}
	waits := exec.Command("flock", filepath.Join(made.Dir, lockPath), "true")
	must(t, waits.Start())
	for deadline := time.Now().Add(20 * time.Second); !q.Awaited(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is seen to wait")
		}
	}
	must(t, waits.Process.Kill())
	waits.Wait()
	d, err := q.Daemon()
	if err != nil || d.Pid != cmd.Process.Pid || d.Name == "" || strings.Contains(d.Name, sendName) {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := d.Signal(unix.SIGKILL); err != ErrNotRunning {
		t.Error(err)
	}
	d.Name = "qmail-send"
	if err := d.Signal(unix.SIGKILL); err != ErrNotRunning {
		t.Error(err)
	}
	if err := cmd.Process.Signal(unix.Signal(0)); err != nil {
		t.Fatal("it was killed")
	}
	must(t, holder.stop())

	named := filepath.Join(t.TempDir(), "qmail-send")
	exe, err := os.Executable()
	must(t, err)
	must(t, copyFile(exe, named))
	cmd = command(t, "hold", made.Dir)
	cmd.Path, cmd.Args[0] = named, named
	start(t, cmd)
	d, err = q.Daemon()
	if err != nil || d.Pid != cmd.Process.Pid || d.Name != "qmail-send" {
		t.Fatalf("%+v, %v", d, err)
	}
	must(t, d.Signal(unix.SIGTERM)) // Go does not die of SIGALRM
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM {
		t.Error(err)
	}
	if err := d.Signal(unix.SIGALRM); err != ErrNotRunning {
		t.Error(err)
	}
	if err := (Daemon{}).Signal(unix.SIGALRM); err != ErrNotRunning {
		t.Error(err)
	}
}
