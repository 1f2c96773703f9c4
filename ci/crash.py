"""Kills the run of tests/crash.rs at each system call of a save, and has each of them fail. See crash.sh.

    crash.py PROGRAM FOLDER          with strace
    crash.py --disk PROGRAM FOLDER   FOLDER/disk is a small file system, mounted for this process
"""

import os
import re
import shutil
import subprocess
import sys

# What can come back from each call, and whether the save fails then. A failed close comes after the sync: nothing is lost.
ERRORS = {
    "openat": [("ENOSPC", True), ("EACCES", True), ("EROFS", True), ("EDQUOT", True)],
    "write": [("ENOSPC", True), ("EDQUOT", True), ("EIO", True), ("EINTR", False)],
    "fsync": [("EIO", True), ("ENOSPC", True)],
    "rename": [("EIO", True), ("ENOSPC", True)],
    "renameat": [("EIO", True), ("ENOSPC", True)],
    "renameat2": [("EIO", True), ("ENOSPC", True)],
    "unlink": [("EIO", True), ("EROFS", True)],
    "unlinkat": [("EIO", True), ("EROFS", True)],
    "close": [("EIO", False)],
}

program, work = sys.argv[-2:]


def fail(what, text=""):
    sys.exit(f"crash.py: {what}\n{text}")


def run(folder, *prefix, on_error="stop"):
    """The run: exit code, what it printed."""
    env = dict(os.environ, GEMMULE_CRASH_FOLDER=folder, GEMMULE_CRASH_ON_ERROR=on_error)
    command = [*prefix, program, "--exact", "killed_at_random_moments", "--nocapture", "--test-threads=1"]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def hash_of(text):
    found = re.search(r"hash [0-9a-f]{16} after 200 steps", text)
    return found and found[0]


def ends_alike(folder, expected, steps, what):
    """That a run in this folder begins with a whole checkpoint of one of these steps and ends as the one before."""
    code, text = run(folder)
    begun = re.search(r"from step (\d+), skipped (\d+)", text)
    if code != 0 or not begun or int(begun[1]) not in steps or begun[2] != "0" or hash_of(text) != expected:
        fail(f"{what}: no exact resume from step {steps}", text)


def calls_of(log):
    """The calls of the process that trains, in order: name, its number among those of its name, the line."""
    lines = [line.split(None, 1) for line in open(log) if "(" in line]
    trainer = next(pid for pid, line in lines if '/mark step 1"' in line)
    counts, calls = {}, []
    for pid, line in lines:
        name = line.split("(", 1)[0]
        if pid == trainer and re.fullmatch(r"\w+", name):
            counts[name] = counts.get(name, 0) + 1
            calls.append((name, counts[name], line))
    return calls


def window(calls, begin, end):
    """The calls between two marks, the second one with them: before it the save is over."""
    marks = lambda mark: [i for i, call in enumerate(calls) if f'/mark {mark}"' in call[2]]
    first = marks(begin)[0]
    # The end of an epoch has two saves of one step: its own comes second.
    last = next(i for i in marks(end) if i > first)
    return calls[first + 1 : last + 1]


