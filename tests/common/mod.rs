//! What the integration tests share.
#![allow(dead_code, reason = "each test crate uses a part")]

use gemmule::{Context, Element, Isa};

/// A context for every instruction set of this CPU, the fastest first.
///
/// # Panics
/// If `GEMMULE_EXPECT_ISA` names one that is not among them: the run was meant to test it.
pub fn contexts() -> Vec<Context> {
    let available: Vec<Isa> = Isa::available().collect();
    if let Some(expected) = std::env::var_os("GEMMULE_EXPECT_ISA") {
        let expected = expected.to_string_lossy();
        assert!(
            available.iter().any(|isa| isa.name() == expected),
            "GEMMULE_EXPECT_ISA={expected}, but this CPU has only {available:?}"
        );
    }
    available.into_iter().map(|isa| Context::new(isa).expect("an available instruction set")).collect()
}

/// The bit pattern, with one for all NaNs, whose sign and payload are not specified.
pub fn bits<T: Element>(x: T) -> u64 {
    if x.is_nan() { u64::MAX } else { x.bits() }
}

/// All of them.
pub fn all_bits<T: Element>(x: &[T]) -> Vec<u64> {
    x.iter().map(|&x| bits(x)).collect()
}

/// FNV-1a over words instead of bytes, from [`HASH_START`] or an earlier hash on.
pub fn hash<T: Element>(values: &[T], start: u64) -> u64 {
    values.iter().fold(start, |hash, &x| (hash ^ bits(x)).wrapping_mul(0x0100_0000_01b3))
}

/// Where a hash starts.
pub const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Seeded numbers in [-1, 1).
pub fn random(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        })
        .collect()
}

pub fn cast<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}
