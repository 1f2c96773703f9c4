//! Elementary functions and activations: against f64, at every position, with the same bits everywhere.
//!
//! All 2^32 inputs of every f32 function, on every instruction set (an hour or two):
//!
//! ```text
//! cargo test --release --test elementwise -- --ignored --nocapture
//! ```
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;

use common::{HASH_START, all_bits, bits, cast, contexts, hash, random};
use gemmule::kernel::{activation, activation::Activation, math};
use gemmule::{Context, Element, Error, Isa, Result};

type Slices<T> = fn(&Context, &[T], &mut [T]) -> Result<()>;

/// A function, its oracle, and what the documentation states.
struct Function {
    name: &'static str,
    f32: Slices<f32>,
    f64: Slices<f64>,
    oracle: fn(f64) -> f64,
    /// The largest error in ULP with fused multiply-add, over all inputs.
    fused: f64,
    /// The same on the portable tier.
    portable: f64,
    /// The hash of the sweep's results with fused multiply-add.
    hash: u64,
    /// Inputs and exact results.
    special: &'static [(f32, f32)],
}

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

// The table of src/kernel/math.rs.
const FUNCTIONS: [Function; 6] = [
    Function {
        name: "exp",
        f32: math::exp,
        f64: math::exp,
        oracle: f64::exp,
        fused: 0.91,
        portable: 0.94,
        hash: 0x1f41_24ca_5312_2016,
        special: EXP,
    },
    Function {
        name: "exp_m1",
        f32: math::exp_m1,
        f64: math::exp_m1,
        oracle: f64::exp_m1,
        fused: 1.25,
        portable: 1.34,
        hash: 0xa1b7_1c5d_9267_a2a3,
        special: EXP_M1,
    },
    Function {
        name: "ln",
        f32: math::ln,
        f64: math::ln,
        oracle: f64::ln,
        fused: 0.90,
        portable: 0.96,
        hash: 0x88dc_8416_8d5e_e916,
        special: LN,
    },
    Function {
        name: "ln_1p",
        f32: math::ln_1p,
        f64: math::ln_1p,
        oracle: f64::ln_1p,
        fused: 0.98,
        portable: 1.04,
        hash: 0x6080_bccb_0d06_679e,
        special: LN_1P,
    },
    Function {
        name: "sigmoid",
        f32: math::sigmoid,
        f64: math::sigmoid,
        oracle: sigmoid,
        fused: 0.94,
        portable: 1.33,
        hash: 0xd2bf_0b31_373f_a8fe,
        special: SIGMOID,
    },
    Function {
        name: "tanh",
        f32: math::tanh,
        f64: math::tanh,
        oracle: f64::tanh,
        fused: 1.34,
        portable: 1.35,
        hash: 0x2a03_d0dc_4017_dcfb,
        special: TANH,
    },
];

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
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
    let edges: [f32; 38] = [
        0.0, f32::MIN_POSITIVE, 1e-30, 1e-8, 6e-8, 2.5e-4, 0.292_893_2, 0.346_573_6, 0.414_213_6, 0.5, 0.549_306_1,
        0.55, std::f32::consts::FRAC_1_SQRT_2, 1.0, 1.039_720_8, std::f32::consts::SQRT_2, 2.0, 9.010_913, 10.0, 16.635_532, 17.328_68, 20.0, 44.0,
        64.0, 87.336_54, 88.0, 88.376_26, 88.722_84, 89.0, 103.278_93, 103.972_08, 105.0, 1e10, 1e38, 2.4e38,
        f32::MAX, INF, NAN,
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
        for function in &FUNCTIONS {
            (function.f32)(&context, &inputs, &mut outputs).unwrap();
            let (error, at) = inputs
                .iter()
                .zip(&outputs)
                .map(|(&x, &y)| (ulp(y, (function.oracle)(f64::from(x))), x))
                .fold((0.0, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst });
            println!("{} {}: {error:.4} ULP at {at:e}", context.isa(), function.name);
            let limit = if context.isa().has_fma() { function.fused } else { function.portable };
            assert!(error <= limit, "{} {}: {error} ULP at {at:e}", context.isa(), function.name);
        }
    }
}

#[test]
fn f32_bits_are_the_committed_ones_wherever_multiply_add_is_fused() {
    let inputs = sweep(4099);
    let mut outputs = vec![0.0; inputs.len()];
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        for function in &FUNCTIONS {
            (function.f32)(&context, &inputs, &mut outputs).unwrap();
            let got = hash(&outputs, HASH_START);
            assert_eq!(got, function.hash, "{} {}: {got:#018x}", context.isa(), function.name);
        }
    }
}

