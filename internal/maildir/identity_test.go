package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

// TestCallersIdentity proves that Run, whose caller is one of the workers, gives
// the caller's thread back as it was: with the identity of the process.
func TestCallersIdentity(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP only root takes the identity of owners")
	}
	const nobody = 65534
	home := t.TempDir()
	makeMaildir(t, home, 5)
	err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // so that it is this thread that is asked
	defer runtime.UnlockOSThread()
	identity := func() string {
		status, err := os.ReadFile("/proc/thread-self/status")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", regexp.MustCompile(`(?m)^(Uid|Gid|Groups|CapEff):.*`).FindAll(status, -1))
	}
	before := identity()
	r, _ := runPool(t, Options{Jobs: 1}, Home(home, "Maildir"))
	if after := identity(); after != before {
		t.Errorf("%s; want %s", after, before)
	}
	if len(r.errs) > 0 || r.stats[Home(home, "Maildir")].Removed != 5 {
		t.Errorf("%v, %v", r.stats, r.errs)
	}
}
