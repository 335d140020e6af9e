package applets

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// asSend is what the test binary is by KOWAZA_TEST_AS when it stands for
// qmail-send. Its one argument is the directory of a sendTest.
const asSend = "qmail-send"

func init() {
	roles[asSend] = func() {
		if err := beSend(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "qmail-send:", err)
			os.Exit(111)
		}
	}
}

// beSend does of qmail-send what others see: it waits for the lock, as one that
// is supervised does by trying again, ends on TERM and notes ALRM. Before it
// ends it runs at-end, if that is there, and waits while the fifo hold is there.
func beSend(dir string) error {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGALRM)
	lock, err := os.OpenFile(dir+"/queue/lock/sendmutex", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	pid := strconv.Itoa(os.Getpid())
	if err := os.WriteFile(dir+"/pid", []byte(pid), 0o644); err != nil {
		return err
	}
	say := func(event string) error { return tell(dir, event) }
	if err := say("up"); err != nil {
		return err
	}
	for sig := range signals {
		if sig == syscall.SIGALRM {
			if err := say("ALRM"); err != nil {
				return err
			}
			continue
		}
		break
	}
	if err := say("TERM"); err != nil {
		return err
	}
	if f, err := os.Open(dir + "/hold"); err == nil {
		io.Copy(io.Discard, f) // until it is closed
	}
	if _, err := os.Stat(dir + "/at-end"); err == nil {
		if out, err := exec.Command("/bin/sh", dir+"/at-end").CombinedOutput(); err != nil {
			return fmt.Errorf("at-end: %v: %s", err, out)
		}
	}
	return say("down")
}

// tell writes an event into the fifo that the test reads.
func tell(dir, event string) error {
	f, err := os.OpenFile(dir+"/events", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(event + "\n")
	return err
}

// A sendTest is a queue whose qmail-send is this test binary, with the commands
// that stop and start it. What they and it do comes as events.
type sendTest struct {
	*testQueue
	dir    string
	events chan string
	seen   []string
	fifo   *os.File
}

func newSendTest(t *testing.T) *sendTest {
	t.Helper()
	q := newTestQueueIn(t, fastDir(t), queuetest.Layout{Split: 3})
	s := &sendTest{testQueue: q, dir: t.TempDir(), events: make(chan string, 1000)}
	must(t, os.Symlink(q.Dir, s.dir+"/queue"))
	exe, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(exe, s.dir+"/qmail-send")) // so the kernel names it
	must(t, unix.Mkfifo(s.dir+"/events", 0o600))
	s.fifo, err = os.OpenFile(s.dir+"/events", os.O_RDWR, 0)
	must(t, err)
	go func() {
		defer close(s.events)
		for lines := bufio.NewScanner(s.fifo); lines.Scan(); {
			s.events <- lines.Text()
		}
	}()
	s.script("stop", `echo stop >"$dir/events"; kill -TERM "$(cat "$dir/pid")"`)
	s.script("start", `ls -l /proc/self/fd >"$dir/fds"; echo start >"$dir/events"
		KOWAZA_TEST_AS=qmail-send "$dir/qmail-send" "$dir" </dev/null >"$dir/log" 2>&1 &`)
	q.configure("QMAIL_STOP="+s.dir+"/stop", "QMAIL_START="+s.dir+"/start")
	t.Cleanup(s.end)
	return s
}

// script writes a command.
func (s *sendTest) script(name, text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(s.dir+"/"+name, []byte("#!/bin/sh\ndir='"+s.dir+"'\n"+text+"\n"), 0o755))
}

// end kills what runs of ours.
func (s *sendTest) end() {
	for _, pid := range processes(s.dir + "/qmail-send") {
		unix.Kill(pid, unix.SIGKILL)
	}
	s.fifo.Close()
}

// processes returns the pids of those that were called by that name.
func processes(name string) (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		text, _ := os.ReadFile(file)
		if command, _, _ := strings.Cut(string(text), "\x00"); command == name {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// start has qmail-send run.
func (s *sendTest) start() {
	s.t.Helper()
	must(s.t, exec.Command(s.dir+"/start").Run())
	s.wait("up")
	s.seen = nil
}

// wait waits for an event.
func (s *sendTest) wait(event string) {
	s.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case e := <-s.events:
			s.seen = append(s.seen, e)
			if e == event {
				return
			}
		case <-deadline:
			s.t.Fatalf("no %q comes; there were %q", event, s.seen)
		}
	}
}

