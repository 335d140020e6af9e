package install

import (
	"strings"
)

// PageMailtest reports whether a script is the page's mailtest, whatever its
// white space, comments and names, and returns the text of its exit code, which
// may be no number that qmail knows.
//
// The script is known only by what it does: it opens standard input, reads lines
// until feof into an array, prints each with <and> and a newline after it, and
// exits. Plain ways to write just that are taken; everything else is somebody's
// own filter.
func PageMailtest(script []byte) (exit string, ok bool) {
	if len(script) > maxMailtest {
		return "", false
	}
	code, ok := phpCode(string(script))
	if !ok {
		return "", false
	}
	tokens, ok := phpTokens(code)
	if !ok {
		return "", false
	}
	p := phpReader{tokens: tokens, zero: make(map[string]bool)}
	return p.page()
}

// maxMailtest bounds a script that may be the page's, in bytes: that has 300.
const maxMailtest = 16384

var phpShebang = pattern{expr: `^#![ \t]*/([^ \t]*/)?(env[ \t]+)?php[0-9.]*([ \t]+-[qn])*[ \t\r]*$`}

// phpCode returns what stands between <?php and ?>, where that is all there is.
func phpCode(s string) (string, bool) {
	if strings.HasPrefix(s, "#!") {
		line, rest, _ := strings.Cut(s, "\n")
		if !phpShebang.re().MatchString(line) {
			return "", false
		}
		s = rest
	}
	s, ok := strings.CutPrefix(strings.TrimLeft(s, phpBlank), "<?php")
	return s, ok && s != "" && strings.IndexByte(phpBlank, s[0]) >= 0
}

const phpBlank = " \t\r\n"

// A phpToken is a word of PHP: kind is v for a variable, w for a name (in lower
// case), n for digits, s for a string, t for a string in which variables stand,
// p for a mark.
type phpToken struct {
	kind byte
	text string
}

var phpWord = pattern{expr: `^(?:(\$[A-Za-z_][A-Za-z0-9_]*)|([A-Za-z_][A-Za-z0-9_]*)|([0-9]+))`}

// phpTokens splits code into words. It reports whether it is code to its end.
func phpTokens(s string) ([]phpToken, bool) {
	var tokens []phpToken
	for s != "" {
		c := s[0]
		switch {
		case strings.IndexByte(phpBlank, c) >= 0:
			s = s[1:]
		case c == '#' || strings.HasPrefix(s, "//"):
			line, rest, _ := strings.Cut(s, "\n")
			// The end of the code ends a comment; #[ begins no comment.
			if strings.Contains(line, "?>") || strings.HasPrefix(line, "#[") {
				return nil, false
			}
			s = rest
		case strings.HasPrefix(s, "/*"):
			_, rest, ok := strings.Cut(s[2:], "*/")
			if !ok {
				return nil, false
			}
			s = rest
		case strings.HasPrefix(s, "?>"):
			return tokens, strings.Trim(s[2:], phpBlank) == ""
		case c == '"' || c == '\'':
			t, n := phpString(s)
			if n < 0 {
				return nil, false
			}
			tokens = append(tokens, t)
			s = s[n:]
		default:
			t := phpToken{'p', s[:1]}
			if m := phpWord.re().FindStringSubmatch(s); m != nil {
				switch {
				case m[1] != "":
					t = phpToken{'v', m[1]}
				case m[2] != "":
					t = phpToken{'w', strings.ToLower(m[2])}
				default:
					t = phpToken{'n', m[3]}
				}
				s = s[len(m[0]):]
			} else {
				s = s[1:]
			}
			tokens = append(tokens, t)
		}
	}
	return tokens, true
}

// phpString reads the string at the beginning of s and its length there; -1 where
// it is not closed, or holds an escape whose meaning does not matter here.
func phpString(s string) (phpToken, int) {
	quote := s[0]
	var b strings.Builder
	kind := byte('s')
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			return phpToken{kind, b.String()}, i + 1
		case c == '\\' && quote == '\'':
			if i+1 < len(s) && (s[i+1] == '\\' || s[i+1] == '\'') {
				i++
			}
			b.WriteByte(s[i])
		case c == '\\':
			if i++; i == len(s) || s[i] != 'n' {
				return phpToken{}, -1
			}
			b.WriteByte('\n')
		default:
			if c == '$' && quote == '"' {
				kind = 't'
			}
			b.WriteByte(c)
		}
	}
	return phpToken{}, -1
}

// A phpReader takes the script from its words, from the front.
type phpReader struct {
	tokens  []phpToken
	input   string          // the variable of standard input, or stdin
	lines   string          // the array
	counter string          // what has the number of lines; empty if nothing
	zero    map[string]bool // variables that are 0
}

// take takes code, given with blanks between its words, as it stands there.
func (p *phpReader) take(code string) bool {
	words := strings.Fields(code)
	if len(words) > len(p.tokens) {
		return false
	}
	for i, w := range words {
		if t := p.tokens[i]; t.text != w || t.kind == 's' || t.kind == 't' {
			return false
		}
	}
	p.tokens = p.tokens[len(words):]
	return true
}

