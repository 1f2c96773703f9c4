//! The loops around the register tile, cut into phases and tiles that a team can share.
//!
//! ```text
//! for each block of columns (nc) and chunk of K (512):      only if B is packed; else one phase does it all
//!     phase "pack":     tile = one panel of B
//!     phase "compute":  tile = a block of rows x columns of C
//!         for each chunk of K, ascending                    (the one of the phase, or all)
//!             pack the block of A, if its strides are bad
//!             for each group of vectors (nr)                (its panel of B stays in L2)
//!                 for each group of rows (mr)               (its rows of A stream through L1)
//!                     register tile; after the last chunk its epilogue
//! ```
//!
//! A [`Plan`] depends on the shape alone and is made once; [`Operands`] are the pointers of one call. Every element
//! of C belongs to one tile of a phase, and a phase ends before the next begins.

use super::Epilogue;
use super::blocking::{Blocking, K_CHUNK, MAX_ROWS, MAX_VECTORS, Parts};
use super::microkernel::{Tile, TileEpilogue, run_epilogue, run_tile};
use super::pack::{pack_panel, pack_rows};
use super::view::{Layout, MatMut, MatRef};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use crate::kernel::compiled::{Job, compiled};
use crate::kernel::element::Element;
use crate::parallel;
use std::cell::Cell;

/// Shape, blocks, phases and tiles of one product.
#[derive(Clone, Debug)]
pub struct Plan {
    m: usize,
    n: usize,
    k: usize,
    lanes: usize,
    blocking: Blocking,
    pack_a: bool,
    pack_b: bool,
    /// Blocks of columns of packed B, in vectors; one block if B is not packed.
    outer: Parts,
    row_blocks: Parts,
    /// Vectors of a tile's block of columns, at most.
    tile_block_vectors: usize,
}

/// The pointers, strides and scalars of one product.
#[derive(Clone, Copy)]
pub struct Operands<T> {
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
    /// The derivative of this activation at `output` multiplies the result, unless `output` is null.
    pub derivative: Activation,
    pub output: *const T,
    pub output_row_stride: isize,
    pub output_col_stride: isize,
    /// Room for [`Plan::packed_b_len`] elements.
    pub packed_b: *mut T,
    /// Room for [`Plan::packed_a_len`] elements per member.
    pub packed_a: *mut T,
}

// SAFETY: the pointers are only followed in `Plan::run`, whose caller vouches for them.
unsafe impl<T: Send> Send for Operands<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Operands<T> {}

impl Plan {
    /// The plan for C (m x n) from operands with these layouts, on at most `width` threads.
    pub(crate) fn new<T: Element>(
        context: &Context,
        a: Layout,
        b: Layout,
        width: usize,
        blocking: Option<Blocking>,
    ) -> Self {
        let (m, n, k) = (a.rows, b.cols, a.cols);
        let lanes = 64 / size_of::<T>();
        let blocking = blocking.unwrap_or_else(|| Blocking::of(context.isa()));
        let vectors = n.div_ceil(lanes);
        let bytes = |stride: isize| stride.unsigned_abs().saturating_mul(size_of::<T>());
        // Vectors of B need contiguous columns. Where they are, packing still pays if its rows lie so far apart that
        // they collide in the caches, and if enough rows of A reuse the copy.
        let pack_b = m > 0
            && n > 1
            && k > 0
            && (b.col_stride != 1 || (m >= 96 && k >= 64 && bytes(b.row_stride) >= 1280));
        // A is read one element per row and k: a long stride along k costs a cache line each.
        let pack_a = k > 1 && a.col_stride != 1 && m > 1 && vectors > blocking.tile_vectors;
        let outer = Parts::new(vectors.max(1), if pack_b { blocking.block_vectors } else { vectors.max(1) });
        let (block_rows, tile_block_vectors) = Self::tile_shape(m, outer.part(0).1, width, &blocking);
        let row_blocks = Parts::new(m, block_rows);
        Self { m, n, k, lanes, blocking, pack_a, pack_b, outer, row_blocks, tile_block_vectors }
    }

