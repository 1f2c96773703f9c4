//! Lines of cache that tiles ask for while they run, for those that come later. Addresses only: nothing is read here.

use super::blocking::K_CHUNK;
use super::driver::Operands;
use super::plan::{Plan, Source, at};
use std::ops::Range;

/// Lines of cache that tiles ask for: rows of them, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<T> {
    /// The first line of the first row. Any address.
    pub base: *const T,
    /// To the next line of a row.
    pub step: isize,
    /// To the next row.
    pub row_step: isize,
    /// Tiles that share a row.
    pub tiles_per_row: usize,
    /// The first tile's number.
    pub tile: usize,
    /// Lines of a tile, one a step of k; of a tile that packs, rows of its vectors' lines.
    pub lines: usize,
}

impl<T> Ahead<T> {
    /// No lines.
    pub(super) fn nothing(anywhere: *const T) -> Self {
        Self { base: anywhere, step: 0, row_step: 0, tiles_per_row: 1, tile: 0, lines: 0 }
    }

    /// One chunk of the panels of B from `next` on, as many as a group has, shared among the `tiles` of the group before
    /// them. `next` ends where the task does.
    #[inline(always)]
    pub(super) fn of_group(
        plan: &Plan,
        o: &Operands<'_, T>,
        next: Range<usize>,
        chunk: usize,
        tile: usize,
        tiles: usize,
    ) -> Self {
        let depth = plan.depth(chunk);
        if !plan.prefetches || next.is_empty() || depth == 0 {
            return Self::nothing(o.b);
        }
        let vectors = plan.group * plan.blocking.tile_vectors;
        let lanes = plan.lanes as isize;
        let col = next.start * plan.blocking.tile_vectors * plan.lanes;
        let base = at(o.b, chunk * K_CHUNK, o.b_row_stride, col, o.b_col_stride);
        let (base, rows, row_step, count, step) = match plan.source {
            Source::Rows | Source::Copied | Source::Streamed => (base, vectors, lanes, depth, o.b_row_stride),
            Source::Turned => (base, depth.div_ceil(plan.lanes), lanes, vectors * plan.lanes, o.b_col_stride),
            Source::Columns => return Self::nothing(o.b),
            Source::Packed => {
                (o.b.wrapping_add(plan.packed_offset(next.start, chunk)), 1, 0, depth * vectors, lanes)
            }
        };
        let tiles_per_row = (tiles / rows).max(1);
        Self { base, step, row_step, tiles_per_row, tile, lines: count.div_ceil(tiles_per_row) }
    }

    /// One chunk of the `rows` of A, one row a tile: for the tiles of several panels, which all read the same rows before
    /// those.
    #[inline(always)]
    pub(super) fn of_rows(
        plan: &Plan,
        o: &Operands<'_, T>,
        rows: Range<usize>,
        chunk: usize,
        tile: usize,
    ) -> Self {
        if plan.group == 1 || plan.pack_a || o.a_col_stride != 1 || rows.is_empty() {
            return Self::nothing(o.a);
        }
        let line = 64 / size_of::<T>();
        Self {
            base: at(o.a, rows.start, o.a_row_stride, chunk * K_CHUNK, 1),
            step: line as isize,
            row_step: o.a_row_stride,
            tiles_per_row: 1,
            tile,
            lines: plan.depth(chunk).div_ceil(line),
        }
    }
}
