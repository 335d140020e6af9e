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
