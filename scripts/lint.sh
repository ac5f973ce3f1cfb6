#!/usr/bin/env bash
# Everything that reads the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

cargo fmt --all --check
cargo clippy --release --workspace --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps --quiet
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check bans licenses sources
else
    echo 'lint: cargo-deny is not installed, so dependencies are unchecked: cargo install --locked cargo-deny' >&2
fi
