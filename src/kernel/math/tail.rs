//! Functions that fall like an exponential: a smooth factor, one polynomial for each of 16 intervals, times the power of e.

use super::common::{at_most, or_sign, polynomial_5, splat};
use super::exp::{EXP, LN_2_HIGH, LN_2_LOW};
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
        for i in (1..N - 1).rev() {
            sum = sum.mul_add(d, s.lookup_16(&self.coefficients[i], interval));
        }
        let first = s.lookup_16(&self.coefficients[0], interval);
        let rest = sum * d;
        let value = first + rest;
        (value, rest - (value - first))
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

/// Phi(x) for x < 0 is `exp(-x^2/2) R(-x)`, and for the others 1 less that of the other sign.
#[inline(always)]
pub(super) fn normal_cdf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let a = at_most(s, x.abs(), NORMAL_LIMIT);
    let (high, low) = half_square(s, a);
    let tail = NORMAL.times_exp(s, a, high, Some(low));
    (splat(s, 1.0) - tail).select(x.greater(splat(s, 0.0)), tail)
}

/// `x Phi(x)` is max(x, 0) less `exp(-a^2/2) G(a)` for a = |x| and `G(a) = a R(a)`: one formula for both signs.
#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let a = at_most(s, x.abs(), NORMAL_LIMIT);
    let (high, low) = half_square(s, a);
    let tail = GELU.times_exp(s, a, high, Some(low));
    or_sign(s, splat(s, 0.0).max_or_other(x) - tail, x)
}

/// `ln(1 + e^x)` is max(x, 0) plus `e^-a H(a)` for a = |x| and `H(a) = e^a ln(1 + e^-a)`.
#[inline(always)]
pub(super) fn softplus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let size = x.abs();
    // exp(-104) is below half of the smallest subnormal; from 18 on the factor is 1.
    let tail = SOFTPLUS.times_exp(s, at_most(s, size, SOFTPLUS_LIMIT), -at_most(s, size, 105.0), None);
    splat(s, 0.0).max_or_other(x) + tail
}

/// R(a) = exp(a^2/2) Phi(-a), within 0.1 of 2^-24.
const NORMAL: Tail<7> = Tail {
    scale: 1.03125,
    middles: [
        1.18847656,
        1.71533203,
        2.15380859,
        2.66015625,
        3.44628906,
        4.31640625,
        5.31347656,
        6.30761719,
        7.703125,
        9.5859375,
        11.6640625,
        13.5175781,
        0.0,
        0.364257812,
        0.607421875,
        0.861328125,
    ],
    coefficients: [
        [
            0.237737671,
            0.187857419,
            0.158933178,
            0.134360954,
            0.107799731,
            0.0881038383,
            0.072663933,
            0.0617649853,
            0.0509576686,
            0.0411785841,
            0.0339566395,
            0.0293539185,
            0.5,
            0.382377207,
            0.326847523,
            0.281891614,
        ],
        [
            -0.116396636,
            -0.0767044351,
            -0.0566306375,
            -0.0415211469,
            -0.0274332482,
            -0.0186503232,
            -0.0128441751,
            -0.00935239717,
            -0.00640899083,
            -0.00420694705,
            -0.00286991545,
            -0.00214839377,
            -0.398942262,
            -0.259658396,
            -0.200407952,
            -0.156141102,
        ],
        [
            0.0497015081,
            0.0281419326,
            0.0184808038,
            0.0119541297,
            0.00662843417,
            0.00380073348,
            0.00220835512,
            0.00138681952,
            0.000794208318,
            0.000425525795,
            0.00024088264,
            0.000156418799,
            0.249998808,
            0.14389734,
            0.102557778,
            0.0737014264,
        ],
        [
            -0.0191086568,
            -0.00947691035,
            -0.00560874306,
            -0.00324052502,
            -0.00152983051,
            -0.000748234394,
            -0.000370038673,
            -0.000201625429,
            -9.70180408e-05,
            -4.26242623e-05,
            -2.00812556e-05,
            -1.13298147e-05,
            -0.13295494,
            -0.0690805092,
            -0.0460353121,
            -0.0308873411,
        ],
        [
            0.00674828421,
            0.0029709735,
            0.0016004924,
            0.000832707039,
            0.000338646409,
            0.000142772231,
            6.05347232e-05,
            2.87788444e-05,
            1.16997871e-05,
            4.2325787e-06,
            1.66304437e-06,
            8.16649333e-07,
            0.0622415356,
            0.0296767764,
            0.0186329782,
            0.0117755225,
        ],
        [
            -0.00223633531,
            -0.00088445365,
            -0.000435397262,
            -0.000204314056,
            -7.33988054e-05,
            -2.67474206e-05,
            -9.75911917e-06,
            -4.03654485e-06,
            -1.41971066e-06,
            -4.20620978e-07,
            -1.37879155e-07,
            -5.89114073e-08,
            -0.0252796113,
            -0.0116965752,
            -0.00706657441,
            -0.0041152155,
        ],
        [
            0.000671149406,
            0.000249841309,
            0.000107480977,
            5.53284335e-05,
            1.62583601e-05,
            4.60740875e-06,
            1.50614483e-06,
            5.34853143e-07,
            1.59573645e-07,
            3.80511835e-08,
            1.1330556e-08,
            4.07929024e-09,
            0.0070442264,
            0.00455783634,
            0.00301830773,
            0.00143806369,
        ],
    ],
};

