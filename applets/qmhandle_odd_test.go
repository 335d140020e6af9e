package applets

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/queue/queuetest"
)

// TestFlatTodoWithDirectories proves that the empty sub-directories that a recipe makes
// in the flat todo and intd of a stock qmail are named, and keep nothing from being
// listed, counted and removed, whether a message is in todo or none.
func TestFlatTodoWithDirectories(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	for _, place := range []string{"todo", "intd"} {
		for i := range 23 {
			must(t, os.Mkdir(filepath.Join(q.Dir, place, strconv.Itoa(i)), 0o700))
		}
	}
	a := q.add(queuetest.Message{Sender: "alice@a.example", Remote: []string{"Tx@b.example"}})
	b := q.add(queuetest.Message{State: "S4", Sender: "bob@b.example", Remote: []string{"Tx@b.example"}})
	warned := func(applet, errs string) bool {
		want := ""
		for _, place := range []string{"intd", "todo"} {
			want += fmt.Sprintf("%s: %[2]s/0: and other directories up to %[2]s/22 do not belong there, as %[2]s is not split: remove them\n", applet, place)
		}
		return errs == want
	}
	for _, test := range []struct {
		argv, want string
		count      int
	}{
		{"-s", "Total messages: 2\n", 1}, {"-s", "Messages in preprocess: 1\n", 1}, {"-l", "  Return-path: alice@a.example\n", 1},
		{"--json -l", `"state":"S`, 2}, {"--by sender", "@", 2}, {"--dry-run -D", "slotted", 2},
	} {
		out, errs, status := q.run("", append([]string{"qmHandle"}, strings.Fields(test.argv)...)...)
		if status != 0 || strings.Count(out, test.want) != test.count || !warned("qmHandle", errs) {
			t.Errorf("%s: status %d, %s%s", test.argv, status, errs, out)
		}
	}
	if out, errs, status := q.run("", "qqclean", "--orphans"); status != 0 || out != "" || !warned("qqclean", errs) {
		t.Errorf("status %d, %s%s", status, errs, out)
	}
	if _, errs, status := q.run("", "qqclean", fmt.Sprint(b)); status != 0 || !warned("qqclean", errs) {
		t.Errorf("status %d, %s", status, errs)
	}
	q.wantPieces(b)
	// By now todo and intd look as if they were split, and are empty.
	if _, errs, status := q.run("", "qmHandle", "-D"); status != 0 || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	q.wantPieces(a)
}

// TestMalformedChannel proves that a channel that a full disk cut off hides neither the
// sender, which is whole, nor keeps the message from being removed or saved: as it is.
func TestMalformedChannel(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	add := func() uint64 {
		return q.add(queuetest.Message{Sender: "alice@a.example", Remote: []string{"Tv@r.example"}})
	}
	cut, empty, whole := add(), add(), add()
	must(t, os.WriteFile(q.Path("remote", cut), []byte("Tv@r.exa"), 0o600))
	must(t, os.WriteFile(q.Path("remote", empty), nil, 0o600))
	problems := func(errs string) bool {
		return strings.Count(errs, "\n") == 2 && strings.Contains(errs, fmt.Sprintf("qmHandle: %d: remote/%d/%[1]d: malformed: no NUL at the end\n", cut, cut%23)) &&
			strings.Contains(errs, fmt.Sprintf("qmHandle: %d: remote/%d/%[1]d: malformed: empty\n", empty, empty%23))
	}
	all := []uint64{cut, empty, whole}
	slices.Sort(all)
	out, errs, status := q.run("", "qmHandle", "--dry-run", "-falice@a.example")
	if got := slotted(t, out); status != 1 || !slices.Equal(got, all) || !problems(errs) {
		t.Errorf("status %d, %s%s", status, errs, out)
	}
	dir := t.TempDir()
	out, errs, status = q.run("", "qmHandle", "--save", dir, "-falice@a.example")
	if got := slotted(t, out); status != 1 || !slices.Equal(got, all) || !problems(errs) {
		t.Errorf("status %d, %s%s", status, errs, out)
	}
	for n, want := range map[uint64]string{cut: "Tv@r.exa", empty: ""} {
		text, err := os.ReadFile(fmt.Sprintf("%s/%d.remote", dir, n))
		if err != nil || string(text) != want {
			t.Errorf("%q, %v; want %q", text, err, want)
		}
		q.wantPieces(n)
	}
	if saved := listing(t, dir); len(saved) != 1+3*2+2 {
		t.Errorf("saved: %v", saved)
	}
}

