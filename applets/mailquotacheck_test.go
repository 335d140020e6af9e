package applets

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskUsage proves on random trees that -a counts what du -sk counts: sparse files,
// hard links once, links not followed, FIFOs, directories that are large or closed to
// others; and that what du may not read is an error.
func TestDiskUsage(t *testing.T) {
	du := needCommand(t, "du")
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		home := t.TempDir()
		dirs := []string{home}
		var files []string
		for i := range 60 {
			name := filepath.Join(dirs[r.IntN(len(dirs))], fmt.Sprint(i))
			switch r.IntN(8) {
			case 0, 1:
				must(t, os.Mkdir(name, 0o700))
				dirs = append(dirs, name)
			case 2:
				must(t, os.Symlink("/usr", name))
			case 3:
				must(t, unix.Mkfifo(name, 0o600))
			case 4:
				if len(files) > 0 {
					must(t, os.Link(files[r.IntN(len(files))], name))
				}
			case 5:
				must(t, os.WriteFile(name, nil, 0o600))
				must(t, os.Truncate(name, int64(r.IntN(1<<30))))
			default:
				must(t, os.WriteFile(name, make([]byte, r.IntN(50000)), 0o600))
				files = append(files, name)
			}
		}
		out, err := exec.Command(du, "-sk", home).Output()
		must(t, err)
		want, _, _ := strings.Cut(string(out), "\t")
		if got, err := diskUsage(home); err != nil || strconv.FormatInt(got, 10) != want {
			t.Errorf("seed %d: %d KB, %v; du says %s", seed, got, err, want)
		}
	}
}

// TestDiskUsageClosed proves that a directory in the home that its owner may not read,
// which the script took for an empty one, keeps the mail in the queue.
func TestDiskUsageClosed(t *testing.T) {
	needRoot(t)
	bin := staticBinary(t)
	home := t.TempDir() + "/home"
	openParents(t, filepath.Dir(home))
	must(t, os.Mkdir(home, 0o755))
	must(t, os.WriteFile(home+"/conf", nil, 0o644))
	must(t, os.Mkdir(home+"/closed", 0o700))
	var errs bytes.Buffer
	cmd := exec.Command(bin+"/mailquotacheck", "-a")
	cmd.Env, cmd.Stderr = append(os.Environ(), "HOME="+home, "KOWAZA_CONF="+home+"/conf"), &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: attacker, Gid: attacker}}
	cmd.Run()
	if want := "mailquotacheck: " + home + "/closed: permission denied\n"; cmd.ProcessState.ExitCode() != 111 || errs.String() != want {
		t.Errorf("status %d, %q; want 111, %q", cmd.ProcessState.ExitCode(), errs.String(), want)
	}
}

// quotaHome makes a home with a Maildir, which qmail-local delivers into.
func quotaHome(t *testing.T, quota string) string {
	home := t.TempDir()
	makeMaildirs(t, home+"/Maildir")
	must(t, os.WriteFile(home+"/.quota", []byte(quota), 0o644))
	return home
}

// qmailLocal does with a message what qmail-local does with a .qmail of two lines, the
// check and ./Maildir/: one open file, rewound before the second; tmp, then new. It
// returns the status of the check.
func qmailLocal(t *testing.T, check *exec.Cmd, home string, text []byte, n int) int {
	queued := filepath.Join(t.TempDir(), "message")
	must(t, os.WriteFile(queued, text, 0o644))
	f, err := os.Open(queued)
	must(t, err)
	defer f.Close()
	check.Stdin = f
	check.Env = append(os.Environ(), "HOME="+home, "KOWAZA_CONF="+home+"/conf", "RPLINE=Return-Path: <a@example.jp>\n", "DTLINE=Delivered-To: b@example.jp\n")
	out, err := check.Output()
	status := check.ProcessState.ExitCode()
	if (err == nil) != (status == 0) || status == 0 && len(out) > 0 {
		t.Errorf("status %d, %v, %q", status, err, out)
	}
	if at, err := f.Seek(0, 1); err != nil || at != 0 {
		t.Errorf("the message was read to %d, %v", at, err)
	}
	if status == 0 {
		name := fmt.Sprintf("/%d.%d.mx", os.Getpid(), n)
		must(t, os.WriteFile(home+"/Maildir/tmp"+name, append([]byte("Return-Path: <a@example.jp>\nDelivered-To: b@example.jp\n"), text...), 0o600))
		must(t, os.Link(home+"/Maildir/tmp"+name, home+"/Maildir/new"+name))
		must(t, os.Remove(home+"/Maildir/tmp"+name))
	}
	return status
}

