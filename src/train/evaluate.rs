//! Metrics over all samples of a source, batch by batch.

use super::metrics::{Link, Metric, Predictions, Targets};
use super::predict::{BATCH, Evaluation};
use crate::context::Parallelism;
use crate::data::Batches;
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::parallel::{self, Team};

/// Shows metrics what the last run of a model put out. Its memory is used again from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Observer<T> {
    classes: Vec<u32>,
    values: Vec<T>,
    probabilities: Vec<T>,
}

impl<T: Element> Observer<T> {
    /// Updates the metrics with the samples `indices` of `source`, on which `model` ran last: a step, an accumulation or a
    /// score. Of a step, outputs are those before its update and with its dropout.
    pub(super) fn observe(
        &mut self,
        model: &Model<T>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        metrics: &mut [&mut dyn Metric<T>],
    ) -> Result<()> {
        // Within a team: its members have the other threads.
        let context = model.context().with_parallelism(Parallelism::Serial);
        let (outputs, width) = (model.last_outputs(), model.outputs());
        if outputs.len() != indices.len() * width {
            let what = "the model ran on other samples since";
            return Err(Error::State { operation: "metrics", what });
        }
        let targets = match source.target_kind() {
            Some(TargetKind::Classes(_)) => {
                resize(&mut self.classes, indices.len())?;
                source.gather_classes(indices, &mut self.classes);
                // What a user's source says may differ from what the loss saw.
                if let Some(at) = self.classes.iter().position(|&class| class as usize >= width.max(2)) {
                    let what = format!("class of sample {}", indices[at]);
                    let expected = format_args!("below {}", width.max(2)).to_string();
                    return Err(Error::data("metrics", what, expected, self.classes[at]));
                }
                Targets::Classes(&self.classes)
            }
            Some(TargetKind::Values(count)) if count == width => {
                resize(&mut self.values, outputs.len())?;
                source.gather_values(&context, indices, &mut self.values);
                Targets::Values(&self.values)
            }
            _ => return Err(Error::data("metrics", "targets", "classes, or a value per output", "others")),
        };
        let link = model.loss().map_or(Link::Identity, Link::of);
        let spare = std::mem::take(&mut self.probabilities);
        let batch = Predictions::of_run(context, outputs, width, targets, link, spare);
        let done = metrics.iter_mut().try_for_each(|metric| metric.update(&batch));
        self.probabilities = batch.into_spare();
        done
    }
}

fn resize<N: Copy + Default>(buffer: &mut Vec<N>, len: usize) -> Result<()> {
    let bytes = len.saturating_mul(size_of::<N>());
    buffer.clear();
    buffer.try_reserve(len).map_err(|_| Error::OutOfMemory { what: "targets of a batch", bytes })?;
    buffer.resize(len, N::default());
    Ok(())
}

/// The loss and accuracy of `model` on all samples of `source`, and its metrics, as part of `team`. Metrics begin anew.
pub(super) fn evaluate_in<T: Element>(
    model: &mut Model<T>,
    team: &Team<'_>,
    source: &dyn BatchSource<T>,
    metrics: &mut [&mut dyn Metric<T>],
) -> Result<Evaluation> {
    // Asked once: a source that changes its mind gets an error, not a panic.
    let len = source.len();
    if len == 0 {
        return Err(Error::data("evaluate", "data set", "at least one sample", 0));
    }
    metrics.iter_mut().for_each(|metric| metric.reset());
    let classes = matches!(source.target_kind(), Some(TargetKind::Classes(_)));
    let (mut sum, mut weight, mut correct, mut observer) = (0.0, 0.0, 0, Observer::default());
    for batch in Batches::new(len, BATCH, None)?.iter() {
        let score = model.score_in(team, source, batch, classes)?;
        sum += score.loss.to_f64() * score.weight;
        weight += score.weight;
        correct += score.correct;
        if !metrics.is_empty() {
            observer.observe(model, source, batch, metrics)?;
        }
    }
    // Nothing counts where every class has the weight 0.
    let loss = if weight == 0.0 { 0.0 } else { sum / weight };
    Ok(Evaluation { loss, accuracy: classes.then_some(correct as f64 / len as f64) })
}

impl<T: Element> Model<T> {
    /// As [`evaluate`](Self::evaluate), and counts metrics in the same pass: they begin anew, see batch after batch, and have
    /// their values afterwards. Outputs become probabilities as [`predict_proba`](Self::predict_proba) makes them.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); what a metric refuses: a regression metric classes, for example.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::train::metrics::{Average, ClassMetric, ConfusionMatrix, Metric, RankAverage, RankMetric};
    /// use gemmule::Tensor;
    ///
    /// let x = Tensor::from_fn(&[100, 2], |at| ((7 * at[0] + 3 * at[1]) % 10) as f32)?;
    /// let data = Dataset::from_values(x)?.with_classes((0..100).map(|i| i % 2).collect(), 2)?;
    /// let mut model = Sequential::new().with(Dense::new(2, 2)).build::<f32>(0)?;
    /// model.compile(Loss::CrossEntropy, Sgd::default())?;
    ///
    /// let (mut f1, mut auc) = (ClassMetric::f1(Average::Macro), RankMetric::roc_auc(RankAverage::Macro));
    /// let mut matrix = ConfusionMatrix::empty(2)?;
    /// let evaluation = model.evaluate_with(&data, &mut [&mut f1, &mut auc, &mut matrix])?;
    /// assert_eq!(Some(matrix.accuracy()), evaluation.accuracy);
    /// println!("loss {:.3}, F1 {:.3}\n{matrix}", evaluation.loss, Metric::<f32>::value(&f1));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn evaluate_with(
        &mut self,
        source: &dyn BatchSource<T>,
        metrics: &mut [&mut dyn Metric<T>],
    ) -> Result<Evaluation> {
        self.compiled("evaluate")?;
        let width = self.prediction_width(BATCH.min(source.len()));
        parallel::with_team(width, |team| evaluate_in(self, team, source, metrics))
    }
}
