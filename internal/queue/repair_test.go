package queue

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

func init() { roles["repair"] = repairRole }

// repairRole repairs a queue, and kills itself before the rename of that number, if
// there are so many.
func repairRole(args []string) error {
	last, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	q, err := OpenToRepair(args[0])
	if err != nil {
		return err
	}
	l, err := q.LockToRepair(0, nil)
	if err != nil {
		return err
	}
	q.before = func(Place, uint64) {
		if last--; last == 0 {
			unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	_, err = l.Repair(nil)
	return err
}

// repair repairs a queue in this process.
func repair(t testing.TB, dir string) (moved int) {
	t.Helper()
	q, err := OpenToRepair(dir)
	must(t, err)
	defer q.Close()
	l, err := q.LockToRepair(0, nil)
	must(t, err)
	defer l.Unlock()
	moved, err = l.Repair(nil)
	must(t, err)
	return moved
}

// copied returns a copy of a queue as a restore makes it: all is as it was, but no inode.
func copied(t testing.TB, made *queuetest.Queue) *queuetest.Queue {
	t.Helper()
	dir := filepath.Join(fast(t), "queue")
	if out, err := exec.Command("cp", "-a", made.Dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &queuetest.Queue{Dir: dir, Layout: made.Layout, Direct: made.Direct}
}

// number of the message that a file of the queue belongs to, and its place.
func fileOf(path string) (place string, n uint64, ok bool) {
	place, _, _ = strings.Cut(path, "/")
	n, err := strconv.ParseUint(filepath.Base(path), 10, 64)
	return place, n, err == nil && place != "pid" && place != "lock"
}

// repaired returns what tree is to be when the queue has been repaired: each message
// under the inode of its text, what has none under that of its first piece, with the
// same files in every byte and inode.
func repaired(t testing.TB, made *queuetest.Queue) map[string]string {
	t.Helper()
	is := tree(t, made.Dir)
	inode := make(map[string]uint64)
	news := make(map[uint64]uint64)
	order := []string{"bounce", "local", "remote", "suppl0", "suppl1", "info", "intd", "todo"}
	places := make(map[uint64]map[string]uint64)
	for path, desc := range is {
		place, n, ok := fileOf(path)
		if !ok || strings.HasPrefix(desc, "4") { // a directory
			continue
		}
		var mode uint32
		var ino uint64
		if _, err := fmt.Sscanf(desc, "%o %d", &mode, &ino); err != nil {
			t.Fatal(desc, err)
		}
		inode[path] = ino
		if places[n] == nil {
			places[n] = make(map[string]uint64)
		}
		places[n][place] = ino
	}
	for n, p := range places {
		news[n] = p["mess"]
		if news[n] != 0 {
			continue
		}
		for _, place := range slices.Backward(order) {
			if p[place] != 0 {
				news[n] = p[place]
			}
		}
		for _, ino := range p {
			if ino == n {
				news[n] = n
			}
		}
	}
	want := make(map[string]string)
	for path, desc := range is {
		place, n, _ := fileOf(path)
		if inode[path] != 0 {
			path, _ = filepath.Rel(made.Dir, made.Path(place, news[n]))
		}
		want[path] = desc
	}
	return want
}

// sameTree fails where a queue is not what it is to be.
func sameTree(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	told := 0
	for path := range want {
		if got[path] != want[path] && told < 10 {
			t.Errorf("%s: %s is %q; want %q", what, path, got[path], want[path])
			told++
		}
	}
	for path := range got {
		if want[path] == "" && told < 10 {
			t.Errorf("%s: %s came", what, path)
			told++
		}
	}
}

// shuffle gives the messages each other's numbers, as files that were restored in another
// order on the file system that they came from may have: in circles and chains.
func shuffle(t testing.TB, made *queuetest.Queue, r *rand.Rand) {
	t.Helper()
	byNumber := make(map[uint64][]string)
	for path := range tree(t, made.Dir) {
		if _, n, ok := fileOf(path); ok && strings.HasPrefix(tree1(t, made.Dir, path), "100") {
			byNumber[n] = append(byNumber[n], path)
		}
	}
	numbers := slices.Sorted(maps.Keys(byNumber))
	to := slices.Clone(numbers)
	r.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
	for i := range to {
		if r.IntN(8) == 0 { // the end of a chain
			to[i] = 1 + uint64(i)
		}
	}
	for i, n := range numbers {
		for _, path := range byNumber[n] {
			place, _, _ := fileOf(path)
			must(t, os.Rename(filepath.Join(made.Dir, path), made.Path(place, to[i])+".new"))
		}
	}
	must(t, filepath.WalkDir(made.Dir, func(path string, d os.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(path, ".new"); ok {
			return os.Rename(path, name)
		}
		return err
	}))
}

// tree1 is the mode of a file, as tree describes it.
func tree1(t testing.TB, dir, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir, path), &st))
	return fmt.Sprintf("%o", st.Mode)
}

