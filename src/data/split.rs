//! Splits of a data set into parts.
//!
//! A split is a list of indices per part; a [`Dataset`] turns each list into a view with
//! [`subset`](Dataset::subset).
//!
//! | split | keeps |
//! | --- | --- |
//! | random | the sizes of the parts |
//! | stratified | these, and each class's share of each part |
//! | grouped | no group in two parts |
//! | ordered | the order: what is tested comes after what is trained on |

use super::classes::Classes;
use super::dataset::Dataset;
use super::indices;
use super::strata;
use crate::error::{Error, Result};
use crate::rng::{Rng, purpose};

/// Splits at random: part i gets `fractions[i]` of the samples, each sample goes to one part.
///
/// The sizes are `fractions[i] len` rounded down; the samples left over go one by one to the parts that lost most
/// by rounding, the earlier one first. The samples of a part are in random order. Same seed, same split.
///
/// ```
/// use gemmule::data::{Dataset, random_split};
///
/// let all = Dataset::from_bytes(&[11, 3], vec![0; 33])?;
/// let parts = random_split(&all, &[0.8, 0.1, 0.1], 42)?;
/// assert_eq!(parts.iter().map(Dataset::len).collect::<Vec<_>>(), [9, 1, 1]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if a fraction is not above 0 or they do not sum to 1 within 1e-9; [`Error::Data`] if a part
/// would be empty.
pub fn random_split(dataset: &Dataset, fractions: &[f64], seed: u64) -> Result<Vec<Dataset>> {
    let parts = split("random_split", dataset.len(), fractions, seed)?;
    parts.iter().map(|indices| dataset.subset(indices)).collect()
}

/// Splits at random in two: a part for training and one of `test_fraction` for testing. Same seed, same split.
///
/// ```
/// use gemmule::data::{Dataset, train_test_split};
///
/// let all = Dataset::from_bytes(&[10, 3], vec![0; 30])?;
/// let (train, test) = train_test_split(&all, 0.3, 42)?;
/// assert_eq!((train.len(), test.len()), (7, 3));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`random_split`] with `[1 - test_fraction, test_fraction]`.
pub fn train_test_split(dataset: &Dataset, test_fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
    let operation = "train_test_split";
    check_fraction(operation, "test_fraction", test_fraction)?;
    let parts = split(operation, dataset.len(), &[1.0 - test_fraction, test_fraction], seed)?;
    Ok((dataset.subset(&parts[0])?, dataset.subset(&parts[1])?))
}

/// The lists of indices of [`random_split`], for samples that are not in a [`Dataset`].
///
/// ```
/// let parts = gemmule::data::split_indices(4, &[0.5, 0.5], 1)?;
/// let mut all = parts.concat();
/// all.sort();
/// assert_eq!(all, [0, 1, 2, 3]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`random_split`].
pub fn split_indices(len: usize, fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    split("split_indices", len, fractions, seed)
}

/// Splits at random so that every part has the classes in the same proportions: of each class, part i gets
/// `fractions[i]` of its samples, rounded up or down; the parts are as large as those of [`random_split`].
///
/// Which counts are rounded up is decided by the largest remainder, the earlier class first. The samples of a part are in
/// random order. Same seed, same split.
///
/// ```
/// use gemmule::data::{Dataset, stratified_split};
///
/// // Nine of ten samples are of class 0.
/// let labels = (0..200).map(|i| u32::from(i % 10 == 0)).collect();
/// let all = Dataset::from_bytes(&[200, 1], vec![0; 200])?.with_classes(labels, 2)?;
/// let parts = stratified_split(&all, &[0.7, 0.2, 0.1], 42)?;
/// assert_eq!(parts[0].class_counts(), Some(vec![126, 14]));
/// assert_eq!(parts[1].class_counts(), Some(vec![36, 4]));
/// assert_eq!(parts[2].class_counts(), Some(vec![18, 2]));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`random_split`]; [`Error::Data`] if the targets are not classes; if a class has fewer samples than there are parts
/// (names it), or a part fewer than there are classes.
pub fn stratified_split(dataset: &Dataset, fractions: &[f64], seed: u64) -> Result<Vec<Dataset>> {
    let operation = "stratified_split";
    let parts = stratified(operation, &class_labels(operation, dataset)?, fractions, seed)?;
    parts.iter().map(|indices| dataset.subset(indices)).collect()
}

/// [`train_test_split`] that keeps the classes' proportions, as [`stratified_split`] does. scikit-learn's
/// `train_test_split(stratify=y)`.
///
/// # Errors
/// As [`stratified_split`] with `[1 - test_fraction, test_fraction]`.
pub fn stratified_train_test_split(
    dataset: &Dataset,
    test_fraction: f64,
    seed: u64,
) -> Result<(Dataset, Dataset)> {
    let operation = "stratified_train_test_split";
    check_fraction(operation, "test_fraction", test_fraction)?;
    let labels = class_labels(operation, dataset)?;
    let parts = stratified(operation, &labels, &[1.0 - test_fraction, test_fraction], seed)?;
    Ok((dataset.subset(&parts[0])?, dataset.subset(&parts[1])?))
}

