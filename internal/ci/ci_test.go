package ci_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// A checkout is a small project that .ci/test can test.
type checkout struct {
	t   *testing.T
	dir string
	env []string
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir(), env: append(os.Environ(), "KOWAZA_HOST=")}
	testenv.CopyTree(t, ".", c.dir, 0, ".ci/test", ".ci/fuzz", ".ci/digest.awk")
	c.file("install.sh", "#!/bin/sh\n")
	return c
}

// file writes a file of the project, which may be run.
func (c *checkout) file(name, text string) {
	c.t.Helper()
	name = filepath.Join(c.dir, name)
	testenv.Check(c.t, os.MkdirAll(filepath.Dir(name), 0o755))
	testenv.Check(c.t, os.WriteFile(name, []byte(text), 0o755))
}

// test runs .ci/test and returns what it prints. The last line and the status
// must say the same.
func (c *checkout) test(last string) string {
	c.t.Helper()
	cmd := exec.Command("sh", ".ci/test")
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if got := lines[len(lines)-1]; got != last || (err == nil) != strings.Contains(last, " 0 failed") {
		c.t.Errorf("the last line is %q, %v; want %q\n%s", got, err, last, out)
	}
	return string(out)
}

// want proves that something was printed, or that something was not.
func (c *checkout) want(out string, yes bool, patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		if regexp.MustCompile(p).MatchString(out) != yes {
			c.t.Errorf("%q is there: %v; want %v, in\n%s", p, !yes, yes, out)
		}
	}
}

// TestCITest proves that make test tells the truth about tests of every kind: its
// last line has the sums, which are not 0 failures where a test binary died or
// was not built; what failed is shown in its own words; each skipped test has its
// reason; and control characters of a test reach no terminal.
func TestCITest(t *testing.T) {
	c := newCheckout(t)
	c.file("go.mod", "module kowaza\n\ngo 1.24\n")
	header := "package x\n\nimport \"testing\"\n\n"
	c.file("good_test.go", header+`
func TestScripts(t *testing.T) {}
func TestTwo(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "b" { t.Skip("SKIP needs", name) }
			t.Log("not to be seen")
		})
	}
}
func TestNoReason(t *testing.T) { t.SkipNow() }
`)
	c.file("applets/bad_test.go", header+`
func TestGood(t *testing.T) { t.Log("not to be seen") }
func TestBad(t *testing.T) {
	t.Run("sub", func(t *testing.T) {
		t.Run("deep", func(t *testing.T) { t.Error("the \x1b[31mred\x00 reason\n--- FAIL: TestOther (0.00s)\n--- PASS: Test/Other (0.00s)") })
	})
}
func TestMuch(t *testing.T) {
	for i := range 500 { t.Errorf("word %d.", i) }
}
`)
	c.file("internal/a/panic_test.go", header+`
func TestPanics(t *testing.T) { panic("a b c") }
func TestNever(t *testing.T) {}
`)
	c.file("internal/b/exit_test.go", "package x\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestExits(t *testing.T) { os.Exit(3) }\n")
	c.fuzzTargets()
	c.file("internal/real/x_test.go", "package x\n\nvar x int = \"\"\n")
	for _, dir := range []string{"docs", "examples", "systemd"} {
		c.file(dir+"/x_test.go", header+"func TestX(t *testing.T) {}\n")
	}

	// TestScripts runs thrice, and the inputs that are kept of a fuzz target are tests.
	out := c.test("12 passed, 7 failed, 2 skipped")
	c.want(out, true, `(?m)^SKIP TestTwo/b: needs b$`, `(?m)^SKIP TestNoReason: no reason given$`,
		`the \?\[31mred\? reason`, `(?m)^        --- FAIL: TestBad/sub/deep \(.*s\)\n.*red`, `word 79\.`, `\.\.\. and 420 more lines in build/test/tests\n`,
		`panic: a b c`, `kowaza/internal/b .* 1 failed`, `x_test.go:3:.* cannot use`, `\[build failed\]`)
	c.want(out, false, "not to be seen", `word 80\.`, "\x1b", "\x00", "found")
	log, err := os.ReadFile(filepath.Join(c.dir, "build/test/tests"))
	testenv.Check(t, err)
	c.want(string(log), true, `word 499\.`, "the \x1b\\[31mred\x00 reason")
}

