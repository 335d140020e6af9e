package install_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

// installCalls are the calls by which --install changes anything.
var installCalls = []string{"openat", "write", "fsync", "fchmod", "linkat", "symlinkat", "renameat", "mkdirat", "unlinkat"}

// leftover is a temporary file in a list of files.
var leftover = regexp.MustCompile(`(?m)^.*/\.kowaza\.[0-9a-f]{8}.*\n`)

// carried is what was carried over to kowaza.conf in a list of files.
var carried = regexp.MustCompile(`(?:\\n\\n# carried over from [^"]*)+`)

// mtimes is the date of a file in a list of files.
var mtimes = regexp.MustCompile(`(?m)^[0-9]{4}-[^ ]* `)

// TestInstallKilled proves that --install may be killed before any call, or meet a
// full disk or a broken one there: the commands are there, nothing is lost, a
// failure is told, a second run ends the work as if nothing had been, and -u gives
// back what was there.
func TestInstallKilled(t *testing.T) {
	t.Parallel()
	testenv.Program(t, "strace")
	kowaza, err := exec.LookPath("kowaza")
	testenv.Check(t, err)
	const script = "#!/bin/sh\nVMDIR=/home/popuser\n"
	const cron = "#!/bin/sh\nDAYS=30\n"
	installed(t, func(in *installation) {
		in.file(in.src, "symlinks.txt", "bin/rmoldmail\n/etc/cron.daily/rmmail_virtual\nbin/qqclean\n", 0o644)
		testenv.Check(t, os.RemoveAll(filepath.Join(in.src, "systemd")))
		testenv.Check(t, os.RemoveAll(filepath.Join(in.src, "man/ja")))
		// Dates apart, and the order in which settings were found.
		files := func() string {
			text := mtimes.ReplaceAllString(leftover.ReplaceAllString(in.tree(in.root, false), ""), "")
			return carried.ReplaceAllStringFunc(text, func(conf string) string {
				parts := strings.Split(strings.TrimSuffix(conf, `\n`), `\n\n`)
				slices.Sort(parts)
				return strings.Join(parts, `\n\n`) + `\n`
			})
		}
		begin := func() string {
			testenv.Check(t, os.RemoveAll(in.root))
			in.script("usr/local/bin/rmoldmail", script)
			in.script("etc/cron.daily/rmmail_virtual", cron)
			in.script("etc/kowaza.conf", "VUSER=popuser\n")
			return files()
		}
		before := begin()
		in.run(0)
		want := files()

		// strace runs it with a fault, and reports whether one was met.
		strace := func(call, fault string, nth int, args ...string) (met bool, status int, errs string) {
			trace := filepath.Join(in.src, "trace")
			cmd := exec.Command("strace", slices.Concat([]string{"-f", "-qq", "-o", trace, "-e", "trace=" + call, "-e", "signal=none",
				"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, fault, nth), kowaza, "--install"}, args)...)
			cmd.Env = append(os.Environ(), "DESTDIR="+in.root, "KOWAZA_TEST_FILES="+in.src, "GOMAXPROCS=1")
			var b strings.Builder
			cmd.Stderr = &b
			cmd.Run()
			text, err := os.ReadFile(trace)
			testenv.Check(t, err)
			if strings.Contains(string(text), "write(2,") { // nothing can be said
				b.WriteString("?")
			}
			return strings.Contains(string(text), "(INJECTED)") || !cmd.ProcessState.Exited() || cmd.ProcessState.ExitCode() > 128,
				cmd.ProcessState.ExitCode(), b.String()
		}
		sound := func(what string) {
			t.Helper()
			for name, text := range map[string]string{"usr/local/bin/rmoldmail": script, "etc/cron.daily/rmmail_virtual": cron} {
				end, err := os.Readlink(filepath.Join(in.root, name))
				if err != nil {
					in.text(name, text)
					continue
				}
				if _, err := os.Stat(filepath.Join(in.root, "usr/local/bin/kowaza")); err != nil {
					t.Errorf("%s: %s leads to %s, which is not there", what, name, end)
				}
				kept, _ := filepath.Glob(filepath.Join(in.root, "usr/local/bin/rmoldmail.orig*"))
				if name != "usr/local/bin/rmoldmail" {
					kept, _ = filepath.Glob(filepath.Join(in.root, "usr/local/share/kowaza/orig/*"))
				}
				if !slices.ContainsFunc(kept, func(file string) bool {
					b, err := os.ReadFile(file)
					return err == nil && string(b) == text
				}) {
					t.Errorf("%s: the script %s is lost", what, name)
				}
			}
			if lines, _ := in.settings(); len(lines) == 0 || lines[0] != "VUSER=popuser" {
				t.Errorf("%s: kowaza.conf sets %q", what, lines)
			}
		}
		faults := []string{"signal=KILL", "error=ENOSPC"}
		if os.Getenv("KOWAZA_SOAK") != "" {
			faults = append(faults, "error=EIO", "error=EACCES", "error=EROFS", "error=EMFILE")
		}
		for _, fault := range faults {
			hits := 0
			for _, call := range installCalls {
				for nth := 1; ; nth++ {
					what := fmt.Sprintf("%s: %s %d", fault, call, nth)
					begin()
					met, status, errs := strace(call, fault, nth)
					if !met {
						break
					}
					hits++
					sound(what)
					if fault != "signal=KILL" && (status != 0 && errs == "" || status > 1) {
						t.Errorf("%s: status %d, %q", what, status, errs)
					}
					in.run(0)
					if got := files(); got != want {
						t.Errorf("%s, and once more:\n%s", what, difference(got, want))
					}
					if met, status, errs = strace(call, fault, nth, "-u"); met {
						sound(what + " of -u")
						if fault != "signal=KILL" && (status != 0 && errs == "" || status > 1) {
							t.Errorf("%s of -u: status %d, %q", what, status, errs)
						}
					}
					if out, errs, status := in.main("-u"); status != 0 {
						t.Errorf("%s, and -u: status %d\n%s%s", what, status, out, errs)
					}
					conf, err := os.ReadFile(filepath.Join(in.root, "etc/kowaza.conf"))
					testenv.Check(t, err)
					if !strings.HasPrefix(string(conf), "VUSER=popuser\n") {
						t.Errorf("%s: kowaza.conf is %s", what, conf)
					}
					in.script("etc/kowaza.conf", "VUSER=popuser\n")
					if got := files(); got != before {
						t.Errorf("%s, and -u:\n%s", what, difference(got, before))
					}
				}
			}
			t.Logf("%s: %d calls", fault, hits)
			if hits < 20 { // threads count for themselves, so it varies
				t.Errorf("%s: met %d calls", fault, hits)
			}
		}
	})
}

// difference shows the lines that one list of files has and the other has not.
func difference(got, want string) string {
	var b strings.Builder
	for line := range strings.Lines(got) {
		if !strings.Contains(want, line) {
			b.WriteString("+" + line)
		}
	}
	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			b.WriteString("-" + line)
		}
	}
	return b.String()
}