    /// Rows and vectors of a tile: cache blocks for one thread; for several, halved until there are four tiles each,
    /// so that the one who comes late or is slow costs little.
    fn tile_shape(m: usize, vectors: usize, width: usize, blocking: &Blocking) -> (usize, usize) {
        let mut rows = blocking.block_rows.min(m).max(1);
        let mut cols = blocking.block_vectors.min(vectors).max(1);
        let target = if width > 1 { 4 * width } else { 1 };
        while m.div_ceil(rows) * vectors.div_ceil(cols) < target {
            if cols > blocking.tile_vectors && (cols * 16 > rows || rows <= blocking.tile_rows) {
                cols = cols.div_ceil(2).next_multiple_of(blocking.tile_vectors);
            } else if rows > blocking.tile_rows {
                rows = rows.div_ceil(2).next_multiple_of(blocking.tile_rows);
            } else {
                break;
            }
        }
        (rows, cols)
    }

    /// Elements that packed B takes.
    pub(crate) fn packed_b_len(&self) -> usize {
        if self.pack_b { self.outer.part(0).1 * self.lanes * K_CHUNK.min(self.k) } else { 0 }
    }

    /// Elements that packed A takes, per member.
    pub(crate) fn packed_a_len(&self) -> usize {
        if self.pack_a {
            (self.row_blocks.part(0).1 * K_CHUNK.min(self.k)).next_multiple_of(self.lanes)
        } else {
            0
        }
    }

    fn chunks(&self) -> usize {
        self.k.div_ceil(K_CHUNK).max(1)
    }

    /// The number of phases.
    pub(crate) fn phases(&self) -> usize {
        if self.m == 0 || self.n == 0 {
            0
        } else if self.pack_b {
            self.outer.count() * self.chunks() * 2
        } else {
            1
        }
    }

    /// Outer block of columns (first vector, vectors) and chunk that a phase of a packed product works on.
    fn place(&self, phase: usize) -> ((usize, usize), usize) {
        let pair = phase / 2;
        (self.outer.part(pair / self.chunks()), pair % self.chunks())
    }

    fn col_blocks(&self, vectors: usize) -> Parts {
        // Counted in register tiles, so that only the last block of columns can have a narrow one.
        Parts::new(
            vectors.div_ceil(self.blocking.tile_vectors),
            self.tile_block_vectors.div_ceil(self.blocking.tile_vectors),
        )
    }

    /// True for a phase that packs B.
    pub(crate) fn packs_in(&self, phase: usize) -> bool {
        self.pack_b && phase.is_multiple_of(2)
    }

    /// The number of tiles of a phase.
    pub(crate) fn tiles(&self, phase: usize) -> usize {
        let (_, vectors) = self.place(if self.pack_b { phase } else { 0 }).0;
        if self.packs_in(phase) {
            vectors
        } else {
            self.row_blocks.count() * self.col_blocks(vectors).count()
        }
    }

    /// Runs one tile of one phase.
    ///
    /// # Safety
    /// The operands have the shapes and layouts of the plan and are valid for all that it reaches; nothing else
    /// accesses C's elements and the packing buffers meanwhile but other tiles of the same phase; phases run in
    /// order, each after all tiles of the one before; no two tiles run with the same member number at once.
    pub(crate) unsafe fn run<T: Element>(
        &self,
        context: &Context,
        o: &Operands<T>,
        phase: usize,
        tile: usize,
        member: usize,
    ) {
        T::run(context, PlanTile { plan: self, operands: o, phase, tile, member });
    }

