package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/queue/queuetest"
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
	shown  []string // what the commands of the last block printed
}

// tasks returns the literal blocks of a page by the heading below which they stand, and
// the headings in their order.
func tasks(page string) (blocks map[string][]string, headings []string) {
	blocks = make(map[string][]string)
	for _, part := range regexp.MustCompile(`(?m)^\.S[hs] `).Split(page, -1) {
		heading, text, _ := strings.Cut(part, "\n")
		if found := literals(text); len(found) > 0 {
			blocks[heading] = append(blocks[heading], found...)
			headings = append(headings, heading)
		}
	}
	return blocks, slices.Compact(headings)
}

// display is what begins a block of any kind in mdoc.
var display = regexp.MustCompile(`(?m)^\.(Bd|Dl|D1)\b`)

// blockFile returns the file that a block is, by its first line, and its text.
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
		r.shown = nil
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
				r.shown = append(r.shown, r.try(recipesPage, s))
			}
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

// popuser is the directory of the virtual users.
const popuser = "home/popuser/"

// again goes n blocks back, and runs them once more.
func (r *recipe) again(n int) {
	r.t.Helper()
	r.next -= n
	r.do(n)
}

// later has it be so many days after now, the time since when all mail lies here.
func (r *recipe) later(days int) { r.now = time.Now().AddDate(0, 0, days) }

