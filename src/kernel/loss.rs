//! Losses per sample and their gradients, in one pass.
//!
//! Every function takes `rows` samples of `width` values each, row by row, writes one loss per sample and, times
//! `scale`, the gradient by its first operand; a mean over the batch has the scale 1 / rows. The `_forward` ones
//! give the same losses without a gradient. A row's results depend on that row alone, to the bit: not on its
//! place, not on the other rows, not on the instruction set among those with a fused multiply-add.
//!
//! NaN in a row gives NaN in its loss. All functions return [`Error::Argument`] if `width` is 0 and
//! [`Error::Shape`] if a length is not `rows * width`, where `rows` is the length of `losses`.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{self, MaskOf};
use super::math::Elementary;
use super::reduce::{check_rows, check_width};
use super::softmax::{exp_shifted_sum, exp_sum, row_max};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// The shapes that all losses share.
fn check<const N: usize>(
    operation: &'static str,
    rows: usize,
    width: usize,
    operands: [(&'static str, usize); N],
) -> Result<()> {
    check_width(operation, width)?;
    operands.into_iter().try_for_each(|(what, length)| check_rows(operation, what, length, rows, width))
}

// ---------------------------------------------------------------------------------------------------------------
// Losses that are a mean over the row of a function of one prediction and one target.

/// One lane's loss and its derivative by `x`.
trait Term<T: Element>: Copy {
    /// The operation. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>);
}

struct MeanOfTerms<'a, T, O> {
    term: O,
    x: &'a [T],
    targets: &'a [T],
    width: usize,
    /// What the derivatives are multiplied by: the caller's scale, divided by the width.
    factor: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

impl<T: Element, O: Term<T>> Kernel for MeanOfTerms<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { term, x, targets, width, factor, losses, mut gradient } = self;
        let factor = T::V::<S>::splat(s, factor);
        if width == 1 {
            // Rows in lanes: the same bits as below, where a row is alone in its vector.
            return each_its_own(s, term, x, targets, factor, losses, gradient);
        }
        // A power of two that keeps the sum from overflowing where the mean does not; it changes no other bit.
        let (shrink, divisor) = (1.0 / width.next_power_of_two() as f64, width as f64);
        let divisor = T::from_f64(divisor * shrink);
        let shrink = T::V::<S>::splat(s, T::from_f64(shrink));
        let inside = loops::first_lanes::<T, S>(s, width % T::V::<S>::LANES);
        for (i, loss) in losses.iter_mut().enumerate() {
            let row = i * width..(i + 1) * width;
            let d = gradient.as_deref_mut().map(|d| &mut d[row.clone()]);
            let sum = sum_row(s, term, &x[row.clone()], &targets[row], shrink, factor, inside, d);
            *loss = sum / divisor;
        }
    }
}

/// Rows of one value: `losses[i]` is the term itself.
#[inline(always)]
fn each_its_own<T: Element, S: Simd, O: Term<T>>(
    s: S,
    term: O,
    x: &[T],
    targets: &[T],
    factor: T::V<S>,
    losses: &mut [T],
    mut gradient: Option<&mut [T]>,
) {
    let lanes = T::V::<S>::LANES;
    let mut at = 0;
    while at < x.len() {
        let count = lanes.min(x.len() - at);
        let range = at..at + count;
        let v = T::V::<S>::load_first(s, &x[range.clone()]);
        let t = T::V::<S>::load_first(s, &targets[range.clone()]);
        let (loss, slope) = term.apply(s, v, t);
        loss.store_first(&mut losses[range.clone()]);
        if let Some(d) = gradient.as_deref_mut() {
            (slope * factor).store_first(&mut d[range]);
        }
        at += count;
    }
}

/// The sum of a row's terms, each times `shrink`, and the derivatives times `factor`. The row's last vector is
/// partly `inside`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all in registers, and named")]
fn sum_row<T: Element, S: Simd, O: Term<T>>(
    s: S,
    term: O,
    x: &[T],
    targets: &[T],
    shrink: T::V<S>,
    factor: T::V<S>,
    inside: MaskOf<T, S>,
    mut gradient: Option<&mut [T]>,
) -> T {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let mut sum = zero;
    let whole = x.len() - x.len() % lanes;
    let mut at = 0;
    while at < whole {
        let (v, t) = (T::V::<S>::load(s, &x[at..]), T::V::<S>::load(s, &targets[at..]));
        let (loss, slope) = term.apply(s, v, t);
        sum = loss.mul_add(shrink, sum);
        if let Some(d) = gradient.as_deref_mut() {
            (slope * factor).store(&mut d[at..]);
        }
        at += lanes;
    }
    if whole < x.len() {
        let (v, t) = (T::V::<S>::load_first(s, &x[whole..]), T::V::<S>::load_first(s, &targets[whole..]));
        let (loss, slope) = term.apply(s, v, t);
        sum = loss.select(inside, zero).mul_add(shrink, sum);
        if let Some(d) = gradient {
            (slope * factor).store_first(&mut d[whole..]);
        }
    }
    loops::tree_sum::<T, S>(sum)
}

