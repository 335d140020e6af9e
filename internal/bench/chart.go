package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// charts draws ratios.svg and growth.svg with gnuplot and returns their names.
func (f *figures) charts(dir string) ([]string, error) {
	if _, err := exec.LookPath("gnuplot"); err != nil {
		f.leaveOut("charts: no gnuplot here")
		return nil, nil
	}
	var names []string
	for _, c := range []struct{ name, script string }{{"ratios.svg", f.ratioScript()}, {"growth.svg", f.growthScript()}} {
		if c.script == "" {
			continue
		}
		cmd := exec.Command("gnuplot")
		cmd.Stdin = strings.NewReader(fmt.Sprintf("set output '%s'\n%s", filepath.Join(dir, c.name), c.script))
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gnuplot: %w: %s", err, out)
		}
		names = append(names, c.name)
	}
	return names, nil
}

// quoted is a text in gnuplot's single quotes.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// block is data for gnuplot under a name.
func block(name string, lines []string) string {
	return "$" + name + " << EOD\n" + strings.Join(lines, "\n") + "\nEOD\n"
}

// mark tells, in a chart too, that the figures are none.
func (f *figures) mark() string {
	if f.options.quick {
		return " (PLACEHOLDER: a quick run on small data)"
	}
	return ""
}

// ratioScript has a row for each job and a point for each program, right of the
// line at 1 where it takes longer than kowaza.
func (f *figures) ratioScript() string {
	var jobs, programs []string
	points := make(map[string][]string)
	for _, r := range f.results {
		if r.growth.count != 0 || len(r.runs) == 0 || strings.HasPrefix(r.program, "kowaza") {
			continue
		}
		if !slices.Contains(jobs, r.job) {
			jobs = append(jobs, r.job)
		}
		if !slices.Contains(programs, r.program) {
			programs = append(programs, r.program)
		}
		points[r.program] = append(points[r.program], fmt.Sprintf("%.3f %d", r.ratio, slices.Index(jobs, r.job)))
	}
	if len(jobs) == 0 {
		return ""
	}
	var b, plot strings.Builder
	fmt.Fprintf(&b, "set terminal svg size 1000,%d font 'sans-serif,12' noenhanced background 'white'\n", 120+28*len(jobs))
	fmt.Fprintf(&b, "set title %s\n", quoted("Time of each program, kowaza = 1"+f.mark()))
	b.WriteString("set logscale x\nset grid x\nset key outside right\n" +
		"set lmargin 46\nset xtics (0.2,0.5,1,2,5,10,20,50,100)\nset arrow from 1, graph 0 to 1, graph 1 nohead lw 2\n")
	fmt.Fprintf(&b, "set yrange [%d.5:-0.5]\nset ytics (", len(jobs)-1)
	for i, j := range jobs {
		if i > 0 {
			b.WriteString(", ")
		}
		// gnuplot takes a label of an axis for a format.
		fmt.Fprintf(&b, "%s %d", quoted(strings.ReplaceAll(j, "%", "%%")), i)
	}
	b.WriteString(")\n")
	for i, p := range programs {
		b.WriteString(block(fmt.Sprintf("p%d", i), points[p]))
		if i > 0 {
			plot.WriteString(", ")
		}
		fmt.Fprintf(&plot, "$p%d using 1:2 with points pt %d ps 1.2 title %s", i, i+4, quoted(p))
	}
	return b.String() + "plot " + plot.String() + "\n"
}

// growthScript has a panel for each thing that grows, with logarithmic axes: what
// is linear is a straight line at 45 degrees.
func (f *figures) growthScript() string {
	var panels []string
	lines := make(map[string]map[string][]string)
	for _, r := range f.results {
		if r.growth.count == 0 || len(r.runs) == 0 {
			continue
		}
		of := r.growth.of
		if lines[of] == nil {
			panels = append(panels, of)
			lines[of] = make(map[string][]string)
		}
		lines[of][r.program] = append(lines[of][r.program], fmt.Sprintf("%d %f", r.growth.count, r.wall().Seconds()))
	}
	if len(panels) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "set terminal svg size %d,360 font 'sans-serif,12' noenhanced background 'white'\n", 500*len(panels))
	fmt.Fprintf(&b, "set title %s\nset logscale xy\nset grid\nset key top left\nset format x '%%.0f'\nset ylabel 'seconds'\n", quoted("Time"+f.mark()))
	for i, of := range panels {
		b.WriteString(block(fmt.Sprintf("k%d", i), lines[of]["kowaza"]) + block(fmt.Sprintf("f%d", i), lines[of]["find -delete"]))
	}
	fmt.Fprintf(&b, "set multiplot layout 1,%d\n", len(panels))
	for i, of := range panels {
		fmt.Fprintf(&b, "set xlabel %s\nplot $k%d using 1:2 with linespoints lw 2 title 'kowaza', "+
			"$f%d using 1:2 with linespoints lw 2 title 'find -delete'\n", quoted(of), i, i)
	}
	b.WriteString("unset multiplot\n")
	return b.String()
}
