#!/usr/bin/env bash
# Instructions of the pure steps of the path (no socket, no system call of theirs but the record's write), which are the same on
# every machine: the tests of the warm connection and of a thousand topics under callgrind, one API at a time. Needs valgrind, and `make test` before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
for tool in valgrind callgrind_annotate; do
    command -v "$tool" >/dev/null || { echo "instructions.sh: $tool is not installed (apt-get install valgrind)" >&2; exit 2; }
done
warm=path::tests::a_request_on_a_warm_connection_allocates_nothing
large=path::tests::a_thousand_topics_are_carried_and_filtered
program=""
for file in $(ls -t "$CARGO_TARGET_DIR"/release/deps/sluicegate-????????????????); do
    if "$file" --list 2>/dev/null | grep -q "^$warm: test"; then program="$file"; break; fi
done
[ -n "$program" ] || { echo "instructions.sh: no unit tests are built: make test builds them" >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
printf '%-16s %-16s %8s %14s\n' API step calls "instructions"
for turn in Produce Fetch ListOffsets ListOffsets-1000 Metadata-1000; do
    case "$turn" in *-1000) test="$large" ;; *) test="$warm" ;; esac
    SLUICEGATE_TEST_TURN="$turn" valgrind --quiet --tool=callgrind --callgrind-out-file="$work/out" "$program" --exact "$test" >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
    # A step is called from `carry` alone; behind its name stands how often.
    callgrind_annotate --inclusive=yes --tree=calling --threshold=100 "$work/out" 2>/dev/null |
        awk -v turn="$turn" '
            match($0, /(Path>?::carry_request|Path>?::carry_response|carry_piece|Path>?::mask_jobs).* \([0-9]+x\)/) && / > / {
                step = $0; sub(/.*(Path>?::)/, "", step); sub(/ .*/, "", step)
                calls = $0; sub(/.*\(/, "", calls); sub(/x\).*/, "", calls); gsub(/,/, "", calls)
                instructions = $1; gsub(/,/, "", instructions)
                if (calls >= 100 && !(step in seen)) { seen[step] = 1; printf "%-16s %-16s %8d %14.0f\n", turn, step, calls, instructions / calls }
            }'
done
