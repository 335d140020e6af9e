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
		d.rect(x, at, panelWidth, p.height(), "panel")
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
