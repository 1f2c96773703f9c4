//! Which figure tells whether a run gets better.

use super::history::EpochLog;
use crate::optim::schedule::Mode;

/// A figure of each epoch and which way it gets better: for early stopping, for the best checkpoint.
///
/// ```
/// use gemmule::train::Monitor;
/// assert!(Monitor::new("validation_loss").is_better(0.1, 0.2));
/// assert!(Monitor::new("validation_accuracy").is_better(0.9, 0.8));
/// assert!(Monitor::minimize("calories").is_better(100.0, f64::NAN));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    name: String,
    maximize: bool,
}

impl Monitor {
    /// The figure that [`EpochLog::value`] knows by this name: one whose name has `loss`, `error` or `deviance` in it is better the
    /// smaller it is, others the larger.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { maximize: Mode::Auto.wants_large(&name), name }
    }

    /// A figure that is better the smaller it is.
    pub fn minimize(name: impl Into<String>) -> Self {
        Self { name: name.into(), maximize: false }
    }

    /// A figure that is better the larger it is.
    pub fn maximize(name: impl Into<String>) -> Self {
        Self { name: name.into(), maximize: true }
    }

    /// The figure's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if it is better the larger it is.
    pub fn is_maximized(&self) -> bool {
        self.maximize
    }

    /// The figure of an epoch; `None` if it has none of this name.
    pub fn value(&self, log: &EpochLog) -> Option<f64> {
        log.value(&self.name)
    }

    /// Whether `value` is better than `best`. A NaN is never better; everything else is better than a NaN.
    pub fn is_better(&self, value: f64, best: f64) -> bool {
        let better = if self.maximize { value > best } else { value < best };
        better || (best.is_nan() && !value.is_nan())
    }
}

impl From<&str> for Monitor {
    /// [`Monitor::new`].
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
