package install_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"kowaza/internal/testenv"
)

// makeDist runs .ci/dist in tree and returns the directory with what it made.
func makeDist(t *testing.T, tree, version string, env []string, targets ...string) string {
	t.Helper()
	cmd := exec.Command(".ci/dist", append([]string{version, "build/dist"}, targets...)...)
	cmd.Dir = tree
	cmd.Env = append(append(os.Environ(), "SOURCE_DATE_EPOCH=1000000000"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf(".ci/dist: %v\n%s", err, out)
	}
	return filepath.Join(tree, "build/dist")
}

// TestDist builds the tarball of this machine, and where there is dpkg-deb the
// package, and tries them.
func TestDist(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	tree := filepath.Join(t.TempDir(), "kowaza")
	testenv.CopyTree(t, ".", tree, 0, testenv.DistFiles...)
	targets := []string{"linux-" + runtime.GOARCH}
	if _, err := exec.LookPath("dpkg-deb"); err == nil {
		targets = append(targets, "deb-"+runtime.GOARCH)
	}
	dist := makeDist(t, tree, "1.2.3", nil, targets...)

	t.Run("reproducible", func(t *testing.T) { reproducible(t, tree, dist, targets) })
	t.Run("sums", func(t *testing.T) { checkSums(t, dist, len(targets)) })
	t.Run("install", func(t *testing.T) { installTarball(t, dist) })
	t.Run("debian", func(t *testing.T) {
		if len(targets) < 2 {
			t.Skip("dpkg-deb is not installed")
		}
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		newer := makeDist(t, tree, "1.2.4", nil, targets[1])
		debian(t, filepath.Join(newer, "kowaza_1.2.3_"+runtime.GOARCH+".deb"), filepath.Join(newer, "kowaza_1.2.4_"+runtime.GOARCH+".deb"))
	})
}

// reproducible proves that the same source gives the same bytes in another
// directory and zone, for another locale, and whatever dates and modes the files
// have.
func reproducible(t *testing.T, tree, dist string, targets []string) {
	other := filepath.Join(t.TempDir(), "another directory", "kowaza")
	testenv.CopyTree(t, tree, other, 0o064, testenv.DistFiles...)
	second := makeDist(t, other, "1.2.3", []string{"TZ=Asia/Tokyo", "LANG=ja_JP.UTF-8", "TMPDIR=" + t.TempDir()}, targets...)
	files, err := os.ReadDir(dist)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(targets)+1 {
		t.Errorf("%d files for %v", len(files), targets)
	}
	for _, f := range files {
		a, err1 := os.ReadFile(filepath.Join(dist, f.Name()))
		b, err2 := os.ReadFile(filepath.Join(second, f.Name()))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", f.Name(), err1, err2)
		}
	}
}

// checkSums proves that SHA256SUMS is right and has every file.
func checkSums(t *testing.T, dist string, n int) {
	cmd := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	cmd.Dir = dist
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte(": OK\n")) != n {
		t.Errorf("%v: %s", err, out)
	}
}

