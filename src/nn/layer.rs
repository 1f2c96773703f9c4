//! The layers there are, and the trait that makes one.

use super::registry::init_spec;
use super::spec::Spec;
use crate::engine::{Builder, Init, Value};
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use std::fmt;

/// A layer: options, a name, and how it lowers to the engine's operations.
pub trait Layer: fmt::Debug + Send + Sync {
    /// What it is, for errors and tables, for example `Dense 784 -> 64`.
    fn describe(&self) -> String;

    /// The features that it takes; `None` if it takes any number.
    fn inputs(&self) -> Option<usize>;

    /// Whether [`lower`](Self::lower) looks at the features itself: of what is made of layers, so that an error names the one within.
    fn checks_inputs(&self) -> bool {
        false
    }

    /// Adds its parameters and operations to the graph and returns its output. The width of `input` is one that
    /// [`inputs`](Self::inputs) allows.
    ///
    /// # Errors
    /// What the builder's methods return.
    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value>;

    /// Its kind and options, from which [`Layers`](super::Layers) can make it again: what a model file holds of it. `None`,
    /// the default, if it cannot be described: a model with such a layer saves its weights alone.
    fn spec(&self) -> Option<Spec> {
        None
    }

    /// Whether it has a number, with which the names of its parameters begin, as a module of PyTorch's `Sequential` has. An
    /// [`Input`](super::Input) has none.
    fn is_counted(&self) -> bool {
        true
    }
}

/// A dense (fully connected, linear) layer: y = x W^T + b, with W of outputs x inputs as in PyTorch.
///
/// Parameters `weight` (outputs, inputs) and `bias` (outputs). Both begin as in PyTorch unless said otherwise.
///
/// Of values of more dimensions it takes the last one, at each position by itself: on sequences (L, inputs) it is Keras'
/// `TimeDistributed(Dense(..))`.
#[doc(alias = "TimeDistributed")]
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    weight: Init,
    bias: Option<Init>,
}

impl Dense {
    /// A layer from `inputs` to `outputs` features, with a bias.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, weight: Init::PyTorch, bias: Some(Init::PyTorch) }
    }

    /// The same with weights that begin as `init` says.
    #[must_use]
    pub fn weight_init(self, init: Init) -> Self {
        Self { weight: init, ..self }
    }

    /// The same with biases that begin as `init` says.
    #[must_use]
    pub fn bias_init(self, init: Init) -> Self {
        Self { bias: Some(init), ..self }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }
}

impl Layer for Dense {
    fn describe(&self) -> String {
        format!("Dense {} -> {}", self.inputs, self.outputs)
    }

    fn inputs(&self) -> Option<usize> {
        Some(self.inputs)
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if self.inputs == 0 || self.outputs == 0 {
            return Err(Error::argument("build", "Dense", "at least one input and output", self.describe()));
        }
        let weight = builder.matrix("weight", self.inputs, self.outputs, self.weight)?;
        let fans = (self.inputs, self.outputs);
        let bias = self.bias.map(|init| builder.vector("bias", self.outputs, fans, init)).transpose()?;
        builder.dense(input, weight, bias)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("dense").with("inputs", self.inputs).with("outputs", self.outputs);
        let spec = spec.with("weight_init", init_spec(self.weight)).with("bias", self.bias.is_some());
        Some(match self.bias {
            Some(init) => spec.with("bias_init", init_spec(init)),
            None => spec,
        })
    }
}

/// An activation is a layer: y = f(x), element by element.
impl Layer for Activation {
    fn describe(&self) -> String {
        self.to_string()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.activation(input, *self)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new(self.name());
        Some(match self.parameter() {
            Some((name, value, _)) => spec.with(name, value),
            None => spec,
        })
    }
}

/// Softmax over a sample's features: y_i = exp(x_i) / sum_j exp(x_j).
///
/// As the last layer under [`Loss::CrossEntropy`](crate::nn::Loss::CrossEntropy) it is taken as part of the loss, which
/// works from logits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Softmax;

impl Layer for Softmax {
    fn describe(&self) -> String {
        "softmax".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.softmax(input)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("softmax"))
    }
}

/// Dropout (Srivastava et al. 2014), inverted as in PyTorch: in training each element is 0 with the probability `rate`, or else
/// divided by 1 - `rate`; otherwise nothing happens.
///
/// Which elements is a function of the seed that the model was built with, the number of steps taken, the layer, and the
/// element's place in the batch: not of threads, and the same when a run is resumed.
///
/// ```
/// use gemmule::nn::{Activation, Dense, Dropout, Sequential};
/// let model = Sequential::new()
///     .with(Dense::new(784, 512))
///     .with(Activation::Relu)
///     .with(Dropout::new(0.2))
///     .with(Dense::new(512, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    rate: f64,
}

impl Dropout {
    /// Drops elements with the probability `rate`, which is at least 0 and below 1 (or building the model fails).
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl Layer for Dropout {
    fn describe(&self) -> String {
        format!("Dropout {}", self.rate)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.dropout(input, self.rate)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("dropout").with("rate", self.rate))
    }
}
