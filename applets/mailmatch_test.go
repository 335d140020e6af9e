package applets

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/message"
)

// runMatch runs mailmatch in this process, on a message, with an envelope.
func runMatch(in io.Reader, args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	variables := map[string]string{"SENDER": "boss@example.com", "RECIPIENT": "hanako@example.jp"}
	env := &cli.Env{
		Stdin: in, Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv:    func(name string) string { return variables[name] },
		LookupEnv: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
		Now:       time.Now,
		Root:      "/nonexistent",
	}
	status = Main(env, append([]string{"mailmatch"}, args...))
	return out.String(), errs.String(), status
}

// mustMatch ends the test where the status is another or something was said.
func mustMatch(t *testing.T, want int, what string, in io.Reader, args ...string) {
	t.Helper()
	if out, errs, status := runMatch(in, args...); status != want || out+errs != "" {
		t.Errorf("%s: %.200q: status %d, %q; want %d", what, args, status, out+errs, want)
	}
}

// matchSubjects are Japanese and mixed texts, random ones of what JIS X 0208 has too.
func matchSubjects(r *rand.Rand) []string {
	list := []string{"未承諾広告※", "Re: 至急 のご連絡", "=?x", "カタカナ、ひらがな。ＡＢＣ", "表示ソ能"}
	const letters = "あいうえおアイウエオ漢字日本語件名表能ソ申、。「」 abcXYZ019[](){}.*+?\\|^$=_"
	runes := []rune(letters)
	for range 40 {
		var b strings.Builder
		b.WriteString("あ")
		for range r.IntN(60) {
			b.WriteRune(runes[r.IntN(len(runes))])
		}
		b.WriteString("字")
		list = append(list, b.String())
	}
	return list
}

// writings returns a header field's value in each way that mail has for it: encoded words of
// all charsets, in B and Q, folded where they are long, one word, one for each
// character, and raw.
func writings(t *testing.T, text string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, c := range charset.Charsets {
		raw, err := c.Encode(text)
		must(t, err)
		words, err := message.EncodedWords(c, text, len("Subject: "))
		must(t, err)
		all[c.Name+" B, folded"] = words
		all[c.Name+" B, one word"] = "=?" + c.Name + "?B?" + base64.StdEncoding.EncodeToString(raw) + "?="
		all[c.Name+" Q"] = "=?" + strings.ToLower(c.Name) + "?q?" + strings.ReplaceAll(fmt.Sprintf("% X", string(raw)), " ", "=")
		all[c.Name+" Q"] = strings.Replace(all[c.Name+" Q"], "?q?", "?q?=", 1) + "?="
		var each []string
		for _, r := range text {
			one, err := c.Encode(string(r))
			must(t, err)
			each = append(each, "=?"+c.Name+"?B?"+base64.StdEncoding.EncodeToString(one)+"?=")
		}
		all[c.Name+" B, each character"] = strings.Join(each, "\n\t")
		if !strings.Contains(text, "=?") {
			all[c.Name+" raw"] = string(raw)
		}
	}
	return all
}

// TestMatchWritings proves that a subject is found in whatever charset and way it was
// written, whole and from its begin to its end, with LF and with CR LF, and that
// another is not (facts 4.2: what grep, maildrop and sieve cannot).
func TestMatchWritings(t *testing.T) {
	for _, text := range matchSubjects(rand.New(rand.NewPCG(1, 15))) {
		pattern := "^" + regexp.QuoteMeta(text) + "$"
		for way, value := range writings(t, text) {
			mail := "Received: from a\n by b\nSubject: " + value + "\nTo: c\n\nbody\n"
			mustMatch(t, 0, way, strings.NewReader(mail), "Subject", pattern)
			mustMatch(t, 0, way+", CR LF", strings.NewReader(strings.ReplaceAll(mail, "\n", "\r\n")), "Subject", pattern)
			mustMatch(t, 1, way, strings.NewReader(mail), "Subject", pattern+"x")
			mustMatch(t, 1, way, strings.NewReader(mail), "From,To", pattern)
		}
	}
}

