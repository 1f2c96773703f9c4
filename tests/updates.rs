//! Optimiser updates: against the f64 twins, against PyTorch, in every length, and the same bits everywhere.

mod common;

use common::contexts;
use gemmule::kernel::reference;
use gemmule::kernel::update::{AdamStep, MomentumStep, SgdStep, adam, momentum, sgd};
use gemmule::{Context, Element, Isa, Result};

/// The values of golden/updates.py: multiples of 2^-24 in [-0.5, 0.5).
fn value(stream: u32, index: u32) -> f64 {
    let mixed = index
        .wrapping_mul(2_654_435_761)
        .wrapping_add(stream.wrapping_mul(2_246_822_519))
        .wrapping_add(374_761_393);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    let mixed = mixed ^ (mixed >> 13);
    f64::from(mixed >> 8) / 16_777_216.0 - 0.5
}

fn values<T: Element>(stream: u32, count: usize) -> Vec<T> {
    (0..count as u32).map(|i| T::from_f64(value(stream, i))).collect()
}

fn bits<T: Element>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.bits()).collect()
}

/// The configurations of golden/updates.py.
const NAMES: [&str; 7] = ["sgd", "sgd_decay", "momentum", "dampening", "nesterov", "adam", "adam_decay"];
const STEPS: u32 = 100;

const DAMPENING: reference::Momentum = reference::Momentum {
    learning_rate: 0.05,
    momentum: 0.8,
    dampening: 0.3,
    nesterov: false,
    weight_decay: 0.01,
};
const MOMENTUM: reference::Momentum =
    reference::Momentum { momentum: 0.9, dampening: 0.0, weight_decay: 0.0, ..DAMPENING };
const NESTEROV: reference::Momentum = reference::Momentum { nesterov: true, weight_decay: 0.001, ..MOMENTUM };
const ADAM: reference::Adam =
    reference::Adam { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
const ADAM_DECAY: reference::Adam =
    reference::Adam { learning_rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.01 };

/// One step of the configuration `name`; `step` counts from 1.
fn step<T: Element>(
    context: &Context,
    name: &str,
    step: u32,
    state: &mut [Vec<T>; 3],
    g: &[T],
) -> Result<bool> {
    let [p, first, second] = state;
    let momentum_step = |m: reference::Momentum| {
        MomentumStep::new(m.learning_rate, m.momentum, m.dampening, m.nesterov, m.weight_decay)
    };
    let adam_step = |a: reference::Adam| {
        AdamStep::new(a.learning_rate, a.beta1, a.beta2, a.epsilon, a.weight_decay, u64::from(step))
    };
    match name {
        "sgd" => sgd(context, &SgdStep::new(0.1, 0.0)?, p, g),
        "sgd_decay" => sgd(context, &SgdStep::new(0.1, 0.01)?, p, g),
        "momentum" => momentum(context, &momentum_step(MOMENTUM)?, p, g, first, step == 1),
        "dampening" => momentum(context, &momentum_step(DAMPENING)?, p, g, first, step == 1),
        "nesterov" => momentum(context, &momentum_step(NESTEROV)?, p, g, first, step == 1),
        "adam" => adam(context, &adam_step(ADAM)?, p, g, first, second),
        "adam_decay" => adam(context, &adam_step(ADAM_DECAY)?, p, g, first, second),
        _ => unreachable!("{name}"),
    }
}

fn reference_step(name: &str, step: u32, state: [&mut f64; 3], g: f64) {
    let [p, first, second] = state;
    match name {
        "sgd" => reference::sgd(0.1, 0.0, p, g),
        "sgd_decay" => reference::sgd(0.1, 0.01, p, g),
        "momentum" => reference::momentum(MOMENTUM, p, g, first, step == 1),
        "dampening" => reference::momentum(DAMPENING, p, g, first, step == 1),
        "nesterov" => reference::momentum(NESTEROV, p, g, first, step == 1),
        "adam" => reference::adam(ADAM, u64::from(step), p, g, first, second),
        "adam_decay" => reference::adam(ADAM_DECAY, u64::from(step), p, g, first, second),
        _ => unreachable!("{name}"),
    }
}

/// 100 steps from the formula's values.
fn run<T: Element>(context: &Context, name: &str, count: usize) -> [Vec<T>; 3] {
    let mut state = [values(0, count), vec![T::zero(); count], vec![T::zero(); count]];
    for i in 1..=STEPS {
        assert!(step(context, name, i, &mut state, &values(i, count)).unwrap());
    }
    state
}

fn run_reference(name: &str, count: usize) -> [Vec<f64>; 3] {
    let mut state: [Vec<f64>; 3] = [values(0, count), vec![0.0; count], vec![0.0; count]];
    for i in 1..=STEPS {
        let [p, first, second] = &mut state;
        for (j, g) in values::<f64>(i, count).into_iter().enumerate() {
            reference_step(name, i, [&mut p[j], &mut first[j], &mut second[j]], g);
        }
    }
    state
}

/// `|x - y| <= tolerance * (1 + |y|)`: the parameters are of size one, so this is 2^-24 in f32 per step and more.
fn assert_close<T: Element>(x: &[T], y: &[f64], tolerance: f64, what: &str) {
    assert_eq!(x.len(), y.len());
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let error = (Element::to_f64(*x) - y).abs();
        assert!(
            error <= tolerance * (1.0 + y.abs()),
            "{what}: element {i}: {x} against {y}, error {error:e}"
        );
    }
}

