//! Samples and their targets in memory.

use crate::context::Context;
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::{Element, ahead, convert, reduce};
use crate::tensor::Tensor;
use crate::tensor::shape::{self, Times};
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Samples of one shape, with or without targets: a [`BatchSource`] of `f32` and `f64` alike.
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
    feature_rows: Rows,
    targets: Option<Targets>,
    /// Apart from `feature_rows`, as targets can be given to a view.
    target_rows: Rows,
}

#[derive(Clone)]
enum Features {
    Bytes { bytes: Arc<Vec<u8>>, scale: f64, offset: f64 },
    Values(Values),
}

#[derive(Clone)]
enum Targets {
    Classes { labels: Arc<Vec<u32>>, count: usize },
    Values { values: Values, width: usize },
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
            feature_rows: Rows(None),
            targets: None,
            target_rows: Rows(None),
        })
    }

    /// The same samples with a class each, below `count`. Replaces the targets that there were.
    ///
    /// # Errors
    /// [`Error::Data`] if the number of labels is not that of the samples; if a label is not below `count` (names
    /// the sample); if `count` is 0 or above 2^32.
    pub fn with_classes(mut self, labels: Vec<u32>, count: usize) -> Result<Self> {
        let operation = "Dataset::with_classes";
        if labels.len() != self.len {
            return Err(Error::data(
                operation,
                "labels",
                format!("{} (one per sample)", self.len),
                labels.len(),
            ));
        }
        if count == 0 || count as u64 > 1 << 32 {
            return Err(Error::data(operation, "the number of classes", "1 to 2^32", count));
        }
        if let Some((sample, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= count)
        {
            let expected = format!("a class below {count}");
            return Err(Error::data(operation, format!("the label of sample {sample}"), expected, label));
        }
        self.targets = Some(Targets::Classes { labels: Arc::new(labels), count });
        self.target_rows = Rows(None);
        Ok(self)
    }

    /// The same samples with target values each; the first dimension of `values` counts the samples. Replaces the
    /// targets that there were.
    ///
    /// # Errors
    /// [`Error::Data`] if the first dimension is not the number of samples, or there is no value per sample;
    /// [`Error::NonFinite`] if a value is NaN or infinite.
    pub fn with_values<T: Element>(mut self, values: Tensor<T>) -> Result<Self> {
        let operation = "Dataset::with_values";
        let (len, width, _) = rows(operation, "target values", values.shape())?;
        if len != self.len {
            let expected = format!("{} rows (one per sample)", self.len);
            return Err(Error::data(operation, "target values", expected, len));
        }
        check_finite("target values", &values)?;
        self.targets = Some(Targets::Values { values: Values::new(values), width });
        self.target_rows = Rows(None);
        Ok(self)
    }

    /// The same samples with another `byte * scale + offset`; both are rounded to the model's type first.
    /// So 255 times 2/255 less 1 can miss 1 by a unit in the last place.
    ///
    /// # Errors
    /// [`Error::Argument`] if one is not finite; [`Error::State`] if the features are not bytes.
    pub fn with_scale(mut self, new_scale: f64, new_offset: f64) -> Result<Self> {
        let operation = "Dataset::with_scale";
        for (what, value) in [("scale", new_scale), ("offset", new_offset)] {
            if !value.is_finite() {
                return Err(Error::argument(operation, what, "a finite number", value));
            }
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

    /// What the targets are; `None` if the set has none.
    pub fn target_kind(&self) -> Option<TargetKind> {
        self.targets.as_ref().map(|targets| match targets {
            Targets::Classes { count, .. } => TargetKind::Classes(*count),
            Targets::Values { width, .. } => TargetKind::Values(*width),
        })
    }

    /// The class of a sample; `None` if it is out of range or the targets are not classes.
    pub fn class(&self, sample: usize) -> Option<u32> {
        match &self.targets {
            Some(Targets::Classes { labels, .. }) if sample < self.len => {
                Some(labels[self.target_rows.get(sample)])
            }
            _ => None,
        }
    }

    /// How many samples each class has; `None` if the targets are not classes.
    pub fn class_counts(&self) -> Option<Vec<usize>> {
        let Some(Targets::Classes { labels, count }) = &self.targets else { return None };
        let mut counts = vec![0; *count];
        for sample in 0..self.len {
            counts[labels[self.target_rows.get(sample)] as usize] += 1;
        }
        Some(counts)
    }

    /// The bytes of a sample as they came; `None` if it is out of range or the features are not bytes.
    pub fn bytes(&self, sample: usize) -> Option<&[u8]> {
        match &self.storage {
            Features::Bytes { bytes, .. } if sample < self.len => {
                Some(&bytes[self.feature_rows.range(sample, self.features)])
            }
            _ => None,
        }
    }

    fn check_gather(&self, operation: &str, indices: &[usize], width: usize, out: usize) {
        assert_eq!(Some(out), indices.len().checked_mul(width), "Dataset::{operation}: the length of out");
        if let Some(index) = indices.iter().find(|&&index| index >= self.len) {
            panic!("Dataset::{operation}: expected a sample below {}, got {index}", self.len);
        }
    }
}

impl<T: Element> BatchSource<T> for Dataset {
    fn len(&self) -> usize {
        self.len
    }

    fn features(&self) -> usize {
        self.features
    }

    fn target_kind(&self) -> Option<TargetKind> {
        Self::target_kind(self)
    }

    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        self.check_gather("gather_features", indices, self.features, out.len());
        let row = |at: usize| self.feature_rows.range(indices[at], self.features);
        match &self.storage {
            Features::Bytes { bytes, scale, offset } => {
                let (scale, offset) = (T::from_f64(*scale), T::from_f64(*offset));
                let ask = |at| ahead::ask::<T, _>(context, &bytes[row(at)]);
                in_turn(indices.len(), ask, out, self.features, |at, out| {
                    convert::bytes_to_floats(context, &bytes[row(at)], scale, offset, out)
                });
            }
            Features::Values(values) => values.gather(context, indices.len(), row, self.features, out),
        }
    }

    /// The first rows: while those are copied, the gather asks for the others.
    fn ask_ahead(&self, context: &Context, indices: &[usize]) {
        for &sample in indices.iter().take(ROWS_AHEAD) {
            let row = self.feature_rows.range(sample, self.features);
            match &self.storage {
                Features::Bytes { bytes, .. } => ahead::ask::<T, _>(context, &bytes[row]),
                Features::Values(Values::Single(values)) => {
                    ahead::ask::<T, _>(context, &values.as_slice()[row]);
                }
                Features::Values(Values::Double(values)) => {
                    ahead::ask::<T, _>(context, &values.as_slice()[row]);
                }
            }
        }
    }

    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        self.check_gather("gather_classes", indices, 1, out.len());
        let Some(Targets::Classes { labels, .. }) = &self.targets else {
            panic!("Dataset::gather_classes: the targets are not classes");
        };
        for (&sample, out) in indices.iter().zip(out) {
            *out = labels[self.target_rows.get(sample)];
        }
    }

    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        let Some(Targets::Values { values, width }) = &self.targets else {
            panic!("Dataset::gather_values: the targets are not values");
        };
        self.check_gather("gather_values", indices, *width, out.len());
        let row = |at: usize| self.target_rows.range(indices[at], *width);
        values.gather(context, indices.len(), row, *width, out);
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
        match self.target_kind() {
            Some(TargetKind::Classes(count)) => write!(f, ", {count} classes)"),
            Some(TargetKind::Values(width)) => write!(f, ", {width} target values)"),
            None => f.write_str(", no targets)"),
        }
    }
}

