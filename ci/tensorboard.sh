#!/usr/bin/env bash
# The real tensorboard package reads what the crate writes: every scalar, every histogram, and nothing of a resumed run twice.
# Installs the package into a virtual environment of its own, below the target folder (or where TENSORBOARD_VENV says).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

venv=${TENSORBOARD_VENV:-${CARGO_TARGET_DIR:-target}/tensorboard}
if [[ ! -x $venv/bin/tensorboard ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0
fi

# Less to compile.
export CARGO_PROFILE_TEST_OPT_LEVEL=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export GEMMULE_TENSORBOARD_DIR=$folder
tests cargo test "${locked[@]}" --test logs -- --ignored for_the_real_tensorboard
"$venv/bin/python" ci/tensorboard_events.py "$folder"
