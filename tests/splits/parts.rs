//! Splits into parts: exact sizes and proportions, no sample lost or doubled, no group in two parts.

use gemmule::data::{
    Dataset, group_split, group_split_indices, ordered_train_test_split, split_indices, stratified_split,
    stratified_split_indices, stratified_train_test_split,
};
use gemmule::{Error, Result, Tensor};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn check_partition(parts: &[Vec<usize>], len: usize) {
    let mut all = parts.concat();
    all.sort_unstable();
    assert_eq!(all, (0..len).collect::<Vec<_>>());
}

fn fractions() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(1_u32..20, 1..5).prop_map(|parts| {
        let sum: u32 = parts.iter().sum();
        parts.iter().map(|&part| f64::from(part) / f64::from(sum)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn stratified_parts_have_exact_proportions(
        counts in prop::collection::vec(4_usize..60, 1..7), fractions in fractions(), seed: u64,
    ) {
        let labels: Vec<u32> =
            counts.iter().enumerate().flat_map(|(class, &count)| vec![class as u32; count]).collect();
        let len = labels.len();
        let Ok(parts) = stratified_split_indices(&labels, &fractions, seed) else {
            let least = fractions.iter().copied().fold(1.0, f64::min);
            prop_assert!((least * len as f64) < counts.len() as f64 + 1.0);
            return Ok(());
        };
        check_partition(&parts, len);
        // As large as the parts of a random split.
        let random = split_indices(len, &fractions, seed).unwrap();
        for (part, random) in parts.iter().zip(&random) {
            prop_assert_eq!(part.len(), random.len());
            for (class, &count) in counts.iter().enumerate() {
                let own = part.iter().filter(|&&sample| labels[sample] == class as u32).count();
                let exact = count as f64 * part.len() as f64 / len as f64;
                prop_assert!((own as f64 - exact).abs() < 1.0, "{} for {}", own, exact);
            }
        }
        prop_assert_eq!(&parts, &stratified_split_indices(&labels, &fractions, seed).unwrap());
    }

    #[test]
    fn groups_go_to_one_part(groups in prop::collection::vec(0_u64..20, 1..100), fractions in fractions(), seed: u64) {
        let distinct = groups.iter().collect::<BTreeSet<_>>().len();
        let Ok(parts) = group_split_indices(&groups, &fractions, seed) else {
            prop_assert!(split_indices(distinct, &fractions, seed).is_err());
            return Ok(());
        };
        check_partition(&parts, groups.len());
        let sizes: Vec<usize> = split_indices(distinct, &fractions, seed).unwrap().iter().map(Vec::len).collect();
        let mut seen = BTreeSet::new();
        for (part, size) in parts.iter().zip(sizes) {
            let own: BTreeSet<u64> = part.iter().map(|&sample| groups[sample]).collect();
            prop_assert_eq!(own.len(), size);
            prop_assert!(own.iter().all(|&group| seen.insert(group)));
        }
    }
}

fn classes(labels: &[u32], count: usize) -> Dataset {
    let bytes = (0..labels.len()).map(|i| i as u8).collect();
    Dataset::from_bytes(&[labels.len(), 1], bytes).unwrap().with_classes(labels.to_vec(), count).unwrap()
}

#[test]
fn views_of_a_data_set() {
    let labels: Vec<u32> = (0..60).map(|i| if i % 6 == 0 { 2 } else { i % 2 }).collect();
    let all = classes(&labels, 3);
    let (train, test) = stratified_train_test_split(&all, 0.2, 9).unwrap();
    assert_eq!(all.class_counts(), Some(vec![20, 30, 10]));
    assert_eq!(train.class_counts(), Some(vec![16, 24, 8]));
    assert_eq!(test.class_counts(), Some(vec![4, 6, 2]));
    // In random order, and another seed is another split.
    let samples = |part: &Dataset| (0..part.len()).map(|i| part.bytes(i).unwrap()[0]).collect::<Vec<_>>();
    assert!(!samples(&train).is_sorted());
    assert_ne!(samples(&test), samples(&stratified_train_test_split(&all, 0.2, 10).unwrap().1));
    // The same shares: random splits would not have them.
    let parts = stratified_split(&all, &[0.5, 0.3, 0.2], 9).unwrap();
    assert_eq!(parts[1].class_counts(), Some(vec![6, 9, 3]));

    let owners: Vec<String> = (0..60).map(|i| format!("owner {}", i / 7)).collect();
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let parts = group_split(&all, &owners, &[0.5, 0.5], 1).unwrap();
    assert!(samples(&parts[0]).is_sorted() && parts[0].len() + parts[1].len() == 60);
    for sample in samples(&parts[0]) {
        assert!(samples(&parts[1]).iter().all(|other| other / 7 != sample / 7));
    }
    let (past, future) = ordered_train_test_split(&all, 0.2).unwrap();
    assert_eq!((samples(&past), samples(&future)), ((0..48).collect(), (48..60).collect()));
}

#[test]
fn what_is_wrong_is_named() {
    fn says<R>(result: Result<R>, text: &str) {
        assert_eq!(result.err().unwrap().to_string(), text);
    }
    says(
        stratified_split_indices(&[3, 3, 3, 8], &[0.5, 0.5], 0),
        "stratified_split_indices: class 8: expected at least 2 samples (one per part), got 1",
    );
    says(
        stratified_split_indices(&[0, 0, 0, 0, 1, 1, 2, 2], &[0.8, 0.2], 0),
        "stratified_split_indices: part 1: expected at least 3 samples (one per class), got 2",
    );
    let all = classes(&[0, 1, 0, 1], 2);
    says(
        group_split(&all, &[1, 2], &[0.5, 0.5], 0),
        "group_split: groups: expected 4 (one per sample), got 2",
    );
    says(
        group_split(&all, &[1, 1, 1, 1], &[0.5, 0.5], 0),
        "group_split: part 1: expected at least 1 sample, got none: 0.5 of 1 samples",
    );
    let values = all.clone().with_values(Tensor::<f32>::zeros(&[4, 2]).unwrap()).unwrap();
    says(
        stratified_split(&values, &[0.5, 0.5], 0),
        "stratified_split: targets: expected classes, got 2 target values",
    );
    says(
        ordered_train_test_split(&all, 0.9),
        "ordered_train_test_split: the training part: expected at least 1, got none: 0.9 of 4 are for testing",
    );
    for fraction in [0.0, 1.0, f64::NAN] {
        let error = ordered_train_test_split(&all, fraction).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }));
        assert!(stratified_train_test_split(&all, fraction, 0).is_err());
    }
    assert!(stratified_split_indices(&[], &[1.0], 0).is_err());
    assert!(group_split_indices::<u8>(&[], &[1.0], 0).is_err());
}
