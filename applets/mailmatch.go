package applets

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pborman/getopt/v2"
	"golang.org/x/text/unicode/norm"

	"kowaza/internal/charset"
	"kowaza/internal/cli"
	"kowaza/internal/message"
)

var mailmatch = &cli.Applet{
	Name: "mailmatch",
	Help: `usage: mailmatch [-hv] [-x CODE] [-l BYTES] [-r|-s PATTERN] [FIELD PATTERN]...
Tell whether the header of a message matches, for a line of a .qmail file.

FIELD is the name of a header field, or several with commas between, or '*' for
all of them. PATTERN is a regular expression (RE2), in any case, that is looked
for in the field as a reader shows it: encoded words, ISO-2022-JP, EUC-JP and
Shift_JIS decoded. An empty PATTERN asks only whether the field is there.

  -h, --help                show this help
  -l, --larger BYTES        the message is larger than BYTES
  -r, --recipient PATTERN   RECIPIENT, from the environment, matches; may be
                            repeated
  -s, --sender PATTERN      SENDER, from the environment, matches; may be
                            repeated
  -v, --invert              turn the answer round
      --version             print the version
  -x, --exit CODE           exit with CODE (0, 99, 100 or 111) if all holds, and
                            with 0 if it does not

Exit status: 0 if all conditions hold, 1 if one does not, 111 in case of error.
Example: |mailmatch -x 99 Subject 'lottery|casino'
`,
	Options: func(set *getopt.Set) { new(mailmatchOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"CODE": "0 99 100 111"} },
	Run:     runMailmatch,
	Fail:    111, // qmail keeps the mail and tries again, qmail-command(8)
}

type mailmatchOptions struct {
	exit, larger      string
	recipient, sender patterns
	invert            bool
}

func (o *mailmatchOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.exit, "exit", 'x')
	set.FlagLong(&o.invert, "invert", 'v')
	set.FlagLong(&o.larger, "larger", 'l')
	set.FlagLong(&o.recipient, "recipient", 'r')
	set.FlagLong(&o.sender, "sender", 's')
}

// patterns are those of an option that may be repeated.
type patterns []*regexp.Regexp

func (p *patterns) String() string { return "" }

func (p *patterns) Set(text string, o getopt.Option) error {
	re, err := valuePattern("--"+o.LongName(), text)
	if err == nil {
		*p = append(*p, re)
	}
	return err
}

// compared is text as it is compared: the same letter is the same bytes, whether it
// came in one part or two and whichever converter has read it.
func compared(text string) string { return charset.SameCell(norm.NFC.String(text)) }

