package maildir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestParseQuota proves what is a quota and how many bytes and messages it is.
func TestParseQuota(t *testing.T) {
	for text, want := range map[string]Quota{
		"0": {}, "none": {}, "0S": {}, "5120": {5120 << 10, 0}, "010": {10 << 10, 0}, "1k": {1 << 10, 0}, "3M": {3 << 20, 0}, "2g": {2 << 30, 0},
		"10000000S": {10000000, 0}, "1000C": {0, 1000}, "5S,6C": {5, 6}, "6C,5S": {5, 6},
		"9007199254740992S": {1 << 53, 0}, "8388608G": {1 << 53, 0},
	} {
		if q, err := ParseQuota(text); err != nil || q != want {
			t.Errorf("%q: %v, %v; want %v", text, q, err, want)
		}
		again, err := ParseQuota(want.Definition())
		if err != nil || again != want {
			t.Errorf("%q: definition %q is %v, %v", text, want.Definition(), again, err)
		}
	}
	for _, text := range []string{"", " 5", "5 ", "-5", "+5", "5s", "5c", "5S,", ",5S", "5S,6S", "5C,6C", "5S,6", "5KB", "K", "S", "5.5", "0x10",
		"9007199254740993S", "8388609G", "99999999999999999999", "None"} {
		if q, err := ParseQuota(text); err == nil {
			t.Errorf("%q: %v", text, q)
		}
	}
}