// happened fails where other events came than these, the last one included.
func (s *sendTest) happened(want ...string) {
	s.t.Helper()
	for range 50 { // what was told before this is in the fifo
		must(s.t, tell(s.dir, "mark"))
		s.wait("mark")
		s.seen = s.seen[:len(s.seen)-1]
		if len(s.seen) >= len(want) {
			break
		}
		time.Sleep(20 * time.Millisecond) // a child that was left to itself
	}
	if !slices.Equal(s.seen, want) {
		s.t.Errorf("happened: %q; want %q", s.seen, want)
	}
	s.seen = nil
}

// runs reports whether anybody has the lock.
func (s *sendTest) runs() bool {
	s.t.Helper()
	f, err := os.OpenFile(s.Dir+"/lock/sendmutex", os.O_WRONLY, 0)
	must(s.t, err)
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

// hold keeps qmail-send from ending on TERM until release is called.
func (s *sendTest) hold() (release func()) {
	s.t.Helper()
	must(s.t, unix.Mkfifo(s.dir+"/hold", 0o600))
	f, err := os.OpenFile(s.dir+"/hold", os.O_RDWR, 0)
	must(s.t, err)
	return func() {
		os.Remove(s.dir + "/hold") // the next one is not held
		f.Close()
	}
}

// command is qmHandle as a process of its own, to be sent signals.
func (s *sendTest) command(args ...string) *exec.Cmd {
	s.t.Helper()
	exe, err := os.Executable()
	must(s.t, err)
	null, err := os.Open(os.DevNull)
	must(s.t, err)
	s.t.Cleanup(func() { null.Close() })
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = "qmHandle"
	cmd.Env = append(os.Environ(), "KOWAZA_TEST_AS="+asApplet, "KOWAZA_CONF="+s.root+"/kowaza.conf")
	cmd.ExtraFiles = []*os.File{null}
	s.t.Cleanup(func() {
		if cmd.ProcessState == nil && cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	return cmd
}

// killedBy fails unless the command was ended by the signal.
func killedBy(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) {
	t.Helper()
	st, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	ended := st.Signaled() && st.Signal() == sig
	if sig == syscall.SIGQUIT { // the runtime keeps its own end for itself
		ended = st.Exited() && st.ExitStatus() == 128+int(sig)
	}
	if !ended {
		t.Errorf("ended with %v; want %v", cmd.ProcessState, sig)
	}
}

// mail puts a message of alice's into the queue.
func (s *sendTest) mail() uint64 {
	s.t.Helper()
	return s.add(queuetest.Message{Sender: "alice@a.example", Local: []string{"Ttaro"}, Remote: []string{"Tx@b.example", "Dy@b.example"}, Bounce: "no"})
}

var whole = []string{"bounce", "local", "remote", "info", "mess"}

// TestStopStart proves that a removal stops qmail-send, waits for its end,
// and starts it again, and that what it started has no lock of ours.
func TestStopStart(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	out := s.ok("qmHandle", fmt.Sprintf("-d%d", n))
	s.wait("up")
	s.happened("stop", "TERM", "down", "start", "up")
	s.wantPieces(n)
	want := fmt.Sprintf("Calling system script to terminate qmail...\nMessage %d slotted for deletion\nDeleted 1 messages from queue\nRestarting qmail... done (hopefully).\n", n)
	if out != want {
		t.Errorf("%q; want %q", out, want)
	}
	fds, err := os.ReadFile(s.dir + "/fds")
	must(t, err)
	if strings.Contains(string(fds), "sendmutex") || !strings.Contains(string(fds), " 0 -> ") {
		t.Errorf("QMAIL_START had open:\n%s", fds)
	}
	// Lists, statistics, -t and a dry run leave it alone.
	s.mail()
	for _, option := range []string{"-l", "-s", "-tb.example", "-N", "-V"} {
		s.ok("qmHandle", option)
	}
	s.ok("qmHandle", "--dry-run", "-D")
	s.happened()
}

// TestStopByShell proves that a command that is more than plain words runs by
// the shell.
func TestStopByShell(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	s.configure(`QMAIL_STOP=d="`+s.dir+`"; "$d/stop" && echo "and more" >/dev/null`, "QMAIL_START=cd "+s.dir+" && ./start")
	s.ok("qmHandle", fmt.Sprintf("-d%d", n))
	s.wait("up")
	s.happened("stop", "TERM", "down", "start", "up")
	s.wantPieces(n)
}

// TestNoStopCommand proves that without both settings a running qmail-send is
// an error that says what to set, and nothing is touched.
func TestNoStopCommand(t *testing.T) {
	s := newSendTest(t)
	s.mail()
	s.start()
	before := s.tree()
	for _, lines := range [][]string{{}, {"QMAIL_STOP=" + s.dir + "/stop"}, {"QMAIL_START=" + s.dir + "/start"}} {
		s.configure(lines...)
		out, errs, status := s.run("", "qmHandle", "-D")
		if status != 1 || out != "" || !strings.Contains(errs, "qmail-send is running: set QMAIL_STOP and QMAIL_START in /etc/kowaza.conf") {
			t.Errorf("%q: status %d, %s%s", lines, status, out, errs)
		}
	}
	compare(t, "after that", s.tree(), before)
	s.happened()
	if !s.runs() {
		t.Error("qmail-send does not run")
	}
}

// TestNotRunning proves that what did not run is not started, and that the lock
// is free afterwards.
func TestNotRunning(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	out := s.ok("qmHandle", "-D")
	if want := fmt.Sprintf("Qmail isn't running... no need to stop it.\nMessage %d slotted for deletion\nDeleted 1 messages from queue\n"+
		"Qmail wasn't running when qmHandle was started, so it won't be restarted.\n", n); out != want {
		t.Errorf("%q; want %q", out, want)
	}
	s.wantPieces(n)
	s.happened()
	if s.runs() {
		t.Error("somebody has the lock")
	}
}

// flockAs has flock(1), called so, hold the lock of a queue until the returned func is
// called.
func flockAs(t *testing.T, queue, name string) (pid int, end func()) {
	t.Helper()
	flock, err := exec.LookPath("flock")
	must(t, err)
	link := filepath.Join(t.TempDir(), name)
	must(t, os.Symlink(flock, link))
	return holdAs(t, exec.Command(link, queue+"/lock/sendmutex", "sh", "-c", "echo; read x"))
}

// holdAs starts a command that prints a line once it has what it is to hold, and reads one
// then. It ends when the returned func is called.
func holdAs(t *testing.T, other *exec.Cmd) (pid int, end func()) {
	t.Helper()
	in, err := other.StdinPipe()
	must(t, err)
	out, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	return other.Process.Pid, func() { in.Close(); other.Wait() }
}

// TestOtherHolder proves that another run of ours, or any program but qmail-send,
// with the lock is said, and is no reason to stop qmail or to start it.
func TestOtherHolder(t *testing.T) {
	for _, name := range []string{"qqclean", "backup"} {
		s := newSendTest(t)
		n := s.mail()
		before := s.tree()
		pid, end := flockAs(t, s.Dir, name)
		want := fmt.Sprintf("the queue is locked by %s, process %d\n", name, pid)
		for _, argv := range [][]string{{"qmHandle", "-D"}, {"qmHandle", "--live", "-D"}, {"qqclean", strconv.FormatUint(n, 10)}} {
			if _, errs, status := s.run("", argv...); status != 1 || errs != argv[0]+": "+want {
				t.Errorf("%q: status %d, %q; want %q", argv, status, errs, want)
			}
		}
		compare(t, "after that", s.tree(), before)
		end()
		s.happened()
	}
}

// TestInheritedLock proves that a lock whose taker is gone, as flock(1) is that a
// shell calls for a descriptor of its own, is that shell's: one that is called like a
// qmail-send is one, any other is said.
func TestInheritedLock(t *testing.T) {
	for _, name := range []string{"send-by-shell", "backup"} {
		s := newSendTest(t)
		s.mail()
		s.configure()
		script := s.dir + "/" + name
		must(t, os.WriteFile(script, []byte("#!/bin/sh\nexec 9<>\"$1\"; flock -n 9 || exit 1; echo; read x\n"), 0o755))
		pid, end := holdAs(t, exec.Command(script, s.Dir+"/lock/sendmutex"))
		want := "qmHandle: qmail-send is running: set QMAIL_STOP"
		if name == "backup" {
			want = fmt.Sprintf("qmHandle: the queue is locked by backup, process %d\n", pid)
		}
		if _, errs, status := s.run("", "qmHandle", "-D"); status != 1 || !strings.HasPrefix(errs, want) {
			t.Errorf("status %d, %s; want %s", status, errs, want)
		}
		end()
	}
}

// waitAtMost sets what is waited for qmail-send, for one test.
func waitAtMost(t *testing.T, toStop, toStart time.Duration) {
	stop, start := stopWait, startWait
	stopWait, startWait = toStop, toStart
	t.Cleanup(func() { stopWait, startWait = stop, start })
}

// sending returns the process that stands for qmail-send.
func (s *sendTest) sending() int {
	s.t.Helper()
	text, err := os.ReadFile(s.dir + "/pid")
	must(s.t, err)
	pid, err := strconv.Atoi(string(text))
	must(s.t, err)
	return pid
}

// TestStopFails proves that where QMAIL_STOP fails and qmail-send goes on, nothing
// is touched; that it is said, and that it may end later; and that where nothing was
// run nothing is waited for or started.
func TestStopFails(t *testing.T) {
	waitAtMost(t, 200*time.Millisecond, 200*time.Millisecond)
	s := newSendTest(t)
	n := s.mail()
	s.start()
	before := s.tree()
	s.script("stop", "exit 3")
	_, errs, status := s.run("", "qmHandle", "-D")
	want := fmt.Sprintf("qmHandle: QMAIL_STOP: %s/stop: exit status 3\n"+
		"qmHandle: waiting up to 200ms for qmail-send, process %d, to end\n"+
		"qmHandle: qmail-send, process %[2]d, has not ended yet: if it does, see that it runs again\n"+
		"qmHandle: QMAIL_STOP: qmail-send is running after 200ms\n", s.dir, s.sending())
	if status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	compare(t, "exit 3", s.tree(), before)
	s.wait("start")
	s.wantPieces(n, whole...)
	if !s.runs() {
		t.Error("qmail-send does not run")
	}

	s = newSendTest(t)
	s.mail()
	s.start()
	before = s.tree()
	s.configure("QMAIL_STOP=/nonexistent/stop now", "QMAIL_START="+s.dir+"/start")
	if out, errs, status := s.run("", "qmHandle", "-D"); status != 1 || !strings.Contains(errs, "qmHandle: QMAIL_STOP: /nonexistent/stop now: ") || strings.Contains(out, "estart") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	compare(t, "/nonexistent/stop", s.tree(), before)
	s.happened()
}

// TestStopTimesOut proves that where QMAIL_STOP gives up while qmail-send is still
// ending, as sv(8) does, it is started when it has ended and not before, so that it
// runs afterwards; that the messages go, and that the failure is status 1: by
// QMAIL_STARTs of which one would start nothing while the other still runs.
func TestStopTimesOut(t *testing.T) {
	for _, start := range []string{"", "flock -n queue/lock/sendmutex true || exit 9"} {
		s := newSendTest(t)
		n := s.mail()
		s.start()
		release := s.hold()
		s.script("stop", `kill -TERM "$(cat "$dir/pid")"; exit 1`)
		text, err := os.ReadFile(s.dir + "/start")
		must(t, err)
		s.script("start", "cd "+s.dir+"\n"+start+"\n"+string(text))
		cmd := s.command("-falice@a.example")
		var out bytes.Buffer
		cmd.Stdout = &out
		stderr, err := cmd.StderrPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewReader(stderr)
		for _, want := range []string{
			fmt.Sprintf("qmHandle: QMAIL_STOP: %s/stop: exit status 1\n", s.dir),
			fmt.Sprintf("qmHandle: waiting up to 30m0s for qmail-send, process %d, to end\n", s.sending()),
		} {
			if line, err := lines.ReadString('\n'); err != nil || line != want {
				t.Errorf("%q, %v; want %q", line, err, want)
			}
		}
		s.wait("TERM")
		release()
		rest, err := io.ReadAll(lines)
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%v", err)
		}
		if err != nil || len(rest) > 0 || !strings.HasSuffix(out.String(), "Restarting qmail... done (hopefully).\n") {
			t.Errorf("%s%s, %v", out.String(), rest, err)
		}
		s.wait("up")
		if i := slices.Index(s.seen, "start"); i < slices.Index(s.seen, "down") {
			t.Errorf("happened: %q", s.seen)
		}
		s.wantPieces(n)
		if !s.runs() {
			t.Error("qmail-send does not run")
		}
	}
}

// TestRestartedAtOnce proves that a supervisor that starts qmail-send again at once
// is an error without a long wait, that nothing is touched, and that qmail-send is
// not started once more.
func TestRestartedAtOnce(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	before := s.tree()
	// The next one waits for the lock before the first lets it go.
	s.script("stop", `"$dir/start"; `+untilWaited+`; kill -TERM "$(cat "$dir/pid")"`)
	out, errs, status := s.run("", "qmHandle", "-D")
	if want := fmt.Sprintf("qmHandle: QMAIL_STOP: %s/stop: qmail-send ended, and process %d runs in its place: the command must keep it down\n", s.dir, s.sending()); status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	if !strings.HasSuffix(out, "Qmail is already running again, so it won't be restarted.\n") {
		t.Errorf("%s", out)
	}
	compare(t, "after that", s.tree(), before)
	s.wantPieces(n, whole...)
	if strings.Count(strings.Join(s.seen, " "), "start") > 1 || !s.runs() {
		t.Errorf("happened: %q; qmail-send runs: %v", s.seen, s.runs())
	}
}

// TestStartsNobody proves that a QMAIL_START that reports success, after which nobody
// has the lock, or another program has it, is an error, and is not called done.
func TestStartsNobody(t *testing.T) {
	waitAtMost(t, stopWait, 300*time.Millisecond)
	s := newSendTest(t)
	s.mail()
	s.start()
	s.script("start", "exit 0")
	out, errs, status := s.run("", "qmHandle", "-D")
	if want := "qmHandle: QMAIL_START: " + s.dir + "/start: qmail-send does not run 300ms later\n"; status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	if strings.Contains(out, "hopefully") {
		t.Errorf("%s", out)
	}
}

// untilWaited waits, in a script, until somebody waits for the lock: proc_locks(5).
const untilWaited = `ino=$(stat -Lc %i "$dir/queue/lock/sendmutex")
	until grep -q -e "-> FLOCK.*:$ino " /proc/locks; do sleep 0.02; done`

// TestBackup proves that a program that gets the lock before qmHandle, or while that
// has it waits for it and gets it before qmail-send is started, is waited for, since
// qmail-send could not start; and that in the second case that is said.
func TestBackup(t *testing.T) {
	for _, after := range []bool{false, true} {
		s := newSendTest(t)
		for range 800 { // what is said of them is more than the pipe and the buffer hold
			s.mail()
		}
		s.start()
		must(t, unix.Mkfifo(s.dir+"/backup", 0o600))
		flock, err := exec.LookPath("flock")
		must(t, err)
		must(t, os.Symlink(flock, s.dir+"/tar"))
		s.script("backup-begins", `"$dir/tar" "$dir/queue/lock/sendmutex" sh -c 'echo locked >"$1/events"; read x <"$1/backup"' - "$dir" </dev/null >/dev/null 2>&1 &
			`+untilWaited)
		if !after {
			must(t, os.Symlink("backup-begins", s.dir+"/at-end"))
		}
		cmd := s.command("-D")
		out := slowReader(t, cmd)
		stderr, err := cmd.StderrPipe()
		must(t, err)
		must(t, cmd.Start())
		if after {
			lines := untilSlotted(t, out) // it has the lock
			must(t, exec.Command(s.dir+"/backup-begins").Run())
			go io.Copy(io.Discard, lines)
		} else {
			go io.Copy(io.Discard, out)
		}
		s.wait("locked")
		errs := bufio.NewReader(stderr)
		if after {
			if line, err := errs.ReadString('\n'); err != nil || !strings.HasPrefix(line, "qmHandle: waiting up to 30m0s for tar, process ") ||
				!strings.HasSuffix(line, ", to unlock the queue, to start qmail-send again\n") {
				t.Errorf("%q, %v", line, err)
			}
		}
		if slices.Contains(s.seen, "start") {
			t.Errorf("happened: %q", s.seen)
		}
		f, err := os.OpenFile(s.dir+"/backup", os.O_WRONLY, 0)
		must(t, err)
		f.Close()
		if rest, err := io.ReadAll(errs); err != nil || len(rest) > 0 {
			t.Errorf("%s, %v", rest, err)
		}
		must(t, cmd.Wait())
		s.wait("up")
		if left := s.files(); len(left) > 0 || !s.runs() {
			t.Errorf("%d files are left, qmail-send runs: %v", len(left), s.runs())
		}
	}
}

// TestStopTooSlow proves that a qmail-send that does not end in time is an
// error, that nothing is removed then, and that it is started for when it ends.
func TestStopTooSlow(t *testing.T) {
	waitAtMost(t, 200*time.Millisecond, 200*time.Millisecond)
	s := newSendTest(t)
	n := s.mail()
	s.start()
	release := s.hold()
	_, errs, status := s.run("", "qmHandle", "-D")
	want := fmt.Sprintf("qmHandle: qmail-send, process %d, has not ended yet: if it does, see that it runs again\nqmHandle: QMAIL_STOP: qmail-send is running after 200ms\n", s.sending())
	if status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	s.wantPieces(n, whole...)
	s.wait("start")
	release()
	s.wait("up")
	s.happened("stop", "TERM", "start", "down", "up")
}

// TestStartFails proves that a QMAIL_START that fails is said, with status 1.
func TestStartFails(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	s.script("start", "exit 7")
	_, errs, status := s.run("", "qmHandle", "-D")
	if want := "qmHandle: QMAIL_START: " + s.dir + "/start: exit status 7\n"; status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	s.wantPieces(n)
}

// TestStartAfterErrors proves that qmail-send is started again after an error in
// the middle of a removal, and after one before its begin.
func TestStartAfterErrors(t *testing.T) {
	for name, spoil := range map[string]func(s *sendTest, n uint64) (args []string, why string){
		"a file that cannot be removed": func(s *sendTest, n uint64) ([]string, string) {
			must(s.t, os.Remove(s.Path("local", n)))
			must(s.t, os.Mkdir(s.Path("local", n), 0o755))
			return []string{fmt.Sprintf("-d%d", n), "-falice@a.example"}, "is a directory"
		},
		"a number that is no inode": func(s *sendTest, n uint64) ([]string, string) {
			text, err := os.ReadFile(s.Path("mess", n))
			must(s.t, err)
			must(s.t, os.WriteFile(s.Path("mess", n)+"x", text, 0o644))
			must(s.t, os.Rename(s.Path("mess", n)+"x", s.Path("mess", n)))
			return []string{"-D"}, "queue was copied"
		},
		"a file that is saved already": func(s *sendTest, n uint64) ([]string, string) {
			dir := s.t.TempDir()
			must(s.t, os.WriteFile(fmt.Sprintf("%s/%d.json", dir, n), nil, 0o600))
			return []string{"-D", "--save", dir}, "file exists"
		},
		"a file that belongs nowhere": func(s *sendTest, n uint64) ([]string, string) {
			must(s.t, os.WriteFile(s.Dir+"/info/1/3", nil, 0o600))
			return []string{"-D"}, "wrong sub-directory"
		},
	} {
		s := newSendTest(t)
		n := s.mail()
		good := s.mail()
		s.start()
		args, why := spoil(s, n)
		_, errs, status := s.run("", append([]string{"qmHandle"}, args...)...)
		if status != 1 || !strings.Contains(errs, why) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %s", name, status, errs)
		}
		s.wait("up")
		s.happened("stop", "TERM", "down", "start", "up")
		if (s.pieces(n) == nil) != (why == "wrong sub-directory") || s.pieces(good) != nil {
			t.Errorf("%s: left are %q and %q", name, s.pieces(n), s.pieces(good))
		}
	}
}

// TestListAfterStop proves that what goes is judged by what is there after
// qmail-send has ended: its last work was to finish one message of alice's,
// whose number went to a message of bob's, and another of hers has come.
func TestListAfterStop(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	later := s.add(queuetest.Message{Sender: "bob@b.example", Remote: []string{"Tx@b.example"}})
	s.start()
	// The same inode, so the same number.
	s.script("at-end", fmt.Sprintf(`rm '%s' '%s' '%s' '%s'
		echo "bob's own text" >'%s'
		printf 'Fbob@b.example\0' >'%s'; printf 'Ty@b.example\0' >'%s'
		printf 'Falice@a.example\0' >'%s'`,
		s.Path("bounce", n), s.Path("local", n), s.Path("remote", n), s.Path("info", n),
		s.Path("mess", n), s.Path("info", n), s.Path("remote", n), s.Path("info", later)))
	out := s.ok("qmHandle", "-falice@a.example", "-balice")
	s.wait("up")
	if got := slotted(t, out); !slices.Equal(got, []uint64{later}) {
		t.Errorf("%v went; want %d, not %d", got, later, n)
	}
	s.wantPieces(n, "remote", "info", "mess")
	s.wantPieces(later)
	if text, err := os.ReadFile(s.Path("mess", n)); err != nil || string(text) != "bob's own text\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// slowReader gives a command a pipe for its output that holds no more than 4 kB.
func slowReader(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	must(t, err)
	cmd.Stdout = w
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

// untilStuck starts the command and waits until it sleeps in a write into a
// pipe.
func untilStuck(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Start())
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", cmd.Process.Pid))
		must(t, err)
		for _, thread := range threads {
			if where, _ := os.ReadFile(thread); strings.HasSuffix(string(where), "pipe_write") {
				return
			}
		}
	}
	t.Skip("the kernel does not tell where a process sleeps")
}

// untilSlotted reads what qmHandle says until it removes a message.
func untilSlotted(t *testing.T, out io.Reader) *bufio.Reader {
	t.Helper()
	lines := bufio.NewReader(out)
	for line := ""; !strings.HasSuffix(line, "slotted for deletion\n"); {
		var err error
		line, err = lines.ReadString('\n')
		must(t, err)
	}
	return lines
}

// TestSignalWhileRemoving proves that a signal ends a removal after the message
// at hand, that qmail-send runs again, and that the process dies by the signal
// and says how many are gone.
func TestSignalWhileRemoving(t *testing.T) {
	tries := 0
	for todo := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}; len(todo) > 0; todo = todo[1:] {
		sig := todo[0]
		s := newSendTest(t)
		const messages = 800 // what is said of them is more than the pipe and the buffer hold
		var all []uint64
		for range messages {
			all = append(all, s.add(queuetest.Message{Remote: []string{"Tx@b.example"}}))
		}
		s.start()
		cmd := s.command("-D", "-s")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out := slowReader(t, cmd)
		must(t, cmd.Start())
		lines := untilSlotted(t, out)
		must(t, cmd.Process.Signal(sig))
		go io.Copy(io.Discard, lines)
		if err := cmd.Wait(); err == nil && tries < 5 {
			tries++
			todo = append(todo, sig) // it was faster than the signal
			continue
		}
		killedBy(t, cmd, sig)
		gone := 0
		for _, n := range all {
			switch got := strings.Join(s.pieces(n), " "); got {
			case "":
				gone++
			case "remote info mess":
			default:
				t.Errorf("%d: %s", n, got)
			}
		}
		if want := fmt.Sprintf("qmHandle: stopped by %v, %d messages removed\n", sig, gone); errs.String() != want || gone == 0 || gone == messages {
			t.Errorf("%q; want %q", errs.String(), want)
		}
		s.wait("up")
		s.happened("stop", "TERM", "down", "start", "up")
	}
}