// TestQuotaProcesses proves that of 50 processes at once exactly as many let their mail
// in as there is room for, and that the others have it tried again or refused.
func TestQuotaProcesses(t *testing.T) {
	bin := staticBinary(t)
	text := append([]byte("Subject: test\n\n"), make([]byte, 985)...)
	const whole = 1000 + 28 + 27 // with what qmail-local puts before it
	for round := range 4 {
		home := quotaHome(t, fmt.Sprintf("%dS", 10*whole+7))
		must(t, os.WriteFile(home+"/conf", []byte("QUOTA_BUFFER=0\n"), 0o644))
		var statuses [256]atomic.Int64
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				statuses[qmailLocal(t, exec.Command(bin+"/mailquotacheck"), home, text, i)].Add(1)
			})
		}
		all.Wait()
		if in := statuses[0].Load(); in != 10 || in+statuses[100].Load()+statuses[111].Load() != 50 {
			t.Errorf("round %d: %d came in, %d were refused, %d come again", round, in, statuses[100].Load(), statuses[111].Load())
		}
		// What is said to be there is there.
		var errs bytes.Buffer
		cmd := exec.Command(bin+"/mailquotacheck", "-nv")
		cmd.Env, cmd.Stderr = append(os.Environ(), "HOME="+home, "KOWAZA_CONF="+home+"/conf"), &errs
		cmd.Stdin = bytes.NewReader(text)
		cmd.Run()
		if want := fmt.Sprintf(": %d of %d bytes (99 %%), 10 messages, 1000 more: no room", 10*whole, 10*whole+7); !strings.Contains(errs.String(), want) {
			t.Errorf("round %d: %q; want %q", round, errs.String(), want)
		}
	}
}

// TestQuotaStatuses proves that whatever is in the way, the status is 0, 100 or 111.
func TestQuotaStatuses(t *testing.T) {
	home := quotaHome(t, "100K")
	for _, argv := range [][]string{{}, {"-q"}, {"-q", "-5"}, {"-x", "2"}, {"--report", "x", "y"}, {"-j", "0", "--report"}, {"--report", "--over", "x"}, {"--report", "--recount", "-n"}, {"--no-such"}, {home + "/none"}, {"a", "b"}, {"--help"}, {"--version"}} {
		_, _, status := runIn(map[string]string{"HOME": home}, append([]string{"mailquotacheck"}, argv...)...)
		if status != 0 && status != 100 && status != 111 {
			t.Errorf("%q: status %d", argv, status)
		}
	}
}

// TestQuotaFaults proves that when any one system call fails, mail that has room is
// never bounced, and mail that has none never let in: the status is 111, with the
// reason, or what it would have been.
func TestQuotaFaults(t *testing.T) {
	strace := needCommand(t, "strace")
	bin := staticBinary(t)
	text := make([]byte, 3000)
	for want, quota := range map[int]string{0: "100K", 100: "5000S"} {
		for _, state := range []string{"none", "fresh", "old", "grown"} {
			for _, call := range []string{"openat", "read", "getdents64", "newfstatat", "fstat", "pread64", "write", "flock", "renameat", "unlinkat", "statx", "lseek"} {
				for n := 1; ; n++ {
					home := quotaHome(t, quota)
					oldFile(t, home+"/Maildir/cur/1.M1P1.mx:2,S", string(make([]byte, 4000)))
					must(t, os.WriteFile(home+"/conf", []byte("QUOTA_BUFFER=0\n"), 0o644))
					switch file := home + "/Maildir/maildirsize"; state {
					case "fresh":
						must(t, os.WriteFile(file, []byte("100S\n4000 1\n"), 0o644))
					case "old":
						oldFile(t, file, "100S\n4000 1\n")
					case "grown":
						must(t, os.WriteFile(file, []byte("100S\n"+strings.Repeat("1000 0\n-1000 0\n", 400)), 0o644))
					}
					trace := home + "/trace"
					var errs bytes.Buffer
					cmd := exec.Command(strace, "-f", "-qq", "-o", trace, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", call, n), bin+"/mailquotacheck")
					cmd.Env, cmd.Stdin, cmd.Stderr = append(os.Environ(), "HOME="+home, "KOWAZA_CONF="+home+"/conf"), bytes.NewReader(text), &errs
					cmd.Run()
					status := cmd.ProcessState.ExitCode()
					traced, err := os.ReadFile(trace)
					must(t, err)
					if !bytes.Contains(traced, []byte("(INJECTED)")) {
						break
					}
					switch { // the line that tells of a failed write may fail, too: see fault in mailreply_test.go
					case status != want && status != 111:
						t.Errorf("%s, %s:when=%d: status %d, want %d or 111: %s\n%s", state, call, n, status, want, errs.String(), traced)
					case status == 111 && errs.Len() == 0 && !bytes.Contains(traced, []byte(`write(1, `)) && !bytes.Contains(traced, []byte(`write(2, `)):
						t.Errorf("%s, %s:when=%d: 111 without a word", state, call, n)
					case status == want && errs.Len() > 0:
						t.Errorf("%s, %s:when=%d: status %d, and %s", state, call, n, status, errs.String())
					}
					if n > 200 {
						t.Fatalf("%s, %s: no end", state, call)
					}
				}
			}
		}
	}
}
