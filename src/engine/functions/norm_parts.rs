//! What the norms have in common: how their batch steps are cut, and what they write.

use crate::engine::function::{Batch, Target, Write};
use crate::kernel::Element;
use crate::kernel::normalize::Plane;
use std::ops::Range;

/// Channels, or columns, of a tile.
pub(super) const TILE: usize = 64;

/// The columns of a tile, of `len`.
pub(super) fn columns(len: usize, tile: usize) -> Range<usize> {
    tile * TILE..len.min((tile + 1) * TILE)
}

/// How many tiles `len` columns are.
pub(super) fn tiles(len: usize) -> usize {
    len.div_ceil(TILE)
}

/// Writes of the places of a tile's channels in a wide row: of all of it where positions are grouped, since those channels are
/// few and one tile has them.
pub(super) fn wide(plane: Plane, wide: &Range<usize>, channels: &Range<usize>) -> Write {
    if plane.group > 1 { part(wide, &(0..wide.len())) } else { part(wide, channels) }
}

/// Writes of a part of an array in shared memory.
pub(super) fn part(of: &Range<usize>, part: &Range<usize>) -> Write {
    Write { target: Target::Shared, range: of.start + part.start..of.start + part.end }
}

/// Writes of a part of a parameter's gradient, or of nothing: what a tile writes keeps its place.
pub(super) fn gradient(trained: &[bool], index: usize, range: &Range<usize>) -> Write {
    if trained.get(index) == Some(&true) {
        return Write { target: Target::Gradient(index), range: range.clone() };
    }
    Write { target: Target::Shared, range: 0..0 }
}

/// A step of tiles.
pub(super) fn step(reads: Range<usize>, tiles: impl Iterator<Item = Vec<Write>>) -> Batch {
    Batch { reads, tiles: tiles.collect() }
}

/// Sets gradients, or adds to them, where they are wanted.
pub(super) fn store<T: Element>(target: &mut [T], values: &[f64], accumulate: bool) {
    for (target, &value) in target.iter_mut().zip(values) {
        let value = T::from_f64(value);
        *target = if accumulate { *target + value } else { value };
    }
}
