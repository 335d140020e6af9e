package applets

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kowaza/internal/message"
	"kowaza/internal/queue/queuetest"
)

// perlChooses says in Perl which of one message's lines and fields a letter's
// expression is about, and whether it matches: the words are the letter, the
// expression and the file. It knows nothing of the applet.
const perlChooses = `
	my ($letter, $re, $file) = @w;
	local $/ = "\n";
	open my $in, "<:raw", $file or die "$file: $!";
	my ($body, $yes, @fields) = (0, 0);
	my $match = $letter =~ /[hbX]/ ? sub { $_[0] =~ /$re/i } : sub { $_[0] =~ /$re/ };
	while (defined(my $line = <$in>)) {
		$line =~ s/\r?\n\z//;
		if (!$body && $line eq "") { $body = 1; next }
		if ($body) { $yes ||= $match->($line) if $letter =~ /b/i; next }
		$yes ||= $match->($line) if $letter =~ /h/i;
		if ($line =~ /^[ \t]/ && @fields) { $fields[-1] .= $line } else { push @fields, $line }
	}
	my $name = { S => "subject", X => "to|cc|bcc" }->{$letter};
	if ($name) {
		for (@fields) { $yes ||= $match->($2) if /^($name)[ \t]*:[ \t]*(.*)\z/is }
	}
	print $yes ? "1\n" : "0\n";`

// randomMessage returns a text whose lines are of few words, so that patterns
// meet them, in all forms that mail has, or only in those that read as they stand.
func randomMessage(r *rand.Rand, plain bool) string {
	words := []string{"alpha", "ALPHA", "beta", "Beta", "x@b.example", "y@c.example", "\x00", "\xff\xc3", "日本", "\x1b$B7o\x1b(B", "a.b", "[", "$", "=?UTF-8?B?YWxwaGE=?="}
	if plain {
		words = slices.DeleteFunc(words, func(w string) bool { return w[0] == '=' || w[0] < ' ' || w[0] >= 0x80 })
	}
	line := func() string {
		var b strings.Builder
		for range r.IntN(4) {
			b.WriteString(words[r.IntN(len(words))] + []string{" ", "", "\t"}[r.IntN(3)])
		}
		return b.String()
	}
	end := []string{"\n", "\r\n"}[r.IntN(2)]
	var b strings.Builder
	for range r.IntN(6) {
		name := []string{"Subject", "SUBJECT", "To", "cc", "Bcc", "X-To", "From", "Resent-To", "subject "}[r.IntN(9)]
		b.WriteString(name + ":" + []string{" ", "", "\t "}[r.IntN(3)] + line() + end)
		for range r.IntN(3) {
			if !plain {
				b.WriteString(" " + line() + end)
			}
		}
	}
	if r.IntN(5) > 0 {
		b.WriteString(end)
	}
	for range r.IntN(5) {
		b.WriteString(line() + end)
	}
	if r.IntN(3) == 0 {
		b.WriteString(line()) // without an end
	}
	return b.String()
}

// TestChooseOracle proves that -h, -H, -b, -B, -S and -X choose what Perl's own
// expressions do, on ASCII patterns over random messages; and of headers that read
// otherwise than they stand, what those do and perhaps more.
func TestChooseOracle(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	q.Direct = true
	r := rand.New(rand.NewPCG(5, 11))
	var all []uint64
	plain := make(map[uint64]bool)
	for i := range 80 {
		n := q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: randomMessage(r, i < 40) + "."})
		all, plain[n] = append(all, n), i < 40
	}
	patterns := []string{"alpha", "^alpha", "beta$", "a.b", `a\.b`, `\[`, "^$", "^ ", "(alpha|beta).*@", `x@b\.example`, "[[:upper:]]{4}", `^\S+: *alpha`, `\bbeta\b`,
		`\$`, "a{2,3}", "^Subject", "(?i)ALPHA", "^Received: ", `b\.example\s`, "[^ -~]"}
	var cases [][]string
	for _, letter := range []string{"h", "H", "b", "B", "S", "X"} {
		for _, p := range patterns {
			for _, n := range all {
				cases = append(cases, []string{letter, p, q.Path("mess", n)})
			}
		}
	}
	yes := perl(t, perlChooses, cases)
	hits := 0
	for i := 0; i < len(cases); i += len(all) {
		letter, p := cases[i][0], cases[i][1]
		var want []uint64
		for j, n := range all {
			if yes[i+j] == "1" {
				want = append(want, n)
			}
		}
		slices.Sort(want)
		got := slotted(t, q.ok("qmHandle", "--dry-run", "-"+letter+p))
		if strings.Contains("hHSX", letter) {
			// An encoded word reads as alpha, too, and a folded line goes on.
			got = slices.DeleteFunc(got, func(n uint64) bool { return !slices.Contains(want, n) && !plain[n] })
		}
		if !slices.Equal(got, want) {
			t.Errorf("-%s%s: %v\nwant %v", letter, p, got, want)
		}
		if len(want) > 0 && len(want) < len(all) {
			hits++
		}
	}
	if hits < len(patterns) {
		t.Errorf("only %d patterns tell messages apart", hits)
	}
}

