#!/usr/bin/env python3
"""Training, inference and a tiny net beside PyTorch, JAX, TensorFlow, scikit-learn, onnxruntime and burn, in one sitting.

    benches/peers/train.py --torch PYTHON --py PYTHON [--burn] [--record FILE]

PYTHON is an interpreter (a virtual environment's bin/python): `--torch` one that has torch and numpy, `--py` one that has jax,
tensorflow-cpu, scikit-learn, onnxruntime, onnx and numpy; what is not there is left out, and said. `--burn` builds and takes
benches/peers/burn. The crate's side is the example `throughput`, built by this script. Needs Linux and Python 3.10.

What is measured, float32 throughout:

- Training: Adam(1e-3), softmax cross-entropy from integer labels, dense features. 20,480 samples are in memory; batches are gathered
  from them in an order of their own for every pass, and the gather counts. The last nets' passes are of 2,048 samples. Samples per
  second, and the products' multiply-adds by the peak of them that was measured in the same round.
- Inference: a call on a batch that is there, as the library's own array, until its outputs are. Microseconds per call.
- The tiny net: 10-16-1, batch 1, SGD, mean squared error, one thread. Microseconds per step.

How it is counted:

- One process per library and number of threads. It is stopped (SIGSTOP) while another is asked: threads that keep spinning after a
  call would take a core. One thread is pinned to the last core and counts the process's processor time; two have the last two cores
  and count the wall clock.
- First the answers: data and first weights are the same numbers everywhere, so the losses of the first steps, or the outputs, must
  agree with the crate's; later losses must be finite and below the highest of them. scikit-learn draws its own weights: its loss must fall.
- A turn warms up and then times about `--seconds` (a third of it where nothing is learnt), but at least one pass. A round gives every
  process a turn; each round begins with another one. Shown are medians over the rounds.
- Ratios: the best peer's time by gemmule's. With one thread that is the best peer with one thread, with two threads the best with
  one or two. The median over the rounds, its lowest and highest.
- Each library at its best: PyTorch's fused optimisers and inference mode; JAX's steps follow each other without being waited for,
  and in `jax-scan` are one compiled function per pass; TensorFlow compiled by XLA; scikit-learn's `partial_fit`; onnxruntime with bound arrays.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys

import turns

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTHS = {"mlp64": [784, 64, 64, 10], "mlp512": [784, 512, 512, 10], "mlp4096": [784, 4096, 4096, 4096, 10]}
TRAINING = {"mlp64_b32": "mlp64", "mlp64_b128": "mlp64", "mlp512_b128": "mlp512", "mlp4096_b512": "mlp4096"}
PREDICT = [f"predict:{net}:{batch}" for net in WIDTHS for batch in (1, 32, 512)]
# Name of a library: the option with its interpreter.
PEERS = {"torch": "torch", "jax": "py", "jax-scan": "py", "tf": "py", "sklearn": "py", "onnxruntime": "py"}
# What has to be importable.
MODULES = {
    "torch": "torch", "jax": "jax", "jax-scan": "jax", "tf": "tensorflow", "sklearn": "sklearn", "onnxruntime": "onnxruntime, onnx",
}
EXPLAINED = (
    "Medians of the rounds. Ratio: the best peer's time by gemmule's, the median over the rounds, its lowest and highest, and "
    "the peer with its threads; the best of all numbers of threads up to the row's.")


def operations(widths):
    """Of the products of a training step, per sample: forward, weights' gradients, inputs' gradients but the first."""
    return sum((4 if i == 0 else 6) * a * b for i, (a, b) in enumerate(zip(widths, widths[1:])))


class Section:
    """A table: which workloads and libraries, on how many of the asked numbers of threads, how seconds per sample are shown."""

    def __init__(self, title, workloads, libraries, show, threads=lambda asked: asked, operations=None):
        self.title, self.workloads, self.libraries = title, workloads, libraries
        self.show, self.threads, self.operations = show, threads, operations


SECTIONS = [
    Section("Training, samples per second", TRAINING, ["torch", "jax", "jax-scan", "tf", "sklearn"],
            lambda workload, seconds: f"{1 / seconds:,.0f}", operations=lambda workload: operations(WIDTHS[TRAINING[workload]])),
    Section("Inference, microseconds per call", PREDICT, ["torch", "jax", "tf", "onnxruntime"],
            lambda workload, seconds: f"{seconds * 1e6 * int(workload.rsplit(':', 1)[1]):,.1f}"),
    Section("10-16-1, batch 1, microseconds per step", ["tiny"], ["torch", "jax", "burn"],
            lambda workload, seconds: f"{seconds * 1e6:.2f}", threads=lambda asked: [count for count in asked if count == 1]),
]


class Results:
    """Seconds per sample of every round, by (name, threads); peaks by threads."""

    def __init__(self):
        self.times, self.peaks = {}, {}

    def median(self, side):
        return statistics.median(self.times[side])

    def ratio(self, threads):
        """A cell: by the best peer with at most so many threads."""
        peers = [side for side in self.times if side[0] != "gemmule" and side[1] <= threads]
        if not peers:
            return "-"
        best = min(peers, key=self.median)
        return turns.ratio(self.times["gemmule", threads], self.times[best], f"{best[0]}, {best[1]}")

    def share(self, threads, operations):
        pairs = zip(self.times["gemmule", threads], self.peaks[threads])
        shares = [operations / seconds / peak for seconds, peak in pairs if peak > 0]
        return f"{100 * statistics.median(shares):.0f} %" if shares else "-"


def check(workload, name, answer, ours):
    """Ends the run if a library does not do the same work."""
    if not all(map(math.isfinite, answer)):
        sys.exit(f"error: {workload}: {name} gives {answer}")
    if name == "sklearn":
        wrong = answer[-1] >= answer[0]
    elif workload.startswith("predict"):
        wrong = any(abs(a - b) > 1e-3 * max(map(abs, ours)) for a, b in zip(answer, ours))
    else:
        # Seen: 1e-6, and 7e-4 in the widest net, whose loss the first steps throw up to 20 times as high (TensorFlow adds epsilon
        # elsewhere). 1e-4 is less than what a beta2 of 0.99 changes.
        bound = 5e-3 if "4096" in workload else 1e-4
        wrong = any(abs(a - b) > bound * abs(b) + 1e-5 for a, b in zip(answer, ours))
    if wrong or name != "sklearn" and len(answer) != len(ours):
        sys.exit(f"error: {workload}: {name} gives {answer}, not {ours}")


def measure(options, workers, workload, trains, check=check):
    """`trains`: turns are whole ones, and the peak is measured. Libraries that lack the workload are not in the results."""
    seconds = options.seconds if trains else options.seconds / 3
    highest, ours = {}, None
    for side, worker in workers.items():
        answer = worker.begin(f"{workload} {seconds}")
        if answer is None:
            continue
        ours = ours or answer
        check(workload, side[0], answer, ours)
        highest[side] = max(answer)
    results, sides = Results(), list(highest)
    for number in range(options.rounds):
        for side in sides:
            if side[0] == "gemmule" and trains:
                _, peak = workers[side].ask("peak", "peak")
                results.peaks.setdefault(side[1], []).append(float(peak))
        for turn in range(len(sides)):
            side = sides[(number + turn) % len(sides)]
            _, took = workers[side].ask("time", "took")
            took, *loss = map(float, took.split())
            if loss and not loss[0] < highest[side]:
                sys.exit(f"error: {workload}: the loss of {side[0]} is {loss[0]}, and was at most {highest[side]}")
            results.times.setdefault(side, []).append(took)
    return results


def table(record, options, workers, section, workloads, check=check):
    threads = section.threads(options.threads)
    workloads = [workload for workload in section.workloads if workload in workloads]
    if not (workloads and threads):
        return
    libraries = [name for name in section.libraries if any(name == side[0] for side in workers)]
    share = ["share of the peak"] if section.operations else []
    heads = ["workload", "threads", "gemmule", *libraries, "ratio", *share]
    record.write(f"### {section.title}\n\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n")
    for workload in workloads:
        sides = {side: worker for side, worker in workers.items() if side[0] in ["gemmule", *libraries] and side[1] in threads}
        results = measure(options, sides, workload, section.operations is not None, check)
        for count in threads:
            sides = [(name, count) for name in ["gemmule", *libraries]]
            shown = [section.show(workload, results.median(side)) if side in results.times else "-" for side in sides]
            share = [results.share(count, section.operations(workload))] if section.operations else []
            record.write(f"| {' | '.join([workload, str(count), *shown, results.ratio(count), *share])} |\n")
    record.write("\n")


def start(options, peers=PEERS, modules=MODULES, script="train_libraries.py"):
    """The processes, gemmule's first, by (name, threads). `script` serves the `peers`."""
    workers = {}
    program = turns.build("throughput", "build", "--release", "--example", "throughput")
    burn = getattr(options, "burn", False) and turns.build(
        "gemmule-peer-burn", "build", "--release", "--manifest-path", os.path.join(HERE, "burn", "Cargo.toml"))
    for count in options.threads:
        cores, environment = turns.last_cores(count), turns.threads_environment(count)
        workers["gemmule", count] = turns.Worker("gemmule", [program, "--worker", str(count)], {}, cores)
        for name, option in peers.items():
            python = getattr(options, option)
            if not python or name in options.without.split(","):
                continue
            python = turns.python_of(python)
            probe = subprocess.run([python, "-c", f"import {modules[name]}"], env={**os.environ, **environment},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if probe.returncode != 0:
                print(f"left out: {name}: {options.torch if option == 'torch' else options.py} cannot import {modules[name]}")
                continue
            command = [python, os.path.join(HERE, script), name, str(count)]
            workers[name, count] = turns.Worker(name, command, environment, cores)
        if burn and count == 1:
            workers["burn", 1] = turns.Worker("burn", [burn], {"RAYON_NUM_THREADS": "1"}, cores)
    return workers


def main():
    parser = argparse.ArgumentParser(
        description="Training, inference and a tiny net beside other libraries, in one sitting.",
        epilog="The file's first lines say what is measured and how.")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--py", metavar="PYTHON", help="one that has jax, tensorflow-cpu, scikit-learn, onnxruntime, onnx")
    parser.add_argument("--burn", action="store_true", help="build and take burn for the tiny net")
    parser.add_argument("--without", default="", metavar="NAME,...", help="libraries to leave out, as the tables call them")
    parser.add_argument("--threads", default="1,2", metavar="N,N", help="numbers of threads (1,2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each process on each workload (7)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a turn of training (0.3)")
    parser.add_argument("--only", default="", metavar="WORD,...", help="only workloads whose name contains a word")
    parser.add_argument("--record", metavar="FILE", help="append a section with machine, versions and tables")
    options = parser.parse_args()
    options.threads = sorted({int(count) for count in options.threads.split(",")})
    words = options.only.split(",")
    chosen = [name for name in [*TRAINING, *PREDICT, "tiny"] if any(word in name for word in words)]
    if not chosen:
        sys.exit(f"error: no such workload: there are {', '.join([*TRAINING, *PREDICT, 'tiny'])}")

    record = turns.Record(options.record)
    workers = start(options)
    cores = "last core; last cores for several threads"
    record.write(turns.head("Training and inference beside other libraries, f32", cores, options.rounds, workers.values()))
    record.write(f"{EXPLAINED}\n\n")
    for section in SECTIONS:
        table(record, options, workers, section, chosen)


if __name__ == "__main__":
    main()
