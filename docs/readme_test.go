package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/applets"
	"kowaza/internal/cli"
	"kowaza/internal/dialogue/dialoguetest"
	"kowaza/internal/queue/queuetest"
	"kowaza/internal/settings"
	"kowaza/internal/testenv"
)

// guides are the documents whose commands are run, each with its translation.
var guides = [][2]string{
	{"README.md", "README.ja.md"},
	{"docs/migration.md", "docs/migration.ja.md"},
	{"docs/filters.md", "docs/filters.ja.md"},
	{"docs/differences.md", "docs/differences.ja.md"},
}

// guideFiles are all of them.
func guideFiles() (names []string) {
	for _, pair := range guides {
		names = append(names, pair[:]...)
	}
	return names
}

// notRun are the commands of the guides that no test can run, and why. What
// begins with one of them is passed over.
var notRun = map[string]string{
	"cd":      "each command is run in the checkout",
	"crontab": "is the machine's own; the lines that it shows are run",
	"make":    "runs these tests; TestGuideTargets looks for the target",
}

// A fence is a block of code.
type fence struct {
	kind string // as it stands behind the first ```
	text string
}

// fences returns the blocks of code of a document, and its text without them.
func fences(text string) (blocks []fence, rest string) {
	parts := regexp.MustCompile("(?m)^```").Split(text, -1)
	for i, part := range parts {
		if i%2 == 0 {
			rest += part
			continue
		}
		kind, code, _ := strings.Cut(part, "\n")
		blocks = append(blocks, fence{kind, code})
	}
	return blocks, rest
}

// A shown is a command of a console block and what it prints there.
type shown struct {
	command string
	output  []string
}

