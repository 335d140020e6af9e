package queue

import (
	"os"
	"path/filepath"
	"testing"

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

// TestLayout proves that a queue whose layout contradicts itself is refused,
// and that the error names where.
func TestLayout(t *testing.T) {
	for name, test := range map[string]struct {
		broken func(dir string) error
		path   string
	}{
		"gap":            {func(dir string) error { return os.Remove(dir + "/info/5") }, "info/5"},
		"no 0":           {func(dir string) error { return os.Remove(dir + "/mess/0") }, "mess/0"},
		"another split":  {func(dir string) error { return os.Mkdir(dir+"/remote/23", 0o700) }, "remote"},
		"file among":     {func(dir string) error { return os.WriteFile(dir+"/local/555", nil, 0o600) }, "local/555"},
		"directory flat": {func(dir string) error { return os.Mkdir(dir+"/bounce/3", 0o700) }, "bounce/0"},
		"link for a sub-directory": {func(dir string) error {
			return first(os.Remove(dir+"/mess/7"), os.Symlink("8", dir+"/mess/7"))
		}, "mess/7"},
		"link for a place": {func(dir string) error {
			return first(os.Rename(dir+"/info", dir+"/x"), os.Symlink("x", dir+"/info"))
		}, "info"},
		"file for a place": {func(dir string) error {
			return first(os.Remove(dir+"/bounce"), os.WriteFile(dir+"/bounce", nil, 0o600))
		}, "bounce"},
		"place missing":  {func(dir string) error { return os.Remove(dir + "/todo") }, "todo"},
		"suppl no place": {func(dir string) error { return os.WriteFile(dir+"/suppl0", nil, 0o600) }, "suppl0"},
		"suppl unsplit otherwise": {func(dir string) error {
			return os.MkdirAll(dir+"/suppl0/0", 0o700)
		}, "suppl0"},
		"too many suppl": {func(dir string) error { return os.Mkdir(dir+"/suppl64", 0o700) }, "suppl64"},
		"todo split alone": {func(dir string) error {
			return split(dir + "/todo")
		}, "todo"},
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
	must(t, os.Remove(bad.Dir+"/info/5"))
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
