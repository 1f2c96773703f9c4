//! Losses of samples and their gradients, in one pass.
//!
//! | function | loss of a row | PyTorch |
//! | --- | --- | --- |
//! | [`mean_squared_error`] | mean of (x - t)² | `mse_loss` |
//! | [`mean_absolute_error`] | mean of \|x - t\| | `l1_loss` |
//! | [`huber`], [`smooth_l1`] | mean of a parabola with straight arms | `huber_loss`, `smooth_l1_loss` |
//! | [`log_cosh`] | mean of ln cosh(x - t) | |
//! | [`poisson_nll`] | mean of e^x - t x, or of x - t ln(x + eps) | `poisson_nll_loss` |
//! | [`gaussian_nll`] | mean of (ln v + (x - t)² / v) / 2, with ln v beside x | `gaussian_nll_loss` |
//! | [`hinge`], [`squared_hinge`] | mean of max(0, margin - t x), or of its square, t = ±1 | |
//! | [`multi_class_hinge`] | mean of max(0, margin - x_class + x)^p | `multi_margin_loss` |
//! | [`cross_entropy_classes`] | -ln softmax(x)_class | `cross_entropy` |
//! | [`cross_entropy_soft`] | -sum of t ln softmax(x) | `cross_entropy` |
//! | [`binary_cross_entropy_logits`] | mean of -t ln σ(x) - (1 - t) ln(1 - σ(x)) | `binary_cross_entropy_with_logits` |
//! | [`negative_log_likelihood`] | -x_class | `nll_loss` |
//! | [`kl_divergence`], [`kl_divergence_log_target`] | sum of t (ln t - x) | `kl_div`, `batchmean` |
//! | [`cosine`] | 1 - cos(a, b) | `cosine_embedding_loss` |
//!
//! Every function takes samples of `width` values each, row by row, and writes one loss per sample and, if asked, the
//! gradient by its first operand. [`Rows`] says how wide they are, how much each counts, and what becomes of all: the
//! mean, the sum, or a gradient times a scale that is known beforehand, for those who cut a batch into parts. The
//! function returns the number whose gradient it wrote. `losses` always holds each sample's own loss, times its weight:
//! what PyTorch calls no reduction.
//!
//! PyTorch's elementwise losses count every element, ours every sample: the mean is the same, the sum is not. With a
//! width of 1 every element is a sample, and all reductions are PyTorch's.
//!
//! # Weights
//!
//! A sample's weight multiplies its loss and its gradient. A mean divides by the sum of the weights; to divide by the
//! number of samples instead, scale by its inverse. A sample of weight 0, or of the class to ignore, takes no part: loss
//! and gradient are 0, whatever the row holds, NaN too. If all weights add up to 0 (no samples; every one ignored), the
//! mean is 0 with the gradient 0, where PyTorch's is 0 / 0 = NaN: a batch without a label should leave the parameters
//! as they are.
//!
//! # What a result depends on
//!
//! A row's loss and gradient depend on that row, its weight and the scale alone, to the bit: not on its place, not on
//! the other rows, not on the instruction set among those with a fused multiply-add. The sum over the rows depends
//! on their losses and number alone; a mean is in range wherever its losses are.
//!
//! NaN in a row gives NaN in its loss. All functions return [`Error::Argument`] if `width` is 0 or an option is out of
//! its range, and [`Error::Shape`] if a length is not `rows * width`, where `rows` is the length of `losses`. Nothing is
//! written before the checks.

mod cosine;
mod cross_entropy;
mod elementwise;
mod gaussian;
mod likelihood;
mod margin;
mod mean_of_terms;
mod regression;
mod targets;

use super::compiled::compiled;
use super::element::Element;
use super::reduce::{self, check_rows, check_width};
use crate::context::Context;
use crate::error::{Error, Result};

pub use cosine::{Cosine, cosine};
pub use cross_entropy::{CrossEntropy, cross_entropy_classes, cross_entropy_soft};
pub use elementwise::{
    binary_cross_entropy_logits, hinge, huber, kl_divergence, kl_divergence_log_target, mean_absolute_error,
    mean_squared_error, smooth_l1, squared_hinge,
};
pub use gaussian::{GaussianNll, gaussian_nll};
pub use likelihood::{NegativeLogLikelihood, negative_log_likelihood};
pub use margin::{MultiClassHinge, multi_class_hinge};
pub use regression::{PoissonNll, log_cosh, poisson_nll};