// TestMatchPerl proves that Perl's Encode, which others use for this, reads encoded
// words as mailmatch does.
func TestMatchPerl(t *testing.T) {
	var cases [][]string
	var patterns []string
	for _, text := range matchSubjects(rand.New(rand.NewPCG(2, 15))) {
		for way, value := range writings(t, text) {
			if !strings.HasSuffix(way, "raw") {
				cases = append(cases, []string{value})
				patterns = append(patterns, way)
			}
		}
	}
	decoded := perl(t, `$_ = unpack("H*", Encode::encode("UTF-8", Encode::decode("MIME-Header", $w[0]))), print "$_\n";`, cases, "-MEncode", "-MEncode::JP")
	for i, line := range decoded {
		var text []byte
		_, err := fmt.Sscanf(line, "%x", &text)
		must(t, err)
		mustMatch(t, 0, patterns[i], strings.NewReader("Subject: "+cases[i][0]+"\n\n"), "Subject", "^"+regexp.QuoteMeta(string(text))+"$")
	}
}

// TestMatchOffset proves that a regular file's offset stays where it was, whatever is
// asked and whatever the answer, errors too: the next program on the line reads from
// there.
func TestMatchOffset(t *testing.T) {
	file := t.TempDir() + "/mail"
	text := "X: " + strings.Repeat("x", 100000) + "\nSubject: a\n\n" + strings.Repeat("body\n", 100000)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	bin := staticBinary(t)
	for _, at := range []int64{0, 3, int64(len(text)) - 1, int64(len(text)) + 5} {
		for _, args := range [][]string{
			{"Subject", "a"}, {"Subject", "b"}, {"-l", "10"}, {"-l", "10000000"}, {"-l", "10", "Subject", "a"}, {"-x", "99", "X", "xxx"},
			{"-s", "boss"}, {"Subject", "("}, {"--help"}, {"-v", "*", "b"},
		} {
			f, err := os.Open(file)
			must(t, err)
			_, err = f.Seek(at, io.SeekStart)
			must(t, err)
			cmd := exec.Command(bin+"/mailmatch", args...)
			cmd.Stdin = f
			cmd.Env = append(os.Environ(), "SENDER=boss@example.com")
			runEnd(t, cmd)
			now, err := f.Seek(0, io.SeekCurrent)
			must(t, err)
			if now != at {
				t.Errorf("%q: the offset was %d and is %d", args, at, now)
			}
			f.Close()
		}
	}
}

// TestMatchFaults proves that where a call for a message in a regular file fails, the
// status is 111 with a message, never a yes or a no; that an interrupted one is made
// again; and that nothing but pread(2) reads it.
func TestMatchFaults(t *testing.T) {
	needCommand(t, "strace")
	bin := staticBinary(t)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/mail", []byte("Subject: a\n\nbody\n"), 0o600))
	run := func(inject string, args ...string) (ending, string) {
		in, err := os.Open(dir + "/mail")
		must(t, err)
		defer in.Close()
		cmd := exec.Command("strace", append([]string{"-f", "-y", "-qq", "-P", dir + "/mail", "-o", dir + "/trace", "-e", "trace=read,pread64,lseek,fstat", "-e", "signal=none",
			"-e", "inject=" + inject, bin + "/mailmatch"}, args...)...)
		cmd.Stdin = in
		e := runEnd(t, cmd)
		trace, err := os.ReadFile(dir + "/trace")
		must(t, err)
		return e, string(trace)
	}
	for _, fault := range []string{"fstat:error=EIO", "lseek:error=EIO", "pread64:error=EIO", "pread64:error=EACCES:when=1", "pread64:error=ESTALE"} {
		for _, args := range [][]string{{"Subject", "a"}, {"-v", "Subject", "b"}, {"-x", "99", "Subject", "a"}, {"-l", "1", "-x", "100", "Subject", "b"}} {
			e, trace := run(fault, args...)
			if !strings.Contains(trace, "(INJECTED)") {
				t.Fatalf("%s met nothing:\n%s", fault, trace)
			}
			if e.status != 111 || e.stdout != "" || !strings.HasPrefix(e.stderr, "mailmatch: standard input: ") || strings.Count(e.stderr, "\n") != 1 {
				t.Errorf("%s, %q: status %d, %q, %q", fault, args, e.status, e.stdout, e.stderr)
			}
		}
	}
	e, trace := run("pread64:error=EINTR:when=1", "Subject", "a")
	if e.status != 0 || e.stderr != "" || !strings.Contains(trace, "(INJECTED)") || strings.Contains(trace, " read(0<") {
		t.Errorf("status %d, %q\n%s", e.status, e.stderr, trace)
	}
}

