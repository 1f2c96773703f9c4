//! A built model: parameters with names, and the steps that use them.

use super::init;
use super::layer::Layer;
use super::spec::Spec;
use crate::context::{Backend, Context};
use crate::engine::{
    BatchSource, Engine, Fusion, Graph, Loss, LossWeights, Parameter, TargetKind, Task, places,
};
use crate::environment;
use crate::error::{Error, Result};
use crate::kernel::update::AnyStep;
use crate::kernel::{Element, reduce};
use crate::optim::{Clip, Groups, Optimizer};
use crate::rng::{Rng, purpose};
use crate::tensor::Tensor;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// What a parameter is called and how it is shaped, as in PyTorch: a weight is outputs x inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// For example `0.weight`: the layer's index, activations counted, and the parameter's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A model with its numbers: built by [`Sequential::build`](super::Sequential::build), trained by
/// [`fit`](Self::fit) or [`step`](Self::step).
#[derive(Debug)]
pub struct Model<T: Element> {
    pub(super) engine: Engine<T>,
    /// What it was built from, for its file. A layer only says what it is: a panic elsewhere leaves nothing half done in it.
    layers: AssertUnwindSafe<Vec<Arc<dyn Layer>>>,
    compiled: Option<Loss>,
    pub(super) optimizers: Groups,
    /// What was accumulated since the last update: batches.
    pub(super) accumulated: usize,
}

impl<T: Element> Model<T> {
    pub(crate) fn new(
        context: Context,
        graph: Graph,
        layers: Vec<Arc<dyn Layer>>,
        seed: u64,
    ) -> Result<Self> {
        let mut model = Self::zeros(context, graph, layers, seed)?;
        let engine = &mut model.engine;
        let parameters = engine.graph().parameters.clone();
        let rng = Rng::new(seed).stream(purpose::INIT);
        for (index, parameter) in parameters.iter().enumerate() {
            // Each parameter has a stream of its own: its numbers do not depend on the layers before it.
            let mut values: Vec<T> = init::draw(&context, parameter, &mut rng.stream(index as u64))?;
            values[parameter.zeros.clone()].fill(T::zero());
            if let Some(index) = reduce::first_non_finite(&context, &values) {
                let (place, value) = (parameter.name.clone(), values[index].to_f64());
                return Err(Error::NonFinite { what: "parameter", place, step: 0, index, value });
            }
            write(engine, index, parameter, &values);
        }
        Ok(model)
    }

    /// A model whose parameters are all 0: they are loaded next.
    pub(super) fn zeros(
        context: Context,
        graph: Graph,
        layers: Vec<Arc<dyn Layer>>,
        seed: u64,
    ) -> Result<Self> {
        environment::check("build")?;
        // Its products are pieces of the engine's phases: a choice that nothing would heed is refused.
        if context.backend() != Backend::Native {
            let expected = "native: models run products of their own";
            return Err(Error::argument("build", "backend of the context", expected, context.backend()));
        }
        let mut engine = Engine::new(context, graph)?;
        engine.seed = seed;
        let layers = AssertUnwindSafe(layers);
        Ok(Self { engine, layers, compiled: None, optimizers: Groups::default(), accumulated: 0 })
    }

    /// What each layer is, as a model file holds it; `None` for one that does not say (see [`Layer::spec`]).
    pub fn specs(&self) -> Vec<Option<Spec>> {
        self.layers.iter().map(|layer| layer.spec()).collect()
    }

    /// Sets what the model is trained to make small, and how. The optimiser begins anew, with all parameters in one group; classes
    /// have no weights.
    ///
    /// # Errors
    /// [`Error::Argument`] if an option of the loss or the optimiser is out of its range: a learning rate that is negative, NaN
    /// or infinite, for example.
    pub fn compile(&mut self, loss: Loss, optimizer: impl Into<Optimizer>) -> Result<()> {
        loss.check_options::<T>(self.engine.context())?;
        let mut optimizers = Groups::default();
        optimizers.add(optimizer.into())?;
        self.optimizers = optimizers;
        self.engine.forget_optimiser();
        self.engine.change_parameters(|all| all.iter_mut().for_each(|parameter| parameter.group = 0));
        self.compiled = Some(loss);
        self.engine.loss_weights = LossWeights::default();
        self.accumulated = 0;
        Ok(())
    }

