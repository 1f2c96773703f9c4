//! Options that every optimiser has: each is a change of the gradient, which can be made by hand.

use crate::cases::{Case, Rule, cases, sizes, values};
use crate::common::contexts;
use gemmule::Context;
use gemmule::kernel::update::*;

/// The rule with other options, whichever it is.
macro_rules! with {
    ($rule:expr, $($field:ident: $value:expr),+) => {
        match $rule {
            Rule::Sgd(o) => Rule::Sgd(Sgd { $($field: $value,)+ ..o }),
            Rule::Adagrad(o) => Rule::Adagrad(Adagrad { $($field: $value,)+ ..o }),
            Rule::RmsProp(o) => Rule::RmsProp(RmsProp { $($field: $value,)+ ..o }),
            Rule::Adadelta(o) => Rule::Adadelta(Adadelta { $($field: $value,)+ ..o }),
            Rule::Adam(o) => Rule::Adam(Adam { $($field: $value,)+ ..o }),
            Rule::AdamW(o) => Rule::AdamW(AdamW { $($field: $value,)+ ..o }),
            Rule::Adamax(o) => Rule::Adamax(Adamax { $($field: $value,)+ ..o }),
            Rule::NAdam(o) => Rule::NAdam(NAdam { $($field: $value,)+ ..o }),
            Rule::RAdam(o) => Rule::RAdam(RAdam { $($field: $value,)+ ..o }),
            Rule::Lion(o) => Rule::Lion(Lion { $($field: $value,)+ ..o }),
        }
    };
}

/// Step 3 of a rule from a fixed state.
fn step(context: &Context, rule: Rule, gradients: &[f32]) -> [Vec<f32>; 4] {
    let count = gradients.len();
    let mut state = [values(0, count), sizes(1, count), sizes(2, count), sizes(3, count)];
    let case = Case { name: "", rule, clip: Clip::Off };
    assert!(case.step_all(context, 3, &mut state, gradients).unwrap(), "{rule:?}");
    state
}

#[test]
fn l1_adds_its_share_with_the_sign_of_the_parameter() {
    let (p, g) = (values::<f32>(0, 50), values::<f32>(4, 50));
    let moved: Vec<f32> = g.iter().zip(&p).map(|(g, p)| g + 0.03 * p.signum()).collect();
    for context in contexts() {
        for case in cases() {
            let rule = with!(case.rule, weight_decay: 0.0, maximize: false);
            let penalised = step(&context, with!(rule, l1: f64::from(0.03_f32)), &g);
            assert_eq!(
                penalised,
                step(&context, with!(rule, l1: 0.0), &moved),
                "{} {}",
                case.name,
                context.isa()
            );
        }
    }
}

#[test]
fn to_maximise_is_to_minimise_the_opposite() {
    let g = values::<f32>(4, 50);
    let opposite: Vec<f32> = g.iter().map(|g| -g).collect();
    for context in contexts() {
        for case in cases() {
            let maximised = step(&context, with!(case.rule, maximize: true), &g);
            let minimised = step(&context, with!(case.rule, maximize: false), &opposite);
            assert_eq!(maximised, minimised, "{} {}", case.name, context.isa());
        }
    }
}
