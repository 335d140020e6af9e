package maildir

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A randomMessage is a file of a random tree, as the reference sees it.
type randomMessage struct {
	path   string // below the Maildir
	folder string // INBOX, Trash, Work/2019
	sub    string // cur, new, tmp
	name   string
	size   int64 // that a quota counts
	mtime  time.Time
}

// randomTree makes a Maildir with folders of Maildir++ and messages of all kinds,
// and returns these.
func randomTree(t *testing.T, r *rand.Rand, dir string) []randomMessage {
	t.Helper()
	var all []randomMessage
	folders := []string{"INBOX", "Trash", "Work", "Work/2019", "Junk"}
	for _, folder := range folders {
		if folder != "INBOX" && r.IntN(4) == 0 {
			continue
		}
		below := ""
		if folder != "INBOX" {
			below = "." + strings.ReplaceAll(folder, "/", ".") + "/"
		}
		for _, sub := range messageDirs {
			must(t, os.MkdirAll(filepath.Join(dir, below, sub), 0o755))
			for i := range r.IntN(4) {
				days := r.IntN(40)
				at := testNow.Add(-time.Duration(days)*24*time.Hour - time.Duration(r.IntN(4))*time.Hour/2 - time.Duration(r.IntN(3)))
				told := at.Add(-time.Duration(r.IntN(20)-10) * 24 * time.Hour)
				m := randomMessage{folder: folder, sub: sub, size: int64(1 + r.IntN(50)), mtime: at}
				m.name = []string{fmt.Sprintf("%d.M%dP1.mx", told.Unix(), i), fmt.Sprintf("msg%d", i), fmt.Sprintf("%d.x%d", r.IntN(1000), i)}[r.IntN(3)]
				length := m.size
				if r.IntN(2) == 0 {
					m.name += fmt.Sprintf(",S=%d", m.size)
					length = int64(r.IntN(9))
				}
				if sub == "cur" {
					m.name += []string{":2,", ";2,", "!2,", ":1,"}[max(0, r.IntN(8)-4)] + []string{"", "S", "F", "FS", "ST", "T"}[r.IntN(6)]
				}
				m.path = below + sub + "/" + m.name
				file := filepath.Join(dir, m.path)
				must(t, os.WriteFile(file, make([]byte, length), 0o644))
				must(t, os.Chtimes(file, at, at))
				all = append(all, m)
			}
		}
	}
	must(t, os.WriteFile(dir+"/dovecot-keywords", []byte("x"), 0o644))
	must(t, os.Chtimes(dir+"/dovecot-keywords", longAgo, longAgo))
	return all
}

// scratch is a directory in memory where there is one: thousands of small trees take
// ten times as long on a disk.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kowaza")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A reference does what Options say, as plainly as it can be written down.
type reference struct {
	Options
	now  time.Time
	days int
}

// term returns the days that count in a folder; -1: nothing goes.
func (r *reference) term(user []Term, folder string) int {
	for _, term := range slices.Concat(user, r.Terms) {
		if takes(term.Folder.Name, folder) {
			return term.Days
		}
	}
	return r.days
}

// takes is true of the patterns of this test: a name, or one that ends in *.
func takes(pattern, folder string) bool {
	if rest, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(folder, rest)
	}
	return pattern == folder
}

func takesAny(patterns []Folder, folder string) bool {
	return slices.ContainsFunc(patterns, func(f Folder) bool { return takes(f.Name, folder) })
}

// chosen is whether a message may go at all.
func (r *reference) chosen(user []Term, m randomMessage) bool {
	if len(r.Folders) > 0 && !takesAny(r.Folders, m.folder) || takesAny(r.Except, m.folder) || r.term(user, m.folder) < 0 {
		return false
	}
	unreadable := strings.Contains(m.name, ":1,")
	_, flags, _ := strings.Cut(strings.NewReplacer(";2,", ":2,", "!2,", ":2,").Replace(m.name), ":2,")
	if r.Rule.KeepFlagged && (unreadable || strings.Contains(flags, "F")) {
		return false
	}
	return !r.Rule.SeenOnly || !unreadable && m.sub != "new" && strings.Contains(flags, "S")
}

