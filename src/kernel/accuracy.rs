//! The figures that documentation, tests and the exhaustive run share.

/// The largest error that a function was found to make, in ULP of the exact result, rounded up. Subnormal results count,
/// in units of 2^-149.
///
/// Found by `benches/exhaustive`: `exp` and `erf` over all 2^32 f32 inputs, the others over one of 256 and the neighbourhood
/// of every edge, with a few hundredths added for what lies between.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Accuracy {
    /// The function's name.
    pub name: &'static str,
    /// With fused multiply-add: one figure, since the bits are the same on all such instruction sets.
    pub fused: f64,
    /// On the portable tier.
    pub portable: f64,
}

impl Accuracy {
    /// The figures of `name`.
    pub(crate) const fn new(name: &'static str, fused: f64, portable: f64) -> Self {
        Self { name, fused, portable }
    }
}
