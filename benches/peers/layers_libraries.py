"""The peers' side of layers.py: serves one library in a process of its own. See layers.py for what is measured.

    PYTHON layers_libraries.py LIBRARY THREADS

Orders and answers are those of train_libraries.py. The nets are Sequential chains whose parameters have PyTorch's names; every
library begins with the same numbers.
"""

import math
import os
import sys

import numpy as np

import train_libraries
from train_libraries import CLASSES, fill

# Name: net, data, batch, samples that a pass goes through.
TRAINING = {
    "cnn_b64": ("cnn", "digits", 64, 2_048), "lenet_b64": ("lenet", "digits", 64, 8_192),
    "resnet8_b64": ("resnet8", "images", 64, 512), "lstm_b64": ("lstm", "digits", 64, 4_096),
    "gru_b64": ("gru", "digits", 64, 4_096), "transformer_b32": ("transformer", "sequences", 32, 512),
}
# Samples in memory, and the dimensions of one: height, width, channels; or steps, features.
DATA = {"digits": (20_480, (28, 28)), "images": (4_096, (32, 32, 3)), "sequences": (2_048, (64, 128))}
IMAGES = ("cnn", "lenet", "resnet8")
HEADS = 4


# ---- the same numbers as examples/throughput.rs ----------------------------------------------------------------------

def data(name):
    samples, dims = DATA[name]
    x = (fill(samples * math.prod(dims), 1) * np.float32(1.75)).reshape(samples, -1)
    return x, x[:, :CLASSES].argmax(axis=1).astype(np.int32)


def shapes(net):
    """Names and shapes of the parameters, as PyTorch has them."""
    def layer(name, *shape):
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    def residual(name, inputs, outputs):
        body = {f"{name}.body.0.weight": (outputs, inputs, 3, 3), **layer(f"{name}.body.1", outputs),
                f"{name}.body.3.weight": (outputs, outputs, 3, 3), **layer(f"{name}.body.4", outputs)}
        if inputs == outputs:
            return body
        return body | {f"{name}.shortcut.0.weight": (outputs, inputs, 1, 1), **layer(f"{name}.shortcut.1", outputs)}

    def recurrent(gates):
        return {"0.weight_ih_l0": (gates * 128, 28), "0.weight_hh_l0": (gates * 128, 128),
                "0.bias_ih_l0": (gates * 128,), "0.bias_hh_l0": (gates * 128,), **layer("1", 10, 128)}

    if net == "cnn":
        return layer("0", 32, 1, 3, 3) | layer("3", 64, 32, 3, 3) | layer("7", 128, 1600) | layer("9", 10, 128)
    if net == "lenet":
        return (layer("0", 6, 1, 5, 5) | layer("3", 16, 6, 5, 5) | layer("7", 120, 400) | layer("9", 84, 120)
                | layer("11", 10, 84))
    if net == "resnet8":
        return ({"0.weight": (16, 3, 3, 3)} | layer("1", 16) | residual("3", 16, 16) | residual("4", 16, 32)
                | residual("5", 32, 64) | layer("8", 10, 64))
    if net in ("lstm", "gru"):
        return recurrent(4 if net == "lstm" else 3)
    return ({"0.self_attn.in_proj_weight": (384, 128), "0.self_attn.in_proj_bias": (384,)}
            | layer("0.self_attn.out_proj", 128, 128) | layer("0.linear1", 512, 128) | layer("0.linear2", 128, 512)
            | layer("0.norm1", 128) | layer("0.norm2", 128) | layer("2", 10, 8192))


def hashed(name):
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def parameters(net):
    """Biases are 0 and scales of norms 1; weights are uniform up to He's bound in nets of images, 1 / sqrt(inputs) in the others."""
    values = {}
    for name, shape in shapes(net).items():
        if len(shape) == 1:
            values[name] = np.full(shape, 1.0 if name.endswith("weight") else 0.0, np.float32)
            continue
        inputs = math.prod(shape[1:])
        bound = np.float32(((6.0 if net in IMAGES else 1.0) / inputs) ** 0.5)
        values[name] = (fill(math.prod(shape), hashed(name)) * bound).reshape(shape)
    return values


# ---- libraries -------------------------------------------------------------------------------------------------------