func (r *reference) age(m randomMessage, ctime time.Time) time.Time {
	var sec int64
	if n, _ := fmt.Sscanf(m.name, "%d", &sec); r.Rule.Clock == ByName && n == 1 && sec >= 631152000 && sec <= r.now.Unix()+86400 {
		return time.Unix(sec, 0)
	}
	if r.Rule.Clock == BySaved {
		return ctime
	}
	return m.mtime
}

// goes returns the paths that go, of the oldest first where the size decides; ties
// are settled as they were in got.
func (r *reference) goes(user []Term, all []randomMessage, ctimes map[string]time.Time, got []string) []string {
	var gone, left []randomMessage
	var total int64
	for _, m := range all {
		old := r.now.Sub(r.age(m, ctimes[m.path])) > time.Duration(r.term(user, m.folder)+1)*24*time.Hour
		if m.sub == "tmp" {
			old = old && r.now.Sub(ctimes[m.path]) > 36*time.Hour
		}
		switch {
		case old && r.chosen(user, m):
			gone = append(gone, m)
		case m.sub != "tmp":
			total += m.size
			if r.chosen(user, m) {
				left = append(left, m)
			}
		}
	}
	sort.Slice(left, func(i, j int) bool {
		a, b := r.age(left[i], ctimes[left[i].path]), r.age(left[j], ctimes[left[j].path])
		if a.Equal(b) {
			// Of one age, any will do: first those that went, the largest last.
			x, y := slices.Contains(got, left[i].path), slices.Contains(got, left[j].path)
			return x && !y || x == y && left[i].size < left[j].size
		}
		return a.Before(b)
	})
	for _, m := range left {
		if r.MaxSize == 0 || total <= r.MaxSize {
			break
		}
		total -= m.size
		gone = append(gone, m)
	}
	var paths []string
	for _, m := range gone {
		paths = append(paths, m.path)
	}
	slices.Sort(paths)
	return paths
}

// listed returns the messages that are there.
func listed(t *testing.T, dir string) (paths []string, ctimes map[string]time.Time) {
	t.Helper()
	ctimes = make(map[string]time.Time)
	must(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(file, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, file)
		paths = append(paths, rel)
		ctimes[rel] = time.Unix(st.Ctim.Unix())
		return nil
	}))
	return paths, ctimes
}

// TestRandomTrees proves on 2000 random Maildirs, with options at random, that what
// goes is what a plain reference says, that a dry run tells the same, that nothing
// else is touched, and that the sums are right.
func TestRandomTrees(t *testing.T) {
	top := scratch(t)
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(14, seed))
		dir := filepath.Join(top, fmt.Sprint(seed))
		all := randomTree(t, r, dir)
		pattern := func() Folder {
			f, err := NewFolder([]string{"INBOX", "Trash", "Work", "Work/2019", "Work*", "Junk", "*"}[r.IntN(7)])
			must(t, err)
			return f
		}
		now := testNow.Add(time.Duration(r.IntN(2)) * 48 * time.Hour) // so that tmp may go
		ref := reference{now: now, days: r.IntN(35)}
		term := func() Term {
			days := r.IntN(36) - 1
			return Term{Folder: pattern(), Days: days, Before: Cutoff(now, days)}
		}
		var user []Term
		for range r.IntN(3) {
			ref.Folders = append(ref.Folders, pattern())
		}
		for range r.IntN(2) {
			ref.Except = append(ref.Except, pattern())
		}
		for range r.IntN(3) {
			ref.Terms = append(ref.Terms, term())
		}
		for range r.IntN(3) {
			user = append(user, term())
		}
		ref.Rule.SetDays(now, ref.days)
		ref.Rule.KeepFlagged, ref.Rule.SeenOnly, ref.Rule.Clock = r.IntN(4) == 0, r.IntN(4) == 0, Clock(r.IntN(3))
		if r.IntN(2) == 0 {
			ref.MaxSize = int64(1 + r.IntN(700))
		}
		ref.Jobs = 1 + r.IntN(4)
		ref.Sizes = r.IntN(2) == 0

		before, ctimes := listed(t, dir)
		var told []string
		clean := func(dry bool) (Stats, []error) {
			opt := ref.Options
			opt.DryRun = dry
			var stats Stats
			var errs []error
			told = nil
			opt.Old = func(path string) { told = append(told, strings.TrimPrefix(path, dir+"/")) }
			opt.Failed = func(_ *Target, path string, err error) { errs = append(errs, err) }
			opt.Done = func(_ *Target, s Stats) { stats = s }
			feed := make(chan *Target, 1)
			feed <- &Target{Path: dir, Terms: user}
			close(feed)
			must(t, NewPool(opt).Run(feed))
			slices.Sort(told)
			return stats, errs
		}
		dry, _ := clean(true)
		would := slices.Clone(told)
		if after, _ := listed(t, dir); !slices.Equal(after, before) {
			t.Fatalf("seed %d: the dry run changed the tree", seed)
		}
		stats, errs := clean(false)
		after, _ := listed(t, dir)
		var gone []string
		for _, path := range before {
			if !slices.Contains(after, path) {
				gone = append(gone, path)
			}
		}
		slices.Sort(gone)
		if want := ref.goes(user, all, ctimes, gone); !slices.Equal(gone, want) {
			t.Fatalf("seed %d, %+v, terms %+v:\ngone %q\nwant %q", seed, ref, user, gone, want)
		}
		if !slices.Equal(gone, told) || !slices.Equal(gone, would) {
			t.Fatalf("seed %d: told %q, in the dry run %q; gone %q", seed, told, would, gone)
		}
		var left int64
		for _, m := range all {
			if m.sub != "tmp" && slices.Contains(after, m.path) {
				left += m.size
			}
		}
		if said := len(errs) > 0; said != (ref.MaxSize > 0 && left > ref.MaxSize) {
			t.Fatalf("seed %d: %d bytes of %d are left: %v", seed, left, ref.MaxSize, errs)
		}
		if stats.Removed != int64(len(gone)) || stats.Removed != dry.Removed || stats.Messages != dry.Messages {
			t.Fatalf("seed %d: %+v, in the dry run %+v; %d gone", seed, stats, dry, len(gone))
		}
		must(t, os.RemoveAll(dir))
	}
}

