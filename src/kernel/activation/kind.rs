//! Which activations there are: names, parameters, and what a derivative needs.

use super::curve::{self, Curve, split};
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use std::fmt;

/// An activation function: a formula for each number, with PyTorch's names, formulas and default parameters.
///
/// [`Display`](fmt::Display) writes what [`FromStr`](std::str::FromStr) reads: the name, and in parentheses a parameter
/// that is not the default.
///
/// ```
/// use gemmule::nn::Activation;
///
/// assert_eq!("gelu".parse::<Activation>()?, Activation::Gelu);
/// assert_eq!("leaky_relu".parse::<Activation>()?, Activation::LEAKY_RELU);
/// assert_eq!("leaky_relu(0.2)".parse::<Activation>()?, Activation::LeakyRelu { slope: 0.2 });
/// assert_eq!(Activation::Celu { alpha: 0.5 }.to_string(), "celu(0.5)");
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// slope x if x < 0, else x.
    LeakyRelu {
        /// From 0 to 2^64: with a negative slope an output would have two inputs. Rounded to the elements' type.
        slope: f64,
    },
    /// x between 0 and 6.
    Relu6,
    /// alpha (e^x - 1) if x < 0, else x.
    Elu {
        /// From 0 to 2^64.
        alpha: f64,
    },
    /// s alpha (e^x - 1) if x < 0, else s x, with s = 1.0507009873554805 and alpha = 1.6732632423543772 (Klambauer et al.
    /// 2017).
    Selu,
    /// alpha (e^(x / alpha) - 1) if x < 0, else x.
    Celu {
        /// From 2^-64 to 2^64.
        alpha: f64,
    },
    /// ln(1 + e^(beta x)) / beta; never replaced by x, which PyTorch does above a threshold.
    ///
    /// Unless beta is a power of two, it and beta x are rounded to the elements' type first: far below 0, where the result is
    /// about e^(beta x) / beta, that costs up to 128 ULP.
    Softplus {
        /// From 2^-64 to 2^64.
        beta: f64,
    },
    /// x / (1 + |x|).
    Softsign,
    /// (x + 3) / 6 between 0 and 1.
    HardSigmoid,
    /// x times the hard sigmoid of x.
    HardSwish,
    /// x / (1 + e^-x). `swish` names it too.
    Silu,
    /// x Phi(x), with the distribution function of the normal distribution, by the error function.
    Gelu,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which is close to GELU.
    GeluTanh,
    /// x tanh(ln(1 + e^x)).
    Mish,
}

/// What an activation's derivative is computed from: what a layer has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saved {
    /// The activation's output.
    Output,
    /// Its input: several inputs have one output.
    Input,
}

/// What is done with an activation, for any of them.
pub(crate) trait Visitor<T: Element> {
    /// Mark it `#[inline(always)]`.
    fn visit<C: Curve<T>>(self, curve: C);
}

/// The parameters' limits.
const LARGEST: f64 = 18_446_744_073_709_551_616.0;
const SMALLEST: f64 = 1.0 / LARGEST;

impl Activation {
    /// [`LeakyRelu`](Self::LeakyRelu) with slope 0.01.
    pub const LEAKY_RELU: Self = Self::LeakyRelu { slope: 0.01 };
    /// [`Elu`](Self::Elu) with alpha 1.
    pub const ELU: Self = Self::Elu { alpha: 1.0 };
    /// [`Celu`](Self::Celu) with alpha 1.
    pub const CELU: Self = Self::Celu { alpha: 1.0 };
    /// [`Softplus`](Self::Softplus) with beta 1.
    pub const SOFTPLUS: Self = Self::Softplus { beta: 1.0 };

    /// All of them, with default parameters.
    pub const ALL: [Self; 18] = [
        Self::Identity,
        Self::Exponential,
        Self::Sigmoid,
        Self::Tanh,
        Self::Relu,
        Self::LEAKY_RELU,
        Self::Relu6,
        Self::ELU,
        Self::Selu,
        Self::CELU,
        Self::SOFTPLUS,
        Self::Softsign,
        Self::HardSigmoid,
        Self::HardSwish,
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Mish,
    ];

