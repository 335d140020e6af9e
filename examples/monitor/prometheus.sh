#!/bin/sh
# prometheus.sh FILE [OPTION...] [TEST...]: does what "mailtrip OPTION... TEST..." does and
# tells node_exporter's textfile collector of it in FILE, as in
#   prometheus.sh /var/lib/prometheus/node-exporter/mailtrip.prom -d -f hoshu -t hoshu local bounce
# The exit status is that of mailtrip, or 1 if FILE cannot be written; cron mails what
# was said.
set -eu

file=$1
shift
json=$(mktemp)
new=$file.$$ # not .prom: the collector reads no half of it
trap 'rm -f "$json" "$new"' EXIT
trap 'exit 1' HUP INT TERM

status=0
/usr/local/bin/mailtrip --json "$@" >"$json" || status=$?

# Each test, and the run. One that did not begin shows as failed.
jq -rs --argjson status "$status" --argjson now "$(date +%s)" '
	def gauge($name; $help): "# HELP kowaza_mailtrip_\($name) \($help)", "# TYPE kowaza_mailtrip_\($name) gauge";
	. as $tests
	| gauge("ok"; "1 if mail ended as the test wants it."),
		($tests[] | "kowaza_mailtrip_ok{test=\"\(.test)\"} \(if .ok then 1 else 0 end)"),
		gauge("seconds"; "Seconds from the injection to the end."),
		($tests[] | "kowaza_mailtrip_seconds{test=\"\(.test)\",outcome=\"\(.outcome)\"} \(.seconds)"),
		gauge("failed"; "1 if the last run failed."), "kowaza_mailtrip_failed \(if $status == 0 then 0 else 1 end)",
		gauge("run_timestamp_seconds"; "When the last run ended."), "kowaza_mailtrip_run_timestamp_seconds \($now)"
' "$json" >"$new"
chmod 644 "$new"
mv -f "$new" "$file"
exit "$status"
