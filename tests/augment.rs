//! Augmentation: what every operation does and how often, golden values, the same bits everywhere.

#[path = "augment/bits.rs"]
mod bits;
mod common;
#[path = "augment/golden.rs"]
mod golden;
#[path = "augment/identity.rs"]
mod identity;
#[path = "augment/mixing.rs"]
mod mixing;
#[path = "augment/statistics.rs"]
mod statistics;

use gemmule::data::Dataset;
use gemmule::{BatchSource, Context, Element, Tensor};

/// The features of some samples.
fn features<T: Element>(source: &dyn BatchSource<T>, context: &Context, indices: &[usize]) -> Vec<T> {
    let mut out = vec![T::nan(); indices.len() * source.features()];
    source.gather_features(context, indices, &mut out);
    out
}

/// The same in f64 on the fastest instruction set.
fn rows(source: &dyn BatchSource<f64>, indices: &[usize]) -> Vec<f64> {
    features(source, &Context::detect().unwrap(), indices)
}

/// `len` copies of an image of one channel.
fn copies(len: usize, height: usize, width: usize, image: impl Fn(usize, usize) -> f64) -> Dataset {
    let image: Vec<f64> = (0..height * width).map(|i| image(i / width, i % width)).collect();
    let all = image.repeat(len);
    Dataset::from_values(Tensor::from_vec(&[len, height, width], all).unwrap()).unwrap()
}

/// `len` images of values in [0, 1), with classes 0, 1, 2, 0, ...
fn images(len: usize, features: usize) -> Dataset {
    let values: Vec<f64> = common::random(3, len * features).iter().map(|x| (x + 1.0) / 2.0).collect();
    Dataset::from_values(Tensor::from_vec(&[len, features], values).unwrap())
        .unwrap()
        .with_classes((0..len as u32).map(|i| i % 3).collect(), 3)
        .unwrap()
}

/// How far the distribution of `draws` is from the uniform one on [low, high].
fn distance_from_uniform(draws: &[f64], low: f64, high: f64) -> f64 {
    let mut draws = draws.to_vec();
    draws.sort_by(f64::total_cmp);
    let count = draws.len() as f64;
    let distance = |(i, &x): (usize, &f64)| {
        let law = (x - low) / (high - low);
        (law - i as f64 / count).abs().max((law - (i + 1) as f64 / count).abs())
    };
    draws.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// Kolmogorov and Smirnov: a uniform sample is further away once in a thousand.
#[track_caller]
fn assert_uniform(draws: &[f64], low: f64, high: f64) {
    let distance = distance_from_uniform(draws, low, high);
    assert!(
        distance < 1.95 / (draws.len() as f64).sqrt(),
        "distance {distance} from uniform in {low}..{high}"
    );
}

/// Five standard deviations of a count.
#[track_caller]
fn assert_count(got: usize, of: usize, p: f64) {
    let (mean, std) = (of as f64 * p, (of as f64 * p * (1.0 - p)).sqrt());
    assert!((got as f64 - mean).abs() < 5.0 * std, "{got} of {of}, expected about {mean}");
}
