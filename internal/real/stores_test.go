package real

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// configure has kowaza read these settings in the test.
func configure(t *testing.T, settings string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kowaza.conf")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KOWAZA_CONF", file)
}

// TestDovecotStores proves of stores that Dovecot makes in other shapes than a Maildir
// in the home that the settings find them, that each folder is found by the name that
// Dovecot shows, and that it alone is cleaned: the INBOX elsewhere with LAYOUT=fs, the
// home itself, a namespace with the prefix INBOX., and names with the listescape plugin.
func TestDovecotStores(t *testing.T) {
	for _, store := range []struct {
		name, conf, settings string
		folders              []string
	}{
		{"INBOX elsewhere", `mail_location = maildir:~/Mail:LAYOUT=fs:INBOX=~/Mail/Inbox
namespace inbox {
  inbox = yes
  separator = /
}
`, "MAILDIR=Mail\nINBOX=Inbox\n", []string{"INBOX", "Sent", "Trash", "firstname.lastname", "Archive/2019", "ゴミ箱"}},
		{"the home itself", `mail_location = maildir:~
namespace inbox {
  inbox = yes
  separator = .
}
`, "MAILDIR=.\n", []string{"INBOX", "Sent", "Trash", "Archive.2019", "ゴミ箱"}},
		{"prefix INBOX.", `mail_location = maildir:~/Maildir
namespace inbox {
  inbox = yes
  prefix = INBOX.
  separator = .
}
`, "", []string{"INBOX", "INBOX.Sent", "INBOX.Trash", "INBOX.Archive.2019", "INBOX.ゴミ箱"}},
		{"listescape", `mail_location = maildir:~/Maildir
mail_plugins = $mail_plugins listescape
namespace inbox {
  inbox = yes
  separator = /
}
`, "", []string{"INBOX", "firstname.lastname", "Archive/a.b", "Trash"}},
	} {
		t.Run(store.name, func(t *testing.T) {
			d := startDovecot(t, dovecotConfig{users: []string{"hanako"}, extra: store.conf})
			rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
			configure(t, store.settings)
			d.doveadm(append([]string{"mailbox", "create", "-u", "hanako"}, store.folders[1:]...)...)
			for i, folder := range store.folders {
				for _, f := range store.folders[i:] {
					d.doveadm("expunge", "-u", "hanako", "mailbox", f, "all")
					for range 2 {
						d.save("hanako", f, "Subject: "+f+"\n\ntext\n")
					}
				}
				ageAll(t, d.home("hanako"))
				silently(t, rmoldmail, "--folder", folder, "10", d.home("hanako"))
				for k, f := range store.folders {
					want := 2
					if k <= i {
						want = 0
					}
					if rows := d.doveadmRows("fetch", "-u", "hanako", "uid", "mailbox", f, "all"); len(rows) != want {
						t.Errorf("--folder %s: %s has %d messages, want %d", folder, f, len(rows), want)
					}
				}
			}
			if c := d.complaints(); c != "" {
				t.Errorf("dovecot complains: %s", c)
			}
		})
	}
}

// TestDovecotLazyExpunge proves that what Dovecot's lazy_expunge keeps is found by the
// name that Dovecot shows, and that nothing else goes with it.
func TestDovecotLazyExpunge(t *testing.T) {
	d := startDovecot(t, dovecotConfig{users: []string{"hanako"}, extra: `mail_location = maildir:~/Maildir:LAYOUT=fs
mail_plugins = $mail_plugins lazy_expunge
namespace inbox {
  inbox = yes
  separator = /
}
plugin {
  lazy_expunge = .EXPUNGED
}
`})
	rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
	d.doveadm("mailbox", "create", "-u", "hanako", "Sent")
	for i := range 4 {
		d.save("hanako", "INBOX", fmt.Sprintf("Subject: %d\n\ntext\n", i))
		d.save("hanako", "Sent", fmt.Sprintf("Subject: %d\n\ntext\n", i))
	}
	d.doveadm("expunge", "-u", "hanako", "mailbox", "INBOX", "subject", "1")
	d.doveadm("expunge", "-u", "hanako", "mailbox", "Sent", "subject", "2")
	ageAll(t, d.home("hanako"))
	count := func() (n [3]int) {
		for i, f := range []string{"INBOX", "Sent", ".EXPUNGED"} {
			n[i] = len(d.doveadmRows("fetch", "-u", "hanako", "uid", "mailbox", f, "all"))
		}
		return n
	}
	if got := count(); got != [3]int{3, 3, 2} {
		t.Fatalf("before: %v", got)
	}
	silently(t, rmoldmail, "--folder", ".EXPUNGED", "10", d.home("hanako"))
	if got := count(); got != [3]int{3, 3, 0} {
		t.Errorf("after --folder .EXPUNGED: %v", got)
	}
	if c := d.complaints(); c != "" {
		t.Errorf("dovecot complains: %s", c)
	}
}

// TestDovecotQuota proves that what rmoldmail books is what Dovecot itself finds when it
// counts anew, whatever goes: of Trash, with the flag T, by any clock and by size, with
// names that tell a size and with such as do not.
func TestDovecotQuota(t *testing.T) {
	d := startDovecot(t, dovecotConfig{protocols: []string{"imap"}, users: []string{"hanako"}, extra: `mail_plugins = $mail_plugins quota
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=1G
}
`})
	rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
	configure(t, "")
	d.doveadm("mailbox", "create", "-u", "hanako", "Trash", "Sent")
	client := dialIMAP(t, d.ports["imap"], "hanako", dovecotPassword)
	quota := func() []map[string]string { return d.doveadmRows("quota", "get", "-u", "hanako") }
	for _, options := range [][]string{
		{"10"},
		{"--folder", "Trash", "10"},
		{"--except", "Trash", "10"},
		{"--seen-only", "10"},
		{"--by", "name", "0"},
		{"--max-size", "900", "36500"},
		{"--days-in", "Trash=0", "36500"},
	} {
		for i := range 5 {
			for _, f := range []string{"INBOX", "Trash", "Sent"} {
				d.save("hanako", f, fmt.Sprintf("Subject: %d\n\n%0*d\n", i, 50*i+1, 0))
			}
		}
		for _, f := range []string{"INBOX", "Trash"} { // new mail goes to cur
			client.do("SELECT %s", f)
		}
		d.doveadm("flags", "add", "-u", "hanako", `\Deleted \Seen`, "mailbox", "INBOX", "subject", "3")
		d.doveadm("flags", "add", "-u", "hanako", `\Seen`, "mailbox", "Trash", "subject", "1")
		d.doveadm("quota", "recalc", "-u", "hanako")
		before := quota()
		ageAll(t, d.home("hanako"))
		silently(t, rmoldmail, append(options, d.home("hanako"))...)
		got := quota()
		d.doveadm("quota", "recalc", "-u", "hanako")
		want := quota()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: Dovecot has %v, and finds %v when it counts", options, got, want)
		}
		if options[0] != "--by" && reflect.DeepEqual(before, want) {
			t.Errorf("%q: nothing went", options)
		}
	}
	if c := d.complaints(); c != "" {
		t.Errorf("dovecot complains: %s", c)
	}
}
