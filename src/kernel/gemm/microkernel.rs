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
//! Where k is what is contiguous in B (the transpose of a row-major matrix), a tile of one vector may turn it: four elements of each
//! lane's row are loaded at once and exchanged between registers, which gives the vectors of four steps.
//!
//! A is read element by element through any strides, so a transposed A is only other strides. B is read in vectors:
//! rows of a row-major matrix (`b_k_stride` = row stride, `b_vector_stride` = lanes) or of a packed panel
//! (`b_k_stride` = lanes times its vectors). C likewise. While it runs, a tile asks for cache lines that the next ones
//! or the epilogue will read, and may leave a packed copy of the rows of B that it reads.

use super::ahead::Ahead;
use super::blocking::{MAX_ROWS, MAX_VECTORS, PREFETCHES_C_FROM, register_tile, tile_rows, turns_in_tile};
use super::plan::at;
use crate::kernel::element::Element;
use crate::simd::{Isa, Kernel, Simd, Vector, read};
use std::hint::black_box;

/// Register tiles of one chunk of K, one below the other: `tiles` times `rows` rows.
#[derive(Clone, Copy)]
pub(crate) struct Tiles<T> {
    pub tiles: usize,
    pub rows: usize,
    pub vectors: usize,
    /// Lanes in use of the last vector, 1 to all.
    pub last_lanes: usize,
    pub depth: usize,
    pub a: *const T,
    pub a_row_stride: isize,
    pub a_k_stride: isize,
    /// From one tile's rows of A to the next's.
    pub a_tile_stride: isize,
    pub b: *const T,
    pub b_k_stride: isize,
    /// From one vector to the next; if the tile turns B, from one lane to the next.
    pub b_vector_stride: isize,
    /// The tile turns B: one whole vector, elements along k and rows of A next to each other, and four elements along k before
    /// `b` plus `depth` ([`turns_in_tile`]).
    pub turns: bool,
    /// Where the rows of B go that are read, vector after vector, or null. Only for one tile, whose last vector is
    /// whole and that has as many rows as its vectors allow ([`tile_rows`]).
    pub pack: *mut T,
    pub ahead: Ahead<T>,
    pub c: *mut T,
    pub c_row_stride: isize,
    /// What the epilogue will read beside C, or null.
    pub saved: *const T,
    pub saved_row_stride: isize,
    pub alpha: T,
    /// What C is scaled by before the chunk is added. 0 does not read C.
    pub beta: T,
}

/// Tiles with whole vectors, tiles whose last vector is cut, those of which no more than its lower half is in use, those
/// with whole vectors that pack besides, and those that turn B.
const WHOLE: u8 = 0;
const CUT: u8 = 1;
const HALF: u8 = 2;
const PACK: u8 = 3;
const TURN: u8 = 4;

/// The kinds.
const KINDS: usize = 5;

/// Steps along k that a tile turns at once.
const TURNED: usize = 4;

struct TileKernel<'a, T, const MR: usize, const NV: usize, const KIND: u8>(&'a Tiles<T>);

impl<T: Element, const MR: usize, const NV: usize, const KIND: u8> Kernel
    for TileKernel<'_, T, MR, NV, KIND>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Shapes that an instruction set never uses are not compiled for it.
        if const {
            MR <= tile_rows(S::ISA, NV)
                && (KIND != PACK || MR == tile_rows(S::ISA, NV))
                && (KIND != TURN || NV == 1 && turns_in_tile(S::ISA))
        } {
            // SAFETY: `run_tiles`'s caller vouches for the tile's pointers and shape.
            unsafe { body::<T, S, MR, NV, KIND>(s, self.0) }
        } else {
            unreachable!("no such register tile on {}", S::ISA)
        }
    }
}

/// # Safety
/// As [`run_tiles`], for tiles of MR rows and NV vectors.
#[inline(always)]
unsafe fn body<T: Element, S: Simd, const MR: usize, const NV: usize, const KIND: u8>(s: S, t: &Tiles<T>) {
    let (mut a, mut c) = (t.a, t.c);
    for tile in 0..t.tiles {
        // SAFETY: passed on, for one tile.
        unsafe { one::<T, S, MR, NV, KIND>(s, t, a, c, tile) };
        a = a.wrapping_offset(t.a_tile_stride);
        c = c.wrapping_offset(MR as isize * t.c_row_stride);
    }
}

