//! Makes a plan: forward, loss, then from the last stage to the first dX, with dW as soon as nothing has to wait for it.
//!
//! ```text
//! small weights   one chain: gather > forward stages > loss > every dX, some rows of the batch at a time
//!                 then one phase: every dW and bias gradient, each followed by its update where that fits in L2
//!                 several members, and a first weight in panels: that product is a phase of its own, by panels
//! large weights   a phase per product, cut into blocks of its result; dW with the dX of the layer before
//! ```
//!
//! A chain needs no meeting and its values stay in the cache, but each of its tiles reads all of its weights. So weights
//! are taken into a chain while all of them fit in half of an L2 cache.

use super::Task;
use super::arena::{BufferId, Buffers, Place};
use super::flow::Flow;
use super::function::{Needs, Pass};
use super::fuse::{self, Fusion, Stages};
use super::graph::{Graph, Parameter, Value};
use super::plan::{Chain, FunctionCall, Job, Link, Operation, Output, Phase, Plan, Product, Work};
use super::source::TargetKind;
use super::work::{count_work, threads_worth};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::gemm::plan as gemm;
use crate::kernel::gemm::view::Layout;
use crate::kernel::update::CONSTRAINT_COLUMNS;
use crate::simd::Caches;
use crate::tensor::AlignedBuffer;
use std::collections::VecDeque;
use std::sync::Arc;

/// Multiply-adds, or about as much other work, that a tile should have: a quarter of a microsecond.
const WORK_PER_TILE: f64 = 3e4;

/// Samples of a tile of a chain with functions, at least, if there are enough: products with fewer rows are slow.
const FEWEST_ROWS: usize = 4;

/// Tiles of a phase for each member, if there is work enough: who comes late or is slow holds nobody up for long.
const TILES_PER_MEMBER: usize = 2;

/// Multiply-adds of a chain that a member should have to be given more than a tile: about twenty microseconds. Below, the weights are read
/// once more for each tile, by products of few rows.
const WORK_PER_MEMBER: f64 = 1e6;

/// A plan while it is made.
pub(super) struct Maker<'a> {
    context: &'a Context,
    pub(super) graph: &'a Graph,
    pub(super) batch: usize,
    /// Threads that its tiles are cut for.
    width: usize,
    members: usize,
    pub(super) element: usize,
    pub(super) fusion: Fusion,
    /// Bytes of weights that a chain may have.
    chain_bytes: usize,
    /// Values that nobody takes any more are not kept.
    forgets: bool,
    pub(super) training: bool,
    phases: Vec<Phase>,
    /// The jobs of the phases before all others.
    pub(super) prepare: Vec<Vec<Job>>,
    pub(super) buffers: Buffers,
    /// Where each value is.
    pub(super) values: Vec<Option<BufferId>>,
    /// How many stages are still to take each value.
    pub(super) left: Vec<usize>,
    pub(super) flow: Flow,
    /// The functions that were called forward, and what they need.
    pub(super) calls: Vec<(Arc<FunctionCall>, Needs)>,
    /// Counts operations: buffers live from one to another.
    pub(super) now: usize,
    /// The chain that is being made.
    chain: Vec<Link>,
    /// When it began.
    chain_start: usize,
    chain_weights: Vec<usize>,
    chain_weight_bytes: usize,
    /// Weight gradients that can be computed in any phase from the next on; those that take several jobs, one phase after the other.
    pub(super) pending: Vec<VecDeque<Job>>,
    pub(super) workspace_len: usize,
    /// The batch.
    pub(super) input: Option<BufferId>,
    /// What a function has against such a batch.
    pub(super) refused: Option<Error>,
}

