//! PyTorch's and NumPy's values: see `tests/golden/augment.py`.

use super::features;
use crate::common::contexts;
use gemmule::data::{Augment, Dataset, ImageShape, Interpolation, PaddingMode};
use gemmule::{Element, Result, Tensor};

/// The script's pixels, channel by channel.
fn image(count: usize) -> Vec<f64> {
    let value = |index: u32| {
        let mut mixed = index.wrapping_mul(2_654_435_761).wrapping_add(374_761_393);
        mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
        mixed ^= mixed >> 13;
        f64::from(mixed >> 16) / 65536.0
    };
    (0..count as u32).map(value).collect()
}

/// Channel by channel to pixel by pixel.
fn channels_last(values: &[f64], channels: usize) -> Vec<f64> {
    let pixels = values.len() / channels;
    (0..values.len()).map(|i| values[i % channels * pixels + i / channels]).collect()
}

fn add<'a, T: Element>(augment: Augment<T, &'a Dataset>, operation: &str) -> Result<Augment<T, &'a Dataset>> {
    let mut parts = operation.split(':');
    let name = parts.next().unwrap();
    let numbers: Vec<f64> = parts.map(|part| part.parse().unwrap()).collect();
    let exactly = |i: usize| numbers[i]..=numbers[i];
    match name {
        "rotation" => augment.rotation(exactly(0)),
        "scale" => augment.scale(exactly(0)),
        "shift" => augment.shift(exactly(0), exactly(1)),
        "flip_horizontal" => augment.flip_horizontal(1.0),
        "flip_vertical" => augment.flip_vertical(1.0),
        "brightness" => augment.brightness(exactly(0)),
        "contrast" => augment.contrast(exactly(0)),
        _ => panic!("unknown operation {name}"),
    }
}

fn check<T: Element>(line: &str, tolerance: f64) {
    let fields: Vec<&str> = line.split(',').collect();
    let &[channels, height, width, padding, interpolation, operations, values] = fields.as_slice() else {
        panic!("not a record: {line}");
    };
    let [channels, height, width] = [channels, height, width].map(|field| field.parse::<usize>().unwrap());
    let padding = match padding.split_once(':').unwrap_or((padding, "0")) {
        ("constant", value) => PaddingMode::Constant(value.parse().unwrap()),
        ("edge", _) => PaddingMode::Edge,
        ("reflect", _) => PaddingMode::Reflect,
        _ => panic!("{line}"),
    };
    let interpolation = match interpolation {
        "bilinear" => Interpolation::Bilinear,
        "nearest" => Interpolation::Nearest,
        _ => panic!("{line}"),
    };
    let expected: Vec<f64> = values.split(' ').map(|value| value.parse().unwrap()).collect();
    let pixels = image(expected.len());
    let layouts = [
        (ImageShape::chw(channels, height, width), pixels.clone(), expected.clone()),
        (
            ImageShape::hwc(height, width, channels),
            channels_last(&pixels, channels),
            channels_last(&expected, channels),
        ),
    ];
    for (shape, pixels, expected) in layouts {
        let data = Dataset::from_values(Tensor::from_vec(&[1, pixels.len()], pixels).unwrap()).unwrap();
        let mut augment = Augment::<T, _>::new(&data, 1).images(shape).unwrap();
        augment = augment.interpolation(interpolation).padding_mode(padding).unwrap();
        for operation in operations.split(' ') {
            augment = add(augment, operation).unwrap();
        }
        for context in contexts() {
            let got = features(&augment, &context, &[0]);
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let error = (Element::to_f64(*got) - expected).abs();
                assert!(
                    error <= tolerance,
                    "{shape:?} {}: {i}: {got}, not {expected}: {line}",
                    context.isa()
                );
            }
        }
    }
}

#[test]
fn f64_is_pytorchs() {
    let golden = include_str!("../golden/augment.csv");
    assert!(golden.lines().count() > 100);
    for line in golden.lines() {
        check::<f64>(line, 1e-9);
    }
}

#[test]
fn f32_is_pytorchs() {
    for line in include_str!("../golden/augment.csv").lines() {
        check::<f32>(line, 3e-7);
    }
}
