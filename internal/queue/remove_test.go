package queue

import (
	"bytes"
	"errors"
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

// pieces lists the files of a message, relative to the queue.
func pieces(t testing.TB, made *queuetest.Queue, n uint64) (all []string) {
	t.Helper()
	places := append([]string{"suppl0", "suppl1"}, placeNames[:]...)
	for _, p := range places {
		path := made.Path(p, n)
		if _, err := os.Lstat(path); err == nil {
			name, _ := filepath.Rel(made.Dir, path)
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// TestRemove proves on random queues of every layout that a removal takes
// exactly the files of its message, in qmail's safe order, and nothing else in
// the tree.
func TestRemove(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for _, l := range layouts {
		made, q := newQueue(t, l)
		messages := fill(t, made, r, 30)
		held := lock(t, q)
		var order []string
		q.before = func(p Place, n uint64) {
			path, _ := filepath.Rel(made.Dir, made.Path(p.String(), n))
			order = append(order, path)
		}
		before := tree(t, made.Dir)
		for n := range messages {
			m := readMessage(t, q, n)
			want := pieces(t, made, n)
			order = nil
			must(t, held.Remove(m, deadLater(), false))
			after := tree(t, made.Dir)
			if got := gone(t, before, after); !slices.Equal(got, want) {
				t.Errorf("%+v, %s: gone %v; want %v", l, m.State(), got, want)
			}
			before = after
			rank := func(path string) int {
				place, _, _ := strings.Cut(path, "/")
				return slices.Index([]string{"bounce", "local", "remote", "suppl0", "suppl1", "info", "intd", "todo", "mess"}, place)
			}
			if !slices.IsSortedFunc(order, func(a, b string) int { return rank(a) - rank(b) }) || rank(order[len(order)-1]) != 8 {
				t.Errorf("order %v", order)
			}
			if err := held.Remove(m, deadLater(), true); err != ErrVanished {
				t.Error(err)
			}
		}
	}
}

// untouched proves that a removal is refused and touches nothing.
func untouched(t *testing.T, made *queuetest.Queue, want error, remove func() error) {
	t.Helper()
	before := tree(t, made.Dir)
	wantError(t, remove(), want, "")
	if g := gone(t, before, tree(t, made.Dir)); len(g) > 0 {
		t.Errorf("gone: %v", g)
	}
}

// TestRemoveChanged proves that a message that is not what was read, by any of
// its pieces, is left alone.
func TestRemoveChanged(t *testing.T) {
	same := func(path string, change func() error) error { // but for ctime
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		return first(change(), os.Chtimes(path, st.ModTime(), st.ModTime()))
	}
	for name, test := range map[string]struct {
		state  string
		change func(made *queuetest.Queue, n uint64) error
		want   error
	}{
		"todo came": {"S5", func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("todo", n), []byte("F\x00Ta@b\x00"), 0o600)
		}, ErrChanged},
		"intd came": {"S5", func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("intd", n), nil, 0o600)
		}, ErrChanged},
		"S2 was queued": {"S2", func(made *queuetest.Queue, n uint64) error {
			return first(os.WriteFile(made.Path("intd", n), []byte("F\x00Ta@b\x00"), 0o600), os.Link(made.Path("intd", n), made.Path("todo", n)))
		}, ErrChanged},
		"S3 was queued": {"S3", func(made *queuetest.Queue, n uint64) error {
			return os.Link(made.Path("intd", n), made.Path("todo", n))
		}, ErrChanged},
		"bounce came": {"S5", func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("bounce", n), []byte("x"), 0o600)
		}, ErrChanged},
		"local went": {"S5", func(made *queuetest.Queue, n uint64) error { return os.Remove(made.Path("local", n)) }, ErrChanged},
		"mess went":  {"S5", func(made *queuetest.Queue, n uint64) error { return os.Remove(made.Path("mess", n)) }, ErrVanished},
		"preprocessed": {"S4", func(made *queuetest.Queue, n uint64) error {
			return first(os.WriteFile(made.Path("info", n), []byte("Fs@t\x00"), 0o600), os.Remove(made.Path("intd", n)), os.Remove(made.Path("todo", n)))
		}, ErrChanged},
		"info's content": {"S5", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("info", n)
			return same(path, func() error { return os.WriteFile(path, []byte("Fx@y\x00"), 0o600) })
		}, ErrChanged},
		"info's mtime": {"S5", func(made *queuetest.Queue, n uint64) error {
			return os.Chtimes(made.Path("info", n), time.Unix(5, 0), time.Unix(5, 0))
		}, ErrChanged},
		"another info": {"S5", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("info", n)
			st, err := os.Stat(path)
			return first(err, os.WriteFile(path+"x", []byte("Fs@t\x00"), 0o600), os.Rename(path+"x", path), os.Chtimes(path, st.ModTime(), st.ModTime()))
		}, ErrChanged},
		"another todo": {"S4", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("todo", n)
			text, err := os.ReadFile(path)
			st, err2 := os.Stat(path)
			return first(err, err2, os.WriteFile(path+"x", text, 0o600), os.Rename(path+"x", path), os.Chtimes(path, st.ModTime(), st.ModTime()))
		}, ErrChanged},
		"another text": {"S5", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("mess", n)
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return first(err, f.Close())
		}, ErrChanged},
		"another text of the same size and mtime": {"S4", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("mess", n)
			text, err := os.ReadFile(path)
			return first(err, same(path, func() error { return os.WriteFile(path, bytes.ToUpper(text), 0o600) }))
		}, ErrChanged},
		"mess copied": {"S5", func(made *queuetest.Queue, n uint64) error {
			path := made.Path("mess", n)
			return first(copyFile(path, path+"x"), os.Rename(path+"x", path))
		}, ErrCopied},
	} {
		t.Run(name, func(t *testing.T) {
			made, q := newQueue(t, queuetest.Layout{})
			m := queuetest.Message{State: test.state, Sender: "s@t", Local: []string{"Ta@b"}}
			n := add(t, made, m)
			l := lock(t, q)
			was := readMessage(t, q, n)
			must(t, test.change(made, n))
			untouched(t, made, test.want, func() error { return l.Remove(was, deadLater(), true) })
			if test.want == ErrChanged { // what it is now goes
				must(t, l.Remove(readMessage(t, q, n), deadLater(), false))
			}
		})
	}
}

