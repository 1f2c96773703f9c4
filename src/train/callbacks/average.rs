//! The exponential moving average of the weights.

use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::update::moving_average;
use crate::nn::Model;
use crate::state::State;
use crate::train::{Callback, Control, Event, Run};

/// An exponential moving average of the weights (Polyak averaging), which often generalises better than the weights of any one
/// step: PyTorch's `AveragedModel` with `get_ema_multi_avg_fn`, Keras' `use_ema` and `SwapEMAWeights`.
///
/// ```text
/// first update:   average = weights
/// others:         average = d * average + (1 - d) * weights        after every `every` steps
/// d               decay; with warm-up min(decay, (1 + n) / (10 + n)), n the updates before (TensorFlow's `num_updates`)
/// ```
///
/// By default the validation sees the average, and the model has it when the run ends. From the validation of an epoch to the
/// beginning of the next the average is in the model: so an [`EarlyStopping`](super::EarlyStopping) keeps the average of its best
/// epoch, and so do checkpoints after an epoch. Without validation samples the average is only put in when the run ends. Add it
/// before callbacks that look at the weights.
///
/// Buffers, such as the running statistics of batch norms, are not averaged: with the average go those of its last update, as in
/// PyTorch.
///
/// The bits do not depend on the number of threads; its state is in checkpoints.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{ExponentialMovingAverage, Fit};
/// use gemmule::Tensor;
///
/// let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x)?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
/// let mut average = ExponentialMovingAverage::new(0.9).warm_up(true);
/// let history = model.fit(&line, Fit::new().epochs(100).validation(&line).callback(&mut average))?;
/// // What was evaluated last is what the model is now.
/// assert_eq!(Some(model.evaluate(&line)?.loss), history.epochs[99].validation_loss);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExponentialMovingAverage<T> {
    decay: f64,
    warm_up: bool,
    every: u64,
    in_validation: bool,
    at_end: bool,
    /// How often the average was updated.
    updates: u64,
    /// The average; while that is in the model, the model's own weights.
    other: Vec<T>,
    is_in_model: bool,
    loaded: bool,
}

impl<T: Element> Default for ExponentialMovingAverage<T> {
    /// A decay of 0.999, as in PyTorch.
    fn default() -> Self {
        Self::new(0.999)
    }
}

impl<T: Element> ExponentialMovingAverage<T> {
    /// With this decay, 0 to 1.
    pub fn new(decay: f64) -> Self {
        Self {
            decay,
            warm_up: false,
            every: 1,
            in_validation: true,
            at_end: true,
            updates: 0,
            other: Vec::new(),
            is_in_model: false,
            loaded: false,
        }
    }

    /// Whether the decay is smaller at first, (1 + n) / (10 + n) after n updates; not the default.
    #[must_use]
    pub fn warm_up(self, warm_up: bool) -> Self {
        Self { warm_up, ..self }
    }

    /// Updates the average after every `steps` steps of the run; 1 by default.
    #[must_use]
    pub fn every(self, steps: u64) -> Self {
        Self { every: steps, ..self }
    }

    /// Whether the validation sees the average instead of the last weights; the default.
    #[must_use]
    pub fn in_validation(self, in_validation: bool) -> Self {
        Self { in_validation, ..self }
    }

    /// Whether the model has the average when the run ends; the default. Else it has the last weights, and
    /// [`copy_to`](Self::copy_to) gives the average.
    #[must_use]
    pub fn at_end(self, at_end: bool) -> Self {
        Self { at_end, ..self }
    }

    /// How often the average was updated.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Gives the average, as it is after a run, to a model of the same layers.
    ///
    /// # Errors
    /// [`Error::State`] if there is none: no run, or one of too few steps; [`Error::Shape`] if the model has more parameters, or
    /// fewer.
    pub fn copy_to(&self, model: &mut Model<T>) -> Result<()> {
        if self.updates == 0 || self.is_in_model {
            let what = "there is no average: a run has to end before";
            return Err(Error::State { operation: "copy_to", what });
        }
        model.exchange_parameters("copy_to", &mut self.other.clone())
    }

    /// The decay of the next update.
    fn decay_now(&self) -> f64 {
        let n = self.updates as f64;
        if self.warm_up { self.decay.min((1.0 + n) / (10.0 + n)) } else { self.decay }
    }

    /// Puts the average into the model, or out of it again.
    fn put(&mut self, into_model: bool, model: &mut Model<T>) -> Result<()> {
        if self.updates > 0 && self.is_in_model != into_model {
            model.exchange_parameters(OPERATION, &mut self.other)?;
            self.is_in_model = into_model;
        }
        Ok(())
    }

    fn update(&mut self, model: &Model<T>) -> Result<()> {
        let weights = model.all_parameters();
        if self.updates == 0 {
            self.other.clear();
            self.other.extend_from_slice(weights);
        } else {
            // The threads of the run wait for the next step meanwhile, and are not to be woken for this.
            let context = model.context().with_parallelism(crate::Parallelism::Serial);
            moving_average(&context, self.decay_now(), &mut self.other, weights)?;
            // Running statistics are averages already.
            for range in model.buffer_ranges() {
                self.other[range.clone()].copy_from_slice(&weights[range]);
            }
        }
        self.updates += 1;
        Ok(())
    }

    fn begin(&mut self, model: &Model<T>) -> Result<()> {
        if !(0.0..=1.0).contains(&self.decay) {
            return Err(Error::argument(OPERATION, "decay", "0 to 1", self.decay));
        }
        if self.every == 0 {
            return Err(Error::argument(OPERATION, "every", "at least 1 step", 0));
        }
        if !std::mem::take(&mut self.loaded) {
            (self.updates, self.is_in_model) = (0, false);
            self.other.clear();
        } else if self.updates > 0 && self.other.len() != model.all_parameters().len() {
            let (expected, got) = (model.all_parameters().len(), self.other.len());
            return Err(Error::data(OPERATION, "saved weights", expected, got));
        }
        Ok(())
    }
}

const OPERATION: &str = "ExponentialMovingAverage";

impl<T: Element> Callback<T> for ExponentialMovingAverage<T> {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        match event {
            Event::TrainBegin { .. } => self.begin(run.model())?,
            Event::StepEnd { .. } if run.total_steps().is_multiple_of(self.every) => {
                self.update(run.model())?;
            }
            Event::ValidationBegin { .. } if self.in_validation => self.put(true, run.model())?,
            Event::EpochBegin { .. } | Event::Failed(_) => self.put(false, run.model())?,
            Event::TrainEnd(_) => {
                self.put(self.at_end, run.model())?;
                if self.is_in_model {
                    self.other.copy_from_slice(run.model().all_parameters());
                    self.is_in_model = false;
                }
            }
            _ => {}
        }
        Ok(Control::Continue)
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integer("updates", self.updates);
        state.set_integer("is_in_model", u64::from(self.is_in_model));
        state.set_values("other", &self.other);
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let (updates, is_in_model) = (state.integer("updates")?, state.integer("is_in_model")? != 0);
        let other = state.values::<T>("other")?.to_vec();
        if let Some(index) = other.iter().position(|value| !value.is_finite()) {
            let place = OPERATION.to_owned();
            let value = other[index].to_f64();
            return Err(Error::NonFinite { what: "saved number", place, step: 0, index, value });
        }
        (self.updates, self.is_in_model, self.other, self.loaded) = (updates, is_in_model, other, true);
        Ok(())
    }
}
