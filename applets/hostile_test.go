package applets

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { roles["swap"] = swap }

// Who meets in a siege, beside root.
const (
	attacker = 23001
	victim   = 23002
)

// A siege is a place in which one user swaps what is his with links to what is
// not, while root cleans his Maildir.
type siege struct {
	t       *testing.T
	dir     string // a file system that notes every read
	home    string // the attacker's
	conf    string // kowaza.conf, for rmmail_virtual
	swaps   []swapPair
	swapped atomic.Int64           // so far
	renamed []int                  // directories of root's in the attacker's, open
	outside map[string]os.FileInfo // all that nobody may touch
}

// A swapPair are two names in one directory.
type swapPair struct{ Dir, A, B string }

// newSiege makes the place: a Maildir of the attacker's, and of root and of
// another user one that links in the first lead to.
func newSiege(t *testing.T) *siege {
	t.Helper()
	dir := t.TempDir()
	openParents(t, dir)
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_STRICTATIME|unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,nr_inodes=400000"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s := &siege{t: t, dir: dir, home: dir + "/home", conf: dir + "/kowaza.conf",
		outside: make(map[string]os.FileInfo)}

	for owner, place := range map[int]string{0: dir + "/root", victim: dir + "/other"} {
		makeMaildirs(t, place+"/Maildir", place+"/Maildir/.F")
		for _, sub := range []string{"cur", "new", "tmp", ".F/cur", ".F/new", "."} {
			for i := range 20 {
				oldFile(t, fmt.Sprintf("%s/Maildir/%s/%d.M1P1.mail", place, sub, i), "text\n")
			}
		}
		oldFile(t, place+"/secret", "joe:x:1:0:x:/nowhere/joe:NOQUOTA\n")
		oldFile(t, place+"/Maildir/maildirsize", "1000S\n")
		giveTo(t, owner, place)
	}
	must(t, os.Chmod(dir+"/root/secret", 0o600))
	must(t, os.Chmod(dir+"/other/secret", 0o600))

	m := s.home + "/Maildir"
	makeMaildirs(t, m, m+"/.F", s.home+"/up/u/Maildir", s.home+"/dom/joe/Maildir")
	oldFile(t, m+"/maildirsize", "1000S\n")
	oldFile(t, m+"/cur/target", "text\n")
	oldFile(t, s.home+"/dom/vpasswd", "joe:x:1:0:x:"+s.home+"/dom/joe:NOQUOTA\n")
	for _, p := range []struct{ dir, name, target string }{
		{s.home, "Maildir", dir + "/root/Maildir"},
		{s.home, "Maildir", "../other/Maildir"},
		{m, "cur", dir + "/root/Maildir/cur"},
		{m, "new", "../../other/Maildir/new"},
		{m, ".F", dir + "/root/Maildir/.F"},
		{m + "/.F", "cur", dir + "/other/Maildir/.F/cur"},
		{m + "/.F", "new", dir + "/root/Maildir/.F/new"},
		{m + "/cur", "target", dir + "/root/Maildir/cur/0.M1P1.mail"},
		{m, "maildirsize", dir + "/root/Maildir/maildirsize"},
		{s.home, "up", dir + "/root"},
		{s.home + "/up", "u", dir + "/root"},
		{s.home + "/up/u", "Maildir", dir + "/other/Maildir"},
		{s.home + "/dom", "vpasswd", dir + "/root/secret"},
		{s.home + "/dom", "joe", dir + "/other"},
		{s.home + "/dom/joe", "Maildir", dir + "/root/Maildir"},
	} {
		link := fmt.Sprintf("x%d", len(s.swaps))
		must(t, os.Symlink(p.target, p.dir+"/"+link))
		s.swaps = append(s.swaps, swapPair{p.dir, p.name, link})
	}
	giveTo(t, attacker, s.home)
	// Directories of root's in the user's: he can rename them, and not change them.
	for _, name := range []string{m + "/.F/cur", s.home + "/Maildir"} {
		own := filepath.Dir(name) + "/root-" + filepath.Base(name)
		makeMaildirs(t, own)
		for _, sub := range []string{".", "cur"} {
			oldFile(t, own+"/"+sub+"/0.M1P1.mail", "text\n")
		}
		s.swaps = append(s.swaps, swapPair{filepath.Dir(name), filepath.Base(name), filepath.Base(own)})
		fd, err := unix.Open(own, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		s.renamed = append(s.renamed, fd)
	}

	assign := fmt.Sprintf("=a:siege:%d:%[1]d:%s:::\n=u:siege:%[1]d:%[1]d:%[2]s/up/u:::\n+d-:siege:%[1]d:%[1]d:%[2]s/dom:-::\n.\n", attacker, s.home)
	must(t, os.MkdirAll(dir+"/qmail/users", 0o755))
	must(t, os.WriteFile(dir+"/qmail/users/assign", []byte(assign), 0o644))
	must(t, os.WriteFile(s.conf, []byte("VMDIR="+s.home+"\nQMAIL="+dir+"/qmail\n"), 0o644))

	var names []string
	for _, place := range []string{"/root", "/other"} {
		must(t, filepath.Walk(dir+place, func(file string, _ os.FileInfo, err error) error {
			names = append(names, file)
			return err
		}))
	}
	time.Sleep(20 * time.Millisecond) // the clock of atimes goes in such steps
	for _, name := range names {
		info, err := os.Lstat(name)
		must(t, err)
		s.outside[name] = info
	}
	return s
}

