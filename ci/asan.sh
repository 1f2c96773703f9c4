#!/usr/bin/env bash
# The tests of products, convolutions and of vector loads and stores, with AddressSanitizer, on every instruction set
# of this CPU. The tests' own guard pages stand at some buffers; this guards both ends of every buffer on the heap.
#
# The sanitizer is not stable, but its runtime comes with stable Rust, so the same compiler as everywhere else is used,
# as `RUSTC_BOOTSTRAP` allows. The standard library itself is not instrumented.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

triple=$(uname -m)-unknown-linux-gnu
# Other flags than the crate's: a folder of its own keeps both builds.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
# Less to compile; the accesses are the same. (The tests take longer: 39 seconds for the unit tests.)
export CARGO_PROFILE_TEST_OPT_LEVEL=1
# Leaks are not looked for: that needs ptrace, which containers may forbid.
export ASAN_OPTIONS=detect_leaks=0
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS

# The check is worth something only if it can fail: a read of one element past the end must end the program.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/past.rs" <<'RUST'
fn main() {
    let b = std::hint::black_box(vec![1.0_f32; 16]);
    println!("{}", unsafe { b.as_ptr().add(16).read() });
}
RUST
rustc --edition 2024 -O $RUSTFLAGS --target "$triple" -o "$work/past" "$work/past.rs"
if "$work/past" >"$work/printed" 2>&1; then
    fail "a read of one element past the end was not seen"
fi
grep -q 'AddressSanitizer: heap-buffer-overflow' "$work/printed" || fail "another failure: $(cat "$work/printed")"

cpu_isas
build=(cargo test "${locked[@]}" --target "$triple")
# With a target, the flags are not for build scripts and macros. Both in one command: the crates below are built once.
"${build[@]}" --lib --test gemm --no-run
tests env GEMMULE_EXPECT_ISA="$(IFS=,; echo "${isas[*]}")" "${build[@]}" --lib -- kernel::gemm:: kernel::conv:: simd::
# Each test runs on all sets, so once is enough; for the others, that they are among them.
tests env GEMMULE_EXPECT_ISA="${isas[-1]}" "${build[@]}" --test gemm
for isa in "${isas[@]}"; do
    tests env GEMMULE_EXPECT_ISA="$isa" "${build[@]}" --test gemm -- order::rows_and_columns_alone
done
