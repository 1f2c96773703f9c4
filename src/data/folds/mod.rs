//! Cross-validation: which samples a fold trains on and which it tests.
//!
//! ```text
//!   KFold                  test | train ......       StratifiedKFold: the same within each class
//!                          train | test | train      GroupKFold: a group is never cut
//!                          train ...... | test
//!   TimeSeriesSplit        train | gap | test
//!                          train ...... | gap | test
//!   ShuffleSplit           parts drawn anew for each split; a sample may be tested twice, or never
//! ```

mod k_fold;
mod shuffle_split;
mod time_series;

pub use k_fold::{GroupKFold, KFold, RepeatedKFold, RepeatedStratifiedKFold, StratifiedKFold};
pub use shuffle_split::{GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit};
pub use time_series::TimeSeriesSplit;

use super::dataset::Dataset;
use crate::error::{Error, Result};
use std::ops::Range;

/// One split: the samples to train on and those to test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// What is trained on.
    pub train: Vec<usize>,
    /// What is tested.
    pub test: Vec<usize>,
}

impl Fold {
    /// The two parts as views of `data`.
    ///
    /// # Errors
    /// [`Error::Data`] if a part is empty, or has a sample that `data` has not.
    pub fn views(&self, data: &Dataset) -> Result<(Dataset, Dataset)> {
        Ok((data.subset(&self.train)?, data.subset(&self.test)?))
    }
}

/// All folds of a cross-validation. They are kept as one list of numbers each where the parts of a fold are made when it
/// is asked for: k folds of n samples take the memory of n indices (times the repeats), not of k n.
///
/// ```
/// use gemmule::data::{Fold, KFold};
///
/// let folds = KFold::new(3).folds(7)?;
/// let tests: Vec<_> = folds.iter().map(|fold| fold.test).collect();
/// assert_eq!(tests, [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
/// assert_eq!(folds.get(1), Some(Fold { train: vec![0, 1, 2, 5, 6], test: vec![3, 4] }));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// For each repeat the fold that tests each sample.
    Assigned {
        repeats: Vec<Vec<usize>>,
        splits: usize,
    },
    /// Training and test part.
    Ranges(Vec<(Range<usize>, Range<usize>)>),
    Listed(Vec<Fold>),
}

impl Folds {
    fn assigned(repeats: Vec<Vec<usize>>, splits: usize) -> Self {
        Self(Kind::Assigned { repeats, splits })
    }

    /// How many folds there are.
    #[allow(clippy::len_without_is_empty, reason = "a splitter gives at least one")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Assigned { repeats, splits } => repeats.len() * splits,
            Kind::Ranges(ranges) => ranges.len(),
            Kind::Listed(folds) => folds.len(),
        }
    }

    /// Fold i; `None` if there is none. The samples of both parts ascend, but in a [`ShuffleSplit`] and a
    /// [`StratifiedShuffleSplit`], where they are in random order.
    pub fn get(&self, i: usize) -> Option<Fold> {
        match &self.0 {
            Kind::Assigned { repeats, splits } => {
                let (fold_of, fold) = (repeats.get(i / splits)?, i % splits);
                let (test, train) = (0..fold_of.len()).partition(|&sample| fold_of[sample] == fold);
                Some(Fold { train, test })
            }
            Kind::Ranges(ranges) => {
                let (train, test) = ranges.get(i)?;
                Some(Fold { train: train.clone().collect(), test: test.clone().collect() })
            }
            Kind::Listed(folds) => folds.get(i).cloned(),
        }
    }

    /// The folds in turn.
    pub fn iter(&self) -> impl Iterator<Item = Fold> {
        (0..self.len()).map_while(|i| self.get(i))
    }
}

/// Folds of your own.
impl From<Vec<Fold>> for Folds {
    fn from(folds: Vec<Fold>) -> Self {
        Self(Kind::Listed(folds))
    }
}

/// Something that splits a data set into folds: what [`cross_validate`](crate::train::cross_validate) takes.
///
/// A list of folds is one too ([`Folds`], `Vec<Fold>`): scikit-learn's `PredefinedSplit`.
pub trait Splitter {
    /// The folds of `data`.
    ///
    /// # Errors
    /// Those of the splitter.
    fn split(&self, data: &Dataset) -> Result<Folds>;
}

impl Splitter for Folds {
    fn split(&self, _: &Dataset) -> Result<Folds> {
        Ok(self.clone())
    }
}

impl Splitter for Vec<Fold> {
    fn split(&self, _: &Dataset) -> Result<Folds> {
        Ok(self.clone().into())
    }
}

/// At least `least` splits, and not more than there are `what`.
fn check_splits(operation: &'static str, splits: usize, least: usize, most: usize, what: &str) -> Result<()> {
    if splits < least {
        return Err(Error::argument(operation, "n_splits", format!("at least {least}"), splits));
    }
    if splits > most {
        return Err(Error::data(operation, what, format!("at least {splits} (one per fold)"), most));
    }
    Ok(())
}
