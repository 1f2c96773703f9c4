//! Optimiser updates over flat arrays: one pass, all state in registers.
//!
//! ```text
//! options     Adam { learning_rate, .. }      as PyTorch names them, with its defaults
//!    | step(number)                           checks them; bias corrections and schedules, in f64
//! Step        its numbers at one step         .gradient_scale(..), .clip_value(..): what is done to the gradient
//!    | adam(context, &step, p, g, m, v)       rounds the numbers once to the arrays' type
//! one pass    for each element:
//!               g = gradient_scale * gradient          (negated to maximise)
//!               g = clamp(g, -clip_value, clip_value)
//!               g = g + weight_decay * p               or, decoupled: p = p * (1 - learning_rate * weight_decay)
//!               g = g + l1 * sign(p)
//!               the rule: state and p from g
//! ```
//!
//! The formulas and defaults are PyTorch's (`torch.optim`, version 2.15) but for [`Lion`], which it lacks, and for what
//! [`RmsProp`] says. An element's new value depends on that element alone, so arrays may be cut anywhere. Each function
//! says whether every gradient and everything written is finite, which costs one instruction per vector; the update
//! has then been made all the same.
//!
//! State arrays start at zero. Powers are by repeated squaring and `libm`: the same bits on every platform.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod any;
mod average;
mod clip;
mod constraint;
mod lion;
mod max_norm;
mod nadam;
mod radam;
mod rmsprop;
mod sgd;

pub use adadelta::{Adadelta, AdadeltaRule, adadelta};
pub use adagrad::{Adagrad, AdagradRule, adagrad};
pub use adam::{Adam, AdamRule, AdamW, adam, amsgrad};
pub use adamax::{Adamax, AdamaxRule, adamax};
pub(crate) use any::{AnyStep, Ready};
pub use average::moving_average;
pub use clip::{Clip, clip_norm, clip_value, norm, norm_scale};
pub(crate) use clip::{Squares, other_scale};
pub(crate) use constraint::{COLUMNS as CONSTRAINT_COLUMNS, constrain_columns};
pub use constraint::{Constraint, constrain};
pub use lion::{Lion, LionRule, lion};
pub use max_norm::max_norm;
pub use nadam::{NAdam, NAdamRule, nadam};
pub use radam::RAdam;
pub use rmsprop::{RmsProp, RmsPropRule, rmsprop};
pub use sgd::{Sgd, SgdRule, momentum, sgd};

use super::compiled::{Compiled, compiled};
use super::element::Element;
use super::gemm::view::{MatMut, MatRef};
use super::loops::{self, Update};
use super::share::{self, cut};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd, Vector};

/// One step of an optimiser: the rule's numbers at that step, and what is done to the gradients before.
///
/// Options such as [`Adam`] make it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<R> {
    operation: &'static str,
    rule: R,
    before: Before<f64>,
}

impl<R> Step<R> {
    /// Multiplies the gradients by `factor` before all else, within the pass: the inverse of a loss scale, or what
    /// [`norm_scale`] says. A second call multiplies both.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is negative, NaN or infinite.
    pub fn gradient_scale(mut self, factor: f64) -> Result<Self> {
        check_rate(self.operation, "gradient_scale", factor)?;
        self.before.scale *= factor;
        Ok(self)
    }

    /// Clips the (scaled) gradients to `-limit ..= limit` within the pass. NaN stays, and an infinite gradient is still
    /// reported.
    ///
    /// # Errors
    /// [`Error::Argument`] unless it is above 0. Infinity clips nothing.
    pub fn clip_value(mut self, limit: f64) -> Result<Self> {
        clip::check_limit(self.operation, "clip_value", limit)?;
        self.before.limit = limit;
        self.before.rare |= limit < f64::INFINITY;
        Ok(self)
    }
}

/// What happens before the rule: to the gradient, and the decoupled decay of the parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Before<T> {
    scale: T,
    limit: T,
    l2: T,
    l1: T,
    /// The parameter is multiplied by it.
    decay: T,
    /// There is a limit or an L1 penalty.
    rare: bool,
    /// Nothing happens.
    nothing: bool,
}

/// The options that all optimisers share.
struct Shared {
    learning_rate: f64,
    weight_decay: f64,
    /// The weight decay is no part of the gradient.
    decoupled: bool,
    l1: f64,
    maximize: bool,
}

impl Shared {
    fn check(&self, operation: &'static str) -> Result<Before<f64>> {
        check_rate(operation, "learning_rate", self.learning_rate)?;
        check_rate(operation, "weight_decay", self.weight_decay)?;
        check_rate(operation, "l1", self.l1)?;
        Ok(Before {
            scale: if self.maximize { -1.0 } else { 1.0 },
            limit: f64::INFINITY,
            l2: if self.decoupled { 0.0 } else { self.weight_decay },
            l1: self.l1,
            decay: if self.decoupled { 1.0 - self.learning_rate * self.weight_decay } else { 1.0 },
            rare: self.l1 > 0.0,
            nothing: false,
        })
    }
}

impl Before<f64> {
    fn round<T: Element>(&self) -> Before<T> {
        Before {
            scale: T::from_f64(self.scale),
            limit: T::from_f64(self.limit),
            l2: T::from_f64(self.l2),
            l1: T::from_f64(self.l1),
            decay: T::from_f64(self.decay),
            rare: self.rare,
            nothing: !self.rare && (self.scale, self.l2, self.decay) == (1.0, 0.0, 1.0),
        }
    }
}

