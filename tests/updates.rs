//! Optimiser updates: against PyTorch and the f64 twins, in every length, and the same bits everywhere.

#[path = "updates/bits.rs"]
mod bits;
#[path = "updates/cases.rs"]
mod cases;
#[path = "updates/clipping.rs"]
mod clipping;
mod common;
#[path = "updates/options.rs"]
mod options;
#[path = "updates/penalties.rs"]
mod penalties;
#[path = "updates/special.rs"]
mod special;
#[path = "updates/training.rs"]
mod training;
#[path = "updates/values.rs"]
mod values;
