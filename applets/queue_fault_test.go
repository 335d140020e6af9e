package applets

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// The scenes of TestFaults that repair a queue, look at it, and do otherwise with
// messages than remove them.
func init() {
	conf := func(t *testing.T, dir string) []string {
		must(t, os.MkdirAll(dir+"/conf", 0o755))
		must(t, os.WriteFile(dir+"/conf/kowaza.conf", []byte("QMAIL="+dir+"/conf\n"), 0o644))
		return []string{"KOWAZA_CONF=" + dir + "/conf/kowaza.conf"}
	}
	faultScenes = append(faultScenes,
		&faultScene{name: "qqclean", what: "repair", fail: 1,
			calls: []string{"openat:EIO,EACCES,EMFILE,EINTR", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "renameat2:EIO,EACCES,ENOSPC,EINTR,EPERM,ENOSYS,EINVAL",
				"unlinkat:EIO,EACCES,EROFS,EINTR", "fsync:EIO,ENOSPC,EINTR", "write:EIO,ENOSPC,EINTR", "syncfs:EIO,EINTR", "flock:EINTR,ENOLCK"},
			make: func(t *testing.T, dir string) *faultPlace {
				p := newCopiedQueue(t, dir)
				return &faultPlace{args: []string{"-Q", p.dir, "--repair"}, left: p.left, kept: p.lost, whole: true, unread: true}
			}},
		&faultScene{name: "qqclean", what: "check", fail: 1,
			// Not EINTR: getent, which is asked for qmail's accounts, is no better than its libc.
			calls: []string{"openat:EIO,EACCES,EMFILE", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES", "fstat:EIO", "read:EIO"},
			make: func(t *testing.T, dir string) *faultPlace {
				p := newFilledQueue(t, dir+"/queue", "")
				return &faultPlace{args: []string{"-Q", p.q.Dir, "--check"}, left: nothing, kept: p.untouched, once: true}
			}},
		&faultScene{name: "qmHandle", what: "bounce", fail: 1, vanish: []string{"openat"},
			calls: []string{"openat", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "read:EIO,EINTR", "write:EIO,ENOSPC,EINTR", "pwrite64:EIO,ENOSPC,EROFS,EINTR",
				"fsync:EIO,ENOSPC,EINTR", "renameat2:EIO,EACCES,ENOSPC,EINTR,EPERM,ENOSYS,EINVAL", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "utimensat:EIO,EPERM,EINTR", "flock:EINTR,ENOLCK"},
			make: func(t *testing.T, dir string) *faultPlace {
				env := conf(t, dir)
				p := newOutcomeQueue(t, dir+"/conf/queue", "")
				return &faultPlace{args: []string{"-fgoing@test", "--bounce"}, env: env, left: p.untold, kept: p.lostByBounce, number: true, unread: true, talk: true}
			}},
		&faultScene{name: "qmHandle", what: "hold", fail: 1, vanish: []string{"openat"}, // a channel goes when all is done there
			calls: []string{"openat", "getdents64:EIO,EINTR", "newfstatat:EIO,EACCES,EINTR", "read:EIO,EINTR", "write:EIO,ENOSPC,EINTR", "pwrite64:EIO,ENOSPC,EROFS,EINTR",
				"fsync:EIO,ENOSPC,EINTR", "renameat2:EIO,EACCES,ENOSPC,EINTR,EPERM,ENOSYS,EINVAL", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "flock:EINTR,ENOLCK"},
			make: func(t *testing.T, dir string) *faultPlace {
				env := conf(t, dir)
				p := newOutcomeQueue(t, dir+"/conf/queue", dir+"/conf/held")
				return &faultPlace{args: []string{"-fgoing@test", "--hold", p.held}, env: env, left: p.unheld, kept: p.lostByHold, number: true, unread: true, talk: true}
			}},
		&faultScene{name: "qmHandle", what: "release", fail: 1,
			calls: []string{"openat:EIO,EACCES,EMFILE,EINTR", "getdents64:EIO,EINTR", "write:EIO,EINTR,EPIPE", "fsync:EIO,ENOSPC,EINTR", "unlinkat:EIO,EACCES,EROFS,EINTR,EPERM", "pipe2:EMFILE,ENFILE", "flock:EINTR,ENOLCK"},
			make: func(t *testing.T, dir string) *faultPlace {
				env := conf(t, dir)
				p := newOutcomeQueue(t, dir+"/conf/queue", dir+"/conf/held")
				cmd := exec.Command(staticBinary(t)+"/qmHandle", "-fgoing@test", "--hold", p.held)
				cmd.Env = append(os.Environ(), env...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				must(t, os.MkdirAll(dir+"/conf/bin", 0o755))
				must(t, os.Mkdir(dir+"/conf/taken", 0o755))
				must(t, os.WriteFile(dir+"/conf/bin/qmail-queue", []byte("#!/bin/sh\nt='"+dir+"/conf/taken'/$$\ncat >$t.text && cat <&1 >$t && exit 0\nrm -f $t\nexit 53\n"), 0o755))
				return &faultPlace{args: []string{"--release", p.held}, env: env, left: p.unreleased, kept: p.lostByRelease(dir + "/conf/taken"), whole: true, unread: true, talk: true}
			}},
	)
}

// A copiedQueue is to be repaired.
type copiedQueue struct {
	t      *testing.T
	dir    string
	inodes map[uint64]string // of each piece: its place, and the inode of its message's text
}

func newCopiedQueue(t *testing.T, dir string) *copiedQueue {
	t.Helper()
	q, err := queuetest.Make(dir+"/old", queuetest.Layout{Split: 3})
	must(t, err)
	for i := range 6 {
		m := queuetest.Message{State: []string{"S5", "S4"}[i%2], Sender: "a@test", Local: []string{"Tb@test"}, Remote: []string{"Tc@d.test"}}
		if i%2 == 0 {
			m.Bounce = "x"
		}
		_, err := q.Add(m)
		must(t, err)
	}
	p := &copiedQueue{t, dir + "/queue", nil}
	if out, err := exec.Command("cp", "-a", q.Dir, p.dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	must(t, os.RemoveAll(q.Dir))
	p.inodes = p.read()
	return p
}

// read tells of each piece which text it belongs to. Those of half a message belong to
// none: they are told by their names.
func (p *copiedQueue) read() map[uint64]string {
	texts := make(map[string]uint64)
	type piece struct {
		place, name string
		inode       uint64
	}
	var all []piece
	must(p.t, filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.dir, path)
		place, _, below := strings.Cut(rel, "/")
		if err != nil || !d.Type().IsRegular() || !below || place == "lock" {
			return err
		}
		var st unix.Stat_t
		must(p.t, unix.Lstat(path, &st))
		name := strings.TrimSuffix(filepath.Base(path), ".repair")
		if place == "mess" {
			texts[name] = st.Ino
		}
		all = append(all, piece{place, name, st.Ino})
		return nil
	}))
	is := make(map[uint64]string)
	for _, f := range all {
		if f.place != "todo" { // intd is the same file
			is[f.inode] = fmt.Sprintf("%s of %d", f.place, texts[f.name])
		}
	}
	return is
}

