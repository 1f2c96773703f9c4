//! The logistic function.

use super::common::{clamp, polynomial_5, splat};
use super::exp::{EXP, LN_2_HIGH, LN_2_LOW};
use super::near::{Far, SIGMOID};
use crate::simd::{Simd, Vector};

/// `1 / (1 + e^a)` for a = |x|, or 1 less that.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if !S::ISA.has_fma() {
        return far(s, x);
    }
    let a = x.abs();
    let below = SIGMOID.value(s, a);
    let near = (splat(s, 1.0) - below).select(x.greater(splat(s, 0.0)), below);
    SIGMOID.unless_far(s, a, near, x, Far::Sigmoid)
}

/// With x = n ln 2 + r, 1 / (1 + exp(-x)) is 2^n / (2^n + 1 + p) for p = exp(-r) - 1: one formula for both signs.
#[inline(always)]
pub(super) fn far<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const ROUND: f32 = 12_582_912.0;
    let one = splat(s, 1.0);
    // Below -104 it is zero (for -176 see exp), above 20 one.
    let x = clamp(s, x, -176.0, 20.0);
    let n = x.mul_add(splat(s, std::f32::consts::LOG2_E), splat(s, ROUND)) - splat(s, ROUND);
    // -r, rounded to less than a quarter of the sum's last place.
    let r = n.mul_add(splat(s, LN_2_LOW), n.mul_add(splat(s, LN_2_HIGH), -x));
    let r2 = r * r;
    let p = r2.mul_add(polynomial_5(s, r, r2, EXP), r);
    // 2^n may underflow here: it is added to 1. What the sum loses (n = -24 is a whole ULP of the result) is added to the
    // small part.
    let power = s.scale::<0>(one, n);
    let head = power + one;
    let lost = power - (head - one);
    let p = p + lost;
    // The rounding of this sum and of the quotient would add up to 1.6 ULP: one step of Newton's takes both back.
    let denominator = head + p;
    let excess = (denominator - head) - p;
    let y = one / denominator;
    let rest = excess.mul_add(y, (-denominator).mul_add(y, one));
    s.scale::<0>(y.mul_add(rest, y), n)
}
