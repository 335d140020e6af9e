package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/queue/queuetest"
)

// said is what qmHandle says where qmail-send does not run, around the rest.
func said(lines ...string) string {
	return "Qmail isn't running... no need to stop it.\n" + strings.Join(lines, "") +
		"Qmail wasn't running when qmHandle was started, so it won't be restarted.\n"
}

// text reads a message's piece.
func (q *testQueue) text(place string, n uint64) string {
	q.t.Helper()
	text, err := os.ReadFile(q.Path(place, n))
	must(q.t, err)
	return string(text)
}

// TestBounceCommand proves that --bounce returns what criteria choose, and nothing else,
// with the text that was given or one of ours, with the addresses by which local
// recipients came in; that a dry run says it and does nothing; and that --save saves
// before.
func TestBounceCommand(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	must(t, os.MkdirAll(q.root+"/qmail/control", 0o755))
	must(t, os.WriteFile(q.root+"/qmail/control/virtualdomains", []byte("v.example:bob\n"), 0o644))
	n := q.add(queuetest.Message{Sender: "a@b", Local: []string{"Tbob-joe@v.example"}, Remote: []string{"Dx@y", "Tz@y"}})
	early := q.add(queuetest.Message{State: "S4", Sender: "a@b", Remote: []string{"Te@f"}})
	other := q.add(queuetest.Message{Sender: "c@d", Remote: []string{"Tx@y"}})
	before := q.tree()
	chosen := func(out string) string { // in whatever order the queue has them
		return strings.NewReplacer(fmt.Sprint(n), "N", fmt.Sprint(early), "N", fmt.Sprint(other), "OTHER").Replace(out)
	}
	out := q.ok("qmHandle", "--dry-run", "-fa@b", "--bounce=No such host.")
	if want := "Looking for messages from a@b\n2 messages would be returned to their senders\n"; out != want || fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Errorf("%q; want %q", out, want)
	}
	save := t.TempDir()
	out = q.ok("qmHandle", "-fa@b", "--save", save, "--bounce=No such host.\n\nAsk us.")
	want := said("Looking for messages from a@b\n", "Message N returned to its sender\n", "Message N returned to its sender\n", "Returned 2 messages to their senders\n")
	if chosen(out) != want {
		t.Errorf("%q; want %q", chosen(out), want)
	}
	const reason = ":\nNo such host.\n/Ask us.\n\n"
	if got, want := q.text("bounce", n), "<joe@v.example>"+reason+"<z@y>"+reason; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got, want := q.text("bounce", early), "<e@f>"+reason; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	q.wantPieces(early, "bounce", "info", "mess")
	q.wantPieces(other, "remote", "info", "mess")
	for _, m := range []uint64{n, early} {
		if !exists(fmt.Sprintf("%s/%d.eml", save, m)) || exists(fmt.Sprintf("%s/%d.eml", save, other)) {
			t.Errorf("%d is not saved, or another is", m)
		}
	}
	q.ok("qmHandle", "-d"+strconv.FormatUint(other, 10), "--bounce")
	if got := q.text("bounce", other); got != "<x@y>:\n"+defaultNotice+"\n\n" {
		t.Errorf("%q", got)
	}
	if out := q.ok("qqclean", "--check"); out != "" {
		t.Errorf("%q", out)
	}
}

// TestOutcomeFails proves that a message that cannot be returned, tried or held is said,
// with status 1 and not a word of its having been done, and that the others are.
func TestOutcomeFails(t *testing.T) {
	for option, done := range map[string]string{"--bounce": "returned to its sender", "--now": "will be tried first", "--hold": "held"} {
		q := newTestQueue(t, queuetest.Layout{Split: 3})
		done1 := q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Dx@y"}})
		half := q.add(queuetest.Message{State: "S2"})
		good := q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tx@y"}})
		argv := []string{"qmHandle", "-D", "-d" + fmt.Sprint(half), option}
		if option == "--hold" {
			argv = append(argv, t.TempDir())
		}
		out, errs, status := q.run("", argv...)
		for _, want := range []string{
			fmt.Sprintf("qmHandle: %d: every recipient is done\n", done1), fmt.Sprintf("qmHandle: %d: half received\n", half),
		} {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %q; want %q", option, errs, want)
			}
		}
		if status != 1 || strings.Count(errs, "\n") != 2 || strings.Count(out, done) != 1 || !strings.Contains(out, fmt.Sprintf("Message %d %s\n", good, done)) {
			t.Errorf("%s: status %d, %q, %q", option, status, out, errs)
		}
		q.wantPieces(done1, "remote", "info", "mess")
		q.wantPieces(half, "mess")
	}
}

