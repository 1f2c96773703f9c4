//! Every f32 function of one number that the crate has, by the name under which its largest error is stated.
//!
//! One list for the exhaustive runs, for `tests/elementwise_subset.rs` and for the table of `benches/elementwise.rs`.
//! Whoever includes this file has the crate as `library` beside it.

use super::library::kernel::activation::{self, Activation};
use super::library::kernel::math;
use super::library::{Context, Element, Result};

/// A function on slices.
pub type Slices<T> = fn(&Context, &[T], &mut [T]) -> Result<()>;

/// A derivative: saved input or output, gradient, result.
pub type Backward<T> = fn(&Context, &[T], &[T], &mut [T]) -> Result<()>;

/// Which kernel. Derivatives are of a gradient of ones.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of `kernel::math`, for f32 and f64.
    Math(Slices<f32>, Slices<f64>),
    /// The derivative of one of `kernel::math`.
    MathDerivative(Backward<f32>, Backward<f64>),
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
    pub fn run<T: Float>(&self, context: &Context, input: &[T], ones: &[T], output: &mut [T]) {
        let ones = &ones[..input.len()];
        let done = match self.kind {
            Kind::Math(f32, f64) => T::choose(f32, f64)(context, input, output),
            Kind::MathDerivative(f32, f64) => T::choose_backward(f32, f64)(context, input, ones, output),
            Kind::Forward(activation) => activation::forward(context, activation, input, output),
            Kind::FromOutput(activation) => activation::backward(context, activation, input, ones, output),
        };
        done.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

/// f32, which this is about, or f64, to compare with.
pub trait Float: Element {
    /// The one of its own.
    fn choose(f32: Slices<f32>, f64: Slices<f64>) -> Slices<Self>;
    /// The same for derivatives.
    fn choose_backward(f32: Backward<f32>, f64: Backward<f64>) -> Backward<Self>;
}

impl Float for f32 {
    fn choose(f32: Slices<f32>, _: Slices<f64>) -> Slices<f32> {
        f32
    }
    fn choose_backward(f32: Backward<f32>, _: Backward<f64>) -> Backward<f32> {
        f32
    }
}

impl Float for f64 {
    fn choose(_: Slices<f32>, f64: Slices<f64>) -> Slices<f64> {
        f64
    }
    fn choose_backward(_: Backward<f32>, f64: Backward<f64>) -> Backward<f64> {
        f64
    }
}

/// Name, function and derivative of what `kernel::math` has.
macro_rules! math {
    ($($name:ident, $backward:ident;)*) => {
        [$((stringify!($name), Kind::Math(math::$name, math::$name), Kind::MathDerivative(math::$backward, math::$backward)),)*]
    };
}

const MATH: [(&str, Kind, Kind); 9] = math! {
    exp, exp_backward;
    exp_m1, exp_m1_backward;
    ln, ln_backward;
    ln_1p, ln_1p_backward;
    sigmoid, sigmoid_backward;
    tanh, tanh_backward;
    erf, erf_backward;
    sqrt, sqrt_backward;
    rsqrt, rsqrt_backward;
};

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
    for (name, function, derivative) in MATH {
        add(name.to_owned(), function);
        add(format!("{name} derivative"), derivative);
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
