package applets

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/settings"
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
	Values: func() map[string]string {
		return map[string]string{"CHARSET": "jis sjis euc utf8", "FROM": completion.User, "RECIPIENT": completion.User,
			"SERVER": "smtp smtps", "MECH": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"}
	},
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
	if err := mail.takeAddresses(set, o.to, o.from); err != nil {
		return err
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
	sendmail, err := findMailer(env, s)
	if err != nil {
		return err
	}
	return sendAll(&sendRun{copyRun: &run, sendmail: sendmail})
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
	sendmail *mailer
}

// sendAll sends all copies and reports.
func sendAll(s *sendRun) error {
	return s.all(s.sendmail.path, func() { s.workers(s.work) }, nil, func() string { return "" })
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
			s.env.WarnLike(s.sendmail.path, s.what(n)+": "+s.sendmail.path, err)
		} else if !s.stopped.Swap(true) { // said once, whoever else met it
			s.env.Warn("%s: %s", s.sendmail.path, syscall.Errno(start))
		}
	}
}

// send has sendmail take one copy.
func (s *sendRun) send(n int) error {
	text, err := s.mail.compose(n, s.env.Now())
	if err != nil {
		return err
	}
	p, err := s.sendmail.post([]string{"-t", "-i"}, text)
	if err != nil {
		return err
	}
	return p.wait()
}
