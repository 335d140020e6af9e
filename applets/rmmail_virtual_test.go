package applets

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kowaza/internal/cli"
)

// A mailStore is the homes of virtual users, with a users/assign and settings.
type mailStore struct {
	t    *testing.T
	root string
}

// newMailStore makes a store for n users, named u0 and so on. Each home has a
// Maildir with messages, some of them old, some in folders.
func newMailStore(t *testing.T, n, messages int) *mailStore {
	t.Helper()
	s := &mailStore{t, t.TempDir()}
	r := rand.New(rand.NewPCG(uint64(n), 3))
	var assign strings.Builder
	for i := range n {
		dir := s.maildir(i)
		folders := []string{"", "/.Trash", "/.ゴミ箱"}[:1+r.IntN(3)]
		for _, folder := range folders {
			for _, sub := range []string{"cur", "new", "tmp"} {
				must(t, os.MkdirAll(dir+folder+"/"+sub, 0o755))
			}
		}
		for m := range messages {
			s.deliver(dir+folders[r.IntN(len(folders))]+[]string{"/cur", "/new"}[r.IntN(2)], m, r.IntN(3) == 0)
		}
		// What is no message, and what no user has.
		s.deliver(dir, 100, true)
		fmt.Fprintf(&assign, "=u%d:pop:1:2:%s:::\n", i, s.home(i))
	}
	must(t, os.MkdirAll(s.root+"/home/nobody/Maildir/cur", 0o755))
	s.deliver(s.root+"/home/nobody/Maildir/cur", 1, true)
	s.write("/qmail/users/assign", assign.String()+".\n")
	s.write("/kowaza.conf", "VMDIR="+s.root+"/home\nQMAIL="+s.root+"/qmail\n")
	return s
}

func (s *mailStore) home(i int) string    { return fmt.Sprintf("%s/home/%02d/u%d", s.root, i%50, i) }
func (s *mailStore) maildir(i int) string { return s.home(i) + "/Maildir" }

func (s *mailStore) write(name, text string) {
	s.t.Helper()
	must(s.t, os.MkdirAll(filepath.Dir(s.root+name), 0o755))
	must(s.t, os.WriteFile(s.root+name, []byte(text), 0o644))
}

func (s *mailStore) deliver(dir string, n int, old bool) {
	s.t.Helper()
	file := fmt.Sprintf("%s/%d.x,S=10:2,S", dir, n)
	must(s.t, os.WriteFile(file, []byte("0123456789"), 0o644))
	if old {
		at := time.Now().Add(-600 * time.Hour)
		must(s.t, os.Chtimes(file, at, at))
	}
}

// rmmailVirtual runs the applet on the store.
func (s *mailStore) rmmailVirtual(args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv: func(key string) string {
			if key == "KOWAZA_CONF" {
				return s.root + "/kowaza.conf"
			}
			return ""
		},
		Now:  time.Now,
		Root: "/nonexistent",
	}
	status = Main(env, append([]string{"rmmail_virtual"}, args...))
	return out.String(), errs.String(), status
}

// would returns what a dry run prints, sorted.
func (s *mailStore) would(args ...string) []string {
	s.t.Helper()
	out, errs, status := s.rmmailVirtual(append([]string{"-n"}, args...)...)
	if errs != "" || status != 0 {
		s.t.Fatalf("%q: %s, status %d", args, errs, status)
	}
	paths := strings.FieldsFunc(out, func(c rune) bool { return c == '\n' })
	slices.Sort(paths)
	return paths
}

// old returns what find calls old among the messages below the users' homes.
func (s *mailStore) old() []string {
	s.t.Helper()
	cmd := exec.Command("find", s.root+"/home", "-path", "*/u[0-9]*/Maildir/*", "-regex", ".*/\\(cur\\|new\\)/[^/]*", "-type", "f", "-mtime", "+21")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	must(s.t, err)
	paths := strings.FieldsFunc(string(out), func(c rune) bool { return c == '\n' })
	slices.Sort(paths)
	return paths
}

