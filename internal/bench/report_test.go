package main

import (
	"encoding/xml"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// top is where docs/ and the READMEs are.
const top = "../.."

// example is the record of a run of all jobs with times made up: of a program in so
// many microseconds for each byte of its name.
func example(s setting) *record {
	r := &record{
		Quick: s.quick, Begun: time.Date(2026, 11, 28, 4, 31, 0, 0, time.UTC), Seconds: 1380,
		Machine:  machine{CPU: "AMD EPYC 9754 128-Core Processor", Cores: 128, MemoryKB: 263_000_000, Kernel: "6.18.44-generic", Go: "go1.26.8"},
		Versions: []version{{Programs: []string{"cat", "rm"}, Package: "coreutils", Version: "9.1-1"}},
		LeftOut:  []string{"bfs -delete: no bfs here"},
	}
	for _, j := range s.jobs() {
		for i, p := range j.programs {
			took := int64(len(p.name)*len(p.name)) * 11_111 * int64(1+i*i)
			of := row{Job: j.name, Program: p.name, Runs: 3, Median: took, Low: took * 9 / 10, High: took * 5 / 4, CPU: took, Memory: 5000}
			if j.growth.count > 0 {
				of.Job, of.Count, of.Median = j.growth.of, j.growth.count, took*int64(j.growth.count)/100
				r.Growth = append(r.Growth, of)
			} else {
				r.Jobs = append(r.Jobs, of)
			}
		}
	}
	for _, name := range []string{"hello in Go", "mailquotacheck", "qmHandle", "rmmail_virtual"} {
		r.Start = append(r.Start, row{Job: "start", Program: name, Runs: 500, Median: int64(len(name)) * 111})
	}
	return r
}

// A shape is something drawn: a text, or a rectangle.
type shape struct {
	name                     string // the element's
	class, text, size        string
	left, right, top, bottom float64
}

// shapes reads a picture. Texts are as large as they may be in the widest font.
func shapes(t *testing.T, svg string) (all []shape) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	var attr map[string]string
	number := func(key string) float64 {
		v, err := strconv.ParseFloat(attr[key], 64)
		if err != nil {
			t.Fatalf("%s=%q in %v", key, attr[key], attr)
		}
		return v
	}
	size := ""
	for {
		token, err := d.Token()
		if token == nil {
			if err.Error() != "EOF" {
				t.Fatalf("%v in\n%s", err, svg)
			}
			return all
		}
		switch e := token.(type) {
		case xml.StartElement:
			attr = make(map[string]string)
			for _, a := range e.Attr {
				attr[a.Name.Local] = a.Value
			}
			s := shape{name: e.Name.Local, class: attr["class"], size: size}
			switch s.name {
			case "svg":
				size = attr["font-size"]
				s.right, s.bottom = number("width"), number("height")
			case "rect":
				if attr["x"] != "" {
					s.left, s.top = number("x"), number("y")
				}
				s.right, s.bottom = s.left+number("width"), s.top+number("height")
			case "text":
				if attr["font-size"] != "" {
					s.size = attr["font-size"]
				}
				s.left, s.top, s.bottom = number("x"), number("y")-textSize*0.8, number("y")+textSize*0.25
			}
			all = append(all, s)
		case xml.CharData:
			if len(all) == 0 || all[len(all)-1].name != "text" || strings.TrimSpace(string(e)) == "" {
				continue
			}
			s := &all[len(all)-1]
			s.text = string(e)
			w := width(s.text, attr["font-weight"] == "bold")
			switch attr["text-anchor"] {
			case "middle":
				s.left -= w / 2
			case "end":
				s.left -= w
			}
			s.right = s.left + w
		}
	}
}

func of(all []shape, name string, classes ...string) (some []shape) {
	for _, s := range all {
		if s.name == name && (len(classes) == 0 || slices.Contains(classes, s.class)) {
			some = append(some, s)
		}
	}
	return some
}

func (s shape) meets(o shape) bool {
	const touch = 0.1 // numbers are rounded to so much
	return s.left+touch < o.right && o.left+touch < s.right && s.top+touch < o.bottom && o.top+touch < s.bottom
}

func (s shape) inside(o shape) bool {
	return s.left >= o.left && s.right <= o.right && s.top >= o.top && s.bottom <= o.bottom
}

