//! The formulas in f64, through `libm`.

use super::formulas::Formulas;
use crate::kernel::math::double::by_lane;
use crate::simd::{Simd, Vector};
use std::f64::consts::FRAC_1_SQRT_2;

/// 1 / sqrt(2 pi).
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// 1 / (1 + e^-x) without overflow or cancellation.
#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// `(v, v')` for v = 2 sqrt(2 / pi) (x + 0.044715 x^3).
#[inline(always)]
fn inner(x: f64) -> (f64, f64) {
    const LINEAR: f64 = 4.0 * DENSITY;
    const CUBIC: f64 = LINEAR * 0.044_715;
    let x2 = x * x;
    (x * (LINEAR + CUBIC * x2), LINEAR + 3.0 * CUBIC * x2)
}

// Each function takes x between limits beyond which its value is known: infinity is not multiplied by zero.
impl Formulas for f64 {
    #[inline(always)]
    fn scaled_exp_m1<S: Simd>(
        s: S,
        x: S::F64,
        inverse: Option<(f64, f64)>,
        (alpha, _): (f64, f64),
    ) -> S::F64 {
        let x = inverse.map_or(x, |(inverse, _)| x * S::F64::splat(s, inverse));
        by_lane(s, x, libm::expm1) * S::F64::splat(s, alpha)
    }

    #[inline(always)]
    fn silu<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| if x < -800.0 { -0.0 } else { x * sigmoid(x) })
    }

    #[inline(always)]
    fn silu_derivative<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            let x = x.clamp(-800.0, 800.0);
            sigmoid(x) * (1.0 + x * sigmoid(-x))
        })
    }

    #[inline(always)]
    fn gelu_derivative<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            let x = x.clamp(-40.0, 40.0);
            0.5 * libm::erfc(-x * FRAC_1_SQRT_2) + x * DENSITY * libm::exp(-0.5 * x * x)
        })
    }

    #[inline(always)]
    fn gelu_tanh<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| if x < -40.0 { -0.0 } else { x * sigmoid(inner(x).0) })
    }

    #[inline(always)]
    fn gelu_tanh_derivative<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            let x = x.clamp(-40.0, 40.0);
            let (v, slope) = inner(x);
            sigmoid(v) * (1.0 + x * slope * sigmoid(-v))
        })
    }

    #[inline(always)]
    fn mish<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            // tanh(ln(1 + e)) = w / (w + 2) with w = e (e + 2).
            let e = libm::exp(x.min(40.0));
            let w = e * (e + 2.0);
            if x < -800.0 { -0.0 } else { x * (w / (w + 2.0)) }
        })
    }

    #[inline(always)]
    fn mish_derivative<S: Simd>(s: S, x: S::F64) -> S::F64 {
        by_lane(s, x, |x| {
            let x = x.clamp(-800.0, 40.0);
            let e = libm::exp(x);
            let d = e * (e + 2.0) + 2.0;
            e * ((e + 2.0) + 4.0 * x * (1.0 + e) / d) / d
        })
    }
}
