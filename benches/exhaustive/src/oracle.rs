//! The oracle: every function in f64, from `core-math` and from nothing of the crate.
//!
//! core-math's f64 functions are correctly rounded, so a function that is one of them has an error of half an ULP of f64:
//! 2^-30 ULP of f32. The others are formulas of a few such roundings, arranged so that nothing cancels where an ULP
//! of the result is what counts; [`Row::roundings`] counts them. Each adds at most 2^-53 to the relative error, which is
//! 2^-29 ULP of f32. Where an argument of exp or erfc is itself rounded, that error is multiplied: these arguments
//! are sums of two f64 ([`Double`]).

use crate::double::Double;
use core_math as cr;

/// What an error is measured in.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// The distance of the f32 around the exact result, 2^-149 for subnormal ones.
    Ulp,
    /// The same, but at least 2^-24 times the largest |f'|, which is given: a derivative near its root.
    OrShareOf(f64),
}

/// A function's oracle.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name in the list of functions.
    pub name: &'static str,
    /// The function.
    pub exact: fn(f64) -> f64,
    /// What its error is measured in.
    pub unit: Unit,
    /// The largest error that the project allows itself.
    pub allowed: f64,
    /// How many roundings of f64 the oracle's result has suffered, at most.
    pub roundings: u32,
    /// Inputs outside count for the bits alone: what is computed from an output, outside the outputs' range.
    pub domain: (f64, f64),
}

impl Row {
    const fn ulp(name: &'static str, exact: fn(f64) -> f64, allowed: f64, roundings: u32) -> Self {
        Self { name, exact, unit: Unit::Ulp, allowed, roundings, domain: (f64::NEG_INFINITY, f64::INFINITY) }
    }

    const fn derivative(name: &'static str, exact: fn(f64) -> f64, largest: f64, roundings: u32) -> Self {
        let domain = (f64::NEG_INFINITY, f64::INFINITY);
        Self { name, exact, unit: Unit::OrShareOf(largest), allowed: 2.0, roundings, domain }
    }

    const fn of_outputs(self, low: f64, high: f64) -> Self {
        Self { domain: (low, high), ..self }
    }

    /// The oracle's own error, at most, in ULP of f32.
    pub fn bound(&self) -> f64 {
        f64::from(self.roundings) / f64::from(1 << 29)
    }
}

/// The row of a function.
pub fn find(name: &str) -> Option<Row> {
    ROWS.into_iter().find(|row| row.name == name)
}

