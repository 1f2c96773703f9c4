//! A step of whichever optimiser: what the engine runs.

use super::rmsprop::Kind;
use super::{
    AdadeltaRule, AdagradRule, AdamRule, AdamaxRule, LionRule, NAdamRule, RmsPropRule, Rows, SgdRule, Step,
    Whole,
};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::compiled::Compiled;
use crate::kernel::element::Element;
use crate::kernel::gemm::view::{MatMut, MatRef};
use crate::kernel::loops::Update;

/// What an optimiser does in one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnyStep {
    Sgd(Step<SgdRule>),
    Adagrad(Step<AdagradRule>),
    RmsProp(Step<RmsPropRule>),
    Adadelta(Step<AdadeltaRule>),
    Adam(Step<AdamRule>),
    Adamax(Step<AdamaxRule>),
    NAdam(Step<NAdamRule>),
    Lion(Step<LionRule>),
}

impl AnyStep {
    /// The most state arrays that a rule uses.
    pub(crate) const STATES: usize = 3;

    /// How many state arrays it uses: the first ones.
    pub(crate) fn states(&self) -> usize {
        match self {
            Self::Sgd(step) => usize::from(step.has_momentum()),
            Self::Adagrad(_) | Self::Lion(_) => 1,
            Self::RmsProp(step) => 1 + usize::from(step.has_momentum()) + usize::from(step.is_centered()),
            Self::Adam(step) => 2 + usize::from(step.is_amsgrad()),
            Self::Adadelta(_) | Self::Adamax(_) | Self::NAdam(_) => 2,
        }
    }

    /// What state `index` of a parameter is that no step has seen.
    pub(crate) fn first_state(&self, index: usize) -> f64 {
        match self {
            Self::Adagrad(step) if index == 0 => step.initial_accumulator(),
            _ => 0.0,
        }
    }

    /// The same with its numbers rounded to T, once for all the tiles of a step.
    pub(crate) fn ready<T: Element>(&self) -> Ready<T> {
        match self {
            Self::Sgd(step) if step.has_momentum() => Ready::Momentum(whole(step, step.rule.round())),
            Self::Sgd(step) => Ready::Sgd(whole(step, step.rule.round())),
            Self::Adagrad(step) => Ready::Adagrad(whole(step, step.rule.round())),
            Self::RmsProp(step) => match (step.is_centered(), step.has_momentum()) {
                (false, false) => Ready::RmsProp(whole(step, Kind(step.rule.round()))),
                (true, false) => Ready::RmsPropCentered(whole(step, Kind(step.rule.round()))),
                (false, true) => Ready::RmsPropMomentum(whole(step, Kind(step.rule.round()))),
                (true, true) => Ready::RmsPropBoth(whole(step, Kind(step.rule.round()))),
            },
            Self::Adadelta(step) => Ready::Adadelta(whole(step, step.rule.round())),
            Self::Adam(step) if step.is_amsgrad() => Ready::AmsGrad(whole(step, step.rule.round())),
            Self::Adam(step) => Ready::Adam(whole(step, step.rule.round())),
            Self::Adamax(step) => Ready::Adamax(whole(step, step.rule.round())),
            Self::NAdam(step) => Ready::NAdam(whole(step, step.rule.round())),
            Self::Lion(step) => Ready::Lion(whole(step, step.rule.round())),
        }
    }

    /// Multiplies the gradients by `factor`: see [`Step::gradient_scale`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn gradient_scale(self, factor: f64) -> Result<Self> {
        Ok(match self {
            Self::Sgd(step) => Self::Sgd(step.gradient_scale(factor)?),
            Self::Adagrad(step) => Self::Adagrad(step.gradient_scale(factor)?),
            Self::RmsProp(step) => Self::RmsProp(step.gradient_scale(factor)?),
            Self::Adadelta(step) => Self::Adadelta(step.gradient_scale(factor)?),
            Self::Adam(step) => Self::Adam(step.gradient_scale(factor)?),
            Self::Adamax(step) => Self::Adamax(step.gradient_scale(factor)?),
            Self::NAdam(step) => Self::NAdam(step.gradient_scale(factor)?),
            Self::Lion(step) => Self::Lion(step.gradient_scale(factor)?),
        })
    }

    /// Clips the gradients: see [`Step::clip_value`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn clip_value(self, limit: f64) -> Result<Self> {
        Ok(match self {
            Self::Sgd(step) => Self::Sgd(step.clip_value(limit)?),
            Self::Adagrad(step) => Self::Adagrad(step.clip_value(limit)?),
            Self::RmsProp(step) => Self::RmsProp(step.clip_value(limit)?),
            Self::Adadelta(step) => Self::Adadelta(step.clip_value(limit)?),
            Self::Adam(step) => Self::Adam(step.clip_value(limit)?),
            Self::Adamax(step) => Self::Adamax(step.clip_value(limit)?),
            Self::NAdam(step) => Self::NAdam(step.clip_value(limit)?),
            Self::Lion(step) => Self::Lion(step.clip_value(limit)?),
        })
    }
}

