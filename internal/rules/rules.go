// Package rules reads a file of retention rules: how long whose mail is kept in
// which folder.
//
// A line is USER FOLDER DAYS, with blanks between; double quotes stand around a name
// with blanks, and # begins a comment. The first line that matches a user and a
// folder counts. A line that cannot be read makes the whole file an error: it may
// have been an exception, which must not become a deletion.
package rules

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kowaza/internal/maildir"
	"kowaza/internal/settings"
)

// Never are the days of a line whose messages stay.
const Never = -1

// A Line is one rule.
type Line struct {
	User   string // an address, a name, @domain or *
	Folder maildir.Folder
	Days   int // whole days, see maildir.Cutoff; Never
	Line   int // where it stands, from 1
}

// A User is somebody for whom rules may stand.
type User struct {
	Names  []string // whatever he may be called
	Domain string   // of his address; empty: he has none
}

// Is reports whether he is called so, in any case: the local part of an address is
// delivered in lower case (qmail-local(8)), and no site has two who differ in that.
func (u User) Is(name string) bool {
	return slices.ContainsFunc(u.Names, func(s string) bool { return strings.EqualFold(s, name) })
}

// Rules are the lines of a file, in a shape in which those for a user are found.
type Rules struct {
	File  string
	Lines []Line

	byUser   map[string][]int // of Lines, by USER in lower case
	terms    []maildir.Term   // of Lines
	everyone []maildir.Term   // of the lines for *
}

// Read reads a file of rules, which for root is checked as kowaza.conf is, see
// settings.ReadFile. Now is when the program started.
func Read(file string, root bool, now time.Time) (*Rules, error) {
	text, err := settings.ReadFile(file, root)
	if err != nil {
		return nil, err
	}
	return Parse(file, text, now)
}

// Parse reads the text of a file of rules. The error names the file and the line.
func Parse(file string, text []byte, now time.Time) (*Rules, error) {
	r := &Rules{File: file, byUser: make(map[string][]int)}
	n := 0
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		n++
		fields, err := split(string(line))
		if err == nil && len(fields) > 0 {
			err = r.add(n, fields, now)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	for _, i := range r.byUser["*"] {
		r.everyone = append(r.everyone, r.terms[i])
	}
	return r, nil
}

func (r *Rules) add(n int, fields []string, now time.Time) error {
	if len(fields) != 3 {
		return errors.New("not USER FOLDER DAYS")
	}
	l := Line{User: fields[0], Days: Never, Line: n}
	if l.User == "@" || strings.Contains(l.User, "*") && l.User != "*" {
		return fmt.Errorf("%s: neither a user nor @domain nor *", l.User)
	}
	var err error
	if l.Folder, err = maildir.NewFolder(fields[1]); err != nil {
		return fmt.Errorf("%s: %w", fields[1], err)
	}
	if fields[2] != "never" {
		if l.Days, err = settings.Number(fields[2], 0, settings.MaxDays); err != nil {
			return fmt.Errorf("%s: %w, nor never", fields[2], err)
		}
	}
	user := strings.ToLower(l.User)
	r.byUser[user] = append(r.byUser[user], len(r.Lines))
	r.Lines = append(r.Lines, l)
	r.terms = append(r.terms, maildir.Term{Folder: l.Folder, Days: l.Days, Before: maildir.Cutoff(now, l.Days), Line: n})
	return nil
}

// For returns what the lines for a user say, in their order. The result is shared.
func (r *Rules) For(u User) []maildir.Term {
	var found []int
	keys := slices.Clone(u.Names)
	if u.Domain != "" {
		keys = append(keys, "@"+u.Domain)
	}
	for _, key := range keys {
		if key != "*" {
			found = append(found, r.byUser[strings.ToLower(key)]...)
		}
	}
	if len(found) == 0 {
		return r.everyone
	}
	found = append(found, r.byUser["*"]...)
	slices.Sort(found)
	var terms []maildir.Term
	for _, i := range slices.Compact(found) {
		terms = append(terms, r.terms[i])
	}
	return terms
}

const blank = " \t\r"

// split splits a line into its fields, none where it says nothing.
func split(line string) ([]string, error) {
	for i := 0; i < len(line); i++ {
		if c := line[i]; (c < ' ' && c != '\t' && (c != '\r' || i+1 < len(line))) || c == 0x7f {
			return nil, errors.New("control character")
		}
	}
	var fields []string
	for {
		line = strings.TrimLeft(line, blank)
		if line == "" || line[0] == '#' {
			return fields, nil
		}
		end := strings.IndexAny(line, blank)
		if line[0] == '"' {
			if end = strings.IndexByte(line[1:], '"') + 2; end < 2 {
				return nil, errors.New("quotation mark without an end")
			}
			if end < len(line) && strings.IndexByte(blank, line[end]) < 0 {
				return nil, errors.New("text after the closing quotation mark")
			}
		}
		if end < 0 {
			end = len(line)
		}
		field := line[:end]
		if line[0] == '"' {
			field = field[1 : end-1]
		} else if strings.IndexByte(field, '"') >= 0 {
			return nil, errors.New("quotation mark within a word")
		}
		if field == "" {
			return nil, errors.New("empty name")
		}
		fields = append(fields, field)
		line = line[end:]
	}
}
