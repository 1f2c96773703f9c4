//! The loops around the register tile, cut into tasks that a team can share.
//!
//! ```text
//! task = a block of rows x columns of C
//!   for each block of K (kc: one or more chunks of 512)
//!     for each block of rows (mc)
//!       pack the block of A, if its strides are bad
//!       for each group of panels of B (f32: 64 or 128 columns) (stays in L2; packed by the first row of tiles, or before)
//!         for each 16 groups of rows (mr; 4 where several panels take turns, 1 where tiles are copied)
//!           for each panel of the group (nr)
//!             for each chunk of K, ascending
//!               register tiles, one below the other, which ask for lines of the next group
//!             after the last chunk: epilogue, the caller's tile function
//! ```
//!
//! A [`Plan`] says how the loops are cut; [`Operands`] are the pointers of one call. Every element of C belongs to one
//! task, and tasks share nothing that is written.

use super::Epilogue;
use super::ahead::Ahead;
use super::blocking::{Blocking, K_CHUNK, PACK_AHEAD, Parts, ROW_GROUPS, tile_rows};
use super::epilogue::{Area, apply, finish, give};
use super::microkernel::{Tiles, run_tiles};
use super::pack::{COPY_WIDTH, Copied, PackPanel, PackRows, pack_panel, pack_rows};
use super::plan::{Plan, Shape, Source, at};
use super::small::{Direct, is_direct};
use super::stream::{AddChunks, ByChunk, SumChunk, stream};
use super::view::{Layout, MatMut, MatRef};
use super::workspace::with_workspace;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use crate::kernel::compiled::compiled;
use crate::kernel::element::Element;
use crate::parallel;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// What a caller does with each finished tile of C: first row, first column, the tile.
pub type TileFunction<'a, T> = dyn Fn(usize, usize, MatMut<'_, T>) + Sync + 'a;

/// The pointers, strides and scalars of one product.
#[derive(Clone, Copy)]
pub struct Operands<'a, T> {
    pub a: *const T,
    pub a_row_stride: isize,
    pub a_col_stride: isize,
    pub b: *const T,
    pub b_row_stride: isize,
    pub b_col_stride: isize,
    pub c: *mut T,
    pub c_row_stride: isize,
    pub c_col_stride: isize,
    pub alpha: T,
    pub beta: T,
    /// One value per column, or null.
    pub bias: *const T,
    pub activation: Activation,
    /// The derivative of this activation, from `saved`, multiplies the result, unless `saved` is null.
    pub derivative: Activation,
    pub saved: *const T,
    pub saved_row_stride: isize,
    pub tile_function: Option<&'a TileFunction<'a, T>>,
    /// Room for [`Plan::workspace_len`] elements: the running thread's own.
    pub workspace: *mut T,
}

// SAFETY: the pointers are only followed in `Plan::run`, whose caller vouches for them.
unsafe impl<T: Send> Send for Operands<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Operands<'_, T> {}

impl<T: Copy> Operands<'_, T> {
    /// Those of the product's columns from `first` on.
    fn columns_from(&self, first: usize) -> Self {
        let shifted = |pointer: *const T, stride| {
            if pointer.is_null() { pointer } else { at(pointer, 0, 0, first, stride) }
        };
        Self {
            b: shifted(self.b, self.b_col_stride),
            c: shifted(self.c, self.c_col_stride).cast_mut(),
            bias: shifted(self.bias, 1),
            saved: shifted(self.saved, 1),
            ..*self
        }
    }
}

impl Plan {
    /// Runs one task.
    ///
    /// # Safety
    /// The operands have the shapes and layouts of the plan and are valid for all that it reaches; nothing else
    /// accesses C's elements and the packing buffers meanwhile but other tasks; each task runs once, and no two with
    /// the same workspace at once.
    pub(crate) unsafe fn run<T: Element>(&self, context: &Context, operands: &Operands<'_, T>, task: usize) {
        T::run(context, Task { plan: self, operands, task });
    }

    /// What is computed: C and its operands, or their transposes.
    #[inline(always)]
    pub(super) fn oriented<'a, T: Copy>(&self, o: &Operands<'a, T>) -> Operands<'a, T> {
        if !self.swapped {
            return *o;
        }
        Operands {
            a: o.b,
            a_row_stride: o.b_col_stride,
            a_col_stride: o.b_row_stride,
            b: o.a,
            b_row_stride: o.a_col_stride,
            b_col_stride: o.a_row_stride,
            c_row_stride: o.c_col_stride,
            c_col_stride: o.c_row_stride,
            ..*o
        }
    }
}

