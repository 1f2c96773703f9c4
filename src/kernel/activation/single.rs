//! The formulas in f32, in reduced form: `e^x = 2^n (1 + p)`, and rounding to the result is put off to the end.
//!
//! What an intermediate rounding loses is carried along where the error would pass 2 ULP otherwise. Each is one sequence
//! of operations without a branch.

use super::formulas::Formulas;
use crate::kernel::math::common::{clamp, or_sign, polynomial_5, splat};
use crate::kernel::math::exp::{EXP, LN_2_HIGH, LN_2_LOW, ROUND_ONE, exponent, power};
use crate::simd::{Bits, Simd, Vector};

/// As `ROUND_ONE`, with twice 127: halving gives the exponent field of about 2^(n/2), for powers that do not fit one.
const ROUND_TWO: f32 = 12_582_912.0 + 254.0;

// GELU's derivative: Q(a), the upper tail of the normal distribution, is e^(-a^2 / 2) g(w) / (a + 1.5) for 0 <= a <= 14.6, with
// w = a / (a + 1.5) - 0.5703125; g varies from 0.75 to 0.44. Minimax, within 0.16 of 2^-24 of g.
const TAIL_SHIFT: f32 = 1.5;
const TAIL_CENTRE: f32 = 0.570_312_5;
const TAIL: [f32; 12] = [
    0.588_826,
    -0.420_010_6,
    -0.191_035_64,
    0.227_463_11,
    0.310_916_96,
    0.021_211_043,
    -0.357_074_4,
    -0.450_834_36,
    -0.060_243_68,
    0.545_278_3,
    0.709_447_56,
    0.305_812_8,
];
/// Where GELU is below half of the smallest subnormal.
const TAIL_END: f32 = 14.6;
/// 1 / sqrt(2 pi).
const DENSITY: f32 = 0.398_942_3;

// v = x (LINEAR + CUBIC x^2) of the tanh form, each as a sum of two.
const LINEAR_64: f64 = 1.595_769_121_605_730_8;
const CUBIC_64: f64 = LINEAR_64 * 0.044_715;
const LINEAR: f32 = LINEAR_64 as f32;
const LINEAR_LOW: f32 = (LINEAR_64 - LINEAR as f64) as f32;
const CUBIC: f32 = CUBIC_64 as f32;
const CUBIC_LOW: f32 = (CUBIC_64 - CUBIC as f64) as f32;
/// Where v is -176: see the clamp of exp.
const TANH_FORM_END: f32 = 12.96;

/// `e^(x + x_low) = first second (1 + high + low)`, where the two are powers of two.
struct Exponential<V> {
    first: V,
    second: V,
    high: V,
    low: V,
}

/// `2^n` as a product of two powers, from what [`ROUND_TWO`] shifted: -252 <= n <= 254. At least one is zero for n = -253
/// and -254.
#[inline(always)]
fn two_powers<S: Simd>(s: S, shifted: S::F32) -> (S::F32, S::F32) {
    let bits = shifted.to_bits();
    let first = bits.shl::<22>().and(S::F32::splat_bits(s, 0xff80_0000));
    (S::F32::from_bits(first), S::F32::from_bits(bits.shl::<23>().sub(first)))
}

/// For -176 <= x <= 176.
#[inline(always)]
fn exponential<S: Simd>(s: S, x: S::F32, x_low: Option<S::F32>) -> Exponential<S::F32> {
    let (shifted, n) = exponent(s, x, ROUND_TWO);
    let (first, second) = two_powers(s, shifted);
    let (high, low) = exp_m1_reduced(s, x, x_low, n);
    Exponential { first, second, high, low }
}

/// The powers of two of `e^x`, and (high, low) of `e^-x`, which belongs to the inverse powers.
#[inline(always)]
fn opposite<S: Simd>(s: S, x: S::F32, x_low: Option<S::F32>) -> Exponential<S::F32> {
    let (shifted, n) = exponent(s, x, ROUND_TWO);
    let (first, second) = two_powers(s, shifted);
    let (high, low) = exp_m1_reduced(s, -x, x_low.map(|low| -low), -n);
    Exponential { first, second, high, low }
}

/// `e^(x + x_low - n ln 2) - 1` as a sum, the larger part first.
#[inline(always)]
fn exp_m1_reduced<S: Simd>(s: S, x: S::F32, x_low: Option<S::F32>, n: S::F32) -> (S::F32, S::F32) {
    let high = n.mul_add(splat(s, -LN_2_HIGH), x);
    let low = match x_low {
        Some(x_low) => n.mul_add(splat(s, -LN_2_LOW), x_low),
        None => n * splat(s, -LN_2_LOW),
    };
    let r = high + low;
    let r2 = r * r;
    (high, r2.mul_add(polynomial_5(s, r, r2, EXP), low))
}

/// `below` for negative x, else `1 - below`; NaN stays.
#[inline(always)]
fn mirrored<S: Simd>(s: S, x: S::F32, below: S::F32) -> S::F32 {
    below.select(splat(s, 0.0).greater(x), splat(s, 1.0) - below)
}