/// # Safety
/// As [`run_tiles`], for tile number `tile`, whose rows of A and C begin at `a` and `c`.
#[inline(always)]
unsafe fn one<T: Element, S: Simd, const MR: usize, const NV: usize, const KIND: u8>(
    s: S,
    t: &Tiles<T>,
    a: *const T,
    c: *mut T,
    tile: usize,
) {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let c = |i: usize, j: usize| c.wrapping_offset(i as isize * t.c_row_stride + (j * lanes) as isize);
    if t.depth >= PREFETCHES_C_FROM {
        for i in 0..MR {
            for j in 0..NV {
                s.prefetch::<false>(c(i, j).cast());
            }
        }
        if !t.saved.is_null() {
            for i in 0..MR {
                let row = at(t.saved, tile * MR + i, t.saved_row_stride, 0, 0);
                for j in 0..NV {
                    s.prefetch::<true>(row.wrapping_add(j * lanes).cast());
                }
            }
        }
    }
    let mut acc = [[zero; NV]; MR];
    let pointer_rows = const { pointer_rows(S::ISA, NV, KIND) };
    let a = std::array::from_fn(|part| match part * pointer_rows {
        first if part > 0 && first < MR => black_box(at(a, first, t.a_row_stride, 0, 0)),
        _ => a,
    });
    let mut cursor = Cursor { a, b: t.b, pack: t.pack };
    if KIND == TURN {
        // SAFETY: passed on.
        unsafe { turned::<T, S, MR, NV>(s, t, a[0], &mut acc) };
    }
    let depth = if KIND == TURN { 0 } else { t.depth };
    let lines = t.ahead.lines.min(depth);
    if lines > 0 {
        let number = t.ahead.tile + tile;
        let (row, part) = (number / t.ahead.tiles_per_row, number % t.ahead.tiles_per_row);
        let part = part * t.ahead.lines;
        // Only an address to ask for: a B of one row may have any stride.
        let mut ahead = at(t.ahead.base, row, t.ahead.row_step, part, t.ahead.step);
        for _ in 0..lines {
            // A tile that packs reads rows far apart: it asks for whole ones, its own.
            for j in 0..if KIND == PACK { NV } else { 1 } {
                s.prefetch::<true>(ahead.wrapping_add(j * lanes).cast());
            }
            ahead = ahead.wrapping_offset(t.ahead.step);
            // SAFETY: passed on.
            unsafe { step::<T, S, MR, NV, KIND>(s, t, &mut cursor, &mut acc) };
        }
    }
    for _ in lines..depth {
        // SAFETY: passed on.
        unsafe { step::<T, S, MR, NV, KIND>(s, t, &mut cursor, &mut acc) };
    }
    // What most products ask for, without a multiplication: those cost as much as those of the sums. fma(1, t, 0) is
    // t + 0, which turns -0 into +0.
    if t.alpha == T::one() && t.beta == T::zero() && t.depth > 0 {
        for (i, acc_row) in acc.into_iter().enumerate() {
            for (j, chunk) in acc_row.into_iter().enumerate() {
                // SAFETY: the caller vouches for MR x NV vectors of C, the last as far as it is in use.
                unsafe { store::<T, S, KIND>(chunk + zero, c(i, j), j == NV - 1, t.last_lanes) };
            }
        }
        return;
    }
    let (alpha, beta) = (T::V::<S>::splat(s, t.alpha), T::V::<S>::splat(s, t.beta));
    for (i, acc_row) in acc.into_iter().enumerate() {
        for (j, chunk) in acc_row.into_iter().enumerate() {
            let (c, last) = (c(i, j), j == NV - 1);
            // SAFETY: as above.
            unsafe {
                let start = if t.beta == T::zero() {
                    zero
                } else {
                    beta * load::<T, S, KIND>(s, c, last, t.last_lanes)
                };
                let sum = if t.depth == 0 { start } else { alpha.mul_add(chunk, start) };
                store::<T, S, KIND>(sum, c, last, t.last_lanes);
            }
        }
    }
}

/// Rows of A that a tile reaches from one pointer, and must not be seen to reach from another: the compiler would step
/// through all rows with a single one, a chain of as many additions as there are rows. That takes as long as the sums of a
/// narrow tile (6 x 16 with AVX2: 6 cycles), which then wait at every delay.
const fn pointer_rows(isa: Isa, vectors: usize, kind: u8) -> usize {
    if register_tile(isa).1 == 1 || vectors == 1 && kind == HALF { 3 } else { MAX_ROWS }
}

/// Where a tile is along k.
struct Cursor<T> {
    /// One pointer for each [`pointer_rows`].
    a: [*const T; 4],
    b: *const T,
    pack: *mut T,
}

