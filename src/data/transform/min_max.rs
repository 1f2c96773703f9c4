//! A range of choice.

use super::parts::{Parts, Reader};
use super::statistics::{Of, check_fitted, check_rows, column, extremes, stage_targets, through};
use crate::context::Context;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::stages::Stage;
use crate::tensor::Tensor;

/// Each feature to a range, 0 to 1 unless another is asked for: `x * scale + offset`, where
/// `scale = (upper - lower) / (maximum - minimum)` and `offset = lower - minimum * scale`. As scikit-learn's
/// `MinMaxScaler`.
///
/// A feature whose extent is below 10 eps (eps = 2^-52) counts as constant: it is divided by 1, so it becomes the lower
/// end. Other parts than the training part may leave the range, unless [`clip`](Self::clip) forbids it.
///
/// ```
/// use gemmule::data::{Dataset, MinMax};
/// use gemmule::{BatchSource, Context};
///
/// // Bytes stay bytes: they become floats between -1 and 1 while a batch is gathered.
/// let train = Dataset::from_bytes(&[3, 2], vec![0, 100, 10, 120, 20, 140])?;
/// let scaler = MinMax::new().range(-1.0, 1.0).fit(&train)?;
/// let scaled = scaler.apply(&train)?;
/// let mut rows = [0.0_f32; 6];
/// scaled.gather_features(&Context::detect()?, &[0, 1, 2], &mut rows);
/// assert!(rows.iter().zip([-1.0, -1.0, 0.0, 0.0, 1.0, 1.0]).all(|(x, y): (&f32, f32)| (x - y).abs() < 1e-6));
/// assert_eq!(scaled.bytes(1), Some(&[10, 120][..]));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MinMax {
    range: [f64; 2],
    clip: bool,
    minimum: Vec<f64>,
    maximum: Vec<f64>,
}

impl Default for MinMax {
    fn default() -> Self {
        Self { range: [0.0, 1.0], clip: false, minimum: Vec::new(), maximum: Vec::new() }
    }
}

impl MinMax {
    /// To 0..1, not fitted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the smallest and the largest number of the training part become.
    #[must_use]
    pub fn range(self, lower: f64, upper: f64) -> Self {
        Self { range: [lower, upper], ..self }
    }

    /// Whether what lies beyond becomes the end of the range.
    #[must_use]
    pub fn clip(self, clip: bool) -> Self {
        Self { clip, ..self }
    }

    /// Measures the features of `train`. Takes the memory of 128 samples in `f64`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the range is not finite or its lower end not below its upper; [`Error::Data`] if a
    /// feature's extent is beyond the range of `f64` (names the feature).
    pub fn fit(self, train: &Dataset) -> Result<Self> {
        self.fit_with(&Context::detect()?, train)
    }

