package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSavedBeginsAnew proves what CAVEATS says of --by saved: chown, chmod, another
// name, a hard link and a copy begin the age anew, even where they change nothing; and
// that --by name does not mind.
func TestSavedBeginsAnew(t *testing.T) {
	for _, what := range []struct{ name, script string }{
		{"nothing", ":"},
		{"chown -R", `chown -R "$(id -u):$(id -g)" "$1"`},
		{"chmod -R", `chmod -R u+rw "$1"`},
		{"a hard link of a backup", `ln "$1"/cur/* "$2/backup"`},
		{"a new flag", `mv "$1"/cur/* "$1/cur/1600000000.M1P1.mx:2,FS"`},
		{"a restore", `cp -a "$1" "$2/copy" && rm -r "$1" && mv "$2/copy" "$1"`},
	} {
		t.Run(what.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			box := home + "/Maildir"
			makeMaildirs(t, box)
			oldFile(t, box+"/cur/1600000000.M1P1.mx:2,S", "text\n")
			var st unix.Stat_t
			must(t, unix.Stat(box+"/cur/1600000000.M1P1.mx:2,S", &st))
			time.Sleep(1100 * time.Millisecond)
			if out, err := exec.Command("sh", "-c", what.script, "sh", box, t.TempDir()).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			now := time.Unix(st.Ctim.Unix()).Add(31*24*time.Hour + 500*time.Millisecond)
			saved := wouldGo(t, now, "rmoldmail", "-n", "--by", "saved", "30", home)
			if goes, want := len(saved) == 1, what.name == "nothing"; goes != want {
				t.Errorf("by saved %q would go", saved)
			}
			if byName := wouldGo(t, now, "rmoldmail", "-n", "--by", "name", "30", home); len(byName) != 1 {
				t.Errorf("by name %q would go", byName)
			}
		})
	}
}

// TestOneFileSystem proves that with -x nothing that is mounted below a Maildir is
// walked or told of, whether it is another file system or the same once more, whether
// it may be written or not; that without it what cannot be removed there is told; and
// that the Maildir may lie on a file system of its own.
func TestOneFileSystem(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	home := top + "/home"
	box := home + "/Maildir"
	makeMaildirs(t, box, box+"/.Other", top+"/snapshots/hourly.0", top+"/bound")
	for _, name := range []string{"1", "2", "3"} {
		oldFile(t, box+"/cur/"+name, "text\n")
		oldFile(t, top+"/snapshots/hourly.0/cur/"+name, "text\n")
		oldFile(t, top+"/bound/cur/"+name, "text\n")
	}
	must(t, os.Mkdir(box+"/.snapshot", 0o755))
	must(t, os.Mkdir(box+"/.Bound", 0o755))
	giveTo(t, attacker, home)
	giveTo(t, attacker, top+"/bound")
	openParents(t, top)
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		must(t, unix.Mount(source, target, kind, flags, ""))
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	}
	mount(top+"/snapshots", box+"/.snapshot", "", unix.MS_BIND)
	must(t, unix.Mount("", box+"/.snapshot", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	mount(top+"/bound", box+"/.Bound", "", unix.MS_BIND)
	mount("tmpfs", box+"/.Other", "tmpfs", 0)
	makeMaildirs(t, box+"/.Other")
	oldFile(t, box+"/.Other/cur/1", "text\n")
	giveTo(t, attacker, box+"/.Other")

	now := time.Now()
	want := []string{box + "/cur/1", box + "/cur/2", box + "/cur/3"}
	for _, argv := range [][]string{
		{"rmoldmail", "-n", "-x", "10", home},
		{"rmoldmail", "-n", "-x", "-a", "10", home},
		{"rmoldmail", "-n", "--one-file-system", "--max-size", "1", "36500", home},
	} {
		if got := wouldGo(t, now, argv...); !slices.Equal(got, want) {
			t.Errorf("%q: %q would go; want %q", argv, got, want)
		}
	}
	if got := wouldGo(t, now, "rmoldmail", "-n", "10", home); len(got) != 10 {
		t.Errorf("without -x %q would go", got)
	}
	out, errs, status := run(t, now, "rmoldmail", "-x", "10", home)
	if out != "" || errs != "" || status != 0 || len(ls(t, box+"/cur")) != 0 {
		t.Errorf("-x: %q, %q, %d", out, errs, status)
	}
	for _, dir := range []string{top + "/snapshots/hourly.0/cur", top + "/bound/cur", box + "/.Other/cur"} {
		if len(ls(t, dir)) == 0 {
			t.Errorf("%s: nothing is left", dir)
		}
	}
	out, errs, status = run(t, now, "rmoldmail", "10", home)
	if out != "" || status != 1 || strings.Count(errs, ": read-only file system\n") != 3 {
		t.Errorf("without -x: %q, %q, %d", out, errs, status)
	}
	if len(ls(t, top+"/bound/cur")) != 0 || len(ls(t, box+"/.Other/cur")) != 0 {
		t.Error("without -x what is mounted stays")
	}

	// A Maildir that is a file system of its own.
	makeMaildirs(t, top+"/own/Maildir")
	mount("tmpfs", top+"/own/Maildir", "tmpfs", 0)
	makeMaildirs(t, top+"/own/Maildir", top+"/own/Maildir/.Sent")
	oldFile(t, top+"/own/Maildir/cur/1", "text\n")
	oldFile(t, top+"/own/Maildir/.Sent/cur/2", "text\n")
	if got := wouldGo(t, now, "rmoldmail", "-n", "-x", "10", top+"/own"); len(got) != 2 {
		t.Errorf("on a file system of its own: %q", got)
	}
}

// TestImmutable proves that a message which the file system holds fast is named and
// stays, that the others go, and that the quota has these alone.
func TestImmutable(t *testing.T) {
	needRoot(t)
	home, err := filepath.Abs(t.TempDir())
	must(t, err)
	box := home + "/Maildir"
	makeMaildirs(t, box)
	held := box + "/cur/1.held,S=5:2,S"
	oldFile(t, held, "text\n")
	oldFile(t, box+"/cur/2.free,S=5:2,S", "text\n")
	must(t, os.WriteFile(box+"/maildirsize", []byte("1000S\n10 2\n"), 0o644))
	openParents(t, home)
	f, err := os.Open(held)
	must(t, err)
	defer f.Close()
	const immutable = unix.STATX_ATTR_IMMUTABLE // which is FS_IMMUTABLE_FL
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, immutable); err != nil {
		t.Skipf("SKIP no message can be made immutable on this file system: %v", err)
	}
	defer unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0)
	out, errs, status := run(t, time.Now(), "rmoldmail", "10", home)
	if out != "" || errs != "rmoldmail: "+held+": operation not permitted\n" || status != 1 {
		t.Errorf("%q, %q, %d", out, errs, status)
	}
	if left := ls(t, box+"/cur"); len(left) != 1 || left[0].Name() != filepath.Base(held) {
		t.Errorf("left: %v", left)
	}
	quota, err := os.ReadFile(box + "/maildirsize")
	if err != nil || string(quota) != "1000S\n10 2\n-5 -1\n" {
		t.Errorf("maildirsize %q, %v", quota, err)
	}
}
