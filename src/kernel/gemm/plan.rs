//! How a product is cut: into tasks, blocks, panels and chunks; and in which orientation it is computed.

use super::blocking::{
    Blocking, CROWDED_ROWS, K_CHUNK, NARROW_PACKS_FROM, PACKS_FROM, PREFETCHES_FROM, Parts, WORK_PER_TASK,
    tile_rows, turns_in_tile,
};
use super::pack::COPY_ELEMENTS;
use super::stream::{MOST_ROWS, SUMS};
use super::view::Layout;
use crate::context::Context;
use crate::kernel::element::Element;
use crate::simd::{Caches, Isa};

/// Where the tiles find B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In its rows.
    Rows,
    /// In panels that the first tile of each copies from the rows.
    Copied,
    /// In panels that are packed before the tiles.
    Turned,
    /// In its columns, which the tiles turn themselves.
    Columns,
    /// In panels of the caller's.
    Packed,
    /// In its rows, which few rows of A pass by once.
    Streamed,
}

/// Cycles that the last columns must be expected to gain, to be worth a plan and tiles of their own. Measured on Zen 4, f32: 1 % where
/// 2,400 were expected (100 x 100 x 100 with a transposed A), 2 % where 4,500 and 25,000 were (100 columns of 128 rows, 128 steps with
/// a transposed A, 784 steps), 7 % of 36 columns and 784 steps.
const CUT_OFF_FROM: f64 = 4000.0;

/// Half a vector takes 0.72 of a whole one's time, alone or beside one, and so much less beside more, where its registers are half as long.
const HALF_BESIDE: f64 = 0.18;

/// What is cut first, where a product is cut into tasks.
///
/// A small one into blocks of C whose elements are neighbours in memory: where a line's neighbour is another thread's, each takes lines from
/// the other one's cache, those too that its core only expects to need. Measured on Zen 4, two threads, lines 0.35 us apart: 16 x
/// 256 x 64 took 5.3 us cut by columns, 3.0 by rows (4.7 on one thread); 100 cubed 12.7 and 10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// B fits in L2, where all read it.
    Rows,
    /// C's columns, as computed, are what is contiguous in memory, if anything is.
    Columns,
    /// B and A are cut alike.
    Longer,
}

/// Shape, blocks and tasks of one product.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sizes of what is computed: C, or its transpose if `swapped`.
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) lanes: usize,
    pub(super) blocking: Blocking,
    /// The transposed product is computed, which has the same sums: C' = B' A'.
    pub(super) swapped: bool,
    /// Tiles are computed in a copy: C's columns, as computed, are not contiguous, or the last tiles have other lanes than it.
    pub(super) scattered: bool,
    pub(super) pack_a: bool,
    /// Panels of a group.
    pub(super) group: usize,
    pub(super) source: Source,
    /// Tiles ask for lines of the next group of B.
    pub(super) prefetches: bool,
    /// Tasks: blocks of rows, and of panels.
    pub(super) row_blocks: Parts,
    pub(super) panel_blocks: Parts,
    /// Blocks of K, in chunks.
    pub(super) depth_blocks: Parts,
}

/// What [`Plan::new`] must know of a product.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub a: Layout,
    pub b: Layout,
    pub c: Layout,
    /// B is packed in panels already.
    pub packed: bool,
    /// A bias or a derivative is applied: C's own columns matter.
    pub by_column: bool,
}

