package queue

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestShape proves on random names and ages that a Shape counts as a map does, and
// tells the names in their order: addresses, domains, empty ones and endless ones.
func TestShape(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	long := strings.Repeat("x", 5000)
	for range 50 {
		var s Shape
		want := make(map[string]Count)
		for range r.IntN(3000) {
			name := []string{"", "a@b", "@", "a@b@c", "b", "@b", fmt.Sprint("user", r.IntN(500), "@host", r.IntN(5)), fmt.Sprint(r.IntN(900)), "\x00\xff@\x00", long[:maxName]}[r.IntN(10)]
			i := r.IntN(len(Ages) + 1)
			age := time.Duration(0)
			if i > 0 {
				age = Ages[i-1]
			}
			if i < len(Ages) && r.IntN(2) == 0 {
				age = Ages[i] - 1
			}
			if i == 0 && r.IntN(3) == 0 {
				age = -time.Hour
			}
			s.Add(name, age)
			c := want[name]
			c[i]++
			want[name] = c
		}
		var names []string
		for name := range want {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			x, y := want[a], want[b]
			if x.Total() != y.Total() {
				return int(y.Total()) - int(x.Total())
			}
			return strings.Compare(a, b)
		})
		var got []string
		s.Each(func(name string, c Count) bool {
			got = append(got, name)
			if c != want[name] {
				t.Errorf("%q: %v; want %v", name, c, want[name])
			}
			return true
		})
		if !slices.Equal(got, names) || s.Names() != len(names) {
			t.Fatalf("%q\nwant %q", got, names)
		}
		count := 0
		s.Each(func(string, Count) bool { count++; return count < 2 })
		if count != min(2, len(names)) {
			t.Error(count)
		}
	}
	var s Shape
	for _, name := range []string{long, long + "y", long + "y@b.example", long} {
		s.Add(name, 0)
	}
	s.Each(func(name string, c Count) bool {
		if len(name) > maxName+64 || !strings.HasPrefix(name, long[:maxName]) {
			t.Errorf("%d bytes", len(name))
		}
		return true
	})
	if s.Names() != 3 {
		t.Errorf("%d names", s.Names())
	}
}

// TestShapeMemory proves that a million senders fit into what is left of 64 MB.
func TestShapeMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := new(Shape)
	for i := range 1000000 {
		s.Add(fmt.Sprintf("user%d@host%d.example", i, i%1000), time.Duration(i)*time.Second)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := after.HeapAlloc - before.HeapAlloc; used > 40<<20 || s.Names() != 1000000 {
		t.Errorf("%d bytes for %d names", used, s.Names())
	}
	runtime.KeepAlive(s)
}
