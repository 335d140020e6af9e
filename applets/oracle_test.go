package applets

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
)

// runOn runs an applet in this process with in as its standard input.
func runOn(in io.Reader, argv ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	env := &cli.Env{
		Stdin: in, Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv: func(string) string { return "" },
		Now:    time.Now,
		Root:   "/nonexistent",
	}
	status = Main(env, argv)
	return out.String(), errs.String(), status
}

// perl runs a Perl program over lines of words in hex and returns a line of
// output for each of them.
func perl(t *testing.T, program string, cases [][]string, modules ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("SKIP perl is not installed")
	}
	var in strings.Builder
	for _, words := range cases {
		for _, w := range words {
			in.WriteString(hex.EncodeToString([]byte(w)) + ",")
		}
		in.WriteString("\n")
	}
	// -1: an empty last word is one too. A program gets its words in @w.
	program = `chomp; my @w = split /,/, $_, -1; pop @w; $_ = pack "H*", $_ for @w; ` + program
	args := append(modules, "-ne", program)
	cmd := exec.Command("perl", args...)
	cmd.Stdin = strings.NewReader(in.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("perl: %d lines for %d cases", len(lines), len(cases))
	}
	return lines
}

// randomWord returns up to max bytes that can stand in an argument: no NUL.
// Half of the words are all of the bytes that a shell, Perl or a terminal minds.
func randomWord(r *rand.Rand, max int) string {
	const odd = "@$%\\\"'`0123<> \n\r\t-=/+\x1b\x7f\xff\xc3"
	b := make([]byte, r.IntN(max+1))
	pick := r.IntN(2) == 0
	for i := range b {
		if pick {
			b[i] = odd[r.IntN(len(odd))]
		} else {
			b[i] = byte(1 + r.IntN(255))
		}
	}
	return string(b)
}

// TestMkdigestOracle proves that mkdigest prints what Digest::MD5 does, for any
// bytes, and that a password from standard input gives the same digest.
func TestMkdigestOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	var cases [][]string
	for i := range 600 {
		max := 80
		if i%20 == 0 {
			max = 5000
		}
		cases = append(cases, []string{randomWord(r, max)})
	}
	for i, want := range perl(t, `print md5_hex($w[0]), "\n"`, cases, "-MDigest::MD5=md5_hex") {
		text := cases[i][0]
		out, errs, status := runOn(strings.NewReader("not read"), "mkdigest", "--", text)
		if out != want+"\n" || errs != "" || status != 0 {
			t.Fatalf("mkdigest %q: %q, %q, status %d; want %s", text, out, errs, status, want)
		}
		at := r.IntN(len(text) + 1)
		if strings.Contains(text[at:], "\n") {
			continue
		}
		for _, in := range []string{text[at:] + "\n", text[at:] + "\nmore\n", text[at:]} {
			if in == "" {
				continue
			}
			out, errs, status := runOn(iotest.OneByteReader(strings.NewReader(in)), "mkdigest", "-p", "-u", "u", "--", text[:at])
			if out != "APOP u "+want+"\n" || errs != "" || status != 0 {
				t.Fatalf("%q | mkdigest -p %q: %q, %q, status %d; want %s", in, text[:at], out, errs, status, want)
			}
		}
	}
}

// TestSmtpauthstrOracle proves that smtpauthstr prints what MIME::Base64 does,
// for any bytes and with every option, and that it can read it again.
func TestSmtpauthstrOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	var cases [][]string // userid, password, authzid, challenge
	for i := range 500 {
		max := 30
		if i%20 == 0 {
			max = 500
		}
		cases = append(cases, []string{randomWord(r, max), randomWord(r, max), randomWord(r, max), "<" + randomWord(r, max) + ">"})
	}
	// RFC 2104 from its text, since Perl comes without an HMAC.
	lines := perl(t, `
		sub hmac { my ($k, $m) = @_; $k = md5($k) if length $k > 64; $k .= "\0" x (64 - length $k);
			md5_hex(($k ^ ("\x5c" x 64)) . md5(($k ^ ("\x36" x 64)) . $m)) }
		my ($u, $p, $z, $c) = @w;
		print join(" ", map { encode_base64($_, "") } join(chr(0), $u, $u, $p),
			join(chr(0), $z, $u, $p), $u, $p, $u . " " . hmac($p, $c)), "\n"`,
		cases, "-MDigest::MD5=md5,md5_hex", "-MMIME::Base64")
	for i, line := range lines {
		user, password, authzid, challenge := cases[i][0], cases[i][1], cases[i][2], cases[i][3]
		want := strings.Split(line, " ")
		nonce := base64.StdEncoding.EncodeToString([]byte(challenge))
		for _, test := range []struct {
			options []string
			want    string
		}{
			{nil, want[0] + "\n"},
			{[]string{"-z", authzid}, want[1] + "\n"},
			{[]string{"-l"}, want[2] + "\n" + want[3] + "\n"},
			{[]string{"-c", nonce}, want[4] + "\n"},
		} {
			argv := append(append([]string{"smtpauthstr"}, test.options...), "--", user)
			out, errs, status := runOn(strings.NewReader("not read"), append(argv, password)...)
			if out != test.want || errs != "" || status != 0 {
				t.Fatalf("%q %q: %q, %q, status %d; want %q", argv, password, out, errs, status, test.want)
			}
			if strings.Contains(password, "\n") {
				continue
			}
			out, errs, status = runOn(iotest.HalfReader(strings.NewReader(password+"\n")), argv...)
			if out != test.want || errs != "" || status != 0 {
				t.Fatalf("%q | %q: %q, %q, status %d; want %q", password, argv, out, errs, status, test.want)
			}
		}
		for _, test := range []struct{ in, want string }{
			{want[0], "authzid: " + escape.String(user) + "\nuserid: " + escape.String(user) + "\npassword: " + escape.String(password) + "\n"},
			{want[1], "authzid: " + escape.String(authzid) + "\nuserid: " + escape.String(user) + "\npassword: " + escape.String(password) + "\n"},
		} {
			out, errs, status := runOn(strings.NewReader(""), "smtpauthstr", "-d", test.in)
			if out != test.want || errs != "" || status != 0 {
				t.Fatalf("-d %s: %q, %q, status %d; want %q", test.in, out, errs, status, test.want)
			}
		}
	}
}

