package install_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"kowaza/applets"
	"kowaza/internal/cli"
	"kowaza/internal/settings"
	"kowaza/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// An installation is a tarball unpacked in a directory with a blank in its name
// and a tree that kowaza --install works on, as DESTDIR.
type installation struct {
	t      *testing.T
	src    string // the tarball: what is embedded, and the binary
	root   string // DESTDIR
	binary string // what runs, if not the tarball's
	env    []string
}

// testLinks is a symlinks.txt with a line of every kind.
const testLinks = `# a comment

bin/rmoldmail
bin/rmmail_virtual
  bin/jmailsend.pl
bin/qmHandle
bin/mailtest
sbin/mailtest
/etc/cron.daily/rmmail_virtual
/etc/cron.daily/rmoldmail
bin/qqclean`

// installed runs f.
func installed(t *testing.T, f func(in *installation)) {
	t.Helper()
	dir := t.TempDir()
	in := &installation{t: t, src: filepath.Join(dir, "tar ball"), root: filepath.Join(dir, "dest dir")}
	text, err := os.ReadFile("kowaza.conf")
	in.check(err)
	in.file(in.src, "kowaza.conf", string(text), 0o644)
	in.file(in.src, "kowaza", "#!/bin/sh\necho stand-in\n", 0o755)
	in.file(in.src, "symlinks.txt", testLinks, 0o644)
	in.file(in.src, "man/rmoldmail.1", "kowaza page\n", 0o644)
	in.file(in.src, "man/kowaza.conf.5", "kowaza settings\n", 0o644)
	in.file(in.src, "man/ja/rmoldmail.1", "kowaza ja\n", 0o644)
	in.file(in.src, "systemd/rmmail_virtual.timer", "[Timer]\n", 0o644)
	for _, d := range []string{"usr/local/bin", "usr/local/sbin", "etc/cron.daily"} {
		in.check(os.MkdirAll(filepath.Join(in.root, d), 0o755))
	}
	f(in)
}

// completionOf returns what kowaza --completion prints, with the links of
// symlinks.txt in dir.
func completionOf(t *testing.T, dir, shell string) string {
	t.Helper()
	var out bytes.Buffer
	env := &cli.Env{Stdout: cli.NewOutput(&out), Stderr: io.Discard, Getenv: func(string) string { return "" }, Files: os.DirFS(dir)}
	if status := applets.Main(env, []string{"kowaza", "--completion", shell}); status != 0 {
		t.Fatalf("kowaza --completion %s: status %d", shell, status)
	}
	return out.String()
}

func (in *installation) check(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

func (in *installation) file(dir, name, text string, mode fs.FileMode) string {
	in.t.Helper()
	file := filepath.Join(dir, name)
	in.check(os.MkdirAll(filepath.Dir(file), 0o755))
	in.check(os.WriteFile(file, []byte(text), mode))
	in.check(os.Chmod(file, mode))
	return file
}

// script puts an administrator's script in place, old and not for everyone.
func (in *installation) script(name, text string) string {
	in.t.Helper()
	file := in.file(in.root, name, text, 0o750)
	at := time.Date(2004, 9, 25, 1, 2, 3, 0, time.UTC)
	in.check(os.Chtimes(file, at, at))
	return file
}

// run runs kowaza --install and wants that status. DESTDIR is taken out of what it
// printed, as is the summary at the end, which is summary's.
func (in *installation) run(status int, args ...string) (stdout, stderr string) {
	in.t.Helper()
	stdout, stderr = in.all(status, args...)
	stdout, _, _ = strings.Cut(stdout, "\nFrom now on:\n")
	return stdout, stderr
}

// all is run with the summary.
func (in *installation) all(status int, args ...string) (stdout, stderr string) {
	in.t.Helper()
	stdout, stderr, got := in.main(args...)
	if got != status {
		in.t.Fatalf("--install %q: status %d, want %d\n%s%s", args, got, status, stdout, stderr)
	}
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "kowaza: ") && !strings.HasPrefix(line, "usage: ") {
			in.t.Errorf("--install %q: standard error has %q", args, line)
		}
	}
	return stdout, stderr
}

func (in *installation) main(args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: cli.NewOutput(&out), Stderr: &errs, Now: time.Now, Files: os.DirFS(in.src),
		Binary: func() (string, error) { return cmp.Or(in.binary, filepath.Join(in.src, "kowaza")), nil },
		Getenv: func(name string) string { return map[string]string{"DESTDIR": in.root}[name] },
	}
	status = applets.Main(env, append([]string{"kowaza", "--install"}, args...))
	return strings.ReplaceAll(out.String(), in.root, ""), strings.ReplaceAll(errs.String(), in.root, ""), status
}

// sh runs install.sh of the tarball from / and wants that status.
func (in *installation) sh(status int, args ...string) (stdout, stderr string) {
	in.t.Helper()
	return in.under("sh", status, args...)
}

// under is sh with that shell.
func (in *installation) under(shell string, status int, args ...string) (stdout, stderr string) {
	in.t.Helper()
	cmd := exec.Command(shell, append([]string{filepath.Join(in.src, "install.sh")}, args...)...)
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), "DESTDIR="+in.root), in.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	stdout = strings.ReplaceAll(out.String(), in.root, "")
	stderr = strings.ReplaceAll(errs.String(), in.root, "")
	if got := cmd.ProcessState.ExitCode(); got != status {
		in.t.Fatalf("%s install.sh %q: status %d, want %d\n%s%s", shell, args, got, status, stdout, stderr)
	}
	return stdout, stderr
}

