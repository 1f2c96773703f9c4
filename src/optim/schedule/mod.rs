//! Schedules of the learning rate: PyTorch's formulas, names and defaults.
//!
//! ```text
//!                                rate after t steps, b the optimiser's own                  from
//!   ConstantLr                   b * factor, from total_iters on b                          ConstantLR
//!   LinearLr                     b * (from start_factor to end_factor in total_iters)       LinearLR
//!   StepLr                       b * gamma^floor(t / step_size)                             StepLR
//!   MultiStepLr                  b * gamma^(milestones reached)                             MultiStepLR
//!   ExponentialLr                b * gamma^t                                                ExponentialLR
//!   PolynomialLr                 end + (b - end) * (1 - t / total_iters)^power              PolynomialLR; Keras' PolynomialDecay
//!   InverseTimeDecay             b / (1 + decay_rate * t / decay_steps)                     Keras' InverseTimeDecay
//!   CosineAnnealingLr            from b to eta_min along half a cosine of t_max             CosineAnnealingLR
//!   CosineAnnealingWarmRestarts  the same, anew after t_0, t_0 * t_mult, ...                CosineAnnealingWarmRestarts
//!   OneCycleLr                   up to max_lr, then far down; momentum the other way        OneCycleLR
//!   CyclicLr                     up and down between base_lr and max_lr; momentum too       CyclicLR
//!   LambdaLr                     b * f(t)                                                   LambdaLR
//!   ReduceLrOnPlateau            b * factor^(times that a figure stopped to improve)        ReduceLROnPlateau
//!
//!   Warmup                       linearly up to any of them
//!   SequentialLr                 one after the other                                        SequentialLR
//!   ByEpoch                      any of them, with t counted in epochs
//! ```
//!
//! Each is a closed form: the rate at a step follows from the step alone, not from the rate before it, so nothing drifts
//! and a run that goes on later goes on exactly. (PyTorch's recurrences differ from its own closed forms in the last
//! digits.) [`ReduceLrOnPlateau`] alone remembers something, which [`Schedule::save`] gives to a checkpoint.
//!
//! PyTorch calls `scheduler.step()` after a step or after an epoch; here t counts steps unless
//! [`by_epoch`](Schedule::by_epoch) is said:
//!
//! ```
//! use gemmule::optim::schedule::{CosineAnnealingLr, Position, Schedule, StepLr, Warmup};
//!
//! // A tenth every 30 epochs.
//! let steps = StepLr::new(30).by_epoch();
//! assert_eq!(steps.learning_rate(0.1, Position::new(29_999, 1000)), 0.1);
//! assert!((steps.learning_rate(0.1, Position::new(30_000, 1000)) - 0.01).abs() < 1e-15);
//!
//! // Up in 100 steps, then down along a cosine of 900.
//! let cosine = Warmup::new(100, CosineAnnealingLr::new(900));
//! assert_eq!(cosine.learning_rate(0.1, Position::new(50, 1000)), 0.05);
//! assert_eq!(cosine.learning_rate(0.1, Position::new(100, 1000)), 0.1);
//! assert!(cosine.learning_rate(0.1, Position::new(1000, 1000)) < 1e-15);
//! ```

mod combine;
mod cosine;
mod cycle;
mod decay;
mod plateau;
mod sequence;

pub use combine::{ByEpoch, LambdaLr, Warmup};
pub use cosine::{CosineAnnealingLr, CosineAnnealingWarmRestarts};
pub use cycle::{Anneal, CyclicLr, CyclicMode, OneCycleLr};
pub use decay::{ConstantLr, ExponentialLr, InverseTimeDecay, LinearLr, MultiStepLr, PolynomialLr, StepLr};
pub use plateau::{Mode, PlateauState, ReduceLrOnPlateau, ThresholdMode};
pub use sequence::SequentialLr;

use crate::error::{Error, Result};
use crate::state::State;

/// Where a run is: before which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// Steps taken so far in the whole run.
    pub step: u64,
    /// Epochs finished so far.
    pub epoch: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
}

