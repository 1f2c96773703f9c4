//! Groups of parameters, each with an optimiser of its own.

use super::Optimizer;
use crate::error::{Error, Result};
use crate::kernel::update::AnyStep;
use crate::state::State;

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
    /// [`Error::Argument`] if an option is out of its range.
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
    /// [`Error::Argument`] if one is negative, NaN or infinite then: nothing is changed.
    pub(crate) fn set_learning_rate(&mut self, value: f64) -> Result<()> {
        let first = self.given.first().map_or(0.0, Optimizer::learning_rate);
        self.change(|group, given, mut now| {
            if group == 0 {
                now.set_learning_rate(value);
            } else if first > 0.0 {
                now.set_learning_rate(given.learning_rate() * (value / first));
            }
            now
        })
    }

    /// Changes the optimisers as they are now: all, or none if an option is out of its range then. A schedule does so before each
    /// step, so nothing is allocated.
    fn change(&mut self, change: impl Fn(usize, &Optimizer, Optimizer) -> Optimizer) -> Result<()> {
        for (group, (given, now)) in self.given.iter().zip(&self.now).enumerate() {
            change(group, given, *now).update(1)?;
        }
        for (group, (given, now)) in self.given.iter().zip(&mut self.now).enumerate() {
            *now = change(group, given, *now);
        }
        Ok(())
    }

    /// The step size of a group, if there is such a group.
    pub(crate) fn group_rate(&self, group: usize) -> Option<f64> {
        self.now.get(group).map(Optimizer::learning_rate)
    }

    /// Sets the step size of a group after the first, and with it its ratio.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is negative, NaN or infinite: nothing is changed.
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

    /// Sets the momentum, or beta1, of the groups that were given one; `None` puts all back to what they were given.
    ///
    /// # Errors
    /// [`Error::State`] if no group was given one; [`Error::Argument`] if it is out of its range: nothing is changed then.
    pub(crate) fn set_momentum(&mut self, value: Option<f64>) -> Result<()> {
        if value.is_some() && self.given.iter().all(|given| given.momentum().is_none()) {
            let what = "the optimiser was made without momentum: give it one, or let the schedule set none \
                        (cycle_momentum: false)";
            return Err(Error::State { operation: "set_momentum", what });
        }
        self.change(|_, given, mut now| {
            if let Some(own) = given.momentum() {
                now.set_momentum(value.unwrap_or(own));
            }
            now
        })
    }

    /// The optimisers of all groups as they are now.
    pub(crate) fn all(&self) -> &[Optimizer] {
        &self.now
    }

    /// What the optimiser of a group does in step `number`.
    ///
    /// # Errors
    /// [`Error::Argument`] if an option is out of its range.
    pub(crate) fn update(&self, group: usize, number: u64) -> Result<AnyStep> {
        self.now[group].update(number)
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.now.len()
    }

    /// What a model's state keeps of them: their options as they were given, and the step sizes now.
    pub(crate) fn state(&self) -> State {
        let mut state = State::new();
        state.set_integer("groups", self.now.len() as u64);
        for (group, (given, now)) in self.given.iter().zip(&self.now).enumerate() {
            state.set_text(format!("{group}/options"), options(given));
            state.set_number(format!("{group}/given rate"), given.learning_rate());
            state.set_number(format!("{group}/rate"), now.learning_rate());
        }
        state
    }

    /// Takes over the step sizes that [`state`](Self::state) kept of groups with the same options.
    ///
    /// # Errors
    /// [`Error::Data`] if there are other groups or other options; these may be changed in part then.
    pub(crate) fn restore(&mut self, state: &State) -> Result<()> {
        let groups = state.integer("groups")?;
        if groups != self.now.len() as u64 {
            return Err(Error::data("restore", "groups of parameters", self.now.len(), groups));
        }
        for group in 0..self.now.len() {
            let (expected, got) = (options(&self.given[group]), state.text(&format!("{group}/options"))?);
            if got != expected {
                return Err(Error::data("restore", format!("the optimiser of group {group}"), expected, got));
            }
            self.given[group].set_learning_rate(state.number(&format!("{group}/given rate"))?);
            self.now[group].set_learning_rate(state.number(&format!("{group}/rate"))?);
            self.given[group].update(1)?;
            self.now[group].update(1)?;
        }
        Ok(())
    }
}

/// The options but for the step size, which may be given anew.
fn options(optimizer: &Optimizer) -> String {
    let mut optimizer = *optimizer;
    optimizer.set_learning_rate(0.0);
    format!("{optimizer:?}")
}
