//! The largest and the smallest element. NaN is beyond everything.

use super::columns::{Fold, folds};
use super::rows::{Row, Rows, whole_by_chunks};
use super::{SUM_CHUNK, check_by_column, check_by_row, check_some};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::{self, MaskOf};
use crate::kernel::share;
use crate::simd::{Mask, Simd, Vector};

/// Which of two elements is the better one: the larger or the smaller.
pub(super) trait Order<T: Element>: Copy {
    /// None is worse.
    fn worst(self) -> T;
    /// `a` is better than `b`, neither of which is NaN.
    fn is_better(self, a: T, b: T) -> bool;
    /// `if a is better than b { a } else { b }`: `b` if either is NaN or both are zero.
    fn better_or_other<S: Simd>(self, s: S, a: T::V<S>, b: T::V<S>) -> T::V<S>;
    /// True where `a` is NaN, or better than `b` or equal to it: false where `b` alone is NaN.
    fn holds<S: Simd>(self, s: S, a: T::V<S>, b: T::V<S>) -> MaskOf<T, S>;
}

#[derive(Clone, Copy)]
pub(super) struct Largest;

impl<T: Element> Order<T> for Largest {
    #[inline(always)]
    fn worst(self) -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn is_better(self, a: T, b: T) -> bool {
        a > b
    }
    #[inline(always)]
    fn better_or_other<S: Simd>(self, _: S, a: T::V<S>, b: T::V<S>) -> T::V<S> {
        a.max_or_other(b)
    }
    #[inline(always)]
    fn holds<S: Simd>(self, _: S, a: T::V<S>, b: T::V<S>) -> MaskOf<T, S> {
        a.greater_equal(b).or(a.is_nan())
    }
}

#[derive(Clone, Copy)]
pub(super) struct Smallest;

impl<T: Element> Order<T> for Smallest {
    #[inline(always)]
    fn worst(self) -> T {
        T::infinity()
    }
    #[inline(always)]
    fn is_better(self, a: T, b: T) -> bool {
        a < b
    }
    #[inline(always)]
    fn better_or_other<S: Simd>(self, _: S, a: T::V<S>, b: T::V<S>) -> T::V<S> {
        a.min_or_other(b)
    }
    #[inline(always)]
    fn holds<S: Simd>(self, _: S, a: T::V<S>, b: T::V<S>) -> MaskOf<T, S> {
        b.greater_equal(a).or(a.is_nan())
    }
}

/// The best element that is not NaN (the worst there is if there is none), and whether there is a NaN.
///
/// Infinities may hide among the marks of NaN, so a mark is followed by a look at the elements: a product and an
/// addition next to each comparison cost less than a second comparison.
#[inline(always)]
pub(super) fn best<T: Element, S: Simd, O: Order<T>>(s: S, order: O, x: &[T]) -> (T, bool) {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let worst = T::V::<S>::splat(s, order.worst());
    let (mut values, mut marks) = ([worst; 4], [zero; 4]);
    let mut blocks = x.chunks_exact(4 * lanes);
    for block in &mut blocks {
        let mut k = 0;
        while k < 4 {
            let v = T::V::<S>::load(s, &block[k * lanes..]);
            values[k] = order.better_or_other(s, v, values[k]);
            marks[k] = v.mul_add(zero, marks[k]);
            k += 1;
        }
    }
    let mut rest = blocks.remainder().chunks_exact(lanes);
    for part in &mut rest {
        let v = T::V::<S>::load(s, part);
        values[0] = order.better_or_other(s, v, values[0]);
        marks[0] = v.mul_add(zero, marks[0]);
    }
    let tail = rest.remainder();
    if !tail.is_empty() {
        let v = T::V::<S>::load_first(s, tail);
        marks[1] = v.mul_add(zero, marks[1]);
        let v = v.select(loops::first_lanes::<T, S>(s, tail.len()), worst);
        values[1] = order.better_or_other(s, v, values[1]);
    }
    let low = order.better_or_other(s, values[1], values[0]);
    let high = order.better_or_other(s, values[3], values[2]);
    let marked = ((marks[0] + marks[1]) + (marks[2] + marks[3])).is_nan().any();
    (tree_best(s, order, order.better_or_other(s, high, low)), marked && has_nan(s, x))
}

