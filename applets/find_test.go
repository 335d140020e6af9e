package applets

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/cli"
)

// run runs an applet in this process and returns what it printed.
func run(t *testing.T, now time.Time, argv ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv: func(string) string { return "" },
		Now:    func() time.Time { return now },
		Root:   "/nonexistent",
	}
	status = Main(env, argv)
	return out.String(), errs.String(), status
}

// TestAgainstFind proves on some hundred random trees that "rmoldmail -a" takes
// exactly the files that the page's find takes, to the nanosecond around whole
// days, and that without -a it takes those of them that are messages. find runs
// under faketime, so the same moment is "now" for both.
func TestAgainstFind(t *testing.T) {
	for _, program := range []string{"find", "faketime"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP %s is not installed", program)
		}
	}
	// The ctimes of what the test makes are those of today: in the one they are
	// more than 36 hours back, in the other they are not.
	future := time.Date(2091, 5, 6, 7, 8, 9, 0, time.UTC)
	today := time.Now().Add(time.Minute).Truncate(time.Second).UTC()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		now, tmpGoes := future, true
		if seed%3 == 0 {
			now, tmpGoes = today, false
		}
		days := []int{0, 1, 7, 10, 21, 365}[r.IntN(6)]
		home := t.TempDir()
		root := filepath.Join(home, "Maildir")
		randomTree(t, r, root, now, days)

		wantAll := findOld(t, root, now, days)
		gotAll := wouldGo(t, now, "rmoldmail", "-n", "-a", strconv.Itoa(days), home)
		compare(t, fmt.Sprintf("seed %d: -a", seed), gotAll, wantAll)

		var want []string
		for _, path := range wantAll {
			if isMessage(path, tmpGoes) {
				want = append(want, path)
			}
		}
		compare(t, fmt.Sprintf("seed %d", seed), wouldGo(t, now, "rmoldmail", "-n", strconv.Itoa(days), home), want)

		// What a dry run prints is what goes, and nothing else does.
		argv, goes := []string{"rmoldmail", strconv.Itoa(days), home}, want
		if seed%2 == 0 {
			argv, goes = []string{"rmoldmail", "-a", strconv.Itoa(days), home}, wantAll
		}
		before := listing(t, root)
		if out, errs, status := run(t, now, argv...); out+errs != "" || status != 0 {
			t.Fatalf("seed %d: %s%s, status %d", seed, out, errs, status)
		}
		rest := slices.DeleteFunc(before, func(path string) bool { return slices.Contains(goes, path) })
		compare(t, fmt.Sprintf("seed %d: what stayed", seed), listing(t, root), rest)
	}
}

// isMessage is the rule of the man page, written down a second time: by path.
func isMessage(path string, tmpGoes bool) bool {
	dir, name := filepath.Split(path)
	folder, sub := filepath.Split(filepath.Clean(dir))
	if strings.HasPrefix(name, ".") || sub != "cur" && sub != "new" && sub != "tmp" || sub == "tmp" && !tmpGoes {
		return false
	}
	for _, need := range []string{"cur", "new"} { // either makes a folder
		if info, err := os.Lstat(folder + need); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// randomTree makes a Maildir with folders, server files, links and odd names.
func randomTree(t *testing.T, r *rand.Rand, root string, now time.Time, days int) {
	names := []string{"cur", "new", "tmp", ".Sent", ".Trash", "Archive", "ゴミ箱", "sieve", "cur", "a b", ".x\ny"}
	count := 0
	var fill func(dir string, depth int)
	fill = func(dir string, depth int) {
		must(t, os.MkdirAll(dir, 0o755))
		for range r.IntN(4) {
			name := []string{"", ".", "dovecot-"}[r.IntN(3)] + fmt.Sprintf("%d.M%d:2,S", count, r.IntN(99))
			count++
			file := filepath.Join(dir, name)
			must(t, os.WriteFile(file, nil, 0o644))
			at := randomTime(r, now, days)
			must(t, os.Chtimes(file, at, at))
		}
		if r.IntN(6) == 0 {
			// Links to an old directory and to an old file: find -type f takes neither.
			os.Symlink("..", filepath.Join(dir, fmt.Sprintf("link%d", r.IntN(9))))
		}
		if depth > 4 {
			return
		}
		for range r.IntN(4) {
			fill(filepath.Join(dir, names[r.IntN(len(names))]), depth+1)
		}
		if r.IntN(2) == 0 {
			for _, sub := range []string{"cur", "new", "tmp"} {
				fill(filepath.Join(dir, sub), depth+2)
			}
		}
	}
	fill(root, 0)
	for _, sub := range []string{"cur", "new", "tmp"} {
		fill(filepath.Join(root, sub), 3)
	}
}

// randomTime returns a time near a whole number of days before now, often to
// the nanosecond.
func randomTime(r *rand.Rand, now time.Time, days int) time.Time {
	const day = 24 * time.Hour
	at := now.Add(-time.Duration(days+r.IntN(3)) * day)
	switch r.IntN(5) {
	case 0:
		return at.Add(time.Duration(r.IntN(5) - 2))
	case 1:
		return at.Add(time.Duration(r.IntN(3)-1) * time.Second)
	case 2:
		return at.Add(time.Duration(r.Int64N(int64(2*day))) - day)
	case 3:
		return time.Unix(int64(r.IntN(2000000000))-100000000, int64(r.IntN(1e9)))
	}
	return at
}

func findOld(t *testing.T, root string, now time.Time, days int) []string {
	t.Helper()
	cmd := exec.Command("faketime", "-f", now.Format("2006-01-02 15:04:05"),
		"find", root+"/", "-type", "f", "-mtime", "+"+strconv.Itoa(days), "-print0")
	cmd.Env = append(os.Environ(), "TZ=UTC", "NO_FAKE_STAT=1", "LC_ALL=C")
	out, err := cmd.Output()
	must(t, err)
	var paths []string
	for _, p := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if p != "" {
			paths = append(paths, filepath.Clean(p))
		}
	}
	slices.Sort(paths)
	return paths
}

func wouldGo(t *testing.T, now time.Time, argv ...string) []string {
	t.Helper()
	out, errs, status := run(t, now, argv...)
	if errs != "" || status != 0 {
		t.Fatalf("%s, status %d", errs, status)
	}
	paths := strings.FieldsFunc(out, func(c rune) bool { return c == '\n' })
	for i, p := range paths {
		paths[i] = strings.ReplaceAll(p, `\012`, "\n")
	}
	slices.Sort(paths)
	return paths
}

func listing(t *testing.T, root string) []string {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	slices.Sort(paths)
	return paths
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
