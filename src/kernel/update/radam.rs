//! RAdam: Adam that waits until its second moment can be trusted.

use super::{AdamRule, Shared, Step, check_decay, check_number, check_rate, power};
use crate::error::Result;

/// Rectified Adam (Liu et al. 2020, "On the variance of the adaptive learning rate and beyond"). Its steps are
/// [`adam`](super::adam)'s.
///
/// ```text
/// m, v as in Adam;  r_inf = 2 / (1 - beta2) - 1;  r = r_inf - 2 t beta2^t / (1 - beta2^t)
/// p -= learning_rate / (1 - beta1^t) * m * c          if r > 5, with
///      c = sqrt((r - 4) (r - 2) r_inf / ((r_inf - 4) (r_inf - 2) r)) * sqrt(1 - beta2^t) / (sqrt(v) + epsilon)
/// p -= learning_rate / (1 - beta1^t) * m              else
/// ```
///
/// Source: the PyTorch documentation of `torch.optim.RAdam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RAdam {
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
    /// Shrink the parameters by `learning_rate * weight_decay` instead, as [`AdamW`](super::AdamW) does.
    pub decoupled_weight_decay: bool,
    /// L1 penalty: `l1 * sign(p)` is added to the gradient.
    pub l1: f64,
    /// Climb instead of descend.
    pub maximize: bool,
}

impl Default for RAdam {
    /// Learning rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8, all else off, as in PyTorch.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            l1: 0.0,
            maximize: false,
        }
    }
}

impl RAdam {
    /// The step `number`, counted from 1, for [`adam`](super::adam).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a rate is negative, NaN or infinite, a beta outside 0..1, or the step 0.
    pub fn step(&self, number: u64) -> Result<Step<AdamRule>> {
        let operation = "radam";
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
        check_number(operation, number)?;
        let power2 = power(self.beta2, number);
        let longest = 2.0 / (1.0 - self.beta2) - 1.0;
        // Late, the power is 0, and so is its product with any step.
        let length = longest - 2.0 * number as f64 * power2 / (1.0 - power2);
        let step_size = self.learning_rate / (1.0 - power(self.beta1, number));
        let adaptive = length > 5.0;
        let rectified = || {
            let share =
                (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length);
            (share * (1.0 - power2)).sqrt()
        };
        let rule = AdamRule {
            minus_step_size: if adaptive { -step_size * rectified() } else { -step_size },
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            // A denominator of 0 * sqrt(v) + 1 while the second moment has no part.
            epsilon: if adaptive { self.epsilon } else { 1.0 },
            inverse_root: if adaptive { 1.0 } else { 0.0 },
            amsgrad: false,
        };
        Ok(Step { operation, rule, before })
    }
}
