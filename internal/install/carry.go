package install

import (
	"errors"
	"regexp"
	"slices"
	"sort"
	"strings"

	"kowaza/internal/settings"
)

// A Refusal is a setting that is not carried over.
type Refusal struct {
	Text string // the statement; its name alone where the value may be a secret
	Why  string
	Key  string // that it would be; empty if there is none
	at   int    // its place in the script
}

// Carried is what a script's settings come to.
type Carried struct {
	Keys    []string // of the lines to be added to kowaza.conf
	Lines   []string // KEY=value, as many
	Refused []Refusal

	// Alone says why the script must not be replaced: what it sets, and what the
	// applet would do in its place, is not the same for sure. Empty if it may.
	Alone string
}

// names returns what scripts call the settings of each applet, if not as its keys are
// called: in upper case.
func names() map[string]map[string]string {
	return map[string]map[string]string{
		"qmHandle": {"QUEUE": "QMAIL", "STOPQMAIL": "QMAIL_STOP", "STARTQMAIL": "QMAIL_START"},
		"qqclean":  {"QUEUE": "QMAIL"},
		"jmailsend": {
			"TO": "JMAIL_TO", "MAILTO": "JMAIL_TO", "MAIL_TO": "JMAIL_TO", "RCPT": "JMAIL_TO", "RCPTTO": "JMAIL_TO", "RCPT_TO": "JMAIL_TO", "TOADDR": "JMAIL_TO", "TO_ADDR": "JMAIL_TO", "RECIPIENT": "JMAIL_TO",
			"FROM": "JMAIL_FROM", "MAILFROM": "JMAIL_FROM", "MAIL_FROM": "JMAIL_FROM", "FROMADDR": "JMAIL_FROM", "FROM_ADDR": "JMAIL_FROM", "SENDER": "JMAIL_FROM",
			"ENCODING": "JMAIL_CHARSET", "CHARSET": "JMAIL_CHARSET", "ENCODE": "JMAIL_CHARSET", "ENC": "JMAIL_CHARSET", "CODE": "JMAIL_CHARSET", "KCODE": "JMAIL_CHARSET", "JCODE": "JMAIL_CHARSET",
			"COUNT": "JMAIL_COUNT", "NUM": "JMAIL_COUNT", "NUMBER": "JMAIL_COUNT", "TIMES": "JMAIL_COUNT",
			"MAILER": "SENDMAIL", "MAILPROG": "SENDMAIL", "SENDMAIL_PATH": "SENDMAIL", "SENDMAILPATH": "SENDMAIL", "SENDMAIL_CMD": "SENDMAIL",
		},
		"mailquotacheck": {"HARDQUOTABUFFER": "QUOTA_BUFFER"},
		"rmmail_virtual": {"VIRTUALDIR": "VMDIR", "VIRTUAL_DIR": "VMDIR", "VIRTUALUSER": "VUSER", "VIRTUAL_USER": "VUSER"},
		"rmoldmail":      {"VIRTUALDIR": "VMDIR", "VIRTUAL_DIR": "VMDIR"},
	}
}

// quotaPrograms are the variables of the page's mailquotacheck that name the programs
// which it runs.
var quotaPrograms = []string{"cat", "expr", "wc", "du", "bc", "cut", "awk", "echo", "date", "grep", "pwd"}

// qmailNames are what scripts call qmail's directory, whatever they do there.
var qmailNames = []string{"QMAILDIR", "QMAIL_DIR", "QMAILHOME", "QMAIL_HOME", "ASSIGN", "ASSIGNFILE", "ASSIGN_FILE"}

// charsetOf returns the name that JMAIL_CHARSET has for what scripts call otherwise; empty
// where it has none.
func charsetOf(name string) string {
	switch strings.ToLower(name) {
	case "iso-2022-jp", "iso2022jp", "7bit-jis", "jis":
		return "jis"
	case "shift_jis", "shift-jis", "shiftjis", "x-sjis", "cp932", "sjis":
		return "sjis"
	case "euc-jp", "eucjp", "ujis", "x-euc-jp", "euc":
		return "euc"
	case "utf-8", "utf8":
		return "utf8"
	}
	return ""
}

