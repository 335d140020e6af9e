package report

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const id = "<kowaza.1@mail.example.jp>"

// forwarded is what somebody sends who shows a message to another.
const forwarded = `From: hanako@example.jp
Content-Type: multipart/mixed; boundary=b

--b

Look:
--b
Content-Type: message/rfc822

Message-ID: <kowaza.1@mail.example.jp>

text
--b--
`

// TestOf proves that of each form of report it is known which message it is about, that
// a double bounce is told from a bounce, a warning from a failure, and all of them from
// the message itself and from what merely names it; and that address, status and reason
// are those of the report.
func TestOf(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	noMailbox := func(local string) Recipient {
		return Recipient{local + "@mail.example.jp", "failed", "5.1.1", "Sorry, no mailbox here by that name."}
	}
	unknown := func(local string) Recipient {
		return Recipient{local + "@mail.example.jp", "failed", "5.1.1", `unknown user: "` + local + `@mail.example.jp"`}
	}
	inner := read("qmail-bounce")
	for name, test := range map[string]struct {
		text string
		want Relation
		form Form
		to   []Recipient
	}{
		"qmail, bounce":        {inner, Bounce, QSBMF, []Recipient{noMailbox("kowaza-u7f")}},
		"qmail, double bounce": {read("qmail-double"), DoubleBounce, QSBMF, []Recipient{noMailbox("kowaza-x2k")}},
		"qmail, two recipients": {read("qmail-remote"), Bounce, QSBMF, []Recipient{
			{"you@example.net", "failed", "", "192.0.2.25 does not like recipient. Remote host said: 550 5.1.1 unknown Giving up on 192.0.2.25."},
			{"someone@example.net", "failed", "5.1.2", "Sorry, I couldn't find any host named example.net."},
		}},
		"Postfix, bounce":        {read("postfix-bounce"), Bounce, DSN, []Recipient{unknown("kowaza-u7f")}},
		"Postfix, double bounce": {read("postfix-double"), DoubleBounce, DSN, []Recipient{unknown("kowaza-x2k")}},
		"Postfix, copy for the postmaster": {read("postfix-postmaster"), Bounce, DSN,
			[]Recipient{unknown("kowaza-u7f")}},
		"RFC 3464, 5.1": {read("rfc3464-5.1"), Bounce, DSN, []Recipient{
			{"louisl@larry.slip.umd.edu", "failed", "4.0.0", "426 connection timed out"}}},
		"Sendmail, a warning": {read("sendmail-warning"), Notice, DSN, []Recipient{
			{"you@example.net", "delayed", "4.4.1", "421 4.4.1 connection refused"}}},
		"Exim, in no form": {read("exim-old"), Bounce, Other, nil},

		"the message":              {"Message-Id:\r\n " + id + " (mine)\r\n\r\ntext", Same, 0, nil},
		"a header without a body":  {"Message-ID: " + id, Same, 0, nil},
		"an answer":                {"In-Reply-To: " + id + "\nReferences: " + id + "\n\ntext", None, 0, nil},
		"an automatic answer":      {"Auto-Submitted: auto-replied\nIn-Reply-To: " + id + "\n\ntext", None, 0, nil},
		"a message that quotes it": {"From: hanako@example.jp\n\n> Message-ID: " + id + "\n", None, 0, nil},
		"a forwarded message":      {forwarded, None, 0, nil},
		"a forwarded bounce": {strings.Replace(forwarded, "Message-ID: "+id+"\n\ntext\n", inner, 1),
			None, 0, nil},
		"a bounce of an answer": {strings.Replace(inner, "Message-ID: "+id, "Message-ID: <2@b>\nIn-Reply-To: "+id, 1) + "\n> Message-ID: " + id + "\n",
			None, 0, nil},
		"a double bounce of a report that is from nobody known": {"Return-Path: <>\n\nHi. This is the program.\n\n<a@b>:\nno\n\n---\n\n" +
			"Message-ID: <3@b>\nFrom: hostmaster@b\nContent-Type: multipart/report; boundary=c\n\n--c\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; c@d\nAction: failed\n" +
			"--c\nContent-Type: message/rfc822\n\nMessage-ID: " + id + "\n", DoubleBounce, QSBMF, []Recipient{{"a@b", "failed", "", "no"}}},
		"another's bounce": {strings.ReplaceAll(inner, "kowaza.1@", "kowaza.2@"), None, 0, nil},
		"in no form, of a bounce": {"Auto-Submitted: auto-generated\n\nYour report\n> From: Mailer-Daemon\n> Message-ID: " + id + "\n",
			DoubleBounce, Other, nil},
		"RFC 6533, in base64": {"Content-Type: multipart/report; boundary=\"a\\\"b\"; report-type=delivery-status\n\n--a\"b\n" +
			"Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: base64\n\nRmluYWwtUmVjaXBpZW50OiB1dGYtODsg44GCQGIKU3RhdHVzOiA1LjEuMQpBY3Rpb246IEZhaWxlZAo=\n" +
			"--a\"b \nContent-Type: message/global-headers\nContent-Transfer-Encoding: quoted-printable\n\nMessage-ID: <kowaza.1=40mail.example.jp>\n--a\"b--\n",
			Bounce, DSN, []Recipient{{"あ@b", "failed", "5.1.1", ""}}},
		"QSBMF in MIME": {"Return-Path: <>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" +
			"Hi. This is the qmail-send program.\n\n<a@b>:\nno (#5.1.1)\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: " + id + "\n",
			Bounce, QSBMF, []Recipient{{"a@b", "failed", "5.1.1", "no"}}},
		"the report of another, which names it": {"Return-Path: <>\nContent-Type: multipart/report; boundary=b\n\n--b\n" +
			"Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\nOriginal-Envelope-Id: " + id + "\n\nFinal-Recipient: rfc822; a@b\nAction: failed\nStatus: 5.1\n--b--\n",
			Bounce, DSN, []Recipient{{"a@b", "failed", "", ""}}},
		"nothing": {"", None, 0, nil},
	} {
		for ends, text := range map[string]string{"LF": test.text, "CR LF": strings.ReplaceAll(strings.ReplaceAll(test.text, "\r\n", "\n"), "\n", "\r\n")} {
			relation, r := Read([]byte(text)).Of(id)
			if relation != test.want {
				t.Errorf("%s, %s: relation %d; want %d", name, ends, relation, test.want)
			}
			if r == nil || relation == None {
				continue
			}
			if r.Form != test.form || !slices.Equal(r.Recipients, test.to) {
				t.Errorf("%s, %s: form %d, recipients %q; want %d, %q", name, ends, r.Form, r.Recipients, test.form, test.to)
			}
		}
	}
	if relation, _ := Read([]byte("\ntext")).Of(""); relation != None {
		t.Error("a message without a Message-ID is taken for every other")
	}
}

