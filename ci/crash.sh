#!/usr/bin/env bash
# The run of tests/crash.rs, killed at each system call of a save and with each of them failing, by strace; on a disk that is
# full and on one that is read-only, as root. After each the newest checkpoint is whole and the run ends with the same bits.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

command -v strace >/dev/null || fail "strace is missing: ci/install.sh installs it"
strace -f -o /dev/null -e trace=fsync true ||
    fail "strace cannot trace: containers may forbid ptrace (docker run --cap-add SYS_PTRACE allows it)"
((EUID == 0)) || fail "not root: a full disk and a read-only one are mounted"
unshare -m true || fail "nothing can be mounted here: containers may forbid it (docker run --cap-add SYS_ADMIN allows it)"

program=$(cargo test "${locked[@]}" --test crash --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
[[ -x $program ]] || fail "no program of tests/crash.rs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 ci/crash.py "$program" "$work"
mkdir "$work/disk"
unshare -m bash -c 'mount --make-rprivate / && mount -t tmpfs -o size=24k none "$3/disk" && exec python3 ci/crash.py --disk "$2" "$3"' \
    - - "$program" "$work"