var (
	secret = pattern{expr: `(?i)PASS|SECRET|KEY|TOKEN`}
	// What a shell or Perl needs for itself is no setting of a script's, nor is what
	// it is given as an argument.
	ownName   = pattern{expr: `^(PATH|LANG|LANGUAGE|LC_[A-Z]+|IFS|SHELL|HOME|TZ|ENV|BASH_ENV|CDPATH|TERM|USER|LOGNAME|DEBUG|VERBOSE|PERL5LIB|MANPATH|LD_LIBRARY_PATH)$`}
	arguments = pattern{expr: `=\s*(@ARGV\b|@_|shift\b|\$ARGV\[|\$argv\b|\$_SERVER\b|["']?\$([0-9#@*!$?]|\{[0-9]))|^\(?\$[^A-Za-z_]`}
)

// Carry decides which settings of an applet's script kowaza.conf, whose text is
// conf, gets. forced leaves no script alone.
func Carry(script *Script, applet string, conf []byte, forced bool) *Carried {
	c := &carrier{applet: applet, uses: settings.KeysOf(applet), have: settings.Values(conf)}
	c.given = make(map[string][]Setting)
	var days, variables []string
	if applet == "rmmail_virtual" {
		var sure bool
		days, variables, sure = script.Days()
		c.sure = sure && len(days) == 1
	}
	for i, s := range script.Settings {
		s.at = i
		if !c.sure || !slices.Contains(variables, s.Name) || strings.EqualFold(s.Name, "DAYS") {
			c.sort(s)
		}
	}
	if applet == "rmmail_virtual" {
		c.days(days, forced)
	}
	if !forced && c.Alone == "" && (applet == "rmmail_virtual" || applet == "rmoldmail") && script.selects(applet) {
		c.Alone = "may keep mail that " + applet + " removes"
	}
	for _, key := range c.order {
		c.carry(key, c.given[key])
	}
	for _, line := range script.Below {
		c.below(line, len(script.Settings))
	}
	sort.SliceStable(c.Refused, func(i, j int) bool { return c.Refused[i].at < c.Refused[j].at })
	return &c.Carried
}

// A carrier goes through the settings of one script.
type carrier struct {
	Carried
	applet string
	uses   []string
	have   map[string]string    // what kowaza.conf sets
	given  map[string][]Setting // by key
	order  []string             // of the keys
	sure   bool                 // DAYS is what the script removes by
}

// refuse names a setting by its text, or by its name alone.
func (c *carrier) refuse(at int, key, text, why string) {
	text = strings.TrimRight(text, " \t")
	if secret.re().MatchString(text) {
		text, _, _ = strings.Cut(text, "=")
		text = strings.TrimRight(text, " \t+.")
	}
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	c.Refused = append(c.Refused, Refusal{text, why, key, at})
}

// keyOf returns the key that a name stands for; empty if there is none.
func (c *carrier) keyOf(name string) string {
	name = strings.ToUpper(name)
	key := names()[c.applet][name]
	switch {
	case slices.Contains(settings.OfScripts(), name):
		return name
	case key == "" && slices.Contains(c.uses, "QMAIL") && slices.Contains(qmailNames, name):
		return "QMAIL"
	}
	return key
}

// sort finds the key of a setting.
func (c *carrier) sort(s Setting) {
	key := c.keyOf(s.Name)
	switch {
	case s.Name == "":
		c.refuse(s.at, "", s.Text, s.Bad)
	case key == "" && (ownName.re().MatchString(s.Name) || arguments.re().MatchString(s.Text)):
	case key == "" && c.applet == "mailquotacheck" && slices.Contains(quotaPrograms, s.Name):
	case key == "":
		c.refuse(s.at, "", s.Text, "no such key")
	case !slices.Contains(c.uses, key):
		c.refuse(s.at, "", s.Text, c.applet+" does not use it")
	default:
		if s.Bad == "" {
			s.Value, s.Bad = translate(key, strings.ToUpper(s.Name), s.Value)
		}
		if len(c.given[key]) == 0 {
			c.order = append(c.order, key)
		}
		c.given[key] = append(c.given[key], s)
	}
}

