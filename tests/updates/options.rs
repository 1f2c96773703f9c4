//! Bad options and lengths say what, where, expected and got.

use gemmule::kernel::update::*;
use gemmule::{Context, Error, Isa, Result};

fn text<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error @ (Error::Argument { .. } | Error::Shape { .. })) => error.to_string(),
        Err(error) => panic!("another kind of error: {error}"),
    }
}

const RATE: &str = "a finite number, at least 0";
const DECAY: &str = "at least 0 and below 1";

/// Sets a field of the default options, and says what the error must be.
macro_rules! refused {
    ($options:ident, $name:literal: $($field:ident = $value:expr => $expected:expr),+ $(,)?) => {$(
        let options = $options { $field: $value, ..$options::default() };
        let expected = format!("{}: {}: expected {}, got {}", $name, stringify!($field), $expected, $value);
        assert_eq!(text(options.step(1)), expected);
    )+
        assert_eq!(text($options::default().step(0)), format!("{}: step: expected at least 1, got 0", $name));
        $options::default().step(1).unwrap();
    };
}

#[test]
fn every_bad_option_is_named() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    refused!(Sgd, "sgd": learning_rate = nan => RATE, weight_decay = -1.0 => RATE, l1 = inf => RATE);
    refused!(Adagrad, "adagrad": learning_rate = -1e-300 => RATE, learning_rate_decay = nan => RATE,
        initial_accumulator = -1.0 => RATE, epsilon = inf => RATE, weight_decay = nan => RATE, l1 = -1.0 => RATE);
    refused!(RmsProp, "rmsprop": learning_rate = inf => RATE, alpha = 1.5 => "from 0 to 1", epsilon = -1.0 => RATE,
        momentum = nan => RATE, weight_decay = inf => RATE, l1 = nan => RATE);
    refused!(Adadelta, "adadelta": learning_rate = inf => RATE, rho = nan => "from 0 to 1", epsilon = nan => RATE,
        weight_decay = -1.0 => RATE, l1 = -1.0 => RATE);
    refused!(Adam, "adam": learning_rate = nan => RATE, beta1 = -0.1 => DECAY, beta2 = 1.0 => DECAY,
        epsilon = -1e-8 => RATE, weight_decay = inf => RATE, l1 = nan => RATE);
    refused!(AdamW, "adamw": learning_rate = nan => RATE, beta1 = 1.0 => DECAY, beta2 = nan => DECAY,
        epsilon = inf => RATE, weight_decay = -0.1 => RATE, l1 = nan => RATE);
    refused!(Adamax, "adamax": learning_rate = nan => RATE, beta1 = 1.0 => DECAY, beta2 = nan => DECAY,
        epsilon = inf => RATE, weight_decay = -0.1 => RATE, l1 = nan => RATE);
    refused!(NAdam, "nadam": learning_rate = nan => RATE, beta1 = 1.0 => DECAY, beta2 = nan => DECAY,
        epsilon = inf => RATE, weight_decay = -0.1 => RATE, l1 = nan => RATE, momentum_decay = -1.0 => RATE);
    refused!(RAdam, "radam": learning_rate = nan => RATE, beta1 = 1.0 => DECAY, beta2 = nan => DECAY,
        epsilon = inf => RATE, weight_decay = -0.1 => RATE, l1 = nan => RATE);
    refused!(Lion, "lion": learning_rate = nan => RATE, beta1 = 1.0 => DECAY, beta2 = -1.0 => DECAY,
        weight_decay = inf => RATE, l1 = -1.0 => RATE);
}

#[test]
fn momentum_says_what_it_needs() {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let error = text(Sgd { momentum: -0.5, ..momentum }.step(1));
    assert_eq!(error, "momentum: momentum: expected a finite number, at least 0, got -0.5");
    let error = text(Sgd { dampening: f64::NAN, ..momentum }.step(1));
    assert_eq!(error, "momentum: dampening: expected a finite number, got NaN");
    let error = text(Sgd { nesterov: true, dampening: 0.1, ..momentum }.step(1));
    let expected =
        "momentum: nesterov: expected a momentum above 0 and no dampening, got momentum 0.9, dampening 0.1";
    assert_eq!(error, expected);
    assert!(text(Sgd { nesterov: true, ..Sgd::default() }.step(1)).contains("momentum 0, dampening 0"));
}