/// After 100 steps the errors are those of some hundred roundings: measured, between 6 and 12 epsilon.
fn tolerance<T: Element>() -> f64 {
    12.0 * Element::to_f64(T::epsilon())
}

fn against_the_twin<T: Element>() {
    for context in contexts() {
        for name in NAMES {
            let (ours, exact) = (run::<T>(&context, name, 53), run_reference(name, 53));
            for (ours, exact) in ours.iter().zip(&exact) {
                let what = format!("{name} {} {}", T::NAME, context.isa());
                assert_close(ours, exact, tolerance::<T>(), &what);
            }
        }
    }
}

#[test]
fn a_hundred_steps_follow_the_f64_twin() {
    against_the_twin::<f32>();
    against_the_twin::<f64>();
}

#[test]
fn a_hundred_steps_follow_pytorch() {
    let mut lines = 0;
    for line in include_str!("golden/updates.csv").lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(',');
        let (name, kind) = (fields.next().unwrap(), fields.next().unwrap());
        let golden: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
        assert_eq!(golden.len(), 16);
        for context in contexts() {
            let what = format!("{line:.20} {}", context.isa());
            match kind {
                "f32" => {
                    assert_close(&run::<f32>(&context, name, 16)[0], &golden, tolerance::<f32>(), &what);
                }
                "f64" => {
                    assert_close(&run::<f64>(&context, name, 16)[0], &golden, tolerance::<f64>(), &what);
                }
                _ => panic!("{line}"),
            }
        }
        lines += 1;
    }
    assert_eq!(lines, 2 * NAMES.len());
}

/// In every length an element moves as it would alone, nothing beyond the end is touched, and the bits are the
/// same on all instruction sets that fuse.
fn every_length<T: Element>() {
    const LONGEST: usize = 130;
    for name in NAMES {
        let mut whole: Option<Vec<Vec<u64>>> = None;
        for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
            let mut state = [values(0, LONGEST), values(1, LONGEST), vec![T::one(); LONGEST]];
            step(&context, name, 2, &mut state, &values(2, LONGEST)).unwrap();
            let ours: Vec<_> = state.iter().map(|array| bits(array)).collect();
            let expected = whole.get_or_insert_with(|| ours.clone());
            assert_eq!(*expected, ours, "{name} {}", context.isa());
        }
        let Some(whole) = whole else { continue };
        for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
            for length in 0..LONGEST {
                let mut state: [Vec<T>; 3] = [values(0, length), values(1, length), vec![T::one(); length]];
                assert!(step(&context, name, 2, &mut state, &values(2, length)).unwrap());
                for (ours, whole) in state.iter().zip(&whole) {
                    assert_eq!(bits(ours), whole[..length], "{name} {} {length}", context.isa());
                }
            }
        }
    }
}

#[test]
fn every_length_gives_the_same_bits() {
    every_length::<f32>();
    every_length::<f64>();
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_wherever_it_stands() {
    for context in contexts() {
        for length in [1, 7, 8, 16, 17, 33, 100] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in 0..length {
                    for name in NAMES {
                        let mut state = [values(0, length), values(1, length), vec![1.0; length]];
                        let mut gradients = values::<f32>(2, length);
                        // Large numbers are finite.
                        gradients[(place + 1) % length] = 1e15;
                        assert!(step(&context, name, 1, &mut state, &gradients).unwrap(), "{name}");
                        gradients[place] = bad;
                        assert!(!step(&context, name, 1, &mut state, &gradients).unwrap(), "{name} {place}");
                    }
                }
            }
        }
    }
}

