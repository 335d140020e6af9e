package applets

import (
	"bytes"
	"fmt"
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

	"kowaza/internal/cli"
	"kowaza/internal/queue/queuetest"
	"kowaza/internal/settings"
)

// A checkedHost is a machine in a directory that --check looks at.
type checkedHost struct {
	t    *testing.T
	root string // goes before all that is absolute
	vars map[string]string
}

// newCheckedHost makes a host with a kowaza that runs, and nothing else.
func newCheckedHost(t *testing.T) *checkedHost {
	h := &checkedHost{t: t, root: t.TempDir(), vars: make(map[string]string)}
	h.file("usr/local/bin/kowaza", "\x7fELF this", 0o755)
	h.vars["PATH"] = h.root + "/usr/local/sbin:" + h.root + "/usr/local/bin:" + h.root + "/usr/bin"
	return h
}

// newFullHost makes one with all that kowaza can use: qmail, virtual users, each setting
// that names something.
func newFullHost(t *testing.T) *checkedHost {
	h := newCheckedHost(t)
	for _, a := range All {
		must(t, os.Symlink("kowaza", h.root+"/usr/local/bin/"+a.Name))
	}
	h.file("etc/passwd", "root:x:0:0::/root:/bin/sh\npopuser:x:500:500::/home/popuser:/bin/false\n", 0o644)
	h.file("usr/bin/getent", "#!/bin/sh\nexit 2\n", 0o755)
	h.file("usr/bin/svc", "#!/bin/sh\n", 0o755)
	h.file("usr/sbin/sendmail", "#!/bin/sh\n", 0o755)
	h.file("etc/kowaza.rules", "* Trash 7\n* * never\n", 0o644)
	h.file("etc/kowaza.quota", "Subject: full\n\nfull\n", 0o644)
	h.file("etc/kowaza.pw", "s3cr3t\n", 0o600)
	for _, user := range []string{"hanako", "taro"} {
		must(t, os.MkdirAll(h.root+"/home/popuser/"+user, 0o755))
	}
	h.file("var/qmail/users/assign", "=hanako:popuser:500:500:@/home/popuser/hanako:::\n=taro:popuser:500:500:@/home/popuser/taro:::\n.\n", 0o644)
	_, err := queuetest.Make(h.root+"/var/qmail/queue", queuetest.Layout{})
	must(t, err)
	h.conf("VMDIR=@/home/popuser", "VUSER=popuser", "DAYS=14", "RULES=@/etc/kowaza.rules", "QUOTA_MESSAGE=@/etc/kowaza.quota",
		"QMAIL_STOP=svc -d /service/qmail-send", "QMAIL_START=svc -u /service/qmail-send")
	return h
}

// file writes a file; @ in it is the host's directory.
func (h *checkedHost) file(name, text string, mode os.FileMode) {
	h.t.Helper()
	file := h.root + "/" + name
	must(h.t, os.MkdirAll(filepath.Dir(file), 0o755))
	os.Remove(file)
	must(h.t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "@", h.root)), mode))
	must(h.t, os.Chmod(file, mode))
}

// conf writes kowaza.conf.
func (h *checkedHost) conf(lines ...string) {
	h.t.Helper()
	h.file("etc/kowaza.conf", strings.Join(append(lines, ""), "\n"), 0o644)
}

// more adds lines to it.
func (h *checkedHost) more(lines ...string) {
	h.t.Helper()
	text, err := os.ReadFile(h.root + "/etc/kowaza.conf")
	must(h.t, err)
	h.conf(append([]string{strings.TrimSuffix(string(text), "\n")}, lines...)...)
}

// remove removes what is there.
func (h *checkedHost) remove(name string) {
	h.t.Helper()
	must(h.t, os.RemoveAll(h.root+"/"+name))
}

func (h *checkedHost) env(out, errs *bytes.Buffer) *cli.Env {
	return &cli.Env{Stdin: strings.NewReader(""), Stdout: cli.NewOutput(out), Stderr: errs, Root: h.root, Now: time.Now,
		Getenv: func(name string) string { return h.vars[name] }, Binary: func() (string, error) { return h.root + "/usr/local/bin/kowaza", nil }}
}

// check runs kowaza --check. The host's directory is taken out of the messages.
func (h *checkedHost) check() (stdout, stderr string, status int) {
	h.t.Helper()
	var out, errs bytes.Buffer
	status = Main(h.env(&out, &errs), []string{"kowaza", "--check"})
	return out.String(), strings.ReplaceAll(errs.String(), h.root, ""), status
}

// table returns the table as it is where the host's directory is /.
func (h *checkedHost) table() string {
	h.t.Helper()
	var b strings.Builder
	for _, row := range lookAround(h.env(new(bytes.Buffer), new(bytes.Buffer))).rows {
		row.text = strings.ReplaceAll(row.text, h.root, "")
		must(h.t, row.write(&b))
	}
	return b.String()
}

// rows are those of a table, without their line breaks and blanks.
func rows(table string) []string {
	table = strings.ReplaceAll(table, "\n"+strings.Repeat(" ", labelColumns+3), "")
	var all []string
	for line := range strings.Lines(table) {
		all = append(all, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), " ", ""))
	}
	return all
}

// markedRows are the rows with that mark.
func markedRows(table string, mark string) []string {
	return slices.DeleteFunc(rows(table), func(row string) bool { return !strings.HasPrefix(row, mark) })
}