#[test]
fn special_values_are_exact() {
    for context in contexts() {
        for function in &FUNCTIONS {
            for &(x, y) in function.special {
                let mut got = [0.0];
                (function.f32)(&context, &[x], &mut got).unwrap();
                assert_eq!(
                    bits(got[0]),
                    bits(y),
                    "{} {}({x:e}) = {:e}",
                    context.isa(),
                    function.name,
                    got[0]
                );
                // Large results differ between the types.
                if y.is_infinite() && x.is_finite() && x != 0.0 && x != -1.0 || y == TINY || y.abs() > 80.0 {
                    continue;
                }
                let mut got = [0.0];
                (function.f64)(&context, &[f64::from(x)], &mut got).unwrap();
                let close = (got[0] - f64::from(y)).abs() < 1e-8 || bits(got[0]) == bits(f64::from(y));
                assert!(close, "{} {}({x:e}) = {:e} in f64", context.isa(), function.name, got[0]);
            }
        }
    }
}

#[test]
fn f64_is_within_a_few_ulp() {
    // The oracle is the platform's own library, so this finds blunders, not last digits.
    let inputs: Vec<f64> =
        random(3, 4000).iter().enumerate().map(|(i, x)| x * 4_f64.powi(i as i32 % 5)).collect();
    let mut outputs = vec![0.0; inputs.len()];
    for context in contexts() {
        for function in &FUNCTIONS {
            (function.f64)(&context, &inputs, &mut outputs).unwrap();
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let exact = (function.oracle)(x);
                let close =
                    (y - exact).abs() <= 4.0 * f64::EPSILON * exact.abs() || y.is_nan() && exact.is_nan();
                assert!(close, "{} {}({x:e}) = {y:e}, not {exact:e}", context.isa(), function.name);
            }
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
        for function in &FUNCTIONS {
            let name = format!("{} {}", context.isa(), function.name);
            // Special values between ordinary ones, so that a lane would be seen to disturb its neighbours.
            let special = function.special.iter().flat_map(|&(x, _)| [x, x / 3.0 + 0.25]);
            let inputs: Vec<f32> = special.cycle().take(146).collect();
            check_places(&name, &inputs, |x, y| (function.f32)(&context, x, y).unwrap());
            let inputs: Vec<f64> = inputs.iter().map(|&x| f64::from(x)).collect();
            check_places(&name, &inputs, |x, y| (function.f64)(&context, x, y).unwrap());
        }
        check_activations::<f32>(&context);
        check_activations::<f64>(&context);
    }
}

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Exponential, Activation::Sigmoid, Activation::Tanh, Activation::Relu];

/// All four forms of every activation agree with each other at every place.
fn check_activations<T: Element>(context: &Context) {
    let mut inputs = cast::<T>(&random(5, 146).iter().map(|x| x * 8.0).collect::<Vec<_>>());
    let special = [T::nan(), T::infinity(), T::neg_infinity(), T::zero(), -T::zero()];
    inputs.iter_mut().skip(3).step_by(7).zip(special.iter().cycle()).for_each(|(x, &value)| *x = value);
    for activation in ACTIVATIONS {
        let name = format!("{} {} {activation}", context.isa(), T::NAME);
        check_places(&name, &inputs, |x, y| activation::forward(context, activation, x, y).unwrap());
        check_places(&name, &inputs, |x, y| {
            y.copy_from_slice(x);
            activation::forward_in_place(context, activation, y);
        });
        check_places(&name, &inputs, |x, d| {
            // The derivative at output x times the gradient 1 - x.
            let gradient: Vec<T> = x.iter().map(|&x| T::one() - x).collect();
            activation::backward(context, activation, x, &gradient, d).unwrap();
            let mut in_place = gradient;
            activation::backward_in_place(context, activation, x, &mut in_place).unwrap();
            assert_eq!(all_bits(d), all_bits(&in_place), "{name}");
        });
    }
}

#[test]
fn relu_is_exact() {
    for context in contexts() {
        let x = [-1.0, -0.0, 0.0, 2.0, NAN, INF, -INF, -TINY, TINY];
        let mut y = [9.0; 9];
        activation::forward(&context, Activation::Relu, &x, &mut y).unwrap();
        assert_eq!(all_bits(&y), all_bits(&[0.0, -0.0, 0.0, 2.0, NAN, INF, 0.0, 0.0, TINY]));
        let mut d = [3.0; 9];
        activation::backward_in_place(&context, Activation::Relu, &y, &mut d).unwrap();
        assert!(
            d.iter().zip([0.0, 0.0, 0.0, 3.0, NAN, 3.0, 0.0, 0.0, 3.0]).all(|(a, b)| *a == b || b.is_nan())
        );
        assert!(d[4].is_nan());
        let mut d = [NAN; 9];
        activation::backward_in_place(&context, Activation::Relu, &y, &mut d).unwrap();
        assert!(d.iter().all(|d| d.is_nan()), "a NaN gradient was lost");
    }
}

