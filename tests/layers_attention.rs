//! Embeddings, positions, attention, transformer blocks.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::data::{Dataset, ordered_train_test_split};
use gemmule::nn::{
    Activation, Dense, Embedding, Flatten, Input, Layer, LearnedPositionalEmbedding, Loss, Model,
    MultiheadAttention, PositionalEncoding, Sequential, Spec, TransformerEncoder, TransformerEncoderLayer,
};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Error, Parallelism, Tensor};

const CASES: &str = include_str!("golden/layers_attention.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 82);
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth = |case: &layers::Case| {
        // The row of padding has no gradient, though it is looked up.
        let other = |spec: &Spec| spec.get("padding_idx").is_some() || format!("{spec:?}").contains("relu");
        !case.specs.iter().any(other) && case.parameter_count() < 300
    };
    assert!(layers::check_differences(CASES, smooth) >= 20);
}

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

/// Sequences of `length` tokens from 1 to 9, of which two are 1 and 2 and the rest larger: the class says which of the two comes
/// first. From a place after both on there is padding.
fn which_first(samples: usize, length: usize) -> Dataset {
    let (mut tokens, mut labels) = (Vec::new(), Vec::new());
    let mut rng = Rng::new(17);
    for _ in 0..samples {
        let end = 2 + rng.below(length as u64 - 1) as usize;
        let mut row = vec![0.0_f32; length];
        row[..end].iter_mut().for_each(|token| *token = 3.0 + rng.below(7) as f32);
        let one = rng.below(end as u64) as usize;
        let two = (one + 1 + rng.below(end as u64 - 1) as usize) % end;
        (row[one], row[two]) = (1.0, 2.0);
        labels.push(u32::from(two < one));
        tokens.extend(row);
    }
    let tokens = Tensor::from_vec(&[samples, length], tokens).unwrap();
    Dataset::from_values(tokens).unwrap().with_classes(labels, 2).unwrap()
}

fn small_model(length: usize, dropout: f64) -> Sequential {
    let block = TransformerEncoderLayer::new(16, 2).dim_feedforward(32).dropout(dropout);
    Sequential::new()
        .with(Input::new(&[length]))
        .with(Embedding::new(10, 16).padding_idx(0).with_mask())
        .with(PositionalEncoding::new())
        .with(TransformerEncoder::new(block.activation(Activation::Gelu).norm_first(), 1).norm())
        .with(Flatten::new())
        .with(Dense::new(length * 16, 2))
}

#[test]
fn a_transformer_learns_which_token_comes_first() {
    let (train, test) = ordered_train_test_split(&which_first(1200, 12), 0.2).unwrap();
    let mut model = small_model(12, 0.0).build_with::<f32>(context(2), 3).unwrap();
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 3e-3, ..Adam::default() }).unwrap();
    model.fit(&train, Fit::new().batch_size(50).epochs(12)).unwrap();
    let accuracy = model.evaluate(&test).unwrap().accuracy.unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    // Padding stayed what it was.
    let table = model.parameter("0.weight").unwrap();
    assert!(table.as_slice()[..16].iter().all(|&x| x == 0.0));
    assert!(table.as_slice()[16..].iter().all(|&x| x != 0.0));
}

#[test]
fn dropped_weights_are_the_same_for_any_threads() {
    let data = which_first(96, 40);
    let mut expected = None;
    for isa in common::contexts() {
        for threads in [1, 2, 3, 8] {
            let at = isa.with_parallelism(Parallelism::Max(threads));
            let mut model = small_model(40, 0.3).build_with::<f32>(at, 3).unwrap();
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
            model.fit(&data, Fit::new().batch_size(48).epochs(2)).unwrap();
            let bits: Vec<u32> = model
                .parameters()
                .iter()
                .flat_map(|p| model.parameter(&p.name).unwrap().into_vec())
                .map(f32::to_bits)
                .collect();
            if isa.isa().has_fma() {
                assert!(*expected.get_or_insert_with(|| bits.clone()) == bits, "{isa:?}, {threads} threads");
            }
        }
    }
}

/// Dropout is of training alone, has its rate, and other masks for each sample and step.
#[test]
fn weights_are_dropped_in_training() {
    let (length, width) = (24, 4);
    let layers = || {
        Sequential::new()
            .with(Input::new(&[length, width]))
            .with(MultiheadAttention::new(width, 1).dropout(0.25))
            .build_with::<f64>(context(2), 1)
            .unwrap()
    };
    let mut model = layers();
    model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.0, ..Sgd::default() }).unwrap();
    // Scores are 0, values are 1 and pass: y is the sum of the weights.
    let mut weight = vec![0.0; 3 * width * width];
    for i in 0..width {
        weight[(2 * width + i) * width + i] = 1.0;
    }
    model.set_parameter("0.in_proj_weight", &Tensor::from_vec(&[3 * width, width], weight).unwrap()).unwrap();
    let identity = (0..width * width).map(|i| f64::from(u8::from(i % (width + 1) == 0))).collect();
    model.set_parameter("0.out_proj.weight", &Tensor::from_vec(&[width, width], identity).unwrap()).unwrap();
    let samples = 200;
    let ones = Tensor::from_vec(&[samples, length * width], vec![1.0; samples * length * width]).unwrap();
    let data = Dataset::from_values(ones).unwrap();
    let indices: Vec<usize> = (0..samples).collect();
    let plain = model.predict(&data).unwrap();
    assert!(plain.as_slice().iter().all(|y| (y - 1.0).abs() < 1e-12));
    let dropped = model.forward(&data, &indices).unwrap();
    let rows: Vec<f64> = dropped.as_slice().iter().step_by(width).copied().collect();
    let mean = rows.iter().sum::<f64>() / rows.len() as f64;
    // Of 24 weights each is 0 or 1 / 0.75 of 1/24: a deviation of sqrt(1 / (3 * 24)), 4800 rows.
    let deviation = (1.0 / (3.0 * 24.0_f64)).sqrt() / (rows.len() as f64).sqrt();
    assert!((mean - 1.0).abs() < 5.0 * deviation, "{mean}");
    let square = rows.iter().map(|y| (y - 1.0) * (y - 1.0)).sum::<f64>() / rows.len() as f64;
    assert!((square * 72.0 - 1.0).abs() < 0.15, "{square}");
    assert_ne!(rows[..length], rows[length..2 * length]);
    assert_eq!(model.forward(&data, &indices).unwrap().as_slice(), dropped.as_slice());
}

