//! Activation functions and their derivatives.
//!
//! A derivative is computed from the *output* y where that says all, so that a layer keeps one array, not two; where
//! several inputs have one output, from the *input* x: [`Activation::saved`] says which, and the argument is called `saved`.
//!
//! | activation | forward | saved | derivative |
//! | --- | --- | --- | --- |
//! | `identity` | x | output | 1 |
//! | `exponential` | [`exp`](super::math::exp) | output | y |
//! | `sigmoid` | [`sigmoid`](super::math::sigmoid) | output | y - y², rounded once |
//! | `tanh` | [`tanh`](super::math::tanh) | output | 1 - y², rounded once |
//! | `relu` | 0 if x < 0, else x | output | 1 if y > 0, else 0 |
//! | `leaky_relu(slope)` | slope x if x < 0, else x | output | 1 if y > 0, else slope |
//! | `relu6` | x between 0 and 6 | output | 1 if 0 < y < 6, else 0 |
//! | `elu(alpha)` | alpha (e^x - 1) if x < 0, else x | output | 1 if y > 0, else y + alpha |
//! | `selu` | s alpha (e^x - 1) if x < 0, else s x | output | s if y > 0, else y + s alpha |
//! | `celu(alpha)` | alpha (e^(x / alpha) - 1) if x < 0, else x | output | 1 if y > 0, else (y + alpha) / alpha |
//! | `softplus(beta)` | ln(1 + e^(beta x)) / beta | output | 1 - e^(-beta y) |
//! | `softsign` | x / (1 + abs x) | output | (1 - abs y)² |
//! | `hard_sigmoid` | (x + 3) / 6 between 0 and 1 | output | 1/6 if 0 < y < 1, else 0 |
//! | `hard_swish` | x hard_sigmoid(x) | input | x / 3 + 1/2 if -3 < x < 3, else 0 or 1 |
//! | `silu` | x sigmoid(x) | input | t = sigmoid(-a) (1 - a sigmoid(a)), a = abs x; 1 - t if x >= 0 |
//! | `gelu` | max(x, 0) - a Q(a), Q the normal distribution's upper tail | input | t = Q(a) - a phi(a); 1 - t if x >= 0 |
//! | `gelu_tanh` | x sigmoid(v), v = sqrt(8 / pi) (x + 0.044715 x³) | input | as silu, of v |
//! | `mish` | x w / (w + 2), w = e^x (e^x + 2) | input | e^x ((e^x + 2) + 4 x (1 + e^x) / d) / d, d = w + 2 |
//!
//! [`ACCURACY`](super::ACCURACY) states the largest errors.
//!
//! [`prelu`], whose slopes are learnt, and [`glu`], which halves a row, are functions of their own.
//!
//! NaN gives NaN: an input that is NaN an output, a saved number or a gradient that is NaN a gradient; but the derivative
//! of `identity` is 1, which depends on nothing saved. ReLU keeps the sign of zero. Tails keep their relative error down to
//! subnormal results: GELU at -6 is -5.9e-9, SiLU at -100 is -3.7e-42, and nothing is flushed. At -infinity GELU, SiLU,
//! Mish and hard swish are -0, their limit, where a product would be NaN; no finite number gives infinity but by
//! `exponential` and `selu`. A result depends on its own element alone, not on its place or the length.

pub(crate) mod curve;
mod double;
mod formulas;
mod glu;
mod kind;
mod prelu;
mod single;

pub use glu::{glu, glu_backward};
pub use kind::{Activation, Saved};
pub use prelu::{prelu, prelu_backward};

pub(crate) use formulas::Formulas;
pub(crate) use kind::Visitor;

use super::compiled::compiled;
use super::element::Element;
use super::gemm::epilogue::{Backward, Forward};
use super::math::{Map, Zip, check_length};
use super::share;
use crate::context::Context;
use crate::error::Result;

