#!/usr/bin/env python3
"""Derives the coefficients and tables of src/kernel/math/ and src/kernel/activation/: minimax polynomials by Lawson's iteration, rounded to f32.

Each coefficient is rounded in turn, from the lowest power on, and the rest is fitted again around it, so the rounded
polynomial stays close to the best one. Prints Rust constants and the largest error of each polynomial, in units of
2^-24 of the function (half an ULP where the mantissa is 1), with the arithmetic itself taken as exact.

    pip install mpmath && python3 ci/coefficients.py
"""
import struct
import sys
from math import erf as erf_f64, frexp, log2
from mpmath import mp, mpf, matrix, lu_solve, erf, erfc, exp, expm1, log, log1p, tanh, sqrt, sin, cos, pi

mp.prec = 120
# Points and rounds of the fits that are many and small: the pieces of the tables.
SMALL = (40, 6)


def to_f32(value):
    """The nearest f32. (Rounded once more from f64: what matters is only that the result is an f32.)"""
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def minimax(target, weight, terms, low, high, effort=(300, 60)):
    """Coefficients c of sum c[i] x^i that minimise the largest |weight * (target - polynomial)| on [low, high].

    Lawson's iteration, which needs no special care where the weight vanishes: least squares on a fixed grid, whose
    weights are multiplied by the error of the last round until the error is level.
    """
    count, rounds = effort
    grid = [(low + high) / 2 - (high - low) / 2 * cos(pi * (i + mpf(1) / 2) / count) for i in range(count)]
    targets, weights = [target(x) for x in grid], [weight(x) for x in grid]
    lawson = [mpf(1) / count] * count
    best, best_error = None, None
    for _ in range(rounds):
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


def rounded(target, weight, terms, low, high, effort=(300, 60)):
    """The same with every coefficient an f32."""
    fixed = []
    while len(fixed) < terms:
        k = len(fixed)
        # The fixed part is moved to the other side and x^k divided out: the weight takes x^k back in. The points keep
        # off zero, where that weight vanishes.
        rest = minimax(
            lambda x: (target(x) - horner(fixed, x)) / x**k,
            lambda x: weight(x) * abs(x) ** k,
            terms - k, low, high, effort,
        ) if k else minimax(target, weight, terms, low, high, effort)
        fixed.append(to_f32(rest[0]))
    count = 4001 if effort[0] > 100 else 202
    points = (low + (high - low) * i / (count - 1) for i in range(count))
    worst = max(abs(weight(x) * (target(x) - horner(fixed, x))) for x in points if x != 0)
    return fixed, worst


def show(name, c, worst):
    print(f"// error {float(worst * 2**24):.4f} of 2^-24")
    values = ", ".join(repr(struct.unpack('<f', struct.pack('<f', value))[0]) for value in c)
    print(f"const {name}: [f32; {len(c)}] = [{values}];")
    print("//   bits:", ", ".join(f"{struct.unpack('<I', struct.pack('<f', value))[0]:#010x}" for value in c))


def table(name, values):
    print(f"const {name}: [f32; {len(values)}] = [{', '.join('%.9g' % value for value in values)}];")


def unit(value):
    """The distance of the f32 around `value`."""
    return 2.0 ** (frexp(abs(value))[1] - 24)


def lost(value):
    """What rounding to f32 costs, in ULP."""
    return float(abs(to_f32(value) - value)) / unit(value)


def spaced_pieces():
    """erf on 16 intervals of one width, chosen so that the function in their middles is almost an f32."""
    best = None
    for i in range(int(0.2536 * 2**22), int(0.258 * 2**22)):
        worst = 0
        for k in range(1, 16):
            value = erf_f64(k * i / 2**22)
            worst = max(worst, abs(to_f32(value) - value) / unit(value))
            if best and worst >= best[0]:
                break
        else:
            best = (worst, i)
    spacing = mpf(best[1]) / 2**22
    half = spacing / 2 * mpf("1.0001")
    print(f"// erf: {best[0]:.3f} ULP in the middles\nconst SPACING: f32 = {best[1]}.0 / 4194304.0;")
    first, _ = rounded(lambda d: erf(d) / d - 1, lambda d: d / erf(d), 5, mpf(2) ** -20, half, SMALL)
    rows = [[0.0] + first]
    for k in range(1, 16):
        middle = k * spacing
        target, weight = (lambda d: erf(middle + d)), (lambda d: 1 / erf(middle + d))
        rows.append(rounded(target, weight, 6, -half, half, SMALL)[0])
    for i in range(6):
        table("MIDDLE" if i == 0 else f"ERF_{i}", [row[i] for row in rows])


