package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folderPlan says, for each folder that Dovecot is to make, whether its old
// messages go.
type folderPlan struct {
	options []string
	gone    map[string]bool
}

// TestDovecotFolders proves that --folder finds folders by the names that
// Dovecot shows, Japanese ones too, in both of its layouts on disk and with
// names in modified UTF-7 and in UTF-8; and that flags, the Seen flag and the
// date of saving are read as Dovecot writes them.
func TestDovecotFolders(t *testing.T) {
	folders := []string{"INBOX", "Trash", "Archive/2019", "Archive/2020", "ゴミ箱", "仕事/がっこう", "仕事/R&D"}
	plans := []folderPlan{
		{[]string{"--folder", "inbox"}, map[string]bool{"INBOX": true}},
		{[]string{"--folder", "ゴミ箱", "--folder", "Trash"}, map[string]bool{"ゴミ箱": true, "Trash": true}},
		{[]string{"--folder", "Archive/*"}, map[string]bool{"Archive/2019": true, "Archive/2020": true}},
		{[]string{"--folder", "仕事/が?こう"}, map[string]bool{"仕事/がっこう": true}},
		// The same name as a Mac writes it, in NFD.
		{[]string{"--folder", "仕事/か\u3099っこう"}, map[string]bool{"仕事/がっこう": true}},
		{[]string{"--folder", "*/R&D"}, map[string]bool{"仕事/R&D": true}},
		{[]string{"--folder", "ない*"}, nil},
		// Saved today, whatever their dates say.
		{[]string{"--saved"}, nil},
	}
	for _, layout := range []string{"", ":LAYOUT=fs", ":UTF-8", ":LAYOUT=fs:UTF-8"} {
		t.Run("maildir"+layout, func(t *testing.T) {
			d := startDovecot(t, dovecotConfig{
				protocols: []string{"imap"},
				users:     []string{"hanako"},
				extra: "mail_location = maildir:~/Maildir" + layout + `
namespace inbox {
  inbox = yes
  separator = /
}
`,
			})
			rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
			d.doveadm(append([]string{"mailbox", "create", "-u", "hanako"}, folders[1:]...)...)
			for _, plan := range plans {
				for _, f := range folders {
					d.doveadm("expunge", "-u", "hanako", "mailbox", f, "all")
					for i := range 3 {
						d.save("hanako", f, fmt.Sprintf("Subject: %d\n\n%s\n", i, f))
					}
				}
				ageAll(t, d.home("hanako"))
				silently(t, rmoldmail, append(plan.options, "10", d.home("hanako"))...)
				for _, f := range folders {
					want := 3
					if plan.gone[f] {
						want = 0
					}
					rows := d.doveadmRows("fetch", "-u", "hanako", "uid", "mailbox", f, "all")
					if len(rows) != want {
						t.Errorf("%v: %s has %d messages, want %d", plan.options, f, len(rows), want)
					}
				}
			}
			checkFlags(t, d, rmoldmail)
			if c := d.complaints(); c != "" {
				t.Errorf("dovecot complains: %s", c)
			}
		})
	}
}

// checkFlags has Dovecot set flags on three old messages, and sees which stay.
func checkFlags(t *testing.T, d *dovecot, rmoldmail string) {
	t.Helper()
	for option, want := range map[string]string{"--keep-flagged": "flagged", "--seen-only": "plain flagged"} {
		d.doveadm("expunge", "-u", "hanako", "mailbox", "Trash", "all")
		for _, s := range []string{"plain", "flagged", "seen"} {
			d.save("hanako", "Trash", "Subject: "+s+"\n\ntext\n")
		}
		// A mail program that opens the folder has Dovecot move new mail to cur;
		// doveadm alone keeps flags of mail in new to itself.
		dialIMAP(t, d.ports["imap"], "hanako", dovecotPassword).do("SELECT Trash")
		d.doveadm("flags", "add", "-u", "hanako", `\Flagged`, "mailbox", "Trash", "subject", "flagged")
		d.doveadm("flags", "add", "-u", "hanako", `\Seen $Forwarded`, "mailbox", "Trash", "subject", "seen")
		ageAll(t, d.home("hanako"))
		silently(t, rmoldmail, option, "--folder", "Trash", "10", d.home("hanako"))
		var left []string
		for _, row := range d.doveadmRows("fetch", "-u", "hanako", "hdr.subject", "mailbox", "Trash", "all") {
			left = append(left, row["hdr.subject"])
		}
		if got := strings.Join(left, " "); got != want {
			t.Errorf("%s: %q stayed, want %q", option, got, want)
		}
	}
}

// ageAll makes all messages 20 days old.
func ageAll(t *testing.T, home string) {
	t.Helper()
	at := time.Now().Add(-20 * day)
	for path := range tree(t, home) {
		if !isMessage(path) {
			continue
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}
