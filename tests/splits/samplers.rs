//! Samplers and resampling: orders that depend on seed and epoch alone, frequencies, exact counts.

use gemmule::data::{
    Batches, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler,
    class_weights, random_oversample, random_undersample, sample_weights,
};
use gemmule::{Error, Result};
use proptest::prelude::*;

pub fn order(sampler: &dyn Sampler, epoch: u64) -> Vec<usize> {
    let mut order = vec![usize::MAX; sampler.len()];
    sampler.order(epoch, &mut order).unwrap();
    order
}

/// Batches from a sampler are the sampler's order, whatever epoch was before: a resumed run sees the same.
#[test]
fn an_epochs_order_is_a_function_of_the_sampler_and_the_epoch() {
    let weights: Vec<f64> = (0..50).map(|i| f64::from(i % 5)).collect();
    let samplers: [&dyn Sampler; 5] = [
        &SequentialSampler::new(50),
        &RandomSampler::new(50, 3),
        &SubsetRandomSampler::new((10..40).collect(), 3),
        &WeightedRandomSampler::new(&weights, 70, true, 3).unwrap(),
        &WeightedRandomSampler::new(&weights, 40, false, 3).unwrap(),
    ];
    for (i, sampler) in samplers.into_iter().enumerate() {
        let mut batches = Batches::from_sampler(sampler, 50, 8, 0).unwrap();
        for epoch in [4, 1, 4, 0, 2] {
            batches.resample(sampler, 50, epoch).unwrap();
            assert_eq!(batches, Batches::from_sampler(sampler, 50, 8, epoch).unwrap());
            assert_eq!(batches.iter().flatten().copied().collect::<Vec<_>>(), order(sampler, epoch));
            assert_eq!(batches.len(), sampler.len().div_ceil(8));
            assert_eq!(batches.get(1), batches.iter().nth(1));
        }
        for epoch in 0..4 {
            assert_eq!(
                order(sampler, epoch) == order(sampler, epoch + 1),
                i == 0,
                "each epoch its own order"
            );
        }
    }
    // The random sampler is the shuffle that there was.
    for epoch in 0..5 {
        let shuffled = Batches::new(50, 8, Some((3, epoch))).unwrap();
        assert_eq!(Batches::from_sampler(&RandomSampler::new(50, 3), 50, 8, epoch).unwrap(), shuffled);
    }
    let mut subset = order(&SubsetRandomSampler::new(vec![9, 2, 9], 1), 7);
    subset.sort_unstable();
    assert_eq!(subset, [2, 9, 9]);
}

/// Frequencies within five standard deviations of what the weights say.
#[test]
fn weights_are_frequencies() {
    let weights = [1.0, 0.0, 3.0, 0.5, 0.0, 5.5];
    let draws = 20_000;
    let sampler = WeightedRandomSampler::new(&weights, draws, true, 8).unwrap();
    let mut counts = [0_usize; 6];
    order(&sampler, 0).into_iter().for_each(|sample| counts[sample] += 1);
    for (sample, &weight) in weights.iter().enumerate() {
        let p = weight / 10.0;
        let (mean, deviation) = (p * draws as f64, (draws as f64 * p * (1.0 - p)).sqrt());
        assert!((counts[sample] as f64 - mean).abs() <= 5.0 * deviation, "{sample}: {counts:?}");
    }
    // Without replacement: the first draw by weight, the second by what is left.
    let sampler = WeightedRandomSampler::new(&[1.0, 2.0, 0.0, 7.0], 2, false, 8).unwrap();
    let (mut first, mut pairs) = ([0_usize; 4], 0_usize);
    for epoch in 0..10_000 {
        let [a, b] = order(&sampler, epoch)[..] else { panic!() };
        assert!(a != b && a != 2 && b != 2);
        first[a] += 1;
        pairs += usize::from((a, b) == (3, 1));
    }
    for (sample, p) in [(0, 0.1_f64), (1, 0.2), (3, 0.7)] {
        let deviation = (10_000.0 * p * (1.0 - p)).sqrt();
        assert!((first[sample] as f64 - 10_000.0 * p).abs() <= 5.0 * deviation, "{first:?}");
    }
    let p: f64 = 0.7 * 2.0 / 3.0;
    assert!((pairs as f64 - 10_000.0 * p).abs() <= 5.0 * (10_000.0 * p * (1.0 - p)).sqrt(), "{pairs}");
}

