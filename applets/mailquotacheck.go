package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pborman/getopt/v2"
	"golang.org/x/sys/unix"

	"kowaza/internal/cli"
	"kowaza/internal/maildir"
	"kowaza/internal/settings"
)

var mailquotacheck = &cli.Applet{
	Name: "mailquotacheck",
	Help: `usage: mailquotacheck [-ahnv] [-m KB] [-q QUOTA] [-w N] [-x CODE] [MAILDIR]
Say whether a message has room in a Maildir, in a .qmail before ./Maildir/.

  -a, --all-files       count all files of the home directory, as du does
  -h, --help            show this help
  -m, --max-message KB  take no message over KB
      --no-trash        .Trash, and messages with the flag T, do not count
  -n, --dry-run         answer, and write nothing
  -q, --quota QUOTA     KB, a number with K, M or G, or as 10000000S,1000C
  -v, --verbose         say what there is, and the answer
      --version         print the version
  -w, --warn N          warn the user when N per cent are reached
  -x, --exit CODE       no room is CODE (100 or 111)

      --report          how much all users have; or USER... in place of MAILDIR:
  -j, --jobs N          count N Maildirs at once
      --json            an object a line
      --over N          only who has reached N per cent
      --recount         write each maildirsize anew
  -V, --virtual         USER is a virtual user's name

The limits stand in .quota and .maxmsgsize in the home directory, else in QUOTA.
Example, a line of a .qmail file: |/usr/local/bin/mailquotacheck
Settings: QUOTA, QUOTA_BUFFER, QUOTA_EXIT, QUOTA_TRASH, QUOTA_WARN and
QUOTA_MESSAGE in /etc/kowaza.conf; MAILDIR, and for --report those of
rmmail_virtual.
`,
	Options: func(set *getopt.Set) { new(quotaOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"CODE": "100 111"} },
	Run:     runMailquotacheck,
	Fail:    111, // qmail keeps the mail and tries again, qmail-command(8)
}

type quotaOptions struct {
	allFiles, noTrash, dryRun, verbose bool
	report, json, recount, virtual     bool
	maxMessage, quota, warn, exit      string
	jobs, over                         string

	set     *cli.Set
	limit   maildir.Quota // of quota
	largest int64         // of maxMessage, bytes
}

func (o *quotaOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.allFiles, "all-files", 'a')
	set.FlagLong(&o.maxMessage, "max-message", 'm')
	set.FlagLong(&o.noTrash, "no-trash", 0)
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.quota, "quota", 'q')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.warn, "warn", 'w')
	set.FlagLong(&o.exit, "exit", 'x')
	set.FlagLong(&o.report, "report", 0)
	set.FlagLong(&o.jobs, "jobs", 'j')
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.over, "over", 0)
	set.FlagLong(&o.recount, "recount", 0)
	set.FlagLong(&o.virtual, "virtual", 'V')
}

// A quotaCheck is one run of mailquotacheck, for one message or for a report.
type quotaCheck struct {
	env      *cli.Env
	opt      *quotaOptions
	settings *settings.Settings
	check    maildir.Check
	warn     int64 // per cent; 0: no warning
	full     int   // status where there is no room
}

func runMailquotacheck(env *cli.Env, argv []string) error {
	o := quotaOptions{jobs: strconv.Itoa(maildir.DefaultJobs)}
	set := cli.NewSet(argv, o.declare)
	o.set = set
	args, err := env.Parse(set, argv, 0, math.MaxInt)
	if err != nil {
		return err
	}
	if err := o.check(args); err != nil {
		return err
	}
	s, err := env.Settings()
	if err != nil {
		return err
	}
	q := &quotaCheck{env: env, opt: &o, settings: s, warn: int64(s.QuotaWarn), full: s.QuotaExit}
	q.check = maildir.Check{
		Buffer: int64(s.QuotaBuffer) << 10, DryRun: o.dryRun, Now: env.Now,
		NoTrash: o.noTrash || s.QuotaTrash == "no",
	}
	if set.IsSet("warn") {
		n, err := cli.Number("--warn", o.warn, 1, 100)
		if err != nil {
			return err
		}
		q.warn = int64(n)
	}
	if set.IsSet("exit") {
		if q.full, err = exitOption(o.exit, "100", "111"); err != nil {
			return err
		}
	}
	if o.report {
		return q.report(args)
	}
	return q.message(args)
}

