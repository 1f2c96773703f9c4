//! Groups of parameters, each with an optimiser of its own.

use super::Optimizer;
use crate::error::Result;
use crate::kernel::update::AnyStep;

/// The optimisers of all groups, as they were given and as they are now. Without any before a model is compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    given: Vec<Optimizer>,
    now: Vec<Optimizer>,
}

impl Groups {
    /// One more group. Returns its number.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if an option is out of its range.
    pub(crate) fn add(&mut self, optimizer: Optimizer) -> Result<usize> {
        optimizer.update(1)?;
        // As it would have been given beside group 0, whose step size may have changed since.
        let mut given = optimizer;
        if let (Some(first), Some(now)) = (self.given.first(), self.learning_rate())
            && now > 0.0
        {
            given.set_learning_rate(optimizer.learning_rate() * (first.learning_rate() / now));
        }
        self.given.push(given);
        self.now.push(optimizer);
        Ok(self.now.len() - 1)
    }

    /// The step size of group 0.
    pub(crate) fn learning_rate(&self) -> Option<f64> {
        self.now.first().map(Optimizer::learning_rate)
    }

    /// Sets the step size of group 0; those of the others keep their ratio to it, unless it was given as 0.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if one is negative, NaN or infinite then: nothing is changed.
    pub(crate) fn set_learning_rate(&mut self, value: f64) -> Result<()> {
        let mut now = self.now.clone();
        let first = self.given.first().map_or(0.0, Optimizer::learning_rate);
        for (group, (given, now)) in self.given.iter().zip(&mut now).enumerate() {
            if group == 0 {
                now.set_learning_rate(value);
            } else if first > 0.0 {
                now.set_learning_rate(given.learning_rate() * (value / first));
            }
            now.update(1)?;
        }
        self.now = now;
        Ok(())
    }

    /// The step size of a group, if there is such a group.
    pub(crate) fn group_rate(&self, group: usize) -> Option<f64> {
        self.now.get(group).map(Optimizer::learning_rate)
    }

    /// Sets the step size of a group after the first, and with it its ratio.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if it is negative, NaN or infinite: nothing is changed.
    pub(crate) fn set_group_rate(&mut self, group: usize, value: f64) -> Result<()> {
        let mut changed = self.now[group];
        changed.set_learning_rate(value);
        changed.update(1)?;
        self.now[group] = changed;
        let (first, now) = (self.given[0].learning_rate(), self.now[0].learning_rate());
        let ratio = if now > 0.0 { first / now } else { 1.0 };
        self.given[group].set_learning_rate(value * ratio);
        Ok(())
    }

    /// What the optimiser of a group does in step `number`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if an option is out of its range.
    pub(crate) fn update(&self, group: usize, number: u64) -> Result<AnyStep> {
        self.now[group].update(number)
    }
}
