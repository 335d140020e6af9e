package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kowaza/internal/cli"

	"github.com/pborman/getopt/v2"
	"golang.org/x/text/width"
)

// qmHandle's letters have no long names, and their arguments stand in the same
// word.
var optionLine = regexp.MustCompile(`(?m)^  (?:-(\w)[A-Z]* |(?:-(\w), |    )--([a-z0-9-]+)(?:\[=[A-Z]+\]| [A-Z/=]+)?(?: |\n {10})) *\S`)

// helpOptions returns the options that a help text lists, as "-n, --dry-run".
func helpOptions(help string) []string {
	var options []string
	for _, m := range optionLine.FindAllStringSubmatch(help, -1) {
		options = append(options, optionName(m[1]+m[2], m[3]))
	}
	slices.Sort(options)
	return options
}

func optionName(short, long string) string {
	switch {
	case short == "":
		return "--" + long
	case long == "":
		return "-" + short
	}
	return "-" + short + ", --" + long
}

// declaredOptions returns the options that getopt knows for an applet.
func declaredOptions(a *cli.Applet) []string {
	var options []string
	a.OptionSet().VisitAll(func(o getopt.Option) {
		options = append(options, optionName(strings.Trim(o.ShortName(), "-"), o.LongName()))
	})
	slices.Sort(options)
	return options
}

var manOption = regexp.MustCompile(`(?m)^\.It Fl (\w) (?:Ar \w+ )?, Fl -([a-z0-9-]+)|^\.It Fl -([a-z0-9-]+)|^\.It Fl (\w)(?: Ns Ar \w+)?$`)

// manPage returns the text of an applet's man page in "man" or "man/ja".
func manPage(t *testing.T, dir string, a *cli.Applet) string {
	for _, section := range []string{"1", "8"} {
		if text, err := os.ReadFile("../" + dir + "/" + a.ManPage() + "." + section); err == nil {
			return string(text)
		}
	}
	t.Errorf("%s has no page in %s", a.Name, dir)
	return ""
}

// TestOptionsDocumented proves that help, getopt and man page name the same
// options, for every applet, in English and in Japanese.
func TestOptionsDocumented(t *testing.T) {
	for _, a := range append(slices.Clone(All), kowaza, installer) {
		declared := declaredOptions(a)
		if len(declared) < 2 {
			t.Errorf("%s: getopt knows only %q", a.Name, declared)
		}
		for lang, help := range helps(t, a) {
			if got := helpOptions(help); !slices.Equal(got, declared) {
				t.Errorf("%s: help (%s) lists %q\ngetopt knows %q", a.Name, lang, got, declared)
			}
		}
		for _, dir := range []string{"man", "man/ja"} {
			var man []string
			for _, m := range manOption.FindAllStringSubmatch(manPage(t, dir, a), -1) {
				man = append(man, optionName(m[1]+m[4], m[2]+m[3]))
			}
			slices.Sort(man)
			if !slices.Equal(man, declared) {
				t.Errorf("%s: page in %s lists %q\ngetopt knows %q", a.Name, dir, man, declared)
			}
		}
	}
}

// sectionsJapanese are the headings of the Japanese pages. NAME and SYNOPSIS are
// more than words to mdoc: mandoc wants the first and lays out the second.
var sectionsJapanese = map[string]string{
	"NAME": "NAME", "SYNOPSIS": "SYNOPSIS", "DESCRIPTION": "説明", "APPLETS": "アプレット", "KEYS": "キー",
	"ENVIRONMENT": "環境変数", "FILES": "ファイル", "EXIT STATUS": "終了ステータス", "EXAMPLES": "例",
	"SEE ALSO": "関連項目", "STANDARDS": "規格", "CAVEATS": "注意", "SECURITY CONSIDERATIONS": "セキュリティ",
	"DIFFERENCES FROM THE SCRIPT": "スクリプトとの違い",
	"BEFORE THE FIRST TIME":       "はじめて使う前に", "OLD MAIL": "古いメール", "FULL MAILBOXES": "いっぱいのメールボックス",
	"THE QUEUE": "キュー", "IS IT STILL WORKING": "いまも動いているか", ".QMAIL FILES": ".QMAIL ファイル",
}

// manSkeleton returns what must be the same in a page and its translation: the
// date and the synopsis, the headings and paragraphs, every option, setting,
// file and status with its place, and every example to the letter; and, in the
// order of the alphabet, what else is marked as a path, a setting or a page.
func manSkeleton(text string, sections map[string]string) []string {
	var lines, marked []string
	var example, synopsis bool
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch name, rest, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(line, ".Bd"):
			example = true
		case name == ".Sh":
			if s, ok := sections[rest]; ok {
				rest = s
			}
			lines = append(lines, ".Sh "+rest)
			synopsis = rest == "SYNOPSIS"
		case name == ".Ss", name == ".Pp":
			lines = append(lines, name)
		case example || synopsis, name == ".Dd", name == ".Dt", manItem.MatchString(line):
			lines = append(lines, line)
		case name == ".It":
			lines = append(lines, ".It")
		}
		if strings.HasPrefix(line, ".Ed") {
			example = false
		}
		marked = append(marked, manMark.FindAllString(line, -1)...)
		if strings.Contains(line, "Ev ") {
			marked = append(marked, setting.FindAllString(line, -1)...)
		}
	}
	slices.Sort(marked)
	return append(lines, slices.Compact(marked)...)
}

