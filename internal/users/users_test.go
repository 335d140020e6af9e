package users

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const passwdFile = `root:x:0:0:root:/root:/bin/sh
+nis::::::
broken:x:one:1::/home/broken:/bin/sh
short:x:1:1
hoge:x:1000:1001:Hoge,,,:/home/hoge:/bin/sh
hoge:x:1002:1002:second:/home/second:/bin/sh
same:x:1000:1001::/home/same:/bin/sh
last:x:1003:1003::/home/last:/bin/sh`

// system makes a root with a password file and, unless script is empty, a
// getent.
func system(t *testing.T, passwd, script string) Passwd {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"etc/passwd": passwd, "usr/bin/getent": script} {
		if text == "" {
			continue
		}
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Passwd{Root: root}
}

// TestPasswdFile proves that the first line with the name or number counts, and
// that broken lines and NIS lines are nobody's.
func TestPasswdFile(t *testing.T) {
	p := system(t, passwdFile, "")
	for name, home := range map[string]string{"root": "/root", "hoge": "/home/hoge", "last": "/home/last"} {
		if l, err := p.ByName(name); err != nil || l.Home != home {
			t.Errorf("%s: %v, %v; want %s", name, l, err, home)
		}
	}
	for _, name := range []string{"nobody", "broken", "short", "Hoge", "hog", "1000"} {
		if l, err := p.ByName(name); err != ErrUnknown {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	if l, err := p.ByUID(1000); err != nil || l.Name != "hoge" || l.GID != 1001 {
		t.Errorf("uid 1000: %v, %v", l, err)
	}
	if _, err := p.ByUID(4711); err != ErrUnknown {
		t.Errorf("uid 4711: %v", err)
	}
	if _, err := system(t, "", "").ByName("hoge"); err != ErrUnknown {
		t.Errorf("no password file: %v", err)
	}
}

// TestGetent proves that getent's word counts only where it answers the question
// asked, and that a getent that fails is not a "no such user".
func TestGetent(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         string // home, or the error
	}{
		{"ldap", `echo "ldap:x:5:5::/home/ldap:/bin/sh"`, "/home/ldap"},
		{"two", `echo "two:x:5:5::/home/two:/bin/sh"; echo "two:x:6:6::/home/other:/bin/sh"`, "/home/two"},
		{"lies", `echo "root:x:0:0::/root:/bin/sh"`, ErrUnknown.Error()},
		{"none", `exit 2`, ErrUnknown.Error()},
		{"fails", `exit 1`, "getent passwd fails: exit status 1"},
		{"killed", `kill -9 $$`, "getent passwd killed: signal: killed"},
		{"empty", `exit 0`, "getent passwd empty: answer not understood"},
		{"noise", `echo hello; exit 0`, "getent passwd noise: answer not understood"},
		{"args", `test "$#:$1:$2" = 2:passwd:args || exit 1; echo "args:x:5:5::/home/a:"`, "/home/a"},
	} {
		l, err := system(t, passwdFile, "#!/bin/sh\n"+test.script+"\n").ByName(test.name)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = l.Home
		}
		if got != test.want {
			t.Errorf("%s: %s; want %s", test.name, got, test.want)
		}
	}
	// Who is in the file is not asked for.
	if l, err := system(t, passwdFile, "#!/bin/sh\nexit 1\n").ByName("hoge"); err != nil || l.UID != 1000 {
		t.Errorf("hoge: %v, %v", l, err)
	}
	// Something that cannot be run is a failure, too.
	if _, err := system(t, passwdFile, "\x7fELF").ByName("x"); err == nil || err == ErrUnknown {
		t.Errorf("broken getent: %v", err)
	}
}

