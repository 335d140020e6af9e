package applets

import (
	"fmt"
	"io"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/message"
)

// A replyPlace is a user's home with a text and a sendmail that keeps what it gets.
type replyPlace struct {
	t   *testing.T
	dir string
	env map[string]string
	now time.Time
}

func newReplyPlace(t *testing.T) *replyPlace {
	t.Helper()
	p := &replyPlace{t: t, dir: t.TempDir(), now: time.Now()}
	must(t, os.Mkdir(p.dir+"/sent", 0o755))
	must(t, os.Mkdir(p.dir+"/qmail", 0o755))
	must(t, os.Mkdir(p.dir+"/qmail/control", 0o755))
	p.write("qmail/control/me", "mail.example.jp\n")
	p.write("away.txt", "I am away.\n")
	// Arguments, then the message, in a file of its own that appears at once.
	p.sendmail(`{ printf '%s|' "$@"; echo; cat; } >"` + p.dir + `/sent/.$$" && mv "` + p.dir + `/sent/.$$" "` + p.dir + `/sent/$$"`)
	p.env = map[string]string{"HOME": p.dir, "SENDER": "taro@elsewhere.example", "LOCAL": "hanako", "HOST": "example.jp",
		"KOWAZA_CONF": p.dir + "/kowaza.conf"}
	return p
}

func (p *replyPlace) write(name, text string) {
	p.t.Helper()
	must(p.t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644))
}

// sendmail makes a line of the shell the sendmail command.
func (p *replyPlace) sendmail(line string) {
	p.t.Helper()
	p.write("sendmail", "#!/bin/sh\n"+line+"\n")
	must(p.t, os.Chmod(p.dir+"/sendmail", 0o755))
	p.write("kowaza.conf", "SENDMAIL="+p.dir+"/sendmail\nQMAIL="+p.dir+"/qmail\n")
}

// run has mailreply answer a message.
func (p *replyPlace) run(text string, args ...string) (stdout, stderr string, status int) {
	var out, errs strings.Builder
	env := &cli.Env{Stdin: strings.NewReader(text), Stdout: cli.NewOutput(&out), Stderr: &errs,
		Getenv: func(name string) string { return p.env[name] }, Now: func() time.Time { return p.now }}
	status = Main(env, append([]string{"mailreply"}, args...))
	return out.String(), errs.String(), status
}

// sent returns what sendmail got.
func (p *replyPlace) sent() (replies []string) {
	p.t.Helper()
	files, err := filepath.Glob(p.dir + "/sent/*")
	must(p.t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(p.t, err)
		replies = append(replies, string(text))
	}
	return replies
}

// remembered counts the replies that are remembered.
func (p *replyPlace) remembered() int {
	files, err := filepath.Glob(p.dir + "/.mailreply/*")
	must(p.t, err)
	return len(files)
}

// toMe is a message that is answered.
const toMe = "From: Taro <taro@elsewhere.example>\nTo: hanako@example.jp\nSubject: lunch\n\nToday?\n"

