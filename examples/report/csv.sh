#!/bin/sh
# csv.sh [OPTION...]: cleans as "rmmail_virtual OPTION..." does and prints, folder by
# folder, what was there and what went, as a table for a spreadsheet. With -n nothing
# goes. The exit status is that of rmmail_virtual, or 1 if jq fails.
set -eu

json=$(mktemp)
trap 'rm -f "$json"' EXIT
trap 'exit 1' HUP INT TERM

status=0
/usr/local/bin/rmmail_virtual --json "$@" >"$json" || status=$?

# Users name their folders: a spreadsheet would take = + - or @ for a formula.
jq -nr '
	def cell: if type == "string" and test("^[=+@\t\r-]") then "\u0027" + . else . end;
	["user", "maildir", "folder", "rule", "messages", "bytes", "removed", "removed_bytes", "oldest"] as $names
	| ($names, (inputs | select(has("folder")) | [.[$names[]]])) | map(cell) | @csv
' "$json" || status=1
exit "$status"
