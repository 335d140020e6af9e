#!/bin/sh
# demo: every applet at work on a scratch tree below build/demo. "make demo" has
# built what it needs, ./kowaza and build/bench; nothing else is touched. It runs
# as root and as a user.
#
# Whatever is shown has been looked at: a status or a figure other than the one
# that it should be is named, and the demo ends with status 1.
#
# shellcheck disable=SC2016 # what is shown is expanded by the shell that runs it
set -eu
umask 022
cd "$(dirname "$0")/.."

demo=$PWD/build/demo
rm -rf "$demo"
mkdir -p "$demo/bin"
cp kowaza "$demo/bin/kowaza"
for name in $(./kowaza --list); do
	ln -s kowaza "$demo/bin/$name"
done
PATH=$demo/bin:$PATH
HOME=$demo # what is below it is shown as ~
KOWAZA_CONF=$demo/kowaza.conf
KOWAZA_TEST_ROOT=
LC_ALL=C
export PATH HOME KOWAZA_CONF KOWAZA_TEST_ROOT LC_ALL
: >"$KOWAZA_CONF" # nothing is set

bold='' plain=''
if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi
shown=0 wrong=0

# wrap INDENT: lines of standard input, broken between words at 60 columns.
wrap() {
	awk -v first="$1" '{
		line = first
		rest = $0
		while (match(rest, /[^ ]+/)) {
			gap = substr(rest, 1, RSTART - 1)
			word = substr(rest, RSTART, RLENGTH)
			rest = substr(rest, RSTART + RLENGTH)
			if (line ~ /[^ ]/ && length(line gap word) > 60) {
				print line
				line = first "  "
				gap = ""
			}
			line = line gap word
		}
		print line
	}'
}

# step NAME TEXT: the heading of an applet.
step() {
	printf '\n%s%s%s, %s\n' "$bold" "$1" "$plain" "$2"
}

# say TEXT: what has been found out, or done.
say() {
	echo "$1" | wrap '  '
}

# bad TEXT: what is not as it should be.
bad() {
	echo "demo: $1" >&2
	wrong=$((wrong + 1))
}

# show STATUS PATTERN LINE: a shell line as one would type it, and what it prints,
# which must match the pattern of a case; an empty one is nothing at all.
show() {
	printf '%s\n' "\$ $3" | wrap '  '
	status=0
	sh -c "$3" >"$demo/out" 2>&1 </dev/null || status=$?
	sed "s#$demo#~#g; s/^ *//" "$demo/out" >"$demo/shown" # some wc(1) begin with blanks
	wrap '  ' <"$demo/shown"
	[ -s "$demo/shown" ] || say '(it prints nothing)'
	[ "$status" -eq 0 ] || say "(status $status)"
	[ "$status" -eq "$1" ] || bad "$3: status $status; want $1"
	# shellcheck disable=SC2254 # it is a pattern
	case $(cat "$demo/shown") in
	$2) ;;
	*) bad "$3: prints what it should not; want $2" ;;
	esac
	shown=$((shown + 1))
}

# files FIND-ARGUMENT...: how many files find has.
files() {
	find "$@" -type f | wc -l | tr -d ' '
}

# messages DIR: how many of the mail below it there are, and are old, by find.
messages() {
	all=$(files "$1" \( -path '*/cur/*' -o -path '*/new/*' \))
	old=$(files "$1" \( -path '*/cur/*' -o -path '*/new/*' \) -mtime +10)
}

# Root cleans what others own, and enters nothing of its own that lies below a
# directory which they can write.
give() {
	if [ "$(id -u)" -eq 0 ]; then
		chown -R 65534:65534 "$1"
	fi
}
if [ "$(id -u)" -eq 0 ]; then
	# shellcheck disable=SC2012 # owner and mode, as find(1) cannot tell them everywhere
	owner=$(ls -ldn . | awk '{
		if ($3 != 0) print $3 ":" $4
		else if ($1 ~ /^.....w/ || $1 ~ /^........w/) print "65534:65534"
	}')
	[ -z "$owner" ] || chown "$owner" build "$demo"
fi

size=2048 # of a message
step rmoldmail 'for the script around find(1)'
build/bench tree -messages 2000 -size $size -folders .Sent,.Work,.Archive.2019 "$demo/home"
mv "$demo/home/u0" "$demo/hoge"
mail=$demo/hoge/Maildir
messages "$mail"
before=$all gone=$old
[ "$before $gone" = '2000 900' ] || bad "$before messages were made, $gone of them old; want 2000, 900"
printf '0S,0C\n%d %d\n' $((before * size)) "$before" >"$mail/maildirsize"
: >"$mail/dovecot-uidlist"
: >"$mail/subscriptions"
aged=$(find "$mail/cur" -type f -mtime +10 | sed -n 1p)
touch -r "$aged" "$mail/maildirsize" "$mail/dovecot-uidlist" "$mail/subscriptions"
give "$demo/hoge"
say "find(1) has $before messages, $gone of them old."
show 0 "$gone" 'rmoldmail -n 10 ~/hoge | wc -l'
show 0 "rmoldmail: ~/hoge/Maildir: $before messages, $gone *removed*" 'rmoldmail -v 10 ~/hoge'
messages "$mail"
say "find(1) has $all messages, $old of them old."
[ "$all $old" = "$((before - gone)) 0" ] || bad "$all messages are left, $old of them old; want $((before - gone)), 0"
show 0 "-$((gone * size)) -$gone" 'tail -n 1 ~/hoge/Maildir/maildirsize'
say "The mail server's files were as old as the mail:"
show 0 'cur dovecot-uidlist maildirsize new subscriptions tmp' 'cd ~/hoge/Maildir && echo *'
show 0 '' 'rmoldmail 10 ~/hoge'
show 1 'rmoldmail: ~/nobody: no such file or directory' 'rmoldmail 10 ~/nobody'

