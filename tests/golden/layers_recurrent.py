"""Golden values of recurrent layers: nn.LSTM, nn.GRU and nn.RNN, with packed sequences for masks and detached states for truncation.

    python tests/golden/layers_recurrent.py > tests/golden/layers_recurrent.txt
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import layers
from layers import spec

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def last(h_n, directions):
    """The last layer's last state of each direction, side by side."""
    return torch.cat([h_n[len(h_n) - directions + d] for d in range(directions)], dim=-1)


def of(state):
    """h of what a module returns as its states."""
    return state[0] if isinstance(state, tuple) else state


def initial(module, batch):
    """The parameters h_0_*, c_0_* as the module takes them."""
    suffixes = [f"l{k}{d}" for k in range(module.num_layers) for d in (["", "_reverse"] if module.bidirectional else [""])]
    states = [torch.stack([getattr(module, f"{name}_{s}") for s in suffixes])[:, None].expand(-1, batch, -1).contiguous()
              for name in (["h_0", "c_0"] if isinstance(module, nn.LSTM) else ["h_0"])]
    return tuple(states) if len(states) == 2 else states[0]


def detached(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def in_pieces(call, x, state, steps):
    """The sequence in pieces of so many steps, between which nothing flows back."""
    outputs = []
    for number, piece in enumerate(x.split(steps, dim=1)):
        output, state = call(piece, state if number == 0 else detached(state))
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


def direction(module, suffix):
    """One direction of a module of one layer, as a call with a sequence and states."""
    one = type(module).__mro__[1](module.input_size, module.hidden_size, batch_first=True, bias=module.bias,
                                  **({"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {})).double()

    def call(x, state):
        weights = {name: getattr(module, f"{name}{suffix}") for name in dict(one.named_parameters())}
        return torch.func.functional_call(one, weights, (x,) if state is None else (x, state))

    return call


def recurrent(kind, input_size, hidden_size, *, num_layers=1, bias=True, dropout=0.0, bidirectional=False,
              return_sequences=True, trainable_state=False, truncate=0, packed=False, relu=False):
    more = {"nonlinearity": "relu" if relu else "tanh"} if kind == "rnn" else {}
    module = KINDS[kind](input_size, hidden_size, num_layers, bias=bias, batch_first=True, dropout=dropout,
                         bidirectional=bidirectional, **more)
    directions = 2 if bidirectional else 1
    if trainable_state:
        for k in range(num_layers):
            for d in ["", "_reverse"][:directions]:
                for name in ["h_0", "c_0"] if kind == "lstm" else ["h_0"]:
                    setattr(module, f"{name}_l{k}{d}", nn.Parameter(torch.zeros(hidden_size)))

    def forward(plain, x):
        state = initial(module, len(x)) if trainable_state else None
        if truncate and bidirectional:
            output, h_n = zip(*[in_pieces(direction(module, d), x.flip(1) if d else x, None, truncate) for d in ["", "_reverse"]])
            output = torch.cat([output[0], output[1].flip(1)], dim=-1)
            return output if return_sequences else torch.cat([of(h)[0] for h in h_n], dim=-1)
        if truncate:
            output, h_n = in_pieces(plain, x, state, truncate)
        elif packed:
            # Padding is zeros in all features, and behind a sample's last step.
            lengths = (x.detach() != 0).any(-1).sum(1)
            output, h_n = plain(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), state)
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        else:
            output, h_n = plain(x, state)
        return output if return_sequences else last(of(h_n), directions)

    init = spec("pytorch")
    described = spec(kind, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers, bias=bias, dropout=dropout,
                     bidirectional=bidirectional, return_sequences=return_sequences, trainable_state=trainable_state,
                     truncate=truncate, weight_ih_init=init, weight_hh_init=init, bias_init=init, **more)
    return layers.with_forward(module, forward), described


def masking():
    return nn.Identity(), spec("masking", mask_value=0.0)


golden = layers.Golden(seed=7)
r = golden.random


def case(kind, steps, batch, inputs, hidden, *, train=True, **options):
    sequences, width = options.get("return_sequences", True), hidden * (2 if options.get("bidirectional") else 1)
    packed = options.get("packed", False)
    pairs = [masking()] if packed else []
    pairs.append(recurrent(kind, inputs, hidden, **options))
    if r.random() < 0.5:
        pairs.append(layers.linear(width, r.randint(1, 5)))
    named = ", ".join(f"{name} {value}" for name, value in options.items())
    name = f"{golden.number}: {kind} {inputs} -> {hidden}, {steps} steps{', ' if named else ''}{named}"
    golden.case(name, [steps, inputs], batch, pairs, padded=packed, train=train)


def drawn(**fixed):
    kind = r.choice(["lstm", "gru", "rnn"])
    options = {
        "num_layers": r.choice([1, 1, 2, 3]),
        "bias": r.random() < 0.8,
        "bidirectional": r.random() < 0.4,
        "return_sequences": r.random() < 0.6,
        "trainable_state": r.random() < 0.3,
    }
    if kind == "rnn":
        options["relu"] = r.random() < 0.4
    options |= fixed
    case(kind, r.choice([1, 2, 3, 5, 8, 13]), r.choice([1, 2, 3, 5, 9]), r.choice([1, 2, 3, 7, 16, 19]),
         r.choice([1, 2, 5, 8, 16, 17, 33]), **options)


for kind in KINDS:
    case(kind, 6, 4, 5, 7)
for _ in range(30):
    drawn()
for _ in range(20):
    drawn(packed=True)
for _ in range(12):
    drawn(truncate=r.choice([1, 2, 3]), bidirectional=False)
for _ in range(6):
    drawn(truncate=r.choice([1, 2, 3]), bidirectional=True, num_layers=1, trainable_state=False)
for kind in KINDS:
    case(kind, 5, 3, 4, 6, num_layers=2, dropout=0.5, train=False)
# Enough for several threads.
case("lstm", 14, 19, 28, 64, return_sequences=False)
case("gru", 12, 13, 20, 48, bidirectional=True, num_layers=2)
case("lstm", 10, 16, 24, 40, bidirectional=True, packed=True, num_layers=2)
golden.end()
