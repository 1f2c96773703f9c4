//! Activations: against f64, at every position, with the same bits everywhere.
//!
//! All 2^32 inputs of every f32 activation and derivative, on every instruction set (an hour or two):
//!
//! ```text
//! cargo test --release --test activations -- --ignored --nocapture
//! ```
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;
#[path = "activations/formulas.rs"]
mod formulas;

use common::{HASH_START, all_bits, bits, cast, contexts, hash, random};
use formulas::{SCALE_ALPHA, domain, sigmoid, slope, value};
use gemmule::kernel::{ACCURACY, activation, activation::Activation, activation::Saved};
use gemmule::{Context, Element, Error, Result};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const MAX: f32 = f32::MAX;
/// The smallest subnormal, 2^-149.
const TINY: f32 = f32::from_bits(1);

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
        check_activations::<f32>(&context);
        check_activations::<f64>(&context);
    }
}

/// The first ones, whose committed bits are older than the others.
const FIRST: [Activation; 5] =
    [Activation::Identity, Activation::Exponential, Activation::Sigmoid, Activation::Tanh, Activation::Relu];

/// Other parameters than the defaults.
const OTHERS: [Activation; 6] = [
    Activation::LeakyRelu { slope: 0.3 },
    Activation::LeakyRelu { slope: 0.0 },
    Activation::Elu { alpha: 0.7 },
    Activation::Celu { alpha: 2.3 },
    Activation::Celu { alpha: 0.1 },
    Activation::Softplus { beta: 2.0 },
];

fn all() -> impl Iterator<Item = Activation> {
    Activation::ALL.into_iter().chain(OTHERS)
}

