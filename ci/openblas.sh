#!/usr/bin/env bash
# Products by another library, with all of them compiled in: what BLAS is called with, what Debian's OpenBLAS and
# matrixmultiply answer, and that nothing else has other bits. ci/install.sh installs OpenBLAS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

[[ $(cc -print-file-name=libopenblas.so) == /* ]] || fail "libopenblas.so is missing: run ci/install.sh"

# Less to compile, and the hashes of `same_bits` must not depend on it.
export CARGO_PROFILE_TEST_OPT_LEVEL=1

# program TEST ARGUMENT...: builds an integration test and prints where it is. The linker's arguments are for this binary
# alone, so that nothing else is built again; a program sets them for all with RUSTFLAGS.
program() {
    local name=$1 built
    shift
    built=$(cargo rustc "${locked[@]}" --profile test --features cblas,matrixmultiply --test "$name" \
        --message-format=json-render-diagnostics -- "$@" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
    [[ -x $built ]] || fail "$name was not built"
    printf '%s\n' "$built"
}

# It defines the BLAS functions itself, and looks at every argument.
calls=$(program cblas_calls)
tests "$calls"

# The symbols must come from OpenBLAS, and its answers from there: `who_computed` sees that the bits are not ours.
backends=$(program backends -C link-arg=-lopenblas)
ldd "$backends" | grep 'libopenblas' || fail "$backends does not use OpenBLAS"
tests "$backends"

# Compiled in, but not chosen: the committed hashes.
bits=$(program same_bits -C link-arg=-lopenblas)
tests "$bits" --skip long_run
