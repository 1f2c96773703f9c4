//! Factors that change linearly, in steps, or ever less.

use super::{Position, Schedule, check_period, check_positive, check_rate, times};
use crate::error::Result;

/// A constant factor for a while: PyTorch's `ConstantLR`.
///
/// ```text
/// rate = base * factor    while step < total_iters
///        base             from then on
/// ```
///
/// The base rate itself, all the time, needs no schedule; as a part of a [`SequentialLr`](super::SequentialLr) it is
/// [`ConstantLr::base`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantLr {
    /// What the rate is multiplied by; at least 0.
    pub factor: f64,
    /// For how many steps.
    pub total_iters: u64,
}

impl ConstantLr {
    /// The base rate.
    pub fn base() -> Self {
        Self { factor: 1.0, total_iters: 0 }
    }
}

impl Default for ConstantLr {
    /// A third for 5 steps, as in PyTorch.
    fn default() -> Self {
        Self { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

impl Schedule for ConstantLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        if at.step < self.total_iters { base * self.factor } else { base }
    }

    fn check(&self) -> Result<()> {
        check_rate("ConstantLr", "factor", self.factor)
    }
}

/// A factor that grows or shrinks linearly: PyTorch's `LinearLR`. [`Warmup`](super::Warmup) puts one before another
/// schedule.
///
/// ```text
/// rate = base * (start_factor + (end_factor - start_factor) * min(step, total_iters) / total_iters)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearLr {
    /// The factor of the first step; at least 0 (PyTorch, which divides by it: above 0).
    pub start_factor: f64,
    /// The factor from `total_iters` on; at least 0.
    pub end_factor: f64,
    /// Steps from the one to the other; at least 1.
    pub total_iters: u64,
}

impl Default for LinearLr {
    /// From a third to 1 in 5 steps, as in PyTorch.
    fn default() -> Self {
        Self { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl Schedule for LinearLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        if at.step >= self.total_iters {
            return base * self.end_factor;
        }
        let part = at.step as f64 / self.total_iters as f64;
        base * (self.start_factor + (self.end_factor - self.start_factor) * part)
    }

    fn check(&self) -> Result<()> {
        check_rate("LinearLr", "start_factor", self.start_factor)?;
        check_rate("LinearLr", "end_factor", self.end_factor)?;
        check_period("LinearLr", "total_iters", self.total_iters)
    }
}

/// Once more times gamma every so many steps: PyTorch's `StepLR`.
///
/// ```text
/// rate = base * gamma^floor(step / step_size)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLr {
    /// Steps with one rate; at least 1.
    pub step_size: u64,
    /// What the rate is multiplied by then; at least 0.
    pub gamma: f64,
}

impl StepLr {
    /// A tenth every `step_size` steps, as in PyTorch.
    pub fn new(step_size: u64) -> Self {
        Self { step_size, gamma: 0.1 }
    }
}

impl Schedule for StepLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        base * times(self.gamma, at.step / self.step_size.max(1))
    }

    fn check(&self) -> Result<()> {
        check_period("StepLr", "step_size", self.step_size)?;
        check_rate("StepLr", "gamma", self.gamma)
    }
}

/// Once more times gamma at each milestone: PyTorch's `MultiStepLR`.
///
/// ```text
/// rate = base * gamma^(how many milestones <= step)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStepLr {
    /// The steps that are the first with a new rate, in any order; one that is there twice counts twice.
    pub milestones: Vec<u64>,
    /// What the rate is multiplied by then; at least 0.
    pub gamma: f64,
}

impl MultiStepLr {
    /// A tenth at each of the `milestones`, as in PyTorch.
    pub fn new(milestones: impl Into<Vec<u64>>) -> Self {
        Self { milestones: milestones.into(), gamma: 0.1 }
    }
}

impl Schedule for MultiStepLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let reached = self.milestones.iter().filter(|&&milestone| milestone <= at.step).count();
        base * times(self.gamma, reached as u64)
    }

    fn check(&self) -> Result<()> {
        check_rate("MultiStepLr", "gamma", self.gamma)
    }
}

/// Once more times gamma after each step: PyTorch's `ExponentialLR`.
///
/// ```text
/// rate = base * gamma^step
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExponentialLr {
    /// What the rate is multiplied by; at least 0.
    pub gamma: f64,
}

impl ExponentialLr {
    /// Times `gamma` after each step.
    pub fn new(gamma: f64) -> Self {
        Self { gamma }
    }
}

impl Schedule for ExponentialLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        base * times(self.gamma, at.step)
    }

    fn check(&self) -> Result<()> {
        check_rate("ExponentialLr", "gamma", self.gamma)
    }
}

/// Down to an end along a power of the steps that are left: PyTorch's `PolynomialLR`, with the end and the cycles of
/// Keras' `PolynomialDecay`.
///
/// ```text
/// rate = end_lr + (base - end_lr) * (1 - min(step, n) / n)^power
/// n    = total_iters; with cycle, its first multiple that is not below the step
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolynomialLr {
    /// Steps until the end; at least 1.
    pub total_iters: u64,
    /// 1 for a line; at least 0.
    pub power: f64,
    /// The rate at the end; at least 0.
    pub end_lr: f64,
    /// Begin anew with twice, three times, ... as many steps instead of staying at the end.
    pub cycle: bool,
}

impl Default for PolynomialLr {
    /// A line to 0 in 5 steps, as in PyTorch.
    fn default() -> Self {
        Self { total_iters: 5, power: 1.0, end_lr: 0.0, cycle: false }
    }
}

impl Schedule for PolynomialLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let total = self.total_iters.max(1);
        let total = if self.cycle { total.saturating_mul(at.step.div_ceil(total).max(1)) } else { total };
        // The steps that are left, not 1 less the part that is done: that would cancel near the end.
        let left = total.saturating_sub(at.step) as f64 / total as f64;
        self.end_lr + (base - self.end_lr) * libm::pow(left, self.power)
    }

    fn check(&self) -> Result<()> {
        check_period("PolynomialLr", "total_iters", self.total_iters)?;
        check_rate("PolynomialLr", "power", self.power)?;
        check_rate("PolynomialLr", "end_lr", self.end_lr)
    }
}

/// Down as 1 / t: Keras' `InverseTimeDecay`.
///
/// ```text
/// rate = base / (1 + decay_rate * step / decay_steps)      with staircase: * floor(step / decay_steps)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseTimeDecay {
    /// Steps after which the decay counts once; above 0.
    pub decay_steps: f64,
    /// How much it counts; at least 0.
    pub decay_rate: f64,
    /// Decay once every `decay_steps`, not a little at each step.
    pub staircase: bool,
}

impl InverseTimeDecay {
    /// A smooth decay.
    pub fn new(decay_steps: f64, decay_rate: f64) -> Self {
        Self { decay_steps, decay_rate, staircase: false }
    }
}

impl Schedule for InverseTimeDecay {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let periods = at.step as f64 / self.decay_steps;
        base / (1.0 + self.decay_rate * if self.staircase { periods.floor() } else { periods })
    }

    fn check(&self) -> Result<()> {
        check_positive("InverseTimeDecay", "decay_steps", self.decay_steps)?;
        check_rate("InverseTimeDecay", "decay_rate", self.decay_rate)
    }
}
