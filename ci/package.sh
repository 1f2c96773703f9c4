#!/usr/bin/env bash
# What a user downloads: the package's size and contents, the number of crates, and no C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

limit=$((2 * 1024 * 1024))
target=${CARGO_TARGET_DIR:-target}

# `--allow-dirty`: work in progress can be checked too.
files=$(cargo package "${locked[@]}" --allow-dirty --list)
! grep -E '^(data|tests|crates|ci|\.ci|loom|benches/records)/' <<<"$files" || fail "these files should not be published"
rm -f "$target"/package/gemmule-*.crate
cargo package "${locked[@]}" --allow-dirty --no-verify
packages=("$target"/package/gemmule-*.crate)
((${#packages[@]} == 1)) && [[ -f ${packages[0]} ]] || fail "no package in $target/package"
size=$(stat -c %s "${packages[0]}")
printf 'package: %s bytes, %s files\n' "$size" "$(wc -l <<<"$files")"
((size < limit)) || fail "the package has $size bytes, not less than $limit"

# crates KINDS ARGUMENT...: the crates of a build, itself included, one a line.
crates() {
    local kinds=$1
    shift
    cargo tree "${locked[@]}" -e "$kinds" --prefix none "$@" | sed 's/ (\*)$//' | sort -u
}

at_most() {
    local most=$1 list
    shift
    list=$(crates normal "$@")
    printf 'crates (%s): %s, at most %s\n' "${*:-default features}" "$(wc -l <<<"$list")" "$most"
    (($(wc -l <<<"$list") <= most)) || fail "too many crates:"$'\n'"$list"
}

at_most 20
at_most 9 --no-default-features

# A crate that compiles C says so with a build dependency; benches and tests need no C compiler either.
for arguments in "" --no-default-features --all-features; do
    list=$(crates normal,build,dev ${arguments:+"$arguments"})
    ! grep -E '^(cc|cmake|bindgen|pkg-config|vcpkg|nasm-rs) v' <<<"$list" || fail "a dependency compiles or looks for C"
done
