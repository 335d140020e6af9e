package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kowaza/internal/escape"
	"kowaza/internal/queue/queuetest"
)

const testdata = "../../testdata/queue/qmail-queue"

// fixture unpacks the real queue.
func fixture(t testing.TB) *Queue {
	t.Helper()
	dir := t.TempDir()
	must(t, queuetest.Unpack(testdata+".tar.gz", dir))
	return open(t, filepath.Join(dir, "queue"))
}

// qread writes a message as qmail-qread does: what is not printable ASCII is
// shown as _.
func qread(m *Message) string {
	safe := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '_'
			}
			return r
		}, latin1(s))
	}
	bouncing := ""
	if m.Bouncing {
		bouncing = " bouncing"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s GMT  #%d  %d  <%s> %s\n", m.Birth.UTC().Format("2 Jan 2006 15:04:05"), m.Number, m.Size, safe(m.Sender), bouncing)
	for _, r := range m.Recipients {
		done := ""
		if r.Done {
			done = "  done"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", done, r.Channel, safe(r.Address))
	}
	return b.String()
}

// latin1 makes a rune of each byte.
func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// TestFixture proves on a real queue that List reads what qmail-qread and
// qmail-qstat print for it, and the subjects in every charset.
func TestFixture(t *testing.T) {
	q := fixture(t)
	raw, err := os.ReadFile(testdata + ".qread.txt")
	must(t, err)
	want, block := map[string]bool{}, ""
	for line := range strings.Lines(string(raw)) {
		if line[0] != ' ' && line[0] != '\t' {
			want[block] = true
			block = ""
		}
		block += line
	}
	want[block] = true
	delete(want, "")
	states, total, subjects := map[State]int{}, 0, map[string]int{}
	must(t, q.List(Listing{
		Keep:   func(Found) bool { return true },
		Header: true,
		Failed: func(err error) { t.Error(err) },
	}, func(m *Message) bool {
		states[m.State()]++
		for _, err := range m.Problems {
			t.Error(err)
		}
		if m.State() != Orphan {
			total++
		}
		if m.State() == S5 {
			if s := qread(m); !want[s] {
				t.Errorf("not in qread:\n%s", s)
			} else {
				delete(want, s)
			}
		}
		subjects[m.Subject()]++
		if _, err := m.JSON(); err != nil {
			t.Error(err)
		}
		return true
	}))
	for s := range want {
		t.Errorf("only in qread:\n%s", s)
	}
	stat, err := os.ReadFile(testdata + ".qstat.txt")
	must(t, err)
	if got := fmt.Sprintf("messages in queue: %d\nmessages in queue but not yet preprocessed: %d\n", total, states[S4]); got != string(stat) {
		t.Errorf("%s; want %s", got, stat)
	}
	if states[S2] != 1 || states[S3] != 1 || states[S5] != 32 || states[Orphan] != 0 {
		t.Errorf("%v", states)
	}
	// Folded, encoded, raw in four charsets, cut: what is in the fixture.
	for _, s := range []string{"お知らせ：メールサーバ停止のご案内", "【重要】未配送メールの確認について（２回目）", "添付ファイル", "Re: 件名 (mixed)"} {
		if subjects[s] == 0 {
			t.Errorf("no message with the subject %s in %q", s, slices.Sorted(maps.Keys(subjects)))
		}
	}
}

// recipients of a message that was made, as they should be read.
func recipients(m queuetest.Message) (all []Recipient) {
	channels := map[string][]string{"local": m.Local, "remote": m.Remote}
	names := []string{"local", "remote"}
	for i, s := range m.Suppl {
		names = append(names, fmt.Sprintf("suppl%d", i))
		channels[names[2+i]] = s
	}
	for _, name := range names {
		for _, r := range channels[name] {
			switch m.State {
			case "S4":
				all = append(all, Recipient{Address: r[1:]})
			case "S5":
				all = append(all, Recipient{r[1:], name, r[0] == 'D'})
			}
		}
	}
	return all
}

// TestRead proves on random queues of every layout that Read and List read the
// envelope that was put in.
func TestRead(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, l := range layouts {
		made, q := newQueue(t, l)
		messages := fill(t, made, r, 60)
		check := func(m *Message) {
			want := messages[m.Number]
			sender, birth := want.Sender, want.Birth
			if want.State == "S2" || want.State == "S3" {
				sender, birth = "", m.Birth
			}
			subject, _, _ := strings.Cut(strings.TrimPrefix(want.Body, "Subject: "), "\n")
			st, err := os.Stat(made.Path("mess", m.Number))
			must(t, err)
			if m.State().String() != want.State || m.Sender != sender || !slices.Equal(m.Recipients, recipients(want)) ||
				!m.Birth.Equal(birth) || m.Birth.IsZero() || m.Size != st.Size() || m.Bouncing != (want.Bounce != "") ||
				m.Subject() != subject || string(m.Header.From.Raw) != " <taro@test.local>" || m.Header.To.Present || m.Problems != nil {
				t.Errorf("%+v: %+v; want %+v", l, m, want)
			}
		}
		for n := range messages {
			check(readMessage(t, q, n))
		}
		count := 0
		must(t, q.List(Listing{Header: true}, func(m *Message) bool { count++; check(m); return true }))
		if count != len(messages) {
			t.Errorf("%d of %d", count, len(messages))
		}
	}
}

// TestRetry proves that the next retry is that of the first channel with
// somebody left.
func TestRetry(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Remote: []string{"Dc@d", "Te@f"}})
	soon, late := time.Unix(1700000000, 0), time.Unix(1800000000, 0)
	set := func(place string, at time.Time) { must(t, os.Chtimes(made.Path(place, n), at, at)) }
	set("local", late)
	set("remote", soon)
	if m := readMessage(t, q, n); !m.Retry.Equal(soon) {
		t.Error(m.Retry)
	}
	set("local", soon.Add(-time.Hour))
	if m := readMessage(t, q, n); !m.Retry.Equal(soon.Add(-time.Hour)) {
		t.Error(m.Retry)
	}
	put(t, made.Path("local", n), "Da@b\x00")
	set("local", soon.Add(-time.Hour))
	if m := readMessage(t, q, n); !m.Retry.Equal(soon) {
		t.Error(m.Retry)
	}
}