// chosenBy returns the names of the messages that would go.
func (q *testQueue) chosenBy(names map[uint64]string, options ...string) string {
	q.t.Helper()
	var chosen []string
	for _, n := range slotted(q.t, q.ok(append([]string{"qmHandle", "--dry-run"}, options...)...)) {
		chosen = append(chosen, names[n])
	}
	slices.Sort(chosen)
	return strings.Join(chosen, " ")
}

// TestChooseSender proves that -f is the whole sender, the empty one too, that
// -F is a part of it, and that several criteria choose what any of them does.
func TestChooseSender(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	for name, sender := range map[string]string{
		"alice": "alice@a.example", "ALICE": "ALICE@a.example", "malice": "malice@a.example", "null": "", "double": "#@[]",
		"verp": "list-@a.example-@[]", "bob": "bob@b.example", "dot": "alice@aXexample",
	} {
		names[q.add(queuetest.Message{Sender: sender, Remote: []string{"Tx@b.example"}})] = name
	}
	names[q.add(queuetest.Message{State: "S4", Sender: "bob@b.example", Remote: []string{"Tx@b.example"}})] = "queued"
	for _, test := range []struct {
		options string
		want    string
	}{
		{"-falice@a.example", "alice"},
		{"-f", "null"},
		{"-f#@[]", "double"},
		{"-flist-@a.example-@[]", "verp"},
		{"-fbob@b.example", "bob queued"},
		{"-fnobody", ""},
		{"-fnobody -falice@a.example", "alice"},
		{"-falice@a.example -fnobody", "alice"},
		{"-falice@a.example -falice@a.example", "alice"},
		{"-f -fbob@b.example -Snobody", "bob null queued"},
		{"-Falice@a.example", "alice dot malice"},
		{"-F^alice", "alice dot"},
		{"-F(?i)^alice", "ALICE alice dot"},
		{"-F^$", "null"},
		{"-F@\\[\\]$", "double verp"},
		{"-D", "ALICE alice bob dot double malice null queued verp"},
		{"-D -fnobody", "ALICE alice bob dot double malice null queued verp"},
	} {
		if got := q.chosenBy(names, strings.Fields(test.options)...); got != test.want {
			t.Errorf("%s: %q; want %q", test.options, got, test.want)
		}
	}
	if out := q.ok("qmHandle", "-falice@a.example", "-Falice@a", "-s", "-falice@a.example"); strings.Count(out, "slotted") != 3 || strings.Count(out, "Deleted ") != 1 ||
		!strings.Contains(out, "Total messages: 6\n") || !strings.Contains(out, "No messages from alice@a.example found in the queue!\n") {
		t.Errorf("%s", out)
	}
}