// orphans takes the texts of some messages away.
func orphans(t testing.TB, made *queuetest.Queue, messages map[uint64]queuetest.Message, k int) {
	t.Helper()
	for n, m := range messages {
		if m.State == "S2" {
			continue
		}
		if k--; k < 0 {
			return
		}
		must(t, os.Remove(made.Path("mess", n)))
	}
}

// TestRepair proves of copied queues of every layout, and of such whose messages have
// each other's numbers, that each message gets the number of its inode with every piece
// that it had and no other; that pieces without a message get one that no message can
// have; that Plan says all that before; and that a second repair does nothing.
func TestRepair(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 10))
	for _, l := range layouts {
		for _, kind := range []string{"copied", "shuffled"} {
			made, _ := newFastQueue(t, l)
			messages := fill(t, made, r, 120)
			orphans(t, made, messages, 10)
			if kind == "copied" {
				made = copied(t, made)
			} else {
				shuffle(t, made, r)
			}
			want := repaired(t, made)
			before := tree(t, made.Dir)
			q := open(t, made.Dir)
			plan, err := q.Plan()
			must(t, err)
			sameTree(t, "a plan alone", tree(t, made.Dir), before)
			if moved := repair(t, made.Dir); moved != len(plan.Moves) || moved < 60 {
				t.Errorf("%+v, %s: %d moved, %d planned", l, kind, moved, len(plan.Moves))
			}
			sameTree(t, fmt.Sprintf("%+v, %s", l, kind), tree(t, made.Dir), want)
			for _, m := range plan.Moves {
				if _, err := q.Find(m.New); err != nil {
					t.Errorf("%d -> %d: %v", m.Old, m.New, err)
				}
			}
			if moved := repair(t, made.Dir); moved != 0 {
				t.Errorf("%+v, %s: %d moved again", l, kind, moved)
			}
			sameTree(t, "repaired twice", tree(t, made.Dir), want)
			for _, damage := range examine(t, made.Dir, nil) {
				if !strings.HasPrefix(damage, "orphan ") {
					t.Errorf("%+v, %s: %s", l, kind, damage)
				}
			}
		}
	}
}

// TestRepairThenRemove proves that what is refused in a copied queue goes from a repaired one.
func TestRepairThenRemove(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	made = copied(t, made)
	q := open(t, made.Dir)
	l := lock(t, q)
	if err := l.Remove(readMessage(t, q, n), time.Now(), false); err != ErrCopied {
		t.Error(err)
	}
	must(t, l.Unlock())
	plan, err := q.Plan()
	must(t, err)
	repair(t, made.Dir)
	l = lock(t, q)
	must(t, l.Remove(readMessage(t, q, plan.Moves[0].New), time.Now(), false))
}

// halfway fails where a piece has another name than before and qmail-send could start,
// or anything of ours would go on.
func halfway(t testing.TB, dir string, was map[string]string) {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, lockPath))
	starts := err == nil
	is := tree(t, dir)
	renamed := 0
	for path, desc := range is {
		if _, _, ok := fileOf(path); ok && was[path] != desc {
			renamed++
		}
	}
	_, planned := is[planName]
	switch _, err := Open(dir); {
	case starts && planned != errors.Is(err, ErrInterrupted):
		t.Errorf("a plan: %v; Open: %v", planned, err)
	case !starts && (!planned || !errors.Is(err, ErrInterrupted)):
		t.Errorf("qmail-send cannot start; a plan: %v; Open: %v", planned, err)
	}
	// With the last rename done, all is in order again.
	if starts && renamed > 0 && !planned && len(examine(t, dir, nil)) > 0 {
		t.Errorf("qmail-send starts on %d renamed pieces", renamed)
	}
	if starts && renamed > 0 && planned {
		must(t, os.Rename(filepath.Join(dir, planName), filepath.Join(dir, "aside")))
		if left := examine(t, dir, nil); len(left) > 0 {
			t.Errorf("qmail-send starts half-way: %q", left)
		}
		must(t, os.Rename(filepath.Join(dir, "aside"), filepath.Join(dir, planName)))
	}
}

