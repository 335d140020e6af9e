package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	testNow = time.Now()
	longAgo = testNow.Add(-100 * 24 * time.Hour)
)

// makeMaildir makes a Maildir with folders, each with n old and n young
// messages in new.
func makeMaildir(t *testing.T, home string, n int, folders ...string) {
	t.Helper()
	for _, folder := range append(folders, "") {
		for _, sub := range []string{"cur", "tmp", "new"} {
			if err := os.MkdirAll(filepath.Join(home, "Maildir", folder, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 * n {
			deliver(t, filepath.Join(home, "Maildir", folder, "new"), fmt.Sprintf("%d.x", i), i%2 == 0)
		}
	}
}

func deliver(t *testing.T, dir, name string, old bool) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("12345678"), 0o644); err != nil {
		t.Fatal(err)
	}
	if old {
		if err := os.Chtimes(file, longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
}

// result is what a run told.
type result struct {
	stats  map[string]Stats
	errs   map[string]error
	inside atomic.Int32 // funcs of Options that are being called
}

func runPool(t *testing.T, opt Options, paths ...string) (*result, *Pool) {
	t.Helper()
	opt.Rule.SetDays(testNow, 10)
	return runPoolAs(t, opt, paths...)
}

// runPoolAs is runPool with a rule that has its days.
func runPoolAs(t *testing.T, opt Options, paths ...string) (*result, *Pool) {
	t.Helper()
	r := &result{stats: make(map[string]Stats), errs: make(map[string]error)}
	alone := func() func() {
		if r.inside.Add(1) != 1 {
			t.Error("two funcs were called at a time")
		}
		return func() { r.inside.Add(-1) }
	}
	opt.Failed = func(_ *Target, path string, err error) {
		defer alone()()
		r.errs[path] = err
	}
	opt.Done = func(tg *Target, s Stats) {
		defer alone()()
		if _, twice := r.stats[tg.Path]; twice {
			t.Errorf("%s was done twice", tg.Path)
		}
		r.stats[tg.Path] = s
	}
	p := NewPool(opt)
	feed := make(chan *Target)
	go func() {
		defer close(feed)
		for _, path := range paths {
			feed <- &Target{Path: path}
		}
	}()
	if err := p.Run(feed); err != nil {
		t.Error(err)
	}
	return r, p
}

// TestManyMaildirs proves that any number of workers cleans any number of
// Maildirs, each counted by itself, and that those that fail stop no other.
func TestManyMaildirs(t *testing.T) {
	for _, jobs := range []int{1, 2, 5, 64} {
		root := t.TempDir()
		var paths []string
		for i := range 60 {
			home := filepath.Join(root, fmt.Sprint(i))
			paths = append(paths, Home(home, "Maildir"))
			switch i % 6 {
			case 0: // none
			case 1: // no Maildir
				if err := os.MkdirAll(filepath.Join(home, "Maildir", "cur"), 0o755); err != nil {
					t.Fatal(err)
				}
			default:
				makeMaildir(t, home, i, ".Sent", "Archive/2019", ".Trash")
			}
		}
		r, p := runPool(t, Options{Jobs: jobs}, paths...)
		if len(r.stats) != len(paths) {
			t.Errorf("%d jobs: %d of %d Maildirs are done", jobs, len(r.stats), len(paths))
		}
		var total Stats
		for i, path := range paths {
			got := r.stats[path]
			total.Add(got)
			var want Stats
			if i%6 > 1 {
				want = Stats{Messages: int64(8 * i), Removed: int64(4 * i), Bytes: int64(32 * i), Oldest: StampOf(longAgo)}
			}
			if got != want {
				t.Errorf("%d jobs: %s: %+v; want %+v", jobs, path, got, want)
			}
			switch i % 6 {
			case 0:
				if err := r.errs[filepath.Dir(path)]; !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", path, err)
				}
			case 1:
				if err := r.errs[path]; !errors.As(err, new(*NotMaildirError)) || err.Error() != "not a Maildir: no new, no tmp" {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
		if len(r.errs) != 20 {
			t.Errorf("%d errors: %v", len(r.errs), r.errs)
		}
		if m, n := p.Progress(); m != total.Messages || n != total.Removed {
			t.Errorf("progress %d, %d; want %d, %d", m, n, total.Messages, total.Removed)
		}
		if p.open != 0 {
			t.Errorf("%d directories are still open", p.open)
		}
	}
}

// TestDescriptors proves that a run leaves no file open, whatever failed.
func TestDescriptors(t *testing.T) {
	count := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("SKIP no /proc/self/fd")
		}
		return len(names)
	}
	root := t.TempDir()
	makeMaildir(t, root+"/a", 10, ".Sent")
	os.MkdirAll(root+"/b/Maildir/cur", 0o755)
	os.Symlink("nowhere", root+"/c")
	os.Symlink("/proc/1/root", root+"/a/Maildir/link")
	before := count()
	for range 3 {
		runPool(t, Options{}, root+"/a/Maildir", root+"/b/Maildir", root+"/c/Maildir", root+"/d/Maildir", "/dev/null/x")
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestBusyMaildir proves that nothing young is lost and nothing is an error
// while mail is delivered, moves from new to cur, and changes its flags.
func TestBusyMaildir(t *testing.T) {
	home := t.TempDir()
	makeMaildir(t, home, 0)
	dir := filepath.Join(home, "Maildir")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var young atomic.Int64
	for d := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%d.%d", d, i)
				old := i%3 == 0
				deliver(t, dir+"/tmp", name, old)
				os.Rename(dir+"/tmp/"+name, dir+"/new/"+name)
				if i%2 == 0 {
					os.Rename(dir+"/new/"+name, dir+"/cur/"+name+":2,")
					os.Rename(dir+"/cur/"+name+":2,", dir+"/cur/"+name+":2,S")
				}
				if !old {
					young.Add(1)
				}
			}
		})
	}
	for begin := time.Now(); time.Since(begin) < time.Second; {
		if r, _ := runPool(t, Options{Jobs: 4}, dir); len(r.errs) > 0 {
			t.Fatalf("errors: %v", r.errs)
		}
	}
	close(stop)
	wg.Wait()
	runPool(t, Options{}, dir)
	left := int64(0)
	for _, sub := range []string{"cur", "new"} {
		names, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		left += int64(len(names))
	}
	if left != young.Load() || left == 0 {
		t.Errorf("%d messages are left of %d young ones", left, young.Load())
	}
}

// TestCutoff proves that N days mean N+1 times 24 hours, for times of any year.
func TestCutoff(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 4, 5, 6, time.UTC)
	for days, want := range map[int]time.Time{
		0:     time.Date(2026, 11, 21, 3, 4, 5, 6, time.UTC),
		7:     time.Date(2026, 11, 14, 3, 4, 5, 6, time.UTC),
		36500: time.Date(1926, 12, 16, 3, 4, 5, 6, time.UTC),
	} {
		if got := Cutoff(now, days); got != StampOf(want) {
			t.Errorf("%d days: %v; want %v", days, got, StampOf(want))
		}
	}
	for _, s := range []Stamp{{-1 << 63, 0}, {0, 0}, {Cutoff(now, 7).Sec, 5}} {
		if !s.Before(Cutoff(now, 7)) {
			t.Errorf("%v is not old", s)
		}
	}
	for _, s := range []Stamp{{1<<63 - 1, 0}, {Cutoff(now, 7).Sec, 6}, {Cutoff(now, 7).Sec, 7}} {
		if s.Before(Cutoff(now, 7)) {
			t.Errorf("%v is old", s)
		}
	}
}

