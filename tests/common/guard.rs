//! Memory between two pages that nothing may touch, for the tests of the public interface.
//!
//! The implementation stands beside the library's own tests, since the published package has no `tests` folder.

#[path = "../../src/simd/tests/guard.rs"]
mod implementation;

#[allow(unused_imports, reason = "included by several test crates, and not all use all of it")]
pub use implementation::{Guarded, Plain};