// left lists texts whose number is not their inode, and whatever is in the way of
// qmail-send.
func (p *copiedQueue) left() (left []string) {
	files, err := filepath.Glob(p.dir + "/mess/*/*")
	must(p.t, err)
	for _, file := range files {
		var st unix.Stat_t
		must(p.t, unix.Lstat(file, &st))
		if fmt.Sprint(st.Ino) != filepath.Base(file) {
			left = append(left, file)
		}
	}
	if !exists(p.dir + "/lock/sendmutex") {
		left = append(left, p.dir+"/lock/sendmutex")
	}
	if len(left) == 0 {
		for inode, was := range p.inodes {
			if is := p.read()[inode]; is != was {
				left = append(left, fmt.Sprintf("%s/%s, now %s", p.dir, was, is))
			}
		}
	}
	return left
}

// lost reports a piece that is gone, and whether qmail-send could start on a queue that
// is half repaired.
func (p *copiedQueue) lost() error {
	is := p.read()
	for inode, what := range p.inodes {
		if is[inode] == "" {
			return fmt.Errorf("%s is gone", what)
		}
	}
	if exists(p.dir + "/lock/sendmutex") {
		for inode, what := range p.inodes {
			if is[inode] != what {
				return fmt.Errorf("%s is %s, and qmail-send can start", what, is[inode])
			}
		}
	}
	return nil
}

// untouched fails where any piece of any message is gone.
func (p *filledQueue) untouched() error {
	for n, was := range p.before {
		if is := p.pieces(n); fmt.Sprint(is) != fmt.Sprint(was) {
			return fmt.Errorf("%d has %v of %v", n, is, was)
		}
	}
	return nil
}

// An outcomeQueue has messages from going@test, to be returned or held, and others.
type outcomeQueue struct {
	*filledQueue
	held string // directory
}

func newOutcomeQueue(t *testing.T, dir, held string) *outcomeQueue {
	t.Helper()
	q, err := queuetest.Make(dir, queuetest.Layout{Split: 3})
	must(t, err)
	p := &outcomeQueue{&filledQueue{t: t, q: q, before: make(map[uint64][]string)}, held}
	if held != "" {
		must(t, os.Mkdir(held, 0o700))
	}
	for i := range 8 {
		m := queuetest.Message{State: []string{"S5", "S4"}[i%2], Sender: "going@test", Local: []string{"Tb@test"}, Remote: []string{"Tc@d.test"}}
		if i == 0 {
			m.Bounce = "<x@y>:\nno\n\n"
		}
		if i > 3 {
			m.Sender = "staying@test"
		}
		m.Body = fmt.Sprintf("Subject: %d\n\n", i)
		n, err := q.Add(m)
		must(t, err)
		if p.before[n] = p.pieces(n); i > 3 {
			p.others = append(p.others, n)
		} else {
			p.going = append(p.going, n)
		}
	}
	return p
}

