package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// sh is a program written as a shell line; $1 is the directory with the data.
func sh(name, line string) program {
	return program{name: name, argv: func(dir string) []string { return []string{"sh", "-ec", line, name, dir} }}
}

func slow(p program) program {
	p.slow = true
	return p
}

func jobs(kowaza string) []job {
	return slices.Concat(maildirJobs(kowaza), virtualJobs(kowaza), callJobs(kowaza), jmailJobs(kowaza), queueJobs(kowaza))
}

func maildirJobs(kowaza string) []job {
	// One process for 20 users is a shell loop around rmoldmail: the time of the
	// loop counts.
	each := `for d in "$1"/u*; do ` + kowaza + ` rmoldmail 7 "$d"; done`
	one := kowaza + ` rmoldmail 7 "$1"/u0`
	find := sh("find -delete", `find "$1"/u*/Maildir/ -type f -mtime +7 -delete`)
	page := sh("find -exec rm", `for d in "$1"/u*; do find "$d/Maildir/" -type f -mtime +7 -exec rm -f '{}' ';'; done`)
	return []job{
		{
			name: "20 users x 1000 messages, 45 % old", deletes: true, slow: 2,
			make:     tree{users: 20, messages: 1000, size: 2048, old: 45, oldDays: 100}.make,
			programs: []program{sh("kowaza", each), find, slow(page)},
		},
		{
			name: "one Maildir, 100000 messages, 1 % old", deletes: true,
			make:     tree{users: 1, messages: 100000, size: 2048, old: 1, oldDays: 100}.make,
			programs: []program{sh("kowaza", one), find},
		},
		{
			name: "nothing old, 1000000 messages", slow: 3,
			make:     tree{users: 1, messages: 1000000, size: 0, old: 0, oldDays: 100}.make,
			programs: []program{sh("kowaza", one), find},
		},
	}
}

// virtualJobs are about many users: one process, one find over all Maildirs, and
// the page's way, a shell and a find for each user.
func virtualJobs(kowaza string) []job {
	originals, err := filepath.Abs("testdata/originals")
	if err != nil {
		panic(err)
	}
	ours := sh("kowaza", `KOWAZA_CONF="$1"/conf `+kowaza+` rmmail_virtual`)
	find := sh("find -delete", `find "$1"/home/u*/Maildir/ -type f -mtime +21 -delete`)
	page := sh("page's scripts", `VMDIR="$1"/home QMAIL="$1"/qmail `+originals+`/rmmail_virtual`)
	data := func(users int) func(string) error {
		return func(dir string) error { return makeVirtual(dir, users) }
	}
	return []job{
		{
			name: "1000 users x 50 messages, 1/21 old", deletes: true, slow: 2,
			make: data(1000), programs: []program{ours, find, slow(page)},
		},
		{
			name: "10000 users x 50 messages, 1/21 old", deletes: true, slow: 1,
			make: data(10000), programs: []program{slow(ours), slow(find)},
		},
	}
}

// makeVirtual makes the Maildirs of virtual users and all that says who they
// are.
func makeVirtual(dir string, users int) error {
	home := filepath.Join(dir, "home")
	if err := (tree{users: users, messages: 50, size: 2048, old: 5, oldDays: 100}).make(home); err != nil {
		return err
	}
	var assign strings.Builder
	for u := range users {
		fmt.Fprintf(&assign, "=u%d:popuser:500:500:%s/u%d:::\n", u, home, u)
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

// calls is how often a small program is called in one run.
const calls = 200

// repeat is a program that is called again and again by a shell.
func repeat(name, line string) program {
	return sh(name, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); done`, calls, line))
}

func callJobs(kowaza string) []job {
	originals, err := filepath.Abs("testdata/originals")
	if err != nil {
		panic(err)
	}
	original := func(name string) string { return originals + "/" + name }
	const apop = ` "<1896.697170952@dbc.mtview.ca.us>tanstaaf" >/dev/null`
	const auth = ` hanako passwd >/dev/null`
	return []job{
		{
			name: fmt.Sprintf("mkdigest, %d calls", calls), make: makeMail(0),
			programs: []program{repeat("kowaza", kowaza+" mkdigest"+apop), repeat("perl", original("mkdigest")+apop)},
		},
		{
			name: fmt.Sprintf("smtpauthstr, %d calls", calls), make: makeMail(0),
			programs: []program{repeat("kowaza", kowaza+" smtpauthstr"+auth), repeat("perl", original("smtpauthstr")+auth)},
		},
		{
			name: fmt.Sprintf("mailtest, %d mails of 4 kB", calls), make: makeMail(4 << 10),
			programs: []program{
				repeat("kowaza", kowaza+` mailtest -x 0 <"$1"/mail >/dev/null`),
				repeat("php", original("mailtest")+` <"$1"/mail >/dev/null || [ $? = 99 ]`),
			},
		},
		{
			name: "mailtest, 1 GB from pipe to pipe", make: makeMail(1 << 30),
			programs: []program{
				sh("kowaza", `cat "$1"/mail | `+kowaza+` mailtest -x 0 | cat >/dev/null`),
				sh("cat", `cat "$1"/mail | cat | cat >/dev/null`),
			},
		},
	}
}

func makeMail(size int) func(dir string) error {
	return func(dir string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "mail"), []byte(message(size)), 0o644)
	}
}

// jmailJobs measures what a copy costs beside the sendmail command: here one
// that only reads, and a loop in C around the same.
func jmailJobs(kowaza string) []job {
	send := func(jobs string) program {
		return sh("kowaza "+jobs, `KOWAZA_CONF="$1"/conf `+kowaza+` jmailsend -c 1000 -f root@example.jp -t hoshu `+jobs)
	}
	return []job{{
		name: "jmailsend, 1000 copies", make: makeSendmail,
		programs: []program{
			send("-j 1"), send("-j 4"),
			sh("posix_spawn", `"$1"/spawn 1000 "$1"/mail "$1"/reader`),
		},
	}}
}

func makeSendmail(dir string) error {
	if err := makeMail(1 << 10)(dir); err != nil {
		return err
	}
	for _, name := range []string{"spawn", "reader"} {
		out, err := exec.Command("cc", "-O2", "-o", filepath.Join(dir, name), "testdata/bench/c/"+name+".c").CombinedOutput()
		if err != nil {
			return fmt.Errorf("cc: %w: %s", err, strings.TrimSpace(string(out)))
		}
	}
	return os.WriteFile(filepath.Join(dir, "conf"), []byte("SENDMAIL="+dir+"/reader\n"), 0o644)
}
