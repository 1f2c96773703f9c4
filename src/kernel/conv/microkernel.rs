//! The register tile of convolutions: rows that lie anywhere, sums in runs.
//!
//! ```text
//!                            factors + run.factor + i * factor_step: one canonical vector
//!                            |<- v0 ->|<- v1 ->|<- v2 ->|<- v3 ->|      NV vectors, the last one maybe masked
//!      source                +--------+--------+--------+--------+
//!      sources[0]  splat ->   acc 0 0  acc 0 1  acc 0 2  acc 0 3        for each run, for i below its count:
//!      sources[1]  splat ->   acc 1 0   ...                              k = run.source + i * source_step
//!        ...                                                             acc[m][j] = fma(source[sources[m] + k], v[j], acc[m][j])
//! ```
//!
//! Forward, a row is an output pixel: what it reads begins at `sources[m]`, a run is a row of the kernel, and the factors are
//! the weights. For the gradient of the weights, a row is a weight's tap and input channel, a run is a row of pixels, and the
//! factors are the gradient of the output. So one body does both. In tiles [by lanes](Tile::by_lanes) the source is read
//! in vectors too, lane by lane beside the factors: depthwise convolution.
//!
//! One chain of fused multiply-adds from +0 for each element, over the runs in order: no bit depends on the tile's shape.

use crate::kernel::activation::curve::{Curve, Relu};
use crate::kernel::element::Element;
use crate::kernel::gemm::blocking::{MAX_ROWS, MAX_VECTORS, register_tile, tile_rows};
use crate::simd::{Isa, Kernel, Simd, Vector, read};

/// Terms of a sum that lie evenly, in the source and among the factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub source: usize,
    pub factor: usize,
    pub count: usize,
}

/// A sum as runs, in order. What they reach is known, so that a tile is checked by its ends alone.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    runs: Vec<Run>,
    source_step: usize,
    factor_step: usize,
    /// The last places that are read.
    source_last: usize,
    factor_last: usize,
}

impl Runs {
    /// Runs without empty ones; neighbours that are one become one.
    pub(super) fn new(source_step: usize, factor_step: usize, runs: impl IntoIterator<Item = Run>) -> Self {
        let mut joined: Vec<Run> = Vec::new();
        for run in runs.into_iter().filter(|run| run.count > 0) {
            match joined.last_mut() {
                Some(last)
                    if last.source + last.count * source_step == run.source
                        && last.factor + last.count * factor_step == run.factor =>
                {
                    last.count += run.count;
                }
                _ => joined.push(run),
            }
        }
        // What does not fit into a usize is in no slice.
        let last =
            |first: usize, count: usize, step: usize| first.saturating_add((count - 1).saturating_mul(step));
        let source_last = joined.iter().map(|run| last(run.source, run.count, source_step)).max();
        let factor_last = joined.iter().map(|run| last(run.factor, run.count, factor_step)).max();
        Self {
            runs: joined,
            source_step,
            factor_step,
            source_last: source_last.unwrap_or(0),
            factor_last: factor_last.unwrap_or(0),
        }
    }

    /// In parts of `most` terms: each a chain of its own. At least one part.
    pub(super) fn chunks(self, most: usize) -> Vec<Self> {
        let (source_step, factor_step) = (self.source_step, self.factor_step);
        let mut parts: Vec<Vec<Run>> = vec![Vec::new()];
        let mut room = most;
        for mut run in self.runs {
            while run.count > 0 {
                if room == 0 {
                    parts.push(Vec::new());
                    room = most;
                }
                let count = run.count.min(room);
                if let Some(part) = parts.last_mut() {
                    part.push(Run { count, ..run });
                }
                room -= count;
                run = Run {
                    source: run.source + count * source_step,
                    factor: run.factor + count * factor_step,
                    count: run.count - count,
                };
            }
        }
        parts.into_iter().map(|runs| Self::new(source_step, factor_step, runs)).collect()
    }

    /// Terms of the sum.
    #[cfg(all(test, unix))]
    pub(super) fn terms(&self) -> usize {
        self.runs.iter().map(|run| run.count).sum()
    }
}

/// What the sums are added to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a, T> {
    Zero,
    /// One for each column.
    Bias(&'a [T]),
    /// What stands in the target.
    Target,
}

