//! The register tile: one body for every shape, element and instruction set.
//!
//! ```text
//!                     b + j * b_vector_stride: one canonical vector
//!                     |<- v0 ->|<- v1 ->|<- v2 ->|<- v3 ->|      NV vectors, the last one maybe masked
//!      a              +--------+--------+--------+--------+
//!      row 0 splat ->  acc 0 0  acc 0 1  acc 0 2  acc 0 3        acc[i][j] = fma(a[i][k], b[k][j], acc[i][j])
//!      row 1 splat ->  acc 1 0   ...                             for k ascending, from +0
//!        ...
//! ```
//!
//! A is read element by element through any strides, so a transposed A is only other strides. B is read in vectors:
//! rows of a row-major matrix (`b_k_stride` = row stride, `b_vector_stride` = lanes) or packed panels
//! (`b_k_stride` = lanes, `b_vector_stride` = lanes * depth). C likewise.

use super::blocking::{MAX_ROWS, MAX_VECTORS, register_tile};
use crate::context::Context;
use crate::kernel::activation::Activation;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector, read};

/// One register tile of one chunk of K.
#[derive(Clone, Copy)]
pub(crate) struct Tile<T> {
    pub rows: usize,
    pub vectors: usize,
    /// Lanes in use of the last vector, 1 to all.
    pub last_lanes: usize,
    pub depth: usize,
    pub a: *const T,
    pub a_row_stride: isize,
    pub a_k_stride: isize,
    pub b: *const T,
    pub b_k_stride: isize,
    pub b_vector_stride: isize,
    pub c: *mut T,
    pub c_row_stride: isize,
    pub c_vector_stride: isize,
    pub alpha: T,
    /// What C is scaled by before the chunk is added: `Some(beta)` at the first chunk, `None` (keep C) after.
    /// `Some(0)` does not read C.
    pub scale_c: Option<T>,
}

/// What happens to a tile after its last chunk: bias, then activation, then times an activation's derivative.
#[derive(Clone, Copy)]
pub(crate) struct TileEpilogue<T> {
    /// The bias of the tile's first column, or null.
    pub bias: *const T,
    pub activation: Activation,
    /// The derivative's activation and the output that it is taken from, strided like C, or null.
    pub derivative: Activation,
    pub output: *const T,
    pub output_row_stride: isize,
    pub output_vector_stride: isize,
}

struct TileKernel<'a, T, const MR: usize, const NV: usize, const TAIL: bool>(&'a Tile<T>);

impl<T: Element, const MR: usize, const NV: usize, const TAIL: bool> Kernel
    for TileKernel<'_, T, MR, NV, TAIL>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Shapes that an instruction set never uses are not compiled for it.
        if const { MR <= register_tile(S::ISA).0 && NV <= register_tile(S::ISA).1 } {
            // SAFETY: `run_tile`'s caller vouches for the tile's pointers and shape.
            unsafe { body::<T, S, MR, NV, TAIL>(s, self.0) }
        } else {
            unreachable!("no such register tile on {}", S::ISA)
        }
    }
}

/// # Safety
/// As [`run_tile`], for a tile of MR rows and NV vectors; TAIL if the last vector is not whole.
#[inline(always)]
unsafe fn body<T: Element, S: Simd, const MR: usize, const NV: usize, const TAIL: bool>(s: S, t: &Tile<T>) {
    let zero = T::V::<S>::splat(s, T::zero());
    let mut acc = [[zero; NV]; MR];
    let (mut a, mut b) = (t.a, t.b);
    for _ in 0..t.depth {
        let mut row = [zero; NV];
        for (j, vector) in row.iter_mut().enumerate() {
            let from = b.wrapping_offset(j as isize * t.b_vector_stride);
            // SAFETY: the caller vouches for row k of B; the last vector is read only as far as it is in use.
            *vector = unsafe { load::<T, S>(s, from, TAIL && j == NV - 1, t.last_lanes) };
        }
        for (i, acc_row) in acc.iter_mut().enumerate() {
            // SAFETY: the caller vouches for MR rows of column k of A.
            let factor = T::V::<S>::splat(s, unsafe { read(a.wrapping_offset(i as isize * t.a_row_stride)) });
            for (sum, vector) in acc_row.iter_mut().zip(row) {
                *sum = factor.mul_add(vector, *sum);
            }
        }
        a = a.wrapping_offset(t.a_k_stride);
        b = b.wrapping_offset(t.b_k_stride);
    }
    let alpha = T::V::<S>::splat(s, t.alpha);
    for (i, acc_row) in acc.into_iter().enumerate() {
        for (j, chunk) in acc_row.into_iter().enumerate() {
            let c = t.c.wrapping_offset(i as isize * t.c_row_stride + j as isize * t.c_vector_stride);
            let tail = TAIL && j == NV - 1;
            // SAFETY: the caller vouches for MR x NV vectors of C; the last is touched only as far as it is in use.
            unsafe {
                let start = match t.scale_c {
                    None => load::<T, S>(s, c, tail, t.last_lanes),
                    Some(beta) if beta == T::zero() => zero,
                    Some(beta) => T::V::<S>::splat(s, beta) * load::<T, S>(s, c, tail, t.last_lanes),
                };
                let sum = if t.depth == 0 { start } else { alpha.mul_add(chunk, start) };
                if tail {
                    sum.store_first_ptr(c, t.last_lanes);
                } else {
                    sum.store_ptr(c);
                }
            }
        }
    }
}

