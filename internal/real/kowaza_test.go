package real

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a busy machine may take for anything.
const patience = 5 * time.Minute

// buildKowaza builds the binary that is installed, links the applets to it as
// the installation does, and returns the directory.
func buildKowaza(t *testing.T, applets ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "kowaza")
	// Git refuses to tell the version of a clone that is another user's.
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, applet := range applets {
		if err := os.Symlink("kowaza", filepath.Join(dir, applet)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// silently runs a command that must succeed and print nothing, as cron likes it.
func silently(t *testing.T, command string, args ...string) {
	t.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
}

// until waits for a condition, and reports whether it came true.
func until(condition func() bool) bool {
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
