//! Functions that fall like an exponential: a smooth factor, one polynomial for each of 16 intervals, times the power of e.
#![allow(clippy::approx_constant, reason = "as `ci/coefficients.py` prints them")]

use super::common::{at_most, or_sign, polynomial_5, splat};
use super::exp::{EXP, LN_2_HIGH, LN_2_LOW};
use super::near::{self, Far};
use crate::simd::{Bits, BitsOf, Simd, Vector};

/// A factor from 0 to 15 / scale, as polynomials around a point near the middle of each interval, where the function is almost an
/// f32 (within 0.01 ULP).
pub(super) struct Tail<const N: usize> {
    /// 16 less is the largest argument times this.
    pub(super) scale: f32,
    pub(super) middles: [f32; 16],
    pub(super) coefficients: [[f32; 16]; N],
}

impl<const N: usize> Tail<N> {
    /// The intervals are quarters of the powers of two of 1 + a scale: its last two bits of exponent and first two of
    /// significand.
    #[inline(always)]
    fn interval<S: Simd>(&self, s: S, a: S::F32) -> (BitsOf<S>, S::F32) {
        let interval = a.mul_add(splat(s, self.scale), splat(s, 1.0)).to_bits().shr::<21>();
        (interval, a - s.lookup_16(&self.middles, interval))
    }

    /// The factor as a rounded value and what it lost.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, a: S::F32) -> (S::F32, S::F32) {
        let (interval, d) = self.interval(s, a);
        let mut sum = s.lookup_16(&self.coefficients[N - 1], interval);
        for i in (2..N - 1).rev() {
            sum = sum.mul_add(d, s.lookup_16(&self.coefficients[i], interval));
        }
        let (first, second) =
            (s.lookup_16(&self.coefficients[0], interval), s.lookup_16(&self.coefficients[1], interval));
        let slope = sum.mul_add(d, second);
        let rest = slope * d;
        let value = first + rest;
        let lost = rest - (value - first);
        if S::ISA.has_fma() {
            return (value, lost);
        }
        // The slope was rounded twice: what its sum lost is carried along.
        (value, (sum * d - (slope - second)).mul_add(d, lost))
    }

    /// The factor, rounded.
    #[inline(always)]
    pub(super) fn value<S: Simd>(&self, s: S, a: S::F32) -> S::F32 {
        let (interval, d) = self.interval(s, a);
        let mut sum = s.lookup_16(&self.coefficients[N - 1], interval);
        for i in (0..N - 1).rev() {
            sum = sum.mul_add(d, s.lookup_16(&self.coefficients[i], interval));
        }
        sum
    }

    /// The factor at `a` times `exp(high + low)`, where the exponent is not above 0.
    #[inline(always)]
    fn times_exp<S: Simd>(&self, s: S, a: S::F32, high: S::F32, low: Option<S::F32>) -> S::F32 {
        const ROUND: f32 = 12_582_912.0;
        let (factor, lost) = self.sum(s, a);
        let n = high.mul_add(splat(s, std::f32::consts::LOG2_E), splat(s, ROUND)) - splat(s, ROUND);
        let r_high = n.mul_add(splat(s, -LN_2_HIGH), high);
        let r_low = match low {
            Some(low) => n.mul_add(splat(s, -LN_2_LOW), low),
            None => n * splat(s, -LN_2_LOW),
        };
        let r = r_high + r_low;
        let r2 = r * r;
        let p = r_high + r2.mul_add(polynomial_5(s, r, r2, EXP), r_low);
        s.scale::<0>(factor + factor.mul_add(p, lost), n)
    }
}

/// `-a^2 / 2` in two parts.
#[inline(always)]
fn half_square<S: Simd>(s: S, a: S::F32) -> (S::F32, S::F32) {
    let half = splat(s, -0.5);
    if S::ISA.has_fma() {
        let high = a * (a * half);
        return (high, a.mul_add(a * half, -high));
    }
    // The square of the first 12 bits is exact without fused multiply-add.
    let first = S::F32::from_bits(a.to_bits().and(S::F32::splat_bits(s, 0xffff_f000)));
    (first * first * half, (a - first) * (a + first) * half)
}

// Below -14.2 the normal distribution is less than half of the smallest subnormal.
const NORMAL_LIMIT: f32 = 14.5;

