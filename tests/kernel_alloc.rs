//! Kernels allocate nothing. Counts every allocation of the process: a binary of its own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

mod common;
#[path = "common/kernels.rs"]
mod kernels;

use allocator::calls;
use common::contexts;
use gemmule::{Element, Parallelism};
use kernels::{Arrays, all};

fn check<T: Element>(parallelism: Parallelism, rows: usize, width: usize, most: usize) {
    let fresh = Arrays::<T>::new(rows, width);
    for context in contexts() {
        let context = context.with_parallelism(parallelism);
        for (name, run) in all::<T>() {
            let mut arrays = fresh.clone();
            // A pool is built, and sleeps or not.
            run(&context, &mut arrays).unwrap();
            let before = calls();
            run(&context, &mut arrays).unwrap();
            let calls = calls() - before;
            assert!(calls <= most, "{} {} {name}: {calls} allocations", context.isa(), T::NAME);
        }
    }
}

/// One test: two at once would count each other's.
#[test]
fn kernels_allocate_nothing() {
    for (rows, width) in [(5, 1), (5, 10), (10, 193)] {
        check::<f32>(Parallelism::Auto, rows, width, 0);
        check::<f64>(Parallelism::Serial, rows, width, 0);
    }
    // Long, and alone all the same.
    check::<f32>(Parallelism::Serial, 4005, 300, 0);
    // Shared by two: what a team and its calls of rayon take, for each of a kernel's passes.
    check::<f32>(Parallelism::Max(2), 4005, 300, 40);
}
