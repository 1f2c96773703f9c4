"""Model files in both directions: PyTorch's for gemmule, gemmule's for PyTorch.

    python tests/golden/interchange.py write           # the committed files of tests/golden/interchange/
    python tests/golden/interchange.py check FOLDER    # every model that `cargo test --test interchange` wrote there

Needs torch, numpy and safetensors. `write` uses no random numbers: weights and inputs come from a formula. A file NAME.safetensors
is what `safetensors.torch.save_file(model.state_dict())` gives; NAME.io.safetensors holds the inputs and the logits of the same
model in evaluation. `check` builds each model from the JSON in the file's metadata, loads the weights with strict=True and
compares the logits, which the file has among its numbers.
"""

import json
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "interchange")


class Exponential(nn.Module):
    def forward(self, x):
        return torch.exp(x)


# gemmule's kinds as PyTorch's modules.
ACTIVATIONS = {
    "identity": lambda o: nn.Identity(),
    "exponential": lambda o: Exponential(),
    "sigmoid": lambda o: nn.Sigmoid(),
    "tanh": lambda o: nn.Tanh(),
    "relu": lambda o: nn.ReLU(),
    "leaky_relu": lambda o: nn.LeakyReLU(o.get("slope", 0.01)),
    "relu6": lambda o: nn.ReLU6(),
    "elu": lambda o: nn.ELU(o.get("alpha", 1.0)),
    "selu": lambda o: nn.SELU(),
    "celu": lambda o: nn.CELU(o.get("alpha", 1.0)),
    # gemmule has no threshold, above which PyTorch's is the identity.
    "softplus": lambda o: nn.Softplus(o.get("beta", 1.0), threshold=1e9),
    "softsign": lambda o: nn.Softsign(),
    "hard_sigmoid": lambda o: nn.Hardsigmoid(),
    "hard_swish": lambda o: nn.Hardswish(),
    "silu": lambda o: nn.SiLU(),
    "gelu": lambda o: nn.GELU(),
    "gelu_tanh": lambda o: nn.GELU(approximate="tanh"),
    "mish": lambda o: nn.Mish(),
}
OTHERS = {
    "dense": lambda o: nn.Linear(o["inputs"], o["outputs"], bias=o["bias"]),
    "dropout": lambda o: nn.Dropout(o["rate"]),
    "softmax": lambda o: nn.Softmax(dim=-1),
}


def module(layer):
    return {**ACTIVATIONS, **OTHERS}[layer["kind"]](layer["options"])


def formula(shape, seed):
    """Numbers of 24 bits in [-1, 1), the same in float32 and float64."""
    count = 1
    for dimension in shape:
        count *= dimension
    values = [((seed * 7919 + i) * 2654435761 % 2**24) / 2**23 - 1 for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def fill(model):
    """Every parameter by the formula; weights scaled so that logits are about 1."""
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.25
            parameter.copy_(formula(parameter.shape, seed + 1) * scale)


def save(name, model, inputs, dtype, state=None):
    model = model.to(dtype).eval()
    fill(model)
    x = formula((5, inputs), 99).to(dtype) * 2
    with torch.no_grad():
        logits = model(x)
    state = model.state_dict() if state is None else state(model)
    save_file(state, os.path.join(FOLDER, f"{name}.safetensors"))
    save_file({"inputs": x, "logits": logits}, os.path.join(FOLDER, f"{name}.io.safetensors"))
    return model, x


class Wrapped(nn.Module):
    """A module whose parameters are called net.0.weight and so on, with a buffer of integers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x):
        return self.net(x)


class Several(nn.Module):
    """One small net per activation; the logits are side by side."""

    def __init__(self):
        super().__init__()
        nets = {name: nn.Sequential(nn.Linear(4, 3), make({}), nn.Linear(3, 2)) for name, make in ACTIVATIONS.items()}
        self.nets = nn.ModuleDict(nets)

    def forward(self, x):
        return torch.cat([net(x) for net in self.nets.values()], dim=-1)


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(8, 5, bias=False),
        nn.GELU(),
        nn.Linear(5, 3),
    )


def write():
    os.makedirs(FOLDER, exist_ok=True)
    save("mlp_f32", mlp(), 6, torch.float32)
    save("mlp_f64", mlp(), 6, torch.float64)
    save("activations", Several(), 4, torch.float32)
    save("wrapped", Wrapped(), 4, torch.float32)
    # Weights in half precision, as they are often published; the logits are those of the rounded weights in float32.
    for name, dtype in [("mlp_f16", torch.float16), ("mlp_bf16", torch.bfloat16)]:
        model, x = save(name, mlp(), 6, dtype)
        with torch.no_grad():
            x = formula((5, 6), 99).to(torch.float32) * 2
            logits = model.to(torch.float32)(x)
        save_file({"inputs": x, "logits": logits}, os.path.join(FOLDER, f"{name}.io.safetensors"))
    print(f"torch {torch.__version__} wrote {len(os.listdir(FOLDER))} files")


def check(folder):
    torch.set_num_threads(1)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
    assert len(files) >= 20, f"{len(files)} files in {folder}"
    worst = 0.0
    for name in files:
        path = os.path.join(folder, name)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        described = json.loads(metadata["gemmule"])
        model = nn.Sequential(*[module(layer) for layer in described["layers"]])
        dtype = {"f32": torch.float32, "f64": torch.float64}[described["element"]]
        model = model.to(dtype).eval()
        model.load_state_dict(load_file(path), strict=True)
        numbers = {key: torch.tensor(values, dtype=torch.float64) for key, values in described["numbers"].items()}
        x = numbers["inputs"].to(dtype).reshape(-1, described["inputs"])
        with torch.no_grad():
            logits = model(x).to(torch.float64)
        error = (logits.flatten() - numbers["logits"]).abs().max().item()
        assert error <= 1e-6, f"{name}: logits differ by {error}"
        # What PyTorch writes with the same metadata is a model file again, without its checksum.
        again = os.path.join(folder, name.replace(".safetensors", ".torch"))
        save_file(model.state_dict(), again, metadata={"gemmule": metadata["gemmule"]})
        worst = max(worst, error)
    print(f"torch {torch.__version__} loaded {len(files)} models with strict=True: largest difference {worst:.2g}")


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        sys.exit(__doc__)
