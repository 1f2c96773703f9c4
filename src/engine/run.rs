//! Runs a plan: the leader goes from phase to phase, the team shares each phase's tiles.

use super::Loss;
use super::arena::{BufferId, Memory, Place};
use super::graph::Graph;
use super::plan::{BIAS_COLUMNS, BiasGradient, Phase, Plan, Product, UPDATE_ELEMENTS, Work};
use super::source::{BatchSource, TargetKind};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::gemm::driver::Operands;
use crate::kernel::loss::{CrossEntropy, Rows};
use crate::kernel::update::{self, AnyStep, Clip};
use crate::kernel::{Element, activation, loss, reduce, softmax};
use crate::parallel::{Team, Tile};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
    pub update: Option<&'a AnyStep>,
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
}

/// What a run leaves besides the flat arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<T> {
    /// The mean loss over the batch.
    pub loss: Option<T>,
    pub correct: usize,
    /// False if the update saw or wrote a NaN or infinity: the parameters or the optimiser's state are spoilt.
    pub finite: bool,
}

/// What the tiles of a run tell the leader.
struct Findings {
    /// The least index of an input that is not finite.
    input: AtomicUsize,
    /// The least index of an output that is not finite.
    output: AtomicUsize,
    correct: AtomicUsize,
    finite: AtomicBool,
}

const NONE: usize = usize::MAX;

