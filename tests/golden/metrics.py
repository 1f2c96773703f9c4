"""Writes metrics.txt: scikit-learn's metrics, the golden values of tests/metrics.rs.

    python tests/golden/metrics.py > tests/golden/metrics.txt

A case begins with `case KIND TYPE WIDTH NAME`; its targets and scores follow, then a line per figure. Scores are written so that
they read back exactly.
"""

import warnings

import numpy as np
import sklearn
from sklearn import metrics as m

warnings.simplefilter("ignore")
rng = np.random.default_rng(6)


def show(values, dtype=np.float64):
    return " ".join(repr(float(v)) if dtype == np.float64 else f"{float(v):.9g}" for v in np.ravel(values))


def case(kind, dtype, width, name, targets, scores):
    print(f"case {kind} {'f32' if dtype == np.float32 else 'f64'} {width} {name}")
    print("targets", show(targets, dtype) if kind == "values" else " ".join(str(int(t)) for t in np.ravel(targets)))
    print("scores", show(scores, dtype))


def figure(name, value):
    print(name, show(value))


def averages(actual, predicted, **options):
    for average in ("micro", "macro", "weighted"):
        for name, zero in (("", 0), ("_one", 1), ("_nan", np.nan)):
            o = dict(average=average, zero_division=zero, **options)
            figure(f"precision_{average}{name}", m.precision_score(actual, predicted, **o))
            figure(f"recall_{average}{name}", m.recall_score(actual, predicted, **o))
            figure(f"f1_{average}{name}", m.f1_score(actual, predicted, **o))
            figure(f"f2_{average}{name}", m.fbeta_score(actual, predicted, beta=2, **o))
            figure(f"f0.5_{average}{name}", m.fbeta_score(actual, predicted, beta=0.5, **o))


def agreement(actual, predicted):
    figure("accuracy", m.accuracy_score(actual, predicted))
    figure("balanced_accuracy", m.balanced_accuracy_score(actual, predicted))
    figure("cohen_kappa", m.cohen_kappa_score(actual, predicted))
    figure("matthews_corrcoef", m.matthews_corrcoef(actual, predicted))


def of_classes(name, actual, scores, dtype=np.float64):
    scores = np.asarray(scores, dtype)
    width = scores.shape[1]
    labels = list(range(width))
    case("classes", dtype, width, name, actual, scores)
    predicted = scores.argmax(1)
    agreement(actual, predicted)
    averages(actual, predicted)
    for weights in ("linear", "quadratic"):
        figure(f"kappa_{weights}", m.cohen_kappa_score(actual, predicted, weights=weights, labels=labels))
    figure("precision_1", m.precision_score(actual, predicted, labels=labels, average=None, zero_division=0)[1])
    for by in ("true", "pred", "all"):
        figure(f"confusion_{by}", m.confusion_matrix(actual, predicted, labels=labels, normalize=by))
    if width > 2:
        for k in (1, 2, width):
            figure(f"top_{k}_accuracy", m.top_k_accuracy_score(actual, scores, k=k, labels=labels))
        for average in ("micro", "macro", "weighted"):
            suffix = "" if average == "macro" else f"_{average}"
            auc = m.roc_auc_score(actual, scores, multi_class="ovr", average=average, labels=labels)
            figure(f"roc_auc{suffix}", auc)
            # With all columns, as if every class occurred.
            hot = np.eye(width, dtype=int)[actual]
            figure(f"average_precision{suffix}", m.average_precision_score(hot, scores, average=average))
    elif len(set(actual)) == 2:
        figure("roc_auc", m.roc_auc_score(actual, scores[:, 1]))
    figure("log_loss", m.log_loss(actual, scores, labels=labels))
    figure("brier_score", m.brier_score_loss(actual, scores, labels=labels))
    report = m.classification_report(actual, predicted, labels=labels)
    # Where a class occurs nowhere scikit-learn calls this row so.
    print("report", report.replace("\n", "|"))


def of_binary(name, actual, scores, dtype=np.float64):
    scores = np.asarray(scores, dtype)
    case("binary", dtype, 1, name, actual, scores)
    predicted = (scores > 0.5).astype(int)
    agreement(actual, predicted)
    averages(actual, predicted)
    for score, short in ((m.precision_score, "precision"), (m.recall_score, "recall"), (m.f1_score, "f1")):
        figure(short, score(actual, predicted, zero_division=0))
    figure("roc_auc", m.roc_auc_score(actual, scores))
    figure("average_precision", m.average_precision_score(actual, scores))
    figure("log_loss", m.log_loss(actual, scores, labels=[0, 1]))
    figure("brier_score", m.brier_score_loss(actual, scores, pos_label=1))
    roc, curve = m.roc_curve(actual, scores, pos_label=1), m.precision_recall_curve(actual, scores, pos_label=1)
    for name, values in zip(("roc_false", "roc_true", "roc_thresholds"), roc):
        figure(name, values)
    for name, values in zip(("curve_precision", "curve_recall", "curve_thresholds"), curve):
        figure(name, values)