/// The lists of indices of [`stratified_split`], for samples that are not in a [`Dataset`].
///
/// # Errors
/// As [`stratified_split`].
pub fn stratified_split_indices(labels: &[u32], fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    stratified("stratified_split_indices", labels, fractions, seed)
}

fn stratified(
    operation: &'static str,
    labels: &[u32],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let sizes = sizes(operation, labels.len(), fractions)?;
    strata::split(operation, labels, &sizes, &Rng::new(seed).stream(purpose::SPLIT))
}

/// Splits at random so that no group is in two parts: part i gets `fractions[i]` of the *groups* (rounded as
/// [`random_split`] rounds samples) with all their samples, in ascending order. `groups` names the group of each sample:
/// a patient, a user, a recording. Same seed, same split.
///
/// ```
/// use gemmule::data::{Dataset, group_split};
///
/// let scans = Dataset::from_bytes(&[6, 1], (0..6).collect())?;
/// let patients = ["ann", "bob", "ann", "cid", "bob", "ann"];
/// let parts = group_split(&scans, &patients, &[0.7, 0.3], 42)?;
/// assert_eq!(parts[0].len() + parts[1].len(), 6);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`random_split`] of the groups; [`Error::Data`] if there is not one group name per sample.
pub fn group_split<G: Ord + Copy>(
    dataset: &Dataset,
    groups: &[G],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Dataset>> {
    let operation = "group_split";
    check_groups(operation, dataset, groups)?;
    let parts = grouped(operation, groups, fractions, seed)?;
    parts.iter().map(|indices| dataset.subset(indices)).collect()
}

/// The lists of indices of [`group_split`], for samples that are not in a [`Dataset`].
///
/// # Errors
/// As [`group_split`].
pub fn group_split_indices<G: Ord + Copy>(
    groups: &[G],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    grouped("group_split_indices", groups, fractions, seed)
}

fn grouped<G: Ord + Copy>(
    operation: &'static str,
    groups: &[G],
    fractions: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let classes = Classes::ascending(operation, groups)?;
    let chosen = split(operation, classes.len(), fractions, seed)?;
    Ok(chosen.iter().map(|groups| samples_of(&classes, groups)).collect())
}

/// The samples of some groups, ascending.
pub(super) fn samples_of<G: Ord + Copy>(classes: &Classes<G>, groups: &[usize]) -> Vec<usize> {
    let mut samples: Vec<usize> = groups.iter().flat_map(|&group| classes.of(group)).copied().collect();
    samples.sort_unstable();
    samples
}

/// Splits in time: the last `test_fraction` of the samples, rounded up, for testing, those before for training, both in
/// order. scikit-learn's `train_test_split(shuffle=False)`.
///
/// ```
/// use gemmule::data::{Dataset, ordered_train_test_split};
///
/// let days = Dataset::from_bytes(&[10, 1], (0..10).collect())?;
/// let (past, future) = ordered_train_test_split(&days, 0.25)?;
/// assert_eq!((past.len(), future.bytes(0)), (7, Some(&[7][..])));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if the fraction is not above 0 and below 1; [`Error::Data`] if no sample is left for training.
pub fn ordered_train_test_split(dataset: &Dataset, test_fraction: f64) -> Result<(Dataset, Dataset)> {
    let operation = "ordered_train_test_split";
    let [train, _] = train_test_sizes(operation, "test_fraction", dataset.len(), test_fraction)?;
    let all = indices(operation, dataset.len())?;
    Ok((dataset.subset(&all[..train])?, dataset.subset(&all[train..])?))
}

/// scikit-learn's sizes: those of the test part rounded up.
pub(super) fn train_test_sizes(
    operation: &'static str,
    what: &'static str,
    len: usize,
    test_fraction: f64,
) -> Result<[usize; 2]> {
    check_fraction(operation, what, test_fraction)?;
    let test = (test_fraction * len as f64).ceil() as usize;
    if test >= len {
        let got = format!("none: {test_fraction} of {len} are for testing");
        return Err(Error::data(operation, "the training part", "at least 1", got));
    }
    Ok([len - test, test])
}

fn check_fraction(operation: &'static str, what: &'static str, fraction: f64) -> Result<()> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::argument(operation, what, "above 0 and below 1", fraction));
    }
    Ok(())
}

/// The class of each sample.
pub(super) fn class_labels(operation: &'static str, dataset: &Dataset) -> Result<Vec<u32>> {
    dataset.classes().ok_or_else(|| Error::data(operation, "targets", "classes", dataset.target_words()))
}

