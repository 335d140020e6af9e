#!/bin/sh
# install.sh: puts kowaza, its links, its man pages, completion, systemd units and
# a sample of its settings in place, or removes them. Scripts that the links
# replace are kept, and the settings at their tops go to /etc/kowaza.conf.
#
# A script is replaced in four steps, so that whatever happens between two of
# them the command is there and nothing is lost: it gets its second name, the
# new link is made under a temporary name, the settings are written, the link is
# renamed over the script.
set -u
umask 022
LC_ALL=C
export LC_ALL

usage_line='usage: install.sh [-n] [-u] [-p PREFIX] [--force NAME]... [--links BINARY]'

help() {
	cat <<EOF
$usage_line
Install kowaza, or remove it.

  -n            show what would be done, change nothing
  -u            uninstall, and put the scripts back that were replaced
  -p PREFIX     install below PREFIX (default: /usr/local)
  --force NAME  replace the script NAME even if it is not the known one
  --links BINARY
                only the links, to a BINARY that is there: for packages
  -h, --help    show this help

DESTDIR in the environment goes before every path, /etc included.
EOF
}

# usage MESSAGE: the end of a run that has touched nothing.
usage() {
	printf 'install.sh: %s\n%s\n' "$1" "$usage_line" >&2
	exit 2
}

failed=0

# note MESSAGE: what the administrator should know.
note() { printf 'install.sh: %s\n' "$1" >&2; }

# err MESSAGE: what went wrong; the rest is still done.
err() {
	note "$1"
	failed=1
}

# did MESSAGE: what was done, or with -n what would be.
did() { printf '%s\n' "$1" 2>/dev/null || failed=1; }

# because MESSAGE: the reason at the end of a command's message.
because() {
	printf '%s' "${1##*: }" | tr '[:upper:]' '[:lower:]'
	[ -n "$1" ] || printf 'failed'
}

# try WHAT COMMAND...: runs the command, which prints nothing; says why it failed.
try() {
	what=$1
	shift
	why=$("$@" 2>&1) && return 0
	err "$what: $(because "$why")"
	return 1
}

# there FILE: something has that name, be it a link that leads nowhere.
there() { [ -e "$1" ] || [ -L "$1" ]; }

newline='
'

# squeeze PATH: sets path, without slashes that say nothing; / becomes empty.
squeeze() {
	path=$1
	while :; do
		case $path in
		*//*) path=${path%%//*}/${path#*//} ;;
		*/) path=${path%/} ;;
		*) return ;;
		esac
	done
}

dry='' uninstall='' prefix=/usr/local force='' binary=''
while [ $# -gt 0 ]; do
	case $1 in
	-n) dry=1 ;;
	-u) uninstall=1 ;;
	-p)
		[ $# -ge 2 ] || usage '-p: missing argument'
		prefix=$2
		shift
		;;
	-p?*) prefix=${1#-p} ;;
	--force)
		[ $# -ge 2 ] || usage '--force: missing argument'
		force="$force$2$newline"
		shift
		;;
	--force=*) force="$force${1#*=}$newline" ;;
	--links)
		[ -n "${2:-}" ] || usage '--links: missing argument'
		binary=$2
		shift
		;;
	--links=?*) binary=${1#*=} ;;
	-h | --help)
		help
		exit 0
		;;
	--)
		shift
		break
		;;
	-[nuh]?*)
		rest=${1#-?}
		first=${1%"$rest"}
		shift
		set -- "$first" "-$rest" "$@"
		continue
		;;
	-*) usage "unknown option: $1" ;;
	*) break ;;
	esac
	shift
done
[ $# -eq 0 ] || usage "too many operands: $1"
case $prefix in
/*) ;;
*) usage "-p: $prefix: not an absolute path" ;;
esac
case $binary in
'' | /*[!/]*) ;;
*) usage "--links: $binary: not an absolute path" ;;
esac
case $prefix$binary${DESTDIR:-} in
*[[:cntrl:]]*) usage 'PREFIX, BINARY or DESTDIR: control character' ;;
esac

squeeze "$prefix"
prefix=$path
squeeze "$binary"
binary=$path
root=${DESTDIR:-}
case $root in
'' | /*) ;;
*) root=$PWD/$root ;;
esac
squeeze "$root"
root=$path

# What stands beside this script: a checkout or an unpacked tarball.
case $0 in
*/*) here=${0%/*}/ ;;
*) here=./ ;;
esac
here=$(CDPATH='' cd -- "$here" && pwd) || exit 1
squeeze "$here"
here=$path
links=$here/symlinks.txt

# applet LINK: sets applet, the command that a link of that name runs.
applet() {
	applet=${1##*/}
	case $applet in
	*.pl) applet=${applet%.pl} ;;
	*.sh) applet=${applet%.sh} ;;
	esac
}

# next_link: sets line, the next path of symlinks.txt, which is descriptor 3.
next_link() {
	while IFS=' 	' read -r line <&3 || [ -n "$line" ]; do
		case $line in
		'' | '#'*) ;;
		*) return 0 ;;
		esac
	done
	return 1
}

if [ ! -f "$links" ] || [ ! -r "$links" ]; then
	err "$links: not there"
	exit 1
fi

known=$newline
while next_link; do
	applet "$line"
	known=$known$applet$newline
done 3<"$links"
rest=$force
while [ -n "$rest" ]; do
	name=${rest%%"$newline"*}
	rest=${rest#*"$newline"}
	case $known in
	*"$newline$name$newline"*) ;;
	*) usage "--force: $name: no such applet" ;;
	esac
done
force=$newline$force

# What the links lead to, without DESTDIR and with it.
target=${binary:-$prefix/bin/kowaza}
bin=$root$target
share=$root$prefix/share
conf=$root/etc/kowaza.conf