#[derive(Clone, Copy)]
struct SquaredError;

impl<T: Element> Term<T> for SquaredError {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let difference = x - target;
        (difference * difference, difference)
    }
}

/// The mean squared error: `losses[i] = mean over j of (prediction[i, j] - target[i, j])^2`, and
/// `d_prediction = scale * 2 * (prediction - target) / width`. Infinite where a square overflows.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](self).
///
/// ```
/// use gemmule::{Context, kernel::loss};
/// let (mut losses, mut d) = ([0.0_f32; 2], [0.0; 4]);
/// let (prediction, target) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.0, 3.0]);
/// loss::mean_squared_error(&Context::detect()?, &prediction, &target, 2, 0.5, &mut losses, &mut d)?;
/// assert_eq!((losses, d), ([2.0, 0.5], [0.0, 1.0, 0.0, 0.5]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn mean_squared_error<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    width: usize,
    scale: T,
    losses: &mut [T],
    d_prediction: &mut [T],
) -> Result<()> {
    let operands =
        [("prediction", prediction.len()), ("target", target.len()), ("d_prediction", d_prediction.len())];
    check("mean_squared_error", losses.len(), width, operands)?;
    T::run(
        context,
        MeanOfTerms {
            term: SquaredError,
            x: prediction,
            targets: target,
            width,
            factor: T::from_f64(2.0 * scale.to_f64() / width as f64),
            losses,
            gradient: Some(d_prediction),
        },
    );
    Ok(())
}

/// The losses of [`mean_squared_error`] alone.
///
/// # Errors
/// As all [losses](self).
pub fn mean_squared_error_forward<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    width: usize,
    losses: &mut [T],
) -> Result<()> {
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    check("mean_squared_error_forward", losses.len(), width, operands)?;
    let (term, factor) = (SquaredError, T::zero());
    T::run(
        context,
        MeanOfTerms { term, x: prediction, targets: target, width, factor, losses, gradient: None },
    );
    Ok(())
}

#[derive(Clone, Copy)]
struct BinaryCrossEntropy;

impl<T: Element> Term<T> for BinaryCrossEntropy {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, z: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
        let e = <T as Elementary>::exp(s, -z.abs());
        let loss = z.mul_add(-target, z.max_or_other(zero)) + <T as Elementary>::ln_1p(s, e);
        let sigmoid = one.select(z.greater_equal(zero), e) / (one + e);
        (loss, sigmoid - target)
    }
}

/// The binary cross-entropy of logits, averaged over the row:
/// `losses[i] = mean over j of max(z, 0) - z * t + ln(1 + exp(-|z|))`, and
/// `d_logits = scale * (sigmoid(z) - t) / width`. Finite for all finite logits; an infinite one gives infinity or
/// NaN. Targets are usually in 0..=1.
///
/// Shapes: `logits`, `targets` and `d_logits` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](self).
pub fn binary_cross_entropy_logits<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    width: usize,
    scale: T,
    losses: &mut [T],
    d_logits: &mut [T],
) -> Result<()> {
    let operands = [("logits", logits.len()), ("targets", targets.len()), ("d_logits", d_logits.len())];
    check("binary_cross_entropy_logits", losses.len(), width, operands)?;
    T::run(
        context,
        MeanOfTerms {
            term: BinaryCrossEntropy,
            x: logits,
            targets,
            width,
            factor: T::from_f64(scale.to_f64() / width as f64),
            losses,
            gradient: Some(d_logits),
        },
    );
    Ok(())
}

