package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/queue"
)

// queueOptions are what qqclean and qmHandle have in common.
type queueOptions struct {
	dryRun bool
	live   bool
	alarm  bool
	save   string // directory; empty: nothing is saved

	outcome *outcome // in the place of a removal; nil: messages are removed
}

func (o *queueOptions) check(saveSet bool) error {
	switch {
	case o.alarm && !o.live:
		return cli.Usagef("--alrm goes with --live")
	case saveSet && o.save == "":
		return cli.Usagef("--save: empty name of a directory")
	}
	return nil
}

// A removal removes messages from a queue, one after the other.
type removal struct {
	env     *cli.Env
	opt     queueOptions
	now     time.Time
	orphans bool // pieces without a message go, too

	q     *queue.Queue
	name  string       // of the queue, where there are several
	lock  *queue.Lock  // nil in a dry run and with --live
	saver *queue.Saver // nil: nothing is saved

	removed atomic.Int64
	bytes   int64
	failed  atomic.Bool
	unread  atomic.Bool // some part of the queue was not read
}

// newRemoval opens what a removal needs beside the lock.
func newRemoval(env *cli.Env, q *queue.Queue, opt queueOptions) (*removal, error) {
	r := &removal{env: env, opt: opt, q: q, now: env.Now()}
	if opt.save != "" && !opt.dryRun {
		var err error
		if r.saver, err = queue.NewSaver(opt.save); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *removal) close() {
	if r.saver != nil {
		r.saver.Close()
	}
}

// remove removes a message: not before it was saved, if it is to be. It tells
// whether that was done.
func (r *removal) remove(m *queue.Message) bool {
	var err error
	if r.opt.dryRun || r.saver != nil {
		err = r.may(m)
	}
	if err == nil && r.saver != nil {
		err = r.saver.Save(r.q, m)
	}
	switch {
	case err != nil || r.opt.dryRun:
	case r.opt.outcome != nil:
		err = r.opt.outcome.do(r.lock, m)
	case r.opt.live:
		err = r.q.MarkDone(m)
	default:
		err = r.lock.Remove(m, r.now, r.orphans)
	}
	if err != nil {
		r.fail(m.Number, err)
		return false
	}
	r.removed.Add(1)
	r.bytes += m.Size
	return true
}

// may reports whether the message may go, before it is saved.
func (r *removal) may(m *queue.Message) error {
	if r.opt.outcome != nil {
		return r.q.MayEnd(m)
	}
	if r.opt.live {
		if len(m.Problems) > 0 { // MarkDone would refuse it
			return m.Problems[0]
		}
		return r.q.MayMark(m)
	}
	return r.q.MayRemove(m, r.now, r.orphans)
}

// fail reports that a message could not be removed.
func (r *removal) fail(n uint64, err error) {
	r.failed.Store(true)
	if errors.Is(err, queue.ErrOrphan) {
		err = errors.New("pieces without a message: qqclean --orphans removes them")
	}
	if errors.Is(err, queue.ErrCopied) {
		err = fmt.Errorf("%w with qqclean --repair", err)
	}
	if errors.Is(err, queue.ErrNotLive) {
		err = fmt.Errorf("%w: --live cannot remove it", err)
	}
	r.env.WarnLike(queuePlace, r.in(fmt.Sprint(n)), errors.New(cli.Describe(err)))
}

// notFound says that a number was not found, as far as the queue could be read.
func (r *removal) notFound() error {
	if r.unread.Load() {
		return errors.New("not found: not all of the queue could be read")
	}
	return queue.ErrNotFound
}

// odd says what is odd about the queue's directories, and was no hindrance.
func (r *removal) odd() {
	for _, err := range r.q.Odd() {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			r.env.WarnLike(queuePlace, r.in(pe.Path), pe.Err)
		}
	}
}

// in says where something is, where there are several queues.
func (r *removal) in(what string) string {
	if r.name == "" {
		return what
	}
	return r.name + ": " + what
}

// inQueue says in which of several queues an error is.
func (r *removal) inQueue(err error) error {
	if r.name == "" || err == nil {
		return err
	}
	return fmt.Errorf("%s: %w", r.name, err)
}

// unreadable reports what could not be read.
func (r *removal) unreadable(err error) {
	r.failed.Store(true)
	r.unread.Store(true)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		r.env.WarnLike(queuePlace, r.in(pe.Path), pe.Err)
		return
	}
	r.env.Warn("%s", cli.Describe(err))
}

// queuePlace is what like messages are about.
const queuePlace = "queue"

// finish sends the one ALRM that --alrm asks for, ends the messages and says
// what is left to be said.
func (r *removal) finish() error {
	r.env.WarnedAll(queuePlace)
	if r.opt.alarm && !r.opt.dryRun && r.removed.Load() > 0 {
		if err := alarm(r.q); err != nil {
			return err
		}
	}
	if r.failed.Load() {
		return cli.ErrReported
	}
	return nil
}

// sendRuns reports whether somebody holds the lock that qmail-send holds.
func sendRuns(q *queue.Queue) (bool, error) {
	lock, err := q.Lock(0, nil)
	if errors.Is(err, queue.ErrRunning) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, lock.Unlock()
}

// lockedByOther returns an error that says who holds the lock of a queue where that
// is nobody's qmail-send: a run of ours, or a backup that keeps qmail-send out.
func lockedByOther(q *queue.Queue) error {
	d, err := q.Daemon()
	if err != nil || d.IsSend() {
		return nil
	}
	return fmt.Errorf("the queue is locked by %s, process %d", d.Name, d.Pid)
}

// mustRun makes sure that somebody will look at what is marked.
func mustRun(q *queue.Queue) error {
	runs, err := sendRuns(q)
	if err == nil && runs {
		err = lockedByOther(q)
	}
	if err == nil && !runs {
		err = errors.New("qmail-send is not running: --live has nobody to remove the messages")
	}
	return err
}

// alarm makes every message due at once.
func alarm(q *queue.Queue) error {
	d, err := q.Daemon()
	if err == nil {
		err = d.Signal(syscall.SIGALRM)
	}
	if err != nil {
		return fmt.Errorf("cannot send ALRM: %w", err)
	}
	return nil
}

// queueDir returns the directory of the queue: dir, or that of the settings
// where dir is empty.
func queueDir(env *cli.Env, dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	s, err := env.Settings()
	if err != nil {
		return "", err
	}
	return qmailDir(env, s) + "/queue", nil
}

// openQueue opens the queue in dir, and puts dir before what its errors name.
func openQueue(dir string) (*queue.Queue, error) { return openQueueBy(queue.Open, dir) }

func openQueueBy(open func(string) (*queue.Queue, error), dir string) (*queue.Queue, error) {
	q, err := open(dir)
	var pe *fs.PathError
	if !errors.As(err, &pe) || pe.Path == dir {
		return q, err
	}
	err = fmt.Errorf("%s/%w", dir, err)
	// IndiMail has queue1, queue2 and so on there.
	if several, _ := filepath.Glob(dir + "/*/mess"); errors.Is(err, queue.ErrLayout) && len(several) > 0 {
		names := make([]string, len(several))
		for i, mess := range several {
			names[i] = filepath.Base(filepath.Dir(mess))
		}
		err = fmt.Errorf("%w; it has the queues %s: name one with --queue", err, strings.Join(names, ", "))
	}
	return q, err
}
