package install

import (
	"bytes"
	"strings"
)

// A Setting is one assignment at the top of a script.
type Setting struct {
	Name  string // without $; empty where the line is only to be named
	Value string
	Bad   string // why Value is not known, or must not be carried over; empty if it may
	Text  string // the statement as it stands there
	at    int    // its place among them
}

// A language is one in which an administrator writes such scripts.
type language int

const (
	unknown language = iota // what has no first line: assignments of any of them
	shell
	perl
	php
)

// A Script is the text of an administrator's script, read and never run.
type Script struct {
	Settings []Setting // those at the top, in order
	Below    []string  // lines from the first command on, trimmed, but for comments
	text     string
	lang     language
}

// maxLine bounds a line that is looked at, in bytes.
const maxLine = 8192

var (
	shebang      = pattern{expr: `^#!.*(perl|php|sh)`}
	shellStart   = pattern{expr: `^(export[ \t]|[A-Za-z_][A-Za-z0-9_]*\+?=)`}
	harmless     = pattern{expr: `^(set|umask)([ \t][^;&|<>` + "`" + `$()\\]*)?$`}
	use          = pattern{expr: `^(use|require)[ \t].*;[ \t]*(#.*|//.*)?$`}
	shellName    = pattern{expr: `^([A-Za-z_][A-Za-z0-9_]*)(\+?)=`}
	exportName   = pattern{expr: `^[A-Za-z_][A-Za-z0-9_]*([ \t;]|$)`}
	perlScalar   = pattern{expr: `^(?:(?:my|our|local)[ \t]+)?\$([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*`}
	perlList     = pattern{expr: `^(?:my|our|local)[ \t]*\([ \t]*\$([A-Za-z_][A-Za-z0-9_]*)[ \t]*\)[ \t]*=[ \t]*`}
	perlLiteral  = pattern{expr: `^(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(0|[1-9][0-9]*))`}
	perlAnything = pattern{expr: `^(?:(?:my|our|local)[ \t]*[$@%(]|[$@%])[^=]*=`}
	plainName    = pattern{expr: `^[A-Za-z_][A-Za-z0-9_]*$`}
	declaration  = pattern{expr: `^(?:(?:my|our|local)[ \t]+)?\$|[ \t]+$`}
	endComment   = pattern{expr: `;[ \t]*((#|//).*)?$`}
)

// ReadScript reads the head of a script: assignments of sh, Perl or PHP, between
// comments, up to the first line that is a command. Nothing is expanded.
func ReadScript(text []byte) *Script {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	s := &Script{text: string(text)}
	head, inComment := true, false
	for i, line := range strings.Split(s.text, "\n") {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t")
		if i == 0 {
			if m := shebang.re().FindStringSubmatch(line); m != nil {
				s.lang = map[string]language{"perl": perl, "php": php, "sh": shell}[m[1]]
			}
		}
		if head {
			head, line = s.headLine(line, &inComment)
			if head {
				continue
			}
		}
		if line != "" && line[0] != '#' {
			s.Below = append(s.Below, line)
		}
	}
	return s
}

// headLine reads one line of the head. It reports whether the next is still one;
// if not, what it returns is for Below.
func (s *Script) headLine(line string, inComment *bool) (bool, string) {
	if *inComment { // of PHP's
		_, rest, ended := strings.Cut(line, "*/")
		if !ended {
			return true, ""
		}
		*inComment = false
		line = strings.TrimLeft(rest, " \t")
	}
	if rest, ok := strings.CutPrefix(line, "<?php"); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
		s.lang = php
		line = strings.TrimLeft(rest, " \t")
	}
	if line == "" || line[0] == '#' {
		return true, ""
	}
	if s.lang == php {
		if strings.HasPrefix(line, "//") {
			return true, ""
		}
		if rest, ok := strings.CutPrefix(line, "/*"); ok {
			_, rest, ended := strings.Cut(rest, "*/")
			*inComment = !ended
			return strings.TrimLeft(rest, " \t") == "", line
		}
	}
	if len(line) > maxLine {
		if name, _, ok := strings.Cut(line, "="); ok && len(name) < 100 {
			s.name(line, "too long, nothing after it was read")
		}
		return false, ""
	}
	switch {
	case use.re().MatchString(line), harmless.re().MatchString(line):
		return true, ""
	case s.lang != perl && s.lang != php && shellStart.re().MatchString(line):
		// The assignments in it were seen, whether they hold or not.
		return s.shell(line), ""
	case s.lang != shell && s.perl(line):
		return true, ""
	}
	return false, line
}

// name has a text named, and nothing of it carried over.
func (s *Script) name(text, why string) {
	s.Settings = append(s.Settings, Setting{Bad: why, Text: text})
}

// shell reads a line of assignments: A=1 B=2; export C='3' # and so on. It
// reports whether the line held no command: A=1 command sets nothing.
func (s *Script) shell(line string) bool {
	var some []Setting
	exported := false
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == ';' || line[0] == '#' {
			s.Settings = append(s.Settings, some...)
			some, exported = nil, false
			if line == "" || line[0] == '#' {
				return true
			}
			line = line[1:]
			continue
		}
		if rest, ok := strings.CutPrefix(line, "export"); ok && len(some) == 0 && !exported && rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
			exported = true
			line = rest
			continue
		}
		if m := shellName.re().FindStringSubmatch(line); m != nil {
			value, bad, n := shellWord(line[len(m[0]):])
			if n < 0 {
				s.name(line, "goes on in the next line, nothing after it was read")
				return false
			}
			if m[2] != "" {
				bad = "not a plain value"
			}
			n += len(m[0])
			some = append(some, Setting{Name: m[1], Value: value, Bad: bad, Text: line[:n]})
			line = line[n:]
			if line != "" && strings.IndexByte(" \t;", line[0]) < 0 {
				return false
			}
			continue
		}
		m := exportName.re().FindStringSubmatchIndex(line)
		if !exported || m == nil {
			return false
		}
		line = line[m[2]:]
	}
}

