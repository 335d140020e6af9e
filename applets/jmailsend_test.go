package applets

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
)

// testSending is a sending of one copy to sendmail, which is a command.
func testSending(sendmail string) *sendRun {
	env := &cli.Env{Stderr: &bytes.Buffer{}, Now: time.Now}
	env.RunAs(&cli.Applet{Name: jmailsend.Name, Run: func(*cli.Env, []string) error { return nil }}, nil) // whose messages it prints
	mail := testMail{charset: charset.Charsets[0], from: "a", to: "b", host: "h", count: 1}
	return &sendRun{copyRun: &copyRun{env: env, mail: &mail, jobs: 1}, sendmail: &mailer{path: sendmail, talk: 2}}
}

// TestSendErrors proves what is said when no pipe can be had or no process be
// started, and when there is no message.
func TestSendErrors(t *testing.T) {
	s := testSending("/bin/cat")
	s.mail.to = "b c"
	if err := s.send(1); err == nil || err.Error() != "b c: holds a blank" {
		t.Error(err)
	}

	s = testSending("/no/such/command")
	var start startError
	if err := s.send(1); !errors.As(err, &start) || err.Error() != "no such file or directory" {
		t.Error(err)
	}

	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := testSending("/bin/true").send(1)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err == nil || err.Error() != "pipe: too many open files" {
		t.Error(err)
	}
}

// TestCannotStart proves that a want that may pass is the matter of one copy,
// and that what would meet every copy ends the run.
func TestCannotStart(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ETXTBSY} {
		err := cannotStart(errno)
		if want := "cannot start: " + errno.Error(); err.Error() != want || !errors.Is(err, errno) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := cannotStart(errors.New("odd")); err.Error() != "cannot start: odd" {
		t.Error(err)
	}
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.ENOEXEC, syscall.EISDIR, syscall.ELOOP} {
		if err := cannotStart(errno); err != startError(errno) {
			t.Error(err)
		}
	}
}

// TestPassing proves that the rest is tried after a failure that may pass, and
// that the run ends, with one message, after one that will not.
func TestPassing(t *testing.T) {
	for _, test := range []struct {
		sendmail, want string
		begun          int64
	}{
		{"/bin/false", "jmailsend: copy 1/3: /bin/false: exit status 1\n" +
			"jmailsend: copy 2/3: /bin/false: exit status 1\njmailsend: copy 3/3: /bin/false: exit status 1\n", 4},
		{"/no/such", "jmailsend: /no/such: no such file or directory\n", 1},
	} {
		s := testSending(test.sendmail)
		s.mail.count = 3
		err := sendAll(s)
		if got := fmt.Sprint(s.env.Stderr); err != cli.ErrReported || got != test.want || s.begun.Load() != test.begun {
			t.Errorf("%v, %d begun, %q; want %q", err, s.begun.Load(), got, test.want)
		}
	}
}

// TestLongSilence proves that a sendmail that never reads holds the run up no
// longer than it lives, nor does a child of it that keeps the pipe.
func TestLongSilence(t *testing.T) {
	command := t.TempDir() + "/sendmail"
	const script = "#!/bin/sh\n{ sleep 10; } <&0 >/dev/null 2>&1 &\nsleep 0.2\n"
	if err := os.WriteFile(command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err := testSending(command).send(1)
	if err == nil || err.Error() != "exit status 0, but it did not read the message" {
		t.Error(err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}
