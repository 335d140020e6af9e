// Package settings reads kowaza.conf: what an administrator used to set by
// editing the variables at the top of a script. See kowaza.conf(5).
//
// A line is KEY=VALUE. Nothing is expanded: the file is data, never a program.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"kowaza/internal/maildir"
	"kowaza/internal/sys"
)

// File is where the settings are unless KOWAZA_CONF in the environment names
// another file.
const File = "/etc/kowaza.conf"

// Settings holds a value for every key. A string that is empty was not set.
type Settings struct {
	VMDir             string // VMDIR: directory that holds the virtual users' homes; absolute, cleaned
	VUser             string // VUSER: account that owns the virtual users
	Users             string // USERS: assign, or a pattern of the virtual users' homes; absolute, cleaned
	Days              int    // DAYS: age in whole days, see maildir.Cutoff
	Maildir           string // MAILDIR: what a Maildir is called in a home, which it may be itself ("."); relative, cleaned
	Inbox             string // INBOX: the directory in a Maildir that is the INBOX; relative, cleaned
	Rules             string // RULES: a file of retention rules; absolute
	QuotaTrash        string // QUOTA_TRASH: auto, yes or no
	Quota             string // QUOTA: what maildir.ParseQuota takes
	QuotaBuffer       int    // QUOTA_BUFFER: KB
	QuotaExit         int    // QUOTA_EXIT: status, 100 or 111
	QuotaWarn         int    // QUOTA_WARN: per cent; 0 is never
	QuotaMessage      string // QUOTA_MESSAGE: a file; absolute
	QMail             string // QMAIL: qmail's own directory; absolute, cleaned
	Sendmail          string // SENDMAIL: the sendmail command; absolute
	JMailTo           string // JMAIL_TO
	JMailFrom         string // JMAIL_FROM
	JMailCharset      string // JMAIL_CHARSET: jis, sjis, euc or utf8
	JMailCount        int    // JMAIL_COUNT: copies
	JMailServer       string // JMAIL_SERVER: see dialogue.ParseServer
	JMailUser         string // JMAIL_USER
	JMailPasswordFile string // JMAIL_PASSWORD_FILE: absolute, cleaned
	MailtestExit      int    // MAILTEST_EXIT: status, 0, 99, 100 or 111
	QMailStop         string // QMAIL_STOP: command
	QMailStart        string // QMAIL_START: command
}

// The bounds of numbers, the same for the option and the key. A hundred years
// of days still fit into the arithmetic of every file system.
const (
	MaxDays  = 36500
	MaxCount = 1000000

	MaxBuffer = 1 << 30 // KB
)

// Default returns the settings of an empty file.
func Default() *Settings {
	return &Settings{
		Users:        "assign",
		Days:         21,
		Maildir:      "Maildir",
		QuotaTrash:   "auto",
		Quota:        "5120",
		QuotaBuffer:  100,
		QuotaExit:    100,
		QMail:        "/var/qmail",
		JMailTo:      "postmaster",
		JMailCharset: "jis",
		JMailCount:   1,
		MailtestExit: 99,
	}
}

// A key sets one field of Settings from the text of a value, or says what is
// wrong with that text. It knows which applets read it.
type key struct {
	name    string
	applets string
	set     func(s *Settings, value string) error
	value   func(s *Settings) string // empty where neither set nor with a default
	ours    bool                     // no script had it: a variable of that name is something else
}

