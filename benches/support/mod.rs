//! What every bench shares: the peak of multiply-adds, measured in registers, and medians.
//!
//! The peak is measured beside what is benched, not looked up: clocks move with load, heat and neighbours.

#![allow(dead_code, reason = "included by several benches, and not all use all of it")]

pub mod update;

use gemmule::Isa;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// One loop that does nothing but multiply-adds on `$count` vectors that all stay in registers.
///
/// Every accumulator starts from a number of its own that the compiler cannot see: equal ones it would merge.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! peak_loop {
    ($name:ident, $features:literal, $element:ty, $count:literal, $lanes:literal, $splat:ident, |$x:ident, $y:ident, $acc:ident| $step:expr) => {
        #[target_feature(enable = $features)]
        fn $name(steps: u64) -> f64 {
            let mut start = [0.0 as $element; $count];
            for (i, value) in start.iter_mut().enumerate() {
                *value = black_box(i as $element);
            }
            let ($x, $y) = ($splat(black_box(0.5)), $splat(black_box(0.25)));
            let mut accumulators = start.map(|value| $splat(value));
            for _ in 0..steps {
                for $acc in &mut accumulators {
                    *$acc = $step;
                }
            }
            black_box(accumulators);
            2.0 * f64::from($count) * f64::from($lanes) * steps as f64
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod loops {
    use super::black_box;
    use std::arch::x86_64::*;

    peak_loop!(avx512_f32, "avx512f", f32, 24, 16, _mm512_set1_ps, |x, y, acc| _mm512_fmadd_ps(x, y, *acc));
    peak_loop!(avx512_f64, "avx512f", f64, 24, 8, _mm512_set1_pd, |x, y, acc| _mm512_fmadd_pd(x, y, *acc));
    peak_loop!(avx2_f32, "avx2,fma", f32, 12, 8, _mm256_set1_ps, |x, y, acc| _mm256_fmadd_ps(x, y, *acc));
    peak_loop!(avx2_f64, "avx2,fma", f64, 12, 4, _mm256_set1_pd, |x, y, acc| _mm256_fmadd_pd(x, y, *acc));
    // Two operations with two roundings, as on the portable tier; acc * x + y, since x * y would leave the loop.
    peak_loop!(sse2_f32, "sse2", f32, 12, 4, _mm_set1_ps, |x, y, acc| _mm_add_ps(_mm_mul_ps(*acc, x), y));
    peak_loop!(sse2_f64, "sse2", f64, 12, 2, _mm_set1_pd, |x, y, acc| _mm_add_pd(_mm_mul_pd(*acc, x), y));

    /// Runs the loop of `isa` and returns its operations.
    #[allow(unsafe_code, reason = "calls functions that are compiled for a CPU feature")]
    pub fn run(isa: gemmule::Isa, double: bool, steps: u64) -> Option<f64> {
        assert!(isa.is_available());
        // SAFETY: the CPU has the instruction set, checked above.
        unsafe {
            Some(match (isa, double) {
                (gemmule::Isa::Avx512, false) => avx512_f32(steps),
                (gemmule::Isa::Avx512, true) => avx512_f64(steps),
                (gemmule::Isa::Avx2, false) => avx2_f32(steps),
                (gemmule::Isa::Avx2, true) => avx2_f64(steps),
                (gemmule::Isa::Portable, false) => sse2_f32(steps),
                (gemmule::Isa::Portable, true) => sse2_f64(steps),
                _ => return None,
            })
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod loops {
    use super::black_box;
    use std::arch::aarch64::*;

    peak_loop!(neon_f32, "neon", f32, 24, 4, vdupq_n_f32, |x, y, acc| vfmaq_f32(*acc, x, y));
    peak_loop!(neon_f64, "neon", f64, 24, 2, vdupq_n_f64, |x, y, acc| vfmaq_f64(*acc, x, y));

    /// Runs the loop of `isa` and returns its operations; the portable tier has none here.
    #[allow(unsafe_code, reason = "calls functions that are compiled for a CPU feature")]
    pub fn run(isa: gemmule::Isa, double: bool, steps: u64) -> Option<f64> {
        assert!(isa.is_available());
        // SAFETY: the CPU has the instruction set, checked above.
        unsafe {
            match (isa, double) {
                (gemmule::Isa::Neon, false) => Some(neon_f32(steps)),
                (gemmule::Isa::Neon, true) => Some(neon_f64(steps)),
                _ => None,
            }
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod loops {
    /// No loop for this CPU.
    pub fn run(_: gemmule::Isa, _: bool, _: u64) -> Option<f64> {
        None
    }
}

/// Seconds of this thread's processor time from an arbitrary start: what neighbours take away does not count.
/// Elsewhere than on Unix, seconds of the wall clock.
#[cfg_attr(unix, allow(unsafe_code, reason = "asks the system for a thread's clock"))]
pub fn thread_seconds() -> f64 {
    #[cfg(unix)]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes the time to a place of its type.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(failed, 0, "clock_gettime");
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_secs_f64()
    }
}

/// Floating-point operations per second of `threads` threads that only multiply and add, for f32 or (`double`) f64.
/// One thread counts its own processor time, several the wall clock. None where there is no such loop for the instruction set.
pub fn peak(isa: Isa, double: bool, threads: usize) -> Option<f64> {
    // About 2 ms: shorter than a scheduler's slice, long beside the clock.
    const STEPS: u64 = 400_000;
    loops::run(isa, double, 1000)?;
    if threads <= 1 {
        let start = thread_seconds();
        let operations = loops::run(isa, double, STEPS)?;
        return Some(operations / (thread_seconds() - start));
    }
    let barrier = Barrier::new(threads);
    let times: Vec<Option<f64>> = std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            let start = Instant::now();
            let operations = loops::run(isa, double, STEPS)?;
            Some(operations / start.elapsed().as_secs_f64())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    times.into_iter().sum()
}

/// Bytes per second that `threads` threads read at once, from an array of half a MiB each, in L2 mostly. The wall clock counts.
pub fn read_rate(threads: usize) -> f64 {
    const WORDS: usize = (512 << 10) / 8;
    const PASSES: usize = 200;
    let barrier = Barrier::new(threads);
    let run = || {
        let words = vec![1_u64; WORDS];
        let pass = |mut bits: [u64; 16]| {
            for chunk in std::hint::black_box(&words).chunks_exact(16) {
                bits.iter_mut().zip(chunk).for_each(|(bits, word)| *bits |= word);
            }
            bits
        };
        let warm = pass([0; 16]);
        barrier.wait();
        let start = Instant::now();
        std::hint::black_box((0..PASSES).fold(warm, |bits, _| pass(bits)));
        (WORDS * PASSES * 8) as f64 / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty());
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The largest one.
pub fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Numbers in [-1, 1) from an index, the same in every run.
pub fn fill(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| {
            let bits = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
            let bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
            (bits >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// True if this is `cargo bench`, not `cargo test --benches`, which only looks whether a bench runs at all.
pub fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
