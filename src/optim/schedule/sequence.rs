//! One schedule after the other.

use super::{Position, Schedule};
use crate::error::{Error, Result};
use crate::state::State;

/// One schedule after the other: PyTorch's `SequentialLR`. Each sees the steps since its milestone.
///
/// ```
/// use gemmule::optim::schedule::{ExponentialLr, LinearLr, Position, Schedule, SequentialLr};
/// let warmup = LinearLr { start_factor: 0.5, total_iters: 20, ..LinearLr::default() };
/// let schedule = SequentialLr::starting_with(warmup).then(20, ExponentialLr::new(0.9));
/// assert_eq!(schedule.learning_rate(1.0, Position::new(0, 100)), 0.5);
/// assert_eq!(schedule.learning_rate(1.0, Position::new(20, 100)), 1.0);
/// assert_eq!(schedule.learning_rate(1.0, Position::new(21, 100)), 0.9);
/// ```
pub struct SequentialLr<'a> {
    /// Each with the step that it begins with.
    parts: Vec<(u64, Box<dyn Schedule + 'a>)>,
}

impl std::fmt::Debug for SequentialLr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milestones: Vec<u64> = self.parts.iter().skip(1).map(|(milestone, _)| *milestone).collect();
        f.debug_struct("SequentialLr").field("milestones", &milestones).finish_non_exhaustive()
    }
}

impl<'a> SequentialLr<'a> {
    /// The first schedule.
    pub fn starting_with(schedule: impl Schedule + 'a) -> Self {
        Self { parts: vec![(0, Box::new(schedule))] }
    }

    /// From step `milestone` on another one.
    #[must_use]
    pub fn then(mut self, milestone: u64, schedule: impl Schedule + 'a) -> Self {
        self.parts.push((milestone, Box::new(schedule)));
        self
    }

    /// The part that rules at a step, and since when.
    fn at(&self, step: u64) -> usize {
        // The first part begins at 0, so there is one.
        self.parts.iter().rposition(|(milestone, _)| *milestone <= step).unwrap_or(0)
    }
}

impl Schedule for SequentialLr<'_> {
    fn learning_rate(&self, base: f64, at: Position) -> f64 {
        let (milestone, schedule) = &self.parts[self.at(at.step)];
        schedule.learning_rate(base, at.since(*milestone))
    }

    fn momentum(&self, at: Position) -> Option<f64> {
        let (milestone, schedule) = &self.parts[self.at(at.step)];
        schedule.momentum(at.since(*milestone))
    }

    fn check(&self) -> Result<()> {
        for pair in self.parts.windows(2) {
            if pair[0].0 > pair[1].0 {
                let got = format!("{} after {}", pair[1].0, pair[0].0);
                return Err(Error::argument("SequentialLr", "milestones", "ascending steps", got));
            }
        }
        let mut monitors = self.parts.iter().filter_map(|(_, schedule)| schedule.monitor());
        if let Some(first) = monitors.next()
            && let Some(other) = monitors.find(|&other| other != first)
        {
            return Err(Error::argument("SequentialLr", "monitor", format_args!("{first} for all"), other));
        }
        self.parts.iter().try_for_each(|(_, schedule)| schedule.check())
    }

    fn monitor(&self) -> Option<&str> {
        self.parts.iter().find_map(|(_, schedule)| schedule.monitor())
    }

    fn observe(&mut self, base: f64, at: Position, value: f64) {
        // The epoch ended before the step at `at`: it is that of the step before.
        let part = self.at(at.step.saturating_sub(1));
        let (milestone, schedule) = &mut self.parts[part];
        schedule.observe(base, at.since(*milestone), value);
    }

    fn save(&self) -> State {
        let mut state = State::new();
        for (index, (_, schedule)) in self.parts.iter().enumerate() {
            state.set_part(&index.to_string(), schedule.save());
        }
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let before = self.save();
        for index in 0..self.parts.len() {
            if let Err(error) = self.parts[index].1.load(&state.part(&index.to_string())) {
                for (index, (_, schedule)) in self.parts.iter_mut().enumerate().take(index) {
                    schedule.load(&before.part(&index.to_string()))?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
