//! What is counted over predictions.

use crate::error::{Error, Result};
use std::fmt;

/// How often a class was taken for which: `count(actual, predicted)`.
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
        let highest = actual.iter().chain(predicted).max();
        if let Some(class) = highest.filter(|&&class| class as usize >= classes) {
            return Err(Error::data("ConfusionMatrix::new", "class", format_args!("below {classes}"), class));
        }
        let cells = classes
            .checked_mul(classes)
            .ok_or_else(|| Error::overflow("ConfusionMatrix::new", format!("{classes} x {classes}")))?;
        let mut counts = Vec::new();
        let bytes = cells.saturating_mul(size_of::<usize>());
        counts
            .try_reserve_exact(cells)
            .map_err(|_| Error::OutOfMemory { what: "the confusion matrix", bytes })?;
        counts.resize(cells, 0);
        for (&a, &p) in actual.iter().zip(predicted) {
            counts[a as usize * classes + p as usize] += 1;
        }
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

    /// The share of samples on the diagonal; NaN if there are none.
    pub fn accuracy(&self) -> f64 {
        let right: usize = (0..self.classes).map(|class| self.count(class, class)).sum();
        let all: usize = self.counts.iter().sum();
        right as f64 / all as f64
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
