package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/message"
	"kowaza/internal/rules"
	"kowaza/internal/settings"
	"kowaza/internal/users"
	"kowaza/internal/way"
)

// A check is a run of kowaza --check. It looks at what the applets would use here, by the
// same functions as they do, and changes nothing. No Maildir is entered.
type check struct {
	env      *cli.Env
	file     string // kowaza.conf
	conf     *settings.Parsed
	settings *settings.Settings // of conf
	cleans   bool               // who runs this is one who cleans others' mail: root, or VUSER

	rows  []checkRow
	wrong []func() // say what is wrong, when the table has been printed
}

// The marks before a row.
const (
	asItShould = ' '
	unseen     = '?' // not to this user
	isWrong    = '!'
)

// A checkRow is what is told of one thing, on as many lines as that takes.
type checkRow struct {
	mark  byte
	label string // where a value comes from, or what is looked at
	text  string
}

// checkHost prints what would be used here. The error is cli.ErrReported where something
// is wrong with that.
func checkHost(env *cli.Env) error {
	env.OnlyShows = true
	c := lookAround(env)
	for _, row := range c.rows {
		if err := row.write(env.Stdout); err != nil {
			return err
		}
	}
	env.Stdout.Flush() // a terminal shows the messages below it
	for _, say := range c.wrong {
		say()
	}
	if len(c.wrong) > 0 {
		return cli.ErrReported
	}
	return nil
}

// lookAround looks at all that there is.
func lookAround(env *cli.Env) *check {
	c := &check{env: env}
	c.version()
	c.readConf()
	c.cleans = c.isCleaner()
	c.keys()
	c.assign()
	c.getent()
	c.names()
	return c
}

// The table's columns.
const (
	checkColumns = 80
	labelColumns = 12
)

