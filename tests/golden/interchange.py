"""Model files in both directions: PyTorch's for gemmule, gemmule's for PyTorch.

    python tests/golden/interchange.py write           # the committed files of tests/golden/interchange/
    python tests/golden/interchange.py check FOLDER    # every model that `cargo test --test interchange` wrote there

Needs torch, numpy and safetensors. `write` uses no random numbers: weights and inputs come from a formula. A file NAME.safetensors
is what `safetensors.torch.save_file(model.state_dict())` gives; NAME.io.safetensors holds the inputs and the logits of the same
model in evaluation. headers.txt has small files, good and bad, with what the package safetensors says of each. `check` builds each model from the JSON in the file's metadata, loads the weights with strict=True and
compares the logits, which the file has among its numbers.
"""

import json
import math
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


def batch_norm(make):
    def of(o):
        momentum = None if o["momentum"] == "none" else o["momentum"]
        return make(o["num_features"], o["eps"], momentum, o["affine"], o["track_running_stats"])

    return of


def sizes(numbers):
    return [int(number) for number in numbers]


NORMS = {
    "batch_norm1d": batch_norm(nn.BatchNorm1d),
    "batch_norm2d": batch_norm(nn.BatchNorm2d),
    "layer_norm": lambda o: nn.LayerNorm(sizes(o["normalized_shape"]), o["eps"], o["elementwise_affine"], o["bias"]),
    "rms_norm": lambda o: nn.RMSNorm(sizes(o["normalized_shape"]), None if o["eps"] == "none" else o["eps"], o["elementwise_affine"]),
    "group_norm": lambda o: nn.GroupNorm(o["num_groups"], o["num_channels"], o["eps"], o["affine"]),
    "instance_norm": lambda o: nn.InstanceNorm2d(o["num_features"], o["eps"], affine=o["affine"]),
}


def convolution(make):
    """Options that PyTorch calls the same; a padding may be a word."""
    given = ["kernel_size", "stride", "padding", "output_padding", "dilation"]

    def of(o):
        more = {name: o[name] if isinstance(o[name], str) else tuple(sizes(o[name])) for name in given if name in o}
        return make(o["in_channels"], o["out_channels"], groups=o["groups"], bias=o["bias"], **more)

    return of


class Recurrent(nn.Module):
    """Puts out the whole sequence, or the last state of each direction."""

    def forward(self, x):
        output, state = super().forward(x)
        if self.return_sequences:
            return output
        h = state[0] if isinstance(state, tuple) else state
        return torch.cat(list(h[-2 if self.bidirectional else -1 :]), dim=-1)


class Lstm(Recurrent, nn.LSTM):
    pass


class Gru(Recurrent, nn.GRU):
    pass


class Rnn(Recurrent, nn.RNN):
    pass


def recurrent(kind, input_size, hidden_size, *, return_sequences, **options):
    layer = kind(input_size, hidden_size, batch_first=True, **options)
    layer.return_sequences = return_sequences
    return layer


def recurrent_of(kind):
    given = ["num_layers", "bias", "dropout", "bidirectional", "return_sequences", "nonlinearity"]
    return lambda o: recurrent(kind, o["input_size"], o["hidden_size"], **{name: o[name] for name in given if name in o})


OTHERS = {
    "conv1d": convolution(nn.Conv1d),
    "conv2d": convolution(nn.Conv2d),
    "conv_transpose1d": convolution(nn.ConvTranspose1d),
    "conv_transpose2d": convolution(nn.ConvTranspose2d),
    "lstm": recurrent_of(Lstm),
    "gru": recurrent_of(Gru),
    "rnn": recurrent_of(Rnn),
    "dense": lambda o: nn.Linear(o["inputs"], o["outputs"], bias=o["bias"]),
    "dropout": lambda o: nn.Dropout(o["rate"]),
    "flatten": lambda o: nn.Flatten(o["start_dim"], o["end_dim"]),
    "softmax": lambda o: nn.Softmax(dim=-1),
}


def module(layer):
    return {**ACTIVATIONS, **NORMS, **OTHERS}[layer["kind"]](layer["options"])


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
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(formula(buffer.shape, 50) * 0.5)
            elif name.endswith("running_var"):
                buffer.copy_(formula(buffer.shape, 51) * 0.5 + 1)
            elif name.endswith("num_batches_tracked"):
                buffer.fill_(123456)


def save(name, model, dims, dtype):
    """`dims`: of a sample as the model takes it."""
    model = model.to(dtype).eval()
    fill(model)
    x = formula((5, math.prod(dims)), 99).to(dtype) * 2
    with torch.no_grad():
        logits = model(x.reshape(-1, *dims))
    save_file(model.state_dict(), os.path.join(FOLDER, f"{name}.safetensors"))
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


def norms():
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 5, bias=False),
        nn.LayerNorm(5),
        nn.RMSNorm(5, eps=1e-6),
        nn.Linear(5, 3),
    )


