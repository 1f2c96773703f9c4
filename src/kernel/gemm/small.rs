//! Small in one of two ways: few rows times a large B ([`run_strip`]), or few elements altogether ([`Direct`]).
//!
//! Few rows times a B that is larger than the caches are bound by memory, so B is read once, row by row.
//!
//! ```text
//! task = some columns of C, in strips whose sums stay in L1
//!   for each chunk of K
//!     for every U rows of B (8 for one row of A, 4 for up to four, else 2; few registers: 4 at most)
//!       for each vector of the strip:   sum[i] = fma(a[i][k], b[k], sum[i])     for all rows i, then the next k
//!     c = fma(alpha, sum, beta * c)
//! ```
//!
//! A register tile would keep its sums in registers and read 256 bytes of each row, then jump. Here whole strips of rows
//! follow each other, and the sums go through L1 once every U rows. Measured on Zen 4, by the bandwidth of one core: one row
//! 58 % by fours with lines asked for ahead (tiles: 30), 1.3 to 1.4 times that by eights without; eight rows 37 % (tiles: 30).

use super::ahead::Ahead;
use super::blocking::{K_CHUNK, PACKS_FROM, PREFETCHES_FROM, Parts, register_tile, tile_rows};
use super::driver::Operands;
use super::epilogue::{Area, finish};
use super::microkernel::{Tiles, run_tiles};
use super::plan::at;
use super::view::Layout;
use crate::kernel::element::Element;
use crate::simd::{Isa, Kernel, Simd, Vector, read};

/// The most rows of A.
pub(crate) const MOST_ROWS: usize = 8;

/// Elements of the sums of a strip: 16 KiB of f32, half of L1, and a vector more for each row.
pub(crate) const SUMS: usize = 4096 + MOST_ROWS * 16;

/// Vectors ahead of which lines are asked for where A has several rows (with one row that cost a third of the bandwidth: eight
/// streams are enough for the hardware), in the same rows and then in the next ones. (Never the same columns of
/// later rows: those of a stride of 4 KiB share a set of L1, and push each other out before they are used.)
const AHEAD: usize = 32;

/// One chunk of K for a strip of columns.
#[derive(Clone, Copy)]
pub(crate) struct Strip<T> {
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
    pub a: *const T,
    pub a_row_stride: isize,
    pub a_k_stride: isize,
    pub b: *const T,
    pub b_row_stride: isize,
    pub c: *mut T,
    pub c_row_stride: isize,
    pub alpha: T,
    /// What C is scaled by before the chunk is added. 0 does not read C.
    pub beta: T,
    /// Room for [`SUMS`].
    pub sums: *mut T,
}

/// Columns of a strip of `rows` rows: whole vectors.
pub(crate) fn strip_cols(rows: usize, lanes: usize) -> usize {
    (SUMS - MOST_ROWS * 16) / rows / lanes * lanes
}

/// From one row of sums to the next. Not a power of two: a load would wait for the store 4 KiB before it.
fn sums_stride(rows: usize, lanes: usize) -> usize {
    strip_cols(rows, lanes) + lanes
}

struct StripKernel<T, const M: usize, const U: usize>(Strip<T>);

impl<T: Element, const M: usize, const U: usize> Kernel for StripKernel<T, M, U> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(t) = self;
        // SAFETY: `run_strip`'s caller vouches for the strip.
        unsafe {
            let whole = t.depth / U * U;
            for k in (0..whole).step_by(U) {
                rows::<T, S, M, U>(s, &t, k);
            }
            for k in whole..t.depth {
                rows::<T, S, M, 1>(s, &t, k);
            }
            add_sums::<T, S, M>(s, &t);
        }
    }
}

/// Column `k` of row `i` of A, in all lanes.
///
/// # Safety
/// As [`run_strip`].
#[inline(always)]
unsafe fn factor<T: Element, S: Simd>(s: S, t: &Strip<T>, i: usize, k: usize) -> T::V<S> {
    // SAFETY: passed on.
    T::V::<S>::splat(s, unsafe { read(at(t.a, i, t.a_row_stride, k, t.a_k_stride)) })
}

/// U rows of B, from `first` on, times their columns of A.
///
/// # Safety
/// As [`run_strip`].
#[inline(always)]
unsafe fn rows<T: Element, S: Simd, const M: usize, const U: usize>(s: S, t: &Strip<T>, first: usize) {
    let lanes = T::V::<S>::LANES;
    // Registers for the factors of A, if there are enough; else they are broadcast from L1 for each vector.
    let mut held = [[T::V::<S>::splat(s, T::zero()); U]; M];
    if const { holds(S::ISA) } {
        for (i, row) in held.iter_mut().enumerate() {
            for (u, a) in row.iter_mut().enumerate() {
                // SAFETY: passed on.
                *a = unsafe { factor(s, t, i, first + u) };
            }
        }
    }
    for col in (0..t.cols / lanes * lanes).step_by(lanes) {
        // SAFETY: passed on: a whole vector.
        unsafe { vector::<T, S, M, U, false>(s, t, first, col, &held) };
    }
    if !t.cols.is_multiple_of(lanes) {
        // SAFETY: passed on: the last vector.
        unsafe { vector::<T, S, M, U, true>(s, t, first, t.cols / lanes * lanes, &held) };
    }
}