// TestReplyWhom proves to whom mailreply answers, and with which reason it does not:
// the messages of the facts at which the programs that others use differ.
func TestReplyWhom(t *testing.T) {
	p := newReplyPlace(t)
	type test struct{ what, sender, header, reason string }
	tests := []test{
		{"plain, to me", "", "", ""},
		{"I am not in To or Cc", "", "To: friends@example.jp\nCc: hanako@example.com", "no address of one's own in To or Cc"},
		{"in Cc, with a name", "", "To: x@y\nCC: \"A, B\" <HANAKO@Example.JP>", ""},
		{"Auto-Submitted: auto-replied", "", "+Auto-Submitted: auto-replied", "Auto-Submitted: from a robot"},
		{"Auto-Submitted: auto-generated", "", "+auto-submitted: auto-generated; x=y", "auto-submitted: from a robot"},
		{"Auto-Submitted: no", "", "+Auto-Submitted: No (a person)", ""},
		{"Precedence: bulk", "", "+Precedence: bulk", "Precedence: bulk mail"},
		{"Precedence: list", "", "+Precedence: LIST", "Precedence: bulk mail"},
		{"Precedence: junk", "", "+Precedence:junk", "Precedence: bulk mail"},
		{"Precedence: auto_reply", "", "+Precedence: auto_reply", "Precedence: bulk mail"},
		{"Precedence: first-class", "", "+Precedence: first-class", ""},
		{"List-Id", "", "+List-Id: <l.example.org>", "List-Id: from a list or a robot"},
		{"List-Unsubscribe only", "", "+List-Unsubscribe:\n <mailto:l@example.org>", "List-Unsubscribe: from a list or a robot"},
		{"X-Auto-Response-Suppress: All", "", "+X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress: no reply is wanted"},
		{"X-Auto-Response-Suppress: DR, OOF", "", "+X-Auto-Response-Suppress: DR, OOF", "X-Auto-Response-Suppress: no reply is wanted"},
		{"X-Auto-Response-Suppress: DR", "", "+X-Auto-Response-Suppress: DR", ""},
		{"multipart/report", "", "+Content-Type: Multipart/Report; report-type=delivery-status", "Content-Type: a report"},
		{"null sender", "<>", "", "SENDER is empty or not set"},
		{"double bounce", "#@[]", "", "SENDER is that of a double bounce"},
		{"no domain", "taro", "", "SENDER: taro: no domain"},
		{"X-Spam-Flag: YES", "", "+X-Spam-Flag: YES", "X-Spam-Flag: spam"},
		{"X-Spam-Status", "", "+X-Spam-Status: Yes, score=7", "X-Spam-Status: spam"},
		{"X-Spam-Status: No", "", "+X-Spam-Status: No, score=0", ""},
		{"old ezmlm", "", "+Mailing-List: contact l-help@example.org; run by ezmlm", "Mailing-List: from a list or a robot"},
		{"X-Loop", "", "+X-Loop: l@example.org", "X-Loop: from a list or a robot"},
		{"a bounce in a mailbox", "", "+Return-Path: < >", "Return-Path: a bounce"},
		{"own Delivered-To", "", "+Delivered-To: hanako@EXAMPLE.jp", "Delivered-To: a loop"},
		{"another's Delivered-To", "", "+Delivered-To: info@example.jp", ""},
		{"from oneself", "Hanako@example.jp", "", "SENDER: Hanako@example.jp: an address of one's own"},
		{"mark in the body", "", "+X: y\n\nList-Id: <a.b>", ""},
		{"CR LF", "", "+List-Id: <a>\r\n\r\n", "List-Id: from a list or a robot"},
		{"From line of a mailbox", "", "From list Mon Jan  1 00:00:00 2026\nTo: hanako@example.jp", ""},
	}
	for _, field := range []string{"X-ML-Name", "X-MLServer", "X-Mail-Count"} {
		tests = append(tests, test{"fml", "", "+" + field + ": 5", field + ": from a list or a robot"})
	}
	for _, field := range []string{"X-Mailing-List", "X-BeenThere", "X-Autoreply", "X-Autorespond"} {
		tests = append(tests, test{field, "", "+" + field + ": x", field + ": from a list or a robot"})
	}
	for _, local := range []string{"noreply", "no-reply", "No_Reply", "donotreply", "do-not-reply", "do_not_reply", "do-notreply", "noreply-5",
		"no-reply-a", "owner-list", "list-owner", "list-bounces", "list-bounce", "bounce", "Bounces", "bounce-1", "bounce+x", "bounces+x", "list-return-5-me=host",
		"list-bounces-a=b", "list-owner-x", "list-request", "list-errors", "x-relay", "MAILER-DAEMON", "listserv", "Majordomo", "nobody"} {
		tests = append(tests, test{local, local + "@example.org", "", "SENDER: " + local + "@example.org: a robot, a list or a bounce"})
	}
	for _, local := range []string{"postmaster", "root", "noreplyhere", "owner", "request", "norbert", "bouncer", "return-5"} {
		tests = append(tests, test{local, local + "@example.org", "", ""})
	}
	for _, test := range tests {
		switch test.sender {
		case "":
			test.sender = "taro@elsewhere.example"
		case "<>":
			test.sender = ""
		}
		p.env["SENDER"] = test.sender
		header := test.header
		if header == "" || header[0] == '+' {
			header = "To: hanako@example.jp\n" + strings.TrimPrefix(header, "+")
		}
		must(t, os.RemoveAll(p.dir+"/.mailreply"))
		must(t, os.RemoveAll(p.dir+"/sent"))
		must(t, os.Mkdir(p.dir+"/sent", 0o755))
		stdout, stderr, status := p.run(strings.TrimSuffix(header, "\n")+"\n\ntext\n", "-v", p.dir+"/away.txt")
		p.check(test.what, stdout, stderr, status, test.sender, test.reason)
	}
}

// check compares an answer under -v with a reason, or with one reply.
func (p *replyPlace) check(what, stdout, stderr string, status int, sender, reason string) {
	p.t.Helper()
	want, n := "mailreply: no reply: "+reason+"\n", 0
	if reason == "" {
		want, n = "mailreply: replied to "+sender+"\n", 1
	}
	if stderr != want || stdout != "" || status != 0 || len(p.sent()) != n || p.remembered() != n {
		p.t.Errorf("%s: status %d, %q, %d sent, %d remembered; want %q", what, status, stdout+stderr, len(p.sent()), p.remembered(), want)
	}
}

