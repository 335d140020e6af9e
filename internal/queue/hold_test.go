package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
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
	roles["hold-all"] = func(args []string) error {
		h, err := OpenHolding(args[1])
		if err != nil {
			return err
		}
		return eachLocked(args[0], func(l *Lock, m *Message) error { return h.Hold(l, m, nil) })
	}
}

// holding opens a directory to hold messages in.
func holding(t testing.TB, dir string) *Holding {
	t.Helper()
	h, err := OpenHolding(dir)
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

// heldIn reads a held message with its text.
func heldIn(t testing.TB, h *Holding, name string) (*Held, string) {
	t.Helper()
	held, f, err := h.Open(name)
	must(t, err)
	defer f.Close()
	text, err := io.ReadAll(f)
	must(t, err)
	return held, string(text)
}

// TestHold proves what is held of a message of each kind, and what is left of it in the
// queue: nothing; but of one of which recipients have failed already, so much that
// qmail-send tells that and ends it.
func TestHold(t *testing.T) {
	v, err := ReadVirtualDomains(strings.NewReader("v:bob\n"))
	must(t, err)
	birth := time.Unix(1_700_000_000, 0)
	late := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		m        queuetest.Message
		envelope string
		left     map[string]string
	}{
		"S5": {queuetest.Message{Sender: "s@t", Local: []string{"Tbob-joe@v", "Dx@y"}, Remote: []string{"Ta@b"}, Suppl: [][]string{{"Te@f"}}},
			"Fs@t\x00Tjoe@v\x00Ta@b\x00Te@f\x00\x00", nil},
		"S4":    {queuetest.Message{State: "S4", Sender: "list-@t-@[]", Local: []string{"Tbob-joe@v"}}, "Flist-@t-@[]\x00Tbob-joe@v\x00\x00", nil},
		"empty": {queuetest.Message{Sender: "", Remote: []string{"Ta@b"}}, "F\x00Ta@b\x00\x00", nil},
		"bouncing": {queuetest.Message{Sender: "s@t", Remote: []string{"Da@b", "Tc@d"}, Bounce: "<a@b>:\nearlier\n\n"},
			"Fs@t\x00Tc@d\x00\x00", map[string]string{"info": "Fs@t\x00", "remote": "Da@b\x00Dc@d\x00", "bounce": "<a@b>:\nearlier\n\n"}},
	} {
		test.m.Birth, test.m.Body = birth, "Subject: "+name+"\n\nbody\x00\xff\n"
		made, q := newQueue(t, queuetest.Layout{Split: 3, Suppl: 1})
		n := add(t, made, test.m)
		if name == "bouncing" {
			must(t, os.Chtimes(made.Path("remote", n), late, late))
		}
		text := texts(t, made, n)["mess"]
		m := readMessage(t, q, n)
		dir := t.TempDir()
		h := holding(t, dir)
		must(t, h.Hold(lock(t, q), m, v))
		if test.left != nil {
			test.left["mess"] = text
			if st, err := os.Stat(made.Path("remote", n)); err != nil || st.ModTime().After(time.Now()) {
				t.Errorf("%s: %v, %v", name, st.ModTime(), err)
			}
		}
		if left := texts(t, made, n); !maps.Equal(left, test.left) {
			t.Errorf("%s: left %q; want %q", name, left, test.left)
		}
		if found := examine(t, made.Dir, nil); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
		names, err := h.Names()
		must(t, err)
		if !slices.Equal(names, []string{fmt.Sprint(n)}) {
			t.Fatalf("%s: %q", name, names)
		}
		held, got := heldIn(t, h, names[0])
		if got != text || string(held.Envelope()) != test.envelope {
			t.Errorf("%s: %q, %q; want %q, %q", name, got, held.Envelope(), text, test.envelope)
		}
		if held.Number != n || !held.Birth.Equal(birth) || held.Injector != strconv.Itoa(os.Getuid()) || held.Size != int64(len(text)) {
			t.Errorf("%s: %+v", name, held)
		}
		for i, r := range held.Recipients {
			if r.Recipient != m.Recipients[i] {
				t.Errorf("%s: %+v; want %+v", name, r, m.Recipients[i])
			}
		}
	}
}

