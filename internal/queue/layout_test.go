package queue

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestOpen proves that every layout there is opens, an empty queue and a link
// on the way included, and that the split is seen.
func TestOpen(t *testing.T) {
	for _, l := range layouts {
		made, q := newQueue(t, l)
		if int(q.split) != l.Split || q.places[Todo].split != l.BigTodo || len(q.places) != int(Suppl)+l.Suppl {
			t.Errorf("%+v: split %d, %+v", l, q.split, q.places)
		}
		link := filepath.Join(t.TempDir(), "link")
		must(t, os.Symlink(made.Dir, link))
		q = open(t, link)
		must(t, q.Scan(func(f Found) bool {
			t.Errorf("%+v: %+v", l, f)
			return true
		}, func(err error) { t.Error(err) }))
	}
}

// TestOpenFlat proves that a queue that is flat in every place is taken as it
// is.
func TestOpenFlat(t *testing.T) {
	dir := t.TempDir()
	for _, p := range placeNames {
		must(t, os.Mkdir(filepath.Join(dir, p), 0o700))
	}
	put(t, filepath.Join(dir, "mess/77"), "text\n")
	put(t, filepath.Join(dir, "info/77"), "Fa@b\x00")
	q := open(t, dir)
	if f, err := q.Find(77); err != nil || f.State() != S5 {
		t.Error(f, err)
	}
	m := readMessage(t, q, 77)
	if m.Sender != "a@b" || m.Size != 5 {
		t.Errorf("%+v", m)
	}
}

// TestLayout proves that what is no queue is refused, and that the error names where.
func TestLayout(t *testing.T) {
	for name, test := range map[string]struct {
		broken func(dir string) error
		path   string
	}{
		"link for a place": {func(dir string) error {
			return first(os.Rename(dir+"/info", dir+"/x"), os.Symlink("x", dir+"/info"))
		}, "info"},
		"file for a place": {func(dir string) error {
			return first(os.Remove(dir+"/bounce"), os.WriteFile(dir+"/bounce", nil, 0o600))
		}, "bounce"},
		"place missing":  {func(dir string) error { return os.Remove(dir + "/todo") }, "todo"},
		"suppl no place": {func(dir string) error { return os.WriteFile(dir+"/suppl0", nil, 0o600) }, "suppl0"},
		"too many suppl": {func(dir string) error { return os.Mkdir(dir+"/suppl64", 0o700) }, "suppl64"},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := queuetest.Make(filepath.Join(t.TempDir(), "queue"), queuetest.Layout{})
			must(t, err)
			must(t, test.broken(made.Dir))
			q, err := Open(made.Dir)
			if err == nil {
				q.Close()
			}
			wantError(t, err, ErrLayout, test.path)
		})
	}
}

