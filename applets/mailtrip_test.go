package applets

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// A tripTree is what a test of mailtrip needs: homes, and a sendmail that is a shell
// script.
type tripTree struct {
	t   *testing.T
	dir string
	bin string
}

// newTripTree makes one with the Maildirs hoshu and me. The script runs in the directory
// with the message as the file message, TO and FROM set; deliver HOME takes standard
// input.
func newTripTree(t *testing.T, script string) *tripTree {
	t.Helper()
	tr := &tripTree{t: t, dir: t.TempDir(), bin: staticBinary(t)}
	openParents(t, tr.dir)
	makeMaildirs(t, tr.dir+"/hoshu/Maildir", tr.dir+"/me/Maildir")
	must(t, os.MkdirAll(tr.dir+"/qmail/control", 0o755))
	for name, text := range map[string]string{
		"qmail/control/me": "mail.example.jp\n",
		"kowaza.conf":      "SENDMAIL=" + tr.dir + "/sendmail\nQMAIL=" + tr.dir + "/qmail\nJMAIL_FROM=me\nJMAIL_TO=hoshu\n",
		"sendmail": `#!/bin/sh
set -eu
cd ` + tr.dir + `
cat >message
TO=$(sed -n 's/^To: //p' message) FROM=$4
deliver() {
	cat >"$1/Maildir/tmp/$$"
	mv "$1/Maildir/tmp/$$" "$1/Maildir/new/"
}
` + script,
	} {
		must(t, os.WriteFile(tr.dir+"/"+name, []byte(text), 0o644))
	}
	must(t, os.Chmod(tr.dir+"/sendmail", 0o755))
	return tr
}

// command returns mailtrip with the Maildirs hoshu and me, and what else is given.
func (tr *tripTree) command(args ...string) *exec.Cmd {
	cmd := exec.Command(tr.bin+"/mailtrip", append([]string{"-m", tr.dir + "/hoshu", "-b", tr.dir + "/me"}, args...)...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+tr.dir+"/kowaza.conf")
	return cmd
}

// run runs mailtrip to its end, which must have that status.
func (tr *tripTree) run(status int, args ...string) ending {
	tr.t.Helper()
	e := runEnd(tr.t, tr.command(args...))
	if e.status != status || e.late || e.crashed() {
		tr.t.Errorf("mailtrip %q: status %d, signal %v, late %v; want %d\n%s%s", args, e.status, e.signal, e.late, status, e.stdout, e.stderr)
	}
	return e
}

// queue makes qmail's queue, whose lock somebody holds as qmail-send does.
func (tr *tripTree) queue() *queuetest.Queue {
	tr.t.Helper()
	q, err := queuetest.Make(tr.dir+"/qmail/queue", queuetest.Layout{Split: 23})
	must(tr.t, err)
	lock, err := os.OpenFile(q.Dir+"/lock/sendmutex", os.O_WRONLY, 0)
	must(tr.t, err)
	tr.t.Cleanup(func() { lock.Close() })
	must(tr.t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	return q
}

// contains checks what was printed.
func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is not in\n%s", what, w, text)
		}
	}
}

