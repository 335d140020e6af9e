package completion_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kowaza/applets"
	"kowaza/internal/cli"
	"kowaza/internal/settings"
)

// An option as an applet's help shows it.
type helpOption struct {
	name  string // -j or --jobs
	value bool   // the next word is its value
}

// helpLine is a line of help that begins with options: what they are, and the
// name of their value.
var helpLine = regexp.MustCompile(`(?m)^ {2,6}((?:-\S+, )?-[^\s[]+)(?:\[=[A-Z]+\]| ([A-Z][A-Z/=]*))?(?: |$)`)

// run returns what a command prints on standard output.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	var out bytes.Buffer
	env := &cli.Env{Stdin: strings.NewReader(""), Stdout: cli.NewOutput(&out), Stderr: io.Discard,
		Getenv: func(string) string { return "" }, Now: time.Now, Files: os.DirFS("../..")}
	if status := applets.Main(env, argv); status != 0 {
		t.Fatalf("%q: status %d", argv, status)
	}
	return out.String()
}

// written is the completion for a shell.
func written(t *testing.T, shell string) string {
	t.Helper()
	return run(t, "kowaza", "--completion", shell)
}

// helpOptions reads what --help of a command shows.
func helpOptions(t *testing.T, name string) []helpOption {
	t.Helper()
	var options []helpOption
	for _, m := range helpLine.FindAllStringSubmatch(run(t, append(strings.Fields(name), "--help")...), -1) {
		for _, o := range strings.Split(m[1], ", ") {
			if o[1] != '-' {
				o = o[:2] // qmHandle's -dN has its value in the same word
			}
			options = append(options, helpOption{o, m[2] != ""})
		}
	}
	if len(options) < 3 {
		t.Fatalf("%s --help shows the options %v", name, options)
	}
	return options
}

func names(options []helpOption) []string {
	var all []string
	for _, o := range options {
		all = append(all, o.name)
	}
	slices.Sort(all)
	return all
}

// commands are all commands that completion must know.
func commands() []string {
	all := []string{"kowaza", "kowaza --install"}
	for _, a := range applets.All {
		all = append(all, a.Name)
	}
	return all
}

// A completed is a command line up to the cursor and the words that are offered
// for the last one, in order. %s is the queue's directory.
type completed struct {
	line string
	want string
}

// completions of both shells. root is a user and /usr a directory everywhere.
var completions = []completed{
	{"kowaza ", "jmailsend mailmatch mailquotacheck mailreply mailtalk mailtest mailtrip mkdigest qmHandle qqclean rmmail_virtual rmoldmail smtpauthstr"},
	{"kowaza rmo", "rmoldmail"},
	{"kowaza mailtest -x ", "0 100 111 99"},
	{"kowaza rmoldmail.sh --ke", "--keep-flagged"},
	{"kowaza --completion ", "bash zsh"},
	{"kowaza --che", "--check"},
	{"kowaza --install --fo", "--force"},
	{"kowaza --install --force qq", "qqclean"},
	{"kowaza smtpauthstr.pl --lo", "--login"},
	{"smtpauthstr.pl --lo", "--login"},
	{"rmoldmail ", ""},
	{"rmoldmail 7 roo", "root"},
	{"rmoldmail -nv --folder Trash 7 roo", "root"},
	{"rmoldmail -V 7 roo", ""},
	{"rmoldmail -nV 7 roo", ""},
	{"rmoldmail --folder roo", ""},
	{"rmoldmail -j ", ""},
	{"rmoldmail --by ", "mtime name saved"},
	{"mkdigest -u roo", "root"},
	{"jmailsend -e ", "euc jis sjis utf8"},
	{"jmailsend -vne ", "euc jis sjis utf8"},
	{"jmailsend --charset=s", "sjis"},
	{"jmailsend --to roo", "root"},
	{"mailtest --exit 1", "100 111"},
	{"mailmatch --exit=9", "99"},
	{"qqclean ", "1000 1001 2000"},
	{"qqclean -n 10", "1000 1001"},
	{"qqclean -- 2", "2000"},
	{"qqclean 1000 2", "2000"},
	{"qqclean -Q %s/other ", "77"},
	{"qqclean --queue %s/other ", "77"},
	{"qqclean --queue=%s/other ", "77"},
	{"qqclean -Q /nowhere/there ", ""},
	{"qmHandle --js", "--json"},
}

