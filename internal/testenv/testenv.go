// Package testenv is what tests of several packages need: the applets as commands
// in PATH, the top of the checkout as the working directory, and small checks.
package testenv

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kowaza/applets"
	"kowaza/internal/cli"
)

// Host is where the commands are that the scripts run: empty for the applets in
// the test binary, else a directory with the originals, or with links to the
// static binary. It is KOWAZA_HOST, as an absolute path.
var Host = func() string {
	host := os.Getenv("KOWAZA_HOST")
	if host == "" {
		return ""
	}
	dir, err := filepath.Abs(host)
	if err != nil {
		panic(err)
	}
	return dir
}()

// Main runs the tests of a package at the top of the checkout. Unless Host names
// another place, kowaza and its applets are commands in PATH that run in the test
// binary.
func Main(m *testing.M) {
	commands := make(map[string]func())
	if Host == "" {
		run := func() { os.Exit(applets.Main(env(), os.Args)) }
		commands["kowaza"] = run
		for _, a := range applets.All {
			commands[a.Name] = run
			commands[a.Name+".pl"] = run
			commands[a.Name+".sh"] = run
		}
		commands["nosuch"] = run
	}
	testscript.Main(tests{m}, commands)
}

// tests runs the tests; what is run as a command does not come here.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	top, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(top, "go.mod")); err == nil {
			break
		}
		top = filepath.Dir(top)
	}
	if err == nil {
		err = os.Chdir(top)
	}
	if err != nil {
		panic(err)
	}
	os.Setenv("KOWAZA_TEST_TOP", top)
	if Host != "" {
		os.Setenv("PATH", Host+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	return t.m.Run()
}

// env is the world as a script wants it to be.
func env() *cli.Env {
	env := cli.System()
	if top := os.Getenv("KOWAZA_TEST_TOP"); top != "" {
		env.Files = os.DirFS(top)
	}
	if dir := os.Getenv("KOWAZA_TEST_FILES"); dir != "" {
		env.Files = os.DirFS(dir)
		env.Binary = func() (string, error) { return dir + "/kowaza", nil }
	}
	env.Root = os.Getenv("KOWAZA_TEST_ROOT")
	if s := os.Getenv("KOWAZA_TEST_NOW"); s != "" {
		now, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			panic(err)
		}
		env.Now = func() time.Time { return now }
	}
	return env
}

// Check ends the test if there is an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Program returns the file of a command, and skips the test where there is none.
func Program(t testing.TB, name string) string {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP %s is not installed", name)
	}
	return file
}

// Ours reports whether the commands in PATH are kowaza's, and not the originals.
func Ours() bool {
	if Host == "" {
		return true
	}
	_, err := os.Stat(filepath.Join(Host, "kowaza"))
	return err == nil
}

// CopyTree copies those of the named files and directories that there are, but
// tests, with more rights if more is not 0.
func CopyTree(t testing.TB, from, to string, more fs.FileMode, names ...string) {
	t.Helper()
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(from, name), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(file, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(from, file)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			copied := filepath.Join(to, rel)
			if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(copied, text, 0o600); err != nil {
				return err
			}
			return os.Chmod(copied, info.Mode()|more)
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// RmmailVirtual returns the file of the command rmmail_virtual, and skips the test
// on the originals: examples and units have options that they lack.
func RmmailVirtual(t testing.TB) string {
	t.Helper()
	if !Ours() {
		t.Skip("SKIP the original has no --shard")
	}
	return Program(t, "rmmail_virtual")
}

// DistFiles are what .ci/dist works on.
var DistFiles = []string{"go.mod", "go.sum", "main.go", "files.go", "applets", "internal", ".ci", "LICENSE", "install.sh", "symlinks.txt",
	"kowaza.conf", "man", "systemd", "examples", "docs", "README.md", "README.ja.md", "SECURITY.md"}
