//! Lion: steps of one size, by the sign.

use super::{Shared, Step, check_decay, check_number, run, with_sign};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).
///
/// ```text
/// p = p * (1 - learning_rate * weight_decay)
/// p -= learning_rate * sign(beta1 * m + (1 - beta1) * g)          sign(0) = 0
/// m = beta2 * m + (1 - beta2) * g
/// ```
///
/// The paper advises a learning rate 3 to 10 times smaller, and a weight decay 3 to 10 times larger than AdamW's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// The step size.
    pub learning_rate: f64,
    /// The momentum's share in the direction.
    pub beta1: f64,
    /// Decay of the momentum.
    pub beta2: f64,
    /// How fast parameters shrink, times the learning rate.
    pub weight_decay: f64,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Lion {
    /// Learning rate 1e-4, betas 0.9 and 0.99, all else 0, as the paper's authors publish it.
    fn default() -> Self {
        Self { learning_rate: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, l1: 0.0, maximize: false }
    }
}

/// The numbers of a step of [`lion`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LionRule<T = f64> {
    minus_rate: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
}

impl Lion {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<LionRule>> {
        let operation = "lion";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: true,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_decay(operation, "beta1", self.beta1)?;
        check_decay(operation, "beta2", self.beta2)?;
        check_number(operation, number)?;
        let rule = LionRule {
            minus_rate: -self.learning_rate,
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
        };
        Ok(Step { operation, rule, before })
    }
}

impl LionRule {
    pub(super) fn round<T: Element>(&self) -> LionRule<T> {
        LionRule {
            minus_rate: T::from_f64(self.minus_rate),
            beta1: T::from_f64(self.beta1),
            one_minus_beta1: T::from_f64(self.one_minus_beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(self.one_minus_beta2),
        }
    }
}

impl<T: Element> Update<T, 2> for LionRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [parameter, mean]: [T::V<S>; 2], gradient: T::V<S>) -> [T::V<S>; 2] {
        let direction = mean
            .mul_add(T::V::<S>::splat(s, self.beta1), gradient * T::V::<S>::splat(s, self.one_minus_beta1));
        let mean = mean
            .mul_add(T::V::<S>::splat(s, self.beta2), gradient * T::V::<S>::splat(s, self.one_minus_beta2));
        [parameter + with_sign::<T, S>(s, self.minus_rate, direction), mean]
    }
}

/// A step of [`Lion`]. True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::update::{Lion, lion}};
/// let (mut p, mut mean) = ([1.0_f64, 1.0, 1.0], [0.0; 3]);
/// let step = Lion { learning_rate: 0.25, ..Lion::default() }.step(1)?;
/// lion(&Context::detect()?, &step, &mut p, &[1e-9, 0.0, -1e9], &mut mean)?;
/// assert_eq!(p, [0.75, 1.0, 1.25]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn lion<T: Element>(
    context: &Context,
    step: &Step<LionRule>,
    parameters: &mut [T],
    gradients: &[T],
    mean: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "mean"];
    run::<_, _, _, 2>(context, step, step.rule.round::<T>(), names, [parameters, mean], gradients)
}
