//! Packed operands.
//!
//! ```text
//!   packed B: panels of a register tile's columns       packed A: slivers of up to tile_rows rows
//!
//!   [n / (V LANES)][k][V LANES], zero-padded            [rows / part][k][part's rows]
//!
//!     panel 0            panel 1                          k=0: a00 a10 a20 .. a50
//!   k=0 b00 .. b0(VL-1)  b0(VL) ..                        k=1: a01 a11 a21 .. a51
//!   k=1 b10 ..           b1(VL) ..                         ...
//! ```

use super::blocking::{K_CHUNK, MAX_ROWS, MAX_VECTORS, Parts};
use super::plan::{Plan, Shape, at};
use super::view::{Layout, MatRef};
use crate::context::Context;
use crate::kernel::compiled::compiled;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector, read};

/// Copies one panel of B: `cols` columns, in `vectors` vectors, of `depth` rows; columns past `cols` become +0.
pub(crate) struct PackPanel<T> {
    pub b: *const T,
    pub row_stride: isize,
    pub col_stride: isize,
    pub depth: usize,
    pub cols: usize,
    pub vectors: usize,
    pub target: *mut T,
}

/// # Safety
/// `b` is valid for `depth` x `cols` elements at its strides, `target` for writes of `depth * vectors * LANES`;
/// `cols` is more than `vectors - 1` vectors have and at most what `vectors` have.
#[inline(always)]
pub(crate) unsafe fn pack_panel<T: Element, S: Simd>(s: S, panel: PackPanel<T>) {
    debug_assert!(panel.cols.div_ceil(T::V::<S>::LANES) == panel.vectors);
    s.call(panel);
}

impl<T: Element> Kernel for PackPanel<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let width = self.vectors * lanes;
        let (full, tail) = (self.cols / lanes, self.cols % lanes);
        if self.col_stride == 1 {
            for k in 0..self.depth {
                let from = at(self.b, k, self.row_stride, 0, 0);
                let to = self.target.wrapping_add(k * width);
                for j in 0..full {
                    // SAFETY: `pack_panel`'s caller vouches for row k of B and of the panel.
                    unsafe {
                        T::V::<S>::load_ptr(s, from.wrapping_add(j * lanes))
                            .store_ptr(to.wrapping_add(j * lanes));
                    }
                }
                if tail > 0 {
                    let at = full * lanes;
                    // SAFETY: as above; the last vector is read as far as it is in use.
                    unsafe {
                        T::V::<S>::load_first_ptr(s, from.wrapping_add(at), tail)
                            .store_ptr(to.wrapping_add(at));
                    }
                }
            }
            return;
        }
        // A transposed B has contiguous columns: square blocks of it are turned in registers. Along k first, so that
        // the lines that are read are used up while they are in the cache.
        let blocks = if self.row_stride == 1 { self.depth / lanes } else { 0 };
        for j in 0..full {
            let from = at(self.b, 0, 0, j * lanes, self.col_stride);
            for block in 0..blocks {
                // SAFETY: the block lies within B and the panel.
                unsafe {
                    T::V::<S>::transpose_ptr(
                        s,
                        from.wrapping_add(block * lanes),
                        self.col_stride,
                        self.target.wrapping_add(block * lanes * width + j * lanes),
                        width,
                    );
                }
            }
        }
        // What is left: the last rows, the last columns, or all of a B that is contiguous in neither direction.
        for k in 0..self.depth {
            let start = if k < blocks * lanes { full * lanes } else { 0 };
            for j in start..width {
                // SAFETY: (k, j) lies within the panel and, unless it is padding, within B.
                unsafe {
                    *self.target.wrapping_add(k * width + j) = if j < self.cols {
                        read(at(self.b, k, self.row_stride, j, self.col_stride))
                    } else {
                        T::zero()
                    };
                }
            }
        }
    }
}

/// Elements of the panels of a whole B.
pub(crate) fn packed_len(k: usize, n: usize, lanes: usize) -> Option<usize> {
    n.checked_next_multiple_of(lanes)?.checked_mul(k)
}

/// Packs all of `b` into `panels`.
///
/// # Panics
/// If `panels` has not [`packed_len`] elements.
pub(crate) fn pack_all<T: Element>(context: &Context, b: MatRef<'_, T>, panels: &mut [T]) {
    let layout = b.layout();
    assert_eq!(Some(panels.len()), packed_len(layout.rows, layout.cols, 64 / size_of::<T>()));
    let a = Layout { rows: 1, cols: layout.rows, row_stride: 0, col_stride: 0 };
    let c = Layout { rows: 1, cols: layout.cols, row_stride: 0, col_stride: 1 };
    let plan = Plan::new::<T>(context, &Shape { a, b: layout, c, packed: true, by_column: false }, 1, None);
    T::run(context, Pack { plan: &plan, b: b.pointer(), layout, target: panels.as_mut_ptr() });
}

/// The packing of all of B. Made by [`pack_all`] alone, which has checked it.
struct Pack<'a, T> {
    plan: &'a Plan,
    b: *const T,
    layout: Layout,
    target: *mut T,
}

compiled! {
    Pack<'a, Self>,
}

