//! Norms: L1, L2 without overflow or underflow, L-infinity.

use super::columns::{Columns, Fold, Part, fold, folds};
use super::extreme::{Largest, Order};
use super::rows::{Row, Rows, whole, whole_by_chunks};
use super::sum::{chunked, products, sum_squares};
use super::{SUM_CHUNK, check_by_column, check_by_row};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::{self, MaskOf, Unary};
use crate::kernel::share::{self, cut};
use crate::simd::{Bits, Kernel, Mask, Simd, Vector};

/// The length of a vector, in one of three senses.
///
/// [`L2`](Self::L2) is the root of the sum of squares if that is finite and at least the length times the smallest
/// normal number: nothing that counts was lost then. Otherwise the elements are multiplied by the power of two that
/// brings the largest magnitude to at least 1 and below 2 (or, if it is subnormal, below 1), and the root is
/// multiplied by its inverse: both are exact. So 1e30 and 1e-30 are no trouble in f32, and only a norm that is beyond
/// the largest number is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Norm {
    /// The sum of the magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
    /// The largest magnitude.
    Infinity,
}

#[derive(Clone, Copy)]
pub(super) struct Absolute;

impl<T: Element> Unary<T> for Absolute {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>) -> T::V<S> {
        x.abs()
    }
}

impl<T: Element> Row<T> for Absolute {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        chunked(s, Absolute, row)
    }
}

impl<T: Element> Fold<T, 1> for Absolute {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, _: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        value + x.abs()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Magnitude;

impl<T: Element> Fold<T, 1> for Magnitude {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, s: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        value.select(Order::<T>::holds(Largest, s, value, x.abs()), x.abs())
    }
}

impl<T: Element> Row<T> for Magnitude {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        let lanes = T::V::<S>::LANES;
        let mut values = [T::V::<S>::splat(s, T::zero()); 4];
        let mut blocks = row.chunks_exact(4 * lanes);
        for block in &mut blocks {
            let mut k = 0;
            while k < 4 {
                let x = T::V::<S>::load(s, &block[k * lanes..]);
                values[k] = Fold::<T, 1>::step(self, s, values[k], [x]);
                k += 1;
            }
        }
        for (value, part) in values.iter_mut().zip(blocks.remainder().chunks(lanes)) {
            *value = Fold::<T, 1>::step(self, s, *value, [T::V::<S>::load_first(s, part)]);
        }
        let low: T::V<S> = Fold::<T, 1>::step(self, s, values[0], [values[1]]);
        let high: T::V<S> = Fold::<T, 1>::step(self, s, values[2], [values[3]]);
        let value: T::V<S> = Fold::<T, 1>::step(self, s, low, [high]);
        if value.is_nan().any() { T::nan() } else { loops::tree_max::<T, S>(value) }
    }
}

/// The power of two that is at most `magnitude`, lane by lane; the smallest normal number if that is larger.
#[inline(always)]
fn power<T: Element, S: Simd>(s: S, magnitude: T::V<S>) -> T::V<S> {
    let exponent = T::V::<S>::splat_bits(s, T::infinity().bits());
    let power = T::V::<S>::from_bits(magnitude.to_bits().and(exponent));
    power.max_or_other(T::V::<S>::splat(s, T::min_positive_value()))
}

/// The square of x times a factor.
#[derive(Clone, Copy)]
struct ScaledSquare<T>(T);

impl<T: Element> Unary<T> for ScaledSquare<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        let scaled = x * T::V::<S>::splat(s, self.0);
        scaled * scaled
    }
}

/// A sum of `count` squares that is less lost something.
#[inline(always)]
fn least<T: Element>(count: usize) -> T {
    T::from_f64(count as f64) * T::min_positive_value()
}

/// A sum of `count` squares that lost nothing that counts: the opposite of [`is_lost`].
fn is_safe<T: Element>(squares: T, count: usize) -> bool {
    squares >= least(count) && squares < T::infinity()
}

/// A sum of `count` squares that lost something: it is too small or infinite, not NaN.
#[inline(always)]
fn is_lost<T: Element, S: Simd>(s: S, squares: T::V<S>, count: usize) -> MaskOf<T, S> {
    let least = least(count);
    let (least, infinity) = (T::V::<S>::splat(s, least), T::V::<S>::splat(s, T::infinity()));
    least.greater(squares).or(squares.equal(infinity))
}

#[derive(Clone, Copy)]
pub(super) struct Euclid;

impl<T: Element> Row<T> for Euclid {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        let squares = products(s, row, row);
        if !is_lost::<T, S>(s, T::V::<S>::splat(s, squares), row.len()).any() {
            return squares.sqrt();
        }
        let largest = Magnitude.row(s, row);
        if largest == T::zero() || largest == T::infinity() {
            return largest;
        }
        let mut power_lanes = [T::zero(); 16];
        power::<T, S>(s, T::V::<S>::splat(s, largest)).store_first(&mut power_lanes);
        let scale = T::one() / power_lanes[0];
        let mut total = T::zero();
        for chunk in row.chunks(SUM_CHUNK) {
            total += loops::sum_by(s, ScaledSquare(scale), chunk);
        }
        total.sqrt() * power_lanes[0]
    }
}