/// One task. Made by [`Plan::run`] alone, whose caller vouches for it.
struct Task<'a, T> {
    plan: &'a Plan,
    operands: &'a Operands<'a, T>,
    task: usize,
}

compiled! {
    Task<'a, Self>,
    Direct<'a, Self>,
    SumChunk<'a, Self>,
    AddChunks<'a, Self>,
}

impl<T: Element> Kernel for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let plan = self.plan;
        let o = plan.oriented(self.operands);
        let packed_b = o.workspace;
        let packed_a = packed_b.wrapping_add(plan.packed_b_len());
        let copy = packed_a.wrapping_add(plan.packed_a_len());
        let (block_row, block_panel) = plan.blocks_of(self.task);
        let (first_row, rows) = plan.row_blocks.part(block_row);
        let (first_panel, panels) = plan.panel_blocks.part(block_panel);
        if plan.source == Source::Streamed {
            debug_assert!(rows == plan.m, "tasks of a plan that streams have all rows");
            // SAFETY: see the type: the panels lie within the task, and it has all rows, as `Plan::new` cuts it.
            unsafe { stream(s, plan, &o, first_panel, panels, packed_b) };
            return;
        }
        let (depth_blocks, row_blocks) = (plan.depth_blocks, Parts::new(rows, plan.blocking.block_rows));
        for depth_block in 0..depth_blocks.count() {
            let (first_chunk, chunks) = depth_blocks.part(depth_block);
            for row_block in 0..row_blocks.count() {
                let (start, rows) = row_blocks.part(row_block);
                let mut block = Block {
                    plan,
                    operands: &o,
                    first_row: first_row + start,
                    rows,
                    first_chunk,
                    chunks,
                    end: first_panel + panels,
                    packed_a,
                    packed_b,
                    copy,
                };
                // SAFETY: see the type: rows, chunks and panels lie within the task.
                unsafe {
                    if plan.pack_a {
                        block.pack_a(s);
                    }
                    for panel in (first_panel..block.end).step_by(plan.group) {
                        block.group(s, panel);
                    }
                }
            }
        }
    }
}

/// A block of rows of a task, with a block of K.
struct Block<'a, T> {
    plan: &'a Plan,
    operands: &'a Operands<'a, T>,
    first_row: usize,
    rows: usize,
    first_chunk: usize,
    chunks: usize,
    /// One past the task's last panel.
    end: usize,
    packed_a: *mut T,
    packed_b: *mut T,
    /// Room for a tile of a C whose columns are not contiguous.
    copy: *mut T,
}

