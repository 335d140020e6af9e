package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// repeat is a program that is called again and again by a shell.
func repeat(calls int, name, line string, needs ...string) program {
	return program{name: name, line: fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); done`, calls, line), needs: needs}
}

// callJobs are programs of which a call is over at once.
func (s setting) callJobs() []job {
	calls := s.size(200, 5)
	// The shell's way has no process but the one that computes, beside a fork for
	// the pipe.
	const digest = `"<1896.697170952@dbc.mtview.ca.us>tanstaaf"`
	return []job{
		{
			name: fmt.Sprintf("mkdigest, %d calls", calls), make: makeMail(0),
			programs: []program{
				repeat(calls, "kowaza", s.kowaza+` mkdigest `+digest+` >/dev/null`),
				repeat(calls, "perl", s.originals+`/mkdigest `+digest+` >/dev/null`, "perl"),
				repeat(calls, "md5sum", `printf %s `+digest+` | md5sum >/dev/null`, "md5sum"),
			},
		},
		{
			name: fmt.Sprintf("smtpauthstr, %d calls", calls), make: makeMail(0),
			programs: []program{
				repeat(calls, "kowaza", s.kowaza+` smtpauthstr hanako passwd >/dev/null`),
				repeat(calls, "perl", s.originals+`/smtpauthstr hanako passwd >/dev/null`, "perl"),
				repeat(calls, "base64", `printf 'hanako\0hanako\0passwd' | base64 >/dev/null`, "base64"),
			},
		},
	}
}

func (s setting) mailtestJobs() []job {
	calls, mega := s.size(200, 5), s.size(1024, 16)
	c := s.bin + "/copy"
	return []job{
		{
			name: fmt.Sprintf("mailtest, %d mails of 4 kB", calls), make: makeMail(4 << 10),
			programs: []program{
				repeat(calls, "kowaza", s.kowaza+` mailtest -x 0 <"$1"/mail >/dev/null`),
				repeat(calls, "php", s.originals+`/mailtest <"$1"/mail >/dev/null || [ $? = 99 ]`, "php"),
				repeat(calls, "c", c+` <"$1"/mail >/dev/null`, c),
			},
		},
		{
			name: fmt.Sprintf("mailtest, %d MB from pipe to pipe", mega), make: makeMail(mega << 20),
			programs: []program{
				{name: "kowaza", line: `cat "$1"/mail | ` + s.kowaza + ` mailtest -x 0 | cat >/dev/null`},
				{name: "c", line: `cat "$1"/mail | ` + c + ` | cat >/dev/null`, needs: []string{c}},
				{name: "cat", line: `cat "$1"/mail | cat | cat >/dev/null`},
			},
		},
	}
}

// mailmatchJobs measures what a line of a .qmail file costs each message. Perl with
// Encode is what else can read an encoded word and answers by its status.
func (s setting) mailmatchJobs() []job {
	calls := s.size(200, 5)
	data := func(dir string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		const subject = "Subject: =?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cCIoGyhC?=\n =?ISO-2022-JP?B?GyRCJCpGQCRKPnBKcxsoQg==?=\n"
		head := strings.Repeat("Received: from mail.example.jp (192.0.2.1)\n  by mail.example.com with SMTP; 25 Sep 2004 14:44:16 -0000\n", 5)
		return os.WriteFile(filepath.Join(dir, "mail"), []byte(head+subject+message(4<<10)), 0o644)
	}
	const perl = `perl -Mutf8 -MEncode -e '$/ = ""; $_ = <STDIN>; s/\n[ \t]+/ /g;
		for (/^Subject:[ \t]*(.*)/mgi) { exit 0 if decode("MIME-Header", $_) =~ /未承諾広告※お得/i } exit 1' <"$1"/mail`
	return []job{{
		name: fmt.Sprintf("mailmatch, %d mails of 4 kB", calls), make: data,
		programs: []program{
			repeat(calls, "kowaza", s.kowaza+` mailmatch Subject 未承諾広告※お得 <"$1"/mail || exit`),
			repeat(calls, "perl, Encode", perl+` || exit`, "perl"),
		},
	}}
}