/// One step along k. (Not unrolled: four steps at once made the compiler spill half of the accumulators.)
///
/// # Safety
/// As [`run_tiles`], and fewer than `depth` steps were made.
#[inline(always)]
unsafe fn step<T: Element, S: Simd, const MR: usize, const NV: usize, const KIND: u8>(
    s: S,
    t: &Tiles<T>,
    cursor: &mut Cursor<T>,
    acc: &mut [[T::V<S>; NV]; MR],
) {
    let (lanes, pointer_rows) = (T::V::<S>::LANES, const { pointer_rows(S::ISA, NV, KIND) });
    let mut row = [T::V::<S>::splat(s, T::zero()); NV];
    for (j, vector) in row.iter_mut().enumerate() {
        let from = cursor.b.wrapping_offset(j as isize * t.b_vector_stride);
        // SAFETY: the caller vouches for row k of B, the last vector only as far as it is in use, and for the same row
        // of the packed copy.
        unsafe {
            *vector = load::<T, S, KIND>(s, from, j == NV - 1, t.last_lanes);
            if KIND == PACK {
                vector.store_ptr(cursor.pack.wrapping_add(j * lanes));
            }
        }
    }
    // All at once, or six by six: more with opaque splats the compiler does not unroll, and has the sums in memory.
    let six = if KIND == HALF { MR.min(6) } else { MR };
    let (upper, lower) = acc.split_at_mut(six);
    // SAFETY: passed on.
    unsafe {
        add_rows::<T, S, NV, KIND>(s, t, &cursor.a, 0, row, upper);
        add_rows::<T, S, NV, KIND>(s, t, &cursor.a, six, row, lower);
    }
    for a in &mut cursor.a[..MR.div_ceil(pointer_rows)] {
        *a = a.wrapping_offset(t.a_k_stride);
    }
    cursor.b = cursor.b.wrapping_offset(t.b_k_stride);
    cursor.pack = cursor.pack.wrapping_add(NV * lanes);
}

/// Adds the products of a row of B to some rows of sums, from row `first` on.
///
/// # Safety
/// As [`run_tiles`]; `a` is the column of A.
#[inline(always)]
unsafe fn add_rows<T: Element, S: Simd, const NV: usize, const KIND: u8>(
    s: S,
    t: &Tiles<T>,
    a: &[*const T; 4],
    first: usize,
    row: [T::V<S>; NV],
    sums: &mut [[T::V<S>; NV]],
) {
    let pointer_rows = const { pointer_rows(S::ISA, NV, KIND) };
    for (i, sums) in sums.iter_mut().enumerate() {
        let i = first + i;
        // SAFETY: the caller vouches for these rows of the column.
        let factor = unsafe { read(at(a[i / pointer_rows], i % pointer_rows, t.a_row_stride, 0, 0)) };
        let factor = if KIND == HALF && NV > 1 {
            T::V::<S>::splat_for_low(s, factor)
        } else {
            T::V::<S>::splat(s, factor)
        };
        for (j, (sum, vector)) in sums.iter_mut().zip(row).enumerate() {
            *sum = if KIND == HALF && j == NV - 1 {
                factor.mul_add_low(vector, *sum)
            } else {
                factor.mul_add(vector, *sum)
            };
        }
    }
}

/// All steps of a tile that turns B. `a` is row 0 of A.
///
/// # Safety
/// As [`run_tiles`].
#[inline(always)]
unsafe fn turned<T: Element, S: Simd, const MR: usize, const NV: usize>(
    s: S,
    t: &Tiles<T>,
    mut a: *const T,
    acc: &mut [[T::V<S>; NV]; MR],
) {
    let mut b = t.b;
    for _ in 0..t.depth / TURNED {
        // SAFETY: the caller vouches for four elements of each lane's row, and for as many columns of A.
        unsafe {
            for vector in T::V::<S>::load_columns_ptr(s, b, t.b_vector_stride) {
                add_turned(s, a, vector, acc);
                a = a.wrapping_offset(t.a_k_stride);
            }
        }
        b = b.wrapping_add(TURNED);
    }
    let rest = t.depth % TURNED;
    if rest == 0 {
        return;
    }
    // SAFETY: the last four of each lane's row: the caller vouches that there are as many. A as above.
    unsafe {
        let [_, second, third, last] =
            T::V::<S>::load_columns_ptr(s, b.wrapping_sub(TURNED - rest), t.b_vector_stride);
        if rest > 2 {
            add_turned(s, a, second, acc);
            a = a.wrapping_offset(t.a_k_stride);
        }
        if rest > 1 {
            add_turned(s, a, third, acc);
            a = a.wrapping_offset(t.a_k_stride);
        }
        add_turned(s, a, last, acc);
    }
}

/// One step along k: column `a` of A times `vector`.
///
/// # Safety
/// `a` is valid for reads of MR elements.
#[inline(always)]
unsafe fn add_turned<T: Element, S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: *const T,
    vector: T::V<S>,
    acc: &mut [[T::V<S>; NV]; MR],
) {
    for (i, sum) in acc.iter_mut().enumerate() {
        // SAFETY: passed on.
        let factor = T::V::<S>::splat(s, unsafe { read(a.wrapping_add(i)) });
        sum[0] = factor.mul_add(vector, sum[0]);
    }
}