/// The square.
#[derive(Clone, Copy)]
struct Square;

impl<T: Element> Fold<T, 1> for Square {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, _: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        x.mul_add(x, value)
    }
}

pub(super) struct ColumnEuclid<'a, T> {
    columns: Columns<'a, T, 1>,
    out: &'a mut [T],
}

cut! { ['a, T] ColumnEuclid<'a, T>: per_unit(out, columns) keep() }

impl<T: Element> Kernel for ColumnEuclid<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let Self { columns: Columns { inputs, part }, out } = self;
        let width = out.len();
        fold(s, Square, inputs, part, out);
        let mut at = 0;
        while at < width {
            let count = lanes.min(width - at);
            let squares = T::V::<S>::load_first(s, &out[at..at + count]);
            let lost = is_lost::<T, S>(s, squares, part.rows).and(loops::first_lanes::<T, S>(s, count));
            let mut norms = squares.sqrt();
            if lost.any() {
                norms = scaled_columns::<T, S>(s, inputs[0], part.column(at), count).select(lost, norms);
            }
            norms.store_first(&mut out[at..at + count]);
            at += count;
        }
    }
}

/// The norms of the part's first `count` columns, at most a vector, by way of scaled squares.
#[inline(always)]
fn scaled_columns<T: Element, S: Simd>(s: S, input: &[T], part: Part, count: usize) -> T::V<S> {
    let Part { rows, row_stride, first_column: at } = part;
    let zero = T::V::<S>::splat(s, T::zero());
    let mut largest = zero;
    for row in input.chunks_exact(row_stride).take(rows) {
        let x = T::V::<S>::load_first(s, &row[at..at + count]);
        largest = Fold::<T, 1>::step(Magnitude, s, largest, [x]);
    }
    let power = power::<T, S>(s, largest);
    let scale = T::V::<S>::splat(s, T::one()) / power;
    let mut sum = zero;
    for row in input.chunks_exact(row_stride).take(rows) {
        let x = T::V::<S>::load_first(s, &row[at..at + count]) * scale;
        sum = x.mul_add(x, sum);
    }
    (sum.sqrt() * power).select(T::V::<S>::splat(s, T::infinity()).greater(largest), largest)
}

/// The norm of `x`; 0 if there are no elements, NaN if one is NaN.
///
/// ```
/// use gemmule::{Context, kernel::reduce::{self, Norm}};
/// let (context, x) = (Context::detect()?, [3e30_f32, -4e30]);
/// assert_eq!(reduce::norm(&context, Norm::L2, &x), 5e30);
/// assert_eq!(reduce::norm(&context, Norm::Infinity, &x), 4e30);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn norm<T: Element>(context: &Context, norm: Norm, x: &[T]) -> T {
    match norm {
        Norm::L1 => whole_by_chunks(context, Absolute, x, |sum, part| sum + part),
        Norm::L2 => {
            if share::is_long(x) {
                let squares = sum_squares(context, x);
                if squares.is_nan() || is_safe(squares, x.len()) {
                    return squares.sqrt();
                }
            }
            whole(context, Euclid, x)
        }
        Norm::Infinity => {
            whole_by_chunks(context, Magnitude, x, |most, x| if x > most || x.is_nan() { x } else { most })
        }
    }
}

/// The [`norm`] of each row.
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0; [`Error::Shape`](crate::Error::Shape) if the
/// lengths do not fit.
pub fn norm_rows<T: Element>(
    context: &Context,
    norm: Norm,
    input: &[T],
    width: usize,
    out: &mut [T],
) -> Result<()> {
    check_by_row("norm_rows", input.len(), width, out.len())?;
    match norm {
        Norm::L1 => share::run::<T, _>(context, Rows { reduction: Absolute, input, width, out }),
        Norm::L2 => share::run::<T, _>(context, Rows { reduction: Euclid, input, width, out }),
        Norm::Infinity => share::run::<T, _>(context, Rows { reduction: Magnitude, input, width, out }),
    }
    Ok(())
}

/// The norm of each column, each sum one chain over ascending rows, from zero. No rows give zeros.
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if `width` is 0; [`Error::Shape`](crate::Error::Shape) if the
/// lengths do not fit.
pub fn column_norms<T: Element>(
    context: &Context,
    norm: Norm,
    input: &[T],
    width: usize,
    out: &mut [T],
) -> Result<()> {
    let rows = check_by_column("column_norms", input.len(), width, out.len(), 0)?;
    match norm {
        Norm::L1 => folds(context, Absolute, [input], rows, out),
        Norm::L2 => {
            let columns = Columns::whole([input], rows, width);
            share::run_columns::<T, _>(context, ColumnEuclid { columns, out });
        }
        Norm::Infinity => folds(context, Magnitude, [input], rows, out),
    }
    Ok(())
}
