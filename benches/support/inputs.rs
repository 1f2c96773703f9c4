//! Which f32 inputs a run takes: all patterns, or a part that has every place where something changes.

/// How many patterns on each side of an edge are taken with it.
pub const NEAR: u32 = 64;

/// Bit patterns in the order of their numbers, every `stride`-th in the mean: the place within its stride comes from a
/// hash of the number, or the low bits of all of them would be alike. A stride of 1 is all of them.
#[derive(Clone, Copy)]
pub struct Patterns {
    stride: u64,
}

impl Patterns {
    /// # Panics
    /// If the stride is 0 or larger than 2^32.
    pub fn new(stride: u64) -> Self {
        assert!((1..=1 << 32).contains(&stride), "a stride of {stride}");
        Self { stride }
    }

    /// How many.
    pub fn count(self) -> u64 {
        (1_u64 << 32).div_ceil(self.stride)
    }

    /// Pattern `number`.
    pub fn get(self, number: u64) -> u32 {
        if self.stride == 1 {
            return number as u32;
        }
        let place = (number as u32).wrapping_mul(0x9e37_79b9) >> 8;
        let pattern = number * self.stride + u64::from(place) % self.stride;
        // The last one's place may lie past the end.
        u32::try_from(pattern).unwrap_or(u32::MAX)
    }
}

/// Where functions change: zeros, subnormals, infinities, NaN; every power of two; where range reductions take their next
/// step (multiples of ln 2 / 2 and of pi / 4); roots, saturation and the thresholds of the kernels. Of both signs, with
/// [`NEAR`] patterns on each side, sorted, each once.
pub fn edges() -> Vec<u32> {
    let mut edges: Vec<f32> = (0..=255_u32).map(|exponent| f32::from_bits(exponent << 23)).collect();
    edges.extend((1..=304).map(|n| (f64::from(n) * std::f64::consts::LN_2 / 2.0) as f32));
    edges.extend((1..=512).map(|n| (f64::from(n) * std::f64::consts::FRAC_PI_4) as f32));
    edges.extend((1..=120).map(|n| n as f32));
    edges.extend((1..=64).map(|n| n as f32 / 16.0));
    edges.extend(SPECIAL);
    let mut patterns: Vec<u32> = Vec::new();
    for edge in edges {
        let pattern = edge.to_bits();
        for near in pattern.saturating_sub(NEAR)..=pattern.saturating_add(NEAR).min(0x7fff_ffff) {
            patterns.extend([near, near | 0x8000_0000]);
        }
    }
    // The quiet and signalling NaNs at both ends.
    patterns.extend([0x7fff_ffff, 0xffff_ffff, 0x7f80_0001, 0xff80_0001]);
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// Sizes at which something changes and that follow no rule.
#[rustfmt::skip]
#[allow(clippy::excessive_precision, clippy::approx_constant, reason = "edges of kernels, to the last bit")]
const SPECIAL: [f32; 48] = [
    // Where the square of an f32, or its reciprocal, leaves the range; 2^-12 and the like are powers of two.
    1.084_202_2e-19, 1.844_674_3e19, 2.938_735_9e-39, 8.507_059e37, f32::MAX,
    // sqrt(1/2), sqrt(2), and what they leave of 1.
    0.707_106_77, 1.414_213_5, 0.292_893_2, 0.414_213_57,
    // exp: overflow, the smallest normal result, the smallest and the last subnormal one; the same in steps of the kernels.
    88.722_84, 88.376_26, 87.336_54, 103.278_93, 103.972_08, 104.0, 105.0, 176.0,
    // tanh, sigmoid, exp_m1, softplus: saturation, and where a kernel changes its formula.
    0.55, 0.625, 9.010_913, 9.01, 16.635_532, 17.328_68, 18.714_974, 24.0, 0.549_306_1, 0.346_573_6, 1.039_720_8,
    // erf, gelu: saturation of both tails, roots of the derivatives.
    0.921_875, 3.919_206, 3.832_507, 5.542_387, 12.9, 13.0, 14.17, 14.42, 0.751_791_5, 0.752_461_4, 1.278_464_5, 1.192_281,
    // sin, cos: where range reductions change.
    48_039.0, 71_476.06, 117_435.99, 105_615.0, 1e5, 1e10,
    // PyTorch's constants of SELU.
    1.050_701, 1.673_263_2,
];
