//! Stops a run when its time is over.

use crate::error::Result;
use crate::kernel::Element;
use crate::train::{Callback, Control, Event, Run};
use std::time::{Duration, Instant};

/// Stops a run after the first step that ends when so much time has passed since the run began. The time before a run was
/// resumed does not count: a budget is for what one process may take. The epoch's validation comes after it, and may end the run
/// in its turn.
///
/// ```
/// use gemmule::train::{Fit, TimeBudget};
/// use std::time::Duration;
/// let mut hour = TimeBudget::new(Duration::from_secs(3600));
/// let options: Fit<'_, f32> = Fit::new().epochs(1_000_000).callback(&mut hour);
/// ```
pub struct TimeBudget<'a> {
    budget: Duration,
    clock: Box<dyn FnMut() -> Duration + 'a>,
    start: Duration,
    exceeded: bool,
}

impl std::fmt::Debug for TimeBudget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { budget, exceeded, .. } = self;
        f.debug_struct("TimeBudget")
            .field("budget", budget)
            .field("exceeded", exceeded)
            .finish_non_exhaustive()
    }
}

impl<'a> TimeBudget<'a> {
    /// So much time by the system's clock that does not go backwards.
    pub fn new(budget: Duration) -> Self {
        let start = Instant::now();
        Self::with_clock(budget, move || start.elapsed())
    }

    /// So much time by a clock of the caller's, which says how much has passed since a moment that stays the same.
    pub fn with_clock(budget: Duration, clock: impl FnMut() -> Duration + 'a) -> Self {
        Self { budget, clock: Box::new(clock), start: Duration::ZERO, exceeded: false }
    }

    /// True if it stopped the last run.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded
    }
}

impl<T: Element> Callback<T> for TimeBudget<'_> {
    fn on_event(&mut self, event: &Event<'_>, _: &mut Run<'_, T>) -> Result<Control> {
        match event {
            Event::TrainBegin { .. } => (self.start, self.exceeded) = ((self.clock)(), false),
            Event::StepEnd { .. } | Event::EpochEnd(_) => {
                self.exceeded |= (self.clock)().saturating_sub(self.start) >= self.budget;
            }
            _ => {}
        }
        Ok(if self.exceeded { Control::Stop } else { Control::Continue })
    }
}
