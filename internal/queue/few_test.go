package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"kowaza/internal/queue/queuetest"
)

// TestListNumbers proves on random queues of every layout that ListNumbers tells
// the messages as List does, in the order in which they are asked for, passes over
// those that are not there, and ends where it is told to.
func TestListNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, layout := range layouts {
		made, q := newQueue(t, layout)
		fill(t, made, r, 40)
		var numbers []uint64
		want := map[uint64]string{}
		must(t, q.List(Listing{Keep: func(Found) bool { return true }, Header: true}, func(m *Message) bool {
			numbers = append(numbers, m.Number)
			want[m.Number] = fmt.Sprint(m.Found, m.Sender, m.Recipients, m.Size, m.Birth, m.Header, m.Problems)
			return true
		}))
		r.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		asked := slices.Concat([]uint64{0, 1}, numbers, []uint64{1<<64 - 1})
		var got []uint64
		must(t, q.ListNumbers(asked, Listing{Header: true, Failed: func(err error) { t.Error(err) }}, func(m *Message) bool {
			got = append(got, m.Number)
			if s := fmt.Sprint(m.Found, m.Sender, m.Recipients, m.Size, m.Birth, m.Header, m.Problems); s != want[m.Number] {
				t.Errorf("%d: %s; want %s", m.Number, s, want[m.Number])
			}
			return len(got) < len(numbers)
		}))
		if !slices.Equal(got, numbers) {
			t.Errorf("%+v: %v; want %v", layout, got, numbers)
		}
		got = nil
		must(t, q.ListNumbers(asked, Listing{Keep: func(f Found) bool { return f.Number == numbers[2] }}, func(m *Message) bool {
			got = append(got, m.Number)
			return true
		}))
		if len(got) != 1 || got[0] != numbers[2] {
			t.Errorf("%+v: %v; want %d", layout, got, numbers[2])
		}
	}
}

// TestCheckNumbers proves that a file in the wrong place is in the way of its own
// number, wherever it is, and of no other; that nothing goes by a check that was for
// other numbers but after a look at all; and that in a queue whose directories have
// become another split's every number is refused.
func TestCheckNumbers(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	var numbers []uint64
	for range 50 {
		numbers = append(numbers, add(t, made, queuetest.Message{Local: []string{"Ta@b"}}))
	}
	l := lock(t, q)
	must(t, l.CheckNumbers(numbers))
	n, other := numbers[0], numbers[1]
	wrong := "info/" + strconv.FormatUint((n+1)%q.split, 10) + "/" + strconv.FormatUint(n, 10)
	put(t, made.Dir+"/"+wrong, "x")
	must(t, l.CheckNumbers([]uint64{n, other}))
	m := readMessage(t, q, n)
	untouched(t, made, ErrPlace, func() error { return l.Remove(m, m.Birth, false) })
	must(t, q.MayRemove(readMessage(t, q, other), m.Birth, false))
	must(t, l.Unlock())
	if err := l.CheckNumbers(numbers); err != ErrUnlocked {
		t.Error(err)
	}
	second := lock(t, open(t, made.Dir))
	m = readMessage(t, second.q, n)
	must(t, second.CheckNumbers([]uint64{other}))
	untouched(t, made, ErrPlace, func() error { return second.Remove(m, m.Birth, false) })
	must(t, os.Remove(made.Dir+"/"+wrong))
	must(t, second.CheckNumbers([]uint64{n}))
	must(t, second.q.MayRemove(m, m.Birth, false))
	must(t, os.Rename(made.Dir+"/mess/22", made.Dir+"/gone"))
	if err := second.CheckNumbers([]uint64{other}); !errors.Is(err, ErrLayout) {
		t.Error(err)
	}
	must(t, os.Rename(made.Dir+"/gone", made.Dir+"/mess/22"))
	must(t, second.Unlock())

	// Every name one directory further on, as if the queue had been split anew.
	for i := range 23 {
		must(t, os.Rename(fmt.Sprintf("%s/mess/%d", made.Dir, i), fmt.Sprintf("%s/mess/x%d", made.Dir, (i+1)%23)))
	}
	for i := range 23 {
		must(t, os.Rename(fmt.Sprintf("%s/mess/x%d", made.Dir, i), fmt.Sprintf("%s/mess/%d", made.Dir, i)))
	}
	for _, check := range []func(*Queue) error{(*Queue).Check, func(q *Queue) error { return q.CheckNumbers(numbers) }} {
		q := open(t, made.Dir)
		must(t, check(q))
		for _, n := range numbers {
			m := readMessage(t, q, n) // an orphan, as it looks
			if err := q.MayRemove(m, deadLater(), true); !errors.Is(err, ErrPlace) {
				t.Errorf("%d: %v", n, err)
			}
		}
	}
}
