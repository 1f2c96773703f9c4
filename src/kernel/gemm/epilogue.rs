//! What happens to a part of C after its last chunk of K: bias, activation, derivative, the caller's tile function.

use super::driver::{Operands, TileFunction};
use super::plan::{Plan, at};
use super::view::{Layout, MatMut};
use crate::kernel::activation::Activation;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};

/// Rows and columns of what is computed, from the first of each.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub row: usize,
    pub rows: usize,
    pub col: usize,
    pub cols: usize,
}

impl<T> Operands<'_, T> {
    /// True if there is something to do but to store.
    pub(super) fn has_epilogue(&self) -> bool {
        !self.bias.is_null() || self.activation != Activation::Identity || !self.output.is_null()
    }
}

/// What follows the last chunk of `area`, where its columns in C, as computed, are C's own: epilogue, tile function.
///
/// # Safety
/// As [`Plan::run`].
#[inline(always)]
pub(super) unsafe fn finish<T: Element, S: Simd>(
    s: S,
    plan: &Plan,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
) {
    // The transpose of what C shows has one row of it, or many in one column.
    let turned = plan.swapped && (o.c_row_stride == 1 || plan.m == 1);
    // SAFETY: passed on.
    unsafe {
        if o.has_epilogue() {
            if turned {
                let area = Area { row: area.col, rows: area.cols, col: area.row, cols: area.rows };
                apply(s, o, area, c, o.c_col_stride);
            } else {
                apply(s, o, area, c, o.c_row_stride);
            }
        }
        if let Some(function) = o.tile_function {
            give(function, plan, o, area, c);
        }
    }
}

/// The epilogue of `area`, in C's own rows and columns, that stands at `c`.
///
/// # Safety
/// As [`Plan::run`].
#[inline(always)]
pub(super) unsafe fn apply<T: Element, S: Simd>(
    s: S,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
    c_row_stride: isize,
) {
    let epilogue = TileEpilogue {
        rows: area.rows,
        cols: area.cols,
        c,
        c_row_stride,
        bias: if o.bias.is_null() { o.bias } else { o.bias.wrapping_add(area.col) },
        activation: o.activation,
        derivative: o.derivative,
        output: if o.output.is_null() {
            o.output
        } else {
            at(o.output, area.row, o.output_row_stride, area.col, 1)
        },
        output_row_stride: o.output_row_stride,
    };
    // SAFETY: passed on.
    unsafe { run_epilogue(s, &epilogue) };
}

/// Gives a finished part of C to the caller's function, in C's own rows and columns.
///
/// # Safety
/// As [`Plan::run`].
#[inline(never)]
pub(super) unsafe fn give<T: Element>(
    function: &TileFunction<'_, T>,
    plan: &Plan,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
) {
    let layout =
        Layout { rows: area.rows, cols: area.cols, row_stride: o.c_row_stride, col_stride: o.c_col_stride };
    let (row, col, layout) =
        if plan.swapped { (area.col, area.row, layout.transposed()) } else { (area.row, area.col, layout) };
    // SAFETY: the area lies within C, whose elements are distinct, and belongs to this task alone.
    function(row, col, unsafe { MatMut::from_raw(c, layout) });
}

/// Part of C after its last chunk, rows by lanes-wide vectors, and what happens to it: bias, then activation, then
/// times an activation's derivative.
#[derive(Clone, Copy)]
struct TileEpilogue<T> {
    rows: usize,
    cols: usize,
    c: *mut T,
    c_row_stride: isize,
    /// The bias of the first column, or null.
    bias: *const T,
    activation: Activation,
    /// The derivative's activation and the output that it is taken from, with contiguous columns, or null.
    derivative: Activation,
    output: *const T,
    output_row_stride: isize,
}

struct EpilogueKernel<'a, T>(&'a TileEpilogue<T>);

impl<T: Element> Kernel for EpilogueKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(e) = self;
        let lanes = T::V::<S>::LANES;
        for i in 0..e.rows as isize {
            for col in (0..e.cols).step_by(lanes) {
                let count = lanes.min(e.cols - col);
                let c = e.c.wrapping_offset(i * e.c_row_stride + col as isize);
                // SAFETY: `run_epilogue`'s caller vouches for the part of C, its columns' bias and the output.
                unsafe {
                    let mut x = T::V::<S>::load_first_ptr(s, c, count);
                    if !e.bias.is_null() {
                        x = x + T::V::<S>::load_first_ptr(s, e.bias.add(col), count);
                    }
                    x = e.activation.apply::<T, S>(s, x);
                    if !e.output.is_null() {
                        let at = i * e.output_row_stride + col as isize;
                        let y = T::V::<S>::load_first_ptr(s, e.output.offset(at), count);
                        x = x * e.derivative.derivative::<T, S>(s, y);
                    }
                    x.store_first_ptr(c, count);
                }
            }
        }
    }
}

/// Applies `epilogue` to a part of C that the last chunk has just left in the L1 cache.
///
/// # Safety
/// C is valid for reads and writes of the part, and nothing else accesses it meanwhile; `bias` is null or valid for
/// its columns, `output` null or valid for its elements.
#[inline(always)]
unsafe fn run_epilogue<T: Element, S: Simd>(s: S, epilogue: &TileEpilogue<T>) {
    s.call(EpilogueKernel(epilogue));
}
