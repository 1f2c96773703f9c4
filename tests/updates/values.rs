//! A hundred steps against PyTorch, and against f64.

use crate::cases::{Rule, cases, start, values};
use crate::common::contexts;
use gemmule::kernel::reference;
use gemmule::{Context, Element, Isa};

const STEPS: u32 = 100;

/// `|x - y| <= tolerance * (1 + |y|)`: the parameters are of size one.
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

/// After 100 steps the errors are those of some hundred roundings: measured, at most 12 epsilon. In f64 that is 3e-15.
fn tolerance<T: Element>() -> f64 {
    12.0 * Element::to_f64(T::epsilon())
}

/// All cases on all instruction sets against lines of a golden file.
#[test]
fn a_hundred_steps_follow_pytorch() {
    let lines: Vec<_> =
        include_str!("../golden/updates.csv").lines().filter(|line| !line.starts_with('#')).collect();
    let cases = cases();
    assert_eq!(lines.len(), 2 * cases.len());
    for (case, lines) in cases.iter().zip(lines.chunks(2)) {
        for (line, kind) in lines.iter().zip(["f32", "f64"]) {
            let mut fields = line.split(',');
            assert_eq!(
                (fields.next(), fields.next()),
                (Some(case.name), Some(kind)),
                "the order of the cases"
            );
            let golden: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
            assert_eq!(golden.len(), 16);
            for context in contexts() {
                let what = format!("{} {kind} {}", case.name, context.isa());
                if kind == "f32" {
                    let [p, ..] = case.run::<f32>(&context, 16, STEPS);
                    assert_close(&p, &golden, tolerance::<f32>(), &what);
                } else {
                    let [p, ..] = case.run::<f64>(&context, 16, STEPS);
                    assert_close(&p, &golden, tolerance::<f64>(), &what);
                }
            }
        }
    }
}

/// PyTorch vouches for 16 f64 parameters; here f32 follows f64 in parameters and state, over whole vectors and a tail.
#[test]
fn f32_follows_f64() {
    let exact = Context::new(Isa::Portable).unwrap();
    for case in cases() {
        let exact = case.run::<f64>(&exact, 53, STEPS);
        for context in contexts() {
            let ours = case.run::<f32>(&context, 53, STEPS);
            for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                let what = format!("{} {} array {i}", case.name, context.isa());
                assert_close(ours, exact, tolerance::<f32>(), &what);
            }
        }
    }
}

/// Three rules have a twin that shares no code.
#[test]
fn a_hundred_steps_follow_the_f64_twin() {
    for case in cases() {
        let twin = |i: u32, [p, a, b]: [&mut f64; 3], g: f64| match case.rule {
            Rule::Sgd(o) if o.momentum == 0.0 => reference::sgd(o.learning_rate, o.weight_decay, p, g),
            Rule::Sgd(o) => {
                let twin = reference::Momentum {
                    learning_rate: o.learning_rate,
                    momentum: o.momentum,
                    dampening: o.dampening,
                    nesterov: o.nesterov,
                    weight_decay: o.weight_decay,
                };
                reference::momentum(twin, p, g, a, i == 1);
            }
            Rule::Adam(o) => {
                let twin = reference::Adam {
                    learning_rate: o.learning_rate,
                    beta1: o.beta1,
                    beta2: o.beta2,
                    epsilon: o.epsilon,
                    weight_decay: o.weight_decay,
                };
                reference::adam(twin, u64::from(i), p, g, a, b);
            }
            _ => unreachable!(),
        };
        if !["sgd", "sgd_decay", "momentum", "dampening", "nesterov", "adam", "adam_decay"]
            .contains(&case.name)
        {
            continue;
        }
        let mut exact = start::<f64>(53);
        for i in 1..=STEPS {
            let [p, a, b, _] = &mut exact;
            for (j, g) in values::<f64>(i, 53).into_iter().enumerate() {
                twin(i, [&mut p[j], &mut a[j], &mut b[j]], g);
            }
        }
        for context in contexts() {
            let ours = case.run::<f64>(&context, 53, STEPS);
            for (ours, exact) in ours.iter().zip(&exact) {
                assert_close(ours, exact, tolerance::<f64>(), case.name);
            }
        }
    }
}
