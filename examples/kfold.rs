//! Stratified 5-fold cross-validation on Iris: every fold's accuracy, and mean and standard deviation.
//!
//! `cargo run --release --features csv --example kfold`

use gemmule::Result;
use gemmule::data::{Csv, Standardize, StratifiedKFold, Transforms};
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::train::{CrossValidate, Fit};

fn main() -> Result<()> {
    let table =
        Csv::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/iris/iris.csv")).label("species").read()?;
    println!("{:?}: {}", table.dataset, table.classes.join(", "));

    let net = Sequential::new().with(Dense::new(4, 16)).with(Activation::Relu).with(Dense::new(16, 3));
    let result = CrossValidate::new(&StratifiedKFold::new(5).shuffle(0))
        .transforms(Transforms::new().with(Standardize::new()))
        .train_scores(true)
        .run(
            &table.dataset,
            |fold| {
                let mut model = net.build::<f32>(fold.fold as u64)?;
                model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
                Ok(model)
            },
            |model, fold| model.fit(&fold.train, Fit::new().epochs(60).batch_size(16)),
        )?;

    println!("\n{:>8} {:>10} {:>10} {:>10}", "fold", "training", "test", "test loss");
    for fold in &result.folds {
        let accuracy = |of: Option<f64>| 100.0 * of.unwrap_or(f64::NAN);
        let train = accuracy(fold.train.and_then(|train| train.accuracy));
        println!(
            "{:>8} {train:>8.1} % {:>8.1} % {:>10.4}",
            fold.fold + 1,
            accuracy(fold.test.accuracy),
            fold.test.loss
        );
    }
    let accuracy = result.test_accuracy().expect("the targets are classes");
    println!("\ntest accuracy: mean {:.4}, standard deviation {:.4}", accuracy.mean, accuracy.std);
    assert!(accuracy.mean >= 0.93, "expected at least 0.93");
    Ok(())
}
