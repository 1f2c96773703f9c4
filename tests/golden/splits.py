"""Writes splits.txt: scikit-learn's folds, class weights and scalers, and what a second implementation draws with a seed: the
golden values of tests/splits/golden.rs.

    python tests/golden/splits.py > tests/golden/splits.txt

A line is a name, the arguments, and numbers in fields separated by " | "; a field of integers or of floats in full precision.
"""

import numpy as np
import sklearn
from sklearn.model_selection import (
    GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit, StratifiedShuffleSplit, train_test_split)
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_class_weight


def line(name, *fields):
    def text(value):
        return repr(float(value)) if isinstance(value, (float, np.floating)) else str(int(value))
    print(" | ".join([name] + [" ".join(text(v) for v in np.ravel(field)) for field in fields]))


def mixed(stream, index):
    """An integer below 2^16."""
    z = (index * 2654435761 + stream * 2246822519 + 374761393) % 2**32
    z = (z ^ (z >> 15)) * 2246822519 % 2**32
    z ^= z >> 13
    return z >> 16


def labels(stream, n, weights):
    """Classes in the proportions `weights`, which sum to 16."""
    deck = np.repeat(np.arange(len(weights)), weights)
    return np.array([deck[mixed(stream, i) % 16] for i in range(n)])


class Rng:
    """A second implementation of the crate's generator (src/rng) and of what is drawn from it."""

    def __init__(self, key, upper=0):
        self.key, self.upper, self.position = key, upper, 0

    @staticmethod
    def philox(lower, upper, key):
        c = [lower % 2**32, lower >> 32, upper % 2**32, upper >> 32]
        k = [key % 2**32, key >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
            k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
        return c

    def stream(self, i):
        a, b, c, d = self.philox(i, self.upper, self.key ^ 0x243F6A8885A308D3)
        return Rng(a | b << 32, c | d << 32)

    def word(self):
        word = self.philox(self.position // 4, self.upper, self.key)[self.position % 4]
        self.position += 1
        return word

    def double(self):
        low = self.word()
        return low | self.word() << 32

    def below(self, n):
        product = self.double() * n
        assert product % 2**64 >= n, "a rejection may be due"
        return product >> 64

    def uniform(self):
        return (self.double() >> 11) * 2.0**-53

    def shuffle(self, items):
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            chosen = self.below(last + 1)
            items[last], items[chosen] = items[chosen], items[last]
        return items


SPLIT, FOLD, SAMPLER, RESAMPLE = 4, 16, 17, 18


def tests_of(folds, k):
    return [[i for i, fold in enumerate(folds) if fold == f] for f in range(k)]


def seeded():
    """What the crate draws with seed 42."""
    seed = Rng(42)
    order = seed.stream(FOLD).shuffle(range(8))
    line("seeded_k_fold", *[sorted(order[a:b]) for a, b in ((0, 3), (3, 6), (6, 8))])

    y = [0, 1, 0, 1, 1, 0, 1, 1]
    folds, dealt = [None] * 8, 0
    for label in (0, 1):
        members = [i for i in range(8) if y[i] == label]
        dealt_to = sorted(card % 2 for card in range(dealt, dealt + len(members)))
        for sample, fold in zip(members, seed.stream(FOLD).stream(label).shuffle(dealt_to)):
            folds[sample] = fold
        dealt += len(members)
    line("seeded_stratified_k_fold", *tests_of(folds, 2))

    # Six and four samples, halved: three and two of them.
    first, second = [seed.stream(SPLIT).stream(label).shuffle(members)
                     for label, members in ((0, range(6)), (1, range(6, 10)))]
    parts = [first[:3] + second[:2], first[3:] + second[2:]]
    line("seeded_stratified", *[seed.stream(SPLIT).stream(2**32 + p).shuffle(part) for p, part in enumerate(parts)])

    groups = [4, 4, 2, 2, 9, 9, 1]
    names = sorted(set(groups))
    order = seed.stream(SPLIT).shuffle(range(4))
    line("seeded_groups", *[[i for i, g in enumerate(groups) if names.index(g) in part] for part in (order[:2], order[2:])])

    weights = [1.0, 2.0, 3.0, 4.0]
    epoch = seed.stream(SAMPLER).stream(3)
    line("seeded_with_replacement", [int(np.searchsorted(np.cumsum(weights), epoch.uniform() * 10.0, side="right")) for _ in range(8)])
    epoch = seed.stream(SAMPLER).stream(3)
    keys = [-np.log(1.0 - epoch.uniform()) / weight for weight in weights]
    line("seeded_without_replacement", np.argsort(keys))

    rng = seed.stream(RESAMPLE).stream(1)
    line("seeded_oversample", list(range(6)) + [(4, 5)[rng.below(2)] for _ in range(2)])
    line("seeded_undersample", seed.stream(RESAMPLE).stream(0).shuffle(range(4))[:2] + [4, 5])


print(f"# scikit-learn {sklearn.__version__}, NumPy {np.__version__}; written by splits.py")

for n, k in [(10, 2), (11, 3), (20, 7), (5, 5), (23, 4)]:
    line("k_fold", [n, k], *[test for _, test in KFold(k).split(np.zeros(n))])

for stream, n, k, weights in [(1, 40, 3, [8, 4, 4]), (2, 61, 5, [2, 6, 8]), (3, 33, 2, [10, 6]), (4, 90, 4, [4, 4, 4, 4])]:
    y = labels(stream, n, weights)
    line("stratified_k_fold", [k], y, *[test for _, test in StratifiedKFold(k).split(y, y)])

for stream, n, k, names in [(5, 30, 3, 7), (6, 50, 4, 23), (7, 24, 2, 2), (8, 40, 5, 40)]:
    groups = np.array([mixed(stream, i) % names for i in range(n)])
    line("group_k_fold", [k], groups, *[test for _, test in GroupKFold(k).split(groups, groups=groups)])

# Arguments: samples, folds, most to train on, to test, gap; 0: not given.
for n, k, most, test, gap in [(12, 5, 0, 0, 0), (20, 3, 4, 0, 0), (20, 3, 0, 2, 0), (25, 4, 0, 3, 2), (25, 4, 5, 3, 4), (7, 6, 0, 0, 0)]:
    split = TimeSeriesSplit(k, max_train_size=most or None, test_size=test or None, gap=gap)
    line("time_series_split", [n, k, most, test, gap], *[part for fold in split.split(np.zeros(n)) for part in fold])

for n, size in [(10, 0.25), (10, 0.3), (9, 0.25), (100, 0.07), (7, 0.5), (150, 0.2)]:
    train, test = train_test_split(np.arange(n), test_size=size, shuffle=False)
    line("ordered_split", [n], [size], train, test)

# How many of each class are tested; no two remainders are equal where it matters, so nothing is drawn.
for counts, size in [((50, 30, 20), 0.2), ((40, 33, 27), 0.2), ((61, 29, 10), 0.3), ((7, 11, 13, 19), 0.3)]:
    y = np.repeat(np.arange(len(counts)), counts)
    tests = {tuple(np.bincount(y[test], minlength=len(counts)))
             for _, test in StratifiedShuffleSplit(50, test_size=size, random_state=0).split(y, y)}
    assert len(tests) == 1, (counts, tests)
    line("stratified_counts", counts, [size], tests.pop())

for stream, n, weights in [(1, 40, [8, 4, 4]), (2, 61, [2, 6, 8]), (9, 1000, [1, 15])]:
    y = labels(stream, n, weights)
    line("class_weights", y, compute_class_weight("balanced", classes=np.arange(len(weights)), y=y))

# Columns: small numbers; large mean, small deviation; constant; nearly constant; bytes.
n = 300
x = np.stack([
    np.array([mixed(10, i) / 65536.0 - 0.5 for i in range(n)]),
    np.array([1e6 + mixed(11, i) / 65536.0 for i in range(n)]),
    np.full(n, 0.1),
    np.array([mixed(12, i) % 3 for i in range(n)], dtype=float),
    np.array([mixed(13, i) % 256 for i in range(n)], dtype=float),
], axis=1)
scaler = StandardScaler().fit(x)
line("standardize", scaler.mean_, scaler.scale_)
line("standardize_rows", scaler.transform(x)[[0, 7, 299]])
for low, high in [(0.0, 1.0), (-1.0, 1.0), (-2.0, 5.0)]:
    scaler = MinMaxScaler((low, high)).fit(x)
    line("min_max", [low, high], scaler.data_min_, scaler.data_max_, scaler.transform(x)[[0, 7, 299]])
scaler = MinMaxScaler(clip=True).fit(x[:20])
line("min_max_clip", scaler.transform(x)[[40, 77, 299]])
encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(x[:, 3:4])
line("one_hot", encoder.categories_[0], encoder.transform(x[[0, 1, 2, 3, 4, 5], 3:4]), encoder.transform([[9.0]]))
seeded()
