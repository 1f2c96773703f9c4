#!/usr/bin/env bash
# The routines of crates/gemmule-blas against Netlib's testers: numbers, error exits, on every instruction set of this
# CPU and on the plain loops; then the crate's own tests, format and lints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

crate=crates/gemmule-blas
[[ -f $crate/Cargo.lock ]] || fail "$crate/Cargo.lock is missing"
# Other features than the crate's: a folder of its own keeps both builds.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}/blas")
export CARGO_TARGET_DIR=$target
manifest=(--locked --release --manifest-path "$crate/Cargo.toml")

cargo fmt --check --manifest-path "$crate/Cargo.toml"
# Without the crate below it, which has its own stage.
cargo clippy "${manifest[@]}" --no-deps --all-targets -- -D warnings
tests cargo test "${manifest[@]}"
# The values once more, by the plain loops.
tests env GEMMULE_ISA=none cargo test "${manifest[@]}" --test values

library=$target/release/libgemmule_blas.so
cargo build "${manifest[@]}"
[[ -f $library ]] || fail "no $library"
# Netlib's BLAS is behind: whatever other one is installed, the testers need its symbols.
netlib=/usr/lib/$(uname -m)-linux-gnu/blas
for program in xblat3s xblat3d xscblat3 xdcblat3; do
    [[ -x $netlib/$program ]] || fail "$netlib/$program is missing: ci/install.sh installs it"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The example of the README, linked with nothing else: its xerbla_ is called.
awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$crate/README.md" >"$work/program.c"
cc -Wall -Werror "$work/program.c" -L"$target/release" -lgemmule_blas -Wl,-rpath,"$target/release" -o "$work/program"
[[ $("$work/program") == $'10 14 14 20\nSGEMM : bad argument 8' ]] || fail "the program of the README prints something else"

# Input of xblat3: sizes on both sides of the tiles' edges. Routines that are not listed are not tested.
cat >"$work/fortran" <<'INPUT'
'summary'    SUMMARY FILE
6            UNIT OF THE SUMMARY FILE: INSTEAD OF STDOUT
'NONE'       SNAPSHOT FILE
-1           UNIT OF THE SNAPSHOT FILE: NONE
F            REWIND THE SNAPSHOT FILE
F            STOP ON FAILURES
T            TEST ERROR EXITS
16.0         THRESHOLD OF TEST RATIO
9            NUMBER OF VALUES OF N
0 1 2 3 5 9 17 35 65
3            NUMBER OF VALUES OF ALPHA
0.0 1.0 0.7
3            NUMBER OF VALUES OF BETA
0.0 1.0 1.3
INPUT
# That of xcblat3: without the first two lines, and with both layouts.
awk 'NR > 2; NR == 7 { print "2            COLUMN-MAJOR AND ROW-MAJOR" }' "$work/fortran" >"$work/c"

# tester PROGRAM INPUT ROUTINE PRELOAD: runs one and keeps what it prints, who is bound to whom, and stderr.
tester() {
    (
        cd "$work"
        { cat "$2" && printf '%s  T\n' "$3"; } >input
        rm -f bindings.* summary
        LD_LIBRARY_PATH=$netlib LD_PRELOAD=$4 LD_DEBUG=bindings LD_DEBUG_OUTPUT=bindings "$netlib/$1" \
            <input >printed 2>errors || exit
        [[ ! -f summary ]] || cat summary >>printed
    )
}

# bound FROM TO SYMBOL: true if the dynamic linker bound that symbol so.
bound() {
    grep -qF "binding file $1 [0] to $2 [0]: normal symbol \`$3'" "$work"/bindings.*
}

# expect LINE...: each is printed, blanks aside.
expect() {
    local line
    for line; do
        tr -s ' ' <"$work/printed" | grep -E "^ ?$line" >/dev/null || fail "$(cat "$work/printed" "$work/errors")"$'\n'"missing: $line"
    done
}

# check PROGRAM INPUT ROUTINE SYMBOL HANDLER
check() {
    tester "$1" "$2" "$3" "$library" || fail "$1: $(cat "$work/printed" "$work/errors")"
    expect "$3 PASSED THE TESTS OF ERROR-EXITS"
    if [[ $2 == fortran ]]; then
        expect "$3 PASSED THE COMPUTATIONAL TESTS \( ?59049 CALLS\)"
    else
        expect "$3 PASSED THE COLUMN-MAJOR COMPUTATIONAL TESTS \( ?59049 CALLS\)" \
            "$3 PASSED THE ROW-MAJOR COMPUTATIONAL TESTS \( ?59049 CALLS\)"
    fi
    expect 'END OF TESTS'
    ! grep -E 'FAIL|\*\*\*' "$work/printed" || fail "$1 passed and failed"
    bound "$netlib/$1" "$library" "$4" || fail "$1 did not call $4 of $library"
    bound "$library" "$netlib/$1" "$5" || fail "$library does not call $5 of $1"
    printf '%s: %s passes\n' "$1" "$3"
}

# all ISA
all() {
    printf '\n%s\n' "$1"
    export GEMMULE_ISA=$1
    local arguments refused
    for arguments in "xblat3s fortran SGEMM sgemm_ xerbla_" "xblat3d fortran DGEMM dgemm_ xerbla_" \
        "xscblat3 c cblas_sgemm cblas_sgemm cblas_xerbla" "xdcblat3 c cblas_dgemm cblas_dgemm cblas_xerbla"; do
        # shellcheck disable=SC2086
        check $arguments
        refused=$(grep '^gemmule-blas: ' "$work/errors" || true)
        # On an instruction set that the CPU has, the loops must not have done it.
        if [[ $1 == none ]]; then
            [[ -n $refused ]] || fail "GEMMULE_ISA=$1 was not refused"
        else
            [[ -z $refused ]] || fail "$refused"
        fi
    done
    unset GEMMULE_ISA
}

# An instruction set that no CPU has is refused, plain loops compute, and the message lists those of this CPU.
all none
available=$(sed -n 's/^gemmule-blas: .*this CPU has \(.*\); computing with plain loops$/\1/p' "$work/errors")
[[ $available == *portable* ]] || fail "no list of instruction sets in: $(cat "$work/errors")"
for isa in ${available//,/ }; do
    all "$isa"
done

# The proof is worth something only if it can fail: Netlib's own routine is not taken for this library's.
tester xblat3s fortran SGEMM ""
expect "SGEMM PASSED THE COMPUTATIONAL TESTS"
! bound "$netlib/xblat3s" "$library" sgemm_ || fail "the library is called without being in front"
bound "$netlib/xblat3s" "$netlib/libblas.so.3" sgemm_ || fail "nobody is called"
