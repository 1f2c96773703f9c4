//! What metrics are counted over: outputs of a model with their targets.

use crate::context::Context;
use crate::engine::{Loss, Outputs};
use crate::error::{Error, Result};
use crate::kernel::activation::{self, Activation};
use crate::kernel::{Element, math, softmax};
use std::cell::{OnceCell, RefCell};

/// The targets of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a, T> {
    /// A class per sample.
    Classes(&'a [u32]),
    /// As many values per sample as there are outputs.
    Values(&'a [T]),
}

/// How outputs become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// They are what they are: probabilities already, or values of a regression.
    Identity,
    /// They are logits of classes that exclude one another.
    Softmax,
    /// They are logits, each of a yes or no of its own.
    Sigmoid,
    /// They are logarithms of probabilities.
    Exponential,
}

impl Link {
    /// Of outputs that a loss takes.
    pub(crate) fn of(loss: Loss) -> Self {
        match loss.outputs() {
            Outputs::Logits => Self::Softmax,
            Outputs::BinaryLogits => Self::Sigmoid,
            Outputs::LogProbabilities => Self::Exponential,
            Outputs::Values => Self::Identity,
        }
    }
}

/// Outputs of a model for some samples, row by row, and their targets.
///
/// ```
/// use gemmule::train::metrics::{ClassMetric, Metric, Predictions, Targets};
///
/// let mut accuracy = ClassMetric::accuracy();
/// let outputs = [0.7_f32, 0.3, 0.1, 0.9];
/// accuracy.update(&Predictions::new(&outputs, 2, Targets::Classes(&[0, 0]))?)?;
/// assert_eq!(Metric::<f32>::value(&accuracy), 0.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictions<'a, T: Element> {
    outputs: &'a [T],
    width: usize,
    targets: Targets<'a, T>,
    link: Link,
    one_hot: bool,
    context: Context,
    /// Computed when the first metric asks, for all of them.
    probabilities: OnceCell<Vec<T>>,
    spare: RefCell<Vec<T>>,
}

impl<'a, T: Element> Predictions<'a, T> {
    /// Outputs, `width` of them per sample, as they are. Targets that are values, more than one per sample, are
    /// labels of which any number may hold, unless [`one_hot`](Self::one_hot) says otherwise.
    ///
    /// # Errors
    /// [`Error::Shape`] if a width is 0 or the targets are more or fewer; [`Error::Data`] if a class has no output (of one
    /// output: if it is neither 0 nor 1), or a number is NaN or infinite.
    pub fn new(outputs: &'a [T], width: usize, targets: Targets<'a, T>) -> Result<Self> {
        let context = Context::detect()?;
        let new = Self::of_run(context, outputs, width, targets, Link::Identity, Vec::new());
        new.check()?;
        Ok(new)
    }

    /// What a run of the engine left, which it has checked; `spare` is memory to use.
    pub(crate) fn of_run(
        context: Context,
        outputs: &'a [T],
        width: usize,
        targets: Targets<'a, T>,
        link: Link,
        spare: Vec<T>,
    ) -> Self {
        let (probabilities, spare) = (OnceCell::new(), RefCell::new(spare));
        Self { outputs, width, targets, link, one_hot: false, context, probabilities, spare }
    }

    /// The memory that was lent, or what was made.
    pub(crate) fn into_spare(self) -> Vec<T> {
        self.probabilities.into_inner().unwrap_or_else(|| self.spare.take())
    }

