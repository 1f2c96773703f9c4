"""Trains small nets with PyTorch and prints what came out: the golden values of tests/golden.rs.

    python tests/golden/mlp.py > tests/golden/mlp.txt

CPU, one thread, once in float32 and once in float64, from the same numbers: every weight, input and target comes
from a formula on integers that float32 holds exactly. tests/common/golden.rs has the same formula; README.md
describes it and the records.
"""

import math
import sys
from functools import lru_cache

import torch
from torch import nn

STEPS = 20
SAMPLES = 8
MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15

# Streams of a net: STREAMS * net + parameter for the parameters in their order, then these.
STREAMS = 100
INPUTS = 50
LABELS = 51


def mix(z):
    """The output function of splitmix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def hashed(stream, index):
    """Number `index` of the splitmix64 sequence whose state begins at mix(stream)."""
    return mix((mix(stream) + (index + 1) * GAMMA) & MASK)


def signed(h, scale):
    """In [-scale, scale): 24 bits, exact in float32 for a scale that is a power of two."""
    return ((h >> 40) * 2.0**-23 - 1.0) * scale


def half_unit(h):
    """In [0, 0.5): 23 bits, so that adding 0.5 is still exact in float32."""
    return (h >> 41) * 2.0**-24


class Net:
    """A stack of layers, its loss and the formula of its data."""

    def __init__(self, name, number, layers, loss, batch, scales, kink):
        self.name, self.number, self.layers, self.loss = name, number, layers, loss
        self.batch, self.scales, self.kink = batch, scales, kink
        self.features = int(layers[0].split(":")[0])

    def build(self, dtype):
        """The model with its first weights. Parameter p is filled from stream p, row by row (out, in)."""
        modules, width = [], self.features
        for layer in self.layers[1:]:
            if layer == "relu":
                modules.append(nn.ReLU())
            elif layer == "tanh":
                modules.append(nn.Tanh())
            elif layer == "sigmoid":
                modules.append(nn.Sigmoid())
            else:
                modules.append(nn.Linear(width, int(layer)))
                width = int(layer)
        self.outputs = width
        model = nn.Sequential(*modules).to(dtype)
        with torch.no_grad():
            for p, parameter in enumerate(model.parameters()):
                stream = STREAMS * self.number + p
                values = [signed(hashed(stream, i), self.scales[p // 2]) for i in range(parameter.numel())]
                parameter.copy_(torch.tensor(values, dtype=torch.float64).reshape(parameter.shape))
        return model

    @lru_cache(maxsize=None)
    def data(self, step):
        """Inputs and targets of a step, counted from 0, as lists."""
        inputs, targets = [], []
        for row in range(step * self.batch, (step + 1) * self.batch):
            base = row * self.features
            hashes = [hashed(STREAMS * self.number + INPUTS, base + j) for j in range(self.features)]
            if self.loss == "cross_entropy":
                # Every tenth feature, from number `label` on, is the brighter half: something to learn.
                label = hashed(STREAMS * self.number + LABELS, row) % 10
                inputs.append([half_unit(h) + (0.5 if j % 10 == label else 0.0) for j, h in enumerate(hashes)])
                targets.append(label)
                continue
            x = [signed(h, 1.0) for h in hashes]
            inputs.append(x)
            if self.loss == "mse":
                targets.append([0.5 * x[j] for j in range(self.outputs)])
            else:
                targets.append([1.0 if x[j] >= 0.0 else 0.0 for j in range(self.outputs)])
        return inputs, targets

    def batch_of(self, step, dtype):
        inputs, targets = self.data(step)
        x = torch.tensor(inputs, dtype=torch.float64).to(dtype)
        if self.loss == "cross_entropy":
            return x, torch.tensor(targets, dtype=torch.int64)
        return x, torch.tensor(targets, dtype=torch.float64).to(dtype)


# 45: of the first 70 numbers the one that keeps farthest from the kinks of its ReLUs.
NETS = [
    Net("mlp", 45, ["784", "64", "relu", "64", "relu", "10"], "cross_entropy", 32, [2**-5, 2**-3, 2**-3], True),
    Net("regression", 2, ["20", "16", "tanh", "8", "sigmoid", "3"], "mse", 16, [2**-2, 2**-2, 2**-1], False),
    Net("binary", 3, ["20", "16", "relu", "4"], "bce_with_logits", 16, [2**-2, 2**-2], True),
]

LOSSES = {"cross_entropy": nn.CrossEntropyLoss, "mse": nn.MSELoss, "bce_with_logits": nn.BCEWithLogitsLoss}

SGD, ADAM = torch.optim.SGD, torch.optim.Adam
SECTIONS = [
    ("mlp", "sgd", SGD, {"lr": 0.1}),
    ("mlp", "momentum", SGD, {"lr": 0.05, "momentum": 0.9}),
    ("mlp", "nesterov", SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
    ("mlp", "adam", ADAM, {"lr": 1e-3}),
    ("regression", "sgd", SGD, {"lr": 0.1}),
    ("regression", "adam", ADAM, {"lr": 1e-2}),
    ("binary", "sgd", SGD, {"lr": 0.1}),
    ("binary", "adam", ADAM, {"lr": 1e-2}),
]


def record(*fields):
    print(*fields)


def number(value, dtype):
    return f"{value:.9g}" if dtype == torch.float32 else f"{value:.17g}"


def tensor_record(section, name, kind, dtype, tensor):
    """Sums are exactly rounded sums of the elements; samples are elements (count - 1) * k / 7, rounded down."""
    values = tensor.detach().reshape(-1).tolist()
    samples = [values[(len(values) - 1) * k // (SAMPLES - 1)] for k in range(SAMPLES)]
    # A sum of float32 elements is not itself a float32.
    precision, digits = ("f32", 12) if dtype == torch.float32 else ("f64", 17)
    sums = [f"{math.fsum(v):.{digits}g}" for v in (values, map(abs, values))]
    record("tensor", section, name, kind, precision, len(values), *sums, *(number(v, dtype) for v in samples))


class Run:
    """One net trained with one optimiser in one precision."""

    def __init__(self, net, optimizer, options, dtype):
        self.net, self.dtype, self.losses = net, dtype, []
        self.nearest = math.inf
        self.signs = []
        self.model = net.build(dtype)
        if net.kink:
            for module in self.model:
                if isinstance(module, nn.ReLU):
                    module.register_forward_pre_hook(self.watch)
        # One tensor at a time: the plain formulas, no fused or batched variant.
        extra = {"foreach": False, "fused": False}
        self.optimizer = optimizer(self.model.parameters(), **options, **extra)
        loss = LOSSES[net.loss]()
        for step in range(STEPS):
            x, y = net.batch_of(step, dtype)
            output = self.model(x)
            value = loss(output, y)
            self.optimizer.zero_grad()
            value.backward()
            if step == 0:
                self.output = output.detach().clone()
                self.gradients = {n: p.grad.clone() for n, p in self.model.named_parameters()}
            self.optimizer.step()
            self.losses.append(value.item())

    def watch(self, _module, inputs):
        """How near a ReLU's input comes to its kink, and on which side each one is."""
        self.nearest = min(self.nearest, inputs[0].abs().min().item())
        self.signs.append(inputs[0] > 0)

    def tensors(self):
        for name, parameter in self.model.named_parameters():
            yield name, "value", parameter
            state = self.optimizer.state[parameter]
            for kind in ("momentum_buffer", "exp_avg", "exp_avg_sq"):
                if isinstance(state.get(kind), torch.Tensor):
                    yield name, kind, state[kind]


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print("# Made by tests/golden/mlp.py; do not edit. One record per line, fields separated by one space:")
    print("# torch VERSION")
    print("# hash STREAM INDEX HASH(hex)          the generator, to check another implementation against")
    print("# signed STREAM INDEX SCALE VALUE      the same as a weight; VALUE is exact")
    print("# half_unit STREAM INDEX VALUE         the same as a pixel; VALUE is exact")
    print("# net NAME NUMBER LAYERS LOSS BATCH SCALES(one per linear layer)")
    print("# section NET/OPTIMIZER OPTION=VALUE...")
    print("# loss SECTION STEP(from 1) F32 F64")
    print("# tensor SECTION NAME KIND PRECISION COUNT SUM SUM_OF_ABS 8_SAMPLES   after the last step; samples are")
    print("#     elements (COUNT - 1) * k / 7 rounded down. Section NET/start: output and gradients of step 1.")
    print("# kink SECTION F32 F64                 the smallest |input| of any ReLU, in any step")
    print("# agreement SECTION WHAT=VALUE...      float32 against float64: the largest relative difference of a loss; for")
    print("#     each kind of tensor the largest difference of an element over the tensor's largest element")
    record("torch", torch.__version__.split("+")[0])
    for stream, index in [(0, 0), (0, 1), (1, 0), (4500, 50175), (4550, 501759), (MASK, MASK)]:
        record("hash", stream, index, f"{hashed(stream, index):016x}")
    for stream, index, scale in [(4500, 0, 2**-5), (4501, 63, 2**-5), (204, 23, 0.5), (250, 6399, 1.0)]:
        record("signed", stream, index, f"{scale:.17g}", f"{signed(hashed(stream, index), scale):.17g}")
    for stream, index in [(4550, 0), (4550, 501759)]:
        record("half_unit", stream, index, f"{half_unit(hashed(stream, index)):.17g}")

    nets = {net.name: net for net in NETS}
    for net in NETS:
        scales = ",".join(f"{s:.17g}" for s in net.scales)
        record("net", net.name, net.number, "-".join(net.layers), net.loss, net.batch, scales)
    started = set()
    fine = True
    for name, label, optimizer, options in SECTIONS:
        net, section = nets[name], f"{name}/{label}"
        runs = [Run(net, optimizer, options, dtype) for dtype in (torch.float32, torch.float64)]
        if name not in started:
            started.add(name)
            for run in runs:
                tensor_record(f"{name}/start", "output", "value", run.dtype, run.output)
                for parameter, gradient in run.gradients.items():
                    tensor_record(f"{name}/start", parameter, "grad", run.dtype, gradient)
        record("section", section, *(f"{key}={value}" for key, value in options.items()))
        for step, (a, b) in enumerate(zip(runs[0].losses, runs[1].losses), 1):
            record("loss", section, step, number(a, torch.float32), number(b, torch.float64))
        for run in runs:
            for parameter, kind, tensor in run.tensors():
                tensor_record(section, parameter, kind, run.dtype, tensor)
        if net.kink:
            record("kink", section, f"{runs[0].nearest:.3g}", f"{runs[1].nearest:.3g}")
            same = all(torch.equal(a, b) for a, b in zip(runs[0].signs, runs[1].signs))
            if not same or min(run.nearest for run in runs) < 1e-6:
                print(f"{section}: a ReLU is too near its kink: take another net number", file=sys.stderr)
                fine = False
        agreement = {"loss": max(abs(a - b) / abs(b) for a, b in zip(runs[0].losses, runs[1].losses))}
        for (_, kind, a), (_, _, b) in zip(runs[0].tensors(), runs[1].tensors()):
            difference = ((a.double() - b).abs().max() / b.abs().max()).item()
            agreement[kind] = max(agreement.get(kind, 0.0), difference)
        record("agreement", section, *(f"{what}={value:.2g}" for what, value in agreement.items()))
    return 0 if fine else 1


sys.exit(main())