// tree describes every file below dir; with inode also which file it is.
func (in *installation) tree(dir string, inode bool) string {
	in.t.Helper()
	var b strings.Builder
	in.check(filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, file)
		st := info.Sys().(*syscall.Stat_t)
		switch {
		case inode:
			fmt.Fprintf(&b, "%d %s ", st.Ino, info.ModTime().Format(time.RFC3339Nano))
		case d.IsDir():
			return nil
		case info.Mode().IsRegular():
			fmt.Fprintf(&b, "%s ", info.ModTime().Format(time.RFC3339Nano))
		}
		fmt.Fprintf(&b, "%s %d:%d %s", info.Mode(), st.Uid, st.Gid, rel)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", text)
		} else if info.Mode()&fs.ModeSymlink != 0 {
			text, err := os.Readlink(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", text)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func (in *installation) link(name, want string) {
	in.t.Helper()
	got, err := os.Readlink(filepath.Join(in.root, name))
	if err != nil || got != want {
		in.t.Errorf("%s leads to %q (%v), want %q", name, got, err, want)
	}
}

func (in *installation) text(name, want string) {
	in.t.Helper()
	got, err := os.ReadFile(filepath.Join(in.root, name))
	if err != nil || string(got) != want {
		in.t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
	}
}

func (in *installation) absent(name string) {
	in.t.Helper()
	if _, err := os.Lstat(filepath.Join(in.root, name)); err == nil {
		in.t.Errorf("%s is there", name)
	}
}

func (in *installation) contains(what, text, want string) {
	in.t.Helper()
	if !strings.Contains(text, want) {
		in.t.Errorf("%s lacks %q:\n%s", what, want, text)
	}
}

// settings returns the lines that kowaza.conf sets, and its text. It must parse,
// whatever scripts there were.
func (in *installation) settings() (lines []string, text string) {
	in.t.Helper()
	file := filepath.Join(in.root, "etc/kowaza.conf")
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil, ""
	}
	in.check(err)
	if _, err := settings.Read(file, os.Geteuid() == 0); err != nil {
		in.t.Errorf("%v\n%s", err, b)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			in.t.Errorf("control character in kowaza.conf: %q", line)
		}
	}
	return lines, string(b)
}

// It proves that the first run installs all there is to install, that the links
// lead to the binary inside DESTDIR too, and that a second run does nothing.
func TestInstallTwice(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nVMDIR=/home/popuser\nDAYS=21\ncd $VMDIR\n")
		out, errs := in.run(0)
		in.contains("standard output", out, "installed /usr/local/bin/kowaza\nlinked /usr/local/bin/rmoldmail\n")
		if errs != "" {
			in.t.Errorf("standard error has %s", errs)
		}
		in.link("usr/local/bin/rmoldmail", "kowaza")
		in.link("usr/local/bin/jmailsend.pl", "kowaza")
		in.link("usr/local/sbin/mailtest", "../bin/kowaza")
		in.link("usr/local/bin/qqclean", "kowaza")
		in.link("etc/cron.daily/rmmail_virtual", "/usr/local/bin/kowaza")
		in.absent("etc/cron.daily/rmoldmail")
		in.text("usr/local/share/man/man1/rmoldmail.1", "kowaza page\n")
		in.text("usr/local/share/man/man5/kowaza.conf.5", "kowaza settings\n")
		in.text("usr/local/share/man/ja/man1/rmoldmail.1", "kowaza ja\n")
		in.text("usr/local/share/bash-completion/completions/kowaza", completionOf(t, in.src, "bash"))
		in.link("usr/local/share/bash-completion/completions/rmoldmail", "kowaza")
		in.link("usr/local/share/bash-completion/completions/jmailsend.pl", "kowaza")
		in.text("usr/local/share/zsh/site-functions/_kowaza", completionOf(t, in.src, "zsh"))
		in.text("usr/local/share/doc/kowaza/systemd/rmmail_virtual.timer", "[Timer]\n")
		sample, err := os.ReadFile("kowaza.conf")
		in.check(err)
		in.text("etc/kowaza.conf.sample", string(sample))
		info, err := os.Stat(filepath.Join(in.root, "usr/local/bin/rmoldmail"))
		in.check(err)
		if info.Mode() != 0o755 {
			in.t.Errorf("kowaza has mode %s", info.Mode())
		}
		info, err = os.Stat(filepath.Join(in.root, "etc/kowaza.conf"))
		in.check(err)
		if info.Mode() != 0o644 {
			in.t.Errorf("kowaza.conf has mode %s", info.Mode())
		}

		before := in.tree(in.root, true)
		out, errs = in.run(0)
		if out+errs != "" {
			in.t.Errorf("the second run prints %s%s", out, errs)
		}
		if after := in.tree(in.root, true); after != before {
			in.t.Errorf("the second run changed\n%s\nto\n%s", before, after)
		}
		// A new binary is the only thing that a new version changes.
		in.file(in.src, "kowaza", "#!/bin/sh\necho new\n", 0o755)
		if out, _ := in.run(0); out != "installed /usr/local/bin/kowaza\n" {
			in.t.Errorf("an update prints %s", out)
		}
		in.text("usr/local/bin/kowaza", "#!/bin/sh\necho new\n")
	})
}

// It proves that PREFIX and DESTDIR are honoured, / and a relative one too, as
// is any working directory.
func TestInstallPrefix(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.run(0, "-p", "/opt/my tools//")
		in.link("opt/my tools/sbin/mailtest", "../bin/kowaza")
		in.absent("usr/local/bin/kowaza")
		in.run(0, "-p/")
		in.link("bin/rmoldmail", "kowaza")
		in.text("share/man/man1/rmoldmail.1", "kowaza page\n")

		// Without DESTDIR, all that is absolute is /etc: nothing of it is in this
		// PREFIX's tree but kowaza.conf.sample, so only -n can be tried.
		in.root = ""
		out, _ := in.run(0, "-n", "-p", in.src+"/prefix")
		in.contains("standard output", out, "installed "+in.src+"/prefix/bin/kowaza\n")
		in.contains("standard output", out, "linked "+in.src+"/prefix/sbin/mailtest\n")
	})
}

// It proves that the repository's own symlinks.txt can be installed, for every
// applet there is.
func TestInstallOwnLinks(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		text, err := os.ReadFile("symlinks.txt")
		in.check(err)
		in.file(in.src, "symlinks.txt", string(text), 0o644)
		in.run(0, "-p", "/")
		for _, a := range applets.All {
			found, _ := filepath.Glob(filepath.Join(in.root, "*", a.Name+"*"))
			if len(found) == 0 {
				in.t.Errorf("no link for %s", a.Name)
			}
		}
	})
}

// It proves that a script in a link's place is kept, under a new name each time,
// with mode and times, and that -u puts the newest back.
func TestInstallKeepsScripts(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nfirst\n")
		out, _ := in.run(0)
		in.contains("standard output", out, "moved /usr/local/bin/rmoldmail to /usr/local/bin/rmoldmail.orig\nlinked /usr/local/bin/rmoldmail\n")
		in.text("usr/local/bin/rmoldmail.orig", "#!/bin/sh\nfirst\n")
		for i, text := range []string{"second", "third"} {
			in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/rmoldmail")))
			in.script("usr/local/bin/rmoldmail", text)
			in.run(0)
			in.text(fmt.Sprintf("usr/local/bin/rmoldmail.orig.%d", i+1), text)
		}
		// The numbers need not be without gaps, and a date is none.
		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/rmoldmail.orig.1")))
		in.script("usr/local/bin/rmoldmail.orig.20040925", "date")
		in.script("usr/local/bin/rmoldmail.orig.old", "old")
		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/rmoldmail")))
		in.script("usr/local/bin/rmoldmail", "fourth")
		in.run(0)
		in.text("usr/local/bin/rmoldmail.orig.3", "fourth")
		in.run(0, "-u")
		in.text("usr/local/bin/rmoldmail", "fourth")
		in.text("usr/local/bin/rmoldmail.orig", "#!/bin/sh\nfirst\n")
		in.text("usr/local/bin/rmoldmail.orig.2", "third")
		in.absent("usr/local/bin/rmoldmail.orig.3")
		info, err := os.Stat(filepath.Join(in.root, "usr/local/bin/rmoldmail"))
		in.check(err)
		if info.Mode() != 0o750 || info.ModTime().Year() != 2004 {
			in.t.Errorf("the script came back with mode %s, time %s", info.Mode(), info.ModTime())
		}
	})
}

