//! Kernels on arrays long enough to be shared: the same bits for any number of threads.

mod common;
#[path = "common/kernels.rs"]
mod kernels;

use common::{HASH_START, contexts, hash};
use gemmule::{Context, Element, Parallelism};
use kernels::{Arrays, all};

/// The hash of everything that each kernel writes, on fresh arrays.
fn hashes<T: Element>(context: &Context, rows: usize, width: usize) -> Vec<(&'static str, u64)> {
    let fresh = Arrays::<T>::new(rows, width);
    all::<T>()
        .into_iter()
        .map(|(name, run)| {
            let mut arrays = fresh.clone();
            let number = run(context, &mut arrays).unwrap();
            let mut result = hash(&[number], HASH_START);
            for written in arrays.out.iter().chain([&arrays.rows, &arrays.positive, &arrays.columns]) {
                result = hash(written, result);
            }
            (name, result)
        })
        .collect()
}

#[test]
fn threads_change_no_bit_of_f32() {
    // 4.6 MB per array, no multiple of anything: shared by two threads, and by more where there are more arrays.
    let context = contexts()[0];
    let alone = hashes::<f32>(&context.with_parallelism(Parallelism::Serial), 6005, 193);
    for parallelism in [Parallelism::Max(2), Parallelism::Max(5)] {
        assert_eq!(
            hashes::<f32>(&context.with_parallelism(parallelism), 6005, 193),
            alone,
            "{parallelism:?}"
        );
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    assert_eq!(pool.install(|| hashes::<f32>(&context, 6005, 193)), alone, "inside a host's pool");
}

#[test]
fn threads_change_no_bit_of_f64() {
    let context = contexts()[0];
    let alone = hashes::<f64>(&context.with_parallelism(Parallelism::Serial), 3005, 193);
    assert_eq!(hashes::<f64>(&context.with_parallelism(Parallelism::Max(4)), 3005, 193), alone);
}

#[test]
fn narrow_rows_are_cut_between_rows() {
    let context = contexts()[0];
    let alone = hashes::<f32>(&context.with_parallelism(Parallelism::Serial), 110_005, 10);
    assert_eq!(hashes::<f32>(&context.with_parallelism(Parallelism::Max(3)), 110_005, 10), alone);
}

/// Sums of slices that are long enough to be shared have the order that the short ones have.
#[test]
fn a_long_sum_is_the_chunks_sums_in_order() {
    let context = contexts()[0];
    let x: Vec<f32> = common::cast(&common::random(9, 1_400_001));
    for length in [1 << 20, (1 << 20) + 1, 1_200_000, 1_400_001] {
        let chunks = x[..length].chunks(gemmule::kernel::reduce::SUM_CHUNK);
        let expected = chunks.fold(0.0, |sum, chunk| sum + gemmule::kernel::reduce::sum(&context, chunk));
        assert_eq!(gemmule::kernel::reduce::sum(&context, &x[..length]).to_bits(), expected.to_bits());
    }
}
