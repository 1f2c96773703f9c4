//! Folds: every sample is tested once per repeat, sizes and proportions are exact, seeds reproduce, bad input is named.

use gemmule::data::{
    Dataset, Fold, Folds, GroupKFold, GroupShuffleSplit, KFold, RepeatedKFold, RepeatedStratifiedKFold,
    ShuffleSplit, Splitter, StratifiedKFold, StratifiedShuffleSplit, TimeSeriesSplit,
};
use gemmule::{Error, Result};
use proptest::prelude::*;

/// A partition: the test parts of `splits` folds at a time are all samples once, and each fold trains on the others.
fn check_partition(folds: &Folds, len: usize, splits: usize) {
    let all: Vec<Fold> = folds.iter().collect();
    assert_eq!((all.len(), folds.len(), folds.len() % splits), (folds.len(), folds.len(), 0));
    assert_eq!(folds.get(folds.len()), None);
    for repeat in all.chunks(splits) {
        let mut tested = vec![0; len];
        for fold in repeat {
            assert!(!fold.test.is_empty() && fold.test.is_sorted() && fold.train.is_sorted());
            let mut samples = [fold.train.as_slice(), &fold.test].concat();
            samples.sort_unstable();
            assert_eq!(samples, (0..len).collect::<Vec<_>>(), "none lost, none doubled");
            fold.test.iter().for_each(|&sample| tested[sample] += 1);
        }
        assert_eq!(tested, vec![1; len]);
    }
}

/// The first `len % splits` folds test one more.
fn check_sizes(folds: &Folds, len: usize, splits: usize) {
    for (i, fold) in folds.iter().enumerate() {
        assert_eq!(fold.test.len(), len / splits + usize::from(i % splits < len % splits));
    }
}

/// Of each class every fold tests its share, rounded down or up.
fn check_shares(folds: &Folds, labels: &[u32], splits: usize) {
    for class in labels.iter().collect::<std::collections::BTreeSet<_>>() {
        let count = labels.iter().filter(|&label| label == class).count();
        for fold in folds.iter() {
            let tested = fold.test.iter().filter(|&&sample| labels[sample] == *class).count();
            assert!((count / splits..=count.div_ceil(splits)).contains(&tested), "{tested} of {count}");
        }
    }
}