// It proves that -u puts back all that was there, byte for byte, with owner, mode
// and times, keeps kowaza.conf, and does nothing the second time.
func TestInstallUninstall(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.run(0, "-u")
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\necho\xa4\xa2\x00\n")
		in.script("usr/local/bin/unrelated", "x")
		in.script("etc/cron.daily/rmmail_virtual", "DAYS=30 # cron\n")
		in.check(os.Chmod(filepath.Join(in.root, "etc/cron.daily/rmmail_virtual"), 0o4711))
		if os.Geteuid() == 0 {
			in.check(os.Lchown(filepath.Join(in.root, "usr/local/bin/rmoldmail"), 12, 34))
			in.check(os.Chmod(filepath.Join(in.root, "usr/local/bin/rmoldmail"), 0o710))
		}
		in.check(os.Symlink("../../../nowhere else", filepath.Join(in.root, "usr/local/bin/qqclean")))
		in.check(os.Symlink("unrelated", filepath.Join(in.root, "usr/local/bin/qmHandle")))
		in.script("etc/kowaza.conf", "DAYS=30\n")
		in.check(os.Chmod(filepath.Join(in.root, "etc/kowaza.conf"), 0o600))
		before := in.tree(in.root, false)
		if out, errs := in.run(0, "-u"); out+errs != "" {
			in.t.Errorf("-u with nothing installed prints %s%s", out, errs)
		}
		if after := in.tree(in.root, true); before != in.tree(in.root, false) {
			in.t.Errorf("-u with nothing installed made %s", after)
		}
		in.run(0)
		in.link("usr/local/bin/qmHandle", "kowaza")
		in.link("usr/local/bin/qqclean", "kowaza")
		in.link("usr/local/bin/qqclean.orig", "../../../nowhere else")
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "DAYS=30 # cron\n")
		would, _ := in.run(0, "-n", "-u")
		out, _ := in.run(0, "-u")
		if would != out {
			in.t.Errorf("-n shows\n%s\n-u does\n%s", would, out)
		}
		in.contains("standard output", out, "moved /usr/local/share/kowaza/orig/rmmail_virtual to /etc/cron.daily/rmmail_virtual\n")
		in.contains("standard output", out, "removed /usr/local/bin/kowaza\n")
		if after := in.tree(in.root, false); after != before {
			in.t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		in.absent("usr/local/share/kowaza")
		if out, errs := in.run(0, "-u"); out+errs != "" {
			in.t.Errorf("the second -u prints %s%s", out, errs)
		}
	})
}

// It proves that -u touches no link but ours.
func TestInstallUninstallForeign(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.run(0)
		for name, text := range map[string]string{"rmoldmail": "/opt/bin/kowaza", "qqclean": "mailtest.orig"} {
			file := filepath.Join(in.root, "usr/local/bin", name)
			in.check(os.Remove(file))
			in.check(os.Symlink(text, file))
		}
		in.script("usr/local/share/man/man1/rmoldmail.1", "some other page\n")
		_, errs := in.run(1, "-u")
		for _, name := range []string{"bin/rmoldmail", "bin/qqclean", "share/man/man1/rmoldmail.1"} {
			in.contains("standard error", errs, "kowaza: /usr/local/"+name+": changed since it was installed: left alone\n")
		}
		in.link("usr/local/bin/rmoldmail", "/opt/bin/kowaza")
		in.link("usr/local/bin/qqclean", "mailtest.orig")
		in.text("usr/local/share/man/man1/rmoldmail.1", "some other page\n")
		in.absent("usr/local/bin/mailtest")
		in.absent("usr/local/bin/kowaza")
	})
}

// It proves that completion of somebody else for one of the commands stays, with
// -u too.
func TestInstallForeignCompletion(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const bash, zsh = "usr/local/share/bash-completion/completions/", "usr/local/share/zsh/site-functions/"
		in.script(bash+"qmHandle", "another\n")
		in.script(bash+"mailtest", "")
		in.script(zsh+"_kowaza", "somebody's own\n")
		_, errs := in.run(1)
		for _, name := range []string{bash + "qmHandle", bash + "mailtest", zsh + "_kowaza"} {
			in.contains("standard error", errs, "kowaza: /"+name+": not a file of kowaza: left alone\n")
		}
		in.link(bash+"rmoldmail", "kowaza")
		in.run(0, "-u")
		in.text(bash+"qmHandle", "another\n")
		in.text(bash+"mailtest", "")
		in.text(zsh+"_kowaza", "somebody's own\n")
		in.absent(bash + "rmoldmail")
		in.absent(bash + "kowaza")
	})
}

// It proves that bash-completion finds what --install installed, by the name of
// each command, and that a path in PREFIX is enough.
func TestCompletionBashInstalled(t *testing.T) {
	const framework = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(framework); err != nil {
		t.Skip("bash-completion is not installed")
	}
	root, tarball := t.TempDir(), t.TempDir()
	testenv.CopyTree(t, ".", tarball, 0, "install.sh")
	binary, err := exec.LookPath("kowaza")
	testenv.Check(t, err)
	testenv.Check(t, os.Symlink(binary, filepath.Join(tarball, "kowaza")))
	cmd := exec.Command(tarball+"/install.sh", "-p", "/prefix")
	cmd.Env = append(os.Environ(), "DESTDIR="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install.sh: %v\n%s", err, out)
	}
	names := []string{"kowaza", "jmailsend.pl", "smtpauthstr.pl"}
	for _, a := range applets.All {
		names = append(names, a.Name)
	}
	for _, name := range names {
		cmd := exec.Command("bash", "--norc", "-c", ". "+framework+"; _completion_loader "+name+"; complete -p "+name)
		cmd.Env = append(os.Environ(), "XDG_DATA_DIRS="+root+"/prefix/share", "BASH_COMPLETION_USER_DIR=/nowhere/there")
		out, err := cmd.CombinedOutput()
		if want := "complete -F _kowaza " + name + "\n"; err != nil || string(out) != want {
			t.Errorf("%s: %v, %q; want %q", name, err, out, want)
		}
	}
}

