//! Data sets, splits and batches: complete, exact, and the same for the same seed.

use gemmule::data::{Batches, Dataset, random_split, split_indices, train_test_split};
use gemmule::{BatchSource, Context, Element, Error, TargetKind, Tensor};

fn features<T: Element>(dataset: &Dataset, indices: &[usize]) -> Vec<T> {
    let mut out = vec![T::default(); indices.len() * dataset.features()];
    dataset.gather_features(&Context::detect().unwrap(), indices, &mut out);
    out
}

fn values<T: Element>(dataset: &Dataset, indices: &[usize]) -> Vec<T> {
    let Some(TargetKind::Values(width)) = dataset.target_kind() else { panic!("no values") };
    let mut out = vec![T::default(); indices.len() * width];
    dataset.gather_values(&Context::detect().unwrap(), indices, &mut out);
    out
}

fn classes(dataset: &Dataset, indices: &[usize]) -> Vec<u32> {
    let mut out = vec![0; indices.len()];
    BatchSource::<f32>::gather_classes(dataset, indices, &mut out);
    out
}

/// Six samples of 2 x 3 bytes that count up, classes 0, 1, 2, 0, 1, 2.
fn six() -> Dataset {
    Dataset::from_bytes(&[6, 2, 3], (0..36).collect())
        .unwrap()
        .with_classes(vec![0, 1, 2, 0, 1, 2], 3)
        .unwrap()
}

#[cfg(feature = "gzip")]
mod mnist {
    use super::*;
    use gemmule::data::load_idx_dir;
    use std::path::Path;

    fn load() -> (Dataset, Dataset) {
        load_idx_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist")).unwrap()
    }

    #[test]
    fn is_what_was_published() {
        let (train, test) = load();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        for (set, counts, sum) in [
            (&train, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], TRAIN_SUM),
            (&test, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], TEST_SUM),
        ] {
            assert_eq!((set.feature_shape(), set.features()), (&[28, 28][..], 784));
            assert_eq!(set.target_kind(), Some(TargetKind::Classes(10)));
            assert_eq!(set.class_counts().unwrap(), counts);
            let pixels = (0..set.len()).flat_map(|i| set.bytes(i).unwrap());
            assert_eq!(pixels.map(|&pixel| u64::from(pixel)).sum::<u64>(), sum);
        }
        assert_eq!(classes(&train, &[0, 1, 2, 3, 4]), [5, 0, 4, 1, 9]);
        assert_eq!(classes(&test, &[0, 1, 2, 3, 4]), [7, 2, 1, 0, 4]);
        assert_eq!(format!("{train:?}"), "Dataset(60000 samples of 28 x 28 u8, 10 classes)");
    }

    // Computed from the files by another program.
    const TRAIN_SUM: u64 = 1_567_298_545;
    const TEST_SUM: u64 = 264_923_200;

    #[test]
    fn splits_into_exact_parts_and_shares_the_pixels() {
        let (train, _) = load();
        let parts = random_split(&train, &[0.8, 0.1, 0.1], 42).unwrap();
        assert_eq!(parts.iter().map(Dataset::len).collect::<Vec<_>>(), [48_000, 6_000, 6_000]);
        let mut total = [0; 10];
        for part in &parts {
            for (total, count) in total.iter_mut().zip(part.class_counts().unwrap()) {
                *total += count;
            }
        }
        assert_eq!(total.to_vec(), train.class_counts().unwrap());
        // The same bytes, not copies of them.
        let start = train.bytes(0).unwrap().as_ptr() as usize;
        let inside = start..start + 60_000 * 784;
        assert!(parts.iter().all(|part| inside.contains(&(part.bytes(7).unwrap().as_ptr() as usize))));
    }
}

#[test]
fn bytes_become_floats_while_a_batch_is_gathered() {
    let set = six();
    let single: Vec<f32> = features(&set, &[5, 0]);
    let double: Vec<f64> = features(&set, &[5, 0]);
    for (i, byte) in (30..36).chain(0..6).enumerate() {
        assert!((double[i] - f64::from(byte) / 255.0).abs() < 1e-15);
        assert!((single[i] - byte as f32 / 255.0).abs() < 1e-7);
    }
    let bright = Dataset::from_bytes(&[1, 2], vec![255, 0]).unwrap();
    assert_eq!(features::<f32>(&bright, &[0]), [1.0, 0.0]);
    let centred = bright.clone().with_scale(2.0 / 255.0, -1.0).unwrap();
    // 2/255 is rounded, so white comes within one unit in the last place.
    let [white, black] = features::<f32>(&centred, &[0])[..] else { panic!() };
    assert!((white - 1.0).abs() <= f32::EPSILON && black == -1.0, "{white} {black}");
    assert_eq!(bright.with_scale(1.0, 0.5).map(|set| features::<f64>(&set, &[0])).unwrap(), [255.5, 0.5]);
    assert_eq!(classes(&set, &[2, 2, 0]), [2, 2, 0]);
    // A sample does not depend on the batch that it is gathered into.
    let all: Vec<f32> = features(&set, &[0, 1, 2, 3, 4, 5]);
    for i in 0..6 {
        assert_eq!(features::<f32>(&set, &[i]), all[i * 6..][..6]);
    }
}