// TestHoldAgain proves that the next message of a number that is held gets a name of its
// own, also where only a text is left of the first; and that what is dropped is away.
func TestHoldAgain(t *testing.T) {
	dir := t.TempDir()
	h := holding(t, dir)
	made, q := newQueue(t, queuetest.Layout{})
	l := lock(t, q)
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: "Subject: new\n\n"})
	put(t, filepath.Join(dir, fmt.Sprint(n)+textExt), "left")
	put(t, filepath.Join(dir, fmt.Sprint(n)+".2"+heldExt), "somebody's")
	must(t, h.Hold(l, readMessage(t, q, n), nil))
	name := fmt.Sprint(n) + ".3"
	if _, text := heldIn(t, h, name); !strings.HasSuffix(text, "Subject: new\n\n") {
		t.Errorf("%q", text)
	}
	must(t, h.Drop(name))
	left := slices.Sorted(maps.Keys(tree(t, dir)))
	if want := []string{".", fmt.Sprint(n) + ".2" + heldExt, fmt.Sprint(n) + textExt}; !slices.Equal(left, want) {
		t.Errorf("%q; want %q", left, want)
	}
}

// TestHoldKilled proves that a kill at any step leaves every recipient with his text in
// the queue, or held, or both; that an envelope never stands without its text; and that
// the next run ends it.
func TestHoldKilled(t *testing.T) {
	for _, state := range []string{"S5", "bouncing", "S4"} {
		m := queuetest.Message{State: state, Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Dc@d", "Te@f"}}
		if state == "bouncing" {
			m.State, m.Bounce = "S5", "<c@d>:\nearlier\n\n"
		}
		var made *queuetest.Queue
		var n uint64
		var dir, text string
		wanted := []string{"a@b", "e@f"}
		if state == "S4" {
			wanted = append(wanted, "c@d")
		}
		check := func(what string, ended bool) {
			what = state + ", " + what
			is := texts(t, made, n)
			h, err := OpenHolding(dir)
			must(t, err)
			defer h.Close()
			names, err := h.Names()
			must(t, err)
			var envelopes string
			for _, name := range names {
				held, got := heldIn(t, h, name)
				if got != text {
					t.Errorf("%s: held %q", what, got)
				}
				envelopes += string(held.Envelope())
			}
			queued := is["todo"]
			if queued == "" {
				queued = is["local"] + is["remote"]
			}
			for _, address := range wanted {
				inQueue := strings.Contains(queued, "T"+address+"\x00") && is["mess"] == text
				held := strings.Contains(envelopes, "T"+address+"\x00")
				if !held && (ended || !inQueue) || ended && inQueue {
					t.Errorf("%s: %s is in the queue: %v, held: %v", what, address, inQueue, held)
				}
			}
			if is["bounce"] != m.Bounce {
				t.Errorf("%s: bounce %q", what, is["bounce"])
			}
			if found := examine(t, made.Dir, nil); len(found) > 0 {
				t.Errorf("%s: %q", what, found)
			}
		}
		killSteps(t, "hold-all", func() []string {
			made, _ = newFastQueue(t, queuetest.Layout{Split: 2})
			n = add(t, made, m)
			text = texts(t, made, n)["mess"]
			dir = t.TempDir()
			return []string{made.Dir, dir}
		}, func(what string) { check(what, false) }, func(what string) { check(what, true) })
	}
}

// TestHoldFull proves that a full disk is an error that leaves the message in the queue
// and nothing in the directory.
func TestHoldFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: strings.Repeat("x\n", 50<<10)})
	before := tree(t, made.Dir)
	h := holding(t, dir)
	if err := h.Hold(lock(t, q), readMessage(t, q, n), nil); !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	sameTree(t, "full", tree(t, made.Dir), before)
	if left := tree(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestHoldingRefuses proves that what somebody else could have put or changed there is
// never given back, nor anything but a whole message: a user's link would send a file of
// root's.
func TestHoldingRefuses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for name, mode := range map[string]os.FileMode{"group": 0o770, "others": 0o702} {
		dir := t.TempDir()
		must(t, os.Chmod(dir, mode))
		if _, err := OpenHolding(dir); !errors.Is(err, ErrShared) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	must(t, os.Chown(dir, 1234, -1))
	if _, err := OpenHolding(dir); !errors.Is(err, ErrShared) {
		t.Error(err)
	}
	dir = t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "mode=700"))
	_, err := OpenHolding(dir)
	must(t, unix.Unmount(dir, unix.MNT_DETACH))
	if !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
	dir = t.TempDir()
	h := holding(t, dir)
	if _, err := OpenHolding(dir); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	must(t, h.Hold(lock(t, q), readMessage(t, q, n), nil))
	for name, test := range map[string]struct {
		ext  string
		do   func(path string) error
		want error
	}{
		"a link":          {textExt, func(path string) error { return first(os.Remove(path), os.Symlink("/etc/shadow", path)) }, ErrNotRegular},
		"a link to it":    {heldExt, func(path string) error { return first(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }, ErrNotRegular},
		"a FIFO":          {textExt, func(path string) error { return first(os.Remove(path), unix.Mkfifo(path, 0o600)) }, ErrNotRegular},
		"another's":       {textExt, func(path string) error { return os.Chown(path, 1234, -1) }, ErrShared},
		"writable":        {heldExt, func(path string) error { return os.Chmod(path, 0o666) }, ErrShared},
		"cut off":         {textExt, func(path string) error { return os.Truncate(path, 10) }, nil},
		"no text":         {textExt, os.Remove, unix.ENOENT},
		"half a envelope": {heldExt, func(path string) error { return os.Truncate(path, 20) }, ErrHeld},
		"no envelope":     {heldExt, func(path string) error { return os.Truncate(path, 0) }, ErrHeld},
	} {
		copyDir := t.TempDir()
		for _, ext := range []string{textExt, heldExt} {
			file := fmt.Sprint(n) + ext
			must(t, copyFile(filepath.Join(dir, file), filepath.Join(copyDir, file)))
			must(t, os.Chmod(filepath.Join(copyDir, file), 0o600))
		}
		must(t, os.Chmod(copyDir, 0o700))
		h := holding(t, copyDir)
		heldIn(t, h, fmt.Sprint(n))
		must(t, test.do(filepath.Join(copyDir, fmt.Sprint(n)+test.ext)))
		if _, f, err := h.Open(fmt.Sprint(n)); f != nil || err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
	}
}

