//! Losses that are a mean or a sum over the row of a function of one value and one target.

use super::super::element::Element;
use super::super::loops::{self, MaskOf};
use super::{Finish, Rows};
use crate::context::Context;
use crate::kernel::compiled::Compiled;
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// One lane's loss and its derivative by `x`.
pub trait Term<T: Element>: Copy {
    /// What the derivative that `apply` gives is to be multiplied by.
    const SLOPE: f64 = 1.0;
    /// A row's loss is the mean of its terms, or their sum.
    const MEAN: bool = true;

    /// The operation on the row's elements from `column` on, `count` of them. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(
        self,
        s: S,
        x: T::V<S>,
        target: T::V<S>,
        column: usize,
        count: usize,
    ) -> (T::V<S>, T::V<S>);
}

/// The kernel.
pub struct MeanOfTerms<'a, T, O> {
    term: O,
    x: &'a [T],
    targets: &'a [T],
    width: usize,
    /// What the derivatives are multiplied by.
    factor: T,
    weights: Option<&'a [T]>,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

impl<'a, T: Element, O: Term<T>> MeanOfTerms<'a, T, O> {
    /// The job for operands that were checked, and what is to be done with its losses.
    pub(super) fn new(
        context: &Context,
        term: O,
        (x, targets): (&'a [T], &'a [T]),
        rows: Rows<'a, T>,
        losses: &'a mut [T],
        gradient: Option<&'a mut [T]>,
    ) -> (Finish, Self) {
        let finish = rows.start(|| rows.total_weight(context, losses.len()));
        let divisor = if O::MEAN { rows.width as f64 } else { 1.0 };
        let factor = T::from_f64(O::SLOPE * finish.scale::<T>().to_f64() / divisor);
        let (width, weights) = (rows.width, rows.sample_weights);
        (finish, Self { term, x, targets, width, factor, weights, losses, gradient })
    }
}

/// Runs a term over operands that were checked; returns what is made of its losses.
pub(super) fn run<T, O>(
    context: &Context,
    term: O,
    operands: (&[T], &[T]),
    rows: Rows<'_, T>,
    losses: &mut [T],
    gradient: Option<&mut [T]>,
) -> T
where
    T: Element + for<'a> Compiled<MeanOfTerms<'a, T, O>>,
    O: Term<T> + Send,
{
    let (finish, job) = MeanOfTerms::new(context, term, operands, rows, &mut *losses, gradient);
    share::run::<T, _>(context, job);
    finish.finish(context, losses)
}

cut! { ['a, T: Copy, O: Copy] MeanOfTerms<'a, T, O>: per_unit(losses, weights) wide(width: x, targets, gradient) keep(term, width, factor) }

impl<T: Element, O: Term<T>> Kernel for MeanOfTerms<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { term, x, targets, width, factor, weights, losses, mut gradient } = self;
        if width == 1 {
            // Rows in lanes: the same bits as below, where a row is alone in its vector.
            return each_its_own(s, term, x, targets, factor, weights, losses, gradient);
        }
        // A power of two that keeps the sum from overflowing where the mean does not; it changes no other bit.
        let (shrink, divisor) =
            if O::MEAN { (1.0 / width.next_power_of_two() as f64, width as f64) } else { (1.0, 1.0) };
        let divisor = T::from_f64(divisor * shrink);
        let shrink = T::V::<S>::splat(s, T::from_f64(shrink));
        let inside = loops::first_lanes::<T, S>(s, width % T::V::<S>::LANES);
        let vector_factor = T::V::<S>::splat(s, factor);
        for (i, loss) in losses.iter_mut().enumerate() {
            let row = i * width..(i + 1) * width;
            let d = gradient.as_deref_mut().map(|d| &mut d[row.clone()]);
            let (x, targets) = (&x[row.clone()], &targets[row]);
            let Some(weights) = weights else {
                *loss = sum_row(s, term, x, targets, shrink, vector_factor, inside, d) / divisor;
                continue;
            };
            let weight = weights[i];
            if weight == T::zero() {
                *loss = T::zero();
                if let Some(d) = d {
                    d.fill(T::zero());
                }
                continue;
            }
            let factor = T::V::<S>::splat(s, factor * weight);
            *loss = weight * (sum_row(s, term, x, targets, shrink, factor, inside, d) / divisor);
        }
    }
}

/// Rows of one value: `losses[i]` is the term itself.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all in registers, and named")]
fn each_its_own<T: Element, S: Simd, O: Term<T>>(
    s: S,
    term: O,
    x: &[T],
    targets: &[T],
    factor: T,
    weights: Option<&[T]>,
    losses: &mut [T],
    mut gradient: Option<&mut [T]>,
) {
    let lanes = T::V::<S>::LANES;
    let (zero, factor) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, factor));
    let mut at = 0;
    while at < x.len() {
        let count = lanes.min(x.len() - at);
        let range = at..at + count;
        let v = T::V::<S>::load_first(s, &x[range.clone()]);
        let t = T::V::<S>::load_first(s, &targets[range.clone()]);
        let (mut loss, slope) = term.apply(s, v, t, 0, count);
        let mut slope = slope * factor;
        if let Some(weights) = weights {
            let w = T::V::<S>::load_first(s, &weights[range.clone()]);
            let left_out = w.equal(zero);
            loss = zero.select(left_out, w * loss);
            slope = zero.select(left_out, w * slope);
        }
        loss.store_first(&mut losses[range.clone()]);
        if let Some(d) = gradient.as_deref_mut() {
            slope.store_first(&mut d[range]);
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
        let (loss, slope) = term.apply(s, v, t, at, lanes);
        sum = loss.mul_add(shrink, sum);
        if let Some(d) = gradient.as_deref_mut() {
            (slope * factor).store(&mut d[at..]);
        }
        at += lanes;
    }
    if whole < x.len() {
        let (v, t) = (T::V::<S>::load_first(s, &x[whole..]), T::V::<S>::load_first(s, &targets[whole..]));
        let (loss, slope) = term.apply(s, v, t, at, x.len() - whole);
        sum = loss.select(inside, zero).mul_add(shrink, sum);
        if let Some(d) = gradient {
            (slope * factor).store_first(&mut d[whole..]);
        }
    }
    loops::tree_sum::<T, S>(sum)
}
