package queue

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// examine returns what is told of a queue, as "kind path", and fails where anything
// could not be read.
func examine(t testing.TB, dir string, accounts *Accounts) (all []string) {
	t.Helper()
	must(t, Examine(dir, accounts, func(d Damage) error {
		if d.Why == "" {
			t.Errorf("%+v says nothing", d)
		}
		all = append(all, string(d.Kind)+" "+d.Path)
		return nil
	}, func(err error) { t.Error(err) }))
	slices.Sort(all)
	return all
}

// TestExamineSound proves that nothing is said of a queue as qmail makes it, in every
// layout and with messages of every kind, and that no byte, inode, mode or time of it
// changes by being looked at.
func TestExamineSound(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 1))
	for _, l := range layouts {
		made, _ := newFastQueue(t, l)
		fill(t, made, r, 100)
		before := times(t, made.Dir)
		if found := examine(t, made.Dir, nil); len(found) > 0 {
			t.Errorf("%+v: %q", l, found)
		}
		if after := times(t, made.Dir); !maps.Equal(before, after) {
			t.Errorf("%+v: changed", l)
		}
	}
}

// times describes files with all their times. Those of directories change when they are
// read.
func times(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := tree(t, dir)
	for name := range all {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &st))
		if !isDir(&st) {
			all[name] += fmt.Sprint(st.Atim, st.Mtim, st.Ctim, st.Uid, st.Gid, st.Nlink)
		}
	}
	return all
}

// A harm damages a queue, at a message that is fit for it, and returns what is to be
// found.
type harm struct {
	name  string
	state string // of the message; any where empty
	has   string // a place that it must have
	do    func(made *queuetest.Queue, n uint64) ([]string, error)
}

