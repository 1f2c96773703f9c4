//! What classification metrics are computed from: per class how often it was right, predicted and actual.

use super::predictions::{Predictions, largest};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;

/// How the figures of classes, or of labels, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Average {
    /// That of class 1, for two classes.
    Binary,
    /// That of this class.
    Class(u32),
    /// From the counts of all classes together.
    Micro,
    /// The mean over the classes that occur among targets or predictions; over all labels where any number may hold.
    Macro,
    /// The mean over classes, weighted by how often each is a target.
    Weighted,
}

impl Average {
    pub(super) fn suffix(self) -> String {
        match self {
            Self::Binary => String::new(),
            Self::Class(class) => format!("_{class}"),
            Self::Micro => "_micro".to_owned(),
            Self::Macro => "_macro".to_owned(),
            Self::Weighted => "_weighted".to_owned(),
        }
    }
}

/// What a precision, recall or F is whose denominator is 0, as scikit-learn's `zero_division`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroDivision {
    /// 0, the default there too (with a warning).
    #[default]
    Zero,
    /// 1.
    One,
    /// NaN, which means over classes leave out.
    NaN,
}

impl ZeroDivision {
    fn value(self) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::One => 1.0,
            Self::NaN => f64::NAN,
        }
    }
}

/// Which quotient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ratio {
    Precision,
    Recall,
    /// With its beta.
    F(f64),
}

/// The samples of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Predicted as this class, rightly.
    pub hits: u64,
    pub predicted: u64,
    pub actual: u64,
}

impl Count {
    pub(super) fn ratio(self, ratio: Ratio, zero: ZeroDivision) -> f64 {
        let divide = |x: f64, y: f64| if y == 0.0 { zero.value() } else { x / y };
        let (hits, predicted, actual) = (self.hits as f64, self.predicted as f64, self.actual as f64);
        match ratio {
            Ratio::F(beta) if beta != 0.0 && beta.is_finite() => {
                let square = beta * beta;
                divide((1.0 + square) * hits, square * actual + predicted)
            }
            Ratio::Precision | Ratio::F(0.0) => divide(hits, predicted),
            Ratio::Recall | Ratio::F(_) => divide(hits, actual),
        }
    }
}

/// Counts of all classes, or of all labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub classes: Vec<Count>,
    /// What the classes are called, if not 0, 1, 2 ..
    pub labels: Option<Vec<u32>>,
    pub samples: u64,
    /// Samples that are right, with all their labels.
    pub right: u64,
    /// Any number of labels may hold.
    pub multi_label: bool,
}

