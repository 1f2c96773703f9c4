//! Splits, folds, samplers and feature-wise transforms: scikit-learn's values, and the laws of a partition.

mod common;
#[path = "splits/cross_validation.rs"]
mod cross_validation;
#[path = "splits/folds.rs"]
mod folds;
#[path = "splits/golden.rs"]
mod golden;
#[path = "splits/parts.rs"]
mod parts;
#[path = "splits/samplers.rs"]
mod samplers;
#[path = "splits/targets.rs"]
mod targets;
#[path = "splits/transforms.rs"]
mod transforms;
