//! Sums, largest elements, column sums.
//!
//! The order of every sum depends on its length alone, so the bits are the same on every instruction set with a
//! fused multiply-add, and never depend on threads. A long sum is cut into chunks of [`SUM_CHUNK`] elements; each
//! is summed in interleaved lanes that meet in a fixed tree; the chunks' sums are added in order, from zero. So
//! the error grows with `length / 4096 + 64`, not with the length.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{self, Binary, MaskOf, Same};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Mask, Simd, Vector};

/// The elements of a chunk of a long sum: part of the order, never tuned.
pub const SUM_CHUNK: usize = 4096;

#[derive(Clone, Copy)]
struct Plus;

impl<T: Element> Binary<T> for Plus {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
        x + y
    }
}

struct Sum<'a, T>(&'a [T]);

impl<T: Element> Kernel for Sum<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> T {
        let mut total = T::zero();
        for chunk in self.0.chunks(SUM_CHUNK) {
            total += loops::sum_by(s, Same, chunk);
        }
        total
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
    T::run(context, Sum(x))
}

/// The mean of the elements: [`sum`] divided by their number.
///
/// # Errors
/// [`Error::Argument`] if there are none.
pub fn mean<T: Element>(context: &Context, x: &[T]) -> Result<T> {
    if x.is_empty() {
        return Err(Error::argument("mean", "x", "at least one element", "none"));
    }
    Ok(sum(context, x) / T::from_f64(x.len() as f64))
}

struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Element> Kernel for Dot<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> T {
        let mut total = T::zero();
        for (a, b) in self.0.chunks(SUM_CHUNK).zip(self.1.chunks(SUM_CHUNK)) {
            total += dot_chunk(s, a, b);
        }
        total
    }
}

/// Eight interleaved chains of fused multiply-adds, added pairwise, then the tree.
#[inline(always)]
fn dot_chunk<T: Element, S: Simd>(s: S, a: &[T], b: &[T]) -> T {
    let lanes = T::V::<S>::LANES;
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

/// The dot product, `sum of a[i] * b[i]`; 0 if there are no elements.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn dot<T: Element>(context: &Context, a: &[T], b: &[T]) -> Result<T> {
    if a.len() != b.len() {
        return Err(Error::shape("dot", "b", format_args!("{} elements, as in a", a.len()), b.len()));
    }
    Ok(T::run(context, Dot(a, b)))
}

/// The sum of the squares: [`dot`] of `x` with itself. A square that overflows gives infinity.
pub fn sum_squares<T: Element>(context: &Context, x: &[T]) -> T {
    T::run(context, Dot(x, x))
}

/// The largest element that is not NaN (minus infinity if there is none), and whether there is a NaN.
#[inline(always)]
fn largest<T: Element, S: Simd>(s: S, x: &[T]) -> (T, bool) {
    let lanes = T::V::<S>::LANES;
    let lowest = T::V::<S>::splat(s, T::neg_infinity());
    let (mut largest, mut nan) = (lowest, lowest.is_nan());
    let mut chunks = x.chunks_exact(lanes);
    for chunk in &mut chunks {
        let v = T::V::<S>::load(s, chunk);
        largest = v.max_or_other(largest);
        nan = nan.or(v.is_nan());
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        let v = T::V::<S>::load_first(s, tail).select(loops::first_lanes::<T, S>(s, tail.len()), lowest);
        largest = v.max_or_other(largest);
        nan = nan.or(v.is_nan());
    }
    (loops::tree_max::<T, S>(largest), nan.any())
}

struct Max<'a, T>(&'a [T]);

impl<T: Element> Kernel for Max<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> T {
        let (largest, nan) = largest(s, self.0);
        if nan { T::nan() } else { largest }
    }
}

/// The largest element; NaN if any is NaN. Of two zeros either may be returned.
///
/// # Errors
/// [`Error::Argument`] if there are none.
pub fn max<T: Element>(context: &Context, x: &[T]) -> Result<T> {
    if x.is_empty() {
        return Err(Error::argument("max", "x", "at least one element", "none"));
    }
    Ok(T::run(context, Max(x)))
}

struct ArgmaxRows<'a, T> {
    input: &'a [T],
    width: usize,
    out: &'a mut [u32],
}