    /// As [`fit`](Self::fit) on an instruction set of choice. All give the same bits.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_with(self, context: &Context, train: &Dataset) -> Result<Self> {
        self.measure("MinMax::fit", context, train, Of::Features)
    }

    /// Measures the target values of `train`.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); [`Error::Data`] if the targets are not values.
    pub fn fit_targets(self, train: &Dataset) -> Result<Self> {
        self.measure("MinMax::fit_targets", &Context::detect()?, train, Of::Targets)
    }

    fn measure(self, operation: &'static str, context: &Context, train: &Dataset, of: Of) -> Result<Self> {
        let [lower, upper] = self.range;
        if !(lower < upper && lower.is_finite() && upper.is_finite()) {
            let got = format!("{lower} to {upper}");
            return Err(Error::argument(operation, "range", "a lower end below the upper, both finite", got));
        }
        let [minimum, maximum] = extremes(operation, context, train, of)?;
        let fitted = Self { minimum, maximum, ..self };
        fitted.check(operation, of)?;
        Ok(fitted)
    }

    /// Factors and offsets are numbers.
    fn check(&self, operation: &'static str, of: Of) -> Result<()> {
        let (scale, offset) = self.affine();
        let wrong = |at: &usize| {
            let extent = self.maximum[*at] - self.minimum[*at];
            ![extent, scale[*at], offset[*at]].iter().all(|number| number.is_finite())
        };
        if let Some(at) = (0..scale.len()).find(wrong) {
            let got = format!("{} to {}", self.minimum[at], self.maximum[at]);
            return Err(Error::data(operation, column(of, at), "an extent that f64 holds", got));
        }
        Ok(())
    }

    /// The smallest number of each feature; empty before it is fitted.
    pub fn minimum(&self) -> &[f64] {
        &self.minimum
    }

    /// The largest number of each feature.
    pub fn maximum(&self) -> &[f64] {
        &self.maximum
    }

    /// `data` with transformed features: a view.
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted; [`Error::Data`] for another number of features.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        check_fitted("MinMax::apply", "features", self.minimum.len(), data.features())?;
        Ok(data.with_stage(None, self.stage()))
    }

    /// `data` with transformed target values, which are copied.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`Error::Data`] if the targets are not values.
    pub fn apply_targets(&self, data: &Dataset) -> Result<Dataset> {
        let operation = "MinMax::apply_targets";
        check_fitted(operation, "target values", self.minimum.len(), Of::Targets.width(operation, data)?)?;
        stage_targets(operation, data, self.stage())
    }

    /// `(x - offset) / scale`, in `f64`, rounded once: from transformed rows `(n, features)` to what they were. What was
    /// clipped stays clipped.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn inverse<T: Element>(&self, rows: &Tensor<T>) -> Result<Tensor<T>> {
        check_rows("MinMax::inverse", self.minimum.len(), rows)?;
        let (scale, shift) = self.affine();
        through(rows.clone(), Stage::Shift { shift, scale })
    }

    /// What was measured, by name: see [`Parts`].
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted.
    pub fn to_parts(&self) -> Result<Parts> {
        check_fitted("MinMax::to_parts", "features", self.minimum.len(), self.minimum.len())?;
        let parts = [
            ("minimum", self.minimum.clone()),
            ("maximum", self.maximum.clone()),
            ("range", self.range.to_vec()),
            ("clip", vec![f64::from(u8::from(self.clip))]),
        ];
        Ok(parts.map(|(name, values)| (name.to_owned(), values)).into())
    }

    /// What [`to_parts`](Self::to_parts) returned, back again.
    ///
    /// # Errors
    /// [`Error::Data`] if a part is missing, too many, of another length or not finite, or an upper end is below its
    /// lower.
    pub fn from_parts(parts: &Parts) -> Result<Self> {
        let operation = "MinMax::from_parts";
        let mut parts = Reader::new(operation, parts);
        let minimum = parts.take("minimum", None)?.to_vec();
        let maximum = parts.take("maximum", Some(minimum.len()))?.to_vec();
        let range = parts.take("range", Some(2))?;
        let range = [range[0], range[1]];
        let clip = parts.take_flag("clip")?;
        parts.finish()?;
        if range[0] >= range[1] {
            return Err(Error::data(
                operation,
                "part \"range\"",
                "a lower end below the upper",
                format!("{range:?}"),
            ));
        }
        if let Some(at) = minimum.iter().zip(&maximum).position(|(least, most)| least > most) {
            let expected = format!("at least {}", minimum[at]);
            return Err(Error::data(
                operation,
                format!("part \"maximum\", number {at}"),
                expected,
                maximum[at],
            ));
        }
        let fitted = Self { range, clip, minimum, maximum };
        fitted.check(operation, Of::Features)?;
        Ok(fitted)
    }

    fn affine(&self) -> (Vec<f64>, Vec<f64>) {
        let [lower, upper] = self.range;
        let scale = self.minimum.iter().zip(&self.maximum).map(|(least, most)| {
            let extent = most - least;
            (upper - lower) / if extent < 10.0 * f64::EPSILON { 1.0 } else { extent }
        });
        let scale: Vec<f64> = scale.collect();
        let offset = self.minimum.iter().zip(&scale).map(|(least, scale)| lower - least * scale).collect();
        (scale, offset)
    }

    fn stage(&self) -> Stage {
        let (scale, offset) = self.affine();
        let bounds = if self.clip { self.range } else { [f64::NEG_INFINITY, f64::INFINITY] };
        Stage::Scale { scale, offset, bounds }
    }
}
