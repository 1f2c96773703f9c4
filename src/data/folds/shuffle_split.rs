//! Random splits, again and again.

use super::{Fold, Folds, Kind, Splitter, check_splits};
use crate::data::classes::Classes;
use crate::data::dataset::Dataset;
use crate::data::split::{check_groups, class_labels, samples_of, split_to, train_test_sizes};
use crate::data::strata;
use crate::error::Result;
use crate::rng::{Rng, purpose};

/// What the random splits have in common.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    splits: usize,
    test_size: f64,
    seed: u64,
}

impl Options {
    /// The splits of `len` (samples or groups) that `draw` draws, each from a stream of its own.
    fn folds(
        &self,
        operation: &'static str,
        len: usize,
        mut draw: impl FnMut(&[usize; 2], Rng) -> Result<Vec<Vec<usize>>>,
    ) -> Result<Folds> {
        check_splits(operation, self.splits, 1, usize::MAX, "splits")?;
        let sizes = train_test_sizes(operation, "test_size", len, self.test_size)?;
        let rng = Rng::new(self.seed).stream(purpose::FOLD);
        let folds = (0..self.splits as u64).map(|split| {
            let mut parts = draw(&sizes, rng.stream(split))?.into_iter();
            let (train, test) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            Ok(Fold { train, test })
        });
        Ok(Folds(Kind::Listed(folds.collect::<Result<_>>()?)))
    }
}

/// Splits at random into a training part and one of `test_size` (rounded up) to test, `n_splits` times. scikit-learn's
/// `ShuffleSplit`. Same seed, same splits. Keeps all splits in memory.
///
/// ```
/// use gemmule::data::ShuffleSplit;
///
/// let splits = ShuffleSplit::new(3, 0.25, 42).folds(10)?;
/// assert!(splits.iter().all(|split| split.train.len() == 7 && split.test.len() == 3));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ShuffleSplit(Options);

impl ShuffleSplit {
    /// `n_splits` splits (scikit-learn: 10), a share of `test_size` (scikit-learn: 0.1) to test.
    #[must_use]
    pub fn new(n_splits: usize, test_size: f64, seed: u64) -> Self {
        Self(Options { splits: n_splits, test_size, seed })
    }

    /// The splits of `len` samples.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for no split, and if the share is not above 0 and below 1;
    /// [`Error::Data`](crate::Error::Data) if nothing is left to train on; [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn folds(&self, len: usize) -> Result<Folds> {
        let operation = "ShuffleSplit";
        self.0.folds(operation, len, |sizes, mut rng| split_to(operation, len, sizes, &mut rng))
    }
}

impl Splitter for ShuffleSplit {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(data.len())
    }
}

/// [`ShuffleSplit`] that keeps the classes' proportions: each class's share of a part is rounded down or up. scikit-learn's
/// `StratifiedShuffleSplit`.
#[derive(Clone, Debug, PartialEq)]
pub struct StratifiedShuffleSplit(Options);

impl StratifiedShuffleSplit {
    /// `n_splits` splits (scikit-learn: 10), a share of `test_size` (scikit-learn: 0.1) to test.
    #[must_use]
    pub fn new(n_splits: usize, test_size: f64, seed: u64) -> Self {
        Self(Options { splits: n_splits, test_size, seed })
    }

    /// The splits of samples of these classes.
    ///
    /// # Errors
    /// As [`ShuffleSplit::folds`]; [`Error::Data`](crate::Error::Data) if a class has fewer than 2 samples (names it), or a
    /// part fewer than there are classes.
    pub fn folds(&self, labels: &[u32]) -> Result<Folds> {
        let operation = "StratifiedShuffleSplit";
        self.0.folds(operation, labels.len(), |sizes, rng| strata::split(operation, labels, sizes, &rng))
    }
}

impl Splitter for StratifiedShuffleSplit {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(&class_labels("StratifiedShuffleSplit", data)?)
    }
}

/// [`ShuffleSplit`] of groups: no group is in both parts, and `test_size` is a share of the groups. scikit-learn's
/// `GroupShuffleSplit`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupShuffleSplit<G> {
    options: Options,
    groups: Vec<G>,
}

impl<G: Ord + Copy> GroupShuffleSplit<G> {
    /// `n_splits` splits (scikit-learn: 5), a share of `test_size` (scikit-learn: 0.2) of the groups to test; `groups` names
    /// the group of each sample.
    #[must_use]
    pub fn new(n_splits: usize, test_size: f64, seed: u64, groups: &[G]) -> Self {
        Self { options: Options { splits: n_splits, test_size, seed }, groups: groups.to_vec() }
    }

    /// The splits.
    ///
    /// # Errors
    /// As [`ShuffleSplit::folds`], of the groups.
    pub fn folds(&self) -> Result<Folds> {
        let operation = "GroupShuffleSplit";
        let classes = Classes::ascending(operation, &self.groups)?;
        self.options.folds(operation, classes.len(), |sizes, mut rng| {
            let chosen = split_to(operation, classes.len(), sizes, &mut rng)?;
            Ok(chosen.iter().map(|groups| samples_of(&classes, groups)).collect())
        })
    }
}

impl<G: Ord + Copy> Splitter for GroupShuffleSplit<G> {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        check_groups("GroupShuffleSplit", data, &self.groups)?;
        self.folds()
    }
}
