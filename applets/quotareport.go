package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"kowaza/internal/cli"
	"kowaza/internal/escape"
	"kowaza/internal/maildir"
	"kowaza/internal/users"
)

// A quotaRow is what a report says of one user. Sizes are in bytes.
type quotaRow struct {
	user, home, dir string
	quota           maildir.Quota
	used            maildir.Usage
	booked          *int64 // the sum in maildirsize, where there is one
	err             error
	done            chan struct{} // closed when it is complete
}

// jsonQuota is a row as --json has it.
type jsonQuota struct {
	User        string  `json:"user"`
	Home        string  `json:"home"`
	Maildir     *string `json:"maildir"`  // null with --all-files
	Used        int64   `json:"used"`     // bytes
	Messages    *int64  `json:"messages"` // null with --all-files
	Quota       *int64  `json:"quota"`    // bytes; null is no limit
	MaxMessages *int64  `json:"max_messages"`
	Percent     *int64  `json:"percent"`
	Booked      *int64  `json:"booked"` // bytes, by maildirsize; null where there is none
	Over        bool    `json:"over"`
}

// report tells of all users, or of those that are named, what they have and may have.
// It trusts no maildirsize.
func (q *quotaCheck) report(args []string) error {
	over := int64(0)
	if q.opt.set.IsSet("over") {
		n, err := cli.Number("--over", q.opt.over, 1, 100)
		if err != nil {
			return err
		}
		over = int64(n)
	}
	jobs, err := cli.Number("--jobs", q.opt.jobs, 1, maildir.MaxJobs)
	if err != nil {
		return err
	}
	rows := make(chan *quotaRow, jobs)  // to be counted
	order := make(chan *quotaRow, jobs) // the same, to be printed
	var list *reportList
	if len(args) > 0 {
		if list, err = q.named(args); err != nil {
			return err
		}
	} else if list, err = q.allUsers(); err != nil {
		return err
	}
	for range jobs {
		go func() {
			for row := range rows {
				row.err = q.countRow(row)
				close(row.done)
			}
		}()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(order)
		defer close(rows)
		list.each(func(user, home string) bool {
			row := &quotaRow{user: user, home: home, done: make(chan struct{})}
			select {
			case order <- row:
				rows <- row
				return true
			case <-stopped:
				return false
			}
		})
	}()
	err = q.printRows(order, over, list)
	close(stopped)
	return err
}

// A reportList gives the users of a report. What it says of itself is to be read when
// each has returned.
type reportList struct {
	each   func(user func(name, home string) bool)
	named  bool // each user must have a Maildir
	failed bool
	places map[string]bool // see warnOfUsers
	err    error
}

// named gives those whom the operands name.
func (q *quotaCheck) named(args []string) (*reportList, error) {
	for _, owner := range args {
		if err := checkOwner(owner, true, q.opt.virtual); err != nil {
			return nil, err
		}
	}
	l := &reportList{named: true}
	l.each = func(user func(name, home string) bool) {
		for _, owner := range args {
			home, _, err := findOwner(q.env, q.settings, owner, q.opt.virtual, false)
			if err != nil {
				l.failed = true
				q.env.Warn("%s", cli.Describe(err))
			} else if !user(owner, home) {
				return
			}
		}
	}
	return l, nil
}

// allUsers gives all virtual users.
func (q *quotaCheck) allUsers() (*reportList, error) {
	if q.opt.virtual {
		return nil, cli.Usagef("-V needs a USER")
	}
	found, err := findVirtualUsers(q.env, q.settings)
	if err != nil {
		return nil, err
	}
	l := &reportList{places: make(map[string]bool)}
	l.each = func(user func(name, home string) bool) {
		n := 0
		l.err = found.list.Each(func(u users.Virtual) bool {
			n++
			return user(knownAs(u).Names[0], u.Home)
		}, func(err error) {
			l.failed = true
			l.places[warnOfUsers(q.env, err)] = true
		})
		if l.err == nil && n == 0 {
			l.err = errors.New(found.none + found.where)
		}
	}
	return l, nil
}