def with_strace():
    folder, log = os.path.join(work, "run"), os.path.join(work, "trace")
    strace = ["strace", "-f", "-qq", "-s", "300", "-o", log]
    fresh = lambda: shutil.rmtree(folder, ignore_errors=True)
    code, text = run(folder, *strace, "-e", "trace=%file,%desc")
    expected = hash_of(text)
    if code != 0 or not expected:
        fail("the run alone fails", text)
    calls = calls_of(log)
    # The ninth step's save removes the sixth one; the end of an epoch writes the best one, too. (Numbers of calls are a
    # thread's own: the harness' thread makes fewer than nine of each that matters.)
    windows = [(window(calls, "step 9", "saved 9"), {8, 9}), (window(calls, "saved 40", "saved 40"), {40})]
    kills = errors = 0
    for save, steps in windows:
        names = [name for name, _, _ in save]
        print("a save:", " ".join(names), flush=True)
        for needed in ["openat", "write", "fsync", "close"]:
            if needed not in names:
                fail(f"no {needed} among the calls of a save: {names}")
        for name, number, line in save:
            what = f"killed at {name} {number}: {line.strip()}"
            fresh()
            code, text = run(folder, *strace, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}")
            if code not in (-9, 137):
                fail(f"{what}: was not killed, but {code}", text)
            kills += 1
            ends_alike(folder, expected, steps, what)
        for at, (name, number, line) in enumerate(save):
            # The standard library panics where a folder that was read cannot be closed; no system fails there.
            if name == "close" and save[at - 1][0] == "getdents64":
                continue
            for error, fails in ERRORS.get(name, []):
                for on_error in ["stop", "continue"]:
                    what = f"{error} of {name} {number}, {on_error}: {line.strip()}"
                    fresh()
                    trace = "trace=openat,write,fsync,close,/^(rename|unlink)"
                    inject = f"inject={name}:error={error}:when={number}"
                    code, text = run(folder, *strace, "-e", trace, "-e", inject, on_error=on_error)
                    errors += 1
                    lines = list(open(log))
                    injected = [i for i, call in enumerate(lines) if "(INJECTED)" in call]
                    if len(injected) != 1:
                        fail(f"{what}: injected {len(injected)} times", text)
                    told = re.findall(r"(?:failed|error): (.*)", text)
                    if any(folder not in one for one in told) or len(told) != int(fails):
                        fail(f"{what}: told {told}", text)
                    left = [name for name in os.listdir(folder) if name.endswith(".tmp")]
                    if left:
                        fail(f"{what}: {left} is left", text)
                    if name == "fsync":
                        # No second try: what follows is the end of that file.
                        after = lines[injected[0] + 1 : injected[0] + 3]
                        if any("fsync(" in call for call in after):
                            fail(f"{what}: synced again: {after}")
                    if on_error == "continue" or not fails:
                        if code != 0 or hash_of(text) != expected:
                            fail(f"{what}: the run does not go on", text)
                        ends_alike(folder, expected, {200}, what)
                    else:
                        if code == 0 or hash_of(text):
                            fail(f"{what}: the run goes on", text)
                        ends_alike(folder, expected, steps, what)
    print(f"{kills} kills at calls of saves, {errors} failed calls: every checkpoint whole, every resume exact")


def on_a_disk():
    disk = os.path.join(work, "disk")
    if not os.path.ismount(disk):
        fail(f"{disk} is no file system of its own")
    folder = os.path.join(disk, "run")
    remount = lambda options: subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
    _, text = run(os.path.join(work, "whole"))
    expected = hash_of(text)
    for on_error in ["stop", "continue"]:
        code, text = run(folder, on_error=on_error)
        told = re.findall(r"(?:failed|error): (.*)", text)
        if not told or any(folder not in one or "No space left" not in one for one in told):
            fail(f"a full disk: told {told}", text)
        if (code == 0) != (on_error == "continue") or hash_of(text) != (expected if code == 0 else None):
            fail(f"a full disk, {on_error}", text)
        if [name for name in os.listdir(folder) if name.endswith(".tmp")]:
            fail(f"a full disk: something is left: {os.listdir(folder)}")
        print(f"a disk of 24 KiB, {on_error}: {len(told)} saves failed", flush=True)
        if on_error == "stop":
            remount("ro")
            code, text = run(folder)
            if code == 0 or not re.search(f"error: {folder}.*Read-only", text):
                fail("a read-only disk", text)
            remount("rw")
    remount("size=10m")
    ends_alike(folder, expected, range(1, 200), "room again")
    print("a read-only disk: an error; room again: the same weights")


if sys.argv[1] == "--disk":
    on_a_disk()
else:
    with_strace()
