"""Writes constraints.csv: Keras' constraints (axis 0) on a kernel and a bias, the golden values of tests/constraints.rs.

    python tests/golden/constraints.py > tests/golden/constraints.csv

Numbers come from the formula of losses.py, which the test repeats. A line: name, rows, columns, what the matrix becomes.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from keras import constraints


def value(stream, index):
    """A number in [-0.5, 0.5)."""
    mixed = (index * 2654435761 + stream * 2246822519 + 374761393) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    mixed ^= mixed >> 13
    return (mixed >> 16) / 2**16 - 0.5


CASES = {
    "max_norm": constraints.MaxNorm(max_value=1.25, axis=0),
    "unit_norm": constraints.UnitNorm(axis=0),
    "non_negative": constraints.NonNeg(),
    "min_max_norm": constraints.MinMaxNorm(min_value=1.0, max_value=1.5, rate=1.0, axis=0),
    "min_max_norm_slow": constraints.MinMaxNorm(min_value=1.0, max_value=1.5, rate=0.25, axis=0),
    "clip": lambda w: np.clip(w, -0.25, 0.5),
}

print(f"# keras {keras.__version__}: name, rows, columns, values")
for name, constraint in CASES.items():
    for shape in ((5, 7), (6,)):
        count = int(np.prod(shape))
        w = np.array([2 * value(40, i) for i in range(count)]).reshape(shape)
        held = np.asarray(constraint(keras.ops.convert_to_tensor(w, dtype="float64")))
        rows, columns = shape if len(shape) == 2 else (shape[0], 1)
        print(f"{name},{rows},{columns}," + ",".join(f"{x:.17g}" for x in held.flatten()))
