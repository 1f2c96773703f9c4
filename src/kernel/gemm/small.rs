//! Small products: register tiles without a plan.

use super::ahead::Ahead;
use super::blocking::{K_CHUNK, PACKS_FROM, PREFETCHES_FROM, Parts, register_tile, tile_rows};
use super::driver::Operands;
use super::epilogue::{Area, finish};
use super::microkernel::{Tiles, run_tiles};
use super::plan::at;
use super::view::Layout;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};

/// A product that fits in L1 and L2 as it is: register tiles, panel after panel, and nothing packed. Its sums are those
/// of any other plan; making one took 500 cycles, a fifth of 32 x 32 x 32.
///
/// The operands are of shapes and strides that [`is_direct`] accepts, and valid for them; C's elements are this call's
/// alone: who makes one vouches for it.
pub(crate) struct Direct<'a, T> {
    pub operands: &'a Operands<'a, T>,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// True for the operands of products that need no plan: one chunk of K; rows of A, B and C that follow k and the columns;
/// no more rows than are worth packing a wide B for, no more of B than is worth asking for ahead.
pub(crate) fn is_direct<T>(a: Layout, b: Layout, c: Layout) -> bool {
    let lanes = 64 / size_of::<T>();
    (1..=K_CHUNK).contains(&b.rows)
        && (1..PACKS_FROM.0).contains(&a.rows)
        && c.cols >= 2 * lanes
        && a.col_stride == 1
        && b.col_stride == 1
        && c.col_stride == 1
        && b.rows.saturating_mul(b.cols) <= PREFETCHES_FROM / size_of::<T>()
}

impl<T: Element> Kernel for Direct<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { operands: o, m, n, k } = self;
        let lanes = T::V::<S>::LANES;
        let vectors = n.div_ceil(lanes);
        // All rows in one tile, if a narrower one has room for them.
        let wide = register_tile(S::ISA).1;
        let most = (1..=wide).rev().find(|&v| tile_rows(S::ISA, v) >= m).unwrap_or(wide);
        let mut first = 0;
        while first < vectors {
            let (col, vectors) = (first * lanes, most.min(vectors - first));
            let row_groups = Parts::equal(m, tile_rows(S::ISA, vectors));
            let mut group = 0;
            while group < row_groups.count() {
                let ((start, rows), end) = (row_groups.part(group), row_groups.run(group));
                let tiles = Tiles {
                    tiles: end - group,
                    rows,
                    vectors,
                    last_lanes: lanes.min(n - col - (vectors - 1) * lanes),
                    depth: k,
                    a: at(o.a, start, o.a_row_stride, 0, 0),
                    a_row_stride: o.a_row_stride,
                    a_k_stride: 1,
                    a_tile_stride: o.a_row_stride.wrapping_mul(rows as isize),
                    b: o.b.wrapping_add(col),
                    b_k_stride: o.b_row_stride,
                    b_vector_stride: lanes as isize,
                    turns: false,
                    pack: std::ptr::null_mut(),
                    ahead: Ahead::nothing(o.b),
                    c: at(o.c.cast_const(), start, o.c_row_stride, col, 1).cast_mut(),
                    c_row_stride: o.c_row_stride,
                    saved: o.saved_at(start, col),
                    saved_row_stride: o.saved_row_stride,
                    alpha: o.alpha,
                    beta: o.beta,
                };
                // SAFETY: see the type: the tiles lie within A, B and C.
                unsafe { run_tiles(s, &tiles) };
                group = end;
            }
            first += most;
        }
        // SAFETY: see the type: the area is all of C.
        unsafe { finish(s, false, o, Area { row: 0, rows: m, col: 0, cols: n }, o.c) };
    }
}
