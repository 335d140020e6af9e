package applets

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/maildir"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var rmoldmail = &Applet{
	Name: "rmoldmail",
	Help: `usage: rmoldmail [-ahnVv] [-j N] HOW_DAYS_OLD [OWNER]
Remove messages more than HOW_DAYS_OLD days old from a Maildir.

OWNER is a login name, a directory that holds a Maildir, or with -V a virtual
user; without OWNER it is your own Maildir.

  -a, --all-files    remove every old file as find -type f did, not only
                     messages; goes with no option that chooses
      --folder NAME  only this folder; may be repeated: INBOX, Trash, Work/2019,
                     ゴミ箱; * and ? stand for any characters
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
	Run: runRmoldmail,
}

func runRmoldmail(env *Env, argv []string) error {
	now := env.Now()
	set := getopt.New()
	var c cleaning
	c.flags(set)
	all := set.BoolLong("all-files", 'a')
	virtual := set.BoolLong("virtual", 'V')
	args, err := env.Parse(set, argv, 1, 2)
	if err != nil {
		return err
	}
	days, err := parseNumber("HOW_DAYS_OLD", args[0], 0, settings.MaxDays)
	if err != nil {
		return err
	}
	opt, err := c.options(now, days)
	if err != nil {
		return err
	}
	if opt.All = *all; *all && c.chooses() {
		return Usagef("--all-files goes with none of --folder, --keep-flagged, --saved, --seen-only")
	}
	home, err := env.ownerHome(args[1:], *virtual)
	if err != nil {
		return err
	}
	if c.verbose && opt.DryRun {
		opt.Folder = func(t *maildir.Target, name string, s maildir.Stats) {
			env.Warn("%s: %s: %s", t.Path, name, summary(s, true))
		}
	}
	r := env.newCleaningRun(opt, c.verbose)
	feed := make(chan *maildir.Target, 1)
	feed <- &maildir.Target{Path: maildir.Home(home)}
	close(feed)
	return r.run(feed)
}

// ownerHome returns the directory in which the Maildir of the operand OWNER
// lies; owner is empty where there is no such operand.
func (env *Env) ownerHome(owner []string, virtual bool) (string, error) {
	switch {
	case virtual && len(owner) == 0:
		return "", Usagef("-V needs an OWNER")
	case len(owner) == 0:
		return env.home()
	case owner[0] == "":
		return "", Usagef("OWNER is empty")
	case virtual:
		return env.virtualHome(owner[0])
	case owner[0][0] == '/':
		return owner[0], nil
	}
	if err := users.ValidName(owner[0]); err != nil {
		return "", Usagef("OWNER: %s: %s", owner[0], err)
	}
	login, err := users.Passwd{Root: env.Root}.ByName(owner[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", owner[0], err)
	}
	return login.AbsHome()
}

// home returns the caller's own home directory.
func (env *Env) home() (string, error) {
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
func (env *Env) virtualHome(owner string) (string, error) {
	if path.IsAbs(owner) {
		return "", Usagef("OWNER: %s: with -V the name of a virtual user, not a path", owner)
	}
	for _, part := range strings.Split(owner, "/") {
		if part == "" || part == "." || part == ".." {
			return "", Usagef("OWNER: %s: malformed name of a virtual user", owner)
		}
	}
	s, err := env.settings()
	if err != nil {
		return "", err
	}
	if s.VMDir != "" {
		return s.VMDir + "/" + owner, nil
	}
	assign := env.qmail(s) + "/users/assign"
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

// qmail returns qmail's own directory.
func (env *Env) qmail(s *settings.Settings) string {
	if s.QMail == settings.Default().QMail {
		return env.Root + s.QMail
	}
	return s.QMail
}
