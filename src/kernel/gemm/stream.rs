//! Few rows times a B that is larger than the caches: bound by memory, so B is read once, row by row.
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
//!
//! Several threads that shared the columns would each read pieces of rows, which is what the tiles do: two of them no faster
//! than one. They share the chunks of K instead ([`ByChunk`]), and what each chunk adds up to is kept until all are done.

use super::blocking::{K_CHUNK, Parts};
use super::driver::Operands;
use super::epilogue::{Area, finish};
use super::plan::{Plan, Source, at};
use crate::context::Context;
use crate::kernel::element::Element;
use crate::parallel::{self, Tile};
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
struct Strip<T> {
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

/// The most columns of a strip of `rows` rows: whole vectors.
fn strip_cols(rows: usize, lanes: usize) -> usize {
    (SUMS - MOST_ROWS * 16) / rows / lanes * lanes
}

impl<T: Element> Strip<T> {
    /// One chunk of K for `area`, which has all rows.
    fn new(plan: &Plan, o: &Operands<'_, T>, area: &Area, chunk: usize, sums: *mut T) -> Self {
        Self {
            rows: area.rows,
            cols: area.cols,
            depth: plan.depth(chunk),
            a: at(o.a, 0, o.a_row_stride, chunk * K_CHUNK, o.a_col_stride),
            a_row_stride: o.a_row_stride,
            a_k_stride: o.a_col_stride,
            b: at(o.b, chunk * K_CHUNK, o.b_row_stride, area.col, 1),
            b_row_stride: o.b_row_stride,
            c: at(o.c.cast_const(), 0, o.c_row_stride, area.col, 1).cast_mut(),
            c_row_stride: o.c_row_stride,
            alpha: o.alpha,
            beta: if chunk == 0 { o.beta } else { T::one() },
            sums,
        }
    }
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
        // SAFETY: `sum_strip`'s caller vouches for the strip.
        unsafe {
            let whole = t.depth / U * U;
            for k in (0..whole).step_by(U) {
                rows::<T, S, M, U>(s, &t, k);
            }
            for k in whole..t.depth {
                rows::<T, S, M, 1>(s, &t, k);
            }
        }
    }
}

/// Column `k` of row `i` of A, in all lanes.
///
/// # Safety
/// As [`sum_strip`].
#[inline(always)]
unsafe fn factor<T: Element, S: Simd>(s: S, t: &Strip<T>, i: usize, k: usize) -> T::V<S> {
    // SAFETY: passed on.
    T::V::<S>::splat(s, unsafe { read(at(t.a, i, t.a_row_stride, k, t.a_k_stride)) })
}

/// U rows of B, from `first` on, times their columns of A.
///
/// # Safety
/// As [`sum_strip`].
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
/// As [`sum_strip`].
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
/// As [`sum_strip`], after it; C is valid for reads and writes of its elements, and nothing else accesses them meanwhile.
#[inline(always)]
unsafe fn add_sums<T: Element, S: Simd>(s: S, t: &Strip<T>) {
    let lanes = T::V::<S>::LANES;
    let (alpha, beta) = (T::V::<S>::splat(s, t.alpha), T::V::<S>::splat(s, t.beta));
    for i in 0..t.rows {
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
                let sum = T::V::<S>::load_ptr(s, t.sums.wrapping_add(i * sums_stride(t.rows, lanes) + col));
                alpha.mul_add(sum, start).store_first_ptr(c, count);
            }
        }
    }
}

/// Computes one chunk of K, which is not empty, for one strip; C is left alone.
///
/// # Safety
/// 1 to [`MOST_ROWS`] rows, 1 to [`strip_cols`] columns; A and B are valid for the elements that the strides reach
/// from them, the sums for [`SUMS`] elements, and nothing else accesses those meanwhile.
#[inline(always)]
unsafe fn sum_strip<T: Element, S: Simd>(s: S, strip: Strip<T>) {
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

/// The columns of some panels, for the few rows that there are.
///
/// # Safety
/// As [`Plan::run`], for a plan that streams: its tasks have all rows.
#[inline(always)]
pub(super) unsafe fn stream<T: Element, S: Simd>(
    s: S,
    plan: &Plan,
    o: &Operands<'_, T>,
    first_panel: usize,
    panels: usize,
    sums: *mut T,
) {
    let panel = plan.blocking.tile_vectors * plan.lanes;
    let end = ((first_panel + panels) * panel).min(plan.n);
    let most = strip_cols(plan.m, plan.lanes);
    for col in (first_panel * panel..end).step_by(most) {
        let area = Area { row: 0, rows: plan.m, col, cols: most.min(end - col) };
        for chunk in 0..plan.chunks() {
            let strip = Strip::new(plan, o, &area, chunk, sums);
            // SAFETY: the strip lies within A, B and C; the member's buffer has room for its sums.
            unsafe {
                sum_strip(s, strip);
                add_sums(s, &strip);
            }
        }
        let c = at(o.c.cast_const(), 0, o.c_row_stride, col, 1).cast_mut();
        // SAFETY: the area lies within C, and so do its bias and what was saved within theirs.
        unsafe { finish(s, plan.swapped, o, area, c) };
    }
}

/// The most elements that are kept between the two phases of [`ByChunk`]. Where that is not enough, rows are so long that
/// their pieces are long too, or k is above 250,000.
const MOST_KEPT: usize = 1 << 21;

/// A product that streams, for several threads. In a first phase they share the chunks of K of all strips, and keep the
/// sums; in a second one they share the strips, whose chunks are added to C in order: so the bits are those of one thread.
#[derive(Clone, Copy)]
pub(super) struct ByChunk<'a> {
    plan: &'a Plan,
    /// Strips, in vectors.
    strips: Parts,
}