# Nobody reading what we print must not end the work half-way. A signal does,
# between two steps.
trap '' PIPE
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kowaza.XXXXXX") || exit 1
new='' aside=''
trap 'rm -rf "$tmp"; rm -f ${new:+"$new"} ${aside:+"$aside"}' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A temporary name begins with a dot: run-parts of cron passes over it.

# temporary DIR: sets new, an empty file in DIR.
temporary() {
	if ! new=$(mktemp "$1/.kowaza.XXXXXX" 2>&1); then
		err "$1: $(because "$new")"
		new=
		return 1
	fi
}

# unused DIR: sets new, a name in DIR that nothing has, for a link or a copy
# that fails where something has it after all.
unused() {
	if ! new=$(mktemp -u "$1/.kowaza.XXXXXX" 2>&1); then
		err "$1: $(because "$new")"
		new=
		return 1
	fi
}

# discard: removes the temporary file of a step that failed; itself a failure.
discard() {
	[ -z "$new" ] || rm -f "$new"
	new=
	return 1
}

# aside, back: while there is another temporary file.
aside() {
	aside=$new
	new=
}

back() {
	[ -z "$aside" ] || new=$aside
	aside=
}

# rename NAME: gives the temporary file its name.
rename() {
	try "$1" mv -f "$new" "$1" || discard || return 1
	new=
}

# put SOURCE FILE MODE: FILE becomes a copy of SOURCE, unless it is one.
put() {
	if [ -d "$2" ]; then
		err "$2: is a directory"
		return 1
	fi
	if cmp -s "$1" "$2"; then
		[ "$3" = 644 ] || [ -x "$2" ] && return 0
	fi
	if [ -z "$dry" ]; then
		try "${2%/*}" mkdir -p "${2%/*}" && temporary "${2%/*}" || return 1
		try "$2" cp "$1" "$new" || discard || return 1
		try "$2" chmod "$3" "$new" || discard || return 1
		rename "$2" || return 1
	fi
	did "installed $2"
}

# ours LINK: it leads to our binary. Inside DESTDIR an absolute one leads out.
ours() {
	[ -L "$1" ] || return 1
	[ "$(readlink "$1")" != "$target" ] || return 0
	[ -n "$bin_end" ] && [ "$(readlink -f "$1")" = "$bin_end" ]
}

# place LINE: sets place, where the link goes, and text, what it says. A
# relative one holds inside DESTDIR too.
place() {
	case $1 in
	/*)
		place=$root$1
		text=$target
		;;
	*/*/*)
		place=$root$prefix/$1
		text=$target
		;;
	bin/*)
		place=$root$prefix/$1
		text=kowaza
		;;
	*/*)
		place=$root$prefix/$1
		text=../bin/kowaza
		;;
	*)
		place=$root$prefix/$1
		text=bin/kowaza
		;;
	esac
	# PREFIX/sbin may itself be a link to a place far away.
	case $text in
	/*) ;;
	*)
		if [ -d "${place%/*}" ] && [ -n "$bin_end" ] &&
			[ "$(readlink -f "${place%/*}/$text")" != "$bin_end" ]; then
			text=$target
		fi
		;;
	esac
}

# original LINE: sets original, the first of the names that the script in the
# link's place is kept under; the others have .1, .2 and so on after it. Some
# run-parts run whatever lies in cron's directories, so it leaves them.
original() {
	case $1 in
	/etc/cron.daily/*) original=$share/kowaza/orig/${1##*/} ;;
	/etc/cron.*/*) original=$share/kowaza/orig/${1#/etc/} ;;
	*) original=$place.orig ;;
	esac
}

# newest FILE: sets top, the highest number in use of FILE (0), FILE.1, FILE.2;
# empty if there is none. A longer number is somebody's date.
newest() {
	top=
	! there "$1" || top=0
	for f in "$1".*; do
		n=${f#"$1".}
		case $n in
		'' | 0* | *[!0-9]* | ??????*) continue ;;
		esac
		[ "$n" -le "${top:-0}" ] || top=$n
	done
}

# second NAME FILE: FILE gets NAME too, or a copy where that cannot be, with mode
# and times. Never over a file.
second() {
	if there "$1"; then
		err "$1: file exists"
		return 1
	fi
	# Without -P a link may be followed; not every ln has -P.
	ln -P "$2" "$1" 2>/dev/null || ln "$2" "$1" 2>/dev/null && return 0
	unused "${1%/*}" || return 1
	try "$1" cp -pP "$2" "$new" || discard || return 1
	rename "$1"
}

# The settings at the top of a script, read as text. Standard input: the script,
# NUL as \001. PLACE and SHOWN: its name for kowaza.conf and for messages. APPLET
# and USES: the command, the keys that it uses. CONF: kowaza.conf as it is.
# ADD, KEYS, NAMED: files for the lines to add, for the keys among them, and for
# what is not carried over.
cat >"$tmp/settings.awk" <<'AWK'
BEGIN {
	for (i = 1; i < 256; i++)
		ord[sprintf("%c", i)] = i
	n = split(ENVIRON["USES"], list, " ")
	for (i = 1; i <= n; i++)
		uses[list[i]] = 1
	n = split("VMDIR VUSER DAYS QMAIL SENDMAIL JMAIL_TO JMAIL_FROM JMAIL_CHARSET JMAIL_COUNT MAILTEST_EXIT QMAIL_STOP QMAIL_START", list, " ")
	for (i = 1; i <= n; i++)
		key[list[i]] = 1
	# The names that the Perl script qmHandle has for them.
	script["QUEUE"] = "QMAIL"
	script["STOPQMAIL"] = "QMAIL_STOP"
	script["STARTQMAIL"] = "QMAIL_START"
	while ((getline s < ENVIRON["CONF"]) > 0)
		conf(s)
}

# conf notes what a line of kowaza.conf sets, as internal/settings reads it. An
# empty value is one, too: it must not be set again to another.
function conf(s,   k, q) {
	present[s] = 1
	gsub(/^[ \t\r]+|[ \t\r]+$/, "", s)
	if (!match(s, /^[A-Z_]+=/))
		return
	k = substr(s, 1, RLENGTH - 1)
	s = substr(s, RLENGTH + 1)
	sub(/^[ \t\r]+/, "", s)
	q = substr(s, 1, 1)
	if (q == "\"" || q == "'") {
		s = substr(s, 2)
		s = substr(s, 1, index(s, q) - 1)
	} else {
		sub(/^#.*/, "", s)
		sub(/[ \t\r]#.*/, "", s)
		sub(/[ \t\r]+$/, "", s)
	}
	have[k] = s
}