/// One tile.
pub(super) struct Tile<'a, T> {
    /// At most [`rows_of`] the vectors that the columns fill.
    pub rows: usize,
    pub columns: usize,
    pub by_lanes: bool,
    pub source: &'a [T],
    /// Where each row begins in the source, and in the target.
    pub sources: [usize; MAX_ROWS],
    pub targets: [usize; MAX_ROWS],
    pub runs: &'a Runs,
    pub factors: &'a [T],
    pub target: &'a mut [T],
    pub start: Start<'a, T>,
    /// Whether max(x, 0) is stored instead of x.
    pub relu: bool,
}

/// The most rows of a tile by lanes: 12 registers of AVX2's 16.
const LANE_ROWS: usize = 6;

/// The most canonical vectors of a tile.
pub(super) const fn most_vectors(isa: Isa, by_lanes: bool) -> usize {
    if by_lanes { 1 } else { register_tile(isa).1 }
}

/// The most rows of a tile of so many vectors. Each row has a pointer of its own: with one vector, the eleventh and twelfth
/// would be read from the stack in every step, which loads more than two multiply-adds wait for.
pub(super) const fn rows_of(isa: Isa, vectors: usize, by_lanes: bool) -> usize {
    match (by_lanes, isa, vectors) {
        (true, _, 1) => LANE_ROWS,
        (true, ..) => 0,
        (false, Isa::Avx512, 1) => 10,
        (false, ..) => tile_rows(isa, vectors),
    }
}

impl<T: Element> Tile<'_, T> {
    /// Computes it.
    ///
    /// # Panics
    /// If a row or the factors reach outside of their slices, or the instruction set has no tile of this shape.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&mut self, s: S) {
        let lanes = T::V::<S>::LANES;
        let vectors = self.columns.div_ceil(lanes);
        assert!(self.rows >= 1 && (1..=MAX_VECTORS).contains(&vectors));
        assert!(self.rows <= rows_of(S::ISA, vectors, self.by_lanes), "no such tile on {}", S::ISA);
        let first_rows = &self.sources[..self.rows];
        let source = first_rows.iter().fold(0, |most, &row| most.max(row));
        let target = self.targets[..self.rows].iter().fold(0, |most, &row| most.max(row));
        let wide = if self.by_lanes { self.columns } else { 1 };
        if !self.runs.runs.is_empty() {
            let end = source.saturating_add(self.runs.source_last).saturating_add(wide);
            assert!(end <= self.source.len());
            assert!(self.runs.factor_last.saturating_add(self.columns) <= self.factors.len());
        }
        assert!(target.saturating_add(self.columns) <= self.target.len());
        if let Start::Bias(bias) = self.start {
            assert!(self.columns <= bias.len());
        }
        let cut = usize::from(!self.columns.is_multiple_of(lanes));
        // What was asserted is what the bodies need.
        if self.by_lanes {
            Table::<T, S>::LANES[self.rows - 1][cut](s, self);
        } else {
            Table::<T, S>::TILES[self.rows - 1][vectors - 1][cut](s, self);
        }
    }
}

struct TileKernel<'a, 'b, T, const MR: usize, const NV: usize, const CUT: bool, const LANES: bool>(
    &'a mut Tile<'b, T>,
);

impl<T: Element, const MR: usize, const NV: usize, const CUT: bool, const LANES: bool> Kernel
    for TileKernel<'_, '_, T, MR, NV, CUT, LANES>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Shapes that an instruction set never uses are not compiled for it.
        if const { MR <= rows_of(S::ISA, NV, LANES) } {
            // SAFETY: `Tile::run`, which alone calls this, has checked what rows, columns and runs reach.
            unsafe { body::<T, S, MR, NV, CUT, LANES>(s, self.0) }
        } else {
            unreachable!("no such tile on {}", S::ISA)
        }
    }
}