// TestUnknownRecords proves that records of which only a patched qmail knows hide
// nothing of the envelope, are saved as they are, and are named once with -v.
func TestUnknownRecords(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	var numbers []string
	for range 2 {
		n := q.add(queuetest.Message{State: "S4", Sender: "alice@a.example", Remote: []string{"Tv@r.example"}})
		must(t, os.WriteFile(q.Path("todo", n), []byte("u0\x00p1\x00Kk\\ey\xff\x00Falice@a.example\x00Z\x00Tv@r.example\x00"), 0o644))
		numbers = append(numbers, fmt.Sprint(n))
	}
	if got := slotted(t, q.ok("qmHandle", "--dry-run", "-falice@a.example", "--recipient", "v@r.example")); len(got) != 2 {
		t.Errorf("%v", got)
	}
	dir := t.TempDir()
	_, errs, status := q.run("", append([]string{"qqclean", "-v", "-s", dir}, numbers...)...)
	if status != 0 || strings.Count(errs, "record K is of a kind that is not known here") != 1 || strings.Count(errs, "todo: record Z") != 1 {
		t.Errorf("status %d, %s", status, errs)
	}
	text, err := os.ReadFile(dir + "/" + numbers[1] + ".json")
	must(t, err)
	var m struct {
		Records []struct{ Place, Record string }
	}
	must(t, json.Unmarshal(text, &m))
	if len(m.Records) != 2 || m.Records[0].Place != "todo" || m.Records[0].Record != `Kk\\ey\377` || m.Records[1].Record != "Z" {
		t.Errorf("%+v", m)
	}
}

// TestStaleBounce proves that pieces which only qmail-send could be writing are removed
// however young they are, since it is locked out; that those of qmail-queue are not;
// and that statistics say that there are such.
func TestStaleBounce(t *testing.T) {
	for _, byNumber := range []bool{false, true} {
		q := newTestQueue(t, queuetest.Layout{})
		alive := q.add(queuetest.Message{Sender: "c@d.example", Remote: []string{"Tw@r.example"}})
		stale := q.add(queuetest.Message{Sender: "a@b.example", Remote: []string{"Tv@r.example"}, Bounce: "<v@r.example>:\nno\n\n"})
		half := q.add(queuetest.Message{State: "S3", Sender: "a@b.example", Remote: []string{"Tv@r.example"}})
		for _, path := range []string{q.Path("mess", stale), q.Path("info", stale), q.Path("remote", stale), q.Path("mess", half)} {
			must(t, os.Rename(path, q.root+"/"+filepath.Base(path))) // the inode is not free
			os.Remove(q.root + "/x")
			must(t, os.Rename(q.root+"/"+filepath.Base(path), fmt.Sprintf("%s/kept%d", q.root, time.Now().UnixNano())))
		}
		_, errs, status := q.run("", "qmHandle", "-s")
		if want := "qmHandle: pieces without a message: those of 2 numbers: qqclean --orphans removes them\n"; status != 0 || errs != want {
			t.Errorf("status %d, %q; want %q", status, errs, want)
		}
		if out := q.ok("qmHandle", "-s", "--json"); !strings.Contains(out, `"total":1,`) || !strings.Contains(out, `"orphans":2}`) {
			t.Errorf("%s", out)
		}
		argv := []string{"qqclean", "--orphans"}
		if byNumber {
			argv = append(argv, fmt.Sprint(stale), fmt.Sprint(half))
		}
		_, errs, status = q.run("", argv...)
		if want := fmt.Sprintf("qqclean: %d: pieces without a message, not yet 36 hours old\n", half); status != 1 || errs != want {
			t.Errorf("status %d, %q; want %q", status, errs, want)
		}
		q.wantPieces(stale)
		q.wantPieces(half, "intd")
		q.wantPieces(alive, "remote", "info", "mess")
	}
}

