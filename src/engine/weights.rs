//! How much classes and positive targets count in a loss.

use super::{Loss, source::TargetKind};
use crate::error::{Error, Result};
use crate::kernel::Element;

/// What a mean of weighted losses is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightedMean {
    /// The sum of the weights of the batch's samples, as in PyTorch: the loss is a weighted mean. If all are 0, the loss is 0
    /// with the gradient 0.
    #[default]
    Weights,
    /// The number of the batch's samples, as in Keras: a batch of heavy classes takes larger steps.
    Samples,
}

/// The weights that a model's loss has; none to begin with.
#[derive(Clone, Debug)]
pub(crate) struct LossWeights<T> {
    classes: Option<Vec<T>>,
    positive: Option<Vec<T>>,
    pub mean: WeightedMean,
}

impl<T> Default for LossWeights<T> {
    fn default() -> Self {
        Self { classes: None, positive: None, mean: WeightedMean::default() }
    }
}

impl<T: Element> LossWeights<T> {
    /// A weight for each class.
    pub(crate) fn classes(&self) -> Option<&[T]> {
        self.classes.as_deref()
    }

    /// A weight for the positive part of each output, or one for all.
    pub(crate) fn positive(&self) -> Option<&[T]> {
        self.positive.as_deref()
    }

    /// Sets the weights of `outputs` classes; none if there are no numbers.
    ///
    /// # Errors
    /// [`Error::State`] if `loss` has no use for them; [`Error::Shape`] and [`Error::Argument`] if they are not one finite number of
    /// at least 0 for each.
    pub(crate) fn set_classes(&mut self, loss: Loss, outputs: usize, weights: &[f64]) -> Result<()> {
        const OPERATION: &str = "set_class_weights";
        if !loss.takes_class_weights() && !weights.is_empty() {
            let what = "the model's loss has no classes: compile it with a cross-entropy, for example";
            return Err(Error::State { operation: OPERATION, what });
        }
        if !weights.is_empty() && weights.len() != outputs {
            let expected = format!("{outputs} weights, one per class");
            return Err(Error::shape(OPERATION, "weights", expected, weights.len()));
        }
        self.classes = rounded(OPERATION, weights)?;
        Ok(())
    }

    /// Sets the weights of the positive parts of `outputs` targets; none if there are no numbers.
    ///
    /// # Errors
    /// As [`set_classes`](Self::set_classes).
    pub(crate) fn set_positive(&mut self, loss: Loss, outputs: usize, weights: &[f64]) -> Result<()> {
        const OPERATION: &str = "set_positive_weights";
        if loss != Loss::BinaryCrossEntropy && !weights.is_empty() {
            let what = "the model's loss is not the binary cross-entropy";
            return Err(Error::State { operation: OPERATION, what });
        }
        if ![0, 1, outputs].contains(&weights.len()) {
            let expected = format!("{outputs} weights, one per output, or 1");
            return Err(Error::shape(OPERATION, "weights", expected, weights.len()));
        }
        self.positive = rounded(OPERATION, weights)?;
        Ok(())
    }

    /// What the sum of a batch's losses is divided by: the number of its samples, or the sum of their weights, in their order;
    /// `classes` are theirs if they have any.
    pub(crate) fn divisor(
        &self,
        loss: Option<Loss>,
        targets: Option<TargetKind>,
        classes: &[u32],
        samples: usize,
    ) -> f64 {
        match (&self.classes, loss, targets) {
            (Some(weights), Some(loss), Some(TargetKind::Classes(_)))
                if loss.counts_by_class() && self.mean == WeightedMean::Weights =>
            {
                classes.iter().fold(0.0, |sum, &class| sum + weights[class as usize].to_f64())
            }
            _ => samples as f64,
        }
    }
}

/// The weights as elements; `None` if there are none.
fn rounded<T: Element>(operation: &'static str, weights: &[f64]) -> Result<Option<Vec<T>>> {
    let is_good = |weight: &&f64| **weight >= 0.0 && T::from_f64(**weight).is_finite();
    match weights.iter().find(|weight| !is_good(weight)) {
        Some(&weight) => Err(Error::argument(operation, "weights", "finite numbers, at least 0", weight)),
        None if weights.is_empty() => Ok(None),
        None => Ok(Some(weights.iter().map(|&weight| T::from_f64(weight)).collect())),
    }
}