// It proves that --links makes and removes links to a binary that a package has
// put in place, and nothing else, and that it keeps off another installation.
func TestInstallLinks(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const links = "--links"
		in.binary = filepath.Join(in.root, "usr/bin/kowaza")
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\n")
		in.script("etc/cron.daily/rmmail_virtual", "DAYS=30 # cron\n")
		in.file(in.root, "usr/bin/kowaza", "#!/bin/sh\n", 0o755)
		before := in.tree(in.root, false)
		in.file(in.root, "usr/local/bin/kowaza", "#!/bin/sh\n", 0o755)
		_, errs := in.run(1, links)
		in.contains("standard error", errs, "kowaza: /usr/local/bin/kowaza: installed already: ")
		in.text("etc/cron.daily/rmmail_virtual", "DAYS=30 # cron\n")
		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/kowaza")))

		in.run(0, links)
		in.link("usr/local/bin/rmoldmail", "/usr/bin/kowaza")
		in.link("usr/local/sbin/mailtest", "/usr/bin/kowaza")
		in.link("etc/cron.daily/rmmail_virtual", "/usr/bin/kowaza")
		if lines, _ := in.settings(); strings.Join(lines, " ") != "VMDIR=/home/popuser DAYS=30" {
			in.t.Errorf("kowaza.conf sets %q", lines)
		}
		for _, name := range []string{"usr/local/bin/kowaza", "usr/local/share/man", "usr/local/share/zsh", "etc/kowaza.conf.sample"} {
			in.absent(name)
		}
		installed := in.tree(in.root, true)
		if out, errs := in.run(0, links); out+errs != "" || in.tree(in.root, true) != installed {
			in.t.Errorf("the second run prints %s%s", out, errs)
		}
		in.run(0, "-u", "-n", links)
		in.run(0, "-u", links)
		in.check(os.Remove(filepath.Join(in.root, "etc/kowaza.conf")))
		if after := in.tree(in.root, false); after != before {
			in.t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// It proves that scripts in /etc/cron.daily leave it, since some run-parts run
// .orig files, and that no temporary file stays there.
func TestInstallCron(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		for _, text := range []string{"DAYS=3 # one", "DAYS=3 # two"} {
			os.Remove(filepath.Join(in.root, "etc/cron.daily/rmmail_virtual"))
			in.script("etc/cron.daily/rmmail_virtual", text)
			in.run(0)
		}
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "DAYS=3 # one")
		in.text("usr/local/share/kowaza/orig/rmmail_virtual.1", "DAYS=3 # two")
		names, err := os.ReadDir(filepath.Join(in.root, "etc/cron.daily"))
		in.check(err)
		if len(names) != 1 {
			in.t.Errorf("cron.daily holds %v", names)
		}
		in.run(0, "-u")
		in.text("etc/cron.daily/rmmail_virtual", "DAYS=3 # two")
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "DAYS=3 # one")
	})
}

// It proves that a script goes to another file system and back unharmed.
func TestInstallCronOtherFileSystem(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		var here, there syscall.Stat_t
		other, err := os.MkdirTemp("/dev/shm", "kowaza")
		if err != nil {
			in.t.Skip("SKIP there is no /dev/shm")
		}
		in.t.Cleanup(func() { os.RemoveAll(other) })
		in.check(syscall.Stat(in.root, &here))
		in.check(syscall.Stat(other, &there))
		if here.Dev == there.Dev {
			in.t.Skip("SKIP /dev/shm is no file system of its own")
		}
		in.check(os.Symlink(other, filepath.Join(in.root, "usr/local/share")))
		in.script("etc/cron.daily/rmmail_virtual", "DAYS=3 # one")
		in.check(os.Symlink("../over there", filepath.Join(in.root, "etc/cron.daily/rmoldmail")))
		before := in.tree(filepath.Join(in.root, "etc"), false)
		in.run(0)
		if text, err := os.ReadFile(filepath.Join(other, "kowaza/orig/rmmail_virtual")); err != nil || string(text) != "DAYS=3 # one" {
			in.t.Errorf("kept: %q, %v", text, err)
		}
		in.run(0, "-u")
		in.check(os.Remove(filepath.Join(in.root, "etc/kowaza.conf")))
		if after := in.tree(filepath.Join(in.root, "etc"), false); after != before {
			in.t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// It proves that -n changes nothing and says what a run then does and says.
func TestInstallDryRun(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/a\nFOO=bar\n")
		in.script("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nVMDIR=/home/b\nDAYS=3\n")
		in.script("usr/local/sbin/mailtest", "#!/bin/sh\ncat\n")
		before := in.tree(in.root, true)
		would, wouldErrs := in.run(1, "-n")
		if after := in.tree(in.root, true); after != before {
			in.t.Errorf("-n changed\n%s\nto\n%s", before, after)
		}
		out, errs := in.run(1)
		if out != would || errs != wouldErrs {
			in.t.Errorf("-n shows\n%s%s\nthe run\n%s%s", would, wouldErrs, out, errs)
		}
		in.contains("standard output", out, "carried over VMDIR from /usr/local/bin/rmoldmail\n")
		in.contains("standard output", out, "carried over DAYS from /etc/cron.daily/rmmail_virtual\n")
	})
}

// It proves that what is there by the name of an applet of which the page has no script
// is somebody's own: it is left alone, named, and replaced where --force says so.
func TestInstallNew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mailmatch", "mailreply", "mailtalk", "mailtrip"} {
		installed(t, func(in *installation) {
			in.file(in.src, "symlinks.txt", "bin/"+name+"\n", 0o644)
			const script = "#!/bin/sh\nSENDMAIL=/opt/sendmail\ncat\n"
			in.script("usr/local/bin/"+name, script)
			_, errs := in.run(1)
			in.contains("standard error", errs, "kowaza: /usr/local/bin/"+name+": not a script of the page: left alone, see --force\n")
			in.text("usr/local/bin/"+name, script)
			in.run(0, "--force", name)
			in.link("usr/local/bin/"+name, "kowaza")
			in.text("usr/local/bin/"+name+".orig", script)
		})
	}
}

