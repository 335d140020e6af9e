package applets

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pborman/getopt/v2"

	"kowaza/internal/cli"
	"kowaza/internal/completion"
	"kowaza/internal/queue"
	"kowaza/internal/settings"
)

var qmHandle = &cli.Applet{
	Name: "qmHandle",
	Help: `usage: qmHandle [-c] [-N] [--OPTION...] OPTION...
List and count the messages in qmail's queue, and remove some.

  -a                show all messages to qmail-send at once, to be tried now
  -l                list the messages, then statistics
  -L                list those with local recipients
  -R                list those with remote recipients
  -s                statistics
  -mN               show message N
  -dN               remove message N
  -fSENDER          remove messages from the envelope sender SENDER; -f: from <>
  -FRE              remove messages whose envelope sender matches RE
  -SRE              remove messages whose subject matches RE
  -hRE              remove messages with a header line that matches RE
  -HRE              the same, and case counts
  -bRE              remove messages with a body line that matches RE
  -BRE              the same, and case counts
  -xADDR            remove messages to ADDR, by the header: To, Cc, Bcc
  -XRE              remove messages whose To, Cc or Bcc matches RE
  -tRE              count the age of messages to remote recipients that match RE
                    from now on: they are tried more often and stay longer
  -D                remove all messages
  -V                print the version of the script that this stands for
  -c                colours
  -N                list numbers only; alone, those of -l
      --alrm        with --live: tell qmail-send to look at all messages now
      --bounce[=TEXT]
                    return the messages to their senders, TEXT being the reason
      --by WHAT     count messages by WHAT and by age: domain (of recipients to
                    come), sender, uid (of who injected them) or age alone
      --dry-run     remove nothing, say what would go
      --help        show this help, as no option at all does
      --hold DIR    take the messages out of the queue, into DIR
      --json        lists and statistics in JSON, one object a line
      --live        while qmail-send runs: mark every recipient as done
      --now         have the messages tried as soon as qmail-send runs again
      --older-than AGE
                    only messages older than AGE (90m, 12h, 3d, 2w), whether
                    they are listed, counted or removed; alone: remove those
      --queue DIR   the queue, or several; default: queue in the directory QMAIL
      --recipient ADDR
                    only messages with the envelope recipient ADDR, likewise
      --release DIR give the messages in DIR back to qmail
      --save DIR    first write each message to DIR: NUMBER.eml, NUMBER.json
      --top ROWS    only the first ROWS rows of --by
      --version     print the version

An argument stands in the same word as its letter. Options are done in order;
of several letters that remove, each removes what it chooses; with --bounce,
--hold and --now they only choose. RE is a regular expression as in re2(7). To
change the queue, qmail-send is stopped and started again by the commands
QMAIL_STOP and QMAIL_START. Settings: these and QMAIL in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(qmHandleOptions).declare(set) },
	Values: func() map[string]string {
		return map[string]string{"N": completion.Message, "WHAT": strings.Join(byNames, " ")}
	},
	Run: runQmHandle,
}

type qmHandleOptions struct {
	queueOptions
	json                  bool
	age, recipient, queue string
	bounce                string // its text
	due                   bool
	hold, release         string // directories
	shapeOptions
	values map[string]*string // of the letters that have an argument
}

func (o *qmHandleOptions) declare(set *getopt.Set) {
	for _, c := range plainLetters {
		set.Flag(new(bool), c)
	}
	o.values = make(map[string]*string)
	for _, c := range argumentLetters {
		v := new(string)
		set.Flag(v, c).SetOptional()
		o.values[string(c)] = v
	}
	set.FlagLong(&o.dryRun, "dry-run", 0)
	set.FlagLong(&o.json, "json", 0)
	set.FlagLong(&o.live, "live", 0)
	set.FlagLong(&o.alarm, "alrm", 0)
	set.FlagLong(&o.save, "save", 0)
	set.FlagLong(&o.age, "older-than", 0)
	set.FlagLong(&o.recipient, "recipient", 0)
	set.FlagLong(&o.queue, "queue", 0)
	set.FlagLong(&o.by, "by", 0)
	set.FlagLong(&o.top, "top", 0)
	set.FlagLong(&o.bounce, "bounce", 0).SetOptional()
	set.FlagLong(&o.due, "now", 0)
	set.FlagLong(&o.hold, "hold", 0)
	set.FlagLong(&o.release, "release", 0)
}

// scriptVersion is that of the Perl script whose options and output these are.
const scriptVersion = "1.3.4"

// A qmHandleRun is one run of qmHandle.
type qmHandleRun struct {
	env      *cli.Env
	opt      queueOptions
	settings *settings.Settings
	stopped  chan struct{} // closed by a signal

	dirs     []string // of the queues, where --queue names some
	queues   []*handled
	*handled // the queue at hand

	color, numbersOnly, json bool
	steps                    []step
	narrow                   []narrowing // what all steps are narrowed by
	top                      int         // the rows of --by; 0: all

	mu        sync.Mutex // guards told and each queue's lock where a signal may come
	told      []*handled // where qmail-send ran and was told to end here
	restarted sync.Once
	start     sync.Mutex  // guards started; held until the command is under way
	started   bool        // QMAIL_START was run
	quiet     atomic.Bool // standard output may be stuck
}

// A step is done in its turn: run, or the removal of what criteria choose.
type step struct {
	run      func() error
	criteria []criterion
	last     bool // after qmail-send has been started again
	changes  bool // the times of messages
}

// The options of the script: those without an argument and those with one.
const (
	plainLetters    = "alLRscNDV"
	argumentLetters = "mdfFShHbBxXt"
)

func runQmHandle(env *cli.Env, argv []string) error {
	h := &qmHandleRun{stopped: make(chan struct{})}
	var o qmHandleOptions
	saveSet, err := h.parse(env, argv, &o)
	if err != nil {
		return err
	}
	if err := o.check(saveSet); err != nil {
		return err
	}
	if len(h.steps) == 0 {
		return cli.Usagef("nothing to do: no option that lists or removes")
	}
	if h.settings, err = env.Settings(); err != nil {
		return err
	}
	h.env, h.opt = env, o.queueOptions
	if o.outcome != nil {
		if err := o.outcome.open(qmailDir(env, h.settings), o.hold); err != nil {
			return err
		}
		defer o.outcome.close()
	}
	defer h.close()
	if err := h.open(); err != nil {
		return err
	}
	signals := env.CatchAll(func() { close(h.stopped) }, h.atLast)
	err = h.run()
	if sig := signals.Stop(); sig != nil {
		env.WarnedAll(queuePlace)
		env.Warn("%s, %s removed", cli.Killed(*sig), cli.Count(h.gone(), "message"))
		if err != nil && !errors.Is(err, queue.ErrStopped) && !errors.Is(err, cli.ErrReported) {
			env.Warn("%s", cli.Describe(err))
		}
		return cli.Killed(*sig)
	}
	if err != nil {
		env.WarnedAll(queuePlace)
		return err
	}
	return h.finish()
}

// open opens the queues.
func (h *qmHandleRun) open() error {
	qmail := qmailDir(h.env, h.settings)
	dirs := h.dirs
	if len(dirs) == 0 {
		dirs = []string{qmail + "/queue"}
	}
	for _, n := range h.narrow {
		if n.prefixed == nil {
			continue
		}
		var err error
		if *n.prefixed, err = virtualDomains(qmail + "/control/virtualdomains"); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		q, err := openQueue(dir)
		if err != nil {
			return err
		}
		r, err := newRemoval(h.env, q, h.opt)
		if err != nil {
			q.Close()
			return err
		}
		if len(dirs) > 1 {
			r.name = dir
		}
		h.queues = append(h.queues, &handled{removal: r})
	}
	h.handled = h.queues[0]
	return nil
}

func (h *qmHandleRun) close() {
	for _, r := range h.queues {
		r.close()
		r.q.Close()
	}
}

// each does the same in every queue, until an error.
func (h *qmHandleRun) each(do func() error) error {
	for _, h.handled = range h.queues {
		if err := do(); err != nil || h.isStopped() {
			return err
		}
	}
	return nil
}

// missing says that a number was in no queue, as far as they could be read.
func (h *qmHandleRun) missing(n uint64) {
	why := queue.ErrNotFound
	for _, r := range h.queues {
		if err := r.notFound(); err != queue.ErrNotFound {
			why = err
		}
	}
	h.failed.Store(true)
	h.env.WarnLike(queuePlace, fmt.Sprint(n), why)
}

// gone returns how many messages were removed.
func (h *qmHandleRun) gone() (n int64) {
	for _, r := range h.queues {
		n += r.removed.Load()
	}
	return n
}

// finish says what is left to be said.
func (h *qmHandleRun) finish() error {
	var last error
	for _, r := range h.queues {
		if err := r.finish(); err != nil && (last == nil || last == cli.ErrReported) {
			last = err
		}
	}
	return last
}

// parse reads the options. What is wrong with one is found before anything is
// done.
func (h *qmHandleRun) parse(env *cli.Env, argv []string, o *qmHandleOptions) (saveSet bool, err error) {
	set := cli.NewSet(argv, o.declare)
	now := env.Now()
	lists := false
	_, err = env.ParseEach(set, argv, 0, 0, func(given getopt.Option) error {
		switch given.LongName() {
		case "older-than":
			n, err := olderThan(o.age, now)
			h.narrow = append(h.narrow, n)
			return err
		case "recipient":
			h.narrow = append(h.narrow, toRecipient(o.recipient))
			return nil
		case "by":
			s, err := h.byStep(o.by)
			h.steps, lists = append(h.steps, s), true
			return err
		case "top":
			var err error
			h.top, err = cli.Number("--top", o.top, 1, math.MaxInt32)
			return err
		case "queue":
			if o.queue == "" {
				return cli.Usagef("--queue: empty name of a directory")
			}
			h.dirs = append(h.dirs, o.queue)
			return nil
		case "release":
			return h.addRelease(o.release)
		case "":
		default:
			return nil
		}
		letter := strings.TrimPrefix(given.ShortName(), "-")
		lists = lists || strings.Contains("lLRs", letter)
		argument := ""
		if v := o.values[letter]; v != nil {
			argument, *v = *v, ""
		}
		return h.letter(letter, argument)
	})
	if err != nil {
		return false, err
	}
	h.json = o.json
	if len(argv) == 1 {
		env.ShowHelp()
		return false, cli.ErrDone
	}
	switch {
	case h.top > 0 && !set.IsSet("by"):
		return false, cli.Usagef("--top goes with --by")
	case h.numbersOnly && !lists:
		h.steps = append(h.steps, step{run: func() error { return h.list(everything) }})
	case len(h.narrow) > 0 && !lists && !h.chooses():
		h.choose(h.narrowOnly())
	}
	if err := o.setOutcome(set, env.Now); err != nil {
		return false, err
	}
	if o.outcome != nil && !slices.ContainsFunc(h.steps, func(s step) bool { return s.criteria != nil }) {
		return false, cli.Usagef("%s goes with an option that chooses messages", o.outcome.option)
	}
	return set.IsSet("save"), nil
}

// chooses reports whether an option does anything with messages that it chooses.
func (h *qmHandleRun) chooses() bool {
	return slices.ContainsFunc(h.steps, func(s step) bool { return s.criteria != nil || s.changes })
}

// letter takes one of the script's options.
func (h *qmHandleRun) letter(letter, argument string) error {
	if argument == "" && strings.Contains(argumentLetters, letter) && letter != "f" {
		return cli.Usagef("-%s: its argument must stand in the same word", letter)
	}
	do := func(run func() error) { h.steps = append(h.steps, step{run: run}) }
	switch letter {
	case "c":
		h.color = true
	case "N":
		h.numbersOnly = true
	case "a":
		h.steps = append(h.steps, step{run: h.alarm, last: true})
	case "V":
		do(h.version)
	case "l":
		do(func() error { return h.list(everything) })
	case "L":
		do(func() error { return h.list(localOnly) })
	case "R":
		do(func() error { return h.list(remoteOnly) })
	case "s":
		do(h.statistics)
	case "m":
		n, err := parseMessageNumber(argument)
		if err != nil {
			return cli.Usagef("-m: %s: not a message number", argument)
		}
		do(func() error { return h.show(n) })
	case "t":
		re, err := compile("t", argument, "")
		if err != nil {
			return err
		}
		h.steps = append(h.steps, step{run: func() error { return h.renew(re, argument) }, changes: true})
	default:
		c, err := newCriterion(letter, argument)
		if err != nil {
			return err
		}
		h.choose(c)
	}
	return nil
}

// choose adds criteria of removal. Those that follow each other are one step.
func (h *qmHandleRun) choose(c ...criterion) {
	if n := len(h.steps); n > 0 && h.steps[n-1].criteria != nil {
		h.steps[n-1].criteria = append(h.steps[n-1].criteria, c...)
		return
	}
	h.steps = append(h.steps, step{criteria: c})
}

// run does all steps, with qmail-send stopped where one of them removes.
func (h *qmHandleRun) run() error {
	removes := false
	for _, s := range h.steps {
		removes = removes || s.criteria != nil
	}
	switch {
	case !removes:
		h.env.OnlyShows = !h.changes()
	case h.opt.dryRun:
	case h.opt.live:
		if err := h.each(func() error { return h.inQueue(mustRun(h.q)) }); err != nil {
			return err
		}
	default:
		defer h.restart()
		if err := h.halt(); err != nil {
			return err
		}
	}
	if removes && !h.opt.live {
		if err := h.each(h.check); err != nil {
			return err
		}
	}
	h.each(func() error {
		h.odd()
		return nil
	})
	var later []step
	for _, st := range h.steps {
		switch {
		case h.isStopped():
			return queue.ErrStopped
		case st.last && len(h.wasTold()) > 0:
			later = append(later, st)
		case st.criteria != nil:
			h.report(h.remove(st.criteria))
		default:
			h.report(st.run())
		}
	}
	h.restart()
	for _, st := range later {
		h.report(st.run())
	}
	return nil
}

// changes reports whether a step that removes nothing changes something all the same.
func (h *qmHandleRun) changes() bool {
	for _, s := range h.steps {
		if s.changes || s.last {
			return true
		}
	}
	return false
}

// report says what ended a step. The next one is still done.
func (h *qmHandleRun) report(err error) {
	if err == nil {
		return
	}
	h.queues[0].failed.Store(true) // whichever is at hand: a signal may say it
	if !errors.Is(err, cli.ErrReported) && !errors.Is(err, cli.ErrOutput) {
		h.env.Warn("%s", cli.Describe(err))
	}
}

func (h *qmHandleRun) isStopped() bool {
	select {
	case <-h.stopped:
		return true
	default:
		return false
	}
}

// stopWait is how long qmail-send may take to end: a delivery that is under way
// is ended first, and SMTP has long timeouts (qmail-remote: 20 minutes). Tests
// wait less.
var stopWait = 30 * time.Minute

// sayWait is how long that goes without a word.
const sayWait = 5 * time.Second

var errNoStop = errors.New("qmail-send is running: set QMAIL_STOP and QMAIL_START in " + settings.File +
	" to the commands that stop and start it, or stop it first")

// halt takes the locks, and stops qmail-send if that has one.
func (h *qmHandleRun) halt() error {
	var running []*handled
	for _, r := range h.queues {
		lock, err := r.q.Lock(0, h.stopped)
		if err == nil {
			h.hold(r, lock)
			continue
		}
		if !errors.Is(err, queue.ErrRunning) {
			return r.inQueue(err)
		}
		// Nobody else is a reason to stop qmail-send, nor to start it then.
		if err := lockedByOther(r.q); err != nil {
			return r.inQueue(err)
		}
		r.send, _ = r.q.Daemon()
		running = append(running, r)
	}
	switch {
	case len(running) == 0:
		h.say("Qmail isn't running... no need to stop it.\n")
		return nil
	case h.isStopped():
		return queue.ErrStopped
	case h.settings.QMailStop == "" || h.settings.QMailStart == "":
		return errNoStop
	}
	h.say("Calling system script to terminate qmail...\n")
	h.mu.Lock()
	h.told = running // or half so: restart finds out
	h.mu.Unlock()
	begun, stopErr := h.command("QMAIL_STOP", h.settings.QMailStop, func() {})
	switch {
	case stopErr != nil && !begun: // nobody was told anything
		h.mu.Lock()
		h.told = nil
		h.mu.Unlock()
		return stopErr
	case stopErr != nil:
		// It may have given up waiting, as sv(8) does after 7 seconds, and
		// qmail-send ends all the same: started before that, it would not run.
		h.report(stopErr)
	}
	for _, r := range running {
		if err := h.awaitEnd(r, stopErr != nil); err != nil {
			return err
		}
	}
	return nil
}

// awaitEnd waits until the qmail-send that was told to end has done so, and takes
// its lock.
func (h *qmHandleRun) awaitEnd(r *handled, failed bool) error {
	begin, stop, said := time.Now(), h.stopped, false
	for end := begin.Add(stopWait); ; {
		if wait := time.Since(begin); !said && (failed && wait > 0 || wait > sayWait) {
			said = true
			if _, held := r.holder(); held {
				h.sayWaiting(r, failed)
			}
		}
		lock, err := r.q.Lock(min(lockLook, time.Until(end)), stop)
		switch {
		case err == nil:
			h.hold(r, lock)
			if stop == nil {
				return queue.ErrStopped
			}
			return nil
		case errors.Is(err, queue.ErrStopped) && stop != nil:
			// What starts it finds it running as long as it is not through, and then
			// nothing would be.
			h.env.Warn("waiting for qmail-send to end, to start it again")
			begin, stop, said = time.Now(), nil, true
			end = begin.Add(stopWait)
			continue
		case !errors.Is(err, queue.ErrRunning):
			return err
		}
		switch d, err := r.q.Daemon(); {
		case err != nil || !d.IsSend() || d.Same(r.send):
		case r.send.Pid == 0:
			r.send = d
		default:
			// What supervises it does not know that it is to stay down: the lock will
			// not be free in half an hour either.
			return fmt.Errorf("QMAIL_STOP: %s: qmail-send ended, and process %d runs in its place: the command must keep it down", h.settings.QMailStop, d.Pid)
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("QMAIL_STOP: %w after %v", queue.ErrRunning, stopWait)
		}
	}
}

// lockLook is how often it is looked who has the lock that is waited for.
const lockLook = 500 * time.Millisecond

func (h *qmHandleRun) sayWaiting(r *handled, failed bool) {
	who := "qmail-send"
	if r.send.Pid != 0 {
		who = fmt.Sprintf("%s, process %d,", r.send.Name, r.send.Pid)
	}
	if failed {
		h.env.Warn("waiting up to %v for %s to end", stopWait, who)
		return
	}
	h.say("Waiting up to %v for %s to end...\n", stopWait, who)
}

func (h *qmHandleRun) hold(r *handled, lock *queue.Lock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.lock, r.took = lock, true
}

// wasTold returns the queues whose qmail-send was told to end.
func (h *qmHandleRun) wasTold() []*handled {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told
}

// restart gives the locks back and starts qmail-send again, if it ran before.
func (h *qmHandleRun) restart() {
	h.restarted.Do(func() {
		locked := h.unlock()
		told := h.wasTold()
		switch {
		case len(told) == 0:
			if locked {
				h.say("Qmail wasn't running when qmHandle was started, so it won't be restarted.\n")
			}
		case !slices.ContainsFunc(told, func(r *handled) bool { return !r.up() }):
			h.say("Qmail is already running again, so it won't be restarted.\n")
		default:
			h.say("Restarting qmail... ")
			h.childOutput() // where that is stuck, a signal starts qmail-send
			var err error
			for range maxStarts {
				h.awaitFree()
				if err = h.startSend(); err == nil {
					err = h.awaitStart()
				}
				if !errors.Is(err, errOther) {
					break
				}
				h.start.Lock()
				h.started = false
				h.start.Unlock()
			}
			if err != nil {
				h.say("\n")
				h.report(err)
				return
			}
			h.say("done (hopefully).\n")
		}
	})
}

// unlock gives the locks back. It reports whether there were all.
func (h *qmHandleRun) unlock() (all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all = true
	for _, r := range h.queues {
		if r.took {
			if slices.Contains(h.told, r) { // else nobody waits for that program
				r.awaited = r.awaited || r.q.Awaited()
			}
			r.lock.Unlock()
		}
		all = all && r.took
	}
	return all
}

// awaitFree waits while another program has a lock, as one that waited for ours may:
// a qmail-send that is started now would find it and end.
func (h *qmHandleRun) awaitFree() {
	for _, r := range h.wasTold() {
		for begin, said := time.Now(), false; time.Since(begin) < stopWait; time.Sleep(100 * time.Millisecond) {
			d, err := r.q.Daemon()
			if err != nil && r.awaited && !said && time.Since(begin) < wakeWait {
				continue // who waited has not woken up
			}
			if err != nil || d.IsSend() {
				break
			}
			if !said {
				said = true
				h.env.Warn("waiting up to %v for %s, process %d, to unlock the queue, to start qmail-send again", stopWait, d.Name, d.Pid)
			}
		}
	}
}

// wakeWait is how long a program that waited for the lock may take to have it.
const wakeWait = 2 * time.Second

// maxStarts is how often QMAIL_START is run where another program got the lock just
// before qmail-send.
const maxStarts = 3

// errOther says that the lock is another program's.
var errOther = errors.New("and qmail-send does not run")

// startSend runs QMAIL_START, unless a signal has done so already.
func (h *qmHandleRun) startSend() error {
	h.start.Lock()
	if h.started {
		h.start.Unlock()
		return nil
	}
	h.started = true
	_, err := h.command("QMAIL_START", h.settings.QMailStart, h.start.Unlock)
	return err
}

// startWait is how long qmail-send may take to have its lock: what starts it may
// return at once. It is taken before the queue is read, however large that is
// (qmail-send.c). Tests wait less.
var startWait = 10 * time.Second

// awaitStart waits until qmail-send runs, wherever it was told to end. A look in
// /proc takes no lock: just then qmail-send could not take it.
func (h *qmHandleRun) awaitStart() error {
	end := time.Now().Add(startWait)
	for _, r := range h.wasTold() {
		for !r.up() && lockedByOther(r.q) == nil && time.Now().Before(end) {
			time.Sleep(100 * time.Millisecond)
		}
		d, held := r.holder()
		switch {
		case r.up() || held && d.Pid == 0 && r.took: // by one that cannot be seen, as in a container
		case held && d.Same(r.send):
			return r.inQueue(fmt.Errorf("qmail-send, process %d, has not ended yet: if it does, see that it runs again", d.Pid))
		case held && d.Pid != 0:
			return r.inQueue(fmt.Errorf("QMAIL_START: %s: the queue is locked by %s, process %d, %w", h.settings.QMailStart, d.Name, d.Pid, errOther))
		case held:
			return r.inQueue(errors.New("it cannot be seen whether qmail-send has ended: if it does, see that it runs again"))
		default:
			return r.inQueue(fmt.Errorf("QMAIL_START: %s: qmail-send does not run %v later", h.settings.QMailStart, startWait))
		}
	}
	return nil
}

// atLast is for a signal that comes again, while what is at hand does not end:
// qmail-send runs again before this process dies.
func (h *qmHandleRun) atLast() {
	h.quiet.Store(true)
	told := h.wasTold()
	h.unlock()
	if !slices.ContainsFunc(told, func(r *handled) bool { return !r.up() }) {
		return
	}
	h.report(h.startSend())
	for _, r := range told {
		if d, err := r.q.Daemon(); err == nil && d.Same(r.send) {
			h.env.Warn("qmail-send, process %d, has not ended yet: when it does, see that it runs again", d.Pid)
		}
	}
}

// A handled is a queue and what qmHandle knows of its qmail-send.
type handled struct {
	*removal
	send queue.Daemon // that ran at first; zero: none, or it could not be seen
	took bool         // the lock was taken

	awaited bool // and another program waited for it when it was given back
}

// up reports whether a qmail-send runs that was not told to end.
func (r *handled) up() bool {
	d, err := r.q.Daemon()
	return err == nil && d.IsSend() && !d.Same(r.send) && (r.took || r.send.Pid != 0)
}

// holder reports whether the queue is locked, and by whom: the zero Daemon where
// that cannot be seen.
func (r *handled) holder() (queue.Daemon, bool) {
	if d, err := r.q.Daemon(); err == nil {
		return d, true
	}
	runs, err := sendRuns(r.q)
	return queue.Daemon{}, err == nil && runs
}

// say prints what the script says.
func (h *qmHandleRun) say(format string, a ...any) {
	if !h.quiet.Load() {
		fmt.Fprintf(h.env.Stdout, format, a...)
	}
}

// shellBytes are those that make a command more than plain words.
const shellBytes = "|&;<>()$`\\\"'*?[]#~=%!{}\n"

// commandWords returns the program that runs one of the settings' commands, and its
// arguments: the shell only where that is needed.
func commandWords(line string) []string {
	if strings.ContainsAny(line, shellBytes) {
		return []string{"/bin/sh", "-c", line}
	}
	return strings.Fields(line)
}

// command runs one of the settings' commands, and calls under when it is under way, or
// cannot be; begun tells which. It is in a process group of its own: what a terminal sends
// to end qmHandle must not end what stops or starts qmail.
func (h *qmHandleRun) command(key, line string, under func()) (begun bool, err error) {
	argv := commandWords(line)
	if len(argv) == 0 {
		under()
		return false, fmt.Errorf("%s: empty command", key)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout = h.childOutput()
	cmd.Stderr = fileOrNil(cli.FileOf(h.env.Stderr))
	err = cmd.Start()
	begun = err == nil
	under()
	if begun {
		err = cmd.Wait()
	}
	if err != nil {
		return begun, fmt.Errorf("%s: %s: %w", key, line, err)
	}
	return begun, nil
}

// childOutput returns what a child gets of standard output: nothing where nobody
// takes it any more.
func (h *qmHandleRun) childOutput() io.Writer {
	if h.quiet.Load() {
		return nil
	}
	return fileOrNil(h.env.Stdout.Child())
}

// fileOrNil gives a child the descriptor itself, or nothing.
func fileOrNil(f *os.File) io.Writer {
	if f == nil {
		return nil
	}
	return f
}

// alarm is -a. Where qmail-send was stopped here, it is done when that runs again.
func (h *qmHandleRun) alarm() error {
	if h.opt.dryRun {
		return nil
	}
	return h.each(func() error {
		h.report(h.inQueue(alarm(h.q)))
		return nil
	})
}

func (h *qmHandleRun) version() error {
	h.say("qmHandle v%s (kowaza %s)\n", scriptVersion, cli.Version())
	return nil
}
