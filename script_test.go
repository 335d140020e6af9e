package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kowaza/internal/queue/queuetest"
	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestScripts runs testdata/*.txtar against the applets, or against what
// KOWAZA_HOST names: it proves that kowaza and the originals do the same.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("KOWAZA_TEST_ROOT", filepath.Join(env.WorkDir, "root"))
			env.Setenv("HOST", testenv.Host)
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  cmdStatus,
			"maildir": cmdMaildir,
			"message": cmdMessage,
			"conf":    cmdConf,
			"touchat": cmdTouchAt,
			"queue":   cmdQueue,
			"queued":  cmdQueued,
		},
	})
}

// condition knows [kowaza], what runs is ours; [testbinary], and it knows
// KOWAZA_TEST_ROOT and KOWAZA_TEST_NOW; and [root].
func condition(cond string) (bool, error) {
	switch cond {
	case "kowaza":
		return testenv.Ours(), nil
	case "testbinary":
		return testenv.Host == "", nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %s", cond)
}

// status N command [argument...]: runs the command, whose status must be N.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [argument...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// maildir DIR...: makes Maildirs or folders.
func cmdMaildir(ts *testscript.TestScript, neg bool, args []string) {
	for _, dir := range args {
		for _, sub := range []string{"cur", "new", "tmp"} {
			ts.Check(os.MkdirAll(filepath.Join(ts.MkAbs(dir), sub), 0o755))
		}
	}
}

// message AGE FILE...: makes files that were last modified AGE ago, as 191h.
func cmdMessage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: message AGE FILE...")
	}
	age, err := time.ParseDuration(args[0])
	ts.Check(err)
	at := time.Now().Add(-age)
	for _, name := range args[1:] {
		file := ts.MkAbs(name)
		ts.Check(os.WriteFile(file, []byte("Subject: test\n\ntext\n"), 0o644))
		ts.Check(os.Chtimes(file, at, at))
	}
}

// conf FILE LINE...: writes a settings file that root may trust.
func cmdConf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: conf FILE LINE...")
	}
	text := strings.Join(append(args[1:], ""), "\n")
	ts.Check(os.WriteFile(args[0], []byte(text), 0o644))
	ts.Check(os.Chmod(args[0], 0o644))
}

// touchat TIME FILE...: makes files that were last modified at that time.
func cmdTouchAt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: touchat TIME FILE...")
	}
	at, err := time.Parse(time.RFC3339Nano, args[0])
	ts.Check(err)
	for _, name := range args[1:] {
		file := ts.MkAbs(name)
		ts.Check(os.WriteFile(file, nil, 0o644))
		ts.Check(os.Chtimes(file, at, at))
	}
}

// queue DIR [bigtodo] [split=N] [suppl=N]: makes an empty queue, which the
// queued commands that follow fill.
func cmdQueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: queue DIR [bigtodo] [split=N] [suppl=N]")
	}
	var l queuetest.Layout
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "bigtodo":
			l.BigTodo = true
		case "split":
			l.Split, err = strconv.Atoi(value)
		case "suppl":
			l.Suppl, err = strconv.Atoi(value)
		default:
			ts.Fatalf("unknown layout %s", arg)
		}
		ts.Check(err)
	}
	q, err := queuetest.Make(ts.MkAbs(args[0]), l)
	ts.Check(err)
	queues.Store(ts.Getenv("WORK"), q)
}

// queues holds the last queue of each script that runs, by its directory.
var queues sync.Map

// queued NAME STATE SENDER [KEY=VALUE...]: puts a message into the queue that
// was made last; the variable NAME is its number then. Keys: local, remote and
// suppl, a recipient behind its mark, T or D; body, text with \n in it; file, a
// file with the text; bounce; age, as 3h, of the message in the queue.
func cmdQueued(ts *testscript.TestScript, neg bool, args []string) {
	q, ok := queues.Load(ts.Getenv("WORK"))
	if neg || !ok || len(args) < 3 {
		ts.Fatalf("usage: queue DIR; queued NAME STATE SENDER [KEY=VALUE...]")
	}
	m := queuetest.Message{State: args[1], Sender: args[2], Body: "Subject: test\n\ntext\n"}
	for _, arg := range args[3:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "local":
			m.Local = append(m.Local, value)
		case "remote":
			m.Remote = append(m.Remote, value)
		case "suppl":
			m.Suppl = append(m.Suppl, []string{value})
		case "body":
			m.Body = strings.ReplaceAll(value, `\n`, "\n")
		case "file":
			m.Body = ts.ReadFile(value)
		case "bounce":
			m.Bounce = value
		case "age":
			age, err := time.ParseDuration(value)
			ts.Check(err)
			m.Birth = time.Now().Add(-age)
		default:
			ts.Fatalf("unknown key %s", arg)
		}
	}
	n, err := q.(*queuetest.Queue).Add(m)
	ts.Check(err)
	ts.Setenv(args[0], strconv.FormatUint(n, 10))
}

// TestSignals proves that a signal stops rmoldmail after the message at hand:
// it ends by that signal, says so, and the quota file has exactly what is gone.
func TestSignals(t *testing.T) {
	if ours, _ := condition("kowaza"); !ours {
		t.Skip("SKIP the original ends at once")
	}
	const messages = 20000
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		for try := 1; ; try++ {
			home, left := manyOld(t, messages)
			var stderr bytes.Buffer
			cmd := exec.Command("rmoldmail", "-j", "1", "10", home)
			cmd.Stderr = &stderr
			testenv.Check(t, cmd.Start())
			for deadline := time.Now().Add(10 * time.Second); left() == messages && time.Now().Before(deadline); {
			}
			testenv.Check(t, cmd.Process.Signal(sig))
			err := cmd.Wait()
			gone := messages - left()
			if gone == messages && err == nil && try < 5 {
				continue // it was faster than the signal
			}
			st, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			ended := st.Signaled() && st.Signal() == sig
			if sig == syscall.SIGQUIT { // the runtime keeps its own end for itself
				ended = st.Exited() && st.ExitStatus() == 128+int(sig)
			}
			if !ended {
				t.Errorf("%v: ended with %v", sig, err)
			}
			if want := fmt.Sprintf("rmoldmail: stopped by %v, %d messages removed\n", sig, gone); stderr.String() != want {
				t.Errorf("%v: %q; want %q", sig, stderr.String(), want)
			}
			quota, err := os.ReadFile(filepath.Join(home, "Maildir/maildirsize"))
			testenv.Check(t, err)
			if want := fmt.Sprintf("0S,0C\n-%d -%d\n", 10*gone, gone); string(quota) != want {
				t.Errorf("%v: maildirsize %q; want %q", sig, quota, want)
			}
			break
		}
	}
}

// TestIgnoredSignal proves that what nohup has ignored stays ignored.
func TestIgnoredSignal(t *testing.T) {
	if ours, _ := condition("kowaza"); !ours {
		t.Skip("SKIP only kowaza catches signals")
	}
	const messages = 5000
	home, left := manyOld(t, messages)
	cmd := exec.Command("sh", "-c", `trap "" HUP; echo ready; exec rmoldmail -j 1 10 "$1"`, "sh", home)
	out, err := cmd.StdoutPipe()
	testenv.Check(t, err)
	testenv.Check(t, cmd.Start())
	_, err = out.Read(make([]byte, 6)) // the trap is set
	testenv.Check(t, err)
	for range 100 {
		cmd.Process.Signal(syscall.SIGHUP)
		time.Sleep(time.Millisecond)
	}
	testenv.Check(t, cmd.Wait())
	if left() != 0 {
		t.Errorf("%d messages left", left())
	}
}

// manyOld makes a Maildir with n old messages of 10 bytes by their names, and
// a quota file. left counts those that are still there.
func manyOld(t *testing.T, n int) (home string, left func() int) {
	home = t.TempDir()
	dir := filepath.Join(home, "Maildir")
	for _, sub := range []string{"cur", "new", "tmp"} {
		testenv.Check(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	for i := range n {
		file := fmt.Sprintf("%s/cur/%d,S=10:2,", dir, i)
		f, err := os.Create(file)
		testenv.Check(t, err)
		f.Close()
		testenv.Check(t, os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)))
	}
	testenv.Check(t, os.WriteFile(dir+"/maildirsize", []byte("0S,0C\n"), 0o644))
	return home, func() int {
		names, err := os.ReadDir(dir + "/cur")
		testenv.Check(t, err)
		return len(names)
	}
}

// TestSecondSignal proves that a run whose output nobody takes can still be
// ended: the first signal cannot be obeyed there, one that comes later kills.
// It is stuck while it works, or when it has done all and prints the rest.
func TestSecondSignal(t *testing.T) {
	if ours, _ := condition("kowaza"); !ours {
		t.Skip("SKIP only kowaza catches signals")
	}
	for name, messages := range map[string]int{"at work": 20000, "at the end": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, _ := manyOld(t, messages)
			out := fullPipe(t)
			cmd := exec.Command("rmoldmail", "-n", "10", home)
			cmd.Stdout = out
			testenv.Check(t, cmd.Start())
			untilAsleep(t, cmd.Process.Pid)
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for deadline := time.After(5 * time.Minute); ; {
				cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
				select {
				case err := <-ended:
					if err == nil || err.Error() != "signal: terminated" {
						t.Errorf("%v; want signal: terminated", err)
					}
					return
				case <-deadline:
					cmd.Process.Kill()
					t.Fatal("it does not end")
				case <-time.After(600 * time.Millisecond):
				}
			}
		})
	}
}

// fullPipe returns the end for writing of a pipe that takes no byte more, and
// that nobody reads.
func fullPipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	testenv.Check(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	testenv.Check(t, w.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	if _, err := w.Write(make([]byte, 4<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v; want a full pipe", err)
	}
	return w
}

// untilAsleep waits until a process has a thread that sleeps in a write into a
// pipe; for two seconds where the kernel does not tell.
func untilAsleep(t *testing.T, pid int) {
	for range 200 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
		testenv.Check(t, err)
		for _, thread := range threads {
			// The thread may have ended.
			if where, _ := os.ReadFile(thread); strings.HasSuffix(string(where), "pipe_write") {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}
