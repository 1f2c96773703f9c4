//! A plan: every buffer, kernel and tile of a step on one batch size, decided before the first step.
//!
//! ```text
//! gather -> forward stages -> loss -> for each stage, last to first: dW and db, then dX -> update
//! ```
//!
//! Each arrow is a meeting of the team. A phase's tiles write disjoint elements, so that who runs them does not
//! matter.

use super::arena::{BufferId, Buffers, Place};
use super::fuse::{self, Stage, StageKind};
use super::graph::Graph;
use super::source::TargetKind;
use super::{Loss, Task};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::activation::{Activation, Saved};
use crate::kernel::gemm::plan as gemm;
use crate::kernel::gemm::view::Layout;
use crate::parallel;
use crate::tensor::AlignedBuffer;
use std::fmt;

/// Multiply-adds of a step that a thread should have at least: below, meeting costs more than it saves.
const WORK_PER_THREAD: f64 = 2.5e5;

/// Elements that an elementwise tile has at least.
const TILE_ELEMENTS: usize = 4096;

/// Elements of the flat arrays that an update tile has.
pub(crate) const UPDATE_ELEMENTS: usize = 8192;

/// Columns of a bias gradient that a tile has.
pub(crate) const BIAS_COLUMNS: usize = 256;

/// One product of a plan, with its operands as places.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub plan: gemm::Plan,
    pub a: Place,
    pub a_layout: Layout,
    pub b: Place,
    pub b_layout: Layout,
    pub c: Place,
    pub bias: Place,
    pub activation: Activation,
    pub derivative: Activation,
    /// What the derivative is computed from.
    pub saved: Place,
    pub workspace: Place,
}

/// The sums of a bias gradient, as extra tiles of a product's last phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BiasGradient {
    pub d_output: BufferId,
    pub width: usize,
    pub gradient: usize,
}

/// What a phase does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Rows of the batch from the source, checked to be finite.
    Gather {
        input: BufferId,
    },
    /// A product, maybe with a bias gradient beside it.
    Product {
        product: Box<Product>,
        bias: Option<BiasGradient>,
    },
    Activation {
        activation: Activation,
        input: BufferId,
        output: BufferId,
    },
    Softmax {
        input: BufferId,
        output: BufferId,
    },
    /// Losses per sample and the gradient of their mean; only the losses if there is no `d_output`.
    Loss {
        output: BufferId,
        targets: Option<BufferId>,
        losses: BufferId,
        d_output: Option<BufferId>,
    },
    /// d *= f', in place.
    ActivationBackward {
        activation: Activation,
        saved: BufferId,
        d: BufferId,
    },
    SoftmaxBackward {
        output: BufferId,
        d_output: BufferId,
        d_input: BufferId,
    },
    /// The optimiser, over the flat arrays.
    Update,
}

/// A phase: its work, cut into tiles.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub work: Work,
    pub tiles: usize,
    /// Elements of a row, for phases that are cut by rows of the batch.
    pub row: usize,
    /// Rows of a tile, for phases that are cut by rows of the batch.
    pub rows_per_tile: usize,
    pub layer: Option<usize>,
}

/// A forward buffer and the layer that wrote it, for naming what is not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub layer: usize,
    pub buffer: BufferId,
    pub width: usize,
}

/// All phases of a step on one batch size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub batch: usize,
    pub loss: Option<Loss>,
    pub phases: Vec<Phase>,
    pub offsets: Vec<usize>,
    pub arena_len: usize,
    /// Members of the team that it has scratch memory for.
    pub members: usize,
    /// What the model puts out: logits, where a loss from logits follows.
    pub output: BufferId,
    pub output_width: usize,
    pub d_input: Option<BufferId>,
    /// The forward buffers that are still whole after the loss.
    pub outputs: Vec<Output>,
    /// Multiply-adds of all products.
    pub work: f64,
    layers: Vec<String>,
}

struct Maker<'a> {
    context: &'a Context,
    graph: &'a Graph,
    batch: usize,
    /// Threads that its tiles are cut for.
    width: usize,
    members: usize,
    element: usize,
    phases: Vec<Phase>,
    buffers: Buffers,
}

