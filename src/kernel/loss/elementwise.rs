//! The losses of one value against one target: squared, absolute, Huber, hinge, binary cross-entropy, divergence.

use super::super::element::Element;
use super::super::math::Elementary;
use super::mean_of_terms::{self, MeanOfTerms, Term};
use super::{Rows, check_finite, check_size};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share;
use crate::simd::{Mask, Simd, Vector};

/// -1, 0 or 1; NaN stays.
#[inline(always)]
fn sign<T: Element, S: Simd>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
    one.select(x.greater(zero), (-one).select(zero.greater(x), x))
}

#[derive(Clone, Copy)]
pub struct SquaredError;

impl<T: Element> Term<T> for SquaredError {
    const SLOPE: f64 = 2.0;

    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let difference = x - target;
        (difference * difference, difference)
    }
}

#[derive(Clone, Copy)]
pub struct AbsoluteError;

impl<T: Element> Term<T> for AbsoluteError {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let difference = x - target;
        (difference.abs(), sign::<T, S>(s, difference))
    }
}

/// Huber's loss, or (`SMOOTH`) that divided by its bend.
#[derive(Clone, Copy)]
pub struct Huber<T, const SMOOTH: bool> {
    bend: T,
}

impl<T: Element, const SMOOTH: bool> Term<T> for Huber<T, SMOOTH> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let bend = T::V::<S>::splat(s, self.bend);
        let difference = x - target;
        let size = difference.abs();
        // One formula for both sides of the bend: c (|d| - c / 2) with c = min(|d|, bend).
        let inner = bend.min_or_other(size);
        let rest = inner.mul_add(T::V::<S>::splat(s, T::from_f64(-0.5)), size);
        let slope = bend.min_or_other((-bend).max_or_other(difference));
        if SMOOTH { (inner / bend * rest, slope / bend) } else { (inner * rest, slope) }
    }
}

/// The hinge, or (`SQUARED`) its square.
#[derive(Clone, Copy)]
pub struct Hinge<T, const SQUARED: bool> {
    margin: T,
}

impl<T: Element, const SQUARED: bool> Term<T> for Hinge<T, SQUARED> {
    const SLOPE: f64 = if SQUARED { 2.0 } else { 1.0 };

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let zero = T::V::<S>::splat(s, T::zero());
        let short = (-target).mul_add(x, T::V::<S>::splat(s, self.margin));
        let loss = zero.max_or_other(short);
        if SQUARED {
            return (loss * loss, (-target) * loss);
        }
        // Where nothing is short the loss is zero, or NaN.
        (loss, (-target).select(short.greater(zero), loss))
    }
}

#[derive(Clone, Copy)]
pub struct BinaryCrossEntropy;

impl<T: Element> Term<T> for BinaryCrossEntropy {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, z: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
        let e = <T as Elementary>::exp(s, -z.abs());
        let loss = z.mul_add(-target, z.max_or_other(zero)) + <T as Elementary>::ln_1p(s, e);
        let sigmoid = one.select(z.greater_equal(zero), e) / (one + e);
        (loss, sigmoid - target)
    }
}

/// With a weight for the positive part of each column, or one for all.
#[derive(Clone, Copy)]
pub struct WeightedBinaryCrossEntropy<'a, T> {
    positive: &'a [T],
}

impl<T: Element> Term<T> for WeightedBinaryCrossEntropy<'_, T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        z: T::V<S>,
        target: T::V<S>,
        at: usize,
        count: usize,
    ) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
        let positive = match self.positive {
            &[positive] => T::V::<S>::splat(s, positive),
            positive => T::V::<S>::load_first(s, &positive[at..at + count]),
        };
        // t p -ln σ(z) + (1 - t) -ln(1 - σ(z)), where -ln(1 - σ) is z more than -ln σ = softplus(-z).
        let weight = positive * target;
        let rest = one - target;
        let e = <T as Elementary>::exp(s, -z.abs());
        let softplus = <T as Elementary>::ln_1p(s, e);
        let (below, above) = ((-z).max_or_other(zero) + softplus, z.max_or_other(zero) + softplus);
        let (larger, smaller) = (one / (one + e), e / (one + e));
        let positive = z.greater_equal(zero);
        let sigmoid = larger.select(positive, smaller);
        let complement = smaller.select(positive, larger);
        (weight.mul_add(below, rest * above), rest.mul_add(sigmoid, -(weight * complement)))
    }
}