/// There is a group for each sample.
pub(super) fn check_groups<G>(operation: &'static str, dataset: &Dataset, groups: &[G]) -> Result<()> {
    if groups.len() != dataset.len() {
        let expected = format!("{} (one per sample)", dataset.len());
        return Err(Error::data(operation, "groups", expected, groups.len()));
    }
    Ok(())
}

fn split(operation: &'static str, len: usize, fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let sizes = sizes(operation, len, fractions)?;
    split_to(operation, len, &sizes, &mut Rng::new(seed).stream(purpose::SPLIT))
}

/// Parts of these sizes, which sum to `len`.
pub(super) fn split_to(
    operation: &'static str,
    len: usize,
    sizes: &[usize],
    rng: &mut Rng,
) -> Result<Vec<Vec<usize>>> {
    let mut order = indices(operation, len)?;
    rng.shuffle(&mut order);
    let mut rest = order.as_slice();
    let mut parts = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let (part, after) = rest.split_at(size);
        parts.push(part.to_vec());
        rest = after;
    }
    Ok(parts)
}

/// The method of the largest remainder.
fn sizes(operation: &'static str, len: usize, fractions: &[f64]) -> Result<Vec<usize>> {
    if let Some((i, fraction)) =
        fractions.iter().enumerate().find(|&(_, &fraction)| fraction <= 0.0 || fraction.is_nan())
    {
        let got = format!("{fraction} for part {i}");
        return Err(Error::argument(operation, "fractions", "each above 0", got));
    }
    let sum: f64 = fractions.iter().sum();
    if sum.is_nan() || (sum - 1.0).abs() > 1e-9 {
        return Err(Error::argument(operation, "fractions", "a sum of 1", format!("a sum of {sum}")));
    }
    // Divided by their sum, so that rounding (which `len` would multiply) does not make samples.
    let exact: Vec<f64> = fractions.iter().map(|fraction| len as f64 * (fraction / sum)).collect();
    let mut sizes: Vec<usize> = exact.iter().map(|size| size.floor() as usize).collect();
    let mut by_loss: Vec<usize> = (0..sizes.len()).collect();
    by_loss.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let (len, total) = (len as u128, sizes.iter().map(|&size| size as u128).sum::<u128>());
    for &part in by_loss.iter().cycle().take(len.saturating_sub(total) as usize) {
        sizes[part] += 1;
    }
    // Above 2^53 samples rounding can give too many: they come off the parts that lost least.
    for &part in by_loss.iter().rev().cycle().take(total.saturating_sub(len) as usize) {
        sizes[part] = sizes[part].saturating_sub(1);
    }
    if let Some(part) = sizes.iter().position(|&size| size == 0) {
        let got = format!("none: {} of {len} samples", fractions[part]);
        return Err(Error::data(operation, format!("part {part}"), "at least 1 sample", got));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_remainder_gets_the_sample() {
        let sizes = |len, fractions: &[f64]| sizes("test", len, fractions).unwrap();
        assert_eq!(sizes(60_000, &[0.8, 0.1, 0.1]), [48_000, 6_000, 6_000]);
        assert_eq!(sizes(10, &[0.7, 0.2, 0.1]), [7, 2, 1]);
        assert_eq!(sizes(100, &[0.29, 0.71]), [29, 71]);
        assert_eq!(sizes(7, &[0.5, 0.25, 0.25]), [3, 2, 2]);
        assert_eq!(sizes(10, &[0.1; 10]), [1; 10]);
        assert_eq!(sizes(5, &[1.0 / 3.0; 3]), [2, 2, 1]);
        assert_eq!(sizes(1, &[1.0]), [1]);
        for len in 1..500 {
            for fractions in [&[0.5, 0.5][..], &[0.99, 0.01], &[0.6, 0.3, 0.1], &[1.0 / 7.0; 7]] {
                if let Ok(sizes) = super::sizes("test", len, fractions) {
                    assert_eq!(sizes.iter().sum::<usize>(), len);
                    for (size, fraction) in sizes.iter().zip(fractions) {
                        assert!((*size as f64 - fraction * len as f64).abs() < 1.0 + 1e-9);
                    }
                }
            }
        }
        assert_eq!(
            sizes(usize::MAX, &[0.3, 0.7]).iter().map(|&size| size as u128).sum::<u128>(),
            u64::MAX.into()
        );
    }

    #[test]
    fn refusals() {
        for fractions in
            [&[][..], &[0.5], &[0.5, 0.6], &[1.0, 0.0], &[1.5, -0.5], &[f64::NAN, 1.0], &[f64::INFINITY]]
        {
            let error = sizes("test", 100, fractions).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
        let error = sizes("test", 4, &[0.9, 0.1]).unwrap_err();
        assert_eq!(error.to_string(), "test: part 1: expected at least 1 sample, got none: 0.1 of 4 samples");
        assert!(sizes("test", 0, &[1.0]).is_err());
    }
}
