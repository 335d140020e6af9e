package rules

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kowaza/internal/maildir"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// TestRules proves which lines count for whom, in which order.
func TestRules(t *testing.T) {
	r, err := Parse("rules", []byte(`# who folder days
hanako@example.com Archive/* never   # her archive
	"boss man"	"Sent Messages" 30
@example.com  Trash 7

BOSS * never
* ゴミ箱 7`+"\r"+`
* Trash 14
* * 365
`), now)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		user User
		want string // lines
	}{
		{User{Names: []string{"nobody"}}, "[7 8 9]"},
		{User{Names: []string{"example.com/hanako", "hanako@example.com"}, Domain: "example.com"}, "[2 4 7 8 9]"},
		{User{Names: []string{"x@EXAMPLE.com"}, Domain: "EXAMPLE.com"}, "[4 7 8 9]"},
		{User{Names: []string{"boss"}}, "[6 7 8 9]"},
		{User{Names: []string{"boss", "Boss"}}, "[6 7 8 9]"},
		{User{Names: []string{"boss man"}}, "[3 7 8 9]"},
		{User{Names: []string{"*"}}, "[7 8 9]"},
		{User{}, "[7 8 9]"},
	} {
		var lines []int
		for _, term := range r.For(test.user) {
			lines = append(lines, term.Line)
		}
		if got := fmt.Sprint(lines); got != test.want {
			t.Errorf("%+v: lines %s; want %s", test.user, got, test.want)
		}
	}
	if l := r.Lines[0]; l.Days != Never || l.Folder.Name != "Archive/*" {
		t.Errorf("%+v", l)
	}
	if l := r.Lines[4]; l.Folder.Name != "ゴミ箱" || l.Days != 7 {
		t.Errorf("%+v", l)
	}
}

// TestRulesErrors proves that nothing of a file counts in which one line cannot be
// read, and that the error says which.
func TestRulesErrors(t *testing.T) {
	for line, want := range map[string]string{
		"a b":               "not USER FOLDER DAYS",
		"a b 3 4":           "not USER FOLDER DAYS",
		"a b -1":            "-1: not a number, nor never",
		"a b 3.5":           "3.5: not a number, nor never",
		"a b 36501":         "36501: not a number from 0 to 36500, nor never",
		"a b Never":         "Never: not a number, nor never",
		"a /b 3":            "/b: no name of a folder",
		"a b/ never":        "b/: no name of a folder",
		"a \xff 3":          "\xff: not in UTF-8",
		"@ b 3":             "@: neither a user nor @domain nor *",
		"a* b 3":            "a*: neither a user nor @domain nor *",
		`"a b 3`:            "quotation mark without an end",
		`"a"b c 3`:          "text after the closing quotation mark",
		`a"b" c 3`:          "quotation mark within a word",
		`"" c 3`:            "empty name",
		"a b\x01 3":         "control character",
		"a\rb c 3":          "control character",
		"a b #3":            "not USER FOLDER DAYS",
		"a never":           "not USER FOLDER DAYS",
		"a Sent Items 3":    "not USER FOLDER DAYS",
		"* Trash 7 # x\x7f": "control character",
	} {
		_, err := Parse("file", []byte("* * never\n"+line+"\n* * 3\n"), now)
		if err == nil || err.Error() != "file:2: "+want {
			t.Errorf("%q: %v; want %s", line, err, want)
		}
	}
}

// TestRulesFile proves that root takes a file only where nobody else could have
// written it, and that one that is not there is an error.
func TestRulesFile(t *testing.T) {
	file := t.TempDir() + "/rules"
	if _, err := Read(file, false, now); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(file, []byte("* * 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(file, os.Geteuid() == 0, now); err != nil || len(r.Lines) != 1 {
		t.Errorf("%v, %v", r, err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file, true, now); err == nil {
		t.Error("a file that everybody may write was read")
	}
}

// FuzzRules proves that whatever stands in the file, it is read as a whole or not at
// all, that what was read can be written down and read again, and that each line
// counts for its own user.
func FuzzRules(f *testing.F) {
	for _, s := range []string{"* * never\n", "a \"b c\" 3 # d\n", "@x ゴミ箱 07\r\n", "\"", "a b 3\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse("f", []byte(text), now)
		if err != nil {
			if r != nil || !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		var b strings.Builder
		for _, l := range r.Lines {
			days := fmt.Sprint(l.Days)
			if l.Days == Never {
				days = "never"
			}
			fmt.Fprintf(&b, "\"%s\" \"%s\" %s\n", l.User, l.Folder.Name, days)
			user := User{Names: []string{l.User}}
			if strings.HasPrefix(l.User, "@") {
				user = User{Domain: l.User[1:]}
			}
			if terms := r.For(user); !slices.ContainsFunc(terms, func(term maildir.Term) bool { return term.Line == l.Line }) {
				t.Fatalf("line %d of %q does not count for %q", l.Line, text, l.User)
			}
		}
		again, err := Parse("f", []byte(b.String()), now)
		if err != nil || len(again.Lines) != len(r.Lines) {
			t.Fatalf("%q, written as %q: %v", text, b.String(), err)
		}
		for i, l := range again.Lines {
			if l.User != r.Lines[i].User || l.Folder.Name != r.Lines[i].Folder.Name || l.Days != r.Lines[i].Days {
				t.Fatalf("%q, written as %q: %+v", text, b.String(), l)
			}
		}
	})
}
