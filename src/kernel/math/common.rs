//! What the functions are made of.

use crate::simd::{Bits, BitsOf, Simd, Vector};

#[inline(always)]
pub(in crate::kernel) fn splat<S: Simd>(s: S, value: f32) -> S::F32 {
    S::F32::splat(s, value)
}

/// `c[0] + c[1] x + ...` by Horner's rule.
#[inline(always)]
pub(super) fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, c: [f32; N]) -> S::F32 {
    let mut sum = splat(s, c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, splat(s, c[i]));
    }
    sum
}

/// The same by pairs, which is Estrin's scheme: what bounds these functions is the length of their chains, and x squared
/// is at hand.
#[inline(always)]
pub(in crate::kernel) fn polynomial_5<S: Simd>(s: S, x: S::F32, x2: S::F32, c: [f32; 5]) -> S::F32 {
    let low = x.mul_add(splat(s, c[1]), splat(s, c[0]));
    let high = x.mul_add(splat(s, c[3]), splat(s, c[2]));
    x2.mul_add(x2.mul_add(splat(s, c[4]), high), low)
}

/// The same for 8 coefficients.
#[inline(always)]
pub(super) fn polynomial_8<S: Simd>(s: S, x: S::F32, x2: S::F32, c: [f32; 8]) -> S::F32 {
    let pair = |i: usize| x.mul_add(splat(s, c[i + 1]), splat(s, c[i]));
    let (low, high) = (x2.mul_add(pair(2), pair(0)), x2.mul_add(pair(6), pair(4)));
    (x2 * x2).mul_add(high, low)
}

/// `c[0] + c[1] x + ...` by Horner's rule, each lane with the coefficients of its own interval.
#[inline(always)]
pub(super) fn piecewise<S: Simd, const N: usize>(
    s: S,
    x: S::F32,
    c: &[[f32; 16]; N],
    interval: BitsOf<S>,
) -> S::F32 {
    let mut sum = s.lookup_16(&c[N - 1], interval);
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, s.lookup_16(&c[i], interval));
    }
    sum
}

/// `value` with the sign bit of `x` or'ed in: only zeros change, where both have one sign otherwise.
#[inline(always)]
pub(in crate::kernel) fn or_sign<S: Simd>(s: S, value: S::F32, x: S::F32) -> S::F32 {
    S::F32::from_bits(value.to_bits().or(x.to_bits().and(S::F32::splat_bits(s, 0x8000_0000))))
}

/// `low <= x <= high`; NaN stays.
#[inline(always)]
pub(in crate::kernel) fn clamp<S: Simd>(s: S, x: S::F32, low: f32, high: f32) -> S::F32 {
    splat(s, high).min_or_other(splat(s, low).max_or_other(x))
}

/// `x`, at most `high`; NaN stays.
#[inline(always)]
pub(super) fn at_most<S: Simd>(s: S, x: S::F32, high: f32) -> S::F32 {
    splat(s, high).min_or_other(x)
}
