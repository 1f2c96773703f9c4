//! Adadelta.

use super::{Shared, Step, check_number, check_rate, run};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Adadelta (Zeiler 2012).
///
/// ```text
/// g = gradient + weight_decay * p
/// v = rho * v + (1 - rho) * g^2
/// d = sqrt(u + epsilon) / sqrt(v + epsilon) * g
/// u = rho * u + (1 - rho) * d^2
/// p -= learning_rate * d
/// ```
///
/// Source: the PyTorch documentation of `torch.optim.Adadelta`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the averages.
    pub rho: f64,
    /// Added to both averages before their roots.
    pub epsilon: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adadelta {
    /// Learning rate 1, rho 0.9, epsilon 1e-6, all else 0, as in PyTorch.
    fn default() -> Self {
        Self { learning_rate: 1.0, rho: 0.9, epsilon: 1e-6, weight_decay: 0.0, l1: 0.0, maximize: false }
    }
}

/// The numbers of a step of [`adadelta`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdadeltaRule<T = f64> {
    minus_rate: T,
    rho: T,
    one_minus_rho: T,
    epsilon: T,
}

impl Adadelta {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if an option is negative, NaN or infinite, rho above 1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<AdadeltaRule>> {
        let operation = "adadelta";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: false,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        if !(0.0..=1.0).contains(&self.rho) {
            return Err(Error::argument(operation, "rho", "from 0 to 1", self.rho));
        }
        check_rate(operation, "epsilon", self.epsilon)?;
        check_number(operation, number)?;
        let rule = AdadeltaRule {
            minus_rate: -self.learning_rate,
            rho: self.rho,
            one_minus_rho: 1.0 - self.rho,
            epsilon: self.epsilon,
        };
        Ok(Step { operation, rule, before })
    }
}

impl AdadeltaRule {
    pub(super) fn round<T: Element>(&self) -> AdadeltaRule<T> {
        AdadeltaRule {
            minus_rate: T::from_f64(self.minus_rate),
            rho: T::from_f64(self.rho),
            one_minus_rho: T::from_f64(self.one_minus_rho),
            epsilon: T::from_f64(self.epsilon),
        }
    }
}

impl<T: Element> Update<T, 3> for AdadeltaRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        [parameter, square, change]: [T::V<S>; 3],
        gradient: T::V<S>,
    ) -> [T::V<S>; 3] {
        let (rho, fresh) = (T::V::<S>::splat(s, self.rho), T::V::<S>::splat(s, self.one_minus_rho));
        let epsilon = T::V::<S>::splat(s, self.epsilon);
        let square = square.mul_add(rho, gradient * fresh * gradient);
        // Two roots: under one root the quotient would leave the range where a gradient is above 1e16.
        let delta = (change + epsilon).sqrt() / (square + epsilon).sqrt() * gradient;
        let change = change.mul_add(rho, delta * fresh * delta);
        [delta.mul_add(T::V::<S>::splat(s, self.minus_rate), parameter), square, change]
    }
}

/// A step of [`Adadelta`]: `square` averages the squares of the gradients, `change` those of the changes. True if every
/// gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn adadelta<T: Element>(
    context: &Context,
    step: &Step<AdadeltaRule>,
    parameters: &mut [T],
    gradients: &[T],
    square: &mut [T],
    change: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "square", "change"];
    let state = [parameters, square, change];
    run::<_, _, _, 3>(context, step, step.rule.round::<T>(), names, state, gradients)
}