/// The losses of [`binary_cross_entropy_logits`] alone.
///
/// # Errors
/// As all [losses](self).
pub fn binary_cross_entropy_logits_forward<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    width: usize,
    losses: &mut [T],
) -> Result<()> {
    let operands = [("logits", logits.len()), ("targets", targets.len())];
    check("binary_cross_entropy_logits_forward", losses.len(), width, operands)?;
    let (term, factor) = (BinaryCrossEntropy, T::zero());
    T::run(context, MeanOfTerms { term, x: logits, targets, width, factor, losses, gradient: None });
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------
// Softmax and cross-entropy.
//
// With m = max x, e = exp(x - m), E = sum of e and W = sum of t, for both kinds of targets:
//
//   loss       W * ln(E) + sum of t * (m - x)
//   gradient   scale * (W * e / E - t)
//
// The logarithm is taken for as many rows at once as a vector has lanes.

/// A row's targets: W, the sum of t * (m - x), and t itself, vector by vector.
trait Targets<T: Element>: Copy {
    /// W and the sum of t * (m - x). Mark it `#[inline(always)]`.
    fn sums<S: Simd>(self, s: S, row: usize, x: &[T], max: T) -> (T, T);
    /// The lanes `start..start + LANES` of t, of which `count` are in the row. Mark it `#[inline(always)]`.
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S>;
}

#[derive(Clone, Copy)]
struct Classes<'a>(&'a [u32]);

impl<T: Element> Targets<T> for Classes<'_> {
    #[inline(always)]
    fn sums<S: Simd>(self, _: S, row: usize, x: &[T], max: T) -> (T, T) {
        (T::one(), max - x[self.0[row] as usize])
    }

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, _: usize) -> T::V<S> {
        // Exact where it matters: a difference within the vector.
        let lane = T::from_f64(f64::from(self.0[row]) - start as f64);
        let hit = loops::lane_numbers::<T, S>(s).equal(T::V::<S>::splat(s, lane));
        T::V::<S>::splat(s, T::one()).select(hit, T::V::<S>::splat(s, T::zero()))
    }
}

#[derive(Clone, Copy)]
struct Soft<'a, T> {
    targets: &'a [T],
    width: usize,
}

impl<T: Element> Targets<T> for Soft<'_, T> {
    #[inline(always)]
    fn sums<S: Simd>(self, s: S, row: usize, x: &[T], max: T) -> (T, T) {
        let lanes = T::V::<S>::LANES;
        let targets = &self.targets[row * self.width..(row + 1) * self.width];
        let zero = T::V::<S>::splat(s, T::zero());
        let minus_half = T::V::<S>::splat(s, T::from_f64(-0.5));
        let half_max = T::V::<S>::splat(s, max * T::from_f64(0.5));
        let (mut weight, mut rest) = (zero, zero);
        for (x, t) in x.chunks(lanes).zip(targets.chunks(lanes)) {
            let (x, t): (T::V<S>, T::V<S>) = (load_up_to(s, x), load_up_to(s, t));
            // Half of m - x cannot overflow. A target of zero takes nothing from a logit of minus infinity.
            let term = x.mul_add(minus_half, half_max) * t;
            weight = weight + t;
            rest = rest + zero.select(t.equal(zero), term);
        }
        let rest = loops::tree_sum::<T, S>(rest);
        (loops::tree_sum::<T, S>(weight), rest + rest)
    }

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S> {
        let at = row * self.width + start;
        load_up_to(s, &self.targets[at..at + count])
    }
}

/// A vector or what is left of a row: whole vectors skip the mask, which is slow on some CPUs.
#[inline(always)]
fn load_up_to<T: Element, S: Simd>(s: S, x: &[T]) -> T::V<S> {
    if x.len() >= T::V::<S>::LANES { T::V::<S>::load(s, x) } else { T::V::<S>::load_first(s, x) }
}

struct CrossEntropy<'a, T, G> {
    logits: &'a [T],
    targets: G,
    width: usize,
    scale: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

impl<T: Element, G: Targets<T>> Kernel for CrossEntropy<'_, T, G> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { logits, targets, width, scale, losses, mut gradient } = self;
        let lanes = T::V::<S>::LANES;
        let scale = T::V::<S>::splat(s, scale);
        for (block, losses) in losses.chunks_mut(lanes).enumerate() {
            let rows = block * lanes..block * lanes + losses.len();
            let range = rows.start * width..rows.end * width;
            let x = &logits[range.clone()];
            let d = gradient.as_deref_mut().map(|d| &mut d[range]);
            let mut sums = Sums { e: [T::one(); 16], t: [T::zero(); 16], rest: [T::zero(); 16] };
            if width <= lanes {
                narrow_rows(s, targets, rows, x, width, scale, &mut sums, d);
            } else {
                wide_rows(s, targets, rows, x, width, scale, &mut sums, d);
            }
            let logarithms = <T as Elementary>::ln(s, T::V::<S>::load(s, &sums.e));
            let weights = T::V::<S>::load(s, &sums.t);
            weights.mul_add(logarithms, T::V::<S>::load(s, &sums.rest)).store_first(losses);
        }
    }
}

