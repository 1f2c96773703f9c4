//! A global allocator that counts, for test binaries of their own: another test's allocations would be counted too.

#![allow(dead_code, reason = "each binary asks for some of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Calls and bytes of all threads but the first.
static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
/// Those of the first.
static FIRST_CALLS: AtomicUsize = AtomicUsize::new(0);
static FIRST_BYTES: AtomicUsize = AtomicUsize::new(0);
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The threads in the order of their first allocation, from 1.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Whether this is the process' first thread. Without `--test-threads=1` no test runs on it, but the test harness
/// does, whose allocations come at any time.
fn is_first() -> bool {
    THREAD.with(|number| {
        if number.get() == 0 {
            number.set(THREADS.fetch_add(1, SeqCst) + 1);
        }
        number.get() == 1
    })
}

/// The default `realloc` allocates, copies and frees: while it copies, both blocks count.
struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (calls, bytes) = if is_first() { (&FIRST_CALLS, &FIRST_BYTES) } else { (&CALLS, &BYTES) };
        calls.fetch_add(1, SeqCst);
        bytes.fetch_add(layout.size(), SeqCst);
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

/// Allocations so far, on any thread; those of the first count only for a test that runs on it.
pub fn calls() -> usize {
    CALLS.load(SeqCst) + if is_first() { FIRST_CALLS.load(SeqCst) } else { 0 }
}

/// Their bytes.
pub fn bytes() -> usize {
    BYTES.load(SeqCst) + if is_first() { FIRST_BYTES.load(SeqCst) } else { 0 }
}

/// Allocations of a round after the first.
pub fn calls_of_second(round: &mut dyn FnMut()) -> usize {
    round();
    let before = calls();
    round();
    calls() - before
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
