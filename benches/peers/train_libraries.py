"""The peers' side of train.py: serves one library in a process of its own. See train.py for what is measured.

    PYTHON train_libraries.py LIBRARY THREADS

Orders and answers are those of examples/throughput.rs; `lacks` is the answer where the library has no such workload.
"""

import os
import sys
import time

import numpy as np

NETS = {"mlp64": [784, 64, 64, 10], "mlp512": [784, 512, 512, 10], "mlp4096": [784, 4096, 4096, 4096, 10]}
SAMPLES, CLASSES = 20_480, 10
# Name: net, batch, samples that a pass goes through.
TRAINING = {
    "mlp64_b32": ("mlp64", 32, SAMPLES), "mlp64_b128": ("mlp64", 128, SAMPLES),
    "mlp512_b128": ("mlp512", 128, SAMPLES), "mlp4096_b512": ("mlp4096", 512, 2_048),
}
ANSWERS, TINY_STEPS = 6, 512


# ---- the same numbers as examples/throughput.rs ----------------------------------------------------------------------

def fill(count, seed):
    """Numbers in [-1, 1) from an index: `fill` of benches/support."""
    bits = np.arange(count, dtype=np.uint32)
    bits ^= np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    bits *= np.uint32(0x85EBCA6B)
    bits ^= bits >> np.uint32(13)
    bits *= np.uint32(0xC2B2AE35)
    return (bits >> np.uint32(8)).astype(np.float32) / np.float32(8_388_608.0) - np.float32(1.0)


def features(count):
    return (fill(SAMPLES * count, 1) * np.float32(1.75)).reshape(SAMPLES, count)


def digits():
    x = features(784)
    return x, x[:, :CLASSES].argmax(axis=1).astype(np.int32)


def plane():
    x = features(10)
    return x, (np.float32(0.5) * (x[:, 0] - x[:, 1])).reshape(SAMPLES, 1)


def weights(widths):
    """Per layer a weight, outputs x inputs, and a bias."""
    layers = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        weight = fill(inputs * outputs, 2 + i) * np.float32((6.0 / inputs) ** 0.5)
        layers.append((weight.reshape(outputs, inputs), np.zeros(outputs, np.float32)))
    return layers


# ---- libraries: `train` gives a function that takes a step on the samples of some indices and returns the loss, perhaps
# ---- not computed yet; `predict` one that returns the outputs; `wait` waits for what a function returned ---------------

class Torch:
    """PyTorch: fused Adam, inference mode."""

    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.torch = torch
        self.version = f"PyTorch {torch.__version__}"

    def net(self, widths):
        torch = self.torch
        layers = []
        for weight, bias in weights(widths):
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
            layers += [layer, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def train(self, widths, x, y):
        torch = self.torch
        net, x, y = self.net(widths), torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
        loss_of = torch.nn.functional.cross_entropy

        def step(indices):
            indices = torch.from_numpy(indices)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(net(x.index_select(0, indices)), y.index_select(0, indices))
            loss.backward()
            optimizer.step()
            return loss

        return step

    def tiny(self, widths, x, y):
        torch = self.torch
        net, x, y = self.net(widths), torch.from_numpy(x), torch.from_numpy(y)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, fused=True)
        loss_of = torch.nn.functional.mse_loss

        def step(sample):
            optimizer.zero_grad(set_to_none=True)
            # A slice is a view: one sample need not be gathered.
            loss = loss_of(net(x[sample:sample + 1]), y[sample:sample + 1])
            loss.backward()
            optimizer.step()
            return loss

        return step

    def predict(self, widths, x):
        torch = self.torch
        net, x = self.net(widths).eval(), torch.from_numpy(x)

        def run():
            with torch.inference_mode():
                return net(x)

        return run

    def wait(self, result):
        return result.detach().numpy()


