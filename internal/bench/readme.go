package main

import (
	"errors"
	"fmt"
	"strings"
)

// readmes are the documents with a table of a few jobs, made of the same run.
var readmes = map[string]*wording{"README.md": &english, "README.ja.md": &japanese}

var readmeTitle = map[*wording]string{&english: "Time of kowaza and of other programs", &japanese: "kowaza とほかのプログラムの所要時間"}

// The table stands between these, with all that is made anew.
const (
	readmeBegin = "<!-- figures: made by make bench; what is changed here is lost -->\n"
	readmeEnd   = "<!-- end of figures -->\n"
)

// A readmeRow is a job that the READMEs show: its programs, for the columns find
// and original, by their names in the jobs.
type readmeRow struct {
	job            string
	per            int64 // calls in a run
	english        string
	japanese       string
	find, original string
	memory         bool
	chart          bool // the READMEs' picture shows it, too
	// What is to be said of a figure.
	findNote, originalNote [2]string
}

var readmeRows = []readmeRow{
	{
		job: "one Maildir, 100000 messages, 1 % old", chart: true, english: "one Maildir of 100 000, 1 % old", japanese: "10 万通の Maildir、1 % が古い",
		find: "find -delete",
	},
	{
		job: "nothing old, 1000000 messages", chart: true, english: "nothing old, 1 000 000 messages", japanese: "古いものなし、100 万通",
		find: "find -delete", memory: true,
	},
	{
		job: "20 users x 1000 messages, 45 % old", english: "20 Maildirs of 1000 messages, 45 % old, a call for each", japanese: "1000 通の Maildir 20 個、45 % が古い、1 個ごとに実行",
		find: "find -delete", findNote: [2]string{", one call", "、1 回"}, original: "find -exec rm ;",
	},
	{
		job: "one process, 20 users x 1000 messages, 45 % old", chart: true, english: "20 Maildirs of 1000 messages, 45 % old, one call for all", japanese: "1000 通の Maildir 20 個、45 % が古い、1 回で実行",
		find: "find -delete",
	},
	{
		job: "1000 users x 50 messages, 1/21 old", chart: true, english: "1000 virtual users with 50 messages", japanese: "バーチャルメールユーザ 1000 人、50 通ずつ",
		find: "find -delete", original: "page's scripts",
	},
	{job: "mkdigest, 200 calls", per: 200, english: "`mkdigest`, one call", japanese: "`mkdigest` 1 回", original: "perl"},
	{job: "mailtest, 200 mails of 4 kB", chart: true, per: 200, english: "`mailtest`, a mail of 4 kB", japanese: "`mailtest`、4 kB のメール", original: "php"},
	{
		job: "mailquotacheck, 10 calls, 100000 messages", per: 10, english: "`mailquotacheck`, 100 000 messages", japanese: "`mailquotacheck`、10 万通",
		original: "script with du",
	},
	{
		job: "queue of 100000 messages, list", chart: true, english: "`qmHandle -l`, 100 000 messages", japanese: "`qmHandle -l`、10 万通",
		original: "perl", originalNote: [2]string{", Perl", "、Perl"},
	},
}

// columns of the READMEs' tables.
var readmeColumns = map[*wording]string{
	&english:  "| job, %d cores, warm | kowaza | find -delete | the original |\n|---|--:|--:|--:|\n",
	&japanese: "| 仕事 (%d コア、キャッシュ済み) | kowaza | find -delete | 元のもの |\n|---|--:|--:|--:|\n",
}

var readmeWhere = map[*wording]string{
	&english:  "All from one run, %s; [the other figures](docs/bench/figures.md).",
	&japanese: "すべて同じ 1 回の測定の値です (%s)。[ほかの値](docs/bench/figures.md)もあります。",
}

func (of readmeRow) label(w *wording) string {
	if w == &japanese {
		return of.japanese
	}
	return of.english
}

// rowsOf returns the rows of a job.
func (r *record) rowsOf(job string) []row {
	for _, rows := range byJob(r.Jobs) {
		if rows[0].Job == job {
			return rows
		}
	}
	return nil
}

// cell is a program's time, or nothing where it did not run.
func (of readmeRow) cell(rows []row, program, note string) string {
	for _, r := range rows {
		if r.Program != program || program == "" {
			continue
		}
		us := r.Median / max(of.per, 1)
		text := fmt.Sprintf("%.0f ms", float64(us)/1e3)
		if us < 100_000 {
			text = fmt.Sprintf("%.1f ms", float64(us)/1e3)
		}
		if of.memory {
			text += fmt.Sprintf(", %.0f MB", float64(r.Memory)/1024)
		}
		return text + note
	}
	return ""
}

// table is all that a README shows of figures.
func (r *record) table(w *wording) string {
	n := 0
	if w == &japanese {
		n = 1
	}
	var b strings.Builder
	if len(r.readmePanels(w)) > 0 {
		fmt.Fprintf(&b, "![%s](docs/bench/%s)\n\n", readmeTitle[w], w.readmeImage())
	}
	fmt.Fprintf(&b, readmeColumns[w], r.Machine.Cores)
	for _, of := range readmeRows {
		rows := r.rowsOf(of.job)
		if rows == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", of.label(w), of.cell(rows, rows[0].Program, ""),
			of.cell(rows, of.find, of.findNote[n]), of.cell(rows, of.original, of.originalNote[n]))
	}
	fmt.Fprintf(&b, "\n"+readmeWhere[w]+"\n", r.where(w))
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

func (w *wording) readmeImage() string {
	if w == &japanese {
		return "readme.ja.svg"
	}
	return "readme.svg"
}

// insert puts the table into a README in place of the one that stands there.
func (r *record) insert(text string, w *wording) (string, error) {
	before, rest, ok := strings.Cut(text, readmeBegin)
	_, after, ended := strings.Cut(rest, readmeEnd)
	if !ok || !ended {
		return "", errors.New("no place for the figures")
	}
	return before + readmeBegin + "\n" + r.table(w) + "\n" + readmeEnd + after, nil
}

// readmePanels are the jobs of the READMEs' tables as panels.
func (r *record) readmePanels(w *wording) (panels []bars) {
	for _, of := range readmeRows {
		if rows := r.rowsOf(of.job); rows != nil && of.chart {
			_, applet := find(of.job)
			label := strings.TrimPrefix(strings.ReplaceAll(of.label(w), "`", ""), applet)
			label = strings.TrimLeft(label, ",、 ")
			panels = append(panels, bars{heading: heading{applet, label}, rows: rows, per: of.per})
		}
	}
	return panels
}
