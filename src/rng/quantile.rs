//! The normal distribution: its probability, and the value that has a given one.
//!
//! For a probability p and q = 1 - p the value is `(p - 1/2) f(w)` with w = -ln(4 p q), where f is smooth: a polynomial for w
//! up to [`SPAN`], which all but a thousandth of the numbers fall in, and so a vector at a time. (Giles, "Approximating
//! the erfinv function", GPU Computing Gems 2, 2011, found this form. The coefficients are our own: interpolation at the
//! Chebyshev nodes, in the variable w - `SPAN` / 2, with 40 digits.) Further out [`tail`] goes one by one.

use crate::kernel::math::Elementary;
use crate::simd::{Bits, Scalar, Simd, Vector};

/// `P(Z < x)`: half the complementary error function of `-x / sqrt(2)`.
pub(super) fn probability(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// Where the polynomial ends.
const SPAN: f64 = 6.25;

/// exp(-SPAN): where 4 p q is below, p or q is below 0.0005 and the polynomial worthless, but harmless.
pub(super) const MIDDLE: f64 = 0.001_930_454_136_227_709_3;

/// f(w) for f64: relative error below 4e-12.
const DOUBLE: [f64; 16] = [
    4.677_241_420_035_084,
    0.679_269_917_400_108_3,
    -0.017_065_798_116_644_083,
    -0.002_095_023_110_569_935_7,
    0.000_528_163_580_772_619_6,
    -3.926_576_642_158_663e-5,
    -3.861_694_628_510_094_5e-6,
    1.197_828_070_884_949_7e-6,
    -8.240_605_216_259_394e-8,
    -1.165_166_953_846_067_4e-8,
    3.015_930_385_238_795_4e-9,
    -1.490_955_201_326_777_9e-10,
    -4.247_280_501_892_94e-11,
    6.992_865_054_875_823e-12,
    2.178_427_187_289_212_5e-13,
    -9.153_869_362_298_677e-14,
];

/// The same for f32: relative error below 1.2e-7, rounding apart.
const SINGLE: [f32; 10] = [
    4.677_242,
    0.679_269_9,
    -0.017_067_637,
    -0.002_095_01,
    0.000_529_698,
    -3.928_007_6e-5,
    -4.319_379_3e-6,
    1.204_257_7e-6,
    -2.412_067_7e-8,
    -1.304_867_2e-8,
];

/// 1/3, 1/5, ...: the series of the inverse hyperbolic tangent.
const SERIES: [f64; 8] =
    [1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0, 1.0 / 17.0];

/// Neighbours together: a step of Estrin's scheme, whose chains are short.
#[inline(always)]
fn join<S: Simd, const N: usize, const M: usize>(c: [S::F64; N], x: S::F64) -> [S::F64; M] {
    let mut joined = [x; M];
    let mut i = 0;
    while i < M {
        joined[i] = c[2 * i + 1].mul_add(x, c[2 * i]);
        i += 1;
    }
    joined
}

/// Eight coefficients, the constant one first.
#[inline(always)]
fn eight<S: Simd>(s: S, c: &[f64], x: S::F64, x2: S::F64, x4: S::F64) -> S::F64 {
    let mut splats = [x; 8];
    let mut i = 0;
    while i < 8 {
        splats[i] = S::F64::splat(s, c[i]);
        i += 1;
    }
    let [sum] = join::<S, 2, 1>(join::<S, 4, 2>(join::<S, 8, 4>(splats, x), x2), x4);
    sum
}

/// The natural logarithm of normal positive numbers, to 2e-15 of itself: a faster one than libm's, for numbers of which
/// nobody asks for more.
///
/// x = 2^n m with m from sqrt(1/2) to sqrt(2), t = (m - 1) / (m + 1): n ln 2 + 2 (t + t^3 / 3 + t^5 / 5 + ...).
#[inline(always)]
pub(super) fn ln<S: Simd>(s: S, x: S::F64) -> S::F64 {
    // The bits of sqrt(1/2).
    const ROOT: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = |value: u64| S::F64::splat_bits(s, value);
    let shifted = x.to_bits().add(bits((1023_u64 << 52).wrapping_sub(ROOT)));
    // 2^52 + 1023 + n.
    let n = S::F64::from_bits(shifted.shr::<52>().or(bits(0x4330_0000_0000_0000)))
        - S::F64::splat(s, 4_503_599_627_370_496.0 + 1023.0);
    let m = S::F64::from_bits(shifted.and(bits(0x000f_ffff_ffff_ffff)).add(bits(ROOT)));
    let one = S::F64::splat(s, 1.0);
    let t = (m - one) / (m + one);
    let z = t * t;
    let z2 = z * z;
    let (twice, series) = (t + t, eight(s, &SERIES, z, z2, z2 * z2));
    n.mul_add(S::F64::splat(s, std::f64::consts::LN_2), (twice * z).mul_add(series, twice))
}

/// Floats with a normal distribution.
pub(crate) trait Quantile: Scalar {
    /// `half f(w)` for `half` = p - 1/2 and w = -ln(`square`), `square` = 4 p (1 - p), at least [`MIDDLE`].
    fn middle<S: Simd>(s: S, half: Self::V<S>, square: Self::V<S>) -> Self::V<S>;
    /// `half` and `square` of a random p, of 64 random bits: `half` is 2^-64 times them as a signed number, and a half.
    fn draw(bits: u64) -> (Self, Self);
}

/// `half` by its sign, and p or 1 - p, the smaller: 2^64 times it, less a half.
#[inline(always)]
pub(super) fn smaller(bits: u64) -> u64 {
    // 2^63 - 1 less a number that is not negative; a negative one and 2^63.
    bits ^ ((bits as i64 >> 63) as u64 ^ u64::MAX >> 1)
}

pub(super) const TWO_TO_MINUS_64: f64 = 1.0 / 18_446_744_073_709_551_616.0;

impl Quantile for f64 {
    #[inline(always)]
    fn middle<S: Simd>(s: S, half: S::F64, square: S::F64) -> S::F64 {
        let x = -ln(s, square) - S::F64::splat(s, 0.5 * SPAN);
        let x2 = x * x;
        let x4 = x2 * x2;
        let (low, high) = (eight(s, &DOUBLE[..8], x, x2, x4), eight(s, &DOUBLE[8..], x, x2, x4));
        half * (x4 * x4).mul_add(high, low)
    }

    #[inline(always)]
    fn draw(bits: u64) -> (f64, f64) {
        let half = (bits as i64 as f64 + 0.5) * TWO_TO_MINUS_64;
        let p = (smaller(bits) as i64 as f64 + 0.5) * TWO_TO_MINUS_64;
        (half, 4.0 * (p * (1.0 - p)))
    }
}

impl Quantile for f32 {
    #[inline(always)]
    fn middle<S: Simd>(s: S, half: S::F32, square: S::F32) -> S::F32 {
        let x = -<f32 as Elementary>::ln(s, square) - S::F32::splat(s, 0.5 * SPAN as f32);
        let mut sum = S::F32::splat(s, SINGLE[SINGLE.len() - 1]);
        let mut i = SINGLE.len() - 1;
        while i > 0 {
            i -= 1;
            sum = sum.mul_add(x, S::F32::splat(s, SINGLE[i]));
        }
        half * sum
    }

    /// By 32 bits, for which every instruction set has a conversion; the upper ones alone where they are enough.
    #[inline(always)]
    fn draw(bits: u64) -> (f32, f32) {
        const UNIT: f32 = 1.0 / 4_294_967_296.0;
        let half = ((bits >> 32) as u32 as i32 as f32 + 0.5) * UNIT;
        let small = smaller(bits);
        let low = (small as u32 >> 8) as i32 as f32 + 0.5;
        let p = (small >> 32) as u32 as i32 as f32 * UNIT + low * (UNIT / 16_777_216.0);
        (half, 4.0 * (p * (1.0 - p)))
    }
}

/// A polynomial, the constant coefficient first.
fn polynomial<const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    let mut value = 0.0;
    for c in coefficients.into_iter().rev() {
        value = value * x + c;
    }
    value
}

/// The quantile of a probability below 0.075, relative error about 1e-16. It is negative.
///
/// Source: Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988),
/// routine PPND16.
#[cold]
#[inline(never)]
pub(super) fn tail(p: f64) -> f64 {
    let r = (-libm::log(p)).sqrt();
    let (above, below, r) = if r <= 5.0 { (NEAR[0], NEAR[1], r - 1.6) } else { (FAR[0], FAR[1], r - 5.0) };
    -(polynomial(above, r) / polynomial(below, r))
}

const NEAR: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

const FAR: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];
