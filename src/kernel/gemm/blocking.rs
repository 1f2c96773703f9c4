//! The tuning table: register tiles and cache blocks per instruction set.
//!
//! None of these numbers changes a bit of the result: the order of every sum is fixed by [`K_CHUNK`] alone.

use crate::simd::Isa;

/// The length of one chain of fused multiply-adds. Part of the order contract: never tuned.
pub(crate) const K_CHUNK: usize = 512;

/// The most rows of a register tile on any instruction set.
pub(crate) const MAX_ROWS: usize = 6;

/// The most canonical vectors in a row of a register tile on any instruction set.
pub(crate) const MAX_VECTORS: usize = 4;

/// Block sizes of one product. Rows are elements; columns are counted in canonical vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Rows of a register tile, 1 to 6.
    pub tile_rows: usize,
    /// Canonical vectors in a row of a register tile, 1 to 4.
    pub tile_vectors: usize,
    /// Rows of a block of A (mc): with its chunk of K it should fill less than half of the L2 cache.
    pub block_rows: usize,
    /// Canonical vectors in a block of columns of B (nc): with its chunk of K it should fit in the L3 cache.
    pub block_vectors: usize,
}

impl Blocking {
    /// The row of the table for `isa`.
    pub fn of(isa: Isa) -> Self {
        let (tile_rows, tile_vectors) = register_tile(isa);
        // 192 rows x 512 x 4 bytes = 384 KiB of A in an L2 of 1 MiB, beside a 128 KiB panel of B (BLIS and AOCL
        // use 144 to 192 for the same reason); 4096 columns x 512 x 4 bytes = 8 MiB of packed B in L3.
        Self { tile_rows, tile_vectors, block_rows: 192, block_vectors: 256 }
    }
}

/// Rows and canonical vectors of the register tile.
///
/// | isa | tile | accumulators of registers |
/// | --- | --- | --- |
/// | avx512 | 6 x 4 (f32: 6 x 64) | 24 of 32, with 4 of B and a broadcast |
/// | avx2 | 6 x 1 (f32: 6 x 16) | 12 of 16, with 2 of B and a broadcast |
/// | neon | 6 x 1 (f32: 6 x 16) | 24 of 32, with 4 of B and a broadcast |
/// | portable | 2 x 1 | 8 of SSE2's 16, with 4 of B |
pub(crate) const fn register_tile(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 => (6, 4),
        Isa::Avx2 | Isa::Neon => (6, 1),
        Isa::Portable => (2, 1),
    }
}

/// Cuts `total` into `ceil(total / most)` parts as equal as can be: 16 by 6 is 6 + 5 + 5, not 6 + 6 + 4, so that no
/// tile is left with too few accumulators to hide the latency of a multiply-add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    total: usize,
    count: usize,
}

impl Parts {
    pub(crate) fn new(total: usize, most: usize) -> Self {
        Self { total, count: total.div_ceil(most) }
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Start and length of part `index`.
    #[inline(always)]
    pub(crate) fn part(self, index: usize) -> (usize, usize) {
        let (short, longer) = (self.total / self.count, self.total % self.count);
        (index * short + index.min(longer), short + usize::from(index < longer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