impl<T: Element> Block<'_, T> {
    fn widest_rows(&self) -> usize {
        self.plan.blocking.tile_rows[self.plan.blocking.tile_vectors - 1]
    }

    /// Packs the block's rows of A, chunk by chunk.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    unsafe fn pack_a<S: Simd>(&mut self, s: S) {
        let (plan, o) = (self.plan, self.operands);
        for chunk in self.first_chunk..self.first_chunk + self.chunks {
            let depth = plan.depth(chunk);
            let block = PackRows {
                a: at(o.a, self.first_row, o.a_row_stride, chunk * K_CHUNK, o.a_col_stride),
                layout: Layout {
                    rows: self.rows,
                    cols: depth,
                    row_stride: o.a_row_stride,
                    col_stride: o.a_col_stride,
                },
                parts: Parts::new(self.rows, self.widest_rows()),
                target: self.packed_a.wrapping_add(self.rows * K_CHUNK * (chunk - self.first_chunk)),
            };
            // SAFETY: the block lies within A; the member's buffer has room for it and is the member's alone.
            unsafe { pack_rows(s, block) };
        }
    }

    /// All rows of the block times one group of panels, the first of which is `first`.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    unsafe fn group<S: Simd>(&mut self, s: S, first: usize) {
        let plan = self.plan;
        let panels = plan.group.min(self.end - first);
        if plan.source == Source::Turned {
            for panel in first..first + panels {
                for chunk in self.first_chunk..self.first_chunk + self.chunks {
                    // SAFETY: passed on.
                    unsafe { self.pack_b(s, first, panel, chunk) };
                }
            }
        }
        let most_rows = if plan.pack_a || panels > 1 {
            self.widest_rows()
        } else {
            plan.blocking.tile_rows[plan.vectors(first) - 1]
        };
        let row_groups = Parts::new(self.rows, most_rows);
        // Where several panels take turns, the rows of A should still be in the cache when the next one's is.
        let batch = if plan.scattered {
            1
        } else if panels > 1 {
            ROW_GROUPS / 4
        } else {
            ROW_GROUPS
        };
        for start in (0..row_groups.count()).step_by(batch) {
            let end = (start + batch).min(row_groups.count());
            for panel in first..first + panels {
                // SAFETY: passed on.
                unsafe { self.panel(s, row_groups, start..end, first, panel) };
            }
        }
    }

    /// Where the member's packed copy of a panel of the group is.
    fn panel_copy(&self, first: usize, panel: usize, chunk: usize) -> *mut T {
        let plan = self.plan;
        let panel_len = plan.blocking.tile_vectors * plan.lanes;
        let of_chunk = (chunk - self.first_chunk) * K_CHUNK * plan.group * panel_len;
        self.packed_b.wrapping_add(of_chunk + (panel - first) * panel_len * plan.depth(chunk))
    }

    /// Packs one chunk of one panel of B.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    unsafe fn pack_b<S: Simd>(&mut self, s: S, first: usize, panel: usize, chunk: usize) {
        let (plan, o) = (self.plan, self.operands);
        let (vectors, col) = (plan.vectors(panel), panel * plan.blocking.tile_vectors * plan.lanes);
        let panel = PackPanel {
            b: at(o.b, chunk * K_CHUNK, o.b_row_stride, col, o.b_col_stride),
            row_stride: o.b_row_stride,
            col_stride: o.b_col_stride,
            depth: plan.depth(chunk),
            cols: (vectors * plan.lanes).min(plan.n - col),
            vectors,
            target: self.panel_copy(first, panel, chunk),
        };
        // SAFETY: the panel's columns and the chunk's rows lie within B; the member's buffer has room for a group.
        unsafe { pack_panel(s, panel) };
    }

    /// Some groups of rows times one panel, over all chunks of the block.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    unsafe fn panel<S: Simd>(
        &mut self,
        s: S,
        row_groups: Parts,
        groups: Range<usize>,
        first: usize,
        panel: usize,
    ) {
        let (plan, o, lanes) = (self.plan, self.operands, self.plan.lanes);
        let vectors = plan.vectors(panel);
        let col = panel * plan.blocking.tile_vectors * lanes;
        let (start, (last_start, last_rows)) =
            (row_groups.part(groups.start).0, row_groups.part(groups.end - 1));
        let area = Area {
            row: self.first_row + start,
            rows: last_start + last_rows - start,
            col,
            cols: (vectors * lanes).min(plan.n - col),
        };
        let c = at(o.c.cast_const(), area.row, o.c_row_stride, col, o.c_col_stride).cast_mut();
        let (mut tile_c, mut tile_c_stride) = (c, o.c_row_stride);
        let copied = Copied {
            copy: self.copy.wrapping_add(plan.shared_lanes(panel)),
            c,
            rows: area.rows,
            cols: area.cols,
            row_stride: o.c_row_stride,
            col_stride: o.c_col_stride,
        };
        if plan.scattered {
            if self.first_chunk > 0 || o.beta != T::zero() {
                // SAFETY: the tile lies within C.
                unsafe { copied.fetch() };
            }
            (tile_c, tile_c_stride) = (self.copy, COPY_WIDTH as isize);
        }
        for chunk in self.first_chunk..self.first_chunk + self.chunks {
            // SAFETY: passed on.
            unsafe { self.chunk(s, row_groups, groups.clone(), first, panel, chunk, tile_c, tile_c_stride) };
        }
        let last = self.first_chunk + self.chunks == plan.chunks();
        // SAFETY: the area lies within C, and so do its bias and what was saved within theirs.
        unsafe {
            if plan.scattered {
                // The epilogue wants contiguous columns: it has them in the copy, unless C itself shows the transpose.
                let in_copy = last && !plan.swapped && o.has_epilogue();
                if in_copy {
                    apply(s, o, area, tile_c, tile_c_stride);
                }
                copied.put_back(s);
                if last && !in_copy {
                    finish(s, plan.swapped, o, area, c);
                } else if let Some(function) = o.tile_function.filter(|_| last) {
                    give(function, plan.swapped, o, area, c);
                }
            } else if last {
                finish(s, plan.swapped, o, area, c);
            }
        }
    }

    /// Some groups of rows times one panel, over one chunk; their C stands at `c`.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the five loops' indices")]
    unsafe fn chunk<S: Simd>(
        &mut self,
        s: S,
        row_groups: Parts,
        groups: Range<usize>,
        first: usize,
        panel: usize,
        chunk: usize,
        c: *mut T,
        c_row_stride: isize,
    ) {
        let (plan, o, lanes) = (self.plan, self.operands, self.plan.lanes);
        let (vectors, depth) = (plan.vectors(panel), plan.depth(chunk));
        let col = panel * plan.blocking.tile_vectors * lanes;
        let turns = plan.source == Source::Columns;
        let last_lanes =
            if turns { lanes } else { (vectors * lanes).min(plan.n - col) - (vectors - 1) * lanes };
        let row_major = at(o.b, chunk * K_CHUNK, o.b_row_stride, col, 1);
        let panel_copy = self.panel_copy(first, panel, chunk);
        let panel_stride = (vectors * lanes) as isize;
        let (b, b_k_stride, b_vector_stride) = match plan.source {
            Source::Columns => {
                let first = col - plan.shared_lanes(panel);
                (
                    at(o.b, chunk * K_CHUNK, o.b_row_stride, first, o.b_col_stride),
                    o.b_row_stride,
                    o.b_col_stride,
                )
            }
            Source::Rows | Source::Streamed => (row_major, o.b_row_stride, lanes as isize),
            Source::Copied | Source::Turned => (panel_copy.cast_const(), panel_stride, lanes as isize),
            Source::Packed => {
                (o.b.wrapping_add(plan.packed_offset(panel, chunk)), panel_stride, lanes as isize)
            }
        };
        let (panels, first_start) = (plan.group, row_groups.part(groups.start).0);
        let (last_start, last_rows) = row_groups.part(groups.end - 1);
        let next_rows = last_start + last_rows;
        let shows_saved = chunk + 1 == plan.chunks() && !plan.swapped;
        let mut group = groups.start;
        while group < groups.end {
            let (start, rows) = row_groups.part(group);
            let packs = plan.source == Source::Copied && group == 0;
            let fused = packs && last_lanes == lanes && rows == tile_rows(S::ISA, vectors);
            if packs && !fused {
                // SAFETY: passed on.
                unsafe { self.pack_b(s, first, panel, chunk) };
            }
            let end = if fused { group + 1 } else { row_groups.run(group).min(groups.end) };
            let (a, a_row_stride, a_k_stride, a_tile_stride) = if plan.pack_a {
                let offset = self.rows * K_CHUNK * (chunk - self.first_chunk) + start * depth;
                (self.packed_a.wrapping_add(offset).cast_const(), 1, rows as isize, (rows * depth) as isize)
            } else {
                let a = at(o.a, self.first_row + start, o.a_row_stride, chunk * K_CHUNK, o.a_col_stride);
                (a, o.a_row_stride, o.a_col_stride, o.a_row_stride.wrapping_mul(rows as isize))
            };
            let ahead = if fused {
                let base = at(row_major, PACK_AHEAD, o.b_row_stride, 0, 0);
                Ahead { base, step: o.b_row_stride, row_step: 0, tiles_per_row: 1, tile: 0, lines: depth }
            } else if plan.source == Source::Copied
                || plan.source == Source::Rows && first + panels == self.end
            {
                // The panels are in L2 already.
                let tile = (panel - first) * groups.len() + group - groups.start;
                let rows = self.first_row + next_rows..self.first_row + self.rows;
                Ahead::of_rows(plan, o, rows, chunk, tile)
            } else {
                let tile = (panel - first) * row_groups.count() + group;
                Ahead::of_group(plan, o, first + panels..self.end, chunk, tile, row_groups.count() * panels)
            };
            let tiles = Tiles {
                tiles: end - group,
                rows,
                vectors,
                last_lanes,
                depth,
                a,
                a_row_stride,
                a_k_stride,
                a_tile_stride,
                b: if fused { row_major } else { b },
                b_k_stride: if fused { o.b_row_stride } else { b_k_stride },
                b_vector_stride,
                turns,
                pack: if fused { panel_copy } else { std::ptr::null_mut() },
                ahead,
                c: at(c.cast_const(), start - first_start, c_row_stride, 0, 0).cast_mut(),
                c_row_stride,
                saved: if shows_saved { o.saved_at(self.first_row + start, col) } else { std::ptr::null() },
                saved_row_stride: o.saved_row_stride,
                alpha: o.alpha,
                beta: if chunk == 0 { o.beta } else { T::one() },
            };
            // SAFETY: the tiles lie within the block, and that within A, B and C.
            unsafe { run_tiles(s, &tiles) };
            group = end;
        }
    }
}