// check looks at which options go together, and at their values.
func (o *quotaOptions) check(args []string) error {
	if !o.report {
		for _, name := range []string{"over", "recount", "json", "virtual", "jobs"} {
			if o.set.IsSet(name) {
				return cli.Usagef("--%s needs --report", name)
			}
		}
		if len(args) > 1 {
			return cli.Usagef("too many operands: %s", args[1])
		}
		if len(args) == 1 && args[0] == "" {
			return cli.Usagef("MAILDIR is empty")
		}
	}
	if o.set.IsSet("max-message") {
		var err error
		if o.largest, err = maildir.ParseKB(o.maxMessage); err != nil {
			return cli.Usagef("--max-message: %s: not a number of KB", o.maxMessage)
		}
	}
	if o.set.IsSet("quota") {
		var err error
		if o.limit, err = maildir.ParseQuota(o.quota); err != nil {
			return cli.Usagef("--quota: %s: %s", o.quota, err)
		}
	}
	switch {
	case o.allFiles && o.noTrash:
		return cli.Usagef("--all-files does not go with --no-trash")
	case o.allFiles && o.recount:
		return cli.Usagef("--all-files does not go with --recount")
	case o.recount && o.dryRun:
		return cli.Usagef("--recount does not go with --dry-run")
	}
	return nil
}

// A letter is the message on standard input.
type letter struct {
	size  int64 // bytes
	whole int64 // as it will lie in the Maildir
}

// smallMessage is up to what size, in bytes, mail may use the buffer.
const smallMessage = 1024

func (l letter) small() bool { return l.size <= smallMessage }

// message answers for the message on standard input.
func (q *quotaCheck) message(args []string) error {
	home, err := ownHome(q.env)
	if err != nil {
		return err
	}
	limit, err := q.limit(home)
	if err != nil {
		return err
	}
	l, err := q.letter()
	if err != nil {
		return err
	}
	largest, err := q.largest(home, limit)
	if err != nil {
		return err
	}
	if largest > 0 && l.size>>10 > largest>>10 {
		fmt.Fprintf(q.env.Stdout, "Sorry, this message has %d KB and this mailbox takes none over %d KB. (#5.2.3)\n", l.size>>10, largest>>10)
		return cli.Exit(100)
	}
	if q.opt.allFiles {
		return q.allFiles(home, limit, l)
	}
	dir := maildir.Home(home, q.settings.Maildir)
	if len(args) == 1 {
		dir = args[0]
	}
	box, err := maildir.OpenBox(dir)
	if err != nil {
		return err
	}
	defer box.Close()
	q.check.Quota = limit
	if (limit == maildir.Quota{}) {
		if q.opt.verbose {
			q.env.Warn("%s: no limit: room", dir)
		}
		return nil
	}
	if err := box.Lock(lockWait); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	a, err := box.Ask(&q.check, l.whole, l.small())
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	q.tell(dir, a.Usage, l, rooms[a.Room]+byCount(a.Counted))
	if q.warn > 0 && !q.opt.dryRun {
		if err := q.warnUser(box, dir, a, l); err != nil {
			q.env.Warn("%s: warning: %s", dir, cli.Describe(err))
		}
	}
	return q.answer(a.Room, q.takesSmall(a.Usage, l))
}

// lockWait is how long a check waits for those before it.
const lockWait = 30 * time.Second

// rooms are the answers as -v tells them.
var rooms = map[maildir.Room]string{maildir.HasRoom: "room", maildir.NoRoom: "no room", maildir.MayBeFull: "may be full"}

func byCount(yes bool) string {
	if yes {
		return ", counted"
	}
	return ""
}

// takesSmall reports whether there is still room for a small message where there is
// none for l.
func (q *quotaCheck) takesSmall(u maildir.Usage, l letter) bool {
	return !l.small() && q.check.Fits(u, smallMessage+l.whole-l.size, true)
}

// answer prints what the sender is told, and returns the status.
func (q *quotaCheck) answer(room maildir.Room, small bool) error {
	kind := '5'
	if q.full == 111 {
		kind = '4'
	}
	switch {
	case room == maildir.HasRoom:
		return nil
	case room == maildir.MayBeFull:
		io.WriteString(q.env.Stdout, "This mailbox may be full, trying again later. (#4.2.2)\n")
		return cli.Exit(111)
	case small:
		fmt.Fprintf(q.env.Stdout, "Sorry, this mailbox is full; mail of at most 1 KB is still taken. (#%c.2.2)\n", kind)
	default:
		fmt.Fprintf(q.env.Stdout, "Sorry, this mailbox is full. (#%c.2.2)\n", kind)
	}
	return cli.Exit(q.full)
}

// tell says under -v what there is, how large the message is and what the answer is.
func (q *quotaCheck) tell(dir string, u maildir.Usage, l letter, answer string) {
	if !q.opt.verbose {
		return
	}
	limit := q.check.Quota
	bytes := cli.Count(u.Bytes, "byte")
	if limit.Bytes > 0 {
		share, _ := maildir.Quota{Bytes: limit.Bytes}.Percent(u)
		bytes = fmt.Sprintf("%d of %d bytes (%d %%)", u.Bytes, limit.Bytes, share)
	}
	messages := cli.Count(u.Messages, "message")
	if limit.Messages > 0 {
		messages = fmt.Sprintf("%d of %d messages", u.Messages, limit.Messages)
	}
	q.env.Warn("%s: %s, %s, %d more: %s", dir, bytes, messages, l.whole, answer)
}