// TestTripQueue proves that a message which is in qmail's queue is told from one that is
// lost, a report that cannot be delivered likewise; that remote waits until the message
// has left the queue, and sees the bounce that then comes; and that where qmail-send
// does not run nothing is concluded from a message that is not there.
func TestTripQueue(t *testing.T) {
	needRoot(t)
	t.Parallel()
	const put = `mkdir -p qmail/queue/mess/4
inode() { cat >qmail/queue/mess/4/new; n=$(stat -c %i qmail/queue/mess/4/new); mv qmail/queue/mess/4/new qmail/queue/mess/4/$n; }
`
	const bounced = `{ printf 'Return-Path: <>\n\nHi. This is the qmail-send program.\n\n<%s>:\nno (#5.0.0)\n\n--- copy\n\n' "$TO"; cat message; }`
	t.Run("queued", func(t *testing.T) {
		t.Parallel()
		tr := newTripTree(t, put+"inode <message\n")
		tr.queue()
		e := tr.run(1, "-w", "1")
		contains(t, "in the queue", e.stderr, "mailtrip: local: queued after 1 second: message #", " in qmail's queue\n")
	})
	t.Run("report", func(t *testing.T) {
		t.Parallel()
		tr := newTripTree(t, put+bounced+" | inode\n")
		tr.queue()
		e := tr.run(1, "-w", "1", "bounce")
		contains(t, "its bounce in the queue", e.stdout, "bounce  queued ", " report #", " in qmail's queue\n")
	})
	t.Run("lost", func(t *testing.T) {
		t.Parallel()
		tr := newTripTree(t, "")
		tr.queue()
		e := tr.run(1, "-w", "1")
		contains(t, "in no queue", e.stderr, "mailtrip: local: lost after 1 second: nothing in "+tr.dir+"/hoshu/Maildir and nothing in qmail's queue\n")
		must(t, os.Remove(tr.dir+"/qmail/queue/lock/sendmutex"))
		must(t, os.WriteFile(tr.dir+"/qmail/queue/lock/sendmutex", nil, 0o600))
		e = tr.run(1, "-w", "1")
		contains(t, "qmail-send does not run", e.stderr, "mailtrip: local: not found within 1 second: nothing in "+tr.dir+"/hoshu/Maildir\n")
		e = tr.run(0, "-t", "you@example.net", "remote")
		contains(t, "qmail-send does not run", e.stdout, "remote  injected ")
	})
	t.Run("remote", func(t *testing.T) {
		t.Parallel()
		tr := newTripTree(t, put+"inode <message\n")
		tr.queue()
		e := tr.run(1, "-w", "1", "-t", "you@example.net", "remote")
		contains(t, "in the queue", e.stdout, "remote  queued ")
		tr = newTripTree(t, put+"inode <message\n(sleep 0.5; rm qmail/queue/mess/4/$n) >/dev/null 2>&1 &\n")
		tr.queue()
		e = tr.run(0, "-t", "you@example.net", "remote")
		contains(t, "has left the queue", e.stdout, "remote  sent ", "left the queue, and no bounce came")
		tr = newTripTree(t, put+"inode <message\n(sleep 0.5; rm qmail/queue/mess/4/$n; sleep 1; "+bounced+" | deliver me) >/dev/null 2>&1 &\n")
		tr.queue()
		e = tr.run(1, "-t", "you@example.net", "remote")
		contains(t, "bounced", e.stdout, "remote  bounced ", " #5.0.0 no\n")
	})
}

// TestTripSignal proves that a signal ends a wait at once: by that signal, with what is
// known by then on standard output and how much that is in a message.
func TestTripSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		tr := newTripTree(t, `case $TO in hoshu@*) deliver hoshu <message ;; *) : >injected ;; esac`)
		cmd := tr.command("-w", "3600", "local", "bounce")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		line := make([]byte, 200)
		n, err := out.Read(line)
		must(t, err)
		contains(t, "printed before the end", string(line[:n]), "local   delivered ")
		for deadline := time.Now().Add(patience); !exists(tr.dir+"/injected") && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		must(t, cmd.Process.Signal(sig))
		err = cmd.Wait()
		st := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !st.Signaled() || st.Signal() != sig {
			t.Errorf("%v: ended with %v", sig, err)
		}
		if want := fmt.Sprintf("mailtrip: stopped by %v, 1 of 2 tests known\n", sig); stderr.String() != want {
			t.Errorf("%v: %q; want %q", sig, stderr.String(), want)
		}
	}
}

