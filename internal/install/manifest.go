package install

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
)

// The kinds of what the manifest notes.
const (
	kindFile  = "file"  // value: SHA-256 in hexadecimal
	kindLink  = "link"  // value: what the link says
	kindMoved = "moved" // value: where the script is that stood there
)

// An entry is a line of the manifest: what was put, or is about to be put, at path.
type entry struct {
	kind, value, path string
}

func (e entry) line() string { return e.kind + "\t" + e.value + "\t" + e.path + "\n" }

// A manifest is the list of what was put in place. A line is added before the step
// that it tells of, so that whatever is killed in between, what stands there is
// known to be ours; so a path may have several lines. Paths are without DESTDIR.
type manifest struct {
	file    string
	entries []entry
	text    string // of the file
	ragged  bool   // its last line was not finished
}

const manifestHead = "# What kowaza --install put in place: kind, SHA-256 or target, path. Its -u reads it.\n"

// readManifest reads the file; one that is not there has no entries.
func readManifest(file string) (*manifest, error) {
	m := &manifest{file: file}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	m.text = string(text)
	n := 0
	for line := range strings.Lines(m.text) {
		n++
		whole, ok := strings.CutSuffix(line, "\n")
		if !ok { // the disk was full, or the process was killed: that step was not taken
			m.ragged = true
			break
		}
		if whole == "" || whole[0] == '#' {
			continue
		}
		f := strings.Split(whole, "\t")
		if len(f) != 3 || !slices.Contains([]string{kindFile, kindLink, kindMoved}, f[0]) || !filepath.IsAbs(f[2]) {
			return nil, fmt.Errorf("%s:%d: malformed: nothing is touched", file, n)
		}
		m.entries = append(m.entries, entry{f[0], f[1], f[2]})
	}
	return m, nil
}

// has reports whether one of the entries is that.
func (m *manifest) has(e entry) bool { return slices.Contains(m.entries, e) }

// knows reports whether something was put at path, whatever it was.
func (m *manifest) knows(path string) bool {
	return slices.ContainsFunc(m.entries, func(e entry) bool { return e.path == path && e.kind != kindMoved })
}

// moved returns where the scripts are that stood at path, the first that was moved
// first.
func (m *manifest) moved(path string) []string {
	var all []string
	for _, e := range m.entries {
		if e.path == path && e.kind == kindMoved {
			all = append(all, e.value)
		}
	}
	return all
}

// forget takes out all entries of path for which f reports true.
func (m *manifest) forget(path string, f func(entry) bool) {
	m.entries = slices.DeleteFunc(m.entries, func(e entry) bool { return e.path == path && f(e) })
}

// note adds an entry, in the file too if write is set.
func (m *manifest) note(e entry, write bool) error {
	if m.has(e) {
		return nil
	}
	if write {
		if err := os.MkdirAll(filepath.Dir(m.file), 0o755); err != nil {
			return err
		}
		if m.ragged || m.text == "" {
			if err := m.save(); err != nil {
				return err
			}
		}
		if err := appendTo(m.file, e.line()); err != nil {
			m.ragged = true
			return err
		}
		m.text += e.line()
	}
	m.entries = append(m.entries, e)
	return nil
}

func appendTo(file, line string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	n, err := f.WriteString(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// save writes the file anew, or removes it where it has nothing to tell. One that
// is as it should be is not touched.
func (m *manifest) save() error {
	// What was moved from a path stays in the order in which it was.
	sort.SliceStable(m.entries, func(i, j int) bool { return m.entries[i].path < m.entries[j].path })
	var b strings.Builder
	b.WriteString(manifestHead)
	for _, e := range m.entries {
		b.WriteString(e.line())
	}
	if b.String() == m.text {
		return nil
	}
	if err := replaceFile(m.file, strings.NewReader(b.String()), 0o644, nil); err != nil {
		return err
	}
	m.text, m.ragged = b.String(), false
	return nil
}

// remove removes the file.
func (m *manifest) remove() error {
	if err := os.Remove(m.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// state is what stands at a path now, in the manifest's words.
func state(name, path string) (entry, error) {
	e, err := look(name, path)
	if err == nil && e.kind == kindFile {
		e.value, err = sumOf(name)
	}
	return e, err
}

// look is state without the sum of a file, which only who may read it can tell.
func look(name, path string) (entry, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return entry{}, nil
	case err != nil:
		return entry{}, err
	case info.Mode().IsRegular():
		return entry{kindFile, "", path}, nil
	case info.Mode()&fs.ModeSymlink != 0:
		text, err := os.Readlink(name)
		return entry{kindLink, text, path}, err
	case info.IsDir():
		return entry{"directory", "", path}, nil
	}
	return entry{"other", "", path}, nil
}

func sumOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}
