package real

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	postfixLibexec  = "/usr/lib/postfix/sbin"
	postfixMaster   = postfixLibexec + "/master"
	postfixSendmail = "/usr/sbin/sendmail"
)

// A postfix is a running server that shares nothing with another one on the
// machine: configuration, queue, log and mail lie in dir. It listens nowhere,
// and has no program that could send anything out of this machine.
type postfix struct {
	t   *testing.T
	dir string
	bin string // of kowaza
}

// needPostfix skips the test where we are not root, for whom alone Postfix runs, where
// there is none, where somebody uses it, or where the programs that read its mail are missing.
func needPostfix(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP postfix: not root")
	}
	for _, command := range []string{postfixMaster, postfixLibexec + "/postlogd", postfixSendmail} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("SKIP postfix: %s not installed", filepath.Base(command))
		}
	}
	for _, command := range []string{"mlist", "mhdr", "mshow"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("SKIP mblaze: %s not installed", command)
		}
	}
	if _, err := os.Lstat("/etc/postfix/main.cf"); !errors.Is(err, fs.ErrNotExist) {
		t.Skip("SKIP postfix: there is an /etc/postfix/main.cf")
	}
}

// startPostfix starts a server, and stops it when the test ends. Mail for one of
// the addresses goes into a Maildir with the address as its name, mail for
// program.example.jp to a program; all other mail is returned.
func startPostfix(t *testing.T, addresses ...string) *postfix {
	t.Helper()
	needPostfix(t)
	p := &postfix{t: t, bin: buildKowaza(t, "jmailsend"), dir: shortDir(t)}
	uid := strconv.Itoa(spareUID())
	p.mkdir("root", "root", "755", "etc", "queue", "queue/pid", "control")
	p.mkdir("postfix", "root", "700", "data", "queue/incoming", "queue/active", "queue/bounce",
		"queue/corrupt", "queue/defer", "queue/deferred", "queue/flush", "queue/saved",
		"queue/trace", "queue/hold", "queue/private")
	p.mkdir("postfix", "postdrop", "2710", "queue/public")
	p.mkdir("postfix", "postdrop", "1730", "queue/maildrop")
	p.mkdir(uid, uid, "700", "mail")
	p.mkdir("nobody", "root", "700", "program.example.jp")

	p.write("etc/main.cf", 0o644, fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = %[2]s
mail_owner = postfix
setgid_group = postdrop
maillog_file = %[1]s/maillog
maillog_file_prefixes = %[1]s
queue_minfree = 0
myhostname = mail.example.jp
myorigin = $myhostname
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
default_transport = error:5.1.2 no way to this domain
transport_maps = inline:{ program.example.jp=program: }
virtual_mailbox_domains = mail.example.jp, example.jp
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = texthash:%[1]s/etc/mailboxes
virtual_uid_maps = static:%[3]s
virtual_gid_maps = static:%[3]s
`, p.dir, postfixLibexec, uid))
	// type, private, unprivileged, chroot, wakeup, processes, command
	p.write("etc/master.cf", 0o644, fmt.Sprintf(`postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
program unix - n n - - pipe
  user=nobody argv=/bin/sh %[1]s/program %[1]s/program.example.jp/${mailbox}
`, p.dir))
	var mailboxes strings.Builder
	for _, address := range addresses {
		fmt.Fprintf(&mailboxes, "%[1]s %[1]s/\n", address)
	}
	p.write("etc/mailboxes", 0o644, mailboxes.String())
	p.write("program", 0o644, "cat >\"$1\"\n")
	p.write("control/me", 0o644, "mail.example.jp\n")
	p.use(p.sendmail("etc"))
	t.Cleanup(func() {
		if t.Failed() {
			p.logLogs()
		}
	})
	p.start()
	return p
}

// mkdir makes directories below dir.
func (p *postfix) mkdir(owner, group, mode string, names ...string) {
	p.t.Helper()
	for _, name := range names {
		silently(p.t, "install", "-d", "-o", owner, "-g", group, "-m", mode, filepath.Join(p.dir, name))
	}
}

// write writes a file below dir and returns its path. The file is an old one:
// Postfix waits with a main.cf of this second until it has surely been written.
func (p *postfix) write(name string, mode fs.FileMode, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	err := os.WriteFile(path, []byte(text), mode)
	if err == nil {
		hourAgo := time.Now().Add(-time.Hour)
		err = os.Chtimes(path, hourAgo, hourAgo)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return path
}

// sendmail writes a command that is Postfix's sendmail with the configuration
// of that directory, and returns its path. The script may say what comes before.
func (p *postfix) sendmail(config string, script ...string) string {
	p.t.Helper()
	return p.write("sendmail-"+config, 0o755, fmt.Sprintf("#!/bin/sh\n%sexec %s -C %s/%s \"$@\"\n",
		strings.Join(script, ""), postfixSendmail, p.dir, config))
}

// use makes that command jmailsend's sendmail.
func (p *postfix) use(sendmail string) {
	p.t.Helper()
	p.write("kowaza.conf", 0o644, "SENDMAIL="+sendmail+"\nQMAIL="+p.dir+"\n")
}

// start starts the server and waits until it takes mail.
func (p *postfix) start() {
	p.t.Helper()
	output, err := os.Create(filepath.Join(p.dir, "output"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer output.Close()
	master := exec.Command(postfixMaster, "-c", filepath.Join(p.dir, "etc"))
	master.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	master.Stdout, master.Stderr = output, output
	if err := master.Start(); err != nil {
		p.t.Fatal(err)
	}
	pid := master.Process.Pid
	ended := make(chan struct{})
	go func() { master.Wait(); close(ended) }()
	p.t.Cleanup(func() { stopServer(p.t, "postfix", pid, ended) })
	guard(p.t, pid)

	if !until(func() bool {
		select {
		case <-ended:
			p.t.Fatal("postfix ended")
		default:
		}
		return strings.Contains(p.log(), ": daemon started ")
	}) {
		p.t.Fatal("postfix does not start")
	}
}

// guard sees to it that the process group ends where the test is killed and no
// cleanup runs. Pdeathsig is of no use: the kernel forgets it when the process
// changes its effective uid, as Postfix does.
func guard(t *testing.T, pgid int) {
	t.Helper()
	sh := exec.Command("sh", "-c", `read -r word; test "$word" = ended || kill -TERM -"$1"`, "sh", strconv.Itoa(pgid))
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ^C is not for it
	stdin, err := sh.StdinPipe()
	if err == nil {
		err = sh.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Before the group is gone, while its number is nobody else's.
		fmt.Fprintln(stdin, "ended")
		if err := sh.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// log returns what Postfix has logged so far.
func (p *postfix) log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "maillog"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	return string(text)
}

// ofClocks are warnings that Postfix gives where a second begins between two looks at a
// clock: the kernel dates files by one that runs a few milliseconds behind.
var ofClocks = regexp.MustCompile(`: warning: (file system clock is [0-9]+ seconds? (ahead of|behind) local clock|resetting file time stamps)`)

// checkLog sees whether Postfix complains of anything.
func (p *postfix) checkLog() {
	p.t.Helper()
	complaint := regexp.MustCompile(`(?m)^.*: (?:warning|error|fatal|panic): .*$`)
	lines := slices.DeleteFunc(complaint.FindAllString(p.log(), -1), ofClocks.MatchString)
	if len(lines) > 0 {
		p.t.Errorf("postfix complains:\n%s", strings.Join(lines, "\n"))
	}
}

// logLogs shows what Postfix wrote.
func (p *postfix) logLogs() {
	output, _ := os.ReadFile(filepath.Join(p.dir, "output"))
	p.t.Logf("output:\n%s\nmaillog:\n%s", output, p.log())
}

// jmailsend runs jmailsend and returns what it wrote and its exit status.
func (p *postfix) jmailsend(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, "jmailsend"), args...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+filepath.Join(p.dir, "kowaza.conf"))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("jmailsend %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// send has jmailsend send mail, which must succeed silently.
func (p *postfix) send(args ...string) {
	p.t.Helper()
	if stdout, stderr, status := p.jmailsend(args...); status != 0 || stdout+stderr != "" {
		p.t.Fatalf("jmailsend %q: status %d\n%s%s", args, status, stdout, stderr)
	}
}

// source returns the message that jmailsend says it would send.
func (p *postfix) source(args ...string) string {
	p.t.Helper()
	stdout, stderr, status := p.jmailsend(append(args, "-n")...)
	if status != 0 || stderr != "" {
		p.t.Fatalf("jmailsend -n %q: status %d\n%s", args, status, stderr)
	}
	return stdout
}

// delivered waits until Postfix has nothing more to deliver, and returns the
// files that lie in the Maildirs, and what programs got, by recipient.
func (p *postfix) delivered() map[string][]string {
	p.t.Helper()
	// Twice: a message that is returned goes from one queue to an earlier one.
	empty := 0
	if !until(func() bool {
		if empty++; p.queued() > 0 {
			empty = 0
		}
		return empty == 2
	}) {
		p.t.Fatal("postfix does not deliver")
	}
	all := make(map[string][]string)
	files, err := filepath.Glob(filepath.Join(p.dir, "mail", "*", "new", "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		address := filepath.Base(filepath.Dir(filepath.Dir(file)))
		all[address] = append(all[address], file)
	}
	if files, err = filepath.Glob(filepath.Join(p.dir, "program.example.jp", "*")); err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		address := filepath.Base(file) + "@program.example.jp"
		all[address] = append(all[address], file)
	}
	return all
}

// queued counts the messages in the queue, in the order in which they go through
// it.
func (p *postfix) queued() int {
	n := 0
	for _, queue := range []string{"maildrop", "incoming", "active", "deferred"} {
		filepath.WalkDir(filepath.Join(p.dir, "queue", queue), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return nil
		})
	}
	return n
}

// checkDelivered sees whether each recipient has got that many messages, and
// nobody else any, and returns their files.
func (p *postfix) checkDelivered(want map[string]int) map[string][]string {
	p.t.Helper()
	got := p.delivered()
	for address, files := range got {
		if len(files) != want[address] {
			p.t.Errorf("%s: %d messages, want %d", address, len(files), want[address])
		}
	}
	for address, n := range want {
		if got[address] == nil {
			p.t.Errorf("%s: no message, want %d", address, n)
		}
	}
	return got
}

// output runs a command that must succeed and complain of nothing, in UTF-8 and
// with none of the user's own settings, and returns its output.
func (p *postfix) output(stdin []byte, command string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+p.dir, "MBLAZE="+p.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		p.t.Fatalf("%s %q: %v\n%s", command, args, err, stderr.String())
	}
	return stdout.String()
}

// field returns a field of a message's header as mhdr decodes it.
func (p *postfix) field(name, file string) string {
	p.t.Helper()
	return strings.TrimSuffix(p.output(nil, "mhdr", "-d", "-h", name, file), "\n")
}

// readHeader reads a message's header, which must have no field twice.
func (p *postfix) readHeader(file string) mail.Header {
	p.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	for name, values := range m.Header {
		if len(values) != 1 {
			p.t.Errorf("%s: %d times %s", file, len(values), name)
		}
	}
	return m.Header
}

// A charset is one that jmailsend knows.
type charset struct{ option, name, transfer string }

var charsets = []charset{
	{"jis", "ISO-2022-JP", "7bit"},
	{"sjis", "Shift_JIS", "8bit"},
	{"euc", "EUC-JP", "8bit"},
	{"utf8", "UTF-8", "8bit"},
}

// The variable parts of jmailsend's message, as they are in every charset.
var (
	bodyTime     = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}`)
	headerTime   = regexp.MustCompile(`(?m)^(Date|Message-ID): .*$`)
	bodyNumbers  = "%[1]d/5（全5通中の%[1]d通目）"
	senderName   = "メール送信テスト"
	subjectWords = "[%d/5] 日本語メールの送信テスト（%s）"
)