fn whole<T: Element, R, O>(step: &Step<R>, rule: O) -> Whole<T, O> {
    Whole { before: step.before.round(), rule }
}

/// What an optimiser does in one step, with its numbers in the arrays' type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready<T> {
    Sgd(Whole<T, SgdRule<T>>),
    Momentum(Whole<T, SgdRule<T>>),
    Adagrad(Whole<T, AdagradRule<T>>),
    RmsProp(Whole<T, Kind<T, false, false>>),
    RmsPropCentered(Whole<T, Kind<T, true, false>>),
    RmsPropMomentum(Whole<T, Kind<T, false, true>>),
    RmsPropBoth(Whole<T, Kind<T, true, true>>),
    Adadelta(Whole<T, AdadeltaRule<T>>),
    Adam(Whole<T, AdamRule<T>>),
    AmsGrad(Whole<T, AdamRule<T>>),
    Adamax(Whole<T, AdamaxRule<T>>),
    NAdam(Whole<T, NAdamRule<T>>),
    Lion(Whole<T, LionRule<T>>),
}

impl<T: Element> Ready<T> {
    /// How many state arrays it uses: the first ones.
    pub(crate) fn states(&self) -> usize {
        match self {
            Self::Sgd(_) => 0,
            Self::Momentum(_) | Self::Adagrad(_) | Self::RmsProp(_) | Self::Lion(_) => 1,
            Self::RmsPropBoth(_) | Self::AmsGrad(_) => 3,
            Self::RmsPropCentered(_)
            | Self::RmsPropMomentum(_)
            | Self::Adadelta(_)
            | Self::Adam(_)
            | Self::Adamax(_)
            | Self::NAdam(_) => 2,
        }
    }

    /// Runs it on matrices of one shape whose rows are contiguous; states that it does not use are not looked at. True if
    /// every gradient, and everything written, is finite.
    pub(crate) fn run(
        &self,
        context: &Context,
        p: MatMut<'_, T>,
        g: MatRef<'_, T>,
        [first, second, third]: [MatMut<'_, T>; AnyStep::STATES],
    ) -> bool {
        match *self {
            Self::Sgd(operation) => rows(context, operation, [p], g),
            Self::Momentum(operation) => rows(context, operation, [p, first], g),
            Self::Adagrad(operation) => rows(context, operation, [p, first], g),
            Self::RmsProp(operation) => rows(context, operation, [p, first], g),
            // The mean is the last of its states, after the velocity.
            Self::RmsPropCentered(operation) => rows(context, operation, [p, first, second], g),
            Self::RmsPropMomentum(operation) => rows(context, operation, [p, first, second], g),
            Self::RmsPropBoth(operation) => rows(context, operation, [p, first, second, third], g),
            Self::Adadelta(operation) => rows(context, operation, [p, first, second], g),
            Self::Adam(operation) => rows(context, operation, [p, first, second], g),
            Self::AmsGrad(operation) => rows(context, operation, [p, first, second, third], g),
            Self::Adamax(operation) => rows(context, operation, [p, first, second], g),
            Self::NAdam(operation) => rows(context, operation, [p, first, second], g),
            Self::Lion(operation) => rows(context, operation, [p, first], g),
        }
    }
}

fn rows<'a, T, O, const N: usize>(
    context: &Context,
    operation: Whole<T, O>,
    state: [MatMut<'a, T>; N],
    gradients: MatRef<'a, T>,
) -> bool
where
    T: Element + Compiled<Rows<'a, T, O, N>>,
    O: Update<T, N>,
{
    T::run(context, Rows { operation, state, gradients })
}
