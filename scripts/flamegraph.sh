#!/usr/bin/env bash
# Draws a flame graph of the gateway under load: scripts/flamegraph.sh NAME TARGET [arguments of `sluicegate-loadtest beside`].
# TARGET is gateway, gateway-payload, gateway-tls or gateway-tls-payload.
# The picture is flamegraphs/NAME-COMMIT.svg, its rows go into flamegraphs/README.md by hand, with a finding.
# Needs perf (with the right to use it) and inferno (`cargo install inferno`).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
for tool in perf inferno-collapse-perf inferno-flamegraph; do
    command -v "$tool" >/dev/null || { echo "flamegraph.sh: $tool is not installed" >&2; exit 2; }
done
usage='usage: scripts/flamegraph.sh NAME TARGET [arguments of sluicegate-loadtest beside]'
name="${1:?$usage}"
target="${2:?$usage}"
shift 2
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

floor=relay
case "$target" in *tls*) floor=relay-tls ;; esac

# The relay has its turn first: 1 s of warm-up and 8 s. Then comes the gateway's.
"$CARGO_TARGET_DIR/release/sluicegate-loadtest" beside --targets "$floor,$target" --connections 2 --warm-up 1 --seconds 8 --rounds 1 "$@" \
    >"$work/figures" 2>"$work/log" &
run=$!
sleep 13
gateway="$(pgrep --newest --exact sluicegate || true)"
[ -n "$gateway" ] || { cat "$work/log" >&2; echo "flamegraph.sh: no gateway runs" >&2; exit 1; }
perf record --quiet --output "$work/data" --event cpu-clock --freq 400 --call-graph dwarf,16384 \
    --pid "$gateway" -- sleep 3 2>/dev/null
wait "$run"
cat "$work/figures"
picture="flamegraphs/$name-$(git rev-parse --short HEAD).svg"
perf script --no-inline --input "$work/data" 2>/dev/null |
    inferno-collapse-perf 2>/dev/null |
    inferno-flamegraph --title "$name: $target $*" --minwidth 0.3 --hash >"$picture"
echo "$picture"
