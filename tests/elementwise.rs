//! Activations: at every position, with the same bits everywhere.

mod common;

use common::{HASH_START, all_bits, bits, cast, contexts, hash, random};
use gemmule::kernel::{activation, activation::Activation};
use gemmule::{Context, Element, Error, Result};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
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
