//! Samples and their targets in memory.

mod features;
mod rows;
mod source;
mod targets;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::stages::{Stage, Stages};
use crate::kernel::{Element, reduce};
use crate::tensor::Tensor;
use crate::tensor::shape::{self, Times};
use features::{Features, Values};
use rows::Rows;
use std::fmt;
use std::sync::Arc;
use targets::Targets;

/// Samples of one shape, with or without targets: a [`BatchSource`](crate::BatchSource) of `f32` and `f64` alike.
///
/// Features that come as bytes stay bytes; while a batch is gathered, each becomes `byte * scale + offset`
/// (1/255 and 0, unless [`with_scale`](Self::with_scale) says otherwise). Features that come as floats are kept
/// in their type and rounded where the model computes in the other.
///
/// A clone or a [`subset`](Self::subset) shares the samples and costs a list of indices at most.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::{BatchSource, Context, TargetKind, Tensor};
///
/// // Three grey images of 2 x 2 pixels in two classes.
/// let images = Dataset::from_bytes(&[3, 2, 2], vec![0, 51, 102, 255, 1, 1, 1, 1, 0, 0, 0, 0])?
///     .with_classes(vec![1, 0, 1], 2)?;
/// assert_eq!((images.len(), images.feature_shape(), images.features()), (3, &[2, 2][..], 4));
/// assert_eq!(images.target_kind(), Some(TargetKind::Classes(2)));
/// assert_eq!(images.class_counts(), Some(vec![1, 2]));
///
/// let mut batch = [0.0_f32; 4];
/// images.gather_features(&Context::detect()?, &[0], &mut batch);
/// assert!((batch[1] - 0.2).abs() < 1e-6 && batch[3] == 1.0);
///
/// // A regression: y = 2 x.
/// let x = Tensor::from_slice(&[4, 1], &[1.0_f64, 2.0, 3.0, 4.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// assert_eq!(line.target_kind(), Some(TargetKind::Values(1)));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    len: usize,
    /// The shape of a sample.
    feature_shape: Arc<[usize]>,
    /// The product of `feature_shape`.
    features: usize,
    storage: Features,
    /// The features of a stored row; as many as `features`, but for transforms that change the number.
    stored: usize,
    /// What a stored row goes through.
    stages: Option<Arc<Stages>>,
    feature_rows: Rows,
    targets: Option<Targets>,
    /// Apart from `feature_rows`, as targets can be given to a view.
    target_rows: Rows,
}

impl Dataset {
    /// Samples of bytes, row by row; the first dimension of `shape` counts them.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no sample or no feature; [`Error::Shape`] if the number of bytes is not the
    /// product of `shape`; [`Error::Overflow`] if that product does not fit.
    pub fn from_bytes(shape: &[usize], bytes: Vec<u8>) -> Result<Self> {
        let operation = "Dataset::from_bytes";
        let expected = shape::elements(operation, shape)?;
        if bytes.len() != expected {
            let expected = format!("{expected} ({})", Times(shape));
            return Err(Error::shape(operation, "bytes", expected, bytes.len()));
        }
        let storage = Features::Bytes { bytes: Arc::new(bytes), scale: 1.0 / 255.0, offset: 0.0 };
        Self::new(operation, shape, storage)
    }

    /// Samples of floats; the first dimension counts them.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no sample or no feature; [`Error::NonFinite`] if a value is NaN or infinite.
    pub fn from_values<T: Element>(values: Tensor<T>) -> Result<Self> {
        let shape = values.shape().to_vec();
        check_finite("features", &values)?;
        Self::new("Dataset::from_values", &shape, Features::Values(Values::new(values)))
    }

    fn new(operation: &'static str, shape: &[usize], storage: Features) -> Result<Self> {
        let (len, features, feature_shape) = rows(operation, "features", shape)?;
        Ok(Self {
            len,
            feature_shape: feature_shape.into(),
            features,
            storage,
            stored: features,
            stages: None,
            feature_rows: Rows(None),
            targets: None,
            target_rows: Rows(None),
        })
    }

    /// The same samples with another `byte * scale + offset`; both are rounded to the model's type first.
    /// So 255 times 2/255 less 1 can miss 1 by a unit in the last place.
    ///
    /// # Errors
    /// [`Error::Argument`] if one is not finite; [`Error::State`] if the features are not bytes, or were transformed:
    /// the transform was fitted to the scale that there was.
    pub fn with_scale(mut self, new_scale: f64, new_offset: f64) -> Result<Self> {
        let operation = "Dataset::with_scale";
        for (what, value) in [("scale", new_scale), ("offset", new_offset)] {
            if !value.is_finite() {
                return Err(Error::argument(operation, what, "a finite number", value));
            }
        }
        if self.stages.is_some() {
            let what = "these features are transformed: set the scale before";
            return Err(Error::State { operation, what });
        }
        match &mut self.storage {
            Features::Bytes { scale, offset, .. } => (*scale, *offset) = (new_scale, new_offset),
            Features::Values(_) => {
                let what = "these features are floats and used as they are: scale the tensor instead";
                return Err(Error::State { operation, what });
            }
        }
        Ok(self)
    }