// TestCount proves that messages and their sizes can be counted without removing
// any, and that the sum is that of the names where they tell sizes and else that of
// the files, in whatever folder they lie.
func TestCount(t *testing.T) {
	home := t.TempDir()
	makeMaildir(t, home, 5, ".Sent", "Archive/2019", ".Trash")
	for i, name := range []string{"1.x,S=100:2,S", "2.x,S=9999999999999999:2,", "3.x,W=7"} {
		deliver(t, Home(home, "Maildir")+"/cur", name, i == 0)
	}
	for _, jobs := range []int{1, 4} {
		r, _ := runPool(t, Options{Rule: Rule{Never: true}, Sizes: true, Jobs: jobs}, Home(home, "Maildir"))
		want := Stats{Messages: 4*10 + 3, Size: 4*10*8 + 100 + 8 + 8}
		if got := r.stats[Home(home, "Maildir")]; got != want || len(r.errs) > 0 {
			t.Errorf("%+v, %v; want %+v", got, r.errs, want)
		}
	}
	// Counting along with the removal gives the same sum.
	r, _ := runPool(t, Options{Sizes: true}, Home(home, "Maildir"))
	if got := r.stats[Home(home, "Maildir")]; got.Messages != 43 || got.Size != 436 || got.Removed != 4*5+1 || got.Bytes != 4*5*8+100 {
		t.Errorf("with the removal: %+v", got)
	}
	if r, _ := runPool(t, Options{}, Home(home, "Maildir")); r.stats[Home(home, "Maildir")].Messages != 22 {
		t.Errorf("%d messages are left", r.stats[Home(home, "Maildir")].Messages)
	}
}
