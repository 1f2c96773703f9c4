#!/usr/bin/env bash
# The example that the README shows: one epoch of MNIST reaches 94 % on the test set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

# The library as ci/disassembly.sh has built it, which takes two minutes otherwise.
triple=$(uname -m)-unknown-linux-gnu
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/disassembly/x86 RUSTFLAGS="-C symbol-mangling-version=v0"
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
output=$(cargo run "${locked[@]}" --release --target "$triple" --example mnist -- --epochs 1)
printf '%s\n' "$output"
# The last line such as `test accuracy: 95.31 %`.
accuracy=$(sed -nE 's/.*test accuracy[^%]*[^0-9.]([0-9]+(\.[0-9]+)?) ?%.*/\1/Ip' <<<"$output" | tail -n 1)
[[ -n $accuracy ]] || fail "the example prints no test accuracy in percent"
awk -v got="$accuracy" 'BEGIN { exit !(got >= 94 && got <= 100) }' ||
    fail "test accuracy is $accuracy %, not 94 % or more"
