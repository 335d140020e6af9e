package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kowaza/internal/testenv"
)

// shells runs f with every shell that install.sh must know, with a checkout that
// has the real binary in it.
func shells(t *testing.T, f func(t *testing.T, shell string, in *installation)) {
	t.Helper()
	binary, err := exec.LookPath("kowaza")
	testenv.Check(t, err)
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			testenv.Program(t, shell)
			dir := t.TempDir()
			in := &installation{t: t, src: filepath.Join(dir, "tar ball"), root: filepath.Join(dir, "dest dir")}
			text, err := os.ReadFile("install.sh")
			testenv.Check(t, err)
			in.file(in.src, "install.sh", string(text), 0o755)
			testenv.Check(t, os.Symlink(binary, filepath.Join(in.src, "kowaza")))
			for _, d := range []string{"usr/local/bin", "usr/local/sbin", "etc/cron.daily"} {
				testenv.Check(t, os.MkdirAll(filepath.Join(in.root, d), 0o755))
			}
			f(t, shell, in)
		})
	}
}

// TestInstallShell proves that install.sh is kowaza --install: the same words,
// statuses and effect, wherever it is called from.
func TestInstallShell(t *testing.T) {
	shells(t, func(t *testing.T, shell string, in *installation) {
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\n")
		before := in.tree(in.root, true)
		would, _ := in.under(shell, 0, "-n")
		if after := in.tree(in.root, true); after != before {
			t.Errorf("-n changed\n%s\nto\n%s", before, after)
		}
		if out, _ := in.under(shell, 0); out != would {
			t.Errorf("-n shows\n%s\nthe run\n%s", would, out)
		}
		in.link("usr/local/bin/rmoldmail", "kowaza")
		in.link("usr/local/sbin/mailtest", "../bin/kowaza")
		if lines, _ := in.settings(); len(lines) != 1 || lines[0] != "VMDIR=/home/popuser" {
			t.Errorf("kowaza.conf sets %q", lines)
		}
		out, err := exec.Command(filepath.Join(in.root, "usr/local/sbin/mailtest"), "--version").Output()
		if err != nil || !strings.HasPrefix(string(out), "mailtest (kowaza) ") {
			t.Errorf("the link runs %q, %v", out, err)
		}
		if out, errs := in.under(shell, 0); out+errs != "" {
			t.Errorf("the second run prints %s%s", out, errs)
		}
		in.under(shell, 0, "-u")
		in.text("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\n")
		in.absent("usr/local/bin/kowaza")

		out1, errs := in.under(shell, 2, "-x")
		if out1 != "" || !strings.HasPrefix(errs, "kowaza: unknown option: -x\nusage: kowaza --install ") {
			t.Errorf("-x prints %s%s", out1, errs)
		}
		if out, _ := in.under(shell, 0, "--help"); !strings.HasPrefix(out, "usage: kowaza --install ") {
			t.Errorf("--help prints %s", out)
		}

		for _, args := range [][]string{{"./install.sh", "-p", "/"}, {"install.sh", "-p", "/"}} {
			cmd := exec.Command(shell, args...)
			cmd.Dir = in.src
			cmd.Env = append(os.Environ(), "DESTDIR=build/-links")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		if _, err := os.Stat(filepath.Join(in.src, "build/-links/sbin/mailtest")); err != nil {
			t.Error(err)
		}
	})
}

// TestInstallBuilds proves that install.sh builds the binary where it is not there
// and can be built, elsewhere with -n, and says what is missing where it cannot.
func TestInstallBuilds(t *testing.T) {
	shells(t, func(t *testing.T, shell string, in *installation) {
		testenv.Check(t, os.Remove(filepath.Join(in.src, "kowaza")))
		_, errs := in.under(shell, 1)
		if want := "install.sh: " + in.src + "/kowaza: not there, nor Go and its source to build it\n"; errs != want {
			t.Errorf("prints %s, want %s", errs, want)
		}
		in.file(in.src, "go.mod", "module kowaza\n", 0o644)
		in.file(in.src, "bin/go", `#!/bin/sh
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\necho "# $CGO_ENABLED $PWD: $*"\n' >"$2"
chmod 755 "$2"
`, 0o755)
		in.env = []string{"PATH=" + filepath.Join(in.src, "bin") + ":" + os.Getenv("PATH")}
		out, _ := in.under(shell, 0, "-n", "--force", "a b")
		if want := "would build " + in.src + "/kowaza\n#  /: --install -n --force a b\n"; out != want {
			t.Errorf("-n prints %q, want %q", out, want)
		}
		if _, err := os.Lstat(filepath.Join(in.src, "kowaza")); err == nil {
			t.Error("-n has built it")
		}
		out, _ = in.under(shell, 0)
		if want := "built " + in.src + "/kowaza\n#  /: --install\n"; out != want {
			t.Errorf("prints %q, want %q", out, want)
		}
		in.file(in.src, "bin/go", "#!/bin/sh\nexit 3\n", 0o755)
		testenv.Check(t, os.Remove(filepath.Join(in.src, "kowaza")))
		_, errs = in.under(shell, 1)
		if want := "install.sh: " + in.src + "/kowaza: cannot be built\n"; errs != want {
			t.Errorf("prints %s, want %s", errs, want)
		}
	})
}

// TestInstallOutput proves that a reader who goes away, and a full disk under
// standard output, do not end the work half-way, and are told by the status.
func TestInstallOutput(t *testing.T) {
	shells(t, func(t *testing.T, shell string, in *installation) {
		r, closed, err := os.Pipe()
		testenv.Check(t, err)
		r.Close()
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		testenv.Check(t, err)
		for _, out := range []*os.File{closed, full} {
			cmd := exec.Command(shell, filepath.Join(in.src, "install.sh"))
			cmd.Env = append(os.Environ(), "DESTDIR="+in.root)
			cmd.Stdout = out
			cmd.Run()
			out.Close()
			if got := cmd.ProcessState.ExitCode(); got != 1 {
				t.Errorf("status %d", got)
			}
			in.link("usr/local/bin/qqclean", "kowaza")
			if out, errs := in.under(shell, 0); out+errs != "" {
				t.Errorf("the second run prints %s%s", out, errs)
			}
			in.under(shell, 0, "-u")
		}
	})
}
