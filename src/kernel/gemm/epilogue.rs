//! What happens to a part of C after its last chunk of K: bias, activation, derivative, the caller's tile function.
//!
//! [`Forward`] and [`Backward`] are the loops of every activation: over a part of C that is still in the L1 cache, and
//! over slices. Which activation it is is asked once, outside of them.

use super::driver::{Operands, TileFunction};
use super::plan::at;
use super::view::{Layout, MatMut};
use crate::kernel::activation::curve::Curve;
use crate::kernel::activation::{Activation, Visitor};
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};
use std::marker::PhantomData;

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
        !self.bias.is_null() || self.activation != Activation::Identity || !self.saved.is_null()
    }

    /// Where element (i, j) of what was saved stands, if anything was; null if not.
    pub(super) fn saved_at(&self, i: usize, j: usize) -> *const T {
        if self.saved.is_null() { self.saved } else { at(self.saved, i, self.saved_row_stride, j, 1) }
    }
}

/// What follows the last chunk of `area`, where its columns in C, as computed, are C's own (or, `swapped`, its rows):
/// epilogue, tile function.
///
/// # Safety
/// As [`Plan::run`](super::plan::Plan::run).
#[inline(always)]
pub(super) unsafe fn finish<T: Element, S: Simd>(
    s: S,
    swapped: bool,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
) {
    // The transpose of what C shows has one row of it, or many in one column.
    let turned = swapped && (o.c_row_stride == 1 || area.rows == 1);
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
            give(function, swapped, o, area, c);
        }
    }
}

/// The epilogue of `area`, in C's own rows and columns, that stands at `c`.
///
/// # Safety
/// As [`Plan::run`](super::plan::Plan::run).
#[inline(always)]
pub(super) unsafe fn apply<T: Element, S: Simd>(
    s: S,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
    c_row_stride: isize,
) {
    // Two loops, so that there is one of each activation and of each derivative, and not one of each pair.
    let bias = !o.bias.is_null();
    if bias || o.activation != Activation::Identity {
        s.call(Forward {
            activation: o.activation,
            rows: area.rows,
            cols: area.cols,
            input: c,
            input_row_stride: c_row_stride,
            output: c,
            output_row_stride: c_row_stride,
            bias: if bias { o.bias.wrapping_add(area.col) } else { o.bias },
            borrowed: PhantomData,
        });
    }
    if !o.saved.is_null() {
        s.call(Backward {
            activation: o.derivative,
            rows: area.rows,
            cols: area.cols,
            saved: o.saved_at(area.row, area.col),
            saved_row_stride: o.saved_row_stride,
            gradient: c,
            gradient_row_stride: c_row_stride,
            output: c,
            output_row_stride: c_row_stride,
            borrowed: PhantomData,
        });
    }
}

/// Gives a finished part of C to the caller's function, in C's own rows and columns.
///
/// # Safety
/// As [`Plan::run`](super::plan::Plan::run).
#[inline(never)]
pub(super) unsafe fn give<T: Element>(
    function: &TileFunction<'_, T>,
    swapped: bool,
    o: &Operands<'_, T>,
    area: Area,
    c: *mut T,
) {
    let layout =
        Layout { rows: area.rows, cols: area.cols, row_stride: o.c_row_stride, col_stride: o.c_col_stride };
    let (row, col, layout) =
        if swapped { (area.col, area.row, layout.transposed()) } else { (area.row, area.col, layout) };
    // SAFETY: the area lies within C, whose elements are distinct, and belongs to this task alone.
    function(row, col, unsafe { MatMut::from_raw(c, layout) });
}

/// `output = f(input + bias)`, row by row; input and output are the same place or do not overlap.
///
/// The pointers are valid for the rows and columns, which are contiguous, and `bias` is null or valid for the columns: who
/// makes one vouches for it. A slice is one row.
#[derive(Clone, Copy)]
pub struct Forward<'a, T> {
    activation: Activation,
    rows: usize,
    cols: usize,
    input: *const T,
    input_row_stride: isize,
    output: *mut T,
    output_row_stride: isize,
    bias: *const T,
    borrowed: PhantomData<&'a mut [T]>,
}

impl<'a, T> Forward<'a, T> {
    /// `output[i] = f(input[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(in crate::kernel) fn new(activation: Activation, input: &'a [T], output: &'a mut [T]) -> Self {
        assert_eq!(input.len(), output.len());
        let cols = input.len();
        Self { cols, input: input.as_ptr(), ..Self::in_place(activation, output) }
    }

    /// `data[i] = f(data[i])`.
    pub(in crate::kernel) fn in_place(activation: Activation, data: &'a mut [T]) -> Self {
        let output = data.as_mut_ptr();
        Self {
            activation,
            rows: 1,
            cols: data.len(),
            input: output,
            input_row_stride: 0,
            output,
            output_row_stride: 0,
            bias: std::ptr::null(),
            borrowed: PhantomData,
        }
    }
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.activation.visit::<T, _>(ForwardVisitor { s, rows: self });
    }
}

