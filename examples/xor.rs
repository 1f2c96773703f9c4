//! Learns exclusive or, which no single layer can: 2-4-1, sigmoid, mean squared error.
//!
//! `cargo run --release --example xor`

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Init, Loss, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::{Control, Event, Fit};
use gemmule::{Result, Tensor};

fn main() -> Result<()> {
    let inputs = Tensor::from_slice(&[4, 2], &[0.0_f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?;
    let targets = Tensor::from_slice(&[4, 1], &[0.0_f32, 1.0, 1.0, 0.0])?;
    let data = Dataset::from_values(inputs)?.with_values(targets)?;

    let mut model = Sequential::new()
        .with(Dense::new(2, 4).weight_init(Init::GlorotUniform).bias_init(Init::Zeros))
        .with(Activation::Sigmoid)
        .with(Dense::new(4, 1).weight_init(Init::GlorotUniform).bias_init(Init::Zeros))
        .with(Activation::Sigmoid)
        .build::<f32>(1)?;
    model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 1.0, momentum: 0.9, ..Sgd::default() })?;

    let mut report = |event: &Event<'_>| {
        if let Event::EpochEnd(log) = event
            && log.epoch % 500 == 0
        {
            println!("epoch {:4}: error {:.6}", log.epoch, log.loss);
        }
        Control::Continue
    };
    model.fit(&data, Fit::new().epochs(2000).batch_size(4).callback(&mut report))?;

    let error = model.evaluate(&data)?.loss;
    let outputs = model.predict(&data)?;
    for (sample, (a, b)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
        println!("{a} xor {b} = {:.3}", outputs[[sample, 0]]);
    }
    println!("error {error:.6}");
    assert!(error < 0.01, "xor was not learnt");
    Ok(())
}
