#!/bin/sh
# demo: every applet at work on a scratch tree below build/demo, before and
# after. It needs only Go and touches nothing outside.
set -eu
cd "$(dirname "$0")/.."

demo=build/demo
rm -rf "$demo"
mkdir -p "$demo/bin"
cp kowaza "$demo/bin/kowaza"
for name in $(./kowaza --list); do
	ln -s kowaza "$demo/bin/$name"
done
${GO:-go} build -o build/bench ./testdata/bench
PATH=$PWD/$demo/bin:$PATH
KOWAZA_CONF=$PWD/$demo/kowaza.conf
export PATH KOWAZA_CONF
: >"$KOWAZA_CONF"

top=$PWD/$demo
bold=''
plain=''
if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

# step NAME TEXT: the heading of an applet's part.
step() {
	printf '\n%s%s%s  %s\n\n' "$bold" "$1" "$plain" "$2"
}

# show LINE: a shell line as one would type it, and what it prints. ~demo is
# the directory below build/.
show() {
	printf '  $ %s\n' "$1"
	line=$(printf '%s\n' "$1" | sed "s#~demo#'$top'#g")
	status=0
	sh -c "$line" >"$top/out" 2>&1 || status=$?
	sed "s#$top#~demo#g; s/^/  /" "$top/out"
	[ "$status" -eq 0 ] || printf '  (status %d)\n' "$status"
}

# count DIR: messages in each folder of the Maildirs below, old and young.
count() {
	find "$1" -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf '%T@ %h\n' |
		awk -v now="$(date +%s)" '
			{
				box = $0
				sub(/^[^ ]* /, "", box)
				sub(/\/(cur|new)$/, "", box)
				sub(/.*\/Maildir\/?/, "", box)
				if (box == "") box = "INBOX"
				all[box]++
				old[box] += now - $1 > 22 * 86400
			}
			END {
				for (box in all)
					printf "  %-14s %5d messages, %5d of them old\n", box, all[box], old[box]
			}' | sort
}

step rmoldmail "for the script around find(1): old mail leaves a Maildir"
home=$PWD/$demo/home/hoge
build/bench tree -messages 2000 -folders .Sent,.Archive.2019,.Trash "$demo/home"
mv "$demo/home/u0" "$home"
printf '4000000S,4000C\n4096000 2000\n' >"$home/Maildir/maildirsize"
touch -d '100 days ago' "$home/Maildir/maildirsize" "$home/Maildir/dovecot-uidlist" \
	"$home/Maildir/subscriptions"
echo '  before'
count "$home/Maildir"
echo
show 'rmoldmail -n 10 ~demo/home/hoge | wc -l'
show 'rmoldmail 10 ~demo/home/hoge'
echo
echo '  after: nothing was printed, since nothing failed'
count "$home/Maildir"
echo
show 'rmoldmail -v 10 ~demo/home/hoge'
show 'tail -n 2 ~demo/home/hoge/Maildir/maildirsize'
echo "  the server's own files, as old as the mail, are still there"
show 'ls ~demo/home/hoge/Maildir'
show 'rmoldmail 10 ~demo/home/nobody'

step rmmail_virtual "for a shell script in /etc/cron.daily: the same for every virtual user"
build/bench tree -users 40 -messages 50 -folders .Sent,.Trash "$demo/home/popuser"
mkdir -p "$demo/qmail/users"
for u in "$demo/home/popuser/"u*; do
	echo "=${u##*/}:popuser:500:500:$PWD/$u:::"
done >"$demo/qmail/users/assign"
echo . >>"$demo/qmail/users/assign"
printf 'VMDIR=%s\nVUSER=popuser\nQMAIL=%s\n' "$top/home/popuser" "$top/qmail" >"$KOWAZA_CONF"
show 'cat ~demo/kowaza.conf; head -n 2 ~demo/qmail/users/assign'
echo '  before'
count "$demo/home/popuser"
show 'rmmail_virtual -n | wc -l'
show 'rmmail_virtual --folder Trash -d 7'
show 'rmmail_virtual --shard 1/2 -v 2>&1 | tail -n 1'
show 'rmmail_virtual'
echo '  after'
count "$demo/home/popuser"

step qqclean "for a page of advice: messages leave qmail's queue, piece by piece"
build/bench queue -messages 30 "$demo/mta"
cp "$demo/mta/conf" "$KOWAZA_CONF"
n=$(head -n 1 "$demo/mta/spam")
show "qqclean -n $n"
show "qqclean -v -s ~demo/home $n 12345"
show "grep -o '\"sender\":[^,]*\|\"subject\":[^,]*' ~demo/home/$n.json"

step qmHandle "for the Perl script: lists, statistics, removal by sender, subject, age"
show 'qmHandle -s'
show 'qmHandle -l | head -n 8'
show 'qmHandle --json -l | head -n 1'
show 'qmHandle --dry-run -Fspam | tail -n 1'
show 'qmHandle -Fspam | tail -n 2'
show 'qmHandle -N --older-than 3d | wc -l'

step mkdigest "for a Perl script: the digest for APOP"
show 'mkdigest "<1234.1096123456@mail.hoge.cxm>passwd"'
show 'echo passwd | mkdigest -p -u hanako "<1234.1096123456@mail.hoge.cxm>"'

step smtpauthstr "for a Perl one-liner: the string for AUTH PLAIN"
show 'smtpauthstr hanako passwd'
show 'smtpauthstr -d aGFuYWtvAGhhbmFrbwBwYXNzd2Q='
show 'echo passwd | smtpauthstr -c PDE4OTYuNjk3MTcwOTUyQG1haWw+ hanako'

step jmailsend "for a Perl script: Japanese test mail"
mkdir "$demo/sent"
cat >"$demo/sendmail" <<END
#!/bin/sh
cat >"$top/sent/\$\$"
END
chmod 755 "$demo/sendmail"
echo "SENDMAIL=$top/sendmail" >"$KOWAZA_CONF"
show 'jmailsend -n -e utf8 -f root@example.jp -t hoshu@example.jp'
show 'jmailsend -v -e jis -c 100 -j 4 -f root@example.jp -t hoshu@example.jp'
show 'ls ~demo/sent | wc -l'

step mailtest "for a PHP script: what a .qmail program receives"
mkdir "$demo/home/taro"
printf 'From: hanako@example.jp\nSubject: test\n\nhello\n' >"$demo/mail"
echo '|mailtest >mailtest.txt' >"$demo/home/taro/.qmail"
show 'cat ~demo/home/taro/.qmail'
show 'cd ~demo/home/taro && umask 077 && mailtest >mailtest.txt <~demo/mail'
show 'cat ~demo/home/taro/mailtest.txt'
