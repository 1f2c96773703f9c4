//! The configurations of golden/updates.py, and their inputs.

use gemmule::kernel::update::*;
use gemmule::{Context, Element, Result};

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

pub fn values<T: Element>(stream: u32, count: usize) -> Vec<T> {
    (0..count as u32).map(|i| T::from_f64(value(stream, i))).collect()
}

/// Without their signs: state that may stand for squares.
pub fn sizes<T: Element>(stream: u32, count: usize) -> Vec<T> {
    values::<T>(stream, count).into_iter().map(T::abs).collect()
}

/// An optimiser; AMSGrad and decoupled decay make their own.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Sgd(Sgd),
    Adagrad(Adagrad),
    RmsProp(RmsProp),
    Adadelta(Adadelta),
    Adam(Adam),
    AdamW(AdamW),
    Adamax(Adamax),
    NAdam(NAdam),
    RAdam(RAdam),
    Lion(Lion),
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub rule: Rule,
    pub clip: Clip,
}

/// Parameters and the most state arrays there are.
pub type State<T> = [Vec<T>; 4];

/// Parameters from the formula's stream 0, and zeros.
pub fn start<T: Element>(count: usize) -> State<T> {
    [values(0, count), vec![T::zero(); count], vec![T::zero(); count], vec![T::zero(); count]]
}

/// The step with the gradients bounded.
fn bounded<R, T: Element>(step: Step<R>, context: &Context, clip: Clip, g: &[T]) -> Result<Step<R>> {
    match clip {
        Clip::Value(limit) => step.clip_value(limit),
        Clip::Norm(limit) => step.gradient_scale(norm_scale(norm(context, &[g]), limit)),
        _ => Ok(step),
    }
}

impl Case {
    /// Step `number`, counted from 1. Only the arrays that the rule uses are touched.
    pub fn step<T: Element>(
        &self,
        context: &Context,
        number: u32,
        [p, a, b, c]: [&mut [T]; 4],
        g: &[T],
    ) -> Result<bool> {
        let number = u64::from(number);
        macro_rules! step {
            ($options:expr) => {
                &bounded($options.step(number)?, context, self.clip, g)?
            };
        }
        let empty = &mut [][..];
        match self.rule {
            Rule::Sgd(o) if o.momentum == 0.0 => sgd(context, step!(o), p, g),
            Rule::Sgd(o) => momentum(context, step!(o), p, g, a),
            Rule::Adagrad(o) => adagrad(context, step!(o), p, g, a),
            Rule::RmsProp(o) => {
                let b = if o.momentum == 0.0 { &mut [] } else { b };
                rmsprop(context, step!(o), p, g, a, b, if o.centered { c } else { empty })
            }
            Rule::Adadelta(o) => adadelta(context, step!(o), p, g, a, b),
            Rule::Adam(o) if o.amsgrad => amsgrad(context, step!(o), p, g, a, b, c),
            Rule::Adam(o) => adam(context, step!(o), p, g, a, b),
            Rule::AdamW(o) if o.amsgrad => amsgrad(context, step!(o), p, g, a, b, c),
            Rule::AdamW(o) => adam(context, step!(o), p, g, a, b),
            Rule::Adamax(o) => adamax(context, step!(o), p, g, a, b),
            Rule::NAdam(o) => nadam(context, step!(o), p, g, a, b),
            Rule::RAdam(o) => adam(context, step!(o), p, g, a, b),
            Rule::Lion(o) => lion(context, step!(o), p, g, a),
        }
    }

    /// As [`step`](Self::step), on whole arrays.
    pub fn step_all<T: Element>(
        &self,
        context: &Context,
        number: u32,
        state: &mut State<T>,
        g: &[T],
    ) -> Result<bool> {
        self.step(context, number, state.each_mut().map(|array| &mut array[..]), g)
    }

    /// `steps` steps from the formula's values.
    pub fn run<T: Element>(&self, context: &Context, count: usize, steps: u32) -> State<T> {
        let mut state = start(count);
        for i in 1..=steps {
            assert!(self.step_all(context, i, &mut state, &values(i, count)).unwrap(), "{}", self.name);
        }
        state
    }
}

