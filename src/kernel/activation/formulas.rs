//! The formulas that f32 computes in a reduced form and f64 through `libm`.

use crate::simd::{Scalar, Simd};

/// Activations and derivatives that are more than a few operations on [`Elementary`](crate::kernel::math::Elementary).
#[doc(hidden)]
pub trait Formulas: Scalar {
    /// `alpha (e^x - 1)`, or `alpha (e^(x inverse) - 1)`, for x that are not positive (elsewhere anything but NaN, which
    /// stays). Parameters are sums of two.
    fn scaled_exp_m1<S: Simd>(
        s: S,
        x: Self::V<S>,
        inverse: Option<(Self, Self)>,
        alpha: (Self, Self),
    ) -> Self::V<S>;
    /// x / (1 + e^-x).
    fn silu<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// Its derivative at x.
    fn silu_derivative<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The derivative of x Phi(x).
    fn gelu_derivative<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// x / (1 + e^-v), v = 2 sqrt(2 / pi) (x + 0.044715 x^3).
    fn gelu_tanh<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// Its derivative at x.
    fn gelu_tanh_derivative<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// x tanh(ln(1 + e^x)).
    fn mish<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// Its derivative at x.
    fn mish_derivative<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
}
