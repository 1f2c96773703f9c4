//! A global allocator that counts, for test binaries of their own: another test's allocations would be counted too.

#![allow(dead_code, reason = "each binary asks for some of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The default `realloc` allocates, copies and frees: while it copies, both blocks count.
struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        BYTES.fetch_add(layout.size(), SeqCst);
        let now = NOW.fetch_add(layout.size(), SeqCst) + layout.size();
        PEAK.fetch_max(now, SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations so far, on any thread.
pub fn calls() -> usize {
    CALLS.load(SeqCst)
}

/// Their bytes.
pub fn bytes() -> usize {
    BYTES.load(SeqCst)
}

/// What is in use; the peak is counted from now on.
pub fn mark() -> usize {
    let before = NOW.load(SeqCst);
    PEAK.store(before, SeqCst);
    before
}

/// The most that was in use at once since the last [`mark`].
pub fn most() -> usize {
    PEAK.load(SeqCst)
}

/// The most that was in use at once while `work` ran, beyond what was before.
pub fn peak<R>(work: impl FnOnce() -> R) -> (usize, R) {
    let before = mark();
    let result = work();
    (most() - before, result)
}