// TestChooseAddressed proves that -x is a whole word of To, Cc or Bcc, in any
// case, and nothing of other fields or of the envelope.
func TestChooseAddressed(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	for name, header := range map[string]string{
		"to": "To: <x@b.example>", "case": "TO: X@B.example", "cc": "Cc: a@a.example,\n\tx@b.example", "bcc": "bcc: x@b.example, y@b.example",
		"longer": "To: xx@b.example", "subdomain": "To: x@b.example.org", "dot": "To: x@bXexample", "from": "From: x@b.example",
		"body": "To: a@a.example\n\nTo: x@b.example", "folded": "To:\n x@b.example", "blank": "To : x@b.example",
	} {
		names[q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: header + "\n\nx@b.example\n"})] = name
	}
	// A dot ends a word: as in the script, x@b.example.org holds it.
	const want = "bcc blank case cc folded subdomain to"
	for _, option := range []string{"-xx@b.example", `-X\bx@b\.example\b`} {
		if got := q.chosenBy(names, option); got != want {
			t.Errorf("%s: %q; want %q", option, got, want)
		}
	}
	if got := q.chosenBy(names, "-xnobody", "-xa@a.example"); got != "body cc" {
		t.Errorf("%q", got)
	}
}

// subjects are 件名 in the charsets of mail from Japan, raw and encoded.
var subjects = map[string]string{
	"utf8":      "件名",
	"jis":       "\x1b$B7oL>\x1b(B",
	"euc":       "\xb7\xef\xcc\xbe",
	"sjis":      "\x8c\x8f\x96\xbc",
	"utf8 B":    "=?UTF-8?B?5Lu25ZCN?=",
	"utf8 Q":    "=?utf-8?q?=E4=BB=B6=E5=90=8D?=",
	"jis B":     "=?ISO-2022-JP?B?GyRCN29MPhsoQg==?=",
	"euc B":     "=?EUC-JP?B?t+/Mvg==?=",
	"sjis B":    "=?Shift_JIS?B?jI+WvA==?=",
	"two words": "=?UTF-8?B?5Lu2?=\n =?UTF-8?B?5ZCN?=",
	"folded":    "=?UTF-8?B?5Lu25ZCN?=\n\tplain",
}

// TestSubjects proves that -S finds a subject as it reads, in four charsets, and
// as it stands, and that a list shows it.
func TestSubjects(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	var all []string
	for name, subject := range subjects {
		names[q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: "subject: " + subject + "\n\n件名\n"})] = name
		all = append(all, name)
	}
	names[q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: "X-Subject: 件名\n\n件名\nSubject: 件名\n"})] = "none"
	slices.Sort(all)
	for _, test := range []struct{ option, want string }{
		{"-S件名", strings.Join(all, " ")},
		{"-S^件名$", strings.Join(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "folded" }), " ")},
		{`-SUTF-8\?`, "folded two words utf8 B"},
		{`-S(?i)=\?utf-8`, "folded two words utf8 B utf8 Q"},
		{"-Splain", "folded"},
		{`-S名\s+plain`, "folded"},
		{"-S名件", ""},
	} {
		if got := q.chosenBy(names, test.option); got != test.want {
			t.Errorf("%s: %q; want %q", test.option, got, test.want)
		}
	}
	if got := strings.Count(q.ok("qmHandle", "-l"), "\n  Subject: 件名"); got != len(subjects) {
		t.Errorf("-l shows %d of %d subjects", got, len(subjects))
	}
}

