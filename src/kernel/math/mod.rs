//! Elementary functions: on slices for everybody, on vectors for the other kernels.
//!
//! The f32 functions are our own. Each is one sequence of correctly rounded operations without a branch, so a result
//! depends neither on the element's position nor on the instruction set, as long as that multiplies and adds with one
//! rounding. Errors are in ULP of the exact result, subnormal results included: the largest of all 2^32 inputs, rounded
//! up, with fused multiply-add and on the portable tier. (Run on AVX-512 and portable; `tests/elementwise.rs` holds the
//! same table, checks a part of the inputs on every instruction set, and all of them on demand.)
//!
//! | f32 function | method | largest error | portable |
//! | --- | --- | --- | --- |
//! | [`exp`] | `2^n (1 + p(r))`, degree 6, scaled in two steps | 0.91 | 0.94 |
//! | [`exp_m1`] | `2^n p(r) + (2^n - 1)` | 1.25 | 1.34 |
//! | [`ln`] | `n ln 2 + f + f^2 q(f)`, degree 11, compensated | 0.90 | 0.96 |
//! | [`ln_1p`] | the same, and what rounding 1 + x loses is carried along | 0.98 | 1.04 |
//! | [`sigmoid`] | `2^n / (2^n + 1 + p(-r))`: one formula for both signs, no cancellation | 0.94 | 1.33 |
//! | [`tanh`] | `x + x^3 t(x^2)` below 0.55, else `1 - 2 / (exp(2x) + 1)` | 1.34 | 1.35 |
//!
//! The f64 functions are those of the `libm` crate, which is Rust all through (no platform's C library): the same bits
//! everywhere, less than 1 ULP for `exp`, `ln`, `exp_m1` and `ln_1p` by its documentation.
//!
//! NaN gives NaN, whose sign and payload are not specified. Nothing is flushed: subnormal inputs and results count.
//! The coefficients are derived by `ci/coefficients.py`.

mod common;
mod double;
mod erf;
mod slices;

use self::common::{clamp, or_sign, polynomial, polynomial_5, polynomial_8, splat};
use crate::simd::{Bits, Mask, Scalar, Simd, Vector};
pub use slices::{
    ACCURACY, erf, erf_backward, erf_in_place, exp, exp_backward, exp_in_place, exp_m1, exp_m1_backward,
    exp_m1_in_place, ln, ln_1p, ln_1p_backward, ln_1p_in_place, ln_backward, ln_in_place, rsqrt,
    rsqrt_backward, rsqrt_in_place, sigmoid, sigmoid_backward, sigmoid_in_place, sqrt, sqrt_backward,
    sqrt_in_place, tanh, tanh_backward, tanh_in_place,
};
pub(crate) use slices::{Exp, Kernels, Map, MapInPlace, Sigmoid, Tanh, check_length};

/// The elementary functions, lane by lane, with the same bits on every instruction set with a fused multiply-add.
#[doc(hidden)]
pub trait Elementary: Scalar {
    /// e to the power x.
    fn exp<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// e to the power x, minus 1.
    fn exp_m1<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The natural logarithm.
    fn ln<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The natural logarithm of 1 + x.
    fn ln_1p<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// 1 / (1 + exp(-x)).
    fn sigmoid<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The hyperbolic tangent.
    fn tanh<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The error function.
    fn erf<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
    /// The square root.
    #[inline(always)]
    fn sqrt<S: Simd>(_: S, x: Self::V<S>) -> Self::V<S> {
        x.sqrt()
    }
    /// 1 / sqrt(x), both rounded.
    fn rsqrt<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;
}

// ln 2 in two parts: the first has 15 bits, so its product with an exponent is exact, fused or not.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;
/// exp(r) = 1 + r + r^2 q(r) for |r| <= ln 2 / 2; within 0.12 ULP of exp(r) - 1.
const EXP: [f32; 5] = [0.499_999_97, 0.166_665_46, 0.041_667_443, 0.008_366_253, 0.001_386_995_2];
/// ln(1 + f) = f + f^2 (-1/2 + f p(f)) for sqrt(1/2) <= 1 + f <= sqrt(2); within 0.05 ULP.
const LN: [f32; 8] = [
    0.333_333_3,
    -0.250_008_2,
    0.200_012_42,
    -0.166_234_09,
    0.142_015_87,
    -0.131_596_24,
    0.127_621_31,
    -0.076_362_565,
];
/// tanh(x) = x + x z p(z) for z = x^2 <= 0.3125; within 0.02 ULP.
const TANH: [f32; 5] = [-0.333_333_16, 0.133_325_28, -0.053_844_765, 0.021_036_16, -0.006_218_932_6];

// Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. With 127 on top the low 8 bits are the exponent
// field of 2^n; with twice that, halving gives the field of about 2^(n/2), for powers that do not fit one field.
const ROUND_ONE: f32 = 12_582_912.0 + 127.0;
const ROUND_TWO: f32 = 12_582_912.0 + 254.0;

/// `n`, the integer nearest to `x / ln 2`, and before it `n` plus the constant that rounded it.
#[inline(always)]
fn exponent<S: Simd>(s: S, x: S::F32, rounder: f32) -> (S::F32, S::F32) {
    let rounder = splat(s, rounder);
    let shifted = x.mul_add(splat(s, std::f32::consts::LOG2_E), rounder);
    (shifted, shifted - rounder)
}

/// `exp(x - n ln 2) - 1` as a sum, the larger part first.
///
/// The large part is `x - n ln 2_high`, which is exact; all that was rounded is small. Rounding the argument first and
/// taking 1 + p(r) of it costs a quarter ULP more: exp then just misses 1 ULP.
#[inline(always)]
fn exp_m1_reduced<S: Simd>(s: S, x: S::F32, n: S::F32) -> (S::F32, S::F32) {
    let high = n.mul_add(splat(s, -LN_2_HIGH), x);
    let low = n * splat(s, -LN_2_LOW);
    let r = high + low;
    let r2 = r * r;
    (high, r2.mul_add(polynomial_5(s, r, r2, EXP), low))
}

/// `2^n` from what [`ROUND_ONE`] shifted; infinity for n = 128.
#[inline(always)]
fn power<S: Simd>(shifted: S::F32) -> S::F32 {
    S::F32::from_bits(shifted.to_bits().shl::<23>())
}

/// `2^n` as a product of two powers, from what [`ROUND_TWO`] shifted: -252 <= n <= 254. At least one is zero for n = -253
/// and -254.
#[inline(always)]
fn two_powers<S: Simd>(s: S, shifted: S::F32) -> (S::F32, S::F32) {
    let bits = shifted.to_bits();
    let first = bits.shl::<22>().and(S::F32::splat_bits(s, 0xff80_0000));
    (S::F32::from_bits(first), S::F32::from_bits(bits.shl::<23>().sub(first)))
}

/// `n ln 2 + ln(1 + f)`, where `error` is what f lost if it is not exact. n is 0, or |n ln 2| > |f|.
#[inline(always)]
fn ln_reduced<S: Simd>(s: S, n: S::F32, f: S::F32, error: Option<S::F32>) -> S::F32 {
    // The head n ln 2 + f is rounded, and what it lost (exactly: the first term is the larger one) goes to the tail.
    // Without this the cancellation at n = -1 and n = 1 costs another half ULP.
    let head = n.mul_add(splat(s, LN_2_HIGH), f);
    let lost = f - n.mul_add(splat(s, -LN_2_HIGH), head);
    let lost = error.map_or(lost, |error| lost + error);
    let tail = n.mul_add(splat(s, LN_2_LOW), lost);
    let f2 = f * f;
    let q = f.mul_add(polynomial_8(s, f, f2, LN), splat(s, -0.5));
    head + f2.mul_add(q, tail)
}

// bits + EXPONENT_SHIFT: the field above bit 23 is n + 128 for x = 2^n m, sqrt(1/2) <= m < sqrt(2), and the bits below
// are those of m minus SQRT_HALF.
const SQRT_HALF: u64 = 0x3f35_04f3;
const EXPONENT_SHIFT: u64 = 0x4000_0000 - SQRT_HALF;

