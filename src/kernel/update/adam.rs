//! Adam, AdamW and AMSGrad.

use super::{Shared, Step, check_decay, check_number, check_rate, power, run};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// Adam (Kingma and Ba 2015), and AMSGrad (Reddi, Kale and Kumar 2018) if asked for.
///
/// ```text
/// g = gradient + weight_decay * p
/// m = m + (1 - beta1) * (g - m)
/// v = beta2 * v + (1 - beta2) * g^2
/// p -= learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// AMSGrad takes the largest v so far in the last line. With an epsilon of 0, an element whose gradients were all 0
/// becomes NaN. Source: the PyTorch documentation of `torch.optim.Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// AMSGrad: never let the second moment's part shrink.
    pub amsgrad: bool,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for Adam {
    /// Learning rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8, all else off, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019): `p` is first multiplied by
/// `1 - learning_rate * weight_decay`, and the gradient has no part of it. The rest is [`Adam`]'s.
///
/// Source: the PyTorch documentation of `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// How fast parameters shrink, times the learning rate.
    pub weight_decay: f64,
    /// AMSGrad: never let the second moment's part shrink.
    pub amsgrad: bool,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for AdamW {
    /// As [`Adam`], and a weight decay of 0.01, as in PyTorch.
    fn default() -> Self {
        let Adam { learning_rate, beta1, beta2, epsilon, amsgrad, l1, maximize, .. } = Adam::default();
        Self { learning_rate, beta1, beta2, epsilon, weight_decay: 0.01, amsgrad, l1, maximize }
    }
}

/// The numbers of a step of [`adam`] and [`amsgrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRule<T = f64> {
    pub(super) minus_step_size: T,
    pub(super) one_minus_beta1: T,
    pub(super) beta2: T,
    pub(super) one_minus_beta2: T,
    pub(super) epsilon: T,
    pub(super) inverse_root: T,
    pub(super) amsgrad: bool,
}

impl Adam {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<AdamRule>> {
        self.any_step("adam", false, number)
    }

    fn any_step(&self, operation: &'static str, decoupled: bool, number: u64) -> Result<Step<AdamRule>> {
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        check_decay(operation, "beta1", self.beta1)?;
        check_decay(operation, "beta2", self.beta2)?;
        check_rate(operation, "epsilon", self.epsilon)?;
        check_number(operation, number)?;
        let rule = AdamRule {
            minus_step_size: -self.learning_rate / (1.0 - power(self.beta1, number)),
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            epsilon: self.epsilon,
            inverse_root: 1.0 / (1.0 - power(self.beta2, number)).sqrt(),
            amsgrad: self.amsgrad,
        };
        Ok(Step { operation, rule, before })
    }
}

impl AdamW {
    /// The step `number`, counted from 1, for [`adam`] or [`amsgrad`].
    ///
    /// # Errors
    /// As [`Adam::step`].
    pub fn step(&self, number: u64) -> Result<Step<AdamRule>> {
        let Self { learning_rate, beta1, beta2, epsilon, weight_decay, amsgrad, l1, maximize } = *self;
        let adam = Adam { learning_rate, beta1, beta2, epsilon, weight_decay, amsgrad, l1, maximize };
        adam.any_step("adamw", true, number)
    }
}

impl AdamRule {
    pub(super) fn round<T: Element>(&self) -> AdamRule<T> {
        AdamRule {
            minus_step_size: T::from_f64(self.minus_step_size),
            one_minus_beta1: T::from_f64(self.one_minus_beta1),
            beta2: T::from_f64(self.beta2),
            one_minus_beta2: T::from_f64(self.one_minus_beta2),
            epsilon: T::from_f64(self.epsilon),
            inverse_root: T::from_f64(self.inverse_root),
            amsgrad: self.amsgrad,
        }
    }
}

impl<T: Element> AdamRule<T> {
    /// Both moments.
    #[inline(always)]
    fn moments<S: Simd>(
        self,
        s: S,
        first: T::V<S>,
        second: T::V<S>,
        gradient: T::V<S>,
    ) -> (T::V<S>, T::V<S>) {
        let first = (gradient - first).mul_add(T::V::<S>::splat(s, self.one_minus_beta1), first);
        let square = gradient * T::V::<S>::splat(s, self.one_minus_beta2) * gradient;
        (first, second.mul_add(T::V::<S>::splat(s, self.beta2), square))
    }