/// A finite gradient, but a parameter that is not: the rate is infinite in f32, or 0 is divided by 0. What is past the
/// end of the arrays says nothing.
#[test]
fn a_parameter_that_is_not_finite_is_reported() {
    for context in contexts() {
        for length in [1, 15, 16, 17, 33] {
            let zeros = || vec![0.0_f32; length];
            let steep = SgdStep::new(1e39, 0.0).unwrap();
            assert!(!sgd(&context, &steep, &mut zeros(), &vec![1.0; length]).unwrap());
            let bare = AdamStep::new(1e-3, 0.9, 0.999, 0.0, 0.0, 1).unwrap();
            let adam_step = |gradients: &[f32]| {
                adam(&context, &bare, &mut zeros(), gradients, &mut zeros(), &mut zeros())
            };
            assert!(adam_step(&vec![1.0; length]).unwrap(), "{length}");
            let mut gradients = vec![1.0; length];
            gradients[length - 1] = 0.0;
            assert!(!adam_step(&gradients).unwrap(), "{length}");
        }
    }
}

#[test]
fn the_first_step_ignores_what_the_velocity_held() {
    for context in contexts() {
        let step = MomentumStep::new(0.5, 0.9, 0.0, false, 0.0).unwrap();
        let (mut p, mut v) = (vec![1.0_f32; 20], vec![f32::NAN; 20]);
        assert!(momentum(&context, &step, &mut p, &[0.5; 20], &mut v, true).unwrap());
        assert_eq!((p, v), (vec![0.75; 20], vec![0.5; 20]));
    }
}

#[test]
fn late_steps_have_no_bias() {
    // beta^step underflows to nothing, and the power of large exponents is quick.
    let late = AdamStep::new(1e-3, 0.9, 0.999, 1e-8, 0.0, u64::MAX).unwrap();
    let context = Context::new(Isa::Portable).unwrap();
    let (mut p, mut m, mut v) = ([1.0_f64], [0.5], [0.25]);
    adam(&context, &late, &mut p, &[0.5], &mut m, &mut v).unwrap();
    assert!((p[0] - (1.0 - 1e-3)).abs() < 1e-10, "{p:?}");
}

#[test]
fn bad_arguments_say_what_and_why() {
    let context = Context::new(Isa::Portable).unwrap();
    let text = |result: Result<bool>| result.unwrap_err().to_string();
    let plain = SgdStep::new(0.1, 0.0).unwrap();
    let error = text(sgd(&context, &plain, &mut [0.0_f32; 3], &[0.0; 4]));
    assert_eq!(error, "sgd: parameters: expected 4 elements, as in the gradients, got 3");
    let step = MomentumStep::new(0.1, 0.9, 0.0, true, 0.0).unwrap();
    let error = text(momentum(&context, &step, &mut [0.0_f32; 4], &[0.0; 4], &mut [0.0; 5], false));
    assert_eq!(error, "momentum: velocity: expected 4 elements, as in the gradients, got 5");
    let step = AdamStep::new(1e-3, 0.9, 0.999, 1e-8, 0.0, 1).unwrap();
    let error = text(adam(&context, &step, &mut [0.0_f32; 2], &[0.0; 2], &mut [0.0; 2], &mut [0.0; 1]));
    assert_eq!(error, "adam: second_moment: expected 2 elements, as in the gradients, got 1");

    let error = AdamStep::new(1e-3, 0.9, 0.999, 1e-8, 0.0, 0).unwrap_err().to_string();
    assert_eq!(error, "adam: step: expected at least 1, got 0");
    let error = AdamStep::new(1e-3, 0.9, 1.0, 1e-8, 0.0, 1).unwrap_err().to_string();
    assert_eq!(error, "adam: beta2: expected at least 0 and below 1, got 1");
    let error = SgdStep::new(f64::NAN, 0.0).unwrap_err().to_string();
    assert_eq!(error, "sgd: learning_rate: expected a finite number, at least 0, got NaN");
    assert!(SgdStep::new(0.1, -1.0).is_err());
    let error = MomentumStep::new(0.1, 0.9, 0.1, true, 0.0).unwrap_err().to_string();
    assert!(error.contains("nesterov") && error.contains("dampening 0.1"), "{error}");
}