// TestNewerText proves that of a message whose text is newer than its envelope just
// that is said.
func TestNewerText(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	n := q.add(queuetest.Message{Sender: "a@b.example", Remote: []string{"Tv@r.example"}})
	soon := time.Now().Add(time.Minute)
	must(t, os.Chtimes(q.Path("mess", n), soon, soon))
	for _, argv := range [][]string{{"qqclean", fmt.Sprint(n)}, {"qmHandle", "-D"}, {"qmHandle", "--dry-run", "-D"}} {
		out, errs, status := q.run("", argv...)
		if want := fmt.Sprintf("%s: %d: text newer than its envelope, and not yet 36 hours old\n", argv[0], n); status != 1 || errs != want || strings.Contains(out, "slotted") {
			t.Errorf("%q: status %d, %q; want %q, %s", argv, status, errs, want, out)
		}
	}
}

// TestVirtualRecipient proves that --recipient finds a local recipient of a virtual
// domain by the address that the mail was for, and by that which qmail-qread shows;
// without control/virtualdomains only by the latter.
func TestVirtualRecipient(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	for name, m := range map[string]queuetest.Message{
		"joe":    {Local: []string{"Texample.com-joe@example.com"}},
		"other":  {Remote: []string{"Tother@remote.example"}},
		"ann":    {Local: []string{"Texample.com-ann@example.com", "Tnetuser-bob@host.sub.example.net"}},
		"joe4":   {State: "S4", Local: []string{"Tjoe@example.com"}},
		"list":   {Local: []string{"Towner-list-list@example.org"}},
		"remote": {Remote: []string{"Texample.com-joe@example.com"}},
	} {
		names[q.add(m)] = name
	}
	for _, virtual := range []bool{false, true} {
		if virtual {
			must(t, os.MkdirAll(q.root+"/qmail/control", 0o755))
			must(t, os.WriteFile(q.root+"/qmail/control/virtualdomains", []byte("example.com:example.com\n.sub.example.net:netuser\nlist@example.org:owner-list\n"), 0o644))
		}
		for _, test := range []struct{ address, plain, virtual string }{
			{"joe@example.com", "joe4", "joe joe4"},
			{"joe@EXAMPLE.com", "joe4", "joe joe4"},
			{"bob@host.sub.example.net", "", "ann"},
			{"example.com-joe@example.com", "joe remote", "joe remote"},
			{"list@example.org", "", "list"},
			{"other@remote.example", "other", "other"},
		} {
			want := test.plain
			if virtual {
				want = test.virtual
			}
			if got := q.chosenBy(names, "--recipient", test.address); got != want {
				t.Errorf("%s: %q; want %q", test.address, got, want)
			}
		}
	}
	must(t, os.Remove(q.root+"/qmail/control/virtualdomains"))
	must(t, os.Mkdir(q.root+"/qmail/control/virtualdomains", 0o755))
	if out, errs, status := q.run("", "qmHandle", "--recipient", "joe@example.com"); status != 1 || !strings.Contains(errs, "control/virtualdomains: is a directory") || out != "" {
		t.Errorf("status %d, %s%s", status, errs, out)
	}
	q.ok("qmHandle", "-s") // has no use for it
}

