//! Which class was taken for which.

use super::Metric;
use super::counts::{Count, Counts};
use super::predictions::{Predictions, largest};
use super::report::ClassificationReport;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;
use std::fmt;

/// What the counts of a confusion matrix are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// The samples of the actual class: rows add up to 1.
    Actual,
    /// The samples predicted as the class: columns add up to 1.
    Predicted,
    /// All samples.
    All,
}

/// How bad it is to take one class for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// All alike.
    Equal,
    /// By the distance of their indices, for classes that are steps of a scale.
    Linear,
    /// By its square.
    Quadratic,
}

/// How often a class was taken for which: `count(actual, predicted)`.
///
/// As a [`Metric`] it counts batches of samples with one class each; of one output, class 1 is a probability above a half.
///
/// ```
/// use gemmule::train::ConfusionMatrix;
///
/// let matrix = ConfusionMatrix::new(3, &[0, 1, 2, 2], &[0, 2, 2, 2])?;
/// assert_eq!(matrix.count(1, 2), 1);
/// assert_eq!(matrix.accuracy(), 0.75);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<usize>,
}

impl ConfusionMatrix {
    /// Counts pairs of an actual and a predicted class, all below `classes`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slices differ in length; [`Error::Data`] if a class is out of range;
    /// [`Error::Overflow`] if there are too many classes.
    pub fn new(classes: usize, actual: &[u32], predicted: &[u32]) -> Result<Self> {
        if actual.len() != predicted.len() {
            let expected = format_args!("{} classes, as in actual", actual.len()).to_string();
            return Err(Error::shape("ConfusionMatrix::new", "predicted", expected, predicted.len()));
        }
        let mut matrix = Self::empty(classes)?;
        let highest = actual.iter().chain(predicted).max();
        if let Some(class) = highest.filter(|&&class| class as usize >= classes) {
            return Err(Error::data("ConfusionMatrix::new", "class", format_args!("below {classes}"), class));
        }
        for (&a, &p) in actual.iter().zip(predicted) {
            matrix.counts[a as usize * classes + p as usize] += 1;
        }
        Ok(matrix)
    }

