//! The training loop.

use super::callback::{Callback, Control, Event};
use super::predict::evaluate_in;
use crate::data::Batches;
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::{Model, Score};
use crate::parallel::{self, Team};
use std::time::Instant;

/// Options of [`Model::fit`]: epochs, batches, validation, callbacks.
///
/// Keras' defaults: one epoch, batches of 32, shuffled.
pub struct Fit<'a, T: Element> {
    epochs: usize,
    batch_size: usize,
    accumulate: usize,
    shuffle: bool,
    seed: u64,
    validation: Option<&'a dyn BatchSource<T>>,
    callbacks: Vec<&'a mut dyn Callback>,
}

impl<T: Element> Default for Fit<'_, T> {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            accumulate: 1,
            shuffle: true,
            seed: 0,
            validation: None,
            callbacks: Vec::new(),
        }
    }
}

impl<'a, T: Element> Fit<'a, T> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often to go through the data.
    #[must_use]
    pub fn epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }

    /// Samples of a batch; the last of an epoch may be smaller.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Batches whose gradients are added up before each update: a step on `batch_size * batches` samples, but for rounding and the masks of dropout, in
    /// the memory of one batch. The loss is the mean over all of them, the last step of an epoch may have fewer.
    #[must_use]
    pub fn accumulate(self, batches: usize) -> Self {
        Self { accumulate: batches, ..self }
    }

    /// Whether each epoch goes through the data in an order of its own.
    #[must_use]
    pub fn shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// What the orders are drawn from, together with the epoch's number within the call: two calls with one seed go
    /// through the data in the same orders.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Samples to evaluate after each epoch.
    #[must_use]
    pub fn validation(self, source: &'a dyn BatchSource<T>) -> Self {
        Self { validation: Some(source), ..self }
    }

    /// One more callback; they are called in the order in which they were added.
    #[must_use]
    pub fn callback(mut self, callback: &'a mut dyn Callback) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Samples of an update.
    fn step_samples(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// Tells every callback; true if one wants to stop.
    fn tell(&mut self, event: &Event<'_>) -> bool {
        let mut stop = false;
        for callback in &mut self.callbacks {
            stop |= callback.on_event(event) == Control::Stop;
        }
        stop
    }
}

/// The figures of an epoch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EpochLog {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The mean training loss over the epoch's samples, each taken before its update.
    pub loss: f64,
    /// The share of training samples that were right, each before its update; only for class targets.
    pub accuracy: Option<f64>,
    /// The mean loss on the validation samples after the epoch.
    pub validation_loss: Option<f64>,
    /// The share of validation samples that are right after the epoch; only for class targets.
    pub validation_accuracy: Option<f64>,
    /// Training samples that were seen.
    pub samples: usize,
    /// Seconds that the training steps took, without the validation.
    pub seconds: f64,
}

impl EpochLog {
    /// Training samples per second.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds
    }
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// One entry per epoch, in order.
    pub epochs: Vec<EpochLog>,
    /// True if a callback stopped the run.
    pub stopped: bool,
}

impl<T: Element> Model<T> {
    /// Trains on `data` as the options say.
    ///
    /// The same seed and data give the same weights to the bit, for any number of threads. A second call goes on
    /// where the first ended, with the optimiser's state.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] for a batch of 0;
    /// [`Error::Data`] if `data` or the validation set is empty or does not fit the model or the loss, before the
    /// first step; [`Error::NonFinite`] names layer and step of a NaN or infinity; [`Error::Poisoned`] after a step
    /// that spoilt the parameters. The epochs before an error are not lost to callbacks, which saw them.
    ///
    /// [`Error::State`]: crate::Error::State
    /// [`Error::Argument`]: crate::Error::Argument
    /// [`Error::Data`]: crate::Error::Data
    /// [`Error::NonFinite`]: crate::Error::NonFinite
    /// [`Error::Poisoned`]: crate::Error::Poisoned
    pub fn fit(&mut self, data: &dyn BatchSource<T>, mut options: Fit<'_, T>) -> Result<History> {
        self.check_source("fit", data)?;
        options.validation.map_or(Ok(()), |source| self.check_source("fit: validation", source))?;
        // Refused here, before a thread is started: a batch of 0.
        if options.accumulate == 0 {
            return Err(Error::argument("fit", "accumulate", "at least 1 batch", 0));
        }
        let samples = if options.batch_size == 0 { 0 } else { options.step_samples() };
        let batches = Batches::new(data.len(), samples, None)?;
        let batch = options.batch_size.min(data.len());
        let width = self.training_width(data, batch)?;
        parallel::with_team(width, |team| self.fit_in(team, data, batches, &mut options))
    }

    fn fit_in(
        &mut self,
        team: &Team<'_>,
        data: &dyn BatchSource<T>,
        mut batches: Batches,
        options: &mut Fit<'_, T>,
    ) -> Result<History> {
        let classes = matches!(data.target_kind(), Some(TargetKind::Classes(_)));
        let (mut history, context) = (History::default(), self.context());
        let begin = Event::TrainBegin {
            epochs: options.epochs,
            steps: batches.len(),
            samples: data.len(),
            threads: team.width(),
        };
        let mut stop = options.tell(&begin);
        for epoch in 1..=options.epochs {
            if stop {
                break;
            }
            stop = options.tell(&Event::EpochBegin { epoch });
            if stop {
                break;
            }
            batches.restart(options.shuffle.then_some((options.seed, epoch as u64)));
            let (mut sum, mut correct, mut samples) = (0.0, 0, 0);
            let start = Instant::now();
            for (index, batch) in batches.iter().enumerate() {
                if let Some(next) = batches.after(index) {
                    data.ask_ahead(&context, next);
                }
                let score = self.step_on(team, data, batch, options.batch_size, classes)?;
                let loss = score.loss.to_f64();
                sum += loss * batch.len() as f64;
                correct += score.correct;
                samples += batch.len();
                let event = Event::StepEnd { epoch, step: index + 1, samples: batch.len(), loss };
                stop |= options.tell(&event);
                if stop {
                    break;
                }
            }
            let seconds = start.elapsed().as_secs_f64();
            let validation = options.validation.map(|source| evaluate_in(self, team, source)).transpose()?;
            let log = EpochLog {
                epoch,
                loss: sum / samples as f64,
                accuracy: classes.then(|| correct as f64 / samples as f64),
                validation_loss: validation.map(|v| v.loss),
                validation_accuracy: validation.and_then(|v| v.accuracy),
                samples,
                seconds,
            };
            stop |= options.tell(&Event::EpochEnd(&log));
            history.epochs.push(log);
        }
        history.stopped = stop;
        options.tell(&Event::TrainEnd(&history));
        Ok(history)
    }

    /// One update on the samples `indices`, `batch` of them at a time.
    fn step_on(
        &mut self,
        team: &Team<'_>,
        data: &dyn BatchSource<T>,
        indices: &[usize],
        batch: usize,
        classes: bool,
    ) -> Result<Score<T>> {
        if indices.len() <= batch {
            return self.step_in(team, data, indices, classes);
        }
        self.drop_accumulated();
        let mut total = Score { loss: T::zero(), correct: 0 };
        for part in indices.chunks(batch) {
            let weight = part.len() as f64 / indices.len() as f64;
            let score = self.accumulate_in(team, data, part, weight, classes)?;
            total.loss += T::from_f64(weight) * score.loss;
            total.correct += score.correct;
        }
        self.apply_in(team)?;
        Ok(total)
    }
}
