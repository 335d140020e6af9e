package main

import (
	"bytes"
	"fmt"
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
	"kowaza/internal/settings"
)

// An installation is a tarball unpacked in a directory with a blank in its name
// and a tree that install.sh works on, as DESTDIR.
type installation struct {
	t     *testing.T
	shell string
	src   string // the tarball
	root  string // DESTDIR
	env   []string
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

// installed runs f with every shell that install.sh must know.
func installed(t *testing.T, f func(in *installation)) {
	t.Helper()
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("SKIP %s is not installed", shell)
			}
			dir := t.TempDir()
			in := &installation{t: t, shell: shell, src: filepath.Join(dir, "tar ball"), root: filepath.Join(dir, "dest dir")}
			for _, name := range []string{"install.sh", "kowaza.conf"} {
				text, err := os.ReadFile(name)
				in.check(err)
				in.file(in.src, name, string(text), 0o755)
			}
			in.file(in.src, "kowaza", "#!/bin/sh\necho stand-in\n", 0o755)
			in.file(in.src, "symlinks.txt", testLinks, 0o644)
			in.file(in.src, "man/rmoldmail.1", "kowaza page\n", 0o644)
			in.file(in.src, "man/kowaza.conf.5", "kowaza settings\n", 0o644)
			in.file(in.src, "man/ja/rmoldmail.1", "kowaza ja\n", 0o644)
			in.file(in.src, "completion/kowaza.bash", "# kowaza\n", 0o644)
			in.file(in.src, "completion/_kowaza", "#compdef kowaza\n", 0o644)
			in.file(in.src, "systemd/rmmail_virtual.timer", "[Timer]\n", 0o644)
			for _, d := range []string{"usr/local/bin", "usr/local/sbin", "etc/cron.daily"} {
				in.check(os.MkdirAll(filepath.Join(in.root, d), 0o755))
			}
			f(in)
		})
	}
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

// run runs install.sh from / and wants that status. DESTDIR is taken out of what
// it printed.
func (in *installation) run(status int, args ...string) (stdout, stderr string) {
	in.t.Helper()
	cmd := exec.Command(in.shell, append([]string{filepath.Join(in.src, "install.sh")}, args...)...)
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), "DESTDIR="+in.root), in.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	stdout = strings.ReplaceAll(out.String(), in.root, "")
	stderr = strings.ReplaceAll(errs.String(), in.root, "")
	if got := cmd.ProcessState.ExitCode(); got != status {
		in.t.Fatalf("install.sh %q: status %d, want %d\n%s%s", args, got, status, stdout, stderr)
	}
	for _, line := range strings.Split(strings.TrimSuffix(stderr, "\n"), "\n") {
		if line != "" && !strings.HasPrefix(line, "install.sh: ") && !strings.HasPrefix(line, "usage: ") {
			in.t.Errorf("install.sh %q: standard error has %q", args, line)
		}
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
		in.script("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nVMDIR=/home/popuser\ncd $VMDIR\n")
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
		in.text("usr/local/share/bash-completion/completions/kowaza", "# kowaza\n")
		in.link("usr/local/share/bash-completion/completions/rmoldmail", "kowaza")
		in.link("usr/local/share/bash-completion/completions/jmailsend.pl", "kowaza")
		in.text("usr/local/share/zsh/site-functions/_kowaza", "#compdef kowaza\n")
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

		for _, args := range [][]string{{"./install.sh", "-p", "/"}, {"install.sh", "-p", "/"}} {
			cmd := exec.Command(in.shell, args...)
			cmd.Dir = in.src
			cmd.Env = append(os.Environ(), "DESTDIR=build/-links")
			if out, err := cmd.CombinedOutput(); err != nil {
				in.t.Fatalf("%v: %s", err, out)
			}
		}
		if out, err := exec.Command(filepath.Join(in.src, "build/-links/sbin/mailtest")).Output(); err != nil || string(out) != "stand-in\n" {
			in.t.Errorf("the link runs %q, %v", out, err)
		}

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
		in.script("etc/cron.daily/rmmail_virtual", "cron\n")
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
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "cron\n")
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
		in.run(0, "-u")
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
			in.contains("standard error", errs, "install.sh: /"+name+": not a file of kowaza: left alone\n")
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

