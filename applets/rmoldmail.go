package applets

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

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

  -a, --all-files   remove every old file as find -type f did, not only messages
  -h, --help        show this help
  -j, --jobs N      work on N things at once
  -n, --dry-run     print what would go, remove nothing
  -V, --virtual     OWNER is a virtual user: VMDIR/OWNER, or one of users/assign
  -v, --verbose     say what was done
      --version     print the version

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
	opt.All = *all
	home, err := env.ownerHome(args[1:], *virtual)
	if err != nil {
		return err
	}
	next := []*maildir.Target{{Path: maildir.Home(home)}}
	return env.clean(opt, c.verbose, func() (*maildir.Target, bool) {
		if len(next) == 0 {
			return nil, false
		}
		t := next[0]
		next = nil
		return t, true
	})
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

// cleaning holds the options of all applets that clean Maildirs.
type cleaning struct {
	dryRun, verbose bool
	jobs            string
}

func (c *cleaning) flags(set *getopt.Set) {
	set.FlagLong(&c.dryRun, "dry-run", 'n')
	set.FlagLong(&c.verbose, "verbose", 'v')
	set.FlagLong(&c.jobs, "jobs", 'j')
}

// options checks what was given and returns the run's options.
func (c *cleaning) options(now time.Time, days int) (maildir.Options, error) {
	opt := maildir.Options{Now: now, Days: days, DryRun: c.dryRun}
	if c.jobs != "" {
		n, err := parseNumber("--jobs", c.jobs, 1, maildir.MaxJobs)
		if err != nil {
			return opt, err
		}
		opt.Jobs = n
	}
	return opt, nil
}

// clean runs a pool over the Maildirs that next returns, and reports.
func (env *Env) clean(opt maildir.Options, verbose bool, next func() (*maildir.Target, bool)) error {
	var pool *maildir.Pool
	failed := false
	if opt.DryRun {
		opt.Old = func(path string) {
			if _, err := fmt.Fprintln(env.Stdout, Escape(path)); err != nil {
				pool.Stop() // nobody reads the rest
			}
		}
	}
	opt.Failed = func(t *maildir.Target, path string, err error) {
		failed = true
		env.WarnLike(t.Path, path, err)
	}
	opt.Done = func(t *maildir.Target, s maildir.Stats) {
		env.WarnedAll(t.Path)
		if verbose {
			env.Warn("%s: %s", t.Path, summary(s, opt.DryRun))
		}
	}
	pool = maildir.NewPool(opt)
	signals := env.catch(pool.Stop)
	progress := env.startProgress(verbose, func() string {
		messages, removed := pool.Progress()
		return fmt.Sprintf("%d messages, %d %s", messages, removed, gone(opt.DryRun))
	})
	pool.Run(next)
	progress.stop()
	if sig := signals.stop(); sig != nil {
		_, removed := pool.Progress()
		env.Warn("%s, %d messages %s", Killed(*sig), removed, gone(opt.DryRun))
		return Killed(*sig)
	}
	if failed {
		return ErrReported
	}
	return nil
}

func gone(dryRun bool) string {
	if dryRun {
		return "would go"
	}
	return "removed"
}

// summary tells what was done in a Maildir.
func summary(s maildir.Stats, dryRun bool) string {
	line := fmt.Sprintf("%d messages, %d %s, %d bytes", s.Messages, s.Removed, gone(dryRun), s.Bytes)
	if s.Removed > 0 {
		line += ", oldest of " + time.Unix(s.Oldest.Sec, 0).Format("2006-01-02")
	}
	return line
}
