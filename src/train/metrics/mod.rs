//! Figures over predictions: what `sklearn.metrics` has, for streams of batches and for whole slices.
//!
//! A [`Metric`] sees batch after batch, by [`evaluate_with`](crate::nn::Model::evaluate_with) or by the caller. Counts are
//! integers, sums are exact and rounded once at the end, and what needs the order of all scores keeps them: so any cut into
//! batches, and any order of the samples, gives the same bits.
//!
//! | metrics | by | of |
//! | --- | --- | --- |
//! | accuracy, balanced accuracy, precision, recall, F-beta, Cohen's kappa, Matthews | [`ClassMetric`] | classes |
//! | whether the class is among the k largest outputs | [`TopKAccuracy`] | classes |
//! | ROC AUC, average precision | [`RankMetric`] | probabilities; keeps them |
//! | log loss, Brier score | [`ProbabilityMetric`] | probabilities |
//! | squared, absolute and relative errors, R2, explained variance | [`RegressionMetric`] | values |
//! | which class was taken for which | [`ConfusionMatrix`] | classes |
//!
//! The same on slices: [`f1_score`], [`roc_auc_score`] and so on, named and defined as in scikit-learn 1.9, the targets first.
//! What is undefined there with a warning is the same number here: NaN for the ROC AUC of one class, for example.
//!
//! ```
//! use gemmule::train::metrics::{Average, f1_score, roc_auc_score};
//!
//! assert_eq!(f1_score(&[0, 1, 2, 2], &[0, 1, 2, 1], Average::Micro)?, 0.75);
//! assert_eq!(roc_auc_score(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?, 0.75);
//! # Ok::<(), gemmule::Error>(())
//! ```

mod class;
mod confusion;
mod counts;
mod exact;
mod functions;
mod predictions;
mod probability;
mod rank;
mod regression;
mod report;

pub use class::{ClassMetric, TopKAccuracy};
pub use confusion::{ConfusionMatrix, Normalize, Weights};
pub use counts::{Average, ZeroDivision};
pub use functions::{
    accuracy_score, average_precision_score, average_precision_score_ovr, balanced_accuracy_score,
    brier_score_loss, classification_report, cohen_kappa_score, explained_variance_score, f1_score,
    fbeta_score, log_loss, matthews_corrcoef, max_error, mean_absolute_error, mean_absolute_percentage_error,
    mean_squared_error, precision_score, r2_score, recall_score, roc_auc_score, roc_auc_score_ovr,
    root_mean_squared_error, top_k_accuracy_score,
};
pub use predictions::{Link, Predictions, Targets};
pub use probability::ProbabilityMetric;
pub use rank::{PrecisionRecallCurve, RankAverage, RankMetric, RocCurve, precision_recall_curve, roc_curve};
pub use regression::RegressionMetric;
pub use report::ClassificationReport;

use crate::error::Result;
use crate::kernel::Element;
use crate::state::State;

/// A figure that is counted batch by batch.
///
/// One of your own:
///
/// ```
/// use gemmule::Result;
/// use gemmule::train::metrics::{Metric, Predictions};
///
/// /// The mean largest probability.
/// #[derive(Default)]
/// struct Confidence(f64, usize);
///
/// impl Metric<f32> for Confidence {
///     fn name(&self) -> String {
///         "confidence".to_owned()
///     }
///     fn reset(&mut self) {
///         *self = Self::default();
///     }
///     fn update(&mut self, batch: &Predictions<'_, f32>) -> Result<()> {
///         for row in batch.probabilities()?.chunks(batch.width()) {
///             self.0 += f64::from(row.iter().fold(0.0, |most: f32, &p| most.max(p)));
///             self.1 += 1;
///         }
///         Ok(())
///     }
///     fn value(&self) -> f64 {
///         self.0 / self.1 as f64
///     }
/// }
/// ```
pub trait Metric<T: Element> {
    /// What it is called in logs: `f1_macro`.
    fn name(&self) -> String;

    /// Forgets all samples.
    fn reset(&mut self);

    /// Counts the samples of a batch.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if the metric is not for such targets.
    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()>;

    /// The figure over all samples since the last reset; NaN if there are none, or it is undefined for them.
    fn value(&self) -> f64;

    /// What a checkpoint has to keep of it so that an epoch that is resumed goes on counting. Nothing by default.
    fn save(&self) -> State {
        State::new()
    }

    /// Takes over what [`save`](Self::save) kept.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if it is not what this metric keeps.
    fn load(&mut self, state: &State) -> Result<()> {
        let _ = state;
        Ok(())
    }
}