impl<T: Element> Kernel for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let plan = self.plan;
        let Layout { row_stride, col_stride, .. } = self.layout;
        if plan.n == 0 {
            // Its rows may be more than could ever be counted.
            return;
        }
        for chunk in 0..plan.k.div_ceil(K_CHUNK) {
            for panel in 0..plan.panel_blocks.part(0).1 {
                let col = panel * plan.blocking.tile_vectors * plan.lanes;
                let vectors = plan.vectors(panel);
                let panel = PackPanel {
                    b: at(self.b, chunk * K_CHUNK, row_stride, col, col_stride),
                    row_stride,
                    col_stride,
                    depth: plan.depth(chunk),
                    cols: (vectors * plan.lanes).min(plan.n - col),
                    vectors,
                    target: self.target.wrapping_add(plan.packed_offset(panel, chunk)),
                };
                // SAFETY: the panel's columns and the chunk's rows lie within B; the target has room for every panel.
                unsafe { pack_panel(s, panel) };
            }
        }
    }
}

/// Copies a block of A (rows x k), cut into slivers, each stored k by k.
pub(crate) struct PackRows<T> {
    pub a: *const T,
    pub layout: Layout,
    pub parts: Parts,
    pub target: *mut T,
}

/// # Safety
/// `a` is valid for the layout's elements, `target` for writes of as many; `parts` cuts the layout's rows.
#[inline(always)]
pub(crate) unsafe fn pack_rows<T: Element, S: Simd>(s: S, rows: PackRows<T>) {
    s.call(rows);
}

impl<T: Element> Kernel for PackRows<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (depth, stride) = (self.layout.cols, self.layout.col_stride);
        for index in 0..self.parts.count() {
            let (start, rows) = self.parts.part(index);
            let from = at(self.a, start, self.layout.row_stride, 0, 0);
            let to = self.target.wrapping_add(start * depth);
            // SAFETY: the sliver's rows lie within A; the target has rows * depth elements for it.
            unsafe {
                match (self.layout.row_stride, rows) {
                    (1, 6) => copy_columns::<T, 6>(from, stride, depth, to),
                    (1, 5) => copy_columns::<T, 5>(from, stride, depth, to),
                    (row_stride, rows) => {
                        for k in 0..depth {
                            for i in 0..rows {
                                *to.wrapping_add(k * rows + i) = read(at(from, i, row_stride, k, stride));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A sliver whose R rows are neighbours in memory: copied R elements at a time, a number that the compiler knows.
///
/// # Safety
/// `a` is valid for `depth` times R elements, `stride` apart, `target` for writes of as many.
#[inline(always)]
unsafe fn copy_columns<T: Copy, const R: usize>(a: *const T, stride: isize, depth: usize, target: *mut T) {
    for k in 0..depth {
        // SAFETY: the caller vouches for column k; nothing overlaps a packing buffer.
        unsafe {
            std::ptr::copy_nonoverlapping(at(a, k, stride, 0, 0), target.wrapping_add(k * R), R);
        }
    }
}

/// Columns of the copy in which a tile of a C is computed whose columns are not contiguous.
pub(crate) const COPY_WIDTH: usize = MAX_VECTORS * 16;

/// Its elements: as many rows as square blocks have, which is enough for any tile.
pub(crate) const COPY_ELEMENTS: usize = 16 * COPY_WIDTH;

/// Part of a C, `rows` x `cols` at any strides, and a copy of it, [`COPY_WIDTH`] elements wide.
#[derive(Clone, Copy)]
pub(crate) struct Copied<T> {
    pub copy: *mut T,
    pub c: *mut T,
    pub rows: usize,
    pub cols: usize,
    pub row_stride: isize,
    pub col_stride: isize,
}

impl<T: Element> Copied<T> {
    /// Reads C into the copy.
    ///
    /// # Safety
    /// C is valid for reads of its part, the copy for writes of [`COPY_ELEMENTS`].
    pub(crate) unsafe fn fetch(self) {
        for i in 0..self.rows {
            for j in 0..self.cols {
                // SAFETY: (i, j) lies within C, and in the copy.
                unsafe { *self.copy.add(i * COPY_WIDTH + j) = *self.place(i, j) };
            }
        }
    }

    /// Writes the copy to C.
    ///
    /// # Safety
    /// C is valid for writes of its part, the copy for reads and writes of [`COPY_ELEMENTS`].
    #[inline(always)]
    pub(crate) unsafe fn put_back<S: Simd>(self, s: S) {
        s.call(PutBack(self));
    }

    #[inline(always)]
    fn place(self, i: usize, j: usize) -> *mut T {
        at(self.c.cast_const(), i, self.row_stride, j, self.col_stride).cast_mut()
    }
}

struct PutBack<T>(Copied<T>);

impl<T: Element> Kernel for PutBack<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const { assert!(MAX_ROWS <= 16) };
        let Self(part) = self;
        let lanes = T::V::<S>::LANES;
        if part.row_stride != 1 {
            for i in 0..part.rows {
                for j in 0..part.cols {
                    // SAFETY: (i, j) lies within C, and in the copy.
                    unsafe { *part.place(i, j) = *part.copy.add(i * COPY_WIDTH + j) };
                }
            }
            return;
        }
        // C's columns are contiguous: square blocks are turned, and written column by column.
        for i in (0..part.rows).step_by(lanes) {
            for j in (0..part.cols).step_by(lanes) {
                let used = (lanes.min(part.rows - i), lanes.min(part.cols - j));
                let block = part.copy.wrapping_add(i * COPY_WIDTH + j);
                // SAFETY: the copy has 16 rows of COPY_WIDTH, so every block is whole; what is written of it lies
                // within C.
                unsafe {
                    T::V::<S>::transpose_first_ptr(
                        s,
                        block,
                        COPY_WIDTH as isize,
                        used,
                        part.place(i, j),
                        part.col_stride,
                    );
                }
            }
        }
    }
}
