//! scikit-learn's values, and those of a second implementation, from golden/splits.txt.

use super::samplers::order;
use super::transforms::{dataset, rows};
use gemmule::Tensor;
use gemmule::data::{
    Dataset, Fold, Folds, GroupKFold, KFold, MinMax, OneHot, Standardize, StratifiedKFold,
    StratifiedShuffleSplit, TimeSeriesSplit, Unknown, WeightedRandomSampler, class_weights,
    group_split_indices, ordered_train_test_split, random_oversample, random_undersample,
    stratified_split_indices,
};

const GOLDEN: &str = include_str!("../golden/splits.txt");

/// The fields of the lines of that name; at least one.
fn lines(name: &str) -> Vec<Vec<Vec<f64>>> {
    let lines: Vec<Vec<Vec<f64>>> = GOLDEN
        .lines()
        .filter_map(|line| line.split_once(" | ").filter(|(first, _)| *first == name))
        .map(|(_, rest)| {
            let numbers = |field: &str| field.split_whitespace().map(|text| text.parse().unwrap()).collect();
            rest.split(" | ").map(numbers).collect()
        })
        .collect();
    assert!(!lines.is_empty(), "{name}");
    lines
}

fn whole(field: &[f64]) -> Vec<usize> {
    field.iter().map(|&x| x as usize).collect()
}

fn labels(field: &[f64]) -> Vec<u32> {
    field.iter().map(|&x| x as u32).collect()
}

fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= tolerance * (1.0 + expected.abs()), "{what} {i}: {got}, not {expected}");
    }
}

/// The test parts are these, the training parts all others.
fn same_tests(folds: &Folds, len: usize, tests: &[Vec<f64>]) {
    assert_eq!(folds.len(), tests.len());
    for (fold, test) in folds.iter().zip(tests) {
        let test = whole(test);
        let train: Vec<usize> = (0..len).filter(|sample| !test.contains(sample)).collect();
        assert_eq!(fold, Fold { train, test });
    }
}

#[test]
fn k_fold() {
    for line in lines("k_fold") {
        let [len, splits] = whole(&line[0])[..] else { panic!() };
        same_tests(&KFold::new(splits).folds(len).unwrap(), len, &line[1..]);
    }
}

#[test]
fn stratified_k_fold() {
    for line in lines("stratified_k_fold") {
        let folds = StratifiedKFold::new(line[0][0] as usize).folds(&labels(&line[1])).unwrap();
        same_tests(&folds, line[1].len(), &line[2..]);
    }
}

#[test]
fn group_k_fold() {
    for line in lines("group_k_fold") {
        let folds = GroupKFold::new(line[0][0] as usize, &labels(&line[1])).folds().unwrap();
        same_tests(&folds, line[1].len(), &line[2..]);
    }
}

#[test]
fn time_series_split() {
    for line in lines("time_series_split") {
        let [len, splits, most, test, gap] = whole(&line[0])[..] else { panic!() };
        let mut split = TimeSeriesSplit::new(splits).gap(gap);
        if most > 0 {
            split = split.max_train_size(most);
        }
        if test > 0 {
            split = split.test_size(test);
        }
        let folds = split.folds(len).unwrap();
        assert_eq!(folds.len(), splits);
        for (fold, parts) in folds.iter().zip(line[1..].chunks(2)) {
            assert_eq!(fold, Fold { train: whole(&parts[0]), test: whole(&parts[1]) });
        }
    }
}

#[test]
fn ordered_split() {
    for line in lines("ordered_split") {
        let len = line[0][0] as usize;
        let all = Dataset::from_bytes(&[len, 1], (0..len as u8).collect()).unwrap();
        let (train, test) = ordered_train_test_split(&all, line[1][0]).unwrap();
        for (part, expected) in [(train, &line[2]), (test, &line[3])] {
            let samples: Vec<usize> =
                (0..part.len()).map(|i| usize::from(part.bytes(i).unwrap()[0])).collect();
            assert_eq!(samples, whole(expected));
        }
    }
}

#[test]
fn stratified_shuffle_split() {
    for line in lines("stratified_counts") {
        let labels: Vec<u32> = line[0]
            .iter()
            .enumerate()
            .flat_map(|(class, &count)| std::iter::repeat_n(class as u32, count as usize))
            .collect();
        for fold in StratifiedShuffleSplit::new(20, line[1][0], 3).folds(&labels).unwrap().iter() {
            let mut counts = vec![0; line[0].len()];
            fold.test.iter().for_each(|&sample| counts[labels[sample] as usize] += 1);
            assert_eq!(counts, whole(&line[2]));
        }
    }
}

#[test]
fn balanced_class_weights() {
    for line in lines("class_weights") {
        assert_eq!(class_weights(&labels(&line[0]), line[1].len()).unwrap(), line[1], "to the bit");
    }
}

/// The mixing formula of splits.py.
fn mixed(stream: u32, index: u32) -> u32 {
    let z = index
        .wrapping_mul(2_654_435_761)
        .wrapping_add(stream.wrapping_mul(2_246_822_519))
        .wrapping_add(374_761_393);
    let z = (z ^ (z >> 15)).wrapping_mul(2_246_822_519);
    (z ^ (z >> 13)) >> 16
}

