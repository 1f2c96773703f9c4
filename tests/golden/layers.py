"""Golden values of layers: what the scripts layers_PIECE.py share. tests/common/layers.rs is the Rust side.

    python tests/golden/layers_conv.py > tests/golden/layers_conv.txt

A script draws configurations at random, each a list of pairs of a PyTorch module and the description of the crate's layer:

    golden = layers.Golden(seed=1)
    golden.case("two layers", [5], 3, [layers.linear(5, 4), layers.activation("relu")])
    golden.end()

Inputs, parameters and the gradient of the output are numbers of a formula that both sides have, exact in float32. PyTorch computes
in float64 with one thread; of each tensor the file keeps a few values, a weighted sum of all, and what its errors are measured by.
README.md says what the records are.
"""

import math
import random

import numpy as np
import torch
from torch import nn

SAMPLES = 10
# Streams of case number c: STREAMS * c + these; the parameters count from PARAMETERS on.
STREAMS, INPUT, LENGTHS, D_OUTPUT, PARAMETERS = 1000, 0, 1, 2, 10
# The stream of the weights of all sums.
WEIGHTS = 999
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed(stream, count):
    """The first `count` numbers of the splitmix64 sequence whose state begins at mix(stream)."""
    with np.errstate(over="ignore"):
        index = np.arange(1, count + 1, dtype=np.uint64)
        return mix(mix(np.uint64(stream)) + index * GAMMA)


def fill(kind, stream, count):
    """`count` numbers, as float64:

    signed:S      in [-S, S), 24 bits; S is a power of two
    positive:S    in [S / 2, S)
    steps:N       multiples of 1 / N in [-1, 1), so that some are equal
    whole:N       0, 1, .. N - 1
    """
    name, size = kind.split(":")
    h, size = hashed(stream, count), float(size)
    if name == "signed":
        return ((h >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0) * size
    if name == "positive":
        return ((h >> np.uint64(41)).astype(np.float64) * 2.0**-24 + 0.5) * size
    whole = h % np.uint64(2 * size if name == "steps" else size)
    if name == "steps":
        return whole.astype(np.float64) / size - 1.0
    assert name == "whole", kind
    return whole.astype(np.float64)


class Spec:
    """The description of a layer: a kind, and options in their order."""

    def __init__(self, kind, **options):
        self.kind, self.options = kind, options

    def __str__(self):
        return f"{self.kind}({', '.join(f'{name}={written(value)}' for name, value in self.options.items())})"


def spec(kind, **options):
    """True and False are flags, int an integer, float a number, str a text; a list is one of numbers or of descriptions."""
    return Spec(kind, **options)


def written(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, str):
        assert '"' not in value
        return f'"{value}"'
    assert isinstance(value, (int, float, Spec)), value
    return repr(value) if isinstance(value, (int, float)) else str(value)


def linear(inputs, outputs, bias=True):
    options = {"inputs": inputs, "outputs": outputs, "weight_init": spec("pytorch"), "bias": bias}
    if bias:
        options["bias_init"] = spec("pytorch")
    return nn.Linear(inputs, outputs, bias=bias), spec("dense", **options)


def activation(name):
    modules = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU}
    return modules[name](), spec(name)


def with_forward(module, forward):
    """The module, whose forward pass is `forward(old, x)`, where `old` is its own; its parameters keep their names.

        with_forward(nn.LSTM(3, 4, batch_first=True), lambda lstm, x: lstm(x)[0])
    """
    base = type(module)

    class With(base):
        def forward(self, x):
            return forward(lambda *inputs, **named: base.forward(self, *inputs, **named), x)

    module.__class__ = With
    return module


