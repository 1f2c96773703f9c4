//! The engine: layers describe, the engine plans, the plan runs.
//!
//! ```text
//! graph   operations on values, parameters in one flat arena    (layers lower to it)
//! function  operations with kernels, memory and steps of their own; invoke calls them
//! fuse    operations -> stages, by rules that stand in one place
//! lower   stages -> operations, forward and backward
//! maker   operations -> a plan
//! plan    phases, jobs, tiles, buffers, for one batch size and task
//! arena   buffers by lifetime; the pointers that a team shares
//! run     the leader goes through the phases, the team shares each one's tiles
//! ```

#[allow(unsafe_code, reason = "a team shares the flat arrays through pointers")]
mod arena;
mod builder;
#[allow(unsafe_code, reason = "the leader reads the shared arrays between phases")]
mod check;
mod cost;
mod custom;
mod findings;
mod flow;
mod form;
mod function;
pub(crate) mod functions;
mod fuse;
mod graph;
mod init;
#[allow(unsafe_code, reason = "functions get their slices of the shared arrays")]
mod invoke;
mod loss;
mod lower;
mod lower_function;
mod maker;
mod mask;
mod noise;
mod operations;
mod panels;
mod plan;
#[allow(unsafe_code, reason = "tiles take their slices of the shared arrays")]
mod run;
#[allow(unsafe_code, reason = "tiles take their slices of the shared arrays")]
mod skip;
mod source;
mod state;
mod touched;
mod weights;
mod work;

pub use builder::Builder;
pub use custom::RowFunction;
pub(crate) use form::{Form, places};
pub(crate) use function::MOST_INPUTS;
pub(crate) use functions::conv::Conv;
pub(crate) use functions::{norm::BatchNorm, norm_group::GroupNorm, norm_rows::RowNorm};
pub use fuse::Fusion;
use graph::Op;
pub(crate) use graph::{Graph, Parameter};
pub use graph::{ParameterId, Value};
pub use init::{Fan, Init};
pub use loss::Loss;
pub(crate) use loss::Outputs;
pub(crate) use operations::show;
pub(crate) use run::Outcome;
pub use source::{BatchSource, TargetKind};
pub(crate) use state::Arrays;
pub(crate) use weights::LossWeights;
pub use weights::WeightedMean;

use crate::context::{Context, Parallelism};
use crate::environment;
use crate::error::{Error, Result};
use crate::kernel::gemm::zeros;
use crate::kernel::update::{AnyStep, Clip, Ready};
use crate::kernel::{Element, reduce};
use crate::parallel::Team;
use crate::simd::Caches;
use crate::tensor::AlignedBuffer;
use arena::Memory;
use plan::{Plan, UPDATE_ELEMENTS};
use run::Run;
use std::sync::atomic::AtomicU64;
use touched::Touched;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    /// Forward only.
    Predict,
    /// Forward and loss.
    Evaluate(Loss, TargetKind),
    /// Forward, loss and gradients; maybe that of the input too.
    Gradients(Loss, TargetKind, bool),
    /// All, and the update.
    Train(Loss, TargetKind),
    /// Forward, as in training; then backward from a gradient of the outputs that the caller has.
    Halves,
    /// The update alone.
    Apply,
}

impl Task {
    fn loss(self) -> Option<Loss> {
        match self {
            Self::Predict | Self::Halves | Self::Apply => None,
            Self::Evaluate(loss, _) | Self::Gradients(loss, ..) | Self::Train(loss, _) => Some(loss),
        }
    }

    fn targets(self) -> Option<TargetKind> {
        match self {
            Self::Predict | Self::Halves | Self::Apply => None,
            Self::Evaluate(_, kind) | Self::Gradients(_, kind, _) | Self::Train(_, kind) => Some(kind),
        }
    }

    fn is_training(self) -> bool {
        matches!(self, Self::Gradients(..) | Self::Train(..) | Self::Halves)
    }

    fn updates(self) -> bool {
        matches!(self, Self::Train(..) | Self::Apply)
    }

    fn wants_d_input(self) -> bool {
        matches!(self, Self::Gradients(.., true) | Self::Halves)
    }
}

