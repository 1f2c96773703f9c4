//! NAdam: Adam with Nesterov's momentum.

use super::{Shared, Step, check_decay, check_number, check_rate, power, run};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// NAdam (Dozat 2016).
///
/// ```text
/// m, v as in Adam
/// mu(i) = beta1 * (1 - 0.96^(i * momentum_decay) / 2);  M(t) = mu(1) * .. * mu(t)
/// c = (1 - mu(t)) / (1 - M(t)) * g + mu(t + 1) / (1 - M(t + 1)) * m
/// p -= learning_rate * c / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// A step's M is computed from its number alone, until it is too small to matter: at the defaults, within 70 factors.
/// Source: the PyTorch documentation of `torch.optim.NAdam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdam {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// How fast mu grows to beta1.
    pub momentum_decay: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Shrink the parameters by `learning_rate * weight_decay` instead, as [`AdamW`](super::AdamW) does.
    pub decoupled_weight_decay: bool,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for NAdam {
    /// Learning rate 2e-3, betas 0.9 and 0.999, epsilon 1e-8, momentum decay 4e-3, all else off, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// The numbers of a step of [`nadam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NAdamRule<T = f64> {
    /// The gradient's share of the change.
    now: T,
    /// The first moment's.
    next: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    epsilon: T,
    inverse_root: T,
}

impl NAdam {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<NAdamRule>> {
        let operation = "nadam";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: self.decoupled_weight_decay,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_decay(operation, "beta1", self.beta1)?;
        check_decay(operation, "beta2", self.beta2)?;
        check_rate(operation, "epsilon", self.epsilon)?;
        check_rate(operation, "momentum_decay", self.momentum_decay)?;
        check_number(operation, number)?;
        let product = self.mu_product(number);
        let (mu, next) = (self.mu(number as f64), self.mu(number as f64 + 1.0));
        let rule = NAdamRule {
            now: -self.learning_rate * (1.0 - mu) / (1.0 - product),
            next: -self.learning_rate * next / (1.0 - product * next),
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            epsilon: self.epsilon,
            inverse_root: 1.0 / (1.0 - power(self.beta2, number)).sqrt(),
        };
        Ok(Step { operation, rule, before })
    }

    fn mu(&self, number: f64) -> f64 {
        self.beta1 * (1.0 - 0.5 * libm::pow(0.96, number * self.momentum_decay))
    }

    /// The product of mu(1) to mu(number): 0 in place of what no sum with 1 would show.
    fn mu_product(&self, number: u64) -> f64 {
        const NOTHING: f64 = 1e-18;
        let mut product = 1.0;
        for i in 1..=number {
            let mu = self.mu(i as f64);
            product *= mu;
            if product < NOTHING {
                return 0.0;
            }
            if mu == self.beta1 {
                // So are all after it.
                return product * power(mu, number - i);
            }
        }
        product
    }
}

impl NAdamRule {
    pub(super) fn round<T: Element>(&self) -> NAdamRule<T> {
        NAdamRule {
            now: T::from_f64(self.now),
            next: T::from_f64(self.next),
            one_minus_beta1: T::from_f64(self.one_minus_beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(self.one_minus_beta2),
            epsilon: T::from_f64(self.epsilon),
            inverse_root: T::from_f64(self.inverse_root),
        }
    }
}

impl<T: Element> Update<T, 3> for NAdamRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        [parameter, first, second]: [T::V<S>; 3],
        gradient: T::V<S>,
    ) -> [T::V<S>; 3] {
        let first = (gradient - first).mul_add(T::V::<S>::splat(s, self.one_minus_beta1), first);
        let square = gradient * T::V::<S>::splat(s, self.one_minus_beta2) * gradient;
        let second = second.mul_add(T::V::<S>::splat(s, self.beta2), square);
        let inverse_root = T::V::<S>::splat(s, self.inverse_root);
        let denominator = second.sqrt().mul_add(inverse_root, T::V::<S>::splat(s, self.epsilon));
        let change = gradient.mul_add(T::V::<S>::splat(s, self.now), first * T::V::<S>::splat(s, self.next));
        [parameter + change / denominator, first, second]
    }
}

/// A step of [`NAdam`]. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the lengths differ.
pub fn nadam<T: Element>(
    context: &Context,
    step: &Step<NAdamRule>,
    parameters: &mut [T],
    gradients: &[T],
    first_moment: &mut [T],
    second_moment: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "first_moment", "second_moment"];
    let state = [parameters, first_moment, second_moment];
    run::<_, _, _, 3>(context, step, step.rule.round::<T>(), names, state, gradients)
}
