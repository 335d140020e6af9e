package real

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSendPostfix proves that what jmailsend sends by SMTP arrives at Postfix: over several
// connections, with each login that Dovecot's SASL knows, every copy once, in every charset,
// byte for byte what "jmailsend -n" prints but for number and time, and from FROM; that a
// wrong password is tried once, whatever -j says; and that a refused recipient is told with
// Postfix's reply.
func TestSendPostfix(t *testing.T) {
	const from, to = "hanako@example.jp", "hoshu@mail.example.jp"
	sasl := startSASL(t)
	p := startPostfix(t, to)
	server := fmt.Sprintf("smtp://127.0.0.1:%d", p.listen(sasl))
	pw := p.write("pw", 0o600, dovecotPassword+"\n")
	sources := make(map[string]string)
	copies := 0
	for i, mechanism := range []string{"", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"} {
		c := charsets[i%len(charsets)]
		args := []string{"-e", c.option, "-c", "5", "-t", to, "-f", from, "-s", server, "-j", "2", "--per-connection", "2"}
		if mechanism != "" {
			args = append(args, "-u", "hanako", "-P", pw, "-a", mechanism)
		}
		p.send(args...)
		copies += 5
		sources[c.name] = p.source(args...)
	}
	p.checkLog()
	files := p.checkDelivered(map[string]int{to: copies})[to]
	p.checkIDs(copies)
	var numbers []int
	for n := 1; n <= 5; n++ {
		for range copies / 5 {
			numbers = append(numbers, n)
		}
	}
	if got := p.numbers(files); !slices.Equal(got, numbers) {
		t.Errorf("copies %v; want %v", got, numbers)
	}
	for _, file := range files {
		header := p.readHeader(file)
		p.check("Return-Path", header.Get("Return-Path"), "<"+from+">")
		n, _ := strconv.Atoi(strings.TrimPrefix(strings.Split(header.Get("Subject"), "/")[0], "["))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, sent, _ := strings.Cut(string(text), "\nFrom: ")
		for _, c := range charsets {
			if header.Get("Content-Type") == "text/plain; charset="+c.name {
				p.check("delivered", p.normalize("From: "+sent, c, n), p.normalize(sources[c.name], c, 1))
			}
		}
	}

	wrong := p.write("wrong", 0o600, "no"+dovecotPassword+"\n")
	stdout, stderr, status := p.jmailsend("-s", server, "-u", "hanako", "-P", wrong, "-t", to, "-f", from, "-c", "40", "-j", "8")
	want := fmt.Sprintf("jmailsend: %[1]s: auth: 535 5.7.8 Error: authentication failed: ?.*\njmailsend: %[1]s: 40 copies not sent\n", server)
	if !regexp.MustCompile("^"+want+"$").MatchString(stderr) || stdout != "" || status != 1 {
		t.Errorf("wrong password: status %d\n%s%s", status, stdout, stderr)
	}
	refused := regexp.MustCompile(`SASL \S+ authentication failed`)
	if !until(func() bool { return refused.MatchString(p.log()) }) || len(refused.FindAllString(p.log(), -1)) != 1 {
		t.Errorf("wrong password: Postfix counts %d", len(refused.FindAllString(p.log(), -1)))
	}

	stdout, stderr, status = p.jmailsend("-s", server, "-t", "you@elsewhere.example", "-f", from, "-c", "2")
	if !regexp.MustCompile(`^jmailsend: copy 1/2: rcpt: 554 5\.7\.1 <you@elsewhere\.example>: .*\njmailsend: copy 2/2: rcpt: 554 5\.7\.1 .*\n$`).MatchString(stderr) || stdout != "" || status != 1 {
		t.Errorf("relay: status %d\n%s%s", status, stdout, stderr)
	}
	p.checkDelivered(map[string]int{to: copies})
}

// TestSendSink proves that smtp-sink gets every one of many copies once, over kept
// connections and over one for each, with and without what it offers, and that whatever it
// refuses, or hangs up at, is told of each copy.
func TestSendSink(t *testing.T) {
	p := &postfix{t: t, bin: buildKowaza(t, "jmailsend"), dir: t.TempDir()}
	for dir := p.dir; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil { // smtp-sink is nobody
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(p.dir, "control"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.write("control/me", 0o644, "mail.example.jp\n")
	p.use("/nonexistent")
	subject := regexp.MustCompile(`(?m)^Subject: \[(\d+)/1000\]`)
	for i, options := range [][]string{nil, {"-p"}, {"-e"}, {"-8"}} {
		for _, args := range [][]string{{"-j", "8"}, {"-j", "8", "--per-connection", "1"}, {"-e", "utf8"}} {
			dump := filepath.Join(p.dir, fmt.Sprintf("dump-%d-%d", i, len(args)))
			os.Remove(dump)
			port := startSink(t, append([]string{"-D", dump}, options...)...)
			p.send(append([]string{"-s", fmt.Sprintf("smtp://127.0.0.1:%d", port), "-c", "1000", "-f", "a@example.jp", "-t", "b"}, args...)...)
			text, err := os.ReadFile(dump)
			if err != nil {
				t.Fatal(err)
			}
			var numbers []int
			for _, m := range subject.FindAllSubmatch(text, -1) {
				n, _ := strconv.Atoi(string(m[1]))
				numbers = append(numbers, n)
			}
			slices.Sort(numbers)
			if !slices.Equal(numbers, upTo(1000)) {
				t.Errorf("smtp-sink %q, %q: %d copies", options, args, len(numbers))
			}
		}
	}
	for _, step := range []struct{ command, name string }{{"MAIL", "mail"}, {"RCPT", "rcpt"}, {"DATA", "data"}, {".", "message"}} {
		for _, option := range []string{"-f", "-r", "-q"} {
			server := fmt.Sprintf("smtp://127.0.0.1:%d", startSink(t, option, step.command))
			why := map[string]string{"-f": `5\d\d `, "-r": `4\d\d `, "-q": "the server closed the connection"}[option]
			unknown := ""
			if option == "-q" && step.command == "." {
				unknown = "not known whether it was taken: "
			}
			var want strings.Builder
			for n := 1; n <= 3; n++ {
				fmt.Fprintf(&want, "jmailsend: copy %d/3: %s%s: %s.*\n", n, unknown, step.name, why)
			}
			stdout, stderr, status := p.jmailsend("-s", server, "-f", "a", "-t", "b", "-c", "3")
			if !regexp.MustCompile("^"+want.String()+"$").MatchString(stderr) || stdout != "" || status != 1 {
				t.Errorf("smtp-sink %s %s: status %d\n%s%s", option, step.command, status, stdout, stderr)
			}
		}
	}
}
