package applets

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/dialogue/dialoguetest"
	"kowaza/internal/queue/queuetest"
)

// killed runs a command and sends it a signal after a random part of the time
// that a whole run takes. It reports whether the signal ended it.
func killed(t *testing.T, r *rand.Rand, cmd *exec.Cmd, sig syscall.Signal, whole time.Duration) bool {
	t.Helper()
	must(t, cmd.Start())
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case <-end:
		return false
	case <-time.After(time.Duration(r.Int64N(int64(whole)))):
	}
	cmd.Process.Signal(sig)
	select {
	case <-end:
	case <-time.After(patience):
		cmd.Process.Kill()
		t.Fatalf("%q does not end by %v", cmd.Args, sig)
	}
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if st.Signaled() && st.Signal() != sig || !st.Signaled() && st.ExitStatus() != 0 {
		t.Errorf("%q ended with %v", cmd.Args, cmd.ProcessState)
	}
	return st.Signaled()
}

// names lists all names below a directory, sorted.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(file, dir))
		return err
	}))
	return all
}

// booked returns the sum of the lines of a maildirsize.
func booked(t *testing.T, file string) (bytes, count int) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		var b, c int
		if n, err := fmt.Sscanf(line, "%d %d", &b, &c); n != 2 || err != nil {
			t.Fatalf("%s: %q", file, line)
		}
		bytes, count = bytes+b, count+c
	}
	return bytes, count
}