// It proves that a script is read and never run, whatever it holds.
func TestInstallNeverRuns(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		mark := filepath.Join(in.t.TempDir(), "ran")
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\ntouch "+mark+"\n")
		in.script("usr/local/bin/qqclean", "#!/bin/sh\nQMAIL=`touch "+mark+"`\nFOO=$(touch "+mark+")\nX='$(touch "+mark+")'\n;touch "+mark+"\n")
		in.script("usr/local/bin/qmHandle", "#!/usr/bin/perl\n$qmail = `touch "+mark+"`;\n$x = '\"; system(\"touch "+mark+"\"); \"';\nQMAIL=';touch "+mark+";'\n")
		in.script("usr/local/bin/mailtest", "<?php `touch "+mark+"`; exit(99);\n")
		in.script("etc/cron.daily/rmmail_virtual", "VUSER=x';touch "+mark+";'\nVMDIR=\"/a';touch "+mark+";'\"\n")
		in.run(1)
		in.run(0, "-u")
		if _, err := os.Stat(mark); err == nil {
			in.t.Error("a script was run")
		}
	})
}

// It proves that what is in kowaza.conf's place is respected: a link is followed
// but not out of DESTDIR, owner and mode stay, and where nothing can be written
// the script stays.
func TestInstallConf(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const script = "VMDIR=/a\n"
		in.script("usr/local/bin/rmoldmail", script)
		real := in.file(in.root, "etc/local/real.conf", "DAYS=3\n", 0o640)
		if os.Geteuid() == 0 {
			in.check(os.Chown(real, 0, 12))
		}
		conf := filepath.Join(in.root, "etc/kowaza.conf")
		in.check(os.Symlink("local/real.conf", conf))
		in.run(0)
		in.link("etc/kowaza.conf", "local/real.conf")
		in.text("etc/local/real.conf", "DAYS=3\n\n# carried over from /usr/local/bin/rmoldmail\nVMDIR=/a\n")
		info, err := os.Stat(real)
		in.check(err)
		if info.Mode() != 0o640 || os.Geteuid() == 0 && info.Sys().(*syscall.Stat_t).Gid != 12 {
			in.t.Errorf("mode %s, group %d", info.Mode(), info.Sys().(*syscall.Stat_t).Gid)
		}

		outside := in.file(in.src, "outside.conf", "", 0o644)
		for _, place := range []func(){
			func() { in.check(os.Mkdir(conf, 0o755)) },
			func() { in.check(os.Symlink(outside, conf)) },
			func() { in.check(os.Symlink("kowaza.conf", conf)) },
			func() { in.check(syscall.Mkfifo(conf, 0o644)) },
		} {
			in.run(0, "-u")
			in.check(os.Remove(conf))
			place()
			_, errs := in.run(1)
			in.contains("standard error", errs, "kowaza: /etc/kowaza.conf: ")
			in.contains("standard error", errs, "/usr/local/bin/rmoldmail is left alone\n")
			in.text("usr/local/bin/rmoldmail", script)
			in.absent("usr/local/bin/rmoldmail.orig")
			in.link("usr/local/bin/qqclean", "kowaza")
		}
		if text, err := os.ReadFile(outside); err != nil || len(text) > 0 {
			in.t.Errorf("outside DESTDIR: %q, %v", text, err)
		}
	})
}

// It proves that the sample names every key, in order, is valid as it is and
// when every line is used, and shows the defaults.
func TestInstallSample(t *testing.T) {
	text, err := os.ReadFile("kowaza.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err := settings.Parse("kowaza.conf", text)
	if err != nil || *s != *settings.Default() {
		t.Errorf("as it is: %+v, %v", s, err)
	}
	line := regexp.MustCompile(`(?m)^#([A-Z_]+)=(.+)$`)
	var keys []string
	for _, m := range line.FindAllSubmatch(text, -1) {
		keys = append(keys, string(m[1]))
	}
	if got, want := strings.Join(keys, " "), strings.Join(settings.Keys(), " "); got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
	s, err = settings.Parse("kowaza.conf", line.ReplaceAll(text, []byte("$1=$2")))
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Default()
	want.VMDir, want.VUser, want.Sendmail, want.JMailFrom = s.VMDir, s.VUser, s.Sendmail, s.JMailFrom
	want.QMailStop, want.QMailStart = s.QMailStop, s.QMailStart
	want.JMailServer, want.JMailUser, want.JMailPasswordFile = s.JMailServer, s.JMailUser, s.JMailPasswordFile
	want.Inbox, want.Rules, want.QuotaWarn, want.QuotaMessage = s.Inbox, s.Rules, s.QuotaWarn, s.QuotaMessage
	if *s != *want {
		t.Errorf("the sample shows %+v, the defaults are %+v", s, want)
	}
}

// page is a script that does what the page's mailtest does.
const page = `#!/usr/local/bin/php -q
<?php
$input = fopen("php://stdin", "r");
$msg = array();
while (!feof($input)) {
	array_push($msg, fgets($input));
}
fclose($input);
foreach ($msg as $line) {
	echo $line . "<and>\n";
}
exit(99);
?>
`

// It proves that the page's mailtest is replaced and its exit code carried over;
// that one that is not the page's, or whose exit code cannot be carried over, is
// left alone and named, unless it is forced.
func TestInstallMailtest(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.file(in.src, "symlinks.txt", "bin/rmoldmail\nbin/mailtest\nsbin/mailtest\n", 0o644)
		in.script("usr/local/sbin/mailtest", strings.Replace(page, "99", "0", 1))
		in.run(0)
		in.link("usr/local/sbin/mailtest", "../bin/kowaza")
		in.text("usr/local/sbin/mailtest.orig", strings.Replace(page, "99", "0", 1))
		if lines, _ := in.settings(); len(lines) != 1 || lines[0] != "MAILTEST_EXIT=0" {
			in.t.Errorf("kowaza.conf sets %q", lines)
		}
		in.run(0, "-u")
		in.check(os.Remove(filepath.Join(in.root, "etc/kowaza.conf")))

		for _, script := range []string{"", "\x7fELF\x00\x01", "#!/bin/sh\ncat\n", page + page, strings.Replace(page, "99", "256", 1)} {
			file := in.script("usr/local/sbin/mailtest", script)
			before := in.tree(file, true)
			_, errs := in.run(1)
			in.contains("standard error", errs, "kowaza: /usr/local/sbin/mailtest: ")
			in.contains("standard error", errs, "left alone, see --force\n")
			if in.tree(file, true) != before {
				in.t.Errorf("touched:\n%s", script)
			}
			in.absent("usr/local/sbin/mailtest.orig")
			in.absent("etc/kowaza.conf")
			in.link("usr/local/bin/mailtest", "kowaza")
			in.run(0, "--force", "mailtest")
			in.link("usr/local/sbin/mailtest", "../bin/kowaza")
			in.text("usr/local/sbin/mailtest.orig", script)
			in.settings()
			in.run(0, "-u")
			in.text("usr/local/sbin/mailtest", script)
			os.Remove(filepath.Join(in.root, "etc/kowaza.conf"))
		}

		// Two of them cannot both be right.
		in.script("usr/local/bin/mailtest", page)
		in.script("usr/local/sbin/mailtest", strings.Replace(page, "99", "0", 1))
		_, errs := in.run(1, "--force=rmoldmail")
		in.contains("standard error", errs, "kowaza: /usr/local/sbin/mailtest: MAILTEST_EXIT=0: not carried over: contradicts MAILTEST_EXIT=99, set before: left alone, see --force\n")
		in.link("usr/local/bin/mailtest", "kowaza")
		in.text("usr/local/sbin/mailtest", strings.Replace(page, "99", "0", 1))
		in.run(0, "--force=mailtest")
		in.link("usr/local/sbin/mailtest", "../bin/kowaza")
	})
}

