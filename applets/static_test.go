package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// roles are what else the test binary can do instead of testing, by
// KOWAZA_TEST_AS.
var roles = map[string]func(){}

// The binary as it is installed, with a link for each applet.
var (
	staticOnce sync.Once
	staticDir  string
	staticErr  error
)

// staticBinary returns the directory of the installed binary and its links. It
// is built once; TestMain removes it.
func staticBinary(t *testing.T) string {
	t.Helper()
	staticOnce.Do(func() {
		if staticDir, staticErr = os.MkdirTemp("", "kowaza-static"); staticErr != nil {
			return
		}
		if staticErr = os.Chmod(staticDir, 0o755); staticErr != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", staticDir+"/kowaza", "kowaza")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			staticErr = fmt.Errorf("%w\n%s", err, out)
			return
		}
		for _, a := range All {
			if staticErr = os.Symlink("kowaza", staticDir+"/"+a.Name); staticErr != nil {
				return
			}
		}
	})
	if staticErr != nil {
		t.Fatal(staticErr)
	}
	return staticDir
}

func removeStatic() {
	if staticDir != "" {
		os.RemoveAll(staticDir)
	}
}

// soakTime returns how long an attack may go on: d, or longer where KOWAZA_SOAK
// says for how many minutes ("make soak").
func soakTime(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	if minutes := soakMinutes(t); minutes > 0 {
		return time.Duration(minutes * float64(time.Minute))
	}
	return d
}

// soaking returns long where KOWAZA_SOAK is set, else short.
func soaking(t *testing.T, short, long int) int {
	t.Helper()
	if soakMinutes(t) > 0 {
		return long
	}
	return short
}

func soakMinutes(t *testing.T) float64 {
	t.Helper()
	text := os.Getenv("KOWAZA_SOAK")
	if text == "" {
		return 0
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil || minutes <= 0 {
		t.Fatalf("KOWAZA_SOAK=%s: not a number of minutes", text)
	}
	return minutes
}

// needRoot skips a test that only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// needCommand returns the path of a program that a test cannot do without.
func needCommand(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// An ending is how a process ended, and what it said.
type ending struct {
	stdout, stderr string
	status         int
	signal         syscall.Signal // 0 where it exited
	late           bool           // it did not end and was killed
}

// patience is how long a test waits for what must come, and how long a process may run
// that has not much to do: two cores may be busy with other things, and a machine that
// others use may stand still.
const patience = 5 * time.Minute

// runEnd runs a command in a process group of its own to its end.
func runEnd(t *testing.T, cmd *exec.Cmd) ending {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = time.Second
	must(t, cmd.Start())
	var e ending
	timer := time.AfterFunc(patience, func() {
		e.late = true
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	err := cmd.Wait()
	var exit *exec.ExitError
	if timer.Stop(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	e.stdout, e.stderr, e.status = stdout.String(), stderr.String(), st.ExitStatus()
	if st.Signaled() {
		e.signal = st.Signal()
	}
	return e
}

// crashed reports whether the runtime has something to say.
func (e *ending) crashed() bool {
	return strings.Contains(e.stderr, "goroutine ") || strings.Contains(e.stderr, "panic: ") || strings.Contains(e.stderr, "fatal error: ")
}

// openParents lets everybody walk to a directory of t.TempDir's.
func openParents(t *testing.T, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o711))
	}
}

// ancient is the date of old mail.
var ancient = time.Unix(1e9, 0)

// oldFile makes a file with an old date.
func oldFile(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0o644))
	must(t, os.Chtimes(file, ancient, ancient))
}

// makeMaildirs makes Maildirs or folders.
func makeMaildirs(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for _, sub := range []string{"cur", "new", "tmp"} {
			must(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
		}
	}
}

// giveTo gives everything below dir to a user.
func giveTo(t *testing.T, uid int, dir string) {
	t.Helper()
	must(t, filepath.Walk(dir, func(file string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(file, uid, uid)
	}))
}

// exists reports whether there is such a name.
func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// untilEnd blocks until standard input ends: then the test wants no more.
func untilEnd() <-chan struct{} {
	end := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	return end
}

// fastDir returns a directory in memory where there is one, for a test that
// makes very many files.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kowaza")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
