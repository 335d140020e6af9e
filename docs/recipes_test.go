package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kowaza/internal/settings"
	"kowaza/internal/testenv"
)

const recipesPage = "man/kowaza-recipes.7"

// A recipe is a task of kowaza-recipes(7) on a host of its own, and its blocks, which
// are run one after the other.
type recipe struct {
	*mailHost
	blocks []string
	next   int
}

// tasks returns the blocks of a page by the heading below which they stand, and the
// headings in their order.
func tasks(page string) (blocks map[string][]string, headings []string) {
	blocks = make(map[string][]string)
	for i, part := range regexp.MustCompile(`(?m)^\.S[hs] `).Split(page, -1) {
		heading, text, _ := strings.Cut(part, "\n")
		if i == 0 {
			heading, text = "", part
		}
		if found := literals(text); len(found) > 0 || strings.Contains(text, "\n.Bd") {
			blocks[heading] = found
			headings = append(headings, heading)
		}
	}
	return blocks, headings
}

// file reports the file that a block is, by its first line, and its text.
func blockFile(block string) (name, text string, ok bool) {
	m := regexp.MustCompile(`^# (\S+)\n`).FindStringSubmatch(block)
	if m == nil {
		return "", "", false
	}
	return m[1], block[len(m[0]):], true
}

// take returns the next block.
func (r *recipe) take() string {
	r.t.Helper()
	if r.next == len(r.blocks) {
		r.t.Fatal("there is no further block")
	}
	r.next++
	return r.blocks[r.next-1]
}

// do runs the next n blocks: a file is written, commands and lines of a crontab are run.
func (r *recipe) do(n int) {
	r.t.Helper()
	for range n {
		block := r.take()
		name, text, isFile := blockFile(block)
		switch {
		case isFile && strings.HasPrefix(name, "/etc/"):
			if filepath.Base(name) == filepath.Base(settings.File) {
				if _, err := settings.Parse(recipesPage, []byte(text)); err != nil {
					r.t.Error(err)
				}
			}
			r.file(name, absolute.ReplaceAllString(text, "${1}"+r.root+"${2}"), 0o644)
		case strings.HasPrefix(block, "#!/bin/sh\n"):
			r.example(recipesPage, block)
		case strings.HasPrefix(block, "$ "):
			for _, s := range console(block) {
				if os.Getenv("X") != "" {
					out, err := r.run(s.command)
					r.t.Logf("%s: %v\n%s", s.command, err, out)
					continue
				}
				r.try(recipesPage, s)
			}
		case strings.HasPrefix(block, "command["):
			_, command, _ := strings.Cut(strings.TrimSuffix(block, "\n"), "=")
			r.example(recipesPage, command)
		default:
			for line := range strings.Lines(block) {
				line = strings.TrimSuffix(line, "\n")
				if !crontabCommand.MatchString(line) {
					r.t.Errorf("%s: %q is nothing that can be run", recipesPage, line)
					continue
				}
				r.example(recipesPage, line)
			}
		}
	}
}

// qmail returns the next block, the text of a .qmail file.
func (r *recipe) qmail() string {
	r.t.Helper()
	name, text, _ := blockFile(r.take())
	if name != ".qmail" {
		r.t.Fatalf("%q is no .qmail file", name)
	}
	return text
}

// put writes an old message, of 400 days, and returns its name.
func (r *recipe) put(name string) string {
	r.message(name, 400*24*time.Hour)
	return name
}

// stay and gone prove which messages are still there.
func (r *recipe) stay(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(r.root + "/" + name); err != nil {
			r.t.Errorf("it should have stayed: %v", err)
		}
	}
}

func (r *recipe) gone(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(r.root + "/" + name); err == nil {
			r.t.Errorf("%s should have gone", name)
		}
	}
}

// recipes do each task, by its heading, and prove that it came to what the page says.
var recipes = map[string]func(*recipe){
	"What would be used on this host": func(r *recipe) { r.do(1) },
	"The old mail of all users, but not the boss's and nothing of Archive": func(r *recipe) {
		box := "home/popuser/"
		old := r.put(box + "hanako/Maildir/cur/1750000000.M1P7.mail,S=2048:2,S")
		kept := []string{r.put(box + "boss/Maildir/cur/1:2,S"), r.put(box + "hanako/Maildir/.Archive/cur/2:2,S"), r.put(box + "hanako/Maildir/.Archive.2019/cur/3:2,S")}
		r.user("boss")
		r.do(2)
		r.stay(old)
		r.do(1)
		r.stay(kept...)
		r.gone(old)
	},
}

// TestRecipes proves that every block of kowaza-recipes(7) works, in order, on a host
// that has what the task is about, and that the task is done then and nothing else; and
// that there is no block which is not run. The Japanese page has the same blocks, see
// TestManPagesJapanese.
func TestRecipes(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the applets are told where the host is only in the test binary")
	}
	blocks, headings := tasks(readGuide(t, recipesPage))
	for name := range recipes {
		if !slices.Contains(headings, name) {
			t.Errorf("the page has no task %q", name)
		}
	}
	for _, name := range headings {
		t.Run(name, func(t *testing.T) {
			h := newMailHost(t)
			h.equip()
			r := &recipe{mailHost: h, blocks: blocks[name]}
			run := recipes[name]
			if run == nil {
				t.Fatal("no test runs its blocks")
			}
			run(r)
			if left := r.blocks[r.next:]; len(left) > 0 {
				t.Errorf("blocks that are not run: %q", left)
			}
		})
	}
}

// user adds a virtual user to users/assign.
func (r *recipe) user(name string) {
	file := r.root + "/var/qmail/users/assign"
	text, err := os.ReadFile(file)
	testenv.Check(r.t, err)
	line := "=" + name + ":popuser:500:500:" + r.root + "/home/popuser/" + name + ":::\n"
	testenv.Check(r.t, os.WriteFile(file, []byte(line+string(text)), 0o644))
}