// TestRemoveCopied proves that nothing is removed from a queue whose numbers
// are no inodes: the fixture.
func TestRemoveCopied(t *testing.T) {
	q := fixture(t)
	l := lock(t, q)
	must(t, l.Check())
	must(t, q.List(Listing{Header: true}, func(m *Message) bool {
		if err := l.Remove(m, deadLater(), true); err != ErrCopied {
			t.Errorf("%d: %v", m.Number, err)
		}
		if err := q.MarkDone(m); m.State() == S5 && err != ErrCopied || m.State() != S5 && err != ErrNotLive {
			t.Errorf("%d: %v", m.Number, err)
		}
		return true
	}))
	count := 0
	must(t, q.List(Listing{}, func(*Message) bool { count++; return true }))
	if count != 48 {
		t.Error(count)
	}
}

// TestRemoveYoung proves that what is half received, or may be, goes only when every
// time of every file of it is more than 36 hours back, to the second, and that what
// was seen is said.
func TestRemoveYoung(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	l := lock(t, q)
	for _, state := range []string{"S2", "S3", "stale S5", "stale S4", "orphan"} {
		want := map[string]error{"S2": ErrYoung, "S3": ErrYoung, "orphan": ErrYoungPieces}[state]
		if want == nil {
			want = ErrNewer
		}
		var n uint64
		switch state {
		case "S2", "S3":
			n = add(t, made, queuetest.Message{State: state, Local: []string{"Ta@b"}})
		case "stale S5", "stale S4":
			// The number's earlier message left its envelope.
			n = add(t, made, queuetest.Message{State: state[6:], Local: []string{"Ta@b"}})
			soon := time.Now().Add(time.Minute)
			must(t, os.Chtimes(made.Path("mess", n), soon, soon))
		case "orphan":
			n = add(t, made, queuetest.Message{State: "S4", Local: []string{"Ta@b"}})
			must(t, os.Remove(made.Path("mess", n)))
		}
		m := readMessage(t, q, n)
		last := time.Time{}
		all := pieces(t, made, n)
		for _, name := range all {
			var st unix.Stat_t
			must(t, unix.Lstat(filepath.Join(made.Dir, name), &st))
			for _, at := range []unix.Timespec{st.Atim, st.Mtim, st.Ctim} {
				if at := timeOf(at); at.After(last) {
					last = at
				}
			}
		}
		for _, now := range []time.Time{time.Now(), last.Add(deadAge)} {
			untouched(t, made, want, func() error { return l.Remove(m, now, true) })
		}
		if !strings.HasPrefix(state, "stale") { // only the ctime cannot be set back
			must(t, made.Age(n, 100*time.Hour))
			m = readMessage(t, q, n)
			untouched(t, made, want, func() error { return l.Remove(m, time.Now(), true) })
		}
		if state != "S2" { // not of the last file alone: each counts
			path := filepath.Join(made.Dir, all[0])
			st, err := os.Stat(path)
			must(t, err)
			must(t, os.Chtimes(path, last.Add(time.Hour), st.ModTime()))
			m = readMessage(t, q, n)
			untouched(t, made, want, func() error { return l.Remove(m, last.Add(deadAge+time.Minute), true) })
		}
		m = readMessage(t, q, n)
		must(t, l.Remove(m, last.Add(deadAge+2*time.Hour), true))
		if left := pieces(t, made, n); len(left) > 0 {
			t.Error(state, left)
		}
	}
	// What is queued goes at once.
	for _, state := range []string{"S4", "S5"} {
		n := add(t, made, queuetest.Message{State: state, Local: []string{"Ta@b"}})
		must(t, l.Remove(readMessage(t, q, n), time.Now(), false))
	}
}

