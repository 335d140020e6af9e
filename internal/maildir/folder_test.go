package maildir

import (
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// TestNewFolder proves that a pattern which no folder's name can fit is an
// error, and that INBOX alone is folded.
func TestNewFolder(t *testing.T) {
	for _, name := range []string{"", "/", "//", "/Trash", "Trash/", "a//b", "*/", "/*", "a///b"} {
		if f, err := NewFolder(name); err != ErrFolder {
			t.Errorf("%q: %v, %v", name, f, err)
		}
	}
	for name, pattern := range map[string]string{
		"INBOX": "INBOX", "inbox": "INBOX", "InBox": "INBOX",
		"Inbox/a": "Inbox/a", "inbo?": "inbo?", "inbox*": "inbox*", "Trash": "Trash", "trash": "trash",
		"*": "*", "a/b": "a/b", " ": " ", "a,b": "a,b", ".": ".",
		"か\u3099": "が", "e\u0301": "é", "ゴミ箱": "ゴミ箱",
	} {
		f, err := NewFolder(name)
		if err != nil || string(f.pattern) != pattern || f.Name != name {
			t.Errorf("%q: %q, %q, %v; want %q", name, f.Name, string(f.pattern), err, pattern)
		}
	}
}

// TestFolderNames proves what a directory is called by a client: layout and
// encoding do not matter, and what only looks like an encoding stays as it is.
func TestFolderNames(t *testing.T) {
	for _, test := range []struct {
		dirs string
		want []string
	}{
		{"", []string{"INBOX"}},
		{".Trash", []string{"Trash"}},
		{"Trash", []string{"Trash"}},
		{".Archive.2019", []string{"Archive/2019"}},
		{"Archive/2019", []string{"Archive/2019"}},
		{"Archive.2019", []string{"Archive.2019"}}, // layout=fs
		{".ゴミ箱", []string{"ゴミ箱"}},
		{".か\u3099", []string{"が"}},
		{".&MLQw33ux-", []string{"&MLQw33ux-", "ゴミ箱"}},
		{"&MLQw33ux-/&j,dg0TDhMPww6w-", []string{"&MLQw33ux-/&j,dg0TDhMPww6w-", "ゴミ箱/迷惑メール"}},
		{".&MLMwmTDfe7E-", []string{"&MLMwmTDfe7E-", "ゴミ箱"}}, // two letters for ゴ
		{".Work.&MLQw33ux-.x", []string{"Work/&MLQw33ux-/x", "Work/ゴミ箱/x"}},
		{".a&-b", []string{"a&-b", "a&b"}},
		{".&2D3cqQ-", []string{"&2D3cqQ-", "💩"}},
		{".R&D", []string{"R&D", "R&D"}},
		{".&MLQ", []string{"&MLQ", "&MLQ"}},
		{".&-.&!", []string{"&-/&!", "&/&!"}},
		{".&2D0-", []string{"&2D0-", "&2D0-"}}, // half a character
	} {
		var dirs []string
		if test.dirs != "" {
			dirs = strings.Split(test.dirs, "/")
		}
		if got := folderNames(dirs); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q; want %q", test.dirs, got, test.want)
		}
	}
}

// slowGlob is glob, written down as it is said.
func slowGlob(pattern, name []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == '*':
		return slowGlob(pattern[1:], name) || len(name) > 0 && slowGlob(pattern, name[1:])
	case len(name) == 0:
		return false
	}
	return (pattern[0] == '?' || pattern[0] == name[0]) && slowGlob(pattern[1:], name[1:])
}

// TestGlob proves on random patterns and names that glob is what slowGlob is.
func TestGlob(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(letters string, max int) []rune {
		from := []rune(letters)
		s := make([]rune, r.IntN(max+1))
		for i := range s {
			s[i] = from[r.IntN(len(from))]
		}
		return s
	}
	matched := 0
	for range 300000 {
		pattern, name := random("aab/ゴ**?", 8), random("aab/ゴ", 9)
		got, want := glob(pattern, name), slowGlob(pattern, name)
		if got != want {
			t.Fatalf("glob(%q, %q) = %v", string(pattern), string(name), got)
		}
		if got {
			matched++
		}
	}
	if matched < 10000 {
		t.Errorf("only %d matches: the test is too easy", matched)
	}
	// A star in the name is a letter.
	for pattern, want := range map[string]bool{"a*": true, "a?": true, "*": true, "**": true, "b*": false, "a*b": false} {
		if got := glob([]rune(pattern), []rune("a*")); got != want {
			t.Errorf("glob(%q, a*) = %v", pattern, got)
		}
	}
}

// TestGlobTime proves that no pattern makes a run hang: tried one by one, the
// ways to share the name among so many stars would outlast the universe.
func TestGlobTime(t *testing.T) {
	name := []rune(strings.Repeat("a", 20000))
	done := make(chan bool)
	go func() {
		for _, pattern := range []string{
			"*a*a*a*b", strings.Repeat("*a", 200) + "*b", strings.Repeat("*", 1000) + "b",
			strings.Repeat("*?", 200) + "b", "*" + strings.Repeat("a", 200) + "b",
		} {
			if glob([]rune(pattern), name) {
				t.Errorf("%.20s matches", pattern)
			}
		}
		done <- glob([]rune(strings.Repeat("*a", 200)+"*"), name)
	}()
	select {
	case ok := <-done:
		if !ok {
			t.Error("no match")
		}
	case <-time.After(time.Minute):
		t.Fatal("no answer within a minute")
	}
}