// next takes a word of that kind and returns its text.
func (p *phpReader) next(kind byte) (string, bool) {
	if len(p.tokens) == 0 || p.tokens[0].kind != kind {
		return "", false
	}
	text := p.tokens[0].text
	p.tokens = p.tokens[1:]
	return text, true
}

// try calls f, and takes nothing where it reports false.
func (p *phpReader) try(f func() bool) bool {
	before := p.tokens
	if f() {
		return true
	}
	p.tokens = before
	return false
}

// either reports whether one of some, tried in turn, is there.
func (p *phpReader) either(some ...func() bool) bool {
	for _, f := range some {
		if p.try(f) {
			return true
		}
	}
	return false
}

// words is take as something to try.
func (p *phpReader) words(code string) func() bool {
	return func() bool { return p.take(code) }
}

// variable takes a variable that is none of those.
func (p *phpReader) variable(others ...string) (string, bool) {
	v, ok := p.next('v')
	for _, o := range others {
		ok = ok && v != o
	}
	return v, ok
}

func (p *phpReader) page() (exit string, ok bool) {
	p.begin()
	if !p.try(p.open) {
		p.input = "stdin"
	}
	p.begin()
	if p.zero[p.input] || !p.take("while ( ! feof ( "+p.input+" ) )") || !p.block(p.read) {
		return "", false
	}
	closed := p.shut()
	p.try(func() bool {
		v, ok := p.variable(p.input, p.lines)
		ok = ok && p.take("=") && p.size() && p.take(";")
		if ok {
			p.counter = v
		}
		return ok
	})
	p.begin()
	if !p.either(p.foreach, p.each, p.count, p.countUp) {
		return "", false
	}
	if !closed {
		p.shut()
	}
	if !p.either(p.words("exit"), p.words("die")) {
		return "", false
	}
	switch {
	case p.take(";"), p.take("( ) ;"):
		exit, ok = "0", true
	case p.take("("):
		exit, ok = p.next('n')
		ok = ok && p.take(") ;")
	}
	return exit, ok && len(p.tokens) == 0
}

// begin takes $lines = array(); and $i = 0;
func (p *phpReader) begin() {
	for p.try(func() bool {
		v, ok := p.next('v')
		if !ok || v == p.lines || v == p.input {
			return false
		}
		if p.take("= 0 ;") {
			p.zero[v] = true
			return true
		}
		return p.take("= array ( ) ;") || p.take("= [ ] ;")
	}) {
	}
}

// open takes $fp = fopen("php://stdin", "r");
func (p *phpReader) open() bool {
	v, ok := p.next('v')
	if !ok || p.zero[v] || !p.take("= fopen (") {
		return false
	}
	name, ok1 := p.next('s')
	comma := p.take(",")
	mode, ok2 := p.next('s')
	p.input = v
	return ok1 && comma && ok2 && name == "php://stdin" &&
		(mode == "r" || mode == "rb") && p.take(") ;")
}

// shut takes fclose($fp);
func (p *phpReader) shut() bool {
	return p.try(p.words("fclose ( " + p.input + " ) ;"))
}

// block takes what inner does, in braces or without.
func (p *phpReader) block(inner func() bool) bool {
	if p.take("{") {
		return inner() && p.take("}")
	}
	return inner()
}

// read takes the reading of one line into the array.
func (p *phpReader) read() bool {
	var line string
	p.try(func() bool { // $l = fgets($fp); first
		v, ok := p.variable(p.input)
		line = v
		ok = ok && !p.zero[v] && p.take("=") && p.gets() && p.take(";")
		if !ok {
			line = ""
		}
		return ok
	})
	got := p.gets
	if line != "" {
		got = p.words(line)
	}
	return p.either(
		func() bool { // $lines[] = fgets($fp); $lines[$i++] = fgets($fp); $lines[$i] = fgets($fp); $i++;
			v, ok := p.variable(p.input, line)
			if !ok || p.zero[v] || !p.take("[") {
				return false
			}
			p.lines, p.counter = v, ""
			if !p.take("]") {
				i, ok := p.next('v')
				if !ok || !p.zero[i] {
					return false
				}
				p.counter = i
				if p.take("]") {
					return p.take("=") && got() && p.take(";") && p.increment(i) && p.take(";")
				}
				if !p.take("+ + ]") {
					return false
				}
			}
			return p.take("=") && got() && p.take(";")
		},
		func() bool { // array_push($lines, fgets($fp));
			if !p.take("array_push (") {
				return false
			}
			v, ok := p.variable(p.input, line)
			p.lines, p.counter = v, ""
			return ok && !p.zero[v] && p.take(",") && got() && p.take(") ;")
		})
}

