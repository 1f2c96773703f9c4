//! k folds: every sample is tested once.

use super::{Folds, Splitter, check_splits};
use crate::data::classes::Classes;
use crate::data::dataset::Dataset;
use crate::data::indices;
use crate::data::split::{check_groups, class_labels};
use crate::error::{Error, Result};
use crate::rng::{Rng, purpose};

/// Folds of neighbours, or of random samples: the first `n % k` folds test one sample more. scikit-learn's `KFold`, and
/// equal to it without shuffle.
///
/// ```
/// use gemmule::data::KFold;
///
/// let folds = KFold::new(4).shuffle(42).folds(10)?;
/// assert_eq!(folds.iter().map(|fold| fold.test.len()).collect::<Vec<_>>(), [3, 3, 2, 2]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KFold {
    splits: usize,
    shuffle: Option<u64>,
}

/// Five folds, in order.
impl Default for KFold {
    fn default() -> Self {
        Self::new(5)
    }
}

impl KFold {
    /// `n_splits` folds, in order.
    #[must_use]
    pub fn new(n_splits: usize) -> Self {
        Self { splits: n_splits, shuffle: None }
    }

    /// Folds of random samples. Same seed, same folds.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { shuffle: Some(seed), ..self }
    }

    /// The folds of `len` samples.
    ///
    /// # Errors
    /// [`Error::Argument`] below 2 folds; [`Error::Data`] for more folds than samples; [`Error::OutOfMemory`].
    pub fn folds(&self, len: usize) -> Result<Folds> {
        let rng = self.shuffle.map(fold_stream);
        Ok(Folds::assigned(vec![neighbours("KFold", len, self.splits, rng)?], self.splits))
    }
}

impl Splitter for KFold {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(data.len())
    }
}

fn fold_stream(seed: u64) -> Rng {
    Rng::new(seed).stream(purpose::FOLD)
}

/// The fold of each sample: blocks, of the samples in order or in random order.
fn neighbours(operation: &'static str, len: usize, splits: usize, rng: Option<Rng>) -> Result<Vec<usize>> {
    check_splits(operation, splits, 2, len, "samples")?;
    let mut order = indices(operation, len)?;
    if let Some(mut rng) = rng {
        rng.shuffle(&mut order);
    }
    let mut fold_of = indices(operation, len)?;
    let (size, more) = (len / splits, len % splits);
    let mut rest = order.as_slice();
    for fold in 0..splits {
        let (block, after) = rest.split_at(size + usize::from(fold < more));
        block.iter().for_each(|&sample| fold_of[sample] = fold);
        rest = after;
    }
    Ok(fold_of)
}

/// [`KFold`] again and again, in an order of its own each time: `n_splits n_repeats` folds. scikit-learn's
/// `RepeatedKFold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedKFold {
    splits: usize,
    repeats: usize,
    seed: u64,
}

impl RepeatedKFold {
    /// Of `n_splits` folds (scikit-learn: 5), `n_repeats` times (scikit-learn: 10).
    #[must_use]
    pub fn new(n_splits: usize, n_repeats: usize, seed: u64) -> Self {
        Self { splits: n_splits, repeats: n_repeats, seed }
    }

    /// The folds of `len` samples, those of the first repeat first.
    ///
    /// # Errors
    /// As [`KFold::folds`]; [`Error::Argument`] for no repeat.
    pub fn folds(&self, len: usize) -> Result<Folds> {
        let operation = "RepeatedKFold";
        repeat(operation, self.splits, self.repeats, self.seed, |rng| {
            neighbours(operation, len, self.splits, Some(rng))
        })
    }
}

impl Splitter for RepeatedKFold {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(data.len())
    }
}

fn repeat(
    operation: &'static str,
    splits: usize,
    repeats: usize,
    seed: u64,
    mut one: impl FnMut(Rng) -> Result<Vec<usize>>,
) -> Result<Folds> {
    if repeats == 0 {
        return Err(Error::argument(operation, "n_repeats", "at least 1", repeats));
    }
    let repeats = (0..repeats as u64).map(|repeat| one(fold_stream(seed).stream(repeat)));
    Ok(Folds::assigned(repeats.collect::<Result<_>>()?, splits))
}

/// Folds that test the classes in the same proportions: of each class, every fold tests `count / k` samples, rounded down
/// or up, and the sizes of the folds differ by one at most. scikit-learn's `StratifiedKFold`, and equal to it without
/// shuffle.
///
/// ```
/// use gemmule::data::StratifiedKFold;
///
/// let folds = StratifiedKFold::new(2).folds(&[0, 0, 0, 0, 1, 1])?;
/// assert_eq!(folds.get(0).unwrap().test, [0, 1, 4]);
/// assert_eq!(folds.get(1).unwrap().test, [2, 3, 5]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StratifiedKFold {
    splits: usize,
    shuffle: Option<u64>,
}

/// Five folds, in order.
impl Default for StratifiedKFold {
    fn default() -> Self {
        Self::new(5)
    }
}

impl StratifiedKFold {
    /// `n_splits` folds; the samples of a class in order.
    #[must_use]
    pub fn new(n_splits: usize) -> Self {
        Self { splits: n_splits, shuffle: None }
    }