// TestSaidWhenDone proves that nothing is called slotted for deletion, or tagged, that
// is refused, in a dry run neither: all of a queue that was copied.
func TestSaidWhenDone(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	for range 3 {
		q.add(queuetest.Message{Sender: "a@b.example", Remote: []string{"Tv@r.example"}})
	}
	copied := q.root + "/copied"
	if out, err := exec.Command("cp", "-a", q.Dir, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, argv := range []string{"-D", "-Fb", "-tr.example", "--dry-run -D", "--dry-run -tr.example"} {
		out, errs, status := q.run("", append([]string{"qmHandle", "--queue", copied}, strings.Fields(argv)...)...)
		if status != 1 || strings.Contains(out, "slotted") || strings.Contains(out, "tagged") || strings.Count(errs, ": queue was copied: repair it first with qqclean --repair\n") != 3 {
			t.Errorf("%s: status %d, %s%s", argv, status, errs, out)
		}
	}
}

// TestSeveralQueues proves that with several --queue each is listed, counted, searched
// and cleaned under its own lock, that sums are over all, that a failure says in which,
// and that a directory with queues in it says so.
func TestSeveralQueues(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	top := q.root + "/many"
	must(t, os.Mkdir(top, 0o755))
	var options []string
	var made []*testQueue
	numbers := make(map[uint64]string)
	for _, name := range []string{"queue1", "queue2", "slowq"} {
		m, err := queuetest.Make(top+"/"+name, queuetest.Layout{Split: 7, BigTodo: true})
		must(t, err)
		one := &testQueue{m, t, q.root}
		made = append(made, one)
		options = append(options, "--queue", top+"/"+name)
		numbers[one.add(queuetest.Message{Sender: "spam@x.example", Remote: []string{"Tv@r.example"}})] = name
		numbers[one.add(queuetest.Message{Sender: "good@x.example", Remote: []string{"Tv@r.example"}})] = name + " good"
	}
	all := func(args ...string) []string { return append(append([]string{"qmHandle"}, options...), args...) }
	if out := q.ok(all("-s")...); !strings.HasPrefix(out, "Total messages: 6\n") || strings.Count(out, "Total") != 1 {
		t.Errorf("%s", out)
	}
	if out := q.ok(all("-l")...); strings.Count(out, "Return-path") != 6 || strings.Count(out, "Total messages: 6\n") != 1 {
		t.Errorf("%s", out)
	}
	if out := q.ok(all("--by", "sender")...); !strings.Contains(out, "      3      3") {
		t.Errorf("%s", out)
	}
	var second uint64
	for n, name := range numbers {
		if name == "queue2 good" {
			second = n
		}
	}
	if out := q.ok(all(fmt.Sprintf("-m%d", second))...); strings.Count(out, "MESSAGE NUMBER") != 1 {
		t.Errorf("%s", out)
	}
	if got := q.chosenBy(numbers, append(options, fmt.Sprintf("-d%d", second), "-fspam@x.example")...); got != "queue1 queue2 queue2 good slowq" {
		t.Errorf("%q", got)
	}
	for _, option := range []string{"-m5", "-d5"} {
		if _, errs, status := q.run("", all(option)...); status != 1 || errs != "qmHandle: 5: not in the queue\n" {
			t.Errorf("status %d, %s", status, errs)
		}
	}
	// One that is locked keeps all from being touched.
	before := made[0].tree()
	pid, end := flockAs(t, top+"/slowq", "flock")
	if _, errs, status := q.run("", all("-D")...); status != 1 || errs != fmt.Sprintf("qmHandle: %s/slowq: the queue is locked by flock, process %d\n", top, pid) {
		t.Errorf("status %d, %s", status, errs)
	}
	compare(t, "locked", made[0].tree(), before)
	end()
	// What fails says where; the others go.
	var bad uint64
	for n, name := range numbers {
		if name == "slowq" {
			bad = n
		}
	}
	must(t, os.Remove(made[2].Path("remote", bad)))
	must(t, os.Mkdir(made[2].Path("remote", bad), 0o700))
	out, errs, status := q.run("", all("-D")...)
	if !strings.Contains(errs, fmt.Sprintf("qmHandle: %s/slowq: %d: remote/%d/%[2]d: is a directory\n", top, bad, bad%7)) || status != 1 || !strings.Contains(out, "Deleted 5 messages from queue\n") {
		t.Errorf("status %d, %s%s", status, errs, out)
	}
	for _, dir := range []string{top, top + "/"} {
		_, errs, status = q.run("", "qmHandle", "-s", "--queue", dir)
		if status != 1 || !strings.Contains(errs, "it has the queues queue1, queue2, slowq: name one with --queue\n") {
			t.Errorf("status %d, %s", status, errs)
		}
	}
	if _, _, status := q.run("", "qmHandle", "-s", "--queue", ""); status != 2 {
		t.Errorf("status %d", status)
	}
}

// TestSeveralSends proves that qmail-send is stopped and started once where it runs in
// one of several queues.
func TestSeveralSends(t *testing.T) {
	s := newSendTest(t)
	s.mail()
	other := newTestQueue(t, queuetest.Layout{})
	other.add(queuetest.Message{Sender: "alice@a.example", Remote: []string{"Tx@b.example"}})
	s.start()
	out := s.ok("qmHandle", "--queue", other.Dir, "--queue", s.Dir, "-falice@a.example")
	s.wait("up")
	s.happened("stop", "TERM", "down", "start", "up")
	if len(s.files())+len(other.files()) > 0 || !strings.HasSuffix(out, "Deleted 2 messages from queue\nRestarting qmail... done (hopefully).\n") {
		t.Errorf("%s", out)
	}
	if other.run("", "qmHandle", "-D"); !s.runs() {
		t.Error("qmail-send does not run")
	}
}

// TestBy proves what --by counts, by name and by age: domains of recipients that are
// still to come, senders, who injected the message by its first line or todo, and
// sums; what --top, narrowing and --json make of it; and that no lock is taken.
func TestBy(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Suppl: 1})
	now := time.Now()
	birth := func(minutes int) time.Time { return now.Add(-time.Duration(minutes)*time.Minute - time.Second) }
	uid := strconv.Itoa(os.Getuid())
	for i, m := range []queuetest.Message{
		{Sender: "a@s.example", Remote: []string{"Tx@R.example", "Ty@r.example", "Dz@done.example"}, Birth: birth(0)},
		{Sender: "a@s.example", Remote: []string{"Tx@r.example"}, Local: []string{"Tlocal"}, Birth: birth(7)},
		{Sender: "", Suppl: [][]string{{"Tx@q.example"}}, Birth: birth(639)},
		{State: "S4", Sender: "evil\x1b[2J@s.example", Remote: []string{"Tx@r.example"}, Birth: birth(1280)},
		{State: "S3", Sender: "no@s.example", Remote: []string{"Tx@no.example"}},
		{State: "S2"},
	} {
		n := q.add(m)
		if i < 2 { // its Received line says who it was
			text, err := os.ReadFile(q.Path("mess", n))
			must(t, err)
			must(t, os.WriteFile(q.Path("mess", n), []byte(strings.Replace(string(text), "by uid "+uid, []string{"by alias", "from network"}[i], 1)), 0o644))
		}
		if m.State == "S4" {
			must(t, os.WriteFile(q.Path("mess", n), []byte("Subject: none of qmail-queue's\n\n"), 0o644))
		}
	}
	_, end := flockAs(t, q.Dir, "flock")
	defer end()

	const head = "  TOTAL      5     10     20     40     80    160    320    640   1280  1280+  "
	total := "      4      1      1      0      0      0      0      0      1      0      1  TOTAL\n"
	rows := map[string]string{
		"domain": head + "DOMAIN\n" + total +
			"      3      1      1      0      0      0      0      0      0      0      1  r.example\n" +
			"      1      0      1      0      0      0      0      0      0      0      0  -\n" +
			"      1      0      0      0      0      0      0      0      1      0      0  q.example\n",
		"sender": head + "SENDER\n" + total +
			"      2      1      1      0      0      0      0      0      0      0      0  a@s.example\n" +
			"      1      0      0      0      0      0      0      0      1      0      0  <>\n" +
			"      1      0      0      0      0      0      0      0      0      0      1  evil\\033[2J@s.example\n",
		"uid": head + "UID\n" + total +
			"      2      0      0      0      0      0      0      0      1      0      1  " + uid + "\n" +
			"      1      1      0      0      0      0      0      0      0      0      0  alias\n" +
			"      1      0      1      0      0      0      0      0      0      0      0  network\n",
	}
	for by, want := range rows {
		if got := q.ok("qmHandle", "--by", by); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", by, got, want)
		}
		if got := q.ok("qmHandle", "--top", "1", "--by", by); got != strings.Join(strings.SplitAfter(want, "\n")[:3], "") {
			t.Errorf("%s:\n%s", by, got)
		}
	}
	if got := q.ok("qmHandle", "--by", "sender", "--older-than", "10m", "--recipient", "x@q.example"); !strings.HasSuffix(got, "  TOTAL\n      1      0      0      0      0      0      0      0      1      0      0  <>\n") {
		t.Errorf("%s", got)
	}
	got := q.ok("qmHandle", "--by", "sender", "--json", "--top", "2")
	if want := `{"sender":"a@s.example","total":2,"minutes":{"5":1,"10":1,"20":0,"40":0,"80":0,"160":0,"320":0,"640":0,"1280":0,"1280+":0}}
{"sender":"","total":1,"minutes":{"5":0,"10":0,"20":0,"40":0,"80":0,"160":0,"320":0,"640":1,"1280":0,"1280+":0}}
{"total":4,"minutes":{"5":1,"10":1,"20":0,"40":0,"80":0,"160":0,"320":0,"640":1,"1280":0,"1280+":1}}
`; got != want {
		t.Errorf("%s", got)
	}
	got = q.ok("qmHandle", "--by", "age")
	lines := strings.Split(got, "\n")
	fields := func(i int) string {
		return strings.Join(strings.Fields(lines[i])[:2], " ") + " " + strings.Fields(lines[i])[3]
	}
	if len(lines) != 13 || fields(0) != "MESSAGES RECIPIENTS MINUTES" || fields(1) != "1 2 5" || fields(2) != "1 2 10" || fields(8) != "1 1 640" || fields(10) != "1 1 1280+" || fields(11) != "4 6 TOTAL" {
		t.Errorf("%s", got)
	}
	if got := q.ok("qmHandle", "--by", "age", "--json"); strings.Count(got, "\n") != 11 || !strings.Contains(got, `{"minutes":"10","messages":1,"recipients":2,"bytes":`) || !strings.Contains(got, "\n{\"messages\":4,\"recipients\":6,") {
		t.Errorf("%s", got)
	}
	for _, argv := range [][]string{{"--by", "x"}, {"--by", ""}, {"--top", "3", "-l"}, {"--by", "uid", "--top", "0"}, {"--by", "uid", "--top", "x"}} {
		if _, _, status := q.run("", append([]string{"qmHandle"}, argv...)...); status != 2 {
			t.Errorf("%q: status %d", argv, status)
		}
	}
}