// TestValidName proves that what could be an option, a path or two fields is
// refused before anybody is asked.
func TestValidName(t *testing.T) {
	p := system(t, "", "#!/bin/sh\nexit 0\n")
	for _, name := range []string{"", "-x", "a:b", "a/b", "/etc", "a\nb", "a\x00", "\x7f"} {
		if ValidName(name) == nil {
			t.Errorf("%q is valid", name)
		}
		if _, err := p.ByName(name); err == nil || err == ErrUnknown {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"hoge", "a-b", "a.b", "日本", "a b", "x@example.jp", "machine$"} {
		if err := ValidName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestAssign proves that the reader sees what qmail-newu sees, names the lines
// that it cannot read, and goes on behind them.
func TestAssign(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	text := "=Foo:pop:500:501:/home/pop/foo:::\n" + // 1
		"+joe-:joe:507:100:/home/joe:-::\n" +
		"\n" + // 3: qmail-newu would stop here
		"# comment\n" +
		"#joe:joe:507:100:/home/joe:::\n" + // 5: for qmail-newu a user called joe
		"=few:pop:1:2:/x::\n" +
		"=nul\x00:pop:1:2:/x:::\n" + // 7
		"=uid:pop:x:2:/x:::\n" +
		"=" + long + ":pop:1:2:/x:::\n" + // 9
		":pop:1:2:/x:::::\n" +
		"=more:pop:1:2:/home/more:-:ext:and:more\n" + // 11
		"+:alias:1:2:/var/qmail/alias:-::\n" +
		".\n" +
		"=late:pop:1:2:/x:::\n"
	r := NewAssignReader(strings.NewReader(text), "assign")
	var got []string
	for {
		a, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, a.Local+" "+a.User+" "+a.Home+" "+a.Dash+" "+a.Ext)
		}
		if len(got) > 20 {
			break
		}
	}
	want := []string{
		"foo pop /home/pop/foo  ",
		"joe- joe /home/joe - ",
		"assign:3: malformed line: fewer than 7 colons",
		"assign:4: # comment: malformed line: fewer than 7 colons",
		"assign:5: #joe: line begins neither with = nor with +",
		"assign:6: =few:pop:1:2:/x::: malformed line: fewer than 7 colons",
		"assign:7: NUL in line",
		"assign:8: x:2: uid or gid is not a number",
		"assign:9: line too long",
		"assign:10: :pop:1:2:/x:::::: malformed line: fewer than 7 colons",
		"more pop /home/more - ext",
		" alias /var/qmail/alias - ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the end: %v", err)
	}
}

// TestAssignEnd proves that a file without its final dot is named as broken, as
// qmail-newu has it, after its users have been read.
func TestAssignEnd(t *testing.T) {
	const line = "=foo:pop:500:501:/home/pop/foo:::\n"
	for text, want := range map[string]string{
		line + ".\n":                 "EOF",
		line + ".":                   "EOF",
		line + ".anything at all\nx": "EOF",
		line:                         "f:2: file ends without a line that begins with a dot",
		line + "=x:y:1:2:/z:::":      "f:2: last line has no newline",
		"":                           "f:1: file ends without a line that begins with a dot",
		".\n":                        "EOF",
	} {
		r := NewAssignReader(strings.NewReader(text), "f")
		var err error
		for n := 0; err == nil && n < 5; n++ {
			_, err = r.Next()
		}
		if got := err.Error(); got != want {
			t.Errorf("%q: %s; want %s", text, got, want)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%q: behind the end: %v", text, err)
		}
	}
}

// TestLookupAssign proves that only an = line answers, the first of several,
// letters folded, and that a broken line elsewhere does not matter.
func TestLookupAssign(t *testing.T) {
	file := filepath.Join(t.TempDir(), "assign")
	text := "broken\n+foo:a:1:1:/plus:::\n=FOO:b:1:1:/first:::\n=foo:c:1:1:/second:::\n=d/u:d:1:1:/domain:::\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for local, home := range map[string]string{"foo": "/first", "Foo": "/first", "d/u": "/domain"} {
		if a, err := LookupAssign(file, local); err != nil || a.Home != home {
			t.Errorf("%s: %v, %v; want %s", local, a, err, home)
		}
	}
	for _, local := range []string{"", "fo", "fooo", "bar"} {
		if a, err := LookupAssign(file, local); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v, %v", local, a, err)
		}
	}
	if _, err := LookupAssign(file+"x", "foo"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzAssign proves that no file breaks the reader: it ends, each line is read
// once, and what it returns could have stood in one line.
func FuzzAssign(f *testing.F) {
	f.Add("=foo:pop:500:501:/home/pop/foo:::\n+x-:y:1:2:/z:-::\n\n.\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := NewAssignReader(strings.NewReader(text), "f")
		for n := 1; ; n++ {
			a, err := r.Next()
			if err == io.EOF {
				return
			}
			if n > strings.Count(text, "\n")+1 {
				t.Fatalf("more than there are lines in %q", text)
			}
			if err == nil && (a.Line != n || strings.ContainsAny(a.Local+a.User+a.Home+a.Dash+a.Ext, ":\n\x00")) {
				t.Fatalf("line %d of %q: %+v", n, text, a)
			}
		}
	})
}
