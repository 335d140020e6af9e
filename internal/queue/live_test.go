package queue

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kowaza/internal/queue/queuetest"
)

// The files testdata/queue/live.* are of a run with notqmail (a7012e4, 1.09 and later),
// which had virt.example:bob in control/virtualdomains. live.tar.gz is the queue that it
// left when it was stopped: messages of every kind of sender, one of which a recipient
// has failed, and two that came when it had ended. live.bounce.txt is what Bounce made of
// it, live.bounce.log what qmail-send then did with that, and live.notices.txt the mail
// that came of it. live.hold.txt and live.envelopes.txt are what Hold left in the queue
// and put into the directory, and live.hold.log is what qmail-send did with the rest, and
// with the messages when they had been released.
const (
	liveDir  = "../../testdata/queue/live."
	liveText = "No such luck.\n\nAsk the postmaster."
)

var liveDomains = VirtualDomains{"virt.example": "bob"}

// live returns that queue, repaired, with its lock.
func live(t *testing.T) (*queuetest.Queue, *Lock, []*Message) {
	t.Helper()
	dir := t.TempDir()
	must(t, queuetest.Unpack(liveDir+"tar.gz", dir))
	made := &queuetest.Queue{Dir: dir + "/queue", Layout: queuetest.Layout{Split: 23}}
	if moved := repair(t, made.Dir); moved != 7 {
		t.Fatalf("%d messages", moved)
	}
	q := open(t, made.Dir)
	l := lock(t, q)
	var all []*Message
	must(t, q.List(Listing{}, func(m *Message) bool { all = append(all, m); return true }))
	return made, l, all
}

// liveFiles reads lines of a name and a quoted text.
func liveFiles(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(liveDir + name)
	must(t, err)
	all := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		path, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if all[path], err = strconv.Unquote(quoted); err != nil {
			t.Fatal(line, err)
		}
	}
	return all
}

// byText gives the pieces of each message, as "place text", under its text: numbers
// differ from run to run.
func byText(files map[string]string) map[string][]string {
	byNumber := make(map[uint64][]string)
	texts := make(map[uint64]string)
	for path, text := range files {
		place, n, _ := fileOf(path)
		if place == "mess" {
			texts[n] = text
			continue
		}
		byNumber[n] = append(byNumber[n], place+" "+text)
	}
	all := make(map[string][]string)
	for n, text := range texts {
		slices.Sort(byNumber[n])
		all[text] = byNumber[n]
	}
	return all
}

// queueFiles reads the messages' files of a queue.
func queueFiles(t *testing.T, made *queuetest.Queue) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, desc := range tree(t, made.Dir) {
		if _, _, ok := fileOf(path); ok && strings.HasPrefix(desc, "100") {
			text, err := os.ReadFile(filepath.Join(made.Dir, path))
			must(t, err)
			all[path] = string(text)
		}
	}
	return all
}

func sameMessages(t *testing.T, got, want map[string]string) {
	t.Helper()
	is, was := byText(got), byText(want)
	if len(is) != len(was) {
		t.Errorf("%d messages; want %d", len(is), len(was))
	}
	for text, pieces := range was {
		if !slices.Equal(is[text], pieces) {
			t.Errorf("%q has %q; want %q", text, is[text], pieces)
		}
	}
}

// TestLiveBounce proves that Bounce leaves what a real qmail-send was given, and that
// this told everybody of it what there was to tell, and tried nothing.
func TestLiveBounce(t *testing.T) {
	made, l, all := live(t)
	for _, m := range all {
		must(t, l.Bounce(m, liveText, liveDomains))
	}
	recorded := liveFiles(t, "bounce.txt")
	sameMessages(t, queueFiles(t, made), recorded)

	log, err := os.ReadFile(liveDir + "bounce.log")
	must(t, err)
	notices, err := os.ReadFile(liveDir + "notices.txt")
	must(t, err)
	told := 0
	for path, text := range recorded {
		place, n, _ := fileOf(path)
		if place != "bounce" {
			continue
		}
		told++
		end := fmt.Sprintf("bounce msg %d qp ", n)
		if slices.Contains(slices.Collect(maps.Values(recordedOf(recorded, n))), "F#@[]\x00") {
			end = fmt.Sprintf("triple bounce: discarding bounce/%d\n", n)
		} else if !strings.Contains(string(notices), "\n"+text) {
			t.Errorf("no notice has %q", text)
		}
		first := regexp.MustCompile(fmt.Sprintf(`\b%d\b`, n)).FindStringIndex(string(log))
		if first == nil {
			t.Errorf("%d is not in the log", n)
			continue
		}
		line := string(log[strings.LastIndexByte(string(log[:first[0]]), '\n')+1:])
		if !strings.HasPrefix(line, end) || !strings.Contains(line, fmt.Sprintf("end msg %d\n", n)) {
			t.Errorf("%d: %.60q; want %q", n, line, end)
		}
	}
	if told != 7 {
		t.Errorf("%d bounces", told)
	}
}

// recordedOf returns the files of a number.
func recordedOf(files map[string]string, n uint64) map[string]string {
	of := make(map[string]string)
	for path, text := range files {
		if _, is, _ := fileOf(path); is == n {
			of[path] = text
		}
	}
	return of
}

// TestLiveHold proves that Hold puts into its directory, and leaves in the queue, what was
// released and ended by a real qmail: each recipient who was to come was tried once, under
// the name that he had before, and the one failure there was was told.
func TestLiveHold(t *testing.T) {
	made, l, all := live(t)
	h := holding(t, t.TempDir())
	for _, m := range all {
		must(t, h.Hold(l, m, liveDomains))
	}
	sameMessages(t, queueFiles(t, made), liveFiles(t, "hold.txt"))
	plain := func(held *Held) string {
		held.Number = 0
		return string(held.text())
	}
	var got, want []string
	names, err := h.Names()
	must(t, err)
	for _, name := range names {
		held, _ := heldIn(t, h, name)
		got = append(got, plain(held))
	}
	log, err := os.ReadFile(liveDir + "hold.log")
	must(t, err)
	tried := make(map[string]int)
	for _, text := range liveFiles(t, "envelopes.txt") {
		held, err := parseHeld([]byte(text))
		must(t, err)
		for _, r := range held.Recipients {
			to := "remote " + r.Original
			if prefix := liveDomains.Prefix(r.Original); prefix != "" {
				to = "local " + prefix + "-" + r.Original
			} else if strings.HasSuffix(r.Original, "@lab.example") {
				to = "local " + r.Original
			}
			if !r.Done {
				tried[to]++
			}
		}
		want = append(want, plain(held))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("held %q; want %q", got, want)
	}
	for to, n := range tried {
		if got := strings.Count(string(log), " to "+to+"\n"); got != n {
			t.Errorf("%s was tried %d times; want %d", to, got, n)
		}
	}
	if !strings.HasPrefix(string(log), "bounce msg ") || strings.Contains(string(log), "bob-no@") {
		t.Errorf("%.100q", log)
	}
}