// countRow finds out what one user has, in the name of the owner.
func (q *quotaCheck) countRow(row *quotaRow) error {
	dir := row.home
	if !q.opt.allFiles {
		row.dir = maildir.Home(row.home, q.settings.Maildir)
		dir = row.dir
	}
	return maildir.InOwnersName(dir, !q.opt.allFiles, func(box *maildir.Box) error {
		var err error
		if row.quota, err = q.limit(row.home); err != nil {
			return err
		}
		if q.opt.allFiles {
			kb, err := diskUsage(row.home)
			row.used.Bytes = kb << 10
			return err
		}
		check := q.check
		check.Quota = row.quota
		if u, ok := box.Booked(q.env.Now()); ok {
			row.booked = &u.Bytes
		}
		if !q.opt.recount {
			row.used, err = box.Count(&check)
		} else if err = box.Lock(lockWait); err == nil {
			row.used, err = box.Recount(&check)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		return nil
	})
}

// printRows prints the rows in the order in which they were asked for.
func (q *quotaCheck) printRows(rows <-chan *quotaRow, over int64, list *reportList) error {
	// Where only who is over is wanted, nobody is silence: cron mails what is said.
	header := !q.opt.json
	head := func() {
		if header {
			fmt.Fprintf(q.env.Stdout, "%10s %10s %4s %9s %s\n", "USED", "QUOTA", "%", "MESSAGES", "USER")
			header = false
		}
	}
	if over == 0 {
		head()
	}
	failed := false
	for row := range rows {
		<-row.done
		if row.err != nil {
			var pe *fs.PathError
			if !list.named && errors.As(row.err, &pe) && noMaildirYet(row.home, q.settings.Maildir, pe.Path, pe.Err) {
				if q.opt.verbose {
					q.env.Warn("%s: no Maildir yet", row.dir)
				}
				continue
			}
			failed = true
			q.env.Warn("%s", cli.Describe(row.err))
			continue
		}
		share, limited := row.quota.Percent(row.used)
		if over > 0 && (!limited || share < over) {
			continue
		}
		head()
		if err := q.printRow(row, share, limited); err != nil {
			return err
		}
	}
	for place := range list.places {
		q.env.WarnedAll(place)
	}
	switch {
	case list.err != nil:
		return list.err
	case failed || list.failed:
		return cli.ErrReported
	}
	return nil
}

func (q *quotaCheck) printRow(row *quotaRow, share int64, limited bool) error {
	if q.opt.json {
		j := jsonQuota{User: escape.Text(row.user), Home: escape.Text(row.home), Used: row.used.Bytes, Booked: row.booked,
			Quota: orNil(row.quota.Bytes), MaxMessages: orNil(row.quota.Messages), Over: !row.quota.Fits(row.used)}
		if limited {
			j.Percent = &share
		}
		if !q.opt.allFiles {
			j.Maildir, j.Messages = orNil(escape.Text(row.dir)), &row.used.Messages
		}
		return printJSON(q.env, j)
	}
	quota, percent, messages := "-", "-", "-"
	if row.quota.Bytes > 0 {
		quota = strconv.FormatInt(kilobytes(row.quota.Bytes), 10)
	}
	if limited {
		percent = strconv.FormatInt(share, 10)
	}
	if !q.opt.allFiles {
		messages = strconv.FormatInt(row.used.Messages, 10)
	}
	_, err := fmt.Fprintf(q.env.Stdout, "%10d %10s %4s %9s %s\n", kilobytes(row.used.Bytes), quota, percent, messages, escape.String(row.user))
	return err
}

// kilobytes returns KB of 1024 bytes, rounded up.
func kilobytes(bytes int64) int64 { return (bytes + 1023) >> 10 }
