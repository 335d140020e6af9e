package install

import (
	"regexp"
	"slices"
	"strings"
)

// Days returns the numbers of days, as text, that a script which cleans the mail
// of all virtual users removes by: each that reaches a call of rmoldmail or a
// -mtime of find, as it stands there or through a variable, and what is assigned
// to a variable called DAYS. sure is false where one cannot be known without
// running the script, or none was found. variables are those in which they stand.
func (s *Script) Days() (days, variables []string, sure bool) {
	d := daysReader{script: s, sure: true}
	text := s.text
	if s.lang == php {
		text = phpComment.re().ReplaceAllString(text, " ")
	}
	d.text = strings.ReplaceAll(withoutComments(text), "\\\n", " ")
	for _, loc := range d.calls() {
		d.call(d.text[loc:])
	}
	for _, m := range mtime.re().FindAllStringSubmatch(d.text, -1) {
		d.reaches(m[1])
	}
	for _, name := range assignedName.re().FindAllStringSubmatch(d.text, -1) {
		if strings.EqualFold(name[1], "DAYS") {
			d.variable(name[1])
		}
	}
	return d.days, d.names, d.sure && len(d.days) > 0
}

// A daysReader collects what reaches the calls.
type daysReader struct {
	script *Script
	text   string
	days   []string
	names  []string // of variables in which they stand
	sure   bool
}

var (
	// what rmoldmail is called as, with what may stand before a command.
	called       = pattern{expr: `(?:^|[\s;&|({"'` + "`" + `/])rmoldmail(?:\.sh|\.pl)?["']?`}
	commandName  = pattern{expr: `(?:^|[^A-Za-z0-9_])\$?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*["']?[^\s"']*/?rmoldmail(?:\.sh|\.pl)?["']?\s*(?:;|\n|$)`}
	mtime        = pattern{expr: `-[mac]time["',\s]+["']?\+?([^\s"',;)]*)`}
	assignedName = pattern{expr: `(?:^|[^A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*)\s*[-+.*]?=(?:[^=~>]|$)`}
	phpComment   = pattern{expr: `(?s)/\*.*?\*/`}
	argument     = pattern{expr: `^[\s"',]*([^\s"',;&|<>)` + "`" + `]*)`}
	aVariable    = pattern{expr: `^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})$`}
	endOfValue   = pattern{expr: `^\s*(?:[;),}]|\r?$|#|//)`}
	decimal      = pattern{expr: `^[0-9]+$`}
	// another file, or text, that may set a variable
	sourced = map[language]*pattern{
		unknown: {expr: `(?m)(?:^|[;&|{(])\s*(?:\.|source|eval)\s+\S`},
		shell:   {expr: `(?m)(?:^|[;&|{(]|\b(?:then|else|do)\s)\s*(?:\.|source|eval)\s+\S`},
		perl:    {expr: `\b(?:do|require|eval)\s*\(?\s*["'$/]`},
		php:     {expr: `\b(?:require|include|eval)(?:_once)?\s*\(?\s*["'$/]`},
	}
)

// withoutComments leaves out lines that are one.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if t := strings.TrimLeft(line, " \t"); t == "" || t[0] != '#' && !strings.HasPrefix(t, "//") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// calls returns where the words after each call of rmoldmail begin.
func (d *daysReader) calls() []int {
	var at []int
	for _, loc := range called.re().FindAllStringIndex(d.text, -1) {
		at = append(at, loc[1])
	}
	for _, m := range commandName.re().FindAllStringSubmatch(d.text, -1) {
		use := regexp.MustCompile(`\$\{?` + m[1] + `\b\}?["']?`)
		for _, loc := range use.FindAllStringIndex(d.text, -1) {
			if rest := strings.TrimLeft(d.text[loc[1]:], " \t"); !strings.HasPrefix(rest, "=") {
				at = append(at, loc[1])
			}
		}
	}
	return at
}

// call reads the operands of a call. What has none is no call: test -x
// /usr/local/bin/rmoldmail.
func (d *daysReader) call(text string) {
	line, _, _ := strings.Cut(text, "\n")
	virtual := false
	for {
		m := argument.re().FindStringSubmatch(line)
		word := m[1]
		switch {
		case word == "" || word == "]" || word == "]]":
			d.sure = d.sure && !virtual
			return
		case strings.HasPrefix(word, "-") && strings.Trim(word, "-nvVa") == "", word == "--virtual":
			virtual = true // with any of these it is one
			line = line[len(m[0]):]
		case strings.HasPrefix(word, "-"):
			d.sure = false
			return
		default:
			if virtual || decimal.re().MatchString(word) || strings.HasPrefix(word, "$") {
				d.reaches(word)
			}
			return
		}
	}
}

// reaches takes a word that says how many days.
func (d *daysReader) reaches(word string) {
	if decimal.re().MatchString(word) {
		d.add(word)
		return
	}
	m := aVariable.re().FindStringSubmatch(word)
	if m == nil {
		d.sure = false
		return
	}
	d.variable(m[1] + m[2])
}