/// Kullback and Leibler's, of probabilities or (`LOG`) of their logarithms.
#[derive(Clone, Copy)]
pub struct Divergence<const LOG: bool>;

impl<T: Element, const LOG: bool> Term<T> for Divergence<LOG> {
    const MEAN: bool = false;

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let zero = T::V::<S>::splat(s, T::zero());
        let (p, ln_p) = if LOG {
            (<T as Elementary>::exp(s, target), target)
        } else {
            (target, <T as Elementary>::ln(s, target))
        };
        // A target of zero takes nothing from a logarithm of minus infinity.
        let nothing = p.equal(zero).and(x.is_nan().not());
        (zero.select(nothing, p * (ln_p - x)), -p)
    }
}

/// The mean squared error: `losses[i] = mean over j of (prediction[i, j] - target[i, j])^2`, and
/// `d_prediction = scale * 2 * (prediction - target) / width`. Infinite where a square overflows.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super).
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, Rows}};
/// let (context, mut losses, mut d) = (Context::detect()?, [0.0_f32; 2], [0.0; 4]);
/// let (prediction, target) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.0, 3.0]);
/// let mean =
///     loss::mean_squared_error(&context, &prediction, &target, Rows::mean(2), &mut losses, Some(&mut d))?;
/// assert_eq!((mean, losses, d), (1.25, [2.0, 0.5], [0.0, 1.0, 0.0, 0.5]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn mean_squared_error<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "mean_squared_error";
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    let operands = (prediction, target);
    let (finish, job) = MeanOfTerms::new(context, SquaredError, operands, rows, &mut *losses, d_prediction);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// The mean absolute error: `losses[i] = mean over j of |prediction[i, j] - target[i, j]|`, and
/// `d_prediction = scale * sign(prediction - target) / width`, 0 where they are equal.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super).
pub fn mean_absolute_error<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "mean_absolute_error";
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    let operands = (prediction, target);
    let (finish, job) = MeanOfTerms::new(context, AbsoluteError, operands, rows, &mut *losses, d_prediction);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// Huber's loss: with d = prediction - target, `losses[i]` is the mean over j of `d^2 / 2` where `|d| <= delta` and of
/// `delta * (|d| - delta / 2)` elsewhere; `d_prediction = scale * clamp(d, -delta, delta) / width`. PyTorch's delta is 1.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] unless `delta` is finite and above 0.
pub fn huber<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    delta: f64,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "huber";
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    let term = Huber::<T, false> { bend: check_size(OPERATION, "delta", delta, false)? };
    let operands = (prediction, target);
    let (finish, job) = MeanOfTerms::new(context, term, operands, rows, &mut *losses, d_prediction);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// The smooth absolute error: [`huber`] divided by its delta, here called `beta`, so that the arms have the slope 1. With
/// a beta of 0 it is the [mean absolute error](mean_absolute_error). PyTorch's beta is 1.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] unless `beta` is finite and at least 0.
pub fn smooth_l1<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    beta: f64,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "smooth_l1";
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    let operands = (prediction, target);
    let bend = check_size(OPERATION, "beta", beta, true)?;
    if bend == T::zero() {
        let (finish, job) =
            MeanOfTerms::new(context, AbsoluteError, operands, rows, &mut *losses, d_prediction);
        share::run::<T, _>(context, job);
        return Ok(finish.finish(context, losses));
    }
    let (finish, job) =
        MeanOfTerms::new(context, Huber::<T, true> { bend }, operands, rows, &mut *losses, d_prediction);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// The hinge loss of a score against -1 or 1: `losses[i] = mean over j of max(0, margin - target * score)`, and
