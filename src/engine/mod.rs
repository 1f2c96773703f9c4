//! The engine: layers describe, the engine plans, the plan runs.
//!
//! ```text
//! graph   operations on values, parameters in one flat arena    (layers lower to it)
//! fuse    operations -> stages, by rules that stand in one place
//! plan    stages -> phases, tiles, buffers, for one batch size and task
//! arena   buffers by lifetime; the pointers that a team shares
//! run     the leader goes through the phases, the team shares each one's tiles
//! ```

#[allow(unsafe_code, reason = "a team shares the flat arrays through pointers")]
mod arena;
mod fuse;
mod graph;
mod plan;
#[allow(unsafe_code, reason = "tiles take their slices of the shared arrays")]
mod run;
mod source;

pub use graph::{Builder, Init, ParameterId, Value};
pub(crate) use graph::{Graph, Parameter};
pub(crate) use run::Outcome;
pub use source::{BatchSource, TargetKind};

use crate::context::{Context, Parallelism};
use crate::environment;
use crate::error::{Error, Result};
use crate::kernel::update::{AnyStep, Clip};
use crate::kernel::{Element, reduce};
use crate::parallel::Team;
use crate::tensor::AlignedBuffer;
use arena::Memory;
use plan::{Plan, UPDATE_ELEMENTS};
use run::Run;
use std::sync::atomic::AtomicU64;

/// What a model is trained to make small: the mean over the batch of the loss per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The mean over the outputs of (y - t)^2. Targets are values.
    MeanSquaredError,
    /// `-ln softmax(y)[class]`, or `-sum t ln softmax(y)` for target values t (one-hot or soft), from logits y. A
    /// softmax as the last layer is recognised and taken as part of the loss.
    CrossEntropy,
    /// The mean over the outputs of -t ln s - (1 - t) ln (1 - s) with s = sigmoid(y), from logits y. Targets are
    /// values from 0 to 1. A sigmoid as the last layer is recognised and taken as part of the loss.
    BinaryCrossEntropy,
}

impl Loss {
    /// `mean squared error`, `cross-entropy` or `binary cross-entropy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanSquaredError => "mean squared error",
            Self::CrossEntropy => "cross-entropy",
            Self::BinaryCrossEntropy => "binary cross-entropy",
        }
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Forward only.
    Predict,
    /// Forward and loss.
    Evaluate(Loss, TargetKind),
    /// Forward, loss and gradients; maybe that of the input too.
    Gradients(Loss, TargetKind, bool),
    /// All, and the update.
    Train(Loss, TargetKind),
}

impl Task {
    fn loss(self) -> Option<Loss> {
        match self {
            Self::Predict => None,
            Self::Evaluate(loss, _) | Self::Gradients(loss, ..) | Self::Train(loss, _) => Some(loss),
        }
    }

    fn targets(self) -> Option<TargetKind> {
        match self {
            Self::Predict => None,
            Self::Evaluate(_, kind) | Self::Gradients(_, kind, _) | Self::Train(_, kind) => Some(kind),
        }
    }

    fn is_training(self) -> bool {
        matches!(self, Self::Gradients(..) | Self::Train(..))
    }

    fn updates(self) -> bool {
        matches!(self, Self::Train(..))
    }

