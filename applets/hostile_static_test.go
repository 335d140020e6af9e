package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostileHome makes a home whose Maildir is a user's, beside a directory of
// root's, and returns both.
func hostileHome(t *testing.T, folders ...string) (home, outside string) {
	t.Helper()
	dir := t.TempDir()
	openParents(t, dir)
	home, outside = dir+"/home", dir+"/outside"
	makeMaildirs(t, home+"/Maildir")
	for _, f := range folders {
		makeMaildirs(t, home+"/Maildir/"+f)
	}
	must(t, os.Mkdir(outside, 0o755))
	return home, outside
}

// TestHostileKinds proves that in cur nothing but a regular file is a message,
// whatever its name and date, that it holds nobody up, and that of a hard link
// to what is another's no more than the user's own name goes.
func TestHostileKinds(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	home, outside := hostileHome(t)
	cur := home + "/Maildir/cur/"
	oldFile(t, outside+"/file", "root's\n")
	must(t, os.Mkdir(outside+"/dir", 0o755))
	oldFile(t, outside+"/dir/file", "root's\n")

	kept := []string{outside + "/file", outside + "/dir/file"}
	keep := func(name string, err error) {
		t.Helper()
		must(t, err)
		kept = append(kept, cur+name)
	}
	keep("1.fifo", unix.Mkfifo(cur+"1.fifo", 0o644))
	keep("1.null", unix.Mknod(cur+"1.null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	keep("1.tty", unix.Mknod(cur+"1.tty", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))))
	keep("1.loop", unix.Mknod(cur+"1.loop", unix.S_IFBLK|0o666, int(unix.Mkdev(7, 77))))
	// The path of a socket is short: it is made in the directory.
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(socket)
	fd, err := unix.Open(cur, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	keep("1.socket", unix.Bind(socket, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/1.socket", fd)}))
	for name, target := range map[string]string{
		"file": outside + "/file", "dir": outside + "/dir", "relative": "../../../outside/dir",
		"dangling": "nowhere", "loop": "1.link-loop", "proc": "/proc/self/cwd", "long": strings.Repeat("x", 4095), "up": "..",
	} {
		keep("1.link-"+name, os.Symlink(target, cur+"1.link-"+name))
	}
	keep("1.M1P1.mail:2,S", os.Mkdir(cur+"1.M1P1.mail:2,S", 0o755))
	oldFile(t, cur+"1.M1P1.mail:2,S/1.M2P2.mail:2,S", "no message\n")
	keep("1.M1P1.mail:2,S/1.M2P2.mail:2,S", nil)
	for _, name := range kept { // as old as any message, and links themselves
		old := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, name, old, unix.AT_SYMLINK_NOFOLLOW))
	}
	for name, sec := range map[string]int64{"future": 1 << 33, "tomorrow": 1 << 31} {
		oldFile(t, cur+name, "text\n")
		keep(name, unix.UtimesNanoAt(unix.AT_FDCWD, cur+name, []unix.Timespec{{Sec: sec}, {Sec: sec}}, 0))
	}

	var going []string
	gone := func(name string, err error) {
		t.Helper()
		must(t, err)
		going = append(going, cur+name)
	}
	gone("1.hard", os.Link(outside+"/file", cur+"1.hard"))
	for _, name := range []string{
		strings.Repeat("x", 255), strings.Repeat("\n", 255), strings.Repeat("\xff", 255), strings.Repeat("あ", 85),
		"-rf", "--", "-", "~", "*", "\x1b]0;x\a", "\r", "\x7f", "\u009b2J", "'; rm -rf .;'", "$(id)", "%s%n", " ", ":2,S",
	} {
		oldFile(t, cur+name, "text\n")
		gone(name, nil)
	}
	for name, sec := range map[string]int64{"1901": -1 << 31, "1970": 0, "1969": -1} {
		oldFile(t, cur+name, "text\n")
		gone(name, unix.UtimesNanoAt(unix.AT_FDCWD, cur+name, []unix.Timespec{{Sec: sec}, {Sec: sec}}, 0))
	}
	// Not the hard link: it is root's file.
	must(t, filepath.Walk(home, func(file string, _ os.FileInfo, err error) error {
		if err != nil || file == cur+"1.hard" {
			return err
		}
		return os.Lchown(file, attacker, attacker)
	}))

	e := runEnd(t, exec.Command(bin+"/rmoldmail", "-n", "10", home))
	if lines := strings.Count(e.stdout, "\n"); e.status != 0 || e.stderr != "" || lines != len(going) {
		t.Errorf("-n: status %d, %d lines of %d, %q", e.status, lines, len(going), e.stderr)
	}
	for _, c := range e.stdout {
		if c != '\n' && (c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0xfffd) {
			t.Errorf("%q would reach the terminal", c)
			break
		}
	}
	if e = runEnd(t, exec.Command(bin+"/rmoldmail", "10", home)); e.status != 0 || e.stderr != "" || e.late {
		t.Errorf("status %d, %q", e.status, e.stderr)
	}
	for _, file := range kept {
		if !exists(file) {
			t.Errorf("%q is gone", file)
		}
	}
	for _, file := range going {
		if exists(file) {
			t.Errorf("%q is there", file)
		}
	}
	if text, err := os.ReadFile(outside + "/file"); err != nil || string(text) != "root's\n" {
		t.Errorf("root's file: %q, %v", text, err)
	}
	// -a takes no other kinds.
	if e = runEnd(t, exec.Command(bin+"/rmoldmail", "-a", "10", home)); e.status != 0 || e.stderr != "" {
		t.Errorf("-a: status %d, %q", e.status, e.stderr)
	}
	for _, file := range kept {
		if !exists(file) && !strings.HasSuffix(file, ":2,S/1.M2P2.mail:2,S") {
			t.Errorf("-a: %q is gone", file)
		}
	}
}

// TestHostileQuota proves that a maildirsize of any kind costs no more than a
// message: it is written to only where it is a regular file that the owner may
// write, and then only at its end.
func TestHostileQuota(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	const line = "-5 -1\n"
	for _, test := range []struct {
		name string
		make func(file, outside string) error
		why  string // what is said; empty: it is booked
	}{
		{"regular", func(f, _ string) error { return os.WriteFile(f, []byte("1S\n"), 0o644) }, ""},
		{"empty", func(f, _ string) error { return os.WriteFile(f, nil, 0o644) }, ""},
		{"binary", func(f, _ string) error { return os.WriteFile(f, []byte("\x00\xff\x1b[2J\r"), 0o644) }, ""},
		{"a line of 1 MB", func(f, _ string) error { return os.WriteFile(f, make([]byte, 1<<20), 0o644) }, ""},
		{"huge", func(f, _ string) error {
			if err := os.WriteFile(f, nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(f, 1<<40)
		}, ""},
		{"read-only", func(f, _ string) error { return os.WriteFile(f, []byte("1S\n"), 0o444) }, "permission denied"},
		{"link", func(f, outside string) error { return os.Symlink(outside+"/quota", f) }, "not a regular file"},
		{"link to nothing", func(f, outside string) error { return os.Symlink(outside+"/new", f) }, "not a regular file"},
		{"FIFO", func(f, _ string) error { return unix.Mkfifo(f, 0o644) }, "not a regular file"},
		{"device", func(f, _ string) error { return unix.Mknod(f, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }, "not a regular file"},
		{"directory", func(f, _ string) error { return os.Mkdir(f, 0o755) }, "not a regular file"},
		{"hard link to root's file", func(f, outside string) error { return os.Link(outside+"/quota", f) }, "has a second name"},
	} {
		home, outside := hostileHome(t)
		oldFile(t, outside+"/quota", "root's\n")
		file := home + "/Maildir/maildirsize"
		oldFile(t, home+"/Maildir/cur/1,S=5", "text\n")
		giveTo(t, attacker, home)
		must(t, test.make(file, outside))
		if !strings.HasPrefix(test.name, "hard") {
			must(t, os.Lchown(file, attacker, attacker))
		}
		before, err := os.Lstat(file)
		must(t, err)
		e := runEnd(t, exec.Command(bin+"/rmoldmail", "10", home))
		if test.why == "" {
			after, err := os.Lstat(file)
			must(t, err)
			tail := make([]byte, len(line))
			f, err := os.Open(file)
			must(t, err)
			_, err = f.ReadAt(tail, before.Size())
			f.Close()
			if err != nil || string(tail) != line || after.Size() != before.Size()+int64(len(line)) || e.status != 0 || e.stderr != "" {
				t.Errorf("%s: status %d, %q, ends in %q", test.name, e.status, e.stderr, tail)
			}
		} else if want := "rmoldmail: " + file + ": " + test.why; e.status != 1 || !strings.HasPrefix(e.stderr, want) || strings.Count(e.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q; want %q", test.name, e.status, e.stderr, want)
		}
		if text, err := os.ReadFile(outside + "/quota"); err != nil || string(text) != "root's\n" || exists(outside+"/new") {
			t.Errorf("%s: root's file is %q, %v", test.name, text, err)
		}
		if exists(home + "/Maildir/cur/1,S=5") {
			t.Errorf("%s: the message is there", test.name)
		}
	}
}

// TestHostileFolders proves that any number of folders, with names as long as
// they can be and below each other deeper than a path can be long, cost no more
// descriptors than there are, and that none is left out.
func TestHostileFolders(t *testing.T) {
	bin := staticBinary(t)
	home, _ := hostileHome(t)
	dir := home + "/Maildir"
	n := soaking(t, 5000, 100000)
	for i := range n {
		folder := fmt.Sprintf("%s/.%0240d", dir, i)
		for _, sub := range []string{"cur", "new", "tmp"} {
			must(t, os.MkdirAll(folder+"/"+sub, 0o755))
		}
		if i%10 == 0 {
			oldFile(t, folder+"/new/old", "text\n")
		}
	}
	long := strings.Repeat("\x1b", 255)
	deep, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 40 {
		must(t, unix.Mkdirat(deep, long, 0o755))
		next, err := unix.Openat(deep, long, unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(deep)
		deep = next
	}
	makeMaildirs(t, fmt.Sprintf("/proc/self/fd/%d", deep))
	oldFile(t, fmt.Sprintf("/proc/self/fd/%d/cur/old", deep), "text\n")
	unix.Close(deep)
	want := fmt.Sprintf("rmoldmail: %s: %d messages, %[2]d removed, %d bytes,", dir, (n+9)/10+1, 5*((n+9)/10+1))
	e := runEnd(t, exec.Command("sh", "-c", `ulimit -n 64; exec "$0" -v 10 "$1"`, bin+"/rmoldmail", home))
	if e.status != 0 || !strings.HasPrefix(e.stderr, want) || strings.Count(e.stderr, "\n") != 1 {
		t.Errorf("status %d, %.500q; want %q", e.status, e.stderr, want)
	}
}

// TestReadOnly proves that on a file system that became read-only every old
// message is an error, none is booked, and nothing is gone.
func TestReadOnly(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	home, _ := hostileHome(t, ".Sent")
	oldFile(t, home+"/Maildir/maildirsize", "1S\n")
	oldFile(t, home+"/Maildir/cur/1", "text\n")
	oldFile(t, home+"/Maildir/.Sent/new/2", "text\n")
	giveTo(t, attacker, home)
	const script = `mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" 10 "$1"`
	e := runEnd(t, exec.Command(needCommand(t, "unshare"), "-m", "sh", "-c", script, bin+"/rmoldmail", home))
	for _, file := range []string{"cur/1", ".Sent/new/2"} {
		if want := fmt.Sprintf("rmoldmail: %s/Maildir/%s: read-only file system\n", home, file); !strings.Contains(e.stderr, want) {
			t.Errorf("%q lacks %q", e.stderr, want)
		}
		if !exists(home + "/Maildir/" + file) {
			t.Errorf("%s is gone", file)
		}
	}
	if text, err := os.ReadFile(home + "/Maildir/maildirsize"); e.status != 1 || strings.Count(e.stderr, "\n") != 2 || string(text) != "1S\n" {
		t.Errorf("status %d, %q; quota %q, %v", e.status, e.stderr, text, err)
	}
}
