package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kowaza/internal/testenv"
)

// A mailUser has a home and a .qmail file, by which deliver does what qmail-local does
// (dot-qmail(5), qmail-command(8)).
type mailUser struct {
	t    *testing.T
	home string
	bin  string // stand-ins for qmail's own programs
	time time.Time
}

// standIns do what qmail's programs of that name answer: 0 of the program behind means
// that the mail is redirected, 99, or bounced, 100; 111 stays; all else is 0.
var standIns = map[string]string{
	"condredirect": "to=$1; shift; \"$@\"; s=$?; case $s in 0) cat >>\"$HOME/redirected-$to\"; exit 99 ;; 111) exit 111 ;; esac; exit 0\n",
	"bouncesaying": "text=$1; shift; \"$@\"; s=$?; case $s in 0) echo \"$text\"; exit 100 ;; 111) exit 111 ;; esac; exit 0\n",
	"order-to-db":  "cat >\"$HOME/ordered\"\n",
	"sendmail":     "{ echo \"$*\"; cat; } >>\"$HOME/sent\"\n",
}

func newMailUser(t *testing.T) *mailUser {
	dir := t.TempDir()
	u := &mailUser{t: t, home: dir + "/home", bin: dir + "/bin", time: time.Date(2026, 12, 28, 9, 0, 0, 0, time.Local)}
	testenv.Check(t, os.Mkdir(u.bin, 0o755))
	testenv.Maildirs(t, u.home+"/Maildir", u.home+"/Maildir/.List")
	for name, text := range standIns {
		testenv.Check(t, os.WriteFile(u.bin+"/"+name, []byte("#!/bin/sh\n"+text), 0o755))
	}
	testenv.Check(t, os.WriteFile(dir+"/conf", []byte("SENDMAIL="+u.bin+"/sendmail\nQMAIL="+dir+"\nQUOTA=20000S\nQUOTA_BUFFER=0\n"), 0o644))
	testenv.Check(t, os.Mkdir(dir+"/control", 0o755))
	testenv.Check(t, os.WriteFile(dir+"/control/me", []byte("mail.example.jp\n"), 0o644))
	return u
}

// What qmail-local puts before a message.
const (
	returnPath  = "Return-Path: <taro@example.com>\n"
	deliveredTo = "Delivered-To: hanako@mail.example.jp\n"
)

// deliver delivers a message by the lines of a .qmail file, and returns what came of
// it: done, bounced or later, and what was printed.
func (u *mailUser) deliver(qmail, message string) (result, output string) {
	t := u.t
	t.Helper()
	file := filepath.Join(t.TempDir(), "message")
	testenv.Check(t, os.WriteFile(file, []byte(message), 0o644))
	f, err := os.Open(file)
	testenv.Check(t, err)
	defer f.Close()
	for i, line := range strings.Split(strings.TrimSpace(qmail), "\n") {
		_, err := f.Seek(0, 0)
		testenv.Check(t, err)
		if box, ok := strings.CutPrefix(line, "./"); ok {
			testenv.Check(t, os.WriteFile(fmt.Sprintf("%s/%snew/%d.%d", u.home, box, time.Now().UnixNano(), i), []byte(returnPath+deliveredTo+message), 0o600))
			continue
		}
		command := testenv.InPath(strings.ReplaceAll(strings.TrimPrefix(line, "|"), "/var/qmail/bin/", ""))
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir, cmd.Stdin = u.home, f
		cmd.Env = append(os.Environ(), "PATH="+u.bin+":"+os.Getenv("PATH"), "HOME="+u.home, "KOWAZA_CONF="+filepath.Dir(u.home)+"/conf",
			"KOWAZA_TEST_NOW="+u.time.Format(time.RFC3339), "SENDER=taro@example.com", "RECIPIENT=hanako@mail.example.jp",
			"LOCAL=hanako", "HOST=mail.example.jp", "USER=hanako", "RPLINE="+returnPath, "DTLINE="+deliveredTo)
		out, err := cmd.CombinedOutput()
		output += string(out)
		switch status := cmd.ProcessState.ExitCode(); status {
		case 0:
		case 99:
			return "done", output
		case 100:
			return "bounced", output
		default:
			return fmt.Sprintf("later (%d, %v)", status, err), output
		}
	}
	return "done", output
}

// came returns how many messages are in a folder.
func (u *mailUser) came(folder string) int {
	files, err := filepath.Glob(u.home + "/" + folder + "/new/*")
	testenv.Check(u.t, err)
	return len(files)
}

