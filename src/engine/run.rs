//! Runs a plan: the leader goes from phase to phase, the team shares each phase's tiles.

use super::arena::{BufferId, Memory, Place, TileRows};
use super::findings::Findings;
use super::graph::{Graph, Segment};
use super::maker::row_major;
use super::plan::{
    BIAS_COLUMNS, BiasGradient, Chain, CustomCall, CustomGradient, Operation, Panels, Phase, Plan, Product,
    UPDATE_ELEMENTS, Work,
};
use super::source::BatchSource;
use super::touched::Touched;
use super::weights::LossWeights;
use crate::context::Context;
use crate::error::Result;
use crate::kernel::gemm::driver::{Operands, TileFunction};
use crate::kernel::gemm::plan as gemm;
use crate::kernel::gemm::view::{Layout, MatMut};
use crate::kernel::loss::Rows;
use crate::kernel::update::{self, AnyStep, CONSTRAINT_COLUMNS, Clip, Ready};
use crate::kernel::{Element, activation, reduce, softmax};
use crate::parallel::{Team, Tile};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What a run needs besides its plan.
pub(crate) struct Run<'a, T: Element> {
    pub context: &'a Context,
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    pub memory: Memory<'a, T>,
    pub source: &'a dyn BatchSource<T>,
    pub indices: &'a [usize],
    /// The batch's classes, if the loss takes classes.
    pub classes: &'a [u32],
    /// How much classes count in the loss.
    pub loss_weights: &'a LossWeights<T>,
    /// What the sum of the batch's losses is divided by.
    pub divisor: f64,
    /// What is done to the parameters of each group; nothing outside training.
    pub updates: &'a [AnyStep],
    /// Look at every gradient before the update, so that a step that fails changes nothing.
    pub check_gradients: bool,
    /// How gradients are bounded before the update.
    pub clip: Clip,
    /// One for each tile of the update, if they are bounded by their norm.
    pub squares: &'a [AtomicU64],
    /// The training step, from 1; 0 outside training.
    pub step: u64,
    /// Count the samples whose largest output is their class.
    pub count_correct: bool,
    /// The gradients of the loss are multiplied by it.
    pub weight: f64,
    /// Gradients are added to those that there are.
    pub accumulate: bool,
    /// What noise is drawn from: the model's seed, steps taken, batches accumulated in this one.
    pub dropout: [u64; 3],
    /// Which of the plan's.
    pub phases: Range<usize>,
}

/// What a run leaves besides the flat arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<T> {
    /// The mean loss over the batch.
    pub loss: Option<T>,
    /// How much the batch counts in a mean over several: what its sum was divided by.
    pub weight: f64,
    pub correct: usize,
    /// False if the update saw or wrote a NaN or infinity: the parameters or the optimiser's state are spoilt.
    pub finite: bool,
}