// TestSignalWhileWaiting proves that a signal that comes while qmail-send has
// not yet ended removes nothing and leaves no mail system that is down: it is
// started when it has ended.
func TestSignalWhileWaiting(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		s := newSendTest(t)
		n := s.mail()
		s.start()
		release := s.hold()
		cmd := s.command("-D")
		stderr, err := cmd.StderrPipe()
		must(t, err)
		must(t, cmd.Start())
		s.wait("TERM")
		must(t, cmd.Process.Signal(sig))
		lines := bufio.NewReader(stderr)
		if line, err := lines.ReadString('\n'); err != nil || line != "qmHandle: waiting for qmail-send to end, to start it again\n" {
			t.Errorf("%q, %v", line, err)
		}
		release()
		rest, err := io.ReadAll(lines)
		if want := fmt.Sprintf("qmHandle: stopped by %v, 0 messages removed\n", sig); string(rest) != want || err != nil {
			t.Errorf("%q, %v; want %q", rest, err, want)
		}
		cmd.Wait()
		killedBy(t, cmd, sig)
		s.wantPieces(n, whole...)
		s.wait("up")
		s.happened("stop", "TERM", "down", "start", "up")
	}
}

// secondSignalTo sends a signal until the process has ended.
func secondSignalTo(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for deadline := time.After(patience); ; {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			killedBy(t, cmd, syscall.SIGTERM)
			return
		case <-time.After(300 * time.Millisecond):
		case <-deadline:
			cmd.Process.Kill()
			<-ended
			t.Fatal("it does not end")
		}
	}
}

