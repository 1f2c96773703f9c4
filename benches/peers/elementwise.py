#!/usr/bin/env python3
"""Elementwise functions, softmax, cross-entropy and Adam beside PyTorch, NumPy and JAX: one thread, one sitting.

    benches/peers/elementwise.py --torch PYTHON --numpy PYTHON --jax PYTHON [--record FILE]

PYTHON is an interpreter that has the library (a virtual environment's bin/python); one that is not given is left out. The
crate's side is `cargo bench --bench elementwise`, built by this script, with `--worker`. Needs Linux and Python 3.9.

How it is counted:

- One process per library, all pinned to one core, each with one thread. It is stopped (SIGSTOP) while another is asked.
- All have the same numbers: 65,536 (softmax, cross-entropy: whole rows of about as many), which stand in L2, spread evenly over a
  range. The crate's first answer is checked against f64; 16 numbers of it are compared with each peer's.
- A turn warms up for 4 ms and then times a batch of 20 ms or more, in processor time of the whole process. A round gives every
  library a turn, and each round begins with another one. Shown are medians over the rounds.
- PyTorch writes into arrays that are there (`out=`) where it has that form, so that it need not allocate; NumPy too; JAX's functions
  are compiled and waited for. PyTorch's cross-entropy is forward and backward, JAX's `value_and_grad`. PyTorch's Adam is the fused one.
"""

import argparse
import os
import statistics
import sys
import time

import turns

COUNT = 1 << 16
BATCH_SECONDS, WARM_SECONDS = 0.02, 0.004

# The crate's name of a function: range of the inputs, as benches/elementwise/workloads.rs has it.
FUNCTIONS = {
    "exp": (-8, 8), "exp_m1": (-8, 8), "ln": (0.001, 1000), "ln_1p": (-0.99, 100), "sigmoid": (-8, 8),
    "tanh": (-8, 8), "erf": (-8, 8), "sin": (-8, 8), "cos": (-8, 8), "sqrt": (0.001, 1000), "rsqrt": (0.001, 1000),
    "relu": (-8, 8), "gelu": (-8, 8), "gelu_tanh": (-8, 8), "silu": (-8, 8), "softplus": (-8, 8), "mish": (-8, 8),
    "elu": (-8, 8), "selu": (-8, 8),
}
ROWS = {
    "softmax, rows of 10": (6553, 10), "softmax, rows of 512": (128, 512),
    "cross-entropy with gradient, 128 rows of 10": (128, 10),
    "cross-entropy with gradient, 6553 rows of 10": (6553, 10),
    "cross-entropy with gradient, 128 rows of 512": (128, 512),
}
ADAM = {"adam, 16 Ki parameters": 1 << 14, "adam, 16 Mi parameters": 1 << 24}
WORKLOADS = [*FUNCTIONS, *ROWS, *ADAM]


# ---- a library's own process -----------------------------------------------------------------------------------------

def spread(np, count, low, high):
    i = np.arange(count, dtype=np.int64)
    return (low + (high - low) * ((i * 40503) % 65536) / 65536.0).astype(np.float32)


class Torch:
    """PyTorch on the CPU, one thread."""

    def __init__(self):
        import torch

        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
        self.torch = torch
        self.version = f"PyTorch {torch.__version__}"

    def function(self, np, name, x):
        torch, aten = self.torch, self.torch.ops.aten
        x = torch.from_numpy(x)
        out = torch.empty_like(x)
        plain = {
            "exp": torch.exp, "exp_m1": torch.expm1, "ln": torch.log, "ln_1p": torch.log1p, "sigmoid": torch.sigmoid,
            "tanh": torch.tanh, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos, "sqrt": torch.sqrt,
            "rsqrt": torch.rsqrt,
        }
        if name in plain:
            f = plain[name]
            return lambda: f(x, out=out)
        others = {
            "relu": lambda: torch.clamp_min(x, 0, out=out),
            "gelu": lambda: aten.gelu.out(x, approximate="none", out=out),
            "gelu_tanh": lambda: aten.gelu.out(x, approximate="tanh", out=out),
            "silu": lambda: aten.silu.out(x, out=out),
            "softplus": lambda: aten.softplus.out(x, out=out),
            "mish": lambda: aten.mish.out(x, out=out),
            "elu": lambda: aten.elu.out(x, out=out),
            "selu": lambda: torch.nn.functional.selu(x),
        }
        return others.get(name)

    def softmax(self, np, x):
        x = self.torch.from_numpy(x)
        out = self.torch.empty_like(x)
        return lambda: self.torch.ops.aten._softmax.out(x, 1, False, out=out)

    def cross_entropy(self, np, x, classes):
        x = self.torch.from_numpy(x).requires_grad_()
        classes = self.torch.from_numpy(classes)
        loss = self.torch.nn.functional.cross_entropy

        def run():
            x.grad = None
            loss(x, classes).backward()
            return x.grad

        return run

    def adam(self, np, p, g):
        p = self.torch.from_numpy(p).requires_grad_()
        p.grad = self.torch.from_numpy(g)
        optimizer = self.torch.optim.Adam([p], lr=1e-3, fused=True)

        def run():
            optimizer.step()
            return p.detach()

        return run