// It proves that a usage error has status 2, says what is wrong, and touches
// nothing, and that help is no error.
func TestInstallUsage(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		before := in.tree(in.root, true)
		for _, test := range []struct {
			args []string
			want string
		}{
			{[]string{"-x"}, "unknown option: -x"},
			{[]string{"-nx"}, "unknown option: -x"},
			{[]string{"-"}, "-: options come before operands"},
			{[]string{"-p"}, "missing parameter for -p"},
			{[]string{"-p", ""}, "--prefix: : not an absolute path"},
			{[]string{"-p", "usr"}, "--prefix: usr: not an absolute path"},
			{[]string{"-p", "/a\nb"}, "PREFIX or DESTDIR: control character"},
			{[]string{"--force"}, "missing parameter for --force"},
			{[]string{"--force", "nosuch"}, "--force: nosuch: no such applet"},
			{[]string{"--force", "mailtest", "--force", "jmailsend.pl"}, "--force: jmailsend.pl: no such applet"},
			{[]string{"--force", ""}, "--force: : no such applet"},
			{[]string{"--links=/usr/bin/kowaza"}, `invalid value for bool --links: "/usr/bin/kowaza"`},
			{[]string{"extra"}, "too many operands: extra"},
			{[]string{"--", "-n"}, "-n: options come before operands"},
		} {
			out, errs := in.run(2, test.args...)
			want := "kowaza: " + test.want + "\nusage: kowaza --install [-hnu] [-p PREFIX] [--force NAME]... [--links]\n"
			if out != "" || errs != want {
				in.t.Errorf("%q prints %s%s, want %s", test.args, out, errs, want)
			}
		}
		for _, option := range []string{"-h", "--help", "-nh"} {
			out, errs := in.run(0, option)
			if !strings.HasPrefix(out, "usage: kowaza --install ") || errs != "" {
				in.t.Errorf("%s prints %s%s", option, out, errs)
			}
		}
		if after := in.tree(in.root, true); after != before {
			in.t.Errorf("changed\n%s\nto\n%s", before, after)
		}
	})
}

// It proves that what cannot be done is named, left as it is, and does not keep
// the rest from being done.
func TestInstallErrors(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.file(in.root, "usr/local/bin/rmoldmail/keep", "", 0o644)
		in.check(os.Symlink("/", filepath.Join(in.root, "usr/local/bin/qmHandle")))
		in.check(syscall.Mkfifo(filepath.Join(in.root, "usr/local/bin/qqclean"), 0o644))
		in.check(os.RemoveAll(filepath.Join(in.root, "usr/local/sbin")))
		in.script("usr/local/sbin", "a file\n")
		in.script("etc/cron.daily/rmmail_virtual", "VMDIR=/a\n")
		in.check(os.MkdirAll(filepath.Join(in.root, "usr/local/share"), 0o755))
		in.script("usr/local/share/man/man1/rmoldmail.1", "another page\n")
		in.check(os.Mkdir(filepath.Join(in.root, "etc/kowaza.conf.sample"), 0o755))
		_, errs := in.run(1)
		for _, want := range []string{
			"/usr/local/bin/rmoldmail: is a directory\n",
			"/usr/local/bin/qmHandle: is a directory\n",
			"/usr/local/bin/qqclean: not a regular file\n",
			"/usr/local/sbin: ",
			"/usr/local/share/man/man1/rmoldmail.1: not a file of kowaza: left alone\n",
			"/etc/kowaza.conf.sample: is a directory\n",
		} {
			in.contains("standard error", errs, "kowaza: "+want)
		}
		in.link("usr/local/bin/rmmail_virtual", "kowaza")
		in.text("etc/cron.daily/rmmail_virtual", "VMDIR=/a\n")
		in.absent("etc/kowaza.conf")
		in.text("usr/local/sbin", "a file\n")
		in.text("usr/local/share/man/man5/kowaza.conf.5", "kowaza settings\n")
		if strings.Contains(in.tree(in.root, false), "/.kowaza.") {
			in.t.Errorf("temporary files are left:\n%s", in.tree(in.root, false))
		}
	})
}

// It proves that no link is made to a binary that could not be installed: the
// scripts stay.
func TestInstallNoBinary(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/bin/rmoldmail", "script\n")
		in.check(os.Mkdir(filepath.Join(in.root, "usr/local/bin/kowaza"), 0o755))
		_, errs := in.run(1)
		in.contains("standard error", errs, "kowaza: /usr/local/bin/kowaza: is a directory\n")
		in.text("usr/local/bin/rmoldmail", "script\n")
		in.absent("usr/local/bin/qqclean")

		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/kowaza")))
		in.check(os.Remove(filepath.Join(in.src, "kowaza")))
		_, errs = in.run(1)
		in.contains("standard error", errs, "/kowaza: no such file or directory\n")
		in.text("usr/local/bin/rmoldmail", "script\n")
	})
}

// It proves that symlinks.txt and the applets agree: every line leads to an
// applet, every applet has a line, in the order of applets.All.
func TestSymlinks(t *testing.T) {
	text, err := os.ReadFile("symlinks.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, a := range applets.All {
		want = append(want, a.Name)
	}
	seen := make(map[string]bool)
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if seen[line] {
			t.Errorf("%s is there twice", line)
		}
		if path.Clean(line) != line || strings.HasPrefix(line, "..") {
			t.Errorf("%s is not a plain path", line)
		}
		name := path.Base(line)
		for _, suffix := range []string{".pl", ".sh"} {
			if s, ok := strings.CutSuffix(name, suffix); ok {
				name = s
				break
			}
		}
		if !seen[line] && !seen["\x00"+name] {
			got = append(got, name)
		}
		seen[line], seen["\x00"+name] = true, true
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		t.Errorf("symlinks.txt has %s, the applets are %s", g, w)
	}
}