impl Position {
    /// After `step` steps, in epochs of `steps_per_epoch` (of 1, if that is 0).
    pub fn new(step: u64, steps_per_epoch: u64) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1);
        Self { step, epoch: step / steps_per_epoch, steps_per_epoch }
    }

    /// The position as one sees it who began `steps` later. An epoch that had begun then is the first; epochs end where they
    /// ended before.
    pub(super) fn since(self, steps: u64) -> Self {
        Self {
            step: self.step.saturating_sub(steps),
            epoch: self.epoch.saturating_sub(steps / self.steps_per_epoch.max(1)),
            ..self
        }
    }
}

/// What the learning rate is at each step of a run.
///
/// Implement it for a schedule of your own, or use [`LambdaLr`].
///
/// ```
/// use gemmule::optim::schedule::{Position, Schedule};
///
/// /// The rate of Vaswani et al. 2017, but for the model's width: up for some steps, then down with the root.
/// struct Noam {
///     warmup: f64,
/// }
///
/// impl Schedule for Noam {
///     fn learning_rate(&self, base: f64, at: Position) -> f64 {
///         let step = (at.step + 1) as f64;
///         base * (1.0 / step.sqrt()).min(step / (self.warmup * self.warmup.sqrt()))
///     }
/// }
///
/// let rate = Noam { warmup: 4000.0 }.learning_rate(1.0, Position::new(3999, 100));
/// assert!((rate - 1.0 / 4000.0_f64.sqrt()).abs() < 1e-12);
/// ```
pub trait Schedule {
    /// The rate of the step at `at`, where `base` is the optimiser's own.
    fn learning_rate(&self, base: f64, at: Position) -> f64;

    /// The momentum (or beta1) of that step; `None` for the optimiser's own.
    fn momentum(&self, at: Position) -> Option<f64> {
        let _ = at;
        None
    }

    /// Whether every option is in its range: called once, before the first step.
    ///
    /// # Errors
    /// [`Error::Argument`] names the option.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The figure that [`observe`](Self::observe) wants after each epoch, if any: `loss`, `validation_loss`, `accuracy`,
    /// `validation_accuracy`, or the name of a metric.
    fn monitor(&self) -> Option<&str> {
        None
    }

    /// The figure that it asked for, after the epoch that ended at `at`.
    fn observe(&mut self, base: f64, at: Position, value: f64) {
        let _ = (base, at, value);
    }

    /// What a checkpoint has to keep of it, if its rates depend on what it observed. Nothing by default.
    fn save(&self) -> State {
        State::new()
    }

    /// Takes over what [`save`](Self::save) kept, before a resumed run begins.
    ///
    /// # Errors
    /// [`Error::Data`] if it is not what this schedule keeps: nothing is changed then.
    fn load(&mut self, state: &State) -> Result<()> {
        let _ = state;
        Ok(())
    }

    /// The same schedule with its steps counted in epochs: all steps of an epoch have one rate.
    fn by_epoch(self) -> ByEpoch<Self>
    where
        Self: Sized,
    {
        ByEpoch(self)
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        (**self).learning_rate(base, at)
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        (**self).momentum(at)
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn monitor(&self) -> Option<&str> {
        (**self).monitor()
    }

    fn observe(&mut self, base: f64, at: Position, value: f64) {
        (**self).observe(base, at, value);
    }

    fn save(&self) -> State {
        (**self).save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        (**self).load(state)
    }
}

/// `value` is finite and at least 0: a rate, a factor.
fn check_rate(schedule: &'static str, what: &'static str, value: f64) -> Result<()> {
    if !(value.is_finite() && value >= 0.0) {
        return Err(Error::argument(schedule, what, "a finite number, at least 0", value));
    }
    Ok(())
}

/// `value` is finite and above 0: a divisor.
fn check_positive(schedule: &'static str, what: &'static str, value: f64) -> Result<()> {
    if !(value.is_finite() && value > 0.0) {
        return Err(Error::argument(schedule, what, "a finite number above 0", value));
    }
    Ok(())
}

/// A period, a number of steps: not 0.
fn check_period(schedule: &'static str, what: &'static str, value: u64) -> Result<()> {
    if value == 0 {
        return Err(Error::argument(schedule, what, "at least 1", 0));
    }
    Ok(())
}

/// `factor^count`: the factor after so many times.
fn times(factor: f64, count: u64) -> f64 {
    libm::pow(factor, count as f64)
}