/// G(a) = a exp(a^2/2) Phi(-a), within 0.04 of 2^-24.
const GELU: Tail<7> = Tail {
    scale: 1.03125,
    middles: [
        1.23974609,
        1.70458984,
        2.16748047,
        2.64160156,
        3.40917969,
        4.30566406,
        5.34179688,
        6.26953125,
        7.66210938,
        9.70703125,
        11.6425781,
        13.4628906,
        0.0,
        0.361083984,
        0.620361328,
        0.834472656,
    ],
    coefficients: [
        [
            0.287494868,
            0.321629941,
            0.342813849,
            0.356974155,
            0.371010691,
            0.380210042,
            0.386222303,
            0.389483362,
            0.392467648,
            0.394836545,
            0.396061987,
            0.396776676,
            0.0,
            0.138368383,
            0.201165453,
            0.238774851,
        ],
        [
            0.0937316939,
            0.0568988249,
            0.0365050919,
            0.0242724363,
            0.0136031676,
            0.00764989853,
            0.00435440894,
            0.00282022031,
            0.00161253754,
            0.000820812595,
            0.000484363351,
            0.000316584832,
            0.5,
            0.2891137,
            0.201578334,
            0.15248327,
        ],
        [
            -0.0533457585,
            -0.0288177989,
            -0.016566392,
            -0.00990909059,
            -0.00474378979,
            -0.00226328685,
            -0.00108979165,
            -0.000618194696,
            -0.000296915008,
            -0.000121909405,
            -6.06765716e-05,
            -3.45316803e-05,
            -0.398942113,
            -0.208376735,
            -0.13525103,
            -0.0965459868,
        ],
        [
            0.0248200651,
            0.0120749613,
            0.0062834085,
            0.00341089536,
            0.00141055323,
            0.00057658233,
            0.000236715612,
            0.000118193777,
            4.79208866e-05,
            1.59447081e-05,
            6.71077669e-06,
            3.33075513e-06,
            0.249990106,
            0.119478196,
            0.0728199035,
            0.0493881926,
        ],
        [
            -0.0100827869,
            -0.00445837202,
            -0.00211752276,
            -0.00104992941,
            -0.000378642144,
            -0.00013385262,
            -4.7140642e-05,
            -2.07515022e-05,
            -7.16717705e-06,
            -1.93775963e-06,
            -6.86922249e-07,
            -2.97806935e-07,
            -0.13279064,
            -0.0586719774,
            -0.0338047817,
            -0.0218667872,
        ],
        [
            0.00373588968,
            0.00151078159,
            0.000656524324,
            0.000299527572,
            9.63870843e-05,
            2.9376024e-05,
            8.90681622e-06,
            3.4769173e-06,
            1.03921082e-06,
            2.28443184e-07,
            6.87837556e-08,
            2.59692747e-08,
            0.0608885065,
            0.02559443,
            0.0141013553,
            0.00862025283,
        ],
        [
            -0.00135167141,
            -0.000488734629,
            -0.000184213219,
            -8.2578721e-05,
            -2.31713566e-05,
            -5.60467242e-06,
            -1.58706268e-06,
            -6.77353341e-07,
            -1.31077428e-07,
            -2.55985455e-08,
            -9.46792156e-09,
            -3.22474381e-09,
            -0.0202195346,
            -0.010281167,
            -0.00472615473,
            -0.00332576013,
        ],
    ],
};

