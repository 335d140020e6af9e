package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

func init() {
	roles["bounce"] = func(args []string) error {
		return eachLocked(args[0], func(l *Lock, m *Message) error { return l.Bounce(m, "no luck", nil) })
	}
}

// eachLocked does something with each message of a queue, under the lock. Of one that was
// killed its text may be left.
func eachLocked(dir string, do func(l *Lock, m *Message) error) error {
	q, err := Open(dir)
	if err != nil {
		return err
	}
	l, err := q.Lock(0, nil)
	if err != nil {
		return err
	}
	var first error
	err = q.List(Listing{}, func(m *Message) bool {
		if err := do(l, m); err != nil && err != ErrNoneLeft && err != ErrHalf && first == nil {
			first = err
		}
		return true
	})
	return errors.Join(err, first)
}

// TestNote proves that a failure stands in bounce as qmail-send writes it. The first is
// what notqmail 1.09 wrote of "|echo first; echo; echo; echo second; exit 100".
func TestNote(t *testing.T) {
	for _, test := range []struct{ address, text, want string }{
		{"no@virt.example", "first\n\n\nsecond\n", "<no@virt.example>:\nfirst\n//second\n\n"},
		{"a@b", "no", "<a@b>:\nno\n\n"},
		{"a@b", "\n\nno\n\n\n", "<a@b>:\nno\n\n"},
		{"a\n\nb@c", "no\nluck", "<a__b@c>:\nno\nluck\n\n"},
		{"", "", "<>:\n\n\n"},
	} {
		if got := note(test.address, test.text); got != test.want {
			t.Errorf("%q, %q: %q; want %q", test.address, test.text, got, test.want)
		}
	}
}

// TestOriginal proves that a local recipient gets back the address by which it came in,
// and so the prefix once when it comes in again; any other address stays.
func TestOriginal(t *testing.T) {
	v, err := ReadVirtualDomains(strings.NewReader("virt.example:bob\nexample.com:example.com\n.sub.example:a-b\nlist@example.org:owner-list\nnone.example:\n"))
	must(t, err)
	for _, original := range []string{"joe@virt.example", "a-b@virt.example", "bob-joe@virt.example", "joe@example.com", "x-y@h.sub.example", "list@example.org", "-@virt.example"} {
		local := v.Prefix(original) + "-" + original
		if got := v.Original(local); got != original {
			t.Errorf("%s: %s; want %s", local, got, original)
		}
		if got := v.original(Recipient{Address: local, Channel: "remote"}); got != local {
			t.Errorf("remote %s: %s", local, got)
		}
	}
	for _, address := range []string{"joe@local.example", "a-b@local.example", "bob-joe@other.example", "joe", "x-joe@none.example", "", "@", "bob-@x"} {
		if got := v.Original(address); got != address {
			t.Errorf("%s: %s", address, got)
		}
	}
	if got := VirtualDomains(nil).Original("a-b@c"); got != "a-b@c" {
		t.Error(got)
	}
}