/// Labels of which each class has at least `least`, in an order of their own.
fn labels_of(counts: &[usize], seed: u64) -> Vec<u32> {
    let mut labels: Vec<u32> = counts
        .iter()
        .enumerate()
        .flat_map(|(class, &count)| std::iter::repeat_n(class as u32 * 7, count))
        .collect();
    gemmule::rng::Rng::new(seed).shuffle(&mut labels);
    labels
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn k_folds_are_partitions(len in 2_usize..200, splits in 2_usize..20, repeats in 1_usize..4, seed: u64) {
        let splits = splits.min(len);
        for folds in [KFold::new(splits), KFold::new(splits).shuffle(seed)] {
            let folds = folds.folds(len).unwrap();
            check_partition(&folds, len, splits);
            check_sizes(&folds, len, splits);
        }
        let folds = RepeatedKFold::new(splits, repeats, seed).folds(len).unwrap();
        prop_assert_eq!(folds.len(), splits * repeats);
        check_partition(&folds, len, splits);
        check_sizes(&folds, len, splits);
        prop_assert_eq!(&folds, &RepeatedKFold::new(splits, repeats, seed).folds(len).unwrap());
    }

    #[test]
    fn stratified_folds_have_exact_proportions(
        counts in prop::collection::vec(1_usize..40, 1..6), splits in 2_usize..8, seed: u64,
    ) {
        let counts: Vec<usize> = counts.iter().map(|count| count + splits - 1).collect();
        let labels = labels_of(&counts, seed);
        for folds in [
            StratifiedKFold::new(splits).folds(&labels),
            StratifiedKFold::new(splits).shuffle(seed).folds(&labels),
            RepeatedStratifiedKFold::new(splits, 3, seed).folds(&labels),
        ] {
            let folds = folds.unwrap();
            check_partition(&folds, labels.len(), splits);
            check_sizes(&folds, labels.len(), splits);
            check_shares(&folds, &labels, splits);
        }
    }

    #[test]
    fn groups_stay_whole(groups in prop::collection::vec(0_u32..12, 4..80), splits in 2_usize..6, seed: u64) {
        let distinct = groups.iter().collect::<std::collections::BTreeSet<_>>().len();
        let plain = GroupKFold::new(splits, &groups);
        for folds in [plain.clone(), plain.shuffle(seed)] {
            let Ok(folds) = folds.folds() else {
                prop_assert!(distinct < splits);
                continue;
            };
            check_partition(&folds, groups.len(), splits);
            for fold in folds.iter() {
                prop_assert!(fold.test.iter().all(|&t| fold.train.iter().all(|&r| groups[t] != groups[r])));
            }
        }
        if let Ok(splits) = GroupShuffleSplit::new(3, 0.3, seed, &groups).folds() {
            for fold in splits.iter() {
                prop_assert_eq!(fold.train.len() + fold.test.len(), groups.len());
                prop_assert!(fold.test.iter().all(|&t| fold.train.iter().all(|&r| groups[t] != groups[r])));
                let tested = fold.test.iter().map(|&t| groups[t]).collect::<std::collections::BTreeSet<_>>();
                prop_assert_eq!(tested.len(), (0.3 * distinct as f64).ceil() as usize);
            }
        }
    }

    #[test]
    fn time_goes_forward(
        len in 3_usize..120, splits in 2_usize..8, most in 0_usize..20, test in 0_usize..12, gap in 0_usize..5,
    ) {
        let mut split = TimeSeriesSplit::new(splits).gap(gap);
        if most > 0 {
            split = split.max_train_size(most);
        }
        if test > 0 {
            split = split.test_size(test);
        }
        let size = if test > 0 { test } else { len / (splits + 1) };
        match split.folds(len) {
            Err(_) => prop_assert!(splits >= len || len <= gap + size * splits),
            Ok(folds) => {
                for (i, fold) in folds.iter().enumerate() {
                    prop_assert_eq!(fold.test.len(), size);
                    prop_assert_eq!(fold.test[0], len - (splits - i) * size);
                    let last = *fold.train.last().unwrap();
                    prop_assert_eq!(last + gap + 1, fold.test[0]);
                    let expected = if most > 0 { most.min(last + 1) } else { last + 1 };
                    prop_assert_eq!(fold.train.len(), expected);
                }
            }
        }
    }

    #[test]
    fn random_splits_have_exact_sizes(counts in prop::collection::vec(2_usize..40, 1..6), size in 0.05_f64..0.95, seed: u64) {
        let labels = labels_of(&counts, seed);
        let len = labels.len();
        let test = (size * len as f64).ceil() as usize;
        let check = |folds: Folds| {
            for fold in folds.iter() {
                assert_eq!(fold.test.len(), test);
                let mut all = [fold.train, fold.test].concat();
                all.sort_unstable();
                assert_eq!(all, (0..len).collect::<Vec<_>>());
            }
        };
        if test < len {
            check(ShuffleSplit::new(4, size, seed).folds(len).unwrap());
            if test >= counts.len() && len - test >= counts.len() {
                let folds = StratifiedShuffleSplit::new(4, size, seed).folds(&labels).unwrap();
                for (class, &count) in counts.iter().enumerate() {
                    let exact = (count * test) as f64 / len as f64;
                    for fold in folds.iter() {
                        let tested = fold.test.iter().filter(|&&s| labels[s] == class as u32 * 7).count();
                        assert!((tested as f64 - exact).abs() < 1.0);
                    }
                }
                check(folds);
            }
        }
    }
}

#[test]
fn seeds_reproduce_and_differ() {
    let labels = labels_of(&[20, 15, 9], 1);
    let groups: Vec<u32> = (0..44).map(|i| i / 3).collect();
    let all = |seed: u64| {
        [
            KFold::new(4).shuffle(seed).folds(44),
            StratifiedKFold::new(4).shuffle(seed).folds(&labels),
            GroupKFold::new(4, &groups).shuffle(seed).folds(),
            RepeatedKFold::new(4, 2, seed).folds(44),
            RepeatedStratifiedKFold::new(4, 2, seed).folds(&labels),
            ShuffleSplit::new(3, 0.2, seed).folds(44),
            StratifiedShuffleSplit::new(3, 0.2, seed).folds(&labels),
            GroupShuffleSplit::new(3, 0.2, seed, &groups).folds(),
        ]
        .map(Result::unwrap)
    };
    assert_eq!(all(5), all(5));
    for (a, b) in all(5).iter().zip(&all(6)) {
        assert_ne!(a, b);
    }
    // Each repeat and each split draws anew.
    for folds in &all(5)[3..] {
        assert_ne!(folds.get(0), folds.get(folds.len() - 1));
    }
    let repeated = &all(5)[3];
    assert_ne!(repeated.get(0), repeated.get(4));
}

