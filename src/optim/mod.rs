//! Optimisers: PyTorch's formulas, names and defaults.

use crate::engine::Update;
use crate::error::Result;
use crate::kernel::update::{AdamStep, MomentumStep, SgdStep};

/// Stochastic gradient descent, with momentum if asked for.
///
/// ```text
/// g = g + weight_decay * p
/// b = momentum * b + (1 - dampening) * g           (first step: b = g)
/// p = p - learning_rate * (nesterov ? g + momentum * b : b)
/// ```
///
/// Without momentum b is g. Source: the PyTorch documentation of `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The step size.
    pub learning_rate: f64,
    /// How much of the last step is kept; 0 switches momentum off.
    pub momentum: f64,
    /// How much of the gradient is left out of the momentum.
    pub dampening: f64,
    /// Look ahead along the momentum.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f64,
}

impl Default for Sgd {
    /// Learning rate 1e-3, all else 0, as in PyTorch.
    fn default() -> Self {
        Self { learning_rate: 1e-3, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

/// Adam (Kingma and Ba 2015).
///
/// ```text
/// g = g + weight_decay * p
/// m = beta1 * m + (1 - beta1) * g
/// v = beta2 * v + (1 - beta2) * g^2
/// p = p - learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// Source: the PyTorch documentation of `torch.optim.Adam`.
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
}

impl Default for Adam {
    /// Learning rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8, no weight decay, as in PyTorch.
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// An optimiser with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
}

impl From<Sgd> for Optimizer {
    fn from(options: Sgd) -> Self {
        Self::Sgd(options)
    }
}

impl From<Adam> for Optimizer {
    fn from(options: Adam) -> Self {
        Self::Adam(options)
    }
}

impl Optimizer {
    /// The step size.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(options) => options.learning_rate,
            Self::Adam(options) => options.learning_rate,
        }
    }

    pub(crate) fn set_learning_rate(&mut self, value: f64) {
        match self {
            Self::Sgd(options) => options.learning_rate = value,
            Self::Adam(options) => options.learning_rate = value,
        }
    }

    /// The update of step `step`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if an option is out of its range.
    pub(crate) fn update(&self, step: u64) -> Result<Update> {
        Ok(match *self {
            // Nesterov's variant without momentum goes on to where it is refused.
            Self::Sgd(o) if o.momentum == 0.0 && !o.nesterov => {
                Update::Sgd(SgdStep::new(o.learning_rate, o.weight_decay)?)
            }
            Self::Sgd(o) => Update::Momentum {
                step: MomentumStep::new(
                    o.learning_rate,
                    o.momentum,
                    o.dampening,
                    o.nesterov,
                    o.weight_decay,
                )?,
                first_step: step == 1,
            },
            Self::Adam(o) => Update::Adam(AdamStep::new(
                o.learning_rate,
                o.beta1,
                o.beta2,
                o.epsilon,
                o.weight_decay,
                step,
            )?),
        })
    }
}
