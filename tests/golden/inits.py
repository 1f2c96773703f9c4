"""Writes inits.csv: PyTorch's gains, and the scale of its initialisers, the golden values of tests/inits.rs.

    python tests/golden/inits.py > tests/golden/inits.csv

A line `gain,activation,value`, or `scale,initialiser,value`: the bound of a uniform one, or the standard deviation that a normal one
asks for, of a weight of 200 outputs x 300 inputs. The last lines are Q of a small matrix, for the test in src/nn/orthogonal.rs.
"""

import torch
from torch.nn import init

print(f"# torch {torch.__version__.split('+')[0]}: kind, name, values")
for name, function, parameter in (
    ("identity", "linear", None),
    ("sigmoid", "sigmoid", None),
    ("tanh", "tanh", None),
    ("relu", "relu", None),
    ("leaky_relu", "leaky_relu", None),
    ("leaky_relu(0.2)", "leaky_relu", 0.2),
    ("selu", "selu", None),
):
    print(f"gain,{name},{init.calculate_gain(function, parameter):.17g}")


class Recorder(torch.Tensor):
    """Takes down what an initialiser asks for instead of drawing."""

    def uniform_(self, low, high, generator=None):
        assert low == -high
        return self.take(high)

    def normal_(self, mean, std, generator=None):
        assert mean == 0
        return self.take(std)

    def take(self, value):
        Recorder.value = value
        return self


for name, run in {
    "glorot_uniform": lambda w: init.xavier_uniform_(w),
    "glorot_normal": lambda w: init.xavier_normal_(w),
    "xavier_uniform": lambda w: init.xavier_uniform_(w, gain=1.5),
    "xavier_normal": lambda w: init.xavier_normal_(w, gain=1.5),
    "he_uniform": lambda w: init.kaiming_uniform_(w, nonlinearity="relu"),
    "he_normal": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
    "kaiming_uniform_in": lambda w: init.kaiming_uniform_(w, a=0.2),
    "kaiming_uniform_out": lambda w: init.kaiming_uniform_(w, a=0.2, mode="fan_out"),
    "kaiming_normal_in": lambda w: init.kaiming_normal_(w, a=0.2),
    "kaiming_normal_out": lambda w: init.kaiming_normal_(w, a=0.2, mode="fan_out"),
    "lecun_uniform": lambda w: init.kaiming_uniform_(w, nonlinearity="linear"),
    "lecun_normal": lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
    "pytorch": lambda w: init.kaiming_uniform_(w, a=5**0.5),
}.items():
    run(torch.empty(200, 300, dtype=torch.float64).as_subclass(Recorder))
    print(f"scale,{name},{Recorder.value:.17g}")

a = torch.tensor([[1, -2], [0.5, 3], [-0.25, 1.5], [2, 0.75]], dtype=torch.float64)
q, r = torch.linalg.qr(a)
q = q * r.diagonal().sign()
print("q,4x2," + ",".join(f"{x:.17g}" for x in q.flatten()))
