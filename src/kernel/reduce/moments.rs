//! Mean and variance in one pass over memory, accurate where the mean is large against the deviation.
//!
//! ```text
//!   a chunk (twice; the second time it is in the cache)
//!     m = its sum / its length                      a pivot near the chunk's mean, not the mean
//!     s1 = sum of (x - m), s2 = sum of (x - m)^2    the differences are small, and mostly exact
//!     mean - first pivot = (m - first pivot) + s1 / length
//!     squares about the mean = s2 - s1^2 / length
//!   the chunks, in order
//!     Chan, Golub and LeVeque: "Updating formulae and a pairwise algorithm for computing sample variances" (1979),
//!     of means that are taken from the first chunk's pivot, so they too are small
//! ```
//!
//! A chunk of a slice or row is [`SUM_CHUNK`](super::SUM_CHUNK) elements and the chunks are combined in f64; a chunk
//! of columns is [`ROW_CHUNK`](super::ROW_CHUNK) rows, combined lane by lane in the elements' own type.

use super::columns::{Columns, Part, load_of};
use super::{ROW_CHUNK, SUM_CHUNK, check_by_column, check_by_row};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Lanes, Same};
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// How many elements, their mean less a pivot, and the sum of their squares about the mean.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    #[inline(always)]
    fn and(self, next: Self) -> Self {
        let count = self.count + next.count;
        let difference = next.mean - self.mean;
        Self {
            count,
            mean: self.mean + difference * (next.count / count),
            squares: self.squares
                + (next.squares + difference * difference * (self.count * next.count / count)),
        }
    }
}

/// The pivot of a chunk, and the sums of the differences from it and of their squares.
#[inline(always)]
fn chunk_sums<T: Element, S: Simd>(s: S, chunk: &[T]) -> (T, T, T) {
    let lanes = T::V::<S>::LANES;
    let pivot = loops::sum_by(s, Same, chunk) / T::from_f64(chunk.len() as f64);
    let (splat, zero) = (T::V::<S>::splat(s, pivot), T::V::<S>::splat(s, T::zero()));
    if loops::is_short::<T, S>() {
        let (mut sums, mut squares) = (Lanes::<T, 4>::new(), Lanes::<T, 4>::new());
        for (i, part) in chunk.chunks(lanes).enumerate() {
            let d = T::V::<S>::load_first(s, part) - splat;
            sums.add::<S>(i * lanes, d, part.len());
            squares.add::<S>(i * lanes, d * d, part.len());
        }
        return (pivot, sums.sum(), squares.sum());
    }
    let (mut sums, mut squares) = ([zero; 4], [zero; 4]);
    let mut blocks = chunk.chunks_exact(4 * lanes);
    for block in &mut blocks {
        let mut k = 0;
        while k < 4 {
            let d = T::V::<S>::load(s, &block[k * lanes..]) - splat;
            sums[k] = sums[k] + d;
            squares[k] = d.mul_add(d, squares[k]);
            k += 1;
        }
    }
    let rest = blocks.remainder().chunks(lanes);
    for ((sum, square), part) in sums.iter_mut().zip(&mut squares).zip(rest) {
        let d = T::V::<S>::load_first(s, part) - splat;
        let d = d.select(loops::first_lanes::<T, S>(s, part.len()), zero);
        *sum = *sum + d;
        *square = d.mul_add(d, *square);
    }
    (
        pivot,
        loops::tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3])),
        loops::tree_sum::<T, S>((squares[0] + squares[1]) + (squares[2] + squares[3])),
    )
}

/// Mean and sum of squares about it.
#[inline(always)]
pub(crate) fn moments<T: Element, S: Simd>(s: S, x: &[T]) -> (f64, f64) {
    let mut first_pivot = 0.0;
    let mut total = Moments { count: 0.0, mean: 0.0, squares: 0.0 };
    for (i, chunk) in x.chunks(SUM_CHUNK).enumerate() {
        let (pivot, sum, squares) = chunk_sums(s, chunk);
        let (pivot, sum) = (Element::to_f64(pivot), Element::to_f64(sum));
        if i == 0 {
            first_pivot = pivot;
        }
        let count = chunk.len() as f64;
        let rest = sum / count;
        let squares = Element::to_f64(squares) - sum * rest;
        // Rounding alone takes it below zero. NaN stays.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        let chunk = Moments { count, mean: (pivot - first_pivot) + rest, squares };
        total = if i == 0 { chunk } else { total.and(chunk) };
    }
    (first_pivot + total.mean, total.squares)
}

pub(super) struct RowMoments<'a, T> {
    input: &'a [T],
    width: usize,
    /// The number that the squares are divided by.
    divisor: f64,
    means: Option<&'a mut [T]>,
    variances: &'a mut [T],
}