/// One vector, or its first `count` lanes if it is the tail.
///
/// # Safety
/// `from` is valid for what is read.
#[inline(always)]
unsafe fn load<T: Element, S: Simd>(s: S, from: *const T, tail: bool, count: usize) -> T::V<S> {
    // SAFETY: the caller vouches for `from`.
    unsafe { if tail { T::V::<S>::load_first_ptr(s, from, count) } else { T::V::<S>::load_ptr(s, from) } }
}

type TileFn<T> = fn(&Context, &Tile<T>);

fn call<T: Element, const MR: usize, const NV: usize, const TAIL: bool>(context: &Context, tile: &Tile<T>) {
    context.run_here(TileKernel::<T, MR, NV, TAIL>(tile));
}

/// Every shape: by rows - 1, vectors - 1, and whether the last vector is cut.
struct Table<T>(std::marker::PhantomData<T>);

impl<T: Element> Table<T> {
    const TILES: [[[TileFn<T>; 2]; MAX_VECTORS]; MAX_ROWS] = [
        Self::row::<1>(),
        Self::row::<2>(),
        Self::row::<3>(),
        Self::row::<4>(),
        Self::row::<5>(),
        Self::row::<6>(),
    ];

    const fn row<const MR: usize>() -> [[TileFn<T>; 2]; MAX_VECTORS] {
        [
            [call::<T, MR, 1, false>, call::<T, MR, 1, true>],
            [call::<T, MR, 2, false>, call::<T, MR, 2, true>],
            [call::<T, MR, 3, false>, call::<T, MR, 3, true>],
            [call::<T, MR, 4, false>, call::<T, MR, 4, true>],
        ]
    }
}

/// Computes one register tile.
///
/// # Safety
/// `rows` and `vectors` fit the instruction set's register tile, `1 <= last_lanes <= LANES`; A, B and C are valid for
/// the elements that the strides reach from them (B's and C's last vector for `last_lanes`), C for writes, and
/// nothing else accesses those of C meanwhile.
#[inline]
pub(crate) unsafe fn run_tile<T: Element>(context: &Context, lanes: usize, tile: &Tile<T>) {
    debug_assert!((1..=MAX_ROWS).contains(&tile.rows) && (1..=MAX_VECTORS).contains(&tile.vectors));
    debug_assert!((1..=lanes).contains(&tile.last_lanes));
    Table::<T>::TILES[tile.rows - 1][tile.vectors - 1][usize::from(tile.last_lanes < lanes)](context, tile);
}

struct EpilogueKernel<'a, T>(&'a Tile<T>, &'a TileEpilogue<T>);

impl<T: Element> Kernel for EpilogueKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(t, e) = self;
        let lanes = T::V::<S>::LANES;
        for i in 0..t.rows as isize {
            for j in 0..t.vectors {
                let count = if j == t.vectors - 1 { t.last_lanes } else { lanes };
                let c = t.c.wrapping_offset(i * t.c_row_stride + j as isize * t.c_vector_stride);
                // SAFETY: `run_epilogue`'s caller vouches for the tile of C, its columns' bias and the output.
                unsafe {
                    let mut x = T::V::<S>::load_first_ptr(s, c, count);
                    if !e.bias.is_null() {
                        x = x + T::V::<S>::load_first_ptr(s, e.bias.add(j * lanes), count);
                    }
                    x = e.activation.apply::<T, S>(s, x);
                    if !e.output.is_null() {
                        let at = i * e.output_row_stride + j as isize * e.output_vector_stride;
                        let y = T::V::<S>::load_first_ptr(s, e.output.offset(at), count);
                        x = x * e.derivative.derivative::<T, S>(s, y);
                    }
                    x.store_first_ptr(c, count);
                }
            }
        }
    }
}

/// Applies `epilogue` to one tile of C, which the last chunk has just left in the L1 cache.
///
/// # Safety
/// As [`run_tile`] for C; `bias` is null or valid for the tile's columns, `output` null or valid for the tile's
/// elements at its strides.
pub(crate) unsafe fn run_epilogue<T: Element>(context: &Context, tile: &Tile<T>, epilogue: &TileEpilogue<T>) {
    context.run_here(EpilogueKernel(tile, epilogue));
}
