package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A chart is one picture: panels in two columns, between a legend and notes.
type chart struct {
	words  *wording
	title  string
	legend []legend
	panels []panel
	notes  []string
}

type legend struct{ class, text string }

// A panel is about one job, or one thing that grows.
type panel interface {
	height() float64
	draw(d *drawing, x, y float64)
	tell() string // in words, for who does not see it
}

// On GitHub a README's picture is as large as it is up to some 830 px. Beyond that
// it is made smaller, and its text with it.
const (
	chartWidth = 820.0
	margin     = 12.0 // around the picture, between panels and inside them
	panelWidth = (chartWidth - 3*margin) / 2
	inside     = panelWidth - 2*margin
	swatch     = 10.0
)

func (c chart) svg() string {
	d, across := new(drawing), chartWidth
	if len(c.panels) == 1 {
		across = panelWidth + 2*margin
	}
	y := d.lines(margin, margin, across-2*margin, "b", c.title)
	x := margin
	for i, l := range c.legend {
		w := swatch + 6 + math.Ceil(width(l.text, false)) + 18
		if i == 0 || x+w > across {
			x, y = margin, y+lineHeight+2
		}
		d.rect(x+0.5, y-swatch-3.5, swatch, swatch, l.class)
		d.text(x+swatch+6, y-lineHeight+textSize, left, "", l.text)
		x += w
	}
	y += margin
	var told []string
	first, ends := c.firstColumn(), y
	for i, at := 0, y; i < len(c.panels); i++ {
		x, p := margin, c.panels[i]
		if i >= first {
			x += panelWidth + margin
		}
		if i == first {
			at = y
		}
		d.box(x, at, panelWidth, p.height(), "panel")
		p.draw(d, x+margin, at+margin)
		at += p.height() + margin
		ends = max(ends, at)
		told = append(told, p.tell())
	}
	y = ends
	for _, note := range c.notes {
		y = d.lines(margin, y, across-2*margin, "note", note)
	}
	return d.svg(across, y+margin, c.words.language, c.title, strings.Join(told, "\n"))
}

// firstColumn is how many panels stand in the left column, the others in the right
// one: so that the longer of the two is as short as it can be.
func (c chart) firstColumn() int {
	best, shortest := 0, math.Inf(1)
	for n := range len(c.panels) + 1 {
		var columns [2]float64
		for i, p := range c.panels {
			if i < n {
				columns[0] += p.height() + margin
			} else {
				columns[1] += p.height() + margin
			}
		}
		if longer := max(columns[0], columns[1]); longer <= shortest {
			best, shortest = n, longer
		}
	}
	return best
}

// lines writes a text in as many lines as it needs and returns where the next goes.
func (d *drawing) lines(x, y, most float64, class, text string) float64 {
	for _, line := range wrap(text, most, class == "b") {
		d.text(x, y+textSize, left, class, line)
		y += lineHeight
	}
	return y
}

// A heading is what stands above a panel: whose job it is, and which.
type heading struct{ applet, job string }

func (h heading) height() float64 {
	return lineHeight * float64(len(wrap(h.applet, inside, true))+len(wrap(h.job, inside, false)))
}

func (h heading) draw(d *drawing, x, y float64) float64 {
	return d.lines(x, d.lines(x, y, inside, "b", h.applet), inside, "note", h.job)
}

// Bars compare programs that do one job.
type bars struct {
	heading
	rows []row // the first is what the others are compared with
	per  int64 // calls in one run, if the time of one is told
	all  bool  // all but the first are kowaza's
}

const (
	rowHeight = 18.0
	barHeight = 12.0
	gap       = 8.0
	// A bar of more times the first one's length would leave that too short to see:
	// it is drawn broken, as long as there is room.
	broken = 12
)

func (b bars) height() float64 {
	return 2*margin + b.heading.height() + 6 + rowHeight*float64(len(b.rows))
}

func (b bars) figure(r row) string { return milliseconds(r.Median / max(b.per, 1)) }

// columns are how wide names, bars, times and ratios are.
func (b bars) columns() (name, bar, time, ratio float64) {
	for _, r := range b.rows {
		name = max(name, width(r.Program, b.ours(r)))
		time = max(time, width(b.figure(r), b.ours(r)))
		ratio = max(ratio, width(b.ratio(r), false))
	}
	return name, inside - name - time - ratio - 3*gap, time, ratio
}

func (b bars) ratio(r row) string {
	if r.Program == b.rows[0].Program {
		return "1"
	}
	return fmt.Sprintf("%.2f×", r.to(b.rows[0]))
}

// torn reports whether a row's bar is drawn broken.
func (b bars) torn(r row) bool { return r.Median > broken*b.rows[0].Median }

