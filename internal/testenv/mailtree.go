package testenv

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TreeUID is the first user's uid where root runs the test.
const TreeUID = 20000

// A MailTree is a mail store, with users/assign and kowaza.conf, as one host
// sees it.
type MailTree struct {
	Users int
	Dir   string // a temporary directory with all of it
	Store string // the virtual users' homes
	Conf  string // behind links, as a ConfigMap is mounted
}

// NewMailTree makes virtual users, each with a uid of his own where root
// runs the test, in homes of mode 0700: a few old messages and young ones, some
// of them flagged, in two folders, and a quota. Two trees are the same but for
// their paths.
func NewMailTree(t testing.TB, users int) *MailTree {
	t.Helper()
	dir := t.TempDir()
	tr := &MailTree{Users: users, Dir: dir, Store: dir + "/home/popuser", Conf: dir + "/conf/kowaza.conf"}
	now := time.Now()
	var assign strings.Builder
	Check(t, os.MkdirAll(tr.Store, 0o755))
	for i := range users {
		home := fmt.Sprintf("%s/u%03d", tr.Store, i)
		Maildirs(t, home+"/Maildir", home+"/Maildir/.Trash")
		for m := range 6 {
			file := fmt.Sprintf("%s/Maildir%s/cur/%d.M%dP1.mail,S=%d:2,%s", home, []string{"", "/.Trash"}[m%2], m, i, m+5, []string{"S", "S", "FS"}[m%3])
			Check(t, os.WriteFile(file, []byte("text\n"+strings.Repeat("x", m)), 0o600))
			at := now.Add(-time.Duration((m*m*i)%60) * 24 * time.Hour)
			Check(t, os.Chtimes(file, at, at))
		}
		Check(t, os.WriteFile(home+"/Maildir/maildirsize", []byte("1000000S\n45 6\n"), 0o600))
		fmt.Fprintf(&assign, "=u%03d:popuser:%d:%d:%s:::\n", i, TreeUID+i, TreeUID+i, home)
		if os.Geteuid() == 0 {
			tr.Own(t, home, TreeUID+i)
		}
	}
	Check(t, os.MkdirAll(dir+"/qmail/users", 0o755))
	Check(t, os.WriteFile(dir+"/qmail/users/assign", []byte(assign.String()+".\n"), 0o644))
	text := fmt.Sprintf("VMDIR=%s\nVUSER=popuser\nQMAIL=%s/qmail\n", tr.Store, dir)
	Check(t, os.MkdirAll(dir+"/conf/..1", 0o755))
	Check(t, os.WriteFile(dir+"/conf/..1/kowaza.conf", []byte(text), 0o644))
	Check(t, os.Chmod(dir+"/conf/..1/kowaza.conf", 0o644))
	Check(t, os.Symlink("..1", dir+"/conf/..data"))
	Check(t, os.Symlink("..data/kowaza.conf", tr.Conf))
	return tr
}

// Maildirs makes Maildirs or folders, which are their owner's alone.
func Maildirs(t testing.TB, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for _, sub := range []string{"cur", "new", "tmp"} {
			Check(t, os.MkdirAll(dir+"/"+sub, 0o700))
		}
	}
}

// Own gives everything below dir to a user.
func (tr *MailTree) Own(t testing.TB, dir string, uid int) {
	t.Helper()
	Check(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(file, uid, uid)
	}))
}

// Command is a shell command for this tree.
func (tr *MailTree) Command(line string, env ...string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(append(os.Environ(), "KOWAZA_CONF="+tr.Conf), env...)
	return cmd
}

// Run runs a command that must have nothing to say on standard error, and
// returns its lines, sorted.
func Run(t testing.TB, cmd *exec.Cmd) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%q: %v\n%s", cmd.Args, err, &stderr)
	}
	lines := strings.Split(stdout.String(), "\n")
	lines = lines[:len(lines)-1]
	slices.Sort(lines)
	return lines
}

// Snapshot describes all that is left in the tree's mail store.
func (tr *MailTree) Snapshot(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	Check(t, filepath.WalkDir(tr.Store, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d", strings.TrimPrefix(file, tr.Store), info.Mode(), st.Uid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", text)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// OldMail returns the messages of more than 21 days.
func (tr *MailTree) OldMail(t testing.TB) []string {
	t.Helper()
	lines := Run(t, tr.Command("rmmail_virtual -n"))
	if len(lines) < tr.Users || len(lines) > 5*tr.Users {
		t.Fatalf("%d messages to remove: too few or too many to prove anything", len(lines))
	}
	return lines
}

// InPath is an example's text as it runs here: with the commands in PATH.
func InPath(text string) string { return strings.ReplaceAll(text, "/usr/local/bin/", "") }

// oneRun is what one run leaves of a tree of so many users, once that is known.
var oneRun = make(map[int]string)

// AsOneRun proves that what was done to tr is what one run does to a tree like it.
func (tr *MailTree) AsOneRun(t testing.TB) {
	t.Helper()
	if lines := Run(t, tr.Command("rmmail_virtual -n")); len(lines) > 0 {
		t.Errorf("%d old messages are left", len(lines))
	}
	if oneRun[tr.Users] == "" {
		one := NewMailTree(t, tr.Users)
		one.OldMail(t)
		Run(t, one.Command("rmmail_virtual"))
		oneRun[tr.Users] = one.Snapshot(t)
	}
	got := strings.Split(tr.Snapshot(t), "\n")
	for i, want := range strings.Split(oneRun[tr.Users], "\n") {
		if i >= len(got) || got[i] != want {
			t.Errorf("not as one run leaves it, from here on: %s", want)
			return
		}
	}
}
