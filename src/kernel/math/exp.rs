//! The exponential function.

use super::common::{clamp, or_sign, polynomial, polynomial_5, splat};
use crate::simd::{Bits, Simd, Vector};

// ln 2 in two parts: the first has 15 bits, so its product with an exponent is exact, fused or not.
pub(in crate::kernel) const LN_2_HIGH: f32 = 0.693_145_75;
pub(in crate::kernel) const LN_2_LOW: f32 = 1.428_606_8e-6;
/// exp(r) = 1 + r + r^2 q(r) for |r| <= ln 2 / 2; within 0.12 ULP of exp(r) - 1.
pub(in crate::kernel) const EXP: [f32; 5] =
    [0.499_999_97, 0.166_665_46, 0.041_667_443, 0.008_366_253, 0.001_386_995_2];

// The same, for eighths of an exponent: 12 bits.
const LN_2_SHORT_HIGH: f32 = 0.693_115_23;
const LN_2_SHORT_LOW: f32 = 3.194_618_3e-5;
/// 2^(i/8 + s), where s = -0.0036995 makes all eight differ from an f32 by less than 0.04 ULP.
const POWERS: [f32; 8] =
    [0.997_438_97, 1.087_714_9, 1.186_161_5, 1.293_518_3, 1.410_591_7, 1.538_261_2, 1.677_485_7, 1.829_311_1];
/// exp(r) / 2^s - 1 for |r| <= ln 2 / 16; within 0.32 of 2^-24 of exp(r).
const EXP_SHORT: [f32; 4] = [0.002_567_588_1, 1.002_567_6, 0.501_362_44, 0.167_077_54];

// Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits: with 127 on top the low 8 bits are the exponent
// field of 2^n.
pub(in crate::kernel) const ROUND_ONE: f32 = 12_582_912.0 + 127.0;

/// `n`, the integer nearest to `x / ln 2`, and before it `n` plus the constant that rounded it.
#[inline(always)]
pub(in crate::kernel) fn exponent<S: Simd>(s: S, x: S::F32, rounder: f32) -> (S::F32, S::F32) {
    let rounder = splat(s, rounder);
    let shifted = x.mul_add(splat(s, std::f32::consts::LOG2_E), rounder);
    (shifted, shifted - rounder)
}

/// `exp(x - n ln 2) - 1` as a sum, the larger part first.
///
/// The large part is `x - n ln 2_high`, which is exact; all that was rounded is small. Rounding the argument first and
/// taking 1 + p(r) of it costs a quarter ULP more: exp then just misses 1 ULP.
#[inline(always)]
pub(super) fn exp_m1_reduced<S: Simd>(s: S, x: S::F32, n: S::F32) -> (S::F32, S::F32) {
    let high = n.mul_add(splat(s, -LN_2_HIGH), x);
    let low = n * splat(s, -LN_2_LOW);
    let r = high + low;
    let r2 = r * r;
    (high, r2.mul_add(polynomial_5(s, r, r2, EXP), low))
}

/// `2^n` from what [`ROUND_ONE`] shifted; infinity for n = 128.
#[inline(always)]
pub(in crate::kernel) fn power<S: Simd>(shifted: S::F32) -> S::F32 {
    S::F32::from_bits(shifted.to_bits().shl::<23>())
}

/// e to the power x: `2^(k/8) e^r`, the eight powers from a table, which leaves so small an r that four terms do.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // Rounds to an eighth, and leaves eight times that in the low bits.
    const ROUND: f32 = 1_572_864.0;
    // exp(89) overflows. exp(-104) is below half of the smallest subnormal already, but at -176 `scale` gives zero for
    // -infinity (a masked logit) without an underflow, which takes CPUs long.
    let x = clamp(s, x, -176.0, 89.0);
    let shifted = x.mul_add(splat(s, std::f32::consts::LOG2_E), splat(s, ROUND));
    let n = shifted - splat(s, ROUND);
    let r = n.mul_add(splat(s, -LN_2_SHORT_HIGH), x);
    let r = n.mul_add(splat(s, -LN_2_SHORT_LOW), r);
    let p = polynomial(s, r, EXP_SHORT);
    let power = s.lookup_8(&POWERS, shifted.to_bits());
    s.scale::<3>(power.mul_add(p, power), n)
}

/// e to the power x, minus 1.
#[inline(always)]
pub(super) fn exp_m1<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // exp(-20) - 1 rounds to -1.
    let clamped = clamp(s, x, -20.0, 89.0);
    let (shifted, n) = exponent(s, clamped, ROUND_ONE);
    let (high, low) = exp_m1_reduced(s, clamped, n);
    // 2^128 is no f32: 2^127, and twice the result.
    let power = splat(s, f32::from_bits(0x7f00_0000)).min_or_other(power::<S>(shifted));
    let twice = n.greater(splat(s, 127.5));
    let less_one = power - splat(s, 1.0);
    // The largest part, 2^n high + 2^n - 1, is rounded once; the rest is small.
    let y = power.mul_add(low, power.mul_add(high, less_one));
    or_sign(s, (y + y).select(twice, y), x)
}
