//! The error function.

use super::common::{at_most, or_sign, piecewise, splat};
use crate::simd::{Simd, Vector};

/// The distance of the intervals' middles: a multiple of 2^-22, so that multiples of it are exact, for which the function
/// at the 15 middles is within 0.23 ULP of an f32.
const SPACING: f32 = 1_079_862.0 / 4_194_304.0;

/// erf(k SPACING) for k from 0 to 15.
#[rustfmt::skip]
const MIDDLE: [f32; 16] = [
    0.0, 0.284_218_34, 0.533_511_6, 0.725_301_7, 0.854_720_4, 0.931_318_8, 0.971_082_8, 0.989_187_96,
    0.996_418_2, 0.998_950_54, 0.999_728_44, 0.999_938, 0.999_987_54, 0.999_997_8, 0.999_999_64, 0.999_999_94,
];
/// erf(k SPACING + d) = MIDDLE[k] + d p(d), but d + d p(d) for k = 0; within 0.3 ULP for |d| <= SPACING / 2.
#[rustfmt::skip]
const ERF: [[f32; 16]; 5] = [
    [
        0.128_379_17, 1.056_009_4, 0.865_577_34, 0.621_397_2, 0.390_713_27, 0.215_165_39, 0.103_779_614,
        0.043_840_658, 0.016_220_622, 0.005_256_338, 0.001_491_847_7, 0.000_370_843_83, 8.073_894e-5,
        1.539_573_3e-5, 2.571_243e-6, 3.761_068_4e-7,
    ],
    [
        2.850_872e-7, -0.271_875_74, -0.445_696_26, -0.479_946, -0.402_377_25, -0.276_988_8, -0.160_319_46,
        -0.079_009_786, -0.033_414_1, -0.012_179_748, -0.003_840_092_3, -0.001_048_351_2, -0.000_254_181_04,
        -5.290_332e-5, -3.605_087_4e-6, 3.809_137_5e-6,
    ],
    [
        -0.376_141_85, -0.305_362_05, -0.135_547_56, 0.040_010_467, 0.146_010_15, 0.165_982, 0.130_504_76,
        0.080_316_71, 0.040_468_115, 0.017_062_489, 0.006_095_153_7, 0.001_859_210_3, 0.000_486_816_43,
        0.000_109_828_885, 2.140_811_6e-5, 3.612_926_3e-6,
    ],
    [
        0.000_288_161_48, 0.129_051_5, 0.182_349, 0.143_732_73, 0.059_429_348, -0.013_731_688, -0.046_764_035,
        -0.045_948_587, -0.030_270_42, -0.015_753_109, -0.006_652_328_7, -0.002_412_869_1, -0.000_406_747_13,
        -9.086_435_6e-5, -0.000_360_060_16, -0.000_307_536_28,
    ],
    [
        0.110_960_83, 0.079_227_306, 0.004_050_817_3, -0.056_664_52, -0.067_662_865, -0.042_230_513,
        -0.010_008_969, 0.008_925_146, 0.012_957_734, 0.009_434_255, 0.004_947_484, 0.002_042_381_8,
        0.000_688_136_3, 0.000_193_048_36, 4.564_132_5e-5, 9.167_064_5e-6,
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
