"""Golden values of embeddings, positional encodings, attention and transformer blocks.

    python tests/golden/layers_attention.py > tests/golden/layers_attention.txt
"""

import math

import layers
import torch
from layers import spec
from torch import nn

# Its inference kernel for encoder layers cuts padded positions out of what it returns.
torch.backends.mha.set_fastpath_enabled(False)

golden = layers.Golden(seed=5)
draw = golden.random


class Mask:
    """What the last embedding with a mask saw: True where attention is to look away, as PyTorch has it."""

    padding = None


def embedding(rows, width, padding=None, mask=False):
    module = nn.Embedding(rows, width, padding_idx=padding)

    def forward(old, x):
        Mask.padding = x == padding if mask else None
        return old(x)

    options = {"padding": padding is not None, "num_embeddings": rows, "embedding_dim": width, "mask": mask, "weight_init": spec("normal", mean=0.0, std=1.0)}
    if padding is not None:
        options["padding_idx"] = padding
    return layers.with_forward(module, forward), spec("embedding", **options)


def not_seen(length):
    return torch.triu(torch.ones(length, length, dtype=torch.bool), 1)


def attention(width, heads, *, bias=True, causal=False, dropout=0.0):
    module = nn.MultiheadAttention(width, heads, dropout=dropout, bias=bias, batch_first=True)

    def forward(old, x):
        mask = not_seen(x.shape[1]) if causal else None
        return old(x, x, x, key_padding_mask=Mask.padding, attn_mask=mask, need_weights=draw_weights)[0]

    # With and without the weights PyTorch takes different paths.
    draw_weights = draw.random() < 0.5
    options = spec("multihead_attention", embed_dim=width, num_heads=heads, dropout=dropout, bias=bias, causal=causal)
    return layers.with_forward(module, forward), options


def block_options(width, heads, inner, *, bias=True, causal=False, dropout=0.0, activation="relu", norm_first=False, eps=1e-5):
    return spec("transformer_encoder_layer", d_model=width, nhead=heads, dim_feedforward=inner, dropout=dropout, activation=spec(activation),
                norm_first=norm_first, layer_norm_eps=eps, bias=bias, causal=causal)


def block_module(width, heads, inner, *, bias=True, causal=False, dropout=0.0, activation="relu", norm_first=False, eps=1e-5):
    del causal
    return nn.TransformerEncoderLayer(width, heads, inner, dropout, activation, layer_norm_eps=eps, batch_first=True,
                                      norm_first=norm_first, bias=bias)


def block(width, heads, inner, causal=False, **options):
    def forward(old, x):
        return old(x, src_mask=not_seen(x.shape[1]) if causal else None, src_key_padding_mask=Mask.padding)

    options["causal"] = causal
    module = block_module(width, heads, inner, **options)
    return layers.with_forward(module, forward), block_options(width, heads, inner, **options)


def encoder(count, norm, width, heads, inner, causal=False, **options):
    def forward(old, x):
        return old(x, mask=not_seen(x.shape[1]) if causal else None, src_key_padding_mask=Mask.padding)

    options["causal"] = causal
    last = nn.LayerNorm(width, options.get("eps", 1e-5), bias=options.get("bias", True)) if norm else None
    module = nn.TransformerEncoder(block_module(width, heads, inner, **options), count, last, enable_nested_tensor=False)
    described = spec("transformer_encoder", layer=block_options(width, heads, inner, **options), num_layers=count, norm=norm)
    return layers.with_forward(module, forward), described


def sinusoids(length, width):
    position = torch.arange(length, dtype=torch.float64)[:, None]
    pairs = torch.arange(0, width, 2, dtype=torch.float64)
    angles = position * torch.exp(pairs * (-math.log(10000.0) / width))
    table = torch.zeros(length, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)[:, : width // 2]
    return layers.Function(lambda x: x + table), spec("positional_encoding", dropout=0.0)


class Learned(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, width))

    def forward(self, x):
        return x + self.weight[: x.shape[1]]


def learned(rows, width):
    options = spec("learned_positional_embedding", max_len=rows, dropout=0.0, weight_init=spec("normal", mean=0.0, std=1.0))
    return Learned(rows, width), options


def case(kind, dims, batch, pairs, **options):
    Mask.padding = None
    golden.case(f"{golden.number}: {kind}", dims, batch, pairs, **options)


