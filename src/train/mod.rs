//! The training loop and what a person wants around it: fit, evaluate, predict, callbacks, metrics.

mod callback;
mod callbacks;
mod checkpoint;
mod cross_validate;
mod evaluate;
mod fit;
mod history;
mod log;
mod lr_finder;
pub mod metrics;
mod monitor;
#[cfg(feature = "npz")]
mod npz;
#[cfg(feature = "plot")]
mod plot;
mod predict;
mod rates;
mod run;

pub use callback::{Callback, Control, Event, Run, WithRun};
#[cfg(feature = "progress")]
pub use callbacks::Progress;
pub use callbacks::{EarlyStopping, ExponentialMovingAverage, NanReport, StopOnNan, TimeBudget};
pub use checkpoint::{Checkpoint, Checkpoints, OnError};
pub use cross_validate::{CrossValidate, CrossValidation, FoldData, FoldScore, Spread, cross_validate};
pub use fit::Fit;
pub use history::{EpochLog, History};
pub use log::{CsvLog, EventWriter, JsonLines, TensorBoard};
pub use lr_finder::{LrFinder, LrSweep};
pub use metrics::ConfusionMatrix;
pub use monitor::Monitor;
#[cfg(feature = "plot")]
pub use plot::Plot;
pub use predict::Evaluation;