// marked is what mailtest makes of a mail, in one expression.
func marked(mail string) string {
	return strings.ReplaceAll(mail, "\n", "\n<and>\n") + "<and>\n"
}

// mails returns inputs for mailtest: the edges, and random ones.
func mails(r *rand.Rand) []string {
	list := []string{"", "a", "\n", "a\n", "a\nb", "\n\n\n", "\n\na", "\x00", "\x00\n", "\r\n", "\r", "\xff\xc3\n\xe3\x81",
		"<and>\n", "<and>", strings.Repeat("\n", 100000), strings.Repeat("\r\n", 40000)}
	for _, size := range []int{8191, 8192, 8193, 65535, 65536, 65537, 131071, 131072, 131073, 200000} {
		line := strings.Repeat("x", size-1)
		list = append(list, line, line+"\n", line+"\n\n", line+"x\n", "\n"+line, line[:size/2]+"\n"+line[size/2:], strings.Repeat("\n", size))
	}
	for range 40 {
		var b strings.Builder
		for range r.IntN(20) {
			max := []int{3, 80, 1000, 9000, 70000, 200000}[r.IntN(6)]
			for i := r.IntN(max + 1); i > 0; i-- {
				b.WriteByte([]byte("a\x00\r\x80\xc3\xe3\xff<>\x1a")[r.IntN(10)])
			}
			if r.IntN(10) > 0 {
				b.WriteByte('\n')
			}
		}
		list = append(list, b.String())
	}
	return list
}

// openers give a mail as qmail does, an open file, and through a pipe.
var openers = map[string]func(t *testing.T, mail string) *os.File{
	"file": func(t *testing.T, mail string) *os.File {
		f, err := os.CreateTemp(t.TempDir(), "mail")
		if err == nil {
			_, err = f.WriteString(mail)
		}
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			t.Error(err)
		}
		return f
	},
	"pipe": func(t *testing.T, mail string) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Error(err)
		}
		go func() {
			io.WriteString(w, mail)
			w.Close()
		}()
		return r
	},
}

// TestMailtestOracle proves that mailtest answers byte for byte what the page's
// PHP script does, through a file and through a pipe, and that both are what
// marked says in one expression.
func TestMailtestOracle(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("SKIP php is not installed")
	}
	limit := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, mail := range mails(rand.New(rand.NewPCG(5, 3))) {
		for way, open := range openers {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				in := open(t, mail)
				defer in.Close()
				cmd := exec.Command(php, "../testdata/originals/mailtest")
				cmd.Stdin = in
				cmd.Stderr = os.Stderr
				theirs, _ := cmd.Output()
				if status := cmd.ProcessState.ExitCode(); status != 99 || string(theirs) != marked(mail) {
					t.Errorf("case %d, %d bytes: PHP through a %s: status %d, %d bytes: %.40q; want %d: %.40q",
						i, len(mail), way, status, len(theirs), theirs, len(marked(mail)), marked(mail))
				}
				in2 := open(t, mail)
				defer in2.Close()
				ours, errs, status := runOn(in2, "mailtest")
				if status != 99 || errs != "" || ours != string(theirs) {
					t.Errorf("case %d, %d bytes: through a %s: status %d, %s, %d bytes: %.40q; PHP %d: %.40q",
						i, len(mail), way, status, errs, len(ours), ours, len(theirs), theirs)
				}
			})
		}
	}
	wg.Wait()
}

