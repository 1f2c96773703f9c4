//! Activation functions and their derivatives.
//!
//! The derivative is computed from the saved *output* y, so a layer keeps one array, not two.
//!
//! | activation | forward | derivative from y |
//! | --- | --- | --- |
//! | `identity` | x | 1 |
//! | `exponential` | [`exp`](super::math::exp) | y |
//! | `sigmoid` | [`sigmoid`](super::math::sigmoid) | y - y², rounded once |
//! | `tanh` | [`tanh`](super::math::tanh) | 1 - y², rounded once |
//! | `relu` | 0 if x < 0, else x | 1 if y > 0, else 0 |
//!
//! NaN gives NaN: an input that is NaN an output, an output or a gradient that is NaN a gradient. ReLU keeps the sign
//! of zero. A result depends on its own element alone, not on its place or the length.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{self, Binary, Unary};
use super::math::{Elementary, Exp, Map, MapInPlace, Sigmoid, Tanh, check_length};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd, Vector};
use std::fmt;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// x. `linear` names it too.
    Identity,
    /// e to the power x.
    Exponential,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// 0 if x < 0, else x.
    Relu,
}

impl Activation {
    const ALL: [Self; 5] = [Self::Identity, Self::Exponential, Self::Sigmoid, Self::Tanh, Self::Relu];

    /// `identity`, `exponential`, `sigmoid`, `tanh` or `relu`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Exponential => "exponential",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }

    /// f(x), for the epilogue of a matrix product.
    #[inline(always)]
    pub(crate) fn apply<T: Element, S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        match self {
            Self::Identity => x,
            Self::Exponential => <T as Elementary>::exp(s, x),
            Self::Sigmoid => <T as Elementary>::sigmoid(s, x),
            Self::Tanh => <T as Elementary>::tanh(s, x),
            Self::Relu => T::V::<S>::splat(s, T::zero()).max_or_other(x),
        }
    }

    /// f'(x) from y = f(x).
    #[inline(always)]
    pub(crate) fn derivative<T: Element, S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let one = T::V::<S>::splat(s, T::one());
        match self {
            Self::Identity => one,
            Self::Exponential => y,
            Self::Sigmoid => (-y).mul_add(y, y),
            Self::Tanh => (-y).mul_add(y, one),
            Self::Relu => {
                let zero = T::V::<S>::splat(s, T::zero());
                // Zero, or NaN where y is.
                one.select(y.greater(zero), zero.max_or_other(y))
            }
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "linear" {
            return Ok(Self::Identity);
        }
        Self::ALL.into_iter().find(|activation| activation.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::argument("Activation", "name", format_args!("{names} or linear"), format_args!("{text:?}"))
        })
    }
}

/// ReLU as an operation.
#[derive(Clone, Copy)]
struct Relu;

impl<T: Element> Unary<T> for Relu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        Activation::Relu.apply::<T, S>(s, x)
    }
}

/// `gradient * f'` of the output, one type for each activation so that the choice is made outside the loop.
#[derive(Clone, Copy)]
struct TimesDerivative<const ACTIVATION: u8>;

const EXPONENTIAL: u8 = Activation::Exponential as u8;
const SIGMOID: u8 = Activation::Sigmoid as u8;
const TANH: u8 = Activation::Tanh as u8;
const RELU: u8 = Activation::Relu as u8;

impl<T: Element, const ACTIVATION: u8> Binary<T> for TimesDerivative<ACTIVATION> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, gradient: T::V<S>, output: T::V<S>) -> T::V<S> {
        gradient * const { Activation::ALL[ACTIVATION as usize] }.derivative::<T, S>(s, output)
    }
}

struct Zip<'a, T, O> {
    operation: O,
    a: &'a [T],
    b: &'a [T],
    output: &'a mut [T],
}

impl<T: Element, O: Binary<T>> Kernel for Zip<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::zip(s, self.operation, self.a, self.b, self.output);
    }
}

struct ZipInPlace<'a, T, O> {
    operation: O,
    target: &'a mut [T],
    other: &'a [T],
}

impl<T: Element, O: Binary<T>> Kernel for ZipInPlace<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::zip_in_place(s, self.operation, self.target, self.other);
    }
}

