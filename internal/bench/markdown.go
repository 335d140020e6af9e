package main

import (
	"fmt"
	"strings"
	"time"
)

// markdown is figures.md: all figures, with the charts that are made of them.
func (r *record) markdown() string {
	var b strings.Builder
	b.WriteString("# Figures\n\nMade by `make bench` of [" + recordFile + "](" + recordFile + "); what they mean stands in [README.md](README.md).\n\n")
	if r.Quick {
		b.WriteString("**PLACEHOLDER: a run with `-quick`, one run on small data, to show the form.\n" +
			"None of these numbers means anything. `make bench` writes the real ones here.**\n\n")
	}
	r.machineTable(&b)
	b.WriteString("## Jobs\n\nTimes in milliseconds, memory in MB at its peak. The ratio is the program's time to kowaza's.\n\n")
	for i, f := range families {
		r.jobTable(&b, "### "+f.title, f.file, r.ofFamily(i))
	}
	r.jobTable(&b, "### Others", "", r.ofFamily(-1))
	r.growthTable(&b)
	r.startTable(&b)
	if len(r.LeftOut) > 0 {
		b.WriteString("## Left out\n\n")
		for _, what := range r.LeftOut {
			fmt.Fprintf(&b, "* %s\n", what)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (r *record) machineTable(b *strings.Builder) {
	m := r.Machine
	row := func(name, value string) { fmt.Fprintf(b, "| %s | %s |\n", name, value) }
	b.WriteString("| | |\n|---|---|\n")
	row("date", r.Begun.UTC().Format("2006-01-02 15:04 MST")+", "+(time.Duration(r.Seconds)*time.Second).String()+" long")
	row("CPU", fmt.Sprintf("%s, %d cores used", m.CPU, m.Cores))
	row("memory", gib(m.MemoryKB)+" GiB")
	row("kernel", "Linux "+m.Kernel)
	row("data", m.Data)
	row("nsswitch.conf, passwd", m.Passwd)
	row("kowaza", fmt.Sprintf("%s, %.2f MB, built with %s", m.Kowaza, float64(m.Bytes)/1e6, m.Go))
	b.WriteString("\n| compared | package | version |\n|---|---|---|\n")
	for _, v := range r.Versions {
		fmt.Fprintf(b, "| %s | %s | %s |\n", strings.Join(v.Programs, ", "), v.Package, v.Version)
	}
	b.WriteString("\n")
}

func image(b *strings.Builder, name, what string) {
	fmt.Fprintf(b, "![%s](%s.svg)\n\n", what, name)
}

func (r *record) jobTable(b *strings.Builder, heading, chart string, jobs [][]row) {
	if len(jobs) == 0 {
		return
	}
	b.WriteString(heading + "\n\n")
	if chart != "" {
		image(b, chart, "bars: the same figures as in the table below")
	}
	b.WriteString("| job | program | runs | median | lowest to highest | cpu | ratio | memory |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	for _, rows := range jobs {
		for i, of := range rows {
			name := of.Job
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(b, "| %s | %s | %d | %s | %s to %s | %s | %.2f | %s |\n", name, of.Program, of.Runs,
				ms(of.Median), ms(of.Low), ms(of.High), ms(of.CPU), of.to(rows[0]), mb(of.Memory))
		}
	}
	b.WriteString("\n")
}

func (r *record) growthTable(b *strings.Builder) {
	if len(r.Growth) == 0 {
		return
	}
	b.WriteString("## Growth\n\n")
	image(b, "growth", "lines: the same figures as in the table below")
	b.WriteString("| what grows | | program | runs | median | microseconds for each | ratio | memory |\n" +
		"|---|--:|---|--:|--:|--:|--:|--:|\n")
	for _, rows := range byJob(r.Growth) {
		for _, of := range rows {
			fmt.Fprintf(b, "| %s | %d | %s | %d | %s | %.1f | %.2f | %s |\n", of.Job, of.Count, of.Program, of.Runs,
				ms(of.Median), float64(of.Median)/float64(of.Count), of.to(rows[0]), mb(of.Memory))
		}
	}
	b.WriteString("\n")
}

func (r *record) startTable(b *strings.Builder) {
	if len(r.Start) == 0 {
		return
	}
	b.WriteString("## Start-up\n\nUser and system time in milliseconds of `--version`; the ratio is to a program in Go that only writes a line.\n\n")
	image(b, "start", "bars: the same figures as in the table below")
	b.WriteString("| program | calls | median | ratio |\n|---|--:|--:|--:|\n")
	for _, of := range r.Start {
		fmt.Fprintf(b, "| %s | %d | %.2f | %.2f |\n", of.Program, of.Runs, float64(of.Median)/1e3, of.to(r.Start[0]))
	}
	b.WriteString("\n")
}