#[test]
fn what_is_wrong_is_named() {
    let says = |result: Result<Folds>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    says(KFold::new(1).folds(10), "KFold: n_splits: expected at least 2, got 1");
    says(KFold::new(4).folds(3), "KFold: samples: expected at least 4 (one per fold), got 3");
    says(
        StratifiedKFold::new(3).folds(&[0, 5, 0, 0, 5]),
        "StratifiedKFold: class 5: expected at least 3 samples (one per fold), got 2",
    );
    says(
        RepeatedStratifiedKFold::new(3, 2, 0).folds(&[0, 5, 0, 0, 5]),
        "RepeatedStratifiedKFold: class 5: expected at least 3 samples (one per fold), got 2",
    );
    says(RepeatedKFold::new(3, 0, 0).folds(9), "RepeatedKFold: n_repeats: expected at least 1, got 0");
    says(
        GroupKFold::new(3, &[1, 1, 2, 2]).folds(),
        "GroupKFold: groups: expected at least 3 (one per fold), got 2",
    );
    says(
        TimeSeriesSplit::new(3).folds(3),
        "TimeSeriesSplit: samples: expected more than 3 (one per fold, and one before), got 3",
    );
    says(
        TimeSeriesSplit::new(3).test_size(3).gap(2).folds(11),
        "TimeSeriesSplit: samples: expected more than 3 folds of 3 to test, a gap of 2, got 11",
    );
    says(
        TimeSeriesSplit::new(3).test_size(0).folds(9),
        "TimeSeriesSplit: test_size: expected at least 1, got 0",
    );
    says(
        ShuffleSplit::new(3, 0.9, 0).folds(2),
        "ShuffleSplit: the training part: expected at least 1, got none: 0.9 of 2 are for testing",
    );
    says(
        ShuffleSplit::new(3, 1.5, 0).folds(2),
        "ShuffleSplit: test_size: expected above 0 and below 1, got 1.5",
    );
    says(
        StratifiedShuffleSplit::new(3, 0.5, 0).folds(&[0, 0, 1]),
        "StratifiedShuffleSplit: class 1: expected at least 2 samples (one per part), got 1",
    );
    for hostile in [
        KFold::new(2).folds(usize::MAX),
        KFold::new(2).shuffle(0).folds(usize::MAX / 2),
        ShuffleSplit::new(2, 0.5, 0).folds(usize::MAX),
    ] {
        assert!(matches!(hostile.unwrap_err(), Error::OutOfMemory { .. }));
    }
    assert!(TimeSeriesSplit::new(usize::MAX).folds(10).is_err());
    assert!(TimeSeriesSplit::new(5).test_size(usize::MAX).folds(10).is_err());
    assert!(TimeSeriesSplit::new(5).gap(usize::MAX).folds(10).is_err());
    assert!(StratifiedKFold::new(2).folds(&[]).is_err());
    assert!(GroupKFold::<u8>::new(2, &[]).folds().is_err());

    let data = Dataset::from_bytes(&[4, 1], vec![0; 4]).unwrap();
    says(StratifiedKFold::new(2).split(&data), "StratifiedKFold: targets: expected classes, got no targets");
    says(GroupKFold::new(2, &[1, 2]).split(&data), "GroupKFold: groups: expected 4 (one per sample), got 2");
    let outside = vec![Fold { train: vec![0, 4], test: vec![1] }];
    let error = outside.split(&data).unwrap().get(0).unwrap().views(&data).unwrap_err();
    assert_eq!(error.to_string(), "Dataset::subset: index 1: expected a sample below 4, got 4");
}