    /// [`Plan::run`], where it is compiled.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[inline(always)]
    unsafe fn run_here<T: Element>(
        &self,
        context: &Context,
        o: &Operands<T>,
        phase: usize,
        tile: usize,
        member: usize,
    ) {
        if !self.pack_b {
            let (block_row, block_col) = (tile % self.row_blocks.count(), tile / self.row_blocks.count());
            for chunk in 0..self.chunks() {
                // SAFETY: passed on.
                unsafe { self.compute(context, o, self.outer.part(0), chunk, block_row, block_col, member) };
            }
            return;
        }
        let (outer, chunk) = self.place(phase);
        if self.packs_in(phase) {
            let depth = self.depth(chunk);
            let col = (outer.0 + tile) * self.lanes;
            let from = Self::at(o.b, chunk * K_CHUNK, o.b_row_stride, col, o.b_col_stride);
            // SAFETY: the panel's columns and the chunk's rows lie within B; the buffer has room for every panel.
            unsafe {
                let to = o.packed_b.add(tile * depth * self.lanes);
                pack_panel(
                    from,
                    o.b_row_stride,
                    o.b_col_stride,
                    depth,
                    self.lanes.min(self.n - col),
                    self.lanes,
                    to,
                );
            }
        } else {
            let (block_row, block_col) = (tile % self.row_blocks.count(), tile / self.row_blocks.count());
            // SAFETY: passed on.
            unsafe { self.compute(context, o, outer, chunk, block_row, block_col, member) };
        }
    }

    fn depth(&self, chunk: usize) -> usize {
        K_CHUNK.min(self.k - chunk * K_CHUNK)
    }

    fn at<T>(pointer: *const T, i: usize, row_stride: isize, j: usize, col_stride: isize) -> *const T {
        pointer.wrapping_offset(
            (i as isize).wrapping_mul(row_stride).wrapping_add((j as isize).wrapping_mul(col_stride)),
        )
    }

    /// One chunk of one block of C.
    ///
    /// # Safety
    /// As [`Plan::run`].
    #[allow(clippy::too_many_arguments, reason = "the five loops' indices")]
    unsafe fn compute<T: Element>(
        &self,
        context: &Context,
        o: &Operands<T>,
        outer: (usize, usize),
        chunk: usize,
        block_row: usize,
        block_col: usize,
        member: usize,
    ) {
        let depth = self.depth(chunk);
        let (first_row, rows) = self.row_blocks.part(block_row);
        let (first_unit, units) = self.col_blocks(outer.1).part(block_col);
        let first_vector = first_unit * self.blocking.tile_vectors;
        let vectors = (units * self.blocking.tile_vectors).min(outer.1 - first_vector);
        let row_groups = Parts::new(rows, self.blocking.tile_rows);
        let vector_groups = Parts::new(vectors, self.blocking.tile_vectors);
        let k0 = chunk * K_CHUNK;
        let a = Self::at(o.a, first_row, o.a_row_stride, k0, o.a_col_stride);
        let packed_a = o.packed_a.wrapping_add(member * self.packed_a_len());
        if self.pack_a {
            // SAFETY: the block lies within A; the member's buffer has room for it and is the member's alone.
            unsafe { pack_rows(a, o.a_row_stride, o.a_col_stride, depth, row_groups, packed_a) };
        }
        for group in 0..vector_groups.count() {
            let (vector, group_vectors) = vector_groups.part(group);
            let vector = first_vector + vector; // within the outer block
            let col = (outer.0 + vector) * self.lanes;
            let cols = (group_vectors * self.lanes).min(self.n - col);
            let (b, b_k_stride, b_vector_stride) = if self.pack_b {
                (
                    o.packed_b.wrapping_add(vector * depth * self.lanes).cast_const(),
                    self.lanes as isize,
                    (depth * self.lanes) as isize,
                )
            } else {
                let b = Self::at(o.b, k0, o.b_row_stride, col, o.b_col_stride);
                (b, o.b_row_stride, self.lanes as isize)
            };
            for row_group in 0..row_groups.count() {
                let (start, tile_rows) = row_groups.part(row_group);
                let row = first_row + start;
                let (a, a_row_stride, a_k_stride) = if self.pack_a {
                    (packed_a.wrapping_add(start * depth).cast_const(), 1, tile_rows as isize)
                } else {
                    let a = Self::at(o.a, row, o.a_row_stride, k0, o.a_col_stride);
                    (a, o.a_row_stride, o.a_col_stride)
                };
                let tile = Tile {
                    rows: tile_rows,
                    vectors: group_vectors,
                    last_lanes: cols - (group_vectors - 1) * self.lanes,
                    depth,
                    a,
                    a_row_stride,
                    a_k_stride,
                    b,
                    b_k_stride,
                    b_vector_stride,
                    c: Self::at(o.c.cast_const(), row, o.c_row_stride, col, o.c_col_stride).cast_mut(),
                    c_row_stride: o.c_row_stride,
                    c_vector_stride: self.lanes as isize,
                    alpha: o.alpha,
                    scale_c: (chunk == 0).then_some(o.beta),
                };
                let epilogue = (chunk + 1 == self.chunks() && o.has_epilogue()).then(|| TileEpilogue {
                    bias: if o.bias.is_null() { o.bias } else { o.bias.wrapping_add(col) },
                    activation: o.activation,
                    derivative: o.derivative,
                    output: if o.output.is_null() {
                        o.output
                    } else {
                        Self::at(o.output, row, o.output_row_stride, col, o.output_col_stride)
                    },
                    output_row_stride: o.output_row_stride,
                    output_vector_stride: self.lanes as isize,
                });
                // SAFETY: the tile lies within the block, and that within A, B and C.
                unsafe {
                    if o.c_col_stride == 1 || self.n == 1 {
                        run_tile(context, self.lanes, &tile);
                        if let Some(epilogue) = &epilogue {
                            run_epilogue(context, &tile, epilogue);
                        }
                    } else {
                        self.run_scattered(context, o, tile, epilogue, cols);
                    }
                }
            }
        }
    }

