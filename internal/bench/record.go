package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// recordFile is what a whole run writes. All else in docs/bench that has a figure,
// and the table of README.md, is made of it: so all are of one run.
const recordFile = "figures.json"

// A record is what a run found out, and where.
type record struct {
	Quick    bool      `json:"quick,omitempty"` // on small data: no figure means anything
	Begun    time.Time `json:"begun"`
	Seconds  int       `json:"seconds"`
	Machine  machine   `json:"machine"`
	Versions []version `json:"versions"`
	LeftOut  []string  `json:"left_out"`
	Jobs     []row     `json:"jobs"`
	Growth   []row     `json:"growth"`
	Start    []row     `json:"start"`
}

// A machine is all that figures hang on beside the programs.
type machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryKB int64  `json:"memory_kb"`
	Kernel   string `json:"kernel"`
	Data     string `json:"data"`   // file systems
	Passwd   string `json:"passwd"` // that line of nsswitch.conf
	Kowaza   string `json:"kowaza"` // what --version says
	Bytes    int64  `json:"kowaza_bytes"`
	Go       string `json:"go"`
}

// A version tells of which package programs are.
type version struct {
	Programs []string `json:"programs"`
	Package  string   `json:"package"`
	Version  string   `json:"version"`
}

// A row is what the runs of a program took. Ratios are not in it: they follow.
type row struct {
	Job     string `json:"job"` // or what grows
	Count   int    `json:"count,omitempty"`
	Program string `json:"program"`
	Runs    int    `json:"runs"`
	Median  int64  `json:"median_us"`
	Low     int64  `json:"low_us,omitempty"`
	High    int64  `json:"high_us,omitempty"`
	CPU     int64  `json:"cpu_us,omitempty"`
	Memory  int64  `json:"memory_kb,omitempty"` // peak
}

func (r result) row() row {
	of := row{Job: r.job, Program: r.program, Runs: len(r.runs), CPU: r.cpu().Microseconds(), Memory: r.memory(), Median: r.wall().Microseconds()}
	if r.growth.count > 0 {
		of.Job, of.Count = r.growth.of, r.growth.count
	}
	low, high := r.runs[0].wall, r.runs[0].wall
	for _, one := range r.runs {
		low, high = min(low, one.wall), max(high, one.wall)
	}
	of.Low, of.High = low.Microseconds(), high.Microseconds()
	return of
}

// to is the ratio of a row's time to the first's of its job, kowaza's.
func (r row) to(first row) float64 { return float64(r.Median) / float64(max(first.Median, 1)) }

// byJob divides rows where another job begins, or another size of it.
func byJob(rows []row) (jobs [][]row) {
	for i, r := range rows {
		if i == 0 || r.Job != rows[i-1].Job || r.Count != rows[i-1].Count {
			jobs = append(jobs, nil)
		}
		last := &jobs[len(jobs)-1]
		*last = append(*last, r)
	}
	return jobs
}

// kowaza reports whether a row is kowaza's, maybe with an option; "kowaza's start"
// is no job done.
func (r row) kowaza() bool { return r.Program == "kowaza" || strings.HasPrefix(r.Program, "kowaza ") }

// floor reports whether a row says what the system calls cost, of a program that
// nobody would use.
func (r row) floor() bool {
	return r.Program == "c" || strings.HasPrefix(r.Program, "c, ") || strings.HasSuffix(r.Program, " in c") || r.Program == "kowaza's start"
}

// encode has a row a line, so that a diff tells which changed.
func (r *record) encode() ([]byte, error) {
	const tab = "  "
	head := *r
	head.Versions, head.Jobs, head.Growth, head.Start = []version{}, []row{}, []row{}, []row{}
	text, err := json.MarshalIndent(head, "", tab)
	if err != nil {
		return nil, err
	}
	for _, list := range []struct {
		name string
		of   any
	}{{"versions", r.Versions}, {"jobs", r.Jobs}, {"growth", r.Growth}, {"start", r.Start}} {
		lines, err := json.Marshal(list.of)
		if err != nil {
			return nil, err
		}
		lines = bytes.ReplaceAll(lines, []byte("},{"), []byte("},\n"+tab+tab+"{"))
		lines = bytes.Replace(lines, []byte("[{"), []byte("[\n"+tab+tab+"{"), 1)
		if bytes.HasSuffix(lines, []byte("}]")) {
			lines = append(lines[:len(lines)-1], "\n"+tab+"]"...)
		}
		key := "\n" + tab + `"` + list.name + `": `
		text = bytes.Replace(text, []byte(key+"[]"), append([]byte(key), lines...), 1)
	}
	return append(text, '\n'), nil
}

func (r *record) save(dir string) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, recordFile), text, 0o644)
}

// load reads a record. A key that is not known is an error: it may be a misspelt one.
func load(dir string) (*record, error) {
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := new(record)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, recordFile), err)
	}
	return r, nil
}

func thisMachine(kowaza, data string) machine {
	m := machine{
		CPU: first("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Kernel: first("/proc/sys/kernel/osrelease", ""),
		Data: data, Passwd: first("/etc/nsswitch.conf", "passwd"), Kowaza: "unknown", Go: runtime.Version(),
	}
	m.MemoryKB, _ = strconv.ParseInt(strings.TrimSuffix(first("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if out, err := exec.Command(kowaza, "--version").Output(); err == nil {
		m.Kowaza = strings.TrimSpace(string(out))
	}
	if st, err := os.Stat(kowaza); err == nil {
		m.Bytes = st.Size()
	}
	return m
}

// first returns the value of the first line of a file that begins with a key.
func first(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(strings.TrimLeft(rest, " \t:"))
		}
	}
	return "unknown"
}

// everywhere are programs that no job names as its need.
var everywhere = []string{"sh", "find", "rm", "cat", "du", "cc"}

// versions asks Debian of which package and version the programs of all jobs are
// that are here.
func versions(jobs []job) (all []version) {
	commands := slices.Clone(everywhere)
	for _, j := range jobs {
		for _, p := range j.programs {
			for _, name := range p.needs {
				if !strings.HasPrefix(name, "/") { // else it is ours
					commands = append(commands, name)
				}
			}
		}
	}
	slices.Sort(commands)
	for _, name := range slices.Compact(commands) {
		of, err := owner(name)
		if err != nil {
			continue // where it is missing altogether, that stands under "left out"
		}
		i := slices.IndexFunc(all, func(v version) bool { return v.Package == of })
		if i < 0 {
			out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", of).Output()
			if err != nil {
				continue
			}
			i, all = len(all), append(all, version{Package: of, Version: string(out)})
		}
		all[i].Programs = append(all[i].Programs, name)
	}
	return all
}

// owner returns the Debian package that a command belongs to, behind all links.
func owner(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	// dpkg may know what lies in /usr/bin by the name that it had in /bin.
	out, err := exec.Command("dpkg-query", "-S", path).Output()
	if err != nil {
		out, err = exec.Command("dpkg-query", "-S", strings.TrimPrefix(path, "/usr")).Output()
	}
	of, _, ok := strings.Cut(string(out), ":")
	if err == nil && !ok {
		err = fmt.Errorf("%s: no package", path)
	}
	return of, err
}