impl Plan {
    /// The plan of `task` for `graph` on `batch` samples, for a team of at most `members`.
    pub(crate) fn new<T: Element>(
        context: &Context,
        graph: &Graph,
        batch: usize,
        task: Task,
        members: usize,
        fusion: Fusion,
    ) -> Result<Self> {
        let stages = task_stages(graph, task, fusion);
        let flow = Flow::new(graph, &stages, task);
        let work = count_work(graph, batch, task);
        let mut maker = Maker {
            context,
            graph,
            batch,
            width: threads_worth(work).min(members),
            members,
            element: size_of::<T>(),
            fusion,
            chain_bytes: if fusion.chains { Caches::detect().l2 / 2 } else { 0 },
            forgets: task == Task::Predict,
            training: task.is_training(),
            phases: Vec::new(),
            prepare: Vec::new(),
            buffers: Buffers::default(),
            // What is prepared comes at the time 0.
            now: 1,
            values: vec![None; graph.forms.len()],
            left: stages.uses.clone(),
            flow,
            calls: Vec::new(),
            chain: Vec::new(),
            chain_start: 0,
            chain_weights: Vec::new(),
            chain_weight_bytes: 0,
            pending: Vec::new(),
            workspace_len: 0,
            input: None,
            refused: None,
        };
        maker.check_sizes::<T>()?;
        if task == Task::Apply {
            maker.update();
            maker.constrain();
            return maker.finish::<T>(task, Ends::default(), work);
        }
        let inputs = graph.width(graph.input);
        let input = maker.buffer(inputs);
        maker.input = Some(input);
        maker.link::<T>(Operation::Gather { input }, inputs, None, None);
        maker.values[stages.input.index] = Some(input);
        let mut outputs = Vec::with_capacity(stages.list.len());
        for (index, stage) in stages.list.iter().enumerate() {
            let buffer = maker.forward::<T>(index, stage);
            outputs.push(Output { layer: stage.layer, buffer, width: graph.width(stage.output) });
        }
        let (output, output_width) = (maker.at(stages.output), graph.width(stages.output));
        let mut ends = Ends { output: Some(output), output_width, outputs, ..Ends::default() };
        if let Some(loss) = task.loss() {
            loss.check(task.targets(), output_width)?;
            if let Some(TargetKind::Values(width)) = task.targets() {
                ends.target_width = width;
            }
            let targets = match task.targets() {
                Some(TargetKind::Values(width)) => Some(maker.buffer(width)),
                _ => None,
            };
            let losses = maker.buffer(1);
            let d_output = task.is_training().then(|| maker.buffer(output_width));
            // Read by the leader after the phase, if something is not finite.
            let read = ends.outputs.iter().map(|output| output.buffer).chain([input]);
            read.for_each(|id| maker.buffers.touch(id, maker.now));
            let loss = Operation::Loss { output, targets, losses, d_output };
            maker.link::<T>(loss, output_width, None, None);
            ends.d_output = d_output;
        } else if task == Task::Halves {
            maker.close_chain::<T>();
            ends.split = maker.phases.len();
            ends.d_output = Some(maker.buffer(output_width));
            // The outputs are the caller's to look at before that.
            maker.buffers.touch(output, maker.now);
        }
        if let Some(d_output) = ends.d_output {
            ends.d_input = maker.backward::<T>(&stages, d_output, task.wants_d_input());
            maker.flush::<T>();
            if task.updates() && !fusion.update {
                maker.update();
            }
            if task.updates() {
                maker.constrain();
            }
        }
        maker.close_chain::<T>();
        maker.finish::<T>(task, ends, work)
    }
}

/// What the caller of a plan reads and writes.
#[derive(Default)]
struct Ends {
    output: Option<BufferId>,
    output_width: usize,
    target_width: usize,
    outputs: Vec<Output>,
    d_output: Option<BufferId>,
    d_input: Option<BufferId>,
    split: usize,
}

fn task_stages(graph: &Graph, task: Task, fusion: Fusion) -> Stages {
    match task.loss() {
        Some(loss) => fuse::stages_before_loss(graph, loss, task.is_training(), fusion),
        None => fuse::stages(graph, graph.nodes.len(), task.is_training(), fusion),
    }
}

pub(super) fn row_major(rows: usize, cols: usize) -> Layout {
    Layout { rows, cols, row_stride: cols as isize, col_stride: 1 }
}

