//! Which rows of its table a batch touched: a sparse gradient is cleared, measured and applied in these alone.
//!
//! It lies in the flat arrays as any other gradient does, and is zero in all other rows: who reads it reads a dense one.
//!
//! ```text
//! begin     the rows so far are stale                        the leader, unless batches are accumulated
//! insert    the batch's, each once, as they come             the leader, before the phase of the gradient
//! stale     cleared; then the batch is added                 tiles, each in its part of the table
//! settle    the stale ones are forgotten                     the leader, after the phase: a panic leaves them stale
//! fresh     the norm, the update                             tiles
//! ```

use super::graph::{Graph, Sparse};
use super::plan::UPDATE_ELEMENTS;
use crate::error::{Error, Result};
use std::ops::Range;

/// The rows that are touched of all of a model's tables with a sparse gradient.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Parameter and rows, by [`Sparse::table`].
    tables: Vec<(usize, Rows)>,
    /// Tiles of the flat arrays: see [`arrange`](Self::arrange).
    tiles: Vec<u32>,
}

impl Touched {
    /// None of the rows of `graph`. There is room for all of them, so that no step allocates; what is not used stays untouched memory.
    pub(super) fn new(graph: &Graph) -> Result<Self> {
        let mut tables = Vec::new();
        for (index, parameter) in graph.parameters.iter().enumerate() {
            if let Some(Sparse { rows, .. }) = parameter.sparse {
                tables.push((index, Rows::new(rows)?));
            }
        }
        let mut tiles = Vec::new();
        if !tables.is_empty() {
            // Those of a table may begin and end in others'.
            let most = 2 * (graph.flat_len.div_ceil(UPDATE_ELEMENTS) + tables.len());
            tiles.try_reserve_exact(most).map_err(|_| out_of_memory(4 * most))?;
        }
        Ok(Self { tables, tiles })
    }

    /// The rows of a table.
    pub(super) fn rows(&self, sparse: Sparse) -> &Rows {
        &self.tables[sparse.table].1
    }

    pub(super) fn rows_mut(&mut self, sparse: Sparse) -> &mut Rows {
        &mut self.tables[sparse.table].1
    }

    /// How many numbers have a gradient.
    pub(super) fn elements(&self, graph: &Graph) -> usize {
        let of_table = |(index, rows): &(usize, Rows)| {
            graph.parameters[*index].sparse.map_or(0, |sparse| rows.fresh().len() * sparse.width)
        };
        self.tables.iter().map(of_table).sum()
    }

    /// Gets ready for a norm: rows in order, and the tiles of the flat arrays that they are in.
    pub(super) fn arrange(&mut self, graph: &Graph) {
        if self.tables.is_empty() {
            return;
        }
        self.tiles.clear();
        self.tiles.extend(&graph.tiles);
        for (index, rows) in &mut self.tables {
            let parameter = &graph.parameters[*index];
            let Some(Sparse { width, .. }) = parameter.sparse.filter(|_| !parameter.frozen) else { continue };
            rows.list[rows.stale..].sort_unstable();
            for &row in rows.fresh() {
                let start = parameter.offset + row as usize * width;
                for tile in start / UPDATE_ELEMENTS..=(start + width - 1) / UPDATE_ELEMENTS {
                    if self.tiles.last() != Some(&(tile as u32)) {
                        self.tiles.push(tile as u32);
                    }
                }
            }
        }
        self.tiles.sort_unstable();
        self.tiles.dedup();
    }

    /// The tiles in which there may be a gradient that is not zero, in order.
    pub(super) fn tiles<'a>(&'a self, graph: &'a Graph) -> &'a [u32] {
        if self.tables.is_empty() { &graph.tiles } else { &self.tiles }
    }

    /// Calls `part` with the parts of `range` of the flat arrays, trained parameters without gaps, in which there may be such a
    /// gradient, in order.
    pub(super) fn parts(&self, graph: &Graph, range: Range<usize>, mut part: impl FnMut(Range<usize>)) {
        if self.tables.is_empty() {
            return part(range);
        }
        let Range { start, end } = range;
        let mut inside = |of: Range<usize>| part(of.start.max(start)..of.end.min(end));
        let parameters = &graph.parameters;
        let parameters =
            &parameters[parameters.partition_point(|parameter| parameter.range().end <= start)..];
        for parameter in parameters.iter().take_while(|parameter| parameter.offset < end) {
            let Some(sparse) = parameter.sparse else {
                inside(parameter.range());
                continue;
            };
            let of_row = |row: u32| {
                let start = parameter.offset + row as usize * sparse.width;
                start..start + sparse.width
            };
            let rows = self.rows(sparse).fresh();
            let rows = &rows[rows.partition_point(|&row| of_row(row).end <= start)..];
            rows.iter().map(|&row| of_row(row)).take_while(|row| row.start < end).for_each(&mut inside);
        }
    }
}

/// Some of so many rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The stale ones, then the fresh ones.
    list: Vec<u32>,
    stale: usize,
    /// A bit for each row: it is a fresh one.
    marks: Vec<u64>,
}

impl Rows {
    fn new(count: usize) -> Result<Self> {
        let (mut list, mut marks) = (Vec::new(), Vec::new());
        let words = count.div_ceil(64);
        // A row that is stale and fresh is there twice.
        let room = list.try_reserve_exact(2 * count).and_then(|()| marks.try_reserve_exact(words));
        room.map_err(|_| out_of_memory(8 * (count + words)))?;
        marks.resize(words, 0);
        Ok(Self { list, stale: 0, marks })
    }

    /// All rows become stale.
    pub(super) fn begin(&mut self) {
        for &row in &self.list[self.stale..] {
            self.marks[row as usize / 64] = 0;
        }
        self.stale = self.list.len();
    }

    /// One more fresh row, if it is not there yet.
    pub(super) fn insert(&mut self, row: usize) {
        let (word, bit) = (&mut self.marks[row / 64], 1 << (row % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.list.push(row as u32);
        }
    }

    /// The stale rows are forgotten.
    pub(super) fn settle(&mut self) {
        self.list.drain(..std::mem::take(&mut self.stale));
    }

    /// Clears the stale rows in `part`, the elements `range` of the table: whole rows of `width`.
    pub(super) fn clear<T: num_traits::Zero + Clone>(
        &self,
        range: &Range<usize>,
        width: usize,
        part: &mut [T],
    ) {
        let rows = range.start / width..range.end / width;
        for row in self.list[..self.stale].iter().map(|&row| row as usize).filter(|row| rows.contains(row)) {
            part[(row - rows.start) * width..][..width].fill(T::zero());
        }
    }

    /// Those whose gradient is not zero, or was not before it was added up.
    pub(super) fn fresh(&self) -> &[u32] {
        &self.list[self.stale..]
    }
}

fn out_of_memory(bytes: usize) -> Error {
    Error::OutOfMemory { what: "the rows of a sparse gradient", bytes }
}
