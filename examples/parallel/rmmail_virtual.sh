#!/bin/sh
# rmmail_virtual.sh [HOST...]: each host cleans its share of the virtual users,
# all at once, over ssh. The hosts have one mail store, and root gets in by key.
#
# Which host takes which share does not matter. The share of a host that is down,
# or fails, is tried once more on another. The exit status is the number of
# shares that failed.
set -eu

[ $# -gt 0 ] || set -- mail1.example.jp mail2.example.jp mail3.example.jp

PARALLEL_SSH=${PARALLEL_SSH:-ssh -o BatchMode=yes -o ConnectTimeout=10}
export PARALLEL_SSH
hosts=$(IFS=,; echo "$*")

seq $# | parallel --jobs 1 --retries 2 --sshlogin "$hosts" \
	"/usr/local/bin/rmmail_virtual --shard {}/$#"
