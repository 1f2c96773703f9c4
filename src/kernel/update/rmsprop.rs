//! RMSprop: plain, centered, with momentum.

use super::{Shared, Step, check_number, check_rate, run};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::Update;
use crate::simd::{Simd, Vector};

/// RMSprop (Tieleman and Hinton 2012; centered: Graves 2013).
///
/// ```text
/// g = gradient + weight_decay * p
/// v = alpha * v + (1 - alpha) * g^2
/// a = a + (1 - alpha) * (g - a)              centered only
/// d = sqrt(v) + epsilon                      centered: sqrt(max(v - a^2, 0)) + epsilon
/// b = momentum * b + g / d                   with momentum only
/// p -= learning_rate * b                     without momentum: learning_rate * g / d
/// ```
///
/// Where rounding leaves v - a^2 below 0, which constant gradients do, PyTorch puts out NaN.
/// Source: the PyTorch documentation of `torch.optim.RMSprop`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// The step size.
    pub learning_rate: f64,
    /// Decay of the averages.
    pub alpha: f64,
    /// Added to the root of the average.
    pub epsilon: f64,
    /// How much of the last step is kept; 0 switches momentum off.
    pub momentum: f64,
    /// Divide by the deviation instead of the root of the mean square.
    pub centered: bool,
    /// L2 penalty.
    pub weight_decay: f64,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for RmsProp {
    /// Learning rate 0.01, alpha 0.99, epsilon 1e-8, all else off, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 0.01,
            alpha: 0.99,
            epsilon: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
            l1: 0.0,
            maximize: false,
        }
    }
}

/// The numbers of a step of [`rmsprop`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsPropRule<T = f64> {
    minus_rate: T,
    alpha: T,
    one_minus_alpha: T,
    epsilon: T,
    momentum: T,
    centered: bool,
}

impl RmsProp {
    /// The step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if an option is negative, NaN or infinite, alpha above 1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<RmsPropRule>> {
        let operation = "rmsprop";
        let shared = Shared {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            decoupled: false,
            l1: self.l1,
            maximize: self.maximize,
        };
        let before = shared.check(operation)?;
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(Error::argument(operation, "alpha", "from 0 to 1", self.alpha));
        }
        check_rate(operation, "epsilon", self.epsilon)?;
        check_rate(operation, "momentum", self.momentum)?;
        check_number(operation, number)?;
        let rule = RmsPropRule {
            minus_rate: -self.learning_rate,
            alpha: self.alpha,
            one_minus_alpha: 1.0 - self.alpha,
            epsilon: self.epsilon,
            momentum: self.momentum,
            centered: self.centered,
        };
        Ok(Step { operation, rule, before })
    }
}

impl RmsPropRule {
    pub(super) fn round<T: Element>(&self) -> RmsPropRule<T> {
        RmsPropRule {
            minus_rate: T::from_f64(self.minus_rate),
            alpha: T::from_f64(self.alpha),
            one_minus_alpha: T::from_f64(self.one_minus_alpha),
            epsilon: T::from_f64(self.epsilon),
            momentum: T::from_f64(self.momentum),
            centered: self.centered,
        }
    }
}

impl<T: Element> RmsPropRule<T> {
    /// The mean square.
    #[inline(always)]
    fn square<S: Simd>(self, s: S, square: T::V<S>, gradient: T::V<S>) -> T::V<S> {
        let new = gradient * T::V::<S>::splat(s, self.one_minus_alpha) * gradient;
        square.mul_add(T::V::<S>::splat(s, self.alpha), new)
    }

    /// The mean.
    #[inline(always)]
    fn mean<S: Simd>(self, s: S, mean: T::V<S>, gradient: T::V<S>) -> T::V<S> {
        (gradient - mean).mul_add(T::V::<S>::splat(s, self.one_minus_alpha), mean)
    }

    /// The new parameter and velocity, which is the old one without momentum.
    #[inline(always)]
    fn moved<S: Simd>(
        self,
        s: S,
        parameter: T::V<S>,
        variance: T::V<S>,
        velocity: Option<T::V<S>>,
        gradient: T::V<S>,
    ) -> (T::V<S>, T::V<S>) {
        let (rate, epsilon) = (T::V::<S>::splat(s, self.minus_rate), T::V::<S>::splat(s, self.epsilon));
        let denominator = variance.sqrt() + epsilon;
        match velocity {
            None => (parameter + gradient * rate / denominator, gradient),
            Some(velocity) => {
                let velocity = velocity.mul_add(T::V::<S>::splat(s, self.momentum), gradient / denominator);
                (velocity.mul_add(rate, parameter), velocity)
            }
        }
    }
}

