#!/usr/bin/env bash
# NEON, run for real: the tests built for AArch64 and run under emulation.
#
#   ci/arm64.sh [TEST...]      the unit tests, then these integration tests (default: the list below)
#
# `PROJECT=folder` takes another package than this one, `TEST_SECONDS=900` gives each test more time than 240 seconds.
# ci/install.sh installs what this needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cd "${PROJECT:-.}"
source "$root/ci/lib.sh"

names=(global_isa same_bits golden elementwise_subset)
if (($# > 0)); then
    names=("$@")
fi

for tool in aarch64-linux-gnu-gcc qemu-aarch64-static /usr/bin/rustc cargo timeout; do
    command -v "$tool" >/dev/null || fail "$tool is missing: run ci/install.sh"
done

# Debian's compiler: it has the target's standard library as a package. The linked program is static, since
# threads hang in dynamically linked ones under this emulator.
export RUSTC=/usr/bin/rustc
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/arm64"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
# Flags and wrappers of the caller are meant for the other compiler.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTUP_TOOLCHAIN
unset GEMMULE_ISA
export GEMMULE_EXPECT_ISA=neon
# tests/global_isa.rs starts itself again.
export GEMMULE_TEST_RUNNER=qemu-aarch64-static
build=(cargo test "${locked[@]}" --target aarch64-unknown-linux-gnu)

targets=(--lib)
for test in "${names[@]}"; do
    targets+=(--test "$test")
done
# limited SECONDS COMMAND...: all of them end before the stage does, since its signal would not reach them.
limited() {
    local limit=$1 left=$((${STAGE_SECONDS:-$((1660 + ${TEST_SECONDS:-240}))} - SECONDS - 20))
    shift
    ((left > 0)) || fail "out of time before: $*"
    timeout -k 10 "$((limit < left ? limit : left))" "$@"
}

limited 1400 "${build[@]}" "${targets[@]}" --no-run
tests limited 600 "${build[@]}" --lib
for test in "${names[@]}"; do
    tests limited "${TEST_SECONDS:-240}" "${build[@]}" --test "$test"
done