var (
	// An item that begins with neither a macro nor a number is words.
	manItem = regexp.MustCompile(`^\.It ([A-Z][a-z] |[0-9]+$)`)
	manMark = regexp.MustCompile(`\b(Xr [a-z_A-Z.-]+ \d|Pa [.$/]?[a-zA-Z0-9_/.]+[a-z0-9])`)
	setting = regexp.MustCompile(`\b[A-Z][A-Z_]{3,}\b`)
)

// TestManPagesJapanese proves that each page has a translation with the same
// date, synopsis, headings, paragraphs, options, files, statuses, examples and
// references, each where it is in the English page, and that no translation is
// left over.
func TestManPagesJapanese(t *testing.T) {
	english, _ := filepath.Glob("../man/*.[1-8]")
	japanese, _ := filepath.Glob("../man/ja/*.[1-8]")
	for _, file := range japanese {
		if !slices.Contains(english, "../man/"+filepath.Base(file)) {
			t.Errorf("%s is a translation of nothing", file)
		}
	}
	for _, file := range english {
		en, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		ja, err := os.ReadFile("../man/ja/" + filepath.Base(file))
		if err != nil {
			t.Error(err)
			continue
		}
		want, got := manSkeleton(string(en), sectionsJapanese), manSkeleton(string(ja), nil)
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Errorf("%s: %q\nin Japanese %q", file, want[i:min(i+5, len(want))], got[i:min(i+5, len(got))])
				break
			}
		}
	}
}

// TestManPagesWidth proves that the Japanese pages fit a terminal: text without
// blanks is not broken, so its lines must be short where they are written.
func TestManPagesWidth(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("SKIP mandoc is not installed")
	}
	overstruck := regexp.MustCompile(".\b")
	files, _ := filepath.Glob("../man/ja/*.[1-8]")
	for _, file := range files {
		out, err := exec.Command(mandoc, "-Tutf8", "-Owidth=78", file).Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for line := range strings.Lines(overstruck.ReplaceAllString(string(out), "")) {
			if !strings.ContainsFunc(line, func(r rune) bool { return r >= 0x2e80 }) {
				continue // an example, say, as in the English page
			}
			// What mandoc prints beside Japanese is narrow: dash and quotation marks.
			line = strings.NewReplacer("–", "-", "‘", "'", "’", "'", "“", "'", "”", "'").Replace(line)
			if n := columns(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", file, n, line)
			}
		}
	}
}

// helps returns an applet's help by language.
func helps(t *testing.T, a *cli.Applet) map[string]string {
	text, err := japanese.ReadFile("help/ja/" + a.ManPage() + ".txt")
	if err != nil {
		t.Errorf("%s has no help in Japanese: %v", a.Name, err)
	}
	return map[string]string{"en": a.Help, "ja": string(text)}
}

// columns is how wide a line is on a terminal: a Japanese character is as wide
// as two letters.
func columns(line string) int {
	n := 0
	for _, r := range line {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth, width.EastAsianAmbiguous:
			n += 2
		default:
			n++
		}
	}
	return n
}

// TestHelpShape proves that every help has the usage line, what the applet
// does, and lines that fit a terminal, and that the Japanese one has the usage
// line of the English one and its options, words for arguments included, in the
// same order and place.
func TestHelpShape(t *testing.T) {
	placed := regexp.MustCompile(`(?m)^ {2,6}-[-\w]+(?:, --[a-z0-9-]+)?(?:\[=[A-Z]+\]| [A-Z/]+)? *`)
	for _, a := range append(slices.Clone(All), kowaza, installer) {
		both := helps(t, a)
		for lang, end := range map[string]string{"en": ".", "ja": "。"} {
			lines := strings.Split(both[lang], "\n")
			if len(lines) < 3 {
				continue // helps has complained
			}
			if !strings.HasPrefix(lines[0], "usage: "+a.Name+" ") || !strings.HasSuffix(lines[1], end) || lines[2] != "" {
				t.Errorf("%s: help (%s) begins %q", a.Name, lang, lines[:3])
			}
			if lines[len(lines)-1] != "" {
				t.Errorf("%s: help (%s) ends without a newline", a.Name, lang)
			}
			for _, line := range lines {
				if n := columns(line); n > 80 {
					t.Errorf("%s: %d columns: %s", a.Name, n, line)
				}
			}
		}
		en, _, _ := strings.Cut(both["en"], "\n")
		ja, _, _ := strings.Cut(both["ja"], "\n")
		if en != ja {
			t.Errorf("%s: the usage lines are %q, %q", a.Name, en, ja)
		}
		inEnglish, inJapanese := placed.FindAllString(both["en"], -1), placed.FindAllString(both["ja"], -1)
		if !slices.Equal(inEnglish, inJapanese) {
			t.Errorf("%s: options stand as %q, in Japanese as %q", a.Name, inEnglish, inJapanese)
		}
	}
}