#[test]
fn steps_refuse_what_they_cannot_run() {
    let context = Context::new(Isa::Portable).unwrap();
    let step = Sgd { momentum: 0.9, ..Sgd::default() }.step(1).unwrap();
    let error = text(sgd(&context, &step, &mut [0.0_f32; 4], &[0.0; 4]));
    assert_eq!(error, "sgd: momentum: expected 0: `momentum` takes the velocity that it needs, got 0.9");
    let step = AdamW { amsgrad: true, ..AdamW::default() }.step(1).unwrap();
    let error = text(adam(&context, &step, &mut [0.0_f32; 2], &[0.0; 2], &mut [0.0; 2], &mut [0.0; 2]));
    assert_eq!(error, "adamw: amsgrad: expected false: `amsgrad` takes the array that it needs, got true");
    let step = RmsProp::default().step(1).unwrap();
    let error =
        text(rmsprop(&context, &step, &mut [0.0_f32; 2], &[0.0; 2], &mut [0.0; 2], &mut [0.0; 2], &mut []));
    assert_eq!(error, "rmsprop: velocity: expected no elements: the options do not use it, got 2");
    let error =
        text(rmsprop(&context, &step, &mut [0.0_f32; 2], &[0.0; 2], &mut [0.0; 2], &mut [], &mut [0.0; 1]));
    assert_eq!(error, "rmsprop: mean: expected no elements: the options do not use it, got 1");

    let step = Adam::default().step(1).unwrap();
    let error = text(step.gradient_scale(-1.0));
    assert_eq!(error, "adam: gradient_scale: expected a finite number, at least 0, got -1");
    assert!(step.gradient_scale(f64::NAN).is_err() && step.gradient_scale(f64::INFINITY).is_err());
    assert_eq!(text(step.clip_value(0.0)), "adam: clip_value: expected above 0, got 0");
    assert!(step.clip_value(f64::NAN).is_err());
    step.clip_value(f64::INFINITY).unwrap();
}

/// Each array in turn is an element too long, or empty.
#[test]
fn every_array_has_the_length_of_the_gradients() {
    let context = Context::new(Isa::Portable).unwrap();
    let g = [0.5_f32; 4];
    for wrong in [0, 3, 5] {
        for (name, at) in [("parameters", 0), ("a", 1), ("b", 2), ("c", 3)] {
            let arrays =
                || -> [Vec<f32>; 4] { std::array::from_fn(|i| vec![0.25; if i == at { wrong } else { 4 }]) };
            let refuse = |operation: &str, names: [&str; 3], result: Result<bool>| {
                let name = if at == 0 { name } else { names[at - 1] };
                if name.is_empty() {
                    return result.map(drop).unwrap();
                }
                let expected =
                    format!("{operation}: {name}: expected 4 elements, as in the gradients, got {wrong}");
                assert_eq!(text(result), expected);
            };
            let [mut p, mut a, mut b, mut c] = arrays();
            let plain = Sgd::default().step(1).unwrap();
            refuse("sgd", ["", "", ""], sgd(&context, &plain, &mut p, &g));
            let step = Sgd { momentum: 0.9, ..Sgd::default() }.step(1).unwrap();
            refuse("momentum", ["velocity", "", ""], momentum(&context, &step, &mut p, &g, &mut a));
            let step = Adagrad::default().step(1).unwrap();
            refuse("adagrad", ["sum", "", ""], adagrad(&context, &step, &mut p, &g, &mut a));
            let step = RmsProp { centered: true, momentum: 0.5, ..RmsProp::default() }.step(1).unwrap();
            let result = rmsprop(&context, &step, &mut p, &g, &mut a, &mut b, &mut c);
            refuse("rmsprop", ["square", "velocity", "mean"], result);
            let step = Adadelta::default().step(1).unwrap();
            let result = adadelta(&context, &step, &mut p, &g, &mut a, &mut b);
            refuse("adadelta", ["square", "change", ""], result);
            let step = Adam::default().step(1).unwrap();
            let names = ["first_moment", "second_moment", "largest"];
            refuse("adam", [names[0], names[1], ""], adam(&context, &step, &mut p, &g, &mut a, &mut b));
            let step = Adam { amsgrad: true, ..Adam::default() }.step(1).unwrap();
            refuse("adam", names, amsgrad(&context, &step, &mut p, &g, &mut a, &mut b, &mut c));
            let step = Adamax::default().step(1).unwrap();
            refuse("adamax", ["mean", "norm", ""], adamax(&context, &step, &mut p, &g, &mut a, &mut b));
            let step = NAdam::default().step(1).unwrap();
            refuse("nadam", [names[0], names[1], ""], nadam(&context, &step, &mut p, &g, &mut a, &mut b));
            let step = Lion::default().step(1).unwrap();
            refuse("lion", ["mean", "", ""], lion(&context, &step, &mut p, &g, &mut a));
        }
    }
}