// runs runs a command that is not on the page.
func (r *recipe) runs(command string) {
	r.t.Helper()
	if out, err := r.run(command); err != nil || out != "" {
		r.t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// fails proves that a line of a crontab says so, with more options, where something is
// wrong.
func (r *recipe) fails(line, options, want string) {
	r.t.Helper()
	command := crontabCommand.FindStringSubmatch(strings.TrimSuffix(line, "\n"))[1]
	name, rest, _ := strings.Cut(command, " ")
	if out, err := r.run(name + options + " " + rest); err == nil || !strings.Contains(out, want) {
		r.t.Errorf("%s: %v, %q; want %q", command, err, out, want)
	}
}

// count returns how many files of a kind the queue has.
func (r *recipe) count(kind string) int {
	files, err := filepath.Glob(r.root + "/var/qmail/queue/" + kind + "/*/*")
	testenv.Check(r.t, err)
	return len(files)
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
	"What would be used on this host": func(r *recipe) {
		r.do(1)
		if !strings.Contains(r.shown[0], "2 virtual users") || !strings.Contains(r.shown[0], "VMDIR=") {
			r.t.Errorf("shown is\n%s", r.shown[0])
		}
	},
	"The old mail of all users, but not the boss's and nothing of Archive": func(r *recipe) {
		old := r.put(popuser + "hanako/Maildir/cur/1750000000.M1P7.mail,S=2048:2,S")
		kept := []string{r.put(popuser + "boss/Maildir/cur/1:2,S"), r.put(popuser + "hanako/Maildir/.Archive/cur/2:2,S"),
			r.put(popuser + "hanako/Maildir/.Archive.2019/cur/3:2,S")}
		r.user("boss")
		r.do(2)
		r.stay(old)
		r.do(1)
		r.stay(kept...)
		r.gone(old)
	},
	"How long whose mail is kept, in one file": func(r *recipe) {
		r.user("boss")
		box := popuser + "hanako/Maildir/"
		trash, junk, inbox := r.put(box+".Trash/cur/2:2,S"), r.put(box+".Junk/cur/3:2,S"), r.put(box+"cur/4:2,S")
		kept := []string{r.put(popuser + "boss/Maildir/cur/5:2,S"), r.put(popuser + "boss/Maildir/.Trash/cur/8:2,S"), r.put(box + ".Archive/cur/6:2,S"), r.put(box + ".Archive.2019/cur/7:2,S")}
		r.do(2)
		r.later(32)
		r.do(1)
		if !strings.Contains(r.shown[0], ": Trash: 2 messages, 2 would go, ") || !strings.Contains(r.shown[0], ", by /etc/kowaza.rules:4\n") {
			r.t.Errorf("shown is\n%s", r.shown[0])
		}
		r.stay(trash, junk)
		r.later(20)
		r.do(1)
		r.gone(junk)
		r.stay(trash)
		r.later(32)
		r.again(1)
		r.gone(trash)
		r.stay(inbox)
		r.later(370)
		r.again(1)
		r.gone(inbox)
		r.stay(kept...)
	},
	"Trash after 30 days, spam after 14": func(r *recipe) {
		box := popuser + "hanako/Maildir/"
		trash := []string{r.put(box + ".Trash/cur/2:2,S"), r.put(box + ".ゴミ箱/cur/3:2,S")}
		junk := []string{r.put(box + ".Junk/cur/4:2,S"), r.put(box + ".迷惑メール/cur/5:2,S")}
		inbox := r.put(box + "cur/6:2,S")
		r.later(14)
		r.do(1)
		r.stay(append(trash, junk...)...)
		r.later(16)
		r.again(1)
		r.gone(junk...)
		r.stay(trash...)
		r.later(32)
		r.again(1)
		r.gone(trash...)
		r.stay(inbox)
	},
	"Flagged mail and unread mail stays": func(r *recipe) {
		box := "home/hoge/Maildir/"
		read, kept := r.put(box+"cur/2:2,S"), []string{r.put(box + "cur/3:2,FS"), r.put(box + "cur/4:2,"), r.put(box + "new/5")}
		r.do(1)
		r.stay(read)
		r.do(1)
		r.gone(read)
		r.stay(kept...)
	},
	"A mailbox has at most 500 MB: the oldest goes first": func(r *recipe) {
		box := popuser + "hanako/Maildir/"
		archived, oldest := r.put(box+".Archive/cur/2:2,S"), r.put(box+"cur/3,S=200000000:2,S")
		r.message(box+"cur/4,S=200000000:2,S", 30*24*time.Hour)
		r.message(box+"cur/5,S=200000000:2,S", 20*24*time.Hour)
		r.do(1)
		r.gone(oldest)
		r.stay(archived, box+"cur/4,S=200000000:2,S", box+"cur/5,S=200000000:2,S")
	},
	"After a restore or a move to another host": func(r *recipe) {
		old, young := popuser+"taro/Maildir/cur/1500000000.M2P7.mail:2,S", popuser+"taro/Maildir/cur/1766100000.M3P7.mail:2,S"
		r.message(old, time.Hour)
		r.message(young, time.Hour)
		r.do(1)
		r.gone(old)
		r.stay(young)
	},
	"Several hosts share one mail store": func(r *recipe) {
		var old []string
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			r.user(name)
			old = append(old, r.put(popuser+name+"/Maildir/cur/2:2,S"))
		}
		left := func() (n int) {
			for _, name := range old {
				if _, err := os.Lstat(r.root + "/" + name); err == nil {
					n++
				}
			}
			return n
		}
		for _, host := range []string{"first", "second"} {
			before := left()
			r.do(1)
			if n := left(); n == 0 || n == before {
				r.t.Errorf("the %s host leaves %d of %d messages to the others", host, n, before)
			}
		}
		r.do(1)
		r.gone(old...)
	},
	"Where vpopmail and Dovecot keep mail": func(r *recipe) {
		domain, store := r.root+"/home/vpopmail/domains/hoge.cxm", "var/vmail/hoge.cxm/"
		uid := strconv.Itoa(os.Geteuid())
		r.file("var/qmail/users/assign", "+hoge.cxm-:hoge.cxm:"+uid+":"+uid+":"+domain+":-::\n.\n", 0o644)
		r.file("home/vpopmail/domains/hoge.cxm/vpasswd", "hanako:x:1:0:Hanako:"+domain+"/hanako:NOQUOTA\n", 0o600)
		for _, box := range []string{"home/vpopmail/domains/hoge.cxm/hanako/Maildir", store + "hanako/Maildir", store + "taro", store + "jiro/Mail/Inbox"} {
			old := r.put(box + "/cur/2:2,S")
			r.do(1)
			if len(r.blocks)-r.next > 1 {
				r.runs("rmmail_virtual")
			} else {
				r.do(1)
				r.stay(old)
				r.runs("rmmail_virtual")
			}
			r.gone(old)
			testenv.Check(r.t, os.RemoveAll(r.root+"/var/vmail"))
		}
	},
	"A limit, and a warning before it is reached": func(r *recipe) {
		u := newMailUser(r.t)
		r.do(1)
		conf, err := os.ReadFile(r.root + "/etc/kowaza.conf")
		testenv.Check(r.t, err)
		testenv.Check(r.t, os.WriteFile(filepath.Dir(u.home)+"/conf", conf, 0o644))
		r.do(1)
		limit, err := os.ReadFile(r.root + "/" + popuser + "hanako/.quota")
		testenv.Check(r.t, err)
		qmail := r.qmail()
		const mail = "From: taro@example.com\nSubject: hello\n\n"
		for _, test := range []struct {
			size  int64  // of what is there
			text  string // of the message
			quota string
			want  string
			came  int
		}{
			{170e6, "text\n", "", "done", 1},
			{200e6, "text\n", "", "done", 2}, // and the warning
			{209.7e6, strings.Repeat("text\n", 20000), "", "bounced", 0},
			{209.7e6, strings.Repeat("text\n", 20000), string(limit), "done", 1},
			{524.2e6, strings.Repeat("text\n", 20000), string(limit), "bounced", 0},
		} {
			testenv.Check(r.t, os.RemoveAll(u.home+"/Maildir"))
			testenv.Maildirs(r.t, u.home+"/Maildir")
			testenv.Check(r.t, os.WriteFile(u.home+"/Maildir/cur/1:2,S", nil, 0o600))
			testenv.Check(r.t, os.Truncate(u.home+"/Maildir/cur/1:2,S", test.size))
			testenv.Check(r.t, os.RemoveAll(u.home+"/.quota"))
			if test.quota != "" {
				testenv.Check(r.t, os.WriteFile(u.home+"/.quota", []byte(test.quota), 0o644))
			}
			result, output := u.deliver(qmail, mail+test.text)
			warned := 0
			if test.came == 0 && u.came("Maildir") == 1 {
				warned = 1 // who is refused is warned
			}
			if result != test.want || u.came("Maildir") != test.came+warned {
				r.t.Errorf("%d bytes, quota %q: %s, %d in new; want %s, %d\n%s", test.size, test.quota, result, u.came("Maildir"), test.want, test.came, output)
			}
		}
	},
	"Who is over it, or soon will be": func(r *recipe) {
		r.file("etc/kowaza.conf", "VMDIR="+r.root+"/home/popuser\nVUSER=popuser\nQUOTA=200M\n", 0o644)
		r.file(popuser+"hanako/.quota", "500M\n", 0o644)
		r.put(popuser + "hanako/Maildir/cur/2,S=492000000:2,S")
		r.do(2)
		r.runs("mailquotacheck --report --over 95")
	},
	"Spam of one sender": func(r *recipe) {
		r.enqueue("spam@example.jp")
		testenv.Check(r.t, os.Remove(r.root+"/var/tmp/removed"))
		r.do(2)
		for i, want := range []string{"  spam@example.jp\n", "  0\n"} {
			if !strings.Contains(r.shown[i], want) {
				r.t.Errorf("shown is\n%s", r.shown[i])
			}
		}
		r.do(1)
		if n := r.count("mess"); n != 3 {
			r.t.Errorf("%d messages are in the queue, want those of hanako and taro", n)
		}
		for _, number := range []string{r.queued[0], r.queued[len(r.queued)-1]} {
			r.stay("var/tmp/removed/"+number+".eml", "var/tmp/removed/"+number+".json")
		}
	},
	"What cannot be delivered goes back to its sender": func(r *recipe) {
		add := func(host string, days int) (number string) {
			n, err := r.queue.Add(queuetest.Message{Sender: "hanako@example.jp", Remote: []string{"Tjiro@" + host},
				Body: "To: Jiro <jiro@" + host + ">, taro@example.com\n\ntext\n", Birth: r.now.AddDate(0, 0, -days)})
			testenv.Check(r.t, err)
			return strconv.FormatUint(n, 10)
		}
		want := map[string]string{
			add("gone.example", 1):     "<jiro@gone.example>:\nThis host does not exist any more.\n\n",
			add("gone.example.com", 4): "<jiro@gone.example.com>:\n",
			add("gone.example.org", 1): "",
			add("gone-example", 1):     "",
		}
		r.do(1)
		for number, begin := range want {
			text, _ := os.ReadFile(r.root + "/var/qmail/queue/bounce/" + number)
			if !strings.HasPrefix(string(text), begin) || begin == "" && len(text) > 0 {
				r.t.Errorf("the bounce of %s begins %q; want %q", number, text, begin)
			}
		}
		if !strings.Contains(r.shown[0], "\n1 messages would be returned") || !strings.Contains(r.shown[2], "\nReturned 1 messages") {
			r.t.Errorf("shown is %q", r.shown)
		}
	},
	"A queue that was copied or restored": func(r *recipe) {
		queue := r.root + "/var/qmail/queue"
		testenv.Check(r.t, os.Rename(queue, queue+".old"))
		r.runs("cp -a " + queue + ".old " + queue)
		if out, err := r.run("qqclean --check"); err == nil {
			r.t.Fatalf("nothing is wrong with the copy: %s", out)
		}
		r.do(1)
		if n := strings.Count(r.shown[0], " -> "); n != 4 || r.shown[1]+r.shown[2] != "" {
			r.t.Errorf("shown is %q", r.shown)
		}
	},
	"Does it deliver, bounce and double-bounce": func(r *recipe) {
		r.file("etc/nagios/mail.pw", "passwd\n", 0o600)
		r.do(2)
		for _, name := range []string{"hoshu", "pmaster"} {
			if left, _ := filepath.Glob(r.root + "/home/" + name + "/Maildir/*/*"); len(left) > 0 {
				r.t.Errorf("the tests leave %q", left)
			}
		}
		r.file("usr/sbin/sendmail", "#!/bin/sh\nexec cat >/dev/null\n", 0o755) // a server that loses mail
		r.fails(r.blocks[0], " -w 1", "mailtrip: double: not found within 1 second")
	},
	"Can users log in, and how long is the certificate valid": func(r *recipe) {
		r.do(1)
		for line := range strings.Lines(r.blocks[0]) {
			r.fails(strings.Replace(line, "--cert-days 14", "--cert-days 1000", 1), "", "days left")
		}
		r.file("etc/mailtalk.pw", "wrong\n", 0o600)
		for line := range strings.Lines(r.blocks[0]) {
			r.fails(line, "", "mailtalk: auth: ")
		}
	},
	"A thousand Japanese test mails by SMTP": func(r *recipe) {
		before := len(r.server.Messages())
		r.do(1)
		if n := len(r.server.Messages()) - before; n != 1000 {
			r.t.Errorf("%d messages came", n)
		}
	},
	"Out of office until a date": func(r *recipe) {
		u := newMailUser(r.t)
		qmail := r.qmail()
		testenv.Check(r.t, os.WriteFile(u.home+"/away.txt", []byte(r.take()), 0o644))
		const mail = "From: taro@example.com\nTo: hanako@mail.example.jp\nSubject: hello\n\ntext\n"
		for i := range 2 {
			if i == 1 {
				u.time = time.Date(2027, 1, 6, 0, 0, 0, 0, time.Local)
				testenv.Check(r.t, os.RemoveAll(u.home+"/.mailreply"))
			}
			result, output := u.deliver(qmail, mail)
			sent, _ := os.ReadFile(u.home + "/sent")
			if result != "done" || output != "" || u.came("Maildir") != i+1 || strings.Count(string(sent), "\nSubject: Away until January 5th: hello\n") != 1 {
				r.t.Errorf("%s %s: %d in the Maildir, sent is\n%s", result, output, u.came("Maildir"), sent)
			}
		}
	},
	"Advertising is thrown away": func(r *recipe) {
		u := newMailUser(r.t)
		qmail := r.qmail()
		for _, subject := range []string{"=?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cBsoQg==?= sale", "\x1b$BL$>5Bz9-9p\x1b(B", "未承諾広告"} {
			if result, output := u.deliver(qmail, "Subject: "+subject+"\n\ntext\n"); result != "done" || output != "" || u.came("Maildir") != 0 {
				r.t.Errorf("%q: %s %s, %d in the Maildir", subject, result, output, u.came("Maildir"))
			}
		}
		if result, output := u.deliver(qmail, "Subject: hello\n\ntext\n"); result != "done" || output != "" || u.came("Maildir") != 1 {
			r.t.Errorf("other mail: %s %s, %d in the Maildir", result, output, u.came("Maildir"))
		}
	},
	"What does a program in .qmail receive": func(r *recipe) {
		u := newMailUser(r.t)
		result, output := u.deliver(strings.ReplaceAll(r.qmail(), "/usr/local/sbin/", ""), "Subject: hello\n\ntext\n")
		got, err := os.ReadFile(u.home + "/mailtest.txt")
		if result != "done" || output != "" || err != nil || u.came("Maildir") != 1 || !strings.Contains(string(got), "Subject: hello\n<and>\n") {
			r.t.Errorf("%s %s %v: %d in the Maildir, %q", result, output, err, u.came("Maildir"), got)
		}
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
	page := readGuide(t, recipesPage)
	blocks, headings := tasks(page)
	found := 0
	for _, b := range blocks {
		found += len(b)
	}
	if n := len(display.FindAllString(page, -1)); n != found {
		t.Errorf("the page has %d blocks, of which %d are literal: the others are not run", n, found)
	}
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

// TestRecipesReferred proves that the pages to which kowaza-recipes(7) leads lead to it,
// kowaza(1) among them, so that whoever looks for a task finds it.
func TestRecipesReferred(t *testing.T) {
	_, also, _ := strings.Cut(readGuide(t, recipesPage), ".Sh SEE ALSO\n")
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^\.Xr (\S+) (\d)`).FindAllStringSubmatch(also, -1) {
		page, err := os.ReadFile("man/" + m[1] + "." + m[2])
		if err != nil {
			continue // another's: crontab(5)
		}
		found++
		if _, also, _ := strings.Cut(string(page), ".Sh SEE ALSO\n"); !strings.Contains(also, ".Xr kowaza-recipes 7") {
			t.Errorf("%s(%s) does not refer to kowaza-recipes(7)", m[1], m[2])
		}
	}
	if found < 13 {
		t.Errorf("the page refers to %d of ours only", found)
	}
}
