//! Stops a run that no longer gets better.

use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::state::State;
use crate::train::{Callback, Control, Event, Monitor, Run};

/// Stops a run when a figure of its epochs has not improved for a while: Keras' `EarlyStopping`, with its defaults.
///
/// ```text
/// better:  figure + min_delta < best      (or figure - min_delta > best, of a figure that is to be large)
/// each epoch after the first `start_from_epoch`:   wait += 1
///   better than the best:                   it is the best; wait = 0 if it is better than the baseline, or there is none
///   not better, and wait >= patience:       stop (but never after the first epoch of a run)
/// ```
///
/// A run that was stopped and is resumed ends at once, unless it is given more patience. NaN is not better than anything. (In Keras a first figure that is NaN stays the best for ever.)
///
/// ```
/// use gemmule::data::{Dataset, train_test_split};
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{EarlyStopping, Fit};
/// use gemmule::Tensor;
///
/// let x: Vec<f64> = (0..20).map(|i| f64::from(i) / 10.0).collect();
/// let x = Tensor::from_vec(&[20, 1], x)?;
/// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// let (train, validation) = train_test_split(&line, 0.2, 1)?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
///
/// let mut stopping = EarlyStopping::new("validation_loss").patience(3).min_delta(1e-6).restore_best_weights(true);
/// let options = Fit::new().epochs(1000).validation(&validation).callback(&mut stopping);
/// let history = model.fit(&train, options)?;
/// assert!(history.stopped && history.epochs.len() < 1000);
/// assert_eq!(stopping.best_epoch(), Some(history.epochs.len() - 3));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    min_delta: f64,
    patience: u64,
    baseline: Option<f64>,
    start_from_epoch: usize,
    restore_best_weights: bool,
    wait: u64,
    /// The epoch and its figure.
    best: Option<(usize, f64)>,
    /// Of the best epoch.
    weights: State,
    stopped_epoch: Option<usize>,
    loaded: bool,
}

/// The name of the best weights within the state.
const WEIGHTS: &str = "weights";

impl Default for EarlyStopping {
    /// On the validation loss.
    fn default() -> Self {
        Self::new("validation_loss")
    }
}

impl EarlyStopping {
    /// On this figure: `loss`, `validation_loss`, `accuracy`, `validation_accuracy` or the name of a metric, or a [`Monitor`], which
    /// says whether it is to be small or large. Patience 0: the first epoch that is not better is the last.
    pub fn new(monitor: impl Into<Monitor>) -> Self {
        Self {
            monitor: monitor.into(),
            min_delta: 0.0,
            patience: 0,
            baseline: None,
            start_from_epoch: 0,
            restore_best_weights: false,
            wait: 0,
            best: None,
            weights: State::new(),
            stopped_epoch: None,
            loaded: false,
        }
    }

    /// By how much a figure has to be better, at least 0; 0 by default.
    #[must_use]
    pub fn min_delta(self, min_delta: f64) -> Self {
        Self { min_delta, ..self }
    }

    /// After how many epochs without improvement the run stops; 0 by default.
    #[must_use]
    pub fn patience(self, epochs: u64) -> Self {
        Self { patience: epochs, ..self }
    }

    /// A figure that has to be reached: epochs that are not better than it count as without improvement.
    #[must_use]
    pub fn baseline(self, figure: f64) -> Self {
        Self { baseline: Some(figure), ..self }
    }

    /// So many first epochs are not looked at; 0 by default.
    #[must_use]
    pub fn start_from_epoch(self, epochs: usize) -> Self {
        Self { start_from_epoch: epochs, ..self }
    }

    /// Whether the model has the weights of its best epoch when the run ends, for whatever reason; not the default. What the
    /// optimiser remembers is that of the last step.
    #[must_use]
    pub fn restore_best_weights(self, restore: bool) -> Self {
        Self { restore_best_weights: restore, ..self }
    }