// letter finds out how large the message is. A file is not read, and its offset stays
// for the next line of the .qmail.
func (q *quotaCheck) letter() (letter, error) {
	r, size, err := messageOn(q.env.Stdin)
	if err == nil && size < 0 {
		if size, err = io.Copy(io.Discard, r); err != nil {
			err = &readError{err}
		}
	}
	if err != nil {
		return letter{}, err
	}
	// qmail-local puts these before the message, dot-qmail(5).
	whole := size + int64(len(q.env.Getenv("RPLINE"))+len(q.env.Getenv("DTLINE")))
	return letter{size, whole}, nil
}

// limit returns the quota of the user with that home directory.
func (q *quotaCheck) limit(home string) (maildir.Quota, error) {
	if q.opt.set.IsSet("quota") {
		return q.fitting(q.opt.limit, nil)
	}
	file := home + "/.quota"
	text, found, err := limitFile(file)
	if err != nil {
		return maildir.Quota{}, err
	}
	if !found {
		limit, err := maildir.ParseQuota(q.settings.Quota)
		return q.fitting(limit, err)
	}
	limit, err := maildir.ParseQuota(text)
	if err != nil {
		return limit, fmt.Errorf("%s: %s: %w", file, shortText(text), err)
	}
	if limit, err = q.fitting(limit, nil); err != nil {
		return limit, fmt.Errorf("%s: %w", file, err)
	}
	return limit, nil
}

// fitting refuses a limit that du cannot tell anything about.
func (q *quotaCheck) fitting(limit maildir.Quota, err error) (maildir.Quota, error) {
	if err == nil && q.opt.allFiles && limit.Messages > 0 {
		err = errors.New("--all-files does not go with a number of messages")
	}
	return limit, err
}

// largest returns the size of the largest message that is taken, in bytes; 0 is no
// limit.
func (q *quotaCheck) largest(home string, limit maildir.Quota) (int64, error) {
	if q.opt.set.IsSet("max-message") {
		return q.opt.largest, nil
	}
	file := home + "/.maxmsgsize"
	text, found, err := limitFile(file)
	if err != nil || !found {
		return limit.Bytes, err
	}
	size, err := maildir.ParseKB(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: not a number of KB", file, shortText(text))
	}
	return size, nil
}

// shortText is so much of a text that its owner knows it again.
func shortText(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// maxLimitFile bounds a .quota, in bytes.
const maxLimitFile = 4096

// limitFile reads a user's file with a limit; found is false where there is none.
func limitFile(name string) (text string, found bool, err error) {
	all, err := readSmall(name, maxLimitFile, "too large for a limit")
	switch text = strings.Trim(string(all), " \t\r\n"); {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, err
	case text == "":
		return "", false, fmt.Errorf("%s: empty", name)
	}
	return text, true, nil
}

// allFiles answers by what du -sk finds in the home directory, as the script did.
func (q *quotaCheck) allFiles(home string, limit maildir.Quota, l letter) error {
	if limit.Bytes == 0 {
		return nil
	}
	used, err := diskUsage(home)
	if err != nil {
		return err
	}
	kb, quota := used+l.size>>10, limit.Bytes>>10
	buffered := quota + int64(q.settings.QuotaBuffer)
	room := maildir.HasRoom
	if kb > buffered || kb > quota && !l.small() {
		room = maildir.NoRoom
	}
	if q.opt.verbose {
		q.env.Warn("%s: %d of %d KB, %d more: %s", home, used, quota, l.size>>10, rooms[room])
	}
	return q.answer(room, !l.small() && used+smallMessage>>10 <= buffered)
}

// diskUsage returns what "du -sk" says of a directory: the KB that all in it has on
// disk, rounded up, a file with several names once. No link is followed.
func diskUsage(dir string) (kb int64, err error) {
	type inode struct{ dev, ino uint64 }
	seen := make(map[inode]bool)
	var blocks int64 // of 512 bytes
	err = walkStat(dir, func(st *unix.Stat_t) {
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			k := inode{uint64(st.Dev), st.Ino}
			if seen[k] {
				return
			}
			seen[k] = true
		}
		blocks += st.Blocks
	})
	return (blocks + 1) / 2, err
}

// walkStat calls f with the state of the directory and of all below it.
func walkStat(dir string, f func(*unix.Stat_t)) error {
	var root unix.Stat_t
	if err := unix.Stat(dir, &root); err != nil { // HOME itself may be a link
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	f(&root)
	var walk func(dir string) error
	walk = func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			var st unix.Stat_t
			switch err := unix.Lstat(name, &st); {
			case err == unix.ENOENT:
				continue
			case err != nil:
				return &fs.PathError{Op: "lstat", Path: name, Err: err}
			}
			f(&st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if err := walk(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	}
	return walk(dir)
}