step rmmail_virtual 'the same for all virtual users, in one run'
build/bench tree -users 40 -messages 50 -size $size -folders .Sent,.Work "$demo/popuser"
give "$demo/popuser"
mkdir -p "$demo/qmail/users"
for u in "$demo/popuser/"u*; do
	echo "=${u##*/}:popuser:500:500:$u:::"
done >"$demo/qmail/users/assign"
echo . >>"$demo/qmail/users/assign"
printf 'VMDIR=%s\nVUSER=popuser\nDAYS=10\nQMAIL=%s\n' "$demo/popuser" "$demo/qmail" >"$KOWAZA_CONF"
messages "$demo/popuser"
left=$((all - old))
show 0 "$old" 'rmmail_virtual -n | wc -l'
show 0 '' 'rmmail_virtual'
messages "$demo/popuser"
say "find(1) has $all messages, $old of them old."
[ "$all $old" = "$left 0" ] || bad "$all messages are left, $old of them old; want $left, 0"

step qqclean "a message leaves qmail's queue, piece by piece"
build/bench queue -messages 30 "$demo/mta"
cp "$demo/mta/conf" "$KOWAZA_CONF"
n=$(sed -n 1p "$demo/mta/spam")
spam=$(($(wc -l <"$demo/mta/spam") - 1)) # but for this one
show 0 "*/mess/*/$n" "qqclean -n $n"
show 0 "*: removed*qqclean: 1 *" "qqclean -v $n"
[ "$(files "$demo/mta" -name "$n")" -eq 0 ] || bad "pieces of $n are left"

step qmHandle 'lists, counts and removes by sender, subject, age'
show 0 'Total messages: 29' 'qmHandle -s | sed -n 1p'
show 0 "Deleted $spam messages from queue" 'qmHandle -Fspam | grep Deleted'
show 0 "Total messages: $((29 - spam))" 'qmHandle -s | sed -n 1p'

step mkdigest 'the digest for APOP'
show 0 edcb5de1cf7cfe764cd4491ca9c96ad5 'mkdigest "<1234.1096123456@mail.hoge.cxm>passwd"'

step smtpauthstr 'the string for AUTH PLAIN'
show 0 'aGFuYWtvAGhhbmFrbwBwYXNzd2Q=' 'smtpauthstr hanako passwd'

step jmailsend 'Japanese test mail'
mkdir "$demo/sent"
cat >"$demo/sendmail" <<END
#!/bin/sh
cat >"$demo/sent/\$\$"
END
chmod 755 "$demo/sendmail"
printf 'SENDMAIL=%s\nJMAIL_FROM=root@example.jp\nJMAIL_TO=hoshu@example.jp\n' "$demo/sendmail" >"$KOWAZA_CONF"
show 0 'jmailsend: 100 of 100 copies sent, *' 'jmailsend -v -e jis -c 100 -j 4'
[ "$(files "$demo/sent")" -eq 100 ] || bad "sendmail got $(files "$demo/sent") copies; want 100"
[ "$(grep -l 'charset=ISO-2022-JP' "$demo/sent/"* | wc -l)" -eq 100 ] || bad 'not every copy is ISO-2022-JP'

step mailtalk 'the dialogues of the page, one command each'
mkfifo "$demo/until"
build/bench mailserver "$demo/ports" <"$demo/until" &
exec 9>"$demo/until" # the server ends when this shell does
while [ ! -e "$demo/ports" ]; do sleep 0.1; done
# shellcheck disable=SC1091 # it has just been written
. "$demo/ports"
export smtp pop3
show 0 '*RCPT TO:<hoshu>*250 2.1.5 Ok*RSET*221 2.0.0 Bye' 'mailtalk -f me -t hoshu "$smtp"'
show 0 '' 'mailtalk -q "$smtp" "mail from:<me>" "!rcpt to:<you@elsewhere.example>"'
show 1 '*AUTH PLAIN [*][*][*][*]*535 *mailtalk: auth: 535 *' 'echo wrong | mailtalk -a plain -u hanako "$smtp"'
show 0 'jmailsend: 100 of 100 copies sent, *; milliseconds *' 'echo passwd | jmailsend -v -s "$smtp" -u hanako -c 100 -j 4'
show 0 'POP3 OK - *' 'echo passwd | mailtalk --nagios -a apop -u hanako "$pop3"'