cut! { ['a, T] RowMoments<'a, T>: per_unit(variances, means) wide(width: input) keep(width, divisor) }

impl<T: Element> Kernel for RowMoments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, width, divisor, mut means, variances } = self;
        for (i, (row, variance)) in input.chunks_exact(width).zip(variances).enumerate() {
            let (mean, squares) = moments(s, row);
            *variance = T::from_f64(squares / divisor);
            if let Some(means) = &mut means {
                means[i] = T::from_f64(mean);
            }
        }
    }
}

pub(super) struct ColumnMoments<'a, T> {
    columns: Columns<'a, T, 1>,
    divisor: f64,
    means: Option<&'a mut [T]>,
    variances: &'a mut [T],
}

cut! { ['a, T] ColumnMoments<'a, T>: per_unit(variances, columns, means) keep(divisor) }

impl<T: Element> Kernel for ColumnMoments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let Self { columns: Columns { inputs: [input], part }, divisor, mut means, variances } = self;
        let (input, rows, stride) = (&input[part.first_column..], part.rows, part.row_stride);
        let width = variances.len();
        let divisor = T::V::<S>::splat(s, T::from_f64(divisor));
        let mut at = 0;
        while at < width {
            let wide = at + 4 * lanes <= width;
            let count = if wide { 4 * lanes } else { lanes.min(width - at) };
            let mut block = [[T::V::<S>::splat(s, T::zero()); 2]; 4];
            if wide {
                block = column_block::<T, S, 4>(s, &input[at..], rows, stride, count);
            } else {
                [block[0]] = column_block::<T, S, 1>(s, &input[at..], rows, stride, count);
            }
            for (k, [mean, squares]) in block.into_iter().take(count.div_ceil(lanes)).enumerate() {
                let range = at + k * lanes..at + count.min((k + 1) * lanes);
                (squares / divisor).store_first(&mut variances[range.clone()]);
                if let Some(means) = &mut means {
                    mean.store_first(&mut means[range]);
                }
            }
            at += count;
        }
    }
}

/// Mean and sum of squares about it for the first `count` columns: all lanes of B vectors, or fewer lanes of one.
#[inline(always)]
fn column_block<T: Element, S: Simd, const B: usize>(
    s: S,
    input: &[T],
    rows: usize,
    row_stride: usize,
    count: usize,
) -> [[T::V<S>; 2]; B] {
    let zero = T::V::<S>::splat(s, T::zero());
    // The first chunk's pivot; the mean less that; the squares.
    let (mut first, mut mean, mut total) = ([zero; B], [zero; B], [zero; B]);
    let mut done = 0;
    while done < rows {
        let now = ROW_CHUNK.min(rows - done);
        let length = T::V::<S>::splat(s, T::from_f64(now as f64));
        let mut pivot = [zero; B];
        let mut start = done * row_stride;
        for _ in 0..now {
            let row = &input[start..start + count];
            let mut k = 0;
            while k < B {
                pivot[k] = pivot[k] + load_of::<T, S, B>(s, row, k);
                k += 1;
            }
            start += row_stride;
        }
        let mut k = 0;
        while k < B {
            pivot[k] = pivot[k] / length;
            k += 1;
        }
        let (mut sums, mut squares) = ([zero; B], [zero; B]);
        start = done * row_stride;
        for _ in 0..now {
            let row = &input[start..start + count];
            let mut k = 0;
            while k < B {
                let d = load_of::<T, S, B>(s, row, k) - pivot[k];
                sums[k] = sums[k] + d;
                squares[k] = d.mul_add(d, squares[k]);
                k += 1;
            }
            start += row_stride;
        }
        let after = (done + now) as f64;
        let share = T::V::<S>::splat(s, T::from_f64(now as f64 / after));
        let weight = T::V::<S>::splat(s, T::from_f64(done as f64 * now as f64 / after));
        let mut k = 0;
        while k < B {
            if done == 0 {
                first[k] = pivot[k];
            }
            let rest = sums[k] / length;
            let about = (-sums[k]).mul_add(rest, squares[k]);
            let about = zero.select(zero.greater(about), about);
            let difference = ((pivot[k] - first[k]) + rest) - mean[k];
            mean[k] = difference.mul_add(share, mean[k]);
            total[k] = total[k] + (difference * difference).mul_add(weight, about);
            k += 1;
        }
        done += now;
    }
    let mut result = [[zero; 2]; B];
    let mut k = 0;
    while k < B {
        result[k] = [first[k] + mean[k], total[k]];
        k += 1;
    }
    result
}

/// Mean and sum of squares about it of the first columns, as many as `means` has, of rows that lie `row_stride` apart.
#[inline(always)]
pub(crate) fn column_moments<T: Element, S: Simd>(
    s: S,
    input: &[T],
    rows: usize,
    row_stride: usize,
    means: &mut [T],
    squares: &mut [T],
) {
    let columns = Columns { inputs: [input], part: Part { rows, row_stride, first_column: 0 } };
    s.call(ColumnMoments { columns, divisor: 1.0, means: Some(means), variances: squares });
}