/// What to run, on which samples.
pub(crate) struct Call<'a, T: Element> {
    pub task: Task,
    pub source: &'a dyn BatchSource<T>,
    pub indices: &'a [usize],
    /// What the optimiser does with the parameters of a group.
    pub update: Option<&'a dyn Fn(usize) -> Result<AnyStep>>,
    pub count_correct: bool,
    /// The gradients of the loss are multiplied by it.
    pub weight: f64,
    /// How many batches were accumulated before: gradients are added to theirs.
    pub accumulated: usize,
    /// The half of [`Task::Halves`].
    pub half: Half<'a, T>,
    /// The seconds of each phase are added to these.
    pub seconds: Option<&'a mut [f64]>,
}

/// Which phases of a plan to run.
#[derive(Clone, Copy)]
pub(crate) enum Half<'a, T> {
    /// All.
    Both,
    /// Those before the gradient of the outputs.
    Forward,
    /// Those after it, from this one.
    Backward(&'a [T]),
}

impl<'a, T: Element> Call<'a, T> {
    /// All of `task`.
    pub(crate) fn new(task: Task, source: &'a dyn BatchSource<T>, indices: &'a [usize]) -> Self {
        Self {
            task,
            source,
            indices,
            update: None,
            count_correct: false,
            weight: 1.0,
            accumulated: 0,
            half: Half::Both,
            seconds: None,
        }
    }
}

/// Elements of the flat arrays from which the update is fused with the weight gradients: below, one pass over all of them
/// costs less than a call for each parameter. (Not measured by itself.)
const FUSES_FROM: usize = 2048;

/// Samples whose zeros are counted when a plan is made.
const SAMPLES: usize = 16;

/// Whether the inputs of some of the samples `indices` are zeros so often that skipping them pays.
fn many_zeros<T: Element>(context: &Context, source: &dyn BatchSource<T>, indices: &[usize]) -> Result<bool> {
    let looked_at = indices.len().min(SAMPLES);
    let mut inputs = AlignedBuffer::try_zeroed(source.features())?;
    let mut zeros = 0;
    for at in 0..looked_at {
        // Spread over the batch.
        let index = indices[at * indices.len() / looked_at];
        source.gather_features(context, &[index], &mut inputs);
        zeros += inputs.iter().filter(|&&input| input == T::zero()).count();
    }
    Ok(zeros as f64 >= zeros::WORTH * (looked_at * inputs.len()) as f64)
}

/// Plans that are kept: whole and last batch, for training and for evaluation, with room for a few more.
const PLANS: usize = 8;

/// A model's numbers and plans.
#[derive(Debug)]
pub(crate) struct Engine<T: Element> {
    context: Context,
    graph: Graph,
    parameters: AlignedBuffer<T>,
    gradients: AlignedBuffer<T>,
    /// The optimiser's, as many as it needs; the others are empty.
    states: [AlignedBuffer<T>; AnyStep::STATES],
    arena: AlignedBuffer<T>,
    classes: Vec<u32>,
    /// The most recently used first.
    plans: Vec<(Task, Plan)>,
    /// Which fusions plans have.
    fusion: Fusion,
    /// The samples that were looked at last hold many zeros.
    many_zeros: bool,
    /// What the optimiser does in this step, for each group.
    updates: Vec<AnyStep>,
    /// The same, ready to run.
    ready: Vec<Ready<T>>,
    /// A forward half was the last to run: its samples, and the members of its team.
    forwarded: Option<(usize, usize)>,
    /// Steps taken.
    steps: u64,
    /// The step that spoilt the parameters, and the parameter that was found first.
    poisoned: Option<(u64, String)>,
    /// Look at every gradient before each update.
    pub(crate) check_gradients: bool,
    /// How gradients are bounded before each update.
    pub(crate) clip: Clip,
    /// What noise is drawn from.
    pub(crate) seed: u64,
    /// How much classes count in the loss.
    pub(crate) loss_weights: LossWeights<T>,
    /// The sum of squares of each tile of the gradients, as bits.
    squares: Vec<AtomicU64>,
    /// The rows in which sparse gradients are not zero.
    touched: Touched,
}

