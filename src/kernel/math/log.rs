//! The natural logarithm.

use super::common::{or_sign, polynomial_8, splat};
use super::exp::{LN_2_HIGH, LN_2_LOW};
use crate::simd::{Bits, Mask, Simd, Vector};

/// About 16 / (16.5 + i): the significands of the i-th sixteenth of [1, 2) times this are near 1. The first two and the last two
/// are powers of two: around 1 nothing is lost, and no small logarithm is a difference of larger numbers (which cost 1.03 ULP
/// from 1.0625 on).
#[rustfmt::skip]
const RECIPROCAL: [f32; 16] = [
    1.0, 1.0, 0.864_556_5, 0.821_047_37, 0.779_489_93, 0.743_749, 0.712_315_7, 0.680_401_9, 0.652_760_45,
    0.627_332_2, 0.603_852_03, 0.581_179_74, 0.561_685_1, 0.543_126_05, 0.5, 0.5,
];
/// Minus the logarithm of that, within 2^-30, but for the factor `ln 2 / LN_2_HIGH`: multiples of 2^-15 like [`LN_2_HIGH`].
#[rustfmt::skip]
const LOGARITHM: [f32; 16] = [
    0.0, 0.0, 0.145_538_33, 0.197_174_07, 0.249_114_99, 0.296_051_03, 0.339_233_4, 0.385_070_8, 0.426_544_2,
    0.466_278_08, 0.504_425_05, 0.542_694_1, 0.576_812_74, 0.610_412_6, 0.693_145_75, 0.693_145_75,
];
/// `ln 2 / LN_2_HIGH - 1`.
const REST: f32 = 2.061_048_2e-6;
/// ln(1 + r) = r + r^2 q(r) for -1/16 <= r <= 1/8; within 0.05 of 2^-24.
const LN: [f32; 5] = [-0.499_999_85, 0.333_334_8, -0.250_124_45, 0.200_040_3, -0.144_374_15];

/// `x = 2^e m` and `m = (1 + r) / c` for one of 16 constants c: `e ln 2 - ln c + ln(1 + r)`.
#[inline(always)]
pub(super) fn ln<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (m, e) = s.split(x);
    let interval = m.to_bits().shr::<19>();
    // Exact in the first two intervals and the last two, elsewhere rounded by far less than the result's last place.
    let (reciprocal, minus_one) = (s.lookup_16(&RECIPROCAL, interval), splat(s, -1.0));
    let r = if S::ISA.has_fma() {
        m.mul_add(reciprocal, minus_one)
    } else {
        let one = S::F64::splat(s, 1.0);
        let ([m0, m1], [c0, c1]) = (s.widen(m), s.widen(reciprocal));
        s.narrow([m0 * c0 - one, m1 * c1 - one])
    };
    // Exact. Zero, infinite and negative numbers come out right by what `split` makes of them.
    let head = e.mul_add(splat(s, LN_2_HIGH), s.lookup_16(&LOGARITHM, interval));
    let tail = head * splat(s, REST);
    let r2 = r * r;
    let low = r.mul_add(splat(s, LN[1]), splat(s, LN[0]));
    let high = r2.mul_add(splat(s, LN[4]), r.mul_add(splat(s, LN[3]), splat(s, LN[2])));
    head + (r + r2.mul_add(r2.mul_add(high, low), tail))
}

/// ln(1 + f) = f + f^2 (-1/2 + f p(f)) for sqrt(1/2) <= 1 + f <= sqrt(2); within 0.05 ULP.
#[rustfmt::skip]
const LN_1P: [f32; 8] = [
    0.333_333_3, -0.250_008_2, 0.200_012_42, -0.166_234_09, 0.142_015_87, -0.131_596_24, 0.127_621_31,
    -0.076_362_565,
];

// bits + EXPONENT_SHIFT: the field above bit 23 is n + 128 for x = 2^n m, sqrt(1/2) <= m < sqrt(2), and the bits below
// are those of m minus SQRT_HALF.
const SQRT_HALF: u64 = 0x3f35_04f3;
const EXPONENT_SHIFT: u64 = 0x4000_0000 - SQRT_HALF;

/// `n ln 2 + ln(1 + f)`, where `error` is what f lost. n is 0, or |n ln 2| > |f|.
#[inline(always)]
fn ln_reduced<S: Simd>(s: S, n: S::F32, f: S::F32, error: S::F32) -> S::F32 {
    // The head n ln 2 + f is rounded, and what it lost (exactly: the first term is the larger one) goes to the tail.
    // Without this the cancellation at n = -1 and n = 1 costs another half ULP.
    let head = n.mul_add(splat(s, LN_2_HIGH), f);
    let lost = f - n.mul_add(splat(s, -LN_2_HIGH), head);
    let tail = n.mul_add(splat(s, LN_2_LOW), lost + error);
    let f2 = f * f;
    let q = f.mul_add(polynomial_8(s, f, f2, LN_1P), splat(s, -0.5));
    head + f2.mul_add(q, tail)
}

/// The natural logarithm of 1 + x.
#[inline(always)]
pub(super) fn ln_1p<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = splat(s, 1.0);
    let minus_one = splat(s, -1.0);
    // Only the exponent is taken from the rounded 1 + x; f is (1 + x) / 2^n - 1 = x / 2^n + (1 / 2^n - 1).
    let bits = (one + x).to_bits().add(S::F32::splat_bits(s, EXPONENT_SHIFT));
    let n = S::F32::from_bits(bits.shr::<23>().or(S::F32::splat_bits(s, 0x4b00_0000)))
        - splat(s, 8_388_608.0 + 128.0);
    // n * 2^23, to take from an exponent field. Where n is not 0, x is far from subnormal.
    let shift = bits.and(S::F32::splat_bits(s, 0xff80_0000)).sub(S::F32::splat_bits(s, 0x4000_0000));
    let x_scaled = S::F32::from_bits(x.to_bits().sub(shift));
    // For n = 128 the field runs over and gives -infinity: 0 is as good as 2^-128.
    let power = splat(s, 0.0).max_or_other(S::F32::from_bits(one.to_bits().sub(shift)));
    // Rounded for n = 1 and small x alone; then |x / 2^n| < |1 / 2^n - 1|, and the error comes out exactly.
    let less_one = power - one;
    let f = x_scaled + less_one;
    let y = ln_reduced(s, n, f, x_scaled - (f - less_one));
    let y = x.select(x.equal(splat(s, f32::INFINITY)), y);
    let y = splat(s, f32::NEG_INFINITY).select(x.equal(minus_one), y);
    or_sign(s, splat(s, f32::NAN).select(x.greater_equal(minus_one).not(), y), x)
}
