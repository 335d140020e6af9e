package applets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/dialogue"
	"kowaza/internal/maildir"
	"kowaza/internal/settings"
)

var mailtrip = &cli.Applet{
	Name: "mailtrip",
	Help: `usage: mailtrip [-46dhSv] [-t RECIPIENT] [-r OWNER] [--OPTION...] [TEST...]
Inject a message, and say where it ended.

TEST is local (without TEST): it must be delivered; remote; bounce: mail to an
address that nobody has must come back; double: its bounce must reach who gets
double bounces. OWNER is a login or a directory that holds a Maildir.

  -4, --ipv4                connect to IPv4 addresses only
  -6, --ipv6                connect to IPv6 addresses only
  -a, --auth MECH           log in by MECH: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1,
                            SCRAM-SHA-256; POP3: USER, APOP, too
  -b, --bounces OWNER       who gets SENDER's bounces, if not that login
      --ca FILE             take certificates that lead to one in FILE, too
      --cert-days N         the certificate must be valid for N days yet
      --cleartext           send a password without TLS to another host
  -C, --critical SECONDS    with --nagios: longer is critical
  -d, --delete              remove the messages found
  -f, --from SENDER         the sender of the envelope
  -h, --help                show this help
  -H, --helo NAME           call this host NAME
      --json                tell of each TEST in JSON
  -m, --maildir OWNER       who gets RECIPIENT's mail, if not that login
      --nagios              print one line for Nagios, exit with 0, 1, 2 or 3
      --no-verify           go on whatever is wrong with the certificate
  -p, --pop3 SERVER         look into a mailbox there, and into no Maildir
  -P, --password-file FILE  the password is the first line of FILE
  -r, --doubles OWNER       who gets double bounces
  -s, --smtp SERVER         send by SMTP, and not by sendmail
  -S, --starttls            STARTTLS (POP3: STLS) comes first
  -t, --to RECIPIENT        whom local and remote are sent to
  -T, --timeout SECONDS     for each dialogue with a server; 60
      --tls-name NAME       the name in the certificate
  -u, --user USER           log in as USER; without -P the password is asked for
  -v, --verbose             show the dialogues
      --version             print the version
  -w, --wait SECONDS        for each TEST, 1 to 86400; 60
  -W, --warning SECONDS     with --nagios: longer is a warning

Settings: JMAIL_CHARSET, JMAIL_FROM, JMAIL_TO, MAILDIR, INBOX, QUOTA_TRASH,
SENDMAIL and QMAIL in /etc/kowaza.conf.
Example: mailtrip -d -f hoshu -t hoshu -r pmaster local bounce double
`,
	Options: func(set *getopt.Set) { new(mailtripOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"OWNER": completion.Owner, "RECIPIENT": completion.User, "SENDER": completion.User,
			"SERVER": "smtp smtps pop3 pop3s", "MECH": serverMechanisms, "TEST": strings.Join(tripTests, " ")}
	},
	Run:    runMailtrip,
	Secret: true,
}

type mailtripOptions struct {
	serverOptions
	thresholds
	bounces, doubles, owner       string // OWNERs
	smtp, pop3                    string // SERVERs
	from, to, wait                string
	delete, verbose, json, nagios bool
}

func (o *mailtripOptions) declare(set *getopt.Set) {
	o.serverOptions.declare(set)
	set.FlagLong(&o.bounces, "bounces", 'b')
	set.FlagLong(&o.critical, "critical", 'C')
	set.FlagLong(&o.delete, "delete", 'd')
	set.FlagLong(&o.from, "from", 'f')
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.owner, "maildir", 'm')
	set.FlagLong(&o.nagios, "nagios", 0)
	set.FlagLong(&o.pop3, "pop3", 'p')
	set.FlagLong(&o.doubles, "doubles", 'r')
	set.FlagLong(&o.smtp, "smtp", 's')
	set.FlagLong(&o.to, "to", 't')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.wait, "wait", 'w')
	set.FlagLong(&o.warning, "warning", 'W')
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
	o        *mailtripOptions
	settings *settings.Settings
	mail     testMail // its recipient is RECIPIENT
	tests    []*tripTest
	wait     time.Duration

	mailer *mailer          // nil: by SMTP
	smtp   *dialogue.Config // nil: by sendmail
	pop3   *dialogue.Config // nil: Maildirs are looked at
	conn   *dialogue.Conn   // of SMTP
	broken error            // why no message more can be sent

	boxes []*tripBox
	queue *tripQueue // nil: it cannot be read
	trash maildir.TrashQuota

	sightings chan sighting
	ctx       context.Context // ended by a signal
}

// A tripTest is one TEST and what has become of it.
type tripTest struct {
	name     string
	from, to string
	id       string // Message-ID
	begun    time.Time
	injected bool
	reply    string // of the SMTP server that took it

	unwanted *sighting // that is not what the TEST wants, and not the end of it
	absent   int       // how often it was not in qmail's queue; remote
	left     time.Time // when it was so first
	tripResult
}

