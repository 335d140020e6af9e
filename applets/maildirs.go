package applets

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/maildir"
	"kowaza/internal/rules"
	"kowaza/internal/settings"
	"kowaza/internal/users"
)

// maildirOptions are what all applets that clean Maildirs have in common.
type maildirOptions struct {
	dryRun, verbose, json, oneFileSystem bool
	jobs                                 string

	// What is chosen among the messages.
	folders, except              folderList
	daysIn                       termList
	keepFlagged, seenOnly, saved bool
	clock, rules, maxSize        string

	set *cli.Set // tells an empty argument, as of a variable that is not set, from none
}

// A folderList collects folders as they are given; getopt's own lists would split
// them at commas.
type folderList []maildir.Folder

func (l *folderList) String() string { return "" }

func (l *folderList) Set(name string, o getopt.Option) error {
	f, err := maildir.NewFolder(name)
	if err != nil {
		return fmt.Errorf("--%s: %s: %w", o.LongName(), name, err) // which getopt repeats
	}
	*l = append(*l, f)
	return nil
}

// A termList collects --days-in, NAME=N. A folder's name may have a = in it.
type termList []maildir.Term

func (l *termList) String() string { return "" }

func (l *termList) Set(s string, o getopt.Option) error {
	fail := func(err error) error { return fmt.Errorf("--%s: %s: %w", o.LongName(), s, err) }
	i := strings.LastIndexByte(s, '=')
	if i < 0 {
		return fail(errors.New("not NAME=N"))
	}
	f, err := maildir.NewFolder(s[:i])
	if err != nil {
		return fail(err)
	}
	days, err := settings.Number(s[i+1:], 0, settings.MaxDays)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", s[i+1:], err))
	}
	*l = append(*l, maildir.Term{Folder: f, Days: days})
	return nil
}

// newMaildirOptions returns the defaults.
func newMaildirOptions() maildirOptions {
	return maildirOptions{jobs: strconv.Itoa(maildir.DefaultJobs)}
}

func (o *maildirOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.jobs, "jobs", 'j')
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.oneFileSystem, "one-file-system", 'x')
	set.FlagLong(&o.folders, "folder", 0)
	set.FlagLong(&o.except, "except", 0)
	set.FlagLong(&o.daysIn, "days-in", 0)
	set.FlagLong(&o.keepFlagged, "keep-flagged", 0)
	set.FlagLong(&o.seenOnly, "seen-only", 0)
	set.FlagLong(&o.saved, "saved", 0)
	set.FlagLong(&o.clock, "by", 0)
	set.FlagLong(&o.rules, "rules", 0)
	set.FlagLong(&o.maxSize, "max-size", 0)
}

// chooses reports whether any option chooses among the messages.
func (o *maildirOptions) chooses() bool {
	return len(o.folders)+len(o.except)+len(o.daysIn) > 0 || o.keepFlagged || o.seenOnly || o.saved ||
		o.set.IsSet("by") || o.set.IsSet("rules") || o.set.IsSet("max-size")
}

// options checks what was given and returns the run's options, but for the days. Now
// is when the program started.
func (o *maildirOptions) options(now time.Time) (opt maildir.Options, err error) {
	opt = maildir.Options{
		DryRun: o.dryRun, Folders: o.folders, Except: o.except, Terms: o.daysIn,
		OneFileSystem: o.oneFileSystem, Sizes: o.json,
	}
	for i := range opt.Terms {
		opt.Terms[i].Before = maildir.Cutoff(now, opt.Terms[i].Days)
	}
	opt.Rule.KeepFlagged, opt.Rule.SeenOnly = o.keepFlagged, o.seenOnly
	clock := o.clock
	switch {
	case o.saved && o.set.IsSet("by") && clock != "saved":
		return opt, cli.Usagef("--saved means --by saved, and not --by %s", clock)
	case o.saved:
		clock = "saved"
	}
	if o.saved || o.set.IsSet("by") {
		i := slices.Index(maildir.Clocks, clock)
		if i < 0 {
			return opt, cli.Usagef("--by: %s: not one of %s", clock, strings.Join(maildir.Clocks, ", "))
		}
		opt.Rule.Clock = maildir.Clock(i)
	}
	if o.set.IsSet("rules") && o.rules == "" {
		return opt, cli.Usagef("--rules: the name of a file is empty")
	}
	if o.set.IsSet("max-size") {
		if opt.MaxSize, err = parseSize(o.maxSize); err != nil {
			return opt, cli.Usagef("--max-size: %s: %s", o.maxSize, err)
		}
	}
	opt.Jobs, err = cli.Number("--jobs", o.jobs, 1, maildir.MaxJobs)
	return opt, err
}

