//! Elementary functions: against f64, at every position, with the same bits everywhere.
//!
//! All 2^32 inputs of every f32 function, on every instruction set (an hour or two):
//!
//! ```text
//! cargo test --release --test math -- --ignored --nocapture
//! ```
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;
#[path = "math/powers.rs"]
mod powers;

use common::{HASH_START, all_bits, bits, contexts, hash, random};
use gemmule::kernel::{ACCURACY, math, reference};
use gemmule::{Context, Element, Error, Isa, Result};

type Slices<T> = fn(&Context, &[T], &mut [T]) -> Result<()>;
type InPlace<T> = fn(&Context, &mut [T]);
type Backward<T> = fn(&Context, &[T], &[T], &mut [T]) -> Result<()>;

/// A function, its oracle, its derivative, and the hashes of the sweep's results with fused multiply-add.
struct Function {
    name: &'static str,
    f32: (Slices<f32>, InPlace<f32>, Backward<f32>),
    f64: (Slices<f64>, InPlace<f64>, Backward<f64>),
    oracle: fn(f64) -> f64,
    /// The derivative in the saved value, and its largest size where 2 ULP of it cannot be had.
    derivative: fn(f64) -> f64,
    largest_derivative: f64,
    /// The derivative is computed from the output.
    from_output: bool,
    hash: u64,
    derivative_hash: u64,
    /// Inputs and exact results.
    special: &'static [(f32, f32)],
}

impl Function {
    /// The largest error that the documentation states.
    fn limit(&self, isa: Isa) -> f64 {
        stated(self.name, isa)
    }

    /// The same of the derivative.
    fn derivative_limit(&self, isa: Isa) -> f64 {
        stated(&format!("{}_derivative", self.name), isa)
    }
}

fn stated(name: &str, isa: Isa) -> f64 {
    let entry = ACCURACY.iter().find(|entry| entry.name == name).expect("in the table");
    if isa.has_fma() { entry.fused } else { entry.portable }
}

macro_rules! function {
    (
        $name:ident, $in_place:ident, $backward:ident, $oracle:expr, $saved:ident, $derivative:expr, $largest:expr,
        $hash:literal, $derivative_hash:literal, $special:expr
    ) => {
        Function {
            name: stringify!($name),
            f32: (math::$name, math::$in_place, math::$backward),
            f64: (math::$name, math::$in_place, math::$backward),
            oracle: $oracle,
            derivative: $derivative,
            largest_derivative: $largest,
            from_output: $saved,
            hash: $hash,
            derivative_hash: $derivative_hash,
            special: $special,
        }
    };
}

const OUTPUT: bool = true;
const INPUT: bool = false;

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const MAX: f32 = f32::MAX;
/// The smallest subnormal, 2^-149.
const TINY: f32 = f32::from_bits(1);

// Inputs and exact results.
#[rustfmt::skip]
const EXP: &[(f32, f32)] = &[
    (0.0, 1.0), (-0.0, 1.0), (TINY, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (MAX, INF), (-MAX, 0.0),
    (88.722_84, INF), (-103.0, f32::from_bits(1)), (-104.0, 0.0),
];
#[rustfmt::skip]
const EXP_M1: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (TINY, TINY), (-TINY, -TINY), (1e-30, 1e-30), (INF, INF), (-INF, -1.0),
    (NAN, NAN), (MAX, INF), (-MAX, -1.0), (88.722_84, INF), (-30.0, -1.0),
];
#[rustfmt::skip]
const LN: &[(f32, f32)] = &[
    (1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (NAN, NAN), (-1.0, NAN), (-TINY, NAN),
    (-MAX, NAN), (TINY, -103.278_93), (MAX, 88.722_84),
];
#[rustfmt::skip]
const LN_1P: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (TINY, TINY), (-TINY, -TINY), (1e-30, 1e-30), (-1.0, -INF), (INF, INF),
    (-INF, NAN), (NAN, NAN), (-1.5, NAN), (-MAX, NAN), (MAX, 88.722_84),
];
#[rustfmt::skip]
const SIGMOID: &[(f32, f32)] = &[
    (0.0, 0.5), (-0.0, 0.5), (TINY, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (MAX, 1.0), (-MAX, 0.0),
    (20.0, 1.0), (-103.0, f32::from_bits(1)), (-104.0, 0.0),
];
#[rustfmt::skip]
const TANH: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (TINY, TINY), (-TINY, -TINY), (1e-30, 1e-30), (INF, 1.0), (-INF, -1.0),
    (NAN, NAN), (MAX, 1.0), (-MAX, -1.0), (10.0, 1.0),
];

