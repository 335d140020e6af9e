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

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/message"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var jmailsend = &cli.Applet{
	Name: "jmailsend",
	Help: `usage: jmailsend [-c N] [-e CHARSET] [-s SERVER] [-t RECIPIENT] [--OPTION...]
Send Japanese test mail through the local sendmail command, or by SMTP.

  -c, --count N             send N copies, at most 1000000
  -e, --charset CHARSET     write them in jis (ISO-2022-JP), sjis (Shift_JIS),
                            euc (EUC-JP) or utf8 (UTF-8)
  -f, --from FROM           the sender's address: in the header; by SMTP of the
                            envelope, too
  -h, --help                show this help
  -j, --jobs N              run N sendmail commands, or hold N connections, at
                            once
  -n, --dry-run             print the first copy, send nothing
  -s, --server SERVER       send by SMTP to SERVER: smtp or smtps, alone
                            (127.0.0.1) or with ://HOST[:PORT]
  -t, --to RECIPIENT        send them to this address: local or local@domain
  -v, --verbose             say how many were sent, and how fast
      --version             print the version

By SMTP:

  -4, --ipv4                connect to IPv4 addresses only
  -6, --ipv6                connect to IPv6 addresses only
  -a, --auth MECH           log in by MECH: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1,
                            SCRAM-SHA-256
      --ca FILE             take certificates that lead to one in FILE, too
      --cert-days N         the certificate must be valid for N days yet
      --cleartext           send a password without TLS to another host
  -H, --helo NAME           call this host NAME
      --no-verify           go on whatever is wrong with the certificate
  -P, --password-file FILE  the password is the first line of FILE
      --per-connection N    send N copies, then connect anew; 100
  -S, --starttls            STARTTLS comes first
  -T, --timeout SECONDS     for each copy, and for each connecting; 60
      --tls-name NAME       the name in the certificate
  -u, --user USER           log in as USER; without -P the password is asked for

Without options: one copy in jis to postmaster, from you.

Settings: JMAIL_CHARSET, JMAIL_COUNT, JMAIL_FROM, JMAIL_PASSWORD_FILE,
JMAIL_SERVER, JMAIL_TO, JMAIL_USER, SENDMAIL and QMAIL in /etc/kowaza.conf.
Example: jmailsend -s smtps://mail.hoge.cxm -u hanako -c 1000 -j 8
`,
	Options: func(set *getopt.Set) { new(jmailsendOptions).declare(set) },
	Values: map[string]string{"CHARSET": "jis sjis euc utf8", "FROM": completion.User, "RECIPIENT": completion.User,
		"SERVER": "smtp smtps", "MECH": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"},
	Run:    runJmailsend,
	Secret: true,
}

type jmailsendOptions struct {
	serverOptions
	server, perConnection          string
	charset, count, from, to, jobs string
	dryRun, verbose                bool
}

func (o *jmailsendOptions) declare(set *getopt.Set) {
	o.serverOptions.declare(set)
	set.FlagLong(&o.charset, "charset", 'e')
	set.FlagLong(&o.count, "count", 'c')
	set.FlagLong(&o.from, "from", 'f')
	set.FlagLong(&o.to, "to", 't')
	set.FlagLong(&o.jobs, "jobs", 'j')
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.perConnection, "per-connection", 0)
	set.FlagLong(&o.server, "server", 's')
	set.FlagLong(&o.verbose, "verbose", 'v')
}

// maxSendmails bounds --jobs: each is a process and a waiting thread, or a connection.
const maxSendmails = 256

func runJmailsend(env *cli.Env, argv []string) error {
	o := jmailsendOptions{jobs: "1"}
	set := cli.NewSet(argv, o.declare)
	if _, err := env.Parse(set, argv, 0, 0); err != nil {
		return err
	}

	// All options first: a usage error must not hide behind kowaza.conf.
	var mail testMail
	var err error
	if set.IsSet("charset") {
		if mail.charset, err = charset.Find(o.charset); err != nil {
			return cli.Usagef("--charset: %s: %s", o.charset, err)
		}
	}
	if set.IsSet("count") {
		if mail.count, err = cli.Number("--count", o.count, 1, settings.MaxCount); err != nil {
			return err
		}
	}
	n, err := cli.Number("--jobs", o.jobs, 1, maxSendmails)
	if err != nil {
		return err
	}
	for _, a := range []struct {
		name, value string
		field       *string
	}{{"to", o.to, &mail.to}, {"from", o.from, &mail.from}} {
		if !set.IsSet(a.name) {
			continue
		}
		if err := message.CheckAddress(a.value); err != nil {
			return cli.Usagef("--%s: %s: %s", a.name, a.value, err)
		}
		*a.field = a.value
	}
	bySMTP := smtpSending{o: &o}
	if err := bySMTP.check(set); err != nil {
		return err
	}

	s, err := env.Settings()
	if err != nil {
		return err
	}
	if err := bySMTP.complete(set, s); err != nil {
		return err
	}
	if err := completeMail(env, &mail, s); err != nil {
		return err
	}
	if o.dryRun {
		env.OnlyShows = true
		text, err := mail.compose(1, env.Now())
		if err == nil {
			_, err = env.Stdout.Write(text)
		}
		return err
	}
	run := copyRun{env: env, mail: &mail, jobs: n, verbose: o.verbose}
	if bySMTP.wanted {
		return bySMTP.send(&run)
	}
	sendmail, err := sendmailPath(env, s)
	if err != nil {
		return err
	}
	return sendAll(&sendRun{copyRun: &run, sendmail: sendmail})
}