// TestChartText proves that in the charts of every job that there is, also with the
// longest names and figures, no text is cut, leaves its panel or lies on another or
// on a bar, that all of it has 12 px, and that the bars have room. Once labels were cut.
func TestChartText(t *testing.T) {
	for _, s := range []setting{{}, {quick: true}} {
		charts := example(s).charts()
		if want := 8; !s.quick && len(charts) != want {
			t.Errorf("%d charts, not %d: %q", len(charts), want, slices.Sorted(maps.Keys(charts)))
		}
		for name, svg := range charts {
			all := shapes(t, svg)
			picture, texts := all[0], of(all, "text")
			panels := of(all, "rect", "panel")
			if picture.right > chartWidth || len(panels) == 0 || len(texts) < 5*len(panels) {
				t.Errorf("%s: %v, %d panels, %d texts", name, picture, len(panels), len(texts))
			}
			for i, s := range texts {
				if s.size != "12" {
					t.Errorf("%s: %q has size %q", name, s.text, s.size)
				}
				if !s.inside(picture) {
					t.Errorf("%s: cut: %+v", name, s)
				}
				for _, p := range panels {
					if s.meets(p) && !s.inside(p) {
						t.Errorf("%s: leaves its panel: %+v", name, s)
					}
				}
				for _, o := range append(texts[:i:i], of(all, "rect", "kowaza", "other", "floor")...) {
					if s.meets(o) {
						t.Errorf("%s: %+v lies on %+v", name, s, o)
					}
				}
			}
			for _, b := range of(all, "rect", "kowaza", "other", "floor") {
				if b.left > swatch+margin && b.bottom-b.top == barHeight && !slices.ContainsFunc(panels, b.inside) {
					t.Errorf("%s: a bar leaves its panel: %+v", name, b)
				}
			}
		}
	}
	for _, rows := range byJob(example(setting{}).Jobs) {
		if _, room, _, _ := (bars{rows: rows}).columns(); room < 100 {
			t.Errorf("%s: only %.0f pixels for bars", rows[0].Job, room)
		}
	}
}

// TestWidth proves that a text is planned at least as wide as Chromium 156 measured it in
// DejaVu Sans, the widest of the common fonts, or, of Japanese, beside Noto Sans CJK; and
// not so much wider that the bars would lose their room.
func TestWidth(t *testing.T) {
	for _, c := range []struct {
		text              string
		measured, andBold float64
	}{
		{"posix_spawn in c", 101.5, 113.4}, {"rmmail_virtual", 86.5, 97.6}, {"7840 ms", 52.3, 57.2}, {"41.88×", 44.4, 48.0},
		{"22 November 2026: AMD EPYC, 2 cores", 236.3, 264.1}, {"バーチャルメールユーザ 1000 人、50 通ずつ", 249.3, 254.6},
	} {
		for _, w := range []struct{ planned, measured float64 }{{width(c.text, false), c.measured}, {width(c.text, true), c.andBold}} {
			if w.planned < w.measured-0.1 || w.planned > 1.2*w.measured {
				t.Errorf("%s: %.1f planned, %.1f measured", c.text, w.planned, w.measured)
			}
		}
	}
}

// TestWrap proves that a text is divided where it may be, and that nothing of it is lost.
func TestWrap(t *testing.T) {
	for _, text := range []string{"one process, 20 users x 1000 messages, 45 % old, cold, and so on and on", "棒は所要時間の中央値で、短いほど速い。細い線は最も速い回から最も遅い回まで。", "1000 通の Maildir"} {
		lines := wrap(text, 120, false)
		for _, line := range lines {
			if width(line, false) > 120 {
				t.Errorf("%q is too wide", line)
			}
			if strings.HasPrefix(line, "、") || strings.HasPrefix(line, "。") {
				t.Errorf("a line begins with %q", line)
			}
		}
		if squeeze := strings.NewReplacer(" ", ""); squeeze.Replace(strings.Join(lines, "")) != squeeze.Replace(text) {
			t.Errorf("%q became %q", text, lines)
		}
	}
	if lines := wrap("", 10, false); len(lines) != 0 {
		t.Errorf("nothing became %q", lines)
	}
}