step mailtrip 'sends a message, and says where it ended'
trip=$demo/trip
for box in hoshu pmaster; do
	mkdir -p "$trip/$box/Maildir/cur" "$trip/$box/Maildir/new" "$trip/$box/Maildir/tmp"
done
mkdir -p "$trip/qmail/control"
echo mail.example.jp >"$trip/qmail/control/me"
cat >"$trip/sendmail" <<'END'
#!/bin/sh
# A mail server in small: hoshu is here, who else is not, mail returns.
set -eu
cd "$(dirname "$0")"
cat >message
to=$(sed -n 's/^To: //p' message) from=$4
deliver() {
	cat >"$1/Maildir/tmp/$$"
	mv "$1/Maildir/tmp/$$" "$1/Maildir/new/"
}
returned() {
	printf 'From: MAILER-DAEMON@mail.example.jp\n\nHi. This is the demo.\n\n'
	printf '<%s>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n' "$1"
	printf -- '--- Below this line is a copy.\n\nReturn-Path: <%s>\n' "$2"
	cat
}
case $(cat mode),$to,$from in
catchall,*) deliver hoshu <message ;;
lose,*) ;;
*,hoshu@mail.example.jp,*) deliver hoshu <message ;;
*,hoshu@mail.example.jp) returned "$to" "$from" <message | deliver hoshu ;;
*) returned "$to" "$from" <message | returned "$from" '' | deliver pmaster ;;
esac
END
chmod 755 "$trip/sendmail"
echo honest >"$trip/mode"
printf 'SENDMAIL=%s\nQMAIL=%s\nJMAIL_FROM=hoshu\nJMAIL_TO=hoshu\n' "$trip/sendmail" "$trip/qmail" >"$demo/trip.conf"
KOWAZA_CONF=$demo/trip.conf
give "$trip"
set_of='-m ~/trip/hoshu -b ~/trip/hoshu -r ~/trip/pmaster'
# A line comes when its end is known, in whatever order.
show 0 'bounce  bounced *#5.1.1 Sorry*double  double-bounced *#5.1.1 Sorry*local   delivered *' "mailtrip -d $set_of local bounce double | sort"
[ "$(files "$trip/hoshu" "$trip/pmaster")" -eq 0 ] || bad 'mailtrip -d has left what it found'
echo catchall >"$trip/mode"
show 1 'bounce  delivered *mailtrip: bounce: delivered: *: somebody takes mail for any address at this host' "mailtrip $set_of bounce"
echo lose >"$trip/mode"
show 1 '*mailtrip: local: not found within 1 second: nothing in ~/trip/hoshu/Maildir' "mailtrip -w 1 $set_of"
KOWAZA_CONF=$demo/kowaza.conf

step mailmatch 'a header as a reader sees it'
printf 'Subject: =?ISO-2022-JP?B?GyRCTCQ+NUJ6OS05cBsoQg==?=\n\ntext\n' >"$demo/advertisement"
show 0 '' 'mailmatch Subject 未承諾広告 <~/advertisement'
show 1 '' 'mailmatch From,Sender . <~/advertisement'
show 99 '' 'mailmatch -x 99 Subject "^未承諾" <~/advertisement'

step mailtest 'what a .qmail program receives'
show 99 'hello
<and>
<and>' 'echo hello | mailtest'

step mailquotacheck 'whether a message has room in a Maildir'
mkdir -p "$demo/quota/Maildir/cur" "$demo/quota/Maildir/new" "$demo/quota/Maildir/tmp"
head -c 9000 /dev/zero >"$demo/quota/Maildir/cur/1:2,S"
printf 'QUOTA=10000S\nQUOTA_BUFFER=0\n' >>"$KOWAZA_CONF"
show 0 '' 'echo hello | mailquotacheck ~/quota/Maildir'
show 100 'Sorry, this mailbox is full. (#5.2.2)' 'head -c 2000 /dev/zero | mailquotacheck ~/quota/Maildir'

step mailreply 'answers, once for each sender and text'
printf 'Subject: Away: {subject}\n\nBack on Monday.\n' >"$demo/away.txt"
printf 'To: hoge@example.jp\nSubject: lunch\n\nToday?\n' >"$demo/mail"
rm -f "$demo/sent/"*
SENDER=taro@example.org LOCAL=hoge HOST=example.jp
export SENDER LOCAL HOST
show 0 'mailreply: replied to taro@example.org' 'mailreply -v ~/away.txt <~/mail'
show 0 'mailreply: no reply: was sent within 7 days' 'mailreply -v ~/away.txt <~/mail'
show 0 'Subject: Away: lunch' 'grep -h Subject ~/sent/*'

echo
if [ "$wrong" -gt 0 ]; then
	echo "demo: $wrong of $shown commands are not as they should be"
	exit 1
fi
say "Statuses and figures of these $shown commands are as they should be."
sudo=
[ "$(id -u)" -eq 0 ] || sudo='sudo '
cat <<END

Next, by README.md or README.ja.md:
  ./install.sh -n         # what would be put where
  $sudo./install.sh
  rmoldmail -n 10 hoge    # what would go of hoge's mail
END