// texts are a message's files with their contents, by place.
func texts(t testing.TB, made *queuetest.Queue, n uint64) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range []string{"mess", "intd", "todo", "info", "bounce", "local", "remote", "suppl0", "suppl1"} {
		text, err := os.ReadFile(made.Path(p, n))
		if err == nil {
			all[p] = string(text)
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return all
}

// TestBounce proves what becomes of a message of each kind: the failures of those who
// were to come stand behind those that were there, with the addresses by which they came
// in; each recipient is marked in its file; qmail-send looks at that as soon as it
// starts; a message that was not preprocessed has its sender and nothing else to do; and
// no other message is touched.
func TestBounce(t *testing.T) {
	v, err := ReadVirtualDomains(strings.NewReader("v:bob\n"))
	must(t, err)
	birth := time.Unix(1_700_000_000, 0)
	late := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		m    queuetest.Message
		want map[string]string
	}{
		"S5": {queuetest.Message{Sender: "s@t", Local: []string{"Tbob-joe@v", "Dx@y"}, Remote: []string{"Ta@b", "Tc@d"}, Suppl: [][]string{{"Te@f"}}},
			map[string]string{"info": "Fs@t\x00", "local": "Dbob-joe@v\x00Dx@y\x00", "remote": "Da@b\x00Dc@d\x00", "suppl0": "De@f\x00",
				"bounce": "<joe@v>:\nno luck\n\n<a@b>:\nno luck\n\n<c@d>:\nno luck\n\n<e@f>:\nno luck\n\n"}},
		"bouncing": {queuetest.Message{Sender: "#@[]", Local: []string{"Dq@r"}, Remote: []string{"Da@b", "Tc@d"}, Bounce: "<a@b>:\nearlier\n\n"},
			map[string]string{"info": "F#@[]\x00", "local": "Dq@r\x00", "remote": "Da@b\x00Dc@d\x00", "bounce": "<a@b>:\nearlier\n\n<c@d>:\nno luck\n\n"}},
		"S4": {queuetest.Message{State: "S4", Sender: "", Local: []string{"Tjoe@v"}, Remote: []string{"Ta@b"}},
			map[string]string{"info": "F\x00", "bounce": "<joe@v>:\nno luck\n\n<a@b>:\nno luck\n\n"}},
	} {
		test.m.Birth = birth
		made, q := newQueue(t, queuetest.Layout{Split: 3, Suppl: 1})
		n := add(t, made, test.m)
		other := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Bounce: "x"})
		if name == "S4" { // what an earlier start of the preprocessing left, and what a crash of this did
			put(t, made.Path("info", n), "Fx")
			put(t, made.Path("local", n), "Tx")
			put(t, made.Path("bounce", n), "half a notice")
			put(t, made.Path("info", n)+noticeName, "half")
		}
		for p := range texts(t, made, n) {
			if p == "local" || p == "remote" || p == "suppl0" {
				must(t, os.Chtimes(made.Path(p, n), late, late))
			}
		}
		was, mess := texts(t, made, other), texts(t, made, n)["mess"]
		l := lock(t, q)
		must(t, l.Bounce(readMessage(t, q, n), "no luck", v))
		test.want["mess"] = mess
		got := texts(t, made, n)
		for p := range got {
			if got[p] != test.want[p] {
				t.Errorf("%s: %s has %q; want %q", name, p, got[p], test.want[p])
			}
			st, err := os.Stat(made.Path(p, n))
			must(t, err)
			if (p == "local" || p == "remote" || p == "suppl0") && st.ModTime().After(time.Now()) {
				t.Errorf("%s: %s is due at %v", name, p, st.ModTime())
			}
			if p == "info" && !st.ModTime().Equal(birth) {
				t.Errorf("%s: born %v", name, st.ModTime())
			}
		}
		for p := range test.want {
			if _, ok := got[p]; !ok {
				t.Errorf("%s: no %s", name, p)
			}
		}
		for p, text := range texts(t, made, other) {
			if was[p] != text {
				t.Errorf("%s: the other's %s is %q", name, p, text)
			}
		}
		if found := examine(t, made.Dir, nil); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
		before := tree(t, made.Dir)
		if name != "S4" {
			if err := l.Bounce(readMessage(t, q, n), "again", v); err != ErrNoneLeft {
				t.Errorf("%s: %v", name, err)
			}
			sameTree(t, name, tree(t, made.Dir), before)
		}
	}
}

// TestBounceOwner proves that what is made belongs to qmails, as info and its directory
// do, and not to root: qmail-send could not read it.
func TestBounceOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, state := range []string{"S4", "S5"} {
		made, q := newQueue(t, queuetest.Layout{Split: 3})
		n := add(t, made, queuetest.Message{State: state, Remote: []string{"Ta@b"}})
		must(t, filepath.WalkDir(made.Dir, func(path string, _ os.DirEntry, err error) error {
			rel, _ := filepath.Rel(made.Dir, path)
			if p, _, _ := strings.Cut(rel, "/"); slices.Contains([]string{"info", "local", "remote", "bounce"}, p) {
				return errors.Join(err, os.Lchown(path, 1234, 1235))
			}
			return err
		}))
		must(t, lock(t, q).Bounce(readMessage(t, q, n), "no luck", nil))
		for _, p := range []string{"info", "bounce"} {
			var st unix.Stat_t
			must(t, unix.Stat(made.Path(p, n), &st))
			if st.Uid != 1234 || st.Gid != 1235 || st.Mode&0o7777 != 0o600 {
				t.Errorf("%s: %s is %d:%d, %o", state, p, st.Uid, st.Gid, st.Mode)
			}
		}
	}
}