/// # Safety
/// The tile has MR rows and NV vectors of columns, the last one cut if `CUT`; from every row's place in the source all runs
/// stay inside it (by so many columns if `LANES`), from the factors' start inside these, and the columns of every row
/// inside the target, and inside the bias if there is one.
#[inline(always)]
unsafe fn body<T: Element, S: Simd, const MR: usize, const NV: usize, const CUT: bool, const LANES: bool>(
    s: S,
    t: &mut Tile<'_, T>,
) {
    let lanes = T::V::<S>::LANES;
    let last_lanes = t.columns - (NV - 1) * lanes;
    let zero = T::V::<S>::splat(s, T::zero());
    let mut source = [t.source.as_ptr(); MR];
    for (source, row) in source.iter_mut().zip(t.sources) {
        *source = source.wrapping_add(row);
    }
    let mut acc = [[zero; NV]; MR];
    for run in &t.runs.runs {
        let mut k = run.source;
        let mut factors = t.factors.as_ptr().wrapping_add(run.factor);
        for _ in 0..run.count {
            let mut row = [zero; NV];
            for (j, vector) in row.iter_mut().enumerate() {
                let from = factors.wrapping_add(j * lanes);
                // SAFETY: the factors' columns, the last vector as far as it is in use.
                *vector = unsafe { load::<T, S>(s, from, CUT && j == NV - 1, last_lanes) };
            }
            for (source, acc) in source.iter().zip(&mut acc) {
                let from = source.wrapping_add(k);
                for (j, (sum, vector)) in acc.iter_mut().zip(row).enumerate() {
                    // SAFETY: the source's element, or its columns.
                    let factor = unsafe {
                        if LANES {
                            load::<T, S>(s, from.wrapping_add(j * lanes), CUT && j == NV - 1, last_lanes)
                        } else {
                            T::V::<S>::splat(s, read(from))
                        }
                    };
                    *sum = factor.mul_add(vector, *sum);
                }
            }
            k = k.wrapping_add(t.runs.source_step);
            factors = factors.wrapping_add(t.runs.factor_step);
        }
    }
    let target = t.target.as_mut_ptr();
    for (m, acc) in acc.into_iter().enumerate() {
        for (j, sum) in acc.into_iter().enumerate() {
            let (to, cut) = (target.wrapping_add(t.targets[m] + j * lanes), CUT && j == NV - 1);
            // SAFETY: the target's columns, and the bias's.
            unsafe {
                let mut sum = match t.start {
                    Start::Zero => sum,
                    Start::Bias(bias) => {
                        load::<T, S>(s, bias.as_ptr().wrapping_add(j * lanes), cut, last_lanes) + sum
                    }
                    Start::Target => load::<T, S>(s, to, cut, last_lanes) + sum,
                };
                if t.relu {
                    sum = Curve::<T>::value(Relu, s, sum);
                }
                if cut {
                    sum.store_first_ptr(to, last_lanes);
                } else {
                    sum.store_ptr(to);
                }
            }
        }
    }
}

/// One vector, or its first `count` lanes if it is cut.
///
/// # Safety
/// `from` is valid for what is read.
#[inline(always)]
unsafe fn load<T: Element, S: Simd>(s: S, from: *const T, cut: bool, count: usize) -> T::V<S> {
    // SAFETY: the caller vouches for `from`.
    unsafe { if cut { T::V::<S>::load_first_ptr(s, from, count) } else { T::V::<S>::load_ptr(s, from) } }
}

type TileFn<T, S> = fn(S, &mut Tile<'_, T>);

fn call<T: Element, S: Simd, const MR: usize, const NV: usize, const CUT: bool, const LANES: bool>(
    s: S,
    tile: &mut Tile<'_, T>,
) {
    s.call(TileKernel::<T, MR, NV, CUT, LANES>(tile));
}

/// Every shape: by rows - 1, vectors - 1, and whether the last vector is cut.
struct Table<T, S>(std::marker::PhantomData<(T, S)>);

impl<T: Element, S: Simd> Table<T, S> {
    const TILES: [[[TileFn<T, S>; 2]; MAX_VECTORS]; MAX_ROWS] = [
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

    const LANES: [[TileFn<T, S>; 2]; LANE_ROWS] = [
        Self::both::<1, 1, true>(),
        Self::both::<2, 1, true>(),
        Self::both::<3, 1, true>(),
        Self::both::<4, 1, true>(),
        Self::both::<5, 1, true>(),
        Self::both::<6, 1, true>(),
    ];

    const fn row<const MR: usize>() -> [[TileFn<T, S>; 2]; MAX_VECTORS] {
        [
            Self::both::<MR, 1, false>(),
            Self::both::<MR, 2, false>(),
            Self::both::<MR, 3, false>(),
            Self::both::<MR, 4, false>(),
        ]
    }

    const fn both<const MR: usize, const NV: usize, const LANES: bool>() -> [TileFn<T, S>; 2] {
        [call::<T, S, MR, NV, false, LANES>, call::<T, S, MR, NV, true, LANES>]
    }
}
