//! Sums, means and dot products.

use super::columns::{ColumnSums, Fold, folds};
use super::rows::{Row, RowPair, RowPairs, Rows, chunks, whole_by_chunks};
use super::{SUM_CHUNK, check_by_column, check_by_row, check_rows, check_some, check_width};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Lanes, Same, Unary};
use crate::kernel::share;
use crate::simd::{Simd, Vector};

/// `sum of operation(x[i])`: chunk by chunk, in order, from zero.
#[inline(always)]
pub(super) fn chunked<T: Element, S: Simd, O: Unary<T>>(s: S, operation: O, x: &[T]) -> T {
    let mut total = T::zero();
    for chunk in x.chunks(SUM_CHUNK) {
        total += loops::sum_by(s, operation, chunk);
    }
    total
}

/// `sum of a[i] * b[i]`: chunk by chunk, in order, from zero.
#[inline(always)]
pub(super) fn products<T: Element, S: Simd>(s: S, a: &[T], b: &[T]) -> T {
    let mut total = T::zero();
    for (a, b) in a.chunks(SUM_CHUNK).zip(b.chunks(SUM_CHUNK)) {
        total += dot_chunk(s, a, b);
    }
    total
}

/// Eight interleaved chains of fused multiply-adds, added pairwise, then the tree.
#[inline(always)]
fn dot_chunk<T: Element, S: Simd>(s: S, a: &[T], b: &[T]) -> T {
    let lanes = T::V::<S>::LANES;
    if loops::is_short::<T, S>() {
        let mut sums = Lanes::<T, 8>::new();
        for (i, (a, b)) in a.chunks(lanes).zip(b.chunks(lanes)).enumerate() {
            let products = T::V::<S>::load_first(s, a) * T::V::<S>::load_first(s, b);
            sums.add::<S>(i * lanes, products, a.len());
        }
        return sums.sum();
    }
    let mut sums = [T::V::<S>::splat(s, T::zero()); 8];
    let (mut a_blocks, mut b_blocks) = (a.chunks_exact(8 * lanes), b.chunks_exact(8 * lanes));
    for (a, b) in (&mut a_blocks).zip(&mut b_blocks) {
        for ((sum, a), b) in sums.iter_mut().zip(a.chunks_exact(lanes)).zip(b.chunks_exact(lanes)) {
            *sum = T::V::<S>::load(s, a).mul_add(T::V::<S>::load(s, b), *sum);
        }
    }
    let (a, b) = (a_blocks.remainder().chunks(lanes), b_blocks.remainder().chunks(lanes));
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum = T::V::<S>::load_first(s, a).mul_add(T::V::<S>::load_first(s, b), *sum);
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    loops::tree_sum::<T, S>(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))
}

#[derive(Clone, Copy)]
pub(super) struct Sum;

impl<T: Element> Row<T> for Sum {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        chunked(s, Same, row)
    }
}

impl<T: Element> Fold<T, 1> for Sum {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, _: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        value + x
    }
}

#[derive(Clone, Copy)]
pub(super) struct Mean;

impl<T: Element> Row<T> for Mean {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        chunked(s, Same, row) / T::from_f64(row.len() as f64)
    }
}

impl<T: Element> Fold<T, 1> for Mean {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, _: S, value: T::V<S>, [x]: [T::V<S>; 1]) -> T::V<S> {
        value + x
    }
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, value: T::V<S>, rows: usize) -> T::V<S> {
        value / T::V::<S>::splat(s, T::from_f64(rows as f64))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Squares;

impl<T: Element> Row<T> for Squares {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: &[T]) -> T {
        products(s, row, row)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Dot;

impl<T: Element> RowPair<T> for Dot {
    #[inline(always)]
    fn rows<S: Simd>(self, s: S, a: &[T], b: &[T]) -> T {
        products(s, a, b)
    }
}

impl<T: Element> Fold<T, 2> for Dot {
    #[inline(always)]
    fn start(self) -> T {
        T::zero()
    }
    #[inline(always)]
    fn step<S: Simd>(self, _: S, value: T::V<S>, [a, b]: [T::V<S>; 2]) -> T::V<S> {
        a.mul_add(b, value)
    }
}

/// The sum of the elements; 0 if there are none. NaN if one is NaN, or for infinities of both signs.
///
/// ```
/// use gemmule::{Context, kernel::reduce};
/// let context = Context::detect()?;
/// assert_eq!(reduce::sum(&context, &[1.0_f32, 2.0, 3.5]), 6.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn sum<T: Element>(context: &Context, x: &[T]) -> T {
    whole_by_chunks(context, Sum, x, |sum, part| sum + part)
}

/// The mean of the elements: [`sum`] divided by their number.
///
/// # Errors
/// [`Error::Argument`] if there are none.
pub fn mean<T: Element>(context: &Context, x: &[T]) -> Result<T> {
    check_some("mean", x.len())?;
    Ok(sum(context, x) / T::from_f64(x.len() as f64))
}

/// The [`sum`] of each row.
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
///
/// ```
/// use gemmule::{Context, kernel::reduce};
/// let (context, matrix) = (Context::detect()?, [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]); // (2, 3)
/// let (mut rows, mut columns) = ([0.0; 2], [0.0; 3]);
/// reduce::sum_rows(&context, &matrix, 3, &mut rows)?;
/// reduce::column_sums(&context, &matrix, 3, &mut columns)?;
/// assert_eq!((rows, columns), ([6.0, 15.0], [5.0, 7.0, 9.0]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn sum_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_by_row("sum_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, Rows { reduction: Sum, input, width, out });
    Ok(())
}

