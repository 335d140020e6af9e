package maildir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kowaza/internal/sys"
)

// TestWayRemembers proves that a way that has led to other Maildirs finds and
// refuses what a new one does: in other directories, through links, with dots
// and too many slashes, in any order.
func TestWayRemembers(t *testing.T) {
	root := t.TempDir()
	var homes []string
	for _, dir := range []string{"a", "a/b", "c"} {
		for u := range 3 {
			home := filepath.Join(dir, fmt.Sprintf("u%d", u))
			makeMaildir(t, filepath.Join(root, home), 0)
			homes = append(homes, home)
		}
	}
	open := filepath.Join(root, "open") // everybody's: no link is followed there
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"l": "a", "open/l": "../a", "a/loop": "loop", "c/up": "../a/b", "abs": root + "/c"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	homes = append(homes, "l/u0", "l/b/u1", "open/l/u0", "open/u0", "a/loop/u0", "c/up/u2", "abs/u1", "a//u1", "a/./u2", "a/b/../u0", "none/u0", ".")
	find := func(y *pathCache, home string) string {
		loc, err := y.locate(Home(root+"/"+home, "Maildir"))
		if err != nil {
			return err.Error()
		}
		defer unix.Close(loc.fd)
		var st unix.Stat_t
		if err := sys.Fstat(loc.fd, &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(st.Ino, loc.uid, loc.gid)
	}
	var old pathCache
	defer old.close()
	for range 500 {
		home := homes[rand.IntN(len(homes))]
		var fresh pathCache
		want, got := find(&fresh, home), find(&old, home)
		fresh.close()
		if got != want {
			t.Fatalf("%s: %s; a new way says %s", home, got, want)
		}
	}
	if _, err := old.locate(Home(root+"/open/l/u0", "Maildir")); !errors.Is(err, ErrLinkDir) {
		t.Errorf("open/l/u0: %v", err)
	}
	if s := find(&old, "a/u0"); s != find(&old, "l/u0") || s == find(&old, "a/u1") {
		t.Error("the same Maildir is found as two, or two as one")
	}
}

// TestCutLast proves that what is cut off is never an absolute path by
// accident.
func TestCutLast(t *testing.T) {
	for _, test := range []struct{ path, dir, rest string }{
		{"/home/u/Maildir", "/home", "u/Maildir"},
		{"/home//u//Maildir", "/home//u", "Maildir"},
		{"/u//Maildir", "/u", "Maildir"},
		{"/u/Maildir", "/", "/u/Maildir"},
		{"/Maildir", "/", "/Maildir"},
		{"//Maildir", "/", "//Maildir"},
	} {
		if dir, rest := cutLastTwo(test.path); dir != test.dir || rest != test.rest {
			t.Errorf("cutLast(%q) = %q, %q; want %q, %q", test.path, dir, rest, test.dir, test.rest)
		}
	}
}

// TestOwners proves that Maildirs of one owner and of several, in homes that
// nobody else may enter, are all cleaned, one after the other by one worker,
// and that root's rights do not last into an owner's Maildir.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root := t.TempDir()
	for dir := root; dir != "/"; dir = filepath.Dir(dir) { // the owners must get there
		if info, err := os.Stat(dir); err == nil && info.Mode()&0o001 == 0 {
			if err := os.Chmod(dir, info.Mode()|0o011); err != nil {
				t.Fatal(err)
			}
		}
	}
	var paths []string
	for i, uid := range []int{1001, 1001, 1001, 1001, 1002, 1001, 1001, 1001, 1002, 1002, 1002, 1003} {
		home := filepath.Join(root, fmt.Sprint(i))
		makeMaildir(t, home, 2)
		if i == 3 { // root could remove what lies there, the owner cannot
			if err := os.Chmod(Home(home, "Maildir")+"/new", 0o555); err != nil {
				t.Fatal(err)
			}
		}
		if err := filepath.Walk(home, func(path string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Chown(path, uid, uid))
		}); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(home, 0o700); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, Home(home, "Maildir"))
	}
	r, _ := runPool(t, Options{Jobs: 1}, paths...)
	for i, path := range paths {
		want := int64(2)
		if i == 3 {
			want = 0
		}
		if r.stats[path].Removed != want {
			t.Errorf("%s: %d removed, want %d", path, r.stats[path].Removed, want)
		}
	}
	if len(r.errs) != 2 {
		t.Errorf("%d errors, want 2: %v", len(r.errs), r.errs)
	}
}
