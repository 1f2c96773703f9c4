//! Powers.
#![allow(
    clippy::excessive_precision,
    clippy::approx_constant,
    reason = "as `ci/coefficients.py` prints them"
)]

use super::common::{polynomial, splat};
use crate::simd::{Bits, Mask, Simd, Vector};

/// About 16 / (16.5 + i), chosen so that the logarithm of it is within 2^-42 of an f32; exact at both ends, where the
/// logarithm may vanish.
#[rustfmt::skip]
const RECIPROCAL: [f32; 16] = [
    1.0, 0.911_690_53, 0.864_187_6, 0.822_707_4, 0.787_903_67, 0.747_634_4, 0.715_919_1, 0.678_074, 0.651_844,
    0.626_872_6, 0.599_486_2, 0.577_813_57, 0.567_544, 0.534_387_77, 0.531_859, 0.5,
];
/// Minus the logarithm of that to base 2.
#[rustfmt::skip]
const LOGARITHM: [f32; 16] = [
    0.0, 0.133_383_9, 0.210_583_57, 0.281_548_65, 0.343_908_85, 0.419_595_12, 0.482_131_57, 0.560_485_36,
    0.617_401_3, 0.673_755_8, 0.738_201_6, 0.791_324, 0.817_195_9, 0.904_041_1, 0.910_884_3, 1.0,
];
/// log2(1 + r) = r p(r) for -0.0315 <= r <= 1/16, in f64; within 2^-40.
#[rustfmt::skip]
const LOG2: [f64; 7] = [
    1.4426950408898842, -0.72134752030277516, 0.48089833482468558, -0.36067423792539394, 0.28856715660908128,
    -0.24028102771222501, 0.18813379189012133,
];
/// 2^f = 1 + f p(f) for |f| <= 1/2; within 0.05 of 2^-24.
const EXP2: [f32; 6] =
    [0.693_147_2, 0.240_226_48, 0.055_503_596, 0.009_618_501, 0.001_339_097_7, 0.000_153_285_16];

/// `log2(2^e m)`, from r as in [`ln`](super::log::ln), in f64.
#[inline(always)]
fn log2<S: Simd>(s: S, m: S::F64, e: S::F64, reciprocal: S::F64, logarithm: S::F64) -> S::F64 {
    let splat = |value| S::F64::splat(s, value);
    // Exact: both factors are f32.
    let r = m * reciprocal - splat(1.0);
    let mut p = splat(LOG2[6]);
    p = p.mul_add(r, splat(LOG2[5]));
    p = p.mul_add(r, splat(LOG2[4]));
    p = p.mul_add(r, splat(LOG2[3]));
    p = p.mul_add(r, splat(LOG2[2]));
    p = p.mul_add(r, splat(LOG2[1]));
    p = p.mul_add(r, splat(LOG2[0]));
    p.mul_add(r, e + logarithm)
}

/// `z` as an integer and a fraction.
#[inline(always)]
fn integer_and_fraction<S: Simd>(s: S, z: S::F64) -> (S::F64, S::F64) {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // Beyond these the result is 0 or infinite.
    let z = S::F64::splat(s, 130.0).min_or_other(S::F64::splat(s, -180.0).max_or_other(z));
    let n = (z + S::F64::splat(s, ROUND)) - S::F64::splat(s, ROUND);
    (n, z - n)
}

/// True where `y` is an integer, infinity included.
#[inline(always)]
fn is_integer<S: Simd>(s: S, y: S::F32) -> <S::F32 as Vector<f32, S>>::Mask {
    let size = y.abs();
    let large = splat(s, 8_388_608.0);
    ((size + large) - large).equal(size).or(size.greater_equal(large))
}

/// `x` to the power `y`, or to the power `y - 1` if `LESS_ONE`.
///
/// `2^(y log2 |x|)`, with the logarithm and the product in f64: it may be 150, and its last places are the result's first.
/// The special cases are those of C99.
#[inline(always)]
pub(super) fn pow<S: Simd, const LESS_ONE: bool>(s: S, x: S::F32, y: S::F32) -> S::F32 {
    let (one, zero) = (splat(s, 1.0), splat(s, 0.0));
    let size = x.abs();
    let (m, e) = s.split(size);
    let interval = m.to_bits().shr::<19>();
    let reciprocal = s.widen(s.lookup_16(&RECIPROCAL, interval));
    let logarithm = s.widen(s.lookup_16(&LOGARITHM, interval));
    let (m, e, exponent) = (s.widen(m), s.widen(e), s.widen(y));
    let less = S::F64::splat(s, if LESS_ONE { 1.0 } else { 0.0 });
    let z0 = log2(s, m[0], e[0], reciprocal[0], logarithm[0]) * (exponent[0] - less);
    let z1 = log2(s, m[1], e[1], reciprocal[1], logarithm[1]) * (exponent[1] - less);
    let ((n0, f0), (n1, f1)) = (integer_and_fraction(s, z0), integer_and_fraction(s, z1));
    let (n, f) = (s.narrow([n0, n1]), s.narrow([f0, f1]));
    let power = s.scale::<0>(f.mul_add(polynomial(s, f, EXP2), one), n);
    // 1 to an infinite power is no product of 0 and infinity.
    let power = one.select(size.equal(one).and(y.equal(y)), power);
    let integer = is_integer(s, y);
    let odd = integer.and(is_integer(s, y * splat(s, 0.5)).not());
    let odd = if LESS_ONE { integer.and(odd.not()) } else { odd };
    let sign = x.to_bits().and(S::F32::splat_bits(s, 0x8000_0000));
    let power = S::F32::from_bits(power.to_bits().xor(sign)).select(odd, power);
    let undefined = zero.greater(x).and(integer.not()).and(size.equal(splat(s, f32::INFINITY)).not());
    let power = splat(s, f32::NAN).select(undefined, power);
    one.select(x.equal(one).or(y.equal(if LESS_ONE { one } else { zero })), power)
}