// TestTripOwner proves that root reads a Maildir as its owner could: what he may not
// read is not read, and that is said; and that -d as root removes what the owner could.
func TestTripOwner(t *testing.T) {
	needRoot(t)
	tr := newTripTree(t, `case $(cat mode) in
closed) umask 077; deliver hoshu <message ;;
*) deliver hoshu <message ;;
esac`)
	giveTo(t, victim, tr.dir+"/hoshu")
	must(t, os.WriteFile(tr.dir+"/mode", []byte("closed"), 0o644))
	e := tr.run(1, "-w", "1")
	contains(t, "unreadable", e.stderr, "mailtrip: local: not found within 1 second: nothing in "+tr.dir+"/hoshu/Maildir, where not all could be read: ", ": permission denied\n")
	must(t, os.WriteFile(tr.dir+"/mode", []byte("open"), 0o644))
	must(t, os.Chmod(tr.dir+"/hoshu/Maildir/new", 0o500))
	e = tr.run(1, "-d")
	contains(t, "not removable", e.stdout, "local   delivered ")
	contains(t, "not removable", e.stderr, ": permission denied\n")
	must(t, os.Chmod(tr.dir+"/hoshu/Maildir/new", 0o700))
	if e = tr.run(0, "-d"); e.stderr != "" {
		t.Error(e.stderr)
	}
	left, err := os.ReadDir(tr.dir + "/hoshu/Maildir/new")
	if err != nil || len(left) != 2 {
		t.Errorf("%d messages are left, %v; want 2", len(left), err)
	}
}

// TestTripHostileReport proves that nothing in a report commands a terminal, breaks a
// line or a bar of Nagios', or grows beyond its share, in any way of output.
func TestTripHostileReport(t *testing.T) {
	tr := newTripTree(t, `{ printf 'Return-Path: <>\n\nHi. This is the qmail-send program.\n\n<a\033[2Jb>:\n\233|\007 %s (#5.1.1)\n\n--- copy\n\n' "$(printf %09999d 1)"; cat message; } | deliver me`)
	for _, args := range [][]string{nil, {"--json"}, {"--nagios"}} {
		e := runEnd(t, tr.command(append(args, "local")...))
		for _, text := range []string{e.stdout, e.stderr} {
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0xfffd }) {
				t.Errorf("%q: %q", args, text)
			}
			if len(text) > 2000 || strings.Count(text, "\n") > 1 {
				t.Errorf("%q: %d bytes: %q", args, len(text), text)
			}
		}
		switch {
		case len(args) == 0:
			contains(t, "report", e.stdout, `<a\033[2Jb>: #5.1.1 \233|\007 000`)
		case args[0] == "--json":
			var j map[string]any
			if err := json.Unmarshal([]byte(e.stdout), &j); err != nil || j["address"] != `a`+"\x1b"+`[2Jb` {
				t.Errorf("%v: %s", err, e.stdout)
			}
		default:
			if e.status != 2 || strings.Count(e.stdout, "|") != 1 {
				t.Errorf("status %d: %s", e.status, e.stdout)
			}
		}
	}
}