// TestChooseShown proves that -h, -H, -x, -X, -b and -B find what a reader shows, too:
// encoded words, folded lines, text in base64 and quoted-printable and in four
// charsets, in a part or as the whole, and that what stands there is still found.
func TestChooseShown(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	const typed = "Content-Type: text/plain; charset="
	for name, text := range map[string]string{
		"from":   "From: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= <a@b.example>\n\nx\n",
		"to":     "To: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\n <v@r.example>\n\nx\n",
		"folded": "Subject: one\n\ttwo\n\nx\n",
		"jis":    typed + "ISO-2022-JP\n\n\x1b$BF|K\\8l\x1b(B\n",
		"b64":    typed + "UTF-8\nContent-Transfer-Encoding: base64\n\n5pel5pys6Kqe\n",
		"qp":     typed + "UTF-8\nContent-Transfer-Encoding: quoted-printable\n\n=E6=97=A5=E6=9C=AC=E8=AA=\n=9E and On=\ne\n",
		"euc":    "\n\xc6\xfc\xcb\xdc\xb8\xec\n",
		"sjis":   "\n\x93\xfa\x96\x7b\x8c\xea\n",
		"utf8":   "\n日本語\n",
		"part":   "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Transfer-Encoding: base64\n\n5pel5pys6Kqe\n--a--\n",
		"none":   "Subject: two\n\nOne\n",
	} {
		names[q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: text})] = name
	}
	const bodies = "b64 euc jis part qp sjis utf8"
	for _, test := range []struct{ option, want string }{
		{"-h日本", "from to"}, {"-H^From: 日本 <", "from"}, {"-H^from: 日本", ""}, {"-hfrom: 日本", "from"},
		{"-H^Subject: one two$", "folded"}, {"-hISO-2022-JP\\?B", "from to"}, {"-H^\ttwo$", "folded"},
		{"-x日本", ""}, {"-X^日本 <v@r", "to"}, {"-xv@r.example", "to"},
		{"-b日本語", bodies}, {"-B^日本語$", "b64 euc jis part sjis utf8"}, {"-bone", "none qp"}, {"-Bone", ""}, {"-B=9E and", "qp"},
		{"-b5pel5pys6Kqe", "b64 part"}, {"-h日本語", ""},
	} {
		if got := q.chosenBy(names, test.option); got != test.want {
			t.Errorf("%s: %q; want %q", test.option, got, test.want)
		}
	}
	if out := q.ok("qmHandle", "-l"); !strings.Contains(out, "  Subject: one two\n") || !strings.Contains(out, "  To: 日本 <v@r.example>\n") {
		t.Errorf("%s", out)
	}
}

// TestLongLines proves that a line longer than what is looked at as one is still
// found, wherever in it the pattern stands, and that where it is cut neither an
// empty line comes to be, which would end the header, nor a field.
func TestLongLines(t *testing.T) {
	const cut = message.MaxLine
	x := func(n int) string { return strings.Repeat("x", n) }
	q := newTestQueue(t, queuetest.Layout{})
	names := make(map[uint64]string)
	for name, text := range map[string]string{
		"field":         "X-A: " + x(cut-5) + "To: x@b.example\nX-B: after\n\ntext\n",
		"exact header":  "X-A: " + x(cut-5) + "\nX-B: after\n\ntext\n",
		"twice header":  "X-A: " + x(2*cut-5) + "\nX-B: after\n\ntext\n",
		"longer header": "X-A: " + x(cut) + "\nX-B: after\n\ntext\n",
		"exact body":    "X-B: after\n\n" + x(cut) + "\nneedle\n",
		"in the body":   "X-B: after\n\n" + x(cut+5) + "needle" + x(100) + "\n",
		"begin":         "X-B: after\n\nneedle" + x(3*cut),
		"short":         "X-B: after\n\nneedle\n",
	} {
		names[q.add(queuetest.Message{Remote: []string{"Tx@b.example"}, Body: text})] = name
	}
	const all = "begin exact body exact header field in the body longer header short twice header"
	for _, test := range []struct{ option, want string }{
		{"-HX-B: after", all},
		{"-BX-B: after", ""},
		{"-Bneedle", "begin exact body in the body short"},
		{"-B^needle", "begin exact body short"},
		{"-B^$", ""},
		{"-xx@b.example", ""},
		{"-Hx$", "exact header field longer header twice header"},
	} {
		if got := q.chosenBy(names, test.option); got != test.want {
			t.Errorf("%s: %q; want %q", test.option, got, test.want)
		}
	}
}