#[rustfmt::skip]
pub const ROWS: [Row; 61] = [
    Row::ulp("exp", cr::exp, 1.0, 1),
    Row::ulp("exp_m1", cr::expm1, 1.5, 1),
    Row::ulp("ln", cr::log, 1.0, 1),
    Row::ulp("ln_1p", cr::log1p, 1.5, 1),
    Row::ulp("sqrt", f64::sqrt, 0.5, 1),
    Row::ulp("rsqrt", cr::rsqrt, 1.5, 1),
    Row::ulp("sin", cr::sin, 2.0, 1),
    Row::ulp("cos", cr::cos, 2.0, 1),
    Row::ulp("erf", cr::erf, 1.5, 1),
    Row::ulp("normal_cdf", normal_cdf, 2.0, 4),
    Row::ulp("x^0.75", |x| cr::pow(x, 0.75), 1.0, 1),
    Row::ulp("x^-0.5", |x| cr::pow(x, -0.5), 1.0, 1),
    Row::ulp("x^3", |x| cr::pow(x, 3.0), 1.0, 1),
    Row::ulp("0.9990234375^x", |x| cr::pow(0.999_023_437_5, x), 1.0, 1),
    Row::ulp("10000^x", |x| cr::pow(10_000.0, x), 1.0, 1),
    Row::ulp("sigmoid", sigmoid, 1.5, 3),
    Row::ulp("tanh", cr::tanh, 1.5, 1),
    Row::ulp("identity", identity, 0.0, 0),
    Row::ulp("exponential", cr::exp, 1.0, 1),
    Row::ulp("relu", relu, 0.0, 0),
    Row::ulp("relu6", relu6, 0.0, 0),
    Row::ulp("leaky_relu", leaky_relu, 0.5, 1),
    Row::ulp("elu", elu, 2.0, 1),
    Row::ulp("selu", selu, 2.0, 3),
    Row::ulp("celu", elu, 2.0, 1),
    Row::ulp("softplus", softplus, 2.0, 4),
    Row::ulp("softsign", softsign, 2.0, 2),
    Row::ulp("hard_sigmoid", hard_sigmoid, 2.0, 2),
    Row::ulp("hard_swish", hard_swish, 2.0, 3),
    Row::ulp("silu", silu, 2.0, 4),
    Row::ulp("gelu", gelu, 2.0, 6),
    Row::ulp("gelu_tanh", gelu_tanh, 2.0, 6),
    Row::ulp("mish", mish, 2.0, 9),
    Row::derivative("identity_derivative", |_| 1.0, 1.0, 0),
    Row::derivative("hard_swish_derivative", hard_swish_d, 1.5, 2),
    Row::derivative("silu_derivative", silu_d, 1.099_839, 8),
    Row::derivative("gelu_derivative", gelu_d, 1.128_904, 8),
    Row::derivative("gelu_tanh_derivative", gelu_tanh_d, 1.128_993, 16),
    Row::derivative("mish_derivative", mish_d, 1.088_498, 16),
    Row::ulp("ln_derivative", reciprocal, 2.0, 1).of_outputs(0.0, f64::INFINITY),
    Row::ulp("ln_1p_derivative", ln_1p_d, 2.0, 2).of_outputs(-1.0, f64::INFINITY),
    Row::derivative("erf_derivative", erf_d, std::f64::consts::FRAC_2_SQRT_PI, 4),
    Row::derivative("sin_derivative", cr::cos, 1.0, 1),
    Row::derivative("cos_derivative", minus_sin, 1.0, 1),
    Row::derivative("normal_cdf_derivative", normal_cdf_d, NORMAL, 3),
    // From the output y: the formula in y is what is measured.
    Row::ulp("exponential_derivative", identity, 0.0, 0).of_outputs(0.0, f64::INFINITY),
    Row::derivative("sigmoid_derivative", sigmoid_from_output, 0.25, 2).of_outputs(0.0, 1.0),
    Row::derivative("tanh_derivative", tanh_from_output, 1.0, 2).of_outputs(-1.0, 1.0),
    Row::ulp("exp_derivative", identity, 0.0, 0).of_outputs(0.0, f64::INFINITY),
    Row::ulp("exp_m1_derivative", exp_m1_from_output, 2.0, 1).of_outputs(-1.0, f64::INFINITY),
    Row::ulp("sqrt_derivative", sqrt_from_output, 2.0, 1).of_outputs(0.0, f64::INFINITY),
    Row::ulp("rsqrt_derivative", rsqrt_from_output, 2.0, 2).of_outputs(0.0, f64::INFINITY),
    Row::derivative("relu_derivative", step, 1.0, 0).of_outputs(0.0, f64::INFINITY),
    Row::derivative("relu6_derivative", relu6_d, 1.0, 0).of_outputs(0.0, 6.0),
    Row::derivative("leaky_relu_derivative", leaky_relu_d, 1.0, 1),
    Row::derivative("softplus_derivative", softplus_from_output, 1.0, 1).of_outputs(0.0, f64::INFINITY),
    Row::derivative("softsign_derivative", softsign_from_output, 1.0, 2).of_outputs(-1.0, 1.0),
    Row::derivative("hard_sigmoid_derivative", hard_sigmoid_from_output, 1.0 / 6.0, 1).of_outputs(0.0, 1.0),
    Row::derivative("elu_derivative", elu_from_output, 1.0, 1).of_outputs(-1.0, f64::INFINITY),
    Row::derivative("selu_derivative", selu_from_output, SELU_SCALE * SELU_ALPHA, 2)
        .of_outputs(-SELU_SCALE * SELU_ALPHA, f64::INFINITY),
    Row::derivative("celu_derivative", elu_from_output, 1.0, 1).of_outputs(-1.0, f64::INFINITY),
];

// Klambauer et al., Self-Normalizing Neural Networks, 2017, to the last digit of f64.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The slope of leaky ReLU below zero, as f32 holds it.
const SLOPE: f64 = 0.01_f32 as f64;
/// sqrt(1/2), 1 / sqrt(2 pi), 2 sqrt(2 / pi) and the coefficient of GELU's tanh form, in two parts.
const SQRT_HALF: Double = Double::new(std::f64::consts::FRAC_1_SQRT_2, -4.833_646_656_726_457e-17);
const NORMAL: f64 = 0.398_942_280_401_432_7;
const TWO_SQRT_2_PI: Double = Double::new(1.595_769_121_605_730_8, -9.969_308_809_110_92e-17);
const CUBIC: Double = Double::new(0.044_715, 2.196_021_142_708_559_5e-18);