/// The [`mean`] of each row.
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn mean_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_by_row("mean_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, Rows { reduction: Mean, input, width, out });
    Ok(())
}

/// The sum of each column: `out[j] = sum over i of input[i, j]`, each one chain of additions over ascending rows,
/// from zero. This is the gradient of a bias. No rows give zeros.
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn column_sums<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    let rows = check_by_column("column_sums", input.len(), width, out.len(), 0)?;
    share::run_columns::<T, _>(context, ColumnSums { input, rows, row_stride: width, first_column: 0, out });
    Ok(())
}

/// The mean of each column: [`column_sums`] divided by the number of rows. Over many rows the mean that
/// [`column_means_variances`](super::column_means_variances) gives is the more accurate one.
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0 or there are no rows; [`Error::Shape`] if the lengths do not fit.
pub fn column_means<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    let rows = check_by_column("column_means", input.len(), width, out.len(), 1)?;
    folds(context, Mean, [input], rows, out);
    Ok(())
}

/// The dot product, `sum of a[i] * b[i]`; 0 if there are no elements.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn dot<T: Element>(context: &Context, a: &[T], b: &[T]) -> Result<T> {
    if a.len() != b.len() {
        return Err(Error::shape("dot", "b", format_args!("{} elements, as in a", a.len()), b.len()));
    }
    if share::is_long(a) {
        return Ok(chunks(
            a.len(),
            T::zero(),
            |sum, part| sum + part,
            |range, width, out| {
                let (a, b) = (&a[range.clone()], &b[range]);
                share::run::<T, _>(context, RowPairs { reduction: Dot, a, b, width, out });
            },
        ));
    }
    let mut out = [T::zero()];
    T::run(context, RowPairs { reduction: Dot, a, b, width: a.len().max(1), out: &mut out });
    Ok(out[0])
}

/// The sum of the squares: [`dot`] of `x` with itself. A square that overflows gives infinity; see
/// [`norm`](super::norm) for its root without that.
pub fn sum_squares<T: Element>(context: &Context, x: &[T]) -> T {
    whole_by_chunks(context, Squares, x, |sum, part| sum + part)
}

/// The [`dot`] product of each row of `a` with the same row of `b`.
///
/// Shapes: `a`, `b` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn dot_rows<T: Element>(context: &Context, a: &[T], b: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_width("dot_rows", width)?;
    check_rows("dot_rows", "a", a.len(), out.len(), width)?;
    check_rows("dot_rows", "b", b.len(), out.len(), width)?;
    share::run::<T, _>(context, RowPairs { reduction: Dot, a, b, width, out });
    Ok(())
}

/// The dot product of each column of `a` with the same column of `b`, each one chain of fused multiply-adds over
/// ascending rows, from zero. This is the gradient of a scale per column. No rows give zeros.
///
/// Shapes: `a`, `b` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn column_dots<T: Element>(
    context: &Context,
    a: &[T],
    b: &[T],
    width: usize,
    out: &mut [T],
) -> Result<()> {
    let rows = check_by_column("column_dots", a.len(), width, out.len(), 0)?;
    if b.len() != a.len() {
        return Err(Error::shape("column_dots", "b", format_args!("{} elements, as in a", a.len()), b.len()));
    }
    folds(context, Dot, [a, b], rows, out);
    Ok(())
}
