// Package cli is what a command with applets needs to be a good citizen of a
// terminal, a script and a cron job: options and help in the language of the
// caller, messages, standard output that is checked, signals, progress, secrets and
// the settings. It knows no applet and no mail.
package cli

import "github.com/pborman/getopt/v2"

// An Applet is one command.
type Applet struct {
	Name    string                              // argv[0], link name, prefix of messages
	Help    string                              // all of --help; line 1 usage, line 2 what it does
	Options func(set *getopt.Set)               // declares its options, as Run does; nil: it has none of its own
	Run     func(env *Env, argv []string) error // argv[0] is the name, as in C
	Fail    int                                 // status of an ordinary error; 0 means 1
	Page    string                              // what its man page and its Japanese help are called, if not Name

	// Values says what completion offers in the place of a word of Help, as NUMBER
	// or DIR: the words themselves, with blanks between, or a kind of internal/completion.
	// It is asked for by completion alone: no call makes it that needs it not.
	Values func() map[string]string

	// An operand may be a password: no message repeats one.
	Secret bool
}

// ManPage returns the name of the applet's man page, without the section.
func (a *Applet) ManPage() string {
	if a.Page != "" {
		return a.Page
	}
	return a.Name
}

// OptionSet returns a set of all options that the applet takes, for who asks what
// there is: completion, tests.
func (a *Applet) OptionSet() *getopt.Set {
	set := getopt.New()
	if a.Options != nil {
		a.Options(set)
	}
	new(common).declare(set)
	return set
}
