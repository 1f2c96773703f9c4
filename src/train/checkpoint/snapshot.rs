//! A run to a [`State`], and back.

use super::Checkpoint;
use crate::data::Batches;
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::state::State;
use crate::train::fit::Fit;
use crate::train::history::{EpochLog, History};
use crate::train::run::Place;

/// Samples that are looked at to know a data set again.
const LOOKED_AT: usize = 64;

/// What a data set is known again by: sizes, and a checksum of some of its samples, first and last among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::train) struct Fingerprint(Vec<u64>);

impl Fingerprint {
    pub(in crate::train) fn new<T: Element>(model: &Model<T>, data: &dyn BatchSource<T>) -> Self {
        let (len, features) = (data.len(), data.features());
        let looked_at = LOOKED_AT.min(len);
        let spread = |at: usize| ((at as u128 * (len as u128 - 1)) / (looked_at as u128 - 1).max(1)) as usize;
        let indices: Vec<usize> = (0..looked_at).map(spread).collect();
        let mut hasher = crc32fast::Hasher::new();
        let mut row = vec![T::zero(); features];
        let context = model.context();
        // Sources whose samples change do so from epoch to epoch.
        data.begin_epoch(1);
        let mut hash =
            |values: &[T]| values.iter().for_each(|value| hasher.update(&value.bits().to_le_bytes()));
        for &index in &indices {
            data.gather_features(&context, &[index], &mut row);
            hash(&row);
        }
        let (kind, width) = match data.target_kind() {
            Some(TargetKind::Classes(count)) => (1, count),
            Some(TargetKind::Values(width)) => (2, width),
            None => (0, 0),
        };
        if kind == 2 {
            row.resize(width, T::zero());
            for &index in &indices {
                data.gather_values(&context, &[index], &mut row[..width]);
                hash(&row[..width]);
            }
        } else if kind == 1 {
            let mut classes = vec![0; looked_at];
            data.gather_classes(&indices, &mut classes);
            classes.iter().for_each(|class| hasher.update(&class.to_le_bytes()));
        }
        Self(vec![len as u64, features as u64, kind, width as u64, u64::from(hasher.finalize())])
    }
}

impl Fingerprint {
    /// That of the order in which samples are drawn.
    pub(in crate::train) fn of_order(batches: &Batches) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        batches.iter().flatten().for_each(|&index| hasher.update(&(index as u64).to_le_bytes()));
        Self(vec![u64::from(hasher.finalize())])
    }
}

/// What a resumed run has to have in common with the one before.
fn identity<T: Element>(batches: &Batches, options: &Fit<'_, T>) -> [(&'static str, u64); 8] {
    [
        ("seed", options.seed),
        ("shuffle", u64::from(options.shuffle)),
        ("batch_size", options.batch_size as u64),
        ("accumulate", options.accumulate as u64),
        ("steps of an epoch", batches.len() as u64),
        ("callbacks", options.callbacks.len() as u64),
        ("metrics", options.metrics.len() as u64),
        ("schedules", u64::from(options.schedule.is_some())),
    ]
}

/// All of a run.
pub(in crate::train) fn snapshot<T: Element>(
    model: &Model<T>,
    batches: &Batches,
    options: &Fit<'_, T>,
    place: &Place,
    data: &[(&str, Fingerprint)],
) -> Result<State> {
    let mut state = State::new();
    state.set_text("version", env!("CARGO_PKG_VERSION"));
    state.set_part("model", model.state()?);
    for (name, value) in identity(batches, options) {
        state.set_integer(format!("fit/{name}"), value);
    }
    for (which, print) in data {
        state.set_integers(format!("data/{which}"), print.0.clone());
    }
    state.set_part("place", place.state());
    if let Some(schedule) = &options.schedule {
        state.set_part("schedule", schedule.save());
    }
    for (index, metric) in options.metrics.iter().enumerate() {
        state.set_part(&format!("metric/{index}"), metric.save());
    }
    for (index, callback) in options.callbacks.iter().enumerate() {
        state.set_part(&format!("callback/{index}"), callback.save());
    }
    Ok(state)
}