fn identity(x: f64) -> f64 {
    x
}

fn one(x: f64) -> f64 {
    if x.is_nan() { x } else { 1.0 }
}

fn reciprocal(x: f64) -> f64 {
    1.0 / x
}

fn ln_1p_d(x: f64) -> f64 {
    1.0 / (1.0 + x)
}

/// x^2 is exact.
fn erf_d(x: f64) -> f64 {
    std::f64::consts::FRAC_2_SQRT_PI * cr::exp(-x * x)
}

fn minus_sin(x: f64) -> f64 {
    -cr::sin(x)
}

fn exp_m1_from_output(y: f64) -> f64 {
    y + 1.0
}

fn sqrt_from_output(y: f64) -> f64 {
    0.5 / y
}

/// y^2 is exact, and so is half of y.
fn rsqrt_from_output(y: f64) -> f64 {
    y * y * (-0.5 * y)
}

fn sigmoid(x: f64) -> f64 {
    let e = cr::exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

fn relu6(x: f64) -> f64 {
    if x > 6.0 { 6.0 } else { relu(x) }
}

fn step(x: f64) -> f64 {
    if x.is_nan() { x } else { f64::from(x > 0.0) }
}

fn relu6_d(x: f64) -> f64 {
    if x.is_nan() { x } else { f64::from(x > 0.0 && x < 6.0) }
}

fn leaky_relu(x: f64) -> f64 {
    if x < 0.0 { SLOPE * x } else { x }
}

fn leaky_relu_d(x: f64) -> f64 {
    if x > 0.0 || x.is_nan() { one(x) } else { SLOPE }
}

fn elu(x: f64) -> f64 {
    if x < 0.0 { cr::expm1(x) } else { x }
}

fn elu_from_output(y: f64) -> f64 {
    if y < 0.0 { y + 1.0 } else { one(y) }
}

fn selu(x: f64) -> f64 {
    if x < 0.0 { (SELU_SCALE * SELU_ALPHA) * cr::expm1(x) } else { SELU_SCALE * x }
}

fn selu_from_output(y: f64) -> f64 {
    if y > 0.0 || y.is_nan() { SELU_SCALE * one(y) } else { SELU_SCALE.mul_add(SELU_ALPHA, y) }
}

fn softplus(x: f64) -> f64 {
    let tail = cr::log1p(cr::exp(-x.abs()));
    if x > 0.0 { x + tail } else { tail + 0.0 * one(x) }
}

fn softplus_from_output(y: f64) -> f64 {
    -cr::expm1(-y)
}

fn softsign(x: f64) -> f64 {
    if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) }
}

fn softsign_from_output(y: f64) -> f64 {
    let rest = 1.0 - y.abs();
    rest * rest
}

fn hard_sigmoid(x: f64) -> f64 {
    if x <= -3.0 {
        0.0
    } else if x >= 3.0 {
        1.0
    } else {
        (x + 3.0) / 6.0
    }
}

fn hard_sigmoid_from_output(y: f64) -> f64 {
    if y.is_nan() { y } else { f64::from(y > 0.0 && y < 1.0) / 6.0 }
}

/// The zero is that of x times 0.
fn hard_swish(x: f64) -> f64 {
    if x <= -3.0 {
        -0.0
    } else if x >= 3.0 {
        x
    } else {
        x * (x + 3.0) / 6.0
    }
}

fn hard_swish_d(x: f64) -> f64 {
    if x <= -3.0 {
        0.0
    } else if x >= 3.0 {
        1.0
    } else {
        (2.0 * x + 3.0) / 6.0
    }
}

fn silu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) }
}

/// s (1 + x (1 - s)), where 1 - s is the sigmoid of -x.
fn silu_d(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::from(x > 0.0);
    }
    sigmoid(x) * x.mul_add(sigmoid(-x), 1.0)
}

/// The normal distribution, erfc(-x / sqrt(2)) / 2: the tail below keeps its relative error.
fn normal_distribution(x: f64) -> f64 {
    let argument = SQRT_HALF.times(-x);
    // erfc' = -2 / sqrt(pi) exp(-t^2), and t^2 is x^2 / 2, which is exact.
    let slope = std::f64::consts::FRAC_2_SQRT_PI * cr::exp(-0.5 * x * x);
    // Where erfc has underflowed to nothing, the correction must not leave less.
    let tail = (-slope).mul_add(argument.low, cr::erfc(argument.high));
    if tail <= 0.0 { 0.0 } else { 0.5 * tail }
}

