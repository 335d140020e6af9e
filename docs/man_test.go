package docs_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kowaza/applets"
	"kowaza/internal/testenv"
)

// formatters are what shows a man page: mandoc, and groff, which is what most
// Linux systems have.
var formatters = [][]string{
	{"mandoc", "-Tutf8", "-Owidth=78"},
	{"groff", "-mdoc", "-Kutf8", "-Tutf8", "-P-c", "-rLL=78n"},
}

// volumes are what a page's first line calls its section.
var volumes = map[string]string{
	".1": "General Commands Manual",
	".5": "File Formats Manual",
	".7": "Miscellaneous Information Manual",
	".8": "System Manager's Manual",
}

var (
	overstruck = regexp.MustCompile(".\b")
	brokenWord = regexp.MustCompile(`([A-Za-z]+)[-‐]\n *([A-Za-z]+)`)
)

// pageHeading is one in a page's source; none needs a macro.
var pageHeading = regexp.MustCompile(`(?m)^\.S[hs] (.+)$`)

// TestManPagesShown proves that every page, in both languages, has the name of its
// volume at the top as mdoc has it; that no heading has lost a word to mdoc, which
// takes some for macros, as No and An; and that no word is hyphenated: what is broken
// at a hyphen has that in the page.
func TestManPagesShown(t *testing.T) {
	pages, err := filepath.Glob("man/*.[1-8]")
	testenv.Check(t, err)
	translated, err := filepath.Glob("man/ja/*.[1-8]")
	testenv.Check(t, err)
	for _, f := range formatters {
		t.Run(f[0], func(t *testing.T) {
			testenv.Program(t, f[0])
			for _, page := range append(pages, translated...) {
				out, err := exec.Command(f[0], append(f[1:], page)...).Output()
				if err != nil {
					t.Errorf("%s: %v", page, err)
					continue
				}
				text := overstruck.ReplaceAllString(string(out), "")
				top, _, _ := strings.Cut(text, "\n")
				name := strings.ToUpper(strings.TrimSuffix(filepath.Base(page), filepath.Ext(page))) + "(" + filepath.Ext(page)[1:] + ")"
				if got, want := strings.Join(strings.Fields(top), " "), name+" "+volumes[filepath.Ext(page)]+" "+name; got != want {
					t.Errorf("%s: at the top is %q; want %q", page, got, want)
				}
				source := readGuide(t, page)
				words := strings.Join(strings.Fields(text), " ")
				for _, m := range pageHeading.FindAllStringSubmatch(source, -1) {
					if !strings.Contains(words, m[1]) {
						t.Errorf("%s: the heading %q is not shown as it stands", page, m[1])
					}
				}
				for _, m := range brokenWord.FindAllStringSubmatch(text, -1) {
					if !strings.Contains(source, m[1]+"-"+m[2]) {
						t.Errorf("%s: the word %s%s is broken", page, m[1], m[2])
					}
				}
			}
		})
	}
}

// TestHelpASCII proves that the English helps, which every locale may have to
// show, are ASCII.
func TestHelpASCII(t *testing.T) {
	for _, a := range applets.All {
		for line := range strings.Lines(a.Help) {
			if strings.ContainsFunc(line, func(r rune) bool { return r >= 0x80 }) {
				t.Errorf("%s: %s", a.Name, line)
			}
		}
	}
}