/// The product after its checks. `blocking` can be injected, so that small tests reach every edge.
#[allow(clippy::too_many_arguments, reason = "BLAS's arguments and what the tests inject")]
pub(crate) fn product<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: Factor<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
    width: usize,
    blocking: Option<Blocking>,
) -> Result<()> {
    let (b_pointer, mut b_layout, packed) = match b {
        Factor::Matrix(b) => (b.pointer(), b.layout(), false),
        Factor::Packed(panels, layout) => (panels.as_ptr(), layout, true),
    };
    let (mut a_layout, c_layout) = (a.layout(), c.layout());
    if alpha == T::zero() {
        (a_layout.cols, b_layout.rows) = (0, 0);
    }
    let saved = epilogue.derivative.map(|(activation, saved)| (activation, saved.pointer(), saved.layout()));
    if let Some((_, _, layout)) = saved
        && layout.col_stride != 1
        && layout.cols > 1
    {
        return Err(Error::shape("gemm", "saved matrix of the derivative", "contiguous columns", layout));
    }
    let c_pointer = c.pointer();
    let operands = Operands {
        a: a.pointer(),
        a_row_stride: a_layout.row_stride,
        a_col_stride: a_layout.col_stride,
        b: b_pointer,
        b_row_stride: b_layout.row_stride,
        b_col_stride: b_layout.col_stride,
        c: c_pointer,
        c_row_stride: c_layout.row_stride,
        c_col_stride: c_layout.col_stride,
        alpha,
        beta,
        bias: epilogue.bias.map_or(std::ptr::null(), <[T]>::as_ptr),
        activation: epilogue.activation,
        derivative: saved.map_or(Activation::Identity, |(activation, ..)| activation),
        saved: saved.map_or(std::ptr::null(), |(_, pointer, _)| pointer),
        saved_row_stride: saved.map_or(0, |(.., layout)| layout.row_stride),
        tile_function: epilogue.tile_function,
        workspace: std::ptr::null_mut(),
    };
    if width == 1 && !packed && blocking.is_none() && is_direct::<T>(a_layout, b_layout, c_layout) {
        T::run(context, Direct { operands: &operands, m: c_layout.rows, n: c_layout.cols, k: a_layout.cols });
        return Ok(());
    }
    let by_column = epilogue.bias.is_some() || saved.is_some();
    let shape = Shape { a: a_layout, b: b_layout, c: c_layout, packed, by_column };
    let plan = |first: usize, cols: usize| {
        let (b, c) = (Layout { cols, ..b_layout }, Layout { cols, ..c_layout });
        let plan = Plan::new::<T>(context, &Shape { b, c, ..shape }, width, blocking);
        (plan, operands.columns_from(first))
    };
    // A caller's tile function is called with columns of all of C.
    let together = blocking.is_some() || operands.tile_function.is_some();
    let whole = if together { None } else { Plan::cut_off::<T>(context, &shape) };
    let (mut first, mut second) = match whole {
        None => (plan(0, c_layout.cols), None),
        Some(whole) => (plan(0, whole), Some(plan(whole, c_layout.cols - whole))),
    };
    if let (Some(by_chunk), None) = (ByChunk::new(&first.0, width), &second) {
        return with_workspace(by_chunk.kept_len(), |workspace| {
            let operands = Operands { workspace, ..first.1 };
            // SAFETY: as below; there is room for what is kept.
            unsafe { by_chunk.run(context, &operands, width) };
        });
    }
    let tasks = first.0.tasks() + second.as_ref().map_or(0, |(plan, _)| plan.tasks());
    let room = first.0.workspace_len().max(second.as_ref().map_or(0, |(plan, _)| plan.workspace_len()));
    // As many members as can have something to do.
    let width = width.min(tasks.max(1));
    with_workspace(room * width, |workspace: *mut T| {
        for (_, operands) in [Some(&mut first), second.as_mut()].into_iter().flatten() {
            operands.workspace = workspace;
        }
        let (first, second) = (&first, second.as_ref());
        let task = |index: usize, member: usize| {
            let ((plan, operands), index) = match (index.checked_sub(first.0.tasks()), second) {
                (Some(index), Some(second)) => (second, index),
                _ => (first, index),
            };
            let operands =
                Operands { workspace: operands.workspace.wrapping_add(member * room), ..*operands };
            // SAFETY: plans and operands come from checked views that are borrowed until here, and have no column of C in
            // common; every task runs once, and each thread has a workspace of its own.
            unsafe { plan.run(context, &operands, index) };
        };
        if width == 1 {
            (0..tasks).for_each(|index| task(index, 0));
        } else {
            parallel::with_team(width, |team| {
                team.phase(tasks, &|tile: parallel::Tile| task(tile.index, tile.member));
            });
        }
    })
}

/// The right factor of a product.
#[derive(Clone, Copy)]
pub(crate) enum Factor<'a, T> {
    /// As it is.
    Matrix(MatRef<'a, T>),
    /// In panels that [`pack_all`](super::pack::pack_all) made, of a matrix of this many rows and columns.
    Packed(&'a [T], Layout),
}