// tools makes a directory with those commands and nothing else, to be PATH.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// installTarball proves that the tarball can be installed where there is no Go,
// that all of it comes to its place and runs, and that -u leaves no file.
func installTarball(t *testing.T, dist string) {
	name := "kowaza-1.2.3-linux-" + runtime.GOARCH
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xzf", filepath.Join(dist, name+".tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	in := &installation{t: t, src: filepath.Join(dir, name), root: filepath.Join(dir, "root"),
		env: []string{"PATH=" + tools(t, "sh")}}
	in.sh(0)
	out, err := exec.Command(filepath.Join(in.root, "usr/local/bin/rmoldmail"), "--version").CombinedOutput()
	if err != nil || string(out) != "rmoldmail (kowaza) 1.2.3\n" {
		t.Errorf("%v, %q", err, out)
	}
	type file struct{ glob, dir string }
	for _, f := range []file{
		{"man/*.1", "usr/local/share/man/man1"}, {"man/*.5", "usr/local/share/man/man5"}, {"man/*.7", "usr/local/share/man/man7"}, {"man/*.8", "usr/local/share/man/man8"},
		{"man/ja/*.1", "usr/local/share/man/ja/man1"}, {"man/ja/*.5", "usr/local/share/man/ja/man5"}, {"man/ja/*.7", "usr/local/share/man/ja/man7"}, {"man/ja/*.8", "usr/local/share/man/ja/man8"},
		{"systemd/*.service", "usr/local/share/doc/kowaza/systemd"}, {"systemd/*.timer", "usr/local/share/doc/kowaza/systemd"},
	} {
		have, _ := filepath.Glob(f.glob)
		for _, h := range have {
			if text, err := os.ReadFile(h); err != nil {
				t.Error(err)
			} else {
				in.text(filepath.Join(f.dir, filepath.Base(h)), string(text))
			}
		}
	}
	in.text("usr/local/share/zsh/site-functions/_kowaza", completionOf(t, ".", "zsh"))
	in.link("usr/local/share/bash-completion/completions/qmHandle", "kowaza")
	for _, f := range []string{"LICENSE", "README.md", "kowaza.conf", "examples/README.md"} {
		if _, err := os.Stat(filepath.Join(in.src, f)); err != nil {
			t.Error(err)
		}
	}
	in.sh(0, "-u")
	if left := in.tree(in.root, false); left != "" {
		t.Errorf("-u leaves\n%s", left)
	}
}

// sharedLibrary is a line of ldd's output.
var sharedLibrary = regexp.MustCompile(`(?m)^\s(?:.* => )?(/\S+) \(`)