var keys = []key{
	{"VMDIR", "rmoldmail rmmail_virtual mailquotacheck",
		func(s *Settings, v string) error { return absPath(&s.VMDir, v) },
		func(s *Settings) string { return s.VMDir }, false},
	{"VUSER", "rmmail_virtual mailquotacheck",
		func(s *Settings, v string) error { s.VUser = v; return nil },
		func(s *Settings) string { return s.VUser }, false},
	{"USERS", "rmmail_virtual mailquotacheck",
		func(s *Settings, v string) error { return usersPattern(&s.Users, v) },
		func(s *Settings) string { return s.Users }, true},
	{"DAYS", "rmmail_virtual",
		func(s *Settings, v string) error { return number(&s.Days, v, 0, MaxDays) },
		func(s *Settings) string { return strconv.Itoa(s.Days) }, false},
	{"MAILDIR", "rmoldmail rmmail_virtual mailtrip mailquotacheck",
		func(s *Settings, v string) error { return relPath(&s.Maildir, v) },
		func(s *Settings) string { return s.Maildir }, true},
	{"INBOX", "rmoldmail rmmail_virtual mailtrip",
		func(s *Settings, v string) error { return inbox(&s.Inbox, v) },
		func(s *Settings) string { return s.Inbox }, true},
	{"RULES", "rmoldmail rmmail_virtual",
		func(s *Settings, v string) error { return absPath(&s.Rules, v) },
		func(s *Settings) string { return s.Rules }, true},
	{"QUOTA_TRASH", "rmoldmail rmmail_virtual mailtrip mailquotacheck",
		func(s *Settings, v string) error { return oneOf(&s.QuotaTrash, v, "auto", "yes", "no") },
		func(s *Settings) string { return s.QuotaTrash }, true},
	{"QUOTA", "mailquotacheck",
		func(s *Settings, v string) error { return quota(&s.Quota, v) },
		func(s *Settings) string { return s.Quota }, false},
	{"QUOTA_BUFFER", "mailquotacheck",
		func(s *Settings, v string) error { return number(&s.QuotaBuffer, v, 0, MaxBuffer) },
		func(s *Settings) string { return strconv.Itoa(s.QuotaBuffer) }, false},
	{"QUOTA_EXIT", "mailquotacheck",
		func(s *Settings, v string) error { return exitStatus(&s.QuotaExit, v, "100", "111") },
		func(s *Settings) string { return strconv.Itoa(s.QuotaExit) }, true},
	{"QUOTA_WARN", "mailquotacheck",
		func(s *Settings, v string) error { return number(&s.QuotaWarn, v, 1, 100) },
		func(s *Settings) string { return orNone(s.QuotaWarn) }, true},
	{"QUOTA_MESSAGE", "mailquotacheck",
		func(s *Settings, v string) error { return absPath(&s.QuotaMessage, v) },
		func(s *Settings) string { return s.QuotaMessage }, true},
	{"QMAIL", "rmoldmail rmmail_virtual qqclean mailquotacheck jmailsend mailtalk mailtrip mailreply qmHandle",
		func(s *Settings, v string) error { return absPath(&s.QMail, v) },
		func(s *Settings) string { return s.QMail }, false},
	{"SENDMAIL", "jmailsend mailtrip mailreply",
		func(s *Settings, v string) error { return absPath(&s.Sendmail, v) },
		func(s *Settings) string { return s.Sendmail }, false},
	{"JMAIL_TO", "jmailsend mailtrip",
		func(s *Settings, v string) error { s.JMailTo = v; return nil },
		func(s *Settings) string { return s.JMailTo }, false},
	{"JMAIL_FROM", "jmailsend mailtalk mailtrip",
		func(s *Settings, v string) error { s.JMailFrom = v; return nil },
		func(s *Settings) string { return s.JMailFrom }, false},
	{"JMAIL_CHARSET", "jmailsend mailtrip",
		func(s *Settings, v string) error { return oneOf(&s.JMailCharset, v, "jis", "sjis", "euc", "utf8") },
		func(s *Settings) string { return s.JMailCharset }, false},
	{"JMAIL_COUNT", "jmailsend",
		func(s *Settings, v string) error { return number(&s.JMailCount, v, 1, MaxCount) },
		func(s *Settings) string { return strconv.Itoa(s.JMailCount) }, false},
	{"JMAIL_SERVER", "jmailsend",
		func(s *Settings, v string) error { s.JMailServer = v; return nil },
		func(s *Settings) string { return s.JMailServer }, true},
	{"JMAIL_USER", "jmailsend",
		func(s *Settings, v string) error { s.JMailUser = v; return nil },
		func(s *Settings) string { return s.JMailUser }, true},
	{"JMAIL_PASSWORD_FILE", "jmailsend",
		func(s *Settings, v string) error { return absPath(&s.JMailPasswordFile, v) },
		func(s *Settings) string { return s.JMailPasswordFile }, true},
	{"MAILTEST_EXIT", "mailtest",
		func(s *Settings, v string) error { return exitStatus(&s.MailtestExit, v, "0", "99", "100", "111") },
		func(s *Settings) string { return strconv.Itoa(s.MailtestExit) }, false},
	{"QMAIL_STOP", "qmHandle",
		func(s *Settings, v string) error { s.QMailStop = v; return nil },
		func(s *Settings) string { return s.QMailStop }, false},
	{"QMAIL_START", "qmHandle",
		func(s *Settings, v string) error { s.QMailStart = v; return nil },
		func(s *Settings) string { return s.QMailStart }, false},
}

// KeysOf returns the names of the keys that the applet reads, in the order of
// kowaza.conf(5).
func KeysOf(applet string) []string {
	var names []string
	for _, k := range keys {
		if slices.Contains(strings.Fields(k.applets), applet) {
			names = append(names, k.name)
		}
	}
	return names
}

// Check returns what is wrong with a value of that key, nil if nothing is. The
// empty value is as good as none. An unknown key is an error.
func Check(name, value string) error {
	_, err := normal(name, value)
	return err
}

// Same reports whether two values of a key mean the same, as /a/ and //a do.
func Same(name, a, b string) bool {
	x, err1 := normal(name, a)
	y, err2 := normal(name, b)
	return a == b || err1 == nil && err2 == nil && (a == "") == (b == "") && x == y
}

