//! Recurrent layers against PyTorch's, and what they say to what does not fit.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::Tensor;
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Gru, Input, Layer, Loss, Lstm, Masking, Model, Rnn, Sequential};
use gemmule::optim::Adam;

const CASES: &str = include_str!("golden/layers_recurrent.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 77);
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth = |case: &layers::Case| {
        let kinks = ["relu True", "truncate"].iter().any(|option| case.name.contains(option));
        !kinks && case.parameter_count() < 300
    };
    assert!(layers::check_differences(CASES, smooth) >= 10);
}

fn build(layer: impl Layer + 'static, dims: &[usize]) -> gemmule::Result<Model<f64>> {
    Sequential::new().with(Input::new(dims)).with(layer).build(0)
}

fn refusal(layer: impl Layer + 'static, dims: &[usize]) -> String {
    build(layer, dims).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let error = refusal(Lstm::new(5, 8), &[7, 6]);
    assert!(error.contains("Lstm 5 -> 8") && error.contains("(L, 5)") && error.contains("7 x 6"), "{error}");
    let error = refusal(Gru::new(6, 8), &[6]);
    assert!(error.contains("Gru 6 -> 8") && error.contains("(L, 6)"), "{error}");
    let error = refusal(Rnn::new(6, 8), &[2, 3, 6]);
    assert!(error.contains("Rnn 6 -> 8") && error.contains("2 x 3 x 6"), "{error}");
    for (layer, what) in [
        (Lstm::new(0, 8), "input_size of at least 1, got 0"),
        (Lstm::new(6, 0), "hidden_size of at least 1, got 0"),
        (Lstm::new(6, 8).num_layers(0), "num_layers of at least 1, got 0"),
        (Lstm::new(6, 8).dropout(1.0), "dropout of at least 0 and below 1, got 1"),
        (Lstm::new(6, 8).dropout(f64::NAN), "dropout of at least 0 and below 1, got NaN"),
        (Lstm::new(6, 8).truncate(0), "pieces of at least 1 step, got 0"),
        (Lstm::new(6, usize::MAX / 2), "gates of the Lstm"),
    ] {
        let error = refusal(layer, &[7, 6]);
        assert!(error.contains("Lstm") && error.contains(what), "{error}");
    }
    let error = refusal(Masking::new(f64::INFINITY), &[7, 6]);
    assert!(error.contains("Masking") && error.contains("finite"), "{error}");
    assert!(refusal(Masking::new(0.0), &[7]).contains("(L, E)"));
}

#[test]
fn parameters_have_the_names_and_bounds_of_pytorch() {
    let model = build(Lstm::new(3, 16).num_layers(2).bidirectional().trainable_state(), &[4, 3]).unwrap();
    let mut expected = Vec::new();
    for (layer, inputs) in [(0, 3), (1, 32)] {
        for direction in ["", "_reverse"] {
            for (name, shape) in [
                ("weight_ih", vec![64, inputs]),
                ("weight_hh", vec![64, 16]),
                ("bias_ih", vec![64]),
                ("bias_hh", vec![64]),
                ("h_0", vec![16]),
                ("c_0", vec![16]),
            ] {
                expected.push((format!("0.{name}_l{layer}{direction}"), shape));
            }
        }
    }
    let found: Vec<_> = model.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
    assert_eq!(found, expected);
    for (name, _) in expected {
        let values = model.parameter(&name).unwrap();
        let largest = values.as_slice().iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        if name.contains("_0_") {
            assert_eq!(largest, 0.0, "{name}");
        } else {
            assert!(largest <= 0.25 && largest > 0.2, "{name}: {largest}");
        }
    }
}

/// What a mask leaves out is not looked at, wherever it stands, and each sample is what it is alone.
#[test]
fn masks_may_have_gaps() {
    let (steps, features, padding) = (5, 2, 9.0);
    let kept = [[true; 5], [true, false, true, false, false], [false, true, true, false, true], [false; 5]];
    let number = |i: usize| (i * 37 % 19) as f64 / 19.0 - 0.4;
    let whole: Vec<f64> = (0..kept.len() * steps)
        .flat_map(|at| {
            [0, 1].map(|j| if kept[at / steps][at % steps] { number(at * 2 + j) } else { padding })
        })
        .collect();
    let data = |values: &[f64], batch: usize| {
        Dataset::from_values(Tensor::from_slice(&[batch, values.len() / batch], values).unwrap()).unwrap()
    };
    let stack = |steps: usize| {
        let lstm = Lstm::new(features, 6).num_layers(2).bidirectional().return_sequences(false);
        let masking = Masking::new(padding);
        Sequential::new()
            .with(Input::new(&[steps, features]))
            .with(masking)
            .with(lstm)
            .build::<f64>(3)
            .unwrap()
    };
    let together = stack(steps).predict(&data(&whole, kept.len())).unwrap();
    for (sample, kept) in kept.iter().enumerate() {
        let of_sample = whole[sample * steps * features..][..steps * features].chunks(features).zip(kept);
        let alone: Vec<f64> = of_sample.filter(|(_, kept)| **kept).flat_map(|(x, _)| x.to_vec()).collect();
        let expected = if alone.is_empty() {
            vec![0.0; 12]
        } else {
            stack(alone.len() / features).predict(&data(&alone, 1)).unwrap().into_vec()
        };
        assert_eq!(&together.as_slice()[sample * 12..][..12], expected, "sample {sample}");
    }
}

/// The order of a sequence matters, and a layer finds it.
#[test]
fn they_learn_what_came_first() {
    let (steps, count) = (6, 64);
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let x: Vec<f32> = (0..count * steps).map(|_| next()).collect();
    let classes = x.chunks(steps).map(|x| u32::from(x[0] > 0.0)).collect();
    let data = Dataset::from_values(Tensor::from_slice(&[count, steps], &x).unwrap()).unwrap();
    let data = data.with_classes(classes, 2).unwrap();
    let layers: [Box<dyn Layer>; 3] = [
        Box::new(Lstm::new(1, 12).return_sequences(false)),
        Box::new(Gru::new(1, 12).return_sequences(false)),
        Box::new(Rnn::new(1, 12).return_sequences(false)),
    ];
    for layer in layers {
        let name = layer.describe();
        let model = Sequential::new().with(Input::new(&[steps, 1])).with(layer).with(Dense::new(12, 2));
        let mut model = model.with(Activation::Identity).build::<f32>(0).unwrap();
        model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.02, ..Adam::default() }).unwrap();
        let all: Vec<usize> = (0..count).collect();
        let first = model.step(&data, &all).unwrap();
        let last = (0..150).map(|_| model.step(&data, &all).unwrap()).last().unwrap();
        assert!(first > 0.6 && last < 0.25, "{name}: {first} to {last}");
    }
}