    fn wants_d_input(self) -> bool {
        matches!(self, Self::Gradients(.., true))
    }
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
    /// Steps taken.
    steps: u64,
    /// The step that spoilt the parameters, and the parameter that was found first.
    poisoned: Option<(u64, String)>,
    /// Look at every gradient before each update.
    pub(crate) check_gradients: bool,
    /// How gradients are bounded before each update.
    pub(crate) clip: Clip,
    /// The sum of squares of each tile of the gradients, as bits.
    squares: Vec<AtomicU64>,
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
            steps: 0,
            poisoned: None,
            check_gradients: false,
            clip: Clip::Off,
            squares: Vec::new(),
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
        let range = self.graph.parameters[index].range();
        for (to, from) in self.parameters[range].iter_mut().zip(values) {
            *to = from;
        }
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
        plan::width(&self.context, &self.graph, batch, task)
    }

    /// True if the last operation is the one that `loss` takes as part of itself.
    pub(crate) fn ends_in_loss(&self, loss: Loss) -> bool {
        fuse::ends_in_loss(&self.graph, loss)
    }

    /// The plan as text: phases, fusions, tiles.
    pub(crate) fn explain(&mut self, task: Task, batch: usize) -> Result<String> {
        let members = self.width(task, batch);
        self.plan(task, batch, members).map(|index| self.plans[index].1.to_string())
    }

    /// The index of the plan of `task` on `batch` samples for a team of `members`, made if need be.
    fn plan(&mut self, task: Task, batch: usize, members: usize) -> Result<usize> {
        let fits = |(t, plan): &(Task, Plan)| *t == task && plan.batch == batch && plan.members == members;
        if let Some(index) = self.plans.iter().position(fits) {
            self.plans[..=index].rotate_right(1);
            return Ok(0);
        }
        let plan = Plan::new::<T>(&self.context, &self.graph, batch, task, members)?;
        if plan.arena_len > self.arena.len() {
            self.arena = AlignedBuffer::try_zeroed(plan.arena_len)?;
        }
        if task.is_training() && self.gradients.len() < self.graph.flat_len {
            self.gradients = AlignedBuffer::try_zeroed(self.graph.flat_len)?;
        }
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, (task, plan));
        Ok(0)
    }

    /// Runs `task` on the samples `indices` of `source`, as part of `team`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] names what is NaN or infinite, where, and in which step; nothing was updated unless it
    /// is a gradient, and then the model refuses further steps ([`Error::Poisoned`]). [`Error::Environment`] if this
    /// thread computes otherwise than the bits are promised for.
    pub(crate) fn run(
        &mut self,
        team: &Team<'_>,
        task: Task,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        update: Option<&AnyStep>,
        count_correct: bool,
    ) -> Result<Outcome<T>> {
        environment::check("run")?;
        if let Some((step, place)) = &self.poisoned {
            return Err(Error::Poisoned { step: *step, place: place.clone() });
        }
        let index = self.plan(task, indices.len(), team.width())?;
        if let Some(update) = update {
            for state in &mut self.states[..update.states()] {
                if state.len() < self.graph.flat_len {
                    *state = AlignedBuffer::try_zeroed(self.graph.flat_len)?;
                }
            }
            if matches!(self.clip, Clip::Norm(_)) {
                self.squares.resize_with(self.graph.flat_len.div_ceil(UPDATE_ELEMENTS), AtomicU64::default);
            }
        }
        self.classes.clear();
        if let Some(TargetKind::Classes(count)) = task.targets() {
            self.classes.resize(indices.len(), 0);
            source.gather_classes(indices, &mut self.classes);
            // The source is the user's: what it says is checked before a kernel relies on it.
            if let Some(at) = self.classes.iter().position(|&class| class as usize >= count) {
                let what = format!("class of sample {}", indices[at]);
                return Err(Error::data("batch", what, format_args!("below {count}"), self.classes[at]));
            }
        }
        let plan = &self.plans[index].1;
        let step = if task.updates() { self.steps + 1 } else { 0 };
        // The team shares out the tiles, so a tile's kernels stay on their thread.
        let context = self.context.with_parallelism(Parallelism::Serial);
        let run = Run {
            context: &context,
            graph: &self.graph,
            plan,
            memory: Memory::new(
                &mut self.arena,
                &plan.offsets,
                &mut self.parameters,
                &mut self.gradients,
                &mut self.states,
            ),
            source,
            indices,
            classes: &self.classes,
            update,
            check_gradients: self.check_gradients,
            clip: self.clip,
            squares: &self.squares,
            step,
            count_correct,
        };
        let outcome = run.run(team)?;
        if task.updates() {
            self.steps = step;
            if !outcome.finite {
                return Err(self.poison(step));
            }
        }
        Ok(outcome)
    }

    /// Marks the model and names the first gradient, else parameter, else state of the optimiser that is not finite.
    fn poison(&mut self, step: u64) -> Error {
        let arrays = [("gradient", &self.gradients), ("parameter", &self.parameters)];
        let arrays = arrays.into_iter().chain(self.states.iter().map(|state| ("optimiser state", state)));
        // The update watches what these arrays hold alone.
        let mut found = ("parameter", "no layer".to_owned(), 0, f64::NAN);
        'search: for (what, array) in arrays {
            for parameter in &self.graph.parameters {
                let values = array.get(parameter.range()).unwrap_or(&[]);
                if let Some(index) = reduce::first_non_finite(&self.context, values) {
                    let place = format!("{} in layer {}", parameter.name, self.graph.layers[parameter.layer]);
                    found = (what, place, index, values[index].to_f64());
                    break 'search;
                }
            }
        }
        let (what, place, index, value) = found;
        self.poisoned = Some((step, place.clone()));
        Error::NonFinite { what, place, step, index, value }
    }

    /// The outputs of the last [`run`](Self::run), row by row.
    pub(crate) fn output(&self) -> &[T] {
        self.plans.first().map_or(&[], |(_, plan)| self.buffer(plan, plan.output, plan.output_width))
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
