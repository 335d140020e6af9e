package applets

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/maildir"
	"kowaza/internal/users"
)

// maildirOptions are what all applets that clean Maildirs have in common.
type maildirOptions struct {
	dryRun, verbose              bool
	jobs                         string
	folders                      folderList
	keepFlagged, seenOnly, saved bool
}

// A folderList collects --folder as it is given; getopt's own lists would split
// it at commas.
type folderList []maildir.Folder

func (l *folderList) String() string { return "" }

func (l *folderList) Set(name string, _ getopt.Option) error {
	f, err := maildir.NewFolder(name)
	if err != nil {
		return fmt.Errorf("--folder: %s: %w", name, err) // which getopt repeats
	}
	*l = append(*l, f)
	return nil
}

func (o *maildirOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.verbose, "verbose", 'v')
	o.jobs = strconv.Itoa(maildir.DefaultJobs)
	set.FlagLong(&o.jobs, "jobs", 'j')
	set.FlagLong(&o.folders, "folder", 0)
	set.FlagLong(&o.keepFlagged, "keep-flagged", 0)
	set.FlagLong(&o.seenOnly, "seen-only", 0)
	set.FlagLong(&o.saved, "saved", 0)
}

// chooses reports whether any option chooses among the messages.
func (o *maildirOptions) chooses() bool {
	return len(o.folders) > 0 || o.keepFlagged || o.seenOnly || o.saved
}

// options checks what was given and returns the run's options, but for the days.
func (o *maildirOptions) options() (maildir.Options, error) {
	opt := maildir.Options{DryRun: o.dryRun, Folders: o.folders}
	opt.Rule.KeepFlagged, opt.Rule.SeenOnly, opt.Rule.Saved = o.keepFlagged, o.seenOnly, o.saved
	var err error
	opt.Jobs, err = cli.Number("--jobs", o.jobs, 1, maildir.MaxJobs)
	return opt, err
}

// A maildirRun is a pool at work over Maildirs, with its reports.
type maildirRun struct {
	env     *cli.Env
	opt     maildir.Options
	verbose bool
	pool    *maildir.Pool

	// Of the pool's funcs, which are called one at a time.
	failed   bool
	place    func(t *maildir.Target) string     // what like messages are about; see WarnLike
	passOver func(path string, err error) bool  // what is no error here; may be nil
	explain  func(path string, err error) error // adds what to do about it; may be nil
	done     func(t *maildir.Target, s maildir.Stats)
}

func newMaildirRun(env *cli.Env, opt maildir.Options, verbose bool) *maildirRun {
	r := &maildirRun{env: env, opt: opt, verbose: verbose}
	r.place = func(t *maildir.Target) string { return t.Path }
	r.opt.Failed = func(t *maildir.Target, path string, err error) {
		if r.passOver != nil && path == t.Path && r.passOver(path, err) {
			return
		}
		r.failed = true
		var owner *maildir.OwnerError
		if errors.As(err, &owner) {
			err = nameOwner(env, owner)
		}
		if r.explain != nil {
			err = r.explain(path, err)
		}
		env.WarnLike(r.place(t), path, err)
	}
	r.opt.Done = func(t *maildir.Target, s maildir.Stats) {
		env.WarnedAll(t.Path)
		if verbose && t.Begun() {
			env.Warn("%s: %s", t.Path, summary(s, opt.DryRun))
		}
		if r.done != nil {
			r.done(t, s)
		}
	}
	if opt.DryRun {
		env.OnlyShows = true
		r.opt.Old = func(path string) {
			if _, err := fmt.Fprintln(env.Stdout, escape.String(path)); err != nil {
				r.pool.Stop() // nobody reads the rest
			}
		}
	}
	r.pool = maildir.NewPool(r.opt)
	return r
}

// run cleans the Maildirs that come through feed.
func (r *maildirRun) run(feed <-chan *maildir.Target) error {
	env := r.env
	signals := env.Catch(r.pool.Stop)
	progress := env.StartProgress(r.verbose, func() string {
		messages, removed := r.pool.Progress()
		return fmt.Sprintf("%s, %d %s", cli.Count(messages, "message"), removed, gone(r.opt.DryRun))
	})
	err := r.pool.Run(feed)
	progress.Stop()
	if sig := signals.Stop(); sig != nil {
		_, removed := r.pool.Progress()
		env.Warn("%s, %s %s", cli.Killed(*sig), cli.Count(removed, "message"), gone(r.opt.DryRun))
		return cli.Killed(*sig)
	}
	if r.failed && err == nil {
		err = cli.ErrReported
	}
	return err
}

// missingFolders says which of the folders asked for no Maildir of the run has. A
// pattern may well find nothing; a name was meant, and mail that ought to have been
// cleaned was not: that is an error.
func (r *maildirRun) missingFolders() error {
	var err error
	for i, f := range r.opt.Folders {
		switch {
		case r.pool.Found(i):
		case !f.Wild():
			err = cli.ErrReported
			fallthrough
		case r.verbose:
			r.env.Warn("%s: nobody has such a folder", f.Name)
		}
	}
	return err
}

// nameOwner says whose a Maildir is.
func nameOwner(env *cli.Env, e *maildir.OwnerError) error {
	name := fmt.Sprintf("uid %d", e.UID)
	if login, err := (users.Passwd{Root: env.Root}).ByUID(e.UID); err == nil {
		name = login.Name
	}
	return fmt.Errorf("%w: it belongs to %s, so that only %s or root can clean it", e.Err, name, name)
}

func gone(dryRun bool) string {
	if dryRun {
		return "would go"
	}
	return "removed"
}

// summary tells what was done in one Maildir or in many.
func summary(s maildir.Stats, dryRun bool) string {
	line := fmt.Sprintf("%s, %d %s, %s", cli.Count(s.Messages, "message"), s.Removed, gone(dryRun), cli.Count(s.Bytes, "byte"))
	if s.Removed > 0 {
		line += ", oldest of " + date(s.Oldest)
	}
	return line
}

// date returns the day of s; a time that a calendar has no four digits for is
// before or after all of them.
func date(s maildir.Stamp) string {
	const format = "2006-01-02"
	switch t := time.Unix(s.Sec, 0); {
	case s.Sec < -62135596800: // the year 1
		return "before 0001-01-01"
	case s.Sec > 253402214400: // the year 9999
		return "after 9999-12-30"
	default:
		return t.Format(format)
	}
}
