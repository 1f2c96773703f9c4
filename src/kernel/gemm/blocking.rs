//! The tuning table: register tiles and cache blocks per instruction set.
//!
//! None of these numbers changes a bit of the result: the order of every sum is fixed by [`K_CHUNK`] alone.

use crate::simd::Caches;
use crate::simd::Isa;

/// The length of one chain of fused multiply-adds. Part of the order contract: never tuned.
pub(crate) const K_CHUNK: usize = 512;

/// The most rows of a register tile on any instruction set.
pub(crate) const MAX_ROWS: usize = 12;

/// The most canonical vectors in a row of a register tile on any instruction set.
pub(crate) const MAX_VECTORS: usize = 4;

/// Canonical vectors of B whose columns are multiplied by all rows of a block before the next: with two chunks of K,
/// 64 x 1024 x 4 bytes = 256 KiB, a quarter of an L2 of 1 MiB. Where a panel is one vector, twice as many and one chunk:
/// A, which streams by once for each group, then does so at half the rate. (Narrow tiles have no sums to spare while
/// they wait for it. The best of nine settings on Zen 4 with AVX2, with its rows asked for ahead: some 2 % from 512 cubed on.)
const fn group_vectors(isa: Isa) -> usize {
    match isa {
        Isa::Avx2 | Isa::Neon => 8,
        Isa::Avx512 | Isa::Portable => 4,
    }
}

/// From how many rows of A and k, and from which row stride of B in bytes on, a B with contiguous columns is packed:
/// short rows lie close together, and few rows of A do not repay the copy. Measured on Zen 4.
pub(crate) const PACKS_FROM: (usize, usize, usize) = (144, 64, 1280);

/// The same for panels of one vector, which take one cache line of each row of B: the lines of rows that are far apart
/// crowd into a few sets of L1. Measured on Zen 4 with AVX2: 1.08 to 1.14 times the speed from 132 x 512 x 784 on, nothing
/// won at 64 columns (256 bytes).
pub(crate) const NARROW_PACKS_FROM: (usize, usize, usize) = (48, 64, 320);

/// The most rows of a tile of an A whose rows share a set of L1, being multiples of 4 KiB apart: its eight ways have to hold
/// a line of each, and B.
pub(crate) const CROWDED_ROWS: usize = 6;

/// Rows of B ahead of which a tile that packs asks for lines. (Asking for a whole group ahead pushed itself out of L2 where
/// the rows are 4 KiB apart.)
pub(crate) const PACK_AHEAD: usize = 32;

/// Groups of rows whose tiles are computed one below the other before the next panel or the epilogue: 96 x 64 of f32
/// are 24 KiB of C, which stay in L1.
pub(crate) const ROW_GROUPS: usize = 16;

/// Bytes of B from which tiles ask for lines of the next panels. Below, deciding what to ask for costs more.
pub(crate) const PREFETCHES_FROM: usize = 128 << 10;

/// Steps of k from which a tile asks for its lines of C before it begins.
pub(crate) const PREFETCHES_C_FROM: usize = 64;

/// Multiply-adds that a task should have at least where there are more tasks than threads: some 4 microseconds of one core. Measured on Zen 4, two threads: with eight tasks for
/// any product, 16 x 256 x 64 took 3.5 or, where they changed hands, 5.3 us, and 4.7 on one thread.
pub(crate) const WORK_PER_TASK: f64 = 2.5e5;

/// Block sizes of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Canonical vectors in a row of a register tile, 1 to 4: a panel of B.
    pub tile_vectors: usize,
    /// Rows of a register tile of 1, 2, 3 and 4 vectors.
    pub tile_rows: [usize; MAX_VECTORS],
    /// Canonical vectors of a group of panels.
    pub group_vectors: usize,
    /// Rows of a block of A (mc), at most.
    pub block_rows: usize,
    /// Chunks of K of a block (kc, in chunks of 512), at most.
    pub block_chunks: usize,
    /// Canonical vectors of a task's block of columns, at most.
    pub task_vectors: usize,
    /// Rows of a task's block, at most.
    pub task_rows: usize,
}

impl Blocking {
    /// The row of the table for `isa`, for caches of these sizes.
    pub fn of(isa: Isa, caches: Caches) -> Self {
        // A group of panels of B, 64 (128) x kc x 4 bytes, takes a quarter of L2; so C, which is read and written once per
        // block of K, is touched the less the larger L2 is. One chunk at least: 128 KiB (256).
        let group_vectors = group_vectors(isa);
        let block_chunks = (caches.l2 / 4 / (group_vectors * 64 * K_CHUNK)).clamp(1, 8);
        // A group of panels is packed once for each block of A, mc x kc x 4 bytes, so the block is as tall as a quarter of L3
        // has room for; its rows stream by at about a byte a cycle. Beyond 1056 nothing was won: on Zen 4, with 1056 rows in
        // place of 192 (three quarters of L2), products of 1000 to 4096 cubed have 1.01 to 1.08 times the speed, whichever
        // operand is transposed.
        let depth = block_chunks * K_CHUNK * 4;
        let block_rows =
            (caches.l2 * 3 / 4 / depth).clamp(96, 768).max((caches.l3 / 4 / depth).min(1056)) / 12 * 12;
        Self {
            tile_vectors: register_tile(isa).1,
            tile_rows: std::array::from_fn(|i| tile_rows(isa, i + 1)),
            group_vectors,
            block_rows,
            block_chunks,
            task_vectors: usize::MAX,
            task_rows: usize::MAX,
        }
    }
}