    /// The new parameter.
    #[inline(always)]
    fn moved<S: Simd>(self, s: S, parameter: T::V<S>, first: T::V<S>, second: T::V<S>) -> T::V<S> {
        // In L2 this is the limit: on Zen 4 root and division of 16 lanes take 16 cycles, and moving the bytes 13. Tried:
        // the root from the bits of v, by Halley's step and Heron's within the one division, 19 cycles in all instead of
        // 17 since its multiplications need the same pipes; the roots of four vectors before their divisions, 16.7.
        let inverse_root = T::V::<S>::splat(s, self.inverse_root);
        let denominator = second.sqrt().mul_add(inverse_root, T::V::<S>::splat(s, self.epsilon));
        parameter + first * T::V::<S>::splat(s, self.minus_step_size) / denominator
    }
}

impl<T: Element> Update<T, 3> for AdamRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        [parameter, first, second]: [T::V<S>; 3],
        gradient: T::V<S>,
    ) -> [T::V<S>; 3] {
        let (first, second) = self.moments(s, first, second, gradient);
        [self.moved(s, parameter, first, second), first, second]
    }

    /// A gradient that is not finite leaves such a first moment, and that such a parameter.
    #[inline(always)]
    fn watch<S: Simd>(
        self,
        finite: T::V<S>,
        zero: T::V<S>,
        _: T::V<S>,
        [parameter, _, second]: [T::V<S>; 3],
    ) -> T::V<S> {
        parameter.mul_add(zero, second.mul_add(zero, finite))
    }
}

impl<T: Element> Update<T, 4> for AdamRule<T> {
    #[inline(always)]
    fn apply<S: Simd>(
        self,
        s: S,
        [parameter, first, second, largest]: [T::V<S>; 4],
        gradient: T::V<S>,
    ) -> [T::V<S>; 4] {
        let (first, second) = self.moments(s, first, second, gradient);
        let largest = largest.max(second);
        [self.moved(s, parameter, first, largest), first, second, largest]
    }
}

/// A step of [`Adam`], [`AdamW`] or [`RAdam`](super::RAdam). True if every gradient, and everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ; [`Error::Argument`] for a step of AMSGrad.
///
/// ```
/// use gemmule::{Context, kernel::update::{Adam, adam}};
/// let (mut p, mut m, mut v) = ([1.0_f32], [0.0], [0.0]);
/// let options = Adam { learning_rate: 0.1, ..Adam::default() };
/// for number in 1..=3 {
///     adam(&Context::detect()?, &options.step(number)?, &mut p, &[2.0], &mut m, &mut v)?;
/// }
/// assert!((p[0] - 0.7).abs() < 1e-6);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn adam<T: Element>(
    context: &Context,
    step: &Step<AdamRule>,
    parameters: &mut [T],
    gradients: &[T],
    first_moment: &mut [T],
    second_moment: &mut [T],
) -> Result<bool> {
    if step.rule.amsgrad {
        let expected = "false: `amsgrad` takes the array that it needs";
        return Err(Error::argument(step.operation, "amsgrad", expected, true));
    }
    let names = ["parameters", "first_moment", "second_moment"];
    let state = [parameters, first_moment, second_moment];
    run::<_, _, _, 3>(context, step, step.rule.round::<T>(), names, state, gradients)
}

/// A step of [`Adam`] or [`AdamW`] with AMSGrad: `largest` keeps the largest second moment. True if every gradient, and
/// everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn amsgrad<T: Element>(
    context: &Context,
    step: &Step<AdamRule>,
    parameters: &mut [T],
    gradients: &[T],
    first_moment: &mut [T],
    second_moment: &mut [T],
    largest: &mut [T],
) -> Result<bool> {
    let names = ["parameters", "first_moment", "second_moment", "largest"];
    let state = [parameters, first_moment, second_moment, largest];
    run::<_, _, _, 4>(context, step, step.rule.round::<T>(), names, state, gradients)
}

impl Step<AdamRule> {
    /// Whether it keeps the largest second moment.
    pub(super) fn is_amsgrad(&self) -> bool {
        self.rule.amsgrad
    }
}
