#!/usr/bin/env bash
# Fuzzes what reads files, with libFuzzer and AddressSanitizer.
#
#   ci/fuzz.sh                  replays the corpus, then fuzzes each target for 6 seconds
#   ci/fuzz.sh long [TARGET..]  10 million inputs each (or GEMMULE_FUZZ_RUNS), and keeps what is new in the corpus' folder below target/
#
# An input that panics, aborts, takes more than 5 seconds, asks for more than 64 MB at once or 512 MB in all fails, and
# stays in the folder that is printed. The flags are those of cargo-fuzz, so that it need not be installed; its compiler
# is the one of everywhere else, as `RUSTC_BOOTSTRAP` allows (see asan.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

all=(idx csv npy npz images safetensors)
[[ -f fuzz/Cargo.lock ]] || fail "fuzz/Cargo.lock is missing"
command -v c++ >/dev/null || fail "no C++ compiler: libFuzzer needs one"

triple=$(uname -m)-unknown-linux-gnu
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export RUSTC_BOOTSTRAP=1
flags=(
    --cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
)
export RUSTFLAGS="${flags[*]}"
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
export ASAN_OPTIONS=detect_leaks=0
cargo build --locked --release --bins --target "$triple" --manifest-path fuzz/Cargo.toml
bin=$CARGO_TARGET_DIR/$triple/release
found=$CARGO_TARGET_DIR/found
mkdir -p "$found"

# The check is worth something only if it can fail.
printf '!' >"$found/planted"
if "$bin/planted" "$found/planted" >"$found/planted.log" 2>&1; then
    fail "a planted panic was not seen"
fi
grep -q 'deadly signal' "$found/planted.log" || fail "another failure: $(cat "$found/planted.log")"

limits=(-max_len=4096 -timeout=5 -rss_limit_mb=512 -malloc_limit_mb=64 -print_final_stats=1)
# run TARGET OPTION...: fails with the end of the log; prints what was run and how fast.
run() {
    local target=$1 log
    shift
    log=$found/$target.log
    if ! "$bin/$target" "${limits[@]}" "-artifact_prefix=$found/$target-" "$@" >"$log" 2>&1; then
        tail -50 "$log"
        fail "$target: the input is in $found"
    fi
    awk -v target="$target" '/stat::number_of_executed_units/ { runs = $2 } /stat::average_exec_per_sec/ { speed = $2 }
        END { printf "%s: %d inputs, %d per second\n", target, runs, speed }' "$log"
}

case ${1:-quick} in
quick)
    for target in "${all[@]}"; do
        files=(fuzz/corpus/"$target"/*)
        [[ -f ${files[0]} ]] || fail "fuzz/corpus/$target is empty"
        run "$target" -runs=0 "fuzz/corpus/$target"
        new=$(mktemp -d)
        run "$target" -max_total_time=6 "$new" "fuzz/corpus/$target"
        rm -rf "$new"
    done
    ;;
long)
    shift
    (($# > 0)) || set -- "${all[@]}"
    for target; do
        new=$CARGO_TARGET_DIR/corpus/$target
        mkdir -p "$new"
        run "$target" "-runs=${GEMMULE_FUZZ_RUNS:-10000000}" "$new" "fuzz/corpus/$target"
    done
    ;;
*) fail "usage: ci/fuzz.sh [long [TARGET..]]" ;;
esac
