//! The error function.

use super::common::{at_most, or_sign, piecewise, splat};
use crate::simd::{Simd, Vector};

/// The distance of the intervals' middles: a multiple of 2^-22, so that multiples of it are exact, for which the function
/// at the 15 middles is within 0.23 ULP of an f32.
const SPACING: f32 = 1_079_862.0 / 4_194_304.0;

/// erf(k SPACING) for k from 0 to 15.
const MIDDLE: [f32; 16] = [
    0.0,
    0.284218341,
    0.533511579,
    0.725301683,
    0.854720414,
    0.93131882,
    0.971082807,
    0.989187956,
    0.996418178,
    0.998950541,
    0.999728441,
    0.999938011,
    0.999987543,
    0.999997795,
    0.999999642,
    0.99999994,
];
/// erf(k SPACING + d) = MIDDLE[k] + d p(d), but d + d p(d) for k = 0; within 0.3 ULP for |d| <= SPACING / 2.
const ERF: [[f32; 16]; 5] = [
    [
        0.128379166,
        1.05600941,
        0.86557734,
        0.621397197,
        0.390713274,
        0.215165392,
        0.103779614,
        0.0438406579,
        0.0162206218,
        0.00525633805,
        0.00149184768,
        0.000370843831,
        8.0738937e-05,
        1.53957335e-05,
        2.57124293e-06,
        3.7610684e-07,
    ],
    [
        2.85087197e-07,
        -0.271875739,
        -0.445696265,
        -0.479945987,
        -0.402377248,
        -0.276988804,
        -0.160319462,
        -0.0790097862,
        -0.0334140994,
        -0.0121797482,
        -0.00384009234,
        -0.00104835117,
        -0.000254181039,
        -5.29033205e-05,
        -3.60508739e-06,
        3.80913752e-06,
    ],
    [
        -0.376141846,
        -0.305362046,
        -0.135547563,
        0.0400104672,
        0.146010146,
        0.165981993,
        0.130504757,
        0.0803167075,
        0.0404681154,
        0.0170624889,
        0.00609515375,
        0.00185921032,
        0.000486816425,
        0.000109828885,
        2.14081156e-05,
        3.61292632e-06,
    ],
    [
        0.000288161478,
        0.129051507,
        0.182348996,
        0.143732727,
        0.0594293475,
        -0.0137316883,
        -0.0467640348,
        -0.0459485874,
        -0.03027042,
        -0.015753109,
        -0.00665232865,
        -0.00241286913,
        -0.000406747131,
        -9.0864356e-05,
        -0.000360060163,
        -0.000307536277,
    ],
    [
        0.110960826,
        0.0792273059,
        0.00405081734,
        -0.056664519,
        -0.0676628649,
        -0.0422305129,
        -0.0100089693,
        0.00892514642,
        0.0129577341,
        0.00943425484,
        0.00494748401,
        0.00204238179,
        0.000688136322,
        0.000193048356,
        4.56413254e-05,
        9.16706449e-06,
    ],
];

/// Below 3.98: one polynomial of degree 5 for each of 16 intervals. Above, it is 1.
#[inline(always)]
pub(super) fn erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const ROUND: f32 = 12_582_912.0;
    let size = at_most(s, x.abs(), 3.98);
    let shifted = size.mul_add(splat(s, 1.0 / SPACING), splat(s, ROUND));
    let interval = shifted.to_bits();
    let d = (shifted - splat(s, ROUND)).mul_add(splat(s, -SPACING), size);
    // Near zero the derivative's leading 1 is left to an exact sum, or its rounding would count in full. Elsewhere the
    // middle is the larger one.
    let middle = s.lookup_16(&MIDDLE, interval).max_or_other(d);
    or_sign(s, d.mul_add(piecewise(s, d, &ERF, interval), middle), x)
}
