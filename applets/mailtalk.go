package applets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pborman/getopt/v2"
	"golang.org/x/term"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/dialogue"
	"kowaza/internal/escape"
	"kowaza/internal/message"
)

var mailtalk = &cli.Applet{
	Name: "mailtalk",
	Help: `usage: mailtalk [-46hqSv] [-u USER] [--OPTION...] SERVER [COMMAND...]
Talk to a mail server, and show what is said.

SERVER is smtp, smtps, pop3 or pop3s, alone (127.0.0.1) or with ://HOST[:PORT].
COMMAND is a line of the protocol, which must be taken; !COMMAND must be
refused. "data" sends standard input. First the envelope, then COMMANDs, then
the message; QUIT is always said. POP3 with -u and without COMMAND: STAT.

  -4, --ipv4                connect to IPv4 addresses only
  -6, --ipv6                connect to IPv6 addresses only
  -a, --auth MECH           log in by MECH: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-1,
                            SCRAM-SHA-256; POP3: USER, APOP, too
      --ca FILE             take certificates that lead to one in FILE, too
      --cert-days N         the certificate must be valid for N days yet
      --cleartext           send a password without TLS to another host
  -C, --critical SECONDS    with --nagios: longer is critical
  -e, --message CHARSET     send a test message in jis, sjis, euc or utf8
  -f, --from FROM           the sender of the envelope; may be empty
  -h, --help                show this help
  -H, --helo NAME           call this host NAME
      --json                print one object instead of the dialogue
      --nagios              print one line for Nagios, exit with 0, 1, 2 or 3
      --no-verify           go on whatever is wrong with the certificate
  -P, --password-file FILE  the password is the first line of FILE
  -q, --quiet               print the dialogue only if something went wrong
  -S, --starttls            STARTTLS (POP3: STLS) comes first
  -T, --timeout SECONDS     for the whole dialogue; 60
      --tls-name NAME       the name in the certificate
  -t, --to RECIPIENT        a recipient of the envelope; may be repeated
  -u, --user USER           log in as USER; without -P the password is asked for
  -v, --verbose             show the text of a message
      --version             print the version
  -W, --warning SECONDS     with --nagios: longer is a warning

Settings: JMAIL_FROM and QMAIL in /etc/kowaza.conf.
Example: mailtalk smtp 'mail from:<>' '!rcpt to:<you@elsewhere.example>'
`,
	Options: func(set *getopt.Set) { new(mailtalkOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"CHARSET": "jis sjis euc utf8", "FROM": completion.User, "RECIPIENT": completion.User,
			"SERVER": "smtp smtps pop3 pop3s", "MECH": serverMechanisms}
	},
	Run:    runMailtalk,
	Secret: true,
}

type mailtalkOptions struct {
	serverOptions
	thresholds
	charset, from                string
	to                           words
	json, nagios, quiet, verbose bool
}

func (o *mailtalkOptions) declare(set *getopt.Set) {
	o.serverOptions.declare(set)
	set.FlagLong(&o.critical, "critical", 'C')
	set.FlagLong(&o.from, "from", 'f')
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.charset, "message", 'e')
	set.FlagLong(&o.nagios, "nagios", 0)
	set.FlagLong(&o.quiet, "quiet", 'q')
	set.FlagLong(&o.to, "to", 't')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.warning, "warning", 'W')
}

// A talk is one run of mailtalk.
type talk struct {
	env     *cli.Env
	o       *mailtalkOptions
	server  dialogue.Server
	lines   []talkLine // COMMANDs
	sender  bool       // -f was given
	charset *charset.Charset
	text    []byte // of the test message; nil: none

	conn     *dialogue.Conn
	open     bool         // a sender was taken, and nothing has ended that
	taken    []string     // recipients
	failure  string       // the step that failed first; empty: none did
	why      string       // what went wrong there
	reply    string       // the reply there; empty: there was none
	steps    []jsonStep   // for --json
	kept     bytes.Buffer // the transcript of --quiet
	cut      int          // lines of it that are not kept
	took     time.Duration
	warnings []string // what is said on standard error
}

