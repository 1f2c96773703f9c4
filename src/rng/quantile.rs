//! The normal distribution: its probability, and the value that has a given one.

/// `P(Z < x)`: half the complementary error function of `-x / sqrt(2)`.
pub(super) fn probability(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// A polynomial, the constant coefficient first.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    let mut value = 0.0;
    for c in coefficients.into_iter().rev() {
        value = value * x + c;
    }
    value
}

/// Where the middle ends: for |p - 1/2| up to this the quantile needs no logarithm.
pub(super) const MIDDLE: f64 = 0.425;

/// The quantile of `1/2 + q` for |q| up to [`MIDDLE`], relative error about 1e-16: elsewhere worthless, but harmless.
///
/// Source of this and [`tail`]: Wichura, "Algorithm AS 241: The percentage points of the normal distribution",
/// Applied Statistics 37 (1988), routine PPND16.
#[inline(always)]
pub(super) fn middle(q: f64) -> f64 {
    let r = 0.180625 - q * q;
    let above = [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ];
    let below = [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ];
    q * polynomial(above, r) / polynomial(below, r)
}

/// The quantile of a probability below `1/2 - MIDDLE`, relative error about 1e-16. It is negative.
pub(super) fn tail(p: f64) -> f64 {
    let r = (-libm::log(p)).sqrt();
    let (above, below, r) = if r <= 5.0 { (NEAR[0], NEAR[1], r - 1.6) } else { (FAR[0], FAR[1], r - 5.0) };
    -(polynomial(above, r) / polynomial(below, r))
}

const NEAR: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

const FAR: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];
