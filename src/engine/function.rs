//! Operations with kernels, memory and steps of their own: convolution, pooling, norms, recurrent layers, attention.
//!
//! A function says what it [needs](Function::needs) when a plan is made: in which steps it runs, and how much memory. The plan
//! gives it that, and calls it:
//!
//! ```text
//! prepare    batch steps          before everything else: weights in another order, for all tiles
//! forward    samples, batch steps
//! backward   samples, batch steps the gradients of its inputs
//! gradient   batch steps          the gradients of its parameters; after the losses were looked at
//!
//! samples    some samples at a time, in a chain with the operations before and after it
//! batch      over the whole batch: the team meets before and after; tile by tile
//! ```
//!
//! What a tile may write is handed to it as slices, and nothing else: no function needs `unsafe`. So that the same seed gives the
//! same bits for any number of threads and any cut of the batch, what a samples step makes of a sample must depend on that
//! sample, the parameters and `shared` alone, and the tiles of a batch step on the shapes alone.

use crate::context::Context;
use crate::kernel::Element;
use crate::kernel::activation::Activation;
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// The most inputs and parameters that a function has, and ranges that one tile of a batch step of it writes.
pub(crate) const MOST_INPUTS: usize = 8;
pub(crate) const MOST_PARAMETERS: usize = 16;
pub(crate) const MOST_WRITES: usize = 8;

/// What a plan wants to know of a function, and gives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    pub prepare: Vec<Batch>,
    pub forward: Vec<Step>,
    pub backward: Vec<Step>,
    pub gradient: Vec<Batch>,
    /// Elements per sample that forward steps write and all later steps read; samples steps backward may write them too.
    pub kept: usize,
    /// Elements for the whole batch, which batch steps write: from the first `prepare` to the last `gradient`.
    pub shared: usize,
    /// Elements of scratch memory of a tile: these, and these for each sample. What is in them at first is not defined.
    pub scratch: usize,
    pub scratch_per_sample: usize,
    /// Elements per sample that a samples step has in hand at a time, if that is not all that it writes: as many samples are taken at
    /// once as leave that in the cache.
    pub in_hand: Option<usize>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Samples,
    Batch(Batch),
}

/// A step over the whole batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    /// The part of `shared` that all tiles read; no tile of this step writes there.
    pub reads: Range<usize>,
    /// What each tile writes; no two the same element.
    pub tiles: Vec<Vec<Write>>,
}

/// What a tile of a batch step writes.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub target: Target,
    pub range: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Memory of the function's own.
    Shared,
    /// The gradient of a parameter, by its number in the function's list: in `gradient` steps, each element once.
    Gradient(usize),
    /// A parameter that is not trained, such as running statistics: in `gradient` steps. It holds the values so far.
    Buffer(usize),
}

/// For what a plan is made.
#[derive(Clone, Debug)]
pub(crate) struct Mode {
    pub batch: usize,
    /// Noise is drawn, statistics are those of the batch; `backward` follows.
    pub training: bool,
    /// The gradients of which inputs are wanted. Backward steps are run wherever the gradient of the output is known, whatever this
    /// says: leave out what is not wanted, unless the gradients by parameters take it.
    pub wants: Vec<bool>,
    /// Which parameters are trained. Gradient steps are run if training, whatever this says: leave out what is not wanted.
    pub trained: Vec<bool>,
    /// Bytes of an element.
    pub element: usize,
}

/// Which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Prepare,
    Forward,
    Backward,
    Gradient,
}

/// An operation as a plan sees it.
pub(crate) trait Function: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// What it is, for plans: for example `convolution 3 x 3, 32 -> 64`.
    fn name(&self) -> String;

    /// Multiply-adds of a sample forward, or about as much other work.
    fn work(&self) -> f64;

    /// Multiply-adds of its products forward, of a sample: what tables of models count. 0 if it has none.
    fn multiply_adds(&self) -> f64 {
        0.0
    }

    fn needs(&self, mode: &Mode) -> Needs;

    /// Why there can be no such plan, if there cannot: what is expected, and what a batch gives.
    fn refuses(&self, mode: &Mode) -> Option<(String, String)> {
        let _ = mode;
        None
    }

    /// Whether there is a gradient by this input.
    fn differentiates(&self, input: usize) -> bool {
        let _ = input;
        true
    }

    /// Whether `forward` applies an activation to its output, and so takes the one that follows it. In the backward pass the
    /// gradient of the output is already that of what the activation was applied to.
    fn takes_activation(&self) -> bool {
        false
    }

    /// Whether `forward` can apply this activation to its one input instead, with the same result as if that were applied already, and
    /// the gradient of the output times the derivative there is what `backward` takes.
    fn takes_activation_before(&self, activation: Activation) -> bool {
        let _ = activation;
        false
    }

    /// What inputs it takes, if it refuses some: for example `whole numbers below 1000`.
    fn expects(&self) -> String {
        String::new()
    }
}

