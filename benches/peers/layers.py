#!/usr/bin/env python3
"""Convolutional and recurrent nets and a transformer's block beside PyTorch, JAX and TensorFlow, in one sitting.

    benches/peers/layers.py --torch PYTHON --py PYTHON [--record FILE]

PYTHON, the crate's side and the way of counting are those of train.py: its first lines say them. Training with Adam(1e-3) on the
softmax cross-entropy, float32; batches are gathered from samples in memory, and the gather counts. Images are stored with channels last.

| workload | net |
| --- | --- |
| cnn_b64 | 28 x 28 x 1; convolution 3 x 3, 1-32, ReLU, max pooling 2, convolution 3 x 3, 32-64, ReLU, max pooling 2, dense 1600-128, ReLU, 128-10 |
| lenet_b64 | 28 x 28 x 1; convolution 5 x 5, 1-6, padding 2, ReLU, max pooling 2, convolution 5 x 5, 6-16, ReLU, max pooling 2, dense 400-120, ReLU, 120-84, ReLU, 84-10 |
| resnet8_b64 | 32 x 32 x 3; convolution 3 x 3, 3-16, padding 1, batch norm, ReLU; residual blocks 16-16, 16-32 and 32-64, the latter two with stride 2; average of all positions; dense 64-10. A block: convolution 3 x 3, batch norm, ReLU, convolution 3 x 3, batch norm; plus its input, or where the stride is 2 a convolution 1 x 1 and a batch norm of it; ReLU. No convolution has a bias |
| lstm_b64, gru_b64 | 28 steps of 28 features; hidden 128; the last step's output; dense 128-10 |
| transformer_b32 | 64 positions of 128 features; an encoder block as PyTorch's TransformerEncoderLayer (4 heads, feed-forward 512, ReLU, norms behind the sums, no dropout); dense 8192-10 of all positions |

Libraries: `torch` has images with channels last, `torch-rows` with channels first; `torch-compile` compiles forward and backward; fused
Adam in all. `jax` compiles a step, `jax-scan` a pass. `tf-xla` is `tf` compiled by XLA. Memory: the most that a process had
resident (VmHWM), with one that has only loaded its library beside it.
"""

import argparse
import math
import sys

import train
import turns

PEERS = {"torch": "torch", "torch-rows": "torch", "torch-compile": "torch", "jax": "py", "jax-scan": "py", "tf": "py", "tf-xla": "py"}
MODULES = {name: {"torch": "torch", "jax": "jax", "tf": "tensorflow"}[name.split("-")[0]] for name in PEERS}
# Of a sample, the multiply-adds of every product: of those that read the net's inputs, which have no gradient, and of the others.
ATTENTION = 2 * 64 * 64 * 128
PRODUCTS = {
    "cnn_b64": (26 * 26 * 9 * 32, 11 * 11 * 9 * 32 * 64 + 1600 * 128 + 128 * 10),
    "lenet_b64": (28 * 28 * 25 * 6, 10 * 10 * 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10),
    "resnet8_b64": (
        32 * 32 * 9 * 3 * 16,
        2 * 32 * 32 * 9 * 16 * 16 + 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
        + 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64) + 64 * 10),
    "lstm_b64": (28 * 28 * 4 * 128, 28 * 128 * 4 * 128 + 128 * 10),
    "gru_b64": (28 * 28 * 3 * 128, 28 * 128 * 3 * 128 + 128 * 10),
    "transformer_b32": (64 * 128 * 384, 64 * (128 * 128 + 2 * 128 * 512) + ATTENTION + 8192 * 10),
}


def operations(workload):
    """Of the products of a step, per sample: forward and the gradients by both sides, but not by the net's inputs."""
    first, others = PRODUCTS[workload]
    return 4 * first + 6 * others


SECTION = train.Section(
    "Layers: training, samples per second", list(PRODUCTS), list(PEERS),
    lambda workload, seconds: f"{1 / seconds:,.0f}", operations=operations)


def check(workload, name, answer, ours):
    """Ends the run if a library does not do the same work. Seen: 1.5e-4 (TensorFlow adds epsilon elsewhere, and its LSTM has one bias)."""
    wrong = len(answer) != len(ours) or not all(map(math.isfinite, answer))
    if wrong or any(abs(a - b) > 1e-3 * abs(b) for a, b in zip(answer, ours)):
        sys.exit(f"error: {workload}: {name} gives {answer}, not {ours}")


def highest_resident(process):
    """The most bytes that a process had resident."""
    with open(f"/proc/{process.pid}/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def memory(record, options):
    """Processes of their own, so that nothing ran in them before."""
    record.write("### Memory of cnn_b64, MB resident at most\n\n| library | threads | loaded | trained |\n| --- | --- | --- | --- |\n")
    for (name, count), worker in train.start(options, {"torch": "torch"}, MODULES, "layers_libraries.py").items():
        loaded = highest_resident(worker.process)
        worker.begin(f"cnn_b64 {options.seconds}")
        worker.ask("time", "took")
        record.write(f"| {name} | {count} | {loaded / 1e6:,.0f} | {highest_resident(worker.process) / 1e6:,.0f} |\n")
        worker.process.kill()
    record.write("\n")


def main():
    parser = argparse.ArgumentParser(
        description="Convolutional and recurrent nets and a transformer's block beside other libraries, in one sitting.",
        epilog="The file's first lines say what is measured and how.")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--py", metavar="PYTHON", help="one that has jax and tensorflow-cpu")
    parser.add_argument("--without", default="", metavar="NAME,...", help="libraries to leave out, as the table calls them")
    parser.add_argument("--threads", default="1,2", metavar="N,N", help="numbers of threads (1,2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each process on each workload (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn (0.5)")
    parser.add_argument("--only", default="", metavar="WORD,...", help="only workloads whose name contains a word; `memory` is one")
    parser.add_argument("--record", metavar="FILE", help="append a section with machine, versions and tables")
    options = parser.parse_args()
    options.threads = sorted({int(count) for count in options.threads.split(",")})
    chosen = [name for name in [*PRODUCTS, "memory"] if any(word in name for word in options.only.split(","))]
    if not chosen:
        sys.exit(f"error: no such workload: there are {', '.join(PRODUCTS)}, memory")

    record = turns.Record(options.record)
    workers = train.start(options, PEERS, MODULES, "layers_libraries.py")
    cores = "last core; last cores for several threads"
    record.write(turns.head("Layers beside other libraries, f32", cores, options.rounds, workers.values()))
    record.write(f"{train.EXPLAINED}\n\n")
    train.table(record, options, workers, SECTION, chosen, check)
    for worker in workers.values():
        worker.process.kill()
    if "memory" in chosen:
        memory(record, options)


if __name__ == "__main__":
    main()
