#!/bin/sh
# install.sh: builds kowaza where it is not there yet, and has it install itself:
# the same words as kowaza --install. See install.sh --help.
set -u

case $0 in
*/*) here=${0%/*}/ ;;
*) here=./ ;;
esac
here=$(CDPATH='' cd -- "$here" && pwd) || exit 1
binary=${here%/}/kowaza

die() {
	printf 'install.sh: %s\n' "$1" >&2
	exit 1
}

# build FILE: in a subshell, since DESTDIR may be a path relative to here.
build() {
	if [ ! -f "$here/go.mod" ] || ! command -v go >/dev/null; then
		die "$binary: not there, nor Go and its source to build it"
	fi
	(cd -- "$here" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$1" .) >&2 ||
		die "$binary: cannot be built"
}

if [ ! -f "$binary" ]; then
	case " $* " in
	*' -n '* | *' -nu '* | *' -un '* | *' --dry-run '*)
		# Nothing is changed: what shows the rest is built elsewhere.
		tmp=$(mktemp -d "${TMPDIR:-/tmp}/kowaza.XXXXXX") || exit 1
		trap 'rm -rf "$tmp"' EXIT
		trap 'exit 1' HUP INT TERM
		build "$tmp/kowaza"
		printf 'would build %s\n' "$binary"
		"$tmp/kowaza" --install "$@"
		exit
		;;
	esac
	build "$binary"
	printf 'built %s\n' "$binary"
fi
exec "$binary" --install "$@"
