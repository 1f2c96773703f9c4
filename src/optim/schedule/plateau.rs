//! Down when a figure stops to improve.

use super::{Position, Schedule, check_rate, times};
use crate::error::{Error, Result};
use crate::state::State;

/// Which figures are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// What the name says: small ones if `loss`, `error` or `deviance` is in it, else large ones.
    #[default]
    Auto,
    /// Small ones: a loss, an error.
    Min,
    /// Large ones: an accuracy.
    Max,
}

impl Mode {
    /// Whether large values of the figure called `name` are good.
    pub(crate) fn wants_large(self, name: &str) -> bool {
        match self {
            Self::Auto => !["loss", "error", "deviance"].iter().any(|small| name.contains(small)),
            Self::Min => false,
            Self::Max => true,
        }
    }
}

/// What the threshold of [`ReduceLrOnPlateau`] means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThresholdMode {
    /// A part of the best figure.
    #[default]
    Rel,
    /// A difference to it.
    Abs,
}

/// A smaller rate each time a figure has not improved for a while: PyTorch's `ReduceLROnPlateau`.
///
/// ```text
/// rate    = base                              while k = 0
///           max(base * factor^k, min_lr)      after k reductions
/// better:   figure < best * (1 - threshold)   (Min, Rel)      figure < best - threshold   (Min, Abs)
///           figure > best * (1 + threshold)   (Max, Rel)      figure > best + threshold   (Max, Abs)
/// after each epoch, in this order:
///   better: best = figure, bad = 0; else bad += 1
///   in the cooldown: one epoch less is left of it, bad = 0
///   bad > patience: k += 1 if that changes the rate by more than eps; bad = 0; the cooldown begins
/// ```
///
/// NaN is not better.
///
/// ```
/// use gemmule::optim::schedule::{Position, ReduceLrOnPlateau, Schedule};
/// let mut schedule = ReduceLrOnPlateau { patience: 1, ..ReduceLrOnPlateau::default() };
/// for (epoch, loss) in [(1, 0.5), (2, 0.6), (3, 0.7)] {
///     assert_eq!(schedule.learning_rate(0.1, Position::new(epoch - 1, 1)), 0.1);
///     schedule.observe(0.1, Position::new(epoch, 1), loss);
/// }
/// assert!((schedule.learning_rate(0.1, Position::new(3, 1)) - 0.01).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceLrOnPlateau {
    /// The figure: `loss`, `validation_loss`, `accuracy`, `validation_accuracy`, or the name of a metric.
    pub monitor: String,
    /// Which figures are good.
    pub mode: Mode,
    /// What the rate is multiplied by; at least 0 and below 1.
    pub factor: f64,
    /// Epochs without improvement that are borne.
    pub patience: u64,
    /// What counts as an improvement; at least 0.
    pub threshold: f64,
    /// What the threshold means.
    pub threshold_mode: ThresholdMode,
    /// Epochs after a reduction in which none is counted as bad.
    pub cooldown: u64,
    /// The least rate; at least 0.
    pub min_lr: f64,
    /// A change of the rate that is not above this is not made; at least 0.
    pub eps: f64,
    /// What it remembers: nothing at first.
    pub seen: PlateauState,
}

/// What a [`ReduceLrOnPlateau`] remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PlateauState {
    /// The best figure so far.
    pub best: Option<f64>,
    /// Epochs without improvement.
    pub num_bad_epochs: u64,
    /// Epochs that are left of the cooldown.
    pub cooldown_counter: u64,
    /// How often the rate was reduced.
    pub reductions: u64,
}

impl Default for ReduceLrOnPlateau {
    /// A tenth after more than 10 epochs in which the validation loss was not better by 1e-4 of itself, as in PyTorch.
    fn default() -> Self {
        Self {
            monitor: "validation_loss".to_owned(),
            mode: Mode::Auto,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            seen: PlateauState::default(),
        }
    }
}

impl ReduceLrOnPlateau {
    fn rate(&self, base: f64, reductions: u64) -> f64 {
        if reductions == 0 { base } else { (base * times(self.factor, reductions)).max(self.min_lr) }
    }

    fn is_better(&self, value: f64) -> bool {
        let large = self.mode.wants_large(&self.monitor);
        let Some(best) = self.seen.best else { return !value.is_nan() };
        match (large, self.threshold_mode) {
            (false, ThresholdMode::Rel) => value < best * (1.0 - self.threshold),
            (false, ThresholdMode::Abs) => value < best - self.threshold,
            (true, ThresholdMode::Rel) => value > best * (1.0 + self.threshold),
            (true, ThresholdMode::Abs) => value > best + self.threshold,
        }
    }
}

impl Schedule for ReduceLrOnPlateau {
    fn learning_rate(&self, base: f64, _at: Position) -> f64 {
        self.rate(base, self.seen.reductions)
    }

    fn check(&self) -> Result<()> {
        const NAME: &str = "ReduceLrOnPlateau";
        if !(0.0..1.0).contains(&self.factor) {
            return Err(Error::argument(NAME, "factor", "at least 0 and below 1", self.factor));
        }
        check_rate(NAME, "threshold", self.threshold)?;
        check_rate(NAME, "min_lr", self.min_lr)?;
        check_rate(NAME, "eps", self.eps)
    }

    fn monitor(&self) -> Option<&str> {
        Some(&self.monitor)
    }

    fn observe(&mut self, base: f64, _at: Position, value: f64) {
        if self.is_better(value) {
            self.seen.best = Some(value);
            self.seen.num_bad_epochs = 0;
        } else {
            self.seen.num_bad_epochs += 1;
        }
        if self.seen.cooldown_counter > 0 {
            self.seen.cooldown_counter -= 1;
            self.seen.num_bad_epochs = 0;
        }
        if self.seen.num_bad_epochs > self.patience {
            let reductions = self.seen.reductions;
            if self.rate(base, reductions) - self.rate(base, reductions + 1) > self.eps {
                self.seen.reductions += 1;
            }
            self.seen.cooldown_counter = self.cooldown;
            self.seen.num_bad_epochs = 0;
        }
    }

    fn save(&self) -> State {
        let mut state = State::new();
        if let Some(best) = self.seen.best {
            state.set_number("best", best);
        }
        state.set_integer("num_bad_epochs", self.seen.num_bad_epochs);
        state.set_integer("cooldown_counter", self.seen.cooldown_counter);
        state.set_integer("reductions", self.seen.reductions);
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.seen = PlateauState {
            best: state.contains("best").then(|| state.number("best")).transpose()?,
            num_bad_epochs: state.integer("num_bad_epochs")?,
            cooldown_counter: state.integer("cooldown_counter")?,
            reductions: state.integer("reductions")?,
        };
        Ok(())
    }
}
