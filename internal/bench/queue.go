package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kowaza/internal/queue/queuetest"
)

// queueJobs are about qmail's queue, with qmail-send stopped: one of 100 000
// messages, on which a spammer has been at work.
func (s setting) queueJobs() []job {
	messages := s.size(100000, 500)
	qmHandle := `KOWAZA_CONF="$1"/conf ` + s.kowaza + ` qmHandle `
	queue := func(dir string) error { return makeQueue(dir, messages) }
	list := s.bin + "/queuelist"
	// What is removed is a choice among files that stand beside those that stay,
	// for kowaza and for find, in the same queue. kowaza chooses by the sender,
	// for which it must read; a find that is to take just the same files is given
	// what is cheapest for it, a time: they were all made old. A tree with nothing
	// else in it, or a list for xargs, would spare find the looking for them.
	find := slow(program{name: "find -delete", line: `find "$1"/qmail/queue -type f -mtime +20 -delete`})
	return []job{
		{
			name: fmt.Sprintf("queue of %d messages, statistics", messages), make: queue, files: true, read: true,
			programs: []program{
				{name: "kowaza", line: qmHandle + `-s >/dev/null`},
				{name: "perl", line: `perl ` + s.source + `/queuestat.pl "$1"/qmail/queue >/dev/null`, needs: []string{"perl"}},
			},
		},
		{
			name: fmt.Sprintf("queue of %d messages, list", messages), make: queue, files: true, read: true,
			programs: []program{
				{name: "kowaza", line: qmHandle + `-l >/dev/null`},
				{name: "c", line: list + ` "$1"/qmail/queue >/dev/null`, needs: []string{list}},
				{name: "perl", line: `perl ` + s.source + `/queuelist.pl "$1"/qmail/queue >/dev/null`, needs: []string{"perl"}},
			},
		},
		{
			// -l is what a Perl script has to read for the same answer.
			name: fmt.Sprintf("queue of %d messages, by domain and age", messages), make: queue, files: true, read: true,
			programs: []program{
				{name: "kowaza", line: qmHandle + `--by domain >/dev/null`},
				{name: "kowaza -l", line: qmHandle + `-l >/dev/null`},
				{name: "c, list", line: list + ` "$1"/qmail/queue >/dev/null`, needs: []string{list}},
			},
		},
		{
			name: fmt.Sprintf("queue, %d of %d messages removed", messages/2, messages), make: queue, files: true, read: true,
			deletes: true, slow: 3,
			programs: []program{slow(program{name: "kowaza", line: qmHandle + `-Fspam >/dev/null`}), find},
		},
		{
			name: fmt.Sprintf("qqclean, %d numbers of %d", messages/2, messages), make: queue, files: true, read: true,
			deletes: true, slow: 3,
			programs: []program{
				slow(program{name: "kowaza", line: s.kowaza + ` qqclean -Q "$1"/qmail/queue - <"$1"/spam >/dev/null`}), find,
			},
		},
		{
			name: fmt.Sprintf("queue, %d numbers of %d removed", fewNumbers, messages), make: queue, files: true, read: true,
			deletes: true,
			programs: []program{
				{name: "kowaza", line: s.kowaza + ` qqclean -Q "$1"/qmail/queue - <"$1"/few >/dev/null`},
				{name: "kowaza qmHandle", line: qmHandle + `$(sed s/^/-d/ "$1"/few) >/dev/null`},
				{name: "find -name -delete", line: `find "$1"/qmail/queue -type f '(' $(sed 's/^/-o -name /; 1s/-o//' "$1"/few) ')' -delete`},
			},
		},
	}
}

// fewNumbers is what an administrator may type.
const fewNumbers = 10

