#!/usr/bin/env bash
# A short run of the gateway beside the bare relay, in front of the null broker: consume, produce, small requests.
# Arguments go to every run, such as `--rounds 5 --seconds 10` or `-o json`. docs/BENCHMARKS.md says how to read it.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
loadtest="$CARGO_TARGET_DIR/release/sluicegate-loadtest"

run() {
    printf '\n%s\n' "$1"
    shift
    "$loadtest" beside --connections 2 --warm-up 1 --seconds 3 --rounds 3 "$@"
}

run 'consume, 1 MiB a fetch' --work consume "$@"
run 'produce, batches of 16 KiB, acks=-1' --work produce "$@"
run 'small requests, as fast as they are answered' --work list-offsets "$@"
run 'small requests, 4,000 a second' --work list-offsets --rate 4000 "$@"