/// In the order of golden/updates.py.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    let (sgd, adam, adamw) = (Sgd::default(), Adam::default(), AdamW::default());
    let (adagrad, rmsprop, adadelta) = (Adagrad::default(), RmsProp::default(), Adadelta::default());
    let (adamax, nadam, radam, lion) = (Adamax::default(), NAdam::default(), RAdam::default(), Lion::default());
    let sgd = Sgd { learning_rate: 0.1, ..sgd };
    let clipped = Adam { learning_rate: 0.01, beta1: 0.5, beta2: 0.9, ..adam };
    let rules = [
        ("sgd", Rule::Sgd(sgd)),
        ("sgd_decay", Rule::Sgd(Sgd { weight_decay: 0.01, ..sgd })),
        ("sgd_maximize", Rule::Sgd(Sgd { weight_decay: 0.01, maximize: true, ..sgd })),
        ("sgd_l1", Rule::Sgd(Sgd { weight_decay: 0.01, l1: 0.03, ..sgd })),
        ("sgd_decoupled",
            Rule::Sgd(Sgd { momentum: 0.5, weight_decay: 0.02, decoupled_weight_decay: true, ..sgd })),
        ("momentum", Rule::Sgd(Sgd { learning_rate: 0.05, momentum: 0.9, ..sgd })),
        ("dampening",
            Rule::Sgd(Sgd { learning_rate: 0.05, momentum: 0.8, dampening: 0.3, weight_decay: 0.01, ..sgd })),
        ("nesterov",
            Rule::Sgd(Sgd { learning_rate: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.001, ..sgd })),
        ("adagrad", Rule::Adagrad(adagrad)),
        ("adagrad_all", Rule::Adagrad(Adagrad {
            learning_rate: 0.1, learning_rate_decay: 0.01, weight_decay: 0.01, initial_accumulator: 0.1,
            epsilon: 1e-6, ..adagrad
        })),
        ("adagrad_maximize", Rule::Adagrad(Adagrad { maximize: true, ..adagrad })),
        ("rmsprop", Rule::RmsProp(rmsprop)),
        ("rmsprop_momentum", Rule::RmsProp(RmsProp { learning_rate: 1e-3, momentum: 0.9, ..rmsprop })),
        ("rmsprop_centered", Rule::RmsProp(RmsProp { learning_rate: 1e-3, centered: true, ..rmsprop })),
        ("rmsprop_all", Rule::RmsProp(RmsProp {
            learning_rate: 1e-3, alpha: 0.9, epsilon: 1e-4, weight_decay: 0.01, momentum: 0.8, centered: true,
            ..rmsprop
        })),
        ("rmsprop_maximize", Rule::RmsProp(RmsProp { maximize: true, ..rmsprop })),
        ("adadelta", Rule::Adadelta(adadelta)),
        ("adadelta_all", Rule::Adadelta(Adadelta {
            learning_rate: 0.5, rho: 0.8, epsilon: 1e-4, weight_decay: 0.01, maximize: true, ..adadelta
        })),
        ("adam", Rule::Adam(adam)),
        ("adam_decay", Rule::Adam(Adam {
            learning_rate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.01, ..adam
        })),
        ("adam_amsgrad", Rule::Adam(Adam { learning_rate: 0.01, beta2: 0.8, amsgrad: true, ..adam })),
        ("adam_maximize", Rule::Adam(Adam { maximize: true, ..adam })),
        ("adam_clip_norm", Rule::Adam(clipped)),
        ("adam_clip_value", Rule::Adam(clipped)),
        ("adamw", Rule::AdamW(adamw)),
        ("adamw_all", Rule::AdamW(AdamW {
            learning_rate: 0.01, beta1: 0.8, beta2: 0.9, epsilon: 1e-6, weight_decay: 0.1, amsgrad: true,
            maximize: true, ..adamw
        })),
        ("adamax", Rule::Adamax(adamax)),
        ("adamax_all", Rule::Adamax(Adamax {
            learning_rate: 0.01, beta1: 0.8, beta2: 0.9, epsilon: 1e-4, weight_decay: 0.01, maximize: true, ..adamax
        })),
        ("nadam", Rule::NAdam(nadam)),
        ("nadam_all", Rule::NAdam(NAdam {
            learning_rate: 0.01, beta1: 0.8, beta2: 0.9, epsilon: 1e-6, weight_decay: 0.01, momentum_decay: 0.1,
            maximize: true, ..nadam
        })),
        ("nadam_decoupled",
            Rule::NAdam(NAdam { weight_decay: 0.1, decoupled_weight_decay: true, ..nadam })),
        ("radam", Rule::RAdam(radam)),
        ("radam_all", Rule::RAdam(RAdam {
            learning_rate: 0.01, beta1: 0.8, beta2: 0.9, epsilon: 1e-4, weight_decay: 0.01, maximize: true, ..radam
        })),
        ("radam_decoupled",
            Rule::RAdam(RAdam { weight_decay: 0.1, decoupled_weight_decay: true, ..radam })),
        ("lion", Rule::Lion(lion)),
        ("lion_decay",
            Rule::Lion(Lion { learning_rate: 0.01, beta1: 0.8, beta2: 0.9, weight_decay: 0.1, ..lion })),
    ];
    let clip = |name| match name {
        "adam_clip_norm" => Clip::Norm(1.1),
        "adam_clip_value" => Clip::Value(0.3),
        _ => Clip::Off,
    };
    rules.into_iter().map(|(name, rule)| Case { name, rule, clip: clip(name) }).collect()
}
