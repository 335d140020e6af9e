package applets

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kowaza/internal/queue/queuetest"
)

// copied returns a copy of a queue as a restore makes it.
func (q *testQueue) copied() *testQueue {
	q.t.Helper()
	root := q.t.TempDir()
	if out, err := exec.Command("cp", "-a", q.root+"/qmail", root).CombinedOutput(); err != nil {
		q.t.Fatalf("cp: %v: %s", err, out)
	}
	c := &testQueue{&queuetest.Queue{Dir: root + "/qmail/queue", Layout: q.Layout}, q.t, root}
	c.configure()
	return c
}

// fails is run for what must fail with that status and message, and without output.
func (q *testQueue) fails(status int, message string, argv ...string) {
	q.t.Helper()
	out, errs, got := q.run("", argv...)
	if got != status || out != "" || !strings.HasPrefix(errs, message) {
		q.t.Errorf("%q: status %d, %q, %q; want %d, %q", argv, got, out, errs, status, message)
	}
}

// TestCheckCommand proves that --check says nothing of a sound queue, and of another a
// line for each damage, escaped, or an object, with status 1; and that it changes
// nothing.
func TestCheckCommand(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	n := q.add(queuetest.Message{Local: []string{"Ta@b"}})
	q.add(queuetest.Message{State: "S4", Remote: []string{"Tc@d"}})
	if out := q.ok("qqclean", "--check"); out != "" {
		t.Errorf("%q", out)
	}
	if out := q.ok("qqclean", "--check", "--json"); out != "" {
		t.Errorf("%q", out)
	}
	info, _ := filepath.Rel(q.Dir, q.Path("info", n))
	must(t, os.WriteFile(q.Path("info", n), []byte("Fx"), 0o600))
	must(t, os.WriteFile(q.Dir+"/mess/0/\x1b[2J", nil, 0o644))
	before := q.tree()
	out, errs, status := q.run("", "qqclean", "--check")
	if want := "mess/0/\\033[2J: not the name of a message's file\n" + info + ": no NUL at the end\n"; out != want || errs != "" || status != 1 {
		t.Errorf("status %d, %q, %q; want %q", status, errs, out, want)
	}
	out, errs, status = q.run("", "qqclean", "-Q", q.Dir, "--json", "--check")
	if errs != "" || status != 1 || strings.Count(out, "\n") != 2 {
		t.Fatalf("status %d, %q, %q", status, errs, out)
	}
	var kinds []string
	for line := range strings.Lines(out) {
		var d struct {
			Kind, Path, Why string
			Number          *uint64
		}
		must(t, json.Unmarshal([]byte(line), &d))
		kinds = append(kinds, d.Kind)
		if (d.Kind == "malformed") != (d.Number != nil && *d.Number == n) || d.Why == "" || d.Path == "" {
			t.Errorf("%s", line)
		}
	}
	if fmt.Sprint(kinds) != "[name malformed]" {
		t.Errorf("%q", kinds)
	}
	if after := q.tree(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
	must(t, os.RemoveAll(q.Dir+"/mess"))
	if out, _, status := q.run("", "qqclean", "--check"); out != "mess: missing\n" || status != 1 {
		t.Errorf("status %d, %q", status, out)
	}
	q.fails(1, "qqclean: /nonexistent: no such file or directory\n", "qqclean", "-Q", "/nonexistent", "--check")
}

// TestCheckDenied proves that who may not read the queue is told so, and not that all is
// well.
func TestCheckDenied(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	openParents(t, q.root+"/qmail")
	must(t, os.Chmod(q.Dir, 0o755))
	cmd := exec.Command(bin+"/qqclean", "-Q", q.Dir, "--check")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	e := runEnd(t, cmd)
	if e.status != 1 || !strings.Contains(e.stderr, "info: permission denied\n") {
		t.Errorf("status %d, %q, %q", e.status, e.stdout, e.stderr)
	}
}

// TestRepairCommand proves that a copied queue, of which nothing can be removed, is
// repaired in silence, that -n shows how and does nothing, and that afterwards a message
// goes by its new number, together with its bounce.
func TestRepairCommand(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	n := q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tv@r"}, Bounce: "<v@r>:\nno\n\n"})
	early := q.add(queuetest.Message{State: "S4", Sender: "a@b", Remote: []string{"Tv@r"}})
	q = q.copied()
	number := strconv.FormatUint(n, 10)
	q.fails(1, "qqclean: "+number+": queue was copied: repair it first with qqclean --repair\n", "qqclean", number)
	before := q.tree()
	plan := q.ok("qqclean", "--repair", "--dry-run")
	if fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Error("a dry run changed something")
	}
	news := make(map[uint64]uint64)
	for line := range strings.Lines(plan) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%d -> %d\n", &from, &to); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		news[from] = to
	}
	if len(news) != 2 || news[n] == 0 || news[early] == 0 {
		t.Fatalf("%q", plan)
	}
	if out := q.ok("qqclean", "--repair"); out != "" {
		t.Errorf("%q", out)
	}
	q.wantPieces(news[n], "bounce", "remote", "info", "mess")
	q.wantPieces(news[early], "intd", "todo", "mess")
	if out := q.ok("qqclean", "--check") + q.ok("qqclean", "--repair") + q.ok("qqclean", "--repair", "-n"); out != "" {
		t.Errorf("%q", out)
	}
	if _, errs, status := q.run("", "qqclean", "--repair", "-v"); status != 0 || errs != "qqclean: 0 messages renumbered\n" {
		t.Errorf("status %d, %q", status, errs)
	}
	q.ok("qqclean", strconv.FormatUint(news[n], 10))
	q.wantPieces(news[n])
}

