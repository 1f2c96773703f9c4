//! Optimiser updates over flat arrays: one pass, all state in registers.
//!
//! The formulas and their defaults are PyTorch's (`torch.optim.SGD`, `torch.optim.Adam`, version 2). Scalars are
//! kept in f64, combined in f64 and rounded once to the arrays' type. An element's new value depends on that
//! element alone, so arrays may be cut anywhere. Each function also says whether every gradient and everything
//! written is finite, which costs one instruction per vector; the update has then been made all the same.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{self, Update};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd, Vector};

struct Run<'a, T, O, const N: usize> {
    operation: O,
    state: [&'a mut [T]; N],
    gradients: &'a [T],
}

impl<T: Element, O: Update<T, N>, const N: usize> Kernel for Run<'_, T, O, N> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        loops::update(s, self.operation, self.state, self.gradients)
    }
}

/// The parameters and every array of state are as long as the gradients.
fn check<T, const N: usize>(
    operation: &'static str,
    names: [&'static str; N],
    state: &[&mut [T]; N],
    gradients: &[T],
) -> Result<()> {
    for (name, array) in names.into_iter().zip(state) {
        if array.len() != gradients.len() {
            let expected = format!("{} elements, as in the gradients", gradients.len());
            return Err(Error::shape(operation, name, expected, array.len()));
        }
    }
    Ok(())
}

/// `value` is finite and not negative.
fn check_rate(operation: &'static str, what: &'static str, value: f64) -> Result<()> {
    if !(value.is_finite() && value >= 0.0) {
        return Err(Error::argument(operation, what, "a finite number, at least 0", value));
    }
    Ok(())
}

/// `value` is in [0, 1).
fn check_decay(operation: &'static str, what: &'static str, value: f64) -> Result<()> {
    if !(0.0..1.0).contains(&value) {
        return Err(Error::argument(operation, what, "at least 0 and below 1", value));
    }
    Ok(())
}

/// Plain gradient descent: see [`sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    learning_rate: f64,
    weight_decay: f64,
}

impl SgdStep {
    /// PyTorch's defaults: learning rate 1e-3, weight decay 0.
    ///
    /// # Errors
    /// [`Error::Argument`] if one is negative, NaN or infinite.
    pub fn new(learning_rate: f64, weight_decay: f64) -> Result<Self> {
        check_rate("sgd", "learning_rate", learning_rate)?;
        check_rate("sgd", "weight_decay", weight_decay)?;
        Ok(Self { learning_rate, weight_decay })
    }
}

#[derive(Clone, Copy)]
struct SgdUpdate<T> {
    minus_rate: T,
    weight_decay: T,
}

impl<T: Element> Update<T, 1> for SgdUpdate<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter]: [T::V<S>; 1], gradient: T::V<S>) -> [T::V<S>; 1] {
        let gradient = parameter.mul_add(T::V::<S>::splat(s, self.weight_decay), gradient);
        [gradient.mul_add(T::V::<S>::splat(s, self.minus_rate), parameter)]
    }
}

/// `g = gradient + weight_decay * p; p -= learning_rate * g`. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::update::{SgdStep, sgd}};
/// let mut parameters = [1.0_f32, 2.0];
/// let finite = sgd(&Context::detect()?, &SgdStep::new(0.5, 0.0)?, &mut parameters, &[1.0, -1.0])?;
/// assert_eq!((parameters, finite), ([0.5, 2.5], true));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn sgd<T: Element>(
    context: &Context,
    step: &SgdStep,
    parameters: &mut [T],
    gradients: &[T],
) -> Result<bool> {
    let state = [parameters];
    check("sgd", ["parameters"], &state, gradients)?;
    let operation = SgdUpdate {
        minus_rate: T::from_f64(-step.learning_rate),
        weight_decay: T::from_f64(step.weight_decay),
    };
    Ok(T::run(context, Run { operation, state, gradients }))
}

/// Gradient descent with momentum: see [`momentum`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumStep {
    learning_rate: f64,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl MomentumStep {
    /// PyTorch's defaults: learning rate 1e-3, dampening 0, no Nesterov, weight decay 0.
    ///
    /// # Errors
    /// [`Error::Argument`] if a rate is negative, NaN or infinite, if the dampening is not finite, or if Nesterov's
    /// variant is asked for without momentum or with dampening.
    pub fn new(
        learning_rate: f64,
        momentum: f64,
        dampening: f64,
        nesterov: bool,
        weight_decay: f64,
    ) -> Result<Self> {
        check_rate("momentum", "learning_rate", learning_rate)?;
        check_rate("momentum", "momentum", momentum)?;
        check_rate("momentum", "weight_decay", weight_decay)?;
        if !dampening.is_finite() {
            return Err(Error::argument("momentum", "dampening", "a finite number", dampening));
        }
        if nesterov && (momentum == 0.0 || dampening != 0.0) {
            let got = format!("momentum {momentum}, dampening {dampening}");
            return Err(Error::argument("momentum", "nesterov", "a momentum above 0 and no dampening", got));
        }
        Ok(Self { learning_rate, momentum, dampening, nesterov, weight_decay })
    }
}

#[derive(Clone, Copy)]
struct MomentumUpdate<T> {
    minus_rate: T,
    momentum: T,
    one_minus_dampening: T,
    nesterov: bool,
    weight_decay: T,
    first_step: bool,
}