// TestEndRefuses proves when a message is neither returned, nor made due, nor held, and
// that nothing is touched then: one that is not whole, that is another by now, or that
// has nobody left; and anything without the lock.
func TestEndRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		state  string
		before func(made *queuetest.Queue, n uint64) error // it is read
		after  func(made *queuetest.Queue, n uint64) error
		want   error
	}{
		"S2": {state: "S2", want: ErrHalf}, "S3": {state: "S3", want: ErrHalf},
		"orphan": {state: "S5", before: func(made *queuetest.Queue, n uint64) error { return os.Remove(made.Path("mess", n)) }, want: ErrOrphan},
		"done": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("remote", n), []byte("Da@b\x00"), 0o600)
		}, want: ErrNoneLeft},
		"no channel": {state: "S5", before: func(made *queuetest.Queue, n uint64) error { return os.Remove(made.Path("remote", n)) }, want: ErrNoneLeft},
		"malformed channel": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("remote", n), []byte("Ta@b\x00Tc@"), 0o600)
		}, want: ErrMalformed},
		"malformed todo": {state: "S4", before: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("todo", n), []byte("Ta@b\x00"), 0o600)
		}, want: ErrMalformed},
		"copied": {state: "S5", before: func(made *queuetest.Queue, n uint64) error {
			path := made.Path("mess", n)
			return first(copyFile(path, path+"x"), os.Rename(path+"x", path))
		}, want: ErrCopied},
		"vanished": {state: "S5", after: func(made *queuetest.Queue, n uint64) error { return os.Remove(made.Path("mess", n)) }, want: ErrVanished},
		"changed": {state: "S5", after: func(made *queuetest.Queue, n uint64) error {
			return os.WriteFile(made.Path("info", n), []byte("Fx\x00"), 0o600)
		}, want: ErrChanged},
	} {
		made, q := newQueue(t, queuetest.Layout{})
		n := add(t, made, queuetest.Message{State: test.state, Sender: "s@t", Remote: []string{"Ta@b"}})
		if test.before != nil {
			must(t, test.before(made, n))
		}
		l := lock(t, q)
		m := readMessage(t, q, n)
		if test.after != nil {
			must(t, test.after(made, n))
		}
		dir := t.TempDir()
		holding, err := OpenHolding(dir)
		must(t, err)
		before := tree(t, made.Dir)
		for what, do := range map[string]func() error{
			"Bounce": func() error { return l.Bounce(m, "x", nil) },
			"Due":    func() error { return l.Due(m, time.Now()) },
			"Hold":   func() error { return holding.Hold(l, m, nil) },
			"MayEnd": func() error { return q.MayEnd(m) },
		} {
			if err := do(); !errors.Is(err, test.want) {
				t.Errorf("%s, %s: %v; want %v", name, what, err, test.want)
			}
		}
		sameTree(t, name, tree(t, made.Dir), before)
		if names, err := holding.Names(); len(names) > 0 || err != nil || len(tree(t, dir)) != 1 {
			t.Errorf("%s: held %v, %v", name, names, err)
		}
		must(t, holding.Close())
		must(t, l.Unlock())
		if err := l.Bounce(m, "x", nil); err != ErrUnlocked {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBounceNewer proves that a message whose text is newer than its envelope is left
// alone: that is another's text.
func TestBounceNewer(t *testing.T) {
	for _, state := range []string{"S4", "S5"} {
		made, q := newQueue(t, queuetest.Layout{})
		n := add(t, made, queuetest.Message{State: state, Remote: []string{"Ta@b"}})
		soon := time.Now().Add(time.Minute)
		must(t, os.Chtimes(made.Path("mess", n), soon, soon))
		before := tree(t, made.Dir)
		if err := lock(t, q).Bounce(readMessage(t, q, n), "x", nil); err == nil {
			t.Error("returned")
		}
		sameTree(t, state, tree(t, made.Dir), before)
	}
}

// killSteps runs this binary in a role again and again, each time on what make makes
// anew, and kills it at one more of the system calls that change anything, until it comes
// to its end; after each kill check is called, then the role runs whole, and then done.
func killSteps(t *testing.T, role string, make func() (args []string), check, done func(what string)) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	kills := 0
	for _, call := range []string{"openat", "write", "pwrite64", "fsync", "renameat2", "unlinkat", "utimensat", "fchmod"} {
		for when := 1; ; when++ {
			what := fmt.Sprintf("killed at %s %d", call, when)
			args := make()
			cmd := command(t, append([]string{role}, args...)...)
			cmd.Args = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
				"-e", "inject=" + call + ":signal=KILL:when=" + strconv.Itoa(when)}, cmd.Path)
			cmd.Path = strace
			killed := cmd.Run() != nil
			if killed {
				kills++
				check(what)
				must(t, command(t, append([]string{role}, args...)...).Run())
			}
			done(what)
			if !killed {
				break
			}
		}
	}
	if kills < 20 {
		t.Errorf("%d kills only", kills)
	}
}