// TestProblems proves that what is malformed, no regular file, too large or not
// readable is told with the message and names its file, and that the rest is read;
// that such a message is not saved where a piece could not be read, and with the
// piece as it is where that is malformed.
func TestProblems(t *testing.T) {
	for name, test := range map[string]struct {
		place string
		spoil func(path string) error
		want  error
	}{
		"info empty":           {"info", write0(""), ErrMalformed},
		"info unterminated":    {"info", write0("Fa@b"), ErrMalformed},
		"info binary":          {"info", write0("\x00\xff\x01"), ErrMalformed},
		"local unknown record": {"local", write0("\x01a@b\x00Dc@d\x00"), ErrMalformed},
		"remote empty":         {"remote", write0(""), ErrMalformed},
		"remote unterminated":  {"remote", write0("Ta@b"), ErrMalformed},
		"info a fifo":          {"info", func(path string) error { return first(os.Remove(path), unix.Mkfifo(path, 0o600)) }, ErrNotRegular},
		"local a link":         {"local", func(path string) error { return first(os.Remove(path), os.Symlink("/etc/passwd", path)) }, ErrNotRegular},
		"info a directory":     {"info", func(path string) error { return first(os.Remove(path), os.Mkdir(path, 0o700)) }, ErrNotRegular},
		"mess a link":          {"mess", func(path string) error { return first(os.Remove(path), os.Symlink("/etc/passwd", path)) }, ErrNotRegular},
		"mess a fifo":          {"mess", func(path string) error { return first(os.Remove(path), unix.Mkfifo(path, 0o600)) }, ErrNotRegular},
		"remote huge":          {"remote", func(path string) error { return os.Truncate(path, 1<<40) }, ErrTooLarge},
	} {
		for _, header := range []bool{true, false} {
			made, q := newQueue(t, queuetest.Layout{})
			n := add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}, Remote: []string{"Tc@d"}, Body: "Subject: x\n\n"})
			must(t, test.spoil(made.Path(test.place, n)))
			f, err := q.Find(n)
			must(t, err)
			m, err := q.Read(f, header)
			must(t, err)
			path, _ := filepath.Rel(made.Dir, made.Path(test.place, n))
			if len(m.Problems) != 1 {
				t.Errorf("%s: %v", name, m.Problems)
				continue
			}
			wantError(t, m.Problems[0], test.want, path)
			if known := test.place != "info"; known && m.Sender != "s@t" || m.SenderKnown != (known || m.Sender != "") || test.place != "remote" && !slices.Contains(m.Recipients, Recipient{"c@d", "remote", false}) {
				t.Errorf("%s: %+v", name, m)
			}
			dir := t.TempDir()
			s, err := NewSaver(dir)
			must(t, err)
			err = s.Save(q, m)
			s.Close()
			saved, _ := filepath.Glob(dir + "/*")
			if test.want != ErrMalformed {
				wantError(t, err, test.want, path)
				if len(saved) > 0 {
					t.Errorf("%s: saved %v", name, saved)
				}
				continue
			}
			must(t, err)
			piece, err := os.ReadFile(made.Path(test.place, n))
			must(t, err)
			raw, err := os.ReadFile(fmt.Sprintf("%s/%d.%s", dir, n, test.place))
			if err != nil || string(raw) != string(piece) || len(saved) != 3 {
				t.Errorf("%s: saved %v, %q, %v", name, saved, raw, err)
			}
		}
	}
}

