package queue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// A test that needs a second process runs this binary once more in a role.
const roleEnv = "KOWAZA_QUEUE_TEST"

var roles = map[string]func(args []string) error{
	"hold":   hold,
	"remove": removeAll,
	"locked": locked,
}

func TestMain(m *testing.M) {
	args := strings.Split(os.Getenv(roleEnv), "\n")
	if role := roles[args[0]]; role != nil {
		if err := role(args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	status := m.Run()
	if benchmarkDir != "" {
		os.RemoveAll(benchmarkDir)
	}
	os.Exit(status)
}

// hold takes the lock, says so and keeps it until its input ends.
func hold(args []string) error {
	q, err := Open(args[0])
	if err != nil {
		return err
	}
	if _, err := q.Lock(0, nil); err != nil {
		return err
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// locked reports whether the lock is taken.
func locked(args []string) error {
	q, err := Open(args[0])
	if err != nil {
		return err
	}
	_, err = q.Lock(0, nil)
	return err
}

// removeAll removes every message under the lock, with the clock 37 hours on.
func removeAll(args []string) error {
	q, err := Open(args[0])
	if err != nil {
		return err
	}
	l, err := q.Lock(0, nil)
	if err != nil {
		return err
	}
	return q.List(Listing{
		Keep: func(Found) bool { return true },
	}, func(m *Message) bool {
		if err := l.Remove(m, time.Now().Add(37*time.Hour), true); err != nil {
			fmt.Fprintln(os.Stderr, m.Number, err)
		}
		return true
	})
}

// command runs this binary in a role.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+strings.Join(args, "\n"))
	cmd.Stderr = os.Stderr
	return cmd
}

// A child is a second process. Its output is read from after the first line,
// which says that it is ready.
type child struct {
	cmd    *exec.Cmd
	in     io.Closer
	output *bufio.Reader
}

func start(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	c := &child{cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() { c.stop() })
	if _, err := c.output.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return c
}

// stop ends its input, and it with that. All output that is wanted has been
// read by then.
func (c *child) stop() error {
	c.in.Close()
	return c.cmd.Wait()
}

// newQueue makes a queue and opens it.
func newQueue(t testing.TB, l queuetest.Layout) (*queuetest.Queue, *Queue) {
	t.Helper()
	made, err := queuetest.Make(filepath.Join(t.TempDir(), "queue"), l)
	if err != nil {
		t.Fatal(err)
	}
	return made, open(t, made.Dir)
}

func open(t testing.TB, dir string) *Queue {
	t.Helper()
	q, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func add(t testing.TB, made *queuetest.Queue, m queuetest.Message) uint64 {
	t.Helper()
	n, err := made.Add(m)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// read reads one message with its header.
func readMessage(t testing.TB, q *Queue, n uint64) *Message {
	t.Helper()
	f, err := q.Find(n)
	if err != nil {
		t.Fatal(n, err)
	}
	m, err := q.Read(f, true)
	if err != nil {
		t.Fatal(n, err)
	}
	return m
}

func lock(t testing.TB, q *Queue) *Lock {
	t.Helper()
	l, err := q.Lock(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Unlock() })
	return l
}

// put writes a file of the queue.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree describes all there is below a directory: every byte, every inode. The
// access times stay.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := ""
		if d.Type().IsRegular() {
			f, err := os.OpenFile(path, os.O_RDONLY|noAtime, 0)
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(f)
			if err := first(err, f.Close()); err != nil {
				return err
			}
			text = string(raw)
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = fmt.Sprintf("%o %d %q", st.Mode, st.Ino, text)
		return nil
	}))
	return all
}

// gone lists what is in before and not in after, and fails where anything came
// or changed.
func gone(t testing.TB, before, after map[string]string) []string {
	t.Helper()
	var names []string
	for name, was := range before {
		is, ok := after[name]
		switch {
		case !ok:
			names = append(names, name)
		case is != was:
			t.Errorf("%s was %s, is %s", name, was, is)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s came", name)
		}
	}
	slices.Sort(names)
	return names
}

// later is a time at which all that a test made is dead.
func deadLater() time.Time { return time.Now().Add(deadAge + time.Hour) }

var layouts = []queuetest.Layout{
	{Split: 1}, {Split: 7, BigTodo: true}, {Split: 23}, {Split: 23, BigTodo: true, Suppl: 2}, {Split: 151, Suppl: 1},
}

// random makes a message of any kind.
func random(r *rand.Rand, l queuetest.Layout) queuetest.Message {
	addresses := func(most int) (all []string) {
		for range r.IntN(most + 1) {
			all = append(all, string("TTD"[r.IntN(3)])+"user"+strconv.Itoa(r.IntN(100))+"@例.test")
		}
		return all
	}
	m := queuetest.Message{
		State:  []string{"S2", "S3", "S4", "S5", "S5", "S5"}[r.IntN(6)],
		Sender: []string{"", "#@[]", "taro@test.local", "list-@test.local-@[]"}[r.IntN(4)],
		Local:  addresses(3), Remote: addresses(4),
		Body:  "Subject: " + strconv.Itoa(r.IntN(1000)) + "\nFrom: <taro@test.local>\n\nbody\n",
		Birth: time.Unix(1700000000+r.Int64N(1000000), 0),
	}
	for range l.Suppl {
		m.Suppl = append(m.Suppl, addresses(2))
	}
	if m.State == "S4" && len(m.Local) == 0 {
		m.Local = []string{"Ta@b"}
	}
	if m.State == "S5" && r.IntN(3) == 0 {
		m.Bounce = "<a@b>:\nno\n\n"
	}
	return m
}

// fill adds messages and returns them by number.
func fill(t testing.TB, made *queuetest.Queue, r *rand.Rand, n int) map[uint64]queuetest.Message {
	t.Helper()
	all := map[uint64]queuetest.Message{}
	for range n {
		m := random(r, made.Layout)
		all[add(t, made, m)] = m
	}
	return all
}

// wantError fails unless err is want and, where path is set, names it.
func wantError(t testing.TB, err, want error, path string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v; want %v", err, want)
	}
	var e *fs.PathError
	if path != "" && (!errors.As(err, &e) || e.Path != path) {
		t.Fatalf("%v; want one that names %s", err, path)
	}
	if path == "" && errors.As(err, &e) {
		t.Fatalf("%v names a path", err)
	}
}