class Jax:
    """JAX: a compiled function per step that may write where it reads; nobody waits for a step but the next one."""

    def __init__(self, threads):
        import jax

        self.jax = jax
        self.version = f"JAX {jax.__version__}"

    def net(self, widths):
        jnp = self.jax.numpy
        # Inputs x outputs: what its own examples have.
        return [(jnp.asarray(weight.T.copy()), jnp.asarray(bias)) for weight, bias in weights(widths)]

    def forward(self, layers, x):
        for weight, bias in layers[:-1]:
            x = self.jax.nn.relu(x @ weight + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def update_and_state(self, widths, x, y):
        jax, jnp = self.jax, self.jax.numpy
        tree = jax.tree_util.tree_map

        def loss_of(layers, x, y):
            logits = jax.nn.log_softmax(self.forward(layers, x))
            return -jnp.take_along_axis(logits, y[:, None], 1).mean()

        def update(layers, m, v, number, x, y, indices):
            loss, gradient = jax.value_and_grad(loss_of)(layers, x[indices], y[indices])
            number += 1
            m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
            v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
            size, scale = 1e-3 / (1 - 0.9**number), 1 / (1 - 0.999**number)
            layers = tree(lambda p, m, v: p - size * m / (jnp.sqrt(v * scale) + 1e-8), layers, m, v)
            return layers, m, v, number, loss

        layers = self.net(widths)
        state = [layers, tree(jnp.zeros_like, layers), tree(jnp.zeros_like, layers), jnp.float32(0)]
        return update, state, jnp.asarray(x), jnp.asarray(y)

    def train(self, widths, x, y):
        update, state, x, y = self.update_and_state(widths, x, y)
        update = self.jax.jit(update, donate_argnums=(0, 1, 2, 3))

        def step(indices):
            *state[:], loss = update(*state, x, y, indices)
            return loss

        return step

    def tiny(self, widths, x, y):
        jax, jnp = self.jax, self.jax.numpy

        def update(layers, x, y, sample):
            x, y = x[sample], y[sample]
            loss, gradient = jax.value_and_grad(lambda p: ((self.forward(p, x) - y) ** 2).mean())(layers)
            return jax.tree_util.tree_map(lambda p, g: p - 0.01 * g, layers, gradient), loss

        update = jax.jit(update, donate_argnums=0)
        state, x, y = [self.net(widths)], jnp.asarray(x), jnp.asarray(y)

        def step(sample):
            state[0], loss = update(state[0], x, y, sample)
            return loss

        return step

    def predict(self, widths, x):
        forward, layers, x = self.jax.jit(self.forward), self.net(widths), self.jax.numpy.asarray(x)
        return lambda: forward(layers, x).block_until_ready()

    def wait(self, result):
        return np.asarray(result)


class JaxScan(Jax):
    """JAX: all steps of a pass in one compiled function, as `fit` runs a pass in one call."""

    def steps(self, widths, x, y):
        update, state, x, y = self.update_and_state(widths, x, y)

        def scan(state, x, y, order):
            def one(state, indices):
                *state, loss = update(*state, x, y, indices)
                return tuple(state), loss

            state, losses = self.jax.lax.scan(one, state, order)
            return state, losses[-1]

        scan = self.jax.jit(scan, donate_argnums=0)
        state = [tuple(state)]

        def steps(order):
            state[0], loss = scan(state[0], x, y, order)
            return loss

        return steps


class TensorFlow:
    """TensorFlow: functions compiled by XLA, Keras layers and Adam."""

    def __init__(self, threads):
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
        self.tf = tensorflow
        self.version = f"TensorFlow {tensorflow.__version__}"

    def net(self, widths):
        layers = self.tf.keras.layers
        hidden = [layers.Dense(width, activation="relu") for width in widths[1:-1]]
        net = self.tf.keras.Sequential([self.tf.keras.Input((widths[0],)), *hidden, layers.Dense(widths[-1])])
        net.set_weights([array for weight, bias in weights(widths) for array in (weight.T, bias)])
        return net

    def train(self, widths, x, y):
        tf = self.tf
        net, x, y = self.net(widths), tf.constant(x), tf.constant(y)
        optimizer = tf.keras.optimizers.Adam(1e-3, epsilon=1e-8)
        optimizer.build(net.trainable_variables)

        @tf.function(jit_compile=True)
        def update(indices):
            with tf.GradientTape() as tape:
                logits = net(tf.gather(x, indices), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, indices), logits)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, net.trainable_variables)
            optimizer.apply_gradients(zip(gradients, net.trainable_variables))
            return loss

        return lambda indices: update(tf.constant(indices))

    def tiny(self, widths, x, y):
        return None

    def predict(self, widths, x):
        tf = self.tf
        net, x = self.net(widths), tf.constant(x)
        forward = tf.function(lambda x: net(x, training=False), jit_compile=True)
        return lambda: forward(x)

    def wait(self, result):
        return result.numpy()


