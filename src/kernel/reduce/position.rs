//! Where the largest and the smallest element stand.

use super::columns::{Columns, load_of};
use super::extreme::{Largest, Order, Smallest, best};
use super::{SUM_CHUNK, check_by_column, check_by_row, check_some, check_width};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::compiled::Compiled;
use crate::kernel::element::Element;
use crate::kernel::loops::MaskOf;
use crate::kernel::share::{self, cut};
use crate::simd::{Bits, Kernel, Mask, Simd, Vector};

/// The index of the first NaN if there is one, else of the first of the best elements.
#[inline(always)]
fn place<T: Element, S: Simd, O: Order<T>>(s: S, order: O, x: &[T]) -> usize {
    let (mut found, mut start) = (order.worst(), 0);
    for (i, chunk) in x.chunks(SUM_CHUNK).enumerate() {
        let (value, nan) = best(s, order, chunk);
        if nan {
            return i * SUM_CHUNK + first_hit(s, chunk, value, true);
        }
        if order.is_better(value, found) {
            (found, start) = (value, i * SUM_CHUNK);
        }
    }
    start + first_hit(s, &x[start..], found, false)
}

/// The index of the first NaN, or of the first element equal to `value`.
#[inline(always)]
fn first_hit<T: Element, S: Simd>(s: S, x: &[T], value: T, nan: bool) -> usize {
    let lanes = T::V::<S>::LANES;
    let wanted = T::V::<S>::splat(s, value);
    let mut at = 0;
    // Whole vectors, while they hold no hit; then one by one.
    while at + lanes < x.len() {
        let v = T::V::<S>::load(s, &x[at..]);
        let hit: MaskOf<T, S> = if nan { v.is_nan() } else { v.equal(wanted) };
        if hit.any() {
            break;
        }
        at += lanes;
    }
    let hit = |x: &T| if nan { x.is_nan() } else { *x == value };
    at + x[at..].iter().position(hit).unwrap_or(0)
}

pub(super) struct RowPlaces<'a, T, O> {
    order: O,
    input: &'a [T],
    width: usize,
    out: &'a mut [u32],
}

cut! { ['a, T, O: Copy] RowPlaces<'a, T, O>: per_unit(out) wide(width: input) keep(order, width) }

impl<T: Element, O: Order<T>> Kernel for RowPlaces<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, out) in self.input.chunks_exact(self.width).zip(self.out) {
            *out = place(s, self.order, row) as u32;
        }
    }
}

pub(super) struct ColumnPlaces<'a, T, O> {
    order: O,
    columns: Columns<'a, T, 1>,
    out: &'a mut [u32],
}

cut! { ['a, T, O: Copy] ColumnPlaces<'a, T, O>: per_unit(out, columns) keep(order) }

impl<T: Element, O: Order<T>> Kernel for ColumnPlaces<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let Self { order, columns: Columns { inputs: [input], part }, out } = self;
        let (input, rows, stride) = (&input[part.first_column..], part.rows, part.row_stride);
        let width = out.len();
        let mut at = 0;
        while at + 4 * lanes <= width {
            place_block::<T, S, O, 4>(s, order, &input[at..], rows, stride, 4 * lanes, &mut out[at..]);
            at += 4 * lanes;
        }
        while at < width {
            let count = lanes.min(width - at);
            place_block::<T, S, O, 1>(s, order, &input[at..], rows, stride, count, &mut out[at..]);
            at += count;
        }
    }
}

/// The places in the first `count` columns, all lanes of B vectors, or fewer lanes of one.
#[inline(always)]
fn place_block<T: Element, S: Simd, O: Order<T>, const B: usize>(
    s: S,
    order: O,
    input: &[T],
    rows: usize,
    row_stride: usize,
    count: usize,
    out: &mut [u32],
) {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let (mut values, mut places) = ([zero; B], [zero; B]);
    let one = T::V::<S>::splat_bits(s, 1);
    // The row's number, as a bit pattern: it travels in the lanes of a float and is never computed with as one.
    let mut number = T::V::<S>::splat_bits(s, 0);
    for (i, row) in input.chunks(row_stride).take(rows).enumerate() {
        let row = &row[..count];
        let mut k = 0;
        while k < B {
            let x = load_of::<T, S, B>(s, row, k);
            if i == 0 {
                values[k] = x;
            } else {
                let holds = order.holds(s, values[k], x);
                values[k] = values[k].select(holds, x);
                places[k] = places[k].select(holds, T::V::<S>::from_bits(number));
            }
            k += 1;
        }
        number = number.add(one);
    }
    let mut k = 0;
    while k < B {
        let mut numbers = [T::zero(); 16];
        places[k].store_first(&mut numbers);
        for (out, number) in out[k * lanes..count].iter_mut().zip(&numbers[..lanes]) {
            *out = number.bits() as u32;
        }
        k += 1;
    }
}