/// `square - mean^2`, and 0 where rounding made it negative; NaN stays.
#[inline(always)]
fn variance<T: Element, S: Simd>(s: S, square: T::V<S>, mean: T::V<S>) -> T::V<S> {
    let zero = T::V::<S>::splat(s, T::zero());
    zero.max_or_other((-mean).mul_add(mean, square))
}

/// The rule with its arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind<T, const CENTERED: bool, const MOMENTUM: bool>(pub(super) RmsPropRule<T>);

impl<T: Element> Update<T, 2> for Kind<T, false, false> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [p, square]: [T::V<S>; 2], g: T::V<S>) -> [T::V<S>; 2] {
        let square = self.0.square(s, square, g);
        [self.0.moved(s, p, square, None, g).0, square]
    }
}

impl<T: Element> Update<T, 3> for Kind<T, true, false> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [p, square, mean]: [T::V<S>; 3], g: T::V<S>) -> [T::V<S>; 3] {
        let (square, mean) = (self.0.square(s, square, g), self.0.mean(s, mean, g));
        [self.0.moved(s, p, variance::<T, S>(s, square, mean), None, g).0, square, mean]
    }
}

impl<T: Element> Update<T, 3> for Kind<T, false, true> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [p, square, velocity]: [T::V<S>; 3], g: T::V<S>) -> [T::V<S>; 3] {
        let square = self.0.square(s, square, g);
        let (p, velocity) = self.0.moved(s, p, square, Some(velocity), g);
        [p, square, velocity]
    }
}

impl<T: Element> Update<T, 4> for Kind<T, true, true> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [p, square, velocity, mean]: [T::V<S>; 4], g: T::V<S>) -> [T::V<S>; 4] {
        let (square, mean) = (self.0.square(s, square, g), self.0.mean(s, mean, g));
        let (p, velocity) = self.0.moved(s, p, variance::<T, S>(s, square, mean), Some(velocity), g);
        [p, square, velocity, mean]
    }
}

/// A step of [`RmsProp`]. `velocity` is empty without momentum, `mean` unless centered. True if every gradient, and
/// everything written, is finite.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ, or if an array is not empty that the options do not use.
///
/// ```
/// use gemmule::{Context, kernel::update::{RmsProp, rmsprop}};
/// let (mut p, mut square) = ([1.0_f32, 2.0], [0.0; 2]);
/// let step = RmsProp::default().step(1)?;
/// rmsprop(&Context::detect()?, &step, &mut p, &[1.0, -3.0], &mut square, &mut [], &mut [])?;
/// assert!((p[0] - 0.9).abs() < 1e-6 && (p[1] - 2.1).abs() < 1e-6);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn rmsprop<T: Element>(
    context: &Context,
    step: &Step<RmsPropRule>,
    parameters: &mut [T],
    gradients: &[T],
    square: &mut [T],
    velocity: &mut [T],
    mean: &mut [T],
) -> Result<bool> {
    let rule = step.rule.round::<T>();
    let moves = step.has_momentum();
    for (name, array, used) in [("velocity", &velocity, moves), ("mean", &mean, rule.centered)] {
        if !used && !array.is_empty() {
            return Err(Error::shape("rmsprop", name, "no elements: the options do not use it", array.len()));
        }
    }
    let (p, g) = (parameters, gradients);
    match (rule.centered, moves) {
        (false, false) => {
            let names = ["parameters", "square"];
            run::<_, _, _, 2>(context, step, Kind::<T, false, false>(rule), names, [p, square], g)
        }
        (true, false) => {
            let names = ["parameters", "square", "mean"];
            run::<_, _, _, 3>(context, step, Kind::<T, true, false>(rule), names, [p, square, mean], g)
        }
        (false, true) => {
            let names = ["parameters", "square", "velocity"];
            run::<_, _, _, 3>(context, step, Kind::<T, false, true>(rule), names, [p, square, velocity], g)
        }
        (true, true) => {
            let names = ["parameters", "square", "velocity", "mean"];
            let state = [p, square, velocity, mean];
            run::<_, _, _, 4>(context, step, Kind::<T, true, true>(rule), names, state, g)
        }
    }
}

impl Step<RmsPropRule> {
    /// Whether it keeps a velocity.
    pub(super) fn has_momentum(&self) -> bool {
        self.rule.momentum != 0.0
    }

    /// Whether it keeps a mean.
    pub(super) fn is_centered(&self) -> bool {
        self.rule.centered
    }
}
