//! The hinge loss of several classes.

use super::super::element::Element;
use super::super::loops;
use super::targets::lane_of;
use super::{Rows, check_class_weights, check_classes, check_finite};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// Options of [`multi_class_hinge`]. By default the margin is 1, the terms are not squared, and every class counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiClassHinge<'a, T> {
    /// By how much the class's score is to exceed every other.
    pub margin: f64,
    /// Squares the terms: PyTorch's `p = 2`.
    pub squared: bool,
    /// A factor for the loss of each class.
    pub class_weights: Option<&'a [T]>,
}

impl<T> Default for MultiClassHinge<'_, T> {
    fn default() -> Self {
        Self { margin: 1.0, squared: false, class_weights: None }
    }
}

/// The kernel.
pub struct MarginRows<'a, T, const SQUARED: bool> {
    scores: &'a [T],
    classes: &'a [u32],
    margin: T,
    class_weights: Option<&'a [T]>,
    sample_weights: Option<&'a [T]>,
    width: usize,
    scale: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

cut! { ['a, T: Copy, const SQUARED: bool] MarginRows<'a, T, SQUARED>: per_unit(losses, classes, sample_weights) wide(width: scores, gradient) keep(margin, class_weights, width, scale) }

impl<T: Element, const SQUARED: bool> Kernel for MarginRows<'_, T, SQUARED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { scores, classes, margin, class_weights, sample_weights, width, scale, losses, .. } = self;
        let mut gradient = self.gradient;
        // A power of two that keeps the sum from overflowing where the mean does not.
        let shrink = 1.0 / width.next_power_of_two() as f64;
        let divisor = T::from_f64(width as f64 * shrink);
        let shrink = T::from_f64(shrink);
        let slope = T::from_f64(if SQUARED { 2.0 } else { 1.0 } / width as f64);
        for (i, (x, loss)) in scores.chunks_exact(width).zip(losses).enumerate() {
            let d = gradient.as_deref_mut().map(|d| &mut d[i * width..(i + 1) * width]);
            let mut weight = sample_weights.map_or(T::one(), |weights| weights[i]);
            if weight != T::zero() {
                weight *= class_weights.map_or(T::one(), |weights| weights[classes[i] as usize]);
            }
            if weight == T::zero() {
                *loss = T::zero();
                if let Some(d) = d {
                    d.fill(T::zero());
                }
                continue;
            }
            let factor = scale * weight * slope;
            let sum = margin_row::<T, S, SQUARED>(s, x, classes[i], margin, shrink, factor, d);
            *loss = weight * (sum / divisor);
        }
    }
}

/// The sum of a row's terms, each times `shrink`, and the gradient.
#[inline(always)]
fn margin_row<T: Element, S: Simd, const SQUARED: bool>(
    s: S,
    x: &[T],
    class: u32,
    margin: T,
    shrink: T,
    factor: T,
    mut d: Option<&mut [T]>,
) -> T {
    let lanes = T::V::<S>::LANES;
    let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
    let (shrink, vector_factor) = (T::V::<S>::splat(s, shrink), T::V::<S>::splat(s, factor));
    let short_of = T::V::<S>::splat(s, margin - x[class as usize]);
    let (mut sum, mut slopes) = (zero, zero);
    let mut at = 0;
    while at < x.len() {
        let count = lanes.min(x.len() - at);
        let v = T::V::<S>::load_first(s, &x[at..at + count]);
        // The class itself is no term, but its NaN shows.
        let none = v.select(v.is_nan(), zero);
        let short = zero.max_or_other(short_of + v);
        let short = none.select(lane_of::<T, S>(s, class, at), short);
        let short = short.select(loops::first_lanes::<T, S>(s, count), zero);
        // What is not short is zero, or NaN.
        let slope = if SQUARED { short } else { one.select(short.greater(zero), short) };
        sum = if SQUARED { (short * shrink).mul_add(short, sum) } else { short.mul_add(shrink, sum) };
        slopes = slopes + slope;
        if let Some(d) = d.as_deref_mut() {
            (slope * vector_factor).store_first(&mut d[at..at + count]);
        }
        at += count;
    }
    if let Some(d) = d {
        d[class as usize] = -(loops::tree_sum::<T, S>(slopes) * factor);
    }
    loops::tree_sum::<T, S>(sum)
}

/// The hinge loss of several classes: with `h_j = max(0, margin - scores[i, class] + scores[i, j])` for all j but the
/// class, `losses[i] = w * (sum of h_j) / width`, where w is the weight of the class, 1 without weights. The gradient
/// `d_scores` is `scale * w / width` where h_j is above 0, else 0, and for the class minus the sum of the others.
/// `squared` takes h_j² instead, and `2 h_j` times that. Infinite where a difference or a square overflows.
///
/// PyTorch's `multi_margin_loss`, with its `p` = 1 or 2. Class weights do not count in a mean, as there.
///
/// Shapes: `scores` and `d_scores` (rows, width), `classes` and `losses` (rows), `class_weights` (width).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`](crate::Error::Argument) if a class is not below `width` or the margin
/// is not finite.
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, Rows}};
/// let (context, mut losses, mut d) = (Context::detect()?, [0.0_f32], [0.0; 4]);
/// let scores = [3.0, 1.0, 2.5, 2.25];
/// loss::multi_class_hinge(
///     &context, &scores, &[0], &Default::default(), Rows::mean(4), &mut losses, Some(&mut d),
/// )?;
/// assert_eq!((losses, d), ([0.1875], [-0.5, 0.0, 0.25, 0.25]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn multi_class_hinge<T: Element>(
    context: &Context,
    scores: &[T],
    classes: &[u32],
    options: &MultiClassHinge<'_, T>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_scores: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "multi_class_hinge";
    rows.check(OPERATION, losses.len(), [("scores", scores.len())], ("d_scores", d_scores.as_deref()))?;
    let MultiClassHinge { margin, squared, class_weights } = *options;
    let margin = check_finite(OPERATION, "margin", margin)?;
    check_class_weights(OPERATION, class_weights, rows.width)?;
    check_classes(OPERATION, classes, None, losses.len(), rows.width)?;
    let finish = rows.start(|| rows.total_weight(context, losses.len()));
    let (width, sample_weights, scale, gradient) =
        (rows.width, rows.sample_weights, finish.scale(), d_scores);
    let job = MarginRows::<T, false> {
        scores,
        classes,
        margin,
        class_weights,
        sample_weights,
        width,
        scale,
        losses: &mut *losses,
        gradient,
    };
    if squared {
        share::run::<T, _>(context, job.squared());
    } else {
        share::run::<T, _>(context, job);
    }
    Ok(finish.finish(context, losses))
}

impl<'a, T> MarginRows<'a, T, false> {
    /// The same with squared terms.
    fn squared(self) -> MarginRows<'a, T, true> {
        let Self { scores, classes, margin, class_weights, sample_weights, width, scale, losses, gradient } =
            self;
        MarginRows { scores, classes, margin, class_weights, sample_weights, width, scale, losses, gradient }
    }
}
