//! Down along half a cosine, once or again and again.

use super::{Position, Schedule, check_period, check_rate};
use crate::error::Result;
use std::f64::consts::PI;

/// `from` at part 0, `to` at part 1, along half a cosine between.
pub(super) fn half_cosine(from: f64, to: f64, part: f64) -> f64 {
    to + (from - to) * (1.0 + libm::cos(PI * part)) / 2.0
}

/// Half a cosine: PyTorch's `CosineAnnealingLR`.
///
/// ```text
/// rate = eta_min + (base - eta_min) * (1 + cos(pi * step / t_max)) / 2
/// ```
///
/// After `t_max` steps it climbs again along the same curve, as in PyTorch. Source: Loshchilov and Hutter 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingLr {
    /// Steps until the least rate; at least 1.
    pub t_max: u64,
    /// The least rate; at least 0.
    pub eta_min: f64,
}

impl CosineAnnealingLr {
    /// Down to 0 in `t_max` steps.
    pub fn new(t_max: u64) -> Self {
        Self { t_max, eta_min: 0.0 }
    }
}

impl Schedule for CosineAnnealingLr {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let t_max = self.t_max.max(1);
        // Within one period, so that the angle stays exact in long runs.
        let step = at.step % t_max.saturating_mul(2);
        half_cosine(base, self.eta_min, step as f64 / t_max as f64)
    }

    fn check(&self) -> Result<()> {
        check_period("CosineAnnealingLr", "t_max", self.t_max)?;
        check_rate("CosineAnnealingLr", "eta_min", self.eta_min)
    }
}

/// Half a cosine, begun anew each time it has ended: PyTorch's `CosineAnnealingWarmRestarts`, "SGDR".
///
/// ```text
/// rate = eta_min + (base - eta_min) * (1 + cos(pi * t_cur / t_i)) / 2
/// t_i  = t_0, t_0 * t_mult, t_0 * t_mult^2, ...: steps between two restarts;  t_cur: steps since the last
/// ```
///
/// Source: Loshchilov and Hutter 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingWarmRestarts {
    /// Steps until the first restart; at least 1.
    pub t_0: u64,
    /// How much longer each time is than the one before; at least 1.
    pub t_mult: u64,
    /// The least rate; at least 0.
    pub eta_min: f64,
}

impl CosineAnnealingWarmRestarts {
    /// Down to 0 every `t_0` steps.
    pub fn new(t_0: u64) -> Self {
        Self { t_0, t_mult: 1, eta_min: 0.0 }
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let (mut t_cur, mut t_i) = (at.step, self.t_0.max(1));
        if self.t_mult <= 1 {
            t_cur %= t_i;
        }
        while t_cur >= t_i {
            t_cur -= t_i;
            t_i = t_i.saturating_mul(self.t_mult);
        }
        half_cosine(base, self.eta_min, t_cur as f64 / t_i as f64)
    }

    fn check(&self) -> Result<()> {
        check_period("CosineAnnealingWarmRestarts", "t_0", self.t_0)?;
        check_period("CosineAnnealingWarmRestarts", "t_mult", self.t_mult)?;
        check_rate("CosineAnnealingWarmRestarts", "eta_min", self.eta_min)
    }
}