/// Weights whose sums lose digits, and draws as many as there are positive weights.
#[test]
fn edges_of_weights() {
    let tiny = [0.0, f64::MIN_POSITIVE * f64::EPSILON, 0.0];
    assert_eq!(order(&WeightedRandomSampler::new(&tiny, 5, true, 0).unwrap(), 0), [1; 5]);
    assert_eq!(order(&WeightedRandomSampler::new(&tiny, 1, false, 0).unwrap(), 0), [1]);
    let lost = [1e300, 1.0, 0.0];
    assert!(order(&WeightedRandomSampler::new(&lost, 100, true, 0).unwrap(), 0).iter().all(|&s| s == 0));
    let mut all = order(&WeightedRandomSampler::new(&[5.0, 1e-300, 0.0, 2.0], 3, false, 1).unwrap(), 9);
    assert_eq!(all.pop(), Some(1), "what hardly weighs comes last");
    all.sort_unstable();
    assert_eq!(all, [0, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn resampling_is_balanced(labels in prop::collection::vec(0_u32..6, 1..120), seed: u64) {
        let mut counts = std::collections::BTreeMap::new();
        labels.iter().for_each(|label| *counts.entry(*label).or_insert(0_usize) += 1);
        let (least, most) = (*counts.values().min().unwrap(), *counts.values().max().unwrap());

        let over = random_oversample(&labels, seed).unwrap();
        prop_assert!(over[..labels.len()].iter().copied().eq(0..labels.len()), "every sample once, in order");
        let under = random_undersample(&labels, seed).unwrap();
        for (list, each) in [(&over, most), (&under, least)] {
            prop_assert_eq!(list.len(), each * counts.len());
            for &class in counts.keys() {
                prop_assert_eq!(list.iter().filter(|&&sample| labels[sample] == class).count(), each);
            }
        }
        let mut once = under.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), under.len(), "without replacement");
        prop_assert_eq!(over, random_oversample(&labels, seed).unwrap());
        prop_assert_eq!(under, random_undersample(&labels, seed).unwrap());
    }

    #[test]
    fn balanced_weights_give_every_class_the_same_total(labels in prop::collection::vec(0_u32..4, 8..120)) {
        match class_weights(&labels, 4) {
            Err(error) => {
 let missing = (0..4).any(|class| !labels.contains(&class));
 let data = matches!(error, Error::Data { .. });
 prop_assert!(data && missing)
 },
            Ok(weights) => {
                let each = sample_weights(&labels, &weights).unwrap();
                for class in 0..4 {
                    let total: f64 = (0..labels.len()).filter(|&i| labels[i] == class).map(|i| each[i]).sum();
                    prop_assert!((total - labels.len() as f64 / 4.0).abs() < 1e-9);
                }
            }
        }
    }
}

/// A sampler that breaks its word.
struct Wrong(usize);

impl Sampler for Wrong {
    fn len(&self) -> usize {
        self.0
    }
    fn order(&self, epoch: u64, out: &mut [usize]) -> Result<()> {
        out.fill(epoch as usize);
        Ok(())
    }
}

#[test]
fn what_is_wrong_is_named() {
    fn says<R>(result: Result<R>, text: &str) {
        assert_eq!(result.err().unwrap().to_string(), text);
    }
    let new =
        |weights: &[f64], draws, replacement| WeightedRandomSampler::new(weights, draws, replacement, 0);
    says(
        new(&[1.0, -1.0], 2, true),
        "WeightedRandomSampler::new: the weight of sample 1: expected 0 or above, finite, got -1",
    );
    assert!(new(&[1.0, f64::NAN], 2, true).is_err() && new(&[f64::INFINITY], 1, true).is_err());
    assert!(new(&[f64::MAX, f64::MAX], 2, true).is_err());
    says(
        new(&[1.0, 0.0, 2.0], 3, false),
        "WeightedRandomSampler::new: weights: expected at least 3 above 0, got 2",
    );
    says(new(&[0.0], 1, true), "WeightedRandomSampler::new: weights: expected at least 1 above 0, got 0");
    says(new(&[1.0], 0, true), "WeightedRandomSampler::new: draws: expected at least 1, got 0");
    says(class_weights(&[0, 2], 3), "class_weights: class 1: expected at least 1 sample, got 0");
    says(class_weights(&[0, 3], 3), "class_weights: the label of sample 1: expected a class below 3, got 3");
    assert!(matches!(class_weights(&[0], usize::MAX).unwrap_err(), Error::OutOfMemory { .. }));
    assert!(sample_weights(&[0, 2], &[1.0, 1.0]).is_err());
    assert!(random_oversample(&[], 0).is_err() && random_undersample(&[], 0).is_err());

    let mut batches = Batches::from_sampler(&Wrong(4), 3, 2, 2).unwrap();
    says(
        batches.resample(&Wrong(4), 3, 3),
        "Batches::resample: draw 0 of the sampler: expected a sample below 3, got 3",
    );
    says(
        batches.resample(&Wrong(5), 3, 0),
        "Batches::resample: the sampler's epoch: expected 4 samples, as before, got 5",
    );
    assert!(Batches::from_sampler(&SequentialSampler::new(0), 3, 2, 0).is_err());
    assert!(Batches::from_sampler(&SequentialSampler::new(3), 3, 0, 0).is_err());
}
