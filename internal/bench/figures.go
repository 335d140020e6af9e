package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Figures grow while the jobs run.
type figures struct {
	setting setting
	record
}

func newFigures(s setting, o options) *figures {
	return &figures{setting: s, record: record{Quick: o.quick, Begun: time.Now().UTC().Truncate(time.Second), LeftOut: []string{}}}
}

func (f *figures) leaveOut(what string) {
	if !slices.Contains(f.LeftOut, what) {
		f.LeftOut = append(f.LeftOut, what)
		fmt.Fprintln(os.Stderr, "left out:", what)
	}
}

// choose returns a job with those programs that can run here. Without kowaza there is
// nothing to compare them with.
func (f *figures) choose(j job) (job, bool) {
	if j.cold && os.Geteuid() != 0 {
		f.leaveOut(j.name + ": needs root")
		return j, false
	}
	if f.missing(j.programs[0]) {
		f.leaveOut(j.name + ": nothing to compare with")
		return j, false
	}
	j.programs = slices.DeleteFunc(slices.Clone(j.programs), f.missing) // jobs share them
	return j, true
}

// missing tells, also the reader, that a program cannot run here.
func (f *figures) missing(p program) bool {
	for _, name := range p.needs {
		if _, err := exec.LookPath(name); err != nil {
			f.leaveOut(p.name + ": no " + filepath.Base(name) + " here")
			return true
		}
	}
	// doveadm refuses to work as root on what is root's, and without root it
	// cannot take the identity that it is told.
	if slices.Contains(p.needs, "doveadm") {
		switch {
		case os.Geteuid() != 0:
			f.leaveOut(p.name + ": needs root")
			return true
		case !public(f.setting.bin):
			f.leaveOut(p.name + ": " + f.setting.bin + " cannot be reached by everybody")
			return true
		}
	}
	return false
}

// public reports whether everybody may go to a directory.
func public(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&1 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// add takes the results of a job and shows them.
func (f *figures) add(results []result) {
	var rows []row
	for _, r := range results {
		if len(r.runs) > 0 {
			rows = append(rows, r.row())
		}
	}
	for _, r := range rows {
		r.print(results[0].job, r.to(rows[0]))
	}
	if len(results) > 0 && results[0].growth.count > 0 {
		f.Growth = append(f.Growth, rows...)
	} else {
		f.Jobs = append(f.Jobs, rows...)
	}
}

func ms(us int64) string { return fmt.Sprintf("%.1f", float64(us)/1e3) }

func mb(kb int64) string { return fmt.Sprintf("%.1f", float64(kb)/1024) }

const columns = "%-46s %-18s %10s %10s %7s %9s\n"

func printHeader() {
	fmt.Printf(columns, "job", "program", "median ms", "cpu ms", "ratio", "memory MB")
}

func (r row) print(job string, ratio float64) {
	fmt.Printf(columns, job, r.Program, ms(r.Median), ms(r.CPU), fmt.Sprintf("%.2f", ratio), mb(r.Memory))
}