// It proves that install.sh knows our man pages for ours: each names kowaza.
func TestInstallManPages(t *testing.T) {
	pages, _ := filepath.Glob("man/*.[1-8]")
	ja, _ := filepath.Glob("man/ja/*.[1-8]")
	for _, file := range append(pages, ja...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("kowaza")) {
			t.Errorf("%s does not name kowaza", file)
		}
	}
}

// It proves that the number of days that a script of rmmail_virtual removes by is
// kept, or the script: on a second run too, until DAYS is set or it is forced; and
// that a script in cron's directory that runs the command itself stays.
func TestInstallDays(t *testing.T) {
	t.Parallel()
	const script = "usr/local/bin/rmmail_virtual"
	loop := func(days string) string {
		return "#!/bin/sh\nHOWOLD=60\ncd /home/popuser\nfor u in *; do /usr/local/bin/rmoldmail -V " + days + " $u; done\n"
	}
	installed(t, func(in *installation) {
		in.script(script, loop("$HOWOLD"))
		in.run(0)
		in.link(script, "kowaza")
		if lines, _ := in.settings(); strings.Join(lines, " ") != "DAYS=60" {
			in.t.Errorf("kowaza.conf sets %q", lines)
		}
		in.script("etc/cron.daily/rmmail_virtual", "#!/bin/sh\n# with options\nexec nice -n 10 /usr/local/bin/rmmail_virtual -d 90 --keep-flagged\n")
		if out, errs := in.run(0); out+errs != "" {
			in.t.Errorf("with a script that runs the command it prints %s%s", out, errs)
		}
		in.text("etc/cron.daily/rmmail_virtual", "#!/bin/sh\n# with options\nexec nice -n 10 /usr/local/bin/rmmail_virtual -d 90 --keep-flagged\n")
		in.run(0, "-u")
		in.check(os.RemoveAll(filepath.Join(in.root, "etc")))
		in.check(os.Mkdir(filepath.Join(in.root, "etc"), 0o755))

		for _, test := range []struct{ text, why string }{
			{loop("$1"), "its number of days is not known: set DAYS: left alone, see --force"},
			{loop("$HOWOLD") + "rmoldmail -V 7 x\n", "removes by two numbers of days, 60 and 7: left alone, see --force"},
		} {
			file := in.script(script, test.text)
			before := in.tree(file, true)
			for range 2 {
				_, errs := in.run(1)
				if want := "kowaza: /" + script + ": " + test.why + "\n"; errs != want {
					in.t.Errorf("says %s, want %s", errs, want)
				}
			}
			if after := in.tree(file, true); after != before {
				in.t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			in.absent("etc/kowaza.conf")
			in.run(0, "--force", "rmmail_virtual")
			in.link(script, "kowaza")
			in.run(0, "-u")
			in.text(script, test.text)
		}
		in.script(script, loop("$1"))
		in.script("etc/kowaza.conf", "DAYS=45\n")
		in.run(0)
		in.link(script, "kowaza")
	})
}

// It proves that where sbin is a link to bin, a script there is kept once, and
// comes back.
func TestInstallMerged(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.check(os.Remove(filepath.Join(in.root, "usr/local/sbin")))
		in.check(os.Symlink("bin", filepath.Join(in.root, "usr/local/sbin")))
		in.script("usr/local/bin/mailtest", page)
		before := in.tree(in.root, false)
		in.run(0)
		in.link("usr/local/bin/mailtest", "kowaza")
		in.text("usr/local/bin/mailtest.orig", page)
		if out, errs := in.run(0); out+errs != "" {
			in.t.Errorf("the second run prints %s%s", out, errs)
		}
		in.run(0, "-u")
		in.check(os.Remove(filepath.Join(in.root, "etc/kowaza.conf")))
		if after := in.tree(in.root, false); after != before {
			in.t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// It proves that our own example of a cron job is left as it is.
func TestInstallExample(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const name = "etc/cron.daily/rmmail_virtual"
		text, err := os.ReadFile("examples/cron.daily/rmmail_virtual")
		in.check(err)
		in.file(in.src, "examples/cron.daily/rmmail_virtual", string(text), 0o755)
		in.script(name, string(text))
		_, errs := in.run(0)
		if errs != "" {
			in.t.Errorf("says %s", errs)
		}
		in.text(name, string(text))
	})
}

// It proves that what is somebody else's is never overwritten, whatever it is called
// and whatever it says, and that nothing leads to another program.
func TestInstallForeign(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/share/man/man1/rmoldmail.1", "my own rmoldmail, unlike the one of kowaza\n")
		in.script("etc/kowaza.conf.sample", "kowaza, my own notes\n")
		before := in.tree(in.root, true)
		_, errs := in.run(1, "-n")
		if after := in.tree(in.root, true); after != before {
			in.t.Errorf("-n changed\n%s\nto\n%s", before, after)
		}
		_, again := in.run(1)
		for _, name := range []string{"usr/local/share/man/man1/rmoldmail.1", "etc/kowaza.conf.sample"} {
			in.contains("standard error", errs, "kowaza: /"+name+": not a file of kowaza: left alone\n")
			in.contains("standard error", again, "kowaza: /"+name+": not a file of kowaza: left alone\n")
		}
		in.link("usr/local/bin/rmoldmail", "kowaza")
		in.run(0, "-u")
		in.text("usr/local/share/man/man1/rmoldmail.1", "my own rmoldmail, unlike the one of kowaza\n")
		in.text("etc/kowaza.conf.sample", "kowaza, my own notes\n")

		in.script("usr/local/bin/kowaza", "#!/bin/sh\necho another program\n")
		in.script("usr/local/bin/rmoldmail", "script\n")
		_, errs = in.run(1)
		in.contains("standard error", errs, "kowaza: /usr/local/bin/kowaza: not a file of kowaza: left alone\n")
		in.text("usr/local/bin/kowaza", "#!/bin/sh\necho another program\n")
		in.text("usr/local/bin/rmoldmail", "script\n")
		in.absent("usr/local/bin/qqclean")
		in.run(0, "-u")
		in.text("usr/local/bin/kowaza", "#!/bin/sh\necho another program\n")
	})
}