    /// The samples `indices`, in this order, as often as each is named. Shares the samples.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    ///
    /// let all = Dataset::from_bytes(&[4, 1], vec![10, 11, 12, 13])?;
    /// let some = all.subset(&[3, 1])?;
    /// assert_eq!(some.bytes(0), Some(&[13][..]));
    /// assert_eq!(some.subset(&[1])?.bytes(0), Some(&[11][..]));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] if there is no index, or one is out of range.
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        let operation = "Dataset::subset";
        if indices.is_empty() {
            return Err(Error::data(operation, "indices", "at least 1", 0));
        }
        if let Some((i, index)) = indices.iter().enumerate().find(|&(_, &index)| index >= self.len) {
            let expected = format!("a sample below {}", self.len);
            return Err(Error::data(operation, format!("index {i}"), expected, index));
        }
        let feature_rows = self.feature_rows.subset(indices);
        let target_rows = if self.target_rows.same(&self.feature_rows) {
            feature_rows.clone()
        } else {
            self.target_rows.subset(indices)
        };
        Ok(Self { len: indices.len(), feature_rows, target_rows, ..self.clone() })
    }

    /// The same samples whose features go through one more stage, which takes the columns `columns` of what there is
    /// and gives a flat row of them, or all columns in order.
    pub(super) fn with_stage(&self, columns: Option<&[usize]>, stage: Stage) -> Self {
        let before = self.stages.as_deref().cloned().unwrap_or_else(|| self.storage.stages(self.features));
        let stages = before.then(columns, stage);
        let features = stages.width;
        let feature_shape = columns.map_or_else(|| self.feature_shape.clone(), |_| [features].into());
        Self { features, feature_shape, stages: Some(Arc::new(stages)), ..self.clone() }
    }

    /// The number of samples, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "never empty; BatchSource has is_empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of features of a sample: the product of [`feature_shape`](Self::feature_shape).
    pub fn features(&self) -> usize {
        self.features
    }

    /// The shape of a sample, for example `[28, 28]`.
    pub fn feature_shape(&self) -> &[usize] {
        &self.feature_shape
    }

    /// The bytes of a sample as they came; `None` if it is out of range or the features are not bytes.
    pub fn bytes(&self, sample: usize) -> Option<&[u8]> {
        match &self.storage {
            Features::Bytes { bytes, .. } if sample < self.len => {
                Some(&bytes[self.feature_rows.range(sample, self.stored)])
            }
            _ => None,
        }
    }
}

/// Shapes, not values.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.storage {
            Features::Bytes { .. } => "u8",
            Features::Values(Values::Single(_)) => f32::NAME,
            Features::Values(Values::Double(_)) => f64::NAME,
        };
        write!(f, "Dataset({} samples of {} {kind}", self.len, Times(&self.feature_shape))?;
        if self.stages.is_some() {
            f.write_str(", transformed")?;
        }
        write!(f, ", {})", self.target_words())
    }
}

/// The number of rows, their width and the shape of one; an error if one of them is zero.
fn rows<'a>(operation: &'static str, what: &str, shape: &'a [usize]) -> Result<(usize, usize, &'a [usize])> {
    let Some((&len, row)) = shape.split_first() else {
        return Err(Error::data(
            operation,
            what,
            "a first dimension that counts the samples",
            "no dimension",
        ));
    };
    let width = shape::elements(operation, row)?;
    if len == 0 || width == 0 {
        return Err(Error::data(operation, what, "at least 1 sample of at least 1 value", Times(shape)));
    }
    Ok((len, width, row))
}

fn check_finite<T: Element>(what: &'static str, values: &Tensor<T>) -> Result<()> {
    let found = reduce::first_non_finite(&Context::portable()?, values.as_slice());
    let Some(found) = found else { return Ok(()) };
    let width = values.len() / values.shape().first().map_or(1, |&len| len);
    Err(Error::NonFinite {
        what,
        place: format!("sample {}", found / width),
        step: 0,
        index: found % width,
        value: values.as_slice()[found].to_f64(),
    })
}
