package way

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

// TestWays proves on ways to a directory what SPEC says of each step: a link counts
// only where neither group nor others may write the directory it lies in, and it is
// root's or that of who owns what the link leads to; below a directory that a user
// owns, or in which others than root can rename things, nothing of root's is entered,
// at any depth, through links and ".." too.
func TestWays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const u, v = 4711, 4712
	type step struct {
		path string
		uid  int
		mode uint32 // of a directory
		link string // or where it leads to
	}
	for _, test := range []struct {
		name  string
		steps []step
		path  string
		want  error
	}{
		{"root's all the way", []step{{"a", 0, 0o755, ""}, {"a/m", 0, 0o700, ""}}, "a/m", nil},
		{"a user's in root's", []step{{"a", 0, 0o755, ""}, {"a/m", u, 0o700, ""}}, "a/m", nil},
		{"a user's in another's", []step{{"a", v, 0o755, ""}, {"a/m", u, 0o700, ""}}, "a/m", nil},
		{"root's in a user's", []step{{"a", u, 0o755, ""}, {"a/m", 0, 0o700, ""}}, "a/m", ErrRootOwned},
		{"root's, its directory renamed by a user", []step{{"a", u, 0o755, ""}, {"a/b", 0, 0o755, ""}, {"a/b/m", 0, 0o700, ""}}, "a/b/m", ErrRootOwned},
		{"a user's in root's in a user's", []step{{"a", u, 0o755, ""}, {"a/b", 0, 0o755, ""}, {"a/b/m", u, 0o700, ""}}, "a/b/m", ErrRootOwned},
		{"four levels up", []step{{"a", u, 0o755, ""}, {"a/b", u, 0o755, ""}, {"a/b/c", u, 0o755, ""}, {"a/b/c/d", 0, 0o755, ""}, {"a/b/c/d/m", u, 0o755, ""}}, "a/b/c/d/m", ErrRootOwned},
		{"root's in what a group writes", []step{{"a", 0, 0o775, ""}, {"a/m", 0, 0o700, ""}}, "a/m", ErrRootOwned},
		{"root's in what all write", []step{{"a", 0, 0o777, ""}, {"a/m", 0, 0o700, ""}}, "a/m", ErrRootOwned},
		{"root's in a sticky one", []step{{"a", 0, 0o1777, ""}, {"a/m", 0, 0o700, ""}}, "a/m", nil},
		{"root's in a user's sticky one", []step{{"a", u, 0o1777, ""}, {"a/m", 0, 0o700, ""}}, "a/m", ErrRootOwned},
		{"root's in a user's in a sticky one", []step{{"a", 0, 0o1777, ""}, {"a/b", u, 0o755, ""}, {"a/b/m", 0, 0o700, ""}}, "a/b/m", ErrRootOwned},
		{"a user's in what all write", []step{{"a", 0, 0o777, ""}, {"a/m", u, 0o700, ""}}, "a/m", nil},

		{"root's link to a user's", []step{{"a", 0, 0o755, ""}, {"b", u, 0o700, ""}, {"a/m", 0, 0, "../b"}}, "a/m", nil},
		{"root's link to root's", []step{{"a", 0, 0o755, ""}, {"b", 0, 0o700, ""}, {"a/m", 0, 0, "../b"}}, "a/m", nil},
		{"a user's link to his own", []step{{"a", u, 0o755, ""}, {"b", u, 0o700, ""}, {"a/m", u, 0, "../b"}}, "a/m", nil},
		{"the same, absolute", []step{{"a", u, 0o755, ""}, {"b", u, 0o700, ""}, {"a/m", u, 0, "@/b"}}, "a/m", nil},
		{"a user's link to another's", []step{{"a", u, 0o755, ""}, {"b", v, 0o700, ""}, {"a/m", u, 0, "../b"}}, "a/m", ErrLink},
		{"a user's link to root's", []step{{"a", u, 0o755, ""}, {"b", 0, 0o700, ""}, {"a/m", u, 0, "../b"}}, "a/m", ErrLink},
		{"his own, where his group may write", []step{{"a", u, 0o775, ""}, {"b", u, 0o700, ""}, {"a/m", u, 0, "../b"}}, "a/m", ErrLinkDir},
		{"root's, where a group may write", []step{{"a", 0, 0o2775, ""}, {"b", 0, 0o700, ""}, {"a/m", v, 0, "../b"}}, "a/m", ErrLinkDir},
		{"in a sticky one", []step{{"a", 0, 0o1777, ""}, {"b", u, 0o700, ""}, {"a/m", u, 0, "../b"}}, "a/m", ErrLinkDir},
		{"over a user's directory to root's in it", []step{{"a", 0, 0o755, ""}, {"b", u, 0o755, ""}, {"b/c", 0, 0o700, ""}, {"a/m", 0, 0, "../b/c"}}, "a/m", ErrRootOwned},
		{"a link on the way", []step{{"a", u, 0o755, ""}, {"b", u, 0o755, ""}, {"b/m", u, 0o700, ""}, {"a/l", u, 0, "../b"}}, "a/l/m", nil},
		{"a link on the way, then root's", []step{{"a", u, 0o755, ""}, {"b", u, 0o755, ""}, {"b/m", 0, 0o700, ""}, {"a/l", u, 0, "../b"}}, "a/l/m", ErrRootOwned},
		{"back out of a user's", []step{{"a", u, 0o755, ""}, {"m", 0, 0o700, ""}}, "a/../m", nil},
		{"a loop", []step{{"a", 0, 0o755, ""}, {"a/m", 0, 0, "m"}}, "a/m", unix.ELOOP},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, s := range test.steps {
				path := filepath.Join(root, s.path)
				var err error
				if s.link != "" {
					to := s.link
					if to[0] == '@' {
						to = root + to[1:]
					}
					err = os.Symlink(to, path)
				} else if err = os.Mkdir(path, 0o700); err == nil {
					err = unix.Chmod(path, s.mode)
				}
				if err = errors.Join(err, os.Lchown(path, s.uid, s.uid)); err != nil {
					t.Fatal(err)
				}
				if s.link == "" { // chown takes the set-group-ID bit away
					if err := unix.Chmod(path, s.mode); err != nil {
						t.Fatal(err)
					}
				}
			}
			var y Cache
			defer y.Close()
			loc, err := y.Locate(root + "/" + test.path)
			if err == nil {
				unix.Close(loc.FD)
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v; want %v", err, test.want)
			}
		})
	}
}