// makeQueue makes a queue below dir, the settings that name it, and the numbers
// of half its messages, those of the spammer, and of a few of them.
func makeQueue(dir string, messages int) error {
	q, err := queuetest.Make(filepath.Join(dir, "qmail/queue"), queuetest.Layout{})
	if err != nil {
		return err
	}
	q.Direct = true
	numbers := make([]uint64, messages)
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for part := range 2 {
		wg.Go(func() {
			for i := part; i < messages; i += 2 {
				n, err := addQueued(q, i)
				if err != nil {
					errs <- err
					return
				}
				numbers[i] = n
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	var spam strings.Builder
	for i, n := range numbers {
		if isSpam(i) {
			fmt.Fprintln(&spam, n)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "spam"), []byte(spam.String()), 0o644); err != nil {
		return err
	}
	few := strings.Join(strings.SplitAfter(spam.String(), "\n")[:min(fewNumbers, messages/2)], "")
	if err := os.WriteFile(filepath.Join(dir, "few"), []byte(few), 0o644); err != nil {
		return err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, "QMAIL=%s/qmail\n", abs), 0o644)
}

// isSpam reports whether message i is the spammer's: every second of each of the
// two that make messages at once.
func isSpam(i int) bool { return i/2%2 == 0 }

// addQueued adds message i: one of a hundred is still in todo, and of the others
// 70 % are for remote, 25 % for local and 5 % for both; 2 % bounce.
func addQueued(q *queuetest.Queue, i int) (uint64, error) {
	r := rand.New(rand.NewPCG(2, uint64(i)))
	from, to := fmt.Sprintf("user%d@example.jp", i), fmt.Sprintf("hanako%d@example.com", r.IntN(1000))
	if isSpam(i) {
		from = fmt.Sprintf("spam%d@bulk.example", i)
	}
	m := queuetest.Message{Sender: from, Remote: []string{"T" + to}}
	switch channel := r.IntN(100); {
	case channel < 25:
		m.Local, m.Remote = m.Remote, nil
	case channel < 30:
		m.Local = []string{"Dtaro@example.jp"}
	}
	if i%100 == 98 { // never the spammer's: kowaza's -F need not look into todo
		m.State = "S4"
	} else if r.IntN(100) < 2 {
		m.Bounce = "<nobody@example.com>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
	}
	age := time.Duration(r.IntN(7*24)) * time.Hour
	if isSpam(i) {
		age += 30 * 24 * time.Hour
	}
	m.Body = queuedHeader(r, i, from, to, time.Now().Add(-age)) + "\n" + queuedBody
	n, err := q.Add(m)
	if err != nil {
		return 0, err
	}
	return n, q.Age(n, age)
}

// subjects are as mail has them: most are ASCII, some are encoded.
var subjects = []string{
	"Re: your order", "minutes of the meeting on Tuesday", "[list 1234] patch for the manual",
	"Re: [list 1234] patch for the manual", "invoice 2026-11", "lunch?", "holiday", "test",
	"=?ISO-2022-JP?B?GyRCJCpDTiRpJDsbKEI=?=", "=?UTF-8?B?5a6a5L6L5Lya6K2w44Gu44GK55+l44KJ44Gb?=",
	"=?utf-8?Q?Caf=C3=A9_=C3=A0_10_h?=",
}

// queuedHeader returns a header of about a kilobyte, as mail has that came
// through two hosts and is signed.
func queuedHeader(r *rand.Rand, i int, from, to string, date time.Time) string {
	at := date.Format(time.RFC1123Z)
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from mail%d.example.net (HELO mail.example.net) (192.0.2.%d)\n"+
		"  by mx.example.jp with ESMTPS (TLS_AES_256_GCM_SHA384 encrypted); %s\n", i%7, i%250+1, at)
	fmt.Fprintf(&b, "Received: from [198.51.100.%d] (port=%d helo=desk)\n"+
		"\tby mail.example.net with esmtpsa id %016x; %s\n", i%250+1, 40000+i%20000, r.Uint64(), at)
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=2026;\n" +
		"\th=from:to:subject:date:message-id:mime-version:content-type;\n")
	for _, tag := range []string{"bh=", "b="} {
		b.WriteString("\t" + tag)
		for range 4 {
			fmt.Fprintf(&b, "%016x", r.Uint64())
		}
		b.WriteString(";\n")
	}
	name := "Taro Yamada"
	if i%3 == 0 {
		name = "=?UTF-8?B?5bGx55Sw5aSq6YOO?="
	}
	fmt.Fprintf(&b, "From: %s <%s>\nTo: %s\n", name, from, to)
	if i%10 == 0 {
		b.WriteString("Cc: Jiro <jiro@example.jp>, saburo@example.jp\n")
	}
	fmt.Fprintf(&b, "Subject: %s\nDate: %s\nMessage-ID: <%016x.%d@mail.example.net>\n", subjects[r.IntN(len(subjects))], at, r.Uint64(), i)
	b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n" +
		"Content-Transfer-Encoding: 7bit\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\n")
	return b.String()
}

// queuedBody has two kilobytes.
var queuedBody = strings.Repeat(strings.Repeat("x", 63)+"\n", 32)
