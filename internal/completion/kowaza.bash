# shellcheck shell=bash
# Completion for @main@ and its applets in bash, with or without the package
# bash-completion: what "@main@ --completion bash" prints. @main@ --install puts it
# where bash-completion looks, under the name of each command; or else:
# eval "$(@main@ --completion bash)"

# _kowaza_options COMMAND: prints its options, one a line. What stands after a
# colon says what the next word is, after a plus the rest of the same word. What
# stands after a slash is an operand.
_kowaza_options() {
	case $1 in
	@commands@
	*) return 1 ;;
	esac
	printf '%s\n' "$@"
}

_kowaza_applets='@applets@'

# _kowaza_kind OPTION: prints what the word after OPTION is, if it takes one.
_kowaza_kind() {
	local option
	for option in "${options[@]}"; do
		[[ $option != "$1:"* ]] || printf '%s\n' "${option#*:}"
	done
}

# _kowaza_queue: prints the queue's directory, as kowaza.conf(5) has it.
_kowaza_queue() {
	local line value conf=${KOWAZA_CONF:-/etc/kowaza.conf} dir=/var/qmail
	if [[ -r $conf ]]; then
		while IFS= read -r line || [[ -n $line ]]; do
			[[ $line =~ ^[[:blank:]]*QMAIL=[[:space:]]*(.*)$ ]] || continue
			value=${BASH_REMATCH[1]}
			case $value in
			\"*) value=${value#?} value=${value%%\"*} ;;
			\'*) value=${value#?} value=${value%%\'*} ;;
			*)
				value=" $value" # a # after a blank begins a comment
				value=${value%%[[:space:]]#*}
				value=${value# }
				value=${value%"${value##*[![:space:]]}"}
				;;
			esac
			dir=${value:-$dir}
		done <"$conf"
	fi
	printf '%s\n' "$dir/queue"
}

# _kowaza_numbers DIGITS: prints the first of the messages in the queue, if it
# may be read.
_kowaza_numbers() {
	[[ $1 != *[!0-9]* ]] || return
	find "${queue:-$(_kowaza_queue)}/mess" -mindepth 1 -maxdepth 2 -type f -name "$1*" 2>/dev/null | head -n 200 | sed 's|.*/||'
}

# _kowaza_value KIND WORD: sets COMPREPLY to what begins with WORD.
_kowaza_value() {
	local words=''
	case $1 in
	'<owner>')
		if [[ $2 == /* ]]; then
			_kowaza_value '<directory>' "$2"
		elif [[ -z $virtual ]]; then
			_kowaza_value '<user>' "$2"
		fi
		return
		;;
	'<directory>')
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$2")
		return
		;;
	'<file>')
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$2")
		return
		;;
	'<user>')
		mapfile -t COMPREPLY < <(compgen -u -- "$2")
		return
		;;
	'<message>') words=$(_kowaza_numbers "$2") ;;
	'<applet>') words=$_kowaza_applets ;;
	none) ;;
	*) words=${1//,/ } ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}

# _kowaza_operand N WORD: the same for the Nth operand, from 0.
_kowaza_operand() {
	local option n=0
	for option in "${options[@]}"; do
		[[ $option == /* ]] || continue
		if ((n == $1)) || [[ $option == *... ]]; then
			option=${option#/}
			_kowaza_value "${option%...}" "$2"
			return
		fi
		((n++))
	done
}

# _kowaza_option WORD: sets COMPREPLY to the options that begin with WORD, or to
# what may follow the letter in the same word.
_kowaza_option() {
	local option list=() i
	for option in "${options[@]}"; do
		[[ $option != /* ]] || continue
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
	if [[ ${#COMPREPLY[@]} == 1 && " ${options[*]} " == *" ${COMPREPLY[0]}+"* ]]; then
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
	elif [[ " ${options[*]} " != *" ${1:0:2}+"* ]]; then
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
	local applet=${COMP_WORDS[0]##*/} words=() options=() i cur
	local kind='' last='' ended='' virtual='' queue='' operands=0
	COMPREPLY=()
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
	if [[ $applet == @main@ && ${#words[@]} -gt 0 ]]; then
		if [[ ${words[0]} != -* ]]; then
			applet=${words[0]##*/}
			words=("${words[@]:1}")
		elif [[ ' @subcommands@ ' == *" ${words[0]} "* ]]; then
			applet+=${words[0]}
			words=("${words[@]:1}")
		fi
	fi
	case $applet in
	*.pl | *.sh) applet=${applet%.*} ;;
	esac
	mapfile -t options < <(_kowaza_options "$applet")
	for i in "${words[@]}"; do
		_kowaza_word "$i"
	done
	if [[ -n $kind ]]; then
		_kowaza_value "$kind" "$cur"
	elif [[ -z $ended && $cur == -* ]]; then
		_kowaza_option "$cur"
	else
		_kowaza_operand "$operands" "$cur"
	fi
}

complete -F _kowaza @main@ @links@
