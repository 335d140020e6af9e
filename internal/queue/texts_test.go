package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/queue/queuetest"
)

// TestTexts proves that who has the group of mess alone finds the text of a message
// by what is in it, sees it leave, and is told of its failures if he may be; that what
// is older is not opened; and that an access time stays as it was.
func TestTexts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP only root gives directories to a group")
	}
	dir := filepath.Join(t.TempDir(), "queue")
	for up := filepath.Dir(dir); up != "/tmp" && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	q, err := queuetest.Make(dir, queuetest.Layout{Split: 23})
	if err != nil {
		t.Fatal(err)
	}
	add := func(m queuetest.Message) uint64 {
		n, err := q.Add(m)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	old := add(queuetest.Message{Remote: []string{"Ta@b"}, Body: "X: old mark\n\n"})
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(q.Path("mess", old), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	half := add(queuetest.Message{State: "S2", Body: "X: half\n"})
	number := add(queuetest.Message{Remote: []string{"Ta@b"}, Body: "X: mark\n\n" + strings.Repeat("x", 1000), Bounce: "<a@b>:\nno\n\n"})
	add(queuetest.Message{State: "S4", Local: []string{"Ta@b"}, Body: "X: other\n\n"})
	for _, err := range []error{
		os.WriteFile(dir+"/elsewhere", []byte("X: mark\n\n"), 0o644),
		os.Symlink("../../elsewhere", filepath.Join(q.Dir, "mess/0/23000000")),
		unix.Mkfifo(filepath.Join(q.Dir, "mess/1/23000001"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, dir + "/mess"} {
		if err := os.Chown(d, 0, 65534); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 23 {
		if err := os.Chown(fmt.Sprintf("%s/mess/%d", dir, i), 0, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenTexts(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no queue: %v", err)
	}

	find := func(texts *Texts) *Text {
		var found *Text
		if err := texts.Since(begin, 300, func(m *Text) bool {
			if strings.Contains(string(m.Text), "old") {
				t.Error("an old one was opened")
			}
			if m.Number >= 23000000 {
				t.Errorf("%d is no file", m.Number)
			}
			if len(m.Text) > 300 {
				t.Errorf("%d bytes", len(m.Text))
			}
			if strings.Contains(string(m.Text), "mark") {
				found = m
			}
			return true
		}); err != nil {
			t.Error(err)
		}
		return found
	}
	is := func(text []byte) bool { return strings.Contains(string(text), "mark") }
	asNobody(t, func() {
		if _, err := Open(dir); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("nobody opens the whole queue: %v", err)
		}
		texts, err := OpenTexts(dir)
		if err != nil {
			t.Error(err)
			return
		}
		defer texts.Close()
		m := find(texts)
		if m == nil || m.Number != number {
			t.Errorf("found %v; want %d", m, number)
			return
		}
		if has, err := texts.Has(m, 300, is); !has || err != nil {
			t.Errorf("it is there: %v, %v", has, err)
		}
		if text := texts.Bounce(m, 100); text != nil {
			t.Errorf("nobody reads %q", text)
		}
	})

	atime := func() unix.Timespec {
		var st unix.Stat_t
		if err := unix.Stat(q.Path("mess", half), &st); err != nil {
			t.Fatal(err)
		}
		return st.Atim
	}
	// relatime writes an access time only where it is before the mtime.
	if err := os.Chtimes(q.Path("mess", half), hourAgo, time.Now()); err != nil {
		t.Fatal(err)
	}
	before := atime()
	texts, err := OpenTexts(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer texts.Close()
	m := find(texts)
	if atime() != before {
		t.Error("the access time of a half received message has changed")
	}
	if text := string(texts.Bounce(m, 6)); text != "<a@b>:" {
		t.Errorf("bounce: %q", text)
	}
	if err := os.Remove(q.Path("bounce", number)); err != nil {
		t.Fatal(err)
	}
	if text := texts.Bounce(m, 6); text != nil {
		t.Errorf("no bounce: %q", text)
	}
	if err := os.WriteFile(q.Path("mess", number), []byte("X: another\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if has, err := texts.Has(m, 300, is); has || err != nil {
		t.Errorf("another has its number: %v, %v", has, err)
	}
	if err := os.Remove(q.Path("mess", number)); err != nil {
		t.Fatal(err)
	}
	if has, err := texts.Has(m, 300, is); has || err != nil {
		t.Errorf("it has left: %v, %v", has, err)
	}
}
