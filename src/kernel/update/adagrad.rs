//! Adagrad.

use super::{Shared, Step, check_number, check_rate, run};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Adagrad (Duchi, Hazan and Singer 2011).
///
/// ```text
/// g = gradient + weight_decay * p
/// s = initial_accumulator + g^2              on the first step, which ignores what s held
/// s = s + g^2                                after it
/// p -= learning_rate / (1 + (t - 1) * learning_rate_decay) * g / (sqrt(s) + epsilon)
/// ```
///
/// Source: the PyTorch documentation of `torch.optim.Adagrad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// The step size.
    pub learning_rate: f64,
    /// How fast the step size shrinks.
    pub learning_rate_decay: f64,
    /// Where the sum of squares begins.
    pub initial_accumulator: f64,
    /// Added to the root of the sum.
    pub epsilon: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adagrad {
    /// Learning rate 0.01, epsilon 1e-10, all else 0, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 0.01,
            learning_rate_decay: 0.0,
            initial_accumulator: 0.0,
            epsilon: 1e-10,
            weight_decay: 0.0,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// The numbers of a step of [`adagrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradRule<T = f64> {
    minus_rate: T,
    epsilon: T,
    initial_accumulator: T,
    first_step: bool,
}

impl Adagrad {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if an option is negative, NaN or infinite, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<AdagradRule>> {
        let operation = "adagrad";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: false,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_rate(operation, "learning_rate_decay", self.learning_rate_decay)?;
        check_rate(operation, "initial_accumulator", self.initial_accumulator)?;
        check_rate(operation, "epsilon", self.epsilon)?;
        check_number(operation, number)?;
        let rule = AdagradRule {
            minus_rate: -self.learning_rate / (1.0 + (number - 1) as f64 * self.learning_rate_decay),
            epsilon: self.epsilon,
            initial_accumulator: self.initial_accumulator,
            first_step: number == 1,
        };
        Ok(Step { operation, rule, before })
    }
}

impl AdagradRule {
    pub(super) fn round<T: Element>(&self) -> AdagradRule<T> {
        AdagradRule {
            minus_rate: T::from_f64(self.minus_rate),
            epsilon: T::from_f64(self.epsilon),
            initial_accumulator: T::from_f64(self.initial_accumulator),
            first_step: self.first_step,
        }
    }
}

impl<T: Element> Update<T, 2> for AdagradRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter, sum]: [T::V<S>; 2], gradient: T::V<S>) -> [T::V<S>; 2] {
        let sum = if self.first_step { T::V::<S>::splat(s, self.initial_accumulator) } else { sum };
        let sum = gradient.mul_add(gradient, sum);
        let denominator = sum.sqrt() + T::V::<S>::splat(s, self.epsilon);
        [parameter + gradient * T::V::<S>::splat(s, self.minus_rate) / denominator, sum]
    }
}

/// A step of [`Adagrad`]. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the lengths differ.
pub fn adagrad<T: Element>(
    context: &Context,
    step: &Step<AdagradRule>,
    parameters: &mut [T],
    gradients: &[T],
    sum: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "sum"];
    run::<_, _, _, 2>(context, step, step.rule.round::<T>(), names, [parameters, sum], gradients)
}

impl Step<AdagradRule> {
    /// Where the sum begins.
    pub(super) fn initial_accumulator(&self) -> f64 {
        self.rule.initial_accumulator
    }
}
