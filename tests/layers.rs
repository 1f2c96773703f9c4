//! Dropout, and layers that users write.

use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, Builder, Dense, Dropout, Fusion, Init, Layer, Loss, Model, RowFunction, Sequential, Value,
};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Element, Error, Parallelism, Result, Tensor};

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

fn data<T: Element>(samples: usize, features: usize, classes: u32) -> Dataset {
    let mut x = vec![T::zero(); samples * features];
    Rng::new(3).fill_normal(&context(1), &mut x, 0.0, 1.0).unwrap();
    let labels = (0..samples as u32).map(|i| i * 5 % classes).collect();
    let x = Tensor::from_vec(&[samples, features], x).unwrap();
    Dataset::from_values(x).unwrap().with_classes(labels, classes as usize).unwrap()
}

fn weights<T: Element>(model: &Model<T>) -> Vec<u64> {
    let bits =
        |name: &str| model.parameter(name).unwrap().as_slice().iter().map(|x| x.bits()).collect::<Vec<_>>();
    model.parameters().iter().flat_map(|p| bits(&p.name)).collect()
}

fn all_fusions() -> [Fusion; 4] {
    let all = Fusion::default();
    [all, Fusion { chains: false, ..all }, Fusion { update: false, ..all }, Fusion::NONE]
}

fn with_dropout(rate: f64) -> Sequential {
    Sequential::new()
        .with(Dropout::new(rate / 2.0))
        .with(Dense::new(20, 40))
        .with(Activation::Relu)
        .with(Dropout::new(rate))
        .with(Dense::new(40, 600))
        .with(Activation::Gelu)
        .with(Dropout::new(rate))
        .with(Dense::new(600, 5))
}

#[test]
fn dropout_has_the_same_bits_for_any_threads_and_fusions() {
    let data = data::<f32>(150, 20, 5);
    let mut expected = None;
    for fusion in all_fusions() {
        for threads in [1, 2, 3, 8] {
            let mut model = with_dropout(0.4).build_with::<f32>(context(threads), 11).unwrap();
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
            model.set_fusion(fusion);
            model.fit(&data, Fit::new().batch_size(64).epochs(3)).unwrap();
            let found = weights(&model);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{threads} threads, {fusion}");
        }
    }
}

#[test]
fn dropout_is_of_training_alone_and_keeps_the_mean() {
    let identity = |features: usize, rate: f64| {
        let weight = Init::Constant(0.0);
        let mut model = Sequential::new()
            .with(Dense::new(features, features).weight_init(weight).bias_init(Init::Constant(1.0)))
            .with(Dropout::new(rate))
            .build_with::<f64>(context(2), 5)
            .unwrap();
        model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.0, ..Sgd::default() }).unwrap();
        model
    };
    let data = data::<f64>(500, 64, 64);
    let indices: Vec<usize> = (0..500).collect();
    let mut model = identity(64, 0.3);
    assert!(model.predict(&data).unwrap().as_slice().iter().all(|&y| y == 1.0));
    let first = model.forward(&data, &indices).unwrap();
    let kept = first.as_slice().iter().filter(|&&y| y != 0.0).count() as f64 / 32_000.0;
    assert!(first.as_slice().iter().all(|&y| y == 0.0 || (0.7 * y - 1.0).abs() < 1e-12));
    // Five standard deviations.
    assert!((kept - 0.7).abs() < 5.0 * (0.3_f64 * 0.7 / 32_000.0).sqrt(), "{kept}");
    // The mask of a step is its own, until there was one; so is that of a part that is accumulated.
    assert_eq!(model.forward(&data, &indices).unwrap(), first);
    model.accumulate(&data, &indices, 1.0).unwrap();
    assert_ne!(model.forward(&data, &indices).unwrap(), first);
    model.apply().unwrap();
    let second = model.forward(&data, &indices).unwrap();
    assert_ne!(second, first);
    // The same model after as many steps has the same masks.
    let mut again = identity(64, 0.3);
    again.step(&data, &indices[..7]).unwrap();
    assert_eq!(again.forward(&data, &indices).unwrap(), second);
    // Nothing is dropped at a rate of 0.
    assert!(identity(64, 0.0).forward(&data, &indices).unwrap().as_slice().iter().all(|&y| y == 1.0));
    for rate in [1.0, -0.1, f64::NAN] {
        let error =
            Sequential::new().with(Dense::new(2, 2)).with(Dropout::new(rate)).build::<f32>(0).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
        assert!(error.to_string().contains("rate"), "{error}");
    }
}

