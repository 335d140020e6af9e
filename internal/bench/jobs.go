package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A job is something that several programs can do.
type job struct {
	name     string
	make     func(dir string) error // the data
	files    bool                   // the data is many files
	deletes  bool                   // fresh data for every run
	cold     bool                   // nothing of it is in memory when a run begins
	read     bool                   // the programs read files, not only directories and inodes
	programs []program              // the first is kowaza, the others are measured against it
	slow     int                    // runs of slow programs, where they are fewer than the others
	growth   growth                 // for the second table
}

// A growth says what grows from one job to the next, and how much there is.
type growth struct {
	of    string
	count int
}

// A program does a job on the data in a directory.
type program struct {
	name   string
	line   string   // for sh; $1 is the directory
	before string   // the same, before a run and not measured
	after  string   // the same, after a run, whatever became of it
	needs  []string // commands; a program is left out where one is missing
	slow   bool
}

// runs reports whether a program takes part in a run.
func (j job) runs(p program, run int) bool { return !p.slow || run < j.slow }

func slow(p program) program {
	p.slow = true
	return p
}

// A setting is what the jobs are made from.
type setting struct {
	kowaza    string // paths
	bin       string // our own programs in C, and hello
	source    string // internal/bench
	originals string // testdata/originals
	dovecot   string // doveadm's configuration
	quick     bool
}

// size is a number of messages, users or calls: the second where all that is
// wanted is to see that everything works.
func (s setting) size(full, quick int) int {
	if s.quick {
		return quick
	}
	return full
}

func (s setting) jobs() []job {
	return slices.Concat(s.maildirJobs(), s.virtualJobs(), s.callJobs(), s.mailtestJobs(), s.quotaJobs(), s.mailmatchJobs(), s.jmailJobs(), s.smtpJobs(), s.replyJobs(), s.tripJobs(),
		s.queueJobs(), s.growthJobs())
}

// workers are the threads that kowaza has unless told otherwise; the floor in C
// has as many.
const workers = 16

// floor is internal/bench/c/maildir.c with a number of threads.
func (s setting) floor(threads int, each bool, days int, maildirs string) program {
	c := s.bin + "/maildir"
	p := program{name: fmt.Sprintf("c, %d threads", threads), needs: []string{c}}
	if threads == 1 {
		p.name = "c, 1 thread"
	}
	if each {
		p.line = fmt.Sprintf(`for d in %s; do %s %d %d "$d"; done`, maildirs, c, threads, days)
	} else {
		p.line = fmt.Sprintf(`%s %d %d %s`, c, threads, days, maildirs)
	}
	return p
}

// finders are the programs that search a tree and remove what is old. Both bfs
// and fd take find's place by their own account.
func finders(days int, maildirs string) []program {
	find := fmt.Sprintf(`find %s -type f -mtime +%d `, maildirs, days)
	return []program{
		{name: "find -delete", line: find + `-delete`},
		{name: "find -exec rm +", line: find + `-exec rm -f '{}' +`},
		{name: "bfs -delete", line: strings.Replace(find, "find", "bfs", 1) + `-delete`, needs: []string{"bfs"}},
		{name: "fd -X rm", line: fmt.Sprintf(`fdfind -u -u -t f --changed-before %dd . %s -X rm -f`, days+1, maildirs), needs: []string{"fdfind"}},
		{name: "tmpreaper", line: fmt.Sprintf(`tmpreaper --mtime --mtime-dir --runtime 0 %dd %s`, days+1, maildirs), needs: []string{"tmpreaper"}},
		{name: "perl", line: fmt.Sprintf(`perl -MFile::Find -e '$t = time - %d*86400;
			find({no_chdir => 0, wanted => sub { @s = lstat; unlink if -f _ && $s[9] < $t }}, @ARGV)' %s`, days+1, maildirs), needs: []string{"perl"}},
	}
}

