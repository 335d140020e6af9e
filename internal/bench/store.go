package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// A store gives every run its data: the programs' directory is the same one
// for all runs where it is an image.
//
// Making files takes the time, above all on ext4, which for minutes avoids the
// inodes that were just freed. So a job's data is made once, in a new ext4 in
// an image file, and a run gets a copy of that file, mounted. What a message
// holds was never written, only reserved: the file system frees it all the same,
// and the copy is small. Without root, or with -files, the data of all runs are
// made beforehand.
type store struct {
	dir    string
	images bool
	bytes  int64 // of an image, most of it a hole
}

const (
	mkfsOptions  = "-q -F -i 4096"
	mountOptions = "loop,noinit_itable"
)

// describe says how the data lies, for the figures.
func (s store) describe() string {
	if s.images {
		return "a new ext4 in an image file for every run (mkfs.ext4 " + mkfsOptions + ", mount -o " + mountOptions + ") on " + fileSystem(s.dir)
	}
	return "plain files on " + fileSystem(s.dir)
}

func fileSystem(dir string) string {
	for ; ; dir = filepath.Dir(dir) {
		out, err := exec.Command("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", dir).Output()
		if err == nil {
			return strings.Join(strings.Fields(string(out)), " ")
		}
		if dir == "/" || dir == "." {
			return "an unknown file system"
		}
	}
}

func (s store) path(format string, args ...any) string {
	return filepath.Join(s.dir, fmt.Sprintf(format, args...))
}

// image reports whether a job's data comes from an image: where there are but a
// few files, they need none.
func (s store) image(j job) bool { return s.images && j.files }

// prepare makes a job's data, all of it or what is copied for a run.
func (s store) prepare(number int, j job, runs int) error {
	fmt.Fprintf(os.Stderr, "making data: %s\n", j.name)
	if s.image(j) {
		return s.makeImage(number, j)
	}
	for r := range runs {
		for i, p := range j.programs {
			data := s.plain(number, j, r, i)
			if _, err := os.Stat(data); err == nil || !j.runs(p, r) {
				continue
			}
			if err := j.make(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain returns where a program's data is among plain files: everybody's is the
// same where nothing is removed.
func (s store) plain(number int, j job, run, program int) string {
	if !j.deletes {
		run, program = 0, 0
	}
	return s.path("%d-%d-%d", number, run, program)
}

func (s store) makeImage(number int, j job) (err error) {
	image := s.path("%d.image", number)
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(s.bytes), f.Close()); err != nil {
		return err
	}
	if err := command("mkfs.ext4", append(strings.Fields(mkfsOptions), image)...); err != nil {
		return err
	}
	mounted, err := s.mount(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.Unmount(mounted, 0)) }()
	return j.make(filepath.Join(mounted, "data"))
}

func (s store) mount(image string) (string, error) {
	dir := s.path("mounted")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, command("mount", "-t", "ext4", "-o", mountOptions, image, dir)
}

// take returns a run's data, and what is to be called after the run.
func (s store) take(number int, j job, run, program int) (dir string, done func() error, err error) {
	if !s.image(j) {
		dir, done = s.plain(number, j, run, program), func() error { return nil }
	} else {
		copied := s.path("run.image")
		if err := command("cp", "--sparse=always", s.path("%d.image", number), copied); err != nil {
			return "", nil, err
		}
		mounted, err := s.mount(copied)
		if err != nil {
			return "", nil, errors.Join(err, os.Remove(copied))
		}
		dir = filepath.Join(mounted, "data")
		done = func() error { return errors.Join(syscall.Unmount(mounted, 0), os.Remove(copied)) }
	}
	if j.files {
		err = warm(dir, j.read)
	}
	syscall.Sync()
	if err == nil && j.cold {
		err = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
	}
	if err != nil {
		return "", nil, errors.Join(err, done())
	}
	return dir, done, nil
}

// drop removes what prepare made, or a job's share of it.
func (s store) drop(number int) error {
	return os.RemoveAll(s.path("%d.image", number))
}

// warm brings all inodes into memory, and what the files hold if asked.
func warm(dir string, read bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := d.Info(); err != nil || !read || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
}

// messages counts the files that are left, without those of a mail server.
func messages(dir string) (n int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "dovecot") {
			n++
		}
		return err
	})
	return n, err
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// supervised runs f in a second process, and removes dir when that has ended,
// however it did. Under root that process has a mount namespace of its own: what
// it mounted goes with it.
func supervised(dir string, f func() error) error {
	const key = "BENCH_SUPERVISED"
	if os.Getenv(key) != "" {
		return f()
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	// A directory that is there already holds something that is not ours.
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), key+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// Where this process is killed, so that it removes nothing, the other does not
	// go on alone. The kernel watches the thread that made it.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case sig := <-signals:
		// The programs that it runs, too.
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return fmt.Errorf("ended by %v", sig)
	}
}
