"""Writes updates.csv: parameters after 100 steps of PyTorch's optimisers, the golden values of tests/updates.rs.

    python tests/golden/updates.py > tests/golden/updates.csv

Inputs come from a formula in integers that the test repeats; every value is a multiple of 2^-24, exact in f32.
"""

import torch

COUNT, STEPS = 16, 100

CONFIGURATIONS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.001),
    "adam": lambda p: torch.optim.Adam(p),
    "adam_decay": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01),
}


def value(stream, index):
    """A number in [-0.5, 0.5)."""
    mixed = (index * 2654435761 + stream * 2246822519 + 374761393) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    mixed ^= mixed >> 13
    return (mixed >> 8) / 2**24 - 0.5


def values(stream, dtype):
    return torch.tensor([value(stream, i) for i in range(COUNT)], dtype=dtype)


print(f"# torch {torch.__version__}: configuration, type, parameters after {STEPS} steps")
for name, make in CONFIGURATIONS.items():
    for dtype, digits in ((torch.float32, 9), (torch.float64, 17)):
        parameters = values(0, dtype)
        optimizer = make([parameters])
        for step in range(1, STEPS + 1):
            parameters.grad = values(step, dtype)
            optimizer.step()
        numbers = ",".join(f"{x:.{digits}g}" for x in parameters.tolist())
        print(f"{name},{'f32' if dtype == torch.float32 else 'f64'},{numbers}")