/// For each row of a block E, W, and the sum of t * (m - x). Past the last row: ln(1) = 0.
struct Sums<T> {
    e: [T; 16],
    t: [T; 16],
    rest: [T; 16],
}

/// Rows of at most one vector each. Every step is done for all rows before the next begins: the chain from a row's
/// first load to its last store is long, and side by side the rows hide each other's latency.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all in registers, and named")]
fn narrow_rows<T: Element, S: Simd, G: Targets<T>>(
    s: S,
    targets: G,
    rows: Range<usize>,
    x: &[T],
    width: usize,
    scale: T::V<S>,
    sums: &mut Sums<T>,
    d: Option<&mut [T]>,
) {
    let lanes = T::V::<S>::LANES;
    let lowest = T::V::<S>::splat(s, T::neg_infinity());
    let inside = loops::first_lanes::<T, S>(s, width);
    let mut maxima = [T::zero(); 16];
    for (x, max) in x.chunks_exact(width).zip(&mut maxima) {
        let v = T::V::<S>::load_first(s, x).select(inside, lowest);
        // NaN is no maximum here: it comes back in its lane's exponential.
        *max = loops::tree_max::<T, S>(v.max_or_other(lowest));
    }
    let mut exponentials = [T::zero(); 256];
    for (k, (x, e)) in x.chunks_exact(width).zip(exponentials.chunks_exact_mut(lanes)).enumerate() {
        let v = T::V::<S>::load_first(s, x).select(inside, lowest);
        let v = <T as Elementary>::exp(s, v - T::V::<S>::splat(s, maxima[k]));
        v.store(e);
        sums.e[k] = loops::tree_sum::<T, S>(v);
    }
    for (k, (x, row)) in x.chunks_exact(width).zip(rows.clone()).enumerate() {
        (sums.t[k], sums.rest[k]) = targets.sums(s, row, x, maxima[k]);
    }
    let Some(d) = d else { return };
    for (k, (d, e)) in d.chunks_exact_mut(width).zip(exponentials.chunks_exact(lanes)).enumerate() {
        let factor = T::V::<S>::splat(s, sums.t[k] / sums.e[k]);
        let t = targets.load(s, rows.start + k, 0, width);
        (T::V::<S>::load(s, e).mul_add(factor, -t) * scale).store_first(d);
    }
}

/// Rows of several vectors. The exponentials wait in `d` for their sum.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all in registers, and named")]
fn wide_rows<T: Element, S: Simd, G: Targets<T>>(
    s: S,
    targets: G,
    rows: Range<usize>,
    x: &[T],
    width: usize,
    scale: T::V<S>,
    sums: &mut Sums<T>,
    mut d: Option<&mut [T]>,
) {
    let lanes = T::V::<S>::LANES;
    for (k, (x, row)) in x.chunks_exact(width).zip(rows).enumerate() {
        let max = row_max(s, x);
        (sums.t[k], sums.rest[k]) = targets.sums(s, row, x, max);
        let Some(d) = d.as_deref_mut() else {
            sums.e[k] = exp_sum(s, x, max);
            continue;
        };
        let d = &mut d[k * width..(k + 1) * width];
        sums.e[k] = exp_shifted_sum(s, x, max, d);
        let factor = T::V::<S>::splat(s, sums.t[k] / sums.e[k]);
        let mut parts = d.chunks_exact_mut(lanes);
        let mut start = 0;
        for part in &mut parts {
            let t = targets.load(s, row, start, lanes);
            (T::V::<S>::load(s, part).mul_add(factor, -t) * scale).store(part);
            start += lanes;
        }
        let tail = parts.into_remainder();
        if !tail.is_empty() {
            let t = targets.load(s, row, start, tail.len());
            (T::V::<S>::load_first(s, tail).mul_add(factor, -t) * scale).store_first(tail);
        }
    }
}

/// Every class is below `width`.
fn check_classes(operation: &'static str, classes: &[u32], rows: usize, width: usize) -> Result<()> {
    if classes.len() != rows {
        return Err(Error::shape(operation, "classes", format_args!("{rows}, one per row"), classes.len()));
    }
    // The largest first: a plain maximum is a vector loop, a search is not.
    let largest = classes.iter().fold(0, |largest, &class| class.max(largest));
    if rows > 0 && largest as usize >= width {
        let sample = classes.iter().position(|&class| class as usize >= width).unwrap_or(0);
        let got = format!("class {} of sample {sample}", classes[sample]);
        return Err(Error::argument(operation, "classes", format_args!("below the width {width}"), got));
    }
    Ok(())
}

