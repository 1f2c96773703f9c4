//! Optimisers: PyTorch's formulas, names and defaults.
//!
//! ```text
//!              state arrays                                      from
//!   Sgd        0; 1 with momentum                                torch.optim.SGD
//!   Adagrad    1                                                 torch.optim.Adagrad
//!   RmsProp    1; one more with momentum, one more if centered   torch.optim.RMSprop
//!   Adadelta   2                                                 torch.optim.Adadelta
//!   Adam       2; 3 for AMSGrad                                  torch.optim.Adam
//!   AdamW      2; 3 for AMSGrad                                  torch.optim.AdamW
//!   Adamax     2                                                 torch.optim.Adamax
//!   NAdam      2                                                 torch.optim.NAdam
//!   RAdam      2                                                 torch.optim.RAdam
//!   Lion       1                                                 Chen et al. 2023
//! ```
//!
//! All take an L2 penalty or decoupled weight decay, an L1 penalty, and can maximise; [`Clip`] bounds the gradients, and a [`Constraint`]
//! holds parameters after each update. Their
//! steps run on any slices too: [`kernel::update`](crate::kernel::update).

pub use crate::kernel::update::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Constraint, Lion, NAdam, RAdam, RmsProp, Sgd,
};

mod groups;
pub mod schedule;

pub(crate) use groups::Groups;

use crate::error::Result;
use crate::kernel::update::AnyStep;

/// An optimiser with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adagrad.
    Adagrad(Adagrad),
    /// RMSprop.
    RmsProp(RmsProp),
    /// Adadelta.
    Adadelta(Adadelta),
    /// Adam, or AMSGrad.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Adam with the infinity norm.
    Adamax(Adamax),
    /// Adam with Nesterov's momentum.
    NAdam(NAdam),
    /// Adam, rectified.
    RAdam(RAdam),
    /// Lion.
    Lion(Lion),
}

impl From<Sgd> for Optimizer {
    fn from(options: Sgd) -> Self {
        Self::Sgd(options)
    }
}

impl From<Adagrad> for Optimizer {
    fn from(options: Adagrad) -> Self {
        Self::Adagrad(options)
    }
}

impl From<RmsProp> for Optimizer {
    fn from(options: RmsProp) -> Self {
        Self::RmsProp(options)
    }
}

impl From<Adadelta> for Optimizer {
    fn from(options: Adadelta) -> Self {
        Self::Adadelta(options)
    }
}

impl From<Adam> for Optimizer {
    fn from(options: Adam) -> Self {
        Self::Adam(options)
    }
}

impl From<AdamW> for Optimizer {
    fn from(options: AdamW) -> Self {
        Self::AdamW(options)
    }
}

impl From<Adamax> for Optimizer {
    fn from(options: Adamax) -> Self {
        Self::Adamax(options)
    }
}

impl From<NAdam> for Optimizer {
    fn from(options: NAdam) -> Self {
        Self::NAdam(options)
    }
}

impl From<RAdam> for Optimizer {
    fn from(options: RAdam) -> Self {
        Self::RAdam(options)
    }
}

impl From<Lion> for Optimizer {
    fn from(options: Lion) -> Self {
        Self::Lion(options)
    }
}