// TestOutcomeUsage proves that what goes not together, and a text that no notice can
// have, is a usage error that touches nothing.
func TestOutcomeUsage(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tx@y"}})
	before := q.tree()
	dir := t.TempDir()
	for _, test := range []struct {
		argv []string
		why  string
	}{
		{[]string{"--bounce"}, "--bounce goes with an option that chooses messages"},
		{[]string{"--now", "-l"}, "--now goes with an option that chooses messages"},
		{[]string{"--hold", dir, "-s"}, "--hold goes with an option that chooses messages"},
		{[]string{"-D", "--bounce", "--now"}, "--bounce goes without --now"},
		{[]string{"-D", "--hold", dir, "--now"}, "--now goes without --hold"},
		{[]string{"-D", "--hold", dir, "--bounce"}, "--bounce goes without --hold"},
		{[]string{"-D", "--now", "--live"}, "--now goes without --live: a running qmail-send cannot be told about single messages"},
		{[]string{"-D", "--bounce", "--live"}, "--bounce goes without --live: qmail-send may end the message at the same time"},
		{[]string{"-D", "--hold", dir, "--live"}, "--hold goes without --live: "},
		{[]string{"-D", "--hold", dir, "--save", dir}, "--hold goes without --save: nothing is lost by it"},
		{[]string{"-D", "--now", "--save", dir}, "--now goes without --save: nothing is lost by it"},
		{[]string{"-D", "--hold", ""}, "--hold: empty name of a directory"},
		{[]string{"--release", ""}, "--release: empty name of a directory"},
		{[]string{"-D", "--bounce=\x1b[2J"}, `--bounce: \033[2J: only printable ASCII can stand in a notice`},
		{[]string{"-D", "--bounce=だめ"}, "--bounce: だめ: only printable ASCII can stand in a notice"},
		{[]string{"-D", "--hold"}, ""},
	} {
		q.fails(2, "qmHandle: "+test.why, append([]string{"qmHandle"}, test.argv...)...)
	}
	if fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
	q.fails(1, "qmHandle: "+dir+"/x: no such file or directory\n", "qmHandle", "-D", "--hold", dir+"/x")
	q.fails(1, "qmHandle: "+dir+"/x: no such file or directory\n", "qmHandle", "--release", dir+"/x")
	if fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Error("something was changed")
	}
}

// TestNowRestarts proves that qmail-send is stopped, finds what was chosen due, and
// nothing else, and is started again.
func TestNowRestarts(t *testing.T) {
	s := newSendTest(t)
	n, other := s.mail(), s.mail()
	late := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, path := range []string{s.Path("local", n), s.Path("remote", n), s.Path("local", other), s.Path("remote", other)} {
		must(t, os.Chtimes(path, late, late))
	}
	// As qmail-send does when it ends, which is why it must have ended.
	s.script("at-end", "touch -d @"+strconv.FormatInt(late.Unix(), 10)+" '"+s.Path("local", n)+"' '"+s.Path("remote", n)+"'")
	s.start()
	out := s.ok("qmHandle", "-d"+strconv.FormatUint(n, 10), "--now")
	s.happened("stop", "TERM", "down", "start", "up")
	if !strings.Contains(out, fmt.Sprintf("Message %d will be tried first\n1 messages will be tried as soon as qmail-send runs\n", n)) {
		t.Errorf("%q", out)
	}
	for path, due := range map[string]bool{s.Path("local", n): true, s.Path("remote", n): true, s.Path("local", other): false, s.Path("remote", other): false} {
		st, err := os.Stat(path)
		must(t, err)
		if due != !st.ModTime().After(time.Now()) {
			t.Errorf("%s: %v", path, st.ModTime())
		}
	}
}