/// x sigma(v) for v = `inner` + `inner_low`, between -176 and 176, as 2^n x / (2^n + 1 + p).
#[inline(always)]
fn times_sigmoid<S: Simd>(s: S, x: S::F32, inner: S::F32, inner_low: Option<S::F32>) -> S::F32 {
    let e = opposite(s, inner, inner_low);
    let power = e.first * e.second;
    let head = power + splat(s, 1.0);
    // What the sum loses, as in sigmoid.
    let lost = power - (head - splat(s, 1.0));
    let denominator = head + (e.high + (e.low + lost));
    x / denominator * e.first * e.second
}

/// sigma(-v) (1 - m sigma(v)) for v = `inner` + `inner_low`, between 0 and 176: the derivative at -x of x sigma(v(x)), with
/// m = x v'(x).
#[inline(always)]
fn sigmoid_derivative<S: Simd>(s: S, inner: S::F32, inner_low: Option<S::F32>, m: S::F32) -> S::F32 {
    let e = exponential(s, -inner, inner_low.map(|low| -low));
    let (p, power) = (e.high + e.low, e.first * e.second);
    let sigma = splat(s, 1.0) / power.mul_add(p, power + splat(s, 1.0));
    let t = (-(m * sigma)).mul_add(sigma, sigma);
    t.mul_add(p, t) * power
}

/// `a b` as a sum of two: exact but for underflow. Without fused multiply-add the factors are cut into halves of 12 bits, whose
/// products are exact (T. J. Dekker, "A floating-point technique for extending the available precision", 1971).
#[inline(always)]
fn product<S: Simd>(s: S, a: S::F32, b: S::F32) -> (S::F32, S::F32) {
    let high = a * b;
    if S::ISA.has_fma() {
        return (high, a.mul_add(b, -high));
    }
    let first = |v: S::F32| S::F32::from_bits(v.to_bits().and(S::F32::splat_bits(s, 0xffff_f000)));
    let (a_first, b_first) = (first(a), first(b));
    let (a_rest, b_rest) = (a - a_first, b - b_first);
    (high, ((a_first * b_first - high) + a_first * b_rest + a_rest * b_first) + a_rest * b_rest)
}

/// `factor * x + rest` for a small rest, the product not rounded: without fused multiply-add that would cost another half ULP.
#[inline(always)]
fn add_product<S: Simd>(s: S, factor: S::F32, x: S::F32, rest: S::F32) -> S::F32 {
    if S::ISA.has_fma() {
        return factor.mul_add(x, rest);
    }
    let (high, low) = product(s, factor, x);
    // Of a product near the smallest numbers the parts underflow.
    let least = splat(s, 1e-30);
    high + (low.select(high.abs().greater(least), splat(s, 0.0)) + rest)
}

/// v = x (LINEAR + CUBIC x^2) as a sum of two, for |x| up to 13: in the tail an error of v is one of the result, times v.
#[inline(always)]
fn tanh_form<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let (linear, cubic) = (splat(s, LINEAR), splat(s, CUBIC));
    let (x2, x2_low) = product(s, x, x);
    let w = cubic.mul_add(x2, linear);
    // What w lost (Knuth's sum of two), and what the constants and x^2 did.
    let z = w - linear;
    let rest = if S::ISA.has_fma() {
        cubic.mul_add(x2, -z)
    } else {
        let (term, term_low) = product(s, cubic, x2);
        (term - z) + term_low
    };
    let lost = (linear - (w - z)) + rest;
    let low = cubic.mul_add(x2_low, splat(s, CUBIC_LOW).mul_add(x2, splat(s, LINEAR_LOW)));
    let (v, v_low) = product(s, x, w);
    (v, x.mul_add(lost + low, v_low))
}

impl Formulas for f32 {
    #[inline(always)]
    fn scaled_exp_m1<S: Simd>(s: S, x: S::F32, inverse: Option<(f32, f32)>, alpha: (f32, f32)) -> S::F32 {
        let (z, z_low) = match inverse {
            // e^-20 - 1 rounds to -1.
            None => (clamp(s, x, -20.0, 0.0), None),
            Some((high, low)) => {
                let x = clamp(s, x, -20.0 * alpha.0, 0.0);
                let z = x * splat(s, high);
                (z, Some(x.mul_add(splat(s, low), x.mul_add(splat(s, high), -z))))
            }
        };
        let (shifted, n) = exponent(s, z, ROUND_ONE);
        let (high, low) = exp_m1_reduced(s, z, z_low, n);
        let power = power::<S>(shifted);
        // 2^n high + 2^n - 1 is rounded once; the rest is small.
        let top = power.mul_add(high, power - splat(s, 1.0));
        let tail = power * low;
        let small = splat(s, alpha.0).mul_add(tail, splat(s, alpha.1) * top);
        or_sign(s, add_product(s, splat(s, alpha.0), top, small), x)
    }