// translate returns the value that the key has for what a setting of another name
// says, or why there is none for sure.
func translate(key, name, value string) (string, string) {
	switch {
	case key == name:
	case name == "QUEUE":
		dir, ok := strings.CutSuffix(strings.TrimRight(value, "/"), "/queue")
		if !ok {
			return "", "not a directory called queue: QMAIL is the one in which it lies"
		}
		return dir, ""
	case strings.HasPrefix(name, "ASSIGN"):
		dir, ok := strings.CutSuffix(value, "/users/assign")
		if !ok {
			return "", "not users/assign in qmail's directory, which is what QMAIL is"
		}
		return dir, ""
	case key == "JMAIL_CHARSET":
		if short := charsetOf(value); short != "" {
			return short, ""
		}
	}
	if key == "SENDMAIL" && strings.ContainsAny(value, " \t") {
		return "", "not the path of a command alone: SENDMAIL has no options"
	}
	return value, ""
}

// valueError says why a value is not carried over; nil if it may be.
func valueError(key, value string) error {
	switch {
	case strings.Contains(value, "$"):
		return errors.New("contains $")
	case strings.Contains(value, "`"):
		return errors.New("contains a backquote")
	case strings.ContainsAny(value, "*?["):
		return errors.New("contains a glob")
	case strings.Contains(value, `\`):
		return errors.New("contains a backslash")
	case value == "":
		return errors.New("empty")
	}
	_, err := settings.Line(key, value)
	return err
}

// carry takes all that a script says of one key: two values are none.
func (c *carrier) carry(key string, given []Setting) {
	var good []Setting
	for _, s := range given {
		why := s.Bad
		if why == "" {
			if err := valueError(key, s.Value); err != nil {
				why = err.Error()
			}
		}
		if why == "" {
			good = append(good, s)
			continue
		}
		if strings.ToUpper(s.Name) != key && !strings.Contains(why, key) {
			why += ": the key is " + key
		}
		c.refuse(s.at, key, s.Text, why)
	}
	if len(good) == 0 {
		return
	}
	for _, s := range good[1:] {
		if !settings.Same(key, s.Value, good[0].Value) {
			for _, s := range good {
				c.refuse(s.at, key, s.Text, key+" has two values")
			}
			return
		}
	}
	value := good[0].Value
	if old, ok := c.have[key]; ok {
		if !settings.Same(key, old, value) {
			c.refuse(good[0].at, key, good[0].Text, "contradicts "+key+"="+old+", set before")
		}
		return
	}
	line, _ := settings.Line(key, value)
	c.Keys = append(c.Keys, key)
	c.Lines = append(c.Lines, line)
}

// days decides about DAYS: by how many days mail is removed from tonight on.
func (c *carrier) days(days []string, forced bool) {
	old, set := c.have["DAYS"]
	set = set && old != ""
	switch {
	case len(days) > 1:
		c.Alone = "removes by two numbers of days, " + strings.Join(days, " and ")
	case len(days) == 1 && set && !settings.Same("DAYS", old, days[0]):
		c.Alone = "removes by " + days[0] + " days, DAYS=" + old + " is set"
	case c.sure:
		if err := settings.Check("DAYS", days[0]); err != nil {
			c.Alone = "removes by " + days[0] + " days: " + err.Error()
		}
	case !set:
		c.Alone = "its number of days is not known: set DAYS"
	}
	switch {
	case forced:
		c.Alone = ""
	case c.Alone != "":
		return
	}
	// As DAYS=14 at the top has it, if it has; else as it was found.
	if c.sure && len(c.given["DAYS"]) == 0 {
		c.order = append(c.order, "DAYS")
		c.given["DAYS"] = []Setting{{Name: "DAYS", Value: days[0], Text: "DAYS=" + days[0]}}
	}
}

// below names a setting that stands further down, maybe behind a condition: which
// value holds there only a run would tell.
func (c *carrier) below(line string, at int) {
	if len(line) > maxLine {
		return
	}
	upper := strings.ToUpper(line)
	for _, key := range c.uses {
		if key == "DAYS" && c.sure {
			continue // found wherever it stands
		}
		if key == "QUOTA" && strings.ContainsAny(line, "$`") {
			continue // the user's .quota, which is read in its place
		}
		if belowKey(key).MatchString(upper) {
			c.refuse(at, key, line, key+" is set below the settings at the top")
		}
	}
}

func belowKey(key string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[^A-Z0-9_])` + key + `[ \t]*[+.]?=([^=~>]|$)`)
}