// TestRepairInterrupted proves that of a queue whose repair was killed every command of
// ours says so, and does nothing, until --repair has ended it; the list, too, whose
// numbers would be wrong.
func TestRepairInterrupted(t *testing.T) {
	strace, bin := needCommand(t, "strace"), staticBinary(t)
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	for range 5 {
		q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tv@r"}})
	}
	q = q.copied()
	number := strings.Fields(q.ok("qqclean", "--repair", "-n"))[0]
	cmd := exec.Command(strace, "-f", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:signal=KILL:when=9",
		bin+"/qqclean", "-Q", q.Dir, "--repair")
	if out, err := cmd.CombinedOutput(); err == nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	before := q.tree()
	why := q.Dir + "/kowaza.repair: a repair was interrupted: qqclean --repair ends it\n"
	save := t.TempDir()
	for _, argv := range [][]string{
		{"qqclean", number}, {"qqclean", "-n", number}, {"qqclean", "--orphans"}, {"qqclean", "--live", number}, {"qqclean", "-s", save, number},
		{"qmHandle", "-D"}, {"qmHandle", "--dry-run", "-D"}, {"qmHandle", "--save", save, "-D"}, {"qmHandle", "-l"}, {"qmHandle", "-s"}, {"qmHandle", "-N"},
		{"qmHandle", "-tr"}, {"qmHandle", "-D", "--bounce"}, {"qmHandle", "-D", "--now"}, {"qmHandle", "-D", "--hold", save}, {"qmHandle", "--release", save},
	} {
		q.fails(1, argv[0]+": "+why, argv...)
	}
	if out, errs, status := q.run("", "qqclean", "--check"); status != 1 || errs != "" || out != "kowaza.repair: a repair was interrupted\n" {
		t.Errorf("status %d, %q, %q", status, errs, out)
	}
	if fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
	if plan := q.ok("qqclean", "--repair", "-n"); strings.Count(plan, " -> ") != 5 {
		t.Errorf("%q", plan)
	}
	if out := q.ok("qqclean", "--repair") + q.ok("qqclean", "--check"); out != "" {
		t.Errorf("%q", out)
	}
	if out := q.ok("qmHandle", "-N"); strings.Count(out, "\n") != 5 {
		t.Errorf("%q", out)
	}
}

// TestRepairRefused proves what is said where nothing is repaired, with what to do.
func TestRepairRefused(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tv@r"}})
	q = q.copied()
	before := q.files()
	s := newSendTest(t)
	s.start()
	s.fails(1, "qqclean: qmail-send is running: stop it first\n", "qqclean", "--repair")
	must(t, os.WriteFile(q.Dir+"/pid/1.2.3", nil, 0o644))
	q.fails(1, "qqclean: pid/1.2.3: mail may be coming in; if not, remove this\n", "qqclean", "--repair")
	must(t, os.Remove(q.Dir+"/pid/1.2.3"))
	if fmt.Sprint(q.files()) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
}

// TestCheckUsage proves that --check and --repair go with what they have a use for, and
// that anything else is a usage error that touches nothing.
func TestCheckUsage(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tv@r"}})
	q = q.copied()
	before := q.tree()
	for _, argv := range [][]string{
		{"--check", "--repair"}, {"--check", "1"}, {"--repair", "1"}, {"--repair", "-"}, {"--json"}, {"--json", "1"}, {"--repair", "--json"},
		{"--check", "-n"}, {"--check", "-v"}, {"--check", "-w", "1"}, {"--check", "--orphans"}, {"--check", "--live"}, {"--check", "-s", "/tmp"},
		{"--repair", "--orphans"}, {"--repair", "--live"}, {"--repair", "-s", "/tmp"}, {"--repair", "-w", "x"}, {"--check", "-Q", ""},
	} {
		q.fails(2, "qqclean: ", append([]string{"qqclean"}, argv...)...)
	}
	if fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
}