/// What becomes of the losses of all rows.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Reduction {
    /// Their sum, divided by the sum of their weights.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Nothing: each row's loss and its own gradient are the result. (That is the gradient of the sum, which is
    /// returned.)
    None,
    /// Their sum times this. A mean over a batch that is cut into parts: 1 / the weight of the whole batch.
    Scaled(f64),
}

/// The rows of a batch: their width, their weights, and what is made of their losses.
///
/// ```
/// use gemmule::kernel::loss::{Reduction, Rows};
/// let rows = Rows { width: 10, reduction: Reduction::Mean, sample_weights: Some(&[1.0_f32, 0.5][..]) };
/// assert_eq!(rows, Rows::mean(10).weighted(&[1.0, 0.5]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows<'a, T> {
    /// Values per row.
    pub width: usize,
    /// What becomes of the losses.
    pub reduction: Reduction,
    /// How much each row counts: 1 if there are none.
    pub sample_weights: Option<&'a [T]>,
}

impl<'a, T: Element> Rows<'a, T> {
    const fn new(width: usize, reduction: Reduction) -> Self {
        Self { width, reduction, sample_weights: None }
    }

    /// The mean over rows of `width` values.
    pub const fn mean(width: usize) -> Self {
        Self::new(width, Reduction::Mean)
    }

    /// The sum over rows of `width` values.
    pub const fn sum(width: usize) -> Self {
        Self::new(width, Reduction::Sum)
    }

    /// Each row of `width` values for itself.
    pub const fn each(width: usize) -> Self {
        Self::new(width, Reduction::None)
    }

    /// The sum over rows of `width` values, times `scale`.
    pub const fn scaled(width: usize, scale: f64) -> Self {
        Self::new(width, Reduction::Scaled(scale))
    }

    /// With a weight for each row.
    #[must_use]
    pub const fn weighted(self, sample_weights: &'a [T]) -> Self {
        Self { sample_weights: Some(sample_weights), ..self }
    }

