package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/applets"
	"kowaza/internal/testenv"
)

// documents returns all that anybody may copy a command from, by its name: the
// documents of the repository and the helps.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, top := range []string{".", "docs", "man", "examples", "systemd", "applets/help"} {
		testenv.Check(t, filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && top == "." && file != ".":
				return fs.SkipDir
			case d.IsDir(), strings.HasSuffix(file, "_test.go"), top == "." && filepath.Ext(file) != ".md" && filepath.Ext(file) != ".conf":
				return nil
			}
			all[file] = readGuide(t, file)
			return nil
		}))
	}
	for _, a := range applets.All {
		all["the help of "+a.Name] = a.Help
	}
	return all
}

var (
	// folderOption is an option that names a folder into which mail is thrown.
	folderOption = regexp.MustCompile(`--(folder|days-in)[ =]+['"]?[^ '"]*(Trash|Junk|Spam|Deleted|ゴミ箱|ごみ箱|迷惑)`)
	// oneCommand is what parts a text into what may be a command each.
	oneCommand = regexp.MustCompile("[`;|&\n]+")
	savedClock = regexp.MustCompile(`--saved\b|--by[ =]saved\b`)
)

// TestTrashIsSaved proves of every command in the documents that cleans a folder
// into which mail is thrown that it counts from then: by the date of the message
// one of last year would go in the first night.
func TestTrashIsSaved(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\\\n", " "), `\-`, "-")
		for _, command := range oneCommand.Split(text, -1) {
			if !folderOption.MatchString(command) {
				continue
			}
			found++
			if !savedClock.MatchString(command) {
				t.Errorf("%s: %s: without --by saved", name, command)
			}
		}
	}
	// docs/differences twice, six lines of man pages, two of examples/README.md.
	if found < 10 {
		t.Errorf("only %d such commands found", found)
	}
}

// TestTrashClock proves that a year-old message which was thrown away just now
// stays for a week with the lines that the documents have for that, then goes;
// and that without --by saved it would go at once.
func TestTrashClock(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the time is set for the test binary")
	}
	for _, name := range []string{"man/rmoldmail.8", "man/ja/rmoldmail.8", "man/rmmail_virtual.8", "man/ja/rmmail_virtual.8", "examples/README.md"} {
		line := regexp.MustCompile(`(?m)^.*--folder Trash.*$`).FindString(readGuide(t, name))
		if line == "" {
			t.Errorf("%s: no line for Trash", name)
			continue
		}
		tr := testenv.NewMailTree(t, 1)
		trash := tr.Store + "/u000/Maildir/.Trash/cur"
		testenv.Check(t, os.RemoveAll(trash))
		testenv.Check(t, os.MkdirAll(trash, 0o700))
		testenv.Maildirs(t, tr.Store+"/u000/Maildir/.ゴミ箱")
		message := tr.Store + "/u000/Maildir/cur/1600000000.M1P1.mx,S=5:2,S"
		testenv.Check(t, os.WriteFile(message, []byte("text\n"), 0o600))
		old := time.Now().AddDate(-1, 0, -30)
		testenv.Check(t, os.Chtimes(message, old, old))
		thrown := trash + "/1600000000.M1P1.mx,S=5:2,S"
		testenv.Check(t, os.Rename(message, thrown))
		if os.Geteuid() == 0 {
			tr.Own(t, tr.Store+"/u000", testenv.TreeUID)
		}
		line = strings.ReplaceAll(testenv.InPath(line), " hoge", " "+tr.Store+"/u000")
		line = strings.Replace(strings.Replace(line, "rmoldmail ", "rmoldmail -n ", 1), "rmmail_virtual ", "rmmail_virtual -n ", 1)
		would := func(line string, after time.Duration) []string {
			t.Helper()
			return testenv.Run(t, tr.Command(line, "KOWAZA_TEST_NOW="+time.Now().Add(after).Format(time.RFC3339Nano)))
		}
		const day = 24 * time.Hour
		for _, after := range []time.Duration{0, 7 * day} {
			if got := would(line, after); len(got) > 0 {
				t.Errorf("%s: %s: after %v %q would go", name, line, after, got)
			}
		}
		if got := would(line, 9*day); !slices.Equal(got, []string{thrown}) {
			t.Errorf("%s: %s: after nine days %q would go; want %s", name, line, got, thrown)
		}
		if got := would(strings.Replace(line, "--by saved ", "", 1), 0); !slices.Equal(got, []string{thrown}) {
			t.Errorf("%s: without --by saved %q would go; want %s", name, got, thrown)
		}
	}
}

// TestClocks proves what the CAVEATS say of the two clocks: chown, chmod and a hard
// link, even where they change nothing, renew the ctime and leave the mtime; a
// copy and touch lose the mtime; cp -p keeps it and begins the ctime anew.
func TestClocks(t *testing.T) {
	dir := t.TempDir()
	clocks := func(file string) (mtime, ctime time.Time) {
		t.Helper()
		var st unix.Stat_t
		testenv.Check(t, unix.Stat(file, &st))
		return time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix())
	}
	year := time.Now().AddDate(-1, 0, 0).Truncate(time.Second)
	for _, test := range []struct {
		line         string // about the file f; it leaves the message as g
		keeps, renew bool   // mtime, ctime
	}{
		{`mv f g`, true, true},
		{`chown -R "$(id -u)" f; ln -s f g`, true, true},
		{`chmod -R 600 f; ln -s f g`, true, true},
		{`ln f h; ln -s f g`, true, true},
		{`ln f h; rm h; ln -s f g`, true, true},
		{`ln -s f g`, true, false},
		{`cat f; ln -s f g`, true, false},
		{`cp -p f g`, true, true},
		{`cp f g`, false, true},
		{`touch f; ln -s f g`, false, true},
	} {
		for _, name := range []string{"f", "g", "h"} {
			os.Remove(filepath.Join(dir, name))
		}
		f := filepath.Join(dir, "f")
		testenv.Check(t, os.WriteFile(f, []byte("text\n"), 0o600))
		testenv.Check(t, os.Chtimes(f, year, year))
		_, begin := clocks(f)
		// The kernel's clock goes on in steps: until it has, nothing can be told.
		for step := filepath.Join(dir, "step"); ; {
			testenv.Check(t, os.WriteFile(step, nil, 0o600))
			if _, now := clocks(step); now.After(begin) {
				break
			}
		}
		cmd := exec.Command("sh", "-c", test.line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", test.line, err, out)
		}
		mtime, ctime := clocks(filepath.Join(dir, "g"))
		if keeps, renew := mtime.Equal(year), ctime.After(begin); keeps != test.keeps || renew != test.renew {
			t.Errorf("%s: mtime kept: %v, ctime renewed: %v; want %v, %v", test.line, keeps, renew, test.keeps, test.renew)
		}
	}
}