impl Plan {
    /// The plan for a product on at most `width` threads. `blocking` can be injected, so that small tests reach every
    /// edge.
    pub(crate) fn new<T: Element>(
        context: &Context,
        shape: &Shape,
        width: usize,
        blocking: Option<Blocking>,
    ) -> Self {
        let (isa, lanes) = (context.isa(), context.isa().lanes(size_of::<T>()));
        let mut blocking = blocking.unwrap_or_else(|| Blocking::of(isa, Caches::detect()));
        let turns = Self::turns_in_tile::<T>(shape, isa, lanes);
        let swapped = Self::swaps::<T>(shape, isa, lanes, turns);
        let turns = turns && swapped;
        let (a, b) = if swapped { (shape.b.transposed(), shape.a.transposed()) } else { (shape.a, shape.b) };
        let (m, n, k) = (a.rows, b.cols, a.cols);
        let vectors = n.div_ceil(lanes);
        if Self::is_crowded::<T>(a.row_stride) {
            for rows in &mut blocking.tile_rows {
                *rows = CROWDED_ROWS.min(*rows);
            }
        }
        if turns {
            blocking.tile_vectors = 1;
        } else if !shape.packed {
            // All rows in one tile, if there is a narrower one that has room for them.
            let wide = blocking.tile_vectors;
            blocking.tile_vectors = (1..=wide)
                .rev()
                .find(|&v| blocking.tile_rows[v - 1] >= m)
                .unwrap_or(wide)
                .min(vectors.max(1));
        }
        let panels = vectors.div_ceil(blocking.tile_vectors);
        let c_col_stride = if swapped { shape.c.row_stride } else { shape.c.col_stride };
        let scattered = turns || c_col_stride != 1 && n > 1;
        let packs_from = if blocking.tile_vectors == 1 { NARROW_PACKS_FROM } else { PACKS_FROM };
        let source = if shape.packed {
            Source::Packed
        } else if turns {
            Source::Columns
        } else if b.col_stride != 1 && n > 1 {
            Source::Turned
        } else if !scattered
            && (1..=MOST_ROWS).contains(&m)
            && n.saturating_mul(k).saturating_mul(size_of::<T>()) > Caches::detect().l2
        {
            Source::Streamed
        } else if m >= packs_from.0 && k >= packs_from.1 && Self::bytes::<T>(b.row_stride) >= packs_from.2 {
            Source::Copied
        } else {
            Source::Rows
        };
        // What fits in a corner of L2 is there after its first use.
        let prefetches = n.saturating_mul(k).saturating_mul(size_of::<T>()) > PREFETCHES_FROM;
        // A is read one element per row and k: a long stride along k costs a cache line each.
        // Unless neighbours along k are at most two lines away, as in a row-major matrix of few columns, transposed.
        let near = a.row_stride == 1 && Self::bytes::<T>(a.col_stride) <= 128;
        let pack_a = source != Source::Streamed
            && !turns
            && !near
            && k > 1
            && a.col_stride != 1
            && m > 1
            && panels > 1;
        let group = if turns { 1 } else { (blocking.group_vectors / blocking.tile_vectors).max(1) };
        let target = Self::target(width, m as f64 * n as f64 * k as f64);
        let all_rows = source == Source::Streamed;
        let cut_first = match (scattered, prefetches) {
            (true, _) => Cut::Columns,
            (false, false) => Cut::Rows,
            (false, true) => Cut::Longer,
        };
        let (task_rows, task_panels) = Self::task_shape(m, panels, target, &blocking, all_rows, cut_first);
        let row_blocks = Parts::new(m, task_rows);
        let panel_blocks = Parts::new(panels, task_panels);
        let depth_blocks = Parts::new(k.div_ceil(K_CHUNK).max(1), blocking.block_chunks);
        Self {
            m,
            n,
            k,
            lanes,
            blocking,
            swapped,
            scattered,
            pack_a,
            group,
            source,
            prefetches,
            row_blocks,
            panel_blocks,
            depth_blocks,
        }
    }

    /// Rows so far apart share a set of L1.
    fn is_crowded<T>(row_stride: isize) -> bool {
        row_stride != 0 && Self::bytes::<T>(row_stride).is_multiple_of(4096)
    }

    fn bytes<T>(stride: isize) -> usize {
        stride.unsigned_abs().saturating_mul(size_of::<T>())
    }

    /// True if the tiles of the transposed product can turn A themselves, and gain by it: those of few columns. Each reads four
    /// elements of LANES rows at a time, so L1 (eight ways) has to hold a line of each; and is computed in a copy, since the last
    /// of them have rows in common with those before.
    fn turns_in_tile<T>(shape: &Shape, isa: Isa, lanes: usize) -> bool {
        let Shape { a, b, c, packed, .. } = *shape;
        turns_in_tile(isa)
            && !packed
            && c.rows >= lanes
            && c.cols < 2 * lanes
            && a.cols >= 4
            && a.col_stride == 1
            && b.col_stride == 1
            && (lanes <= 8 || !Self::is_crowded::<T>(a.row_stride))
    }

    /// True if the transposed product is the better one to compute.
    fn swaps<T>(shape: &Shape, isa: Isa, lanes: usize, turns: bool) -> bool {
        let Shape { a, c, packed, by_column, .. } = *shape;
        if packed || a.cols == 0 || c.rows == 0 || c.cols == 0 {
            return false;
        }
        if c.col_stride != 1 && c.cols > 1 {
            // Its rows are contiguous.
            return c.row_stride == 1 && !by_column;
        }
        c.cols < 2 * lanes && c.rows >= lanes && Self::swap_gains::<T>(shape, isa, lanes, turns) > 0.0
    }