// TestHostileTrip proves that a user who swaps his Maildir, its directories and
// messages, or what leads to them, with links to what is root's and another user's, as
// fast as he can while root runs mailtrip -d for him, makes root neither remove nor
// read anything there; and that messages of his own that are not of this run stay.
func TestHostileTrip(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	s := newSiege(t)
	// The sendmail delivers with the attacker's rights, wherever his names lead.
	sendmail := s.dir + "/sendmail"
	must(t, os.WriteFile(sendmail, []byte(fmt.Sprintf(`#!/bin/sh
cat >"$0.$$"
chmod 644 "$0.$$"
exec %s --reuid %d --regid %[2]d --clear-groups sh -c '
for i in 1 2 3 4 5 6 7 8 9 10; do
	cp "$1" "$2/Maildir/tmp/trip.$$" && mv "$2/Maildir/tmp/trip.$$" "$2/Maildir/new/" && break
done
exit 0' sh "$0.$$" %s 2>/dev/null
`, needCommand(t, "setpriv"), attacker, s.home)), 0o755))
	conf := s.dir + "/trip.conf"
	must(t, os.WriteFile(conf, []byte("SENDMAIL="+sendmail+"\nQMAIL="+s.dir+"/qmail\nJMAIL_FROM=me\nJMAIL_TO=hoshu\n"), 0o644))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := s.swappers(seed)
	const minRuns, minSwaps, minDelivered = 300, 100000, 3
	begin, stop := time.Now(), time.Now().Add(soakTime(t, 0))
	runs, statuses, outcomes := 0, map[int]int{}, map[string]int{}
	for ; runs < minRuns || s.swapped.Load() < minSwaps || outcomes["delivered"] < minDelivered || time.Now().Before(stop); runs++ {
		if time.Now().After(stop) && time.Since(begin) > 3*patience {
			t.Errorf("only %d runs and %d swaps", runs, s.swapped.Load())
			break
		}
		cmd := exec.Command(bin+"/mailtrip", "-d", "-w", "1", "-m", s.home, "-b", s.home)
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+conf)
		e := runEnd(t, cmd)
		statuses[e.status]++
		if f := strings.Fields(e.stdout); len(f) > 1 {
			outcomes[f[1]]++
		}
		if e.late || e.signal != 0 || e.crashed() || e.status > 1 {
			t.Errorf("status %d, signal %v, late %v\n%.2000s", e.status, e.signal, e.late, e.stderr)
		}
		if strings.Contains(e.stdout+e.stderr, s.dir+"/root/") || strings.Contains(e.stdout+e.stderr, s.dir+"/other/") {
			t.Errorf("tells what is elsewhere: %s%s", e.stdout, e.stderr)
		}
	}
	swaps, messages := end()
	gone, read := s.lost()
	own := 0
	must(t, filepath.Walk(s.home, func(file string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(file, ".m") {
			own++
		}
		return err
	}))
	if own != messages {
		t.Errorf("%d of his messages are left; want %d", own, messages)
	}
	t.Logf("%d swaps, %d runs (status: %v, outcomes: %v); outside %d lost, %d read of %d", swaps, runs, statuses, outcomes, len(gone), len(read), len(s.outside))
	if len(gone) > 0 || len(read) > 0 {
		t.Errorf("lost: %q; read: %q", gone, read)
	}
	if swaps < minSwaps || outcomes["delivered"] < minDelivered {
		t.Errorf("that was no attack")
	}
	for _, fd := range s.renamed {
		if own := fmt.Sprintf("/proc/self/fd/%d/", fd); !exists(own+"0.M1P1.mail") || !exists(own+"cur/0.M1P1.mail") {
			t.Error("what root had in the attacker's directory is gone")
		}
	}
}