impl Elementary for f32 {
    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // exp(89) overflows. exp(-104) is below half of the smallest subnormal already, but at -176 n is -254 and both
        // powers are zero: -infinity (a masked logit) gives zero without an underflow, which takes CPUs long.
        let x = clamp(s, x, -176.0, 89.0);
        let (shifted, n) = exponent(s, x, ROUND_TWO);
        let (high, low) = exp_m1_reduced(s, x, n);
        let (first, second) = two_powers(s, shifted);
        // The first product is exact; the second rounds only where the result is subnormal or overflows.
        (splat(s, 1.0) + (high + low)) * first * second
    }

    #[inline(always)]
    fn exp_m1<S: Simd>(s: S, x: S::F32) -> S::F32 {
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

    #[inline(always)]
    fn ln<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let zero = splat(s, 0.0);
        // Subnormal: 2^24 times as large, and 24 less to the exponent.
        let small = splat(s, f32::MIN_POSITIVE).greater(x);
        let scaled = (x * splat(s, 16_777_216.0)).select(small, x);
        let offset = splat(s, 8_388_608.0 + 128.0 + 24.0).select(small, splat(s, 8_388_608.0 + 128.0));
        let bits = scaled.to_bits().add(S::F32::splat_bits(s, EXPONENT_SHIFT));
        let m = bits.and(S::F32::splat_bits(s, 0x007f_ffff)).add(S::F32::splat_bits(s, SQRT_HALF));
        // An integer below 2^23 in the low bits of 2^23 is their sum.
        let n = S::F32::from_bits(bits.shr::<23>().or(S::F32::splat_bits(s, 0x4b00_0000))) - offset;
        let y = ln_reduced(s, n, S::F32::from_bits(m) - splat(s, 1.0), None);
        let y = x.select(x.equal(splat(s, f32::INFINITY)), y);
        let y = splat(s, f32::NEG_INFINITY).select(x.equal(zero), y);
        splat(s, f32::NAN).select(x.greater_equal(zero).not(), y)
    }

    #[inline(always)]
    fn ln_1p<S: Simd>(s: S, x: S::F32) -> S::F32 {
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
        let y = ln_reduced(s, n, f, Some(x_scaled - (f - less_one)));
        let y = x.select(x.equal(splat(s, f32::INFINITY)), y);
        let y = splat(s, f32::NEG_INFINITY).select(x.equal(minus_one), y);
        or_sign(s, splat(s, f32::NAN).select(x.greater_equal(minus_one).not(), y), x)
    }

    #[inline(always)]
    fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let one = splat(s, 1.0);
        // With x = n ln 2 + r, sigmoid(x) is 2^n / (2^n + 1 + p) for p = exp(-r) - 1: one formula for both signs.
        // Below -104 it is zero (for -176 see exp), above 20 one.
        let x = clamp(s, x, -176.0, 20.0);
        let (shifted, n) = exponent(s, x, ROUND_TWO);
        let (first, second) = two_powers(s, shifted);
        let (high, low) = exp_m1_reduced(s, -x, -n);
        // 2^n may underflow here: it is added to 1. What the sum loses (n = -24 is a whole ULP of the result) is added
        // to the small part.
        let power = first * second;
        let head = power + one;
        let lost = power - (head - one);
        let p = high + (low + lost);
        // The rounding of this sum and of the quotient would add up to 1.6 ULP: one step of Newton's takes both back.
        let denominator = head + p;
        let excess = (denominator - head) - p;
        let y = one / denominator;
        let rest = excess.mul_add(y, (-denominator).mul_add(y, one));
        y.mul_add(rest, y) * first * second
    }

    #[inline(always)]
    fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let one = splat(s, 1.0);
        let size = x.abs();
        // Above 10 it is 1 either way.
        let doubled = splat(s, 20.0).min_or_other(size + size);
        let (shifted, n) = exponent(s, doubled, ROUND_ONE);
        let (high, low) = exp_m1_reduced(s, doubled, n);
        let power = power::<S>(shifted);
        let denominator = power.mul_add(high + low, power + one);
        let large = one - splat(s, 2.0) / denominator;
        // Near zero that would cancel.
        let z = x * x;
        let small = (size * z).mul_add(polynomial(s, z, TANH), size);
        let y = large.select(size.greater(splat(s, 0.55)), small);
        or_sign(s, y, x)
    }

    #[inline(always)]
    fn erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
        erf::erf(s, x)
    }

    #[inline(always)]
    fn rsqrt<S: Simd>(s: S, x: S::F32) -> S::F32 {
        splat(s, 1.0) / x.sqrt()
    }
}