// TestMarkLines proves that it does not matter in what pieces a mail comes.
func TestMarkLines(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole":    func(r io.Reader) io.Reader { return r },
		"one byte": iotest.OneByteReader,
		"half":     iotest.HalfReader,
		"data and EOF at once": func(r io.Reader) io.Reader {
			return iotest.DataErrReader(r)
		},
		"one byte and EOF at once": func(r io.Reader) io.Reader {
			return iotest.DataErrReader(iotest.OneByteReader(r))
		},
		"nothing now and then": func(r io.Reader) io.Reader { return &idleReader{r: iotest.HalfReader(r)} },
	}
	for i, mail := range mails(rand.New(rand.NewPCG(5, 4))) {
		for name, reader := range readers {
			var out bytes.Buffer
			if err := markLines(&out, reader(strings.NewReader(mail))); err != nil || out.String() != marked(mail) {
				t.Errorf("case %d, %d bytes, %s: %v, %d bytes: %.40q; want %d: %.40q",
					i, len(mail), name, err, out.Len(), out.String(), len(marked(mail)), marked(mail))
			}
		}
	}
}

// An idleReader answers every second read with no bytes and no error, as io.Reader allows.
type idleReader struct {
	r    io.Reader
	busy bool
}

func (i *idleReader) Read(p []byte) (int, error) {
	if i.busy = !i.busy; !i.busy {
		return 0, nil
	}
	return i.r.Read(p)
}

// TestMailtestReadError proves that a read that fails, with bytes or without,
// is status 111 and puts no <and> where the mail has not ended.
func TestMailtestReadError(t *testing.T) {
	const broken = syscall.EIO
	for _, mail := range []string{"", "a", "a\nb", "a\n", strings.Repeat("line\n", 50000), strings.Repeat("x", 70000)} {
		for name, in := range map[string]io.Reader{
			"after the bytes": io.MultiReader(strings.NewReader(mail), iotest.ErrReader(broken)),
			"with the bytes":  iotest.DataErrReader(io.MultiReader(strings.NewReader(mail), iotest.ErrReader(broken))),
		} {
			out, errs, status := runOn(in, "mailtest")
			if want := "mailtest: standard input: input/output error\n"; status != 111 || errs != want {
				t.Errorf("%d bytes, %s: status %d, %q; want 111, %q", len(mail), name, status, errs, want)
			}
			if whole := strings.TrimSuffix(marked(mail), "<and>\n"); !strings.HasPrefix(whole, out) {
				t.Errorf("%d bytes, %s: %d bytes that are no begin of %d", len(mail), name, len(out), len(whole))
			}
		}
	}
}

// TestMailtestFull proves that a disk that has room for all but one byte, or
// for any less, is status 111 whatever status was asked for.
func TestMailtestFull(t *testing.T) {
	for _, mail := range []string{"", "a\nb", strings.Repeat("line\n", 100), strings.Repeat("line\n", 60000), strings.Repeat("x", 200000)} {
		size := len(marked(mail))
		for room := range size {
			if room%(1+size/50) != 0 && room != size-1 {
				continue
			}
			for _, code := range []string{"0", "99", "100", "111"} {
				var errs bytes.Buffer
				env := &cli.Env{Stdin: strings.NewReader(mail), Stdout: cli.NewOutput(&shortWriter{room}), Stderr: &errs}
				status := Main(env, []string{"mailtest", "-x", code})
				if want := "mailtest: standard output: no space left on device\n"; status != 111 || errs.String() != want {
					t.Fatalf("%d bytes, room for %d, -x %s: status %d, %q", size, room, code, status, errs.String())
				}
			}
		}
		env := &cli.Env{Stdin: strings.NewReader(mail), Stdout: cli.NewOutput(&shortWriter{size}), Stderr: io.Discard}
		if status := Main(env, []string{"mailtest", "-x", "99"}); status != 99 {
			t.Errorf("%d bytes, room for all: status %d", size, status)
		}
	}
}

// TestMailtestMemory proves that a mail of 1 GB, half of it one line, goes
// through the binary in less than 16 MB of memory.
func TestMailtestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP a mail of 1 GB takes seconds")
	}
	if runtime.GOOS != "linux" {
		t.Skip("SKIP only Linux has VmHWM")
	}
	binary := filepath.Join(t.TempDir(), "kowaza")
	build := exec.Command("go", "build", "-o", binary, "kowaza")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const size, limit = 1 << 30, 16 << 10 // bytes, kB
	cmd := exec.Command(binary, "mailtest", "-x", "99")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	defer cmd.Process.Kill()

	count := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, out)
		count <- n
	}()
	line := strings.Repeat("x", 63) + "\n"
	lines := []byte(strings.Repeat(line, 1024))
	noLine := bytes.Repeat([]byte("x"), len(lines))
	for sent := 0; sent < size; sent += len(lines) {
		piece := lines
		if sent >= size/2 {
			piece = noLine
		}
		if _, err := in.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	// Less than a pipe's content is still to be read: the peak is behind it.
	peak := highWater(t, cmd.Process.Pid)
	must(t, in.Close())
	const want = size + 6*(size/2/64+1)
	if n := <-count; n != want {
		t.Errorf("%d bytes; want %d", n, want)
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 99 {
		t.Errorf("status %d", status)
	}
	t.Logf("1 GB in %d kB", peak)
	if peak > limit {
		t.Errorf("%d kB of memory; want less than %d", peak, limit)
	}
}

// highWater returns the most memory that a process has had, in kB. Its rusage
// would have this process's own in it, from before exec.
func highWater(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			must(t, err)
			return n
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