class Torch(train_libraries.Torch):
    """PyTorch: fused Adam, channels last."""

    channels_last, compiled = True, False

    def modules(self, net):
        nn = self.torch.nn
        conv, pool = nn.Conv2d, lambda: nn.MaxPool2d(2)

        class Residual(nn.Module):
            def __init__(self, inputs, outputs, stride):
                super().__init__()
                self.body = nn.Sequential(
                    conv(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                    conv(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
                self.shortcut = nn.Identity() if inputs == outputs else nn.Sequential(
                    conv(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

            def forward(self, x):
                return nn.functional.relu(self.body(x) + self.shortcut(x))

        class Last(nn.Module):
            def __init__(self, recurrent):
                super().__init__()
                self.inner = recurrent(28, 128, batch_first=True)

            def forward(self, x):
                return self.inner(x)[0][:, -1]

        if net == "cnn":
            return [conv(1, 32, 3), nn.ReLU(), pool(), conv(32, 64, 3), nn.ReLU(), pool(), nn.Flatten(),
                    nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)]
        if net == "lenet":
            return [conv(1, 6, 5, padding=2), nn.ReLU(), pool(), conv(6, 16, 5), nn.ReLU(), pool(), nn.Flatten(),
                    nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
        if net == "resnet8":
            return [conv(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Residual(16, 16, 1),
                    Residual(16, 32, 2), Residual(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        if net in ("lstm", "gru"):
            return [Last(nn.LSTM if net == "lstm" else nn.GRU), nn.Linear(128, 10)]
        block = nn.TransformerEncoderLayer(128, HEADS, 512, dropout=0.0, batch_first=True)
        return [block, nn.Flatten(), nn.Linear(8192, 10)]

    def net(self, net):
        torch = self.torch
        module = torch.nn.Sequential(*self.modules(net))
        values = parameters(net)
        found = {name.replace(".inner", ""): parameter for name, parameter in module.named_parameters()}
        assert {name: tuple(p.shape) for name, p in found.items()} == shapes(net)
        with torch.no_grad():
            for name, parameter in found.items():
                parameter.copy_(torch.from_numpy(values[name]))
        if self.channels_last and net in IMAGES:
            module = module.to(memory_format=torch.channels_last)
        return module.train()

    def train(self, net, x, y):
        torch = self.torch
        x = torch.from_numpy(dimensions(net, x))
        if net in IMAGES:
            # One view for a batch; the other layout is made once.
            x = x if self.channels_last else x.permute(0, 3, 1, 2).contiguous()
        elif not self.channels_last:
            return None
        y, module = torch.from_numpy(y.astype(np.int64)), self.net(net)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
        turned = self.channels_last and net in IMAGES

        def loss_of(x, y):
            return torch.nn.functional.cross_entropy(module(x.permute(0, 3, 1, 2) if turned else x), y)

        if self.compiled:
            loss_of = torch.compile(loss_of)

        def step(indices):
            indices = torch.from_numpy(indices)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(x.index_select(0, indices), y.index_select(0, indices))
            loss.backward()
            optimizer.step()
            return loss

        return step


class TorchRows(Torch):
    """PyTorch, images with channels first."""

    channels_last = False


class TorchCompile(Torch):
    """PyTorch, forward and backward pass compiled."""

    compiled = True


def dimensions(net, x):
    dims = {"cnn": (28, 28, 1), "lenet": (28, 28, 1), "resnet8": (32, 32, 3), "transformer": (64, 128)}
    return x.reshape(len(x), *dims.get(net, (28, 28)))


def converted(name, shape, value):
    """A parameter as JAX and Keras have it: inputs before outputs, channels last."""
    if len(shape) == 4:
        return value.transpose(2, 3, 1, 0)
    if name == "7.weight":
        # Behind Flatten: channels are the fastest there.
        channels = {1600: 64, 400: 16}[shape[1]]
        side = math.isqrt(shape[1] // channels)
        value = value.reshape(shape[0], channels, side, side).transpose(0, 2, 3, 1).reshape(shape)
    return value.T if len(shape) == 2 else value


class Jax(train_libraries.Jax):
    """JAX. Running statistics of norms, which no step needs, are left out."""

    def net(self, net):
        self.forward = getattr(self, net)
        values = parameters(net)
        return {name: self.jax.numpy.asarray(np.ascontiguousarray(converted(name, shape, values[name])))
                for name, shape in shapes(net).items()}

    def update_and_state(self, net, x, y):
        return super().update_and_state(net, dimensions(net, x), y)

    def conv(self, p, name, x, padding=0, stride=1):
        y = self.jax.lax.conv_general_dilated(
            x, p[f"{name}.weight"], (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + p[f"{name}.bias"] if f"{name}.bias" in p else y

    def pool(self, x):
        lax, jnp = self.jax.lax, self.jax.numpy
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def norm(self, p, name, x, axes):
        mean = x.mean(axes, keepdims=True)
        variance = ((x - mean) ** 2).mean(axes, keepdims=True)
        return (x - mean) * self.jax.lax.rsqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def dense(self, p, name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    def cnn(self, p, x):
        relu = self.jax.nn.relu
        x = self.pool(relu(self.conv(p, "0", x)))
        x = self.pool(relu(self.conv(p, "3", x)))
        return self.dense(p, "9", relu(self.dense(p, "7", x.reshape(x.shape[0], -1))))

    def lenet(self, p, x):
        relu = self.jax.nn.relu
        x = self.pool(relu(self.conv(p, "0", x, padding=2)))
        x = self.pool(relu(self.conv(p, "3", x)))
        x = relu(self.dense(p, "7", x.reshape(x.shape[0], -1)))
        return self.dense(p, "11", relu(self.dense(p, "9", x)))

    def resnet8(self, p, x):
        relu, space = self.jax.nn.relu, (0, 1, 2)
        x = relu(self.norm(p, "1", self.conv(p, "0", x, padding=1), space))
        for name, stride in (("3", 1), ("4", 2), ("5", 2)):
            y = relu(self.norm(p, f"{name}.body.1", self.conv(p, f"{name}.body.0", x, 1, stride), space))
            y = self.norm(p, f"{name}.body.4", self.conv(p, f"{name}.body.3", y, 1), space)
            if f"{name}.shortcut.0.weight" in p:
                x = self.norm(p, f"{name}.shortcut.1", self.conv(p, f"{name}.shortcut.0", x, 0, stride), space)
            x = relu(x + y)
        return self.dense(p, "8", x.mean((1, 2)))

    def scan(self, p, x, state, cell):
        # The products of all steps' inputs at once.
        inputs = x.transpose(1, 0, 2) @ p["0.weight_ih_l0"] + p["0.bias_ih_l0"]
        state, _ = self.jax.lax.scan(lambda state, gates: (cell(state, gates), None), state, inputs)
        return state

    def lstm(self, p, x):
        jax, jnp = self.jax, self.jax.numpy
        sigmoid = jax.nn.sigmoid

        def cell(state, gates):
            hidden, memory = state
            i, f, g, o = jnp.split(gates + hidden @ p["0.weight_hh_l0"] + p["0.bias_hh_l0"], 4, -1)
            memory = sigmoid(f) * memory + sigmoid(i) * jnp.tanh(g)
            return sigmoid(o) * jnp.tanh(memory), memory

        zero = jnp.zeros((len(x), 128))
        return self.dense(p, "1", self.scan(p, x, (zero, zero), cell)[0])

    def gru(self, p, x):
        jax, jnp = self.jax, self.jax.numpy

        def cell(hidden, gates):
            recurrent = hidden @ p["0.weight_hh_l0"] + p["0.bias_hh_l0"]
            (r, z, n), (hr, hz, hn) = jnp.split(gates, 3, -1), jnp.split(recurrent, 3, -1)
            r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
            n = jnp.tanh(n + r * hn)
            return n + z * (hidden - n)

        return self.dense(p, "1", self.scan(p, x, jnp.zeros((len(x), 128)), cell))

    def transformer(self, p, x):
        jax, jnp = self.jax, self.jax.numpy
        all_three = x @ p["0.self_attn.in_proj_weight"] + p["0.self_attn.in_proj_bias"]
        q, k, v = (part.reshape(*x.shape[:2], HEADS, -1) for part in jnp.split(all_three, 3, -1))
        attended = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        x = self.norm(p, "0.norm1", x + self.dense(p, "0.self_attn.out_proj", attended), -1)
        y = self.dense(p, "0.linear2", jax.nn.relu(self.dense(p, "0.linear1", x)))
        x = self.norm(p, "0.norm2", x + y, -1)
        return self.dense(p, "2", x.reshape(len(x), -1))


class JaxScan(Jax, train_libraries.JaxScan):
    """JAX: all steps of a pass in one compiled function."""


class TensorFlow(train_libraries.TensorFlow):
    """TensorFlow: Keras layers and Adam, compiled by XLA or not."""

    compiled = False

    def layers(self, net):
        """The model, and its layers by the name of their parameters."""
        keras = self.tf.keras
        layers, named = keras.layers, {}

        def add(name, layer, *inputs):
            named[name] = layer
            return layer(*inputs)

        def conv(name, x, outputs, kernel, padding="valid", stride=1, bias=True):
            if padding == "one":
                # Keras' `same` pads strided convolutions on the other side.
                padding, x = ("same", x) if stride == 1 else ("valid", layers.ZeroPadding2D(1)(x))
            return add(name, layers.Conv2D(outputs, kernel, stride, padding, use_bias=bias), x)

        def norm(name, x):
            return add(name, layers.BatchNormalization(momentum=0.9, epsilon=1e-5), x)

        def dense(name, x, width, activation=None):
            return add(name, layers.Dense(width, activation), x)

        pool, relu = layers.MaxPool2D(), layers.ReLU()
        if net in ("cnn", "lenet"):
            start = x = keras.Input((28, 28, 1))
            x = layers.MaxPool2D()(relu(conv("0", x, *((32, 3) if net == "cnn" else (6, 5, "same")))))
            x = layers.Flatten()(pool(relu(conv("3", x, *((64, 3) if net == "cnn" else (16, 5))))))
            if net == "cnn":
                x = dense("9", dense("7", x, 128, "relu"), 10)
            else:
                x = dense("11", dense("9", dense("7", x, 120, "relu"), 84, "relu"), 10)
        elif net == "resnet8":
            start = x = keras.Input((32, 32, 3))
            x = relu(norm("1", conv("0", x, 16, 3, "one", bias=False)))
            for name, outputs, stride in (("3", 16, 1), ("4", 32, 2), ("5", 64, 2)):
                y = relu(norm(f"{name}.body.1", conv(f"{name}.body.0", x, outputs, 3, "one", stride, bias=False)))
                y = norm(f"{name}.body.4", conv(f"{name}.body.3", y, outputs, 3, "one", bias=False))
                if stride == 2:
                    x = norm(f"{name}.shortcut.1", conv(f"{name}.shortcut.0", x, outputs, 1, stride=2, bias=False))
                x = relu(layers.Add()([x, y]))
            x = dense("8", layers.GlobalAveragePooling2D()(x), 10)
        elif net in ("lstm", "gru"):
            start = keras.Input((28, 28))
            x = dense("1", add("0", layers.LSTM(128) if net == "lstm" else layers.GRU(128), start), 10)
        else:
            start = x = keras.Input((64, 128))
            attention = layers.MultiHeadAttention(HEADS, 128 // HEADS)
            x = add("0.norm1", layers.LayerNormalization(epsilon=1e-5), x + add("0.self_attn", attention, x, x))
            y = dense("0.linear2", dense("0.linear1", x, 512, "relu"), 128)
            x = add("0.norm2", layers.LayerNormalization(epsilon=1e-5), x + y)
            x = dense("2", layers.Flatten()(x), 10)
        return keras.Model(start, x), named

    def net(self, net):
        model, named = self.layers(net)
        sizes, values = shapes(net), parameters(net)

        def value(name):
            return converted(name, sizes[name], values[name])

        for name, layer in named.items():
            if name == "0" and net in ("lstm", "gru"):
                biases = [values["0.bias_ih_l0"], values["0.bias_hh_l0"]]
                weights = [value("0.weight_ih_l0"), value("0.weight_hh_l0")]
                if net == "gru":
                    # Keras' order of the gates: update, reset, new.
                    weights = [np.concatenate([w[:, 128:256], w[:, :128], w[:, 256:]], 1) for w in weights]
                layer.set_weights([*weights, sum(biases) if net == "lstm" else np.stack(biases)])
            elif name == "0.self_attn":
                weights = []
                for part in np.split(values[f"{name}.in_proj_weight"], 3):
                    weights += [part.T.reshape(128, HEADS, -1), np.zeros((HEADS, 128 // HEADS), np.float32)]
                out = value(f"{name}.out_proj.weight").reshape(HEADS, -1, 128)
                layer.set_weights([*weights, out, np.zeros(128, np.float32)])
            else:
                own = [value(key) for key in (f"{name}.weight", f"{name}.bias") if key in sizes]
                layer.set_weights(own + layer.get_weights()[len(own):])
        return model

    def train(self, net, x, y):
        tf = self.tf
        model, x, y = self.net(net), tf.constant(dimensions(net, x)), tf.constant(y)
        optimizer = tf.keras.optimizers.Adam(1e-3, epsilon=1e-8)
        optimizer.build(model.trainable_variables)

        @tf.function(jit_compile=self.compiled)
        def update(indices):
            with tf.GradientTape() as tape:
                logits = model(tf.gather(x, indices), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, indices), logits)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            return loss

        return lambda indices: update(tf.constant(indices))


class TensorFlowXla(TensorFlow):
    """TensorFlow, compiled by XLA."""

    compiled = True


LIBRARIES = {
    "torch": Torch, "torch-rows": TorchRows, "torch-compile": TorchCompile, "jax": Jax, "jax-scan": JaxScan,
    "tf": TensorFlow, "tf-xla": TensorFlowXla,
}


def make(library, name, clock):
    net, source, batch, samples = TRAINING[name]
    return train_libraries.Training(library, net, *data(source), batch, samples, clock)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    train_libraries.serve(LIBRARIES[sys.argv[1]](int(sys.argv[2])), int(sys.argv[2]), make)