/// `d_score = -scale * target / width` where that is above 0, else 0. The usual margin is 1. Targets are not checked:
/// others stretch the score.
///
/// Shapes: `score`, `target` and `d_score` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] if `margin` is not finite.
pub fn hinge<T: Element>(
    context: &Context,
    score: &[T],
    target: &[T],
    margin: f64,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_score: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "hinge";
    let operands = [("score", score.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_score", d_score.as_deref()))?;
    let term = Hinge::<T, false> { margin: check_finite(OPERATION, "margin", margin)? };
    Ok(mean_of_terms::run(context, term, (score, target), rows, losses, d_score))
}

/// The squared [`hinge`] loss: `losses[i] = mean over j of max(0, margin - target * score)^2`, and
/// `d_score = -scale * 2 * target * max(0, margin - target * score) / width`. Infinite where a square overflows. Keras'
/// `SquaredHinge` has a margin of 1.
///
/// Shapes: `score`, `target` and `d_score` (rows, width), `losses` (rows).
///
/// # Errors
/// As [`hinge`].
pub fn squared_hinge<T: Element>(
    context: &Context,
    score: &[T],
    target: &[T],
    margin: f64,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_score: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "squared_hinge";
    let operands = [("score", score.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_score", d_score.as_deref()))?;
    let term = Hinge::<T, true> { margin: check_finite(OPERATION, "margin", margin)? };
    Ok(mean_of_terms::run(context, term, (score, target), rows, losses, d_score))
}

/// The binary cross-entropy of logits, averaged over the row:
/// `losses[i] = mean over j of max(z, 0) - z * t + ln(1 + exp(-|z|))`, and
/// `d_logits = scale * (sigmoid(z) - t) / width`. Finite for all finite logits; an infinite one gives infinity or
/// NaN. Targets are usually in 0..=1.
///
/// `positive_weight`, one per column or one for all, multiplies what the positive part `t` of a target costs:
/// `losses[i] = mean over j of p t softplus(-z) + (1 - t) softplus(z)`.
///
/// Shapes: `logits`, `targets` and `d_logits` (rows, width), `losses` (rows), `positive_weight` (width) or (1).
///
/// # Errors
/// As all [losses](super).
pub fn binary_cross_entropy_logits<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    positive_weight: Option<&[T]>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_logits: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "binary_cross_entropy_logits";
    let operands = [("logits", logits.len()), ("targets", targets.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_logits", d_logits.as_deref()))?;
    let operands = (logits, targets);
    if let Some(positive) = positive_weight {
        if positive.len() != 1 && positive.len() != rows.width {
            let expected = format_args!("{}, one per column, or 1", rows.width).to_string();
            return Err(Error::shape(OPERATION, "positive_weight", expected, positive.len()));
        }
        let term = WeightedBinaryCrossEntropy { positive };
        let (finish, job) = MeanOfTerms::new(context, term, operands, rows, &mut *losses, d_logits);
        share::run::<T, _>(context, job);
        return Ok(finish.finish(context, losses));
    }
    let (finish, job) = MeanOfTerms::new(context, BinaryCrossEntropy, operands, rows, &mut *losses, d_logits);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// The divergence of the distribution with these logarithms (x) from that of the targets (t):
/// `losses[i] = sum over j of t * (ln(t) - x)`, and `d_log_probabilities = -scale * t`. A target of zero adds nothing,
/// even where the logarithm is -infinity; one below zero gives NaN.
///
/// The mean over the rows is PyTorch's `batchmean`; its `mean` also divides by the width.
///
/// Shapes: `log_probabilities`, `targets` and `d_log_probabilities` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super).
pub fn kl_divergence<T: Element>(
    context: &Context,
    log_probabilities: &[T],
    targets: &[T],
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_log_probabilities: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "kl_divergence";
    let operands = [("log_probabilities", log_probabilities.len()), ("targets", targets.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_log_probabilities", d_log_probabilities.as_deref()))?;
    let operands = (log_probabilities, targets);
    let (finish, job) =
        MeanOfTerms::new(context, Divergence::<false>, operands, rows, &mut *losses, d_log_probabilities);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

/// [`kl_divergence`] of targets that are logarithms too: `losses[i] = sum over j of exp(t) * (t - x)`, and
/// `d_log_probabilities = -scale * exp(t)`. A target of -infinity adds nothing.
///
/// Shapes: `log_probabilities`, `targets` and `d_log_probabilities` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super).
pub fn kl_divergence_log_target<T: Element>(
    context: &Context,
    log_probabilities: &[T],
    targets: &[T],
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_log_probabilities: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "kl_divergence_log_target";
    let operands = [("log_probabilities", log_probabilities.len()), ("targets", targets.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_log_probabilities", d_log_probabilities.as_deref()))?;
    let operands = (log_probabilities, targets);
    let (finish, job) =
        MeanOfTerms::new(context, Divergence::<true>, operands, rows, &mut *losses, d_log_probabilities);
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}
