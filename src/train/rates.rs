//! What a schedule does in a run: the rate of each step, and what it is told of each epoch.

use super::fit::Fit;
use super::history::EpochLog;
use super::run::Loop;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::optim::schedule::Position;

impl<T: Element> Fit<'_, T> {
    /// Whether the schedule's options are in their ranges, and the run has the figure that it wants.
    pub(super) fn check_schedule(&self) -> Result<()> {
        let Some(schedule) = &self.schedule else { return Ok(()) };
        schedule.check()?;
        match schedule.monitor() {
            Some(name) if name.starts_with("validation_") && self.validation.is_none() => Err(Error::State {
                operation: "fit",
                what: "the schedule wants a figure of the validation samples, and there are none: see Fit::validation",
            }),
            _ => Ok(()),
        }
    }
}

impl<T: Element> Loop<'_, '_, T> {
    /// Before the step `index` of the epoch.
    fn position(&self, index: usize) -> Position {
        let steps = self.batches.len() as u64;
        Position::new((self.place.epoch as u64 - 1) * steps + index as u64, steps)
    }

    /// Sets learning rate and momentum of the step `index` of the epoch, if there is a schedule.
    pub(super) fn set_rates(&mut self, index: usize) -> Result<()> {
        let Some(schedule) = &self.options.schedule else { return Ok(()) };
        let at = self.position(index);
        self.model.set_learning_rate(schedule.learning_rate(self.place.base_rate, at))?;
        // Where it sets none, that of the optimiser: what was set before is no part of the position.
        self.model.set_momentum(schedule.momentum(at))
    }

    /// Tells the schedule the figure that it wants.
    ///
    /// # Errors
    /// [`Error::Argument`] if the epoch has no such figure.
    pub(super) fn observe(&mut self, log: &EpochLog) -> Result<()> {
        let at = self.position(self.place.step);
        let Some(schedule) = &mut self.options.schedule else { return Ok(()) };
        let Some(name) = schedule.monitor() else { return Ok(()) };
        let value = log.monitored("the schedule's monitor", name)?;
        schedule.observe(self.place.base_rate, at, value);
        Ok(())
    }
}

impl EpochLog {
    /// The figure called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] lists those there are.
    pub(super) fn monitored(&self, what: &'static str, name: &str) -> Result<f64> {
        self.value(name).ok_or_else(|| {
            let names: Vec<&str> = self.values().into_iter().map(|(name, _)| name).collect();
            Error::argument("fit", what, format_args!("one of {}", names.join(", ")), name)
        })
    }
}
