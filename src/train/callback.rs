//! What a run tells about itself, and how it is stopped. The library itself prints nothing.

use super::history::{EpochLog, History};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::state::State;
use crate::tensor::Tensor;
use std::path::Path;

/// Something that happened in a run of [`fit`](crate::nn::Model::fit).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Before the first step.
    TrainBegin {
        /// Epochs that the run is to take, in all.
        epochs: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Training samples.
        samples: usize,
        /// The most threads that the steps will use.
        threads: usize,
        /// The epoch that the run begins with: 1, or where it is resumed.
        epoch: usize,
        /// Steps of that epoch that were taken already: 0, or where the run is resumed.
        taken: usize,
    },
    /// Before the first step of an epoch. Not told again where a run is resumed within an epoch.
    EpochBegin {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// After a step.
    StepEnd {
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// Samples of its batch.
        samples: usize,
        /// The mean loss over the batch, before the update.
        loss: f64,
    },
    /// After an epoch's last step, before the validation samples are looked at; only if there are some.
    ValidationBegin {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// After the validation samples were looked at, or failed to be.
    ValidationEnd {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// After the last step of an epoch and its validation.
    EpochEnd(&'a EpochLog),
    /// A checkpoint was written.
    CheckpointSaved(&'a Path),
    /// A checkpoint could not be written, and the run goes on, as [`OnError`](super::OnError) says.
    CheckpointFailed(&'a Error),
    /// A step or the validation failed. If a callback answers with [`Control::Stop`], the run ends as if it had been stopped; else
    /// `fit` returns the error. The parameters are those before the step, unless the error says otherwise.
    Failed(&'a Error),
    /// After the run.
    TrainEnd(&'a History),
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop: [`fit`](crate::nn::Model::fit) returns what there is so far.
    Stop,
}

/// A run as a callback sees it.
#[derive(Debug)]
pub struct Run<'a, T: Element> {
    pub(super) model: &'a mut Model<T>,
    pub(super) history: &'a History,
    pub(super) epoch: usize,
    pub(super) step: usize,
    pub(super) steps_per_epoch: usize,
}

impl<T: Element> Run<'_, T> {
    /// The model. What a callback changes in it, the run goes on with.
    pub fn model(&mut self) -> &mut Model<T> {
        self.model
    }

    /// The gradient of a parameter as the last step left it.
    ///
    /// # Errors
    /// As [`Model::gradient`].
    pub fn gradient(&self, name: &str) -> Result<Tensor<T>> {
        self.model.gradient(name)
    }

    /// The epochs that have ended.
    pub fn history(&self) -> &History {
        self.history
    }

    /// The epoch, from 1.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// Steps taken in this epoch.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Steps taken in this run, those before it was resumed too.
    pub fn total_steps(&self) -> u64 {
        (self.epoch as u64 - 1) * self.steps_per_epoch as u64 + self.step as u64
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// The step size of the last step: that of group 0.
    pub fn learning_rate(&self) -> f64 {
        self.model.learning_rate().unwrap_or(f64::NAN)
    }
}

/// Sees every event of a run, on the caller's thread, and may stop it. Closures of an event are callbacks; [`WithRun`] makes one of
/// a closure that also wants the model.
///
/// ```
/// use gemmule::train::{Callback, Control, Event};
///
/// let mut best = f64::INFINITY;
/// let mut watch = |event: &Event<'_>| {
///     if let Event::EpochEnd(log) = event {
///         best = best.min(log.loss);
///     }
///     Control::Continue
/// };
/// let _: &mut dyn Callback<f32> = &mut watch;
/// ```
pub trait Callback<T: Element> {
    /// Called for every event.
    ///
    /// # Errors
    /// An error ends the run: `fit` returns it.
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control>;

    /// What a checkpoint has to keep of it, if what it does depends on earlier events. Nothing by default.
    fn save(&self) -> State {
        State::new()
    }

    /// Takes over what [`save`](Self::save) kept, before a resumed run begins.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if it is not what this callback keeps.
    fn load(&mut self, state: &State) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

impl<T: Element, F: FnMut(&Event<'_>) -> Control> Callback<T> for F {
    fn on_event(&mut self, event: &Event<'_>, _: &mut Run<'_, T>) -> Result<Control> {
        Ok(self(event))
    }
}

/// A callback of a closure of the event and the run.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{Control, Event, Fit, Run, WithRun};
/// use gemmule::{Result, Tensor};
///
/// let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
///
/// // Stops as soon as the weight's gradient is small.
/// let mut watch = WithRun(|event: &Event<'_>, run: &mut Run<'_, f64>| -> Result<Control> {
///     let small = matches!(event, Event::StepEnd { .. }) && run.gradient("0.weight")?.as_slice()[0].abs() < 1e-3;
///     Ok(if small { Control::Stop } else { Control::Continue })
/// });
/// let history = model.fit(&line, Fit::new().epochs(1000).callback(&mut watch))?;
/// assert!(history.stopped && history.epochs.len() < 1000);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithRun<F>(pub F);

impl<T: Element, F: FnMut(&Event<'_>, &mut Run<'_, T>) -> Result<Control>> Callback<T> for WithRun<F> {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        (self.0)(event, run)
    }
}