impl<T: Element> Run<'_, T> {
    /// Runs all phases with `team`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for an input, an output or a loss, before anything is updated.
    pub(crate) fn run(&self, team: &Team<'_>) -> Result<Outcome<T>> {
        assert_eq!(self.indices.len(), self.plan.batch, "a plan is for one batch size");
        let findings = Findings {
            input: AtomicUsize::new(NONE),
            output: AtomicUsize::new(NONE),
            correct: AtomicUsize::new(0),
            finite: AtomicBool::new(true),
        };
        let (mut mean, mut update) = (None, None);
        for phase in &self.plan.phases {
            if matches!(phase.work, Work::Update) {
                if self.check_gradients {
                    self.check_all_gradients()?;
                }
                update = self.clipped(team, phase.tiles)?;
            }
            team.phase(phase.tiles, &|tile| {
                // SAFETY: phases run one after the other, and the tiles of each write disjoint elements, none of
                // which another tile of the phase reads; `Plan::new` gave buffers that live together their own place.
                unsafe { self.tile(phase, &tile, update.as_ref(), &findings) };
            });
            match phase.work {
                Work::Gather { input } => self.check_input(input, &findings)?,
                Work::Loss { losses, .. } => mean = Some(self.mean_loss(losses, &findings)?),
                _ => {}
            }
        }
        self.check_results()?;
        Ok(Outcome {
            loss: mean,
            correct: findings.correct.into_inner(),
            finite: findings.finite.into_inner(),
        })
    }

    fn non_finite(&self, what: &'static str, place: String, index: usize, value: T) -> Error {
        Error::NonFinite { what, place, step: self.step, index, value: value.to_f64() }
    }

    fn check_input(&self, input: BufferId, findings: &Findings) -> Result<()> {
        let index = findings.input.load(Ordering::Relaxed);
        if index == NONE {
            return Ok(());
        }
        // Not what the source says: it may say something else by now.
        let width = self.graph.width(self.graph.input);
        // SAFETY: between phases only the leader runs.
        let value = unsafe { self.memory.read(input, index, 1) }[0];
        let place = format!("sample {} (feature {})", self.indices[index / width], index % width);
        Err(self.non_finite("input", place, index % width, value))
    }

    /// The mean loss, if it and the outputs are finite; else the first place that is not.
    fn mean_loss(&self, losses: BufferId, findings: &Findings) -> Result<T> {
        // SAFETY: between phases only the leader runs.
        let losses = unsafe { self.memory.read(losses, 0, self.plan.batch) };
        let mean = reduce::mean(self.context, losses)?;
        if mean.is_finite() && findings.output.load(Ordering::Relaxed) == NONE {
            return Ok(mean);
        }
        for output in &self.plan.outputs {
            // SAFETY: as above; the forward buffers live until after the loss.
            let values = unsafe { self.memory.read(output.buffer, 0, self.plan.batch * output.width) };
            if let Some(index) = reduce::first_non_finite(self.context, values) {
                let place = format!("layer {}", self.graph.layers[output.layer]);
                return Err(self.non_finite("output", place, index, values[index]));
            }
        }
        Err(match reduce::first_non_finite(self.context, losses) {
            Some(index) => {
                let place = format!("sample {}", self.indices[index]);
                self.non_finite("loss", place, index, losses[index])
            }
            // Each is finite, their sum is not.
            None => self.non_finite("mean loss", "the batch".to_owned(), 0, mean),
        })
    }

    /// What a run without an update hands out is finite: outputs where there is no loss that tells, gradients where
    /// no update does.
    fn check_results(&self) -> Result<()> {
        if let (None, Some(output)) = (self.plan.loss, self.plan.outputs.last()) {
            // SAFETY: between phases only the leader runs; the last output lives to the end.
            let values = unsafe { self.memory.read(output.buffer, 0, self.plan.batch * output.width) };
            if let Some(index) = reduce::first_non_finite(self.context, values) {
                let sample = self.indices[index / output.width];
                let place = format!("layer {} (sample {sample})", self.graph.layers[output.layer]);
                return Err(self.non_finite("output", place, index % output.width, values[index]));
            }
        }
        let Some(d_input) = self.plan.d_input else { return Ok(()) };
        self.check_all_gradients()?;
        let width = self.graph.width(self.graph.input);
        // SAFETY: as above.
        let values = unsafe { self.memory.read(d_input, 0, self.plan.batch * width) };
        match reduce::first_non_finite(self.context, values) {
            None => Ok(()),
            Some(index) => {
                let place = format!("the input, sample {}", self.indices[index / width]);
                Err(self.non_finite("gradient", place, index % width, values[index]))
            }
        }
    }

    fn check_all_gradients(&self) -> Result<()> {
        for parameter in &self.graph.parameters {
            // SAFETY: between phases only the leader runs.
            let gradients = unsafe { self.memory.flat(parameter.offset, parameter.len(), 0) }.gradients;
            if let Some(index) = reduce::first_non_finite(self.context, gradients) {
                let place = format!("{} in layer {}", parameter.name, self.graph.layers[parameter.layer]);
                return Err(self.non_finite("gradient", place, index, gradients[index]));
            }
        }
        Ok(())
    }

    /// Runs one tile.
    ///
    /// # Safety
    /// Every phase before is done; each tile of this phase runs once; no two run with the same member at once.
    unsafe fn tile(&self, phase: &Phase, tile: &Tile, update: Option<&AnyStep>, findings: &Findings) {
        // Tiles that are cut by rows.
        let first = tile.index * phase.rows_per_tile;
        let rows = phase.rows_per_tile.min(self.plan.batch.saturating_sub(first));
        let (start, len) = (first * phase.row, rows * phase.row);
        let (context, memory) = (self.context, &self.memory);
        // SAFETY: the rows of a tile are its alone; buffers that a phase reads are written by none of its tiles.
        let done = unsafe {
            match &phase.work {
                Work::Gather { input } => {
                    let rows = &self.indices[first..first + rows];
                    let x = memory.write(*input, start, len);
                    self.source.gather_features(context, rows, x);
                    if let Some(index) = reduce::first_non_finite(context, x) {
                        findings.input.fetch_min(start + index, Ordering::Relaxed);
                    }
                    Ok(())
                }
                Work::Product { product, bias } => {
                    self.product(product, *bias, tile);
                    Ok(())
                }
                Work::Activation { activation, input, output } => {
                    let (x, y) = (memory.read(*input, start, len), memory.write(*output, start, len));
                    activation::forward(context, *activation, x, y)
                }
                Work::Softmax { input, output } => {
                    let (x, y) = (memory.read(*input, start, len), memory.write(*output, start, len));
                    softmax::forward(context, x, y, phase.row)
                }
                Work::Loss { output, targets, losses, d_output } => {
                    let y = memory.read(*output, start, len);
                    let losses = memory.write(*losses, first, rows);
                    let d = d_output.map(|d| memory.write(d, start, len));
                    let targets = targets.map(|id| memory.write(id, start, len));
                    self.loss(first, rows, phase.row, y, targets, losses, d, findings)
                }
                Work::ActivationBackward { activation, saved, d } => {
                    let (saved, d) = (memory.read(*saved, start, len), memory.write(*d, start, len));
                    activation::backward_in_place(context, *activation, saved, d)
                }
                Work::SoftmaxBackward { output, d_output, d_input } => {
                    let (y, d) = (memory.read(*output, start, len), memory.read(*d_output, start, len));
                    softmax::backward(context, y, d, memory.write(*d_input, start, len), phase.row)
                }
                Work::Update => self.update(tile.index, update, findings),
            }
        };
        // Shapes and steps were checked when plan and optimiser were made: what fails here is a bug of the plan.
        if let Err(error) = done {
            panic!("a plan's phase refused its own operands: {error}");
        }
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn product(&self, p: &Product, bias: Option<BiasGradient>, tile: &Tile) {
        let tiles = p.plan.tasks();
        if let Some(bias) = bias
            && tile.index >= tiles
        {
            let first = (tile.index - tiles) * BIAS_COLUMNS;
            let columns = BIAS_COLUMNS.min(bias.width - first);
            // SAFETY: nobody writes the gradient of the output in this phase; the columns are this tile's alone.
            unsafe {
                let d = self.memory.read(bias.d_output, 0, self.plan.batch * bias.width);
                let gradient = self.memory.flat(bias.gradient + first, columns, 0).gradients;
                let sums = reduce::ColumnSums {
                    input: d,
                    rows: self.plan.batch,
                    row_stride: bias.width,
                    first_column: first,
                    out: gradient,
                };
                T::run(self.context, sums);
            }
            return;
        }
        let at = |place: Place| self.memory.pointer(place).cast_const();
        let operands = Operands {
            a: at(p.a),
            a_row_stride: p.a_layout.row_stride,
            a_col_stride: p.a_layout.col_stride,
            b: at(p.b),
            b_row_stride: p.b_layout.row_stride,
            b_col_stride: p.b_layout.col_stride,
            c: self.memory.pointer(p.c),
            c_row_stride: p.b_layout.cols as isize,
            c_col_stride: 1,
            alpha: T::one(),
            beta: T::zero(),
            bias: at(p.bias),
            activation: p.activation,
            derivative: p.derivative,
            saved: at(p.saved),
            saved_row_stride: p.b_layout.cols as isize,
            tile_function: None,
            workspace: self.memory.pointer(p.workspace),
        };
        // SAFETY: the operands are the plan's buffers, as long as its layouts say; the rest is the caller's promise.
        unsafe { p.plan.run(self.context, &operands, tile.index, tile.member) };
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
        let batch = Rows::scaled(width, 1.0 / self.plan.batch as f64);
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
            let options = CrossEntropy::default();
            loss::cross_entropy_classes(context, y, classes, &options, batch, losses, d)?;
            return Ok(());
        };
        self.source.gather_values(context, &self.indices[first..first + rows], targets);
        let t = &*targets;
        match kind {
            Loss::MeanSquaredError => loss::mean_squared_error(context, y, t, batch, losses, d)?,
            Loss::CrossEntropy => {
                loss::cross_entropy_soft(context, y, t, &CrossEntropy::default(), batch, losses, d)?
            }
            Loss::BinaryCrossEntropy => {
                loss::binary_cross_entropy_logits(context, y, t, None, batch, losses, d)?
            }
        };
        Ok(())
    }

    /// The pieces of tile `tile` of the flat arrays, start and end, without the gaps between parameters: with an epsilon
    /// of 0, Adam would make NaN of them.
    fn pieces(&self, tile: usize) -> impl Iterator<Item = (usize, usize)> {
        let (start, end) = (tile * UPDATE_ELEMENTS, (tile + 1) * UPDATE_ELEMENTS);
        let segments = &self.graph.segments;
        let segments = &segments[segments.partition_point(|segment| segment.end <= start)..];
        let inside = segments.iter().take_while(move |segment| segment.start < end);
        inside.map(move |segment| (segment.start.max(start), segment.end.min(end)))
    }

    /// The update with the gradients bounded. The norm is summed by tiles of `UPDATE_ELEMENTS`, in their order, so its
    /// bits do not depend on the team.
    ///
    /// # Errors
    /// [`Error::NonFinite`] if there is a norm and it is not finite: nothing is updated.
    fn clipped(&self, team: &Team<'_>, tiles: usize) -> Result<Option<AnyStep>> {
        let Some(update) = self.update else { return Ok(None) };
        let limit = match self.clip {
            Clip::Value(limit) => return update.clip_value(limit).map(Some),
            Clip::Norm(limit) => limit,
            _ => return Ok(Some(*update)),
        };
        team.phase(tiles, &|tile| {
            let sum = self.tile_squares(tile.index, 1.0);
            self.squares[tile.index].store(sum.to_bits(), Ordering::Relaxed);
        });
        let sums = self.squares[..tiles].iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed)));
        let sum = sums.fold(0.0, |total, sum| total + sum);
        let norm = match update::other_scale(sum) {
            None => sum.sqrt(),
            Some(scale) => {
                let sums = (0..tiles).map(|tile| self.tile_squares(tile, scale));
                sums.fold(0.0, |total, sum| total + sum).sqrt() / scale
            }
        };
        if !norm.is_finite() {
            self.check_all_gradients()?;
            let place = "all parameters".to_owned();
            return Err(Error::NonFinite {
                what: "gradient norm",
                place,
                step: self.step,
                index: 0,
                value: norm,
            });
        }
        update.gradient_scale(update::norm_scale(norm, limit)).map(Some)
    }

    fn tile_squares(&self, tile: usize, scale: f64) -> f64 {
        let mut sum = 0.0;
        for (start, end) in self.pieces(tile) {
            // SAFETY: nobody writes gradients while they are summed, before the update.
            let gradients = unsafe { self.memory.flat(start, end - start, 0) }.gradients;
            sum += update::sum_squares(self.context, gradients, scale);
        }
        sum
    }

    /// # Safety
    /// As [`Run::tile`].
    unsafe fn update(&self, tile: usize, update: Option<&AnyStep>, findings: &Findings) -> Result<()> {
        let Some(update) = update else { return Ok(()) };
        for (start, end) in self.pieces(tile) {
            // SAFETY: the chunk is this tile's alone.
            let flat = unsafe { self.memory.flat(start, end - start, update.states()) };
            if !update.run(self.context, flat.parameters, flat.gradients, flat.states)? {
                findings.finite.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Loss {
    /// Whether the loss takes such targets for outputs of `width`.
    pub(crate) fn check(self, targets: Option<TargetKind>, width: usize) -> Result<()> {
        let refuse = |expected: String, got: String| Err(Error::data(self.name(), "targets", expected, got));
        match (self, targets) {
            (_, None) => refuse("classes or values".to_owned(), "none".to_owned()),
            (Self::CrossEntropy, Some(TargetKind::Classes(count))) if count > width => {
                refuse(format!("at most {width} classes, one per output"), format!("{count} classes"))
            }
            (Self::CrossEntropy, Some(TargetKind::Classes(_))) => Ok(()),
            (_, Some(TargetKind::Values(got))) if got != width => {
                refuse(format!("{width} values per sample, one per output"), got.to_string())
            }
            (_, Some(TargetKind::Values(_))) => Ok(()),
            (_, Some(TargetKind::Classes(_))) => {
                refuse(format!("{width} values per sample"), "classes".to_owned())
            }
        }
    }
}
