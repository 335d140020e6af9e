package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// TestParse proves what a line may look like and what each key takes.
func TestParse(t *testing.T) {
	text := "# a comment\n\n  \t\n" +
		"VMDIR=/home/popuser/\n" +
		"VUSER = # nothing: as if it were not set\n"
	if _, err := Parse("f", []byte(text)); err == nil {
		t.Errorf("a blank before = was taken")
	}
	text = "# a comment\n\n  \t\n" +
		"VMDIR=/home/popuser/\n" +
		"VUSER=   # nothing: as if it were not set\n" +
		"DAYS=010 # ten\r\n" +
		"QMAIL='/opt/my qmail'\n" +
		"SENDMAIL=\"/usr/lib/send mail\"  # both kinds\n" +
		"JMAIL_TO=$HOME`x`\n" +
		"JMAIL_FROM=\n" +
		"JMAIL_CHARSET=utf8\n" +
		"JMAIL_COUNT=1000000\n" +
		"JMAIL_SERVER=smtps://mail.hoge.cxm\n" +
		"JMAIL_USER=\"hanako yamada\"\n" +
		"JMAIL_PASSWORD_FILE=/etc//jmail.pw\n" +
		"MAILTEST_EXIT=0\n" +
		"QMAIL_STOP=svc -d /service/qmail-send#1\n" +
		"QMAIL_START='svc -u # up'\n" +
		"MAILDIR=mail//./Maildir/\n" +
		"INBOX=Inbox/\n" +
		"USERS=/var//vmail/*/*/\n" +
		"RULES=/etc/kowaza.rules\n" +
		"QUOTA_TRASH=yes\n" +
		"QUOTA=10S,6C\n" +
		"QUOTA_BUFFER=0\n" +
		"QUOTA_EXIT=111\n" +
		"QUOTA_WARN=90\n" +
		"QUOTA_MESSAGE=/etc/full\n" +
		"DAYS=010"
	got, err := Parse("f", []byte(text))
	want := &Settings{
		VMDir: "/home/popuser", Users: "/var/vmail/*/*", Days: 10, Maildir: "mail/Maildir", Inbox: "Inbox",
		Rules: "/etc/kowaza.rules", QuotaTrash: "yes", Quota: "10S,6C", QuotaExit: 111, QuotaWarn: 90, QuotaMessage: "/etc/full", QMail: "/opt/my qmail", Sendmail: "/usr/lib/send mail",
		JMailTo: "$HOME`x`", JMailCharset: "utf8", JMailCount: 1000000, MailtestExit: 0,
		JMailServer: "smtps://mail.hoge.cxm", JMailUser: "hanako yamada", JMailPasswordFile: "/etc/jmail.pw",
		QMailStop: "svc -d /service/qmail-send#1", QMailStart: "svc -u # up",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := Parse("f", nil); err != nil || !reflect.DeepEqual(got, Default()) {
		t.Errorf("empty file: %+v, %v", got, err)
	}
}

// TestParseErrors proves that each malformed line is named with file and line.
func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"VMDIR":                             "not KEY=VALUE",
		"=x":                                "what stands before = is not the name of a key",
		"vmdir=/x":                          "what stands before = is not the name of a key",
		"export VMDIR=/x":                   "what stands before = is not the name of a key",
		"NOSUCH=1":                          "NOSUCH: unknown key",
		"c2VjcmV0LXRva2Vu=":                 "what stands before = is not the name of a key",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF=": "unknown key",
		"VMDIR=home":                        "VMDIR: home: not an absolute path",
		"VMDIR=\"/home":                     "quotation mark without an end",
		"VMDIR='/home'x":                    "text after the closing quotation mark",
		"VMDIR='/home'# x":                  "text after the closing quotation mark",
		"VMDIR=/a\x00b":                     "control character",
		"VMDIR=/a\x1b[2J":                   "control character",
		"DAYS=7d":                           "DAYS: 7d: not a number",
		"DAYS=-1":                           "DAYS: -1: not a number",
		"DAYS=36501":                        "DAYS: 36501: not a number from 0 to 36500",
		"DAYS=99999999999999999":            "DAYS: 99999999999999999: not a number from 0 to 36500",
		"DAYS=0x10":                         "DAYS: 0x10: not a number",
		"JMAIL_COUNT=0":                     "JMAIL_COUNT: 0: not a number from 1 to 1000000",
		"JMAIL_CHARSET=latin1":              "JMAIL_CHARSET: latin1: not one of jis, sjis, euc, utf8",
		"JMAIL_PASSWORD_FILE=pw":            "JMAIL_PASSWORD_FILE: pw: not an absolute path",
		"MAILTEST_EXIT=1":                   "MAILTEST_EXIT: 1: not one of 0, 99, 100, 111",
		"MAILTEST_EXIT=099":                 "MAILTEST_EXIT: 099: not one of 0, 99, 100, 111",
		"VUSER=b":                           "VUSER: set before to another value",
		"MAILDIR=/Maildir":                  "MAILDIR: /Maildir: not a relative path",
		"MAILDIR=a/../b":                    "MAILDIR: a/../b: has a .. in it",
		"INBOX=/Inbox":                      "INBOX: /Inbox: not a relative path",
		"INBOX=.":                           "INBOX: .: not the name of a directory in the Maildir",
		"INBOX=..":                          "INBOX: ..: has a .. in it",
		"USERS=vmail/*":                     "USERS: vmail/*: neither assign nor an absolute pattern such as /var/vmail/*/*",
		"USERS=/var/vmail":                  "USERS: /var/vmail: has no * in it",
		"USERS=/var/*/../x":                 "USERS: /var/*/../x: has a .. in it",
		"USERS=/var/a*/x":                   "USERS: /var/a*/x: a * stands for a whole name between slashes, and ? and [ for nothing",
		"USERS=/var/*/[ab]":                 "USERS: /var/*/[ab]: a * stands for a whole name between slashes, and ? and [ for nothing",
		"QUOTA=many":                        "QUOTA: many: not a quota",
		"QUOTA_BUFFER=1073741825":           "QUOTA_BUFFER: 1073741825: not a number from 0 to 1073741824",
		"QUOTA_EXIT=99":                     "QUOTA_EXIT: 99: not one of 100, 111",
		"QUOTA_WARN=101":                    "QUOTA_WARN: 101: not a number from 1 to 100",
		"QUOTA_MESSAGE=full":                "QUOTA_MESSAGE: full: not an absolute path",
		"RULES=rules":                       "RULES: rules: not an absolute path",
		"QUOTA_TRASH=maybe":                 "QUOTA_TRASH: maybe: not one of auto, yes, no",
	} {
		_, err := Parse("/etc/f", []byte("VUSER=a\n\n"+line+"\nVMDIR=/x\n"))
		if want = "/etc/f:3: " + want; err == nil || err.Error() != want {
			t.Errorf("%q: %v; want %s", line, err, want)
		}
	}
}

