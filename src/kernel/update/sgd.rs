//! Gradient descent: plain, with momentum, with Nesterov's.

use super::{Shared, Step, check_number, check_rate, run};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Stochastic gradient descent, with momentum if asked for.
///
/// ```text
/// g = gradient + weight_decay * p
/// b = g                                      on the first step, which ignores what b held
/// b = momentum * b + (1 - dampening) * g     after it
/// p -= learning_rate * b                     or, Nesterov's: learning_rate * (g + momentum * b)
/// ```
///
/// Without momentum b is g. Source: the PyTorch documentation of `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the last step is kept; 0 switches momentum off.
    pub momentum: f64,
    /// How much of the gradient is left out of the momentum.
    pub dampening: f64,
    /// Look ahead along the momentum.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Shrink the parameters by `learning_rate * weight_decay` instead (PyTorch's SGD has no such option).
    pub decoupled_weight_decay: bool,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Sgd {
    /// Learning rate 1e-3, all else 0, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// The numbers of a step of [`sgd`] and [`momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdRule<T = f64> {
    minus_rate: T,
    momentum: T,
    one_minus_dampening: T,
    nesterov: bool,
    first_step: bool,
}

impl Sgd {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if a rate is negative, NaN or infinite, if the dampening is not finite, if Nesterov's
    /// variant is asked for without momentum or with dampening, or if the step is 0.
    pub fn step(&self, number: u64) -> Result<Step<SgdRule>> {
        let operation = if self.momentum == 0.0 && !self.nesterov { "sgd" } else { "momentum" };
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: self.decoupled_weight_decay,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_rate(operation, "momentum", self.momentum)?;
        if !self.dampening.is_finite() {
            return Err(Error::argument(operation, "dampening", "a finite number", self.dampening));
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let got = format!("momentum {}, dampening {}", self.momentum, self.dampening);
            return Err(Error::argument(operation, "nesterov", "a momentum above 0 and no dampening", got));
        }
        check_number(operation, number)?;
        let rule = SgdRule {
            minus_rate: -self.learning_rate,
            momentum: self.momentum,
            one_minus_dampening: 1.0 - self.dampening,
            nesterov: self.nesterov,
            first_step: number == 1,
        };
        Ok(Step { operation, rule, before })
    }
}

impl SgdRule {
    pub(super) fn round<T: Element>(&self) -> SgdRule<T> {
        SgdRule {
            minus_rate: T::from_f64(self.minus_rate),
            momentum: T::from_f64(self.momentum),
            one_minus_dampening: T::from_f64(self.one_minus_dampening),
            nesterov: self.nesterov,
            first_step: self.first_step,
        }
    }
}

impl<T: Element> Update<T, 1> for SgdRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter]: [T::V<S>; 1], gradient: T::V<S>) -> [T::V<S>; 1] {
        [gradient.mul_add(T::V::<S>::splat(s, self.minus_rate), parameter)]
    }
}

impl<T: Element> Update<T, 2> for SgdRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter, velocity]: [T::V<S>; 2], gradient: T::V<S>) -> [T::V<S>; 2] {
        let momentum = T::V::<S>::splat(s, self.momentum);
        let velocity = if self.first_step {
            gradient
        } else {
            velocity.mul_add(momentum, gradient * T::V::<S>::splat(s, self.one_minus_dampening))
        };
        let direction = if self.nesterov { velocity.mul_add(momentum, gradient) } else { velocity };
        [direction.mul_add(T::V::<S>::splat(s, self.minus_rate), parameter), velocity]
    }
}

/// A step of [`Sgd`] without momentum: `p -= learning_rate * g`. True if every gradient, and everything written, is
/// finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ; [`Error::Argument`] if the step has momentum.
///
/// ```
/// use gemmule::{Context, kernel::update::{Sgd, sgd}};
/// let mut parameters = [1.0_f32, 2.0];
/// let step = Sgd { learning_rate: 0.5, ..Sgd::default() }.step(1)?;
/// let finite = sgd(&Context::detect()?, &step, &mut parameters, &[1.0, -1.0])?;
/// assert_eq!((parameters, finite), ([0.5, 2.5], true));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn sgd<T: Element>(
    context: &Context,
    step: &Step<SgdRule>,
    parameters: &mut [T],
    gradients: &[T],
) -> Result<bool> {
    if step.rule.momentum != 0.0 {
        let expected = "0: `momentum` takes the velocity that it needs";
        return Err(Error::argument("sgd", "momentum", expected, step.rule.momentum));
    }
    run::<_, _, _, 1>(context, step, step.rule.round::<T>(), ["parameters"], [parameters], gradients)
}

/// A step of [`Sgd`], with momentum. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn momentum<T: Element>(
    context: &Context,
    step: &Step<SgdRule>,
    parameters: &mut [T],
    gradients: &[T],
    velocity: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "velocity"];
    run::<_, _, _, 2>(context, step, step.rule.round::<T>(), names, [parameters, velocity], gradients)
}

impl Step<SgdRule> {
    /// Whether it keeps a velocity.
    pub(super) fn has_momentum(&self) -> bool {
        self.rule.momentum != 0.0
    }
}
