//! Powers.

use super::common::{polynomial, splat};
use crate::simd::{Bits, Mask, Simd, Vector};

/// About 16 / (16.5 + i), chosen so that the logarithm of it is within 2^-42 of an f32; exact at both ends, where the
/// logarithm may vanish.
const RECIPROCAL: [f32; 16] = [
    1.0,
    0.911690533,
    0.864187598,
    0.822707415,
    0.787903666,
    0.747634411,
    0.715919077,
    0.678074002,
    0.651844025,
    0.626872599,
    0.599486172,
    0.577813566,
    0.567543983,
    0.534387767,
    0.531858981,
    0.5,
];
/// Minus the logarithm of that to base 2.
const LOGARITHM: [f32; 16] = [
    0.0,
    0.1333839,
    0.210583568,
    0.281548649,
    0.343908846,
    0.419595122,
    0.482131571,
    0.560485363,
    0.617401302,
    0.673755825,
    0.738201618,
    0.791324019,
    0.817195892,
    0.904041111,
    0.910884321,
    1.0,
];
/// log2(1 + r) = r p(r) for -0.0315 <= r <= 1/16, in f64; within 2^-40.
const LOG2: [f64; 7] = [
    1.4426950408898842,
    -0.72134752030277516,
    0.48089833482468558,
    -0.36067423792539394,
    0.28856715660908128,
    -0.24028102771222501,
    0.18813379189012133,
];
/// 2^f = 1 + f p(f) for |f| <= 1/2; within 0.05 of 2^-24.
const EXP2: [f32; 6] = [0.693147182, 0.240226477, 0.0555035956, 0.00961850118, 0.00133909774, 0.00015328516];

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