    /// The checks that all losses share; `rows` is their number.
    fn check<const N: usize>(
        &self,
        operation: &'static str,
        rows: usize,
        operands: [(&'static str, usize); N],
        gradient: (&'static str, Option<&[T]>),
    ) -> Result<()> {
        check_width(operation, self.width)?;
        for (what, length) in operands {
            check_rows(operation, what, length, rows, self.width)?;
        }
        if let (what, Some(gradient)) = gradient {
            check_rows(operation, what, gradient.len(), rows, self.width)?;
        }
        if let Some(weights) = self.sample_weights {
            check_per_row(operation, "sample_weights", weights.len(), rows)?;
        }
        Ok(())
    }

    /// The sum of the weights of `rows` rows.
    fn total_weight(&self, context: &Context, rows: usize) -> f64 {
        self.sample_weights.map_or(rows as f64, |weights| reduce::sum(context, weights).to_f64())
    }

    /// What the gradient is multiplied by, and how to make one number of the losses. The weight is only asked for by
    /// the mean.
    fn start(&self, weight: impl FnOnce() -> f64) -> Finish {
        let (scale, divisor) = match self.reduction {
            Reduction::Mean => match weight() {
                0.0 => (0.0, 0.0),
                weight => (1.0 / weight, weight),
            },
            Reduction::Sum | Reduction::None => (1.0, 1.0),
            Reduction::Scaled(scale) => (scale, 1.0),
        };
        Finish { reduction: self.reduction, scale, divisor }
    }
}

/// What is left to do when the rows are done.
struct Finish {
    reduction: Reduction,
    /// The gradient's factor.
    scale: f64,
    /// The sum of the weights, of a mean.
    divisor: f64,
}

impl Finish {
    /// The gradient's factor.
    fn scale<T: Element>(&self) -> T {
        T::from_f64(self.scale)
    }

    /// One number for all losses.
    fn finish<T: Element>(&self, context: &Context, losses: &[T]) -> T {
        let sum = reduce::sum(context, losses);
        match self.reduction {
            Reduction::Sum | Reduction::None => sum,
            Reduction::Scaled(scale) => T::from_f64(sum.to_f64() * scale),
            // Zero, or NaN.
            Reduction::Mean if self.divisor == 0.0 => sum * T::zero(),
            Reduction::Mean if sum.is_infinite() => {
                // The mean may be in range where the sum is not.
                T::from_f64(
                    losses.iter().fold(0.0, |mean, loss| mean + Element::to_f64(*loss) / self.divisor),
                )
            }
            Reduction::Mean => T::from_f64(sum.to_f64() / self.divisor),
        }
    }
}

/// One element per row.
fn check_per_row(operation: &'static str, what: &'static str, length: usize, rows: usize) -> Result<()> {
    if length != rows {
        return Err(Error::shape(operation, what, format_args!("{rows}, one per row"), length));
    }
    Ok(())
}

/// One element per class.
fn check_class_weights<T>(operation: &'static str, weights: Option<&[T]>, width: usize) -> Result<()> {
    match weights {
        Some(weights) if weights.len() != width => {
            let expected = format_args!("{width}, one per class").to_string();
            Err(Error::shape(operation, "class_weights", expected, weights.len()))
        }
        _ => Ok(()),
    }
}

/// `value` as a T that is finite and positive, or 0 if that is allowed.
fn check_size<T: Element>(operation: &'static str, what: &'static str, value: f64, zero: bool) -> Result<T> {
    let rounded = T::from_f64(value);
    if rounded.is_finite() && (rounded > T::zero() || (zero && value == 0.0)) {
        return Ok(rounded);
    }
    let expected = if zero { "a finite number, at least 0" } else { "a finite number above 0" };
    Err(Error::argument(operation, what, expected, value))
}

/// `value` is finite as a T.
fn check_finite<T: Element>(operation: &'static str, what: &'static str, value: f64) -> Result<T> {
    let rounded = T::from_f64(value);
    if rounded.is_finite() {
        return Ok(rounded);
    }
    Err(Error::argument(operation, what, "a finite number", value))
}

/// One class per row, each below `width` or to be ignored.
fn check_classes(
    operation: &'static str,
    classes: &[u32],
    ignore: Option<u32>,
    rows: usize,
    width: usize,
) -> Result<()> {
    check_per_row(operation, "classes", classes.len(), rows)?;
    // The largest first: a plain maximum is a vector loop, a search is not.
    let largest = match ignore {
        None => classes.iter().fold(0, |largest, &class| class.max(largest)),
        Some(ignore) => classes
            .iter()
            .fold(0, |largest, &class| if class == ignore { largest } else { class.max(largest) }),
    };
    if rows > 0 && largest as usize >= width {
        let wrong = |&class: &u32| class as usize >= width && Some(class) != ignore;
        let sample = classes.iter().position(wrong).unwrap_or(0);
        let got = format!("class {} of sample {sample}", classes[sample]);
        return Err(Error::argument(operation, "classes", format_args!("below the width {width}"), got));
    }
    Ok(())
}

compiled! {
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::SquaredError>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::AbsoluteError>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Huber<Self, false>>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Huber<Self, true>>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Hinge<Self, false>>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Hinge<Self, true>>,
    mean_of_terms::MeanOfTerms<'a, Self, regression::LogCosh>,
    mean_of_terms::MeanOfTerms<'a, Self, regression::Poisson<Self, false>>,
    mean_of_terms::MeanOfTerms<'a, Self, regression::Poisson<Self, true>>,
    gaussian::GaussianRows<'a, Self>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::BinaryCrossEntropy>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::WeightedBinaryCrossEntropy<'a, Self>>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Divergence<false>>,
    mean_of_terms::MeanOfTerms<'a, Self, elementwise::Divergence<true>>,
    cross_entropy::Entropy<'a, Self, targets::Classes<'a>>,
    cross_entropy::Entropy<'a, Self, targets::WeightedClasses<'a, Self>>,
    cross_entropy::Entropy<'a, Self, targets::SmoothClasses<'a, Self>>,
    cross_entropy::Entropy<'a, Self, targets::Soft<'a, Self>>,
    cross_entropy::Entropy<'a, Self, targets::WeightedSoft<'a, Self>>,
    margin::MarginRows<'a, Self, false>,
    margin::MarginRows<'a, Self, true>,
    likelihood::LikelihoodRows<'a, Self>,
    cosine::CosineRows<'a, Self>,
}
