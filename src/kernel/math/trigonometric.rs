//! Sine and cosine.

use super::common::{polynomial, splat};
use crate::simd::{Bits, Mask, Simd, Vector};

/// sin(r) = r + r z p(z) for z = r^2 and |r| <= pi / 4; within 0.07 of 2^-24.
const SIN: [f32; 3] = [-0.166_666_55, 0.008_332_188, -0.000_195_180_72];
/// cos(r) = 1 + z p(z); within 0.01 of 2^-24.
const COS: [f32; 4] = [-0.5, 0.041_666_646, -0.001_388_731, 2.443_233_8e-5];
/// pi / 2 in three parts: with fused multiply-add the first difference is exact for multiples up to 2^24.
const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
/// The same in four parts, 14 bits at most in the first three: products with multiples up to 2^10 are exact without it.
const HALF_PI_SHORT: [f32; 4] =
    [12_867.0 / 8192.0, 15_786.0 / 134_217_730.0, 8727.0 / 8_796_093_000_000.0, -5.145_311_5e-14];
/// From there on the reduction goes lane by lane.
const LIMIT: f32 = 200_000.0;
const LIMIT_SHORT: f32 = 1600.0;

/// `size - n pi / 2`, with fused multiply-add.
#[inline(always)]
fn angle<S: Simd>(s: S, size: S::F32, n: S::F32) -> S::F32 {
    let r = n.mul_add(splat(s, -HALF_PI[0]), size);
    let r = n.mul_add(splat(s, -HALF_PI[1]), r);
    n.mul_add(splat(s, -HALF_PI[2]), r)
}

/// The same without: every step but the last is exact where the angle is small.
#[inline(always)]
fn angle_in_steps<S: Simd>(s: S, size: S::F32, n: S::F32) -> S::F32 {
    let part = |i: usize| n * splat(s, HALF_PI_SHORT[i]);
    let (first, second) = (size - part(0), part(1));
    let r = first - second;
    // What the difference lost (Knuth's sum of two): nothing where the angle is small.
    let back = first - r;
    let lost = (first - (r + back)) + (back - second);
    (r + (lost - part(2))) - part(3)
}

/// The sine of `x + quarter pi / 2`, for a quarter of 0 or 1.
#[inline(always)]
fn sine<S: Simd, const QUARTER: u64>(s: S, x: S::F32) -> S::F32 {
    const ROUND: f32 = 12_582_912.0;
    let size = x.abs();
    let shifted = size.mul_add(splat(s, std::f32::consts::FRAC_2_PI), splat(s, ROUND));
    let n = shifted - splat(s, ROUND);
    let (mut r, limit) =
        if S::ISA.has_fma() { (angle(s, size, n), LIMIT) } else { (angle_in_steps(s, size, n), LIMIT_SHORT) };
    let mut quadrant = shifted.to_bits();
    if size.greater(splat(s, limit)).any() {
        let (mut angles, mut quadrants) = ([0.0; 16], [0.0; 16]);
        let mut sizes = [0.0; 16];
        size.store(&mut sizes);
        r.store(&mut angles);
        S::F32::from_bits(quadrant).store(&mut quadrants);
        reduce(&sizes[..S::F32::LANES], limit, &mut angles, &mut quadrants);
        r = S::F32::load(s, &angles);
        quadrant = S::F32::load(s, &quadrants).to_bits();
    }
    let z = r * r;
    let sin = (r * z).mul_add(polynomial(s, z, SIN), r);
    let cos = z.mul_add(polynomial(s, z, COS), splat(s, 1.0));
    let quadrant = quadrant.add(S::F32::splat_bits(s, QUARTER));
    // Odd quadrants take the other function, the upper half the other sign.
    let odd = S::F32::from_bits(quadrant.shl::<31>().shr::<1>()).greater(splat(s, 0.0));
    let y = cos.select(odd, sin).to_bits();
    let sign = if QUARTER == 0 { quadrant.shl::<30>().xor(x.to_bits()) } else { quadrant.shl::<30>() };
    S::F32::from_bits(y.xor(sign.and(S::F32::splat_bits(s, 0x8000_0000))))
}

/// The sine: of the size with the sign put back, so that -0 keeps it.
#[inline(always)]
pub(super) fn sin<S: Simd>(s: S, x: S::F32) -> S::F32 {
    sine::<S, 0>(s, x)
}

/// The cosine.
#[inline(always)]
pub(super) fn cos<S: Simd>(s: S, x: S::F32) -> S::F32 {
    sine::<S, 1>(s, x)
}

/// The first 256 bits of 2 / pi.
const TWO_OVER_PI: [u32; 8] =
    [0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561];

/// For each lane above `limit`: the quadrant (its last two bits, as the bits of a float) and the angle from its middle.
#[cold]
#[inline(never)]
fn reduce(sizes: &[f32], limit: f32, angles: &mut [f32; 16], quadrants: &mut [f32; 16]) {
    for ((size, angle), quadrant) in sizes.iter().zip(angles).zip(quadrants) {
        if size.is_infinite() {
            *angle = f32::NAN;
        } else if *size > limit {
            let (n, r) = reduce_one(*size);
            *angle = r;
            *quadrant = f32::from_bits(n);
        }
    }
}

/// Payne and Hanek's reduction with integers: of `x 2 / pi` only the bits that count are computed. (M. Payne, R. Hanek,
/// "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983.)
fn reduce_one(x: f32) -> (u32, f32) {
    let bits = x.to_bits();
    let significand = u128::from(bits & 0x007f_ffff | 0x0080_0000);
    // x = significand 2^exponent, the exponent from -14 on. The bits of 2 / pi 2^exponent with a weight of 4 or more make
    // multiples of four quadrants: the 96 that follow are the bits from `exponent - 2` on of 2 / pi.
    let start = (bits >> 23) as i32 - 150 - 2;
    let mut window = 0_u128;
    for i in 0..4 {
        let word = start.div_euclid(32) + i;
        let word = usize::try_from(word).map_or(0, |word| TWO_OVER_PI[word]);
        window = window << 32 | u128::from(word);
    }
    let window = window >> (32 - start.rem_euclid(32)) & ((1 << 96) - 1);
    // In units of 2^-94 quadrants, modulo 4: to the nearest quadrant, and what is left.
    let product = (significand * window) << 32 >> 32;
    let n = (product + (1 << 93)) >> 94;
    let rest = product as i128 - ((n as i128) << 94);
    // 62 bits of the fraction are more than enough: the nearest multiple that a float can be is some 2^-33 away.
    let rest = (rest >> 32) as i64 as f64 / (1_u64 << 62) as f64;
    (n as u32, (rest * std::f64::consts::FRAC_PI_2) as f32)
}