/// The place in all of `x`, by way of those in parts whose length depends on nothing, in order: the first of the best ones
/// is the first there, and the first NaN too.
fn whole_place<T, O>(context: &Context, order: O, x: &[T]) -> usize
where
    T: Element + for<'a> Compiled<RowPlaces<'a, T, O>>,
    O: Order<T> + Send,
{
    const PART: usize = 4 * SUM_CHUNK;
    const MOST: usize = 256;
    let mut places = [0; MOST];
    let mut found = 0;
    let mut at = 0;
    while at < x.len() {
        // Whole parts, or the last and shorter one.
        let count = ((x.len() - at) / PART).min(MOST);
        let (count, width) = if count > 0 { (count, PART) } else { (1, x.len() - at) };
        let (input, out) = (&x[at..at + count * width], &mut places[..count]);
        share::run::<T, _>(context, RowPlaces { order, input, width, out });
        for (i, &place) in places[..count].iter().enumerate() {
            let place = at + i * width + place as usize;
            if x[found].is_nan() {
                return found;
            }
            if x[place].is_nan() || order.is_better(x[place], x[found]) {
                found = place;
            }
        }
        at += count * width;
    }
    found
}

/// An index of this dimension fits in `u32`.
fn check_index(operation: &'static str, what: &'static str, length: usize) -> Result<()> {
    if u32::try_from(length).is_err() {
        return Err(Error::argument(operation, what, format_args!("at most {}", u32::MAX), length));
    }
    Ok(())
}

fn check_row_places(operation: &'static str, length: usize, width: usize, out: usize) -> Result<()> {
    check_width(operation, width)?;
    check_index(operation, "width", width)?;
    check_by_row(operation, length, width, out)
}

fn check_column_places(operation: &'static str, length: usize, width: usize, out: usize) -> Result<usize> {
    let rows = check_by_column(operation, length, width, out, 1)?;
    check_index(operation, "rows", rows)?;
    Ok(rows)
}

/// The index of the largest element: the first of equal ones. NaN counts as the largest, as in NumPy and PyTorch:
/// the first NaN wins.
///
/// # Errors
/// [`Error::Argument`] if there are no elements.
pub fn argmax<T: Element>(context: &Context, x: &[T]) -> Result<usize> {
    check_some("argmax", x.len())?;
    Ok(whole_place(context, Largest, x))
}

/// The index of the smallest element: the first of equal ones. NaN counts as the smallest, as in NumPy and PyTorch:
/// the first NaN wins.
///
/// # Errors
/// [`Error::Argument`] if there are no elements.
pub fn argmin<T: Element>(context: &Context, x: &[T]) -> Result<usize> {
    check_some("argmin", x.len())?;
    Ok(whole_place(context, Smallest, x))
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
    check_row_places("argmax_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, RowPlaces { order: Largest, input, width, out });
    Ok(())
}

/// The index of the smallest element of each row: see [`argmin`].
///
/// Shapes: `input` (rows, width), `out` (rows).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0 or above `u32::MAX`; [`Error::Shape`] if the lengths do not fit.
pub fn argmin_rows<T: Element>(context: &Context, input: &[T], width: usize, out: &mut [u32]) -> Result<()> {
    check_row_places("argmin_rows", input.len(), width, out.len())?;
    share::run::<T, _>(context, RowPlaces { order: Smallest, input, width, out });
    Ok(())
}

/// The row of the largest element of each column: see [`argmax`].
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0, or there are no rows or more than `u32::MAX`; [`Error::Shape`] if the
/// lengths do not fit.
pub fn column_argmax<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    out: &mut [u32],
) -> Result<()> {
    let rows = check_column_places("column_argmax", input.len(), width, out.len())?;
    let columns = Columns::whole([input], rows, width);
    share::run_columns::<T, _>(context, ColumnPlaces { order: Largest, columns, out });
    Ok(())
}

/// The row of the smallest element of each column: see [`argmin`].
///
/// Shapes: `input` (rows, width), `out` (width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0, or there are no rows or more than `u32::MAX`; [`Error::Shape`] if the
/// lengths do not fit.
pub fn column_argmin<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    out: &mut [u32],
) -> Result<()> {
    let rows = check_column_places("column_argmin", input.len(), width, out.len())?;
    let columns = Columns::whole([input], rows, width);
    share::run_columns::<T, _>(context, ColumnPlaces { order: Smallest, columns, out });
    Ok(())
}
