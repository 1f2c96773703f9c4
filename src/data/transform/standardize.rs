//! Mean 0 and variance 1.

use super::parts::{Parts, Reader};
use super::statistics::{Moments, Of, check_fitted, check_rows, stage_targets, through};
use crate::context::Context;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::stages::Stage;
use crate::tensor::Tensor;

/// Each feature to mean 0 and variance 1: `(x - mean) / scale`, where `scale` is the standard deviation (of the
/// population: divided by the number of samples). As scikit-learn's `StandardScaler`.
///
/// A feature that does not vary has scale 1, so it becomes 0: one whose variance is at most
/// `n eps variance + (n eps mean)^2`, the rounding error of the variance of n equal numbers, eps = 2^-52.
///
/// ```
/// use gemmule::data::{Dataset, Standardize};
/// use gemmule::{BatchSource, Context, Tensor};
///
/// let x = Tensor::from_slice(&[4, 2], &[1.0_f32, 5.0, 3.0, 5.0, 1.0, 5.0, 3.0, 5.0])?;
/// let y = Tensor::from_slice(&[4, 1], &[10.0_f32, 20.0, 30.0, 40.0])?;
/// let train = Dataset::from_values(x)?.with_values(y)?;
///
/// let features = Standardize::new().fit(&train)?;
/// assert_eq!((features.mean(), features.scale()), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
/// let mut rows = [0.0_f32; 4];
/// features.apply(&train)?.gather_features(&Context::detect()?, &[0, 1], &mut rows);
/// assert_eq!(rows, [-1.0, 0.0, 1.0, 0.0]);
///
/// // The targets of a regression, and back again what a model says of them.
/// let targets = Standardize::new().fit_targets(&train)?;
/// assert_eq!(targets.mean(), [25.0]);
/// let predicted = targets.apply_targets(&train)?.target_values()?;
/// assert!((targets.inverse(&predicted)?[[3, 0]] - 40.0).abs() < 1e-12);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standardize {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardize {
    /// Not fitted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures the features of `train`. Takes the memory of 128 samples in `f64`.
    ///
    /// # Errors
    /// [`Error::Data`] if a mean or variance is beyond the range of `f64` (names the feature).
    pub fn fit(self, train: &Dataset) -> Result<Self> {
        self.fit_with(&Context::detect()?, train)
    }

    /// As [`fit`](Self::fit) on an instruction set of choice. All that have a fused multiply-add give the same bits.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_with(self, context: &Context, train: &Dataset) -> Result<Self> {
        Self::measure("Standardize::fit", context, train, Of::Features)
    }

    /// Measures the target values of `train`.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::Data`] if the targets are not values.
    pub fn fit_targets(self, train: &Dataset) -> Result<Self> {
        Self::measure("Standardize::fit_targets", &Context::detect()?, train, Of::Targets)
    }

    fn measure(operation: &'static str, context: &Context, train: &Dataset, of: Of) -> Result<Self> {
        let Moments { mean, variance } = Moments::new(operation, context, train, of)?;
        let n = train.len() as f64;
        let scale = mean.iter().zip(&variance).map(|(mean, &variance)| {
            let error = n * mean * f64::EPSILON;
            let constant = variance <= n * f64::EPSILON * variance + error * error;
            if constant { 1.0 } else { variance.sqrt() }
        });
        Ok(Self { scale: scale.collect(), mean })
    }

    /// The mean of each feature; empty before it is fitted.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// What each feature's difference from the mean is divided by.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// `data` with transformed features: a view.
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted; [`Error::Data`] for another number of features.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        check_fitted("Standardize::apply", "features", self.mean.len(), data.features())?;
        Ok(data.with_stage(None, self.stage()))
    }

    /// `data` with transformed target values, which are copied.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`Error::Data`] if the targets are not values.
    pub fn apply_targets(&self, data: &Dataset) -> Result<Dataset> {
        let operation = "Standardize::apply_targets";
        check_fitted(operation, "target values", self.mean.len(), Of::Targets.width(operation, data)?)?;
        stage_targets(operation, data, self.stage())
    }

    /// `x * scale + mean`, in `f64`, rounded once: from transformed rows `(n, features)` to what they were.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn inverse<T: Element>(&self, rows: &Tensor<T>) -> Result<Tensor<T>> {
        check_rows("Standardize::inverse", self.mean.len(), rows)?;
        let bounds = [f64::NEG_INFINITY, f64::INFINITY];
        through(rows.clone(), Stage::Scale { scale: self.scale.clone(), offset: self.mean.clone(), bounds })
    }

    /// What was measured, by name: see [`Parts`].
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted.
    pub fn to_parts(&self) -> Result<Parts> {
        check_fitted("Standardize::to_parts", "features", self.mean.len(), self.mean.len())?;
        Ok([("mean", &self.mean), ("scale", &self.scale)].map(|(n, v)| (n.to_owned(), v.clone())).into())
    }

    /// What [`to_parts`](Self::to_parts) returned, back again.
    ///
    /// # Errors
    /// [`Error::Data`] if a part is missing, too many, of another length, not finite, or a scale is not above 0.
    pub fn from_parts(parts: &Parts) -> Result<Self> {
        let mut parts = Reader::new("Standardize::from_parts", parts);
        let mean = parts.take("mean", None)?;
        let scale = parts.take("scale", Some(mean.len()))?;
        if let Some(at) = scale.iter().position(|&scale| scale <= 0.0) {
            let what = format!("part \"scale\", number {at}");
            return Err(Error::data(parts.operation, what, "above 0", scale[at]));
        }
        parts.finish()?;
        Ok(Self { mean: mean.to_vec(), scale: scale.to_vec() })
    }

    fn stage(&self) -> Stage {
        Stage::Shift { shift: self.mean.clone(), scale: self.scale.clone() }
    }
}
