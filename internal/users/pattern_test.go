package users

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"kowaza/internal/way"
)

// nobodyElse is a getent that knows nobody beside the password file.
const nobodyElse = "#!/bin/sh\nexit 2\n"

// pattern runs a PatternList with that pattern and VUSER over the host, "@" being its
// root, and returns what it gives, "NAME DIRECTORY" each, and what failed, sorted.
func (h *host) pattern(pattern, vuser string) (got, fails []string) {
	h.t.Helper()
	short := func(s string) string { return strings.ReplaceAll(s, h.root, "@") }
	l := PatternList{Pattern: h.path(pattern), VUser: vuser, Passwd: h.list.Passwd}
	err := l.Each(func(v Virtual) bool {
		got = append(got, v.Name+" "+short(v.Home))
		return true
	}, func(err error) { fails = append(fails, short(err.Error())) })
	if err != nil {
		fails = append(fails, short(err.Error()))
	}
	slices.Sort(got)
	slices.Sort(fails)
	return got, fails
}

// dirs makes directories of the host.
func (h *host) dirs(names ...string) {
	h.t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(h.path(name), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *host) link(to, name string) {
	h.t.Helper()
	if err := os.Symlink(to, h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

// TestPatternWho proves which directories a pattern takes and by which names: a star
// is a whole name without a dot at its beginning, a file, a link to nothing and a loop
// are none, a link to a directory is one.
func TestPatternWho(t *testing.T) {
	h := newHost(t, nobodyElse)
	h.dirs("/m/a.jp/u", "/m/a.jp/v/Maildir", "/m/a.jp/.w", "/m/.b.jp/u", "/m/c.jp", "/m/d.jp/u/deep", "/else/x")
	h.write("/m/a.jp/file", "text")
	h.write("/m/file", "text")
	h.link("nowhere", "/m/a.jp/broken")
	h.link("nowhere", "/m/broken")
	h.link("loop", "/m/a.jp/loop")
	h.link("loop", "/m/loop")
	h.link("u", "/m/a.jp/link")
	h.link("../else", "/m/e.jp")
	for _, test := range []struct {
		pattern string
		want    []string
	}{
		{"/m/*/*", []string{"a.jp/link @/m/a.jp/link", "a.jp/u @/m/a.jp/u", "a.jp/v @/m/a.jp/v", "d.jp/u @/m/d.jp/u", "e.jp/x @/m/e.jp/x"}},
		{"/m/a.jp/*", []string{"link @/m/a.jp/link", "u @/m/a.jp/u", "v @/m/a.jp/v"}},
		{"/m/*/u", []string{"a.jp @/m/a.jp/u", "d.jp @/m/d.jp/u"}},
		{"/m/*/*/*", []string{"a.jp/v/Maildir @/m/a.jp/v/Maildir", "d.jp/u/deep @/m/d.jp/u/deep"}},
		{"/m/*/*/Maildir", []string{"a.jp/v @/m/a.jp/v/Maildir"}},
		{"/m/*/*/x/*", nil},
		{"/m/.b.jp/*", []string{"u @/m/.b.jp/u"}},
	} {
		got, fails := h.pattern(test.pattern, "")
		if !slices.Equal(got, test.want) || fails != nil {
			t.Errorf("%s: %q, %q; want %q", test.pattern, got, fails, test.want)
		}
	}
	if got, fails := h.pattern("/none/*", ""); got != nil || !slices.Equal(fails, []string{"open @/none: no such file or directory"}) {
		t.Errorf("/none/*: %q, %q", got, fails)
	}
}

// TestPatternLogins proves that a login's own home is never a virtual user's, whether
// the password file or the name service knows it, under its own name, by another way
// or with slashes too many; and that where the name service fails nobody is handed on
// whom it could know.
func TestPatternLogins(t *testing.T) {
	h := newHost(t, nobodyElse, "joe:/m/a/joe", "way:/m2/w", "odd:/m//a/./odd/", "pop:/home/pop")
	h.dirs("/m/a/joe", "/m/a/joe2", "/m/a/ldap", "/m/a/odd", "/m/a/w", "/m/a/foo", "/m/a/pop")
	h.link("m/a", "/m2")
	h.script(`case "$*" in *ldap*) echo "ldap:x:5:5::@/m/a/ldap:/bin/sh"; esac; exit 2`)
	got, fails := h.pattern("/m/*/*", "")
	want := []string{"a/foo @/m/a/foo", "a/joe2 @/m/a/joe2", "a/pop @/m/a/pop"}
	if !slices.Equal(got, want) || fails != nil {
		t.Errorf("%q, %q; want %q", got, fails, want)
	}
	h.script("exit 3")
	got, fails = h.pattern("/m/*/*", "")
	want = []string{"a/pop @/m/a/pop"}
	if !slices.Equal(got, want) || len(fails) != 3 || !strings.Contains(fails[0], "getent passwd: exit status 3") {
		t.Errorf("getent fails: %q, %q; want %q and three failures", got, fails, want)
	}
}

// TestPatternOwner proves that VUSER must own the directory, not the link that leads to
// it, and that one whom nobody knows is an error.
func TestPatternOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP root: needs to be root")
	}
	h := newHost(t, nobodyElse, "other:/home/other", "pop:/home/pop")
	h.dirs("/m/a/ours", "/m/a/theirs", "/m/a/roots")
	h.link("theirs", "/m/a/link")
	for name, uid := range map[string]int{"ours": 1001, "theirs": 1000, "link": 1001} {
		if err := os.Lchown(h.path("/m/a/"+name), uid, 100); err != nil {
			t.Fatal(err)
		}
	}
	if got, fails := h.pattern("/m/*/*", "pop"); !slices.Equal(got, []string{"a/ours @/m/a/ours"}) || fails != nil {
		t.Errorf("%q, %q", got, fails)
	}
	if got, fails := h.pattern("/m/*/*", "nobody-of-that-name"); got != nil || len(fails) != 1 {
		t.Errorf("%q, %q", got, fails)
	}
}

// TestPatternWays proves that root does not read a directory to which a user's link
// leads, nor root's own that a user may have put there: the names in it would be told.
func TestPatternWays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP root: needs to be root")
	}
	h := newHost(t, nobodyElse)
	h.dirs("/m/a/u/x", "/m/b/u/x", "/secret/x", "/m/c/roots/x")
	h.link("../../secret", "/m/b/link")
	for _, name := range []string{"/m/a", "/m/a/u", "/m/b", "/m/b/u", "/m/c"} {
		if err := os.Lchown(h.path(name), 1234, 1234); err != nil {
			t.Fatal(err)
		}
	}
	got, fails := h.pattern("/m/*/*/*", "")
	want := []string{"a/u/x @/m/a/u/x", "b/u/x @/m/b/u/x"}
	wantFails := []string{"open @/m/b/link: " + way.ErrLink.Error(), "open @/m/c/roots: " + way.ErrRootOwned.Error()}
	if !slices.Equal(got, want) || !slices.Equal(fails, wantFails) {
		t.Errorf("%q, %q; want %q, %q", got, fails, want, wantFails)
	}
}

