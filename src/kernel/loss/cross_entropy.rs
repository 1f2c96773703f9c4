//! Softmax and cross-entropy.
//!
//! With m = max x, e = exp(x - m), E = sum of e and W = sum of t, for all kinds of targets t, and r for how much the row
//! counts:
//!
//! ```text
//!   loss       r * (W * ln(E) + sum of t * (m - x))
//!   gradient   scale * r * (W * e / E - t)
//! ```
//!
//! The logarithm is taken for as many rows at once as a vector has lanes.

use super::super::element::Element;
use super::super::loops;
use super::super::math::Elementary;
use super::super::softmax::{Apart, Nowhere, exp_shifted_sum, row_max};
use super::targets::{Classes, SmoothClasses, Soft, Targets, WeightedClasses, WeightedSoft};
use super::{Rows, check_class_weights, check_classes};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share::{self, Halves, cut};
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

pub struct Entropy<'a, T, G> {
    logits: &'a [T],
    targets: G,
    width: usize,
    scale: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

cut! { ['a, T: Copy, G: Halves] Entropy<'a, T, G>: per_unit(losses, targets) wide(width: logits, gradient) keep(width, scale) }

impl<T: Element, G: Targets<T>> Kernel for Entropy<'_, T, G> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { logits, targets, width, scale, losses, mut gradient } = self;
        let lanes = T::V::<S>::LANES;
        for (block, losses) in losses.chunks_mut(lanes).enumerate() {
            let rows = block * lanes..block * lanes + losses.len();
            let range = rows.start * width..rows.end * width;
            let x = &logits[range.clone()];
            let d = gradient.as_deref_mut().map(|d| &mut d[range]);
            let zeros = [T::zero(); 16];
            let mut sums = Sums { e: [T::one(); 16], t: zeros, rest: zeros, row: [T::one(); 16] };
            if G::WEIGHTED {
                for (row, weight) in rows.clone().zip(&mut sums.row) {
                    *weight = targets.weight(row);
                }
            }
            if width <= lanes {
                narrow_rows(s, targets, rows, x, width, scale, &mut sums, d);
            } else {
                wide_rows(s, targets, rows, x, width, scale, &mut sums, d);
            }
            let logarithms = <T as Elementary>::ln(s, T::V::<S>::load(s, &sums.e));
            let weights = T::V::<S>::load(s, &sums.t);
            let mut loss = weights.mul_add(logarithms, T::V::<S>::load(s, &sums.rest));
            if G::WEIGHTED {
                loss = loss * T::V::<S>::load(s, &sums.row);
            }
            loss.store_first(losses);
        }
    }
}

/// For each row of a block E, W, the sum of t * (m - x), and how much the row counts. Past the last row, and for rows
/// that take no part: ln(1) = 0.
struct Sums<T> {
    e: [T; 16],
    t: [T; 16],
    rest: [T; 16],
    row: [T; 16],
}

impl<T: Element> Sums<T> {
    /// Row `k` takes no part.
    #[inline(always)]
    fn left_out<G: Targets<T>>(&self, k: usize) -> bool {
        G::WEIGHTED && self.row[k] == T::zero()
    }