// TestRemoveOrphan proves that pieces without a message go only where they are
// asked for, and that a name that was not seen, or whose number has a message
// again, stays.
func TestRemoveOrphan(t *testing.T) {
	var made *queuetest.Queue
	var q *Queue
	var l *Lock
	// Each in a queue of its own: the number is free, and the next message's.
	orphan := func() (uint64, *Message) {
		made, q = newQueue(t, queuetest.Layout{Suppl: 1})
		l = lock(t, q)
		n := add(t, made, queuetest.Message{State: "S5", Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}, Suppl: [][]string{{"Te@f"}}, Bounce: "x"})
		must(t, os.Remove(made.Path("mess", n)))
		m := readMessage(t, q, n)
		if m.State() != Orphan || m.Sender != "s@t" || len(m.Recipients) != 3 || !m.Bouncing {
			t.Errorf("%+v", m)
		}
		return n, m
	}
	n, m := orphan()
	untouched(t, made, ErrOrphan, func() error { return l.Remove(m, deadLater(), false) })
	if err := q.MarkDone(m); err != ErrOrphan {
		t.Error(err)
	}
	before := tree(t, made.Dir)
	want := pieces(t, made, n)
	// It is young: but only qmail-send could be writing it, and that is locked out.
	must(t, l.Remove(m, time.Now(), true))
	if got := gone(t, before, tree(t, made.Dir)); !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}

	// A message gets the number before the third piece goes.
	n, m = orphan()
	q.before = func(p Place, _ uint64) {
		if p == Remote {
			put(t, made.Path("mess", n), "new")
		}
	}
	err := l.Remove(m, deadLater(), true)
	path, _ := filepath.Rel(made.Dir, made.Path("remote", n))
	wantError(t, err, ErrChanged, path)
	for _, p := range []string{"mess", "remote", "suppl0", "info"} {
		if _, err := os.Lstat(made.Path(p, n)); err != nil {
			t.Error(err)
		}
	}

	// A todo that came after the look stays.
	n, m = orphan()
	q.before = func(p Place, _ uint64) {
		if p == Bounce {
			put(t, made.Path("todo", n), "new")
		}
	}
	err = l.Remove(m, deadLater(), true)
	must(t, err)
	if got := pieces(t, made, n); len(got) != 1 || !strings.HasPrefix(got[0], "todo/") {
		t.Error(got)
	}
}