    fn check(&self) -> Result<()> {
        let (operation, rows) = ("Predictions::new", self.outputs.len() / self.width.max(1));
        if self.width == 0 || rows * self.width != self.outputs.len() {
            let expected = format_args!("whole rows of {} outputs", self.width).to_string();
            return Err(Error::shape(operation, "outputs", expected, self.outputs.len()));
        }
        let finite = |what: &str, values: &[T]| match values.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => {
                let what = format!("{what} {} of sample {}", at % self.width, at / self.width);
                Err(Error::data(operation, what, "a finite number", values[at]))
            }
        };
        finite("output", self.outputs)?;
        match self.targets {
            Targets::Classes(classes) => {
                if classes.len() != rows {
                    return Err(Error::shape(operation, "classes", rows, classes.len()));
                }
                let count = self.width.max(2);
                match classes.iter().position(|&class| class as usize >= count) {
                    None => Ok(()),
                    Some(at) => {
                        let what = format!("class of sample {at}");
                        Err(Error::data(operation, what, format_args!("below {count}"), classes[at]))
                    }
                }
            }
            Targets::Values(values) => {
                if values.len() != self.outputs.len() {
                    return Err(Error::shape(operation, "values", self.outputs.len(), values.len()));
                }
                finite("target", values)
            }
        }
    }

    /// Says how outputs become probabilities.
    #[must_use]
    pub fn link(self, link: Link) -> Self {
        Self { link, ..self }
    }

    /// Says that targets which are values are the shares of classes that exclude one another, as one-hot ones are: what
    /// the targets of [`Link::Softmax`] are in any case.
    #[must_use]
    pub fn one_hot(self) -> Self {
        Self { one_hot: true, ..self }
    }

    /// The samples.
    pub fn rows(&self) -> usize {
        self.outputs.len() / self.width
    }

    /// The outputs of a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The outputs, row by row: logits under a cross-entropy.
    pub fn outputs(&self) -> &'a [T] {
        self.outputs
    }

    /// The targets.
    pub fn targets(&self) -> Targets<'a, T> {
        self.targets
    }

    /// The probabilities, row by row: softmax or sigmoid of the outputs, or the outputs themselves.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn probabilities(&self) -> Result<&[T]> {
        if self.link == Link::Identity {
            return Ok(self.outputs);
        }
        if let Some(probabilities) = self.probabilities.get() {
            return Ok(probabilities);
        }
        let mut values = self.spare.take();
        values.clear();
        let bytes = size_of_val(self.outputs);
        values
            .try_reserve(self.outputs.len())
            .map_err(|_| Error::OutOfMemory { what: "probabilities", bytes })?;
        values.extend_from_slice(self.outputs);
        match self.link {
            Link::Softmax => softmax::forward(&self.context, self.outputs, &mut values, self.width)?,
            Link::Exponential => {
                values.copy_from_slice(self.outputs);
                math::exp_in_place(&self.context, &mut values);
            }
            _ => activation::forward_in_place(&self.context, Activation::Sigmoid, &mut values)?,
        }
        Ok(self.probabilities.get_or_init(|| values))
    }

    /// True if each sample has one class: then there are as many classes as outputs, or two if there is one output, the
    /// probability of class 1. False if each output is a label of its own, any number of which may hold.
    pub fn is_single_label(&self) -> bool {
        self.width == 1
            || self.one_hot
            || matches!(self.link, Link::Softmax | Link::Exponential)
            || matches!(self.targets, Targets::Classes(_))
    }

    /// The classes, or the labels.
    pub fn classes(&self) -> usize {
        if self.is_single_label() { self.width.max(2) } else { self.width }
    }

    /// The class of a sample, of those with one: of values the largest, the first if there are several; of one value 1 if it is
    /// above a half.
    pub fn class(&self, row: usize) -> usize {
        match self.targets {
            Targets::Classes(classes) => classes[row] as usize,
            Targets::Values(values) if self.width == 1 => usize::from(is_set(values[row])),
            Targets::Values(values) => largest(&values[row * self.width..][..self.width]),
        }
    }

    /// Whether a label holds, of samples with any number of them: its value is above a half.
    pub fn has_label(&self, row: usize, label: usize) -> bool {
        match self.targets {
            Targets::Classes(classes) => classes[row] as usize == label,
            Targets::Values(values) => is_set(values[row * self.width + label]),
        }
    }

    /// The values, for metrics that need them.
    pub(super) fn values(&self, operation: &'static str) -> Result<&'a [T]> {
        match self.targets {
            Targets::Values(values) => Ok(values),
            Targets::Classes(_) => Err(Error::data(operation, "targets", "values", "classes")),
        }
    }
}

fn is_set<T: Element>(value: T) -> bool {
    value > T::from_f64(0.5)
}

/// The index of the largest number, the first if there are several.
pub(super) fn largest<T: Element>(row: &[T]) -> usize {
    let mut best = 0;
    for (index, &x) in row.iter().enumerate() {
        if x > row[best] {
            best = index;
        }
    }
    best
}
