//! Adamax.

use super::{Shared, Step, check_decay, check_number, check_rate, power, run};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Adamax: Adam with the infinity norm (Kingma and Ba 2015).
///
/// ```text
/// g = gradient + weight_decay * p
/// m = m + (1 - beta1) * (g - m)
/// u = max(beta2 * u, |g| + epsilon)
/// p -= learning_rate / (1 - beta1^t) * m / u
/// ```
///
/// Source: the PyTorch documentation of `torch.optim.Adamax`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adamax {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the mean.
    pub beta1: f64,
    /// Decay of the norm.
    pub beta2: f64,
    /// Added to the gradient's size.
    pub epsilon: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adamax {
    /// Learning rate 2e-3, betas 0.9 and 0.999, epsilon 1e-8, all else off, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// The numbers of a step of [`adamax`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamaxRule<T = f64> {
    minus_step_size: T,
    one_minus_beta1: T,
    beta2: T,
    epsilon: T,
}

impl Adamax {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<AdamaxRule>> {
        let operation = "adamax";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: false,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_decay(operation, "beta1", self.beta1)?;
        check_decay(operation, "beta2", self.beta2)?;
        check_rate(operation, "epsilon", self.epsilon)?;
        check_number(operation, number)?;
        let rule = AdamaxRule {
            minus_step_size: -self.learning_rate / (1.0 - power(self.beta1, number)),
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
        };
        Ok(Step { operation, rule, before })
    }
}

impl AdamaxRule {
    pub(super) fn round<T: Element>(&self) -> AdamaxRule<T> {
        AdamaxRule {
            minus_step_size: T::from_f64(self.minus_step_size),
            one_minus_beta1: T::from_f64(self.one_minus_beta1),
            beta2: T::from_f64(self.beta2),
            epsilon: T::from_f64(self.epsilon),
        }
    }
}

impl<T: Element> Update<T, 3> for AdamaxRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter, mean, norm]: [T::V<S>; 3], gradient: T::V<S>) -> [T::V<S>; 3] {
        let mean = (gradient - mean).mul_add(T::V::<S>::splat(s, self.one_minus_beta1), mean);
        let size = gradient.abs() + T::V::<S>::splat(s, self.epsilon);
        let norm = (norm * T::V::<S>::splat(s, self.beta2)).max(size);
        [parameter + mean * T::V::<S>::splat(s, self.minus_step_size) / norm, mean, norm]
    }
}

/// A step of [`Adamax`]. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the lengths differ.
pub fn adamax<T: Element>(
    context: &Context,
    step: &Step<AdamaxRule>,
    parameters: &mut [T],
    gradients: &[T],
    mean: &mut [T],
    norm: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "mean", "norm"];
    let state = [parameters, mean, norm];
    run::<_, _, _, 3>(context, step, step.rule.round::<T>(), names, state, gradients)
}