impl<T: Element> Kernel for ArgmaxRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, out) in self.input.chunks_exact(self.width).zip(self.out) {
            let (largest, nan) = largest(s, row);
            *out = position(s, row, largest, nan) as u32;
        }
    }
}

/// The index of the first NaN if there is one, else of the first element equal to `largest`.
#[inline(always)]
fn position<T: Element, S: Simd>(s: S, row: &[T], largest: T, nan: bool) -> usize {
    let lanes = T::V::<S>::LANES;
    let wanted = T::V::<S>::splat(s, largest);
    let mut at = 0;
    // Whole vectors, while they hold no hit; then one by one.
    while at + lanes < row.len() {
        let v = T::V::<S>::load(s, &row[at..]);
        let hit: MaskOf<T, S> = if nan { v.is_nan() } else { v.equal(wanted) };
        if hit.any() {
            break;
        }
        at += lanes;
    }
    let hit = |x: &T| if nan { x.is_nan() } else { *x == largest };
    at + row[at..].iter().position(hit).unwrap_or(0)
}

/// The index of the largest element of each row: the first of equal ones. NaN counts as the largest, as in NumPy
/// and PyTorch: the first NaN wins.
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0 or above `u32::MAX`; [`Error::Shape`] if the lengths do not fit.
///
/// ```
/// use gemmule::{Context, kernel::reduce};
/// let mut classes = [0; 2];
/// reduce::argmax_rows(&Context::detect()?, &[0.1_f32, 0.7, 0.2, 3.0, 1.0, 3.0], 3, &mut classes)?;
/// assert_eq!(classes, [1, 0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn argmax_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [u32]) -> Result<()> {
    check_width("argmax_rows", width)?;
    if u32::try_from(width).is_err() {
        return Err(Error::argument("argmax_rows", "width", format_args!("at most {}", u32::MAX), width));
    }
    check_rows("argmax_rows", "input", input.len(), out.len(), width)?;
    T::run(context, ArgmaxRows { input, width, out });
    Ok(())
}

/// `width` is at least 1.
pub(crate) fn check_width(operation: &'static str, width: usize) -> Result<()> {
    if width == 0 {
        return Err(Error::argument(operation, "width", "at least 1", 0));
    }
    Ok(())
}

/// `length` is `rows * width`.
pub(crate) fn check_rows(
    operation: &'static str,
    what: &'static str,
    length: usize,
    rows: usize,
    width: usize,
) -> Result<()> {
    let expected = rows.checked_mul(width).ok_or_else(|| Error::overflow(operation, what))?;
    if length != expected {
        let expected = format_args!("{expected} elements ({rows} rows of {width})").to_string();
        return Err(Error::shape(operation, what, expected, length));
    }
    Ok(())
}

/// The sums of the columns `first_column..first_column + out.len()` of a matrix whose rows lie `row_stride` apart.
///
/// Each sum is one chain of additions over ascending rows, from zero, so it does not depend on the range. The
/// caller has checked that the last row's columns lie within `input`.
pub(crate) struct ColumnSums<'a, T> {
    /// The matrix.
    pub input: &'a [T],
    /// How many rows.
    pub rows: usize,
    /// From a row to the next.
    pub row_stride: usize,
    /// The column of `out[0]`.
    pub first_column: usize,
    /// The sums.
    pub out: &'a mut [T],
}

impl<T: Element> Kernel for ColumnSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let Self { input, rows, row_stride, first_column, out } = self;
        let width = out.len();
        let mut at = 0;
        // Eight chains at a time hide the latency of an addition.
        while at + 8 * lanes <= width {
            column_block::<T, S, 8>(s, input, rows, row_stride, first_column + at, &mut out[at..]);
            at += 8 * lanes;
        }
        if at + 4 * lanes <= width {
            column_block::<T, S, 4>(s, input, rows, row_stride, first_column + at, &mut out[at..]);
            at += 4 * lanes;
        }
        if at + 2 * lanes <= width {
            column_block::<T, S, 2>(s, input, rows, row_stride, first_column + at, &mut out[at..]);
            at += 2 * lanes;
        }
        while at < width {
            let count = lanes.min(width - at);
            let mut sum = T::V::<S>::splat(s, T::zero());
            let mut start = first_column + at;
            for _ in 0..rows {
                sum = sum + T::V::<S>::load_first(s, &input[start..start + count]);
                start += row_stride;
            }
            sum.store_first(&mut out[at..at + count]);
            at += count;
        }
    }
}