// TestKilledCleaning proves that rmoldmail killed at any moment, and run again,
// leaves what one whole run leaves: nothing young is gone, nothing old is left,
// and after a SIGTERM the quota is the same, too.
func TestKilledCleaning(t *testing.T) {
	bin := staticBinary(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	fill := func() string {
		home := fastDir(t)
		for _, dir := range []string{home + "/Maildir", home + "/Maildir/.Sent", home + "/Maildir/fs/Work"} {
			makeMaildirs(t, dir)
			for i := range 800 {
				file := fmt.Sprintf("%s/%s/%d,S=7", dir, []string{"cur", "new"}[i%2], i)
				if i%4 < 3 {
					oldFile(t, file, "text\n")
				} else {
					must(t, os.WriteFile(file, []byte("text\n"), 0o644))
				}
			}
		}
		must(t, os.WriteFile(home+"/Maildir/maildirsize", []byte("0S,0C\n16800 2400\n"), 0o644))
		return home
	}
	home := fill()
	begin := time.Now()
	if e := runEnd(t, exec.Command(bin+"/rmoldmail", "10", home)); e.status != 0 || e.stderr != "" {
		t.Fatalf("status %d, %q", e.status, e.stderr)
	}
	whole := time.Since(begin)
	want := names(t, home)
	for i := range soaking(t, 16, 400) {
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
		home := fill()
		met := killed(t, r, exec.Command(bin+"/rmoldmail", "10", home), sig, whole)
		left := len(names(t, home))
		if e := runEnd(t, exec.Command(bin+"/rmoldmail", "10", home)); e.status != 0 || e.stderr != "" {
			t.Errorf("status %d, %q", e.status, e.stderr)
		}
		if got := names(t, home); !slices.Equal(got, want) {
			t.Errorf("%v: %d names; want %d", sig, len(got), len(want))
		}
		if bytes, count := booked(t, home+"/Maildir/maildirsize"); sig == syscall.SIGTERM && (bytes != 4200 || count != 600) {
			t.Errorf("%v: the quota is %d bytes, %d messages; want 4200, 600", sig, bytes, count)
		}
		t.Logf("%v, met %v: %d names were left of %d, %d at the end", sig, met, left, 2400+len(want)-600, len(want))
		must(t, os.RemoveAll(home))
	}
}

// TestKilledQueue proves the same of qqclean and qmHandle: after a kill at any
// moment no message has more pieces gone than the order of removal allows, no
// piece is without a message, and the next run leaves what one whole run does.
func TestKilledQueue(t *testing.T) {
	bin := staticBinary(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range soaking(t, 16, 400) {
		dir := fastDir(t)
		q, err := queuetest.Make(dir+"/queue", queuetest.Layout{Split: 5})
		must(t, err)
		p := &filledQueue{t: t, q: q, before: make(map[uint64][]string), all: i%4 > 1}
		for k := range 200 {
			m := queuetest.Message{State: []string{"S5", "S4"}[k%2], Sender: "a@test", Local: []string{"Tb@test"}, Remote: []string{"Tc@d.test"}}
			n, err := q.Add(m)
			must(t, err)
			if p.before[n] = p.pieces(n); k%4 < 3 {
				p.going = append(p.going, n)
			} else {
				p.others = append(p.others, n)
			}
		}
		must(t, os.WriteFile(dir+"/kowaza.conf", []byte("QMAIL="+dir+"\n"), 0o644))
		command := func() *exec.Cmd {
			cmd := exec.Command(bin+"/qqclean", "-")
			if p.all {
				cmd = exec.Command(bin+"/qmHandle", "-D")
			}
			cmd.Env = append(os.Environ(), "KOWAZA_CONF="+dir+"/kowaza.conf")
			cmd.Stdin = strings.NewReader(strings.Join(p.numbers(), "\n"))
			return cmd
		}
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
		met := killed(t, r, command(), sig, 12*time.Millisecond)
		if err := p.lost(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		left := len(p.left())
		halves := 0 // one message may be without all but its text
		for _, n := range p.asked() {
			if is := p.pieces(n); len(is) == 1 && is[0] == "mess" {
				halves++
			}
		}
		e := runEnd(t, command())
		if got := p.left(); len(got) > halves || halves > 1 || e.status > 1 || e.late || e.crashed() {
			t.Errorf("%v: %d half; the next run: status %d, %.300q, left %d", sig, halves, e.status, e.stderr, len(got))
		}
		if err := p.lost(); err != nil {
			t.Errorf("%v, the next run: %v", sig, err)
		}
		t.Logf("%v, met %v: %d pieces were left", sig, met, left)
		must(t, os.RemoveAll(dir))
	}
}

// TestKilledSMTP proves that jmailsend killed at any moment has sent no copy twice and none
// in part, and that after a SIGTERM what it tells is what the server took.
func TestKilledSMTP(t *testing.T) {
	bin := staticBinary(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range soaking(t, 16, 400) {
		office := &dialoguetest.Server{Domain: "mail.test", NoPipelining: i%4 > 1}
		cmd := exec.Command(bin+"/jmailsend", "-s", "smtp://"+listening(t, office.SMTP), "-f", "a", "-t", "b", "-c", "500", "-j", "4", "--per-connection", "20")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
		met := killed(t, r, cmd, sig, 100*time.Millisecond)
		taken := copiesOf(t, office)
		if n := len(slices.Compact(slices.Clone(taken))); n != len(taken) {
			t.Errorf("%v: %d copies, %d of them are others", sig, len(taken), n)
		}
		for _, m := range office.Messages() {
			if n := strings.Count(m.Text, "\n"); n != strings.Count(office.Messages()[0].Text, "\n") {
				t.Errorf("%v: a copy of %d lines", sig, n)
			}
		}
		want := ""
		if met && sig == syscall.SIGTERM {
			want = fmt.Sprintf("jmailsend: stopped by terminated, %d of 500 copies sent\n", len(taken))
		}
		// A signal that comes before it is looked for ends the process without a word.
		if got := stderr.String(); got != want && !(got == "" && len(taken) == 0) {
			t.Errorf("%v: %q; want %q", sig, got, want)
		}
		t.Logf("%v, met %v: %d copies", sig, met, len(taken))
	}
}

// TestShortReads proves that what comes in pieces of any size is read as if it
// came at once: nobody takes a short read for the end.
func TestShortReads(t *testing.T) {
	bin := staticBinary(t)
	q := newFilledQueue(t, t.TempDir()+"/queue", "")
	text := strings.Repeat("line\n\n", 3000) + "end"
	for _, test := range []struct {
		argv   []string
		in     string
		stdout string
		status int
	}{
		{[]string{"mailtest", "-x", "0"}, text, marked(text), 0},
		{[]string{"mailmatch", "Subject", "^end$"}, strings.Repeat("A: b\n", 3000) + "Subject: end", "", 0},
		{[]string{"mkdigest", "-p", "<1234.1096123456@mail.hoge.cxm>"}, "passwd\nmore\n", "edcb5de1cf7cfe764cd4491ca9c96ad5\n", 0},
		{[]string{"mkdigest", "-p", "<1234.1096123456@mail.hoge.cxm>"}, "passwd", "edcb5de1cf7cfe764cd4491ca9c96ad5\n", 0},
		{[]string{"smtpauthstr", "hanako"}, "passwd\n", "aGFuYWtvAGhhbmFrbwBwYXNzd2Q=\n", 0},
		{[]string{"qqclean", "-Q", q.q.Dir, "-"}, strings.Join(q.numbers(), " \n\t#") + "\n", "", 0},
	} {
		for _, most := range []int{1, 7, 4096} {
			cmd := exec.Command(bin+"/"+test.argv[0], test.argv[1:]...)
			stdin, err := cmd.StdinPipe()
			must(t, err)
			go func() {
				r := rand.New(rand.NewPCG(1, uint64(most)))
				for rest := test.in; rest != ""; {
					n := min(len(rest), 1+r.IntN(most))
					if _, err := io.WriteString(stdin, rest[:n]); err != nil {
						break // it wanted one line
					}
					rest = rest[n:]
				}
				stdin.Close()
			}()
			if e := runEnd(t, cmd); e.status != test.status || e.stdout != test.stdout || e.stderr != "" {
				t.Errorf("%q, pieces of up to %d: status %d, %.100q, %q", test.argv, most, e.status, e.stdout, e.stderr)
			}
			if test.argv[0] == "qqclean" {
				if left := q.left(); len(left) > 0 || q.lost() != nil {
					t.Errorf("qqclean: left %q, %v", left, q.lost())
				}
				break
			}
		}
	}
}

// TestOutputLost proves of every applet that a full disk and a closed pipe in
// the place of standard output are an error, said once, and not death by a
// signal; and that what was to be done without a word is done all the same.
func TestOutputLost(t *testing.T) {
	bin := staticBinary(t)
	dir := t.TempDir()
	makeMaildirs(t, dir+"/home/Maildir", dir+"/store/u/Maildir")
	oldFile(t, dir+"/home/Maildir/cur/1", "text\n")
	oldFile(t, dir+"/store/u/Maildir/cur/1", "text\n")
	must(t, os.MkdirAll(dir+"/users", 0o755))
	must(t, os.WriteFile(dir+"/users/assign", []byte("=u:nobody:1:1:"+dir+"/store/u:::\n.\n"), 0o644))
	makeMaildirs(t, dir+"/trip/Maildir")
	must(t, os.WriteFile(dir+"/sendmail", []byte("#!/bin/sh\ncd "+dir+"/trip/Maildir\ncat >tmp/$$\nmv tmp/$$ new/\n"), 0o755))
	must(t, os.WriteFile(dir+"/kowaza.conf", []byte("VMDIR="+dir+"/store\nQMAIL="+dir+"\nJMAIL_FROM=a@b.test\nSENDMAIL="+dir+"/sendmail\n"), 0o644))
	q := newFilledQueue(t, dir+"/queue", "")
	commands := [][]string{
		{"kowaza"}, {"kowaza", "--list"}, {"kowaza", "--check"}, {"kowaza", "rmoldmail", "--help"},
		{"rmoldmail", "-n", "10", dir + "/home"},
		{"rmmail_virtual", "-n"},
		{"qqclean", "-n", strconv.FormatUint(q.going[0], 10)},
		{"mkdigest", "<1@x>password"}, {"mkdigest", "-u", "u", "<1@x>password"},
		{"smtpauthstr", "u", "password"}, {"smtpauthstr", "-l", "u", "password"}, {"smtpauthstr", "-d", "aGFuYWtvAGhhbmFrbwBwYXNzd2Q="},
		{"jmailsend", "-n", "-t", "b@c.test"},
		{"mailtrip", "-m", dir + "/trip", "-b", dir + "/trip"}, {"mailtrip", "--json", "-m", dir + "/trip", "-b", dir + "/trip"},
		{"mailtest"}, {"mailmatch", "-x", "100", "-l", "1"},
		{"qmHandle", "-l"}, {"qmHandle", "-s"}, {"qmHandle", "--json", "-l"}, {"qmHandle", "-m" + strconv.FormatUint(q.going[0], 10)}, {"qmHandle", "-V"}, {"qmHandle", "-D"},
	}
	for _, a := range All {
		commands = append(commands, []string{a.Name, "--help"}, []string{a.Name, "--version"})
	}
	for _, argv := range commands {
		for _, kind := range []string{"no space left on device", "broken pipe"} {
			cmd := exec.Command(bin+"/"+argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "KOWAZA_CONF="+dir+"/kowaza.conf")
			cmd.Stdin = strings.NewReader("mail\n")
			out, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			must(t, err)
			if kind == "broken pipe" {
				out.Close()
				var in *os.File
				in, out, err = os.Pipe()
				must(t, err)
				in.Close()
			}
			cmd.Stdout = out
			e := runEnd(t, cmd)
			out.Close()
			want := 1
			if fail := find(argv[0]).Fail; fail != 0 {
				want = fail
			}
			name := argv[0]
			if len(argv) > 1 && argv[1] == "rmoldmail" {
				name = argv[1]
			}
			says := name + ": standard output: " + kind + "\n"
			if kind == "broken pipe" && onlyShows(argv) {
				says = "" // who has seen enough leaves: that is no error to be told
			}
			if e.status != want || e.stderr != says || e.signal != 0 {
				t.Errorf("%q: status %d, signal %v, %q; want %d, %q", argv, e.status, e.signal, e.stderr, want, says)
			}
		}
	}
	q.all = true
	if left := q.left(); len(left) > 0 || !exists(dir+"/home/Maildir/cur/1") || !exists(dir+"/store/u/Maildir/cur/1") {
		t.Errorf("qmHandle -D left %q", left)
	}
}

// onlyShows reports whether the command does nothing but print what there is.
func onlyShows(argv []string) bool {
	switch argv[len(argv)-1] {
	case "--help":
		return true
	case "--version":
		return argv[0] == "kowaza"
	case "--check":
		return true
	}
	return slices.Contains(argv, "-n") || argv[0] == "qmHandle" && !slices.Contains(argv, "-D") && argv[1] != "--version"
}
