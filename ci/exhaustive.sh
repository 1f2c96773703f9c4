#!/usr/bin/env bash
# The f32 functions against core-math and against the scalar twin: a part of all inputs, and all edges.
#
#   ci/exhaustive.sh [ARGUMENT...]      other arguments than `--stride 256`, for example `--stride 1 --threads 2`
#
# A package of its own with a lock file of its own; its oracle compiles C, so it needs `cc`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

manifest=benches/exhaustive/Cargo.toml
[[ -f benches/exhaustive/Cargo.lock ]] || fail "benches/exhaustive/Cargo.lock is missing"
command -v cc >/dev/null || fail "cc is missing: run ci/install.sh"
arguments=("$@")
((${#arguments[@]} > 0)) || arguments=(--stride 256 --threads "$(nproc)")

# The twin takes minutes to compile at the highest level, which only the full run repays.
fast=()
[[ ${arguments[*]} != *"--stride 256"* ]] || fast=(--config 'profile.release.package.gemmule-twin.opt-level=1')
tests cargo test "${fast[@]}" --locked --release --manifest-path "$manifest"
cargo run "${fast[@]}" --locked --release --manifest-path "$manifest" -- "${arguments[@]}"
# The same bits as NEON: the longer column of the committed hashes.
tests env GEMMULE_SUBSET=full cargo test "${locked[@]}" --features full --test elementwise_subset
cargo fmt --manifest-path "$manifest" --check
cargo clippy --locked --manifest-path "$manifest" --all-targets -- -D warnings
