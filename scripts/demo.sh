#!/usr/bin/env bash
# Shows the gateway at work: starts `sluicegate demo` and has three people read one topic, with a stock client. Each
# scene is checked: one that does not show what it should ends the demo with exit code 1. At the end everything stays
# up until Ctrl-C; with DEMO_ONCE=1 it ends there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

idle_seconds=5
lines_shown=8
# 13 digits and more in one run, in groups too: neither amounts nor masked cards look like that.
card='[0-9]([ -]?[0-9]){12}'
bold='' plain=''
[ -t 1 ] && bold=$'\e[1m' plain=$'\e[0m'

folder=$(mktemp -d "${TMPDIR:-/tmp}/sluicegate-demo.XXXXXX")
gateway='' reader=''

clean_up() {
    for process in $reader $gateway; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf '\ndemo: FAILED: %s\n' "$*" >&2
    printf 'demo: the last lines of the log:\n' >&2
    tail -n 5 "$folder/gateway.log" >&2
    exit 1
}

heading() {
    local line="== $1 "
    while [ ${#line} -lt 100 ]; do line+='='; done
    printf '\n\n%s%s%s\n' "$bold" "$line" "$plain"
}

# A command as a user types it.
typed() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; }

run() {
    typed "$*"
    "$@"
}

# The first lines of a file, and how many follow.
show() {
    head -n "$lines_shown" "$1"
    local more=$(($(wc -l <"$1") - lines_shown))
    if [ "$more" -gt 0 ]; then printf '… and %d more\n' "$more"; fi
}

# Reads the topic as somebody does, from its beginning to its end.
consume() {
    typed "python3 consume.py clients/$1.properties payments"
    timeout --foreground 60 python3 consume.py "clients/$1.properties" payments >"$1.out" ||
        fail "scene $2: the $1 could not read the topic"
    show "$1.out"
}

expect_masked() {
    [ "$(wc -l <"$1")" -eq "$records" ] || fail "$2: $(wc -l <"$1") records instead of $records"
    ! grep -Eq "$card" "$1" || fail "$2: a full card number shows"
    ! grep -q '@' "$1" || fail "$2: an e-mail address shows"
}

expect_clear() {
    [ "$(wc -l <"$1")" -eq "$records" ] || fail "$2: $(wc -l <"$1") records instead of $records"
    [ "$(grep -Ec "$card" "$1")" -eq "$records" ] || fail "$2: not every card number shows"
    [ "$(grep -c '@' "$1")" -eq "$records" ] || fail "$2: not every e-mail address shows"
}

heading 'Broker, issuer, sample data and gateway, in one process'
# What a user would set by hand, so that the commands below are short.
typed "PATH=$CARGO_TARGET_DIR/release:\$PATH"
typed "PATH=$SLUICEGATE_CLIENTS_HOME/python/bin:\$PATH"
PATH="$SLUICEGATE_CLIENTS_HOME/python/bin:$CARGO_TARGET_DIR/release:$PATH"
typed "sluicegate demo --dir $folder &"
cd "$folder"
# The log is for those who look into it; what people read is on standard output.
SLUICEGATE_LOG=${SLUICEGATE_LOG:-info} sluicegate demo --dir "$folder" >demo.out 2>gateway.log &
gateway=$!
for _ in $(seq 300); do
    grep -q '^ready' demo.out && break
    kill -0 "$gateway" 2>/dev/null || break
    sleep 0.1
done
grep -q '^ready' demo.out || fail 'the gateway does not start'
sed '/^$/,$d' demo.out
records=$(sed -n 's/.* \([0-9]*\) records$/\1/p' demo.out)
run cd "$folder"

heading '1. An analyst: card numbers and e-mail addresses are masked'
consume analyst 1
expect_masked analyst.out 'scene 1, the analyst'

heading '2. An auditor: the same records, in clear'
consume auditor 2
expect_clear auditor.out 'scene 2, the auditor'

heading '3. A contractor: idle until somebody of the data owners grants it, then masked'
typed 'python3 consume.py clients/contractor.properties payments &'
timeout 60 python3 consume.py clients/contractor.properties payments >contractor.out &
reader=$!
sleep "$idle_seconds"
[ ! -s contractor.out ] || fail 'scene 3: the contractor reads before the grant'
kill -0 "$reader" 2>/dev/null || fail 'scene 3: the contractor does not wait'
printf '(%d seconds later: connected, and nothing yet)\n' "$idle_seconds"
typed 'sluicegate approvals list --token-file tokens/owner'
sluicegate approvals list --token-file tokens/owner | tee tickets.out || fail 'scene 3: the owner sees no tickets'
ticket=$(awk '$2 == "pending" && /contractor/ { print $1 }' tickets.out)
[[ "$ticket" == t-* ]] || fail 'scene 3: no ticket of the contractor waits'
[ ! -s contractor.out ] || fail 'scene 3: the contractor reads before the grant'
run sluicegate approvals grant "$ticket" --token-file tokens/owner ||
    fail 'scene 3: the owner cannot grant the ticket'
typed 'fg'
wait "$reader" || fail 'scene 3: nothing comes after the grant'
reader=''
show contractor.out
expect_masked contractor.out 'scene 3, the contractor after the grant'

heading '4. The record: who was there, and what the analyst saw'
typed 'sluicegate sessions list'
sluicegate sessions list | tee sessions.out || fail 'scene 4: no sessions are listed'
session=$(awk '/demo\|analyst/ { print $1; exit }' sessions.out)
[ -n "$session" ] || fail 'scene 4: the analyst has no session'
typed "sluicegate replay $session"
sluicegate replay "$session" | tee replay.out || fail 'scene 4: the session cannot be replayed'
[ "$(grep -c '"card"' replay.out)" -eq "$records" ] || fail 'scene 4: the replay has not every record'
grep -Eo "$card[0-9]*" auditor.out >cards.out
! grep -Fqf cards.out replay.out || fail 'scene 4: the replay shows a clear card number'
! grep '"card"' replay.out | grep -Eq "$card|@" || fail 'scene 4: the replay shows what was masked'
run sluicegate verify || fail 'scene 4: the record is not sound'

if [ "${DEMO_ONCE:-}" = 1 ]; then
    heading 'All of it was shown'
    exit 0
fi

heading 'Now you, in another terminal'
typed "PATH=$CARGO_TARGET_DIR/release:\$PATH"
typed "PATH=$SLUICEGATE_CLIENTS_HOME/python/bin:\$PATH"
sed -n '/^try:/,/^ready/p' demo.out | sed -n 's/^\(try:\)\? \+//p' | sed 's/^/$ /'
printf '\nThe contractor has been granted it for an hour: revoke %s to see the wait again.\n' "$ticket"
printf "The gateway's log is gateway.log there.\n"
printf '\n%sCtrl-C ends it, and removes the folder%s\n' "$bold" "$plain"
# From here on Ctrl-C is the way it is meant to end.
trap 'exit 0' INT TERM
wait "$gateway" || true
gateway=''
fail 'the gateway ended by itself'
