"""Writes sparse.csv: a table after steps of PyTorch's optimisers on sparse gradients, the golden values of tests/sparse.rs.

    python tests/golden/sparse.py > tests/golden/sparse.csv

Numbers, tokens and labels come from the formula of layers.py, which the test repeats. The epsilon is so small that it does not matter where it
stands: SparseAdam adds it before the second moment's bias is corrected.
"""

import torch
from layers import fill
from torch import nn
from torch.optim import SGD, Adagrad, SparseAdam

ROWS, WIDTH, LENGTH, BATCH, OUTPUTS, STEPS, PADDING = 23, 3, 4, 3, 2, 30, 5

CONFIGURATIONS = {
    "sgd": lambda p: SGD(p, lr=0.25),
    "adagrad": lambda p: Adagrad(p, lr=0.25, lr_decay=0.03125, initial_accumulator_value=0.125, eps=1e-16),
    "sparse_adam": lambda p: SparseAdam(p, lr=0.03125, betas=(0.75, 0.9375), eps=1e-16),
}


def filled(kind, stream, *dims):
    return torch.from_numpy(fill(kind, stream, torch.Size(dims).numel())).reshape(dims)


print(f"# torch {torch.__version__}: optimiser, the table after {STEPS} steps")
for name, make in CONFIGURATIONS.items():
    table = nn.Embedding(ROWS, WIDTH, padding_idx=PADDING, sparse=True, dtype=torch.float64)
    dense = nn.Linear(LENGTH * WIDTH, OUTPUTS, dtype=torch.float64)
    with torch.no_grad():
        table.weight.copy_(filled("signed:1", 0, ROWS, WIDTH))
        dense.weight.copy_(filled("signed:1", 1, OUTPUTS, LENGTH * WIDTH))
        dense.bias.copy_(filled("signed:1", 2, OUTPUTS))
    optimizers = [make(table.parameters()), SGD(dense.parameters(), lr=0.0625)]
    tokens = filled(f"whole:{ROWS}", 3, STEPS, BATCH, LENGTH).long()
    labels = filled(f"whole:{OUTPUTS}", 4, STEPS, BATCH).long()
    for x, y in zip(tokens, labels):
        nn.functional.cross_entropy(dense(table(x).flatten(1)), y).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    print(f"{name}," + ",".join(f"{x:.17g}" for x in table.weight.flatten().tolist()))
