package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/queue/queuetest"
)

// A testQueue is a queue in a qmail directory of its own, with settings that
// say so.
type testQueue struct {
	*queuetest.Queue
	t    *testing.T
	root string // holds kowaza.conf and qmail
}

func newTestQueue(t *testing.T, l queuetest.Layout) *testQueue {
	t.Helper()
	return newTestQueueIn(t, t.TempDir(), l)
}

func newTestQueueIn(t *testing.T, root string, l queuetest.Layout) *testQueue {
	t.Helper()
	made, err := queuetest.Make(filepath.Join(root, "qmail/queue"), l)
	must(t, err)
	q := &testQueue{made, t, root}
	q.configure()
	return q
}

// configure writes the settings.
func (q *testQueue) configure(lines ...string) {
	q.t.Helper()
	text := "QMAIL=" + q.root + "/qmail\n" + strings.Join(lines, "\n")
	must(q.t, os.WriteFile(q.root+"/kowaza.conf", []byte(text), 0o644))
}

// add puts a message into the queue.
func (q *testQueue) add(m queuetest.Message) uint64 {
	q.t.Helper()
	if m.Body == "" {
		m.Body = "Subject: test\n\ntext\n"
	}
	n, err := q.Add(m)
	must(q.t, err)
	return n
}

// run runs an applet on the queue, in this process, with in as its standard
// input.
func (q *testQueue) run(in string, argv ...string) (stdout, stderr string, status int) {
	var out bytes.Buffer
	stderr, status = q.runTo(&out, in, argv...)
	return out.String(), stderr, status
}

func (q *testQueue) runTo(out io.Writer, in string, argv ...string) (stderr string, status int) {
	var errs bytes.Buffer
	env := &cli.Env{
		Stdin: strings.NewReader(in), Stdout: cli.NewOutput(out), Stderr: &errs,
		Getenv: func(key string) string {
			if key == "KOWAZA_CONF" {
				return q.root + "/kowaza.conf"
			}
			return ""
		},
		Now:  time.Now,
		Root: "/nonexistent",
	}
	status = Main(env, argv)
	return errs.String(), status
}

// ok is run for what must not fail. It returns standard output.
func (q *testQueue) ok(argv ...string) string {
	q.t.Helper()
	out, errs, status := q.run("", argv...)
	if errs != "" || status != 0 {
		q.t.Fatalf("%q: %s, status %d", argv, errs, status)
	}
	return out
}

// pieces returns the places that have a file of that number, in the order in
// which they are to go.
func (q *testQueue) pieces(n uint64) (places []string) {
	all := []string{"bounce", "local", "remote"}
	for i := range q.Layout.Suppl {
		all = append(all, fmt.Sprintf("suppl%d", i))
	}
	for _, place := range append(all, "info", "intd", "todo", "mess") {
		if _, err := os.Lstat(q.Path(place, n)); err == nil {
			places = append(places, place)
		}
	}
	return places
}

// wantPieces fails where the message has other pieces.
func (q *testQueue) wantPieces(n uint64, want ...string) {
	q.t.Helper()
	if got := q.pieces(n); !slices.Equal(got, want) {
		q.t.Errorf("%d: pieces %q; want %q", n, got, want)
	}
}

// tree returns all about the queue's files that a removal could change. Reading
// a directory changes its own access time.
func (q *testQueue) tree() []string {
	q.t.Helper()
	var all []string
	must(q.t, filepath.WalkDir(q.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		must(q.t, unix.Lstat(path, &st))
		line := fmt.Sprintf("%s %d %d %d %o %v %v", path, st.Ino, st.Nlink, st.Size, st.Mode, st.Mtim, st.Ctim)
		if d.Type().IsRegular() {
			line += fmt.Sprint(" ", st.Atim)
		}
		all = append(all, line)
		return nil
	}))
	return all
}