impl<T: Element> Engine<T> {
    pub(crate) fn new(context: Context, graph: Graph) -> Result<Self> {
        Ok(Self {
            context,
            parameters: AlignedBuffer::try_zeroed(graph.flat_len)?,
            gradients: AlignedBuffer::try_zeroed(0)?,
            states: Default::default(),
            arena: AlignedBuffer::try_zeroed(0)?,
            classes: Vec::new(),
            plans: Vec::new(),
            fusion: Fusion::default(),
            many_zeros: false,
            updates: Vec::new(),
            ready: Vec::new(),
            forwarded: None,
            steps: 0,
            poisoned: None,
            check_gradients: false,
            clip: Clip::Off,
            seed: 0,
            loss_weights: LossWeights::default(),
            squares: Vec::new(),
            touched: Touched::default(),
            graph,
        })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn parameters(&self, parameter: &Parameter) -> &[T] {
        &self.parameters[parameter.range()]
    }

    /// The gradients of the last step; `None` before the first.
    pub(crate) fn gradients(&self, parameter: &Parameter) -> Option<&[T]> {
        self.gradients.get(parameter.range())
    }

    /// An optimiser state; `None` before the first step, and for one that the optimiser does not have.
    pub(crate) fn state(&self, parameter: &Parameter, index: usize) -> Option<&[T]> {
        self.states.get(index)?.get(parameter.range())
    }

    /// Overwrites a parameter. The caller hands finite values; with them a spoilt model is usable again once no
    /// parameter is NaN or infinite.
    pub(crate) fn write_parameter(&mut self, index: usize, values: impl IntoIterator<Item = T>) {
        // A backward half would mix the old and the new ones.
        self.forwarded = None;
        let range = self.graph.parameters[index].range();
        for (to, from) in self.parameters[range].iter_mut().zip(values) {
            *to = from;
        }
        self.mend();
    }

    /// Makes a spoilt model usable again if no parameter is NaN or infinite any more.
    fn mend(&mut self) {
        if self.poisoned.is_some() && reduce::first_non_finite(&self.context, &self.parameters).is_none() {
            self.poisoned = None;
            self.forget_optimiser();
        }
    }

    /// Begins the optimiser anew: no steps taken, no state.
    pub(crate) fn forget_optimiser(&mut self) {
        self.steps = 0;
        self.states = Default::default();
    }

    /// The most threads that a task on `batch` samples is worth.
    pub(crate) fn width(&self, task: Task, batch: usize) -> usize {
        let touched = self.touched.elements(&self.graph);
        work::width(&self.context, &self.graph, batch, task, touched)
    }

    /// True if the last operation is the one that `loss` takes as part of itself.
    pub(crate) fn ends_in_loss(&self, loss: Loss) -> bool {
        fuse::ends_in_loss(&self.graph, loss)
    }

    /// Which fusions plans have from now on.
    pub(crate) fn set_fusion(&mut self, fusion: Fusion) {
        self.fusion = fusion;
        self.forwarded = None;
    }

    /// What the phases of a plan do, their multiply-adds, and the bytes that they move, with so many states.
    pub(crate) fn phases(
        &mut self,
        task: Task,
        batch: usize,
        members: usize,
        states: usize,
    ) -> Result<Vec<(String, f64, f64)>> {
        let index = self.plan(task, batch, members, None)?;
        let plan = &self.plans[index].1;
        let describe = |phase| (plan.describe(phase), plan.multiply_adds(phase), plan.bytes(phase, states));
        Ok(plan.phases.iter().map(describe).collect())
    }

    /// The plan as text, for an optimiser of so many states: phases, fusions, tiles, what is computed and moved.
    pub(crate) fn explain(&mut self, task: Task, batch: usize, states: usize) -> Result<String> {
        let members = self.width(task, batch);
        self.plan(task, batch, members, None).map(|index| self.plans[index].1.explain(states))
    }

    /// The index of the plan of `task` on `batch` samples for a team of `members`, made if need be; for a new one `samples` are
    /// looked at.
    fn plan(
        &mut self,
        task: Task,
        batch: usize,
        members: usize,
        samples: Option<(&dyn BatchSource<T>, &[usize])>,
    ) -> Result<usize> {
        // What looks at all gradients before the update leaves no room for it in their products.
        let looks = self.check_gradients || matches!(self.clip, Clip::Norm(_));
        // The arrays of an Adam.
        let bytes = self.graph.dense_len().saturating_mul(4 * size_of::<T>());
        // A function of the user's may panic, and must not leave half of an update.
        let customs =
            self.graph.nodes.iter().any(|node| matches!(node.op, Op::Custom { parameter: Some(_), .. }));
        let worth = !customs
            && self.graph.flat_len >= FUSES_FROM
            && bytes <= Caches::detect().l2.saturating_mul(members);
        let update = self.fusion.update && task.updates() && !looks && worth;
        let fusion = Fusion { update, zeros: self.fusion.zeros && self.many_zeros, ..self.fusion };
        let fits = |(t, plan): &(Task, Plan)| {
            *t == task && plan.batch == batch && plan.members == members && plan.fusion == fusion
        };
        let mut found = self.plans.iter().position(fits);
        // A new plan: for samples like these.
        if let (None, Some((source, indices))) = (found, samples)
            && self.fusion.zeros
            && self.graph.begins_dense()
        {
            self.many_zeros = many_zeros(&self.context, source, indices)?;
            if self.many_zeros != fusion.zeros {
                return self.plan(task, batch, members, None);
            }
        }
        if let Some(index) = found.take() {
            self.plans[..=index].rotate_right(1);
            return Ok(0);
        }
        // What a forward half left may move.
        self.forwarded = None;
        let plan = Plan::new::<T>(&self.context, &self.graph, batch, task, members, fusion)?;
        if plan.arena_len > self.arena.len() {
            self.arena = AlignedBuffer::try_zeroed(plan.arena_len)?;
        }
        if task.is_training() && self.gradients.len() < self.graph.flat_len {
            let touched = Touched::new(&self.graph)?;
            self.gradients = AlignedBuffer::try_zeroed(self.graph.flat_len)?;
            self.touched = touched;
        }
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, (task, plan));
        Ok(0)
    }