/// H(a) = e^a ln(1 + e^-a), within 0.27 of 2^-24.
const SOFTPLUS: Tail<6> = Tail {
    scale: 0.8125,
    middles: [
        1.51171875,
        2.11914062,
        2.78955078,
        3.36328125,
        4.32519531,
        5.50585938,
        6.70996094,
        7.93945312,
        9.9609375,
        12.4160156,
        14.84375,
        17.2871094,
        0.0,
        0.446044922,
        0.786621094,
        1.0703125,
    ],
    coefficients: [
        [
            0.903664529,
            0.944347799,
            0.970478952,
            0.983078718,
            0.993442297,
            0.997974038,
            0.999391139,
            0.999821842,
            0.999976397,
            0.999997973,
            0.999999821,
            1.0,
            0.693147182,
            0.77292335,
            0.824074209,
            0.859817147,
        ],
        [
            0.0843487605,
            0.0515981428,
            0.028370399,
            0.0165416524,
            0.00650050025,
            0.00202048593,
            0.000608362025,
            0.000178114613,
            2.36138185e-05,
            2.02746696e-06,
            1.78875595e-07,
            1.62387792e-08,
            0.193146884,
            0.163224876,
            0.136968851,
            0.115160808,
        ],
        [
            -0.0318446085,
            -0.0220750235,
            -0.0130848913,
            -0.00790078007,
            -0.00319331954,
            -0.00100465748,
            -0.000303644279,
            -8.9003348e-05,
            -1.17713207e-05,
            -1.01073556e-06,
            -8.91767584e-08,
            -9.90042395e-08,
            -0.0284187179,
            -0.0373707153,
            -0.0390112512,
            -0.0374911986,
        ],
        [
            0.00514089549,
            0.0051755067,
            0.00367624895,
            0.00239619962,
            0.00102714601,
            0.000331431103,
            0.00010098199,
            2.96680046e-05,
            3.88541002e-06,
            3.33840859e-07,
            2.95417824e-08,
            -1.58000351e-08,
            -0.00954866596,
            -0.00375440298,
            0.000405621191,
            0.0030093838,
        ],
        [
            0.000606156653,
            -0.000394816627,
            -0.000606904447,
            -0.000486604637,
            -0.000240989,
            -8.22332004e-05,
            -2.54546158e-05,
            -7.51266316e-06,
            -1.04801927e-06,
            -9.00778119e-08,
            -7.96672328e-09,
            7.35765937e-08,
            0.00314276875,
            0.00329950219,
            0.00269046728,
            0.00186672516,
        ],
        [
            -0.000477154885,
            -0.000160972573,
            1.2524597e-05,
            5.596357e-05,
            4.11955334e-05,
            1.52329985e-05,
            4.74507897e-06,
            1.41142084e-06,
            2.36146775e-07,
            2.01676489e-08,
            1.71963721e-09,
            2.80666335e-08,
            4.26609186e-05,
            -0.000186039979,
            -0.000545317482,
            -0.000614385179,
        ],
    ],
};
const SOFTPLUS_LIMIT: f32 = 18.4;
