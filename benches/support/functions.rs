//! Every f32 function of one number that the crate has, by the name under which its largest error is stated.
//!
//! One list for the exhaustive runs, for `tests/elementwise_subset.rs` and for the table of `benches/elementwise.rs`.
//! Whoever includes this file has the crate as `library` beside it.

use super::library::kernel::activation::{self, Activation};
use super::library::kernel::{ACCURACY, Accuracy, math};
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
    /// `activation::backward`, from what is saved.
    Derivative(Activation),
}

/// A function, and the name under which its largest error is stated.
#[derive(Clone)]
pub struct Function {
    /// For example `exp`, `relu`, `tanh_derivative`.
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
            Kind::Derivative(activation) => activation::backward(context, activation, input, ones, output),
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

const MATH: [(&str, Kind, Kind); 12] = math! {
    exp, exp_backward;
    exp_m1, exp_m1_backward;
    ln, ln_backward;
    ln_1p, ln_1p_backward;
    sigmoid, sigmoid_backward;
    tanh, tanh_backward;
    erf, erf_backward;
    sqrt, sqrt_backward;
    rsqrt, rsqrt_backward;
    sin, sin_backward;
    cos, cos_backward;
    normal_cdf, normal_cdf_backward;
};

/// Powers with one number for all: functions of the other.
macro_rules! powers {
    ($($name:literal, |$context:ident, $x:ident, $y:ident| $call:expr;)*) => {
        [$(($name, {
            fn power<T: Float>($context: &Context, $x: &[T], $y: &mut [T]) -> Result<()> {
                $call
            }
            Kind::Math(power::<f32>, power::<f64>)
        }),)*]
    };
}

const POWERS: [(&str, Kind); 5] = powers! {
    "x^0.75", |context, x, y| math::pow_scalar(context, x, T::from_f64(0.75), y);
    "x^-0.5", |context, x, y| math::pow_scalar(context, x, T::from_f64(-0.5), y);
    "x^3", |context, x, y| math::pow_scalar(context, x, T::from_f64(3.0), y);
    "0.9990234375^x", |context, x, y| to_the(context, 0.999_023_437_5, x, y);
    "10000^x", |context, x, y| to_the(context, 10_000.0, x, y);
};

/// `y[i] = base^x[i]`.
fn to_the<T: Float>(context: &Context, base: f64, x: &[T], y: &mut [T]) -> Result<()> {
    let bases = [T::from_f64(base); 256];
    for (x, y) in x.chunks(bases.len()).zip(y.chunks_mut(bases.len())) {
        math::pow(context, &bases[..x.len()], x, y)?;
    }
    Ok(())
}

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
        add(format!("{name}_derivative"), derivative);
    }
    for (name, function) in POWERS {
        add(name.to_owned(), function);
    }
    for activation in Activation::ALL {
        add(activation.name().to_owned(), Kind::Forward(activation));
        add(format!("{}_derivative", activation.name()), Kind::Derivative(activation));
    }
    functions
}

/// What the documentation states of a function's error, by the crate's table.
pub fn stated(name: &str) -> Option<Accuracy> {
    // The powers of one number are all `pow`.
    let name = if POWERS.iter().any(|power| power.0 == name) { "pow" } else { name };
    ACCURACY.iter().find(|accuracy| accuracy.name == name).copied()
}