class Numpy:
    """NumPy: what it has as one function."""

    def __init__(self):
        import numpy

        self.version = f"NumPy {numpy.__version__}"

    def function(self, np, name, x):
        out = np.empty_like(x)
        functions = {
            "exp": np.exp, "exp_m1": np.expm1, "ln": np.log, "ln_1p": np.log1p, "tanh": np.tanh, "sin": np.sin,
            "cos": np.cos, "sqrt": np.sqrt,
        }
        if name == "relu":
            return lambda: np.maximum(x, np.float32(0), out=out)
        f = functions.get(name)
        return f and (lambda: f(x, out=out))

    def softmax(self, np, x):
        return None

    def cross_entropy(self, np, x, classes):
        return None

    def adam(self, np, p, g):
        return None


class Jax:
    """JAX on the CPU, compiled functions that are waited for."""

    def __init__(self):
        import jax

        self.jax = jax
        self.version = f"JAX {jax.__version__}"

    def compiled(self, f, *arguments):
        f = self.jax.jit(f)
        arguments = [self.jax.numpy.asarray(argument) for argument in arguments]
        return lambda: self.jax.block_until_ready(f(*arguments))

    def function(self, np, name, x):
        jax, jnp = self.jax, self.jax.numpy
        functions = {
            "exp": jnp.exp, "exp_m1": jnp.expm1, "ln": jnp.log, "ln_1p": jnp.log1p, "sigmoid": jax.nn.sigmoid,
            "tanh": jnp.tanh, "erf": jax.scipy.special.erf, "sin": jnp.sin, "cos": jnp.cos, "sqrt": jnp.sqrt,
            "rsqrt": jax.lax.rsqrt, "relu": jax.nn.relu, "silu": jax.nn.silu, "softplus": jax.nn.softplus,
            "gelu": lambda x: jax.nn.gelu(x, approximate=False), "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
            "mish": jax.nn.mish, "elu": jax.nn.elu, "selu": jax.nn.selu,
        }
        f = functions.get(name)
        return f and self.compiled(f, x)

    def softmax(self, np, x):
        return self.compiled(lambda x: self.jax.nn.softmax(x, axis=1), x)

    def cross_entropy(self, np, x, classes):
        jnp = self.jax.numpy

        def loss(x, classes):
            logits = self.jax.nn.log_softmax(x, axis=1)
            return -jnp.take_along_axis(logits, classes[:, None], axis=1).mean()

        run = self.compiled(self.jax.value_and_grad(loss), x, classes)
        return lambda: run()[1]

    def adam(self, np, p, g):
        jnp = self.jax.numpy

        def step(p, m, v, number, g):
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g * g
            root = jnp.sqrt(v / (1 - 0.999**number)) + 1e-8
            return p - (1e-3 / (1 - 0.9**number)) * m / root, m, v, number + 1

        # The arrays are given back: the step may write where it reads.
        step = self.jax.jit(step, donate_argnums=(0, 1, 2, 3))
        g = jnp.asarray(g)
        state = [jnp.asarray(p), jnp.zeros_like(g), jnp.zeros_like(g), jnp.float32(1)]

        def run():
            state[:] = self.jax.block_until_ready(step(*state, g))
            return state[0]

        return run


LIBRARIES = {"torch": Torch, "numpy": Numpy, "jax": Jax}


def make(np, library, name):
    """What runs a workload once and returns its answer, and its elements; None if the library has no such function."""
    if name in FUNCTIONS:
        return library.function(np, name, spread(np, COUNT, *FUNCTIONS[name])), COUNT
    if name in ROWS:
        rows, width = ROWS[name]
        x = spread(np, rows * width, -8, 8).reshape(rows, width)
        if name.startswith("softmax"):
            return library.softmax(np, x), rows * width
        return library.cross_entropy(np, x, np.arange(rows, dtype=np.int64) * 7 % width), rows * width
    count = ADAM[name]
    return library.adam(np, spread(np, count, -1, 1), spread(np, count, 0.5, -0.5)), count