// TestLayoutOdd proves that one odd piece among the directories keeps nothing from
// being read that stands where it belongs, and that it is named; and that all such
// messages can be removed, but those of which a piece stands in another place.
func TestLayoutOdd(t *testing.T) {
	for name, test := range map[string]struct {
		big    bool
		broken func(dir string, n uint64, free string) error
		odd    string // the path that is named
		stays  bool   // the message itself is not removed
	}{
		"a missing directory":       {broken: func(dir string, n uint64, free string) error { return os.Remove(dir + "/remote/" + free) }, odd: "remote/D1"},
		"none of mess":              {broken: func(dir string, n uint64, free string) error { return os.Remove(dir + "/mess/" + free) }},
		"one too many":              {broken: func(dir string, n uint64, free string) error { return os.Mkdir(dir+"/remote/23", 0o700) }, odd: "remote/23"},
		"a file among directories":  {broken: func(dir string, n uint64, free string) error { return os.WriteFile(dir+"/local/555", nil, 0o600) }, odd: "local/555"},
		"a directory in a flat one": {broken: func(dir string, n uint64, free string) error { return os.Mkdir(dir+"/bounce/3", 0o700) }, odd: "bounce/3"},
		"the message's own file among directories": {broken: func(dir string, n uint64, free string) error {
			return os.WriteFile(dir+"/local/"+strconv.FormatUint(n, 10), nil, 0o600)
		}, odd: "local/N", stays: true},
		"the message's own file in a wrong directory": {broken: func(dir string, n uint64, free string) error {
			return os.WriteFile(dir+"/info/"+free+"/"+strconv.FormatUint(n, 10), nil, 0o600)
		}, stays: true},
		"the message's own file in one too many": {broken: func(dir string, n uint64, free string) error {
			return first(os.Mkdir(dir+"/remote/23", 0o700), os.WriteFile(dir+"/remote/23/"+strconv.FormatUint(n, 10), nil, 0o600))
		}, odd: "remote/23", stays: true},
		"a suppl that is split otherwise": {broken: func(dir string, n uint64, free string) error { return os.MkdirAll(dir+"/suppl0/0", 0o700) }, odd: "suppl0/1"},
		"a link for a directory": {broken: func(dir string, n uint64, free string) error {
			return first(os.Remove(dir+"/remote/"+free), os.Symlink("8", dir+"/remote/"+free))
		}, odd: "remote/D1"},
		"todo with empty directories": {broken: func(dir string, n uint64, free string) error { return split(dir + "/todo") }, odd: "todo/0"},
		"todo and intd with empty directories": {broken: func(dir string, n uint64, free string) error {
			return first(split(dir+"/todo"), split(dir+"/intd"))
		}, odd: "todo/0"},
		"files beside a split todo": {big: true, broken: func(dir string, n uint64, free string) error {
			return os.WriteFile(dir+"/todo/555", nil, 0o600)
		}, odd: "todo/555"},
		"a gap in a split todo": {big: true, broken: func(dir string, n uint64, free string) error { return os.Remove(dir + "/todo/" + free) }, odd: "todo/D1"},
	} {
		t.Run(name, func(t *testing.T) {
			made, q := newQueue(t, queuetest.Layout{BigTodo: test.big})
			q.Close()
			n := add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Ta@b"}})
			todo := add(t, made, queuetest.Message{State: "S4", Sender: "s@t", Local: []string{"Ta@b"}})
			free := "" // a sub-directory of neither
			for i := range uint64(23) {
				if free = d(i); free != d(n) && free != d(todo) {
					break
				}
			}
			must(t, test.broken(made.Dir, n, free))
			q = open(t, made.Dir)
			want := strings.NewReplacer("D1", free, "N", strconv.FormatUint(n, 10)).Replace(test.odd)
			named := want == ""
			for _, err := range q.Odd() {
				var pe *fs.PathError
				named = named || errors.As(err, &pe) && pe.Path == want
			}
			if !named {
				t.Errorf("%v; want one about %s", q.Odd(), want)
			}
			read := make(map[uint64]State)
			must(t, q.List(Listing{}, func(m *Message) bool {
				if len(m.Problems) > 0 || m.Sender != "s@t" || len(m.Recipients) == 0 {
					t.Errorf("%+v", m)
				}
				read[m.Number] = m.State()
				return true
			}))
			if read[n] != S5 || read[todo] != S4 {
				t.Errorf("read: %v", read)
			}
			must(t, q.Scan(func(f Found) bool {
				if f.Number < 555 {
					t.Errorf("a directory is taken for a piece: %+v", f)
				}
				return true
			}, nil))
			for _, check := range []func(*Lock) error{(*Lock).Check, func(l *Lock) error { return l.CheckNumbers([]uint64{todo, n}) }} {
				l, err := q.Lock(0, nil)
				must(t, err)
				must(t, check(l))
				err = q.MayRemove(readMessage(t, q, n), time.Now(), false)
				if test.stays {
					untouched(t, made, ErrPlace, func() error { return l.Remove(readMessage(t, q, n), time.Now(), false) })
				} else if err != nil {
					t.Error(err)
				}
				must(t, l.Unlock())
			}
			l := lock(t, q)
			must(t, l.Check())
			must(t, l.Remove(readMessage(t, q, todo), time.Now(), false))
			if !test.stays {
				must(t, l.Remove(readMessage(t, q, n), time.Now(), false))
			}
		})
	}
}

// d is the sub-directory of a number in a queue of the common split.
func d(n uint64) string { return strconv.FormatUint(n%23, 10) }

// TestDirectoryNoPiece proves that a left-over sub-directory of a flat place is no piece
// of the message with its number.
func TestDirectoryNoPiece(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	q.Close()
	must(t, first(split(made.Dir+"/todo"), split(made.Dir+"/intd")))
	put(t, made.Dir+"/todo/555", "F\x00Ta@b\x00") // so todo is flat
	put(t, made.Dir+"/mess/12/12", "text\n")
	put(t, made.Dir+"/info/12/12", "Fs@t\x00")
	q = open(t, made.Dir)
	seen := make(map[uint64]State)
	must(t, q.Scan(func(f Found) bool { seen[f.Number] = f.State(); return true }, nil))
	if len(seen) != 2 || seen[12] != S5 {
		t.Errorf("%v", seen)
	}
	if f, err := q.Find(12); err != nil || f.State() != S5 {
		t.Errorf("%v, %v", f, err)
	}
}

