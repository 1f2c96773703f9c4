//! Logs of a run in files: callbacks that write rows, each whole and at once, so that a run that is killed leaves whole rows.

mod crc32c;
mod csv;
mod events;
mod json;
mod lines;
mod tensorboard;

pub use csv::CsvLog;
pub use events::EventWriter;
pub use json::JsonLines;
pub use tensorboard::TensorBoard;

use super::callback::Event;

/// Where a run begins: from the first step, or where it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    epoch: u64,
    /// Steps of the epoch that were taken.
    step: u64,
    steps_per_epoch: u64,
}

impl Start {
    fn of(event: &Event<'_>) -> Option<Self> {
        match *event {
            Event::TrainBegin { epoch, taken, steps, .. } => {
                Some(Self { epoch: epoch as u64, step: taken as u64, steps_per_epoch: steps as u64 })
            }
            _ => None,
        }
    }

    fn is_resumed(self) -> bool {
        (self.epoch, self.step) != (1, 0)
    }

    fn total_steps(self) -> u64 {
        (self.epoch - 1) * self.steps_per_epoch + self.step
    }
}