impl Plan {
    /// The plan of `task` for `graph` on `batch` samples, for a team of at most `members`.
    pub(crate) fn new<T: Element>(
        context: &Context,
        graph: &Graph,
        batch: usize,
        task: Task,
        members: usize,
    ) -> Result<Self> {
        let stages = task_stages(graph, task);
        let work = count_work(graph, &stages, batch, task);
        let mut maker = Maker {
            context,
            graph,
            batch,
            width: threads_worth(work).min(members),
            members,
            element: size_of::<T>(),
            phases: Vec::new(),
            buffers: Buffers::default(),
        };
        maker.check_sizes::<T>()?;
        let input = maker.buffer(graph.width(graph.input));
        maker.rows(Work::Gather { input }, graph.width(graph.input), None);
        let mut outputs = Vec::with_capacity(stages.len());
        let mut current = input;
        for stage in &stages {
            current = maker.forward::<T>(stage, current);
            outputs.push(Output { layer: stage.layer, buffer: current, width: graph.width(stage.output) });
        }
        let (output, output_width) =
            (current, stages.last().map_or(graph.width(graph.input), |stage| graph.width(stage.output)));
        let mut d_input = None;
        if let Some(loss) = task.loss() {
            loss.check(task.targets(), output_width)?;
            let targets = match task.targets() {
                Some(TargetKind::Values(width)) => Some(maker.buffer(width)),
                _ => None,
            };
            let losses = maker.buffer(1);
            let d_output = task.is_training().then(|| maker.buffer(output_width));
            maker.rows(Work::Loss { output, targets, losses, d_output }, output_width, None);
            let after_loss = maker.phases.len();
            maker.buffers.touch(losses, after_loss);
            for output in &outputs {
                maker.buffers.touch(output.buffer, after_loss);
            }
            maker.buffers.touch(input, after_loss);
            if let Some(d_output) = d_output {
                d_input = maker.backward::<T>(&stages, input, &outputs, d_output, task.wants_d_input());
                if task.updates() {
                    let tiles = graph.flat_len.div_ceil(UPDATE_ELEMENTS);
                    maker.push(Phase { work: Work::Update, tiles, row: 0, rows_per_tile: 0, layer: None });
                }
            }
        }
        let end = maker.phases.len();
        for id in [Some(output), d_input].into_iter().flatten() {
            maker.buffers.touch(id, end);
        }
        let (offsets, arena_len) = maker.buffers.assign()?;
        Ok(Self {
            batch,
            loss: task.loss(),
            phases: maker.phases,
            offsets,
            arena_len,
            members,
            output,
            output_width,
            d_input,
            outputs,
            work,
            layers: graph.layers.clone(),
        })
    }

    /// Where a buffer begins in the arena.
    pub(crate) fn offset(&self, id: BufferId) -> usize {
        id.within(&self.offsets)
    }
}

/// The most threads that `task` on `batch` samples may use and is worth.
pub(crate) fn width(context: &Context, graph: &Graph, batch: usize, task: Task) -> usize {
    let threads = threads_worth(count_work(graph, &task_stages(graph, task), batch, task));
    if threads == 1 { 1 } else { parallel::limit(context.parallelism()).min(threads) }
}

fn task_stages(graph: &Graph, task: Task) -> Vec<Stage> {
    match task.loss() {
        Some(loss) => fuse::stages_before_loss(graph, loss, task.is_training()),
        None => fuse::stages(&graph.nodes, false),
    }
}

fn count_work(graph: &Graph, stages: &[Stage], batch: usize, task: Task) -> f64 {
    let mut work = 0.0;
    for (index, stage) in stages.iter().enumerate() {
        let size = graph.width(stage.input) as f64 * graph.width(stage.output) as f64 * batch as f64;
        let products = match (stage.kind, task.is_training()) {
            (StageKind::Dense { .. }, false) => 1.0,
            (StageKind::Dense { .. }, true) if index == 0 && !task.wants_d_input() => 2.0,
            (StageKind::Dense { .. }, true) => 3.0,
            // About eight multiply-adds of work per element.
            _ => 8.0 / graph.width(stage.input).max(1) as f64,
        };
        work += products * size;
    }
    work
}

fn threads_worth(work: f64) -> usize {
    if work < 2.0 * WORK_PER_THREAD { 1 } else { (work / WORK_PER_THREAD) as usize }
}

fn row_major(rows: usize, cols: usize) -> Layout {
    Layout { rows, cols, row_stride: cols as isize, col_stride: 1 }
}

