//! Metrics of the order of probabilities: ROC, precision and recall at every threshold, and the areas below.

use super::Metric;
use super::predictions::{Predictions, Targets};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;

/// How many are at or above a score, of each kind.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Above {
    threshold: f64,
    negative: u64,
    positive: u64,
}

/// The counts at each score that occurs, the highest first.
fn thresholds(samples: impl Iterator<Item = (f64, bool)>) -> Vec<Above> {
    let mut samples: Vec<_> = samples.collect();
    samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let mut all: Vec<Above> = Vec::new();
    for (threshold, is_positive) in samples {
        let mut above = all.last().copied().unwrap_or(Above { threshold, negative: 0, positive: 0 });
        above.negative += u64::from(!is_positive);
        above.positive += u64::from(is_positive);
        // 0 and -0 are one score.
        match all.last_mut().filter(|last| last.threshold == threshold) {
            Some(last) => *last = Above { threshold: last.threshold, ..above },
            None => all.push(Above { threshold, ..above }),
        }
    }
    all
}

/// The share of pairs of a positive and a negative sample in which the positive one has the higher score, ties counting a half:
/// in integers, and one division. NaN if there is one class alone.
fn roc_auc(samples: impl Iterator<Item = (f64, bool)>) -> f64 {
    let all = thresholds(samples);
    let Some(last) = all.last() else { return f64::NAN };
    let pairs = u128::from(last.positive) * u128::from(last.negative);
    let (mut halves, mut before) = (0_u128, Above { threshold: 0.0, negative: 0, positive: 0 });
    for above in &all {
        halves += u128::from(above.negative - before.negative)
            * (u128::from(above.positive) + u128::from(before.positive));
        before = *above;
    }
    if pairs == 0 { f64::NAN } else { halves as f64 / (2.0 * pairs as f64) }
}

/// The sum over thresholds of precision times the growth of recall. 0 if no sample is positive.
fn average_precision(samples: impl Iterator<Item = (f64, bool)>) -> f64 {
    let all = thresholds(samples);
    let Some(last) = all.last() else { return f64::NAN };
    let (mut sum, mut before) = (0.0, 0);
    for above in &all {
        let precision = above.positive as f64 / (above.positive as f64 + above.negative as f64);
        sum += (above.positive - before) as f64 * precision;
        before = above.positive;
    }
    if last.positive == 0 { 0.0 } else { sum / last.positive as f64 }
}

/// Scores and labels of one yes or no, for functions.
fn binary<'a, T: Element>(
    operation: &'static str,
    actual: &'a [u32],
    scores: &'a [T],
) -> Result<impl Iterator<Item = (f64, bool)> + 'a> {
    Predictions::new(scores, 1, Targets::Classes(actual))?;
    if actual.is_empty() {
        return Err(Error::data(operation, "samples", "at least one", 0));
    }
    Ok(scores.iter().map(|&x| x.to_f64()).zip(actual.iter().map(|&class| class == 1)))
}

pub(super) fn binary_roc_auc<T: Element>(actual: &[u32], scores: &[T]) -> Result<f64> {
    binary("roc_auc_score", actual, scores).map(roc_auc)
}

pub(super) fn binary_average_precision<T: Element>(actual: &[u32], scores: &[T]) -> Result<f64> {
    binary("average_precision_score", actual, scores).map(average_precision)
}

/// A receiver operating characteristic: the points of its plot, from (0, 0) to (1, 1).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RocCurve {
    /// Of the samples of class 0, the share at or above each threshold; NaN if there are none.
    pub false_positive_rate: Vec<f64>,
    /// Of the samples of class 1, the share at or above each threshold; NaN if there are none.
    pub true_positive_rate: Vec<f64>,
    /// The thresholds, falling; the first is infinite.
    pub thresholds: Vec<f64>,
}

