#!/usr/bin/env bash
# Fails where the gateway has become grossly slower: its CPU time over that of the bare relay, side by side in one run, in
# front of the null broker. The bounds are about twice what docs/BENCHMARKS.md has, because shared machines are noisy; no
# absolute time is looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
loadtest="$CARGO_TARGET_DIR/release/sluicegate-loadtest"

bound() {
    printf '\n%s, at most %s of the relay\n' "$1" "$2"
    "$loadtest" beside --connections 2 --warm-up 0.5 --seconds 1.5 --rounds 3 --cpu-ratio-max "$2" "${@:3}"
}

bound 'consume, 1 MiB a fetch' 2.2 --work consume --targets relay,gateway
bound 'consume, payloads recorded' 6 --work consume --targets relay,gateway-payload
bound 'consume by TLS' 2.5 --work consume --targets relay-tls,gateway-tls
bound 'produce, batches of 16 KiB' 6 --work produce --targets relay,gateway
bound 'small requests' 5 --work list-offsets --targets relay,gateway
