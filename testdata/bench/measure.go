package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A job is something that several programs can do.
type job struct {
	name     string
	make     func(dir string) error // the data
	deletes  bool                   // fresh data for every run
	programs []program              // the first is kowaza, the others are measured against it
	slow     int                    // runs of slow programs, where they are fewer than the others
}

// A program does a job on the Maildirs below a directory.
type program struct {
	name string
	slow bool
	argv func(dir string) []string
}

// A run is what one run of a program took.
type run struct {
	wall, cpu time.Duration
	memory    int64 // peak, in kB
}

func measure(kowaza, dir string, runs int, only string) error {
	kowaza, err := filepath.Abs(kowaza)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if _, err := os.Stat(timeCommand); err != nil {
		return fmt.Errorf("%w: make test-deps installs it", err)
	}
	var chosen []job
	for _, j := range jobs(kowaza) {
		if strings.HasPrefix(j.name, only) {
			chosen = append(chosen, j)
		}
	}
	// All data is made before anything is removed: for minutes after a removal
	// ext4 is slow to make files, since it avoids inodes that were just freed.
	defer os.RemoveAll(dir)
	for i, j := range chosen {
		fmt.Fprintf(os.Stderr, "making data: %s\n", j.name)
		if err := j.prepare(filepath.Join(dir, strconv.Itoa(i)), runs); err != nil {
			return err
		}
	}
	syscall.Sync()
	fmt.Printf("%-40s %-16s %10s %10s %8s %9s\n", "job", "program", "median", "cpu", "ratio", "memory")
	for i, j := range chosen {
		if err := j.measure(filepath.Join(dir, strconv.Itoa(i)), runs); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	return measureStart(kowaza, runs)
}

// data returns where a program's data for a run is: everybody's is the same
// where nothing is removed.
func (j job) data(dir string, run, program int) string {
	if !j.deletes {
		run, program = 0, 0
	}
	return filepath.Join(dir, fmt.Sprintf("%d-%d", run, program))
}

// prepare makes the data of all runs.
func (j job) prepare(dir string, runs int) error {
	for r := range runs {
		for i, p := range j.programs {
			data := j.data(dir, r, i)
			if _, err := os.Stat(data); err == nil || p.slow && r >= j.slow {
				continue
			}
			if err := j.make(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure runs the programs in turn.
func (j job) measure(dir string, runs int) error {
	results := make([][]run, len(j.programs))
	for r := range runs {
		for i, p := range j.programs {
			if p.slow && r >= j.slow {
				continue
			}
			res, err := timed(p.argv(j.data(dir, r, i)))
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results[i] = append(results[i], res)
		}
	}
	base := medianOf(results[0], func(r run) int64 { return int64(r.wall) })
	for i, p := range j.programs {
		wall := medianOf(results[i], func(r run) int64 { return int64(r.wall) })
		cpu := medianOf(results[i], func(r run) int64 { return int64(r.cpu) })
		memory := medianOf(results[i], func(r run) int64 { return r.memory })
		fmt.Printf("%-40s %-16s %8.1fms %8.1fms %8.2f %6.1f MB\n", j.name, p.name,
			ms(wall), ms(cpu), float64(wall)/float64(base), float64(memory)/1024)
	}
	return nil
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }

// measureStart measures what a program costs that does nothing.
func measureStart(kowaza string, runs int) error {
	var all []run
	for range 20 * runs {
		r, err := timed([]string{kowaza, "rmoldmail", "--version"})
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	fmt.Printf("%-40s %-16s %8.1fms %8.1fms %8s %6.1f MB\n", "start (rmoldmail --version)", "kowaza",
		ms(medianOf(all, func(r run) int64 { return int64(r.wall) })),
		ms(medianOf(all, func(r run) int64 { return int64(r.cpu) })), "",
		float64(medianOf(all, func(r run) int64 { return r.memory }))/1024)
	return nil
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

func medianOf(runs []run, of func(run) int64) int64 {
	if len(runs) == 0 {
		return 0
	}
	v := make([]int64, len(runs))
	for i, r := range runs {
		v[i] = of(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}