// completeMail fills in what no option said from the settings.
func completeMail(env *cli.Env, mail *testMail, s *settings.Settings) error {
	var err error
	if mail.charset == nil {
		if mail.charset, err = charset.Find(s.JMailCharset); err != nil {
			return fmt.Errorf("JMAIL_CHARSET: %s: %w", s.JMailCharset, err)
		}
	}
	if mail.count == 0 {
		mail.count = s.JMailCount
	}
	if mail.to == "" {
		if err := message.CheckAddress(s.JMailTo); err != nil {
			return fmt.Errorf("JMAIL_TO: %s: %w", s.JMailTo, err)
		}
		mail.to = s.JMailTo
	}
	if mail.host, err = mailHost(env, s); err != nil {
		return err
	}
	if mail.from == "" {
		mail.from, err = defaultSender(env, s, mail.host)
	}
	return err
}

// defaultSender returns the address of the sender where no option names one.
func defaultSender(env *cli.Env, s *settings.Settings, host string) (string, error) {
	if s.JMailFrom == "" {
		return ownAddress(env, host)
	}
	if err := message.CheckAddress(s.JMailFrom); err != nil {
		return "", fmt.Errorf("JMAIL_FROM: %s: %w", s.JMailFrom, err)
	}
	return s.JMailFrom, nil
}

// mailHost returns the name under which this host sends mail: qmail's own, else
// the system's.
func mailHost(env *cli.Env, s *settings.Settings) (string, error) {
	where := qmailDir(env, s) + "/control/me"
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
	if err := message.CheckDomain(host); err != nil {
		return "", fmt.Errorf("%s: %s: %w", where, host, err)
	}
	return host, nil
}

// ownAddress returns the address of who runs this. It asks the password
// database: the environment of a cron job or of su says who it likes.
func ownAddress(env *cli.Env, host string) (string, error) {
	uid := os.Getuid()
	login, err := users.Passwd{Root: env.Root}.ByUID(uint32(uid))
	if err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, uid %d: %w", uid, err)
	}
	address := login.Name + "@" + host
	if err := message.CheckAddress(address); err != nil {
		return "", fmt.Errorf("JMAIL_FROM is not set, %s: %w", address, err)
	}
	return address, nil
}

// sendmailPath returns the path of the sendmail command. Where SENDMAIL names one,
// no other is taken in its place.
func sendmailPath(env *cli.Env, s *settings.Settings) (string, error) {
	names := []string{s.Sendmail}
	if s.Sendmail == "" {
		names = []string{env.Root + "/usr/sbin/sendmail", qmailDir(env, s) + "/bin/sendmail"}
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

// A copyRun is a run in which copies are sent, in whatever way.
type copyRun struct {
	env     *cli.Env
	mail    *testMail
	jobs    int
	verbose bool

	begun   atomic.Int64
	sent    atomic.Int64
	failed  atomic.Bool
	stopped atomic.Bool
}

// all has send send the copies, reports, and returns what ends the applet. Place is what
// the messages are about; figures returns what else is told of the speed. A signal sets
// stopped and calls stop, which may be nil.
func (r *copyRun) all(place string, send, stop func(), figures func() string) error {
	env := r.env
	start := time.Now()
	signals := env.Catch(func() {
		r.stopped.Store(true)
		if stop != nil {
			stop()
		}
	})
	progress := env.StartProgress(r.mail.count > 1, func() string {
		return fmt.Sprintf("%d of %s", r.sent.Load(), copies(r.mail.count))
	})
	send()
	progress.Stop()
	env.WarnedAll(place)
	sent, seconds := r.sent.Load(), time.Since(start).Seconds()
	sig := signals.Stop()
	if sig != nil {
		env.Warn("%s, %d of %s sent", cli.Killed(*sig), sent, copies(r.mail.count))
	}
	if r.verbose {
		env.Warn("%d of %s sent, %.2f seconds, %.1f copies a second%s",
			sent, copies(r.mail.count), seconds, float64(sent)/seconds, figures())
	}
	switch {
	case sig != nil:
		return cli.Killed(*sig)
	case r.failed.Load():
		return cli.ErrReported
	}
	return nil
}

// workers runs so many of work as there are jobs, and waits for their end.
func (r *copyRun) workers(work func()) {
	var wg sync.WaitGroup
	for range min(r.jobs, r.mail.count) {
		wg.Go(work)
	}
	wg.Wait()
}

// next returns the number of the copy that is to be sent next, 0 if there is none.
func (r *copyRun) next() int {
	if n := int(r.begun.Add(1)); n <= r.mail.count {
		return n
	}
	return 0
}

// what names a copy in a message.
func (r *copyRun) what(n int) string { return fmt.Sprintf("copy %d/%d", n, r.mail.count) }

// A sendRun is a run of the sendmail command for every copy.
type sendRun struct {
	*copyRun
	sendmail string
	environ  []string
	talk     uintptr // where sendmail's own messages go
}

// sendAll sends all copies and reports.
func sendAll(s *sendRun) error {
	s.environ = os.Environ()
	s.talk = 2
	if f := cli.FileOf(s.env.Stderr); f != nil {
		s.talk = f.Fd()
	}
	return s.all(s.sendmail, func() { s.workers(s.work) }, nil, func() string { return "" })
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return fmt.Sprintf("%d copies", n)
}

// work sends copies until there is none left.
func (s *sendRun) work() {
	for !s.stopped.Load() {
		n := s.next()
		if n == 0 {
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
			s.env.WarnLike(s.sendmail, s.what(n)+": "+s.sendmail, err)
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
func (s *sendRun) send(n int) error {
	text, err := s.mail.compose(n, s.env.Now())
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