// It proves that --links makes and removes links to a binary that a package has
// put in place, and nothing else, and that it keeps off another installation.
func TestInstallLinks(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		const links = "--links=/usr//bin/kowaza"
		in.script("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR=/home/popuser\n")
		in.script("etc/cron.daily/rmmail_virtual", "cron\n")
		scripts := in.tree(in.root, false)
		_, errs := in.run(1, links)
		in.contains("standard error", errs, "install.sh: /usr/bin/kowaza: not there\n")
		if after := in.tree(in.root, false); after != scripts {
			in.t.Errorf("without a binary it made\n%s", after)
		}

		in.file(in.root, "usr/bin/kowaza", "#!/bin/sh\n", 0o755)
		before := in.tree(in.root, false)
		in.file(in.root, "usr/local/bin/kowaza", "#!/bin/sh\n", 0o755)
		_, errs = in.run(1, links)
		in.contains("standard error", errs, "install.sh: /usr/local/bin/kowaza: installed already: ")
		in.text("etc/cron.daily/rmmail_virtual", "cron\n")
		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/kowaza")))

		in.run(0, links)
		in.link("usr/local/bin/rmoldmail", "/usr/bin/kowaza")
		in.link("usr/local/sbin/mailtest", "/usr/bin/kowaza")
		in.link("etc/cron.daily/rmmail_virtual", "/usr/bin/kowaza")
		if lines, _ := in.settings(); len(lines) != 1 || lines[0] != "VMDIR=/home/popuser" {
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
		for _, text := range []string{"one", "two"} {
			os.Remove(filepath.Join(in.root, "etc/cron.daily/rmmail_virtual"))
			in.script("etc/cron.daily/rmmail_virtual", text)
			in.run(0)
		}
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "one")
		in.text("usr/local/share/kowaza/orig/rmmail_virtual.1", "two")
		names, err := os.ReadDir(filepath.Join(in.root, "etc/cron.daily"))
		in.check(err)
		if len(names) != 1 {
			in.t.Errorf("cron.daily holds %v", names)
		}
		in.run(0, "-u")
		in.text("etc/cron.daily/rmmail_virtual", "two")
		in.text("usr/local/share/kowaza/orig/rmmail_virtual", "one")
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
		in.script("etc/cron.daily/rmmail_virtual", "one")
		in.check(os.Symlink("../over there", filepath.Join(in.root, "etc/cron.daily/rmoldmail")))
		before := in.tree(filepath.Join(in.root, "etc"), false)
		in.run(0)
		if text, err := os.ReadFile(filepath.Join(other, "kowaza/orig/rmmail_virtual")); err != nil || string(text) != "one" {
			in.t.Errorf("kept: %q, %v", text, err)
		}
		in.run(0, "-u")
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

// It proves which settings at the top of a script go to kowaza.conf, which go
// there as comments, and that the file parses whatever the script holds.
func TestInstallSettings(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	// What stands behind the first command may hold or not: it is named.
	below := func(text, key string) string {
		return text + ": not carried over: " + key + " is set below the settings at the top\n"
	}
	tests := []struct {
		name   string
		link   string
		script string
		conf   string // kowaza.conf before
		want   string // what it sets afterwards
		named  string // standard error without the script's name
	}{
		{"shell", "bin/rmmail_virtual", "#!/bin/sh\n# head\n\nVMDIR=/home/popuser\nDAYS=14 # two weeks\n  VUSER='pop' ;\nexport QMAIL=\"/var/qmail2\"\nexec rm\n", "",
			"VMDIR=/home/popuser DAYS=14 VUSER=pop QMAIL=/var/qmail2", ""},
		{"shell, many on a line", "bin/rmmail_virtual", "set -eu\numask 077\nexport LANG VMDIR=/a DAYS=3; VUSER=p;# x\nexport LANG\n", "",
			"VMDIR=/a DAYS=3 VUSER=p", ""},
		{"lower case", "bin/rmmail_virtual", "vmdir=/a\nDays=9\n", "", "VMDIR=/a DAYS=9", ""},
		{"perl", "bin/rmmail_virtual", "#!/usr/bin/perl -w\nuse strict;\nuse POSIX qw(x); # y\n$VMDIR = \"/a\";\nmy $days='5'; our $vuser = 'pop'; # c\nlocal $qmail=\"/q\";\nprint 1;\n", "",
			"VMDIR=/a DAYS=5 VUSER=pop QMAIL=/q", ""},
		{"php", "bin/rmmail_virtual", "#!/usr/bin/php -q\n<?php\n/* a\n $days = 1;\n*/\n// b\n$vmdir = \"/a\"; // c\n$days = 5;\nfoo();\n$vuser='p';\n", "",
			"VMDIR=/a DAYS=5", below("$vuser='p';", "VUSER")},
		{"php on one line", "bin/rmoldmail", "<?php $vmdir='/a';\n", "", "VMDIR=/a", ""},
		{"quoted blank", "bin/rmoldmail", "VMDIR='/home/a b'\n", "", "VMDIR='/home/a b'", ""},
		{"joined", "bin/rmoldmail", "VMDIR='/home'/a\" b\"\n", "", "VMDIR='/home/a b'", ""},
		{"hash and quote", "bin/qmHandle", "QMAIL_STOP=\"it's # fine\"\nQMAIL_START=a#b\n", "", "QMAIL_STOP=\"it's # fine\" QMAIL_START='a#b'", ""},
		{"qmHandle", "bin/qmHandle", "#!/usr/bin/perl\nuse strict;\n\n#### CONFIG\nmy ($queue) = '/var/qmail/queue/';\n# my ($stopqmail) = 'x';\nmy ($stopqmail) = '/usr/local/bin/svc -d /service/qmail-send';\nmy($startqmail)=\"/usr/local/bin/svc -u /service/qmail-send\";\nmy ($pidcmd) = 'pidof qmail-send';\n", "QMAIL=/var/qmail/\n",
			"QMAIL=/var/qmail/ QMAIL_STOP='/usr/local/bin/svc -d /service/qmail-send' QMAIL_START='/usr/local/bin/svc -u /service/qmail-send'", "my ($pidcmd) = 'pidof qmail-send';: not carried over: no such key\n"},
		{"qmHandle, queue elsewhere", "bin/qmHandle", "#!/usr/bin/perl\nmy $queue = '/var/spool/qmail/';\n$stopqmail = '';\n", "", "",
			"my $queue = '/var/spool/qmail/';: not carried over: not a directory called queue\n$stopqmail = '';: not carried over: empty\n"},
		{"qmHandle's names elsewhere", "bin/rmoldmail", "QUEUE=/q/queue\n", "", "", "QUEUE=/q/queue: not carried over: no such key\n"},
		{"jmailsend", "bin/jmailsend.pl", "#!/usr/bin/perl\n$sendmail = '/usr/lib/sendmail';\n$jmail_to=\"a\\@b\";\n$JMAIL_FROM='a@b';\n$jmail_charset='euc';\n$jmail_count=10;\n", "",
			"SENDMAIL=/usr/lib/sendmail JMAIL_FROM=a@b JMAIL_CHARSET=euc JMAIL_COUNT=10", "$jmail_to=\"a\\\\@b\";: not carried over: contains a backslash\n"},

		{"variable", "bin/rmoldmail", "VMDIR=$HOME/x\n", "", "", "VMDIR=$HOME/x: not carried over: contains $\n"},
		{"variable in quotes", "bin/rmoldmail", "VMDIR=\"${HOME:-a b}/x\"\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=\"${HOME:-a b}/x\": not carried over: contains $\n"},
		{"dollar in single quotes", "bin/rmoldmail", "VMDIR='/a$b'\n", "", "", "VMDIR='/a$b': not carried over: contains $\n"},
		{"backquote", "bin/rmoldmail", "VMDIR=`cat /x y`/z\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=`cat /x y`/z: not carried over: contains a backquote\n"},
		{"command", "bin/rmoldmail", "VMDIR=$(cat \"/x\" (y; z)) QMAIL=/q\n", "", "QMAIL=/q", "VMDIR=$(cat \"/x\" (y; z)): not carried over: contains $\n"},
		{"glob", "bin/rmoldmail", "VMDIR=/home/*\nQMAIL='/q?'\nVMDIR=/[ab]\n", "", "",
			"VMDIR=/home/*: not carried over: contains a glob\nQMAIL='/q?': not carried over: contains a glob\nVMDIR=/[ab]: not carried over: contains a glob\n"},
		{"tilde", "bin/rmmail_virtual", "VUSER=~pop\n", "", "", "VUSER=~pop: not carried over: contains ~\n"},
		{"backslash", "bin/rmoldmail", "VMDIR=/a\\ b\nQMAIL='/a\\b'\n", "", "", "VMDIR=/a\\\\ b: not carried over: contains a backslash\nQMAIL='/a\\\\b': not carried over: contains a backslash\n"},
		{"both quotes", "bin/qmHandle", "QMAIL_STOP='a\"b'\"'\"\n", "", "", "QMAIL_STOP='a\"b'\"'\": not carried over: contains both quotation marks\n"},
		{"array, appended", "bin/rmoldmail", "QMAIL=(/a /b)\nVMDIR+=/x\n", "", "", "QMAIL=(/a /b): not carried over: not a plain value\nVMDIR+=/x: not carried over: not a plain value\n"},
		{"empty", "bin/rmoldmail", "VMDIR=\nQMAIL=''\n", "", "", "VMDIR=: not carried over: empty\nQMAIL='': not carried over: empty\n"},
		{"invalid", "bin/rmmail_virtual", "VMDIR=home\nDAYS=36501\nDAYS=1w\nDAYS=-1\nQMAIL=q\nDAYS=00036500\n", "", "DAYS=00036500",
			"VMDIR=home: not carried over: not an absolute path\nDAYS=36501: not carried over: not a number from 0 to 36500\nDAYS=1w: not carried over: not a number\nDAYS=-1: not carried over: not a number\nQMAIL=q: not carried over: not an absolute path\n"},
		{"invalid, jmailsend", "bin/jmailsend.pl", "JMAIL_COUNT=0\nJMAIL_COUNT=1000001\nJMAIL_CHARSET=ISO-2022-JP\nSENDMAIL=sendmail\nJMAIL_COUNT=1000000\n", "", "JMAIL_COUNT=1000000",
			"JMAIL_COUNT=0: not carried over: not a number from 1 to 1000000\nJMAIL_COUNT=1000001: not carried over: not a number from 1 to 1000000\nJMAIL_CHARSET=ISO-2022-JP: not carried over: not one of jis, sjis, euc, utf8\nSENDMAIL=sendmail: not carried over: not an absolute path\n"},
		{"unknown", "bin/rmoldmail", "FOO=bar\n", "", "", "FOO=bar: not carried over: no such key\n"},
		{"another applet's", "bin/rmoldmail", "DAYS=7\n", "", "", "DAYS=7: not carried over: rmoldmail does not use it\n"},
		{"perl expressions", "bin/rmmail_virtual", "#!/usr/bin/perl\nmy $vmdir = $ARGV[0];\n$days = 010;\n@x = (1, 2);\n$| = 1;\nmy $vuser = \"a@b\";\nmy ($q) = 'x';\n$qmail = '/q';\n", "", "QMAIL=/q",
			"my $vmdir = $ARGV[0];: not carried over: contains $\n$days = 010;: not carried over: not a plain value\n@x = (1, 2);: not carried over: no such key\n$| = 1;: not carried over: no such key\nmy $vuser = \"a@b\";: not carried over: contains @\nmy ($q) = 'x';: not carried over: no such key\n"},
		{"perl, open", "bin/rmmail_virtual", "#!/usr/bin/perl\n@x = (\n$days = 1;\n);\n", "", "", "@x = (: not carried over: no such key\n" + below("$days = 1;", "DAYS")},
		{"perl, a quoted quote", "bin/rmmail_virtual", "#!/usr/bin/perl\n$x = 'a\\'; $days = '3';\n$vuser = 'x';\n", "", "", "$x = 'a\\\\'; $days = '3';: not carried over: no such key\n" + below("$x = 'a\\\\'; $days = '3';", "DAYS") + below("$vuser = 'x';", "VUSER")},
		{"perl is no shell", "bin/rmmail_virtual", "#!/usr/bin/perl\nDAYS=3\n", "", "", below("DAYS=3", "DAYS")},
		{"shell is no perl", "bin/rmmail_virtual", "#!/bin/sh\n$DAYS='3';\nVUSER=x\n", "", "", below("$DAYS='3';", "DAYS") + below("VUSER=x", "VUSER")},

		{"contradiction", "bin/rmoldmail", "VMDIR=/a\nVMDIR=/b\n", "", "VMDIR=/a", "VMDIR=/b: not carried over: contradicts VMDIR=/a, set before\n"},
		{"contradicts the file", "bin/rmoldmail", "VMDIR=/b\n", "VMDIR= \"/a c\" # x\n", "VMDIR= \"/a c\" # x", "VMDIR=/b: not carried over: contradicts VMDIR=/a c, set before\n"},
		{"set and empty", "bin/rmoldmail", "VMDIR=/b\n", "VMDIR=\n", "VMDIR=", "VMDIR=/b: not carried over: contradicts VMDIR=, set before\n"},
		{"the same", "bin/rmmail_virtual", "VMDIR=/a//b/\nDAYS=021\n", "VMDIR='/a/b'\nDAYS=21 #\n", "VMDIR='/a/b' DAYS=21 #", ""},
		{"comments are not set", "bin/rmoldmail", "VMDIR=/a\n", "#VMDIR=/b\n  # QMAIL=/c\n", "  # QMAIL=/c VMDIR=/a", ""},
		{"no newline", "bin/rmoldmail", "VMDIR=/a\nQMAIL=/q\n", "DAYS=3\nQMAIL=/q", "DAYS=3 QMAIL=/q VMDIR=/a", ""},

		{"a condition below", "bin/rmmail_virtual", "DAYS=60\ntest \"$1\" && DAYS=7\nif [ $DAYS == 7 ]; then\n", "", "DAYS=60", below(`test "$1" && DAYS=7`, "DAYS")},
		{"head ends", "bin/rmmail_virtual", "VMDIR=/a\ncd /\nDAYS=3\n", "", "VMDIR=/a", below("DAYS=3", "DAYS")},
		{"head ends at an assignment for a command", "bin/rmmail_virtual", "VMDIR=/a rmoldmail 7\nDAYS=3\n", "", "", below("DAYS=3", "DAYS")},
		{"head ends at a condition", "bin/rmmail_virtual", "VMDIR=/a && DAYS=3\nDAYS=4\n", "", "", below("DAYS=4", "DAYS")},
		{"head ends within a line", "bin/rmmail_virtual", "VMDIR=/a; cd /\nDAYS=3\n", "", "VMDIR=/a", below("DAYS=3", "DAYS")},
		{"set with a command", "bin/rmmail_virtual", "set -e; cd /\nDAYS=3\n", "", "", below("DAYS=3", "DAYS")},
		{"open quote", "bin/rmmail_virtual", "VUSER=x\nFOO=\"\nVMDIR=/a\n\"\nDAYS=3\n", "", "VUSER=x", "FOO=\": not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR") + below("DAYS=3", "DAYS")},
		{"open command", "bin/rmmail_virtual", "FOO=$(\nVMDIR=/a\n)\n", "", "", "FOO=$(: not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR")},
		{"continued", "bin/rmmail_virtual", "FOO=a\\\nVMDIR=/a\n", "", "", "FOO=a\\\\: not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR")},

		{"CRLF", "bin/rmmail_virtual", "#!/bin/sh\r\nVMDIR=/a\r\nDAYS='3'\r\n\r\nVUSER=p\r\n", "", "VMDIR=/a DAYS=3 VUSER=p", ""},
		{"byte order mark", "bin/rmoldmail", "\xef\xbb\xbfVMDIR=/a\n", "", "VMDIR=/a", ""},
		{"no newline at the end", "bin/rmoldmail", "VMDIR=/a", "", "VMDIR=/a", ""},
		{"long comment", "bin/rmoldmail", "#" + long + "\nVMDIR=/a\n", "", "VMDIR=/a", ""},
		{"long value", "bin/rmoldmail", "VMDIR=/" + long + "\nQMAIL=/q\n", "", "", "VMDIR=/" + long[:193] + "...: not carried over: too long, nothing after it was read\n" + below("QMAIL=/q", "QMAIL")},
		{"long path", "bin/rmoldmail", "VMDIR=/" + long[:5000] + "\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=/" + long[:193] + "...: not carried over: too long\n"},
		{"NUL", "bin/rmoldmail", "#\x00\nVMDIR=/a\x00b\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=/a\\001b: not carried over: control character\n"},
		{"control characters", "bin/rmoldmail", "VMDIR='/a\tb\x1b[2J\x7f'\nF=\xc2\x9b\n", "", "", "VMDIR='/a\\011b\\033[2J\\177': not carried over: contains a glob\nF=\\302\\233: not carried over: no such key\n"},
		{"invalid UTF-8", "bin/rmoldmail", "# \xa4\xa2\xff\nVMDIR=/\xa4\xa2\nF=\xa4\xe3\x81\x82\xed\xa0\x80\xe3\x81\nQMAIL=/q\n", "", "VMDIR='/\xa4\xa2' QMAIL=/q", "F=\\244\u3042\\355\\240\\200\\343\\201: not carried over: no such key\n"},
		{"EUC-JP, Shift_JIS comments", "bin/rmoldmail", "#!/bin/sh\n# \xc0\xdf\xc4\xea\n# \x90\xdd\x92\xe8\x95\x5c\nVMDIR=/a # \x95\x5c\n", "", "VMDIR=/a", ""},
		{"binary", "bin/rmoldmail", "\x7fELF\x02\x01\x00\x00\nVMDIR=/a\n", "", "", below("VMDIR=/a", "VMDIR")},
		{"nothing", "bin/rmoldmail", "", "", "", ""},
	}
	installed(t, func(in *installation) {
		for _, test := range tests {
			file := "usr/local/" + test.link
			for _, name := range []string{"etc", "usr/local/bin"} {
				in.check(os.RemoveAll(filepath.Join(in.root, name)))
				in.check(os.MkdirAll(filepath.Join(in.root, name), 0o755))
			}
			in.file(in.src, "symlinks.txt", test.link+"\n", 0o644)
			in.script(file, test.script)
			if test.conf != "" {
				in.file(in.root, "etc/kowaza.conf", test.conf, 0o600)
			}
			_, errs := in.run(0)
			in.link(file, "kowaza")
			in.text(file+".orig", test.script)
			lines, text := in.settings()
			if got := strings.Join(lines, " "); got != test.want {
				in.t.Errorf("%s %s: kowaza.conf sets %s, want %s", in.shell, test.name, got, test.want)
			}
			if !strings.HasPrefix(text, test.conf) {
				in.t.Errorf("%s %s: kowaza.conf was %q, is %q", in.shell, test.name, test.conf, text)
			}
			named := strings.ReplaceAll(errs, "install.sh: /"+file+": ", "")
			if named != test.named {
				in.t.Errorf("%s %s: named\n%swant\n%s", in.shell, test.name, named, test.named)
			}
			if n := strings.Count(text, "\n# not carried over from /"+file+": "); n != strings.Count(named, "\n") {
				in.t.Errorf("%s %s: %d comments\n%s", in.shell, test.name, n, text)
			}
			if test.conf != "" {
				info, err := os.Stat(filepath.Join(in.root, "etc/kowaza.conf"))
				in.check(err)
				if info.Mode() != 0o600 {
					in.t.Errorf("%s %s: kowaza.conf has mode %s now", in.shell, test.name, info.Mode())
				}
			}

			// The script again: nothing new is to be said in kowaza.conf.
			in.run(0, "-u")
			in.text(file, test.script)
			in.run(0)
			if _, again := in.settings(); again != text {
				in.t.Errorf("%s %s: the second time kowaza.conf is\n%s\nafter\n%s", in.shell, test.name, again, text)
			}
		}
	})
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
			in.contains("standard error", errs, "install.sh: /etc/kowaza.conf: ")
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
	if *s != *want {
		t.Errorf("the sample shows %+v, the defaults are %+v", s, want)
	}
}