// TestWayRemembers proves that a way that has led to other Maildirs finds and
// refuses what a new one does: in other directories, through links, with dots
// and too many slashes, in any order.
func TestWayRemembers(t *testing.T) {
	root := t.TempDir()
	var homes []string
	for _, dir := range []string{"a", "a/b", "c"} {
		for u := range 3 {
			home := filepath.Join(dir, fmt.Sprintf("u%d", u))
			if err := os.MkdirAll(filepath.Join(root, home, "Maildir"), 0o755); err != nil {
				t.Fatal(err)
			}
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
	find := func(y *Cache, home string) string {
		loc, err := y.Locate(root + "/" + home + "/Maildir")
		if err != nil {
			return err.Error()
		}
		defer unix.Close(loc.FD)
		var st unix.Stat_t
		if err := sys.Fstat(loc.FD, &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(st.Ino, loc.UID, loc.GID)
	}
	var old Cache
	defer old.Close()
	for range 500 {
		home := homes[rand.IntN(len(homes))]
		var fresh Cache
		want, got := find(&fresh, home), find(&old, home)
		fresh.Close()
		if got != want {
			t.Fatalf("%s: %s; a new way says %s", home, got, want)
		}
	}
	if _, err := old.Locate(root + "/open/l/u0/Maildir"); !errors.Is(err, ErrLinkDir) {
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