    #[inline(always)]
    fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // Above 60 the denominator is 2^n and the quotient x.
        let x = splat(s, -176.0).max_or_other(x);
        times_sigmoid(s, x, splat(s, 60.0).min_or_other(x), None)
    }

    #[inline(always)]
    fn silu_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let a = splat(s, 176.0).min_or_other(x.abs());
        mirrored(s, x, sigmoid_derivative(s, a, None, a))
    }

    #[inline(always)]
    fn gelu_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // Q(a) - a phi(a), where both have the factor e^(-a^2 / 2).
        let (one, half) = (splat(s, 1.0), splat(s, -0.5));
        let a = splat(s, TAIL_END).min_or_other(x.abs());
        let square = a * a;
        let e = exponential(s, square * half, Some(a.mul_add(a, -square) * half));
        let d = a + splat(s, TAIL_SHIFT);
        let d_low = a - (d - splat(s, TAIL_SHIFT));
        let inverse = one / d;
        let inverse_low = (-d_low).mul_add(inverse, (-d).mul_add(inverse, one)) * inverse;
        let w = a.mul_add(inverse, splat(s, -TAIL_CENTRE));
        let w2 = w * w;
        let pair = |i: usize| w.mul_add(splat(s, TAIL[i + 1]), splat(s, TAIL[i]));
        let (first, second) = (w2.mul_add(pair(3), pair(1)), w2.mul_add(pair(7), pair(5)));
        let third = w2.mul_add(splat(s, TAIL[11]), pair(9));
        let w4 = w2 * w2;
        let g = w.mul_add(w4.mul_add(w4.mul_add(third, second), first), splat(s, TAIL[0]));
        let rest = g.mul_add(inverse_low, -(a * splat(s, DENSITY)));
        let r = g.mul_add(inverse, rest);
        let p = e.high + e.low;
        mirrored(s, x, r.mul_add(p, r) * (e.first * e.second))
    }

    #[inline(always)]
    fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // Above 6.5 sigma(v) is 1.
        let x = splat(s, -TANH_FORM_END).max_or_other(x);
        let (v, v_low) = tanh_form(s, splat(s, 6.5).min_or_other(x));
        times_sigmoid(s, x, v, Some(v_low))
    }

    #[inline(always)]
    fn gelu_tanh_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let a = splat(s, TANH_FORM_END).min_or_other(x.abs());
        let (v, v_low) = tanh_form(s, a);
        let m = a * (a * a).mul_add(splat(s, 3.0 * CUBIC), splat(s, LINEAR));
        mirrored(s, x, sigmoid_derivative(s, v, Some(v_low), m))
    }

    #[inline(always)]
    fn mish<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // tanh(ln(1 + e)) = w / (w + 2) with w = e (e + 2) and e = 2^n (1 + p). Above 10 it rounds to 1.
        let (one, two) = (splat(s, 1.0), splat(s, 2.0));
        let z = clamp(s, x, -176.0, 10.0);
        let e = exponential(s, z, None);
        let power = e.first * e.second;
        let head = one + (e.high + e.low);
        let head_low = (e.high - (head - one)) + e.low;
        // w / 2^n, and w + 2, as sums of two.
        let sum = power.mul_add(head, two);
        let sum_low = power.mul_add(head, two - sum);
        let (w, w_low) = product(s, head, sum);
        let w_low = w_low + head.mul_add(sum_low, head_low * (power + power).mul_add(head, two));
        let d = power.mul_add(w, two);
        let d_low = power.mul_add(w_low, power.mul_add(w, two - d));
        let inverse = one / d;
        let (top, top_low) = product(s, z, w);
        let top_low = z.mul_add(w_low, top_low);
        let quotient = top * inverse;
        let short = if S::ISA.has_fma() {
            (-quotient).mul_add(d, top)
        } else {
            let (back, back_low) = product(s, quotient, d);
            (top - back) - back_low
        };
        let rest = short + (-quotient).mul_add(d_low, top_low);
        let y = rest.mul_add(inverse, quotient) * e.first * e.second;
        // The sign of zero is x's.
        x.select(x.greater(splat(s, 10.0)), or_sign(s, y, x))
    }

    #[inline(always)]
    fn mish_derivative<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // With d = w + 2: e ((e + 2) + 4 x (1 + e) / d) / d, or, where that is not small, its distance from 1.
        let (one, two) = (splat(s, 1.0), splat(s, 2.0));
        let x = clamp(s, x, -176.0, 30.0);
        let exp = exponential(s, x, None);
        let (p, power) = (exp.high + exp.low, exp.first * exp.second);
        let e = power.mul_add(p, power);
        let sum = e + two;
        let inverse = one / e.mul_add(sum, two);
        let doubled = x + x;
        let product = doubled.mul_add(e, doubled);
        let q = (product + product).mul_add(inverse, sum) * inverse;
        let below = q.mul_add(p, q) * exp.first * exp.second;
        let above = (inverse + inverse).mul_add((product * e).mul_add(inverse, -one), one);
        // Where they cross both are within 1.9 units; at -0.5 the distance from 1 is 2.3 off.
        above.select(x.greater(splat(s, -0.2)), below)
    }
}
