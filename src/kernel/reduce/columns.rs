//! The frame for columns: lanes along the columns, one chain over the rows in each.

use super::{check_width, whole_rows};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::compiled::Compiled;
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Binary};
use crate::kernel::share::{self, Cut, Halves, cut};
use crate::simd::{Kernel, Simd, Vector};

/// What happens to a column's running value with the next row, of each of N matrices.
pub(super) trait Fold<T: Element, const N: usize>: Copy {
    /// The value before the first row.
    fn start(self) -> T;
    /// The value after a row. Mark it `#[inline(always)]`.
    fn step<S: Simd>(self, s: S, value: T::V<S>, x: [T::V<S>; N]) -> T::V<S>;
    /// What comes out in the end.
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, value: T::V<S>, _rows: usize) -> T::V<S> {
        value
    }
}

/// Part of a matrix: `rows` rows that lie `row_stride` apart, from the column `first_column` on.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub rows: usize,
    pub row_stride: usize,
    pub first_column: usize,
}

impl Part {
    /// All of a matrix.
    pub fn whole(rows: usize, width: usize) -> Self {
        Self { rows, row_stride: width, first_column: 0 }
    }

    #[inline(always)]
    pub fn column(self, at: usize) -> Self {
        Self { first_column: self.first_column + at, ..self }
    }
}

/// `out[j]` = the fold of column j of the part.
#[inline(always)]
pub(super) fn fold<T: Element, S: Simd, O: Fold<T, N>, const N: usize>(
    s: S,
    operation: O,
    inputs: [&[T]; N],
    part: Part,
    out: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let width = out.len();
    let mut at = 0;
    // Eight chains at a time hide the latency of an addition.
    while at + 8 * lanes <= width {
        block::<T, S, O, N, 8>(s, operation, inputs, part.column(at), &mut out[at..]);
        at += 8 * lanes;
    }
    if at + 4 * lanes <= width {
        block::<T, S, O, N, 4>(s, operation, inputs, part.column(at), &mut out[at..]);
        at += 4 * lanes;
    }
    if at + 2 * lanes <= width {
        block::<T, S, O, N, 2>(s, operation, inputs, part.column(at), &mut out[at..]);
        at += 2 * lanes;
    }
    while at < width {
        let count = lanes.min(width - at);
        let mut value = T::V::<S>::splat(s, operation.start());
        let mut start = part.first_column + at;
        for _ in 0..part.rows {
            let mut x = [value; N];
            for (x, input) in x.iter_mut().zip(&inputs) {
                *x = T::V::<S>::load_first(s, &input[start..start + count]);
            }
            value = operation.step(s, value, x);
            start += part.row_stride;
        }
        operation.finish(s, value, part.rows).store_first(&mut out[at..at + count]);
        at += count;
    }
}

/// B vectors of columns.
#[inline(always)]
fn block<T: Element, S: Simd, O: Fold<T, N>, const N: usize, const B: usize>(
    s: S,
    operation: O,
    inputs: [&[T]; N],
    part: Part,
    out: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let mut values = [T::V::<S>::splat(s, operation.start()); B];
    let mut start = part.first_column;
    for _ in 0..part.rows {
        let mut rows = inputs;
        for row in &mut rows {
            *row = &row[start..start + B * lanes];
        }
        let mut k = 0;
        while k < B {
            let mut x = [values[k]; N];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = T::V::<S>::load(s, &row[k * lanes..]);
            }
            values[k] = operation.step(s, values[k], x);
            k += 1;
        }
        start += part.row_stride;
    }
    for (value, out) in values.into_iter().zip(out.chunks_exact_mut(lanes)) {
        operation.finish(s, value, part.rows).store(out);
    }
}

/// Vector k of a block of B vectors of columns: a block of several has whole vectors, a single one may be short.
#[inline(always)]
pub(crate) fn load_of<T: Element, S: Simd, const B: usize>(s: S, row: &[T], k: usize) -> T::V<S> {
    let part = &row[k * T::V::<S>::LANES..];
    if B > 1 { T::V::<S>::load(s, part) } else { T::V::<S>::load_first(s, part) }
}

/// Columns of N matrices, that go with an array of one entry per column.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T, const N: usize> {
    pub inputs: [&'a [T]; N],
    pub part: Part,
}

impl<'a, T, const N: usize> Columns<'a, T, N> {
    /// All of matrices (rows, width).
    pub fn whole(inputs: [&'a [T]; N], rows: usize, width: usize) -> Self {
        Self { inputs, part: Part::whole(rows, width) }
    }
}

impl<T, const N: usize> Halves for Columns<'_, T, N> {
    fn bytes(&self) -> usize {
        self.inputs.iter().map(|input| size_of_val(*input)).sum()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let Self { inputs, part } = self;
        (Self { inputs, part }, Self { inputs, part: part.column(units) })
    }
}

/// The folds of the columns, one for each element of `out`. The caller has checked the lengths.
pub(super) struct Folds<'a, T, O, const N: usize> {
    pub operation: O,
    pub columns: Columns<'a, T, N>,
    pub out: &'a mut [T],
}

cut! { ['a, T, O: Copy, const N: usize] Folds<'a, T, O, N>: per_unit(out, columns) keep(operation) }

/// Runs the folds of all columns, on threads where the matrices are large.
pub(super) fn folds<'a, T, O, const N: usize>(
    context: &Context,
    operation: O,
    inputs: [&'a [T]; N],
    rows: usize,
    out: &'a mut [T],
) where
    T: Element + Compiled<Folds<'a, T, O, N>>,
    O: Fold<T, N> + Send,
{
    let columns = Columns::whole(inputs, rows, out.len());
    share::run_columns::<T, _>(context, Folds { operation, columns, out });
}

impl<T: Element, O: Fold<T, N>, const N: usize> Kernel for Folds<'_, T, O, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        fold(s, self.operation, self.columns.inputs, self.columns.part, self.out);
    }
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

impl<T> Cut for ColumnSums<'_, T> {
    fn units(&self) -> usize {
        self.out.len()
    }
    fn bytes(&self) -> usize {
        self.rows.saturating_mul(size_of_val(self.out))
    }
    fn cut(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.out.split_at_mut(units);
        let first_column = self.first_column + units;
        (Self { out: first, ..self }, Self { out: rest, first_column, ..self })
    }
}

impl<T: Element> Kernel for ColumnSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, rows, row_stride, first_column, out } = self;
        fold(s, super::Sum, [input], Part { rows, row_stride, first_column }, out);
    }
}

#[derive(Clone, Copy)]
struct Plus;

impl<T: Element> Binary<T> for Plus {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
        x + y
    }
}

pub(super) struct AddRow<'a, T> {
    bias: &'a [T],
    width: usize,
    data: &'a mut [T],
}

cut! { ['a, T] AddRow<'a, T>: wide(width: data) per_unit() keep(bias, width) }

impl<T: Element> Kernel for AddRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.data.chunks_exact_mut(self.width) {
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
    share::run::<T, _>(context, AddRow { bias, width, data });
    Ok(())
}