    /// Runs a task as part of `team`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] names what is NaN or infinite, where, and in which step; nothing was updated unless it
    /// is a gradient, and then the model refuses further steps ([`Error::Poisoned`]). [`Error::Environment`] if this
    /// thread computes otherwise than the bits are promised for.
    pub(crate) fn run(&mut self, team: &Team<'_>, call: Call<'_, T>) -> Result<Outcome<T>> {
        let Call { task, source, indices, .. } = call;
        environment::check("run")?;
        if let Some((step, place)) = &self.poisoned {
            return Err(Error::Poisoned { step: *step, place: place.clone() });
        }
        let samples = (!indices.is_empty()).then_some((source, indices));
        let index = self.plan(task, indices.len(), team.width(), samples)?;
        let forwarded = self.forwarded.take();
        if matches!(call.half, Half::Backward(_)) && forwarded.is_none() {
            let what = "the forward pass that it follows was for another plan: call forward again";
            return Err(Error::State { operation: "backward", what });
        }
        self.updates.clear();
        if let Some(update) = call.update {
            for group in 0..self.graph.groups.max(1) {
                let update = update(group)?;
                self.updates.push(match self.clip {
                    Clip::Value(limit) => update.clip_value(limit)?,
                    _ => update,
                });
            }
            let states = self.updates.iter().map(AnyStep::states).max().unwrap_or(0);
            for (index, state) in self.states[..states].iter_mut().enumerate() {
                if state.len() < self.graph.flat_len {
                    *state = AlignedBuffer::try_zeroed(self.graph.flat_len)?;
                    // The first step begins the state of all rows, but for those that it does not touch.
                    for parameter in self.graph.parameters.iter().filter(|p| p.sparse.is_some()) {
                        let first = self.updates[parameter.group].first_state(index);
                        // Zeros are there, and rows that no batch has need no memory.
                        if first != 0.0 {
                            state[parameter.range()].fill(T::from_f64(first));
                        }
                    }
                }
            }
            if matches!(self.clip, Clip::Norm(_)) {
                self.squares.resize_with(self.graph.flat_len.div_ceil(UPDATE_ELEMENTS), AtomicU64::default);
            }
        }
        self.gather_classes(task, source, indices)?;
        let plan = &self.plans[index].1;
        if let (Half::Backward(d), Some(id)) = (call.half, plan.d_output) {
            let start = plan.offset(id);
            self.arena[start..start + d.len()].copy_from_slice(d);
        }
        // The backward half reads what the forward half has left in the arena.
        let lent = match (call.half, plan.gathered) {
            (Half::Both, Some(_)) => source.rows(indices),
            _ => None,
        };
        let expected = indices.len() * self.graph.width(self.graph.input);
        if let Some(rows) = lent.filter(|rows| rows.len() != expected) {
            return Err(Error::data("batch", "elements of the source's rows", expected, rows.len()));
        }
        let step = if task.updates() { self.steps + 1 } else { 0 };
        // The team shares out the tiles, so a tile's kernels stay on their thread.
        let context = self.context.with_parallelism(Parallelism::Serial);
        let run = Run {
            context: &context,
            graph: &self.graph,
            plan,
            memory: Memory::new(
                &mut self.arena,
                &plan.slots,
                &mut self.parameters,
                &mut self.gradients,
                &mut self.states,
            )
            .lend(plan.gathered, lent),
            source,
            indices,
            classes: &self.classes,
            loss_weights: &self.loss_weights,
            divisor: self.loss_weights.divisor(task.loss(), task.targets(), &self.classes, indices.len()),
            updates: &self.updates,
            check_gradients: self.check_gradients,
            clip: self.clip,
            squares: &self.squares,
            step,
            count_correct: call.count_correct,
            weight: call.weight,
            accumulate: call.accumulated > 0,
            dropout: [self.seed, self.steps, call.accumulated as u64],
            phases: match call.half {
                Half::Both => 0..plan.phases.len(),
                Half::Forward => 0..plan.split,
                Half::Backward(_) => plan.split..plan.phases.len(),
            },
        };
        #[cfg(feature = "tracing")]
        let _span = tracing::trace_span!("run", task = ?task, samples = indices.len(), step).entered();
        let outcome = run.run(team, &mut self.ready, &mut self.touched, call.seconds)?;
        if matches!(call.half, Half::Forward) {
            self.forwarded = Some((indices.len(), team.width()));
        }
        if task.updates() {
            self.steps = step;
            if !outcome.finite {
                return Err(self.poison(step));
            }
        }
        Ok(outcome)
    }

