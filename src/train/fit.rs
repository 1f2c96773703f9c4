//! What `fit` is told.

use super::callback::Callback;
use super::checkpoint::{Checkpoint, Checkpoints, Fingerprint};
use super::evaluate::Observer;
use super::history::History;
use super::metrics::Metric;
use super::run::{Loop, Place};
use crate::data::{Batches, Sampler};
use crate::engine::BatchSource;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::optim::schedule::Schedule;
use crate::parallel;

/// Options of [`Model::fit`]: epochs, batches, validation, callbacks.
///
/// Keras' defaults: one epoch, batches of 32, shuffled.
pub struct Fit<'a, T: Element> {
    pub(super) epochs: usize,
    pub(super) batch_size: usize,
    pub(super) accumulate: usize,
    pub(super) shuffle: bool,
    pub(super) seed: u64,
    pub(super) validation: Option<&'a dyn BatchSource<T>>,
    pub(super) schedule: Option<Box<dyn Schedule + 'a>>,
    pub(super) sampler: Option<&'a dyn Sampler>,
    pub(super) metrics: Vec<&'a mut dyn Metric<T>>,
    pub(super) callbacks: Vec<&'a mut dyn Callback<T>>,
    pub(super) checkpoints: Option<&'a mut Checkpoints>,
    pub(super) resume: Option<Checkpoint>,
}

impl<T: Element> Default for Fit<'_, T> {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            accumulate: 1,
            shuffle: true,
            seed: 0,
            validation: None,
            schedule: None,
            sampler: None,
            metrics: Vec::new(),
            callbacks: Vec::new(),
            checkpoints: None,
            resume: None,
        }
    }
}