/// Phi(-a) for a = |x|, or 1 less that.
#[inline(always)]
pub(super) fn normal_cdf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if !S::ISA.has_fma() {
        return normal_cdf_far(s, x);
    }
    let a = x.abs();
    let below = near::NORMAL.value(s, a);
    let near = (splat(s, 1.0) - below).select(x.greater(splat(s, 0.0)), below);
    near::NORMAL.unless_far(s, a, near, x, Far::NormalCdf)
}

/// Phi(x) for x < 0 is `exp(-x^2/2) R(-x)`, and for the others 1 less that of the other sign.
#[inline(always)]
pub(super) fn normal_cdf_far<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let a = at_most(s, x.abs(), NORMAL_LIMIT);
    let (high, low) = half_square(s, a);
    let tail = NORMAL.times_exp(s, a, high, Some(low));
    (splat(s, 1.0) - tail).select(x.greater(splat(s, 0.0)), tail)
}

/// `x Phi(x)` is max(x, 0) less `a Phi(-a)` for a = |x|: one formula for both signs.
#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if !S::ISA.has_fma() {
        return gelu_far(s, x);
    }
    let a = x.abs();
    let near = or_sign(s, splat(s, 0.0).max_or_other(x) - near::GELU.value(s, a), x);
    near::GELU.unless_far(s, a, near, x, Far::Gelu)
}

/// `x Phi(x)` is max(x, 0) less `exp(-a^2/2) G(a)` for a = |x| and `G(a) = a R(a)`: one formula for both signs.
#[inline(always)]
pub(super) fn gelu_far<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let a = at_most(s, x.abs(), NORMAL_LIMIT);
    let (high, low) = half_square(s, a);
    let tail = GELU.times_exp(s, a, high, Some(low));
    or_sign(s, splat(s, 0.0).max_or_other(x) - tail, x)
}

/// `ln(1 + e^x)` is max(x, 0) plus `ln(1 + e^-a)` for a = |x|.
#[inline(always)]
pub(super) fn softplus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if !S::ISA.has_fma() {
        return softplus_far(s, x);
    }
    let a = x.abs();
    let near = splat(s, 0.0).max_or_other(x) + near::SOFTPLUS.value(s, a);
    near::SOFTPLUS.unless_far(s, a, near, x, Far::Softplus)
}

/// `ln(1 + e^x)` is max(x, 0) plus `e^-a H(a)` for a = |x| and `H(a) = e^a ln(1 + e^-a)`.
#[inline(always)]
pub(super) fn softplus_far<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let size = x.abs();
    // exp(-104) is below half of the smallest subnormal; from 18 on the factor is 1.
    let tail = SOFTPLUS.times_exp(s, at_most(s, size, SOFTPLUS_LIMIT), -at_most(s, size, 105.0), None);
    splat(s, 0.0).max_or_other(x) + tail
}

