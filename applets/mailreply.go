package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pborman/getopt/v2"
	"golang.org/x/sys/unix"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/message"
	"kowaza/internal/settings"
)

var mailreply = &cli.Applet{
	Name: "mailreply",
	Help: `usage: mailreply [-hnv] [-a ADDRESS] [-d DAYS] [--OPTION...] FILE
Answer a message automatically with the text of FILE, once for each sender.

  -a, --address ADDRESS  an address of yours besides LOCAL@HOST, repeatable;
                         '*' answers mail that is to none of them, too
  -b, --bounces ADDRESS  where bounces of the reply go instead of nowhere
  -d, --days DAYS        answer a sender again after so many days, 1 to 365
  -e, --charset CHARSET  write in jis (ISO-2022-JP), if all can be, or in utf8
  -h, --help             show this help
  -n, --dry-run          print the reply, send and remember nothing
      --since DATE       not before this day, YYYY-MM-DD
      --until DATE       not after this day
  -v, --verbose          say why there is no reply
      --version          print the version
  -x, --exit CODE        exit with CODE, 0 or 99, instead of 0: with 99, qmail
                         ignores the lines below

FILE may begin with From:, Reply-To: and Subject:, then an empty line; a
{subject} in it is that of the message. Without FILE nothing is answered.

Lists, robots and bounces get no reply. Whatever fails, the status is 0: the
mail itself must not suffer. Only a usage error or a bad setting is 111.

Example, the last line of a .qmail file: |/usr/local/bin/mailreply away.txt
Settings: SENDMAIL and QMAIL in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(mailreplyOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"ADDRESS": completion.User, "CHARSET": "jis utf8", "CODE": "0 99",
			"FILE": completion.File}
	},
	Run:  runMailreply,
	Fail: 111, // qmail keeps the mail and tries again, qmail-command(8)
}

type mailreplyOptions struct {
	address                                    words
	bounces, days, charset, since, until, exit string
	dryRun, verbose                            bool
}

func (o *mailreplyOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.address, "address", 'a')
	set.FlagLong(&o.bounces, "bounces", 'b')
	set.FlagLong(&o.days, "days", 'd')
	set.FlagLong(&o.charset, "charset", 'e')
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.since, "since", 0)
	set.FlagLong(&o.until, "until", 0)
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.exit, "exit", 'x')
}

// A replier answers one message, or has a reason not to.
type replier struct {
	env      *cli.Env
	settings *settings.Settings
	file     string
	jis      bool
	dryRun   bool
	days     time.Duration
	since    string // YYYY-MM-DD, as until; empty where there is no limit
	until    string
	bounces  string // the envelope sender of the reply

	own      []string // one's own addresses
	anybody  bool     // mail that is to none of them is answered, too
	fallback string   // From, where it is

	sender string // who is answered
	text   *replyText
	header []byte // of the message
}

// noReply is why a message is not answered, which is no error.
type noReply string

func (n noReply) Error() string { return string(n) }

func noReplyf(format string, a ...any) error { return noReply(fmt.Sprintf(format, a...)) }

func runMailreply(env *cli.Env, argv []string) error {
	o := mailreplyOptions{days: "7", charset: "utf8", exit: "0"} // days: RFC 5230, 4.1
	set := cli.NewSet(argv, o.declare)
	operands, err := env.Parse(set, argv, 1, 1)
	if err != nil {
		return err
	}
	r := &replier{env: env, file: operands[0], dryRun: o.dryRun}
	status, err := r.take(set, &o)
	if err != nil {
		return err
	}
	if !o.dryRun {
		// Nothing is printed, and what closing it may say is no reason to keep the mail.
		env.Stdout = cli.NewOutput(io.Discard)
	}
	// A bad line is seen at the first mail, and not when somebody first writes. A file
	// that cannot be read now is not the mail's fault.
	var errno syscall.Errno
	if r.settings, err = env.Settings(); err != nil && !errors.As(err, &errno) {
		return err
	}
	if err == nil {
		err = r.answer()
	}
	drain(env.Stdin)
	var why noReply
	switch {
	case errors.Is(err, cli.ErrOutput):
		return err
	case errors.As(err, &why):
		if o.verbose {
			env.Warn("no reply: %s", why)
		}
	case err != nil:
		env.Warn("no reply: %s", cli.Describe(err))
	case o.verbose && !o.dryRun:
		env.Warn("replied to %s", r.sender)
	}
	return cli.Exit(status)
}

// drain reads what is left of a message that comes through a pipe: whoever writes
// it may take a closed one for a failed delivery.
func drain(stdin io.Reader) {
	if f, ok := stdin.(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) == 0 {
			return
		}
	}
	io.Copy(io.Discard, stdin)
}

// take checks the options and returns the status that they ask for.
func (r *replier) take(set *cli.Set, o *mailreplyOptions) (status int, err error) {
	if r.file == "" {
		return 0, cli.Usagef("FILE: empty")
	}
	local, host := r.env.Getenv("LOCAL"), r.env.Getenv("HOST")
	login := local + "@" + host
	for _, address := range o.address {
		if address == "*" {
			r.anybody = true
			continue
		}
		if err := checkMailbox(address); err != nil {
			return 0, cli.Usagef("--address: %s: %s", address, err)
		}
		r.own = append(r.own, address)
	}
	if r.fallback = login; len(r.own) > 0 {
		r.fallback = r.own[0]
	}
	// In qmail, a virtual domain puts its owner and a dash before the local part, and
	// a user's extension stands behind one: no header has the address that way.
	for local, ok := local, true; ok; _, local, ok = strings.Cut(local, "-") {
		if address := local + "@" + host; checkMailbox(address) == nil {
			r.own = append(r.own, address)
		}
	}
	if set.IsSet("bounces") {
		if err := message.CheckAddress(o.bounces); err != nil {
			return 0, cli.Usagef("--bounces: %s: %s", o.bounces, err)
		}
		r.bounces = o.bounces
	}
	days, err := cli.Number("--days", o.days, 1, 365)
	if err != nil {
		return 0, err
	}
	r.days = time.Duration(days) * 24 * time.Hour
	switch o.charset {
	case "jis":
		r.jis = true
	case "utf8":
	default:
		return 0, cli.Usagef("--charset: %s: not one of jis, utf8", o.charset)
	}
	for _, d := range []struct {
		name, value string
		field       *string
	}{{"since", o.since, &r.since}, {"until", o.until, &r.until}} {
		if !set.IsSet(d.name) {
			continue
		}
		if _, err := time.Parse(time.DateOnly, d.value); err != nil {
			return 0, cli.Usagef("--%s: %s: not a date YYYY-MM-DD", d.name, d.value)
		}
		*d.field = d.value
	}
	if r.until != "" && r.until < r.since {
		return 0, cli.Usagef("--until: %s: before --since %s", r.until, r.since)
	}
	return exitOption(o.exit, "0", "99")
}

// checkMailbox says what is wrong with an address that must have a domain.
func checkMailbox(address string) error {
	if err := message.CheckAddress(address); err != nil {
		return err
	}
	if !strings.Contains(address, "@") {
		return errors.New("no domain")
	}
	return nil
}

// isOwn returns one's own address as it was given that is this one, in any case.
func (r *replier) isOwn(address string) (string, bool) {
	for _, own := range r.own {
		if strings.EqualFold(own, address) {
			return own, true
		}
	}
	return "", false
}

// answer replies to the message on standard input. The error is a noReply where
// nobody is to be answered. Nothing is remembered of a reply that was not sent.
func (r *replier) answer() error {
	var err error
	if r.text, err = readReply(r.file); err != nil {
		return err
	}
	if err := r.checkSender(); err != nil {
		return err
	}
	in, _, err := messageOn(r.env.Stdin)
	if err != nil {
		return err
	}
	if r.header, err = message.ReadHeader(in, maxReplyHeader); err != nil {
		return &readError{err}
	}
	if len(r.header) == maxReplyHeader {
		return noReply("the header is longer than 1 MiB")
	}
	from, err := r.checkHeader()
	if err != nil {
		return err
	}
	now := r.env.Now()
	switch today := now.Format(time.DateOnly); {
	case r.since != "" && today < r.since:
		return noReplyf("before %s", r.since)
	case r.until != "" && today > r.until:
		return noReplyf("after %s", r.until)
	}
	m := replyMemory{env: r.env, days: r.days, now: now, name: r.text.memoryName(r.sender)}
	if r.dryRun {
		if err := m.look(); err != nil {
			return err
		}
		reply, err := r.compose(from, now)
		if err == nil {
			_, err = r.env.Stdout.Write(reply)
		}
		return err
	}
	// All that can fail before the reply is remembered.
	reply, err := r.compose(from, now)
	if err != nil {
		return err
	}
	sendmail, err := sendmailPath(r.env, r.settings)
	if err != nil {
		return err
	}
	forget, err := m.remember()
	if err != nil {
		return err
	}
	if err := r.send(sendmail, reply); err != nil {
		if errors.Is(err, errUnknownEnd) { // rather one reply too few than two
			return err
		}
		if not := forget(); not != nil {
			return fmt.Errorf("%w, and it stays remembered: %w", err, not)
		}
		return err
	}
	return nil
}

// checkSender says why nobody answers this sender: RFC 5230, 4.6, and the names that
// robots and lists have in the world.
func (r *replier) checkSender() error {
	r.sender = r.env.Getenv("SENDER")
	switch r.sender {
	case "": // RFC 3834, 4: never to a bounce
		return noReply("SENDER is empty or not set")
	case "#@[]": // of qmail's own double bounces
		return noReply("SENDER is that of a double bounce")
	}
	if err := checkMailbox(r.sender); err != nil {
		return noReplyf("SENDER: %s: %s", r.sender, err)
	}
	if _, ok := r.isOwn(r.sender); ok {
		return noReplyf("SENDER: %s: an address of one's own", r.sender)
	}
	if local, _, _ := strings.Cut(r.sender, "@"); isRobot(strings.ToLower(local)) {
		return noReplyf("SENDER: %s: a robot, a list or a bounce", r.sender)
	}
	return nil
}

var (
	robotNames = []string{"mailer-daemon", "listserv", "majordomo", "nobody", "bounce", "bounces",
		"noreply", "no-reply", "no_reply",
		"donotreply", "donot-reply", "donot_reply", "do-notreply", "do-not-reply", "do-not_reply", "do_notreply", "do_not-reply", "do_not_reply"}
	robotPrefixes = []string{"owner-", "bounce-", "bounce+", "bounces+", "noreply-", "no-reply-"}
	robotSuffixes = []string{"-request", "-owner", "-bounces", "-bounce", "-errors", "-relay"}
	robotMarks    = []string{"-return-", "-bounces-", "-owner-"} // VERP
)

// isRobot reports whether a local part, in lower case, is not a person's.
func isRobot(local string) bool {
	any := func(list []string, is func(string, string) bool) bool {
		for _, s := range list {
			if is(local, s) {
				return true
			}
		}
		return false
	}
	return any(robotNames, func(a, b string) bool { return a == b }) || any(robotPrefixes, strings.HasPrefix) ||
		any(robotSuffixes, strings.HasSuffix) || any(robotMarks, strings.Contains)
}

// maxReplyHeader bounds the header that is looked at. What is behind it could be the
// mark of a list.
const maxReplyHeader = 1 << 20

// checkHeader says why nobody answers this message, or returns the address of one's
// own that it is to.
func (r *replier) checkHeader() (from string, err error) {
	for name, raw := range message.Fields(r.header) {
		if reason := r.checkField(strings.ToLower(string(name)), raw); reason != "" {
			return "", noReplyf("%s: %s", name, reason)
		}
	}
	for name, raw := range message.Fields(r.header) {
		switch strings.ToLower(string(name)) {
		case "to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc":
			for _, address := range message.Addresses(raw) {
				if own, ok := r.isOwn(address); ok && from == "" {
					from = own
				}
			}
		}
	}
	switch {
	case r.anybody:
		return r.fallback, nil
	case from == "":
		return "", noReply("no address of one's own in To or Cc")
	}
	return from, nil
}

// checkField says why a message with this field is not answered, if so.
func (r *replier) checkField(name string, raw []byte) (reason string) {
	value := func() string { return strings.ToLower(message.Show(raw)) }
	const robot = "from a robot"
	switch name {
	case "auto-submitted": // RFC 3834, 5
		if firstWord(value()) != "no" {
			return robot
		}
	case "precedence":
		switch firstWord(value()) {
		case "bulk", "junk", "list", "auto_reply":
			return "bulk mail"
		}
	case "x-auto-response-suppress": // MS-OXCMAIL
		for word := range strings.SplitSeq(value(), ",") {
			switch strings.TrimSpace(word) {
			case "all", "oof", "autoreply":
				return "no reply is wanted"
			}
		}
	case "x-spam-flag":
		if firstWord(value()) == "yes" {
			return "spam"
		}
	case "x-spam-status":
		if strings.HasPrefix(value(), "yes") {
			return "spam"
		}
	case "content-type":
		if firstWord(value()) == "multipart/report" {
			return "a report" // RFC 6522: of a delivery or the like
		}
	case "return-path":
		if strings.Join(strings.Fields(value()), "") == "<>" {
			return "a bounce"
		}
	case "delivered-to":
		for _, address := range message.Addresses(raw) {
			if _, ok := r.isOwn(address); ok {
				return "a loop"
			}
		}
	// Of lists, old and new, and of other automatic repliers.
	case "mailing-list", "x-mailing-list", "x-ml-name", "x-mlserver", "x-mail-count", "x-beenthere", "x-loop", "x-autoreply", "x-autorespond":
		return "from a list or a robot"
	default:
		if strings.HasPrefix(name, "list-") { // RFC 2369, 2919
			return "from a list or a robot"
		}
	}
	return ""
}

// firstWord returns what stands before parameters and comments.
func firstWord(value string) string {
	value = strings.TrimLeftFunc(value, unicode.IsSpace)
	if i := strings.IndexAny(value, " \t\r\n;,("); i >= 0 {
		return value[:i]
	}
	return value
}

// maxSubject is how much of a subject is sent back, in characters.
const maxSubject = 200

// subject returns the subject of the message, for a reply.
func (r *replier) subject() string {
	for name, raw := range message.Fields(r.header) {
		if !strings.EqualFold(string(name), "subject") {
			continue
		}
		s := strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return -1
			}
			return c
		}, strings.ToValidUTF8(message.Show(raw), string(utf8.RuneError)))
		if s = strings.TrimSpace(s); utf8.RuneCountInString(s) > maxSubject {
			s = strings.TrimSpace(string([]rune(s)[:maxSubject]))
		}
		return s
	}
	return ""
}

// compose writes the reply: RFC 3834, 3, and RFC 5230, 5.
func (r *replier) compose(from string, now time.Time) ([]byte, error) {
	host, err := mailHost(r.env, r.settings)
	if err != nil {
		return nil, err
	}
	d := &message.Draft{Name: r.text.from.name, From: r.text.from.address, To: r.sender, Body: r.text.body, Host: host}
	if d.From == "" {
		d.From = from
	}
	switch subject := r.subject(); {
	case r.text.subject != "":
		d.Subject = strings.TrimSpace(strings.ReplaceAll(r.text.subject, "{subject}", subject))
	case subject != "":
		d.Subject = "Auto: " + subject
	}
	if d.Subject == "" {
		d.Subject = "Auto: (no subject)"
	}
	utf8, err := charset.Find("utf8")
	if err != nil {
		return nil, err
	}
	charsets := []*charset.Charset{charset.ASCII, utf8}
	if r.jis {
		jis, err := charset.Find("jis")
		if err != nil {
			return nil, err
		}
		charsets = []*charset.Charset{charset.ASCII, jis, utf8}
	}
	var reply []byte
	for _, d.Charset = range charsets {
		if d.Fields, err = r.fields(d.Charset); err == nil {
			reply, err = d.Compose(now)
		}
		if err == nil {
			break
		}
	}
	return reply, err
}

// fields are those of a reply that not every message has.
func (r *replier) fields(c *charset.Charset) (fields []message.Field, err error) {
	add := func(name, value string) { fields = append(fields, message.Field{Name: name, Value: value}) }
	if to := r.text.replyTo; to.address != "" {
		const name = "Reply-To"
		value, err := message.NamedAddress(c, to.name, to.address, len(name)+2)
		if err != nil {
			return nil, err
		}
		add(name, value)
	}
	var id, references []string
	for name, raw := range message.Fields(r.header) {
		switch {
		case strings.EqualFold(string(name), "message-id") && id == nil:
			id = messageIDs(raw)
		case strings.EqualFold(string(name), "references") && references == nil:
			references = messageIDs(raw)
		}
	}
	if len(id) > 0 {
		add("In-Reply-To", id[0])
		references = append(references, id[0])
	}
	if n := len(references); n > maxReferences {
		// The first is the thread's, the last are next to the reply: RFC 5537, 3.4.4.
		references = append(references[:1:1], references[n-maxReferences+1:]...)
	}
	if len(references) > 0 {
		add("References", strings.Join(references, "\n "))
	}
	add("Auto-Submitted", "auto-replied")
	add("Precedence", "bulk")
	add("X-Auto-Response-Suppress", "All")
	return fields, nil
}

// Of what comes from a message and goes into the reply.
const (
	maxReferences = 10
	maxMessageID  = 250
)

// messageIDs returns those in a field that can be repeated as they are.
func messageIDs(raw []byte) (ids []string) {
	for {
		_, rest, ok := bytes.Cut(raw, []byte("<"))
		id, after, ended := bytes.Cut(rest, []byte(">"))
		if !ok || !ended {
			return ids
		}
		raw = after
		good := len(id) > 0 && len(id) <= maxMessageID
		for _, c := range id {
			good = good && c > ' ' && c < 0x7f && c != '<'
		}
		if good {
			ids = append(ids, "<"+string(id)+">")
		}
	}
}

// errUnknownEnd says that nobody knows whether a reply was sent.
var errUnknownEnd = errors.New("not known whether it was sent")

// send has sendmail take the reply.
//
// It reads a file that has no name, and the place up to which it did is ours as well:
// a wrapper that exits 0 around a sendmail that died is seen.
func (r *replier) send(sendmail string, reply []byte) error {
	file, err := unnamed(reply)
	if err != nil {
		return err
	}
	defer file.Close()
	talk := uintptr(2)
	if f := cli.FileOf(r.env.Stderr); f != nil {
		talk = f.Fd()
	}
	pid, err := syscall.ForkExec(sendmail, []string{sendmail, "-i", "-f", r.bounces, "--", r.sender}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{file.Fd(), talk, talk},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", sendmail, cannotStart(err))
	}
	var status syscall.WaitStatus
	if _, err := ignoringEINTR(func() (int, error) { return syscall.Wait4(pid, &status, 0, nil) }); err != nil {
		return fmt.Errorf("%s: wait: %w: %w", sendmail, err, errUnknownEnd)
	}
	if err := exitError(status); err != nil {
		return fmt.Errorf("%s: %w", sendmail, err)
	}
	at, err := file.Seek(0, io.SeekCurrent)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w: %w", sendmail, cli.Bare(err), errUnknownEnd)
	case at < int64(len(reply)):
		return fmt.Errorf("%s: exit status 0, but it did not read the message", sendmail)
	}
	return nil
}

// unnamed returns a file that holds text and stands at its beginning.
func unnamed(text []byte) (*os.File, error) {
	var file *os.File
	fd, err := ignoringEINTR(func() (int, error) { return unix.MemfdCreate("reply", unix.MFD_CLOEXEC) })
	if err == nil {
		file = os.NewFile(uintptr(fd), "reply")
	} else { // Linux before 3.17, or a filter of system calls
		if file, err = os.CreateTemp("", "mailreply"); err != nil {
			return nil, err
		}
		os.Remove(file.Name())
	}
	if _, err = file.Write(text); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