impl<T: Element> Run<'_, T> {
    /// Runs all phases with `team`, and adds the seconds of each to `seconds`, if there are any.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for an input, an output or a loss, before anything is updated.
    pub(crate) fn run(
        &self,
        team: &Team<'_>,
        ready: &mut Vec<Ready<T>>,
        touched: &mut Touched,
        mut seconds: Option<&mut [f64]>,
    ) -> Result<Outcome<T>> {
        assert_eq!(self.indices.len(), self.plan.batch, "a plan is for one batch size");
        let findings = Findings::none();
        let mut mean = None;
        ready.clear();
        ready.extend(self.updates.iter().map(AnyStep::ready));
        for index in self.phases.clone() {
            let phase = &self.plan.phases[index];
            let start = seconds.is_some().then(Instant::now);
            #[cfg(feature = "tracing")]
            let _span = tracing::trace_span!("phase", index, what = self.plan.describe(phase)).entered();
            if phase.updates {
                if self.check_gradients {
                    self.check_all_gradients(touched)?;
                }
                let scale = self.bounding_scale(team, touched)?;
                for (ready, update) in ready.iter_mut().zip(self.updates) {
                    *ready = update.gradient_scale(scale)?.ready();
                }
            }
            self.touch(phase, touched);
            let (ready, rows) = (ready.as_slice(), &*touched);
            team.phase(phase.order.len(), &|tile| {
                // SAFETY: phases run one after the other, and the tiles of each write disjoint elements, none of
                // which another tile of the phase reads; `Plan::new` gave buffers that live together their own place.
                unsafe { self.tile(phase, tile, ready, rows, &findings) };
            });
            phase.sparse().for_each(|(_, sparse)| touched.rows_mut(sparse).settle());
            if let Some(input) = phase.input {
                self.check_input(input, &findings)?;
            }
            self.check_refused(&findings)?;
            if let Some(losses) = phase.losses {
                mean = Some(self.mean_loss(losses, &findings)?);
            }
            if let (Some(seconds), Some(start)) = (&mut seconds, start) {
                seconds[index] += start.elapsed().as_secs_f64();
            }
        }
        self.check_results(touched)?;
        Ok(Outcome {
            loss: mean,
            weight: self.divisor,
            correct: findings.correct.into_inner(),
            finite: findings.finite.into_inner(),
        })
    }

    /// Runs one tile.
    ///
    /// # Safety
    /// Every phase before is done; each tile of this phase runs once; no two run with the same member at once.
    unsafe fn tile(
        &self,
        phase: &Phase,
        tile: Tile,
        ready: &[Ready<T>],
        touched: &Touched,
        findings: &Findings,
    ) {
        let (job, index) = phase.order[tile.index];
        // SAFETY: passed on.
        let done = unsafe {
            match &phase.jobs[job as usize].work {
                Work::Chain(chain) => self.chain(chain, index as usize, tile.member, findings),
                Work::Product(product) => {
                    self.weight_or_whole(product, index as usize, tile.member, ready, findings);
                    Ok(())
                }
                Work::BiasGradient(bias) => {
                    self.bias_gradient(*bias, index as usize, ready, findings);
                    Ok(())
                }
                Work::CustomGradient(custom) => {
                    self.custom_gradient(custom, tile.member);
                    Ok(())
                }
                Work::Function(job) => {
                    self.batch_step(job, index as usize, tile.member, ready, touched, findings);
                    Ok(())
                }
                Work::Rows { parameter, to } => {
                    self.panel_row_by_row(*parameter, index as usize, *to);
                    Ok(())
                }
                Work::Update => {
                    self.update(index as usize, ready, findings);
                    Ok(())
                }
                Work::UpdateRows(parameter) => {
                    let (part, parts) = (index as usize, phase.jobs[job as usize].tiles);
                    self.update_part(*parameter, part, parts, ready, touched, findings);
                    Ok(())
                }
                Work::Constrain(parameter) => {
                    self.constrain(*parameter, index as usize);
                    Ok(())
                }
            }
        };
        // Shapes and steps were checked when plan and optimiser were made: what fails here is a bug of the plan.
        if let Err(error) = done {
            panic!("a plan's phase refused its own operands: {error}");
        }
    }

    /// All operations of a chain on tile `tile` of the batch's rows.
    ///
    /// # Safety
    /// As [`Run::tile`].
    unsafe fn chain(&self, chain: &Chain, tile: usize, member: usize, findings: &Findings) -> Result<()> {
        let first = tile * chain.rows_per_tile;
        let rows = TileRows {
            first,
            count: chain.rows_per_tile.min(self.plan.batch - first),
            most: chain.rows_per_tile,
            member,
        };
        for link in &chain.links {
            // SAFETY: passed on: the rows of a tile are its alone.
            unsafe { self.operation(&link.operation, link.row, rows, findings)? };
            if findings.refuses.load(Ordering::Relaxed) {
                // What the other operations would work on may not be there.
                break;
            }
        }
        Ok(())
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn operation(
        &self,
        operation: &Operation,
        row: usize,
        rows: TileRows,
        findings: &Findings,
    ) -> Result<()> {
        let (context, memory) = (self.context, &self.memory);
        let start = |id: BufferId| memory.start(id, &rows, row);
        let len = rows.count * row;
        let rows_of = |id: BufferId, row: usize| (memory.start(id, &rows, row), rows.count * row);
        // SAFETY: the rows of a tile are its alone, and its operations run one after the other; no two of an operation's
        // buffers are one, and `Plan::new` gave each its own place.
        unsafe {
            match *operation {
                Operation::Gather { input } => {
                    if memory.lent(input).is_none() {
                        let x = memory.write(input, start(input), len);
                        let indices = &self.indices[rows.first..rows.first + rows.count];
                        self.source.gather_features(context, indices, x);
                    }
                    let x = memory.read(input, start(input), len);
                    if let Some(index) = reduce::first_non_finite(context, x) {
                        findings.input.fetch_min(rows.first * row + index, Ordering::Relaxed);
                    }
                    Ok(())
                }
                Operation::Product(ref product) if product.zeros => self.rows_with_zeros(product, rows),
                Operation::Product(ref product) => {
                    let plan = &product.plans[usize::from(rows.count < rows.most && product.plans.len() > 1)];
                    for panel in 0..product.panels().0 {
                        for task in 0..plan.tasks() {
                            self.product(product, plan, Some(rows), (panel, task), rows.member, None);
                        }
                    }
                    Ok(())
                }
                Operation::Activation { activation, input, output } => {
                    let x = memory.read(input, start(input), len);
                    activation::forward(context, activation, x, memory.write(output, start(output), len))
                }
                Operation::Softmax { input, output, log, row: each } => {
                    let x = memory.read(input, start(input), len);
                    let forward = if log { softmax::log_softmax } else { softmax::forward };
                    forward(context, x, memory.write(output, start(output), len), each)
                }
                Operation::Loss { output, targets, losses, d_output } => {
                    let y = memory.read(output, start(output), len);
                    let losses = memory.write(losses, rows.first, rows.count);
                    let d = d_output.map(|d| memory.write(d, start(d), len));
                    let targets = targets.map(|id| {
                        let (start, len) = rows_of(id, self.plan.target_width);
                        memory.write(id, start, len)
                    });
                    self.loss(rows.first, rows.count, row, y, targets, losses, d, findings)
                }
                Operation::ActivationBackward { activation, saved, d } => {
                    let saved = memory.read(saved, start(saved), len);
                    activation::backward_in_place(context, activation, saved, memory.write(d, start(d), len))
                }
                Operation::SoftmaxBackward { output, d_output, d_input, log, row: each } => {
                    let y = memory.read(output, start(output), len);
                    let d = memory.read(d_output, start(d_output), len);
                    let backward = if log { softmax::log_softmax_backward } else { softmax::backward };
                    backward(context, y, d, memory.write(d_input, start(d_input), len), each)
                }
                Operation::Function { ref call, pass, step } => {
                    self.samples_step(call, pass, step, rows, findings);
                    Ok(())
                }
                Operation::AddTo { from, to } => {
                    let from = memory.read(from, start(from), len);
                    memory.write(to, start(to), len).iter_mut().zip(from).for_each(|(to, &from)| *to += from);
                    Ok(())
                }
                Operation::Zero { buffer } => {
                    memory.write(buffer, start(buffer), len).fill(T::zero());
                    Ok(())
                }
                Operation::Noise { input, output, noise, at } => {
                    let y = memory.write(output, start(output), len);
                    y.copy_from_slice(memory.read(input, start(input), len));
                    self.noise(y, noise, at, rows.first * row, false)
                }
                Operation::NoiseBackward { d, noise, at } => {
                    self.noise(memory.write(d, start(d), len), noise, at, rows.first * row, true)
                }
                Operation::Custom { custom, input, output } => {
                    let (x, y) = (rows_of(input, custom.inputs), rows_of(output, custom.outputs));
                    let x = memory.read(input, x.0, x.1);
                    let (parameters, y) = (self.custom_parameters(custom), memory.write(output, y.0, y.1));
                    self.graph.customs[custom.function].of::<T>().forward(context, parameters, x, y);
                    Ok(())
                }
                Operation::CustomBackward { custom, input, output, d_output, d_input } => {
                    let x = rows_of(input, custom.inputs);
                    let (y, d_y) = (rows_of(output, custom.outputs), rows_of(d_output, custom.outputs));
                    let d_x = rows_of(d_input, custom.inputs);
                    self.graph.customs[custom.function].of::<T>().backward(
                        context,
                        self.custom_parameters(custom),
                        memory.read(input, x.0, x.1),
                        memory.read(output, y.0, y.1),
                        memory.read(d_output, d_y.0, d_y.1),
                        memory.write(d_input, d_x.0, d_x.1),
                    );
                    Ok(())
                }
            }
        }
    }

    fn custom_parameters(&self, custom: CustomCall) -> &[T] {
        match custom.parameter.map(|index| &self.graph.parameters[index]) {
            // SAFETY: parameters change in updates alone, which are in later phases.
            Some(parameter) => unsafe { self.memory.parameters(parameter.offset, parameter.len()) },
            None => &[],
        }
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn panel_row_by_row(&self, parameter: usize, panel: usize, to: BufferId) {
        let parameter = &self.graph.parameters[parameter];
        let (rows, columns) = (parameter.rows, parameter.panel.unwrap_or(parameter.cols));
        // SAFETY: nobody writes parameters in this phase.
        let from =
            unsafe { self.memory.parameters(parameter.offset + panel * rows * columns, rows * columns) };
        for (row, from) in from.chunks_exact(columns).enumerate() {
            // SAFETY: the panel's columns are this tile's alone.
            let to = unsafe { self.memory.write(to, row * parameter.cols + panel * columns, columns) };
            to.copy_from_slice(from);
        }
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn custom_gradient(&self, job: &CustomGradient, member: usize) {
        let (custom, batch) = (job.custom, self.plan.batch);
        let Some(parameter) = custom.parameter.map(|index| &self.graph.parameters[index]) else { return };
        let function = self.graph.customs[custom.function].of::<T>();
        // SAFETY: nobody writes these buffers in this phase, and nobody else touches this parameter.
        unsafe {
            let x = self.memory.read(job.input, 0, batch * custom.inputs);
            let y = self.memory.read(job.output, 0, batch * custom.outputs);
            let d_y = self.memory.read(job.d_output, 0, batch * custom.outputs);
            let gradients = self.memory.gradients_mut(parameter.offset, parameter.len());
            let start = member * self.plan.workspace_len;
            let sums = self.memory.write(self.plan.workspace, start, parameter.len());
            sums.fill(T::zero());
            function.gradient(self.context, self.custom_parameters(custom), x, y, d_y, sums);
            for (gradient, &sum) in gradients.iter_mut().zip(&*sums) {
                *gradient = if self.accumulate { *gradient + sum } else { sum };
            }
        }
    }

    /// A task of a product over the whole batch; if it is a weight gradient, the update follows each tile of it.
    ///
    /// # Safety
    /// As [`Run::tile`].
    unsafe fn weight_or_whole(
        &self,
        p: &Product,
        tile: usize,
        member: usize,
        ready: &[Ready<T>],
        findings: &Findings,
    ) {
        if p.zeros {
            // SAFETY: passed on: the rows of C that a tile has are its alone.
            unsafe { self.with_zeros(p, tile, member, ready, findings) };
            return;
        }
        let plan = &p.plans[0];
        let (panel, task) = (tile / plan.tasks(), tile % plan.tasks());
        let Some(index) = p.update else {
            // SAFETY: passed on.
            unsafe { self.product(p, plan, None, (panel, task), member, None) };
            return;
        };
        let parameter = &self.graph.parameters[index];
        let first = parameter.offset + p.panels.map_or(0, |panels| panel * panels.c_step);
        let update = |row: usize, col: usize, tile: MatMut<'_, T>| {
            let (start, layout) = (first + row * p.c_row_stride + col, tile.layout());
            // SAFETY: the elements of the tile are this task's alone, and its view of their gradients ends here.
            if !unsafe { self.update_range(start, layout, &ready[parameter.group]) } {
                findings.finite.store(false, Ordering::Relaxed);
            }
        };
        // SAFETY: passed on.
        unsafe { self.product(p, plan, None, (panel, task), member, Some(&update)) };
    }

    /// A task of a panel of a product. In a chain, its rows are `rows` of the batch.
    ///
    /// # Safety
    /// As [`Run::tile`].
    unsafe fn product(
        &self,
        p: &Product,
        plan: &gemm::Plan,
        rows: Option<TileRows>,
        (panel, task): (usize, usize),
        member: usize,
        tile_function: Option<&TileFunction<'_, T>>,
    ) {
        let adds = self.accumulate && matches!(p.c, Place::Gradients(_));
        let (inputs, outputs) = (p.a_layout.cols, p.b_layout.cols);
        // A and C have a row for each sample, if there are rows to choose.
        let at = |place: Place, row: usize| {
            let offset = match (place, &rows) {
                (Place::Buffer(id), Some(rows)) => self.memory.start(id, rows, p.positions * row),
                _ => 0,
            };
            self.memory.pointer(place).wrapping_add(offset)
        };
        let workspace = self.memory.pointer(Place::Buffer(self.plan.workspace));
        let steps = p
            .panels
            .map(|Panels { columns, b_step, c_step }| (panel * columns, panel * b_step, panel * c_step));
        let (column, b_step, c_step) = steps.unwrap_or_default();
        let operands = Operands {
            a: at(p.a, inputs).cast_const(),
            a_row_stride: p.a_layout.row_stride,
            a_col_stride: p.a_layout.col_stride,
            b: self.memory.pointer(p.b).wrapping_add(b_step).cast_const(),
            b_row_stride: p.b_layout.row_stride,
            b_col_stride: p.b_layout.col_stride,
            c: at(p.c, outputs).wrapping_add(c_step),
            c_row_stride: p.c_row_stride as isize,
            c_col_stride: 1,
            alpha: T::one(),
            beta: if adds { T::one() } else { T::zero() },
            bias: match p.bias {
                Place::Null => std::ptr::null(),
                bias => self.memory.pointer(bias).wrapping_add(column).cast_const(),
            },
            activation: p.activation,
            derivative: p.derivative,
            saved: at(p.saved, outputs).cast_const(),
            saved_row_stride: outputs as isize,
            tile_function,
            workspace: workspace.wrapping_add(member * self.plan.workspace_len),
        };
        // SAFETY: the operands are the plan's buffers, as long as its layouts say; the workspace has room for the packing
        // buffers of any of its products for each member; the rest is the caller's promise.
        unsafe { plan.run(self.context, &operands, task) };
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn bias_gradient(&self, bias: BiasGradient, tile: usize, ready: &[Ready<T>], findings: &Findings) {
        let first = tile * BIAS_COLUMNS;
        let columns = BIAS_COLUMNS.min(bias.width - first);
        let start = bias.gradient + first;
        // SAFETY: nobody writes the gradient of the output in this phase; the columns are this tile's alone.
        unsafe {
            let (rows, row_stride) = (self.plan.batch * bias.positions, bias.width);
            let input = self.memory.read(bias.d_output, 0, rows * row_stride);
            let gradients = self.memory.gradients_mut(start, columns);
            let sums = |out| reduce::ColumnSums { input, rows, row_stride, first_column: first, out };
            if self.accumulate {
                let mut more = [T::zero(); BIAS_COLUMNS];
                T::run(self.context, sums(&mut more[..columns]));
                gradients.iter_mut().zip(more).for_each(|(gradient, sum)| *gradient += sum);
            } else {
                T::run(self.context, sums(gradients));
            }
            if bias.update && !self.update_range(start, one_row(columns), &ready[bias.group]) {
                findings.finite.store(false, Ordering::Relaxed);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one tile's slices")]
    fn loss(
        &self,
        first: usize,
        rows: usize,
        width: usize,
        y: &[T],
        targets: Option<&mut [T]>,
        losses: &mut [T],
        d: Option<&mut [T]>,
        findings: &Findings,
    ) -> Result<()> {
        let context = self.context;
        if let Some(index) = reduce::first_non_finite(context, y) {
            findings.output.fetch_min(first * width + index, Ordering::Relaxed);
        }
        // The gradient of the mean over the batch.
        let scale = if self.divisor == 0.0 { 0.0 } else { self.weight / self.divisor };
        let batch = Rows::scaled(width, scale);
        let Some(kind) = self.plan.loss else { return Ok(()) };
        let Some(targets) = targets else {
            let classes = &self.classes[first..first + rows];
            if self.count_correct {
                let mut best = [0; 64];
                for (y, classes) in y.chunks(64 * width).zip(classes.chunks(64)) {
                    let best = &mut best[..classes.len()];
                    reduce::argmax_rows(context, y, width, best)?;
                    let correct = best.iter().zip(classes).filter(|(a, b)| a == b).count();
                    findings.correct.fetch_add(correct, Ordering::Relaxed);
                }
            }
            return kind.of_classes(context, y, classes, self.loss_weights, batch, losses, d);
        };
        self.source.gather_values(context, &self.indices[first..first + rows], targets);
        kind.of_values(context, y, targets, self.loss_weights, batch, losses, d)
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn update(&self, tile: usize, ready: &[Ready<T>], findings: &Findings) {
        for (start, end, group) in pieces(&self.graph.dense, self.graph.tiles[tile]) {
            // SAFETY: the piece is this tile's alone.
            if !unsafe { self.update_range(start, one_row(end - start), &ready[group]) } {
                findings.finite.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Holds tile `tile` of a parameter's columns to its constraint.
    ///
    /// # Safety
    /// As [`Run::tile`].
    unsafe fn constrain(&self, parameter: usize, tile: usize) {
        let parameter = &self.graph.parameters[parameter];
        let Some(constraint) = parameter.constraint else { return };
        let (rows, cols) = parameter.norm_shape();
        let (first, layout) = match parameter.panel {
            Some(columns) => (tile * rows * columns, row_major(rows, columns)),
            None => {
                let first = tile * CONSTRAINT_COLUMNS;
                (first, Layout { cols: CONSTRAINT_COLUMNS.min(cols - first), ..row_major(rows, cols) })
            }
        };
        // SAFETY: the columns are this tile's alone; nothing else in this phase touches the parameters.
        let columns = unsafe { self.memory.flat(parameter.offset + first, layout, 0) }.parameters;
        update::constrain_columns(self.context, constraint, columns);
    }

    /// Updates the parameters from `start` on that `layout` says. False if something is not finite.
    ///
    /// # Safety
    /// No other thread touches them, or their gradients and states, meanwhile.
    pub(super) unsafe fn update_range(&self, start: usize, layout: Layout, ready: &Ready<T>) -> bool {
        // Whole rows that follow each other are one.
        let layout = if layout.row_stride.unsigned_abs() == layout.cols {
            one_row(layout.rows * layout.cols)
        } else {
            layout
        };
        // SAFETY: passed on; the engine made the states that the update has.
        let flat = unsafe { self.memory.flat(start, layout, ready.states()) };
        ready.run(self.context, flat.parameters, flat.gradients.as_ref(), flat.states)
    }
}

pub(super) fn one_row(cols: usize) -> Layout {
    Layout { rows: 1, cols, row_stride: 0, col_stride: 1 }
}

/// The pieces of `segments` in tile `tile` of the flat arrays, start, end and group, without the gaps between parameters: with an
/// epsilon of 0, Adam would make NaN of them.
pub(super) fn pieces(segments: &[Segment], tile: u32) -> impl Iterator<Item = (usize, usize, usize)> {
    let start = tile as usize * UPDATE_ELEMENTS;
    let end = start + UPDATE_ELEMENTS;
    let segments = &segments[segments.partition_point(|segment| segment.end <= start)..];
    let inside = segments.iter().take_while(move |segment| segment.start < end);
    inside.map(move |segment| (segment.start.max(start), segment.end.min(end), segment.group))
}