#[rustfmt::skip]
const ERF: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (TINY, TINY), (-TINY, -TINY), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (MAX, 1.0),
    (-MAX, -1.0), (4.0, 1.0), (-3.93, -1.0),
];
#[rustfmt::skip]
const SIN: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (TINY, TINY), (-TINY, -TINY), (INF, NAN), (-INF, NAN), (NAN, NAN), (MAX, -0.521_876_5),
    (-MAX, 0.521_876_5),
];
#[rustfmt::skip]
const COS: &[(f32, f32)] = &[
    (0.0, 1.0), (-0.0, 1.0), (TINY, 1.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (MAX, 0.853_021), (-MAX, 0.853_021),
    // Beside a zero: an angle in few digits has none left.
    (252.898_21, -4.185_707e-9),
];
#[rustfmt::skip]
const NORMAL_CDF: &[(f32, f32)] = &[
    (0.0, 0.5), (-0.0, 0.5), (TINY, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (MAX, 1.0), (-MAX, 0.0), (6.0, 1.0),
    (-14.1, TINY), (-14.3, 0.0),
];
#[rustfmt::skip]
const SQRT: &[(f32, f32)] = &[
    (0.0, 0.0), (-0.0, -0.0), (4.0, 2.0), (INF, INF), (-INF, NAN), (NAN, NAN), (-TINY, NAN), (-1.0, NAN),
];
#[rustfmt::skip]
const RSQRT: &[(f32, f32)] = &[
    (0.0, INF), (-0.0, -INF), (4.0, 0.5), (INF, 0.0), (-INF, NAN), (NAN, NAN), (-TINY, NAN), (-1.0, NAN),
];

#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    function!(exp, exp_in_place, exp_backward, f64::exp, OUTPUT, |y| y, 0.0, 0x7f55_ad9f_424c_fb59, 0xe38c_b6c6_545a_4984, EXP),
    function!(exp_m1, exp_m1_in_place, exp_m1_backward, f64::exp_m1, OUTPUT, |y| y + 1.0, 0.0, 0x8ea4_0214_5676_d379, 0x1ebe_527e_935f_2f20, EXP_M1),
    function!(ln, ln_in_place, ln_backward, f64::ln, INPUT, |x| 1.0 / x, 0.0, 0x167c_a061_9850_9575, 0x5667_10d8_3821_056d, LN),
    function!(ln_1p, ln_1p_in_place, ln_1p_backward, f64::ln_1p, INPUT, |x| 1.0 / (1.0 + x), 0.0, 0xf03c_29ee_2efd_679b, 0x5663_808b_056f_10b1, LN_1P),
    function!(sigmoid, sigmoid_in_place, sigmoid_backward, sigmoid, OUTPUT, |y| y * (1.0 - y), 0.25, 0xe283_965e_9376_ce8e, 0x915b_3d8e_4505_a0f0, SIGMOID),
    function!(tanh, tanh_in_place, tanh_backward, f64::tanh, OUTPUT, |y| (1.0 - y) * (1.0 + y), 1.0, 0x6075_1024_8382_0635, 0xd751_df38_35b8_57ef, TANH),
    function!(erf, erf_in_place, erf_backward, reference::erf, INPUT, erf_derivative, std::f64::consts::FRAC_2_SQRT_PI, 0x272e_f897_77cd_fbe6, 0x3b12_3277_5c36_84ae, ERF),
    function!(sqrt, sqrt_in_place, sqrt_backward, f64::sqrt, OUTPUT, |y| 0.5 / y, 0.0, 0x0b57_7c05_d56e_7b73, 0xb1a5_7482_cbfc_283e, SQRT),
    function!(rsqrt, rsqrt_in_place, rsqrt_backward, |x| 1.0 / x.sqrt(), OUTPUT, |y| -0.5 * y * y * y, 0.0, 0x029e_ed29_0446_df43, 0x53ae_5550_6eec_6b6f, RSQRT),
    function!(sin, sin_in_place, sin_backward, f64::sin, INPUT, f64::cos, 1.0, 0xe48e_b0fa_9a9d_afa5, 0xa3ef_f8f2_4252_51e3, SIN),
    function!(cos, cos_in_place, cos_backward, f64::cos, INPUT, |x| -x.sin(), 1.0, 0x464a_368a_469d_2570, 0x5dea_ee48_fedd_638c, COS),
    function!(normal_cdf, normal_cdf_in_place, normal_cdf_backward, normal_cdf, INPUT, density, 0.398_942_28, 0xe3e9_1db6_617a_14e8, 0x97a4_b8f2_20ae_3157, NORMAL_CDF),
];

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn normal_cdf(x: f64) -> f64 {
    reference::normal_cdf(x)
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn erf_derivative(x: f64) -> f64 {
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp()
}

/// The error in ULP of the exact result, down to subnormal ones. Infinite where one is NaN or the sign of zero differs.
fn ulp(got: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if got.to_bits() == nearest.to_bits() || (got.is_nan() && exact.is_nan()) {
        // An infinite or zero result that is the nearest is counted as exact.
        return if got.is_finite() && got != 0.0 {
            (f64::from(got) - exact).abs() / unit(exact)
        } else {
            0.0
        };
    }
    if got.is_nan() || exact.is_nan() || exact.is_infinite() || exact == 0.0 {
        return f64::INFINITY;
    }
    // An overflow that the exact result just misses.
    let got = if got.is_infinite() { 2_f64.powi(128).copysign(f64::from(got)) } else { f64::from(got) };
    (got - exact).abs() / unit(exact)
}

/// The distance of the floats around `exact`.
fn unit(exact: f64) -> f64 {
    let exponent = ((exact.abs().to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    2_f64.powi(exponent - 23)
}

/// Every `stride`-th bit pattern, and the neighbourhood of the patterns where something changes.
fn sweep(stride: usize) -> Vec<f32> {
    let mut inputs: Vec<f32> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
    #[rustfmt::skip]
    let edges: [f32; 40] = [
        0.0, f32::MIN_POSITIVE, 1e-30, 1e-8, 6e-8, 2.5e-4, 0.292_893_2, 0.346_573_6, 0.414_213_6, 0.5, 0.549_306_1,
        0.55, std::f32::consts::FRAC_1_SQRT_2, 1.0, 1.039_720_8, std::f32::consts::SQRT_2, 2.0, 9.010_913, 10.0, 16.635_532, 17.328_68, 20.0, 44.0,
        64.0, 87.336_54, 88.0, 88.376_26, 88.722_84, 89.0, 103.278_93, 103.972_08, 105.0, 1e10, 1e38, 2.4e38,
        f32::MAX, INF, NAN, 3.98, 0.128_729_58,
    ];
    for edge in edges {
        let pattern = edge.to_bits();
        for near in pattern.saturating_sub(40)..=pattern.saturating_add(40) {
            inputs.extend([f32::from_bits(near), -f32::from_bits(near)]);
        }
    }
    inputs
}

#[test]
fn f32_errors_are_those_that_the_documentation_states() {
    let inputs = sweep(4099);
    let mut outputs = vec![0.0; inputs.len()];
    for context in contexts() {
        for function in FUNCTIONS {
            function.f32.0(&context, &inputs, &mut outputs).unwrap();
            let (error, at) = inputs
                .iter()
                .zip(&outputs)
                .map(|(&x, &y)| (ulp(y, (function.oracle)(f64::from(x))), x))
                .fold((0.0, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst });
            println!("{} {}: {error:.4} ULP at {at:e}", context.isa(), function.name);
            assert!(
                error <= function.limit(context.isa()),
                "{} {}: {error} ULP at {at:e}",
                context.isa(),
                function.name
            );
        }
    }
}

#[test]
fn f32_derivatives_keep_the_stated_errors() {
    let inputs = sweep(4099);
    let (mut saved, mut d) = (vec![0.0; inputs.len()], vec![0.0; inputs.len()]);
    let ones = vec![1.0; inputs.len()];
    for context in contexts() {
        for function in FUNCTIONS {
            saved.copy_from_slice(&inputs);
            if function.from_output {
                function.f32.1(&context, &mut saved);
            }
            function.f32.2(&context, &saved, &ones, &mut d).unwrap();
            let mut worst = (0.0, 0.0);
            for (&x, &d) in saved.iter().zip(&d) {
                let exact = (function.derivative)(f64::from(x));
                // In ULP or 2^-24 of the largest derivative, whichever is larger.
                let share = 2_f64.powi(-24) * function.largest_derivative;
                let error = ulp(d, exact).min((f64::from(d) - exact).abs() / share);
                if error > worst.0 && !x.is_nan() {
                    worst = (error, x);
                }
                assert!(!x.is_nan() || d.is_nan(), "{} {}: a NaN was lost", context.isa(), function.name);
            }
            println!("{} {}': {:.4} ULP at {:e}", context.isa(), function.name, worst.0, worst.1);
            let limit = function.derivative_limit(context.isa());
            assert!(worst.0 <= limit, "{} {}': {} at {:e}", context.isa(), function.name, worst.0, worst.1);
        }
    }
}

#[test]
fn f32_bits_are_the_committed_ones_wherever_multiply_add_is_fused() {
    let inputs = sweep(4099);
    let (mut y, mut d) = (inputs.clone(), inputs.clone());
    let mut wrong = String::new();
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        for function in FUNCTIONS {
            function.f32.0(&context, &inputs, &mut y).unwrap();
            let saved = if function.from_output { &y } else { &inputs };
            function.f32.2(&context, saved, &inputs, &mut d).unwrap();
            let got = (hash(&y, HASH_START), hash(&d, HASH_START));
            if got != (function.hash, function.derivative_hash) {
                wrong += &format!("{} {}: {:#018x}, {:#018x}\n", context.isa(), function.name, got.0, got.1);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn special_values_are_exact() {
    for context in contexts() {
        for function in FUNCTIONS {
            for &(x, y) in function.special {
                let mut got = [x];
                function.f32.1(&context, &mut got);
                let what = format!("{} {}({x:e})", context.isa(), function.name);
                assert_eq!(bits(got[0]), bits(y), "{what} = {:e}", got[0]);
                // Large and tiny results differ between the types.
                if y.is_infinite() && x.is_finite() && x != 0.0 && x != -1.0 || y == TINY || y.abs() > 80.0 {
                    continue;
                }
                let mut got = [f64::from(x)];
                function.f64.1(&context, &mut got);
                let close = (got[0] - f64::from(y)).abs() < 1e-7 || bits(got[0]) == bits(f64::from(y));
                assert!(close, "{what} = {:e} in f64", got[0]);
            }
        }
    }
}

#[test]
fn f64_is_within_a_few_ulp() {
    // The oracle is the platform's own library, so this finds blunders, not last digits.
    let inputs: Vec<f64> =
        random(3, 4000).iter().enumerate().map(|(i, x)| x * 4_f64.powi(i as i32 % 5)).collect();
    let (mut y, mut d) = (inputs.clone(), inputs.clone());
    let ones = vec![1.0; inputs.len()];
    for context in contexts() {
        for function in FUNCTIONS {
            let check = |what: &str, x: f64, got: f64, exact: f64, least: f64| {
                let tolerance = 4.0 * f64::EPSILON * exact.abs().max(least);
                let close = (got - exact).abs() <= tolerance || got.is_nan() && exact.is_nan();
                assert!(close, "{} {}{what}({x:e}) = {got:e}, not {exact:e}", context.isa(), function.name);
            };
            function.f64.0(&context, &inputs, &mut y).unwrap();
            inputs.iter().zip(&y).for_each(|(&x, &y)| check("", x, y, (function.oracle)(x), 0.0));
            let saved = if function.from_output { &y } else { &inputs };
            function.f64.2(&context, saved, &ones, &mut d).unwrap();
            saved
                .iter()
                .zip(&d)
                .for_each(|(&x, &d)| check("'", x, d, (function.derivative)(x), function.largest_derivative));
        }
    }
}

/// The derivative is that of the function: f64, by central differences.
#[test]
fn derivatives_match_central_differences() {
    let step = 1e-5;
    let context = contexts()[0];
    for function in FUNCTIONS {
        let x: Vec<f64> = random(7, 200).iter().map(|x| x.abs() * 3.0 + 0.1).collect();
        let (mut y, mut above, mut below) = (x.clone(), x.clone(), x.clone());
        above.iter_mut().for_each(|x| *x += step);
        below.iter_mut().for_each(|x| *x -= step);
        for data in [&mut y, &mut above, &mut below] {
            function.f64.1(&context, data);
        }
        let mut d = vec![0.0; x.len()];
        function.f64.2(&context, if function.from_output { &y } else { &x }, &vec![1.0; x.len()], &mut d)
            .unwrap();
        for i in 0..x.len() {
            let difference = (above[i] - below[i]) / (2.0 * step);
            let error = (d[i] - difference).abs() / difference.abs().max(1.0);
            assert!(error <= 1e-7, "{}'({}) = {}, not {difference}", function.name, x[i], d[i]);
        }
    }
}

/// Checks that `run` gives an element the same bits at every place, and writes nothing else.
fn check_places<T: Element>(name: &str, inputs: &[T], run: impl Fn(&[T], &mut [T])) {
    let sentinel = T::from_f64(12345.0);
    let alone: Vec<u64> = inputs
        .iter()
        .map(|&x| {
            let mut y = [sentinel];
            run(&[x], &mut y);
            bits(y[0])
        })
        .collect();
    for length in 0..=130 {
        for offset in 0..=16 {
            let mut output = [sentinel; 160];
            run(&inputs[offset..offset + length], &mut output[offset..offset + length]);
            assert_eq!(all_bits(&output[offset..offset + length]), alone[offset..offset + length], "{name}");
            let untouched = output[..offset].iter().chain(&output[offset + length..]);
            assert!(untouched.copied().all(|x| x == sentinel), "{name} wrote past {length} elements");
        }
    }
}

#[test]
fn a_result_does_not_depend_on_the_place() {
    for context in contexts() {
        for function in FUNCTIONS {
            // Special values between ordinary ones, so that a lane would be seen to disturb its neighbours.
            let special = function.special.iter().flat_map(|&(x, _)| [x, x / 3.0 + 0.25]);
            let inputs: Vec<f32> = special.cycle().take(146).collect();
            check_function(&context, function.name, &inputs, function.f32);
            let inputs: Vec<f64> = inputs.iter().map(|&x| f64::from(x)).collect();
            check_function(&context, function.name, &inputs, function.f64);
        }
    }
}

/// All three forms at every place.
fn check_function<T: Element>(
    context: &Context,
    name: &str,
    inputs: &[T],
    (forward, in_place, backward): (Slices<T>, InPlace<T>, Backward<T>),
) {
    let name = format!("{} {} {name}", context.isa(), T::NAME);
    check_places(&name, inputs, |x, y| {
        forward(context, x, y).unwrap();
        let mut data = x.to_vec();
        in_place(context, &mut data);
        assert_eq!(all_bits(y), all_bits(&data), "{name} in place");
    });
    check_places(&name, inputs, |x, d| {
        // The derivative at x times the gradient 1 - x.
        let gradient: Vec<T> = x.iter().map(|&x| T::one() - x).collect();
        backward(context, x, &gradient, d).unwrap();
    });
}

/// The buffer of the forms in place is shorter than this.
#[test]
fn long_slices_in_place() {
    let context = contexts()[0];
    let x: Vec<f32> = random(9, 5001).iter().map(|&x| x as f32 * 3.0).collect();
    for function in FUNCTIONS {
        let (mut y, mut data) = (vec![0.0; x.len()], x.clone());
        function.f32.0(&context, &x, &mut y).unwrap();
        function.f32.1(&context, &mut data);
        assert_eq!(all_bits(&y), all_bits(&data), "{}", function.name);
    }
}

#[test]
fn every_function_of_the_table_is_tested() {
    // The table begins with the functions of this file, each before its derivative; the activations follow.
    let names =
        FUNCTIONS.iter().flat_map(|function| [function.name.into(), format!("{}_derivative", function.name)]);
    let names: Vec<String> = names.collect();
    assert_eq!(names, ACCURACY[..names.len()].iter().map(|entry| entry.name).collect::<Vec<_>>());
    assert_eq!(ACCURACY[names.len()].name, "identity");
}

#[test]
fn wrong_lengths_are_refused() {
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, mut y) = ([0.0_f32; 6], [0.0_f32; 5]);
    for function in FUNCTIONS {
        refused(function.f32.0(&context, &x, &mut y));
        refused(function.f32.2(&context, &x, &x, &mut y));
        refused(function.f32.2(&context, &x, &[0.0; 7], &mut [0.0; 6]));
    }
    refused(math::pow(&context, &x, &x, &mut y));
    refused(math::pow(&context, &x, &[0.0; 7], &mut [0.0; 6]));
    refused(math::pow_in_place(&context, &mut y, &x));
    refused(math::pow_scalar(&context, &x, 2.0, &mut y));
    refused(math::pow_backward(&context, &x, &[0.0; 7], &x, &mut [0.0; 6]));
    refused(math::pow_backward(&context, &x, &x, &x, &mut y));
    refused(math::pow_scalar_backward(&context, &x, 2.0, &[0.0; 7], &mut [0.0; 6]));
}

#[test]
#[ignore = "all 2^32 inputs take an hour or two: run it in a release build, see the top of the file"]
fn all_inputs() {
    let fused: Vec<Isa> = Isa::available().filter(|isa| isa.has_fma()).collect();
    for function in FUNCTIONS {
        let mut first = None;
        for context in contexts() {
            let (mut worst, mut at, mut all) = (0.0, 0.0, HASH_START);
            let mut outputs = vec![0.0; 1 << 16];
            for high in 0..=u16::MAX {
                let inputs: Vec<f32> = (0..=u16::MAX)
                    .map(|low| f32::from_bits(u32::from(high) << 16 | u32::from(low)))
                    .collect();
                function.f32.0(&context, &inputs, &mut outputs).unwrap();
                all = hash(&outputs, all);
                for (&x, &y) in inputs.iter().zip(&outputs) {
                    let error = ulp(y, (function.oracle)(f64::from(x)));
                    if error > worst {
                        (worst, at) = (error, x);
                    }
                }
            }
            println!("{} {}: {worst:.4} ULP at {at:e}, hash {all:#018x}", context.isa(), function.name);
            assert!(worst <= function.limit(context.isa()));
            if fused.contains(&context.isa()) {
                assert_eq!(*first.get_or_insert(all), all, "{} {}", context.isa(), function.name);
            }
        }
    }
}
