"""Writes losses.csv: PyTorch's losses and gradients, the golden values of tests/losses/golden.rs.

    python tests/golden/losses.py > tests/golden/losses.csv

Inputs come from a formula in integers that the test repeats; every value is a multiple of 2^-16, exact in f32.
A line: name, type, rows, width, the mean, the losses of the rows, the gradient of the mean by the first operand.
"""

import torch
import torch.nn.functional as F

SHAPES = ((6, 5), (3, 19), (7, 1))


def value(stream, index):
    """A number in [-0.5, 0.5)."""
    mixed = (index * 2654435761 + stream * 2246822519 + 374761393) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    mixed ^= mixed >> 13
    return (mixed >> 16) / 2**16 - 0.5


class Inputs:
    def __init__(self, rows, width, dtype):
        def numbers(stream, *shape):
            count = torch.Size(shape).numel()
            return torch.tensor([value(stream, i) for i in range(count)], dtype=dtype).reshape(shape)

        self.x = (numbers(0, rows, width) * 8).requires_grad_()
        self.t = numbers(1, rows, width) * 8
        self.soft = numbers(2, rows, width) + 0.5
        self.signs = torch.where(self.t > 0, 1.0, -1.0).to(dtype)
        self.classes = ((numbers(6, rows) + 0.5) * width).floor().long()
        self.alike = torch.tensor([1.0 if i % 2 == 0 else -1.0 for i in range(rows)], dtype=dtype)
        self.class_weights = numbers(3, width) + 0.75
        self.samples = numbers(4, rows) + 0.75
        self.ignore = int(self.classes[1])


def average(losses, weights=None):
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def elementwise(function, **options):
    """The mean over all, and the means over rows."""
    return lambda i, x, t: (
        function(x, t, reduction="mean", **options),
        function(x, t, reduction="none", **options).mean(1),
    )


def plain(function, target, **options):
    run = elementwise(function, **options)
    return lambda i: run(i, i.x, getattr(i, target))


def by_row(function, target, mean="mean", rows=lambda losses: losses, **options):
    """Losses that PyTorch has per row; an option may depend on the inputs."""

    def run(i):
        o = {k: v(i) if callable(v) else v for k, v in options.items()}
        t = getattr(i, target)
        return function(i.x, t, reduction=mean, **o), rows(function(i.x, t, reduction="none", **o))

    return run


def weighted(run):
    """With a weight per sample; what the rows' losses hold besides class weights is left to the caller."""
    return lambda i: (average(run(i)[1], i.samples), run(i)[1] * i.samples)


def hinge(i):
    losses = (1 - i.signs * i.x).clamp(min=0).mean(1)
    return losses.mean(), losses


def squared_hinge(i):
    losses = ((0.75 - i.signs * i.x).clamp(min=0) ** 2).mean(1)
    return losses.mean(), losses


def log_cosh(i):
    losses = torch.log(torch.cosh(i.x - i.t)).mean(1)
    return losses.mean(), losses


def all_options(i):
    """Everything at once: the mean divides by the weights of the classes and samples that count."""
    counted = i.samples * (i.classes != i.ignore)
    losses = F.cross_entropy(
        i.x, i.classes, weight=i.class_weights, ignore_index=i.ignore, label_smoothing=0.1, reduction="none"
    )
    return (losses * counted).sum() / (counted * i.class_weights[i.classes]).sum(), losses * counted


weight = dict(weight=lambda i: i.class_weights)
ignore = dict(ignore_index=lambda i: i.ignore)
smooth = dict(label_smoothing=0.1)
sums = dict(mean="batchmean", rows=lambda losses: losses.sum(1))

CONFIGURATIONS = {
    "squared": plain(F.mse_loss, "t"),
    "squared_samples": weighted(plain(F.mse_loss, "t")),
    "absolute": plain(F.l1_loss, "t"),
    "huber": plain(F.huber_loss, "t", delta=1.5),
    "smooth": plain(F.smooth_l1_loss, "t", beta=0.5),
    "smooth_zero": plain(F.smooth_l1_loss, "t", beta=0.0),
    "log_cosh": log_cosh,
    "poisson": plain(F.poisson_nll_loss, "t"),
    "poisson_full": plain(F.poisson_nll_loss, "t", full=True),
    "poisson_rates": plain(F.poisson_nll_loss, "t", log_input=False, eps=4.5),
    "hinge": hinge,
    "squared_hinge": squared_hinge,
    "squared_hinge_samples": weighted(squared_hinge),
    "binary": plain(F.binary_cross_entropy_with_logits, "soft"),
    "binary_positive": lambda i: elementwise(
        F.binary_cross_entropy_with_logits, pos_weight=i.class_weights
    )(i, i.x, i.soft),
    "kl": by_row(F.kl_div, "soft", **sums),
    "kl_log": by_row(F.kl_div, "t", log_target=True, **sums),
    "classes": by_row(F.cross_entropy, "classes"),
    "classes_samples": weighted(by_row(F.cross_entropy, "classes")),
    "classes_ignore": by_row(F.cross_entropy, "classes", **ignore),
    "classes_weights": by_row(F.cross_entropy, "classes", **weight),
    "classes_smooth": by_row(F.cross_entropy, "classes", **smooth),
    "classes_smooth_weights": by_row(F.cross_entropy, "classes", **smooth, **weight),
    "classes_smooth_weights_ignore": by_row(F.cross_entropy, "classes", **smooth, **weight, **ignore),
    "classes_all": all_options,
    "soft": by_row(F.cross_entropy, "soft"),
    "soft_weights": by_row(F.cross_entropy, "soft", **weight),
    "soft_smooth": by_row(F.cross_entropy, "soft", **smooth),
    "soft_smooth_weights": by_row(F.cross_entropy, "soft", **smooth, **weight),
    "soft_samples": weighted(by_row(F.cross_entropy, "soft", **smooth, **weight)),
    "likelihood": by_row(F.nll_loss, "classes"),
    "likelihood_weights_ignore": by_row(F.nll_loss, "classes", **weight, **ignore),
    "multi": by_row(F.multi_margin_loss, "classes"),
    "multi_squared": by_row(F.multi_margin_loss, "classes", p=2, margin=0.5),
    "multi_weights": by_row(F.multi_margin_loss, "classes", **weight),
    "cosine": lambda i: (
        F.cosine_embedding_loss(i.x, i.t, i.alike, margin=0.125),
        F.cosine_embedding_loss(i.x, i.t, i.alike, margin=0.125, reduction="none"),
    ),
    "cosine_alike": lambda i: (
        F.cosine_embedding_loss(i.x, i.t, i.alike.abs()),
        F.cosine_embedding_loss(i.x, i.t, i.alike.abs(), reduction="none"),
    ),
}

print(f"# torch {torch.__version__}: name, type, rows, width, mean, losses, gradient")
for name, run in CONFIGURATIONS.items():
    for dtype, kind, digits in ((torch.float32, "f32", 9), (torch.float64, "f64", 17)):
        for rows, width in SHAPES:
            inputs = Inputs(rows, width, dtype)
            mean, losses = run(inputs)
            if torch.isnan(mean):
                continue  # Every sample is ignored: ours is defined.
            mean.backward()
            numbers = [mean, *losses.flatten(), *inputs.x.grad.flatten()]
            print(f"{name},{kind},{rows},{width}," + ",".join(f"{n.item():.{digits}g}" for n in numbers))
