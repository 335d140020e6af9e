package real

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A traveller runs mailtrip against a Postfix of its own.
type traveller struct {
	*postfix
	binary   string
	mainConf string // as startPostfix has written it
	smtpPort int
}

// The addresses of a traveller's Postfix, each with a Maildir of that name.
const (
	hoshu     = "hoshu@mail.example.jp"
	me        = "me@mail.example.jp"
	pmaster   = "postmaster@mail.example.jp"
	deferred  = "you@deferred.example.jp"
	otherMail = "Subject: somebody's\n\nnot to be lost\n"
	otherFile = "1000000000.1.mail"
)

// startTraveller starts a Postfix that takes mail by SMTP, too, and defers what is for
// deferred.example.jp. In each Maildir lies a message of somebody's.
func startTraveller(t *testing.T) *traveller {
	t.Helper()
	p := startPostfix(t, hoshu, me, pmaster)
	tr := &traveller{postfix: p, binary: filepath.Join(buildKowaza(t, "mailtrip"), "mailtrip"), smtpPort: freePort(t)}
	text, err := os.ReadFile(p.dir + "/etc/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	closed := freePort(t) // nobody listens there, and nobody will: it is not free for long
	tr.mainConf = strings.Replace(string(text), "inline:{", fmt.Sprintf("inline:{ deferred.example.jp=smtp:[127.0.0.1]:%d,", closed), 1) +
		"mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n" +
		"delay_warning_time = 1s\nqueue_run_delay = 1s\nminimal_backoff_time = 1s\nsmtp_tls_security_level =\n"
	master, err := os.ReadFile(p.dir + "/etc/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	p.write("etc/master.cf", 0o644, string(master)+fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\nanvil unix - - n - 1 anvil\nsmtp unix - - n - - smtp\n", tr.smtpPort))
	p.write("kowaza.conf", 0o644, "SENDMAIL="+p.dir+"/sendmail-etc\nQMAIL="+p.dir+"\nMAILDIR=.\nJMAIL_FROM="+me+"\n")
	uid := strconv.Itoa(spareUID())
	for _, address := range []string{hoshu, me, pmaster} {
		box := "mail/" + address
		p.mkdir(uid, uid, "700", box, box+"/cur", box+"/new", box+"/tmp")
		tr.put(address, otherFile, otherMail)
	}
	tr.reload("")
	return tr
}

// put puts a message into a Maildir.
func (tr *traveller) put(address, name, text string) {
	tr.t.Helper()
	file := tr.write("mail/"+address+"/new/"+name, 0o600, text)
	if err := os.Chown(file, spareUID(), spareUID()); err != nil {
		tr.t.Fatal(err)
	}
}

// reload has Postfix take a configuration with more in it.
func (tr *traveller) reload(more string) {
	tr.t.Helper()
	tr.write("etc/main.cf", 0o644, tr.mainConf+more)
	before := strings.Count(tr.log(), ": reload -- ")
	if out, err := exec.Command("postfix", "-c", tr.dir+"/etc", "reload").CombinedOutput(); err != nil {
		tr.t.Fatalf("postfix reload: %v\n%s", err, out)
	}
	if !until(func() bool { return strings.Count(tr.log(), ": reload -- ") > before }) {
		tr.t.Fatal("postfix does not reload")
	}
}