// lost returns what was touched outside since the siege began.
func (s *siege) lost() (gone, read []string) {
	for name, was := range s.outside {
		is, err := os.Lstat(name)
		if err != nil {
			gone = append(gone, name)
			continue
		}
		a, b := was.Sys().(*syscall.Stat_t), is.Sys().(*syscall.Stat_t)
		switch {
		case a.Ino != b.Ino || a.Mtim != b.Mtim || a.Ctim != b.Ctim || a.Size != b.Size:
			gone = append(gone, name+" (changed)")
		case a.Atim != b.Atim:
			read = append(read, name)
		}
	}
	return gone, read
}

// swappers starts the attacker. end stops it and tells how often it has
// swapped and how many messages it has put in root's way.
func (s *siege) swappers(seed uint64) (end func() (swaps, messages int)) {
	t := s.t
	t.Helper()
	text, err := json.Marshal(s.swaps)
	must(t, err)
	cmd := exec.Command("/proc/self/exe", string(text), s.home, fmt.Sprint(seed))
	cmd.Env = append(os.Environ(), "KOWAZA_TEST_AS=swap")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: attacker, Gid: attacker}}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the attacker says %q, %v", line, err)
	}
	var swaps, messages int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := fmt.Fscan(out, &swaps, &messages); err != nil {
				return
			}
			s.swapped.Store(int64(swaps))
		}
	}()
	return func() (int, int) {
		stdin.Close()
		<-done
		must(t, cmd.Wait())
		return swaps, messages
	}
}

