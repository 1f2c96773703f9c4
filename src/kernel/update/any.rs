//! A step of whichever optimiser: what the engine runs.

use super::{
    AdadeltaRule, AdagradRule, AdamRule, AdamaxRule, LionRule, NAdamRule, RmsPropRule, SgdRule, Step,
    adadelta, adagrad, adam, adamax, amsgrad, lion, momentum, nadam, rmsprop, sgd,
};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::element::Element;

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

    /// Runs it; state arrays that it does not use are empty. True if every gradient, and everything written, is
    /// finite.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the lengths differ.
    pub(crate) fn run<T: Element>(
        &self,
        context: &Context,
        p: &mut [T],
        g: &[T],
        [first, second, third]: [&mut [T]; Self::STATES],
    ) -> Result<bool> {
        match self {
            Self::Sgd(step) if step.has_momentum() => momentum(context, step, p, g, first),
            Self::Sgd(step) => sgd(context, step, p, g),
            Self::Adagrad(step) => adagrad(context, step, p, g, first),
            Self::RmsProp(step) if step.has_momentum() => rmsprop(context, step, p, g, first, second, third),
            Self::RmsProp(step) => rmsprop(context, step, p, g, first, &mut [], second),
            Self::Adadelta(step) => adadelta(context, step, p, g, first, second),
            Self::Adam(step) if step.is_amsgrad() => amsgrad(context, step, p, g, first, second, third),
            Self::Adam(step) => adam(context, step, p, g, first, second),
            Self::Adamax(step) => adamax(context, step, p, g, first, second),
            Self::NAdam(step) => nadam(context, step, p, g, first, second),
            Self::Lion(step) => lion(context, step, p, g, first),
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
