package applets

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kowaza/internal/dialogue/dialoguetest"
	"kowaza/internal/queue/queuetest"
)

// A faultScene is an applet at work in a directory of its own, of which each
// system call can be made to fail.
type faultScene struct {
	name   string // of the applet
	what   string
	calls  []string // to fail, by the errors of faultErrors or of "call:ERROR,..."
	status int      // of a clean run
	fail   int      // of one that met a fault
	vanish []string // calls by which a message that has gone is noticed: ENOENT is no error there
	root   bool
	make   func(t *testing.T, dir string) *faultPlace
}

// A faultPlace is what a scene looks like before a run.
type faultPlace struct {
	args  []string
	env   []string
	stdin string

	stdout string          // of a clean run, its lines in any order
	left   func() []string // paths at which something is left to be done
	kept   func() error    // says what is lost that nobody asked to lose
	once   bool            // a second run does not bring things in order
	number bool            // a fault is to blame for the message of that number, or for all
	unread bool            // what cannot be read may go all the same
	talk   bool            // standard output is left out of account
	whole  bool            // a fault may hold up all that there is to do
}

// faultErrors are what a call may meet: what the kernel documents and what
// file systems have been seen to answer.
const faultErrors = "EIO,EACCES,EROFS,ENOSPC,EINTR,EMFILE,ENOENT,EPERM"

// A faultHit is a call of ours that a fault has met or could meet.
type faultHit struct {
	call string
	nth  int    // call of that name by its thread
	path string // that it was about, empty where that is all
	met  bool   // a fault was injected
	talk bool   // a write to standard error
}

var (
	faultLine = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	fdPath    = regexp.MustCompile(`^(?:AT_FDCWD|(\d+))<([^>]*)>`)
	quoted    = regexp.MustCompile(`^[^"]*"((?:[^"\\]|\\.)*)"`)
)

// readFaults reads what strace -f -y wrote and returns the calls that are the
// applet's own: not the runtime's, which reads below /proc and /sys when it
// starts, and not those of children.
func readFaults(t *testing.T, file, dir string) (own []*faultHit) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var homes []string // of logins
	accounts, err := os.ReadFile("/etc/passwd")
	must(t, err)
	for line := range strings.Lines(string(accounts)) {
		if fields := strings.Split(line, ":"); len(fields) == 7 {
			homes = append(homes, fields[5])
		}
	}
	count := make(map[string]int)
	execs := make(map[string]int)
	first := ""
	last := make(map[string]*faultHit)
	for line := range strings.SplitSeq(string(text), "\n") {
		m := faultLine.FindStringSubmatch(line)
		if m == nil { // the rest of a call, or an end
			pid, _, _ := strings.Cut(line, " ")
			if h := last[pid]; h != nil && strings.Contains(line, "(INJECTED)") {
				h.met = true
			}
			continue
		}
		pid, call, rest := m[1], m[2], m[3]
		if first == "" {
			first = pid
		}
		if call == "execve" && pid != first {
			execs[pid]++
		}
		if call == "execve" || execs[pid] > 0 {
			continue
		}
		count[pid+call]++
		h := &faultHit{call: call, nth: count[pid+call], met: strings.Contains(line, "(INJECTED)")}
		last[pid] = h
		at := fdPath.FindStringSubmatch(rest)
		name := quoted.FindStringSubmatch(rest)
		switch {
		case strings.HasPrefix(call, "set"), call == "pipe2", call == "socket", call == "connect":
		case at != nil && (call == "read" || call == "write" || call == "fstat") && len(at[1]) == 1 && at[1] < "3":
			h.talk = at[1] == "2"
		case name != nil && strings.HasPrefix(name[1], "/") && !strings.HasPrefix(call, "write") && call != "read":
			h.path = name[1]
		case at == nil:
			continue
		case strings.HasPrefix(at[2], "pipe:"), strings.HasPrefix(at[2], "socket:"):
		case call == "read" || call == "write" || call == "pwrite64" || name == nil || name[1] == ".":
			h.path = at[2]
		default:
			h.path = strings.TrimSuffix(at[2], "/") + "/" + name[1]
			// That these three are there is asked of the directory.
			if n := name[1]; call == "newfstatat" && (n == "cur" || n == "new" || n == "tmp") {
				h.path = at[2]
			}
		}
		if i := strings.Index(h.path, "/."); i > 0 && strings.Contains(h.path, ".eml.") {
			h.path = h.path[:i]
		}
		switch {
		case h.path == "", strings.HasPrefix(h.path, dir), strings.HasPrefix(dir, strings.TrimSuffix(h.path, "/")+"/"), h.path == "/etc/passwd", strings.HasPrefix(h.path, "/proc/self/fd/"):
			own = append(own, h)
		case call == "newfstatat" && slices.Contains(homes, h.path): // no virtual user may have it
			own = append(own, h)
		}
	}
	return own
}

