"""Writes updates.csv: parameters after 100 steps of PyTorch's optimisers, the golden values of tests/updates.rs.

    python tests/golden/updates.py > tests/golden/updates.csv

Inputs come from a formula in integers that the test repeats; every value is a multiple of 2^-24, exact in f32.
What PyTorch lacks (L1, decoupled decay in SGD) is done to its inputs; Lion, which it lacks, is written in NumPy.
"""

import numpy
import torch
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

COUNT, STEPS = 16, 100


class Lion:
    """Chen et al. 2023, algorithm 2, in the parameters' type."""

    def __init__(self, parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        (self.p,), self.lr, self.betas, self.weight_decay = parameters, lr, betas, weight_decay
        self.m = None

    def step(self):
        p, g = self.p.detach().numpy(), self.p.grad.numpy()
        real, (beta1, beta2) = p.dtype.type, self.betas
        m = numpy.zeros_like(p) if self.m is None else self.m
        c = real(beta1) * m + real(1 - beta1) * g
        # No sign depends on how sums are rounded.
        assert (abs(c) > 1e-6).all() or (g == 0).all()
        p *= real(1 - self.lr * self.weight_decay)
        p -= real(self.lr) * numpy.sign(c)
        self.m = real(beta2) * m + real(1 - beta2) * g


# Name, optimiser, and what is done before its step.
CONFIGURATIONS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "sgd_decay": lambda p: SGD(p, lr=0.1, weight_decay=0.01),
    "sgd_maximize": lambda p: SGD(p, lr=0.1, weight_decay=0.01, maximize=True),
    "sgd_l1": (lambda p: SGD(p, lr=0.1, weight_decay=0.01), lambda p: p.grad.add_(torch.sign(p), alpha=0.03)),
    "sgd_decoupled": (lambda p: SGD(p, lr=0.1, momentum=0.5), lambda p: p.mul_(1 - 0.1 * 0.02)),
    "momentum": lambda p: SGD(p, lr=0.05, momentum=0.9),
    "dampening": lambda p: SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.001),
    "adagrad": lambda p: Adagrad(p),
    "adagrad_all": lambda p: Adagrad(
        p, lr=0.1, lr_decay=0.01, weight_decay=0.01, initial_accumulator_value=0.1, eps=1e-6
    ),
    "adagrad_maximize": lambda p: Adagrad(p, maximize=True),
    "rmsprop": lambda p: RMSprop(p),
    "rmsprop_momentum": lambda p: RMSprop(p, lr=1e-3, momentum=0.9),
    "rmsprop_centered": lambda p: RMSprop(p, lr=1e-3, centered=True),
    "rmsprop_all": lambda p: RMSprop(
        p, lr=1e-3, alpha=0.9, eps=1e-4, weight_decay=0.01, momentum=0.8, centered=True
    ),
    "rmsprop_maximize": lambda p: RMSprop(p, maximize=True),
    "adadelta": lambda p: Adadelta(p),
    "adadelta_all": lambda p: Adadelta(p, lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.01, maximize=True),
    "adam": lambda p: Adam(p),
    "adam_decay": lambda p: Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01),
    "adam_amsgrad": lambda p: Adam(p, lr=0.01, betas=(0.9, 0.8), amsgrad=True),
    "adam_maximize": lambda p: Adam(p, maximize=True),
    "adam_clip_norm": (
        lambda p: Adam(p, lr=0.01, betas=(0.5, 0.9)),
        lambda p: torch.nn.utils.clip_grad_norm_([p], 1.1),
    ),
    "adam_clip_value": (
        lambda p: Adam(p, lr=0.01, betas=(0.5, 0.9)),
        lambda p: torch.nn.utils.clip_grad_value_([p], 0.3),
    ),
    "adamw": lambda p: AdamW(p),
    "adamw_all": lambda p: AdamW(
        p, lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1, amsgrad=True, maximize=True
    ),
    "adamax": lambda p: Adamax(p),
    "adamax_all": lambda p: Adamax(
        p, lr=0.01, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.01, maximize=True
    ),
    "nadam": lambda p: NAdam(p),
    "nadam_all": lambda p: NAdam(
        p, lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.01, momentum_decay=0.1, maximize=True
    ),
    "nadam_decoupled": lambda p: NAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
    "radam": lambda p: RAdam(p),
    "radam_all": lambda p: RAdam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.01, maximize=True),
    "radam_decoupled": lambda p: RAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
    "lion": lambda p: Lion(p),
    "lion_decay": lambda p: Lion(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1),
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
for name, configuration in CONFIGURATIONS.items():
    make, before = configuration if isinstance(configuration, tuple) else (configuration, lambda _: None)
    for dtype, digits in ((torch.float32, 9), (torch.float64, 17)):
        # NAdam keeps a product in the default type.
        torch.set_default_dtype(dtype)
        parameters = values(0, dtype)
        optimizer = make([parameters])
        for step in range(1, STEPS + 1):
            parameters.grad = values(step, dtype)
            before(parameters)
            optimizer.step()
        numbers = ",".join(f"{x:.{digits}g}" for x in parameters.tolist())
        print(f"{name},{'f32' if dtype == torch.float32 else 'f64'},{numbers}")
