//! The two floats that everything is generic over.

use super::math::Elementary;
use super::{
    activation, affine, ahead, attention, blend, conv, convert, embedding, gemm, loss, math, multiply,
    normalize, pool, rearrange, recurrent, reduce, softmax, update,
};
use crate::simd::Scalar;
use std::fmt;

/// `f32`, tuned to the limit, or `f64`, which makes gradient checks sharp. Sealed.
pub trait Element: sealed::Sealed + fmt::Debug + fmt::Display + fmt::LowerExp + Default + PartialOrd {
    /// `f32` or `f64`.
    const NAME: &'static str;
    /// The nearest value; overflow gives infinity.
    fn from_f64(value: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// The bit pattern, for hashes and exact comparisons.
    fn bits(self) -> u64;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Element for f64 {
    const NAME: &'static str = "f64";
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// Elements as what they are.
pub enum Floats<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

mod sealed {
    use super::{
        Elementary, Floats, Scalar, activation, affine, ahead, attention, blend, conv, convert, embedding,
        gemm, loss, math, multiply, normalize, pool, rearrange, recurrent, reduce, softmax, update,
    };
    use crate::rng;

    /// What the crate needs of a float and nobody outside relies on.
    #[allow(private_bounds, reason = "sealed: nobody outside implements or names it")]
    pub trait Sealed:
        Scalar
        + Elementary
        + activation::Formulas
        + activation::Kernels
        + affine::Kernels
        + ahead::Kernels
        + attention::Kernels
        + blend::Kernels
        + conv::Kernels
        + convert::Kernels
        + embedding::Kernels
        + gemm::backend::Libraries
        + gemm::driver::Kernels
        + gemm::pack::Kernels
        + gemm::zeros::Kernels
        + loss::Kernels
        + math::Kernels
        + multiply::Kernels
        + normalize::Kernels
        + pool::Kernels
        + rearrange::Kernels
        + recurrent::Kernels
        + reduce::Kernels
        + rng::Kernels
        + rng::Quantile
        + softmax::Kernels
        + update::Kernels
        + num_traits::Float
        + num_traits::NumAssign
    {
        fn floats(x: &[Self]) -> Floats<'_>;
    }

    impl Sealed for f32 {
        fn floats(x: &[f32]) -> Floats<'_> {
            Floats::Single(x)
        }
    }

    impl Sealed for f64 {
        fn floats(x: &[f64]) -> Floats<'_> {
            Floats::Double(x)
        }
    }
}