// maxBytes is the largest size of a Maildir that can be asked for: larger ones no
// quota tells (2^53).
const maxBytes = 1 << 53

// parseSize reads a number of bytes, or of KB, MB or GB of 1024.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	if s != "" {
		switch s[len(s)-1] | 0x20 {
		case 'k':
			unit = 1 << 10
		case 'm':
			unit = 1 << 20
		case 'g':
			unit = 1 << 30
		}
	}
	digits := s
	if unit > 1 {
		digits = s[:len(s)-1]
	}
	n, err := settings.Number(digits, 1, int(maxBytes/unit))
	return int64(n) * unit, err
}

// configure adds what kowaza.conf says, and reads the rules.
func (o *maildirOptions) configure(opt *maildir.Options, s *settings.Settings, now time.Time) (*rules.Rules, error) {
	opt.Inbox = s.Inbox
	opt.Trash = maildir.TrashQuota(slices.Index(maildir.TrashQuotas, s.QuotaTrash))
	file := o.rules
	if file == "" {
		file = s.Rules
	}
	switch {
	case file == "":
		return nil, nil
	case opt.Rule.All:
		return nil, fmt.Errorf("--all-files goes with no rules, and RULES is set to %s", file)
	}
	return rules.Read(file, os.Geteuid() == 0, now)
}

// A maildirRun is a pool at work over Maildirs, with its reports.
type maildirRun struct {
	env     *cli.Env
	opt     maildir.Options
	verbose bool
	json    bool
	folders bool         // a dry run tells of each folder in words
	rules   *rules.Rules // may be nil
	pool    *maildir.Pool

	// Of the pool's funcs, which are called one at a time.
	failed   bool
	maildirs int
	total    maildir.Stats
	place    func(t *maildir.Target) string                        // what like messages are about; see WarnLike
	passOver func(t *maildir.Target, path string, err error) bool  // what is no error here; may be nil
	explain  func(t *maildir.Target, path string, err error) error // adds what to do about it; may be nil
}

// newMaildirRun prepares a run; folders says that with -n and -v each folder is told
// of, as it is where there are rules.
func newMaildirRun(env *cli.Env, opt maildir.Options, o *maildirOptions, r *rules.Rules, folders bool) *maildirRun {
	run := &maildirRun{env: env, opt: opt, verbose: o.verbose, json: o.json, rules: r,
		folders: o.verbose && opt.DryRun && (folders || r != nil)}
	run.place = func(t *maildir.Target) string { return t.Path }
	run.opt.Failed = run.notDone
	run.opt.Done = run.done
	if run.json || run.folders {
		run.opt.Folder = run.folder
	}
	if opt.DryRun {
		env.OnlyShows = true
	}
	if opt.DryRun && !run.json {
		run.opt.Old = func(path string) { run.print([]byte(escape.String(path))) }
	}
	run.pool = maildir.NewPool(run.opt)
	return run
}

// print prints a line. Where nobody reads it, nobody reads the rest.
func (r *maildirRun) print(line []byte) {
	if _, err := r.env.Stdout.Write(append(line, '\n')); err != nil {
		r.pool.Stop()
	}
}

func (r *maildirRun) notDone(t *maildir.Target, path string, err error) {
	if r.passOver != nil && r.passOver(t, path, err) {
		return
	}
	r.failed = true
	var owner *maildir.OwnerError
	if errors.As(err, &owner) {
		err = nameOwner(r.env, owner)
	}
	if r.explain != nil {
		err = r.explain(t, path, err)
	}
	r.env.WarnLike(r.place(t), path, err)
}