// replyJobs measures an answer that is not due, which is what most mail gets, and one
// that is printed. mailbot prints it with -n, too.
func (s setting) replyJobs() []job {
	calls := s.size(200, 5)
	data := func(dir string) error {
		if err := makeMail(4 << 10)(dir); err != nil {
			return err
		}
		const header = "From: taro@example.org\nTo: hanako@example.jp\nMessage-ID: <1@example.org>\n"
		for name, text := range map[string]string{"conf": "", "away.txt": "I am away.\n",
			"mine": header + message(4<<10), "list": header + "List-Id: <l.example.org>\n" + message(4<<10)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	reply := func(mail, rest string) string {
		return `KOWAZA_CONF="$1"/conf HOME="$1" SENDER=taro@example.org LOCAL=hanako HOST=example.jp ` + s.kowaza + ` mailreply ` + rest + ` "$1"/away.txt <"$1"/` + mail + ` >/dev/null`
	}
	bot := func(mail string) string {
		return `SENDER=taro@example.org mailbot -t "$1"/away.txt -N -f -n <"$1"/` + mail + ` >/dev/null`
	}
	return []job{
		{
			name: fmt.Sprintf("mailreply, %d mails of a list", calls), make: data,
			programs: []program{
				repeat(calls, "kowaza", reply("list", "")),
				repeat(calls, "mailbot", bot("list"), "mailbot"),
			},
		},
		{
			name: fmt.Sprintf("mailreply, %d replies printed", calls), make: data,
			programs: []program{
				repeat(calls, "kowaza", reply("mine", "-n")),
				repeat(calls, "mailbot", bot("mine"), "mailbot"),
			},
		},
	}
}

// tripJobs measures a message that is sent and found again in a Maildir with others: a
// part of that is the sendmail command, here a shell script that delivers. Beside it is
// what a shell does by hand: it looks into new until the Message-ID is there.
func (s setting) tripJobs() []job {
	calls, others := s.size(50, 3), s.size(1000, 20)
	data := func(dir string) error {
		if err := (tree{users: 1, messages: others, size: 2048, oldDays: 100, plain: true}).make(dir); err != nil {
			return err
		}
		for name, text := range map[string]string{
			"conf":     "SENDMAIL=" + dir + "/sendmail\nQMAIL=" + dir + "\nJMAIL_FROM=me\nJMAIL_TO=u0\n",
			"sendmail": "#!/bin/sh\ncd " + dir + "/u0/Maildir\ncat >tmp/$$\nmv tmp/$$ new/\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				return err
			}
		}
		return nil
	}
	return []job{{
		name: fmt.Sprintf("mailtrip, %d messages found among %d", calls, others), make: data,
		programs: []program{
			repeat(calls, "kowaza", `KOWAZA_CONF="$1"/conf `+s.kowaza+` mailtrip -d -m "$1"/u0 -b "$1"/u0 >/dev/null || exit`),
			repeat(calls, "sh, grep", `id="<$$.$i@example.jp>"; printf 'To: u0\nMessage-ID: %s\n\ntext\n' "$id" | "$1"/sendmail -t -i
				until found=$(grep -lF -e "$id" "$1"/u0/Maildir/new/*); do sleep 0.01; done; rm "$found"`, "grep"),
		},
	}}
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
// that only reads, and a loop in C around the same. The SMTP clients have their
// own opposite, Postfix's smtp-sink; they write no Japanese and one text only.
func (s setting) jmailJobs() []job {
	copies, calls := s.size(1000, 50), s.size(50, 3)
	spawn, reader := s.bin+"/spawn", s.bin+"/reader"
	send := func(jobs string) string {
		return `KOWAZA_CONF="$1"/conf ` + s.kowaza + ` jmailsend -f root@example.jp -t hoshu ` + jobs
	}
	user := "" // smtp-sink wants one as root, and can take none else
	if os.Geteuid() == 0 {
		user = "-u root "
	}
	sink := func(line string) string {
		return `smtp-sink ` + user + `unix:"$1"/sink 100 & while ! [ -S "$1"/sink ]; do sleep 0.01; done
			` + line + `; kill $!; rm -f "$1"/sink`
	}
	data := func(dir string) error {
		if err := makeMail(1 << 10)(dir); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "conf"), []byte("SENDMAIL="+reader+"\n"), 0o644)
	}
	many := fmt.Sprintf("-c %d ", copies)
	return []job{
		{
			name: fmt.Sprintf("jmailsend, %d copies", copies), make: data,
			programs: []program{
				{name: "kowaza -j 1", line: send(many + "-j 1"), needs: []string{reader}},
				{name: "kowaza -j 4", line: send(many + "-j 4"), needs: []string{reader}},
				{name: "posix_spawn in c", line: fmt.Sprintf(`%s %d "$1"/mail %s`, spawn, copies, reader), needs: []string{spawn, reader}},
				{
					name: "smtp-source", needs: []string{"smtp-source", "smtp-sink"},
					line: sink(fmt.Sprintf(`smtp-source -m %d -s 1 -l 1024 -f root@example.jp -t hoshu@example.jp unix:"$1"/sink`, copies)),
				},
			},
		},
		{
			name: fmt.Sprintf("one test mail, %d calls", calls), make: data,
			programs: []program{
				repeat(calls, "kowaza", send(""), reader),
				{
					name: "swaks", needs: []string{"swaks", "smtp-sink"},
					line: sink(repeat(calls, "", `swaks --silent 3 --socket "$1"/sink -f root@example.jp -t hoshu@example.jp`).line),
				},
			},
		},
	}
}

