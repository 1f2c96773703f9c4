#!/usr/bin/env bash
# The real PyTorch loads every kind of model that the crate writes with strict=True and gives the same logits within 1e-6; what
# it writes loads here. TORCH is a Python with torch and numpy; the Python package safetensors is installed beside it if it is
# missing. Without TORCH all of them are installed into a folder below the target folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

target=${CARGO_TARGET_DIR:-target}
python=${TORCH:-}
if [[ -z $python ]]; then
    python=$target/torch/bin/python
    [[ -x $python ]] || python3 -m venv "$target/torch"
    "$python" -c 'import torch, numpy, safetensors' 2>/dev/null || "$python" -m pip install --quiet torch numpy safetensors
elif ! "$python" -c 'import safetensors' 2>/dev/null; then
    # Not into the caller's environment.
    "$python" -m pip install --quiet --target "$target/torch-packages" --no-deps safetensors
    export PYTHONPATH=$target/torch-packages${PYTHONPATH:+:$PYTHONPATH}
fi

rm -rf "$target/tmp/interchange"
tests cargo test "${locked[@]}" --test interchange
"$python" tests/golden/interchange.py check "$target/tmp/interchange"
# And back: the files that PyTorch has just written beside ours.
GEMMULE_TORCH_FILES=$(find "$target/tmp/interchange" -name '*.torch' | wc -l)
export GEMMULE_TORCH_FILES
((GEMMULE_TORCH_FILES >= 40)) || fail "PyTorch wrote $GEMMULE_TORCH_FILES files"
tests cargo test "${locked[@]}" --test interchange
