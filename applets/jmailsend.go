package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pborman/getopt/v2"
	"golang.org/x/sys/unix"

	"kowaza/internal/jmail"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var jmailsend = &Applet{
	Name: "jmailsend",
	Help: `usage: jmailsend [-hnv] [-c N] [-e CHARSET] [-f FROM] [-j N] [-t RECIPIENT]
Send Japanese test mail through the local sendmail command.

  -c, --count N          send N copies, at most 1000000
  -e, --charset CHARSET  write them in jis (ISO-2022-JP), sjis (Shift_JIS),
                         euc (EUC-JP) or utf8 (UTF-8)
  -f, --from FROM        the sender's address in the header
  -h, --help             show this help
  -j, --jobs N           run N sendmail commands at once
  -n, --dry-run          print the first copy, send nothing
  -t, --to RECIPIENT     send them to this address: local or local@domain
  -v, --verbose          say how many were sent, and how fast
      --version          print the version

Without options: one copy in jis to postmaster, from you.

Settings: JMAIL_CHARSET, JMAIL_COUNT, JMAIL_FROM, JMAIL_TO, SENDMAIL and QMAIL
in /etc/kowaza.conf.
`,
	Run: runJmailsend,
}

// maxSendmails bounds --jobs: each is a process and a waiting thread.
const maxSendmails = 256

func runJmailsend(env *Env, argv []string) error {
	set := getopt.New()
	charset := set.StringLong("charset", 'e', "")
	count := set.StringLong("count", 'c', "")
	from := set.StringLong("from", 'f', "")
	to := set.StringLong("to", 't', "")
	jobs := set.StringLong("jobs", 'j', "1")
	dryRun := set.BoolLong("dry-run", 'n')
	verbose := set.BoolLong("verbose", 'v')
	if _, err := env.Parse(set, argv, 0, 0); err != nil {
		return err
	}

	// All options first: a usage error must not hide behind kowaza.conf.
	var mail jmail.Mail
	var err error
	if set.IsSet("charset") {
		if mail.Charset, err = jmail.Find(*charset); err != nil {
			return Usagef("--charset: %s: %s", *charset, err)
		}
	}
	if set.IsSet("count") {
		if mail.Count, err = parseNumber("--count", *count, 1, settings.MaxCount); err != nil {
			return err
		}
	}
	n, err := parseNumber("--jobs", *jobs, 1, maxSendmails)
	if err != nil {
		return err
	}
	for _, o := range []struct {
		name, value string
		field       *string
	}{{"to", *to, &mail.To}, {"from", *from, &mail.From}} {
		if !set.IsSet(o.name) {
			continue
		}
		if err := jmail.CheckAddress(o.value); err != nil {
			return Usagef("--%s: %s: %s", o.name, o.value, err)
		}
		*o.field = o.value
	}

	s, err := env.settings()
	if err != nil {
		return err
	}
	if err := env.completeMail(&mail, s); err != nil {
		return err
	}
	if *dryRun {
		text, err := mail.Copy(1, env.Now())
		if err == nil {
			_, err = env.Stdout.Write(text)
		}
		return err
	}
	sendmail, err := env.sendmail(s)
	if err != nil {
		return err
	}
	return env.sendAll(&sending{env: env, mail: &mail, sendmail: sendmail, jobs: n, verbose: *verbose})
}

// completeMail fills in what no option said from the settings.
func (env *Env) completeMail(mail *jmail.Mail, s *settings.Settings) error {
	var err error
	if mail.Charset == nil {
		if mail.Charset, err = jmail.Find(s.JMailCharset); err != nil {
			return fmt.Errorf("JMAIL_CHARSET: %s: %w", s.JMailCharset, err)
		}
	}
	if mail.Count == 0 {
		mail.Count = s.JMailCount
	}
	if mail.To == "" {
		if err := jmail.CheckAddress(s.JMailTo); err != nil {
			return fmt.Errorf("JMAIL_TO: %s: %w", s.JMailTo, err)
		}
		mail.To = s.JMailTo
	}
	if mail.From == "" && s.JMailFrom != "" {
		if err := jmail.CheckAddress(s.JMailFrom); err != nil {
			return fmt.Errorf("JMAIL_FROM: %s: %w", s.JMailFrom, err)
		}
		mail.From = s.JMailFrom
	}
	if mail.Host, err = env.mailHost(s); err != nil {
		return err
	}
	if mail.From == "" {
		mail.From, err = env.ownAddress(mail.Host)
	}
	return err
}

// mailHost returns the name under which this host sends mail: qmail's own, else
// the system's.
func (env *Env) mailHost(s *settings.Settings) (string, error) {
	where := env.qmail(s) + "/control/me"
	text, err := os.ReadFile(where)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	host := strings.TrimRight(line, " \t\r") // as qmail's control_readline
	if host == "" {
		where = "host name"
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("%s: %w", where, err)
		}
	}
	if err := jmail.CheckDomain(host); err != nil {
		return "", fmt.Errorf("%s: %s: %w", where, host, err)
	}
	return host, nil
}

// ownAddress returns the address of who runs this. It asks the password
// database: the environment of a cron job or of su says who it likes.
func (env *Env) ownAddress(host string) (string, error) {
	uid := os.Getuid()
	login, err := users.Passwd{Root: env.Root}.ByUID(uint32(uid))
	if err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, uid %d: %w", uid, err)
	}
	address := login.Name + "@" + host
	if err := jmail.CheckAddress(address); err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, %s: %w", address, err)
	}
	return address, nil
}

