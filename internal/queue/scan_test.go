package queue

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kowaza/internal/queue/queuetest"
)

// scan collects what Scan tells.
func scan(t testing.TB, q *Queue) map[uint64]Found {
	t.Helper()
	all := map[uint64]Found{}
	var last Found
	must(t, q.Scan(func(f Found) bool {
		if _, twice := all[f.Number]; twice {
			t.Errorf("%d twice", f.Number)
		}
		if last.Number != 0 && (last.Number%q.split > f.Number%q.split || last.Number%q.split == f.Number%q.split && last.Number >= f.Number) {
			t.Errorf("%d after %d", f.Number, last.Number)
		}
		last = f
		all[f.Number] = f
		return true
	}, func(err error) { t.Error(err) }))
	return all
}

// TestScan proves on random queues of every layout that Scan and Find tell
// every message with exactly its pieces and its state, in order.
func TestScan(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, l := range layouts {
		made, q := newQueue(t, l)
		messages := fill(t, made, r, 60)
		all := scan(t, q)
		if len(all) != len(messages) {
			t.Errorf("%+v: %d of %d", l, len(all), len(messages))
		}
		for n, m := range messages {
			f := all[n]
			if f.State().String() != m.State {
				t.Errorf("%+v: %d is %s; want %s", l, n, f.State(), m.State)
			}
			for _, p := range q.places {
				_, err := os.Lstat(made.Path(p.String(), n))
				if f.Has(p.Place) != (err == nil) {
					t.Errorf("%+v: %d in %s: %v, %v", l, n, p, f.Has(p.Place), err)
				}
			}
			if again, err := q.Find(n); again != f || err != nil {
				t.Errorf("Find(%d) = %v, %v; want %v", n, again, err, f)
			}
		}
		if _, err := q.Find(1 << 60); err != ErrNotFound {
			t.Error(err)
		}
		count := 0
		must(t, q.Scan(func(Found) bool { count++; return false }, nil))
		if count != 1 {
			t.Errorf("%d after the first", count)
		}
	}
}

// TestScanFew proves that a queue is read with fewer descriptors than it has
// directories.
func TestScanFew(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 7, Suppl: 1})
	q.maxOpen = 2
	messages := fill(t, made, rand.New(rand.NewPCG(5, 6)), 40)
	for range 3 {
		if all := scan(t, q); len(all) != len(messages) {
			t.Fatalf("%d of %d", len(all), len(messages))
		}
		for n := range messages {
			if _, err := q.Find(n); err != nil {
				t.Fatal(err)
			}
		}
		if len(q.open) > 2 {
			t.Fatalf("%d open", len(q.open))
		}
	}
	// One that was open before and is closed by now must be the same.
	scan(t, q)
	must(t, os.Rename(made.Dir+"/info/0", made.Dir+"/old"))
	must(t, os.Mkdir(made.Dir+"/info/0", 0o700))
	for n := range messages {
		if n%7 == 0 {
			_, err := q.Find(n)
			wantError(t, err, ErrLayout, "info/0")
			return
		}
	}
}

// TestStates proves which pieces make which state.
func TestStates(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{State: "S2"})
	must(t, os.Remove(made.Path("mess", n)))
	for pieces, want := range map[string]State{
		"mess": S2, "mess local": S2, "mess bounce remote": S2,
		"mess intd": S3, "mess intd info": S3,
		"mess todo": S4, "mess intd todo": S4, "mess intd todo info local bounce": S4, "mess todo info": S4,
		"mess info": S5, "mess info local remote bounce": S5,
		"info": Orphan, "todo": Orphan, "intd todo": Orphan, "bounce": Orphan, "local remote": Orphan,
	} {
		for p := range strings.FieldsSeq(pieces) {
			put(t, made.Path(p, n), "x")
		}
		f, err := q.Find(n)
		must(t, err)
		if f.State() != want || scan(t, q)[n] != f {
			t.Errorf("%s: %s; want %s", pieces, f.State(), want)
		}
		for p := range strings.FieldsSeq(pieces) {
			must(t, os.Remove(made.Path(p, n)))
		}
	}
}