// TestChartPlain proves that a chart is what GitHub shows of an SVG: whole XML without
// script, links and foreign fonts, with a title, a description that has every figure,
// and colours for light and dark.
func TestChartPlain(t *testing.T) {
	for name, svg := range example(setting{}).charts() {
		for _, bad := range []string{"<script", "href", "url(", "@import", "@font-face", "foreignObject", "onload"} {
			if strings.Contains(svg, bad) {
				t.Errorf("%s has %s", name, bad)
			}
		}
		for _, want := range []string{"<title id=", "prefers-color-scheme:dark", light.kowaza, dark.kowaza, `font-family="sans-serif"`} {
			if !strings.Contains(svg, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		_, description, _ := strings.Cut(svg, "<desc")
		description, _, _ = strings.Cut(description, "</desc>")
		for _, s := range of(shapes(t, svg), "text") {
			if s.class == "" && strings.HasSuffix(s.text, " ms") && !strings.Contains(description, " "+s.text) {
				t.Errorf("%s: %s is not in the description", name, s.text)
			}
		}
	}
}

// TestBars proves that bars are as long as the times, the shortest on top, that
// kowaza's has its own colour and a floor too, and that a bar that would leave the
// others too short is broken.
func TestBars(t *testing.T) {
	rows := []row{
		{Job: "j", Program: "kowaza", Median: 200_000}, {Job: "j", Program: "find", Median: 400_000}, {Job: "j", Program: "c", Median: 100_000},
	}
	draw := func(rows []row) (bar []shape, svg string) {
		svg = chart{words: &english, title: "t", panels: []panel{bars{heading: heading{"a", "j"}, rows: rows}}}.svg()
		return of(shapes(t, svg), "rect", "kowaza", "other", "floor"), svg
	}
	bar, svg := draw(rows)
	if len(bar) != 3 || bar[0].class != "floor" || bar[1].class != "kowaza" || bar[2].class != "other" {
		t.Fatalf("bars %+v", bar)
	}
	for i, share := range []float64{0.25, 0.5, 1} {
		if got := (bar[i].right - bar[i].left) / (bar[2].right - bar[2].left); math.Abs(got-share) > 0.01 {
			t.Errorf("bar %d has %.2f of the longest, not %.2f", i, got, share)
		}
	}
	for _, want := range []string{">100 ms<", ">0.50×<", ">200 ms<", ">1<", ">400 ms<", ">2.00×<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	const torn = `l6 14h4l-6 -14z" class="panel"`
	if strings.Contains(svg, torn) {
		t.Error("a bar of twice the time is broken")
	}
	bar, svg = draw(append(rows, row{Job: "j", Program: "rm", Median: 200_000 * 50}))
	if strings.Count(svg, torn) != 1 || bar[3].right <= bar[2].right || bar[1].right-bar[1].left < 20 {
		t.Errorf("broken bars: %d; %+v", strings.Count(svg, torn), bar)
	}
}

// TestPlot proves that the points of a plot lie where logarithmic axes have them, and
// that time in proportion is the dotted line.
func TestPlot(t *testing.T) {
	var rows []row
	for i, us := range []int64{1_000, 10_000, 100_000} {
		n := int(math.Pow10(i + 3))
		rows = append(rows, row{Job: "messages", Count: n, Program: "kowaza", Median: us}, row{Job: "messages", Count: n, Program: "find", Median: 2_000})
	}
	in := newFrame(rows, 0, 0)
	for i, r := range [...]row{rows[0], rows[2], rows[4]} {
		x, y := in.point(r)
		if wantX, wantY := in.left+float64(i)*(in.right-in.left)/2, in.bottom-float64(i)*plotHeight/2; math.Abs(x-wantX) > 0.01 || math.Abs(y-wantY) > 0.01 {
			t.Errorf("point %d lies at %.1f %.1f, not %.1f %.1f", i, x, y, wantX, wantY)
		}
	}
	svg := chart{words: &english, title: "t", panels: []panel{plot{heading{"a", "messages"}, &english, rows}}}.svg()
	path := func(class string) string {
		before, _, _ := strings.Cut(svg, `" class="`+class+`"/>`)
		return before[strings.LastIndex(before, `"`)+1:]
	}
	grow, guide := path("grow us"), path("guide")
	first, last, _ := strings.Cut(guide, "L")
	if strings.Count(grow, "L") != 2 || !strings.HasPrefix(grow, first) || !strings.HasSuffix(grow, "L"+last) {
		t.Errorf("kowaza's line is %s, and in proportion %s", grow, guide)
	}
	for _, want := range []string{"messages (logarithmic)", "time (logarithmic)", ">1\u00a0000<", ">100\u00a0000<", ">1 ms<", ">10 ms<", ">100 ms<", ">kowaza<", ">find<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q", want)
		}
	}
}