/// The cross-entropy of logits against one class per row:
/// `losses[i] = ln(sum over j of exp(logits[i, j])) - logits[i, classes[i]]`, and
/// `d_logits = scale * (softmax(logits) - onehot(classes))`.
///
/// Finite for all finite logits unless the difference itself overflows. A logit of minus infinity is a probability
/// of zero; as the row's class it makes the loss infinite. Plus infinity, or minus infinity throughout, gives NaN.
///
/// Shapes: `logits` and `d_logits` (rows, width), `classes` and `losses` (rows).
///
/// # Errors
/// As all [losses](self), and [`Error::Argument`] if a class is not below `width`, before anything is written.
///
/// ```
/// use gemmule::{Context, kernel::loss};
/// let (mut losses, mut d) = ([0.0_f32; 1], [0.0; 2]);
/// loss::cross_entropy_classes(&Context::detect()?, &[3.0, 3.0], &[1], 2, 1.0, &mut losses, &mut d)?;
/// assert_eq!((losses, d), ([2.0_f32.ln()], [0.5, -0.5]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn cross_entropy_classes<T: Element>(
    context: &Context,
    logits: &[T],
    classes: &[u32],
    width: usize,
    scale: T,
    losses: &mut [T],
    d_logits: &mut [T],
) -> Result<()> {
    const OPERATION: &str = "cross_entropy_classes";
    check(OPERATION, losses.len(), width, [("logits", logits.len()), ("d_logits", d_logits.len())])?;
    check_classes(OPERATION, classes, losses.len(), width)?;
    let (targets, gradient) = (Classes(classes), Some(d_logits));
    T::run(context, CrossEntropy { logits, targets, width, scale, losses, gradient });
    Ok(())
}

/// The losses of [`cross_entropy_classes`] alone.
///
/// # Errors
/// As [`cross_entropy_classes`].
pub fn cross_entropy_classes_forward<T: Element>(
    context: &Context,
    logits: &[T],
    classes: &[u32],
    width: usize,
    losses: &mut [T],
) -> Result<()> {
    const OPERATION: &str = "cross_entropy_classes_forward";
    check(OPERATION, losses.len(), width, [("logits", logits.len())])?;
    check_classes(OPERATION, classes, losses.len(), width)?;
    let targets = Classes(classes);
    T::run(context, CrossEntropy { logits, targets, width, scale: T::zero(), losses, gradient: None });
    Ok(())
}

/// The cross-entropy of logits against a weight for each class:
/// `losses[i] = -sum over j of targets[i, j] * ln(softmax(logits)[i, j])`, and
/// `d_logits = scale * (softmax(logits) * W - targets)`, where `W` is the sum of the row's targets, which need
/// not be 1. A target of zero adds nothing, even where the logit is minus infinity; otherwise infinities are as in
/// [`cross_entropy_classes`].
///
/// Shapes: `logits`, `targets` and `d_logits` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](self).
pub fn cross_entropy_soft<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    width: usize,
    scale: T,
    losses: &mut [T],
    d_logits: &mut [T],
) -> Result<()> {
    let operands = [("logits", logits.len()), ("targets", targets.len()), ("d_logits", d_logits.len())];
    check("cross_entropy_soft", losses.len(), width, operands)?;
    let (targets, gradient) = (Soft { targets, width }, Some(d_logits));
    T::run(context, CrossEntropy { logits, targets, width, scale, losses, gradient });
    Ok(())
}

/// The losses of [`cross_entropy_soft`] alone.
///
/// # Errors
/// As all [losses](self).
pub fn cross_entropy_soft_forward<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    width: usize,
    losses: &mut [T],
) -> Result<()> {
    let operands = [("logits", logits.len()), ("targets", targets.len())];
    check("cross_entropy_soft_forward", losses.len(), width, operands)?;
    let targets = Soft { targets, width };
    T::run(context, CrossEntropy { logits, targets, width, scale: T::zero(), losses, gradient: None });
    Ok(())
}

compiled! {
    MeanOfTerms<'a, Self, SquaredError>,
    MeanOfTerms<'a, Self, BinaryCrossEntropy>,
    CrossEntropy<'a, Self, Classes<'a>>,
    CrossEntropy<'a, Self, Soft<'a, Self>>,
}
