package ci_test

import (
	"fmt"
	"io/fs"
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

// test runs .ci/test and returns what it prints. The last lines, the sums and what
// they mean, and the status must say the same.
func (c *checkout) test(sums, meaning string) string {
	c.t.Helper()
	cmd := exec.Command("sh", ".ci/test")
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	last, good := sums+"\n"+meaning, strings.Contains(sums, " 0 failed") && strings.Contains(meaning, " passed")
	if got := strings.Join(lines[max(0, len(lines)-2):], "\n"); got != last || (err == nil) != good {
		c.t.Errorf("the last lines are %q, %v; want %q\n%s", got, err, last, out)
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
// last line but one has the sums, which are not 0 failures where a test binary died or
// was not built; the last one names each that failed, or the package, once; what failed is shown in its own words; each skipped test has its
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
	out := c.test("12 passed, 7 failed, 2 skipped", "failed: TestBad/sub/deep, TestMuch, TestPanics, kowaza/internal/b at TestExits, kowaza/internal/real")
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
	for name, test := range map[string]struct{ said, status, sums, meaning, want string }{
		"time": {begin + "panic: test timed out after 10m0s\n\trunning tests:\n\t\tTestHangs (10m0s)\n\n" + goroutines.String() +
			"FAIL\tkowaza/applets\t600.035s\nFAIL\n", "1", "1 passed, 1 failed, 0 skipped", "failed: kowaza/applets at TestHangs", `TestHangs \(10m0s\)`},
		"time, after a failure": {"=== RUN   TestBad\n    a_test.go:1: why\n--- FAIL: TestBad (0.00s)\n" + begin + "panic: test timed out after 10m0s\n\trunning tests:\n\t\tTestHangs (10m0s)\n\n" +
			goroutines.String() + "FAIL\tkowaza/applets\t600.035s\nFAIL\n", "1", "1 passed, 2 failed, 0 skipped", "failed: TestBad, kowaza/applets at TestHangs", `a_test.go:1: why`},
		"killed":  {begin, "137", "1 passed, 1 failed, 0 skipped", "failed: go test at TestHangs", "(?s)last heard of: TestHangs.*no end"},
		"silent":  {"", "1", "0 passed, 1 failed, 0 skipped", "failed: go test", "exit status 1"},
		"no word": {"ok  \tkowaza/applets\t1.0s\n", "1", "0 passed, 1 failed, 0 skipped", "failed: go test", "exit status 1"},
		"passes": {"=== RUN   TestGood\n=== RUN   TestGood/script\n    cmd.go:380: SKIP root: needs to be root\n    testscript.go:609: WORK=$WORK\n        HOME=/no-home\n" +
			"--- PASS: TestGood (0.00s)\n    --- SKIP: TestGood/script (0.00s)\nPASS\nok  \tkowaza/applets\t1.0s\n", "0",
			"1 passed, 0 failed, 1 skipped", "all that can run here passed; root adds 1", `SKIP TestGood/script: root: needs to be root`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			c.file("said", test.said)
			// The first round is told it; the others have nothing to do.
			c.file("go", "#!/bin/sh\n[ -e said ] || exit 0\ncat said\nrm said\nexit "+test.status+"\n")
			c.env = append(c.env, "GO=./go")
			out := c.test(test.sums, test.meaning)
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

// TestCITestMeans proves that the last line of make test says what the sums mean: which
// tests more programs would add, and which root; nothing of that where all ran; names
// the round in which a script failed, and no more failures than one reads; and calls nothing a
// success where there was no test.
func TestCITestMeans(t *testing.T) {
	skip := func(name, reason string) string {
		return "=== RUN   " + name + "\n    a_test.go:1: " + reason + "\n" + strings.Repeat("    ", strings.Count(name, "/")) + "--- SKIP: " + name + " (0.00s)\n"
	}
	const good = "=== RUN   TestGood\n--- PASS: TestGood (0.00s)\n"
	const end = "PASS\nok  \tkowaza/applets\t1.0s\n"
	var many strings.Builder
	for i := range 12 {
		fmt.Fprintf(&many, "=== RUN   Test%d\n--- FAIL: Test%[1]d (0.00s)\n", i)
	}
	for name, test := range map[string]struct{ said, later, status, sums, meaning string }{
		"all":      {good + end, "", "0", "1 passed, 0 failed, 0 skipped", "all passed"},
		"none":     {"", "", "0", "0 passed, 0 failed, 0 skipped", "nothing was tested"},
		"programs": {good + skip("TestA", "SKIP strace: not installed") + skip("TestB", "php is not installed") + end, "", "0", "1 passed, 0 failed, 2 skipped", "all that can run here passed; `make test-deps` adds 2"},
		"both": {good + skip("TestRoot", "root: php is not installed") + skip("TestB", "SKIP postfix: not root") + skip("TestC", "needs root") + end, "", "0",
			"1 passed, 0 failed, 3 skipped", "all that can run here passed; `make test-deps` adds 1, root 2"},
		"neither": {good + skip("TestA/root", "SKIP no /proc/self/fd") + end, "", "0", "1 passed, 0 failed, 1 skipped", "all that can run here passed"},
		"script": {good + skip("TestA", "php is not installed") + end, "=== RUN   TestScripts\n=== RUN   TestScripts/a\n--- FAIL: TestScripts (0.00s)\n    --- FAIL: TestScripts/a (0.00s)\nFAIL\nFAIL\tkowaza\t1.0s\nFAIL\n", "1",
			"1 passed, 2 failed, 1 skipped", "failed: TestScripts/a (scripts-on-originals)"},
		"many": {many.String() + "FAIL\nFAIL\tkowaza/applets\t1.0s\nFAIL\n", "", "1", "0 passed, 12 failed, 0 skipped", "failed: Test0, Test1, Test2, Test3, Test4, Test5, Test6, Test7, Test8, Test9 and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			c.file("said.1", test.said)
			c.file("said.2", test.later)
			// The first round is told said.1, the next one said.2; the status is that of the last
			// that is told anything.
			status := [2]string{test.status, "0"}
			if test.later != "" {
				status = [2]string{"0", test.status}
			}
			c.file("go", "#!/bin/sh\nif [ -e said.1 ]; then cat said.1; rm said.1; exit "+status[0]+"; fi\n"+
				"[ -e said.2 ] || exit 0\ncat said.2\nrm said.2\nexit "+status[1]+"\n")
			c.env = append(c.env, "GO=./go")
			c.test(test.sums, test.meaning)
		})
	}
}

// TestSkipsSay proves that every test which wants a program says so in the words by
// which make test counts it.
func TestSkipsSay(t *testing.T) {
	said := regexp.MustCompile("Skipf?\\([\"`]([^\"`]*)[\"`]|^\\[[^\n]*\\] skip '([^']*)'")
	known := regexp.MustCompile(`not installed$|\broot\b|needs Linux$`)
	found := 0
	for _, top := range []string{".", "applets", "docs", "examples", "internal", "systemd", "testdata"} {
		testenv.Check(t, filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && top == "." && file != ".":
				return fs.SkipDir
			case filepath.Ext(file) != ".go" && filepath.Ext(file) != ".txtar" || strings.HasSuffix(file, "ci/ci_test.go"):
				return nil
			}
			text, err := os.ReadFile(file)
			testenv.Check(t, err)
			lines := strings.Split(string(text), "\n")
			for i, line := range lines {
				m := said.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				reason := m[1] + m[2]
				looks := i > 1 && strings.Contains(lines[i-1]+lines[i-2], "exec.LookPath(") || strings.Contains(line, "[!exec:")
				if looks {
					found++
				}
				if (looks || strings.HasPrefix(reason, "needs ")) && !known.MatchString(reason) {
					t.Errorf("%s:%d: %q does not say that something is not installed", file, i+1, reason)
				}
			}
			return nil
		}))
	}
	if found < 20 {
		t.Errorf("only %d such tests found", found)
	}
}