    /// What row `k`'s gradient is multiplied by.
    #[inline(always)]
    fn scale<G: Targets<T>>(&self, k: usize, scale: T) -> T {
        if G::WEIGHTED { scale * self.row[k] } else { scale }
    }
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
    scale: T,
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
        if sums.left_out::<G>(k) {
            sums.e[k] = T::one();
            continue;
        }
        (sums.t[k], sums.rest[k]) = targets.sums(s, row, x, maxima[k]);
    }
    let Some(d) = d else { return };
    for (k, (d, e)) in d.chunks_exact_mut(width).zip(exponentials.chunks_exact(lanes)).enumerate() {
        if sums.left_out::<G>(k) {
            d.fill(T::zero());
            continue;
        }
        let factor = T::V::<S>::splat(s, sums.t[k] / sums.e[k]);
        let scale = T::V::<S>::splat(s, sums.scale::<G>(k, scale));
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
    scale: T,
    sums: &mut Sums<T>,
    mut d: Option<&mut [T]>,
) {
    for (k, (x, row)) in x.chunks_exact(width).zip(rows).enumerate() {
        let d = d.as_deref_mut().map(|d| &mut d[k * width..(k + 1) * width]);
        if sums.left_out::<G>(k) {
            if let Some(d) = d {
                d.fill(T::zero());
            }
            continue;
        }
        let max = row_max(s, &Nowhere(x));
        (sums.t[k], sums.rest[k]) = targets.sums(s, row, x, max);
        let Some(d) = d else {
            sums.e[k] = exp_shifted_sum::<T, S, false>(s, max, &mut Nowhere(x));
            continue;
        };
        sums.e[k] = exp_shifted_sum::<T, S, true>(s, max, &mut Apart { input: x, output: &mut *d });
        let factor = T::V::<S>::splat(s, sums.t[k] / sums.e[k]);
        let scale = T::V::<S>::splat(s, sums.scale::<G>(k, scale));
        targets.gradient(s, row, d, factor, scale);
    }
}

/// What the logits are compared with besides their targets. By default nothing: every class and every row counts.
///
/// ```
/// use gemmule::kernel::loss::CrossEntropy;
/// let options = CrossEntropy::<f32> { label_smoothing: 0.1, ..Default::default() };
/// assert_eq!(options.ignore_index, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy<'a, T> {
    /// Rows of this class take no part. It need not be below the width; soft targets have none.
    pub ignore_index: Option<u32>,
    /// How much of each target is spread evenly over all classes: from 0 to 1.
    pub label_smoothing: f64,
    /// A factor for the targets of each class.
    pub class_weights: Option<&'a [T]>,
}

impl<T: Element> CrossEntropy<'_, T> {
    /// Checks the options. What is left of a target when it is smoothed, and what each of `width` classes gets.
    fn check(&self, operation: &'static str, width: usize) -> Result<(T, T)> {
        check_class_weights(operation, self.class_weights, width)?;
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(Error::argument(operation, "label_smoothing", "from 0 to 1", self.label_smoothing));
        }
        Ok((T::from_f64(1.0 - self.label_smoothing), T::from_f64(self.label_smoothing / width as f64)))
    }
}

