package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Figures are all that is written to docs/bench.
type figures struct {
	setting setting
	options options
	begun   time.Time
	store   string
	leftOut []string
	results []result
	starts  []result
}

func newFigures(s setting, o options) *figures {
	return &figures{setting: s, options: o, begun: time.Now()}
}

func (f *figures) leaveOut(what string) {
	if !slices.Contains(f.leftOut, what) {
		f.leftOut = append(f.leftOut, what)
		fmt.Fprintln(os.Stderr, "left out:", what)
	}
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

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

func mb(kb int64) string { return fmt.Sprintf("%.1f", float64(kb)/1024) }

const columns = "%-46s %-18s %10s %10s %7s %9s\n"

func printHeader() {
	fmt.Printf(columns, "job", "program", "median ms", "cpu ms", "ratio", "memory MB")
}

func (r result) print() {
	fmt.Printf(columns, r.job, r.program, ms(r.wall()), ms(r.cpu()), fmt.Sprintf("%.2f", r.ratio), mb(r.memory()))
}

// write makes figures.md and the charts in a directory.
func (f *figures) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	charts, err := f.charts(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "figures.md"), []byte(f.markdown(charts)), 0o644)
}

func (f *figures) markdown(charts []string) string {
	var b strings.Builder
	b.WriteString("# Figures\n\nWritten by `make bench`; what they mean stands in [README.md](README.md).\n\n")
	if f.options.quick {
		b.WriteString("**PLACEHOLDER: a run with `-quick`, one run on small data, to show the form.\n" +
			"None of these numbers means anything. `make bench` writes the real ones here.**\n\n")
	}
	f.machine(&b)
	for _, c := range charts {
		fmt.Fprintf(&b, "![%s](%s)\n\n", strings.TrimSuffix(c, ".svg"), c)
	}
	f.jobTable(&b)
	f.growthTable(&b)
	f.startTable(&b)
	if len(f.leftOut) > 0 {
		b.WriteString("## Left out\n\n")
		for _, what := range f.leftOut {
			fmt.Fprintf(&b, "* %s\n", what)
		}
	}
	return strings.TrimSuffix(b.String(), "\n\n") + "\n"
}

func (f *figures) machine(b *strings.Builder) {
	row := func(name, value string) { fmt.Fprintf(b, "| %s | %s |\n", name, value) }
	b.WriteString("| | |\n|---|---|\n")
	row("date", f.begun.UTC().Format("2006-01-02 15:04 MST")+", "+time.Since(f.begun).Round(time.Second).String()+" long")
	row("kernel", first("/proc/sys/kernel/osrelease", ""))
	row("CPU", fmt.Sprintf("%s, %d used", first("/proc/cpuinfo", "model name"), runtime.NumCPU()))
	row("memory", first("/proc/meminfo", "MemTotal"))
	row("data", f.store)
	row("nsswitch.conf, passwd", first("/etc/nsswitch.conf", "passwd"))
	row("kowaza", kowazaVersion(f.setting.kowaza))
	for _, v := range packageVersions() {
		name, version, _ := strings.Cut(v, " ")
		row(name, version)
	}
	b.WriteString("\n")
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

func kowazaVersion(kowaza string) string {
	out, err := exec.Command(kowaza, "--version").Output()
	st, statErr := os.Stat(kowaza)
	if err != nil || statErr != nil {
		return "unknown"
	}
	return fmt.Sprintf("%s, %.2f MB, built with %s", strings.TrimSpace(string(out)), float64(st.Size())/1e6, runtime.Version())
}

// packageVersions asks Debian which versions of the rivals there are.
func packageVersions() []string {
	packages := []string{
		"findutils", "coreutils", "dash", "bfs", "fd-find", "tmpreaper", "dovecot-core", "perl",
		"php-cli", "postfix", "swaks", "gcc", "libc6",
	}
	// It fails where one is not installed, and tells the others all the same.
	out, _ := exec.Command("dpkg-query", append([]string{"-W", "-f", "${db:Status-Abbrev}${Package} ${Version}\n"}, packages...)...).Output()
	var versions []string
	sc := bufio.NewScanner(strings.NewReader(string(out)))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "ii "); ok {
			versions = append(versions, v)
		}
	}
	return versions
}

func (f *figures) jobTable(b *strings.Builder) {
	b.WriteString("## Jobs\n\nTimes in milliseconds, memory in MB at its peak. The ratio is the program's time to kowaza's.\n\n" +
		"| job | program | runs | median | lowest to highest | cpu | ratio | memory |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	last := ""
	for _, r := range f.results {
		if r.growth.count != 0 || len(r.runs) == 0 {
			continue
		}
		name := r.job
		if name == last {
			name = ""
		}
		last = r.job
		low := slices.MinFunc(r.runs, func(a, b run) int { return int(a.wall - b.wall) })
		high := slices.MaxFunc(r.runs, func(a, b run) int { return int(a.wall - b.wall) })
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s to %s | %s | %.2f | %s |\n", name, r.program, len(r.runs),
			ms(r.wall()), ms(low.wall), ms(high.wall), ms(r.cpu()), r.ratio, mb(r.memory()))
	}
	b.WriteString("\n")
}

func (f *figures) growthTable(b *strings.Builder) {
	b.WriteString("## Growth\n\n| what grows | | program | runs | median | microseconds for each | ratio | memory |\n" +
		"|---|--:|---|--:|--:|--:|--:|--:|\n")
	for _, r := range f.results {
		if r.growth.count == 0 || len(r.runs) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %d | %s | %d | %s | %.1f | %.2f | %s |\n", r.growth.of, r.growth.count, r.program, len(r.runs),
			ms(r.wall()), float64(r.wall().Microseconds())/float64(r.growth.count), r.ratio, mb(r.memory()))
	}
	b.WriteString("\n")
}

func (f *figures) startTable(b *strings.Builder) {
	b.WriteString("## Start-up\n\nUser and system time in milliseconds of `--version`; the ratio is to a program in Go that only writes a line.\n\n" +
		"| program | calls | median | ratio |\n|---|--:|--:|--:|\n")
	for _, r := range f.starts {
		fmt.Fprintf(b, "| %s | %d | %.2f | %.2f |\n", r.program, len(r.runs), float64(r.cpu())/1e6, r.ratio)
	}
	b.WriteString("\n")
}