func (b bars) draw(d *drawing, x, y float64) {
	y = b.heading.draw(d, x, y) + 6
	name, room, time, ratio := b.columns()
	longest, breaks := int64(1), false
	for _, r := range b.rows {
		if b.torn(r) {
			breaks = true
		} else {
			longest = max(longest, r.Median, min(r.High, broken*b.rows[0].Median))
		}
	}
	scale := room / float64(longest)
	if breaks {
		scale *= 0.8
	}
	from := x + name + gap
	sorted := slices.SortedStableFunc(slices.Values(b.rows), func(p, q row) int { return cmp.Compare(p.Median, q.Median) })
	for _, r := range sorted {
		class := ""
		if b.ours(r) {
			class = "b"
		}
		base := y + barHeight - 1
		d.text(from-gap, base, right, class, r.Program)
		d.text(from+room+gap+time, base, right, class, b.figure(r))
		d.text(from+room+2*gap+time+ratio, base, right, "note", b.ratio(r))
		if b.torn(r) {
			d.rect(from, y, room, barHeight, b.class(r))
			d.tear(from+0.85*room, y)
		} else {
			d.rect(from, y, max(1, scale*float64(r.Median)), barHeight, b.class(r))
			if r.High > r.Low {
				d.line(from+scale*float64(r.Low), y+barHeight/2, from+scale*float64(min(r.High, longest)), y+barHeight/2, "spread")
			}
		}
		y += rowHeight
	}
	d.line(from, y-rowHeight*float64(len(sorted))-2, from, y-rowHeight+barHeight+2, "axis")
}

// tear breaks a bar.
func (d *drawing) tear(x, y float64) {
	fmt.Fprintf(&d.b, "<path d=\"M%s %sl6 %sh4l-6 -%[3]sz\" class=\"panel\"/>\n", px(x), px(y-1), px(barHeight+2))
}

func (b bars) ours(r row) bool { return r.kowaza() || b.all && r.Program != b.rows[0].Program }

func (b bars) class(r row) string {
	if b.ours(r) {
		return "kowaza"
	}
	return r.class()
}

func (r row) class() string {
	switch {
	case r.kowaza():
		return "kowaza"
	case r.floor():
		return "floor"
	}
	return "other"
}

func (b bars) tell() string {
	var told []string
	for _, r := range b.rows {
		s := r.Program + " " + b.figure(r)
		if r.Program != b.rows[0].Program {
			s += " (" + b.ratio(r) + ")"
		}
		told = append(told, s)
	}
	return b.applet + ", " + b.job + ": " + strings.Join(told, ", ") + "."
}

// milliseconds tells microseconds with three digits or more, as far as they go.
func milliseconds(us int64) string {
	switch {
	case us < 10_000:
		return fmt.Sprintf("%.2f ms", float64(us)/1e3)
	case us < 100_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1e3)
	}
	return fmt.Sprintf("%.0f ms", float64(us)/1e3)
}

// grouped tells a number with a blank before each three digits, at which no line ends.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u00a0" + s[i:]
	}
	return s
}

// Lines show how the time grows, with logarithmic axes: what grows in proportion is
// a straight line, as steep as the dotted one.
type lines struct {
	heading
	words *wording
	of    string
	rows  []row
}

const plotHeight = 150.0

func (l lines) height() float64 {
	return 2*margin + l.heading.height() + 2*lineHeight + plotHeight + 8 + 2*lineHeight
}

// programs returns each program's rows, the smallest first.
func (l lines) programs() (programs [][]row) {
	for _, r := range l.rows {
		i := slices.IndexFunc(programs, func(p []row) bool { return p[0].Program == r.Program })
		if i < 0 {
			i, programs = len(programs), append(programs, nil)
		}
		programs[i] = append(programs[i], r)
	}
	for _, p := range programs {
		slices.SortFunc(p, func(a, b row) int { return cmp.Compare(a.Count, b.Count) })
	}
	return programs
}

// most is how much there is of what grows at the end.
func (l lines) most() (n int) {
	for _, r := range l.rows {
		n = max(n, r.Count)
	}
	return n
}

