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
