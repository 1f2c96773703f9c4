//! PyTorch's values, from golden/losses.csv.

use super::common::contexts;
use super::kinds::{Batch, KINDS, forward, with_gradient};
use gemmule::kernel::loss::Rows;
use gemmule::{Context, Element};

const GOLDEN: &str = include_str!("../golden/losses.csv");

fn compare<T: Element>(context: &Context, line: &str, tolerance: f64) {
    let fields: Vec<&str> = line.split(',').collect();
    let (name, rows, width) = (fields[0], fields[2].parse().unwrap(), fields[3].parse().unwrap());
    let numbers: Vec<f64> = fields[4..].iter().map(|field| field.parse().unwrap()).collect();
    let (losses, gradient) = numbers[1..].split_at(rows);
    let batch = Batch::new(rows, width);
    let check = |what: &str, got: &[T], expected: &[f64]| {
        assert_eq!(got.len(), expected.len());
        // An element that cancels has the errors of the larger ones; for a cosine these are about 1.
        let least = if name.starts_with("cosine") { 1.0 } else { 0.0 };
        let size = expected.iter().fold(least, |size: f64, x| size.max(x.abs()));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (Element::to_f64(*got) - expected).abs();
            assert!(
                error <= tolerance * size,
                "{} {name} {} {rows} rows of {width}, {what} {i}: {got}, not {expected}",
                context.isa(),
                T::NAME
            );
        }
    };
    let (mean, got, d) = with_gradient::<T>(context, name, &batch, Rows::mean(width));
    check("mean", &[mean], &numbers[..1]);
    check("loss", &got, losses);
    check("gradient", &d, gradient);
    assert_eq!(forward::<T>(context, name, &batch, Rows::mean(width)), got);
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    for context in contexts() {
        let mut seen = Vec::new();
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(',');
            let name = fields.next().unwrap();
            if fields.next() == Some("f32") {
                compare::<f32>(&context, line, 6.0 * f64::from(f32::EPSILON));
            } else {
                compare::<f64>(&context, line, 1e-14);
            }
            seen.push(name);
        }
        assert!(KINDS.iter().all(|kind| seen.contains(kind)));
    }
}