#[test]
fn activation_gradients_match_central_differences() {
    let step = 1e-5;
    for context in contexts() {
        for activation in ACTIVATIONS {
            let x: Vec<f64> =
                random(7, 200).iter().map(|x| x * 3.0).filter(|x| x.abs() > 2.0 * step).collect();
            let (mut y, mut above, mut below) = (x.clone(), x.clone(), x.clone());
            above.iter_mut().for_each(|x| *x += step);
            below.iter_mut().for_each(|x| *x -= step);
            for data in [&mut y, &mut above, &mut below] {
                activation::forward_in_place(&context, activation, data);
            }
            let mut d = vec![1.0; x.len()];
            activation::backward_in_place(&context, activation, &y, &mut d).unwrap();
            for i in 0..x.len() {
                let difference = (above[i] - below[i]) / (2.0 * step);
                let error = (d[i] - difference).abs() / difference.abs().max(1.0);
                assert!(error <= 1e-7, "{activation}'({}) = {}, not {difference}", x[i], d[i]);
            }
        }
    }
}

#[test]
fn activations_have_names() {
    for activation in ACTIVATIONS {
        assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
    }
    assert_eq!("linear".parse::<Activation>().unwrap(), Activation::Identity);
    let error = "Relu".parse::<Activation>().unwrap_err();
    assert!(matches!(error, Error::Argument { .. }));
    assert!(error.to_string().contains("identity, exponential, sigmoid, tanh, relu or linear"), "{error}");
}

#[test]
fn wrong_lengths_are_refused() {
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, mut y) = ([0.0_f32; 6], [0.0_f32; 5]);
    for function in &FUNCTIONS {
        refused((function.f32)(&context, &x, &mut y));
    }
    for activation in ACTIVATIONS {
        refused(activation::forward(&context, activation, &x, &mut y));
        refused(activation::backward(&context, activation, &x, &x, &mut y));
        refused(activation::backward(&context, activation, &x, &[0.0; 7], &mut [0.0; 6]));
        refused(activation::backward_in_place(&context, activation, &x, &mut y));
    }
}

/// A hash of all activations and their gradients.
fn activations_hash<T: Element>(context: &Context) -> u64 {
    let mut result = HASH_START;
    let x: Vec<T> = cast(&random(17, 5000).iter().map(|x| x * 6.0).collect::<Vec<_>>());
    let d: Vec<T> = cast(&random(19, 5000));
    let (mut y, mut g) = (x.clone(), x.clone());
    for activation in ACTIVATIONS {
        activation::forward(context, activation, &x, &mut y).unwrap();
        activation::backward(context, activation, &y, &d, &mut g).unwrap();
        result = hash(&g, hash(&y, result));
    }
    result
}

#[test]
fn activations_have_the_committed_bits() {
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        let got = (activations_hash::<f32>(&context), activations_hash::<f64>(&context));
        assert_eq!(
            got,
            (0x38ee_a068_3a59_4a9d, 0x4021_a3a2_1f34_3591),
            "{}: ({:#018x}, {:#018x})",
            context.isa(),
            got.0,
            got.1
        );
    }
}

#[test]
#[ignore = "all 2^32 inputs take an hour or two: run it in a release build, see the top of the file"]
fn all_inputs() {
    let fused: Vec<Isa> = Isa::available().filter(|isa| isa.has_fma()).collect();
    for function in &FUNCTIONS {
        let mut first = None;
        for context in contexts() {
            let (mut worst, mut at, mut all) = (0.0, 0.0, HASH_START);
            let mut outputs = vec![0.0; 1 << 16];
            for high in 0..=u16::MAX {
                let inputs: Vec<f32> = (0..=u16::MAX)
                    .map(|low| f32::from_bits(u32::from(high) << 16 | u32::from(low)))
                    .collect();
                (function.f32)(&context, &inputs, &mut outputs).unwrap();
                all = hash(&outputs, all);
                for (&x, &y) in inputs.iter().zip(&outputs) {
                    let error = ulp(y, (function.oracle)(f64::from(x)));
                    if error > worst {
                        (worst, at) = (error, x);
                    }
                }
            }
            println!("{} {}: {worst:.4} ULP at {at:e}, hash {all:#018x}", context.isa(), function.name);
            let limit = if context.isa().has_fma() { function.fused } else { function.portable };
            assert!(worst <= limit);
            if fused.contains(&context.isa()) {
                assert_eq!(*first.get_or_insert(all), all, "{} {}", context.isa(), function.name);
            }
        }
    }
}
