package queue

import (
	"bufio"
	"fmt"
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

func init() { roles["inject"] = inject }

// TestCrash proves that a removal killed at any of its unlinks leaves what
// INTERNALS allows and qmail recovers from: the pieces in their order and a
// message in a legal state, never a piece without its mess; and that the next
// run takes the rest.
func TestCrash(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	s5 := queuetest.Message{State: "S5", Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}, Suppl: [][]string{{"Te@f"}}, Bounce: "x"}
	s4, s3 := s5, s5
	s4.State, s4.Bounce = "S4", ""
	s3.State, s3.Bounce = "S3", ""
	for _, test := range []struct {
		message queuetest.Message
		more    []string // pieces of an earlier start of the preprocessing
		states  string   // after each unlink
	}{
		{s5, nil, "S5 S5 S5 S5 S2 -"},
		{s4, []string{"info", "local", "remote"}, "S4 S4 S4 S4 S2 -"},
		{s4, nil, "S4 S2 -"},
		{s3, nil, "S2 -"},
	} {
		states := strings.Fields(test.states)
		for k := 1; k <= len(states)+1; k++ {
			made, q := newQueue(t, queuetest.Layout{Split: 3, Suppl: 1})
			n := add(t, made, test.message)
			for _, p := range test.more {
				put(t, made.Path(p, n), "Ta@b\x00")
			}
			var want []string // in order of removal
			for _, p := range []string{"bounce", "local", "remote", "suppl0", "info", "intd", "todo", "mess"} {
				if _, err := os.Lstat(made.Path(p, n)); err == nil {
					name, _ := filepath.Rel(made.Dir, made.Path(p, n))
					want = append(want, name)
				}
			}
			if len(want) != len(states) {
				t.Fatalf("%d pieces, %d states", len(want), len(states))
			}
			cmd := command(t, "remove", made.Dir)
			cmd.Args = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat",
				"-e", "inject=unlinkat:signal=KILL:when=" + strconv.Itoa(k)}, cmd.Path)
			cmd.Path = strace
			err := cmd.Run()
			if killed := k <= len(states); killed != (err != nil) {
				t.Fatalf("unlink %d of %d: %v", k, len(states), err)
			}
			// Killed at the k-th, it has not done that.
			want = want[min(k-1, len(want)):]
			slices.Sort(want)
			if left := pieces(t, made, n); !slices.Equal(left, want) {
				t.Errorf("%s, killed at unlink %d: left %v; want %v", test.message.State, k, left, want)
			}
			state := "-"
			if f, err := q.Find(n); err == nil {
				state = f.State().String()
			}
			if k > 1 && state != states[k-2] {
				t.Errorf("%s, killed at unlink %d: %s; want %s", test.message.State, k, state, states[k-2])
			}
			if state == "S2" && len(want) != 1 {
				t.Errorf("%s, killed at unlink %d: mess and %v", test.message.State, k, want)
			}
			must(t, command(t, "remove", made.Dir).Run())
			if left := pieces(t, made, n); len(left) > 0 {
				t.Errorf("%s, killed at unlink %d: the next run left %v", test.message.State, k, left)
			}
		}
	}
}

// inject adds messages as qmail-queue does until its input ends, every tenth
// one dead before it was queued, and prints their numbers.
func inject(args []string) error {
	made := &queuetest.Queue{Dir: args[0], Layout: queuetest.Layout{Split: 3}}
	end := make(chan struct{})
	go func() {
		os.Stdin.Read(make([]byte, 1))
		close(end)
	}()
	out := bufio.NewWriter(os.Stdout)
	fmt.Println("ready")
	for i := 0; ; i++ {
		select {
		case <-end:
			return out.Flush()
		default:
		}
		state := "S4"
		switch i % 20 {
		case 9:
			state = "S2"
		case 19:
			state = "S3"
		}
		n, err := made.Add(queuetest.Message{State: state, Sender: "new@x", Local: []string{"Tnew@x"}, Body: fmt.Sprintf("Subject: new %d\n\n", i)})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, n, state, i)
	}
}

