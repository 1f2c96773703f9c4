//! The same functions of the scalar twin.

pub use gemmule_twin as library;

#[path = "../../support/functions.rs"]
#[allow(dead_code, reason = "what is stated is read of the crate itself")]
pub mod functions;