/// Which stored rows a view shows; all of them in order if there is no list.
#[derive(Clone)]
struct Rows(Option<Arc<[usize]>>);

impl Rows {
    #[inline]
    fn get(&self, sample: usize) -> usize {
        self.0.as_ref().map_or(sample, |list| list[sample])
    }

    /// The elements of a sample's row of `width`.
    #[inline]
    fn range(&self, sample: usize, width: usize) -> Range<usize> {
        let start = self.get(sample) * width;
        start..start + width
    }

    fn subset(&self, samples: &[usize]) -> Self {
        Self(Some(samples.iter().map(|&sample| self.get(sample)).collect()))
    }

    fn same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Floats in the type that they came in.
#[derive(Clone)]
enum Values {
    Single(Arc<Tensor<f32>>),
    Double(Arc<Tensor<f64>>),
}

impl Values {
    fn new<T: Element>(values: Tensor<T>) -> Self {
        let values: Box<dyn Any> = Box::new(values);
        match values.downcast::<Tensor<f32>>() {
            Ok(values) => Self::Single(Arc::new(*values)),
            Err(values) => {
                Self::Double(Arc::new(*values.downcast().expect("Element is f32 and f64 and sealed")))
            }
        }
    }

    fn gather<T: Element>(
        &self,
        context: &Context,
        count: usize,
        row: impl Fn(usize) -> Range<usize>,
        width: usize,
        out: &mut [T],
    ) {
        match self {
            Self::Single(values) => {
                let values = values.as_slice();
                let ask = |at| ahead::ask::<T, _>(context, &values[row(at)]);
                in_turn(count, ask, out, width, |at, out| convert::cast(context, &values[row(at)], out));
            }
            Self::Double(values) => {
                let values = values.as_slice();
                let ask = |at| ahead::ask::<T, _>(context, &values[row(at)]);
                in_turn(count, ask, out, width, |at, out| convert::cast(context, &values[row(at)], out));
            }
        }
    }
}

/// Rows of a batch that are asked for before they are copied. Measured on Zen 4, rows of 784 floats picked at random out of
/// 64 MB, nanoseconds a row: 719 without, 419 with one, 337 with two, 346 with eight; on huge pages 524, 290, 243, 271.
const ROWS_AHEAD: usize = 2;

/// Copies `count` rows into `out`, one after the other, and asks for each a few rows before.
fn in_turn<T>(
    count: usize,
    ask: impl Fn(usize),
    out: &mut [T],
    width: usize,
    copy: impl Fn(usize, &mut [T]) -> Result<()>,
) {
    (0..count.min(ROWS_AHEAD)).for_each(&ask);
    for (at, out) in out.chunks_exact_mut(width).enumerate().take(count) {
        if at + ROWS_AHEAD < count {
            ask(at + ROWS_AHEAD);
        }
        copy(at, out).expect("the lengths were checked");
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
