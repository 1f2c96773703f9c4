//! A chain of layers, checked once when it is built.

use super::layer::Layer;
use super::model::Model;
use crate::context::Context;
use crate::engine::{Builder, Graph};
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
#[derive(Debug, Default)]
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
        Model::new(context, self.lower()?, self.layers.clone(), seed)
    }

    /// The layers, which a model keeps for its file.
    pub(super) fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    pub(super) fn lower(&self) -> Result<Graph> {
        // Layers before the first that knows its inputs leave their number as it is.
        let inputs = self.layers.iter().find_map(|layer| layer.inputs()).ok_or(Error::State {
            operation: "build",
            what: "no layer says how many features it takes: begin with one that does, such as Dense",
        })?;
        if inputs == 0 {
            return Err(Error::argument("build", "the first layer's inputs", "at least 1", 0));
        }
        let mut builder = Builder::new(inputs);
        let mut value = builder.input();
        let mut previous = "the model's input".to_owned();
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("{index} ({})", layer.describe());
            let got = builder.width(value);
            if let Some(expected) = layer.inputs()
                && expected != got
            {
                return Err(Error::Layer {
                    layer: name,
                    previous,
                    expected: format!("{expected} features"),
                    got: got.to_string(),
                });
            }
            // An activation keeps the width: the layer that made it is the one to name.
            if layer.inputs().is_some() {
                previous = format!("layer {name}");
            }
            builder.begin_layer(name);
            value = layer.lower(&mut builder, value)?;
            builder.check_value(value)?;
        }
        builder.finish(value)
    }
}
