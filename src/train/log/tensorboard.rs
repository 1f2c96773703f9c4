//! A run for TensorBoard.

use super::Start;
use super::events::EventWriter;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::train::callback::{Callback, Control, Event, Run};
use std::path::PathBuf;

/// Writes event files for TensorBoard: `tensorboard --logdir FOLDER`.
///
/// Figures of the training samples are in `FOLDER/train`, those of the validation samples in `FOLDER/validation`, under the same
/// tags (`loss`, `accuracy`, a metric's name), so that TensorBoard draws them into one chart; `batch_loss` is that of single steps.
/// Steps count from the beginning of the run. A run that is resumed adds a file, and what older ones have after the step at which it is
/// resumed is not shown any more.
///
/// ```
/// # use gemmule::data::Dataset;
/// # use gemmule::nn::{Dense, Loss, Sequential};
/// # use gemmule::optim::Sgd;
/// # use gemmule::Tensor;
/// # let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
/// # let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// # let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// # model.compile(Loss::MeanSquaredError, Sgd::default())?;
/// use gemmule::train::{Fit, TensorBoard};
///
/// let folder = std::env::temp_dir().join(format!("gemmule-board-{}", std::process::id()));
/// let mut board = TensorBoard::new(&folder).every(1).histograms(1);
/// model.fit(&line, Fit::new().epochs(3).callback(&mut board))?;
/// assert!(folder.join("train").is_dir());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    every: u64,
    histograms: usize,
    clock: Option<(String, fn() -> f64)>,
    /// The step before which older files count, if the run was resumed.
    restart: Option<u64>,
    train: Option<EventWriter>,
    validation: Option<EventWriter>,
}

impl TensorBoard {
    /// The figures of each epoch, below `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            every: 0,
            histograms: 0,
            clock: None,
            restart: None,
            train: None,
            validation: None,
        }
    }

    /// Writes the loss of the batch after every `n` steps; never if it is 0, the default.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n, ..self }
    }

    /// Writes histograms of all parameters and of their gradients (`0.weight`, `0.weight.grad`) after every `n` epochs; never if it is
    /// 0, the default. Gradients are those of the epoch's last step.
    #[must_use]
    pub fn histograms(self, n: usize) -> Self {
        Self { histograms: n, ..self }
    }

    /// Writes another host name, and times of another clock, in seconds since 1970: for files that are to be the same each time.
    #[must_use]
    pub fn clock(self, host: impl Into<String>, clock: fn() -> f64) -> Self {
        Self { clock: Some((host.into(), clock)), ..self }
    }

    fn open(&self, part: &str) -> Result<EventWriter> {
        let folder = self.folder.join(part);
        let mut writer = match &self.clock {
            Some((host, clock)) => EventWriter::with_clock(folder, host, *clock)?,
            None => EventWriter::create(folder)?,
        };
        if let Some(step) = self.restart {
            writer.restart(step)?;
        }
        Ok(writer)
    }

    fn train(&mut self) -> Result<&mut EventWriter> {
        self.train.as_mut().ok_or(Error::State { operation: "TensorBoard", what: "the run has not begun" })
    }
}

impl<T: Element> Callback<T> for TensorBoard {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        if let Some(start) = Start::of(event) {
            self.restart = start.is_resumed().then(|| start.total_steps() + 1);
            self.train = Some(self.open("train")?);
            self.validation = None;
        }
        let step = run.total_steps();
        match *event {
            Event::StepEnd { loss, .. } if self.every > 0 && step.is_multiple_of(self.every) => {
                self.train()?.scalars(step, &[("batch_loss", loss)])?;
            }
            Event::EpochEnd(log) => {
                let values = log.values();
                let parts = values.iter().map(|&(name, value)| match name.strip_prefix("validation_") {
                    Some(name) => (true, (name, value)),
                    None => (false, (name, value)),
                });
                let (of_validation, of_training): (Vec<_>, Vec<_>) = parts.partition(|&(part, _)| part);
                let scalars = |part: Vec<(bool, _)>| part.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
                self.train()?.scalars(step, &scalars(of_training))?;
                if !of_validation.is_empty() {
                    if self.validation.is_none() {
                        self.validation = Some(self.open("validation")?);
                    }
                    if let Some(validation) = &mut self.validation {
                        validation.scalars(step, &scalars(of_validation))?;
                    }
                }
                if self.histograms > 0 && log.epoch.is_multiple_of(self.histograms) {
                    for info in run.model().parameters() {
                        let values = run.model().parameter(&info.name)?;
                        self.train()?.histogram(step, &info.name, values.as_slice())?;
                        // A frozen parameter has none.
                        if let Ok(gradient) = run.gradient(&info.name) {
                            let tag = format!("{}.grad", info.name);
                            self.train()?.histogram(step, &tag, gradient.as_slice())?;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(Control::Continue)
    }
}