func (l lines) draw(d *drawing, x, y float64) {
	y = l.heading.draw(d, x, y)
	d.text(x, y+textSize, left, "note", l.words.timeAxis)
	y += 2 * lineHeight

	programs := l.programs()
	var counts []int64
	low, high := int64(math.MaxInt64), int64(1)
	room := math.Ceil(width(grouped(int64(l.most())), false) / 2)
	for _, p := range programs {
		for _, r := range p {
			counts = append(counts, int64(r.Count))
			low, high = min(low, max(r.Median, 1)), max(high, r.Median)
		}
		last := p[len(p)-1]
		room = max(room, width(last.Program, last.kowaza()), width(milliseconds(last.Median), false))
	}
	slices.Sort(counts)
	counts = slices.Compact(counts)
	bottom, top := math.Floor(math.Log10(float64(low))), math.Ceil(math.Log10(float64(high)))
	top = max(top, bottom+1)

	// The time's ticks left, the lines' names right.
	var ticks []string
	for e := bottom; e <= top; e++ {
		ticks = append(ticks, decade(int(e)))
	}
	from := x + widest(ticks) + gap
	to := x + inside - room - gap
	across := func(count int64) float64 {
		if len(counts) == 1 {
			return (from + to) / 2
		}
		a, b := math.Log10(float64(counts[0])), math.Log10(float64(counts[len(counts)-1]))
		return from + (to-from)*(math.Log10(float64(count))-a)/(b-a)
	}
	down := func(us int64) float64 {
		return y + plotHeight*(top-math.Log10(float64(max(us, 1))))/(top-bottom)
	}
	for i, tick := range ticks {
		at := y + plotHeight - plotHeight*float64(i)/(top-bottom)
		d.line(from, at, to, at, "axis")
		d.text(from-gap, at+4, right, "note", tick)
	}
	for _, c := range counts {
		d.line(across(c), y, across(c), y+plotHeight+4, "axis")
		d.text(across(c), y+plotHeight+6+textSize, middle, "note", grouped(c))
	}
	d.text((from+to)/2, y+plotHeight+6+lineHeight+textSize, middle, "note", l.of+l.words.logarithmic)

	l.guide(d, programs[0], across, down, y+plotHeight, y)
	// Names stand where the lines end, and make room for each other.
	type label struct {
		y   float64
		row row
	}
	var labels []label
	for _, p := range programs {
		last := p[len(p)-1]
		labels = append(labels, label{down(last.Median), last})
	}
	slices.SortStableFunc(labels, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	const labelHeight = 2*lineHeight + 4
	next := y
	for i := range labels {
		at := max(labels[i].y-lineHeight, next)
		at = min(at, y+plotHeight+lineHeight-labelHeight*float64(len(labels)-i)+4)
		class := "" // the name in bold is kowaza's
		if labels[i].row.kowaza() {
			class = "b"
		}
		d.text(to+gap, at+textSize, left, class, labels[i].row.Program)
		d.text(to+gap, at+lineHeight+textSize, left, "note", milliseconds(labels[i].row.Median))
		next = at + labelHeight
	}
	for _, p := range slices.Backward(programs) { // kowaza's on top
		class := "grow"
		if p[0].kowaza() {
			class += " us"
		}
		path := ""
		for i, r := range p {
			command := "L"
			if i == 0 {
				command = "M"
			}
			path += command + px(across(int64(r.Count))) + " " + px(down(r.Median))
		}
		fmt.Fprintf(&d.b, "<path d=\"%s\" class=\"%s\"/>\n", path, class)
		for _, r := range p {
			fmt.Fprintf(&d.b, "<circle cx=\"%s\" cy=\"%s\" r=\"3.5\" class=\"%s\"/>\n", px(across(int64(r.Count))), px(down(r.Median)), r.class())
		}
	}
}

// guide is what kowaza's line would be if time were in proportion, as far as that is
// between bottom and top.
func (l lines) guide(d *drawing, p []row, across func(int64) float64, down func(int64) float64, bottom, top float64) {
	a, b := p[0], p[len(p)-1]
	if a.Count == b.Count {
		return
	}
	x1, y1 := across(int64(a.Count)), down(a.Median)
	x2, y2 := across(int64(b.Count)), down(int64(float64(a.Median)*float64(b.Count)/float64(a.Count)))
	if y2 < top {
		x2, y2 = x1+(x2-x1)*(y1-top)/(y1-y2), top
	}
	d.line(x1, y1, x2, y2, "guide")
}

// decade names a tick of so many powers of ten of a microsecond.
func decade(e int) string {
	unit, e := [...]string{"µs", "ms", "s"}[min(max(e, 0)/3, 2)], e-min(max(e, 0)/3, 2)*3
	return grouped(int64(math.Pow10(e))) + " " + unit
}

func (l lines) tell() string {
	var told []string
	for _, p := range l.programs() {
		var points []string
		for _, r := range p {
			points = append(points, fmt.Sprintf("%s for %s", milliseconds(r.Median), grouped(int64(r.Count))))
		}
		told = append(told, p[0].Program+" takes "+strings.Join(points, ", "))
	}
	return l.of + ": " + strings.Join(told, "; ") + "."
}