// completionQueue makes a queue's directories and a settings file that names
// them, and returns the directory.
func completionQueue(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"queue/mess/0/2000", "queue/mess/1/1000", "queue/mess/22/1001", "other/mess/77"} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf("# QMAIL=/wrong\nDAYS=3\nQMAIL=%s # right\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KOWAZA_CONF", filepath.Join(dir, "conf"))
	return dir
}

// TestCompletionSettings proves that both shells find the queue that the binary
// finds: they read QMAIL in kowaza.conf as it does.
func TestCompletionSettings(t *testing.T) {
	dir := t.TempDir()
	for _, conf := range []string{"QMAIL=%s", " QMAIL=%s # a comment", "QMAIL=\"%s\" # a comment", "\tQMAIL= '%s'\t", "QMAIL=%s\r",
		"DAYS=3\n#QMAIL=/wrong\nQMAIL=%s"} {
		for i, qmail := range []string{dir + "/plain", dir + "/with#number", dir + "/with blank"} {
			number := fmt.Sprint(1000 + i)
			check(t, os.MkdirAll(qmail+"/queue/mess/1", 0o755))
			check(t, os.WriteFile(qmail+"/queue/mess/1/"+number, nil, 0o644))
			text := fmt.Sprintf(conf, qmail) + "\n"
			check(t, os.WriteFile(dir+"/conf", []byte(text), 0o644))
			if s, err := settings.Read(dir+"/conf", false); err != nil || s.QMail != qmail {
				t.Fatalf("%q: the binary reads %v, %v", text, s, err)
			}
			t.Setenv("KOWAZA_CONF", dir+"/conf")
			if got := completeBash(t, [][]string{{"qqclean", ""}}); !slices.Equal(got[0], []string{number}) {
				t.Errorf("%q: bash offers %q", text, got[0])
			}
			if got := completeZsh(t, []string{"qqclean "}); !slices.Equal(got[0], []string{number}) {
				t.Errorf("%q: zsh offers %q", text, got[0])
			}
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bashWords splits a line as readline does: = is a word of its own.
func bashWords(line string) []string {
	return strings.Split(strings.ReplaceAll(line, "=", " = "), " ")
}

// completeBash completes lines, each given as its words, in one bash.
func completeBash(t *testing.T, lines [][]string) [][]string {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	var script strings.Builder
	script.WriteString(written(t, "bash"))
	for _, words := range lines {
		script.WriteString("COMP_WORDS=(")
		for _, w := range words {
			script.WriteString(" '" + w + "'")
		}
		fmt.Fprintf(&script, ")\nCOMP_CWORD=%d\n_kowaza\necho \"${COMPREPLY[*]}\"\n", len(words)-1)
	}
	cmd := exec.Command("bash", "--norc", "-c", script.String())
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("bash: %v: %s", err, &errs)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d lines:\n%s", len(answers), len(lines), out)
	}
	var got [][]string
	for _, a := range answers {
		words := strings.Fields(a)
		slices.Sort(words)
		got = append(got, words)
	}
	return got
}

// It proves that bash offers the options of every applet's help, all of them and
// no others, and knows which have a value in the next word.
func TestCompletionBashOptions(t *testing.T) {
	for _, name := range commands() {
		options := helpOptions(t, name)
		all := names(options)
		command := strings.Fields(name)
		lines := [][]string{append(slices.Clone(command), "-")}
		if command[0] != "kowaza" {
			lines = append(lines, []string{"kowaza", name, "-"})
		}
		// What comes after --install are the options of that.
		options = slices.DeleteFunc(options, func(o helpOption) bool { return name == "kowaza" && o.name == "--install" })
		for _, o := range options {
			lines = append(lines, append(slices.Clone(command), o.name, "-"))
		}
		got := completeBash(t, lines)
		for i, line := range lines {
			want := all
			if n := i - (len(lines) - len(options)); n >= 0 && options[n].value {
				want = nil
			}
			if !slices.Equal(got[i], want) {
				t.Errorf("%q: offered %q; help has %q", line, got[i], want)
			}
		}
	}
}

// It proves what bash offers in the place of operands and values.
func TestCompletionBash(t *testing.T) {
	queue := completionQueue(t)
	tests := append(slices.Clone(completions), completed{"qmHandle -d10", "-d1000 -d1001"},
		completed{"qmHandle -m", "-m1000 -m1001 -m2000"},
		completed{"qmHandle -f", "-f"},
		completed{"qqclean -Q%s/other ", "77"},
		completed{"qqclean --save=/us", "/usr"},
		completed{"qmHandle --save /us", "/usr"},
		completed{"rmoldmail 7 /us", "/usr"},
		completed{"rmoldmail -- -", ""},
		completed{"/usr/local/bin/rmoldmail 7 roo", "root"})
	var lines [][]string
	for i := range tests {
		tests[i].line = strings.ReplaceAll(tests[i].line, "%s", queue)
		lines = append(lines, bashWords(tests[i].line))
	}
	for i, got := range completeBash(t, lines) {
		if strings.Join(got, " ") != tests[i].want {
			t.Errorf("%q: offered %q; want %q", tests[i].line, got, tests[i].want)
		}
	}
}

// zshDriver types lines into an interactive zsh and prints, after a line "== N",
// what its completion is told to offer. Not what it shows: that is laid out in
// columns.
const zshDriver = `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; PS2=; fpath=($COMPLETION $fpath); autoload -Uz compinit; compinit -u -D
compadd () {
	local -a offered
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi
	builtin compadd -O offered "$@"
	builtin compadd "$@"
	print -rl -- "OFFERED:"$^offered
}
report () { print -r BE""GIN; zle list-choices; print -r E""ND; BUFFER=; zle accept-line }
zle -N report
bindkey "^I" report
LISTMAX=100000
print -r REA""DY'
zpty -r -m z out '*READY*'
n=0
for line in "$@"; do
	zpty -w -n z "$line"$'\t'
	zpty -r -m z out '*BEGIN*END*'
	print -r -- "== $((n++))"
	print -rl -- ${${(M)${(f)out}:#OFFERED:*}//$'\r'/}
done
zpty -d z
`

// completeZsh completes lines in one interactive zsh.
func completeZsh(t *testing.T, lines []string) [][]string {
	t.Helper()
	if _, err := exec.LookPath("zsh"); err != nil {
		t.Skip("zsh is not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/_kowaza", []byte(written(t, "zsh")), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("zsh", append([]string{"-f", "-c", zshDriver, "zsh"}, lines...)...)
	cmd.Env = append(os.Environ(), "COMPLETION="+dir, "TERM=dumb", "ZDOTDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("zsh: %v: %s", err, out)
	}
	var got [][]string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "== ") {
			got = append(got, nil)
		} else if word, ok := strings.CutPrefix(line, "OFFERED:"); ok && len(got) > 0 {
			got[len(got)-1] = append(got[len(got)-1], word)
		} else if line != "" {
			t.Fatalf("zsh: %q", out)
		}
	}
	if len(got) != len(lines) {
		t.Fatalf("%d answers to %d lines:\n%s", len(got), len(lines), out)
	}
	for i := range got {
		slices.Sort(got[i])
		got[i] = slices.Compact(got[i])
	}
	return got
}

// It proves that zsh offers the options of every applet's help, all of them and
// no others, and knows which have a value in the next word.
func TestCompletionZshOptions(t *testing.T) {
	var lines, want []string
	for _, name := range commands() {
		options := helpOptions(t, name)
		lines = append(lines, name+" -")
		want = append(want, strings.Join(names(options), " "))
		for _, o := range options {
			if o.value {
				lines = append(lines, name+" "+o.name+" -")
				want = append(want, "")
			}
		}
	}
	for i, got := range completeZsh(t, lines) {
		if strings.Join(got, " ") != want[i] {
			t.Errorf("%q: offered %q; help has %q", lines[i], got, want[i])
		}
	}
}

// It proves what zsh offers in the place of operands and values.
func TestCompletionZsh(t *testing.T) {
	queue := completionQueue(t)
	var lines []string
	for _, test := range completions {
		lines = append(lines, strings.ReplaceAll(test.line, "%s", queue))
	}
	for i, got := range completeZsh(t, lines) {
		if strings.Join(got, " ") != completions[i].want {
			t.Errorf("%q: offered %q; want %q", lines[i], got, completions[i].want)
		}
	}
}