def of_labels(name, actual, scores):
    case("labels", np.float64, scores.shape[1], name, actual, scores)
    predicted = (scores > 0.5).astype(int)
    figure("accuracy", m.accuracy_score(actual, predicted))
    averages(actual, predicted)
    for average in ("micro", "macro", "weighted"):
        suffix = "" if average == "macro" else f"_{average}"
        figure(f"roc_auc{suffix}", m.roc_auc_score(actual, scores, average=average))
        figure(f"average_precision{suffix}", m.average_precision_score(actual, scores, average=average))
    columns = range(scores.shape[1])
    figure("log_loss", np.mean([m.log_loss(actual[:, c], scores[:, c], labels=[0, 1]) for c in columns]))
    figure("brier_score", np.mean([m.brier_score_loss(actual[:, c], scores[:, c], pos_label=1) for c in columns]))


def of_values(name, actual, predicted, dtype=np.float64):
    actual, predicted = np.asarray(actual, dtype), np.asarray(predicted, dtype)
    width = 1 if actual.ndim == 1 else actual.shape[1]
    case("values", dtype, width, name, actual, predicted)
    # scikit-learn would sum in float32.
    actual, predicted = actual.astype(np.float64), predicted.astype(np.float64)
    figure("mean_squared_error", m.mean_squared_error(actual, predicted))
    figure("root_mean_squared_error", m.root_mean_squared_error(actual, predicted))
    figure("mean_absolute_error", m.mean_absolute_error(actual, predicted))
    figure("mean_absolute_percentage_error", m.mean_absolute_percentage_error(actual, predicted))
    figure("r2", m.r2_score(actual, predicted))
    figure("explained_variance", m.explained_variance_score(actual, predicted))
    if width == 1:
        figure("max_error", m.max_error(actual, predicted))


def probabilities(rows, width, dtype=np.float64):
    p = rng.dirichlet(np.ones(width), rows).astype(dtype)
    return p / p.sum(1, keepdims=True, dtype=dtype)


def eighths(rows, width):
    """Rows of multiples of 1/8 that add up to 1: many ties."""
    return rng.multinomial(8, np.ones(width) / width, rows) / 8


print(f"# scikit-learn {sklearn.__version__}, NumPy {np.__version__}")
actual = rng.integers(0, 4, 60)
of_classes("random", actual, probabilities(60, 4))
of_classes("single", rng.integers(0, 4, 40), probabilities(40, 4, np.float32), np.float32)
mixed = 0.4 * probabilities(60, 4) + 0.6 * np.eye(4)[actual]
of_classes("good", actual, mixed)
of_classes("ties", rng.integers(0, 3, 50), eighths(50, 3))
of_classes("skewed", (rng.random(50) < 0.06).astype(int) * 2, probabilities(50, 3))
never = probabilities(30, 4)
never[:, 3] = 0
of_classes("never_predicted", rng.integers(0, 4, 30), never / never.sum(1, keepdims=True))
of_classes("absent_from_targets", rng.integers(0, 2, 30) * 2, probabilities(30, 3))
of_classes("absent_from_both", rng.integers(0, 2, 30), never[:, [0, 1, 3, 2]] / never.sum(1, keepdims=True))
of_classes("one_class", np.full(20, 1), 0.3 * probabilities(20, 3) + 0.7 * np.eye(3)[np.full(20, 1)])
of_classes("certain", np.array([0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 1]])
of_classes("two", rng.integers(0, 2, 30), probabilities(30, 2))

labels = rng.integers(0, 2, 60)
of_binary("random", labels, rng.random(60))
of_binary("single", labels, rng.random(60).astype(np.float32), np.float32)
of_binary("good", labels, 0.3 * rng.random(60) + 0.6 * labels)
of_binary("ties", labels, rng.integers(0, 5, 60) / 4)
of_binary("constant", labels, np.full(60, 0.5))
of_binary("perfect", labels, labels * 1.0)
of_binary("inverse", labels, 1.0 - labels)
of_binary("all_zero", np.zeros(12, int), rng.random(12))
of_binary("all_one", np.ones(12, int), rng.random(12))
of_binary("one_sample", np.array([1]), np.array([0.25]))

of_labels("random", rng.integers(0, 2, (40, 3)), rng.random((40, 3)))
some = rng.integers(0, 2, (30, 4))
some[:, 2] = 0
of_labels("never", some, rng.integers(0, 7, (30, 4)) / 6)

noise = rng.normal(size=50)
of_values("random", noise, noise + 0.3 * rng.normal(size=50))
of_values("single", noise, noise + 0.3 * rng.normal(size=50), np.float32)
of_values("several", rng.normal(size=(20, 3)), rng.normal(size=(20, 3)))
of_values("far", 1e6 + noise, 1e6 + 0.5 + noise + 0.1 * rng.normal(size=50))
of_values("constant", np.full(10, 0.1), rng.normal(size=10))
of_values("constant_right", np.full(10, 0.1), np.full(10, 0.1))
of_values("one_sample", [2.0], [1.5])
of_values("zeros", np.where(noise > 0, noise, 0.0), 0.001 * noise)