impl<T: Element> Update<T, 2> for MomentumUpdate<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter, velocity]: [T::V<S>; 2], gradient: T::V<S>) -> [T::V<S>; 2] {
        let momentum = T::V::<S>::splat(s, self.momentum);
        let gradient = parameter.mul_add(T::V::<S>::splat(s, self.weight_decay), gradient);
        let velocity = if self.first_step {
            gradient
        } else {
            velocity.mul_add(momentum, gradient * T::V::<S>::splat(s, self.one_minus_dampening))
        };
        let direction = if self.nesterov { velocity.mul_add(momentum, gradient) } else { velocity };
        [direction.mul_add(T::V::<S>::splat(s, self.minus_rate), parameter), velocity]
    }
}

/// ```text
/// g = gradient + weight_decay * p
/// v = g                                      on the first step, which ignores what v held
/// v = momentum * v + (1 - dampening) * g     after it
/// p -= learning_rate * v                     or, Nesterov's: learning_rate * (g + momentum * v)
/// ```
///
/// True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn momentum<T: Element>(
    context: &Context,
    step: &MomentumStep,
    parameters: &mut [T],
    gradients: &[T],
    velocity: &mut [T],
    first_step: bool,
) -> Result<bool> {
    let state = [parameters, velocity];
    check("momentum", ["parameters", "velocity"], &state, gradients)?;
    let operation = MomentumUpdate {
        minus_rate: T::from_f64(-step.learning_rate),
        momentum: T::from_f64(step.momentum),
        one_minus_dampening: T::from_f64(1.0 - step.dampening),
        nesterov: step.nesterov,
        weight_decay: T::from_f64(step.weight_decay),
        first_step,
    };
    Ok(T::run(context, Run { operation, state, gradients }))
}

/// One step of Adam: see [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    step_size: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    inverse_root: f64,
}

impl AdamStep {
    /// The step number `step`, counted from 1. PyTorch's defaults: learning rate 1e-3, betas 0.9 and 0.999,
    /// epsilon 1e-8, weight decay 0.
    ///
    /// # Errors
    /// [`Error::Argument`] if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn new(
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        step: u64,
    ) -> Result<Self> {
        check_rate("adam", "learning_rate", learning_rate)?;
        check_decay("adam", "beta1", beta1)?;
        check_decay("adam", "beta2", beta2)?;
        check_rate("adam", "epsilon", epsilon)?;
        check_rate("adam", "weight_decay", weight_decay)?;
        if step == 0 {
            return Err(Error::argument("adam", "step", "at least 1", 0));
        }
        Ok(Self {
            step_size: learning_rate / (1.0 - power(beta1, step)),
            beta1,
            beta2,
            epsilon,
            weight_decay,
            inverse_root: 1.0 / (1.0 - power(beta2, step)).sqrt(),
        })
    }
}

/// `base` to the power `exponent` by repeated squaring: the same bits on every platform, unlike `powi`.
pub(crate) fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[derive(Clone, Copy)]
struct AdamUpdate<T> {
    minus_step_size: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    epsilon: T,
    weight_decay: T,
    inverse_root: T,
}

impl<T: Element> Update<T, 3> for AdamUpdate<T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        [parameter, first, second]: [T::V<S>; 3],
        gradient: T::V<S>,
    ) -> [T::V<S>; 3] {
        let gradient = parameter.mul_add(T::V::<S>::splat(s, self.weight_decay), gradient);
        let first = (gradient - first).mul_add(T::V::<S>::splat(s, self.one_minus_beta1), first);
        let square = gradient * T::V::<S>::splat(s, self.one_minus_beta2) * gradient;
        let second = second.mul_add(T::V::<S>::splat(s, self.beta2), square);
        let inverse_root = T::V::<S>::splat(s, self.inverse_root);
        let denominator = second.sqrt().mul_add(inverse_root, T::V::<S>::splat(s, self.epsilon));
        let change = first * T::V::<S>::splat(s, self.minus_step_size) / denominator;
        [parameter + change, first, second]
    }
}

/// ```text
/// g = gradient + weight_decay * p
/// m = m + (1 - beta1) * (g - m)
/// v = beta2 * v + (1 - beta2) * g * g
/// p -= learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
/// ```
///
/// `m` and `v` start at zero. True if every gradient, and everything written, is finite. With an epsilon of 0, an
/// element whose gradients were all 0 becomes NaN, as in PyTorch.
///
/// Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::update::{AdamStep, adam}};
/// let (mut p, mut m, mut v) = ([1.0_f32], [0.0], [0.0]);
/// for number in 1..=3 {
///     let step = AdamStep::new(0.1, 0.9, 0.999, 1e-8, 0.0, number)?;
///     adam(&Context::detect()?, &step, &mut p, &[2.0], &mut m, &mut v)?;
/// }
/// assert!((p[0] - 0.7).abs() < 1e-6);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn adam<T: Element>(
    context: &Context,
    step: &AdamStep,
    parameters: &mut [T],
    gradients: &[T],
    first_moment: &mut [T],
    second_moment: &mut [T],
) -> Result<bool> {
    let state = [parameters, first_moment, second_moment];
    check("adam", ["parameters", "first_moment", "second_moment"], &state, gradients)?;
    let operation = AdamUpdate {
        minus_step_size: T::from_f64(-step.step_size),
        one_minus_beta1: T::from_f64(1.0 - step.beta1),
        beta2: T::from_f64(step.beta2),
        one_minus_beta2: T::from_f64(1.0 - step.beta2),
        epsilon: T::from_f64(step.epsilon),
        weight_decay: T::from_f64(step.weight_decay),
        inverse_root: T::from_f64(step.inverse_root),
    };
    Ok(T::run(context, Run { operation, state, gradients }))
}

compiled! {
    Run<'a, Self, SgdUpdate<Self>, 1>,
    Run<'a, Self, MomentumUpdate<Self>, 2>,
    Run<'a, Self, AdamUpdate<Self>, 3>,
}
