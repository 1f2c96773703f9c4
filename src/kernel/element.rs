//! The two floats that everything is generic over.

use super::gemm::driver::Compiled;
use super::math::Elementary;
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

mod sealed {
    use super::{Compiled, Elementary, Scalar};
    /// What the crate needs of a float and nobody outside relies on.
    pub trait Sealed: Scalar + Elementary + Compiled + num_traits::Float + num_traits::NumAssign {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}
