package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A plot shows how the time grows, with logarithmic axes: what grows in proportion
// is a straight line, as steep as the dotted one.
type plot struct {
	heading // the job is what grows
	words   *wording
	rows    []row
}

const plotHeight = 150.0

func (g plot) height() float64 {
	return 2*margin + g.heading.height() + 2*lineHeight + plotHeight + 8 + 2*lineHeight
}

// curves returns each program's rows, the smallest first; kowaza's before the others',
// as they are measured.
func (g plot) curves() (curves [][]row) {
	for _, r := range g.rows {
		i := slices.IndexFunc(curves, func(c []row) bool { return c[0].Program == r.Program })
		if i < 0 {
			i, curves = len(curves), append(curves, nil)
		}
		curves[i] = append(curves[i], r)
	}
	for _, c := range curves {
		slices.SortFunc(c, func(a, b row) int { return cmp.Compare(a.Count, b.Count) })
	}
	return curves
}

func (g plot) draw(d *drawing, x, y float64) {
	y = g.heading.draw(d, x, y)
	d.text(x, y+textSize, left, "note", g.words.timeAxis)
	in := newFrame(g.rows, x, y+2*lineHeight)
	in.axes(d, g.job+g.words.logarithmic)
	curves := g.curves()
	in.guide(d, curves[0])
	in.labels(d, curves)
	for _, c := range slices.Backward(curves) { // kowaza's lies on top
		in.curve(d, c)
	}
}

func (g plot) tell() string {
	var told []string
	for _, c := range g.curves() {
		var points []string
		for _, r := range c {
			points = append(points, fmt.Sprintf("%s for %s", milliseconds(r.Median), grouped(int64(r.Count))))
		}
		told = append(told, c[0].Program+" takes "+strings.Join(points, ", "))
	}
	return g.job + ": " + strings.Join(told, "; ") + "."
}

// A frame is where a plot's points lie: between its edges, in pixels.
type frame struct {
	left, right, top, bottom float64
	counts                   []int // that have points: the ticks below
	low, high                int   // powers of ten of a microsecond at the ends of the other axis
}

// newFrame leaves room for the time's ticks left and the curves' names right.
func newFrame(rows []row, x, y float64) frame {
	in := frame{top: y, bottom: y + plotHeight}
	shortest, longest, names := int64(math.MaxInt64), int64(1), 0.0
	for _, r := range rows {
		in.counts = append(in.counts, r.Count)
		shortest, longest = min(shortest, max(r.Median, 1)), max(longest, r.Median)
		names = max(names, width(r.Program, r.kowaza()), width(milliseconds(r.Median), false))
	}
	slices.Sort(in.counts)
	in.counts = slices.Compact(in.counts)
	in.low = int(math.Floor(math.Log10(float64(shortest))))
	in.high = max(int(math.Ceil(math.Log10(float64(longest)))), in.low+1)
	ticks := 0.0
	for e := in.low; e <= in.high; e++ {
		ticks = max(ticks, width(decade(e), false))
	}
	half := width(grouped(int64(slices.Max(in.counts))), false) / 2
	in.left, in.right = x+math.Ceil(ticks)+gap, x+inside-math.Ceil(max(names, half))-gap
	return in
}

// across is where a count lies.
func (in frame) across(count int) float64 {
	first, last := math.Log10(float64(in.counts[0])), math.Log10(float64(in.counts[len(in.counts)-1]))
	if first == last {
		return (in.left + in.right) / 2
	}
	return in.left + (in.right-in.left)*(math.Log10(float64(count))-first)/(last-first)
}

// down is where a time in microseconds lies, be it above or below the frame.
func (in frame) down(us float64) float64 {
	return in.bottom - (in.bottom-in.top)*(math.Log10(max(us, 1))-float64(in.low))/float64(in.high-in.low)
}

func (in frame) point(r row) (x, y float64) { return in.across(r.Count), in.down(float64(r.Median)) }

func (in frame) axes(d *drawing, name string) {
	for e := in.low; e <= in.high; e++ {
		y := in.down(math.Pow10(e))
		d.line(in.left, y, in.right, y, "axis")
		d.text(in.left-gap, y+4, right, "note", decade(e))
	}
	for _, count := range in.counts {
		x := in.across(count)
		d.line(x, in.top, x, in.bottom+4, "axis")
		d.text(x, in.bottom+6+textSize, middle, "note", grouped(int64(count)))
	}
	d.text((in.left+in.right)/2, in.bottom+6+lineHeight+textSize, middle, "note", name)
}

// guide is what a curve would be if time were in proportion from its first point on,
// as far as the frame goes.
func (in frame) guide(d *drawing, curve []row) {
	first, last := curve[0], curve[len(curve)-1]
	if first.Count == last.Count {
		return
	}
	x1, y1 := in.point(first)
	x2, y2 := in.across(last.Count), in.down(float64(first.Median)*float64(last.Count)/float64(first.Count))
	if y2 < in.top {
		x2, y2 = x1+(x2-x1)*(y1-in.top)/(y1-y2), in.top
	}
	d.line(x1, y1, x2, y2, "guide")
}

func (in frame) curve(d *drawing, curve []row) {
	class, path := "grow", ""
	if curve[0].kowaza() {
		class += " us"
	}
	for i, r := range curve {
		x, y := in.point(r)
		path += [...]string{"M", "L"}[min(i, 1)] + px(x) + " " + px(y)
	}
	fmt.Fprintf(&d.b, "<path d=\"%s\" class=\"%s\"/>\n", path, class)
	for _, r := range curve {
		x, y := in.point(r)
		fmt.Fprintf(&d.b, "<circle cx=\"%s\" cy=\"%s\" r=\"3.5\" class=\"%s\"/>\n", px(x), px(y), r.class())
	}
}

// labels writes each curve's name and last time where it ends. They make room for
// each other.
func (in frame) labels(d *drawing, curves [][]row) {
	var ends []row
	for _, c := range curves {
		ends = append(ends, c[len(c)-1])
	}
	slices.SortStableFunc(ends, func(a, b row) int { return cmp.Compare(b.Median, a.Median) })
	const each = 2*lineHeight + 4
	next := in.top
	for i, r := range ends {
		_, y := in.point(r)
		y = min(max(y-lineHeight, next), in.bottom+lineHeight-each*float64(len(ends)-i))
		class := ""
		if r.kowaza() {
			class = "b"
		}
		d.text(in.right+gap, y+textSize, left, class, r.Program)
		d.text(in.right+gap, y+lineHeight+textSize, left, "note", milliseconds(r.Median))
		next = y + each
	}
}

// decade names a tick: so many powers of ten of a microsecond.
func decade(e int) string {
	unit := min(max(e, 0)/3, 2)
	return grouped(int64(math.Pow10(e-3*unit))) + " " + [...]string{"µs", "ms", "s"}[unit]
}