// TestBounds proves that what is beyond MaxSize is not looked at, that no number of
// recipients or of messages in each other takes more than its share, and that the copy
// is found at the very end.
func TestBounds(t *testing.T) {
	const head = "Return-Path: <>\n\nHi. This is the qmail-send program.\n\n"
	many := head + strings.Repeat("<a@b>:\nno\n\n", 1000)
	tail := "--- Below this line is a copy of the message.\n\nMessage-ID: " + id
	m := Read([]byte(many + tail))
	if relation, r := m.Of(id); relation != Bounce || len(r.Recipients) != maxRecipients {
		t.Errorf("%d, %d recipients", relation, len(r.Recipients))
	}
	fits := head + strings.Repeat("x", MaxSize-len(head)-2-len(tail)) + "\n\n" + tail
	if relation, _ := Read([]byte(fits)).Of(id); relation != Bounce {
		t.Errorf("the last byte that is looked at is not: %d", relation)
	}
	if relation, _ := Read([]byte("X" + fits)).Of(id); relation != None {
		t.Errorf("looked at more than is looked at: %d", relation)
	}
	nested := strings.Repeat(head+"-\n\n", 5000)
	depth := 0
	for m := Read([]byte(nested)); m.Report != nil && m.Report.Copy != nil; m = m.Report.Copy {
		depth++
	}
	if depth != maxDepth-1 {
		t.Errorf("%d messages in each other were read", depth)
	}
}

// FuzzReport proves that no message makes the reader fail or invent: what it returns
// stands in the message, and is in bounds.
func FuzzReport(f *testing.F) {
	files, err := filepath.Glob("testdata/*-*")
	if err != nil || len(files) < 8 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("Content-Type: multipart/x; boundary=\"\\"))
	f.Add([]byte("\n" + begin + "\n\n<>:\n\n-"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := Read(text)
		depth := 0
		for n := m; ; n = n.Report.Copy {
			if n.ID != "" && (n.ID[0] != '<' || !strings.HasSuffix(n.ID, ">")) {
				t.Fatalf("Message-ID %q", n.ID)
			}
			if depth++; depth > maxDepth {
				t.Fatal("too deep")
			}
			if n.Report == nil {
				break
			}
			if len(n.Report.Recipients) > maxRecipients {
				t.Fatal("too many recipients")
			}
			for _, p := range n.Report.Recipients {
				if strings.ContainsAny(p.Reason, "\r\n") || p.Status != "" && statusCode(p.Status) == "" {
					t.Fatalf("%q", p)
				}
			}
			if n.Report.Copy == nil {
				break
			}
		}
		relation, _ := m.Of(id)
		encoded := bytes.Contains(bytes.ToLower(text), []byte("base64")) || bytes.Contains(bytes.ToLower(text), []byte("quoted-printable"))
		if relation != None && !encoded && !bytes.Contains(text, []byte(id)) {
			t.Fatalf("relation %d to a message that it does not name", relation)
		}
	})
}