// tripService is what Nagios calls it.
const tripService = "MAIL"

func runMailtrip(env *cli.Env, argv []string) error {
	o := mailtripOptions{wait: "60"}
	set := cli.NewSet(argv, o.declare)
	t := &trip{env: env, o: &o, sightings: make(chan sighting)}
	if err := t.prepare(set, argv); err != nil {
		if errors.Is(err, cli.ErrDone) || !slices.Contains(argv, "--nagios") {
			return err
		}
		return nagiosFailed(env, tripService, err)
	}
	return t.run()
}

// prepare does all that comes before the first look.
func (t *trip) prepare(set *cli.Set, argv []string) error {
	operands, err := t.env.Parse(set, argv, 0, len(tripTests))
	if err != nil {
		return err
	}
	if err := t.take(set, operands); err != nil {
		return err
	}
	servers, err := t.takeServers(set)
	if err != nil {
		return err
	}
	if t.settings, err = t.env.Settings(); err != nil {
		return err
	}
	t.mail.count = 1
	if err := completeMail(t.env, &t.mail, t.settings); err != nil {
		return err
	}
	if err := t.configure(servers); err != nil {
		return err
	}
	t.plan()
	return nil
}

// take checks what was given, but for servers.
func (t *trip) take(set *cli.Set, operands []string) error {
	o := t.o
	if len(operands) == 0 {
		operands = []string{tripLocal}
	}
	for _, name := range operands {
		switch {
		case strings.HasPrefix(name, "-"):
			return cli.Usagef("%s: options come before TEST", name)
		case !slices.Contains(tripTests, name):
			return cli.Usagef("%s: not one of %s", name, strings.Join(tripTests, ", "))
		case t.has(name):
			return cli.Usagef("%s: more than once", name)
		}
		t.tests = append(t.tests, &tripTest{name: name})
	}
	if err := t.mail.takeAddresses(set, o.to, o.from); err != nil {
		return err
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
	byMailbox := set.IsSet("pop3")
	switch {
	case t.has(tripRemote) && o.to == "":
		return cli.Usagef("remote needs -t RECIPIENT")
	case t.has(tripDouble) && o.doubles == "" && !byMailbox:
		return cli.Usagef("double needs -r OWNER: who gets double bounces")
	case byMailbox && o.owner+o.bounces+o.doubles != "":
		return cli.Usagef("-m, -b and -r go without -p: that is the mailbox of all")
	case o.json && o.nagios:
		return cli.Usagef("--json and --nagios exclude each other")
	case o.verbose && (o.json || o.nagios):
		return cli.Usagef("-v goes with neither --json nor --nagios")
	case !o.nagios && (set.IsSet("warning") || set.IsSet("critical")):
		return cli.Usagef("-W and -C need --nagios")
	}
	return o.thresholds.check(set)
}

// takeServers checks -s, -p and the options that go with them.
func (t *trip) takeServers(set *cli.Set) (servers map[string]dialogue.Server, err error) {
	servers = make(map[string]dialogue.Server)
	for _, a := range []struct {
		name, value string
		pop3        bool
	}{{"smtp", t.o.smtp, false}, {"pop3", t.o.pop3, true}} {
		if !set.IsSet(a.name) {
			continue
		}
		s, err := parseServer("--"+a.name, a.value)
		if err != nil {
			return nil, err
		}
		if s.POP3() != a.pop3 {
			return nil, cli.Usagef("--%s: a server of %s is wanted", a.name, strings.ToUpper(a.name))
		}
		servers[a.name] = s
	}
	if len(servers) == 0 {
		for _, name := range serverOptionNames {
			if set.IsSet(name) {
				return nil, cli.Usagef("--%s: needs a server, -s or -p", name)
			}
		}
		return servers, nil
	}
	if err := t.o.serverOptions.check(set, slices.Collect(maps.Values(servers))...); err != nil {
		return nil, err
	}
	if _, ok := servers["pop3"]; ok && t.o.user == "" {
		return nil, cli.Usagef("--pop3: needs --user")
	}
	return servers, t.o.checkLogin()
}

// configure finds what the message is sent and seen by.
func (t *trip) configure(servers map[string]dialogue.Server) error {
	host := func() (string, error) { return t.mail.host, nil }
	configure := func(s dialogue.Server) (*dialogue.Config, error) {
		cfg, err := t.o.config(t.env, s, host)
		if err == nil && t.o.verbose {
			cfg.Line = liveTranscript(t.env)
		}
		return cfg, err
	}
	var err error
	if s, ok := servers["pop3"]; ok {
		if t.pop3, err = configure(s); err != nil {
			return err
		}
	}
	if s, ok := servers["smtp"]; ok {
		if t.smtp, err = configure(s); err != nil {
			return err
		}
		if t.pop3 != nil {
			login := &t.smtp.Login
			login.Password = t.pop3.Login.Password // asked for once
			if login.Mechanism == "USER" || login.Mechanism == "APOP" {
				login.Mechanism = "" // these are POP3's alone
			}
		}
		return nil
	}
	t.mailer, err = findMailer(t.env, t.settings)
	return err
}

// has reports whether a TEST was asked for.
func (t *trip) has(name string) bool {
	return slices.ContainsFunc(t.tests, func(x *tripTest) bool { return x.name == name })
}

// plan decides on envelopes and on where to look.
func (t *trip) plan() {
	t.trash = maildir.TrashQuota(slices.Index(maildir.TrashQuotas, t.settings.QuotaTrash))
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
	t.addBoxes()
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t.ctx = ctx
	signals := t.env.Catch(cancel)
	t.watch()
	for _, x := range t.tests {
		t.inject(x)
	}
	t.talk(func() error { t.hangUp(); return nil })
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
	if t.o.nagios {
		return t.nagios()
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
func (t *trip) stopped() bool { return t.ctx.Err() != nil }

// warn says what went wrong, but where Nagios reads one line alone.
func (t *trip) warn(format string, a ...any) {
	if !t.o.nagios {
		t.env.Warn(format, a...)
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
	if err == nil && t.smtp != nil {
		err = t.send(x, text)
	} else if err == nil {
		err = t.post(x, text)
	}
	switch {
	case t.stopped(), x.known: // it may be seen before sendmail has ended
	case err != nil:
		t.finish(x, tripResult{outcome: "refused", seconds: time.Since(x.begun), why: cli.Describe(err)})
	default:
		x.injected = true
		if x.name == tripRemote && t.needs(x) == 0 {
			r := tripResult{outcome: "injected", ok: true, seconds: time.Since(x.begun), told: "nobody here sees where it ends"}
			if x.reply != "" {
				r.told = x.reply + ": " + r.told
			}
			t.finish(x, r)
		}
	}
}

// meanwhile judges what is seen until done is closed, and reports whether it was, before
// a signal came or the time was over.
func (t *trip) meanwhile(done <-chan struct{}, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return true
		case s := <-t.sightings:
			t.see(&s)
		case <-t.ctx.Done():
			return false
		case <-timer.C:
			return false
		}
	}
}

// post gives a message to sendmail, which may take as long as the TEST may.
func (t *trip) post(x *tripTest, text []byte) error {
	p, err := t.mailer.post([]string{"-t", "-i", "-f", x.from}, text)
	if err == nil && !t.meanwhile(p.ended(), t.wait) {
		if t.stopped() {
			return nil
		}
		p.kill()
		p.wait()
		return fmt.Errorf("%s: did not end within %s", t.mailer.path, t.waited())
	}
	if err == nil {
		err = p.wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.mailer.path, err)
	}
	return nil
}

// send gives a message to the SMTP server. One that was sent and of which nobody knows
// whether it was taken is looked for as the others.
func (t *trip) send(x *tripTest, text []byte) error {
	err := t.talk(t.connect)
	if err == nil {
		x.begun = time.Now() // connecting took what it took: a password may have been asked for
		err = t.talk(func() error { return t.conn.Deliver(&dialogue.Delivery{From: x.from, To: x.to, Text: text}) })
	}
	var e *dialogue.Error
	switch {
	case err == nil:
		x.reply = t.conn.Last().String()
	case errors.As(err, &e) && e.Unknown:
		t.warn("%s: not known whether the message was taken: %s", x.name, e.Why())
	default:
		return fmt.Errorf("%s: %w", t.smtp.Server, err)
	}
	return nil
}

// talk does a part of the dialogue with the SMTP server, which ends by its own deadline or
// a signal, while what is seen is judged.
func (t *trip) talk(part func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = part()
	}()
	for !t.meanwhile(done, t.wait) {
		if t.stopped() {
			<-done
			break
		}
	}
	return err
}