// TestTripManyMessages proves that what lay in a Maildir before is not opened: not one
// of the old messages is read, whatever their number, while the new one, which a client
// has read already, is found and removed.
func TestTripManyMessages(t *testing.T) {
	needRoot(t)
	tr := newTripTree(t, `cat <message >hoshu/Maildir/tmp/$$; mv "hoshu/Maildir/tmp/$$" "hoshu/Maildir/cur/$$:2,S"`)
	must(t, unix.Mount("tmpfs", tr.dir+"/hoshu", "tmpfs", unix.MS_STRICTATIME|unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"))
	t.Cleanup(func() { unix.Unmount(tr.dir+"/hoshu", unix.MNT_DETACH) })
	makeMaildirs(t, tr.dir+"/hoshu/Maildir")
	for i := range 3000 {
		oldFile(t, fmt.Sprintf("%s/hoshu/Maildir/%s/%d.M1P1.mail", tr.dir, []string{"new", "cur"}[i%2], i), "Subject: old\n\n")
	}
	if e := tr.run(0, "-d"); e.stderr != "" {
		t.Error(e.stderr)
	}
	count := 0
	must(t, filepath.Walk(tr.dir+"/hoshu/Maildir", func(file string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			count++
			if st := info.Sys().(*syscall.Stat_t); time.Unix(st.Atim.Unix()) != ancient {
				t.Errorf("%s was read", file)
			}
		}
		return err
	}))
	if count != 3000 {
		t.Errorf("%d messages are left; want 3000", count)
	}
}

// TestTripFaults proves that whatever system call fails while mailtrip -d looks into a
// Maildir, or is interrupted, nothing else goes, and the status is 0 only if the message
// was found and removed; else there is a message.
func TestTripFaults(t *testing.T) {
	needRoot(t)
	strace := needCommand(t, "strace")
	tr := newTripTree(t, `deliver hoshu <message`)
	other := tr.dir + "/hoshu/Maildir/new/1.other"
	must(t, os.WriteFile(tr.dir+"/hoshu/Maildir/maildirsize", []byte("100000S\n0 0\n"), 0o644))
	must(t, os.WriteFile(other, []byte("text\n"), 0o644))
	giveTo(t, victim, tr.dir+"/hoshu")
	statuses := map[int]int{}
	for _, fault := range []string{"openat:EIO", "openat:EACCES", "openat:EINTR", "openat:ENOENT", "getdents64:EIO", "getdents64:EINTR", "fstat:EIO", "fstat:EINTR",
		"newfstatat:EIO", "newfstatat:EINTR", "newfstatat:ENOENT", "unlinkat:EIO", "unlinkat:EACCES", "unlinkat:EINTR", "pread64:EIO", "pread64:EINTR",
		"setfsuid:returns", "setfsgid:EPERM", "setgroups:EPERM", "pipe2:EMFILE", "poll:EINTR"} {
		call, failure, _ := strings.Cut(fault, ":")
		inject := call + ":error=" + failure
		if failure == "returns" {
			inject = call + ":retval=0"
		}
		for nth := 1; nth <= soaking(t, 4, 20); nth++ {
			cmd := tr.command("-d", "-w", "1")
			cmd.Args = append([]string{strace, "-f", "-b", "execve", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:when=%d", inject, nth)}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
			cmd.Path = strace
			e := runEnd(t, cmd)
			statuses[e.status]++
			what := fmt.Sprintf("%s, call %d", fault, nth)
			left, err := os.ReadDir(tr.dir + "/hoshu/Maildir/new")
			must(t, err)
			removed := len(left) == 1
			switch {
			case e.late || e.signal != 0 || e.crashed() || e.status > 1:
				t.Errorf("%s: status %d, signal %v, late %v\n%s", what, e.status, e.signal, e.late, e.stderr)
			case !exists(other):
				t.Fatalf("%s: somebody's message is gone\n%s%s", what, e.stdout, e.stderr)
			case e.status == 0 && (!removed || e.stderr != "" || !strings.HasPrefix(e.stdout, "local   delivered ")):
				t.Errorf("%s: status 0, %d left\n%s%s", what, len(left), e.stdout, e.stderr)
			case e.status == 1 && !strings.Contains(e.stderr, "mailtrip: "):
				t.Errorf("%s: status 1 and no message\n%s%s", what, e.stdout, e.stderr)
			case failure == "EINTR" && e.status != 0:
				t.Errorf("%s: an interruption is a failure\n%s%s", what, e.stdout, e.stderr)
			}
			for _, m := range left {
				if m.Name() != "1.other" {
					must(t, os.Remove(tr.dir+"/hoshu/Maildir/new/"+m.Name()))
				}
			}
		}
	}
	t.Logf("statuses: %v", statuses)
	if statuses[0] == 0 || statuses[1] < 20 {
		t.Errorf("that were no faults: %v", statuses)
	}
}

// TestTripHostileMailbox proves that no POP3 server keeps mailtrip beyond its time, or
// makes it take what it says for more than it is: a number of messages that cannot be,
// lists and texts without end, a connection that ends anywhere, a QUIT that is refused
// after a DELE. Each is told.
func TestTripHostileMailbox(t *testing.T) {
	tr := newTripTree(t, "cat message >mailbox")
	endless := func(w *bufio.Writer, line string) {
		for w.Flush() == nil {
			w.WriteString(line)
		}
	}
	for name, test := range map[string]struct {
		answer func(w *bufio.Writer, verb string) bool // false: as an honest server
		want   string                                  // in what is said
	}{
		"honest": {func(*bufio.Writer, string) bool { return false }, ""},
		"a number that cannot be": {func(w *bufio.Writer, verb string) bool {
			if verb == "STAT" {
				w.WriteString("+OK 99999999999999999999 1\r\n")
			}
			return verb == "STAT"
		}, "STAT: no number of messages"},
		"more messages than there are": {func(w *bufio.Writer, verb string) bool {
			if verb == "STAT" && exists(tr.dir+"/mailbox") {
				w.WriteString("+OK 9223372036854775807 1\r\n")
			}
			return verb == "STAT" && exists(tr.dir+"/mailbox")
		}, "-ERR no such message"},
		"names without end": {func(w *bufio.Writer, verb string) bool {
			if verb == "UIDL" {
				w.WriteString("+OK\r\n")
				endless(w, "1 x\r\n")
			}
			return verb == "UIDL"
		}, "not done within 2 seconds"},
		"a text without end": {func(w *bufio.Writer, verb string) bool {
			if verb == "TOP" {
				w.WriteString("+OK\r\n")
				endless(w, strings.Repeat("x", 1000))
			}
			return verb == "TOP"
		}, "not done within 2 seconds"},
		"the end in a text": {func(w *bufio.Writer, verb string) bool {
			if verb == "TOP" {
				w.WriteString("+OK\r\nSubject: x\r\n")
				w.Flush()
				panic(io.EOF)
			}
			return false
		}, "the server closed the connection"},
		"DELE is refused": {func(w *bufio.Writer, verb string) bool {
			if verb == "DELE" {
				w.WriteString("-ERR read-only\r\n")
			}
			return verb == "DELE"
		}, "-ERR read-only"},
		"QUIT is refused": {func(w *bufio.Writer, verb string) bool {
			if verb == "QUIT" && exists(tr.dir+"/deleted") {
				w.WriteString("-ERR some deleted messages not removed\r\n")
				return true
			}
			return false
		}, "not known whether it was removed: quit: -ERR some deleted"},
	} {
		os.Remove(tr.dir + "/mailbox")
		os.Remove(tr.dir + "/deleted")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go servePOP3(conn, tr.dir, test.answer)
			}
		}()
		must(t, os.WriteFile(tr.dir+"/password", []byte("passwd\n"), 0o600))
		cmd := exec.Command(tr.bin+"/mailtrip", "-d", "-w", "3", "-T", "2", "-p", "pop3://"+l.Addr().String(), "-u", "hanako", "-P", tr.dir+"/password")
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+tr.dir+"/kowaza.conf")
		e := runEnd(t, cmd)
		l.Close()
		switch {
		case e.late || e.signal != 0 || e.crashed():
			t.Errorf("%s: signal %v, late %v\n%s", name, e.signal, e.late, e.stderr)
		case name == "honest" && (e.status != 0 || e.stderr != "" || !exists(tr.dir+"/deleted")):
			t.Errorf("%s: status %d\n%s%s", name, e.status, e.stdout, e.stderr)
		case name != "honest" && (e.status != 1 || !strings.Contains(e.stderr, test.want)):
			t.Errorf("%s: status %d; want %q in\n%s%s", name, e.status, test.want, e.stdout, e.stderr)
		}
	}
}