    /// Has an optimiser of their own update some parameters, as PyTorch's parameter groups do: a weight decay that spares
    /// the biases, a smaller step for the first layers. Returns the group's number; the others are group 0. The optimiser
    /// begins anew for all.
    ///
    /// `names` are those of parameters (`0.weight`) or layers (`0`).
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] if a name is unknown or an option of the
    /// optimiser is out of its range. Nothing is changed then.
    ///
    /// ```
    /// use gemmule::nn::{Activation, Dense, Loss, Sequential};
    /// use gemmule::optim::AdamW;
    /// let mut model = Sequential::new()
    ///     .with(Dense::new(4, 8))
    ///     .with(Activation::Relu)
    ///     .with(Dense::new(8, 3))
    ///     .build::<f32>(0)?;
    /// model.compile(Loss::CrossEntropy, AdamW::default())?;
    /// let no_decay = AdamW { weight_decay: 0.0, ..AdamW::default() };
    /// model.parameter_group(&["0.bias", "2.bias"], no_decay)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn parameter_group(&mut self, names: &[&str], optimizer: impl Into<Optimizer>) -> Result<usize> {
        self.compiled("parameter_group")?;
        let found = self.find_all("parameter_group", names)?;
        let group = self.optimizers.add(optimizer.into())?;
        self.engine.forget_optimiser();
        self.engine.change_parameters(|all| found.iter().for_each(|&index| all[index].group = group));
        Ok(group)
    }

    /// Freezes parameters, or trains them again, as PyTorch's `requires_grad_`. A frozen one has no gradient and no update,
    /// and nothing is computed for it: below the first layer that is trained there is no backward pass.
    ///
    /// `names` are those of parameters (`0.weight`) or layers (`0`). What was accumulated is dropped.
    ///
    /// # Errors
    /// [`Error::Argument`] if a name is unknown: nothing is changed then.
    pub fn set_trainable(&mut self, names: &[&str], trainable: bool) -> Result<()> {
        let found = self.find_all("set_trainable", names)?;
        self.engine.change_parameters(|all| found.iter().for_each(|&index| all[index].frozen = !trainable));
        // Those of a parameter that was frozen are not there.
        self.accumulated = 0;
        Ok(())
    }

    /// Whether a parameter is trained.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the names there are.
    pub fn is_trainable(&self, name: &str) -> Result<bool> {
        self.find("is_trainable", name).map(|(_, parameter)| !parameter.frozen)
    }

    /// The parameters that are called so, and those of the layers; no buffers, which are not trained.
    pub(super) fn find_all(&self, operation: &'static str, names: &[&str]) -> Result<Vec<usize>> {
        let all = &self.engine.graph().parameters;
        let mut found = Vec::new();
        for name in names {
            let before = found.len();
            let is_of_layer =
                |p: &Parameter| p.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            let fits = |p: &Parameter| !p.buffer && (p.name == *name || is_of_layer(p));
            let fits = all.iter().enumerate().filter(|(_, p)| fits(p));
            found.extend(fits.map(|(index, _)| index));
            // A layer without parameters is one, too.
            let is_layer = name.parse().is_ok_and(|layer: usize| layer < self.engine.graph().counted);
            if found.len() == before && !is_layer {
                return Err(self.unknown(operation, name, |p| !p.buffer));
            }
        }
        Ok(found)
    }

    pub(crate) fn compiled(&self, operation: &'static str) -> Result<Loss> {
        self.compiled.ok_or(Error::State { operation, what: "the model has no loss yet: call compile first" })
    }

    /// The loss; `None` before [`compile`](Self::compile).
    pub fn loss(&self) -> Option<Loss> {
        self.compiled
    }

    /// The step size of group 0; `None` before [`compile`](Self::compile).
    pub fn learning_rate(&self) -> Option<f64> {
        self.optimizers.learning_rate()
    }

    /// Changes the step size of group 0 and leaves the optimiser's state as it is. Other groups' step sizes keep their ratio
    /// to it (if it was not compiled with 0).
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] if it is negative, NaN or infinite.
    pub fn set_learning_rate(&mut self, value: f64) -> Result<()> {
        self.compiled("set_learning_rate")?;
        self.optimizers.set_learning_rate(value)
    }

    /// Changes the step size of a group that [`parameter_group`](Self::parameter_group) made, and with it its ratio to group
    /// 0's; of group 0 as [`set_learning_rate`](Self::set_learning_rate).
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] if there is no such group, or the value is
    /// negative, NaN or infinite.
    pub fn set_group_learning_rate(&mut self, group: usize, value: f64) -> Result<()> {
        self.compiled("set_group_learning_rate")?;
        match self.optimizers.group_rate(group) {
            None => Err(Error::argument("set_group_learning_rate", "group", "one that was made", group)),
            Some(_) if group == 0 => self.optimizers.set_learning_rate(value),
            Some(_) => self.optimizers.set_group_rate(group, value),
        }
    }

    /// The step size of a group; `None` if there is no such group.
    pub fn group_learning_rate(&self, group: usize) -> Option<f64> {
        self.optimizers.group_rate(group)
    }

    /// Sets the momentum, or beta1, of all groups that were compiled with one, or puts it back.
    ///
    /// # Errors
    /// [`Error::State`] if there is no such group; [`Error::Argument`] if it is out of its range.
    pub(crate) fn set_momentum(&mut self, value: Option<f64>) -> Result<()> {
        self.optimizers.set_momentum(value)
    }

    /// Looks at every gradient before each update, so that a gradient that is NaN or infinite changes nothing. Off by
    /// default: then it is found during the update, and the model refuses further steps until weights are loaded. An
    /// update that itself leaves such a parameter, under a learning rate that is far too large, does so in any case.
    pub fn check_gradients(&mut self, on: bool) {
        self.engine.check_gradients = on;
    }

    /// Bounds the gradients before each update: [`Clip::Off`] by default. With [`Clip::Norm`] a gradient that is NaN or
    /// infinite is an error before anything is updated.
    ///
    /// # Errors
    /// [`Error::Argument`] if the limit is not above 0.
    pub fn clip_gradients(&mut self, clip: Clip) -> Result<()> {
        clip.check("clip_gradients")?;
        self.engine.clip = clip;
        Ok(())
    }

    /// The instruction set and the parallelism.
    pub fn context(&self) -> Context {
        *self.engine.context()
    }

    /// The features of a sample.
    pub fn inputs(&self) -> usize {
        let graph = self.engine.graph();
        graph.width(graph.input)
    }

    /// The outputs of a sample.
    pub fn outputs(&self) -> usize {
        let graph = self.engine.graph();
        graph.width(graph.output)
    }

    /// The training steps taken since [`compile`](Self::compile).
    pub fn steps(&self) -> u64 {
        self.engine.steps()
    }

    /// The number of all parameters' numbers, frozen ones too; without buffers.
    pub fn parameter_count(&self) -> usize {
        self.engine.graph().parameters.iter().filter(|p| !p.buffer).map(Parameter::len).sum()
    }

    /// Names and shapes of all parameters, in order; without [`buffers`](Self::buffers).
    pub fn parameters(&self) -> Vec<ParameterInfo> {
        self.infos(false)
    }

    /// Names and shapes of what is kept beside the parameters and not trained, as PyTorch's buffers: running statistics, for
    /// example `1.running_mean`. [`parameter`](Self::parameter) and [`set_parameter`](Self::set_parameter) take these names
    /// too, and files and checkpoints hold them; no optimiser, constraint or change of what is trained touches them.
    pub fn buffers(&self) -> Vec<ParameterInfo> {
        self.infos(true)
    }

    fn infos(&self, buffers: bool) -> Vec<ParameterInfo> {
        let all = self.engine.graph().parameters.iter().filter(|p| p.buffer == buffers);
        all.map(|p| ParameterInfo { name: p.name.clone(), shape: shape(p) }).collect()
    }

    /// Where the buffers lie in [`all_parameters`](Self::all_parameters).
    pub(crate) fn buffer_ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.engine.graph().parameters.iter().filter(|p| p.buffer).map(Parameter::range)
    }

    pub(super) fn find(&self, operation: &'static str, name: &str) -> Result<(usize, &Parameter)> {
        let all = &self.engine.graph().parameters;
        let found = all.iter().enumerate().find(|(_, p)| p.name == name);
        found.ok_or_else(|| self.unknown(operation, name, |_| true))
    }

    fn unknown(&self, operation: &'static str, name: &str, is_one: impl Fn(&Parameter) -> bool) -> Error {
        let all = self.engine.graph().parameters.iter().filter(|p| is_one(p));
        let names: Vec<_> = all.map(|p| p.name.as_str()).collect();
        Error::argument(operation, "name", format_args!("one of {}", names.join(", ")), name)
    }

    /// A parameter's numbers: a weight as outputs x inputs. Or those of a buffer.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the names there are.
    pub fn parameter(&self, name: &str) -> Result<Tensor<T>> {
        let (_, parameter) = self.find("parameter", name)?;
        read(parameter, self.engine.parameters(parameter))
    }

    /// Overwrites a parameter, or a buffer: a weight is given as outputs x inputs.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the names there are; [`Error::Shape`] if the shape is another;
    /// [`Error::NonFinite`] if a number is NaN or infinite. Nothing is changed then.
    pub fn set_parameter(&mut self, name: &str, values: &Tensor<T>) -> Result<()> {
        let (index, parameter) = self.find("set_parameter", name)?;
        let parameter = parameter.clone();
        let expected = shape(&parameter);
        if values.shape() != expected {
            let got = format!("{:?}", values.shape());
            return Err(Error::shape("set_parameter", "values", format_args!("{expected:?}"), got));
        }
        if let Some(index) = values.as_slice().iter().position(|x| !x.is_finite()) {
            let value = values.as_slice()[index].to_f64();
            return Err(Error::NonFinite { what: "parameter", place: parameter.name, step: 0, index, value });
        }
        write(&mut self.engine, index, &parameter, values.as_slice());
        Ok(())
    }

    /// The gradient of a parameter, as the last [`step`](Self::step) or [`gradients`](Self::gradients) left it, or the sum of those
    /// that were accumulated since the last update.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the names there are; [`Error::State`] if there is none yet, or the parameter is frozen.
    pub fn gradient(&self, name: &str) -> Result<Tensor<T>> {
        let (_, parameter) = self.find("gradient", name)?;
        if parameter.frozen {
            let what = "the parameter is frozen, or a buffer, so it has no gradient";
            return Err(Error::State { operation: "gradient", what });
        }
        let missing = Error::State { operation: "gradient", what: "no step was taken yet" };
        read(parameter, self.engine.gradients(parameter).ok_or(missing)?)
    }

    /// State `index` of the optimiser for a parameter, in the order in which its function in
    /// [`kernel::update`](crate::kernel::update) takes them: of Adam 0 is the first moment, 1 the second.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the names there are; [`Error::State`] if there is no such state.
    pub fn optimizer_state(&self, name: &str, index: usize) -> Result<Tensor<T>> {
        let (_, parameter) = self.find("optimizer_state", name)?;
        let missing =
            Error::State { operation: "optimizer_state", what: "the optimiser has no such state yet" };
        read(parameter, self.engine.state(parameter, index).ok_or(missing)?)
    }

    fn check_features(&self, operation: &'static str, source: &dyn BatchSource<T>) -> Result<()> {
        let got = source.features();
        if got != self.inputs() {
            let expected = format!("{} features, the model's inputs", self.inputs());
            return Err(Error::data(operation, "samples", expected, got));
        }
        Ok(())
    }

    pub(super) fn check_samples(
        &self,
        operation: &'static str,
        source: &dyn BatchSource<T>,
        indices: &[usize],
    ) -> Result<()> {
        self.check_features(operation, source)?;
        if indices.is_empty() {
            return Err(Error::data(operation, "batch", "at least one sample", 0));
        }
        let len = source.len();
        if let Some(index) = indices.iter().find(|&&index| index >= len) {
            return Err(Error::data(operation, "sample", format_args!("below {len}"), index));
        }
        Ok(())
    }

    /// Whether `source` has samples, features and targets that the model and its loss take.
    pub(crate) fn check_source(&self, operation: &'static str, source: &dyn BatchSource<T>) -> Result<()> {
        let loss = self.compiled(operation)?;
        if source.is_empty() {
            return Err(Error::data(operation, "data set", "at least one sample", 0));
        }
        loss.check(Some(Self::targets(operation, source)?), self.outputs())?;
        self.check_features(operation, source)
    }

    pub(super) fn targets(operation: &'static str, source: &dyn BatchSource<T>) -> Result<TargetKind> {
        source.target_kind().ok_or_else(|| Error::data(operation, "targets", "classes or values", "none"))
    }

    /// True if the last layer is a softmax (for a cross-entropy) or a sigmoid (for [`Loss::BinaryCrossEntropy`]), so that the
    /// outputs are probabilities already.
    pub(crate) fn puts_out_probabilities(&self, loss: Loss) -> bool {
        self.engine.ends_in_loss(loss)
    }

    /// Which fusions the model's steps have from now on: for measuring what they save, since no bit depends on them.
    pub fn set_fusion(&mut self, fusion: Fusion) {
        self.engine.set_fusion(fusion);
    }

    /// The training step on `batch` samples as text: phases, fusions, tiles, buffers; of each phase the floating-point operations of its
    /// products, and the bytes that it reads and writes, each operand of an operation once, wherever it is. (Of convolutions, norms and
    /// other functions only the samples' values are counted; sparse gradients and constraints are not.)
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] if `batch` is 0; [`Error::Data`] if
    /// the targets do not fit the loss; what the optimisers refuse.
    pub fn explain(&mut self, batch: usize, targets: TargetKind) -> Result<String> {
        let loss = self.compiled("explain")?;
        if batch == 0 {
            return Err(Error::argument("explain", "batch", "at least 1", 0));
        }
        self.with_updates(|engine, update| {
            let states = Self::most_states(engine, update)?;
            engine.explain(Task::Train(loss, targets), batch, states)
        })
    }

    /// States of a parameter, of the group whose optimiser has most.
    pub(super) fn most_states(
        engine: &Engine<T>,
        update: &dyn Fn(usize) -> Result<AnyStep>,
    ) -> Result<usize> {
        let groups = 0..engine.graph().groups;
        groups.map(|group| Ok(update(group)?.states())).try_fold(0, |most, states| Ok(most.max(states?)))
    }
}

pub(super) fn shape(parameter: &Parameter) -> Vec<usize> {
    parameter.shape.clone()
}

/// The index in the flat arrays of each number in the order in which it is shown.
pub(super) fn order(parameter: &Parameter) -> impl Iterator<Item = usize> + '_ {
    places(&parameter.axes)
}

fn read<T: Element>(parameter: &Parameter, flat: &[T]) -> Result<Tensor<T>> {
    let values = order(parameter).map(|index| flat[index]).collect();
    Tensor::from_vec(&shape(parameter), values)
}

fn write<T: Element>(engine: &mut Engine<T>, index: usize, parameter: &Parameter, shown: &[T]) {
    let mut flat = vec![T::zero(); parameter.len()];
    for (at, &value) in order(parameter).zip(shown) {
        flat[at] = value;
    }
    engine.write_parameter(index, flat);
}
