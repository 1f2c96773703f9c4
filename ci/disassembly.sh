#!/usr/bin/env bash
# The machine code of the register tiles, on AVX-512, AVX2 and NEON: as many multiply-adds, loads and stores a step as
# the tile has, and no accumulator on the stack. A tile that spills gives the same bits, only later, so no test sees it.
#
#   ci/disassembly.sh [-v]      -v prints the table of all tiles, not only of those that fail
#
# ci/install.sh installs what this needs. What is checked, and the known exceptions, are in ci/disassembly.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

for tool in objdump aarch64-linux-gnu-objdump /usr/bin/rustc cargo python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing: run ci/install.sh"
done

# Other flags than the crate's: a folder of its own keeps both builds. This mangling alone keeps the tile's shape in its
# name, and it changes no code. Wrappers of the caller are not meant for this.
target=${CARGO_TARGET_DIR:-target}/disassembly
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
export RUSTFLAGS="-C symbol-mangling-version=v0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# disassemble NAME OBJDUMP TRIPLE: the library for that target, built and disassembled to a file of that name.
disassemble() {
    local name=$1 objdump=$2 triple=$3
    CARGO_TARGET_DIR=$target/$name cargo build "${locked[@]}" --release --lib --target "$triple"
    "$objdump" -d -C --no-show-raw-insn -w "$target/$name/$triple/release/libgemmule.rlib" >"$work/$name"
}
disassemble x86 objdump x86_64-unknown-linux-gnu
# Debian's compiler, as in ci/arm64.sh: it has the target's standard library as a package.
(
    unset RUSTUP_TOOLCHAIN
    export RUSTC=/usr/bin/rustc
    disassemble arm64 aarch64-linux-gnu-objdump aarch64-unknown-linux-gnu
)
python3 ci/disassembly.py "$@" avx512,avx2="$work/x86" neon="$work/arm64" || fail "these tiles are not as they should be"

# The check is worth something only if it can fail: one sum that goes to the stack, one multiply-add less.
# broken NAME ISA TILE MULTIPLY_ADD REPLACEMENT WORD: the first multiply-add of that tile is replaced.
broken() {
    local name=$1 isa=$2 tile=$3 multiply_add=$4 replacement=$5 word=$6 printed
    awk -v start="simd::$isa::run::<.*TileKernel<$tile>>>:\$" -v code="$multiply_add" -v by="$replacement" '
        $0 ~ start { on = 1 }
        on && $2 ~ code { sub(/\t.*/, "\t" by); on = 0 }
        { print }' "$work/$name" >"$work/broken"
    if printed=$(python3 ci/disassembly.py "$isa=$work/broken") || [[ $printed != *"FAILS: "*"$word"* ]]; then
        fail "the check does not see \"$replacement\" on $isa: $printed"
    fi
}
broken x86 avx512 "f32, 6, 4, 0" vfmadd231ps "vmovups %zmm1,0x40(%rsp)" spills
broken x86 avx2 "f64, 6, 1, 0" vfmadd231pd "nop" FMAs
broken x86 avx2 "f32, 6, 1, 3" vfmadd231ps "vfmadd231ps (%rax),%ymm1,%ymm2" loads
broken x86 avx512 "f32, 8, 3, 2" "vfmadd231ps" "vfmadd231ps %ymm1,%ymm2,%ymm3" halves
broken x86 avx512 "f64, 10, 1, 4" vfmadd231pd "vmovupd 0x40(%rsp),%zmm1" spills
broken x86 avx512 "f32, 10, 1, 4" vinsertf32x4 "vfmadd231ps (%rax),%zmm1,%zmm2" FMAs
broken arm64 neon "f32, 6, 1, 0" fmla "str q1, [sp, #16]" spills
