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
	"kowaza/internal/message"
	"kowaza/internal/settings"
)

var jmailsend = &cli.Applet{
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
	Options: func(set *getopt.Set) { new(jmailsendOptions).declare(set) },
	Values:  map[string]string{"CHARSET": "jis sjis euc utf8", "FROM": completion.User, "RECIPIENT": completion.User},
	Run:     runJmailsend,
}

type jmailsendOptions struct {
	charset, count, from, to, jobs string
	dryRun, verbose                bool
}

func (o *jmailsendOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.charset, "charset", 'e')
	set.FlagLong(&o.count, "count", 'c')
	set.FlagLong(&o.from, "from", 'f')
	set.FlagLong(&o.to, "to", 't')
	set.FlagLong(&o.jobs, "jobs", 'j')
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.verbose, "verbose", 'v')
}

// maxSendmails bounds --jobs: each is a process and a waiting thread.
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

	s, err := env.Settings()
	if err != nil {
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
	sendmail, err := findMailer(env, s)
	if err != nil {
		return err
	}
	return sendAll(env, &sendRun{env: env, mail: &mail, sendmail: sendmail, jobs: n, verbose: o.verbose})
}

// A sendRun is a run of the sendmail command for every copy.
type sendRun struct {
	env      *cli.Env
	mail     *testMail
	sendmail *mailer
	jobs     int
	verbose  bool

	begun   atomic.Int64
	sent    atomic.Int64
	failed  atomic.Bool
	stopped atomic.Bool
}

// sendAll sends all copies and reports.
func sendAll(env *cli.Env, s *sendRun) error {
	start := time.Now()
	signals := env.Catch(func() { s.stopped.Store(true) })
	progress := env.StartProgress(s.mail.count > 1, func() string {
		return fmt.Sprintf("%d of %s", s.sent.Load(), copies(s.mail.count))
	})
	var wg sync.WaitGroup
	for range min(s.jobs, s.mail.count) {
		wg.Go(s.work)
	}
	wg.Wait()
	progress.Stop()
	env.WarnedAll(s.sendmail.path)
	sent, seconds := s.sent.Load(), time.Since(start).Seconds()
	sig := signals.Stop()
	if sig != nil {
		env.Warn("%s, %d of %s sent", cli.Killed(*sig), sent, copies(s.mail.count))
	}
	if s.verbose {
		env.Warn("%d of %s sent, %.2f seconds, %.1f copies a second",
			sent, copies(s.mail.count), seconds, float64(sent)/seconds)
	}
	switch {
	case sig != nil:
		return cli.Killed(*sig)
	case s.failed.Load():
		return cli.ErrReported
	}
	return nil
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
		n := int(s.begun.Add(1))
		if n > s.mail.count {
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
			s.env.WarnLike(s.sendmail.path, fmt.Sprintf("copy %d/%d: %s", n, s.mail.count, s.sendmail.path), err)
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