// TestRemoveInjected proves that of the mail which comes in while all that was
// there before is removed, and which gets the numbers that become free,
// nothing is lost: not to the removal, and not to a second one by the list of
// the first.
func TestRemoveInjected(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 3})
	made.Direct = true
	old := map[uint64]bool{}
	for i := range 1500 {
		m := queuetest.Message{State: []string{"S5", "S4", "S5"}[i%3], Sender: "old@x", Local: []string{"Ta@b"}}
		old[add(t, made, m)] = true
	}
	l := lock(t, q)
	must(t, l.Check())
	injector := start(t, command(t, "inject", made.Dir))
	lines := make(chan []string)
	go func() {
		var all []string
		s := bufio.NewScanner(injector.output)
		for s.Scan() {
			all = append(all, s.Text())
		}
		lines <- all
	}()
	var read []*Message
	removed := 0
	for range 3 {
		must(t, q.List(Listing{}, func(m *Message) bool {
			if m.Sender == "new@x" || m.State() == S2 || m.State() == S3 {
				// As a command would that was told to remove what is dead.
				if m.State() != S4 {
					if err := l.Remove(m, time.Now(), true); err == nil {
						t.Errorf("%d, %s, was removed", m.Number, m.State())
					}
				}
				return true
			}
			read = append(read, m)
			if err := l.Remove(m, time.Now(), false); err != nil {
				t.Error(m.Number, err)
			}
			removed++
			return true
		}))
	}
	for _, m := range read {
		if err := l.Remove(m, deadLater(), true); err != ErrVanished && err != ErrChanged {
			t.Errorf("%d again: %v", m.Number, err)
		}
	}
	injector.in.Close()
	all := <-lines
	must(t, injector.stop())
	if removed != len(old) {
		t.Errorf("%d of %d removed", removed, len(old))
	}
	reused := 0
	for _, line := range all {
		var n uint64
		var state string
		var i int
		if _, err := fmt.Sscan(line, &n, &state, &i); err != nil {
			t.Fatal(line, err)
		}
		if old[n] {
			reused++
		}
		m := readMessage(t, q, n)
		if m.State().String() != state || m.Subject() != fmt.Sprintf("new %d", i) || state == "S4" && (m.Sender != "new@x" || len(m.Recipients) != 1) {
			t.Errorf("%s: %+v", line, m)
		}
	}
	t.Logf("%d came meanwhile, %d with a number of one that was removed", len(all), reused)
	if len(all) == 0 {
		t.Error("nothing came")
	}
}

// TestSaveFull proves that a full disk is an error that leaves nothing behind,
// and that there is room again afterwards.
func TestSaveFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	made, q := newQueue(t, queuetest.Layout{})
	s, err := NewSaver(dir)
	must(t, err)
	defer s.Close()
	big := readMessage(t, q, add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: strings.Repeat("x\n", 200<<10)}))
	wantError(t, s.Save(q, big), unix.ENOSPC, filepath.Join(dir, strconv.FormatUint(big.Number, 10)+".eml"))
	// Room for the text, none for the envelope.
	many := queuetest.Message{Body: strings.Repeat("x\n", 60<<10)}
	for i := range 6000 {
		many.Remote = append(many.Remote, fmt.Sprintf("Tuser%d@example.test", i))
	}
	long := readMessage(t, q, add(t, made, many))
	wantError(t, s.Save(q, long), unix.ENOSPC, filepath.Join(dir, strconv.FormatUint(long.Number, 10)+".json"))
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("left: %d files", len(left)-1)
	}
	small := readMessage(t, q, add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: strings.Repeat("x\n", 60<<10)}))
	must(t, s.Save(q, small))
	if left := tree(t, dir); len(left) != 3 {
		t.Errorf("%d files", len(left)-1)
	}
}
