#!/usr/bin/env bash
# Every interleaving of the team's protocol, by loom: a package of its own with a lock file of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

[[ -f loom/Cargo.lock ]] || fail "loom/Cargo.lock is missing"
export RUSTFLAGS="--cfg loom"
# Other flags than the crate's: a folder of its own keeps both builds.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/loom"
tests cargo test --locked --release --manifest-path loom/Cargo.toml