// TestHasFlag proves that a flag counts behind the last ":2," up to a comma or
// the end, and nowhere else.
func TestHasFlag(t *testing.T) {
	for _, test := range []struct {
		name string
		flag byte
		want bool
	}{
		{"1.M1P2.host:2,S", 'S', true},
		{"1.M1P2.host:2,DFRST", 'F', true},
		{"1.M1P2.host:2,DFRST", 'P', false},
		{"1.M1P2.host:2,", 'S', false},
		{"1.M1P2.host", 'S', false},
		{"1.MSFP2.S,S=1,F", 'S', false},
		{"1.MSFP2.S,S=1,F", 'F', false},
		{"1.host,S=123:2,F", 'S', false},
		{"1.host,S=123:2,F", 'F', true},
		{"1.host,S=123,W=130:2,Sab", 'S', true},
		{"1.host:2,Sab", 'a', true},
		{"1.host:2,s", 'S', false},
		{"1.host:2,S,F", 'S', true},
		{"1.host:2,S,F", 'F', false},
		{"1.host:2,,S", 'S', false},
		{"1.host:1,S", 'S', false},
		{"1.host:12,S", 'S', false},
		{"1.host2,S", 'S', false},
		{"1.host;2,S", 'S', false},
		{"1.host:2S", 'S', false},
		{"1.host:2,F:2,S", 'F', false},
		{"1.host:2,F:2,S", 'S', true},
		{":2,S", 'S', true},
		{"2,S", 'S', false},
		{":2,", 'S', false},
		{":2", 'S', false},
		{"", 'S', false},
	} {
		if got := hasFlag([]byte(test.name), test.flag); got != test.want {
			t.Errorf("hasFlag(%s, %c) = %v", test.name, test.flag, got)
		}
	}
}

// modifiedUTF7 encodes a folder's name by RFC 3501, 5.1.3, independently of the
// library that reads it.
func modifiedUTF7(s string) string {
	var b strings.Builder
	var wide []rune
	flush := func() {
		if len(wide) == 0 {
			return
		}
		var raw []byte
		for _, u := range utf16.Encode(wide) {
			raw = append(raw, byte(u>>8), byte(u))
		}
		code := base64.RawStdEncoding.EncodeToString(raw)
		b.WriteString("&" + strings.ReplaceAll(code, "/", ",") + "-")
		wide = nil
	}
	for _, c := range s {
		switch {
		case c < ' ' || c > '~':
			wide = append(wide, c)
			continue
		case c == '&':
			flush()
			b.WriteString("&-")
			continue
		}
		flush()
		b.WriteRune(c)
	}
	flush()
	return b.String()
}

// FuzzFolder proves of any pattern and any directories below a Maildir: what
// NewFolder takes finds the folder of that name, however it lies on disk; names
// are in NFC and none is longer than what can have made it; nothing hangs.
func FuzzFolder(f *testing.F) {
	for _, s := range []string{"INBOX", "Archive/2019", "ゴミ箱", "か\u3099", "R&D", "a*b?c", "a//b", "&MLQw33ux-", "💩/\xff"} {
		f.Add(s, "."+s)
	}
	f.Fuzz(func(t *testing.T, name, dirs string) {
		names := folderNames(strings.Split(dirs, "/"))
		if len(names) < 1 || len(names) > 2 {
			t.Fatalf("folderNames(%q) = %q", dirs, names)
		}
		for _, n := range names {
			if !norm.NFC.IsNormalString(n) {
				t.Fatalf("folderNames(%q) = %q, which is not in NFC", dirs, n)
			}
		}
		folder, err := NewFolder(name)
		if bad := name == "" || slices.Contains(strings.Split(name, "/"), ""); bad && err == nil {
			t.Fatalf("NewFolder(%q) takes it", name)
		}
		if err != nil {
			return
		}
		folder.matches(names)
		if strings.ContainsAny(name, "\x00") || !utf8.ValidString(name) || strings.EqualFold(name, "INBOX") {
			return // no name on disk
		}
		parts := strings.Split(name, "/")
		if slices.Contains(parts, ".") || slices.Contains(parts, "..") {
			return
		}
		encoded := strings.Split(modifiedUTF7(name), "/")
		disks := [][]string{}
		if parts[0][0] != '.' && !strings.Contains(name, "/.") { // layout=fs takes no such name
			disks = append(disks, parts, encoded)
		}
		if !strings.Contains(name, ".") {
			disks = append(disks, []string{"." + strings.Join(parts, ".")}, []string{"." + strings.Join(encoded, ".")})
		}
		for _, disk := range disks {
			if !folder.matches(folderNames(disk)) {
				t.Fatalf("%q does not find %q, which is called %q", name, disk, folderNames(disk))
			}
		}
	})
}

// TestFolderCharset proves that a name that is not UTF-8 is refused: its bytes
// would match any other such bytes.
func TestFolderCharset(t *testing.T) {
	for _, name := range []string{"\xa5\xb4\xa5\xdf\xc8\xa2", "Trash\xff"} {
		if _, err := NewFolder(name); err != ErrFolder {
			t.Errorf("%q: %v", name, err)
		}
	}
}