/// `output[i] = f(input[i])`.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn forward<T: Element>(
    context: &Context,
    activation: Activation,
    input: &[T],
    output: &mut [T],
) -> Result<()> {
    check_length("activation::forward", "output", input.len(), output.len())?;
    match activation {
        Activation::Identity => output.copy_from_slice(input),
        Activation::Exponential => T::run(context, Map { operation: Exp, input, output }),
        Activation::Sigmoid => T::run(context, Map { operation: Sigmoid, input, output }),
        Activation::Tanh => T::run(context, Map { operation: Tanh, input, output }),
        Activation::Relu => T::run(context, Map { operation: Relu, input, output }),
    }
    Ok(())
}

/// `data[i] = f(data[i])`.
pub fn forward_in_place<T: Element>(context: &Context, activation: Activation, data: &mut [T]) {
    match activation {
        Activation::Identity => {}
        Activation::Exponential => T::run(context, MapInPlace { operation: Exp, data }),
        Activation::Sigmoid => T::run(context, MapInPlace { operation: Sigmoid, data }),
        Activation::Tanh => T::run(context, MapInPlace { operation: Tanh, data }),
        Activation::Relu => T::run(context, MapInPlace { operation: Relu, data }),
    }
}

/// `d_input[i] = d_output[i] * f'`, the derivative computed from `output[i]`, what [`forward`] gave.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn backward<T: Element>(
    context: &Context,
    activation: Activation,
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
) -> Result<()> {
    check_length("activation::backward", "d_output", output.len(), d_output.len())?;
    check_length("activation::backward", "d_input", output.len(), d_input.len())?;
    let (a, b, output) = (d_output, output, d_input);
    match activation {
        Activation::Identity => output.copy_from_slice(a),
        Activation::Exponential => {
            T::run(context, Zip { operation: TimesDerivative::<EXPONENTIAL>, a, b, output });
        }
        Activation::Sigmoid => T::run(context, Zip { operation: TimesDerivative::<SIGMOID>, a, b, output }),
        Activation::Tanh => T::run(context, Zip { operation: TimesDerivative::<TANH>, a, b, output }),
        Activation::Relu => T::run(context, Zip { operation: TimesDerivative::<RELU>, a, b, output }),
    }
    Ok(())
}

/// `d[i] = d[i] * f'`, the derivative computed from `output[i]`, what [`forward`] gave.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn backward_in_place<T: Element>(
    context: &Context,
    activation: Activation,
    output: &[T],
    d: &mut [T],
) -> Result<()> {
    check_length("activation::backward_in_place", "d", output.len(), d.len())?;
    let (target, other) = (d, output);
    match activation {
        Activation::Identity => {}
        Activation::Exponential => {
            T::run(context, ZipInPlace { operation: TimesDerivative::<EXPONENTIAL>, target, other });
        }
        Activation::Sigmoid => {
            T::run(context, ZipInPlace { operation: TimesDerivative::<SIGMOID>, target, other });
        }
        Activation::Tanh => T::run(context, ZipInPlace { operation: TimesDerivative::<TANH>, target, other }),
        Activation::Relu => T::run(context, ZipInPlace { operation: TimesDerivative::<RELU>, target, other }),
    }
    Ok(())
}

compiled! {
    Map<'a, Self, Relu>,
    MapInPlace<'a, Self, Exp>,
    MapInPlace<'a, Self, Sigmoid>,
    MapInPlace<'a, Self, Tanh>,
    MapInPlace<'a, Self, Relu>,
    Zip<'a, Self, TimesDerivative<EXPONENTIAL>>,
    Zip<'a, Self, TimesDerivative<SIGMOID>>,
    Zip<'a, Self, TimesDerivative<TANH>>,
    Zip<'a, Self, TimesDerivative<RELU>>,
    ZipInPlace<'a, Self, TimesDerivative<EXPONENTIAL>>,
    ZipInPlace<'a, Self, TimesDerivative<SIGMOID>>,
    ZipInPlace<'a, Self, TimesDerivative<TANH>>,
    ZipInPlace<'a, Self, TimesDerivative<RELU>>,
}