// blames reports whether what is left at path is explained by the fault.
func (h *faultHit) blames(dir, path string, number bool) bool {
	if name := filepath.Base(h.path); number {
		return len(name) < 3 || strings.Trim(name, "0123456789") != "" || name == filepath.Base(path)
	}
	return h.path == "" || strings.HasPrefix(h.path, dir+"/conf") || !strings.HasPrefix(h.path, dir) || strings.HasPrefix(path, h.path)
}

// strace runs a scene with some calls traced and one perhaps failing.
func (s *faultScene) strace(t *testing.T, p *faultPlace, out, calls, inject string) ending {
	t.Helper()
	args := []string{"-f", "-y", "-qq", "-s", "300", "-o", out, "-e", "trace=execve," + calls, "-e", "signal=none"}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	args = append(append(args, staticBinary(t)+"/"+s.name), p.args...)
	cmd := exec.Command("strace", args...)
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), p.env...)
	cmd.Stdin = strings.NewReader(p.stdin)
	return runEnd(t, cmd)
}

// callNames are the calls of a scene without their errors.
func (s *faultScene) callNames() string {
	var names []string
	for _, c := range s.calls {
		name, _, _ := strings.Cut(c, ":")
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// TestFaults proves of every applet that opens, reads, writes, locks or removes
// anything, with each of its calls failing in each way at several places: the
// status is 0 only where all is done (an interrupted call is made again; a
// message that has gone is nobody's fault), else there is a message; what has
// nothing to do with the fault is still done; nothing young or foreign goes,
// and what is left is such that the next run does the rest; and it neither
// crashes nor hangs.
func TestFaults(t *testing.T) {
	needCommand(t, "strace")
	staticBinary(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, s := range faultScenes {
		t.Run(s.name+"/"+s.what, func(t *testing.T) {
			if s.root {
				needRoot(t)
			}
			t.Parallel()
			s.run(t, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
}

func (s *faultScene) run(t *testing.T, r *rand.Rand) {
	base := fastDir(t)
	must(t, os.Chmod(base, 0o711))
	begin := func(name string) (string, *faultPlace) {
		dir := filepath.Join(base, name)
		must(t, os.Mkdir(dir, 0o755))
		return dir, s.make(t, dir)
	}
	// Where can a fault be put?
	dir, p := begin("clean")
	e := s.strace(t, p, base+"/trace", s.callNames(), "")
	if e.status != s.status || e.stderr != "" || !p.said(e.stdout) || len(p.left()) > 0 {
		t.Fatalf("without a fault: status %d, %q, %q (want %q); left %q", e.status, e.stderr, e.stdout, p.stdout, p.left())
	}
	must(t, p.kept())
	places := make(map[string][]int)
	for _, h := range readFaults(t, base+"/trace", dir) {
		if !slices.Contains(places[h.call], h.nth) {
			places[h.call] = append(places[h.call], h.nth)
		}
	}
	trials, hit, harmless := 0, 0, 0
	for _, c := range s.calls {
		call, errs, ok := strings.Cut(c, ":")
		if !ok {
			errs = faultErrors
		}
		nths := places[call]
		if len(nths) == 0 {
			t.Errorf("no call of %s", call)
		}
		slices.Sort(nths)
		// The first, the last, and some between.
		chosen := nths
		if n := soaking(t, 3, 20); len(nths) > n {
			chosen = []int{nths[0], nths[len(nths)-1]}
			for len(chosen) < n {
				if k := nths[r.IntN(len(nths))]; !slices.Contains(chosen, k) {
					chosen = append(chosen, k)
				}
			}
		}
		for _, fault := range strings.Split(errs, ",") {
			for _, nth := range chosen {
				inject := call + ":error=" + fault + ":when=" + strconv.Itoa(nth)
				if n, ok := strings.CutPrefix(fault, "returns-"); ok {
					inject = call + ":retval=" + n + ":when=" + strconv.Itoa(nth)
				}
				trials++
				n, quiet := s.trial(t, begin, fmt.Sprint(trials), base, call, fault, inject)
				hit += n
				harmless += quiet
			}
		}
	}
	t.Logf("%d trials, %d calls failed, %d of them without harm", trials, hit, harmless)
}

// trial makes one call fail and tells how many were met, and how many of these
// without harm.
func (s *faultScene) trial(t *testing.T, begin func(string) (string, *faultPlace), name, base, call, fault, inject string) (hit, harmless int) {
	dir, p := begin(name)
	defer os.RemoveAll(dir)
	trace := base + "/trace-" + name
	defer os.Remove(trace)
	e := s.strace(t, p, trace, s.callNames(), inject)
	var hits []*faultHit
	mute := false
	for _, h := range readFaults(t, trace, dir) {
		if h.met {
			hits = append(hits, h)
			mute = mute || h.talk
		}
	}
	left := p.left()
	said := false
	bad := func(format string, a ...any) {
		t.Helper()
		if said {
			return
		}
		said = true
		t.Errorf("%s: %s\nstatus %d, standard error %.500q, left %.500q, met %.500s", inject, fmt.Sprintf(format, a...), e.status, e.stderr, left, showHits(hits))
	}
	if e.late || e.signal != 0 || e.crashed() {
		bad("hangs: %v, signal %v", e.late, e.signal)
	}
	if err := p.kept(); err != nil {
		bad("%v", err)
	}
	retried := fault == "EINTR" || fault == "ENOENT" && slices.Contains(s.vanish, call)
	switch {
	case e.status == s.status:
		if len(hits) > 0 && !retried && !(len(left) == 0 && p.unharmed(hits, fault)) {
			bad("nobody was told")
		}
		if (len(left) > 0 || !p.said(e.stdout)) && fault != "ENOENT" {
			bad("not all is done")
		}
		harmless = len(hits)
	case e.status != s.fail:
		bad("status %d; want %d", e.status, s.fail)
	case fault == "EINTR" && len(hits) > 0:
		bad("the call was not made again")
	case len(hits) == 0:
		// The fault met the runtime, or a child.
	case !mute && !isTalk(s.name, e.stderr):
		bad("no message")
	}
	for _, path := range left {
		if len(hits) > 0 && !p.whole && !slices.ContainsFunc(hits, func(h *faultHit) bool { return h.blames(dir, path, p.number) }) {
			bad("%s was not done", path)
		}
	}
	if !p.once {
		cmd := exec.Command(staticBinary(t)+"/"+s.name, p.args...)
		cmd.Env = append(os.Environ(), p.env...)
		cmd.Stdin = strings.NewReader(p.stdin)
		again := runEnd(t, cmd)
		left := slices.DeleteFunc(p.left(), func(path string) bool {
			// Without its other pieces it passes for half received, and qmail-send
			// removes it.
			return p.number && strings.Contains(path, "/mess/")
		})
		if err := p.kept(); err != nil || len(left) > 0 || again.status > 1 {
			bad("after the next run: %v, %q, status %d, %q", err, left, again.status, again.stderr)
		}
	}
	return len(hits), harmless
}

func showHits(hits []*faultHit) (text string) {
	for _, h := range hits {
		text += fmt.Sprintf("%+v ", *h)
	}
	return text
}

// unharmed reports whether calls that failed need not be told of once all is done.
func (p *faultPlace) unharmed(hits []*faultHit, fault string) bool {
	return !slices.ContainsFunc(hits, func(h *faultHit) bool {
		switch {
		case p.unread && (h.call == "openat" || h.call == "read"):
		case p.number && h.call == "openat" && fault == "EPERM": // then without O_NOATIME
		case h.call == "renameat2" && (fault == "ENOSYS" || fault == "EINVAL"): // then link and unlink
		case h.call == "read" && h.path == "/etc/passwd": // behind whom it was about
		default:
			return true
		}
		return false
	})
}

// said reports whether standard output is what it should be.
func (p *faultPlace) said(stdout string) bool { return p.talk || sameLines(stdout, p.stdout) }

// sameLines reports whether two texts are of the same lines in any order.
func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// isTalk reports whether text is lines that all begin with the applet's name, but
// for those of its child.
func isTalk(name, text string) bool {
	if text == "" {
		return false
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name+": ") && !(name == "jmailsend" && strings.HasPrefix(line, "cat: ")) {
			return false
		}
	}
	return strings.Contains(text, name+": ")
}

// cleaningCalls are what an applet that cleans Maildirs asks of the kernel.
var cleaningCalls = []string{
	"openat", "getdents64:EIO,EINTR,EACCES,ENOENT", "newfstatat:EIO,EACCES,EINTR,ENOENT", "fstat:EIO,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,ENOENT,EPERM",
	"write:EIO,ENOSPC,EINTR,EROFS", "setgroups:EPERM,ENOMEM", "setfsgid:returns-65534,returns-12345,EPERM", "setfsuid:returns-65534,returns-12345,EPERM",
}

// vanishing are those by which mail that moved is noticed.
var vanishing = []string{"openat", "newfstatat", "unlinkat", "getdents64"}

var faultScenes = []*faultScene{
	{name: "rmoldmail", what: "one Maildir", calls: cleaningCalls, fail: 1, vanish: vanishing, root: true,
		make: func(t *testing.T, dir string) *faultPlace {
			p := &mailPlace{}
			p.add(t, dir+"/home", 23011)
			return &faultPlace{args: []string{"-j", "1", "10", dir + "/home"}, left: p.left, kept: p.lost}
		}},
	{name: "rmmail_virtual", what: "three users", calls: append([]string{"read:EIO,EINTR"}, cleaningCalls...), fail: 1, vanish: vanishing, root: true,
		make: func(t *testing.T, dir string) *faultPlace {
			p := &mailPlace{}
			assign := ""
			// Accounts that /etc/passwd has: getent is not asked.
			for i, name := range []string{"daemon", "bin", "sys"} {
				home := dir + "/store/" + name
				p.add(t, home, 23011+i)
				assign += fmt.Sprintf("=%s:nobody:%d:%[2]d:%s:::\n", name, 23011+i, home)
			}
			must(t, os.MkdirAll(dir+"/conf/users", 0o755))
			must(t, os.WriteFile(dir+"/conf/users/assign", []byte(assign+".\n"), 0o644))
			must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("VMDIR="+dir+"/store\nQMAIL="+dir+"/conf\nDAYS=10\n"), 0o644))
			return &faultPlace{args: []string{"-j", "1"}, env: []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"}, left: p.left, kept: p.lost}
		}},
	{name: "qqclean", what: "save and remove", fail: 1,
		calls: []string{"openat", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "fstat:EIO,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM",
			"read:EIO,EINTR", "write:EIO,ENOSPC,EINTR", "fsync:EIO,ENOSPC,EINTR", "renameat2:EIO,EACCES,ENOSPC,EINTR,EPERM,ENOSYS,EINVAL", "flock:EINTR,ENOLCK,EBADF"},
		vanish: []string{"openat"},
		make: func(t *testing.T, dir string) *faultPlace {
			p := newFilledQueue(t, dir+"/queue", dir+"/save")
			return &faultPlace{args: append([]string{"-Q", p.q.Dir, "-s", dir + "/save"}, p.numbers()...), left: p.left, kept: p.lost, once: true, number: true}
		}},
	{name: "qqclean", what: "remove", fail: 1,
		calls: []string{"openat", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "flock:EINTR,ENOLCK"},
		make: func(t *testing.T, dir string) *faultPlace {
			p := newFilledQueue(t, dir+"/queue", "")
			return &faultPlace{args: append([]string{"-Q", p.q.Dir}, p.numbers()...), left: p.left, kept: p.lost, number: true, unread: true}
		}},
	{name: "qmHandle", what: "remove all", fail: 1,
		calls: []string{"openat", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "read:EIO,EINTR", "flock:EINTR,ENOLCK"},
		make: func(t *testing.T, dir string) *faultPlace {
			must(t, os.MkdirAll(dir+"/conf", 0o755))
			p := newFilledQueue(t, dir+"/conf/queue", "")
			p.all = true
			must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("QMAIL="+dir+"/conf\n"), 0o644))
			said := "Qmail isn't running... no need to stop it.\nDeleted 8 messages from queue\nQmail wasn't running when qmHandle was started, so it won't be restarted.\n"
			for _, n := range p.asked() {
				said += fmt.Sprintf("Message %d slotted for deletion\n", n)
			}
			return &faultPlace{args: []string{"-D"}, env: []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"}, left: p.left, kept: p.lost, stdout: said, number: true, unread: true}
		}},
	{name: "qqclean", what: "live", calls: []string{"openat", "newfstatat:EIO,EACCES,EINTR", "read:EIO,EINTR", "pwrite64:EIO,ENOSPC,EROFS,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "flock:EINTR,ENOLCK"}, fail: 1,
		vanish: []string{"openat"}, // a channel goes when all is done there
		make: func(t *testing.T, dir string) *faultPlace {
			p := newLiveQueue(t, dir+"/queue")
			p.hold()
			return &faultPlace{args: append([]string{"--live", "-Q", p.q.Dir}, p.numbers()...), left: p.unmarked, kept: p.unlost, number: true, unread: true}
		}},
	{name: "qmHandle", what: "renew", calls: []string{"openat", "newfstatat:EIO,EACCES,EINTR", "read:EIO,EINTR", "utimensat:EIO,EROFS,EPERM,EACCES,EINTR"}, fail: 1, vanish: []string{"openat"},
		make: func(t *testing.T, dir string) *faultPlace {
			must(t, os.MkdirAll(dir+"/conf", 0o755))
			must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("QMAIL="+dir+"/conf\n"), 0o644))
			p := newLiveQueue(t, dir+"/conf/queue")
			return &faultPlace{args: []string{"-tgoing"}, env: []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"}, left: p.unrenewed, kept: p.unlost, number: true, unread: true, talk: true}
		}},
	{name: "mailtest", what: "a mail", calls: []string{"read:EIO,EINTR,EISDIR", "write:EIO,ENOSPC,EINTR,EPIPE", "openat:EIO,EACCES,EMFILE,EINTR"}, status: 99, fail: 111,
		make: func(t *testing.T, dir string) *faultPlace {
			must(t, os.WriteFile(dir+"/kowaza.conf", []byte("MAILTEST_EXIT=99\n"), 0o644))
			return &faultPlace{env: []string{"KOWAZA_CONF=" + dir + "/kowaza.conf"}, stdin: "a\nb\n", stdout: "a\n<and>\nb\n<and>\n<and>\n", left: nothing, kept: always, once: true}
		}},
	{name: "mailmatch", what: "a pipe", calls: []string{"read:EIO,EINTR,EISDIR", "write:EIO,ENOSPC,EINTR,EPIPE"}, status: 100, fail: 111,
		make: func(t *testing.T, dir string) *faultPlace {
			return &faultPlace{args: []string{"-x", "100", "-l", "5", "Subject", "a"}, stdin: "Subject: a\n\nb\n", stdout: refusal, left: nothing, kept: always, once: true}
		}},
	{name: "mkdigest", what: "a password", calls: []string{"read:EIO,EINTR", "write:EIO,ENOSPC,EINTR,EPIPE"}, fail: 1,
		make: func(t *testing.T, dir string) *faultPlace {
			return &faultPlace{args: []string{"-p", "<1234.1096123456@mail.hoge.cxm>"}, stdin: "passwd\n", stdout: "edcb5de1cf7cfe764cd4491ca9c96ad5\n", left: nothing, kept: always, once: true}
		}},
	{name: "smtpauthstr", what: "a password", calls: []string{"read:EIO,EINTR", "write:EIO,ENOSPC,EINTR,EPIPE"}, fail: 1,
		make: func(t *testing.T, dir string) *faultPlace {
			return &faultPlace{args: []string{"hanako"}, stdin: "passwd\n", stdout: "aGFuYWtvAGhhbmFrbwBwYXNzd2Q=\n", left: nothing, kept: always, once: true}
		}},
	{name: "jmailsend", what: "three copies", calls: []string{"openat:EIO,EACCES,EMFILE,EINTR", "pipe2:EMFILE,ENFILE", "write:EIO,EINTR,EPIPE", "newfstatat:EIO,EACCES,EINTR"}, fail: 1,
		make: func(t *testing.T, dir string) *faultPlace {
			must(t, os.MkdirAll(dir+"/conf/control", 0o755))
			must(t, os.WriteFile(dir+"/conf/control/me", []byte("mail.test\n"), 0o644))
			must(t, os.WriteFile(dir+"/conf/sendmail", []byte("#!/bin/sh\ncat >"+dir+"/copy.$$\n"), 0o755))
			must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("QMAIL="+dir+"/conf\nSENDMAIL="+dir+"/conf/sendmail\nJMAIL_FROM=a@mail.test\n"), 0o644))
			left := func() []string {
				copies, err := filepath.Glob(dir + "/copy.*")
				must(t, err)
				return make([]string, max(0, 3-len(copies)))
			}
			return &faultPlace{args: []string{"-t", "b@mail.test", "-c", "3"}, env: []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"}, left: left, kept: always, once: true}
		}},
	{name: "jmailsend", what: "three copies by SMTP", fail: 1,
		calls: []string{"openat:EIO,EACCES,EMFILE,EINTR", "socket:EMFILE,ENOBUFS", "connect:ECONNREFUSED,ENETUNREACH", "read:EIO,EINTR,ECONNRESET", "write:EIO,EINTR,EPIPE,ECONNRESET"},
		make: func(t *testing.T, dir string) *faultPlace {
			must(t, os.MkdirAll(dir+"/conf/control", 0o755))
			must(t, os.WriteFile(dir+"/conf/control/me", []byte("mail.test\n"), 0o644))
			must(t, os.WriteFile(dir+"/conf/pw", []byte("passwd\n"), 0o600))
			office := &dialoguetest.Server{Domain: "mail.test", User: "hanako", Password: "passwd"}
			must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("QMAIL="+dir+"/conf\nJMAIL_FROM=a@mail.test\nJMAIL_SERVER=smtp://"+
				listening(t, office.SMTP)+"\nJMAIL_USER=hanako\nJMAIL_PASSWORD_FILE="+dir+"/conf/pw\n"), 0o644))
			left := func() []string { return make([]string, max(0, 3-len(office.Messages()))) }
			twice := func() error {
				if got := copiesOf(t, office); len(slices.Compact(slices.Clone(got))) != len(got) {
					return fmt.Errorf("sent twice: %v", got)
				}
				return nil
			}
			return &faultPlace{args: []string{"-t", "b@mail.test", "-c", "3", "--per-connection", "2"}, env: []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"},
				left: left, kept: twice, once: true}
		}},
}

func nothing() []string { return nil }
func always() error     { return nil }

// A mailPlace is Maildirs with old and young messages.
type mailPlace struct{ old, young []string }

func (p *mailPlace) add(t *testing.T, home string, uid int) {
	t.Helper()
	m := home + "/Maildir"
	makeMaildirs(t, m, m+"/.Sent", m+"/fs/Work")
	oldFile(t, m+"/maildirsize", "1000S\n")
	for _, dir := range []string{"/cur", "/new", "/.Sent/cur", "/fs/Work/new"} {
		for i := range 3 {
			old, young := fmt.Sprintf("%s%s/%d.old,S=5", m, dir, i), fmt.Sprintf("%s%s/%d.young,S=5", m, dir, i)
			oldFile(t, old, "text\n")
			must(t, os.WriteFile(young, []byte("text\n"), 0o644))
			p.old, p.young = append(p.old, old), append(p.young, young)
		}
	}
	for _, own := range []string{"/dovecot-uidlist", "/.Sent/maildirfolder", "/cur/.hidden", "/fs/file"} {
		oldFile(t, m+own, "")
		p.young = append(p.young, m+own)
	}
	giveTo(t, uid, home)
}

func (p *mailPlace) left() (left []string) {
	for _, file := range p.old {
		if exists(file) {
			left = append(left, file)
		}
	}
	return left
}

func (p *mailPlace) lost() error {
	for _, file := range p.young {
		if !exists(file) {
			return fmt.Errorf("%s is lost", file)
		}
	}
	return nil
}

// A filledQueue is a queue with messages to be removed and others.
type filledQueue struct {
	t      *testing.T
	q      *queuetest.Queue
	save   string // where what goes must be first; may be empty
	all    bool   // there are no others
	going  []uint64
	others []uint64
	before map[uint64][]string // pieces
}

// removalOrder is that of INTERNALS, see facts of internal/queue.
var removalOrder = []string{"bounce", "local", "remote", "info", "intd", "todo", "mess"}

func newFilledQueue(t *testing.T, dir, save string) *filledQueue {
	t.Helper()
	q, err := queuetest.Make(dir, queuetest.Layout{Split: 3})
	must(t, err)
	p := &filledQueue{t: t, q: q, save: save, before: make(map[uint64][]string)}
	if save != "" {
		must(t, os.MkdirAll(save, 0o700))
	}
	for i := range 8 {
		m := queuetest.Message{State: "S5", Sender: "a@test", Local: []string{"Tb@test"}, Remote: []string{"Tc@d.test"}, Bounce: "x", Body: "Subject: x\n\ntext\n"}
		if i%4 > 1 {
			m.State, m.Bounce = "S4", ""
		}
		n, err := q.Add(m)
		must(t, err)
		if p.going = append(p.going, n); i%2 == 1 {
			p.others, p.going = append(p.others, n), p.going[:len(p.going)-1]
		}
		p.before[n] = p.pieces(n)
	}
	return p
}

func (p *filledQueue) numbers() (words []string) {
	for _, n := range p.going {
		words = append(words, fmt.Sprint(n))
	}
	return words
}

// pieces returns the places where the message has a file, in the order of
// removal.
func (p *filledQueue) pieces(n uint64) (places []string) {
	for _, place := range removalOrder {
		if exists(p.q.Path(place, n)) {
			places = append(places, place)
		}
	}
	return places
}

// asked are the messages that are to go.
func (p *filledQueue) asked() []uint64 {
	if p.all {
		return append(slices.Clone(p.going), p.others...)
	}
	return p.going
}

func (p *filledQueue) left() (left []string) {
	for _, n := range p.asked() {
		for _, place := range p.pieces(n) {
			left = append(left, p.q.Path(place, n))
		}
	}
	return left
}

// lost holds the queue against what qmail-send can live with.
func (p *filledQueue) lost() error {
	if !p.all {
		for _, n := range p.others {
			if got := p.pieces(n); !slices.Equal(got, p.before[n]) {
				return fmt.Errorf("%d was not to go, and has %v of %v", n, got, p.before[n])
			}
		}
	}
	for _, n := range p.asked() {
		was, is := p.before[n], p.pieces(n)
		if !slices.Equal(is, was[len(was)-len(is):]) {
			return fmt.Errorf("%d has %v of %v: that is not the order", n, is, was)
		}
		if p.save == "" || len(is) == len(was) {
			continue
		}
		for _, suffix := range []string{".eml", ".json"} {
			info, err := os.Stat(fmt.Sprintf("%s/%d%s", p.save, n, suffix))
			if err != nil || info.Size() == 0 {
				return fmt.Errorf("%d went without having been saved: %v", n, err)
			}
		}
		envelope, err := os.ReadFile(fmt.Sprintf("%s/%d.json", p.save, n))
		must(p.t, err)
		for _, part := range []string{`"a@test"`, `"b@test"`, `"c@d.test"`} {
			if !strings.Contains(string(envelope), part) {
				return fmt.Errorf("%d went, and what was saved lacks %s: %s", n, part, envelope)
			}
		}
	}
	if p.save == "" {
		return nil
	}
	names, err := filepath.Glob(p.save + "/.*.eml.*")
	if err != nil || len(names) > 0 {
		return fmt.Errorf("left behind: %q, %v", names, err)
	}
	return nil
}

// A liveQueue is a queue with preprocessed messages of which some are to be
// dealt with while qmail-send runs.
type liveQueue struct{ *filledQueue }

func newLiveQueue(t *testing.T, dir string) liveQueue {
	t.Helper()
	q, err := queuetest.Make(dir, queuetest.Layout{Split: 3})
	must(t, err)
	p := &filledQueue{t: t, q: q, before: make(map[uint64][]string)}
	for i := range 6 {
		to := []string{"going", "staying"}[i%2]
		n, err := q.Add(queuetest.Message{Sender: "a@test", Local: []string{"Tb@test"}, Remote: []string{"T" + to + "@d.test", "De@f.test"}, Bounce: "x", Birth: ancient})
		must(t, err)
		if i%2 == 0 {
			p.going = append(p.going, n)
		} else {
			p.others = append(p.others, n)
		}
		p.before[n] = p.pieces(n)
	}
	return liveQueue{p}
}

// hold has a qmail-send hold the lock.
func (p liveQueue) hold() {
	_, end := flockAs(p.t, p.q.Dir, "qmail-send")
	p.t.Cleanup(end)
}

// marked reports whether all recipients in a channel are done.
func (p liveQueue) marked(place string, n uint64) bool {
	text, err := os.ReadFile(p.q.Path(place, n))
	must(p.t, err)
	return !strings.Contains("\x00"+string(text), "\x00T")
}

func (p liveQueue) unmarked() (left []string) {
	for _, n := range p.going {
		for _, place := range []string{"local", "remote"} {
			if !p.marked(place, n) {
				left = append(left, p.q.Path(place, n))
			}
		}
		if exists(p.q.Path("bounce", n)) {
			left = append(left, p.q.Path("bounce", n))
		}
	}
	return left
}

func (p liveQueue) unrenewed() (left []string) {
	for _, n := range p.going {
		if info, err := os.Stat(p.q.Path("info", n)); err != nil || info.ModTime().Equal(ancient) {
			left = append(left, p.q.Path("info", n))
		}
	}
	return left
}

// unlost reports whether all messages are there, and the others as they were.
func (p liveQueue) unlost() error {
	for _, n := range p.others {
		info, err := os.Stat(p.q.Path("info", n))
		if err != nil || !info.ModTime().Equal(ancient) || p.marked("local", n) || p.marked("remote", n) || !slices.Equal(p.pieces(n), p.before[n]) {
			return fmt.Errorf("%d was not to be touched", n)
		}
	}
	for _, n := range p.going {
		for _, place := range []string{"mess", "info", "local", "remote"} {
			if !exists(p.q.Path(place, n)) {
				return fmt.Errorf("%d has lost its %s", n, place)
			}
		}
	}
	return nil
}