def batch(run, repeats):
    start = time.process_time()
    for _ in range(repeats):
        run()
    return time.process_time() - start


def serve(library):
    """Obeys the orders of benches/elementwise/worker.rs; `lacks` is the answer where there is no such function."""
    import numpy as np

    library = LIBRARIES[library]()
    print("ready", library.version, flush=True)
    run, elements, warm, repeats = None, 1, 1, 1
    for line in sys.stdin:
        order, _, name = line.strip().partition(" ")
        if order == "begin":
            run = None
            run, elements = make(np, library, name)
            if run is None:
                print("lacks", flush=True)
                continue
            answer = np.asarray(run()).reshape(-1)
            samples = [float(answer[i * answer.size // 16]) for i in range(16)]
            repeats = 1
            while (seconds := batch(run, repeats)) < BATCH_SECONDS / 4:
                repeats *= 2
            once = seconds / repeats
            warm, repeats = max(1, round(WARM_SECONDS / once)), max(1, round(BATCH_SECONDS / once))
            print("answer", elements, *samples, flush=True)
        elif order == "time":
            batch(run, warm)
            print("took", batch(run, repeats) / repeats / elements * 1e9, flush=True)
        else:
            print("not an order:", line.strip(), flush=True)


# ---- the parent ------------------------------------------------------------------------------------------------------

def close(a, b):
    # Not near each other, or one is NaN.
    return all(abs(x - y) <= 2e-5 * abs(y) + 2e-6 for x, y in zip(a, b))


def measure(options, workers, workload):
    """A line of the table."""
    # After the number of elements.
    answers = [answer and answer[1:] for answer in (worker.begin(workload) for worker in workers)]
    taking_part = [i for i, answer in enumerate(answers) if answer is not None]
    for i in taking_part:
        if not close(answers[i], answers[0]):
            sys.exit(f"error: {workload}: {workers[i].name} gives {answers[i]}, not {answers[0]}")
    rounds = []
    for number in range(options.rounds):
        took = {}
        for turn in range(len(taking_part)):
            i = taking_part[(number + turn) % len(taking_part)]
            took[i] = float(workers[i].ask("time", "took")[1])
        rounds.append(took)
    medians = {i: statistics.median(took[i] for took in rounds) for i in taking_part}
    cells = [f"{medians[i]:.3f}" if i in medians else "-" for i in range(len(workers))]
    peers = [i for i in taking_part if i > 0]
    ratio = "-"
    if peers:
        best = min(peers, key=medians.get)
        ratio = turns.ratio([took[0] for took in rounds], [took[best] for took in rounds], workers[best].name)
    return f"| {workload} | {' | '.join(cells)} | {ratio} |\n"


def main():
    parser = argparse.ArgumentParser(description="Elementwise functions beside PyTorch, NumPy and JAX, one thread, in one sitting.")
    for name in LIBRARIES:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"an interpreter that has {name}")
    parser.add_argument("--core", type=int, help="the core to pin to; the last one if it is not given")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each library on each workload (9)")
    parser.add_argument("--filter", default="", metavar="WORD", help="only workloads whose name contains the word")
    parser.add_argument("--isa", help="the crate's instruction set (GEMMULE_ISA)")
    parser.add_argument("--record", metavar="FILE", help="append a section with machine, versions and table")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return serve(options.worker)

    record = turns.Record(options.record)
    program = turns.build("elementwise", "bench", "--bench", "elementwise", "--no-run")
    core = options.core if options.core is not None else max(os.sched_getaffinity(0))
    isa = {"GEMMULE_ISA": options.isa} if options.isa else {}
    workers = [turns.Worker("gemmule", [program, "--bench", "--worker"], isa, {core})]
    for name in LIBRARIES:
        if python := getattr(options, name):
            command = [turns.python_of(python), os.path.abspath(__file__), "--worker", name]
            workers.append(turns.Worker(name, command, turns.threads_environment(1), {core}))
    workloads = [name for name in WORKLOADS if options.filter in name]
    record.write(turns.head("Elementwise functions beside other libraries, f32, 1 thread", f"core {core}", options.rounds, workers))
    record.write(
        "Nanoseconds per element, medians of the rounds; ratio: the fastest peer's time by gemmule's, the median over the rounds, "
        "its lowest and highest.\n\n")
    record.write(f"| | {' | '.join(worker.name for worker in workers)} | ratio |\n| --- |{' --- |' * (len(workers) + 1)}\n")
    for workload in workloads:
        record.write(measure(options, workers, workload))


if __name__ == "__main__":
    main()
