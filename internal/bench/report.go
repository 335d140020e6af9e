package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A family is jobs that stand in one chart and one table.
type family struct {
	file, title string
	jobs        []naming
}

// A naming says of which applet jobs are whose names look so.
type naming struct {
	job    *regexp.Regexp
	applet string
}

func named(applet, job string) naming { return naming{regexp.MustCompile("^(?:" + job + ")"), applet} }

// families are all jobs, but those about growth.
var families = []family{
	{"oldmail", "Old mail is removed", []naming{
		named("rmoldmail", `\d+ users x \d+ messages, 45|one Maildir|nothing old`),
		named("rmmail_virtual", `one process|\d+ users x 50 messages`),
	}},
	{"delivery", "Programs in .qmail files, once for each mail", []naming{
		named("mailquotacheck", `mailquotacheck, `), named("mailmatch", `mailmatch, `), named("mailreply", `mailreply, `), named("mailtest", `mailtest, `),
	}},
	{"send", "Mail is sent, and servers are asked", []naming{
		named("jmailsend", `jmailsend|one test mail`), named("mailtalk", `mailtalk, `), named("mailtrip", `mailtrip, `),
		named("mkdigest", `mkdigest, `), named("smtpauthstr", `smtpauthstr, `),
	}},
	{"queue", "qmail's queue", []naming{
		named("qmHandle", `queue|qmHandle`), named("qqclean", `qqclean, `),
	}},
}

// growing says which applet has to do with what grows.
var growing = map[string]string{
	"messages in one Maildir":          "rmoldmail",
	"users with 50 messages each":      "rmmail_virtual",
	"users of a pattern, without mail": "rmmail_virtual",
}

// find returns the family that a job is of, and the applet.
func find(job string) (of int, applet string) {
	for i, f := range families {
		for _, n := range f.jobs {
			if n.job.MatchString(job) {
				return i, n.applet
			}
		}
	}
	return -1, ""
}

// A wording is what a chart says beside names and figures.
type wording struct {
	language                        string
	kowaza, other, floor            string // what colours mean
	bars, torn, plots, start, quick string // notes
	timeAxis, logarithmic           string // of plots; japanese has none
	date                            string // for time.Format
}

var (
	english = wording{
		language: "en", kowaza: "kowaza", other: "other programs", floor: "a floor: the bare system calls in C, or the start alone",
		bars:     "Bars: median time; the shorter, the better. 1.50× takes one and a half times as long as kowaza. Thin line: fastest to slowest run.",
		timeAxis: "time (logarithmic)", logarithmic: " (logarithmic)",
		plots: "Median time. Dotted: time in proportion to what grows, from kowaza's first point on.",
		torn:  "A bar with a gap would be longer than there is room.",
		start: "Bars: medians. 1.20× takes a fifth more than a program in Go that only writes a line.",
		date:  "2 January 2006", quick: "PLACEHOLDER: a quick run on small data. No figure means anything.",
	}
	japanese = wording{
		language: "ja", kowaza: "kowaza", other: "ほかのプログラム", floor: "最小限の処理 (C でシステムコールだけ、または起動だけ)",
		bars: "棒は所要時間の中央値で、短いほど速い。1.50× は kowaza の 1.5 倍の時間。細い線は最も速い回から最も遅い回まで。",
		torn: "途切れた棒は、図に収まらない長さ。",
		date: "2006年1月2日", quick: "仮の値: 小さなデータで試しに動かしただけで、数値に意味はない。",
	}
)

// where is the machine in a line.
func (r *record) where(w *wording) string {
	m := r.Machine
	kernel, _, _ := strings.Cut(m.Kernel, "-")
	cores := fmt.Sprintf("%d cores", m.Cores)
	switch {
	case w == &japanese:
		cores = fmt.Sprintf("%d コア", m.Cores)
	case m.Cores == 1:
		cores = "1 core"
	}
	return fmt.Sprintf("%s: %s, %s, %s GiB, Linux %s, %s", r.Begun.UTC().Format(w.date), m.CPU, cores, gib(m.MemoryKB), kernel,
		strings.Replace(m.Go, "go", "Go ", 1))
}

func gib(kb int64) string { return fmt.Sprintf("%.1f", float64(kb)/(1<<20)) }