    /// The name without parameters, for example `leaky_relu`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Exponential => "exponential",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Relu6 => "relu6",
            Self::Elu { .. } => "elu",
            Self::Selu => "selu",
            Self::Celu { .. } => "celu",
            Self::Softplus { .. } => "softplus",
            Self::Softsign => "softsign",
            Self::HardSigmoid => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Mish => "mish",
        }
    }

    /// What the derivative is computed from, wherever it is asked for: the argument called `saved`.
    pub const fn saved(self) -> Saved {
        match self {
            Self::HardSwish | Self::Silu | Self::Gelu | Self::GeluTanh | Self::Mish => Saved::Input,
            _ => Saved::Output,
        }
    }

    /// The parameter's name, value and smallest value, if there is one.
    pub(crate) const fn parameter(self) -> Option<(&'static str, f64, f64)> {
        match self {
            Self::LeakyRelu { slope } => Some(("slope", slope, 0.0)),
            Self::Elu { alpha } => Some(("alpha", alpha, 0.0)),
            Self::Celu { alpha } => Some(("alpha", alpha, SMALLEST)),
            Self::Softplus { beta } => Some(("beta", beta, SMALLEST)),
            _ => None,
        }
    }

    /// The same with another parameter, if it has one.
    pub(crate) const fn with_parameter(self, value: f64) -> Option<Self> {
        match self {
            Self::LeakyRelu { .. } => Some(Self::LeakyRelu { slope: value }),
            Self::Elu { .. } => Some(Self::Elu { alpha: value }),
            Self::Celu { .. } => Some(Self::Celu { alpha: value }),
            Self::Softplus { .. } => Some(Self::Softplus { beta: value }),
            _ => None,
        }
    }

    /// Refuses a parameter that is not finite or out of range.
    #[inline]
    pub(crate) fn check(self, operation: &'static str) -> Result<()> {
        let Some((name, value, least)) = self.parameter() else { return Ok(()) };
        if (least..=LARGEST).contains(&value) {
            return Ok(());
        }
        let what = match (self, name) {
            (Self::LeakyRelu { .. }, _) => "slope of leaky_relu",
            (Self::Elu { .. }, _) => "alpha of elu",
            (Self::Celu { .. }, _) => "alpha of celu",
            _ => "beta of softplus",
        };
        Err(Error::argument(operation, what, format_args!("{least:e} to {LARGEST:e}"), value))
    }

    /// Hands the activation's formula to `visitor`: the choice is made here, outside of loops.
    #[inline(always)]
    pub(crate) fn visit<T: Element, V: Visitor<T>>(self, visitor: V) {
        match self {
            Self::Identity => visitor.visit(curve::Identity),
            Self::Exponential => visitor.visit(curve::Exponential),
            Self::Sigmoid => visitor.visit(curve::Sigmoid),
            Self::Tanh => visitor.visit(curve::Tanh),
            Self::Relu => visitor.visit(curve::Relu),
            Self::LeakyRelu { slope } => visitor.visit(curve::LeakyRelu { slope: T::from_f64(slope) }),
            Self::Relu6 => visitor.visit(curve::Relu6),
            Self::Elu { alpha } => visitor.visit(curve::Elu { alpha: split(alpha) }),
            Self::Selu => visitor.visit(curve::Selu),
            Self::Celu { alpha } => {
                visitor.visit(curve::Celu { alpha: split(alpha), inverse: split(1.0 / alpha) });
            }
            Self::Softplus { beta } => {
                let (beta, inverse) = (T::from_f64(beta), T::from_f64(1.0 / beta));
                visitor.visit(curve::Softplus { beta, inverse });
            }
            Self::Softsign => visitor.visit(curve::Softsign),
            Self::HardSigmoid => visitor.visit(curve::HardSigmoid),
            Self::HardSwish => visitor.visit(curve::HardSwish),
            Self::Silu => visitor.visit(curve::Silu),
            Self::Gelu => visitor.visit(curve::Gelu),
            Self::GeluTanh => visitor.visit(curve::GeluTanh),
            Self::Mish => visitor.visit(curve::Mish),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_default = Self::ALL.contains(self);
        match self.parameter() {
            Some((_, value, _)) if !is_default => f.pad(&format!("{}({value})", self.name())),
            _ => f.pad(self.name()),
        }
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    /// The name, for example `gelu`; a parameter in parentheses, for example `leaky_relu(0.2)`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, parameter) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let name = match name {
            "linear" => "identity",
            "swish" => "silu",
            name => name,
        };
        let Some(default) = Self::ALL.into_iter().find(|activation| activation.name() == name) else {
            let names = Self::ALL.map(Self::name).join(", ");
            let expected = format_args!("{names}, linear or swish");
            return Err(Error::argument("Activation", "name", expected, format_args!("{text:?}")));
        };
        let Some(parameter) = parameter else { return Ok(default) };
        let activation = parameter.trim().parse().ok().and_then(|value| default.with_parameter(value));
        let Some(activation) = activation else {
            let expected = match default.parameter() {
                Some(_) => format!("{name} or {name}(a number)"),
                None => format!("{name}, which has no parameter"),
            };
            return Err(Error::argument("Activation", "name", expected, format_args!("{text:?}")));
        };
        activation.check("Activation").map(|()| activation)
    }
}