const fn holds(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512)
}

/// One vector of U rows of B, cut if it is the last.
///
/// # Safety
/// As [`run_strip`].
#[inline(always)]
unsafe fn vector<T: Element, S: Simd, const M: usize, const U: usize, const CUT: bool>(
    s: S,
    t: &Strip<T>,
    first: usize,
    col: usize,
    held: &[[T::V<S>; U]; M],
) {
    let lanes = T::V::<S>::LANES;
    let ahead = col + AHEAD * lanes;
    let (down, right) = if ahead < t.cols { (0, ahead) } else { (U, ahead - t.cols) };
    let mut row = [T::V::<S>::splat(s, T::zero()); U];
    for (u, row) in row.iter_mut().enumerate() {
        if const { M > 1 } {
            s.prefetch::<false>(at(t.b, first + u + down, t.b_row_stride, right, 1).cast());
        }
        let from = at(t.b, first + u, t.b_row_stride, col, 1);
        // SAFETY: the caller vouches for the rows of B, the last vector as far as it is in use.
        *row = unsafe {
            if CUT { T::V::<S>::load_first_ptr(s, from, t.cols - col) } else { T::V::<S>::load_ptr(s, from) }
        };
    }
    for (i, held) in held.iter().enumerate() {
        let sums = t.sums.wrapping_add(i * sums_stride(M, lanes) + col);
        // SAFETY: the sums of a strip are whole vectors, and they are this call's alone.
        unsafe {
            let mut sum =
                if first == 0 { T::V::<S>::splat(s, T::zero()) } else { T::V::<S>::load_ptr(s, sums) };
            for (u, (&a, row)) in held.iter().zip(row).enumerate() {
                let a = if const { holds(S::ISA) } { a } else { factor(s, t, i, first + u) };
                sum = a.mul_add(row, sum);
            }
            sum.store_ptr(sums);
        }
    }
}

/// Adds the chunk's sums to C.
///
/// # Safety
/// As [`run_strip`], after all rows.
#[inline(always)]
unsafe fn add_sums<T: Element, S: Simd, const M: usize>(s: S, t: &Strip<T>) {
    let lanes = T::V::<S>::LANES;
    let (alpha, beta) = (T::V::<S>::splat(s, t.alpha), T::V::<S>::splat(s, t.beta));
    for i in 0..M {
        for col in (0..t.cols).step_by(lanes) {
            let count = lanes.min(t.cols - col);
            let c = at(t.c.cast_const(), i, t.c_row_stride, col, 1).cast_mut();
            // SAFETY: the caller vouches for C and the sums.
            unsafe {
                let start = if t.beta == T::zero() {
                    T::V::<S>::splat(s, T::zero())
                } else {
                    beta * T::V::<S>::load_first_ptr(s, c, count)
                };
                let sum = T::V::<S>::load_ptr(s, t.sums.wrapping_add(i * sums_stride(M, lanes) + col));
                alpha.mul_add(sum, start).store_first_ptr(c, count);
            }
        }
    }
}

/// Computes one chunk of K, which is not empty, for one strip.
///
/// # Safety
/// 1 to [`MOST_ROWS`] rows, 1 to [`strip_cols`] columns; A, B and C are valid for the elements that the strides reach
/// from them, C for writes, the sums for [`SUMS`] elements, and nothing else accesses those or C's meanwhile.
#[inline(always)]
pub(crate) unsafe fn run_strip<T: Element, S: Simd>(s: S, strip: Strip<T>) {
    debug_assert!((1..=strip_cols(strip.rows, T::V::<S>::LANES)).contains(&strip.cols) && strip.depth > 0);
    // As many rows of B as there are registers for the factors of A.
    match strip.rows {
        1 if const { holds(S::ISA) } => s.call(StripKernel::<T, 1, 8>(strip)),
        1 => s.call(StripKernel::<T, 1, 4>(strip)),
        2 => s.call(StripKernel::<T, 2, 4>(strip)),
        3 => s.call(StripKernel::<T, 3, 4>(strip)),
        4 => s.call(StripKernel::<T, 4, 4>(strip)),
        5 => s.call(StripKernel::<T, 5, 2>(strip)),
        6 => s.call(StripKernel::<T, 6, 2>(strip)),
        7 => s.call(StripKernel::<T, 7, 2>(strip)),
        8 => s.call(StripKernel::<T, 8, 2>(strip)),
        rows => unreachable!("{rows} rows are not few"),
    }
}

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
/// no more rows than are worth packing B for, no more of B than is worth asking for ahead.
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
        for first in (0..vectors).step_by(most) {
            let (col, vectors) = (first * lanes, most.min(vectors - first));
            let row_groups = Parts::new(m, tile_rows(S::ISA, vectors));
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
        }
        // SAFETY: see the type: the area is all of C.
        unsafe { finish(s, false, o, Area { row: 0, rows: m, col: 0, cols: n }, o.c) };
    }
}