// TestRepairKilled proves that a repair killed at any of the system calls that change
// anything keeps qmail-send from starting while numbers are mixed, is refused by all but
// the next repair, and is ended by that.
func TestRepairKilled(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	r := rand.New(rand.NewPCG(17, 11))
	// strace counts each system call for itself.
	for call, least := range map[string]int{"renameat2": 6, "unlinkat": 2, "fsync": 5, "syncfs": 1} {
		for when := 1; ; when++ {
			made, _ := newFastQueue(t, queuetest.Layout{Split: 2})
			fill(t, made, r, 5)
			shuffle(t, made, rand.New(rand.NewPCG(17, uint64(when))))
			want, was := repaired(t, made), tree(t, made.Dir)
			cmd := command(t, "repair", made.Dir, "0")
			cmd.Args = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
				"-e", "inject=" + call + ":signal=KILL:when=" + strconv.Itoa(when)}, cmd.Path)
			cmd.Path = strace
			killed := cmd.Run() != nil
			if killed {
				halfway(t, made.Dir, was)
				repair(t, made.Dir)
			}
			sameTree(t, fmt.Sprintf("killed at %s %d", call, when), tree(t, made.Dir), want)
			if !killed {
				if when-1 < least {
					t.Errorf("a whole repair calls %s %d times; want %d at least", call, when-1, least)
				}
				break
			}
		}
	}
}

// TestRepairKilledOften proves of a copied queue of 5000 messages of every kind that a
// repair killed 200 times at random renames, and begun anew each time, loses nothing on
// the way, and ends where one that is not interrupted ends.
func TestRepairKilledOften(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	made, err := queuetest.Make(filepath.Join(fast(t), "queue"), queuetest.Layout{Split: 23, Suppl: 1})
	must(t, err)
	made.Direct = true
	messages := fill(t, made, r, 5000)
	orphans(t, made, messages, 100)
	shuffle(t, made, r)
	twin := copied(t, made)
	want, twinWant := repaired(t, made), repaired(t, twin)
	files := 0
	for path := range want {
		if _, _, ok := fileOf(path); ok {
			files++
		}
	}
	const kills = 200
	for i := range kills {
		most := 2 * (4 * files / 5) / kills // so that something is left for each
		cmd := command(t, "repair", made.Dir, strconv.Itoa(1+r.IntN(most)))
		cmd.Run()
		if st, ok := cmd.ProcessState.Sys().(interface{ Signaled() bool }); !ok || !st.Signaled() {
			t.Fatalf("kill %d: %v", i, cmd.ProcessState)
		}
		if i%20 == 0 {
			now := 0
			must(t, filepath.WalkDir(made.Dir, func(path string, d os.DirEntry, err error) error {
				path, _ = filepath.Rel(made.Dir, path)
				if place, _, _ := fileOf(path); d.Type().IsRegular() && placeKnown(place) {
					now++
				}
				return err
			}))
			if wanted := countFiles(want); now != wanted {
				t.Fatalf("kill %d: %d files; want %d", i, now, wanted)
			}
		}
	}
	repair(t, made.Dir)
	sameTree(t, "killed often", tree(t, made.Dir), want)
	repair(t, twin.Dir)
	sameTree(t, "not killed", tree(t, twin.Dir), twinWant)
}

func placeKnown(place string) bool { return place != "lock" && place != "pid" && place != planName }

func countFiles(tree map[string]string) (n int) {
	for path, desc := range tree {
		if place, _, _ := fileOf(path); placeKnown(place) && strings.HasPrefix(desc, "100") {
			n++
		}
	}
	return n
}

