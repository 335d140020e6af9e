# shellcheck shell=bash
# Completion for kowaza and its applets in bash, with or without the package
# bash-completion. kowaza --install puts it where bash-completion looks, under the name
# of each command; or else: source kowaza.bash

# _kowaza_options APPLET: prints its options, one a line. What stands after a
# colon says what the next word is, after a plus the rest of the same word.
_kowaza_options() {
	local clean=(-h --help --version -n --dry-run -v --verbose -j:none --jobs:none
		--folder:none --keep-flagged --seen-only --saved)
	case $1 in
	kowaza) set -- -h --help --install --list --version ;;
	rmoldmail) set -- "${clean[@]}" -a --all-files -V --virtual ;;
	rmmail_virtual) set -- "${clean[@]}" -d:none --days:none --shard:none ;;
	qqclean) set -- -h --help --version -n --dry-run -v --verbose -Q:directory --queue:directory \
		-s:directory --save:directory -w:none --wait:none --orphans --live --alrm ;;
	mkdigest) set -- -h --help --version -p --password -u:user --user:user ;;
	smtpauthstr) set -- -h --help --version -c:none --cram-md5:none -d:none --decode:none \
		-l --login -z:none --authzid:none ;;
	jmailsend) set -- -h --help --version -n --dry-run -v --verbose -c:none --count:none \
		-e:charset --charset:charset -f:user --from:user -j:none --jobs:none -t:user --to:user ;;
	mailtest) set -- -h --help --version -x:status --exit:status ;;
	qmHandle) set -- -a -l -L -R -s -m+number -d+number -f+none -F+none -S+none -h+none -H+none \
		-b+none -B+none -x+none -X+none -t+none -D -V -c -N --help --version --alrm --dry-run \
		--json --live --older-than:none --recipient:none --save:directory ;;
	*) return ;;
	esac
	printf '%s\n' "$@"
}

_kowaza_applets='rmoldmail rmmail_virtual qqclean mkdigest smtpauthstr jmailsend mailtest qmHandle'

# _kowaza_kind OPTION: prints what the word after OPTION is, if it takes one.
_kowaza_kind() {
	local option
	for option in $options; do
		[[ $option != "$1:"* ]] || printf '%s\n' "${option#*:}"
	done
}

# _kowaza_numbers DIGITS: prints the first of the messages in the queue, if it
# may be read.
_kowaza_numbers() {
	local line conf=${KOWAZA_CONF:-/etc/kowaza.conf} dir=$queue
	[[ $1 != *[!0-9]* ]] || return
	if [[ -z $dir ]]; then
		dir=/var/qmail/queue
		if [[ -r $conf ]]; then
			while IFS= read -r line || [[ -n $line ]]; do
				[[ $line =~ ^[[:blank:]]*QMAIL=[\"\']?([^\"\'#[:blank:]]+) ]] && dir=${BASH_REMATCH[1]}/queue
			done <"$conf"
		fi
	fi
	find "$dir/mess" -mindepth 1 -maxdepth 2 -type f -name "$1*" 2>/dev/null | head -n 200 | sed 's|.*/||'
}

# _kowaza_value KIND WORD: sets COMPREPLY to what begins with WORD.
_kowaza_value() {
	local words=''
	case $1 in
	directory)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$2")
		return
		;;
	user)
		mapfile -t COMPREPLY < <(compgen -u -- "$2")
		return
		;;
	number) words=$(_kowaza_numbers "$2") ;;
	charset) words='jis sjis euc utf8' ;;
	status) words='0 99 100 111' ;;
	applet) words=$_kowaza_applets ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}

# _kowaza_operand APPLET N WORD: the same for the Nth operand, from 0.
_kowaza_operand() {
	case $1/$2 in
	rmoldmail/1)
		if [[ $3 == /* ]]; then
			_kowaza_value directory "$3"
		elif [[ -z $virtual ]]; then
			_kowaza_value user "$3"
		fi
		;;
	qqclean/*) _kowaza_value number "$3" ;;
	esac
}

# _kowaza_option WORD: sets COMPREPLY to the options that begin with WORD, or to
# what may follow the letter in the same word.
_kowaza_option() {
	local option list=() i
	for option in $options; do
		if [[ $option == -?+* && $1 == "${option%%+*}"* && $option != *+none ]]; then
			_kowaza_value "${option#*+}" "${1:2}"
			for i in "${!COMPREPLY[@]}"; do
				COMPREPLY[i]=${1:0:2}${COMPREPLY[i]}
			done
			((${#COMPREPLY[@]})) && return
		fi
		list+=("${option%%[:+]*}")
	done
	mapfile -t COMPREPLY < <(compgen -W "${list[*]}" -- "$1")
	# The argument follows its letter at once.
	if [[ ${#COMPREPLY[@]} == 1 && " $options " == *" ${COMPREPLY[0]}+"* ]]; then
		compopt -o nospace 2>/dev/null
	fi
}

# _kowaza_word WORD: what a word before the cursor changes. It sets kind where
# the next word is its value.
_kowaza_word() {
	local i=1 letter
	if [[ -n $kind ]]; then
		[[ $last != -Q && $last != --queue ]] || queue=$1
		kind=
	elif [[ -n $ended || $1 != -?* ]]; then
		ended=1
		((operands++))
	elif [[ $1 == -- ]]; then
		ended=1
	elif [[ $1 == --* ]]; then
		[[ $1 != --virtual ]] || virtual=1
		last=$1
		kind=$(_kowaza_kind "$1")
	elif [[ " $options " != *" ${1:0:2}+"* ]]; then
		for (( ; i < ${#1}; i++)); do
			letter=-${1:i:1}
			[[ $letter != -V ]] || virtual=1
			last=$letter
			kind=$(_kowaza_kind "$letter")
			[[ -n $kind ]] || continue
			# The rest of the word is the value, if there is any.
			if ((i + 1 < ${#1})); then
				[[ $letter != -Q ]] || queue=${1:i+1}
				kind=
			fi
			return
		done
	fi
}

_kowaza() {
	local applet=${COMP_WORDS[0]##*/} words=() i cur
	local options='' kind='' last='' ended='' virtual='' queue='' operands=0
	COMPREPLY=()
	applet=${applet%.pl}
	applet=${applet%.sh}
	# --save=DIR comes as three words.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} != = || ${COMP_WORDS[i - 1]} != --* ]]; then
			words+=("${COMP_WORDS[i]}")
		elif ((i == COMP_CWORD)); then
			words+=('')
		fi
	done
	cur=${words[-1]}
	unset 'words[-1]'
	options=$(_kowaza_options "$applet")
	options=${options//$'\n'/ }
	for i in "${words[@]}"; do
		_kowaza_word "$i"
		if [[ $applet == kowaza && $operands == 1 ]]; then
			applet=${i%.pl}
			options=$(_kowaza_options "$applet")
			options=${options//$'\n'/ }
			ended='' operands=0
		fi
	done
	if [[ -n $kind ]]; then
		_kowaza_value "$kind" "$cur"
	elif [[ -z $ended && $cur == -* ]]; then
		_kowaza_option "$cur"
	elif [[ $applet == kowaza ]]; then
		_kowaza_value applet "$cur"
	else
		_kowaza_operand "$applet" "$operands" "$cur"
	fi
}

# shellcheck disable=SC2086 # a list of names
complete -F _kowaza kowaza $_kowaza_applets smtpauthstr.pl jmailsend.pl