// TestSecondSignalWhileStuck proves that a run whose output nobody takes can
// be ended by a second signal, and that qmail-send runs again then: whether it is
// stuck while it removes, or in the last it says before it starts qmail-send.
func TestSecondSignalWhileStuck(t *testing.T) {
	for name, messages := range map[string]int{"removing": 800, "restarting": 250} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSendTest(t)
			for range messages {
				s.add(queuetest.Message{Remote: []string{"Tx@b.example"}})
			}
			s.start()
			cmd := s.command("-D")
			slowReader(t, cmd)
			untilStuck(t, cmd)
			if gone := len(s.files()) == 0; gone != (name == "restarting") {
				t.Errorf("all gone: %v", gone)
			}
			secondSignalTo(t, cmd)
			s.wait("up")
			s.happened("stop", "TERM", "down", "start", "up")
		})
	}
	t.Run("waiting", func(t *testing.T) {
		t.Parallel()
		s := newSendTest(t)
		n := s.mail()
		s.start()
		release := s.hold()
		cmd := s.command("-D")
		must(t, cmd.Start())
		s.wait("TERM")
		secondSignalTo(t, cmd)
		s.wantPieces(n, whole...)
		s.wait("start")
		release()
		s.wait("up")
		s.happened("stop", "TERM", "start", "down", "up")
	})
}

