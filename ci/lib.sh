# For the scripts beside it: `source`d, after `set -euo pipefail`.

locked=()
[[ ! -f Cargo.lock ]] || locked=(--locked)

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# tests COMMAND...: runs a `cargo test` and fails also if it ran no test at all, as a wrong filter would.
tests() {
    local log status=0
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    if ((status == 0)) && ! grep -qE '^test result: ok\. [1-9][0-9]* passed' "$log"; then
        printf 'no test ran: %s\n' "$*" >&2
        status=1
    fi
    rm -f "$log"
    # `exit`, not `return`: nothing may come after, wherever it is called from.
    ((status == 0)) || exit "$status"
}

# cpu_isas: the instruction sets of this CPU in `isas`, the widest last, and one that no CPU of this kind has in
# `foreign`. By what the system's kernel says, not by what the crate detects: that is what is tested.
cpu_isas() {
    local flags
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
}
