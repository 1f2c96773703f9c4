//! The training loop.
//!
//! ```text
//! epoch   order of the samples, from seed and epoch
//!   step    batch -> forward, backward, update -> callbacks -> checkpoint
//!   validation -> callbacks -> history -> checkpoint
//! ```
//!
//! All that it counts is in [`Place`], so that a checkpoint can hold it and a resumed run begins with it.

use super::callback::{Callback, Control, Event, Run};
use super::checkpoint::{Fingerprint, Moment, snapshot};
use super::evaluate::{Observer, evaluate_in};
use super::fit::Fit;
use super::history::{EpochLog, History};
use super::metrics::Metric;
use crate::data::Batches;
use crate::engine::{BatchSource, TargetKind};
use crate::error::Result;
use crate::kernel::Element;
use crate::nn::{Model, Score};
use crate::parallel::Team;
use std::time::Instant;

/// Where a run is, and what it has counted in the epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps of it that were taken.
    pub step: usize,
    /// The sum of the losses of its samples, and that of their weights.
    pub loss: f64,
    pub weight: f64,
    pub correct: usize,
    pub samples: usize,
    pub seconds: f64,
    /// The step size that the model had when the run began: what a schedule starts from.
    pub base_rate: f64,
    /// The epochs before.
    pub history: History,
}

impl Default for Place {
    fn default() -> Self {
        let history = History::default();
        let base_rate = f64::NAN;
        Self {
            epoch: 1,
            step: 0,
            loss: 0.0,
            weight: 0.0,
            correct: 0,
            samples: 0,
            seconds: 0.0,
            base_rate,
            history,
        }
    }
}

pub(super) struct Loop<'r, 'a, T: Element> {
    pub model: &'r mut Model<T>,
    pub team: &'r Team<'r>,
    pub data: &'r dyn BatchSource<T>,
    pub batches: Batches,
    pub options: Fit<'a, T>,
    pub place: Place,
    /// Of the data sets, if there are to be checkpoints.
    pub fingerprints: Vec<(&'static str, Fingerprint)>,
    pub observer: Observer<T>,
}

/// Why steps end before the epoch does.
enum Ended {
    /// They do not.
    No,
    /// A callback wants to stop.
    Stopped,
    /// A step failed, and a callback stopped the run instead.
    Failed,
}

impl<T: Element> Loop<'_, '_, T> {
    pub(super) fn run(mut self) -> Result<History> {
        let begin = Event::TrainBegin {
            epochs: self.options.epochs,
            steps: self.batches.len(),
            samples: self.data.len(),
            threads: self.team.width(),
            epoch: self.place.epoch,
            taken: self.place.step,
        };
        let mut stop = self.tell(&begin)?;
        while self.place.epoch <= self.options.epochs && !stop {
            let epoch = self.place.epoch;
            if self.place.step == 0 && self.tell(&Event::EpochBegin { epoch })? {
                stop = true;
                break;
            }
            match self.steps()? {
                Ended::No => {}
                Ended::Stopped => stop = true,
                Ended::Failed => {
                    stop = true;
                    break;
                }
            }
            let Some(log) = self.log()? else {
                stop = true;
                break;
            };
            self.observe(&log)?;
            stop |= self.tell(&Event::EpochEnd(&log))?;
            let whole = self.place.step == self.batches.len();
            let Place { history, base_rate, .. } = std::mem::take(&mut self.place);
            self.place = Place { epoch: epoch + 1, history, base_rate, ..Place::default() };
            self.place.history.epochs.push(log.clone());
            // The rest of an epoch that was stopped within is still to come: its checkpoint was written at the step.
            if whole {
                let total = epoch as u64 * self.batches.len() as u64;
                let last = stop || epoch == self.options.epochs;
                stop |= self.checkpoint(Moment::Epoch { total, log: &log }, last)?;
            }
        }
        self.place.history.stopped = stop;
        let history = std::mem::take(&mut self.place.history);
        self.tell(&Event::TrainEnd(&history))?;
        Ok(history)
    }

    /// The steps of the epoch that are left.
    fn steps(&mut self) -> Result<Ended> {
        let Place { epoch, step: taken, .. } = self.place;
        let context = self.model.context();
        let classes = matches!(self.data.target_kind(), Some(TargetKind::Classes(_)));
        match self.options.sampler {
            None => self.batches.restart(self.options.shuffle.then_some((self.options.seed, epoch as u64))),
            Some(sampler) => self.batches.resample(sampler, self.data.len(), epoch as u64)?,
        }
        self.data.begin_epoch(epoch as u64);
        if taken == 0 {
            self.options.metrics.iter_mut().for_each(|metric| metric.reset());
        }
        let seconds = self.place.seconds;
        let start = Instant::now();
        for index in taken..self.batches.len() {
            let rates = self.set_rates(index);
            let batch = self.batches.get(index).unwrap_or(&[]);
            if let Some(next) = self.batches.after(index) {
                self.data.ask_ahead(&context, next);
            }
            let samples = batch.len();
            let size = self.options.batch_size;
            let counts = (&mut self.observer, self.options.metrics.as_mut_slice());
            let score =
                rates.and_then(|()| step(self.model, self.team, self.data, batch, size, classes, counts));
            let score = match score {
                Ok(score) => score,
                Err(error) => {
                    return if self.tell(&Event::Failed(&error))? { Ok(Ended::Failed) } else { Err(error) };
                }
            };
            let loss = score.loss.to_f64();
            self.place.loss += loss * score.weight;
            self.place.weight += score.weight;
            self.place.correct += score.correct;
            self.place.samples += samples;
            self.place.step = index + 1;
            let stop = self.tell(&Event::StepEnd { epoch, step: index + 1, samples, loss })?;
            if stop || self.options.checkpoints.is_some() || index + 1 == self.batches.len() {
                self.place.seconds = seconds + start.elapsed().as_secs_f64();
            }
            let total = (epoch as u64 - 1) * self.batches.len() as u64 + index as u64 + 1;
            if self.checkpoint(Moment::Step { total }, stop)? | stop {
                return Ok(Ended::Stopped);
            }
        }
        Ok(Ended::No)
    }