// testBox makes an empty Maildir.
func testBox(t testing.TB) string {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// anyWait is longer than any machine stands still on which the tests run: on one that
// others use, too, a minute was not enough once.
const anyWait = 15 * time.Minute

// ask checks one message and reports the answer.
func ask(t testing.TB, dir string, c Check, size int64, small bool) Answer {
	b, err := OpenBox(dir)
	if err == nil {
		defer b.Close()
		err = b.Lock(anyWait)
	}
	if err != nil {
		t.Error(err)
		return Answer{Room: MayBeFull}
	}
	a, err := b.Ask(&c, size, small)
	if err != nil {
		t.Error(err)
	}
	return a
}

var delivered atomic.Int64

// arrive puts a message of that size into new as qmail-local does: no size in its name.
func arrive(t testing.TB, dir string, size int64) string {
	n := delivered.Add(1)
	name := fmt.Sprintf("%d.%d.mx", time.Now().Unix(), n)
	if err := os.WriteFile(dir+"/tmp/"+name, make([]byte, size), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Link(dir+"/tmp/"+name, dir+"/new/"+name); err != nil {
		t.Error(err)
	}
	os.Remove(dir + "/tmp/" + name)
	return dir + "/new/" + name
}

// TestQuotaExact proves that of 50 deliveries at once exactly as many come in as there
// is room for, with the maildirsize that was there before: none, an old one, one that
// says full though mail was removed without a word since, one that is about to be
// counted anew.
func TestQuotaExact(t *testing.T) {
	const deliveries, room, size = 50, 10, 1000
	rounds := 200
	if os.Getenv("KOWAZA_SOAK") != "" {
		rounds = 1000
	}
	for round := range rounds {
		dir := testBox(t)
		c := Check{Quota: Quota{Bytes: room*size + size - 1}, Now: time.Now}
		if round%2 == 1 {
			c.Quota = Quota{Messages: room}
		}
		switch round % 5 {
		case 1:
			os.WriteFile(dir+"/maildirsize", []byte(c.Quota.Definition()+"\n0 0\n"), 0o644)
		case 2: // full, but what filled it was removed
			var old []string
			for range room {
				old = append(old, arrive(t, dir, size))
			}
			if a := ask(t, dir, c, size, false); a.Room != NoRoom {
				t.Errorf("full, and %+v", a)
			}
			for _, name := range old {
				os.Remove(name)
			}
		case 3: // it has grown
			os.WriteFile(dir+"/maildirsize", []byte(c.Quota.Definition()+"\n"+strings.Repeat("0 0\n", 1279)), 0o644)
		case 4: // another's, and of long ago
			os.WriteFile(dir+"/maildirsize", []byte("1S\n999999999 999\n"), 0o644)
			old := time.Now().Add(-time.Hour)
			os.Chtimes(dir+"/maildirsize", old, old)
		}
		var all sync.WaitGroup
		var in, maybe, refused atomic.Int64
		for range deliveries {
			all.Go(func() {
				switch a := ask(t, dir, c, size, false); a.Room {
				case HasRoom:
					arrive(t, dir, size)
					in.Add(1)
				case MayBeFull:
					maybe.Add(1)
				default:
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if in.Load() != room {
			text, _ := os.ReadFile(dir + "/maildirsize")
			t.Fatalf("round %d: %d came in, %d later, %d refused; want %d\n%s", round, in.Load(), maybe.Load(), refused.Load(), room, text)
		}
	}
}

// TestBookingLost proves that a message that was let in and never delivered takes room
// for two minutes, in which others are told to come again, and none after that.
func TestBookingLost(t *testing.T) {
	dir := testBox(t)
	now := time.Now()
	c := Check{Quota: Quota{Bytes: 1500}, Now: func() time.Time { return now }}
	if a := ask(t, dir, c, 1000, false); a.Room != HasRoom {
		t.Fatalf("the first: %+v", a)
	}
	for _, after := range []time.Duration{0, time.Second, 119 * time.Second} {
		now = now.Add(after)
		if a := ask(t, dir, c, 1000, false); a.Room != MayBeFull || !a.Counted {
			t.Errorf("after %v: %+v", after, a)
		}
	}
	now = now.Add(2 * time.Second)
	if a := ask(t, dir, c, 1000, false); a.Room != HasRoom {
		t.Errorf("after two minutes: %+v", a)
	}
}

// TestBookingArrived proves that a message which has arrived counts once, not with its
// booking besides, over any number of counts, also when it has been read or removed.
func TestBookingArrived(t *testing.T) {
	dir := testBox(t)
	c := Check{Quota: Quota{Bytes: 2500}, Now: time.Now}
	if a := ask(t, dir, c, 1000, false); a.Room != HasRoom {
		t.Fatalf("the first: %+v", a)
	}
	first := arrive(t, dir, 1000)
	for range 3 { // 1000 + 2000 do not fit: it is counted
		if a := ask(t, dir, c, 2000, false); a.Room != NoRoom || a.Usage != (Usage{1000, 1}) {
			t.Errorf("%+v", a)
		}
	}
	os.Rename(first, dir+"/cur/"+filepath.Base(first)+":2,S")
	if a := ask(t, dir, c, 2000, false); a.Room != NoRoom || a.Usage != (Usage{1000, 1}) {
		t.Errorf("read: %+v", a)
	}
	if a := ask(t, dir, c, 1000, false); a.Room != HasRoom {
		t.Errorf("the second: %+v", a)
	}
	arrive(t, dir, 1000)
	os.Remove(dir + "/cur/" + filepath.Base(first) + ":2,S")
	if a := ask(t, dir, c, 1000, false); a.Room == NoRoom {
		t.Errorf("refused though one was removed: %+v", a)
	}
}

// TestSumFileAge proves that a maildirsize is not believed longer than a day, nor one
// from the future, where the file system tells when it was made; the clock may go back
// and forth.
func TestSumFileAge(t *testing.T) {
	dir := testBox(t)
	var st unix.Statx_t
	if err := os.WriteFile(dir+"/maildirsize", []byte("1000S\n10 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statx(unix.AT_FDCWD, dir+"/maildirsize", 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		t.Skipf("SKIP the file system does not tell: %v", err)
	}
	for after, want := range map[time.Duration]bool{0: true, 23 * time.Hour: true, 25 * time.Hour: false, -23 * time.Hour: true, -25 * time.Hour: false, 9000 * time.Hour: false} {
		c := Check{Quota: Quota{Bytes: 1000}, DryRun: true, Now: func() time.Time { return time.Now().Add(after) }}
		if a := ask(t, dir, c, 1, false); a.Counted == want {
			t.Errorf("after %v: %+v", after, a)
		}
	}
}

// TestNeverWronglyRefused proves with random deliveries, removals, moves and checks at
// once that mail is refused only if at some instant of the check what was there exceeded
// the quota with it.
func TestNeverWronglyRefused(t *testing.T) {
	const size, quota = 100, 2000
	for seed := range uint64(6) {
		dir := testBox(t)
		c := Check{Quota: Quota{Bytes: quota}, Now: time.Now}
		var mu sync.Mutex
		there, stamp := 0, 0
		type moment struct{ at, there int }
		var history []moment // by stamp
		note := func(change int) {
			mu.Lock()
			defer mu.Unlock()
			there += change
			stamp++
			history = append(history, moment{stamp, there})
		}
		note(0)
		stop := make(chan struct{})
		var all sync.WaitGroup
		for w := range 3 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(w)))
				var mine []string
				for {
					select {
					case <-stop:
						return
					default:
					}
					switch i := r.IntN(10); {
					case len(mine) < 9 && i < 5:
						note(1) // it is there from now on at the latest
						mine = append(mine, arrive(t, dir, size))
					case len(mine) > 0 && i < 8:
						k := r.IntN(len(mine))
						os.Remove(mine[k])
						note(-1)
						mine[k] = mine[len(mine)-1]
						mine = mine[:len(mine)-1]
					case len(mine) > 0:
						k := r.IntN(len(mine))
						moved := dir + "/cur/" + filepath.Base(mine[k])
						if os.Rename(mine[k], moved) == nil {
							mine[k] = moved
						}
					}
				}
			})
		}
		refused := 0
		for range 400 {
			mu.Lock()
			from := len(history) - 1
			mu.Unlock()
			a := ask(t, dir, c, size, false)
			mu.Lock()
			most := 0
			for _, m := range history[from:] {
				most = max(most, m.there)
			}
			mu.Unlock()
			if a.Room == NoRoom {
				if refused++; (most+1)*size <= quota {
					t.Fatalf("seed %d: refused %+v, while at most %d were there", seed, a, most)
				}
			}
			if a.Room == HasRoom && a.Counted {
				os.Remove(dir + "/maildirsize") // what was let in does not come
			}
		}
		close(stop)
		all.Wait()
		t.Logf("seed %d: %d of 400 refused", seed, refused)
	}
}

// TestSumFileSize proves that a maildirsize of 5119 bytes is used, and one of 5120 counted
// anew (Maildir++), and that its bookings are not forgotten, however large it has grown.
func TestSumFileSize(t *testing.T) {
	for size, used := range map[int]bool{5119: true, 5120: false, 200000: false} {
		dir := testBox(t)
		c := Check{Quota: Quota{Bytes: 1500}, Now: time.Now}
		text := "1500S\n0 0\n"
		last := fmt.Sprintf("1000 1 %d\n", time.Now().Unix())
		pad := size - len(text) - len(last)
		text += strings.Repeat("0", pad%4+1) + " 0\n" + strings.Repeat("0 0\n", pad/4-1)
		if text += last; len(text) != size {
			t.Fatalf("%d bytes, want %d", len(text), size)
		}
		if err := os.WriteFile(dir+"/maildirsize", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if a := ask(t, dir, c, 100, false); a.Room != HasRoom || a.Counted == used {
			t.Errorf("%d bytes: %+v", size, a)
		}
		if a := ask(t, dir, c, 1000, false); a.Room != MayBeFull {
			t.Errorf("%d bytes, with a booking: %+v", size, a)
		}
	}
}

// TestLockWaits proves that a lock which somebody keeps ends the waiting with an error,
// after which the Box is as good as before, and that one which is given up ends it without.
func TestLockWaits(t *testing.T) {
	dir := testBox(t)
	a, err := OpenBox(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenBox(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := a.Lock(0); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		if err := b.Lock(wait); !errors.Is(err, ErrLocked) {
			t.Errorf("kept, after %v: %v", wait, err)
		}
	}
	time.AfterFunc(20*time.Millisecond, a.Close)
	if err := b.Lock(anyWait); err != nil {
		t.Errorf("given up: %v", err)
	}
}

// TestCountLarge proves that a directory large enough for several threads is counted
// right, and by Recount and rmoldmail's booking alike.
func TestCountLarge(t *testing.T) {
	dir := testBox(t)
	var want Usage
	for i := range 5000 {
		name := fmt.Sprintf("%s/cur/%d.M1P1.mail.example.jp:2,S", dir, i)
		size := i % 7
		if i%3 == 0 {
			name = fmt.Sprintf("%s/cur/%d.M1P1.mail.example.jp,S=%d:2,S", dir, i, 100)
			want.Bytes += 100
		} else {
			want.Bytes += int64(size)
		}
		want.Messages++
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Check{Quota: Quota{Bytes: 1 << 30}, Now: time.Now}
	b, err := OpenBox(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	one, err1 := b.Count(&c)
	many, err2 := b.count(&c, time.Now(), 8)
	again, err3 := b.Recount(&c)
	if err1 != nil || err2 != nil || err3 != nil || one != want || many.Usage != want || again != want {
		t.Errorf("%v %v, %v %v, %v %v; want %v", one, err1, many.Usage, err2, again, err3, want)
	}
	if sum, ok := b.Booked(time.Now()); !ok || sum != want {
		t.Errorf("booked %v, %v", sum, ok)
	}
}

// FuzzSumFile proves that whatever stands in a maildirsize is read without a crash, that
// what is used has no negative sum, and that what a count writes is read as it was.
func FuzzSumFile(f *testing.F) {
	now := time.Unix(1800000000, 0)
	for _, text := range []string{"", "1000S\n", "1000S\n5 1\n", "1000S,2C\n5 1 1800000000\n0 0 1800000000 7\n", "x\n-5 -1\n", "1S\n9223372036854775807 1\n1 1\n", "1S\n1\n\x00\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s sumFile
		s.parse(text, true, now)
		if s.usable && (s.sum.Bytes < 0 || s.sum.Messages < 0) || len(s.bookings) > maxBookings {
			t.Fatalf("%q: %+v", text, s)
		}
		if !s.usable {
			return
		}
		written := append([]byte(Quota{Bytes: 1}.Definition()), '\n')
		written = appendLine(written, 3, 1)
		for _, b := range s.bookings {
			written = b.append(written)
		}
		var again sumFile
		again.parse(written, true, now)
		if !again.usable || !slices.Equal(again.bookings, s.bookings) {
			t.Fatalf("%q is read as %+v, %+v", written, again, s)
		}
	})
}