# esc makes s fit to be shown: C0, DEL, C1 and what is no UTF-8 as \ooo, with
# twice a backslash doubled.
function esc(s, twice,   i, j, n, c, o, out) {
	if (length(s) > 200)
		s = substr(s, 1, 200) "..."
	n = length(s)
	for (i = 1; i <= n; i += j) {
		c = substr(s, i, 1)
		o = ord[c]
		j = 1
		if (o >= 194 && o <= 244) {
			j = o < 224 ? 2 : o < 240 ? 3 : 4
			if (!utf8(s, i, j, o))
				j = 1
		}
		if (j > 1)
			out = out substr(s, i, j)
		else if (o < 32 || o > 126)
			out = out sprintf("\\%03o", o)
		else
			out = out (c == "\\" && twice ? "\\\\" : c)
	}
	return out
}

# utf8 says whether the j bytes at i, of which the first is o, are a character
# that may be shown.
function utf8(s, i, j, o,   k, p) {
	p = ord[substr(s, i + 1, 1)]
	if (o == 194 && p < 160 || o == 224 && p < 160 || o == 237 && p > 159 || o == 240 && p < 144 || o == 244 && p > 143)
		return 0
	for (k = 1; k < j; k++) {
		p = ord[substr(s, i + k, 1)]
		if (p < 128 || p > 191)
			return 0
	}
	return 1
}

# refuse names a setting that is not carried over. A hundred are enough.
function refuse(text, why,   line) {
	if (++refused > 100)
		return
	sub(/[ \t]+$/, "", text)
	line = "# not carried over from " ENVIRON["PLACE"] ": " esc(text, 0) ": " why
	if (!(line in present))
		comment[++comments] = line
	present[line] = 1
	print ENVIRON["SHOWN"] ": " esc(text, 1) ": not carried over: " why > ENVIRON["NAMED"]
}

# invalid says why internal/settings would not take the value; empty if it does.
function invalid(k, v) {
	if (k == "VMDIR" || k == "QMAIL" || k == "SENDMAIL")
		return v ~ /^\// ? "" : "not an absolute path"
	if (k == "DAYS" || k == "JMAIL_COUNT") {
		if (v !~ /^[0-9]+$/)
			return "not a number"
		sub(/^0+/, "", v)
		if (k == "DAYS")
			return length(v) < 9 && v + 0 <= 36500 ? "" : "not a number from 0 to 36500"
		return length(v) < 9 && v + 0 >= 1 && v + 0 <= 1000000 ? "" : "not a number from 1 to 1000000"
	}
	if (k == "JMAIL_CHARSET")
		return v ~ /^(jis|sjis|euc|utf8)$/ ? "" : "not one of jis, sjis, euc, utf8"
	if (k == "MAILTEST_EXIT")
		return v ~ /^(0|99|100|111)$/ ? "" : "not one of 0, 99, 100, 111"
	return ""
}

# meaning is the value without what makes no difference.
function meaning(k, v) {
	if (k == "VMDIR" || k == "QMAIL" || k == "SENDMAIL") {
		gsub(/\/+/, "/", v)
		if (v != "/")
			sub(/\/$/, "", v)
	}
	if (k == "DAYS" || k == "JMAIL_COUNT") {
		sub(/^0+/, "", v)
	}
	return v
}