// normal returns the value as it is held: a path cleaned, a number without zeros.
func normal(name, value string) (string, error) {
	k := find(name)
	if k == nil {
		return "", errors.New("no such key")
	}
	if value == "" {
		return "", nil
	}
	s := Default()
	err := k.set(s, value)
	return k.value(s), err
}

// OfScripts returns the names of the keys that stand for a variable of a script.
func OfScripts() []string {
	var names []string
	for _, k := range keys {
		if !k.ours {
			names = append(names, k.name)
		}
	}
	return names
}

// DefaultOf returns the value that a key has where the file does not set it;
// empty if there is none.
func DefaultOf(name string) string {
	return Default().Value(name)
}

// Value returns the text of the value that a key has; empty if it has none.
func (s *Settings) Value(name string) string {
	if k := find(name); k != nil {
		return k.value(s)
	}
	return ""
}

// Values returns the text of every key that a settings file sets, an empty one
// too. A line that Parse would not take sets nothing.
func Values(text []byte) map[string]string {
	set := make(map[string]string)
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		if k, v, err := parseLine(string(line)); err == nil && find(k) != nil {
			set[k] = v
		}
	}
	return set
}

// MaxValue bounds a value that Line takes, in bytes.
const MaxValue = 4096

// Line returns the line of a settings file, without newline, that gives the key
// that value. The error says why no line can, or why Parse would not take it.
func Line(name, value string) (string, error) {
	switch {
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", errors.New("control character")
	case strings.Contains(value, "'") && strings.Contains(value, `"`):
		return "", errors.New("contains both quotation marks")
	case len(value) > MaxValue:
		return "", errors.New("too long")
	}
	if err := Check(name, value); err != nil {
		return "", err
	}
	plain := func(r rune) bool {
		return r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_/.,:@%+=-", r))
	}
	switch {
	case value != "" && strings.TrimFunc(value, plain) == "":
		return name + "=" + value, nil
	case strings.Contains(value, "'"):
		return name + `="` + value + `"`, nil
	}
	return name + "='" + value + "'", nil
}

func find(name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

// Keys returns the names of all keys, in the order of kowaza.conf(5).
func Keys() []string {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	return names
}

// Number reads s, which must be decimal digits only, at least min and at most
// max: no sign, no blank, and 010 is ten.
func Number(s string, min, max int) (int, error) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, errors.New("not a number")
		}
	}
	if s == "" {
		return 0, errors.New("not a number")
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < min || n > max {
		return 0, fmt.Errorf("not a number from %d to %d", min, max)
	}
	return n, nil
}

func number(field *int, v string, min, max int) error {
	n, err := Number(v, min, max)
	if err == nil {
		*field = n
	}
	return err
}

func absPath(field *string, v string) error {
	if !path.IsAbs(v) {
		return errors.New("not an absolute path")
	}
	*field = path.Clean(v)
	return nil
}

// relPath takes a path below a directory that is not known here.
func relPath(field *string, v string) error {
	switch clean := path.Clean(v); {
	case path.IsAbs(v):
		return errors.New("not a relative path")
	case slices.Contains(strings.Split(v, "/"), ".."):
		return errors.New("has a .. in it")
	default:
		*field = clean
		return nil
	}
}

func inbox(field *string, v string) error {
	if err := relPath(field, v); err != nil {
		return err
	}
	if *field == "." {
		return errors.New("not the name of a directory in the Maildir")
	}
	return nil
}

// usersPattern takes assign, or an absolute path in which a * stands for a whole
// name.
func usersPattern(field *string, v string) error {
	if v == "assign" {
		*field = v
		return nil
	}
	if !path.IsAbs(v) {
		return errors.New("neither assign nor an absolute pattern such as /var/vmail/*/*")
	}
	stars := 0
	for _, name := range strings.Split(v, "/") {
		switch {
		case name == "*":
			stars++
		case name == "..":
			return errors.New("has a .. in it")
		case strings.ContainsAny(name, "*?["):
			return errors.New("a * stands for a whole name between slashes, and ? and [ for nothing")
		}
	}
	if stars == 0 {
		return errors.New("has no * in it")
	}
	*field = path.Clean(v)
	return nil
}

func oneOf(field *string, v string, words ...string) error {
	for _, w := range words {
		if v == w {
			*field = v
			return nil
		}
	}
	return errors.New("not one of " + strings.Join(words, ", "))
}

// exitStatus takes the statuses that mean something to qmail-local, see
// qmail-command(8).
// exitStatus takes one of some statuses.
func exitStatus(field *int, v string, statuses ...string) error {
	var word string
	if err := oneOf(&word, v, statuses...); err != nil {
		return err
	}
	return number(field, word, 0, 111)
}

