//! The metrics on whole slices, as `sklearn.metrics` has them: the targets come first.

use super::Metric;
use super::class::{TopKAccuracy, check_beta};
use super::counts::{Average, Counts, Ratio, ZeroDivision};
use super::predictions::{Predictions, Targets};
use super::probability::ProbabilityMetric;
use super::rank::{RankAverage, RankMetric, binary_average_precision, binary_roc_auc};
use super::regression::RegressionMetric;
use super::report::ClassificationReport;
use crate::error::{Error, Result};
use crate::kernel::Element;

/// The share of samples that are right.
///
/// # Errors
/// Here and below for classes: [`Error::Shape`] if the slices differ in length, [`Error::Data`] if they are empty. Classes may be
/// any numbers; those that occur in neither slice do not count.
///
/// ```
/// use gemmule::train::metrics::accuracy_score;
/// assert_eq!(accuracy_score(&[0, 1, 2, 3], &[0, 2, 1, 3])?, 0.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn accuracy_score(actual: &[u32], predicted: &[u32]) -> Result<f64> {
    Counts::of("accuracy_score", actual, predicted).map(|counts| counts.accuracy())
}

/// The mean recall of the classes that are targets.
///
/// # Errors
/// As [`accuracy_score`].
///
/// ```
/// use gemmule::train::metrics::balanced_accuracy_score;
/// assert_eq!(balanced_accuracy_score(&[0, 1, 0, 0, 1, 0], &[0, 1, 0, 0, 0, 1])?, 0.625);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn balanced_accuracy_score(actual: &[u32], predicted: &[u32]) -> Result<f64> {
    Counts::of("balanced_accuracy_score", actual, predicted).map(|counts| counts.balanced_accuracy())
}

fn ratio(
    operation: &'static str,
    (actual, predicted): (&[u32], &[u32]),
    ratio: Ratio,
    average: Average,
    zero: ZeroDivision,
) -> Result<f64> {
    let counts = Counts::of(operation, actual, predicted)?;
    counts.check(operation, average)?;
    Ok(counts.ratio(ratio, average, zero))
}

/// Of those predicted as a class, the share that are of it; 0 where there are none, as in scikit-learn:
/// [`ClassMetric::zero_division`](super::ClassMetric::zero_division) has the other rules.
///
/// # Errors
/// As [`accuracy_score`]; [`Error::Data`] if an average for two classes meets another class than 0 and 1.
///
/// ```
/// use gemmule::train::metrics::{Average, precision_score};
/// assert_eq!(precision_score(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], Average::Macro)?, 2.0 / 9.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn precision_score(actual: &[u32], predicted: &[u32], average: Average) -> Result<f64> {
    ratio("precision_score", (actual, predicted), Ratio::Precision, average, ZeroDivision::Zero)
}

/// Of those of a class, the share that are predicted as it; 0 where there are none.
///
/// # Errors
/// As [`precision_score`].
///
/// ```
/// use gemmule::train::metrics::{Average, recall_score};
/// assert_eq!(recall_score(&[0, 1, 1, 1], &[0, 1, 0, 0], Average::Binary)?, 1.0 / 3.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn recall_score(actual: &[u32], predicted: &[u32], average: Average) -> Result<f64> {
    ratio("recall_score", (actual, predicted), Ratio::Recall, average, ZeroDivision::Zero)
}

/// The harmonic mean of precision and recall; 0 where both are undefined.
///
/// # Errors
/// As [`precision_score`].
///
/// ```
/// use gemmule::train::metrics::{Average, f1_score};
/// assert_eq!(f1_score(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], Average::Micro)?, 1.0 / 3.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn f1_score(actual: &[u32], predicted: &[u32], average: Average) -> Result<f64> {
    ratio("f1_score", (actual, predicted), Ratio::F(1.0), average, ZeroDivision::Zero)
}

/// The harmonic mean in which recall has `beta` times the importance of precision.
///
/// # Errors
/// As [`precision_score`]; [`Error::Argument`] if beta is negative or NaN.
///
/// ```
/// use gemmule::train::metrics::{Average, fbeta_score};
/// let f = fbeta_score(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], 0.5, Average::Macro)?;
/// assert!((f - 0.2380952380952381).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn fbeta_score(actual: &[u32], predicted: &[u32], beta: f64, average: Average) -> Result<f64> {
    check_beta("fbeta_score", beta)?;
    ratio("fbeta_score", (actual, predicted), Ratio::F(beta), average, ZeroDivision::Zero)
}

