package applets

import (
	"errors"
	"fmt"
	"time"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/queue"
	"kowaza/internal/users"
)

// checkQueue is qqclean --check: it prints what is wrong with the queue, a line each.
func checkQueue(env *cli.Env, dir string, asJSON bool) error {
	env.OnlyShows = true
	accounts, err := qmailAccounts(env)
	if err != nil {
		return err
	}
	r := &removal{env: env}
	err = queue.Examine(dir, accounts, func(d queue.Damage) error {
		r.failed.Store(true)
		if asJSON {
			return printJSON(env, struct {
				Kind   queue.Kind `json:"kind"`
				Path   string     `json:"path"`
				Number *uint64    `json:"number"`
				Why    string     `json:"why"`
			}{d.Kind, escape.Text(d.Path), orNil(d.Number), escape.Text(d.Why)})
		}
		_, err := fmt.Fprintln(env.Stdout, escape.String(d.Path+": "+d.Why))
		return err
	}, r.unreadable)
	if err != nil {
		return err
	}
	return r.finish()
}

// qmailAccounts looks up to whom qmail's files belong. nil: not all of these accounts
// exist here, as where qmail was built with others.
func qmailAccounts(env *cli.Env) (*queue.Accounts, error) {
	var a queue.Accounts
	for name, uid := range map[string]*uint32{"qmailq": &a.Queue, "qmails": &a.Send, "qmailr": &a.Remote} {
		login, err := users.Passwd{Root: env.Root}.ByName(name)
		if errors.Is(err, users.ErrUnknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		*uid = login.UID
		if name == "qmailq" {
			a.Group = login.GID
		}
	}
	return &a, nil
}

// repairQueue is qqclean --repair.
func repairQueue(env *cli.Env, dir string, o *qqcleanOptions, wait time.Duration) error {
	q, err := openQueueBy(queue.OpenToRepair, dir)
	if err != nil {
		return err
	}
	defer q.Close()
	if o.dryRun {
		env.OnlyShows = true
		plan, err := q.Plan()
		if err != nil {
			return err
		}
		for _, m := range plan.Moves {
			if _, err := fmt.Fprintf(env.Stdout, "%d -> %d\n", m.Old, m.New); err != nil {
				return err
			}
		}
		return nil
	}
	stop := make(chan struct{})
	signals := env.Catch(func() { close(stop) })
	moved, err := repairLocked(q, wait, stop)
	sig := signals.Stop()
	if err != nil && q.Whole() != nil {
		env.Warn("the repair was interrupted: run qqclean --repair again before qmail-send is started")
	}
	if o.verbose {
		env.Warn("%s renumbered", cli.Count(int64(moved), "message"))
	}
	if sig != nil {
		env.Warn("%s", cli.Killed(*sig))
		return cli.Killed(*sig)
	}
	return err
}

func repairLocked(q *queue.Queue, wait time.Duration, stop <-chan struct{}) (moved int, err error) {
	lock, err := q.LockToRepair(wait, stop)
	if err != nil {
		return 0, stopFirst(q, err)
	}
	defer lock.Unlock()
	return lock.Repair(stop)
}
