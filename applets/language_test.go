package applets

import (
	"bytes"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"kowaza/internal/cli"
)

// runIn runs an applet with these variables in its environment.
func runIn(vars map[string]string, argv ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(""), Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv: func(name string) string { return vars[name] },
		Now:    time.Now, Root: "/nonexistent",
	}
	status = Main(env, argv)
	return out.String(), errs.String(), status
}

// iconv converts text with iconv, which fails where a character has no place.
func iconv(t *testing.T, from, to, text string) string {
	t.Helper()
	cmd := exec.Command("iconv", "-f", from, "-t", to)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("iconv -f %s -t %s: %v", from, to, err)
	}
	return string(out)
}

// TestHelpCharsets proves that every applet prints its Japanese help in the
// charset of the locale, as iconv reads it, that nothing is lost there and back,
// and that qmHandle does so without any option, too.
func TestHelpCharsets(t *testing.T) {
	if _, err := exec.LookPath("iconv"); err != nil {
		t.Skip("SKIP iconv is not installed")
	}
	for _, a := range append(slices.Clone(All), kowaza, installer) {
		want, err := japanese.ReadFile("help/ja/" + a.ManPage() + ".txt")
		if err != nil {
			t.Error(err)
			continue
		}
		argvs := [][]string{{a.Name, "--help"}}
		switch a {
		case qmHandle:
			argvs = append(argvs, []string{a.Name})
		case installer:
			argvs = [][]string{{a.Name, "--install", "--help"}}
		case kowaza:
			argvs = [][]string{{a.Name}, {a.Name, "--help"}}
		}
		for _, charset := range []string{"UTF-8", "EUC-JP", "SHIFT_JIS", "ISO-2022-JP"} {
			for _, argv := range argvs {
				got, stderr, status := runIn(map[string]string{"LANG": "ja_JP." + charset}, argv...)
				if status != 0 || stderr != "" {
					t.Errorf("%q in %s: status %d, %q", argv, charset, status, stderr)
				}
				text := iconv(t, charset, "UTF-8", got)
				if a == kowaza {
					text, _, _ = strings.Cut(text, "\nアプレット:\n")
				}
				if text != string(want) {
					t.Errorf("%q in %s prints\n%s", argv, charset, text)
				}
				if back := iconv(t, "UTF-8", charset, iconv(t, charset, "UTF-8", got)); back != got {
					t.Errorf("%q in %s: not the same there and back", argv, charset)
				}
			}
		}
	}
}

// TestHelpLists proves that kowaza's list of applets is in the language of its
// help, a line for each, and that the Japanese one fits a terminal.
func TestHelpLists(t *testing.T) {
	for lang, heading := range map[string]string{"C": "\nApplets:\n", "ja_JP.UTF-8": "\nアプレット:\n"} {
		out, _, _ := runIn(map[string]string{"LANG": lang}, "kowaza")
		_, list, found := strings.Cut(out, heading)
		if !found || strings.Count(list, "\n") != len(All) {
			t.Errorf("%s: %s", lang, out)
		}
		for _, a := range All {
			if !strings.Contains(list, "  "+a.Name+" ") {
				t.Errorf("%s: %s is not in the list", lang, a.Name)
			}
		}
		for line := range strings.Lines(list) {
			if n := columns(strings.TrimSuffix(line, "\n")); lang != "C" && n > 80 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		if japanese := strings.Contains(list, "メール"); japanese != (lang != "C") {
			t.Errorf("%s: %s", lang, list)
		}
	}
}

// TestMessagesStayEnglish proves that an error and the usage line behind it are
// the same in every locale, so that they can be searched for.
func TestMessagesStayEnglish(t *testing.T) {
	for _, argv := range [][]string{{"rmoldmail"}, {"qqclean", "x"}, {"kowaza", "nosuch"}, {"rmoldmail", "7", "/nonexistent"}, {"mailtest", "-x", "1"}} {
		_, want, status := runIn(nil, argv...)
		for _, lang := range []string{"ja_JP.UTF-8", "ja_JP.eucJP"} {
			if _, got, s := runIn(map[string]string{"LC_ALL": lang}, argv...); got != want || s != status || got == "" {
				t.Errorf("%q in %s: %q, status %d; want %q, %d", argv, lang, got, s, want, status)
			}
		}
	}
}

// TestHelpFiles proves that each Japanese help is that of an applet.
func TestHelpFiles(t *testing.T) {
	names, err := fs.Glob(japanese, "help/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		applet, _ := strings.CutSuffix(strings.TrimPrefix(name, "help/ja/"), ".txt")
		if find(applet) == nil && applet != installer.Page {
			t.Errorf("%s belongs to no applet", name)
		}
	}
}
