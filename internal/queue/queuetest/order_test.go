package queuetest

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOrder proves with inotify(7) that files come and go in the order of
// qmail-queue.c, of todo_do in qmail-send.c and of qmail-clean.c: a test that
// stops half-way, or reads meanwhile, sees what qmail would show. In S4, too, the
// link in todo is the last thing that happens: a date that was set after it made
// a message that had been read change, and its removal was refused.
func TestOrder(t *testing.T) {
	q := newQueue(t, Layout{Split: 2, BigTodo: true, Suppl: 1})
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	watched := make(map[int32]string)
	err = filepath.WalkDir(q.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		wd, err := unix.InotifyAddWatch(fd, path, unix.IN_CREATE|unix.IN_DELETE|unix.IN_ATTRIB|unix.IN_MODIFY)
		rel, _ := filepath.Rel(q.Dir, path)
		watched[int32(wd)], _, _ = strings.Cut(rel, "/")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		state string
		want  []string
	}{
		{"S2", []string{"+pid", "+mess", "-pid"}},
		{"S3", []string{"+pid", "+mess", "-pid", "+intd"}},
		{"S4", []string{"+pid", "+mess", "-pid", "+intd", "+todo"}},
		{"S5", []string{"+pid", "+mess", "-pid", "+intd", "+todo", "+info", "+local", "+remote", "+suppl0", "-intd", "-todo", "+bounce"}},
	} {
		m := Message{State: test.state, Local: []string{"Ta"}, Remote: []string{"Tb"}, Suppl: [][]string{{"Tc"}}}
		if test.state == "S5" {
			m.Bounce = "b"
		}
		name := strconv.FormatUint(add(t, q, m), 10)
		buf := make([]byte, 1<<16)
		n, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		committed := false
		for buf = buf[:n]; len(buf) > 0; {
			place := watched[int32(binary.NativeEndian.Uint32(buf))]
			sign := "+"
			switch mask := binary.NativeEndian.Uint32(buf[4:]); {
			case mask&unix.IN_DELETE != 0:
				sign = "-"
			case mask&(unix.IN_ATTRIB|unix.IN_MODIFY) != 0:
				sign = "*"
			}
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
			file := string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:size], "\x00"))
			if place != "pid" && file != name {
				t.Errorf("%s has %s; want %s", place, file, name)
			}
			buf = buf[size:]
			if sign != "*" {
				got = append(got, sign+place)
			} else if committed && place != "lock" {
				t.Errorf("%s: a change in %s after the link in todo", test.state, place)
			}
			committed = committed || test.state == "S4" && sign+place == "+todo"
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v; want %v", test.state, got, test.want)
		}
	}
}