// A fakeQueue stands for qmail-queue: it keeps what it was given, and ends with a status.
type fakeQueue struct{ dir string }

func (q *testQueue) fakeQueue(status int) fakeQueue {
	q.t.Helper()
	f := fakeQueue{q.t.TempDir()}
	must(q.t, os.MkdirAll(q.root+"/qmail/bin", 0o755))
	script := fmt.Sprintf("#!/bin/sh\nd='%s'\nn=$(ls \"$d\" | wc -l)\ncat >\"$d/$n.text\"; cat <&1 >\"$d/$n.envelope\"\nexit %d\n", f.dir, status)
	must(q.t, os.WriteFile(q.root+"/qmail/bin/qmail-queue", []byte(script), 0o755))
	return f
}

// took returns what it was given, texts behind envelopes.
func (f fakeQueue) took(t *testing.T) map[string]string {
	t.Helper()
	envelopes, err := filepath.Glob(f.dir + "/*.envelope")
	must(t, err)
	all := make(map[string]string)
	for _, file := range envelopes {
		envelope, err := os.ReadFile(file)
		must(t, err)
		text, err := os.ReadFile(strings.TrimSuffix(file, "envelope") + "text")
		must(t, err)
		all[string(envelope)] += string(text)
	}
	return all
}

// TestHoldRelease proves that what is held leaves the queue, and that qmail-queue is
// given text and envelope of each as it is to have them (qmail-queue(8)), whereupon they
// leave the directory; that a message that it does not take stays, which is said; and
// that a dry run does neither.
func TestHoldRelease(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	must(t, os.MkdirAll(q.root+"/qmail/control", 0o755))
	must(t, os.WriteFile(q.root+"/qmail/control/virtualdomains", []byte("v.example:bob\n"), 0o644))
	n := q.add(queuetest.Message{Sender: "a@b", Local: []string{"Tbob-joe@v.example"}, Remote: []string{"Dx@y", "Tz@y"}})
	early := q.add(queuetest.Message{State: "S4", Sender: "", Remote: []string{"Te@f"}})
	texts := map[string]string{"Fa@b\x00Tjoe@v.example\x00Tz@y\x00\x00": q.text("mess", n), "F\x00Te@f\x00\x00": q.text("mess", early)}
	other := q.add(queuetest.Message{Sender: "c@d", Remote: []string{"Tx@y"}})
	dir := t.TempDir()
	before := q.tree()
	if out := q.ok("qmHandle", "--dry-run", "-fa@b", "-f", "--hold", dir); !strings.HasSuffix(out, "2 messages would be held\n") || fmt.Sprint(q.tree()) != fmt.Sprint(before) {
		t.Errorf("%q", out)
	}
	if out := q.ok("qmHandle", "-fa@b", "-f", "--hold", dir); !strings.Contains(out, "Took 2 messages out of the queue\n") || strings.Count(out, " held\n") != 2 {
		t.Errorf("%q", out)
	}
	q.wantPieces(n)
	q.wantPieces(early)
	q.wantPieces(other, "remote", "info", "mess")
	files := func() int { return len(listing(t, dir)) }
	held := files()
	if out := q.ok("qmHandle", "--dry-run", "--release", dir); out != "2 messages would be released\n" || files() != held {
		t.Errorf("%q", out)
	}

	q.fakeQueue(53)
	out, errs, status := q.run("", "qmHandle", "--release", dir)
	if status != 1 || out != "Released 0 messages\n" || strings.Count(errs, "/bin/qmail-queue: exit status 53\n") != 2 || files() != held {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	f := q.fakeQueue(0)
	out = q.ok("qmHandle", "--release", dir)
	if !strings.HasSuffix(out, "Released 2 messages\n") || strings.Count(out, " released\n") != 2 || files() != held-4 {
		t.Errorf("%q, %d files of %d left", out, files(), held)
	}
	got := f.took(t)
	for envelope, text := range texts {
		if got[envelope] != text {
			t.Errorf("%q: %q; want %q", envelope, got[envelope], text)
		}
	}
	if len(got) != len(texts) {
		t.Errorf("%q", got)
	}
	if out := q.ok("qmHandle", "--release", dir); out != "Released 0 messages\n" {
		t.Errorf("%q", out)
	}
}

// TestReleaseBroken proves that what is not whole is said and stays, and the rest is
// released; that without a qmail-queue all stays; and that one who waits for ever for the
// envelope cannot be made to take half of it.
func TestReleaseBroken(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	dir := t.TempDir()
	var numbers []uint64
	for range 3 {
		numbers = append(numbers, q.add(queuetest.Message{Sender: "a@b", Remote: []string{"Tz@y"}}))
	}
	q.ok("qmHandle", "-D", "--hold", dir)
	_, errs, status := q.run("", "qmHandle", "--release", dir)
	if status != 1 || strings.Count(errs, "/bin/qmail-queue: no such file or directory\n") != 3 || len(listing(t, dir)) != 7 {
		t.Errorf("status %d, %q", status, errs)
	}
	must(t, os.Truncate(fmt.Sprintf("%s/%d.eml", dir, numbers[0]), 5))
	must(t, os.Remove(fmt.Sprintf("%s/%d.eml", dir, numbers[1])))
	f := q.fakeQueue(0)
	out, errs, status := q.run("", "qmHandle", "--release", dir)
	if status != 1 || len(f.took(t)) != 1 || !strings.Contains(out, "Released 1 messages\n") ||
		!strings.Contains(errs, fmt.Sprintf("%d.eml: 5 bytes, not ", numbers[0])) || !strings.Contains(errs, fmt.Sprintf("%d.eml: no such file or directory\n", numbers[1])) {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

// TestReleaseKilled proves that a release that is killed while qmail-queue reads gives it
// no envelope that it could take, and leaves the message held; the next one releases it.
func TestReleaseKilled(t *testing.T) {
	bin := staticBinary(t)
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	dir := t.TempDir()
	m := queuetest.Message{Sender: "a@b"}
	for i := range 20000 { // more than a pipe holds
		m.Remote = append(m.Remote, fmt.Sprintf("Tuser%d@example.test", i))
	}
	q.add(m)
	q.ok("qmHandle", "-D", "--hold", dir)
	f := q.fakeQueue(0)
	fifo := t.TempDir() + "/fifo"
	must(t, exec.Command("mkfifo", fifo).Run())
	// It reads the text, says so, and then waits.
	must(t, os.WriteFile(q.root+"/qmail/bin/qmail-queue", []byte(fmt.Sprintf("#!/bin/sh\ncat >/dev/null; echo read >'%s'; read x <'%s'; cat <&1 >'%s/x'; echo end >'%s'\n", fifo, fifo, f.dir, fifo)), 0o755))
	cmd := exec.Command(bin+"/qmHandle", "--release", dir)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+q.root+"/kowaza.conf")
	must(t, cmd.Start())
	say := func() {
		text, err := os.ReadFile(fifo)
		must(t, err)
		if len(text) == 0 {
			t.Error("nothing was said")
		}
	}
	say()
	must(t, cmd.Process.Kill())
	cmd.Wait()
	must(t, os.WriteFile(fifo, []byte("go\n"), 0))
	say()
	envelope, err := os.ReadFile(f.dir + "/x")
	must(t, err)
	if strings.HasSuffix(string(envelope), "\x00\x00") {
		t.Errorf("a whole envelope of %d bytes", len(envelope))
	}
	f = q.fakeQueue(0)
	q.ok("qmHandle", "--release", dir)
	if got := f.took(t); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}