// TestMaxSizeDivides proves that of many messages in one hour, in one second, and
// with one and the same time the oldest go, exactly as many as it takes, although
// they are too many to be remembered.
func TestMaxSizeDivides(t *testing.T) {
	const messages = maxRemembered + 500
	for name, at := range map[string]func(i int) time.Time{ // of message i
		"an hour": func(i int) time.Time {
			return testNow.Add(-time.Hour - time.Duration(i)*500*time.Millisecond).Truncate(time.Millisecond)
		},
		"a second":   func(i int) time.Time { return testNow.Truncate(time.Hour).Add(time.Duration(i) * 1000) },
		"one time":   func(int) time.Time { return testNow.Add(-time.Hour) },
		"1950":       func(i int) time.Time { return time.Date(1950, 1, 1, 0, 0, 0, i, time.UTC) },
		"far future": func(i int) time.Time { return time.Date(2200, 1, 1, 0, i, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := scratch(t) + "/m"
			for _, sub := range messageDirs {
				must(t, os.MkdirAll(dir+"/"+sub, 0o755))
			}
			for i := range messages {
				file := fmt.Sprintf("%s/cur/%05d.x,S=10:2,S", dir, i)
				must(t, os.WriteFile(file, nil, 0o644))
				must(t, os.Chtimes(file, at(i), at(i)))
			}
			const keep = 1234
			var opt Options
			opt.Rule.SetDays(testNow, 36500)
			opt.MaxSize = keep*10 + 9
			r, _ := runPoolAs(t, opt, dir)
			if s := r.stats[dir]; s.Removed != messages-keep || s.Messages != messages || len(r.errs) > 0 {
				t.Fatalf("%+v, %v", s, r.errs)
			}
			left, _ := listed(t, dir)
			times := make(map[time.Time]bool)
			for _, path := range left {
				var i int
				fmt.Sscanf(path, "cur/%d", &i)
				times[at(i)] = true
			}
			oldest := testNow.AddDate(500, 0, 0)
			for at := range times {
				if at.Before(oldest) {
					oldest = at
				}
			}
			for i := range messages {
				_, err := os.Lstat(fmt.Sprintf("%s/cur/%05d.x,S=10:2,S", dir, i))
				if at(i).After(oldest) && err != nil {
					t.Fatalf("message %d went, and an older one stayed", i)
				}
			}
		})
	}
}