def images():
    """Every option of the shapes of convolutions, and a weight behind `Flatten`."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, (2, 3), stride=2, padding=(0, 1), output_padding=1, groups=2, bias=False),
        nn.GroupNorm(3, 6),
        nn.Flatten(),
        nn.Linear(6 * 7 * 6, 3),
    )


def channels():
    return nn.Sequential(
        nn.Conv1d(3, 5, 4, stride=2, padding=1),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.ConvTranspose1d(5, 2, 3, stride=2),
        nn.Flatten(),
        nn.Linear(2 * 9, 3),
    )


def two_layers(kind, **options):
    return recurrent(kind, 3, 4, num_layers=2, bidirectional=True, **options)


# Names, nets and dimensions of samples, as in `nets` of tests/interchange.rs.
NETS = [
    ("mlp", mlp, [6]),
    ("norms", norms, [6]),
    ("images", images, [2, 5, 5]),
    ("channels", channels, [3, 8]),
    ("lstm", lambda: nn.Sequential(two_layers(Lstm, return_sequences=False), nn.Linear(8, 2)), [5, 3]),
    ("gru", lambda: nn.Sequential(two_layers(Gru, return_sequences=True), nn.Flatten(), nn.Linear(40, 2)), [5, 3]),
    ("rnn", lambda: nn.Sequential(two_layers(Rnn, return_sequences=False, nonlinearity="relu"), nn.Linear(8, 2)), [5, 3]),
    ("no_bias", lambda: nn.Sequential(recurrent(Lstm, 3, 8, bias=False, return_sequences=False), nn.Linear(8, 2)), [5, 3]),
]


def write():
    os.makedirs(FOLDER, exist_ok=True)
    for name, make, dims in NETS:
        save(f"{name}_f32", make(), dims, torch.float32)
        save(f"{name}_f64", make(), dims, torch.float64)
    save("activations", Several(), [4], torch.float32)
    save("wrapped", Wrapped(), [4], torch.float32)
    # Weights in half precision, as they are often published; the logits are those of the rounded weights in float32.
    for name, dtype in [("mlp_f16", torch.float16), ("mlp_bf16", torch.bfloat16)]:
        model, x = save(name, mlp(), [6], dtype)
        with torch.no_grad():
            x = formula((5, 6), 99).to(torch.float32) * 2
            logits = model.to(torch.float32)(x)
        save_file({"inputs": x, "logits": logits}, os.path.join(FOLDER, f"{name}.io.safetensors"))
    write_headers()
    print(f"torch {torch.__version__} wrote {len(os.listdir(FOLDER))} files")


def tensor(dtype="F32", shape="[2]", offsets="[0,8]"):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s}' % (dtype, shape, offsets)


def headers():
    """Names, headers and the number of bytes behind them."""
    good = tensor()
    yield "nothing", "{}", 0
    yield "spaces behind", "{}   \n", 0
    yield "space before", " {}", 0
    yield "one", '{"a":%s}' % good, 8
    yield "too few bytes", '{"a":%s}' % good, 7
    yield "too many bytes", '{"a":%s}' % good, 9
    yield "two", '{"a":%s,"b":%s}' % (good, tensor(offsets="[8,16]")), 16
    yield "in another order", '{"b":%s,"a":%s}' % (tensor(offsets="[8,16]"), good), 16
    yield "hole before", '{"a":%s}' % tensor(offsets="[4,12]"), 12
    yield "hole between", '{"a":%s,"b":%s}' % (good, tensor(offsets="[12,20]")), 20
    yield "overlap", '{"a":%s,"b":%s}' % (good, tensor(offsets="[4,12]")), 12
    yield "same bytes", '{"a":%s,"b":%s}' % (good, good), 8
    yield "name twice", '{"a":%s,"a":%s}' % (good, tensor(offsets="[8,16]")), 16
    yield "name twice, same bytes", '{"a":%s,"a":%s}' % (good, good), 8
    yield "name twice by an escape", '{"a":%s,"\\u0061":%s}' % (good, good), 8
    yield "scalar", '{"a":%s}' % tensor(shape="[]", offsets="[0,4]"), 4
    yield "empty", '{"a":%s}' % tensor(shape="[0]", offsets="[0,0]"), 0
    yield "empty ones", '{"a":%s,"b":%s}' % (tensor(shape="[0]", offsets="[0,0]"), tensor(shape="[3,0]", offsets="[0,0]")), 0
    yield "empty between", '{"a":%s,"b":%s}' % (good, tensor(shape="[0]", offsets="[8,8]")), 8
    yield "empty inside", '{"a":%s,"b":%s}' % (good, tensor(shape="[0]", offsets="[4,4]")), 8
    yield "shape overflows", '{"a":%s}' % tensor(shape="[4294967296,4294967296]", offsets="[0,0]"), 0
    yield "shape overflows to 8", '{"a":%s}' % tensor(shape="[2,9223372036854775809]"), 8
    yield "shape too large", '{"a":%s}' % tensor(shape="[3]"), 8
    yield "offsets reversed", '{"a":%s}' % tensor(offsets="[8,0]"), 8
    yield "offsets negative", '{"a":%s}' % tensor(offsets="[-8,0]"), 8
    yield "offsets of three", '{"a":%s}' % tensor(offsets="[0,8,8]"), 8
    yield "offsets of one", '{"a":%s}' % tensor(offsets="[8]"), 8
    yield "offset beyond 2^64", '{"a":%s}' % tensor(offsets="[0,18446744073709551624]"), 8
    yield "dimension as float", '{"a":%s}' % tensor(shape="[2.0]"), 8
    yield "dimension as text", '{"a":%s}' % tensor(shape='["2"]'), 8
    yield "dimension negative", '{"a":%s}' % tensor(shape="[-2]"), 8
    yield "unknown dtype", '{"a":%s}' % tensor(dtype="F31"), 8
    yield "dtype in small letters", '{"a":%s}' % tensor(dtype="f32"), 8
    yield "no dtype", '{"a":{"shape":[2],"data_offsets":[0,8]}}', 8
    yield "no shape", '{"a":{"dtype":"F32","data_offsets":[0,8]}}', 8
    yield "no offsets", '{"a":{"dtype":"F32","shape":[2]}}', 8
    yield "dtype twice", '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8
    yield "unknown field", '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":[{"y":null}]}}', 8
    for dtype, size in [("BOOL", 2), ("U8", 2), ("I8", 2), ("F8_E5M2", 2), ("F8_E4M3", 2), ("I16", 4), ("U16", 4), ("F16", 4)]:
        yield f"dtype {dtype}", '{"a":%s}' % tensor(dtype=dtype, offsets=f"[0,{size}]"), size
    for dtype, size in [("BF16", 4), ("I32", 8), ("U32", 8), ("F64", 16), ("I64", 16), ("U64", 16), ("F4", 1), ("C64", 16)]:
        yield f"dtype {dtype}", '{"a":%s}' % tensor(dtype=dtype, offsets=f"[0,{size}]"), size
    yield "half a byte", '{"a":%s}' % tensor(dtype="F4", shape="[3]", offsets="[0,1]"), 1
    yield "metadata", '{"__metadata__":{"a":"b","c":""}}', 0
    yield "metadata behind", '{"a":%s,"__metadata__":{"a":"b"}}' % good, 8
    yield "metadata of a number", '{"__metadata__":{"a":1}}', 0
    yield "metadata of a list", '{"__metadata__":["a"]}', 0
    yield "metadata null", '{"__metadata__":null}', 0
    yield "metadata twice", '{"__metadata__":{},"__metadata__":{}}', 0
    yield "key of metadata twice", '{"__metadata__":{"a":"b","a":"b"}}', 0
    yield "comma at the end", '{"a":%s,}' % good, 8
    yield "no comma", '{"a":%s"b":%s}' % (good, good), 8
    yield "text behind", "{}x", 0
    yield "zero behind", "{}\0", 0
    yield "no object", "[]", 0
    yield "no header", "", 0
    yield "a text", '"a"', 0
    yield "lone surrogate", '{"__metadata__":{"\\ud800":"b"}}', 0
    yield "surrogates", '{"__metadata__":{"\\ud83d\\ude00":"b"}}', 0
    yield "control character", '{"__metadata__":{"a\nb":"c"}}', 0
    yield "many dimensions", '{"a":%s}' % tensor(shape="[%s2]" % ("1," * 70)), 8


def write_headers():
    from safetensors import deserialize

    with open(os.path.join(FOLDER, "headers.txt"), "w") as out:
        for name, header, data in headers():
            text = header.encode()
            try:
                deserialize(len(text).to_bytes(8, "little") + text + bytes(data))
                verdict = "good"
            except Exception:
                verdict = "bad"
            print(name, verdict, data, text.hex(), sep="\t", file=out)


def check(folder):
    torch.set_num_threads(1)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))
    assert len(files) >= 40, f"{len(files)} files in {folder}"
    worst = 0.0
    for name in files:
        path = os.path.join(folder, name)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        described = json.loads(metadata["gemmule"])
        # The dimensions of samples are no module.
        dims = [sizes(layer["options"]["dims"]) for layer in described["layers"] if layer["kind"] == "input"]
        model = nn.Sequential(*[module(layer) for layer in described["layers"] if layer["kind"] != "input"])
        dtype = {"f32": torch.float32, "f64": torch.float64}[described["element"]]
        model = model.to(dtype).eval()
        model.load_state_dict(load_file(path), strict=True)
        numbers = {key: torch.tensor(values, dtype=torch.float64) for key, values in described["numbers"].items()}
        x = numbers["inputs"].to(dtype).reshape(-1, *(dims[0] if dims else [described["inputs"]]))
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