    /// A tile of a C whose columns are not contiguous: computed in a copy.
    ///
    /// # Safety
    /// As [`Plan::run`].
    unsafe fn run_scattered<T: Element>(
        &self,
        context: &Context,
        o: &Operands<T>,
        mut tile: Tile<T>,
        epilogue: Option<TileEpilogue<T>>,
        cols: usize,
    ) {
        const WIDTH: usize = MAX_VECTORS * 16;
        let mut copy = [T::zero(); MAX_ROWS * WIDTH];
        let target = tile.c;
        let place = |i: usize, j: usize| {
            target.wrapping_offset(i as isize * o.c_row_stride + j as isize * o.c_col_stride)
        };
        for i in 0..tile.rows {
            for j in 0..cols {
                if tile.scale_c != Some(T::zero()) {
                    // SAFETY: (i, j) lies within the tile of C.
                    copy[i * WIDTH + j] = unsafe { *place(i, j) };
                }
            }
        }
        tile.c = copy.as_mut_ptr();
        tile.c_row_stride = WIDTH as isize;
        // SAFETY: the copy has room for the largest tile.
        unsafe {
            run_tile(context, self.lanes, &tile);
            if let Some(epilogue) = &epilogue {
                run_epilogue(context, &tile, epilogue);
            }
        }
        for i in 0..tile.rows {
            for j in 0..cols {
                // SAFETY: (i, j) lies within the tile of C.
                unsafe { *place(i, j) = copy[i * WIDTH + j] };
            }
        }
    }
}

/// One tile of one phase. Made by [`Plan::run`] alone, whose caller vouches for it.
struct PlanTile<'a, T> {
    plan: &'a Plan,
    operands: &'a Operands<T>,
    phase: usize,
    tile: usize,
    member: usize,
}

impl<T: Element> Job for PlanTile<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run_here(self, context: &Context) {
        // SAFETY: see the type.
        unsafe { self.plan.run_here(context, self.operands, self.phase, self.tile, self.member) };
    }
}

compiled! {
    PlanTile<'a, Self>,
}

impl<T> Operands<T> {
    fn has_epilogue(&self) -> bool {
        !self.bias.is_null() || self.activation != Activation::Identity || !self.output.is_null()
    }
}

