#!/usr/bin/env bash
# Installs what the stages need and this machine lacks: as root, on Debian. Running it again does nothing.
set -euo pipefail

fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

command -v cargo >/dev/null || fail "cargo is missing: install stable Rust with rustup"
version=$(rustc --version)
printf '%s\n' "$version"
[[ $version != *-nightly* && $version != *-beta* && $version != *-dev* ]] || fail "the stages run on stable Rust"
for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
        rustup component add rustfmt clippy
        cargo "$component" --version
    fi
done

# AArch64 tests: a linker, its C library, an emulator, and a compiler with the target's standard library.
packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static rustc-web libstd-rust-web-dev:arm64)
# The machine code of both architectures, and what looks at it.
packages+=(binutils binutils-aarch64-linux-gnu python3)
# Netlib's testers of BLAS, and Netlib's BLAS, which they need behind what they test.
packages+=(libblas-test libblas3)
# A BLAS for the feature `cblas`: the library and the name that a linker looks for.
packages+=(libopenblas0-pthread libopenblas-pthread-dev)
# Kills a run at each system call of a save, and has them fail.
packages+=(strace)

installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
if ((${#missing[@]} > 0)); then
    printf 'installing %s\n' "${missing[*]}"
    ((EUID == 0)) || fail "not root, and these packages are missing: ${missing[*]}"
    # Before the update, so that the other architecture's lists are fetched too.
    dpkg --add-architecture arm64
    apt-get -o Acquire::Retries=3 update
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y --no-install-recommends "${missing[@]}"
fi
for package in "${packages[@]}"; do
    installed "$package" || fail "$package is not installed"
done
for tool in aarch64-linux-gnu-gcc aarch64-linux-gnu-objdump qemu-aarch64-static /usr/bin/rustc cc ldd objdump python3 timeout \
    grep awk sed stat realpath strace; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done
