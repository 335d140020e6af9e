package applets

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kowaza/internal/maildir"
)

// TestFewThreads proves that a process that may have few threads does its work with
// them; and where the runtime cannot go on, that no status says that nothing was
// touched, or that all is done.
func TestFewThreads(t *testing.T) {
	needRoot(t)
	group := ""
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			group = fmt.Sprintf("%s/kowaza-test-%d", dir, os.Getpid())
			break
		}
	}
	if group == "" || os.Mkdir(group, 0o755) != nil {
		t.Skip("no control group can be made")
	}
	defer os.Remove(group)
	if _, err := os.Stat(group + "/pids.max"); err != nil {
		t.Skip("no pids controller")
	}
	bin := staticBinary(t)
	for _, limit := range []string{"6", "8", "12", "20"} {
		dir := fastDir(t)
		makeMaildirs(t, dir+"/home/Maildir")
		for i := range 20000 {
			oldFile(t, fmt.Sprintf("%s/home/Maildir/cur/%d.h:2,S", dir, i), "x")
		}
		must(t, os.WriteFile(group+"/pids.max", []byte(limit), 0o644))
		cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$1" 10 "$2"`, group, bin+"/rmoldmail", dir+"/home")
		e := runEnd(t, cmd)
		if left := len(ls(t, dir+"/home/Maildir/cur")); e.status != 0 && e.status != 134 && e.signal != 6 ||
			e.status == 0 && e.signal == 0 && (left > 0 || e.stderr != "") || limit == "12" && e.status != 0 {
			t.Errorf("%s threads: status %d, signal %v, %d left: %.200q", limit, e.status, e.signal, left, e.stderr)
		}
	}
}

func ls(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	names, err := os.ReadDir(dir)
	must(t, err)
	return names
}

// TestImpossibleSizes proves that sizes and dates that no message has neither turn a
// sum into its opposite nor are shown as nonsense.
func TestImpossibleSizes(t *testing.T) {
	bin := staticBinary(t)
	dir := fastDir(t)
	makeMaildirs(t, dir+"/home/Maildir")
	must(t, os.WriteFile(dir+"/home/Maildir/maildirsize", []byte("1000S\n"), 0o644))
	for i := range 12000 {
		oldFile(t, fmt.Sprintf("%s/home/Maildir/cur/%d,S=999999999999", dir, i), "")
	}
	e := runEnd(t, exec.Command(bin+"/rmoldmail", "10", dir+"/home"))
	text, err := os.ReadFile(dir + "/home/Maildir/maildirsize")
	must(t, err)
	if want := "sizes add up to more than any quota, quota not updated\n"; string(text) != "1000S\n" || e.status != 1 || !strings.HasSuffix(e.stderr, want) {
		t.Errorf("status %d, %q, maildirsize %q", e.status, e.stderr, text)
	}
	for s, want := range map[maildir.Stamp]string{
		{Sec: -9e18}: "before 0001-01-01", {Sec: 9e18}: "after 9999-12-30", {Sec: 43200}: "1970-01-01",
	} {
		if got := date(s); got != want {
			t.Errorf("%v: %s; want %s", s, got, want)
		}
	}
}
