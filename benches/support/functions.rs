//! Every f32 function of one number that the crate has, by the name under which its largest error is stated.
//!
//! One list for the exhaustive runs, for `tests/elementwise_subset.rs` and for the table of `benches/elementwise.rs`.
//! Whoever includes this file has the crate as `library` beside it.

use super::library::kernel::activation::{self, Activation};
use super::library::kernel::math;
use super::library::{Context, Result};

/// A function on slices.
pub type Slices = fn(&Context, &[f32], &mut [f32]) -> Result<()>;

/// A derivative: saved input or output, gradient, result.
pub type Backward = fn(&Context, &[f32], &[f32], &mut [f32]) -> Result<()>;

/// Which kernel. Derivatives are of a gradient of ones.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of `kernel::math`.
    Math(Slices),
    /// The derivative of one of `kernel::math`.
    MathDerivative(Backward),
    /// `activation::forward`.
    Forward(Activation),
    /// `activation::backward`, from the saved output.
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
            Kind::MathDerivative(function) => function(context, input, &ones[..input.len()], output),
            Kind::Forward(activation) => activation::forward(context, activation, input, output),
            Kind::FromOutput(activation) => {
                activation::backward(context, activation, input, &ones[..input.len()], output)
            }
        };
        done.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

const MATH: [(&str, Slices, Backward); 9] = [
    ("exp", math::exp, math::exp_backward),
    ("exp_m1", math::exp_m1, math::exp_m1_backward),
    ("ln", math::ln, math::ln_backward),
    ("ln_1p", math::ln_1p, math::ln_1p_backward),
    ("sigmoid", math::sigmoid, math::sigmoid_backward),
    ("tanh", math::tanh, math::tanh_backward),
    ("erf", math::erf, math::erf_backward),
    ("sqrt", math::sqrt, math::sqrt_backward),
    ("rsqrt", math::rsqrt, math::rsqrt_backward),
];

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Exponential, Activation::Sigmoid, Activation::Tanh, Activation::Relu];

/// All of them.
pub fn all() -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    let mut add = |name: String, kind| {
        // Sigmoid and tanh stand in both modules: the activation's kernel is the function's.
        if functions.iter().all(|function| function.name != name) {
            functions.push(Function { name, kind });
        }
    };
    for (name, function, backward) in MATH {
        add(name.to_owned(), Kind::Math(function));
        add(format!("{name} derivative"), Kind::MathDerivative(backward));
    }
    for activation in ACTIVATIONS {
        add(activation.name().to_owned(), Kind::Forward(activation));
        add(format!("{activation} derivative"), Kind::FromOutput(activation));
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

/// All that is stated: by the crate's tables, and by the list below, of what they leave out.
pub fn stated() -> Vec<Stated> {
    let tables = math::ACCURACY.iter();
    let tables = tables.map(|row| Stated { name: row.name, fused: row.fused, portable: row.portable });
    let others = OTHERS.iter().map(|&(name, fused, portable)| Stated { name, fused, portable });
    tables.chain(others).collect()
}

// Derivatives of `kernel::math`: no figures, but the bound of all derivatives; two roundings more where they are not fused.
const OTHERS: [(&str, f64, f64); 15] = [
    ("exp derivative", 0.0, 0.0),
    ("exp_m1 derivative", 0.5, 0.5),
    ("ln derivative", 0.5, 0.5),
    ("ln_1p derivative", 2.0, 2.0),
    ("sigmoid derivative", 0.5, 2.0),
    ("tanh derivative", 0.5, 2.0),
    ("erf derivative", 2.0, 2.0),
    ("sqrt derivative", 0.5, 0.5),
    ("rsqrt derivative", 2.0, 2.0),
    ("identity", 0.0, 0.0),
    ("identity derivative", 0.0, 0.0),
    ("exponential", 0.91, 0.94),
    ("exponential derivative", 0.0, 0.0),
    ("relu", 0.0, 0.0),
    ("relu derivative", 0.0, 0.0),
];
