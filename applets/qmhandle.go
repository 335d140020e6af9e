package applets

import (
	"errors"
	"fmt"
	"io"
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
List the messages in qmail's queue, and remove some.

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
      --dry-run     remove nothing, say what would go
      --help        show this help, as no option at all does
      --hold DIR    take the messages out of the queue, into DIR
      --json        lists and statistics in JSON, one object a line
      --live        while qmail-send runs: mark every recipient as done
      --now         have the messages tried as soon as qmail-send runs again
      --older-than AGE
                    remove messages older than AGE (90m, 12h, 3d, 2w); with -l,
                    -L, -R, -s, -N: list or count only those
      --recipient ADDR
                    remove messages with the envelope recipient ADDR; with -l,
                    -L, -R, -s, -N: list or count only those
      --release DIR give the messages in DIR back to qmail
      --save DIR    first write each message to DIR: NUMBER.eml, NUMBER.json
      --version     print the version

An argument stands in the same word as its letter. Options are done in order;
of several that remove, each removes what it chooses; with --bounce, --hold and
--now they only choose. RE is a regular expression as in re2(7). To change the
queue, qmail-send is stopped and started again by the commands QMAIL_STOP and
QMAIL_START. Settings: these and QMAIL in /etc/kowaza.conf.
`,
	Options: func(set *getopt.Set) { new(qmHandleOptions).declare(set) },
	Values:  map[string]string{"N": completion.Message},
	Run:     runQmHandle,
}

type qmHandleOptions struct {
	queueOptions
	json           bool
	age, recipient string
	bounce         string // its text
	due            bool
	hold, release  string             // directories
	values         map[string]*string // of the letters that have an argument
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
	set.FlagLong(&o.bounce, "bounce", 0).SetOptional()
	set.FlagLong(&o.due, "now", 0)
	set.FlagLong(&o.hold, "hold", 0)
	set.FlagLong(&o.release, "release", 0)
}

// scriptVersion is that of the Perl script whose options and output these are.
const scriptVersion = "1.3.4"

// A qmHandleRun is one run of qmHandle.
type qmHandleRun struct {
	*removal
	settings *settings.Settings
	stopped  chan struct{} // closed by a signal

	color, numbersOnly, json bool
	steps                    []step
	narrow                   []criterion // what lists are narrowed by

	mu          sync.Mutex  // guards lock where a signal may come
	sendStopped atomic.Bool // qmail-send ran and was told to end here
	restarted   sync.Once
	start       sync.Mutex  // guards started; held until the command is under way
	started     bool        // QMAIL_START was run
	quiet       atomic.Bool // standard output may be stuck
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
	q, err := openQueue(qmailDir(env, h.settings) + "/queue")
	if err != nil {
		return err
	}
	defer q.Close()
	if o.outcome != nil {
		if err := o.outcome.open(qmailDir(env, h.settings), o.hold); err != nil {
			return err
		}
		defer o.outcome.close()
	}
	if h.removal, err = newRemoval(env, q, o.queueOptions); err != nil {
		return err
	}
	defer h.close()
	signals := env.CatchAll(func() { close(h.stopped) }, h.atLast)
	err = h.run()
	if sig := signals.Stop(); sig != nil {
		env.WarnedAll(queuePlace)
		env.Warn("%s, %s removed", cli.Killed(*sig), cli.Count(h.removed.Load(), "message"))
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

// parse reads the options. What is wrong with one is found before anything is
// done.
func (h *qmHandleRun) parse(env *cli.Env, argv []string, o *qmHandleOptions) (saveSet bool, err error) {
	set := cli.NewSet(argv, o.declare)
	now := env.Now()
	var long []criterion
	lists := false
	_, err = env.ParseEach(set, argv, 0, 0, func(given getopt.Option) error {
		switch given.LongName() {
		case "older-than":
			c, err := olderThan(o.age, now)
			long = append(long, c)
			return err
		case "recipient":
			long = append(long, toRecipient(o.recipient))
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
	if lists || h.numbersOnly {
		h.narrow = long
	} else if len(long) > 0 {
		h.choose(long...)
	}
	if h.numbersOnly && !lists {
		h.steps = append(h.steps, step{run: func() error { return h.list(everything) }})
	}
	if err := o.setOutcome(set, env.Now); err != nil {
		return false, err
	}
	if o.outcome != nil && !h.chooses() {
		return false, cli.Usagef("%s goes with an option that chooses messages", o.outcome.option)
	}
	return set.IsSet("save"), nil
}

// chooses reports whether criteria choose messages.
func (h *qmHandleRun) chooses() bool {
	return slices.ContainsFunc(h.steps, func(s step) bool { return s.criteria != nil })
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
		if err := h.q.Check(); err != nil {
			return err
		}
	case h.opt.live:
		if err := mustRun(h.q); err != nil {
			return err
		}
	default:
		defer h.restart()
		if err := h.halt(); err != nil {
			return err
		}
		if err := h.lock.Check(); err != nil {
			return err
		}
	}
	var later []step
	for _, st := range h.steps {
		switch {
		case h.isStopped():
			return queue.ErrStopped
		case st.last && removes && h.sendStopped.Load():
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
	h.failed.Store(true)
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

var errNoStop = errors.New("qmail-send is running: set QMAIL_STOP and QMAIL_START in " + settings.File +
	" to the commands that stop and start it, or stop it first")

// halt takes the lock, and stops qmail-send if that has it.
func (h *qmHandleRun) halt() error {
	lock, err := h.q.Lock(0, h.stopped)
	if err == nil {
		h.hold(lock)
		h.say("Qmail isn't running... no need to stop it.\n")
		return nil
	}
	if !errors.Is(err, queue.ErrRunning) {
		return err
	}
	// Another run of ours is no reason to stop qmail-send, nor to start it then.
	if d, err := h.q.Daemon(); err == nil && slices.Contains(ourNames, d.Name) {
		return fmt.Errorf("the queue is locked by %s, process %d", d.Name, d.Pid)
	}
	if h.isStopped() {
		return queue.ErrStopped
	}
	if h.settings.QMailStop == "" || h.settings.QMailStart == "" {
		return errNoStop
	}
	h.say("Calling system script to terminate qmail...\n")
	h.sendStopped.Store(true) // or half so: restart finds out
	if err := h.command("QMAIL_STOP", h.settings.QMailStop, func() {}); err != nil {
		return err
	}
	lock, err = h.q.Lock(stopWait, h.stopped)
	stopped := errors.Is(err, queue.ErrStopped)
	if stopped {
		// What starts it finds it running as long as it is not through, and then
		// nothing would be.
		h.env.Warn("waiting for qmail-send to end, to start it again")
		lock, err = h.q.Lock(stopWait, nil)
	}
	switch {
	case errors.Is(err, queue.ErrRunning):
		return fmt.Errorf("QMAIL_STOP: %w after %v", err, stopWait)
	case err != nil:
		return err
	}
	h.hold(lock)
	if stopped {
		return queue.ErrStopped
	}
	return nil
}

func (h *qmHandleRun) hold(lock *queue.Lock) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lock = lock
}

// restart gives the lock back and starts qmail-send again, if it ran before.
func (h *qmHandleRun) restart() {
	h.restarted.Do(func() {
		locked := h.unlock()
		switch {
		case !h.sendStopped.Load():
			if locked {
				h.say("Qmail wasn't running when qmHandle was started, so it won't be restarted.\n")
			}
		case locked && h.runs():
			h.say("Qmail is already running again, so it won't be restarted.\n")
		default:
			h.say("Restarting qmail... ")
			h.childOutput() // where that is stuck, a signal starts qmail-send
			if err := h.startSend(); err != nil {
				h.say("\n")
				h.report(err)
				return
			}
			h.say("done (hopefully).\n")
		}
	})
}

// unlock gives the lock back. It reports whether it was ever taken: where it was
// not, a qmail-send that runs may be on its way to its end.
func (h *qmHandleRun) unlock() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return false
	}
	h.lock.Unlock()
	return true
}

// startSend runs QMAIL_START, once.
func (h *qmHandleRun) startSend() error {
	h.start.Lock()
	if h.started {
		h.start.Unlock()
		return nil
	}
	h.started = true
	return h.command("QMAIL_START", h.settings.QMailStart, h.start.Unlock)
}

// atLast is for a signal that comes again, while what is at hand does not end:
// qmail-send runs again before this process dies.
func (h *qmHandleRun) atLast() {
	h.quiet.Store(true)
	if h.sendStopped.Load() && !(h.unlock() && h.runs()) {
		h.report(h.startSend())
	}
}

func (h *qmHandleRun) runs() bool {
	runs, err := sendRuns(h.q)
	return err == nil && runs
}

// say prints what the script says.
func (h *qmHandleRun) say(format string, a ...any) {
	if !h.quiet.Load() {
		fmt.Fprintf(h.env.Stdout, format, a...)
	}
}

// shellBytes are those that make a command more than plain words.
const shellBytes = "|&;<>()$`\\\"'*?[]#~=%!{}\n"

// command runs one of the settings' commands, by the shell only where it needs
// one, and calls begun when it is under way. It is in a process group of its
// own: what a terminal sends to end qmHandle must not end what stops or starts
// qmail.
func (h *qmHandleRun) command(key, line string, begun func()) error {
	var argv []string
	if strings.ContainsAny(line, shellBytes) {
		argv = []string{"/bin/sh", "-c", line}
	} else {
		argv = strings.Fields(line)
	}
	if len(argv) == 0 {
		begun()
		return fmt.Errorf("%s: empty command", key)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout = h.childOutput()
	cmd.Stderr = fileOrNil(cli.FileOf(h.env.Stderr))
	err := cmd.Start()
	begun()
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", key, line, err)
	}
	return nil
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

// alarm is -a.
func (h *qmHandleRun) alarm() error {
	if h.opt.dryRun {
		return nil
	}
	if h.sendStopped.Load() {
		h.awaitStart()
	}
	return alarm(h.q)
}

// startWait is how long qmail-send may take to start before -a gives up: what
// starts it may return at once.
const startWait = 5 * time.Second

// awaitStart takes no lock to see whether somebody has it: just then qmail-send
// could not take it.
func (h *qmHandleRun) awaitStart() {
	up := func() bool {
		d, err := h.q.Daemon()
		return err == nil && !slices.Contains(ourNames, d.Name)
	}
	for end := time.Now().Add(startWait); !up() && time.Now().Before(end); {
		select {
		case <-h.stopped:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (h *qmHandleRun) version() error {
	h.say("qmHandle v%s (kowaza %s)\n", scriptVersion, cli.Version())
	return nil
}
