package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/maildir"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var rmoldmail = &cli.Applet{
	Name: "rmoldmail",
	Help: `usage: rmoldmail [-ahnVv] [-j N] HOW_DAYS_OLD [OWNER]
Remove messages more than HOW_DAYS_OLD days old from a Maildir.

OWNER is a login name, a directory that holds a Maildir, or with -V a virtual
user; without OWNER it is your own Maildir.

  -a, --all-files    remove every old file as find -type f did, not only
                     messages; goes with no option that chooses
      --folder NAME  only this folder; may be repeated: INBOX, Trash, Work/2019;
                     * and ? stand for any characters
  -h, --help         show this help
  -j, --jobs N       work on N things at once
      --keep-flagged messages with the flag F stay
  -n, --dry-run      print what would go, remove nothing
      --saved        the age is that of the inode: since when mail lies here
      --seen-only    messages without the flag S stay, and all in new
  -V, --virtual      OWNER is a virtual user: VMDIR/OWNER or one of users/assign
  -v, --verbose      say what was done
      --version      print the version

Settings: VMDIR and QMAIL in /etc/kowaza.conf, for -V only.
`,
	Options: func(set *getopt.Set) { new(rmoldmailOptions).declare(set) },
	Values:  map[string]string{"OWNER": completion.Owner},
	Run:     runRmoldmail,
}

type rmoldmailOptions struct {
	maildirOptions
	all, virtual bool
}

func (o *rmoldmailOptions) declare(set *getopt.Set) {
	o.maildirOptions.declare(set)
	set.FlagLong(&o.all, "all-files", 'a')
	set.FlagLong(&o.virtual, "virtual", 'V')
}

func runRmoldmail(env *cli.Env, argv []string) error {
	now := env.Now()
	set := getopt.New()
	var o rmoldmailOptions
	o.declare(set)
	args, err := env.Parse(set, argv, 1, 2)
	if err != nil {
		return err
	}
	days, err := cli.Number("HOW_DAYS_OLD", args[0], 0, settings.MaxDays)
	if err != nil {
		if len(args) == 2 {
			if _, swapped := settings.Number(args[1], 0, settings.MaxDays); swapped == nil {
				return cli.Usagef("%s %s: the days come first: rmoldmail %s %s", args[0], args[1], args[1], args[0])
			}
		}
		return err
	}
	if len(args) == 2 && strings.HasPrefix(args[1], "-") && !o.virtual {
		return cli.Usagef("%s: options come before HOW_DAYS_OLD", args[1]) // no login begins so
	}
	opt, err := o.options()
	if err != nil {
		return err
	}
	opt.Rule.SetDays(now, days)
	if opt.Rule.All = o.all; o.all && o.chooses() {
		return cli.Usagef("--all-files goes with none of --folder, --keep-flagged, --saved, --seen-only")
	}
	home, err := ownerHome(env, args[1:], o.virtual)
	if err != nil {
		return err
	}
	if o.verbose && opt.DryRun {
		opt.Folder = func(t *maildir.Target, name string, s maildir.Stats) {
			env.Warn("%s: %s: %s", t.Path, name, summary(s, true))
		}
	}
	r := newMaildirRun(env, opt, o.verbose)
	target := &maildir.Target{Path: maildir.Home(home)}
	if strings.HasSuffix(strings.TrimRight(home, "/"), "/Maildir") {
		r.explain = func(p string, err error) error {
			if errors.Is(err, fs.ErrNotExist) && !target.Begun() {
				return fmt.Errorf("%w: OWNER is the directory that holds Maildir: leave out /Maildir", err)
			}
			return err
		}
	}
	feed := make(chan *maildir.Target, 1)
	feed <- target
	close(feed)
	err = r.run(feed)
	if err == nil && target.Begun() {
		err = r.missingFolders()
	}
	return err
}

// ownerHome returns the directory in which the Maildir of the operand OWNER
// lies; owner is empty where there is no such operand.
func ownerHome(env *cli.Env, owner []string, virtual bool) (string, error) {
	switch {
	case virtual && len(owner) == 0:
		return "", cli.Usagef("-V needs an OWNER")
	case len(owner) == 0:
		return ownHome(env)
	case owner[0] == "":
		return "", cli.Usagef("OWNER is empty")
	case virtual:
		return virtualHome(env, owner[0])
	case owner[0][0] == '/':
		return owner[0], nil
	}
	if err := users.ValidName(owner[0]); err != nil {
		return "", cli.Usagef("OWNER: %s: %s", owner[0], err)
	}
	login, err := users.Passwd{Root: env.Root}.ByName(owner[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", owner[0], err)
	}
	return login.AbsHome()
}

// ownHome returns the caller's own home directory.
func ownHome(env *cli.Env) (string, error) {
	if home := env.Getenv("HOME"); home != "" {
		if !path.IsAbs(home) {
			return "", fmt.Errorf("HOME: %s: not an absolute path", home)
		}
		return home, nil
	}
	uid := os.Getuid()
	login, err := users.Passwd{Root: env.Root}.ByUID(uint32(uid))
	if err != nil {
		return "", fmt.Errorf("HOME is not set, uid %d: %w", uid, err)
	}
	return login.AbsHome()
}

// virtualHome returns the home directory of a virtual user. The page's script
// composed it of VMDIR and the name; where VMDIR is not set qmail is asked.
func virtualHome(env *cli.Env, owner string) (string, error) {
	if path.IsAbs(owner) {
		return "", cli.Usagef("OWNER: %s: with -V the name of a virtual user, not a path", owner)
	}
	for _, part := range strings.Split(owner, "/") {
		if part == "" || part == "." || part == ".." {
			return "", cli.Usagef("OWNER: %s: malformed name of a virtual user", owner)
		}
	}
	s, err := env.Settings()
	if err != nil {
		return "", err
	}
	if s.VMDir != "" {
		return s.VMDir + "/" + owner, nil
	}
	assign := qmailDir(env, s) + "/users/assign"
	a, err := users.LookupAssign(assign, owner)
	if errors.Is(err, users.ErrUnknown) {
		return "", fmt.Errorf("%s: VMDIR is not set and %s has no such virtual user", owner, assign)
	}
	if err != nil {
		return "", fmt.Errorf("%s: VMDIR is not set: %w", owner, err)
	}
	if !path.IsAbs(a.Home) {
		return "", fmt.Errorf("%s:%d: home directory is not an absolute path: %s", assign, a.Line, a.Home)
	}
	return a.Home, nil
}

// qmailDir returns qmail's own directory.
func qmailDir(env *cli.Env, s *settings.Settings) string {
	if s.QMail == settings.Default().QMail {
		return env.Root + s.QMail
	}
	return s.QMail
}