// TestFewNumbers proves that what -m, -d and qqclean do with a few numbers makes as many
// system calls in a queue of many messages as in one of few, and reads none of the
// directories that hold the messages.
func TestFewNumbers(t *testing.T) {
	strace, bin := needCommand(t, "strace"), staticBinary(t)
	small, large := newTestQueueIn(t, fastDir(t), queuetest.Layout{}), newTestQueueIn(t, fastDir(t), queuetest.Layout{})
	calls := func(q *testQueue, messages int, command func(n string) []string) int {
		t.Helper()
		q.Direct = true
		n := q.add(queuetest.Message{Sender: "a@b.example", Remote: []string{"Tx@b.example"}})
		for range messages {
			q.add(queuetest.Message{Sender: "a@b.example", Remote: []string{"Tx@b.example"}})
		}
		file := t.TempDir() + "/trace"
		argv := command(strconv.FormatUint(n, 10))
		cmd := exec.Command(strace, append([]string{"-f", "-o", file, "-e", "trace=openat,getdents64,newfstatat,unlinkat,read,pread64", bin + "/" + argv[0]}, argv[1:]...)...)
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+q.root+"/kowaza.conf")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if q.pieces(n) != nil {
			t.Errorf("%q: %v", argv, q.pieces(n))
		}
		text, err := os.ReadFile(file)
		must(t, err)
		read := strings.Count(string(text), "getdents64(")
		if read >= 2*23 { // of the 92 sub-directories each takes two
			t.Errorf("%q: reads directories %d times", argv, read)
		}
		return strings.Count(string(text), "queue") + read + strings.Count(string(text), "newfstatat(")
	}
	for name, command := range map[string]func(n string) []string{
		"qmHandle": func(n string) []string { return []string{"qmHandle", "-m" + n, "-d" + n} },
		"qqclean":  func(n string) []string { return []string{"qqclean", n} },
	} {
		few, many := calls(small, 10, command), calls(large, 1000, command)
		if few != many {
			t.Errorf("%s: %d system calls among a few messages, %d among many", name, few, many)
		}
	}
}