struct ForwardVisitor<'a, S, T> {
    s: S,
    rows: Forward<'a, T>,
}

impl<S: Simd, T: Element> Visitor<T> for ForwardVisitor<'_, S, T> {
    #[inline(always)]
    fn visit<C: Curve<T>>(self, curve: C) {
        self.s.call(ForwardRows { curve, rows: self.rows });
    }
}

struct ForwardRows<'a, T, C> {
    curve: C,
    rows: Forward<'a, T>,
}

impl<T: Element, C: Curve<T>> Kernel for ForwardRows<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { curve, rows: r } = self;
        let lanes = T::V::<S>::LANES;
        let whole = r.cols - r.cols % lanes;
        for i in 0..r.rows as isize {
            let input = r.input.wrapping_offset(i * r.input_row_stride);
            let output = r.output.wrapping_offset(i * r.output_row_stride);
            // SAFETY: see the type: the row's columns are valid, and so is their bias. Each vector is read before it
            // is written.
            unsafe {
                for col in (0..whole).step_by(lanes) {
                    let mut x = T::V::<S>::load_ptr(s, input.add(col));
                    if !r.bias.is_null() {
                        x = x + T::V::<S>::load_ptr(s, r.bias.add(col));
                    }
                    curve.value(s, x).store_ptr(output.add(col));
                }
                let rest = r.cols - whole;
                if rest > 0 {
                    let mut x = T::V::<S>::load_first_ptr(s, input.add(whole), rest);
                    if !r.bias.is_null() {
                        x = x + T::V::<S>::load_first_ptr(s, r.bias.add(whole), rest);
                    }
                    curve.value(s, x).store_first_ptr(output.add(whole), rest);
                }
            }
        }
    }
}

/// `output = gradient * f'(saved)`, row by row; gradient and output are the same place or do not overlap.
///
/// The pointers are as [`Forward`]'s.
#[derive(Clone, Copy)]
pub struct Backward<'a, T> {
    activation: Activation,
    rows: usize,
    cols: usize,
    saved: *const T,
    saved_row_stride: isize,
    gradient: *const T,
    gradient_row_stride: isize,
    output: *mut T,
    output_row_stride: isize,
    borrowed: PhantomData<&'a mut [T]>,
}

impl<'a, T> Backward<'a, T> {
    /// `output[i] = gradient[i] * f'(saved[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(in crate::kernel) fn new(
        activation: Activation,
        saved: &'a [T],
        gradient: &'a [T],
        output: &'a mut [T],
    ) -> Self {
        assert_eq!(gradient.len(), output.len());
        Self { gradient: gradient.as_ptr(), ..Self::in_place(activation, saved, output) }
    }

    /// `data[i] = data[i] * f'(saved[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(in crate::kernel) fn in_place(activation: Activation, saved: &'a [T], data: &'a mut [T]) -> Self {
        assert_eq!(saved.len(), data.len());
        let output = data.as_mut_ptr();
        Self {
            activation,
            rows: 1,
            cols: data.len(),
            saved: saved.as_ptr(),
            saved_row_stride: 0,
            gradient: output,
            gradient_row_stride: 0,
            output,
            output_row_stride: 0,
            borrowed: PhantomData,
        }
    }
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.activation.visit::<T, _>(BackwardVisitor { s, rows: self });
    }
}

struct BackwardVisitor<'a, S, T> {
    s: S,
    rows: Backward<'a, T>,
}

impl<S: Simd, T: Element> Visitor<T> for BackwardVisitor<'_, S, T> {
    #[inline(always)]
    fn visit<C: Curve<T>>(self, curve: C) {
        self.s.call(BackwardRows { curve, rows: self.rows });
    }
}

struct BackwardRows<'a, T, C> {
    curve: C,
    rows: Backward<'a, T>,
}

impl<T: Element, C: Curve<T>> Kernel for BackwardRows<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { curve, rows: r } = self;
        let lanes = T::V::<S>::LANES;
        let whole = r.cols - r.cols % lanes;
        for i in 0..r.rows as isize {
            let saved = r.saved.wrapping_offset(i * r.saved_row_stride);
            let gradient = r.gradient.wrapping_offset(i * r.gradient_row_stride);
            let output = r.output.wrapping_offset(i * r.output_row_stride);
            // SAFETY: see the type: the row's columns are valid. Each vector is read before it is written.
            unsafe {
                for col in (0..whole).step_by(lanes) {
                    let slope = curve.derivative(s, T::V::<S>::load_ptr(s, saved.add(col)));
                    let d = T::V::<S>::load_ptr(s, gradient.add(col)) * slope;
                    d.store_ptr(output.add(col));
                }
                let rest = r.cols - whole;
                if rest > 0 {
                    let slope = curve.derivative(s, T::V::<S>::load_first_ptr(s, saved.add(whole), rest));
                    let d = T::V::<S>::load_first_ptr(s, gradient.add(whole), rest) * slope;
                    d.store_first_ptr(output.add(whole), rest);
                }
            }
        }
    }
}
