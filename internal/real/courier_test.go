package real

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	deliverquota, err := exec.LookPath("deliverquota.maildrop")
	if err != nil {
		if deliverquota, err = exec.LookPath("/usr/sbin/deliverquota.maildrop"); err != nil {
			t.Skip("SKIP maildrop is not installed")
		}
	}
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
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(box+folder+"/"+sub, 0o755); err != nil {
					t.Fatal(err)
				}
			}
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