// TestMessDirectoryMissing proves that without a sub-directory of mess, as where a disk
// is not mounted, its messages do not pass for pieces without one.
func TestMessDirectoryMissing(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}})
	must(t, os.Rename(made.Dir+"/mess/"+d(n), made.Dir+"/away"))
	for _, link := range []bool{false, true} {
		if link {
			must(t, os.Symlink("../away", made.Dir+"/mess/"+d(n)))
		}
		q.Close()
		q = open(t, made.Dir)
		failed := 0
		must(t, q.Scan(func(f Found) bool { t.Errorf("%+v is %v", f, f.State()); return true }, func(err error) {
			failed++
			var pe *fs.PathError
			if !errors.As(err, &pe) || pe.Path != "mess/"+d(n) {
				t.Error(err)
			}
		}))
		if _, err := q.Find(n); failed != 1 || err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%d failed, %v", failed, err)
		}
	}
}

// TestLayoutEither proves that where nothing tells whether todo and intd are split,
// since nothing is in them, they are as the first message shows them, and what is
// removed under the lock is right either way.
func TestLayoutEither(t *testing.T) {
	// One of the two is enough to tell of the other.
	for _, place := range []string{"todo", "intd"} {
		made, _ := newQueue(t, queuetest.Layout{})
		must(t, split(made.Dir+"/"+place))
		if q := open(t, made.Dir); q.places[Todo].split || q.places[Intd].split || len(q.Odd()) != 1 {
			t.Errorf("%s: %+v, %v", place, q.places, q.Odd())
		}
	}
	made, q := newQueue(t, queuetest.Layout{})
	q.Close()
	must(t, first(split(made.Dir+"/todo"), split(made.Dir+"/intd")))
	q = open(t, made.Dir)
	n := add(t, made, queuetest.Message{State: "S4", Sender: "s@t", Local: []string{"Ta@b"}})
	l := lock(t, q)
	must(t, l.Check())
	m := readMessage(t, q, n)
	if m.State() != S4 || m.Sender != "s@t" {
		t.Errorf("%+v", m)
	}
	must(t, l.Remove(m, time.Now(), false))
	if left := pieces(t, made, n); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	must(t, l.Check())
}

// TestDenied proves that a place which may not be read hides no more than itself, and
// that nothing is judged fit to be removed then.
func TestDenied(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Ta@b"}, Bounce: "no"})
	whole := readMessage(t, q, n)
	for p := Intd; p <= Remote; p++ {
		q := open(t, made.Dir)
		at := &q.places[q.index(p)]
		closeFD(at.fd) // as readLayout leaves one that it may not open
		*at = place{Place: p, fd: -1, denied: pathError("open", p.String(), unix.EACCES)}
		if err := q.Denied(p); !errors.Is(err, unix.EACCES) {
			t.Errorf("%v: %v", p, err)
		}
		if err := q.Denied(Mess); err != nil {
			t.Error(err)
		}
		count := 0
		must(t, q.List(Listing{}, func(m *Message) bool {
			count++
			if m.Has(p) || m.Size != whole.Size || p != Info && m.Sender != "s@t" || len(m.Problems) > 0 {
				t.Errorf("without %v: %+v", p, m)
			}
			return true
		}))
		if count != 1 {
			t.Errorf("without %v: %d messages", p, count)
		}
		l := lock(t, q)
		for _, err := range []error{l.Check(), l.CheckNumbers([]uint64{n}), q.MayRemove(readMessage(t, q, n), time.Now(), false)} {
			if !errors.Is(err, unix.EACCES) {
				t.Errorf("without %v: %v", p, err)
			}
		}
		must(t, l.Unlock())
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func split(dir string) error {
	for _, d := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22"} {
		if err := os.Mkdir(dir+"/"+d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// TestOpenLeaks proves that neither a queue that is refused nor one that is
// closed leaves a descriptor open.
func TestOpenLeaks(t *testing.T) {
	good, q := newQueue(t, queuetest.Layout{})
	add(t, good, queuetest.Message{Local: []string{"Ta@b"}})
	q.Close()
	bad, _ := newQueue(t, queuetest.Layout{})
	must(t, os.Remove(bad.Dir+"/bounce"))
	before := descriptors(t)
	for range 3 {
		if _, err := Open(bad.Dir); err == nil {
			t.Fatal("opened")
		}
		q, err := Open(good.Dir)
		must(t, err)
		must(t, q.List(Listing{Header: true}, func(*Message) bool { return true }))
		l, err := q.Lock(0, nil)
		must(t, err)
		must(t, l.Check())
		must(t, l.Unlock())
		must(t, q.Close())
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, then %d", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(fds)
}
