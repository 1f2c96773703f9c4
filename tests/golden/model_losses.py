"""Writes model_losses.csv: losses of a small net and their gradients by PyTorch, the golden values of tests/model_losses.rs.

    python tests/golden/model_losses.py > tests/golden/model_losses.csv

The net is 3 -> 4 -> tanh -> 4 (-> an end), in float64. Weights, inputs and targets come from the formula of losses.py, which the
test repeats. A line: name, loss, the gradients by 0.weight, 0.bias, 2.weight, 2.bias and the inputs.
"""

import torch
import torch.nn.functional as F

ROWS, INPUTS, OUTPUTS = 5, 3, 4


def value(stream, index):
    """A number in [-0.5, 0.5)."""
    mixed = (index * 2654435761 + stream * 2246822519 + 374761393) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    mixed ^= mixed >> 13
    return (mixed >> 16) / 2**16 - 0.5


def numbers(stream, *shape):
    count = torch.Size(shape).numel()
    return torch.tensor([value(stream, i) for i in range(count)], dtype=torch.float64).reshape(shape)


TARGETS = numbers(20, ROWS, OUTPUTS) * 4
HALF = numbers(21, ROWS, OUTPUTS // 2) * 4
SOFT = numbers(22, ROWS, OUTPUTS) + 0.5
SIGNS = torch.where(TARGETS > 0, 1.0, -1.0).double()
COUNTS = ((numbers(23, ROWS, OUTPUTS) + 0.5) * 5).floor()
CLASSES = ((numbers(24, ROWS) + 0.5) * OUTPUTS).floor().long()
WEIGHTS = numbers(25, OUTPUTS) + 0.75


def log_softmax(y):
    return F.log_softmax(y, dim=1)


def plain(function, targets, **options):
    return None, lambda y: function(y, targets, **options)


def after(end, function, targets, **options):
    return end, lambda y: function(y, targets, **options)


def halves(**options):
    return None, lambda y: F.gaussian_nll_loss(y[:, :2], HALF, torch.exp(y[:, 2:]), **options)


def log_cosh(y, t):
    return torch.log(torch.cosh(y - t)).mean()


def hinge(y, t, margin=1.0, power=1):
    return ((margin - t * y).clamp(min=0) ** power).mean()


def over_samples(y, t):
    """Keras: the weighted losses, divided by their number."""
    return (F.cross_entropy(y, t, reduction="none") * WEIGHTS[t]).mean()


CASES = {
    "mean_squared_error": plain(F.mse_loss, TARGETS),
    "mean_absolute_error": plain(F.l1_loss, TARGETS),
    "huber": plain(F.huber_loss, TARGETS, delta=0.75),
    "smooth_l1": plain(F.smooth_l1_loss, TARGETS, beta=0.75),
    "smooth_l1_zero": plain(F.smooth_l1_loss, TARGETS, beta=0.0),
    "log_cosh": plain(log_cosh, TARGETS),
    "poisson": plain(F.poisson_nll_loss, COUNTS),
    "poisson_full": plain(F.poisson_nll_loss, COUNTS, full=True),
    "poisson_rates": after(torch.exp, F.poisson_nll_loss, COUNTS, log_input=False, full=True),
    "gaussian": halves(),
    "gaussian_full": halves(full=True, eps=0.75),
    "cross_entropy": plain(F.cross_entropy, CLASSES),
    "cross_entropy_weights": plain(F.cross_entropy, CLASSES, weight=WEIGHTS),
    "cross_entropy_weights_samples": plain(over_samples, CLASSES),
    "cross_entropy_values_weights": plain(F.cross_entropy, SOFT, weight=WEIGHTS),
    "smoothed": plain(F.cross_entropy, CLASSES, label_smoothing=0.1),
    "smoothed_weights": plain(F.cross_entropy, CLASSES, label_smoothing=0.1, weight=WEIGHTS),
    "smoothed_values": plain(F.cross_entropy, SOFT, label_smoothing=0.1),
    "smoothed_values_weights": plain(F.cross_entropy, SOFT, label_smoothing=0.1, weight=WEIGHTS),
    "likelihood": after(log_softmax, F.nll_loss, CLASSES),
    "likelihood_weights": after(log_softmax, F.nll_loss, CLASSES, weight=WEIGHTS),
    "likelihood_values": plain(F.nll_loss, CLASSES),
    "divergence": after(log_softmax, F.kl_div, SOFT, reduction="batchmean"),
    "divergence_log": after(log_softmax, F.kl_div, TARGETS, reduction="batchmean", log_target=True),
    "binary": plain(F.binary_cross_entropy_with_logits, SOFT),
    "binary_positive": plain(F.binary_cross_entropy_with_logits, SOFT, pos_weight=WEIGHTS),
    "binary_positive_one": plain(F.binary_cross_entropy_with_logits, SOFT, pos_weight=torch.tensor(3.0)),
    "hinge": plain(hinge, SIGNS),
    "squared_hinge": plain(hinge, SIGNS, margin=0.75, power=2),
    "multi_margin": plain(F.multi_margin_loss, CLASSES),
    "multi_margin_weights": plain(F.multi_margin_loss, CLASSES, p=2, margin=0.75, weight=WEIGHTS),
}

print(f"# torch {torch.__version__.split('+')[0]}: name, loss, gradients by 0.weight, 0.bias, 2.weight, 2.bias, inputs")
for name, (end, loss) in CASES.items():
    x = (numbers(10, ROWS, INPUTS) * 4).requires_grad_()
    shapes = ((4, INPUTS), (4,), (OUTPUTS, 4), (OUTPUTS,))
    w, b, v, c = (numbers(11 + i, *shape).mul(2).requires_grad_() for i, shape in enumerate(shapes))
    y = torch.tanh(x @ w.T + b) @ v.T + c
    result = loss(end(y) if end else y)
    result.backward()
    flat = [result, *(g for p in (w, b, v, c, x) for g in p.grad.flatten())]
    print(name + "," + ",".join(f"{n.item():.17g}" for n in flat))
