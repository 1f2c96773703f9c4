//! Every f32 function of one number that the crate has, by the name under which its largest error is stated.
//!
//! One list for the exhaustive runs, for `tests/elementwise_subset.rs` and for the table of `benches/elementwise.rs`.
//! Whoever includes this file has the crate as `library` beside it.

use super::library::kernel::activation::{self, Activation};
use super::library::kernel::math;
use super::library::{Context, Result};

/// A function on slices.
pub type Slices = fn(&Context, &[f32], &mut [f32]) -> Result<()>;

/// Which kernel.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of `kernel::math`.
    Math(Slices),
    /// `activation::forward`.
    Forward(Activation),
    /// `activation::backward` of a gradient of ones, from the saved output.
    FromOutput(Activation),
}

/// A function, and the name under which its largest error is stated.
#[derive(Clone)]
pub struct Function {
    /// For example `exp`, `relu`, `tanh derivative`.
    pub name: String,
    /// Which kernel.
    pub kind: Kind,
}

impl Function {
    /// `output[i] = f(input[i])`. `ones` holds as many ones.
    pub fn run(&self, context: &Context, input: &[f32], ones: &[f32], output: &mut [f32]) {
        let done = match self.kind {
            Kind::Math(function) => function(context, input, output),
            Kind::Forward(activation) => activation::forward(context, activation, input, output),
            Kind::FromOutput(activation) => {
                activation::backward(context, activation, input, &ones[..input.len()], output)
            }
        };
        done.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

const MATH: [(&str, Slices); 6] = [
    ("exp", math::exp),
    ("exp_m1", math::exp_m1),
    ("ln", math::ln),
    ("ln_1p", math::ln_1p),
    ("sigmoid", math::sigmoid),
    ("tanh", math::tanh),
];

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Exponential, Activation::Sigmoid, Activation::Tanh, Activation::Relu];

/// All of them.
pub fn all() -> Vec<Function> {
    let mut functions: Vec<Function> = MATH
        .iter()
        .map(|&(name, function)| Function { name: name.to_owned(), kind: Kind::Math(function) })
        .collect();
    // Sigmoid and tanh stand in both modules: the activation's kernel is the function's.
    for activation in ACTIVATIONS {
        if functions.iter().all(|function| function.name != activation.name()) {
            functions.push(Function { name: activation.name().to_owned(), kind: Kind::Forward(activation) });
        }
        let name = format!("{activation} derivative");
        functions.push(Function { name, kind: Kind::FromOutput(activation) });
    }
    functions
}

/// What the documentation states of a function's error: the largest, with fused multiply-add and on the portable tier.
pub struct Stated {
    /// The name in [`all`].
    pub name: &'static str,
    /// With fused multiply-add.
    pub fused: f64,
    /// On the portable tier.
    pub portable: f64,
}

/// All that is stated.
pub fn stated() -> Vec<Stated> {
    const fn row(name: &'static str, fused: f64, portable: f64) -> Stated {
        Stated { name, fused, portable }
    }
    vec![
        row("exp", 0.91, 0.94),
        row("exp_m1", 1.25, 1.34),
        row("ln", 0.90, 0.96),
        row("ln_1p", 0.98, 1.04),
        row("sigmoid", 0.94, 1.33),
        row("tanh", 1.34, 1.35),
        row("identity", 0.0, 0.0),
        row("identity derivative", 0.0, 0.0),
        row("exponential", 0.91, 0.94),
        row("exponential derivative", 0.0, 0.0),
        row("sigmoid derivative", 0.5, 1.0),
        row("tanh derivative", 0.5, 1.0),
        row("relu", 0.0, 0.0),
        row("relu derivative", 0.0, 0.0),
    ]
}