/// The ROC curve of scores for class 1, as scikit-learn's `roc_curve`: points between others on a straight line are left out.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length; [`Error::Data`] if they are empty, a class is neither 0 nor 1, or a
/// score is NaN or infinite.
///
/// ```
/// use gemmule::train::metrics::roc_curve;
/// let curve = roc_curve(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(curve.false_positive_rate, [0.0, 0.0, 0.5, 0.5, 1.0]);
/// assert_eq!(curve.true_positive_rate, [0.0, 0.5, 0.5, 1.0, 1.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn roc_curve<T: Element>(actual: &[u32], scores: &[T]) -> Result<RocCurve> {
    let all = thresholds(binary("roc_curve", actual, scores)?);
    let last = all[all.len() - 1];
    // A corner: the step to here is another one than the step from here.
    let is_corner = |window: &[Above]| {
        let steps = |count: fn(&Above) -> u64| {
            count(&window[1]) - count(&window[0]) != count(&window[2]) - count(&window[1])
        };
        steps(|above| above.negative) || steps(|above| above.positive)
    };
    let start = Above { threshold: f64::INFINITY, negative: 0, positive: 0 };
    let inner = all.windows(3).filter(|window| is_corner(window)).map(|window| window[1]);
    let ends = if all.len() > 1 { 1 } else { 0 };
    let points: Vec<Above> =
        [start].into_iter().chain(all[..ends].iter().copied()).chain(inner).chain([last]).collect();
    let rate = |count: fn(&Above) -> u64| {
        points.iter().map(|above| count(above) as f64 / count(&last) as f64).collect()
    };
    Ok(RocCurve {
        false_positive_rate: rate(|above| above.negative),
        true_positive_rate: rate(|above| above.positive),
        thresholds: points.iter().map(|above| above.threshold).collect(),
    })
}

impl RocCurve {
    /// The area below it, by trapezoids: but for rounding what [`roc_auc_score`](super::roc_auc_score) gives.
    pub fn area(&self) -> f64 {
        let (x, y) = (&self.false_positive_rate, &self.true_positive_rate);
        x.windows(2).zip(y.windows(2)).map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
    }
}

/// Precision and recall at every threshold.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PrecisionRecallCurve {
    /// Of the samples at or above each threshold, the share of class 1; the last is 1.
    pub precision: Vec<f64>,
    /// Of the samples of class 1, the share at or above each threshold, falling; the last is 0. 1 where there are none.
    pub recall: Vec<f64>,
    /// The thresholds, rising: one fewer than points.
    pub thresholds: Vec<f64>,
}

/// Precision and recall of scores for class 1, as scikit-learn's `precision_recall_curve`.
///
/// # Errors
/// As [`roc_curve`].
///
/// ```
/// use gemmule::train::metrics::precision_recall_curve;
/// let curve = precision_recall_curve(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(curve.recall, [1.0, 1.0, 0.5, 0.5, 0.0]);
/// assert_eq!(curve.thresholds, [0.1, 0.35, 0.4, 0.8]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn precision_recall_curve<T: Element>(actual: &[u32], scores: &[T]) -> Result<PrecisionRecallCurve> {
    let all = thresholds(binary("precision_recall_curve", actual, scores)?);
    let positive = all.last().map_or(0, |last| last.positive);
    let rising = || all.iter().rev();
    let precision = |above: &Above| above.positive as f64 / (above.positive + above.negative) as f64;
    let recall = |above: &Above| if positive == 0 { 1.0 } else { above.positive as f64 / positive as f64 };
    Ok(PrecisionRecallCurve {
        precision: rising().map(precision).chain([1.0]).collect(),
        recall: rising().map(recall).chain([0.0]).collect(),
        thresholds: rising().map(|above| above.threshold).collect(),
    })
}

/// How the figures of classes, each against the rest, or of labels become one. Two classes have one figure, that of class 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RankAverage {
    /// That of all scores together.
    Micro,
    /// The mean over all classes: NaN if that of one is.
    #[default]
    Macro,
    /// The mean weighted by how often each is a target.
    Weighted,
}

/// ROC AUC or average precision: of probabilities, as scikit-learn takes them from `predict_proba`.
///
/// Keeps the probabilities of all samples (8 bytes each) until [`reset`](Metric::reset); the value sorts them. It depends
/// neither on batches nor on the order of the samples.
#[derive(Clone, Debug)]
pub struct RankMetric {
    of: Area,
    average: RankAverage,
    /// A row per sample; of two classes the second alone.
    scores: Vec<f64>,
    /// As the scores: whether the class or label holds.
    holds: Vec<bool>,
    width: usize,
    classes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Area {
    Roc,
    AveragePrecision,
}

impl RankMetric {
    fn new(of: Area, average: RankAverage) -> Self {
        Self { of, average, scores: Vec::new(), holds: Vec::new(), width: 0, classes: 0 }
    }

