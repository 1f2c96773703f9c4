//! Up and down: once, or again and again. The momentum goes the other way.

use super::cosine::half_cosine;
use super::{Position, Schedule, check_period, check_positive, check_rate, times};
use crate::error::{Error, Result};

/// The curve from one rate to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A line.
    Linear,
}

impl Anneal {
    fn between(self, from: f64, to: f64, part: f64) -> f64 {
        match self {
            Self::Cos => half_cosine(from, to, part),
            Self::Linear => (to - from) * part + from,
        }
    }
}

/// Once up and far down: PyTorch's `OneCycleLR`.
///
/// ```text
///                     step                           rate                                   momentum
/// start               0                              max_lr / div_factor                    max_momentum
/// top                 pct_start * total_steps - 1    max_lr                                 base_momentum
/// (three_phase:       2 * pct_start * total_steps - 2    max_lr / div_factor                max_momentum)
/// end                 total_steps - 1                max_lr / div_factor / final_div_factor max_momentum
/// ```
///
/// The optimiser's own rate is not used. After `total_steps` the rate stays at its end (PyTorch raises an error). Source: Smith
/// and Topin 2018.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycleLr {
    /// The largest rate; at least 0.
    pub max_lr: f64,
    /// Steps of the cycle; at least 1.
    pub total_steps: u64,
    /// The part of the cycle that goes up; 0 to 1.
    pub pct_start: f64,
    /// The curve between start, top and end.
    pub anneal_strategy: Anneal,
    /// Whether the momentum, or beta1, of the optimiser is set too.
    pub cycle_momentum: bool,
    /// The momentum at the top; at least 0 and below 1.
    pub base_momentum: f64,
    /// The momentum at the start and at the end; at least 0 and below 1.
    pub max_momentum: f64,
    /// How many times smaller the first rate is than the largest; above 0.
    pub div_factor: f64,
    /// How many times smaller the last rate is than the first; above 0.
    pub final_div_factor: f64,
    /// Down to the first rate as slowly as up, then further down.
    pub three_phase: bool,
}

impl OneCycleLr {
    /// Up to `max_lr` and down again in `total_steps`: the optimiser's steps of the whole run. All else as in PyTorch: 30 % up,
    /// cosines, momentum between 0.85 and 0.95, factors 25 and 1e4.
    pub fn new(max_lr: f64, total_steps: u64) -> Self {
        Self {
            max_lr,
            total_steps,
            pct_start: 0.3,
            anneal_strategy: Anneal::Cos,
            cycle_momentum: true,
            base_momentum: 0.85,
            max_momentum: 0.95,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// From the end of one phase to that of the next: by the rates and by the momentums.
    fn at(&self, step: u64, [first, top, last]: [f64; 3]) -> f64 {
        let total = self.total_steps.max(1);
        let step = step.min(total - 1) as f64;
        let end = (total - 1) as f64;
        let up = self.pct_start * total as f64;
        let (two, three) =
            ([(up - 1.0, top), (end, last)], [(up - 1.0, top), (2.0 * up - 2.0, first), (end, last)]);
        let phases: &[(f64, f64)] = if self.three_phase { &three } else { &two };
        let (mut start, mut from) = (0.0, first);
        for (index, &(end, to)) in phases.iter().enumerate() {
            if step <= end || index + 1 == phases.len() {
                // A phase of no length is over.
                let part = if end == start { 1.0 } else { (step - start) / (end - start) };
                return self.anneal_strategy.between(from, to, part);
            }
            (start, from) = (end, to);
        }
        last
    }
}

impl Schedule for OneCycleLr {
    fn learning_rate(&self, _base: f64, at: Position) -> f64 {
        let first = self.max_lr / self.div_factor;
        self.at(at.step, [first, self.max_lr, first / self.final_div_factor])
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        let momentums = [self.max_momentum, self.base_momentum, self.max_momentum];
        self.cycle_momentum.then(|| self.at(at.step, momentums))
    }

    fn check(&self) -> Result<()> {
        const NAME: &str = "OneCycleLr";
        check_rate(NAME, "max_lr", self.max_lr)?;
        check_period(NAME, "total_steps", self.total_steps)?;
        if !(0.0..=1.0).contains(&self.pct_start) {
            return Err(Error::argument(NAME, "pct_start", "0 to 1", self.pct_start));
        }
        check_positive(NAME, "div_factor", self.div_factor)?;
        check_positive(NAME, "final_div_factor", self.final_div_factor)?;
        check_momentums(NAME, self.cycle_momentum, self.base_momentum, self.max_momentum)
    }
}

/// How the height of the cycles changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CyclicMode {
    /// Not at all.
    #[default]
    Triangular,
    /// Half of it in each next cycle.
    Triangular2,
    /// Times gamma after each step.
    ExpRange,
}

/// Up and down between two rates, again and again: PyTorch's `CyclicLR`.
///
/// ```text
/// rate     = base_lr + (max_lr - base_lr) * x * height
/// momentum = max_momentum - (max_momentum - base_momentum) * x * height
/// x        = from 0 to 1 in step_size_up steps, back to 0 in step_size_down
/// height   = 1, 1 / 2^(cycles finished), or gamma^step
/// ```
///
/// The optimiser's own rate is not used. Source: Smith 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CyclicLr {
    /// The least rate; at least 0.
    pub base_lr: f64,
    /// The largest rate; at least 0.
    pub max_lr: f64,
    /// Steps up; at least 1.
    pub step_size_up: u64,
    /// Steps down; as many as up if it is `None`.
    pub step_size_down: Option<u64>,
    /// How the height of the cycles changes.
    pub mode: CyclicMode,
    /// For [`CyclicMode::ExpRange`]; at least 0.
    pub gamma: f64,
    /// Whether the momentum, or beta1, of the optimiser is set too.
    pub cycle_momentum: bool,
    /// The momentum at the largest rate; at least 0 and below 1.
    pub base_momentum: f64,
    /// The momentum at the least rate; at least 0 and below 1.
    pub max_momentum: f64,
}