// text reads a piece, empty where there is none.
func (p *outcomeQueue) text(place string, n uint64) string {
	text, err := os.ReadFile(p.q.Path(place, n))
	if !os.IsNotExist(err) {
		must(p.t, err)
	}
	return string(text)
}

// tried reports whether qmail-send would try a recipient of the message.
func (p *outcomeQueue) tried(n uint64, address string) bool {
	envelope := p.text("todo", n)
	if envelope == "" && p.text("info", n) != "" {
		envelope = p.text("local", n) + p.text("remote", n)
	}
	return p.text("mess", n) != "" && strings.Contains("\x00"+envelope, "\x00T"+address+"\x00")
}

var outcomeRecipients = []string{"b@test", "c@d.test"}

// untold lists messages of which a recipient is still to come, or is not told of.
func (p *outcomeQueue) untold() (left []string) {
	for _, n := range p.going {
		for _, address := range outcomeRecipients {
			if p.tried(n, address) || !strings.Contains(p.text("bounce", n), "<"+address+">:\n"+defaultNotice+"\n\n") {
				left = append(left, p.q.Path("bounce", n))
			}
		}
	}
	return left
}

func (p *outcomeQueue) othersLost() error {
	for _, n := range p.others {
		if is := p.pieces(n); fmt.Sprint(is) != fmt.Sprint(p.before[n]) || !p.tried(n, "b@test") || !p.tried(n, "c@d.test") {
			return fmt.Errorf("%d was not to be touched, and has %v", n, is)
		}
	}
	return nil
}

func (p *outcomeQueue) lostByBounce() error {
	for _, n := range p.going {
		for _, address := range outcomeRecipients {
			if !p.tried(n, address) && !strings.Contains(p.text("bounce", n), "<"+address+">:\n"+defaultNotice+"\n\n") {
				return fmt.Errorf("%d: %s is neither tried nor told of", n, address)
			}
		}
		if p.text("mess", n) == "" || p.text("info", n)+p.text("todo", n) == "" {
			return fmt.Errorf("%d is not whole", n)
		}
	}
	return p.othersLost()
}

// isHeld reports whether a whole message with that recipient is held.
func (p *outcomeQueue) isHeld(n uint64, address string) bool {
	names, err := filepath.Glob(fmt.Sprintf("%s/%d*.envelope", p.held, n))
	must(p.t, err)
	for _, name := range names {
		envelope, err := os.ReadFile(name)
		must(p.t, err)
		text, err := os.ReadFile(strings.TrimSuffix(name, "envelope") + "eml")
		if err == nil && strings.Contains(string(envelope), ":"+address+"\x00") && strings.Contains(string(text), "\n\n") {
			return true
		}
	}
	return false
}

func (p *outcomeQueue) unheld() (left []string) {
	for _, n := range p.going {
		for _, address := range outcomeRecipients {
			if p.tried(n, address) || !p.isHeld(n, address) {
				left = append(left, p.q.Path("info", n))
			}
		}
	}
	return left
}

func (p *outcomeQueue) lostByHold() error {
	for _, n := range p.going {
		for _, address := range outcomeRecipients {
			if !p.tried(n, address) && !p.isHeld(n, address) {
				return fmt.Errorf("%d: %s is neither in the queue nor held", n, address)
			}
		}
	}
	if bounce := p.text("bounce", p.going[0]); bounce != "<x@y>:\nno\n\n" {
		return fmt.Errorf("the earlier failure is %q", bounce)
	}
	return p.othersLost()
}

func (p *outcomeQueue) unreleased() (left []string) {
	left, err := filepath.Glob(p.held + "/*.envelope")
	must(p.t, err)
	return left
}

// lostByRelease reports a message that is neither held nor taken.
func (p *outcomeQueue) lostByRelease(taken string) func() error {
	return func() error {
		files, err := filepath.Glob(taken + "/*.text")
		must(p.t, err)
		got := ""
		for _, file := range files {
			if !exists(strings.TrimSuffix(file, ".text")) {
				continue // not committed
			}
			text, err := os.ReadFile(file)
			must(p.t, err)
			got += string(text)
		}
		for i, n := range p.going {
			if !p.isHeld(n, "b@test") && !strings.Contains(got, fmt.Sprintf("Subject: %d\n\n", i)) {
				return fmt.Errorf("%d is neither held nor taken", n)
			}
		}
		return p.othersLost()
	}
}