// TestStartWithClosedOutput proves that a QMAIL_START that prints something is
// not killed by that where standard output is a pipe that nobody reads any more.
func TestStartWithClosedOutput(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	text, err := os.ReadFile(s.dir + "/start")
	must(t, err)
	must(t, os.WriteFile(s.dir+"/start", bytes.Replace(text, []byte("ls -l"), []byte("echo Starting qmail; ls -l"), 1), 0o755))
	r, w, err := os.Pipe()
	must(t, err)
	r.Close()
	errs, status := s.runTo(w, "", "qmHandle", fmt.Sprintf("-d%d", n))
	if status != 1 || errs != "qmHandle: standard output: broken pipe\n" {
		t.Errorf("status %d, %s", status, errs)
	}
	s.wait("up")
	s.wantPieces(n)
}

// TestStartedMeanwhile proves that a qmail-send that something else starts while
// messages are removed waits for their end, and is what runs afterwards.
func TestStartedMeanwhile(t *testing.T) {
	s := newSendTest(t)
	for range 800 {
		s.add(queuetest.Message{Remote: []string{"Tx@b.example"}})
	}
	s.start()
	cmd := s.command("-D")
	out := slowReader(t, cmd)
	must(t, cmd.Start())
	lines := untilSlotted(t, out) // it has the lock
	must(t, exec.Command(s.dir+"/start").Run())
	go io.Copy(io.Discard, lines)
	must(t, cmd.Wait())
	s.wait("up")
	if left := s.files(); len(left) > 0 || !s.runs() {
		t.Errorf("%d files are left, qmail-send runs: %v", len(left), s.runs())
	}
}