    /// The samples and the members of the team of the forward half that was run last, if nothing has been run since.
    pub(crate) fn forwarded(&self) -> Option<(usize, usize)> {
        self.forwarded
    }

    fn gather_classes(&mut self, task: Task, source: &dyn BatchSource<T>, indices: &[usize]) -> Result<()> {
        self.classes.clear();
        let Some(TargetKind::Classes(count)) = task.targets() else { return Ok(()) };
        self.classes.resize(indices.len(), 0);
        source.gather_classes(indices, &mut self.classes);
        // The source is the user's: what it says is checked before a kernel relies on it.
        match self.classes.iter().position(|&class| class as usize >= count) {
            None => Ok(()),
            Some(at) => {
                let what = format!("class of sample {}", indices[at]);
                Err(Error::data("batch", what, format_args!("below {count}"), self.classes[at]))
            }
        }
    }

    /// How much some samples count together in a mean: their number, or the sum of their weights.
    pub(crate) fn weight_of(
        &mut self,
        task: Task,
        source: &dyn BatchSource<T>,
        indices: &[usize],
    ) -> Result<f64> {
        if self.loss_weights.classes().is_none() {
            return Ok(indices.len() as f64);
        }
        self.gather_classes(task, source, indices)?;
        Ok(self.loss_weights.divisor(task.loss(), task.targets(), &self.classes, indices.len()))
    }

    /// Freezes parameters, trains them again, puts them into another of the optimiser's groups, or constrains them.
    pub(crate) fn change_parameters(&mut self, change: impl FnOnce(&mut [Parameter])) {
        change(&mut self.graph.parameters);
        self.graph.find_segments();
        // They say which gradients are computed, and which update follows.
        self.plans.clear();
        self.forwarded = None;
    }

    /// The outputs of the last [`run`](Self::run), row by row.
    pub(crate) fn output(&self) -> &[T] {
        let output = |plan: &Plan| Some(self.buffer(plan, plan.output?, plan.output_width));
        self.plans.first().and_then(|(_, plan)| output(plan)).unwrap_or(&[])
    }

    /// The gradient of the input of the last [`run`](Self::run), if it was asked for.
    pub(crate) fn d_input(&self) -> Option<&[T]> {
        let (_, plan) = self.plans.first()?;
        Some(self.buffer(plan, plan.d_input?, self.graph.width(self.graph.input)))
    }

    fn buffer(&self, plan: &Plan, id: arena::BufferId, width: usize) -> &[T] {
        let start = plan.offset(id);
        &self.arena[start..start + plan.batch * width]
    }
}
