//! Folds in time.

use super::{Folds, Kind, Splitter, check_splits};
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};

/// Folds of samples that are ordered in time: each trains on what came before what it tests, and each on more than the one
/// before. scikit-learn's `TimeSeriesSplit`, and equal to it.
///
/// ```
/// use gemmule::data::{Fold, TimeSeriesSplit};
///
/// let folds = TimeSeriesSplit::new(3).gap(1).folds(8)?;
/// assert_eq!(folds.get(0), Some(Fold { train: vec![0], test: vec![2, 3] }));
/// assert_eq!(folds.get(2), Some(Fold { train: vec![0, 1, 2, 3, 4], test: vec![6, 7] }));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSeriesSplit {
    splits: usize,
    max_train_size: Option<usize>,
    test_size: Option<usize>,
    gap: usize,
}

/// Five folds.
impl Default for TimeSeriesSplit {
    fn default() -> Self {
        Self::new(5)
    }
}

impl TimeSeriesSplit {
    /// `n_splits` folds, each of which tests `len / (n_splits + 1)` samples.
    #[must_use]
    pub fn new(n_splits: usize) -> Self {
        Self { splits: n_splits, max_train_size: None, test_size: None, gap: 0 }
    }

    /// Trains on the last `samples` at most.
    #[must_use]
    pub fn max_train_size(self, samples: usize) -> Self {
        Self { max_train_size: Some(samples), ..self }
    }

    /// Tests so many samples in each fold.
    #[must_use]
    pub fn test_size(self, samples: usize) -> Self {
        Self { test_size: Some(samples), ..self }
    }

    /// Leaves so many samples out between those that are trained on and those that are tested.
    #[must_use]
    pub fn gap(self, samples: usize) -> Self {
        Self { gap: samples, ..self }
    }

    /// The folds of `len` samples.
    ///
    /// # Errors
    /// [`Error::Argument`] below 2 folds, and for a size of 0; [`Error::Data`] if there are not more samples than folds, or
    /// the first fold would have nothing to train on.
    pub fn folds(&self, len: usize) -> Result<Folds> {
        let operation = "TimeSeriesSplit";
        check_splits(operation, self.splits, 2, usize::MAX, "samples")?;
        if self.splits >= len {
            let expected = format!("more than {} (one per fold, and one before)", self.splits);
            return Err(Error::data(operation, "samples", expected, len));
        }
        for (what, size) in [("max_train_size", self.max_train_size), ("test_size", self.test_size)] {
            if size == Some(0) {
                return Err(Error::argument(operation, what, "at least 1", 0));
            }
        }
        let test = self.test_size.unwrap_or(len / (self.splits + 1));
        let needed = test.checked_mul(self.splits).and_then(|tested| tested.checked_add(self.gap));
        let Some(needed) = needed.filter(|&needed| needed < len) else {
            let tested = format!("{} folds of {test} to test, a gap of {}", self.splits, self.gap);
            return Err(Error::data(operation, "samples", format!("more than {tested}"), len));
        };
        let first = needed - self.gap;
        let ranges = (0..self.splits).map(|fold| {
            let start = len - first + fold * test;
            let end = start - self.gap;
            let from = self.max_train_size.map_or(0, |most| end.saturating_sub(most));
            (from..end, start..start + test)
        });
        Ok(Folds(Kind::Ranges(ranges.collect())))
    }
}

impl Splitter for TimeSeriesSplit {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(data.len())
    }
}