// expunge is Dovecot's own way. It works from an index, which a server keeps and
// which is here made beforehand; that it goes by the date of the message's file,
// as find does, is what "before" means for a Maildir.
func (s setting) expunge(days int) program {
	doveadm := func(args string) string {
		return `for d in "$1"/u*; do USER=mail HOME="$d" doveadm -c ` + s.dovecot + ` -o mail_location=maildir:"$d"/Maildir ` + args + `; done`
	}
	return program{
		name: "doveadm expunge", needs: []string{"doveadm"},
		before: doveadm(`search mailbox INBOX before 36500d`),
		line:   doveadm(fmt.Sprintf(`expunge mailbox INBOX before %dd`, days+1)),
	}
}

func (s setting) maildirJobs() []job {
	// One process for 20 users is a shell loop around rmoldmail: the time of the
	// loop counts.
	each := program{name: "kowaza", line: `for d in "$1"/u*; do ` + s.kowaza + ` rmoldmail 7 "$d"; done`}
	one := program{name: "kowaza", line: s.kowaza + ` rmoldmail 7 "$1"/u0`}
	// The names of young messages tell that they are: no inode is asked.
	byName := program{name: "kowaza --by name", line: s.kowaza + ` rmoldmail --by name 7 "$1"/u0`}
	page := slow(program{name: "find -exec rm ;", line: `for d in "$1"/u*; do find "$d/Maildir/" -type f -mtime +7 -exec rm -f '{}' ';'; done`})
	const all, box = `"$1"/u*/Maildir`, `"$1"/u0/Maildir`
	find := finders(7, all)[0]

	users, messages := s.size(20, 5), s.size(1000, 100)
	many := tree{users: users, messages: messages, size: 2048, old: 45, oldDays: 100}.make
	manyName := fmt.Sprintf("%d users x %d messages, 45 %% old", users, messages)
	inOne := s.size(100000, 1000)
	big := tree{users: 1, messages: inOne, size: 2048, old: 1, oldDays: 100}.make
	bigName := fmt.Sprintf("one Maildir, %d messages, 1 %% old", inOne)
	nothing := s.size(1000000, 2000)

	floors := []program{s.floor(workers, true, 7, all), s.floor(1, true, 7, all)}
	oneFloors := []program{s.floor(workers, false, 7, box), s.floor(1, false, 7, box)}
	return []job{
		{
			name: manyName, make: many, files: true, read: true, deletes: true, slow: 2,
			programs: slices.Concat([]program{each}, finders(7, all), []program{page, s.expunge(7)}, floors),
		},
		{
			name: manyName + ", cold", make: many, files: true, deletes: true, cold: true,
			programs: slices.Concat([]program{each, find}, floors),
		},
		{
			name: bigName, make: big, files: true, read: true, deletes: true,
			programs: slices.Concat([]program{one}, finders(7, box), oneFloors),
		},
		{
			name: bigName + ", cold", make: big, files: true, deletes: true, cold: true,
			programs: slices.Concat([]program{one, find}, oneFloors),
		},
		{
			name: fmt.Sprintf("nothing old, %d messages", nothing), files: true,
			make:     tree{users: 1, messages: nothing, size: 0, old: 0, oldDays: 100}.make,
			programs: slices.Concat([]program{one, byName}, finders(7, box)[:1], oneFloors),
		},
	}
}

// virtualJobs are about many users: one process, one find over all Maildirs, and
// the page's way, a shell and a find for each user.
func (s setting) virtualJobs() []job {
	page := slow(program{name: "page's scripts", line: `VMDIR="$1"/home QMAIL="$1"/qmail ` + s.originals + `/rmmail_virtual`})
	const all = `"$1"/home/u*/Maildir`
	users := s.size(1000, 50)
	floors := []program{s.floor(workers, false, 21, all), s.floor(1, false, 21, all)}
	twenty := tree{users: s.size(20, 5), messages: s.size(1000, 100), size: 2048, old: 45, oldDays: 100}
	one := fmt.Sprintf("one process, %d users x %d messages, 45 %% old", twenty.users, twenty.messages)
	inOne := slices.Concat([]program{s.virtual()}, finders(21, all)[:1], floors)
	return []job{
		{
			name: one, files: true, read: true, deletes: true,
			make: virtual(twenty), programs: inOne,
		},
		{
			name: one + ", cold", files: true, deletes: true, cold: true,
			make: virtual(twenty), programs: inOne,
		},
		{
			name: fmt.Sprintf("%d users x 50 messages, 1/21 old", users), make: small(users), files: true, read: true, deletes: true, slow: 2,
			programs: slices.Concat([]program{s.virtual()}, finders(21, all), []program{page}, floors),
		},
	}
}

