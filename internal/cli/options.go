package cli

import (
	"errors"
	"fmt"
	"kowaza/internal/settings"
	"strings"

	"github.com/pborman/getopt/v2"
)

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
// there must be at least min and at most max. It adds --help and --version and
// answers them itself: the error is ErrDone then, else a usage error.
func (env *Env) Parse(set *getopt.Set, argv []string, min, max int) ([]string, error) {
	return env.ParseEach(set, argv, min, max, func(getopt.Option) error { return nil })
}

// ParseEach is Parse for an applet whose options are done in order: each is told
// every option as it stands, and its error ends the reading.
func (env *Env) ParseEach(set *getopt.Set, argv []string, min, max int, each func(getopt.Option) error) ([]string, error) {
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
	args := set.Args()
	switch {
	case len(args) < min:
		return nil, Usagef("too few operands")
	case len(args) > max && env.applet.Secret:
		return nil, Usagef("too many operands")
	case len(args) > max && strings.HasPrefix(args[max], "-"):
		return nil, Usagef("%s: options come before operands", args[max])
	case len(args) > max:
		return nil, Usagef("too many operands: %s", args[max])
	}
	return args, nil
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