// fast is a directory on tmpfs where there is one: it holds many files.
func fast(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kowaza")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newFastQueue is newQueue for what makes many queues, or great ones.
func newFastQueue(t testing.TB, l queuetest.Layout) (*queuetest.Queue, *Queue) {
	t.Helper()
	made, err := queuetest.Make(filepath.Join(fast(t), "queue"), l)
	must(t, err)
	return made, open(t, made.Dir)
}

// TestRepairRefuses proves when nothing is renamed and nothing is left behind: while
// qmail-send runs, while mail may be coming in, and where it cannot be known what
// belongs together.
func TestRepairRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(made *queuetest.Queue, n uint64) error
		want error
	}{
		"a file in pid": {func(made *queuetest.Queue, n uint64) error { return os.WriteFile(made.Dir+"/pid/1.2.3", nil, 0o644) }, ErrInjecting},
		"misplaced": {func(made *queuetest.Queue, n uint64) error {
			return os.Rename(made.Path("info", n), filepath.Join(filepath.Dir(made.Path("info", n+1)), fmt.Sprint(n)))
		}, ErrPlace},
		"one text, two messages": {func(made *queuetest.Queue, n uint64) error {
			return os.Link(made.Path("mess", n), made.Path("mess", n+1))
		}, ErrTwoNames},
		"a link":   {func(made *queuetest.Queue, n uint64) error { return os.Symlink("x", made.Path("local", n)) }, ErrNotRegular},
		"a layout": {func(made *queuetest.Queue, n uint64) error { return os.Mkdir(made.Dir+"/mess/99", 0o750) }, ErrLayout},
	} {
		made, _ := newQueue(t, queuetest.Layout{})
		n := add(t, made, queuetest.Message{Remote: []string{"Ta@b"}})
		made = copied(t, made)
		q, err := OpenToRepair(made.Dir)
		must(t, err)
		l, err := q.LockToRepair(0, nil)
		must(t, err)
		must(t, test.do(made, n))
		before := tree(t, made.Dir)
		if moved, err := l.Repair(nil); !errors.Is(err, test.want) || moved != 0 {
			t.Errorf("%s: %d, %v; want %v", name, moved, err, test.want)
		}
		sameTree(t, name, tree(t, made.Dir), before)
		l.Unlock()
		q.Close()
	}
}

// TestRepairInjecting proves that a qmail-queue that works on this queue is noticed, one
// that works elsewhere is not, and neither is another program; and that one that comes
// while the plan is made is noticed by what it leaves.
func TestRepairInjecting(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{})
	add(t, made, queuetest.Message{Remote: []string{"Ta@b"}})
	made = copied(t, made)
	other, _ := newQueue(t, queuetest.Layout{})
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	for _, test := range []struct {
		name, cwd string
		want      error
	}{
		{"qmail-queue", made.Dir, ErrInjecting}, {"qmail-queue", t.TempDir(), nil},
		{"qmail-queue", other.Dir, nil}, {"qmail-qread", made.Dir, nil},
	} {
		program := filepath.Join(t.TempDir(), test.name)
		must(t, copyFile(sleep, program))
		must(t, os.Chmod(program, 0o755))
		cmd := exec.Command(program, "1000")
		cmd.Dir = test.cwd
		must(t, cmd.Start())
		q, err := OpenToRepair(made.Dir)
		must(t, err)
		_, err = q.quiet()
		if !errors.Is(err, test.want) {
			t.Errorf("%s in %s: %v; want %v", test.name, test.cwd, err, test.want)
		}
		q.Close()
		cmd.Process.Kill()
		cmd.Wait()
	}
	q, err := OpenToRepair(made.Dir)
	must(t, err)
	defer q.Close()
	l, err := q.LockToRepair(0, nil)
	must(t, err)
	defer l.Unlock()
	before := tree(t, made.Dir)
	q.planned = func() { // comes and goes
		must(t, os.WriteFile(made.Dir+"/pid/1.2.3", nil, 0o644))
		must(t, os.Remove(made.Dir+"/pid/1.2.3"))
	}
	if moved, err := l.Repair(nil); !errors.Is(err, ErrInjecting) || moved != 0 {
		t.Errorf("%d, %v", moved, err)
	}
	sameTree(t, "mail came", tree(t, made.Dir), before)
}