// TestMatchReadErrors proves that a message that cannot be read is 111, with any
// status that was asked for and with -v, and that what comes in pieces is read like what comes at once;
// where the answer was known before, no error is needed for it.
func TestMatchReadErrors(t *testing.T) {
	broken := &os.PathError{Op: "read", Path: "/dev/stdin", Err: syscall.EIO}
	const mail = "A: b\nSubject: =?utf-8?Q?=E4=BB=B6?=\n\nbody"
	for _, options := range [][]string{nil, {"-v"}, {"-x", "0"}, {"-x", "99"}, {"-x", "100", "-v"}} {
		for n := range len(mail) {
			in := io.MultiReader(strings.NewReader(mail[:n]), iotest.ErrReader(broken))
			_, errs, status := runMatch(in, append(options, "Subject", "x")...)
			if ended := n > strings.Index(mail, "\n\n")+1; ended != (errs == "") || !ended && status != 111 || ended && status == 111 {
				t.Errorf("%q, %d bytes: status %d, %q", options, n, status, errs)
			}
			if errs != "" && errs != "mailmatch: standard input: input/output error\n" {
				t.Errorf("%q", errs)
			}
			in = io.MultiReader(strings.NewReader(mail[:n]), iotest.ErrReader(broken))
			if _, errs, status := runMatch(in, append(options, "-l", "1000", "A", "")...); status != 111 || errs == "" {
				t.Errorf("%q, -l, %d bytes: status %d, %q", options, n, status, errs)
			}
		}
	}
	for n := range len(mail) + 1 {
		for way, in := range map[string]io.Reader{"bytes": iotest.OneByteReader(strings.NewReader(mail[:n])), "end": iotest.DataErrReader(strings.NewReader(mail[:n]))} {
			_, _, want := runMatch(strings.NewReader(mail[:n]), "Subject", "件")
			mustMatch(t, want, way, in, "Subject", "件")
		}
		for larger := range len(mail) + 2 {
			want := 1
			if n > larger {
				want = 0
			}
			mustMatch(t, want, "size", iotest.HalfReader(strings.NewReader(mail[:n])), "-l", fmt.Sprint(larger))
		}
	}
	wide := errors.New("a\x1b[31m\nmessage")
	if _, errs, status := runMatch(iotest.ErrReader(wide), "A", ""); status != 111 || errs != "mailmatch: standard input: a\\033[31m\\012message\n" {
		t.Errorf("status %d, %q", status, errs)
	}
}

// TestMatchLongHeader proves that no header of 1 MiB keeps mailmatch busy, neither one
// that was made for that nor one that would have Perl's regular expressions run
// for ever, and that what begins behind the limit is not seen.
func TestMatchLongHeader(t *testing.T) {
	const mib = 1 << 20
	bin := staticBinary(t)
	fill := func(unit string) string { return strings.Repeat(unit, mib/len(unit)) }
	for name, header := range map[string]string{
		"one field":         "A: " + fill("a"),
		"no end of a line":  fill("a"),
		"folded":            "A: " + fill("a\n "),
		"fields":            fill("A: aaaa\n"),
		"fields, CR LF":     fill("A: aaaa\r\n"),
		"names":             fill("A:\n"),
		"lines":             fill("a\n"),
		"words":             "A: " + fill("=?utf-8?B?YWFh?= "),
		"bad words":         "A: " + fill("=?iso-2022-jp?B?//8=?=\n "),
		"bad words, two":    "A: " + fill("=?utf-8?B?/w==?= =?euc-jp?B?/w==?= "),
		"words, one letter": "A: " + fill("=?utf-8?Q?a?=a") + "\n",
		"begins of words":   "A: " + fill("=?utf-8?Q?"),
		"escapes":           "A: " + fill("\x1b$B"),
		"lonely escapes":    "A: " + fill("\x1b"),
		"high bytes":        "A: " + fill("\xa4"),
		"marks":             "A: a" + fill("\u3099"),
		"NUL":               "A: " + fill("\x00"),
	} {
		for _, pattern := range []string{"(a+)+$b", "(a|aa)*(a|aa)*c$", ".*.*.*x=x", "nothing"} {
			cmd := exec.Command(bin+"/mailmatch", "*", pattern)
			cmd.Stdin = strings.NewReader(header + "\nX-Behind: nothing\n\n")
			if len(header) < mib-100 {
				t.Fatalf("%s: %d bytes", name, len(header))
			}
			if len(header) < mib {
				cmd.Stdin = strings.NewReader(header + "\n\nX-Behind: nothing\n\n")
			}
			if e := runEnd(t, cmd); e.late || e.status != 1 || e.stdout+e.stderr != "" {
				t.Errorf("%s, %s: status %d, late %v, %.200q", name, pattern, e.status, e.late, e.stdout+e.stderr)
			}
		}
	}
}

