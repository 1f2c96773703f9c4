//! Kernels on arrays long enough to be shared: the same bits for any number of threads.

mod common;
#[path = "common/kernels.rs"]
mod kernels;

use common::{HASH_START, contexts, hash};
use gemmule::{Context, Element, Parallelism};
use kernels::{Arrays, all};

/// The hash of everything that each kernel writes, on fresh arrays.
fn hashes<T: Element>(context: &Context, rows: usize, width: usize) -> Vec<(&'static str, u64)> {
    all::<T>()
        .into_iter()
        .map(|(name, run)| {
            let mut arrays = Arrays::<T>::new(rows, width);
            let number = run(context, &mut arrays).unwrap();
            let mut result = hash(&[number], HASH_START);
            for written in arrays.out.iter().chain([&arrays.rows, &arrays.positive]) {
                result = hash(written, result);
            }
            (name, result)
        })
        .collect()
}

#[test]
fn threads_change_no_bit_of_f32() {
    // 3.1 MB per array, no multiple of anything: shared by two threads, and by three where there are three arrays.
    let context = contexts()[0];
    let alone = hashes::<f32>(&context.with_parallelism(Parallelism::Serial), 4005, 193);
    for parallelism in [Parallelism::Max(2), Parallelism::Max(5)] {
        assert_eq!(
            hashes::<f32>(&context.with_parallelism(parallelism), 4005, 193),
            alone,
            "{parallelism:?}"
        );
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| hashes::<f32>(&context, 4005, 193)), alone, "inside a host's pool");
}

#[test]
fn threads_change_no_bit_of_f64() {
    let context = contexts()[0];
    let alone = hashes::<f64>(&context.with_parallelism(Parallelism::Serial), 705, 193);
    assert_eq!(hashes::<f64>(&context.with_parallelism(Parallelism::Max(4)), 705, 193), alone);
}

#[test]
fn narrow_rows_are_cut_between_rows() {
    let context = contexts()[0];
    let alone = hashes::<f32>(&context.with_parallelism(Parallelism::Serial), 70_005, 10);
    assert_eq!(hashes::<f32>(&context.with_parallelism(Parallelism::Max(3)), 70_005, 10), alone);
}

/// Sums of slices that are long enough to be shared have the order that the short ones have.
#[test]
fn a_long_sum_is_the_chunks_sums_in_order() {
    let context = contexts()[0];
    let x: Vec<f32> = common::cast(&common::random(9, 700_001));
    for length in [1 << 19, (1 << 19) + 1, 600_000, 700_001] {
        let chunks = x[..length].chunks(gemmule::kernel::reduce::SUM_CHUNK);
        let expected = chunks.fold(0.0, |sum, chunk| sum + gemmule::kernel::reduce::sum(&context, chunk));
        assert_eq!(gemmule::kernel::reduce::sum(&context, &x[..length]).to_bits(), expected.to_bits());
    }
}