/// The agreement beyond chance; NaN if all targets and predictions are the same class.
/// [`ConfusionMatrix::cohen_kappa`](super::ConfusionMatrix::cohen_kappa) has weights.
///
/// # Errors
/// As [`accuracy_score`].
///
/// ```
/// use gemmule::train::metrics::cohen_kappa_score;
/// assert_eq!(cohen_kappa_score(&[0, 0, 1, 1], &[0, 1, 1, 1])?, 0.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn cohen_kappa_score(actual: &[u32], predicted: &[u32]) -> Result<f64> {
    Counts::of("cohen_kappa_score", actual, predicted).map(|counts| counts.cohen_kappa())
}

/// Matthews' correlation of targets and predictions, for any number of classes; 0 if either has one class alone.
///
/// # Errors
/// As [`accuracy_score`].
///
/// ```
/// use gemmule::train::metrics::matthews_corrcoef;
/// assert!((matthews_corrcoef(&[1, 1, 1, 0], &[1, 0, 1, 1])? + 1.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn matthews_corrcoef(actual: &[u32], predicted: &[u32]) -> Result<f64> {
    Counts::of("matthews_corrcoef", actual, predicted).map(|counts| counts.matthews())
}

/// Precision, recall and F1 of the classes that occur, as a table. They are called by their number without `names`, which are
/// those of the classes that occur, in order.
///
/// # Errors
/// As [`accuracy_score`]; [`Error::Shape`] if there are more or fewer names than classes that occur.
pub fn classification_report(
    actual: &[u32],
    predicted: &[u32],
    names: Option<&[&str]>,
) -> Result<ClassificationReport> {
    let counts = Counts::of("classification_report", actual, predicted)?;
    let names = match names {
        Some(names) => names.iter().map(|&name| name.to_owned()).collect(),
        None => counts.labels.iter().flatten().map(u32::to_string).collect(),
    };
    ClassificationReport::new(counts, names)
}

/// The metric over all rows at once.
fn over<T: Element>(
    mut metric: impl Metric<T>,
    outputs: &[T],
    width: usize,
    targets: Targets<'_, T>,
) -> Result<f64> {
    let batch = Predictions::new(outputs, width, targets)?;
    if outputs.is_empty() {
        return Err(Error::data("metric", "samples", "at least one", 0));
    }
    metric.update(&batch)?;
    Ok(metric.value())
}

/// The share of samples whose class is among the `k` largest of its `width` scores, the later of equal ones counting as larger.
///
/// # Errors
/// Here and below for scores: [`Error::Shape`] if the slices do not fit together; [`Error::Data`] if they are empty, a score is
/// NaN or infinite or a class has no column; [`Error::Argument`] if k is 0.
///
/// ```
/// use gemmule::train::metrics::top_k_accuracy_score;
/// let scores = [0.5, 0.2, 0.2, 0.3, 0.4, 0.2, 0.2, 0.4, 0.3, 0.7, 0.2, 0.1];
/// assert_eq!(top_k_accuracy_score(&[0, 1, 2, 2], &scores, 3, 2)?, 0.75);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn top_k_accuracy_score<T: Element>(actual: &[u32], scores: &[T], width: usize, k: usize) -> Result<f64> {
    over(TopKAccuracy::new(k)?, scores, width, Targets::Classes(actual))
}

/// The area below the ROC curve of scores for class 1, ties counting a half: exact but for one division. NaN if there is one class
/// alone.
///
/// # Errors
/// As [`roc_curve`](super::roc_curve).
///
/// ```
/// use gemmule::train::metrics::roc_auc_score;
/// assert_eq!(roc_auc_score(&[0, 1, 0, 1], &[0.2_f32, 0.2, 0.1, 0.9])?, 0.875);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn roc_auc_score<T: Element>(actual: &[u32], scores: &[T]) -> Result<f64> {
    binary_roc_auc(actual, scores)
}