    /// The area below the ROC curve: how likely a sample of the class has a higher probability than one of another, ties counting
    /// a half. NaN if the samples are of one class alone.
    pub fn roc_auc(average: RankAverage) -> Self {
        Self::new(Area::Roc, average)
    }

    /// The sum over thresholds of precision times the growth of recall, without interpolation. 0 for a class without samples.
    pub fn average_precision(average: RankAverage) -> Self {
        Self::new(Area::AveragePrecision, average)
    }

    fn column(&self, column: usize) -> impl Iterator<Item = (f64, bool)> + '_ {
        let each = move |row: usize| row * self.width + column;
        (0..self.scores.len() / self.width.max(1))
            .map(move |row| (self.scores[each(row)], self.holds[each(row)]))
    }

    fn of(&self, samples: impl Iterator<Item = (f64, bool)>) -> f64 {
        match self.of {
            Area::Roc => roc_auc(samples),
            Area::AveragePrecision => average_precision(samples),
        }
    }
}

impl<T: Element> Metric<T> for RankMetric {
    fn name(&self) -> String {
        let of = if self.of == Area::Roc { "roc_auc" } else { "average_precision" };
        match self.average {
            RankAverage::Macro => of.to_owned(),
            RankAverage::Micro => format!("{of}_micro"),
            RankAverage::Weighted => format!("{of}_weighted"),
        }
    }

    fn reset(&mut self) {
        self.scores.clear();
        self.holds.clear();
        self.width = 0;
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        let (single, classes) = (batch.is_single_label(), batch.classes());
        let width = if single && classes == 2 { 1 } else { classes };
        if self.width == 0 {
            (self.width, self.classes) = (width, classes);
        }
        if (self.width, self.classes) != (width, classes) {
            let expected = format!("{} classes", self.classes);
            return Err(Error::data("RankMetric", "batch", expected, format_args!("{classes} classes")));
        }
        let more = batch.rows().saturating_mul(width);
        let lacks = |_| Error::OutOfMemory { what: "scores", bytes: more.saturating_mul(9) };
        self.scores.try_reserve(more).map_err(lacks)?;
        self.holds.try_reserve(more).map_err(lacks)?;
        for (row, p) in batch.probabilities()?.chunks_exact(batch.width()).enumerate() {
            // Of two classes the last column alone.
            self.scores.extend(p[p.len() - width..].iter().map(|&p| p.to_f64()));
            if single {
                let class = batch.class(row);
                let first = classes - width;
                self.holds.extend((first..classes).map(|other| other == class));
            } else {
                self.holds.extend((0..width).map(|label| batch.has_label(row, label)));
            }
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        if self.scores.is_empty() {
            return f64::NAN;
        }
        if self.width == 1 {
            return self.of(self.column(0));
        }
        if self.average == RankAverage::Micro {
            return self.of(self.scores.iter().copied().zip(self.holds.iter().copied()));
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for column in 0..self.width {
            let weight = match self.average {
                RankAverage::Weighted => self.column(column).filter(|&(_, holds)| holds).count() as f64,
                _ => 1.0,
            };
            // That of a class which no target has may be NaN.
            if weight > 0.0 {
                sum += weight * self.of(self.column(column));
                weights += weight;
            }
        }
        if weights == 0.0 { 0.0 } else { sum / weights }
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_values("scores", &self.scores);
        // 64 of them in an integer.
        let bits = |holds: &[bool]| holds.iter().rev().fold(0, |bits, &it| bits << 1 | u64::from(it));
        state.set_integers("holds", self.holds.chunks(64).map(bits).collect());
        state.set_integer("width", self.width as u64);
        state.set_integer("classes", self.classes as u64);
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let (scores, bits) = (state.values::<f64>("scores")?, state.integers("holds")?);
        let (width, classes) = (state.integer("width")? as usize, state.integer("classes")? as usize);
        let whole = scores.is_empty() || width > 0 && scores.len().is_multiple_of(width);
        if !whole || bits.len() != scores.len().div_ceil(64) {
            let expected = format!("as many as {width} classes have");
            return Err(Error::data("metric", "scores", expected, scores.len()));
        }
        self.holds = (0..scores.len()).map(|at| bits[at / 64] >> (at % 64) & 1 == 1).collect();
        (self.scores, self.width, self.classes) = (scores.to_vec(), width, classes);
        Ok(())
    }
}
