package applets

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/maildir"
)

// cleaning holds the options of all applets that clean Maildirs.
type cleaning struct {
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
		return fmt.Errorf("--folder: %s: %w", name, err)
	}
	*l = append(*l, f)
	return nil
}

func (c *cleaning) flags(set *getopt.Set) {
	set.FlagLong(&c.dryRun, "dry-run", 'n')
	set.FlagLong(&c.verbose, "verbose", 'v')
	c.jobs = strconv.Itoa(maildir.DefaultJobs)
	set.FlagLong(&c.jobs, "jobs", 'j')
	set.FlagLong(&c.folders, "folder", 0)
	set.FlagLong(&c.keepFlagged, "keep-flagged", 0)
	set.FlagLong(&c.seenOnly, "seen-only", 0)
	set.FlagLong(&c.saved, "saved", 0)
}

// chooses tells whether any option chooses among the messages.
func (c *cleaning) chooses() bool {
	return len(c.folders) > 0 || c.keepFlagged || c.seenOnly || c.saved
}

// options checks what was given and returns the run's options.
func (c *cleaning) options(now time.Time, days int) (maildir.Options, error) {
	opt := maildir.Options{
		Now: now, Days: days, DryRun: c.dryRun,
		Folders: c.folders, KeepFlagged: c.keepFlagged, SeenOnly: c.seenOnly, Saved: c.saved,
	}
	var err error
	opt.Jobs, err = parseNumber("--jobs", c.jobs, 1, maildir.MaxJobs)
	return opt, err
}

// A cleaningRun is a pool at work over Maildirs, with its reports.
type cleaningRun struct {
	env     *Env
	opt     maildir.Options
	verbose bool
	pool    *maildir.Pool

	// Of the pool's funcs, which are called one at a time.
	failed   bool
	place    func(t *maildir.Target) string    // what like messages are about; see WarnLike
	passOver func(path string, err error) bool // what is no error here; may be nil
	done     func(t *maildir.Target, s maildir.Stats)
}

func (env *Env) newCleaningRun(opt maildir.Options, verbose bool) *cleaningRun {
	r := &cleaningRun{env: env, opt: opt, verbose: verbose}
	r.place = func(t *maildir.Target) string { return t.Path }
	r.opt.Failed = func(t *maildir.Target, path string, err error) {
		if r.passOver != nil && path == t.Path && r.passOver(path, err) {
			return
		}
		r.failed = true
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
		r.opt.Old = func(path string) {
			if _, err := fmt.Fprintln(env.Stdout, Escape(path)); err != nil {
				r.pool.Stop() // nobody reads the rest
			}
		}
	}
	r.pool = maildir.NewPool(r.opt)
	return r
}

// run cleans the Maildirs that come through feed.
func (r *cleaningRun) run(feed <-chan *maildir.Target) error {
	env := r.env
	signals := env.catch(r.pool.Stop)
	progress := env.startProgress(r.verbose, func() string {
		messages, removed := r.pool.Progress()
		return fmt.Sprintf("%d messages, %d %s", messages, removed, gone(r.opt.DryRun))
	})
	err := r.pool.Run(feed)
	progress.stop()
	if sig := signals.stop(); sig != nil {
		_, removed := r.pool.Progress()
		env.Warn("%s, %d messages %s", Killed(*sig), removed, gone(r.opt.DryRun))
		return Killed(*sig)
	}
	for i, f := range r.opt.Folders {
		if r.verbose && !r.pool.Found(i) {
			env.Warn("%s: nobody has such a folder", f.Name)
		}
	}
	if r.failed && err == nil {
		err = ErrReported
	}
	return err
}

func gone(dryRun bool) string {
	if dryRun {
		return "would go"
	}
	return "removed"
}

// summary tells what was done in one Maildir or in many.
func summary(s maildir.Stats, dryRun bool) string {
	line := fmt.Sprintf("%d messages, %d %s, %d bytes", s.Messages, s.Removed, gone(dryRun), s.Bytes)
	if s.Removed > 0 {
		line += ", oldest of " + time.Unix(s.Oldest.Sec, 0).Format("2006-01-02")
	}
	return line
}
