package ci_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kowaza/internal/testenv"
)

// copySources copies what the binary is made of.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"main.go", "files.go", "symlinks.txt", "kowaza.conf", "man", "systemd", "examples", "go.mod", "go.sum", "Makefile", "applets", "internal"} {
		testenv.Check(t, filepath.WalkDir(filepath.Join(from, name), func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, file)
			if err != nil {
				return err
			}
			if d.IsDir() {
				if d.Name() == "testdata" {
					return fs.SkipDir
				}
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), text, 0o644)
		}))
	}
}

// build makes the binary in a directory of sources as "make build" does, and
// returns its path.
func build(t *testing.T, dir string, env ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.Program(t, "make"), "-s", "build")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "kowaza")
}

// TestBuildReproducible proves that the same sources give the same binary, byte
// for byte, wherever they lie and whoever builds; "make soak" compiles all of it
// twice, the library too.
func TestBuildReproducible(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "here"), filepath.Join(t.TempDir(), "a much longer name", "there")
	env := []string{"TZ=Asia/Tokyo", "LC_ALL=ja_JP.UTF-8", "USER=another"}
	if os.Getenv("KOWAZA_SOAK") != "" {
		env = append(env, "GOCACHE="+t.TempDir())
	}
	copySources(t, ".", a)
	copySources(t, a, b) // somebody may be at work on the others
	one, err := os.ReadFile(build(t, a))
	testenv.Check(t, err)
	two, err := os.ReadFile(build(t, b, env...))
	testenv.Check(t, err)
	if !bytes.Equal(one, two) {
		t.Errorf("%d and %d bytes differ", len(one), len(two))
	}
	for _, dir := range []string{a, filepath.Dir(t.TempDir()), os.Getenv("HOME") + "/"} {
		if len(dir) > 2 && bytes.Contains(one, []byte(dir)) {
			t.Errorf("the binary names %s", dir)
		}
	}
}

// TestBuildStatic proves that the binary runs on a bare system: it has no
// interpreter and needs no library, and no C is in it.
func TestBuildStatic(t *testing.T) {
	dir := t.TempDir()
	copySources(t, ".", dir)
	binary := build(t, dir)
	f, err := elf.Open(binary)
	testenv.Check(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a %v", p.Type)
		}
	}
	libraries, err := f.ImportedLibraries()
	if len(libraries) > 0 {
		t.Errorf("libraries: %q, %v", libraries, err)
	}
	info, err := buildinfo.ReadFile(binary)
	testenv.Check(t, err)
	cgo := ""
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" {
			cgo = s.Value
		}
	}
	if cgo != "0" {
		t.Errorf("CGO_ENABLED=%s", cgo)
	}
	for _, tool := range []struct{ name, says string }{{"file", "statically linked"}, {"ldd", "not a dynamic executable"}} {
		path, err := exec.LookPath(tool.name)
		if err != nil {
			t.Logf("%s is not installed: not asked", tool.name)
			continue
		}
		out, _ := exec.Command(path, binary).CombinedOutput() // ldd fails where it has nothing to say
		if !strings.Contains(string(out), tool.says) {
			t.Errorf("%s: %s", tool.name, out)
		}
	}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if or .CgoFiles .CFiles}}{{.ImportPath}}{{end}}", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if testenv.Check(t, err); strings.TrimSpace(string(out)) != "" {
		t.Errorf("C in %s", out)
	}
}

// TestModules proves that the modules are those whose sums go.sum has, that
// go.mod names no other place for any, and that nothing is needed but what is
// used.
func TestModules(t *testing.T) {
	for _, args := range [][]string{{"mod", "verify"}, {"mod", "tidy", "-diff"}} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
		case bytes.Contains(out, []byte("GOPROXY=off")):
			// The modules' own tests, and their modules', need more: for go mod verify
			// make test-deps has it.
			t.Logf("go mod %s needs the network: not asked", args[1])
		default:
			t.Errorf("go %q: %v\n%s", args, err, out)
		}
	}
	text, err := os.ReadFile("go.mod")
	testenv.Check(t, err)
	if strings.Contains(string(text), "replace") || strings.Contains(string(text), "exclude") {
		t.Errorf("go.mod replaces or excludes a module")
	}
	sums, err := os.ReadFile("go.sum")
	testenv.Check(t, err)
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", ".").Output()
	testenv.Check(t, err)
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains("\n"+string(sums), "\n"+line+" h1:") {
			t.Errorf("go.sum has no sum of %s", line)
		}
	}
}

// TestVulnerabilities proves, where govulncheck's database can be reached, that
// no known hole is in what the binary uses. It is asked by "make soak" only:
// other tests need no network.
func TestVulnerabilities(t *testing.T) {
	if os.Getenv("KOWAZA_SOAK") == "" {
		t.Log("not asked: only make soak goes to the network")
		return
	}
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Head("https://vuln.go.dev/index/db.json")
	if err != nil {
		t.Logf("the database cannot be reached: %v", err)
		return
	}
	answer.Body.Close()
	out, err := exec.Command("go", "run", "golang.org/x/vuln/cmd/govulncheck@latest", ".").CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Error(err)
	}
}
