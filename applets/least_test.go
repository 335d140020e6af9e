package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A traced call is one with which a thread touched something, and the
// file-system identity that the thread had then.
type tracedCall struct {
	call, path, rest string
	uid, gid         string
	groups           string
}

// readIdentities reads what strace -f -y wrote: each call with the identity of
// its thread. A new thread has that of the one that made it, which is not
// known here: the process's.
func readIdentities(t *testing.T, file string) (calls []tracedCall) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	now := make(map[string]*tracedCall)
	for line := range strings.SplitSeq(string(text), "\n") {
		m := faultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		pid, call, rest := m[1], m[2], m[3]
		id := now[pid]
		if id == nil {
			id = &tracedCall{uid: "0", gid: "0", groups: "process"}
			now[pid] = id
		}
		arg, _, _ := strings.Cut(rest, ")")
		arg = strings.TrimSuffix(arg, " <unfinished ...>")
		switch call {
		case "setfsuid":
			if arg != "-1" {
				id.uid = arg
			}
			continue
		case "setfsgid":
			if arg != "-1" {
				id.gid = arg
			}
			continue
		case "setgroups":
			id.groups = arg
			continue
		}
		c := tracedCall{call: call, rest: rest, uid: id.uid, gid: id.gid, groups: id.groups}
		at, name := fdPath.FindStringSubmatch(rest), quoted.FindStringSubmatch(rest)
		switch {
		case name != nil && strings.HasPrefix(name[1], "/") && call != "write":
			c.path = name[1]
		case at == nil:
			continue
		case name == nil || call == "write" || call == "read":
			c.path = at[2]
		default:
			c.path = at[2] + "/" + name[1]
		}
		calls = append(calls, c)
	}
	return calls
}

// TestOwnerIdentity proves that root reads, stats, removes and books below a
// Maildir with the uid, the gid and no other group but those of its owner:
// every such call of every thread, for several owners at once.
func TestOwnerIdentity(t *testing.T) {
	needRoot(t)
	needCommand(t, "strace")
	bin := staticBinary(t)
	dir := t.TempDir()
	openParents(t, dir)
	owners := make(map[string]int)
	var assign strings.Builder
	p := &mailPlace{}
	for i := range 6 {
		home := fmt.Sprintf("%s/store/u%d", dir, i)
		uid := 23021 + i/2 // of some owners there is more than one
		owners[home+"/Maildir"] = uid
		p.add(t, home, uid)
		fmt.Fprintf(&assign, "=u%d:nobody:%d:%[2]d:%s:::\n", i, uid, home)
	}
	must(t, os.MkdirAll(dir+"/users", 0o755))
	must(t, os.WriteFile(dir+"/users/assign", []byte(assign.String()+".\n"), 0o644))
	must(t, os.WriteFile(dir+"/kowaza.conf", []byte("VMDIR="+dir+"/store\nQMAIL="+dir+"\n"), 0o644))
	trace := dir + "/trace"
	cmd := exec.Command("strace", "-f", "-y", "-qq", "-s", "300", "-o", trace,
		"-e", "trace=openat,newfstatat,getdents64,unlinkat,write,setfsuid,setfsgid,setgroups", "-e", "signal=none", bin+"/rmmail_virtual", "-j", "3", "-d", "10")
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+dir+"/kowaza.conf")
	if e := runEnd(t, cmd); e.status != 0 || e.stderr != "" || len(p.left()) > 0 {
		t.Fatalf("status %d, %q, left %q", e.status, e.stderr, p.left())
	}
	checked, removed := 0, 0
	pathOnly := regexp.MustCompile(`\bO_PATH\b`)
	for _, c := range readIdentities(t, trace) {
		for maildir, owner := range owners {
			// The way to it is found with the process's own rights, and by O_PATH only.
			if !strings.HasPrefix(c.path+"/", maildir+"/") || c.call == "openat" && pathOnly.MatchString(c.rest) {
				continue
			}
			checked++
			if c.call == "unlinkat" {
				removed++
			}
			uid := strconv.Itoa(owner)
			if c.uid != uid || c.gid != uid || c.groups != "1, ["+uid+"]" {
				t.Errorf("%s %s with fsuid %s, fsgid %s, groups %s; want %s", c.call, c.path, c.uid, c.gid, c.groups, uid)
			}
		}
	}
	t.Logf("%d calls below Maildirs, %d of them removals", checked, removed)
	if removed != len(p.old) || checked < 4*removed/2 {
		t.Errorf("%d calls, %d removals of %d", checked, removed, len(p.old))
	}
}

// TestSecretUntold proves that a password, whatever is wrong with it or with
// the command, is not repeated in a message, and that no child is given it,
// since there is none.
func TestSecretUntold(t *testing.T) {
	bin := staticBinary(t)
	strace := needCommand(t, "strace")
	const secret = "s3cr3t-Passw0rd"
	for _, test := range []struct {
		argv   []string
		stdin  string
		status int
	}{
		{[]string{"mkdigest", "-p", "<1@x>"}, secret + "\n", 0},
		{[]string{"mkdigest", "-p", "<1@x>"}, secret + "\x00\n", 1},
		{[]string{"mkdigest", "-p", "<1@x>"}, strings.Repeat(secret, 5000), 1},
		{[]string{"mkdigest", "-p", "<1@x>", "more"}, secret + "\n", 2},
		{[]string{"smtpauthstr", "u"}, secret + "\n", 0},
		{[]string{"smtpauthstr", "u"}, secret + "\x00", 1},
		{[]string{"smtpauthstr", "-c", "!", "u"}, secret + "\n", 2},
		{[]string{"smtpauthstr", "u", secret, secret}, "", 2},
		{[]string{"smtpauthstr", "-l", "-z", "x", "u", secret}, "", 2},
		{[]string{"smtpauthstr", "--nosuch=" + secret, "u"}, "", 2},
		{[]string{"smtpauthstr", "-d", secret}, "", 2},
		{[]string{"mkdigest", "<1@x>" + secret, secret}, "", 2},
		{[]string{"jmailsend", "-s", "smtp", "-u", "u", secret}, "", 2},
		{[]string{"jmailsend", "-s", "smtp://u:" + secret + "@localhost"}, "", 2},
		{[]string{"jmailsend", "--password=" + secret}, "", 2},
	} {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command(strace, append([]string{"-f", "-qq", "-s", "1000", "-o", trace, "-e", "trace=execve,fork,vfork,openat", bin + "/" + test.argv[0]}, test.argv[1:]...)...)
		cmd.Stdin = strings.NewReader(test.stdin)
		e := runEnd(t, cmd)
		if e.status != test.status || strings.Contains(e.stderr, secret) || strings.Contains(e.stderr, "s3cr3t") {
			t.Errorf("%q: status %d, %q; want %d", test.argv, e.status, e.stderr, test.status)
		}
		text, err := os.ReadFile(trace)
		must(t, err)
		if n := strings.Count(string(text), "execve("); n != 1 || strings.Contains(string(text), "O_WRONLY") || strings.Contains(string(text), "O_CREAT") {
			t.Errorf("%q: %d programs, or a file was written\n%.500s", test.argv, n, text)
		}
	}
}
