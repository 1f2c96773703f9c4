//! What limits a product: multiply-adds, measured as all benches do, and reading memory.

use crate::support;
use gemmule::Isa;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// The buffer that is read, far larger than caches.
const BYTES: usize = 256 << 20;

/// Operations per second of threads that only multiply and add; the middle of five runs.
pub fn peak(isa: Isa, double: bool, threads: usize) -> Result<f64, String> {
    let runs: Option<Vec<f64>> = (0..5).map(|_| support::peak(isa, double, threads)).collect();
    runs.map(support::median).ok_or_else(|| format!("no loop measures the peak of {isa}"))
}

/// Reads a buffer that no cache holds.
pub struct Bandwidth {
    values: Vec<f32>,
}

impl Bandwidth {
    pub fn new() -> Self {
        // Not zeros: the system would give the same page many times.
        Self { values: vec![1.0; BYTES / size_of::<f32>()] }
    }

    /// Bytes per second of threads that read one part each. One thread counts its own processor time, several the
    /// wall clock, as for the peak.
    pub fn measure(&self, threads: usize) -> f64 {
        if threads == 1 {
            let start = support::thread_seconds();
            black_box(sum(&self.values));
            return BYTES as f64 / (support::thread_seconds() - start);
        }
        let barrier = Barrier::new(threads);
        let read = |part: &[f32]| {
            barrier.wait();
            let start = Instant::now();
            black_box(sum(part));
            size_of_val(part) as f64 / start.elapsed().as_secs_f64()
        };
        let parts = self.values.chunks(self.values.len().div_ceil(threads));
        let rates: Vec<f64> = std::thread::scope(|scope| {
            let readers: Vec<_> = parts.map(|part| scope.spawn(|| read(part))).collect();
            readers.into_iter().map(|reader| reader.join().unwrap_or(0.0)).collect()
        });
        rates.iter().sum()
    }
}

/// Several accumulators, so that additions do not wait for each other.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 32];
    for values in values.as_chunks::<32>().0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    sums.iter().sum()
}