impl Checkpoint {
    /// Puts the run's state into the model and the callbacks and says where it goes on.
    pub(in crate::train) fn resume<T: Element>(
        mut self,
        model: &mut Model<T>,
        batches: &Batches,
        options: &mut Fit<'_, T>,
        data: &[(&str, Fingerprint)],
    ) -> Result<Place> {
        let version = self.state.text("version")?;
        if version != env!("CARGO_PKG_VERSION") {
            return Err(Error::data("resume", "the version of gemmule", env!("CARGO_PKG_VERSION"), version));
        }
        for (name, expected) in identity(batches, options) {
            let got = self.state.integer(&format!("fit/{name}"))?;
            if got != expected {
                return Err(Error::data("resume", name, expected, got));
            }
        }
        let saved = self.state.part_names("data").count();
        if saved != data.len() {
            return Err(Error::data("resume", "data sets", data.len(), saved));
        }
        for (which, print) in data {
            let got = self.state.integers(&format!("data/{which}"))?;
            if got != print.0 {
                let what = "samples, features, kind and width of targets, checksum, of samples; a checksum of an order";
                let expected = format!("{:?} ({what})", print.0);
                return Err(Error::data("resume", format!("the {which}"), expected, format!("{got:?}")));
            }
        }
        let place = Place::from_state(&self.state.part("place"))?;
        place.check(batches)?;
        if let Some(schedule) = &mut options.schedule {
            schedule.load(&self.state.part("schedule"))?;
        }
        for (index, metric) in options.metrics.iter_mut().enumerate() {
            // Of an epoch that has begun.
            if place.step > 0 {
                metric.load(&self.state.part(&format!("metric/{index}")))?;
            }
        }
        for (index, callback) in options.callbacks.iter_mut().enumerate() {
            callback.load(&self.state.part(&format!("callback/{index}")))?;
        }
        if let Some(checkpoints) = options.checkpoints.as_deref_mut() {
            checkpoints.load(&self.state)?;
        }
        // Last: where anything is refused, the model is as it was.
        model.restore(&self.state.take_part("model"))?;
        Ok(place)
    }
}

impl Place {
    /// Whether a run of these batches can be here: a file may say anything.
    fn check(&self, batches: &Batches) -> Result<()> {
        let ended = self.history.epochs.len();
        let seen: usize = batches.iter().take(self.step).map(<[usize]>::len).sum();
        let fits =
            self.epoch.checked_sub(1) == Some(ended) && self.step <= batches.len() && self.samples == seen;
        if fits && self.correct <= self.samples {
            return Ok(());
        }
        let expected = format!("at most {} steps, after {ended} epochs", batches.len());
        let Self { epoch, step, samples, correct, .. } = self;
        let got = format!("step {step} of epoch {epoch}, {samples} samples, {correct} correct");
        Err(Error::data("resume", "the place", expected, got))
    }

    fn state(&self) -> State {
        let mut state = State::new();
        for (name, value) in
            [("epoch", self.epoch), ("step", self.step), ("correct", self.correct), ("samples", self.samples)]
        {
            state.set_integer(name, value as u64);
        }
        state.set_number("loss", self.loss);
        state.set_number("weight", self.weight);
        state.set_number("seconds", self.seconds);
        state.set_number("base rate", self.base_rate);
        state.set_integer("epochs", self.history.epochs.len() as u64);
        for (index, log) in self.history.epochs.iter().enumerate() {
            state.set_part(&format!("history/{index}"), log.state());
        }
        state
    }

    fn from_state(state: &State) -> Result<Self> {
        let integer = |name: &str| Ok::<_, Error>(state.integer(name)? as usize);
        let mut history = History::default();
        for index in 0..integer("epochs")? {
            history.epochs.push(EpochLog::from_state(&state.part(&format!("history/{index}")))?);
        }
        Ok(Self {
            epoch: integer("epoch")?,
            step: integer("step")?,
            loss: state.number("loss")?,
            weight: state.number("weight")?,
            correct: integer("correct")?,
            samples: integer("samples")?,
            seconds: state.number("seconds")?,
            base_rate: state.number("base rate")?,
            history,
        })
    }
}

impl EpochLog {
    fn state(&self) -> State {
        let mut state = State::new();
        state.set_integer("epoch", self.epoch as u64);
        state.set_integer("samples", self.samples as u64);
        state.set_number("loss", self.loss);
        state.set_number("learning_rate", self.learning_rate);
        state.set_number("seconds", self.seconds);
        let optional = [
            ("accuracy", self.accuracy),
            ("validation_loss", self.validation_loss),
            ("validation_accuracy", self.validation_accuracy),
        ];
        for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            state.set_number(name, value);
        }
        for (index, (name, value)) in self.metrics.iter().enumerate() {
            state.set_text(format!("metric/{index:06}/name"), name);
            state.set_number(format!("metric/{index:06}/value"), *value);
        }
        state
    }

    fn from_state(state: &State) -> Result<Self> {
        let optional = |name: &str| state.contains(name).then(|| state.number(name)).transpose();
        let mut metrics = Vec::new();
        let saved = state.part("metric");
        for name in saved.names().filter(|name| name.ends_with("/name")) {
            let value = format!("{}/value", name.trim_end_matches("/name"));
            metrics.push((saved.text(name)?.to_owned(), saved.number(&value)?));
        }
        Ok(Self {
            epoch: state.integer("epoch")? as usize,
            loss: state.number("loss")?,
            accuracy: optional("accuracy")?,
            validation_loss: optional("validation_loss")?,
            validation_accuracy: optional("validation_accuracy")?,
            metrics,
            learning_rate: state.number("learning_rate")?,
            samples: state.integer("samples")? as usize,
            seconds: state.number("seconds")?,
        })
    }
}