/// The same for several classes, each against the rest, from `width` probabilities per sample.
///
/// # Errors
/// As [`top_k_accuracy_score`].
///
/// ```
/// use gemmule::train::metrics::{RankAverage, roc_auc_score_ovr};
/// let scores = [0.8, 0.1, 0.1, 0.2, 0.5, 0.3, 0.3, 0.3, 0.4];
/// assert_eq!(roc_auc_score_ovr(&[0, 1, 2], &scores, 3, RankAverage::Macro)?, 1.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn roc_auc_score_ovr<T: Element>(
    actual: &[u32],
    scores: &[T],
    width: usize,
    average: RankAverage,
) -> Result<f64> {
    over(RankMetric::roc_auc(average), scores, width, Targets::Classes(actual))
}

/// The sum over thresholds of precision times the growth of recall, of scores for class 1; 0 if no sample is of it.
///
/// # Errors
/// As [`roc_curve`](super::roc_curve).
///
/// ```
/// use gemmule::train::metrics::average_precision_score;
/// let precision = average_precision_score(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert!((precision - 5.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn average_precision_score<T: Element>(actual: &[u32], scores: &[T]) -> Result<f64> {
    binary_average_precision(actual, scores)
}

/// The same for several classes, each against the rest, from `width` probabilities per sample.
///
/// # Errors
/// As [`top_k_accuracy_score`].
pub fn average_precision_score_ovr<T: Element>(
    actual: &[u32],
    scores: &[T],
    width: usize,
    average: RankAverage,
) -> Result<f64> {
    over(RankMetric::average_precision(average), scores, width, Targets::Classes(actual))
}

/// The mean of -ln of the probability of each sample's class, from `width` probabilities per sample; one is that of class 1.
///
/// # Errors
/// As [`top_k_accuracy_score`]; [`Error::Data`] for a probability below 0 or above 1.
///
/// ```
/// use gemmule::train::metrics::log_loss;
/// let loss = log_loss(&[1, 0, 0, 1], &[0.1, 0.9, 0.9, 0.1, 0.8, 0.2, 0.35, 0.65], 2)?;
/// assert!((loss - 0.21616187468057912).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn log_loss<T: Element>(actual: &[u32], probabilities: &[T], width: usize) -> Result<f64> {
    over(ProbabilityMetric::log_loss(), probabilities, width, Targets::Classes(actual))
}

/// The mean of (p - t)^2 for the probability p of class 1; of three classes and more, its sum over the classes.
///
/// # Errors
/// As [`log_loss`].
///
/// ```
/// use gemmule::train::metrics::brier_score_loss;
/// assert!((brier_score_loss(&[0, 1, 1, 0], &[0.1, 0.9, 0.8, 0.3], 1)? - 0.0375).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn brier_score_loss<T: Element>(actual: &[u32], probabilities: &[T], width: usize) -> Result<f64> {
    over(ProbabilityMetric::brier_score(), probabilities, width, Targets::Classes(actual))
}

/// A function of targets and predicted values of one output.
macro_rules! regression {
    ($($(#[$doc:meta])* $function:ident, $metric:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Error::Shape`] if the slices differ in length; [`Error::Data`] if they are empty, or a number is NaN or infinite.
        pub fn $function<T: Element>(actual: &[T], predicted: &[T]) -> Result<f64> {
            over(RegressionMetric::$metric(), predicted, 1, Targets::Values(actual))
        }
    )*};
}

regression! {
    /// The mean of (y - t)^2.
    ///
    /// ```
    /// use gemmule::train::metrics::mean_squared_error;
    /// assert_eq!(mean_squared_error(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0])?, 0.375);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    mean_squared_error, mean_squared_error;
    /// The root of the mean of (y - t)^2.
    root_mean_squared_error, root_mean_squared_error;
    /// The mean of |y - t|.
    mean_absolute_error, mean_absolute_error;
    /// The mean of |y - t| / max(|t|, 2^-52): a share, not per cent.
    mean_absolute_percentage_error, mean_absolute_percentage_error;
    /// The largest |y - t|.
    max_error, max_error;
    /// 1 - sum (y - t)^2 / sum (t - mean t)^2; see [`RegressionMetric::r2`].
    ///
    /// ```
    /// use gemmule::train::metrics::r2_score;
    /// assert_eq!(r2_score(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0])?, -3.0);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    r2_score, r2;
    /// 1 - variance (t - y) / variance t; see [`RegressionMetric::explained_variance`].
    explained_variance_score, explained_variance;
}