/// The best of all lanes, none of which is NaN.
#[inline(always)]
fn tree_best<T: Element, S: Simd, O: Order<T>>(_: S, order: O, v: T::V<S>) -> T {
    let mut lanes = [T::zero(); 16];
    v.store_first(&mut lanes);
    let mut half = T::V::<S>::LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = if order.is_better(lanes[i], lanes[i + half]) { lanes[i] } else { lanes[i + half] };
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn has_nan<T: Element, S: Simd>(s: S, x: &[T]) -> bool {
    let lanes = T::V::<S>::LANES;
    let chunks = x.chunks_exact(lanes);
    let mut nan = T::V::<S>::load_first(s, chunks.remainder()).is_nan();
    for chunk in chunks {
        nan = nan.or(T::V::<S>::load(s, chunk).is_nan());
    }
    nan.any()
}

#[inline(always)]
fn extreme<T: Element, S: Simd, O: Order<T>>(s: S, order: O, x: &[T]) -> T {
    let mut found = order.worst();
    for chunk in x.chunks(SUM_CHUNK) {
        let (value, nan) = best(s, order, chunk);
        if nan {
            return T::nan();
        }
        found = if order.is_better(value, found) { value } else { found };
    }
    found
}

macro_rules! reduction {
    ($order:ident) => {
        impl<T: Element> Row<T> for $order {
            #[inline(always)]
            fn row<S: Simd>(self, s: S, row: &[T]) -> T {
                extreme(s, self, row)
            }
        }

        impl<T: Element> Fold<T, 1> for $order {
            #[inline(always)]
            fn start(self) -> T {
                Order::<T>::worst(self)
            }
            // Where the value holds, it stays, a NaN too; elsewhere x is better, or a NaN.
            #[inline(always)]
            fn step<S: Simd>(self, s: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
                value.select(Order::<T>::holds(self, s, value, x), x)
            }
        }
    };
}
reduction!(Largest);
reduction!(Smallest);

/// The largest element; NaN if any is NaN. Of two zeros either may be returned.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if there are none.
///
/// ```
/// use gemmule::{Context, kernel::reduce};
/// let (context, x) = (Context::detect()?, [2.0_f32, -7.0, 5.0]);
/// assert_eq!((reduce::max(&context, &x)?, reduce::min(&context, &x)?), (5.0, -7.0));
/// assert_eq!((reduce::argmax(&context, &x)?, reduce::argmin(&context, &x)?), (2, 1));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn max<T: Element>(context: &Context, x: &[T]) -> Result<T> {
    check_some("max", x.len())?;
    Ok(whole_by_chunks(context, Largest, x, |most, x| if x > most || x.is_nan() { x } else { most }))
}

/// The smallest element; NaN if any is NaN. Of two zeros either may be returned.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if there are none.
pub fn min<T: Element>(context: &Context, x: &[T]) -> Result<T> {
    check_some("min", x.len())?;
    Ok(whole_by_chunks(context, Smallest, x, |least, x| if x < least || x.is_nan() { x } else { least }))
}

/// The largest element of each row: see [`max`].
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0; [`Error::Shape`](crate::Error::Shape) if the
/// lengths do not fit.
pub fn max_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_by_row("max_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, Rows { reduction: Largest, input, width, out });
    Ok(())
}

/// The smallest element of each row: see [`min`].
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0; [`Error::Shape`](crate::Error::Shape) if the
/// lengths do not fit.
pub fn min_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_by_row("min_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, Rows { reduction: Smallest, input, width, out });
    Ok(())
}

/// The largest element of each column: see [`max`].
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0 or there are no rows;
/// [`Error::Shape`](crate::Error::Shape) if the lengths do not fit.
pub fn column_max<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    let rows = check_by_column("column_max", input.len(), width, out.len(), 1)?;
    folds(context, Largest, [input], rows, out);
    Ok(())
}

/// The smallest element of each column: see [`min`].
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0 or there are no rows;
/// [`Error::Shape`](crate::Error::Shape) if the lengths do not fit.
pub fn column_min<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    let rows = check_by_column("column_min", input.len(), width, out.len(), 1)?;
    folds(context, Smallest, [input], rows, out);
    Ok(())
}
