#!/usr/bin/env bash
# Fuzzes each target for SECONDS_PER_TARGET (60 by default, TARGETS for some of them), and first the canary, whose planted
# fault must be found: a fuzzer that does not see it says nothing by passing. What fails a target is kept in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
seconds=${SECONDS_PER_TARGET:-60}
read -ra targets <<<"${TARGETS:-request response batch sasl}"
seed=${SEED:-$((RANDOM * 32768 + RANDOM + 1))}
programs="$CARGO_TARGET_DIR/release"
# What the fuzzer learned is kept from run to run; the committed corpus is only read.
learned="$SLUICEGATE_CACHE/fuzz"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# As the gateway itself is built, but for the instrumentation of our own crates: docs/FUZZING.md says why.
bins=(--bin canary)
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/instrument.sh" \
    cargo build --release --workspace --features sluicegate-fuzz/libfuzzer "${bins[@]}"

fuzz() {
    local target=$1 corpus=$2 at_most=$3
    mkdir -p "$corpus" "fuzz/artifacts/$target"
    "$programs/$target" -seed="$seed" -max_total_time="$at_most" -max_len=16384 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" "$corpus" "fuzz/corpus/$target" \
        >"$scratch/$target.log" 2>&1
}

stat() { sed -n "s/^stat::$2: *//p" "$scratch/$1.log"; }

printf 'fuzz: seed %s\n' "$seed"
failed=0
started=$SECONDS
if fuzz canary "$scratch/canary" 120; then
    printf 'fuzz: the canary was NOT found in 120 s: the fuzzer is blind\n'
    failed=1
elif grep -q 'the planted fault was found' "$scratch/canary.log"; then
    printf 'fuzz: the canary was found after %d s\n' $((SECONDS - started))
    rm -rf fuzz/artifacts/canary
else
    printf 'fuzz: the canary failed in another way:\n'
    tail -n 20 "$scratch/canary.log"
    failed=1
fi

for target in "${targets[@]}"; do
    if fuzz "$target" "$learned/$target" "$seconds"; then
        covered=$(sed -n 's/.*DONE *\(cov: [0-9]*\).*/\1/p' "$scratch/$target.log")
        printf 'fuzz: %-8s passed: %s inputs, %s a second, %s\n' "$target" "$(stat "$target" number_of_executed_units)" \
            "$(stat "$target" average_exec_per_sec)" "$covered"
        continue
    fi
    failed=1
    printf 'fuzz: %s FAILED\n' "$target"
    grep -aE -A 3 'panicked at|ERROR: libFuzzer' "$scratch/$target.log" | cut -c1-500 || true
    grep -aE -m 1 '^Base64' "$scratch/$target.log" || true
    # libFuzzer names the input that failed.
    artifact=$(sed -n "s/.*Test unit written to //p" "$scratch/$target.log" | tail -n 1)
    [ -z "$artifact" ] || printf 'fuzz: again by: source scripts/environment.sh; "$CARGO_TARGET_DIR/release/%s" %s\n' "$target" "$artifact"
done
exit $failed