// fuzzTargets makes two: the inputs that are kept of both are good, and one fails
// with every other.
func (c *checkout) fuzzTargets() {
	// No line of this file begins as those do by which .ci/fuzz finds such packages.
	c.file("internal/c/fuzz_test.go", "package x\n\nimport \"testing\"\n\nfunc FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }\n"+
		"func FuzzBad(f *testing.F) { f.Add(\"x\"); f.Fuzz(func(t *testing.T, s string) { if s != \"x\" { t.Error(\"found\") } }) }\n")
}

// TestCIFuzz proves that make fuzz searches with every target, shows what it found
// and fails then.
func TestCIFuzz(t *testing.T) {
	c := newCheckout(t)
	c.file("go.mod", "module kowaza\n\ngo 1.24\n")
	c.fuzzTargets()
	run := func() (string, error) {
		cmd := exec.Command("sh", ".ci/fuzz")
		cmd.Dir, cmd.Env = c.dir, append(c.env, "FUZZTIME=100x")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run()
	c.want(out, true, `(?m)^FuzzGood +fuzz: elapsed`, `fuzz_test.go:\d+: found`, `(?m)^FuzzBad +failed`)
	if err == nil {
		t.Error("status 0 although an input was found")
	}
	testenv.Check(t, os.RemoveAll(filepath.Join(c.dir, "internal/c/testdata")))
	c.file("internal/c/fuzz_test.go", "package x\n\nimport \"testing\"\n\nfunc FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }\n")
	if out, err := run(); err != nil {
		t.Errorf("%v although nothing was found\n%s", err, out)
	}
}

// TestCITestDies proves the same of a go test that does not come to its end: its
// time is over, with thousands of goroutines; it is killed; it says nothing.
func TestCITestDies(t *testing.T) {
	begin := "=== RUN   TestGood\n--- PASS: TestGood (0.00s)\n=== RUN   TestHangs\n"
	var goroutines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&goroutines, "goroutine %d [select, 9 minutes]:\ninternal/poll.runtime_pollWait(0x7f, 0x72)\n\t/usr/lib/go/src/runtime/netpoll.go:%[1]d +0x85\n\n", i)
	}
	for name, test := range map[string]struct{ said, status, last, want string }{
		"time": {begin + "panic: test timed out after 10m0s\n\trunning tests:\n\t\tTestHangs (10m0s)\n\n" + goroutines.String() +
			"FAIL\tkowaza/applets\t600.035s\nFAIL\n", "1", "1 passed, 1 failed, 0 skipped", `TestHangs \(10m0s\)`},
		"time, after a failure": {"=== RUN   TestBad\n    a_test.go:1: why\n--- FAIL: TestBad (0.00s)\n" + begin + "panic: test timed out after 10m0s\n\trunning tests:\n\t\tTestHangs (10m0s)\n\n" +
			goroutines.String() + "FAIL\tkowaza/applets\t600.035s\nFAIL\n", "1", "1 passed, 2 failed, 0 skipped", `a_test.go:1: why`},
		"killed":  {begin, "137", "1 passed, 1 failed, 0 skipped", "(?s)last heard of: TestHangs.*no end"},
		"silent":  {"", "1", "0 passed, 1 failed, 0 skipped", "exit status 1"},
		"no word": {"ok  \tkowaza/applets\t1.0s\n", "1", "0 passed, 1 failed, 0 skipped", "exit status 1"},
		"passes": {"=== RUN   TestGood\n=== RUN   TestGood/script\n    cmd.go:380: SKIP root: needs to be root\n    testscript.go:609: WORK=$WORK\n        HOME=/no-home\n" +
			"--- PASS: TestGood (0.00s)\n    --- SKIP: TestGood/script (0.00s)\nPASS\nok  \tkowaza/applets\t1.0s\n", "0",
			"1 passed, 0 failed, 1 skipped", `SKIP TestGood/script: root: needs to be root`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			c.file("said", test.said)
			// The first round is told it; the others have nothing to do.
			c.file("go", "#!/bin/sh\n[ -e said ] || exit 0\ncat said\nrm said\nexit "+test.status+"\n")
			c.env = append(c.env, "GO=./go")
			out := c.test(test.last)
			c.want(out, true, test.want)
			if n := strings.Count(out, "\n"); n > 70 {
				t.Errorf("%d lines", n)
			}
			log, err := os.ReadFile(filepath.Join(c.dir, "build/test/tests"))
			testenv.Check(t, err)
			if string(log) != test.said {
				t.Errorf("the log has %d bytes of %d", len(log), len(test.said))
			}
		})
	}
}
