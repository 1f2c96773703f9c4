"""Golden values of pooling, padding, upsampling and layers that say how elements are counted: see layers.py.

    python tests/golden/layers_pool.py > tests/golden/layers_pool.txt
"""

import layers
import torch
from layers import Function, spec
from torch import nn

golden = layers.Golden(seed=7)
random = golden.random


def sizes(axes, low, high):
    return [random.randint(low, high) for _ in range(axes)]


def fitted(axes, kernel, padding, dilation, extra):
    """Lengths that the windows fit."""
    return [max(1, d * (k - 1) + 1 - 2 * p) + random.randint(0, extra) for k, p, d in zip(kernel, padding, dilation)]


def channels():
    return random.choice([1, 1, 2, 3, 5, 8, 15, 16, 17, 33, 40])


def max_pool(axes):
    kernel, dilation = sizes(axes, 1, 4), sizes(axes, 1, 2) if random.random() < 0.5 else [1] * axes
    padding = [random.randint(0, k // 2) if random.random() < 0.6 else 0 for k in kernel]
    stride, ceil = (kernel, False) if random.random() < 0.3 else (sizes(axes, 1, 4), random.random() < 0.4)
    module = [nn.MaxPool1d, nn.MaxPool2d][axes - 1](tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil_mode=ceil)
    described = spec(f"max_pool{axes}d", kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil)
    dims = [channels(), *fitted(axes, kernel, padding, dilation, 7)]
    # The elements of a dilated window may all be padding: its largest is -infinity then.
    if not module(torch.zeros(1, *dims)).isfinite().all():
        return max_pool(axes)
    return (module, described), dims


def avg_pool(axes):
    kernel = sizes(axes, 1, 4)
    padding = [random.randint(0, k // 2) if random.random() < 0.6 else 0 for k in kernel]
    stride, ceil = (kernel, False) if random.random() < 0.3 else (sizes(axes, 1, 4), random.random() < 0.4)
    include = random.random() < 0.6
    # Only two axes have it in PyTorch.
    divisor = random.choice([0, 0, 3, 8]) if axes == 2 else 0
    options = {"stride": tuple(stride), "padding": tuple(padding), "ceil_mode": ceil, "count_include_pad": include}
    if axes == 2:
        options["divisor_override"] = divisor or None
    module = [nn.AvgPool1d, nn.AvgPool2d][axes - 1](tuple(kernel), **options)
    described = spec(f"avg_pool{axes}d", kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil, count_include_pad=include, divisor_override=divisor)
    return (module, described), [channels(), *fitted(axes, kernel, padding, [1] * axes, 7)]


def adaptive(axes, kind):
    output = sizes(axes, 1, 5)
    modules = {"avg": [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d], "max": [nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d]}
    module = modules[kind][axes - 1](output[0] if axes == 1 else tuple(output))
    return (module, spec(f"adaptive_{kind}_pool{axes}d", output_size=output)), [channels(), *sizes(axes, 1, 9)]


def globally(axes, kind):
    behind = tuple(range(2, 2 + axes))
    function = (lambda x: x.mean(behind)) if kind == "avg" else (lambda x: x.flatten(2).max(2).values)
    return (Function(function), spec(f"global_{kind}_pool{axes}d")), [channels(), *sizes(axes, 1, 6)]


def pad(axes, value):
    amounts = [random.randint(-2, 3) for _ in range(2 * axes)]
    lengths = sizes(axes, 3, 7)
    for axis in range(axes):
        before, after = amounts[2 * (axes - 1 - axis) : 2 * (axes - axis)]
        lengths[axis] = max(lengths[axis], 1 - before - after)
    names = {1: (nn.ZeroPad1d, nn.ConstantPad1d), 2: (nn.ZeroPad2d, nn.ConstantPad2d)}[axes]
    if value is None:
        return (names[0](tuple(amounts)), spec(f"zero_pad{axes}d", padding=amounts)), [channels(), *lengths]
    return (names[1](tuple(amounts), value), spec(f"constant_pad{axes}d", padding=amounts, value=value)), [channels(), *lengths]


def upsample(axes):
    factor = sizes(axes, 1, 3)
    module = nn.Upsample(scale_factor=tuple(map(float, factor)), mode="nearest")
    return (module, spec(f"upsample{axes}d", scale_factor=factor)), [channels(), *sizes(axes, 1, 5)]


def flatten():
    return nn.Flatten(), spec("flatten", start_dim=1, end_dim=-1)


def one(name, pair, dims, **options):
    """The layer alone, or with what is behind it; with inputs that are often equal if it looks for the largest."""
    pairs = [pair]
    if random.random() < 0.3:
        pairs = [layers.activation(random.choice(["relu", "tanh"])), *pairs]
    if random.random() < 0.4:
        pairs.append(flatten())
    x = "steps:4" if "max" in name and random.random() < 0.7 else "signed:1"
    last = random.random() < 0.25
    golden.case(name, [*dims[1:], dims[0]] if last else dims, random.randint(1, 5), pairs, x=x, channels_last=last, **options)


count = 0
for axes in (1, 2):
    makers = [
        (f"max pool {axes}", lambda: max_pool(axes), 16 * axes),
        (f"avg pool {axes}", lambda: avg_pool(axes), 12 * axes),
        (f"adaptive avg pool {axes}", lambda: adaptive(axes, "avg"), 5),
        (f"adaptive max pool {axes}", lambda: adaptive(axes, "max"), 5),
        (f"global avg pool {axes}", lambda: globally(axes, "avg"), 3),
        (f"global max pool {axes}", lambda: globally(axes, "max"), 3),
        (f"zero pad {axes}", lambda: pad(axes, None), 4),
        (f"constant pad {axes}", lambda: pad(axes, random.choice([0.5, -1.25])), 3),
        (f"upsample {axes}", lambda: upsample(axes), 4),
    ]
    for name, make, times in makers:
        for at in range(times):
            one(f"{name} {at}", *make())


def max2(kernel, stride=None, padding=0, ceil=False):
    stride = stride or kernel
    described = spec(
        "max_pool2d", kernel_size=[kernel] * 2, stride=[stride] * 2, padding=[padding] * 2, dilation=[1, 1], ceil_mode=ceil
    )
    return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), described


def avg2(kernel, stride=None, padding=0):
    stride = stride or kernel
    options = {"ceil_mode": False, "count_include_pad": True, "divisor_override": 0}
    described = spec("avg_pool2d", kernel_size=[kernel] * 2, stride=[stride] * 2, padding=[padding] * 2, **options)
    return nn.AvgPool2d(kernel, stride, padding), described


def reshape(dims, wanted):
    return Function(lambda x: x.reshape(x.shape[0], *wanted)), spec("reshape", dims=[float(d) for d in dims])


def permute(order):
    return Function(lambda x: x.permute(0, *(1 + at for at in order))), spec("permute", order=order)


# Dense layers see features in PyTorch's order, wherever they stand in memory.
golden.case("net of pools", [3, 12, 10], 4, [max2(2), layers.activation("tanh"), avg2(3, 1, 1), flatten(), layers.linear(90, 7)])
golden.case("channels last at the border", [12, 10, 3], 4, [max2(2), flatten(), layers.linear(90, 7)], channels_last=True)
golden.case("odd sizes", [5, 7, 9], 3, [max2(2), flatten(), layers.linear(60, 4)], x="steps:3")
golden.case("flatten the middle", [3, 4, 5, 2], 2, [(nn.Flatten(2, 3), spec("flatten", start_dim=2, end_dim=-2)), layers.linear(2, 3)])
golden.case("flatten to a dense on rows", [4, 5, 2], 2, [(nn.Flatten(1, 2), spec("flatten", start_dim=1, end_dim=2)), layers.linear(2, 3)])
golden.case("reshape after channels last", [4, 6, 2], 3, [max2(2), reshape([3, -1], [3, 4]), permute([1, 0]), layers.linear(3, 5)])
golden.case("no common axes", [4, 4, 6], 3, [max2(2), reshape([3, 2, 4], [3, 2, 4]), max2(2), flatten()])
golden.case("permute a sequence", [9, 4], 3, [permute([1, 0]), globally(1, "avg")[0], layers.linear(4, 2)])
golden.case("permute an image", [3, 4, 5], 3, [permute([2, 0, 1]), max2(2), permute([1, 2, 0]), flatten()], x="steps:5")
golden.case("permute twice", [3, 4, 5], 2, [permute([1, 2, 0]), permute([2, 0, 1]), layers.linear(5, 2), flatten()])
golden.case("reshape features", [60], 2, [layers.linear(60, 24), reshape([2, 3, 4], [2, 3, 4]), avg2(2, 1), flatten(), layers.linear(12, 3)])
golden.case("upsample a pool", [4, 6, 6], 2, [avg2(2), upsample(2)[0], flatten()])
# Large enough for several threads.
golden.case("large max pool", [32, 26, 26], 64, [max2(2), flatten(), layers.linear(5408, 10)])
golden.case("large overlapping pools", [17, 24, 24], 70, [max2(3, 2, 1), avg2(3, 1, 1), layers.activation("relu"), flatten(), layers.linear(17 * 144, 16)])
golden.case("large few channels", [3, 48, 48], 66, [max2(2), avg2(2), flatten(), layers.linear(432, 64)])
golden.end()
