"""Compares event files with what was written to them, by the package that TensorBoard itself reads them with.

    python ci/tensorboard_events.py FOLDER

FOLDER has the event files and expected.txt: `scalar RUN TAG STEP VALUE` or `histogram RUN TAG STEP VALUE VALUE ..`, one per line.
"""

import sys
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = Path(sys.argv[1])
expected = {}
for line in (folder / "expected.txt").read_text().splitlines():
    kind, run, tag, step, *values = line.split(" ")
    expected.setdefault((kind, run, tag), []).append((int(step), [float(value) for value in values]))

found, compared, buckets = set(), 0, 0
for run in sorted({run for _, run, _ in expected}):
    events = EventAccumulator(str(folder / run), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        key = ("scalar", run, tag)
        found.add(key)
        got = [(event.step, event.value) for event in events.Scalars(tag)]
        # The format holds f32.
        wanted = [(step, float(np.float32(value))) for step, (value,) in expected[key]]
        same = [g[0] == w[0] and (g[1] == w[1] or np.isnan(g[1]) and np.isnan(w[1])) for g, w in zip(got, wanted)]
        assert len(got) == len(wanted) and all(same), f"{key}: {got}, not {wanted}"
        compared += len(got)
    for tag in events.Tags()["histograms"]:
        key = ("histogram", run, tag)
        found.add(key)
        got = events.Histograms(tag)
        assert [event.step for event in got] == [step for step, _ in expected[key]], key
        for event, (step, values) in zip(got, expected[key]):
            histogram = event.histogram_value
            # Written as short as reads back exactly in f32.
            values = np.array(values, np.float32).astype(np.float64)
            limits, counts = np.array(histogram.bucket_limit), np.array(histogram.bucket)
            # A bucket holds what is below its limit and not below the one before.
            wanted = np.bincount(np.searchsorted(limits, values, side="right"), minlength=len(limits))
            assert (counts == wanted).all(), f"{key} at {step}: {counts}, not {wanted}"
            assert counts.sum() == histogram.num == len(values), key
            assert (histogram.min, histogram.max) == (values.min(), values.max()), key
            for name, total in (("sum", values.sum()), ("sum_squares", (values**2).sum())):
                assert abs(getattr(histogram, name) - total) <= 1e-12 * (abs(values).sum() + total), (key, name)
            compared, buckets = compared + 1, buckets + len(limits)

assert found == set(expected), f"missing: {set(expected) - found}, too many: {found - set(expected)}"
print(f"{compared} scalars and histograms, {buckets} buckets, {len(found)} tags: all as written")