/// N vectors of columns from `start` on.
#[inline(always)]
fn column_block<T: Element, S: Simd, const N: usize>(
    s: S,
    input: &[T],
    rows: usize,
    row_stride: usize,
    mut start: usize,
    out: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let mut sums = [T::V::<S>::splat(s, T::zero()); N];
    for _ in 0..rows {
        let row = &input[start..start + N * lanes];
        for (sum, part) in sums.iter_mut().zip(row.chunks_exact(lanes)) {
            *sum = *sum + T::V::<S>::load(s, part);
        }
        start += row_stride;
    }
    for (sum, part) in sums.into_iter().zip(out.chunks_exact_mut(lanes)) {
        sum.store(part);
    }
}

/// The sum of each column: `out[j] = sum over i of input[i, j]`, each one chain of additions over ascending rows,
/// from zero. This is the gradient of a bias. No rows give zeros.
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn column_sums<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [T]) -> Result<()> {
    check_width("column_sums", width)?;
    if out.len() != width {
        return Err(Error::shape("column_sums", "out", width, out.len()));
    }
    let rows = whole_rows("column_sums", "input", input.len(), width)?;
    T::run(context, ColumnSums { input, rows, row_stride: width, first_column: 0, out });
    Ok(())
}

/// How many rows of `width` make `length`.
fn whole_rows(operation: &'static str, what: &'static str, length: usize, width: usize) -> Result<usize> {
    if !length.is_multiple_of(width) {
        return Err(Error::shape(operation, what, format_args!("a multiple of the width {width}"), length));
    }
    Ok(length / width)
}

struct AddRow<'a, T> {
    bias: &'a [T],
    data: &'a mut [T],
}

impl<T: Element> Kernel for AddRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.data.chunks_exact_mut(self.bias.len()) {
            loops::zip_in_place(s, Plus, row, self.bias);
        }
    }
}

/// Adds a row to every row: `data[i, j] += bias[j]`.
///
/// Shapes: `bias` (width), `data` (rows, width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0; [`Error::Shape`] if the lengths do not fit.
pub fn add_row<T: Element>(context: &Context, bias: &[T], data: &mut [T], width: usize) -> Result<()> {
    check_width("add_row", width)?;
    if bias.len() != width {
        return Err(Error::shape("add_row", "bias", width, bias.len()));
    }
    whole_rows("add_row", "data", data.len(), width)?;
    T::run(context, AddRow { bias, data });
    Ok(())
}

struct FirstNonFinite<'a, T>(&'a [T]);

impl<T: Element> Kernel for FirstNonFinite<'_, T> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Option<usize> {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        for (i, chunk) in self.0.chunks(SUM_CHUNK).enumerate() {
            // Zero times a finite number is a zero, and NaN otherwise, which stays.
            let mut marks = [zero; 4];
            let mut blocks = chunk.chunks_exact(4 * lanes);
            for block in &mut blocks {
                for (mark, part) in marks.iter_mut().zip(block.chunks_exact(lanes)) {
                    *mark = T::V::<S>::load(s, part).mul_add(zero, *mark);
                }
            }
            for (mark, part) in marks.iter_mut().zip(blocks.remainder().chunks(lanes)) {
                *mark = T::V::<S>::load_first(s, part).mul_add(zero, *mark);
            }
            if ((marks[0] + marks[1]) + (marks[2] + marks[3])).is_nan().any() {
                return chunk.iter().position(|x| !x.is_finite()).map(|at| i * SUM_CHUNK + at);
            }
        }
        None
    }
}

/// The index of the first element that is NaN or infinite.
pub fn first_non_finite<T: Element>(context: &Context, x: &[T]) -> Option<usize> {
    T::run(context, FirstNonFinite(x))
}

compiled! {
    Sum<'a, Self>,
    Dot<'a, Self>,
    Max<'a, Self>,
    ArgmaxRows<'a, Self>,
    ColumnSums<'a, Self>,
    AddRow<'a, Self>,
    FirstNonFinite<'a, Self>,
}