// TestReplyOwn proves what is one's own address: that of qmail, the one behind the
// owner of a virtual domain, those of -a; that the reply comes from the one that was
// found, as it was given and not as the message spells it; and what '*' does.
func TestReplyOwn(t *testing.T) {
	for _, test := range []struct{ local, to, args, from string }{
		{"hanako", "Hanako@EXAMPLE.jp", "", "hanako@example.jp"},
		{"popuser-hanako", "hanako@example.jp", "", "hanako@example.jp"},
		{"popuser-hanako", "popuser-hanako@example.jp", "", "popuser-hanako@example.jp"},
		{"popuser-hanako", "popuser@example.jp", "", ""},
		{"hanako", "nako@example.jp", "", ""},
		{"hanako", "hanako@example.com", "", ""},
		{"hanako", "x@y, INFO@shop.example", "-a info@shop.example", "info@shop.example"},
		{"hanako", "x@y", "-a *", "hanako@example.jp"},
		{"hanako", "x@y", "-a * -a info@shop.example -a b@c", "info@shop.example"},
		{"", "x@y", "-a info@shop.example", ""},
		{"", "x@y, info@shop.example", "-a info@shop.example", "info@shop.example"},
	} {
		p := newReplyPlace(t)
		p.env["LOCAL"] = test.local
		_, stderr, status := p.run("To: "+test.to+"\n\n", append(strings.Fields(test.args), p.dir+"/away.txt")...)
		got := ""
		for _, reply := range p.sent() {
			_, reply, _ = strings.Cut(reply, "\n")
			m, err := mail.ReadMessage(strings.NewReader(reply))
			must(t, err)
			got = m.Header.Get("From")
		}
		if got != test.from || stderr != "" || status != 0 {
			t.Errorf("%+v: from %q, status %d, %q", test, got, status, stderr)
		}
	}
}

