package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build builds kowaza and bench, and changes to the top of the project, from
// where both are run.
func build(t *testing.T) (kowaza, bench string) {
	t.Helper()
	t.Chdir("../..")
	dir := t.TempDir()
	kowaza, bench = filepath.Join(dir, "kowaza"), filepath.Join(dir, "bench")
	for _, args := range [][]string{{"build", "-o", kowaza, "."}, {"build", "-o", bench, "./internal/bench"}} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %q: %v\n%s", args, err, out)
		}
	}
	return kowaza, bench
}

// scratch is a directory that bench is to make, beside other built things and
// not below /tmp, which is everybody's.
func scratch(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll("build", 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("build", "bench-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // doveadm is not root
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

func gone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", dir, err)
	}
	for _, file := range []string{"/proc/self/mounts"} {
		text, err := os.ReadFile(file)
		if err == nil && bytes.Contains(text, []byte(dir)) {
			t.Errorf("%s still knows %s", file, dir)
		}
	}
	// The kernel lets go of a loop device some time after the last one who has it
	// open, be it only somebody who looks what is mounted.
	known := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		known = ""
		backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, file := range backing {
			if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte(dir)) {
				known = file
			}
		}
		if known == "" {
			return
		}
	}
	t.Errorf("%s still knows %s", known, dir)
}

// TestQuick proves that every job runs to its end with every program that there
// is, on plain files and, as root, on images; that all programs of a job left as
// much; that each job has its row in the figures, and they their charts; and that
// nothing is left over.
func TestQuick(t *testing.T) {
	kowaza, bench := build(t)
	for name, args := range map[string][]string{"files": {"-files"}, "images": nil} {
		t.Run(name, func(t *testing.T) {
			if name == "images" && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			dir, out := scratch(t), t.TempDir()
			args := append(args, "-quick", "-out", out, kowaza, dir)
			if text, err := exec.Command(bench, args...).CombinedOutput(); err != nil {
				t.Fatalf("bench %q: %v\n%s", args, err, text)
			}
			gone(t, dir)
			figures, err := os.ReadFile(filepath.Join(out, "figures.md"))
			if err != nil {
				t.Fatal(err)
			}
			jobs := setting{quick: true}.jobs()
			for _, j := range jobs {
				if j.growth.count == 0 && !j.cold && !bytes.Contains(figures, []byte("| "+j.name+" | kowaza")) {
					t.Errorf("no row for %q", j.name)
				}
			}
			for _, name := range []string{"figures.md", "oldmail.svg", "delivery.svg", "send.svg", "queue.svg", "growth.svg", "start.svg"} {
				text, err := os.ReadFile(filepath.Join(out, name))
				if err != nil || !bytes.Contains(text, []byte("PLACEHOLDER")) {
					t.Errorf("%s of a quick run is not marked as such (%v)", name, err)
				}
			}
		})
	}
}

// TestInterrupted proves that a run that is ended while a program works ends the
// program, and leaves neither data nor, as root, a mount.
func TestInterrupted(t *testing.T) {
	kowaza, bench := build(t)
	dir, bin := scratch(t), t.TempDir()
	// A bfs that says when it works, and does so for as long as it lives.
	fifo := filepath.Join(bin, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nexec 3>" + fifo + "\necho $$ >&3\nexec sleep 1000\n"
	if err := os.WriteFile(filepath.Join(bin, "bfs"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bench, "-quick", kowaza, dir)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- cmd.Wait() }()
	var reader *os.File
	said := "" // its number
	works := make(chan error, 1)
	go func() {
		f, err := os.Open(fifo) // waits for a writer
		if err == nil {
			reader = f
			buf := make([]byte, 100)
			var n int
			n, err = f.Read(buf)
			said = string(buf[:n])
		}
		works <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("ended before bfs worked: %v", err)
	case err := <-works:
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("status 0 after SIGTERM")
	}
	gone(t, dir)
	// The end comes when the last one that holds the FIFO has gone.
	defer reader.Close()
	if err := reader.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := reader.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("bfs goes on: %d bytes, %v", n, err)
		if pid, err := strconv.Atoi(strings.TrimSpace(said)); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// TestDirectoryInUse proves that bench, which removes its directory at the end,
// touches none that was there before.
func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	if err := supervised(dir, func() error { return nil }); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

// TestUnequal proves that a program that removed less than kowaza spoils the
// job, instead of being taken for a fast one.
func TestUnequal(t *testing.T) {
	if _, err := os.Stat(timeCommand); err != nil {
		t.Skip("GNU time is not installed")
	}
	j := job{
		files: true, deletes: true,
		make: tree{users: 1, messages: 10, old: 50, oldDays: 100}.make,
		programs: []program{
			{name: "all", line: `find "$1" -type f -mtime +7 -delete`},
			{name: "none", line: `:`},
		},
	}
	st := store{dir: t.TempDir()}
	if err := st.prepare(0, j, 1); err != nil {
		t.Fatal(err)
	}
	_, err := j.measure(st, 0, 1)
	if err == nil || !strings.Contains(err.Error(), "all left 5 files, and none 10") {
		t.Errorf("error %v", err)
	}
}

// TestMedian proves that the middle one is taken, and the lower of two.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		walls []time.Duration
		want  time.Duration
	}{{nil, 0}, {[]time.Duration{3}, 3}, {[]time.Duration{9, 1}, 1}, {[]time.Duration{9, 1, 5}, 5}} {
		var r result
		for _, w := range c.walls {
			r.runs = append(r.runs, run{wall: w})
		}
		if got := r.wall(); got != c.want {
			t.Errorf("median of %v is %v, not %v", c.walls, got, c.want)
		}
	}
}
