//! f64: the functions of the `libm` crate.

use super::Elementary;
use crate::simd::{Simd, Vector};

/// Calls `f` for each lane.
#[inline(always)]
fn by_lane<S: Simd>(s: S, x: S::F64, f: impl Fn(f64) -> f64) -> S::F64 {
    let mut lanes = [0.0; 8];
    x.store(&mut lanes);
    S::F64::load(s, &lanes.map(f))
}

impl Elementary for f64 {
    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::exp)
    }

    #[inline(always)]
    fn exp_m1<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::expm1)
    }

    #[inline(always)]
    fn ln<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::log)
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::log1p)
    }

    #[inline(always)]
    fn sigmoid<S: Simd>(s: S, x: S::F64) -> S::F64 {
        // exp of the negative size does not overflow, and the tail e / (1 + e) does not cancel.
        by_lane(s, x, |x| {
            let e = libm::exp(-x.abs());
            (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
        })
    }

    #[inline(always)]
    fn tanh<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::tanh)
    }

    #[inline(always)]
    fn erf<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::erf)
    }

    #[inline(always)]
    fn rsqrt<S: Simd>(s: S, x: S::F64) -> S::F64 {
        S::F64::splat(s, 1.0) / x.sqrt()
    }
}