// swap is the attacker: it exchanges the names of each pair again and again,
// one pair for a while, then another, and delivers old messages wherever its
// own directories are just then.
func swap() {
	runtime.GOMAXPROCS(1)
	var pairs []swapPair
	if err := json.Unmarshal([]byte(os.Args[1]), &pairs); err != nil {
		panic(err)
	}
	var seed uint64
	fmt.Sscan(os.Args[3], &seed)
	r := rand.New(rand.NewPCG(seed, 0))
	fds := make([]int, len(pairs))
	var err error
	for i, p := range pairs {
		if fds[i], err = unix.Open(p.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			panic(fmt.Sprint(p.Dir, ": ", err))
		}
	}
	var boxes []int
	for _, dir := range []string{"Maildir/cur", "Maildir/new", "Maildir/.F/cur", "Maildir/.F/new", "up/u/Maildir/new", "dom/joe/Maildir/new"} {
		fd, err := unix.Open(os.Args[2]+"/"+dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		boxes = append(boxes, fd)
	}
	end := untilEnd()
	fmt.Println("ready")
	old := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}
	for swaps, messages, told := 0, 0, 0; ; {
		if swaps-told > 50000 {
			fmt.Println(swaps, messages)
			told = swaps
		}
		select {
		case <-end:
			fmt.Println(swaps, messages)
			return
		default:
		}
		i := r.IntN(len(pairs))
		for range 1 + r.IntN(40) {
			if unix.Renameat2(fds[i], pairs[i].A, fds[i], pairs[i].B, unix.RENAME_EXCHANGE) == nil {
				swaps++
			}
		}
		name := fmt.Sprintf("%d.m", messages)
		box := boxes[r.IntN(len(boxes))]
		fd, err := unix.Openat(box, name, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		if err == nil {
			unix.Close(fd)
			unix.UtimesNanoAt(box, name, old, 0)
			messages++
		}
	}
}

// TestHostileSwaps proves that a user who swaps his Maildir, its directories,
// folders, messages and quota file, a directory above it, and a domain's
// vpasswd with links to what is root's and another user's, 200 000 times while
// root cleans him, the users of qmail or those that a pattern takes, makes root
// neither remove nor read anything there.
func TestHostileSwaps(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	s := newSiege(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := s.swappers(seed)
	pattern, deeper := s.dir+"/pattern.conf", s.dir+"/deeper.conf"
	must(t, os.WriteFile(pattern, []byte("USERS="+s.home+"/*/*\n"), 0o644))
	must(t, os.WriteFile(deeper, []byte("USERS="+s.home+"/*/*/*\nMAILDIR=.\n"), 0o644))
	commands := []struct {
		conf string
		argv []string
	}{
		{s.conf, []string{"rmoldmail", "10", s.home}},
		{s.conf, []string{"rmoldmail", "-j", "1", "10", s.home}},
		{s.conf, []string{"rmoldmail", "-a", "10", s.home}},
		{pattern, []string{"rmmail_virtual"}},
		{s.conf, []string{"rmoldmail", "10", s.home + "/up/u"}},
		{s.conf, []string{"rmmail_virtual"}},
		{s.conf, []string{"rmoldmail", "-n", "-j", "2", "10", s.home}},
		{deeper, []string{"rmmail_virtual", "-x", "--max-size", "1"}},
		{s.conf, []string{"rmmail_virtual", "-j", "1", "--saved", "-d", "0"}},
	}
	const minRuns, minSwaps = 400, 200000
	begin, stop := time.Now(), time.Now().Add(soakTime(t, 0))
	runs, refused, statuses := 0, 0, map[int]int{}
	for ; runs < minRuns || s.swapped.Load() < minSwaps || time.Now().Before(stop); runs++ {
		if time.Now().After(stop) && time.Since(begin) > 2*patience {
			t.Errorf("only %d runs and %d swaps", runs, s.swapped.Load())
			break
		}
		c := commands[runs%len(commands)]
		cmd := exec.Command(bin+"/"+c.argv[0], c.argv[1:]...)
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+c.conf)
		e := runEnd(t, cmd)
		statuses[e.status]++
		if e.late || e.signal != 0 || e.crashed() || e.status > 1 {
			t.Errorf("%q: status %d, signal %v, late %v\n%.2000s", c.argv, e.status, e.signal, e.late, e.stderr)
		}
		if strings.Contains(e.stderr, "link not followed") {
			refused++
		}
		if strings.Contains(e.stderr, "joe:x:1") || strings.Contains(e.stdout, s.dir+"/root/") || strings.Contains(e.stdout, s.dir+"/other/") {
			t.Errorf("%q tells what is elsewhere: %s%s", c.argv, e.stdout, e.stderr)
		}
	}
	swaps, messages := end()
	gone, read := s.lost()
	t.Logf("%d swaps, %d runs (status: %v), %d of them met a link, %d messages delivered; outside %d lost, %d read of %d",
		swaps, runs, statuses, refused, messages, len(gone), len(read), len(s.outside))
	if len(gone) > 0 || len(read) > 0 {
		t.Errorf("lost: %q; read: %q", gone, read)
	}
	if swaps < minSwaps || refused == 0 || messages == 0 {
		t.Errorf("that was no attack")
	}
	for _, fd := range s.renamed {
		if own := fmt.Sprintf("/proc/self/fd/%d/", fd); !exists(own+"0.M1P1.mail") || !exists(own+"cur/0.M1P1.mail") {
			t.Error("what root had in the attacker's directory is gone")
		}
	}
	// The file system does tell.
	os.ReadFile(s.dir + "/root/secret")
	if _, read := s.lost(); len(read) != 1 {
		t.Errorf("a read that was one: %q", read)
	}
}

// TestHostileOriginal does the same to the page's command until it bites: it
// shows that the attack is one. That it does is told and not asked for.
func TestHostileOriginal(t *testing.T) {
	needRoot(t)
	find, err := filepath.Abs("../testdata/originals/rmoldmail")
	must(t, err)
	s := newSiege(t)
	limit := 10 * time.Second
	if soakMinutes(t) > 0 {
		limit = time.Minute
	}
	end := s.swappers(1)
	begin := time.Now()
	runs, gone, read := 0, []string(nil), []string(nil)
	for len(gone) == 0 && time.Since(begin) < limit {
		runEnd(t, exec.Command(find, "10", s.home))
		runs++
		gone, read = s.lost()
	}
	swaps, _ := end()
	t.Logf("the page's find, after %d runs, %.1f s and %d swaps: %d files lost outside, %d read", runs, time.Since(begin).Seconds(), swaps, len(gone), len(read))
}