// connect opens the dialogue with the SMTP server, where none is. What kept it from being
// opened once would do so again; a wrong password must not count twice.
func (t *trip) connect() error {
	if t.broken != nil {
		return t.broken
	}
	if t.conn != nil && !t.conn.Over() {
		t.conn.SetDeadline(time.Now().Add(t.smtp.Timeout))
		return nil
	}
	t.hangUp()
	login := t.smtp.Login
	if t.pop3 != nil {
		// It is the mailbox's. A server for mail of this host may know none: then it is
		// spared.
		t.smtp.Login = dialogue.Login{}
	}
	t.conn, t.broken = dialogue.Open(t.ctx, t.smtp)
	t.smtp.Login = login
	if t.broken == nil && t.pop3 != nil {
		if _, offered := t.conn.Offers("AUTH"); offered {
			t.hangUp()
			t.conn, t.broken = dialogue.Open(t.ctx, t.smtp)
		}
	}
	return t.broken
}

// hangUp ends the dialogue with the SMTP server. What it says to QUIT changes nothing,
// and is not waited for long.
func (t *trip) hangUp() {
	if t.conn != nil {
		t.conn.SetDeadline(time.Now().Add(quitPatience))
		t.conn.Quit()
		t.conn = nil
	}
}

// quitPatience is how long a server may take to say goodbye.
const quitPatience = 2 * time.Second