// harms are all kinds that Examine knows, by each way in which they come about.
func harms() []harm {
	rel := func(made *queuetest.Queue, place string, n uint64) string {
		path, _ := filepath.Rel(made.Dir, made.Path(place, n))
		return path
	}
	one := func(kind, place string, do func(path string) error) func(*queuetest.Queue, uint64) ([]string, error) {
		return func(made *queuetest.Queue, n uint64) ([]string, error) {
			return []string{kind + " " + rel(made, place, n)}, do(made.Path(place, n))
		}
	}
	at := func(kind, path string, do func(path string) error) func(*queuetest.Queue, uint64) ([]string, error) {
		return func(made *queuetest.Queue, n uint64) ([]string, error) {
			return []string{kind + " " + path}, do(filepath.Join(made.Dir, path))
		}
	}
	write := func(text string) func(string) error {
		return func(path string) error { return overwrite(path, text) }
	}
	orphan := func(made *queuetest.Queue, n uint64) (found []string, err error) {
		err = os.Remove(made.Path("mess", n))
		for _, p := range []string{"bounce", "local", "remote", "suppl0", "suppl1", "info", "intd", "todo"} {
			if _, statErr := os.Lstat(made.Path(p, n)); statErr == nil {
				found = append(found, "orphan "+rel(made, p, n))
			}
		}
		return found, err
	}
	elsewhere := func(place string) func(*queuetest.Queue, uint64) ([]string, error) {
		return func(made *queuetest.Queue, n uint64) ([]string, error) {
			to := filepath.Join(filepath.Dir(made.Path(place, n+1)), fmt.Sprint(n))
			path, _ := filepath.Rel(made.Dir, to)
			return []string{"place " + path}, os.Rename(made.Path(place, n), to)
		}
	}
	chmod := func(mode os.FileMode) func(string) error {
		return func(path string) error { return os.Chmod(path, mode) }
	}
	chown := func(path string) error { return os.Lchown(path, 12345, -1) }
	fifo := func(path string) error { return first(os.Remove(path), unix.Mkfifo(path, 0o600)) }
	all := []harm{
		{"another inode", "", "", one("inode", "mess", func(path string) error {
			st, err := os.Stat(path)
			return first(err, copyFile(path, path+"x"), os.Chmod(path+"x", 0o644), os.Chtimes(path+"x", st.ModTime(), st.ModTime()), os.Rename(path+"x", path))
		})},
		{"S5 without a text", "S5", "", orphan},
		{"S4 without a text", "S4", "", orphan},
		{"S3 without a text", "S3", "", orphan},
		{"bounce alone", "S5", "bounce", func(made *queuetest.Queue, n uint64) ([]string, error) {
			err := first(os.Remove(made.Path("mess", n)), os.Remove(made.Path("info", n)))
			for _, p := range []string{"local", "remote", "suppl0", "suppl1"} {
				os.Remove(made.Path(p, n))
			}
			return []string{"orphan " + rel(made, "bounce", n)}, err
		}},
		{"text elsewhere", "S5", "", elsewhere("mess")},
		{"info beside text elsewhere", "S5", "", func(made *queuetest.Queue, n uint64) ([]string, error) {
			found, err := elsewhere("mess")(made, n)
			return found, err // and not a word of the pieces whose text is there
		}},
		{"remote elsewhere", "S5", "remote", elsewhere("remote")},
		{"info of two records", "S5", "", one("malformed", "info", write("Fa@b\x00Fc@d\x00"))},
		{"info cut off", "S5", "", one("malformed", "info", write("Fa@b"))},
		{"info of no bytes", "S5", "", one("malformed", "info", write(""))},
		{"recipient of no kind", "S5", "local", one("malformed", "local", write("Ta@b\x00?c@d\x00"))},
		{"recipient cut off", "S5", "remote", one("malformed", "remote", write("Ta@b\x00Tc@"))},
		{"todo without a sender", "S4", "", one("malformed", "todo", write("u0\x00p1\x00Ta@b\x00"))},
		{"info is a link", "S5", "", one("type", "info", func(path string) error { return first(os.Remove(path), os.Symlink("/etc/passwd", path)) })},
		{"local is a FIFO", "S5", "local", one("type", "local", fifo)},
		{"text is a directory", "S2", "", one("type", "mess", func(path string) error {
			return first(os.Remove(path), os.Mkdir(path, 0o755))
		})},
		{"mode of a text", "", "", one("mode", "mess", chmod(0o640))},
		{"mode of info", "S5", "", one("mode", "info", chmod(0o644))},
		{"owner of a text", "S4", "", one("owner", "mess", chown)},
		{"owner of a channel", "S5", "remote", one("owner", "remote", chown)},
		{"mode of a directory", "", "", at("mode", "pid", chmod(0o755))},
		{"mode of a sub-directory", "", "", at("mode", "mess/0", chmod(0o700))},
		{"owner of a directory", "", "", at("owner", "lock", chown)},
		{"group of a directory", "", "", at("owner", "bounce", func(path string) error { return os.Lchown(path, -1, 12345) })},
		{"a name", "", "", at("name", "info/0/core", write("x"))},
		{"a number with a zero", "", "", at("name", "mess/0/023", write("x"))},
		{"a name beside bounces", "", "", at("name", "bounce/x.bak", write("x"))},
		{"bounce before preprocessing", "S4", "", one("stale", "bounce", write("<a@b>:\nno\n\n"))},
		{"recipients of what has no sender", "S2", "", one("stale", "local", write("Ta@b\x00"))},
		{"sender of what is half received", "S3", "", one("stale", "info", write("Fa@b\x00"))},
		{"a text newer than its sender", "S5", "", func(made *queuetest.Queue, n uint64) ([]string, error) {
			soon := time.Now().Add(time.Hour)
			return []string{"stale " + rel(made, "info", n)}, os.Chtimes(made.Path("mess", n), soon, soon)
		}},
		{"a text newer than its envelope", "S4", "", func(made *queuetest.Queue, n uint64) ([]string, error) {
			soon := time.Now().Add(time.Hour)
			return []string{"stale " + rel(made, "todo", n)}, os.Chtimes(made.Path("mess", n), soon, soon)
		}},
		{"a text of no bytes", "S4", "", one("empty", "mess", func(path string) error {
			st, err := os.Stat(path)
			return first(err, os.Truncate(path, 0), os.Chtimes(path, st.ModTime(), st.ModTime()))
		})},
		{"no sendmutex", "", "", at("lock", "lock/sendmutex", os.Remove)},
		{"sendmutex is a directory", "", "", at("lock", "lock/sendmutex", func(path string) error { return first(os.Remove(path), os.Mkdir(path, 0o700)) })},
		{"half a tcpto", "", "", at("lock", "lock/tcpto", func(path string) error { return os.Truncate(path, 512) })},
		{"trigger is a file", "", "", at("lock", "lock/trigger", func(path string) error { return first(os.Remove(path), os.WriteFile(path, nil, 0o622)) })},
		{"a FIFO in pid", "", "", at("type", "pid/1.2.3", func(path string) error { return unix.Mkfifo(path, 0o600) })},
	}
	return all
}

// overwrite writes a file of the mode that belongs there.
func overwrite(path, text string) error {
	mode := os.FileMode(0o600)
	if st, err := os.Lstat(path); err == nil {
		mode = st.Mode().Perm()
	}
	return os.WriteFile(path, []byte(text), mode)
}

// TestExamine proves that each of 39 kinds of damage, made in a queue of random layout
// with random messages, is found with its path, and nothing else; and that ten of them
// at once, at as many messages, are.
func TestExamine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	all := harms()
	r := rand.New(rand.NewPCG(17, 2))
	few := func(k int) []harm { // each kind of its own place
		var some []harm
		for _, i := range r.Perm(len(all)) {
			if h := all[i]; len(some) < k && !strings.Contains(h.name, "director") && !strings.Contains(h.name, "sendmutex") {
				some = append(some, h)
			}
		}
		return some
	}
	runs := [][]harm{}
	for _, h := range all {
		runs = append(runs, []harm{h})
	}
	for range 10 {
		runs = append(runs, few(10))
	}
	for i, run := range runs {
		l := layouts[1+i%(len(layouts)-1)] // with one sub-directory nothing is misplaced
		made, q := newFastQueue(t, l)
		fill(t, made, r, 150)
		accounts := &Accounts{}
		var want []string
		hurt := make(map[uint64]bool)
		for _, h := range run {
			var found []string
			must(t, q.Scan(func(f Found) bool {
				_, missing := os.Lstat(made.Path(h.has, f.Number))
				if hurt[f.Number] || h.state != "" && f.State().String() != h.state || h.has != "" && missing != nil {
					return true
				}
				hurt[f.Number] = true
				var err error
				found, err = h.do(made, f.Number)
				must(t, err)
				return false
			}, nil))
			if len(found) == 0 {
				t.Fatalf("%s: no message for it", h.name)
			}
			want = append(want, found...)
		}
		slices.Sort(want)
		if got := examine(t, made.Dir, accounts); !slices.Equal(got, want) {
			t.Errorf("%+v, %s and %d more:\n%q; want\n%q", l, run[0].name, len(run)-1, got, want)
		}
	}
}

