#!/usr/bin/env bash
# The example that the README shows: one epoch of MNIST reaches 94 % on the test set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

# A third less to compile; kernels lie within one part of the code.
export CARGO_PROFILE_RELEASE_LTO=off

output=$(cargo run "${locked[@]}" --release --example mnist -- --epochs 1)
printf '%s\n' "$output"
# The last line such as `test accuracy: 95.31 %`.
accuracy=$(sed -nE 's/.*test accuracy[^%]*[^0-9.]([0-9]+(\.[0-9]+)?) ?%.*/\1/Ip' <<<"$output" | tail -n 1)
[[ -n $accuracy ]] || fail "the example prints no test accuracy in percent"
awk -v got="$accuracy" 'BEGIN { exit !(got >= 94 && got <= 100) }' ||
    fail "test accuracy is $accuracy %, not 94 % or more"
