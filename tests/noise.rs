//! Noise in training: its distribution, its derivative, the same bits for any threads, fusions and parts.

use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, AlphaDropout, Dense, Dropout, Fusion, GaussianDropout, GaussianNoise, Init, Layer, Loss,
    Model, Sequential,
};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::{Rng, purpose};
use gemmule::train::Fit;
use gemmule::{Context, Element, Error, Parallelism, Tensor};

const SAMPLES: usize = 1000;
const WIDTH: usize = 70;
const COUNT: f64 = (SAMPLES * WIDTH) as f64;

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

/// Standard normal features.
fn data<T: Element>(samples: usize) -> Dataset {
    let mut x = vec![T::zero(); samples * WIDTH];
    Rng::new(3).fill_normal(&context(1), &mut x, 0.0, 1.0).unwrap();
    let classes = (0..samples as u32).map(|i| i * 5 % 4).collect();
    Dataset::from_values(Tensor::from_vec(&[samples, WIDTH], x).unwrap())
        .unwrap()
        .with_classes(classes, 4)
        .unwrap()
}

/// A layer alone, behind a dense one that changes nothing.
fn alone(layer: impl Layer + 'static) -> Model<f64> {
    let identity = Dense::new(WIDTH, WIDTH).weight_init(Init::Identity { gain: 1.0 }).without_bias();
    let mut model = Sequential::new().with(identity).with(layer).build_with::<f64>(context(2), 5).unwrap();
    model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.0, ..Sgd::default() }).unwrap();
    model
}

/// Inputs and what training makes of them, in one step.
fn noisy(model: &mut Model<f64>, data: &Dataset) -> (Vec<f64>, Vec<f64>) {
    let indices: Vec<usize> = (0..SAMPLES).collect();
    // Predictions have no noise.
    let x = model.predict(data).unwrap();
    (x.as_slice().to_vec(), model.forward(data, &indices).unwrap().as_slice().to_vec())
}

fn mean_and_variance(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / count)
}

#[test]
fn gaussian_noise_is_added() {
    let data = data::<f64>(SAMPLES);
    let mut model = alone(GaussianNoise::new(0.3));
    let (x, y) = noisy(&mut model, &data);
    let n = || x.iter().zip(&y).map(|(x, y)| (y - x) / 0.3);
    let (mean, variance) = mean_and_variance(n());
    // Five standard deviations of each.
    assert!(mean.abs() < 5.0 / COUNT.sqrt(), "{mean}");
    assert!((variance - 1.0).abs() < 5.0 * (2.0 / COUNT).sqrt(), "{variance}");
    let within = n().filter(|n| n.abs() < 1.0).count() as f64 / COUNT;
    assert!((within - 0.682_689_5).abs() < 5.0 * (0.6827_f64 * 0.3173 / COUNT).sqrt(), "{within}");
    // Neighbours in a row, and in a column, know nothing of each other.
    let n: Vec<f64> = n().collect();
    for lag in [1, WIDTH, 512] {
        let product = n.iter().zip(&n[lag..]).map(|(a, b)| a * b).sum::<f64>() / COUNT;
        assert!(product.abs() < 5.0 / COUNT.sqrt(), "lag {lag}: {product}");
    }
    // The numbers are those of their stream: the model's seed, no step, the first part, layer 1.
    let mut drawn = vec![0.0_f64; SAMPLES * WIDTH];
    let rng = Rng::new(5).stream(purpose::DROPOUT).stream(0).stream(0);
    rng.stream(1).fill_normal(&context(1), &mut drawn, 0.0, 0.3).unwrap();
    assert!(x.iter().zip(&drawn).zip(&y).all(|((x, n), &y)| x + n == y));
    // The gradient goes through as it is.
    let d = Tensor::from_fn(&[SAMPLES, WIDTH], |at| (at[0] + at[1]) as f64).unwrap();
    assert_eq!(model.backward(&d).unwrap(), d);
}

#[test]
fn gaussian_dropout_has_the_moments_of_dropout() {
    let data = data::<f64>(SAMPLES);
    let rate = 0.2;
    let mut model = alone(GaussianDropout::new(rate));
    let (x, y) = noisy(&mut model, &data);
    let factors: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y / x).collect();
    let (mean, variance) = mean_and_variance(factors.iter().copied());
    let expected = rate / (1.0 - rate);
    assert!((mean - 1.0).abs() < 5.0 * (expected / COUNT).sqrt(), "{mean}");
    assert!((variance - expected).abs() < 5.0 * expected * (2.0 / COUNT).sqrt(), "{variance}");
    let d = Tensor::from_fn(&[SAMPLES, WIDTH], |_| 1.0).unwrap();
    let back = model.backward(&d).unwrap();
    assert!(back.as_slice().iter().zip(&factors).all(|(a, b)| (a - b).abs() < 1e-9 * b.abs().max(1.0)));
}