/// One vector, or its first `count` lanes if it is the last of a tile that cuts it.
///
/// # Safety
/// `from` is valid for what is read.
#[inline(always)]
unsafe fn load<T: Element, S: Simd, const KIND: u8>(
    s: S,
    from: *const T,
    last: bool,
    count: usize,
) -> T::V<S> {
    // SAFETY: the caller vouches for `from`.
    unsafe {
        match KIND {
            CUT if last => T::V::<S>::load_first_ptr(s, from, count),
            HALF if last => T::V::<S>::load_low_ptr(s, from, count),
            _ => T::V::<S>::load_ptr(s, from),
        }
    }
}

/// Writes one vector, or its first `count` lanes if it is the last of a tile that cuts it.
///
/// # Safety
/// `to` is valid for what is written.
#[inline(always)]
unsafe fn store<T: Element, S: Simd, const KIND: u8>(vector: T::V<S>, to: *mut T, last: bool, count: usize) {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        match KIND {
            CUT if last => vector.store_first_ptr(to, count),
            HALF if last => vector.store_low_ptr(to, count),
            _ => vector.store_ptr(to),
        }
    }
}

type TileFn<T, S> = fn(S, &Tiles<T>);

fn call<T: Element, S: Simd, const MR: usize, const NV: usize, const KIND: u8>(s: S, tiles: &Tiles<T>) {
    s.call(TileKernel::<T, MR, NV, KIND>(tiles));
}

/// Every shape: by rows - 1, vectors - 1, and kind.
struct Table<T, S>(std::marker::PhantomData<(T, S)>);

impl<T: Element, S: Simd> Table<T, S> {
    const TILES: [[[TileFn<T, S>; KINDS]; MAX_VECTORS]; MAX_ROWS] = [
        Self::row::<1>(),
        Self::row::<2>(),
        Self::row::<3>(),
        Self::row::<4>(),
        Self::row::<5>(),
        Self::row::<6>(),
        Self::row::<7>(),
        Self::row::<8>(),
        Self::row::<9>(),
        Self::row::<10>(),
        Self::row::<11>(),
        Self::row::<12>(),
    ];

    const fn row<const MR: usize>() -> [[TileFn<T, S>; KINDS]; MAX_VECTORS] {
        [Self::kinds::<MR, 1>(), Self::kinds::<MR, 2>(), Self::kinds::<MR, 3>(), Self::kinds::<MR, 4>()]
    }

    const fn kinds<const MR: usize, const NV: usize>() -> [TileFn<T, S>; KINDS] {
        [
            call::<T, S, MR, NV, WHOLE>,
            call::<T, S, MR, NV, CUT>,
            call::<T, S, MR, NV, HALF>,
            call::<T, S, MR, NV, PACK>,
            call::<T, S, MR, NV, TURN>,
        ]
    }
}

/// Computes register tiles.
///
/// # Safety
/// `rows` is at most [`tile_rows`] for `vectors`, `1 <= last_lanes <= LANES`, `turns` as said there; A, B and C are valid for
/// the elements that the strides reach from them (B's and C's last vector for `last_lanes`), C for writes, `pack`, if
/// not null, for `depth * vectors * LANES` elements, and nothing else accesses those or C's meanwhile.
#[inline(always)]
pub(crate) unsafe fn run_tiles<T: Element, S: Simd>(s: S, tiles: &Tiles<T>) {
    let lanes = T::V::<S>::LANES;
    debug_assert!((1..=MAX_VECTORS).contains(&tiles.vectors) && (1..=lanes).contains(&tiles.last_lanes));
    debug_assert!((1..=tile_rows(S::ISA, tiles.vectors)).contains(&tiles.rows));
    let kind = if !tiles.pack.is_null() {
        debug_assert!(
            tiles.last_lanes == lanes && tiles.rows == tile_rows(S::ISA, tiles.vectors) && tiles.tiles == 1
        );
        PACK
    } else if tiles.turns {
        debug_assert!(tiles.last_lanes == lanes && tiles.vectors == 1 && turns_in_tile(S::ISA));
        debug_assert!(tiles.b_k_stride == 1 && tiles.a_row_stride == 1);
        TURN
    } else if tiles.last_lanes <= lanes / 2 {
        HALF
    } else if tiles.last_lanes < lanes {
        CUT
    } else {
        WHOLE
    };
    Table::<T, S>::TILES[tiles.rows - 1][tiles.vectors - 1][usize::from(kind)](s, tiles);
}