def small():
    """Batch and length."""
    return draw.choice([1, 2, 5]), draw.choice([1, 2, 3, 7, 12])


def heads_of(most=24):
    heads = draw.choice([1, 2, 3, 4])
    return heads * draw.randint(1, most // heads), heads


# Tables.
for number in range(14):
    batch, length = small()
    rows, width = draw.choice([1, 2, 7, 50]), draw.choice([1, 3, 16, 19])
    padding = draw.choice([None, 0, rows - 1])
    dims = [2, length] if number % 5 == 4 else [length]
    pairs = [embedding(rows, width, padding)]
    if len(dims) == 1 and draw.random() < 0.5:
        pairs.append(layers.linear(width, 3))
    case(f"embedding {rows} x {width}, padding {padding}", dims, batch, pairs, x=f"whole:{rows}")
case("embedding, rows that few tokens use", [40], 8, [embedding(3000, 33, 0), layers.linear(33, 8)], x="whole:3000", padded=True)

# Positions.
for number in range(10):
    batch, length = small()
    width = draw.choice([1, 2, 5, 8, 17])
    if number % 2:
        rows = length + draw.choice([0, 1, 9])
        case(f"learned positions, {length} of {rows}", [length, width], batch, [learned(rows, width)])
    else:
        case(f"sinusoids {length} x {width}", [length, width], batch, [sinusoids(length, width)])
case("learned positions, large", [100, 48], 9, [learned(120, 48), layers.linear(48, 20)])

# Attention.
for number in range(26):
    batch, length = small()
    width, heads = heads_of()
    bias, causal = draw.random() < 0.7, draw.random() < 0.5
    if number % 2:
        kind = f"attention {length} x {width}, {heads} heads, bias {bias}, causal {causal}"
        case(kind, [length, width], batch, [attention(width, heads, bias=bias, causal=causal)])
    else:
        pairs = [embedding(9, width, 0, True)]
        if draw.random() < 0.5:
            pairs.append(sinusoids(length, width))
        pairs.append(attention(width, heads, bias=bias, causal=causal))
        if draw.random() < 0.5:
            pairs.append(attention(width, heads, bias=bias, causal=not causal))
        kind = f"masked attention {length} x {width}, {heads} heads, bias {bias}, causal {causal}"
        case(kind, [length], batch, pairs, x="whole:9", padded=True)
case("attention in prediction", [6, 8], 3, [attention(8, 2, dropout=0.3)], train=False)
case("attention over several blocks", [150, 16], 2, [attention(16, 2)])
case("causal attention over several blocks", [150, 16], 2, [attention(16, 2, causal=True)])
case("masked attention over several blocks", [140], 4, [embedding(20, 12, 0, True), attention(12, 3)], x="whole:20", padded=True)
case("the block of the bench, attention", [64, 128], 3, [attention(128, 4)])

# Transformer blocks.
for number in range(22):
    batch, length = small()
    width, heads = heads_of(12)
    inner = draw.choice([1, 5, 16, 33])
    options = {"bias": draw.random() < 0.7, "causal": draw.random() < 0.4, "activation": draw.choice(["relu", "gelu"]),
               "norm_first": draw.random() < 0.5, "eps": draw.choice([1e-5, 1e-3])}
    if width == 1:
        options["eps"] = 1e-3
    name = f"{length} x {width}, {heads} heads, {inner}, {', '.join(f'{k} {v}' for k, v in options.items())}"
    if number % 4 == 3:
        case(f"encoder {name}", [length, width], batch, [encoder(2, draw.random() < 0.5, width, heads, inner, **options)])
    elif number % 2:
        case(f"block {name}", [length, width], batch, [block(width, heads, inner, **options)])
    else:
        pairs = [embedding(9, width, 0, True), sinusoids(length, width), block(width, heads, inner, **options)]
        case(f"masked block {name}", [length], batch, pairs, x="whole:9", padded=True)
case("block in prediction", [6, 8], 3, [block(8, 2, 16, dropout=0.1)], train=False)
case("the block of the bench", [64, 128], 2, [block(128, 4, 512, activation="gelu")])
case("masked encoder", [33], 4, [embedding(20, 32, 0, True), encoder(2, True, 32, 4, 64, norm_first=True, activation="gelu")], x="whole:20", padded=True)
golden.end()
