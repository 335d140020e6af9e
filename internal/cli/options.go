package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/settings"
)

// A Set are the options of one call of an applet.
type Set struct {
	set *getopt.Set // nil: no word looks like an option, and none is declared
}

// NewSet declares an applet's options, by its declare, if a word of argv looks like one.
// To declare one costs getopt a look at the stack, and most calls of a .qmail line or a
// crontab have none: of those of mkdigest it was a third of all instructions. So a
// default must not stand in declare.
func NewSet(argv []string, declare func(*getopt.Set)) *Set {
	s := new(Set)
	if slices.ContainsFunc(argv[min(1, len(argv)):], func(word string) bool { return strings.HasPrefix(word, "-") }) {
		s.set = getopt.New()
		declare(s.set)
	}
	return s
}

// IsSet reports whether the option of that long name was given.
func (s *Set) IsSet(name string) bool { return s.set != nil && s.set.IsSet(name) }

// common are the options of every applet.
type common struct{ help, version bool }

// declare adds them. -h is --help unless the applet has another use for it.
func (c *common) declare(set *getopt.Set) {
	letter := 'h'
	set.VisitAll(func(o getopt.Option) { // Lookup answers with a nil that is none
		if strings.Trim(o.ShortName(), "-") == "h" {
			letter = 0
		}
	})
	set.FlagLong(&c.help, "help", letter)
	set.FlagLong(&c.version, "version", 0)
}

// Parse reads the options of argv into set and returns the operands, of which
// there must be at least so many and at most so many. It adds --help and --version and
// answers them itself: the error is ErrDone then, else a usage error.
func (env *Env) Parse(set *Set, argv []string, least, most int) ([]string, error) {
	return env.ParseEach(set, argv, least, most, func(getopt.Option) error { return nil })
}

// ParseEach is Parse for an applet whose options are done in order: each is told
// every option as it stands, and its error ends the reading.
func (env *Env) ParseEach(set *Set, argv []string, least, most int, each func(getopt.Option) error) ([]string, error) {
	args := argv[min(1, len(argv)):]
	if set.set != nil {
		var err error
		if args, err = env.parseOptions(set.set, argv, each); err != nil {
			return nil, err
		}
	}
	switch {
	case len(args) < least:
		return nil, Usagef("too few operands")
	case len(args) > most && env.applet.Secret:
		return nil, Usagef("too many operands")
	case len(args) > most && strings.HasPrefix(args[most], "-"):
		return nil, Usagef("%s: options come before operands", args[most])
	case len(args) > most:
		return nil, Usagef("too many operands: %s", args[most])
	}
	return args, nil
}

// parseOptions reads the options and returns the operands.
func (env *Env) parseOptions(set *getopt.Set, argv []string, each func(getopt.Option) error) ([]string, error) {
	var common common
	common.declare(set)
	var wrong error
	err := set.Getopt(argv, func(o getopt.Option) bool {
		wrong = each(o)
		return wrong == nil && !common.help && !common.version
	})
	switch {
	case err != nil && env.applet.Secret:
		return nil, secretOption(set, err)
	case err != nil:
		return nil, usageError(err.Error())
	case wrong != nil:
		return nil, wrong
	case common.help:
		env.OnlyShows = true
		env.ShowHelp()
		return nil, ErrDone
	case common.version:
		fmt.Fprintf(env.Stdout, "%s (kowaza) %s\n", env.applet.Name, Version())
		return nil, ErrDone
	}
	return set.Args(), nil
}

// secretOption says what is wrong with an option without repeating a word of it
// that may be a password: --password=secret, or -secret.
func secretOption(set *getopt.Set, err error) error {
	var e *getopt.Error
	if errors.As(err, &e) {
		known := ""
		set.VisitAll(func(o getopt.Option) {
			name, _, _ := strings.Cut(e.Parameter, "=")
			if e.Name == "--"+o.LongName() || e.Name == o.LongName() || name == o.LongName() {
				known = "--" + o.LongName()
			}
		})
		switch {
		case e.ErrorCode == getopt.MissingParameter && known != "":
			return Usagef("%s: its argument is missing", known)
		case e.ErrorCode == getopt.ExtraParameter && known != "":
			return Usagef("%s: takes no argument", known)
		}
	}
	return Usagef("unknown or malformed option")
}

// Number reads decimal digits only: no sign, no blank, and 010 is ten.
func Number(what, s string, min, max int) (int, error) {
	n, err := settings.Number(s, min, max)
	if err != nil {
		return 0, Usagef("%s: %s: %s", what, s, err)
	}
	return n, nil
}