// orNone is the text of a number that is not set where it is 0.
func orNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func quota(field *string, v string) error {
	if _, err := maildir.ParseQuota(v); err != nil {
		return err
	}
	*field = v
	return nil
}

// maxKey is more than the longest key has letters.
const maxKey = 24

// maxSize bounds the file: a settings file is a page, not a disk.
const maxSize = 1 << 20

// Read reads a settings file: ReadFile and Parse.
func Read(name string, root bool) (*Settings, error) {
	text, err := ReadFile(name, root)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}

// ReadFile reads a file of settings or rules. With root set it must be a regular file owned by root
// and writable by no one else, since what it says is done with root's rights.
// Errors name the file, and the line where there is one; fs.ErrNotExist comes
// through where there is no file.
func ReadFile(name string, root bool) ([]byte, error) {
	f, err := sys.OpenToRead(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if root {
		if err := trusted(info); err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSize {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("too large for a settings file")}
	}
	return text, nil
}

func trusted(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
		return errors.New("not owned by root")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("writable by others than root")
	}
	return nil
}

// Parse reads the text of a settings file; name is for messages. The error is the first
// of those that ParseAll finds.
func Parse(name string, text []byte) (*Settings, error) {
	p := ParseAll(name, text)
	if len(p.Errors) > 0 {
		return nil, p.Errors[0]
	}
	return p.Settings, nil
}

// A Parsed is what a settings file says, whatever is wrong with some of its lines. No
// applet works by one that has Errors.
type Parsed struct {
	Settings *Settings      // by the lines with which nothing is wrong
	Lines    map[string]int // where the value of a key stands, from 1; a key that is not here has its default
	Errors   []*LineError   // in the order of the lines
}

// A LineError says what is wrong with a line of a settings file.
type LineError struct {
	File  string
	Line  int    // from 1
	Key   string // empty where the line has none
	Value string // empty where it is not to blame
	Err   error
}

func (e *LineError) Error() string {
	text := fmt.Sprintf("%s:%d: ", e.File, e.Line)
	for _, part := range []string{e.Key, e.Value} {
		if part != "" {
			text += part + ": "
		}
	}
	return text + e.Err.Error()
}

func (e *LineError) Unwrap() error { return e.Err }

// ParseAll reads the text of a settings file to its end; name is for messages.
func ParseAll(name string, text []byte) *Parsed {
	p := &Parsed{Settings: Default(), Lines: make(map[string]int)}
	seen := make(map[string]string)
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		fail := func(key, value string, err error) {
			p.Errors = append(p.Errors, &LineError{name, i + 1, key, value, err})
		}
		k, v, err := parseLine(string(line))
		if err != nil {
			fail("", "", err)
			continue
		}
		if k == "" {
			continue
		}
		key := find(k)
		if key == nil {
			if len(k) > maxKey { // no name of ours, see parseLine
				k = ""
			}
			fail(k, "", errors.New("unknown key"))
			continue
		}
		// Which of two was meant? A guess could remove mail.
		if old, ok := seen[k]; ok && old != v {
			fail(k, "", errors.New("set before to another value"))
			continue
		}
		seen[k] = v
		if v == "" {
			continue // as if it were not set
		}
		if err := key.set(p.Settings, v); err != nil {
			fail(k, v, err)
			continue
		}
		if p.Lines[k] == 0 {
			p.Lines[k] = i + 1
		}
	}
	return p
}

const blank = " \t\r"

// parseLine splits one line; an empty key means that it says nothing.
func parseLine(line string) (key, value string, err error) {
	line = strings.Trim(line, blank)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	for i := 0; i < len(line); i++ {
		if (line[i] < ' ' && line[i] != '\t') || line[i] == 0x7f {
			return "", "", errors.New("control character")
		}
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return "", "", errors.New("not KEY=VALUE")
	}
	// Not told what stands there: a file that is no kowaza.conf may hold secrets, and
	// who names it with KOWAZA_CONF need not be who may read it.
	if key == "" || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "", "", errors.New("what stands before = is not the name of a key")
	}
	value = strings.TrimLeft(value, blank)
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		inner, rest, ok := strings.Cut(value[1:], value[:1])
		if !ok {
			return "", "", errors.New("quotation mark without an end")
		}
		after := strings.TrimLeft(rest, blank)
		if after != "" && (after[0] != '#' || after == rest) {
			return "", "", errors.New("text after the closing quotation mark")
		}
		return key, inner, nil
	}
	// A # after a blank begins a comment, as in the shell.
	for i := 0; i < len(value); i++ {
		if value[i] == '#' && (i == 0 || strings.IndexByte(blank, value[i-1]) >= 0) {
			value = value[:i]
			break
		}
	}
	return key, strings.TrimRight(value, blank), nil
}
