#!/bin/sh
# prometheus.sh FILE [OPTION...]: cleans as "rmmail_virtual OPTION..." does and tells
# node_exporter's textfile collector of it in FILE, as in
#   prometheus.sh /var/lib/prometheus/node-exporter/rmmail_virtual.prom -d 21
# The exit status is that of rmmail_virtual, or 1 if FILE cannot be written; cron
# mails what was said.
set -eu

file=$1
shift
json=$(mktemp)
new=$file.$$ # not .prom: the collector reads no half of it
trap 'rm -f "$json" "$new"' EXIT
trap 'exit 1' HUP INT TERM

status=0
/usr/local/bin/rmmail_virtual --json "$@" >"$json" || status=$?

# What each user has left, and the sums. A run that came to no sums shows as failed.
jq -rs --argjson status "$status" --argjson now "$(date +%s)" '
	def gauge($name; $help): "# HELP kowaza_\($name) \($help)", "# TYPE kowaza_\($name) gauge";
	def quoted: gsub("\\\\"; "\\\\") | gsub("\""; "\\\"") | gsub("\n"; "\\n");
	(map(select(has("folder"))) | group_by(.user)) as $users
	| (map(select(has("failed"))) | first // {}) as $all
	| gauge("user_messages"; "Messages left, by user."),
		($users[] | "kowaza_user_messages{user=\"\(.[0].user | quoted)\"} \(map(.messages - .removed) | add)"),
		gauge("user_bytes"; "Bytes left, by user."),
		($users[] | "kowaza_user_bytes{user=\"\(.[0].user | quoted)\"} \(map(.bytes - .removed_bytes) | add)"),
		gauge("maildirs"; "Maildirs cleaned in the last run."), "kowaza_maildirs \($all.maildirs // 0)",
		gauge("removed_messages"; "Messages removed in the last run."), "kowaza_removed_messages \($all.removed // 0)",
		gauge("removed_bytes"; "Bytes removed in the last run."), "kowaza_removed_bytes \($all.removed_bytes // 0)",
		gauge("failed"; "1 if the last run failed."), "kowaza_failed \(if $status == 0 then 0 else 1 end)",
		gauge("run_timestamp_seconds"; "When the last run ended."), "kowaza_run_timestamp_seconds \($now)"
' "$json" >"$new"
chmod 644 "$new"
mv -f "$new" "$file"
exit "$status"
