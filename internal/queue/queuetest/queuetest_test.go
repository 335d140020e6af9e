package queuetest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// places are all that a message may have a file in.
var places = []string{"mess", "intd", "todo", "info", "local", "remote", "suppl0", "suppl1", "bounce", "pid"}

// layouts are those of stock qmail, of the big-todo patch, of a channels patch,
// and of splits that hide a wrong modulus.
var layouts = []Layout{{}, {Split: 1}, {Split: 7, BigTodo: true}, {Split: 151, Suppl: 2}}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return st
}

func newQueue(t *testing.T, l Layout) *Queue {
	t.Helper()
	q, err := Make(filepath.Join(t.TempDir(), "queue"), l)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func add(t *testing.T, q *Queue, m Message) uint64 {
	t.Helper()
	n, err := q.Add(m)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// files returns the message files that stand in a queue, with their contents.
func files(t *testing.T, q *Queue) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(q.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) == "lock" {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(q.Dir, path)
		all[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMake proves that the directories, their modes and what stands in lock are
// those of hier.c, whatever the umask is.
func TestMake(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, l := range layouts {
		q := newQueue(t, l)
		split := max(l.Split, 1)
		if l == (Layout{}) {
			split = 23
		}
		want := map[string]fs.FileMode{
			".": 0o750, "pid": 0o700, "bounce": 0o700, "lock": 0o750,
			"lock/sendmutex": 0o600, "lock/tcpto": 0o644, "lock/trigger": 0o622 | fs.ModeNamedPipe,
		}
		add := func(place string, mode fs.FileMode, deep bool) {
			want[place] = mode
			for i := range split {
				if deep {
					want[place+"/"+strconv.Itoa(i)] = mode
				}
			}
		}
		add("intd", 0o700, l.BigTodo)
		add("todo", 0o750, l.BigTodo)
		add("mess", 0o750, true)
		for _, place := range []string{"info", "local", "remote", "suppl0", "suppl1"}[:3+l.Suppl] {
			add(place, 0o700, true)
		}
		got := make(map[string]fs.FileMode)
		filepath.WalkDir(q.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			fi, err := d.Info()
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(q.Dir, path)
			got[rel] = fi.Mode() &^ fs.ModeDir
			return nil
		})
		if !maps.Equal(got, want) {
			t.Errorf("%+v: %v; want %v", l, got, want)
		}
		if st := stat(t, filepath.Join(q.Dir, "lock/tcpto")); st.Size != 1024 {
			t.Errorf("tcpto has %d bytes", st.Size)
		}
	}
}

// TestAdd proves which files each state has, where, with which modes, links and
// contents, and that a number is an inode.
func TestAdd(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	birth := time.Unix(1_700_000_000, 0)
	for _, l := range layouts {
		q := newQueue(t, l)
		for state, pieces := range map[string][]string{
			"S2": {"mess"},
			"S3": {"mess", "intd"},
			"S4": {"mess", "intd", "todo"},
			"S5": {"mess", "info", "local", "remote", "suppl1", "bounce"},
			"":   {"mess", "info", "local", "remote", "suppl1", "bounce"},
		} {
			m := Message{
				State: state, Sender: "s@x", Local: []string{"Ttaro@x", "Djiro@x"}, Remote: []string{"Dhanako@y"},
				Body: "Subject: test\n\nbody\n", Birth: birth,
			}
			if l.Suppl == 2 {
				m.Suppl = [][]string{nil, {"Tz@z"}}
			} else {
				pieces = slices.DeleteFunc(slices.Clone(pieces), func(p string) bool { return p == "suppl1" })
			}
			if state == "" || state == "S5" {
				m.Bounce = "<hanako@y>:\nno\n\n"
			}
			before := files(t, q)
			n := add(t, q, m)
			after := files(t, q)
			maps.DeleteFunc(after, func(path, _ string) bool { _, old := before[path]; return old })
			if len(after) != len(pieces) {
				t.Errorf("%+v %q: %v; want %v", l, state, after, pieces)
			}
			envelope := fmt.Sprintf("u%d\x00p%d\x00Fs@x\x00Ttaro@x\x00Tjiro@x\x00Thanako@y\x00", os.Getuid(), os.Getpid())
			if m.Suppl != nil {
				envelope += "Tz@z\x00"
			}
			want := map[string]string{
				"mess": fmt.Sprintf("Received: (qmail %d invoked by uid %d); 14 Nov 2023 22:13:20 -0000\n", os.Getpid(), os.Getuid()) + m.Body,
				"intd": envelope, "todo": envelope, "info": "Fs@x\x00",
				"local": "Ttaro@x\x00Djiro@x\x00", "remote": "Dhanako@y\x00", "suppl1": "Tz@z\x00", "bounce": m.Bounce,
			}
			for _, piece := range pieces {
				name := fmt.Sprint(n)
				if piece != "bounce" && (l.BigTodo || piece != "todo" && piece != "intd") {
					split := uint64(23)
					if l.Split != 0 {
						split = uint64(l.Split)
					}
					name = fmt.Sprintf("%d/%d", n%split, n)
				}
				path := filepath.Join(q.Dir, piece, name)
				if q.Path(piece, n) != path {
					t.Errorf("%+v: %s; want %s", l, q.Path(piece, n), path)
				}
				if after[piece+"/"+name] != want[piece] {
					t.Errorf("%+v %q: %s has %q; want %q", l, state, piece, after[piece+"/"+name], want[piece])
				}
				mode := uint32(0o600)
				if piece == "mess" || piece == "intd" || piece == "todo" {
					mode = 0o644
				}
				st := stat(t, path)
				if uint32(st.Mode)&0o777 != mode {
					t.Errorf("%s: mode %o", path, st.Mode)
				}
				if piece == "mess" && uint64(st.Ino) != n || piece == "todo" && st.Ino != stat(t, q.Path("intd", n)).Ino {
					t.Errorf("%s: inode %d", path, st.Ino)
				}
				if (piece == "info" || piece == "todo") && !time.Unix(st.Mtim.Unix()).Equal(birth) {
					t.Errorf("%s: mtime %v", path, time.Unix(st.Mtim.Unix()))
				}
			}
		}
	}
}

// TestAddNone proves that a message without recipients has no channel's file,
// as qmail-send leaves it.
func TestAddNone(t *testing.T) {
	q := newQueue(t, Layout{})
	n := add(t, q, Message{Sender: "#@[]"})
	for place, want := range map[string]bool{"mess": true, "info": true, "local": false, "remote": false, "bounce": false} {
		if _, err := os.Lstat(q.Path(place, n)); (err == nil) != want {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// TestDirect proves that what a direct queue holds in the end is what another
// holds, in every state.
func TestDirect(t *testing.T) {
	q, direct := newQueue(t, Layout{}), newQueue(t, Layout{})
	direct.Direct = true
	for _, state := range []string{"", "S2", "S3", "S4", "S5"} {
		m := Message{State: state, Sender: "s", Local: []string{"Ta"}, Remote: []string{"Tb"}, Birth: time.Unix(1e9, 0)}
		n, d := add(t, q, m), add(t, direct, m)
		for _, place := range places {
			want, _ := os.ReadFile(q.Path(place, n))
			if got, _ := os.ReadFile(direct.Path(place, d)); string(got) != string(want) {
				t.Errorf("%q: %s has %q; want %q", state, place, got, want)
			}
		}
	}
	if got, want := len(files(t, direct)), len(files(t, q)); got != want {
		t.Errorf("%d files; want %d", got, want)
	}
}

// TestAddRefuses proves that what no queue can hold is an error, and leaves
// nothing behind.
func TestAddRefuses(t *testing.T) {
	q := newQueue(t, Layout{Suppl: 1})
	for _, m := range []Message{
		{State: "S1"}, {State: "S6"}, {State: "S4", Bounce: "x"},
		{Local: []string{""}}, {Suppl: [][]string{nil, {"Tx"}}},
	} {
		if n, err := q.Add(m); err == nil {
			t.Errorf("%+v is %d", m, n)
		}
	}
	if left := files(t, q); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestAddAtOnce proves that messages which are made at once have a number each.
func TestAddAtOnce(t *testing.T) {
	q := newQueue(t, Layout{Split: 7})
	const workers, each = 8, 50
	var wg sync.WaitGroup
	numbers := make(chan uint64, workers*each)
	for range workers {
		wg.Go(func() {
			for range each {
				n, err := q.Add(Message{Remote: []string{"Tx@y"}})
				if err != nil {
					t.Error(err)
				}
				numbers <- n
			}
		})
	}
	wg.Wait()
	close(numbers)
	seen := make(map[uint64]bool)
	for n := range numbers {
		seen[n] = true
	}
	if got := files(t, q); len(seen) != workers*each || len(got) != 3*len(seen) {
		t.Errorf("%d numbers and %d files", len(seen), len(got))
	}
}

// TestTrigger proves that a message which is committed pulls the trigger once,
// that one which is not does not, and that a full trigger holds nobody up.
func TestTrigger(t *testing.T) {
	q := newQueue(t, Layout{})
	fd, err := unix.Open(filepath.Join(q.Dir, "lock/trigger"), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	add(t, q, Message{State: "S2"})
	add(t, q, Message{State: "S3"})
	buf := make([]byte, 1<<20)
	if n, err := unix.Read(fd, buf); n > 0 {
		t.Errorf("pulled for what is not in todo: %d, %v", n, err)
	}
	add(t, q, Message{State: "S4"})
	add(t, q, Message{})
	if n, err := unix.Read(fd, buf); n != 2 || err != nil {
		t.Errorf("%d bytes for two messages: %v", n, err)
	}
	w, err := unix.Open(filepath.Join(q.Dir, "lock/trigger"), unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w)
	for {
		if _, err := unix.Write(w, buf[:1]); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	add(t, q, Message{})
}

// TestAge proves that every file of a message becomes older once, todo and intd
// being one file, and nobody else's does.
func TestAge(t *testing.T) {
	q := newQueue(t, Layout{Suppl: 2})
	other := add(t, q, Message{Remote: []string{"Tx"}})
	untouched := stat(t, q.Path("info", other))
	for _, m := range []Message{
		{State: "S2"}, {State: "S3"}, {State: "S4", Local: []string{"Tx"}},
		{Local: []string{"Tx"}, Remote: []string{"Ty"}, Suppl: [][]string{{"Ta"}, {"Tb"}}, Bounce: "b"},
	} {
		n := add(t, q, m)
		was := make(map[string]unix.Stat_t)
		for _, place := range places {
			if _, err := os.Lstat(q.Path(place, n)); err == nil {
				was[place] = stat(t, q.Path(place, n))
			}
		}
		if err := q.Age(n, 37*time.Hour); err != nil {
			t.Fatal(err)
		}
		for place, old := range was {
			st := stat(t, q.Path(place, n))
			a := time.Unix(old.Atim.Unix()).Sub(time.Unix(st.Atim.Unix()))
			m := time.Unix(old.Mtim.Unix()).Sub(time.Unix(st.Mtim.Unix()))
			if a != 37*time.Hour || m != 37*time.Hour {
				t.Errorf("%s: atime back by %v, mtime by %v", place, a, m)
			}
		}
	}
	if st := stat(t, q.Path("info", other)); st.Mtim != untouched.Mtim || st.Atim != untouched.Atim {
		t.Error("another message is older now")
	}
}

// TestUnpack proves that the fixture comes out as tar(1) unpacks it: the same
// files, contents, modes, times and owners.
func TestUnpack(t *testing.T) {
	const tgz = "../../../testdata/queue/qmail-queue.tar.gz"
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("tar is not installed")
	}
	ours, theirs := t.TempDir(), t.TempDir()
	if err := Unpack(tgz, ours); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "--numeric-owner", "-xzpf", tgz, "-C", theirs).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	list := func(root string) []string {
		var all []string
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			st := stat(t, path)
			line := fmt.Sprintf("%s %o %d:%d %v", strings.TrimPrefix(path, root), st.Mode, st.Uid, st.Gid, time.Unix(st.Mtim.Unix()))
			if d.Type() == 0 {
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %d links %q", st.Nlink, text)
			}
			all = append(all, line)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	got, want := list(ours), list(theirs)
	if len(got) < 48*2 {
		t.Errorf("%d files only", len(got))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s; want %s", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files; want %d", len(got), len(want))
	}
	if err := Unpack(tgz, ours); !errors.Is(err, fs.ErrExist) {
		t.Errorf("unpacked over what was there: %v", err)
	}
}