// It proves that -u gives back what this installation moved, by its manifest: a
// NAME.orig that stood there before does not come to life.
func TestInstallOldOrig(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/bin/qqclean.orig", "of another year\n")
		in.script("usr/local/bin/rmoldmail.orig.7", "of another year\n")
		in.script("usr/local/bin/rmoldmail", "today's\n")
		before := in.tree(in.root, false)
		in.run(0)
		in.text("usr/local/bin/rmoldmail.orig.8", "today's\n")
		in.run(0, "-u")
		if after := in.tree(in.root, false); after != before {
			in.t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// It proves that where the manifest cannot be read, or says what no manifest says,
// nothing is touched.
func TestInstallManifest(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const name = "usr/local/share/kowaza/manifest"
		in.run(0)
		text, err := os.ReadFile(filepath.Join(in.root, name))
		in.check(err)
		for _, bad := range []string{"file\tx\n", "link\tkowaza\tusr/local/bin/x\n", "x\ty\t/z\n", "\x00\n"} {
			in.file(in.root, name, string(text)+bad, 0o644)
			before := in.tree(in.root, true)
			for _, args := range [][]string{{}, {"-n"}, {"-u"}} {
				_, errs := in.run(1, args...)
				if want := fmt.Sprintf("kowaza: /%s:%d: malformed: nothing is touched\n", name, strings.Count(string(text), "\n")+1); errs != want {
					in.t.Errorf("%q says %s, want %s", args, errs, want)
				}
			}
			if after := in.tree(in.root, true); after != before {
				in.t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		}
		// A line that was not finished is a step that was not taken.
		in.file(in.root, name, string(text)+"file\t12", 0o644)
		if out, errs := in.run(0); out+errs != "" {
			in.t.Errorf("prints %s%s", out, errs)
		}
		in.text(name, string(text))
		in.check(os.Remove(filepath.Join(in.root, name)))
		in.check(os.Mkdir(filepath.Join(in.root, name), 0o755))
		_, errs := in.run(1)
		if want := "kowaza: /" + name + ": is a directory\n"; errs != want {
			in.t.Errorf("says %s, want %s", errs, want)
		}
	})
}

// It proves that the end tells what each command does from now on, where that is
// set, and what is open, with -n too; and that a run which did nothing says nothing.
func TestInstallSummary(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		in.script("usr/local/bin/rmmail_virtual", "#!/bin/sh\nVMDIR=/home/popuser\nN=60\nrmoldmail -V $N x\n")
		in.script("usr/local/bin/qmHandle", "#!/usr/bin/perl\nmy $pidcmd = 'pidof qmail-send';\nmy $startqmail = $ARGV[0];\n")
		in.script("usr/local/sbin/mailtest", "#!/bin/sh\n")
		would, _ := in.all(1, "-n")
		out, _ := in.all(1)
		if out != would {
			in.t.Errorf("-n shows\n%s\nthe run\n%s", would, out)
		}
		_, summary, _ := strings.Cut(out, "\nFrom now on:\n")
		want := `  rmoldmail: messages as old as each call says: VMDIR=/home/popuser (/etc/kowaza.conf), QMAIL=/var/qmail (default)
  rmmail_virtual: messages more than 60 days old: VMDIR=/home/popuser (/etc/kowaza.conf), DAYS=60 (/etc/kowaza.conf), QMAIL=/var/qmail (default)
  jmailsend: QMAIL=/var/qmail (default), JMAIL_TO=postmaster (default), JMAIL_CHARSET=jis (default), JMAIL_COUNT=1 (default)
  qmHandle: QMAIL=/var/qmail (default)
  mailtest: MAILTEST_EXIT=99 (default)
  qqclean: QMAIL=/var/qmail (default)
Open:
  /usr/local/bin/qmHandle: my $startqmail = $ARGV[0];: not carried over: contains $: the key is QMAIL_START
  /usr/local/sbin/mailtest: not the script of the page: left alone, see --force
`
		if summary != want {
			in.t.Errorf("the end is\n%s\nwant\n%s", summary, want)
		}
		in.check(os.Remove(filepath.Join(in.root, "usr/local/sbin/mailtest")))
		in.run(0)
		if out, errs := in.all(0); out+errs != "" {
			in.t.Errorf("the second run prints %s%s", out, errs)
		}
	})
}

// It proves that a password at the top of a private script is neither copied to
// kowaza.conf, which everybody may read, nor shown.
func TestInstallSecret(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		file := in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nDB_PASSWORD=sesame\nVMDIR=/home/popuser\n")
		in.check(os.Chmod(file, 0o700))
		out, errs := in.all(0)
		in.contains("standard error", errs, "kowaza: /usr/local/bin/rmoldmail: DB_PASSWORD: not carried over: no such key\n")
		_, conf := in.settings()
		if strings.Contains(out+errs+conf, "sesame") {
			in.t.Errorf("it is in\n%s%s%s", out, errs, conf)
		}
	})
}

// It proves that without rights there is one message, and nothing is done.
func TestInstallNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	shells(t, func(t *testing.T, shell string, in *installation) {
		script := in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\n")
		testenv.Check(t, os.Chmod(script, 0o700))
		for dir := in.root; dir != os.TempDir(); dir = filepath.Dir(dir) {
			testenv.Check(t, os.Chmod(dir, 0o755))
		}
		// What the test's own directory has is root's alone.
		binary := filepath.Join(in.src, "kowaza")
		text, err := os.ReadFile(binary)
		testenv.Check(t, err)
		testenv.Check(t, os.Remove(binary))
		testenv.Check(t, os.WriteFile(binary, text, 0o755))
		as := func(status int, args ...string) string {
			t.Helper()
			cmd := exec.Command(shell, append([]string{filepath.Join(in.src, "install.sh")}, args...)...)
			cmd.Env = append(os.Environ(), "DESTDIR="+in.root)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			var errs bytes.Buffer
			cmd.Stderr = &errs
			cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != status {
				t.Fatalf("%q: status %d, want %d\n%s", args, got, status, errs.String())
			}
			return strings.ReplaceAll(errs.String(), in.root, "")
		}
		before := in.tree(in.root, true)
		want := "kowaza: /usr/local/bin: permission denied: nothing was done; run it as root, or with -p PREFIX\n"
		for _, args := range [][]string{{}, {"-u"}} {
			if errs := as(1, args...); errs != want {
				t.Errorf("%q says %s, want %s", args, errs, want)
			}
		}
		want = "kowaza: not run by root: what only root can read is not looked at\nkowaza: /usr/local/bin/rmoldmail: cannot be read: what it sets is not known\n"
		if errs := as(0, "-n"); errs != want {
			t.Errorf("-n says %s, want %s", errs, want)
		}
		if after := in.tree(in.root, true); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}
