#!/usr/bin/env bash
# Every instruction set that this CPU has: the global choice obeys `GEMMULE_ISA`, and the suite exercises the set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

# As the stage before has built it. What is tested there on all sets need not be once for each.
build=(cargo test "${locked[@]}" --features full)
cpu_isas
for isa in "${isas[@]}"; do
    printf '\n%s: the global choice\n' "$isa"
    tests env GEMMULE_ISA="$isa" GEMMULE_EXPECT_ISA="$isa" "${build[@]}" --test global_isa
    printf '\n%s: among those exercised\n' "$isa"
    # `contexts()` in tests/common/mod.rs fails if the expected one is not among those it gives.
    tests env GEMMULE_EXPECT_ISA="$isa" "${build[@]}" --test same_bits -- kernels
done

# The check is worth something only if it can fail: no CPU of this kind has the foreign set.
printf '\n%s: must be missed\n' "$foreign"
if GEMMULE_EXPECT_ISA=$foreign "${build[@]}" --test same_bits -- kernels >/dev/null 2>&1; then
    fail "the suite passes although GEMMULE_EXPECT_ISA=$foreign was not exercised"
fi
