package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type options struct {
	runs         int
	only         string
	quick, files bool
	out          string // where figures.json and what is made of it go
	readmes      string // where the READMEs are whose table is to be made
}

// A run is what one run of a program took.
type run struct {
	wall, cpu time.Duration
	memory    int64 // peak, in kB
}

// A result is what the runs of a program took, or why there were none.
type result struct {
	job, program string
	growth       growth
	runs         []run
}

func measure(kowaza, dir string, o options) error {
	s, err := newSetting(kowaza, dir, o.quick)
	if err != nil {
		return err
	}
	f := newFigures(s, o)
	var chosen []job
	all := s.jobs()
	for _, j := range all {
		if !strings.HasPrefix(j.name, o.only) {
			continue
		}
		if j, ok := f.choose(j); ok {
			chosen = append(chosen, j)
		}
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	st := store{dir: dir, images: !o.files && os.Geteuid() == 0, bytes: int64(s.size(16, 1)) << 30}
	f.Machine = thisMachine(s.kowaza, st.describe())
	if !st.images {
		// All data is made before anything is removed.
		for i, j := range chosen {
			if err := st.prepare(i, j, o.runs); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%d jobs, %d runs of each program\n", len(chosen), o.runs)
	printHeader()
	for i, j := range chosen {
		if st.images {
			if err := st.prepare(i, j, o.runs); err != nil {
				return err
			}
		}
		results, err := j.measure(st, i, o.runs)
		if err = errors.Join(err, st.drop(i)); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		f.add(results)
	}
	if strings.HasPrefix("start", o.only) {
		if f.Start, err = measureStart(s); err != nil {
			return err
		}
		for _, r := range f.Start {
			r.print(r.Job, r.to(f.Start[0]))
		}
	}
	f.Seconds = int(time.Since(f.Begun).Seconds())
	if o.out == "" {
		return nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	f.Versions = versions(all)
	if err := f.save(o.out); err != nil {
		return err
	}
	return publish(o.out, o.readmes)
}

// newSetting makes what the jobs need: the programs in C, where there is a
// compiler, and the one in Go.
func newSetting(kowaza, dir string, quick bool) (setting, error) {
	s := setting{
		kowaza: kowaza, quick: quick,
		bin: filepath.Join(dir, "bin"), dovecot: filepath.Join(dir, "bin/dovecot.conf"),
		source: "internal/bench", originals: "testdata/originals",
	}
	for _, path := range []*string{&s.kowaza, &s.bin, &s.dovecot, &s.source, &s.originals} {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return s, err
		}
		*path = abs
	}
	for _, path := range []string{timeCommand, s.kowaza, s.source} {
		if _, err := os.Stat(path); err != nil {
			return s, fmt.Errorf("%w: to be run by make bench, after make test-deps", err)
		}
	}
	if err := os.MkdirAll(s.bin, 0o755); err != nil {
		return s, err
	}
	installed := filepath.Join(s.bin, "kowaza")
	if err := copyProgram(installed, s.kowaza); err != nil {
		return s, err
	}
	s.kowaza = installed
	sources, err := filepath.Glob(s.source + "/c/*.c")
	if err != nil {
		return s, err
	}
	if _, err := exec.LookPath("cc"); err == nil {
		for _, c := range sources {
			out := filepath.Join(s.bin, strings.TrimSuffix(filepath.Base(c), ".c"))
			if err := command("cc", "-O2", "-pthread", "-o", out, c); err != nil {
				return s, err
			}
		}
	}
	// No server: doveadm alone, with the identity of who owns the Maildirs.
	conf := fmt.Appendf(nil, "log_path = /dev/stderr\nssl = no\nbase_dir = %s/run\nmail_uid = %d\nmail_gid = %d\nfirst_valid_uid = 1\n",
		s.bin, nobody, nobody)
	return s, os.WriteFile(s.dovecot, conf, 0o644)
}

// copyProgram makes a program that starts as an installed one does: the linker leaves a
// file in small pieces of the page cache, from which it starts up to a fifth slower.
func copyProgram(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// measure runs the programs in turn.
func (j job) measure(st store, number, runs int) (results []result, err error) {
	take := st.take
	if !j.deletes {
		// One copy serves all runs.
		dir, done, takeErr := st.take(number, j, 0, 0)
		if takeErr != nil {
			return nil, takeErr
		}
		defer func() { err = errors.Join(err, done()) }()
		take = func(int, job, int, int) (string, func() error, error) { return dir, func() error { return nil }, nil }
	}
	results = make([]result, len(j.programs))
	left := -1
	for r := range runs {
		for i, p := range j.programs {
			results[i].job, results[i].program, results[i].growth = j.name, p.name, j.growth
			if !j.runs(p, r) {
				continue
			}
			dir, done, err := take(number, j, r, i)
			if err != nil {
				return nil, err
			}
			res, n, err := j.once(p, dir)
			err = errors.Join(err, done())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			if left >= 0 && n != left {
				return nil, fmt.Errorf("%s left %d files, and %s %d", j.programs[0].name, left, p.name, n)
			}
			left = n
			results[i].runs = append(results[i].runs, res)
		}
	}
	return results, nil
}

// once runs a program on its data and counts the files that it left.
func (j job) once(p program, dir string) (res run, left int, err error) {
	if p.after != "" {
		defer func() { err = errors.Join(err, command("sh", "-ec", p.after, p.name, dir)) }()
	}
	if p.before != "" {
		if err := command("sh", "-ec", p.before, p.name, dir); err != nil {
			return res, 0, err
		}
	}
	if res, err = timed([]string{"sh", "-ec", p.line, p.name, dir}); err != nil || !j.deletes {
		return res, 0, err
	}
	left, err = messages(dir)
	return res, left, err
}

// measureStart measures what a program costs that does nothing: user and system
// time, for which many calls are needed, in turn.
func measureStart(s setting) ([]row, error) {
	hello := filepath.Join(s.bin, "hello")
	linked := hello + ".linked"
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", linked, "./internal/bench/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if err := copyProgram(hello, linked); err != nil {
		return nil, err
	}
	list, err := exec.Command(s.kowaza, "--list").Output()
	if err != nil {
		return nil, err
	}
	results := []result{{job: "start", program: "hello in Go"}}
	argv := [][]string{{hello}}
	for name := range strings.FieldsSeq(string(list)) {
		results = append(results, result{job: "start", program: name})
		argv = append(argv, []string{s.kowaza, name, "--version"})
	}
	for range s.size(500, 20) {
		for i := range argv {
			cmd := exec.Command(argv[i][0], argv[i][1:]...)
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("%s: %w", argv[i], err)
			}
			// Not the time that passes: that is the machine's more than the program's.
			took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			results[i].runs = append(results[i].runs, run{wall: took, cpu: took})
		}
	}
	rows := make([]row, len(results))
	for i, r := range results {
		rows[i] = r.row()
		// Among hundreds of calls the slowest says nothing of the program.
		rows[i].Low, rows[i].High = 0, 0
	}
	return rows, nil
}

// timeCommand runs a program and tells its peak memory. A child of this process
// would have this process's own memory as its peak, since it begins as a copy.
const timeCommand = "/usr/bin/time"

// timed runs a program to its end, with all its children.
func timed(argv []string) (run, error) {
	f, err := os.CreateTemp("", "bench")
	if err != nil {
		return run{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd := exec.Command(timeCommand, append([]string{"-f", "%M", "-o", f.Name()}, argv...)...)
	cmd.Stderr = os.Stderr
	runtime.GC() // not while the program runs
	begin := time.Now()
	err = cmd.Run()
	wall := time.Since(begin)
	if err != nil {
		return run{}, err
	}
	var memory int64
	if _, err := fmt.Fscan(f, &memory); err != nil {
		return run{}, err
	}
	st := cmd.ProcessState
	return run{wall, st.UserTime() + st.SystemTime(), memory}, nil
}

func (r result) wall() time.Duration {
	return median(r.runs, func(r run) time.Duration { return r.wall })
}

func (r result) cpu() time.Duration {
	return median(r.runs, func(r run) time.Duration { return r.cpu })
}

func (r result) memory() int64 {
	return median(r.runs, func(r run) int64 { return r.memory })
}

// median is the lower one of the two in the middle where there are two.
func median[T ~int64](runs []run, of func(run) T) T {
	if len(runs) == 0 {
		return 0
	}
	v := make([]T, len(runs))
	for i, r := range runs {
		v[i] = of(r)
	}
	slices.Sort(v)
	return v[(len(v)-1)/2]
}