fn normal_cdf(x: f64) -> f64 {
    if x.is_infinite() { f64::from(x > 0.0) } else { normal_distribution(x) }
}

fn normal_cdf_d(x: f64) -> f64 {
    NORMAL * cr::exp(-0.5 * x * x)
}

fn gelu(x: f64) -> f64 {
    if x.is_infinite() {
        return if x > 0.0 { x } else { -0.0 };
    }
    x * normal_distribution(x)
}

fn gelu_d(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::from(x > 0.0);
    }
    (x * NORMAL).mul_add(cr::exp(-0.5 * x * x), normal_distribution(x))
}

/// sigmoid(u) and sigmoid(-u) for u = 2 sqrt(2 / pi) (x + 0.044715 x^3): (1 + tanh(u / 2)) / 2 without cancellation.
fn gelu_tanh_sigmoids(x: f64) -> (f64, f64) {
    let inner = CUBIC.times_double(Double::product(x, x)).plus(1.0);
    let u = TWO_SQRT_2_PI.times_double(inner).times(x);
    // exp(-|u|), where u.low is added at last.
    let e = cr::exp(-u.high.abs());
    let e = (-e).mul_add(u.low * u.high.signum(), e);
    let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
    if x < 0.0 { (small, large) } else { (large, small) }
}

fn gelu_tanh(x: f64) -> f64 {
    if x.is_infinite() {
        return if x > 0.0 { x } else { -0.0 };
    }
    x * gelu_tanh_sigmoids(x).0
}

fn gelu_tanh_d(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::from(x > 0.0);
    }
    let (s, rest) = gelu_tanh_sigmoids(x);
    let slope = TWO_SQRT_2_PI.high * (3.0 * CUBIC.high * x).mul_add(x, 1.0);
    (x * s * rest).mul_add(slope, s)
}

/// n = e^x (e^x + 2): tanh(softplus(x)) is n / (n + 2). Returns it and 2 / (n + 2), which is 1 minus it.
fn mish_parts(x: f64) -> (f64, f64) {
    if x > 0.0 {
        let e = cr::exp(-x);
        let (head, tail) = (2.0_f64.mul_add(e, 1.0), 2.0 * e * e);
        (head / (head + tail), tail / (head + tail))
    } else {
        let e = cr::exp(x);
        let n = e * (e + 2.0);
        (n / (n + 2.0), 2.0 / (n + 2.0))
    }
}

fn mish(x: f64) -> f64 {
    if x == f64::NEG_INFINITY { -0.0 } else { x * mish_parts(x).0 }
}

fn mish_d(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::from(x > 0.0);
    }
    let (t, rest) = mish_parts(x);
    (x * sigmoid(x) * rest).mul_add(1.0 + t, t)
}

fn sigmoid_from_output(y: f64) -> f64 {
    y * (1.0 - y)
}

fn tanh_from_output(y: f64) -> f64 {
    (1.0 - y) * (1.0 + y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against 60 digits, from `oracle.py`: no further away than the counted roundings, and that of the file.
    #[test]
    fn formulas_are_as_exact_as_their_rows_say() {
        let mut seen = std::collections::BTreeSet::new();
        for line in include_str!("oracle.csv").lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let (input, value): (f64, f64) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
            let row = find(cells[0]).unwrap();
            let got = (row.exact)(input);
            let size = match row.unit {
                // Below the smallest subnormal f32 the f64 functions may underflow gradually.
                Unit::Ulp => value.abs().max(1e-60),
                Unit::OrShareOf(largest) => value.abs().max(largest),
            };
            let roundings = (got - value).abs() / size * 2_f64.powi(53);
            assert!(roundings <= f64::from(row.roundings + 1), "{line}: {got:e}, {roundings} roundings");
            seen.insert(cells[0]);
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn ends_are_their_limits() {
        for row in ROWS {
            // The derivative that needs nothing saved is 1 for NaN too.
            assert!((row.exact)(f64::NAN).is_nan() || row.name == "identity_derivative", "{}", row.name);
            let (low, high) = row.domain;
            for x in [low, high, 0.0, -0.0, 1e-45, -1e-45, 3e38, -3e38] {
                let beside = row.name.contains('^') || row.name.contains("ln") || row.name.contains("sqrt");
                let wave = (row.name.contains("sin") || row.name.contains("cos")) && x.is_infinite();
                let inside = x >= low && x <= high;
                assert!(!inside || beside || wave || !(row.exact)(x).is_nan(), "{} at {x}", row.name);
            }
        }
    }
}