// smtpJobs measures jmailsend by SMTP beside the load generator of Postfix, against the
// sink of Postfix, over kept connections and over one for each copy; and a dialogue of
// mailtalk's beside one of swaks'. The sink runs before and after: its time is no
// program's. A copy in EUC-JP has 1104 bytes on the wire, and so has the other's, whose
// header has 133.
func (s setting) smtpJobs() []job {
	copies, calls := s.size(10000, 50), s.size(20, 2)
	const sender, recipient, payload = "root@example.jp", "hoshu@example.jp", 1104 - 133
	port := freePort()
	server := fmt.Sprintf("127.0.0.1:%d", port)
	sink := []string{"smtp-source", "smtp-sink"}
	user := ""
	if os.Geteuid() == 0 {
		user = "-u root "
	}
	with := func(p program) program {
		// mailtalk says when the sink listens; SIGTERM ends it.
		p.before = `smtp-sink ` + user + server + ` 100 >/dev/null 2>&1 & echo $! >"$1"/sink.pid
			until KOWAZA_CONF="$1"/conf ` + s.kowaza + ` mailtalk -q smtp://` + server + ` >/dev/null 2>&1; do kill -0 $!; sleep 0.01; done`
		p.after = `kill "$(cat "$1"/sink.pid)"`
		p.needs = append(p.needs, sink...)
		return p
	}
	data := func(dir string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "conf"), nil, 0o644)
	}
	var jobs []job
	for _, kept := range []bool{true, false} {
		for _, sessions := range []int{1, 8} {
			name := fmt.Sprintf("jmailsend -s -j %d, %d copies", sessions, copies)
			ours, theirs := "", " -d"
			if !kept {
				name += ", one each"
				ours, theirs = " --per-connection 1", ""
			}
			jobs = append(jobs, job{
				name: name, make: data,
				programs: []program{
					with(program{name: "kowaza", line: fmt.Sprintf(`KOWAZA_CONF="$1"/conf %s jmailsend -s smtp://%s -e euc -f %s -t %s -c %d -j %d%s`,
						s.kowaza, server, sender, recipient, copies, sessions, ours)}),
					with(program{name: "smtp-source" + theirs, line: fmt.Sprintf(`smtp-source -m %d -s %d -l %d -f %s -t %s%s %s`,
						copies, sessions, payload, sender, recipient, theirs, server)}),
				},
			})
		}
	}
	return append(jobs, job{
		name: fmt.Sprintf("mailtalk, %d dialogues", calls), make: data,
		programs: []program{
			with(repeat(calls, "kowaza", `KOWAZA_CONF="$1"/conf `+s.kowaza+` mailtalk -f `+sender+` -t `+recipient+` -e jis smtp://`+server+` >/dev/null`)),
			with(repeat(calls, "swaks", `swaks --server `+server+` -f `+sender+` -t `+recipient+` >/dev/null`, "swaks")),
		},
	})
}

// freePort returns a port of the loopback address that nobody has.
func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 2525
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// quotaJobs measures what a check costs that stands before each delivery: beside the
// script, whose du grows with the Maildir, and a recount beside Courier's own.
func (s setting) quotaJobs() []job {
	calls, few, many := s.size(200, 5), s.size(10, 2), s.size(100000, 1000)
	const home = `HOME="$1"/u0 KOWAZA_CONF="$1"/conf `
	box := func(messages int) func(dir string) error {
		return func(dir string) error {
			if err := (tree{users: 1, messages: messages, size: 2048, oldDays: 100, plain: true}).make(dir); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "mail"), []byte(message(2<<10)), 0o644); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "conf"), []byte("QUOTA=10G\n"), 0o644)
		}
	}
	check := func(calls int) []program {
		return []program{
			repeat(calls, "kowaza", home+s.kowaza+` mailquotacheck <"$1"/mail`),
			repeat(calls, "kowaza's start", s.kowaza+` mkdigest "<1@a>b" >/dev/null`),
			repeat(calls, "script with du", `printf 10000000 >"$1"/u0/.quota; `+home+s.originals+`/mailquotacheck <"$1"/mail; rm "$1"/u0/.quota`),
		}
	}
	return []job{
		{name: fmt.Sprintf("mailquotacheck, %d calls, empty Maildir", calls), make: box(0), programs: check(calls)},
		{name: fmt.Sprintf("mailquotacheck, %d calls, %d messages", few, many), make: box(many), programs: check(few)},
		{
			name: fmt.Sprintf("mailquotacheck, recount of %d messages", many), make: box(many),
			programs: []program{
				{name: "kowaza", line: `rm -f "$1"/u0/Maildir/maildirsize; ` + home + s.kowaza + ` mailquotacheck <"$1"/mail`},
				{name: "maildirmake -q", line: `rm -f "$1"/u0/Maildir/maildirsize; maildirmake.maildrop -q 10000000000S "$1"/u0/Maildir`, needs: []string{"maildirmake.maildrop"}},
			},
		},
	}
}