// TestRemoveFails proves that a piece that does not go ends the removal: its
// error names it, and what comes after it stays.
func TestRemoveFails(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	l := lock(t, q)
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}, Bounce: "x"})
	must(t, os.Remove(made.Path("remote", n)))
	must(t, os.Mkdir(made.Path("remote", n), 0o700))
	m := readMessage(t, q, n)
	err := l.Remove(m, deadLater(), false)
	path, _ := filepath.Rel(made.Dir, made.Path("remote", n))
	wantError(t, err, unix.EISDIR, path)
	for p, there := range map[string]bool{"bounce": false, "local": false, "remote": true, "info": true, "mess": true} {
		if _, err := os.Lstat(made.Path(p, n)); there != (err == nil) {
			t.Error(p, err)
		}
	}
	// A piece that another took meanwhile is no error.
	n = add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	m = readMessage(t, q, n)
	q.before = func(p Place, n uint64) {
		if p == Local {
			must(t, os.Remove(made.Path("local", n)))
		}
	}
	must(t, l.Remove(m, deadLater(), false))
}

// TestRemoveWrongQueue proves that nothing goes from a queue that is not in
// order, nor by a message of another queue.
func TestRemoveWrongQueue(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	m := readMessage(t, q, n)
	l := lock(t, open(t, made.Dir))
	untouched(t, made, ErrChanged, func() error { return l.Remove(m, deadLater(), false) })
	must(t, l.Unlock())

	wrong := made.Path("info", n+1)
	must(t, os.Rename(made.Path("info", n), wrong[:strings.LastIndex(wrong, "/")]+"/"+filepath.Base(made.Path("info", n))))
	l = lock(t, q)
	m = readMessage(t, q, n)
	before := tree(t, made.Dir)
	if err := l.Remove(m, deadLater(), true); !errors.Is(err, ErrPlace) {
		t.Error(err)
	}
	if g := gone(t, before, tree(t, made.Dir)); len(g) > 0 {
		t.Error(g)
	}
}

// TestRemoveMalformed proves that what cannot be read in full can be removed.
func TestRemoveMalformed(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	l := lock(t, q)
	for name, spoil := range map[string]func(info string) error{
		"empty": write0(""), "unterminated": write0("Fx"), "binary": write0("\x00\xff"),
		"link": func(info string) error { return first(os.Remove(info), os.Symlink("nowhere", info)) },
		"fifo": func(info string) error { return first(os.Remove(info), unix.Mkfifo(info, 0o600)) },
		"huge": func(info string) error { return os.Truncate(info, maxEnvelope+1) },
	} {
		n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
		must(t, spoil(made.Path("info", n)))
		m := readMessage(t, q, n)
		if len(m.Problems) != 1 {
			t.Errorf("%s: %v", name, m.Problems)
		}
		if err := l.Remove(m, deadLater(), false); err != nil || len(pieces(t, made, n)) > 0 {
			t.Errorf("%s: %v, left %v", name, err, pieces(t, made, n))
		}
	}
}

// TestMarkDone proves that every recipient is marked with one byte in the file
// that qmail-send knows, the bounce goes, and nothing else changes.
func TestMarkDone(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Suppl: 1})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b", "DTc@d"}, Remote: []string{"TT@x", "TD@x"}, Suppl: [][]string{{"Te@f"}}, Bounce: "x"})
	other := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Bounce: "x"})
	before := tree(t, made.Dir)
	m := readMessage(t, q, n)
	must(t, q.MarkDone(m))
	after := tree(t, made.Dir)
	bounce, _ := filepath.Rel(made.Dir, made.Path("bounce", n))
	for name, was := range before {
		want := was
		switch name {
		case bounce:
			want = ""
		default:
			if strings.HasSuffix(name, filepath.Base(made.Path("local", n))) {
				for _, p := range [][2]string{{`"Ta@b\x00DTc@d\x00"`, `"Da@b\x00DTc@d\x00"`}, {`"TT@x\x00TD@x\x00"`, `"DT@x\x00DD@x\x00"`}, {`"Te@f\x00"`, `"De@f\x00"`}} {
					want = strings.Replace(want, p[0], p[1], 1)
				}
			}
		}
		if after[name] != want {
			t.Errorf("%s is %s; want %s", name, after[name], want)
		}
	}
	m = readMessage(t, q, n)
	for _, r := range m.Recipients {
		if !r.Done {
			t.Errorf("%+v", r)
		}
	}
	if len(m.Recipients) != 5 || m.Bouncing {
		t.Errorf("%+v", m)
	}
	must(t, q.MarkDone(m))
	if m := readMessage(t, q, other); m.Recipients[0].Done || !m.Bouncing {
		t.Errorf("%+v", m)
	}
	// Without a channel the bounce alone is left.
	for _, p := range []string{"local", "remote", "suppl0"} {
		must(t, os.Remove(made.Path(p, n)))
	}
	put(t, made.Path("bounce", n), "x")
	must(t, q.MarkDone(readMessage(t, q, n)))
	if got := pieces(t, made, n); len(got) != 2 {
		t.Error(got)
	}
}

