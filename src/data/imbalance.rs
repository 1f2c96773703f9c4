//! Classes of unequal size: weights, over- and under-sampling.

use super::classes::Classes;
use crate::error::{Error, Result};
use crate::rng::{Rng, purpose};

/// A weight for each class that makes all classes count alike ("balanced"): `n / (k count)` for n samples in k classes.
/// scikit-learn's `compute_class_weight`.
///
/// ```
/// use gemmule::data::class_weights;
///
/// assert_eq!(class_weights(&[0, 0, 0, 1], 2)?, [4.0 / 6.0, 2.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] if a label is not below `classes` (names the sample), or a class has no sample (names it).
pub fn class_weights(labels: &[u32], classes: usize) -> Result<Vec<f64>> {
    let operation = "class_weights";
    let mut counts = Vec::new();
    let bytes = classes.saturating_mul(size_of::<usize>());
    counts.try_reserve_exact(classes).map_err(|_| Error::OutOfMemory { what: operation, bytes })?;
    counts.resize(classes, 0_usize);
    for (sample, &label) in labels.iter().enumerate() {
        match counts.get_mut(label as usize) {
            Some(count) => *count += 1,
            None => return Err(unknown(operation, sample, classes, label)),
        }
    }
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(Error::data(operation, format!("class {class}"), "at least 1 sample", 0));
    }
    Ok(counts.into_iter().map(|count| labels.len() as f64 / (classes as f64 * count as f64)).collect())
}

/// The weight of each sample: that of its class. What [`WeightedRandomSampler`](super::WeightedRandomSampler) takes.
///
/// # Errors
/// [`Error::Data`] if a label has no weight (names the sample).
pub fn sample_weights(labels: &[u32], class_weights: &[f64]) -> Result<Vec<f64>> {
    let weight = |(sample, &label): (usize, &u32)| {
        let weight = class_weights.get(label as usize).copied();
        weight.ok_or_else(|| unknown("sample_weights", sample, class_weights.len(), label))
    };
    labels.iter().enumerate().map(weight).collect()
}

fn unknown(operation: &'static str, sample: usize, classes: usize, label: u32) -> Error {
    let expected = format!("a class below {classes}");
    Error::data(operation, format!("the label of sample {sample}"), expected, label)
}

/// All samples once, in order, and then samples of every smaller class drawn again, with replacement, until it has as many
/// as the largest: the classes ascending. imbalanced-learn's `RandomOverSampler`. Same seed, same list.
///
/// Split first, and oversample the training part alone: else copies of a training sample are tested.
///
/// ```
/// use gemmule::data::{Dataset, random_oversample};
///
/// let train = Dataset::from_bytes(&[4, 1], vec![1, 2, 3, 4])?.with_classes(vec![0, 0, 0, 1], 2)?;
/// let indices = random_oversample(&train.classes().unwrap(), 42)?;
/// assert_eq!(indices, [0, 1, 2, 3, 3, 3]);
/// assert_eq!(train.subset(&indices)?.class_counts(), Some(vec![3, 3]));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] if there is no sample.
pub fn random_oversample(labels: &[u32], seed: u64) -> Result<Vec<usize>> {
    let classes = Classes::ascending("random_oversample", labels)?;
    let most = classes.counts().max().unwrap_or_default();
    let mut indices: Vec<usize> = (0..labels.len()).collect();
    for (label, members) in classes.members() {
        let mut rng = Rng::new(seed).stream(purpose::RESAMPLE).stream(u64::from(label));
        let drawn = (members.len()..most).map(|_| members[rng.below(members.len() as u64) as usize]);
        indices.extend(drawn);
    }
    Ok(indices)
}

/// As many samples of each class as the smallest class has, drawn without replacement: the classes ascending.
/// imbalanced-learn's `RandomUnderSampler`. Same seed, same list.
///
/// ```
/// use gemmule::data::random_undersample;
///
/// let indices = random_undersample(&[7, 5, 5, 5, 7], 42)?;
/// assert_eq!(indices.len(), 4);
/// assert_eq!(indices[2..], [0, 4]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] if there is no sample.
pub fn random_undersample(labels: &[u32], seed: u64) -> Result<Vec<usize>> {
    let classes = Classes::ascending("random_undersample", labels)?;
    let least = classes.counts().min().unwrap_or_default();
    let mut indices = Vec::with_capacity(least);
    for (label, members) in classes.members() {
        let mut members = members.to_vec();
        if members.len() > least {
            Rng::new(seed).stream(purpose::RESAMPLE).stream(u64::from(label)).shuffle(&mut members);
        }
        indices.extend_from_slice(&members[..least]);
    }
    Ok(indices)
}