// sendmail returns the path of the sendmail command. Where SENDMAIL names one,
// no other is taken in its place.
func (env *Env) sendmail(s *settings.Settings) (string, error) {
	names := []string{s.Sendmail}
	if s.Sendmail == "" {
		names = []string{env.Root + "/usr/sbin/sendmail", env.qmail(s) + "/bin/sendmail"}
	}
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%s: not a regular file", name)
		}
		if err := unix.Access(name, unix.X_OK); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return name, nil
	}
	return "", fmt.Errorf("no sendmail command: %s: %w", strings.Join(names, ", "), syscall.ENOENT)
}

// A sending is a run of the sendmail command for every copy.
type sending struct {
	env      *Env
	mail     *jmail.Mail
	sendmail string
	jobs     int
	verbose  bool

	environ []string
	talk    uintptr // where sendmail's own messages go
	begun   atomic.Int64
	sent    atomic.Int64
	failed  atomic.Bool
	stopped atomic.Bool
}

// sendAll sends all copies and reports.
func (env *Env) sendAll(s *sending) error {
	s.environ = os.Environ()
	s.talk = 2
	if f := fileOf(env.Stderr); f != nil {
		s.talk = f.Fd()
	}
	start := time.Now()
	signals := env.catch(func() { s.stopped.Store(true) })
	progress := env.startProgress(s.mail.Count > 1, func() string {
		return fmt.Sprintf("%d of %d copies", s.sent.Load(), s.mail.Count)
	})
	var wg sync.WaitGroup
	for range min(s.jobs, s.mail.Count) {
		wg.Go(s.work)
	}
	wg.Wait()
	progress.stop()
	env.WarnedAll(s.sendmail)
	sent, seconds := s.sent.Load(), time.Since(start).Seconds()
	sig := signals.stop()
	if sig != nil {
		env.Warn("%s, %d of %d copies sent", Killed(*sig), sent, s.mail.Count)
	}
	if s.verbose {
		env.Warn("%d of %d copies sent, %.2f seconds, %.1f copies a second",
			sent, s.mail.Count, seconds, float64(sent)/seconds)
	}
	switch {
	case sig != nil:
		return Killed(*sig)
	case s.failed.Load():
		return ErrReported
	}
	return nil
}

// work sends copies until there is none left.
func (s *sending) work() {
	for !s.stopped.Load() {
		n := int(s.begun.Add(1))
		if n > s.mail.Count {
			return
		}
		err := s.send(n)
		if err == nil {
			s.sent.Add(1)
			continue
		}
		s.failed.Store(true)
		var start startError
		if !errors.As(err, &start) {
			s.env.WarnLike(s.sendmail, fmt.Sprintf("copy %d/%d: %s", n, s.mail.Count, s.sendmail), err)
		} else if !s.stopped.Swap(true) { // said once, whoever else met it
			s.env.Warn("%s: %s", s.sendmail, syscall.Errno(start))
		}
	}
}

// A startError says that the command cannot be run, now or for another copy.
type startError syscall.Errno

func (e startError) Error() string { return syscall.Errno(e).Error() }

// send has sendmail take one copy.
//
// The message is in the pipe before sendmail starts: it is shorter than
// PIPE_BUF, so the write neither waits nor comes in parts. This process keeps a
// reading end, so that nothing happens to it whatever sendmail does, and
// afterwards sees whether something was left unread: qmail-inject that dies in
// a wrapper which exits 0 would else pass for success. It is system calls and
// not os/exec, which spends on a copy several times what fork and exec cost.
func (s *sending) send(n int) error {
	text, err := s.mail.Copy(n, s.env.Now())
	if err != nil {
		return err
	}
	var pipe [2]int
	// Close-on-exec from the start: another copy may be forking just now.
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	_, err = ignoringEINTR(func() (int, error) { return unix.Write(pipe[1], text) })
	unix.Close(pipe[1])
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	pid, err := syscall.ForkExec(s.sendmail, []string{s.sendmail, "-t", "-i"}, &syscall.ProcAttr{
		Env:   s.environ,
		Files: []uintptr{uintptr(pipe[0]), s.talk, s.talk},
	})
	if err != nil {
		return cannotStart(err)
	}
	var status syscall.WaitStatus
	if _, err := ignoringEINTR(func() (int, error) { return syscall.Wait4(pid, &status, 0, nil) }); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := exitError(status); err != nil {
		return err
	}
	// Looked at, not read: a child of sendmail's may still be about to.
	rest := []unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}
	if _, err := ignoringEINTR(func() (int, error) { return unix.Poll(rest, 0) }); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if rest[0].Revents&unix.POLLIN != 0 {
		return errors.New("exit status 0, but it did not read the message")
	}
	return nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// cannotStart tells an error that every copy would meet from a want of memory
// or processes, which may pass.
func cannotStart(err error) error {
	errno, ok := err.(syscall.Errno)
	switch {
	case !ok, errno == syscall.EAGAIN, errno == syscall.ENOMEM, errno == syscall.EMFILE,
		errno == syscall.ENFILE, errno == syscall.ETXTBSY:
		return fmt.Errorf("cannot start: %w", err)
	}
	return startError(errno)
}

// exitError says how a command failed; nil for exit status 0.
func exitError(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("signal: %s", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}
