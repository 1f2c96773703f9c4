//! The training loop and what a person wants around it: fit, evaluate, predict, callbacks, metrics.

mod callback;
mod fit;
mod metrics;
mod predict;

pub use callback::{Callback, Control, Event};
pub use fit::{EpochLog, Fit, History};
pub use metrics::ConfusionMatrix;
pub use predict::Evaluation;