// shellWord reads the word at the beginning of s as a shell does, but expands
// nothing. It returns its text, why that is not all that the shell would make of
// it, and its length in s: -1 if it goes on in the next line.
func shellWord(s string) (value, bad string, n int) {
	var b strings.Builder
	first := func(why string) {
		if bad == "" {
			bad = why
		}
	}
	quoted := false
	i := 0
loop:
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			first("contains a backslash")
			if i++; i == len(s) {
				return "", "", -1
			}
		case c == '`':
			first("contains a backquote")
			j := strings.IndexByte(s[i+1:], '`')
			if j < 0 {
				return "", "", -1
			}
			i += j + 1
		case c == '$':
			first("contains $")
			if i+1 < len(s) && (s[i+1] == '(' || s[i+1] == '{') {
				j := closing(s[i+1:])
				if j < 0 {
					return "", "", -1
				}
				i += j
			}
		case c == '"':
			quoted = !quoted
		case quoted:
			b.WriteByte(c)
		case c == '\'':
			inner, _, ok := strings.Cut(s[i+1:], "'")
			if !ok {
				return "", "", -1
			}
			b.WriteString(inner)
			i += len(inner) + 1
		case c == '(' && i == 0:
			bad = "not a plain value"
			j := closing(s)
			if j < 0 {
				return "", "", -1
			}
			i += j - 1
		case c == '~' && (i == 0 || s[i-1] == ':'):
			first("contains ~")
		case strings.IndexByte(" \t;&|<>()", c) >= 0:
			break loop
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", -1
	}
	return b.String(), bad, i
}

// closing returns the length of what the bracket at the beginning of s encloses,
// with both brackets; -1 if it is not closed.
func closing(s string) int {
	left, right := s[0], byte(')')
	if left == '{' {
		right = '}'
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case left:
			depth++
		case right:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// perl reads a line of Perl's or PHP's assignments. It reports whether the line
// held nothing else.
func (s *Script) perl(line string) bool {
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' || s.lang == php && strings.HasPrefix(line, "//") {
			return true
		}
		m := perlScalar.re().FindStringSubmatch(line)
		if m == nil { // my ($x) = 'a' is my $x = 'a'
			m = perlList.re().FindStringSubmatch(line)
		}
		if m == nil {
			return s.expression(line)
		}
		value, bad, n := s.literal(line[len(m[0]):])
		rest := ""
		if n >= 0 {
			rest = strings.TrimLeft(line[len(m[0])+n:], " \t")
		}
		if n < 0 || !strings.HasPrefix(rest, ";") {
			return s.expression(line)
		}
		text := line[:len(m[0])+n] + ";"
		s.Settings = append(s.Settings, Setting{Name: m[1], Value: value, Bad: bad, Text: text})
		line = rest[1:]
	}
}

// literal reads a string or a number of Perl's or PHP's; n is its length in text,
// -1 where there is none whose value is sure. 010 would be eight.
func (s *Script) literal(text string) (value, bad string, n int) {
	m := perlLiteral.re().FindStringSubmatch(text)
	if m == nil {
		return "", "", -1
	}
	value = m[1] + m[2] + m[3]
	if text[0] == '"' && s.lang != php {
		// "a\@b" is how an address has to be written.
		bare := strings.ReplaceAll(value, `\@`, "")
		if strings.Contains(bare, "@") {
			bad = "contains @"
		}
		if !strings.Contains(bare, `\`) {
			value = strings.ReplaceAll(value, `\@`, "@")
		}
	}
	if strings.Contains(value, `\`) {
		return "", "", -1
	}
	return value, bad, len(m[0])
}

// expression takes an assignment of what only Perl or PHP knows. It reports
// whether the line is one, and nothing but one.
func (s *Script) expression(line string) bool {
	loc := perlAnything.re().FindStringIndex(line)
	if loc == nil {
		return false
	}
	value := line[loc[1]:]
	if value != "" && strings.IndexByte("=~>", value[0]) >= 0 {
		return false
	}
	why := "not a plain value"
	switch {
	case strings.Contains(value, "$"):
		why = "contains $"
	case strings.Contains(value, "`"):
		why = "contains a backquote"
	case strings.Contains(value, `\`):
		why = "contains a backslash"
	}
	name := declaration.re().ReplaceAllString(line[:loc[1]-1], "")
	if !plainName.re().MatchString(name) {
		name = strings.TrimSpace(line[:loc[1]-1])
	}
	s.Settings = append(s.Settings, Setting{Name: name, Bad: why, Text: strings.TrimRight(line, " \t")})
	// A second statement may be a command, and a statement may go on.
	value = endComment.re().ReplaceAllString(value, ";")
	return value != "" && strings.IndexByte(value, ';') == len(value)-1
}
