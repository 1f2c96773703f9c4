//! A layer of one's own, with a parameter: y = x * scale, element by element, beside dense ones; its gradient is checked
//! against differences, and it trains.
//!
//! `cargo run --release --example custom_layer`

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Builder, Dense, Init, Layer, Loss, Model, RowFunction, Sequential, Value};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Element, Result, Tensor};

/// y_i = scale_i x_i, with a scale for each feature that is learnt.
#[derive(Debug)]
struct Scale;

impl<T: Element> RowFunction<T> for Scale {
    fn forward(&self, _: &Context, scale: &[T], x: &[T], y: &mut [T]) {
        for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
            for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scale) {
                *y = scale * x;
            }
        }
    }

    fn backward(&self, _: &Context, scale: &[T], _: &[T], _: &[T], d_y: &[T], d_x: &mut [T]) {
        for (d_y, d_x) in d_y.chunks_exact(scale.len()).zip(d_x.chunks_exact_mut(scale.len())) {
            for ((d_x, &d_y), &scale) in d_x.iter_mut().zip(d_y).zip(scale) {
                *d_x = scale * d_y;
            }
        }
    }

    fn gradient(&self, _: &Context, scale: &[T], x: &[T], _: &[T], d_y: &[T], d_scale: &mut [T]) {
        for (x, d_y) in x.chunks_exact(scale.len()).zip(d_y.chunks_exact(scale.len())) {
            for ((d_scale, &x), &d_y) in d_scale.iter_mut().zip(x).zip(d_y) {
                *d_scale += x * d_y;
            }
        }
    }
}

impl Layer for Scale {
    fn describe(&self) -> String {
        "scale".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let width = builder.width(input);
        let scale = builder.vector("scale", width, (width, width), Init::Constant(1.0))?;
        builder.custom(input, width, Scale, Some(scale))
    }
}

fn net() -> Sequential {
    Sequential::new().with(Dense::new(2, 16)).with(Activation::Tanh).with(Scale).with(Dense::new(16, 2))
}

/// Points of the plane: class 1 inside the unit circle.
fn circle<T: Element>(samples: usize) -> Result<Dataset> {
    let mut x = vec![T::zero(); 2 * samples];
    Rng::new(1).fill_uniform(&Context::detect()?, &mut x, -1.5, 1.5)?;
    let classes = x.chunks(2).map(|p| u32::from(p[0] * p[0] + p[1] * p[1] < T::one())).collect();
    Dataset::from_values(Tensor::from_vec(&[samples, 2], x)?)?.with_classes(classes, 2)
}

fn main() -> Result<()> {
    // In f64 a wrong gradient shows.
    let mut checked: Model<f64> = net().build(0)?;
    checked.compile(Loss::CrossEntropy, Adam::default())?;
    let indices: Vec<usize> = (0..20).collect();
    let error = checked.gradient_error(&circle::<f64>(20)?, &indices)?;
    println!("largest error of a gradient: {error:.1e}");
    assert!(error < 1e-7);

    let (data, mut model) = (circle::<f32>(2000)?, net().build::<f32>(0)?);
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
    model.fit(&data, Fit::new().epochs(20))?;
    println!("accuracy {:?}", model.evaluate(&data)?.accuracy);
    println!("scales {:.2?}", model.parameter("2.scale")?.as_slice());
    Ok(())
}
