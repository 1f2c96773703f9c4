#!/usr/bin/env bash
# Every instruction set that this CPU has: the global choice obeys `GEMMULE_ISA`, and the suite exercises the set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

cpu_isas
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
