//! f64: the functions of the `libm` crate.

use super::Elementary;
use crate::simd::{Simd, Vector};

/// Calls `f` for each lane. A pointer, so that `f` is compiled once, not for every instruction set and kernel.
#[inline(always)]
pub(in crate::kernel) fn by_lane<S: Simd>(s: S, x: S::F64, f: fn(f64) -> f64) -> S::F64 {
    let mut lanes = [0.0; 8];
    x.store(&mut lanes);
    each(&mut lanes[..S::F64::LANES], f);
    S::F64::load(s, &lanes)
}

/// Calls `f` for each pair of lanes.
#[inline(always)]
fn by_lanes<S: Simd>(s: S, x: S::F64, y: S::F64, f: fn(f64, f64) -> f64) -> S::F64 {
    let (mut lanes, mut others) = ([0.0; 8], [0.0; 8]);
    x.store(&mut lanes);
    y.store(&mut others);
    each_pair(&mut lanes[..S::F64::LANES], &others, f);
    S::F64::load(s, &lanes)
}

#[inline(never)]
fn each(lanes: &mut [f64], f: fn(f64) -> f64) {
    for lane in lanes {
        *lane = f(*lane);
    }
}

#[inline(never)]
fn each_pair(lanes: &mut [f64], others: &[f64], f: fn(f64, f64) -> f64) {
    for (lane, other) in lanes.iter_mut().zip(others) {
        *lane = f(*lane, *other);
    }
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

    #[inline(always)]
    fn sin<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::sin)
    }

    #[inline(always)]
    fn cos<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, libm::cos)
    }

    #[inline(always)]
    fn normal_cdf<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2))
    }

    #[inline(always)]
    fn gelu<S: Simd>(s: S, x: S::F64) -> S::F64 {
        // -infinity times 0 is to be 0, as in the limit.
        by_lane(s, x, |x| {
            let share = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
            if share == 0.0 { -0.0 } else { x * share }
        })
    }

    #[inline(always)]
    fn softplus<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            let tail = libm::log1p(libm::exp(-x.abs()));
            if x > 0.0 { x + tail } else { tail }
        })
    }

    #[inline(always)]
    fn pow<S: Simd>(s: S, x: S::F64, y: S::F64) -> S::F64 {
        by_lanes(s, x, y, libm::pow)
    }

    #[inline(always)]
    fn pow_less_one<S: Simd>(s: S, x: S::F64, y: S::F64) -> S::F64 {
        by_lanes(s, x, y, |x, y| libm::pow(x, y - 1.0))
    }
}
