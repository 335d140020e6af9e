package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/maildir"
	"kowaza/internal/rules"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

var rmoldmail = &cli.Applet{
	Name: "rmoldmail",
	Help: `usage: rmoldmail [-ahnVvx] [-j N] [--OPTION...] HOW_DAYS_OLD [OWNER]
Remove messages more than HOW_DAYS_OLD days old from a Maildir.

OWNER is a login name, a directory that holds a Maildir, or with -V a virtual
user; without OWNER it is your own Maildir.

  -a, --all-files    remove every old file as find -type f did, not only
                     messages; goes with no option that chooses
      --by CLOCK     count the age from mtime, saved (since when mail lies here)
                     or name (the time that a message's name begins with)
      --days-in NAME=N
                     N days in this folder; may be repeated
      --except NAME  this folder stays; may be repeated
      --folder NAME  only this folder; may be repeated: INBOX, Trash, Work/2019;
                     * and ? stand for any characters
  -h, --help         show this help
  -j, --jobs N       work on N things at once
      --json         tell of each folder, and of all, in JSON
      --keep-flagged messages with the flag F stay
      --max-size N   then remove the oldest until N bytes are left; K, M, G
  -n, --dry-run      print what would go, remove nothing
      --rules FILE   USER FOLDER DAYS on a line: how long whose mail is kept
      --saved        --by saved
      --seen-only    messages without the flag S stay, and all in new
  -V, --virtual      OWNER is a virtual user: VMDIR/OWNER or one of users/assign
  -v, --verbose      say what was done
      --version      print the version
  -x, --one-file-system
                     leave alone what is mounted below a Maildir

Settings: MAILDIR, INBOX, RULES and QUOTA_TRASH in /etc/kowaza.conf; for -V also
VMDIR, USERS and QMAIL.
`,
	Options: func(set *getopt.Set) { new(rmoldmailOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"OWNER": completion.Owner, "CLOCK": strings.Join(maildir.Clocks, " ")}
	},
	Run: runRmoldmail,
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
	o := rmoldmailOptions{maildirOptions: newMaildirOptions()}
	set := cli.NewSet(argv, o.declare)
	o.set = set
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
	opt, err := o.options(now)
	if err != nil {
		return err
	}
	opt.Rule.SetDays(now, days)
	if opt.Rule.All = o.all; o.all && o.chooses() {
		return cli.Usagef("--all-files goes with no option that chooses among messages")
	}
	owner := ""
	if len(args) == 2 {
		owner = args[1]
	}
	if err := checkOwner(owner, len(args) == 2, o.virtual); err != nil {
		return err
	}
	s, err := env.Settings()
	if err != nil {
		return err
	}
	lines, err := o.configure(&opt, s, now)
	if err != nil {
		return err
	}
	home, user, err := findOwner(env, s, owner, o.virtual, lines != nil || o.json)
	if err != nil {
		return err
	}
	r := newMaildirRun(env, opt, &o.maildirOptions, lines, true)
	target := &maildir.Target{Path: maildir.Home(home, s.Maildir), User: user.Names[0]}
	if lines != nil {
		target.Terms = lines.For(user)
	}
	r.explain = func(t *maildir.Target, _ string, err error) error {
		if t.Begun() {
			return err
		}
		return explainLayout(home, s.Maildir, err)
	}
	feed := make(chan *maildir.Target, 1)
	feed <- target
	close(feed)
	err = r.run(feed)
	if err == nil && target.Begun() {
		err = r.missingFolders()
	}
	return r.totals(err)
}

// explainLayout adds to an error about a Maildir that is not there what the reason
// may be: what OWNER and MAILDIR mean is easily mistaken.
func explainLayout(home, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case path.Base(home) == name:
		return fmt.Errorf("%w: OWNER is the directory that holds %s: leave out /%s", err, name, name)
	case name != ".":
		if info, statErr := users.Stat(home + "/cur"); statErr == nil && info.IsDir() {
			return fmt.Errorf("%w: %s is a Maildir itself, which MAILDIR=. in %s says", err, home, settings.File)
		}
	}
	return err
}

// checkOwner looks at the operand OWNER, which may not be there.
func checkOwner(owner string, given, virtual bool) error {
	switch {
	case virtual && !given:
		return cli.Usagef("-V needs an OWNER")
	case !given:
		return nil
	case owner == "":
		return cli.Usagef("OWNER is empty")
	case virtual && path.IsAbs(owner):
		return cli.Usagef("OWNER: %s: with -V the name of a virtual user, not a path", owner)
	case virtual:
		for _, part := range strings.Split(owner, "/") {
			if part == "" || part == "." || part == ".." {
				return cli.Usagef("OWNER: %s: malformed name of a virtual user", owner)
			}
		}
	case !path.IsAbs(owner):
		if err := users.ValidName(owner); err != nil {
			return cli.Usagef("OWNER: %s: %s", owner, err)
		}
	}
	return nil
}

// findOwner returns the directory in which the Maildir of the operand OWNER lies, and
// who that is; owner is empty where there is no such operand. Where somebody asks by
// that name, the password database is asked, too, for whose a path is.
func findOwner(env *cli.Env, s *settings.Settings, owner string, virtual, byName bool) (home string, user rules.User, err error) {
	passwd := users.Passwd{Root: env.Root}
	switch {
	case virtual:
		home, err = virtualHome(env, s, owner)
		return home, virtualUser(owner), err
	case owner == "":
		home, err = ownHome(env)
	case owner[0] == '/':
		home = owner
	default:
		login, err := passwd.ByName(owner)
		if err != nil {
			return "", user, fmt.Errorf("%s: %w", owner, err)
		}
		home, err = login.AbsHome()
		return home, rules.User{Names: []string{owner}}, err
	}
	if err != nil {
		return "", user, err
	}
	uid := uint32(os.Getuid())
	if v, ok := users.MatchPattern(s.Users, path.Clean(home)); ok {
		user = knownAs(v)
	} else {
		user.Names = []string{path.Base(home)}
	}
	if !byName {
		return home, user, nil
	}
	if owner != "" {
		info, err := users.Stat(home)
		if err != nil {
			return home, user, nil // which the run finds out, and says
		}
		uid = info.Sys().(*syscall.Stat_t).Uid
	}
	login, err := passwd.ByUID(uid)
	switch {
	case errors.Is(err, users.ErrUnknown):
		return home, user, nil
	case err != nil:
		return "", user, fmt.Errorf("uid %d: %w", uid, err)
	}
	if user.Names = append(user.Names, login.Name); owner == "" {
		slices.Reverse(user.Names)
	}
	return home, user, nil
}

// virtualUser is who a virtual user of that name may be: domain/user is
// user@domain.
func virtualUser(name string) rules.User {
	u := rules.User{Names: []string{name}}
	if domain, user, ok := strings.Cut(name, "/"); ok && !strings.Contains(user, "/") {
		u.Names, u.Domain = append(u.Names, user+"@"+domain), domain
	}
	if _, domain, ok := strings.Cut(name, "@"); ok {
		u.Domain = domain
	}
	return u
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
// composed it of VMDIR and the name; where VMDIR is not set, USERS or qmail is asked.
func virtualHome(env *cli.Env, s *settings.Settings, owner string) (string, error) {
	if s.VMDir != "" {
		return s.VMDir + "/" + owner, nil
	}
	if s.Users != settings.Default().Users {
		if home, ok := users.FillPattern(s.Users, owner); ok {
			return home, nil
		}
		return "", fmt.Errorf("%s: no name that USERS=%s takes", owner, s.Users)
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