// TestPatternMany proves that each directory of many comes once, in batches too, and
// that the walk ends where nobody wants more.
func TestPatternMany(t *testing.T) {
	h := newHost(t, nobodyElse)
	const domains, each = 3, 2*batchSize + 7
	for d := range domains {
		for u := range each {
			h.dirs(fmt.Sprintf("/m/%c/u%d", 'a'+d, u))
		}
	}
	got, fails := h.pattern("/m/*/*", "")
	if len(slices.Compact(got)) != domains*each || fails != nil {
		t.Errorf("%d users, want %d; %q", len(slices.Compact(got)), domains*each, fails)
	}
	seen := 0
	l := PatternList{Pattern: h.path("/m/*/*"), Passwd: h.list.Passwd}
	err := l.Each(func(Virtual) bool { seen++; return seen < batchSize+1 }, func(err error) { t.Error(err) })
	if err != nil || seen != batchSize+1 {
		t.Errorf("stopped after %d users, %v; want %d", seen, err, batchSize+1)
	}
}

// TestPatternNames proves what MatchPattern and FillPattern make of names alone.
func TestPatternNames(t *testing.T) {
	for _, test := range []struct{ pattern, dir, name, address string }{
		{"/v/*/*", "/v/a.jp/u", "a.jp/u", "u@a.jp"},
		{"/v/*", "/v/u", "u", ""},
		{"/v/*/mail/*/*", "/v/acct/mail/a.jp/u", "acct/a.jp/u", ""},
		{"/v/*/u", "/v/x/u", "x", ""},
		{"/v/*/*", "/v/a.jp", "", ""},
		{"/v/*/*", "/v/a.jp/u/v", "", ""},
		{"/v/*/*", "/w/a.jp/u", "", ""},
		{"/v/*/*", "/v/.a/u", "", ""},
		{"/v/*/*", "/v//u", "", ""},
	} {
		v, ok := MatchPattern(test.pattern, test.dir)
		if ok != (test.name != "") || v.Name != test.name || v.Address != test.address {
			t.Errorf("MatchPattern(%q, %q) = %+v, %v", test.pattern, test.dir, v, ok)
		}
		if !ok {
			continue
		}
		if home, ok := FillPattern(test.pattern, test.name); !ok || home != test.dir {
			t.Errorf("FillPattern(%q, %q) = %q, %v; want %q", test.pattern, test.name, home, ok, test.dir)
		}
	}
	for _, name := range []string{"u", "a/b/c", ""} {
		if home, ok := FillPattern("/v/*/*", name); ok {
			t.Errorf("FillPattern of %q: %q", name, home)
		}
	}
}

// TestPatternNoAnswer proves that an error without an answer still names its place.
func TestPatternNoAnswer(t *testing.T) {
	err := answered("open", "/m/a", noAnswer{})
	var pe *os.PathError
	if !errors.As(err, &pe) || pe.Path != "/m/a" {
		t.Errorf("%v", err)
	}
}