// luminance is WCAG's relative luminance of #rrggbb.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var rgb [3]uint8
	if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2]); err != nil {
		t.Fatal(colour, err)
	}
	sum := 0.0
	for i, share := range [...]float64{0.2126, 0.7152, 0.0722} {
		c := float64(rgb[i]) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += share * c
	}
	return sum
}

// TestPalette proves that text can be read in light and dark, and bars and lines be
// seen, by the contrasts of WCAG 2.1: 4.5 (1.4.3) and 3 (1.4.11).
func TestPalette(t *testing.T) {
	for name, p := range map[string]palette{"light": light, "dark": dark} {
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{p.text, p.page, 4.5}, {p.text, p.panel, 4.5}, {p.note, p.page, 4.5}, {p.note, p.panel, 4.5},
			{p.kowaza, p.panel, 3}, {p.other, p.panel, 3}, {p.kowaza, p.page, 3}, {p.other, p.page, 3},
		} {
			a, b := luminance(t, c.front), luminance(t, c.back)
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < c.least {
				t.Errorf("%s: %s on %s has a contrast of %.1f", name, c.front, c.back, ratio)
			}
		}
	}
}

// TestFamilies proves that each job has a chart and an applet, that what grows has
// one, and that the READMEs' table is about jobs and programs that there are.
func TestFamilies(t *testing.T) {
	programs := make(map[string][]string)
	for _, j := range (setting{}).jobs() {
		for _, p := range j.programs {
			programs[j.name] = append(programs[j.name], p.name)
		}
		if j.growth.count > 0 {
			if growing[j.growth.of] == "" {
				t.Errorf("%q: add it to growing", j.growth.of)
			}
		} else if n, _ := find(j.name); n < 0 {
			t.Errorf("%q: add it to families", j.name)
		}
	}
	for _, of := range readmeRows {
		for _, name := range []string{"kowaza", of.find, of.original} {
			if name != "" && !slices.Contains(programs[of.job], name) {
				t.Errorf("README: %q has no program %q, but %q", of.job, name, programs[of.job])
			}
		}
		if of.per > 0 && !strings.Contains(of.job, fmt.Sprintf(", %d ", of.per)) {
			t.Errorf("README: %q is not %d calls", of.job, of.per)
		}
	}
}

// TestRecord proves that a record comes back as it was written, a row a line, and
// that a misspelt key is an error.
func TestRecord(t *testing.T) {
	dir, want := t.TempDir(), example(setting{})
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v; got %+v, want %+v", err, got, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Count(line, `"median_us"`) > 1 {
			t.Errorf("two rows: %s", line)
		}
	}
	wrong := strings.Replace(string(text), `"seconds"`, `"second"`, 1)
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(wrong), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), `"second"`) {
		t.Errorf("error %v", err)
	}
}

