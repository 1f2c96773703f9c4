//! How far a car gets on a gallon: regression on Auto MPG, against linear regression on the same features.
//!
//! `cargo run --release --features csv --example regression`
//!
//! The origin is one-hot encoded, features and target are standardised, all fitted on the training part. Printed are R2 and the
//! mean absolute error on the test part (a fifth of the cars), in miles per gallon.

use gemmule::data::{Csv, Dataset, Missing, OneHot, Standardize, Transforms, train_test_split};
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::AdamW;
use gemmule::train::Fit;
use gemmule::{Result, Tensor};

/// 1 less the squared error over that of the mean; the mean absolute error.
fn scores(predicted: &Tensor<f32>, actual: &Tensor<f64>) -> (f64, f64) {
    let actual = actual.as_slice();
    let count = actual.len() as f64;
    let mean = actual.iter().sum::<f64>() / count;
    let errors = predicted.as_slice().iter().zip(actual).map(|(&p, &a)| f64::from(p) - a);
    let (squares, absolute) = errors.fold((0.0, 0.0), |(s, a), error| (s + error * error, a + error.abs()));
    let about_mean: f64 = actual.iter().map(|a| (a - mean) * (a - mean)).sum();
    (1.0 - squares / about_mean, absolute / count)
}

fn main() -> Result<()> {
    let table = Csv::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/auto-mpg/auto-mpg.csv"))
        .targets(["mpg"])
        .ignore(["name"])
        .missing(Missing::DropRow)
        .read()?;
    println!("{:?}, {} dropped: {}", table.dataset, table.dropped, table.features.join(", "));

    let (train, test) = train_test_split(&table.dataset, 0.2, 0)?;
    let origin = table.features.iter().position(|name| name == "origin").expect("a column of the file");
    let features = Transforms::new().with(OneHot::new(&[origin])).with(Standardize::new()).fit(&train)?;
    let target = Standardize::new().fit_targets(&train)?;
    let train = target.apply_targets(&features.apply(&train)?)?;
    let actual = test.target_values()?;
    let test = features.apply(&test)?;

    let inputs = train.features();
    let linear = Sequential::new().with(Dense::new(inputs, 1));
    let net = Sequential::new()
        .with(Dense::new(inputs, 32))
        .with(Activation::Tanh)
        .with(Dense::new(32, 32))
        .with(Activation::Tanh)
        .with(Dense::new(32, 1));
    let run = |name: &str, net: &Sequential, epochs: usize, test: &Dataset| -> Result<(f64, f64)> {
        let mut model = net.build::<f32>(0)?;
        model.compile(
            Loss::MeanSquaredError,
            AdamW { learning_rate: 3e-3, weight_decay: 0.01, ..AdamW::default() },
        )?;
        model.fit(&train, Fit::new().epochs(epochs).batch_size(32))?;
        let (r2, error) = scores(&target.inverse(&model.predict(test)?)?, &actual);
        println!("{name:>8}: R2 {r2:.3}, mean absolute error {error:.2} mpg");
        Ok((r2, error))
    };
    let baseline = run("linear", &linear, 300, &test)?;
    let net = run("net", &net, 120, &test)?;
    assert!(net.0 > baseline.0 && net.1 < baseline.1, "the net is not better than linear regression");
    Ok(())
}