/// The product after its checks. `blocking` can be injected, so that small tests reach every edge.
#[allow(clippy::too_many_arguments, reason = "BLAS's arguments and what the tests inject")]
pub(crate) fn product<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
    width: usize,
    blocking: Option<Blocking>,
) -> Result<()> {
    let plain = epilogue.bias.is_none() && epilogue.derivative.is_none();
    let (mut a, mut b) = (a, b);
    let (c_pointer, mut c_layout) = (c.pointer(), c.layout());
    if plain && c_layout.col_stride != 1 && c_layout.row_stride == 1 && c_layout.cols > 1 {
        // The transposed product has contiguous rows and, element by element, the same sums.
        (a, b) = (b.transposed(), a.transposed());
        c_layout = c_layout.transposed();
    }
    let (mut a_layout, mut b_layout) = (a.layout(), b.layout());
    if alpha == T::zero() {
        (a_layout.cols, b_layout.rows) = (0, 0);
    }
    let output = epilogue.derivative.map(|(activation, y)| (activation, y.pointer(), y.layout()));
    if let Some((_, _, y)) = output
        && y.col_stride != 1
        && y.cols > 1
    {
        return Err(Error::shape("gemm", "output of the derivative", "contiguous columns", y));
    }
    let plan = Plan::new::<T>(context, a_layout, b_layout, width, blocking);
    let (b_len, a_len) = (plan.packed_b_len(), plan.packed_a_len());
    with_workspace(b_len + a_len * width, |workspace: *mut T| {
        let operands = Operands {
            a: a.pointer(),
            a_row_stride: a_layout.row_stride,
            a_col_stride: a_layout.col_stride,
            b: b.pointer(),
            b_row_stride: b_layout.row_stride,
            b_col_stride: b_layout.col_stride,
            c: c_pointer,
            c_row_stride: c_layout.row_stride,
            c_col_stride: c_layout.col_stride,
            alpha,
            beta,
            bias: epilogue.bias.map_or(std::ptr::null(), <[T]>::as_ptr),
            activation: epilogue.activation,
            derivative: output.map_or(Activation::Identity, |(activation, ..)| activation),
            output: output.map_or(std::ptr::null(), |(_, pointer, _)| pointer),
            output_row_stride: output.map_or(0, |(.., y)| y.row_stride),
            output_col_stride: output.map_or(0, |(.., y)| y.col_stride),
            packed_b: workspace,
            packed_a: workspace.wrapping_add(b_len),
        };
        parallel::with_team(width, |team| {
            for phase in 0..plan.phases() {
                team.phase(plan.tiles(phase), &|tile: parallel::Tile| {
                    // SAFETY: plan and operands come from checked views that are borrowed until here; the team runs
                    // phases in order, every tile once, and gives each thread a member number of its own.
                    unsafe { plan.run(context, &operands, phase, tile.index, tile.member) };
                });
            }
        });
    })
}

thread_local! {
    /// The packing buffer of the last product on this thread. It is taken out while it is in use, so that nothing is
    /// borrowed across a parallel region and a nested product makes its own.
    static WORKSPACE: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
}

/// Calls `body` with 64-byte aligned room for `len` elements.
fn with_workspace<T: Element, R>(len: usize, body: impl FnOnce(*mut T) -> R) -> Result<R> {
    if len == 0 {
        return Ok(body(std::ptr::null_mut()));
    }
    let bytes =
        len.checked_mul(size_of::<T>()).ok_or_else(|| Error::overflow("gemm", "the packing buffer"))?;
    let mut buffer = take_workspace(bytes)?;
    let start = buffer.as_ptr().align_offset(64);
    let result = body(buffer[start..].as_mut_ptr().cast());
    let _ = WORKSPACE.try_with(|workspace| workspace.set(buffer));
    Ok(result)
}

/// Room for `bytes` and an alignment to 64.
fn take_workspace(bytes: usize) -> Result<Vec<f64>> {
    let words = bytes.div_ceil(8) + 8;
    // Without `try_`, a product in the destructor of another thread-local value would panic.
    let mut buffer = WORKSPACE.try_with(Cell::take).unwrap_or_default();
    if buffer.len() < words {
        buffer = Vec::new();
        buffer
            .try_reserve_exact(words)
            .map_err(|_| Error::OutOfMemory { what: "gemm's packing buffer", bytes })?;
        buffer.resize(words, 0.0);
    }
    Ok(buffer)
}