class Sklearn:
    """scikit-learn: MLPClassifier with weights of its own; `partial_fit` is one pass, which it shuffles itself."""

    def __init__(self, threads):
        import sklearn

        self.version = f"scikit-learn {sklearn.__version__}"

    def passes(self, widths, x, y, batch):
        from sklearn.neural_network import MLPClassifier

        classifier = MLPClassifier(widths[1:-1], batch_size=batch, learning_rate_init=1e-3, alpha=0, random_state=0)
        classes = np.arange(widths[-1])

        def run(samples):
            classifier.partial_fit(x[:samples], y[:samples], classes=classes)
            return classifier.loss_

        return run

    def tiny(self, widths, x, y):
        return None

    def predict(self, widths, x):
        return None


class OnnxRuntime:
    """onnxruntime: Gemm and Relu, as an exporter writes them."""

    def __init__(self, threads):
        import onnxruntime

        self.threads = threads
        self.onnxruntime = onnxruntime
        self.version = f"onnxruntime {onnxruntime.__version__}"

    def predict(self, widths, x):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        nodes, constants, last = [], [], "x"
        for i, (weight, bias) in enumerate(weights(widths)):
            constants += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
            nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
            last = f"z{i}"
            if i + 2 < len(widths):
                nodes.append(helper.make_node("Relu", [last], [f"a{i}"]))
                last = f"a{i}"
        value = helper.make_tensor_value_info
        inputs = [value("x", TensorProto.FLOAT, list(x.shape))]
        outputs = [value(last, TensorProto.FLOAT, [len(x), widths[-1]])]
        graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        session = self.onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        # Bound once: quicker for one sample than giving the input anew.
        binding = session.io_binding()
        result = self.onnxruntime.OrtValue.ortvalue_from_numpy(np.empty((len(x), widths[-1]), np.float32))
        binding.bind_ortvalue_input("x", self.onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output(last, result)

        def run():
            session.run_with_iobinding(binding)
            return result

        return run

    def train(self, widths, x, y):
        return None

    def tiny(self, widths, x, y):
        return None

    def wait(self, result):
        return result.numpy()


LIBRARIES = {
    "torch": Torch, "jax": Jax, "jax-scan": JaxScan, "tf": TensorFlow, "sklearn": Sklearn, "onnxruntime": OnnxRuntime,
}


# ---- workloads -------------------------------------------------------------------------------------------------------

class Training:
    """Steps over shuffled batches. The orders are drawn before the clock starts, the batches gathered while it runs."""

    def __init__(self, library, net, x, y, batch, samples, clock):
        self.count, self.batch, self.samples = len(y), batch, samples
        self.library, self.clock, self.rng = library, clock, np.random.default_rng(0)
        # A function that takes the steps of a pass, or one that takes a step.
        self.steps = hasattr(library, "steps") and library.steps(net, x, y)
        self.step = None if self.steps else library.train(net, x, y)

    def lacks(self):
        return not (self.steps or self.step)

    def take(self, order):
        """Steps on the rows of an array of indices; the last one's loss, perhaps not computed yet."""
        if self.steps:
            return self.steps(order)
        for batch in order:
            loss = self.step(batch)
        return loss

    def answer(self):
        batches = np.arange(ANSWERS * self.batch, dtype=np.int32).reshape(ANSWERS, 1, -1)
        return [float(self.library.wait(self.take(batch))) for batch in batches]

    def run(self, passes, warm=False):
        """Seconds per sample."""
        batches = self.samples // self.batch
        count = max(1, batches // 10) if warm else batches
        orders = [self.rng.permutation(self.count)[:count * self.batch] for _ in range(passes)]
        orders = [order.astype(np.int32).reshape(count, self.batch) for order in orders]
        start = self.clock()
        for order in orders:
            loss = self.take(order)
        self.library.wait(loss)
        return (self.clock() - start) / (passes * count * self.batch)

    def warm(self, repeats):
        self.run(1, warm=True)

    def loss(self):
        return float(self.library.wait(self.take(np.arange(self.batch, dtype=np.int32).reshape(1, -1))))


class Passes:
    """A library that shuffles and gathers itself."""

    def __init__(self, library, net, x, y, batch, samples, clock):
        self.batch, self.samples = batch, samples
        self.clock = clock
        self.run_pass = library.passes(net, x, y, batch)

    def lacks(self):
        return False

    def answer(self):
        return [self.run_pass(self.batch * ANSWERS) for _ in range(2)]

    def run(self, passes):
        start = self.clock()
        for _ in range(passes):
            self.run_pass(self.samples)
        return (self.clock() - start) / (passes * self.samples)

    def warm(self, repeats):
        self.run_pass(self.batch * max(1, self.samples // self.batch // 10))

    def loss(self):
        return self.run_pass(self.batch)


class Tiny:
    """Batch 1, 10-16-1."""

    def __init__(self, library, name, clock):
        self.library, self.clock, self.rng = library, clock, np.random.default_rng(0)
        self.step = library.tiny([10, 16, 1], *plane())

    def lacks(self):
        return self.step is None

    def answer(self):
        losses = [float(self.library.wait(self.step(i))) for i in range(ANSWERS * TINY_STEPS)]
        return np.reshape(losses, (ANSWERS, TINY_STEPS)).mean(axis=1).tolist()

    def run(self, steps):
        order = np.resize(self.rng.permutation(SAMPLES), steps).tolist()
        start = self.clock()
        for sample in order:
            loss = self.step(sample)
        self.library.wait(loss)
        return (self.clock() - start) / steps

    def warm(self, repeats):
        self.run(repeats // 10 + 1)

    def loss(self):
        return float(self.library.wait(self.step(0)))


class Predict:
    """Outputs for a batch that is there, in the library's own array."""

    def __init__(self, library, name, clock):
        _, net, batch = name.split(":")
        self.library, self.clock, self.batch = library, clock, int(batch)
        self.call = library.predict(NETS[net], np.ascontiguousarray(digits()[0][:self.batch]))

    def lacks(self):
        return self.call is None

    def answer(self):
        outputs = np.asarray(self.library.wait(self.call())).reshape(-1)
        return [*outputs[:CLASSES].tolist(), *outputs[-CLASSES:].tolist()]

    def run(self, calls):
        start = self.clock()
        for _ in range(calls):
            outputs = self.call()
        self.library.wait(outputs)
        return (self.clock() - start) / (calls * self.batch)

    def warm(self, repeats):
        self.run(repeats // 10 + 1)

    def loss(self):
        return None


def make(library, name, clock):
    if name == "tiny":
        return Tiny(library, name, clock)
    if name.startswith("predict:"):
        return Predict(library, name, clock)
    net, batch, samples = TRAINING[name]
    return (Passes if hasattr(library, "passes") else Training)(library, NETS[net], *digits(), batch, samples, clock)


def calibrate(workload, clock, seconds):
    """Passes, steps or calls of a turn that takes about `seconds`."""
    repeats = 1
    while True:
        start = clock()
        workload.run(repeats)
        took = clock() - start
        if took >= seconds / 4:
            return max(1, round(repeats * seconds / took))
        repeats *= 2


def serve(library, threads, make):
    """Obeys until the input ends; `make(library, name, clock)` gives a workload."""
    clock = time.process_time if threads == 1 else time.perf_counter
    print("ready", library.version, flush=True)
    workload, repeats = None, 1
    for line in sys.stdin:
        match line.split():
            case ["begin", name, seconds]:
                # The last one's memory first.
                workload = None
                workload = make(library, name, clock)
                if workload.lacks():
                    print("lacks", flush=True)
                    continue
                answer = workload.answer()
                repeats = calibrate(workload, clock, float(seconds))
                print("answer", *answer, flush=True)
            case ["time"]:
                workload.warm(repeats)
                seconds, loss = workload.run(repeats), workload.loss()
                print("took", seconds, *([] if loss is None else [loss]), flush=True)
            case _:
                print("not an order:", line.strip(), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    serve(LIBRARIES[sys.argv[1]](int(sys.argv[2])), int(sys.argv[2]), make)