// servePOP3 is a POP3 server whose mailbox is the file mailbox in dir, if that is there,
// and that answers otherwise where answer does.
func servePOP3(conn net.Conn, dir string, answer func(w *bufio.Writer, verb string) bool) {
	defer conn.Close()
	defer func() { recover() }() // the end of the connection
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	w.WriteString("+OK\r\n")
	for w.Flush() == nil {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		text, err := os.ReadFile(dir + "/mailbox")
		n := 1
		if err != nil {
			n = 0
		}
		switch {
		case answer(w, verb):
		case verb == "STAT":
			fmt.Fprintf(w, "+OK %d 1\r\n", n)
		case verb == "UIDL" && n == 1:
			w.WriteString("+OK\r\n1 x\r\n.\r\n")
		case verb == "UIDL" || verb == "CAPA":
			w.WriteString("+OK\r\n.\r\n")
		case verb == "TOP" && strings.Contains(line, " 1 "):
			w.WriteString("+OK\r\n" + strings.ReplaceAll(string(text), "\n", "\r\n") + ".\r\n")
		case verb == "TOP":
			w.WriteString("-ERR no such message\r\n")
		case verb == "DELE":
			if err := os.WriteFile(dir+"/deleted", nil, 0o644); err != nil {
				panic(err)
			}
			w.WriteString("+OK\r\n")
		default:
			w.WriteString("+OK\r\n")
		}
		if verb == "QUIT" {
			w.Flush()
			return
		}
	}
}
