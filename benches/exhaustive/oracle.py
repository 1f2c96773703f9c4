#!/usr/bin/env python3
"""Writes oracle.csv: values that the oracle's formulas are compared with. Needs mpmath, and shares nothing with the oracle.

    python3 benches/exhaustive/oracle.py > benches/exhaustive/src/oracle.csv

A line is function, input (an f32), value (rounded to f64). Derivatives are taken numerically with 60 digits.
"""
import struct

from mpmath import erfc, exp, expm1, log1p, mp, mpf, pi, sqrt, tanh

mp.dps = 60
SCALE, ALPHA = mpf("1.0507009873554804934193349852946"), mpf("1.6732632423543772848170429916717")


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def sigmoid(x):
    return 1 / (1 + exp(-x))


FORWARD = {
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * erfc(-x / sqrt(mpf(2))) / 2,
    "gelu_tanh": lambda x: x * sigmoid(2 * sqrt(2 / pi) * (x + mpf("0.044715") * x**3)),
    "mish": lambda x: x * tanh(log1p(exp(x))),
    "softplus": lambda x: log1p(exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "elu": lambda x: x if x > 0 else expm1(x),
    "selu": lambda x: SCALE * x if x > 0 else SCALE * ALPHA * expm1(x),
    "hard_swish": lambda x: x if x > 3 else mpf(0) if x < -3 else x * (x + 3) / 6,
    "hard_sigmoid": lambda x: mpf(1) if x > 3 else mpf(0) if x < -3 else (x + 3) / 6,
}
DERIVATIVES = ["silu", "gelu", "gelu_tanh", "mish", "hard_swish"]
INPUTS = [-80.3, -14.1, -13.37, -12.9, -10.7, -6.1, -5.3, -2.9, -1.9, -1.3, -0.77, -0.31, -1e-3, -1e-9, 1e-30, 1e-6, 0.01, 0.27,
          0.9, 1.4, 2.3, 2.99, 3.7, 5.9, 8.8, 13.1, 21.7, 90.5]

print("function,input,value")
for name, function in FORWARD.items():
    for x in map(f32, INPUTS):
        print(f"{name},{x!r},{float(function(mpf(x)))!r}")
for name in DERIVATIVES:
    for x in map(f32, INPUTS):
        step = mpf(10) ** -25 * max(abs(mpf(x)), mpf(10) ** -10)
        function = FORWARD[name]
        value = (function(mpf(x) + step) - function(mpf(x) - step)) / (2 * step)
        print(f"{name}_derivative,{x!r},{float(value)!r}")