// TestMarkDoneRefuses proves when nothing is marked: in any state but S5, where
// a channel is malformed, and where the message is another one by the time its
// channels are open.
func TestMarkDoneRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		state          string
		before, during func(made *queuetest.Queue, n uint64) error
		want           error
		path           string // place that is named
	}{
		"S2": {state: "S2", want: ErrNotLive}, "S3": {state: "S3", want: ErrNotLive}, "S4": {state: "S4", want: ErrNotLive},
		"malformed remote": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("remote", n), []byte("Tc@d\x00Xx\x00"), 0o600)
		}, want: ErrMalformed, path: "remote"},
		"unterminated remote": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("remote", n), []byte("Tc@d\x00Tx"), 0o600)
		}, want: ErrMalformed, path: "remote"},
		"link": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			return first(os.Rename(made.Path("remote", n), made.Dir+"/x"), os.Symlink(made.Dir+"/x", made.Path("remote", n)))
		}, want: unix.ELOOP, path: "remote"},
		"todo came": {state: "S5", during: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("todo", n), nil, 0o600)
		}, want: ErrChanged},
		"info changed": {state: "S5", during: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("info", n), []byte("Fx\x00"), 0o600)
		}, want: ErrChanged},
		"mess went": {state: "S5", during: func(made *queuetest.Queue, n uint64) error {
			return os.Remove(made.Path("mess", n))
		}, want: ErrVanished},
		"mess replaced": {state: "S5", during: func(made *queuetest.Queue, n uint64) error {
			path := made.Path("mess", n)
			return first(copyFile(path, path+"x"), os.Rename(path+"x", path))
		}, want: ErrCopied},
		"mess changed": {state: "S5", during: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("mess", n), []byte("another"), 0o600)
		}, want: ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			made, q := newQueue(t, queuetest.Layout{})
			m := queuetest.Message{State: test.state, Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}}
			if test.state == "S5" {
				m.Bounce = "x"
			}
			n := add(t, made, m)
			if test.before != nil {
				must(t, test.before(made, n))
			}
			read := readMessage(t, q, n)
			before := tree(t, made.Dir)
			q.before = func(p Place, n uint64) {
				if p == Mess && test.during != nil {
					must(t, test.during(made, n))
					before = tree(t, made.Dir)
				}
			}
			path := ""
			if test.path != "" {
				path, _ = filepath.Rel(made.Dir, made.Path(test.path, n))
			}
			wantError(t, q.MarkDone(read), test.want, path)
			if g := gone(t, before, tree(t, made.Dir)); len(g) > 0 {
				t.Error(g)
			}
		})
	}
}

// TestMarkDoneBounce proves that the bounce stays where the message ended
// while it was being marked: it may be the next one's.
func TestMarkDoneBounce(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Bounce: "x"})
	m := readMessage(t, q, n)
	q.before = func(p Place, n uint64) {
		if p == Bounce {
			put(t, made.Path("mess", n), "the next one's")
		}
	}
	must(t, q.MarkDone(m))
	if _, err := os.Lstat(made.Path("bounce", n)); err != nil {
		t.Error(err)
	}
}
