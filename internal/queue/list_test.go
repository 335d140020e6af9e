package queue

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestList proves with one reader and with many that List tells what Scan
// finds, in its order, with what work made of it, and only what Keep takes.
func TestList(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 7})
	fill(t, made, rand.New(rand.NewPCG(9, 10)), 700)
	put(t, made.Path("bounce", 1<<40), "orphan")
	var found []Found
	must(t, q.Scan(func(f Found) bool { found = append(found, f); return true }, nil))
	for _, jobs := range []int{0, 1, 2, 16} {
		for _, keep := range []func(Found) bool{nil, func(Found) bool { return true }, func(f Found) bool { return f.Number%3 == 0 }, func(Found) bool { return false }} {
			var got []Found
			must(t, List(q, Listing{Keep: keep, Jobs: jobs, Header: jobs == 2,
				Failed: func(err error) { t.Error(err) },
			}, func(m *Message) uint64 { return m.Number }, func(m *Message, result uint64) bool {
				if result != m.Number {
					t.Errorf("%d has the result of %d", m.Number, result)
				}
				got = append(got, m.Found)
				return true
			}))
			i := 0
			for _, f := range found {
				if keep == nil && !f.Has(Mess) || keep != nil && !keep(f) {
					continue
				}
				if i >= len(got) || got[i] != f {
					t.Fatalf("%d jobs: %d is not %v", jobs, i, f)
				}
				i++
			}
			if i != len(got) {
				t.Fatalf("%d jobs: %d of %d", jobs, len(got), i)
			}
		}
	}
}

// TestListEnd proves that List ends where Each says so, with all its
// goroutines, and reads little further.
func TestListEnd(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 1})
	made.Direct = true
	for range 1500 {
		add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	}
	before := runtime.NumGoroutine()
	var read atomic.Int64
	for _, after := range []int{1, 64, 100} {
		read.Store(0)
		told := 0
		must(t, List(q, Listing{Jobs: 2}, func(*Message) int64 { return read.Add(1) }, func(*Message, int64) bool {
			told++
			return told < after
		}))
		if told != after || read.Load() > int64(after+9*batchSize) {
			t.Errorf("%d told, %d read", told, read.Load())
		}
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, were %d", now, before)
	}
}

// TestListFailed proves that what cannot be read is reported once, and that
// the rest is told.
func TestListFailed(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 7})
	messages := fill(t, made, rand.New(rand.NewPCG(11, 12)), 50)
	must(t, os.Rename(made.Dir+"/remote/3", made.Dir+"/x"))
	want := 0
	for n := range messages {
		if n%7 != 3 {
			want++
		}
	}
	told, failed := 0, 0
	must(t, q.List(Listing{
		Failed: func(err error) {
			failed++
			wantError(t, err, unix.ENOENT, "remote/3")
		},
	}, func(*Message) bool { told++; return true }))
	if told != want || failed != 1 {
		t.Errorf("%d of %d told, %d failed", told, want, failed)
	}
}

// TestListLive proves that a queue which changes all the time is listed
// without an error or a message that never was: every one that stays is told,
// and none is taken for an orphan.
func TestListLive(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 3})
	stays := map[uint64]bool{}
	for range 200 {
		stays[add(t, made, queuetest.Message{Sender: "stays@b", Local: []string{"Ta@b"}})] = true
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, err := made.Add(queuetest.Message{Sender: "goes@b", Local: []string{"Ta@b"}})
				if err != nil {
					t.Error(err)
					return
				}
				for _, p := range []string{"local", "info", "mess"} { // as qmail-send ends it
					if err := os.Remove(made.Path(p, n)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 30 {
		told := 0
		err := q.List(Listing{
			Keep: func(f Found) bool {
				if f.State() == Orphan {
					t.Errorf("%d is an orphan", f.Number)
				}
				return true
			},
			Failed: func(err error) { t.Error(err) },
		}, func(m *Message) bool {
			if stays[m.Number] {
				told++
				if m.Sender != "stays@b" {
					t.Errorf("%+v", m)
				}
			}
			for _, err := range m.Problems {
				// A file may be seen while it is being written.
				if len(m.Recipients) > 0 && m.Sender != "" {
					t.Error(m.Number, err)
				}
			}
			return true
		})
		if err != nil || told != len(stays) {
			t.Errorf("%d of %d told, %v", told, len(stays), err)
		}
	}
	close(stop)
	busy.Wait()
}

// TestListMemory proves that what List holds does not grow with the queue.
func TestListMemory(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{Split: 1})
	made.Direct = true
	for range 3000 {
		add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: "Subject: x\n\n"})
	}
	live := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before, most, told := live(), uint64(0), 0
	must(t, q.List(Listing{Header: true}, func(m *Message) bool {
		if told++; told%500 == 0 {
			most = max(most, live())
		}
		return true
	}))
	// In flight: 16 batches of 64 at a kilobyte or so, and buffers.
	if most > before+3<<19 {
		t.Errorf("%d kB, were %d", most>>10, before>>10)
	}
}

var benchmarkDir string // removed by TestMain

// benchmarkQueue makes a queue of n messages, once for all benchmarks.
var benchmarkQueue = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "queue-bench")
	if err != nil {
		return "", err
	}
	benchmarkDir = dir
	made, err := queuetest.Make(filepath.Join(dir, "queue"), queuetest.Layout{})
	if err != nil {
		return "", err
	}
	made.Direct = true
	for i := range 20000 {
		_, err := made.Add(queuetest.Message{Sender: "taro@test.local", Remote: []string{fmt.Sprintf("Tuser%d@example.test", i)},
			Body: fmt.Sprintf("From: taro@test.local\nTo: user%d@example.test\nSubject: number %d\n\nbody\n", i, i)})
		if err != nil {
			return "", err
		}
	}
	return made.Dir, nil
})

func benchmark(b *testing.B, run func(q *Queue) error) {
	dir, err := benchmarkQueue()
	must(b, err)
	q := open(b, dir)
	for b.Loop() {
		must(b, run(q))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/message")
}

func BenchmarkScan(b *testing.B) {
	benchmark(b, func(q *Queue) error { return q.Scan(func(Found) bool { return true }, nil) })
}

func BenchmarkList(b *testing.B) {
	for _, jobs := range []int{1, 2, 3, 4, 8} {
		b.Run(fmt.Sprintf("%d", jobs), func(b *testing.B) {
			benchmark(b, func(q *Queue) error {
				return q.List(Listing{Header: true, Jobs: jobs}, func(*Message) bool { return true })
			})
		})
	}
}
