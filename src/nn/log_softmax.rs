//! The logarithm of the softmax.

use super::layer::Layer;
use super::spec::Spec;
use crate::engine::{Builder, Value};
use crate::error::Result;

/// The logarithm of the softmax over a sample's features: y_i = x_i - ln(sum_j exp(x_j)), PyTorch's `LogSoftmax(dim=1)`.
///
/// As the last layer under [`Loss::NegativeLogLikelihood`](super::Loss::NegativeLogLikelihood) it is taken as part of the loss, which
/// works from logits.
///
/// ```
/// use gemmule::nn::{Dense, LogSoftmax, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// let mut model = Sequential::new().with(Dense::new(4, 3)).with(LogSoftmax).build::<f32>(0)?;
/// model.compile(Loss::NegativeLogLikelihood, Sgd::default())?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSoftmax;

impl Layer for LogSoftmax {
    fn describe(&self) -> String {
        "log-softmax".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.log_softmax(input)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("log_softmax"))
    }
}