/// R(a) = exp(a^2/2) Phi(-a), within 0.1 of 2^-24.
#[rustfmt::skip]
const NORMAL: Tail<7> = Tail {
    scale: 1.03125,
    middles: [
        1.188_476_6, 1.715_332, 2.153_808_6, 2.660_156_2, 3.446_289, 4.316_406_2, 5.313_476_6, 6.307_617,
        7.703125, 9.585_937_5, 11.664_062_5, 13.517_578, 0.0, 0.364_257_8, 0.607_421_9, 0.861_328_1,
    ],
    coefficients: [
        [
            0.237_737_67, 0.187_857_42, 0.158_933_18, 0.134_360_95, 0.107_799_73, 0.088_103_84, 0.072_663_93,
            0.061_764_985, 0.050_957_67, 0.041_178_584, 0.033_956_64, 0.029_353_919, 0.5, 0.382_377_2,
            0.326_847_52, 0.281_891_6,
        ],
        [
            -0.116_396_636, -0.076_704_435, -0.056_630_637, -0.041_521_147, -0.027_433_248, -0.018_650_323,
            -0.012_844_175, -0.009_352_397, -0.006_408_991, -0.004_206_947, -0.002_869_915_4, -0.002_148_393_8,
            -0.398_942_26, -0.259_658_4, -0.200_407_95, -0.156_141_1,
        ],
        [
            0.049_701_508, 0.028_141_933, 0.018_480_804, 0.011_954_13, 0.006_628_434, 0.003_800_733_5,
            0.002_208_355, 0.001_386_819_5, 0.000_794_208_3, 0.000_425_525_8, 0.000_240_882_64, 0.000_156_418_8,
            0.249_998_81, 0.143_897_34, 0.102_557_78, 0.073_701_43,
        ],
        [
            -0.019_108_657, -0.009_476_91, -0.005_608_743, -0.003_240_525, -0.001_529_830_5, -0.000_748_234_4,
            -0.000_370_038_67, -0.000_201_625_43, -9.701_804e-5, -4.262_426_2e-5, -2.008_125_6e-5,
            -1.132_981_5e-5, -0.132_954_94, -0.069_080_51, -0.046_035_312, -0.030_887_341,
        ],
        [
            0.006_748_284, 0.002_970_973_5, 0.001_600_492_4, 0.000_832_707_04, 0.000_338_646_4,
            0.000_142_772_23, 6.053_472_3e-5, 2.877_884_4e-5, 1.169_978_7e-5, 4.232_578_7e-6, 1.663_044_4e-6,
            8.166_493_3e-7, 0.062_241_536, 0.029_676_776, 0.018_632_978, 0.011_775_522_5,
        ],
        [
            -0.002_236_335_3, -0.000_884_453_65, -0.000_435_397_26, -0.000_204_314_06, -7.339_880_5e-5,
            -2.674_742e-5, -9.759_119e-6, -4.036_545e-6, -1.419_710_7e-6, -4.206_209_8e-7, -1.378_791_6e-7,
            -5.891_140_7e-8, -0.025_279_611, -0.011_696_575, -0.007_066_574_4, -0.004_115_215_5,
        ],
        [
            0.000_671_149_4, 0.000_249_841_3, 0.000_107_480_98, 5.532_843_4e-5, 1.625_836e-5, 4.607_408_8e-6,
            1.506_144_8e-6, 5.348_531_4e-7, 1.595_736_4e-7, 3.805_118_4e-8, 1.133_055_6e-8, 4.079_290_2e-9,
            0.007_044_226_4, 0.004_557_836_3, 0.003_018_307_7, 0.001_438_063_7,
        ],
    ],
};

/// G(a) = a exp(a^2/2) Phi(-a), within 0.04 of 2^-24.
#[rustfmt::skip]
const GELU: Tail<7> = Tail {
    scale: 1.03125,
    middles: [
        1.239_746_1, 1.704_589_8, 2.167_480_5, 2.641_601_6, 3.409_179_7, 4.305_664, 5.341_797, 6.269_531_2,
        7.662_109_4, 9.707_031, 11.642_578, 13.462_891, 0.0, 0.361_083_98, 0.620_361_3, 0.834_472_66,
    ],
    coefficients: [
        [
            0.287_494_87, 0.321_629_94, 0.342_813_85, 0.356_974_15, 0.371_010_7, 0.380_210_04, 0.386_222_3,
            0.389_483_36, 0.392_467_65, 0.394_836_54, 0.396_062, 0.396_776_68, 0.0, 0.138_368_38, 0.201_165_45,
            0.238_774_85,
        ],
        [
            0.093_731_694, 0.056_898_825, 0.036_505_092, 0.024_272_436, 0.013_603_168, 0.007_649_898_5,
            0.004_354_409, 0.002_820_220_3, 0.001_612_537_5, 0.000_820_812_6, 0.000_484_363_35,
            0.000_316_584_83, 0.5, 0.289_113_7, 0.201_578_33, 0.152_483_27,
        ],
        [
            -0.053_345_76, -0.028_817_799, -0.016_566_392, -0.009_909_091, -0.004_743_79, -0.002_263_286_8,
            -0.001_089_791_7, -0.000_618_194_7, -0.000_296_915, -0.000_121_909_405, -6.067_657e-5,
            -3.453_168e-5, -0.398_942_1, -0.208_376_74, -0.135_251_03, -0.096_545_99,
        ],
        [
            0.024_820_065, 0.012_074_961, 0.006_283_408_5, 0.003_410_895_4, 0.001_410_553_2, 0.000_576_582_33,
            0.000_236_715_61, 0.000_118_193_78, 4.792_088_7e-5, 1.594_470_8e-5, 6.710_776_7e-6, 3.330_755_1e-6,
            0.249_990_1, 0.119_478_196, 0.072_819_9, 0.049_388_193,
        ],
        [
            -0.010_082_787, -0.004_458_372, -0.002_117_522_8, -0.001_049_929_4, -0.000_378_642_14,
            -0.000_133_852_62, -4.714_064_2e-5, -2.075_150_2e-5, -7.167_177e-6, -1.937_759_6e-6,
            -6.869_222_5e-7, -2.978_069_3e-7, -0.132_790_64, -0.058_671_977, -0.033_804_78, -0.021_866_787,
        ],
        [
            0.003_735_889_7, 0.001_510_781_6, 0.000_656_524_3, 0.000_299_527_57, 9.638_708_4e-5, 2.937_602_4e-5,
            8.906_816e-6, 3.476_917_3e-6, 1.039_210_8e-6, 2.284_431_8e-7, 6.878_375_6e-8, 2.596_927_5e-8,
            0.060_888_506, 0.025_594_43, 0.014_101_355, 0.008_620_253,
        ],
        [
            -0.001_351_671_4, -0.000_488_734_63, -0.000_184_213_22, -8.257_872e-5, -2.317_135_7e-5,
            -5.604_672_4e-6, -1.587_062_7e-6, -6.773_533_4e-7, -1.310_774_3e-7, -2.559_854_6e-8, -9.467_922e-9,
            -3.224_743_8e-9, -0.020_219_535, -0.010_281_167, -0.004_726_154_7, -0.003_325_760_1,
        ],
    ],
};

