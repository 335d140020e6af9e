package applets

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A traffic is mail that comes in and is read while Maildirs are being cleaned.
type traffic struct {
	t     *testing.T
	homes []string
	most  int64 // deliveries; 0: no limit
	stop  chan struct{}
	group sync.WaitGroup

	young, old, read atomic.Int64
}

// deliver is a delivery program: qmail-local links into new, others rename. One
// message in four comes with an old date, as when mail is imported; these may
// go. The name tells which.
func (f *traffic) deliver(who int) {
	for i := who; ; i++ {
		select {
		case <-f.stop:
			return
		default:
		}
		n := f.young.Load() + f.old.Load()
		if f.most > 0 && n >= f.most {
			<-f.stop
			return
		}
		m := f.homes[i%len(f.homes)] + "/Maildir"
		age := "young"
		if i%4 == 0 {
			age = "old"
		}
		name := fmt.Sprintf("%d.D%dP1.%s,S=5", i, who, age)
		if err := os.WriteFile(m+"/tmp/"+name, []byte("text\n"), 0o644); err != nil {
			f.t.Error(err)
			return
		}
		if age == "old" {
			os.Chtimes(m+"/tmp/"+name, ancient, ancient)
		}
		var err error
		if who%2 == 0 {
			err = os.Rename(m+"/tmp/"+name, m+"/new/"+name)
		} else if err = os.Link(m+"/tmp/"+name, m+"/new/"+name); err == nil {
			err = os.Remove(m + "/tmp/" + name)
		}
		if err != nil {
			f.t.Errorf("a delivery: %v", err)
			return
		}
		if age == "old" {
			f.old.Add(1)
		} else {
			f.young.Add(1)
		}
	}
}

// readMail is a mail client: what is new becomes seen, and then flagged.
func (f *traffic) readMail() {
	for i := 0; ; i++ {
		m := f.homes[i%len(f.homes)] + "/Maildir"
		dir, err := os.Open(m + "/new")
		if err != nil {
			f.t.Error(err)
			return
		}
		names, _ := dir.Readdirnames(200)
		dir.Close()
		for _, name := range names {
			if os.Rename(m+"/new/"+name, m+"/cur/"+name+":2,") == nil {
				os.Rename(m+"/cur/"+name+":2,", m+"/cur/"+name+":2,FS")
				f.read.Add(1)
			}
		}
		select {
		case <-f.stop:
			return
		default:
		}
	}
}

// fill puts n messages into a Maildir, every other one old.
func fill(t *testing.T, home string, n int) {
	t.Helper()
	makeMaildirs(t, home+"/Maildir")
	dir, err := unix.Open(home+"/Maildir/cur", unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dir)
	for i := range n {
		age := []string{"young", "old"}[i%2]
		name := fmt.Sprintf("%d.M1P1.%s:2,", i, age)
		fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		must(t, err)
		unix.Close(fd)
		if age == "old" {
			must(t, unix.UtimesNanoAt(dir, name, []unix.Timespec{{Sec: 1e9}, {Sec: 1e9}}, 0))
		}
	}
}

// left counts the messages by the age in their name; each must be there once.
func (f *traffic) left() (young, old int64) {
	for _, home := range f.homes {
		seen := make(map[string]bool)
		for _, sub := range []string{"cur", "new"} {
			names, err := os.ReadDir(home + "/Maildir/" + sub)
			must(f.t, err)
			for _, d := range names {
				name, _, _ := strings.Cut(d.Name(), ":")
				if seen[name] {
					f.t.Errorf("%s is there twice", name)
				}
				if seen[name] = true; strings.Contains(name, ".young") {
					young++
				} else {
					old++
				}
			}
		}
	}
	return young, old
}

// load runs a command again and again while mail comes in and is read, and
// counts what is left.
func load(t *testing.T, homes []string, before int64, most int64, runs int, command func() *exec.Cmd) {
	f := &traffic{t: t, homes: homes, most: most, stop: make(chan struct{})}
	for who := range 2 {
		f.group.Go(func() { f.deliver(who * 1000000000) })
		f.group.Go(func() { f.deliver(who*1000000000 + 500000001) })
	}
	f.group.Go(f.readMail)
	stop := time.Now().Add(soakTime(t, 0))
	done := 0
	for ; done < runs || time.Now().Before(stop); done++ {
		if e := runEnd(t, command()); e.status != 0 || e.stderr != "" {
			t.Errorf("status %d, %.500q", e.status, e.stderr)
		}
	}
	close(f.stop)
	f.group.Wait()
	if e := runEnd(t, command()); e.status != 0 || e.stderr != "" {
		t.Errorf("status %d, %.500q", e.status, e.stderr)
	}
	want := before + f.young.Load()
	young, old := f.left()
	t.Logf("%d runs, %d messages before, %d young and %d old ones delivered, %d moved to cur; %d young ones lost, %d old ones left",
		done+1, 2*before, f.young.Load(), f.old.Load(), f.read.Load(), want-young, old)
	if young != want || old != 0 || f.young.Load() == 0 || f.old.Load() == 0 || f.read.Load() == 0 {
		t.Errorf("%d young messages of %d, %d old ones", young, want, old)
	}
}

// TestLoadMaildir proves that no young message is lost, and nothing is an error,
// while mail is delivered to a large Maildir and read there at full speed.
func TestLoadMaildir(t *testing.T) {
	bin := staticBinary(t)
	home := fastDir(t)
	n := soaking(t, 20000, 1000000)
	fill(t, home, n)
	load(t, []string{home}, int64(n/2), int64(soaking(t, 30000, 1000000)), 20, func() *exec.Cmd {
		return exec.Command(bin+"/rmoldmail", "10", home)
	})
}

// TestLoadUsers proves the same of rmmail_virtual and many users.
func TestLoadUsers(t *testing.T) {
	bin := staticBinary(t)
	dir := fastDir(t)
	users, each := soaking(t, 500, 10000), 20
	var homes []string
	var assign strings.Builder
	for i := range users {
		home := fmt.Sprintf("%s/store/u%d", dir, i)
		homes = append(homes, home)
		fill(t, home, each)
		fmt.Fprintf(&assign, "=u%d:nobody:%d:%[2]d:%s:::\n", i, os.Getuid(), home)
	}
	must(t, os.MkdirAll(dir+"/users", 0o755))
	must(t, os.WriteFile(dir+"/users/assign", []byte(assign.String()+".\n"), 0o644))
	must(t, os.WriteFile(dir+"/kowaza.conf", []byte("VMDIR="+dir+"/store\nQMAIL="+dir+"\n"), 0o644))
	load(t, homes, int64(users*each/2), int64(soaking(t, 30000, 1000000)), 20, func() *exec.Cmd {
		cmd := exec.Command(bin+"/rmmail_virtual", "-d", "10")
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+dir+"/kowaza.conf")
		return cmd
	})
}
