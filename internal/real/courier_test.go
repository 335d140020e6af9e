package real

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/testenv"
)

// courierSum returns the sum of the bytes and of the messages in maildirsize.
func courierSum(t *testing.T, box string) (bytes, messages int) {
	t.Helper()
	text, err := os.ReadFile(box + "/maildirsize")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	lines.Scan() // the limits
	for lines.Scan() {
		var b, m int
		if _, err := fmt.Sscan(lines.Text(), &b, &m); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		bytes, messages = bytes+b, messages+m
	}
	return bytes, messages
}

// TestCourierQuota proves that what rmoldmail books is what Courier's own code, that of
// maildrop's deliverquota, finds when it counts anew: it counts neither Trash nor
// messages with the flag T, but the folders below Trash.
func TestCourierQuota(t *testing.T) {
	deliverquota := needDeliverquota(t)
	rmoldmail := filepath.Join(buildKowaza(t, "rmoldmail"), "rmoldmail")
	configure(t, "")
	deliver := func(box string) (size int) {
		t.Helper()
		const text = "Subject: test\n\ntext\n"
		cmd := exec.Command(deliverquota, box)
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("deliverquota: %v\n%s", err, out)
		}
		return len(text)
	}
	// recount has Courier count anew, and returns what it finds.
	recount := func(box string) (bytes, messages int) {
		t.Helper()
		// It does where the file has grown to 5120 bytes.
		f, err := os.OpenFile(box+"/maildirsize", os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(strings.Repeat(fmt.Sprintf("%12d %12d\n", 0, 0), 200))
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		size := deliver(box)
		bytes, messages = courierSum(t, box)
		return bytes - size, messages - 1
	}
	for _, options := range [][]string{
		{"10"},
		{"--folder", "Trash", "10"},
		{"--folder", "Trash/sub", "10"},
		{"--except", "Trash*", "10"},
		{"--folder", "INBOX", "--seen-only", "10"},
		{"--max-size", "100", "36500"},
		{"--days-in", "Trash=0", "--by", "name", "36500"},
		{"36500"},
	} {
		home := t.TempDir()
		box := home + "/Maildir"
		for _, folder := range []string{"", "/.Trash", "/.Trash.sub", "/.Sent"} {
			testenv.Maildirs(t, box+folder)
			for i, name := range []string{"new/1600000001.M1P1.mx,S=11", "cur/1600000002.M2P1.mx,S=22:2,S", "cur/1600000003.M3P1.mx,S=33:2,ST", "cur/1600000004.M4P1.mx:2,FT", "cur/1600000005.M5P1.mx:2,"} {
				file, at := box+folder+"/"+name, time.Now().Add(-time.Duration(i%2*20+1)*day)
				if err := os.WriteFile(file, []byte(strings.Repeat("x", 10*i+7)), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(file, at, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.WriteFile(box+"/maildirsize", []byte("1000000S\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		recount(box)
		silently(t, rmoldmail, append(options, home)...)
		bytes, messages := courierSum(t, box)
		if b, m := recount(box); b != bytes || m != messages {
			t.Errorf("%q: maildirsize has %d bytes, %d messages; Courier counts %d, %d", options, bytes, messages, b, m)
		}
	}
}

// TestQuotacheckCourier proves that mailquotacheck and Courier's deliverquota keep one
// maildirsize: whoever delivers, in any order, with removals between, the sum is what
// either finds by counting.
func TestQuotacheckCourier(t *testing.T) {
	deliverquota := needDeliverquota(t)
	bin := buildKowaza(t, "mailquotacheck", "rmoldmail")
	home := t.TempDir()
	box := home + "/Maildir"
	testenv.Maildirs(t, box, box+"/.Trash")
	if err := os.WriteFile(box+"/maildirsize", []byte("1000000S\n0 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	configure(t, "QUOTA=1000000S\nQUOTA_TRASH=no\n")
	t.Setenv("HOME", home)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		text := "Subject: test\n\n" + strings.Repeat("x", r.IntN(300)) + "\n"
		switch r.IntN(5) {
		case 0, 1: // as qmail-local
			cmd := exec.Command(filepath.Join(bin, "mailquotacheck"))
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("mailquotacheck: %v\n%s", err, out)
			}
			if err := os.WriteFile(fmt.Sprintf("%s/new/%d.%d.mx", box, time.Now().Unix(), i), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		case 2, 3:
			cmd := exec.Command(deliverquota, box)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("deliverquota: %v\n%s", err, out)
			}
		default: // one grows old, and goes
			files, err := filepath.Glob(box + "/new/*")
			if err != nil {
				t.Fatal(err)
			}
			if len(files) > 0 {
				old := time.Now().AddDate(-1, 0, 0)
				if err := os.Chtimes(files[r.IntN(len(files))], old, old); err != nil {
					t.Fatal(err)
				}
			}
			silently(t, filepath.Join(bin, "rmoldmail"), "100", home)
		}
		var bytes, messages int
		files, err := filepath.Glob(box + "/new/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			bytes, messages = bytes+int(info.Size()), messages+1
		}
		if b, m := courierSum(t, box); b != bytes || m != messages {
			text, _ := os.ReadFile(box + "/maildirsize")
			t.Fatalf("step %d: maildirsize has %d bytes, %d messages; there are %d, %d\n%s", i, b, m, bytes, messages, text)
		}
	}
}

// TestQuotacheckDovecot proves that Dovecot takes the sum that mailquotacheck books, and
// mailquotacheck the one that Dovecot counts.
func TestQuotacheckDovecot(t *testing.T) {
	d := startDovecot(t, dovecotConfig{users: []string{"hanako"}, extra: `mail_plugins = $mail_plugins quota
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=1000000B
}
`})
	bin := buildKowaza(t, "mailquotacheck")
	configure(t, "QUOTA=1000000S\n")
	t.Setenv("HOME", d.home("hanako"))
	for _, dir := range []string{bin, filepath.Dir(os.Getenv("KOWAZA_CONF"))} { // the user must get there
		for ; dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	box := d.home("hanako") + "/Maildir"
	d.doveadm("mailbox", "create", "-u", "hanako", "Trash")
	quota := func() string {
		rows := d.doveadmRows("quota", "get", "-u", "hanako")
		return rows[0]["value"] + " " + rows[1]["value"]
	}
	for i := range 12 {
		text := fmt.Sprintf("Subject: %d\n\n%0*d\n", i, 200*i+1, 0)
		if i%3 == 2 {
			d.save("hanako", "Trash", text)
			if i == 8 {
				d.doveadm("quota", "recalc", "-u", "hanako")
			}
			continue
		}
		cmd := exec.Command(filepath.Join(bin, "mailquotacheck"))
		cmd.Stdin = strings.NewReader(text)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.uid)}}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("mailquotacheck: %v\n%s", err, out)
		}
		d.writeMail(fmt.Sprintf("%s/new/%d.M%dP1.mx", box, time.Now().Unix(), i), text)
	}
	got := quota()
	d.doveadm("quota", "recalc", "-u", "hanako")
	if want := quota(); got != want {
		t.Errorf("Dovecot has %s, and finds %s when it counts", got, want)
	}
	if c := d.complaints(); c != "" {
		t.Errorf("dovecot complains: %s", c)
	}
}

// needDeliverquota returns the path of maildrop's deliverquota.
func needDeliverquota(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"deliverquota.maildrop", "/usr/sbin/deliverquota.maildrop"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("SKIP maildrop is not installed")
	return ""
}