/// The number that the squares are divided by, if it is positive.
fn divisor(operation: &'static str, what: &'static str, count: usize, correction: usize) -> Result<f64> {
    if count <= correction {
        let expected = format_args!("more than the correction {correction}").to_string();
        return Err(Error::argument(operation, what, expected, count));
    }
    Ok((count - correction) as f64)
}

/// Mean and variance: `variance = sum of (x[i] - mean)^2 / (n - correction)`, with a correction of 0 for the variance
/// of these elements and 1 for an estimate from a sample. Both are NaN if an element is NaN or infinite, or a
/// sum of [`SUM_CHUNK`] elements overflows.
///
/// # Errors
/// [`Error::Argument`] if there are not more than `correction` elements, or none.
///
/// ```
/// use gemmule::{Context, kernel::reduce};
/// let x = [10_000.0_f32, 10_001.0, 10_002.0];
/// assert_eq!(reduce::mean_variance(&Context::detect()?, &x, 1)?, (10_001.0, 1.0));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn mean_variance<T: Element>(context: &Context, x: &[T], correction: usize) -> Result<(T, T)> {
    let divisor = divisor("mean_variance", "the number of elements", x.len(), correction)?;
    let (mut mean, mut variance) = ([T::zero()], [T::zero()]);
    let (means, width) = (Some(&mut mean[..]), x.len());
    T::run(context, RowMoments { input: x, width, divisor, means, variances: &mut variance });
    Ok((mean[0], variance[0]))
}

/// The variance: see [`mean_variance`].
///
/// # Errors
/// [`Error::Argument`] if there are not more than `correction` elements, or none.
pub fn variance<T: Element>(context: &Context, x: &[T], correction: usize) -> Result<T> {
    let divisor = divisor("variance", "the number of elements", x.len(), correction)?;
    let mut out = [T::zero()];
    T::run(context, RowMoments { input: x, width: x.len(), divisor, means: None, variances: &mut out });
    Ok(out[0])
}

/// [`mean_variance`] of each row, as layer normalisation needs them.
///
/// Shapes: `input` (rows, width), `means`, `variances` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is not above `correction`, or 0; [`Error::Shape`] if the lengths do not fit.
pub fn mean_variance_rows<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    correction: usize,
    means: &mut [T],
    variances: &mut [T],
) -> Result<()> {
    check_by_row("mean_variance_rows", input.len(), width, variances.len())?;
    let divisor = divisor("mean_variance_rows", "width", width, correction)?;
    if means.len() != variances.len() {
        return Err(Error::shape("mean_variance_rows", "means", variances.len(), means.len()));
    }
    share::run::<T, _>(context, RowMoments { input, width, divisor, means: Some(means), variances });
    Ok(())
}

/// The [`variance`] of each row.
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is not above `correction`, or 0; [`Error::Shape`] if the lengths do not fit.
pub fn variance_rows<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    correction: usize,
    out: &mut [T],
) -> Result<()> {
    check_by_row("variance_rows", input.len(), width, out.len())?;
    let divisor = divisor("variance_rows", "width", width, correction)?;
    share::run::<T, _>(context, RowMoments { input, width, divisor, means: None, variances: out });
    Ok(())
}

/// Mean and variance of each column, as batch normalisation needs them. NaN as in [`mean_variance`], for a sum of
/// [`ROW_CHUNK`] elements.
///
/// Shapes: `input` (rows, width), `means`, `variances` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0, or there are not more than `correction` rows, or none; [`Error::Shape`] if
/// the lengths do not fit.
pub fn column_means_variances<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    correction: usize,
    means: &mut [T],
    variances: &mut [T],
) -> Result<()> {
    let rows = check_by_column("column_means_variances", input.len(), width, variances.len(), 0)?;
    let divisor = divisor("column_means_variances", "the number of rows", rows, correction)?;
    if means.len() != width {
        return Err(Error::shape("column_means_variances", "means", width, means.len()));
    }
    let (columns, means) = (Columns::whole([input], rows, width), Some(means));
    share::run_columns::<T, _>(context, ColumnMoments { columns, divisor, means, variances });
    Ok(())
}

/// The variance of each column: see [`column_means_variances`].
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0, or there are not more than `correction` rows, or none; [`Error::Shape`] if
/// the lengths do not fit.
pub fn column_variances<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    correction: usize,
    out: &mut [T],
) -> Result<()> {
    let rows = check_by_column("column_variances", input.len(), width, out.len(), 0)?;
    let divisor = divisor("column_variances", "the number of rows", rows, correction)?;
    let columns = Columns::whole([input], rows, width);
    share::run_columns::<T, _>(context, ColumnMoments { columns, divisor, means: None, variances: out });
    Ok(())
}
