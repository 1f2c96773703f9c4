"""Golden values of normalisation layers.

    python tests/golden/layers_norm.py > tests/golden/layers_norm.txt
"""

import layers
from layers import spec
from torch import nn

# At least three numbers are normalised together: of two the gradient by them is 0 but for eps, a difference of which f32 has no digit.
golden = layers.Golden(seed=7)
draw = golden.random


def batch_norm(module, kind, channels):
    eps = draw.choice([1e-5, 1e-5, 1e-3, 0.5])
    momentum = draw.choice([0.1, 0.1, 0.3, None, 0.0, 1.0])
    affine, tracks = draw.random() < 0.75, draw.random() < 0.8
    torch_norm = module(channels, eps=eps, momentum=momentum, affine=affine, track_running_stats=tracks)
    options = {"num_features": channels, "eps": eps, "momentum": "none" if momentum is None else momentum}
    return torch_norm, spec(kind, **options, affine=affine, track_running_stats=tracks)


def layer_norm(shape):
    eps, affine, bias = draw.choice([1e-5, 1e-5, 1e-3]), draw.random() < 0.8, draw.random() < 0.7
    torch_norm = nn.LayerNorm(shape, eps=eps, elementwise_affine=affine, bias=bias)
    return torch_norm, spec("layer_norm", normalized_shape=[float(n) for n in shape], eps=eps, elementwise_affine=affine, bias=bias)


def rms_norm(shape):
    # Without one the epsilon is that of the elements, which f32 and f64 do not share: see the test.
    eps, affine = draw.choice([1e-5, 1e-6, 1e-3]), draw.random() < 0.75
    torch_norm = nn.RMSNorm(shape, eps=eps, elementwise_affine=affine)
    return torch_norm, spec("rms_norm", normalized_shape=[float(n) for n in shape], eps=eps, elementwise_affine=affine)


def group_norm(groups, channels):
    eps, affine = draw.choice([1e-5, 1e-5, 1e-3]), draw.random() < 0.75
    torch_norm = nn.GroupNorm(groups, channels, eps=eps, affine=affine)
    return torch_norm, spec("group_norm", num_groups=groups, num_channels=channels, eps=eps, affine=affine)


def instance_norm(module, channels):
    eps, affine = draw.choice([1e-5, 1e-3]), draw.random() < 0.5
    return module(channels, eps=eps, affine=affine), spec("instance_norm", num_features=channels, eps=eps, affine=affine)


def follows():
    """An activation after the norm, sometimes: it is taken into the same pass."""
    name = draw.choice([None, None, "relu", "tanh", "gelu", "silu"])
    return [layers.activation(name)] if name else []


def inputs():
    return draw.choice(["signed:1", "signed:2", "positive:8", "steps:4"])


def case(what, dims, batch, pairs, **options):
    shape = "x".join(map(str, dims))
    golden.case(f"{golden.number}: {what} {shape} of {batch}", dims, batch, pairs, x=options.pop("x", None) or inputs(), **options)


CHANNELS = [1, 2, 3, 5, 7, 8, 15, 16, 17, 24, 33, 48, 64, 65, 100, 130]
for _ in range(20):
    width = draw.choice(CHANNELS)
    norm = batch_norm(nn.BatchNorm1d, "batch_norm1d", width)
    first = [layers.linear(6, width)] if draw.random() < 0.5 else []
    case("batch norm 1d", [6] if first else [width], draw.choice([3, 5, 9, 40]), first + [norm] + follows())
for _ in range(16):
    channels, length = draw.choice(CHANNELS), draw.choice([1, 2, 3, 10, 37, 200])
    batch = draw.choice([1, 2, 5, 11]) if length > 2 else draw.choice([3, 5, 11])
    norm = batch_norm(nn.BatchNorm1d, "batch_norm1d", channels)
    case("batch norm 1d", [channels, length], batch, [norm] + follows(), channels_last=False)
for _ in range(20):
    channels, height, width = draw.choice(CHANNELS), draw.choice([1, 2, 4, 7, 13]), draw.choice([3, 4, 5, 16])
    norm = batch_norm(nn.BatchNorm2d, "batch_norm2d", channels)
    case("batch norm 2d", [channels, height, width], draw.choice([1, 2, 3, 6]), [norm] + follows())
# More wide rows than a chunk, and a rest.
case("batch norm 2d", [3, 75, 60], 2, [batch_norm(nn.BatchNorm2d, "batch_norm2d", 3)])
case("batch norm 2d", [16, 40, 33], 2, [batch_norm(nn.BatchNorm2d, "batch_norm2d", 16)] + follows())
# Far from zero: the means are 3000 times the deviation.
far = {"0.weight": "positive:1024", "0.bias": "positive:4096"}
for module, kind, dims in [(nn.BatchNorm1d, "batch_norm1d", [5]), (nn.BatchNorm1d, "batch_norm1d", [5, 21]), (nn.BatchNorm2d, "batch_norm2d", [5, 6, 7])]:
    norm = module(5), spec(kind, num_features=5, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True)
    case("far from zero", dims, 12, [norm], x="positive:4096")
for _ in range(20):
    dims = draw.choice([[4], [5], [16], [33], [100], [4, 16], [9, 12], [10, 33], [20, 3], [3, 4, 5], [2, 9, 17], [6, 130]])
    case("layer norm", dims, draw.choice([1, 2, 5, 70]), [layer_norm(dims[-draw.randint(1, len(dims)) :])] + follows())
case("layer norm", [2, 5000], 2, [layer_norm([5000])])
for _ in range(12):
    dims = draw.choice([[5], [16], [33], [100], [4, 16], [9, 12], [10, 33], [3, 4, 5], [2, 9, 17], [6, 130]])
    case("RMS norm", dims, draw.choice([1, 2, 5, 70]), [rms_norm(dims[-draw.randint(1, len(dims)) :])] + follows())
for _ in range(16):
    groups, size = draw.choice([1, 2, 3, 5, 8]), draw.choice([1, 2, 3, 7, 16])
    positions = draw.choice([[], [1], [9], [50], [3, 3], [7, 12]])
    if size < 3 and positions in ([], [1]):
        positions = [4]
    case("group norm", [groups * size] + positions, draw.choice([2, 3, 7]), [group_norm(groups, groups * size)] + follows())
for _ in range(6):
    channels, positions = draw.choice([1, 3, 16, 40]), draw.choice([[5], [40], [4, 4], [9, 7]])
    module = nn.InstanceNorm1d if len(positions) == 1 else nn.InstanceNorm2d
    case("instance norm", [channels] + positions, draw.choice([1, 3, 6]), [instance_norm(module, channels)] + follows())
# Together, and with work for three threads.
deep = [layers.linear(40, 130), batch_norm(nn.BatchNorm1d, "batch_norm1d", 130), layers.activation("tanh")]
deep += [layers.linear(130, 70, bias=False), layer_norm([70]), layers.activation("gelu"), layers.linear(70, 12), rms_norm([12])]
case("deep", [40], 96, deep)
case("large", [16, 48, 50], 8, [batch_norm(nn.BatchNorm2d, "batch_norm2d", 16), layers.activation("tanh")])
case("large", [64, 128], 24, [layer_norm([128]), layers.activation("silu")])
case("large", [32, 30, 30], 10, [group_norm(8, 32)])
# More rows of a sample than a chunk, and a rest.
affine = spec("layer_norm", normalized_shape=[12.0], eps=1e-5, elementwise_affine=True, bias=True)
case("long sequence", [150, 12], 2, [(nn.LayerNorm(12), affine)])
case("long sequence", [150, 5], 2, [rms_norm([5])])
golden.end()
