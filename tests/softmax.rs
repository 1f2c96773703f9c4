//! Softmax and its relatives: against f64, row by row, with the same bits everywhere.
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;

use common::{HASH_START, all_bits, cast, contexts, hash, random};
use gemmule::kernel::softmax;
use gemmule::{Context, Element, Error, Result};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[test]
fn softmax_matches_f64_at_every_width() {
    for context in contexts() {
        for width in (1..=70).chain([100, 127, 128, 129, 512, 1000, 1024, 1025, 5000]) {
            check_softmax::<f32>(&context, width, f64::from(f32::EPSILON));
            check_softmax::<f64>(&context, width, f64::EPSILON);
        }
    }
}

/// Neumaier's sum: without it the oracle is off by more than what it checks.
fn compensated_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for x in terms {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

fn check_softmax<T: Element>(context: &Context, width: usize, epsilon: f64) {
    let scale = [0.5, 5.0, 60.0][width % 3];
    let input: Vec<T> = cast(&random(width as u64, 3 * width).iter().map(|x| x * scale).collect::<Vec<_>>());
    let (mut y, mut log, mut sums) = (input.clone(), input.clone(), vec![T::zero(); 3]);
    softmax::forward(context, &input, &mut y, width).unwrap();
    softmax::log_softmax(context, &input, &mut log, width).unwrap();
    softmax::log_sum_exp(context, &input, &mut sums, width).unwrap();
    for row in 0..3 {
        let range = row * width..(row + 1) * width;
        let x = &input[range.clone()];
        let max = x.iter().copied().fold(T::neg_infinity(), |a, b| if a > b { a } else { b });
        // The difference is rounded to T, as is documented; all else is exact.
        let shifted: Vec<f64> = x.iter().map(|&x| (x - max).to_f64()).collect();
        let sum = compensated_sum(shifted.iter().map(|x| x.exp()));
        for (i, &shift) in shifted.iter().enumerate() {
            let (got, exact) = (y[range.start + i].to_f64(), shift.exp() / sum);
            assert!((got - exact).abs() <= 4.0 * epsilon * exact + 1e-44, "{width}: {got:e}, not {exact:e}");
            let (got, exact) = (log[range.start + i].to_f64(), shift - sum.ln());
            assert!(
                (got - exact).abs() <= 2.0 * epsilon * (exact.abs() + 4.0),
                "{width}: {got}, not {exact}"
            );
        }
        let exact = max.to_f64() + sum.ln();
        let error = (sums[row].to_f64() - exact).abs();
        assert!(error <= 2.0 * epsilon * (exact.abs() + max.to_f64().abs() + 4.0), "{width}: {exact}");
        // The row alone gives the same bits, at any alignment.
        let mut alone = vec![T::zero(); width + row + 1];
        softmax::forward(context, x, &mut alone[row + 1..], width).unwrap();
        assert_eq!(all_bits(&alone[row + 1..]), all_bits(&y[range.clone()]));
        softmax::log_softmax(context, x, &mut alone[row + 1..], width).unwrap();
        assert_eq!(all_bits(&alone[row + 1..]), all_bits(&log[range]));
    }
}

#[test]
fn softmax_of_extreme_rows_is_what_the_documentation_says() {
    for context in contexts() {
        for width in [1_usize, 3, 10, 16, 17, 40] {
            let run = |x: &[f32]| {
                let (mut y, mut log, mut sum) = (x.to_vec(), x.to_vec(), [0.0]);
                softmax::forward(&context, x, &mut y, width).unwrap();
                softmax::log_softmax(&context, x, &mut log, width).unwrap();
                softmax::log_sum_exp(&context, x, &mut sum, width).unwrap();
                (y, log, sum[0])
            };
            for large in [3e38, -3e38, 0.0] {
                let (y, log, sum) = run(&vec![large; width]);
                assert!(y.iter().all(|y| (y * width as f32 - 1.0).abs() < 1e-6));
                assert!(log.iter().all(|y| (y + (width as f32).ln()).abs() < 1e-6));
                assert!(sum.is_finite());
            }
            for (filler, value) in [(-3e38, 3e38), (-INF, 0.0), (-INF, 3e38), (-INF, -3e38)] {
                for place in 0..width {
                    let mut x = vec![filler; width];
                    x[place] = value;
                    let (y, log, sum) = run(&x);
                    let one_hot = (0..width).all(|i| y[i] == if i == place { 1.0 } else { 0.0 });
                    assert!(one_hot && log[place] == 0.0 && sum == value);
                }
            }
            let (y, log, sum) = run(&vec![-INF; width]);
            assert!(y.iter().chain(&log).all(|y| y.is_nan()) && sum == -INF);
            for place in 0..width {
                let mut x = vec![1.0; width];
                x[place] = INF;
                let (y, log, sum) = run(&x);
                assert!(y[place].is_nan() && log[place].is_nan() && sum == INF);
                assert!(y.iter().chain(&log).all(|y| y.is_nan()), "width {width} place {place}");
                x[place] = NAN;
                let (y, log, sum) = run(&x);
                assert!(y.iter().chain(&log).all(|y| y.is_nan()) && sum.is_nan());
            }
        }
    }
}

#[test]
fn softmax_gradients_match_central_differences() {
    let step = 1e-5;
    for context in contexts() {
        for width in [1, 2, 7, 8, 10, 33, 70] {
            let x = random(11, width);
            let d = random(13, width);
            for log in [false, true] {
                let forward = |x: &[f64]| {
                    let mut y = vec![0.0; width];
                    let run = if log { softmax::log_softmax } else { softmax::forward };
                    run(&context, x, &mut y, width).unwrap();
                    y
                };
                let loss = |x: &[f64]| forward(x).iter().zip(&d).map(|(y, d)| y * d).sum::<f64>();
                let mut gradient = vec![0.0; width];
                let backward = if log { softmax::log_softmax_backward } else { softmax::backward };
                backward(&context, &forward(&x), &d, &mut gradient, width).unwrap();
                for i in 0..width {
                    let (mut above, mut below) = (x.clone(), x.clone());
                    above[i] += step;
                    below[i] -= step;
                    let difference = (loss(&above) - loss(&below)) / (2.0 * step);
                    assert!(
                        (gradient[i] - difference).abs() <= 1e-7,
                        "{width}: {} {difference}",
                        gradient[i]
                    );
                }
            }
        }
    }
}

/// A hash of softmax, its relatives and their gradients.
fn softmax_hash<T: Element>(context: &Context) -> u64 {
    let mut result = HASH_START;
    for width in [1, 7, 10, 16, 17, 100, 512, 1500] {
        let x: Vec<T> = cast(&random(17, 4 * width).iter().map(|x| x * 6.0).collect::<Vec<_>>());
        let d: Vec<T> = cast(&random(19, 4 * width));
        let (mut y, mut g, mut sums) = (x.clone(), x.clone(), vec![T::zero(); 4]);
        softmax::forward(context, &x, &mut y, width).unwrap();
        softmax::backward(context, &y, &d, &mut g, width).unwrap();
        result = hash(&g, hash(&y, result));
        softmax::log_softmax(context, &x, &mut y, width).unwrap();
        softmax::log_softmax_backward(context, &y, &d, &mut g, width).unwrap();
        softmax::log_sum_exp(context, &x, &mut sums, width).unwrap();
        result = hash(&sums, hash(&g, hash(&y, result)));
    }
    result
}

#[test]
fn softmax_has_the_committed_bits() {
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        let got = (softmax_hash::<f32>(&context), softmax_hash::<f64>(&context));
        assert_eq!(
            got,
            (0x22a7_0b02_2651_f736, 0x1421_234b_f693_e545),
            "{}: ({:#018x}, {:#018x})",
            context.isa(),
            got.0,
            got.1
        );
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, mut y) = ([0.0_f32; 6], [0.0_f32; 5]);
    for width in [0, 4, 7] {
        let mut out = [0.0_f32; 6];
        refused(softmax::forward(&context, &x, &mut out, width));
        refused(softmax::log_softmax(&context, &x, &mut out, width));
        refused(softmax::log_sum_exp(&context, &x, &mut out, width));
        refused(softmax::backward(&context, &x, &x, &mut out, width));
        refused(softmax::log_softmax_backward(&context, &x, &x, &mut out, width));
    }
    refused(softmax::forward(&context, &x, &mut y, 3));
    refused(softmax::log_sum_exp(&context, &x, &mut y, 3));
    softmax::forward::<f32>(&context, &[], &mut [], 3).unwrap();
}
