package queue

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"kowaza/internal/queue/queuetest"
)

// TestSave proves that the text is saved byte for byte and the envelope as one
// line, both for nobody else to read.
func TestSave(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	dir := t.TempDir()
	s, err := NewSaver(dir)
	must(t, err)
	defer s.Close()
	for _, state := range []string{"S2", "S3", "S4", "S5"} {
		n := add(t, made, queuetest.Message{State: state, Sender: "s@t", Local: []string{"Ta@b"}, Body: "Subject: \x00\xff\r\n\r\nno end"})
		m := readMessage(t, q, n)
		before := tree(t, made.Dir)
		must(t, s.Save(q, m))
		gone(t, before, tree(t, made.Dir))
		want, err := os.ReadFile(made.Path("mess", n))
		must(t, err)
		line, err := m.JSON()
		must(t, err)
		for name, want := range map[string]string{".eml": string(want), ".json": string(line) + "\n"} {
			path := filepath.Join(dir, strconv.FormatUint(n, 10)+name)
			got, err := os.ReadFile(path)
			must(t, err)
			st, err := os.Stat(path)
			must(t, err)
			if string(got) != want || st.Mode() != 0o600 {
				t.Errorf("%s: %q, %v; want %q", name, got, st.Mode(), want)
			}
		}
	}
	if all := tree(t, dir); len(all) != 1+8 {
		t.Errorf("%v", all)
	}
}

// TestSaveRefuses proves that nothing is written over, that where one file
// cannot be made the other is not left either, and that only the message that
// was read is saved.
func TestSaveRefuses(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	dir := t.TempDir()
	s, err := NewSaver(dir)
	must(t, err)
	defer s.Close()
	m := readMessage(t, q, add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: "x\n"}))
	number := filepath.Join(dir, strconv.FormatUint(m.Number, 10))
	unchanged := func(want error, path string) {
		t.Helper()
		before := tree(t, dir)
		wantError(t, s.Save(q, m), want, path)
		if g := gone(t, before, tree(t, dir)); len(g) > 0 {
			t.Error(g)
		}
	}
	for _, path := range []string{number + ".eml", number + ".json"} {
		put(t, path, "earlier")
		unchanged(fs.ErrExist, path)
		must(t, os.Remove(path))
		must(t, os.Symlink("nowhere", path))
		unchanged(fs.ErrExist, path)
		must(t, os.Remove(path))
		must(t, os.Mkdir(path, 0o700))
		unchanged(fs.ErrExist, path)
		must(t, os.Remove(path))
	}
	text, err := os.ReadFile(made.Path("mess", m.Number))
	must(t, err)
	put(t, made.Path("mess", m.Number), strings.ToUpper(string(text))) // as long
	unchanged(ErrChanged, "")
	must(t, os.Remove(made.Path("mess", m.Number)))
	unchanged(ErrVanished, "")
	n := m.Number
	m = readMessage(t, q, n)
	unchanged(ErrOrphan, "")
	if _, err := NewSaver(filepath.Join(dir, "missing")); err == nil {
		t.Error("opened")
	}
}