// TestAlarm proves that -a is one ALRM to qmail-send, after it was started again
// where messages were removed, and an error where none runs.
func TestAlarm(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	_, errs, status := s.run("", "qmHandle", "-a")
	if status != 1 || errs != "qmHandle: cannot send ALRM: qmail-send is not running\n" {
		t.Errorf("status %d, %s", status, errs)
	}
	s.start()
	s.ok("qmHandle", "-a")
	s.wait("ALRM")
	s.happened("ALRM")
	s.ok("qmHandle", "-a", fmt.Sprintf("-d%d", n), "-s")
	s.wait("ALRM")
	s.happened("stop", "TERM", "down", "start", "up", "ALRM")
	s.wantPieces(n)
	s.ok("qmHandle", "-a", "--dry-run")
	s.happened()
}

// TestLive proves that --live marks every recipient as done and takes the bounce
// away, while qmail-send runs and stays, and that ALRM is sent once, for --alrm,
// and only where something was marked.
func TestLive(t *testing.T) {
	s := newSendTest(t)
	a, b, c := s.mail(), s.mail(), s.mail()
	queued := s.add(queuetest.Message{State: "S4", Sender: "alice@a.example", Remote: []string{"Tx@b.example"}})
	before := s.tree()
	for _, argv := range [][]string{{"qmHandle", "--live", "--alrm", "-D"}, {"qqclean", "--live", "--alrm", strconv.FormatUint(a, 10)}} {
		_, errs, status := s.run("", argv...)
		if status != 1 || errs != argv[0]+": qmail-send is not running: --live has nobody to remove the messages\n" {
			t.Errorf("%q: status %d, %s", argv, status, errs)
		}
	}
	compare(t, "without qmail-send", s.tree(), before)
	s.start()
	marked := func(n uint64, yes bool) {
		t.Helper()
		local, err := os.ReadFile(s.Path("local", n))
		must(t, err)
		remote, err := os.ReadFile(s.Path("remote", n))
		must(t, err)
		if text := string(local) + string(remote); yes != (text == "Dtaro\x00Dx@b.example\x00Dy@b.example\x00") {
			t.Errorf("%d: %q", n, text)
		}
		want := []string{"local", "remote", "info", "mess"}
		if !yes {
			want = whole
		}
		s.wantPieces(n, want...)
	}
	out := s.ok("qmHandle", "--live", fmt.Sprintf("-d%d", a))
	if !strings.Contains(out, "Marked 1 messages as done\n") || strings.Contains(out, "Qmail") {
		t.Errorf("%s", out)
	}
	marked(a, true)
	marked(b, false)
	s.happened()
	s.ok("qqclean", "--live", "--alrm", strconv.FormatUint(b, 10))
	marked(b, true)
	s.wait("ALRM")
	s.happened("ALRM")
	// S4, and what is not there; the rest is done.
	_, errs, status := s.run("", "qmHandle", "--live", "--alrm", fmt.Sprintf("-d%d", queued), fmt.Sprintf("-d%d", c), "-d5")
	if want := fmt.Sprintf("qmHandle: %d: not yet preprocessed: --live cannot remove it\nqmHandle: 5: not in the queue\n", queued); status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	marked(c, true)
	s.wait("ALRM")
	s.happened("ALRM")
	s.wantPieces(queued, "intd", "todo", "mess")
	_, errs, status = s.run("", "qqclean", "--live", "--alrm", strconv.FormatUint(queued, 10))
	if want := fmt.Sprintf("qqclean: %d: not yet preprocessed: --live cannot remove it\n", queued); status != 1 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
	s.ok("qmHandle", "--live", "--alrm", "--dry-run", fmt.Sprintf("-d%d", c))
	s.ok("qmHandle", "--live", "--alrm", "-fnobody@a.example")
	s.happened()
	if !s.runs() {
		t.Error("qmail-send does not run")
	}
}