// gets takes fgets($fp) or fgets($fp, 1024).
func (p *phpReader) gets() bool {
	if !p.take("fgets ( " + p.input) {
		return false
	}
	if p.take(",") {
		if _, ok := p.next('n'); !ok {
			return false
		}
	}
	return p.take(")")
}

// increment takes $i++ or ++$i.
func (p *phpReader) increment(i string) bool {
	return p.take(i+" + +") || p.take("+ + "+i)
}

// size takes count($lines).
func (p *phpReader) size() bool {
	return p.take("count ( "+p.lines+" )") || p.take("sizeof ( "+p.lines+" )")
}

// below takes $i < count($lines), or what has that number.
func (p *phpReader) below(i string) bool {
	return p.take(i+" <") && (p.size() || p.counter != "" && p.take(p.counter))
}

// foreach takes foreach ($lines as $l) and what it does.
func (p *phpReader) foreach() bool {
	if !p.take("foreach ( " + p.lines + " as") {
		return false
	}
	l, ok := p.variable(p.lines, p.input)
	if ok && p.take("= >") {
		key := l
		l, ok = p.variable(p.lines, p.input, key)
	}
	return ok && p.take(")") && p.block(func() bool { return p.prints(l, "") })
}

// each takes while (list($k, $l) = each($lines)) and what it does, as it was
// written before PHP 4.
func (p *phpReader) each() bool {
	if !p.take("while ( list (") {
		return false
	}
	var key string
	if !p.take(",") {
		k, ok := p.variable(p.lines, p.input)
		if !ok || !p.take(",") {
			return false
		}
		key = k
	}
	l, ok := p.variable(p.lines, p.input, key)
	return ok && p.take(") = each ( "+p.lines+" ) )") && p.block(func() bool { return p.prints(l, "") })
}

// count takes for ($i = 0; $i < count($lines); $i++) and what it does.
func (p *phpReader) count() bool {
	if !p.take("for (") {
		return false
	}
	i, ok := p.variable(p.lines, p.input, p.counter)
	return ok && p.take("= 0 ;") && p.below(i) && p.take(";") && p.increment(i) && p.take(")") &&
		p.block(func() bool { return p.prints(p.lines, i) })
}

// countUp takes while ($i < count($lines)) { ...; $i++; } of a variable that is 0.
func (p *phpReader) countUp() bool {
	if !p.take("while (") || len(p.tokens) == 0 {
		return false
	}
	i := p.tokens[0].text
	return p.zero[i] && i != p.counter && p.below(i) && p.take(") {") && p.prints(p.lines, i) &&
		p.increment(i) && p.take("; }")
}

// prints takes statements that print the line, then <and> and a newline, and
// nothing else. The line is variable, or its element index.
func (p *phpReader) prints(variable, index string) bool {
	all := ""
	for p.try(func() bool {
		piece, ok := p.print(variable, index)
		all += piece
		return ok
	}) {
	}
	return all == theLine+"<and>\n"
}

// theLine stands for the line in what is printed: no string of PHP's that is
// read here can hold it, for want of \0.
const theLine = "\x00"

// print takes one statement and returns what it prints.
func (p *phpReader) print(variable, index string) (string, bool) {
	if p.take("printf (") {
		format, ok := p.next('s')
		if !ok || strings.Count(format, "%") != 1 || !p.take(",") {
			return "", false
		}
		text, ok := p.operand(variable, index)
		return strings.Replace(format, "%s", text, 1), ok && strings.Contains(format, "%s") && p.take(") ;")
	}
	echo := p.take("echo")
	if !echo && !p.take("print") {
		return "", false
	}
	paren := p.take("(")
	all, ok := p.operand(variable, index)
	for ok && (p.take(".") || echo && !paren && p.take(",")) {
		var text string
		text, ok = p.operand(variable, index)
		all += text
	}
	return all, ok && (!paren || p.take(")")) && p.take(";")
}

// operand takes the line or a string and returns it.
func (p *phpReader) operand(variable, index string) (string, bool) {
	if s, ok := p.next('s'); ok {
		return s, !strings.Contains(s, theLine)
	}
	if t, ok := p.next('t'); ok {
		name := variable
		if index != "" {
			name += "[" + index + "]"
		}
		before, after, ok := strings.Cut(t, name)
		if b, ok1 := strings.CutSuffix(before, "{"); ok1 {
			if a, ok2 := strings.CutPrefix(after, "}"); ok2 {
				before, after = b, a
			}
		}
		// What follows must not belong to the name, nor be a second variable.
		return before + theLine + after, ok && !strings.ContainsAny(before+after, "${}"+theLine) &&
			(after == "" || !phpPart.re().MatchString(after))
	}
	if index == "" {
		return theLine, p.take(variable)
	}
	return theLine, p.take(variable + " [ " + index + " ]")
}

// phpPart begins what would belong to a variable before it in a string.
var phpPart = pattern{expr: `^([A-Za-z0-9_\x80-\xff\[]|->|\?->)`}