impl<'a> ByChunk<'a> {
    /// For a plan that streams, if it has chunks to share.
    pub(super) fn new(plan: &'a Plan, width: usize) -> Option<Self> {
        if width == 1 || plan.source != Source::Streamed || plan.chunks() < 2 {
            return None;
        }
        // Two tasks for each, from long pieces of rows.
        let (lanes, cuts) = (plan.lanes, (2 * width).div_ceil(plan.chunks()));
        let vectors = plan.n.div_ceil(lanes);
        let most = (strip_cols(plan.m, lanes) / lanes).min(vectors.div_ceil(cuts));
        let all = Self { plan, strips: Parts::new(vectors, most) };
        (all.kept_len() <= MOST_KEPT).then_some(all)
    }

    fn tasks(&self) -> usize {
        self.strips.count().saturating_mul(self.plan.chunks())
    }

    /// Elements that the operands' workspace has to have.
    pub(super) fn kept_len(&self) -> usize {
        self.tasks().saturating_mul(SUMS)
    }

    fn area(&self, strip: usize) -> Area {
        let (first, vectors) = self.strips.part(strip);
        let (col, lanes) = (first * self.plan.lanes, self.plan.lanes);
        Area { row: 0, rows: self.plan.m, col, cols: (vectors * lanes).min(self.plan.n - col) }
    }

    fn sums<T>(&self, o: &Operands<'_, T>, strip: usize, chunk: usize) -> *mut T {
        o.workspace.wrapping_add((chunk * self.strips.count() + strip) * SUMS)
    }

    /// Computes the product.
    ///
    /// # Safety
    /// As [`Plan::run`] for all its tasks, but for the workspace, which has room for [`kept_len`](Self::kept_len) elements.
    pub(super) unsafe fn run<T: Element>(&self, context: &Context, operands: &Operands<'_, T>, width: usize) {
        let (by_chunk, strips) = (*self, self.strips.count());
        let operands = &self.plan.oriented(operands);
        parallel::with_team(width, |team| {
            team.phase(self.tasks(), &|tile: Tile| {
                let (chunk, strip) = (tile.index / strips, tile.index % strips);
                T::run(context, SumChunk { by_chunk, operands, chunk, strip });
            });
            team.phase(strips, &|tile: Tile| {
                T::run(context, AddChunks { by_chunk, operands, strip: tile.index });
            });
        });
    }
}

/// One chunk of one strip. Made by [`ByChunk::run`] alone, whose caller vouches for it.
pub(crate) struct SumChunk<'a, T> {
    by_chunk: ByChunk<'a>,
    operands: &'a Operands<'a, T>,
    chunk: usize,
    strip: usize,
}

impl<T: Element> Kernel for SumChunk<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { by_chunk, operands: o, chunk, strip } = self;
        let sums = by_chunk.sums(o, strip, chunk);
        let strip = Strip::new(by_chunk.plan, o, &by_chunk.area(strip), chunk, sums);
        // SAFETY: see the type: the strip lies within A and B; each has sums of its own, and a task of its own.
        unsafe { sum_strip(s, strip) };
    }
}

/// All chunks of one strip, after [`SumChunk`]. Made by [`ByChunk::run`] alone, whose caller vouches for it.
pub(crate) struct AddChunks<'a, T> {
    by_chunk: ByChunk<'a>,
    operands: &'a Operands<'a, T>,
    strip: usize,
}

impl<T: Element> Kernel for AddChunks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { by_chunk, operands: o, strip } = self;
        let (plan, area) = (by_chunk.plan, by_chunk.area(strip));
        let c = at(o.c.cast_const(), 0, o.c_row_stride, area.col, 1).cast_mut();
        // SAFETY: see the type: the strip lies within C, which is this task's there; the phase before has written the sums.
        unsafe {
            for chunk in 0..plan.chunks() {
                add_sums(s, &Strip::new(plan, o, &area, chunk, by_chunk.sums(o, strip, chunk)));
            }
            finish(s, plan.swapped, o, area, c);
        }
    }
}