#[test]
fn gradients_through_dropout() {
    let data = data::<f64>(9, 6, 3);
    let mut model = Sequential::new()
        .with(Dense::new(6, 7))
        .with(Activation::Tanh)
        .with(Dropout::new(0.5))
        .with(Dense::new(7, 3))
        .build_with::<f64>(context(2), 1)
        .unwrap();
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    let indices: Vec<usize> = (0..9).collect();
    let before = weights(&model);
    let error = model.gradient_error(&data, &indices).unwrap();
    assert!(error < 1e-7, "{error}");
    assert_eq!(weights(&model), before);
}

/// y_j = s x_{2j} x_{2j+1} with a learnt factor s for each pair.
#[derive(Clone, Copy, Debug)]
struct Pairs {
    pairs: usize,
    /// Makes its backward pass wrong.
    wrong: bool,
}

impl<T: Element> RowFunction<T> for Pairs {
    fn forward(&self, _: &Context, s: &[T], x: &[T], y: &mut [T]) {
        for (y, x) in y.chunks_mut(self.pairs).zip(x.chunks(2 * self.pairs)) {
            for (j, y) in y.iter_mut().enumerate() {
                *y = s[j] * x[2 * j] * x[2 * j + 1];
            }
        }
    }

    fn backward(&self, _: &Context, s: &[T], x: &[T], _: &[T], d_y: &[T], d_x: &mut [T]) {
        for ((d_x, x), d_y) in
            d_x.chunks_mut(2 * self.pairs).zip(x.chunks(2 * self.pairs)).zip(d_y.chunks(self.pairs))
        {
            for j in 0..self.pairs {
                d_x[2 * j] = s[j] * x[2 * j + 1] * d_y[j];
                d_x[2 * j + 1] = if self.wrong { T::zero() } else { s[j] * x[2 * j] * d_y[j] };
            }
        }
    }

    fn gradient(&self, _: &Context, _: &[T], x: &[T], _: &[T], d_y: &[T], d_s: &mut [T]) {
        for (x, d_y) in x.chunks(2 * self.pairs).zip(d_y.chunks(self.pairs)) {
            for j in 0..self.pairs {
                d_s[j] += x[2 * j] * x[2 * j + 1] * d_y[j];
            }
        }
    }
}

impl Layer for Pairs {
    fn describe(&self) -> String {
        format!("Pairs {}", self.pairs)
    }
    fn inputs(&self) -> Option<usize> {
        Some(2 * self.pairs)
    }
    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let fans = (2 * self.pairs, self.pairs);
        let s = builder.vector("scale", self.pairs, fans, Init::Uniform { low: 0.5, high: 1.5 })?;
        builder.custom(input, self.pairs, *self, Some(s))
    }
}

fn custom(wrong: bool) -> Sequential {
    Sequential::new()
        .with(Dense::new(6, 128))
        .with(Activation::Sigmoid)
        .with(Pairs { pairs: 64, wrong })
        .with(Dense::new(64, 20))
}

#[test]
fn a_layer_of_the_users_takes_part_in_the_plan() {
    let (data, single) = (data::<f64>(70, 6, 3), data::<f32>(70, 6, 3));
    let indices: Vec<usize> = (0..20).collect();
    for (wrong, right) in [(false, true), (true, false)] {
        let mut model = custom(wrong).build_with::<f64>(context(2), 2).unwrap();
        model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
        let error = model.gradient_error(&data, &indices).unwrap();
        assert_eq!(error < 1e-7, right, "{error}");
    }
    // First in the model: its inputs have no gradient, but for who asks.
    let mut model = Sequential::new()
        .with(Pairs { pairs: 3, wrong: false })
        .with(Dense::new(3, 3))
        .build_with::<f64>(context(1), 2)
        .unwrap();
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    assert!(model.gradient_error(&data, &indices).unwrap() < 1e-7);
    let mut expected = None;
    for fusion in all_fusions() {
        for threads in [1, 3] {
            let mut model = custom(false).build_with::<f32>(context(threads), 2).unwrap();
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
            model.set_fusion(fusion);
            model.fit(&single, Fit::new().batch_size(32).epochs(4)).unwrap();
            let found = (weights(&model), model.predict(&single).unwrap());
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{threads} threads, {fusion}");
        }
    }
    // Two halves of a batch add up.
    let step = |parts: &[&[usize]]| {
        let mut model = custom(false).build_with::<f64>(context(2), 2).unwrap();
        model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.5, ..Sgd::default() }).unwrap();
        for part in parts {
            model.accumulate(&data, part, part.len() as f64 / 20.0).unwrap();
        }
        model.apply().unwrap();
        model.parameter("2.scale").unwrap()
    };
    let (whole, halves) = (step(&[&indices]), step(&[&indices[..12], &indices[12..]]));
    let pairs = whole.as_slice().iter().zip(halves.as_slice());
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-15));
}
