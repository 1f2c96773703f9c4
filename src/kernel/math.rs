//! Elementary functions on vectors.

use crate::simd::{Scalar, Simd};

/// The elementary functions, lane by lane, with the same bits on every instruction set with a fused multiply-add.
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
}
