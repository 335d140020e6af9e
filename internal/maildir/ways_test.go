package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWays proves on ways to a Maildir what SPEC says of each step: a link counts
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
			var y pathCache
			defer y.close()
			loc, err := y.locate(root + "/" + test.path)
			if err == nil {
				unix.Close(loc.fd)
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v; want %v", err, test.want)
			}
		})
	}
}

// TestNoAnswer proves that a file system that never answers, as a user's own may,
// costs its Maildir and a note, and neither the others nor the end of the run, be
// there one worker or many.
func TestNoAnswer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	defer func(d time.Duration) { watchTick = d }(watchTick)
	watchTick = 20 * time.Millisecond
	for _, jobs := range []int{1, 16} {
		root := t.TempDir()
		var paths []string
		for _, name := range []string{"a", "b", "c", "evil", "d", "e"} {
			home := filepath.Join(root, name)
			makeMaildir(t, home, 5, ".Trash")
			paths = append(paths, Home(home, "Maildir"))
		}
		evil := Home(filepath.Join(root, "evil"), "Maildir")
		fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Skipf("no /dev/fuse: %v", err)
		}
		if err := unix.Mount("evil", evil, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
			unix.Close(fuse)
			t.Skipf("cannot mount: %v", err)
		}
		r, _ := runPool(t, Options{Jobs: jobs}, paths...)
		unix.Close(fuse) // which answers for it
		unix.Unmount(evil, unix.MNT_DETACH)
		for _, path := range paths {
			if path != evil && r.stats[path].Removed != 10 {
				t.Errorf("%d jobs: %s: %+v", jobs, path, r.stats[path])
			}
		}
		if _, done := r.stats[evil]; !done || !errors.Is(r.errs[evil], ErrNoAnswer) || len(r.errs) != 1 {
			t.Errorf("%d jobs: %v, done: %v", jobs, r.errs, done)
		}
	}
}
