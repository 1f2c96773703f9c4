//! Callbacks: early stopping against Keras, averages against PyTorch, what each leaves of the model, and resuming with all.

#[path = "callbacks/average.rs"]
mod average;
mod common;
#[path = "callbacks/early_stopping.rs"]
mod early_stopping;
#[path = "callbacks/resume.rs"]
mod resume;
#[path = "callbacks/stop.rs"]
mod stop;

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Model, Sequential};
use gemmule::optim::Optimizer;
use gemmule::rng::Rng;
use gemmule::{Context, Parallelism, Result, Tensor};

/// The fields of the lines of `golden/callbacks.csv` of one kind.
fn golden(kind: &str) -> Vec<Vec<&'static str>> {
    let lines = include_str!("golden/callbacks.csv").lines();
    let fields = lines.map(|line| line.split(',').collect::<Vec<_>>()).filter(|fields| fields[0] == kind);
    let found: Vec<_> = fields.collect();
    assert!(!found.is_empty());
    found
}

/// Points of two classes.
fn points(seed: u64) -> Result<Dataset> {
    let mut x = vec![0.0_f32; 40 * 3];
    Rng::new(seed).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let classes = x.chunks(3).map(|row| u32::from(row[0] * row[1] > row[2])).collect();
    Dataset::from_values(Tensor::from_vec(&[40, 3], x)?)?.with_classes(classes, 2)
}

/// A model for them.
fn model(optimizer: impl Into<Optimizer>, threads: usize) -> Result<Model<f32>> {
    let net = Sequential::new().with(Dense::new(3, 8)).with(Activation::Tanh).with(Dense::new(8, 2));
    let mut model = net.build_with(Context::detect()?.with_parallelism(Parallelism::Max(threads)), 5)?;
    model.compile(Loss::CrossEntropy, optimizer)?;
    Ok(model)
}

/// All weights.
fn weights(model: &Model<f32>) -> Vec<u32> {
    let names: Vec<_> = model.parameters().into_iter().map(|info| info.name).collect();
    let of = |name: &String| model.parameter(name).unwrap().as_slice().to_vec();
    names.iter().flat_map(of).map(f32::to_bits).collect()
}