/// The cross-entropy of logits against one class per row:
/// `losses[i] = ln(sum over j of exp(logits[i, j])) - logits[i, classes[i]]`, and
/// `d_logits = scale * (softmax(logits) - onehot(classes))`.
///
/// With options it is that of [`cross_entropy_soft`] against `t = onehot(class)`, smoothed and weighted as there; rows of
/// the class to ignore take no part. A row's weight in a mean is its sample's weight times its class's weight, as in
/// PyTorch.
///
/// Finite for all finite logits unless the difference itself overflows. A logit of minus infinity is a probability
/// of zero; as the row's class it makes the loss infinite. Plus infinity, or minus infinity throughout, gives NaN.
///
/// Shapes: `logits` and `d_logits` (rows, width), `classes` and `losses` (rows), `class_weights` (width).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] if a class is not below `width` or the smoothing not from 0 to 1.
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, CrossEntropy, Rows}};
/// let (context, mut losses, mut d) = (Context::detect()?, [0.0_f32; 2], [7.0; 4]);
/// let options = CrossEntropy { ignore_index: Some(9), ..Default::default() };
/// let (logits, classes) = ([3.0, 3.0, 1.0, f32::NAN], [1, 9]);
/// let mean = loss::cross_entropy_classes(
///     &context, &logits, &classes, &options, Rows::mean(2), &mut losses, Some(&mut d),
/// )?;
/// assert_eq!((mean, losses, d), (2.0_f32.ln(), [2.0_f32.ln(), 0.0], [0.5, -0.5, 0.0, 0.0]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn cross_entropy_classes<T: Element>(
    context: &Context,
    logits: &[T],
    classes: &[u32],
    options: &CrossEntropy<'_, T>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_logits: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "cross_entropy_classes";
    let operands = [("logits", logits.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_logits", d_logits.as_deref()))?;
    let (width, ignore) = (rows.width, options.ignore_index);
    let (kept, spread) = options.check(OPERATION, width)?;
    check_classes(OPERATION, classes, ignore, losses.len(), width)?;
    let CrossEntropy { class_weights, .. } = *options;
    let weighted = WeightedClasses { classes, ignore, class_weights, sample_weights: rows.sample_weights };
    let smooth = options.label_smoothing != 0.0;
    if !smooth && ignore.is_none() && class_weights.is_none() && rows.sample_weights.is_none() {
        let finish = rows.start(|| classes.len() as f64);
        let (targets, scale) = (Classes(classes), finish.scale());
        share::run::<T, _>(
            context,
            Entropy { logits, targets, width, scale, losses: &mut *losses, gradient: d_logits },
        );
        return Ok(finish.finish(context, losses));
    }
    let finish = rows.start(|| weighted.total_weight());
    let (scale, gradient) = (finish.scale(), d_logits);
    if smooth {
        let targets = SmoothClasses { plain: weighted, kept, spread };
        share::run::<T, _>(
            context,
            Entropy { logits, targets, width, scale, losses: &mut *losses, gradient },
        );
    } else {
        let targets = weighted;
        share::run::<T, _>(
            context,
            Entropy { logits, targets, width, scale, losses: &mut *losses, gradient },
        );
    }
    Ok(finish.finish(context, losses))
}

/// The cross-entropy of logits against a weight for each class:
/// `losses[i] = -sum over j of t[i, j] * ln(softmax(logits)[i, j])`, and
/// `d_logits = scale * (softmax(logits) * W - t)`, where `W` is the sum of the row's t, which need not be 1. Without
/// options t is `targets`; a label smoothing s makes it `targets * (1 - s) + s / width`, and then class weights multiply
/// it. (They do not count in a mean, as in PyTorch.)
///
/// A t of zero adds nothing, even where the logit is minus infinity; otherwise infinities are as in
/// [`cross_entropy_classes`].
///
/// Shapes: `logits`, `targets` and `d_logits` (rows, width), `losses` (rows), `class_weights` (width).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] if the smoothing is not from 0 to 1 or there is a class to ignore.
pub fn cross_entropy_soft<T: Element>(
    context: &Context,
    logits: &[T],
    targets: &[T],
    options: &CrossEntropy<'_, T>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_logits: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "cross_entropy_soft";
    let operands = [("logits", logits.len()), ("targets", targets.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_logits", d_logits.as_deref()))?;
    let (kept, spread) = options.check(OPERATION, rows.width)?;
    if let Some(class) = options.ignore_index {
        return Err(Error::argument(OPERATION, "ignore_index", "none, with soft targets", class));
    }
    let finish = rows.start(|| rows.total_weight(context, losses.len()));
    let (width, scale, gradient) = (rows.width, finish.scale(), d_logits);
    let plain = Soft { targets, width };
    let CrossEntropy { class_weights, label_smoothing, .. } = *options;
    let sample_weights = rows.sample_weights;
    if label_smoothing == 0.0 && class_weights.is_none() && sample_weights.is_none() {
        share::run::<T, _>(
            context,
            Entropy { logits, targets: plain, width, scale, losses: &mut *losses, gradient },
        );
    } else {
        let targets = WeightedSoft { plain, kept, spread, class_weights, sample_weights };
        share::run::<T, _>(
            context,
            Entropy { logits, targets, width, scale, losses: &mut *losses, gradient },
        );
    }
    Ok(finish.finish(context, losses))
}
