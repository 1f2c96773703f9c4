//! loom's types under the names that `team.rs` imports.

pub(super) use loom::cell::UnsafeCell;
pub(super) use loom::hint::spin_loop;
pub(super) use loom::sync::Arc;
pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(super) use loom::thread::yield_now;

/// Spinning and yielding are the same to loom, and every turn is a branch to try.
pub(super) const SPINS: u32 = 0;
