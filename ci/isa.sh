#!/usr/bin/env bash
# Every instruction set that this CPU has: the global choice obeys `GEMMULE_ISA`, and the suite exercises the set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

# By what the kernel says, not by what the crate detects: that is what is tested.
flags=" $(grep -m1 -E '^(flags|Features)[[:space:]]*:' /proc/cpuinfo | cut -d: -f2) "
has() {
    local flag
    for flag; do
        [[ $flags == *" $flag "* ]] || return 1
    done
}

isas=(portable)
case $(uname -m) in
x86_64)
    foreign=neon
    ! has avx2 fma || isas+=(avx2)
    ! has avx2 fma avx512f avx512bw avx512dq avx512vl || isas+=(avx512)
    ;;
aarch64)
    foreign=avx2
    ! has asimd || isas+=(neon)
    ;;
*) fail "no list of instruction sets for $(uname -m)" ;;
esac
printf 'this CPU has: %s\n' "${isas[*]}"

for isa in "${isas[@]}"; do
    printf '\n%s: the global choice\n' "$isa"
    tests env GEMMULE_ISA="$isa" GEMMULE_EXPECT_ISA="$isa" cargo test "${locked[@]}" --test global_isa
    printf '\n%s: among those exercised\n' "$isa"
    # `contexts()` in tests/common/mod.rs fails if the expected one is not among those it gives.
    tests env GEMMULE_EXPECT_ISA="$isa" cargo test "${locked[@]}" --test same_bits
done

# The check is worth something only if it can fail: no CPU of this kind has the foreign set.
printf '\n%s: must be missed\n' "$foreign"
if GEMMULE_EXPECT_ISA=$foreign cargo test "${locked[@]}" --test same_bits >/dev/null 2>&1; then
    fail "the suite passes although GEMMULE_EXPECT_ISA=$foreign was not exercised"
fi