func write0(text string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

// TestVanish proves that a message that leaves, or goes on to another state,
// between being found and being read is no error: it is dropped, or read as
// what it is by then.
func TestVanish(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	remove := func(n uint64, places ...string) {
		for _, p := range places {
			must(t, os.Remove(made.Path(p, n)))
		}
	}
	for _, header := range []bool{true, false} {
		n := add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}})
		f, err := q.Find(n)
		must(t, err)
		remove(n, "local")
		m, err := q.Read(f, header)
		if err != nil || m.Recipients != nil || m.Sender != "s@t" || m.Problems != nil {
			t.Errorf("%+v, %v", m, err)
		}
		remove(n, "info", "mess")
		if _, err := q.Read(f, header); err != ErrVanished {
			t.Error(err)
		}

		// mess alone is left for a moment at a message's end.
		n = add(t, made, queuetest.Message{Sender: "s@t", Local: []string{"Ta@b"}})
		f, err = q.Find(n)
		must(t, err)
		remove(n, "local", "info")
		m, err = q.Read(f, header)
		if err != nil || m.State() != S2 || m.Sender != "" {
			t.Errorf("%+v, %v", m, err)
		}

		n = add(t, made, queuetest.Message{State: "S4", Sender: "s@t", Local: []string{"Ta@b"}})
		f, err = q.Find(n)
		must(t, err)
		put(t, made.Path("info", n), "Fs@t\x00")
		put(t, made.Path("local", n), "Ta@b\x00")
		remove(n, "intd", "todo")
		m, err = q.Read(f, header)
		if err != nil || m.State() != S5 || len(m.Recipients) != 1 || m.Recipients[0].Channel != "local" {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

// TestHeader proves how a header is read: to its first empty line, folded
// fields whole, in bounds.
func TestHeader(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	long := strings.Repeat("x", 100<<10)
	for name, test := range map[string]struct{ body, subject string }{
		"plain":              {"Subject: a\n\nSubject: b\n", " a"},
		"folded":             {"Subject: a\n b\n\tc\nTo: x\n\n", " a\n b\n\tc"},
		"CRLF":               {"Subject: a\r\n b\r\n\r\nSubject: c\r\n", " a\r\n b"},
		"case and blank":     {"sUBJECT \t: a\n\n", " a"},
		"first counts":       {"Subject: a\nSubject: b\n\n", " a"},
		"empty":              {"Subject:\n\n", ""},
		"no end":             {"Subject: a", " a"},
		"body only":          {"\nSubject: a\n", "none"},
		"other fields":       {"X-Subject: a\nSubjects: b\nSubject-X: c\nSubject\n\n", "none"},
		"far":                {"X: " + long + "\nSubject: a\n\n", " a"},
		"long":               {"Subject: " + long + "\n\n", (" " + long)[:64<<10]},
		"long, then another": {"To: " + long + "\nSubject: a\n\n", " a"},
		"over a megabyte":    {strings.Repeat("X: "+long+"\n", 11) + "Subject: a\n\n", "none"},
		"binary":             {"Subject: \x00\xff\n\n", " \x00\xff"},
	} {
		m := readMessage(t, q, add(t, made, queuetest.Message{Local: []string{"Ta@b"}, Body: test.body}))
		f := m.Header.Subject
		if f.Present != (test.subject != "none") || f.Present && string(f.Raw) != test.subject || m.Problems != nil {
			t.Errorf("%s: %.100q, %v, %v", name, f.Raw, f.Present, m.Problems)
		}
	}
}

// TestHeaderEnd proves that the header's end is seen wherever the reads part it.
func TestHeaderEnd(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	for _, end := range []string{"\n\n", "\r\n\r\n"} {
		for at := firstBuf - 6; at < firstBuf+3; at++ {
			put(t, made.Path("mess", n), "X: "+strings.Repeat("x", at-3)+end+"Subject: body\n")
			if m := readMessage(t, q, n); m.Header.Subject.Present {
				t.Errorf("%q at %d: the body's Subject was read", end, at)
			}
			put(t, made.Path("mess", n), "X: "+strings.Repeat("x", at-3)+end[:len(end)/2]+"Subject: head"+end)
			if m := readMessage(t, q, n); m.Subject() != "head" {
				t.Errorf("%q at %d: %q", end, at, m.Subject())
			}
		}
	}
}

// TestAccessTime proves that reading leaves the access time of every piece as
// it was, and that who may not ask for that reads no half received message.
func TestAccessTime(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	old := time.Now().Add(-100 * time.Hour)
	var numbers []uint64
	for _, state := range []string{"S2", "S3", "S4", "S5"} {
		n := add(t, made, queuetest.Message{State: state, Local: []string{"Ta@b"}, Body: "Subject: x\n\n"})
		numbers = append(numbers, n)
	}
	for _, n := range numbers {
		for _, p := range q.places {
			if err := os.Chtimes(made.Path(p.String(), n), old, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		m := readMessage(t, q, n)
		if len(m.Problems) > 0 || m.Subject() != "x" {
			t.Errorf("%+v", m)
		}
		f, err := q.OpenMessage(m.Found)
		must(t, err)
		buf := make([]byte, 10)
		_, err = f.Read(buf)
		must(t, err)
		must(t, f.Close())
		for _, p := range q.places {
			var st unix.Stat_t
			if unix.Lstat(made.Path(p.String(), n), &st) == nil && !timeOf(st.Atim).Equal(old) {
				t.Errorf("%s of %s: read at %v", p, m.State(), timeOf(st.Atim))
			}
		}
	}
}

// TestAccessTimeOther proves that a user who is neither root nor the owner
// reads queued messages, and of half received ones only that they are there.
func TestAccessTimeOther(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	made, q := newQueue(t, queuetest.Layout{})
	half := add(t, made, queuetest.Message{State: "S2", Body: "Subject: x\n\n"})
	whole := add(t, made, queuetest.Message{State: "S4", Local: []string{"Ta@b"}, Body: "Subject: x\n\n"})
	for _, n := range []uint64{half, whole} {
		for _, p := range []string{"mess", "todo", "intd"} {
			must(t, os.Chmod(filepath.Dir(made.Path(p, n)), 0o755))
		}
		_, err := q.Find(n) // opens the directories that only root may
		must(t, err)
	}
	asNobody(t, func() {
		m, err := q.Read(Found{half, 1 << Mess}, true)
		if err != nil {
			t.Error(err)
			return
		}
		if m.Subject() != "" || len(m.Problems) != 1 || !errors.Is(m.Problems[0], ErrNotRead) || m.Size == 0 {
			t.Errorf("%+v", m)
		}
		if _, err := q.OpenMessage(m.Found); !errors.Is(err, ErrNotRead) {
			t.Error(err)
		}
		f := Found{whole, 1<<Mess | 1<<Todo | 1<<Intd}
		m, err = q.Read(f, true)
		if err != nil || m.Subject() != "x" || len(m.Problems) != 0 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// TestOpenMessage proves that a text is opened only where it is a regular file.
func TestOpenMessage(t *testing.T) {
	made, q := newQueue(t, queuetest.Layout{})
	n := add(t, made, queuetest.Message{Local: []string{"Ta@b"}})
	f, err := q.Find(n)
	must(t, err)
	must(t, os.Remove(made.Path("mess", n)))
	if _, err := q.OpenMessage(f); err != ErrVanished {
		t.Error(err)
	}
	path, _ := filepath.Rel(made.Dir, made.Path("mess", n))
	must(t, unix.Mkfifo(made.Path("mess", n), 0o600))
	_, err = q.OpenMessage(f)
	wantError(t, err, ErrNotRegular, path)
	must(t, os.Remove(made.Path("mess", n)))
	must(t, os.Symlink("/etc/passwd", made.Path("mess", n)))
	_, err = q.OpenMessage(f)
	wantError(t, err, ErrNotRegular, path)
}

// TestJSON proves the line of a message: its fields, what bytes become that are
// no text, and that it is one line without control characters.
func TestJSON(t *testing.T) {
	m := &Message{Found: Found{Number: 1 << 40, places: 1<<Mess | 1<<Info}, Sender: "<a&b>@c\xff\\", Birth: time.Unix(1700000000, 5),
		Size: 7, Recipients: []Recipient{{"x\n\u009b\x7fé", "local", true}, {"y", "", false}}}
	m.Header.Subject = Field{[]byte(" =?utf-8?B?5pel?=\u2028 \xfe"), true}
	line, err := m.JSON()
	must(t, err)
	const want = `{"number":1099511627776,"state":"S5","sender":"<a&b>@c\\377\\\\",` +
		`"recipients":[{"address":"x\n\u009b\u007fé","channel":"local","done":true},{"address":"y","channel":"","done":false}],` +
		`"birth":"2023-11-14T22:13:20Z","size":7,"subject":"日\u2028 \\376","bouncing":false}`
	if string(line) != want {
		t.Errorf("%s\nwant %s", line, want)
	}
	if !json.Valid(line) {
		t.Error("not JSON")
	}
	line, err = (&Message{Found: Found{Number: 5, places: 1 << Bounce}, Bouncing: true}).JSON()
	must(t, err)
	if want := `{"number":5,"state":"orphan","sender":"","recipients":[],"birth":null,"size":0,"subject":"","bouncing":true}`; string(line) != want {
		t.Errorf("%s", line)
	}
	// Different bytes stay different.
	seen := map[string]string{}
	for _, s := range []string{"\xff", `\377`, `\\377`, "ÿ", "\xc3", `\`, `\\`} {
		if was, twice := seen[escape.Text(s)]; twice {
			t.Errorf("%q and %q are both %q", was, s, escape.Text(s))
		}
		seen[escape.Text(s)] = s
	}
}