impl Maker<'_> {
    fn check_sizes<T: Element>(&self) -> Result<()> {
        let widest = self.graph.widths.iter().copied().max().unwrap_or(0);
        self.batch
            .checked_mul(widest)
            .and_then(|len| len.checked_mul(16 * self.element))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or_else(|| Error::overflow("plan", format!("a batch of {} x {widest}", self.batch)))?;
        // The number of phases grows with the batch: one that memory cannot hold is refused before they are made.
        // Looked at, or the compiler leaves out an allocation that nobody uses, and with it the refusal.
        AlignedBuffer::<T>::try_zeroed(self.batch * widest).map(|buffer| drop(std::hint::black_box(buffer)))
    }

    /// A buffer of so many elements per sample, live from the next phase.
    fn buffer(&mut self, width: usize) -> BufferId {
        let now = self.phases.len();
        self.buffers.add(self.batch * width, now)
    }

    fn push(&mut self, phase: Phase) {
        let now = self.phases.len();
        let mut live = Vec::new();
        match &phase.work {
            Work::Gather { input } => live.push(*input),
            Work::Product { product: p, bias, .. } => {
                for place in [p.a, p.b, p.c, p.saved, p.workspace] {
                    if let Place::Buffer(id) = place {
                        live.push(id);
                    }
                }
                live.extend(bias.map(|bias| bias.d_output));
            }
            Work::Activation { input, output, .. } | Work::Softmax { input, output } => {
                live.extend([*input, *output]);
            }
            Work::Loss { output, targets, losses, d_output } => {
                live.extend([Some(*output), *targets, Some(*losses), *d_output].into_iter().flatten());
            }
            Work::ActivationBackward { saved, d, .. } => live.extend([*saved, *d]),
            Work::SoftmaxBackward { output, d_output, d_input } => {
                live.extend([*output, *d_output, *d_input]);
            }
            Work::Update => {}
        }
        for id in live {
            self.buffers.touch(id, now);
        }
        self.phases.push(phase);
    }

    /// A phase that is cut by rows of the batch, each `row` elements wide.
    fn rows(&mut self, work: Work, row: usize, layer: Option<usize>) {
        let least = TILE_ELEMENTS.div_ceil(row.max(1));
        let rows_per_tile = if self.width == 1 {
            self.batch
        } else {
            self.batch.div_ceil(2 * self.width).max(least).min(self.batch)
        };
        let tiles = self.batch.div_ceil(rows_per_tile);
        self.push(Phase { work, tiles, row, rows_per_tile, layer });
    }

    /// The phase of a product; `bias` goes with it.
    fn product(&mut self, mut product: Product, layer: usize, bias: Option<BiasGradient>) {
        let workspace = product.plan.workspace_len() * self.members;
        if workspace > 0 {
            product.workspace = Place::Buffer(self.buffers.add(workspace, self.phases.len()));
        }
        let extra = bias.map_or(0, |bias| bias.width.div_ceil(BIAS_COLUMNS));
        let tiles = product.plan.tasks() + extra;
        let work = Work::Product { product: Box::new(product), bias };
        self.push(Phase { work, tiles, row: 0, rows_per_tile: 0, layer: Some(layer) });
    }

    fn make_product<T: Element>(&self, a: (Place, Layout), b: (Place, Layout), c: Place) -> Product {
        let shape =
            gemm::Shape { a: a.1, b: b.1, c: row_major(a.1.rows, b.1.cols), packed: false, by_column: true };
        Product {
            plan: gemm::Plan::new::<T>(self.context, &shape, self.width, None),
            a: a.0,
            a_layout: a.1,
            b: b.0,
            b_layout: b.1,
            c,
            bias: Place::Null,
            activation: Activation::Identity,
            derivative: Activation::Identity,
            saved: Place::Null,
            workspace: Place::Null,
        }
    }

    fn forward<T: Element>(&mut self, stage: &Stage, input: BufferId) -> BufferId {
        let (inputs, outputs) = (self.graph.width(stage.input), self.graph.width(stage.output));
        let output = self.buffer(outputs);
        match stage.kind {
            StageKind::Dense { weight, bias, activation } => {
                let w = &self.graph.parameters[weight.index];
                let a = (Place::Buffer(input), row_major(self.batch, inputs));
                let b = (Place::Parameters(w.offset), row_major(inputs, outputs));
                let mut product = self.make_product::<T>(a, b, Place::Buffer(output));
                if let Some(bias) = bias {
                    product.bias = Place::Parameters(self.graph.parameters[bias.index].offset);
                }
                product.activation = activation;
                self.product(product, stage.layer, None);
            }
            StageKind::Activation(activation) => {
                self.rows(Work::Activation { activation, input, output }, outputs, Some(stage.layer));
            }
            StageKind::Softmax => self.rows(Work::Softmax { input, output }, outputs, Some(stage.layer)),
        }
        output
    }

    /// The phases from the gradient `d` of the last output back to the first stage; the gradient of the input, if
    /// it is wanted.
    fn backward<T: Element>(
        &mut self,
        stages: &[Stage],
        input: BufferId,
        outputs: &[Output],
        mut d: BufferId,
        wants_d_input: bool,
    ) -> Option<BufferId> {
        // True while `d` is already the gradient of what the stage's activation was applied to.
        let mut before_activation = false;
        for (index, stage) in stages.iter().enumerate().rev() {
            let (inputs, width) = (self.graph.width(stage.input), self.graph.width(stage.output));
            let y = outputs[index].buffer;
            let wants_d = index > 0 || wants_d_input;
            let activation = stage.activation();
            if activation != Activation::Identity && !before_activation {
                let saved = saved(activation, index, input, outputs);
                self.rows(Work::ActivationBackward { activation, saved, d }, width, Some(stage.layer));
            }
            before_activation = false;
            match stage.kind {
                StageKind::Activation(_) => {}
                StageKind::Softmax => {
                    let d_input = self.buffer(width);
                    let work = Work::SoftmaxBackward { output: y, d_output: d, d_input };
                    self.rows(work, width, Some(stage.layer));
                    d = d_input;
                }
                StageKind::Dense { weight, bias, .. } => {
                    let x = if index == 0 { input } else { outputs[index - 1].buffer };
                    let w = self.graph.parameters[weight.index].offset;
                    let d_layout = row_major(self.batch, width);
                    let a = (Place::Buffer(x), row_major(self.batch, inputs).transposed());
                    let product =
                        self.make_product::<T>(a, (Place::Buffer(d), d_layout), Place::Gradients(w));
                    let bias = bias.map(|id| BiasGradient {
                        d_output: d,
                        width,
                        gradient: self.graph.parameters[id.index].offset,
                    });
                    self.product(product, stage.layer, bias);
                    if wants_d {
                        let dx = self.buffer(inputs);
                        let b = (Place::Parameters(w), row_major(inputs, width).transposed());
                        let mut product =
                            self.make_product::<T>((Place::Buffer(d), d_layout), b, Place::Buffer(dx));
                        if index > 0 {
                            product.derivative = stages[index - 1].activation();
                            if product.derivative != Activation::Identity {
                                let saved = saved(product.derivative, index - 1, input, outputs);
                                product.saved = Place::Buffer(saved);
                                before_activation = true;
                            }
                        }
                        self.product(product, stage.layer, None);
                        d = dx;
                    }
                }
            }
        }
        wants_d_input.then_some(d)
    }
}