// readMail is a reader of mail that takes nothing wrong in a body. It prints
// the display name, the subject and the body.
const readMail = `
use strict; use Encode; binmode STDOUT, ":utf8"; local $/;
my ($header, $body) = split /\n\n/, <STDIN>, 2;
$header =~ s/\n[ \t]+/ /g;
my ($name) = $header =~ /^From: (.*) </m;
my ($subject) = $header =~ /^Subject: (.*)$/m;
my ($charset) = $header =~ m{^Content-Type: text/plain; charset=(\S+)$}m;
print decode("MIME-Header", $name), "\n", decode("MIME-Header", $subject), "\n",
	decode($charset, $body, Encode::FB_CROAK);
`

// TestPostfixCharsets proves that what jmailsend hands to Postfix arrives: every
// copy once, in every charset, byte for byte what "jmailsend -n" prints but for
// number and time, under a Message-ID of its own; and that mblaze, Perl and iconv
// read the same Japanese name, subject and text in all of them, without an
// error.
func TestPostfixCharsets(t *testing.T) {
	const from, to = "hanako@example.jp", "hoshu@mail.example.jp"
	p := startPostfix(t, to)
	before := time.Now().Truncate(time.Second)
	sources := make(map[string]string)
	for _, c := range charsets {
		args := []string{"-e", c.option, "-c", "5", "-t", to, "-f", from}
		p.send(args...)
		sources[c.name] = p.source(args...)
	}
	p.checkDelivered(map[string]int{to: 20})
	p.checkLog()

	_, body, _ := strings.Cut(sources["UTF-8"], "\n\n")
	for _, part := range []string{"日本語のメールが正しく届くことを", "：UTF-8\n",
		fmt.Sprintf("：%s\n送信ホスト：mail.example.jp\n", fmt.Sprintf(bodyNumbers, 1)),
		"\n要注意文字：ソ　十　予　表　能　申　貼　暴\n", "\n以上、よろしくお願いいたします。\n"} {
		if strings.Count(body, part) != 1 {
			t.Fatalf("%q is not in the text:\n%s", part, body)
		}
	}
	subjects := make(map[string]bool)
	for _, file := range strings.Fields(p.output(nil, "mlist", filepath.Join(p.dir, "mail", to))) {
		subject := p.field("Subject", file)
		subjects[subject] = true
		t.Run(subject, func(t *testing.T) {
			p := *p
			p.t = t
			p.checkCopy(file, subject, body, sources, from, to, before)
		})
	}
	for _, c := range charsets {
		for n := 1; n <= 5; n++ {
			if subject := fmt.Sprintf(subjectWords, n, c.name); !subjects[subject] {
				t.Errorf("no message %s", subject)
			}
		}
	}
	p.checkIDs(20)
}