#[test]
fn numbers_that_are_no_row_change_nothing() {
    let chain = || {
        Sequential::new()
            .with(Input::new(&[3]))
            .with(Embedding::new(7, 4))
            .with(Flatten::new())
            .with(Dense::new(12, 2))
            .build_with::<f32>(context(2), 1)
            .unwrap()
    };
    for bad in [7.0, -1.0, 2.5, 1e9] {
        let mut model: Model<f32> = chain();
        model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
        let x = Tensor::from_slice(&[2, 3], &[0.0, 6.0, 3.0, 1.0, bad, 2.0]).unwrap();
        let data = Dataset::from_values(x).unwrap().with_classes(vec![0, 1], 2).unwrap();
        let before = model.parameter("0.weight").unwrap();
        let error = model.step(&data, &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("whole numbers from 0 to 6"), "{error}");
        assert!(error.contains("Embedding 7 x 4"), "{error}");
        assert_eq!(model.parameter("0.weight").unwrap().as_slice(), before.as_slice());
        assert!(model.predict(&data).is_err());
        // And the model goes on.
        assert!(model.step(&data, &[0]).is_ok());
    }
}

#[test]
fn what_cannot_be_built_says_why() {
    fn message(dims: &[usize], layer: impl Layer + 'static) -> String {
        let model = Sequential::new().with(Input::new(dims)).with(layer).build::<f32>(0);
        model.err().map_or_else(|| "nothing is wrong".to_owned(), |error: Error| error.to_string())
    }
    let cases = [
        (message(&[5, 10], MultiheadAttention::new(12, 4)), "(L, 12), got 5 x 10"),
        (message(&[5, 10], MultiheadAttention::new(10, 4)), "10 = 4 x 2 + 2"),
        (message(&[10], MultiheadAttention::new(10, 2)), "(L, E), got 10"),
        (message(&[5, 10], MultiheadAttention::new(10, 2).dropout(1.0)), "below 1, got 1"),
        (message(&[5, 10], MultiheadAttention::new(0, 0)), "neither of them 0"),
        (message(&[5, 10], TransformerEncoderLayer::new(8, 2)), "(L, 8), got 5 x 10"),
        (message(&[5, 8], TransformerEncoderLayer::new(8, 3)), "8 = 3 x 2 + 2"),
        (message(&[5, 8], TransformerEncoderLayer::new(8, 2).dim_feedforward(0)), "at least 1, got 0"),
        (
            message(&[5, 8], TransformerEncoder::new(TransformerEncoderLayer::new(8, 2), 0)),
            "at least 1, got 0",
        ),
        (message(&[5, 8], LearnedPositionalEmbedding::new(4)), "at most 4 positions, got 5"),
        (message(&[5], PositionalEncoding::new()), "(L, E), got 5"),
        (message(&[5], Embedding::new(0, 8)), "at least one number"),
        (message(&[5], Embedding::new((1 << 24) + 1, 8)), "2^24"),
        (message(&[5], Embedding::new(7, 8).padding_idx(7)), "below num_embeddings, 7, got 7"),
        (message(&[5], Embedding::new(7, 8).with_mask()), "padding_idx"),
        (message(&[5, 2], Embedding::new(7, 8).padding_idx(0).with_mask()), "got 5 x 2"),
    ];
    for (message, part) in cases {
        assert!(message.contains(part), "{message} has no {part:?}");
    }
}

/// Rows that attention may not look at get zeros, not NaN.
#[test]
fn sequences_of_nothing_are_harmless() {
    let mut model = small_model(6, 0.1).build_with::<f32>(context(2), 1).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let x =
        Tensor::from_slice(&[2, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0]).unwrap();
    let data = Dataset::from_values(x).unwrap().with_classes(vec![0, 1], 2).unwrap();
    for _ in 0..3 {
        assert!(model.step(&data, &[0, 1]).unwrap().is_finite());
    }
    assert!(model.predict(&data).unwrap().as_slice().iter().all(|y| y.is_finite()));
}

/// A sample's output does not depend on what is padding, nor on the batch.
#[test]
fn padding_does_not_matter() {
    let chain = |length: usize| {
        let block = TransformerEncoderLayer::new(8, 2).dim_feedforward(16);
        Sequential::new()
            .with(Input::new(&[length]))
            .with(Embedding::new(10, 8).padding_idx(0).with_mask())
            .with(block)
            .with(block.norm_first())
            .build_with::<f32>(context(1), 4)
            .unwrap()
    };
    let tokens = |length: usize| {
        let mut row = vec![0.0_f32; length];
        row[..5].copy_from_slice(&[3.0, 1.0, 4.0, 1.0, 5.0]);
        Dataset::from_values(Tensor::from_vec(&[1, length], row).unwrap()).unwrap()
    };
    let short = chain(5).predict(&tokens(5)).unwrap();
    let long = chain(9).predict(&tokens(9)).unwrap();
    assert_eq!(short.as_slice(), &long.as_slice()[..5 * 8]);
}
