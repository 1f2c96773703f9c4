"""What elementwise.py and train.py share: a process per library, all stopped but the one that is asked, and a record's head."""

import atexit
import ctypes
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def threads_environment(threads):
    """So many threads, no accelerator, for every library that reads it from its environment."""
    count = str(threads)
    variables = {name: count for name in (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC",
    )}
    variables |= {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return variables


class Worker:
    """A process that stands still but while it is asked."""

    def __init__(self, name, command, environment, cores):
        def before():
            # It ends with its parent.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            os.sched_setaffinity(0, cores)

        self.name = name
        # With these OpenBLAS would take the kernels of another CPU.
        unwanted = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        inherited = {key: value for key, value in os.environ.items() if key not in unwanted}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**inherited, **environment},
            preexec_fn=before, cwd=ROOT,
        )
        atexit.register(self.process.kill)
        self.version = self.reply("ready")[1]
        self.process.send_signal(signal.SIGSTOP)

    def reply(self, *words):
        """The first word of the answer and the rest."""
        line = self.process.stdout.readline().strip()
        word, _, rest = line.partition(" ")
        if word not in words:
            sys.exit(f"error: {self.name}: {line or 'its process ended'}")
        return word, rest

    def ask(self, order, *words):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        answer = self.reply(*words)
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def begin(self, workload):
        """Numbers of its answer, None if it has no such function."""
        word, rest = self.ask(f"begin {workload}", "answer", "lacks")
        return None if word == "lacks" else [float(x) for x in rest.split()]


def python_of(path):
    """A path like .venv/bin/python is often a link: it is not followed, the environment hangs on it."""
    return os.path.abspath(path) if os.sep in path else path


def build(target, *command):
    """The program that `cargo ...` builds for a target."""
    command = ["cargo", *command, "--message-format=json"]
    text = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    programs = [m["executable"] for m in messages
                if m.get("reason") == "compiler-artifact" and m["target"]["name"] == target and m.get("executable")]
    return programs[-1]


def output(*command):
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def last_cores(count):
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        sys.exit(f"error: {count} threads, but only {len(cores)} cores")
    return set(cores[-count:])


def head(title, cores, rounds, workers):
    """A section's first lines: machine, date, revision, libraries, arguments."""
    with open("/proc/cpuinfo") as file:
        info = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
    changes = output("git", "status", "--porcelain", "--", ":/", ":(top,exclude)benches/records")
    revision = output("git", "rev-parse", "--short", "HEAD") + (", with changes" if changes else "")
    # Of paths the last part only.
    arguments = " ".join(os.path.basename(argument) for argument in sys.argv[1:])
    versions = dict.fromkeys(worker.version for worker in workers)
    return (
        f"## {title}\n\n"
        f"Machine: {info['model name']} (family {info['cpu family']}, model {info['model']}), {os.cpu_count()} processor(s); "
        f"{cores}; {platform.system()}.\n"
        f"Date: {time.strftime('%Y-%m-%d', time.gmtime())}. Revision: {revision}. Rounds: {rounds}.\n"
        f"Libraries: {'; '.join(versions)}.\n"
        f"Arguments: `{arguments}`\n\n"
    )


def ratio(ours, theirs, name):
    """A cell: the median of the rounds' ratios, its lowest and highest, and whose times the second are."""
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    return f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f}, {name})"


class Record:
    """Prints text and appends it to a file, if there is one."""

    def __init__(self, path):
        self.file = open(path, "a") if path else None

    def write(self, text):
        print(text, end="", flush=True)
        if self.file:
            self.file.write(text)
            self.file.flush()