// console returns the commands of a console block.
func console(block string) []shown {
	var all []shown
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, shown{command: command})
		} else if len(all) > 0 {
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// comment is what a shell passes over at the end of a line of the guides.
var comment = regexp.MustCompile(` +# .*$`)

// readGuide returns the text of a document.
func readGuide(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	testenv.Check(t, err)
	return string(text)
}

// A mailHost is a machine in a directory, as the guides have it: a checkout of
// kowaza, hoge's mail, virtual users of popuser, a queue.
type mailHost struct {
	t        *testing.T
	root     string // DESTDIR, and what stands before absolute paths in the applets
	checkout string
	now      time.Time
	queue    *queuetest.Queue
	queued   []string          // numbers of the messages in it; the first is spam
	servers  map[string]string // of mail, by scheme; see serve
	server   *dialoguetest.Server
	caFile   string
}

// newMailHost makes a host at the time of README's example.
func newMailHost(t *testing.T) *mailHost {
	t.Helper()
	dir := t.TempDir()
	h := &mailHost{t: t, root: dir + "/root", checkout: dir + "/kowaza", now: time.Date(2025, 12, 20, 4, 31, 0, 0, time.UTC)}
	binary, err := exec.LookPath("kowaza")
	testenv.Check(t, err)
	testenv.Check(t, os.MkdirAll(h.checkout, 0o755))
	testenv.Check(t, os.Symlink(binary, h.checkout+"/kowaza"))
	for _, name := range []string{"install.sh"} {
		from, err := filepath.Abs(name)
		testenv.Check(t, err)
		testenv.Check(t, os.Symlink(from, filepath.Join(h.checkout, name)))
	}
	h.file("bin/sudo", "#!/bin/sh\nexec \"$@\"\n", 0o755)
	h.file("etc/passwd", fmt.Sprintf("root:x:0:0::/root:/bin/sh\nhoge:x:1000:1000::%s/home/hoge:/bin/sh\npopuser:x:500:500::%[1]s/home/popuser:/bin/false\ntest:x:%d:1::/:/bin/sh\n", h.root, os.Geteuid()), 0o644)
	for _, dir := range []string{"usr/local/bin", "usr/local/sbin", "etc/cron.daily"} {
		testenv.Check(t, os.MkdirAll(filepath.Join(h.root, dir), 0o755))
	}

	day := 24 * time.Hour
	for i := range 1098 {
		h.message(fmt.Sprintf("home/hoge/Maildir/cur/1766000000.M%dP1.mail,S=2048:2,S", i), 3*day)
	}
	old := h.now.Sub(time.Unix(1764201600, 0))
	h.message("home/hoge/Maildir/cur/1764201600.M1P7.mail,S=2048:2,S", old)
	h.message("home/hoge/Maildir/.Sent/cur/1764201600.M2P7.mail,S=2048:2,S", old)
	for _, name := range []string{"dovecot-uidlist", "maildirsize", "subscriptions"} {
		h.age(h.file("home/hoge/Maildir/"+name, "", 0o644), old)
	}
	h.message("home/popuser/hanako/Maildir/cur/1764201600.M3P7.mail,S=2048:2,S", old)
	h.message("home/popuser/taro/Maildir/new/1766000000.M4P7.mail,S=2048", day)
	var assign strings.Builder
	for _, name := range []string{"hanako", "taro"} {
		fmt.Fprintf(&assign, "=%s:popuser:500:500:%s/home/popuser/%[1]s:::\n", name, h.root)
	}
	h.file("var/qmail/users/assign", assign.String()+".\n", 0o644)
	h.queue, err = queuetest.Make(h.root+"/var/qmail/queue", queuetest.Layout{})
	testenv.Check(t, err)
	h.enqueue("spam@example.jp")
	h.enqueue("hanako@example.jp")
	return h
}

// enqueue puts a message into the queue.
func (h *mailHost) enqueue(sender string) {
	h.t.Helper()
	n, err := h.queue.Add(queuetest.Message{Sender: sender, Remote: []string{"Ttaro@example.com"}, Body: "Subject: hello\n\ntext\n", Birth: h.now})
	testenv.Check(h.t, err)
	h.queued = append(h.queued, strconv.FormatUint(n, 10))
}

// file writes a file below root.
func (h *mailHost) file(name, text string, mode os.FileMode) string {
	h.t.Helper()
	file := filepath.Join(h.root, name)
	testenv.Check(h.t, os.MkdirAll(filepath.Dir(file), 0o755))
	testenv.Check(h.t, os.WriteFile(file, []byte(text), mode))
	testenv.Check(h.t, os.Chmod(file, mode))
	return file
}

// age has a file last modified that long ago.
func (h *mailHost) age(file string, by time.Duration) {
	h.t.Helper()
	at := h.now.Add(-by)
	testenv.Check(h.t, os.Chtimes(file, at, at))
}

// message writes a message of 2048 bytes into a folder, which is made.
func (h *mailHost) message(name string, age time.Duration) {
	h.t.Helper()
	folder := filepath.Dir(filepath.Dir(name))
	for _, sub := range []string{"cur", "new", "tmp"} {
		testenv.Check(h.t, os.MkdirAll(filepath.Join(h.root, folder, sub), 0o755))
	}
	h.age(h.file(name, strings.Repeat("x", 2048), 0o644), age)
}

// scripts puts the page's scripts where kowaza's links go, edited as an
// administrator would: one of the settings cannot be carried over, and mailtest
// has become a filter of its own.
func (h *mailHost) scripts() {
	h.file("usr/local/bin/rmoldmail", "#!/bin/sh\nVMDIR="+h.root+"/home/popuser\nLOG=$HOME/rmoldmail.log\nfind \"$dir/Maildir/\" -type f -mtime +$days -exec rm -f '{}' ';'\n", 0o755)
	h.file("etc/cron.daily/rmmail_virtual", "#!/bin/sh\nVMDIR="+h.root+"/home/popuser\nVUSER=popuser\nDAYS=14\nexec /usr/local/bin/each\n", 0o755)
	h.file("usr/local/sbin/mailtest", "#!/usr/bin/php\n<?php mail('hoge', 'test', file_get_contents('php://stdin')); exit(0);\n", 0o755)
	h.file("usr/local/bin/qmHandle", "#!/usr/bin/perl\nmy ($stopqmail) = 'svc -d /service/qmail-send';\nmy ($startqmail) = 'svc -u /service/qmail-send';\nmy ($queue) = '/var/qmail/queue/';\n", 0o755)
	h.file("var/log/cron", "Dec 20 04:31:01 mail CROND[4711]: (root) CMD (/usr/local/bin/rmoldmail 10 hoge)\n", 0o644)
}

// absolute is the beginning of a path that exists below root.
var absolute = regexp.MustCompile(`(^|[\s"'=<>])(/(?:home|etc|usr/local|var)\b)`)

// run runs a command of a guide and returns what a terminal would show.
func (h *mailHost) run(line string) (output string, err error) {
	line = h.served(absolute.ReplaceAllString(line, "${1}"+h.root+"${2}"))
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = h.checkout
	local := h.root + "/usr/local"
	cmd.Env = append(os.Environ(), "DESTDIR="+h.root, "KOWAZA_TEST_ROOT="+h.root,
		"KOWAZA_TEST_NOW="+h.now.Format(time.RFC3339Nano), "KOWAZA_CONF=", "SSL_CERT_FILE="+h.caFile, "HOME="+h.root+"/home/hoge", "TZ=UTC", "LC_ALL=C",
		"PATH="+strings.Join([]string{h.root + "/bin", local + "/bin", local + "/sbin", os.Getenv("PATH")}, ":"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return strings.ReplaceAll(out.String(), h.root, ""), err
}

// complains tells the form in which an applet or the installer says that something is
// wrong.
func complains(line string) bool {
	name, _, found := strings.Cut(line, ": ")
	return found && (name == "kowaza" || slices.ContainsFunc(applets.All, func(a *cli.Applet) bool { return a.Name == name }))
}

// compareShown proves that what a command printed is what the guide shows. "..."
// stands for any lines. Where there is none, the order of lines does not matter.
func compareShown(t *testing.T, where string, s shown, output string) {
	t.Helper()
	want, got := slices.Clone(s.output), strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	if strings.HasPrefix(s.command, "ls ") { // a terminal has columns
		want, got = strings.Fields(strings.Join(want, " ")), strings.Fields(output)
	}
	if !slices.Contains(want, "...") {
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s prints\n%s\nbut shown is\n%s", where, s.command, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return
	}
	skip := false
	for _, line := range want {
		if line == "..." {
			skip = true
			continue
		}
		i := slices.Index(got, line)
		if i < 0 || i > 0 && !skip {
			t.Errorf("%s: %s prints no line %q where it is shown, but\n%s", where, s.command, line, output)
			return
		}
		got, skip = got[i+1:], false
	}
	if len(got) > 0 && !skip {
		t.Errorf("%s: %s prints more than is shown:\n%s", where, s.command, strings.Join(got, "\n"))
	}
}

// crontabCommand is what cron runs of a line of a crontab.
var crontabCommand = regexp.MustCompile(`^(?:[0-9*]\S* +){4}\S+ +(.*)$`)

// TestGuides proves that every command of the guides' console blocks works, in
// order, on one host, and prints what is shown; that those that are not run are
// on the list; and that what is shown as kowaza.conf is one.
func TestGuides(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the guides' dates are set for the test binary")
	}
	for _, pair := range guides {
		for _, name := range pair {
			t.Run(name, func(t *testing.T) {
				h := newMailHost(t)
				if strings.HasPrefix(name, "docs/migration") {
					h.scripts()
				}
				blocks, _ := fences(readGuide(t, name))
				for _, block := range blocks {
					switch block.kind {
					case "console":
						for _, s := range console(block.text) {
							h.try(name, s)
						}
					case "sh":
						if _, err := settings.Parse(name, []byte(block.text)); err != nil {
							t.Error(err)
						}
					case "qmail", "mail": // see TestFilters
					default:
						t.Errorf("%s: a block of %q, which no test knows", name, block.kind)
					}
				}
			})
		}
	}
}

// try runs a command of a guide, or what it shows, and returns what it printed.
func (h *mailHost) try(name string, s shown) (out string) {
	t := h.t
	t.Helper()
	first, _, _ := strings.Cut(comment.ReplaceAllString(s.command, ""), " ")
	for prefix := range notRun {
		if first == prefix || strings.HasPrefix(s.command, prefix+" ") {
			for _, line := range s.output {
				m := crontabCommand.FindStringSubmatch(line)
				if prefix != "crontab" || m == nil {
					t.Errorf("%s: %s shows %q", name, s.command, line)
				} else if out, err := h.run(strings.Replace(m[1], "/usr/local/bin/rmoldmail", h.checkout+"/kowaza rmoldmail -n", 1)); err != nil {
					t.Errorf("%s: %s: %v\n%s", name, m[1], err, out)
				}
			}
			return ""
		}
	}
	out, err := h.run(s.command)
	if err != nil && !slices.ContainsFunc(s.output, complains) {
		t.Errorf("%s: %s: %v\n%s", name, s.command, err, out)
	}
	if len(s.output) > 0 {
		compareShown(t, name, s, out)
	}
	return out
}

// A guide's outline is what its translation must have, too.
func outline(name, text string) (lines []string) {
	blocks, rest := fences(text)
	for _, block := range blocks {
		lines = append(lines, "```"+block.kind)
		for line := range strings.Lines(block.text) {
			lines = append(lines, comment.ReplaceAllString(strings.TrimSuffix(line, "\n"), ""))
		}
	}
	for line := range strings.Lines(rest) {
		if level, _, ok := strings.Cut(line, " "); ok && strings.Trim(level, "#") == "" && level != "" {
			lines = append(lines, level)
		}
		if strings.HasPrefix(line, "|") {
			lines = append(lines, strings.Repeat("|", strings.Count(line, "|")))
		}
	}
	// What stands in the text as code, and where links lead: words may change
	// their order in another language.
	marked := inlineCode.FindAllString(rest, -1)
	for _, m := range guideLink.FindAllStringSubmatch(rest, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		target = strings.NewReplacer(".ja.md", ".md", ".ja.svg", ".svg", "man/ja/", "man/").Replace(target)
		if target != filepath.Base(name) {
			marked = append(marked, "link to "+target)
		}
	}
	slices.Sort(marked)
	return append(lines, slices.Compact(marked)...)
}

var (
	inlineCode = regexp.MustCompile("`[^`\n]+`")
	guideLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// examples returns the examples of a man page, each a block of lines.
func examples(page string) (blocks []string) {
	_, page, _ = strings.Cut(page, ".Sh EXAMPLES\n")
	return literals(page)
}

// literals returns the literal blocks of a man page as they are shown.
func literals(page string) (blocks []string) {
	for {
		var block string
		var found bool
		if _, page, found = strings.Cut(page, ".Bd -literal -offset indent\n"); !found {
			return blocks
		}
		block, page, _ = strings.Cut(page, ".Ed\n")
		block = strings.ReplaceAll(block, `\e`, `\`)
		blocks = append(blocks, strings.ReplaceAll(block, `\&`, ""))
	}
}

var (
	confLine   = regexp.MustCompile(`^[A-Z_]+=`)
	qmailLine  = regexp.MustCompile(`^\|(.*)$`)
	helpSample = regexp.MustCompile(`(?m)^(?:Example|例): (.*)$`)
)

// TestManExamples proves that every example of the man pages works on a host
// that has what they speak of: commands, lines of a crontab, of .qmail and of
// kowaza.conf. The Japanese pages have the same, see TestManPagesJapanese. So
// does every example of a help.
func TestManExamples(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the applets are told where the host is only in the test binary")
	}
	pages, err := filepath.Glob("man/*.[1-8]")
	testenv.Check(t, err)
	tried := 0
	h := newMailHost(t)
	h.equip()
	equipped := h
	for _, page := range pages {
		if h = equipped; page == "man/kowaza-install.8" {
			h = newMailHost(t)
			testenv.Check(t, os.RemoveAll(h.root+"/usr/local"))
			testenv.Check(t, os.RemoveAll(h.root+"/etc/cron.daily"))
		}
		for _, block := range examples(readGuide(t, page)) {
			tried++
			switch {
			case strings.HasPrefix(block, "#!/bin/sh\n"):
				h.example(page, block)
			case confLine.MatchString(block):
				if _, err := settings.Parse(page, []byte(block)); err != nil {
					t.Error(err)
				}
			case strings.HasPrefix(block, "$ "):
				for _, s := range console(block) {
					h.try(page, s)
				}
			default:
				for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
					h.example(page, strings.TrimSuffix(line, "\n"))
				}
			}
		}
	}
	if tried < 15 {
		t.Errorf("only %d examples found", tried)
	}
	h = equipped
	for _, a := range applets.All {
		for _, m := range helpSample.FindAllStringSubmatch(a.Help, -1) {
			h.example(a.Name, m[1])
		}
	}
}

// example runs a line of an example, which must have no complaint.
func (h *mailHost) example(page, line string) {
	h.t.Helper()
	if len(h.queued) > 2 {
		line = strings.Replace(line, "555 556", strings.Join(h.queued[1:3], " "), 1)
	}
	if m := crontabCommand.FindStringSubmatch(line); m != nil {
		line = m[1]
	}
	qmail := qmailLine.FindStringSubmatch(line)
	if m := qmail; m != nil {
		line = "printf 'Subject: test\n\n' | { " + m[1] + "; }"
	}
	if line == "./Maildir/" {
		line = "test -d $HOME/Maildir/cur"
	}
	out, err := h.run(line)
	if qmail != nil && err != nil && err.Error() == "exit status 99" {
		err = nil // done, and no line below is wanted
	}
	for got := range strings.Lines(out) {
		if err == nil && complains(got) && !strings.Contains(line, " -v") {
			err = errors.New("it complains")
		}
	}
	if err != nil {
		h.t.Errorf("%s: %s: %v\n%s", page, line, err, out)
	}
}

// exampleSendmail delivers to who has a Maildir in ROOT/home, and returns to its sender
// what is to others of this host; what cannot be returned it sends to pmaster.
const exampleSendmail = `#!/bin/sh
set -eu
cd ROOT/home
message=$(mktemp)
trap 'rm -f "$message" "$message.bounce"' EXIT
cat >"$message"
to=$(sed -n 's/^To: //p' "$message")
from=
[ "${3-}" != -f ] || from=$4
deliver() {
	cat >"$1/Maildir/tmp/$$"
	mv "$1/Maildir/tmp/$$" "$1/Maildir/new/"
}
report() {
	printf 'From: MAILER-DAEMON@mail.example.jp\n\nHi. This is the qmail-send program at mail.example.jp.\n\n'
	printf '<%s>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy.\n\nReturn-Path: <%s>\n' "$1" "$2"
	cat
}
if [ -d "${to%%@*}/Maildir" ]; then
	deliver "${to%%@*}" <"$message"
elif [ "${to%@mail.example.jp}" != "$to" ] && [ -n "$from" ]; then
	report "$to" "$from" <"$message" >"$message.bounce"
	if [ -d "${from%%@*}/Maildir" ]; then
		deliver "${from%%@*}" <"$message.bounce"
	else
		report "$from" '' <"$message.bounce" | deliver pmaster
	fi
fi
`

// equip gives the host the programs, the settings and the mail that the man
// pages speak of.
func (h *mailHost) equip() {
	h.serve()
	h.enqueue("hanako@example.jp")
	h.enqueue("taro@example.jp") // qmail-qread says that it is from somebody else
	h.file("bin/svc", "#!/bin/sh\n", 0o755)
	h.file("bin/qmail-qread", "#!/bin/sh\necho '20 Dec 2025 04:31:00 GMT  #"+h.queued[3]+"  90  <spam@example.jp> '\n", 0o755)
	// qmail's own programs around another, which say what they would do.
	h.file("bin/condredirect", "#!/bin/sh\nshift\n\"$@\"\n[ $? -le 1 ]\n", 0o755)
	h.file("bin/bouncesaying", "#!/bin/sh\nshift\n\"$@\"\n[ $? -le 1 ]\n", 0o755)
	h.file("usr/sbin/sendmail", strings.ReplaceAll(exampleSendmail, "ROOT", h.root), 0o755)
	passwd, err := os.ReadFile(h.root + "/etc/passwd")
	testenv.Check(h.t, err)
	for _, name := range []string{"hoshu", "pmaster"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			testenv.Check(h.t, os.MkdirAll(h.root+"/home/"+name+"/Maildir/"+sub, 0o755))
		}
		passwd = fmt.Appendf(passwd, "%s:x:1001:1001::%s/home/%[1]s:/bin/sh\n", name, h.root)
	}
	h.file("etc/passwd", string(passwd), 0o644)
	testenv.Check(h.t, os.WriteFile(h.checkout+"/away.txt", []byte("I am away.\n"), 0o644))
	h.file("var/qmail/control/me", "mail.example.jp\n", 0o644)
	h.file("etc/kowaza.conf", "VMDIR="+h.root+"/home/popuser\nVUSER=popuser\n", 0o644)
	h.message("home/test/hoge/Maildir/cur/1", 90*24*time.Hour)
	for _, home := range []string{"hoge", "popuser/hanako"} { // a folder that nobody has would be said
		for _, folder := range []string{"Trash", "ゴミ箱", "Junk", "迷惑メール"} {
			h.message("home/"+home+"/Maildir/."+folder+"/cur/1", time.Hour)
		}
	}
	testenv.Check(h.t, os.MkdirAll(h.root+"/var/tmp/removed", 0o755))
	for _, name := range []string{"rmoldmail", "rmmail_virtual", "mailtest", "mailquotacheck", "mailmatch", "mailreply", "mailtalk", "mailtrip"} {
		file, err := exec.LookPath(name)
		if err != nil {
			continue // what needs it fails
		}
		for _, dir := range []string{"bin", "sbin"} {
			testenv.Check(h.t, os.Symlink(file, filepath.Join(h.root, "usr/local", dir, name)))
		}
	}
}

// TestGuidesTranslated proves that a guide and its translation lead to each
// other from the top and have the same headings, tables and code, comments
// aside, and speak of the same commands, options, files and pages.
func TestGuidesTranslated(t *testing.T) {
	for _, pair := range guides {
		var outlines [2][]string
		for i, name := range pair {
			text := readGuide(t, name)
			outlines[i] = outline(pair[0], text)
			top := strings.SplitN(text, "\n", 4)
			if len(top) < 4 || !strings.Contains(top[2], "("+filepath.Base(pair[1-i])+")") {
				t.Errorf("%s: no link to %s on top", name, pair[1-i])
			}
		}
		en, ja := outlines[0], outlines[1]
		for i := range max(len(en), len(ja)) {
			if i >= len(en) || i >= len(ja) || en[i] != ja[i] {
				t.Errorf("%s: %q\n%s: %q", pair[0], en[min(i, len(en)):min(i+3, len(en))], pair[1], ja[min(i, len(ja)):min(i+3, len(ja))])
				break
			}
		}
	}
}

// anchor is the name that GitHub gives a heading for links.
func anchor(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	heading = regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(heading, " ", "-")
}

// TestGuideLinks proves that every link of the guides into the repository leads
// to a file that is there, and to a heading that it has.
func TestGuideLinks(t *testing.T) {
	for _, name := range guideFiles() {
		_, rest := fences(readGuide(t, name))
		for _, m := range guideLink.FindAllStringSubmatch(rest, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target, heading, _ := strings.Cut(m[1], "#")
			file := name
			if target != "" {
				file = filepath.Join(filepath.Dir(name), target)
			}
			text, err := os.ReadFile(file)
			if info, e := os.Stat(file); e == nil && info.IsDir() && heading == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s: %v", name, m[1], err)
				continue
			}
			_, rest := fences(string(text))
			found := heading == ""
			for line := range strings.Lines(rest) {
				found = found || strings.HasPrefix(line, "#") && anchor(line) == heading
			}
			if !found {
				t.Errorf("%s: %s: no such heading", name, m[1])
			}
		}
	}
}

// TestGuideTargets proves that the Makefile has every target that the guides
// call, and that each command that is not run stands in a guide.
func TestGuideTargets(t *testing.T) {
	makefile := readGuide(t, "Makefile")
	unused := make(map[string]bool)
	for prefix := range notRun {
		unused[prefix] = true
	}
	for _, name := range guideFiles() {
		blocks, _ := fences(readGuide(t, name))
		for _, block := range blocks {
			for _, s := range console(block.text) {
				for prefix := range notRun {
					if strings.HasPrefix(s.command, prefix+" ") {
						delete(unused, prefix)
					}
				}
				words := strings.Fields(comment.ReplaceAllString(s.command, ""))
				if words[0] != "make" {
					continue
				}
				for _, target := range words[1:] {
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).MatchString(makefile) {
						t.Errorf("%s: the Makefile has no target %s", name, target)
					}
				}
			}
		}
	}
	for prefix := range unused {
		t.Errorf("no guide has the command %s: take it off the list", prefix)
	}
}

// TestFirstScreen proves that a README begins with a sentence, one console block and
// one table, in which every applet has its page, and which leads to the differences;
// that the first chapter after it is the one that installs; and that the next one
// says what can go wrong.
func TestFirstScreen(t *testing.T) {
	for name, want := range map[string]struct{ pages, differences, install, wrong string }{
		"README.md":    {"man/", "docs/differences.md", "Install", "What can go wrong"},
		"README.ja.md": {"man/ja/", "docs/differences.ja.md", "インストール", "気を付けること"},
	} {
		chapters := strings.Split(readGuide(t, name), "\n## ")
		if len(chapters) < 3 || !strings.HasPrefix(chapters[1], want.install+"\n") || !strings.HasPrefix(chapters[2], want.wrong+"\n") {
			t.Errorf("%s: the first chapters are not %s, %s", name, want.install, want.wrong)
		}
		blocks, rest := fences(chapters[0])
		if len(blocks) != 1 || blocks[0].kind != "console" {
			t.Errorf("%s: %d blocks of code on the first screen; want one, of a console", name, len(blocks))
		}
		if n := strings.Count(chapters[0], "\n"); n > 42 {
			t.Errorf("%s: the first screen has %d lines", name, n)
		}
		table, heads := "", 0
		for line := range strings.Lines(rest) {
			if strings.HasPrefix(line, "|") {
				table += line
			}
			if strings.HasPrefix(line, "|---") {
				heads++
			}
		}
		if heads != 1 {
			t.Errorf("%s: %d tables on the first screen; want one", name, heads)
		}
		for _, a := range applets.All {
			page := regexp.MustCompile(`\[` + a.Name + `\]\(` + want.pages + a.Name + `\.[18]\)`)
			if !page.MatchString(table) {
				t.Errorf("%s: the table has no page of %s", name, a.Name)
			}
		}
		if !strings.Contains(table, "]("+want.differences+")") {
			t.Errorf("%s: the table does not lead to %s", name, want.differences)
		}
	}
}

// TestDifferencesOfAll proves that each applet has its chapter in the document of what
// is otherwise, in the order of All.
func TestDifferencesOfAll(t *testing.T) {
	var all []string
	for _, a := range applets.All {
		all = append(all, a.Name)
	}
	for _, name := range []string{"docs/differences.md", "docs/differences.ja.md"} {
		var got []string
		for _, chapter := range strings.Split(readGuide(t, name), "\n## ")[1:] {
			title, text, _ := strings.Cut(chapter, "\n")
			if len(strings.TrimSpace(text)) == 0 {
				t.Errorf("%s: %s: nothing is said", name, title)
			}
			got = append(got, title)
		}
		if !slices.Equal(got[1:], all) { // the first is of all of them
			t.Errorf("%s: the chapters are %q; want %q", name, got[1:], all)
		}
	}
}

// longOption is an option in a guide's text.
var longOption = regexp.MustCompile(`--[a-z][a-z0-9-]*`)

// TestGuideOptions proves that every long option of which the guides' text
// speaks is one of an applet's, of kowaza's or of --install's.
func TestGuideOptions(t *testing.T) {
	help, err := exec.Command("kowaza", "--install", "--help").Output()
	testenv.Check(t, err)
	own, err := exec.Command("kowaza", "--help").Output()
	testenv.Check(t, err)
	known := string(help) + string(own)
	for _, a := range applets.All {
		known += a.Help
	}
	for _, name := range guideFiles() {
		_, rest := fences(readGuide(t, name))
		for _, code := range inlineCode.FindAllString(rest, -1) {
			for _, option := range longOption.FindAllString(code, -1) {
				if !regexp.MustCompile(`(?m)(^|[ (])` + option + `\b[^-]`).MatchString(known) {
					t.Errorf("%s: %s: nothing has the option %s", name, code, option)
				}
			}
		}
	}
}