// variable takes whatever is assigned to a variable, at any place of the script:
// which of them holds only a run would tell.
func (d *daysReader) variable(name string) {
	d.names = append(d.names, name)
	// Each way in which it may get a value that is not seen here.
	other := regexp.MustCompile(`(?m)(?:^|[\s;&|(])(?:for|foreach|read|unset|local|declare|typeset|getopts)[ \t(][^;\n]*[ \t$]?\b` + name + `\b|\$\{` + name + `[^}]|\+\+\$?` + name + `\b|\$?\b` + name + `(?:\+\+|--)|\([^()]*\$` + name + `\b[^()]*\)\s*=[^=~]|\bprintf\s+-v\s*` + name + `\b`)
	before := map[language]string{shell: `(?:^|[^A-Za-z0-9_$])`, perl: `(?:\$)`, php: `(?:\$)`, unknown: `(?:^|[^A-Za-z0-9_])`}[d.script.lang]
	assigned := regexp.MustCompile(before + name + `(\s*)((?:\*\*|\|\||&&|//|\?\?|<<|>>|[-+*/%.x&|^])?=)(?:[^=~>]|$)`)
	found := assigned.FindAllStringSubmatchIndex(d.text, -1)
	if len(found) == 0 || other.MatchString(d.text) || sourced[d.script.lang].re().MatchString(d.text) {
		d.sure = false
		return
	}
	for _, m := range found {
		at := m[0]
		if d.text[at] == '\n' {
			at++
		}
		if d.script.quoted(d.text[strings.LastIndexByte(d.text[:at], '\n')+1 : at]) {
			d.sure = false
			continue
		}
		rest, _, _ := strings.Cut(d.text[m[5]:], "\n")
		value, ok := "", d.text[m[4]:m[5]] == "="
		if strings.HasPrefix(d.text[m[0]:m[1]], "$") || d.script.lang == perl || d.script.lang == php {
			var bad string
			var n int
			rest = strings.TrimLeft(rest, " \t")
			value, bad, n = d.script.literal(rest)
			ok = ok && bad == "" && n >= 0 && endOfValue.re().MatchString(rest[n:])
		} else {
			var bad string
			var n int
			value, bad, n = shellWord(strings.TrimSuffix(rest, "\r"))
			ok = ok && bad == "" && n >= 0 && m[2] == m[3]
		}
		if !ok || !decimal.re().MatchString(value) {
			d.sure = false
			continue
		}
		d.add(value)
	}
}

// quoted reports whether a string is open at the end of what stands before it in
// its line.
func (s *Script) quoted(before string) bool {
	var open byte
	for i := 0; i < len(before); i++ {
		switch c := before[i]; {
		case c == '\\' && (open != '\'' || s.lang == perl || s.lang == php):
			i++
		case open == 0 && (c == '"' || c == '\''):
			open = c
		case c == open:
			open = 0
		}
	}
	return open != 0
}

// add notes a number, without zeros that say nothing.
func (d *daysReader) add(n string) {
	if n = strings.TrimLeft(n, "0"); n == "" {
		n = "0"
	}
	if !slices.Contains(d.days, n) {
		d.days = append(d.days, n)
	}
}

var (
	// what has find(1) leave mail out, or take other mail
	findSelects = pattern{expr: `\bfind\b[^\n]*[\s"',](?:!|-not|-prune|-[iw]?(?:name|path|holename|regex)|-newer\w*|-size|-[ac]?min|-perm|-user|-(?:max|min)depth)[\s"',]`}
	// what has a loop leave users out
	loopSelects = pattern{expr: `(?m)(?:^|[\s;&|{(])(?:continue|case|unless|next[ \t]+(?:if|unless))(?:[\s;)]|$)|\bgrep\b[^|\n]*\s-\w*v|!=|!~|\sne\s|\\!\s*=`}
)

// selects reports whether a script that removes mail may leave out some that the
// applet would remove.
func (s *Script) selects(applet string) bool {
	text := strings.ReplaceAll(withoutComments(s.text), "\\\n", " ")
	return findSelects.re().MatchString(text) || applet == "rmmail_virtual" && loopSelects.re().MatchString(text)
}

// runs reports whether a script runs a command of that name, as one in
// /etc/cron.daily that calls what is in /usr/local/bin.
func (s *Script) runs(command string) bool {
	use := regexp.MustCompile(`(?m)(?:^|[;&|(])[ \t]*(?:exec[ \t]+|nice[ \t]+(?:-n[ \t]*)?[-0-9]*[ \t]*|ionice[ \t]+(?:-c[ \t]*[0-9][ \t]+)?)*(?:/[^\s]*/)?` + regexp.QuoteMeta(command) + `(?:[\s;&|)]|$)`)
	return s.lang == shell && use.MatchString(withoutComments(s.text))
}
