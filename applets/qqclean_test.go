package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestKillAtUnlink proves that a removal that is killed at any of its unlinks
// leaves a state of qmail's INTERNALS, the pieces gone being the first of the
// safe order; and that a second run removes the rest, or says what it waits for:
// what has only its text left may be a message that is just being received.
func TestKillAtUnlink(t *testing.T) {
	strace, bin := needCommand(t, "strace"), staticBinary(t)
	for name, test := range map[string]struct {
		message queuetest.Message
		order   string
		again   []string // what a second run says, by how many pieces are gone; "" is success
	}{
		"preprocessed": {
			queuetest.Message{Local: []string{"Ttaro"}, Remote: []string{"Tx@b.example"}, Suppl: [][]string{{"Tx@b.example"}}, Bounce: "no"},
			"bounce local remote suppl0 info mess",
			[]string{"", "", "", "", "", "half received, not yet 36 hours old", "not in the queue"},
		},
		"queued": {
			queuetest.Message{State: "S4", Remote: []string{"Tx@b.example"}},
			"intd todo mess",
			[]string{"", "", "half received, not yet 36 hours old", "not in the queue"},
		},
		// qmail-send was killed while it preprocessed this one.
		"half preprocessed": {
			queuetest.Message{State: "S4", Remote: []string{"Tx@b.example"}},
			"local remote info intd todo mess",
			[]string{"", "", "", "", "", "half received, not yet 36 hours old", "not in the queue"},
		},
	} {
		order := strings.Fields(test.order)
		for k := 1; k <= len(order)+1; k++ {
			q := newTestQueue(t, queuetest.Layout{Suppl: 1, Split: 3})
			n := q.add(test.message)
			if name == "half preprocessed" {
				for _, place := range []string{"local", "remote", "info"} {
					must(t, os.WriteFile(q.Path(place, n), []byte("T"), 0o600))
				}
			}
			q.wantPieces(n, order...)
			number := strconv.FormatUint(n, 10)
			argv := []string{"qqclean", "-Q", q.Dir, number}
			if k%2 == 0 {
				argv = []string{"qmHandle", "-d" + number}
			}
			cmd := exec.Command(strace, append([]string{"-f", "-o", "/dev/null", "-e", "trace=unlinkat",
				"-e", fmt.Sprintf("inject=unlinkat:signal=KILL:when=%d", k), bin + "/" + argv[0]}, argv[1:]...)...)
			cmd.Env = append(os.Environ(), "KOWAZA_CONF="+q.root+"/kowaza.conf")
			out, err := cmd.CombinedOutput()
			if k <= len(order) && err == nil {
				t.Fatalf("%s: unlink %d was not met: %s", name, k, out)
			}
			if k > len(order) && err != nil {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
			left := q.pieces(n)
			gone := len(order) - len(left)
			if !slices.Equal(left, order[gone:]) || gone != k && gone != k-1 {
				t.Errorf("%s, killed at unlink %d: left %v", name, k, left)
			}
			if k > len(order) {
				continue
			}
			_, errs, status := q.run("", "qqclean", number)
			switch why := test.again[gone]; {
			case why == "":
				if status != 0 || errs != "" {
					t.Errorf("%s, %v left: status %d, %s", name, left, status, errs)
				}
				q.wantPieces(n)
			case status != 1 || errs != "qqclean: "+number+": "+why+"\n":
				t.Errorf("%s, %v left: status %d, %s; want %s", name, left, status, errs, why)
			}
		}
	}
}

// TestUnreadable proves that whoever may not read a part of the queue gets no
// small number with status 0, as from qmail-qstat, but an error that names the
// directory; and that what needs nothing of that part is as it was.
func TestUnreadable(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	bin := staticBinary(t)
	q := newTestQueue(t, queuetest.Layout{Split: 3, BigTodo: true})
	openParents(t, q.root+"/qmail")
	var numbers []string
	for range 18 { // of each remainder of 3 there is one, whichever inodes they get
		numbers = append(numbers, strconv.FormatUint(q.add(queuetest.Message{Local: []string{"Ttaro"}, Remote: []string{"Tx@b.example"}, Bounce: "no"}), 10))
		q.add(queuetest.Message{State: "S4", Remote: []string{"Tx@b.example"}})
	}
	giveTo(t, nobody, q.Dir)
	as := func(argv ...string) (string, string, int) {
		cmd := exec.Command(bin+"/"+argv[0], argv[1:]...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Env = []string{"KOWAZA_CONF=" + q.root + "/kowaza.conf"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Run()
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	commands := [][]string{
		{"qmHandle", "-s"}, {"qmHandle", "-l"}, {"qmHandle", "-N"}, {"qmHandle", "-l", "--json"}, {"qmHandle", "-s", "--json"}, {"qmHandle", "--dry-run", "-D"}, {"qmHandle", "-D"},
		{"qmHandle", "-tb.example"}, append([]string{"qqclean", "-n"}, numbers...), append([]string{"qqclean"}, numbers...), {"qqclean", "--orphans"},
	}
	// All may be read: it is not for another reason that they fail below.
	whole := make(map[string]string)
	for _, argv := range commands[:5] {
		out, errs, status := as(argv...)
		if status != 0 || errs != "" || out == "" {
			t.Errorf("%q: status %d, %s%s", argv, status, out, errs)
		}
		whole[strings.Join(argv, " ")] = out
	}
	// qmail-qstat gets along without info, and qmail-qread without intd.
	spared := map[string]string{
		"qmHandle -s": "intd info", "qmHandle -s --json": "intd info", "qmHandle -l": "intd", "qmHandle -N": "intd todo local remote bounce",
	}
	files := len(q.files())
	for _, part := range []string{"", "mess", "todo", "intd", "info", "local", "remote", "bounce", "mess/1", "todo/1", "intd/0", "info/2", "local/0", "remote/1"} {
		path := filepath.Join(q.Dir, part)
		must(t, os.Chown(path, 0, 0))
		must(t, os.Chmod(path, 0o700))
		for _, argv := range commands {
			out, errs, status := as(argv...)
			if command := strings.Join(argv, " "); part != "" && slices.Contains(strings.Fields(spared[command]), part) {
				if status != 0 || errs != "" || out != whole[command] {
					t.Errorf("%q cannot be read: %q: status %d, %s%s", part, argv, status, errs, out)
				}
				continue
			}
			want := "/" + part + ": permission denied"
			if part == "" {
				want = q.Dir + ": permission denied"
			}
			if status != 1 || !strings.Contains(strings.ReplaceAll(errs, " "+part+":", " /"+part+":"), want) {
				t.Errorf("%q cannot be read: %q: status %d, %s", part, argv, status, errs)
			}
			if strings.Contains(out, "Total messages: 0\n") || strings.Contains(out, `"total":0`) {
				t.Errorf("%q cannot be read: %q says %s", part, argv, out)
			}
		}
		must(t, os.Chown(path, nobody, nobody))
		if got := len(q.files()); got != files {
			t.Errorf("%q cannot be read: %d of %d files are left", part, got, files)
			return
		}
	}
	// As group qmail there are mess and todo: as many as qmail-qstat counts, and the
	// numbers; the rest is left out and named.
	private := []string{"intd", "info", "local", "remote", "bounce"}
	for _, part := range private {
		must(t, os.Chown(filepath.Join(q.Dir, part), 0, 0))
	}
	for _, test := range []struct{ argv, out, errs string }{
		{"qmHandle -s", "Total messages: 36\nMessages in preprocess: 18\n", "local remote bounce"},
		{"qmHandle -s --json", `{"total":36,"local":null,"remote":null,"bounces":null,"preprocess":18,"orphans":0}` + "\n", "local remote bounce"},
		{"qmHandle -N", whole["qmHandle -N"], "info"},
	} {
		out, errs, status := as(strings.Fields(test.argv)...)
		want := ""
		for _, part := range strings.Fields(test.errs) {
			want += "qmHandle: " + part + ": permission denied\n"
		}
		if status != 1 || out != test.out || errs != want {
			t.Errorf("%s: status %d, %s%s; want %s%s", test.argv, status, out, errs, test.out, want)
		}
	}
	if out, _, status := as("qmHandle", "-l"); status != 1 || strings.Contains(out, "Return-path") || strings.Count(out, "Subject: test\n") != 18 {
		t.Errorf("qmHandle -l: status %d, %s", status, out)
	}
	for _, part := range private {
		must(t, os.Chown(filepath.Join(q.Dir, part), nobody, nobody))
	}
	// One file that cannot be read is named, and the rest is listed.
	n := numbers[0]
	number, err := strconv.ParseUint(n, 10, 64)
	must(t, err)
	for _, place := range []string{"info", "local", "mess"} {
		must(t, os.Chown(q.Path(place, number), 0, 0))
		must(t, os.Chmod(q.Path(place, number), 0o600))
		out, errs, status := as("qmHandle", "-l")
		if status != 1 || !strings.Contains(errs, "/"+n+": permission denied\n") || strings.Count(out, "Return-path: ") != 18 {
			t.Errorf("%s of %s cannot be read: status %d, %s%s", place, n, status, errs, out)
		}
		must(t, os.Chown(q.Path(place, number), nobody, nobody))
	}
}

// TestSaveFullDisk proves that a message that the disk has no room for is not
// removed and leaves no rest there, and that the others go.
func TestSaveFullDisk(t *testing.T) {
	needRoot(t)
	for _, applet := range []string{"qqclean", "qmHandle"} {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Skipf("SKIP no tmpfs can be mounted: %v", err)
		}
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		q := newTestQueue(t, queuetest.Layout{})
		big := q.add(queuetest.Message{Local: []string{"Ttaro"}, Body: "Subject: big\n\n" + strings.Repeat("long\n", 40000)})
		small := []uint64{q.add(queuetest.Message{Local: []string{"Ttaro"}}), q.add(queuetest.Message{Local: []string{"Ttaro"}})}
		argv := []string{applet, "--save", dir, fmt.Sprint(small[0]), fmt.Sprint(big), fmt.Sprint(small[1])}
		if applet == "qmHandle" {
			argv = []string{applet, "--save", dir, "-D"}
		}
		_, errs, status := q.run("", argv...)
		if want := fmt.Sprintf("%s: %d: %s/%d.eml: no space left on device\n", applet, big, dir, big); status != 1 || errs != want {
			t.Errorf("status %d, %q; want %q", status, errs, want)
		}
		q.wantPieces(big, "local", "info", "mess")
		var saved []string
		for _, n := range small {
			q.wantPieces(n)
			saved = append(saved, fmt.Sprintf("%s/%d.eml", dir, n), fmt.Sprintf("%s/%d.json", dir, n))
		}
		slices.Sort(saved)
		compare(t, "saved", listing(t, dir), append([]string{dir}, saved...))
	}
}

// TestSignalWhileWaitingForLock proves that qqclean --wait ends by a signal, at
// once and with nothing touched.
func TestSignalWhileWaitingForLock(t *testing.T) {
	s := newSendTest(t)
	n := s.mail()
	s.start()
	cmd := s.command("-v", "-w", "86400", "-Q", s.Dir, fmt.Sprint(n))
	cmd.Args[0] = "qqclean"
	var errs bytes.Buffer
	cmd.Stderr = &errs
	must(t, cmd.Start())
	for open := ""; !strings.Contains(open, s.Dir+"/lock"); { // it has tried once
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", cmd.Process.Pid))
		must(t, err)
		for _, fd := range fds {
			path, _ := os.Readlink(fd)
			open += path + "\n"
		}
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()
	killedBy(t, cmd, syscall.SIGTERM)
	if want := "qqclean: stopped by terminated, 0 messages removed\n"; errs.String() != want {
		t.Errorf("%q; want %q", errs.String(), want)
	}
	s.wantPieces(n, whole...)
	s.happened()
}
