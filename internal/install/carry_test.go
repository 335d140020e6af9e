package install

import (
	"strings"
	"testing"

	"kowaza/internal/escape"
	"kowaza/internal/settings"
)

// TestCarry proves which settings at the top of a script go to kowaza.conf, which
// are only named, and that the file parses whatever the script holds.
func TestCarry(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	// What stands behind the first command may hold or not: it is named.
	below := func(text, key string) string {
		return text + ": not carried over: " + key + " is set below the settings at the top\n"
	}
	tests := []struct {
		name   string
		applet string
		script string
		conf   string // kowaza.conf before
		want   string // what it sets afterwards
		named  string // standard error without the script's name
	}{
		{"shell", "rmmail_virtual", "#!/bin/sh\n# head\n\nVMDIR=/home/popuser\nDAYS=14 # two weeks\n  VUSER='pop' ;\nexport QMAIL=\"/var/qmail2\"\nexec rm\n", "",
			"VMDIR=/home/popuser DAYS=14 VUSER=pop QMAIL=/var/qmail2", ""},
		{"shell, many on a line", "rmmail_virtual", "set -eu\numask 077\nexport LANG VMDIR=/a DAYS=3; VUSER=p;# x\nexport LANG\n", "",
			"VMDIR=/a DAYS=3 VUSER=p", ""},
		{"lower case", "rmmail_virtual", "vmdir=/a\nDays=9\n", "", "VMDIR=/a DAYS=9", ""},
		{"perl", "rmmail_virtual", "#!/usr/bin/perl -w\nuse strict;\nuse POSIX qw(x); # y\n$VMDIR = \"/a\";\nmy $days='5'; our $vuser = 'pop'; # c\nlocal $qmail=\"/q\";\nprint 1;\n", "",
			"VMDIR=/a DAYS=5 VUSER=pop QMAIL=/q", ""},
		{"php", "rmmail_virtual", "#!/usr/bin/php -q\n<?php\n/* a\n $days = 1;\n*/\n// b\n$vmdir = \"/a\"; // c\n$days = 5;\nfoo();\n$vuser='p';\n", "",
			"VMDIR=/a DAYS=5", below("$vuser='p';", "VUSER")},
		{"php on one line", "rmoldmail", "<?php $vmdir='/a';\n", "", "VMDIR=/a", ""},
		{"quoted blank", "rmoldmail", "VMDIR='/home/a b'\n", "", "VMDIR='/home/a b'", ""},
		{"joined", "rmoldmail", "VMDIR='/home'/a\" b\"\n", "", "VMDIR='/home/a b'", ""},
		{"hash and quote", "qmHandle", "QMAIL_STOP=\"it's # fine\"\nQMAIL_START=a#b\n", "", "QMAIL_STOP=\"it's # fine\" QMAIL_START='a#b'", ""},
		{"qmHandle", "qmHandle", "#!/usr/bin/perl\nuse strict;\n\n#### CONFIG\nmy ($queue) = '/var/qmail/queue/';\n# my ($stopqmail) = 'x';\nmy ($stopqmail) = '/usr/local/bin/svc -d /service/qmail-send';\nmy($startqmail)=\"/usr/local/bin/svc -u /service/qmail-send\";\nmy ($pidcmd) = 'pidof qmail-send';\n", "QMAIL=/var/qmail/\n",
			"QMAIL=/var/qmail/ QMAIL_STOP='/usr/local/bin/svc -d /service/qmail-send' QMAIL_START='/usr/local/bin/svc -u /service/qmail-send'", "my ($pidcmd) = 'pidof qmail-send';: not carried over: no such key\n"},
		{"qmHandle, queue elsewhere", "qmHandle", "#!/usr/bin/perl\nmy $queue = '/var/spool/qmail/';\n$stopqmail = '';\n", "", "",
			"my $queue = '/var/spool/qmail/';: not carried over: not a directory called queue: QMAIL is the one in which it lies\n$stopqmail = '';: not carried over: empty: the key is QMAIL_STOP\n"},
		{"qmHandle's names elsewhere", "rmoldmail", "QUEUE=/q/queue\n", "", "", "QUEUE=/q/queue: not carried over: no such key\n"},
		{"jmailsend", "jmailsend", "#!/usr/bin/perl\n$sendmail = '/usr/lib/sendmail';\n$jmail_to=\"a\\@b\";\n$JMAIL_FROM='a@b';\n$jmail_charset='euc';\n$jmail_count=10;\n", "",
			"SENDMAIL=/usr/lib/sendmail JMAIL_TO=a@b JMAIL_FROM=a@b JMAIL_CHARSET=euc JMAIL_COUNT=10", ""},

		{"variable", "rmoldmail", "VMDIR=$HOME/x\n", "", "", "VMDIR=$HOME/x: not carried over: contains $\n"},
		{"variable in quotes", "rmoldmail", "VMDIR=\"${HOME:-a b}/x\"\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=\"${HOME:-a b}/x\": not carried over: contains $\n"},
		{"dollar in single quotes", "rmoldmail", "VMDIR='/a$b'\n", "", "", "VMDIR='/a$b': not carried over: contains $\n"},
		{"backquote", "rmoldmail", "VMDIR=`cat /x y`/z\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=`cat /x y`/z: not carried over: contains a backquote\n"},
		{"command", "rmoldmail", "VMDIR=$(cat \"/x\" (y; z)) QMAIL=/q\n", "", "QMAIL=/q", "VMDIR=$(cat \"/x\" (y; z)): not carried over: contains $\n"},
		{"glob", "rmoldmail", "VMDIR=/home/*\nQMAIL='/q?'\nVMDIR=/[ab]\n", "", "",
			"VMDIR=/home/*: not carried over: contains a glob\nQMAIL='/q?': not carried over: contains a glob\nVMDIR=/[ab]: not carried over: contains a glob\n"},
		{"tilde", "rmmail_virtual", "VUSER=~pop\n", "", "", "VUSER=~pop: not carried over: contains ~\n"},
		{"backslash", "rmoldmail", "VMDIR=/a\\ b\nQMAIL='/a\\b'\n", "", "", "VMDIR=/a\\\\ b: not carried over: contains a backslash\nQMAIL='/a\\\\b': not carried over: contains a backslash\n"},
		{"both quotes", "qmHandle", "QMAIL_STOP='a\"b'\"'\"\n", "", "", "QMAIL_STOP='a\"b'\"'\": not carried over: contains both quotation marks\n"},
		{"array, appended", "rmoldmail", "QMAIL=(/a /b)\nVMDIR+=/x\n", "", "", "QMAIL=(/a /b): not carried over: not a plain value\nVMDIR+=/x: not carried over: not a plain value\n"},
		{"empty", "rmoldmail", "VMDIR=\nQMAIL=''\n", "", "", "VMDIR=: not carried over: empty\nQMAIL='': not carried over: empty\n"},
		{"invalid", "rmmail_virtual", "VMDIR=home\nDAYS=36501\nDAYS=1w\nDAYS=-1\nQMAIL=q\nDAYS=00036500\n", "", "DAYS=00036500",
			"VMDIR=home: not carried over: not an absolute path\nDAYS=36501: not carried over: not a number from 0 to 36500\nDAYS=1w: not carried over: not a number\nDAYS=-1: not carried over: not a number\nQMAIL=q: not carried over: not an absolute path\n"},
		{"invalid, jmailsend", "jmailsend", "JMAIL_COUNT=0\nJMAIL_COUNT=1000001\nJMAIL_CHARSET=ISO-2022-JP\nSENDMAIL=sendmail\nJMAIL_COUNT=1000000\n", "", "JMAIL_COUNT=1000000",
			"JMAIL_COUNT=0: not carried over: not a number from 1 to 1000000\nJMAIL_COUNT=1000001: not carried over: not a number from 1 to 1000000\nJMAIL_CHARSET=ISO-2022-JP: not carried over: not one of jis, sjis, euc, utf8\nSENDMAIL=sendmail: not carried over: not an absolute path\n"},
		{"unknown", "rmoldmail", "FOO=bar\n", "", "", "FOO=bar: not carried over: no such key\n"},
		{"another applet's", "rmoldmail", "DAYS=7\n", "", "", "DAYS=7: not carried over: rmoldmail does not use it\n"},
		{"perl expressions", "rmmail_virtual", "#!/usr/bin/perl\nmy $vmdir = $ARGV[0];\n$days = 010;\n@x = (1, 2);\n$| = 1;\nmy $vuser = \"a@b\";\nmy ($q) = 'x';\n$qmail = '/q';\n", "", "QMAIL=/q",
			"my $vmdir = $ARGV[0];: not carried over: contains $\n$days = 010;: not carried over: not a plain value\n@x = (1, 2);: not carried over: no such key\nmy $vuser = \"a@b\";: not carried over: contains @\nmy ($q) = 'x';: not carried over: no such key\n"},
		{"perl, open", "rmmail_virtual", "#!/usr/bin/perl\n@x = (\n$days = 1;\n);\n", "", "DAYS=1", "@x = (: not carried over: no such key\n"},
		{"perl, a quoted quote", "rmmail_virtual", "#!/usr/bin/perl\n$x = 'a\\'; $days = '3';\n$vuser = 'x';\n", "", "", "$x = 'a\\\\'; $days = '3';: not carried over: no such key\n" + below("$x = 'a\\\\'; $days = '3';", "DAYS") + below("$vuser = 'x';", "VUSER")},
		{"perl is no shell", "rmmail_virtual", "#!/usr/bin/perl\nDAYS=3\n", "", "", below("DAYS=3", "DAYS")},
		{"shell is no perl", "rmmail_virtual", "#!/bin/sh\n$DAYS='3';\nVUSER=x\n", "", "", below("$DAYS='3';", "DAYS") + below("VUSER=x", "VUSER")},

		{"contradiction", "rmoldmail", "VMDIR=/a\nVMDIR=/b\n", "", "", "VMDIR=/a: not carried over: VMDIR has two values\nVMDIR=/b: not carried over: VMDIR has two values\n"},
		{"contradicts the file", "rmoldmail", "VMDIR=/b\n", "VMDIR= \"/a c\" # x\n", "VMDIR= \"/a c\" # x", "VMDIR=/b: not carried over: contradicts VMDIR=/a c, set before\n"},
		{"set and empty", "rmoldmail", "VMDIR=/b\n", "VMDIR=\n", "VMDIR=", "VMDIR=/b: not carried over: contradicts VMDIR=, set before\n"},
		{"the same", "rmmail_virtual", "VMDIR=/a//b/\nDAYS=021\n", "VMDIR='/a/b'\nDAYS=21 #\n", "VMDIR='/a/b' DAYS=21 #", ""},
		{"comments are not set", "rmoldmail", "VMDIR=/a\n", "#VMDIR=/b\n  # QMAIL=/c\n", "  # QMAIL=/c VMDIR=/a", ""},
		{"no newline", "rmoldmail", "VMDIR=/a\nQMAIL=/q\n", "DAYS=3\nQMAIL=/q", "DAYS=3 QMAIL=/q VMDIR=/a", ""},

		{"a condition below", "rmmail_virtual", "DAYS=60\ntest \"$1\" && DAYS=7\nif [ $DAYS == 7 ]; then\n", "", "DAYS=60", below(`test "$1" && DAYS=7`, "DAYS")},
		{"head ends", "rmmail_virtual", "VMDIR=/a\ncd /\nDAYS=3\n", "", "VMDIR=/a DAYS=3", ""},
		{"head ends at an assignment for a command", "rmmail_virtual", "VMDIR=/a rmoldmail 7\nDAYS=3\n", "", "", below("DAYS=3", "DAYS")},
		{"head ends at a condition", "rmmail_virtual", "VMDIR=/a && DAYS=3\nDAYS=4\n", "", "", below("DAYS=4", "DAYS")},
		{"head ends within a line", "rmmail_virtual", "VMDIR=/a; cd /\nDAYS=3\n", "", "VMDIR=/a DAYS=3", ""},
		{"set with a command", "rmmail_virtual", "set -e; cd /\nDAYS=3\n", "", "DAYS=3", ""},
		{"open quote", "rmmail_virtual", "VUSER=x\nFOO=\"\nVMDIR=/a\n\"\nDAYS=3\n", "", "VUSER=x DAYS=3", "FOO=\": not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR")},
		{"open command", "rmmail_virtual", "FOO=$(\nVMDIR=/a\n)\n", "", "", "FOO=$(: not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR")},
		{"continued", "rmmail_virtual", "FOO=a\\\nVMDIR=/a\n", "", "", "FOO=a\\\\: not carried over: goes on in the next line, nothing after it was read\n" + below("VMDIR=/a", "VMDIR")},

		{"CRLF", "rmmail_virtual", "#!/bin/sh\r\nVMDIR=/a\r\nDAYS='3'\r\n\r\nVUSER=p\r\n", "", "VMDIR=/a DAYS=3 VUSER=p", ""},
		{"byte order mark", "rmoldmail", "\xef\xbb\xbfVMDIR=/a\n", "", "VMDIR=/a", ""},
		{"no newline at the end", "rmoldmail", "VMDIR=/a", "", "VMDIR=/a", ""},
		{"long comment", "rmoldmail", "#" + long + "\nVMDIR=/a\n", "", "VMDIR=/a", ""},
		{"long value", "rmoldmail", "VMDIR=/" + long + "\nQMAIL=/q\n", "", "", "VMDIR=/" + long[:193] + "...: not carried over: too long, nothing after it was read\n" + below("QMAIL=/q", "QMAIL")},
		{"long path", "rmoldmail", "VMDIR=/" + long[:5000] + "\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=/" + long[:193] + "...: not carried over: too long\n"},
		{"NUL", "rmoldmail", "#\x00\nVMDIR=/a\x00b\nQMAIL=/q\n", "", "QMAIL=/q", "VMDIR=/a\\000b: not carried over: control character\n"},
		{"control characters", "rmoldmail", "VMDIR='/a\tb\x1b[2J\x7f'\nF=\xc2\x9b\n", "", "", "VMDIR='/a\\011b\\033[2J\\177': not carried over: contains a glob\nF=\\302\\233: not carried over: no such key\n"},
		{"invalid UTF-8", "rmoldmail", "# \xa4\xa2\xff\nVMDIR=/\xa4\xa2\nF=\xa4\xe3\x81\x82\xed\xa0\x80\xe3\x81\nQMAIL=/q\n", "", "VMDIR='/\xa4\xa2' QMAIL=/q", "F=\\244\u3042\\355\\240\\200\\343\\201: not carried over: no such key\n"},
		{"EUC-JP, Shift_JIS comments", "rmoldmail", "#!/bin/sh\n# \xc0\xdf\xc4\xea\n# \x90\xdd\x92\xe8\x95\x5c\nVMDIR=/a # \x95\x5c\n", "", "VMDIR=/a", ""},
		{"binary", "rmoldmail", "\x7fELF\x02\x01\x00\x00\nVMDIR=/a\n", "", "", below("VMDIR=/a", "VMDIR")},
		{"nothing", "rmoldmail", "", "", "", ""},
	}
	for _, test := range tests {
		c := Carry(ReadScript([]byte(test.script)), test.applet, []byte(test.conf), true)
		text := string(c.add([]byte(test.conf), "/script"))
		if _, err := settings.Parse("kowaza.conf", []byte(text)); err != nil {
			t.Errorf("%s: %v\n%s", test.name, err, text)
		}
		if got := sets(text); got != test.want {
			t.Errorf("%s: kowaza.conf sets %s, want %s", test.name, got, test.want)
		}
		if !strings.HasPrefix(text, test.conf) {
			t.Errorf("%s: kowaza.conf was %q, is %q", test.name, test.conf, text)
		}
		if got := named(c); got != test.named {
			t.Errorf("%s: named\n%swant\n%s", test.name, got, test.named)
		}
		// The script again: nothing new is to be said in kowaza.conf.
		if again := Carry(ReadScript([]byte(test.script)), test.applet, []byte(text), true); len(again.Lines) > 0 {
			t.Errorf("%s: the second time %q", test.name, again.Lines)
		}
	}
}

