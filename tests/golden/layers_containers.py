"""Golden values of containers: residual blocks, branches, chains within chains.

    python tests/golden/layers_containers.py > tests/golden/layers_containers.txt
"""

import torch
from torch import nn

import layers
from layers import spec


def conv(inputs, outputs, kernel=3, stride=1, padding=1, bias=False):
    options = {"in_channels": inputs, "out_channels": outputs, "kernel_size": [kernel] * 2, "stride": [stride] * 2,
               "dilation": [1, 1], "groups": 1, "padding": [padding] * 2, "weight_init": spec("pytorch"), "bias": bias}
    if bias:
        options["bias_init"] = spec("pytorch")
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias), spec("conv2d", **options)


def batch_norm(channels):
    options = {"num_features": channels, "eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
    return nn.BatchNorm2d(channels), spec("batch_norm2d", **options)


def sequential(pairs):
    return nn.Sequential(*(module for module, _ in pairs)), spec("sequential", layers=[each for _, each in pairs])


class Residual(nn.Module):
    def __init__(self, body, shortcut, activation):
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        return self.activation(self.shortcut(x) + self.body(x))


def residual(body, shortcut=(), activation=None):
    module, of_activation = layers.activation(activation) if activation else (nn.Identity(), spec("identity"))
    (body, of_body), (shortcut, of_shortcut) = sequential(body), sequential(shortcut)
    options = {"body": of_body.options["layers"], "shortcut": of_shortcut.options["layers"], "activation": of_activation}
    return Residual(body, shortcut, module), spec("residual", **options)


class Branches(nn.Module):
    def __init__(self, branches, join):
        super().__init__()
        self.branches, self.join = nn.ModuleList(branches), join

    def forward(self, x):
        return self.join([branch(x) for branch in self.branches])


def branches(parts, dim=None):
    """Concatenated along `dim`, or added."""
    pairs = [sequential(part) for part in parts]
    join = (lambda values: torch.cat(values, dim)) if dim is not None else (lambda values: torch.stack(values).sum(0))
    options = {"branches": [each for _, each in pairs], "join": "add" if dim is None else "concatenate"}
    if dim is not None:
        options["dim"] = dim
    return Branches([module for module, _ in pairs], join), spec("branches", **options)


golden = layers.Golden(seed=4)
draw = golden.random
for number in range(16):
    kind, activation = number % 4, draw.choice(["tanh", "gelu", "silu", None])
    batch = draw.choice([1, 2, 5])
    if kind == 0:
        width, inner = draw.randint(1, 9), draw.randint(1, 9)
        body = [layers.linear(width, inner), layers.activation("tanh"), layers.linear(inner, width)]
        golden.case(f"{number}: residual of features", [width], batch, [residual(body, activation=activation), layers.linear(width, 3)])
    elif kind == 1:
        # With one input a norm undoes what its weight does, and its gradient is 0 but for the epsilon.
        inputs, outputs, stride = draw.randint(2, 5), draw.randint(1, 6), draw.choice([1, 2])
        body = [conv(inputs, outputs, 3, stride), batch_norm(outputs), layers.activation("relu"), conv(outputs, outputs), batch_norm(outputs)]
        shortcut = [conv(inputs, outputs, 1, stride, 0), batch_norm(outputs)]
        block = residual(body, shortcut, activation)
        dims = [inputs, draw.randint(3, 7), draw.randint(3, 7)]
        golden.case(f"{number}: residual of images", dims, batch + 1, [conv(inputs, inputs, 1, 1, 0), block, conv(outputs, 2)])
    elif kind == 2:
        channels = draw.randint(1, 4)
        parts = [[conv(channels, draw.randint(1, 5), size, padding=size // 2, bias=True)] for size in (1, 3, 5)]
        block = branches([*parts, [], [conv(channels, 2, bias=True), layers.activation("tanh")]], 1)
        dims = [channels, draw.randint(3, 6), draw.randint(3, 6)]
        golden.case(f"{number}: branches of images", dims, batch, [conv(channels, channels, 1, 1, 0), block, (nn.Tanh(), spec("tanh"))])
    else:
        width = draw.randint(2, 6)
        many = [[layers.linear(width, 4)] for _ in range(draw.choice([2, 3, 10]))]
        inner = branches(many, draw.choice([None, 1]))
        outer = branches([[inner, layers.activation("tanh")], [sequential([layers.linear(width, 3), layers.activation("gelu")])]], -1)
        golden.case(f"{number}: {len(many)} branches within branches", [width], batch, [layers.linear(width, width), outer])
for name, dim in (("features", 2), ("the last", -1), ("positions", 1)):
    parts = [[layers.linear(5, 4)], [layers.linear(5, 4), layers.activation("tanh")]]
    golden.case(f"sequences, along {name}", [3, 5], 2, [layers.linear(5, 5), branches(parts, dim)])
# Work for three threads.
body = [conv(16, 16), batch_norm(16), layers.activation("relu"), conv(16, 16), batch_norm(16)]
golden.case("large", [16, 8, 8], 6, [residual(body, activation="relu"), branches([[conv(16, 8)], [conv(16, 8, 1, 1, 0)], []], 1)])
golden.end()
