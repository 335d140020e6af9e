package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kowaza/internal/testenv"
)

// layoutRow is a row of the guide's table of mail stores: a Maildir, and the settings.
var layoutRow = regexp.MustCompile("(?m)^\\| (.*) \\| `(/[^`]*)` \\| ((?:`[A-Z]+=[^`]*` ?)+) \\|$")

// TestLayouts proves on a tree of each shape that the settings which the guides have for
// it find the messages, those of a folder too, remove them and nothing else.
func TestLayouts(t *testing.T) {
	testenv.RmmailVirtual(t)
	for _, guide := range []string{"docs/migration.md", "docs/migration.ja.md"} {
		rows := layoutRow.FindAllStringSubmatch(readGuide(t, guide), -1)
		if len(rows) != 9 {
			t.Errorf("%s: %d rows, want 9", guide, len(rows))
		}
		for _, row := range rows {
			tr := testenv.NewMailTree(t, 1) // for its kowaza.conf
			box, settings := tr.Dir+"/store"+row[2], strings.ReplaceAll(strings.Trim(row[3], "`"), "` `", "\n")+"\n"
			settings = strings.Replace(settings, "USERS=", "USERS="+tr.Dir+"/store", 1)
			inbox := box
			if strings.Contains(settings, "INBOX=Inbox") {
				inbox += "/Inbox"
			}
			old := time.Now().AddDate(0, -3, 0)
			write := func(name string, at time.Time) string {
				t.Helper()
				testenv.Check(t, os.MkdirAll(filepath.Dir(name), 0o700))
				testenv.Check(t, os.WriteFile(name, []byte("text\n"), 0o600))
				testenv.Check(t, os.Chtimes(name, at, at))
				return name
			}
			testenv.Maildirs(t, inbox, box+"/.Trash")
			want := []string{write(box+"/.Trash/cur/2:2,S", old), write(inbox+"/cur/1:2,S", old)}
			slices.Sort(want)
			stay := []string{write(inbox+"/new/3", time.Now()), write(box+"/dovecot-uidlist", old), write(box+"/sieve/a.sieve", old), write(box+"/home/.dovecot.sieve", old)}
			if os.Geteuid() == 0 { // all below the first star is the store's
				star, _, _ := strings.Cut(strings.TrimPrefix(settings, "USERS="), "*")
				entries, err := os.ReadDir(star)
				testenv.Check(t, err)
				for _, e := range entries {
					tr.Own(t, star+e.Name(), testenv.TreeUID)
				}
				for dir := box; strings.HasPrefix(dir, tr.Dir); dir = filepath.Dir(dir) {
					testenv.Check(t, os.Chmod(dir, 0o711))
				}
			}
			tr.Conf = tr.Dir + "/kowaza.conf"
			testenv.Check(t, os.WriteFile(tr.Conf, []byte(settings), 0o644))
			if got := testenv.Run(t, tr.Command("rmmail_virtual -n")); !slices.Equal(got, want) {
				t.Errorf("%s: %s: %q would go; want %q", guide, row[1], got, want)
			}
			if got := testenv.Run(t, tr.Command("rmmail_virtual")); len(got) > 0 {
				t.Errorf("%s: %s: %q", guide, row[1], got)
			}
			for _, name := range want {
				if _, err := os.Lstat(name); err == nil {
					t.Errorf("%s: %s: %s is left", guide, row[1], name)
				}
			}
			for _, name := range stay {
				if _, err := os.Lstat(name); err != nil {
					t.Errorf("%s: %s: %v", guide, row[1], err)
				}
			}
		}
	}
}
