"""Writes augment.csv: moved, brightened and darkened images, the golden values of tests/augment/golden.rs.

    python tests/golden/augment.py > tests/golden/augment.csv

Moves are maps of points, in order, inverted as one matrix by NumPy and sampled by PyTorch's grid_sample in float64; brightness
and contrast are torchvision's formulas (blend with black, or with the mean of 0.2989 R + 0.587 G + 0.114 B) in PyTorch.
Pixels come from a formula in integers that the test repeats; every one is a multiple of 2^-16 in [0, 1).
A line: channels, height, width, padding, interpolation, operations, pixels (channel by channel, row by row).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


def image(channels, height, width):
    def value(index):
        mixed = (index * 2654435761 + 374761393) % 2**32
        mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
        mixed ^= mixed >> 13
        return (mixed >> 16) / 2**16

    count = channels * height * width
    return torch.tensor([value(i) for i in range(count)], dtype=torch.float64).reshape(channels, height, width)


def point_map(operation, height, width):
    """Where a point (x, y) about the centre goes, y pointing down."""
    name, *numbers = operation.split(":")
    numbers = [float(n) for n in numbers]
    matrix = np.eye(3)
    if name == "rotation":
        angle = math.radians(numbers[0])
        # Counter-clockwise as one sees it.
        matrix[:2, :2] = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    elif name == "scale":
        matrix[0, 0] = matrix[1, 1] = numbers[0]
    elif name == "shift":
        matrix[:2, 2] = [numbers[0] * width, numbers[1] * height]
    elif name == "flip_horizontal":
        matrix[0, 0] = -1
    elif name == "flip_vertical":
        matrix[1, 1] = -1
    else:
        raise ValueError(name)
    return matrix


def move(pixels, operations, padding, interpolation):
    _, height, width = pixels.shape
    forward = np.eye(3)
    for operation in operations:
        forward = point_map(operation, height, width) @ forward
    backward = np.linalg.inv(forward)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    points = np.stack([x - center[0], y - center[1], np.ones_like(x, dtype=float)], -1) @ backward.T
    # -1 and 1 are the centres of the outer pixels.
    grid = torch.from_numpy(np.stack([points[..., 0] / center[0], points[..., 1] / center[1]], -1))[None]
    kind, _, fill = padding.partition(":")
    fill = float(fill or 0)
    mode = {"constant": "zeros", "edge": "border", "reflect": "reflection"}[kind]
    batch = (pixels - fill)[None]
    out = F.grid_sample(batch, grid, mode=interpolation, padding_mode=mode, align_corners=True)
    return out[0] + fill


def blend(a, b, ratio):
    return (ratio * a + (1 - ratio) * b).clamp(0, 1)


def mean(pixels):
    if pixels.shape[0] != 3:
        return pixels.mean()
    return (0.2989 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2]).mean()


def apply(pixels, operations, padding, interpolation):
    name, *numbers = operations[0].split(":")
    if name == "brightness":
        return blend(pixels, torch.zeros_like(pixels), float(numbers[0]))
    if name == "contrast":
        return blend(pixels, mean(pixels), float(numbers[0]))
    return move(pixels, operations, padding, interpolation)


MOVES = [
    "rotation:30",
    "rotation:-117.5",
    "scale:1.3",
    "scale:0.55",
    "shift:0.13:-0.27",
    "shift:-1.6:2.2",
    "rotation:25 scale:0.8 shift:0.1:0.2 flip_horizontal",
    "shift:0.1:0.2 flip_vertical scale:1.7 rotation:-40",
    "flip_horizontal rotation:15 flip_vertical shift:0.21:0",
]

for shape in ((1, 7, 6), (3, 5, 8)):
    pixels = image(*shape)
    cases = [
        (moves, padding, interpolation)
        for moves in MOVES
        for padding in ("constant", "constant:0.3", "edge", "reflect")
        for interpolation in ("bilinear", "nearest")
    ]
    cases += [(f"{name}:{factor}", "constant", "bilinear") for name in ("brightness", "contrast") for factor in (0.4, 1.6)]
    for operations, padding, interpolation in cases:
        # Three channels are moved as one is: single moves with one rule alone, to keep the file small.
        if shape[0] == 3 and operations in MOVES[:6] and padding != "constant:0.3":
            continue
        out = apply(pixels, operations.split(), padding, interpolation)
        values = " ".join(f"{v:.10g}" for v in out.flatten().tolist())
        print(*shape, padding, interpolation, operations, values, sep=",")

# A quarter of a turn by NumPy, which is exact.
square = image(1, 6, 6)
values = " ".join(f"{v:.10g}" for v in np.rot90(square.numpy(), axes=(1, 2)).flatten().tolist())
print(1, 6, 6, "constant", "bilinear", "rotation:90", values, sep=",")