// TestBounceKilled proves that a kill at any step leaves every recipient to be tried, or
// with his failure told, and text and sender with it; and that the next run ends it.
func TestBounceKilled(t *testing.T) {
	for _, state := range []string{"S5", "bouncing", "S4"} {
		m := queuetest.Message{State: state, Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Dc@d", "Te@f"}}
		if state == "bouncing" {
			m.State, m.Bounce = "S5", "<c@d>:\nearlier\n\n"
		}
		var made *queuetest.Queue
		var n uint64
		wanted := []string{"a@b", "e@f"}
		if state == "S4" {
			wanted = append(wanted, "c@d")
		}
		check := func(what string, ended bool) {
			what = state + ", " + what
			is := texts(t, made, n)
			envelope := is["todo"]
			if envelope == "" {
				envelope = is["local"] + is["remote"]
			}
			for _, address := range wanted {
				tried := strings.Contains(envelope, "T"+address+"\x00")
				told := strings.Contains(is["bounce"], "<"+address+">:\nno luck\n\n")
				if !told && (ended || !tried) || ended && tried {
					t.Errorf("%s: %s is tried: %v, told: %v", what, address, tried, told)
				}
			}
			if !strings.Contains(is["bounce"], m.Bounce) || is["mess"] == "" || is["todo"] == "" && is["info"] != "Fs@t\x00" {
				t.Errorf("%s: %q", what, is)
			}
			for _, damage := range examine(t, made.Dir, nil) {
				// A notice that is too many, or was not all written.
				if ended || !strings.HasPrefix(damage, "stale bounce/") && !strings.HasSuffix(damage, noticeName) {
					t.Errorf("%s: %s", what, damage)
				}
			}
		}
		killSteps(t, "bounce", func() []string {
			made, _ = newFastQueue(t, queuetest.Layout{Split: 2})
			n = add(t, made, m)
			return []string{made.Dir}
		}, func(what string) { check(what, false) }, func(what string) { check(what, true) })
	}
}

// TestDue proves that the channels of a message that is made due are at the time that was
// asked for, that one which is due already stays, and that nobody else's change.
func TestDue(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	m := queuetest.Message{Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}, Birth: time.Unix(1_700_000_000, 0)}
	n, other, early := add(t, made, m), add(t, made, m), add(t, made, queuetest.Message{State: "S4", Remote: []string{"Tx"}})
	late, past, now := time.Now().Add(time.Hour).Truncate(time.Second), time.Unix(1_700_000_500, 0), time.Unix(1_750_000_000, 5000)
	for _, p := range []string{made.Path("local", n), made.Path("local", other), made.Path("remote", other)} {
		must(t, os.Chtimes(p, late, late))
	}
	must(t, os.Chtimes(made.Path("remote", n), past, past))
	l := lock(t, q)
	before := tree(t, made.Dir)
	must(t, l.Due(readMessage(t, q, n), now))
	must(t, l.Due(readMessage(t, q, early), now))
	sameTree(t, "due", tree(t, made.Dir), before)
	for path, want := range map[string]time.Time{made.Path("local", n): now, made.Path("remote", n): past,
		made.Path("local", other): late, made.Path("remote", other): late, made.Path("info", n): m.Birth} {
		if st, err := os.Stat(path); err != nil || !st.ModTime().Equal(want) {
			t.Errorf("%s: %v, %v; want %v", path, st.ModTime(), err, want)
		}
	}
}

// TestBounceMany proves on random queues of every layout that what MayEnd takes is
// returned, with as many failures as there were recipients, that the queue is sound
// afterwards, and that all else is as it was.
func TestBounceMany(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 20))
	for _, l := range layouts {
		made, q := newFastQueue(t, l)
		fill(t, made, r, 60)
		held := lock(t, q)
		returned := 0
		var all []*Message
		must(t, q.List(Listing{}, func(m *Message) bool { all = append(all, m); return true }))
		for _, m := range all {
			before := tree(t, made.Dir)
			open := 0
			for _, r := range m.Recipients {
				if !r.Done {
					open++
				}
			}
			was := strings.Count(texts(t, made, m.Number)["bounce"], ">:\n")
			may := q.MayEnd(m)
			err := held.Bounce(m, "no luck", nil)
			if !errors.Is(err, may) {
				t.Errorf("%s: MayEnd %v, Bounce %v", m.State(), may, err)
			}
			if err != nil {
				sameTree(t, "refused", tree(t, made.Dir), before)
				continue
			}
			returned++
			if got := strings.Count(texts(t, made, m.Number)["bounce"], ">:\n"); got != was+open {
				t.Errorf("%s: %d failures; want %d", m.State(), got, was+open)
			}
			again := readMessage(t, q, m.Number)
			if again.State() != S5 || q.MayEnd(again) != ErrNoneLeft {
				t.Errorf("%s is %s, %v", m.State(), again.State(), q.MayEnd(again))
			}
		}
		if returned < 20 {
			t.Errorf("%+v: %d returned", l, returned)
		}
		if found := examine(t, made.Dir, nil); len(found) > 0 {
			t.Errorf("%+v: %q", l, found)
		}
	}
}