// TestParseAll proves that a file is read to its end whatever is wrong with some of its
// lines: each of these is named, in order, and the others hold; that of every value is
// known where it stands; and that Parse returns the first error.
func TestParseAll(t *testing.T) {
	text := []byte("VMDIR=/a\nrm -rf /\nDAYS=7d\nVMDIR=/b\n\nDAYS=9\nNOSUCH=1\nVUSER=\nQMAIL=/q # x\nQMAIL=/q\n")
	p := ParseAll("f", text)
	want := Default()
	want.VMDir, want.QMail = "/a", "/q"
	if !reflect.DeepEqual(p.Settings, want) {
		t.Errorf("%+v\nwant %+v", p.Settings, want)
	}
	if lines := map[string]int{"VMDIR": 1, "QMAIL": 9}; !reflect.DeepEqual(p.Lines, lines) {
		t.Errorf("lines %v; want %v", p.Lines, lines)
	}
	var errs []string
	for _, err := range p.Errors {
		errs = append(errs, err.Error())
	}
	if want := []string{"f:2: not KEY=VALUE", "f:3: DAYS: 7d: not a number", "f:4: VMDIR: set before to another value",
		"f:6: DAYS: set before to another value", "f:7: NOSUCH: unknown key"}; !reflect.DeepEqual(errs, want) {
		t.Errorf("%q\nwant %q", errs, want)
	}
	if _, err := Parse("f", text); err == nil || err.Error() != errs[0] {
		t.Errorf("Parse: %v; want %s", err, errs[0])
	}
	for name, want := range map[string]string{"VMDIR": "/a", "DAYS": "21", "VUSER": "", "NOSUCH": ""} {
		if got := p.Settings.Value(name); got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

// TestReadTrust proves that root reads only what root alone can write, and that
// others read what they may.
func TestReadTrust(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	write := func(mode os.FileMode) {
		t.Helper()
		os.Remove(file) // it may be read-only
		if err := os.WriteFile(file, []byte("DAYS=3\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	owned := os.Geteuid() == 0
	for _, test := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o644, owned}, {0o600, owned}, {0o444, owned}, {0o664, false}, {0o646, false}, {0o666, false}} {
		write(test.mode)
		if _, err := Read(file, true); (err == nil) != test.ok {
			t.Errorf("mode %o under root: %v", test.mode, err)
		}
		if s, err := Read(file, false); err != nil || s.Days != 3 {
			t.Errorf("mode %o: %v", test.mode, err)
		}
	}
	if owned {
		write(0o644)
		if err := os.Chown(file, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file, true); err == nil || !strings.HasSuffix(err.Error(), "not owned by root") {
			t.Errorf("another's file under root: %v", err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, fifo, "/dev/null"} {
		if _, err := Read(name, true); err == nil || !strings.HasSuffix(err.Error(), "not a regular file") {
			t.Errorf("%s under root: %v", name, err)
		}
	}
	if err := os.WriteFile(file, make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file, false); err == nil || !strings.HasSuffix(err.Error(), "too large for a settings file") {
		t.Errorf("too large: %v", err)
	}
}

// TestKeysDocumented proves that kowaza.conf(5) and the sample name the keys
// that there are, and that the sample is a settings file.
func TestKeysDocumented(t *testing.T) {
	man, err := os.ReadFile("../../man/kowaza.conf.5")
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile("../../kowaza.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		if !strings.Contains(string(man), ".It Ev "+key+"\n") && !strings.Contains(string(man), ".It Ev "+key+" ") {
			t.Errorf("kowaza.conf(5) does not describe %s", key)
		}
		if !strings.Contains(string(sample), "#"+key+"=") {
			t.Errorf("the sample does not show %s", key)
		}
	}
	if _, err := Parse("kowaza.conf", sample); err != nil {
		t.Error(err)
	}
}

// FuzzParse proves that no text breaks the parser, and that what it takes is in
// bounds.
func FuzzParse(f *testing.F) {
	f.Add([]byte("VMDIR=\"/home\" # x\nDAYS=010\n#\nQMAIL='/q'\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("f", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("no file and line: %v", err)
			}
			return
		}
		if s.Days < 0 || s.Days > MaxDays || s.JMailCount < 1 || s.JMailCount > MaxCount ||
			s.VMDir != "" && s.VMDir[0] != '/' || s.QMail[0] != '/' {
			t.Errorf("out of bounds: %+v", s)
		}
	})
}