// valuePattern compiles the pattern for what, to be looked for in compared text.
func valuePattern(what, text string) (*regexp.Regexp, error) {
	if !utf8.ValidString(text) {
		return nil, cli.Usagef("%s: %s: not UTF-8", what, text)
	}
	text = compared(text)
	re, err := regexp.Compile("(?i)" + text)
	if err == nil {
		return re, nil
	}
	// Told without what nobody wrote.
	if _, plain := regexp.Compile(text); plain != nil {
		err = plain
	}
	return nil, cli.Usagef("%s: %s: %s", what, text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
}

// refusal is what a bounce says: RFC 3463, 5.7.1, delivery not authorized.
const refusal = "Sorry, this mailbox does not take this message. (#5.7.1)\n"

func runMailmatch(env *cli.Env, argv []string) error {
	var o mailmatchOptions
	set := cli.NewSet(argv, o.declare)
	words, err := env.Parse(set, argv, 0, math.MaxInt)
	if err != nil {
		return err
	}
	yes, no := 0, 1
	if set.IsSet("exit") {
		no = 0
		if yes, err = exitOption(o.exit, "0", "99", "100", "111"); err != nil {
			return err
		}
	}
	larger := -1
	if set.IsSet("larger") {
		if larger, err = cli.Number("--larger", o.larger, 0, math.MaxInt); err != nil {
			return err
		}
	}
	fields, err := fieldConditions(words)
	switch {
	case err != nil:
		return err
	case len(fields)+len(o.sender)+len(o.recipient) == 0 && larger < 0:
		return cli.Usagef("no condition")
	}
	holds, err := variablesMatch(env, &o)
	if holds && err == nil && (larger >= 0 || len(fields) > 0) {
		holds, err = messageMatches(env.Stdin, fields, larger)
	}
	switch {
	case err != nil:
		return err
	case holds == o.invert:
		return cli.Exit(no)
	}
	if yes == 100 {
		if _, err := io.WriteString(env.Stdout, refusal); err != nil {
			return err
		}
	}
	return cli.Exit(yes)
}

// A fieldCondition wants a pattern to be found in a field that has one of the names.
type fieldCondition struct {
	names []string // none: any name
	re    *regexp.Regexp
	holds bool
}

// fieldConditions reads FIELD PATTERN...
func fieldConditions(words []string) ([]fieldCondition, error) {
	conditions := make([]fieldCondition, 0, len(words)/2)
	for ; len(words) > 0; words = words[2:] {
		c := fieldCondition{names: strings.Split(words[0], ",")}
		for _, name := range c.names {
			switch {
			case strings.HasPrefix(name, "-"): // no field has such a name, but options have
				return nil, cli.Usagef("%s: options come before operands", words[0])
			case name == "*" && len(c.names) == 1:
			case !message.IsFieldName(name), strings.Contains(name, "*"):
				// RFC 5322 allows a star in a name. Who writes one means something else.
				return nil, cli.Usagef("%s: not the name of a header field", words[0])
			}
		}
		if c.names[0] == "*" {
			c.names = nil
		}
		if len(words) == 1 {
			return nil, cli.Usagef("%s: no PATTERN for it", words[0])
		}
		var err error
		if c.re, err = valuePattern(words[0], words[1]); err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	return conditions, nil
}

// concerns tells whether the condition looks into fields of that name.
func (c *fieldCondition) concerns(name []byte) bool {
	for _, n := range c.names {
		if len(n) == len(name) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return c.names == nil
}

// variablesMatch looks at what qmail-local has put into the environment.
func variablesMatch(env *cli.Env, o *mailmatchOptions) (holds bool, err error) {
	holds = true
	for _, v := range []struct {
		name     string
		patterns patterns
	}{{"SENDER", o.sender}, {"RECIPIENT", o.recipient}} {
		if len(v.patterns) == 0 {
			continue
		}
		// An empty SENDER is that of a bounce.
		value, ok := env.LookupEnv(v.name)
		if !ok {
			return false, fmt.Errorf("%s: not set in the environment", v.name)
		}
		value = compared(value)
		for _, re := range v.patterns {
			holds = holds && re.MatchString(value)
		}
	}
	return holds, nil
}

// maxMatchedHeader is where a header ends that has no end before.
const maxMatchedHeader = 1 << 20

// messageMatches tells whether all that is asked about the message on in holds. Larger
// is -1 where its size does not matter.
func messageMatches(in io.Reader, fields []fieldCondition, larger int) (bool, error) {
	r, size, err := messageOn(in)
	if err != nil {
		return false, err
	}
	m := &counted{r: r}
	if size >= 0 && size <= int64(larger) {
		return false, nil
	}
	if len(fields) > 0 {
		header, err := message.ReadHeader(m, maxMatchedHeader)
		if err != nil {
			return false, &readError{err}
		}
		if !headerMatches(header, fields) {
			return false, nil
		}
	}
	if larger < 0 || size >= 0 {
		return true, nil
	}
	// What comes through a pipe has no size but that of what comes.
	for buf := make([]byte, 64<<10); m.n <= int64(larger); {
		_, err := m.Read(buf)
		switch {
		case m.n > int64(larger), err == nil:
		case err == io.EOF:
			return false, nil
		default:
			return false, &readError{err}
		}
	}
	return true, nil
}

// headerMatches tells whether all conditions hold of a header.
func headerMatches(header []byte, conditions []fieldCondition) bool {
	// The line that an mbox has before a message looks like a field From to whoever
	// allows blanks before the colon.
	if bytes.HasPrefix(header, []byte("From ")) || bytes.HasPrefix(header, []byte(">From ")) {
		_, header, _ = bytes.Cut(header, []byte("\n"))
	}
	left := len(conditions)
	for name, raw := range message.Fields(header) {
		value, decoded := "", false
		for i := range conditions {
			c := &conditions[i]
			if c.holds || !c.concerns(name) {
				continue
			}
			if !decoded {
				value, decoded = compared(message.Show(raw)), true
			}
			if c.holds = c.re.MatchString(value); c.holds {
				left--
			}
		}
		if left == 0 {
			return true
		}
	}
	return left == 0
}

// A counted reader counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