func (r *maildirRun) done(t *maildir.Target, s maildir.Stats) {
	r.env.WarnedAll(t.Path)
	if !t.Begun() {
		return
	}
	if r.verbose {
		r.env.Warn("%s: %s", t.Path, summary(s, r.opt.DryRun))
	}
	r.maildirs++
	r.total.Add(s)
}

// folder tells of one folder: as JSON on standard output, and of a dry run in words.
func (r *maildirRun) folder(t *maildir.Target, f maildir.FolderStats) {
	line := ""
	switch {
	case f.Term == nil:
	case f.Term.Line == 0:
		line = "--days-in " + f.Term.Folder.Name + "=" + strconv.Itoa(f.Term.Days)
	default:
		line = r.rules.File + ":" + strconv.Itoa(f.Term.Line)
	}
	if r.json {
		r.printJSON(jsonFolder{User: escape.Text(t.User), Maildir: escape.Text(t.Path), Folder: escape.Text(f.Name),
			Rule: orNil(escape.Text(line)), jsonStats: newJSONStats(f.Stats)})
	}
	if !r.folders {
		return
	}
	why := ""
	switch {
	case line != "" && f.Term.Days < 0:
		why = ", kept by " + line
	case line != "":
		why = ", by " + line
	}
	r.env.Warn("%s: %s: %s%s", t.Path, f.Name, summary(f.Stats, true), why)
}

// jsonFolder is what --json says of a folder.
type jsonFolder struct {
	User    string  `json:"user"`
	Maildir string  `json:"maildir"`
	Folder  string  `json:"folder"`
	Rule    *string `json:"rule"` // what decided: FILE:LINE or --days-in NAME=N
	jsonStats
}

// jsonTotals is the last line of --json.
type jsonTotals struct {
	Maildirs int `json:"maildirs"`
	jsonStats
	Failed bool `json:"failed"`
}

// jsonStats are the sums of one folder, or of all. Sizes are in bytes.
type jsonStats struct {
	Messages     int64   `json:"messages"`
	Bytes        int64   `json:"bytes"`
	Removed      int64   `json:"removed"`
	RemovedBytes int64   `json:"removed_bytes"`
	Oldest       *string `json:"oldest"` // of the removed ones; RFC 3339, UTC
}

func newJSONStats(s maildir.Stats) jsonStats {
	j := jsonStats{Messages: s.Messages, Bytes: s.Size, Removed: s.Removed, RemovedBytes: s.Bytes}
	if s.Removed > 0 && s.Oldest.Sec >= firstYear && s.Oldest.Sec <= lastYear {
		j.Oldest = orNil(time.Unix(s.Oldest.Sec, 0).UTC().Format(time.RFC3339))
	}
	return j
}

func (r *maildirRun) printJSON(v any) {
	line, err := escape.JSON(v)
	if err != nil {
		r.failed = true
		r.env.Warn("%v", err)
		return
	}
	r.print(line)
}

// totals ends what --json says; err is what the run has come to.
func (r *maildirRun) totals(err error) error {
	if r.json {
		r.printJSON(jsonTotals{Maildirs: r.maildirs, jsonStats: newJSONStats(r.total), Failed: err != nil})
	}
	return err
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
// cleaned was not, or other mail was: that is an error.
func (r *maildirRun) missingFolders() error {
	var err error
	for _, f := range r.pool.Missing() {
		switch {
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

// The seconds between which a year has four digits, in any time zone.
const (
	firstYear = -62135596800 // the year 1
	lastYear  = 253402214400 // the year 9999
)

// date returns the day of s; a time that a calendar has no four digits for is
// before or after all of them.
func date(s maildir.Stamp) string {
	const format = "2006-01-02"
	switch t := time.Unix(s.Sec, 0); {
	case s.Sec < firstYear:
		return "before 0001-01-01"
	case s.Sec > lastYear:
		return "after 9999-12-30"
	default:
		return t.Format(format)
	}
}