// trip runs mailtrip.
func (tr *traveller) trip(args ...string) (stdout, stderr string, status int) {
	tr.t.Helper()
	cmd := exec.Command(tr.binary, args...)
	cmd.Env = append(os.Environ(), "KOWAZA_CONF="+tr.dir+"/kowaza.conf")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		tr.t.Fatalf("mailtrip %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// boxes are the options for the three Maildirs.
func (tr *traveller) boxes(args ...string) []string {
	return append([]string{"-m", tr.dir + "/mail/" + hoshu, "-b", tr.dir + "/mail/" + me, "-r", tr.dir + "/mail/" + pmaster}, args...)
}

// outcome is what --json says of a TEST, in part.
type outcome struct {
	Test, Outcome        string
	OK                   bool
	Seconds              float64
	Report, Status       string
	Address, Recipient   string
	Where, Reply, Reason string
	Why                  string
}

// outcomes runs mailtrip with --json, and returns what it says by TEST. Whether one
// failed must show in the status, and in a message.
func (tr *traveller) outcomes(args ...string) map[string]outcome {
	tr.t.Helper()
	stdout, stderr, status := tr.trip(append([]string{"--json"}, args...)...)
	all := make(map[string]outcome)
	ok := true
	for line := range strings.Lines(stdout) {
		var o outcome
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			tr.t.Fatalf("mailtrip %q: %v: %s%s", args, err, line, stderr)
		}
		all[o.Test] = o
		ok = ok && o.OK
		if o.OK == strings.Contains(stderr, "mailtrip: "+o.Test+": ") {
			tr.t.Errorf("mailtrip %q: %s: ok is %v, and the messages are %q", args, o.Test, o.OK, stderr)
		}
	}
	if ok != (status == 0) || len(all) == 0 {
		tr.t.Errorf("mailtrip %q: status %d\n%s%s", args, status, stdout, stderr)
	}
	return all
}

// want checks one outcome, and returns it.
func (tr *traveller) want(all map[string]outcome, test, want string, ok bool) outcome {
	tr.t.Helper()
	o := all[test]
	if o.Outcome != want || o.OK != ok {
		tr.t.Errorf("%s: %+v; want %s, %v", test, o, want, ok)
	}
	return o
}

// others proves that in all Maildirs somebody's message is as it was, and returns how
// many lie beside it.
func (tr *traveller) others() (n int) {
	tr.t.Helper()
	for _, address := range []string{hoshu, me, pmaster} {
		if text, err := os.ReadFile(tr.dir + "/mail/" + address + "/new/" + otherFile); err != nil || string(text) != otherMail {
			tr.t.Errorf("%s: somebody's message: %q, %v", address, text, err)
		}
		for _, sub := range []string{"new", "cur"} {
			files, err := os.ReadDir(tr.dir + "/mail/" + address + "/" + sub)
			if err != nil {
				tr.t.Fatal(err)
			}
			n += len(files)
		}
	}
	return n - 3
}

// TestPostfixTrip proves that mailtrip says of mail through Postfix where it ended: by
// its sendmail and by SMTP, delivered, bounced, double-bounced where 2bounce is asked
// for and not found where it is not, deferred, and in a catch-all address; and that -d
// removes what it found and nothing else.
func TestPostfixTrip(t *testing.T) {
	tr := startTraveller(t)
	smtp := fmt.Sprintf("smtp://127.0.0.1:%d", tr.smtpPort)

	all := tr.outcomes(tr.boxes("-d", "-t", hoshu, "local", "bounce")...)
	if o := tr.want(all, "local", "delivered", true); !strings.HasPrefix(o.Where, tr.dir+"/mail/"+hoshu+"/new/") {
		t.Errorf("where: %s", o.Where)
	}
	if o := tr.want(all, "bounce", "bounced", true); o.Report != "RFC 3464" || o.Status != "5.1.1" || o.Address != o.Recipient || o.Reason == "" {
		t.Errorf("bounce: %+v", o)
	}
	if n := tr.others(); n != 0 {
		t.Errorf("%d messages are left", n)
	}

	// Without 2bounce the bounce's bounce ends in the log.
	if o := tr.want(tr.outcomes(tr.boxes("-w", "1", "double")...), "double", "not found", false); !strings.Contains(o.Why, "nothing in "+tr.dir+"/mail/"+pmaster) {
		t.Errorf("why: %s", o.Why)
	}
	tr.reload("notify_classes = 2bounce\n")
	if o := tr.want(tr.outcomes(tr.boxes("-d", "double")...), "double", "double-bounced", true); o.Report != "RFC 3464" || o.Status != "5.1.1" {
		t.Errorf("double: %+v", o)
	}
	// With bounce, too, the postmaster gets a copy of each: it is not taken for the
	// double one, nor for the sender's.
	tr.reload("notify_classes = bounce, 2bounce\n")
	all = tr.outcomes(tr.boxes("-t", hoshu, "local", "bounce", "double")...)
	tr.want(all, "local", "delivered", true)
	if o := tr.want(all, "bounce", "bounced", true); !strings.Contains(o.Where, "/mail/"+me+"/") {
		t.Errorf("bounce: where: %s", o.Where)
	}
	tr.want(all, "double", "double-bounced", true)
	// Each of these lies there without -d, with two copies for the postmaster.
	if !until(func() bool { return tr.others() == 5 }) {
		t.Errorf("%d messages lie there; want 5", tr.others())
	}

	// Deferred: a warning comes, and no end.
	tr.reload("")
	if o := tr.want(tr.outcomes(append(tr.boxes("-w", "4"), "-t", deferred)...), "local", "not found", false); !strings.Contains(o.Why, ": delayed: #4.4.1 connect to 127.0.0.1") {
		t.Errorf("deferred: %+v", o)
	}
	tr.want(tr.outcomes("-t", deferred, "remote"), "remote", "injected", true)

	// By SMTP: Postfix refuses there what it would return later, unless it is told not to.
	all = tr.outcomes(tr.boxes("-s", smtp, "-t", hoshu, "local", "bounce")...)
	if o := tr.want(all, "local", "delivered", true); !strings.HasPrefix(o.Reply, "250 2.0.0 Ok: queued as ") {
		t.Errorf("reply: %s", o.Reply)
	}
	if o := tr.want(all, "bounce", "refused", false); !strings.Contains(o.Why, "rcpt: 550 5.1.1 ") {
		t.Errorf("bounce: %+v", o)
	}
	tr.reload("smtpd_reject_unlisted_recipient = no\nnotify_classes = 2bounce\n")
	all = tr.outcomes(tr.boxes("-d", "-s", smtp, "-t", hoshu, "local", "bounce", "double")...)
	tr.want(all, "local", "delivered", true)
	tr.want(all, "bounce", "bounced", true)
	tr.want(all, "double", "double-bounced", true)
	stdout, _, status := tr.trip(tr.boxes("-v", "-s", smtp, "-t", hoshu)...)
	for _, want := range []string{" * [127.0.0.1]:", " < 220 ", " > MAIL FROM:<" + me + ">", " > RCPT TO:<" + hoshu + ">", " > .\n", " > QUIT\n", "\nlocal   delivered "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("-v: %q is not in\n%s", want, stdout)
		}
	}
	if status != 0 {
		t.Errorf("-v: status %d", status)
	}
	if o := tr.want(tr.outcomes(tr.boxes("-s", "smtp://127.0.0.1:1", "local")...), "local", "refused", false); !strings.Contains(o.Why, "connect: 127.0.0.1:1: connection refused") {
		t.Errorf("nobody listens: %+v", o)
	}

	// A catch-all address.
	tr.write("etc/mailboxes", 0o644, "@mail.example.jp "+hoshu+"/\n")
	tr.reload("")
	if o := tr.want(tr.outcomes(tr.boxes("bounce")...), "bounce", "delivered", false); !strings.Contains(o.Why, "/mail/"+hoshu+"/new/") {
		t.Errorf("catch-all: %+v", o)
	}
	tr.others()
}