// TestFilters proves of every .qmail file of the guides that it does with mail that fits
// what stands above it, and lets other mail into the Maildir.
func TestFilters(t *testing.T) {
	if testenv.Host != "" {
		t.Skip("SKIP the time is set for the test binary")
	}
	mail := func(fields ...string) string {
		return "From: taro@example.com\nTo: hanako@mail.example.jp\n" + strings.Join(fields, "\n") + "\n\ntext\n"
	}
	plain := mail("Subject: hello")
	advertising := mail("Subject: =?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cBsoQg==?= sale") // 未承諾広告
	for _, guide := range []string{"docs/filters.md", "docs/filters.ja.md"} {
		blocks, _ := fences(readGuide(t, guide))
		var files []string
		away := ""
		for _, b := range blocks {
			switch b.kind {
			case "qmail":
				files = append(files, b.text)
			case "mail":
				away = b.text
			}
		}
		if len(files) != 8 || away == "" {
			t.Fatalf("%s: %d files", guide, len(files))
		}
		check := func(what string, ok bool, result, output string) {
			t.Helper()
			if !ok {
				t.Errorf("%s: %s: %s: %s", guide, what, result, output)
			}
		}
		for i, file := range files {
			if i == 4 {
				continue // .qmail-list has one line, for what was redirected
			}
			u := newMailUser(t)
			testenv.Check(t, os.WriteFile(u.home+"/away.txt", []byte(away), 0o644))
			result, output := u.deliver(file, plain)
			check("plain mail", result == "done" && u.came("Maildir") == 1 && output == "", result, output)
		}
		u := newMailUser(t)
		result, output := u.deliver(files[0], advertising)
		check("advertising", result == "done" && u.came("Maildir") == 0 && output == "", result, output)
		result, output = u.deliver(files[1], advertising)
		check("advertising", result == "bounced" && u.came("Maildir") == 0 && output == "No advertising here.\n", result, output)

		u = newMailUser(t)
		result, output = u.deliver(files[2], "From: Boss <boss@example.com>\nSubject: 至急 call me\n\ntext\n")
		text, _ := os.ReadFile(u.home + "/redirected-hanako-urgent")
		check("urgent", result == "done" && u.came("Maildir") == 0 && strings.HasSuffix(string(text), "\n\ntext\n"), result, output)
		result, output = u.deliver(files[2], "From: boss@exampleXcom\nSubject: 至急\n\ntext\n")
		check("another's", result == "done" && u.came("Maildir") == 1, result, output)

		u = newMailUser(t)
		result, output = u.deliver(files[3], mail("List-Id: <users.example.org>"))
		_, err := os.Stat(u.home + "/redirected-hanako-list")
		check("a list's", result == "done" && u.came("Maildir") == 0 && err == nil, result, output)
		result, output = u.deliver(files[4], plain)
		check(".qmail-list", result == "done" && u.came("Maildir/.List") == 1, result, output)

		u = newMailUser(t)
		testenv.Check(t, os.WriteFile(u.home+"/away.txt", []byte(away), 0o644))
		for range 2 {
			result, output = u.deliver(files[5], plain)
			check("while away", result == "done" && output == "", result, output)
		}
		sent, _ := os.ReadFile(u.home + "/sent")
		check("while away", u.came("Maildir") == 2 && strings.Count(string(sent), "\nTo: taro@example.com\n") == 1, "sent", string(sent))
		u = newMailUser(t)
		u.time = time.Date(2027, 1, 6, 0, 0, 0, 0, time.Local)
		testenv.Check(t, os.WriteFile(u.home+"/away.txt", []byte(away), 0o644))
		result, output = u.deliver(files[5], plain)
		_, err = os.Stat(u.home + "/sent")
		check("back again", result == "done" && u.came("Maildir") == 1 && err != nil, result, output)

		u = newMailUser(t)
		u.time = time.Now() // as the messages' files have it
		big := plain + strings.Repeat("x", 9500) + "\n"
		result, output = u.deliver(files[6], big)
		check("half full", result == "done" && u.came("Maildir") == 1 && output == "", result, output)
		result, output = u.deliver(files[6], big)
		check("nearly full", result == "done" && u.came("Maildir") == 3 && output == "", result, output)
		result, output = u.deliver(files[6], big)
		check("full", result == "bounced" && u.came("Maildir") == 3 && strings.Contains(output, "full"), result, output)

		u = newMailUser(t)
		result, output = u.deliver(files[7], mail("Subject: 注文 3 books"))
		_, err = os.Stat(u.home + "/ordered")
		check("an order", result == "done" && u.came("Maildir") == 1 && err == nil, result, output)
		testenv.Check(t, os.WriteFile(u.bin+"/order-to-db", []byte("#!/bin/sh\nexit 111\n"), 0o755))
		result, output = u.deliver(files[7], mail("Subject: 注文 3 books"))
		check("the database is away", strings.HasPrefix(result, "later (111") && u.came("Maildir") == 1, result, output)
	}
}