// checkCopy sees whether one message is as it should be.
func (p *postfix) checkCopy(file, subject, body string, sources map[string]string, from, to string, before time.Time) {
	p.t.Helper()
	header := p.readHeader(file)
	var n int
	var c charset
	for _, c = range charsets {
		if header.Get("Content-Type") == "text/plain; charset="+c.name {
			break
		}
	}
	if _, err := fmt.Sscanf(subject, "[%d/5]", &n); err != nil {
		p.t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type":              "text/plain; charset=" + c.name,
		"Content-Transfer-Encoding": c.transfer,
		"Mime-Version":              "1.0",
		"To":                        to,
		"Delivered-To":              to,
		"Return-Path":               "<root@mail.example.jp>",
	} {
		if got := header.Get(name); got != want {
			p.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	date, err := header.Date()
	if err != nil || date.Before(before) || date.After(time.Now()) {
		p.t.Errorf("Date: %v, %v", date, err)
	}

	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	trace, sent, _ := strings.Cut(string(text), "\nFrom: ")
	if !strings.HasPrefix(trace, "Return-Path: ") || strings.Contains(trace, "\n\n") {
		p.t.Errorf("not only what Postfix adds before From:\n%s", trace)
	}
	if got, want := p.normalize("From: "+sent, c, n), p.normalize(sources[c.name], c, 1); got != want {
		p.t.Errorf("delivered: %q\nwant %q", got, want)
	}

	_, raw, _ := bytes.Cut(text, []byte("\n\n"))
	body = strings.Replace(body, "：UTF-8\n", "："+c.name+"\n", 1)
	body = strings.Replace(body, fmt.Sprintf(bodyNumbers, 1), fmt.Sprintf(bodyNumbers, n), 1)
	body = bodyTime.ReplaceAllString(body, date.Format("2006-01-02 15:04:05 -0700"))
	want := fmt.Sprintf(subjectWords, n, c.name)
	p.check("subject in mhdr", subject, want)
	p.check("name in mhdr", p.field("From", file), fmt.Sprintf("%s <%s>", senderName, from))
	_, shown, _ := strings.Cut(p.output(nil, "mshow", "-n", "-N", file), "\n\n")
	p.check("body in mshow", shown, body)
	p.check("perl", p.output(text, "perl", "-e", readMail), senderName+"\n"+want+"\n"+body)
	p.check("iconv", p.output(raw, "iconv", "-f", c.name, "-t", "UTF-8"), body)
}

// check compares a text with the right one.
func (p *postfix) check(what, got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %s\nwant %s", what, got, want)
	}
}

// normalize makes a copy the first one, of no time.
func (p *postfix) normalize(text string, c charset, n int) string {
	p.t.Helper()
	encoded := func(n int) string {
		return p.output(fmt.Appendf(nil, bodyNumbers, n), "iconv", "-f", "UTF-8", "-t", c.name)
	}
	for old, first := range map[string]string{
		fmt.Sprintf("\nSubject: [%d/5] ", n): "\nSubject: [1/5] ",
		encoded(n):                           encoded(1),
	} {
		if strings.Count(text, old) != 1 {
			p.t.Errorf("%q is not in %q", old, text)
		}
		text = strings.Replace(text, old, first, 1)
	}
	return bodyTime.ReplaceAllString(headerTime.ReplaceAllString(text, "$1:"), "TIME")
}

// checkIDs sees whether that many messages have arrived, each with its own
// Message-ID.
func (p *postfix) checkIDs(want int) {
	p.t.Helper()
	ids := make(map[string]bool)
	for _, files := range p.delivered() {
		for _, file := range files {
			ids[p.readHeader(file).Get("Message-Id")] = true
		}
	}
	if len(ids) != want || ids[""] {
		p.t.Errorf("%d Message-IDs, want %d: %v", len(ids), want, ids)
	}
}

// An addressTest says what becomes of an address.
type addressTest struct{ to, recipient, header string }

// original returns the address as jmailsend writes it: Postfix adds a domain.
func (a addressTest) original() string {
	if !strings.Contains(a.to, "@") {
		return strings.TrimSuffix(a.header, "@mail.example.jp")
	}
	return a.header
}

// TestPostfixAddresses proves that mail reaches the one recipient that it is for,
// and nobody else, whatever an address that jmailsend takes looks like; and that
// the quotation marks around the local parts that need them in a header are for
// the header alone: neither Postfix's tables nor a program that it runs sees
// them.
func TestPostfixAddresses(t *testing.T) {
	tests := []addressTest{
		{"hoshu", "hoshu@mail.example.jp", "hoshu@mail.example.jp"},
		{"a..b", "a..b@mail.example.jp", `"a..b"@mail.example.jp`},
		{"hoshu@example.jp", "", ""},
		{"a..b@example.jp", "", `"a..b"@example.jp`},
		{"a.@example.jp", "", `"a."@example.jp`},
		{".a@example.jp", "", `".a"@example.jp`},
		{"a.b@example.jp", "", ""},
		{"o'neil+tag=1@example.jp", "", ""},
		{"a..b@program.example.jp", "", `"a..b"@program.example.jp`},
		{"a.@program.example.jp", "", `"a."@program.example.jp`},
		{"a.b-c@program.example.jp", "", ""},
	}
	var addresses []string
	want := make(map[string]int)
	for i := range tests {
		test := &tests[i]
		if test.recipient == "" {
			test.recipient = test.to
		}
		if test.header == "" {
			test.header = test.to
		}
		if !strings.HasSuffix(test.to, "@program.example.jp") {
			addresses = append(addresses, test.recipient)
		}
		want[test.recipient] = 1
	}
	p := startPostfix(t, addresses...)
	for _, test := range tests {
		args := []string{"-e", "utf8", "-t", test.to, "-f", test.to}
		p.send(args...)
		// Postfix would put quotation marks into the header by itself.
		if field := "\nTo: " + test.original() + "\n"; !strings.Contains(p.source(args...), field) {
			t.Errorf("-t %s: not %q", test.to, field)
		}
	}
	files := p.checkDelivered(want)
	p.checkLog()
	p.checkIDs(len(tests))
	for _, test := range tests {
		for _, file := range files[test.recipient] {
			header := p.readHeader(file)
			p.check("To", header.Get("To"), test.header)
			from, err := mail.ParseAddress(header.Get("From"))
			if err != nil || from.Address != test.recipient {
				t.Errorf("From: %s: %v, want %s", header.Get("From"), err, test.recipient)
			}
			if strings.HasSuffix(test.to, "@program.example.jp") {
				continue // pipe(8) adds nothing
			}
			p.check("Delivered-To", header.Get("Delivered-To"), test.header)
			p.check("X-Original-To", header.Get("X-Original-To"), test.original())
		}
	}
}

// TestPostfixJobs proves that with several sendmail commands at once each copy
// arrives, and arrives once; and that a sendmail which now and then fails, in
// whatever way, loses no copy silently: those that jmailsend reports are those
// that have not arrived.
func TestPostfixJobs(t *testing.T) {
	const to, from = "hoshu@example.jp", "hanako@example.jp"
	p := startPostfix(t, to, "a."+to)
	p.send("-j", "4", "-c", "20", "-t", to, "-f", from)
	files := p.checkDelivered(map[string]int{to: 20})
	p.checkIDs(20)
	if got := p.numbers(files[to]); !slices.Equal(got, upTo(20)) {
		t.Errorf("copies %v, want each of 20 once", got)
	}

	p.mkdir("root", "root", "700", "calls")
	p.use(p.sendmail("etc", `n=1
while ! mkdir `+p.dir+`/calls/$n 2>/dev/null; do n=$((n + 1)); done
case $n in
2) exit 0 ;;
4) exec dd bs=10 count=1 of=/dev/null 2>/dev/null ;;
6) dd bs=10 count=1 of=/dev/null 2>/dev/null; exit 1 ;;
8) cat >/dev/null; exit 75 ;;
10) cat >/dev/null; kill -KILL $$ ;;
esac
`))
	stdout, stderr, status := p.jmailsend("-j", "3", "-c", "15", "-t", "a."+to, "-f", from)
	if status != 1 || stdout != "" {
		t.Errorf("status %d, standard output %q", status, stdout)
	}
	var why []string
	var numbers []int
	report := regexp.MustCompile(`(?m)^jmailsend: copy (\d+)/15: \S+/sendmail-etc: (.*)$`)
	for _, m := range report.FindAllStringSubmatch(stderr, -1) {
		n, _ := strconv.Atoi(m[1])
		numbers = append(numbers, n)
		why = append(why, m[2])
	}
	slices.Sort(why)
	want := []string{
		"exit status 0, but it did not read the message",
		"exit status 0, but it did not read the message",
		"exit status 1",
		"exit status 75",
		"signal: killed",
	}
	if !slices.Equal(why, want) || strings.Count(stderr, "\n") != len(want) {
		t.Errorf("standard error:\n%s\nwant one line each of %q", stderr, want)
	}
	files = p.checkDelivered(map[string]int{to: 20, "a." + to: 10})
	numbers = append(numbers, p.numbers(files["a."+to])...)
	slices.Sort(numbers)
	if !slices.Equal(numbers, upTo(15)) {
		t.Errorf("reported or delivered: %v, want each of 15 once", numbers)
	}
	p.checkLog()
}

// numbers returns the sorted numbers of the copies.
func (p *postfix) numbers(files []string) []int {
	p.t.Helper()
	var numbers []int
	for _, file := range files {
		var n int
		if _, err := fmt.Sscanf(p.field("Subject", file), "[%d/", &n); err != nil {
			p.t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}

// upTo returns the numbers from 1 to n.
func upTo(n int) []int {
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	return numbers
}

// TestPostfixRefuses proves that jmailsend passes on what Postfix's sendmail says
// when it refuses a message, and its exit status, and that nothing is sent then.
// A domain that Postfix cannot deliver to is no such case: it takes the message
// and returns it to who ran jmailsend.
func TestPostfixRefuses(t *testing.T) {
	const root, to, from = "root@mail.example.jp", "hoshu@example.jp", "hanako@example.jp"
	p := startPostfix(t, root, to)
	config, err := os.ReadFile(filepath.Join(p.dir, "etc/main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"authorized_submit_users = nobody": "sendmail: fatal: User root(0) is not allowed to submit mail\n",
		"message_size_limit = 1000":        "sendmail: fatal: root(0): message file too big\n",
		"":                                 "/main.cf: No such file or directory\n",
	} {
		dir, _, _ := strings.Cut(name, " ")
		p.mkdir("root", "root", "755", "conf"+dir)
		if name != "" {
			p.write("conf"+dir+"/main.cf", 0o644, string(config)+name+"\n")
		}
		sendmail := p.sendmail("conf" + dir)
		p.use(sendmail)
		args := []string{"-j", "2", "-c", "2", "-t", to, "-f", from}
		alone := exec.Command(sendmail, "-t", "-i")
		alone.Stdin = strings.NewReader(p.source(args...))
		out, _ := alone.CombinedOutput()
		if alone.ProcessState.ExitCode() < 1 || strings.Count(string(out), says) != 1 {
			t.Fatalf("%q: sendmail: %s\n%s", name, alone.ProcessState, out)
		}
		stdout, stderr, status := p.jmailsend(args...)
		if status != 1 || stdout != "" {
			t.Errorf("%q: status %d, standard output %q", name, status, stdout)
		}
		for n := 1; n <= 2; n++ {
			line := fmt.Sprintf("jmailsend: copy %d/2: %s: %s\n", n, sendmail, alone.ProcessState)
			if strings.Count(stderr, line) != 1 || strings.Count(stderr, says) != 2 {
				t.Errorf("%q: standard error:\n%s\nwant in it: %s", name, stderr, line)
			}
		}
	}
	p.checkDelivered(nil)

	p.use(p.sendmail("etc"))
	p.send("-t", "hoshu@elsewhere.example", "-f", from)
	for _, file := range p.checkDelivered(map[string]int{root: 1})[root] {
		p.check("Return-Path", p.readHeader(file).Get("Return-Path"), "<>")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"\n<hoshu@elsewhere.example>: no way to this domain\n", "\nTo: hoshu@elsewhere.example\n"} {
			if strings.Count(string(text), part) != 1 {
				t.Errorf("%q is not in the message:\n%s", part, text)
			}
		}
	}
}
