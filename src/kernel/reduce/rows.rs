//! The frames for rows: one number out of each.

use crate::kernel::element::Element;
use crate::kernel::share::cut;
use crate::simd::{Kernel, Simd};

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

/// The reduction of all of `x` as one row; `empty` if there are no elements.
macro_rules! whole {
    ($context:expr, $reduction:expr, $x:expr, $empty:expr) => {{
        let mut out = [$empty];
        let rows = $crate::kernel::reduce::rows::Rows {
            reduction: $reduction,
            input: $x,
            width: $x.len().max(1),
            out: &mut out,
        };
        T::run($context, rows);
        out[0]
    }};
}
pub(super) use whole;