// FuzzMatch proves of any message and any arguments: the status is 0, 1 or 111, with -x
// 0, the code or 111; who gets 111 is told why, and nobody else anything; -v turns
// the answer round; a message with CR LF, and one that comes by bytes, is the same.
func FuzzMatch(f *testing.F) {
	for _, s := range []struct{ mail, field, pattern string }{
		{"Subject: =?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cBsoQg==?=\n\n", "Subject", "未承諾"},
		{"From a@b\nFrom: \"=?utf-8?q?=E3=81=82?=\"\r\n <a@b>\r\n\r\n", "From,Sender", "^.あ"},
		{"a : \x1b$B$\"\x1b(B\n b\n\xa4\xa2\n", "*", "(?-i)A|\\x{3042}"},
		{"\n", "*", ""}, {"A: か\u3099\x00\xff", "a", "が"}, {"A:", "-x", "("}, {"A:", "a", "a{1001}"}, {"A:", "X-*", "\xff"},
	} {
		f.Add([]byte(s.mail), s.field, s.pattern, uint8(0))
		f.Add([]byte(s.mail), s.field, s.pattern, uint8(0xff))
	}
	f.Fuzz(func(t *testing.T, mail []byte, field, pattern string, bits uint8) {
		var options []string
		codes := []string{"0", "99", "100", "111"}
		yes, no := 0, 1
		if bits&1 != 0 {
			code := codes[bits>>1&3]
			fmt.Sscan(code, &yes)
			no = 0
			options = append(options, "-x", code)
		}
		if bits&8 != 0 {
			options = append(options, "-l", fmt.Sprint(bits>>4))
		}
		if bits&16 != 0 {
			options = append(options, "-s", pattern)
		}
		if bits&32 != 0 {
			options = append(options, "-r", "hanako")
		}
		args := append(options, "--", field, pattern)
		out, errs, status := runMatch(bytes.NewReader(mail), args...)
		failed := errs != ""
		if failed && (status != 111 || out != "" || strings.Count(errs, "\n") != 2 || !utf8.ValidString(errs)) || !failed && status != yes && status != no {
			t.Fatalf("%q: status %d, %q, %q", args, status, out, errs)
		}
		if want := bits&1 != 0 && yes == 100 && status == 100; want != (out == refusal) || !want && out != "" {
			t.Fatalf("%q: status %d, %q", args, status, out)
		}
		_, errs2, turned := runMatch(bytes.NewReader(mail), append([]string{"-v"}, args...)...)
		if failed != (errs2 != "") || !failed && yes != no && turned == status {
			t.Fatalf("%q: status %d, with -v %d: %s", args, status, turned, errs2)
		}
		if _, _, s := runMatch(iotest.OneByteReader(bytes.NewReader(mail)), args...); s != status {
			t.Fatalf("%q: status %d, by bytes %d", args, status, s)
		}
		if bytes.IndexByte(mail, '\r') < 0 && bits&8 == 0 {
			if _, _, s := runMatch(bytes.NewReader(bytes.ReplaceAll(mail, []byte("\n"), []byte("\r\n"))), args...); s != status {
				t.Fatalf("%q: status %d, with CR LF %d", args, status, s)
			}
		}
	})
}