    /// Folds of random samples. Same seed, same folds.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { shuffle: Some(seed), ..self }
    }

    /// The folds of samples of these classes.
    ///
    /// # Errors
    /// [`Error::Argument`] below 2 folds; [`Error::Data`] for more folds than samples, and if a class has fewer samples
    /// than there are folds (names it; scikit-learn only warns); [`Error::OutOfMemory`].
    pub fn folds(&self, labels: &[u32]) -> Result<Folds> {
        let fold_of = stratified("StratifiedKFold", labels, self.splits, self.shuffle.map(fold_stream))?;
        Ok(Folds::assigned(vec![fold_of], self.splits))
    }
}

impl Splitter for StratifiedKFold {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(&class_labels("StratifiedKFold", data)?)
    }
}

/// The samples sorted by class are dealt out like cards, which says how many of a class each fold gets; which of them, their
/// order, or that of the class's stream, says.
fn stratified(
    operation: &'static str,
    labels: &[u32],
    splits: usize,
    rng: Option<Rng>,
) -> Result<Vec<usize>> {
    check_splits(operation, splits, 2, labels.len(), "samples")?;
    let classes = Classes::by_appearance(operation, labels)?;
    classes.check_least(operation, splits, "one per fold")?;
    let mut fold_of = vec![0; labels.len()];
    let mut dealt = 0;
    for (label, members) in classes.members() {
        // The folds of the class's samples, ascending: fold f gets those cards whose number is f modulo the folds.
        let mut folds: Vec<usize> = (dealt..dealt + members.len()).map(|card| card % splits).collect();
        folds.sort_unstable();
        if let Some(rng) = &rng {
            rng.stream(u64::from(label)).shuffle(&mut folds);
        }
        members.iter().zip(folds).for_each(|(&sample, fold)| fold_of[sample] = fold);
        dealt += members.len();
    }
    Ok(fold_of)
}

/// [`StratifiedKFold`] again and again, in an order of its own each time. scikit-learn's `RepeatedStratifiedKFold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedStratifiedKFold {
    splits: usize,
    repeats: usize,
    seed: u64,
}

impl RepeatedStratifiedKFold {
    /// Of `n_splits` folds (scikit-learn: 5), `n_repeats` times (scikit-learn: 10).
    #[must_use]
    pub fn new(n_splits: usize, n_repeats: usize, seed: u64) -> Self {
        Self { splits: n_splits, repeats: n_repeats, seed }
    }

    /// The folds of samples of these classes, those of the first repeat first.
    ///
    /// # Errors
    /// As [`StratifiedKFold::folds`]; [`Error::Argument`] for no repeat.
    pub fn folds(&self, labels: &[u32]) -> Result<Folds> {
        let operation = "RepeatedStratifiedKFold";
        repeat(operation, self.splits, self.repeats, self.seed, |rng| {
            stratified(operation, labels, self.splits, Some(rng))
        })
    }
}

impl Splitter for RepeatedStratifiedKFold {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        self.folds(&class_labels("RepeatedStratifiedKFold", data)?)
    }
}

/// Folds that never cut a group (a patient, a user, a recording): it is trained on or tested, never both. scikit-learn's
/// `GroupKFold`, and equal to it without shuffle: the largest group first goes to the fold that tests fewest samples so far.
///
/// ```
/// use gemmule::data::GroupKFold;
///
/// let folds = GroupKFold::new(2, &["ann", "bob", "ann", "cid"]).folds()?;
/// assert_eq!(folds.get(0).unwrap().test, [0, 2]);
/// assert_eq!(folds.get(1).unwrap().test, [1, 3]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKFold<G> {
    splits: usize,
    shuffle: Option<u64>,
    groups: Vec<G>,
}

impl<G: Ord + Copy> GroupKFold<G> {
    /// `n_splits` folds; `groups` names the group of each sample.
    #[must_use]
    pub fn new(n_splits: usize, groups: &[G]) -> Self {
        Self { splits: n_splits, shuffle: None, groups: groups.to_vec() }
    }

    /// Folds of random groups, as many in each but for one, whatever their sizes. Same seed, same folds.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { shuffle: Some(seed), ..self }
    }

    /// The folds.
    ///
    /// # Errors
    /// [`Error::Argument`] below 2 folds; [`Error::Data`] for more folds than groups.
    pub fn folds(&self) -> Result<Folds> {
        let operation = "GroupKFold";
        let classes = Classes::ascending(operation, &self.groups)?;
        check_splits(operation, self.splits, 2, classes.len(), "groups")?;
        let fold_of_group = match self.shuffle {
            Some(seed) => neighbours(operation, classes.len(), self.splits, Some(fold_stream(seed)))?,
            None => {
                let counts: Vec<usize> = classes.counts().collect();
                let mut by_size: Vec<usize> = (0..counts.len()).collect();
                by_size.sort_by_key(|&group| counts[group]);
                let mut sizes = vec![0; self.splits];
                let mut folds = vec![0; counts.len()];
                // Of equal groups the last first.
                for &group in by_size.iter().rev() {
                    let least = (0..self.splits).min_by_key(|&fold| sizes[fold]).unwrap_or_default();
                    sizes[least] += counts[group];
                    folds[group] = least;
                }
                folds
            }
        };
        let mut fold_of = vec![0; self.groups.len()];
        for ((_, members), fold) in classes.members().zip(fold_of_group) {
            members.iter().for_each(|&sample| fold_of[sample] = fold);
        }
        Ok(Folds::assigned(vec![fold_of], self.splits))
    }
}

impl<G: Ord + Copy> Splitter for GroupKFold<G> {
    fn split(&self, data: &Dataset) -> Result<Folds> {
        check_groups("GroupKFold", data, &self.groups)?;
        self.folds()
    }
}