/// What the derivative of the activation that ends stage `index` is computed from.
fn saved(activation: Activation, index: usize, input: BufferId, outputs: &[Output]) -> BufferId {
    match (activation.saved(), index) {
        (Saved::Output, _) => outputs[index].buffer,
        // Then the activation is a stage of its own: see the rules.
        (Saved::Input, 0) => input,
        (Saved::Input, _) => outputs[index - 1].buffer,
    }
}

impl fmt::Display for Plan {
    /// One line per phase: what, for which layer, in how many tiles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "batch {}, {} members, arena {} elements, {:.3} M multiply-adds",
            self.batch,
            self.members,
            self.arena_len,
            self.work / 1e6
        )?;
        for (index, phase) in self.phases.iter().enumerate() {
            let what = match &phase.work {
                Work::Gather { .. } => "gather".to_owned(),
                Work::Product { product: p, bias } => {
                    let mut text =
                        format!("product {} x {} x {}", p.a_layout.rows, p.b_layout.cols, p.a_layout.cols);
                    if matches!(p.bias, Place::Parameters(_)) {
                        text += " + bias";
                    }
                    if p.activation != Activation::Identity {
                        text += &format!(", {}", p.activation);
                    }
                    if p.derivative != Activation::Identity {
                        text += &format!(", times the derivative of {}", p.derivative);
                    }
                    if bias.is_some() {
                        text += ", bias gradient";
                    }
                    text
                }
                Work::Activation { activation, .. } => activation.to_string(),
                Work::Softmax { .. } => "softmax".to_owned(),
                Work::Loss { d_output, .. } => {
                    let with = if d_output.is_some() { " and its gradient" } else { "" };
                    format!("{}{with}", self.loss.map_or("loss", Loss::name))
                }
                Work::ActivationBackward { activation, .. } => format!("derivative of {activation}"),
                Work::SoftmaxBackward { .. } => "softmax backward".to_owned(),
                Work::Update => "update".to_owned(),
            };
            let layer = phase.layer.map_or("", |layer| self.layers[layer].as_str());
            writeln!(f, "{index:3}  {what:<60} {:4} tiles  {layer}", phase.tiles)?;
        }
        Ok(())
    }
}