    /// What a step of k gains from computing the transpose of few columns, which leave lanes idle: better lanes along m. In cycles of a
    /// core that has one multiply-add of a canonical vector each.
    fn swap_gains<T>(shape: &Shape, isa: Isa, lanes: usize, turns: bool) -> f64 {
        let Shape { a, b, c, .. } = *shape;
        // One for each column and LANES rows, besides what turning A takes and what is left of writing the transposed tiles; against
        // one for each row and vector.
        // Measured on Zen 4, f32, 128 rows, 500 and 1024 steps. Turning in the tile: four columns take 16 loads and 8 shuffles. In
        // panels, written and read again: 6.1 to 7.2, with AVX2 9 to 11; where rows of A are multiples of 4 KiB apart 3 more.
        let groups = c.cols.div_ceil(tile_rows(isa, 1)) as f64;
        let (m, n) = (c.rows as f64, c.cols as f64);
        let turned = if a.row_stride == 1 {
            0.0
        } else if turns {
            (4.1 - n).max(0.7) * groups
        } else if a.col_stride == 1 {
            let panels = if isa == Isa::Avx512 { 6.5 } else { 10.0 };
            if Self::is_crowded::<T>(a.row_stride) { panels + 3.0 } else { panels }
        } else {
            16.0
        };
        let along_m = (m / lanes as f64).ceil() * (n + turned) + 0.5 * m * n / a.cols as f64;
        // A last vector of which half is in use takes 0.70 to 0.75 of a whole one, a wider one 1.2 of it where there are no masks,
        // and its columns of a B to be turned are moved one by one.
        let (whole, rest) = (c.cols / lanes, c.cols % lanes);
        let cut = match rest {
            0 => 0.0,
            _ if rest <= lanes / 2 => 0.72,
            _ if isa == Isa::Avx512 => 1.0,
            _ => 1.2,
        };
        let turned = match b.col_stride {
            1 => 0.0,
            _ => 16.0 * whole as f64 + if rest > 0 { 40.0 } else { 0.0 },
        };
        let along_n = (whole as f64 + cut) * m + turned;
        along_n - along_m
    }

    /// Whole vectors of columns of a product whose last columns are better computed apart, as few columns of their own: they are in
    /// other lanes then, and no element's sum is another one. `None` if all are better computed together.
    pub(crate) fn cut_off<T: Element>(context: &Context, shape: &Shape) -> Option<usize> {
        let (isa, lanes) = (context.isa(), context.isa().lanes(size_of::<T>()));
        let Shape { a, b, c, packed, .. } = *shape;
        let (whole, rest) = (c.cols / lanes * lanes, c.cols % lanes);
        if rest == 0 || c.cols < 2 * lanes || c.col_stride != 1 || packed {
            return None;
        }
        let few = Shape { b: Layout { cols: rest, ..b }, c: Layout { cols: rest, ..c }, ..*shape };
        let turns = Self::turns_in_tile::<T>(&few, isa, lanes);
        let half = if isa == Isa::Avx512 && rest <= lanes / 2 { HALF_BESIDE * c.rows as f64 } else { 0.0 };
        let gains = Self::swap_gains::<T>(&few, isa, lanes, turns) - half;
        let swaps = Self::swaps::<T>(&few, isa, lanes, turns);
        (swaps && gains * a.cols as f64 > CUT_OFF_FROM).then_some(whole)
    }

    /// How many tasks there should be: one for one thread; for several four each, so that the one who comes late or is slow costs
    /// little, or as many as are worth being taken by another thread, whose cache has other lines of C.
    fn target(width: usize, work: f64) -> usize {
        if width > 1 { width.saturating_mul(4).min((work / WORK_PER_TASK) as usize).max(width) } else { 1 }
    }