func (s setting) virtual() program {
	return program{name: "kowaza", line: `KOWAZA_CONF="$1"/conf ` + s.kowaza + ` rmmail_virtual`}
}

// written is how many messages are written in full. Beyond that a copy of them
// all for each run would take too long, and only their blocks are reserved.
const written = 100000

// growthJobs show whether the time grows with the work and not faster.
func (s setting) growthJobs() []job {
	var jobs []job
	for _, n := range []int{s.size(10000, 100), s.size(100000, 1000), s.size(1000000, 10000)} {
		jobs = append(jobs, job{
			name: fmt.Sprintf("growth: one Maildir of %d messages, 5 %% old", n), files: true, deletes: true, slow: 3,
			growth: growth{"messages in one Maildir", n},
			make:   tree{users: 1, messages: n, size: 2048, old: 5, oldDays: 100, hollow: n > written}.make,
			programs: []program{
				slow(program{name: "kowaza", line: s.kowaza + ` rmoldmail 7 "$1"/u0`}),
				slow(finders(7, `"$1"/u0/Maildir`)[0]),
			},
		})
	}
	for _, n := range []int{s.size(10, 1), s.size(100, 5), s.size(1000, 10), s.size(10000, 50)} {
		jobs = append(jobs, job{
			name: fmt.Sprintf("growth: %d users x 50 messages, 1/21 old", n), files: true, deletes: true, slow: 3,
			growth:   growth{"users with 50 messages each", n},
			make:     small(n),
			programs: []program{slow(s.virtual()), slow(finders(21, `"$1"/home/u*/Maildir`)[0])},
		})
	}
	for _, n := range []int{s.size(1000, 10), s.size(10000, 50), s.size(100000, 100)} {
		jobs = append(jobs, job{
			name: fmt.Sprintf("growth: %d users of a pattern, no mail", n), files: true,
			growth:   growth{"users of a pattern, without mail", n},
			make:     pattern(tree{users: n}),
			programs: []program{s.virtual(), finders(21, `"$1"/home`)[0]},
		})
	}
	return jobs
}

// pattern makes the Maildirs of users whom a pattern finds.
func pattern(t tree) func(dir string) error {
	return func(dir string) error {
		home := filepath.Join(dir, "home")
		if err := t.make(home); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, "USERS=%s/*\n", home), 0o644)
	}
}

// small makes virtual users with 50 messages each.
func small(users int) func(dir string) error {
	return virtual(tree{users: users, messages: 50, size: 2048, old: 5, oldDays: 100, hollow: users*50 > written})
}

// virtual makes the Maildirs of virtual users and all that says who they are.
func virtual(t tree) func(dir string) error {
	return func(dir string) error {
		home := filepath.Join(dir, "home")
		if err := t.make(home); err != nil {
			return err
		}
		var assign strings.Builder
		for u := range t.users {
			fmt.Fprintf(&assign, "=u%d:nobody:%d:%d:%s/u%d:::\n", u, nobody, nobody, home, u)
		}
		assign.WriteString(".\n")
		qmail := filepath.Join(dir, "qmail")
		if err := os.MkdirAll(filepath.Join(qmail, "users"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(qmail, "users/assign"), []byte(assign.String()), 0o644); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, "VMDIR=%s\nQMAIL=%s\n", home, qmail), 0o644)
	}
}