// TestExamineLayout proves that of a queue whose directories contradict each other those
// are told that do, and no messages.
func TestExamineLayout(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(dir string) error
		want []string
	}{
		"no mess": {func(dir string) error { return os.RemoveAll(dir + "/mess") }, []string{"layout mess"}},
		"no pid":  {func(dir string) error { return os.RemoveAll(dir + "/pid") }, []string{"layout pid"}},
		"local is file": {func(dir string) error {
			return first(os.RemoveAll(dir+"/local"), os.WriteFile(dir+"/local", nil, 0o700))
		}, []string{"layout local"}},
		"a gap":        {func(dir string) error { return os.RemoveAll(dir + "/info/3") }, []string{"layout info/3"}},
		"the last":     {func(dir string) error { return os.RemoveAll(dir + "/remote/22") }, []string{"layout remote/22"}},
		"one too many": {func(dir string) error { return os.Mkdir(dir+"/mess/23", 0o750) }, []string{"layout mess/23"}},
		"flat message": {func(dir string) error { return os.WriteFile(dir+"/mess/4711", nil, 0o644) }, []string{"layout mess/4711"}},
		"todo/0":       {func(dir string) error { return os.Mkdir(dir+"/todo/0", 0o750) }, []string{"layout todo/0"}},
	} {
		made, _ := newQueue(t, queuetest.Layout{})
		if name == "todo/0" {
			add(t, made, queuetest.Message{State: "S4", Local: []string{"Ta@b"}})
		}
		must(t, test.do(made.Dir))
		got := examine(t, made.Dir, &Accounts{Queue: uint32(os.Geteuid()), Send: uint32(os.Geteuid()), Remote: uint32(os.Geteuid()), Group: uint32(os.Getegid())})
		if len(got) == 0 || test.want != nil && !slices.Equal(got, test.want) {
			t.Errorf("%s: %q; want %q", name, got, test.want)
		}
		for _, line := range got {
			if !strings.HasPrefix(line, "layout ") {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

// TestExamineAccounts proves that owners are judged by the accounts that were given.
func TestExamineAccounts(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{Split: 2})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	got := examine(t, made.Dir, &Accounts{Queue: uid, Send: uid + 1, Remote: uid, Group: gid})
	info, _ := filepath.Rel(made.Dir, made.Path("info", n))
	for path, wrong := range map[string]bool{".": false, "mess/0": false, "info": true, "info/1": true, "local": true, "bounce": true, info: true, "lock/sendmutex": true, "lock/tcpto": false} {
		if slices.Contains(got, "owner "+path) != wrong {
			t.Errorf("%s: %v", path, !wrong)
		}
	}
}

// TestExamineEnds proves that the error of who is told ends the examination and comes
// back, and that one of a queue that is not there does.
func TestExamineEnds(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{})
	must(t, os.Remove(made.Dir+"/lock/trigger"))
	must(t, os.Remove(made.Dir+"/lock/tcpto"))
	enough := errors.New("enough")
	told := 0
	err := Examine(made.Dir, nil, func(Damage) error { told++; return enough }, nil)
	if err != enough || told != 1 {
		t.Errorf("%v, told %d times", err, told)
	}
	if err := Examine(made.Dir+"/x", nil, nil, nil); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

// TestExamineLive proves that nothing is said of a sound queue in which mail comes, is
// preprocessed, is delivered and goes all the while.
func TestExamineLive(t *testing.T) {
	made, _ := newQueue(t, queuetest.Layout{Split: 3})
	fill(t, made, rand.New(rand.NewPCG(17, 3)), 50)
	done := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				ended <- nil
				return
			default:
			}
			n, err := made.Add(queuetest.Message{State: "S5", Sender: "a@b", Local: []string{"Tc@d"}, Remote: []string{"Te@f"}, Bounce: "x"})
			if err != nil {
				ended <- err
				return
			}
			for _, p := range []string{"local", "remote", "bounce", "info", "mess"} {
				os.Remove(made.Path(p, n))
			}
		}
	}()
	for range 200 {
		if got := examine(t, made.Dir, nil); len(got) > 0 {
			t.Errorf("%q", got)
			break
		}
	}
	close(done)
	must(t, <-ended)
}
