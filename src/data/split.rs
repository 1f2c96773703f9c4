//! Splits of a data set into parts.
//!
//! A split is a list of indices per part; a [`Dataset`] turns each list into a view with
//! [`subset`](Dataset::subset). Stratified and k-fold splits only have to make other lists.

use super::dataset::Dataset;
use super::indices;
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
    if !(test_fraction > 0.0 && test_fraction < 1.0) {
        return Err(Error::argument(operation, "test_fraction", "above 0 and below 1", test_fraction));
    }
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

fn split(operation: &'static str, len: usize, fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    let sizes = sizes(operation, len, fractions)?;
    let mut order = indices(operation, len)?;
    Rng::new(seed).stream(purpose::SPLIT).shuffle(&mut order);
    let mut rest = order.as_slice();
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
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