impl<T: Element> Before<T> {
    /// Parameter and gradient as the rule takes them. Factors of 1 and 0 would change no number, but each multiplication
    /// costs a cycle that an update in L2 shows.
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, parameter: T::V<S>, gradient: T::V<S>) -> (T::V<S>, T::V<S>) {
        if self.nothing {
            return (parameter, gradient);
        }
        let mut gradient = gradient * T::V::<S>::splat(s, self.scale);
        if self.rare {
            gradient = clip::clamp(s, gradient, self.limit);
        }
        gradient = parameter.mul_add(T::V::<S>::splat(s, self.l2), gradient);
        if self.rare {
            gradient = gradient + with_sign::<T, S>(s, self.l1, parameter);
        }
        (parameter * T::V::<S>::splat(s, self.decay), gradient)
    }
}

/// `value * sign(x)`: `value`, `-value`, or x itself where it is 0 or NaN.
#[inline(always)]
fn with_sign<T: Element, S: Simd>(s: S, value: T, x: T::V<S>) -> T::V<S> {
    let (zero, value) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, value));
    value.select(x.greater(zero), (-value).select(zero.greater(x), x))
}

/// A rule with what comes before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<T, O> {
    before: Before<T>,
    rule: O,
}

impl<T: Element, O: Update<T, N>, const N: usize> Update<T, N> for Whole<T, O> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, mut state: [T::V<S>; N], gradient: T::V<S>) -> [T::V<S>; N] {
        let (parameter, gradient) = self.before.apply(s, state[0], gradient);
        state[0] = parameter;
        self.rule.apply(s, state, gradient)
    }

    #[inline(always)]
    fn watch<S: Simd>(
        self,
        finite: T::V<S>,
        zero: T::V<S>,
        gradient: T::V<S>,
        state: [T::V<S>; N],
    ) -> T::V<S> {
        // A clipped gradient no longer shows in the state.
        let finite = if self.before.rare { gradient.mul_add(zero, finite) } else { finite };
        self.rule.watch(finite, zero, gradient, state)
    }
}

/// Flat arrays, which several threads may share.
struct Run<'a, T, O, const N: usize> {
    operation: Whole<T, O>,
    state: [&'a mut [T]; N],
    gradients: &'a [T],
}

cut! { ['a, T: Copy, O: Copy, const N: usize] Run<'a, T, O, N>: per_unit(gradients, state) keep(operation) }

/// The rows of matrices of one shape: parameters, states, gradients.
struct Rows<'a, T, O, const N: usize> {
    operation: Whole<T, O>,
    state: [MatMut<'a, T>; N],
    gradients: MatRef<'a, T>,
}

impl<T: Element, O: Update<T, N>, const N: usize> Kernel for Rows<'_, T, O, N> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> bool {
        let mut finite = true;
        for i in 0..self.gradients.rows() {
            let Some(gradients) = self.gradients.row(i) else { break };
            let state = self.state.each_mut().map(|array| array.row_mut(i).unwrap_or_default());
            finite &= loops::update(s, self.operation, state, gradients);
        }
        finite
    }
}

/// Runs `rule`, the step's rounded to T; `state` is the parameters and the arrays called `names`.
fn run<'a, T, R, O, const N: usize>(
    context: &Context,
    step: &Step<R>,
    rule: O,
    names: [&'static str; N],
    state: [&'a mut [T]; N],
    gradients: &'a [T],
) -> Result<bool>
where
    T: Element + for<'b> Compiled<Rows<'b, T, O, N>>,
    O: Update<T, N> + Send,
{
    for (name, array) in names.into_iter().zip(&state) {
        if array.len() != gradients.len() {
            let expected = format!("{} elements, as in the gradients", gradients.len());
            return Err(Error::shape(step.operation, name, expected, array.len()));
        }
    }
    let operation = Whole { before: step.before.round(), rule };
    Ok(share::run_by(context, Run { operation, state, gradients }, |Run { operation, state, gradients }| {
        T::run(
            context,
            Rows { operation, state: state.map(MatMut::of_row), gradients: MatRef::of_row(gradients) },
        )
    }))
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

/// Steps are counted from 1.
fn check_number(operation: &'static str, number: u64) -> Result<()> {
    if number == 0 {
        return Err(Error::argument(operation, "step", "at least 1", 0));
    }
    Ok(())
}

/// `base` to the power `exponent` by repeated squaring: the same bits on every platform, unlike `powi`.
fn power(mut base: f64, mut exponent: u64) -> f64 {
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

compiled! {
    Rows<'a, Self, SgdRule<Self>, 1>,
    Rows<'a, Self, SgdRule<Self>, 2>,
    Rows<'a, Self, AdagradRule<Self>, 2>,
    Rows<'a, Self, rmsprop::Kind<Self, false, false>, 2>,
    Rows<'a, Self, rmsprop::Kind<Self, true, false>, 3>,
    Rows<'a, Self, rmsprop::Kind<Self, false, true>, 3>,
    Rows<'a, Self, rmsprop::Kind<Self, true, true>, 4>,
    Rows<'a, Self, AdadeltaRule<Self>, 3>,
    Rows<'a, Self, AdamRule<Self>, 3>,
    Rows<'a, Self, AdamRule<Self>, 4>,
    Rows<'a, Self, AdamaxRule<Self>, 3>,
    Rows<'a, Self, NAdamRule<Self>, 3>,
    Rows<'a, Self, LionRule<Self>, 2>,
    clip::ClipValue<'a, Self>,
    clip::Scale<'a, Self>,
    clip::AddSquares<'a, Self>,
    max_norm::MaxNorm<'a, Self>,
    constraint::Constrain<'a, Self>,
    average::Average<'a, Self>,
}