/// Its numbers, for f32 and f64.
pub(crate) trait Compute<T: Element>: Function {
    /// Forward step `step`, a samples step. `Err(i)`: element `i` of the first input's slice is not one that it takes; the run ends with
    /// an error before anything is updated, so what is written does not matter.
    fn forward(&self, step: usize, call: Forward<'_, T>) -> Result<(), usize>;

    /// Backward step `step`, a samples step. The last one has written all of every `d_inputs` that there is.
    fn backward(&self, step: usize, call: Backward<'_, T>) {
        let _ = (step, call);
    }

    /// Calls `touch` with each row of its sparse parameter that gets a gradient; `input` is the first input, of the whole batch.
    fn touched(&self, input: &[T], touch: &mut dyn FnMut(usize)) {
        let _ = (input, touch);
    }

    /// Tile `tile` of the batch step `step` of a pass; steps of both kinds are counted together.
    fn batch(&self, pass: Pass, step: usize, tile: usize, call: BatchCall<'_, T>) {
        let _ = (pass, step, tile, call);
    }
}

/// The values of a function's parameters, in the order of its list, as they are stored.
pub(crate) type Parameters<'a, T> = &'a [&'a [T]];

/// A samples step forward.
pub(crate) struct Forward<'a, T> {
    /// Which instruction set to use; serial.
    pub context: &'a Context,
    pub training: bool,
    /// Which samples of the batch: all slices have as many.
    pub samples: Range<usize>,
    /// To be applied to the output in the last step, or to the input, as the function takes one.
    pub activation: Activation,
    pub parameters: Parameters<'a, T>,
    pub shared: &'a [T],
    pub inputs: &'a [&'a [T]],
    pub output: &'a mut [T],
    pub kept: &'a mut [T],
    pub scratch: &'a mut [T],
    /// What numbers are drawn from.
    pub random: Random,
}

/// A samples step backward.
pub(crate) struct Backward<'a, T> {
    pub context: &'a Context,
    pub samples: Range<usize>,
    pub parameters: Parameters<'a, T>,
    pub shared: &'a [T],
    pub inputs: &'a [&'a [T]],
    pub d_output: &'a [T],
    /// Those that are wanted, to be written.
    pub d_inputs: &'a mut [Option<&'a mut [T]>],
    pub kept: &'a mut [T],
    pub scratch: &'a mut [T],
    pub random: Random,
}

/// A tile of a batch step.
pub(crate) struct BatchCall<'a, T> {
    pub context: &'a Context,
    /// Samples of the batch.
    pub batch: usize,
    /// None in a gradient step: others may be updated meanwhile.
    pub parameters: Parameters<'a, T>,
    /// The part of `shared` that the step reads.
    pub shared: &'a [T],
    /// Of the whole batch. In `prepare` there are none.
    pub inputs: &'a [&'a [T]],
    /// Of the whole batch; empty but in backward and gradient steps.
    pub d_output: &'a [T],
    pub kept: &'a [T],
    /// What the tile writes, in the order in which it said so.
    pub writes: &'a mut [&'a mut [T]],
    /// Gradients are added to what is there, as those of a sparse parameter always are: otherwise what is there does not matter.
    /// Buffers and shared memory are always set.
    pub accumulate: bool,
    pub scratch: &'a mut [T],
}

/// What a step draws random numbers from: see `noise.rs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    /// The model's seed, steps taken, batches accumulated in this one.
    pub seed: [u64; 3],
    pub layer: usize,
    /// Which operation of the layer.
    pub number: usize,
}

/// A function for f32 and f64, behind one name for both.
#[derive(Clone)]
pub(crate) struct Both {
    function: Arc<dyn Function>,
    single: Arc<dyn Compute<f32>>,
    double: Arc<dyn Compute<f64>>,
}

impl Both {
    pub(crate) fn new<F: Compute<f32> + Compute<f64> + 'static>(function: F) -> Self {
        let function = Arc::new(function);
        Self { function: Arc::clone(&function) as _, single: Arc::clone(&function) as _, double: function }
    }

    pub(crate) fn function(&self) -> &dyn Function {
        self.function.as_ref()
    }

    /// The function for `T`.
    pub(crate) fn of<T: Element>(&self) -> &dyn Compute<T> {
        let either: [&dyn Any; 2] = [&self.single, &self.double];
        let found = either.into_iter().find_map(|function| function.downcast_ref::<Arc<dyn Compute<T>>>());
        found.expect("an element is f32 or f64").as_ref()
    }
}

impl fmt::Debug for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.function.fmt(f)
    }
}