// TestThousandUsers proves that of 1000 users with 10 messages each exactly what
// find calls old is shown by a dry run, and removed by a run, and that the total
// of -v is theirs.
func TestThousandUsers(t *testing.T) {
	const n, messages = 1000, 10
	s := newMailStore(t, n, messages)
	old := s.old()
	if len(old) < n || len(old) > n*messages/2 {
		t.Fatalf("find calls %d old", len(old))
	}
	before := listing(t, s.root)
	for _, jobs := range []string{"1", "16", "200"} {
		compare(t, jobs+" jobs", s.would("-j", jobs), old)
	}
	compare(t, "after dry runs", listing(t, s.root), before)

	_, errs, status := s.rmmailVirtual("-v")
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	want := fmt.Sprintf("rmmail_virtual: %d users, %d messages, %d removed, %d bytes, oldest of ", n, n*messages, len(old), 10*len(old))
	if status != 0 || len(lines) != n+1 || !strings.HasPrefix(lines[n], want) {
		t.Errorf("status %d, %d lines, the last %q; want %q", status, len(lines), lines[len(lines)-1], want)
	}
	gone := make(map[string]bool)
	for _, path := range old {
		gone[path] = true
	}
	rest := slices.DeleteFunc(before, func(path string) bool { return gone[path] })
	compare(t, "what stayed", listing(t, s.root), rest)
}

// TestShardsAtOnce proves that N shares cleaned by N runs at the same time leave
// what one run leaves, that each message is in one share, and that
// what belongs to a share does not depend on the other lines of the file.
func TestShardsAtOnce(t *testing.T) {
	const n = 200
	s := newMailStore(t, n, 5)
	all := s.would()
	compare(t, "one run", all, s.old())
	before := listing(t, s.root)
	for _, shards := range []int{1, 2, 7, 40} {
		var parts []string
		for k := 1; k <= shards; k++ {
			parts = append(parts, s.would("--shard", fmt.Sprintf("%d/%d", k, shards))...)
		}
		slices.Sort(parts)
		compare(t, fmt.Sprintf("%d shares", shards), parts, all)
	}
	third := s.would("--shard", "3/7")

	var wg sync.WaitGroup
	for k := 1; k <= 7; k++ {
		wg.Go(func() {
			out, errs, status := s.rmmailVirtual("--shard", fmt.Sprintf("%d/7", k))
			if out+errs != "" || status != 0 {
				t.Errorf("share %d: %s%s, status %d", k, out, errs, status)
			}
		})
	}
	wg.Wait()
	gone := make(map[string]bool)
	for _, path := range all {
		gone[path] = true
	}
	rest := slices.DeleteFunc(slices.Clone(before), func(path string) bool { return gone[path] })
	compare(t, "what stayed", listing(t, s.root), rest)

	// Every second line goes, the others change places: the share keeps its users.
	text, err := os.ReadFile(s.root + "/qmail/users/assign")
	must(t, err)
	lines := strings.SplitAfter(string(text), "\n")[:n]
	slices.Reverse(lines)
	var half strings.Builder
	kept := make(map[string]bool)
	for i, line := range lines {
		if i%2 == 0 {
			half.WriteString(line)
			kept[strings.Split(line, ":")[4]] = true
		}
	}
	s.write("/qmail/users/assign", half.String()+".\n")
	for path := range gone {
		must(t, os.WriteFile(path, nil, 0o644))
		at := time.Now().Add(-600 * time.Hour)
		must(t, os.Chtimes(path, at, at))
	}
	third = slices.DeleteFunc(third, func(path string) bool {
		home, _, _ := strings.Cut(path, "/Maildir/")
		return !kept[home]
	})
	compare(t, "the third share of fewer users", s.would("--shard", "3/7"), third)
}

// TestShardHash proves that the share is the one that the published hash gives:
// hosts of different versions must agree for ever.
func TestShardHash(t *testing.T) {
	// From the test vectors of FNV's authors.
	for text, want := range map[string]uint64{
		"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8,
	} {
		h := fnv.New64a()
		h.Write([]byte(text))
		if got := h.Sum64(); got != want {
			t.Errorf("%q: %#x; want %#x", text, got, want)
		}
		for _, n := range []uint64{1, 2, 3, 97, 1000000} {
			for k := uint64(1); k <= min(n, 97); k++ {
				if got := (shard{k, n}).has(text); got != (want%n == k-1) {
					t.Errorf("%q is in %d/%d: %v", text, k, n, got)
				}
			}
		}
	}
	// Computed once by another program (Python), for good.
	for home, k := range map[string]uint64{
		"/home/popuser/foo":                         734,
		"/home/owner/foo":                           479,
		"/var/qmail/mailnames/webgenie.com/avs":     898,
		"/home/vpopmail/domains/example.com/0/user": 52,
		"/home/popuser/ゴミ":                          146,
	} {
		for i := uint64(1); i <= 1000; i++ {
			if got := (shard{i, 1000}).has(home); got != (i == k) {
				t.Errorf("%s is in %d/1000: %v", home, i, got)
			}
		}
	}
}