# setting carries NAME=value over, or refuses its text. bad: why the value is
# not known.
function setting(name, v, bad, text,   k, why) {
	k = toupper(name)
	if (ENVIRON["APPLET"] == "qmHandle" && k in script) {
		if (k == "QUEUE" && !sub(/\/queue\/*$/, "", v) && bad == "")
			bad = "not a directory called queue"
		k = script[k]
	}
	if (!(k in key))
		return refuse(text, "no such key")
	if (!(k in uses))
		return refuse(text, ENVIRON["APPLET"] " does not use it")
	if (bad == "" && index(v, "$"))
		bad = "contains $"
	if (bad == "" && index(v, "`"))
		bad = "contains a backquote"
	if (bad == "" && (index(v, "*") || index(v, "?") || index(v, "[")))
		bad = "contains a glob"
	if (bad == "" && index(v, "\\"))
		bad = "contains a backslash"
	if (bad == "" && v ~ /[\001-\037\177]/)
		bad = "control character"
	if (bad == "" && index(v, "'") && index(v, "\""))
		bad = "contains both quotation marks"
	if (bad == "" && length(v) > 4096)
		bad = "too long"
	if (bad == "" && v == "")
		bad = "empty"
	if (bad == "")
		bad = invalid(k, v)
	if (bad == "" && k in have) {
		if (meaning(k, have[k]) == meaning(k, v))
			return
		bad = "contradicts " k "=" esc(have[k], 0) ", set before"
	}
	if (bad != "")
		return refuse(text, bad)
	have[k] = v
	print k > ENVIRON["KEYS"]
	if (v !~ /^[A-Za-z0-9_\/.,:@%+=-]+$/)
		v = index(v, "'") ? "\"" v "\"" : "'" v "'"
	carried[++count] = k "=" v
}

# word reads the value at the beginning of s as a shell does, but expands
# nothing. It sets WORD, and BAD if it is more than plain text, and returns the
# length in s, or -1 if it goes on in the next line.
function word(s,   i, j, n, c, quoted) {
	WORD = BAD = ""
	n = length(s)
	for (i = 1; i <= n; i++) {
		c = substr(s, i, 1)
		if (c == "\\") {
			if (BAD == "")
				BAD = "contains a backslash"
			if (++i > n)
				return -1
		} else if (c == "`") {
			if (BAD == "")
				BAD = "contains a backquote"
			if (!(j = index(substr(s, i + 1), "`")))
				return -1
			i += j
		} else if (c == "$") {
			if (BAD == "")
				BAD = "contains $"
			c = substr(s, i + 1, 1)
			if (c == "(" || c == "{") {
				if (!(j = closed(substr(s, i + 1), c, c == "(" ? ")" : "}")))
					return -1
				i += j
			}
		} else if (c == "\"")
			quoted = !quoted
		else if (quoted)
			WORD = WORD c
		else if (c == "'") {
			if (!(j = index(substr(s, i + 1), "'")))
				return -1
			WORD = WORD substr(s, i + 1, j - 1)
			i += j
		} else if (c == "(" && i == 1) {
			BAD = "not a plain value"
			if (!(j = closed(s, "(", ")")))
				return -1
			i += j - 1
		} else if (c == "~" && (i == 1 || substr(s, i - 1, 1) == ":")) {
			if (BAD == "")
				BAD = "contains ~"
		} else if (index(" \t;&|<>()", c))
			break
		else
			WORD = WORD c
	}
	return quoted ? -1 : i - 1
}

# closed returns where the bracket closes that s begins with, 0 if not in s.
function closed(s, left, right,   i, n, c, depth) {
	n = length(s)
	for (i = 1; i <= n; i++) {
		c = substr(s, i, 1)
		if (c == left)
			depth++
		else if (c == right && --depth == 0)
			return i
	}
	return 0
}

# shell reads a line of assignments: A=1 B=2; export C='3' # and so on. It
# returns 0 where the line holds a command: A=1 command sets nothing.
function shell(s,   exported, n, i, w, len, name, names, values, bads, texts) {
	n = 0
	for (;;) {
		sub(/^[ \t]+/, "", s)
		if (s == "" || s ~ /^[;#]/) {
			for (i = 1; i <= n; i++)
				setting(names[i], values[i], bads[i], texts[i])
			n = exported = 0
			if (s !~ /^;/)
				return 1
			s = substr(s, 2)
		} else if (n == 0 && !exported && match(s, /^export[ \t]+/)) {
			exported = 1
			s = substr(s, RLENGTH + 1)
		} else if (match(s, /^[A-Za-z_][A-Za-z0-9_]*[+]?=/)) {
			len = RLENGTH
			name = substr(s, 1, len - 1)
			w = word(substr(s, len + 1))
			if (w < 0) {
				refuse(s, "goes on in the next line, nothing after it was read")
				return 0
			}
			n++
			names[n] = name
			values[n] = WORD
			bads[n] = BAD
			if (sub(/[+]$/, "", names[n]))
				bads[n] = "not a plain value"
			texts[n] = substr(s, 1, len + w)
			s = substr(s, len + w + 1)
			if (s !~ /^([ \t;]|$)/)
				return 0
		} else if (exported && match(s, /^[A-Za-z_][A-Za-z0-9_]*/) && substr(s, RLENGTH + 1) ~ /^([ \t;]|$)/)
			s = substr(s, RLENGTH + 1)
		else
			return 0
	}
}

