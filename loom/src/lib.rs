//! The team's protocol under loom: `team.rs` is compiled as it is, with `sync.rs` of this folder in place of the crate's.
//!
//! Run by `cargo test --release --manifest-path loom/Cargo.toml`. See `models.rs` for what is tried.
#![cfg(test)]

mod models;
mod sync;
#[allow(dead_code, reason = "the models do not use all of it")]
#[allow(clippy::absurd_extreme_comparisons, reason = "SPINS is 0 here")]
#[path = "../../src/parallel/team.rs"]
mod team;