class Function(nn.Module):
    """A function of the input as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Golden:
    """Prints the records of the cases that it is given. `random` draws the configurations."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.number, self.names = 0, set()
        torch.set_num_threads(1)
        print("# tests/golden/README.md says what the records are; made by the script of this name.")
        print("torch", torch.__version__.split("+")[0])

    def case(self, name, dims, batch, pairs, *, x="signed:1", fills=None, channels_last=False, padded=False, train=True):
        """One configuration.

        dims             a sample's dimensions, in PyTorch's order without the batch
        pairs            (module, description), in their order
        x                the fill of the inputs; `whole:N` gives PyTorch an int64 tensor, and there is no gradient by it
        fills            of parameters and buffers by name, where it is not the usual one (below)
        channels_last    the input is given as positions, channels; `dims` too
        padded           sample b ends after 1 + hash % dims[0] positions of the first dimension: what follows is 0. Of whole numbers 0 is
                         only that
        train            False: only the output of prediction is compared (dropout, for example)
        """
        assert name not in self.names and "\n" not in name, name
        self.names.add(name)
        number, self.number = self.number, self.number + 1
        stream = STREAMS * number
        modules, specs = zip(*pairs)
        model = nn.Sequential(*modules).double()

        print("case", name)
        options = [option for option, on in [("channels_last", channels_last), ("padded", padded), ("predict", not train)] if on]
        print("input", batch, ",".join(map(str, dims)), x, *options)
        for each in specs:
            print("layer", each)
        state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
        for at, (key, value) in enumerate(state.items()):
            kind = (fills or {}).get(key) or usual_fill(key, value)
            numbers = fill(kind, stream + PARAMETERS + at, value.numel())
            value.copy_(torch.from_numpy(numbers).reshape(value.shape))
            print("parameter", key, ",".join(map(str, value.shape)), kind)

        inputs = self.inputs(stream, dims, batch, x, padded)
        network = (lambda v: model(v.movedim(-1, 1))) if channels_last else model
        model.eval()
        with torch.no_grad():
            predicted = network(inputs)
        tensors = {"predicted": predicted}
        if train:
            model.train()
            inputs.requires_grad_(inputs.is_floating_point())
            output = network(inputs)
            d_output = fill("signed:1", stream + D_OUTPUT, output.numel())
            output.backward(torch.from_numpy(d_output).reshape(output.shape))
            tensors["output"] = output
            if torch.equal(predicted, output):
                del tensors["predicted"]
            if inputs.grad is not None:
                tensors["d_input"] = inputs.grad
            tensors |= {f"d:{key}": value.grad for key, value in model.named_parameters() if value.grad is not None}
            buffers = {key for key, _ in model.named_buffers()} & set(state)
            tensors |= {f"after:{key}": model.state_dict()[key] for key in state if key in buffers}
        self.write(tensors)

    def inputs(self, stream, dims, batch, x, padded):
        kind, size = x.split(":")
        if padded and kind == "whole":
            numbers = fill(f"whole:{int(size) - 1}", stream + INPUT, batch * math.prod(dims)) + 1.0
        else:
            numbers = fill(x, stream + INPUT, batch * math.prod(dims))
        inputs = torch.from_numpy(numbers.astype(np.int64) if kind == "whole" else numbers).reshape([batch, *dims])
        if padded:
            for row, h in zip(inputs, hashed(stream + LENGTHS, batch)):
                row[1 + int(h % np.uint64(dims[0])):] = 0
        return inputs

    def write(self, tensors):
        tensors = {key: value.detach().double().reshape(-1).numpy() for key, value in tensors.items()}
        assert all(np.isfinite(value).all() for value in tensors.values())
        gradients = [value for key, value in tensors.items() if key.startswith("d")]
        largest_gradient = max((np.abs(value).max() for value in gradients), default=0.0)
        for key, value in tensors.items():
            scale = np.abs(value).max()
            # One that is 0 but for rounding, as that of a bias before a norm, is measured by the others.
            if key.startswith("d") and scale < 1e-10 * largest_gradient:
                scale = largest_gradient
            weights = fill("signed:1", WEIGHTS, value.size)
            samples = value if value.size <= SAMPLES else [value[(value.size - 1) * k // (SAMPLES - 1)] for k in range(SAMPLES)]
            numbers = [math.fsum(weights * value), *samples]
            print("tensor", key, value.size, f"{scale:.6g}", *(f"{number:.13g}" for number in numbers))

    def end(self):
        """The last record: how many cases there are, so that none is lost."""
        print("end", self.number)


def usual_fill(key, value):
    """Weights about as large as 1 / sqrt(fan in), a power of two; variances positive."""
    if key.endswith("running_var"):
        return "positive:1"
    fan = math.prod(value.shape[1:]) if value.dim() > 1 else 4
    return f"signed:{2.0 ** -round(math.log2(fan) / 2):g}"