impl<'a, T: Element> Fit<'a, T> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often to go through the data.
    #[must_use]
    pub fn epochs(self, epochs: usize) -> Self {
        Self { epochs, ..self }
    }

    /// Samples of a batch; the last of an epoch may be smaller.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Batches whose gradients are added up before each update: a step on `batch_size * batches` samples, but for rounding and the masks of dropout, in
    /// the memory of one batch. The loss is the mean over all of them, the last step of an epoch may have fewer.
    #[must_use]
    pub fn accumulate(self, batches: usize) -> Self {
        Self { accumulate: batches, ..self }
    }

    /// Whether each epoch goes through the data in an order of its own.
    #[must_use]
    pub fn shuffle(self, shuffle: bool) -> Self {
        Self { shuffle, ..self }
    }

    /// What the orders are drawn from, together with the epoch's number within the call: two calls with one seed go
    /// through the data in the same orders.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Goes through the samples that `sampler` draws, in its order, whatever [`shuffle`](Self::shuffle) and [`seed`](Self::seed) say: for
    /// classes of which there are few samples, for a part of the samples.
    ///
    /// ```
    /// use gemmule::data::{WeightedRandomSampler, class_weights, sample_weights};
    /// use gemmule::train::Fit;
    /// let labels = [0, 0, 0, 1];
    /// // Both classes are drawn equally often.
    /// let weights = sample_weights(&labels, &class_weights(&labels, 2)?)?;
    /// let sampler = WeightedRandomSampler::new(&weights, 4, true, 42)?;
    /// let options: Fit<'_, f32> = Fit::new().sampler(&sampler);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    #[must_use]
    pub fn sampler(self, sampler: &'a dyn Sampler) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// One more metric, over the training samples of each epoch (each before its update, with dropout, as the loss is) and over the
    /// validation samples after it: [`EpochLog::metrics`](super::EpochLog::metrics) has it as its name and as `validation_` and its name.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::train::Fit;
    /// use gemmule::train::metrics::{Average, ClassMetric};
    /// let data = Dataset::from_bytes(&[4, 1], vec![0, 9, 1, 8])?.with_classes(vec![0, 1, 0, 1], 2)?;
    /// let mut model = Sequential::new().with(Dense::new(1, 2)).build::<f32>(0)?;
    /// model.compile(Loss::CrossEntropy, Sgd::default())?;
    /// let mut f1 = ClassMetric::f1(Average::Macro);
    /// let history = model.fit(&data, Fit::new().validation(&data).metric(&mut f1))?;
    /// assert!(history.epochs[0].value("f1_macro").is_some());
    /// assert!(history.epochs[0].value("validation_f1_macro").is_some());
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    #[must_use]
    pub fn metric(mut self, metric: &'a mut dyn Metric<T>) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Samples to evaluate after each epoch.
    #[must_use]
    pub fn validation(self, source: &'a dyn BatchSource<T>) -> Self {
        Self { validation: Some(source), ..self }
    }

    /// Sets the learning rate of each step (and, for some, the momentum): see [`optim::schedule`](crate::optim::schedule). The
    /// schedule starts from the rate that the model has when the run begins, and that it has again when the run ends. Groups
    /// of parameters keep their ratio to group 0.
    ///
    /// ```
    /// use gemmule::optim::schedule::{CosineAnnealingLr, Schedule, Warmup};
    /// use gemmule::train::Fit;
    /// let schedule = Warmup::new(2, CosineAnnealingLr::new(8)).by_epoch();
    /// let options: Fit<'_, f32> = Fit::new().epochs(10).schedule(schedule);
    /// ```
    #[must_use]
    pub fn schedule(self, schedule: impl Schedule + 'a) -> Self {
        Self { schedule: Some(Box::new(schedule)), ..self }
    }

    /// One more callback; they are called in the order in which they were added.
    #[must_use]
    pub fn callback(mut self, callback: &'a mut dyn Callback<T>) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Writes checkpoints as the run goes.
    #[must_use]
    pub fn checkpoints(self, checkpoints: &'a mut Checkpoints) -> Self {
        Self { checkpoints: Some(checkpoints), ..self }
    }

    /// Goes on from a checkpoint of a run with the same model, data and options, and the same callbacks in the same order: the
    /// weights are those of the uninterrupted run, to the bit. More epochs than it was to take are no other option. `None` begins
    /// anew, so that what [`Checkpoints::latest`] returns can be given as it is.
    #[must_use]
    pub fn resume(self, checkpoint: impl Into<Option<Checkpoint>>) -> Self {
        Self { resume: checkpoint.into(), ..self }
    }

    /// Samples of an update.
    pub(super) fn step_samples(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }
}

impl<T: Element> Model<T> {
    /// Trains on `data` as the options say.
    ///
    /// The same seed and data give the same weights to the bit, for any number of threads. A second call goes on
    /// where the first ended, with the optimiser's state.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Argument`] for a batch of 0 or an option of the schedule that
    /// is out of its range;
    /// [`Error::Data`] if `data` or the validation set is empty or does not fit the model or the loss, or the checkpoint to
    /// go on from is of another run (names what differs), before the first step; [`Error::NonFinite`] names layer and step of a
    /// NaN or infinity; [`Error::Poisoned`] after a step that spoilt the parameters; what a callback returns; [`Error::Io`] if
    /// a checkpoint cannot be written, unless they are to be tried only. The epochs before an error are not lost to callbacks, which saw
    /// them.
    ///
    /// [`Error::State`]: crate::Error::State
    /// [`Error::Argument`]: crate::Error::Argument
    /// [`Error::Data`]: crate::Error::Data
    /// [`Error::Io`]: crate::Error::Io
    /// [`Error::NonFinite`]: crate::Error::NonFinite
    /// [`Error::Poisoned`]: crate::Error::Poisoned
    pub fn fit(&mut self, data: &dyn BatchSource<T>, mut options: Fit<'_, T>) -> Result<History> {
        self.check_source("fit", data)?;
        options.validation.map_or(Ok(()), |source| self.check_source("fit: validation", source))?;
        options.check_schedule()?;
        let mut names: Vec<String> = options.metrics.iter().map(|metric| metric.name()).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::argument(
                "fit",
                "metric",
                "a name of its own for each",
                format!("{} twice", pair[0]),
            ));
        }
        // Refused here, before a thread is started: a batch of 0.
        if options.accumulate == 0 {
            return Err(Error::argument("fit", "accumulate", "at least 1 batch", 0));
        }
        let samples = if options.batch_size == 0 { 0 } else { options.step_samples() };
        let batches = match options.sampler {
            None => Batches::new(data.len(), samples, None)?,
            Some(sampler) => Batches::from_sampler(sampler, data.len(), samples, 1)?,
        };
        let batch = options.batch_size.min(data.len());
        let width = self.training_width(data, batch)?;
        let resume = options.resume.take();
        let mut fingerprints = Vec::new();
        if resume.is_some() || options.checkpoints.is_some() {
            fingerprints.push(("training samples", Fingerprint::new(self, data)));
            let validation = options.validation.map(|source| Fingerprint::new(self, source));
            fingerprints.extend(validation.map(|print| ("validation samples", print)));
            fingerprints
                .extend(options.sampler.map(|_| ("order of the sampler", Fingerprint::of_order(&batches))));
        }
        // Nobody else writes to the folder until this is dropped.
        let _lock = match options.checkpoints.as_deref_mut() {
            Some(checkpoints) => checkpoints.begin(resume.as_ref().map(Checkpoint::path))?,
            None => None,
        };
        let place = match resume {
            None => Place { base_rate: self.learning_rate().unwrap_or(f64::NAN), ..Place::default() },
            Some(checkpoint) => checkpoint.resume(self, &batches, &mut options, &fingerprints)?,
        };
        let base_rate = options.schedule.is_some().then_some(place.base_rate);
        let result = parallel::with_team(width, |team| {
            let observer = Observer::default();
            Loop { model: &mut *self, team, data, batches, options, place, fingerprints, observer }.run()
        });
        if let Some(base_rate) = base_rate {
            self.set_learning_rate(base_rate)?;
            self.set_momentum(None)?;
        }
        result
    }
}
