//! The crate's functions.

pub use gemmule as library;

#[path = "../../support/functions.rs"]
pub mod functions;
