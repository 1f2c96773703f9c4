//! The frames for rows: one number out of each.

use super::SUM_CHUNK;
use crate::context::Context;
use crate::kernel::compiled::Compiled;
use crate::kernel::element::Element;
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// A row in, a number out.
pub(super) trait Row<T: Element>: Copy {
    /// The reduction. Mark it `#[inline(always)]`.
    fn row<S: Simd>(self, s: S, row: &[T]) -> T;
}

/// `out[i] = reduction(input[i, ..])`. A whole slice is one row.
pub(super) struct Rows<'a, T, R> {
    pub reduction: R,
    pub input: &'a [T],
    pub width: usize,
    pub out: &'a mut [T],
}

cut! { ['a, T, R: Copy] Rows<'a, T, R>: per_unit(out) wide(width: input) keep(reduction, width) }

impl<T: Element, R: Row<T>> Kernel for Rows<'_, T, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (row, out) in self.input.chunks_exact(self.width).zip(self.out) {
            *out = self.reduction.row(s, row);
        }
    }
}

/// Two rows in, a number out.
pub(super) trait RowPair<T: Element>: Copy {
    /// The reduction. Mark it `#[inline(always)]`.
    fn rows<S: Simd>(self, s: S, a: &[T], b: &[T]) -> T;
}

/// `out[i] = reduction(a[i, ..], b[i, ..])`.
pub(super) struct RowPairs<'a, T, R> {
    pub reduction: R,
    pub a: &'a [T],
    pub b: &'a [T],
    pub width: usize,
    pub out: &'a mut [T],
}

cut! { ['a, T, R: Copy] RowPairs<'a, T, R>: per_unit(out) wide(width: a, b) keep(reduction, width) }

impl<T: Element, R: RowPair<T>> Kernel for RowPairs<'_, T, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (a, b) = (self.a.chunks_exact(self.width), self.b.chunks_exact(self.width));
        for ((a, b), out) in a.zip(b).zip(self.out) {
            *out = self.reduction.rows(s, a, b);
        }
    }
}

/// The reduction of all of `x` as one row.
pub(super) fn whole<T, R>(context: &Context, reduction: R, x: &[T]) -> T
where
    T: Element + for<'a> Compiled<Rows<'a, T, R>>,
    R: Row<T>,
{
    let mut out = [T::zero()];
    T::run(context, Rows { reduction, input: x, width: x.len().max(1), out: &mut out });
    out[0]
}

/// The reduction of `length` elements, chunk by chunk: `run` reduces the chunks of a range, each to one number, and
/// `combine` takes their results in order, from `start` on. What comes out depends on the length alone; `run` may share
/// its chunks.
pub(super) fn chunks<T: Element>(
    length: usize,
    start: T,
    combine: impl Fn(T, T) -> T,
    run: impl Fn(Range<usize>, usize, &mut [T]),
) -> T {
    const MOST: usize = 512;
    let mut total = start;
    let mut parts = [T::zero(); MOST];
    let mut at = 0;
    while at < length {
        // Whole chunks, or the last and shorter one.
        let count = ((length - at) / SUM_CHUNK).min(MOST);
        let (count, width) = if count > 0 { (count, SUM_CHUNK) } else { (1, length - at) };
        run(at..at + count * width, width, &mut parts[..count]);
        total = parts[..count].iter().fold(total, |total, &part| combine(total, part));
        at += count * width;
    }
    total
}

/// [`whole`] where that goes chunk by chunk and combines their results like this, in order: the chunks of a long slice
/// are shared by threads.
pub(super) fn whole_by_chunks<T, R>(
    context: &Context,
    reduction: R,
    x: &[T],
    combine: impl Fn(T, T) -> T,
) -> T
where
    T: Element + for<'a> Compiled<Rows<'a, T, R>>,
    R: Row<T> + Send,
{
    if !share::is_long(x) {
        return whole(context, reduction, x);
    }
    // Of an extreme the first chunk's, which is NaN where it should be; a sum's does not mind being added to zero.
    let (first, rest) = x.split_at(SUM_CHUNK);
    let start = whole(context, reduction, first);
    chunks(rest.len(), start, combine, |range, width, out| {
        share::run::<T, _>(context, Rows { reduction, input: &rest[range], width, out });
    })
}