// numbers reads the output of -N.
func numbers(t *testing.T, out string) (all []uint64) {
	t.Helper()
	for line := range strings.Lines(out) {
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 64)
		must(t, err)
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

var slottedLine = regexp.MustCompile(`(?m)^Message (\d+) slotted for deletion$`)

// slotted returns the numbers that qmHandle says go.
func slotted(t *testing.T, out string) (all []uint64) {
	t.Helper()
	for _, m := range slottedLine.FindAllStringSubmatch(out, -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		must(t, err)
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// A readLine is what qmail-qread says of a message.
type readLine struct {
	date, sender string
	number       uint64
	size         int64
	bouncing     bool
	recipients   []string // "local\ttaro@test.local", or "done " before that
}

var readHead = regexp.MustCompile(`^(\d+ \w+ \d+ \d\d:\d\d:\d\d GMT)  #(\d+)  (\d+)  <(.*)> ( bouncing)?$`)

// readOutput reads what qmail-qread printed.
func readOutput(t *testing.T, name string) map[uint64]readLine {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	all := make(map[uint64]readLine)
	var last uint64
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if m := readHead.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseUint(m[2], 10, 64)
			must(t, err)
			size, err := strconv.ParseInt(m[3], 10, 64)
			must(t, err)
			last = n
			all[n] = readLine{date: m[1], number: n, size: size, sender: m[4], bouncing: m[5] != ""}
			continue
		}
		r := all[last]
		switch {
		case strings.HasPrefix(line, "\t"):
			r.recipients = append(r.recipients, line[1:])
		case strings.HasPrefix(line, "  done\t"):
			r.recipients = append(r.recipients, "done "+line[7:])
		default:
			t.Fatalf("qmail-qread says %q", line)
		}
		all[last] = r
	}
	return all
}

var octal = regexp.MustCompile(`\\(\\|[0-3][0-7]{2})`)

// qreadText makes of an address in JSON what qmail-qread makes of its bytes:
// those that are not printing ASCII become _.
func qreadText(s string) string {
	raw := octal.ReplaceAllStringFunc(s, func(s string) string {
		if s == `\\` {
			return `\`
		}
		return string([]byte{s[1]<<6 | (s[2]&7)<<3 | s[3]&7})
	})
	b := []byte(raw)
	for i, c := range b {
		if c < 32 || c > 126 {
			b[i] = '_'
		}
	}
	return string(b)
}

// fixture unpacks the real queue.
func fixture(t *testing.T) *testQueue {
	t.Helper()
	root := t.TempDir()
	must(t, os.Mkdir(root+"/qmail", 0o755))
	must(t, queuetest.Unpack("../testdata/queue/qmail-queue.tar.gz", root+"/qmail"))
	q := &testQueue{&queuetest.Queue{Dir: root + "/qmail/queue", Layout: queuetest.Layout{Split: 23}}, t, root}
	q.configure()
	return q
}

// TestFixtureList proves that -l --json says of each message of a real queue
// what qmail-qread said of it, field by field, and of no other message that is
// preprocessed; and that -l -N lists just the same numbers, each once.
func TestFixtureList(t *testing.T) {
	q := fixture(t)
	want := readOutput(t, "../testdata/queue/qmail-queue.qread.txt")
	if len(want) != 32 {
		t.Fatalf("%d messages in qmail-qread's output", len(want))
	}
	var listed []uint64
	for line := range strings.Lines(q.ok("qmHandle", "-l", "--json")) {
		var m struct {
			Number        uint64
			State, Sender string
			Size          int64
			Bouncing      bool
			Birth         time.Time
			Recipients    []struct {
				Address, Channel string
				Done             bool
			}
		}
		d := json.NewDecoder(strings.NewReader(line))
		must(t, d.Decode(&m))
		w, ok := want[m.Number]
		if !ok {
			if m.State == "S5" {
				t.Errorf("qmail-qread does not know %s", line)
			}
			continue
		}
		listed = append(listed, m.Number)
		got := readLine{
			date: m.Birth.UTC().Format("2 Jan 2006 15:04:05 GMT"), sender: qreadText(m.Sender),
			number: m.Number, size: m.Size, bouncing: m.Bouncing,
		}
		for _, r := range m.Recipients {
			text := r.Channel + "\t" + qreadText(r.Address)
			if r.Done {
				text = "done " + text
			}
			got.recipients = append(got.recipients, text)
		}
		if !slices.Equal(got.recipients, w.recipients) {
			t.Errorf("%d: recipients %q\nwant %q", m.Number, got.recipients, w.recipients)
		}
		got.recipients, w.recipients = nil, nil
		if fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("got  %v\nwant %v", got, w)
		}
	}
	if len(listed) != len(want) {
		t.Errorf("%d messages; want %d", len(listed), len(want))
	}
	slices.Sort(listed)
	if got := numbers(t, q.ok("qmHandle", "-l", "-N")); !slices.Equal(got, listed) {
		t.Errorf("-l -N: %v\nwant %v", got, listed)
	}
}

// TestFixtureStatistics proves that -s counts what qmail-qstat did.
func TestFixtureStatistics(t *testing.T) {
	text, err := os.ReadFile("../testdata/queue/qmail-queue.qstat.txt")
	must(t, err)
	var total, todo int
	if _, err := fmt.Sscanf(string(text), "messages in queue: %d\nmessages in queue but not yet preprocessed: %d\n", &total, &todo); err != nil {
		t.Fatal(err)
	}
	q := fixture(t)
	out := q.ok("qmHandle", "-s")
	want := fmt.Sprintf("Total messages: %d\n", total)
	if !strings.HasPrefix(out, want) || !strings.HasSuffix(out, fmt.Sprintf("\nMessages in preprocess: %d\n", todo)) {
		t.Errorf("%s\nqmail-qstat:\n%s", out, text)
	}
	// The rest against find: there is one file a message in each place.
	for place, line := range map[string]string{"local": "with local recipients", "remote": "with remote recipients", "bounce": "with bounces"} {
		found, err := exec.Command("find", q.Dir+"/"+place, "-type", "f").Output()
		must(t, err)
		if line := fmt.Sprintf("\nMessages %s: %d\n", line, bytes.Count(found, []byte("\n"))); !strings.Contains(out, line) {
			t.Errorf("%s\nwant %s", out, line)
		}
	}
}

// TestFixtureNotRemoved proves that of a queue that was copied, as the unpacked
// one was, nothing is removed, and that nothing at all is touched.
func TestFixtureNotRemoved(t *testing.T) {
	q := fixture(t)
	before := q.tree()
	_, errs, status := q.run("", "qmHandle", "-D")
	if status != 1 || strings.Count(errs, "queue was copied: repair it first with qqclean --repair\n") < 20 || !strings.Contains(errs, "queue: queue was copied: repair it first with qqclean --repair: ... and ") {
		t.Errorf("status %d, %s", status, errs)
	}
	compare(t, "after -D", q.tree(), before)
}

// TestDryRun proves that --dry-run touches nothing, whatever removes or changes
// something without it, and that it chooses what the run without it removes.
func TestDryRun(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Suppl: 1, BigTodo: true})
	at := time.Now().Add(-100 * time.Hour)
	a := q.add(queuetest.Message{Sender: "alice@a.example", Remote: []string{"Tx@b.example"}, Body: "To: x@b.example\nSubject: one\n\nbody\n", Birth: at, Bounce: "no"})
	q.add(queuetest.Message{State: "S4", Sender: "alice@a.example", Local: []string{"Ttaro"}, Suppl: [][]string{{"Tx@b.example"}}})
	options := []string{fmt.Sprintf("-d%d", a), "-falice@a.example", "-F^alice", "-Sone", "-hone", "-Hone", "-bbody", "-Bbody",
		"-xx@b.example", "-Xx@", "-tb.example", "-D", "--older-than=3d", "--recipient=x@b.example", "-a"}
	before := q.tree()
	for _, option := range options {
		out := q.ok("qmHandle", "--dry-run", "--save", "/nonexistent", option)
		compare(t, option, q.tree(), before)
		switch option {
		case "-a", "-tb.example":
			continue
		}
		if !slices.Contains(slotted(t, out), a) || !strings.HasSuffix(out, " messages would be deleted from queue\n") {
			t.Errorf("%s: %s", option, out)
		}
	}
	for _, option := range options {
		q := newTestQueue(t, queuetest.Layout{})
		a := q.add(queuetest.Message{Sender: "alice@a.example", Remote: []string{"Tx@b.example"}, Body: "To: x@b.example\nSubject: one\n\nbody\n", Birth: at})
		q.add(queuetest.Message{State: "S4", Sender: "bob@b.example", Local: []string{"Ttaro"}})
		if strings.HasPrefix(option, "-d") {
			option = fmt.Sprintf("-d%d", a)
		}
		if option == "-a" || option == "-tb.example" {
			continue
		}
		would := slotted(t, q.ok("qmHandle", "--dry-run", option))
		if got := slotted(t, q.ok("qmHandle", option)); !slices.Equal(got, would) || len(got) == 0 {
			t.Errorf("%s: %v; --dry-run said %v", option, got, would)
		}
		for _, n := range would {
			q.wantPieces(n)
		}
	}
}

// TestRenew proves that -t sets the birth of the messages with a matching
// remote recipient to now, and touches nothing else.
func TestRenew(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Suppl: 1})
	at := time.Now().Add(-100 * time.Hour).Truncate(time.Second)
	yes := []uint64{
		q.add(queuetest.Message{Remote: []string{"Ta@a.example", "Tx@b.example"}, Birth: at}),
		q.add(queuetest.Message{Remote: []string{"Dx@b.example"}, Local: []string{"Ttaro"}, Birth: at}),
		q.add(queuetest.Message{Suppl: [][]string{{"Tx@b.example"}}, Birth: at}),
	}
	no := []uint64{
		q.add(queuetest.Message{Local: []string{"Tx@b.example"}, Remote: []string{"Ta@a.example"}, Birth: at}),
		q.add(queuetest.Message{Remote: []string{"Tx@B.example"}, Birth: at}),
		q.add(queuetest.Message{State: "S4", Remote: []string{"Tx@b.example"}, Birth: at}),
	}
	before := q.tree()
	start := time.Now().Add(-time.Second)
	out := q.ok("qmHandle", `-tb\.example$`)
	var touched []uint64
	for i, line := range q.tree() {
		if line != before[i] {
			n, err := strconv.ParseUint(filepath.Base(strings.Fields(line)[0]), 10, 64)
			must(t, err)
			if !strings.Contains(line, "/info/") {
				t.Errorf("touched: %s", line)
			}
			touched = append(touched, n)
		}
	}
	slices.Sort(yes)
	slices.Sort(touched)
	if !slices.Equal(touched, yes) {
		t.Errorf("touched %v; want %v, not %v", touched, yes, no)
	}
	for _, n := range yes {
		info, err := os.Stat(q.Path("info", n))
		must(t, err)
		if info.ModTime().Before(start) || info.ModTime().After(time.Now()) {
			t.Errorf("%d: born %v", n, info.ModTime())
		}
		if !strings.Contains(out, fmt.Sprintf("Message %d being tagged for earlier retry", n)) {
			t.Errorf("%d is not in %s", n, out)
		}
	}
	if strings.Contains(out, "Qmail") {
		t.Errorf("qmail-send is none of its business: %s", out)
	}
}

// TestShow proves that -m prints a message byte for byte to a pipe.
func TestShow(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	var body bytes.Buffer
	for i := range 300000 {
		body.WriteByte(byte(i * 7))
	}
	n := q.add(queuetest.Message{Body: body.String()})
	text, err := os.ReadFile(q.Path("mess", n))
	must(t, err)
	want := fmt.Sprintf("\n --------------\nMESSAGE NUMBER %d \n --------------\n%s", n, text)
	r, w, err := os.Pipe()
	must(t, err)
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() { got, _ = io.ReadAll(r) })
	errs, status := q.runTo(w, "", "qmHandle", fmt.Sprintf("-m%d", n))
	wg.Wait()
	if string(got) != want || errs != "" || status != 0 {
		t.Errorf("status %d, %s%d bytes; want %d", status, errs, len(got), len(want))
	}
}

// hostile is every byte but newline and NUL, and what becomes a control
// character only when it is decoded.
func hostile() string {
	var b strings.Builder
	for c := 1; c < 256; c++ {
		if c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	return b.String() + "\u0085\u009b2J\x1b[31m =?UTF-8?Q?=1B[2J=9B=C2=9B=00=0A?= =?ISO-8859-1?Q?=9B2J=0D?= =?UTF-8?B?G1sySg==?= \x1b$B\x1b[\x1b(B"
}

// TestHostile proves that of what others wrote, into every field of the header
// and into the envelope, no byte that a terminal obeys reaches standard output
// or standard error, in any list and in any message.
func TestHostile(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Suppl: 1})
	evil := hostile()
	var header strings.Builder
	for _, name := range []string{"From", "To", "Cc", "Subject", "Date"} {
		fmt.Fprintf(&header, "%s: %s\n\x00 folded %s\n", name, evil, evil)
	}
	var all []string
	for _, state := range []string{"S5", "S4", "S3", "S2"} {
		m := queuetest.Message{State: state, Sender: evil + "\n", Body: header.String() + "\n" + evil,
			Local: []string{"T" + evil + "\n"}, Remote: []string{"T" + evil, "D\r\n"}, Suppl: [][]string{{"D" + evil}}}
		if state == "S5" {
			m.Bounce = evil
		}
		all = append(all, strconv.FormatUint(q.add(m), 10))
	}
	broken := q.add(queuetest.Message{Remote: []string{"Tx"}})
	must(t, os.WriteFile(q.Path("remote", broken), []byte("\x1b[2J\x00\x9b\x00"), 0o600))
	for _, argv := range [][]string{
		{"-l"}, {"-L"}, {"-R"}, {"-s"}, {"-N"}, {"-V"}, {"-l", "--json"}, {"-s", "--json"},
		{"--dry-run", "-f" + evil}, {"--dry-run", "-f" + evil + "\n"}, {"--dry-run", "-S" + evil}, {"--dry-run", "-x" + evil},
		{"--dry-run", "-F\x1b", "-S\x1b", "-h\x1b", "-b\x1b", "-X\x1b", "-t\x1b", "--recipient", evil},
		{"-F\xff"}, {"-S(\x1b"}, {"-d\x1b[2J"}, {"--\x1b[2J"}, {"\x1b[2J"}, {"-\x1b"}, {"--older-than", "\x1b3d"},
		{"-D", "--save", evil},
	} {
		out, errs, _ := q.run("", append([]string{"qmHandle"}, argv...)...)
		noControls(t, argv, out)
		noControls(t, argv, errs)
		if argv[0] == "-l" && !strings.Contains(errs, "malformed") {
			t.Errorf("%q: %q", argv, errs)
		}
	}
	for _, argv := range [][]string{append([]string{"-n", "-v"}, all...), {"-s", evil, all[0]}, {evil}, {"-Q", evil, "5"}} {
		out, errs, _ := q.run("5\n"+evil, append([]string{"qqclean"}, argv...)...)
		noControls(t, argv, out)
		noControls(t, argv, errs)
	}
}

func noControls(t *testing.T, argv []string, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%.60q: no UTF-8: %.200q", argv, text)
	}
	for i, r := range text {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
			t.Errorf("%.60q: control character %q in %.100q", argv, r, text[i:])
			return
		}
	}
}

// TestLikeMessages proves that 20 like messages are printed, and how many more
// there were, for lists and for removals.
func TestLikeMessages(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	var all []string
	for range 23 {
		n := q.add(queuetest.Message{State: "S2"})
		all = append(all, fmt.Sprintf("-d%d", n))
	}
	const young = ": half received, not yet 36 hours old\n"
	_, errs, status := q.run("", append([]string{"qmHandle"}, all...)...)
	if status != 1 || strings.Count(errs, "\n") != 21 || strings.Count(errs, young) != 20 ||
		!strings.HasSuffix(errs, "qmHandle: queue: half received, not yet 36 hours old: ... and 3 more\n") {
		t.Errorf("status %d, %s", status, errs)
	}
	for i, n := range all {
		all[i] = n[2:]
	}
	_, errs, status = q.run(strings.Join(all, "\n"), "qqclean", "-")
	if status != 1 || strings.Count(errs, "\n") != 21 || strings.Count(errs, young) != 20 ||
		!strings.HasSuffix(errs, "qqclean: queue: half received, not yet 36 hours old: ... and 3 more\n") {
		t.Errorf("status %d, %s", status, errs)
	}
}

// TestOutputFails proves that a full disk or a closed pipe is said and is
// status 1, and that a removal is whole all the same.
func TestOutputFails(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	var all []uint64
	for range 40 {
		all = append(all, q.add(queuetest.Message{Sender: strings.Repeat("long", 200), Local: []string{"Ttaro"}}))
	}
	for _, argv := range [][]string{{"-l"}, {"-s"}, {"-N"}, {"-l", "--json"}, {fmt.Sprintf("-m%d", all[0])}, {"-V"}, {"--help"}, {"--dry-run", "-D"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		must(t, err)
		if errs, status := q.runTo(full, "", append([]string{"qmHandle"}, argv...)...); status != 1 || errs != "qmHandle: standard output: no space left on device\n" {
			t.Errorf("%q: status %d, %q", argv, status, errs)
		}
		r, w, err := os.Pipe()
		must(t, err)
		r.Close()
		if errs, status := q.runTo(w, "", append([]string{"qmHandle"}, argv...)...); status != 1 || errs != "" && !slices.Contains(argv, "-D") {
			t.Errorf("%q: status %d, %q", argv, status, errs)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	if errs, status := q.runTo(full, "", "qmHandle", "-D"); status != 1 || errs != "qmHandle: standard output: no space left on device\n" {
		t.Errorf("-D: status %d, %q", status, errs)
	}
	for _, n := range all {
		q.wantPieces(n)
	}
}

// TestArrivals proves that messages that arrive while all is removed are either
// gone entirely or there entirely: none is lost in a half state, though the
// numbers of removed ones are used again at once.
func TestArrivals(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Split: 3})
	q.Direct = true // what is there from the start
	for range 100 {
		q.add(queuetest.Message{Sender: "old@a.example", Local: []string{"Ttaro"}, Remote: []string{"Tx@b.example"}, Bounce: "no"})
	}
	type arrival struct {
		n    uint64
		text string
	}
	var arrived []arrival
	var count atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			text := fmt.Sprintf("Subject: new %d\n\n%d\n", i, i)
			n, err := q.Add(queuetest.Message{State: "S4", Sender: fmt.Sprintf("new%d@a.example", i), Remote: []string{"Ty@b.example"}, Body: text})
			if err != nil {
				t.Errorf("a message could not come: %v", err)
				return
			}
			arrived = append(arrived, arrival{n, text})
			count.Add(1)
		}
	})
	removed := 0
	for deadline := time.Now().Add(20 * time.Second); count.Load() < 60 && time.Now().Before(deadline); {
		out, errs, status := q.run("", "qmHandle", "-D")
		if errs != "" || status != 0 {
			t.Errorf("%s, status %d", errs, status)
		}
		removed += len(slotted(t, out))
	}
	close(stop)
	wg.Wait()
	last := make(map[uint64]string)
	for _, a := range arrived {
		last[a.n] = a.text
	}
	left, reused := 0, len(arrived)-len(last)
	for n, text := range last {
		switch got := strings.Join(q.pieces(n), " "); got {
		case "":
		case "intd todo mess":
			left++
			mess, err := os.ReadFile(q.Path("mess", n))
			must(t, err)
			if !strings.HasSuffix(string(mess), text) {
				t.Errorf("%d: %q; want %q", n, mess, text)
			}
		default:
			t.Errorf("%d: %s", n, got)
		}
	}
	t.Logf("%d came, %d of them with a number that another had, %d are left", len(arrived), reused, left)
	if removed < 100 {
		t.Errorf("only %d went", removed)
	}
	// And there is nothing else.
	if files := len(q.files()); files != 3*left {
		t.Errorf("%d files for %d messages", files, left)
	}
}

// files lists the files of all messages.
func (q *testQueue) files() (all []string) {
	for _, path := range listing(q.t, q.Dir) {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && filepath.Base(filepath.Dir(path)) != "lock" {
			all = append(all, path)
		}
	}
	return all
}