/// All four forms of every activation agree with each other at every place.
fn check_activations<T: Element>(context: &Context) {
    let mut inputs = cast::<T>(&random(5, 146).iter().map(|x| x * 8.0).collect::<Vec<_>>());
    let special = [T::nan(), T::infinity(), T::neg_infinity(), T::zero(), -T::zero()];
    inputs.iter_mut().skip(3).step_by(7).zip(special.iter().cycle()).for_each(|(x, &value)| *x = value);
    for activation in all() {
        let name = format!("{} {} {activation}", context.isa(), T::NAME);
        check_places(&name, &inputs, |x, y| activation::forward(context, activation, x, y).unwrap());
        check_places(&name, &inputs, |x, y| {
            y.copy_from_slice(x);
            activation::forward_in_place(context, activation, y).unwrap();
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

/// The distance of the f32 around `exact`.
fn unit(exact: f64) -> f64 {
    let exponent = ((exact.abs().to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    2_f64.powi(exponent - 23)
}

/// The error in ULP of the exact result, down to subnormal ones. Infinite where only one is NaN or infinite.
fn ulp(got: f32, exact: f64) -> f64 {
    if f64::from(got) == exact || got.is_nan() && exact.is_nan() || got == exact as f32 && got.is_infinite() {
        return 0.0;
    }
    if got.is_nan() || exact.is_nan() || got.is_infinite() {
        INF.into()
    } else {
        (f64::from(got) - exact).abs() / unit(exact)
    }
}

/// The forward error at x in ULP.
fn forward_error(activation: Activation, x: f32, got: f32) -> f64 {
    ulp(got, value(activation, f64::from(x)))
}

/// The derivative's error in units of the larger of an ULP and 2^-24 times the largest derivative.
fn derivative_error(activation: Activation, saved: f32, got: f32) -> f64 {
    let (low, high, most) = domain(activation);
    let saved = f64::from(saved);
    if saved < low || saved > high {
        return 0.0;
    }
    let exact = slope(activation, saved);
    match ulp(got, exact) {
        error if error == 0.0 || error.is_infinite() => error,
        error => error * unit(exact) / unit(exact).max(most * 2_f64.powi(-24)),
    }
}

/// Checks `inputs` on `context`, and returns the largest errors forward and backward and where they are.
fn errors(context: &Context, activation: Activation, inputs: &[f32]) -> [(f64, f32); 2] {
    let mut y = vec![0.0; inputs.len()];
    activation::forward(context, activation, inputs, &mut y).unwrap();
    let forward = worst(inputs, &y, |x, y| forward_error(activation, x, y));
    activation::backward(context, activation, inputs, &vec![1.0; inputs.len()], &mut y).unwrap();
    [forward, worst(inputs, &y, |x, d| derivative_error(activation, x, d))]
}

fn worst(inputs: &[f32], outputs: &[f32], error: impl Fn(f32, f32) -> f64) -> (f64, f32) {
    let pairs = inputs.iter().zip(outputs).filter(|(x, _)| x.is_finite());
    pairs
        .map(|(&x, &y)| (error(x, y), x))
        .fold((0.0, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst })
}

/// The figures that the documentation states.
fn limits(context: &Context, activation: Activation) -> [f64; 2] {
    ["", "_derivative"].map(|suffix| {
        let name = format!("{}{suffix}", activation.name());
        let entry = ACCURACY.iter().find(|entry| entry.name == name).expect(&name);
        if context.isa().has_fma() { entry.fused } else { entry.portable }
    })
}

/// Every `stride`-th bit pattern, and the neighbourhood of those where something changes.
fn sweep(stride: usize) -> Vec<f32> {
    let mut inputs: Vec<f32> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
    #[rustfmt::skip]
    let edges = [
        0.0, f32::MIN_POSITIVE, 1e-30, 1e-8, 6e-8, 2.5e-4, 0.25, 0.346_573_6, 0.5, 1.0, 1.5, 2.0, 3.0, 5.477_2, 5.567_8, 6.0,
        6.5, 10.0, 12.96, 13.1, 14.4, 14.6, 17.328_68, 20.0, 30.0, 60.0, 87.336_54, 88.722_84, 100.0, 103.278_93, 103.972_08,
        105.0, 176.0, 1e10, 1e19, 1e38, 1.7e38, 2.4e38, 3.3e38, MAX, INF, NAN,
    ];
    for edge in edges {
        let pattern = edge.to_bits();
        for near in pattern.saturating_sub(20)..=pattern.saturating_add(20) {
            inputs.extend([f32::from_bits(near), -f32::from_bits(near)]);
        }
    }
    inputs
}

/// With its parameter as f32 takes it: the slope's own rounding is no error of the product.
fn rounded(activation: Activation) -> Activation {
    match activation {
        Activation::LeakyRelu { slope } => Activation::LeakyRelu { slope: f64::from(slope as f32) },
        other => other,
    }
}

#[test]
fn f32_errors_are_those_that_the_documentation_states() {
    let inputs = sweep(20_011);
    let mut wrong = Vec::new();
    for context in contexts() {
        for activation in Activation::ALL.map(rounded) {
            let (errors, limits) = (errors(&context, activation, &inputs), limits(&context, activation));
            for (k, ((error, at), limit)) in errors.into_iter().zip(limits).enumerate() {
                let what = format!("{} {activation}{}", context.isa(), ["", "'"][k]);
                println!("{what}: {error:.4} at {at:e}");
                if error > limit {
                    wrong.push(format!("{what}: {error} at {at:e}"));
                }
            }
        }
        // Other parameters: CELU rounds 1 / alpha once more.
        for activation in OTHERS {
            for (error, at) in errors(&context, activation, &inputs) {
                let limit = if context.isa().has_fma() { 2.3 } else { 3.0 };
                if error > limit {
                    wrong.push(format!("{} {activation}: {error} at {at:e}", context.isa()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_stated_error_is_above_two_units() {
    for entry in ACCURACY {
        assert!(entry.fused <= 2.0, "{}: {}", entry.name, entry.fused);
    }
    for activation in Activation::ALL {
        assert!(ACCURACY.iter().any(|entry| entry.name == activation.name()), "{activation}");
    }
}

#[test]
fn f64_is_close_to_the_formulas() {
    let inputs: Vec<f64> =
        random(3, 3000).iter().enumerate().map(|(i, x)| x * 4_f64.powi(i as i32 % 5)).collect();
    let (ones, mut y) = (vec![1.0; inputs.len()], vec![0.0; inputs.len()]);
    for context in contexts() {
        for activation in all() {
            let (low, high, most) = domain(activation);
            activation::forward(&context, activation, &inputs, &mut y).unwrap();
            for (&x, &y) in inputs.iter().zip(&y) {
                let exact = value(activation, x);
                // In the tails an error of the argument is one of the result, times the argument.
                assert!(
                    (y - exact).abs() <= 3e-13 * exact.abs(),
                    "{activation}({x:e}) = {y:e}, not {exact:e}"
                );
            }
            activation::backward(&context, activation, &inputs, &ones, &mut y).unwrap();
            for (&x, &d) in inputs.iter().zip(&y).filter(|(x, _)| (low..=high).contains(x)) {
                let exact = slope(activation, x);
                let error = (d - exact).abs();
                assert!(
                    error <= 1e-14 * exact.abs().max(most),
                    "{activation}'({x:e}) = {d:e}, not {exact:e}"
                );
            }
        }
    }
}

/// Tails that naive formulas lose, and limits where they give NaN: both types.
fn check_tails<T: Element>(context: &Context) {
    let infinity = f64::INFINITY;
    #[rustfmt::skip]
    let cases = [
        (Activation::Gelu, -6.0, -5.919_526_e-9), (Activation::Gelu, -12.0, -2.131_779_e-32), (Activation::Gelu, 3e38, 3e38),
        (Activation::GeluTanh, -6.0, -8.439_646_e-11), (Activation::Silu, -80.0, -1.443_88_e-33), (Activation::Mish, -50.0, -9.643_749_e-21),
        (Activation::SOFTPLUS, -80.0, 1.804_851_e-35), (Activation::SOFTPLUS, 3e38, 3e38), (Activation::SOFTPLUS, infinity, infinity),
        (Activation::Softplus { beta: 8.0 }, 3e38, 3e38), (Activation::Silu, infinity, infinity),
        (Activation::Silu, -infinity, -0.0), (Activation::Gelu, infinity, infinity), (Activation::Gelu, -infinity, -0.0),
        (Activation::GeluTanh, infinity, infinity), (Activation::GeluTanh, -infinity, -0.0), (Activation::GeluTanh, -3e38, -0.0),
        (Activation::Mish, infinity, infinity), (Activation::Mish, -infinity, -0.0), (Activation::Mish, 3e38, 3e38),
        (Activation::HardSwish, -infinity, -0.0), (Activation::HardSwish, infinity, infinity), (Activation::HardSwish, 3e38, 3e38),
        (Activation::Softsign, infinity, 1.0), (Activation::Softsign, -infinity, -1.0), (Activation::Softsign, 3e38, 1.0),
        (Activation::ELU, -infinity, -1.0), (Activation::Celu { alpha: 0.5 }, -infinity, -0.5), (Activation::Selu, -infinity, -SCALE_ALPHA),
        (Activation::Selu, infinity, infinity),
        (Activation::HardSigmoid, -infinity, 0.0), (Activation::HardSigmoid, infinity, 1.0), (Activation::HardSigmoid, 3.0, 1.0),
        (Activation::Relu6, infinity, 6.0), (Activation::Relu6, -0.0, -0.0), (Activation::ELU, -0.0, -0.0),
        (Activation::Selu, -0.0, -0.0), (Activation::CELU, -0.0, -0.0), (Activation::Silu, -0.0, -0.0),
        (Activation::Gelu, -0.0, -0.0), (Activation::GeluTanh, -0.0, -0.0), (Activation::Mish, -0.0, -0.0),
        (Activation::Softsign, -0.0, -0.0), (Activation::LEAKY_RELU, -0.0, -0.0), (Activation::Gelu, 0.0, 0.0),
    ];
    for (activation, x, exact) in cases {
        let mut y = [T::from_f64(x)];
        activation::forward_in_place(context, activation, &mut y).unwrap();
        let got = y[0].to_f64();
        let close = (got - exact).abs() <= 4e-3 * exact.abs() || got == exact;
        assert!(close && got.is_sign_negative() == exact.is_sign_negative(), "{activation}({x:e}) = {got:e}");
        if activation.saved() == Saved::Input {
            let mut d = [T::one()];
            activation::backward_in_place(context, activation, &[T::from_f64(x)], &mut d).unwrap();
            assert!(d[0].is_finite(), "{activation}'({x:e}) = {}", d[0]);
        }
    }
    for activation in all() {
        let mut y = [T::nan()];
        activation::forward_in_place(context, activation, &mut y).unwrap();
        assert!(y[0].is_nan(), "{activation} lost a NaN");
        let (mut from, mut times) = ([T::one()], [T::nan()]);
        activation::backward_in_place(context, activation, &[T::nan()], &mut from).unwrap();
        activation::backward_in_place(context, activation, &[T::one()], &mut times).unwrap();
        assert!(times[0].is_nan(), "{activation} lost a NaN gradient");
        assert!(
            from[0].is_nan() || activation == Activation::Identity,
            "the derivative of {activation} lost a NaN"
        );
    }
}

#[test]
fn tails_and_limits() {
    for context in contexts() {
        check_tails::<f32>(&context);
        check_tails::<f64>(&context);
    }
}

#[test]
fn activation_gradients_match_central_differences() {
    let step = 1e-5;
    for context in contexts() {
        for activation in all() {
            let x: Vec<f64> = random(7, 200)
                .iter()
                .map(|x| x * 8.0)
                .filter(|x| [0.0, 3.0, 6.0].iter().all(|kink| (x.abs() - kink).abs() > 2.0 * step))
                .collect();
            let (mut y, mut above, mut below) = (x.clone(), x.clone(), x.clone());
            above.iter_mut().for_each(|x| *x += step);
            below.iter_mut().for_each(|x| *x -= step);
            for data in [&mut y, &mut above, &mut below] {
                activation::forward_in_place(&context, activation, data).unwrap();
            }
            let saved = if activation.saved() == Saved::Input { &x } else { &y };
            let mut d = vec![1.0; x.len()];
            activation::backward_in_place(&context, activation, saved, &mut d).unwrap();
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
    for activation in all() {
        assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
    }
    assert_eq!("linear".parse::<Activation>().unwrap(), Activation::Identity);
    assert_eq!("swish".parse::<Activation>().unwrap(), Activation::Silu);
    assert_eq!("leaky_relu( 2e-1 )".parse::<Activation>().unwrap(), Activation::LeakyRelu { slope: 0.2 });
    assert_eq!(Activation::LeakyRelu { slope: 0.2 }.to_string(), "leaky_relu(0.2)");
    assert_eq!(format!("{:>7}", Activation::ELU), "    elu");
    for (text, part) in [
        ("Relu", "identity, exponential, sigmoid, tanh, relu, leaky_relu"),
        ("gelu(1)", "no parameter"),
        ("elu()", "elu(a number)"),
        ("elu(x)", "elu(a number)"),
        ("elu(1", "identity"),
        ("elu(NaN)", "alpha of elu"),
        ("leaky_relu(-0.1)", "slope of leaky_relu"),
        ("softplus(0)", "beta of softplus"),
        ("celu(inf)", "alpha of celu"),
    ] {
        let error = text.parse::<Activation>().unwrap_err();
        assert!(matches!(error, Error::Argument { .. }));
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn parameters_out_of_range_are_refused_by_every_function() {
    let context = contexts()[0];
    let (x, mut y) = ([0.5_f32; 3], [0.0; 3]);
    let bad = [f64::NAN, f64::INFINITY, -1.0, 1e30].into_iter().flat_map(|value| {
        [
            Activation::LeakyRelu { slope: value },
            Activation::Elu { alpha: value },
            Activation::Celu { alpha: value },
            Activation::Softplus { beta: value },
        ]
    });
    for activation in bad.chain([Activation::Celu { alpha: 0.0 }, Activation::Softplus { beta: 1e-30 }]) {
        let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Argument { .. }));
        refused(activation::forward(&context, activation, &x, &mut y));
        refused(activation::forward_in_place(&context, activation, &mut y));
        refused(activation::backward(&context, activation, &x, &x, &mut y));
        refused(activation::backward_in_place(&context, activation, &x, &mut y));
        let matrix = gemmule::MatRef::row_major(&x, 1, 1).unwrap();
        for derivative in [false, true] {
            let epilogue = gemmule::Epilogue {
                activation: if derivative { Activation::Tanh } else { activation },
                derivative: derivative.then_some((activation, matrix)),
                ..gemmule::Epilogue::default()
            };
            let c = &mut gemmule::MatMut::row_major(&mut y, 1, 1).unwrap();
            refused(gemmule::gemm_with(&context, 1.0, matrix, matrix, 0.0, c, &epilogue));
        }
        let net = gemmule::nn::Sequential::new().with(gemmule::nn::Dense::new(2, 2)).with(activation);
        assert!(matches!(net.build::<f32>(0).unwrap_err(), Error::Argument { .. }));
    }
}

/// PReLU and GLU against their formulas, at every width around the lanes.
fn check_rows<T: Element>(context: &Context) {
    for width in [1, 2, 7, 8, 15, 16, 17, 33, 100] {
        for rows in [0, 1, 3, 9] {
            let x: Vec<T> = cast(&random(width as u64, rows * width));
            let d: Vec<T> = cast(&random(99, rows * width));
            for count in [1, width] {
                let slopes: Vec<T> = cast(&random(5, count));
                let (mut y, mut d_x, mut d_slopes) = (x.clone(), x.clone(), slopes.clone());
                activation::prelu(context, &x, &slopes, width, &mut y).unwrap();
                activation::prelu_backward(context, &x, &slopes, width, &d, &mut d_x, &mut d_slopes).unwrap();
                let mut sums = vec![0.0; count];
                for i in 0..x.len() {
                    let slope = slopes[i % width % count];
                    let positive = x[i] > T::zero();
                    assert_eq!(bits(y[i]), bits(if positive { x[i] } else { x[i] * slope }));
                    assert_eq!(bits(d_x[i]), bits(if positive { d[i] } else { d[i] * slope }));
                    if !positive {
                        sums[i % width % count] += x[i].to_f64() * d[i].to_f64();
                    }
                }
                for (sum, got) in sums.iter().zip(&d_slopes) {
                    let got: f64 = gemmule::Element::to_f64(*got);
                    assert!((sum - got).abs() <= 1e-5, "{width} {rows}: {sum} {got}");
                }
            }
            let x: Vec<T> = cast(&random(width as u64, 2 * rows * width));
            let (mut y, mut d_x) = (d.clone(), x.clone());
            activation::glu(context, &x, width, &mut y).unwrap();
            activation::glu_backward(context, &x, width, &d, &mut d_x).unwrap();
            for i in 0..rows * width {
                let (first, second) =
                    (i / width * 2 * width + i % width, i / width * 2 * width + i % width + width);
                let (a, gate) = (x[first].to_f64(), sigmoid(x[second].to_f64()));
                let d = d[i].to_f64();
                let exact = [a * gate, d * gate, d * a * gate * (1.0 - gate)];
                for (got, exact) in [y[i], d_x[first], d_x[second]].into_iter().zip(exact) {
                    assert!((got.to_f64() - exact).abs() <= 2e-7, "glu {width} x {rows}: {got} {exact}");
                }
            }
        }
    }
    // NaN in gives NaN out; a slope's sum has what its own column has.
    let (x, slopes) = ([T::nan(), -T::one()], [T::zero(), T::one()]);
    let (mut y, mut d_x, mut d_slopes) = ([T::zero(); 2], [T::zero(); 2], [T::zero(); 2]);
    activation::prelu(context, &x, &slopes, 2, &mut y).unwrap();
    activation::prelu_backward(context, &x, &slopes, 2, &[T::one(); 2], &mut d_x, &mut d_slopes).unwrap();
    assert!(y[0].is_nan() && d_x[0].is_nan() && d_slopes[0].is_nan() && d_slopes[1] == -T::one());
    activation::glu(context, &[T::one(), T::nan()], 1, &mut y[..1]).unwrap();
    assert!(y[0].is_nan());
}

#[test]
fn prelu_and_glu() {
    for context in contexts() {
        check_rows::<f32>(&context);
        check_rows::<f64>(&context);
    }
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, y) = ([0.0_f32; 6], &mut [0.0_f32; 6]);
    refused(activation::prelu(&context, &x, &[0.1], 4, y));
    refused(activation::prelu(&context, &x, &[0.1], 0, y));
    refused(activation::prelu(&context, &x, &[], 1, y));
    refused(activation::prelu(&context, &x, &[0.1; 2], 3, y));
    refused(activation::prelu(&context, &x, &[0.1; 3], 3, &mut y[..5]));
    refused(activation::prelu_backward(&context, &x, &[0.1], 3, &x[..5], y, &mut [0.0]));
    refused(activation::prelu_backward(&context, &x, &[0.1], 3, &x, &mut y[..5], &mut [0.0]));
    refused(activation::prelu_backward(&context, &x, &[0.1], 3, &x, y, &mut [0.0; 3]));
    refused(activation::glu(&context, &x, 2, &mut y[..3]));
    refused(activation::glu(&context, &x, 0, &mut y[..3]));
    refused(activation::glu(&context, &x[..5], 1, &mut y[..2]));
    refused(activation::glu(&context, &x, 3, &mut y[..2]));
    refused(activation::glu_backward(&context, &x, 3, &x[..2], y));
    refused(activation::glu_backward(&context, &x, 3, &x[..3], &mut y[..5]));
}

#[test]
fn wrong_lengths_are_refused() {
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, mut y) = ([0.0_f32; 6], [0.0_f32; 5]);
    for activation in all() {
        refused(activation::forward(&context, activation, &x, &mut y));
        refused(activation::backward(&context, activation, &x, &x, &mut y));
        refused(activation::backward(&context, activation, &x, &[0.0; 7], &mut [0.0; 6]));
        refused(activation::backward_in_place(&context, activation, &x, &mut y));
    }
}

/// A hash of all activations and their gradients.
fn activations_hash<T: Element>(context: &Context, activations: &[Activation]) -> u64 {
    let mut result = HASH_START;
    let x: Vec<T> = cast(&random(17, 5000).iter().map(|x| x * 6.0).collect::<Vec<_>>());
    let d: Vec<T> = cast(&random(19, 5000));
    let (mut y, mut g) = (x.clone(), x.clone());
    for &activation in activations {
        activation::forward(context, activation, &x, &mut y).unwrap();
        let saved = if activation.saved() == Saved::Input { &x } else { &y };
        activation::backward(context, activation, saved, &d, &mut g).unwrap();
        result = hash(&g, hash(&y, result));
    }
    result
}

#[test]
fn activations_have_the_committed_bits() {
    let others: Vec<Activation> = all().skip(FIRST.len()).collect();
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        let of = |list: &[Activation]| {
            (activations_hash::<f32>(&context, list), activations_hash::<f64>(&context, list))
        };
        let hashes = [of(&FIRST), of(&others)];
        assert_eq!(
            hashes,
            [(0x9396_390f_aa5a_3f7a, 0x4021_a3a2_1f34_3591), (0xb766_b94b_a7a8_8175, 0x3b57_09a2_468a_c576)],
            "{}: {hashes:#018x?}",
            context.isa()
        );
    }
}

#[test]
#[ignore = "all 2^32 inputs take an hour or two: run it in a release build, see the top of the file"]
fn all_inputs() {
    let chunk = 1_u64 << 16;
    for activation in Activation::ALL {
        let mut first = None;
        for context in contexts() {
            let (mut worst, mut all) = ([(0.0, 0.0); 2], HASH_START);
            let mut y = vec![0.0; chunk as usize];
            for start in (0..1 << 32).step_by(chunk as usize) {
                let inputs: Vec<f32> =
                    (start..start + chunk).map(|bits| f32::from_bits(bits as u32)).collect();
                for (worst, this) in worst.iter_mut().zip(errors(&context, activation, &inputs)) {
                    if this.0 > worst.0 {
                        *worst = this;
                    }
                }
                activation::forward(&context, activation, &inputs, &mut y).unwrap();
                all = hash(&y, all);
                activation::backward(&context, activation, &inputs, &vec![1.0; y.len()], &mut y).unwrap();
                all = hash(&y, all);
            }
            println!("{} {activation}: {worst:?}, hash {all:#018x}", context.isa());
            for ((error, _), limit) in worst.into_iter().zip(limits(&context, activation)) {
                assert!(error <= limit, "{} {activation}", context.isa());
            }
            if context.isa().has_fma() {
                assert_eq!(*first.get_or_insert(all), all, "{} {activation}", context.isa());
            }
        }
    }
}