// sets returns the lines of a settings file that set something.
func sets(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

// named returns what is said of a script.
func named(c *Carried) string {
	var b strings.Builder
	for _, r := range c.Refused {
		b.WriteString(escape.String(r.Text+": not carried over: "+r.Why) + "\n")
	}
	return b.String()
}

// TestCarryDays proves by how many days a script removes, as far as a reader can
// know, and that one is left alone where DAYS could be another number: the
// default would remove what was to stay.
func TestCarryDays(t *testing.T) {
	const loop = "cd /home/popuser || exit 1\nfor u in *; do\n"
	const done = " $u\ndone\n"
	tests := []struct {
		name, script, conf string
		want               string // DAYS=N, or why it is left alone
	}{
		{"another name", "#!/bin/sh\nHOWOLD=60\n" + loop + "/usr/local/bin/rmoldmail -V $HOWOLD" + done, "", "DAYS=60"},
		{"in braces and quotes", "#!/bin/sh\nHOWOLD=\"60\"\n" + loop + "/usr/local/bin/rmoldmail -V \"${HOWOLD}\"" + done, "", "DAYS=60"},
		{"below the head", "#!/bin/sh\ncd /\nKEEP=60\n" + loop + "rmoldmail -V $KEEP" + done, "", "DAYS=60"},
		{"a literal", "#!/bin/sh\n" + loop + "/usr/local/bin/rmoldmail -V 90" + done, "", "DAYS=90"},
		{"with zeros", "#!/bin/sh\n" + loop + "/usr/local/bin/rmoldmail -V 090" + done, "", "DAYS=90"},
		{"options", "#!/bin/sh\n" + loop + "/usr/local/bin/rmoldmail -v --virtual 90" + done, "", "DAYS=90"},
		{"a command in a variable", "#!/bin/sh\nRM=/usr/local/bin/rmoldmail\n" + loop + "$RM -V 45" + done, "", "DAYS=45"},
		{"is it there", "#!/bin/sh\n[ -x /usr/local/bin/rmoldmail ] || exit 0\n" + loop + "/usr/local/bin/rmoldmail -V 45" + done, "", "DAYS=45"},
		{"continued", "#!/bin/sh\n" + loop + "/usr/local/bin/rmoldmail \\\n -V 45" + done, "", "DAYS=45"},
		{"Perl", "#!/usr/bin/perl\nmy $keep = 60;\nforeach my $u (@users) {\n system(\"/usr/local/bin/rmoldmail\", \"-V\", $keep, $u);\n}\n", "", "DAYS=60"},
		{"Perl, one string", "#!/usr/bin/perl\nforeach my $u (@users) {\n `/usr/local/bin/rmoldmail -V 60 $u`;\n}\n", "", "DAYS=60"},
		{"Perl, in brackets", "#!/usr/bin/perl\nmy ($keep) = (60);\nour $n = 60;\nsystem(\"rmoldmail -V $n $u\");\n", "", "DAYS=60"},
		{"find", "#!/bin/sh\nfind /home/popuser -type f -mtime +60 -exec rm {} \\;\n", "", "DAYS=60"},
		{"find, a variable", "#!/bin/sh\nN=60\nfind /home/popuser -type f -mtime +$N | xargs rm\n", "", "DAYS=60"},
		{"su", "#!/bin/sh\nsu popuser -c \"/usr/local/bin/rmoldmail -V 60 hanako\"\n", "", "DAYS=60"},
		{"xargs", "#!/bin/sh\nls /home/popuser | xargs -n 1 /usr/local/bin/rmoldmail -V 60\n", "", "DAYS=60"},
		{"CRLF", "#!/bin/sh\r\nN=60\r\nrmoldmail -V $N\r\n", "", "DAYS=60"},
		{"DAYS alone", "#!/bin/sh\nDAYS=30\n", "", "DAYS=30"},
		{"a comment", "#!/bin/sh\n# rmoldmail -V 7 $u\nDAYS=30\n" + loop + "rmoldmail -V $DAYS" + done, "", "DAYS=30"},
		{"the same as is set", "#!/bin/sh\n" + loop + "rmoldmail -V 30" + done, "DAYS=030\n", ""},

		{"not known, but set", "#!/bin/sh\n" + loop + "rmoldmail -V $1" + done, "DAYS=30\n", ""},
		{"an argument", "#!/bin/sh\n" + loop + "rmoldmail -V $1" + done, "", "its number of days is not known: set DAYS"},
		{"a default", "#!/bin/sh\nN=${1:-60}\n" + loop + "rmoldmail -V $N" + done, "", "its number of days is not known: set DAYS"},
		{"another file", "#!/bin/sh\nN=60\n. /etc/default/rmmail\n" + loop + "rmoldmail -V $N" + done, "", "its number of days is not known: set DAYS"},
		{"a loop", "#!/bin/sh\nN=60\nfor N in 60 70; do rmoldmail -V $N u; done\n", "", "its number of days is not known: set DAYS"},
		{"read", "#!/bin/sh\nN=60\nwhile read u N; do rmoldmail -V $N $u; done\n", "", "its number of days is not known: set DAYS"},
		{"arithmetic", "#!/bin/sh\nN=60\n" + loop + "rmoldmail -V $((N+1))" + done, "", "its number of days is not known: set DAYS"},
		{"a command", "#!/bin/sh\nN=$(cat /etc/days)\n" + loop + "rmoldmail -V $N" + done, "", "its number of days is not known: set DAYS"},
		{"nothing", "#!/bin/sh\ntmpwatch 1440 /home/popuser\n", "", "its number of days is not known: set DAYS"},
		{"empty", "", "", "its number of days is not known: set DAYS"},
		{"assigned in a string", "#!/bin/sh\necho \"N=60\"\n" + loop + "rmoldmail -V $N" + done, "", "its number of days is not known: set DAYS"},
		{"Perl, a sum", "#!/usr/bin/perl\nmy $keep = 60 + 7;\nsystem(\"rmoldmail -V $keep $u\");\n", "", "its number of days is not known: set DAYS"},
		{"Perl, joined", "#!/usr/bin/perl\nmy $keep = '6' . '0';\nsystem(\"rmoldmail -V $keep $u\");\n", "", "its number of days is not known: set DAYS"},
		{"Perl, multiplied", "#!/usr/bin/perl\nmy $keep = 60;\n$keep **= 2;\nsystem(\"rmoldmail -V $keep $u\");\n", "", "its number of days is not known: set DAYS"},
		{"Perl, a list", "#!/usr/bin/perl\nmy $keep = 60;\n(my $u, $keep) = split;\nsystem(\"rmoldmail -V $keep $u\");\n", "", "its number of days is not known: set DAYS"},
		{"printf -v", "#!/bin/bash\nN=60\nprintf -v N %d 7\nrmoldmail -V $N u\n", "", "its number of days is not known: set DAYS"},
		{"a function", "#!/bin/sh\nclean() {\n rmoldmail -V $1 $2\n}\nclean 60 hanako\n", "", "its number of days is not known: set DAYS"},
		{"sh -c", "#!/bin/sh\nsh -c 'rmoldmail -V \"$0\" $1' 60 hanako\n", "", "its number of days is not known: set DAYS"},
		{"other options", "#!/bin/sh\n" + loop + "rmoldmail -j 4 -V 60" + done, "", "its number of days is not known: set DAYS"},
		{"too many", "#!/bin/sh\n" + loop + "rmoldmail -V 99999" + done, "", "removes by 99999 days: not a number from 0 to 36500"},

		{"two calls", "#!/bin/sh\nrmoldmail -V 60 hanako\nrmoldmail -V 7 taro\n", "", "removes by two numbers of days, 60 and 7"},
		{"two calls, one is set", "#!/bin/sh\nrmoldmail -V 60 hanako\nrmoldmail -V 7 taro\n", "DAYS=60\n", "removes by two numbers of days, 60 and 7"},
		{"two assignments", "#!/bin/sh\nN=60\n[ -f /etc/x ] && N=7\nrmoldmail -V $N hanako\n", "", "removes by two numbers of days, 60 and 7"},
		{"DAYS that does not reach", "#!/bin/sh\nDAYS=14\nrmoldmail -V 60 hanako\n", "", "removes by two numbers of days, 60 and 14"},
		{"contradicts", "#!/bin/sh\nrmoldmail -V 60 hanako\n", "DAYS=21\n", "removes by 60 days, DAYS=21 is set"},
		{"contradicts in part", "#!/bin/sh\nrmoldmail -V 60 hanako\nrmoldmail -V $1 taro\n", "DAYS=21\n", "removes by 60 days, DAYS=21 is set"},
	}
	for _, test := range tests {
		script := ReadScript([]byte(test.script))
		c := Carry(script, "rmmail_virtual", []byte(test.conf), false)
		got := c.Alone
		if got == "" {
			got = strings.Join(c.Lines, " ")
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q of\n%s", test.name, got, test.want, test.script)
		}
		if c := Carry(script, "rmmail_virtual", []byte(test.conf), true); c.Alone != "" {
			t.Errorf("%s: forced, and left alone: %s", test.name, c.Alone)
		}
	}
}

// TestCarrySelects proves that a script is left alone that may keep mail which the
// applet would remove, and that what the page describes is not such a script.
func TestCarrySelects(t *testing.T) {
	const old = "#!/bin/sh\nVMDIR=/home/popuser\nfind \"$dir/Maildir/\" -type f -mtime +$1"
	const each = "#!/bin/sh\nVMDIR=/home/popuser\nDAYS=21\n"
	tests := []struct {
		applet, script string
		alone          bool
	}{
		{"rmoldmail", old + " -exec rm -f '{}' ';'\n", false},
		{"rmoldmail", old + " -print0 | xargs -0 rm -f\n", false},
		{"rmoldmail", old + " -atime +3 -delete\n", false},
		{"rmoldmail", "#!/bin/sh\n# find -name x\ncase $1 in -V) virtual=1 ;; esac\n" + old + " -delete\n", false},
		{"rmoldmail", old + " ! -path '*/.Archive/*' -delete\n", true},
		{"rmoldmail", old + " -name '*:2,*S*' -delete\n", true},
		{"rmoldmail", old + " \\\n -size +100k -delete\n", true},
		{"rmoldmail", "#!/usr/bin/perl\nsystem('find', $dir, '-mtime', \"+$days\", '-not', '-name', 'x', '-delete');\n", true},
		{"rmmail_virtual", each + "awk -F: '$2 == \"popuser\" { print $1 }' /var/qmail/users/assign | while read u; do rmoldmail -V 21 $u; done\n", false},
		{"rmmail_virtual", each + "for u in $VMDIR/*; do rmoldmail -V $DAYS `basename $u`; done\n", false},
		{"rmmail_virtual", each + "for u in $VMDIR/*; do [ $u = $VMDIR/boss ] && continue; rmoldmail -V $DAYS `basename $u`; done\n", true},
		{"rmmail_virtual", each + "for u in $VMDIR/*; do case $u in */boss) ;; *) rmoldmail -V $DAYS $u ;; esac; done\n", true},
		{"rmmail_virtual", each + "ls $VMDIR | grep -v boss | xargs -n 1 rmoldmail -V 21\n", true},
		{"rmmail_virtual", each + "if [ $u != boss ]; then rmoldmail -V $DAYS $u; fi\n", true},
		{"rmmail_virtual", "#!/usr/bin/perl\n$DAYS = 21;\nforeach (@u) { next if $_ eq 'boss'; system('rmoldmail', '-V', $DAYS, $_); }\n", true},
		{"qqclean", "#!/bin/sh\nfind /var/qmail/queue -name $1 -exec rm {} \\;\n", false},
	}
	for _, test := range tests {
		c := Carry(ReadScript([]byte(test.script)), test.applet, nil, false)
		if want := "may keep mail that " + test.applet + " removes"; (c.Alone == want) != test.alone || !test.alone && c.Alone != "" {
			t.Errorf("%q, want %v of\n%s", c.Alone, test.alone, test.script)
		}
	}
}

// TestCarryNames proves that settings are known by the names that scripts have for
// them, that what a shell or Perl needs for itself is none, and that one which
// cannot be mapped surely is named with its key.
func TestCarryNames(t *testing.T) {
	tests := []struct{ applet, script, want, named string }{
		{"jmailsend", "#!/usr/bin/perl\n$to = 'hanako@example.jp';\n$from = \"a\\@example.jp\";\n$encoding = 'iso-2022-jp';\n$count = 10;\n$sendmail = '/usr/lib/sendmail';\n",
			"JMAIL_TO=hanako@example.jp JMAIL_FROM=a@example.jp JMAIL_CHARSET=jis JMAIL_COUNT=10 SENDMAIL=/usr/lib/sendmail", ""},
		{"jmailsend", "#!/usr/bin/perl\nmy $MailTo = 'a@b';\nmy $charset = 'Shift_JIS';\nmy $num = 3;\n$mailprog = '/usr/sbin/sendmail -t';\n",
			"JMAIL_TO=a@b JMAIL_CHARSET=sjis JMAIL_COUNT=3", "$mailprog = '/usr/sbin/sendmail -t';: not carried over: not the path of a command alone: SENDMAIL has no options\n"},
		{"jmailsend", "#!/usr/bin/perl\n$to = \"$name\\@b\";\n$encoding = 'koi8-r';\n$count = shift;\n",
			"", "$to = \"$name\\\\@b\";: not carried over: contains $: the key is JMAIL_TO\n$encoding = 'koi8-r';: not carried over: not one of jis, sjis, euc, utf8: the key is JMAIL_CHARSET\n$count = shift;: not carried over: not a plain value: the key is JMAIL_COUNT\n"},
		{"jmailsend", "#!/usr/bin/perl\nmy ($to, $from) = @ARGV;\n@x = @ARGV;\n$| = 1;\n$0 = 'x';\n$file = shift @ARGV;\n$ENV{'PATH'} = '/bin';\n", "", "$ENV{'PATH'} = '/bin';: not carried over: no such key\n"},
		{"rmoldmail", "#!/bin/sh\nPATH=/bin:/usr/bin\nLANG=C LC_ALL=C\nexport PATH LANG\nIFS=:\nUSER=$1\nX=\"$@\"\nASSIGN=/var/qmail2/users/assign\n", "QMAIL=/var/qmail2", ""},
		{"rmmail_virtual", "ASSIGN=/etc/assign\nDAYS=1\n", "DAYS=1", "ASSIGN=/etc/assign: not carried over: not users/assign in qmail's directory, which is what QMAIL is\n"},
		{"qqclean", "QUEUE=/q/queue\n", "QMAIL=/q", ""},
	}
	for _, test := range tests {
		c := Carry(ReadScript([]byte(test.script)), test.applet, nil, false)
		if got := strings.Join(c.Lines, " "); got != test.want {
			t.Errorf("%q, want %q of\n%s", got, test.want, test.script)
		}
		if got := named(c); got != test.named {
			t.Errorf("named\n%s, want\n%s", got, test.named)
		}
	}
}

// TestCarrySecrets proves that what may be a secret is neither copied nor shown:
// its name is.
func TestCarrySecrets(t *testing.T) {
	const word = "sesame"
	for _, script := range []string{
		"DB_PASS=" + word + "\n", "passwd='" + word + "'\n", "export API_KEY=\"" + word + "\"\n", "TOKEN=" + word + " SECRET=" + word + "\n",
		"#!/usr/bin/perl\nmy $password = '" + word + "';\n", "#!/usr/bin/perl\nmy ($user, $pass) = ('a', '" + word + "');\n",
		"#!/usr/bin/perl\n%opt = (user => 'a', password => '" + word + "');\n", "<?php $Secret_1 = \"" + word + "\";\n",
		"PASS=\"" + word + "\nmore\"\n", "PASS=" + word + strings.Repeat("x", 10000) + "\n", "PASS+=" + word + "\n",
		"DSN='mysql:user=a;password=" + word + "'\n", "cd /\nQMAIL=/x PASSWORD=" + word + "\n",
	} {
		c := Carry(ReadScript([]byte(script)), "rmoldmail", nil, false)
		if len(c.Refused) == 0 {
			t.Errorf("nothing is said of\n%s", script)
		}
		if all := named(c) + strings.Join(c.Lines, ""); strings.Contains(all, word) {
			t.Errorf("%s\nis said of\n%s", all, script)
		}
	}
}

// FuzzCarry proves that whatever a script holds, what is carried over can be read
// back from kowaza.conf as it is, and that a second time adds nothing.
func FuzzCarry(f *testing.F) {
	applets := []string{"rmoldmail", "rmmail_virtual", "qqclean", "jmailsend", "qmHandle"}
	f.Add("#!/bin/sh\nVMDIR='/a b'\nDAYS=3\n", "QMAIL=/q", byte(1))
	f.Add("#!/usr/bin/perl\nmy ($queue) = '/q/queue';\n$stopqmail = \"it's\";\n", "", byte(4))
	f.Add("<?php $to = 'a@b'; /* x\n*/ $count=3;", "# x\nJMAIL_TO=x\n", byte(3))
	f.Add("#!/bin/sh\nN=60\nfor u in *; do rmoldmail -V $N $u; done\n", "", byte(1))
	f.Fuzz(func(t *testing.T, text, conf string, which byte) {
		if _, err := settings.Parse("conf", []byte(conf)); err != nil {
			return
		}
		applet := applets[int(which)%len(applets)]
		script := ReadScript([]byte(text))
		c := Carry(script, applet, []byte(conf), true)
		after := c.add([]byte(conf), "/script")
		if _, err := settings.Parse("conf", after); err != nil {
			t.Fatalf("%v\n%s", err, after)
		}
		before := settings.Values([]byte(conf))
		for key, value := range settings.Values(after) {
			if old, ok := before[key]; ok && old != value {
				t.Errorf("%s was %q, is %q", key, old, value)
			}
		}
		if again := Carry(script, applet, after, true); len(again.Lines) > 0 {
			t.Errorf("the second time %q", again.Lines)
		}
	})
}