    /// One of `classes` classes without samples, to be filled batch by batch.
    ///
    /// # Errors
    /// [`Error::Overflow`] or [`Error::OutOfMemory`] if there are too many classes.
    pub fn empty(classes: usize) -> Result<Self> {
        let cells = classes
            .checked_mul(classes)
            .ok_or_else(|| Error::overflow("ConfusionMatrix::new", format!("{classes} x {classes}")))?;
        let mut counts = Vec::new();
        let bytes = cells.saturating_mul(size_of::<usize>());
        counts
            .try_reserve_exact(cells)
            .map_err(|_| Error::OutOfMemory { what: "the confusion matrix", bytes })?;
        counts.resize(cells, 0);
        Ok(Self { classes, counts })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often class `actual` was taken for `predicted`; 0 for classes that there are not.
    pub fn count(&self, actual: usize, predicted: usize) -> usize {
        if actual >= self.classes || predicted >= self.classes {
            return 0;
        }
        self.counts[actual * self.classes + predicted]
    }

    /// The samples.
    pub fn samples(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The share of samples on the diagonal; NaN if there are none.
    pub fn accuracy(&self) -> f64 {
        let right: usize = (0..self.classes).map(|class| self.count(class, class)).sum();
        right as f64 / self.samples() as f64
    }

    /// The counts as shares, row by row: `(actual, predicted)`. 0 where there are no samples to be divided by.
    ///
    /// ```
    /// use gemmule::train::metrics::{ConfusionMatrix, Normalize};
    /// let matrix = ConfusionMatrix::new(2, &[0, 0, 1], &[0, 1, 1])?;
    /// assert_eq!(matrix.normalized(Normalize::Actual), [0.5, 0.5, 0.0, 1.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn normalized(&self, by: Normalize) -> Vec<f64> {
        let counts = self.class_counts();
        let divisor = |actual: usize, predicted: usize| match by {
            Normalize::Actual => counts.classes[actual].actual,
            Normalize::Predicted => counts.classes[predicted].predicted,
            Normalize::All => counts.samples,
        };
        let share = |(cell, &count): (usize, &usize)| match divisor(cell / self.classes, cell % self.classes)
        {
            0 => 0.0,
            all => count as f64 / all as f64,
        };
        self.counts.iter().enumerate().map(share).collect()
    }

    /// Cohen's kappa with weights for how bad each mistake is: 1 - the sum of their weights over what it would be by chance.
    /// NaN if that is 0, as with one class alone.
    pub fn cohen_kappa(&self, weights: Weights) -> f64 {
        let counts = self.class_counts();
        let (mut seen, mut chance) = (0.0, 0.0);
        for actual in 0..self.classes {
            for predicted in 0..self.classes {
                let distance = actual.abs_diff(predicted) as f64;
                let weight = match weights {
                    Weights::Equal => f64::from(u8::from(actual != predicted)),
                    Weights::Linear => distance,
                    Weights::Quadratic => distance * distance,
                };
                let by_chance =
                    counts.classes[actual].actual as f64 * counts.classes[predicted].predicted as f64;
                seen += weight * self.count(actual, predicted) as f64;
                chance += weight * (by_chance / counts.samples as f64);
            }
        }
        if chance > 0.0 { 1.0 - seen / chance } else { f64::NAN }
    }

    /// Precision, recall and F1 of each class, and their means, as a table. Classes are called by their index without `names`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer names than classes.
    pub fn report(&self, names: Option<&[&str]>) -> Result<ClassificationReport> {
        let names: Vec<String> = match names {
            Some(names) => names.iter().map(|&name| name.to_owned()).collect(),
            None => (0..self.classes).map(|class| class.to_string()).collect(),
        };
        ClassificationReport::new(self.class_counts(), names)
    }

    /// What precision and the like are computed from.
    pub(super) fn class_counts(&self) -> Counts {
        let mut counts = Counts { classes: vec![Count::default(); self.classes], ..Counts::default() };
        for (cell, &count) in self.counts.iter().enumerate() {
            let (actual, predicted, count) = (cell / self.classes, cell % self.classes, count as u64);
            counts.samples += count;
            counts.classes[actual].actual += count;
            counts.classes[predicted].predicted += count;
            if actual == predicted {
                counts.classes[actual].hits += count;
                counts.right += count;
            }
        }
        counts
    }
}

impl<T: Element> Metric<T> for ConfusionMatrix {
    fn name(&self) -> String {
        "accuracy".to_owned()
    }

    fn reset(&mut self) {
        self.counts.fill(0);
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        if !batch.is_single_label() || batch.classes() > self.classes {
            let expected = format!("one of {} classes per sample", self.classes);
            let got =
                format!("{} {}", batch.classes(), if batch.is_single_label() { "classes" } else { "labels" });
            return Err(Error::data("ConfusionMatrix", "targets", expected, got));
        }
        let width = batch.width();
        let outputs = if width == 1 { batch.probabilities()? } else { batch.outputs() };
        for (row, outputs) in outputs.chunks_exact(width).enumerate() {
            let predicted =
                if width == 1 { usize::from(outputs[0].to_f64() > 0.5) } else { largest(outputs) };
            self.counts[batch.class(row) * self.classes + predicted] += 1;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.accuracy()
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integers("counts", self.counts.iter().map(|&count| count as u64).collect());
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let counts = state.integers("counts")?;
        if counts.len() != self.counts.len() {
            return Err(Error::data("ConfusionMatrix", "counts", self.counts.len(), counts.len()));
        }
        self.counts = counts.iter().map(|&count| count as usize).collect();
        Ok(())
    }
}

impl fmt::Display for ConfusionMatrix {
    /// A table: a row per actual class, a column per predicted one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.counts.iter().max().map_or(1, |most| most.to_string().len()).max(3) + 1;
        write!(f, "{:>8}", "actual")?;
        for predicted in 0..self.classes {
            write!(f, "{predicted:>digits$}")?;
        }
        for actual in 0..self.classes {
            write!(f, "\n{actual:>8}")?;
            for predicted in 0..self.classes {
                write!(f, "{:>digits$}", self.count(actual, predicted))?;
            }
        }
        Ok(())
    }
}