// TestRepairInTheWay proves that a file that came meanwhile is never replaced, and that
// the repair goes on where it ended when that is away.
func TestRepairInTheWay(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{Split: 2})
	add(t, made, queuetest.Message{Remote: []string{"Ta@b"}})
	made = copied(t, made)
	want := repaired(t, made)
	q, err := OpenToRepair(made.Dir)
	must(t, err)
	defer q.Close()
	plan, err := q.Plan()
	must(t, err)
	l, err := q.LockToRepair(0, nil)
	must(t, err)
	defer l.Unlock()
	stranger := made.Path("info", plan.Moves[0].New)
	q.before = func(p Place, _ uint64) {
		if p == Info {
			put(t, stranger, "Fstranger\x00")
		}
	}
	if _, err := l.Repair(nil); !errors.Is(err, unix.EEXIST) {
		t.Error(err)
	}
	if text, err := os.ReadFile(stranger); string(text) != "Fstranger\x00" {
		t.Errorf("%q, %v", text, err)
	}
	if err := q.Whole(); !errors.Is(err, ErrInterrupted) {
		t.Error(err)
	}
	if _, err := q.Lock(0, nil); !errors.Is(err, ErrInterrupted) {
		t.Error(err)
	}
	if err := Examine(made.Dir, nil, func(d Damage) error { return errors.New(string(d.Kind)) }, nil); err == nil || err.Error() != "repair" {
		t.Error(err)
	}
	must(t, os.Remove(stranger))
	q.before = nil
	if _, err := l.Repair(nil); err != nil {
		t.Error(err)
	}
	sameTree(t, "in the way", tree(t, made.Dir), want)
}

// TestRepairAbandoned proves that a repair that fails before its first rename, at any
// call, leaves a queue in order, or one that the next repair ends.
func TestRepairAbandoned(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	for _, call := range []string{"fsync:when=1", "fsync:when=2", "fsync:when=3", "renameat2:when=1", "renameat2:when=2", "fsync:when=3+", "renameat2:when=2+"} {
		name, when, _ := strings.Cut(call, ":")
		made, _ := newFastQueue(t, queuetest.Layout{Split: 2})
		fill(t, made, rand.New(rand.NewPCG(17, 40)), 5)
		made = copied(t, made)
		want, was := repaired(t, made), tree(t, made.Dir)
		cmd := command(t, "repair", made.Dir, "0")
		cmd.Stderr = nil
		cmd.Args = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e", "inject=" + name + ":error=EIO:" + when}, cmd.Path)
		cmd.Path = strace
		if cmd.Run() == nil {
			t.Errorf("%s: no error", call)
		}
		halfway(t, made.Dir, was)
		repair(t, made.Dir)
		sameTree(t, call, tree(t, made.Dir), want)
	}
}

// TestRepairStops proves that a stop ends the repair between two messages, and that the
// next ends it; and that without its plan a half repaired queue is left alone.
func TestRepairStops(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{Split: 2})
	fill(t, made, rand.New(rand.NewPCG(17, 12)), 20)
	made = copied(t, made)
	want := repaired(t, made)
	q, err := OpenToRepair(made.Dir)
	must(t, err)
	defer q.Close()
	l, err := q.LockToRepair(0, nil)
	must(t, err)
	stop := make(chan struct{})
	q.before = func(Place, uint64) {
		select {
		case <-stop:
		default:
			close(stop)
		}
	}
	moved, err := l.Repair(stop)
	if err != ErrStopped || moved != 1 {
		t.Errorf("%d, %v", moved, err)
	}
	must(t, l.Unlock())
	plan := filepath.Join(made.Dir, planName)
	text, err := os.ReadFile(plan)
	must(t, err)
	for _, spoil := range []func() error{
		func() error { return os.Remove(plan) },
		func() error { return os.WriteFile(plan, text[:len(text)/2], 0o600) },
		func() error {
			return os.WriteFile(plan, bytes.Replace(text, []byte("split 2"), []byte("split 3"), 1), 0o600)
		},
	} {
		must(t, spoil())
		before := tree(t, made.Dir)
		if l, err = q.LockToRepair(0, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Repair(nil); err == nil {
			t.Error("repaired without a plan")
		}
		must(t, l.Unlock())
		sameTree(t, "no plan", tree(t, made.Dir), before)
	}
	must(t, os.WriteFile(plan, text, 0o600))
	repair(t, made.Dir)
	sameTree(t, "stopped", tree(t, made.Dir), want)
}