/// Rows and canonical vectors of the register tile.
///
/// | isa | tile | accumulators of registers |
/// | --- | --- | --- |
/// | avx512 | 6 x 4 (f32: 6 x 64) | 24 of 32, with 4 of B and a broadcast |
/// | avx2 | 6 x 1 (f32: 6 x 16) | 12 of 16, with 2 of B and a broadcast |
/// | neon | 6 x 1 (f32: 6 x 16) | 24 of 32, with 4 of B and a broadcast |
/// | portable | 6 x 2 (f32: 6 x 8) | 12 of SSE2's 16, with 2 of B, a broadcast and a product |
pub(crate) const fn register_tile(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 => (6, 4),
        Isa::Avx2 | Isa::Neon => (6, 1),
        Isa::Portable => (6, 2),
    }
}

/// The most rows of a register tile of `vectors` vectors; 0 if there is none. Narrow tiles are taller, so that they
/// still have enough independent sums to hide the latency of a multiply-add (4 cycles, two a cycle: 8), and load less
/// of B for each of A.
pub(crate) const fn tile_rows(isa: Isa, vectors: usize) -> usize {
    match (isa, vectors) {
        (Isa::Avx512, 1 | 2) => 12,
        (Isa::Avx512, 3) => 8,
        (_, v) if v <= register_tile(isa).1 => register_tile(isa).0,
        _ => 0,
    }
}

/// True if tiles of one vector turn a B whose columns are contiguous themselves, four rows at a time: registers are left for it
/// beside 12 sums, and shuffles take turns with multiply-adds.
pub(crate) const fn turns_in_tile(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512)
}

/// Cuts `total` into `ceil(total / most)` parts as equal as can be: 16 by 6 is 6 + 5 + 5, not 6 + 6 + 4, so that no
/// tile is left with too few accumulators to hide the latency of a multiply-add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    count: usize,
    short: usize,
    longer: usize,
}

impl Parts {
    #[inline(always)]
    pub(crate) fn new(total: usize, most: usize) -> Self {
        // Most small products have one part of everything; a division takes as long as 16 multiply-adds.
        if total <= most {
            return Self { count: usize::from(total > 0), short: total, longer: 0 };
        }
        let count = total.div_ceil(most);
        Self { count, short: total / count, longer: total % count }
    }

    /// [`new`](Self::new)'s, or one more if those are of equal length and new's are not: tiles of one shape are one call.
    /// Measured on Zen 4 with AVX-512: 32 rows as four tiles of 8 and not as 11, 11 and 10, together with cheaper views, 1.04 to
    /// 1.07 times 32 x 32 x 32.
    #[inline(always)]
    pub(crate) fn equal(total: usize, most: usize) -> Self {
        let parts = Self::new(total, most);
        let more = parts.count + 1;
        if parts.longer > 0 && total.is_multiple_of(more) {
            return Self { count: more, short: total / more, longer: 0 };
        }
        parts
    }

    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Start and length of part `index`.
    #[inline(always)]
    pub(crate) fn part(self, index: usize) -> (usize, usize) {
        (index * self.short + index.min(self.longer), self.short + usize::from(index < self.longer))
    }

    /// One past the last of the parts from `index` on that are as long as it.
    #[inline(always)]
    pub(crate) fn run(self, index: usize) -> usize {
        if index < self.longer { self.longer } else { self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_are_one_more_at_most() {
        let all = |parts: Parts| (0..parts.count()).map(|index| parts.part(index)).collect::<Vec<_>>();
        assert_eq!(all(Parts::equal(32, 12)), [(0, 8), (8, 8), (16, 8), (24, 8)]);
        assert_eq!(all(Parts::equal(36, 12)), [(0, 12), (12, 12), (24, 12)]);
        assert_eq!(all(Parts::equal(64, 6)), all(Parts::new(64, 6)));
        assert_eq!(Parts::equal(32, 12).run(0), 4);
        assert_eq!(Parts::equal(0, 12).count(), 0);
    }

    #[test]
    fn parts_cover_everything_once() {
        for total in 0..100 {
            for most in 1..20 {
                let parts = Parts::new(total, most);
                let mut next = 0;
                for index in 0..parts.count() {
                    let (start, length) = parts.part(index);
                    assert_eq!(start, next);
                    assert!(length >= 1 && length <= most, "{total} by {most}: part {index} has {length}");
                    next += length;
                }
                assert_eq!(next, total);
            }
        }
    }
}
