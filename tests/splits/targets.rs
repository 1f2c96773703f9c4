//! Several labels per sample, and target values that are read back.

use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::train::Fit;
use gemmule::{BatchSource, Context, Result, TargetKind, Tensor};

fn samples(len: usize) -> Dataset {
    Dataset::from_bytes(&[len, 1], (0..len as u8).collect()).unwrap()
}

fn values(data: &Dataset, indices: &[usize]) -> Vec<f32> {
    let Some(TargetKind::Values(width)) = data.target_kind() else { panic!() };
    let mut out = vec![7.0; indices.len() * width];
    data.gather_values(&Context::detect().unwrap(), indices, &mut out);
    out
}

#[test]
fn labels_are_gathered_as_zero_and_one() {
    let lists: [&[u32]; 4] = [&[2, 0], &[], &[1, 1], &[0, 1, 2]];
    let data = samples(4).with_labels(&lists, 3).unwrap();
    assert_eq!(data.target_kind(), Some(TargetKind::Values(3)));
    assert_eq!(values(&data, &[3, 0]), [1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    assert_eq!(data.labels(2), Some(&[0, 1, 0][..]));
    assert_eq!(data.value(0), Some(vec![1.0, 0.0, 1.0]));
    assert_eq!(data.label_counts(), Some(vec![2, 2, 2]));
    assert_eq!((data.class(0), data.class_counts(), data.classes()), (None, None, None));
    assert_eq!(format!("{data:?}"), "Dataset(4 samples of 1 u8, 3 labels)");
    let view = data.subset(&[2, 2, 1]).unwrap();
    assert_eq!((view.label_counts(), view.labels(3)), (Some(vec![0, 2, 0]), None));
    assert_eq!(view.target_values().unwrap().as_slice(), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);

    let matrix = vec![1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1];
    let same = samples(4).with_multi_hot(matrix, 3).unwrap();
    assert_eq!(values(&same, &[0, 1, 2, 3]), values(&data, &[0, 1, 2, 3]));
}

/// Two labels that a line each separates: learnt with the binary cross-entropy.
#[test]
fn the_binary_cross_entropy_takes_labels() -> Result<()> {
    let x = Tensor::from_fn(&[64, 2], |at| {
        let cell = if at[1] == 0 { at[0] % 8 } else { at[0] / 8 };
        cell as f32 / 4.0 - 0.9
    })?;
    let labels: Vec<Vec<u32>> = (0..64)
        .map(|i| [i % 8 >= 4, i / 8 >= 4])
        .map(|[a, b]| (0..2).filter(|&l| [a, b][l as usize]).collect())
        .collect();
    let data = Dataset::from_values(x)?.with_labels(&labels, 2)?;
    assert_eq!(data.label_counts(), Some(vec![32, 32]));
    let mut model = Sequential::new().with(Dense::new(2, 2)).build::<f32>(0)?;
    model.compile(Loss::BinaryCrossEntropy, Adam { learning_rate: 0.1, ..Adam::default() })?;
    model.fit(&data, Fit::new().epochs(60).batch_size(16))?;
    let probabilities = model.predict_proba(&data)?;
    for sample in 0..64 {
        for (&byte, &p) in data.labels(sample).unwrap().iter().zip(probabilities.row(sample)) {
            assert_eq!(byte == 1, p > 0.5, "sample {sample}: {p}");
        }
    }
    Ok(())
}

#[test]
fn target_values_are_read_exactly() {
    let third = 1.0_f64 / 3.0;
    let single =
        samples(2).with_values(Tensor::from_slice(&[2, 2], &[0.1_f32, 1.0, 2.0, 3.0]).unwrap()).unwrap();
    let double = samples(2).with_values(Tensor::from_slice(&[2, 1], &[third, 2.0]).unwrap()).unwrap();
    assert_eq!(single.value(0), Some(vec![f64::from(0.1_f32), 1.0]));
    assert_eq!((double.value(0), double.value(2)), (Some(vec![third]), None));
    let all = double.subset(&[1, 0, 0]).unwrap().target_values().unwrap();
    assert_eq!((all.shape(), all.as_slice()), (&[3, 1][..], &[2.0, third, third][..]));
    let classes = samples(2).with_classes(vec![1, 0], 2).unwrap();
    assert_eq!((classes.value(0), classes.classes()), (None, Some(vec![1, 0])));
    let error = classes.target_values().unwrap_err();
    assert_eq!(error.to_string(), "Dataset::target_values: targets: expected values, got 2 classes");
    assert!(samples(2).target_values().is_err());
    assert_eq!((samples(2).classes(), samples(2).value(0)), (None, None));
}

#[test]
fn what_is_wrong_is_named() {
    let says = |result: Result<Dataset>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    says(
        samples(2).with_labels(&[[0_u32], [3]], 3),
        "Dataset::with_labels: the labels of sample 1: expected labels below 3, got 3",
    );
    says(
        samples(2).with_labels(&[[0_u32]], 3),
        "Dataset::with_labels: lists of labels: expected 2 (one per sample), got 1",
    );
    says(
        samples(2).with_labels::<[u32; 0]>(&[[], []], 0),
        "Dataset::with_labels: the number of labels: expected 1 to 2^32, got 0",
    );
    says(
        samples(2).with_multi_hot(vec![0, 1, 2, 0], 2),
        "Dataset::with_multi_hot: sample 1, label 0: expected 0 or 1, got 2",
    );
    says(
        samples(2).with_multi_hot(vec![0, 1, 1], 2),
        "Dataset::with_multi_hot: bytes: expected 2 x 2 (samples, labels), got 3",
    );
    assert!(samples(2).with_multi_hot(vec![], usize::MAX).is_err());
}