// page is the page's mailtest as far as its description goes.
const page = `#!/usr/local/bin/php -q
<?php
$fp = fopen("php://stdin", "r");
while (!feof($fp)) {
	$line[] = fgets($fp, 4096);
}
fclose($fp);
foreach ($line as $l) {
	print $l . "<and>\n";
}
exit(99);
?>
`

// edit returns the page's script with the first of each pair replaced by the
// second.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	s := page
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(s, pairs[i]) {
			t.Fatalf("%q is not in\n%s", pairs[i], s)
		}
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// printing is the loop of the page's script that prints.
const printing = "foreach ($line as $l) {\n\tprint $l . \"<and>\\n\";\n}"

// It proves that the page's mailtest is replaced however it is written, and that
// its exit code is carried over.
func TestInstallMailtest(t *testing.T) {
	t.Parallel()
	change := func(pairs ...string) string { return edit(t, pairs...) }
	tests := []struct{ exit, script string }{
		{"99", page},
		{"0", change("(99)", "(0)")},
		{"100", change("(99)", " 100")},
		{"111", change("(99)", "( 111 )")},
		{"0", change("(99)", "")},
		{"0", change("(99)", "()")},
		{"99", change(", 4096", "")},
		{"99", change("#!/usr/local/bin/php -q\n", "")},
		{"99", change("/usr/local/bin/php -q", "/usr/bin/env php")},
		{"99", change("?>\n", "")},
		{"99", change("fclose($fp);\n", "")},
		{"99", change("fclose($fp);\n", "", "exit", "fclose($fp);exit")},
		{"99", change("\"php://stdin\"", "'php://stdin'", "\"r\"", "'rb'")},
		{"99", change("$fp = ", "/* \xa5\xd5 ' */ $fp = ", "r\");", "r\"); // \xb3\xab \"\n# it's")},
		{"99", strings.ReplaceAll(page, "\n", "\r\n")},
		{"99", strings.ReplaceAll(strings.ReplaceAll(page, "$line", "$Mail_1"), "$fp", "$h")},
		{"99", strings.Join(strings.Fields(page[strings.Index(page, "<?php"):]), " ")},
		{"99", change("print $l .", "echo $l,")},
		{"99", change("print $l .", "echo $l.")},
		{"99", change("$l . \"<and>\\n\"", "(\"$l<and>\\n\")")},
		{"99", change("$l . \"<and>\\n\"", "\"{$l}<and>\\n\"")},
		{"99", change("$l . ", "$l; print ")},
		{"99", change("as $l", "as $k => $l")},
		{"99", change(printing, "foreach ($line as $l) print $l.\"<and>\\n\";", "{\n\t$line[] = fgets($fp, 4096);\n}", "$line[] = fgets($fp);")},
		{"99", change(printing, "for ($i = 0; $i < count($line); $i++)\n print($line[$i].\"<and>\\n\");")},
		{"99", change(printing, "$n=count($line); for ($i=0;$i<$n;++$i) { echo \"$line[$i]<and>\\n\"; }")},
		{"99", change("while", "$i=0; while", "$line[]", "$line[$i++]", printing, "for($j=0;$j<$i;$j++){print $line[$j].'<and>'.\"\\n\";}")},
		{"99", change("while", "$i=0; $line=array(); while", "$line[]", "$line[$i]", "4096);", "4096); $i++;")},
		{"99", change("$fp = fopen(\"php://stdin\", \"r\");\n", "", "feof($fp)", "feof(STDIN)", "fgets($fp", "fgets(STDIN", "fclose($fp);\n", "")},
	}
	installed(t, func(in *installation) {
		in.file(in.src, "symlinks.txt", "sbin/mailtest\n", 0o644)
		for _, test := range tests {
			in.script("usr/local/sbin/mailtest", test.script)
			in.run(0)
			in.link("usr/local/sbin/mailtest", "../bin/kowaza")
			in.text("usr/local/sbin/mailtest.orig", test.script)
			if lines, _ := in.settings(); len(lines) != 1 || lines[0] != "MAILTEST_EXIT="+test.exit {
				in.t.Errorf("kowaza.conf sets %q for\n%s", lines, test.script)
			}
			in.run(0, "-u")
			in.check(os.Remove(filepath.Join(in.root, "etc/kowaza.conf")))
		}
	})
}