// TestScanLate proves that what was only on its way when its directories were
// read is told as what it is by then, or not at all.
func TestScanLate(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 1})
	n := add(t, made, queuetest.Message{State: "S5", Local: []string{"Ta@b"}})
	late, err := q.Find(n)
	must(t, err)
	s, err := q.pin(0)
	must(t, err)
	defer q.unpin(s)
	for _, seen := range [][]Place{{Mess}, {Mess, Intd}, {Local}, {Info, Bounce}} {
		for number, want := range map[uint64][]Found{n: {late}, 1 << 50: nil} {
			lists := make([][]uint64, len(q.places))
			for _, p := range seen {
				lists[p] = []uint64{number}
			}
			var got []Found
			q.merge(s, lists, func(f Found) bool { got = append(got, f); return true },
				func(err error) { t.Error(err) })
			if !slices.Equal(got, want) {
				t.Errorf("seen in %v: %v; want %v", seen, got, want)
			}
		}
	}
}

// TestScanWrong proves that a file in the wrong sub-directory is reported and
// left out, and that Check notes it; that other names are passed over.
func TestScanWrong(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 23, BigTodo: true})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	d := strconv.FormatUint(n%23, 10)
	for _, name := range []string{"0" + strconv.FormatUint(n, 10), "+5", "-1", "5x", "x", "18446744073709551616", "99999999999999999999", "0", ".5"} {
		put(t, made.Dir+"/mess/"+d+"/"+name, "x")
		put(t, made.Dir+"/bounce/"+name, "x")
	}
	l := lock(t, q)
	must(t, l.Check())
	if all := scan(t, q); len(all) != 1 {
		t.Errorf("%v", all)
	}
	wrong := map[string]string{
		"mess/3/" + strconv.Itoa(23*1000+4): "", "info/3/" + strconv.Itoa(23*1000+2): "",
		"todo/0/18446744073709551615": "", "mess/22/" + strconv.FormatUint(n/23*23, 10): "",
	}
	for name := range wrong {
		put(t, made.Dir+"/"+name, "x")
		must(t, l.Check())
		number, err := strconv.ParseUint(filepath.Base(name), 10, 64)
		must(t, err)
		if len(q.wrong) != 1 || !errors.Is(q.wrong[number], ErrPlace) || !strings.HasPrefix(q.wrong[number].Error(), name+" ") {
			t.Errorf("%v; want %s", q.wrong, name)
		}
		must(t, os.Remove(made.Dir+"/"+name))
	}
	must(t, l.Check())
	for name := range wrong {
		put(t, made.Dir+"/"+name, "x")
	}
	seen := 0
	must(t, q.Scan(func(f Found) bool {
		seen++
		if f.Number != n {
			t.Error(f)
		}
		return true
	}, func(err error) {
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Err != ErrPlace {
			t.Fatal(err)
		}
		if _, ok := wrong[pe.Path]; !ok {
			t.Error(err)
		}
		delete(wrong, pe.Path)
	}))
	if seen != 1 || len(wrong) > 0 {
		t.Errorf("%d seen, not reported: %v", seen, slices.Collect(maps.Keys(wrong)))
	}
	must(t, l.Check())
	if len(q.wrong) != 4 {
		t.Error(q.wrong)
	}
}

// TestNumber proves which names are numbers.
func TestNumber(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "4294967296": 1 << 32, "18446744073709551615": 1<<64 - 1,
	} {
		if n, ok := number([]byte(text)); !ok || n != want || string(new(name).set(n).digits()) != text {
			t.Errorf("%s: %d, %v", text, n, ok)
		}
	}
	for _, name := range []string{"", "00", "01", "+1", "-1", " 1", "1 ", "1a", "18446744073709551616", "28446744073709551615", "100000000000000000000", "\xff"} {
		if n, ok := number([]byte(name)); ok {
			t.Errorf("%q: %d", name, n)
		}
	}
}