def growing_pieces(name, target, terms, limit, scale, odd):
    """A function on the quarters of the powers of two of 1 + scale a, in the order of the bits that choose them. Each is
    expanded around a point near the middle where the function is almost an f32; the first around 0."""
    rows, worst = [None] * 16, 0
    for exponent in range(4):
        for quarter in range(4):
            low = (2.0**exponent * (1 + quarter / 4) - 1) / scale
            high = min((2.0**exponent * (1 + (quarter + 1) / 4) - 1) / scale, limit)
            place = (127 + exponent) % 4 * 4 + quarter
            if low >= limit:
                rows[place] = [0.0] * (terms + 1)
                continue
            middle = 0.0
            if low == 0:
                top = mpf(high) * mpf("1.0001")
                if odd:
                    divided = lambda d: target(d) / d
                    c, error = rounded(divided, lambda d: 1 / divided(d), terms - 1, mpf(2) ** -20, top, SMALL)
                    c = [0.0] + c
                else:
                    c, error = rounded(target, lambda d: 1 / target(d), terms, mpf(0), top, SMALL)
            else:
                step = 2.0**-12 * 2.0**exponent
                start, best = int((low + high) / 2 / step), None
                for k in range(-600, 601):
                    point = (start + k) * step
                    if abs(point - (low + high) / 2) > (high - low) * 0.06:
                        continue
                    error = lost(target(mpf(point)))
                    if best is None or error < best[0]:
                        best = (error, point)
                    if error < 0.004:
                        break
                middle, margin = best[1], mpf(2) ** -22
                shifted, weight = (lambda d: target(middle + d)), (lambda d: 1 / target(middle + d))
                c, error = rounded(
                    shifted, weight, terms, mpf(low) - mpf(middle) - margin, mpf(high) - mpf(middle) + margin, SMALL
                )
            worst = max(worst, error)
            rows[place] = [middle] + c
    print(f"// {name}: error {float(worst * 2**24):.4f} of 2^-24; scale {scale}")
    for i in range(terms + 1):
        table(f"{name}_MIDDLES" if i == 0 else f"{name}_{i - 1}", [row[i] for row in rows])


def growing(limit, shift):
    """Limit, square and linear factor for :func:`near_pieces`, such that 16 intervals reach the limit."""
    square = mpf(to_f32(mpf("15.499") / (limit * (limit + shift))))
    return limit, square, mpf(to_f32(square * shift))


