//! What a model says of samples: evaluate, predict, probabilities, classes.

use crate::data::Batches;
use crate::engine::{BatchSource, Outputs};
use crate::error::{Error, Result};
use crate::kernel::activation::{self, Activation};
use crate::kernel::{Element, math, reduce, softmax};
use crate::nn::Model;
use crate::parallel;
use crate::tensor::Tensor;

/// Samples that are run at once where nothing is learnt: enough to fill the threads, few enough to stay in the caches.
pub(super) const BATCH: usize = 512;

/// How good a model is on some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The mean loss, weighted where classes have weights.
    pub loss: f64,
    /// The share of samples whose largest output is their class; only for class targets.
    pub accuracy: Option<f64>,
}

impl<T: Element> Model<T> {
    /// The mean loss and, for class targets, the accuracy on all samples of `source`.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Data`] if `source` is empty or does not fit;
    /// [`Error::NonFinite`] names what is NaN or infinite.
    pub fn evaluate(&mut self, source: &dyn BatchSource<T>) -> Result<Evaluation> {
        self.evaluate_with(source, &mut [])
    }

    /// The outputs of the last layer for all samples: `(samples, outputs)`. A sample's output does not depend on
    /// the others.
    ///
    /// # Errors
    /// [`Error::Data`] if `source` is empty or does not fit the model; [`Error::NonFinite`] names an input or an
    /// output that is NaN or infinite; [`Error::Poisoned`] after a step that spoilt the parameters.
    pub fn predict(&mut self, source: &dyn BatchSource<T>) -> Result<Tensor<T>> {
        let (len, outputs) = (source.len(), self.outputs());
        if len == 0 {
            return Err(Error::data("predict", "data set", "at least one sample", 0));
        }
        let mut result = Tensor::zeros(&[len, outputs])?;
        let width = self.prediction_width(BATCH.min(len));
        parallel::with_team(width, |team| {
            let rows = result.as_mut_slice().chunks_mut(BATCH * outputs);
            for (batch, rows) in Batches::new(len, BATCH, None)?.iter().zip(rows) {
                rows.copy_from_slice(self.outputs_in(team, source, batch)?);
            }
            Ok(())
        })?;
        Ok(result)
    }

    /// The probability of each class: softmax of the outputs under a cross-entropy, their sigmoid under
    /// [`Loss::BinaryCrossEntropy`](crate::nn::Loss::BinaryCrossEntropy), their exponential under losses of logarithms of
    /// probabilities, and the outputs themselves where the last layer is a softmax or sigmoid already.
    ///
    /// # Errors
    /// As [`predict`](Self::predict); [`Error::State`] if the model has another loss or none.
    pub fn predict_proba(&mut self, source: &dyn BatchSource<T>) -> Result<Tensor<T>> {
        let loss = self.compiled("predict_proba")?;
        let outputs = loss.outputs();
        if outputs == Outputs::Values {
            return Err(Error::State {
                operation: "predict_proba",
                what: "the model was not compiled with a cross-entropy: its outputs are not probabilities",
            });
        }
        let mut result = self.predict(source)?;
        let (context, width) = (self.context(), self.outputs());
        match outputs {
            Outputs::LogProbabilities => math::exp_in_place(&context, result.as_mut_slice()),
            _ if self.puts_out_probabilities(loss) => {}
            Outputs::Logits => softmax::forward_in_place(&context, result.as_mut_slice(), width)?,
            _ => activation::forward_in_place(&context, Activation::Sigmoid, result.as_mut_slice())?,
        }
        Ok(result)
    }

    /// The class of each sample: the index of its largest output, the first if there are several.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_classes(&mut self, source: &dyn BatchSource<T>) -> Result<Vec<u32>> {
        let outputs = self.predict(source)?;
        let mut classes = vec![0; outputs.shape()[0]];
        reduce::argmax_rows(&self.context(), outputs.as_slice(), self.outputs(), &mut classes)?;
        Ok(classes)
    }
}
