//! The kernels inside another program: plain slices in and out, no tensors, no threads, errors instead of panics.
//!
//! `cargo run --release --example embed`

use gemmule::kernel::activation::Activation;
use gemmule::kernel::softmax;
use gemmule::{Context, Epilogue, MatMut, MatRef, Parallelism, Result, gemm_with};

/// One dense layer on your own memory: y = relu(x W + b), with W inside a larger array of yours.
fn layer(context: &Context, x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) -> Result<()> {
    let (batch, inputs, outputs) = (2, 3, 4);
    let x = MatRef::row_major(x, batch, inputs)?;
    let w = MatRef::new(weights, 1, inputs, outputs, 5, 1)?; // rows of 5, the first column left out
    let epilogue = Epilogue { bias: Some(bias), activation: Activation::Relu, ..Epilogue::default() };
    gemm_with(context, 1.0, x, w, 0.0, &mut MatMut::row_major(y, batch, outputs)?, &epilogue)
}

fn main() -> Result<()> {
    let context = Context::detect()?.with_parallelism(Parallelism::Serial);
    let x = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25];
    let weights: Vec<f32> = (0..15).map(|i| i as f32 / 10.0 - 0.7).collect();
    let (mut y, mut p) = ([0.0; 8], [0.0; 8]);
    layer(&context, &x, &weights, &[0.1, 0.2, 0.3, 0.4], &mut y)?;
    softmax::forward(&context, &y, &mut p, 4)?;
    println!("relu(x W + b) = {y:?}\nsoftmax       = {p:?}");

    let error = layer(&context, &x[1..], &weights, &[0.0; 4], &mut y).unwrap_err();
    println!("a short slice is an error: {error}");
    Ok(())
}
