package main

import (
	"fmt"
	"strings"
)

// Charts are SVG by hand. GitHub shows them by <img>: no script runs there and no
// font is fetched, but a style sheet inside counts, and with it the reader's choice
// of dark or light. Each has its own background, so that it can be read also where
// the page around it is of the other kind.

// A palette has a colour for each class of things that are drawn.
type palette struct{ page, panel, text, note, kowaza, other, floor, line string }

var (
	light = palette{page: "#ffffff", panel: "#f6f8fa", text: "#1f2328", note: "#57606a", kowaza: "#bc4c00", other: "#6e7781", floor: "#eaeef2", line: "#d0d7de"}
	dark  = palette{page: "#0d1117", panel: "#161b22", text: "#e6edf3", note: "#9da7b3", kowaza: "#f0883e", other: "#8b949e", floor: "#21262d", line: "#3d444d"}
)

func (p palette) style() string {
	return ".page{fill:" + p.page + "}.panel{fill:" + p.panel + "}text{fill:" + p.text + "}.note{fill:" + p.note + "}" +
		".kowaza{fill:" + p.kowaza + "}.other{fill:" + p.other + "}.floor{fill:" + p.floor + ";stroke:" + p.other + "}" +
		".spread{stroke:" + p.text + "}.axis{stroke:" + p.line + "}.guide{stroke:" + p.note + "}" +
		".grow{fill:none;stroke:" + p.other + "}.grow.us{stroke:" + p.kowaza + "}"
}

const (
	textSize   = 12 // px, of all text
	lineHeight = 16
)

// glyphs are the widths of the characters from blank to tilde, in thousandths of the
// text's size, of the widest of the fonts that "sans-serif" commonly is (DejaVu Sans;
// where Liberation Sans has a wider character, that one's). What is planned by these
// is not cut where another font is taken.
var glyphs = [...]int{
	318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
	636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 556, 1015, 684, 686, 722, 770, 667,
	611, 778, 752, 295, 500, 667, 557, 863, 748, 787, 667, 787, 722, 667, 611, 732, 684, 989, 685,
	667, 685, 390, 337, 390, 838, 556, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
	278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
}

// boldness is how much wider a text is in bold.
const boldness = 1.2

// width is how many pixels a text may take. What is not ASCII is as wide as high,
// as Japanese is.
func width(s string, bold bool) float64 {
	sum := 0
	for _, c := range s {
		switch {
		case c == '\u00a0':
			sum += glyphs[0]
		case c >= ' ' && int(c) < ' '+len(glyphs):
			sum += glyphs[c-' ']
		default:
			sum += 1000
		}
	}
	w := float64(sum) * textSize / 1000
	if bold {
		w *= boldness
	}
	return w
}

// wrap divides a text into lines where it has blanks, or between two of Japanese.
func wrap(s string, most float64, bold bool) (lines []string) {
	if s == "" {
		return nil
	}
	line := ""
	for _, word := range words(s) {
		if line != "" && width(strings.TrimSpace(line+word), bold) > most {
			lines = append(lines, strings.TrimSpace(line))
			line = ""
		}
		line += word
	}
	return append(lines, strings.TrimSpace(line))
}

// words divides a text before each blank, and before each Japanese character but
// those that do not begin a line.
func words(s string) (words []string) {
	word := ""
	for _, c := range s {
		if c == ' ' || c >= '\u3040' && !strings.ContainsRune("、。，」）ー", c) {
			words = append(words, word)
			word = ""
		}
		word += string(c)
	}
	return append(words, word)
}

// A drawing is the inside of an SVG.
type drawing struct{ b strings.Builder }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// px is a coordinate with no more digits than the eye needs.
func px(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

type anchor string

const (
	left   anchor = ""
	middle anchor = ` text-anchor="middle"`
	right  anchor = ` text-anchor="end"`
)

// text writes a line of text of a class, which may be none, "b" or "note".
func (d *drawing) text(x, y float64, at anchor, class, s string) {
	if class == "b" {
		class = ` font-weight="bold"`
	} else if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(&d.b, "<text x=\"%s\" y=\"%s\"%s%s>%s</text>\n", px(x), px(y), at, class, escaper.Replace(s))
}

// rect draws what has a class's colour; a panel has round corners.
func (d *drawing) rect(x, y, w, h float64, class string) {
	round := ""
	if class == "panel" {
		round = ` rx="6"`
	}
	fmt.Fprintf(&d.b, "<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"%s class=\"%s\"/>\n", px(x), px(y), px(w), px(h), round, class)
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&d.b, "<path d=\"M%s %sL%s %s\" class=\"%s\"/>\n", px(x1), px(y1), px(x2), px(y2), class)
}

// svg is the whole picture. The description is for who does not see it.
func (d *drawing) svg(w, h float64, language, title, description string) string {
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%s\" height=\"%s\" viewBox=\"0 0 %[1]s %[2]s\" "+
		"role=\"img\" aria-labelledby=\"title desc\" xml:lang=\"%s\" font-family=\"sans-serif\" font-size=\"%d\">\n"+
		"<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n"+
		"<style>%s\n@media (prefers-color-scheme:dark){%s}\n.guide{stroke-dasharray:2 3}.grow{stroke-width:2}</style>\n"+
		"<rect width=\"%[1]s\" height=\"%[2]s\" class=\"page\"/>\n%[9]s</svg>\n",
		px(w), px(h), language, textSize, escaper.Replace(title), escaper.Replace(description), light.style(), dark.style(), d.b.String())
}
