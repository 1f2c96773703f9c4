"""Golden values of convolutions.

    python tests/golden/layers_conv.py > tests/golden/layers_conv.txt
"""

import layers
from layers import spec
from torch import nn

golden = layers.Golden(seed=11)
draw = golden.random


def options(dims, inputs, outputs, kernel, stride, dilation, groups, bias, padding):
    described = {
        "in_channels": inputs,
        "out_channels": outputs,
        "kernel_size": kernel,
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
        "padding": padding,
        "weight_init": spec("pytorch"),
        "bias": bias,
    }
    if bias:
        described["bias_init"] = spec("pytorch")
    given = padding if isinstance(padding, str) else tuple(padding)
    arguments = dict(stride=tuple(stride), dilation=tuple(dilation), groups=groups, bias=bias, padding=given)
    return described, arguments


def conv(dims, inputs, outputs, kernel, stride=None, dilation=None, groups=1, bias=True, padding=None):
    ones = [1] * dims
    described, arguments = options(
        dims, inputs, outputs, kernel, stride or ones, dilation or ones, groups, bias, padding or [0] * dims
    )
    kind = [nn.Conv1d, nn.Conv2d][dims - 1]
    return kind(inputs, outputs, tuple(kernel), **arguments), spec(f"conv{dims}d", **described)


def transposed(dims, inputs, outputs, kernel, stride=None, dilation=None, groups=1, bias=True, padding=None, more=None):
    ones, zeros = [1] * dims, [0] * dims
    described, arguments = options(
        dims, inputs, outputs, kernel, stride or ones, dilation or ones, groups, bias, padding or zeros
    )
    described["output_padding"] = more or zeros
    kind = [nn.ConvTranspose1d, nn.ConvTranspose2d][dims - 1]
    module = kind(inputs, outputs, tuple(kernel), output_padding=tuple(more or zeros), **arguments)
    return module, spec(f"conv_transpose{dims}d", **described)


def size(input, kernel, stride, dilation, padding):
    return (input + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def each(dims, low, high):
    return [draw.randint(low, high) for _ in range(dims)]


def channels():
    """Inputs, outputs, groups."""
    groups = draw.choice([1, 1, 1, 1, 2, 3, 0])
    if groups == 0:
        count = draw.choice([2, 5, 16, 19])
        return count, count, count
    return draw.choice([1, 2, 3, 5]) * groups, draw.choice([1, 2, 4, 6, 17]) * groups, groups


def then():
    """Nothing, or an activation, which the convolution takes."""
    return [layers.activation(draw.choice(["relu", "tanh", "silu"]))] if draw.random() < 0.4 else []


number = 0
while number < 44:
    dims = draw.choice([1, 2, 2])
    inputs, outputs, groups = channels()
    kernel, stride, dilation, padding = each(dims, 1, 4), each(dims, 1, 3), each(dims, 1, 2), each(dims, 0, 3)
    sizes = each(dims, 1, 9)
    if draw.random() < 0.2:
        padding = draw.choice(["same", "valid"])
        stride = [1] * dims if padding == "same" else stride
    pads = [0] * dims if isinstance(padding, str) else padding
    if padding != "same" and any(size(*of) < 1 for of in zip(sizes, kernel, stride, dilation, pads)):
        continue
    layer = conv(dims, inputs, outputs, kernel, stride, dilation, groups, draw.random() < 0.8, padding)
    name = f"{number}: conv{dims}d {inputs} -> {outputs} of {sizes}, {kernel}, stride {stride}, dilation {dilation}, groups {groups}, padding {padding}"
    pairs = [layer] + then()
    golden.case(name, [inputs] + sizes, draw.choice([1, 2, 5]), pairs, x=draw.choice(["signed:1", "signed:2"]))
    number += 1

while number < 70:
    dims = draw.choice([1, 2, 2])
    inputs, outputs, groups = channels()
    kernel, stride, dilation, padding = each(dims, 1, 4), each(dims, 1, 3), each(dims, 1, 2), each(dims, 0, 2)
    more = [draw.randint(0, max(of) - 1) for of in zip(stride, dilation)]
    sizes = each(dims, 1, 7)
    results = [
        (i - 1) * s - 2 * p + d * (k - 1) + m + 1 for i, s, p, d, k, m in zip(sizes, stride, padding, dilation, kernel, more)
    ]
    if min(results) < 1:
        continue
    layer = transposed(dims, inputs, outputs, kernel, stride, dilation, groups, draw.random() < 0.8, padding, more)
    name = f"{number}: conv_transpose{dims}d {inputs} -> {outputs} of {sizes}, {kernel}, stride {stride}, dilation {dilation}, groups {groups}, padding {padding}, more {more}"
    pairs = [layer] + then()
    golden.case(name, [inputs] + sizes, draw.choice([1, 2, 5]), pairs)
    number += 1

relu = layers.activation("relu")
tanh = layers.activation("tanh")
# A kernel larger than the input, one pixel, batches of one, many channels.
golden.case("kernel 7 on 3 x 2", [2, 3, 2], 1, [conv(2, 2, 3, [7, 7], padding=[3, 3])])
golden.case("one pixel", [3, 1, 1], 1, [conv(2, 3, 4, [1, 1]), tanh])
golden.case("length one", [3, 1], 1, [conv(1, 3, 4, [3], padding=[1])])
golden.case("many channels", [130, 3, 3], 2, [conv(2, 130, 150, [3, 3], padding=[1, 1])])
golden.case("long sum", [600, 2], 2, [conv(1, 600, 5, [2])])
# Nets, with work for three threads.
golden.case("cnn", [1, 12, 12], 9, [conv(2, 1, 8, [3, 3]), tanh, conv(2, 8, 20, [3, 3]), tanh, (nn.Flatten(), spec("flatten", start_dim=1, end_dim=-1)), layers.linear(20 * 8 * 8, 10)])
golden.case("strides", [3, 16, 16], 6, [conv(2, 3, 16, [3, 3], padding=[1, 1], bias=False), relu, conv(2, 16, 32, [3, 3], stride=[2, 2], padding=[1, 1]), relu, conv(2, 32, 32, [1, 1])])
golden.case("depthwise", [24, 10, 10], 8, [conv(2, 24, 24, [3, 3], groups=24, padding=[1, 1]), tanh, conv(2, 24, 40, [1, 1])])
golden.case("there and back", [3, 12, 12], 7, [conv(2, 3, 16, [4, 4], stride=[2, 2], padding=[1, 1]), tanh, transposed(2, 16, 3, [4, 4], stride=[2, 2], padding=[1, 1])])
golden.case("large weights", [64, 4, 4], 3, [conv(2, 64, 256, [3, 3], padding=[1, 1])])
golden.end()
