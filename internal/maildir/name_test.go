package maildir

import (
	"strings"
	"testing"
)

// TestNameSize proves how a size is read from a name, before whatever separates the
// info part, and that nonsense there is none.
func TestNameSize(t *testing.T) {
	for name, want := range map[string]int64{
		"1.M1.host,S=123:2,S":                 123,
		"1.M1.host,S=123;2,S":                 123,
		"1.M1.host,S=123!2,S":                 123,
		"1.M1.host,S=123,W=130:2,":            123,
		"1.M1.host,W=130,S=0":                 0,
		"1.M1.host,S=123:1,x":                 123,
		"1.M1.host,S=999999999999":            999999999999,
		"1.M1.host":                           -1,
		"1.M1.host,S=":                        -1,
		"1.M1.host,S=:2,S":                    -1,
		"1.M1.host,S=12x":                     -1,
		"1.M1.host,S=-5":                      -1,
		"1.M1.host,S=9999999999999":           -1,
		"1.M1.host,S=99999999999999999999999": -1,
		"1.M1.host,s=5":                       -1,
		"1.M1.host:2,S=5":                     -1,
		"1.M1.host:2,F,S=5":                   -1,
	} {
		got, ok := nameSize([]byte(name))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("nameSize(%s) = %d; want %d", name, got, want)
		}
	}
}

// TestSizes proves that what an inode tells is no size if no message has it, and
// that no sum of sizes turns negative.
func TestSizes(t *testing.T) {
	for size, want := range map[int64]int64{0: 0, 5: 5, maxSize: maxSize, maxSize + 1: 0, 1<<63 - 1: 0, -1: 0, -1 << 63: 0} {
		if got := inodeSize(size); got != want {
			t.Errorf("inodeSize(%d) = %d; want %d", size, got, want)
		}
	}
	var sum Stats
	for range 3 {
		sum.Add(Stats{Removed: 1, Bytes: 1<<62 + 1})
	}
	if sum.Bytes != 1<<63-1 || sum.Removed != 3 {
		t.Errorf("%+v", sum)
	}
}

// TestParseName proves that flags are read behind any separator that a program
// writes, up to a comma, and that a name of which nobody can say which flags it has
// is not taken for one without flags.
func TestParseName(t *testing.T) {
	for name, want := range map[string]string{ // "?": not known
		"1.M1P2.host:2,S":          "S",
		"1.M1P2.host;2,S":          "S",
		"1.M1P2.host!2,S":          "S",
		"1.M1P2.host:2,DFRST":      "DFRST",
		"1.M1P2.host:2,":           "",
		"1.M1P2.host":              "",
		"1.MSFP2.S,S=1,F":          "",
		"1.host,S=123:2,F":         "F",
		"1.host,S=123;2,FS":        "FS",
		"1.host,S=123,W=130:2,Sab": "Sab",
		"1.host:2,S,F":             "S",
		"1.host:2,,S":              "",
		"1.host2,S":                "",
		"1.host,U=2,S":             "",
		"2,S":                      "",
		":2,S":                     "S",
		":2,":                      "",
		"":                         "",
		"1.host!x:2,S":             "S",
		// An info part that cannot be read.
		"1.host:1,S":         "?",
		"1.host:12,S":        "?",
		"1.host:2S":          "?",
		"1.host:2":           "?",
		":2":                 "?",
		"1.host:":            "?",
		"1.host;":            "?",
		"1.host:2,F:2,S":     "?",
		"1.host:2,S;2,F":     "?",
		"1.host-2,FS":        "?",
		"1.host_2,":          "?",
		"1.host\uf0222,FS":   "?", // how Samba and Cygwin write a colon
		"1.host\uf03a2,S,x=": "?",
		"1.my-2,S=123":       "",
		"1.my-2,S=123,W=5":   "",
	} {
		m := parseName([]byte(name))
		got := string(m.flags)
		if !m.known {
			got = "?"
		}
		if got != want {
			t.Errorf("%q: %q; want %q", name, got, want)
		}
	}
}

// FuzzParseName proves of any name: a flag that is read stands in it, behind a
// separator and "2,"; a name in which anything looks like flags is either read or
// not known; a size stands in it in digits.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"1.host,S=123;2,FS", "1.host:2,F:2,S", "1.host-2,FS", "1.host!x:2,S", ":2", ",S=,S=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		m := parseName([]byte(name))
		if !strings.HasPrefix(name, string(m.unique)) {
			t.Fatalf("%q: unique part %q", name, m.unique)
		}
		if m.known && m.has('F') {
			ok := false
			for _, sep := range []string{":2,", ";2,", "!2,"} {
				ok = ok || strings.Contains(name, sep+string(m.flags))
			}
			if !ok {
				t.Fatalf("%q has the flags %q", name, m.flags)
			}
		}
		if strings.ContainsAny(name, ":;!") {
			return // it has one already
		}
		for _, end := range []string{":2,F", ";2,F", "!2,F", "_2,F", "\x802,F"} {
			if m := parseName([]byte(name + end)); m.known && !m.has('F') {
				t.Fatalf("%q has no F", name+end)
			}
		}
		if size, ok := nameSize([]byte(name)); ok && (size < 0 || size > maxSize) {
			t.Fatalf("%q: %d bytes", name, size)
		}
	})
}
