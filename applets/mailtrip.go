package applets

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/maildir"
	"kowaza/internal/message"
	"kowaza/internal/settings"
)

var mailtrip = &cli.Applet{
	Name: "mailtrip",
	Help: `usage: mailtrip [-dhv] [-b OWNER] [-f SENDER] [-m OWNER] [-r OWNER] [--OPTION...] [TEST...]
Inject a test message and say where it ended.

TEST: local (without TEST), remote, bounce, double.

  -b, --bounces OWNER    whose Maildir gets SENDER's bounces
  -C, --critical SECONDS with --nagios: critical if a TEST took longer
  -d, --delete           remove the messages found
  -f, --from SENDER      the envelope sender
  -h, --help             show this help
      --json             tell of each TEST in JSON
  -m, --maildir OWNER    whose Maildir gets RECIPIENT's mail
      --nagios           one line and the status of a Nagios plugin
  -r, --doubles OWNER    whose Maildir gets double bounces; needed for double
  -t, --to RECIPIENT     send it to this address: local or local@domain
  -v, --verbose          say what is done
      --version          print the version
  -W, --warning SECONDS  with --nagios: a warning if a TEST took longer
  -w, --wait SECONDS     look for it so long, at most 86400; 60 unless told

OWNER is a login name or a directory that holds a Maildir. Without -m and -b it is
the login that RECIPIENT's and SENDER's local parts name.

Settings: JMAIL_CHARSET, JMAIL_FROM, JMAIL_TO, MAILDIR, INBOX, QUOTA_TRASH,
SENDMAIL and QMAIL in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(mailtripOptions).declare(set) },
	Values: map[string]string{"OWNER": completion.Owner, "RECIPIENT": completion.User, "SENDER": completion.User,
		"TEST": strings.Join(tripTests, " ")},
	Run: runMailtrip,
}

type mailtripOptions struct {
	bounces, doubles, owner       string // OWNERs
	from, to, wait                string
	delete, verbose, json, nagios bool
	warning, critical             string
}

func (o *mailtripOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.bounces, "bounces", 'b')
	set.FlagLong(&o.critical, "critical", 'C')
	set.FlagLong(&o.delete, "delete", 'd')
	set.FlagLong(&o.from, "from", 'f')
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.owner, "maildir", 'm')
	set.FlagLong(&o.nagios, "nagios", 0)
	set.FlagLong(&o.doubles, "doubles", 'r')
	set.FlagLong(&o.to, "to", 't')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.warning, "warning", 'W')
	set.FlagLong(&o.wait, "wait", 'w')
}

// The TESTs.
const (
	tripLocal  = "local"
	tripRemote = "remote"
	tripBounce = "bounce"
	tripDouble = "double"
)

var tripTests = []string{tripLocal, tripRemote, tripBounce, tripDouble}

// A trip is one run of mailtrip.
type trip struct {
	env      *cli.Env
	settings *settings.Settings
	mailer   *mailer
	mail     testMail // its recipient is RECIPIENT
	tests    []*tripTest
	boxes    []*tripBox
	queue    *tripQueue // nil: it cannot be read
	wait     time.Duration
	delete   bool
	verbose  bool
	json     bool
	trash    maildir.TrashQuota

	sightings chan sighting
	stop      chan struct{} // closed by a signal
}

// A tripTest is one TEST and what has become of it.
type tripTest struct {
	name     string
	from, to string
	id       string // Message-ID
	begun    time.Time
	injected bool

	unwanted *sighting // that is not what the TEST wants, and not the end of it
	absent   int       // how often it was not in qmail's queue; remote
	left     time.Time // when it was so first
	tripResult
}

func runMailtrip(env *cli.Env, argv []string) error {
	o := mailtripOptions{wait: "60"}
	set := cli.NewSet(argv, o.declare)
	operands, err := env.Parse(set, argv, 0, len(tripTests))
	if err != nil {
		return err
	}
	t := &trip{env: env, delete: o.delete, verbose: o.verbose, json: o.json,
		sightings: make(chan sighting), stop: make(chan struct{})}
	if err := t.take(set, &o, operands); err != nil {
		return err
	}
	if t.settings, err = env.Settings(); err != nil {
		return err
	}
	if err := t.plan(&o); err != nil {
		return err
	}
	return t.run()
}

// take checks what was given, before anything else is done.
func (t *trip) take(set *cli.Set, o *mailtripOptions, operands []string) error {
	if len(operands) == 0 {
		operands = []string{tripLocal}
	}
	for _, name := range operands {
		switch {
		case !slices.Contains(tripTests, name):
			return cli.Usagef("%s: not one of %s", name, strings.Join(tripTests, ", "))
		case slices.ContainsFunc(t.tests, func(x *tripTest) bool { return x.name == name }):
			return cli.Usagef("%s: more than once", name)
		}
		t.tests = append(t.tests, &tripTest{name: name})
	}
	for _, a := range []struct {
		name, value string
		field       *string
	}{{"to", o.to, &t.mail.to}, {"from", o.from, &t.mail.from}} {
		if !set.IsSet(a.name) {
			continue
		}
		if err := message.CheckAddress(a.value); err != nil {
			return cli.Usagef("--%s: %s: %s", a.name, a.value, err)
		}
		*a.field = a.value
	}
	for _, a := range []struct{ name, value string }{{"maildir", o.owner}, {"bounces", o.bounces}, {"doubles", o.doubles}} {
		if err := checkOwner(a.value, set.IsSet(a.name), false); err != nil {
			return cli.Usagef("--%s: %s", a.name, err)
		}
	}
	wait, err := cli.Number("--wait", o.wait, 1, maxWait)
	if err != nil {
		return err
	}
	t.wait = time.Duration(wait) * time.Second
	switch {
	case t.has(tripRemote) && o.to == "":
		return cli.Usagef("remote needs -t RECIPIENT")
	case t.has(tripDouble) && o.doubles == "":
		return cli.Usagef("double needs -r OWNER: whose Maildir gets double bounces")
	}
	return nil
}

// has reports whether a TEST was asked for.
func (t *trip) has(name string) bool {
	return slices.ContainsFunc(t.tests, func(x *tripTest) bool { return x.name == name })
}

// plan decides on envelopes and on where to look.
func (t *trip) plan(o *mailtripOptions) error {
	t.mail.count = 1
	if err := completeMail(t.env, &t.mail, t.settings); err != nil {
		return err
	}
	t.trash = maildir.TrashQuota(slices.Index(maildir.TrashQuotas, t.settings.QuotaTrash))
	var err error
	if t.mailer, err = findMailer(t.env, t.settings); err != nil {
		return err
	}
	t.mail.from, t.mail.to = t.qualified(t.mail.from), t.qualified(t.mail.to)
	now := t.env.Now()
	for _, x := range t.tests {
		x.from, x.to = t.mail.from, t.mail.to
		if x.name == tripBounce || x.name == tripDouble {
			x.to = t.nobody()
		}
		if x.name == tripDouble {
			x.from = t.nobody()
		}
		x.id = fmt.Sprintf("<kowaza.%s.%s@%s>", now.UTC().Format("20060102150405"), strings.ToLower(rand.Text()), t.mail.host)
	}
	t.queue = openTripQueue(qmailDir(t.env, t.settings) + "/queue")
	t.addBoxes(o)
	return nil
}

// qualified puts this host behind a local name alone, as sendmail would.
func (t *trip) qualified(address string) string {
	if strings.Contains(address, "@") {
		return address
	}
	return address + "@" + t.mail.host
}

// nobody returns an address that nobody has: 80 random bits.
func (t *trip) nobody() string {
	return "kowaza-" + strings.ToLower(rand.Text()[:16]) + "@" + t.mail.host
}

// run injects, watches and tells.
func (t *trip) run() error {
	signals := t.env.Catch(func() { close(t.stop) })
	t.watch()
	for _, x := range t.tests {
		t.inject(x)
	}
	t.await()
	if sig := signals.Stop(); sig != nil {
		known := 0
		for _, x := range t.tests {
			if x.known {
				known++
			}
		}
		t.env.Warn("%s, %d of %s known", cli.Killed(*sig), known, cli.Count(int64(len(t.tests)), "test"))
		return cli.Killed(*sig)
	}
	for _, x := range t.tests {
		if !x.ok {
			return cli.ErrReported
		}
	}
	for _, b := range t.boxes {
		if b.failed {
			return cli.ErrReported
		}
	}
	return nil
}

// stopped reports whether a signal has come.
func (t *trip) stopped() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// inject sends the message of one TEST, unless nobody could see where it ends.
func (t *trip) inject(x *tripTest) {
	if t.stopped() {
		return
	}
	if err := t.blind(x); err != nil {
		t.finish(x, tripResult{outcome: "not injected", why: cli.Describe(err)})
		return
	}
	mail := t.mail
	mail.from, mail.to, mail.id = x.from, x.to, x.id
	text, err := mail.compose(1, t.env.Now())
	x.begun = time.Now()
	if err == nil {
		err = t.post(x, text)
	}
	switch {
	case err == errTripStopped, x.known: // it may be there before sendmail has ended
	case err != nil:
		t.finish(x, tripResult{outcome: "refused", seconds: time.Since(x.begun), why: cli.Describe(err)})
	default:
		x.injected = true
		if x.name == tripRemote && !t.judgesRemote() {
			t.finish(x, tripResult{outcome: "injected", ok: true, seconds: time.Since(x.begun), where: "not judged: nobody here sees where it ends"})
		}
	}
}

var errTripStopped = errors.New("stopped")

// post gives a message to sendmail, which may take as long as the TEST may.
func (t *trip) post(x *tripTest, text []byte) error {
	p, err := t.mailer.post([]string{"-t", "-i", "-f", x.from}, text)
	if err != nil {
		return fmt.Errorf("%s: %w", t.mailer.path, err)
	}
	timeout := time.NewTimer(t.wait)
	defer timeout.Stop()
	for ended := p.ended(); ended != nil; {
		select {
		case <-ended:
			ended = nil
		case s := <-t.sightings:
			t.see(&s)
		case <-t.stop:
			return errTripStopped
		case <-timeout.C:
			p.kill()
			p.wait()
			return fmt.Errorf("%s: did not end within %s", t.mailer.path, t.waited())
		}
	}
	if err := p.wait(); err != nil {
		return fmt.Errorf("%s: %w", t.mailer.path, err)
	}
	return nil
}