// TestHoldUnknown proves that a message with a record that only a patched qmail knows is
// not held: qmail-queue does not take it back.
func TestHoldUnknown(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{State: "S4", Local: []string{"Ta@b"}})
	put(t, made.Path("todo", n), "u0\x00p1\x00Fs@t\x00Kx\x00Ta@b\x00")
	before := tree(t, made.Dir)
	if err := holding(t, t.TempDir()).Hold(lock(t, q), readMessage(t, q, n), nil); !errors.Is(err, ErrUnknownKind) {
		t.Error(err)
	}
	sameTree(t, "unknown", tree(t, made.Dir), before)
}

// FuzzHeld proves that whatever stands in the place of an envelope, it is read without a
// crash; that what is taken for one is, when written, the same bytes; and that of none a
// byte can be changed without its being noticed.
func FuzzHeld(f *testing.F) {
	r := rand.New(rand.NewPCG(17, 30))
	v := VirtualDomains{"例.test": "user1"}
	for range 5 {
		m := random(r, queuetest.Layout{Suppl: 1})
		msg := &Message{Found: Found{Number: r.Uint64()}, Sender: m.Sender, Recipients: recipients(m), Size: r.Int64(), Birth: m.Birth}
		h := msg.held("5", v)
		text := h.text()
		f.Add(text)
		got, err := parseHeld(text)
		if err != nil || !bytes.Equal(got.text(), text) || !slices.Equal(got.Recipients, h.Recipients) || got.Sender != h.Sender || got.Number != h.Number {
			f.Fatalf("%q: %+v, %v", text, got, err)
		}
		for i := range text {
			spoilt := bytes.Clone(text)
			spoilt[i] ^= 1
			if _, err := parseHeld(spoilt); err != ErrHeld {
				f.Fatalf("%q, byte %d: %v", text, i, err)
			}
			if _, err := parseHeld(text[:i]); err != ErrHeld {
				f.Fatalf("%q, %d bytes: %v", text, i, err)
			}
		}
	}
	f.Add([]byte(heldHead))
	f.Add([]byte("E"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHeld(text)
		if err != nil {
			if err != ErrHeld {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(h.text(), text) {
			t.Errorf("%q became %q", text, h.text())
		}
	})
}