    /// The figures of the epoch, with the validation's; `None` if that failed and a callback stopped the run.
    fn log(&mut self) -> Result<Option<EpochLog>> {
        let epoch = self.place.epoch;
        let mut metrics = Vec::new();
        self.options.metrics.iter().for_each(|metric| metrics.push((metric.name(), metric.value())));
        let mut validation = None;
        if let Some(source) = self.options.validation {
            self.tell(&Event::ValidationBegin { epoch })?;
            let result = evaluate_in(self.model, self.team, source, &mut self.options.metrics);
            self.tell(&Event::ValidationEnd { epoch })?;
            match result {
                Ok(found) => {
                    validation = Some(found);
                    let named = |metric: &&mut dyn Metric<T>| {
                        (format!("validation_{}", metric.name()), metric.value())
                    };
                    metrics.extend(self.options.metrics.iter().map(named));
                }
                Err(error) => {
                    return if self.tell(&Event::Failed(&error))? { Ok(None) } else { Err(error) };
                }
            }
        }
        let Place { loss, weight, correct, samples, seconds, .. } = self.place;
        let classes = matches!(self.data.target_kind(), Some(TargetKind::Classes(_)));
        Ok(Some(EpochLog {
            epoch,
            // Nothing counts where every class has the weight 0.
            loss: if weight == 0.0 { 0.0 } else { loss / weight },
            accuracy: classes.then(|| correct as f64 / samples as f64),
            validation_loss: validation.map(|v| v.loss),
            validation_accuracy: validation.and_then(|v| v.accuracy),
            metrics,
            learning_rate: self.model.learning_rate().unwrap_or(f64::NAN),
            samples,
            seconds,
        }))
    }

    /// Tells every callback; true if one wants to stop.
    fn tell(&mut self, event: &Event<'_>) -> Result<bool> {
        let steps = self.batches.len();
        tell(&mut self.options.callbacks, self.model, &self.place, steps, event)
    }

    /// Writes a checkpoint if one is due, or if the run ends here; true if a callback then wants to stop.
    fn checkpoint(&mut self, moment: Moment<'_>, last: bool) -> Result<bool> {
        let Some(checkpoints) = self.options.checkpoints.as_deref() else { return Ok(false) };
        if !checkpoints.is_due(moment, last) {
            return Ok(false);
        }
        let state = snapshot(self.model, &self.batches, &self.options, &self.place, &self.fingerprints)?;
        let Some(checkpoints) = self.options.checkpoints.as_deref_mut() else { return Ok(false) };
        match checkpoints.save(moment, state) {
            Ok(path) => self.tell(&Event::CheckpointSaved(&path)),
            Err(error) if checkpoints.goes_on() => self.tell(&Event::CheckpointFailed(&error)),
            Err(error) => Err(error),
        }
    }
}

fn tell<T: Element>(
    callbacks: &mut [&mut dyn Callback<T>],
    model: &mut Model<T>,
    place: &Place,
    steps_per_epoch: usize,
    event: &Event<'_>,
) -> Result<bool> {
    let (history, epoch, step) = (&place.history, place.epoch, place.step);
    let mut run = Run { model, history, epoch, step, steps_per_epoch };
    let mut stop = false;
    for callback in callbacks {
        stop |= callback.on_event(event, &mut run)? == Control::Stop;
    }
    Ok(stop)
}

/// One update on the samples `indices`, `batch` of them at a time.
fn step<T: Element>(
    model: &mut Model<T>,
    team: &Team<'_>,
    data: &dyn BatchSource<T>,
    indices: &[usize],
    batch: usize,
    classes: bool,
    (observer, metrics): (&mut Observer<T>, &mut [&mut dyn Metric<T>]),
) -> Result<Score<T>> {
    let mut observe = |model: &Model<T>, indices: &[usize]| {
        if metrics.is_empty() { Ok(()) } else { observer.observe(model, data, indices, metrics) }
    };
    if indices.len() <= batch {
        let score = model.step_in(team, data, indices, classes)?;
        observe(model, indices)?;
        return Ok(score);
    }
    model.drop_accumulated();
    let mut total = Score { loss: T::zero(), correct: 0, weight: 0.0 };
    for part in indices.chunks(batch) {
        let weight = model.share_of(data, part, indices)?;
        let score = model.accumulate_in(team, data, part, weight, classes)?;
        observe(model, part)?;
        total.loss += T::from_f64(weight) * score.loss;
        total.correct += score.correct;
        total.weight += score.weight;
    }
    model.apply_in(team)?;
    Ok(total)
}