/// The matrix of splits.py.
fn matrix(len: u32) -> Dataset {
    let row = |i: u32| {
        [
            f64::from(mixed(10, i)) / 65536.0 - 0.5,
            1e6 + f64::from(mixed(11, i)) / 65536.0,
            0.1,
            f64::from(mixed(12, i) % 3),
            f64::from(mixed(13, i) % 256),
        ]
    };
    dataset(5, &(0..len).flat_map(row).collect::<Vec<f64>>())
}

#[test]
fn standardize() {
    let data = matrix(300);
    let fitted = Standardize::new().fit(&data).unwrap();
    let line = &lines("standardize")[0];
    close("mean", fitted.mean(), &line[0], 1e-15);
    close("scale", fitted.scale(), &line[1], 1e-12);
    let transformed = fitted.apply(&data).unwrap();
    // A unit in the last place of 1e6 is 4e-10 deviations of the second column.
    close("rows", &rows::<f64>(&transformed, &[0, 7, 299]), &lines("standardize_rows")[0][0], 1e-9);
    let exact: Vec<f64> = rows(&data, &[0, 7, 299]);
    let back = Tensor::from_vec(&[3, 5], rows::<f64>(&transformed, &[0, 7, 299])).unwrap();
    close("inverse", fitted.inverse(&back).unwrap().as_slice(), &exact, 1e-15);
}

#[test]
fn min_max() {
    let data = matrix(300);
    for line in lines("min_max") {
        let fitted = MinMax::new().range(line[0][0], line[0][1]).fit(&data).unwrap();
        assert_eq!((fitted.minimum(), fitted.maximum()), (&line[1][..], &line[2][..]));
        let got: Vec<f64> = rows(&fitted.apply(&data).unwrap(), &[0, 7, 299]);
        assert_eq!(got, line[3], "to the bit");
        let back = fitted.inverse(&Tensor::from_vec(&[3, 5], got).unwrap()).unwrap();
        close("inverse", back.as_slice(), &rows(&data, &[0, 7, 299]), 1e-12);
    }
    let few = data.subset(&(0..20).collect::<Vec<_>>()).unwrap();
    let clipped = MinMax::new().clip(true).fit(&few).unwrap().apply(&data).unwrap();
    assert_eq!(rows::<f64>(&clipped, &[40, 77, 299]), lines("min_max_clip")[0][0]);
}

#[test]
fn one_hot() {
    let data = matrix(300);
    let line = &lines("one_hot")[0];
    let fitted = OneHot::new(&[3]).unknown(Unknown::Ignore).fit(&data).unwrap();
    assert_eq!(fitted.categories(), [line[0].clone()]);
    let encoded = fitted.apply(&data).unwrap();
    assert_eq!((encoded.features(), encoded.feature_shape()), (7, &[7][..]));
    let got: Vec<f64> = rows(&encoded, &[0, 1, 2, 3, 4, 5]);
    let indicators: Vec<f64> = got.chunks(7).flat_map(|row| row[3..6].to_vec()).collect();
    assert_eq!(indicators, line[1]);
    let unseen = dataset(5, &[0.0, 1.0, 2.0, 9.0, 3.0]);
    assert_eq!(rows::<f64>(&fitted.apply(&unseen).unwrap(), &[0])[3..6], line[2]);
    assert!(OneHot::new(&[3]).fit(&data).unwrap().apply(&unseen).is_err());
}

/// A second implementation, in Python. A change here is a breaking release: seeds would mean other runs.
#[test]
fn seeds() {
    let line = |name: &str| lines(name)[0].iter().map(|field| whole(field)).collect::<Vec<_>>();
    let tests = |folds: Folds| folds.iter().map(|fold| fold.test).collect::<Vec<_>>();
    assert_eq!(tests(KFold::new(3).shuffle(42).folds(8).unwrap()), line("seeded_k_fold"));
    let labels = [0, 1, 0, 1, 1, 0, 1, 1];
    let folds = StratifiedKFold::new(2).shuffle(42).folds(&labels).unwrap();
    assert_eq!(tests(folds), line("seeded_stratified_k_fold"));
    let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1];
    assert_eq!(stratified_split_indices(&labels, &[0.5, 0.5], 42).unwrap(), line("seeded_stratified"));
    let groups = [4, 4, 2, 2, 9, 9, 1];
    assert_eq!(group_split_indices(&groups, &[0.5, 0.5], 42).unwrap(), line("seeded_groups"));
    let weights = [1.0, 2.0, 3.0, 4.0];
    for (draws, replacement, name) in
        [(8, true, "seeded_with_replacement"), (4, false, "seeded_without_replacement")]
    {
        let sampler = WeightedRandomSampler::new(&weights, draws, replacement, 42).unwrap();
        assert_eq!(order(&sampler, 3), line(name)[0]);
    }
    let labels = [0, 0, 0, 0, 1, 1];
    assert_eq!(random_oversample(&labels, 42).unwrap(), line("seeded_oversample")[0]);
    assert_eq!(random_undersample(&labels, 42).unwrap(), line("seeded_undersample")[0]);
}
