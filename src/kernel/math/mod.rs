//! Elementary functions: on slices for everybody, on vectors for the other kernels.
//!
//! The f32 functions are our own. Each is one sequence of correctly rounded operations without a branch, so a result
//! depends neither on the element's position nor on the instruction set, as long as that multiplies and adds with one
//! rounding. Errors are in ULP of the exact result, subnormal results included: the largest of all 2^32 inputs, rounded
//! up, with fused multiply-add and on the portable tier. (Run on AVX-512 and portable; `tests/elementwise.rs` holds the
//! same table, checks a part of the inputs on every instruction set, and all of them on demand.)
//!
//! | f32 function | method | largest error | portable |
//! | --- | --- | --- | --- |
//! | [`exp`] | `2^n (1 + p(r))`, degree 6, scaled in two steps | 0.91 | 0.94 |
//! | [`exp_m1`] | `2^n p(r) + (2^n - 1)` | 1.25 | 1.34 |
//! | [`ln`] | `n ln 2 + f + f^2 q(f)`, degree 11, compensated | 0.90 | 0.96 |
//! | [`ln_1p`] | the same, and what rounding 1 + x loses is carried along | 0.98 | 1.04 |
//! | [`sigmoid`] | `2^n / (2^n + 1 + p(-r))`: one formula for both signs, no cancellation | 0.94 | 1.33 |
//! | [`tanh`] | `x + x^3 t(x^2)` below 0.55, else `1 - 2 / (exp(2x) + 1)` | 1.34 | 1.35 |
//!
//! The f64 functions are those of the `libm` crate, which is Rust all through (no platform's C library): the same bits
//! everywhere, less than 1 ULP for `exp`, `ln`, `exp_m1` and `ln_1p` by its documentation.
//!
//! NaN gives NaN, whose sign and payload are not specified. Nothing is flushed: subnormal inputs and results count.
//! The coefficients are derived by `ci/coefficients.py`.

mod common;
mod double;
mod erf;
mod exp;
mod log;
mod power;
mod sigmoid;
mod slices;
mod tail;
mod tanh;
mod trigonometric;

use crate::simd::{Scalar, Simd, Vector};
pub use slices::{
    ACCURACY, cos, cos_backward, cos_in_place, erf, erf_backward, erf_in_place, exp, exp_backward,
    exp_in_place, exp_m1, exp_m1_backward, exp_m1_in_place, ln, ln_1p, ln_1p_backward, ln_1p_in_place,
    ln_backward, ln_in_place, normal_cdf, normal_cdf_backward, normal_cdf_in_place, pow, pow_backward,
    pow_in_place, pow_scalar, pow_scalar_backward, pow_scalar_in_place, rsqrt, rsqrt_backward,
    rsqrt_in_place, sigmoid, sigmoid_backward, sigmoid_in_place, sin, sin_backward, sin_in_place, sqrt,
    sqrt_backward, sqrt_in_place, tanh, tanh_backward, tanh_in_place,
};
pub(crate) use slices::{Exp, Kernels, Map, MapInPlace, Sigmoid, Tanh, check_length};

/// The elementary functions, lane by lane, with the same bits on every instruction set with a fused multiply-add.
#[doc(hidden)]
pub trait Elementary: Scalar {
    /// e to the power x.
    fn exp<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// e to the power x, minus 1.
    fn exp_m1<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The natural logarithm.
    fn ln<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The natural logarithm of 1 + x.
    fn ln_1p<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// 1 / (1 + exp(-x)).
    fn sigmoid<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The hyperbolic tangent.
    fn tanh<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The error function.
    fn erf<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The square root.
    #[inline(always)]
    fn sqrt<S: Simd>(_: S, x: Self::V<S>) -> Self::V<S> {
        x.sqrt()
    }
    /// 1 / sqrt(x), both rounded.
    fn rsqrt<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The sine.
    fn sin<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The cosine.
    fn cos<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The share of a standard normal distribution below x, with its relative error in the tail too.
    fn normal_cdf<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// x times that.
    fn gelu<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// ln(1 + exp(x)).
    fn softplus<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// x to the power y.
    fn pow<S: Simd>(s: S, x: Self::V<S>, y: Self::V<S>) -> Self::V<S>;
    /// x to the power y - 1, the difference not rounded.
    fn pow_less_one<S: Simd>(s: S, x: Self::V<S>, y: Self::V<S>) -> Self::V<S>;
}

macro_rules! delegate {
    ($($module:ident::$name:ident;)*) => {$(
        #[inline(always)]
        fn $name<S: Simd>(s: S, x: S::F32) -> S::F32 {
            $module::$name(s, x)
        }
    )*};
}

impl Elementary for f32 {
    delegate! {
        exp::exp;
        exp::exp_m1;
        log::ln;
        log::ln_1p;
        sigmoid::sigmoid;
        tanh::tanh;
        erf::erf;
        trigonometric::sin;
        trigonometric::cos;
        tail::normal_cdf;
        tail::gelu;
        tail::softplus;
    }

    #[inline(always)]
    fn rsqrt<S: Simd>(s: S, x: S::F32) -> S::F32 {
        S::F32::splat(s, 1.0) / x.sqrt()
    }

    #[inline(always)]
    fn pow<S: Simd>(s: S, x: S::F32, y: S::F32) -> S::F32 {
        power::pow::<S, false>(s, x, y)
    }

    #[inline(always)]
    fn pow_less_one<S: Simd>(s: S, x: S::F32, y: S::F32) -> S::F32 {
        power::pow::<S, true>(s, x, y)
    }
}
