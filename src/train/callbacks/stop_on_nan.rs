//! Ends a run at the first NaN or infinity instead of failing.

use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::train::{Callback, Control, Event, Run};

/// Ends a run at the first NaN or infinity: `fit` returns the history so far, not the error, and callbacks see the end of the run
/// ([`EarlyStopping`](super::EarlyStopping) restores the best weights then). Keras' `TerminateOnNaN`.
///
/// Without it `fit` returns [`Error::NonFinite`], which names layer and step.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{Fit, StopOnNan};
/// use gemmule::Tensor;
///
/// let x = Tensor::from_slice(&[2, 1], &[1.0_f32, 2.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x)?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 1e9, ..Sgd::default() })?;
///
/// let mut nan = StopOnNan::new();
/// let history = model.fit(&line, Fit::new().epochs(1000).callback(&mut nan))?;
/// assert!(history.stopped && history.epochs.len() < 10);
/// let report = nan.report().unwrap();
/// assert_eq!((report.step as usize, report.value.is_finite()), (history.epochs.len() + 1, false));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopOnNan {
    report: Option<NanReport>,
}

/// What [`StopOnNan`] stopped a run for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NanReport {
    /// What held the value: `output`, `loss`, `mean loss`, `gradient`, `parameter` or `optimiser state`.
    pub what: &'static str,
    /// The layer or parameter.
    pub place: String,
    /// The training step since the model was compiled, from 1; 0 if it was in the validation.
    pub step: u64,
    /// The index of the first such element within what held it.
    pub index: usize,
    /// The value.
    pub value: f64,
    /// True if the model's parameters are spoilt, and it refuses further steps until weights are loaded; false if they are those
    /// before the step.
    pub spoilt: bool,
}

impl std::fmt::Display for NanReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, place, step, index, value, spoilt } = self;
        let after = if *spoilt { "spoilt" } else { "those before the step" };
        write!(f, "step {step}: {what} of {place}: element {index} is {value}; the parameters are {after}")
    }
}

impl StopOnNan {
    /// Nothing was found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it stopped the last run for; `None` if it did not.
    pub fn report(&self) -> Option<&NanReport> {
        self.report.as_ref()
    }
}

impl<T: Element> Callback<T> for StopOnNan {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        match event {
            Event::TrainBegin { .. } => self.report = None,
            // What comes from the data is no matter of training.
            &Event::Failed(&Error::NonFinite { what, ref place, step, index, value }) if what != "input" => {
                let (place, spoilt) = (place.clone(), run.model().is_spoilt());
                self.report = Some(NanReport { what, place, step, index, value, spoilt });
                return Ok(Control::Stop);
            }
            _ => {}
        }
        Ok(Control::Continue)
    }
}