// TestParseShard proves which shares can be asked for.
func TestParseShard(t *testing.T) {
	for text, want := range map[string]shard{
		"1/1": {1, 1}, "1/3": {1, 3}, "3/3": {3, 3}, "01/010": {1, 10}, "1000000/1000000": {1000000, 1000000},
	} {
		if got, err := parseShard(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "1", "1/", "/1", "0/1", "1/0", "0/0", "2/1", "4/3", "1/2/3", " 1/2", "1/2 ", "1 /2",
		"+1/2", "-1/2", "1/-2", "a/b", "1/1000001", "1/18446744073709551617", "18446744073709551617/1", "１/２", "1\x00/2"} {
		if got, err := parseShard(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestFailingUsers proves that users who fail in whatever way stop no other:
// all that is old of the others goes, each failure is said, the status is 1.
func TestFailingUsers(t *testing.T) {
	const n = 60
	s := newMailStore(t, n, 5)
	fails := make(map[string]string)
	failing := func(i int, path, why string) {
		for _, sub := range []string{"cur", "new", "tmp"} {
			for _, folder := range []string{"", ".Trash", ".ゴミ箱"} {
				os.Rename(filepath.Join(s.maildir(i), folder, sub), filepath.Join(s.maildir(i), folder, "not-"+sub))
			}
		}
		fails[path] = why
	}
	for i := 0; i < n; i += 6 {
		switch i / 6 % 4 {
		case 0: // no Maildir
			failing(i, s.maildir(i), "not a Maildir: no cur, no new, no tmp")
		case 1: // no home
			must(t, os.Rename(s.home(i), s.home(i)+"-away"))
			fails[s.home(i)] = "no such file or directory"
		case 2: // a file
			must(t, os.Rename(s.maildir(i), s.home(i)+"/away"))
			s.write(strings.TrimPrefix(s.maildir(i), s.root), "")
			fails[s.maildir(i)] = "not a directory"
		case 3: // a loop of links
			must(t, os.Rename(s.maildir(i), s.home(i)+"/away"))
			must(t, os.Symlink("Maildir", s.maildir(i)))
			fails[s.maildir(i)] = "too many levels of symbolic links"
		}
	}
	for _, jobs := range []string{"1", "16"} {
		_, errs, status := s.rmmailVirtual("-n", "-j", jobs)
		if got := strings.Count(errs, "\n"); got != len(fails) || status != 1 {
			t.Errorf("%s jobs: status %d, %d messages, want %d:\n%s", jobs, status, got, len(fails), errs)
		}
		for path, why := range fails {
			if !strings.Contains(errs, "rmmail_virtual: "+path+": "+why+"\n") {
				t.Errorf("%s jobs: no message about %s: %s in\n%s", jobs, path, why, errs)
			}
		}
	}
	if len(s.old()) == 0 {
		t.Fatal("nothing is old")
	}
	if _, _, status := s.rmmailVirtual(); status != 1 {
		t.Errorf("status %d", status)
	}
	var left []string
	for _, path := range s.old() {
		if !strings.Contains(path, "-away/") && !strings.Contains(path, "/away/") {
			left = append(left, path)
		}
	}
	if len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestStoreAway proves that a mail store that is not mounted is one error with
// few lines, however many users there are, and that a share of it says so, too.
func TestStoreAway(t *testing.T) {
	const n = 100
	s := newMailStore(t, n, 0)
	must(t, os.Rename(s.root+"/home", s.root+"/away"))
	for _, args := range [][]string{{}, {"--shard", "2/3"}, {"-v"}} {
		_, errs, status := s.rmmailVirtual(args...)
		want := fmt.Sprintf("rmmail_virtual: none of %d virtual users below %s/home has a Maildir: is the mail store mounted?\n", n, s.root)
		if status != 1 || !strings.HasSuffix(errs, want) || strings.Count(errs, "\n") > 25 {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
	// It is there, and empty: as it is where only the mount point is left.
	must(t, os.Mkdir(s.root+"/home", 0o755))
	if _, errs, status := s.rmmailVirtual(); status != 1 || !strings.Contains(errs, "is the mail store mounted?") {
		t.Errorf("status %d, %s", status, errs)
	}
}