/// `output[i] = f(input[i])`.
///
/// ```
/// use gemmule::Context;
/// use gemmule::kernel::activation::{self, Activation};
///
/// let mut y = [0.0_f32; 3];
/// activation::forward(&Context::detect()?, Activation::Gelu, &[-6.0, 0.0, 1.0], &mut y)?;
/// assert_eq!(y[1], 0.0);
/// assert!((y[0] / -5.919_526e-9 - 1.0).abs() < 3e-7 && (y[2] / 0.841_344_77 - 1.0).abs() < 3e-7);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the slices differ in length; [`Error::Argument`](crate::Error::Argument) if the
/// activation's parameter is not finite or out of its range.
pub fn forward<T: Element>(
    context: &Context,
    activation: Activation,
    input: &[T],
    output: &mut [T],
) -> Result<()> {
    activation.check("activation::forward")?;
    check_length("activation::forward", "output", input.len(), output.len())?;
    if activation == Activation::Identity {
        output.copy_from_slice(input);
    } else {
        share::run_by(context, Map { operation: activation, input, output }, |piece| {
            T::run(context, Forward::new(activation, piece.input, piece.output));
        });
    }
    Ok(())
}

/// `data[i] = f(data[i])`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the activation's parameter is not finite or out of its range.
pub fn forward_in_place<T: Element>(context: &Context, activation: Activation, data: &mut [T]) -> Result<()> {
    activation.check("activation::forward_in_place")?;
    if activation != Activation::Identity {
        share::run_by(context, data, |data| T::run(context, Forward::in_place(activation, data)));
    }
    Ok(())
}

/// `d_input[i] = d_output[i] * f'`, the derivative computed from `saved[i]`: what [`forward`] gave or what it was given, as
/// [`Activation::saved`] says.
///
/// ```
/// use gemmule::Context;
/// use gemmule::kernel::activation::{self, Activation, Saved};
///
/// let (context, x) = (Context::detect()?, [-1.0_f64, 2.0]);
/// let (mut y, mut d) = ([0.0; 2], [0.0; 2]);
/// for activation in Activation::ALL {
///     activation::forward(&context, activation, &x, &mut y)?;
///     let saved = if activation.saved() == Saved::Input { &x } else { &y };
///     activation::backward(&context, activation, saved, &[1.0, 1.0], &mut d)?;
/// }
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`forward`].
pub fn backward<T: Element>(
    context: &Context,
    activation: Activation,
    saved: &[T],
    d_output: &[T],
    d_input: &mut [T],
) -> Result<()> {
    activation.check("activation::backward")?;
    check_length("activation::backward", "d_output", saved.len(), d_output.len())?;
    check_length("activation::backward", "d_input", saved.len(), d_input.len())?;
    if activation == Activation::Identity {
        d_input.copy_from_slice(d_output);
    } else {
        let whole = Zip { operation: activation, a: saved, b: d_output, output: d_input };
        share::run_by(context, whole, |piece| {
            T::run(context, Backward::new(activation, piece.a, piece.b, piece.output));
        });
    }
    Ok(())
}

/// `d[i] = d[i] * f'`, the derivative computed from `saved[i]`: see [`backward`].
///
/// # Errors
/// As [`forward`].
pub fn backward_in_place<T: Element>(
    context: &Context,
    activation: Activation,
    saved: &[T],
    d: &mut [T],
) -> Result<()> {
    activation.check("activation::backward_in_place")?;
    check_length("activation::backward_in_place", "d", saved.len(), d.len())?;
    if activation != Activation::Identity {
        let whole = Map { operation: activation, input: saved, output: d };
        share::run_by(context, whole, |piece| {
            T::run(context, Backward::in_place(activation, piece.input, piece.output));
        });
    }
    Ok(())
}

compiled! {
    Forward<'a, Self>,
    Backward<'a, Self>,
    glu::Glu<'a, Self>,
    glu::GluBackward<'a, Self>,
    prelu::Prelu<'a, Self>,
    prelu::PreluBackward<'a, Self>,
}
