#!/usr/bin/env python3
"""Derives the coefficients of src/kernel/math.rs: minimax polynomials by Lawson's iteration, rounded to f32.

Each coefficient is rounded in turn, from the lowest power on, and the rest is fitted again around it, so the rounded
polynomial stays close to the best one. Prints Rust constants and the largest error of each polynomial, in units of
2^-24 of the function (half an ULP where the mantissa is 1), with the arithmetic itself taken as exact.

    pip install mpmath && python3 ci/coefficients.py
"""
import struct
import sys
from mpmath import mp, mpf, matrix, lu_solve, exp, expm1, log, log1p, tanh, sqrt, cos, pi

mp.prec = 120


def to_f32(value):
    """The nearest f32. (Rounded once more from f64: what matters is only that the result is an f32.)"""
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def minimax(target, weight, terms, low, high):
    """Coefficients c of sum c[i] x^i that minimise the largest |weight * (target - polynomial)| on [low, high].

    Lawson's iteration, which needs no special care where the weight vanishes: least squares on a fixed grid, whose
    weights are multiplied by the error of the last round until the error is level.
    """
    count = 300
    grid = [(low + high) / 2 - (high - low) / 2 * cos(pi * (i + mpf(1) / 2) / count) for i in range(count)]
    targets, weights = [target(x) for x in grid], [weight(x) for x in grid]
    lawson = [mpf(1) / count] * count
    best, best_error = None, None
    for _ in range(60):
        normal, right = matrix(terms, terms), matrix(terms, 1)
        for x, t, w, l in zip(grid, targets, weights, lawson):
            power = [w * w * l * x**i for i in range(2 * terms - 1)]
            for i in range(terms):
                right[i] += power[i] * t
                for j in range(terms):
                    normal[i, j] += power[i + j]
        c = list(lu_solve(normal, right))
        errors = [abs(w * (t - horner(c, x))) for x, t, w in zip(grid, targets, weights)]
        if best is None or max(errors) < best_error:
            best, best_error = c, max(errors)
        lawson = [l * e for l, e in zip(lawson, errors)]
        total = sum(lawson)
        lawson = [l / total for l in lawson]
    return best


def horner(c, x):
    result = mpf(0)
    for value in reversed(c):
        result = result * x + value
    return result


def rounded(target, weight, terms, low, high):
    """The same with every coefficient an f32."""
    fixed = []
    while len(fixed) < terms:
        k = len(fixed)
        # The fixed part is moved to the other side and x^k divided out: the weight takes x^k back in. The points keep
        # off zero, where that weight vanishes.
        rest = minimax(
            lambda x: (target(x) - horner(fixed, x)) / x**k,
            lambda x: weight(x) * abs(x) ** k,
            terms - k, low, high,
        ) if k else minimax(target, weight, terms, low, high)
        fixed.append(to_f32(rest[0]))
    count = 4001
    worst = max(
        abs(weight(x) * (target(x) - horner(fixed, x)))
        for x in (low + (high - low) * i / (count - 1) for i in range(count))
    )
    return fixed, worst


def show(name, c, worst):
    print(f"// error {float(worst * 2**24):.4f} of 2^-24")
    values = ", ".join(repr(struct.unpack('<f', struct.pack('<f', value))[0]) for value in c)
    print(f"const {name}: [f32; {len(c)}] = [{values}];")
    print("//   bits:", ", ".join(f"{struct.unpack('<I', struct.pack('<f', value))[0]:#010x}" for value in c))


def split(name, value, bits):
    """`value` as a sum of two f32, the first with so few bits that its products with small integers are exact."""
    scale = mpf(2) ** bits
    high = mpf(int(value * scale)) / scale
    assert mpf(to_f32(high)) == high
    print(f"const {name}_HIGH: f32 = {to_f32(high)!r};\nconst {name}_LOW: f32 = {to_f32(value - high)!r};")


def main():
    tiny = mpf(2) ** -40  # keeps off zero, where the quotients are 0 / 0
    split("LN_2", log(2), 15)
    print(f"const LOG2_E: f32 = {to_f32(1 / log(mpf(2)))!r};")

    # exp(r) = 1 + r + r^2 q(r). The weight is that of exp(r) - 1, which is stricter than that of exp(r): one set of
    # coefficients serves both. A little more than half of ln 2, since the rounding of x / ln 2 is inexact.
    half = log(2) / 2 * mpf("1.0001")
    show("EXP", *rounded(lambda r: (expm1(r) - r) / r**2, lambda r: abs(r**2 / expm1(r)), 5, -half, half + tiny))

    # ln(1 + f) = f + f^2 (-1/2 + f p(f))
    low, high = sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1
    target = lambda f: ((log1p(f) - f) / f**2 + mpf(1) / 2) / f
    show("LN", *rounded(target, lambda f: abs(f**3 / log1p(f)), 8, low, high))

    # tanh(x) = x + x z p(z), z = x^2, for x up to 0.55
    target = lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z
    show("TANH", *rounded(target, lambda z: z * sqrt(z) / tanh(sqrt(z)), 5, tiny, mpf("0.3125")))


if __name__ == "__main__":
    sys.exit(main())