// TestChooseAgeAndRecipient proves what --older-than and --recipient choose, by
// themselves, where they narrow a list, and beside other criteria.
func TestChooseAgeAndRecipient(t *testing.T) {
	q := newTestQueue(t, queuetest.Layout{Suppl: 1})
	names := make(map[uint64]string)
	age := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	const day = 24 * time.Hour
	for name, m := range map[string]queuetest.Message{
		"young":     {Remote: []string{"Tx@b.example"}, Birth: age(3*day - time.Minute)},
		"old":       {Remote: []string{"Ty@b.example"}, Birth: age(3*day + time.Minute)},
		"done":      {Remote: []string{"Dx@B.Example", "Ty@b.example"}, Birth: age(20 * day)},
		"local":     {Local: []string{"Tx@b.example"}, Birth: age(time.Hour)},
		"suppl":     {Suppl: [][]string{{"Tx@b.example"}}, Birth: age(time.Hour)},
		"queued":    {State: "S4", Remote: []string{"Tx@b.example"}, Birth: age(5 * day)},
		"case":      {Remote: []string{"TX@b.example"}, Birth: age(time.Hour)},
		"longer":    {Remote: []string{"Txx@b.example", "Tx@b.example.org"}, Birth: age(time.Hour)},
		"header":    {Remote: []string{"Ty@b.example"}, Body: "To: x@b.example\n\n", Birth: age(time.Hour)},
		"no domain": {Local: []string{"Tx"}, Birth: age(time.Hour)},
		"prefix":    {Local: []string{"Tvirtual-x@b.example"}, Birth: age(time.Hour)},
		"two ats":   {Remote: []string{`T"a@b"@c.example`}, Birth: age(time.Hour)},
	} {
		m.Sender = "sender@a.example"
		names[q.add(m)] = name
	}
	listed := func(options ...string) string {
		t.Helper()
		var got []string
		for _, n := range numbers(t, q.ok(append([]string{"qmHandle", "-l", "-N"}, options...)...)) {
			got = append(got, names[n])
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	for _, test := range []struct{ options, chosen, letters string }{
		{"--older-than 3d", "done old queued", ""},
		{"--older-than 72h", "done old queued", ""},
		{"--older-than 4320m", "done old queued", ""},
		{"--older-than 259200s", "done old queued", ""},
		{"--older-than 2w", "done", ""},
		{"--older-than 36500d", "", ""},
		{"--recipient x@b.example", "done local queued suppl young", ""},
		{"--recipient x@B.EXAMPLE", "done local queued suppl young", ""},
		{"--recipient X@b.example", "case", ""},
		{"--recipient x", "no domain", ""},
		{`--recipient "a@b"@C.example`, "two ats", ""},
		{"--recipient nobody@b.example", "", ""},
		{"--older-than 3d --recipient x@b.example", "done queued", ""},
		{"--recipient x --recipient X@b.example", "", ""},
		// Beside letters, which are a union, they narrow.
		{"-fsender@a.example -xx@b.example --older-than 2w", "done", "done"},
		{"-fsender@a.example --recipient x", "no domain", "no domain"},
		{"-f -xx@b.example --older-than 30m", "header", "header"},
		{"-D --older-than 3d --recipient y@b.example", "done old", "done old"},
	} {
		if got := q.chosenBy(names, strings.Fields(test.options)...); got != test.chosen {
			t.Errorf("%s: %q; want %q", test.options, got, test.chosen)
		}
		// What a list shows is what goes.
		if test.letters == "" {
			if got := listed(strings.Fields(test.options)...); got != test.chosen {
				t.Errorf("-l %s: %q; want %q", test.options, got, test.chosen)
			}
			text := q.ok(append([]string{"qmHandle", "-s"}, strings.Fields(test.options)...)...)
			if want := fmt.Sprintf("Total messages: %d\n", len(slotted(t, q.ok(append([]string{"qmHandle", "--dry-run"}, strings.Fields(test.options)...)...)))); !strings.HasPrefix(text, want) {
				t.Errorf("-s %s: %s; want %s", test.options, text, want)
			}
		}
	}
	// In a list they remove nothing, and beside it only what the criteria choose and
	// they fit; a number that does not fit is there all the same.
	var young uint64
	for n, name := range names {
		if name == "young" {
			young = n
		}
	}
	out := q.ok("qmHandle", "-N", "-d"+strconv.FormatUint(young, 10), "--older-than", "2w")
	if got := slotted(t, out); len(got) > 0 || !strings.Contains(out, fmt.Sprintf("Message %d is not one older than 2w\n", young)) {
		t.Errorf("%v went: %s", got, out)
	}
	if got := slotted(t, q.ok("qmHandle", "-d"+strconv.FormatUint(young, 10), "--older-than", "1d", "--recipient", "x@b.example")); !slices.Equal(got, []uint64{young}) {
		t.Errorf("%v went", got)
	}
	if out := q.ok("qmHandle", "-R", "--older-than", "1s"); strings.Contains(out, "slotted") {
		t.Errorf("%s", out)
	}
	if got := fmt.Sprint(len(q.files())); got != "33" {
		t.Errorf("%s files are left", got)
	}
}