/// H(a) = e^a ln(1 + e^-a), within 0.27 of 2^-24.
#[rustfmt::skip]
const SOFTPLUS: Tail<6> = Tail {
    scale: 0.8125,
    middles: [
        1.511_718_8, 2.119_140_6, 2.789_550_8, 3.363_281_2, 4.325_195_3, 5.505_859_4, 6.709_961, 7.939_453,
        9.960_937_5, 12.416_016, 14.84375, 17.287_11, 0.0, 0.446_044_92, 0.786_621_1, 1.070_312_5,
    ],
    coefficients: [
        [
            0.903_664_5, 0.944_347_8, 0.970_478_95, 0.983_078_7, 0.993_442_3, 0.997_974_04, 0.999_391_14,
            0.999_821_84, 0.999_976_4, 0.999_998, 0.999_999_8, 1.0, 0.693_147_2, 0.772_923_35, 0.824_074_2,
            0.859_817_15,
        ],
        [
            0.084_348_76, 0.051_598_143, 0.028_370_399, 0.016_541_652, 0.006_500_500_3, 0.002_020_486,
            0.000_608_362, 0.000_178_114_61, 2.361_381_8e-5, 2.027_467e-6, 1.788_756e-7, 1.623_878e-8,
            0.193_146_88, 0.163_224_88, 0.136_968_85, 0.115_160_81,
        ],
        [
            -0.031_844_61, -0.022_075_024, -0.013_084_891, -0.007_900_78, -0.003_193_319_5, -0.001_004_657_5,
            -0.000_303_644_28, -8.900_335e-5, -1.177_132_1e-5, -1.010_735_6e-6, -8.917_676e-8, -9.900_424e-8,
            -0.028_418_718, -0.037_370_715, -0.039_011_25, -0.037_491_2,
        ],
        [
            0.005_140_895_5, 0.005_175_506_7, 0.003_676_249, 0.002_396_199_6, 0.001_027_146, 0.000_331_431_1,
            0.000_100_981_99, 2.966_800_5e-5, 3.885_41e-6, 3.338_408_6e-7, 2.954_178_2e-8, -1.580_003_5e-8,
            -0.009_548_666, -0.003_754_403, 0.000_405_621_2, 0.003_009_383_8,
        ],
        [
            0.000_606_156_65, -0.000_394_816_63, -0.000_606_904_45, -0.000_486_604_64, -0.000_240_989,
            -8.223_32e-5, -2.545_461_6e-5, -7.512_663e-6, -1.048_019_3e-6, -9.007_781e-8, -7.966_723e-9,
            7.357_659_4e-8, 0.003_142_768_7, 0.003_299_502_2, 0.002_690_467_3, 0.001_866_725_2,
        ],
        [
            -0.000_477_154_88, -0.000_160_972_57, 1.252_459_7e-5, 5.596_357e-5, 4.119_553_3e-5, 1.523_299_85e-5,
            4.745_079e-6, 1.411_420_8e-6, 2.361_467_8e-7, 2.016_764_9e-8, 1.719_637_2e-9, 2.806_663_3e-8,
            4.266_092e-5, -0.000_186_039_98, -0.000_545_317_5, -0.000_614_385_2,
        ],
    ],
};
const SOFTPLUS_LIMIT: f32 = 18.4;