// TestTripMailbox proves the same through a mailbox of Dovecot's POP3 server: that all
// is found there, that -d removes what was found and nothing else, that a wrong password
// is tried once and nothing sent then, and that no password shows.
func TestTripMailbox(t *testing.T) {
	tr := startTraveller(t)
	d := startDovecot(t, dovecotConfig{protocols: []string{"pop3"}, users: []string{"hanako"}, extra: "auth_failure_delay = 0 secs\n"})
	d.save("hanako", "INBOX", otherMail)
	// Every address is hanako's.
	var mailboxes strings.Builder
	for _, address := range []string{hoshu, me, pmaster} {
		fmt.Fprintf(&mailboxes, "%s %s/Maildir/\n", address, strings.TrimPrefix(d.home("hanako"), "/"))
	}
	tr.write("etc/mailboxes", 0o644, mailboxes.String())
	tr.mainConf = strings.Replace(tr.mainConf, "virtual_mailbox_base = "+tr.dir+"/mail", "virtual_mailbox_base = /", 1)
	tr.reload("smtpd_reject_unlisted_recipient = no\nnotify_classes = 2bounce\n")
	password := tr.write("password", 0o600, dovecotPassword+"\n")
	wrong := tr.write("wrong", 0o600, "Himitsu\n")
	pop3 := fmt.Sprintf("pop3://127.0.0.1:%d", d.ports["pop3"])
	smtp := fmt.Sprintf("smtp://127.0.0.1:%d", tr.smtpPort)
	inbox := func() []string {
		files, err := filepath.Glob(d.home("hanako") + "/Maildir/*/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		var messages []string
		for _, file := range files {
			if sub := filepath.Base(filepath.Dir(file)); sub == "new" || sub == "cur" {
				messages = append(messages, file)
			}
		}
		return messages
	}

	for _, by := range [][]string{nil, {"-s", smtp}} {
		args := append([]string{"-p", pop3, "-u", "hanako", "-P", password, "-t", hoshu}, by...)
		all := tr.outcomes(append(args, "local", "remote", "bounce", "double")...)
		if o := tr.want(all, "local", "delivered", true); !strings.HasPrefix(o.Where, pop3+", message ") {
			t.Errorf("where: %s", o.Where)
		}
		tr.want(all, "remote", "delivered", true)
		tr.want(all, "bounce", "bounced", true)
		tr.want(all, "double", "double-bounced", true)
		if n := len(inbox()); n != 5 {
			t.Errorf("%d messages; want 5", n)
		}
		all = tr.outcomes(append([]string{"-d"}, append(args, "local", "remote", "bounce", "double")...)...)
		for test, want := range map[string]string{"local": "delivered", "remote": "delivered", "bounce": "bounced", "double": "double-bounced"} {
			tr.want(all, test, want, true)
		}
		left := inbox()
		if len(left) != 5 {
			t.Errorf("%d messages after -d; want 5", len(left))
		}
		for i, file := range left {
			if text, err := os.ReadFile(file); err != nil {
				t.Error(err)
			} else if strings.Contains(string(text), "somebody's") {
				left[i] = ""
			}
		}
		if left = deleteEmpty(left); len(left) != 4 {
			t.Errorf("somebody's message is gone: %q", left)
		}
		for _, file := range left {
			if err := os.Remove(file); err != nil {
				t.Error(err)
			}
		}
	}

	stdout, stderr, status := tr.trip("-v", "-a", "USER", "-d", "-p", pop3, "-u", "hanako", "-P", password, "-t", hoshu)
	if status != 0 || stderr != "" || strings.Contains(stdout, dovecotPassword) {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	for _, want := range []string{" > USER hanako\n", " > PASS ****\n", " > UIDL\n", " > DELE ", " > QUIT\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("-v: %q is not in\n%s", want, stdout)
		}
	}

	before := strings.Count(tr.log(), "message-id=")
	o := tr.want(tr.outcomes("-p", pop3, "-u", "hanako", "-P", wrong, "-t", hoshu, "local", "bounce"), "bounce", "not injected", false)
	if !strings.Contains(o.Why, pop3+": login: -ERR [AUTH]") || strings.Contains(o.Why, "imitsu") {
		t.Errorf("wrong password: %+v", o)
	}
	if now := strings.Count(tr.log(), "message-id="); now != before {
		t.Errorf("with a wrong password %d messages were sent", now-before)
	}
	info, err := os.ReadFile(d.dir + "/info.log")
	if n := strings.Count(string(info), "auth failed, 1 attempts"); err != nil || n != 1 {
		t.Errorf("%d wrong logins, %v; want 1, in\n%s", n, err, info)
	}
	if text := d.complaints(); text != "" {
		t.Errorf("dovecot complains:\n%s", text)
	}
}

func deleteEmpty(list []string) (rest []string) {
	for _, s := range list {
		if s != "" {
			rest = append(rest, s)
		}
	}
	return rest
}