#[test]
fn floats_keep_their_type_until_a_batch_is_gathered() {
    let third = 1.0_f64 / 3.0;
    let x = Tensor::from_vec(&[3, 2], vec![third, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let y = Tensor::from_vec(&[3, 2, 2], (0..12).map(|i| i as f32).collect()).unwrap();
    let set = Dataset::from_values(x).unwrap().with_values(y).unwrap();
    assert_eq!(set.target_kind(), Some(TargetKind::Values(4)));
    assert_eq!(features::<f64>(&set, &[0, 2]), [third, 1.0, 4.0, 5.0]);
    assert_eq!(features::<f32>(&set, &[0, 2]), [third as f32, 1.0, 4.0, 5.0]);
    assert_eq!(values::<f64>(&set, &[1]), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(values::<f32>(&set, &[1]), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!((set.bytes(0), set.class(0), set.class_counts()), (None, None, None));
    assert_eq!(format!("{set:?}"), "Dataset(3 samples of 2 f64, 4 target values)");
}

#[test]
fn views_of_views() {
    let set = six();
    let odd = set.subset(&[5, 3, 1]).unwrap();
    assert_eq!((odd.len(), odd.class_counts().unwrap()), (3, vec![1, 1, 1]));
    assert_eq!(classes(&odd, &[0, 1, 2]), [2, 0, 1]);
    let twice = odd.subset(&[2, 2]).unwrap();
    assert_eq!(classes(&twice, &[0, 1]), [1, 1]);
    assert_eq!(twice.bytes(1), Some(&[6, 7, 8, 9, 10, 11][..]));
    assert_eq!((twice.bytes(2), twice.class(2)), (None, None));
    // Targets given to a view belong to its samples, in views of it too.
    let relabelled = odd.with_classes(vec![10, 20, 30], 31).unwrap().subset(&[2, 0]).unwrap();
    assert_eq!(classes(&relabelled, &[0, 1]), [30, 10]);
    assert_eq!(relabelled.bytes(0), set.bytes(1));
    assert_eq!(relabelled.class(1), Some(10));
}

#[test]
fn construction_says_what_is_wrong() {
    let says = |result: Result<Dataset, Error>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    says(Dataset::from_bytes(&[2, 3], vec![0; 5]), "Dataset::from_bytes: bytes: expected 6 (2 x 3), got 5");
    for shape in [&[][..], &[0], &[0, 3], &[3, 0]] {
        let error = Dataset::from_bytes(shape, vec![0; usize::from(shape.is_empty())]).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error}");
    }
    let error = Dataset::from_bytes(&[usize::MAX, 2], vec![]).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    says(
        six().with_classes(vec![0; 5], 3),
        "Dataset::with_classes: labels: expected 6 (one per sample), got 5",
    );
    says(
        six().with_classes(vec![0, 1, 2, 0, 3, 2], 3),
        "Dataset::with_classes: the label of sample 4: expected a class below 3, got 3",
    );
    assert!(six().with_classes(vec![0; 6], 0).is_err());
    says(
        six().with_values(Tensor::<f32>::zeros(&[5, 1]).unwrap()),
        "Dataset::with_values: target values: expected 6 rows (one per sample), got 5",
    );
    assert!(six().with_values(Tensor::<f32>::zeros(&[6, 0]).unwrap()).is_err());
    let error = six().with_scale(f64::NAN, 0.0).unwrap_err();
    assert!(matches!(error, Error::Argument { what: "scale", .. }), "{error}");
    let floats = Dataset::from_values(Tensor::<f32>::zeros(&[2, 2]).unwrap()).unwrap();
    assert!(matches!(floats.with_scale(1.0, 0.0).unwrap_err(), Error::State { .. }));
    says(six().subset(&[0, 6]), "Dataset::subset: index 1: expected a sample below 6, got 6");
    assert!(six().subset(&[]).is_err());
    for bad in [f64::NAN, f64::INFINITY] {
        let tensor = Tensor::from_slice(&[2, 2], &[0.0, 1.0, 2.0, bad]).unwrap();
        let error = Dataset::from_values(tensor.clone()).unwrap_err();
        assert!(matches!(&error, Error::NonFinite { place, index: 1, .. } if place == "sample 1"), "{error}");
        assert!(Dataset::from_bytes(&[2], vec![0; 2]).unwrap().with_values(tensor).is_err());
    }
}

#[test]
fn a_split_loses_no_sample_and_doubles_none() {
    for (len, fractions) in
        [(100, &[0.8, 0.1, 0.1][..]), (7, &[0.5, 0.5]), (1001, &[1.0 / 3.0; 3]), (1, &[1.0])]
    {
        for seed in 0..20 {
            let parts = split_indices(len, fractions, seed).unwrap();
            let mut all = parts.concat();
            all.sort_unstable();
            assert_eq!(all, (0..len).collect::<Vec<_>>());
            assert_eq!(parts, split_indices(len, fractions, seed).unwrap());
        }
    }
    assert_ne!(split_indices(100, &[0.5, 0.5], 1).unwrap(), split_indices(100, &[0.5, 0.5], 2).unwrap());
    let (train, test) = train_test_split(&six(), 1.0 / 3.0, 0).unwrap();
    assert_eq!((train.len(), test.len()), (4, 2));
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(train_test_split(&six(), fraction, 0).unwrap_err(), Error::Argument { .. }));
    }
    assert!(matches!(train_test_split(&six(), 0.01, 0).unwrap_err(), Error::Data { .. }));
    assert!(matches!(split_indices(usize::MAX, &[0.5, 0.5], 0).unwrap_err(), Error::OutOfMemory { .. }));
}

#[test]
fn batches_cover_everything_once() {
    for len in [1, 2, 31, 32, 33, 100] {
        for batch in [1, 2, 32, 99, usize::MAX] {
            for shuffle in [None, Some((5, 3))] {
                let batches = Batches::new(len, batch, shuffle).unwrap();
                let mut all: Vec<usize> = batches.iter().flatten().copied().collect();
                assert_eq!(batches.len(), batches.iter().count());
                assert!(batches.iter().rev().skip(1).all(|indices| indices.len() == batch));
                assert_eq!(batches.get(batches.len()), None);
                if shuffle.is_none() {
                    assert!(all.is_sorted());
                }
                all.sort_unstable();
                assert_eq!(all, (0..len).collect::<Vec<_>>());
                let whole = batches.clone().drop_last();
                assert_eq!(whole.len(), len / batch);
                assert_eq!(whole.is_empty(), len < batch);
                assert!(whole.iter().zip(&batches).all(|(a, b)| a == b && a.len() == batch));
            }
        }
    }
    assert!(matches!(Batches::new(5, 0, None).unwrap_err(), Error::Argument { what: "batch", .. }));
    assert!(matches!(Batches::new(0, 5, None).unwrap_err(), Error::Data { .. }));
    assert!(matches!(Batches::new(usize::MAX, 5, None).unwrap_err(), Error::OutOfMemory { .. }));
}

#[test]
fn an_epochs_order_is_a_function_of_seed_and_epoch() {
    let fresh = |epoch| Batches::new(50, 8, Some((5, epoch))).unwrap();
    let mut batches = fresh(0);
    for epoch in [1, 2, 0, 7] {
        batches.restart(Some((5, epoch)));
        assert_eq!(batches, fresh(epoch), "not of earlier epochs");
    }
    assert_ne!(fresh(0), fresh(1));
    assert_ne!(fresh(0), Batches::new(50, 8, Some((6, 0))).unwrap());
    batches.restart(None);
    assert_eq!(batches, Batches::new(50, 8, None).unwrap());
}

/// A change here is a breaking release: seeds would mean other runs.
#[test]
fn golden() {
    let batches = Batches::new(10, 10, Some((42, 3))).unwrap();
    assert_eq!(batches.get(0).unwrap(), GOLDEN_EPOCH);
    assert_eq!(split_indices(10, &[0.5, 0.3, 0.2], 42).unwrap(), GOLDEN_SPLIT);
}

// Computed by a second implementation, in Python.
const GOLDEN_EPOCH: [usize; 10] = [5, 8, 0, 4, 2, 6, 9, 7, 1, 3];
const GOLDEN_SPLIT: [&[usize]; 3] = [&[1, 4, 9, 3, 5], &[2, 0, 6], &[7, 8]];