impl CyclicLr {
    /// Triangles between two rates, 2000 steps up and 2000 down, the momentum between 0.8 and 0.9, as in PyTorch.
    pub fn new(base_lr: f64, max_lr: f64) -> Self {
        Self {
            base_lr,
            max_lr,
            step_size_up: 2000,
            step_size_down: None,
            mode: CyclicMode::Triangular,
            gamma: 1.0,
            cycle_momentum: true,
            base_momentum: 0.8,
            max_momentum: 0.9,
        }
    }

    /// How far up: 0 to 1, times the height of the cycle.
    fn height(&self, step: u64) -> f64 {
        let up = self.step_size_up.max(1);
        let down = self.step_size_down.unwrap_or(up).max(1);
        let total = up.saturating_add(down);
        let (cycle, within) = (step / total, step % total);
        let x = if within <= up { within as f64 / up as f64 } else { (total - within) as f64 / down as f64 };
        x * match self.mode {
            CyclicMode::Triangular => 1.0,
            CyclicMode::Triangular2 => times(0.5, cycle),
            CyclicMode::ExpRange => times(self.gamma, step),
        }
    }
}

impl Schedule for CyclicLr {
    fn learning_rate(&self, _base: f64, at: Position) -> f64 {
        self.base_lr + (self.max_lr - self.base_lr) * self.height(at.step)
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        let range = self.max_momentum - self.base_momentum;
        self.cycle_momentum.then(|| self.max_momentum - range * self.height(at.step))
    }

    fn check(&self) -> Result<()> {
        const NAME: &str = "CyclicLr";
        check_rate(NAME, "base_lr", self.base_lr)?;
        check_rate(NAME, "max_lr", self.max_lr)?;
        check_period(NAME, "step_size_up", self.step_size_up)?;
        check_period(NAME, "step_size_down", self.step_size_down.unwrap_or(1))?;
        check_rate(NAME, "gamma", self.gamma)?;
        check_momentums(NAME, self.cycle_momentum, self.base_momentum, self.max_momentum)
    }
}

fn check_momentums(schedule: &'static str, used: bool, base: f64, max: f64) -> Result<()> {
    for (what, value) in [("base_momentum", base), ("max_momentum", max)] {
        if used && !(0.0..1.0).contains(&value) {
            return Err(Error::argument(schedule, what, "at least 0 and below 1", value));
        }
    }
    Ok(())
}