// fits proves that a table has no more columns than a terminal, and at most so many lines.
func fits(t *testing.T, table string, most int) {
	t.Helper()
	for line := range strings.Lines(table) {
		if n := columns(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if n := strings.Count(table, "\n"); n > most {
		t.Errorf("%d lines; want at most %d\n%s", n, most, table)
	}
}

// version is what a table begins with.
func versionRow() string {
	return fmt.Sprintf("  kowaza       %s, /usr/local/bin/kowaza\n", cli.Version())
}

// TestCheckFull proves what is shown of a host that has everything: each key with its
// value and where that comes from, what it names, what is there, whose the names in PATH
// are; that it is one screen; and that nothing is said of it, status 0.
func TestCheckFull(t *testing.T) {
	h := newFullHost(t)
	want := versionRow() + `  kowaza.conf  /etc/kowaza.conf
  line 1       VMDIR=/home/popuser: there
  line 4       RULES=/etc/kowaza.rules: 2 rules
  line 5       QUOTA_MESSAGE=/etc/kowaza.quota: there
  default      QMAIL=/var/qmail: there, and a queue
  default      SENDMAIL=/usr/sbin/sendmail
  line 6       QMAIL_STOP=svc -d /service/qmail-send: /usr/bin/svc
  line 7       QMAIL_START=svc -u /service/qmail-send: /usr/bin/svc
  lines        VUSER=popuser (2), DAYS=14 (3)
`
	table := h.table()
	if head, _, _ := strings.Cut(table, "  default      USERS="); head != want {
		t.Errorf("%s\nwant\n%s", head, want)
	}
	want = `  users/assign /var/qmail/users/assign: 2 virtual users
  getent       /usr/bin/getent
  PATH         this kowaza: `
	if _, tail, _ := strings.Cut(table, "\n  users/assign"); !strings.HasPrefix("  users/assign"+tail, want) {
		t.Errorf("%s\nwant at the end\n%s", table, want)
	}
	last := rows(table)[len(rows(table))-1]
	if want := "PATHthiskowaza:" + strings.Join(ourNames(), ""); last != want {
		t.Errorf("%s; want %s", last, want)
	}
	fits(t, table, 24)
	out, errs, status := h.check()
	if errs != "" || status != 0 || len(markedRows(out, "!"))+len(markedRows(out, "?")) > 0 {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	for _, key := range settings.Keys() {
		if !regexp.MustCompile(`\b` + key + `\b`).MatchString(table) {
			t.Errorf("%s is not shown in\n%s", key, table)
		}
	}
	fits(t, out, 1000) // with paths as long as these
}

// TestCheckScreen proves that what is right fits a screen also where every key is set,
// where all those are that get a row of their own, and where every name in PATH is another
// kowaza's or somebody else's.
func TestCheckScreen(t *testing.T) {
	values := map[string]string{"USERS": "assign", "MAILDIR": "Maildir", "INBOX": "Inbox", "QUOTA_TRASH": "yes", "QUOTA": "10000000S,1000C",
		"QUOTA_BUFFER": "100", "QUOTA_EXIT": "111", "QUOTA_WARN": "90", "QMAIL": "@/var/qmail", "SENDMAIL": "@/usr/sbin/sendmail",
		"JMAIL_TO": "postmaster@example.jp", "JMAIL_FROM": "root@mail.example.jp", "JMAIL_CHARSET": "utf8", "JMAIL_COUNT": "1", "MAILTEST_EXIT": "0",
		"JMAIL_SERVER": "smtps://mail.example.jp", "JMAIL_USER": "hanako", "JMAIL_PASSWORD_FILE": "@/etc/kowaza.pw"}
	for name, only := range map[string][]string{"every key": nil,
		"those that name something": {"QMAIL", "SENDMAIL", "JMAIL_PASSWORD_FILE", "QUOTA"}} {
		t.Run(name, func(t *testing.T) {
			h := newFullHost(t)
			for _, key := range settings.Keys() {
				if values[key] != "" && (only == nil || slices.Contains(only, key)) {
					h.more(key + "=" + values[key])
				}
			}
			_, errs, status := h.check()
			if status != 0 || errs != "" {
				t.Errorf("status %d, %s", status, errs)
			}
			table := h.table()
			fits(t, table, 24)
			for _, key := range settings.Keys() {
				if only == nil && !regexp.MustCompile(`line \d+ +`+key+`=|`+key+`=\S+\s+\(\d`).MatchString(table) {
					t.Errorf("%s is not shown as set\n%s", key, table)
				}
			}
		})
	}
	t.Run("names", func(t *testing.T) {
		h := newFullHost(t)
		h.file("usr/bin/kowaza", "\x7fELF \x00kowaza/applets.Main\x00", 0o755)
		for i, name := range ourNames() {
			h.remove("usr/local/bin/" + name)
			switch {
			case i == 0:
				h.file("usr/local/bin/kowaza", "\x7fELF this", 0o755)
			case i%3 == 0:
				must(t, os.Symlink("kowaza", h.root+"/usr/bin/"+name))
			case i%3 == 1:
				h.file("usr/local/sbin/"+name, "#!/bin/sh\n# kowaza/applets.Main\n", 0o755)
			default:
				h.file("usr/local/bin/"+name, "#!/bin/sh\n", 0o755)
			}
		}
		fits(t, h.table(), 24)
		if out, errs, status := h.check(); status != 0 || errs != "" {
			t.Errorf("status %d, %s\n%s", status, errs, out)
		}
	})
}

// TestCheckBare proves that a host with nothing on it is told of, with what there is not,
// and that nothing is wrong with that.
func TestCheckBare(t *testing.T) {
	h := newCheckedHost(t)
	h.file("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644)
	out, errs, status := h.check()
	if status != 0 || errs != "" {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	table := h.table()
	fits(t, table, 24)
	for _, want := range []string{
		"  kowaza.conf  /etc/kowaza.conf: there is none, and need be none\n",
		"  default      QMAIL=/var/qmail: there is none: no qmail on this host\n",
		"  not set      SENDMAIL: there is none: nothing is sent by it\n",
		"  getent       /etc/passwd: there is no getent: users are looked up here alone\n",
		"  PATH         this kowaza: kowaza\n  PATH         not there: rmoldmail rmmail_virtual ",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	for _, not := range []string{"users/assign ", "queue", "!", "?", "line"} {
		if strings.Contains(table, not) {
			t.Errorf("%q is in\n%s", not, table)
		}
	}
}

// TestCheckSays proves what is said, and not called wrong: of qmail, users and mail stores
// of other kinds, and of the names in PATH.
func TestCheckSays(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(h *checkedHost)
		want string // a row, without its blanks
	}{
		{"a qmail without virtual users", func(h *checkedHost) { h.remove("var/qmail/users"); h.conf("DAYS=3") }, "users/assign/var/qmail/users/assign:thereisnone:novirtualusers"},
		{"no setting says who is one", func(h *checkedHost) { h.conf("DAYS=3") }, "users/assign/var/qmail/users/assign:there;withneitherVMDIRnorVUSERnobodyinitisavirtualuser"},
		{"a qmail without queue", func(h *checkedHost) { h.remove("var/qmail/queue") }, "queue/var/qmail/queue:thereisnone:nothingforqqcleanandqmHandle"},
		{"a pattern", func(h *checkedHost) { h.conf("USERS=@/home/popuser/*") }, "line1USERS=/home/popuser/*:2virtualusers"},
		{"a pattern without qmail", func(h *checkedHost) { h.remove("var"); h.conf("USERS=@/home/popuser/*") }, "defaultQMAIL=/var/qmail:thereisnone:noqmailonthishost"},
		{"KOWAZA_CONF", func(h *checkedHost) {
			h.file("my.conf", "\nDAYS=3\n", 0o644)
			h.vars["KOWAZA_CONF"] = h.root + "/my.conf"
		}, "KOWAZA_CONF/my.conf"},
		{"its lines", func(h *checkedHost) {
			h.file("my.conf", "\nDAYS=3\n", 0o644)
			h.vars["KOWAZA_CONF"] = h.root + "/my.conf"
		}, "linesDAYS=3(2)"},
		{"a command for the shell", func(h *checkedHost) { h.conf("QMAIL_STOP='svc -d /x && sleep 1'", "QMAIL_START=svc") }, "line1QMAIL_STOP=svc-d/x&&sleep1:runby/bin/sh"},
		{"the same again", func(h *checkedHost) { h.more("VUSER=popuser", "JMAIL_TO=") }, "linesVUSER=popuser(2),DAYS=14(3)"},
		{"bytes that are no text", func(h *checkedHost) { h.more("JMAIL_TO=\xff\\") }, ""},
		{"qmail's sendmail", func(h *checkedHost) {
			h.remove("usr/sbin/sendmail")
			h.file("var/qmail/bin/sendmail", "", 0o755)
		}, "defaultSENDMAIL=/var/qmail/bin/sendmail"},
		{"a script of that name", func(h *checkedHost) { h.file("usr/local/sbin/mailtest", "#!/bin/sh\n", 0o755) }, "PATHsomebodyelse's,in/usr/local/sbin:mailtest"},
		{"another program", func(h *checkedHost) {
			h.file("usr/local/sbin/mailtest", "\x7fELF"+strings.Repeat("x", 300<<10), 0o755)
		}, "PATHsomebodyelse's,in/usr/local/sbin:mailtest"},
		{"a link to another kowaza", func(h *checkedHost) {
			// Its mark lies across two reads.
			h.file("opt/old", "\x7fELF"+strings.Repeat("x", 256<<10-10)+"kowaza/applets.Main", 0o755)
			must(h.t, os.MkdirAll(h.root+"/usr/local/sbin", 0o755))
			must(h.t, os.Symlink(h.root+"/opt/old", h.root+"/usr/local/sbin/qqclean"))
			must(h.t, os.Symlink("../../../opt/old", h.root+"/usr/local/sbin/mkdigest"))
		}, "PATHanotherkowaza,/opt/old:qqcleanmkdigest"},
		{"one that lacks", func(h *checkedHost) { h.remove("usr/local/bin/mailtalk") }, "PATHnotthere:mailtalk"},
		{"one that cannot be run", func(h *checkedHost) {
			h.remove("usr/local/bin/mailtalk")
			h.file("usr/local/bin/mailtalk", "\x7fELF this", 0o644)
			must(h.t, os.MkdirAll(h.root+"/usr/local/sbin/mailtalk", 0o755))
		}, "PATHnotthere:mailtalk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newFullHost(t)
			test.make(h)
			out, errs, status := h.check()
			wrong := 0
			if test.want == "" { // an address that is none
				test.want, wrong = `!line8JMAIL_TO=\377\\:notASCII`, 1
			}
			if status != wrong || (errs == "") != (wrong == 0) {
				t.Errorf("status %d, %s", status, errs)
			}
			if !slices.Contains(rows(h.table()), test.want) {
				t.Errorf("%s is no row of\n%s", test.want, h.table())
			}
			fits(t, out, 1000)
		})
	}
}

// A fault of a host: how it is made, and what is said of it.
type hostFault struct {
	name string
	make func(h *checkedHost)
	row  string // without its blanks
	says []string
}

const (
	notRead = "until that is mended, nothing that reads the file runs"
	notRoot = "nothing that reads it runs: chown root, chmod go-w"
)

var hostFaults = []hostFault{
	{"a malformed line", func(h *checkedHost) { h.more("rm -rf /", "MAILTEST_EXIT=0") },
		"!line8notKEY=VALUE", []string{"/etc/kowaza.conf:8: not KEY=VALUE", "/etc/kowaza.conf: 1 wrong line: " + notRead}},
	{"a bad value", func(h *checkedHost) { h.more("QUOTA=many") },
		"!line8QUOTA:many:notaquota", []string{"/etc/kowaza.conf:8: QUOTA: many: not a quota", "/etc/kowaza.conf: 1 wrong line: " + notRead}},
	{"no KOWAZA_CONF", func(h *checkedHost) {
		h.vars["KOWAZA_CONF"] = h.root + "/none"
		h.remove("home")
		h.remove("var/qmail/users")
	},
		"!KOWAZA_CONF/none:nosuchfileordirectory:notread", []string{"/none: no such file or directory: make it, or unset KOWAZA_CONF, which names it"}},
	{"no VMDIR", func(h *checkedHost) { h.remove("home/popuser") },
		"!line1VMDIR=/home/popuser:nosuchfileordirectory", []string{"VMDIR: /home/popuser: no such file or directory: mount it, or mend line 1 of /etc/kowaza.conf"}},
	{"VMDIR a file", func(h *checkedHost) { h.remove("home/popuser"); h.file("home/popuser", "", 0o644) },
		"!line1VMDIR=/home/popuser:notadirectory", []string{"VMDIR: /home/popuser: not a directory: mount it, or mend line 1 of /etc/kowaza.conf"}},
	{"VMDIR behind a link that is not followed", func(h *checkedHost) {
		must(h.t, os.Rename(h.root+"/home/popuser", h.root+"/home/p"))
		must(h.t, os.Chmod(h.root+"/home", 0o777))
		must(h.t, os.Symlink("p", h.root+"/home/popuser"))
	}, "!line1VMDIR=/home/popuser:linknotfollowed:othersmaywritethedirectorythatitliesin",
		[]string{"VMDIR: /home/popuser: link not followed: others may write the directory that it lies in: mount it, or mend line 1 of /etc/kowaza.conf"}},
	{"no RULES", func(h *checkedHost) { h.remove("etc/kowaza.rules") },
		"!line4RULES=/etc/kowaza.rules:nosuchfileordirectory", []string{"RULES: /etc/kowaza.rules: no such file or directory: mend that, or line 4 of /etc/kowaza.conf: until then rmoldmail and rmmail_virtual remove nothing"}},
	{"a bad rule", func(h *checkedHost) { h.file("etc/kowaza.rules", "* * 3\n* Trash\n", 0o644) },
		"!line4RULES=/etc/kowaza.rules:2:notUSERFOLDERDAYS", []string{"RULES: /etc/kowaza.rules:2: not USER FOLDER DAYS: mend that, or line 4 of /etc/kowaza.conf: until then rmoldmail and rmmail_virtual remove nothing"}},
	{"no QUOTA_MESSAGE", func(h *checkedHost) { h.remove("etc/kowaza.quota") },
		"!line5QUOTA_MESSAGE=/etc/kowaza.quota:nosuchfileordirectory", []string{"QUOTA_MESSAGE: /etc/kowaza.quota: no such file or directory: mend that, or line 5 of /etc/kowaza.conf"}},
	{"QUOTA_MESSAGE a FIFO", func(h *checkedHost) {
		h.remove("etc/kowaza.quota")
		must(h.t, syscall.Mkfifo(h.root+"/etc/kowaza.quota", 0o644))
	}, "!line5QUOTA_MESSAGE=/etc/kowaza.quota:notaregularfile", []string{"QUOTA_MESSAGE: /etc/kowaza.quota: not a regular file: mend that, or line 5 of /etc/kowaza.conf"}},
	{"no QMAIL that is set", func(h *checkedHost) { h.conf("QMAIL=@/opt/qmail") },
		"!line1QMAIL=/opt/qmail:nosuchfileordirectory", []string{"QMAIL: /opt/qmail: no such file or directory: mend that, or line 1 of /etc/kowaza.conf"}},
	{"QMAIL a file", func(h *checkedHost) { h.remove("var/qmail"); h.file("var/qmail", "", 0o644); h.conf() },
		"!defaultQMAIL=/var/qmail:notadirectory", []string{"QMAIL: /var/qmail: not a directory: mend that, or set QMAIL in /etc/kowaza.conf"}},
	{"SENDMAIL a directory", func(h *checkedHost) { h.more("SENDMAIL=@/usr/sbin") },
		"!line8SENDMAIL=/usr/sbin:notaregularfile", []string{"SENDMAIL: /usr/sbin: not a regular file: mend that, or line 8 of /etc/kowaza.conf"}},
	{"no SENDMAIL that is set", func(h *checkedHost) { h.more("SENDMAIL=@/usr/lib/sendmail") },
		"!line8SENDMAIL=/usr/lib/sendmail:nosendmailcommand:/usr/lib/sendmail:nosuchfileordirectory",
		[]string{"SENDMAIL: /usr/lib/sendmail: no sendmail command: /usr/lib/sendmail: no such file or directory: mend that, or line 8 of /etc/kowaza.conf"}},
	{"a sendmail that is none", func(h *checkedHost) { h.remove("usr/sbin"); must(h.t, os.MkdirAll(h.root+"/usr/sbin/sendmail", 0o755)) },
		"!notsetSENDMAIL:/usr/sbin/sendmail:notaregularfile", []string{"SENDMAIL: /usr/sbin/sendmail: not a regular file: mend that, or set SENDMAIL in /etc/kowaza.conf"}},
	{"a sendmail that cannot be run", func(h *checkedHost) { h.file("usr/sbin/sendmail", "", 0o644) },
		"!notsetSENDMAIL:/usr/sbin/sendmail:permissiondenied", []string{"SENDMAIL: /usr/sbin/sendmail: permission denied: mend that, or set SENDMAIL in /etc/kowaza.conf"}},
	{"JMAIL_FROM no address", func(h *checkedHost) { h.more("JMAIL_FROM=a, b") },
		"!line8JMAIL_FROM=a,b:holds,", []string{"JMAIL_FROM: a, b: holds ,: mend that, or line 8 of /etc/kowaza.conf"}},
	{"no program to stop qmail", func(h *checkedHost) {
		h.remove("usr/bin/svc")
		h.conf("QMAIL_STOP=svc -d", "QMAIL_START=@/usr/bin/getent")
	},
		"!line1QMAIL_STOP=svc-d:svc:notinPATH", []string{"QMAIL_STOP: svc -d: svc: not in PATH: write its whole path in line 1 of /etc/kowaza.conf"}},
	{"no program to start it", func(h *checkedHost) { h.conf("QMAIL_STOP=svc -d", "QMAIL_START=@/usr/bin/svk -u") },
		"!line2QMAIL_START=/usr/bin/svk-u:/usr/bin/svk:nosuchfileordirectory", []string{"QMAIL_START: /usr/bin/svk -u: /usr/bin/svk: no such file or directory: mend that, or line 2 of /etc/kowaza.conf"}},
	{"one of the two commands", func(h *checkedHost) { h.conf("QMAIL_STOP=svc -d") },
		"!line1QMAIL_STOP=svc-d:ofnousewithoutQMAIL_START", []string{"QMAIL_STOP: svc -d: of no use without QMAIL_START: set that in /etc/kowaza.conf as well"}},
	{"no users/assign that is needed", func(h *checkedHost) { h.remove("var/qmail/users") },
		"!users/assign/var/qmail/users/assign:nosuchfileordirectory", []string{"/var/qmail/users/assign: no such file or directory: rmmail_virtual finds the users there: mend QMAIL in /etc/kowaza.conf, or set USERS to a pattern such as /var/vmail/*/*"}},
	{"an unreadable users/assign", func(h *checkedHost) {
		h.remove("var/qmail/users/assign")
		must(h.t, os.Mkdir(h.root+"/var/qmail/users/assign", 0o755))
	},
		"!users/assign/var/qmail/users/assign:notaregularfile", []string{"/var/qmail/users/assign: not a regular file: rmmail_virtual finds the users there: compare VMDIR with field 5 of its lines and VUSER with field 2"}},
	{"the same where there are no virtual users", func(h *checkedHost) {
		h.conf()
		h.remove("var/qmail/users/assign")
		must(h.t, syscall.Mkfifo(h.root+"/var/qmail/users/assign", 0o644))
	}, "!users/assign/var/qmail/users/assign:notaregularfile", []string{"/var/qmail/users/assign: not a regular file: qmail reads its users there"}},
	{"malformed lines in users/assign", func(h *checkedHost) {
		h.file("var/qmail/users/assign", "=taro:popuser:500:500:@/home/popuser/taro:::\nx\n=a:b:c:d:e:f:g:\n.\n", 0o644)
	}, "!users/assign/var/qmail/users/assign:2errorsinit:1virtualuser",
		[]string{"/var/qmail/users/assign:2: x: malformed line: fewer than 7 colons", "/var/qmail/users/assign:3: c:d: uid or gid is not a number",
			"/var/qmail/users/assign: 2 errors in it: until that is mended, rmmail_virtual does without those users"}},
	{"nobody in users/assign", func(h *checkedHost) { h.file("var/qmail/users/assign", "=a:b:1:1:/home/b:::\n.\n", 0o644) },
		"!users/assign/var/qmail/users/assign:novirtualuserbelow/home/popuserofpopuser",
		[]string{"/var/qmail/users/assign: no virtual user below /home/popuser of popuser: rmmail_virtual finds the users there: compare VMDIR with field 5 of its lines and VUSER with field 2"}},
	{"a pattern that finds nobody", func(h *checkedHost) { h.conf("USERS=@/home/popuser/*/*") },
		"!line1USERS=/home/popuser/*/*:nodirectorythatisavirtualuser's",
		[]string{"USERS: /home/popuser/*/*: no directory that is a virtual user's: mount the mail store, or mend line 1 of /etc/kowaza.conf"}},
	{"a pattern of an account that there is not", func(h *checkedHost) { h.conf("USERS=@/home/popuser/*", "VUSER=vmail") },
		"!line1USERS=/home/popuser/*:vmail:nosuchuser", []string{"USERS: /home/popuser/*: vmail: no such user: mount the mail store, or mend line 1 of /etc/kowaza.conf"}},
	{"a pattern of what is not there", func(h *checkedHost) { h.conf("USERS=@/var/vmail/*") },
		"!line1USERS=/var/vmail/*:1errorinit:0virtualusers",
		[]string{"/var/vmail: no such file or directory", "USERS: /var/vmail/*: 1 error in it: until that is mended, rmmail_virtual does without those users"}},
	{"a queue that contradicts itself", func(h *checkedHost) { h.remove("var/qmail/queue/mess") },
		"!queue/var/qmail/queue/mess:noqueuethatcouldbetrusted:missing", []string{"/var/qmail/queue/mess: no queue that could be trusted: missing: until that is mended, qqclean and qmHandle touch nothing"}},
	{"a getent that fails", func(h *checkedHost) { h.file("usr/bin/getent", "#!/bin/sh\nexit 3\n", 0o755); h.conf() },
		"!getent/usr/bin/getent:getentpasswdkowaza-check:exitstatus3",
		[]string{"/usr/bin/getent: getent passwd kowaza-check: exit status 3: until that is mended, nobody is found who is not in /etc/passwd, and rmmail_virtual cleans nobody"}},
	{"a link to nothing", func(h *checkedHost) {
		h.remove("usr/local/bin/mailtalk")
		must(h.t, os.Symlink("kowaza.old", h.root+"/usr/local/bin/mailtalk"))
	},
		"!PATHalinktonothing:/usr/local/bin/mailtalk", []string{"/usr/local/bin/mailtalk: a link to nothing: remove it, or install kowaza again"}},
	{"a link to nothing behind it", func(h *checkedHost) { must(h.t, os.Symlink("nothing", h.root+"/usr/bin/mailtest")) },
		"!PATHalinktonothing:/usr/bin/mailtest", []string{"/usr/bin/mailtest: a link to nothing: remove it, or install kowaza again"}},
	{"a link to nothing before kowaza's", func(h *checkedHost) {
		must(h.t, os.MkdirAll(h.root+"/usr/local/sbin", 0o755))
		must(h.t, os.Symlink("nothing", h.root+"/usr/local/sbin/mailtest"))
	},
		"!PATHalinktonothing:/usr/local/sbin/mailtest", []string{"/usr/local/sbin/mailtest: a link to nothing: remove it, or install kowaza again"}},
}

// rootFaults are those that only root can make, or only root takes for one.
var rootFaults = []hostFault{
	{"kowaza.conf of another", func(h *checkedHost) { must(h.t, os.Chown(h.root+"/etc/kowaza.conf", 12345, 0)) },
		"!kowaza.conf/etc/kowaza.conf:notownedbyroot:notread", []string{"/etc/kowaza.conf: not owned by root: " + notRoot}},
	{"kowaza.conf that others may write", func(h *checkedHost) { must(h.t, os.Chmod(h.root+"/etc/kowaza.conf", 0o664)) },
		"!kowaza.conf/etc/kowaza.conf:writablebyothersthanroot:notread", []string{"/etc/kowaza.conf: writable by others than root: " + notRoot}},
	{"kowaza.conf a FIFO", func(h *checkedHost) {
		h.remove("etc/kowaza.conf")
		must(h.t, syscall.Mkfifo(h.root+"/etc/kowaza.conf", 0o644))
	}, "!kowaza.conf/etc/kowaza.conf:notaregularfile:notread", []string{"/etc/kowaza.conf: not a regular file: " + notRoot}},
	{"RULES of another", func(h *checkedHost) { must(h.t, os.Chown(h.root+"/etc/kowaza.rules", 12345, 0)) },
		"!line4RULES=/etc/kowaza.rules:notownedbyroot", []string{"RULES: /etc/kowaza.rules: not owned by root: mend that, or line 4 of /etc/kowaza.conf: until then rmoldmail and rmmail_virtual remove nothing"}},
	{"VMDIR of root's where a user can rename it", func(h *checkedHost) { must(h.t, os.Chown(h.root+"/home", 12345, 0)) },
		"!line1VMDIR=/home/popuser:ownedbyroot,butbelowadirectoryinwhichothersthanrootcanrenameit",
		[]string{"VMDIR: /home/popuser: owned by root, but below a directory in which others than root can rename it: mount it, or mend line 1 of /etc/kowaza.conf"}},
}

// find proves that a fault is marked, that its messages are the only ones, with what is to
// be done, that the status is 1, and that the other rows are there.
func (f *hostFault) find(t *testing.T) {
	h := newFullHost(t)
	f.make(h)
	out, errs, status := h.check()
	want := ""
	for _, line := range f.says {
		want += "kowaza: " + line + "\n"
	}
	if status != 1 || errs != want {
		t.Errorf("status %d,\n%s\nwant 1,\n%s", status, errs, want)
	}
	table := h.table()
	if got := markedRows(table, "!"); !slices.Equal(got, []string{f.row}) {
		t.Errorf("marked are %q; want %q in\n%s", got, f.row, table)
	}
	for _, label := range []string{"kowaza", "getent", "PATH", "default"} {
		if !strings.Contains(out, "\n  "+label+" ") && !strings.HasPrefix(out, "  "+label+" ") && !strings.HasPrefix(f.row, "!"+label) {
			t.Errorf("no row %s in\n%s", label, out)
		}
	}
	fits(t, out, 1000)
}

// TestCheckWrong proves of each thing that can be wrong that it is found; see find.
func TestCheckWrong(t *testing.T) {
	for _, f := range hostFaults {
		t.Run(f.name, f.find)
	}
}

// TestCheckWrongRoot proves the same of what can be wrong for root alone.
func TestCheckWrongRoot(t *testing.T) {
	needRoot(t)
	for _, f := range rootFaults {
		t.Run(f.name, f.find)
	}
}

// TestCheckMalformed proves that each malformed line of a kowaza.conf is named, twenty at
// most, and that what the others say is shown all the same.
func TestCheckMalformed(t *testing.T) {
	h := newFullHost(t)
	h.more(strings.Repeat("# a file of something else\npassword: s3cr3t\n", 30) + "QUOTA_EXIT=111")
	out, errs, status := h.check()
	if status != 1 || strings.Count(errs, ": not KEY=VALUE\n") != 20 || strings.Contains(out+errs, "s3cr3t") ||
		!strings.HasSuffix(errs, "\nkowaza: /etc/kowaza.conf: ... and 10 more\nkowaza: /etc/kowaza.conf: 30 wrong lines: "+notRead+"\n") {
		t.Errorf("status %d\n%s", status, errs)
	}
	if n := len(markedRows(out, "!")); n != 21 || !strings.Contains(out, "...and10more") && !strings.Contains(out, "... and 10 more") {
		t.Errorf("%d rows are marked in\n%s", n, out)
	}
	for _, want := range []string{"linesVUSER=popuser(2),DAYS=14(3),QUOTA_EXIT=111(68)", "line1VMDIR=/home/popuser:there"} {
		if !slices.Contains(rows(h.table()), want) {
			t.Errorf("%s is no row of\n%s", want, out)
		}
	}
}

// TestCheckLogin proves that of a password file name, owner and mode are shown, what is
// wrong with them is said, and nothing of what is in it; and that what names no server,
// which may hold a password, is not shown.
func TestCheckLogin(t *testing.T) {
	h := newFullHost(t)
	me := "root"
	if os.Geteuid() != 0 {
		me = "uid " + strconv.Itoa(os.Geteuid())
	}
	for _, test := range []struct {
		key, value string
		mode       os.FileMode
		row, says  string
	}{
		{"JMAIL_PASSWORD_FILE", "/etc/kowaza.pw", 0o600, "  label        KEY=/etc/kowaza.pw: of " + me + ", mode 0600", ""},
		{"JMAIL_PASSWORD_FILE", "/etc/kowaza.pw", 0o644, "! label        KEY=/etc/kowaza.pw: others may read or write it: chmod 600: of " + me + ", mode 0644", "KEY: /etc/kowaza.pw: others may read or write it: chmod 600: mend"},
		{"JMAIL_PASSWORD_FILE", "/etc", 0o600, "! label        KEY=/etc: not a regular file: of " + me + ", mode 0755", "KEY: /etc: not a regular file: mend"},
		{"JMAIL_PASSWORD_FILE", "/etc/none", 0o600, "! label        KEY=/etc/none: no such file or directory", "KEY: /etc/none: no such file or directory: mend"},
		{"JMAIL_SERVER", "smtps://mail.example.jp", 0, "  label        KEY=smtps://mail.example.jp", ""},
		{"JMAIL_SERVER", "smtp://u:s3cr3t@mail", 0, "! label        KEY=****: a user, a path or a query has no place in it", "KEY: ****: a user, a path or a query has no place in it: mend"},
		{"JMAIL_SERVER", "pop3", 0, "! label        KEY=****: pop3 takes no mail: not smtp or smtps", "KEY: ****: pop3 takes no mail: not smtp or smtps: mend"},
	} {
		f := fact{label: "label", key: test.key, value: test.value, mend: "mend"}
		if strings.HasPrefix(test.value, "/") {
			f.value = h.root + test.value
			must(t, os.Chmod(h.root+"/etc/kowaza.pw", test.mode))
		}
		var said bytes.Buffer
		c := &check{env: h.env(&said, &said), cleans: true}
		c.env.RunAs(&cli.Applet{Name: "kowaza", Run: func(*cli.Env, []string) error {
			c.look(&f)
			c.add(f)
			for _, say := range c.wrong {
				say()
			}
			return nil
		}}, nil)
		c.rows[0].text = strings.ReplaceAll(c.rows[0].text, h.root, "")
		var row strings.Builder
		must(t, c.rows[0].write(&row))
		want := strings.ReplaceAll(test.row, "KEY", test.key)
		if got := rows(row.String()); got[0] != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s=%s: %q; want %q", test.key, test.value, row.String(), want)
		}
		says := ""
		if test.says != "" {
			says = "kowaza: " + strings.ReplaceAll(test.says, "KEY", test.key) + "\n"
		}
		if got := strings.ReplaceAll(said.String(), h.root, ""); got != says || strings.Contains(row.String()+got, "s3cr3t") {
			t.Errorf("%s=%s: %q; want %q", test.key, test.value, got, says)
		}
	}
	h.more("JMAIL_PASSWORD_FILE=@/etc/kowaza.pw")
	must(t, os.Chmod(h.root+"/etc/kowaza.pw", 0o600))
	if out, errs, status := h.check(); status != 0 || errs != "" || !strings.Contains(out, "JMAIL_PASSWORD_FILE=") || strings.Contains(out, "s3cr3t") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	h.conf("JMAIL_PASSWORD_FILE=s3cr3t", "JMAIL_SERVER=smtp://u:s3cr3t@mail")
	if out, errs, status := h.check(); status != 1 || strings.Count(errs, "\n") != 3 || strings.Contains(out+errs, "s3cr3t") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
}

// TestCheckLong proves that a row breaks at its blanks, else anywhere, that Japanese has two
// columns a character, and that no byte of it is lost.
func TestCheckLong(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("word ", 60), strings.Repeat("x", 500), strings.Repeat("ゴミ箱", 70), "a " + strings.Repeat("あ", 33) + " b",
		strings.Repeat("y", 65), strings.Repeat("y", 66), "two  blanks", "\x1b[2J\xff"} {
		var b strings.Builder
		must(t, checkRow{asItShould, "users/assign", text}.write(&b))
		fits(t, b.String(), 20)
		want := "users/assign" + strings.ReplaceAll(strings.NewReplacer("\x1b", `\033`, "\xff", `\377`).Replace(text), " ", "")
		if got := rows(b.String()); len(got) != 1 || got[0] != want {
			t.Errorf("%q is shown as\n%s", text, b.String())
		}
	}
	var b strings.Builder
	must(t, checkRow{isWrong, "default", strings.Repeat("nine char", 8)}.write(&b))
	if want := "! default      nine charnine charnine charnine charnine charnine charnine\n               charnine char\n"; b.String() != want {
		t.Errorf("%q; want %q", b.String(), want)
	}
}

// TestCheckUser proves that somebody who is not root is shown what he can see; that what
// only root need get at is marked and not wrong for him, but for the account of VUSER;
// that what his own commands need is wrong; and that no content of a password file is
// shown to anybody.
func TestCheckUser(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	h := newFullHost(t)
	openParents(t, h.root)
	h.conf("VMDIR=@/home/popuser", "VUSER=popuser", "QMAIL=@/var/qmail", "SENDMAIL=@/usr/sbin/sendmail", "RULES=@/etc/kowaza.rules")
	for _, name := range []string{"home", "var/qmail/queue"} {
		must(t, os.Chmod(h.root+"/"+name, 0o700))
	}
	must(t, os.Chmod(h.root+"/var/qmail/users/assign", 0o600))
	asNobody := func() ending {
		cmd := exec.Command(bin+"/kowaza", "--check")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+h.root+"/etc/kowaza.conf")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		e := runEnd(t, cmd)
		e.stderr = strings.ReplaceAll(e.stderr, h.root, "")
		return e
	}
	e := asNobody()
	if got := markedRows(e.stdout, "?"); e.status != 0 || e.stderr != "" || len(got) != 3 ||
		!strings.Contains(got[0], "VMDIR=") || !strings.Contains(got[1], "queue") || !strings.Contains(got[2], "users/assign") {
		t.Errorf("status %d, %s\n%s", e.status, e.stderr, e.stdout)
	}
	h.conf("VMDIR=@/home/popuser", "VUSER=nobody", "QMAIL=@/var/qmail")
	e = asNobody()
	if want := "kowaza: VMDIR: /home/popuser: permission denied: mount it, or mend line 1 of /etc/kowaza.conf\n"; e.status != 1 || !strings.HasPrefix(e.stderr, want) || strings.Count(e.stderr, "\n") != 3 {
		t.Errorf("as VUSER: status %d, %s\n%s", e.status, e.stderr, e.stdout)
	}
	h.conf("RULES=@/etc/kowaza.rules", "QMAIL=@/var/qmail")
	must(t, os.Chmod(h.root+"/etc/kowaza.rules", 0o600))
	if e = asNobody(); e.status != 1 || !strings.Contains(e.stderr, "kowaza: RULES: /etc/kowaza.rules: permission denied: ") {
		t.Errorf("RULES: status %d, %s\n%s", e.status, e.stderr, e.stdout)
	}
	must(t, os.Chmod(h.root+"/etc/kowaza.conf", 0o600))
	if e = asNobody(); e.status != 1 || e.stderr != "kowaza: /etc/kowaza.conf: permission denied: whoever runs a command must be able to read it: chmod 644\n" {
		t.Errorf("kowaza.conf: status %d, %s\n%s", e.status, e.stderr, e.stdout)
	}
	if out, errs, status := h.check(); !strings.Contains(out, "a user's .qmail line") && !strings.Contains(strings.Join(rows(out), "\n"), "auser's.qmaillinecannotreadit") || status != 0 {
		t.Errorf("kowaza.conf as root: status %d, %s\n%s", status, errs, out)
	}
}

// TestCheckReadsOnly proves by its system calls that --check writes, makes, removes and
// locks nothing, runs no program but getent, and enters no Maildir, not even a user's home.
func TestCheckReadsOnly(t *testing.T) {
	bin := staticBinary(t)
	strace := needCommand(t, "strace")
	h := newFullHost(t)
	makeMaildirs(t, h.root+"/home/popuser/hanako/Maildir", h.root+"/home/popuser/taro/Maildir")
	for _, users := range []string{"assign", "@/home/popuser/*"} {
		h.conf("VMDIR=@/home/popuser", "VUSER=popuser", "QMAIL=@/var/qmail", "SENDMAIL=@/usr/sbin/sendmail", "RULES=@/etc/kowaza.rules", "QUOTA_MESSAGE=@/etc/kowaza.quota",
			"QMAIL_STOP=@/usr/bin/svc", "QMAIL_START=@/usr/bin/svc", "USERS="+users)
		if users != "assign" {
			h.conf("USERS="+users, "QMAIL=@/var/qmail")
		}
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command(strace, "-f", "-qq", "-s", "4096", "-o", trace, "-e",
			"trace=%file,openat,flock,ftruncate,fchmod,fchown,write,pwrite64,setfsuid,setfsgid,setuid,setgid,setgroups,connect,bind", bin+"/kowaza", "--check")
		cmd.Env = append(os.Environ(), "KOWAZA_CONF="+h.root+"/etc/kowaza.conf")
		e := runEnd(t, cmd)
		if e.status != 0 || !strings.Contains(strings.Join(rows(e.stdout), "\n"), "2virtualusers") {
			t.Errorf("status %d, %s\n%s", e.status, e.stderr, e.stdout)
		}
		text, err := os.ReadFile(trace)
		must(t, err)
		first, _, _ := strings.Cut(string(text), " ")
		others := make(map[string]bool) // processes of getent
		reads, calls := regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`), 0
		for line := range strings.Lines(string(text)) {
			m := reads.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				continue
			}
			pid, call, rest := m[1], m[2], m[3]
			if call == "execve" && pid != first {
				if !strings.Contains(rest, `bin/getent", ["`) {
					t.Errorf("it runs %s", rest)
				}
				others[pid] = true
			}
			if others[pid] {
				continue
			}
			calls++
			switch call {
			case "openat":
				if !strings.Contains(rest, `"/dev/null"`) && regexp.MustCompile("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC").MatchString(rest) {
					t.Errorf("%s(%s", call, rest)
				}
			case "write":
				if !strings.HasPrefix(rest, "1, ") && !strings.Contains(rest, `"\1\0\0\0\0\0\0\0"`) { // to itself, of the runtime
					t.Errorf("%s(%s", call, rest)
				}
				continue
			case "execve", "newfstatat", "statx", "stat", "lstat", "readlinkat", "readlink", "faccessat", "faccessat2", "access", "getcwd", "statfs":
			case "chdir": // of a child that becomes getent
			default:
				t.Errorf("%s(%s", call, rest)
			}
			if strings.Contains(rest, `Maildir`) || call == "openat" && regexp.MustCompile(`"(\S*/)?(hanako|taro)"`).MatchString(rest) {
				t.Errorf("it goes to a Maildir: %s(%s", call, rest)
			}
		}
		if calls < 50 {
			t.Errorf("only %d calls seen", calls)
		}
	}
}

// TestHostCheckUsage proves that --check takes no operand and no other way to look.
func TestHostCheckUsage(t *testing.T) {
	_, errs, status := runIn(nil, "kowaza", "--check", "rmoldmail")
	if want := "kowaza: too many operands: rmoldmail\n"; status != 2 || !strings.HasPrefix(errs, want) {
		t.Errorf("status %d, %q; want 2, %q", status, errs, want)
	}
	// An Env without a binary and without PATH is looked at all the same.
	out, errs, status := runIn(nil, "kowaza", "--check")
	if status != 0 || errs != "" || !strings.HasPrefix(out, "  kowaza       "+cli.Version()+"\n") {
		t.Errorf("status %d, %q\n%s", status, errs, out)
	}
}

// TestIsKowaza proves that the binary as it is installed, and that of the tests, are found
// to be kowaza by their content, and that no other program of this host is.
func TestIsKowaza(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	stripped := t.TempDir() + "/stripped"
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", stripped, "kowaza")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, want := range map[string]bool{staticBinary(t) + "/rmoldmail": true, stripped: true, self: true, "/bin/sh": false, "/etc/passwd": false, "/": false, "/dev/null": false} {
		if got, err := isKowaza(file); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", file, got, err, want)
		}
	}
	if _, err := isKowaza("/nonexistent"); !os.IsNotExist(err) {
		t.Errorf("/nonexistent: %v", err)
	}
}