impl Optimizer {
    /// The step size.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(options) => options.learning_rate,
            Self::Adagrad(options) => options.learning_rate,
            Self::RmsProp(options) => options.learning_rate,
            Self::Adadelta(options) => options.learning_rate,
            Self::Adam(options) => options.learning_rate,
            Self::AdamW(options) => options.learning_rate,
            Self::Adamax(options) => options.learning_rate,
            Self::NAdam(options) => options.learning_rate,
            Self::RAdam(options) => options.learning_rate,
            Self::Lion(options) => options.learning_rate,
        }
    }

    pub(crate) fn set_learning_rate(&mut self, value: f64) {
        match self {
            Self::Sgd(options) => options.learning_rate = value,
            Self::Adagrad(options) => options.learning_rate = value,
            Self::RmsProp(options) => options.learning_rate = value,
            Self::Adadelta(options) => options.learning_rate = value,
            Self::Adam(options) => options.learning_rate = value,
            Self::AdamW(options) => options.learning_rate = value,
            Self::Adamax(options) => options.learning_rate = value,
            Self::NAdam(options) => options.learning_rate = value,
            Self::RAdam(options) => options.learning_rate = value,
            Self::Lion(options) => options.learning_rate = value,
        }
    }

    /// How much of the last steps is kept: the momentum, or beta1; `None` if the optimiser was made without.
    pub(crate) fn momentum(&self) -> Option<f64> {
        match self {
            Self::Sgd(Sgd { momentum, .. }) | Self::RmsProp(RmsProp { momentum, .. }) => {
                (*momentum != 0.0).then_some(*momentum)
            }
            Self::Adam(options) => Some(options.beta1),
            Self::AdamW(options) => Some(options.beta1),
            Self::Adamax(options) => Some(options.beta1),
            Self::NAdam(options) => Some(options.beta1),
            Self::RAdam(options) => Some(options.beta1),
            Self::Lion(options) => Some(options.beta1),
            Self::Adagrad(_) | Self::Adadelta(_) => None,
        }
    }

    /// Sets what [`momentum`](Self::momentum) says; an optimiser that was made without stays so.
    pub(crate) fn set_momentum(&mut self, value: f64) {
        match self {
            Self::Sgd(options) => options.momentum = value,
            Self::RmsProp(options) => options.momentum = value,
            Self::Adam(options) => options.beta1 = value,
            Self::AdamW(options) => options.beta1 = value,
            Self::Adamax(options) => options.beta1 = value,
            Self::NAdam(options) => options.beta1 = value,
            Self::RAdam(options) => options.beta1 = value,
            Self::Lion(options) => options.beta1 = value,
            Self::Adagrad(_) | Self::Adadelta(_) => {}
        }
    }

    /// The weight decay and the L1 penalty: what moves a parameter whose gradient is zero.
    pub(crate) fn penalties(&self) -> [f64; 2] {
        match self {
            Self::Sgd(options) => [options.weight_decay, options.l1],
            Self::Adagrad(options) => [options.weight_decay, options.l1],
            Self::RmsProp(options) => [options.weight_decay, options.l1],
            Self::Adadelta(options) => [options.weight_decay, options.l1],
            Self::Adam(options) => [options.weight_decay, options.l1],
            Self::AdamW(options) => [options.weight_decay, options.l1],
            Self::Adamax(options) => [options.weight_decay, options.l1],
            Self::NAdam(options) => [options.weight_decay, options.l1],
            Self::RAdam(options) => [options.weight_decay, options.l1],
            Self::Lion(options) => [options.weight_decay, options.l1],
        }
    }

    /// The update of step `number`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if an option is out of its range.
    pub(crate) fn update(&self, number: u64) -> Result<AnyStep> {
        Ok(match self {
            Self::Sgd(options) => AnyStep::Sgd(options.step(number)?),
            Self::Adagrad(options) => AnyStep::Adagrad(options.step(number)?),
            Self::RmsProp(options) => AnyStep::RmsProp(options.step(number)?),
            Self::Adadelta(options) => AnyStep::Adadelta(options.step(number)?),
            Self::Adam(options) => AnyStep::Adam(options.step(number)?),
            Self::AdamW(options) => AnyStep::Adam(options.step(number)?),
            Self::Adamax(options) => AnyStep::Adamax(options.step(number)?),
            Self::NAdam(options) => AnyStep::NAdam(options.step(number)?),
            Self::RAdam(options) => AnyStep::Adam(options.step(number)?),
            Self::Lion(options) => AnyStep::Lion(options.step(number)?),
        })
    }
}
