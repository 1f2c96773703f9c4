//! Elementary functions: on slices for everybody, on vectors for the other kernels.
//!
//! The f32 functions are our own. Each is one sequence of correctly rounded operations, so a result depends neither on
//! the element's position nor on the instruction set, as long as that multiplies and adds with one rounding. Errors are in
//! ULP of the exact result, subnormal results included; each function states the largest, and
//! [`ACCURACY`](super::ACCURACY) holds the same figures: `benches/exhaustive` found them over all inputs, and the tests check a
//! part of the inputs against them on every instruction set.
//!
//! | f32 function | method |
//! | --- | --- |
//! | [`exp`] | `2^(k/8) (1 + p(r))`: eight powers, degree 3, an exact scaling |
//! | [`exp_m1`] | `2^n p(r) + (2^n - 1)`, degree 6 |
//! | [`ln`] | `e ln 2 - ln c + ln(1 + r)` for one of 16 constants c, degree 6 |
//! | [`ln_1p`] | `n ln 2 + f + f^2 q(f)`, degree 11; what rounding 1 + x loses is carried along |
//! | [`sigmoid`] | one of 16 polynomials of degree 6, from 13.75 on `2^n / (2^n + 1 + p(-r))`: no cancellation for either sign |
//! | [`tanh`], [`erf`] | one of 16 polynomials of degree 5 |
//! | [`sqrt`], [`rsqrt`] | the correctly rounded instructions |
//! | [`sin`], [`cos`] | Cody and Waite's reduction to pi / 4, above 200 000 Payne and Hanek's; degrees 7 and 8 |
//! | [`normal_cdf`] | one of 16 polynomials of degree 8, from 8.125 on `exp(-a^2/2)`, the square in two parts, times one of degree 6 |
//! | [`pow`] | `2^(y log2 x)`, the logarithm and the product in f64 |
//!
//! Derivatives are computed from the saved output where that is accurate and cheapest, else from the saved input; the
//! `_backward` functions say which. They are within 2 ULP, or within 2^-23 of the derivative's largest value, whichever is
//! larger.
//!
//! The f64 functions are those of the `libm` crate, which is Rust all through (no platform's C library): the same bits
//! everywhere, less than 1 ULP for most by its documentation.
//!
//! NaN gives NaN, whose sign and payload are not specified. Nothing is flushed: subnormal inputs and results count.
//! The coefficients are derived by `ci/coefficients.py`.
//!
//! ```
//! use gemmule::{Context, kernel::math};
//! let context = Context::detect()?;
//! let x = [-2.0_f32, 0.0, 0.5];
//! let (mut y, mut d) = ([0.0; 3], [0.0; 3]);
//! math::erf(&context, &x, &mut y)?;
//! math::erf_backward(&context, &x, &[1.0; 3], &mut d)?;
//! assert_eq!(y, [-0.995_322_3, 0.0, 0.520_499_9]);
//! # Ok::<(), gemmule::Error>(())
//! ```

pub(in crate::kernel) mod common;
pub(in crate::kernel) mod double;
mod erf;
pub(in crate::kernel) mod exp;
mod log;
mod near;
mod power;
mod sigmoid;
mod slices;
mod tail;
mod tanh;
mod trigonometric;

use crate::simd::{Scalar, Simd, Vector};
pub(crate) use slices::{Kernels, Map, Zip, check_length};
pub use slices::{
    cos, cos_backward, cos_in_place, erf, erf_backward, erf_in_place, exp, exp_backward, exp_in_place,
    exp_m1, exp_m1_backward, exp_m1_in_place, ln, ln_1p, ln_1p_backward, ln_1p_in_place, ln_backward,
    ln_in_place, normal_cdf, normal_cdf_backward, normal_cdf_in_place, pow, pow_backward, pow_in_place,
    pow_scalar, pow_scalar_backward, pow_scalar_in_place, rsqrt, rsqrt_backward, rsqrt_in_place, sigmoid,
    sigmoid_backward, sigmoid_in_place, sin, sin_backward, sin_in_place, sqrt, sqrt_backward, sqrt_in_place,
    tanh, tanh_backward, tanh_in_place,
};

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