// A talkLine is one COMMAND.
type talkLine struct {
	text    string // as it is sent
	refused bool   // it must be
}

func (l talkLine) verb() string {
	words := strings.Fields(strings.ToLower(l.text))
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (l talkLine) isData() bool { return strings.EqualFold(strings.TrimSpace(l.text), "data") }

func runMailtalk(env *cli.Env, argv []string) error {
	var o mailtalkOptions
	set := cli.NewSet(argv, o.declare)
	t := &talk{env: env, o: &o}
	cfg, err := t.prepare(set, argv)
	if err != nil {
		if errors.Is(err, cli.ErrDone) || !slices.Contains(argv, "--nagios") {
			return err
		}
		return nagiosFailed(env, t.service(), err)
	}
	return t.run(cfg)
}

// prepare does all that needs no server.
func (t *talk) prepare(set *cli.Set, argv []string) (*dialogue.Config, error) {
	env, o := t.env, t.o
	words, err := env.Parse(set, argv, 1, math.MaxInt)
	if err != nil {
		return nil, err
	}
	if t.server, err = parseServer("SERVER", words[0]); err != nil {
		return nil, err
	}
	if err := o.serverOptions.check(set, t.server); err != nil {
		return nil, err
	}
	if err := o.checkLogin(); err != nil {
		return nil, err
	}
	if err := o.checkOutput(set); err != nil {
		return nil, err
	}
	if t.lines, err = talkLines(words[1:]); err != nil {
		return nil, err
	}
	if err := t.checkMessage(set); err != nil {
		return nil, err
	}
	s, err := env.Settings()
	if err != nil {
		return nil, err
	}
	host := func() (string, error) { return mailHost(env, s) }
	if !t.sender && len(o.to) > 0 {
		name, err := host()
		if err != nil {
			return nil, err
		}
		if o.from, err = defaultSender(env, s, name); err != nil {
			return nil, err
		}
	}
	if t.charset != nil {
		if err := t.compose(host); err != nil {
			return nil, err
		}
	}
	cfg, err := o.config(env, t.server, host)
	if err != nil {
		return nil, err
	}
	t.watch(cfg)
	return cfg, nil
}

// checkOutput returns the usage error in the options that say what is printed.
func (o *mailtalkOptions) checkOutput(set *cli.Set) error {
	ways := 0
	for _, way := range []bool{o.json, o.nagios, o.quiet} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return cli.Usagef("--json, --nagios and -q exclude each other")
	case !o.nagios && (set.IsSet("warning") || set.IsSet("critical")):
		return cli.Usagef("-W and -C need --nagios")
	}
	return o.thresholds.check(set)
}

// checkMessage returns the usage error in the options that name an envelope and a
// message.
func (t *talk) checkMessage(set *cli.Set) error {
	o := t.o
	t.sender = set.IsSet("from")
	if o.from != "" {
		if err := message.CheckAddress(o.from); err != nil {
			return cli.Usagef("--from: %s: %s", o.from, err)
		}
	}
	for _, to := range o.to {
		if err := message.CheckAddress(to); err != nil {
			return cli.Usagef("--to: %s: %s", to, err)
		}
	}
	if set.IsSet("message") {
		var err error
		if t.charset, err = charset.Find(o.charset); err != nil {
			return cli.Usagef("--message: %s: %s", o.charset, err)
		}
	}
	switch {
	case t.server.POP3() && (t.sender || len(o.to) > 0 || t.charset != nil):
		return cli.Usagef("-f, -t and -e are for SMTP")
	case t.charset != nil && len(o.to) == 0:
		return cli.Usagef("-e needs a recipient: -t")
	}
	for i, l := range t.lines {
		switch {
		case l.verb() == "quit" && (i < len(t.lines)-1 || t.charset != nil):
			return cli.Usagef("nothing can come after quit")
		case l.isData() && o.user != "" && o.passwordFile == "" && !onTerminal(t.env.Stdin):
			return cli.Usagef("data sends standard input: the password must come from a file, -P")
		}
	}
	return nil
}

func onTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// optionFor returns the option that does what a command does; empty where none does.
func optionFor(verb string) string {
	switch verb {
	case "starttls", "stls":
		return "-S"
	case "auth", "apop", "user", "pass":
		return "-a and -u"
	}
	return ""
}

// talkLines reads COMMANDs. What is wrong with one is said without repeating it: it may
// hold a password.
func talkLines(words []string) ([]talkLine, error) {
	lines := make([]talkLine, 0, len(words))
	for i, word := range words {
		l := talkLine{text: word}
		l.text, l.refused = strings.CutPrefix(word, "!")
		switch {
		case l.verb() == "":
			return nil, cli.Usagef("COMMAND %d: empty", i+1)
		case strings.HasPrefix(l.verb(), "-"): // no protocol has such a command
			return nil, cli.Usagef("COMMAND %d: options come before SERVER", i+1)
		case strings.ContainsAny(l.text, "\r\n\x00"):
			return nil, cli.Usagef("COMMAND %d: holds a line end or NUL", i+1)
		case optionFor(l.verb()) != "":
			return nil, cli.Usagef("COMMAND %d: %s is what %s is for", i+1, l.verb(), optionFor(l.verb()))
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// compose writes the test message. One from nobody says in its header that it is from us.
func (t *talk) compose(host func() (string, error)) error {
	mail := testMail{charset: t.charset, from: t.o.from, to: t.o.to[0], count: 1}
	var err error
	if mail.host, err = host(); err != nil {
		return err
	}
	if mail.from == "" {
		mail.from = "MAILER-DAEMON@" + mail.host
	}
	t.text, err = mail.compose(1, t.env.Now())
	return err
}

// maxKept bounds what of a transcript waits for its end, in bytes.
const maxKept = 4 << 20

// watch has the dialogue told as the options want it.
func (t *talk) watch(cfg *dialogue.Config) {
	switch {
	case t.o.nagios:
	case t.o.json:
		cfg.Step = func(s dialogue.Step) { t.steps = append(t.steps, newJSONStep(s)) }
	case t.o.quiet:
		cfg.Line = func(at time.Duration, mark dialogue.Mark, text string) {
			if line := transcriptLine(at, mark, text); t.kept.Len()+len(line) <= maxKept {
				t.kept.WriteString(line)
			} else {
				t.cut++
			}
		}
	default:
		cfg.Line = liveTranscript(t.env)
	}
}

// run holds the dialogue and says how it went.
func (t *talk) run(cfg *dialogue.Config) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := t.env.Catch(cancel)
	began := time.Now()
	conn, err := dialogue.Open(ctx, cfg)
	t.conn = conn
	if err != nil {
		t.failed(err)
	} else {
		t.talk()
	}
	if conn != nil {
		if ctx.Err() != nil {
			conn.Abandon()
		} else if err := conn.Quit(); err != nil && t.failure == "" {
			// The work had been done.
			conn.Note("quit: " + err.(*dialogue.Error).Why())
		}
	}
	t.took = time.Since(began)
	return t.report(signals.Stop())
}

// failed notes that a step did not go as it should.
func (t *talk) failed(err error) { t.failedAt("", err) }

// failedAt is failed with what it was about.
func (t *talk) failedAt(what string, err error) {
	e := err.(*dialogue.Error)
	step := stepName(e.Step)
	switch {
	case what == "":
		what = step
	case step == dialogue.StepRcpt:
		what = step + ": " + what
	}
	why := e.Why()
	if e.Unknown {
		why = "not known whether the message was taken: " + why
	}
	if t.failure == "" {
		t.failure, t.why, t.reply = e.Step, what+": "+why, e.Reply
	}
	t.warnings = append(t.warnings, what+": "+why)
}

// talk says what is asked for.
func (t *talk) talk() {
	t.envelope()
	if t.failure == "" {
		t.commands()
	}
	if t.text != nil && len(t.taken) > 0 && (t.failure == "" || t.failure == dialogue.StepRcpt && len(t.lines) == 0) {
		t.message()
	}
	if t.failure == "" && t.open && !t.conn.Over() {
		if err := t.conn.Reset(); err != nil {
			t.failed(err)
		}
	}
}

// envelope says MAIL and RCPT. Every recipient is tried.
func (t *talk) envelope() {
	if !t.sender && len(t.o.to) == 0 {
		return
	}
	if err := t.conn.Mail(t.o.from, t.text); err != nil {
		t.failed(err)
		return
	}
	t.open = true
	for _, to := range t.o.to {
		if t.conn.Over() {
			return
		}
		if err := t.conn.Rcpt(to); err != nil {
			t.failedAt(to, err)
		} else {
			t.taken = append(t.taken, to)
		}
	}
}

// commands says the COMMANDs up to the first that does not go as it should.
func (t *talk) commands() {
	lines := t.lines
	if len(lines) == 0 && t.server.POP3() && t.o.user != "" {
		lines = []talkLine{{text: "STAT"}}
	}
	for _, l := range lines {
		if t.failure != "" {
			return
		}
		t.command(l)
	}
}

func (t *talk) command(l talkLine) {
	if l.isData() && !t.server.POP3() {
		t.data(l)
		return
	}
	step := dialogue.StepCommand
	say := t.conn.Do
	switch {
	case l.verb() == "quit":
		step = dialogue.StepQuit
	case t.server.POP3() && dialogue.HasText(l.text):
		say = func(step, line string) (dialogue.Reply, error) { return t.conn.Text(step, line, nil) }
	}
	r, err := say(step, l.text)
	switch {
	case err != nil:
		t.failedAt(l.text, err)
	case l.refused && r.Good():
		t.failedAt(l.text, &dialogue.Error{Step: step, Err: errors.New("not refused: " + r.String())})
	case !l.refused && !r.Good():
		t.failedAt(l.text, &dialogue.Error{Step: step, Reply: r.String()})
	}
	if step == dialogue.StepQuit {
		t.conn.Close()
	}
}

// data sends standard input as a message.
func (t *talk) data(l talkLine) {
	r, err := t.conn.Data(dialogue.StepData, l.text)
	switch {
	case err != nil:
		t.failed(err)
	case l.refused && r.Code/100 >= 4:
	case l.refused:
		t.conn.Note("closed: the server waits for a message, and is to get none")
		t.failedAt(l.text, &dialogue.Error{Step: dialogue.StepData, Err: errors.New("not refused: " + r.String())})
	case r.Code != 354:
		t.failed(&dialogue.Error{Step: dialogue.StepData, Reply: r.String()})
	default:
		t.open = false
		if _, err := t.conn.WriteMessage(t.env.Stdin, t.o.verbose); err != nil {
			t.failed(err)
		}
	}
}

// message sends the test message to the recipients that were taken.
func (t *talk) message() {
	r, err := t.conn.Data(dialogue.StepData, "DATA")
	switch {
	case err != nil:
		t.failed(err)
		return
	case r.Code != 354:
		t.failed(&dialogue.Error{Step: dialogue.StepData, Reply: r.String()})
		return
	}
	t.open = false
	if _, err := t.conn.WriteMessage(bytes.NewReader(t.text), t.o.verbose); err != nil {
		t.failed(err)
	}
}

// report prints what is printed at the end, and returns what ends the applet.
func (t *talk) report(sig *syscall.Signal) error {
	if t.took > t.o.timeout { // by the moment that it takes to notice
		t.took = t.o.timeout
	}
	status := error(nil)
	if t.failure != "" {
		status = cli.ErrReported
	}
	switch {
	case t.o.nagios:
		status = t.nagios()
	case t.o.json:
		if err := t.printJSON(); err != nil {
			return err
		}
	case t.o.quiet && (t.failure != "" || sig != nil):
		t.env.Stdout.Write(t.kept.Bytes())
		if t.cut > 0 {
			fmt.Fprintf(t.env.Stdout, "... and %s\n", cli.Count(int64(t.cut), "line"))
		}
	}
	if sig != nil {
		return cli.Killed(*sig)
	}
	if !t.o.nagios {
		for _, w := range t.warnings {
			t.env.Warn("%s", w)
		}
	}
	return status
}

// service is what Nagios calls the server.
func (t *talk) service() string {
	if t.server.POP3() {
		return "POP3"
	}
	return "SMTP"
}

// nagios prints the one line.
func (t *talk) nagios() error {
	status, text := t.o.thresholds.status(t.took), ""
	if t.failure != "" {
		status, text = nagiosCritical, t.why
	} else if t.conn != nil {
		text = fmt.Sprintf("%.3f s, %s", t.took.Seconds(), t.conn.Last())
	}
	return nagiosLine(t.env, t.service(), status, text, t.took, t.o.thresholds, t.o.timeout)
}

// A jsonTalk is what --json prints.
type jsonTalk struct {
	Server       string     `json:"server"`
	Address      *string    `json:"address"`
	OK           bool       `json:"ok"`
	Failed       *string    `json:"failed"`
	Reply        *string    `json:"reply"`
	Error        *string    `json:"error"`
	Seconds      float64    `json:"seconds"`
	Steps        []jsonStep `json:"steps"`
	TLS          *jsonTLS   `json:"tls"`
	Capabilities []string   `json:"capabilities"`
	Mechanism    *string    `json:"mechanism"`
}

type jsonStep struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
	Sent    string  `json:"sent"`
	Code    string  `json:"code"`
	Text    string  `json:"text"`
}

type jsonTLS struct {
	Version  string  `json:"version"`
	Cipher   string  `json:"cipher"`
	Subject  string  `json:"subject"`
	Issuer   string  `json:"issuer"`
	NotAfter string  `json:"not_after"`
	Verified bool    `json:"verified"`
	Error    *string `json:"error"`
}

func newJSONStep(s dialogue.Step) jsonStep {
	return jsonStep{Step: s.Name, Seconds: seconds(s.Took), Sent: escape.Text(s.Sent), Code: s.Code, Text: escape.Text(s.Text)}
}

// seconds returns a time to the microsecond.
func seconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

// printJSON prints the one object.
func (t *talk) printJSON() error {
	j := jsonTalk{Server: t.server.String(), OK: t.failure == "", Failed: orNil(escape.Text(t.failure)), Reply: orNil(escape.Text(t.reply)),
		Seconds: seconds(t.took), Steps: t.steps, Capabilities: []string{}}
	if t.failure != "" && t.reply == "" {
		j.Error = orNil(escape.Text(t.why))
	}
	if c := t.conn; c != nil {
		j.Address = orNil(escape.Text(c.Address().String()))
		j.Mechanism = orNil(escape.Text(c.Mechanism()))
		for _, line := range c.Capabilities() {
			j.Capabilities = append(j.Capabilities, escape.Text(line))
		}
		if t.failure == "" {
			j.Reply = orNil(escape.Text(c.Last().String()))
		}
		if s := c.TLSState(); s != nil {
			j.TLS = &jsonTLS{s.Version, s.Cipher, escape.Text(s.Subject), escape.Text(s.Issuer),
				s.NotAfter.UTC().Format(time.RFC3339), s.Verified, nil}
			if s.Err != nil {
				j.TLS.Error = orNil(escape.Text(s.Err.Error()))
			}
		}
	}
	return printJSON(t.env, j)
}