/// PyTorch's formula: `alpha = -1.7580993408473766`, `a = ((1 - p) (1 + p alpha^2))^-1/2`, `b = -a alpha p`.
#[test]
fn alpha_dropout_is_pytorchs_and_keeps_mean_and_variance() {
    let data = data::<f64>(SAMPLES);
    let (p, alpha) = (0.3, -1.758_099_340_847_376_6_f64);
    let a = 1.0 / ((1.0 - p) * (1.0 + p * alpha * alpha)).sqrt();
    let b = -a * alpha * p;
    let mut model = alone(AlphaDropout::new(p));
    let (x, y) = noisy(&mut model, &data);
    let mut kept = Vec::new();
    for (x, y) in x.iter().zip(&y) {
        let (whole, dropped) = (a * x + b, a * alpha + b);
        assert!((y - whole).abs() < 1e-12 || (y - dropped).abs() < 1e-12, "{y} of {x}");
        kept.push((y - whole).abs() < 1e-12);
    }
    let share = kept.iter().filter(|&&kept| kept).count() as f64 / COUNT;
    assert!((share - (1.0 - p)).abs() < 5.0 * (p * (1.0 - p) / COUNT).sqrt(), "{share}");
    let (mean, variance) = mean_and_variance(y.iter().copied());
    assert!(mean.abs() < 5.0 / COUNT.sqrt() && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    let d = Tensor::from_fn(&[SAMPLES, WIDTH], |_| 1.0).unwrap();
    let back = model.backward(&d).unwrap();
    let expected = kept.iter().map(|&kept| if kept { a } else { 0.0 });
    assert!(back.as_slice().iter().zip(expected).all(|(&d, expected)| (d - expected).abs() < 1e-15));
}

fn net() -> Sequential {
    Sequential::new()
        .with(GaussianNoise::new(0.2))
        .with(Dense::new(WIDTH, 130))
        .with(Activation::Selu)
        .with(AlphaDropout::new(0.1))
        .with(Dense::new(130, 40))
        .with(GaussianDropout::new(0.3))
        .with(Activation::Tanh)
        .with(GaussianNoise::new(0.1))
        .with(Dropout::new(0.2))
        .with(Dense::new(40, 4))
}

fn bits<T: Element>(model: &Model<T>) -> Vec<u64> {
    let all =
        |name: &str| model.parameter(name).unwrap().as_slice().iter().map(|x| x.bits()).collect::<Vec<_>>();
    model.parameters().iter().flat_map(|p| all(&p.name)).collect()
}

fn same_bits<T: Element>() {
    let data = data::<T>(150);
    let mut expected = None;
    for fusion in [Fusion::default(), Fusion { chains: false, ..Fusion::default() }, Fusion::NONE] {
        for threads in [1, 2, 3, 8] {
            let mut model = net().build_with::<T>(context(threads), 11).unwrap();
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
            model.set_fusion(fusion);
            model.fit(&data, Fit::new().batch_size(64).epochs(2)).unwrap();
            let found = bits(&model);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{} threads, {fusion}", threads);
        }
    }
}

#[test]
fn no_fusion_and_no_number_of_threads_changes_a_bit() {
    same_bits::<f32>();
    same_bits::<f64>();
}

#[test]
fn gradients_through_noise() {
    let mut model = Sequential::new()
        .with(Dense::new(WIDTH, 5))
        .with(GaussianNoise::new(0.5))
        .with(Activation::Tanh)
        .with(GaussianDropout::new(0.3))
        .with(Dense::new(5, 6))
        .with(AlphaDropout::new(0.4))
        .with(Dense::new(6, 4))
        .build_with::<f64>(context(2), 1)
        .unwrap();
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    let error = model.gradient_error(&data::<f64>(9), &[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert!(error < 1e-7, "{error}");
}

#[test]
fn noise_is_of_its_step_layer_and_place() {
    let data = data::<f64>(SAMPLES);
    let indices: Vec<usize> = (0..SAMPLES).collect();
    let two = || {
        let identity = Dense::new(WIDTH, WIDTH).weight_init(Init::Constant(0.0)).without_bias();
        let mut model = Sequential::new()
            .with(identity)
            .with(GaussianNoise::new(1.0))
            .with(GaussianNoise::new(1.0))
            .build_with::<f64>(context(2), 5)
            .unwrap();
        model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.0, ..Sgd::default() }).unwrap();
        model
    };
    let mut model = two();
    let first = model.forward(&data, &indices).unwrap();
    assert_eq!(model.forward(&data, &indices).unwrap(), first);
    // Two layers draw apart: the sum has twice the variance.
    let (_, variance) = mean_and_variance(first.as_slice().iter().copied());
    assert!((variance - 2.0).abs() < 5.0 * 2.0 * (2.0 / COUNT).sqrt(), "{variance}");
    // A place in the batch, not a sample; the first ones of a smaller batch are the same.
    let fewer = model.forward(&data, &indices[500..607]).unwrap();
    assert_eq!(fewer.as_slice(), &first.as_slice()[..107 * WIDTH]);
    model.step(&data, &indices[..7]).unwrap();
    let second = model.forward(&data, &indices).unwrap();
    assert_ne!(second, first);
    let mut again = two();
    again.step(&data, &indices[..9]).unwrap();
    assert_eq!(again.forward(&data, &indices).unwrap(), second);
}

#[test]
fn options_out_of_range_are_refused() {
    let build = |layer: Box<dyn Fn() -> Sequential>| layer().build::<f32>(0).map(drop);
    for rate in [1.0, -0.1, f64::NAN] {
        let dense = || Sequential::new().with(Dense::new(2, 2));
        for result in [
            build(Box::new(move || dense().with(GaussianDropout::new(rate)))),
            build(Box::new(move || dense().with(AlphaDropout::new(rate)))),
        ] {
            let error = result.unwrap_err();
            assert!(
                matches!(&error, Error::Argument { .. }) && error.to_string().contains("rate"),
                "{error}"
            );
        }
        let std = if rate > 0.0 { f64::INFINITY } else { rate };
        let error = build(Box::new(move || dense().with(GaussianNoise::new(std)))).unwrap_err();
        assert!(error.to_string().contains("std"), "{error}");
    }
    // Nothing happens at 0.
    let data = data::<f64>(SAMPLES);
    for mut model in
        [alone(GaussianNoise::new(0.0)), alone(GaussianDropout::new(0.0)), alone(AlphaDropout::new(0.0))]
    {
        let (x, y) = noisy(&mut model, &data);
        assert_eq!(x, y);
    }
}