// TestReplyMessage proves what a reply is: its fields, each once and in order, who
// gets it and as whom, and that nothing of the message but its subject is in it.
func TestReplyMessage(t *testing.T) {
	p := newReplyPlace(t)
	p.write("away.txt", "Subject: Away: {subject}\nfrom: \"Yamada, Hanako\" <hana@example.jp>\nReply-To: 受付 <info@example.jp>\n\nI am away.\n\tTab\n")
	_, stderr, status := p.run("To: hanako@example.jp\nSubject: =?ISO-2022-JP?B?GyRCO3NFRBsoQg==?= a\nMessage-ID: <9@x>\nReferences: <1@x>\n <2@x>\nX-Secret: s3cret\n\nsecret body\n",
		"-b", "bounces@example.jp", p.dir+"/away.txt")
	if stderr != "" || status != 0 || len(p.sent()) != 1 {
		t.Fatalf("status %d, %q, %q", status, stderr, p.sent())
	}
	got := regexp.MustCompile(`(Date: |Message-ID: <)[^@\n]*`).ReplaceAllString(p.sent()[0], "$1")
	const want = `-i|-f|bounces@example.jp|--|taro@elsewhere.example|
From: "Yamada, Hanako" <hana@example.jp>
To: taro@elsewhere.example
Subject: Away: =?UTF-8?B?6ZuM55SwIGE=?=
Date: 
Message-ID: <@mail.example.jp>
Reply-To: =?UTF-8?B?5Y+X5LuY?= <info@example.jp>
In-Reply-To: <9@x>
References: <1@x>
 <2@x>
 <9@x>
Auto-Submitted: auto-replied
Precedence: bulk
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

I am away.
	Tab
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestReplySubject proves which subject a reply has, in which charset all is written,
// and when the text goes in base64: jis only where all of it has a place there, which
// a wave dash has not.
func TestReplySubject(t *testing.T) {
	long := strings.Repeat("あ", 300)
	for _, test := range []struct{ text, subject, e, want, charset, transfer string }{
		{"away\n", "Subject: lunch", "jis", "Auto: lunch", "US-ASCII", "7bit"},
		{"away\n", "Subject: 昼", "jis", "Auto: 昼", "ISO-2022-JP", "7bit"},
		{"away\n", "Subject: 昼", "utf8", "Auto: 昼", "UTF-8", "8bit"},
		{"不在\n", "Subject: lunch", "jis", "Auto: lunch", "ISO-2022-JP", "7bit"},
		{"一日〜三日\n", "Subject: lunch", "jis", "Auto: lunch", "UTF-8", "8bit"},
		{"不在\n", "Subject: 1〜3", "jis", "Auto: 1〜3", "UTF-8", "8bit"},
		{"From: 髙田 <a@b>\n\n不在\n", "Subject: x", "jis", "Auto: x", "UTF-8", "8bit"},
		{"away\n", "X: y", "jis", "Auto: (no subject)", "US-ASCII", "7bit"},
		{"away\n", "Subject:", "jis", "Auto: (no subject)", "US-ASCII", "7bit"},
		{"Subject: {subject}/{subject}\n\naway\n", "Subject: a", "jis", "a/a", "US-ASCII", "7bit"},
		{"Subject: 不在\n\naway\n", "Subject: a", "jis", "不在", "ISO-2022-JP", "7bit"},
		{"away\n", "Subject: " + long, "utf8", "Auto: " + long[:3*200], "UTF-8", "8bit"},
		{"away\n", "Subject: a\n b =?US-ASCII?Q?c=0D=0AX:_d=07?=", "utf8", "Auto: a b cX: d", "US-ASCII", "7bit"},
		{"away\n", "Subject: \xff", "utf8", "Auto: \ufffd", "UTF-8", "8bit"},
		{strings.Repeat("x", 999), "Subject: a", "jis", "Auto: a", "US-ASCII", "base64"},
		{strings.Repeat("あ", 333) + "\n", "Subject: a", "utf8", "Auto: a", "UTF-8", "base64"},
		{strings.Repeat("あ", 332) + "\n", "Subject: a", "utf8", "Auto: a", "UTF-8", "8bit"},
	} {
		p := newReplyPlace(t)
		p.write("away.txt", test.text)
		stdout, stderr, status := p.run("To: hanako@example.jp\n"+test.subject+"\n\n", "-n", "-e", test.e, p.dir+"/away.txt")
		m, err := mail.ReadMessage(strings.NewReader(stdout))
		if err != nil || stderr != "" || status != 0 || p.remembered() > 0 || len(p.sent()) > 0 {
			t.Errorf("%.60q: status %d, %q, %v", test, status, stderr, err)
			continue
		}
		if got := showField(stdout, "Subject"); got != test.want {
			t.Errorf("%.60q: %q; want %q", test.subject, got, test.want)
		}
		if c, e := m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"); c != "text/plain; charset="+test.charset || e != test.transfer {
			t.Errorf("%.60q, %.60q: %s, %s", test.text, test.subject, c, e)
		}
	}
}

// TestReplyFile proves that a FILE may be as long as it may, have the ends of lines and
// the mark of an editor that is not from here, end in no newline, or be empty; and
// that its text comes through as it is.
func TestReplyFile(t *testing.T) {
	long := strings.Repeat("あいう\n", 6553) + "12345\n" // 64 KiB
	for text, want := range map[string]string{
		long[:len(long)-1] + "6":             long[:len(long)-1] + "6\n",
		"\ufeffSubject: a\r\n\r\nb\r\nc\r\n": "b\nc\n",
		"I am away":                          "I am away\n",
		"Subjects: none\n\nb\n":              "Subjects: none\n\nb\n",
		"\nSubject: a\n":                     "\nSubject: a\n",
		"":                                   "",
	} {
		p := newReplyPlace(t)
		p.write("away.txt", text)
		_, stderr, status := p.run(toMe, p.dir+"/away.txt")
		if len(p.sent()) != 1 || stderr != "" || status != 0 {
			t.Errorf("%d bytes, %.30q: %d sent, status %d, %q", len(text), text, len(p.sent()), status, stderr)
			continue
		}
		if _, body, _ := strings.Cut(p.sent()[0], "\n\n"); body != want {
			t.Errorf("%.30q: %.60q; want %.60q", text, body, want)
		}
	}
}

// TestReplyInjection proves that nothing in a message gets into the reply's header but
// as text of its subject or as a whole message identifier, and nothing in SENDER into
// sendmail's options.
func TestReplyInjection(t *testing.T) {
	for _, sender := range []string{"-bd@example.org", "a\nBcc: x@y@example.org", "a b@example.org", "a,b@example.org", "<a@example.org>", "a@example.org\n", "a@example.org -oQ/tmp", "a@-q\x00", "\"a\"@example.org", "a@b@c"} {
		p := newReplyPlace(t)
		p.env["SENDER"] = sender
		_, stderr, status := p.run(toMe, "-v", p.dir+"/away.txt")
		if len(p.sent()) > 0 || p.remembered() > 0 || status != 0 || !strings.HasPrefix(stderr, "mailreply: no reply: SENDER: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, %q, %q", sender, status, stderr, p.sent())
		}
	}
	many := ""
	for i := range 40 {
		many += fmt.Sprintf(" <%d@x>\n", i)
	}
	for _, test := range []struct{ header, references string }{
		{"Subject: x\r\n Bcc: evil@example.org\n", ""},
		{"Subject: =?UTF-8?B?" + "eApCY2M6IGV2aWxAZXhhbXBsZS5vcmcKCmJvZHk=" + "?=\n", ""},
		{"Subject: x\x00\x1b[2J\u0085Bcc: evil@example.org\n", ""},
		{"Subject: x\rBcc: evil@example.org\n", ""},
		{"Message-ID: <1@x>\r\nReferences: <a\n b@x> <c\x01@x> <d\xff@x> <>  <e@x> Bcc: evil@example.org <f\n", "<e@x> <1@x>"},
		{"Message-ID: <1@x\rBcc: evil@example.org>\n", ""},
		{"Message-ID: <" + strings.Repeat("m", 251) + ">\nReferences: <" + strings.Repeat("r", 250) + ">\n", "<" + strings.Repeat("r", 250) + ">"},
		{"Message-ID: <m@x>\nReferences:" + many, "<0@x> <32@x> <33@x> <34@x> <35@x> <36@x> <37@x> <38@x> <39@x> <m@x>"},
	} {
		p := newReplyPlace(t)
		stdout, stderr, status := p.run("To: hanako@example.jp\n"+test.header+"\nbody\n", "-n", p.dir+"/away.txt")
		m, err := mail.ReadMessage(strings.NewReader(stdout))
		if err != nil || status != 0 || stderr != "" {
			t.Errorf("%q: status %d, %q, %v", test.header, status, stderr, err)
			continue
		}
		for name := range m.Header {
			switch name {
			case "From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "Precedence",
				"X-Auto-Response-Suppress", "Mime-Version", "Content-Type", "Content-Transfer-Encoding":
			default:
				t.Errorf("%q: a field %s", test.header, name)
			}
		}
		if body, err := io.ReadAll(m.Body); err != nil || string(body) != "I am away.\n" {
			t.Errorf("%q: %q, %v", test.header, body, err)
		}
		if got := m.Header.Get("References"); got != test.references {
			t.Errorf("%q: References: %s\nwant %s", test.header, got, test.references)
		}
		if header, _, _ := strings.Cut(stdout, "\n\n"); strings.ContainsFunc(header, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0x7f }) {
			t.Errorf("%q: %q", test.header, header)
		}
	}
}

// TestReplyOnce proves that of 20 deliveries at once one replies, whether nobody is
// remembered yet or all that is known is old, twenty times over; that who was
// answered is so again after DAYS and not before, in any case of the letters; and that
// another text, or another sender, is another matter.
func TestReplyOnce(t *testing.T) {
	p := newReplyPlace(t)
	for round := range 20 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, stderr, status := p.run(toMe, p.dir+"/away.txt"); status != 0 || stderr != "" {
					t.Errorf("status %d, %q", status, stderr)
				}
			})
		}
		wg.Wait()
		if n := len(p.sent()); n != round+1 || p.remembered() != 1 {
			t.Fatalf("round %d: %d replies, %d remembered", round, n, p.remembered())
		}
		// As if it had been long ago; the clock must stay that of the file system.
		files, err := filepath.Glob(p.dir + "/.mailreply/*")
		must(t, err)
		if round < 19 {
			must(t, os.Chtimes(files[0], time.Unix(1, 0), p.now.Add(-8*24*time.Hour)))
		}
	}
	for _, step := range []struct {
		after  time.Duration
		sender string
		args   string
		reply  bool
	}{
		{7*24*time.Hour - time.Second, "TARO@Elsewhere.example", "", false},
		{24 * time.Hour, "taro@elsewhere.example", "-d 2", false},
		{48 * time.Hour, "taro@elsewhere.example", "-d 2", true},
		{-3 * time.Hour, "taro@elsewhere.example", "", false}, // the clock was set back
		{0, "jiro@elsewhere.example", "", true},
		{7*24*time.Hour + time.Second, "taro@elsewhere.example", "", true},
	} {
		before := len(p.sent())
		p.env["SENDER"] = step.sender
		now := p.now
		p.now = now.Add(step.after)
		_, stderr, _ := p.run(toMe, append(strings.Fields("-v "+step.args), p.dir+"/away.txt")...)
		if got := len(p.sent()) > before; got != step.reply {
			t.Errorf("%+v: %v, %s", step, got, stderr)
		}
		if !step.reply {
			p.now = now
		}
	}
	before := len(p.sent())
	p.write("away.txt", "I am away again.\n")
	if p.run(toMe, p.dir+"/away.txt"); len(p.sent()) != before+1 {
		t.Error("another text is not sent")
	}
}

// TestReplyPair proves that two users who both reply automatically end after two
// messages: the mail of the first and the reply of the second, which the first does
// not answer for more than one reason.
func TestReplyPair(t *testing.T) {
	hanako, taro := newReplyPlace(t), newReplyPlace(t)
	taro.env["LOCAL"], taro.env["HOST"] = "taro", "elsewhere.example"
	taro.env["SENDER"], hanako.env["SENDER"] = "hanako@example.jp", "taro@elsewhere.example"
	taro.run("From: hanako@example.jp\nTo: taro@elsewhere.example\n\nhello\n", "-b", "taro@elsewhere.example", taro.dir+"/away.txt")
	replies := taro.sent()
	if len(replies) != 1 {
		t.Fatalf("%q", replies)
	}
	_, reply, _ := strings.Cut(replies[0], "\n")
	// Even if all the marks were lost on the way, each writes to the other once.
	hanako.run(reply, hanako.dir+"/away.txt")
	if len(hanako.sent()) != 0 {
		t.Errorf("the reply was answered: %q", hanako.sent())
	}
	bare := regexp.MustCompile(`(?m)^(Auto-Submitted|Precedence|X-Auto-Response-Suppress): .*\n`)
	total := 1
	from, to, text := taro, hanako, reply
	for range 10 {
		before := len(to.sent())
		to.run(bare.ReplaceAllString(text, ""), to.dir+"/away.txt")
		if len(to.sent()) == before {
			break
		}
		total++
		_, text, _ = strings.Cut(to.sent()[0], "\n")
		from, to = to, from
	}
	if total != 2 {
		t.Errorf("%d replies without any mark", total)
	}
}

// TestReplyFails proves that what fails is told, that the status is 0 all the same, or
// that of -x, and that nothing is remembered of a reply that was not sent.
func TestReplyFails(t *testing.T) {
	for what, test := range map[string]struct {
		make func(p *replyPlace)
		says string
	}{
		"sendmail refuses":    {func(p *replyPlace) { p.sendmail("cat >/dev/null; exit 75") }, "DIR/sendmail: exit status 75"},
		"sendmail is killed":  {func(p *replyPlace) { p.sendmail("cat >/dev/null; kill -KILL $$") }, "DIR/sendmail: signal: killed"},
		"sendmail reads less": {func(p *replyPlace) { p.sendmail("exit 0") }, "DIR/sendmail: exit status 0, but it did not read the message"},
		"no sendmail":         {func(p *replyPlace) { must(t, os.Remove(p.dir+"/sendmail")) }, "no sendmail command: DIR/sendmail: no such file or directory"},
		"no interpreter":      {func(p *replyPlace) { p.write("sendmail", "#!/no/such\n") }, "DIR/sendmail: no such file or directory"},
		"no home":             {func(p *replyPlace) { p.env["HOME"] = p.dir + "/none" }, "DIR/none/.mailreply: no such file or directory"},
		"home is relative":    {func(p *replyPlace) { p.env["HOME"] = "." }, "HOME: .: not an absolute path"},
		"memory is a file":    {func(p *replyPlace) { p.write(".mailreply", "") }, "DIR/.mailreply: not a directory"},
		"memory is a link": {func(p *replyPlace) {
			must(t, os.Mkdir(p.dir+"/x", 0o700))
			must(t, os.Symlink("x", p.dir+"/.mailreply"))
		}, "DIR/.mailreply: not a directory"},
		"FILE is a directory": {func(p *replyPlace) {
			must(t, os.Remove(p.dir+"/away.txt"))
			must(t, os.Mkdir(p.dir+"/away.txt", 0o755))
		}, "DIR/away.txt: not a regular file"},
		"FILE is a FIFO": {func(p *replyPlace) {
			must(t, os.Remove(p.dir+"/away.txt"))
			must(t, exec.Command("mkfifo", p.dir+"/away.txt").Run())
		}, "DIR/away.txt: not a regular file"},
		"FILE is long":          {func(p *replyPlace) { p.write("away.txt", strings.Repeat("x\n", 32<<10)+"y") }, "DIR/away.txt: longer than 64 KiB"},
		"FILE is no UTF-8":      {func(p *replyPlace) { p.write("away.txt", "a\n\x93\xfa\n") }, "DIR/away.txt:2: not UTF-8"},
		"FILE has an escape":    {func(p *replyPlace) { p.write("away.txt", "a\n\x1b$B\n") }, "DIR/away.txt:2: U+001B: control character"},
		"two subjects":          {func(p *replyPlace) { p.write("away.txt", "Subject: a\nSubject: b\n\nc\n") }, "DIR/away.txt:2: Subject: twice"},
		"another field":         {func(p *replyPlace) { p.write("away.txt", "Subject: a\nBcc: b@c\n\nc\n") }, "DIR/away.txt:2: not a From:, Reply-To: or Subject: field, nor an empty line"},
		"no empty line":         {func(p *replyPlace) { p.write("away.txt", "Subject: a\n") }, "DIR/away.txt:2: no empty line behind the fields"},
		"From is empty":         {func(p *replyPlace) { p.write("away.txt", "From:\n\nc\n") }, "DIR/away.txt:1: From: empty"},
		"From is no address":    {func(p *replyPlace) { p.write("away.txt", "From: a b\n\nc\n") }, "DIR/away.txt:1: From: a b: holds a blank"},
		"two addresses":         {func(p *replyPlace) { p.write("away.txt", "Reply-To: <a@b>, <c@d>\n\nc\n") }, "DIR/away.txt:1: Reply-To: <a@b>, <c@d>: not one address"},
		"control/me is no name": {func(p *replyPlace) { p.write("qmail/control/me", "a b\n") }, "DIR/qmail/control/me: a b: holds a blank"},
		"no settings file":      {func(p *replyPlace) { must(t, os.Remove(p.dir+"/kowaza.conf")) }, "DIR/kowaza.conf: no such file or directory"},
	} {
		p := newReplyPlace(t)
		test.make(p)
		for _, args := range [][]string{{}, {"-x", "99"}} {
			stdout, stderr, status := p.run(toMe, append(args, p.dir+"/away.txt")...)
			want := "mailreply: no reply: " + strings.ReplaceAll(test.says, "DIR", p.dir) + "\n"
			if status != []int{0, 99}[len(args)/2] || stderr != want || stdout != "" {
				t.Errorf("%s: status %d, %q\nwant %q", what, status, stdout+stderr, want)
			}
			if len(p.sent()) > 0 || p.remembered() > 0 {
				t.Errorf("%s: sent %q, %d remembered", what, p.sent(), p.remembered())
			}
		}
	}
}

// TestReplyMemory proves that the memory is the user's alone whatever it was, that a
// link in the place of a file is not followed, that of more than 1000 files the old
// ones go, nothing else does, and that with 10000 young ones there is no reply.
func TestReplyMemory(t *testing.T) {
	p := newReplyPlace(t)
	dir := p.dir + "/.mailreply"
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chmod(dir, 0o777))
	p.run(toMe, p.dir+"/away.txt")
	info, err := os.Stat(dir)
	must(t, err)
	files, _ := filepath.Glob(dir + "/*")
	if info.Mode().Perm() != 0o700 || len(files) != 1 {
		t.Fatalf("%v, %q", info.Mode(), files)
	}
	// It is empty, and its time is that of the reply.
	if info, err = os.Stat(files[0]); err != nil || info.Size() > 0 || info.ModTime().Unix() != p.now.Unix() {
		t.Errorf("%v, %v", info, err)
	}
	must(t, os.Remove(files[0]))
	p.write("victim", "")
	must(t, os.Chtimes(p.dir+"/victim", time.Unix(1, 0), time.Unix(1, 0)))
	must(t, os.Symlink("../victim", files[0]))
	_, stderr, status := p.run(toMe, p.dir+"/away.txt")
	if want := "mailreply: no reply: " + files[0] + ": too many levels of symbolic links\n"; status != 0 || stderr != want {
		t.Errorf("status %d, %q; want %q", status, stderr, want)
	}
	if info, err := os.Stat(p.dir + "/victim"); err != nil || info.ModTime().Unix() != 1 {
		t.Errorf("the link was followed: %v, %v", info, err)
	}
	must(t, os.Remove(files[0]))

	fill := func(from, to int, age time.Duration) {
		for i := from; i < to; i++ {
			file := fmt.Sprintf("%s/%016x", dir, i)
			must(t, os.WriteFile(file, nil, 0o600))
			must(t, os.Chtimes(file, p.now.Add(-age), p.now.Add(-age)))
		}
	}
	must(t, os.WriteFile(dir+"/note", nil, 0o600))
	must(t, os.Chtimes(dir+"/note", time.Unix(1, 0), time.Unix(1, 0)))
	fill(0, 1000, 8*24*time.Hour)
	p.run(toMe, p.dir+"/away.txt")
	if n := p.remembered(); n != 1002 {
		t.Errorf("with 1000 files %d are left, want all, one more and the note", n)
	}
	p.env["SENDER"] = "jiro@elsewhere.example"
	p.run(toMe, p.dir+"/away.txt")
	if n := p.remembered(); n != 3 || !exists(dir+"/note") {
		t.Errorf("with 1001 files %d are left, want two replies and the note", n)
	}
	fill(0, 9998, time.Hour)
	p.env["SENDER"] = "saburo@elsewhere.example"
	sent := len(p.sent())
	_, stderr, status = p.run(toMe, p.dir+"/away.txt")
	if want := "mailreply: no reply: " + dir + ": 10000 replies within 7 days: no more\n"; status != 0 || stderr != want || len(p.sent()) != sent {
		t.Errorf("status %d, %q, %d replies more; want %q", status, stderr, len(p.sent())-sent, want)
	}
	must(t, os.Remove(dir+"/"+fmt.Sprintf("%016x", 1)))
	if p.run(toMe, p.dir+"/away.txt"); len(p.sent()) != sent+1 {
		t.Error("with 9999 there is none")
	}
}

// TestReplyOff proves that without FILE nothing happens and nothing is said, and that
// a pipe is read to its end, so that who writes it meets no closed one.
func TestReplyOff(t *testing.T) {
	p := newReplyPlace(t)
	must(t, os.Remove(p.dir+"/away.txt"))
	must(t, os.Remove(p.dir+"/sendmail"))
	if stdout, stderr, status := p.run(toMe, p.dir+"/away.txt"); stdout+stderr != "" || status != 0 || exists(p.dir+"/.mailreply") {
		t.Errorf("status %d, %q", status, stdout+stderr)
	}
	for _, file := range []string{"/none.txt", "/kowaza.conf"} {
		in := strings.NewReader(toMe + strings.Repeat("x", 1<<20))
		env := &cli.Env{Stdin: in, Stdout: cli.NewOutput(io.Discard), Stderr: io.Discard, Now: time.Now,
			Getenv: func(name string) string { return p.env[name] }}
		if status := Main(env, []string{"mailreply", p.dir + file}); status != 0 || in.Len() > 0 {
			t.Errorf("%s: status %d, %d bytes were not read", file, status, in.Len())
		}
	}
}

// replyFaults are the system calls of mailreply and what each may answer.
var replyFaults = []string{"openat:EIO,EMFILE,ENOSPC,EINTR", "read:EIO,EINTR", "fstat:EIO", "mkdirat:EROFS,ENOSPC,EINTR",
	"fchmod:EPERM", "getdents64:EIO", "newfstatat:EIO,EACCES", "write:ENOSPC", "memfd_create:ENOSYS,EMFILE",
	"utimensat:EIO,EROFS", "lseek:EIO", "clone:EAGAIN", "pipe2:EMFILE", "wait4:ECHILD,EINTR", "unlinkat:EIO"}

// TestReplyFaults proves that whichever system call fails at whichever place, the mail
// does not suffer: the status is 0 or that of -x and never another, there is one reply
// at most, and no reply is silent only where the call did not matter.
func TestReplyFaults(t *testing.T) {
	needCommand(t, "strace")
	binary := filepath.Join(staticBinary(t), "mailreply")
	var trials, failed atomic.Int64
	t.Run("calls", func(t *testing.T) {
		for _, fault := range replyFaults {
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				call, errs, _ := strings.Cut(fault, ":")
				for name := range strings.SplitSeq(errs, ",") {
					for nth := 1; ; nth++ {
						p := newReplyPlace(t)
						met, said, e := p.fault(binary, call+":error="+name+":when="+strconv.Itoa(nth), call)
						if !met {
							break // it makes no more such calls
						}
						trials.Add(1)
						sent := len(p.sent())
						if e.status != 99 || e.signal != 0 || e.late || sent > 1 || sent == 0 && !said {
							t.Errorf("%s %s, call %d: status %d, signal %v, %d sent, %.300q", call, name, nth, e.status, e.signal, sent, e.stderr)
						}
						if sent == 0 {
							failed.Add(1)
						}
					}
				}
			})
		}
	})
	t.Logf("%d faults, %d without a reply", trials.Load(), failed.Load())
	if trials.Load() < 30 || failed.Load() < 10 {
		t.Errorf("only %d faults, %d without a reply", trials.Load(), failed.Load())
	}
}

// fault has the static binary answer a message while one call fails, and tells whether
// it did, and whether something was said. strace counts for each thread: where another
// one has to say that a write failed, its own may fail, too.
func (p *replyPlace) fault(binary, inject, call string) (met, said bool, e ending) {
	p.t.Helper()
	trace := p.dir + "/trace"
	cmd := exec.Command("strace", "-f", "-qq", "-o", trace, "-e", "trace="+call, "-e", "signal=none",
		"-e", "inject="+inject, binary, "-x", "99", p.dir+"/away.txt")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = strings.NewReader(toMe)
	e = runEnd(p.t, cmd)
	text, err := os.ReadFile(trace)
	must(p.t, err)
	said = e.stderr != "" || strings.Contains(string(text), `write(2, "mailreply: `)
	return strings.Contains(string(text), "(INJECTED)"), said, e
}

// FuzzReply proves that whatever header a message has, mailreply neither crashes nor
// has another status than 0, and that a reply has the fields that it should and no
// more.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"To: hanako@example.jp\nSubject: x\n\n", toMe, "To: \"a <hanako@example.jp>\n\n", "To: hanako@example.jp\nMessage-ID: <a\r@b>\nReferences: <<x>\n",
		"To: hanako@example.jp\nSubject: =?ISO-2022-JP?B?GyRCO3NFRBsoQg==?= \x1b$B\n"} {
		f.Add([]byte(s), "I am away.\n")
		f.Add([]byte(s), "Subject: {subject}\nFrom: 山 <a@b>\n\n不在\n")
	}
	dir := f.TempDir()
	must(f, os.WriteFile(dir+"/kowaza.conf", []byte("QMAIL="+dir+"\n"), 0o644))
	must(f, os.MkdirAll(dir+"/control", 0o755))
	must(f, os.WriteFile(dir+"/control/me", []byte("mail.example.jp\n"), 0o644))
	vars := map[string]string{"HOME": dir, "SENDER": "a@b", "LOCAL": "hanako", "HOST": "example.jp", "KOWAZA_CONF": dir + "/kowaza.conf"}
	f.Fuzz(func(t *testing.T, text []byte, file string) {
		must(t, os.WriteFile(dir+"/away.txt", []byte(file), 0o644))
		var out, errs strings.Builder
		env := &cli.Env{Stdin: strings.NewReader(string(text)), Stdout: cli.NewOutput(&out), Stderr: &errs, Now: time.Now,
			Getenv: func(name string) string { return vars[name] }}
		if status := Main(env, []string{"mailreply", "-n", dir + "/away.txt"}); status != 0 || strings.Count(errs.String(), "\n") > 1 {
			t.Fatalf("%q: status %d, %q", text, status, errs.String())
		}
		if out.Len() == 0 {
			return
		}
		m, err := mail.ReadMessage(strings.NewReader(out.String()))
		if err != nil || len(m.Header) < 11 || len(m.Header) > 14 || m.Header.Get("To") != "a@b" {
			t.Fatalf("%q: %v\n%s", text, err, out.String())
		}
	})
}

// showField returns a field of a message as a reader shows it.
func showField(text, name string) string {
	header, _, _ := strings.Cut(text, "\n\n")
	for n, raw := range message.Fields([]byte(header)) {
		if string(n) == name {
			return message.Show(raw)
		}
	}
	return ""
}