impl Counts {
    /// `count` classes without samples.
    pub(super) fn empty(count: usize) -> Result<Self> {
        let mut classes = Vec::new();
        let bytes = count.saturating_mul(size_of::<Count>());
        classes
            .try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory { what: "counts of classes", bytes })?;
        classes.resize(count, Count::default());
        Ok(Self { classes, ..Self::default() })
    }

    /// Of any classes: those that occur.
    pub(super) fn of(operation: &'static str, actual: &[u32], predicted: &[u32]) -> Result<Self> {
        if actual.len() != predicted.len() {
            let expected = format_args!("{} classes, as in actual", actual.len()).to_string();
            return Err(Error::shape(operation, "predicted", expected, predicted.len()));
        }
        if actual.is_empty() {
            return Err(Error::data(operation, "samples", "at least one", 0));
        }
        let mut labels: Vec<u32> = actual.iter().chain(predicted).copied().collect();
        labels.sort_unstable();
        labels.dedup();
        let mut counts = Self::empty(labels.len())?;
        let index = |label| labels.partition_point(|&other| other < label);
        actual.iter().zip(predicted).for_each(|(&a, &p)| counts.add(index(a), index(p)));
        Ok(Self { labels: Some(labels), ..counts })
    }

    pub(super) fn save(&self) -> State {
        let mut state = State::new();
        let each = |count: &Count| [count.hits, count.predicted, count.actual];
        state.set_integers("classes", self.classes.iter().flat_map(each).collect());
        state.set_integer("samples", self.samples);
        state.set_integer("right", self.right);
        state.set_integer("multi_label", u64::from(self.multi_label));
        state
    }

    pub(super) fn load(state: &State) -> Result<Self> {
        let (counts, rest) = state.integers("classes")?.as_chunks::<3>();
        if !rest.is_empty() {
            return Err(Error::data("metric", "classes", "three counts each", rest.len()));
        }
        let new = Self {
            classes: counts
                .iter()
                .map(|&[hits, predicted, actual]| Count { hits, predicted, actual })
                .collect(),
            labels: None,
            samples: state.integer("samples")?,
            right: state.integer("right")?,
            multi_label: state.integer("multi_label")? != 0,
        };
        if new.is_possible() {
            return Ok(new);
        }
        Err(Error::data("metric", "classes", format!("counts of {} samples", new.samples), "others"))
    }

    /// Whether samples can have such counts: then no product of two overflows.
    fn is_possible(&self) -> bool {
        let total =
            |of: fn(&Count) -> u64| self.classes.iter().map(|count| u128::from(of(count))).sum::<u128>();
        let whole = |of| self.multi_label || total(of) == u128::from(self.samples);
        let each = |count: &Count| {
            count.hits <= count.predicted.min(count.actual)
                && count.predicted.max(count.actual) <= self.samples
        };
        let empty = self.classes.is_empty() && self.samples == 0;
        let right =
            self.right <= self.samples && (self.multi_label || total(|c| c.hits) == u128::from(self.right));
        let sums = whole(|count| count.actual) && whole(|count| count.predicted);
        empty || right && sums && self.samples < 1 << 63 && self.classes.iter().all(each)
    }

    /// A sample of class `actual` was taken for `predicted`.
    pub(super) fn add(&mut self, actual: usize, predicted: usize) {
        self.samples += 1;
        self.classes[actual].actual += 1;
        self.classes[predicted].predicted += 1;
        if actual == predicted {
            self.classes[actual].hits += 1;
            self.right += 1;
        }
    }

    /// The samples of a batch; labels hold above `threshold`.
    pub(super) fn add_all<T: Element>(
        &mut self,
        operation: &'static str,
        batch: &Predictions<'_, T>,
        threshold: f64,
    ) -> Result<()> {
        let (classes, multi_label) = (batch.classes(), !batch.is_single_label());
        if self.samples == 0 && (classes, multi_label) != (self.classes.len(), self.multi_label) {
            *self = Self { multi_label, ..Self::empty(classes)? };
        }
        if (classes, multi_label) != (self.classes.len(), self.multi_label) {
            let kind = |labels| if labels { "labels" } else { "classes" };
            let expected = format!("{} {}", self.classes.len(), kind(self.multi_label));
            return Err(Error::data(
                operation,
                "batch",
                expected,
                format_args!("{classes} {}", kind(multi_label)),
            ));
        }
        let width = batch.width();
        if !multi_label && width > 1 {
            // The largest probability is the largest output.
            for (row, outputs) in batch.outputs().chunks_exact(width).enumerate() {
                self.add(batch.class(row), largest(outputs));
            }
            return Ok(());
        }
        for (row, p) in batch.probabilities()?.chunks_exact(width).enumerate() {
            if !multi_label {
                self.add(batch.class(row), usize::from(p[0].to_f64() > threshold));
                continue;
            }
            let mut right = true;
            for (label, &p) in p.iter().enumerate() {
                let (actual, predicted) = (batch.has_label(row, label), p.to_f64() > threshold);
                let count = &mut self.classes[label];
                count.actual += u64::from(actual);
                count.predicted += u64::from(predicted);
                count.hits += u64::from(actual && predicted);
                right &= actual == predicted;
            }
            self.samples += 1;
            self.right += u64::from(right);
        }
        Ok(())
    }

    /// The classes that figures are averaged over.
    pub(super) fn occurring(&self) -> impl Iterator<Item = Count> {
        self.classes.iter().copied().filter(|c| self.multi_label || c.actual + c.predicted > 0)
    }

    fn class(&self, label: u32) -> Count {
        let index = match &self.labels {
            Some(labels) => labels.binary_search(&label).ok(),
            None => Some(label as usize),
        };
        index.and_then(|index| self.classes.get(index)).copied().unwrap_or_default()
    }

    /// Whether the classes are what `average` is for.
    pub(super) fn check(&self, operation: &'static str, average: Average) -> Result<()> {
        // One label, or classes 0 and 1, if only one of them occurs.
        let last = self.labels.as_ref().map_or(self.classes.len().saturating_sub(1) as u32, |labels| {
            labels.last().copied().unwrap_or(0)
        });
        match average {
            Average::Binary if last > 1 => {
                let expected = "classes 0 and 1; for more an average such as Average::Macro";
                Err(Error::data(operation, "classes", expected, format_args!("class {last}")))
            }
            Average::Class(class) if self.labels.is_none() && class as usize >= self.classes.len() => {
                let expected = format_args!("below {}", self.classes.len()).to_string();
                Err(Error::argument(operation, "class", expected, class))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn ratio(&self, ratio: Ratio, average: Average, zero: ZeroDivision) -> f64 {
        if self.samples == 0 {
            return f64::NAN;
        }
        let positive = if self.multi_label && self.classes.len() == 1 { 0 } else { 1 };
        match average {
            Average::Binary => self.class(positive).ratio(ratio, zero),
            Average::Class(class) => self.class(class).ratio(ratio, zero),
            Average::Micro => {
                let add = |a: Count, b: Count| Count {
                    hits: a.hits + b.hits,
                    predicted: a.predicted + b.predicted,
                    actual: a.actual + b.actual,
                };
                self.occurring().fold(Count::default(), add).ratio(ratio, zero)
            }
            Average::Macro => mean(self.occurring().map(|count| (count.ratio(ratio, zero), 1.0))),
            Average::Weighted => {
                let weighted =
                    || self.occurring().map(|count| (count.ratio(ratio, zero), count.actual as f64));
                if weighted().all(|(value, weight)| value.is_nan() || weight == 0.0) {
                    return mean(weighted().map(|(value, _)| (value, 1.0)));
                }
                mean(weighted())
            }
        }
    }

    pub(super) fn accuracy(&self) -> f64 {
        self.right as f64 / self.samples as f64
    }

    /// The mean recall of the classes that are targets.
    pub(super) fn balanced_accuracy(&self) -> f64 {
        let present = self.classes.iter().filter(|count| count.actual > 0);
        mean(present.map(|count| (count.hits as f64 / count.actual as f64, 1.0)))
    }

    /// Sums over classes of products of two counts: they do not overflow, since each is at most the samples' square.
    fn products(&self, of: impl Fn(&Count) -> [u64; 2]) -> u128 {
        self.classes.iter().map(&of).map(|[a, b]| u128::from(a) * u128::from(b)).sum()
    }

    /// Cohen's kappa: 1 - (1 - agreement) / (1 - agreement by chance); NaN if there is one class alone.
    pub(super) fn cohen_kappa(&self) -> f64 {
        let samples = u128::from(self.samples);
        let chance = self.products(|count| [count.predicted, count.actual]);
        // Both times the samples' square.
        let (wrong, expected) = (samples * (samples - u128::from(self.right)), samples * samples - chance);
        if expected == 0 { f64::NAN } else { 1.0 - wrong as f64 / expected as f64 }
    }

    /// Matthews' correlation of targets and predictions; 0 if either has one class alone.
    pub(super) fn matthews(&self) -> f64 {
        if self.samples == 0 {
            return f64::NAN;
        }
        let samples = u128::from(self.samples);
        let both = self.products(|count| [count.predicted, count.actual]);
        let right = samples * u128::from(self.right);
        let covariance = if right >= both { (right - both) as f64 } else { -((both - right) as f64) };
        let predicted = samples * samples - self.products(|count| [count.predicted; 2]);
        let actual = samples * samples - self.products(|count| [count.actual; 2]);
        if predicted == 0 || actual == 0 {
            return 0.0;
        }
        covariance / ((predicted as f64).sqrt() * (actual as f64).sqrt())
    }
}

/// The mean of values with their weights; those that are NaN are left out.
pub(super) fn mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (value, weight) in values.filter(|(value, _)| !value.is_nan()) {
        sum += value * weight;
        weights += weight;
    }
    sum / weights
}