// TestRow proves what is kept of the runs: the median, the fastest and the slowest.
func TestRow(t *testing.T) {
	r := result{job: "j", program: "p", growth: growth{"mail", 7}}
	for _, ms := range []time.Duration{9, 1, 5} {
		r.runs = append(r.runs, run{wall: ms * time.Millisecond, cpu: 2 * ms * time.Millisecond, memory: int64(ms)})
	}
	want := row{Job: "mail", Count: 7, Program: "p", Runs: 3, Median: 5000, Low: 1000, High: 9000, CPU: 10000, Memory: 5}
	if got := r.row(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestPublished proves that figures.md, the charts and the tables in the READMEs are
// those of figures.json, which is of a whole run, and that no other chart lies there.
// Once the README had a figure that the run did not.
func TestPublished(t *testing.T) {
	docs, dir := filepath.Join(top, "docs/bench"), t.TempDir()
	r, err := load(docs)
	if err != nil {
		t.Fatal(err)
	}
	if r.Quick {
		t.Error("docs/bench has the figures of a quick run")
	}
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	for name := range readmes {
		text, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		// Something else stands there at first.
		before, rest, _ := strings.Cut(string(text), readmeBegin)
		_, after, _ := strings.Cut(rest, readmeEnd)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(before+readmeBegin+"old\n"+readmeEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "old.svg"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := publish(dir, dir); err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string) // file made: file there
	for name := range readmes {
		want[filepath.Join(dir, name)] = filepath.Join(top, name)
	}
	for _, d := range []string{dir, docs} {
		charts, err := filepath.Glob(filepath.Join(d, "*.svg"))
		if err != nil || len(charts) == 0 {
			t.Fatal(charts, err)
		}
		for _, path := range append(charts, filepath.Join(d, recordFile), filepath.Join(d, "figures.md")) {
			want[filepath.Join(dir, filepath.Base(path))] = filepath.Join(docs, filepath.Base(path))
		}
	}
	for made, there := range want {
		a, errA := os.ReadFile(made)
		b, errB := os.ReadFile(there)
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is not made of %s: make figures (%v, %v)", there, recordFile, errA, errB)
		}
	}
}

// TestInsert proves that a README without a place for the table is left alone and is
// an error, and that what stands around the place stays.
func TestInsert(t *testing.T) {
	dir := t.TempDir()
	if err := example(setting{}).save(dir); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"README.md": "no place\n", "README.ja.md": "前\n" + readmeBegin + "old\n" + readmeEnd + "後\n"}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(dir, dir); err == nil || !strings.Contains(err.Error(), "README.md: no place for the figures") {
		t.Errorf("error %v", err)
	}
	for name, want := range map[string]string{"README.md": "no place\n", "README.ja.md": "前\n" + readmeBegin} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(got), want) || strings.Contains(string(got), "old\n") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if name == "README.ja.md" && (!strings.HasSuffix(string(got), readmeEnd+"後\n") || !strings.Contains(string(got), "| 10 万通の Maildir、1 % が古い | ")) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// TestWithout proves that a job is left out where kowaza cannot do it, since there is
// nothing then to compare with, and a program where it is missing; and that both are
// told.
func TestWithout(t *testing.T) {
	f := newFigures(setting{}, options{})
	lacking := []string{"no-such-program"}
	if _, ok := f.choose(job{name: "a", programs: []program{{name: "kowaza", needs: lacking}, {name: "sh"}}}); ok {
		t.Error("a job without kowaza is measured")
	}
	programs := []program{{name: "kowaza"}, {name: "x", needs: lacking}, {name: "sh"}}
	j, ok := f.choose(job{name: "b", programs: programs})
	if !ok || len(j.programs) != 2 || j.programs[1].name != "sh" {
		t.Errorf("%v, %+v", ok, j.programs)
	}
	if programs[1].name != "x" || programs[2].name != "sh" {
		t.Errorf("the programs of other jobs have changed: %+v", programs)
	}
	want := []string{"kowaza: no no-such-program here", "a: nothing to compare with", "x: no no-such-program here"}
	if !slices.Equal(f.LeftOut, want) {
		t.Errorf("left out: %q", f.LeftOut)
	}
}

// TestVersions proves that of a job's programs the package and its version are told,
// behind a link as well, and of our own none.
func TestVersions(t *testing.T) {
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil {
		t.Skip("dpkg is not installed")
	}
	all := versions([]job{{programs: []program{{needs: []string{"md5sum", "/bin/true", "no-such-program"}}}}})
	for program, of := range map[string]string{"find": "findutils", "md5sum": "coreutils", "sh": "dash"} {
		i := slices.IndexFunc(all, func(v version) bool { return slices.Contains(v.Programs, program) })
		if i < 0 || all[i].Package != of || all[i].Version == "" {
			t.Errorf("%s: %+v", program, all)
		}
	}
	for _, v := range all {
		if slices.Contains(v.Programs, "/bin/true") || slices.Contains(v.Programs, "no-such-program") {
			t.Errorf("%+v", v)
		}
	}
}