    /// Rows and panels of a task: everything, halved until there are `target` tasks. A plan that streams has `all_rows` in each.
    fn task_shape(
        m: usize,
        panels: usize,
        target: usize,
        blocking: &Blocking,
        all_rows: bool,
        cut_first: Cut,
    ) -> (usize, usize) {
        let rows_of_tile = if all_rows { m } else { blocking.tile_rows[blocking.tile_vectors - 1] };
        let mut rows = blocking.task_rows.max(if all_rows { m } else { 0 }).min(m).max(1);
        let mut cols = blocking.task_vectors.div_ceil(blocking.tile_vectors).min(panels).max(1);
        while m.div_ceil(rows).saturating_mul(panels.div_ceil(cols)) < target {
            let wide = match cut_first {
                Cut::Rows => false,
                Cut::Columns => true,
                Cut::Longer => cols.saturating_mul(blocking.tile_vectors * 16) > rows,
            };
            if cols > 1 && (wide || rows <= rows_of_tile) {
                cols = cols.div_ceil(2);
            } else if rows > rows_of_tile {
                rows = rows.div_ceil(2).next_multiple_of(rows_of_tile);
            } else {
                break;
            }
        }
        (rows, cols)
    }

    pub(super) fn chunks(&self) -> usize {
        self.k.div_ceil(K_CHUNK).max(1)
    }

    /// The longest block of K.
    fn block_depth(&self) -> usize {
        (self.depth_blocks.part(0).1 * K_CHUNK).min(self.k)
    }

    /// Elements of a member's packed group of panels.
    pub(super) fn packed_b_len(&self) -> usize {
        if matches!(self.source, Source::Copied | Source::Turned) {
            self.group * self.blocking.tile_vectors * self.lanes * self.block_depth()
        } else {
            0
        }
    }

    /// Elements of a member's packed block of A.
    pub(super) fn packed_a_len(&self) -> usize {
        if self.pack_a {
            let rows = self.row_blocks.part(0).1.min(self.blocking.block_rows);
            (rows * self.block_depth()).next_multiple_of(self.lanes)
        } else {
            0
        }
    }

    /// Elements of buffers per member: packed B, packed A, the copy of a tile.
    pub(crate) fn workspace_len(&self) -> usize {
        if self.source == Source::Streamed {
            return SUMS;
        }
        let copy = if self.scattered { COPY_ELEMENTS } else { 0 };
        self.packed_b_len() + self.packed_a_len() + copy
    }

    /// The number of tasks.
    pub(crate) fn tasks(&self) -> usize {
        self.row_blocks.count() * self.panel_blocks.count()
    }

    /// The block of rows and the block of panels of a task. A member begins with tasks that follow each other: of one block of
    /// panels, which it then finds in its cache; where all of B fits there, of one block of rows.
    #[inline(always)]
    pub(super) fn blocks_of(&self, task: usize) -> (usize, usize) {
        let (rows, panels) = (self.row_blocks.count(), self.panel_blocks.count());
        if rows == 1 {
            (0, task)
        } else if self.prefetches || self.scattered {
            (task % rows, task / rows)
        } else {
            (task / panels, task % panels)
        }
    }

    /// Vectors of panel `panel`: only the last can be narrower.
    #[inline(always)]
    pub(super) fn vectors(&self, panel: usize) -> usize {
        let width = self.blocking.tile_vectors;
        width.min(self.n.div_ceil(self.lanes) - panel * width)
    }

    /// Lanes of the last panel that are columns of the one before, computed again and not written: tiles that turn B have no
    /// cut vectors.
    #[inline(always)]
    pub(super) fn shared_lanes(&self, panel: usize) -> usize {
        if self.source == Source::Columns { ((panel + 1) * self.lanes).saturating_sub(self.n) } else { 0 }
    }

    /// Where a caller's packed panel of one chunk begins: all panels of a chunk, chunk after chunk.
    #[inline(always)]
    pub(super) fn packed_offset(&self, panel: usize, chunk: usize) -> usize {
        let columns = self.n.next_multiple_of(self.lanes);
        chunk * K_CHUNK * columns + panel * self.blocking.tile_vectors * self.lanes * self.depth(chunk)
    }

    #[inline(always)]
    pub(super) fn depth(&self, chunk: usize) -> usize {
        K_CHUNK.min(self.k - chunk * K_CHUNK)
    }
}

/// Element (i, j).
#[inline(always)]
pub(super) fn at<T>(pointer: *const T, i: usize, row_stride: isize, j: usize, col_stride: isize) -> *const T {
    pointer.wrapping_offset(
        (i as isize).wrapping_mul(row_stride).wrapping_add((j as isize).wrapping_mul(col_stride)),
    )
}

#[cfg(test)]
impl Plan {
    /// True if what is computed is the transpose of C.
    pub(super) fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// True if tiles turn B.
    pub(super) fn turns_in_tiles(&self) -> bool {
        self.source == Source::Columns
    }
}