// TestRepairByLinks proves that where the file system renames by second names a piece
// that has two of them is not taken for two.
func TestRepairByLinks(t *testing.T) {
	for _, aside := range []bool{false, true} {
		for have := 1; have < 8; have++ {
			dir := t.TempDir()
			fd, err := unix.Open(dir, unix.O_DIRECTORY, 0)
			must(t, err)
			names := []dirName{{fd, "1"}, {fd, "1.repair"}, {fd, "2"}}
			put(t, dir+"/x", "text")
			var st unix.Stat_t
			must(t, unix.Stat(dir+"/x", &st))
			for i, n := range names {
				if have&(1<<i) != 0 {
					must(t, os.Link(dir+"/x", dir+"/"+n.name))
				}
			}
			must(t, os.Remove(dir+"/x"))
			must(t, renamePiece(st.Ino, aside, names, func() {}))
			want := "2"
			if aside && have < 4 {
				want = "1.repair"
			}
			left, err := os.ReadDir(dir)
			must(t, err)
			if len(left) != 1 || left[0].Name() != want {
				t.Errorf("aside %v, of names %b: %v; want %s", aside, have, left, want)
			}
			unix.Close(fd)
		}
	}
}

// FuzzPlan proves that whatever stands in the place of a plan, it is read without a
// crash; that what is taken for one is, when written, the same bytes; and that of no
// plan a byte can be changed without its being noticed.
func FuzzPlan(f *testing.F) {
	made, q := newQueue(f, queuetest.Layout{Split: 3, Suppl: 1})
	fill(f, made, rand.New(rand.NewPCG(17, 13)), 5)
	twin := open(f, copied(f, made).Dir)
	plan, err := twin.Plan()
	must(f, err)
	var b bytes.Buffer
	must(f, plan.write(&b))
	layout := q.layoutLine()
	text := b.String()
	f.Add(text)
	f.Add("")
	f.Add(planHead + layout + "\n")
	f.Add(planHead + layout + "\n1 2 mess=2\nend 1 \n")
	f.Add(strings.Replace(text, "mess=", "mess=0", 1))
	f.Add(strings.Repeat("x", 2*maxPlanLine))
	if got, err := readPlan(strings.NewReader(text), layout); err != nil || len(got.Moves) != len(plan.Moves) || len(got.Moves) != 5 {
		f.Fatalf("%+v, %v", got, err)
	}
	for i := range text {
		spoilt := []byte(text)
		spoilt[i] ^= 1
		if _, err := readPlan(bytes.NewReader(spoilt), layout); !errors.Is(err, ErrPlan) {
			f.Fatalf("byte %d: %v", i, err)
		}
		if _, err := readPlan(strings.NewReader(text[:i]), layout); !errors.Is(err, ErrPlan) {
			f.Fatalf("%d bytes: %v", i, err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := readPlan(strings.NewReader(text), layout)
		if err != nil {
			if !errors.Is(err, ErrPlan) {
				t.Errorf("%v", err)
			}
			return
		}
		var b bytes.Buffer
		must(t, p.write(&b))
		if b.String() != text {
			t.Errorf("%q became %q", text, b.String())
		}
	})
}

// TestRepairOrder proves that of each message the text goes last, after bounce, channels,
// info, intd and todo in this order: so nobody can be given its old number meanwhile.
func TestRepairOrder(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{Split: 3, Suppl: 2})
	fill(t, made, rand.New(rand.NewPCG(17, 14)), 40)
	made = copied(t, made)
	q := open(t, made.Dir)
	l := lock(t, q)
	order := make(map[uint64][]string)
	q.before = func(p Place, n uint64) { order[n] = append(order[n], p.String()) }
	_, err := l.Repair(nil)
	must(t, err)
	rank := []string{"bounce", "local", "remote", "suppl0", "suppl1", "info", "intd", "todo", "mess"}
	for n, places := range order {
		if !slices.IsSortedFunc(places, func(a, b string) int { return slices.Index(rank, a) - slices.Index(rank, b) }) || places[len(places)-1] != "mess" {
			t.Errorf("%d: %v", n, places)
		}
	}
	if len(order) != 40 {
		t.Errorf("%d messages", len(order))
	}
}