// copyCommand puts a command into root, with the libraries that it needs.
func copyCommand(t *testing.T, root, name string) {
	t.Helper()
	file, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/usr/bin/" + name: file}
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", file, err)
	}
	for _, m := range sharedLibrary.FindAllSubmatch(out, -1) {
		files[string(m[1])] = string(m[1])
	}
	for to, from := range files {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(root+to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(root+to, text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A debianRoot is a small Debian for dpkg to work on: the commands that a
// package's scripts may call, and an empty database.
func debianRoot(t *testing.T) *installation {
	t.Helper()
	in := &installation{t: t, root: t.TempDir()}
	for _, name := range []string{"sh", "rm"} {
		copyCommand(t, in.root, name)
	}
	in.check(os.Symlink("usr/bin", filepath.Join(in.root, "bin")))
	for _, d := range []string{"dev", "tmp", "usr/local/bin", "usr/local/sbin", "etc/cron.daily", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"} {
		in.check(os.MkdirAll(filepath.Join(in.root, d), 0o755))
	}
	in.file(in.root, "dev/null", "", 0o666)
	in.file(in.root, "var/lib/dpkg/status", "", 0o644)
	return in
}

// dpkg runs dpkg on the root and returns what it printed.
func (in *installation) dpkg(ok bool, args ...string) string {
	in.t.Helper()
	cmd := exec.Command("dpkg", append([]string{"--root=" + in.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	if (err == nil) != ok {
		in.t.Fatalf("dpkg %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// places shows the administrator's places, with inode also which files they are.
func (in *installation) places(inode bool) string {
	return in.tree(filepath.Join(in.root, "usr/local"), inode) + in.tree(filepath.Join(in.root, "etc/cron.daily"), inode)
}

// debian proves that the package touches no script of the administrator's, and has
// its commands in /usr/bin; that one command puts them in the scripts' place; that
// an upgrade undoes nothing of it; that removing the package gives all of them
// back, and that a removal which cannot do that leaves the package.
func debian(t *testing.T, deb, newer string) {
	in := debianRoot(t)
	in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\nexec find \"$VMDIR\"\n")
	in.script("usr/local/bin/mailtest", "#!/bin/sh\n# a filter of his own\ncat >/dev/null\n")
	in.script("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nDAYS=30\n")
	before := in.places(true)
	after := func(what string) {
		t.Helper()
		if after := in.places(true); after != before {
			t.Errorf("before\n%s\nafter %s\n%s", before, what, after)
		}
	}
	// chroot runs a command in there.
	chroot := func(status int, command string, args ...string) string {
		t.Helper()
		cmd := exec.Command(command, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: in.root}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
			t.Errorf("%s %q: %v, %s; want status %d", command, args, err, out, status)
		}
		return string(out)
	}
	version := func(command, want string) {
		t.Helper()
		if out := chroot(0, command, "--version"); out != filepath.Base(command)+" (kowaza) "+want+"\n" {
			t.Errorf("%s: %q; want version %s", command, out, want)
		}
	}

	in.dpkg(true, "-i", deb)
	after("dpkg -i")
	version("/usr/bin/rmoldmail", "1.2.3")
	version("/usr/bin/mailtest", "1.2.3")
	for _, file := range []string{"man/man8/rmoldmail.8.gz", "man/man7/kowaza-recipes.7.gz", "man/ja/man7/kowaza-recipes.7.gz", "bash-completion/completions/rmoldmail", "zsh/vendor-completions/_kowaza",
		"doc/kowaza/copyright", "doc/kowaza/README.Debian", "doc/kowaza/systemd/rmoldmail@.timer", "../../etc/kowaza.conf.sample"} {
		if _, err := os.Stat(filepath.Join(in.root, "usr/share", file)); err != nil {
			t.Error(err)
		}
	}
	if files := in.dpkg(true, "-L", "kowaza"); strings.Contains(files, "/usr/local") {
		t.Errorf("the package has\n%s", files)
	}
	if conffiles := in.dpkg(true, "-s", "kowaza"); strings.Contains(conffiles, "Conffiles") {
		t.Errorf("conffiles:\n%s", conffiles)
	}
	in.dpkg(true, "-r", "kowaza")
	after("dpkg -r")
	in.absent("usr/bin/rmoldmail")

	in.dpkg(true, "-i", deb)
	out := chroot(1, "/usr/bin/kowaza", "--install", "--links")
	in.contains("--links", out, "moved /usr/local/bin/rmoldmail to /usr/local/bin/rmoldmail.orig\n")
	in.contains("--links", out, "/usr/local/bin/mailtest: not the script of the page: left alone")
	in.link("usr/local/bin/rmoldmail", "/usr/bin/kowaza")
	in.link("usr/local/sbin/mailtest", "/usr/bin/kowaza")
	in.link("etc/cron.daily/rmmail_virtual", "/usr/bin/kowaza")
	in.text("usr/local/bin/mailtest", "#!/bin/sh\n# a filter of his own\ncat >/dev/null\n")
	lines, _ := in.settings()
	if got := strings.Join(lines, " "); got != "VMDIR=/home/popuser DAYS=30" {
		t.Errorf("kowaza.conf sets %q", got)
	}
	version("/usr/local/bin/rmoldmail", "1.2.3")

	installed := in.places(true)
	in.dpkg(true, "-i", newer)
	version("/usr/local/bin/rmoldmail", "1.2.4")
	if now := in.places(true); now != installed {
		t.Errorf("before the upgrade\n%s\nafter it\n%s", installed, now)
	}

	// What is there no more cannot be put back.
	orig := filepath.Join(in.root, "usr/local/bin/rmoldmail.orig")
	in.check(os.Rename(orig, orig+"-aside"))
	in.check(os.Mkdir(orig, 0o755))
	out = in.dpkg(false, "-r", "kowaza")
	in.contains("dpkg -r", out, "kowaza: /usr/local/bin/rmoldmail.orig: not a regular file\n")
	version("/usr/local/bin/rmoldmail", "1.2.4")
	in.check(os.Remove(orig))
	in.check(os.Rename(orig+"-aside", orig))

	in.dpkg(true, "-r", "kowaza")
	in.absent("usr/bin/kowaza")
	in.absent("etc/kowaza.conf.sample")
	in.text("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\nexec find \"$VMDIR\"\n")
	in.text("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nDAYS=30\n")
	in.absent("usr/local/bin/qqclean")
	in.absent("usr/local/share/kowaza")
	// The settings stay until then.
	if lines, _ := in.settings(); len(lines) != 2 {
		t.Errorf("after dpkg -r kowaza.conf sets %q", lines)
	}
	in.dpkg(true, "-P", "kowaza")
	in.absent("etc/kowaza.conf")
}