# perl reads a line of Perl's or PHP's assignments. It returns 0 where the line
# holds something else.
function perl(s,   name, v, bad, text, q, start) {
	for (;;) {
		sub(/^[ \t]+/, "", s)
		if (s == "" || s ~ /^#/ || lang == "php" && s ~ /^\/\//)
			return 1
		start = s
		# my ($x) = 'a' is my $x = 'a'.
		if (!match(s, /^((my|our|local)[ \t]+)?[$][A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*/) &&
			!match(s, /^(my|our|local)[ \t]*[(][ \t]*[$][A-Za-z_][A-Za-z0-9_]*[ \t]*[)][ \t]*=[ \t]*/))
			return expression(start)
		name = substr(s, 1, RLENGTH)
		s = substr(s, RLENGTH + 1)
		sub(/[ \t]*[)]?[ \t]*=[ \t]*$/, "", name)
		sub(/^.*[$]/, "", name)
		bad = ""
		q = substr(s, 1, 1)
		if (match(s, /^"[^"]*"/) || match(s, /^'[^']*'/))
			v = substr(s, 2, RLENGTH - 2)
		else if (match(s, /^(0|[1-9][0-9]*)/)) # 010 would be eight
			v = substr(s, 1, RLENGTH)
		else
			return expression(start)
		if (q == "\"" && index(v, "@") && lang != "php")
			bad = "contains @"
		if (index(v, "\\"))
			return expression(start)
		text = substr(start, 1, length(start) - length(s) + RLENGTH)
		s = substr(s, RLENGTH + 1)
		sub(/^[ \t]+/, "", s)
		if (s !~ /^;/)
			return expression(start)
		setting(name, v, bad, text ";")
		s = substr(s, 2)
	}
}

# expression refuses an assignment of something that only Perl or PHP knows.
function expression(s,   v, name, why) {
	if (!match(s, /^((my|our|local)[ \t]*[$@%(]|[$@%])[^=]*=/) || substr(s, RLENGTH + 1) ~ /^[=~>]/)
		return 0
	name = substr(s, 1, RLENGTH - 1)
	v = substr(s, RLENGTH + 1)
	why = "not a plain value"
	if (index(v, "\\"))
		why = "contains a backslash"
	if (index(v, "`"))
		why = "contains a backquote"
	if (index(v, "$"))
		why = "contains $"
	gsub(/^((my|our|local)[ \t]+)?[$]|[ \t]+$/, "", name)
	if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/)
		setting(name, "", why, s)
	else
		refuse(s, "no such key")
	sub(/;[ \t]*((#|\/\/).*)?$/, ";", v)
	# A second statement may be a command, and a statement may go on.
	return index(v, ";") == length(v) && v != ""
}

# again names a setting that stands further down, maybe behind a condition:
# which value holds there only a run would tell.
function again(s,   k, u) {
	if (s ~ /^#/ || length(s) > 8192)
		return
	u = toupper(s)
	for (k in uses)
		if (u ~ "(^|[^A-Z0-9_])" k "[ \t]*[+.]?=([^=~>]|$)")
			refuse(s, k " is set below the settings at the top")
}

NR == 1 {
	sub(/^\357\273\277/, "")
	if (/^#!.*perl/)
		lang = "perl"
	else if (/^#!.*php/)
		lang = "php"
	else if (/^#!.*sh/)
		lang = "sh"
}

{
	s = $0
	sub(/\r$/, "", s)
	sub(/^[ \t]+/, "", s)
	if (below) {
		again(s)
		next
	}
	if (inside) { # a comment of PHP's
		if (!(i = index(s, "*/")))
			next
		inside = 0
		s = substr(s, i + 2)
		sub(/^[ \t]+/, "", s)
	}
	if (s ~ /^<[?]php([ \t]|$)/) {
		lang = "php"
		s = substr(s, 6)
		sub(/^[ \t]+/, "", s)
	}
	if (s ~ /^#/ || s ~ /^[ \t]*$/)
		next
	if (lang == "php") {
		if (s ~ /^\/\//)
			next
		if (s ~ /^\/[*]/) {
			i = index(s, "*/")
			if (!i)
				inside = 1
			else if (substr(s, i + 2) ~ /[^ \t]/)
				below = 1
			next
		}
	}
	if (length(s) > 8192) {
		if (match(s, /^[^=]*=/) && RLENGTH < 100)
			refuse(s, "too long, nothing after it was read")
		below = 1
		next
	}
	if (s ~ /^use[ \t].*;[ \t]*(#.*|\/\/.*)?$/)
		next
	if (s ~ /^(set|umask)([ \t][^;&|<>`$()\\]*)?$/)
		next
	if (lang != "perl" && lang != "php" && s ~ /^(export[ \t]|[A-Za-z_][A-Za-z0-9_]*[+]?=)/) {
		if (!shell(s))
			below = 1
	} else if (lang == "sh" || !perl(s)) {
		below = 1
		again(s)
	}
}

END {
	if (count)
		print "# carried over from " ENVIRON["PLACE"] > ENVIRON["ADD"]
	for (i = 1; i <= count; i++)
		print carried[i] > ENVIRON["ADD"]
	for (i = 1; i <= comments; i++)
		print comment[i] > ENVIRON["ADD"]
	if (refused > 100)
		print ENVIRON["SHOWN"] ": ... and " refused - 100 " more not carried over" > ENVIRON["NAMED"]
}
AWK

# Whether a script is the page's mailtest, whatever its white space, comments
# and names; prints its exit code if so. The page describes it: lines are read
# to the end of the file, then each is printed with <and> and a newline after
# it. It is known only by what it does, so only plain ways to write just that
# are taken:
#
#	$fp = fopen("php://stdin", "r");	or STDIN itself
#	while (!feof($fp)) { $line[] = fgets($fp, 1024); }	or $line[$i++], or
#						$line[$i], then $i++; any or no number
#	fclose($fp);				here, before the exit or not at all
#	foreach ($line as $l) { print $l."<and>\n"; }	or for with count() or the
#						counter; echo; "$l<and>\n"
#	exit(99);
#
# Everything else is somebody's own filter. Standard input: the script, NUL as
# \001.
cat >"$tmp/page.awk" <<'AWK'
{ script = script $0 "\n" }

END {
	if (!plain() || !page())
		exit 1
	print status
}

# plain sets code: the script without comments, white space only where two words
# would meet, strings in double quotes where that makes no difference. It
# returns 0 where the script is no PHP, or more than PHP.
function plain(   s, line, n, i, j, c, blank) {
	s = script
	if (s ~ /^#!/) {
		i = index(s, "\n")
		line = substr(s, 1, i - 1)
		s = substr(s, i + 1)
		if (line !~ /^#![ \t]*\/([^ \t]*\/)?(env[ \t]+)?php[0-9.]*([ \t]+-[qn])*[ \t\r]*$/)
			return 0
	}
	sub(/^[ \t\r\n]+/, "", s)
	if (s !~ /^<[?]php[ \t\r\n]/)
		return 0
	s = substr(s, 6)
	n = length(s)
	for (i = 1; i <= n; i++) {
		c = substr(s, i, 1)
		if (index(" \t\r\n", c))
			blank = 1
		else if (c == "#" || substr(s, i, 2) == "//") {
			j = index(substr(s, i), "\n")
			line = substr(s, i, j)
			if (index(line, "?>") || line ~ /^#\[/)
				return 0
			i += j - 1
			blank = 1
		} else if (substr(s, i, 2) == "/*") {
			if (!(j = index(substr(s, i + 2), "*/")))
				return 0
			i += j + 2
			blank = 1
		} else if (substr(s, i, 2) == "?>")
			return substr(s, i + 2) ~ /^[ \t\r\n]*$/
		else if (c == "\"" || c == "'") {
			if (!(j = index(substr(s, i + 1), c)))
				return 0
			line = substr(s, i + 1, j - 1)
			if (line ~ /\\$/) # the quotation mark may belong to the string
				return 0
			if (c == "'" && line !~ /[\\$"]/)
				c = "\""
			code = code c line c
			i += j
			blank = 0
		} else {
			if (blank && code ~ /[A-Za-z0-9_$]$/ && c ~ /[A-Za-z0-9_$]/)
				code = code " "
			code = code c
			blank = 0
		}
	}
	return 1
}

# take removes s from the front of code.
function take(s) {
	if (s == "" || substr(code, 1, length(s)) != s)
		return 0
	code = substr(code, length(s) + 1)
	return 1
}

# name removes a variable from the front of code and returns it.
function name(   v) {
	if (!match(code, /^[$][A-Za-z_][A-Za-z0-9_]*/))
		return ""
	v = substr(code, 1, RLENGTH)
	code = substr(code, RLENGTH + 1)
	return v
}

# digits removes a number from the front of code and returns it.
function digits(   v) {
	if (!match(code, /^[0-9]+/))
		return ""
	v = substr(code, 1, RLENGTH)
	code = substr(code, RLENGTH + 1)
	return v
}

# begin takes $lines = array(); and $i = 0;
function begin(   before, v) {
	for (;;) {
		before = code
		v = name()
		if (v != "" && take("=0;"))
			zero[v] = 1
		else if (!(v != "" && (take("=array();") || take("=[];")))) {
			code = before
			return
		}
	}
}

# got takes fgets($fp) or fgets($fp, 1024).
function got() {
	if (!take("fgets(" fp))
		return 0
	if (take(",") && digits() == "")
		return 0
	return take(");")
}

function page(   before, brace, l, k, j) {
	begin()
	before = code
	fp = name()
	if (fp == "" || !take("=fopen(\"php://stdin\",\"r")) {
		code = before
		fp = "STDIN"
	} else if (!take("\");") && !take("b\");"))
		return 0
	begin()
	if (fp in zero || !take("while(!feof(" fp "))"))
		return 0
	brace = take("{")
	lines = name()
	if (lines == "" || lines == fp || lines in zero || !take("["))
		return 0
	counter = ""
	if (!take("]=")) {
		counter = name()
		if (!(counter in zero))
			return 0
		if (take("]=")) {
			if (!brace || !got() || !(take(counter "++;") || take("++" counter ";")))
				return 0
		} else if (!take("++]=") || !got())
			return 0
	} else if (!got())
		return 0
	if (brace && !take("}"))
		return 0
	closed = take("fclose(" fp ");")

	before = code
	j = name()
	if (j != "" && j != fp && j != lines && take("=count(" lines ");"))
		counter = j
	else
		code = before

	if (take("foreach(" lines " as ")) {
		l = name()
		if (l != "" && take("=>")) {
			k = l
			l = name()
		}
		if (l == "" || l == lines || l == fp || l == k || k == lines || k == fp || !take(")"))
			return 0
	} else if (take("for(")) {
		j = name()
		if (j == "" || j == lines || j == fp || j == counter || !take("=0;" j "<"))
			return 0
		if (!take("count(" lines ");") && !(counter != "" && take(counter ";")))
			return 0
		if (!take(j "++)") && !take("++" j ")"))
			return 0
		l = lines "[" j "]"
	} else
		return 0
	brace = take("{")
	if (!printed(l, brace) || brace && !take("}"))
		return 0

	if (!closed)
		take("fclose(" fp ");")
	if (!take("exit"))
		return 0
	if (take(";") || take("();"))
		status = 0
	else if (take("(")) {
		status = digits()
		if (status == "" || !take(");"))
			return 0
	} else if (take(" ")) {
		status = digits()
		if (status == "" || !take(";"))
			return 0
	} else
		return 0
	return code == ""
}

# printed takes what prints l and the mark after it.
function printed(l, brace,   echo, mark, paren) {
	mark = "\"<and>\\n\""
	echo = take("echo")
	if (!echo && !take("print"))
		return 0
	take(" ")
	if (brace && (take(l ";print" mark ";") || take(l ";echo" mark ";")))
		return 1
	if (echo && take(l "," mark ";"))
		return 1
	paren = take("(") ? ")" : ""
	return take(l "." mark paren ";") || take(l ".\"<and>\".\"\\n\"" paren ";") ||
		take("\"" l "<and>\\n\"" paren ";") || take("\"{" l "}<and>\\n\"" paren ";")
}
AWK

# The settings file is worked on as a copy, which with -n is all that changes.
conf_bad=
conf_file=$conf
if [ -L "$conf" ]; then
	conf_file=$(readlink -f "$conf")
	case $conf_file in
	"$(readlink -f "$root/")"/*) ;;
	*) [ -z "$root" ] || conf_bad='leads out of DESTDIR' ;;
	esac
	[ -n "$conf_file" ] || conf_bad='leads nowhere'
fi
: >"$tmp/conf"
if [ -z "$conf_bad" ] && [ -e "$conf_file" ]; then
	if [ ! -f "$conf_file" ]; then
		conf_bad='not a regular file'
	elif ! cat "$conf_file" >"$tmp/conf" 2>/dev/null; then
		conf_bad='cannot be read'
	fi
fi

# read_script FILE: its text for awk, which may not know NUL.
read_script() {
	[ -f "$1" ] && tr '\000' '\001' <"$1" >"$tmp/script" && return
	: >"$tmp/script"
	return 1
} 2>/dev/null

# plan LINE: finds the settings of the script in $tmp/script that stands at place.
plan() {
	case $applet in
	rmoldmail) uses='VMDIR QMAIL' ;;
	rmmail_virtual) uses='VMDIR VUSER DAYS QMAIL' ;;
	qqclean) uses='QMAIL' ;;
	jmailsend) uses='QMAIL SENDMAIL JMAIL_TO JMAIL_FROM JMAIL_CHARSET JMAIL_COUNT' ;;
	mailtest) uses='MAILTEST_EXIT' ;;
	qmHandle) uses='QMAIL QMAIL_STOP QMAIL_START' ;;
	*) uses='' ;;
	esac
	: >"$tmp/add"
	: >"$tmp/keys"
	: >"$tmp/named"
	tr '\000' '\001' <"$tmp/conf" >"$tmp/conf.text" || return 1
	# Not as operands or -v: awk would take a name with = or \ for something else.
	PLACE=${place#"$root"} SHOWN=$place APPLET=$applet USES=$uses CONF=$tmp/conf.text \
		ADD=$tmp/add KEYS=$tmp/keys NAMED=$tmp/named \
		awk -f "$tmp/settings.awk" <"$tmp/script" || return 1
	[ -s "$tmp/add" ] || return 0
	{
		cat "$tmp/conf"
		if [ ! -s "$tmp/conf" ]; then
			echo '# Settings of kowaza, see kowaza.conf(5) and kowaza.conf.sample.'
		elif [ "$(tail -c 1 "$tmp/conf" | wc -l)" -eq 0 ]; then
			echo
		fi
		echo
		cat "$tmp/add"
	} >"$tmp/conf.next"
}

# publish: writes the settings that plan found. Owner and mode stay.
publish() {
	[ -s "$tmp/add" ] || return 0
	if [ -z "$dry" ]; then
		try "${conf_file%/*}" mkdir -p "${conf_file%/*}" && temporary "${conf_file%/*}" || return 1
		if [ -e "$conf_file" ]; then
			try "$conf" cp -p "$conf_file" "$new" || discard || return 1
		else
			try "$conf" chmod 644 "$new" || discard || return 1
		fi
		if ! cat "$tmp/conf.next" 2>/dev/null >"$new"; then
			err "$conf: cannot be written"
			discard || return 1
		fi
		rename "$conf_file" || return 1
	fi
	mv -f "$tmp/conf.next" "$tmp/conf"
}

# newlink: makes the link under a temporary name.
newlink() {
	unused "${place%/*}" || return 1
	try "$place" ln -s "$text" "$new" || discard
}

# link LINE: puts the link in its place.
link() {
	place "$1"
	case /$1/ in
	*/../* | /bin/kowaza/)
		err "$links: $1: not a place for a link"
		return
		;;
	esac
	case $1 in
	/*) there "$place" || return 0 ;;
	esac
	if [ -d "$place" ]; then
		err "$place: is a directory"
		return
	fi
	ours "$place" && return
	if there "$place"; then
		replace "$1"
		return
	fi
	if [ -z "$dry" ]; then
		try "${place%/*}" mkdir -p "${place%/*}" || return 1
		# The directory is there only now.
		place "$1"
		newlink && rename "$place" || return 1
	fi
	did "linked $place"
}

# replace LINE: puts the link in the place of a script.
replace() {
	if [ ! -f "$place" ] && [ ! -L "$place" ]; then
		err "$place: not a regular file"
		return
	fi
	applet "$1"
	forced=
	case $force in
	*"$newline$applet$newline"*) forced=1 ;;
	esac

	if ! read_script "$place"; then
		if [ "$applet" = mailtest ] && [ -z "$forced" ]; then
			err "$place: cannot be read: left alone, see --force"
			return
		fi
		note "$place: cannot be read: no settings carried over"
	fi
	exit_code=
	if [ "$applet" = mailtest ]; then
		if [ "$(wc -c <"$tmp/script")" -le 16384 ]; then
			exit_code=$(awk -f "$tmp/page.awk" <"$tmp/script")
		fi
		if [ -n "$exit_code" ]; then
			echo "MAILTEST_EXIT=$exit_code" >"$tmp/script"
		elif [ -z "$forced" ]; then
			err "$place: not the script of the page: left alone, see --force"
			return
		fi
	fi
	if ! plan; then
		err "$place: its settings cannot be read: left alone"
		return
	fi
	# A filter that ends with another status sends mail elsewhere.
	if [ -n "$exit_code" ] && [ -z "$forced" ] && [ -s "$tmp/named" ]; then
		while IFS= read -r message; do
			err "$message: left alone, see --force"
		done <"$tmp/named"
		return
	fi
	if [ -s "$tmp/add" ] && [ -n "$conf_bad" ]; then
		err "$conf: $conf_bad: $place is left alone"
		return
	fi

	original "$1"
	newest "$original"
	kept=$original${top:+.$((top + 1))}
	if [ -z "$dry" ]; then
		try "${kept%/*}" mkdir -p "${kept%/*}" && second "$kept" "$place" || return 1
	fi
	if [ -n "$dry" ]; then
		publish
	elif ! newlink || ! aside || ! publish || ! back || ! rename "$place"; then
		back
		discard
		rm -f "$kept"
		return 1
	fi
	did "moved $place to $kept"
	while IFS= read -r k; do
		did "carried over $k from $place"
	done <"$tmp/keys"
	while IFS= read -r message; do
		note "$message"
	done <"$tmp/named"
	did "linked $place"
}

# page_of FILE: sets page, where a man page of ours goes.
page_of() {
	case $1 in
	*/man/ja/*) page=$share/man/ja/man${1##*.}/${1##*/} ;;
	*) page=$share/man/man${1##*.}/${1##*/} ;;
	esac
}

# Completion finds its file by the name of the command, so each has a link.
bash_completion=$share/bash-completion/completions
zsh_completion=$share/zsh/site-functions
units=$share/doc/kowaza/systemd

# commands: prints the names under which the links of symlinks.txt are called.
commands() {
	while next_link; do
		printf '%s\n' "${line##*/}"
	done 3<"$links" | sort -u
}

# foreign FILE: there is a file, and it is somebody else's: ours name kowaza.
foreign() { [ -e "$1" ] && ! grep -q kowaza "$1" 2>/dev/null; }

# put_ours SOURCE FILE: put, but never over a file of somebody else.
put_ours() {
	if foreign "$2"; then
		err "$2: not a file of kowaza: left alone"
		return 1
	fi
	put "$1" "$2" 644
}

# completion: installs it, for each command.
completion() {
	[ -f "$here/completion/kowaza.bash" ] || return 0
	put_ours "$here/completion/_kowaza" "$zsh_completion/_kowaza"
	put_ours "$here/completion/kowaza.bash" "$bash_completion/kowaza" || return 0
	for name in $(commands); do
		file=$bash_completion/$name
		if [ "$(readlink "$file" 2>/dev/null)" = kowaza ]; then
			continue
		elif there "$file"; then
			err "$file: not a file of kowaza: left alone"
			continue
		fi
		[ -n "$dry" ] || try "$file" ln -s kowaza "$file" || continue
		did "linked $file"
	done
}

# build: makes the binary where it is not there yet.
build() {
	[ ! -f "$here/kowaza" ] || return 0
	if [ -z "$dry" ]; then
		if [ ! -f "$here/go.mod" ] || ! command -v go >/dev/null; then
			err "$here/kowaza: not there, nor Go and its source to build it"
			exit 1
		fi
		(cd "$here/" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o kowaza .) >&2 || {
			err "$here/kowaza: cannot be built"
			exit 1
		}
	fi
	did "built $here/kowaza"
}

# link_all: makes all links.
link_all() {
	bin_end=$(readlink -f "$bin" 2>/dev/null)
	while next_link; do
		link "$line"
	done 3<"$links"
}

install() {
	if [ -n "$binary" ]; then
		if [ ! -f "$bin" ] || [ ! -x "$bin" ]; then
			err "$bin: not there"
		elif [ "$target" != "$prefix/bin/kowaza" ] && there "$root$prefix/bin/kowaza"; then
			err "$root$prefix/bin/kowaza: installed already: its links are left alone, remove it with install.sh -u"
		else
			link_all
		fi
		return
	fi
	build
	# A link to a binary that is not there would be worse than the script.
	if put "$here/kowaza" "$bin" 755; then
		link_all
	fi
	for page_file in "$here"/man/*.[1-8] "$here"/man/ja/*.[1-8]; do
		[ -f "$page_file" ] || continue
		page_of "$page_file"
		if foreign "$page"; then
			err "$page: not a page of kowaza: left alone"
		else
			put "$page_file" "$page" 644
		fi
	done
	completion
	for unit in "$here"/systemd/*.*; do
		[ ! -f "$unit" ] || put "$unit" "$units/${unit##*/}" 644
	done
	if [ -f "$here/kowaza.conf" ]; then
		put "$here/kowaza.conf" "$conf.sample" 644
	fi
}

# remove FILE: removes what was installed.
remove() {
	there "$1" || return 0
	[ -n "$dry" ] || try "$1" rm -f "$1" || return 1
	did "removed $1"
}

linked=

# unlink LINE: removes the link, and puts the newest script back.
unlink() {
	place "$1"
	ours "$place" || return 0
	original "$1"
	newest "$original"
	if [ -z "$top" ]; then
		remove "$place" || linked=1
		return
	fi
	[ "$top" = 0 ] || original=$original.$top
	if [ ! -f "$original" ] && [ ! -L "$original" ]; then
		err "$original: not a regular file"
		linked=1
		return
	fi
	if [ -z "$dry" ]; then
		linked_before=$linked
		linked=1
		unused "${place%/*}" || return
		name=$new
		new=
		second "$name" "$original" || return
		new=$name
		rename "$place" || return
		linked=$linked_before
		try "$original" rm -f "$original"
	fi
	did "moved $original to $place"
}

# remove_ours FILE: the same, unless it is somebody else's.
remove_ours() { foreign "$1" || remove "$1"; }

# remove_shared: removes man pages, completion, units and the sample.
remove_shared() {
	for page_file in "$here"/man/*.[1-8] "$here"/man/ja/*.[1-8]; do
		[ -f "$page_file" ] || continue
		page_of "$page_file"
		remove_ours "$page"
	done
	for name in $(commands); do
		[ "$(readlink "$bash_completion/$name" 2>/dev/null)" != kowaza ] || remove "$bash_completion/$name"
	done
	remove_ours "$bash_completion/kowaza"
	remove_ours "$zsh_completion/_kowaza"
	for unit in "$here"/systemd/*.*; do
		[ ! -f "$unit" ] || remove "$units/${unit##*/}"
	done
	remove "$conf.sample"
}

uninstall() {
	bin_end=$(readlink -f "$bin" 2>/dev/null)
	while next_link; do
		unlink "$line"
	done 3<"$links"
	if [ -z "$binary" ]; then
		if [ -n "$linked" ]; then
			err "$bin: left, for links that are left"
		elif [ -d "$bin" ] && [ ! -L "$bin" ]; then
			err "$bin: is a directory"
		else
			remove "$bin"
		fi
		remove_shared
	fi
	if [ -z "$dry" ]; then
		rmdir "$share"/kowaza/orig/cron.* "$share/kowaza/orig" "$share/kowaza" \
			"$units" "$share/doc/kowaza" 2>/dev/null
	fi
}

bin_end=
if [ -n "$uninstall" ]; then
	uninstall
else
	install
fi
exit $failed