    /// The best epoch so far, from 1.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.map(|(epoch, _)| epoch)
    }

    /// The figure of the best epoch.
    pub fn best(&self) -> Option<f64> {
        self.best.map(|(_, figure)| figure)
    }

    /// The epoch after which it stopped the run, from 1; `None` if it did not.
    pub fn stopped_epoch(&self) -> Option<usize> {
        self.stopped_epoch
    }

    fn check(&self) -> Result<()> {
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            let expected = "a finite number, at least 0";
            return Err(Error::argument("EarlyStopping", "min_delta", expected, self.min_delta));
        }
        match self.baseline {
            Some(baseline) if baseline.is_nan() => {
                Err(Error::argument("EarlyStopping", "baseline", "a number", baseline))
            }
            _ => Ok(()),
        }
    }

    fn is_better(&self, figure: f64, than: Option<f64>) -> bool {
        match than {
            None => !figure.is_nan(),
            Some(than) if self.monitor.is_maximized() => figure - self.min_delta > than,
            Some(than) => figure + self.min_delta < than,
        }
    }

    /// True if the run is to stop.
    fn epoch_ended<T: Element>(&mut self, epoch: usize, figure: f64, model: &Model<T>) -> bool {
        if epoch <= self.start_from_epoch {
            return false;
        }
        if self.restore_best_weights && self.weights.is_empty() {
            self.weights.set_values(WEIGHTS, model.all_parameters());
        }
        self.wait += 1;
        if self.is_better(figure, self.best()) {
            self.best = Some((epoch, figure));
            if self.restore_best_weights {
                self.weights.set_values(WEIGHTS, model.all_parameters());
            }
            if self.baseline.is_none() || self.is_better(figure, self.baseline) {
                self.wait = 0;
            }
            return false;
        }
        let stops = self.wait >= self.patience && epoch > 1;
        if stops {
            self.stopped_epoch = Some(epoch);
        }
        stops
    }
}

impl<T: Element> Callback<T> for EarlyStopping {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        match event {
            Event::TrainBegin { .. } => {
                self.check()?;
                if !std::mem::take(&mut self.loaded) {
                    (self.wait, self.best, self.stopped_epoch) = (0, None, None);
                    self.weights = State::new();
                } else if self.stopped_epoch.is_some() {
                    // The run had ended. With more patience it goes on.
                    if self.wait >= self.patience {
                        return Ok(Control::Stop);
                    }
                    self.stopped_epoch = None;
                }
            }
            Event::EpochEnd(log) => {
                let figure = log.monitored("the figure for early stopping", self.monitor.name())?;
                if self.epoch_ended(log.epoch, figure, run.model()) {
                    return Ok(Control::Stop);
                }
            }
            Event::TrainEnd(_) if self.weights.contains(WEIGHTS) => {
                let mut weights = self.weights.values::<T>(WEIGHTS)?.to_vec();
                run.model().exchange_parameters("early stopping", &mut weights)?;
            }
            _ => {}
        }
        Ok(Control::Continue)
    }

    fn save(&self) -> State {
        let mut state = self.weights.clone();
        state.set_integer("wait", self.wait);
        if let Some((epoch, figure)) = self.best {
            state.set_integer("best_epoch", epoch as u64);
            state.set_number("best", figure);
        }
        if let Some(epoch) = self.stopped_epoch {
            state.set_integer("stopped_epoch", epoch as u64);
        }
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let wait = state.integer("wait")?;
        let epoch = |name| Result::Ok(state.integer(name)? as usize);
        let best = state.contains("best").then(|| Result::Ok((epoch("best_epoch")?, state.number("best")?)));
        let stopped = state.contains("stopped_epoch").then(|| epoch("stopped_epoch"));
        let (best, stopped) = (best.transpose()?, stopped.transpose()?);
        let mut weights = State::new();
        if state.contains(WEIGHTS) {
            weights.set_values(WEIGHTS, state.values::<T>(WEIGHTS)?);
        }
        (self.wait, self.best, self.stopped_epoch) = (wait, best, stopped);
        (self.weights, self.loaded) = (weights, true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Dense, Sequential};

    /// A metric may be NaN: it is never the best, not even the first.
    #[test]
    fn nan_is_not_better() -> Result<()> {
        let model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
        for monitor in [Monitor::minimize("x"), Monitor::maximize("x")] {
            let mut stopping = EarlyStopping::new(monitor).patience(3);
            let figures = [f64::NAN, 1.0, f64::NAN, 1.0];
            let stops: Vec<bool> = (1..)
                .zip(figures)
                .map(|(epoch, figure)| stopping.epoch_ended(epoch, figure, &model))
                .collect();
            assert_eq!(stops, [false; 4]);
            assert_eq!((stopping.best(), stopping.best_epoch(), stopping.wait), (Some(1.0), Some(2), 2));
            assert!(stopping.epoch_ended(5, f64::NAN, &model));
        }
        Ok(())
    }
}
