//! What a run tells about itself, and how it is stopped. The library itself prints nothing.

use super::fit::{EpochLog, History};

/// Something that happened in a run of [`fit`](crate::nn::Model::fit).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Before the first step.
    TrainBegin {
        /// Epochs that the run is to take.
        epochs: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Training samples.
        samples: usize,
        /// The most threads that the steps will use.
        threads: usize,
    },
    /// Before the first step of an epoch.
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
    /// After the last step of an epoch and its validation.
    EpochEnd(&'a EpochLog),
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

/// Sees every event of a run, on the caller's thread, and may stop it. Closures are callbacks.
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
/// let _: &mut dyn Callback = &mut watch;
/// ```
pub trait Callback {
    /// Called for every event.
    fn on_event(&mut self, event: &Event<'_>) -> Control;
}

impl<F: FnMut(&Event<'_>) -> Control> Callback for F {
    fn on_event(&mut self, event: &Event<'_>) -> Control {
        self(event)
    }
}