// notes closes a chart.
func (r *record) notes(w *wording, notes ...string) []string {
	if r.Quick {
		notes = append([]string{w.quick}, notes...)
	}
	return append(notes, r.where(w)+".")
}

// barChart has a panel for each job.
func (r *record) barChart(w *wording, title string, panels []bars) string {
	c := chart{words: w, title: title, legend: []legend{{"kowaza", w.kowaza}, {"other", w.other}}}
	torn, floor := false, false
	for _, b := range panels {
		c.panels = append(c.panels, b)
		for _, row := range b.rows {
			torn = torn || b.torn(row)
			floor = floor || row.floor()
		}
	}
	if floor {
		c.legend = append(c.legend, legend{"floor", w.floor})
	}
	c.notes = r.notes(w, w.bars)
	if torn {
		c.notes = slices.Insert(c.notes, len(c.notes)-1, w.torn)
	}
	return c.svg()
}

// ofFamily returns the rows of a family's jobs; those of no family for -1.
func (r *record) ofFamily(n int) (jobs [][]row) {
	for _, rows := range byJob(r.Jobs) {
		if of, _ := find(rows[0].Job); of == n {
			jobs = append(jobs, rows)
		}
	}
	return jobs
}

// jobHeading returns what stands above a job's panel: what the applet's name and the
// job's say both is said once.
func jobHeading(job string) heading {
	_, applet := find(job)
	return heading{applet, strings.TrimLeft(strings.TrimPrefix(job, applet), ", ")}
}

// charts are all pictures of docs/bench by their names.
func (r *record) charts() map[string]string {
	charts := make(map[string]string)
	for i, f := range families {
		var panels []bars
		for _, rows := range r.ofFamily(i) {
			panels = append(panels, bars{heading: jobHeading(rows[0].Job), rows: rows})
		}
		if len(panels) > 0 {
			charts[f.file+".svg"] = r.barChart(&english, f.title, panels)
		}
	}
	if len(r.Growth) > 0 {
		c := chart{words: &english, title: "How the time grows", notes: r.notes(&english, english.plots),
			legend: []legend{{"kowaza", english.kowaza}, {"other", english.other}}}
		for _, rows := range byGrowth(r.Growth) {
			c.panels = append(c.panels, plot{heading{growing[rows[0].Job], rows[0].Job}, &english, rows})
		}
		charts["growth.svg"] = c.svg()
	}
	if len(r.Start) > 0 {
		c := chart{words: &english, title: "What it costs to start", notes: r.notes(&english, english.start)}
		c.panels = []panel{bars{heading: heading{"--version", "user and system time"}, rows: r.Start, all: true}}
		charts["start.svg"] = c.svg()
	}
	for name, w := range map[string]*wording{"readme.svg": &english, "readme.ja.svg": &japanese} {
		if panels := r.readmePanels(w); len(panels) > 0 {
			charts[name] = r.barChart(w, readmeTitle[w], panels)
		}
	}
	return charts
}

// byGrowth divides rows by what grows.
func byGrowth(rows []row) (of [][]row) {
	for _, rows := range byJob(rows) {
		if len(of) == 0 || of[len(of)-1][0].Job != rows[0].Job {
			of = append(of, nil)
		}
		of[len(of)-1] = append(of[len(of)-1], rows...)
	}
	return of
}

// publish makes all of a directory's figures.json: figures.md and charts beside it,
// and, where top is not empty, the tables in the READMEs there. A chart that is no
// longer made is removed.
func publish(dir, top string) error {
	r, err := load(dir)
	if err != nil {
		return err
	}
	files := r.charts()
	files["figures.md"] = r.markdown()
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	old, globErr := filepath.Glob(filepath.Join(dir, "*.svg"))
	err = errors.Join(err, globErr)
	for _, path := range old {
		if files[filepath.Base(path)] == "" {
			err = errors.Join(err, os.Remove(path))
		}
	}
	if top == "" || err != nil {
		return err
	}
	for name, w := range readmes {
		path := filepath.Join(top, name)
		text, readErr := os.ReadFile(path)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		changed, insertErr := r.insert(string(text), w)
		if insertErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, insertErr))
		} else if changed != string(text) {
			err = errors.Join(err, os.WriteFile(path, []byte(changed), 0o644))
		}
	}
	return err
}
