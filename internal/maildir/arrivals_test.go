package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// arrivals opens a Maildir with some old messages for a test, in its owner's name.
func arrivals(t *testing.T, inbox string, f func(a *Arrivals, maildir string)) string {
	t.Helper()
	home := t.TempDir()
	makeMaildir(t, home, 3, ".F")
	path := filepath.Join(home, "Maildir")
	if inbox != "" {
		makeMaildir(t, path, 3)
		if err := os.Rename(filepath.Join(path, "Maildir"), filepath.Join(path, inbox)); err != nil {
			t.Fatal(err)
		}
	}
	err := <-GoInOwnersName(path, false, func(b *Box) error {
		a, err := b.Arrivals(inbox)
		if err != nil {
			return err
		}
		defer a.Close()
		f(a, path)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return path
}

// put makes a message. Unlike deliver it may be called on any goroutine.
func put(t *testing.T, file string) {
	if err := os.WriteFile(file, []byte("12345678"), 0o644); err != nil {
		t.Error(err)
	}
}

// look returns what Look gives, and its text.
func look(t *testing.T, a *Arrivals) (found []string) {
	t.Helper()
	err := a.Look(func(m *Arrival) bool {
		text, ok, err := m.Text(5)
		if err != nil {
			t.Error(err)
		}
		if ok {
			found = append(found, m.Path+" "+string(text))
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	return found
}

// TestArrivals proves that each message that comes into new or cur is told once, that
// what was there before is not, whatever flags it gets, and that nothing else is: no
// link, FIFO, directory or hidden file; in the INBOX and nowhere else.
func TestArrivals(t *testing.T) {
	for _, inbox := range []string{"", "in"} {
		arrivals(t, inbox, func(a *Arrivals, maildir string) {
			in := filepath.Join(maildir, inbox)
			want := func(want ...string) {
				t.Helper()
				if got := look(t, a); !slices.Equal(got, want) {
					t.Errorf("INBOX %q: %q; want %q", inbox, got, want)
				}
			}
			rename := func(from, to string) {
				t.Helper()
				if err := os.Rename(in+from, in+to); err != nil {
					t.Error(err)
				}
			}
			want()
			put(t, in+"/new/a")
			want("new/a 12345")
			want()
			rename("/new/a", "/cur/a:2,S")
			rename("/new/0.x", "/cur/0.x:2,S")
			want()
			rename("/cur/a:2,S", "/cur/a:2,ST")
			put(t, in+"/cur/b:2,S")
			put(t, in+"/new/.hidden")
			put(t, in+"/tmp/c")
			for _, err := range []error{os.Symlink("a", in+"/new/link"), os.Mkdir(in+"/new/dir", 0o755), syscall.Mkfifo(in+"/new/fifo", 0o644)} {
				if err != nil {
					t.Error(err)
				}
			}
			want("cur/b:2,S 12345")
			rename("/tmp/c", "/new/c")
			want("new/c 12345")
			if inbox != "" {
				put(t, maildir+"/new/d")
				want()
			}
			// Whoever takes new away and makes it anew does not hide what comes there, nor
			// meanwhile what comes into cur.
			rename("/new", "/older")
			put(t, in+"/cur/f")
			err := a.Look(func(m *Arrival) bool { _, _, err := m.Text(5); return err == nil && m.Path == "cur/f" })
			if !errors.Is(err, ErrAway) {
				t.Errorf("new is away: %v", err)
			}
			if err := os.Mkdir(in+"/new", 0o755); err != nil {
				t.Error(err)
			}
			put(t, in+"/new/e")
			want("new/e 12345")
		})
	}
}

// TestArrivalsVanish proves that a message that is moved while it is opened is told
// under its new name, that one that vanished is no error, and that a link in its place is
// not followed.
func TestArrivalsVanish(t *testing.T) {
	arrivals(t, "", func(a *Arrivals, maildir string) {
		put(t, maildir+"/new/a")
		put(t, maildir+"/new/b")
		put(t, maildir+"/new/c")
		put(t, maildir+"/elsewhere")
		var got []string
		err := a.Look(func(m *Arrival) bool {
			switch m.Path {
			case "new/a":
				os.Rename(maildir+"/new/a", maildir+"/cur/a:2,")
			case "new/b":
				os.Remove(maildir + "/new/b")
			case "new/c":
				os.Remove(maildir + "/new/c")
				os.Symlink("../elsewhere", maildir+"/new/c")
			}
			_, ok, err := m.Text(5)
			if err != nil {
				t.Error(err)
			}
			if ok {
				got = append(got, m.Path)
			}
			return true
		})
		if err != nil || !slices.Equal(got, []string{"cur/a:2,"}) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestArrivalsWait proves that Wait returns when a message has come, long before its
// time where there is inotify, and at its time where there is none or nothing comes; and
// that it can be interrupted, again and again.
func TestArrivalsWait(t *testing.T) {
	arrivals(t, "", func(a *Arrivals, maildir string) {
		look(t, a)
		a.Wait(time.Hour)
		look(t, a)
		if a.notify < 0 {
			t.Error("no inotify")
			return
		}
		go put(t, maildir+"/new/a")
		a.Wait(time.Hour)
		deadline := time.Now().Add(time.Minute) // the name is there a moment after its file
		for len(look(t, a)) == 0 && time.Now().Before(deadline) {
			a.Wait(time.Hour)
		}
		begin := time.Now()
		look(t, a)
		a.Wait(20 * time.Millisecond)
		if time.Since(begin) < 20*time.Millisecond {
			t.Error("Wait did not wait")
		}
		unix.Close(a.notify)
		a.notify = -1
		begin = time.Now()
		look(t, a)
		a.Wait(20 * time.Millisecond)
		if time.Since(begin) < 20*time.Millisecond {
			t.Error("without inotify Wait did not wait")
		}
		for range 2 {
			a.Interrupt()
			a.Wait(time.Hour)
		}
		a.looked = time.Now().Add(time.Hour) // also in the pause
		a.Interrupt()
		a.Wait(time.Hour)
	})
}

// TestArrivalRemove proves that of all that may happen between reading and removing
// nothing takes another file with it: one that has the name by then, a link, a
// directory; that a message goes under the name that a client gave it; and that each
// is booked once, by the size in its name or its own.
func TestArrivalRemove(t *testing.T) {
	const elsewhere = "elsewhere"
	for name, test := range map[string]struct {
		name   string
		change func(dir string) error
		err    error
		left   string // of what the change has made, and of the message
		booked string
	}{
		"as it was":                   {"a", func(string) error { return nil }, nil, "", "-8 -1\n"},
		"its size in its name":        {"a,S=4711", func(string) error { return nil }, nil, "", "-4711 -1\n"},
		"a client has read it":        {"a", func(d string) error { return os.Rename(d+"/new/a", d+"/cur/a:2,S") }, nil, "", "-8 -1\n"},
		"a client has thrown it away": {"a", func(d string) error { return os.Rename(d+"/new/a", d+"/cur/a:2,ST") }, nil, "", ""},
		"gone":                        {"a", func(d string) error { return os.Remove(d + "/new/a") }, nil, "", ""},
		"moved into a folder":         {"a", func(d string) error { return os.Rename(d+"/new/a", d+"/.F/cur/a") }, nil, ".F/cur/a", ""},
		"a file has its name":         {"a", func(d string) error { return os.Rename(d+"/.F/new/0.x", d+"/new/a") }, ErrExchanged, "new/a", ""},
		"a file has its name in cur":  {"a", func(d string) error { os.Remove(d + "/new/a"); return os.Rename(d+"/.F/new/0.x", d+"/cur/a:2,S") }, nil, "cur/a:2,S", ""},
		"a link has its name":         {"a", func(d string) error { os.Remove(d + "/new/a"); return os.Symlink(d+"/"+elsewhere, d+"/new/a") }, ErrExchanged, "new/a " + elsewhere, ""},
		"a directory has its name":    {"a", func(d string) error { os.Remove(d + "/new/a"); return os.Mkdir(d+"/new/a", 0o755) }, ErrExchanged, "new/a", ""},
		"a file has its name, it is in cur": {"a", func(d string) error {
			os.Rename(d+"/new/a", d+"/cur/a:2,")
			return os.Rename(d+"/.F/new/0.x", d+"/new/a")
		}, nil, "new/a", "-8 -1\n"},
		"new is a link to a folder": {"a", func(d string) error {
			os.Rename(d+"/new", d+"/older")
			os.Rename(d+"/.F/new/0.x", d+"/.F/new/a")
			return os.Symlink(".F/new", d+"/new")
		}, nil, ".F/new/a", "-8 -1\n"},
	} {
		arrivals(t, "", func(a *Arrivals, maildir string) {
			for file, text := range map[string]string{elsewhere: "x", "maildirsize": "1000S\n100 3\n"} {
				if err := os.WriteFile(filepath.Join(maildir, file), []byte(text), 0o644); err != nil {
					t.Error(err)
				}
			}
			look(t, a)
			before := allFiles(t, maildir)
			put(t, maildir+"/new/"+test.name)
			err := a.Look(func(m *Arrival) bool {
				if _, ok, err := m.Text(5); !ok || err != nil {
					t.Errorf("%s: %s: %v", name, m.Path, err)
				}
				if err := test.change(maildir); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if err := m.Remove(TrashAuto); !errors.Is(err, test.err) || err != nil && test.err == nil {
					t.Errorf("%s: %v; want %v", name, err, test.err)
				}
				return false
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, file := range strings.Fields(test.left) {
				if _, err := os.Lstat(filepath.Join(maildir, file)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			// The change may have moved one message of .F, and nothing else is gone.
			gone := 0
			for _, file := range before {
				if _, err := os.Lstat(file); err != nil && !strings.HasPrefix(file, maildir+"/.F/new") && !strings.HasPrefix(file, maildir+"/new") {
					gone++
				}
			}
			if gone > 0 {
				t.Errorf("%s: %d other files are gone", name, gone)
			}
			text, err := os.ReadFile(maildir + "/maildirsize")
			if got := strings.TrimPrefix(string(text), "1000S\n100 3\n"); err != nil || got != test.booked {
				t.Errorf("%s: booked %q, %v; want %q", name, got, err, test.booked)
			}
		})
	}
}

// allFiles lists all files below a directory.
func allFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

// TestArrivalsNoMaildir proves that what is no Maildir, or has no such INBOX, is an
// error that says so.
func TestArrivalsNoMaildir(t *testing.T) {
	home := t.TempDir()
	makeMaildir(t, home, 1)
	for inbox, path := range map[string]string{"": home, "in": filepath.Join(home, "Maildir")} {
		err := <-GoInOwnersName(path, false, func(b *Box) error {
			a, err := b.Arrivals(inbox)
			if err == nil {
				a.Close()
			}
			return err
		})
		var no *NotMaildirError
		if !errors.As(err, &no) {
			t.Errorf("%s, INBOX %q: %v", path, inbox, err)
		}
	}
}
