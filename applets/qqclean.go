package applets

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/escape"
	"kowaza/internal/queue"
)

var qqclean = &cli.Applet{
	Name: "qqclean",
	Help: `usage: qqclean [-hnv] [-Q DIR] [-s DIR] [-w SECONDS] [--orphans] NUMBER... | -
Remove messages from qmail's queue; qmail-send must be stopped first.

      --alrm          with --live: tell qmail-send to look at all messages now
      --check         print what is damaged in the queue, change nothing; no
                      NUMBER
  -h, --help          show this help
      --json          with --check: in JSON, one object a line
      --live          while qmail-send runs: mark every recipient as done, and
                      leave the rest to it, when it next looks at the messages
  -n, --dry-run       print the files that would go, remove nothing; with
                      --repair: old and new numbers
      --orphans       pieces without a message go, too; without NUMBER, all such
  -Q, --queue DIR     the queue; default: queue in the directory QMAIL
      --repair        give each message the number of its inode, as a queue
                      that was copied or restored needs it; no NUMBER
  -s, --save DIR      first write each message to DIR: NUMBER.eml, NUMBER.json
  -v, --verbose       say what was done
      --version       print the version
  -w, --wait SECONDS  wait so long for qmail-send to end

NUMBER is what qmail-qread shows, 555 or #555; - reads numbers from standard
input. What is half received goes only when it is dead, after 36 hours.
Settings: QMAIL in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(qqcleanOptions).declare(set) },
	Values:  func() map[string]string { return map[string]string{"NUMBER": completion.Message} },
	Run:     runQqclean,
}

type qqcleanOptions struct {
	queueOptions
	verbose, orphans        bool
	examine, repair, asJSON bool
	queue, wait             string
}

func (o *qqcleanOptions) declare(set *getopt.Set) {
	set.FlagLong(&o.dryRun, "dry-run", 'n')
	set.FlagLong(&o.live, "live", 0)
	set.FlagLong(&o.alarm, "alrm", 0)
	set.FlagLong(&o.save, "save", 's')
	set.FlagLong(&o.verbose, "verbose", 'v')
	set.FlagLong(&o.orphans, "orphans", 0)
	set.FlagLong(&o.queue, "queue", 'Q')
	set.FlagLong(&o.wait, "wait", 'w')
	set.FlagLong(&o.examine, "check", 0)
	set.FlagLong(&o.repair, "repair", 0)
	set.FlagLong(&o.asJSON, "json", 0)
}

// whole checks the options of --check and --repair, which are about the queue and not
// about messages.
func (o *qqcleanOptions) whole(set *cli.Set, args []string) error {
	mode := "--check"
	if o.repair {
		mode = "--repair"
	}
	alone := []string{"live", "alrm", "save", "orphans"}
	switch {
	case o.examine && o.repair:
		return cli.Usagef("--check goes without --repair")
	case o.examine:
		alone = append(alone, "dry-run", "verbose", "wait")
	case o.repair:
		alone = append(alone, "json")
	case o.asJSON:
		return cli.Usagef("--json goes with --check")
	default:
		return nil
	}
	for _, name := range alone {
		if set.IsSet(name) {
			return cli.Usagef("%s goes without --%s", mode, name)
		}
	}
	if len(args) > 0 {
		return cli.Usagef("%s takes no operands: %s", mode, args[0])
	}
	return nil
}

// maxWait bounds --wait, in seconds: a day.
const maxWait = 86400

func runQqclean(env *cli.Env, argv []string) error {
	o := qqcleanOptions{wait: "0"}
	set := cli.NewSet(argv, o.declare)
	args, err := env.Parse(set, argv, 0, maxOperands)
	if err != nil {
		return err
	}
	if err := o.check(set.IsSet("save")); err != nil {
		return err
	}
	if err := o.whole(set, args); err != nil {
		return err
	}
	wait, err := cli.Number("--wait", o.wait, 0, maxWait)
	switch {
	case err != nil:
		return err
	case set.IsSet("queue") && o.queue == "":
		return cli.Usagef("--queue: empty name of a directory")
	case o.live && o.orphans:
		return cli.Usagef("--live goes without --orphans: pieces without a message are nobody's")
	case o.live && set.IsSet("wait"):
		return cli.Usagef("--live goes without --wait: it takes no lock")
	case len(args) == 0 && !o.orphans && !o.examine && !o.repair:
		return cli.Usagef("too few operands")
	}
	numbers, err := queueNumbers(env, args)
	if err != nil {
		return err
	}
	dir, err := queueDir(env, o.queue)
	if err != nil {
		return err
	}
	switch {
	case o.examine:
		return checkQueue(env, dir, o.asJSON)
	case o.repair:
		return repairQueue(env, dir, &o, time.Duration(wait)*time.Second)
	}
	q, err := openQueue(dir)
	if err != nil {
		return err
	}
	defer q.Close()
	r, err := newRemoval(env, q, o.queueOptions)
	if err != nil {
		return err
	}
	defer r.close()
	r.orphans = o.orphans
	c := &qqcleanRun{removal: r, dir: dir, numbers: numbers, all: len(args) == 0, verbose: o.verbose}
	return c.run(time.Duration(wait) * time.Second)
}

// maxOperands is more than a command line can hold.
const maxOperands = 1 << 30

// A qqcleanRun is one run of qqclean.
type qqcleanRun struct {
	*removal
	dir     string
	numbers *numberSet
	all     bool // all orphans
	verbose bool
	kinds   []string // of records, that were named
}

func (c *qqcleanRun) run(wait time.Duration) error {
	env, stop := c.env, make(chan struct{})
	signals := env.Catch(func() { close(stop) })
	progress := env.StartProgress(c.verbose, func() string {
		return cli.Count(c.removed.Load(), "message") + " " + c.gone()
	})
	err := c.clean(wait, stop)
	progress.Stop()
	if sig := signals.Stop(); sig != nil {
		env.WarnedAll(queuePlace)
		env.Warn("%s, %s %s", cli.Killed(*sig), cli.Count(c.removed.Load(), "message"), c.gone())
		return cli.Killed(*sig)
	}
	if err != nil {
		env.WarnedAll(queuePlace)
		return err
	}
	for _, n := range c.numbers.missing() {
		c.fail(n, c.notFound())
	}
	if c.verbose {
		env.Warn("%s %s, %s", cli.Count(c.removed.Load(), "message"), c.gone(), cli.Count(c.bytes, "byte"))
	}
	return c.finish()
}

func (c *qqcleanRun) gone() string {
	switch {
	case c.opt.live:
		return "marked as done"
	case c.opt.dryRun:
		return "would go"
	}
	return "removed"
}

// clean takes the lock, unless none is needed, and removes.
func (c *qqcleanRun) clean(wait time.Duration, stop <-chan struct{}) error {
	switch {
	case c.opt.dryRun:
		c.env.OnlyShows = true
		check := c.q.Check
		if c.few() {
			check = func() error { return c.q.CheckNumbers(c.numbers.order) }
		}
		if err := check(); err != nil {
			return err
		}
	case c.opt.live:
		if err := mustRun(c.q); err != nil {
			return err
		}
	default:
		lock, err := c.q.Lock(wait, stop)
		if err != nil {
			return stopFirst(c.q, err)
		}
		defer lock.Unlock()
		check := lock.Check
		if c.few() {
			check = func() error { return lock.CheckNumbers(c.numbers.order) }
		}
		if err := check(); err != nil {
			return err
		}
		c.lock = lock
	}
	c.odd()
	list := c.q.List
	if c.few() {
		list = func(l queue.Listing, each func(*queue.Message) bool) error {
			return c.q.ListNumbers(c.numbers.order, l, each)
		}
	}
	return list(queue.Listing{
		Keep: func(f queue.Found) bool {
			return c.numbers.has(f.Number) || c.all && f.State() == queue.Orphan
		},
		Header: c.saver != nil, // the subject is saved
		Failed: c.unreadable,
	}, func(m *queue.Message) bool {
		c.numbers.found(m.Number)
		c.one(m)
		select {
		case <-stop:
			return false
		default:
			return true
		}
	})
}

// stopFirst says of an ErrRunning what to do.
func stopFirst(q *queue.Queue, err error) error {
	if !errors.Is(err, queue.ErrRunning) {
		return err
	}
	if err := lockedByOther(q); err != nil {
		return err
	}
	return fmt.Errorf("%w: stop it first", err)
}

// maxFew is how many messages are looked up one by one: more are found sooner by
// reading the whole queue.
const maxFew = 256

// few reports whether the numbers asked for are so few that the rest of the queue
// is left alone.
func (c *qqcleanRun) few() bool { return !c.all && len(c.numbers.order) <= maxFew }

func (c *qqcleanRun) one(m *queue.Message) {
	if !c.remove(m) {
		return
	}
	if c.opt.dryRun {
		for _, path := range c.q.Pieces(m.Found) {
			fmt.Fprintln(c.env.Stdout, escape.String(c.dir+"/"+path))
		}
	}
	if c.verbose {
		c.env.Warn("%d: %s", m.Number, c.gone())
		c.unknownRecords(m)
	}
}

// unknownRecords names once each kind of record that only a patched qmail knows.
func (c *qqcleanRun) unknownRecords(m *queue.Message) {
	for _, r := range m.Other {
		kind := fmt.Sprintf("%s: record %c is of a kind that is not known here", r.Place, r.Text[0])
		if !slices.Contains(c.kinds, kind) {
			c.kinds = append(c.kinds, kind)
			c.env.Warn("%d: %s", m.Number, kind)
		}
	}
}

// queueNumbers reads the operands, and standard input where one is "-".
func queueNumbers(env *cli.Env, args []string) (*numberSet, error) {
	s := &numberSet{index: make(map[uint64]int)}
	input := false
	for _, arg := range args {
		if arg == "-" {
			input = true
			continue
		}
		if err := s.add(arg); err != nil {
			return nil, err
		}
	}
	if !input {
		return s, nil
	}
	r := bufio.NewScanner(env.Stdin)
	r.Split(bufio.ScanWords) // and what is too long to be one is no number
	for r.Scan() {
		if err := s.add(r.Text()); err != nil {
			return nil, err
		}
	}
	switch err := r.Err(); err {
	case nil:
		return s, nil
	case bufio.ErrTooLong:
		return nil, cli.Usagef("standard input: not a message number")
	default:
		return nil, &readError{err}
	}
}

// A numberSet holds the numbers that were asked for.
type numberSet struct {
	order []uint64
	index map[uint64]int // in order
	seen  []bool         // which were found, as order
}

// add takes 555 or #555.
func (s *numberSet) add(word string) error {
	n, err := parseMessageNumber(strings.TrimPrefix(word, "#"))
	if err != nil {
		return cli.Usagef("%s: not a message number", word)
	}
	if _, twice := s.index[n]; !twice {
		s.index[n] = len(s.order)
		s.order = append(s.order, n)
		s.seen = append(s.seen, false)
	}
	return nil
}

// parseMessageNumber reads decimal digits only: a number is an inode's, of up
// to 64 bits.
func parseMessageNumber(s string) (uint64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(s, 10, 64)
}

// has and found may be called by different goroutines.
func (s *numberSet) has(n uint64) bool {
	_, ok := s.index[n]
	return ok
}

func (s *numberSet) found(n uint64) {
	if i, ok := s.index[n]; ok {
		s.seen[i] = true
	}
}

// missing returns the numbers that were not found, in the order in which they
// were given.
func (s *numberSet) missing() []uint64 {
	var missing []uint64
	for i, n := range s.order {
		if !s.seen[i] {
			missing = append(missing, n)
		}
	}
	return missing
}
