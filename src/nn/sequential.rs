//! A chain of layers, checked once when it is built.

use super::layer::Layer;
use super::model::Model;
use super::spec::Spec;
use super::summary::Summary;
use crate::context::Context;
use crate::engine::{Builder, Graph, Value};
use crate::error::{Error, Result};
use crate::kernel::Element;
use std::sync::Arc;

/// A chain of layers: a description without numbers. [`build`](Self::build) checks every shape once and makes a
/// [`Model`].
///
/// ```
/// use gemmule::nn::{Activation, Dense, Sequential};
///
/// let net = Sequential::new()
///     .with(Dense::new(784, 64))
///     .with(Activation::Relu)
///     .with(Dense::new(64, 10));
/// let model = net.build::<f32>(0)?;
/// assert_eq!(model.parameter_count(), 784 * 64 + 64 + 64 * 10 + 10);
///
/// let wrong = Sequential::new().with(Dense::new(784, 64)).with(Activation::Relu).with(Dense::new(32, 10));
/// let error = wrong.build::<f32>(0).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "layer 2 (Dense 32 -> 10): expected 32 features, got 64 from layer 0 (Dense 784 -> 64)"
/// );
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// A chain is a layer, too: within another its parameters are called `2.0.weight`, as in PyTorch.
#[derive(Clone, Debug, Default)]
pub struct Sequential {
    layers: Vec<Arc<dyn Layer>>,
}

impl Sequential {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// The chain with one more layer at its end.
    #[must_use]
    pub fn with(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// A model with parameters drawn from `seed`, on the instruction set of [`Context::detect`].
    ///
    /// # Errors
    /// [`Error::Layer`] names the two layers whose shapes do not fit; [`Error::State`] if there is no layer or
    /// none says how many features it takes; [`Error::Overflow`] or [`Error::OutOfMemory`] if it is too large;
    /// [`Error::Isa`] as [`Context::detect`].
    pub fn build<T: Element>(&self, seed: u64) -> Result<Model<T>> {
        self.build_with(Context::detect()?, seed)
    }

    /// A model with parameters drawn from `seed`, on the instruction set and with the parallelism of `context`.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Argument`] if the context has another backend than
    /// [`Backend::Native`](crate::Backend).
    pub fn build_with<T: Element>(&self, context: Context, seed: u64) -> Result<Model<T>> {
        Model::new(context, self.graph()?, self.layers.clone(), seed)
    }

    /// The layers, which a model keeps for its file.
    pub(super) fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    pub(super) fn len(&self) -> usize {
        self.layers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Descriptions of the layers; `None` if one has none.
    pub(super) fn specs(&self) -> Option<Vec<Spec>> {
        self.layers.iter().map(|layer| layer.spec()).collect()
    }

    /// What the layers put out and what they cost: see [`Model::summary`]. Nothing is allocated for their numbers, so the largest net can
    /// be looked at.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Argument`] if `batch` is 0.
    pub fn summary<T: Element>(&self, batch: usize) -> Result<Summary> {
        Summary::of::<T>(&self.graph()?, batch)
    }

    /// The operations of a model that is this chain.
    pub(super) fn graph(&self) -> Result<Graph> {
        // Layers before the first that knows its inputs leave their number as it is.
        let inputs = self.inputs().ok_or(Error::State {
            operation: "build",
            what: "no layer says how many features it takes: begin with one that does, such as Dense",
        })?;
        if inputs == 0 {
            return Err(Error::argument("build", "the first layer's inputs", "at least 1", 0));
        }
        let mut builder = Builder::new(inputs);
        let input = builder.input();
        let begin = |builder: &mut Builder, number: Option<usize>, what: &str, previous: &str| {
            let name = number.map_or(what.to_owned(), |number| format!("{number} ({what})"));
            builder.begin_layer(name, number.is_some(), previous);
        };
        let output = self.chain(&mut builder, input, "the model's input".to_owned(), begin, |_, ()| {})?;
        builder.finish(output)
    }

    /// Lowers one layer after the other, each between `begin` and `end`. Those that PyTorch would not have have no number.
    fn chain<O>(
        &self,
        builder: &mut Builder,
        input: Value,
        mut previous: String,
        begin: impl Fn(&mut Builder, Option<usize>, &str, &str) -> O,
        end: impl Fn(&mut Builder, O),
    ) -> Result<Value> {
        let mut value = input;
        let mut number = 0;
        for layer in &self.layers {
            let counted = layer.is_counted();
            let outer = begin(builder, counted.then_some(number), &layer.describe(), &previous);
            number += usize::from(counted);
            // Of a position, where there are several.
            let got = builder.dims(value).last().copied().unwrap_or(1);
            if let Some(expected) = layer.inputs()
                && expected != got
                && !layer.checks_inputs()
            {
                return Err(builder.refusal(format_args!("{expected} features"), got));
            }
            let output = layer.lower(builder, value)?;
            builder.check_value(output)?;
            builder.puts_out(output);
            // An activation keeps the dimensions: the layer that made them is the one to name.
            if layer.inputs().is_some() || builder.dims(output) != builder.dims(value) {
                previous = format!("layer {}", builder.layer_name());
            }
            end(builder, outer);
            value = output;
        }
        Ok(value)
    }
}

impl Layer for Sequential {
    fn describe(&self) -> String {
        format!("Sequential of {} layers", self.layers.len())
    }

    fn inputs(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| layer.inputs())
    }

    fn checks_inputs(&self) -> bool {
        true
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let begin = |builder: &mut Builder, number: Option<usize>, what: &str, previous: &str| {
            let segment = number.map_or("input".to_owned(), |number| number.to_string());
            builder.enter(&segment, what, previous)
        };
        let previous = builder.previous().to_owned();
        self.chain(builder, input, previous, begin, Builder::leave)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("sequential").with("layers", self.specs()?))
    }
}