// write writes a row, broken at blanks; what is longer than a line is broken anywhere.
func (r checkRow) write(w io.Writer) error {
	const room = checkColumns - labelColumns - 3
	var b strings.Builder
	fmt.Fprintf(&b, "%c %-*s ", r.mark, labelColumns, r.label)
	used := 0
	for i, word := range strings.Split(escape.String(r.text), " ") {
		if i > 0 && used+1+checkWidth(word) > room {
			fmt.Fprintf(&b, "\n%*s", labelColumns+3, "")
			used = 0
		} else if i > 0 {
			b.WriteByte(' ')
			used++
		}
		for _, letter := range word {
			n := checkWidth(string(letter))
			if used+n > room {
				fmt.Fprintf(&b, "\n%*s", labelColumns+3, "")
				used = 0
			}
			b.WriteRune(letter)
			used += n
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// checkWidth returns how many columns of a terminal a text takes at most: what is not
// ASCII has two.
func checkWidth(text string) int {
	n := 0
	for _, letter := range text {
		if n++; letter >= 0x80 {
			n++
		}
	}
	return n
}

func (c *check) row(mark byte, label, text string) {
	c.rows = append(c.rows, checkRow{mark, label, text})
}

// A fact is one thing that was looked at.
type fact struct {
	label   string
	key     string // of the settings; empty: it is none's
	value   string // what is looked at
	note    string // what else is to be told of it
	err     error  // what is wrong with it
	mend    string // what to do about that
	private bool   // only who cleans others' mail need get at it
}

// add makes a row of a fact, and a message where it is wrong.
func (c *check) add(f fact) {
	mark, text := byte(asItShould), f.value
	if f.err != nil {
		mark, text = isWrong, cli.Describe(f.err)
		if !strings.HasPrefix(text, f.value) {
			text = f.value + ": " + text
		}
		if f.private && !c.cleans && errors.Is(f.err, fs.ErrPermission) {
			mark = unseen
		}
	}
	if mark == isWrong {
		what := text + ": " + f.mend
		if f.key != "" {
			what = f.key + ": " + what
		}
		c.say("%s", what)
	}
	if f.note != "" && text != "" {
		text += ": "
	}
	text += f.note
	switch {
	case f.key != "" && f.value == "":
		text = f.key + ": " + text
	case f.key != "":
		text = f.key + "=" + text
	}
	c.row(mark, f.label, text)
}

// say has a message printed below the table.
func (c *check) say(format string, a ...any) {
	c.wrong = append(c.wrong, func() { c.env.Warn(format, a...) })
}

// version tells which binary this is.
func (c *check) version() {
	f := fact{label: kowaza.Name, value: cli.Version()}
	if file := c.binary(); file != "" {
		f.value += ", " + file
	}
	c.add(f)
}

// binary returns the file of the binary that runs; empty where that is not known.
func (c *check) binary() string {
	if c.env.Binary == nil {
		return ""
	}
	file, err := c.env.Binary()
	if err != nil {
		return ""
	}
	return file
}

// maxWrongLines is how many malformed lines of kowaza.conf are shown: a file that is none
// may have any number.
const maxWrongLines = 20

// readConf reads kowaza.conf. Where it cannot be read, the defaults are shown.
func (c *check) readConf() {
	file, named := c.env.SettingsFile()
	f := fact{label: "kowaza.conf", value: file}
	if named {
		f.label = "KOWAZA_CONF"
	}
	c.file, c.conf = file, settings.ParseAll(file, nil)
	text, err := settings.ReadFile(file, os.Geteuid() == 0)
	switch {
	case err == nil:
		c.conf = settings.ParseAll(file, text)
		if info, err := os.Stat(file); err == nil && os.Geteuid() == 0 && info.Mode().Perm()&0o004 == 0 {
			f.note = "a user's .qmail line cannot read it"
		}
	case !named && errors.Is(err, fs.ErrNotExist):
		f.note = "there is none, and need be none"
	case errors.Is(err, fs.ErrNotExist):
		f.err, f.mend = err, "make it, or unset KOWAZA_CONF, which names it"
	case errors.Is(err, fs.ErrPermission):
		f.err, f.mend = err, "whoever runs a command must be able to read it: chmod 644"
	default:
		f.err = err
		f.mend = "nothing that reads it runs: chown root, chmod go-w"
	}
	if f.err != nil {
		f.note = "not read"
	}
	c.add(f)
	c.settings = c.conf.Settings
	c.wrongLines()
}

// wrongLines tells which lines of kowaza.conf are malformed.
func (c *check) wrongLines() {
	errs := c.conf.Errors
	for i, err := range errs {
		if i == maxWrongLines {
			c.row(isWrong, "kowaza.conf", fmt.Sprintf("... and %d more", len(errs)-i))
			c.say("%s: ... and %d more", c.file, len(errs)-i)
			break
		}
		// Who has put the password itself there must not read it in a log.
		shown := *err
		if strings.Contains(shown.Key, "PASSWORD") {
			shown.Value = ""
		}
		where := fmt.Sprintf("%s:%d: ", c.file, err.Line)
		c.row(isWrong, fmt.Sprintf("line %d", err.Line), strings.TrimPrefix(shown.Error(), where))
		c.say("%s", shown.Error())
	}
	if len(errs) > 0 {
		c.say("%s: %s: until that is mended, nothing that reads the file runs", c.file, cli.Count(int64(len(errs)), "wrong line"))
	}
}

// isCleaner reports whether who runs this cleans the mail of others.
func (c *check) isCleaner() bool {
	if os.Geteuid() == 0 {
		return true
	}
	login, err := users.Passwd{Root: c.env.Root}.ByName(c.settings.VUser)
	return err == nil && int(login.UID) == os.Geteuid()
}

// origin tells where the value of a key comes from.
func (c *check) origin(key string) string {
	switch line := c.conf.Lines[key]; {
	case line > 0:
		return fmt.Sprintf("line %d", line)
	case c.settings.Value(key) != "":
		return "default"
	}
	return "not set"
}

// mend says what to do about a setting.
func (c *check) mend(key string) string {
	if line := c.conf.Lines[key]; line > 0 {
		return fmt.Sprintf("mend that, or line %d of %s", line, c.file)
	}
	return fmt.Sprintf("mend that, or set %s in %s", key, c.file)
}

// look looks at what the value of a key names, where the key is set, and fills in what it
// finds. A key of which nothing is to be told shares a row.
func (c *check) look(f *fact) {
	switch f.key {
	case "VMDIR":
		lookVMDir(c, f)
	case "USERS":
		lookUsers(c, f)
	case "RULES":
		lookRules(c, f)
	case "QUOTA_MESSAGE":
		lookWarning(f)
	case "JMAIL_TO", "JMAIL_FROM":
		lookAddress(f)
	case "JMAIL_SERVER":
		lookServer(f)
	case "JMAIL_PASSWORD_FILE":
		lookPassword(c, f)
	case "QMAIL_STOP":
		lookCommand(c, f, "QMAIL_START")
	case "QMAIL_START":
		lookCommand(c, f, "QMAIL_STOP")
	}
}

// keys tells of every key. Those of which nothing else is to be told share rows.
func (c *check) keys() {
	var plain, defaults, none []string
	for _, key := range settings.Keys() {
		f := fact{label: c.origin(key), key: key, value: c.settings.Value(key), mend: c.mend(key)}
		switch set := c.conf.Lines[key] > 0; {
		case key == "QMAIL":
			c.qmail(f)
		case key == "SENDMAIL":
			c.sendmail(f)
		case set:
			c.look(&f)
			if f.err != nil || f.note != "" {
				c.add(f)
			} else {
				plain = append(plain, fmt.Sprintf("%s=%s (%d)", key, f.value, c.conf.Lines[key]))
			}
		case f.value != "":
			defaults = append(defaults, key+"="+f.value)
		default:
			none = append(none, key)
		}
	}
	if len(plain) > 0 {
		c.row(asItShould, "lines", strings.Join(plain, ", "))
	}
	if len(defaults) > 0 {
		c.row(asItShould, "default", strings.Join(defaults, " "))
	}
	if len(none) > 0 {
		c.row(asItShould, "not set", strings.Join(none, " "))
	}
}

// lookVMDir goes as far on the way to a virtual user's Maildir as it is the same for all.
func lookVMDir(c *check, f *fact) {
	f.private, f.note = true, "there"
	if line := c.conf.Lines[f.key]; line > 0 {
		f.mend = fmt.Sprintf("mount it, or mend line %d of %s", line, c.file)
	}
	_, f.err = users.Stat(f.value) // which comes back from a file system that does not answer
	if f.err == nil {
		var cache way.Cache
		defer cache.Close()
		var at way.Location
		if at, f.err = cache.Locate(f.value); f.err == nil {
			unix.Close(at.FD)
		}
	}
	if f.err != nil {
		f.note = ""
	}
}

// lookUsers counts the users that a pattern finds.
func lookUsers(c *check, f *fact) {
	if f.value == settings.Default().Users {
		return
	}
	f.private = true
	f.mend = fmt.Sprintf("mount the mail store, or mend line %d of %s", c.conf.Lines[f.key], c.file)
	c.countUsers(f)
}

// lookRules reads the rules.
func lookRules(c *check, f *fact) {
	r, err := rules.Read(f.value, os.Geteuid() == 0, c.env.Now())
	if err != nil {
		f.err = err
		f.mend = fmt.Sprintf("mend that, or line %d of %s: until then rmoldmail and rmmail_virtual remove nothing", c.conf.Lines[f.key], c.file)
		return
	}
	f.note = cli.Count(int64(len(r.Lines)), "rule")
}

// lookWarning reads the file with the warning.
func lookWarning(f *fact) {
	if _, f.err = readSmall(f.value, maxWarning, tooLargeWarning); f.err == nil {
		f.note = "there"
	}
}

// lookAddress looks at an address of the test mail.
func lookAddress(f *fact) {
	if err := message.CheckAddress(f.value); err != nil {
		f.err = fmt.Errorf("%s: %w", f.value, err)
	}
}

// lookServer looks at the name of a mail server. What is none may hold a password, and is
// not shown.
func lookServer(f *fact) {
	if _, err := smtpServer(f.value); err != nil {
		f.value, f.err = "****", fmt.Errorf("****: %w", err)
	}
}

// lookPassword looks at who can read the file with the password, and at nothing in it.
func lookPassword(c *check, f *fact) {
	f.private = true
	info, err := os.Stat(f.value)
	if err == nil {
		owner := info.Sys().(*syscall.Stat_t).Uid
		who := fmt.Sprintf("uid %d", owner)
		if login, err := (users.Passwd{Root: c.env.Root}).ByUID(owner); err == nil {
			who = login.Name
		}
		f.note = fmt.Sprintf("of %s, mode %04o", who, info.Mode().Perm())
	}
	file, err := openPassword(f.value)
	if err != nil {
		f.err = err
		return
	}
	file.Close()
}

// lookCommand looks for the program of one of qmHandle's two commands, of which other is
// the other's key.
func lookCommand(c *check, f *fact, other string) {
	f.private = true
	argv := commandWords(f.value)
	switch {
	case c.settings.Value(other) == "":
		f.err, f.mend = errors.New("of no use without "+other), fmt.Sprintf("set that in %s as well", c.file)
		return
	case len(argv) == 0:
		f.err = errors.New("empty command")
		return
	case argv[0] == "/bin/sh":
		f.note = "run by /bin/sh"
		return
	}
	found, err := argv[0], error(nil)
	if strings.Contains(found, "/") {
		err = executable(found)
	} else if found, _ = c.lookPath(argv[0]); found == "" {
		err = &fs.PathError{Op: "look", Path: argv[0], Err: errors.New("not in PATH")}
		f.mend = fmt.Sprintf("write its whole path in line %d of %s", c.conf.Lines[f.key], c.file)
		if !c.cleans { // whose PATH has other directories
			f.note = argv[0] + " is not in this user's PATH"
			return
		}
	}
	if f.err = err; err == nil {
		f.note = found
	}
}

// qmail tells of qmail's own directory. A host need not have one.
func (c *check) qmail(f fact) {
	f.value = qmailDir(c.env, c.settings)
	info, err := os.Stat(f.value)
	switch {
	case err == nil && !info.IsDir():
		f.err = &fs.PathError{Op: "open", Path: f.value, Err: syscall.ENOTDIR}
	case err == nil:
		f.note = "there"
		queue := c.queue()
		if queue.err == nil && queue.note == "" {
			f.note = "there, and a queue"
			break
		}
		defer c.add(queue)
	case errors.Is(err, fs.ErrNotExist) && c.conf.Lines[f.key] == 0:
		f.note = "there is none: no qmail on this host"
	default:
		f.err, f.private = err, true
	}
	c.add(f)
}

// hasQmail reports whether qmail's directory is there, as far as this user can tell.
func (c *check) hasQmail() bool {
	info, err := os.Stat(qmailDir(c.env, c.settings))
	return err == nil && info.IsDir()
}

// sendmail tells of the sendmail command.
func (c *check) sendmail(f fact) {
	file, err := sendmailPath(c.env, c.settings)
	switch {
	case err == nil:
		f.value = file
		if f.label == "not set" {
			f.label = "default"
		}
	case f.value == "" && errors.Is(err, fs.ErrNotExist):
		f.note = "there is none: nothing is sent by it"
	default:
		f.err = err
	}
	c.add(f)
}

// assign tells of the list of virtual users, where that is qmail's.
func (c *check) assign() {
	s := c.settings
	if s.Users != settings.Default().Users {
		return
	}
	f := fact{label: "users/assign", value: qmailDir(c.env, s) + "/users/assign", private: true}
	if s.VMDir != "" || s.VUser != "" {
		f.mend = "rmmail_virtual finds the users there: compare VMDIR with field 5 of its lines and VUSER with field 2"
		if _, err := os.Stat(f.value); errors.Is(err, fs.ErrNotExist) {
			f.mend = fmt.Sprintf("rmmail_virtual finds the users there: mend QMAIL in %s, or set USERS to a pattern such as /var/vmail/*/*", c.file)
		}
		c.countUsers(&f)
		c.add(f)
		return
	}
	_, err := users.LookupAssign(f.value, "\x00") // a name that no line can have
	switch {
	case errors.Is(err, users.ErrUnknown):
		f.note = "there; with neither VMDIR nor VUSER nobody in it is a virtual user"
	case !c.hasQmail():
		return
	case errors.Is(err, fs.ErrNotExist):
		f.note = "there is none: no virtual users"
	default:
		f.err, f.mend = err, "qmail reads its users there"
	}
	c.add(f)
}

// maxUserErrors is how many of the errors in a list of users are told.
const maxUserErrors = 20

// countUsers finds the virtual users as rmmail_virtual would.
func (c *check) countUsers(f *fact) {
	list, err := findVirtualUsers(c.env, c.settings)
	if err != nil {
		f.err = err
		return
	}
	found, failed, denied := int64(0), int64(0), int64(0)
	f.err = list.list.Each(func(users.Virtual) bool { found++; return true }, func(err error) {
		if !c.cleans && errors.Is(err, fs.ErrPermission) {
			denied++
			return
		}
		if failed++; failed <= maxUserErrors {
			c.wrong = append(c.wrong, func() { warnOfUsers(c.env, err) })
		}
	})
	switch {
	case f.err != nil:
		return
	case failed > 0:
		f.err = fmt.Errorf("%s: %s in it", f.value, cli.Count(failed, "error"))
		f.mend = "until that is mended, rmmail_virtual does without those users"
	case found == 0 && denied > 0:
		f.err = &fs.PathError{Op: "read", Path: f.value, Err: syscall.EACCES}
		return
	case found == 0:
		f.err = errors.New(list.none + list.where)
		return
	}
	f.note = cli.Count(found, "virtual user")
	if denied > 0 {
		f.note += fmt.Sprintf(", and %s that this user may not read", cli.Count(denied, "place"))
	}
}

// queue looks at qmail's queue.
func (c *check) queue() fact {
	dir := qmailDir(c.env, c.settings) + "/queue"
	f := fact{label: "queue", value: dir, private: true, mend: "until that is mended, qqclean and qmHandle touch nothing"}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		f.note = "there is none: nothing for qqclean and qmHandle"
		return f
	}
	q, err := openQueue(dir)
	if f.err = err; err == nil {
		q.Close()
	}
	return f
}

// getent tells how users are looked up.
func (c *check) getent() {
	f := fact{label: "getent", mend: "until that is mended, nobody is found who is not in /etc/passwd, and rmmail_virtual cleans nobody"}
	f.value, f.err = users.Passwd{Root: c.env.Root}.Check()
	if f.value == "" {
		f.value = c.env.Root + "/etc/passwd"
		f.note = "there is no getent: users are looked up here alone"
	}
	c.add(f)
}
