//! Schedules around others, and the user's own.

use super::{Position, Schedule, check_period, check_rate};
use crate::error::Result;
use crate::state::State;

/// A schedule whose steps are epochs: see [`Schedule::by_epoch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByEpoch<S>(pub S);

impl<S> ByEpoch<S> {
    fn of(at: Position) -> Position {
        Position { step: at.epoch, epoch: at.epoch, steps_per_epoch: 1 }
    }
}

impl<S: Schedule> Schedule for ByEpoch<S> {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        self.0.learning_rate(base, Self::of(at))
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        self.0.momentum(Self::of(at))
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn monitor(&self) -> Option<&str> {
        self.0.monitor()
    }

    fn observe(&mut self, base: f64, at: Position, value: f64) {
        self.0.observe(base, Self::of(at), value);
    }

    fn save(&self) -> State {
        self.0.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.0.load(state)
    }
}

/// Linearly up to the first rate of another schedule, which begins then: PyTorch's `SequentialLR` of a `LinearLR` and
/// that other.
///
/// ```text
/// rate = first * (start_factor + (1 - start_factor) * step / steps)    while step < steps
///        the other's, `steps` later                                    from then on
/// ```
///
/// Here the way up ends where the other schedule begins, whatever its first rate is; the momentum is the other's first.
///
/// ```
/// use gemmule::optim::schedule::{CosineAnnealingLr, Position, Schedule, Warmup};
/// let schedule = Warmup { start_factor: 0.1, ..Warmup::new(5, CosineAnnealingLr::new(95)) }.by_epoch();
/// assert!((schedule.learning_rate(1.0, Position::new(0, 10)) - 0.1).abs() < 1e-15);
/// assert_eq!(schedule.learning_rate(1.0, Position::new(50, 10)), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup<S> {
    /// Steps of the way up; at least 1.
    pub steps: u64,
    /// The factor of the first step; at least 0.
    pub start_factor: f64,
    /// What follows.
    pub then: S,
}

impl<S> Warmup<S> {
    /// From 0 in `steps` steps, then as `then` says. The very first step changes nothing then: with a `start_factor` of
    /// `1.0 / steps as f64` it does.
    pub fn new(steps: u64, then: S) -> Self {
        Self { steps, start_factor: 0.0, then }
    }
}

impl<S: Schedule> Schedule for Warmup<S> {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let rate = self.then.learning_rate(base, at.since(self.steps));
        if at.step >= self.steps {
            return rate;
        }
        rate * (self.start_factor + (1.0 - self.start_factor) * (at.step as f64 / self.steps as f64))
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        self.then.momentum(at.since(self.steps))
    }

    fn check(&self) -> Result<()> {
        check_period("Warmup", "steps", self.steps)?;
        check_rate("Warmup", "start_factor", self.start_factor)?;
        self.then.check()
    }

    fn monitor(&self) -> Option<&str> {
        self.then.monitor()
    }

    /// What is seen on the way up does not count.
    fn observe(&mut self, base: f64, at: Position, value: f64) {
        if at.step > self.steps {
            self.then.observe(base, at.since(self.steps), value);
        }
    }

    fn save(&self) -> State {
        self.then.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.then.load(state)
    }
}

/// The base rate times what a closure says of the step: PyTorch's `LambdaLR`.
///
/// ```text
/// rate = base * f(step)
/// ```
///
/// A rate that is negative, NaN or infinite is an error of the step that it is for.
///
/// ```
/// use gemmule::optim::schedule::{LambdaLr, Position, Schedule};
/// let schedule = LambdaLr::new(|step| if step < 100 { 1.0 } else { 0.1 });
/// assert_eq!(schedule.learning_rate(0.5, Position::new(99, 10)), 0.5);
/// assert_eq!(schedule.learning_rate(0.5, Position::new(100, 10)), 0.05);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LambdaLr<F>(F);

impl<F: Fn(u64) -> f64> LambdaLr<F> {
    /// The base rate times `factor` of the step.
    pub fn new(factor: F) -> Self {
        Self(factor)
    }
}

impl<F: Fn(u64) -> f64> Schedule for LambdaLr<F> {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        base * (self.0)(at.step)
    }
}