// It proves that a mailtest that is not the page's, or whose exit code cannot be
// carried over, is left alone and named, unless it is forced.
func TestInstallMailtestOther(t *testing.T) {
	t.Parallel()
	change := func(pairs ...string) string { return edit(t, pairs...) }
	scripts := []string{
		"",
		"#!/bin/sh\ncat\n",
		"\x7fELF\x00\x01",
		"<?php exit(99);",
		page + page,
		change("<and>", "<AND>"),
		change("\"<and>\\n\"", "'<and>\\n'"),
		change("print $l .", "print trim($l) ."),
		change("exit(99);", ""),
		change("exit(99);", "mail('x'); exit(99);"),
		change("exit(99);", "exit(99); ?>x<?php "),
		change("(99)", "(\"99\")"),
		change("(99)", "(-1)"),
		change("(99)", "(1)"),
		change("(99)", "(256)"),
		change("?>", "?>\nmore"),
		change("<?php", "text <?php"),
		change("php -q", "perl"),
		change("fopen", "popen"),
		change("php://stdin", "/etc/passwd"),
		change("fgets($fp", "fgets($fq"),
		change("feof($fp)", "feof($x)"),
		change("($line as", "($lines as"),
		change("as $l)", "as $m)"),
		change("as $l)", "as $fp)"),
		change("!feof", "feof"),
		change("print", "if ($l) print"),
		change("foreach", "$line = array(); foreach"),
		change("while", "/* open while"),
		change("fclose($fp);", "fclose($fp); // ?> <?php system('x');\n"),
		change("\tprint", "#[A]\n\tprint"),
		change("\tprint", "\tsystem('x');print"),
		change("$fp = ", "$fp = $line = "),
		change("$line[] =", "$line ="),
		change(printing, "for ($i = 1; $i < count($line); $i++) print $line[$i].\"<and>\\n\";"),
		change(printing, "for ($i = 0; $i < count($line); $i++) print $line[$j].\"<and>\\n\";"),
		change("<?php\n", "<?php\n#"+strings.Repeat("x", 20000)+"\n"),
	}
	installed(t, func(in *installation) {
		in.file(in.src, "symlinks.txt", "bin/rmoldmail\nbin/mailtest\nsbin/mailtest\n", 0o644)
		for _, script := range scripts {
			file := in.script("usr/local/sbin/mailtest", script)
			before := in.tree(file, true)
			_, errs := in.run(1)
			in.contains("standard error", errs, "install.sh: /usr/local/sbin/mailtest: ")
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
		in.script("usr/local/sbin/mailtest", edit(in.t, "99", "0"))
		_, errs := in.run(1, "--force=rmoldmail")
		in.contains("standard error", errs, "install.sh: /usr/local/sbin/mailtest: MAILTEST_EXIT=0: not carried over: contradicts MAILTEST_EXIT=99, set before: left alone, see --force\n")
		in.link("usr/local/bin/mailtest", "kowaza")
		in.text("usr/local/sbin/mailtest", edit(in.t, "99", "0"))
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
			{[]string{"--prefix", "/"}, "unknown option: --prefix"},
			{[]string{"-"}, "unknown option: -"},
			{[]string{"-p"}, "-p: missing argument"},
			{[]string{"-p", ""}, "-p: : not an absolute path"},
			{[]string{"-p", "usr"}, "-p: usr: not an absolute path"},
			{[]string{"-p", "/a\nb"}, "PREFIX, BINARY or DESTDIR: control character"},
			{[]string{"--force"}, "--force: missing argument"},
			{[]string{"--force", "nosuch"}, "--force: nosuch: no such applet"},
			{[]string{"--force", "mailtest", "--force", "jmailsend.pl"}, "--force: jmailsend.pl: no such applet"},
			{[]string{"--force", ""}, "--force: : no such applet"},
			{[]string{"--links"}, "--links: missing argument"},
			{[]string{"--links", ""}, "--links: missing argument"},
			{[]string{"--links="}, "unknown option: --links="},
			{[]string{"--links", "//"}, "--links: //: not an absolute path"},
			{[]string{"--links=bin/kowaza"}, "--links: bin/kowaza: not an absolute path"},
			{[]string{"extra"}, "too many operands: extra"},
			{[]string{"--", "-n"}, "too many operands: -n"},
		} {
			out, errs := in.run(2, test.args...)
			want := "install.sh: " + test.want + "\nusage: install.sh [-n] [-u] [-p PREFIX] [--force NAME]... [--links BINARY]\n"
			if out != "" || errs != want {
				in.t.Errorf("%q prints %s%s, want %s", test.args, out, errs, want)
			}
		}
		for _, option := range []string{"-h", "--help", "-nh"} {
			out, errs := in.run(0, option)
			if !strings.HasPrefix(out, "usage: install.sh") || errs != "" {
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
		in.script("usr/local/share/kowaza", "a file\n")
		in.script("etc/cron.daily/rmmail_virtual", "VMDIR=/a\n")
		in.script("usr/local/share/man/man1/rmoldmail.1", "another page\n")
		in.check(os.Mkdir(filepath.Join(in.root, "etc/kowaza.conf.sample"), 0o755))
		_, errs := in.run(1)
		for _, want := range []string{
			"/usr/local/bin/rmoldmail: is a directory\n",
			"/usr/local/bin/qmHandle: is a directory\n",
			"/usr/local/bin/qqclean: not a regular file\n",
			"/usr/local/sbin: ",
			"/usr/local/share/kowaza/orig: ",
			"/usr/local/share/man/man1/rmoldmail.1: not a page of kowaza: left alone\n",
			"/etc/kowaza.conf.sample: is a directory\n",
		} {
			in.contains("standard error", errs, "install.sh: "+want)
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
		in.contains("standard error", errs, "install.sh: /usr/local/bin/kowaza: is a directory\n")
		in.text("usr/local/bin/rmoldmail", "script\n")
		in.absent("usr/local/bin/qqclean")

		in.check(os.Remove(filepath.Join(in.root, "usr/local/bin/kowaza")))
		in.check(os.Remove(filepath.Join(in.src, "kowaza")))
		_, errs = in.run(1)
		in.contains("standard error", errs, "/kowaza: not there, nor Go and its source to build it\n")
		in.text("usr/local/bin/rmoldmail", "script\n")

		// It is built where it can be.
		in.file(in.src, "go.mod", "module kowaza\n", 0o644)
		in.file(in.src, "bin/go", "#!/bin/sh\necho \"#!/bin/sh\n# $PWD $CGO_ENABLED $*\" >kowaza\nchmod 755 kowaza\n", 0o755)
		in.env = []string{"PATH=" + filepath.Join(in.src, "bin") + ":" + os.Getenv("PATH")}
		out, _ := in.run(0)
		in.contains("standard output", out, "built "+in.src+"/kowaza\n")
		in.text("usr/local/bin/kowaza", "#!/bin/sh\n# "+in.src+" 0 build -trimpath -ldflags -s -w -o kowaza .\n")
	})
}

// It proves that a reader who goes away, and a full disk under standard output,
// do not end the work half-way.
func TestInstallOutput(t *testing.T) {
	t.Parallel()
	installed(t, func(in *installation) {
		r, w, err := os.Pipe()
		in.check(err)
		r.Close()
		cmd := exec.Command(in.shell, filepath.Join(in.src, "install.sh"))
		cmd.Env = append(os.Environ(), "DESTDIR="+in.root)
		cmd.Stdout = w
		cmd.Run()
		w.Close()
		if got := cmd.ProcessState.ExitCode(); got != 1 {
			in.t.Errorf("status %d", got)
		}
		in.link("usr/local/bin/qqclean", "kowaza")
		if out, errs := in.run(0); out+errs != "" {
			in.t.Errorf("the second run prints %s%s", out, errs)
		}
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
