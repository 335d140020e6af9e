package maildir

import (
	"encoding/base64"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"kowaza/internal/escape"
)

// TestNewFolder proves that a pattern which no folder's name can fit is an
// error, and so is text in another charset: its bytes would match any other such
// bytes.
func TestNewFolder(t *testing.T) {
	for _, name := range []string{"", "/", "//", "/Trash", "Trash/", "a//b", "*/", "/*", "a///b", "INBOX/", "INBOX//a"} {
		if f, err := NewFolder(name); err != ErrFolder {
			t.Errorf("%q: %v, %v", name, f, err)
		}
	}
	for _, name := range []string{"\xa5\xb4\xa5\xdf\xc8\xa2", "Trash\xff"} {
		if _, err := NewFolder(name); err != ErrFolderText {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, wild := range map[string]bool{"INBOX": false, "a/b": false, "a*": true, "?": true} {
		if f, err := NewFolder(name); err != nil || f.Name != name || f.Wild() != wild {
			t.Errorf("%q: %v, %v, wild: %v", name, f.Name, err, f.Wild())
		}
	}
}

// dirsOf splits the path of a directory below the Maildir.
func dirsOf(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// TestFolderShown proves what a directory is called by a client: layout and
// encoding do not matter, and what only looks like an encoding stays as it is.
func TestFolderShown(t *testing.T) {
	for dirs, want := range map[string]string{
		"":                            "INBOX",
		".Trash":                      "Trash",
		"Trash":                       "Trash",
		".Archive.2019":               "Archive/2019",
		"Archive/2019":                "Archive/2019",
		"Archive.2019":                "Archive.2019", // layout=fs
		"..EXPUNGED":                  ".EXPUNGED",
		".a..b":                       "a/.b",
		".a.":                         "a.",
		"expunged/.Sent":              "expunged/Sent",
		".ゴミ箱":                        "ゴミ箱",
		".か\u3099":                    "が",
		".&MLQw33ux-":                 "ゴミ箱",
		".&MLMwmTDfe7E-":              "ゴミ箱", // two letters for ゴ
		".a&-b":                       "a&b",
		".&2D3cqQ-":                   "💩",
		".R&D":                        "R&D",
		".&MLQ":                       "&MLQ",
		".&-.&!":                      "&/&!",
		".&2D0-":                      "&2D0-", // half a character
		".a\\2eb":                     "a.b",
		"a\\2fb":                      "a/b",
		"\\2fb":                       "\\2fb",
		".a\\zz":                      "a\\zz",
		".Work.&MLQw33ux-":            "Work/ゴミ箱",
		"&MLQw33ux-/&j,dg0TDhMPww6w-": "ゴミ箱/迷惑メール",
	} {
		if got := folderNames(dirsOf(dirs)).shown; got != want {
			t.Errorf("%s: %q; want %q", dirs, got, want)
		}
	}
}

// TestFolderMatches proves which of a store's folders a name stands for: as a
// client shows it, with a server's own way to write it undone on both sides, and no
// folder beyond what was named.
func TestFolderMatches(t *testing.T) {
	maildirpp := []string{"", ".Trash", ".Trash.old", ".Archive.2019", ".INBOX.Drafts", "..EXPUNGED", ".&MLQw33ux-"}
	fs := []string{"", "Trash", "Archive/2019", ".EXPUNGED", "expunged", "expunged/.Sent", "Clients/a.b", "Clients/a/b", "R?D"}
	escaped := []string{"", ".a\\2eb", ".a.b"}
	for _, test := range []struct {
		store   []string
		pattern string
		want    string // yes, then those that are taken only if nobody has a dot
	}{
		{maildirpp, "INBOX", ","},
		{maildirpp, "inbox", ","},
		{maildirpp, "Trash", ".Trash,"},
		{maildirpp, "trash", ""},
		{maildirpp, "INBOX.Trash", ".Trash,"},
		{maildirpp, "INBOX/Trash", ".Trash,"},
		{maildirpp, "Inbox.Trash", ".Trash,"},
		{maildirpp, "Trash.old", "|.Trash.old,"},
		{maildirpp, "INBOX.Trash.old", "|.Trash.old,"},
		{maildirpp, "Trash/*", ".Trash.old,"},
		{maildirpp, "INBOX/*", ".Trash,.Trash.old,.Archive.2019,.INBOX.Drafts,..EXPUNGED,.&MLQw33ux-,"},
		{maildirpp, "INBOX.*", ".Trash,.Trash.old,.Archive.2019,.INBOX.Drafts,..EXPUNGED,.&MLQw33ux-,"},
		{maildirpp, "Drafts", ".INBOX.Drafts,"},
		{maildirpp, "INBOX/Drafts", ".INBOX.Drafts,"},
		{maildirpp, ".EXPUNGED", "..EXPUNGED,"},
		{maildirpp, "INBOX..EXPUNGED", "..EXPUNGED,"},
		{maildirpp, ".Trash", ".Trash,"}, // as on disk
		{maildirpp, ".*", "..EXPUNGED,"},
		{maildirpp, "ゴミ箱", ".&MLQw33ux-,"},
		{maildirpp, "INBOX.ゴミ箱", ".&MLQw33ux-,"},
		{maildirpp, "&MLQw33ux-", ".&MLQw33ux-,"},
		{maildirpp, "2019", ""},
		{fs, "INBOX", ","},
		{fs, "INBOX/Trash", "Trash,"},
		{fs, ".EXPUNGED", ".EXPUNGED,"},
		{fs, "EXPUNGED", ".EXPUNGED,"}, // Maildir++'s reading
		{fs, "expunged", "expunged,"},
		{fs, "expunged/Sent", "expunged/.Sent,"},
		{fs, "Clients/a.b", "Clients/a.b,|Clients/a/b,"},
		{fs, "Archive.2019", "|Archive/2019,"},
		{fs, "R?D", "R?D,"},
		{escaped, "a.b", ".a\\2eb,|.a.b,"},
		{escaped, "a\\2eb", ".a\\2eb,"},
		{escaped, "a/b", ".a.b,"},
	} {
		folder, err := NewFolder(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		var sure, maybe string
		for _, dirs := range test.store {
			switch folder.matches(folderNames(dirsOf(dirs))) {
			case yes:
				sure += dirs + ","
			case ifDotless:
				maybe += dirs + ","
			}
		}
		if maybe != "" {
			sure += "|" + maybe
		}
		if sure != test.want {
			t.Errorf("%s takes %q; want %q", test.pattern, sure, test.want)
		}
	}
}

// TestDots proves that a dot in a pattern is a separator unless a folder of the
// same Maildir has one in its name; what is no folder does not count.
func TestDots(t *testing.T) {
	for _, test := range []struct {
		folders []string
		pattern string
		removed int64
	}{
		{[]string{"Archive/2019"}, "Archive.2019", 1},
		{[]string{"Archive/2019", "Clients/a.b"}, "Archive.2019", 0},
		{[]string{"a/b", "a.b"}, "a.b", 1},
		{[]string{".a.b"}, "a.b", 1},
		{[]string{".a.b"}, "INBOX.a.b", 1},
		{[]string{".a.b", `.x\2ey`}, "a.b", 0},
		{[]string{".a.b", "..EXPUNGED"}, "a.b", 1},
	} {
		home := t.TempDir()
		makeMaildir(t, home, 1, test.folders...)
		if err := os.Mkdir(home+"/Maildir/dovecot.index.cache", 0o755); err != nil {
			t.Fatal(err)
		}
		folder, err := NewFolder(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		r, p := runPool(t, Options{Folders: []Folder{folder}}, Home(home, "Maildir"))
		if s := r.stats[Home(home, "Maildir")]; s.Removed != test.removed || (len(p.Missing()) == 0) != (test.removed > 0) || len(r.errs) > 0 {
			t.Errorf("%q, %s: %+v, missing: %v, %v", test.folders, test.pattern, s, p.Missing(), r.errs)
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
	case <-time.After(10 * time.Minute):
		t.Fatal("no answer within ten minutes")
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
// NewFolder takes finds the folder of that name, however it lies on disk; what is
// shown as a folder's name finds it; no pattern but one for INBOX itself takes the
// Maildir when a name stands behind that prefix; nothing hangs.
func FuzzFolder(f *testing.F) {
	for _, s := range []string{
		"INBOX", "Archive/2019", "ゴミ箱", "か\u3099", "R&D", "a*b?c", "a//b", "&MLQw33ux-", "💩/\xff", ".EXPUNGED", "INBOX.*", "inbox/Trash",
		`a\2eb`, `\2f`, `&\01`, "a.b.", "..x", ".inbox", "INBOX/inbox", "\xa5\xb4/.x", "*/.?",
	} {
		f.Add(s, "."+s)
		f.Add("."+s, s)
	}
	f.Fuzz(func(t *testing.T, name, path string) {
		dirs := strings.Split(path, "/")
		names := folderNames(dirs)
		real := !strings.ContainsRune(path, 0)
		for _, dir := range dirs {
			real = real && dir != "" && dir != "." && dir != ".."
		}
		if real {
			shown, err := NewFolder(escape.String(names.shown))
			if err != nil || shown.matches(names) != yes {
				t.Fatalf("%q is shown as %q, which is not found: %v", path, names.shown, err)
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
		if rest, below := cutPrefix(name); below && !strings.ContainsAny(name, `*?\`) && folder.matches(folderNames(nil)) != no {
			t.Fatalf("%q takes the INBOX: %q", name, rest)
		}
		if strings.ContainsAny(name, "\x00") || strings.EqualFold(name, "INBOX") {
			return // no name on disk
		}
		parts := strings.Split(name, "/")
		if slices.Contains(parts, ".") || slices.Contains(parts, "..") || slices.ContainsFunc(parts, func(s string) bool {
			return strings.HasPrefix(s, ".*") || strings.HasPrefix(s, ".?")
		}) {
			return
		}
		encoded := strings.Split(modifiedUTF7(name), "/")
		disks := [][]string{parts, encoded} // layout=fs
		if !strings.Contains(name, ".") {
			disks = append(disks, []string{"." + strings.Join(parts, ".")}, []string{"." + strings.Join(encoded, ".")})
		}
		for _, disk := range disks {
			if folder.matches(folderNames(disk)) != yes {
				t.Fatalf("%q does not find %q, which is called %q", name, disk, folderNames(disk).shown)
			}
		}
	})
}