def near_pieces(name, target, terms, limit, square, linear, odd=False, place=0.5):
    """A function that falls like an exponential, on the 16 intervals around the integers of a (linear + square a), up to
    `limit`. Each is expanded around a point near `place` of it where the function is almost an f32; the first around 0,
    where the function vanishes if `odd`. Towards the end, all terms have one sign: nothing cancels there."""
    edge = lambda z: z / linear if square == 0 else (sqrt(linear**2 + 4 * square * z) - linear) / (2 * square)
    rows, errors = [], []
    for k in range(16):
        low = edge(max(mpf(k) - 0.5, mpf(0))) * (1 - mpf(2) ** -20)
        high = min(edge(k + mpf(0.5)), mpf(limit)) * (1 + mpf(2) ** -20)
        if k == 0 and odd:
            divided = lambda d: target(d) / d
            c, error = rounded(divided, lambda d: 1 / divided(d), terms - 1, mpf(2) ** -20, high, SMALL)
            c, middle = [0.0] + c, 0.0
        elif k == 0:
            middle = 0.0
            c, error = rounded(target, lambda d: 1 / target(d), terms, mpf(0), high, SMALL)
        else:
            step, best = mpf(2) ** -14, None
            wanted = low + (high - low) * place
            for i in range(2000):
                point = (int(wanted / step) + (i // 2 if i % 2 else -(i // 2))) * step
                if abs(point - wanted) > (high - low) * 0.04:
                    break
                error = lost(target(point))
                if best is None or error < best[0]:
                    best = (error, point)
                if error < 0.01:
                    break
            middle = best[1]
            shifted, weight = (lambda d: target(middle + d)), (lambda d: 1 / target(middle + d))
            c, error = rounded(shifted, weight, terms, low - middle, high - middle, SMALL)
        errors.append(float(error * 2**24))
        rows.append([float(middle)] + c)
    print(f"// {name}: error {max(errors):.4f} of 2^-24; square {square}, linear {linear}")
    for i in range(terms + 1):
        table(f"{name}_MIDDLES" if i == 0 else f"{name}_{i - 1}", [row[i] for row in rows])


def reciprocals():
    """For ln: 16 reciprocals whose logarithms, but for a factor that makes ln 2 a multiple of 2^-15, are almost such. Those
    of the first two and the last two are 1 and 1/2: no logarithm near zero is a difference."""
    high = mpf(int(log(2) * 2**15)) / 2**15
    factor = log(mpf(2)) / high
    values, logarithms = [1.0, 1.0], [0.0, 0.0]
    for k in range(2, 14):
        centre, best = int(mp.nint(log(1 + mpf(2 * k + 1) / 32) * 2**15)), None
        for distance in range(60):
            for sign in (1, -1):
                logarithm = mpf(centre + sign * distance) / 2**15 * factor
                value = to_f32(exp(-logarithm))
                error = abs(log(mpf(value)) + logarithm)
                if best is None or error < best[0]:
                    best = (error, value, (centre + sign * distance) / 2**15)
            if best[0] < 2.0**-32:
                break
        values.append(best[1])
        logarithms.append(best[2])
    table("RECIPROCAL", values + [0.5, 0.5])
    table("LOGARITHM", logarithms + [high, high])
    print(f"const REST: f32 = {to_f32(factor - 1)!r};")


def exact_reciprocals():
    """For pow: reciprocals whose logarithm to base 2 is almost an f32."""
    values, logarithms = [1.0], [0.0]
    for k in range(1, 15):
        start, best = int(2 / (2 + mpf(2 * k + 1) / 16) * 2**24), None
        for distance in range(200_000):
            for sign in (1, -1):
                value = (start + sign * distance) / 2**24
                error = abs(to_f32(-log2(value)) + log2(value))
                if best is None or error < best[0]:
                    best = (error, value)
            if best[0] < 2.0**-43:
                break
        values.append(best[1])
        logarithms.append(to_f32(-log(mpf(best[1]), 2)))
    table("RECIPROCAL", values + [0.5])
    table("LOGARITHM", logarithms + [1.0])


def split(name, value, bits):
    """`value` as a sum of two f32, the first with so few bits that its products with small integers are exact."""
    scale = mpf(2) ** bits
    high = mpf(int(value * scale)) / scale
    assert mpf(to_f32(high)) == high
    print(f"const {name}_HIGH: f32 = {to_f32(high)!r};\nconst {name}_LOW: f32 = {to_f32(value - high)!r};")


def normal_tail():
    """For GELU's derivative: the upper tail of the normal distribution, exp(a^2 / 2) Q(a) (a + 1.5), in a / (a + 1.5)."""
    shift, centre, limit = mpf(3) / 2, mpf(292) / 512, mpf("14.6")

    def target(w):
        a = shift * (w + centre) / (1 - w - centre)
        return exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2 * (a + shift)

    high = limit / (limit + shift) - centre
    # The centre is chosen so that the function there is almost an f32.
    show("TAIL", *rounded(target, lambda w: 1 / target(w), 12, -centre, high, (600, 80)))


def main():
    tiny = mpf(2) ** -40  # keeps off zero, where the quotients are 0 / 0
    split("LN_2", log(2), 15)
    print(f"const LOG2_E: f32 = {to_f32(1 / log(mpf(2)))!r};")

    # exp(r) = 1 + r + r^2 q(r). The weight is that of exp(r) - 1, which is stricter than that of exp(r): one set of
    # coefficients serves both. A little more than half of ln 2, since the rounding of x / ln 2 is inexact.
    half = log(2) / 2 * mpf("1.0001")
    show("EXP", *rounded(lambda r: (expm1(r) - r) / r**2, lambda r: abs(r**2 / expm1(r)), 5, -half, half + tiny))

    # Eight powers, all shifted by a factor 2^s that makes them almost f32: s was found by trying 3 * 10^7 at random.
    shift = mpf("-0.0036995259670793957")
    table("POWERS", [to_f32(2 ** (mpf(i) / 8 + shift)) for i in range(8)])
    half = log(2) / 16 * mpf("1.001")
    show("EXP_SHORT", *rounded(lambda r: exp(r) / 2**shift - 1, lambda r: 1 / exp(r), 4, -half, half, SMALL))
    split("LN_2_SHORT", log(2), 12)

    # ln_1p: ln(1 + f) = f + f^2 (-1/2 + f p(f))
    low, high = sqrt(mpf(1) / 2) - 1, sqrt(mpf(2)) - 1
    target = lambda f: ((log1p(f) - f) / f**2 + mpf(1) / 2) / f
    show("LN_1P", *rounded(target, lambda f: abs(f**3 / log1p(f)), 8, low, high))

    # ln: ln(1 + r) = r + r^2 q(r)
    reciprocals()
    low, high = -mpf(1) / 16, mpf(1) / 8
    show("LN", *rounded(lambda r: (log1p(r) - r) / r**2, lambda r: abs(r**2 / log1p(r)), 5, low, high, SMALL))

    # pow: log2(1 + r) = r p(r) in f64, 2^f = 1 + f p(f)
    exact_reciprocals()
    quotient = lambda r: log1p(r) / log(mpf(2)) / r
    c = minimax(quotient, lambda r: abs(1 / quotient(r)), 7, mpf("-0.031422171741724014"), mpf(1) / 16, SMALL)
    print("const LOG2: [f64; 7] = [" + ", ".join("%.17g" % float(value) for value in c) + "];")
    half = mpf("0.5001")
    show("EXP2", *rounded(lambda f: (2**f - 1) / f, lambda f: abs(f) / 2**f, 6, -half, half, SMALL))

    # sin(r) = r + r z p(z), cos(r) = 1 + z p(z), z = r^2
    tiny, top = mpf(2) ** -30, (pi / 4 * mpf("1.001")) ** 2
    target = lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z
    show("SIN", *rounded(target, lambda z: z * sqrt(z) / sin(sqrt(z)), 3, tiny, top, SMALL))
    show("COS", *rounded(lambda z: (cos(sqrt(z)) - 1) / z, lambda z: z / cos(sqrt(z)), 4, tiny, top, SMALL))
    rest = pi / 2
    for _ in range(3):
        part = to_f32(rest)
        rest -= mpf(part)
        print(f"// part of pi / 2: {part!r}")
    mp.prec = 400
    print("// 2 / pi:", hex(int(2 / pi * mpf(2) ** 256)))
    mp.prec = 120

    spaced_pieces()
    growing_pieces("TANH", tanh, 6, 9.3, 1.59375, True)
    factor = lambda a: exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2
    growing_pieces("NORMAL", factor, 7, 14.51, 1.03125, False)
    growing_pieces("GELU", lambda a: a * factor(a), 7, 14.51, 1.03125, True)
    growing_pieces("SOFTPLUS", lambda a: log1p(exp(-a)) / exp(-a), 6, 18.3, 0.8125, False)
    # Nearer to zero, without the exponential function.
    tail = lambda a: erfc(a / sqrt(mpf(2))) / 2
    near_pieces("NEAR_GELU", lambda a: a * tail(a), 9, *growing(mpf("8.125"), mpf("2.1")), odd=True, place=0.7)
    near_pieces("NEAR_NORMAL", tail, 9, *growing(mpf("8.125"), mpf("1.6")), place=0.7)
    for name, target in ("SIGMOID", lambda a: 1 / (1 + exp(a))), ("SOFTPLUS", lambda a: log1p(exp(-a))):
        near_pieces("NEAR_" + name, target, 7, mpf("15.5") * mpf("0.89"), mpf(0), 1 / mpf("0.89"))
    normal_tail()


if __name__ == "__main__":
    sys.exit(main())
