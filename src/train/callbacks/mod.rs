//! Callbacks that many runs want.

mod average;
mod early_stopping;
#[cfg(feature = "progress")]
mod progress;
mod stop_on_nan;
mod time_budget;

pub use average::ExponentialMovingAverage;
pub use early_stopping::EarlyStopping;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use stop_on_nan::{NanReport, StopOnNan};
pub use time_budget::TimeBudget;