impl Maker<'_> {
    /// Where a value is.
    pub(super) fn at(&self, value: Value) -> BufferId {
        self.values[value.index].expect("a stage's inputs are computed before it")
    }

    /// The plan that was made.
    fn finish<T: Element>(mut self, task: Task, ends: Ends, work: f64) -> Result<Plan> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let end = self.now;
        let prepared = self.prepare.len();
        let prepare = std::mem::take(&mut self.prepare);
        let prepare = prepare.into_iter().map(|jobs| Phase::new(jobs, self.members));
        self.phases.splice(0..0, prepare.collect::<Vec<_>>());
        for id in [ends.output, ends.d_input].into_iter().flatten() {
            self.buffers.touch(id, end);
        }
        let workspace_len = self.workspace_len.next_multiple_of(16);
        let workspace = self.buffers.add(workspace_len * self.members, 0);
        self.buffers.touch(workspace, end);
        let (slots, arena_len) = self.buffers.assign(self.members)?;
        Ok(Plan {
            batch: self.batch,
            loss: task.loss().map(|loss| match fuse::ends_in_loss(self.graph, loss) {
                true => loss.on_logits(),
                false => loss,
            }),
            target_width: ends.target_width,
            phases: self.phases,
            slots,
            arena_len,
            members: self.members,
            workspace,
            workspace_len,
            gathered: self.input.filter(|_| ends.output != self.input),
            output: ends.output,
            output_width: ends.output_width,
            d_output: ends.d_output,
            d_input: ends.d_input,
            split: ends.split + prepared,
            outputs: ends.outputs,
            work,
            layers: self.graph.layers.clone(),
            fusion: self.fusion,
            element: size_of::<T>(),
            dense: self.graph.dense.iter().map(|segment| segment.end - segment.start).sum(),
        })
    }

    /// The update as a phase of its own.
    fn update(&mut self) {
        let mut jobs = vec![Job { work: Work::Update, tiles: self.graph.tiles.len(), layer: None }];
        let parameters = self.graph.parameters.iter().enumerate();
        let sparse = parameters.filter(|(_, p)| p.sparse.is_some() && !p.frozen);
        // How many rows there will be is not known.
        let tiles = TILES_PER_MEMBER * self.members;
        let rows = |(index, p): (usize, &Parameter)| Job {
            work: Work::UpdateRows(index),
            tiles,
            layer: Some(p.layer),
        };
        jobs.extend(sparse.map(rows));
        self.push(jobs);
    }

    /// What holds parameters to their constraints: a phase after all updates, since a norm is over several tiles of a gradient.
    fn constrain(&mut self) {
        let parameters = self.graph.parameters.iter().enumerate();
        let held = parameters.filter(|(_, p)| p.constraint.is_some() && !p.frozen && p.len() > 0);
        let job = |(index, p): (usize, &Parameter)| {
            let tiles = p.norm_shape().1.div_ceil(p.panel.unwrap_or(CONSTRAINT_COLUMNS));
            Job { work: Work::Constrain(index), tiles, layer: Some(p.layer) }
        };
        let jobs: Vec<Job> = held.map(job).collect();
        if !jobs.is_empty() {
            self.push(jobs);
        }
    }

    fn check_sizes<T: Element>(&self) -> Result<()> {
        let widest = self.graph.forms.iter().map(|form| form.len()).max().unwrap_or(0);
        self.batch
            .checked_mul(widest)
            .and_then(|len| len.checked_mul(16 * self.element))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or_else(|| Error::overflow("plan", format!("a batch of {} x {widest}", self.batch)))?;
        // A batch that memory cannot hold is refused before anything is made for it.
        // Looked at, or the compiler leaves out an allocation that nobody uses, and with it the refusal.
        AlignedBuffer::<T>::try_zeroed(self.batch * widest).map(|buffer| drop(std::hint::black_box(buffer)))
    }

    /// A buffer of so many elements per sample, live from the next operation.
    pub(super) fn buffer(&mut self, row: usize) -> BufferId {
        self.buffers.add(self.batch * row, self.now)
    }

    fn touch_call(&mut self, call: &FunctionCall) {
        let ids = call.inputs.iter().map(|input| input.0).chain([call.output.0]);
        let more = [call.kept, call.shared].into_iter().flatten().map(|buffer| buffer.0);
        let gradients = call.d_inputs.iter().copied().chain([call.d_output]).flatten();
        ids.chain(more).chain(gradients).for_each(|id| self.buffers.touch(id, self.now));
    }

    fn touch(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            if let Place::Buffer(id) = place {
                self.buffers.touch(id, self.now);
            }
        }
    }

    fn touch_operation(&mut self, operation: &Operation) {
        let ids = match operation {
            Operation::Product(p) => {
                self.touch([p.a, p.b, p.c, p.saved]);
                return;
            }
            Operation::Gather { input } => vec![*input],
            Operation::Loss { output, targets, losses, d_output } => {
                [Some(*output), *targets, Some(*losses), *d_output].into_iter().flatten().collect()
            }
            Operation::ActivationBackward { saved, d, .. } => vec![*saved, *d],
            Operation::SoftmaxBackward { output, d_output, d_input, .. } => {
                vec![*output, *d_output, *d_input]
            }
            Operation::Activation { input, output, .. }
            | Operation::Softmax { input, output, .. }
            | Operation::Noise { input, output, .. }
            | Operation::Custom { input, output, .. } => vec![*input, *output],
            Operation::NoiseBackward { d, .. } => vec![*d],
            Operation::Function { call, .. } => return self.touch_call(call),
            Operation::AddTo { from, to } => vec![*from, *to],
            Operation::Zero { buffer } => vec![*buffer],
            Operation::CustomBackward { input, output, d_output, d_input, .. } => {
                vec![*input, *output, *d_output, *d_input]
            }
        };
        ids.into_iter().for_each(|id| self.buffers.touch(id, self.now));
    }

    /// A phase of jobs that the whole team shares, at the time `now`.
    pub(super) fn push(&mut self, jobs: Vec<Job>) {
        for job in &jobs {
            match &job.work {
                Work::Product(p) => self.touch([p.a, p.b, p.c, p.saved]),
                Work::BiasGradient(bias) => self.buffers.touch(bias.d_output, self.now),
                Work::CustomGradient(custom) => {
                    self.touch([custom.input, custom.output, custom.d_output].map(Place::Buffer));
                }
                Work::Function(job) => self.touch_call(&job.call),
                Work::Chain(_)
                | Work::Rows { .. }
                | Work::Update
                | Work::UpdateRows(_)
                | Work::Constrain(_) => {}
            }
        }
        self.phases.push(Phase::new(jobs, self.members));
        self.buffers.close_phase(self.now, self.now);
        self.now += 1;
    }

    /// Adds an operation to the chain that is being made, or to a new one. `weight` is where its weights begin, and how
    /// many bytes they are.
    pub(super) fn link<T: Element>(
        &mut self,
        operation: Operation,
        row: usize,
        layer: Option<usize>,
        weight: Option<(usize, usize)>,
    ) {
        if let Some((at, bytes)) = weight
            && !self.chain_weights.contains(&at)
        {
            if self.chain_weight_bytes + bytes > self.chain_bytes {
                self.close_chain::<T>();
            }
            self.chain_weights.push(at);
            self.chain_weight_bytes += bytes;
        }
        if self.chain.is_empty() {
            self.chain_start = self.now;
        }
        self.touch_operation(&operation);
        self.chain.push(Link { operation, row, layer });
        self.now += 1;
        if !self.fusion.chains {
            self.close_chain::<T>();
        }
    }

    /// Ends the chain that is being made, if there is one.
    pub(super) fn close_chain<T: Element>(&mut self) {
        let mut links = std::mem::take(&mut self.chain);
        self.chain_weights.clear();
        self.chain_weight_bytes = 0;
        let Some((_, all_but_last)) = links.split_last() else { return };
        let rows = self.rows_per_tile(&links);
        if self.forgets {
            // What the last operation writes goes to the next phase, or to the caller; the inputs are looked at afterwards.
            for link in all_but_last {
                let gathers = matches!(link.operation, Operation::Gather { .. });
                let is_taken = |id: &BufferId| {
                    self.values.iter().zip(&self.left).any(|(at, &left)| *at == Some(*id) && left > 0)
                };
                if let Some(id) = link.operation.output().filter(|id| !gathers && !is_taken(id)) {
                    self.buffers.make_local(id, rows * self.row_of(link));
                }
            }
        }
        for link in &mut links {
            match &mut link.operation {
                Operation::Product(product) => {
                    let (whole, last) = (rows, self.batch % rows);
                    let counts = [whole, last];
                    for count in counts.into_iter().filter(|&count| count > 0) {
                        product.plans.push(self.gemm_plan::<T>(product, count * product.positions, 1));
                    }
                }
                Operation::Function { call, .. } => {
                    let scratch = call.scratch + rows * call.scratch_per_sample;
                    self.workspace_len = self.workspace_len.max(scratch);
                    if let Some((kept, row)) = call.kept.filter(|_| call.forgets) {
                        self.buffers.make_local(kept, rows * row);
                    }
                }
                _ => {}
            }
        }
        let tiles = self.batch.div_ceil(rows);
        let layer = match links.as_slice() {
            [link] => link.layer,
            _ => None,
        };
        let work = Work::Chain(Chain { links, rows_per_tile: rows });
        self.phases.push(Phase::new(vec![Job { work, tiles, layer }], self.members));
        self.buffers.close_phase(self.chain_start, self.now - 1);
    }

    /// Elements of a row of what a link writes.
    fn row_of(&self, link: &Link) -> usize {
        match &link.operation {
            Operation::Function { call, pass: Pass::Forward, .. } => call.output.1,
            _ => link.row,
        }
    }

    /// Rows of a tile of a chain.
    fn rows_per_tile(&self, links: &[Link]) -> usize {
        let work = |link: &Link| match &link.operation {
            Operation::Product(p) => (p.positions * p.b_layout.rows) as f64 * p.b_layout.cols as f64,
            Operation::Function { call, step: 0, .. } => call.work,
            _ => 8.0 * link.row as f64,
        };
        let work: f64 = links.iter().map(work).sum();
        // What a tile works on should stay in L2, with the weights.
        let bytes: usize = links.iter().map(|link| link.row).sum::<usize>().max(1) * self.element;
        let most = Caches::detect().l2 / 2 / bytes;
        let functions = links.iter().any(|link| matches!(link.operation, Operation::Function { .. }));
        if self.width == 1 {
            let most = most.max(if functions { FEWEST_ROWS } else { 64 });
            return self.batch.div_ceil(self.batch.div_ceil(most));
        }
        let least = (WORK_PER_TILE / work.max(1.0)).ceil() as usize;
        let each = work * self.batch as f64 / self.width as f64;
        let rows =
            self.batch.div_ceil(if each < WORK_PER_MEMBER { 1 } else { TILES_PER_MEMBER } * self.width);
        let rows = if functions { rows.min(most.max(FEWEST_ROWS)) } else { rows };
        rows.max(least).clamp(1, self.batch)
    }

    fn gemm_plan<T: Element>(&mut self, p: &Product, rows: usize, width: usize) -> gemm::Plan {
        let by_column = !matches!((p.bias, p.saved), (Place::Null, Place::Null));
        let cols = p.panels().1;
        let a = Layout { rows, ..p.a_layout };
        let b = Layout { cols, ..p.b_layout };
        let c = Layout { rows, cols, row_stride: p.c_row_stride as isize, col_stride: 1 };
        let shape = gemm::Shape { a, b, c, packed: false, by_column };
        let plan = gemm::Plan::new::<T>(self.context, &shape, width, None);
        self.workspace_len = self.workspace_len.max(plan.workspace_len());
        plan
    }

    /// A product over the whole batch as a job.
    pub(super) fn team_product<T: Element>(&mut self, mut product: Product, layer: usize) -> Job {
        let width = (product.multiply_adds() / (4.0 * WORK_PER_TILE)) as usize;
        let rows = product.a_layout.rows;
        let plan = self.gemm_plan::<T>(&product, rows, width.clamp(1, self.width));
        let tiles = if product.zeros { product.zeros_tiles() } else { product.panels().0 * plan.tasks() };
        product.plans.push(plan);
        Job { work: Work::Product(Box::new(product)), tiles, layer: Some(layer) }
    }

    /// Rows of the batch times all of a matrix: in the chain if that is small, else as a phase of its own, and what is
    /// pending with it.
    pub(super) fn rows_product<T: Element>(&mut self, product: Product, weight: usize, layer: usize) {
        let (rows, cols) = (product.b_layout.rows, product.b_layout.cols);
        let bytes = rows * cols * self.element;
        // A panel's member is the one that updates it.
        let owned = product.panels.is_some() && !product.zeros && self.fusion.update && self.width > 1;
        if bytes <= self.chain_bytes && !owned {
            let row = product.positions * cols;
            self.link::<T>(Operation::Product(Box::new(product)), row, Some(layer), Some((weight, bytes)));
            return;
        }
        self.close_chain::<T>();
        let job = self.team_product::<T>(product, layer);
        let mut jobs = self.take_pending();
        jobs.push(job);
        self.push(jobs);
    }

    /// The next job of everything that is pending.
    pub(super) fn take_pending(&mut self) -> Vec<Job> {
        let jobs = self.pending.iter_mut().filter_map(VecDeque::pop_front).collect();
        self.pending.retain(|jobs| !jobs.is_empty());
        jobs
    }

    /// Everything that is pending, in as many phases as it takes.
    fn flush<T: Element>(&mut self) {
        self.close_chain::<T>();
        while !self.pending.is_empty() {
            let jobs = self.take_pending();
            self.push(jobs);
        }
    }
}
